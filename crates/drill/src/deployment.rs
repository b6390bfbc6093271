//! An application behind a gateway, as one thing: the supervisor knows at once when a process ends, and the gateway is
//! told, so that no health check has to find out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cloakroom_config::{Config, Instance};
use cloakroom_gateway::{Gateway, InstanceReports, StartError};
use cloakroom_session::KeyRing;
use cloakroom_store::SessionStore;
use cloakroom_supervise::{Event, EventKind, InstanceError, Settings, SpawnError, Supervisor};
use tokio::net::TcpSocket;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use crate::admin::{AdminClient, AdminError};

/// How long instances may take until they listen, at the start and after a crash.
pub const LISTEN_DEADLINE: Duration = Duration::from_secs(30);
/// Tells an instance where the gateway publishes the keys that session tokens are verified with.
pub const JWKS_VARIABLE: &str = "CLOAKROOM_JWKS";
/// Tells an instance which pool its session tokens are made for.
pub const POOL_VARIABLE: &str = "CLOAKROOM_POOL";

/// How often an instance may end before it ever listened: a program that does not work is told of within a second or
/// two, and one whose database is a moment late gets its chance.
const ENDS_BEFORE_LISTENING_MAX: u32 = 4;

/// What stands behind the gateway, and how the gateway is set up.
pub struct DeploymentSettings {
    /// The instances of the configuration's first pool. Their environment also gets [`JWKS_VARIABLE`] (where there is an
    /// admin listener) and [`POOL_VARIABLE`], unless it has them.
    pub instances: Settings,
    /// The gateway's configuration. The instances of its first pool are replaced by those started here; port 0 is
    /// resolved for both kinds of listener.
    pub config: Config,
    /// The gateway's keys.
    pub keys: KeyRing,
    /// Needed where [`cloakroom_gateway::needs_store`] says so. Whoever opened it closes it, after the stop.
    pub store: Option<Arc<dyn SessionStore>>,
}

/// Why a deployment did not start. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// The configuration has no pool to put instances into.
    #[error("the configuration has no pool")]
    NoPool,
    /// No port for the admin listener.
    #[error("cannot find a free port for the admin listener")]
    NoPort(#[source] io::Error),
    /// The instances could not be started.
    #[error("the instances could not be started")]
    Spawn(#[from] SpawnError),
    /// Instances run and do not listen.
    #[error(
        "after {} s nothing listens on the PORT of instance {}",
        LISTEN_DEADLINE.as_secs(),
        numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
    )]
    NotListening {
        /// Which ones, from 1.
        numbers: Vec<usize>,
    },
    /// An instance ends each time before it listens.
    #[error("instance {number} ended {times} times before it listened on its PORT ({status})")]
    KeepsEnding {
        /// Which one, from 1.
        number: usize,
        /// How often.
        times: u32,
        /// How it ended the last time.
        status: String,
    },
    /// The gateway did not start.
    #[error("the gateway could not be started")]
    Gateway(#[from] StartError),
}

/// Running instances with a gateway in front of them. Dropped without [`Deployment::stop`], the instances are killed and
/// the gateway stops at once.
pub struct Deployment {
    gateway: Gateway,
    supervisor: Supervisor,
    pool: String,
    admin: Option<AdminClient>,
    /// Its one task, which carries events to the gateway, ends when this is dropped.
    reporter: JoinSet<()>,
}

