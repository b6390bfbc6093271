//! Why a store could not answer.

use cloakroom_session::RecordError;

/// Why a store could not answer. None of these means that a session is missing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store can't be reached or can't write: try again later.
    #[error("the session store is unavailable: {reason}")]
    Unavailable {
        /// What failed, in the store's words, without credentials or session data.
        reason: String,
    },
    /// More changes wait than the bound allows: try again later.
    #[error("the session store is overloaded: {waiting} changes are waiting")]
    Overloaded {
        /// Changes that were waiting.
        waiting: usize,
    },
    /// What is stored under the key can't be read. It is left as it is.
    #[error("a stored session can't be read")]
    Unreadable(#[from] RecordError),
    /// [`crate::SessionStore::close`] was called.
    #[error("the session store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Overloaded { .. })
    }
}
