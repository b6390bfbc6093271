//! One running instance: a process group. Signals go to the whole group, so that shells and package managers die with
//! the server they wrap; and the group is its own, so that a Ctrl-C in the terminal reaches only the supervisor, which
//! then stops the instances in its own way.

use crate::{
    error::SpawnError,
    group,
    output::{Printer, Stream, prefix},
    settings::{Output, Settings},
};
use rustix::process::{Pid, Signal};
use std::{
    ffi::{OsStr, OsString},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::Instant,
};

/// The environment variable with the port an instance must listen on, at 127.0.0.1.
pub const PORT_VARIABLE: &str = "PORT";

/// The environment variable with the instance's number, from 1.
pub const INSTANCE_VARIABLE: &str = "CLOAKROOM_INSTANCE";

/// The environment variable that tells a launcher the supervisor's process id.
pub const SUPERVISOR_VARIABLE: &str = "CLOAKROOM_SUPERVISOR_PID";

/// How long a killed group may take to vanish, before it is left to the kernel: a process stuck in the
/// kernel must not keep the supervisor waiting.
const KILLED_MAX: Duration = Duration::from_secs(2);

/// How long output may still come after the group has gone, from a process that left the group and kept the pipe.
const LAST_OUTPUT_MAX: Duration = Duration::from_millis(500);

/// Where `PATH` leads when it is not set, as in the C library's execvp(3).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A started instance. Dropping it kills the group.
pub(crate) struct Process {
    child: Child,
    group: Pid,
    started: Instant,
    status: Option<ExitStatus>,
    presence: Presence,
    readers: JoinSet<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Present,
    Gone,
}

impl Process {
    /// Starts instance `instance` (from 0), to listen at `address`. Must be called within a runtime.
    pub(crate) fn start(
        settings: &Settings,
        instance: usize,
        address: SocketAddr,
        printer: Option<&Printer>,
    ) -> io::Result<Self> {
        let mut words = settings.launcher.iter().chain(&settings.command);
        let program = words.next().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let output = || match settings.output {
            Output::Prefixed { .. } => Stdio::piped(),
            Output::Discard => Stdio::null(),
            Output::Inherit => Stdio::inherit(),
        };
        let mut command = Command::new(program);
        command
            .args(words)
            .envs(settings.environment.iter().map(|(name, value)| (name, value)))
            .env(PORT_VARIABLE, address.port().to_string())
            .env(INSTANCE_VARIABLE, (instance + 1).to_string())
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .process_group(0)
            .kill_on_drop(true);
        if !settings.launcher.is_empty() {
            command.env(SUPERVISOR_VARIABLE, std::process::id().to_string());
        }
        let mut child = command.spawn()?;
        let group = child
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
            .ok_or_else(|| io::Error::other("the new process has no id"))?;

        let mut readers = JoinSet::new();
        if let (Output::Prefixed { colour }, Some(printer)) = (settings.output, printer) {
            let prefix = prefix(instance, settings.count.get(), colour);
            if let Some(stdout) = child.stdout.take() {
                readers.spawn(printer.clone().forward(stdout, Stream::Stdout, prefix.clone()));
            }
            if let Some(stderr) = child.stderr.take() {
                readers.spawn(printer.clone().forward(stderr, Stream::Stderr, prefix));
            }
        }
        Ok(Self { child, group, started: Instant::now(), status: None, presence: Presence::Present, readers })
    }

    /// The id of the first process, which is the group's id too.
    pub(crate) fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// How long ago it was started.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for the first process to exit. May be dropped and called again.
    pub(crate) async fn exited(&mut self) {
        if self.status.is_none() {
            match self.child.wait().await {
                Ok(status) => self.status = Some(status),
                Err(error) => {
                    tracing::error!(pid = self.pid(), %error, "cannot wait for an instance")
                }
            }
        }
    }

    /// How the first process ended, in words.
    pub(crate) fn status(&self) -> String {
        self.status.map_or_else(|| "unknown".to_owned(), |status| status.to_string())
    }

    /// Asks the group to leave, and kills it at the deadline. Returns when it has gone and its output was read.
    pub(crate) async fn terminate(&mut self, deadline: Duration) {
        self.signal(Signal::TERM);
        // A paused process gets no other signal before this one.
        self.signal(Signal::CONT);
        if tokio::time::timeout(deadline, self.gone()).await.is_err() {
            let deadline_ms = deadline.as_millis();
            tracing::warn!(pid = self.pid(), deadline_ms, "an instance ignored SIGTERM and is killed");
        }
        self.kill().await;
    }

    /// Kills what is left of the group. Returns when it has gone and its output was read.
    pub(crate) async fn kill(&mut self) {
        if self.presence == Presence::Present {
            self.signal(Signal::KILL);
            if tokio::time::timeout(KILLED_MAX, self.gone()).await.is_err() {
                tracing::warn!(pid = self.pid(), "a killed instance has not gone yet and is left to the kernel");
            }
        }
        let readers = &mut self.readers;
        let all_read = async { while readers.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_OUTPUT_MAX, all_read).await.is_err() {
            self.readers.shutdown().await;
        }
    }

    /// Waits until nothing of the group lives. May be dropped and called again.
    async fn gone(&mut self) {
        self.exited().await;
        group::ended(self.group).await;
        self.presence = Presence::Gone;
    }

    fn signal(&self, signal: Signal) {
        // Fails when the group has gone by itself, which is what the signal was for.
        let _ = rustix::process::kill_process_group(self.group, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.presence == Presence::Present {
            self.signal(Signal::KILL);
        }
    }
}

/// Checks that what the settings name can be executed: behind a launcher, a mistyped program would otherwise look like
/// an instance that crashes.
pub(crate) fn check_programs(settings: &Settings) -> Result<(), SpawnError> {
    let own_path = settings.environment.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    let path = own_path.or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| DEFAULT_PATH.into());
    let program = settings.command.first().filter(|program| !program.is_empty()).ok_or(SpawnError::EmptyCommand)?;
    settings.launcher.first().into_iter().chain([program]).try_for_each(|program| check_program(program, &path))
}

fn check_program(program: &OsString, path: &OsStr) -> Result<(), SpawnError> {
    let candidates: Vec<PathBuf> = if program.as_encoded_bytes().contains(&b'/') {
        vec![PathBuf::from(program)]
    } else {
        std::env::split_paths(path).map(|folder| folder.join(program)).collect()
    };
    let executable = |file: &PathBuf| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
    if candidates.iter().any(|file| file.is_file() && executable(file)) {
        Ok(())
    } else if candidates.iter().any(|file| Path::exists(file)) {
        Err(SpawnError::NotExecutable { program: program.clone() })
    } else {
        Err(SpawnError::ProgramNotFound { program: program.clone() })
    }
}
