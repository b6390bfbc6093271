//! Cases of a session's fields: deltas are applied to what is there, whole or not at all.

use super::support::{Store, begin, commit_request, committed, load, removing, setting, value};
use crate::{CommitOutcome, CommitRequest};

/// Commits under way at once in [`concurrent_fields`].
const CONCURRENT_COMMITS: usize = 1000;

pub(super) async fn concurrent_fields(store: Store) {
    let key = begin(&store).await;
    let mut commits = tokio::task::JoinSet::new();
    for number in 0..CONCURRENT_COMMITS {
        let store = store.clone();
        commits.spawn(async move { committed(&store, key, setting(&format!("field-{number}"), "1"), 1).await });
    }
    while let Some(outcome) = commits.join_next().await {
        outcome.unwrap();
    }
    let record = load(&store, key, 2).await.unwrap().record;
    assert_eq!(record.fields().count(), CONCURRENT_COMMITS);
    assert_eq!(record.revision, 1 + CONCURRENT_COMMITS as u64, "each commit is one revision");
}

pub(super) async fn removed_field_stays_removed(store: Store) {
    let key = begin(&store).await;
    committed(&store, key, setting("voucher", "\"SUMMER\""), 1).await;
    let mut commits = tokio::task::JoinSet::new();
    for number in 0..200 {
        let store = store.clone();
        commits.spawn(async move {
            let delta = if number == 100 { removing("voucher") } else { setting(&format!("f{number}"), "1") };
            (number, committed(&store, key, delta, 1).await)
        });
    }
    let (mut removed_at, mut seen_at) = (u64::MAX, Vec::new());
    while let Some(outcome) = commits.join_next().await {
        let (number, record) = outcome.unwrap();
        if number == 100 {
            removed_at = record.revision;
        }
        if value(&record, "voucher").is_some() {
            seen_at.push(record.revision);
        }
    }
    assert!(seen_at.iter().all(|revision| *revision < removed_at), "the field came back after its removal");
    let record = load(&store, key, 2).await.unwrap().record;
    assert_eq!((value(&record, "voucher"), record.fields().count()), (None, 199));
}

pub(super) async fn expected_revision(store: Store) {
    let key = begin(&store).await;
    let revision = committed(&store, key, setting("cart", "1"), 1).await.revision;
    let mut commits = tokio::task::JoinSet::new();
    for number in 0..20 {
        let store = store.clone();
        let delta = setting("order", &number.to_string());
        let request = CommitRequest { expected_revision: Some(revision), ..commit_request(key, delta, 2) };
        commits.spawn(async move { store.commit(request).await.unwrap() });
    }
    let mut winners = Vec::new();
    while let Some(outcome) = commits.join_next().await {
        match outcome.unwrap() {
            CommitOutcome::Committed(record) => winners.push(record),
            other => assert_eq!(other, CommitOutcome::Conflict { revision: revision + 1 }),
        }
    }
    assert_eq!(winners.len(), 1, "one commit finds the revision it expects");
    assert_eq!(load(&store, key, 3).await.unwrap().record, winners[0], "the losers wrote nothing");
}

pub(super) async fn payload_cap(store: Store) {
    let key = begin(&store).await;
    let before = committed(&store, key, setting("cart", "\"0123456789\""), 1).await;
    let mut delta = setting("note", &format!("\"{}\"", "x".repeat(50)));
    delta.remove(super::support::name("cart"));
    let over = CommitRequest { payload_bytes_max: 40, ..commit_request(key, delta.clone(), 2) };
    match store.commit(over).await.unwrap() {
        CommitOutcome::TooLarge(error) => {
            assert_eq!((error.bytes, error.bytes_max), (56, 40));
            assert_eq!(error.largest, ["note"]);
        }
        other => unreachable!("a delta over the cap was answered {other:?}"),
    }
    assert_eq!(load(&store, key, 2).await.unwrap().record, before, "nothing of a refused delta is kept");
    let exact = CommitRequest { payload_bytes_max: 56, ..commit_request(key, delta, 2) };
    assert!(matches!(store.commit(exact).await.unwrap(), CommitOutcome::Committed(_)), "the cap itself is allowed");
}
