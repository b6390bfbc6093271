//! How long to wait before a crashed instance is started again. Pure: the caller says how long it lived, and brings the
//! seed of the jitter.

use std::time::Duration;

/// Doublings after which any sensible `backoff_min` has passed any sensible `backoff_max`; keeps the shift in range.
const DOUBLINGS_MAX: u32 = 31;

/// The share of a delay that jitter may take away, as a divisor: a quarter. Instances that crashed together, because
/// the database they share went away, thereby do not come back together.
const JITTER_DIVISOR: u32 = 4;

/// Doubles with every quick crash, and starts over once an instance has settled.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    settled: Duration,
    quick_crashes: u32,
}

impl Backoff {
    /// Delays from `min` up to `max` (or up to `min`, should that be longer); a life of `settled` starts over.
    pub fn new(min: Duration, max: Duration, settled: Duration) -> Self {
        Self { min, max: max.max(min), settled, quick_crashes: 0 }
    }

    /// The delay after a crash of an instance that had `lived` so long. At most a quarter shorter than
    /// `min * 2^(quick crashes before this one)`, and never longer than `max`.
    pub fn after_crash(&mut self, lived: Duration, seed: u64) -> Duration {
        if lived >= self.settled {
            self.quick_crashes = 0;
        }
        let doublings = self.quick_crashes.min(DOUBLINGS_MAX);
        self.quick_crashes = self.quick_crashes.saturating_add(1);
        let whole = self.min.saturating_mul(1 << doublings).min(self.max);
        let share = (scramble(seed) >> 32) as f64 / f64::from(u32::MAX);
        whole - (whole / JITTER_DIVISOR).mul_f64(share)
    }

    /// Forgets all crashes, because somebody asked for a fresh start.
    pub fn reset(&mut self) {
        self.quick_crashes = 0;
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): close
/// seeds, such as neighbouring process ids, give distant values.
fn scramble(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIN: Duration = Duration::from_millis(200);
    const MAX: Duration = Duration::from_secs(10);
    const SETTLED: Duration = Duration::from_secs(10);
    const QUICK: Duration = Duration::from_millis(30);

    fn near(delay: Duration, whole_ms: u64) -> bool {
        let whole = Duration::from_millis(whole_ms);
        delay <= whole && delay >= whole * 3 / 4
    }

    /// An instance that cannot start would otherwise be started hundreds of times a second.
    #[test]
    fn quick_crashes_double_the_delay_up_to_the_maximum() {
        let mut backoff = Backoff::new(MIN, MAX, SETTLED);
        for whole_ms in [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000] {
            let delay = backoff.after_crash(QUICK, whole_ms);
            assert!(near(delay, whole_ms), "{delay:?} is not about {whole_ms} ms");
        }
    }

    /// An instance that crashes once a day would otherwise wait longer every day.
    #[test]
    fn a_settled_life_starts_over() {
        let mut backoff = Backoff::new(MIN, MAX, SETTLED);
        for seed in 0..5 {
            backoff.after_crash(QUICK, seed);
        }
        assert!(near(backoff.after_crash(SETTLED, 5), 200));
        assert!(near(backoff.after_crash(QUICK, 6), 400));
        backoff.reset();
        assert!(near(backoff.after_crash(QUICK, 7), 200));
    }

    /// Instances with neighbouring process ids that crashed together would otherwise come back together.
    #[test]
    fn neighbouring_seeds_give_different_delays() {
        let delays: std::collections::BTreeSet<_> =
            (4_000..4_016).map(|pid| Backoff::new(MIN, MAX, SETTLED).after_crash(QUICK, pid)).collect();
        assert_eq!(delays.len(), 16);
    }

    proptest! {
        /// Extreme settings would otherwise overflow the arithmetic and take the gateway down with the instance.
        #[test]
        fn every_delay_is_within_its_bounds(
            min in any::<Duration>(), max in any::<Duration>(), lives in prop::collection::vec(any::<(Duration, u64)>(), 1..50)
        ) {
            let mut backoff = Backoff::new(min, max, SETTLED);
            for (lived, seed) in lives {
                let delay = backoff.after_crash(lived, seed);
                prop_assert!(delay <= max.max(min));
                // f64 arithmetic on extreme durations is exact to about one part in 2^52.
                prop_assert!(delay >= min / 4 * 2);
            }
        }
    }
}
