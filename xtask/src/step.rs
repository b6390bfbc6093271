//! A step is a piece of a task that says what it does, how long it took, and how to run it alone when it fails.

use std::fmt;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{console, workspace};

/// A command line of cargo, run in the root of the workspace with the terminal of this process.
pub(crate) struct CargoLine {
    environment: Vec<(&'static str, &'static str)>,
    arguments: Vec<String>,
}

impl CargoLine {
    /// `cargo` with these arguments.
    pub(crate) fn new<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self { environment: Vec::new(), arguments: arguments.into_iter().map(str::to_owned).collect() }
    }

    /// Sets a variable for this command alone.
    pub(crate) fn with_environment(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// The command, ready to run.
    pub(crate) fn command(&self) -> Command {
        let mut command = workspace::cargo();
        command.args(&self.arguments).envs(self.environment.iter().copied());
        command
    }

    /// Runs it to its end; an exit code other than zero is an error.
    pub(crate) fn run(&self) -> Result<()> {
        let status = self.command().status().with_context(|| format!("cannot start `{self}`"))?;
        if !status.success() {
            bail!("cargo ended with {status}");
        }
        Ok(())
    }
}

/// As one would type it in a shell.
impl fmt::Display for CargoLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(formatter, "{name}={} ", quoted(value))?;
        }
        formatter.write_str("cargo")?;
        self.arguments.iter().try_for_each(|argument| write!(formatter, " {}", quoted(argument)))
    }
}

/// Runs a step. `alone` is the command that runs nothing but this step.
pub(crate) fn run<T>(name: &str, alone: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    console::heading(&format!("{name}: {alone}"));
    let start = Instant::now();
    let outcome = work();
    let elapsed = console::seconds(start.elapsed());
    match &outcome {
        Ok(_) => console::success(&format!("{name}: ok in {elapsed}")),
        Err(_) => console::warning(&format!("{name}: failed after {elapsed}")),
    }
    outcome.with_context(|| format!("{name} failed; to run it alone: {alone}"))
}

fn quoted(argument: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./:,@%+".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command line that is printed unquoted would do something else when it is pasted into a shell.
    #[test]
    fn a_printed_line_can_be_pasted() {
        let line = CargoLine::new(["doc", "--no-deps", "it's", ""]).with_environment("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(line.to_string(), r"RUSTDOCFLAGS='-D warnings' cargo doc --no-deps 'it'\''s' ''");
    }

    /// A failure without the command that repeats it would send people through the whole task again.
    #[test]
    fn a_failed_step_names_the_command_that_repeats_it() {
        let error = run("fmt", "cargo fmt --all", || -> Result<()> { bail!("three files differ") });
        let shown = error.err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert_eq!(shown, "fmt failed; to run it alone: cargo fmt --all: three files differ");
    }
}
