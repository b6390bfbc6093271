//! Tests that look inside: failing storage, sweeping, coherence.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use cloakroom_session::lifecycle::standing;
use cloakroom_session::{Delta, FieldName, FieldValue, Lifetimes, Principal, Record, Standing, StoreKey, Timestamp};
use cloakroom_store::{
    CommitOutcome, CommitRequest, CreateOutcome, CreateRequest, EndOutcome, PrincipalIndex as _, RotateRequest,
    SessionStore as _, StoreError, TouchOutcome, TouchRequest,
};
use fjall::Slice;

use crate::entry::{Entry, expiry_key};
use crate::storage::{Batch, FjallStorage, KeyRange, Persistence, Space, Storage, StorageError};
use crate::{EmbeddedStore, Settings, Sync};

const LIFETIMES: Lifetimes =
    Lifetimes { idle: Duration::from_secs(100), absolute: Duration::from_secs(1000), touch: Duration::from_secs(10) };

/// Storage that fails, waits, or is slow, on request.
struct Faulty {
    inner: FjallStorage,
    fails: AtomicBool,
    read_gate: Mutex<ReadGate>,
    read_gate_moved: Condvar,
    /// Lets other threads run, the writer first, between a load's read and its return.
    is_slow: AtomicBool,
    disk_batches: AtomicU64,
    is_held: Mutex<bool>,
    released: Condvar,
}

/// Holds one read of a session between the disk and its return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadGate {
    Open,
    /// The next read is held.
    Armed,
    /// A read has its bytes and is held.
    Holding,
}

impl Faulty {
    fn move_read_gate(&self, gate: ReadGate) {
        *self.read_gate.lock().unwrap() = gate;
        self.read_gate_moved.notify_all();
    }

    fn wait_for_read_gate(&self, gate: ReadGate) {
        let moved = self.read_gate.lock().unwrap();
        drop(self.read_gate_moved.wait_while(moved, |present| *present != gate).unwrap());
    }

    fn hold(&self, hold: bool) {
        *self.is_held.lock().unwrap() = hold;
        self.released.notify_all();
    }
}

impl Storage for Faulty {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>, StorageError> {
        let found = self.inner.get(space, key);
        let is_held = space == Space::Sessions && *self.read_gate.lock().unwrap() == ReadGate::Armed;
        if is_held {
            self.move_read_gate(ReadGate::Holding);
            self.wait_for_read_gate(ReadGate::Open);
        }
        if self.is_slow.load(Ordering::Relaxed) && std::thread::current().name() != Some("store-writer") {
            (0..100).for_each(|_| std::thread::yield_now());
        }
        found
    }

    fn scan(&self, space: Space, range: KeyRange, limit: usize) -> Result<Vec<(Slice, Slice)>, StorageError> {
        self.inner.scan(space, range, limit)
    }

    fn apply(&self, batch: Batch, persistence: Persistence) -> Result<(), StorageError> {
        let held = self.is_held.lock().unwrap();
        drop(self.released.wait_while(held, |is_held| *is_held).unwrap());
        if self.fails.load(Ordering::SeqCst) {
            return Err(StorageError("input/output error".to_owned()));
        }
        self.disk_batches.fetch_add(u64::from(persistence == Persistence::Disk), Ordering::SeqCst);
        self.inner.apply(batch, persistence)
    }

    fn persist_all(&self) -> Result<(), StorageError> {
        self.inner.persist_all()
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }
}

struct Fixture {
    store: Arc<EmbeddedStore>,
    storage: Arc<Faulty>,
    clock: Arc<AtomicU64>,
    // Removed when the test is over.
    directory: tempfile::TempDir,
}

fn open(settings: Settings) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(Faulty {
        inner: FjallStorage::open(directory.path()).unwrap(),
        fails: AtomicBool::new(false),
        read_gate: Mutex::new(ReadGate::Open),
        read_gate_moved: Condvar::new(),
        is_slow: AtomicBool::new(false),
        disk_batches: AtomicU64::new(0),
        is_held: Mutex::new(false),
        released: Condvar::new(),
    });
    let clock = Arc::new(AtomicU64::new(0));
    let read_clock = {
        let clock = Arc::clone(&clock);
        move || Timestamp::from_millis(clock.load(Ordering::SeqCst))
    };
    // The sweeper never comes by itself in a test.
    let settings = Settings { clock: Arc::new(read_clock), sweep_interval: Duration::from_secs(100_000), ..settings };
    let store = EmbeddedStore::on_storage(Arc::clone(&storage) as Arc<dyn Storage>, None, directory.path(), settings);
    Fixture { store: Arc::new(store.unwrap()), storage, clock, directory }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000 + seconds * 1000)
}

