//! `cargo xtask bench proxy`: what one core of each proxy carries, and what a request costs it.
//!
//! The proxy has core 0 to itself; the load generator and the origin share core 1. Each proxy keeps connections alive
//! on both sides and sets about the same headers. The proxies take turns, round by round, so that whatever else the
//! machine does meets all of them; a result is the median over the rounds. Requests per second say what the proxy
//! carries only while its core is busy; processor time per request says what it costs in any case.

mod contestant;
mod process;
mod report;
mod usage;
mod wrk;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::contestant::{Contestant, Place};
use self::process::Running;
use self::usage::Usage;
use self::wrk::Load;
use crate::requirements::{self, NeededBy};
use crate::step::{self, CargoLine};
use crate::{console, workspace};

/// The core of the proxy.
const PROXY_CORE: usize = 0;
/// The core of the load generator and of the origin.
const LOAD_CORE: usize = 1;
const CORES_MIN: usize = 2;

/// Connections are opened, caches filled and code paged in before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench proxy
  cargo xtask bench proxy --rounds 5 --seconds 10 --json proxy.json
  cargo xtask bench proxy --profile release --only cloakroom,haproxy";

/// Options of `cargo xtask bench proxy`.
#[derive(Args, Serialize)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Seconds that each proxy is measured in each round
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How many turns each proxy gets
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Connections of the load generator
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// Write every round to this file
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    json: Option<PathBuf>,
    /// Only these proxies, separated by commas
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Contestant::Cloakroom, Contestant::Haproxy, Contestant::Nginx])]
    only: Vec<Contestant>,
    /// How Cloakroom is compiled
    #[arg(long, value_enum, default_value_t = Profile::BenchProxy)]
    profile: Profile,
}

/// A cargo profile.
#[derive(Clone, Copy, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Profile {
    /// Optimised across all crates: what is compared
    BenchProxy,
    /// Quicker to compile
    Release,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::BenchProxy => "bench-proxy",
            Self::Release => "release",
        }
    }
}

/// One proxy in one round.
#[derive(Clone, Debug, Serialize)]
struct Measurement {
    round: u32,
    proxy: Contestant,
    requests: u64,
    requests_per_second: f64,
    latency_p50_ms: f64,
    latency_p99_ms: f64,
    cpu_user_s_per_100k: f64,
    cpu_system_s_per_100k: f64,
    /// The share of its core that the proxy used; well below 100, something else was the limit.
    core_busy_percent: f64,
    resident_mib: f64,
}

/// Prepares, measures in turns, reports.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if !cfg!(target_os = "linux") || cores < CORES_MIN {
        bail!("this benchmark pins processes and reads /proc: it needs Linux and {CORES_MIN} cores (here: {cores})");
    }
    requirements::ensure(NeededBy::BenchProxy)?;
    let cloakroom =
        if arguments.only.contains(&Contestant::Cloakroom) { Some(build(arguments.profile)?) } else { None };
    let machine = report::Machine::look(&arguments.only, cloakroom.as_deref())?;
    println!("{machine}");
    machine.warn_if_busy();
    let measurements = measure_all(arguments, cloakroom.as_deref())?;
    report::print_table(&arguments.only, &measurements);
    if let Some(path) = &arguments.json {
        report::write_json(path, &machine, arguments, &measurements)?;
        console::note(&format!("every round is in {}", path.display()));
    }
    Ok(())
}

fn build(profile: Profile) -> Result<PathBuf> {
    let line = CargoLine::new(["build", "--profile", profile.name(), "--package", "cloakroom-cli"]);
    step::run("build", &line.to_string(), || line.run())?;
    Ok(workspace::metadata()?.target_directory.join(profile.name()).join("cloakroom"))
}

fn measure_all(arguments: &Arguments, cloakroom: Option<&Path>) -> Result<Vec<Measurement>> {
    let folder = tempfile::Builder::new().prefix("cloakroom-bench-").tempdir().context("cannot make a folder")?;
    let ticks = usage::ticks_per_second();
    let [origin_port] = free_ports()?;
    let origin = Running::start(
        contestant::origin(&Place::new(folder.path(), "origin", origin_port, origin_port)?)?,
        LOAD_CORE,
    )?;
    origin.wait_until_it_answers(origin_port)?;
    let mut measurements = Vec::new();
    for round in 1..=arguments.rounds {
        console::heading(&format!("round {round} of {}: {} s each", arguments.rounds, arguments.seconds));
        for proxy in arguments.only.iter().copied() {
            let [port, admin_port] = free_ports()?;
            let mut place = Place::new(folder.path(), proxy.name(), port, origin_port)?;
            place.admin_port = admin_port;
            let running = Running::start(proxy.prepare(&place, cloakroom)?, PROXY_CORE)?;
            running.wait_until_it_answers(port)?;
            let measurement = measure(&running, proxy, port, round, arguments, ticks)
                .with_context(|| format!("{} in round {round}", proxy.name()))?;
            console::note(&report::one_line(&measurement));
            measurements.push(measurement);
        }
    }
    Ok(measurements)
}

fn measure(
    running: &Running,
    proxy: Contestant,
    port: u16,
    round: u32,
    arguments: &Arguments,
    ticks: f64,
) -> Result<Measurement> {
    let mut load = Load { port, connections: arguments.connections, duration: WARM_UP, core: LOAD_CORE };
    load.run()?;
    load.duration = Duration::from_secs(arguments.seconds.into());
    let before = Usage::of_tree(running.id())?;
    let figures = load.run()?;
    let after = Usage::of_tree(running.id())?;
    let user_s = (after.user_ticks - before.user_ticks) as f64 / ticks;
    let system_s = (after.system_ticks - before.system_ticks) as f64 / ticks;
    let hundred_thousands = figures.requests as f64 / 100_000.0;
    Ok(Measurement {
        round,
        proxy,
        requests: figures.requests,
        requests_per_second: figures.requests_per_second,
        latency_p50_ms: figures.latency_p50_ms,
        latency_p99_ms: figures.latency_p99_ms,
        cpu_user_s_per_100k: user_s / hundred_thousands,
        cpu_system_s_per_100k: system_s / hundred_thousands,
        core_busy_percent: (user_s + system_s) / figures.seconds * 100.0,
        resident_mib: after.resident_kib as f64 / 1024.0,
    })
}

/// Ports that nobody listens on. All are held until all are known, so that they differ.
fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    let mut ports = [0; COUNT];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
