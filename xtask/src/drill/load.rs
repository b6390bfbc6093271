//! The demo under wrk: a third into the run an instance is killed with SIGKILL, two thirds into it another is drained.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::requirements::{self, NeededBy};
use crate::step::{self, CargoLine};
use crate::{console, workspace};

/// What wrk plays; it counts what users would notice.
const SCRIPT: &str = include_str!("load.lua");

/// Options of `cargo xtask drill load`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How long the load lasts
    #[arg(long, default_value = "60")]
    seconds: u64,
    /// Connections of wrk
    #[arg(long, default_value = "64")]
    connections: u32,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    requirements::ensure(NeededBy::DrillLoad)?;
    let build = CargoLine::new(["build", "--release", "--package", "cloakroom-cli"]);
    step::run("build", &build.to_string(), || build.run())?;
    let program = workspace::root().join("target/release/cloakroom");
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("load.lua");
    std::fs::write(&script, SCRIPT)?;
    let (listen, admin) = (free_address()?, free_address()?);
    let mut demo = Demo::start(&program, directory.path(), listen, admin)?;
    let victim = demo.victim()?;
    let text = format!("wrk for {} s, kill -9 of instance 2, drain of instance 1", arguments.seconds);
    let output = step::run("load", &text, || load(&program, arguments, &script, listen, admin, &victim))?;
    judge(&output)
}

/// Runs wrk to its end, with the faults in between.
fn load(
    program: &Path,
    arguments: &Arguments,
    script: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
    victim: &str,
) -> Result<String> {
    let wrk = Command::new("wrk")
        .args([
            "-t2",
            &format!("-c{}", arguments.connections),
            &format!("-d{}s", arguments.seconds),
            "--timeout",
            "10s",
        ])
        .arg("-s")
        .arg(script)
        .arg(format!("http://{listen}/"))
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start wrk")?;
    let third = Duration::from_secs(arguments.seconds) / 3;
    std::thread::sleep(third);
    let killed = Command::new("kill").args(["-9", victim]).status()?;
    ensure!(killed.success(), "process {victim} could not be killed");
    console::note(&format!("killed instance 2 (process {victim})"));
    std::thread::sleep(third);
    let drained = Command::new(program).args(["pool", "drain", "shop/1", "--admin", &admin.to_string()]).status()?;
    ensure!(drained.success(), "instance 1 could not be drained");
    let output = wrk.wait_with_output()?;
    ensure!(output.status.success(), "wrk ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn judge(output: &str) -> Result<()> {
    let figures = output.lines().find_map(|line| line.strip_prefix("RESULT ")).context("wrk told no result")?;
    let figures: Vec<u64> = figures.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [answers, failed, signed_out, carts_lost, broken] = figures[..] else { bail!("wrk told {figures:?}") };
    for line in output.lines().filter(|line| line.contains("Requests/sec") || line.contains("Latency")) {
        console::note(line.trim());
    }
    console::note(&format!(
        "{answers} answers: {failed} failed, {broken} connections broken, {signed_out} signed out, {carts_lost} carts lost"
    ));
    ensure!(answers > 1000, "too few answers to say anything");
    ensure!(failed + signed_out + carts_lost + broken == 0, "users noticed");
    console::success("no user noticed");
    Ok(())
}

/// The running demo; killed when it goes out of scope.
struct Demo {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Demo {
    fn start(program: &Path, directory: &Path, listen: SocketAddr, admin: SocketAddr) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["demo", "--listen", &listen.to_string(), "--admin", &admin.to_string(), "--store"])
            .arg(directory.join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the demo")?;
        let stdout = child.stdout.take().context("the demo has no output")?;
        Ok(Self { child, output: Some(BufReader::new(stdout)) })
    }

    /// The process the demo itself suggests to kill. The rest of its output is read and thrown away.
    fn victim(&mut self) -> Result<String> {
        let mut victim = None;
        let mut lines = self.output.take().context("the demo's output was read already")?.lines();
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("kill -9 ") {
                victim = rest.split_whitespace().next().map(str::to_owned);
            }
            if line.contains("--tour") {
                break;
            }
        }
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        victim.context("the demo named no process")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself, and its instances end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
