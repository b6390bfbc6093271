//! The gateway as a whole: its threads, and how they start and stop.
//!
//! Each worker is one thread with a single-threaded runtime. A control thread beside them runs health checks and the
//! admin listener, so that neither ever delays a request.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use cloakroom_balance::Health;
use cloakroom_config::{AccessLog as LogSetting, Config};
use cloakroom_session::KeyRing;
use cloakroom_store::SessionStore;
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::watch;

use crate::admin::{self, AdminToken};
use crate::clock;
use crate::listener;
use crate::shared::Shared;
use crate::telemetry::access_log::{AccessLog, LogBuffer, LogFormat};
use crate::upstream::health;
use crate::worker::Worker;

/// How often a worker closes idle connections and hands its log over.
const TIDY_INTERVAL: Duration = Duration::from_millis(100);

/// Tasks that run between two looks at the sockets, while there are any: enough to serve a whole batch of connections
/// that became ready together.
const EVENT_INTERVAL: u32 = 128;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error("{address} can't be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Which listener wanted it.
        listener: ListenerKind,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or runtime could not be made.
    #[error("a thread could not be started")]
    Thread(#[source] io::Error),
    /// The admin token can't be read.
    #[error("the admin token can't be used")]
    AdminToken(#[source] admin::AdminTokenError),
}

/// The two kinds of listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// For clients.
    Clients,
    /// For the operator.
    Admin,
}

/// A running gateway. Dropped, it stops at once; [`Gateway::stop`] lets requests finish.
pub struct Gateway {
    shared: Arc<Shared>,
    listen: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    control: Option<JoinHandle<()>>,
    log: Option<AccessLog>,
}

impl Gateway {
    /// Binds every listener and starts every thread. `store` is needed where [`crate::needs_store`] says so.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(config: Config, keys: KeyRing, store: Option<Arc<dyn SessionStore>>) -> Result<Self, StartError> {
        let workers = config.gateway.workers.map_or_else(cores, std::num::NonZero::get);
        let token = AdminToken::read(config.gateway.admin_token_file.as_deref()).map_err(StartError::AdminToken)?;
        let mut listen = Vec::new();
        let mut listeners: Vec<Vec<std::net::TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
        for address in &config.gateway.listen {
            let listener = ListenerKind::Clients;
            let (address, bound) = listener::bind(*address, workers).map_err(|source| StartError::Listen {
                address: *address,
                listener,
                source,
            })?;
            listen.push(address);
            for (own, listener) in listeners.iter_mut().zip(bound) {
                own.push(listener);
            }
        }
        let admin_listener = config.gateway.admin.map(|address| {
            let bound = listener::bind(address, 1);
            bound.map_err(|source| StartError::Listen { address, listener: ListenerKind::Admin, source })
        });
        let admin_listener = admin_listener.transpose()?;
        let admin = admin_listener.as_ref().map(|(address, _)| *address);

        let format = log_format(config.gateway.access_log);
        let shared = Arc::new(Shared::new(config, keys, store, workers));
        let log = AccessLog::start(format, Arc::clone(&shared), Box::new(io::stdout())).map_err(StartError::Thread)?;
        let (stop, stopping) = watch::channel(false);
        let mut gateway = Self { shared, listen, admin, stop, workers: Vec::new(), control: None, log: Some(log) };
        gateway.spawn_all(listeners, admin_listener.map(|(_, bound)| bound), token, &stopping)?;
        Ok(gateway)
    }

    fn spawn_all(
        &mut self,
        listeners: Vec<Vec<std::net::TcpListener>>,
        admin: Option<Vec<std::net::TcpListener>>,
        token: AdminToken,
        stopping: &watch::Receiver<bool>,
    ) -> Result<(), StartError> {
        let Some(log) = &self.log else { return Ok(()) };
        for (index, listeners) in listeners.into_iter().enumerate() {
            let (shared, buffer, stopping) = (Arc::clone(&self.shared), log.buffer(), stopping.clone());
            let thread = spawn(format!("worker-{index}"), move |runtime| {
                run_worker(runtime, shared, index, buffer, listeners, stopping);
            });
            self.workers.push(thread.map_err(StartError::Thread)?);
        }
        let (shared, dropped, stopping) = (Arc::clone(&self.shared), log.dropped(), stopping.clone());
        let control = spawn("control".to_owned(), move |runtime| {
            runtime.block_on(async move {
                health::start(&shared);
                admin::count_sessions(Arc::clone(&shared));
                let listener = admin.into_iter().flatten().next();
                admin::serve(shared, listener, token, dropped, stopping).await;
            });
        });
        self.control = Some(control.map_err(StartError::Thread)?);
        Ok(())
    }

    /// Where clients are listened for, with ports resolved.
    pub fn listen_addresses(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Where the operator is listened for.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Requests that are being served.
    pub fn in_flight(&self) -> u64 {
        self.shared.pools.iter().flat_map(|pool| &pool.instances).map(|instance| u64::from(instance.in_flight())).sum()
    }

    /// A handle for whoever runs the instances' processes.
    pub fn instances(&self) -> InstanceReports {
        InstanceReports { shared: Arc::clone(&self.shared) }
    }

    /// Stops accepting, lets requests finish until the configured deadline, and ends every thread. Blocks.
    pub fn stop(mut self) {
        // Without receivers every thread has ended already.
        let _ = self.stop.send(true);
        for thread in self.workers.drain(..).chain(self.control.take()) {
            if thread.join().is_err() {
                tracing::error!("a thread of the gateway panicked");
            }
        }
        if let Some(log) = self.log.take() {
            log.finish();
        }
    }
}

/// Tells a running gateway what became of processes it does not watch itself.
#[derive(Clone)]
pub struct InstanceReports {
    shared: Arc<Shared>,
}

impl InstanceReports {
    /// The process of the instance in this place of the first pool has ended: no request goes there.
    pub fn ended(&self, slot: usize) {
        if let Some(pool) = self.shared.pools.first() {
            pool.set_health(slot, Health::Down);
        }
    }

    /// A process listens there (again).
    pub fn serves(&self, slot: usize, incarnation: u32) {
        if let Some(pool) = self.shared.pools.first() {
            pool.set_incarnation(slot, incarnation);
            pool.set_health(slot, Health::Up);
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Starts a thread with a runtime of its own, and returns once the runtime stands.
fn spawn(name: String, run: impl FnOnce(&LocalRuntime) + Send + 'static) -> io::Result<JoinHandle<()>> {
    let (sender, built) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .on_thread_unpark(|| {
                clock::read();
            })
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                // Nobody waits any more only if the gateway gave up starting; the stop signal follows.
                let _ = sender.send(Ok(()));
                run(&runtime);
            }
            Err(error) => drop(sender.send(Err(error))),
        }
    })?;
    built.recv().map_err(io::Error::other)??;
    Ok(thread)
}

