//! Hysteresis, ejection, panic mode and the echo.

use cloakroom_balance::{
    ActiveHealth, Availability, Change, Ejection, FAILURE_ECHO_HALF_LIFE_MS, FAILURE_ECHO_MAX, FailureEcho, Health,
    Member, Mode, Outcome, Outlier, OutlierSettings, PANIC_THRESHOLD_PERCENT, Thresholds, eligible,
    next_check_delay_ms,
};
use proptest::prelude::*;

const HALF_LIFE_MS: u64 = FAILURE_ECHO_HALF_LIFE_MS as u64;

/// Probes as `+` and `-` give changes as `U` and `D`, with rise 2 and fall 3.
fn check_probes(start: Health, probes: &str, expected: &str) {
    let mut health = ActiveHealth::new(start);
    let thresholds = Thresholds { rise: 2, fall: 3 };
    let changes: String = probes
        .chars()
        .map(|probe| match health.observe(probe == '+', &thresholds) {
            None => '.',
            Some(Change::WentUp) => 'U',
            Some(Change::WentDown) => 'D',
        })
        .collect();
    assert_eq!(changes, expected, "{start:?} {probes}");
}

/// An instance that one lost probe takes out, and one lucky probe brings back, changes twice a minute and takes its
/// users' pins with it.
#[test]
fn single_probes_change_nothing() {
    check_probes(Health::Up, "+--+--+", ".......");
    check_probes(Health::Up, "---", "..D");
    check_probes(Health::Up, "--+---++", ".....D.U");
    check_probes(Health::Down, "+-+-+-", "......");
    check_probes(Health::Down, "++", ".U");
    check_probes(Health::Down, "-------++---", "........U..D");
}

#[test]
fn a_threshold_of_zero_is_one() {
    let none = Thresholds { rise: 0, fall: 0 };
    let mut health = ActiveHealth::new(Health::Up);
    assert_eq!(health.observe(false, &none), Some(Change::WentDown));
    assert_eq!(health.observe(true, &none), Some(Change::WentUp));
    assert_eq!(health.health(), Health::Up);
}

const BASE_MS: u64 = 10_000;

/// Five failures at this time, and what they lead to.
fn fail(outlier: &mut Outlier, now_ms: u64, settings: &OutlierSettings) -> Option<Ejection> {
    (0..5).filter_map(|_| outlier.observe(Outcome::Failure, now_ms, 0, 10, settings)).next()
}

/// One error in a thousand is normal; five in a row are not.
#[test]
fn only_failures_in_a_row_eject() {
    let settings = OutlierSettings::default();
    let mut outlier = Outlier::default();
    for _ in 0..10 {
        for _ in 0..4 {
            assert_eq!(outlier.observe(Outcome::Failure, 5, 0, 10, &settings), None);
        }
        assert_eq!(outlier.observe(Outcome::Success, 5, 0, 10, &settings), None);
    }
    assert_eq!(fail(&mut outlier, 5, &settings), Some(Ejection { until_ms: 5 + BASE_MS }));
    assert!(outlier.is_ejected(5) && outlier.is_ejected(4 + BASE_MS) && !outlier.is_ejected(5 + BASE_MS));
    assert_eq!(fail(&mut outlier, 6, &settings), None, "leftovers of requests sent before");
}

/// A broken instance that returns every ten seconds costs five requests each time; one that was broken once, last
/// week, must not be sent away for minutes.
#[test]
fn ejections_grow_are_capped_and_are_forgiven() {
    let settings = OutlierSettings::default();
    let mut outlier = Outlier::default();
    let mut now_ms = 0;
    for ejection in 1..=40 {
        let until_ms = fail(&mut outlier, now_ms, &settings).unwrap().until_ms;
        assert_eq!(until_ms - now_ms, (BASE_MS * ejection).min(300_000));
        now_ms = until_ms;
    }
    assert_eq!(outlier.ejections(now_ms, &settings), 40);
    now_ms += 3 * BASE_MS * 38;
    assert_eq!(outlier.ejections(now_ms, &settings), 2);
    let until_ms = fail(&mut outlier, now_ms, &settings).unwrap().until_ms;
    assert_eq!(until_ms - now_ms, 3 * BASE_MS);
    assert_eq!(outlier.ejections(until_ms + 1_000_000, &settings), 0);
}

