//! Compares a store with the in-memory model over random sequences of changes, so that the combinations nobody thought
//! of are tried too.
//!
//! Operations are data. A sequence that tells the two apart is printed in readable form, shortened by proptest.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cloakroom_session::lifecycle::standing;
use cloakroom_session::{Delta, FieldName, FieldValue, Lifetimes, Principal, Record, Standing, StoreKey, Timestamp};
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use crate::memory::MemoryStore;
use crate::{
    CommitOutcome, CommitRequest, CreateOutcome, CreateRequest, EndOutcome, Loaded, Login, PrincipalIndex,
    RotateOutcome, RotateRequest, SessionStore, StoreError, TouchOutcome, TouchRequest,
};

/// Slots for sessions: few, so that operations meet each other.
pub const SLOTS: u8 = 6;
/// Principals.
pub const PRINCIPALS: u8 = 2;
/// Payload cap of all changes: small, so that it is met.
const CAP_BYTES: usize = 120;
const GRACE: Duration = Duration::from_secs(15);
const LIFETIMES: Lifetimes =
    Lifetimes { idle: Duration::from_secs(60), absolute: Duration::from_secs(200), touch: Duration::from_secs(10) };

/// One step of a sequence. Slots name keys; a slot gets a fresh key where its old one would be used up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new session.
    Create {
        /// Its slot.
        slot: u8,
        /// Who it is bound to.
        principal: Option<u8>,
    },
    /// A change of one field.
    Commit {
        /// The session's slot.
        slot: u8,
        /// Which field.
        field: u8,
        /// Bytes of the new value; `None` to remove the field.
        length: Option<u8>,
        /// The revision that is expected.
        expected: Expected,
    },
    /// A request.
    Touch {
        /// The session's slot.
        slot: u8,
    },
    /// A new key.
    Rotate {
        /// The slot of the old key.
        old: u8,
        /// The slot of the new key.
        new: u8,
        /// Who signs in.
        login: Option<u8>,
        /// Bytes of a field that is set in the same step.
        length: Option<u8>,
    },
    /// A sign-out.
    End {
        /// The session's slot.
        slot: u8,
    },
    /// A sign-out everywhere.
    EndAll {
        /// Whose.
        principal: u8,
        /// The slot of the session that stays.
        except: Option<u8>,
    },
    /// Time goes by.
    Advance {
        /// How far.
        seconds: u8,
    },
}

/// The revision a commit expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Any.
    Any,
    /// The one the session has.
    Current,
    /// One it has not.
    Stale,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { slot, principal: None } => write!(formatter, "create #{slot}"),
            Self::Create { slot, principal: Some(who) } => write!(formatter, "create #{slot} for user {who}"),
            Self::Commit { slot, field, length, expected } => {
                match length {
                    Some(length) => write!(formatter, "set f{field} of #{slot} to {length} bytes")?,
                    None => write!(formatter, "remove f{field} of #{slot}")?,
                }
                write!(formatter, " at {expected:?} revision")
            }
            Self::Touch { slot } => write!(formatter, "touch #{slot}"),
            Self::Rotate { old, new, login, length } => {
                write!(formatter, "rotate #{old} to #{new}")?;
                if let Some(who) = login {
                    write!(formatter, " as user {who} signs in")?;
                }
                length.map_or(Ok(()), |length| write!(formatter, ", set f0 to {length} bytes"))
            }
            Self::End { slot } => write!(formatter, "end #{slot}"),
            Self::EndAll { principal, except: None } => write!(formatter, "end all of user {principal}"),
            Self::EndAll { principal, except: Some(slot) } => {
                write!(formatter, "end all of user {principal} but #{slot}")
            }
            Self::Advance { seconds } => write!(formatter, "wait {seconds} s"),
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Random sequences of up to `length_max` operations.
pub fn operations(length_max: usize) -> impl Strategy<Value = Vec<Operation>> {
    let slot = || 0..SLOTS;
    let principal = || 0..PRINCIPALS;
    let length = || proptest::option::weighted(0.8, 1..60_u8);
    let expected = prop_oneof![4 => Just(Expected::Any), 1 => Just(Expected::Current), 1 => Just(Expected::Stale)];
    let operation = prop_oneof![
        4 => (slot(), proptest::option::of(principal()))
            .prop_map(|(slot, principal)| Operation::Create { slot, principal }),
        5 => (slot(), 0..3_u8, length(), expected)
            .prop_map(|(slot, field, length, expected)| Operation::Commit { slot, field, length, expected }),
        3 => slot().prop_map(|slot| Operation::Touch { slot }),
        5 => (slot(), slot(), proptest::option::weighted(0.3, principal()), proptest::option::weighted(0.3, 1..60_u8))
            .prop_map(|(old, new, login, length)| Operation::Rotate { old, new, login, length }),
        2 => slot().prop_map(|slot| Operation::End { slot }),
        1 => (principal(), proptest::option::of(slot()))
            .prop_map(|(principal, except)| Operation::EndAll { principal, except }),
        4 => any::<bool>().prop_flat_map(|is_short| if is_short { 1..15_u8 } else { 15..70_u8 })
            .prop_map(|seconds| Operation::Advance { seconds }),
    ];
    proptest::collection::vec(operation, 1..=length_max)
}

