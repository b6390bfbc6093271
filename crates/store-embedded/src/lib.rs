//! The embedded session store: durable, on one machine, without a server.
//!
//! One gateway process keeps its sessions in a directory of its own. Recent sessions are answered from memory without a
//! lock that others wait for; changes are written in groups by one thread, so that the price of reaching the disk is
//! shared by all that wait for it. A second process on the same directory is refused: gateways that share sessions need
//! a shared store.
//!
//! What an acknowledged change survives:
//!
//! | setting | change | end of the process, kill -9 | power failure |
//! | --- | --- | --- | --- |
//! | [`Sync::Disk`] | create, commit, rotate, end, end all | kept | kept |
//! | [`Sync::Disk`] | touch | kept | kept up to the last group that held another change |
//! | [`Sync::Os`] | create, commit, rotate, end, end all, touch | kept | kept up to what the system had written |
//!
//! A touch that is lost makes a session's idle time end early by as much as was lost, and nothing else. After a power
//! failure with [`Sync::Os`] an end may be lost too: a user who had signed out may be signed in again.
//!
//! After a failed write nothing more is written until the store is opened again, and reads go on. The store needs a
//! tokio runtime for loads that are not in memory. Unix only.

mod change;
mod directory;
mod entry;
mod epochs;
mod error;
mod near;
mod settings;
mod shared;
mod storage;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use cloakroom_session::{Principal, Record, StoreKey, Timestamp};
use cloakroom_store::{
    Capabilities, CommitOutcome, CommitRequest, CreateOutcome, CreateRequest, Durability, EndOutcome, Loaded,
    PrincipalIndex, RotateOutcome, RotateRequest, SESSIONS_PAGE_MAX, SessionStore, Sharing, StoreError, StoreFuture,
    TouchOutcome, TouchRequest,
};
use tokio::sync::{Semaphore, oneshot};

pub use directory::DIRECTORY_FORMAT;
pub use error::OpenError;
pub use settings::{Settings, Statistics, Sync};

use directory::Directory;
use entry::{Epoch, Totals};
use epochs::Epochs;
use near::NearCache;
use settings::{Counters, add, read};
use shared::{Found, READS_MAX, Shared, Source};
use storage::{FjallStorage, Space, Storage};
use writer::{Message, Reply, Writer};