/// A fault behind all instances, such as a database, makes all of them fail. Ejecting them one after the other turns
/// an outage of one feature into one of the whole pool.
#[test]
fn the_cap_holds_and_small_pools_may_lose_one() {
    let ejects = |ejected_now, members, max_ejected_percent| {
        let settings = OutlierSettings { consecutive_failures: 1, max_ejected_percent, ..OutlierSettings::default() };
        Outlier::default().observe(Outcome::Failure, 0, ejected_now, members, &settings).is_some()
    };
    for (ejected_now, members, percent, expected) in [
        (0, 10, 50, true),
        (4, 10, 50, true),
        (5, 10, 50, false),
        (0, 3, 50, true),
        (1, 3, 50, false),
        (0, 3, 30, false),
        (0, 2, 50, true),
        (0, 2, 10, true),
        (1, 2, 100, false),
        (0, 1, 100, false),
        (0, 2, 0, false),
        (9, 10, 100, false),
        (8, 10, 100, true),
    ] {
        assert_eq!(ejects(ejected_now, members, percent), expected, "{ejected_now} of {members} at {percent} %");
    }
}

/// Where the cap forbids an ejection, the instance goes as soon as there is room, not five failures later.
#[test]
fn an_ejection_that_the_cap_forbade_is_made_up_for() {
    let settings = OutlierSettings::default();
    let mut outlier = Outlier::default();
    for _ in 0..7 {
        assert_eq!(outlier.observe(Outcome::Failure, 0, 5, 10, &settings), None);
    }
    assert!(outlier.observe(Outcome::Failure, 0, 4, 10, &settings).is_some());
    let never = OutlierSettings { consecutive_failures: 0, ..settings };
    assert_eq!(fail(&mut Outlier::default(), 0, &never), None);
}

/// States as letters: `u`p, `d`raining, `x` down, `e`jected. The result names the slots.
fn check_eligible(states: &str, threshold_percent: u32, expected: (&str, Mode)) {
    let members: Vec<(Member, Availability)> = (0..)
        .zip(states.chars())
        .map(|(slot, state)| {
            let availability = match state {
                'u' => Availability::Up,
                'd' => Availability::Draining,
                'x' => Availability::Down,
                _ => Availability::Ejected,
            };
            (Member { slot, weight: 1 }, availability)
        })
        .collect();
    let eligible = eligible(&members, threshold_percent);
    let slots: String = eligible.members.iter().map(|member| member.slot.to_string()).collect();
    assert_eq!((slots.as_str(), eligible.mode), expected, "{states} at {threshold_percent} %");
}

/// With nine of ten instances marked down by a broken probe, the tenth gets ten times its traffic and dies too.
#[test]
fn panic_mode_uses_what_is_there_except_what_drains() {
    const DEFAULT: u32 = PANIC_THRESHOLD_PERCENT;
    check_eligible("uuu", DEFAULT, ("012", Mode::Normal));
    check_eligible("uxe", DEFAULT, ("0", Mode::Normal));
    check_eligible("uxeu", DEFAULT, ("03", Mode::Normal));
    check_eligible("uxex", DEFAULT, ("0123", Mode::Panic));
    check_eligible("uxexd", DEFAULT, ("0123", Mode::Panic));
    check_eligible("uddd", DEFAULT, ("0", Mode::Normal));
    check_eligible("xddd", DEFAULT, ("0", Mode::Panic));
    check_eligible("uuuxxxxxxx", DEFAULT, ("012", Mode::Normal));
    check_eligible("ddd", DEFAULT, ("", Mode::Normal));
    check_eligible("", DEFAULT, ("", Mode::Normal));
    check_eligible("xe", 0, ("", Mode::Normal));
    check_eligible("ux", 100, ("01", Mode::Panic));
    check_eligible("uu", 1_000, ("01", Mode::Normal));
}

