//! Smooth weighted round robin, nginx's method: exact shares per cycle, spread out as evenly as weights allow, where
//! plain weighted round robin would send a heavy member its whole share in one burst.
//!
//! On each pick every member is given its weight, and the one that is then owed most is picked and pays the total.
//! What members are owed therefore always sums to zero.

use super::{Balancer, Entry};
use crate::random::below;

/// The most that a member may be owed, or owe, in requests, after the members changed. The method itself stays
/// within about one; the bound keeps a pool whose members change without pause from piling up debts.
const OWED_REQUESTS_MAX: i64 = 2;

/// The most picks run ahead of the first one to start workers at different places of the cycle.
const HEAD_START_PICKS_MAX: u64 = 256;

impl Balancer {
    /// One step of the method among the members for which `take_part` holds; the others neither earn nor pay.
    pub(super) fn pick_smooth(&mut self, take_part: impl Fn(&Entry) -> bool) -> Option<usize> {
        let mut paid = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if !take_part(entry) {
                continue;
            }
            entry.owed += i64::from(entry.weight);
            paid += i64::from(entry.weight);
            if best.is_none_or(|(_, owed)| entry.owed > owed) {
                best = Some((index, entry.owed));
            }
        }
        let (index, _) = best?;
        self.entries[index].owed -= paid;
        Some(index)
    }

    /// Starts from nothing owed, at a place of the cycle that the seed decides.
    pub(super) fn start_smooth_cycle(&mut self) {
        for entry in &mut self.entries {
            entry.owed = 0;
        }
        let divisor = self.entries.iter().fold(0, |divisor, entry| greatest_common_divisor(divisor, entry.weight));
        let cycle_picks = self.total_weight / u64::from(divisor.max(1));
        for _ in 0..below(self.next_seed(), cycle_picks.min(HEAD_START_PICKS_MAX)) {
            self.pick_smooth(|_| true);
        }
    }

    /// After the members changed: members that stay are owed the same number of requests, now of the new total
    /// weight, and what the members that left were owed goes to all by weight, so that the sum is zero again.
    pub(super) fn rescale_owed(&mut self, weight_before: u64) {
        let total = self.total_weight as i64;
        let total_before = (weight_before as i64).max(1);
        let owed_max = OWED_REQUESTS_MAX * total;
        for entry in &mut self.entries {
            entry.owed = (entry.owed * total / total_before).clamp(-owed_max, owed_max);
        }
        let surplus: i64 = self.entries.iter().map(|entry| entry.owed).sum();
        let mut left = surplus;
        for entry in &mut self.entries {
            let part = surplus * i64::from(entry.weight) / total;
            entry.owed -= part;
            left -= part;
        }
        if let Some(first) = self.entries.first_mut() {
            first.owed -= left;
        }
    }
}

fn greatest_common_divisor(left: u32, right: u32) -> u32 {
    if right == 0 { left } else { greatest_common_divisor(right, left % right) }
}
