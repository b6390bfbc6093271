//! The users' side of a tour: each walks through the shop step by step, all at once, and every step is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::random::Random;
use crate::report::Losses;
use crate::shopper::{Notice, Shopper, Step, Visit};

/// What goes into carts: ids of the shop.
pub(crate) const PRODUCTS: [&str; 6] = ["espresso", "filter", "mug", "assam", "scarf", "umbrella"];
/// Products that each user puts into the cart on arrival.
const PRODUCTS_AT_ARRIVAL: usize = 3;
/// The most of one product that users want.
const QUANTITY_MAX: u64 = 9;
/// How long users think between two steps, at least and at most.
const THINK_MS: std::ops::Range<u64> = 2..12;
/// Steps after which a user leaves even if nobody tells them to.
const STEPS_MAX: usize = 10_000;
/// Looks of the final audit until one is answered.
const AUDIT_TRIES: usize = 3;
/// Notices that are kept in words; the others are only counted.
const NOTICES_KEPT_MAX: usize = 8;

/// The user whose instance is killed.
pub(crate) const FIRST_USER: usize = 0;
/// Stands for "none" among instance numbers, which begin at 1.
const NO_INSTANCE: usize = 0;

/// What all users of a design meet, counted.
#[derive(Default)]
pub(crate) struct Tally {
    requests: AtomicU64,
    failed: AtomicU64,
    signed_out: AtomicU64,
    carts_lost: AtomicU64,
    to_drained: AtomicU64,
    drained: AtomicUsize,
    first_users_instance: AtomicUsize,
    notices: Mutex<Vec<String>>,
    counted: Notify,
}

impl Tally {
    /// Requests that were begun.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Waits until this many requests were begun: the clock that faults go by.
    pub(crate) async fn reached(&self, requests: u64) {
        loop {
            let counted = self.counted.notified();
            if self.requests() >= requests {
                return;
            }
            counted.await;
        }
    }

    pub(crate) fn losses(&self) -> Losses {
        Losses {
            failed: self.failed.load(Ordering::Relaxed),
            signed_out: self.signed_out.load(Ordering::Relaxed),
            carts_lost: self.carts_lost.load(Ordering::Relaxed),
        }
    }

    /// The instance that served the first user's latest answer, from 1.
    pub(crate) fn first_users_instance(&self) -> Option<usize> {
        Some(self.first_users_instance.load(Ordering::Relaxed)).filter(|number| *number != NO_INSTANCE)
    }

    /// From now on, requests that reach this instance (from 1) are counted; `None` ends it.
    pub(crate) fn watch_drained(&self, number: Option<usize>) {
        self.drained.store(number.unwrap_or(NO_INSTANCE), Ordering::Relaxed);
    }

    /// Requests that were begun after an instance was drained, and were answered by it before the drain ended.
    pub(crate) fn to_drained(&self) -> u64 {
        self.to_drained.load(Ordering::Relaxed)
    }

    pub(crate) fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has a user take one step, and counts what came of it.
    pub(crate) async fn count(&self, shopper: &mut Shopper, step: &Step) -> Visit {
        let drained_at_start = self.drained.load(Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.counted.notify_waiters();
        let visit = shopper.take(step).await;
        for notice in &visit.notices {
            let counter = match notice {
                Notice::Failed { .. } => &self.failed,
                Notice::SignedOut { .. } => &self.signed_out,
                Notice::CartLost { .. } => &self.carts_lost,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
            if notices.len() < NOTICES_KEPT_MAX {
                notices.push(format!("{}: {notice}", shopper.name()));
            }
        }
        let number = visit.instance.unwrap_or(NO_INSTANCE);
        // A request may have been begun while the instance was drained and picked after that: only where the drain
        // still holds is it certain that it should have gone elsewhere.
        let drained_at_end = self.drained.load(Ordering::Relaxed);
        if number != NO_INSTANCE && number == drained_at_start && number == drained_at_end {
            self.to_drained.fetch_add(1, Ordering::Relaxed);
        }
        visit
    }
}

/// A user with what they need on their way.
pub(crate) struct Journey {
    pub(crate) index: usize,
    pub(crate) shopper: Shopper,
    pub(crate) random: Random,
    pub(crate) tally: Arc<Tally>,
}

impl Journey {
    /// Logs in and fills the cart.
    pub(crate) async fn arrive(mut self) -> Self {
        self.take(&Step::LogIn).await;
        let first = usize::try_from(self.random.below(PRODUCTS.len() as u64)).unwrap_or(0);
        for product in PRODUCTS.iter().cycle().skip(first).take(PRODUCTS_AT_ARRIVAL) {
            let quantity = self.quantity();
            self.take(&Step::Put { product, quantity }).await;
        }
        self
    }

    /// Shops until told to stop.
    pub(crate) async fn shop(mut self, stopping: watch::Receiver<bool>) -> Self {
        for _ in 0..STEPS_MAX {
            if *stopping.borrow() {
                break;
            }
            let step = self.next_step();
            self.take(&step).await;
            let think_ms = THINK_MS.start + self.random.below(THINK_MS.end - THINK_MS.start);
            tokio::time::sleep(Duration::from_millis(think_ms)).await;
        }
        self
    }

    /// Looks once more at what the shop knows, and again where that look failed.
    pub(crate) async fn audit(mut self) {
        for _ in 0..AUDIT_TRIES {
            if self.take(&Step::Look).await.is_served() {
                return;
            }
        }
    }

    fn next_step(&mut self) -> Step {
        match self.random.below(10) {
            0..2 => Step::Browse,
            2..6 => {
                let product = self.random.pick(&PRODUCTS).copied().unwrap_or(PRODUCTS[0]);
                Step::Put { product, quantity: self.quantity() }
            }
            _ => Step::Look,
        }
    }

    fn quantity(&mut self) -> u8 {
        u8::try_from(1 + self.random.below(QUANTITY_MAX)).unwrap_or(1)
    }

    async fn take(&mut self, step: &Step) -> Visit {
        let visit = self.tally.count(&mut self.shopper, step).await;
        if self.index == FIRST_USER
            && let Some(number) = visit.instance
        {
            self.tally.first_users_instance.store(number, Ordering::Relaxed);
        }
        visit
    }
}