/// Penalties that never end would keep an instance out long after it recovered.
#[test]
fn an_echo_halves_and_ends() {
    let echo = FailureEcho::default();
    assert_eq!(echo.penalty(0), 0);
    for _ in 0..64 {
        echo.record_failure(1_000);
    }
    let after = |half_lives: u64| 1_000 + half_lives * HALF_LIFE_MS;
    let penalties: Vec<u32> = (0..9).map(|half_lives| echo.penalty(after(half_lives))).collect();
    assert_eq!(penalties, [64, 32, 16, 8, 4, 2, 1, 1, 0]);
    assert_eq!(echo.penalty(1_000), 0, "it was cleared, and no later time brings it back");
}

/// A thousand threads that see failures at once must not wrap the penalty round to nothing, and the instance must be
/// forgiven in the stated time.
#[test]
fn an_echo_saturates() {
    let echo = FailureEcho::default();
    for _ in 0..FAILURE_ECHO_MAX + 10 {
        echo.record_failure(0);
    }
    assert_eq!(echo.penalty(0), FAILURE_ECHO_MAX);
    assert_eq!(echo.penalty(18 * HALF_LIFE_MS), 0);
}

/// Threads read the clock each for itself; one that is behind must not take a fresh echo for one of weeks ago. Nor
/// must an echo end when 32 bits of milliseconds are full.
#[test]
fn an_echo_bears_clocks_that_differ_and_wrap() {
    let wrap_ms = 1_u64 << 32;
    for start_ms in [5_000, wrap_ms - 3, wrap_ms + 3, 7 * wrap_ms] {
        let echo = FailureEcho::default();
        for _ in 0..8 {
            echo.record_failure(start_ms);
        }
        assert_eq!(echo.penalty(start_ms - 5), 8, "at {start_ms}");
        assert_eq!(echo.penalty(start_ms + HALF_LIFE_MS), 4, "at {start_ms}");
    }
}

/// Failures counted by several threads at once: some may be lost, but not the penalty.
#[test]
fn an_echo_is_shared_by_threads() {
    let echo = FailureEcho::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1_000).for_each(|_| echo.record_failure(10)));
        }
    });
    assert!((1_000..=4_000).contains(&echo.penalty(10)), "{}", echo.penalty(10));
}

proptest! {
    /// A penalty that rises by itself would send an instance away that does nothing wrong.
    #[test]
    fn an_echo_never_rises_without_a_failure(
        failures in prop::collection::vec(0_u64..5_000, 1..50),
        gaps in prop::collection::vec(0_u64..3_000, 1..50),
    ) {
        let echo = FailureEcho::default();
        let mut now_ms = 0;
        for gap_ms in &failures {
            now_ms += gap_ms;
            let before = echo.penalty(now_ms);
            echo.record_failure(now_ms);
            prop_assert!((before..=before + 1).contains(&echo.penalty(now_ms)));
        }
        let mut before = echo.penalty(now_ms);
        prop_assert!(before >= 1 && before <= failures.len() as u32);
        for gap_ms in gaps {
            now_ms += gap_ms;
            let penalty = echo.penalty(now_ms);
            prop_assert!(penalty <= before);
            before = penalty;
        }
    }

    /// Twenty gateways that probe in step hit an instance twenty times in the same millisecond.
    #[test]
    fn probes_are_spread_by_a_fifth(interval_ms in 0_u64..10_000_000, entropy: u64) {
        let delay_ms = next_check_delay_ms(interval_ms, entropy);
        let reach_ms = interval_ms / 5;
        prop_assert!(delay_ms >= 1);
        prop_assert!(delay_ms >= interval_ms - reach_ms && delay_ms <= (interval_ms + reach_ms).max(1));
    }
}

#[test]
fn the_spread_of_probes_reaches_both_ends() {
    let delays: Vec<u64> = (0..1_000).map(|entropy| next_check_delay_ms(1_000, entropy)).collect();
    assert!(delays.iter().min() <= Some(&810) && delays.iter().max() >= Some(&1_190));
    assert!(next_check_delay_ms(u64::MAX, 1) > u64::MAX / 2);
}
