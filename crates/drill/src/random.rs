//! Choices that a seed repeats: whoever sees a surprising report runs the same tour again.

/// Marsaglia's xorshift with a multiplication at the end ("An experimental exploration of Marsaglia's xorshift
/// generators, scrambled", Vigna, 2016). Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The stream numbered `stream` of a seed: each user has their own, so that no user's choices depend on how fast
    /// another one is served.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // Steps of the golden ratio keep neighbouring seeds and streams apart; zero is the one state that xorshift
        // never leaves.
        let mixed = seed.wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self { state: mixed.max(1) }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 where the bound is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: close enough to even for choices this small.
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// One of several; `None` where there are none.
    pub(crate) fn pick<'all, T>(&mut self, all: &'all [T]) -> Option<&'all T> {
        usize::try_from(self.below(all.len() as u64)).ok().and_then(|index| all.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed that does not repeat a tour is decoration; streams that are the same make all users one user.
    #[test]
    fn a_seed_repeats_and_streams_differ() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            (0..20).map(|_| random.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
        assert_ne!(draw(0, 0), vec![0; 20]);
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut random = Random::new(3, 3);
        let seen: std::collections::BTreeSet<_> = (0..1_000).map(|_| random.below(5)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u8>(&[]), None);
    }
}
