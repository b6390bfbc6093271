//! From a configuration to a running gateway: the key ring and the store are opened here, the only place that names a
//! concrete store.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use cloakroom_config::{Config, StoreUrl, Sync};
use cloakroom_gateway::{Gateway, ListenerKind, StartError, keys, needs_store};
use cloakroom_session::KeyRing;
use cloakroom_store::SessionStore;
use cloakroom_store_embedded::{EmbeddedStore, Settings};

/// What a gateway needs besides its configuration.
pub(crate) struct Parts {
    pub(crate) keys: KeyRing,
    pub(crate) store: Option<Arc<dyn SessionStore>>,
}

/// Reads or makes the key ring and opens the store, if any pool needs one.
pub(crate) fn open_parts(config: &Config) -> anyhow::Result<Parts> {
    let path = &config.gateway.keys;
    let (keys, origin) = keys::read_or_make(path).context("the gateway can't start without its key ring")?;
    if origin == keys::Origin::Made {
        tracing::info!(file = %path.display(), "a new key ring was made; all gateways of a fleet share one");
    }
    let store = if needs_store(config) { Some(open_store(&config.sessions.store)?) } else { None };
    Ok(Parts { keys, store })
}

/// Opens the store that a URL names.
pub(crate) fn open_store(url: &StoreUrl) -> anyhow::Result<Arc<dyn SessionStore>> {
    match url {
        StoreUrl::Embedded { path, sync } => {
            let sync = match sync {
                Sync::Disk => cloakroom_store_embedded::Sync::Disk,
                Sync::Os => cloakroom_store_embedded::Sync::Os,
            };
            let store = EmbeddedStore::open(path, Settings { sync, ..Settings::default() })
                .context("the session store can't be opened")?;
            Ok(Arc::new(store))
        }
    }
}

/// Starts a gateway; a busy port names the setting that changes it.
pub(crate) fn start(config: Config, parts: Parts) -> anyhow::Result<Gateway> {
    Gateway::start(config, parts.keys, parts.store).map_err(explain)
}

/// An error of the start with what to do about it.
pub(crate) fn explain(error: StartError) -> anyhow::Error {
    let StartError::Listen { address, listener, source } = &error else { return error.into() };
    let (flag, key) = match listener {
        ListenerKind::Clients => ("--listen", "gateway.listen"),
        ListenerKind::Admin => ("--admin", "gateway.admin"),
    };
    let port = address.port();
    let advice = match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            let other = port.checked_add(1).unwrap_or(8080);
            format!(
                "port {port} is in use by another process: choose one with {flag}, such as {flag} :{other}, or {key} in the file"
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need a privilege: choose another with {flag}, or {key} in the file")
        }
        _ => format!("choose another address with {flag}, or {key} in the file"),
    };
    anyhow!(error).context(advice)
}
