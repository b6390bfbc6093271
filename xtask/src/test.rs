//! `cargo xtask test`: all tests of the workspace, after making sure that what they need is there.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::console;
use crate::requirements::{self, NeededBy};
use crate::step::CargoLine;

const EXAMPLES: &str = "\
Examples:
  cargo xtask test                        everything
  cargo xtask test -p cloakroom-session   one package
  cargo xtask test -- pins --nocapture    the tests whose name holds `pins`, with their output";

/// Options of `cargo xtask test`.
#[derive(Args, Default)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only this package; may be given several times
    #[arg(short, long, value_name = "NAME")]
    package: Vec<String>,
    /// A part of test names and options of the test programs
    #[arg(last = true, value_name = "ARGS")]
    test_arguments: Vec<String>,
}

/// Runs the tests. Nothing is printed after them, so that the runner's own summary stands at the end.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    requirements::ensure(NeededBy::Test)?;
    let line = line(arguments);
    console::heading(&format!("test: {line}"));
    let status = line.command().status().with_context(|| format!("cannot start `{line}`"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// The cargo command that runs the tests. Examples are compiled with them.
pub(crate) fn line(arguments: &Arguments) -> CargoLine {
    let mut words = vec!["test"];
    if arguments.package.is_empty() {
        words.push("--workspace");
    }
    for package in &arguments.package {
        words.extend(["--package", package]);
    }
    words.extend(["--all-features", "--no-fail-fast"]);
    if !arguments.test_arguments.is_empty() {
        words.push("--");
        words.extend(arguments.test_arguments.iter().map(String::as_str));
    }
    CargoLine::new(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One failed crate would otherwise hide the results of all that come after it.
    #[test]
    fn all_tests_run_whatever_fails() {
        let shown = line(&Arguments::default()).to_string();
        assert_eq!(shown, "cargo test --workspace --all-features --no-fail-fast");
    }

    /// A filter that cargo took for its own argument would run everything, or nothing.
    #[test]
    fn a_filter_reaches_the_test_programs() {
        let arguments = Arguments {
            package: vec!["cloakroom-wire".into()],
            test_arguments: vec!["pins".into(), "--nocapture".into()],
        };
        let shown = line(&arguments).to_string();
        assert_eq!(shown, "cargo test --package cloakroom-wire --all-features --no-fail-fast -- pins --nocapture");
    }
}