fn key(number: u64) -> StoreKey {
    let mut bytes = [number as u8; 32];
    bytes[8..16].copy_from_slice(&number.to_be_bytes());
    StoreKey::from_bytes(bytes)
}

fn delta() -> Delta {
    let mut delta = Delta::default();
    delta.set(FieldName::new("cart").unwrap(), FieldValue::parse("[1]").unwrap());
    delta
}

fn commit_request(key: StoreKey, seconds: u64) -> CommitRequest {
    CommitRequest { key, delta: delta(), expected_revision: None, payload_bytes_max: 1000, now: at(seconds) }
}

fn rotate_request(old: StoreKey, new: StoreKey, seconds: u64) -> RotateRequest {
    let grace = Duration::from_secs(15);
    RotateRequest { old, new, login: None, delta: Delta::default(), grace, payload_bytes_max: 1000, now: at(seconds) }
}

async fn create(store: &EmbeddedStore, key: StoreKey, principal: Option<&Principal>) {
    let mut record = Record::begin(at(0), &LIFETIMES);
    if let Some(principal) = principal {
        record = record.with_principal(principal.clone(), 0, at(0));
    }
    let outcome = store.create(CreateRequest { key, record }).await.unwrap();
    assert!(matches!(outcome, CreateOutcome::Created(_)));
}

async fn touch(store: &EmbeddedStore, key: StoreKey, seconds: u64) -> Result<TouchOutcome, StoreError> {
    store.touch(TouchRequest { key, window: LIFETIMES.touch, now: at(seconds) }).await
}

/// A failed fsync that is answered with success, or repeated until it succeeds, loses what users were told is kept.
#[tokio::test]
async fn a_failed_write_acknowledges_nothing_and_ends_all_writing() {
    let fixture = open(Settings::default());
    let store = &fixture.store;
    create(store, key(1), None).await;
    fixture.storage.fails.store(true, Ordering::SeqCst);
    let error = store.commit(commit_request(key(1), 1)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("input/output error"), "{error}");
    assert_eq!(store.load_cached(&key(1), at(1)).unwrap().record.fields().count(), 0);
    assert_eq!(store.load(&key(1), at(1)).await.unwrap().unwrap().record.revision, 1);

    fixture.storage.fails.store(false, Ordering::SeqCst);
    let record = Record::begin(at(0), &LIFETIMES);
    assert!(store.create(CreateRequest { key: key(2), record }).await.is_err(), "the disk is not trusted again");
    assert!(matches!(store.end(&key(1), at(1)).await, Err(StoreError::Unavailable { .. })));
    assert!(store.sweep().await.is_err());
    assert_eq!(store.load(&key(2), at(1)).await.unwrap(), None);
    assert!(store.load(&key(1), at(1)).await.unwrap().is_some(), "reads go on");
}

/// What memory shows before the disk has it is taken back by a crash, after users have seen it.
#[tokio::test]
async fn nothing_shows_before_it_is_persisted() {
    let fixture = open(Settings::default());
    let store = &fixture.store;
    create(store, key(1), None).await;
    fixture.storage.hold(true);
    let commit = tokio::spawn({
        let store = Arc::clone(store);
        async move { store.commit(commit_request(key(1), 1)).await.unwrap() }
    });
    for _ in 0..1000 {
        assert_eq!(store.load_cached(&key(1), at(1)).unwrap().record.revision, 1);
        tokio::task::yield_now().await;
    }
    fixture.storage.hold(false);
    assert!(matches!(commit.await.unwrap(), CommitOutcome::Committed(_)));
    assert_eq!(store.load_cached(&key(1), at(1)).unwrap().record.revision, 2);
}

/// A queue without a bound turns a slow disk into a gateway without memory; one that waits stops the event loop.
#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let fixture = open(Settings { queue_max: 4, ..Settings::default() });
    let store = &fixture.store;
    create(store, key(1), None).await;
    fixture.storage.hold(true);
    let mut commits = tokio::task::JoinSet::new();
    // The writer may take a group of at most four out of the queue before it is held up.
    for _ in 0..20 {
        let store = Arc::clone(store);
        commits.spawn(async move { store.commit(commit_request(key(1), 1)).await });
    }
    while store.statistics().refused < 11 {
        tokio::task::yield_now().await;
    }
    fixture.storage.hold(false);
    let (mut kept, mut refused) = (0, 0);
    while let Some(outcome) = commits.join_next().await {
        match outcome.unwrap() {
            Ok(_) => kept += 1,
            Err(StoreError::Overloaded { waiting }) => refused += u64::from(waiting == 4),
            Err(error) => panic!("{error}"),
        }
    }
    let revision = store.load(&key(1), at(1)).await.unwrap().unwrap().record.revision;
    assert_eq!((kept + refused, revision), (20, 1 + kept), "what was refused was not written");
}

