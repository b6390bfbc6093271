//! Shares follow weights.

use cloakroom_balance::{Algorithm, Balancer, Member};
use proptest::prelude::*;

use crate::support::{Random, counts, idle_picks, pool, two_smooth_cycles};

/// An instance of half the size that gets as much as the others is overrun; a large one that gets all of a quiet
/// pool's traffic leaves the others' caches cold. Chi-square: above the bound in one of a million fair runs.
#[test]
fn shares_of_an_idle_pool_match_weights() {
    const PICKS: usize = 60_000;
    for weights in [vec![1; 5], vec![1, 2, 3], vec![1000, 500, 250, 250, 1], vec![7, 7, 7, 1]] {
        let total: u32 = weights.iter().sum();
        for algorithm in Algorithm::ALL {
            for seed in 0..5 {
                let mut balancer = Balancer::new(algorithm, &pool(&weights), seed);
                let counts = counts(&idle_picks(&mut balancer, PICKS, &mut Random::new(seed)));
                let chi_square: f64 = (0..)
                    .zip(&weights)
                    .map(|(slot, &weight)| {
                        let expected = PICKS as f64 * f64::from(weight) / f64::from(total);
                        let found = counts.get(&slot).copied().unwrap_or(0) as f64;
                        (found - expected).powi(2) / expected
                    })
                    .sum();
                assert!(chi_square < 33.4, "{algorithm} {weights:?} seed {seed}: {chi_square} of {counts:?}");
            }
        }
    }
}

/// Under load, least connections must fill members in proportion to their weights, or the small ones time out first.
#[test]
fn shares_of_a_loaded_pool_match_weights() {
    let weights = [1, 2, 3, 4];
    for algorithm in [Algorithm::LeastConnections, Algorithm::TwoChoices] {
        let mut balancer = Balancer::new(algorithm, &pool(&weights), 3);
        let mut random = Random::new(3);
        let mut in_flight = Vec::new();
        let mut load = [0_u32; 4];
        let mut picked = [0_u32; 4];
        for _ in 0..100_000 {
            if in_flight.len() == 200 {
                let done: u32 = in_flight.swap_remove(random.below(200) as usize);
                load[done as usize] -= 1;
            }
            let slot = balancer.pick(|slot| load[slot as usize], |_| false, random.word()).unwrap();
            load[slot as usize] += 1;
            picked[slot as usize] += 1;
            in_flight.push(slot);
        }
        for (picked, weight) in picked.iter().zip(weights) {
            let expected = weight * 10_000;
            assert!(picked.abs_diff(expected) < expected / 20, "{algorithm}: {picked} instead of {expected}");
        }
    }
}

/// Long polls pile up: if one member had two requests more per weight than another, it would be the one to run out of
/// workers first.
#[test]
fn least_connections_keeps_long_requests_within_one_per_weight() {
    for weights in [vec![1, 1, 1, 1], vec![1, 2, 3], vec![10, 1, 4, 4]] {
        let members = pool(&weights);
        let mut balancer = Balancer::new(Algorithm::LeastConnections, &members, 9);
        let mut load = vec![0_u32; weights.len()];
        for _ in 0..500 {
            let slot = balancer.pick(|slot| load[slot as usize], |_| false, 0).unwrap();
            load[slot as usize] += 1;
            let per_weight = |member: &Member| f64::from(load[member.slot as usize]) / f64::from(member.weight);
            let most = members.iter().map(per_weight).fold(0.0, f64::max);
            let least = members.iter().map(per_weight).fold(f64::MAX, f64::min);
            assert!(most - least <= 1.0, "{weights:?}: {load:?}");
        }
    }
}

