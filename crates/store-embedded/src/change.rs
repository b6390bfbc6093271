//! What each change does to the entries, decided one after the other over a view of the store in which the earlier
//! changes of the same group already stand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cloakroom_session::lifecycle::{deadline, standing, touch_is_due};
use cloakroom_session::{Principal, Record, Standing, StoreKey, Timestamp};
use cloakroom_store::{
    ALIAS_HOPS_MAX, CommitOutcome, CommitRequest, CreateOutcome, CreateRequest, EndOutcome, RotateOutcome,
    RotateRequest, StoreError, TouchOutcome, TouchRequest,
};

use crate::entry::{Entry, Epoch, Totals, expiry_key, index_key};
use crate::shared::Shared;
use crate::storage::{Batch, Persistence, Space};

/// The store as a group of changes will leave it. A decision reads first and puts last, so that one that fails half-way
/// leaves nothing.
pub(crate) struct View<'store> {
    shared: &'store Shared,
    batch: Batch,
    entries: HashMap<StoreKey, Option<Entry>>,
    epochs: HashMap<Principal, Option<Epoch>>,
    totals_before: Totals,
    totals: Totals,
    /// What the group needs: as much as the most demanding change in it.
    persistence: Persistence,
    /// The earliest time anything was filed under, for the sweeper.
    filed_first: Option<Timestamp>,
}

/// What a group comes to: a batch to write, and what to publish once it is persisted.
pub(crate) struct Changes {
    pub(crate) batch: Batch,
    pub(crate) entries: HashMap<StoreKey, Option<Entry>>,
    pub(crate) epochs: HashMap<Principal, Option<Epoch>>,
    pub(crate) totals: Totals,
    pub(crate) persistence: Persistence,
    pub(crate) filed_first: Option<Timestamp>,
}

impl<'store> View<'store> {
    pub(crate) fn new(shared: &'store Shared, totals: Totals) -> Self {
        Self {
            shared,
            batch: Batch::default(),
            entries: HashMap::new(),
            epochs: HashMap::new(),
            totals_before: totals,
            totals,
            persistence: Persistence::OperatingSystem,
            filed_first: None,
        }
    }

    pub(crate) fn finish(mut self) -> Changes {
        for (key, entry) in &self.entries {
            match entry {
                Some(entry) => self.batch.put(Space::Sessions, key.as_bytes().to_vec(), entry.encode()),
                None => self.batch.remove(Space::Sessions, key.as_bytes().to_vec()),
            }
        }
        for (principal, epoch) in &self.epochs {
            let key = principal.as_str().as_bytes().to_vec();
            match epoch {
                Some(epoch) => self.batch.put(Space::Epochs, key, epoch.encode()),
                None => self.batch.remove(Space::Epochs, key),
            }
        }
        if self.totals != self.totals_before {
            self.batch.put(Space::Books, Totals::KEY.to_vec(), self.totals.encode());
        }
        Changes {
            batch: self.batch,
            entries: self.entries,
            epochs: self.epochs,
            totals: self.totals,
            persistence: self.persistence,
            filed_first: self.filed_first,
        }
    }

    pub(crate) fn create(&mut self, request: CreateRequest) -> Result<CreateOutcome, StoreError> {
        if self.is_taken(&request.key)? {
            return Ok(CreateOutcome::Exists);
        }
        let mut record = request.record;
        record.principal_epoch = self.epoch_of(&record);
        let record = Arc::new(record);
        let filed_at = deadline(&record);
        self.put(request.key, None, Some(Entry::Session { record: Arc::clone(&record), filed_at }));
        self.persistence = Persistence::Disk;
        Ok(CreateOutcome::Created(record))
    }

    pub(crate) fn commit(&mut self, request: &CommitRequest) -> Result<CommitOutcome, StoreError> {
        let Some(session) = self.session_alive(request.key, request.now)? else { return Ok(CommitOutcome::Gone) };
        let revision = session.record.revision;
        if request.expected_revision.is_some_and(|expected| expected != revision) {
            return Ok(CommitOutcome::Conflict { revision });
        }
        match session.record.with_delta(&request.delta, request.now, request.payload_bytes_max) {
            Err(error) => Ok(CommitOutcome::TooLarge(error)),
            Ok(next) => {
                self.persistence = Persistence::Disk;
                Ok(CommitOutcome::Committed(self.put_record(session, next)))
            }
        }
    }

