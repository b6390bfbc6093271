//! Picking an instance and sending it the request, and once more to another where that is safe.

use std::io;
use std::rc::Rc;

use cloakroom_balance::Outcome;
use cloakroom_policy::RetryDecision;
use cloakroom_policy::{Replay, Sent};

use crate::clock::{self, Now};
use crate::completion::{Completion, Place};
use crate::engine::{self, ClientBodyFailure, Exchange, FailureKind, SendFailure};
use crate::respond::Refusal;
use crate::upstream::Lease;
use crate::worker::Worker;

/// Most tries of one request, the configuration's bound: room for the instances that were tried.
const TRIES_MAX: usize = 10;

/// The instances one request was tried on.
#[derive(Default)]
pub(crate) struct Tried {
    slots: [u32; TRIES_MAX],
    count: usize,
}

impl Tried {
    pub(crate) fn contains(&self, slot: u32) -> bool {
        self.slots[..self.count].contains(&slot)
    }

    fn add(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(self.count) {
            *place = slot;
            self.count += 1;
        }
    }
}

/// Why a try brought no answer.
enum Failure {
    /// No connection came about: the instance saw nothing.
    Connect(io::Error),
    /// The limit of connections to this instance is reached.
    Full,
    /// The connection failed the request.
    Send(SendFailure),
}

/// Sends the request to `preferred` or the balancer's choice until an instance answers.
///
/// # Errors
/// The refusal that the client gets when none did.
pub(crate) async fn forward<X: Exchange>(
    worker: &Rc<Worker>,
    exchange: &mut X,
    completion: &mut Completion,
    pool: usize,
    mut preferred: Option<u32>,
    now: Now,
) -> Result<Place, Refusal> {
    let now_ms = clock::monotonic_ms(now.instant);
    let mut tries_left = worker.shared.config.gateway.retry.tries;
    let mut tried = Tried::default();
    let mut wants_fresh = false;
    // Where no instance is left to try, the client is told how the last one failed.
    let mut refusal = Refusal::NoInstance;
    worker.deposit_retry_budget();
    loop {
        let picked = preferred.take().or_else(|| worker.pick(pool, &tried, now_ms));
        let Some(slot) = picked else {
            return Err(refusal);
        };
        let place = Place { pool, slot };
        completion.enter(place);
        completion.record.tries += 1;
        tries_left = tries_left.saturating_sub(1);
        let failure = match attempt(worker, exchange, place, wants_fresh).await {
            Ok(()) => {
                let outcome = match exchange.status().is_server_error() {
                    true => Outcome::Failure,
                    false => Outcome::Success,
                };
                worker.shared.pools[pool].observe(slot, outcome, now_ms);
                return Ok(place);
            }
            Err(failure) => failure,
        };
        let is_stale = is_stale_connection(&failure);
        if is_stale {
            // The instance closed an idle connection as the request was on its way: ask it again, on a new one.
            preferred = Some(slot);
            wants_fresh = true;
        } else {
            tried.add(slot);
            wants_fresh = false;
            if !matches!(failure, Failure::Full | Failure::Send(SendFailure { kind: FailureKind::ClientBody(_), .. })) {
                worker.shared.pools[pool].observe(slot, Outcome::Failure, clock::monotonic_ms(clock::last()));
            }
        }
        let sent;
        (sent, refusal) = judge(&failure);
        let replay = match failure {
            // The time to answer is one for all tries.
            Failure::Send(SendFailure { kind: FailureKind::ClientBody(_) | FailureKind::TimedOut, .. }) => {
                Replay::Impossible
            }
            _ => exchange.replay(),
        };
        if worker.may_retry(sent, replay, tries_left) != RetryDecision::Retry {
            log_failure(worker, place, &failure);
            return Err(refusal);
        }
        worker.metrics.count_retry(pool);
    }
}

/// One try on one instance: on an idle connection if there is one.
async fn attempt<X: Exchange>(
    worker: &Rc<Worker>,
    exchange: &mut X,
    place: Place,
    wants_fresh: bool,
) -> Result<(), Failure> {
    let idle = if wants_fresh { None } else { worker.take_connection(place) };
    let lease = match idle {
        Some(connection) => Lease::new(Rc::clone(worker), place, connection),
        None => connect(worker, place).await?,
    };
    exchange.send(worker, lease).await.map_err(Failure::Send)
}

async fn connect(worker: &Rc<Worker>, place: Place) -> Result<Lease, Failure> {
    if !worker.reserve_connection(place) {
        return Err(Failure::Full);
    }
    // Dropped half-way, by a client that leaves, the reservation must be given back.
    let reservation = Reservation { worker, place, is_kept: false };
    let address = worker.instance(place).address;
    let connecting = engine::hyper::connect(address);
    let connection = match tokio::time::timeout(worker.shared.config.gateway.timeouts.connect, connecting).await {
        Ok(connected) => connected.map_err(Failure::Connect)?,
        Err(_) => return Err(Failure::Connect(io::ErrorKind::TimedOut.into())),
    };
    reservation.keep();
    Ok(Lease::new(Rc::clone(worker), place, connection))
}

struct Reservation<'worker> {
    worker: &'worker Worker,
    place: Place,
    is_kept: bool,
}

impl Reservation<'_> {
    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.worker.forget_connection(self.place);
        }
    }
}

fn is_stale_connection(failure: &Failure) -> bool {
    matches!(failure, Failure::Send(SendFailure { kind: FailureKind::Closed { reused: true }, .. }))
}

fn judge(failure: &Failure) -> (Sent, Refusal) {
    match failure {
        Failure::Connect(error) if error.kind() == io::ErrorKind::TimedOut => {
            (Sent::Nothing, Refusal::InstanceTimedOut)
        }
        Failure::Connect(_) => (Sent::Nothing, Refusal::InstancesFailed),
        Failure::Full => (Sent::Nothing, Refusal::Overloaded),
        Failure::Send(SendFailure { sent, kind }) => {
            let refusal = match kind {
                FailureKind::Closed { .. } | FailureKind::Malformed => Refusal::InstancesFailed,
                FailureKind::TimedOut => Refusal::InstanceTimedOut,
                FailureKind::ClientBody(ClientBodyFailure::Broken) => Refusal::BrokenBody,
                FailureKind::ClientBody(ClientBodyFailure::TooLarge) => Refusal::BodyTooLarge,
            };
            (*sent, refusal)
        }
    }
}

fn log_failure(worker: &Worker, place: Place, failure: &Failure) {
    let instance = &worker.instance(place).label;
    match failure {
        Failure::Connect(error) => tracing::warn!(instance, %error, "no connection"),
        Failure::Full => tracing::warn!(instance, "the limit of connections is reached"),
        Failure::Send(failure) => tracing::debug!(instance, ?failure, "a request failed"),
    }
}
