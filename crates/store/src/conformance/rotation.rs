//! Cases of rotation: a session has one key at a time, and the old one serves only the requests on their way.

use std::sync::Arc;
use std::time::Duration;

use cloakroom_session::{Record, StoreKey};

use super::support::{
    Store, alive, at, at_login, begin, begin_as, commit, committed, load, new_key, new_principal, routine, setting,
    touch, value,
};
use crate::{CommitOutcome, EndOutcome, RotateOutcome, RotateRequest, TouchOutcome};

async fn rotated(store: &Store, request: RotateRequest) -> Arc<Record> {
    match store.rotate(request).await.unwrap() {
        RotateOutcome::Rotated(record) => record,
        other => unreachable!("expected a rotation, the store answered {other:?}"),
    }
}

pub(super) async fn login(store: Store) {
    let (old, new, principal) = (begin(&store).await, new_key(), new_principal());
    let before = committed(&store, old, setting("cart", "[1]"), 1).await;
    // A grace beside a log-in is a caller's mistake that must not open the hole again.
    let request = RotateRequest { grace: Duration::from_secs(15), ..at_login(old, new, &principal, 5) };
    let record = rotated(&store, RotateRequest { delta: setting("seen", "true"), ..request }).await;
    assert_eq!(load(&store, old, 5).await, None);
    assert_eq!(record.principal.as_ref(), Some(&principal));
    assert_eq!((record.authenticated_at, record.created_at), (Some(at(5)), at(0)));
    assert_eq!((value(&record, "cart"), value(&record, "seen")), (Some("[1]"), Some("true")));
    assert_eq!(record.revision, before.revision + 1);
    let loaded = alive(&store, new, 5).await.unwrap();
    assert_eq!((loaded.record, loaded.key), (record, new));
    assert_eq!(commit(&store, old, setting("cart", "[]"), 5).await, CommitOutcome::Gone);
    assert_eq!(touch(&store, old, 50).await, TouchOutcome::Gone);
    assert_eq!(store.rotate(routine(old, new_key(), 5)).await.unwrap(), RotateOutcome::Gone);
}

pub(super) async fn one_successor(store: Store) {
    let old = begin(&store).await;
    let mut rotations = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (store, new) = (store.clone(), new_key());
        rotations.spawn(async move { (new, store.rotate(routine(old, new, 1)).await.unwrap()) });
    }
    let (mut winners, mut successors) = (Vec::new(), Vec::new());
    while let Some(outcome) = rotations.join_next().await {
        match outcome.unwrap() {
            (new, RotateOutcome::Rotated(_)) => winners.push(new),
            (_, RotateOutcome::AlreadyRotated { successor }) => successors.push(successor),
            (_, other) => unreachable!("a rotation beside others was answered {other:?}"),
        }
    }
    assert_eq!((winners.len(), successors.len()), (1, 49));
    assert!(successors.iter().all(|successor| *successor == winners[0]));
    assert_eq!(alive(&store, old, 2).await.unwrap().key, winners[0]);
}

/// A session at time 0 that was moved at second 10, with a grace until second 25.
async fn moved(store: &Store) -> (StoreKey, StoreKey) {
    let (old, new) = (begin(store).await, new_key());
    rotated(store, routine(old, new, 10)).await;
    (old, new)
}

pub(super) async fn alias_grace(store: Store) {
    let (old, new) = moved(&store).await;
    for seconds in [10, 24] {
        let loaded = alive(&store, old, seconds).await.unwrap();
        assert_eq!(loaded.key, new, "the answer names the key the session has now");
        assert_eq!(loaded.record, load(&store, new, seconds).await.unwrap().record);
    }
    assert_eq!(load(&store, old, 25).await, None);
    assert_eq!(commit(&store, old, setting("cart", "1"), 25).await, CommitOutcome::Gone);
    assert_eq!(store.end(&old, at(25)).await.unwrap(), EndOutcome::Gone);
    assert!(alive(&store, new, 25).await.is_some());

    let third = new_key();
    let (old, new) = moved(&store).await;
    rotated(&store, routine(new, third, 12)).await;
    for key in [old, new, third] {
        assert_eq!(alive(&store, key, 24).await.unwrap().key, third, "two rotations within one grace");
    }
    assert_eq!(load(&store, old, 25).await, None);
    assert_eq!(alive(&store, new, 26).await.unwrap().key, third);
}

pub(super) async fn commit_through_alias(store: Store) {
    let (old, new) = moved(&store).await;
    committed(&store, old, setting("cart", "[1]"), 20).await;
    assert_eq!(touch(&store, old, 24).await, TouchOutcome::Throttled);
    let record = load(&store, new, 20).await.unwrap().record;
    assert_eq!((value(&record, "cart"), record.last_seen_at), (Some("[1]"), at(20)));
    assert_eq!(load(&store, old, 30).await, None, "a commit does not lengthen the grace");
}

pub(super) async fn login_through_alias(store: Store) {
    let (old, new) = moved(&store).await;
    let (after, principal) = (new_key(), new_principal());
    let record = rotated(&store, at_login(old, after, &principal, 12)).await;
    assert_eq!(record.principal.as_ref(), Some(&principal));
    assert_eq!(alive(&store, after, 12).await.unwrap().record, record);
    for key in [old, new] {
        assert_eq!(load(&store, key, 12).await, None, "no earlier key is signed in");
    }
}

pub(super) async fn end_kills_every_key(store: Store) {
    for through_alias in [true, false] {
        let (old, new) = moved(&store).await;
        let key = if through_alias { old } else { new };
        assert_eq!(store.end(&key, at(12)).await.unwrap(), EndOutcome::Ended);
        for key in [old, new] {
            assert_eq!(load(&store, key, 12).await, None);
            assert_eq!(store.rotate(routine(key, new_key(), 12)).await.unwrap(), RotateOutcome::Gone);
        }
    }
}

pub(super) async fn taken_new_key(store: Store) {
    let (mine, theirs) = (begin(&store).await, begin(&store).await);
    committed(&store, theirs, setting("owner", "\"they\""), 1).await;
    assert_eq!(store.rotate(routine(mine, theirs, 2)).await.unwrap(), RotateOutcome::Exists);
    assert_eq!(store.rotate(routine(mine, mine, 2)).await.unwrap(), RotateOutcome::Exists);
    assert_eq!(value(&load(&store, theirs, 2).await.unwrap().record, "owner"), Some("\"they\""));
    assert_eq!(alive(&store, mine, 2).await.unwrap().key, mine);
}

pub(super) async fn refused_rotation(store: Store) {
    let principal = new_principal();
    let (old, new) = (begin_as(&store, None).await, new_key());
    let before = load(&store, old, 1).await;
    let delta = setting("note", &format!("\"{}\"", "x".repeat(50)));
    let request = RotateRequest { delta, payload_bytes_max: 20, ..at_login(old, new, &principal, 1) };
    let outcome = store.rotate(request).await.unwrap();
    assert!(matches!(outcome, RotateOutcome::TooLarge(_)), "{outcome:?}");
    assert_eq!(load(&store, old, 1).await, before);
    assert_eq!(load(&store, new, 1).await, None);
}