/// A session store in a directory. See the crate's documentation for what it keeps, and when.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    messages: SyncSender<Message>,
    queue_max: usize,
    sync: Sync,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedStore {
    /// Opens the store in a directory, which is made with mode 0700 if it is not there. Blocks while the journal is read
    /// again.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, settings: Settings) -> Result<Self, OpenError> {
        let directory = Directory::open(path)?;
        let storage = FjallStorage::open(&directory.data()).map_err(|source| match source {
            fjall::Error::Io(source) => OpenError::io(directory.path(), source),
            fjall::Error::Locked => OpenError::InUse { path: path.to_owned() },
            source => OpenError::Database { path: path.to_owned(), source: Box::new(source) },
        })?;
        Self::on_storage(Arc::new(storage), Some(directory), path, settings)
    }

    fn on_storage(
        storage: Arc<dyn Storage>,
        directory: Option<Directory>,
        path: &Path,
        settings: Settings,
    ) -> Result<Self, OpenError> {
        let (totals, epochs) = read_books(storage.as_ref(), path)?;
        let shared = Arc::new(Shared {
            storage,
            near: NearCache::new(settings.cache_bytes),
            epochs: Epochs::new(epochs),
            counters: Counters::default(),
            sessions: AtomicU64::new(totals.sessions),
            is_closed: AtomicBool::new(false),
            failure: OnceLock::new(),
            reads: Arc::new(Semaphore::new(READS_MAX as usize)),
            reads_waiting: AtomicUsize::new(0),
            _directory: directory,
        });
        let (queue_max, sync) = (settings.queue_max.max(1), settings.sync);
        let (messages, receiver) = sync_channel(queue_max);
        let writer = Writer::new(Arc::clone(&shared), settings, receiver, totals);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::io(path, source))?;
        Ok(Self { shared, messages, queue_max, sync, writer: Mutex::new(Some(thread)) })
    }

    /// Counts since the store was opened, and sizes as they are now. May wait for a write that is under way.
    pub fn statistics(&self) -> Statistics {
        let counters = &self.shared.counters;
        Statistics {
            groups: read(&counters.groups),
            changes: read(&counters.changes),
            largest_group: read(&counters.largest_group),
            persists: read(&counters.persists),
            refused: read(&counters.refused),
            cache_hits: counters.hits.total(),
            cache_misses: counters.misses.total(),
            cache_bytes: self.shared.near.bytes(),
            swept: read(&counters.swept),
            unreadable: read(&counters.unreadable),
            epochs: self.shared.epochs.len() as u64,
            disk_bytes: self.shared.storage.disk_bytes(),
        }
    }

    /// Removes all that has run out by now, without waiting for the next sweep.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after a failed write or where the disk can't be read.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        self.ask(Message::Sweep).await
    }

    async fn ask<Answer>(&self, message: impl FnOnce(Reply<Answer>) -> Message) -> Result<Answer, StoreError> {
        self.shared.check_open()?;
        let (reply, answer) = oneshot::channel();
        match self.messages.try_send(message(reply)) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.writer_is_gone())),
            Err(TrySendError::Full(_)) => {
                add(&self.shared.counters.refused, 1);
                Err(StoreError::Overloaded { waiting: self.queue_max })
            }
            Err(TrySendError::Disconnected(_)) => Err(self.writer_is_gone()),
        }
    }

    fn writer_is_gone(&self) -> StoreError {
        match self.shared.check_open() {
            Err(closed) => closed,
            Ok(()) => StoreError::Unavailable { reason: "the store's writer has stopped".to_owned() },
        }
    }

    /// Reads on a thread that may wait for the disk. At most [`READS_MAX`] at once; a read that was begun holds its
    /// place until it ends, even if its caller goes away.
    async fn read<Answer: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<Answer, StoreError> + Send + 'static,
    ) -> Result<Answer, StoreError> {
        self.shared.check_open()?;
        let waiting = Waiting::enter(&self.shared, self.queue_max)?;
        let permit = Arc::clone(&self.shared.reads).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        drop(waiting);
        let shared = Arc::clone(&self.shared);
        let reading = tokio::task::spawn_blocking(move || {
            let answer = read(&shared);
            // The store is let go before the place, so that `close`, which takes all places, leaves no holder behind.
            drop(shared);
            drop(permit);
            answer
        });
        reading.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable { reason: "a read of the session store was broken off".to_owned() })
        })
    }

    fn take_writer(&self) -> Option<JoinHandle<()>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl SessionStore for EmbeddedStore {
    fn capabilities(&self) -> Capabilities {
        let durability = match self.sync {
            Sync::Disk => Durability::Disk,
            Sync::Os => Durability::OperatingSystem,
        };
        Capabilities { name: "embedded", durability, sharing: Sharing::OneProcess }
    }

    fn load_cached(&self, key: &StoreKey, now: Timestamp) -> Option<Loaded> {
        self.shared.check_open().ok()?;
        match self.shared.resolve(*key, now, Source::Memory) {
            Ok(Found::Session(loaded)) => {
                self.shared.counters.hits.count(key);
                Some(loaded)
            }
            _ => None,
        }
    }

    fn load<'store>(&'store self, key: &StoreKey, now: Timestamp) -> StoreFuture<'store, Option<Loaded>> {
        let key = *key;
        Box::pin(async move {
            self.shared.check_open()?;
            if let Some(loaded) = self.load_cached(&key, now) {
                return Ok(Some(loaded));
            }
            self.shared.counters.misses.count(&key);
            self.read(move |shared| match shared.resolve(key, now, Source::MemoryOrDisk)? {
                Found::Session(loaded) => Ok(Some(loaded)),
                Found::Nothing | Found::Unknown => Ok(None),
            })
            .await
        })
    }

    fn create(&self, request: CreateRequest) -> StoreFuture<'_, CreateOutcome> {
        Box::pin(self.ask(|reply| Message::Create(request, reply)))
    }

    fn commit(&self, request: CommitRequest) -> StoreFuture<'_, CommitOutcome> {
        Box::pin(self.ask(|reply| Message::Commit(request, reply)))
    }

    fn touch(&self, request: TouchRequest) -> StoreFuture<'_, TouchOutcome> {
        Box::pin(self.ask(move |reply| Message::Touch(request, reply)))
    }

    fn rotate(&self, request: RotateRequest) -> StoreFuture<'_, RotateOutcome> {
        Box::pin(self.ask(|reply| Message::Rotate(request, reply)))
    }

    fn end<'store>(&'store self, key: &StoreKey, now: Timestamp) -> StoreFuture<'store, EndOutcome> {
        let key = *key;
        Box::pin(self.ask(move |reply| Message::End(key, now, reply)))
    }

    fn principals(&self) -> Option<&dyn PrincipalIndex> {
        Some(self)
    }

    fn session_count(&self) -> StoreFuture<'_, u64> {
        Box::pin(async {
            self.shared.check_open()?;
            Ok(self.shared.sessions.load(Ordering::Relaxed))
        })
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            self.shared.is_closed.store(true, Ordering::Release);
            let Some(thread) = self.take_writer() else { return Ok(()) };
            let (reply, answer) = oneshot::channel();
            let messages = self.messages.clone();
            // On a thread that may wait: there may be no room in the queue yet, and the last group may take its time.
            let joining = tokio::task::spawn_blocking(move || {
                let sent = messages.send(Message::Close(reply));
                let joined = thread.join();
                sent.is_ok() && joined.is_ok()
            });
            let stopped = || StoreError::Unavailable { reason: "the store's writer had stopped before".to_owned() };
            let outcome = answer.await.unwrap_or_else(|_| Err(stopped()));
            if !joining.await.unwrap_or(false) {
                return Err(stopped());
            }
            drop(self.shared.reads.acquire_many(READS_MAX).await);
            self.shared.reads.close();
            outcome
        })
    }
}

