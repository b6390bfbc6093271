//! Probes, with hysteresis: one lost probe must not take an instance out, nor one lucky answer bring it back.

use crate::random::{below, mix};

/// How many probes in a row it takes to change one's mind. 0 is read as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Passed probes in a row that bring an instance up.
    pub rise: u32,
    /// Failed probes in a row that take an instance down.
    pub fall: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { rise: 2, fall: 3 }
    }
}

/// What probes last made of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// A change that an observation brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// From down to up.
    WentUp,
    /// From up to down.
    WentDown,
}

/// The state of one instance's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveHealth {
    health: Health,
    /// Probes in a row that contradict `health`.
    contradictions: u32,
}

impl ActiveHealth {
    /// Starts in the given state: up for instances of a configuration that is known to work, so that a gateway serves
    /// from its first moment; down for instances that are being started.
    pub fn new(health: Health) -> Self {
        Self { health, contradictions: 0 }
    }

    /// The present verdict.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Takes in the result of one probe. `Some` only when the verdict changes.
    pub fn observe(&mut self, passed: bool, thresholds: &Thresholds) -> Option<Change> {
        let (needed, next, change) = match (self.health, passed) {
            (Health::Up, true) | (Health::Down, false) => {
                self.contradictions = 0;
                return None;
            }
            (Health::Up, false) => (thresholds.fall, Health::Down, Change::WentDown),
            (Health::Down, true) => (thresholds.rise, Health::Up, Change::WentUp),
        };
        self.contradictions = self.contradictions.saturating_add(1);
        if self.contradictions < needed {
            return None;
        }
        *self = Self::new(next);
        Some(change)
    }
}

/// The jitter's reach to either side, as a divisor of the interval: a fifth is 20 %.
const JITTER_DIVISOR: u64 = 5;

/// Milliseconds until the next probe: the interval ± 20 %, so that the probes of many gateways, all started by the
/// same deployment, do not arrive at an instance at the same moment. At least 1.
pub fn next_check_delay_ms(interval_ms: u64, entropy: u64) -> u64 {
    let reach_ms = interval_ms / JITTER_DIVISOR;
    let jitter_ms = below(mix(entropy), 2 * reach_ms + 1);
    (interval_ms - reach_ms).saturating_add(jitter_ms).max(1)
}