impl Deployment {
    /// Starts the instances, waits until all of them listen, and starts the gateway. Must be called within a runtime
    /// with time and I/O enabled, on a thread that lives as long as the deployment (see [`Supervisor::start`]).
    ///
    /// # Errors
    /// [`DeploymentError`]; whatever had been started has been stopped.
    pub async fn start(settings: DeploymentSettings) -> Result<Self, DeploymentError> {
        let DeploymentSettings { mut instances, mut config, keys, store } = settings;
        let pool = config.pools.first().map(|pool| pool.name.clone()).ok_or(DeploymentError::NoPool)?;
        let reserved = match &mut config.gateway.admin {
            Some(address) if address.port() == 0 => {
                let guard = guard(*address).map_err(DeploymentError::NoPort)?;
                *address = guard.local_addr().map_err(DeploymentError::NoPort)?;
                Some(guard)
            }
            _ => None,
        };
        tell_instances(&mut instances.environment, &pool, config.gateway.admin);
        let supervisor = Supervisor::start(instances).await?;
        let mut events = supervisor.subscribe();
        if let Err(error) = all_listen(&supervisor, &mut events).await {
            supervisor.stop().await;
            return Err(error);
        }
        if let Some(first) = config.pools.first_mut() {
            first.instances = supervisor.addresses().into_iter().map(Instance::new).collect();
        }
        let token = config.gateway.admin_token_file.as_deref().and_then(|path| std::fs::read_to_string(path).ok());
        // Elsewhere two sockets never share an address and port, not even beside one that does not listen.
        let reserved = reserved.filter(|_| cfg!(target_os = "linux"));
        let gateway = match Gateway::start(config, keys, store) {
            Ok(gateway) => gateway,
            Err(error) => {
                supervisor.stop().await;
                return Err(error.into());
            }
        };
        drop(reserved);
        let token = token.map(|text| text.trim().to_owned());
        let admin = gateway.admin_address().map(|address| AdminClient::new(reachable(address), token));
        let mut reporter = JoinSet::new();
        reporter.spawn(report(supervisor.clone(), gateway.instances(), events));
        Ok(Self { gateway, supervisor, pool, admin, reporter })
    }

    /// Where clients reach the gateway: its first address, on loopback where it listens everywhere.
    pub fn address(&self) -> SocketAddr {
        let first = self.gateway.listen_addresses().first().copied();
        reachable(first.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into()))
    }

    /// Where the operator reaches the gateway.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.gateway.admin_address().map(reachable)
    }

    /// A client of the admin listener, where there is one.
    pub fn admin(&self) -> Option<&AdminClient> {
        self.admin.as_ref()
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The instances' supervisor.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The name of the pool that the instances are in.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// How many instances there are.
    pub fn instance_count(&self) -> usize {
        self.supervisor.addresses().len()
    }

    /// The process id of an instance (from 0), while it has a process.
    pub fn pid(&self, slot: usize) -> Option<u32> {
        self.supervisor.pid(slot)
    }

    /// Kills an instance (from 0) with SIGKILL. The gateway learns of it as it would of any crash.
    ///
    /// # Errors
    /// See [`Supervisor::kill`].
    pub fn kill(&self, slot: usize) -> Result<(), InstanceError> {
        self.supervisor.kill(slot)
    }

    /// Drains an instance (from 0) through the admin listener.
    ///
    /// # Errors
    /// [`AdminError`]; nothing happens without an admin listener.
    pub async fn drain(&self, slot: usize) -> Result<(), AdminError> {
        match &self.admin {
            Some(admin) => admin.drain(&self.pool, slot + 1).await.map(drop),
            None => Ok(()),
        }
    }

    /// Ends a drain.
    ///
    /// # Errors
    /// As for [`Deployment::drain`].
    pub async fn undrain(&self, slot: usize) -> Result<(), AdminError> {
        match &self.admin {
            Some(admin) => admin.undrain(&self.pool, slot + 1).await.map(drop),
            None => Ok(()),
        }
    }

    /// Lets requests finish, then stops the gateway, then the instances.
    pub async fn stop(self) {
        let Self { gateway, supervisor, reporter, .. } = self;
        // While requests finish, the gateway still learns of instances that end.
        if let Err(error) = tokio::task::spawn_blocking(move || gateway.stop()).await {
            tracing::error!(%error, "the gateway did not stop in order");
        }
        drop(reporter);
        supervisor.stop().await;
    }
}

