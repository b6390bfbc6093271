//! The gateway's state as JSON.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use cloakroom_balance::Availability;
use serde::Serialize;

use super::Admin;
use crate::telemetry::metrics::CLASSES;
use crate::upstream::instance::Pool;
use crate::worker::algorithm;

#[derive(Serialize)]
struct Status {
    version: &'static str,
    client_connections: usize,
    sessions: Option<u64>,
    store: Option<&'static str>,
    pools: Vec<PoolStatus>,
}

#[derive(Serialize)]
struct PoolStatus {
    name: String,
    balance: &'static str,
    instances: Vec<InstanceStatus>,
}

/// One instance as the operator sees it.
#[derive(Serialize)]
pub(super) struct InstanceStatus {
    instance: usize,
    address: String,
    state: &'static str,
    weight: u32,
    incarnation: u32,
    in_flight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u64>,
}

pub(super) async fn status(State(admin): State<Arc<Admin>>) -> Response {
    let shared = &admin.shared;
    let pools = shared.pools.iter().enumerate().map(|(pool_index, pool)| {
        let instances = (0..pool.instances.len()).map(|slot| {
            let count = |class: usize| shared.metrics.sum(|worker| &worker.instances[pool_index][slot][class]);
            let mut status = instance_status(pool, slot);
            status.requests = Some((0..CLASSES.len()).map(count).sum());
            status.failures = Some(count(4));
            status
        });
        PoolStatus {
            name: pool.name.clone(),
            balance: algorithm(pool.config.balance).as_str(),
            instances: instances.collect(),
        }
    });
    axum::Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        client_connections: shared.connections.load(Ordering::Relaxed),
        sessions: shared.store.as_ref().map(|_| shared.session_count.load(Ordering::Relaxed)),
        store: shared.store.as_ref().map(|store| store.capabilities().name),
        pools: pools.collect(),
    })
    .into_response()
}

pub(super) fn instance_status(pool: &Pool, slot: usize) -> InstanceStatus {
    let instance = &pool.instances[slot];
    InstanceStatus {
        instance: slot + 1,
        address: instance.address.to_string(),
        state: state(instance.availability()),
        weight: instance.weight,
        incarnation: instance.incarnation(),
        in_flight: instance.in_flight(),
        requests: None,
        failures: None,
    }
}

/// The word for a state, in metrics and status alike.
pub(super) fn state(availability: Availability) -> &'static str {
    match availability {
        Availability::Up => "up",
        Availability::Draining => "draining",
        Availability::Down => "down",
        Availability::Ejected => "ejected",
    }
}
