//! Carrying out what an instance's answer says of the session, before any of the answer leaves.
//!
//! A ticket that leads nowhere is never cleared from the browser: after a log-in, an older request of the same page
//! would otherwise clear the new ticket. Only an ended session clears it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cloakroom_config::{SameSite, ServerError};
use cloakroom_session::cookie::{self, Scheme};
use cloakroom_session::{Delta, Principal, Record, StoreKey, Ticket};
use cloakroom_store::{
    CommitOutcome, CommitRequest, CreateOutcome, CreateRequest, Login, RotateOutcome, RotateRequest, SessionStore,
};
use http::{HeaderName, HeaderValue, header};

use super::{Session, timed, unavailable};
use crate::clock::Now;
use crate::engine::Exchange;
use crate::respond::Refusal;
use crate::telemetry::metrics::StoreOperation;
use crate::telemetry::record::{RequestRecord, SessionEvent};
use crate::worker::Worker;

static PATCH: HeaderName = HeaderName::from_static("cloakroom-session-patch");
static LOGIN: HeaderName = HeaderName::from_static("cloakroom-session-login");
static END: HeaderName = HeaderName::from_static("cloakroom-session-end");

/// What an answer asks for.
#[derive(Debug, Default)]
struct Wish {
    delta: Delta,
    login: Option<Principal>,
    ends: bool,
}

/// What the browser is told.
enum Cookie {
    Keep,
    Set(Ticket),
    Clear,
}

/// Carries out the answer's session headers.
///
/// # Errors
/// The refusal that replaces the answer when a change was not kept: a lost change is never a silent 200.
pub(crate) async fn commit<X: Exchange>(
    worker: &Rc<Worker>,
    exchange: &mut X,
    session: Session,
    record: &mut RequestRecord,
    now: Now,
) -> Result<(), Refusal> {
    let Some(store) = worker.shared.store.as_ref() else { return Ok(()) };
    let is_server_error = exchange.status().is_server_error();
    let wish = match Wish::read(exchange) {
        Ok(None) => return Ok(()),
        Ok(Some(wish)) => wish,
        Err(reason) => {
            tracing::warn!(reason, "an instance's session headers can't be used");
            record.session = SessionEvent::Unusable;
            return Err(Refusal::UnusableSessionAnswer);
        }
    };
    let changes = Changes { worker, store, session: &session, record, now };
    let cookie = changes.carry_out(wish, is_server_error).await?;
    let scheme = session.scheme.unwrap_or(Scheme::Http);
    tell_browser(worker, exchange, scheme, cookie);
    Ok(())
}

impl Wish {
    /// Reads the headers; `None` where there are none.
    fn read<X: Exchange>(exchange: &X) -> Result<Option<Self>, &'static str> {
        let (patch, login) = (single(exchange, &PATCH)?, single(exchange, &LOGIN)?);
        let ends = single(exchange, &END)?;
        if patch.is_none() && login.is_none() && ends.is_none() {
            return Ok(None);
        }
        let delta = match patch {
            Some(json) => Delta::parse_patch(json).map_err(|error| {
                tracing::debug!(%error, "a session patch was refused");
                "the patch is not valid"
            })?,
            None => Delta::default(),
        };
        let login = match login {
            Some(name) => Some(Principal::parse(name).map_err(|_| "the principal is not valid")?),
            None => None,
        };
        let ends = match ends {
            None => false,
            Some(b"1") => true,
            Some(_) => return Err("Cloakroom-Session-End has another value than 1"),
        };
        Ok(Some(Self { delta, login, ends }))
    }
}

fn single<'head, X: Exchange>(exchange: &'head X, name: &HeaderName) -> Result<Option<&'head [u8]>, &'static str> {
    let mut values = exchange.response_headers(name);
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err("a session header stands twice"),
    }
}

struct Changes<'request> {
    worker: &'request Rc<Worker>,
    store: &'request Arc<dyn SessionStore>,
    session: &'request Session,
    record: &'request mut RequestRecord,
    now: Now,
}

