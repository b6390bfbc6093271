//! Programs that run beside the benchmark: pinned to a core, and gone when the benchmark is, however it ends.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::contestant::{BODY_BYTES, Program};
use super::usage;

/// The longest that a program may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(10);
/// The longest that a program may take to end when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// The longest that one answer may take while a program starts.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How many lines of a failed program's output are shown.
const OUTPUT_LINES_MAX: usize = 20;
/// How much of an answer is read.
const ANSWER_BYTES_MAX: u64 = 4096;

/// A program that runs; dropping it ends it.
pub(super) struct Running {
    name: &'static str,
    child: Child,
    output: PathBuf,
}

impl Running {
    /// Starts the program on one core.
    pub(super) fn start(program: Program, core: usize) -> Result<Self> {
        // setpriv asks the kernel to end the program when this one dies without a chance to do so; Ctrl-C of a terminal
        // reaches both. Each of the two replaces itself by what follows, so the child is the program itself.
        Self::spawn(program, &["setpriv", "--pdeathsig", "TERM", "taskset", "--cpu-list", &core.to_string()])
    }

    fn spawn(program: Program, prefix: &[&str]) -> Result<Self> {
        let output = program.folder.join("output.log");
        let file = File::create(&output).with_context(|| format!("cannot write {}", output.display()))?;
        let words: Vec<_> = prefix.iter().map(OsString::from).chain(program.words).collect();
        let (first, rest) = words.split_first().context("no program to start")?;
        let child = Command::new(first)
            .args(rest)
            .current_dir(&program.folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", program.name))?;
        Ok(Self { name: program.name, child, output })
    }

    /// The process at the root of the program's tree.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the whole path answers: a 200 with the origin's body.
    pub(super) fn wait_until_it_answers(&self, port: u16) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        let mut last = anyhow::anyhow!("it was not asked");
        while Instant::now() < deadline {
            if usage::has_ended(self.child.id()) {
                bail!("{} ended at once:\n{}", self.name, self.last_output());
            }
            match ask(port) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
            std::thread::sleep(POLL);
        }
        bail!("{} does not answer ({last:#}):\n{}", self.name, self.last_output())
    }

    fn last_output(&self) -> String {
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(OUTPUT_LINES_MAX)..].join("\n")
    }
}

/// Asks the program to end, so that nginx takes its workers along, and insists after a while.
impl Drop for Running {
    fn drop(&mut self) {
        let tree = usage::tree(self.child.id()).unwrap_or_default();
        signal("TERM", &[self.child.id()]);
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        signal("KILL", &tree);
        // The kernel has ended it: this collects the entry of the process and cannot wait long.
        let _ = self.child.wait();
    }
}

fn signal(name: &str, processes: &[u32]) {
    let words: Vec<_> = processes.iter().map(u32::to_string).collect();
    // A process that has ended meanwhile is what was wanted.
    let _ =
        Command::new("sh").args(["-c", &format!("kill -{name} {}", words.join(" "))]).stderr(Stdio::null()).status();
}

fn ask(port: u16) -> Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 200 ") || !body.contains(&"x".repeat(BODY_BYTES)) {
        bail!("the answer is {:?}", head.lines().next().unwrap_or_default());
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn program(folder: &std::path::Path, script: &str) -> Program {
        Program { name: "script", words: vec!["sh".into(), "-c".into(), script.into()], folder: folder.to_owned() }
    }

    /// A typing error in a generated configuration would otherwise show as ten seconds of silence.
    #[test]
    fn a_program_that_ends_shows_its_output() {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::spawn(program(folder.path(), "echo unknown directive; exit 1"), &[]).unwrap();
        let error = running.wait_until_it_answers(9).map_err(|error| error.to_string());
        assert_eq!(error, Err("script ended at once:\nunknown directive".to_owned()));
    }

    /// A proxy left behind would take processor time from everything measured later.
    #[test]
    fn a_dropped_program_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::spawn(program(folder.path(), "exec sleep 600"), &[]).unwrap();
        let id = running.id();
        assert!(!usage::has_ended(id));
        drop(running);
        assert!(usage::has_ended(id));
    }
}
