//! Instances that the command starts itself, with the gateway in front of them: `demo`, and `run --instances`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use cloakroom_drill::{Deployment, DeploymentError};
use cloakroom_store::SessionStore;
use cloakroom_supervise::{Colour, Output};

use crate::{startup, terminal};

/// The path of this binary.
pub(crate) fn own_path() -> anyhow::Result<OsString> {
    Ok(std::env::current_exe().context("the path of this program can't be found out")?.into_os_string())
}

/// What lets an instance end with this process, even by kill -9.
pub(crate) fn launcher() -> anyhow::Result<Vec<OsString>> {
    Ok(vec![own_path()?, "exec-instance".into(), "--".into()])
}

/// Instances' output with their number before each line.
pub(crate) fn output() -> Output {
    Output::Prefixed { colour: if terminal::has_colour() { Colour::PerInstance } else { Colour::Plain } }
}

/// An error of the start with what to do about it.
pub(crate) fn explain(error: DeploymentError) -> anyhow::Error {
    match error {
        DeploymentError::Gateway(error) => startup::explain(error),
        error => error.into(),
    }
}

/// Serves until Ctrl-C or SIGTERM, then stops everything in order: the gateway, the instances, the store.
pub(crate) async fn serve(deployment: Deployment, store: Option<Arc<dyn SessionStore>>) -> anyhow::Result<ExitCode> {
    stop_signal().await;
    eprintln!("stopping: {} requests in flight; again to stop at once", deployment.gateway().in_flight());
    tokio::select! {
        () = deployment.stop() => {}
        () = stop_signal() => std::process::exit(130),
    }
    if let Some(store) = store {
        store.close().await?;
    }
    Ok(ExitCode::SUCCESS)
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
