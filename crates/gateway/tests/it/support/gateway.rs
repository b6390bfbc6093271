//! A gateway in this process, on ports of the system's choice.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom_config::{AccessLog, Config, SessionMode};
use cloakroom_gateway::Gateway;
use cloakroom_session::{KeyRing, Timestamp};
use cloakroom_store::SessionStore;

use super::client::{Browser, RawClient};
use super::origin::RawOrigin;
use super::wire::Message;
use super::{PATIENCE, holds};

/// The ring of every test: two gateways with it are of one fleet.
pub(crate) fn key_ring() -> KeyRing {
    KeyRing::parse(&KeyRing::generate(&[7; 64], Timestamp::from_millis(1))).unwrap()
}

/// A gateway with one pool named `default`; one worker, no sessions, no access log. Stops when it is dropped.
pub(crate) struct TestGateway {
    gateway: Option<Gateway>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl TestGateway {
    /// In front of these origins.
    pub(crate) fn start(origins: &[&RawOrigin]) -> Self {
        Self::with(origins, |_| {})
    }

    /// With settings of its own.
    pub(crate) fn with(origins: &[&RawOrigin], tweak: impl FnOnce(&mut Config)) -> Self {
        let addresses = origins.iter().map(|origin| origin.address).collect();
        Self::at(addresses, None, tweak)
    }

    /// With sessions in this store, told to instances as plain JSON, which tests can read.
    pub(crate) fn with_store(
        origins: &[&RawOrigin],
        store: Arc<dyn SessionStore>,
        tweak: impl FnOnce(&mut Config),
    ) -> Self {
        let addresses = origins.iter().map(|origin| origin.address).collect();
        Self::at(addresses, Some(store), |config| {
            config.pools[0].session = SessionMode::Json;
            tweak(config);
        })
    }

    /// In front of any addresses.
    pub(crate) fn at(
        instances: Vec<SocketAddr>,
        store: Option<Arc<dyn SessionStore>>,
        tweak: impl FnOnce(&mut Config),
    ) -> Self {
        let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
        let mut config = Config::single_pool(vec![loopback], instances);
        config.gateway.admin = Some(loopback);
        config.gateway.workers = NonZeroUsize::new(1);
        config.gateway.access_log = AccessLog::Off;
        config.gateway.timeouts.shutdown = Duration::ZERO;
        config.pools[0].session = SessionMode::Off;
        tweak(&mut config);
        let gateway = Gateway::start(config, key_ring(), store).unwrap();
        let (address, admin) = (gateway.listen_addresses()[0], gateway.admin_address().unwrap());
        Self { gateway: Some(gateway), address, admin }
    }

    pub(crate) fn client(&self) -> RawClient {
        RawClient::connect(self.address)
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.address)
    }

    pub(crate) fn running(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// Hands the gateway over, to be stopped elsewhere.
    pub(crate) fn take(&mut self) -> Gateway {
        self.gateway.take().unwrap()
    }

    /// A request to the admin listener, with more header lines.
    pub(crate) fn admin_ask(&self, method_and_path: &str, lines: &str) -> Message {
        let request = format!("{method_and_path} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
        RawClient::connect(self.admin).ask(request)
    }

    /// The same, from the machine itself.
    pub(crate) fn admin(&self, method_and_path: &str) -> Message {
        self.admin_ask(method_and_path, &format!("Host: {}\r\n", self.admin))
    }

    /// Asks the admin listener until its answer holds `part`.
    pub(crate) fn wait_for_admin(&self, path: &str, part: &str) -> Message {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.admin(&format!("GET {path}"));
            if holds(&answer.body, part) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} never said {part:?}, but:\n{}", answer.text());
            std::thread::yield_now();
        }
    }

    /// The state of an instance, counted from 1, as the status tells it.
    pub(crate) fn wait_for_state(&self, instance: usize, state: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status: serde_json::Value = serde_json::from_slice(&self.admin("GET /v1/status").body).unwrap();
            if status["pools"][0]["instances"][instance - 1]["state"] == state {
                return;
            }
            assert!(Instant::now() < deadline, "instance {instance} never was {state}: {status}");
            std::thread::yield_now();
        }
    }

    /// The value of one line of the metrics, 0 where it does not stand.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let text = self.admin("GET /metrics").text();
        let value = text.lines().find_map(|known| known.strip_prefix(line)?.trim().parse().ok());
        value.unwrap_or(0.0)
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop();
        }
    }
}
