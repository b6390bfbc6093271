//! `cloakroom pool`: the instances of a running gateway.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http::Method;
use serde_json::Value;

use crate::admin_client::AdminClient;
use crate::arguments::{Pool, PoolAction};
use crate::terminal;

/// How often a waiting drain looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub(crate) fn pool(arguments: Pool) -> anyhow::Result<ExitCode> {
    let client = AdminClient::new(arguments.admin, arguments.token_file.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match arguments.action {
            PoolAction::Status => {
                let status = client.ask(Method::GET, "/v1/status").await?;
                if arguments.json {
                    println!("{status:#}");
                } else {
                    print_status(&status);
                }
            }
            PoolAction::Drain { instance, wait } => {
                let changed = change(&client, &instance, "drain").await?;
                let changed = match wait {
                    Some(seconds) => wait_until_empty(&client, &instance, Duration::from_secs(seconds)).await?,
                    None => changed,
                };
                report(&changed, &instance, "draining: it gets no new traffic", arguments.json);
            }
            PoolAction::Undrain { instance } => {
                let changed = change(&client, &instance, "undrain").await?;
                report(&changed, &instance, "no longer draining", arguments.json);
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn change(client: &AdminClient, instance: &str, change: &str) -> anyhow::Result<Value> {
    let (pool, number) = split(instance)?;
    client.ask(Method::POST, &format!("/v1/pools/{pool}/instances/{number}/{change}")).await
}

fn split(instance: &str) -> anyhow::Result<(&str, &str)> {
    let parts = instance.rsplit_once('/').filter(|(pool, number)| {
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte));
        !pool.is_empty() && !number.is_empty() && is_plain(pool) && is_plain(number)
    });
    parts.with_context(|| format!("{instance} names no instance; write POOL/NUMBER as `cloakroom pool status` does"))
}

async fn wait_until_empty(client: &AdminClient, instance: &str, deadline: Duration) -> anyhow::Result<Value> {
    let (pool, number) = split(instance)?;
    let started = Instant::now();
    loop {
        // Draining once more changes nothing and answers the instance's state.
        let state = client.ask(Method::POST, &format!("/v1/pools/{pool}/instances/{number}/drain")).await?;
        let in_flight = state["in_flight"].as_u64().unwrap_or_default();
        if in_flight == 0 {
            return Ok(state);
        }
        if started.elapsed() >= deadline {
            bail!("{in_flight} requests are still on {instance} after {} s", deadline.as_secs());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn report(state: &Value, instance: &str, text: &str, json: bool) {
    if json {
        println!("{state:#}");
    } else {
        println!("{instance} is {text} ({} requests in flight)", state["in_flight"]);
    }
}

fn print_status(status: &Value) {
    let colour = terminal::has_colour();
    println!(
        "{:<20} {:<22} {:<9} {:>9} {:>10} {:>7}",
        "INSTANCE", "ADDRESS", "STATE", "IN FLIGHT", "REQUESTS", "FAILED"
    );
    let pools = status["pools"].as_array().into_iter().flatten();
    for pool in pools {
        for instance in pool["instances"].as_array().into_iter().flatten() {
            let name = format!("{}/{}", pool["name"].as_str().unwrap_or("?"), instance["instance"]);
            let state = instance["state"].as_str().unwrap_or("?");
            let (on, off) = match (colour, state) {
                (false, _) => ("", ""),
                (true, "up") => ("\x1b[32m", "\x1b[0m"),
                (true, "draining") => ("\x1b[33m", "\x1b[0m"),
                (true, _) => ("\x1b[31m", "\x1b[0m"),
            };
            println!(
                "{name:<20} {:<22} {on}{state:<9}{off} {:>9} {:>10} {:>7}",
                instance["address"].as_str().unwrap_or("?"),
                instance["in_flight"].to_string(),
                instance["requests"].to_string(),
                instance["failures"].to_string(),
            );
        }
    }
    if let Some(sessions) = status["sessions"].as_u64() {
        println!("\n{sessions} sessions in the {} store", status["store"].as_str().unwrap_or("?"));
    }
}