    pub(crate) fn touch(&mut self, request: &TouchRequest) -> Result<TouchOutcome, StoreError> {
        let Some(session) = self.session_alive(request.key, request.now)? else { return Ok(TouchOutcome::Gone) };
        if !touch_is_due(&session.record, request.window, request.now) {
            return Ok(TouchOutcome::Throttled);
        }
        let next = seen(&session.record, request.now);
        self.put_record(session, next);
        Ok(TouchOutcome::Touched)
    }

    pub(crate) fn rotate(&mut self, request: RotateRequest) -> Result<RotateOutcome, StoreError> {
        let Some(session) = self.session_alive(request.old, request.now)? else { return Ok(RotateOutcome::Gone) };
        if session.key != request.old && request.login.is_none() {
            return Ok(RotateOutcome::AlreadyRotated { successor: session.key });
        }
        if self.is_taken(&request.new)? {
            return Ok(RotateOutcome::Exists);
        }
        let mut next = if request.delta.is_empty() && request.login.is_none() {
            seen(&session.record, request.now)
        } else {
            match session.record.with_delta(&request.delta, request.now, request.payload_bytes_max) {
                Ok(next) => next,
                Err(error) => return Ok(RotateOutcome::TooLarge(error)),
            }
        };
        let mut grace = request.grace;
        if let Some(login) = request.login {
            let epoch = self.epoch(&login.principal);
            next = next.with_principal(login.principal, epoch, request.now);
            grace = Duration::ZERO;
        }
        let alias = Entry::Alias { to: request.new, until: request.now.plus(grace) };
        let record = Arc::new(next);
        let moved = Entry::Session { record: Arc::clone(&record), filed_at: deadline(&record) };
        self.put(session.key, Some(session.entry()), (!grace.is_zero()).then_some(alias));
        self.put(request.new, None, Some(moved));
        self.persistence = Persistence::Disk;
        Ok(RotateOutcome::Rotated(record))
    }

    pub(crate) fn end(&mut self, key: StoreKey, now: Timestamp) -> Result<EndOutcome, StoreError> {
        let Some(session) = self.session(key, now)? else { return Ok(EndOutcome::Gone) };
        let is_alive = self.is_alive(&session.record, now);
        self.put(session.key, Some(session.entry()), None);
        self.persistence = Persistence::Disk;
        Ok(if is_alive { EndOutcome::Ended } else { EndOutcome::Gone })
    }

    pub(crate) fn end_all(
        &mut self,
        principal: &Principal,
        except: Option<StoreKey>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let spared = match except {
            Some(key) => self.session_alive(key, now)?,
            None => None,
        };
        let spared = spared.filter(|session| session.record.principal.as_ref() == Some(principal));
        let number = self.epoch(principal).max(self.totals.epoch_floor) + 1;
        let epoch = Epoch { number, keep_until: self.totals.horizon.max(now) };
        self.epochs.insert(principal.clone(), Some(epoch));
        if let Some(session) = spared {
            let mut bound_anew = Record::clone(&session.record);
            bound_anew.principal_epoch = number;
            self.put_record(session, bound_anew);
        }
        self.persistence = Persistence::Disk;
        Ok(number)
    }

    /// Looks after one entry of the expiry keyspace that is due. Answers how many entries were removed for good.
    pub(crate) fn sweep(&mut self, filed_at: Timestamp, key: StoreKey, now: Timestamp) -> Result<u64, StoreError> {
        let entry = self.entry(&key)?;
        let Some(entry) = entry.filter(|entry| entry.filed_at() == filed_at) else {
            // Nothing is filed under it any more.
            self.batch.remove(Space::Expiry, expiry_key(filed_at, &key));
            return Ok(0);
        };
        match &entry {
            Entry::Session { record, .. } if deadline(record) > now && !self.is_revoked(record) => {
                let filed_anew = Entry::Session { record: Arc::clone(record), filed_at: deadline(record) };
                self.put(key, Some(entry), Some(filed_anew));
                Ok(0)
            }
            Entry::Alias { until, .. } if *until > now => Ok(0),
            _ => {
                self.put(key, Some(entry), None);
                Ok(1)
            }
        }
    }

