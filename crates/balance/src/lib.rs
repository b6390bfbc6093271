//! Which instance gets this request? Everything that answers this question and can be computed without I/O.
//!
//! | module | question |
//! | --- | --- |
//! | [`affinity`] | Does the client's pin still name an instance that may serve it? |
//! | [`health`] | Which instances may take new traffic, and how much should a failing one be held back? |
//! | [`algorithm`] | Which of these gets the next request? |
//!
//! The crate is pure: time (`now_ms`, monotonic milliseconds; `now_s`, seconds of the Unix epoch for pins that outlive
//! a process) and randomness (`entropy`, `seed`) are arguments, so that every rule here is tested under simulated
//! time and every failing case can be replayed from its seed.
//!
//! A pool wires the parts together like this:
//!
//! ```
//! use cloakroom_balance::{
//!     Affinity, Algorithm, Availability, Balancer, FailureEcho, Member, PANIC_THRESHOLD_PERCENT, PinnedState, decide,
//!     eligible,
//! };
//!
//! let instances = [
//!     (Member { slot: 0, weight: 1 }, Availability::Up),
//!     (Member { slot: 1, weight: 1 }, Availability::Down),
//!     (Member { slot: 2, weight: 1 }, Availability::Draining),
//! ];
//! let seed = 7; // different in every worker
//! let usable = eligible(&instances, PANIC_THRESHOLD_PERCENT);
//! let mut balancer = Balancer::new(Algorithm::LeastConnections, &usable.members, seed);
//!
//! let in_flight = [3, 0, 0];
//! let echoes = [FailureEcho::default(), FailureEcho::default(), FailureEcho::default()];
//! let (now_ms, now_s, entropy) = (1_000, 1_700_000_000, 42);
//!
//! let slot = match decide(None, 0xbeef, now_s, |_, _| PinnedState::Gone) {
//!     Affinity::Honour { slot } => Some(slot),
//!     Affinity::Pick(_reason) => balancer.pick(
//!         |slot| in_flight[slot as usize] + echoes[slot as usize].penalty(now_ms),
//!         |_slot| false,
//!         entropy,
//!     ),
//! };
//! assert_eq!(slot, Some(0), "the only instance that is up");
//! ```

pub mod affinity;
pub mod algorithm;
pub mod health;
mod random;

pub use affinity::{Affinity, PIN_LENGTH, PIN_VERSION, Pin, PinError, PinnedState, Reason, decide};
pub use algorithm::{Algorithm, Balancer, Member, UnknownAlgorithm, WEIGHT_MAX, WEIGHT_MIN};
pub use health::{
    ActiveHealth, Availability, Change, Ejection, Eligible, FAILURE_ECHO_HALF_LIFE_MS, FAILURE_ECHO_MAX, FailureEcho,
    Health, Mode, Outcome, Outlier, OutlierSettings, PANIC_THRESHOLD_PERCENT, Thresholds, eligible,
    next_check_delay_ms,
};
