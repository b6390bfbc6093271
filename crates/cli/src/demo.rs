//! `cloakroom demo`: the shop on several instances behind the gateway, for a person or, as a tour, without one.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use cloakroom_config::{Config, HealthCheck, Probe, StoreUrl, Sync};
use cloakroom_drill::narrate::{self, Colour};
use cloakroom_drill::{Deployment, DeploymentSettings, TourSettings, Verdict, tour};
use cloakroom_supervise::{Output, Settings};

use crate::arguments::Demo;
use crate::{instances, startup, terminal};

/// The pool of the demonstration, and so the audience of its tokens.
const POOL: &str = "shop";

pub(crate) fn demo(arguments: Demo) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if arguments.tour { runtime.block_on(take_tour(arguments)) } else { runtime.block_on(open_shop(arguments)) }
}

async fn open_shop(arguments: Demo) -> anyhow::Result<ExitCode> {
    let directory = &arguments.store;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("{} can't be made; name another directory with --store", directory.display()))?;
    let mut config = Config::single_pool(vec![arguments.listen], Vec::new());
    config.gateway.admin = Some(arguments.admin);
    config.gateway.keys = directory.join("cloakroom.keys");
    config.sessions.store = StoreUrl::Embedded { path: directory.join("sessions"), sync: Sync::Disk };
    for pool in &mut config.pools {
        POOL.clone_into(&mut pool.name);
        pool.health = Some(HealthCheck::new(Probe::Http { path: "/health".to_owned() }));
    }
    let parts = startup::open_parts(&config)?;
    let mut settings = Settings::new(shop_command()?, arguments.instances);
    settings.launcher = instances::launcher()?;
    settings.environment = vec![("SHOP_SESSIONS".into(), "gateway".into())];
    settings.output = instances::output();
    let store = parts.store.clone();
    let settings = DeploymentSettings { instances: settings, config, keys: parts.keys, store: parts.store };
    let deployment = Deployment::start(settings).await.map_err(instances::explain)?;
    print_invitation(&deployment, &arguments)?;
    instances::serve(deployment, store).await
}

fn print_invitation(deployment: &Deployment, arguments: &Demo) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let count = deployment.instance_count();
    let (bold, off) = if terminal::has_colour() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let admin = deployment.admin_address().map(|address| address.to_string()).unwrap_or_default();
    let victim = deployment.pid(count.saturating_sub(2)).unwrap_or_default();
    writeln!(out, "\nA shop on {count} instances, and nobody's session on any of them.\n")?;
    writeln!(out, "  open       {bold}http://{}{off}", deployment.address())?;
    writeln!(out, "  operate    http://{admin}/v1/status   http://{admin}/metrics")?;
    writeln!(out, "  sessions   {}\n", arguments.store.display())?;
    writeln!(out, "  1. Log in, put something into the cart; watch \"served by instance\" change.")?;
    writeln!(
        out,
        "  2. {bold}kill -9 {victim}{off}   is instance {}; go on shopping while it restarts.",
        count.saturating_sub(1).max(1)
    )?;
    writeln!(
        out,
        "  3. {bold}cloakroom pool drain {POOL}/1{admin_flag}{off}\n     and that instance gets no new requests.",
        admin_flag = admin_flag(arguments)
    )?;
    writeln!(out, "  4. Stop this with Ctrl-C and start it again: you are still signed in.\n")?;
    writeln!(out, "cloakroom demo --tour does all that by itself and counts what was lost.\n")?;
    out.flush()?;
    Ok(())
}

fn admin_flag(arguments: &Demo) -> String {
    if arguments.admin.to_string() == "127.0.0.1:9400" {
        String::new()
    } else {
        format!(" --admin {}", arguments.admin)
    }
}

async fn take_tour(arguments: Demo) -> anyhow::Result<ExitCode> {
    let directory = tempfile::tempdir().context("the tour needs a temporary directory for its sessions")?;
    let store = startup::open_store(&StoreUrl::Embedded { path: directory.path().join("sessions"), sync: Sync::Disk })?;
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => u64::from(std::process::id()) ^ started_at_ms(),
    };
    let settings = TourSettings {
        command: shop_command()?,
        launcher: instances::launcher()?,
        environment: Vec::new(),
        output: Output::Discard,
        instances: arguments.instances,
        users: arguments.users,
        seed,
        store: store.clone(),
    };
    let colour = if terminal::has_colour() { Colour::Ansi } else { Colour::Plain };
    let is_silent = arguments.json;
    let mut report = |event| {
        if !is_silent {
            println!("{}", narrate::line(&event, colour));
        }
    };
    let toured = tokio::select! {
        toured = tour(settings, &mut report) => toured?,
        () = instances::stop_signal() => return Ok(ExitCode::from(130)),
    };
    store.close().await?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&toured)?);
    } else {
        println!("{}", narrate::table(&toured, colour));
    }
    Ok(match toured.verdict() {
        Verdict::Passed => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn started_at_ms() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or_default()
}

/// This binary in its role as one instance of the shop.
fn shop_command() -> anyhow::Result<Vec<OsString>> {
    Ok(vec![instances::own_path()?, "shop".into()])
}
