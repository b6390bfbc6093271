//! A pool under load with one instance that fails at once, event by event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use cloakroom_balance::{Algorithm, Balancer, FailureEcho};

use crate::support::{Random, pool};

const INSTANCES: usize = 5;
const BROKEN: u32 = 2;
/// A refused connection.
const FAILURE_TIME_MS: u64 = 1;
const SERVICE_TIME_MS_MEAN: f64 = 80.0;
const DURATION_MS: u64 = 120_000;

#[derive(Debug, Clone, Copy)]
enum Echo {
    On,
    Off,
}

/// What came of one run.
#[derive(Debug)]
struct Seen {
    requests: u64,
    to_broken: u64,
    /// Of those in the second half, when the instance works again.
    to_mended: u64,
    mended_requests: u64,
}

impl Seen {
    /// 1 is what each instance of an even pool gets.
    fn broken_share(&self) -> f64 {
        self.to_broken as f64 / self.requests as f64 * INSTANCES as f64
    }

    fn mended_share(&self) -> f64 {
        self.to_mended as f64 / self.mended_requests as f64 * INSTANCES as f64
    }
}

/// Poisson arrivals, exponential service times; instance [`BROKEN`] fails at once for the first half and works in
/// the second, of which the first quarter is left out as the time it takes to be trusted again.
fn run(algorithm: Algorithm, echo: Echo, arrival_ms_mean: f64, seed: u64) -> Seen {
    let mut random = Random::new(seed);
    let mut balancer = Balancer::new(algorithm, &pool(&[1; INSTANCES]), seed);
    let echoes: [FailureEcho; INSTANCES] = Default::default();
    let mut in_flight = [0_u32; INSTANCES];
    let mut endings: BinaryHeap<Reverse<(u64, u32, bool)>> = BinaryHeap::new();
    let mut seen = Seen { requests: 0, to_broken: 0, to_mended: 0, mended_requests: 0 };
    let mut arrival_ms = 0.0;
    while arrival_ms < DURATION_MS as f64 {
        arrival_ms += random.exponential(arrival_ms_mean);
        let now_ms = arrival_ms as u64;
        while let Some(&Reverse((end_ms, slot, failed))) = endings.peek()
            && end_ms <= now_ms
        {
            endings.pop();
            in_flight[slot as usize] -= 1;
            if failed {
                echoes[slot as usize].record_failure(end_ms);
            }
        }
        let load = |slot: u32| {
            let penalty = match echo {
                Echo::On => echoes[slot as usize].penalty(now_ms),
                Echo::Off => 0,
            };
            in_flight[slot as usize] + penalty
        };
        let Some(slot) = balancer.pick(load, |_| false, random.word()) else {
            continue;
        };
        let broken_now = now_ms < DURATION_MS / 2;
        let failed = broken_now && slot == BROKEN;
        let time_ms = match failed {
            true => FAILURE_TIME_MS,
            false => 1 + random.exponential(SERVICE_TIME_MS_MEAN) as u64,
        };
        in_flight[slot as usize] += 1;
        endings.push(Reverse((now_ms + time_ms, slot, failed)));
        if broken_now {
            seen.requests += 1;
            seen.to_broken += u64::from(slot == BROKEN);
        } else if now_ms > DURATION_MS * 5 / 8 {
            seen.mended_requests += 1;
            seen.to_mended += u64::from(slot == BROKEN);
        }
    }
    seen
}

/// From one request in flight per instance to forty.
const ARRIVALS_MS_MEAN: [f64; 3] = [16.0, 4.0, 0.4];

/// One instance of five that refuses connections has nothing in flight, so both algorithms send it the traffic, and
/// most requests fail though four instances are well. The echo must turn that into a trickle, and end when the
/// instance works again.
#[test]
fn an_instance_that_fails_fast_does_not_attract_traffic() {
    for algorithm in [Algorithm::LeastConnections, Algorithm::TwoChoices] {
        for arrival_ms_mean in ARRIVALS_MS_MEAN {
            for seed in 0..3 {
                let seen = run(algorithm, Echo::On, arrival_ms_mean, seed);
                let context = format!("{algorithm}, a request each {arrival_ms_mean} ms, seed {seed}: {seen:?}");
                assert!(seen.broken_share() < 0.5, "{context}");
                assert!(seen.to_broken > 0, "a trickle must notice the recovery: {context}");
                assert!((0.85..1.15).contains(&seen.mended_share()), "{context}");
            }
        }
    }
}

/// The same pool without the echo: if this did not fail, the test above would prove nothing.
#[test]
fn without_the_echo_it_does() {
    for arrival_ms_mean in ARRIVALS_MS_MEAN {
        for seed in 0..3 {
            let least = run(Algorithm::LeastConnections, Echo::Off, arrival_ms_mean, seed);
            assert!(least.broken_share() > 1.5, "least connections, {arrival_ms_mean} ms, seed {seed}: {least:?}");
            let two = run(Algorithm::TwoChoices, Echo::Off, arrival_ms_mean, seed);
            assert!(two.broken_share() > 1.2, "two choices, {arrival_ms_mean} ms, seed {seed}: {two:?}");
        }
    }
}
