//! The records in memory. They are what is on the disk, always: one process writes, and it tells this cache.
//!
//! Two parties put entries in. The writer publishes each change after it is persisted. A load that found nothing here
//! reads the disk and fills in what it read, which may be out of date by the time it arrives: the session could have
//! ended in between, and a fill that came last would bring it back. So each key belongs to one of a fixed number of
//! slots, and each slot has a generation. The writer raises it and publishes under the slot's lock; a load notes it
//! before it reads the disk, and its fill is dropped under the same lock if the generation has moved. Since a change is
//! on the disk before it is published, a load that noted the later generation has read the later state.
//!
//! A hit takes none of these locks. That a key is not there is never kept: keys that lead nowhere are in endless supply.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cloakroom_session::StoreKey;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::entry::Entry;

/// Slots: enough that a load and a change of different sessions seldom meet.
const SLOTS: usize = 1024;
/// What an entry takes in memory beside its payload: the record, the cache's own books, the allocator's share.
const ENTRY_OVERHEAD_BYTES: usize = 448;
/// What a field takes beside its name and value.
const FIELD_OVERHEAD_BYTES: usize = 96;
/// The size the cache's tables are laid out for.
const EXPECTED_ENTRY_BYTES: u64 = 1024;

pub(crate) struct NearCache {
    cache: Cache<StoreKey, Cached, ByBytes>,
    generations: Box<[Mutex<u64>]>,
}

#[derive(Clone)]
struct Cached {
    entry: Entry,
    bytes: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<StoreKey, Cached> for ByBytes {
    fn weight(&self, _key: &StoreKey, cached: &Cached) -> u64 {
        cached.bytes
    }
}

/// The generation of a key's slot before its entry was read from the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generation(u64);

impl NearCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let expected_entries = usize::try_from(bytes_max / EXPECTED_ENTRY_BYTES).unwrap_or(usize::MAX);
        Self {
            cache: Cache::with_weighter(expected_entries, bytes_max, ByBytes),
            generations: (0..SLOTS).map(|_| Mutex::new(0)).collect(),
        }
    }

    pub(crate) fn get(&self, key: &StoreKey) -> Option<Entry> {
        self.cache.get(key).map(|cached| cached.entry)
    }

    /// To be noted before the disk is read.
    pub(crate) fn generation(&self, key: &StoreKey) -> Generation {
        Generation(*self.slot(key))
    }

    /// Keeps what a load read, unless the slot has changed since.
    pub(crate) fn fill(&self, key: StoreKey, entry: Entry, noted: Generation) {
        let generation = self.slot(&key);
        if *generation == noted.0 {
            self.cache.insert(key, Cached::new(entry));
        }
    }

    /// What the writer has persisted: the entry's new state, or that it is gone.
    pub(crate) fn publish(&self, key: StoreKey, entry: Option<Entry>) {
        let mut generation = self.slot(&key);
        *generation += 1;
        match entry {
            Some(entry) => self.cache.insert(key, Cached::new(entry)),
            None => drop(self.cache.remove(&key)),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    fn slot(&self, key: &StoreKey) -> MutexGuard<'_, u64> {
        // Keys are keyed hashes: two of their bytes spread over the slots as well as all of them.
        let [first, second, ..] = *key.as_bytes();
        let index = usize::from(u16::from_be_bytes([first, second])) % SLOTS;
        self.generations[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cached {
    fn new(entry: Entry) -> Self {
        let payload =
            entry.record().map_or(0, |record| record.payload_bytes() + record.fields().count() * FIELD_OVERHEAD_BYTES);
        Self { bytes: (payload + ENTRY_OVERHEAD_BYTES) as u64, entry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloakroom_session::Timestamp;

    fn alias(to: u8) -> Entry {
        Entry::Alias { to: StoreKey::from_bytes([to; 32]), until: Timestamp::from_millis(1) }
    }

    /// A session that ended while another request was loading it would be served from memory for ever.
    #[test]
    fn a_fill_that_comes_after_a_change_is_dropped() {
        let (cache, key) = (NearCache::new(1 << 20), StoreKey::from_bytes([1; 32]));
        let noted = cache.generation(&key);
        cache.publish(key, None);
        cache.fill(key, alias(1), noted);
        assert_eq!(cache.get(&key), None);
        let noted = cache.generation(&key);
        cache.fill(key, alias(2), noted);
        assert_eq!(cache.get(&key), Some(alias(2)));
        cache.publish(key, Some(alias(3)));
        cache.fill(key, alias(2), noted);
        assert_eq!(cache.get(&key), Some(alias(3)));
    }

    /// An entry too large to keep must not leave its predecessor behind.
    #[test]
    fn an_oversized_entry_replaces_nothing_with_something_stale() {
        use cloakroom_session::{Delta, FieldName, FieldValue, Lifetimes, Record};
        use std::sync::Arc;
        let (cache, key) = (NearCache::new(1 << 16), StoreKey::from_bytes([1; 32]));
        cache.publish(key, Some(alias(1)));
        let mut delta = Delta::default();
        let value = FieldValue::parse(&format!("\"{}\"", "x".repeat(1 << 17))).unwrap();
        delta.set(FieldName::new("large").unwrap(), value);
        let record = Record::begin(Timestamp::from_millis(0), &Lifetimes::default());
        let record = Arc::new(record.with_delta(&delta, Timestamp::from_millis(0), 1 << 18).unwrap());
        cache.publish(key, Some(Entry::Session { record, filed_at: Timestamp::from_millis(0) }));
        assert_eq!(cache.get(&key), None);
        assert!(cache.bytes() <= 1 << 16);
    }
}