/// An fsync for each page view would wear the disk out for something whose loss nobody notices.
#[tokio::test]
async fn touches_alone_do_not_wait_for_the_disk() {
    let fixture = open(Settings::default());
    create(&fixture.store, key(1), None).await;
    let before = fixture.storage.disk_batches.load(Ordering::SeqCst);
    assert_eq!(touch(&fixture.store, key(1), 20).await.unwrap(), TouchOutcome::Touched);
    assert_eq!(fixture.storage.disk_batches.load(Ordering::SeqCst), before);
    fixture.store.end(&key(1), at(21)).await.unwrap();
    assert_eq!(fixture.storage.disk_batches.load(Ordering::SeqCst), before + 1);

    let fixture = open(Settings { sync: Sync::Os, ..Settings::default() });
    create(&fixture.store, key(1), None).await;
    assert_eq!(fixture.storage.disk_batches.load(Ordering::SeqCst), 0);
}

/// A sweeper that misses sessions fills the disk; one that is too keen signs users out.
#[tokio::test]
async fn the_sweeper_removes_what_ran_out_and_nothing_else() {
    let fixture = open(Settings::default());
    let (store, principal) = (&fixture.store, Principal::parse(b"alice").unwrap());
    // More than one step of the sweeper.
    for number in 0..600 {
        create(store, key(number), Some(&principal)).await;
    }
    assert_eq!(touch(store, key(7), 90).await.unwrap(), TouchOutcome::Touched);
    store.rotate(rotate_request(key(8), key(1008), 80)).await.unwrap();
    let sweep = async |seconds| {
        fixture.clock.store(at(seconds).as_millis(), Ordering::SeqCst);
        store.sweep().await.unwrap();
        (store.session_count().await.unwrap(), store.statistics().swept)
    };
    assert_eq!(sweep(94).await, (600, 0), "nothing has run out");
    assert_eq!(sweep(95).await, (600, 1), "the alias has");
    assert_eq!(sweep(99).await, (600, 1));
    assert_eq!(sweep(100).await, (2, 599), "all but the touched and the rotated one");
    assert!(store.load(&key(7), at(100)).await.unwrap().is_some());
    assert!(store.load_cached(&key(9), at(100)).is_none());
    assert_eq!(store.sessions_of(&principal, None, 1000).await.unwrap().len(), 2);
    assert_eq!(sweep(190).await, (0, 601));
    for space in [Space::Sessions, Space::Principals, Space::Expiry] {
        let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        assert!(fixture.storage.scan(space, everything, 10).unwrap().is_empty(), "{space:?} keeps leftovers");
    }
}

/// Epochs that are never forgotten grow for ever; one that is forgotten and begun anew would let a session that was
/// bound under it outlive the next end.
#[tokio::test]
async fn epochs_are_forgotten_when_they_have_served_and_never_reused() {
    let fixture = open(Settings::default());
    let (store, principal) = (&fixture.store, Principal::parse(b"alice").unwrap());
    create(store, key(1), Some(&principal)).await;
    for expected in 1..=3 {
        assert_eq!(store.end_all(&principal, None, at(1)).await.unwrap(), expected);
    }
    let sweep = async |seconds| {
        fixture.clock.store(at(seconds).as_millis(), Ordering::SeqCst);
        store.sweep().await.unwrap();
        store.statistics().epochs
    };
    assert_eq!(sweep(999).await, 1, "the longest-lived session might still be there");
    // The horizon is kept by the hour, and epochs are looked at once an hour.
    assert_eq!(sweep(3 * 3600).await, 0);
    assert_eq!(store.end_all(&principal, None, at(3 * 3600)).await.unwrap(), 4);
}

/// One damaged session must not take the store down, and must not be thrown away: a newer version may read it.
#[tokio::test]
async fn an_unreadable_session_is_reported_and_left_alone() {
    let fixture = open(Settings::default());
    let store = &fixture.store;
    let record = Arc::new(Record::begin(at(0), &LIFETIMES));
    let mut bytes = Entry::Session { record, filed_at: at(100) }.encode();
    bytes[9] = 99;
    let mut batch = Batch::default();
    batch.put(Space::Sessions, key(1).as_bytes().to_vec(), bytes.clone());
    batch.put(Space::Expiry, expiry_key(at(100), &key(1)), Vec::new());
    fixture.storage.apply(batch, Persistence::Disk).unwrap();
    create(store, key(2), None).await;

    assert!(matches!(store.load(&key(1), at(1)).await, Err(StoreError::Unreadable(_))));
    assert!(matches!(store.commit(commit_request(key(1), 1)).await, Err(StoreError::Unreadable(_))));
    let record = Record::begin(at(0), &LIFETIMES);
    assert_eq!(store.create(CreateRequest { key: key(1), record }).await.unwrap(), CreateOutcome::Exists);
    fixture.clock.store(at(5000).as_millis(), Ordering::SeqCst);
    store.sweep().await.unwrap();
    assert_eq!(store.load(&key(2), at(1)).await.unwrap(), None, "the sweeper passes the damaged one");
    assert_eq!(&*fixture.storage.get(Space::Sessions, key(1).as_bytes()).unwrap().unwrap(), &bytes);
}

