//! What the gateway and the library ask of a session store, and what a store must promise.
//!
//! A store is an adapter: every decision (is this session alive, may this delta be applied) is made by
//! `cloakroom-session`; the store makes it atomic and durable. The rules every adapter is held to by the conformance
//! suite:
//!
//! - **No resurrection.** Only [`SessionStore::create`] and a rotation make a session. A commit or a touch of a session
//!   that is not there answers `Gone` and leaves nothing behind.
//! - **Deltas, not documents.** A commit applies its delta to whatever the session holds at that instant.
//! - **Missing is never unavailable.** `Ok(None)` means the store knows that there is no such session.
//! - **Acknowledged means kept**, to the degree [`Capabilities::durability`] states.

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
pub mod memory;
mod request;

use std::pin::Pin;
use std::sync::Arc;

use cloakroom_session::{Principal, Record, StoreKey, Timestamp};

pub use error::StoreError;
pub use request::{
    CommitOutcome, CommitRequest, CreateOutcome, CreateRequest, EndOutcome, Login, RotateOutcome, RotateRequest,
    TouchOutcome, TouchRequest,
};

/// Most aliases followed from one key: rotations within one grace. A longer chain leads nowhere.
pub const ALIAS_HOPS_MAX: usize = 4;
/// Most sessions in one page of [`PrincipalIndex::sessions_of`].
pub const SESSIONS_PAGE_MAX: usize = 1000;

/// What a store's call returns: boxed, so that the gateway can hold any store behind one pointer.
pub type StoreFuture<'store, Answer> = Pin<Box<dyn Future<Output = Result<Answer, StoreError>> + Send + 'store>>;

/// A place where sessions are kept. Every method is safe to call from any thread and to drop half-way: a dropped
/// change may or may not have happened, and never half.
pub trait SessionStore: Send + Sync {
    /// What this store can promise. Asked when a configuration is checked, so that nothing surprises at run time.
    fn capabilities(&self) -> Capabilities;

    /// Answers from memory where that is as good as [`SessionStore::load`]; never waits, never does I/O. `None` means
    /// that the store must be asked, not that there is no session.
    fn load_cached(&self, key: &StoreKey, now: Timestamp) -> Option<Loaded>;

    /// The session under this key, or `None` where there is none. It may be expired or revoked: the caller judges it by
    /// [`cloakroom_session::lifecycle::standing`]. An alias left by a rotation is followed until it runs out at `now`.
    fn load<'store>(&'store self, key: &StoreKey, now: Timestamp) -> StoreFuture<'store, Option<Loaded>>;

    /// Keeps a new session.
    fn create(&self, request: CreateRequest) -> StoreFuture<'_, CreateOutcome>;

    /// Applies a delta to a session that is there.
    fn commit(&self, request: CommitRequest) -> StoreFuture<'_, CommitOutcome>;

    /// Notes that a session was seen, at most once per window.
    fn touch(&self, request: TouchRequest) -> StoreFuture<'_, TouchOutcome>;

    /// Moves a session to a new key, applying a delta and a log-in in the same step.
    fn rotate(&self, request: RotateRequest) -> StoreFuture<'_, RotateOutcome>;

    /// Ends a session: after the answer no key leads to it, neither its own nor an alias. A session that was expired or
    /// revoked is removed too, and the answer is [`EndOutcome::Gone`].
    fn end<'store>(&'store self, key: &StoreKey, now: Timestamp) -> StoreFuture<'store, EndOutcome>;

    /// The principals' side of the store, where it has one.
    fn principals(&self) -> Option<&dyn PrincipalIndex>;

    /// How many sessions are kept, expired ones that were not swept yet among them; an estimate where counting is dear.
    fn session_count(&self) -> StoreFuture<'_, u64>;

    /// Writes down whatever may lag, and stops. Calls after it answer [`StoreError::Closed`].
    fn close(&self) -> StoreFuture<'_, ()>;
}

/// Sessions by principal. Correctness never rests on this index being complete, but on the principal's epoch.
pub trait PrincipalIndex: Send + Sync {
    /// One page of a principal's sessions in the order of their keys, from the first key after `after`: `limit` of them,
    /// at most [`SESSIONS_PAGE_MAX`]. Sessions that [`PrincipalIndex::end_all`] ended are left out; expired ones that were
    /// not swept yet may be among them.
    fn sessions_of<'store>(
        &'store self,
        principal: &Principal,
        after: Option<StoreKey>,
        limit: usize,
    ) -> StoreFuture<'store, Vec<(StoreKey, Arc<Record>)>>;

    /// Raises the principal's epoch, so that every session bound before is dead, all but `except` (a key or an alias),
    /// which is bound anew if it is alive and the principal's own. Answers the new epoch.
    fn end_all<'store>(
        &'store self,
        principal: &Principal,
        except: Option<StoreKey>,
        now: Timestamp,
    ) -> StoreFuture<'store, u64>;
}

/// A session as a store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The session.
    pub record: Arc<Record>,
    /// The present epoch of the session's principal; 0 while anonymous or never raised.
    pub principal_epoch: u64,
    /// The key it is kept under now; another one than was asked for where a rotation's alias led here.
    pub key: StoreKey,
}

/// What a store can promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The scheme of its URL.
    pub name: &'static str,
    /// What an acknowledged change survives.
    pub durability: Durability,
    /// Who may use it at once.
    pub sharing: Sharing,
}

/// What an acknowledged change survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing: it is gone with the process.
    Process,
    /// The end of the process, by kill -9 too; not a power failure.
    OperatingSystem,
    /// A power failure.
    Disk,
}

/// Who may use a store at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One gateway process.
    OneProcess,
    /// All gateways of a fleet.
    Fleet,
}
