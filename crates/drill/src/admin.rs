//! A client of the gateway's admin listener: what the operator's commands and the drills ask of a running gateway.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use crate::connection::{Answer, Connection};

/// How long the admin listener may take over one request.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an answer that refuses a request is told.
const REFUSAL_CHARS_MAX: usize = 200;

/// Why the admin listener did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// Nothing listens there.
    #[error("the gateway's admin listener at {address} can't be reached")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long.
    #[error("the gateway's admin listener at {address} did not answer within {} s", ADMIN_TIMEOUT.as_secs())]
    TimedOut {
        /// The address.
        address: SocketAddr,
    },
    /// The exchange broke off, or the request could not be written.
    #[error("the exchange with the gateway's admin listener at {address} broke off: {reason}")]
    Broken {
        /// The address.
        address: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// It said no.
    #[error("the gateway's admin listener refused {path} with {status}: {text}")]
    Refused {
        /// What was asked for.
        path: String,
        /// The status.
        status: StatusCode,
        /// The beginning of the answer.
        text: String,
    },
    /// The answer is not what this version expects.
    #[error("the answer to {path} can't be read")]
    Unreadable {
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The state of a gateway, as `/v1/status` has it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// The gateway's version.
    pub version: String,
    /// Connections of clients that are open.
    pub client_connections: u64,
    /// Sessions in the store; absent without a store.
    pub sessions: Option<u64>,
    /// The kind of store; absent without one.
    pub store: Option<String>,
    /// The pools, in the order of the configuration.
    pub pools: Vec<PoolStatus>,
}

/// The state of one pool.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// How an instance is picked.
    pub balance: String,
    /// Its instances, in the order of their numbers.
    pub instances: Vec<InstanceStatus>,
}

/// The state of one instance.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct InstanceStatus {
    /// Its number, from 1.
    pub instance: usize,
    /// Where it listens.
    pub address: String,
    /// `up`, `draining`, `down` or `ejected`.
    pub state: String,
    /// Its share relative to the others.
    pub weight: u32,
    /// How often a process was started there.
    pub incarnation: u32,
    /// Requests on it.
    pub in_flight: u64,
    /// Requests it answered; absent in the answer to a drain.
    pub requests: Option<u64>,
    /// Of these, answers with a 5xx; absent in the answer to a drain.
    pub failures: Option<u64>,
}

/// A client of one gateway's admin listener.
#[derive(Clone)]
pub struct AdminClient {
    address: SocketAddr,
    token: Option<String>,
}

impl AdminClient {
    /// A client of the listener at `address`; off loopback it asks for a token.
    pub fn new(address: SocketAddr, token: Option<String>) -> Self {
        Self { address, token }
    }

    /// The gateway's state.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn status(&self) -> Result<Status, AdminError> {
        self.json(Method::GET, "/v1/status").await
    }

    /// Lets no new user onto an instance (numbered from 1) until [`AdminClient::undrain`].
    ///
    /// # Errors
    /// [`AdminError`]; [`AdminError::Refused`] where there is no such instance.
    pub async fn drain(&self, pool: &str, instance: usize) -> Result<InstanceStatus, AdminError> {
        self.json(Method::POST, &format!("/v1/pools/{pool}/instances/{instance}/drain")).await
    }

    /// Ends a drain.
    ///
    /// # Errors
    /// As for [`AdminClient::drain`].
    pub async fn undrain(&self, pool: &str, instance: usize) -> Result<InstanceStatus, AdminError> {
        self.json(Method::POST, &format!("/v1/pools/{pool}/instances/{instance}/undrain")).await
    }

    /// How many requests of a pool were sent to an instance once more, because the first one failed them. 0 where the
    /// gateway does not count it.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn retries(&self, pool: &str) -> Result<u64, AdminError> {
        let answer = self.ask(Method::GET, "/metrics").await?;
        let series = format!("cloakroom_retries_total{{pool=\"{pool}\"}}");
        Ok(sample(&String::from_utf8_lossy(&answer.body), &series).unwrap_or(0))
    }

    async fn json<T: for<'text> Deserialize<'text>>(&self, method: Method, path: &str) -> Result<T, AdminError> {
        let answer = self.ask(method, path).await?;
        serde_json::from_slice(&answer.body).map_err(|source| AdminError::Unreadable { path: path.to_owned(), source })
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Answer, AdminError> {
        let address = self.address;
        let broken = |reason| AdminError::Broken { address, reason };
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, address.to_string());
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::new())).map_err(|error| broken(error.to_string()))?;
        let exchange = async {
            let connection = Connection::open(address).await;
            let mut connection = connection.map_err(|source| AdminError::Unreachable { address, source })?;
            connection.send(request).await.map_err(|error| broken(error.reason))
        };
        let answer = tokio::time::timeout(ADMIN_TIMEOUT, exchange).await;
        let answer = answer.map_err(|_| AdminError::TimedOut { address })??;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(&answer.body).chars().take(REFUSAL_CHARS_MAX).collect();
        Err(AdminError::Refused { path: path.to_owned(), status: answer.status, text })
    }
}

/// The value of a counter in the OpenMetrics text format.
fn sample(text: &str, series: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    value.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The retries of another pool whose name begins alike would otherwise be taken for ours.
    #[test]
    fn a_counter_is_found_by_its_whole_series() {
        let text = "# TYPE cloakroom_retries counter\ncloakroom_retries_total{pool=\"shop2\"} 9\n\
                    cloakroom_retries_total{pool=\"shop\"} 4 1700000000\n# EOF\n";
        assert_eq!(sample(text, "cloakroom_retries_total{pool=\"shop\"}"), Some(4));
        assert_eq!(sample(text, "cloakroom_retries_total{pool=\"sho\"}"), None);
        assert_eq!(sample("", "x"), None);
    }
}
