//! The operator's listener: metrics, health, status, the keys that instances verify with, and drains.
//!
//! On loopback it needs no token, off loopback it has one. A browser on the operator's machine must not be led to it
//! by a foreign page: requests that name another host than an address or `localhost`, and changes that bring a foreign
//! `Origin`, are refused.

mod exposition;
mod status;
mod token;

use std::net::{IpAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::shared::Shared;

pub(crate) use token::AdminToken;
pub use token::AdminTokenError;

/// How often the store is asked for its number of sessions.
const SESSION_COUNT_INTERVAL: Duration = Duration::from_secs(5);

struct Admin {
    shared: Arc<Shared>,
    token: AdminToken,
    log_dropped: Arc<AtomicU64>,
    stopping: watch::Receiver<bool>,
}

/// Serves the admin listener, if there is one, until the gateway stops.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: Option<StdListener>,
    token: AdminToken,
    log_dropped: Arc<AtomicU64>,
    stopping: watch::Receiver<bool>,
) {
    let mut signal = stopping.clone();
    let stop = async move {
        // An error means that the sender is gone, which is a stop as well.
        let _ = signal.wait_for(|is_stopping| *is_stopping).await;
    };
    let Some(listener) = listener.and_then(|listener| TcpListener::from_std(listener).ok()) else {
        return stop.await;
    };
    let admin = Arc::new(Admin { shared, token, log_dropped, stopping });
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status::status))
        .route("/v1/pools/{pool}/instances/{instance}/{change}", post(change))
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), guard))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/.well-known/jwks.json", get(jwks))
        .with_state(admin);
    tokio::select! {
        served = axum::serve(listener, app) => {
            if let Err(error) = served {
                tracing::error!(%error, "the admin listener failed");
            }
        }
        () = stop => {}
    }
}

/// Keeps the number of sessions for scrapes, so that a scrape never waits for the store.
pub(crate) fn count_sessions(shared: Arc<Shared>) {
    let Some(store) = shared.store.clone() else { return };
    tokio::task::spawn_local(async move {
        let mut interval = tokio::time::interval(SESSION_COUNT_INTERVAL);
        loop {
            interval.tick().await;
            match store.session_count().await {
                Ok(count) => shared.session_count.store(count, Ordering::Relaxed),
                Err(error) => tracing::debug!(%error, "sessions could not be counted"),
            }
        }
    });
}

async fn guard(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_foreign = match headers.get(header::ORIGIN) {
        None => false,
        Some(origin) => origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")) != Some(host),
    };
    if is_foreign || !is_address(host) {
        return problem(StatusCode::FORBIDDEN, "use the admin listener by its address; pages of other sites may not");
    }
    match admin.token.permits(headers.get(header::AUTHORIZATION)) {
        true => next.run(request).await,
        false => {
            let mut answer = problem(StatusCode::UNAUTHORIZED, "send the admin token as a bearer token");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            answer
        }
    }
}

/// Whether a `Host` is an address or `localhost`, and so no name that somebody else's DNS points here.
fn is_address(host: &str) -> bool {
    let name = cloakroom_policy::route::host_name(host);
    name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

#[derive(Serialize)]
struct Problem<'text> {
    error: &'text str,
}

fn problem(status: StatusCode, text: &str) -> Response {
    (status, axum::Json(Problem { error: text })).into_response()
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    use cloakroom_balance::Availability;
    let has_instance = |pool: &crate::upstream::instance::Pool| {
        pool.instances
            .iter()
            .any(|instance| matches!(instance.availability(), Availability::Up | Availability::Ejected))
    };
    match admin.shared.pools.iter().find(|pool| !has_instance(pool)) {
        _ if *admin.stopping.borrow() => problem(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        Some(pool) => problem(StatusCode::SERVICE_UNAVAILABLE, &format!("no instance of pool {} serves", pool.name)),
        None => "ready\n".into_response(),
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    match exposition::encode(&admin.shared, &admin.log_dropped) {
        Ok(text) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(std::fmt::Error) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written"),
    }
}

#[derive(Serialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// A public key as RFC 8037 §2 writes it.
#[derive(Serialize)]
struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
}

async fn jwks(State(admin): State<Arc<Admin>>) -> Response {
    let key = |key: cloakroom_session::key_ring::PublicKey| Jwk {
        kty: "OKP",
        crv: "Ed25519",
        alg: "EdDSA",
        usage: "sig",
        kid: key.id,
        x: key.x,
    };
    let keys = admin.shared.keys.public_keys().into_iter().map(key).collect();
    let cached = [(header::CACHE_CONTROL, "public, max-age=60")];
    (cached, axum::Json(Jwks { keys })).into_response()
}

async fn change(
    State(admin): State<Arc<Admin>>,
    Path((pool_name, instance_name, change)): Path<(String, String, String)>,
) -> Response {
    let draining = match change.as_str() {
        "drain" => true,
        "undrain" => false,
        _ => return problem(StatusCode::NOT_FOUND, "the changes are drain and undrain"),
    };
    let Some(pool) = admin.shared.pools.iter().find(|pool| pool.name == pool_name) else {
        let names: Vec<_> = admin.shared.pools.iter().map(|pool| pool.name.as_str()).collect();
        return problem(StatusCode::NOT_FOUND, &format!("there is no such pool; the pools are: {}", names.join(", ")));
    };
    let Some(slot) = find_instance(pool, &instance_name) else {
        let text = format!(
            "pool {pool_name} has no such instance; name it by its number, 1 to {}, or its address",
            pool.instances.len()
        );
        return problem(StatusCode::NOT_FOUND, &text);
    };
    if pool.set_draining(slot, draining) {
        tracing::info!(instance = pool.instances[slot].label, change, "changed by the operator");
    }
    axum::Json(status::instance_status(pool, slot)).into_response()
}

fn find_instance(pool: &crate::upstream::instance::Pool, name: &str) -> Option<usize> {
    if let Ok(number) = name.parse::<usize>() {
        return number.checked_sub(1).filter(|slot| *slot < pool.instances.len());
    }
    let address = name.parse().ok()?;
    pool.instances.iter().position(|instance| instance.address == address)
}