fn log_format(setting: LogSetting) -> LogFormat {
    use std::io::IsTerminal as _;
    let is_terminal = io::stdout().is_terminal();
    match setting {
        LogSetting::Off => LogFormat::Off,
        LogSetting::Json => LogFormat::Json,
        LogSetting::Auto if !is_terminal => LogFormat::Json,
        LogSetting::Human | LogSetting::Auto => LogFormat::Human { colour: is_terminal },
    }
}

fn run_worker(
    runtime: &LocalRuntime,
    shared: Arc<Shared>,
    index: usize,
    log: LogBuffer,
    listeners: Vec<std::net::TcpListener>,
    stopping: watch::Receiver<bool>,
) {
    runtime.block_on(async move {
        let deadline = shared.config.gateway.timeouts.shutdown;
        let worker = Worker::new(shared, index, log, stopping);
        for listener in listeners {
            let worker = Rc::clone(&worker);
            tokio::task::spawn_local(async move {
                if let Err(error) = listener::accept_all(worker, listener).await {
                    tracing::error!(%error, "a listener failed");
                }
            });
        }
        let tidying = Rc::clone(&worker);
        tokio::task::spawn_local(async move {
            let mut interval = tokio::time::interval(TIDY_INTERVAL);
            loop {
                interval.tick().await;
                tidying.tidy();
            }
        });
        worker.stopping().wait().await;
        worker.stop_connections();
        // The listeners take what already waits in their queues first.
        tokio::task::yield_now().await;
        let emptied = async {
            while worker.connection_count() > 0 {
                let _ = tokio::time::timeout(TIDY_INTERVAL, worker.connection_change()).await;
            }
        };
        if tokio::time::timeout(deadline, emptied).await.is_err() {
            let left = worker.shared.connections.load(Ordering::Relaxed);
            tracing::warn!(connections = left, "the deadline cut off connections that were still open");
        }
    });
}
