//! Retries: never back to an instance that this request has tried, and never a 503 while another is left.

use std::collections::BTreeSet;

use cloakroom_balance::{Algorithm, Balancer, Member};
use proptest::prelude::*;

use crate::support::{Random, counts, pool};

fn any_members() -> impl Strategy<Value = Vec<Member>> {
    prop::collection::btree_map(0_u32..12, 1_u32..=30, 0..8)
        .prop_map(|members| members.into_iter().map(|(slot, weight)| Member { slot, weight }).collect())
}

proptest! {
    /// A request that failed on one instance and is retried on the same one fails again; one that gets a slot that
    /// left the pool goes nowhere; one that gets none is a 503 that need not be.
    #[test]
    fn every_pick_is_a_member_that_is_not_skipped(
        sets in prop::collection::vec(any_members(), 1..5),
        algorithm in prop::sample::select(&Algorithm::ALL[..]),
        seed: u64,
    ) {
        let mut random = Random::new(seed);
        let mut balancer = Balancer::new(algorithm, &[], seed);
        for members in sets {
            balancer.set_members(&members);
            prop_assert_eq!(balancer.len(), members.len());
            for _ in 0..50 {
                let skipped = random.word();
                let skips = |slot: u32| skipped >> slot & 1 == 1;
                let loads = random.word();
                let load = |slot: u32| (loads >> (4 * slot)) as u32 & 7;
                let open: BTreeSet<u32> = members.iter().map(|member| member.slot).filter(|slot| !skips(*slot)).collect();
                match balancer.pick(load, skips, random.word()) {
                    Some(slot) => prop_assert!(open.contains(&slot), "{slot} of {open:?}"),
                    None => prop_assert!(open.is_empty(), "none of {open:?}"),
                }
            }
        }
    }
}

/// With one instance dead and every request to it retried, its neighbour must not take all the retries: with the
/// turns of a naive cursor it would get twice what the others get.
#[test]
fn retries_are_shared_out() {
    for weights in [[1, 1, 1, 1, 1], [2, 2, 2, 2, 4]] {
        for algorithm in Algorithm::ALL {
            let mut balancer = Balancer::new(algorithm, &pool(&weights), 11);
            let mut random = Random::new(11);
            let mut served = Vec::new();
            for _ in 0..20_000 {
                let first = balancer.pick(|_| 0, |_| false, random.word()).unwrap();
                served.push(match first {
                    2 => balancer.pick(|_| 0, |slot| slot == 2, random.word()).unwrap(),
                    other => other,
                });
            }
            let counts = counts(&served);
            for slot in [0, 1, 3] {
                let others: u32 = weights.iter().sum::<u32>() - weights[2];
                let fair = 20_000 * u64::from(weights[slot as usize]) / u64::from(others);
                assert!(counts[&slot].abs_diff(fair) < fair / 15, "{algorithm} {weights:?}: {counts:?}");
            }
        }
    }
}
