//! Passive health: real requests notice within a few requests what a probe notices after several intervals, and see
//! failures that a probe of `/health` never sees.

/// How many times the base ejection time an instance has to stay in before one past ejection is forgiven.
const FORGIVENESS_FACTOR: u64 = 3;

/// When to eject, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierSettings {
    /// Failures in a row that eject an instance. 0 switches ejection off.
    pub consecutive_failures: u32,
    /// The time of the first ejection; the n-th in short order lasts n times as long.
    pub base_ejection_ms: u64,
    /// The longest ejection.
    pub max_ejection_ms: u64,
    /// The greatest share of the members that may be ejected at a time. 0 switches ejection off. Two exceptions: a
    /// pool of two may always lose one, and the last member is never ejected.
    pub max_ejected_percent: u32,
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self { consecutive_failures: 5, base_ejection_ms: 10_000, max_ejection_ms: 300_000, max_ejected_percent: 50 }
    }
}

/// What came of one request, as far as it says something about the instance: a 404 is a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The instance answered.
    Success,
    /// It could not be reached, did not answer in time, or said itself that it cannot serve.
    Failure,
}

/// An instance was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ejection {
    /// When it returns, in monotonic milliseconds.
    pub until_ms: u64,
}

/// What requests last made of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outlier {
    failures_in_a_row: u32,
    /// Ejections not forgiven as of the start of the last one, which is included.
    ejections: u32,
    /// The end of the last ejection; 0 when there was none.
    ejected_until_ms: u64,
}

impl Outlier {
    /// Takes in the outcome of one request. `Some` when the instance is ejected because of it.
    ///
    /// `ejected_now` counts the other members that are ejected at present, `members` all of the pool. Where the cap
    /// forbids the ejection, the failures stay counted, and the next one asks again. Outcomes that arrive during the
    /// ejection belong to requests sent before it, or to panic mode, and change nothing.
    pub fn observe(
        &mut self,
        outcome: Outcome,
        now_ms: u64,
        ejected_now: usize,
        members: usize,
        settings: &OutlierSettings,
    ) -> Option<Ejection> {
        if self.is_ejected(now_ms) {
            return None;
        }
        if outcome == Outcome::Success {
            self.failures_in_a_row = 0;
            return None;
        }
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let due = settings.consecutive_failures > 0 && self.failures_in_a_row >= settings.consecutive_failures;
        if !due || !may_eject(ejected_now, members, settings) {
            return None;
        }
        self.ejections = self.ejections(now_ms, settings).saturating_add(1);
        self.failures_in_a_row = 0;
        let duration_ms =
            settings.base_ejection_ms.saturating_mul(u64::from(self.ejections)).min(settings.max_ejection_ms);
        self.ejected_until_ms = now_ms.saturating_add(duration_ms);
        Some(Ejection { until_ms: self.ejected_until_ms })
    }

    /// Whether the instance is to get no traffic at this time.
    pub fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.ejected_until_ms
    }

    /// How many past ejections still count: one is forgiven for each stretch of three base ejection times since the
    /// last one ended.
    pub fn ejections(&self, now_ms: u64, settings: &OutlierSettings) -> u32 {
        let healthy_ms = now_ms.saturating_sub(self.ejected_until_ms);
        let stretch_ms = settings.base_ejection_ms.saturating_mul(FORGIVENESS_FACTOR).max(1);
        let forgiven = u32::try_from(healthy_ms / stretch_ms).unwrap_or(u32::MAX);
        self.ejections.saturating_sub(forgiven)
    }
}

fn may_eject(ejected_now: usize, members: usize, settings: &OutlierSettings) -> bool {
    let ejected_then = ejected_now.saturating_add(1);
    if settings.max_ejected_percent == 0 || ejected_then >= members {
        return false;
    }
    let within_cap = ejected_then as u128 * 100 <= members as u128 * u128::from(settings.max_ejected_percent);
    within_cap || members == 2
}
