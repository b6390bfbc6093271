//! Members that come and go: deployments, flapping probes, ejections.

use cloakroom_balance::{Algorithm, Balancer, Member};
use proptest::prelude::*;

use crate::support::{Random, counts, idle_picks, longest_run, pool, two_smooth_cycles};

/// How far from its fair share a member may be in any stretch after a change, in requests.
const DEVIATION_MAX: f64 = 2.0;

/// How much longer a run may be after a change than any in the undisturbed cycle.
const RUN_EXCESS_MAX: usize = 1;

proptest! {
    /// A member that returns with a debt to collect would get it in one burst, just when its caches are cold; and one
    /// that leaves must not make its neighbour inherit its turns.
    #[test]
    fn removal_and_return_cause_no_burst(
        weights in prop::collection::vec(1_u32..=20, 2..8),
        seed: u64,
        before in 0_usize..60,
        between in 0_usize..60,
        rounds in 1_usize..6,
        victim: prop::sample::Index,
    ) {
        let members = pool(&weights);
        let victim = victim.index(members.len());
        let mut without = members.clone();
        without.remove(victim);
        let total: u32 = weights.iter().sum();
        let model = two_smooth_cycles(&weights);
        let mut random = Random::new(seed);
        for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections] {
            let mut balancer = Balancer::new(algorithm, &members, seed);
            for _ in 0..rounds {
                idle_picks(&mut balancer, before, &mut random);
                balancer.set_members(&without);
                idle_picks(&mut balancer, between, &mut random);
                balancer.set_members(&members);
            }
            let picks = idle_picks(&mut balancer, 3 * total as usize, &mut random);
            for member in &members {
                let mut found = 0;
                for (position, picked) in picks.iter().enumerate() {
                    found += u32::from(*picked == member.slot);
                    let fair = (position + 1) as f64 * f64::from(member.weight) / f64::from(total);
                    prop_assert!(
                        (f64::from(found) - fair).abs() <= DEVIATION_MAX,
                        "{algorithm}: {member:?} has {found} instead of {fair} in {picks:?}"
                    );
                }
                let run_max = longest_run(&model, member.slot) + RUN_EXCESS_MAX;
                let run = longest_run(&picks, member.slot);
                prop_assert!(
                    run <= run_max,
                    "{algorithm}: {member:?} has a run of {run} in {picks:?}"
                );
            }
        }
    }

    /// A member whose probes flap between any two requests must not draw more than its share with each return.
    #[test]
    fn a_flapping_member_gets_no_more_than_its_share(members in 2_u32..8, seed: u64, period in 1_usize..20) {
        let all = pool(&vec![1; members as usize]);
        let without = &all[1..];
        let mut random = Random::new(seed);
        for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections] {
            let mut balancer = Balancer::new(algorithm, &all, seed);
            let mut picks = Vec::new();
            for _ in 0..100 {
                balancer.set_members(without);
                balancer.set_members(&all);
                picks.extend(idle_picks(&mut balancer, period, &mut random));
            }
            let flapping = counts(&picks).get(&0).copied().unwrap_or(0) as usize;
            prop_assert!(flapping <= picks.len() / members as usize + 2, "{algorithm}: {flapping} of {}", picks.len());
        }
    }

    /// Slow start raises a weight in steps; each step must keep everyone's place.
    #[test]
    fn a_rising_weight_gives_the_rising_share(steps in 2_u32..20, seed: u64) {
        let mut random = Random::new(seed);
        let at = |weight| [100, 100, weight].iter().zip(0..).map(|(&weight, slot)| Member { slot, weight }).collect::<Vec<_>>();
        let mut balancer = Balancer::new(Algorithm::RoundRobin, &at(1), seed);
        let mut found = 0;
        let mut fair = 0.0;
        for step in 1..steps {
            let weight = 100 * step / steps;
            balancer.set_members(&at(weight.max(1)));
            let picks = idle_picks(&mut balancer, 20, &mut random);
            found += counts(&picks).get(&2).copied().unwrap_or(0);
            fair += 20.0 * f64::from(weight.max(1)) / f64::from(200 + weight.max(1));
            prop_assert!((found as f64 - fair).abs() <= DEVIATION_MAX, "step {step}: {found} instead of {fair}");
        }
    }
}

