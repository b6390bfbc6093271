//! What a program uses, with all its processes: nginx has a master and a worker. The source is proc(5).

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What Linux has on every machine of today; asked for all the same.
const TICKS_PER_SECOND_USUAL: f64 = 100.0;

/// Processor time since the start, and memory now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) user_ticks: u64,
    pub(super) system_ticks: u64,
    pub(super) resident_kib: u64,
}

impl Usage {
    /// Of a process and all its descendants.
    pub(super) fn of_tree(root: u32) -> Result<Self> {
        let mut total = Self::default();
        for process in tree(root)? {
            let text = fs::read_to_string(format!("/proc/{process}/stat"))
                .with_context(|| format!("process {process} is gone"))?;
            let entry = parse_stat(&text).with_context(|| format!("cannot read /proc/{process}/stat"))?;
            total.user_ticks += entry.user_ticks;
            total.system_ticks += entry.system_ticks;
            total.resident_kib += resident_kib(process)?;
        }
        Ok(total)
    }
}

/// The unit of processor time in /proc.
pub(super) fn ticks_per_second() -> f64 {
    let output = Command::new("getconf").arg("CLK_TCK").output();
    let told = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse().ok());
    told.unwrap_or(TICKS_PER_SECOND_USUAL)
}

/// A process and all its descendants, the process first.
pub(super) fn tree(root: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end while the folder is read.
        let Ok(text) = fs::read_to_string(format!("/proc/{process}/stat")) else {
            continue;
        };
        if let Some(stat) = parse_stat(&text) {
            parents.push((process, stat.parent));
        }
    }
    if !parents.iter().any(|(process, _)| *process == root) {
        bail!("process {root} is gone");
    }
    Ok(descendants(root, &parents))
}

/// Whether a process does not run any more. One that waits to be collected by its parent has ended too.
pub(super) fn has_ended(process: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    parse_stat(&text).is_none_or(|stat| stat.state == "Z" || stat.state == "X")
}

struct Stat<'a> {
    state: &'a str,
    parent: u32,
    user_ticks: u64,
    system_ticks: u64,
}

/// Reads a line of /proc/PID/stat. The second field is the name in parentheses, which may itself hold spaces and
/// parentheses; everything after the last one is separated by single spaces.
fn parse_stat(text: &str) -> Option<Stat<'_>> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // State is field 3 of proc(5) and the parent field 4; utime and stime are fields 14 and 15.
    let mut times = fields.skip(9);
    let user_ticks = times.next()?.parse().ok()?;
    let system_ticks = times.next()?.parse().ok()?;
    Some(Stat { state, parent, user_ticks, system_ticks })
}

fn descendants(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, its_parent)| *its_parent == parent).map(|(process, _)| *process));
        next += 1;
    }
    found
}

fn resident_kib(process: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).with_context(|| format!("no VmRSS of process {process}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process named "a) R 1" would shift every field for a reader that splits at the first parenthesis.
    #[test]
    fn a_hostile_process_name_shifts_nothing() {
        let line = "42 (a) R 1 (x) S 7 42 42 0 -1 4194304 100 0 0 0 250 125 0 0 20 0 1 0 12345 1000 200\n";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.user_ticks, stat.system_ticks), ("S", 7, 250, 125));
        assert!(parse_stat("42 (short) S 1").is_none());
    }

    /// Without its worker, nginx would seem to serve for nothing.
    #[test]
    fn workers_count_with_their_master() {
        let parents = [(1, 0), (10, 1), (11, 10), (12, 10), (13, 12), (20, 1)];
        assert_eq!(descendants(10, &parents), [10, 11, 12, 13]);
    }

    /// A program that cannot be measured must not count as one that uses nothing.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_measured_while_it_is_there() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let usage = Usage::of_tree(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(usage.unwrap().resident_kib > 0);
        assert!(Usage::of_tree(child.id()).is_err());
    }
}
