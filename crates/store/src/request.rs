//! The changes a store carries out, and their answers, as plain values.

use std::sync::Arc;
use std::time::Duration;

use cloakroom_session::record::PayloadTooLarge;
use cloakroom_session::{Delta, Principal, Record, StoreKey, Timestamp};

/// A new session.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// Its key.
    pub key: StoreKey,
    /// What it holds. The store sets the principal's epoch as it is at that instant.
    pub record: Record,
}

/// What became of a [`CreateRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// Kept, as it is now.
    Created(Arc<Record>),
    /// The key is taken, be it by an expired session that was not swept yet. With 256 random bits it means a broken
    /// random source.
    Exists,
}

/// A change of fields.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// The session's key, or an alias of it.
    pub key: StoreKey,
    /// What changes.
    pub delta: Delta,
    /// The revision the session must still have; `None` to merge.
    pub expected_revision: Option<u64>,
    /// Cap of the session's names and values together.
    pub payload_bytes_max: usize,
    /// The time of the request.
    pub now: Timestamp,
}

/// What became of a [`CommitRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Applied; the session as it is now.
    Committed(Arc<Record>),
    /// The session is not there (any more), expired or revoked. Nothing was written.
    Gone,
    /// It has another revision than was expected. Nothing was written.
    Conflict {
        /// Its revision.
        revision: u64,
    },
    /// It would pass the cap. Nothing was written.
    TooLarge(PayloadTooLarge),
}

/// "This session was seen."
#[derive(Clone, Copy, Debug)]
pub struct TouchRequest {
    /// The session's key, or an alias of it.
    pub key: StoreKey,
    /// Not written if the session was seen this shortly before.
    pub window: Duration,
    /// The time of the request.
    pub now: Timestamp,
}

/// What became of a [`TouchRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchOutcome {
    /// Written down.
    Touched,
    /// Seen within the window: nothing to write.
    Throttled,
    /// The session is not there (any more), expired or revoked.
    Gone,
}

/// Somebody proved who they are.
#[derive(Clone, Debug)]
pub struct Login {
    /// Who.
    pub principal: Principal,
}

/// A new key for a session.
#[derive(Clone, Debug)]
pub struct RotateRequest {
    /// The key it has. An alias is followed at a log-in only, so that a log-in beside a routine rotation is not lost.
    pub old: StoreKey,
    /// The key it gets.
    pub new: StoreKey,
    /// The log-in that causes it; `None` for a routine rotation.
    pub login: Option<Login>,
    /// Fields that change in the same step.
    pub delta: Delta,
    /// How long the old key still leads to the session. Taken as zero at a log-in, or a planted ticket would be signed
    /// in with its victim (session fixation).
    pub grace: Duration,
    /// Cap of the session's names and values together.
    pub payload_bytes_max: usize,
    /// The time of the request.
    pub now: Timestamp,
}

/// What became of a [`RotateRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotateOutcome {
    /// Moved; the session as it is now.
    Rotated(Arc<Record>),
    /// The old key is an alias: another request moved the session first, to this its one successor. Nothing was
    /// written. Never the answer to a log-in.
    AlreadyRotated {
        /// The successor's key.
        successor: StoreKey,
    },
    /// The session is not there (any more), expired or revoked. Nothing was written.
    Gone,
    /// The new key is taken. With 256 random bits it means a broken random source. Nothing was written.
    Exists,
    /// It would pass the cap. Nothing was written.
    TooLarge(PayloadTooLarge),
}

/// What became of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOutcome {
    /// It is over.
    Ended,
    /// There was none.
    Gone,
}