/// A thousand browsers that open one long connection each must not end up with a hundred more on one instance than on
/// another, which random draws bring about.
#[test]
fn two_choices_stays_far_below_the_maximum_of_random() {
    const MEMBERS: usize = 200;
    const PER_MEMBER: u32 = 100;
    let excess = |algorithm: Algorithm, seed: u64| {
        let mut balancer = Balancer::new(algorithm, &pool(&[1; MEMBERS]), seed);
        let mut random = Random::new(seed);
        let mut load = vec![0_u32; MEMBERS];
        for _ in 0..MEMBERS as u32 * PER_MEMBER {
            let slot = balancer.pick(|slot| load[slot as usize], |_| false, random.word()).unwrap();
            load[slot as usize] += 1;
        }
        load.into_iter().max().unwrap() - PER_MEMBER
    };
    for seed in 0..5 {
        let (random, two_choices) = (excess(Algorithm::Random, seed), excess(Algorithm::TwoChoices, seed));
        assert!(random >= 15 && two_choices <= 4, "seed {seed}: excess {random} and {two_choices}");
    }
}

/// Several workers that all begin with the first instance would hit it, then the second, and so on, all at once.
#[test]
fn workers_start_at_different_members() {
    for weights in [vec![1; 8], vec![3, 2, 2, 1, 1, 1, 1, 1]] {
        let firsts = (0..64).map(|seed| {
            let mut balancer = Balancer::new(Algorithm::RoundRobin, &pool(&weights), seed);
            balancer.pick(|_| 0, |_| false, 0).unwrap()
        });
        let distinct = counts(&firsts.collect::<Vec<_>>()).len();
        assert!(distinct >= 5, "{weights:?}: only {distinct} members come first");
    }
}

/// The example by which the method was introduced: weights 5, 1, 1 give a b and a c between the a's, never aaaaabc.
#[test]
fn smooth_round_robin_spreads_the_heavy_member_out() {
    for seed in 0..20 {
        let mut balancer = Balancer::new(Algorithm::RoundRobin, &pool(&[5, 1, 1]), seed);
        let cycle: String = idle_picks(&mut balancer, 7, &mut Random::new(0))
            .into_iter()
            .map(|slot| char::from(b"abc"[slot as usize]))
            .collect();
        assert!("aabacaaaabacaa".contains(&cycle), "seed {seed}: {cycle}");
    }
}

/// A typing mistake in a weight must neither starve an instance nor divide by zero.
#[test]
fn weights_out_of_range_are_brought_into_it() {
    let members = [Member { slot: 0, weight: 0 }, Member { slot: 1, weight: u32::MAX }];
    let mut balancer = Balancer::new(Algorithm::RoundRobin, &members, 0);
    let counts = counts(&idle_picks(&mut balancer, 1001, &mut Random::new(0)));
    assert_eq!((counts[&0], counts[&1]), (1, 1000));
}

#[test]
fn names_are_read_as_they_are_written() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
    }
    let error = "least-conn".parse::<Algorithm>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown algorithm \"least-conn\": known are round-robin, least-connections, random and two-choices"
    );
}

proptest! {
    /// A cycle that is off by one drifts: after a day of traffic a member would be thousands of requests short. Every
    /// stretch as long as a cycle must be the model's cycle, begun somewhere.
    #[test]
    fn round_robin_is_exact_in_every_cycle(
        weights in prop::collection::vec(1_u32..=20, 1..8),
        seed: u64,
        lead in 0_usize..200,
    ) {
        let cycle = weights.iter().sum::<u32>() as usize;
        let model = two_smooth_cycles(&weights);
        let mut random = Random::new(0);
        for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections] {
            let mut balancer = Balancer::new(algorithm, &pool(&weights), seed);
            idle_picks(&mut balancer, lead, &mut random);
            let picks = idle_picks(&mut balancer, cycle, &mut random);
            for (slot, weight) in (0..).zip(&weights) {
                prop_assert_eq!(counts(&picks)[&slot], u64::from(*weight), "{} {:?}", algorithm, picks);
            }
            prop_assert!(model.windows(cycle).any(|window| window == picks), "{algorithm}: {picks:?} of {model:?}");
        }
    }
}