    /// Forgets an epoch that has nothing left to revoke.
    pub(crate) fn forget_epoch(&mut self, principal: Principal, epoch: Epoch) {
        self.totals.epoch_floor = self.totals.epoch_floor.max(epoch.number);
        self.epochs.insert(principal, None);
    }

    fn is_taken(&self, key: &StoreKey) -> Result<bool, StoreError> {
        match self.entry(key) {
            Ok(entry) => Ok(entry.is_some()),
            Err(StoreError::Unreadable(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn entry(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        if let Some(entry) = self.entries.get(key) {
            return Ok(entry.clone());
        }
        match self.shared.near.get(key) {
            Some(entry) => Ok(Some(entry)),
            None => self.shared.read(key),
        }
    }

    fn session(&self, mut key: StoreKey, now: Timestamp) -> Result<Option<Session>, StoreError> {
        for _ in 0..=ALIAS_HOPS_MAX {
            match self.entry(&key)? {
                Some(Entry::Session { record, filed_at }) => return Ok(Some(Session { key, record, filed_at })),
                Some(Entry::Alias { to, until }) if now < until => key = to,
                Some(Entry::Alias { .. }) | None => return Ok(None),
            }
        }
        Ok(None)
    }

    fn session_alive(&self, key: StoreKey, now: Timestamp) -> Result<Option<Session>, StoreError> {
        Ok(self.session(key, now)?.filter(|session| self.is_alive(&session.record, now)))
    }

    fn is_alive(&self, record: &Record, now: Timestamp) -> bool {
        standing(record, self.epoch_of(record), now) == Standing::Alive
    }

    fn is_revoked(&self, record: &Record) -> bool {
        record.principal_epoch < self.epoch_of(record)
    }

    fn epoch_of(&self, record: &Record) -> u64 {
        record.principal.as_ref().map_or(0, |principal| self.epoch(principal))
    }

    fn epoch(&self, principal: &Principal) -> u64 {
        match self.epochs.get(principal) {
            Some(epoch) => epoch.map_or(0, |epoch| epoch.number),
            None => self.shared.epochs.of(principal),
        }
    }

    fn put_record(&mut self, session: Session, next: Record) -> Arc<Record> {
        let record = Arc::new(next);
        let entry = Entry::Session { record: Arc::clone(&record), filed_at: session.filed_at };
        self.put(session.key, Some(session.entry()), Some(entry));
        record
    }

    /// Replaces an entry, and keeps the index, the filing and the totals in step with it.
    fn put(&mut self, key: StoreKey, before: Option<Entry>, after: Option<Entry>) {
        let (filed_before, filed_after) = (before.as_ref().map(Entry::filed_at), after.as_ref().map(Entry::filed_at));
        if filed_before != filed_after {
            if let Some(at) = filed_before {
                self.batch.remove(Space::Expiry, expiry_key(at, &key));
            }
            if let Some(at) = filed_after {
                self.batch.put(Space::Expiry, expiry_key(at, &key), Vec::new());
                self.filed_first = Some(self.filed_first.map_or(at, |first| first.min(at)));
            }
        }
        let (bound_before, bound_after) =
            (before.as_ref().and_then(Entry::principal), after.as_ref().and_then(Entry::principal));
        if bound_before != bound_after {
            if let Some(principal) = bound_before {
                self.batch.remove(Space::Principals, index_key(principal, &key));
            }
            if let Some(principal) = bound_after {
                self.batch.put(Space::Principals, index_key(principal, &key), Vec::new());
            }
        }
        let count = |entry: &Option<Entry>| u64::from(entry.as_ref().and_then(Entry::record).is_some());
        self.totals.sessions = (self.totals.sessions + count(&after)).saturating_sub(count(&before));
        if let Some(record) = after.as_ref().and_then(Entry::record) {
            self.totals.cover(record.absolute_deadline);
        }
        self.entries.insert(key, after);
    }
}

/// A session as a change finds it.
struct Session {
    key: StoreKey,
    record: Arc<Record>,
    filed_at: Timestamp,
}

impl Session {
    fn entry(&self) -> Entry {
        Entry::Session { record: Arc::clone(&self.record), filed_at: self.filed_at }
    }
}

fn seen(record: &Record, now: Timestamp) -> Record {
    let mut seen = record.clone();
    seen.last_seen_at = seen.last_seen_at.max(now);
    seen
}