/// Where a store and the model part.
#[derive(Clone, Debug, thiserror::Error)]
#[error("after [{history}] the store answered {found}, the model {expected}")]
pub struct Mismatch {
    /// The operations up to and with the one that told them apart.
    pub history: String,
    /// The model's answer.
    pub expected: String,
    /// The store's answer.
    pub found: String,
}

/// Carries the operations out on an empty store and on the model, and compares each answer and, after each step, every
/// session. `advanced` is called when time goes by, for stores that are to sweep then. Epochs are compared by what they
/// decide, not by number; the dead count as missing.
///
/// # Errors
/// [`Mismatch`] at the first difference.
pub async fn check_against_model(
    store: Arc<dyn SessionStore>,
    operations: &[Operation],
    advanced: impl AsyncFn(Timestamp),
) -> Result<(), Mismatch> {
    let mut driver = Driver::new(store);
    for (index, operation) in operations.iter().enumerate() {
        driver.carry_out(*operation).await;
        if let Operation::Advance { .. } = operation {
            advanced(driver.now).await;
        }
        driver.compare_everything().await;
        if let Some((found, expected)) = driver.difference {
            let history: Vec<_> = operations[..=index].iter().map(Operation::to_string).collect();
            return Err(Mismatch { history: history.join("; "), expected, found });
        }
    }
    Ok(())
}

struct Driver {
    store: Arc<dyn SessionStore>,
    model: MemoryStore,
    now: Timestamp,
    /// Which key a slot has had how many times: keys are never used again once dead, as random ones are not.
    generations: [u32; SLOTS as usize],
    difference: Option<(String, String)>,
}

impl Driver {
    fn new(store: Arc<dyn SessionStore>) -> Self {
        let now = Timestamp::from_millis(1_780_000_000_000);
        Self { store, model: MemoryStore::new(), now, generations: [0; SLOTS as usize], difference: None }
    }

    fn key(&self, slot: u8) -> StoreKey {
        let mut bytes = [slot; 32];
        bytes[..4].copy_from_slice(&self.generations[usize::from(slot)].to_be_bytes());
        // The bytes are spread like those of a real key, which is a hash.
        bytes[4..].reverse();
        StoreKey::from_bytes(bytes)
    }

    /// A key for something new: one that is free or plainly taken. Whether a dead session still takes its key is up to
    /// each store, so that the slot gets another.
    async fn key_for_new(&mut self, slot: u8) -> StoreKey {
        let key = self.key(slot);
        let is_alive = plain(self.model.load(&key, self.now).await, self.now) != Ok(None);
        if self.model.holds(&key) && !is_alive {
            self.generations[usize::from(slot)] += 1;
        }
        self.key(slot)
    }

    fn compare<Answer: PartialEq + fmt::Debug>(
        &mut self,
        found: Result<Answer, StoreError>,
        expected: Result<Answer, StoreError>,
    ) {
        let found = found.map_err(|error| error.to_string());
        let expected = expected.map_err(|error| error.to_string());
        if self.difference.is_none() && found != expected {
            self.difference = Some((format!("{found:?}"), format!("{expected:?}")));
        }
    }

    async fn carry_out(&mut self, operation: Operation) {
        match operation {
            Operation::Create { slot, principal: who } => self.create(slot, who).await,
            Operation::Commit { slot, field, length, expected } => self.commit(slot, field, length, expected).await,
            Operation::Touch { slot } => {
                let request = TouchRequest { key: self.key(slot), window: LIFETIMES.touch, now: self.now };
                let found: Result<TouchOutcome, _> = self.store.touch(request).await;
                self.compare(found, self.model.touch(request).await);
            }
            Operation::Rotate { old, new, login, length } => self.rotate(old, new, login, length).await,
            Operation::End { slot } => {
                let key = self.key(slot);
                let found: Result<EndOutcome, _> = self.store.end(&key, self.now).await;
                self.compare(found, self.model.end(&key, self.now).await);
            }
            Operation::EndAll { principal: who, except } => self.end_all(who, except).await,
            Operation::Advance { seconds } => self.now = self.now.plus(Duration::from_secs(seconds.into())),
        }
    }

    async fn create(&mut self, slot: u8, who: Option<u8>) {
        let mut record = Record::begin(self.now, &LIFETIMES);
        if let Some(who) = who {
            record = record.with_principal(principal(who), 0, self.now);
        }
        let request = CreateRequest { key: self.key_for_new(slot).await, record };
        let plain = |outcome| match outcome {
            CreateOutcome::Created(record) => CreateOutcome::Created(without_epoch(&record)),
            CreateOutcome::Exists => CreateOutcome::Exists,
        };
        let found = self.store.create(request.clone()).await.map(plain);
        self.compare(found, self.model.create(request).await.map(plain));
    }

