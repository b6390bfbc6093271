//! What the writer and all readers share, and how a session is read.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use cloakroom_session::{Principal, Record, StoreKey, Timestamp};
use cloakroom_store::{ALIAS_HOPS_MAX, Loaded, StoreError};
use tokio::sync::Semaphore;

use crate::directory::Directory;
use crate::entry::{Entry, KEY_BYTES, index_key, parse_index_key};
use crate::epochs::Epochs;
use crate::near::NearCache;
use crate::settings::{Counters, add};
use crate::storage::{Space, Storage};

/// Most reads of the disk at once.
pub(crate) const READS_MAX: u32 = 64;
/// Entries of the principals keyspace that are read at a time.
const INDEX_CHUNK: usize = 256;

pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) near: NearCache,
    pub(crate) epochs: Epochs,
    pub(crate) counters: Counters,
    pub(crate) sessions: AtomicU64,
    pub(crate) is_closed: AtomicBool,
    /// Set once a write failed: what the journal holds is not known any more, and nothing more is written.
    pub(crate) failure: OnceLock<String>,
    pub(crate) reads: Arc<Semaphore>,
    pub(crate) reads_waiting: AtomicUsize,
    /// Keeps other processes out for as long as anything of the store is alive; last, so that it is let go last.
    pub(crate) _directory: Option<Directory>,
}

/// Where entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// In memory only.
    Memory,
    /// In memory, else on the disk.
    MemoryOrDisk,
}

/// What a read found.
pub(crate) enum Found {
    Session(Loaded),
    Nothing,
    /// [`Source::Memory`] does not know.
    Unknown,
}

impl Shared {
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        if self.is_closed.load(Ordering::Acquire) { Err(StoreError::Closed) } else { Ok(()) }
    }

    /// The session a key leads to.
    ///
    /// The epoch is read after the record, since the record names the principal. Between the two all of the principal's
    /// sessions may have been ended but this one, which would then look ended. So a record that looks revoked is read
    /// once more: the writer publishes records before epochs, so that a record read after its epoch is never older.
    pub(crate) fn resolve(&self, key: StoreKey, now: Timestamp, source: Source) -> Result<Found, StoreError> {
        let mut found = self.follow(key, now, source)?;
        if let Found::Session(loaded) = &found
            && loaded.record.principal_epoch < loaded.principal_epoch
        {
            found = self.follow(key, now, source)?;
        }
        Ok(found)
    }

    fn follow(&self, mut key: StoreKey, now: Timestamp, source: Source) -> Result<Found, StoreError> {
        for _ in 0..=ALIAS_HOPS_MAX {
            let entry = match (self.near.get(&key), source) {
                (Some(entry), _) => entry,
                (None, Source::Memory) => return Ok(Found::Unknown),
                (None, Source::MemoryOrDisk) => match self.read_and_fill(key)? {
                    Some(entry) => entry,
                    None => return Ok(Found::Nothing),
                },
            };
            match entry {
                Entry::Session { record, .. } => {
                    let principal_epoch = self.epochs.of_record(&record);
                    return Ok(Found::Session(Loaded { record, principal_epoch, key }));
                }
                Entry::Alias { to, until } if now < until => key = to,
                Entry::Alias { .. } => return Ok(Found::Nothing),
            }
        }
        Ok(Found::Nothing)
    }

    fn read_and_fill(&self, key: StoreKey) -> Result<Option<Entry>, StoreError> {
        let noted = self.near.generation(&key);
        let entry = self.read(&key)?;
        if let Some(entry) = &entry {
            self.near.fill(key, entry.clone(), noted);
        }
        Ok(entry)
    }

    /// An entry on the disk.
    pub(crate) fn read(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        let Some(bytes) = self.storage.get(Space::Sessions, key.as_bytes())? else { return Ok(None) };
        match Entry::decode(&bytes) {
            Ok(entry) => Ok(Some(entry)),
            Err(error) => {
                add(&self.counters.unreadable, 1);
                tracing::warn!(?key, %error, "a stored session can't be read; it is left as it is");
                Err(StoreError::Unreadable(error))
            }
        }
    }

    /// One page of a principal's sessions. The index says where to look; the records say what is so.
    pub(crate) fn sessions_of(
        &self,
        principal: &Principal,
        after: Option<StoreKey>,
        limit: usize,
    ) -> Result<Vec<(StoreKey, Arc<Record>)>, StoreError> {
        use std::ops::Bound::{Excluded, Included};
        let first = StoreKey::from_bytes([0; KEY_BYTES]);
        let last = index_key(principal, &StoreKey::from_bytes([0xff; KEY_BYTES]));
        let mut from = after.map_or(Included(index_key(principal, &first)), |key| Excluded(index_key(principal, &key)));
        let mut sessions = Vec::new();
        loop {
            if matches!(&from, Excluded(key) if *key >= last) {
                return Ok(sessions);
            }
            let chunk = self.storage.scan(Space::Principals, (from, Included(last.clone())), INDEX_CHUNK)?;
            for (bytes, _) in &chunk {
                if sessions.len() >= limit {
                    return Ok(sessions);
                }
                if let Some(key) = parse_index_key(bytes)
                    && let Some(record) = self.session_of(principal, key)?
                {
                    sessions.push((key, record));
                }
            }
            match chunk.last() {
                Some((bytes, _)) if chunk.len() == INDEX_CHUNK => from = Excluded(bytes.to_vec()),
                _ => return Ok(sessions),
            }
        }
    }

    fn session_of(&self, principal: &Principal, key: StoreKey) -> Result<Option<Arc<Record>>, StoreError> {
        let read = || match self.near.get(&key) {
            Some(entry) => Ok(Some(entry)),
            None => self.read(&key),
        };
        // Twice, for the reason given at `resolve`.
        for _ in 0..2 {
            let entry = match read() {
                Ok(entry) => entry,
                Err(StoreError::Unreadable(_)) => return Ok(None),
                Err(error) => return Err(error),
            };
            let record =
                entry.as_ref().and_then(Entry::record).filter(|record| record.principal.as_ref() == Some(principal));
            match record {
                None => return Ok(None),
                Some(record) if record.principal_epoch >= self.epochs.of(principal) => {
                    return Ok(Some(Arc::clone(record)));
                }
                Some(_) => {}
            }
        }
        Ok(None)
    }
}
