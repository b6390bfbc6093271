//! `cloakroom run`: the gateway, in front of what runs already or of what it starts.

use std::process::ExitCode;

use cloakroom_config::{Config, SessionMode, StoreUrl, Sync};

use crate::arguments::{Balance, Run, Session};
use crate::{check, startup, terminal};

pub(crate) fn run(arguments: Run) -> anyhow::Result<ExitCode> {
    let config = match &arguments.file {
        Some(path) => match check::parse(path)? {
            Ok(config) => config,
            Err(errors) => {
                eprint!("{}", errors.render(terminal::has_colour(), terminal::width()));
                return Ok(ExitCode::FAILURE);
            }
        },
        None => from_flags(&arguments),
    };
    anyhow::ensure!(
        arguments.file.is_some() || !arguments.to.is_empty() || arguments.instances.is_some(),
        "say what to stand in front of: a FILE, --to ADDRESS,…, or --instances N -- COMMAND"
    );
    let parts = startup::open_parts(&config)?;
    let store = parts.store.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let gateway = startup::start(config, parts)?;
        announce(&gateway);
        stop_signal().await;
        eprintln!("stopping: {} requests in flight; again to stop at once", gateway.in_flight());
        let stopped = tokio::task::spawn_blocking(move || gateway.stop());
        tokio::select! {
            _ = stopped => {}
            () = stop_signal() => std::process::exit(130),
        }
        if let Some(store) = store {
            store.close().await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn announce(gateway: &cloakroom_gateway::Gateway) {
    for address in gateway.listen_addresses() {
        eprintln!("listening on http://{address}");
    }
    if let Some(admin) = gateway.admin_address() {
        eprintln!("admin on http://{admin}: /metrics /healthz /readyz /v1/status");
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("no signal can be waited for: stop the process by force");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn from_flags(arguments: &Run) -> Config {
    let listen = match arguments.listen.is_empty() {
        true => Config::single_pool(Vec::new(), Vec::new()).gateway.listen,
        false => arguments.listen.clone(),
    };
    let mut config = Config::single_pool(listen, arguments.to.clone());
    config.gateway.admin = Some(arguments.admin);
    config.gateway.keys = arguments.keys.clone();
    config.sessions.store = StoreUrl::Embedded { path: arguments.store.clone(), sync: Sync::Disk };
    for pool in &mut config.pools {
        pool.balance = match arguments.balance {
            Balance::RoundRobin => cloakroom_config::Balance::RoundRobin,
            Balance::LeastConnections => cloakroom_config::Balance::LeastConnections,
            Balance::Random => cloakroom_config::Balance::Random,
            Balance::TwoChoices => cloakroom_config::Balance::TwoChoices,
        };
        pool.session = match arguments.session {
            Session::Token => SessionMode::Token,
            Session::Json => SessionMode::Json,
            Session::Off => SessionMode::Off,
        };
    }
    config
}
