//! Weighted draws: random, and the better of two.

use super::{Balancer, Candidate, Weights};
use crate::random::{below, mix};

/// Keeps the second draw's randomness apart from the first one's second attempt.
const SECOND_DRAW: u64 = 0x5ec0_0d0d_d1ce_5eed;

impl Balancer {
    /// A member by chance in proportion to weight. `entropy` must be scrambled already.
    ///
    /// If the first draw hits a skipped member, the second is made among the others only; the shares of the others
    /// stay in proportion to their weights.
    pub(super) fn draw(&self, entropy: u64, skip: impl Fn(u32) -> bool) -> Option<usize> {
        let index = match self.weights {
            Weights::Uniform => below(entropy, self.entries.len() as u64) as usize,
            Weights::Mixed => {
                let mark = below(entropy, self.total_weight);
                self.entries.partition_point(|entry| entry.weight_up_to_here <= mark)
            }
        };
        if !skip(self.entries.get(index)?.slot) {
            return Some(index);
        }
        let open_weight =
            self.entries.iter().filter(|entry| !skip(entry.slot)).map(|entry| u64::from(entry.weight)).sum();
        let mut mark = below(mix(entropy), open_weight);
        for (index, entry) in self.entries.iter().enumerate() {
            if skip(entry.slot) {
                continue;
            }
            match mark.checked_sub(u64::from(entry.weight)) {
                Some(rest) => mark = rest,
                None => return Some(index),
            }
        }
        None
    }

    /// The less loaded of two different members; the first drawn if both are idle or equal.
    pub(super) fn pick_of_two(
        &self,
        entropy: u64,
        load: impl Fn(u32) -> u32,
        skip: impl Fn(u32) -> bool,
    ) -> Option<usize> {
        let first = self.draw(entropy, &skip)?;
        let first_slot = self.entries[first].slot;
        let Some(second) = self.draw(mix(entropy ^ SECOND_DRAW), |slot| slot == first_slot || skip(slot)) else {
            return Some(first);
        };
        let candidate = |index: usize| {
            let entry = &self.entries[index];
            Candidate { index, weight: entry.weight, load: load(entry.slot) }
        };
        let (first, second) = (candidate(first), candidate(second));
        let both_idle = first.load == 0 && second.load == 0;
        Some(if !both_idle && second.less_loaded_than(&first) { second.index } else { first.index })
    }
}
