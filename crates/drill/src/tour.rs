//! The tour: the same users, faults and checks for three designs of sessions, one after the other.
//!
//! Faults come at logical points. The kill follows a number of requests, not of seconds, and hits the instance that
//! served the first user's latest answer, while slow requests are under way on it; so each design loses what it must
//! lose on machines of any speed. Users shop on until the killed instance serves again, and through a drain.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cloakroom_config::{AccessLog, Affinity, Balance, Config, HealthCheck, Probe, SessionMode};
use cloakroom_session::key_ring::SECRET_BYTES;
use cloakroom_session::{KeyRing, KeyRingError, Timestamp};
use cloakroom_store::SessionStore;
use cloakroom_supervise::{InstanceError, Output, Settings};
use rand::TryRng as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::admin::{AdminClient, AdminError};
use crate::deployment::{Deployment, DeploymentError, DeploymentSettings};
use crate::journey::{FIRST_USER, Journey, Tally};
use crate::random::Random;
use crate::report::{Design, DesignReport, Losses, TourReport};
use crate::shopper::{Shopper, Step};

/// The fewest instances of a tour: one is killed, and another must be there.
pub const TOUR_INSTANCES_MIN: usize = 2;
/// The most users of a tour; all of them live in this one process.
pub const TOUR_USERS_MAX: usize = 256;

/// The pool's name.
const POOL: &str = "shop";
/// Tells the shop where it keeps its sessions.
const DESIGN_VARIABLE: &str = "SHOP_SESSIONS";
/// Requests per user before the kill; up to one more per user is added by chance.
const STEPS_BEFORE_KILL: u64 = 6;
/// Requests per user after the killed instance serves again.
const STEPS_AFTER_RESTART: u64 = 4;
/// Requests per user while an instance is drained.
const STEPS_WHILE_DRAINED: u64 = 6;
/// Requests per user after the drain has ended.
const STEPS_AFTER_DRAIN: u64 = 2;
/// Slow requests at the kill, per instance: so many that each instance has one, however they are spread.
const SLOW_PER_INSTANCE: usize = 3;
/// How long each of them takes.
const SLOW_MS: u64 = 400;
/// How long the slow requests may take to reach instances.
const SLOW_ARRIVAL_MAX: Duration = Duration::from_millis(250);
/// How long a killed instance may take until it serves again.
const RESTART_MAX: Duration = Duration::from_secs(15);
/// How often the gateway is asked whether something has come about.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long one design may take in all.
const DESIGN_MAX: Duration = Duration::from_secs(60);
/// How long the gateway and the instances may take to stop.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How often the gateway asks instances how they are.
const HEALTH_INTERVAL: Duration = Duration::from_millis(500);

/// What is toured.
pub struct TourSettings {
    /// Starts one instance of the shop, set up by its environment.
    pub command: Vec<OsString>,
    /// Put before the command; see [`Settings::launcher`].
    pub launcher: Vec<OsString>,
    /// Added to the instances' environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where the instances' output goes.
    pub output: Output,
    /// How many instances, at least [`TOUR_INSTANCES_MIN`].
    pub instances: NonZeroUsize,
    /// How many users, at most [`TOUR_USERS_MAX`].
    pub users: NonZeroUsize,
    /// Repeats the choices of an earlier tour.
    pub seed: u64,
    /// Where the external design keeps its sessions; the other two have none to keep. Whoever opened it closes it.
    pub store: Arc<dyn SessionStore>,
}

