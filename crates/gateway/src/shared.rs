//! What all workers share: the resolved configuration, the pools, the key ring and the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use cloakroom_config::{Config, HostPattern, PathPattern, SessionMode};
use cloakroom_policy::{RouteTable, TrustedHops};
use cloakroom_session::{KeyRing, Lifetimes};
use cloakroom_store::SessionStore;

use crate::telemetry::metrics::Metrics;
use crate::upstream::instance::Pool;

/// The gateway's state that is not a worker's own.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) routes: RouteTable<usize>,
    /// How each route is written, for metrics and logs.
    pub(crate) route_labels: Vec<String>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) trusted: TrustedHops,
    pub(crate) keys: KeyRing,
    pub(crate) lifetimes: Lifetimes,
    /// Absent where no pool has sessions.
    pub(crate) store: Option<Arc<dyn SessionStore>>,
    pub(crate) metrics: Metrics,
    /// Clients' connections that are open.
    pub(crate) connections: AtomicUsize,
    /// Sessions in the store when it was last asked.
    pub(crate) session_count: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Shared")
    }
}

impl Shared {
    pub(crate) fn new(config: Config, keys: KeyRing, store: Option<Arc<dyn SessionStore>>, workers: usize) -> Self {
        let pools: Vec<Pool> = config.pools.iter().map(Pool::new).collect();
        let routes = config.routes.iter().enumerate().map(|(id, route)| {
            let host = match &route.host {
                None => cloakroom_policy::HostPattern::Any,
                Some(HostPattern::Exact(name)) => cloakroom_policy::HostPattern::Exact(name.clone()),
                Some(HostPattern::Wildcard(suffix)) => cloakroom_policy::HostPattern::Subdomains(suffix.clone()),
            };
            let path = match &route.path {
                PathPattern::Exact(path) => cloakroom_policy::PathPattern::Exact(path.clone()),
                PathPattern::Prefix(prefix) => {
                    cloakroom_policy::PathPattern::Prefix(prefix.trim_end_matches('/').to_owned())
                }
            };
            (host, path, id)
        });
        let sessions = &config.sessions;
        Self {
            routes: RouteTable::new(routes),
            route_labels: config.routes.iter().map(route_label).collect(),
            trusted: TrustedHops::new(config.gateway.trusted_proxies.clone()),
            lifetimes: Lifetimes { idle: sessions.idle, absolute: sessions.absolute, touch: sessions.touch },
            metrics: Metrics::new(workers, config.routes.len(), &pools),
            pools,
            keys,
            store,
            connections: AtomicUsize::new(0),
            session_count: AtomicU64::new(0),
            config,
        }
    }
}

/// Whether any pool of the configuration has sessions, so that a store is needed.
pub fn needs_store(config: &Config) -> bool {
    config.pools.iter().any(|pool| pool.session != SessionMode::Off)
}

fn route_label(route: &cloakroom_config::Route) -> String {
    let host = match &route.host {
        None => "",
        Some(HostPattern::Exact(name)) => name,
        Some(HostPattern::Wildcard(suffix)) => return format!("*.{suffix}{}", path_label(&route.path)),
    };
    format!("{host}{}", path_label(&route.path))
}

fn path_label(path: &PathPattern) -> String {
    match path {
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Prefix(prefix) => format!("{prefix}*"),
    }
}
