//! The embedded store keeps every rule of a store, and agrees with the model.
#![expect(clippy::unwrap_used, reason = "a failed step ends the test")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cloakroom_session::Timestamp;
use cloakroom_store::SessionStore;
use cloakroom_store::conformance::model::{check_against_model, operations};
use cloakroom_store_embedded::{EmbeddedStore, Settings, Sync};

/// Settings with a clock that stands still, so that the sweeper comes when the test wants it.
fn settings(sync: Sync, cache_bytes: u64, clock: &Arc<AtomicU64>) -> Settings {
    let clock = Arc::clone(clock);
    let clock = Arc::new(move || Timestamp::from_millis(clock.load(Ordering::SeqCst)));
    Settings { sync, cache_bytes, clock, sweep_interval: Duration::from_secs(100_000), ..Settings::default() }
}

fn check_every_rule(sync: Sync, cache_bytes: u64) {
    let directory = tempfile::tempdir().unwrap();
    let numbers = AtomicU64::new(0);
    let clock = Arc::new(AtomicU64::new(0));
    let open = async || {
        let path: PathBuf = directory.path().join(numbers.fetch_add(1, Ordering::Relaxed).to_string());
        Arc::new(EmbeddedStore::open(&path, settings(sync, cache_bytes, &clock)).unwrap()) as Arc<dyn SessionStore>
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    runtime.block_on(cloakroom_store::conformance::run(open));
}

/// A rule that holds in other stores and not here signs users out when an installation is moved.
#[test]
fn every_rule_holds_to_the_disk() {
    check_every_rule(Sync::Disk, 1 << 20);
}

/// Rules that hold only while the sessions fit into memory do not hold.
#[test]
fn every_rule_holds_without_memory() {
    check_every_rule(Sync::Os, 0);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 60, ..Default::default() })]

    /// Combinations of changes that nobody thought of, with a sweep after each step of time, in memory and without it.
    #[test]
    fn agrees_with_the_model(operations in operations(50), is_cached: bool) {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicU64::new(0));
        let settings = settings(Sync::Os, if is_cached { 1 << 20 } else { 0 }, &clock);
        let store = Arc::new(EmbeddedStore::open(directory.path(), settings).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcome = runtime.block_on(check_against_model(store.clone(), &operations, async |now| {
            clock.store(now.as_millis(), Ordering::SeqCst);
            store.sweep().await.unwrap();
        }));
        proptest::prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}
