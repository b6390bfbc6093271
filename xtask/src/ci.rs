//! `cargo xtask ci`: every gate in one command, cheap ones first. It stops at the first that fails.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::requirements::{self, NeededBy};
use crate::step::{self, CargoLine};
use crate::workspace::Metadata;
use crate::{console, test, tidy, workspace};

/// The longest an example may run. Examples show something and end; one that waits is a server in disguise.
const EXAMPLE_TIME_LIMIT: Duration = Duration::from_secs(60);

/// How often a running example is looked at.
const EXAMPLE_POLL: Duration = Duration::from_millis(20);

/// Examples with this end of their name measure; they take long and have no right answer.
const MEASURING_SUFFIX: &str = "_speed";

const EXAMPLES: &str = "\
Examples:
  cargo xtask ci                every gate
  cargo xtask ci --fast         before a commit: formatting, tidy, clippy
  cargo xtask ci --only-gates   everything but the tests
  cargo xtask ci --strict       a gate whose tool is missing fails";

/// Options of `cargo xtask ci`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only formatting, tidy and clippy
    #[arg(long, conflicts_with = "only_gates")]
    fast: bool,
    /// Everything but the tests
    #[arg(long)]
    only_gates: bool,
    /// Fail where a tool is not installed, instead of skipping its gate
    #[arg(long)]
    strict: bool,
}

/// What to do about a gate whose tool is not installed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MissingTool {
    Skip,
    Fail,
}

/// How a gate that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// For want of its tool.
    Skipped,
}

/// A gate that is one cargo command.
struct Gate {
    name: &'static str,
    line: CargoLine,
    /// A subcommand of cargo that Rust does not always come with, and how to get it.
    tool: Option<(&'static str, &'static str)>,
}

/// Runs the gates in order.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let start = Instant::now();
    let missing_tool = if arguments.strict { MissingTool::Fail } else { MissingTool::Skip };
    let mut skipped = Vec::new();
    let mut pass = |gate: Gate| -> Result<()> {
        if gate.run(missing_tool)? == Outcome::Skipped {
            skipped.push(gate.name);
        }
        Ok(())
    };
    pass(formatting())?;
    step::run("tidy", "cargo xtask tidy", tidy::check)?;
    pass(clippy())?;
    if !arguments.fast {
        pass(documentation())?;
        pass(deny())?;
        if !arguments.only_gates {
            requirements::ensure(NeededBy::Test)?;
            let line = test::line(&test::Arguments::default());
            step::run("test", "cargo xtask test", || line.run())?;
        }
        examples()?;
    }
    let elapsed = console::seconds(start.elapsed());
    if skipped.is_empty() {
        console::success(&format!("every gate passed in {elapsed}"));
    } else {
        console::warning(&format!("passed in {elapsed}, but skipped: {}", skipped.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}

impl Gate {
    fn run(&self, missing_tool: MissingTool) -> Result<Outcome> {
        if let Some((subcommand, installation)) = self.tool
            && !is_installed(subcommand)
        {
            let message = format!("cargo {subcommand} is not installed; to install it: {installation}");
            if missing_tool == MissingTool::Fail {
                bail!("{}: {message}", self.name);
            }
            console::heading(&format!("{}: {}", self.name, self.line));
            console::warning(&format!("{}: skipped: {message}", self.name));
            return Ok(Outcome::Skipped);
        }
        step::run(self.name, &self.line.to_string(), || self.line.run())?;
        Ok(Outcome::Passed)
    }
}

fn formatting() -> Gate {
    Gate {
        name: "fmt",
        line: CargoLine::new(["fmt", "--all", "--check"]),
        tool: Some(("fmt", "rustup component add rustfmt")),
    }
}

fn clippy() -> Gate {
    let words = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    Gate { name: "clippy", line: CargoLine::new(words), tool: Some(("clippy", "rustup component add clippy")) }
}

fn documentation() -> Gate {
    let line = CargoLine::new(["doc", "--workspace", "--no-deps", "--all-features"]);
    Gate { name: "doc", line: line.with_environment("RUSTDOCFLAGS", "-D warnings"), tool: None }
}

fn deny() -> Gate {
    Gate {
        name: "deny",
        line: CargoLine::new(["deny", "check"]),
        tool: Some(("deny", "cargo install --locked cargo-deny")),
    }
}

fn is_installed(subcommand: &str) -> bool {
    workspace::cargo()
        .args([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Builds and runs the examples. All are built in one go with the features that the tests have, so that nothing is
/// compiled twice; then each one is started as a program.
fn examples() -> Result<()> {
    let metadata = workspace::metadata()?;
    let names = runnable_examples(&metadata);
    if names.is_empty() {
        console::heading("examples: there are none to run");
        return Ok(());
    }
    let build = CargoLine::new(["build", "--workspace", "--all-features", "--examples"]);
    step::run("examples", &build.to_string(), || build.run())?;
    for (package, name) in names {
        let program = metadata.target_directory.join("debug").join("examples").join(&name);
        let alone = format!("cargo run --package {package} --all-features --example {name}");
        step::run(&format!("example {name}"), &alone, || run_example(&program))?;
    }
    Ok(())
}

/// The examples that end by themselves, with their packages.
fn runnable_examples(metadata: &Metadata) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for package in &metadata.packages {
        let examples = package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "example"));
        let runnable = examples.filter(|target| !target.name.ends_with(MEASURING_SUFFIX));
        names.extend(runnable.map(|target| (package.name.clone(), target.name.clone())));
    }
    names
}

fn run_example(program: &Path) -> Result<()> {
    let mut child = Command::new(program)
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let deadline = Instant::now() + EXAMPLE_TIME_LIMIT;
    while Instant::now() < deadline {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("the example ended with {status}"),
            None => std::thread::sleep(EXAMPLE_POLL),
        }
    }
    child.kill()?;
    child.wait()?;
    bail!("the example still ran after {} s", EXAMPLE_TIME_LIMIT.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A measuring example run as a gate would cost minutes and prove nothing.
    #[test]
    fn examples_that_measure_are_not_gates() {
        let text = r#"{"target_directory": "/t", "packages": [{"name": "p", "manifest_path": "/p/Cargo.toml",
            "dependencies": [], "targets": [{"name": "p", "kind": ["lib"]}, {"name": "seal", "kind": ["example"]},
            {"name": "seal_speed", "kind": ["example"]}]}]}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        assert_eq!(runnable_examples(&metadata), [("p".to_owned(), "seal".to_owned())]);
    }

    /// A gate that was skipped in silence would be taken for one that passed.
    #[test]
    fn a_missing_tool_is_told_apart_from_success() {
        let gate = Gate {
            name: "absent",
            line: CargoLine::new(["no-such-subcommand"]),
            tool: Some(("no-such-subcommand", "nothing installs it")),
        };
        assert_eq!(gate.run(MissingTool::Skip).ok(), Some(Outcome::Skipped));
        let error = gate.run(MissingTool::Fail).map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("nothing installs it")));
    }

    /// An example that fails or never ends would otherwise pass for a good one, or stop everything.
    #[test]
    fn an_example_that_fails_is_an_error() {
        assert!(run_example(Path::new("true")).is_ok());
        let error = run_example(Path::new("false")).map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("exit status: 1")));
    }
}
