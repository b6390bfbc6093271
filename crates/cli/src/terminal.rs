//! What the commands print: errors, the log, and whether there is a terminal to colour.

use std::io::{IsTerminal as _, stderr, stdout};

use tracing_subscriber::EnvFilter;

/// The environment variable that says how much is logged.
const LOG_VARIABLE: &str = "CLOAKROOM_LOG";

/// What is logged where the environment says nothing.
#[derive(Clone, Copy)]
pub(crate) enum LogLevel {
    /// What an operator wants to know.
    Operator,
    /// Errors only, for a command that tells its own story.
    Errors,
}

/// Logs to standard error, so that what a command prints stays apart.
pub(crate) fn start_log(level: LogLevel) {
    let default = match level {
        LogLevel::Operator => "info,lsm_tree=warn,fjall=warn",
        LogLevel::Errors => "error",
    };
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .compact()
        .init();
}

/// Prints an error with everything behind it.
pub(crate) fn print_error(error: &anyhow::Error) {
    let (on, off) = if stderr().is_terminal() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    eprintln!("{on}error:{off} {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}

/// Whether standard output may be coloured (<https://no-color.org>).
pub(crate) fn has_colour() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns of the terminal, 80 where there is none.
pub(crate) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(stderr()).map(|size| usize::from(size.ws_col));
    size.ok().filter(|columns| (40..=400).contains(columns)).unwrap_or(80)
}
