//! When a session is alive, and when a request is worth writing down.

use std::time::Duration;

use crate::record::Record;
use crate::time::Timestamp;

/// How long sessions live, and how often being seen is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// A session ends this long after the last request that was written down.
    pub idle: Duration,
    /// A session ends this long after it began, whatever happens.
    pub absolute: Duration,
    /// A touch is written at most once in this window, so that idle expiry may come up to this much early.
    pub touch: Duration,
}

impl Default for Lifetimes {
    /// 24 hours idle, 30 days absolute, 30 seconds between touches.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(24 * 60 * 60),
            absolute: Duration::from_secs(30 * 24 * 60 * 60),
            touch: Duration::from_secs(30),
        }
    }
}

/// What a stored session is worth at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It serves.
    Alive,
    /// No request within its idle time.
    IdleExpired,
    /// Past its absolute deadline.
    AbsoluteExpired,
    /// All sessions of its principal were ended after it was bound.
    Revoked,
}

/// Judges a record. `principal_epoch` is the principal's present epoch as the store holds it (0 where none was set).
///
/// Both deadlines are exclusive: a session is dead at the very millisecond it runs out.
pub fn standing(record: &Record, principal_epoch: u64, now: Timestamp) -> Standing {
    if record.principal.is_some() && record.principal_epoch < principal_epoch {
        Standing::Revoked
    } else if now >= record.absolute_deadline {
        Standing::AbsoluteExpired
    } else if now >= record.last_seen_at.plus(record.idle) {
        Standing::IdleExpired
    } else {
        Standing::Alive
    }
}

/// When a record runs out if nobody comes: the earlier of its two deadlines.
pub fn deadline(record: &Record) -> Timestamp {
    record.last_seen_at.plus(record.idle).min(record.absolute_deadline)
}

/// Whether a request at `now` should be written down. A clock set back never makes a touch due.
pub fn touch_is_due(record: &Record, window: Duration, now: Timestamp) -> bool {
    now.since(record.last_seen_at) >= window
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Principal;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn record() -> Record {
        let lifetimes = Lifetimes {
            idle: Duration::from_secs(100),
            absolute: Duration::from_secs(250),
            touch: Duration::from_secs(10),
        };
        Record::begin(at(1000), &lifetimes)
    }

    /// A session that outlives its deadline by a second is a shared computer left signed in.
    #[test]
    fn both_deadlines_hold_to_the_millisecond() {
        let mut record = record();
        assert_eq!(standing(&record, 0, at(1000)), Standing::Alive);
        assert_eq!(standing(&record, 0, Timestamp::from_millis(1_099_999)), Standing::Alive);
        assert_eq!(standing(&record, 0, at(1100)), Standing::IdleExpired);
        record.last_seen_at = at(1240);
        assert_eq!(standing(&record, 0, at(1249)), Standing::Alive);
        assert_eq!(standing(&record, 0, at(1250)), Standing::AbsoluteExpired);
        assert_eq!(deadline(&record), at(1250));
    }

    /// "Sign out everywhere" that misses a session created in a race leaves the thief signed in.
    #[test]
    fn a_raised_epoch_kills_every_earlier_binding() {
        let bound = record().with_principal(Principal::parse(b"alice").unwrap(), 4, at(1000));
        assert_eq!(standing(&bound, 4, at(1001)), Standing::Alive);
        assert_eq!(standing(&bound, 5, at(1001)), Standing::Revoked);
        assert_eq!(standing(&record(), 5, at(1001)), Standing::Alive);
    }

    /// A clock that jumps back must neither kill sessions nor storm the store with touches.
    #[test]
    fn touches_are_throttled_and_clock_jumps_are_harmless() {
        let record = record();
        for (now, due) in [(1000, false), (1009, false), (1010, true), (5, false)] {
            assert_eq!(touch_is_due(&record, Duration::from_secs(10), at(now)), due, "{now}");
        }
        assert_eq!(standing(&record, 0, at(5)), Standing::Alive);
    }
}
