//! One core's part of the gateway: its own balancers, connections, caches, counters and randomness, so that a request
//! never waits for another core.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use cloakroom_balance::{Algorithm, Balancer, eligible};
use cloakroom_config::Balance;
use cloakroom_policy::retry::{self, RetryDecision};
use cloakroom_policy::{Hop, Replay, RetryBudget, Sent};
use http::HeaderName;
use rand::{Rng as _, SeedableRng as _, TryRng as _};
use slab::Slab;

use crate::clock::{self, Now};
use crate::completion::Place;
use crate::engine::Connection;
use crate::engine::Exchange as _;
use crate::engine::hyper::HyperExchange;
use crate::shared::Shared;
use crate::stage::session::TokenCache;
use crate::telemetry::access_log::LogBuffer;
use crate::telemetry::metrics::WorkerMetrics;
use crate::telemetry::record::{RequestId, RequestRecord, SessionEvent};
use crate::upstream::connections::Connections;
use crate::upstream::forward::Tried;
use crate::upstream::instance::Instance;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from a trusted hop.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// One worker.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) tokens: RefCell<TokenCache>,
    pools: Vec<RefCell<WorkerPool>>,
    retry_budget: RefCell<RetryBudget>,
    log: RefCell<LogBuffer>,
    random: RefCell<rand::rngs::SmallRng>,
    stopping: tokio::sync::watch::Receiver<bool>,
    /// Who is to be woken when the gateway stops: the task of each client's connection, once it waited.
    connections: RefCell<Slab<Option<Waker>>>,
    is_stopping: Cell<bool>,
    emptied: tokio::sync::Notify,
}

struct WorkerPool {
    balancer: Balancer,
    version: u64,
    connections: Connections<Connection>,
}

/// Tells a listener that the gateway stops.
pub(crate) struct Stopping(tokio::sync::watch::Receiver<bool>);

