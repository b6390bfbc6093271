//! The session of a request: loaded before an instance sees it, committed before the client sees the answer.

mod commit;
mod token_cache;

use cloakroom_config::{CookieName, Route, SessionCookie, SessionMode};
use cloakroom_session::cookie::{self, Scheme, Stripped};
use cloakroom_session::token::Presentation;
use cloakroom_session::{Standing, StoreKey, Ticket, lifecycle};
use cloakroom_store::{Loaded, SessionStore, StoreError, TouchRequest};
use http::{HeaderName, HeaderValue, header};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Now};
use crate::engine::Exchange;
use crate::respond::Refusal;
use crate::telemetry::metrics::StoreOperation;
use crate::telemetry::record::{RequestRecord, SessionEvent};
use crate::worker::Worker;

pub(crate) use commit::commit;
pub(crate) use token_cache::TokenCache;

/// The header that carries a session to an instance.
static SESSION: HeaderName = HeaderName::from_static("cloakroom-session");
/// Every header between Cloakroom and instances begins so; none of them passes to or from a client.
pub(crate) const PREFIX: &str = "cloakroom-";
/// How long the store may take to answer before it counts as unavailable.
pub(crate) const STORE_DEADLINE: Duration = Duration::from_secs(2);

/// What is known of a request's session.
#[derive(Default)]
pub(crate) struct Session {
    /// Present where the ticket led to a session that is alive.
    found: Option<Loaded>,
    scheme: Option<Scheme>,
}

/// Reads the ticket and loads its session. A request without a ticket asks no store.
pub(crate) async fn load<X: Exchange>(
    worker: &Rc<Worker>,
    exchange: &X,
    scheme: Scheme,
    record: &mut RequestRecord,
    now: Now,
) -> Result<Session, Refusal> {
    let mut session = Session { found: None, scheme: Some(scheme) };
    let Some(key) = shown_key(worker, exchange, scheme, record) else { return Ok(session) };
    let Some(store) = &worker.shared.store else { return Ok(session) };
    let loaded = match store.load_cached(&key, now.timestamp) {
        Some(loaded) => Some(loaded),
        None => timed(worker, StoreOperation::Load, store.load(&key, now.timestamp)).await.map_err(|error| {
            record.session = SessionEvent::Unavailable;
            unavailable(&error)
        })?,
    };
    let Some(loaded) = loaded else {
        record.session = SessionEvent::Missing;
        return Ok(session);
    };
    record.session = match lifecycle::standing(&loaded.record, loaded.principal_epoch, now.timestamp) {
        Standing::Alive => SessionEvent::Found,
        Standing::IdleExpired | Standing::AbsoluteExpired => SessionEvent::Expired,
        Standing::Revoked => SessionEvent::Revoked,
    };
    if record.session == SessionEvent::Found {
        if lifecycle::touch_is_due(&loaded.record, worker.shared.lifetimes.touch, now.timestamp) {
            touch(worker, Arc::clone(store), loaded.key, now);
        }
        session.found = Some(loaded);
    }
    Ok(session)
}

/// Tells the instance of the session, if there is one.
pub(crate) fn present<X: Exchange>(worker: &Worker, exchange: &mut X, session: &Session, pool_index: usize, now: Now) {
    exchange.remove_request_headers_with_prefix(PREFIX);
    let Some(found) = &session.found else { return };
    let pool = &worker.shared.pools[pool_index];
    let presentation = match pool.config.session {
        SessionMode::Token => Presentation::Signed,
        SessionMode::Json => Presentation::Plain,
        SessionMode::Off => return,
    };
    let value = worker.tokens.borrow_mut().present(
        &worker.shared.keys,
        presentation,
        (pool_index, &pool.name),
        found,
        now.timestamp,
    );
    if let Some(value) = value {
        exchange.set_request_header(SESSION.clone(), value);
    }
}

/// Takes from the request what is not the instance's business: our headers, the ticket and the pin.
pub(crate) fn strip_request<X: Exchange>(worker: &Worker, exchange: &mut X, route: &Route, has_sessions: bool) {
    if !has_sessions {
        exchange.remove_request_headers_with_prefix(PREFIX);
    }
    if exchange.request_header(&header::COOKIE).is_none() {
        return;
    }
    let ticket = worker.shared.config.sessions.cookie.as_str();
    let strips_ticket = has_sessions && route.session_cookie == SessionCookie::Strip;
    let is_ours = |name: &[u8]| {
        let name = name.strip_prefix(b"__Host-").unwrap_or(name);
        name == CookieName::PIN.as_bytes() || strips_ticket && name == ticket.as_bytes()
    };
    let stripped = {
        let mut headers = exchange.request_headers(&header::COOKIE);
        match (headers.next(), headers.next()) {
            (Some(only), None) => cookie::without(only, is_ours),
            _ => {
                // RFC 9113 §8.2.3 joins crumbled cookie headers so.
                let joined = exchange.request_headers(&header::COOKIE).collect::<Vec<_>>().join(&b"; "[..]);
                cookie::without(&joined, is_ours)
            }
        }
    };
    match stripped {
        Stripped::Unchanged => {}
        Stripped::Empty => exchange.remove_request_header(&header::COOKIE),
        Stripped::Rest(rest) => match HeaderValue::from_bytes(&rest) {
            Ok(value) => exchange.set_request_header(header::COOKIE, value),
            Err(_) => exchange.remove_request_header(&header::COOKIE),
        },
    }
}

/// Takes our headers from the answer, whether they were used or not.
pub(crate) fn strip_response<X: Exchange>(exchange: &mut X) {
    exchange.remove_response_headers_with_prefix(PREFIX);
}

/// The store key of the ticket that the request shows.
fn shown_key<X: Exchange>(
    worker: &Worker,
    exchange: &X,
    scheme: Scheme,
    record: &mut RequestRecord,
) -> Option<StoreKey> {
    exchange.request_header(&header::COOKIE)?;
    let name = cookie::browser_name(worker.shared.config.sessions.cookie.as_str(), scheme);
    let mut shown = exchange.request_headers(&header::COOKIE).flat_map(|header| cookie::values(header, &name));
    let text = shown.next()?;
    match Ticket::parse(text) {
        Ok(ticket) => Some(worker.shared.keys.store_key(&ticket)),
        Err(_) => {
            record.session = SessionEvent::Malformed;
            None
        }
    }
}

/// Writes down that the session was seen, beside the request: it may lag, and its failure fails nobody. The store's
/// own bound on waiting changes bounds these tasks.
fn touch(worker: &Rc<Worker>, store: Arc<dyn SessionStore>, key: StoreKey, now: Now) {
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let request = TouchRequest { key, window: worker.shared.lifetimes.touch, now: now.timestamp };
        if let Err(error) = timed(&worker, StoreOperation::Touch, store.touch(request)).await {
            tracing::debug!(%error, "a touch was not written");
        }
    });
}

/// Waits for the store, within its deadline, and counts how long it took.
async fn timed<Answer>(
    worker: &Worker,
    operation: StoreOperation,
    call: impl Future<Output = Result<Answer, StoreError>>,
) -> Result<Answer, StoreError> {
    let started = clock::last();
    let answer = tokio::time::timeout(STORE_DEADLINE, call)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable { reason: "it did not answer in time".to_owned() }));
    let duration = clock::last().saturating_duration_since(started);
    worker.metrics.count_store(operation, duration, answer.is_err());
    answer
}

fn unavailable(error: &StoreError) -> Refusal {
    tracing::warn!(%error, "the session store could not answer");
    Refusal::StoreUnavailable
}