/// A load that read the disk just before the session ended would serve it from memory from then on.
#[tokio::test]
async fn a_load_overtaken_by_an_end_fills_nothing_in() {
    let fixture = open(Settings::default());
    create(&fixture.store, key(1), None).await;
    fixture.store.close().await.unwrap();
    let storage = Arc::clone(&fixture.storage) as Arc<dyn Storage>;
    let store = EmbeddedStore::on_storage(storage, None, fixture.directory.path(), Settings::default());
    let store = Arc::new(store.unwrap());
    fixture.storage.move_read_gate(ReadGate::Armed);
    let load = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.load(&key(1), at(1)).await.unwrap() }
    });
    let storage = Arc::clone(&fixture.storage);
    tokio::task::spawn_blocking(move || storage.wait_for_read_gate(ReadGate::Holding)).await.unwrap();
    assert_eq!(store.end(&key(1), at(1)).await.unwrap(), EndOutcome::Ended);
    fixture.storage.move_read_gate(ReadGate::Open);
    assert!(load.await.unwrap().is_some(), "the load began before the end, and may answer as of then");
    assert_eq!(store.load_cached(&key(1), at(1)), None, "a late load filled in what had ended");
    assert_eq!(store.load(&key(1), at(1)).await.unwrap(), None);
}

/// The same by chance, many times over, wherever loads and ends may meet.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_load_brings_an_ended_session_back_into_memory() {
    // Memory for a handful of sessions, so that loads go to the disk and fill in.
    let fixture = open(Settings { cache_bytes: 8192, sync: Sync::Os, ..Settings::default() });
    let store = &fixture.store;
    fixture.storage.is_slow.store(true, Ordering::Relaxed);
    for number in 0..400 {
        create(store, key(number), None).await;
        for other in 0..8 {
            create(store, key(1_000_000 + number * 8 + other), None).await;
        }
        let loads_begun = || store.shared.counters.hits.total() + store.shared.counters.misses.total();
        let before = loads_begun();
        let mut loads = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let store = Arc::clone(store);
            loads.spawn(async move {
                for _ in 0..3 {
                    store.load(&key(number), at(1)).await.unwrap();
                }
            });
        }
        while loads_begun() == before {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.end(&key(number), at(1)).await.unwrap(), EndOutcome::Ended);
        assert_eq!(store.load_cached(&key(number), at(1)), None);
        assert_eq!(store.load(&key(number), at(1)).await.unwrap(), None);
        while let Some(outcome) = loads.join_next().await {
            outcome.unwrap();
        }
        assert_eq!(store.load_cached(&key(number), at(1)), None, "a late load filled in what had ended");
    }
}

/// Requests with either ticket, while the ticket changes, must find the session each time: a miss is a sign-out.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_is_never_missing_while_it_moves() {
    let fixture = open(Settings { cache_bytes: 1024, sync: Sync::Os, ..Settings::default() });
    let store = &fixture.store;
    for number in 0..300 {
        let (old, new) = (key(number), key(1_000_000 + number));
        create(store, old, None).await;
        let mut loads = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let store = Arc::clone(store);
            loads.spawn(async move {
                for _ in 0..10 {
                    assert!(store.load(&old, at(1)).await.unwrap().is_some());
                }
            });
        }
        store.rotate(rotate_request(old, new, 1)).await.unwrap();
        assert_eq!(store.load(&old, at(1)).await.unwrap().unwrap().key, new);
        while let Some(outcome) = loads.join_next().await {
            outcome.unwrap();
        }
    }
}

/// "Sign out everywhere else" must not, for a moment, sign out here too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_excepted_session_is_alive_throughout() {
    let fixture = open(Settings { sync: Sync::Os, ..Settings::default() });
    let (store, principal) = (&fixture.store, Principal::parse(b"alice").unwrap());
    create(store, key(1), Some(&principal)).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut loads = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (store, is_over) = (Arc::clone(store), Arc::clone(&is_over));
        loads.spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let loaded = store.load(&key(1), at(1)).await.unwrap().unwrap();
                assert_eq!(standing(&loaded.record, loaded.principal_epoch, at(1)), Standing::Alive);
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..2000 {
        store.end_all(&principal, Some(key(1)), at(1)).await.unwrap();
    }
    is_over.store(true, Ordering::SeqCst);
    while let Some(outcome) = loads.join_next().await {
        outcome.unwrap();
    }
}
