//! Least connections, with rotation among equals and a pace for newcomers.

use super::{Balancer, Candidate, Entry, Weights};

/// How many times its share a newcomer may get while it catches up: what two choices would give it.
const NEWCOMER_SHARE_MAX: u64 = 2;

/// Whether a member takes part freely. One that joined a running pool has nothing in flight, and would draw every
/// request until its load equals the others': a thundering herd onto caches and connection pools that are cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Picked whenever it is the least loaded.
    Settled,
    /// Picked only once it has saved enough credit, which it earns with every pick of the pool.
    Newcomer { credit: u64 },
}

impl Balancer {
    pub(super) fn pick_least(&mut self, load: impl Fn(u32) -> u32, skip: impl Fn(u32) -> bool) -> Option<usize> {
        if self.newcomers > 0 {
            self.credit_newcomers();
        }
        let price = price_of_a_pick(self.total_weight);
        let mut best: Option<Candidate> = None;
        let mut best_held_back: Option<Candidate> = None;
        // Starting behind the last pick and replacing only by better ones makes equals take turns.
        for index in (self.cursor..self.entries.len()).chain(0..self.cursor) {
            let entry = &self.entries[index];
            if skip(entry.slot) {
                continue;
            }
            let candidate = Candidate { index, weight: entry.weight, load: load(entry.slot) };
            let rival = if entry.held_back(price) { &mut best_held_back } else { &mut best };
            if rival.is_none_or(|rival| candidate.less_loaded_than(&rival)) {
                *rival = Some(candidate);
            }
        }
        let chosen = best.or(best_held_back)?;
        let index = if self.weights == Weights::Mixed && chosen.load == 0 {
            // Newcomers take part: the method itself keeps them from a burst.
            let idle = |entry: &Entry| !skip(entry.slot) && load(entry.slot) == 0;
            self.pick_smooth(idle).unwrap_or(chosen.index)
        } else {
            chosen.index
        };
        self.cursor = self.wrap(index + 1);
        if self.newcomers > 0 {
            self.settle_newcomers(index, price, skip);
        }
        Some(index)
    }

    /// Credit per pick is the member's weight times [`NEWCOMER_SHARE_MAX`], but not above half the price, so that two
    /// picks in a row never happen, unless the weight alone demands it. All figures are doubled to stay whole.
    fn credit_newcomers(&mut self) {
        let price = price_of_a_pick(self.total_weight);
        for entry in &mut self.entries {
            if let Pace::Newcomer { credit } = &mut entry.pace {
                let fair = 2 * u64::from(entry.weight);
                let earned = fair.max((fair * NEWCOMER_SHARE_MAX).min(self.total_weight));
                *credit = (*credit + earned).min(price + earned - 1);
            }
        }
    }

    /// A newcomer that was free to be picked and was not the least loaded has caught up.
    fn settle_newcomers(&mut self, picked: usize, price: u64, skip: impl Fn(u32) -> bool) {
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let Pace::Newcomer { credit } = &mut entry.pace else {
                continue;
            };
            if index == picked {
                *credit = credit.saturating_sub(price);
            } else if *credit >= price && !skip(entry.slot) {
                entry.pace = Pace::Settled;
                self.newcomers -= 1;
            }
        }
    }
}

impl Entry {
    fn held_back(&self, price: u64) -> bool {
        matches!(self.pace, Pace::Newcomer { credit } if credit < price)
    }
}

fn price_of_a_pick(total_weight: u64) -> u64 {
    2 * total_weight
}
