//! The development tasks of this repository behind one command, so that a person and continuous integration run the
//! same gates. `cargo xtask` is an alias in `.cargo/config.toml`.

mod bench;
mod ci;
mod console;
mod drill;
mod requirements;
mod step;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  cargo xtask test                     all tests of the workspace
  cargo xtask test -- pins --nocapture the tests whose name holds `pins`, with their output
  cargo xtask ci --fast                before a commit: formatting, tidy, clippy
  cargo xtask ci                       every gate, as continuous integration runs them
  cargo xtask bench                    which benchmarks there are
  cargo xtask drill load               wrk on the demo while instances die";

/// Development tasks: tests, gates and benchmarks.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run all tests of the workspace
    Test(test::Arguments),
    /// Check the invariants of the code that no compiler knows
    Tidy,
    /// Run every gate: formatting, tidy, clippy, documentation, deny, tests, examples
    Ci(ci::Arguments),
    /// Run a benchmark; without a name, list them
    Bench(bench::Arguments),
    /// Run a drill at length: load with faults, tours, crashes
    Drill(drill::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test(arguments) => test::run(&arguments),
        Task::Tidy => tidy::run(),
        Task::Ci(arguments) => ci::run(&arguments),
        Task::Bench(arguments) => bench::run(arguments),
        Task::Drill(arguments) => drill::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        console::failure(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}
