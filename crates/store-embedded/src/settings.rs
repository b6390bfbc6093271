//! What can be chosen of an embedded store, and what it tells of itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloakroom_session::{StoreKey, Timestamp};

/// What an acknowledged change has reached. Touches only ever go to the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// The disk: it survives a power failure.
    Disk,
    /// The operating system: it survives the process, by kill -9 too.
    Os,
}

/// How an embedded store is run.
#[derive(Clone)]
pub struct Settings {
    /// What an acknowledged change has reached.
    pub sync: Sync,
    /// Memory for sessions that were used lately, in bytes.
    pub cache_bytes: u64,
    /// Most changes that wait to be written, and most loads that wait for the disk; what comes on top is refused.
    pub queue_max: usize,
    /// How often expired sessions are looked for.
    pub sweep_interval: Duration,
    /// The clock of the sweeper. All other times come with the requests.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + std::marker::Sync>,
}

impl Default for Settings {
    /// To the disk, 256 MiB of memory, 8,192 waiting, a sweep each second, the system's clock.
    fn default() -> Self {
        Self {
            sync: Sync::Disk,
            cache_bytes: 256 * 1024 * 1024,
            queue_max: 8192,
            sweep_interval: Duration::from_secs(1),
            clock: Arc::new(system_clock),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("sync", &self.sync)
            .field("cache_bytes", &self.cache_bytes)
            .field("queue_max", &self.queue_max)
            .field("sweep_interval", &self.sweep_interval)
            .finish_non_exhaustive()
    }
}

fn system_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_millis(cloakroom_session::time::millis(since_epoch))
}

/// Counts since the store was opened, and sizes as they are now. Read one after the other, so that they may be a moment
/// apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Groups of changes that were written.
    pub groups: u64,
    /// Requests in them, those that wrote nothing among them.
    pub changes: u64,
    /// Requests in the largest.
    pub largest_group: u64,
    /// Groups that were persisted to the disk.
    pub persists: u64,
    /// Changes that were refused because too many waited.
    pub refused: u64,
    /// Loads that were answered from memory.
    pub cache_hits: u64,
    /// Loads that went to the disk.
    pub cache_misses: u64,
    /// Bytes of sessions in memory, by estimate.
    pub cache_bytes: u64,
    /// Expired or revoked sessions, and aliases, that were removed.
    pub swept: u64,
    /// Times a session was met that can't be read.
    pub unreadable: u64,
    /// Principals whose epoch is kept in memory.
    pub epochs: u64,
    /// Bytes of files.
    pub disk_bytes: u64,
}

/// Counters of the writer, which is one thread, and of rare events.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) groups: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) largest_group: AtomicU64,
    pub(crate) persists: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) swept: AtomicU64,
    pub(crate) unreadable: AtomicU64,
    pub(crate) hits: Striped,
    pub(crate) misses: Striped,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A counter that every core adds to on every request: in parts on cache lines of their own, or the line would travel
/// between the cores all the time.
#[derive(Debug, Default)]
pub(crate) struct Striped([Stripe; 16]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl Striped {
    /// Counts one, on the stripe of a key: different sessions are used on different cores.
    pub(crate) fn count(&self, key: &StoreKey) {
        let stripe = usize::from(key.as_bytes()[31]) % self.0.len();
        add(&self.0[stripe].0, 1);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|stripe| read(&stripe.0)).sum()
    }
}
