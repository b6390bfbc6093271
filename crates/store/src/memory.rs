//! The in-memory model: every rule of the traits in the plainest form, for stores to be compared with.
//!
//! One lock round one map, no expiry in the background, no cache. It keeps nothing beyond the process, so it serves
//! tests and trials, not users.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloakroom_session::lifecycle::{standing, touch_is_due};
use cloakroom_session::{Principal, Record, Standing, StoreKey, Timestamp};

use crate::{
    ALIAS_HOPS_MAX, Capabilities, CommitOutcome, CommitRequest, CreateOutcome, CreateRequest, Durability, EndOutcome,
    Loaded, PrincipalIndex, RotateOutcome, RotateRequest, SESSIONS_PAGE_MAX, SessionStore, Sharing, StoreError,
    StoreFuture, TouchOutcome, TouchRequest,
};

/// A session store in one map.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether anything is kept under the key itself: a session, dead or alive, or an alias, run out or not.
    pub fn holds(&self, key: &StoreKey) -> bool {
        self.lock().entries.contains_key(key)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one step under the lock, when the future is first polled.
    fn step<'store, Answer: 'store>(
        &'store self,
        step: impl FnOnce(&mut State) -> Answer + Send + 'store,
    ) -> StoreFuture<'store, Answer> {
        Box::pin(async move {
            let mut state = self.lock();
            if state.closed { Err(StoreError::Closed) } else { Ok(step(&mut state)) }
        })
    }
}

impl SessionStore for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "memory", durability: Durability::Process, sharing: Sharing::OneProcess }
    }

    fn load_cached(&self, _key: &StoreKey, _now: Timestamp) -> Option<Loaded> {
        None
    }

    fn load<'store>(&'store self, key: &StoreKey, now: Timestamp) -> StoreFuture<'store, Option<Loaded>> {
        let key = *key;
        self.step(move |state| {
            let (key, record) = state.resolve(key, now)?;
            Some(Loaded { principal_epoch: state.epoch_of(&record), record, key })
        })
    }

    fn create(&self, request: CreateRequest) -> StoreFuture<'_, CreateOutcome> {
        self.step(move |state| state.create(request))
    }

    fn commit(&self, request: CommitRequest) -> StoreFuture<'_, CommitOutcome> {
        self.step(move |state| state.commit(&request))
    }

    fn touch(&self, request: TouchRequest) -> StoreFuture<'_, TouchOutcome> {
        self.step(move |state| state.touch(&request))
    }

    fn rotate(&self, request: RotateRequest) -> StoreFuture<'_, RotateOutcome> {
        self.step(move |state| state.rotate(request))
    }

    fn end<'store>(&'store self, key: &StoreKey, now: Timestamp) -> StoreFuture<'store, EndOutcome> {
        let key = *key;
        self.step(move |state| state.end(key, now))
    }

    fn principals(&self) -> Option<&dyn PrincipalIndex> {
        Some(self)
    }

    fn session_count(&self) -> StoreFuture<'_, u64> {
        self.step(|state| state.entries.values().filter(|entry| matches!(entry, Entry::Session(_))).count() as u64)
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.lock().closed = true;
            Ok(())
        })
    }
}

impl PrincipalIndex for MemoryStore {
    fn sessions_of<'store>(
        &'store self,
        principal: &Principal,
        after: Option<StoreKey>,
        limit: usize,
    ) -> StoreFuture<'store, Vec<(StoreKey, Arc<Record>)>> {
        let principal = principal.clone();
        self.step(move |state| {
            let epoch = state.epochs.get(&principal).copied().unwrap_or(0);
            let mut found: Vec<_> = state
                .entries
                .iter()
                .filter_map(|(key, entry)| match entry {
                    Entry::Session(record) => Some((*key, Arc::clone(record))),
                    Entry::Alias { .. } => None,
                })
                .filter(|(key, _)| after.is_none_or(|after| *key > after))
                .filter(|(_, record)| record.principal.as_ref() == Some(&principal) && record.principal_epoch >= epoch)
                .collect();
            found.sort_unstable_by_key(|(key, _)| *key);
            found.truncate(limit.min(SESSIONS_PAGE_MAX));
            found
        })
    }

    fn end_all<'store>(
        &'store self,
        principal: &Principal,
        except: Option<StoreKey>,
        now: Timestamp,
    ) -> StoreFuture<'store, u64> {
        let principal = principal.clone();
        self.step(move |state| state.end_all(principal, except, now))
    }
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    entries: HashMap<StoreKey, Entry>,
    epochs: HashMap<Principal, u64>,
}

#[derive(Clone, Debug)]
enum Entry {
    Session(Arc<Record>),
    /// Left by a rotation: leads to another key until it runs out.
    Alias {
        to: StoreKey,
        until: Timestamp,
    },
}

