//! What the tests of supervision share: settings that suit tests, and waits that end by themselves.

use cloakroom_supervise::{Event, EventKind, Output, Settings};
use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::Read,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::sync::broadcast;

/// Far more than anything here takes; only a failing test waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than any test runs: a start that is due after this never happens.
pub(crate) const NEVER: Duration = Duration::from_secs(3_600);

/// Tells this test program, started by one of its own tests, which script to supervise.
pub(crate) const ROLE_SCRIPT: &str = "CLOAKROOM_TEST_SCRIPT";

pub(crate) fn settings(count: usize, command: &[&str], folder: &Path) -> Settings {
    let command = command.iter().map(OsString::from).collect();
    let mut settings = Settings::new(command, NonZeroUsize::new(count).unwrap());
    settings.environment = vec![("FOLDER".into(), folder.into())];
    settings.backoff_min = Duration::from_millis(20);
    settings.stop_deadline = PATIENCE;
    settings.output = Output::Discard;
    settings
}

pub(crate) fn script(count: usize, script: &str, folder: &Path) -> Settings {
    settings(count, &["sh", "-c", script], folder)
}

/// A command that runs one of the roles below.
pub(crate) fn role(name: &str) -> Vec<OsString> {
    let own = std::env::current_exe().unwrap().into();
    let arguments = ["--ignored", "--exact", "--nocapture", name, "--"];
    std::iter::once(own).chain(arguments.map(OsString::from)).collect()
}

/// The next event that is not about something else.
pub(crate) async fn event(events: &mut broadcast::Receiver<Event>, wanted: impl Fn(&EventKind) -> bool) -> EventKind {
    let found = async {
        loop {
            let event = events.recv().await.expect("the instance still has something to tell");
            if wanted(&event.kind) {
                return event.kind;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the event comes")
}

pub(crate) fn is_started(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Started { .. })
}

pub(crate) fn is_exited(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Exited { .. })
}

pub(crate) fn is_restarting(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Restarting { .. })
}

/// The text of a file, as soon as it has `lines` whole lines.
pub(crate) async fn text(file: PathBuf, lines: usize) -> String {
    let complete = async {
        loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.matches('\n').count() >= lines {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, complete).await.expect("the file is written")
}

/// A named pipe whose text is complete when its last writer is dead: the way to know that a process is, whoever its
/// parent may be.
pub(crate) struct Lifeline {
    opened: tokio::sync::oneshot::Receiver<()>,
    closed: tokio::task::JoinHandle<String>,
}

impl Lifeline {
    pub(crate) fn new(folder: &Path) -> Self {
        let path = folder.join("lifeline");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (tell, opened) = tokio::sync::oneshot::channel();
        let closed = tokio::task::spawn_blocking(move || {
            let mut pipe = OpenOptions::new().read(true).open(path).unwrap();
            tell.send(()).unwrap();
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        });
        Self { opened, closed }
    }

    pub(crate) async fn opened(&mut self) {
        tokio::time::timeout(PATIENCE, &mut self.opened).await.expect("somebody opens the pipe").unwrap();
    }

    pub(crate) async fn closed(self) -> String {
        tokio::time::timeout(PATIENCE, self.closed).await.expect("everybody closes the pipe").unwrap()
    }
}
