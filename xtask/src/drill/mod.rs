//! Drills at length: what the tests do briefly, repeated until chance has had its say, and the demo under a public load
//! generator.

mod load;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::step::{self, CargoLine};

/// Options of `cargo xtask drill`.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    drill: Drill,
}

#[derive(Subcommand)]
enum Drill {
    /// Load the demo with wrk while an instance is killed and another drained
    Load(load::Arguments),
    /// Take the tour again and again
    Tour {
        /// How often
        #[arg(long, default_value = "20")]
        times: u32,
    },
    /// Kill the whole demo in the middle of writing, again and again
    Crash {
        /// How often
        #[arg(long, default_value = "50")]
        times: u32,
    },
}

/// Runs a drill.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.drill {
        Drill::Load(arguments) => load::run(arguments)?,
        Drill::Tour { times } => {
            let build = CargoLine::new(["build", "--release", "--package", "cloakroom-cli"]);
            step::run("build", &build.to_string(), || build.run())?;
            let tour = CargoLine::new(["run", "--quiet", "--release", "--", "demo", "--tour"]);
            for time in 1..=*times {
                step::run(&format!("tour {time} of {times}"), &tour.to_string(), || tour.run())?;
            }
        }
        Drill::Crash { times } => {
            let test = ["test", "--quiet", "--package", "cloakroom-cli", "--test", "it", "crash", "--", "--nocapture"];
            let times = times.to_string();
            let mut command = CargoLine::new(test).command();
            let status =
                step::run("crash", "CLOAKROOM_CRASHES=50 cargo test -p cloakroom-cli --test it crash", || {
                    Ok(command.env("CLOAKROOM_CRASHES", times).status()?)
                })?;
            anyhow::ensure!(status.success(), "an acknowledged change was lost");
        }
    }
    Ok(ExitCode::SUCCESS)
}
