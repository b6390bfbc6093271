//! Whether a failed try may be repeated on another instance.
//!
//! Before a byte was sent, always. After that only where repeating is harmless by the method's definition (RFC 9110
//! §9.2.2) or because the request carries an idempotency key, and only within a budget, so that retries never become
//! the load that keeps a struggling pool down.

/// How far a try got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// No byte of the request left: the instance can't have seen it.
    Nothing,
    /// Some of it may have arrived.
    Perhaps,
}

/// Whether the request can be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// It is idempotent, and all of it is at hand.
    Safe,
    /// It is not idempotent, but all of it is at hand.
    OnlyUnsent,
    /// Part of its body is gone.
    Impossible,
}

/// What to do after a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Try another instance.
    Retry,
    /// Give up: the tries are used up.
    TriesExhausted,
    /// Give up: repeating could do twice what was asked once.
    NotRepeatable,
    /// Give up: the budget is used up.
    BudgetExhausted,
}

/// Judges one failed try. `tries_left` does not count the one that failed.
pub fn decide(sent: Sent, replay: Replay, tries_left: u32, budget: &mut RetryBudget) -> RetryDecision {
    match (sent, replay) {
        (_, Replay::Impossible) | (Sent::Perhaps, Replay::OnlyUnsent) => RetryDecision::NotRepeatable,
        _ if tries_left == 0 => RetryDecision::TriesExhausted,
        // A connection that was refused cost the pool nothing: it is bounded by the tries alone.
        (Sent::Nothing, _) => RetryDecision::Retry,
        (Sent::Perhaps, Replay::Safe) if budget.withdraw() => RetryDecision::Retry,
        (Sent::Perhaps, Replay::Safe) => RetryDecision::BudgetExhausted,
    }
}

/// Retries as a share of requests, with a reserve for quiet times: each request deposits `percent` hundredths of a
/// retry, each retry withdraws one, and the balance never passes `reserve`.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    balance_hundredths: u64,
    percent: u64,
    reserve_hundredths: u64,
}

impl RetryBudget {
    /// A full budget. `percent` of requests may be retries in the long run, `reserve` at once.
    pub fn new(percent: u32, reserve: u32) -> Self {
        let reserve_hundredths = u64::from(reserve) * 100;
        Self { balance_hundredths: reserve_hundredths, percent: u64::from(percent), reserve_hundredths }
    }

    /// Counts a request.
    pub fn deposit(&mut self) {
        self.balance_hundredths = (self.balance_hundredths + self.percent).min(self.reserve_hundredths);
    }

    /// Takes one retry out, if there is one.
    pub fn withdraw(&mut self) -> bool {
        match self.balance_hundredths.checked_sub(100) {
            Some(rest) => {
                self.balance_hundredths = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A payment that was sent, answered by a reset, and sent again is charged twice.
    #[test]
    fn nothing_is_repeated_that_could_count_twice() {
        for (sent, replay, tries_left, expected) in [
            (Sent::Nothing, Replay::OnlyUnsent, 1, RetryDecision::Retry),
            (Sent::Nothing, Replay::Safe, 0, RetryDecision::TriesExhausted),
            (Sent::Nothing, Replay::Impossible, 1, RetryDecision::NotRepeatable),
            (Sent::Perhaps, Replay::OnlyUnsent, 1, RetryDecision::NotRepeatable),
            (Sent::Perhaps, Replay::Safe, 1, RetryDecision::Retry),
            (Sent::Perhaps, Replay::Impossible, 1, RetryDecision::NotRepeatable),
        ] {
            let mut budget = RetryBudget::new(20, 10);
            assert_eq!(decide(sent, replay, tries_left, &mut budget), expected, "{sent:?} {replay:?} {tries_left}");
        }
    }

    /// Without a budget, an outage is answered with three times the load.
    #[test]
    fn the_budget_bounds_retries_to_a_share_of_requests() {
        let mut budget = RetryBudget::new(20, 5);
        let retries = (0..1000).filter(|_| {
            budget.deposit();
            decide(Sent::Perhaps, Replay::Safe, 2, &mut budget) == RetryDecision::Retry
        });
        assert!((200..=206).contains(&retries.count()));
        let mut none = RetryBudget::new(0, 0);
        assert_eq!(decide(Sent::Perhaps, Replay::Safe, 2, &mut none), RetryDecision::BudgetExhausted);
    }
}
