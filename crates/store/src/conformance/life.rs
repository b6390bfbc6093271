//! Cases of a session's life: it begins once, ends for good, and runs out on time.

use cloakroom_session::Delta;

use super::support::{
    Store, alive, at, begin, commit, commit_request, committed, create, load, new_key, record_of, routine, setting,
    touch, value,
};
use crate::{CommitOutcome, CreateOutcome, CreateRequest, EndOutcome, RotateOutcome, StoreError, TouchOutcome};

pub(super) async fn round_trip(store: Store) {
    let key = new_key();
    assert_eq!(load(&store, key, 0).await, None, "a session that was never made");
    let created = create(&store, key, None).await;
    let loaded = load(&store, key, 1).await.unwrap();
    assert_eq!((&loaded.record, loaded.key, loaded.principal_epoch), (&created, key, 0));

    let changed = committed(&store, key, setting("cart", "[1,2]"), 5).await;
    assert_eq!(value(&changed, "cart"), Some("[1,2]"));
    assert_eq!((changed.revision, changed.last_seen_at), (created.revision + 1, at(5)));
    assert_eq!(load(&store, key, 6).await.unwrap().record, changed);

    assert_eq!(touch(&store, key, 20).await, TouchOutcome::Touched);
    let touched = load(&store, key, 21).await.unwrap().record;
    assert_eq!((touched.last_seen_at, touched.revision), (at(20), changed.revision), "a touch is no change of fields");

    assert_eq!(store.end(&key, at(22)).await.unwrap(), EndOutcome::Ended);
    assert_eq!(load(&store, key, 22).await, None);
    assert_eq!(store.end(&key, at(22)).await.unwrap(), EndOutcome::Gone);
}

pub(super) async fn no_resurrection(store: Store) {
    let (ended, never, next) = (begin(&store).await, new_key(), new_key());
    store.end(&ended, at(1)).await.unwrap();
    for key in [ended, never] {
        assert_eq!(commit(&store, key, setting("cart", "1"), 2).await, CommitOutcome::Gone);
        assert_eq!(touch(&store, key, 90).await, TouchOutcome::Gone);
        assert_eq!(store.rotate(routine(key, next, 2)).await.unwrap(), RotateOutcome::Gone);
        assert_eq!(store.end(&key, at(2)).await.unwrap(), EndOutcome::Gone);
        assert_eq!(load(&store, key, 2).await, None);
        assert_eq!(load(&store, next, 2).await, None);
    }
    race_commits_with_an_end(&store).await;
}

/// Commits that are under way while the session ends are each applied before it or told that it is gone.
async fn race_commits_with_an_end(store: &Store) {
    let key = begin(store).await;
    let mut commits = tokio::task::JoinSet::new();
    for number in 0..50 {
        let store = store.clone();
        commits.spawn(async move { commit(&store, key, setting(&format!("f{number}"), "1"), 1).await });
    }
    assert_eq!(store.end(&key, at(1)).await.unwrap(), EndOutcome::Ended);
    assert_eq!(load(store, key, 1).await, None, "a commit after the end brought the session back");
    while let Some(outcome) = commits.join_next().await {
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_) | CommitOutcome::Gone), "{outcome:?}");
    }
    assert_eq!(load(store, key, 1).await, None, "a commit after the end brought the session back");
}

pub(super) async fn taken_key(store: Store) {
    let key = begin(&store).await;
    committed(&store, key, setting("owner", "\"first\""), 1).await;
    let mut creates = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        creates.spawn(async move { store.create(CreateRequest { key, record: record_of(None) }).await.unwrap() });
    }
    while let Some(outcome) = creates.join_next().await {
        assert_eq!(outcome.unwrap(), CreateOutcome::Exists);
    }
    assert_eq!(value(&load(&store, key, 1).await.unwrap().record, "owner"), Some("\"first\""));
}

pub(super) async fn idle_expiry(store: Store) {
    let key = begin(&store).await;
    assert_eq!(touch(&store, key, 99).await, TouchOutcome::Touched, "alive until its last second");
    assert!(alive(&store, key, 198).await.is_some(), "a touch moves the idle deadline");
    assert_dead_from(&store, key, 199).await;
}

pub(super) async fn absolute_expiry(store: Store) {
    let key = begin(&store).await;
    for seconds in [80, 160, 240] {
        assert_eq!(touch(&store, key, seconds).await, TouchOutcome::Touched);
    }
    assert!(alive(&store, key, 249).await.is_some());
    assert_dead_from(&store, key, 250).await;
}

/// Every change is refused from this second on, and the session is not served.
async fn assert_dead_from(store: &Store, key: cloakroom_session::StoreKey, seconds: u64) {
    let next = new_key();
    assert_eq!(alive(store, key, seconds).await, None);
    assert_eq!(commit(store, key, setting("cart", "1"), seconds).await, CommitOutcome::Gone);
    assert_eq!(touch(store, key, seconds).await, TouchOutcome::Gone);
    assert_eq!(store.rotate(routine(key, next, seconds)).await.unwrap(), RotateOutcome::Gone);
    assert_eq!(load(store, next, seconds).await, None);
    assert_eq!(store.end(&key, at(seconds)).await.unwrap(), EndOutcome::Gone);
    assert_eq!(load(store, key, seconds).await, None, "an expired session that was ended is removed");
}

pub(super) async fn touch_throttle(store: Store) {
    let key = begin(&store).await;
    assert_eq!(touch(&store, key, 9).await, TouchOutcome::Throttled);
    assert_eq!(load(&store, key, 9).await.unwrap().record.last_seen_at, at(0));
    assert_eq!(touch(&store, key, 10).await, TouchOutcome::Touched);
    let mut touches = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        touches.spawn(async move { touch(&store, key, 20).await });
    }
    let mut written = 0;
    while let Some(outcome) = touches.join_next().await {
        written += usize::from(outcome.unwrap() == TouchOutcome::Touched);
    }
    assert_eq!(written, 1, "one touch per window, however many requests there are");
    assert_eq!(touch(&store, key, 3).await, TouchOutcome::Throttled, "a clock set back makes no touch due");
    assert_eq!(load(&store, key, 20).await.unwrap().record.last_seen_at, at(20));
}

pub(super) async fn closed(store: Store) {
    let key = begin(&store).await;
    store.close().await.unwrap();
    assert_eq!(store.load_cached(&key, at(1)), None);
    let closed = |error: Option<StoreError>| assert!(matches!(error, Some(StoreError::Closed)), "{error:?}");
    closed(store.load(&key, at(1)).await.err());
    closed(store.create(CreateRequest { key: new_key(), record: record_of(None) }).await.err());
    closed(store.commit(commit_request(key, Delta::default(), 1)).await.err());
    closed(store.rotate(routine(key, new_key(), 1)).await.err());
    closed(store.end(&key, at(1)).await.err());
    assert!(store.close().await.is_ok(), "closing twice is no mistake");
}
