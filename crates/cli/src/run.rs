//! `cloakroom run`: the gateway, in front of what runs already or of what it starts.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use cloakroom_config::{Config, SessionMode, StoreUrl, Sync};
use cloakroom_drill::{Deployment, DeploymentSettings};
use cloakroom_gateway::Gateway;
use cloakroom_supervise::Settings;

use crate::arguments::{Balance, Run, Session};
use crate::{check, instances, startup, terminal};

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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match arguments.instances {
            Some(count) => run_with_instances(config, &arguments, count).await,
            None => run_alone(config).await,
        }
    })
}

async fn run_alone(config: Config) -> anyhow::Result<ExitCode> {
    let parts = startup::open_parts(&config)?;
    let store = parts.store.clone();
    let gateway = startup::start(config, parts)?;
    announce(&gateway);
    instances::stop_signal().await;
    eprintln!("stopping: {} requests in flight; again to stop at once", gateway.in_flight());
    let stopped = tokio::task::spawn_blocking(move || gateway.stop());
    tokio::select! {
        stopped = stopped => stopped?,
        () = instances::stop_signal() => std::process::exit(130),
    }
    if let Some(store) = store {
        store.close().await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_with_instances(config: Config, arguments: &Run, count: NonZeroUsize) -> anyhow::Result<ExitCode> {
    let parts = startup::open_parts(&config)?;
    let store = parts.store.clone();
    let mut settings = Settings::new(arguments.command.clone(), count);
    settings.launcher = instances::launcher()?;
    settings.output = instances::output();
    let settings = DeploymentSettings { instances: settings, config, keys: parts.keys, store: parts.store };
    let deployment = Deployment::start(settings).await.map_err(instances::explain)?;
    announce(deployment.gateway());
    instances::serve(deployment, store).await
}

fn announce(gateway: &Gateway) {
    for address in gateway.listen_addresses() {
        eprintln!("listening on http://{address}");
    }
    if let Some(admin) = gateway.admin_address() {
        eprintln!("admin on http://{admin}: /metrics /healthz /readyz /v1/status");
    }
}

fn from_flags(arguments: &Run) -> Config {
    let mut config = Config::single_pool(arguments.listen.clone(), arguments.to.clone());
    if arguments.listen.is_empty() {
        config.gateway.listen = cloakroom_config::Gateway::default().listen;
    }
    config.gateway.admin = Some(arguments.admin);
    config.gateway.keys.clone_from(&arguments.keys);
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
