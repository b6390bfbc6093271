//! What stands in the database, byte by byte.
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | sessions | store key | `s`, time filed under (8), the record; or `a`, until (8), key it leads to (32) |
//! | principals | principal, 0, store key | nothing |
//! | expiry | time filed under (8), store key | nothing |
//! | epochs | principal | epoch (8), kept until (8) |
//! | books | `totals` | sessions (8), epoch floor (8), horizon (8) |
//!
//! Numbers are big endian, times are milliseconds since the Unix epoch. A principal holds no control character, so that
//! the 0 ends it beyond doubt.

use std::sync::Arc;

use cloakroom_session::{Principal, Record, RecordError, StoreKey, Timestamp};

/// Bytes of a store key.
pub(crate) const KEY_BYTES: usize = 32;
const SESSION_TAG: u8 = b's';
const ALIAS_TAG: u8 = b'a';

/// What a key leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A session, and the time its one entry in the expiry keyspace has. Touches do not move that entry: the sweeper
    /// looks at the record when the time comes and files it anew.
    Session { record: Arc<Record>, filed_at: Timestamp },
    /// Left by a rotation: leads to another key until it runs out.
    Alias { to: StoreKey, until: Timestamp },
}

impl Entry {
    /// The time of its entry in the expiry keyspace.
    pub(crate) fn filed_at(&self) -> Timestamp {
        match self {
            Self::Session { filed_at, .. } => *filed_at,
            Self::Alias { until, .. } => *until,
        }
    }

    pub(crate) fn record(&self) -> Option<&Arc<Record>> {
        match self {
            Self::Session { record, .. } => Some(record),
            Self::Alias { .. } => None,
        }
    }

    pub(crate) fn principal(&self) -> Option<&Principal> {
        self.record().and_then(|record| record.principal.as_ref())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Session { record, filed_at } => {
                let record = record.encode();
                let mut bytes = Vec::with_capacity(9 + record.len());
                bytes.push(SESSION_TAG);
                bytes.extend_from_slice(&filed_at.as_millis().to_be_bytes());
                bytes.extend_from_slice(&record);
                bytes
            }
            Self::Alias { to, until } => {
                let mut bytes = vec![ALIAS_TAG];
                bytes.extend_from_slice(&until.as_millis().to_be_bytes());
                bytes.extend_from_slice(to.as_bytes());
                bytes
            }
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let cut = RecordError::Truncated { offset: bytes.len() };
        let (&tag, rest) = bytes.split_first().ok_or(cut)?;
        let (time, rest) = rest.split_first_chunk().ok_or(cut)?;
        let time = Timestamp::from_millis(u64::from_be_bytes(*time));
        match tag {
            SESSION_TAG => Ok(Self::Session { record: Arc::new(Record::decode(rest)?), filed_at: time }),
            ALIAS_TAG => {
                let to = rest.try_into().map_err(|_| RecordError::Malformed { tag })?;
                Ok(Self::Alias { to: StoreKey::from_bytes(to), until: time })
            }
            _ => Err(RecordError::Malformed { tag }),
        }
    }
}

/// The key in the expiry keyspace.
pub(crate) fn expiry_key(filed_at: Timestamp, key: &StoreKey) -> Vec<u8> {
    [&filed_at.as_millis().to_be_bytes()[..], key.as_bytes()].concat()
}

pub(crate) fn parse_expiry_key(bytes: &[u8]) -> Option<(Timestamp, StoreKey)> {
    let (time, key) = bytes.split_first_chunk()?;
    Some((Timestamp::from_millis(u64::from_be_bytes(*time)), StoreKey::from_bytes(key.try_into().ok()?)))
}

/// The key in the principals keyspace.
pub(crate) fn index_key(principal: &Principal, key: &StoreKey) -> Vec<u8> {
    [principal.as_str().as_bytes(), &[0], key.as_bytes()].concat()
}

/// The store key at the end of a key of the principals keyspace.
pub(crate) fn parse_index_key(bytes: &[u8]) -> Option<StoreKey> {
    bytes.last_chunk::<KEY_BYTES>().map(|key| StoreKey::from_bytes(*key))
}

/// A principal's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub(crate) number: u64,
    /// When every session bound under a lower epoch has met its absolute deadline, and nothing is left to revoke.
    pub(crate) keep_until: Timestamp,
}

impl Epoch {
    pub(crate) fn encode(&self) -> Vec<u8> {
        [self.number.to_be_bytes(), self.keep_until.as_millis().to_be_bytes()].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let [number, keep_until] = numbers(bytes)?;
        Some(Self { number, keep_until: Timestamp::from_millis(keep_until) })
    }
}

/// The store's own books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Sessions kept.
    pub(crate) sessions: u64,
    /// The highest epoch that was forgotten. New epochs are above it, or a session bound under a forgotten epoch would
    /// outrank the next one.
    pub(crate) epoch_floor: u64,
    /// A time no session kept lives beyond, rounded up so that it is seldom written.
    pub(crate) horizon: Timestamp,
}

impl Totals {
    pub(crate) const KEY: &'static [u8] = b"totals";
    /// The horizon moves in steps of an hour.
    const HORIZON_STEP_MS: u64 = 60 * 60 * 1000;

    /// Moves the horizon behind a session's absolute deadline.
    pub(crate) fn cover(&mut self, absolute_deadline: Timestamp) {
        if absolute_deadline > self.horizon {
            let steps = absolute_deadline.as_millis().div_ceil(Self::HORIZON_STEP_MS);
            self.horizon = Timestamp::from_millis(steps.saturating_mul(Self::HORIZON_STEP_MS));
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        [self.sessions, self.epoch_floor, self.horizon.as_millis()].map(u64::to_be_bytes).concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let [sessions, epoch_floor, horizon] = numbers(bytes)?;
        Some(Self { sessions, epoch_floor, horizon: Timestamp::from_millis(horizon) })
    }
}

fn numbers<const COUNT: usize>(bytes: &[u8]) -> Option<[u64; COUNT]> {
    let mut numbers = [0; COUNT];
    let (chunks, rest) = bytes.as_chunks();
    if chunks.len() != COUNT || !rest.is_empty() {
        return None;
    }
    for (number, chunk) in numbers.iter_mut().zip(chunks) {
        *number = u64::from_be_bytes(*chunk);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloakroom_session::Lifetimes;

    /// An entry that reads back as another would hand out the wrong session.
    #[test]
    fn entries_round_trip() {
        let (key, time) = (StoreKey::from_bytes([7; 32]), Timestamp::from_millis(1_780_000_000_123));
        let record = Arc::new(Record::begin(time, &Lifetimes::default()));
        for entry in [Entry::Session { record, filed_at: time }, Entry::Alias { to: key, until: time }] {
            assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }
        assert_eq!(parse_expiry_key(&expiry_key(time, &key)), Some((time, key)));
        assert_eq!(parse_index_key(&index_key(&Principal::parse(b"alice").unwrap(), &key)), Some(key));
        let totals = Totals { sessions: 1, epoch_floor: 2, horizon: time };
        assert_eq!(Totals::decode(&totals.encode()), Some(totals));
        let epoch = Epoch { number: 3, keep_until: time };
        assert_eq!(Epoch::decode(&epoch.encode()), Some(epoch));
    }

    proptest::proptest! {
        /// Bytes from a damaged disk must never panic.
        #[test]
        fn decoding_is_total(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            let _ = (Entry::decode(&bytes), Totals::decode(&bytes), Epoch::decode(&bytes));
            let _ = (parse_expiry_key(&bytes), parse_index_key(&bytes));
        }
    }
}
