//! Brings the instances' output to the terminal. One thread writes, because a terminal may block; the queue to it is
//! bounded and never waited for, because an instance that fills its pipe would otherwise stop serving users.

use crate::{lines::LineCutter, settings::Colour};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::watch,
};

/// Lines that may wait for a slow terminal, of all instances together. Further ones are dropped and counted.
pub const OUTPUT_QUEUE_LINES_MAX: usize = 1024;

/// How much is read from an instance at a time, in bytes.
const READ_BYTES: usize = 8 * 1024;

/// Cyan, yellow, green, magenta, blue, bright cyan: legible on dark and on light, and none of them says "error".
const COLOURS: [&str; 6] = ["36", "33", "32", "35", "34", "96"];

/// Which of our own streams a line goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Where the writer writes.
pub(crate) struct Sinks {
    pub(crate) stdout: Box<dyn Write + Send>,
    pub(crate) stderr: Box<dyn Write + Send>,
}

impl Sinks {
    /// Our own standard output and standard error, through descriptors of their own: while a slow terminal blocks the
    /// writer, nobody else waits for the locks of `std::io::stdout` and `std::io::stderr`.
    pub(crate) fn own_streams() -> io::Result<Self> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Self { stdout: Box::new(stdout), stderr: Box::new(stderr) })
    }
}

/// Hands lines to the writer, without ever waiting. The writer ends with the last of these.
#[derive(Clone)]
pub(crate) struct Printer {
    lines: mpsc::SyncSender<(Stream, String)>,
    dropped: Arc<AtomicU64>,
}

impl Printer {
    /// Starts the writer. The receiver's channel closes once everything has been written.
    pub(crate) fn start(sinks: Sinks) -> io::Result<(Self, watch::Receiver<()>)> {
        let (lines, queue) = mpsc::sync_channel(OUTPUT_QUEUE_LINES_MAX);
        let (finished_sender, finished) = watch::channel(());
        let dropped = Arc::new(AtomicU64::new(0));
        let printer = Self { lines, dropped: Arc::clone(&dropped) };
        std::thread::Builder::new().name("instance-output".to_owned()).spawn(move || {
            write_lines(&queue, sinks, &dropped);
            drop(finished_sender);
        })?;
        Ok((printer, finished))
    }

    fn print(&self, stream: Stream, line: String) {
        // A writer that is gone has nothing more to say; one that is behind says later what was lost.
        if let Err(mpsc::TrySendError::Full(_)) = self.lines.try_send((stream, line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Prints what `source` says, line by line, until it ends.
    pub(crate) async fn forward(self, mut source: impl AsyncRead + Unpin, stream: Stream, prefix: String) {
        let mut cutter = LineCutter::default();
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(length @ 1..) = source.read(&mut buffer).await {
            cutter.push(&buffer[..length], |line| self.print(stream, format!("{prefix}{line}\n")));
        }
        if let Some(line) = cutter.finish() {
            self.print(stream, format!("{prefix}{line}\n"));
        }
    }
}

/// What precedes every line of an instance (from 0) of `count`: numbers from 1, aligned.
pub(crate) fn prefix(instance: usize, count: usize, colour: Colour) -> String {
    let width = count.to_string().len();
    let name = format!("instance {:>width$} |", instance + 1);
    match colour {
        Colour::Plain => format!("{name} "),
        Colour::PerInstance => format!("\x1b[{}m{name}\x1b[0m ", COLOURS[instance % COLOURS.len()]),
    }
}

/// Write errors are passed over: a closed terminal is no reason to stop reading what the instances print, which would
/// block them.
fn write_lines(queue: &mpsc::Receiver<(Stream, String)>, mut sinks: Sinks, dropped: &AtomicU64) {
    for (stream, line) in queue {
        let sink = match stream {
            Stream::Stdout => &mut sinks.stdout,
            Stream::Stderr => &mut sinks.stderr,
        };
        let _ = sink.write_all(line.as_bytes());
        report_dropped(&mut sinks, dropped);
    }
    report_dropped(&mut sinks, dropped);
}

fn report_dropped(sinks: &mut Sinks, dropped: &AtomicU64) {
    let count = dropped.swap(0, Ordering::Relaxed);
    if count > 0 {
        let _ = writeln!(sinks.stderr, "cloakroom | dropped {count} lines that came faster than they could be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError, mpsc::Receiver};

    /// Keeps what is written, and waits before each write until the gate gives a token or is dropped.
    struct Terminal {
        written: Arc<Mutex<Vec<u8>>>,
        gate: Option<Receiver<()>>,
    }

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(gate) = &self.gate {
                let _ = gate.recv();
            }
            self.written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Screen {
        stdout: Arc<Mutex<Vec<u8>>>,
        stderr: Arc<Mutex<Vec<u8>>>,
    }

    impl Screen {
        fn new(gate: Option<Receiver<()>>) -> (Self, Sinks) {
            let screen = Self { stdout: Arc::default(), stderr: Arc::default() };
            let stdout = Terminal { written: Arc::clone(&screen.stdout), gate };
            let stderr = Terminal { written: Arc::clone(&screen.stderr), gate: None };
            (screen, Sinks { stdout: Box::new(stdout), stderr: Box::new(stderr) })
        }

        fn read(bytes: &Mutex<Vec<u8>>) -> String {
            String::from_utf8(bytes.lock().unwrap().clone()).unwrap()
        }
    }

    /// With several instances on one terminal nobody could tell otherwise which of them said what.
    #[tokio::test]
    async fn each_line_carries_its_instance_and_keeps_its_stream() {
        let (screen, sinks) = Screen::new(None);
        let (printer, mut finished) = Printer::start(sinks).unwrap();
        let (first, second) = (prefix(0, 10, Colour::Plain), prefix(9, 10, Colour::PerInstance));
        printer.clone().forward(&b"ready\r\nserving"[..], Stream::Stdout, first).await;
        printer.forward(&b"oops\n"[..], Stream::Stderr, second).await;
        assert!(finished.changed().await.is_err(), "the writer ends with its last printer");
        assert_eq!(Screen::read(&screen.stdout), "instance  1 | ready\ninstance  1 | serving\n");
        assert_eq!(Screen::read(&screen.stderr), "\x1b[35minstance 10 |\x1b[0m oops\n");
    }

    /// A terminal that is paused with Ctrl-S would otherwise stop every instance as soon as its pipe is full.
    #[tokio::test]
    async fn a_blocked_terminal_costs_lines_but_never_blocks() {
        let (gate, blocked) = mpsc::channel();
        let (screen, sinks) = Screen::new(Some(blocked));
        let (printer, mut finished) = Printer::start(sinks).unwrap();
        let text = "line\n".repeat(OUTPUT_QUEUE_LINES_MAX * 2);
        printer.forward(text.as_bytes(), Stream::Stdout, String::new()).await;
        drop(gate);
        assert!(finished.changed().await.is_err());
        let written = Screen::read(&screen.stdout).lines().count();
        let report = Screen::read(&screen.stderr);
        // One more than the queue holds, if the writer had taken the first line before the queue was full.
        assert!((OUTPUT_QUEUE_LINES_MAX..=OUTPUT_QUEUE_LINES_MAX + 1).contains(&written), "{written} lines");
        let dropped = OUTPUT_QUEUE_LINES_MAX * 2 - written;
        assert!(report.contains(&format!("dropped {dropped} lines")), "{report}");
    }
}
