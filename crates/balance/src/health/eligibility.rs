//! The members that new traffic is balanced over, and the way out when nearly none is left.

use crate::algorithm::Member;

/// The share of members that must be up, below which panic mode begins.
pub const PANIC_THRESHOLD_PERCENT: u32 = 30;

/// What an instance is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Availability {
    /// New and pinned traffic.
    Up,
    /// Pinned traffic only: it is on its way out.
    Draining,
    /// Nothing: its probes fail.
    Down,
    /// Nothing for a while: its requests failed.
    Ejected,
}

impl Availability {
    /// The name used in telemetry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Ejected => "ejected",
        }
    }
}

/// Whether verdicts on health are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// They are.
    Normal,
    /// They are not: so many instances cannot be used that the few others would be overrun, or that the fault is more
    /// likely in the check than in the instances.
    Panic,
}

/// The members to balance new traffic over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eligible {
    /// In the order given.
    pub members: Vec<Member>,
    /// Why these.
    pub mode: Mode,
}

/// The members that may take new traffic: those that are up, unless their share among those that are not draining is
/// below `panic_threshold_percent` ([`PANIC_THRESHOLD_PERCENT`] by default, at most 100; 0 switches panic mode off).
/// Then all that are not draining.
///
/// A draining member never takes new traffic. A pool in which all members drain has no members: someone asked for
/// that, and a request sent to an instance that is about to stop would be lost later instead of refused now.
pub fn eligible(members: &[(Member, Availability)], panic_threshold_percent: u32) -> Eligible {
    let count = |wanted: fn(Availability) -> bool| members.iter().filter(|(_, state)| wanted(*state)).count() as u128;
    let up = count(|state| state == Availability::Up);
    let staying = count(|state| state != Availability::Draining);
    let mode = match up * 100 < staying * u128::from(panic_threshold_percent.min(100)) {
        true => Mode::Panic,
        false => Mode::Normal,
    };
    let usable = |state: Availability| match mode {
        Mode::Normal => state == Availability::Up,
        Mode::Panic => state != Availability::Draining,
    };
    let members = members.iter().filter(|(_, state)| usable(*state)).map(|(member, _)| *member).collect();
    Eligible { members, mode }
}
