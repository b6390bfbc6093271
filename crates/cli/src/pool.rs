//! `cloakroom pool`: the instances of a running gateway.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cloakroom_drill::{AdminClient, InstanceStatus, Status};

use crate::arguments::{Pool, PoolAction};
use crate::terminal;

/// How often a waiting drain looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub(crate) fn pool(arguments: Pool) -> anyhow::Result<ExitCode> {
    let token = match &arguments.token_file {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
            Some(text.trim().to_owned())
        }
    };
    let client = AdminClient::new(arguments.admin, token);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let acted = runtime.block_on(act(&client, arguments.action, arguments.json));
    acted.context("the gateway could not be asked; --admin names its admin address")?;
    Ok(ExitCode::SUCCESS)
}

async fn act(client: &AdminClient, action: PoolAction, json: bool) -> anyhow::Result<()> {
    match action {
        PoolAction::Status => {
            let status = client.status().await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&status)?);
            } else {
                print_status(&status);
            }
        }
        PoolAction::Drain { instance, wait } => {
            let (pool, number) = split(&instance)?;
            let mut state = client.drain(pool, number).await?;
            let started = Instant::now();
            let mut told = None;
            while let Some(seconds) = wait
                && state.in_flight > 0
            {
                if started.elapsed() >= Duration::from_secs(seconds) {
                    bail!("{} requests are still on {instance} after {seconds} s", state.in_flight);
                }
                if told.replace(state.in_flight) != Some(state.in_flight) {
                    eprintln!("{instance} is draining: {} requests left", state.in_flight);
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
                // Draining once more changes nothing and answers the instance's state.
                state = client.drain(pool, number).await?;
            }
            report(&state, &instance, "draining: it gets no new traffic", json)?;
        }
        PoolAction::Undrain { instance } => {
            let (pool, number) = split(&instance)?;
            let state = client.undrain(pool, number).await?;
            report(&state, &instance, "no longer draining", json)?;
        }
    }
    Ok(())
}

fn split(instance: &str) -> anyhow::Result<(&str, usize)> {
    let parts = instance.rsplit_once('/').and_then(|(pool, number)| {
        let is_plain = pool.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        number.parse().ok().filter(|_| is_plain && !pool.is_empty()).map(|number| (pool, number))
    });
    parts.with_context(|| format!("{instance} names no instance; write POOL/NUMBER as `cloakroom pool status` does"))
}

fn report(state: &InstanceStatus, instance: &str, text: &str, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(state)?);
    } else {
        println!("{instance} is {text} ({} requests in flight)", state.in_flight);
    }
    Ok(())
}

fn print_status(status: &Status) {
    let colour = terminal::has_colour();
    println!(
        "{:<20} {:<22} {:<9} {:>9} {:>9} {:>6}",
        "INSTANCE", "ADDRESS", "STATE", "IN FLIGHT", "REQUESTS", "FAILED"
    );
    for pool in &status.pools {
        for instance in &pool.instances {
            let name = format!("{}/{}", pool.name, instance.instance);
            let (on, off) = match (colour, instance.state.as_str()) {
                (false, _) => ("", ""),
                (true, "up") => ("\x1b[32m", "\x1b[0m"),
                (true, "draining") => ("\x1b[33m", "\x1b[0m"),
                (true, _) => ("\x1b[31m", "\x1b[0m"),
            };
            println!(
                "{name:<20} {:<22} {on}{:<9}{off} {:>9} {:>9} {:>6}",
                instance.address,
                instance.state,
                instance.in_flight,
                instance.requests.unwrap_or_default(),
                instance.failures.unwrap_or_default(),
            );
        }
    }
    if let (Some(sessions), Some(store)) = (status.sessions, &status.store) {
        println!("\n{sessions} sessions in the {store} store");
    }
}
