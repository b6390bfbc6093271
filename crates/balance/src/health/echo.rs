//! The echo of failures, which keeps a broken instance from looking idle.

use std::sync::atomic::{AtomicU64, Ordering};

/// The time after which half of an echo is left.
pub const FAILURE_ECHO_HALF_LIFE_MS: u32 = 2_000;

/// The greatest penalty, in virtual requests in flight. An instance whose peers have more than this many requests in
/// flight each is no longer held back by its echo alone. The echo of a whole burst has died down after
/// 17 half-lives.
pub const FAILURE_ECHO_MAX: u32 = 1 << 16;

/// Fractional bits of the stored value.
const FRACTION_BITS: u32 = 8;
const ONE: u32 = 1 << FRACTION_BITS;
const VALUE_MAX: u32 = FAILURE_ECHO_MAX << FRACTION_BITS;

/// A penalty that failures leave behind, to be added to an instance's load.
///
/// An instance that refuses connections is done with each request at once: it has none in flight, so least
/// connections and two choices would send it most of the traffic. Each failure therefore counts as one virtual
/// request in flight, halved every [`FAILURE_ECHO_HALF_LIFE_MS`], up to [`FAILURE_ECHO_MAX`]. The failing instance
/// then gets about as many requests per half-life as its peers have in flight: a trickle, which is enough to notice
/// that it has recovered.
///
/// One word, shared by all threads without a lock. Two failures recorded at the same moment may count as one: a
/// penalty that is off by one changes little, and a lock or a retry loop on the failure path would cost more. Time
/// is kept in 32 bits: an echo that no one looked at for 25 days may be taken for a fresh one, once, for some seconds.
#[derive(Debug, Default)]
pub struct FailureEcho {
    /// The fixed-point value in the upper half, its time in milliseconds in the lower; 0 when there is no echo.
    state: AtomicU64,
}

impl FailureEcho {
    /// Counts one failure.
    pub fn record_failure(&self, now_ms: u64) {
        let value = value_at(self.state.load(Ordering::Relaxed), now_ms).saturating_add(ONE).min(VALUE_MAX);
        self.state.store(pack(value, now_ms), Ordering::Relaxed);
    }

    /// The penalty in virtual requests in flight, rounded to the nearest. Where there is none this is one relaxed load.
    pub fn penalty(&self, now_ms: u64) -> u32 {
        let state = self.state.load(Ordering::Relaxed);
        if state == 0 {
            return 0;
        }
        let penalty = (value_at(state, now_ms) + ONE / 2) >> FRACTION_BITS;
        if penalty == 0 {
            // A failure recorded meanwhile makes the exchange fail, and so is not lost.
            let _ = self.state.compare_exchange(state, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        penalty
    }
}

fn pack(value: u32, now_ms: u64) -> u64 {
    u64::from(value) << 32 | u64::from(now_ms as u32)
}

/// The value left at `now_ms`: exact at whole half-lives, and on the straight line between them.
fn value_at(state: u64, now_ms: u64) -> u32 {
    let (value, recorded_ms) = ((state >> 32) as u32, state as u32);
    let elapsed_ms = match (now_ms as u32).wrapping_sub(recorded_ms) {
        // Another thread's clock reading was a little ahead of this one's.
        ahead if ahead > u32::MAX / 2 => 0,
        elapsed_ms => elapsed_ms,
    };
    let value = u64::from(value.checked_shr(elapsed_ms / FAILURE_ECHO_HALF_LIFE_MS).unwrap_or(0));
    let into_half_life_ms = u64::from(elapsed_ms % FAILURE_ECHO_HALF_LIFE_MS);
    (value - value * into_half_life_ms / (2 * u64::from(FAILURE_ECHO_HALF_LIFE_MS))) as u32
}