/// Binds an address without listening there, so that nobody else is given its port: connections to it are refused, and
/// neither a bind to port 0 nor an outgoing connection gets it. On Linux a server that sets `SO_REUSEADDR`, as the
/// gateway does, can listen beside it.
fn guard(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn tell_instances(environment: &mut Vec<(OsString, OsString)>, pool: &str, admin: Option<SocketAddr>) {
    let jwks = admin.map(|address| format!("http://{}/.well-known/jwks.json", reachable(address)));
    let told = [(POOL_VARIABLE, Some(pool.to_owned())), (JWKS_VARIABLE, jwks)];
    for (name, value) in told {
        if let Some(value) = value
            && !environment.iter().any(|(known, _)| known == name)
        {
            environment.push((name.into(), value.into()));
        }
    }
}

/// An address that can be connected to: loopback for one that means every address of this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn all_listen(supervisor: &Supervisor, events: &mut Receiver<Event>) -> Result<(), DeploymentError> {
    let count = supervisor.addresses().len();
    let mut silent: BTreeSet<usize> = (0..count).collect();
    let mut ends = vec![0; count];
    let mut waiting = JoinSet::new();
    for slot in 0..count {
        let supervisor = supervisor.clone();
        waiting.spawn(async move { (slot, supervisor.wait_listening(slot, LISTEN_DEADLINE).await) });
    }
    // The supervisor sends events as long as it is borrowed here, so that `recv` fails only for one who lags.
    loop {
        tokio::select! {
            waited = waiting.join_next() => match waited {
                Some(Ok((slot, true))) => drop(silent.remove(&slot)),
                Some(_) => {}
                None if silent.is_empty() => return Ok(()),
                None => {
                    let numbers = silent.into_iter().map(|slot| slot + 1).collect();
                    return Err(DeploymentError::NotListening { numbers });
                }
            },
            event = events.recv() => if let Ok(Event { instance, kind: EventKind::Exited { status } }) = event
                && silent.contains(&instance)
                && let Some(times) = ends.get_mut(instance)
            {
                *times += 1;
                if *times >= ENDS_BEFORE_LISTENING_MAX {
                    return Err(DeploymentError::KeepsEnding { number: instance + 1, times: *times, status });
                }
            },
        }
    }
}

/// Carries what happens to processes to the gateway, for as long as there are processes.
async fn report(supervisor: Supervisor, reports: InstanceReports, mut events: Receiver<Event>) {
    // What was found to listen is reported from here, after the events that came before: an instance that listened for
    // a moment and died must not be reported as serving after it was reported as ended.
    let mut listening = JoinSet::new();
    // Of instances between two processes: their requests, tokens included, must not go to a stranger who is given the
    // port meanwhile. Given up at the next start, because not every server can bind beside a guard.
    let addresses = supervisor.addresses();
    let mut guards = BTreeMap::new();
    let await_listening = |listening: &mut JoinSet<_>, slot: usize, incarnation: u32| {
        let supervisor = supervisor.clone();
        listening.spawn(async move { (slot, incarnation, supervisor.wait_listening(slot, LISTEN_DEADLINE).await) });
    };
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Ok(Event { instance, kind: EventKind::Exited { .. } }) => {
                    reports.ended(instance);
                    guards.extend(addresses.get(instance).and_then(|address| Some((instance, guard(*address).ok()?))));
                }
                Ok(Event { instance, kind: EventKind::Started { incarnation, .. } }) => {
                    guards.remove(&instance);
                    await_listening(&mut listening, instance, incarnation);
                }
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "events of instances were missed: every instance is looked at anew");
                    guards.clear();
                    for slot in 0..addresses.len() {
                        reports.ended(slot);
                        await_listening(&mut listening, slot, supervisor.incarnation(slot));
                    }
                }
                Err(RecvError::Closed) => return,
            },
            Some(found) = listening.join_next() => {
                if let Ok((slot, incarnation, true)) = found
                    && supervisor.incarnation(slot) == incarnation
                    && supervisor.pid(slot).is_some()
                {
                    reports.serves(slot, incarnation);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instance that fetches keys from 0.0.0.0, or from a port that is not the gateway's, can verify nobody.
    #[test]
    fn instances_are_told_an_address_that_can_be_connected_to() {
        let mut environment = vec![(OsString::from(POOL_VARIABLE), OsString::from("own"))];
        tell_instances(&mut environment, "shop", Some(([0, 0, 0, 0], 9400).into()));
        let jwks = "http://127.0.0.1:9400/.well-known/jwks.json";
        assert_eq!(environment[0].1, "own");
        assert_eq!(environment[1..], [(OsString::from(JWKS_VARIABLE), OsString::from(jwks))]);

        let mut without_admin = Vec::new();
        tell_instances(&mut without_admin, "shop", None);
        assert_eq!(without_admin, [(OsString::from(POOL_VARIABLE), OsString::from("shop"))]);
    }

    /// While an instance is away its port is free, and whoever is given it would get its users' requests and tokens.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_guarded_port_answers_nobody_and_takes_the_instance_back() {
        let guard = guard((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = guard.local_addr().unwrap();
        let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let returned = tokio::net::TcpListener::bind(address).await.unwrap();
        tokio::net::TcpStream::connect(address).await.unwrap();
        assert_eq!(returned.local_addr().unwrap(), address);
    }
}