impl Changes<'_> {
    async fn carry_out(mut self, wish: Wish, is_server_error: bool) -> Result<Cookie, Refusal> {
        let discards = is_server_error && self.worker.shared.config.sessions.server_error == ServerError::Discard;
        if wish.ends {
            // A log-out counts whatever the status: whoever asked for it must not stay signed in.
            self.end().await?;
        }
        if discards {
            if !wish.ends {
                self.record.session = SessionEvent::Discarded;
                return Ok(Cookie::Keep);
            }
            return Ok(Cookie::Clear);
        }
        let current = self.session.found.as_ref().map(|found| found.key).filter(|_| !wish.ends);
        match (current, wish.login) {
            (Some(key), Some(principal)) => self.log_in(key, principal, wish.delta).await,
            (None, Some(principal)) => self.create(Some(principal), wish.delta).await,
            (Some(_), None) if wish.delta.is_empty() => Ok(Cookie::Keep),
            (Some(key), None) => self.commit(key, wish.delta).await,
            // A patch beside an end changes what has ended.
            (None, None) if wish.ends => Ok(Cookie::Clear),
            (None, None) if wish.delta.changes().any(|(_, value)| value.is_some()) => {
                self.create(None, wish.delta).await
            }
            (None, None) => Ok(Cookie::Keep),
        }
    }

    async fn end(&mut self) -> Result<(), Refusal> {
        self.record.session = SessionEvent::Ended;
        let Some(found) = &self.session.found else { return Ok(()) };
        let ended = timed(self.worker, StoreOperation::End, self.store.end(&found.key, self.now.timestamp)).await;
        ended.map(drop).map_err(|error| self.store_failed(&error))
    }

    async fn commit(&mut self, key: StoreKey, delta: Delta) -> Result<Cookie, Refusal> {
        let request = CommitRequest {
            key,
            delta,
            expected_revision: None,
            payload_bytes_max: self.payload_bytes_max(),
            now: self.now.timestamp,
        };
        let outcome = timed(self.worker, StoreOperation::Commit, self.store.commit(request)).await;
        match outcome.map_err(|error| self.store_failed(&error))? {
            CommitOutcome::Committed(_) => {
                self.record.session = SessionEvent::Committed;
                Ok(Cookie::Keep)
            }
            // No revision was expected, so that a conflict means the same as gone: it was not kept.
            CommitOutcome::Gone | CommitOutcome::Conflict { .. } => Err(self.gone()),
            CommitOutcome::TooLarge(too_large) => Err(self.too_large(&too_large)),
        }
    }

    /// A log-in rotates the ticket at once, without grace: a ticket that was planted before must not be signed in.
    async fn log_in(&mut self, old: StoreKey, principal: Principal, delta: Delta) -> Result<Cookie, Refusal> {
        let ticket = self.new_ticket()?;
        let request = RotateRequest {
            old,
            new: self.worker.shared.keys.store_key(&ticket),
            login: Some(Login { principal: principal.clone() }),
            delta: delta.clone(),
            grace: Duration::ZERO,
            payload_bytes_max: self.payload_bytes_max(),
            now: self.now.timestamp,
        };
        let outcome = timed(self.worker, StoreOperation::Rotate, self.store.rotate(request)).await;
        match outcome.map_err(|error| self.store_failed(&error))? {
            RotateOutcome::Rotated(_) => {
                self.record.session = SessionEvent::LoggedIn;
                Ok(Cookie::Set(ticket))
            }
            // The session ended while the user proved who they are: they are signed in all the same, afresh.
            RotateOutcome::Gone | RotateOutcome::AlreadyRotated { .. } => self.create(Some(principal), delta).await,
            RotateOutcome::TooLarge(too_large) => Err(self.too_large(&too_large)),
            RotateOutcome::Exists => Err(repeated_randomness()),
        }
    }

    async fn create(&mut self, principal: Option<Principal>, delta: Delta) -> Result<Cookie, Refusal> {
        let ticket = self.new_ticket()?;
        let now = self.now.timestamp;
        let begun = Record::begin(now, &self.worker.shared.lifetimes);
        let mut record =
            begun.with_delta(&delta, now, self.payload_bytes_max()).map_err(|too_large| self.too_large(&too_large))?;
        let event = if principal.is_some() { SessionEvent::LoggedIn } else { SessionEvent::Created };
        if let Some(principal) = principal {
            // The store sets the principal's epoch as it is at that instant.
            record = record.with_principal(principal, 0, now);
        }
        let request = CreateRequest { key: self.worker.shared.keys.store_key(&ticket), record };
        let outcome = timed(self.worker, StoreOperation::Create, self.store.create(request)).await;
        match outcome.map_err(|error| self.store_failed(&error))? {
            CreateOutcome::Created(_) => {
                self.record.session = event;
                Ok(Cookie::Set(ticket))
            }
            CreateOutcome::Exists => Err(repeated_randomness()),
        }
    }

    fn new_ticket(&self) -> Result<Ticket, Refusal> {
        self.worker.secret_bytes().map(Ticket::from_entropy).map_err(|error| {
            tracing::error!(%error, "the system's random source failed");
            Refusal::NoRandomness
        })
    }

    fn payload_bytes_max(&self) -> usize {
        self.worker.shared.config.sessions.payload_bytes
    }

    fn store_failed(&mut self, error: &cloakroom_store::StoreError) -> Refusal {
        self.record.session = SessionEvent::Unavailable;
        unavailable(error)
    }

    fn gone(&mut self) -> Refusal {
        self.record.session = SessionEvent::Gone;
        Refusal::SessionGone
    }

    fn too_large(&mut self, error: &cloakroom_session::record::PayloadTooLarge) -> Refusal {
        tracing::warn!(%error, "a session's change was refused");
        self.record.session = SessionEvent::TooLarge;
        Refusal::SessionTooLarge
    }
}

fn repeated_randomness() -> Refusal {
    tracing::error!("a new ticket's key is taken: the random source repeats itself");
    Refusal::NoRandomness
}

fn tell_browser<X: Exchange>(worker: &Worker, exchange: &mut X, scheme: Scheme, cookie: Cookie) {
    let sessions = &worker.shared.config.sessions;
    let same_site = match sessions.same_site {
        SameSite::Lax => cookie::SameSite::Lax,
        SameSite::Strict => cookie::SameSite::Strict,
        SameSite::None => cookie::SameSite::None,
    };
    let (value, max_age) = match &cookie {
        Cookie::Keep => return,
        Cookie::Set(ticket) => (ticket.reveal(), sessions.absolute),
        Cookie::Clear => (String::new(), Duration::ZERO),
    };
    let text = cookie::set(sessions.cookie.as_str(), &value, scheme, same_site, Some(max_age));
    if let Ok(mut value) = HeaderValue::from_str(&text) {
        value.set_sensitive(true);
        exchange.append_response_header(header::SET_COOKIE, value);
    }
    // A shared cache that keeps this answer would hand one user's ticket to the next (RFC 9111 §7.3).
    if !exchange.has_response_header(&header::CACHE_CONTROL) {
        exchange.append_response_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
