//! What the cases share: times, keys, records, requests, and short spellings of the calls.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use cloakroom_session::lifecycle::standing;
use cloakroom_session::{Delta, FieldName, FieldValue, Lifetimes, Principal, Record, Standing, StoreKey, Timestamp};

use crate::{
    CommitOutcome, CommitRequest, CreateOutcome, CreateRequest, Loaded, Login, RotateRequest, SessionStore,
    TouchOutcome, TouchRequest,
};

pub(super) type Store = Arc<dyn SessionStore>;

pub(super) const CAP_BYTES: usize = 64 * 1024;
pub(super) const LIFETIMES: Lifetimes =
    Lifetimes { idle: Duration::from_secs(100), absolute: Duration::from_secs(250), touch: Duration::from_secs(10) };

/// Seconds after the start of the case, on a day in 2026.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000 + seconds * 1000)
}

/// A key that no other case has used, so that cases may share a store.
pub(super) fn new_key() -> StoreKey {
    let mut bytes = [0; 32];
    for part in bytes.chunks_exact_mut(8) {
        part.copy_from_slice(&RandomState::new().hash_one(0).to_be_bytes());
    }
    StoreKey::from_bytes(bytes)
}

/// A principal that no other case has used.
pub(super) fn new_principal() -> Principal {
    Principal::parse(format!("user-{}", new_key().handle()).as_bytes()).unwrap()
}

pub(super) fn name(text: &str) -> FieldName {
    FieldName::new(text).unwrap()
}

pub(super) fn setting(field: &str, json: &str) -> Delta {
    let mut delta = Delta::default();
    delta.set(name(field), FieldValue::parse(json).unwrap());
    delta
}

pub(super) fn removing(field: &str) -> Delta {
    let mut delta = Delta::default();
    delta.remove(name(field));
    delta
}

/// The JSON text of a field.
pub(super) fn value<'record>(record: &'record Record, field: &str) -> Option<&'record str> {
    record.field(&name(field)).map(FieldValue::as_json)
}

/// Creates an anonymous session at time 0.
pub(super) async fn begin(store: &Store) -> StoreKey {
    begin_as(store, None).await
}

/// Creates a session at time 0.
pub(super) async fn begin_as(store: &Store, principal: Option<&Principal>) -> StoreKey {
    let key = new_key();
    create(store, key, principal).await;
    key
}

pub(super) async fn create(store: &Store, key: StoreKey, principal: Option<&Principal>) -> Arc<Record> {
    match store.create(CreateRequest { key, record: record_of(principal) }).await.unwrap() {
        CreateOutcome::Created(record) => record,
        CreateOutcome::Exists => unreachable!("the key was drawn for this case"),
    }
}

pub(super) fn record_of(principal: Option<&Principal>) -> Record {
    let record = Record::begin(at(0), &LIFETIMES);
    match principal {
        Some(principal) => record.with_principal(principal.clone(), 0, at(0)),
        None => record,
    }
}

pub(super) fn commit_request(key: StoreKey, delta: Delta, seconds: u64) -> CommitRequest {
    CommitRequest { key, delta, expected_revision: None, payload_bytes_max: CAP_BYTES, now: at(seconds) }
}

pub(super) async fn commit(store: &Store, key: StoreKey, delta: Delta, seconds: u64) -> CommitOutcome {
    store.commit(commit_request(key, delta, seconds)).await.unwrap()
}

/// A commit that must be applied.
pub(super) async fn committed(store: &Store, key: StoreKey, delta: Delta, seconds: u64) -> Arc<Record> {
    match commit(store, key, delta, seconds).await {
        CommitOutcome::Committed(record) => record,
        other => unreachable!("expected a commit to be applied, the store answered {other:?}"),
    }
}

pub(super) async fn touch(store: &Store, key: StoreKey, seconds: u64) -> TouchOutcome {
    store.touch(TouchRequest { key, window: LIFETIMES.touch, now: at(seconds) }).await.unwrap()
}

/// A routine rotation with a grace of 15 seconds.
pub(super) fn routine(old: StoreKey, new: StoreKey, seconds: u64) -> RotateRequest {
    RotateRequest {
        old,
        new,
        login: None,
        delta: Delta::default(),
        grace: Duration::from_secs(15),
        payload_bytes_max: CAP_BYTES,
        now: at(seconds),
    }
}

/// A rotation at a log-in.
pub(super) fn at_login(old: StoreKey, new: StoreKey, principal: &Principal, seconds: u64) -> RotateRequest {
    let login = Some(Login { principal: principal.clone() });
    RotateRequest { login, grace: Duration::ZERO, ..routine(old, new, seconds) }
}

/// What the store holds, in its memory and for certain; both must agree.
pub(super) async fn load(store: &Store, key: StoreKey, seconds: u64) -> Option<Loaded> {
    let cached = store.load_cached(&key, at(seconds));
    let loaded = store.load(&key, at(seconds)).await.unwrap();
    assert!(cached.is_none() || cached == loaded, "the cache shows what the store does not hold");
    loaded
}

/// What a gateway would serve.
pub(super) async fn alive(store: &Store, key: StoreKey, seconds: u64) -> Option<Loaded> {
    let is_alive = |loaded: &Loaded| standing(&loaded.record, loaded.principal_epoch, at(seconds)) == Standing::Alive;
    load(store, key, seconds).await.filter(is_alive)
}
