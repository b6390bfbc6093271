//! Benchmarks that need other programs, and so are no `cargo bench`: they compare what users would otherwise run.

mod proxy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Options of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    benchmark: Option<Benchmark>,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Compare Cloakroom, HAProxy and nginx as plain HTTP/1.1 reverse proxies on one core
    Proxy(proxy::Arguments),
}

/// Runs a benchmark, or lists them all.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments.benchmark {
        Some(Benchmark::Proxy(arguments)) => proxy::run(&arguments)?,
        None => {
            println!("proxy   Cloakroom, HAProxy and nginx as plain HTTP/1.1 reverse proxies on one core");
            println!("        cargo xtask bench proxy            (Linux, two cores; `--help` lists its options)");
        }
    }
    Ok(ExitCode::SUCCESS)
}
