//! Wall-clock time as a plain number, so that records, cookies and tokens of several machines compare.

use std::fmt;
use std::time::Duration;

/// Milliseconds since the Unix epoch. Saturates at both ends instead of wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// A time from milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down: the unit of JSON Web Tokens (RFC 7519 §2).
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This time moved forward, saturating.
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// How long ago `earlier` was; zero when it lies ahead, as it may after a clock was set back.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ms", self.0)
    }
}

/// Whole milliseconds of a duration, saturating at `u64::MAX`.
pub const fn millis(duration: Duration) -> u64 {
    let whole = duration.as_millis();
    if whole > u64::MAX as u128 { u64::MAX } else { whole as u64 }
}