/// When the one large instance leaves, a small one that was picked just before still owes a whole turn of the large
/// pool: taken over as it is, that debt would keep it idle for a hundred requests of the small one.
#[test]
fn a_debt_to_a_heavy_member_does_not_outlive_it() {
    let members = pool(&[1000, 10, 11]);
    for lead in 0..250 {
        let mut balancer = Balancer::new(Algorithm::RoundRobin, &members, lead);
        idle_picks(&mut balancer, lead as usize, &mut Random::new(0));
        balancer.set_members(&members[1..]);
        let counts = counts(&idle_picks(&mut balancer, 21, &mut Random::new(0)));
        assert!(counts[&1].abs_diff(10) <= 2, "after {lead}: {counts:?}");
    }
}

/// An instance that restarts has nothing in flight, and every other has fifty: it would get the next fifty requests
/// in a row, cold.
#[test]
fn a_newcomer_to_a_busy_pool_is_not_rushed() {
    for (algorithm, run_max) in [(Algorithm::LeastConnections, 1), (Algorithm::TwoChoices, 8)] {
        let members = pool(&[1; 5]);
        let mut balancer = Balancer::new(algorithm, &members[1..], 5);
        balancer.set_members(&members);
        let mut load = [0, 50, 50, 50, 50];
        let mut random = Random::new(5);
        let mut picks = Vec::new();
        for _ in 0..1_000 {
            let slot = balancer.pick(|slot| load[slot as usize], |_| false, random.word()).unwrap();
            load[slot as usize] += 1;
            picks.push(slot);
        }
        let early = counts(&picks[..50])[&0];
        assert!((12..=26).contains(&early), "{algorithm}: {early} of the first 50, twice the share is 20");
        assert!(longest_run(&picks, 0) <= run_max, "{algorithm}: {picks:?}");
        assert!(load[0].abs_diff(load[1]) <= 3, "{algorithm}: it catches up in the end: {load:?}");
    }
}

/// Two instances, one of which returns: holding it to its share must not keep it from work when the other is skipped
/// or all are new.
#[test]
fn a_newcomer_is_picked_where_there_is_no_other() {
    let members = pool(&[1, 1]);
    let mut balancer = Balancer::new(Algorithm::LeastConnections, &members[..1], 0);
    balancer.set_members(&members);
    assert_eq!(balancer.pick(|_| 9, |slot| slot == 0, 0), Some(1));
    balancer.set_members(&[Member { slot: 7, weight: 1 }]);
    assert_eq!(balancer.pick(|_| 0, |_| false, 0), Some(7));
    assert_eq!(balancer.pick(|_| 0, |_| false, 0), Some(7));
}

/// A pool that empties and fills again, over and over, must not begin with the same member each time.
#[test]
fn a_pool_that_refills_starts_elsewhere() {
    for weights in [[1; 6], [1, 1, 1, 1, 1, 2]] {
        let members = pool(&weights);
        let mut balancer = Balancer::new(Algorithm::RoundRobin, &members, 1);
        let mut firsts = Vec::new();
        for _ in 0..60 {
            balancer.set_members(&[]);
            assert!(balancer.is_empty() && balancer.pick(|_| 0, |_| false, 0).is_none());
            balancer.set_members(&members);
            firsts.extend(balancer.pick(|_| 0, |_| false, 0));
        }
        assert!(counts(&firsts).len() >= 5, "{firsts:?}");
    }
}

/// Two entries for one slot, by a mistake in discovery, must not double its share.
#[test]
fn a_slot_given_twice_counts_once() {
    let twice = [Member { slot: 1, weight: 1 }, Member { slot: 0, weight: 1 }, Member { slot: 1, weight: 9 }];
    let mut balancer = Balancer::new(Algorithm::RoundRobin, &twice, 0);
    assert_eq!(balancer.len(), 2);
    let counts = counts(&idle_picks(&mut balancer, 10, &mut Random::new(0)));
    assert_eq!((counts[&0], counts[&1]), (5, 5));
}