impl Stopping {
    pub(crate) async fn wait(&mut self) {
        // An error means that the sender is gone, which is a stop as well.
        let _ = self.0.wait_for(|is_stopping| *is_stopping).await;
    }
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        index: usize,
        log: LogBuffer,
        stopping: tokio::sync::watch::Receiver<bool>,
    ) -> Rc<Self> {
        let mut random = rand::rngs::SmallRng::from_rng(&mut rand::rng());
        let open_max = shared.config.gateway.limits.upstream_connections;
        let pools = shared.pools.iter().map(|pool| {
            RefCell::new(WorkerPool {
                balancer: Balancer::new(algorithm(pool.config.balance), &[], random.next_u64()),
                version: 0,
                connections: Connections::new(pool.instances.len(), open_max),
            })
        });
        let retry = &shared.config.gateway.retry;
        Rc::new(Self {
            metrics: shared.metrics.worker(index),
            pools: pools.collect(),
            retry_budget: RefCell::new(RetryBudget::new(retry.budget_percent, retry.reserve)),
            tokens: RefCell::new(TokenCache::new()),
            log: RefCell::new(log),
            random: RefCell::new(random),
            stopping,
            connections: RefCell::new(Slab::new()),
            is_stopping: Cell::new(false),
            emptied: tokio::sync::Notify::new(),
            shared,
        })
    }

    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.stopping.clone())
    }

    pub(crate) fn instance(&self, place: Place) -> &Instance {
        &self.shared.pools[place.pool].instances[place.slot as usize]
    }

    /// The balancer's choice among the instances that take new traffic and were not tried.
    pub(crate) fn pick(&self, pool_index: usize, tried: &Tried, now_ms: u64) -> Option<u32> {
        let pool = &self.shared.pools[pool_index];
        let mut own = self.pools[pool_index].borrow_mut();
        let version = pool.version();
        if own.version != version {
            own.version = version;
            let eligible = eligible(&pool.members(), pool.config.panic_threshold_percent);
            own.balancer.set_members(&eligible.members);
        }
        let load = |slot: u32| pool.instances[slot as usize].load(now_ms);
        own.balancer.pick(load, |slot| tried.contains(slot), self.random.borrow_mut().next_u64())
    }

    pub(crate) fn take_connection(&self, place: Place) -> Option<Connection> {
        self.pools[place.pool].borrow_mut().connections.take(place.slot as usize)
    }

    pub(crate) fn reserve_connection(&self, place: Place) -> bool {
        self.pools[place.pool].borrow_mut().connections.reserve(place.slot as usize)
    }

    pub(crate) fn put_connection(&self, place: Place, connection: Connection) {
        self.pools[place.pool].borrow_mut().connections.put(place.slot as usize, clock::last(), connection);
    }

    pub(crate) fn forget_connection(&self, place: Place) {
        self.pools[place.pool].borrow_mut().connections.forget(place.slot as usize);
    }

    /// Closes connections that idled too long, and hands finished log records over. Called every so often.
    pub(crate) fn tidy(&self) {
        let now = clock::read();
        for pool in &self.pools {
            pool.borrow_mut().connections.sweep(now, self.shared.config.gateway.timeouts.upstream_idle);
        }
        self.log.borrow_mut().flush();
    }

    pub(crate) fn deposit_retry_budget(&self) {
        self.retry_budget.borrow_mut().deposit();
    }

    pub(crate) fn may_retry(&self, sent: Sent, replay: Replay, tries_left: u32) -> RetryDecision {
        retry::decide(sent, replay, tries_left, &mut self.retry_budget.borrow_mut())
    }

    /// Fresh bytes of the system's random source.
    ///
    /// # Errors
    /// Where the system has none to give: no ticket may be made then.
    pub(crate) fn secret_bytes<const N: usize>(&self) -> Result<[u8; N], rand::rngs::SysError> {
        let mut bytes = [0; N];
        rand::rngs::SysRng.try_fill_bytes(&mut bytes)?;
        Ok(bytes)
    }

    /// Begins a request's record.
    pub(crate) fn record(&self, exchange: &HyperExchange, now: Now) -> RequestRecord {
        let connection = exchange.connection();
        let given = match connection.hop {
            Hop::Trusted => exchange.request_header_value(&REQUEST_ID),
            Hop::Client => None,
        };
        let given = given.filter(|value| {
            value.len() <= REQUEST_ID_BYTES_MAX
                && !value.is_empty()
                && value.as_bytes().iter().all(u8::is_ascii_graphic)
        });
        let request_id = given.cloned().map(RequestId::Given).unwrap_or_else(|| {
            let mut random = self.random.borrow_mut();
            RequestId::Own(u128::from(random.next_u64()) << 64 | u128::from(random.next_u64()))
        });
        let client = match connection.hop {
            Hop::Client => connection.peer.ip(),
            Hop::Trusted => {
                let forwarded_for = exchange.request_headers(&crate::stage::forwarded::X_FORWARDED_FOR);
                self.shared.trusted.client(connection.peer.ip(), forwarded_for)
            }
        };
        RequestRecord {
            started: now.instant,
            started_at: now.timestamp,
            client,
            method: exchange.method().clone(),
            uri: exchange.uri().clone(),
            host: exchange.host_header().cloned(),
            request_id,
            route: None,
            place: None,
            status: 0,
            refused_as: None,
            session: SessionEvent::None,
            tries: 0,
            body_bytes: 0,
            upstream: None,
            is_truncated: false,
        }
    }

    /// A request is over.
    pub(crate) fn settle(&self, record: &RequestRecord) {
        let duration = clock::last().saturating_duration_since(record.started);
        self.metrics.count_request(record, duration);
        self.log.borrow_mut().push(record, duration);
    }

    /// Counts a client's connection in; the number is its own until it is counted out.
    pub(crate) fn connection_opened(&self) -> usize {
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        self.connections.borrow_mut().insert(None)
    }

    /// Counts a client's connection out.
    pub(crate) fn connection_closed(&self, number: usize) {
        self.connections.borrow_mut().remove(number);
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.emptied.notify_waiters();
    }

    /// Ready once the gateway stops. A flag and one stored waker instead of a watch channel: a connection asks every
    /// time it is polled.
    pub(crate) fn poll_stopping(&self, number: usize, context: &mut Context<'_>) -> Poll<()> {
        if self.is_stopping.get() {
            return Poll::Ready(());
        }
        if let Some(waker @ None) = self.connections.borrow_mut().get_mut(number) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Lets every connection know that the gateway stops.
    pub(crate) fn stop_connections(&self) {
        self.is_stopping.set(true);
        for (_, waker) in self.connections.borrow_mut().iter_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }

    /// How many clients' connections this worker has.
    pub(crate) fn connection_count(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Waits until one of this worker's connections closes.
    pub(crate) async fn connection_change(&self) {
        self.emptied.notified().await;
    }
}

/// The algorithm that a configuration names.
pub(crate) fn algorithm(balance: Balance) -> Algorithm {
    match balance {
        Balance::RoundRobin => Algorithm::RoundRobin,
        Balance::LeastConnections => Algorithm::LeastConnections,
        Balance::Random => Algorithm::Random,
        Balance::TwoChoices => Algorithm::TwoChoices,
    }
}
