//! Tells when a process group has no living member any more, which the kernel announces to nobody.

use rustix::process::{Pid, WaitOptions};
use std::time::Duration;

/// The first pause between two looks at a group; each further one is twice as long, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The longest pause between two looks at a group: a server that drains for seconds is not looked at more often.
const PAUSE_MAX: Duration = Duration::from_millis(80);

/// Waits until no process of `group` lives. Its first process must have been reaped already. May be dropped and called
/// again.
pub(crate) async fn ended(group: Pid) {
    let mut pause = PAUSE_MIN;
    while lives(group).await {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn lives(group: Pid) -> bool {
    // As process 1 of a container we inherit the orphans of the group, and nobody else would reap them.
    while matches!(rustix::process::waitpgid(group, WaitOptions::NOHANG), Ok(Some(_))) {}
    if rustix::process::test_kill_process_group(group).is_err() {
        return false;
    }
    // What is left may be zombies whose new parent is slow to reap them, or never does, as in many containers.
    // Should the question fail, the group counts as living: the caller has a deadline.
    tokio::task::spawn_blocking(move || has_living_member(group)).await.unwrap_or(true)
}

/// Looks through all processes, because the kernel has no list of a group's.
#[cfg(target_os = "linux")]
fn has_living_member(group: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return true;
    };
    let group = group.as_raw_nonzero().get();
    processes
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit))
        .filter_map(|entry| std::fs::read(entry.path().join("stat")).ok())
        .any(|stat| is_living_member(&String::from_utf8_lossy(&stat), group))
}

#[cfg(not(target_os = "linux"))]
fn has_living_member(_group: Pid) -> bool {
    true
}

/// Reads `pid (name) state parent group ...` (proc_pid_stat(5)); the name may contain spaces and parentheses.
#[cfg(target_os = "linux")]
fn is_living_member(stat: &str, group: i32) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut fields = rest.split_ascii_whitespace();
    let (state, its_group) = (fields.next(), fields.nth(1));
    its_group.and_then(|text| text.parse().ok()) == Some(group) && !matches!(state, Some("Z" | "X"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// A zombie that process 1 never reaps would otherwise make every stop last until its deadline; and a process
    /// named after a state would otherwise be taken for one.
    #[test]
    fn zombies_and_strangers_do_not_count() {
        for (stat, expected) in [
            ("812 (node) S 1 812 812 0 -1", true),
            ("813 (node) R 812 812 812 0 -1", true),
            ("814 (stopped) T 812 812 812 0 -1", true),
            ("815 (node) Z 1 812 812 0 -1", false),
            ("816 (a) Z 1 812) S 1 812 812 0 -1", true),
            ("817 (node) S 812 817 817 0 -1", false),
            ("818 (node", false),
            ("", false),
        ] {
            assert_eq!(is_living_member(stat, 812), expected, "{stat}");
        }
    }

    /// A look that misses our own process would miss the instances too.
    #[test]
    fn the_living_are_found() {
        assert!(has_living_member(rustix::process::getpgrp()));
        assert!(!has_living_member(Pid::from_raw(i32::MAX).unwrap()));
    }
}
