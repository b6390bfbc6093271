//! Which instances may take new traffic: what probes say, what real requests say, and what is left to use.
//!
//! Three kinds of evidence, from slow to fast:
//! - **active**: probes at an interval, with hysteresis ([`ActiveHealth`]);
//! - **passive**: failures in a row of real requests eject an instance for a while ([`Outlier`]);
//! - **echo**: each single failure counts as load for some seconds ([`FailureEcho`]), so that an instance that fails
//!   within a millisecond does not look like the least busy one of the pool until the other two have noticed.
//!
//! [`eligible`] turns the verdicts into the members to balance over.

mod active;
mod echo;
mod eligibility;
mod outlier;

pub use active::{ActiveHealth, Change, Health, Thresholds, next_check_delay_ms};
pub use echo::{FAILURE_ECHO_HALF_LIFE_MS, FAILURE_ECHO_MAX, FailureEcho};
pub use eligibility::{Availability, Eligible, Mode, PANIC_THRESHOLD_PERCENT, eligible};
pub use outlier::{Ejection, Outcome, Outlier, OutlierSettings};
