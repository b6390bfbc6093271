//! The handle through which running instances are watched, signalled, restarted and stopped.

use crate::{
    backoff::Backoff,
    error::{InstanceError, SpawnError},
    instance::{Instance, RestartReply, Shared, Slot, Wish},
    output::{Printer, Sinks},
    process::{Process, check_programs},
    settings::{INSTANCES_MAX, Output, Settings},
};
use rustix::process::{Pid, Signal};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{broadcast, mpsc, oneshot, watch},
};

/// Events kept for a subscriber that is behind; it then misses the oldest ones and is told so.
pub const EVENTS_MAX: usize = 1024;

/// Restarts of one instance that may be asked for while one is under way; whoever asks for more waits.
const RESTARTS_QUEUED_MAX: usize = 8;

/// The incarnation of the processes that [`Supervisor::start`] starts.
const FIRST_INCARNATION: u32 = 1;

/// How often a port is tried while waiting for an instance to listen.
const LISTEN_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long the last output may take to be written when stopping; a terminal that is blocked gets no more.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Something happened to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The instance, from 0.
    pub instance: usize,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// It was started again; it may not listen yet.
    Started {
        /// Its process id.
        pid: u32,
        /// 2 at the first start after the initial one, one more at each further one.
        incarnation: u32,
    },
    /// It could not be started again.
    StartFailed {
        /// What the operating system said.
        error: String,
    },
    /// It ended, by itself or because it was told to. All of its process group has gone.
    Exited {
        /// How its first process ended, for example `exit status: 1` or `signal: 9 (SIGKILL)`.
        status: String,
    },
    /// It will be started again.
    Restarting {
        /// How long from now.
        after: Duration,
    },
    /// It will not be started again: the supervisor was stopped or dropped. The last event of an instance.
    Stopped,
}

/// A handle to running instances; clones act on the same ones. When the last handle is dropped without
/// [`stop`](Self::stop), all instances are killed.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    wish: watch::Sender<Wish>,
    restarts: Vec<mpsc::Sender<RestartReply>>,
    written: Option<watch::Receiver<()>>,
}

impl Supervisor {
    /// Picks a free loopback port for each instance and starts them all. The ports stay the same over restarts.
    ///
    /// Must be called within a runtime with time and I/O enabled. With a launcher that calls
    /// [`exec_instance`](crate::exec_instance), the thread that drives the runtime must live as long as the
    /// supervisor: the kernel kills the instances when the thread that started them ends.
    ///
    /// # Errors
    /// When the settings cannot be met, or an instance does not start; those started before it have been killed.
    pub async fn start(settings: Settings) -> Result<Self, SpawnError> {
        let count = settings.count.get();
        if count > INSTANCES_MAX {
            return Err(SpawnError::TooManyInstances { count });
        }
        check_programs(&settings)?;
        let addresses = free_addresses(count).map_err(|source| SpawnError::NoPort { source })?;
        let (printer, written) = match settings.output {
            Output::Prefixed { .. } => {
                let sinks = Sinks::own_streams().map_err(|source| SpawnError::Output { source })?;
                let (printer, written) = Printer::start(sinks).map_err(|source| SpawnError::Output { source })?;
                (Some(printer), Some(written))
            }
            Output::Discard | Output::Inherit => (None, None),
        };
        let processes = start_all(&settings, &addresses, printer.as_ref()).await?;
        Ok(Self::supervise(settings, &addresses, processes, printer, written))
    }

    fn supervise(
        settings: Settings,
        addresses: &[SocketAddr],
        processes: Vec<Process>,
        printer: Option<Printer>,
        written: Option<watch::Receiver<()>>,
    ) -> Self {
        let backoff = Backoff::new(settings.backoff_min, settings.backoff_max, settings.settled);
        let slots = addresses.iter().zip(&processes).map(|(&address, process)| Slot {
            address,
            pid: AtomicU32::new(process.pid()),
            incarnation: AtomicU32::new(FIRST_INCARNATION),
        });
        let slots = slots.collect();
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let shared = Arc::new(Shared { settings, events, slots });
        let (wish, _) = watch::channel(Wish::Run);
        let mut restart_senders = Vec::new();
        for (index, process) in processes.into_iter().enumerate() {
            let (restart_sender, restarts) = mpsc::channel(RESTARTS_QUEUED_MAX);
            restart_senders.push(restart_sender);
            let (shared, printer, wish) = (Arc::clone(&shared), printer.clone(), wish.subscribe());
            let instance = Instance { index, shared, printer, wish, restarts, backoff: backoff.clone() };
            tokio::spawn(instance.supervise(process));
        }
        Self { inner: Arc::new(Inner { shared, wish, restarts: restart_senders, written }) }
    }

