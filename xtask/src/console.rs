//! What the tasks say about themselves goes to standard error, so that standard output holds results alone. Colour is
//! for terminals: a log file with escape codes is no use to anyone.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::Duration;

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31;1";
const YELLOW: &str = "33";

/// Announces what happens next.
pub(crate) fn heading(text: &str) {
    eprintln!("{} {}", paint("==>", BOLD), paint(text, BOLD));
}

/// A line under the last heading.
pub(crate) fn note(text: &str) {
    eprintln!("    {text}");
}

/// Something that worked.
pub(crate) fn success(text: &str) {
    eprintln!("    {}", paint(text, GREEN));
}

/// Something to know about that stops nothing.
pub(crate) fn warning(text: &str) {
    eprintln!("    {}", paint(text, YELLOW));
}

/// Why the task ends here.
pub(crate) fn failure(text: &str) {
    eprintln!("{} {text}", paint("error:", RED));
}

/// A duration as people say it.
pub(crate) fn seconds(elapsed: Duration) -> impl Display {
    format!("{:.1} s", elapsed.as_secs_f64())
}

fn paint(text: &str, code: &str) -> String {
    // https://no-color.org: any value that is not empty turns colour off.
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if refused || !std::io::stderr().is_terminal() {
        return text.to_owned();
    }
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