impl State {
    /// The session a key leads to, dead or alive, and the key it is kept under.
    fn resolve(&self, mut key: StoreKey, now: Timestamp) -> Option<(StoreKey, Arc<Record>)> {
        for _ in 0..=ALIAS_HOPS_MAX {
            match self.entries.get(&key)? {
                Entry::Session(record) => return Some((key, Arc::clone(record))),
                Entry::Alias { to, until } if now < *until => key = *to,
                Entry::Alias { .. } => return None,
            }
        }
        None
    }

    fn resolve_alive(&self, key: StoreKey, now: Timestamp) -> Option<(StoreKey, Arc<Record>)> {
        let (key, record) = self.resolve(key, now)?;
        (standing(&record, self.epoch_of(&record), now) == Standing::Alive).then_some((key, record))
    }

    fn epoch_of(&self, record: &Record) -> u64 {
        record.principal.as_ref().and_then(|principal| self.epochs.get(principal)).copied().unwrap_or(0)
    }

    fn keep(&mut self, key: StoreKey, record: Record) -> Arc<Record> {
        let record = Arc::new(record);
        self.entries.insert(key, Entry::Session(Arc::clone(&record)));
        record
    }

    fn create(&mut self, request: CreateRequest) -> CreateOutcome {
        if self.entries.contains_key(&request.key) {
            return CreateOutcome::Exists;
        }
        let mut record = request.record;
        record.principal_epoch = self.epoch_of(&record);
        CreateOutcome::Created(self.keep(request.key, record))
    }

    fn commit(&mut self, request: &CommitRequest) -> CommitOutcome {
        let Some((key, record)) = self.resolve_alive(request.key, request.now) else {
            return CommitOutcome::Gone;
        };
        if request.expected_revision.is_some_and(|expected| expected != record.revision) {
            return CommitOutcome::Conflict { revision: record.revision };
        }
        match record.with_delta(&request.delta, request.now, request.payload_bytes_max) {
            Ok(next) => CommitOutcome::Committed(self.keep(key, next)),
            Err(error) => CommitOutcome::TooLarge(error),
        }
    }

    fn touch(&mut self, request: &TouchRequest) -> TouchOutcome {
        let Some((key, record)) = self.resolve_alive(request.key, request.now) else {
            return TouchOutcome::Gone;
        };
        if !touch_is_due(&record, request.window, request.now) {
            return TouchOutcome::Throttled;
        }
        self.keep(key, seen(&record, request.now));
        TouchOutcome::Touched
    }

    fn rotate(&mut self, request: RotateRequest) -> RotateOutcome {
        let Some((key, record)) = self.resolve_alive(request.old, request.now) else {
            return RotateOutcome::Gone;
        };
        if key != request.old && request.login.is_none() {
            return RotateOutcome::AlreadyRotated { successor: key };
        }
        if self.entries.contains_key(&request.new) {
            return RotateOutcome::Exists;
        }
        let mut next = if request.delta.is_empty() && request.login.is_none() {
            seen(&record, request.now)
        } else {
            match record.with_delta(&request.delta, request.now, request.payload_bytes_max) {
                Ok(next) => next,
                Err(error) => return RotateOutcome::TooLarge(error),
            }
        };
        self.entries.remove(&key);
        let mut grace = request.grace;
        if let Some(login) = request.login {
            let epoch = self.epochs.get(&login.principal).copied().unwrap_or(0);
            next = next.with_principal(login.principal, epoch, request.now);
            grace = Duration::ZERO;
        }
        if !grace.is_zero() {
            self.entries.insert(key, Entry::Alias { to: request.new, until: request.now.plus(grace) });
        }
        RotateOutcome::Rotated(self.keep(request.new, next))
    }

    fn end(&mut self, key: StoreKey, now: Timestamp) -> EndOutcome {
        let was_alive = self.resolve_alive(key, now).is_some();
        if let Some((key, _)) = self.resolve(key, now) {
            self.entries.remove(&key);
        }
        if was_alive { EndOutcome::Ended } else { EndOutcome::Gone }
    }

    fn end_all(&mut self, principal: Principal, except: Option<StoreKey>, now: Timestamp) -> u64 {
        let spared = except
            .and_then(|key| self.resolve_alive(key, now))
            .filter(|(_, record)| record.principal.as_ref() == Some(&principal));
        let epoch = self.epochs.entry(principal).or_insert(0);
        *epoch += 1;
        let epoch = *epoch;
        if let Some((key, record)) = spared {
            let mut bound_anew = Record::clone(&record);
            bound_anew.principal_epoch = epoch;
            self.keep(key, bound_anew);
        }
        epoch
    }
}

fn seen(record: &Record, now: Timestamp) -> Record {
    let mut seen = record.clone();
    seen.last_seen_at = seen.last_seen_at.max(now);
    seen
}
