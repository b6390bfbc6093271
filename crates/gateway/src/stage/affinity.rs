//! The pin: a sealed cookie that names the instance a user was served by. It is read and written, never remembered.

use cloakroom_balance::{Affinity as Decision, Pin, affinity};
use cloakroom_config::{Affinity, CookieName};
use cloakroom_session::cookie::{self, SameSite, Scheme};
use cloakroom_session::seal;
use http::{HeaderValue, header};

use crate::clock::Now;
use crate::completion::Place;
use crate::engine::Exchange;
use crate::worker::Worker;

/// What a request's pin means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PinState {
    /// The pool has no affinity.
    Off,
    /// This instance is to be used.
    Pinned(u32),
    /// Whoever serves it is to be pinned.
    Unpinned,
}

impl PinState {
    /// The instance to try first.
    pub(crate) fn slot(self) -> Option<u32> {
        match self {
            Self::Pinned(slot) => Some(slot),
            Self::Off | Self::Unpinned => None,
        }
    }
}

/// Reads the pin. One that can't be opened is as good as none.
pub(crate) fn read<X: Exchange>(
    worker: &Worker,
    exchange: &X,
    scheme: Scheme,
    pool_index: usize,
    now: Now,
) -> PinState {
    let pool = &worker.shared.pools[pool_index];
    if pool.config.affinity == Affinity::None {
        return PinState::Off;
    }
    let name = cookie::browser_name(CookieName::PIN, scheme);
    let pin = exchange.request_headers(&header::COOKIE).flat_map(|header| cookie::values(header, &name)).next();
    let pin = pin.and_then(|text| match seal::open(&worker.shared.keys, CookieName::PIN, text) {
        Ok(plain) => Pin::decode(&plain).ok(),
        Err(error) => {
            worker.metrics.count_broken_pin();
            tracing::debug!(%error, "a pin could not be opened");
            None
        }
    });
    let lookup = |instance: u64, incarnation: u32| pool.pinned(instance, incarnation);
    match affinity::decide(pin.as_ref(), pool.pin_id, now.timestamp.as_seconds(), lookup) {
        Decision::Honour { slot } => PinState::Pinned(slot),
        Decision::Pick(reason) => {
            worker.metrics.count_pin(reason);
            PinState::Unpinned
        }
    }
}

/// Pins the user to the instance that served, unless that is where the pin led already.
pub(crate) fn write<X: Exchange>(
    worker: &Worker,
    exchange: &mut X,
    scheme: Scheme,
    pin: PinState,
    place: Place,
    now: Now,
) {
    let pool = &worker.shared.pools[place.pool];
    let Affinity::Cookie { ttl } = pool.config.affinity else { return };
    if pin == PinState::Off || pin == PinState::Pinned(place.slot) {
        return;
    }
    let instance = worker.instance(place);
    let pin = Pin {
        pool: pool.pin_id,
        instance: instance.pin_id,
        incarnation: instance.incarnation(),
        issued_at_s: now.timestamp.as_seconds(),
        expires_at_s: now.timestamp.plus(ttl).as_seconds(),
    };
    // Without randomness there is no nonce; the user is served all the same and pinned by the next answer.
    let Ok(nonce) = worker.secret_bytes() else { return };
    let Ok(sealed) = seal::seal(&worker.shared.keys, CookieName::PIN, &pin.encode(), nonce) else { return };
    let text = cookie::set(CookieName::PIN, &sealed, scheme, SameSite::Lax, Some(ttl));
    if let Ok(value) = HeaderValue::from_str(&text) {
        exchange.append_response_header(header::SET_COOKIE, value);
    }
}
