//! The epochs of principals whose sessions were all ended, in memory, since every load asks.
//!
//! Bounded: a principal stands here from the end of its sessions until the last of them would have met its absolute
//! deadline anyway; then the sweeper forgets it. Most principals never stand here at all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use cloakroom_session::{Principal, Record, Timestamp};

use crate::entry::Epoch;

#[derive(Default)]
pub(crate) struct Epochs {
    by_principal: RwLock<HashMap<Principal, Epoch>>,
    /// Lets a store where nobody ever ended all sessions answer without the lock.
    count: AtomicUsize,
}

impl Epochs {
    pub(crate) fn new(by_principal: HashMap<Principal, Epoch>) -> Self {
        Self { count: AtomicUsize::new(by_principal.len()), by_principal: RwLock::new(by_principal) }
    }

    /// The present epoch of a record's principal; 0 where there is none.
    pub(crate) fn of_record(&self, record: &Record) -> u64 {
        record.principal.as_ref().map_or(0, |principal| self.of(principal))
    }

    pub(crate) fn of(&self, principal: &Principal) -> u64 {
        if self.count.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let by_principal = self.by_principal.read().unwrap_or_else(PoisonError::into_inner);
        by_principal.get(principal).map_or(0, |epoch| epoch.number)
    }

    /// What the writer has persisted: a new epoch, or that it is forgotten.
    pub(crate) fn publish(&self, changes: impl IntoIterator<Item = (Principal, Option<Epoch>)>) {
        let mut by_principal = self.by_principal.write().unwrap_or_else(PoisonError::into_inner);
        for (principal, epoch) in changes {
            match epoch {
                Some(epoch) => by_principal.insert(principal, epoch),
                None => by_principal.remove(&principal),
            };
        }
        self.count.store(by_principal.len(), Ordering::Release);
    }

    /// Up to `limit` principals whose epoch has served its time.
    pub(crate) fn served(&self, now: Timestamp, limit: usize) -> Vec<(Principal, Epoch)> {
        let by_principal = self.by_principal.read().unwrap_or_else(PoisonError::into_inner);
        let served = by_principal.iter().filter(|(_, epoch)| epoch.keep_until <= now);
        served.take(limit).map(|(principal, epoch)| (principal.clone(), *epoch)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}
