//! The one place that reads the clock.
//!
//! A request reads it once, when it arrives. Whatever happens later in the same turn of the worker takes the last
//! reading: of this or another request, or of the moment the worker woke up. When a worker sleeps until an instance
//! answers, it wakes with a fresh reading, so that latencies are right to one turn of the worker.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cloakroom_session::Timestamp;

/// How long a wall-clock offset is believed before the system is asked again, so that an adjusted clock is noticed.
const ANCHOR_LIFETIME: Duration = Duration::from_secs(1);

/// One moment, on the monotonic clock and on the wall.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For durations.
    pub(crate) instant: Instant,
    /// For sessions, cookies and tokens.
    pub(crate) timestamp: Timestamp,
}

thread_local! {
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
    static ANCHOR: Cell<Option<Now>> = const { Cell::new(None) };
}

/// Reads the clock: once per request, and once whenever the worker wakes.
pub(crate) fn read() -> Instant {
    let instant = Instant::now();
    LAST.set(Some(instant));
    instant
}

/// The last reading of this thread.
pub(crate) fn last() -> Instant {
    LAST.get().unwrap_or_else(read)
}

/// Reads the clock and tells the wall time with it.
pub(crate) fn now() -> Now {
    let instant = read();
    if let Some(anchor) = ANCHOR.get() {
        let age = instant.saturating_duration_since(anchor.instant);
        if age < ANCHOR_LIFETIME {
            return Now { instant, timestamp: anchor.timestamp.plus(age) };
        }
    }
    let now = Now { instant, timestamp: system_time() };
    ANCHOR.set(Some(now));
    now
}

/// The wall clock, asked directly.
pub(crate) fn system_time() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(cloakroom_session::time::millis(since_epoch))
}

/// Monotonic milliseconds since the process first asked: the unit of health and ejection.
pub(crate) fn monotonic_ms(instant: Instant) -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = *START.get_or_init(|| instant);
    // One, so that zero can stand for "never".
    cloakroom_session::time::millis(instant.saturating_duration_since(start)) + 1
}
