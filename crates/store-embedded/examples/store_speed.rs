//! How fast the embedded store is on this machine, and how much it takes: `cargo run --release --example store_speed`.
//! The directory may be named as the first argument: what a durable commit costs is a matter of the disk under it.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom_session::{Delta, FieldName, FieldValue, Lifetimes, Principal, Record, StoreKey, Timestamp};
use cloakroom_store::{CommitRequest, CreateRequest, SessionStore as _};
use cloakroom_store_embedded::{EmbeddedStore, Settings, Sync};

const SESSIONS: u64 = 100_000;
/// Callers at once.
const TASKS: u64 = 64;
const NOW: Timestamp = Timestamp::from_millis(1_780_000_000_000);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let path = std::env::args_os().nth(1).map_or_else(|| scratch.path().to_owned(), PathBuf::from).join("store-speed");

    let store = open(&path, Sync::Disk, 256 << 20);
    report("creates to the disk", runtime.block_on(at_once(&store, SESSIONS, Work::Create)));
    report("commits to the disk", runtime.block_on(at_once(&store, 20_000, Work::Commit)));
    report("loads from memory, one thread", cached_loads(&store));
    let statistics = store.statistics();
    println!("{:<34} {:>12.1}", "changes in a group", statistics.changes as f64 / statistics.groups as f64);
    println!("{:<34} {:>12}", "bytes per session in memory", statistics.cache_bytes / SESSIONS);
    runtime.block_on(store.close()).unwrap();
    drop(store);

    let begun = Instant::now();
    let store = open(&path, Sync::Os, 0);
    println!("{:<34} {:>9} ms", format!("opening {SESSIONS} sessions again"), begun.elapsed().as_millis());
    println!("{:<34} {:>12}", "bytes per session on the disk", written_bytes(&path) / SESSIONS);
    assert_eq!(runtime.block_on(store.session_count()).unwrap(), SESSIONS);
    report("loads from the disk", runtime.block_on(at_once(&store, 50_000, Work::Load)));
    report("commits to the system", runtime.block_on(at_once(&store, 50_000, Work::Commit)));
}

#[derive(Clone, Copy)]
enum Work {
    Create,
    Commit,
    Load,
}

fn open(path: &Path, sync: Sync, cache_bytes: u64) -> Arc<EmbeddedStore> {
    let settings = Settings { sync, cache_bytes, clock: Arc::new(|| NOW), ..Settings::default() };
    Arc::new(EmbeddedStore::open(path, settings).unwrap())
}

/// So many pieces of work by [`TASKS`] callers at once.
async fn at_once(store: &Arc<EmbeddedStore>, count: u64, work: Work) -> (u64, Duration) {
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for first in 0..TASKS {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for number in (first..count).step_by(TASKS as usize) {
                carry_out(&store, work, number).await;
            }
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap();
    }
    (count, begun.elapsed())
}

async fn carry_out(store: &EmbeddedStore, work: Work, number: u64) {
    let key = key(number);
    match work {
        Work::Create => {
            let principal = Principal::parse(format!("user {number}").as_bytes()).unwrap();
            let record = Record::begin(NOW, &Lifetimes::default()).with_principal(principal, 0, NOW);
            let record = record.with_delta(&delta(number), NOW, 4096).unwrap();
            drop(store.create(CreateRequest { key, record }).await.unwrap());
        }
        Work::Commit => {
            let delta = delta(number + 1);
            let request = CommitRequest { key, delta, expected_revision: None, payload_bytes_max: 4096, now: NOW };
            drop(store.commit(request).await.unwrap());
        }
        Work::Load => assert!(store.load(&key, NOW).await.unwrap().is_some()),
    }
}

fn cached_loads(store: &EmbeddedStore) -> (u64, Duration) {
    let keys: Vec<_> = (0..SESSIONS).map(key).collect();
    let begun = Instant::now();
    let found = keys.iter().cycle().take(1_000_000).filter(|key| store.load_cached(key, NOW).is_some()).count();
    (found as u64, begun.elapsed())
}

fn report(what: &str, (count, taken): (u64, Duration)) {
    println!("{what:<34} {:>12.0}/s", count as f64 / taken.as_secs_f64());
}

/// Bytes of files as the system counts them: the journal is longer than what is written of it.
fn written_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let bytes = |entry: std::fs::DirEntry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => written_bytes(&entry.path()),
        metadata => metadata.blocks() * 512,
    };
    entries.map(bytes).sum()
}

/// Keys are spread over all their bytes, as keyed hashes are.
fn key(number: u64) -> StoreKey {
    let mut bytes = [0; 32];
    for (index, part) in bytes.chunks_exact_mut(8).enumerate() {
        let mixed = (number * 4 + index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        part.copy_from_slice(&(mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes());
    }
    StoreKey::from_bytes(bytes)
}

/// A small shop's session: 200 bytes.
fn delta(number: u64) -> Delta {
    let mut delta = Delta::default();
    let cart = format!(r#"[{{"article":{number},"count":1,"note":"{}"}}]"#, "x".repeat(130));
    delta.set(FieldName::new("cart").unwrap(), FieldValue::parse(&cart).unwrap());
    delta.set(FieldName::new("locale").unwrap(), FieldValue::parse("\"en-GB\"").unwrap());
    delta
}
