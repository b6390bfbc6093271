//! Seeded randomness and counting, shared by the tests.

use std::collections::BTreeMap;

use cloakroom_balance::{Balancer, Member};

/// A seeded stream of random words (xorshift64*, Vigna 2016).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x1234_5671) | 1)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number in `0..bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.word() >> 16) % bound
    }

    /// A number in 0..1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The gap to the next event of a Poisson process.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.fraction()).ln()
    }
}

/// Members at slots 0, 1, 2 ... with these weights.
pub(crate) fn pool(weights: &[u32]) -> Vec<Member> {
    (0..).zip(weights).map(|(slot, &weight)| Member { slot, weight }).collect()
}

/// Picks from an idle pool in which every request is over before the next one comes.
pub(crate) fn idle_picks(balancer: &mut Balancer, picks: usize, random: &mut Random) -> Vec<u32> {
    (0..picks).filter_map(|_| balancer.pick(|_| 0, |_| false, random.word())).collect()
}

pub(crate) fn counts(picks: &[u32]) -> BTreeMap<u32, u64> {
    let mut counts = BTreeMap::new();
    for slot in picks {
        *counts.entry(*slot).or_insert(0) += 1;
    }
    counts
}

/// The longest run of picks of one slot.
pub(crate) fn longest_run(picks: &[u32], slot: u32) -> usize {
    picks.split(|picked| *picked != slot).map(<[u32]>::len).max().unwrap_or(0)
}

/// Two cycles of smooth weighted round robin from nothing owed, by the book: the model that the balancer is held to.
pub(crate) fn two_smooth_cycles(weights: &[u32]) -> Vec<u32> {
    let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
    let mut owed = vec![0_i64; weights.len()];
    let mut picks = Vec::new();
    for _ in 0..2 * total {
        let mut best = 0;
        for (index, &weight) in weights.iter().enumerate() {
            owed[index] += i64::from(weight);
            if owed[index] > owed[best] {
                best = index;
            }
        }
        owed[best] -= total;
        picks.push(best as u32);
    }
    picks
}