/// Why a tour came to no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TourError {
    /// Too few instances to lose one.
    #[error("a tour kills an instance and so needs at least {TOUR_INSTANCES_MIN}")]
    TooFewInstances,
    /// More users than one process plays.
    #[error("a tour has at most {TOUR_USERS_MAX} users")]
    TooManyUsers,
    /// No keys could be made.
    #[error("no keys could be made for the gateway")]
    Keys(#[source] KeyRingError),
    /// The system's random source failed.
    #[error("the system gave no random bytes for keys")]
    NoRandomness,
    /// The application or its gateway did not start.
    #[error("design {} did not start", design.letter())]
    Deployment {
        /// The design.
        design: Design,
        /// Why.
        source: DeploymentError,
    },
    /// The application does not say which instance answered.
    #[error("no answer named its instance in X-Instance: is the command the demonstration shop?")]
    Unsigned,
    /// The instance could not be killed.
    #[error("an instance could not be killed")]
    Kill(#[from] InstanceError),
    /// The killed instance did not come back.
    #[error("instance {number} did not serve again within {} s", RESTART_MAX.as_secs())]
    NotBack {
        /// Which one, from 1.
        number: usize,
    },
    /// The gateway did not do as the operator said.
    #[error("the gateway could not be operated")]
    Admin(#[from] AdminError),
    /// A design did not come to its end.
    #[error("design {} did not come to an end within {} s", design.letter(), DESIGN_MAX.as_secs())]
    Stuck {
        /// The design.
        design: Design,
    },
}

/// What happens on a tour, as it happens.
#[derive(Clone, Debug)]
pub enum TourEvent {
    /// The tour begins.
    Began {
        /// Users of each design.
        users: usize,
        /// Instances of each design.
        instances: usize,
        /// What repeats its choices.
        seed: u64,
    },
    /// A design's turn has come; its instances are being started.
    DesignBegan {
        /// The design.
        design: Design,
    },
    /// All users have logged in and filled their carts.
    Arrived {
        /// Where the gateway listens.
        gateway: SocketAddr,
        /// How many users.
        users: usize,
        /// How many kinds of product are in all their carts.
        products: usize,
    },
    /// An instance was killed with SIGKILL.
    Killed {
        /// Which one, from 1.
        number: usize,
        /// Its process id.
        pid: Option<u32>,
        /// The user whose latest answer came from it.
        user: String,
        /// How many requests of this design had been begun.
        requests: u64,
        /// Requests that were under way on all instances.
        in_flight: u64,
    },
    /// The killed instance serves again, and users have shopped on.
    Restarted {
        /// Which one, from 1.
        number: usize,
        /// From the kill until its first answer.
        after: Duration,
        /// What users lost so far.
        losses: Losses,
    },
    /// An instance was drained while users shopped on, and is back.
    Drained {
        /// Which one, from 1.
        number: usize,
        /// Requests that were begun meanwhile.
        requests: u64,
        /// How many of them it answered.
        to_drained: u64,
        /// What users lost so far.
        losses: Losses,
    },
    /// All users have looked once more.
    DesignEnded {
        /// What they met.
        report: DesignReport,
    },
}

/// Tours all designs. Must be called within a runtime with time and I/O enabled, on a thread that lives as long as the
/// tour.
///
/// # Errors
/// [`TourError`]; nothing of the tour runs then. Losses are no errors: they are what the report is about.
pub async fn tour(settings: TourSettings, report: &mut dyn FnMut(TourEvent)) -> Result<TourReport, TourError> {
    let (users, instances, seed) = (settings.users.get(), settings.instances.get(), settings.seed);
    if instances < TOUR_INSTANCES_MIN {
        return Err(TourError::TooFewInstances);
    }
    if users > TOUR_USERS_MAX {
        return Err(TourError::TooManyUsers);
    }
    report(TourEvent::Began { users, instances, seed });
    let mut designs = Vec::new();
    for design in Design::ALL {
        report(TourEvent::DesignBegan { design });
        let deployment = Deployment::start(deployment_settings(&settings, design)?).await;
        let deployment = deployment.map_err(|source| TourError::Deployment { design, source })?;
        let outcome = tokio::time::timeout(DESIGN_MAX, story(&settings, design, &deployment, report)).await;
        deployment.stop().await;
        let ended = outcome.unwrap_or(Err(TourError::Stuck { design }))?;
        report(TourEvent::DesignEnded { report: ended.clone() });
        designs.push(ended);
    }
    Ok(TourReport { seed, users, instances, designs })
}

fn deployment_settings(settings: &TourSettings, design: Design) -> Result<DeploymentSettings, TourError> {
    let mut instances = Settings::new(settings.command.clone(), settings.instances);
    instances.launcher.clone_from(&settings.launcher);
    instances.environment.clone_from(&settings.environment);
    instances.output = settings.output;
    instances.stop_deadline = STOP_MAX;
    let kept_in = match design {
        Design::External => "gateway",
        Design::InProcess | Design::Sticky => "memory",
    };
    instances.environment.push((DESIGN_VARIABLE.into(), kept_in.into()));

    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = Config::single_pool(vec![any_port], Vec::new());
    config.gateway.admin = Some(any_port);
    config.gateway.access_log = AccessLog::Off;
    config.gateway.timeouts.shutdown = STOP_MAX;
    for pool in &mut config.pools {
        POOL.clone_into(&mut pool.name);
        let probe = Probe::Http { path: "/health".to_owned() };
        pool.health = Some(HealthCheck { every: HEALTH_INTERVAL, rise: 1, fall: 2, ..HealthCheck::new(probe) });
        (pool.session, pool.affinity, pool.balance) = match design {
            Design::External => (SessionMode::Token, Affinity::None, Balance::LeastConnections),
            Design::InProcess => (SessionMode::Off, Affinity::None, Balance::RoundRobin),
            Design::Sticky => (SessionMode::Off, Affinity::Cookie { ttl: Affinity::TTL_DEFAULT }, Balance::RoundRobin),
        };
    }
    let store = (design == Design::External).then(|| Arc::clone(&settings.store));
    Ok(DeploymentSettings { instances, config, keys: passing_keys()?, store })
}

/// Keys for one design: nothing sealed with them is ever shown to another gateway.
fn passing_keys() -> Result<KeyRing, TourError> {
    let mut entropy = Zeroizing::new([0; 2 * SECRET_BYTES]);
    rand::rngs::SysRng.try_fill_bytes(entropy.as_mut_slice()).map_err(|_| TourError::NoRandomness)?;
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_millis(cloakroom_session::time::millis(since_epoch));
    KeyRing::parse(&KeyRing::generate(&entropy, now)).map_err(TourError::Keys)
}

/// Everything the faults of one design need.
struct Stage<'tour> {
    deployment: &'tour Deployment,
    admin: &'tour AdminClient,
    tally: Arc<Tally>,
    users: u64,
    random: Random,
}

async fn story(
    settings: &TourSettings,
    design: Design,
    deployment: &Deployment,
    report: &mut dyn FnMut(TourEvent),
) -> Result<DesignReport, TourError> {
    let admin = deployment.admin().ok_or(TourError::Stuck { design })?;
    let users = settings.users.get();
    let tally = Arc::new(Tally::default());
    // Streams 0 to `users` of the seed; the last is for the faults. All designs make the same choices.
    let journeys = (0..users).map(|index| Journey {
        index,
        shopper: Shopper::new(format!("shopper-{}", index + 1), deployment.address()),
        random: Random::new(settings.seed, index as u64),
        tally: Arc::clone(&tally),
    });
    let journeys = together(journeys, Journey::arrive).await;
    let products = journeys.iter().map(|journey| journey.shopper.product_count()).sum();
    report(TourEvent::Arrived { gateway: deployment.address(), users, products });

    let random = Random::new(settings.seed, users as u64);
    let mut stage = Stage { deployment, admin, tally: Arc::clone(&tally), users: users as u64, random };
    let (stop, stopping) = watch::channel(false);
    let faults = async {
        let outcome = stage.faults(report).await;
        stop.send_replace(true);
        outcome
    };
    let shopping = together(journeys, |journey| journey.shop(stopping.clone()));
    let (restart, journeys) = tokio::join!(faults, shopping);
    let restart = restart?;
    together(journeys, Journey::audit).await;
    Ok(DesignReport {
        design,
        name: design.name(),
        users,
        requests: tally.requests(),
        losses: tally.losses(),
        retries: admin.retries(POOL).await?,
        to_drained: tally.to_drained(),
        restart_ms: cloakroom_session::time::millis(restart),
        notices: tally.notices(),
    })
}

/// Does the same for all users at once, each in a task of their own.
async fn together<From, To, Doing>(all: impl IntoIterator<Item = From>, doing: impl Fn(From) -> Doing) -> Vec<To>
where
    Doing: Future<Output = To> + Send + 'static,
    To: Send + 'static,
{
    let tasks: JoinSet<To> = all.into_iter().map(doing).collect();
    tasks.join_all().await
}

impl Stage<'_> {
    /// Kills and drains while users shop. Returns how long the killed instance was away.
    async fn faults(&mut self, report: &mut dyn FnMut(TourEvent)) -> Result<Duration, TourError> {
        let chance = self.random.below(self.users);
        self.tally.reached(self.tally.requests() + self.users * STEPS_BEFORE_KILL + chance).await;
        let count = self.deployment.instance_count() * SLOW_PER_INSTANCE;
        let slow: JoinSet<()> =
            (0..count).map(|_| linger(Arc::clone(&self.tally), self.deployment.address())).collect();
        let in_flight = self.in_flight(count as u64).await?;
        let victim = self.tally.first_users_instance().ok_or(TourError::Unsigned)?;
        let slot = victim - 1;
        let pid = self.deployment.pid(slot);
        let incarnation = self.deployment.supervisor().incarnation(slot);
        self.deployment.kill(slot)?;
        let killed_at = Instant::now();
        let user = format!("shopper-{}", FIRST_USER + 1);
        report(TourEvent::Killed { number: victim, pid, user, requests: self.tally.requests(), in_flight });

        self.await_service(victim, incarnation).await?;
        let after = killed_at.elapsed();
        slow.join_all().await;
        self.shop_on(STEPS_AFTER_RESTART).await;
        report(TourEvent::Restarted { number: victim, after, losses: self.tally.losses() });

        self.drain_another_than(victim, report).await?;
        self.shop_on(STEPS_AFTER_DRAIN).await;
        Ok(after)
    }

    async fn shop_on(&self, steps_per_user: u64) {
        self.tally.reached(self.tally.requests() + self.users * steps_per_user).await;
    }

    /// Waits until `wanted` requests are under way, for a moment only: the kill comes anyway. Returns how many are.
    async fn in_flight(&self, wanted: u64) -> Result<u64, TourError> {
        let since = Instant::now();
        loop {
            let status = self.admin.status().await?;
            let instances = status.pools.iter().flat_map(|pool| &pool.instances);
            let in_flight = instances.map(|instance| instance.in_flight).sum();
            if in_flight >= wanted || since.elapsed() >= SLOW_ARRIVAL_MAX {
                return Ok(in_flight);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until a newcomer is served by the next process of instance `number`.
    async fn await_service(&self, number: usize, former_incarnation: u32) -> Result<(), TourError> {
        let served = async {
            loop {
                if self.deployment.supervisor().incarnation(number - 1) > former_incarnation {
                    let mut newcomer = Shopper::new("newcomer".to_owned(), self.deployment.address());
                    if self.tally.count(&mut newcomer, &Step::Browse).await.instance == Some(number) {
                        return;
                    }
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::time::timeout(RESTART_MAX, served).await.map_err(|_| TourError::NotBack { number })
    }

    async fn drain_another_than(&mut self, victim: usize, report: &mut dyn FnMut(TourEvent)) -> Result<(), TourError> {
        let others: Vec<usize> = (1..=self.deployment.instance_count()).filter(|number| *number != victim).collect();
        let number = self.random.pick(&others).copied().unwrap_or(victim);
        self.deployment.drain(number - 1).await?;
        let requests_before = self.tally.requests();
        self.tally.watch_drained(Some(number));
        self.shop_on(STEPS_WHILE_DRAINED).await;
        self.tally.watch_drained(None);
        let requests = self.tally.requests() - requests_before;
        self.deployment.undrain(number - 1).await?;
        let (to_drained, losses) = (self.tally.to_drained(), self.tally.losses());
        report(TourEvent::Drained { number, requests, to_drained, losses });
        Ok(())
    }
}

/// A passing visitor's slow request.
async fn linger(tally: Arc<Tally>, gateway: SocketAddr) {
    let mut visitor = Shopper::new("visitor".to_owned(), gateway);
    tally.count(&mut visitor, &Step::Linger { ms: SLOW_MS }).await;
}
