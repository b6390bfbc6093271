//! Active health checks, and the end of ejections. Runs beside the workers, never on them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloakroom_balance::{ActiveHealth, Change, Health, Thresholds, next_check_delay_ms};
use cloakroom_config::{HealthCheck, Probe};
use cloakroom_session::time::millis;
use http::{Request, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rand::RngExt as _;
use tokio::net::TcpStream;

use crate::clock;
use crate::shared::Shared;

/// How often ended ejections are looked for.
const READMISSION_INTERVAL: Duration = Duration::from_millis(100);

/// Starts a check of every instance whose pool asks for one, and the readmission of ejected ones.
pub(crate) fn start(shared: &Arc<Shared>) {
    for (pool_index, pool) in shared.pools.iter().enumerate() {
        let Some(check) = pool.config.health.clone() else { continue };
        for slot in 0..pool.instances.len() {
            tokio::task::spawn_local(watch(Arc::clone(shared), pool_index, slot, check.clone()));
        }
    }
    tokio::task::spawn_local(readmit(Arc::clone(shared)));
}

async fn readmit(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(READMISSION_INTERVAL);
    loop {
        interval.tick().await;
        let now_ms = clock::monotonic_ms(Instant::now());
        for pool in &shared.pools {
            pool.readmit(now_ms);
        }
    }
}

async fn watch(shared: Arc<Shared>, pool_index: usize, slot: usize, check: HealthCheck) {
    let pool = &shared.pools[pool_index];
    let address = pool.instances[slot].address;
    let thresholds = Thresholds { rise: check.rise, fall: check.fall };
    let mut health = ActiveHealth::new(Health::Up);
    loop {
        let passed = matches!(tokio::time::timeout(check.timeout, probe(address, &check.probe)).await, Ok(Ok(true)));
        match health.observe(passed, &thresholds) {
            Some(Change::WentUp) => pool.set_health(slot, Health::Up),
            Some(Change::WentDown) => pool.set_health(slot, Health::Down),
            None => {}
        }
        let delay_ms = next_check_delay_ms(millis(check.every), rand::rng().random());
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
}

async fn probe(address: SocketAddr, probe: &Probe) -> std::io::Result<bool> {
    let socket = TcpStream::connect(address).await?;
    let Probe::Http { path } = probe else { return Ok(true) };
    let handshake = hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(socket)).await;
    let (mut sender, connection) = handshake.map_err(std::io::Error::other)?;
    let connection = tokio::task::spawn_local(connection);
    let request = Request::get(path.as_str())
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, "cloakroom-health")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(std::io::Error::other)?;
    let answer = sender.send_request(request).await.map_err(std::io::Error::other);
    connection.abort();
    let status = answer?.status();
    Ok(status.is_success() || status.is_redirection())
}