impl PrincipalIndex for EmbeddedStore {
    fn sessions_of<'store>(
        &'store self,
        principal: &Principal,
        after: Option<StoreKey>,
        limit: usize,
    ) -> StoreFuture<'store, Vec<(StoreKey, Arc<Record>)>> {
        let principal = principal.clone();
        let limit = limit.min(SESSIONS_PAGE_MAX);
        Box::pin(self.read(move |shared| shared.sessions_of(&principal, after, limit)))
    }

    fn end_all<'store>(
        &'store self,
        principal: &Principal,
        except: Option<StoreKey>,
        now: Timestamp,
    ) -> StoreFuture<'store, u64> {
        let principal = principal.clone();
        Box::pin(self.ask(move |reply| Message::EndAll(principal, except, now, reply)))
    }
}

impl Drop for EmbeddedStore {
    /// Writes down what waits, as [`SessionStore::close`] does, if that was not called. Blocks for a group or two.
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::Release);
        if let Some(thread) = self.take_writer() {
            let (reply, _) = oneshot::channel();
            if self.messages.send(Message::Close(reply)).is_ok() && thread.join().is_err() {
                tracing::error!("the session store's writer had stopped before the store was closed");
            }
        }
    }
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EmbeddedStore").field("sync", &self.sync).finish_non_exhaustive()
    }
}

/// A load's place in the line for the disk.
struct Waiting<'store>(&'store Shared);

impl<'store> Waiting<'store> {
    fn enter(shared: &'store Shared, waiting_max: usize) -> Result<Self, StoreError> {
        let place = Self(shared);
        match shared.reads_waiting.fetch_add(1, Ordering::Relaxed) {
            waiting if waiting >= waiting_max => Err(StoreError::Overloaded { waiting }),
            _ => Ok(place),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.reads_waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn read_books(storage: &dyn Storage, path: &Path) -> Result<(Totals, HashMap<Principal, Epoch>), OpenError> {
    let malformed = |what| OpenError::Malformed { path: path.to_owned(), what };
    let unread = |source| OpenError::Database { path: path.to_owned(), source: Box::new(source) };
    let totals = match storage.get(Space::Books, Totals::KEY).map_err(unread)? {
        Some(bytes) => Totals::decode(&bytes).ok_or_else(|| malformed("totals"))?,
        None => Totals::default(),
    };
    let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let mut epochs = HashMap::new();
    // Bounded by the principals whose sessions were ended within the longest life of a session.
    for (key, value) in storage.scan(Space::Epochs, everything, usize::MAX).map_err(unread)? {
        let principal = Principal::parse(&key).map_err(|_| malformed("epochs"))?;
        let epoch = Epoch::decode(&value).ok_or_else(|| malformed("epochs"))?;
        epochs.insert(principal, epoch);
    }
    Ok((totals, epochs))
}