    async fn commit(&mut self, slot: u8, field: u8, length: Option<u8>, expected: Expected) {
        let key = self.key(slot);
        let revision = match self.model.load(&key, self.now).await {
            Ok(Some(loaded)) => loaded.record.revision,
            _ => 1,
        };
        let expected_revision = match expected {
            Expected::Any => None,
            Expected::Current => Some(revision),
            Expected::Stale => Some(revision + 1),
        };
        let delta = delta(field, length);
        let request = CommitRequest { key, delta, expected_revision, payload_bytes_max: CAP_BYTES, now: self.now };
        let plain = |outcome| match outcome {
            CommitOutcome::Committed(record) => CommitOutcome::Committed(without_epoch(&record)),
            other => other,
        };
        let found = self.store.commit(request.clone()).await.map(plain);
        self.compare(found, self.model.commit(request).await.map(plain));
    }

    async fn rotate(&mut self, old: u8, new: u8, login: Option<u8>, length: Option<u8>) {
        let request = RotateRequest {
            old: self.key(old),
            new: self.key_for_new(new).await,
            login: login.map(|who| Login { principal: principal(who) }),
            delta: length.map_or_else(Delta::default, |length| delta(0, Some(length))),
            grace: GRACE,
            payload_bytes_max: CAP_BYTES,
            now: self.now,
        };
        let plain = |outcome| match outcome {
            RotateOutcome::Rotated(record) => RotateOutcome::Rotated(without_epoch(&record)),
            other => other,
        };
        let found = self.store.rotate(request.clone()).await.map(plain);
        self.compare(found, self.model.rotate(request).await.map(plain));
    }

    async fn end_all(&mut self, who: u8, except: Option<u8>) {
        let Some(index) = self.store.principals() else { return };
        let (principal, except) = (principal(who), except.map(|slot| self.key(slot)));
        let found = index.end_all(&principal, except, self.now).await.map(drop);
        let expected = self.model.end_all(&principal, except, self.now).await.map(drop);
        self.compare(found, expected);
    }

    /// Every session by every key that a slot has had, from memory and for certain; every principal's list.
    async fn compare_everything(&mut self) {
        for slot in 0..SLOTS {
            let key = self.key(slot);
            let expected = plain(self.model.load(&key, self.now).await, self.now);
            if let Some(cached) = self.store.load_cached(&key, self.now) {
                self.compare_plain(plain(Ok(Some(cached)), self.now), &expected, "from memory");
            }
            let found = plain(self.store.load(&key, self.now).await, self.now);
            self.compare_plain(found, &expected, "by key");
        }
        let Some(index) = self.store.principals().map(|_| Arc::clone(&self.store)) else { return };
        for who in 0..PRINCIPALS {
            let principal = principal(who);
            let list = |listed: Result<Vec<(StoreKey, Arc<Record>)>, StoreError>, now| {
                listed.map(|mut listed| {
                    listed.retain(|(_, record)| standing(record, 0, now) == Standing::Alive);
                    listed.into_iter().map(|(key, record)| (key, without_epoch(&record))).collect::<Vec<_>>()
                })
            };
            let Some(principals) = index.principals() else { return };
            let found = list(principals.sessions_of(&principal, None, usize::MAX).await, self.now);
            self.compare(found, list(self.model.sessions_of(&principal, None, usize::MAX).await, self.now));
        }
    }

    fn compare_plain(&mut self, found: PlainAnswer, expected: &PlainAnswer, how: &str) {
        if self.difference.is_none() && found != *expected {
            self.difference = Some((format!("{found:?} {how}"), format!("{expected:?}")));
        }
    }
}

/// What a load shows of a session that is alive.
type PlainAnswer = Result<Option<(StoreKey, Arc<Record>)>, String>;

fn plain(answer: Result<Option<Loaded>, StoreError>, now: Timestamp) -> PlainAnswer {
    let answer = answer.map_err(|error| error.to_string())?;
    let alive = answer.filter(|loaded| standing(&loaded.record, loaded.principal_epoch, now) == Standing::Alive);
    Ok(alive.map(|loaded| (loaded.key, without_epoch(&loaded.record))))
}

fn without_epoch(record: &Record) -> Arc<Record> {
    let mut plain = record.clone();
    plain.principal_epoch = 0;
    Arc::new(plain)
}

fn principal(who: u8) -> Principal {
    Principal::parse(format!("user {who}").as_bytes()).unwrap()
}

fn delta(field: u8, length: Option<u8>) -> Delta {
    let mut delta = Delta::default();
    let name = FieldName::new(&format!("f{field}")).unwrap();
    match length {
        Some(length) => delta.set(name, FieldValue::parse(&format!("\"{}\"", "x".repeat(length.into()))).unwrap()),
        None => delta.remove(name),
    }
    delta
}
