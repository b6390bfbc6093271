//! The storage engine behind a small trait, so that tests can make it fail.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use cloakroom_store::StoreError;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable as _, Slice};

/// Bytes the engine may keep of its own files in memory: small, since records are cached in front of it.
const BLOCK_CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// Most bytes of journal, which is what is read again when the store opens.
const JOURNAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Memory for changes of one keyspace that are in the journal only.
const MEMTABLE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// A keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Space {
    Sessions,
    Principals,
    Expiry,
    Epochs,
    Books,
}

const SPACES: [(Space, &str); 5] = [
    (Space::Sessions, "sessions"),
    (Space::Principals, "principals"),
    (Space::Expiry, "expiry"),
    (Space::Epochs, "epochs"),
    (Space::Books, "books"),
];

/// How far a batch gets before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// To the operating system: survives the process.
    OperatingSystem,
    /// To the disk: survives a power failure.
    Disk,
}

/// Changes that happen together or not at all. A key stands in it once, with its last value: the engine gives all
/// changes of a batch one sequence number, and could not tell two of one key apart.
#[derive(Debug, Default)]
pub(crate) struct Batch(pub(crate) BTreeMap<(Space, Vec<u8>), Option<Vec<u8>>>);

impl Batch {
    pub(crate) fn put(&mut self, space: Space, key: Vec<u8>, value: Vec<u8>) {
        self.0.insert((space, key), Some(value));
    }

    pub(crate) fn remove(&mut self, space: Space, key: Vec<u8>) {
        self.0.insert((space, key), None);
    }
}

/// Why the engine failed, in its own words, which hold no session data.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StorageError(pub(crate) String);

impl From<fjall::Error> for StorageError {
    fn from(error: fjall::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        Self::Unavailable { reason: error.0 }
    }
}

/// A range of keys.
pub(crate) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// What the store needs of its storage.
pub(crate) trait Storage: Send + Sync {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>, StorageError>;

    /// The first `limit` entries of a range.
    fn scan(&self, space: Space, range: KeyRange, limit: usize) -> Result<Vec<(Slice, Slice)>, StorageError>;

    /// Writes a batch and persists it. Only then may [`Storage::get`] show it, and all of it at once. After an error it
    /// may or may not be there when the store is opened again, whole in either case.
    fn apply(&self, batch: Batch, persistence: Persistence) -> Result<(), StorageError>;

    /// Everything to the disk.
    fn persist_all(&self) -> Result<(), StorageError>;

    /// Bytes of files.
    fn disk_bytes(&self) -> u64;
}

/// The storage on fjall.
///
/// fjall's journal files are made at their full size, and synchronised with their directory, before they are used. Where
/// one grows beyond that, `fdatasync` writes the new length too, since the data could not be read back without it
/// (POSIX, `fdatasync`). [`PersistMode::SyncData`] therefore keeps whatever `SyncAll` would. Within a batch fjall writes
/// the journal, persists it and shows the changes to readers, in this order.
///
/// Reads go through a snapshot each: a plain read would see a batch while it is being taken over, one key after the
/// other, and could follow a rotation's alias to a session that is not there yet.
pub(crate) struct FjallStorage {
    database: Database,
    keyspaces: [Keyspace; SPACES.len()],
}

impl FjallStorage {
    pub(crate) fn open(path: &Path) -> Result<Self, fjall::Error> {
        let database = Database::builder(path)
            .cache_size(BLOCK_CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .manual_journal_persist(true)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
        let open = |space: Space| {
            let (_, name) = SPACES[space as usize];
            database.keyspace(name, options)
        };
        let keyspaces = [
            open(Space::Sessions)?,
            open(Space::Principals)?,
            open(Space::Expiry)?,
            open(Space::Epochs)?,
            open(Space::Books)?,
        ];
        Ok(Self { database, keyspaces })
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        &self.keyspaces[space as usize]
    }
}

impl Storage for FjallStorage {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>, StorageError> {
        Ok(self.database.snapshot().get(self.keyspace(space), key)?)
    }

    fn scan(&self, space: Space, range: KeyRange, limit: usize) -> Result<Vec<(Slice, Slice)>, StorageError> {
        let entries = self.database.snapshot().range(self.keyspace(space), range);
        Ok(entries.take(limit).map(|entry| entry.into_inner()).collect::<Result<_, _>>()?)
    }

    fn apply(&self, batch: Batch, persistence: Persistence) -> Result<(), StorageError> {
        let mode = match persistence {
            Persistence::OperatingSystem => PersistMode::Buffer,
            Persistence::Disk => PersistMode::SyncData,
        };
        let mut write = self.database.batch().durability(Some(mode));
        for ((space, key), value) in batch.0 {
            match value {
                Some(value) => write.insert(self.keyspace(space), key, value),
                None => write.remove(self.keyspace(space), key),
            }
        }
        Ok(write.commit()?)
    }

    fn persist_all(&self) -> Result<(), StorageError> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or(0)
    }
}
