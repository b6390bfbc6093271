//! Cases of principals: all sessions of one are found, and ended, whatever is under way.

use cloakroom_session::StoreKey;

use super::support::{
    Store, alive, at, at_login, begin, begin_as, commit, create, new_key, new_principal, routine, setting, touch,
};
use crate::{CommitOutcome, RotateOutcome, TouchOutcome};

/// Sessions that a race begins with.
const RACING_SESSIONS: usize = 40;

pub(super) async fn end_all(store: Store) {
    let Some(index) = store.principals() else { return };
    let principal = new_principal();
    let (kept, lost) = (begin_as(&store, Some(&principal)).await, begin_as(&store, Some(&principal)).await);
    let (anonymous, other) = (begin(&store).await, begin_as(&store, Some(&new_principal())).await);
    let first = index.end_all(&principal, Some(kept), at(5)).await.unwrap();
    assert_dead(&store, lost).await;
    for key in [kept, anonymous, other] {
        assert!(alive(&store, key, 6).await.is_some());
    }
    let listed = index.sessions_of(&principal, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [kept]);

    let later = begin_as(&store, Some(&principal)).await;
    assert!(alive(&store, later, 6).await.is_some(), "a session that begins after the end is alive");
    assert!(index.end_all(&principal, None, at(7)).await.unwrap() > first, "epochs rise");
    assert_dead(&store, kept).await;
    assert_dead(&store, later).await;
    assert!(index.sessions_of(&principal, None, 10).await.unwrap().is_empty());
}

async fn assert_dead(store: &Store, key: StoreKey) {
    let next = new_key();
    assert_eq!(alive(store, key, 10).await, None);
    assert_eq!(commit(store, key, setting("cart", "1"), 10).await, CommitOutcome::Gone);
    assert_eq!(touch(store, key, 90).await, TouchOutcome::Gone);
    assert_eq!(store.rotate(routine(key, next, 10)).await.unwrap(), RotateOutcome::Gone);
    assert_eq!(alive(store, next, 10).await, None);
}

pub(super) async fn end_all_races(store: Store) {
    if store.principals().is_none() {
        return;
    }
    let principal = new_principal();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..RACING_SESSIONS {
        let old = if number % 2 == 0 { begin_as(&store, Some(&principal)).await } else { begin(&store).await };
        let (store, principal, new) = (store.clone(), principal.clone(), new_key());
        tasks.spawn(async move {
            match number % 4 {
                // A routine rotation carries its binding over, a log-in and a new session bind anew.
                0 | 2 => drop(store.rotate(routine(old, new, 1)).await.unwrap()),
                1 => drop(store.rotate(at_login(old, new, &principal, 1)).await.unwrap()),
                _ => drop(create(&store, new, Some(&principal)).await),
            }
            [old, new]
        });
    }
    let ender = tokio::spawn({
        let (store, principal) = (store.clone(), principal.clone());
        async move { store.principals().unwrap().end_all(&principal, None, at(1)).await.unwrap() }
    });
    let epoch = ender.await.unwrap();
    while let Some(keys) = tasks.join_next().await {
        for key in keys.unwrap() {
            let Some(loaded) = alive(&store, key, 2).await else { continue };
            let is_bound = loaded.record.principal.is_some();
            assert!(!is_bound || loaded.record.principal_epoch >= epoch, "a session bound before the end is alive");
        }
    }
    // Whatever was bound during the race is ended by the next end, with nothing left over.
    store.principals().unwrap().end_all(&principal, None, at(3)).await.unwrap();
    assert!(store.principals().unwrap().sessions_of(&principal, None, 1000).await.unwrap().is_empty());
}

pub(super) async fn end_all_spares_only_its_own(store: Store) {
    let Some(index) = store.principals() else { return };
    let (alice, bob) = (new_principal(), new_principal());
    let (hers, his) = (begin_as(&store, Some(&alice)).await, begin_as(&store, Some(&bob)).await);
    index.end_all(&alice, Some(his), at(1)).await.unwrap();
    assert_eq!(alive(&store, his, 2).await.unwrap().record.principal.as_ref(), Some(&bob));
    index.end_all(&alice, Some(hers), at(2)).await.unwrap();
    assert_eq!(alive(&store, hers, 2).await, None, "an exception does not revive a session that was ended");

    let (old, new) = (begin_as(&store, Some(&alice)).await, new_key());
    store.rotate(routine(old, new, 3)).await.unwrap();
    index.end_all(&alice, Some(old), at(4)).await.unwrap();
    assert_eq!(alive(&store, new, 4).await.unwrap().key, new, "an alias excepts the session it leads to");
}

pub(super) async fn pages(store: Store) {
    let Some(index) = store.principals() else { return };
    let (principal, neighbour) = (new_principal(), new_principal());
    let mut expected = Vec::new();
    for _ in 0..25 {
        expected.push(begin_as(&store, Some(&principal)).await);
        begin_as(&store, Some(&neighbour)).await;
    }
    // One session that changed hands, one that moved, one that ended.
    store.rotate(at_login(expected.remove(0), new_key(), &neighbour, 1)).await.unwrap();
    let moved = new_key();
    store.rotate(routine(std::mem::replace(&mut expected[0], moved), moved, 1)).await.unwrap();
    store.end(&expected.remove(1), at(1)).await.unwrap();
    expected.sort_unstable();

    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = index.sessions_of(&principal, after, 7).await.unwrap();
        assert!(page.len() <= 7);
        assert!(page.iter().all(|(_, record)| record.principal.as_ref() == Some(&principal)));
        found.extend(page.iter().map(|(key, _)| *key));
        match page.last() {
            Some((key, _)) => after = Some(*key),
            None => break,
        }
    }
    assert_eq!(found, expected);
}