    /// Where each instance is to listen, in the order of their numbers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.inner.shared.slots.iter().map(|slot| slot.address).collect()
    }

    /// What happens to the instances from now on. The first starts are over by then: only a start that follows is an
    /// event.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.shared.events.subscribe()
    }

    /// The process id of an instance (from 0), while it has a process.
    pub fn pid(&self, instance: usize) -> Option<u32> {
        let pid = self.inner.shared.slots.get(instance)?.pid.load(Ordering::Acquire);
        (pid != 0).then_some(pid)
    }

    /// How often an instance (from 0) has been started: 1 after the first start. 0 for an instance that is not there.
    pub fn incarnation(&self, instance: usize) -> u32 {
        self.inner.shared.slots.get(instance).map_or(0, |slot| slot.incarnation.load(Ordering::Acquire))
    }

    /// Kills an instance's process group with SIGKILL. It is started again as after a crash.
    ///
    /// # Errors
    /// When the instance is not there or has no process now, or the signal cannot be sent.
    pub fn kill(&self, instance: usize) -> Result<(), InstanceError> {
        self.signal(instance, Signal::KILL)
    }

    /// Freezes an instance's process group (SIGSTOP): it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// As for [`kill`](Self::kill).
    pub fn pause(&self, instance: usize) -> Result<(), InstanceError> {
        self.signal(instance, Signal::STOP)
    }

    /// Lets a paused instance go on (SIGCONT).
    ///
    /// # Errors
    /// As for [`kill`](Self::kill).
    pub fn resume(&self, instance: usize) -> Result<(), InstanceError> {
        self.signal(instance, Signal::CONT)
    }

    /// Stops an instance (SIGTERM, and SIGKILL at the deadline) and starts it again at once. One that waits after a
    /// crash starts at once, too. Returns when the new process was started, which may not listen yet.
    ///
    /// # Errors
    /// When the instance is not there, the supervisor is stopping, or the new process cannot be started; in the last
    /// case it is retried as after a crash.
    pub async fn restart(&self, instance: usize) -> Result<(), InstanceError> {
        let count = self.inner.restarts.len();
        let restarts = self.inner.restarts.get(instance).ok_or(InstanceError::Unknown { instance, count })?;
        let (reply, answer) = oneshot::channel();
        let stopping = || InstanceError::Stopping { instance };
        restarts.send(reply).await.map_err(|_| stopping())?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Waits until something accepts connections at an instance's port; `false` if nothing does within `deadline`, if
    /// there is no such instance (from 0), or if the supervisor is stopped meanwhile.
    pub async fn wait_listening(&self, instance: usize, deadline: Duration) -> bool {
        let Some(slot) = self.inner.shared.slots.get(instance) else {
            return false;
        };
        let listening = async {
            while *self.inner.wish.borrow() == Wish::Run {
                if accepts(slot.address).await {
                    return true;
                }
                tokio::time::sleep(LISTEN_POLL_INTERVAL).await;
            }
            false
        };
        tokio::time::timeout(deadline, listening).await.unwrap_or(false)
    }

    /// Stops all instances for good: SIGTERM to all at once, SIGKILL to those that are there at the deadline. Returns
    /// when all have gone and their output was written. Further calls wait for the same end.
    pub async fn stop(&self) {
        self.inner.wish.send_replace(Wish::Stop);
        // Each task holds a receiver until it ends.
        self.inner.wish.closed().await;
        if let Some(mut written) = self.inner.written.clone() {
            let _ = tokio::time::timeout(FLUSH_MAX, written.changed()).await;
        }
    }

    fn signal(&self, instance: usize, signal: Signal) -> Result<(), InstanceError> {
        let slots = &self.inner.shared.slots;
        let slot = slots.get(instance).ok_or(InstanceError::Unknown { instance, count: slots.len() })?;
        let pid = i32::try_from(slot.pid.load(Ordering::Acquire)).ok().and_then(Pid::from_raw);
        let group = pid.ok_or(InstanceError::NotRunning { instance })?;
        rustix::process::kill_process_group(group, signal).map_err(|error| match error {
            rustix::io::Errno::SRCH => InstanceError::NotRunning { instance },
            error => InstanceError::Signal { instance, source: error.into() },
        })
    }
}

/// Distinct because all are bound at the same time. A stranger may take one between now and the instance's own bind;
/// the instance then says so in its output and is retried.
fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = (0..count).map(bind).collect::<io::Result<Vec<_>>>()?;
    listeners.iter().map(TcpListener::local_addr).collect()
}

async fn start_all(
    settings: &Settings,
    addresses: &[SocketAddr],
    printer: Option<&Printer>,
) -> Result<Vec<Process>, SpawnError> {
    let mut processes: Vec<Process> = Vec::with_capacity(addresses.len());
    for (instance, &address) in addresses.iter().enumerate() {
        match Process::start(settings, instance, address, printer) {
            Ok(process) => processes.push(process),
            Err(source) => {
                for process in &mut processes {
                    process.kill().await;
                }
                let program = settings.launcher.iter().chain(&settings.command).next().cloned().unwrap_or_default();
                return Err(SpawnError::Start { instance, program, source });
            }
        }
    }
    Ok(processes)
}

/// A connection to a port of the ephemeral range can, with no listener there, be given that very port as its own and so
/// connect to itself (simultaneous open, RFC 9293, section 3.5). Such a one is reset, or it would keep the port busy.
async fn accepts(address: SocketAddr) -> bool {
    let Ok(stream) = TcpStream::connect(address).await else {
        return false;
    };
    let to_itself = stream.local_addr().is_ok_and(|own| own == address);
    if to_itself {
        let _ = stream.set_zero_linger();
    }
    !to_itself
}
