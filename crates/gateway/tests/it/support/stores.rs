//! A store that counts its calls, and fails those it is told to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use cloakroom_session::{StoreKey, Timestamp};
use cloakroom_store::memory::MemoryStore;
use cloakroom_store::{
    Capabilities, CommitOutcome, CommitRequest, CreateOutcome, CreateRequest, EndOutcome, Loaded, PrincipalIndex,
    RotateOutcome, RotateRequest, SessionStore, StoreError, StoreFuture, TouchOutcome, TouchRequest,
};

use super::PATIENCE;

/// A call that a request causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Load,
    Create,
    Commit,
    Touch,
    Rotate,
    End,
}

/// The in-memory store behind a counter and a switch per call.
#[derive(Default)]
pub(crate) struct SpiedStore {
    pub(crate) inner: MemoryStore,
    calls: Mutex<BTreeMap<Call, usize>>,
    changed: Condvar,
    failing: Mutex<Vec<Call>>,
    is_silent: AtomicBool,
}

impl SpiedStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// How often a call was made.
    pub(crate) fn calls(&self, call: Call) -> usize {
        self.calls.lock().unwrap().get(&call).copied().unwrap_or(0)
    }

    /// How often any call was made.
    pub(crate) fn all_calls(&self) -> usize {
        self.calls.lock().unwrap().values().sum()
    }

    /// Waits until a call was made so often.
    pub(crate) fn wait_for(&self, call: Call, count: usize) {
        let guard = self.calls.lock().unwrap();
        let is_missing = |calls: &mut BTreeMap<Call, usize>| calls.get(&call).copied().unwrap_or(0) < count;
        let (calls, timeout) = self.changed.wait_timeout_while(guard, PATIENCE, is_missing).unwrap();
        assert!(!timeout.timed_out(), "{call:?} was not called {count} times, but: {calls:?}");
    }

    /// These calls fail from now on, and no others.
    pub(crate) fn fail(&self, calls: &[Call]) {
        *self.failing.lock().unwrap() = calls.to_vec();
    }

    /// Failing calls never answer from now on.
    pub(crate) fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::Release);
    }

    fn spy<'store, Answer: Send + 'store>(
        &'store self,
        call: Call,
        answer: StoreFuture<'store, Answer>,
    ) -> StoreFuture<'store, Answer> {
        *self.calls.lock().unwrap().entry(call).or_insert(0) += 1;
        self.changed.notify_all();
        if !self.failing.lock().unwrap().contains(&call) {
            return answer;
        }
        if self.is_silent.load(Ordering::Acquire) {
            return Box::pin(std::future::pending());
        }
        Box::pin(async { Err(StoreError::Unavailable { reason: "the disk at 10.9.8.7 is on fire".to_owned() }) })
    }
}

impl SessionStore for SpiedStore {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn load_cached(&self, _key: &StoreKey, _now: Timestamp) -> Option<Loaded> {
        None
    }

    fn load<'store>(&'store self, key: &StoreKey, now: Timestamp) -> StoreFuture<'store, Option<Loaded>> {
        self.spy(Call::Load, self.inner.load(key, now))
    }

    fn create(&self, request: CreateRequest) -> StoreFuture<'_, CreateOutcome> {
        self.spy(Call::Create, self.inner.create(request))
    }

    fn commit(&self, request: CommitRequest) -> StoreFuture<'_, CommitOutcome> {
        self.spy(Call::Commit, self.inner.commit(request))
    }

    fn touch(&self, request: TouchRequest) -> StoreFuture<'_, TouchOutcome> {
        self.spy(Call::Touch, self.inner.touch(request))
    }

    fn rotate(&self, request: RotateRequest) -> StoreFuture<'_, RotateOutcome> {
        self.spy(Call::Rotate, self.inner.rotate(request))
    }

    fn end<'store>(&'store self, key: &StoreKey, now: Timestamp) -> StoreFuture<'store, EndOutcome> {
        self.spy(Call::End, self.inner.end(key, now))
    }

    fn principals(&self) -> Option<&dyn PrincipalIndex> {
        self.inner.principals()
    }

    fn session_count(&self) -> StoreFuture<'_, u64> {
        self.inner.session_count()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.inner.close()
    }
}
