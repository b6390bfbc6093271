//! Which instance gets the next request: the choice made once per request, and again for every retry.
//!
//! [`Balancer::pick`] is on the request path: it allocates nothing, and costs one pass over the members at most two
//! times over. Everything dear happens in [`Balancer::set_members`].
//!
//! # How load and weight are compared
//!
//! Least connections and two choices both compare `(load + 1) / weight`: the load per weight that the member would
//! have *with* this request. Comparing `load / weight` instead would give a member that warms up with a tenth of the
//! weight its first request as soon as any other member has one. Idle members count as equal whatever their weights,
//! and share by weight; otherwise the heaviest member of a quiet pool would get every request.
//!
//! # Members that come and go
//!
//! A member that leaves and returns must not be met by a burst, nor may the others see one:
//! - round robin keeps its place by slot, not by position; smooth round robin keeps what each remaining member is
//!   owed and starts the newcomer with nothing owed;
//! - least connections holds a newcomer, which has no requests in flight and so looks best to everyone, to at most
//!   twice its share and never two requests in a row where its share is at most one half, until it has caught up;
//! - two choices draws no member for more than twice its share, and random keeps no state.

mod draw;
mod least;
mod smooth;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::random::{below, mix};
use least::Pace;

/// The smallest weight. Smaller ones are raised to it; to take a member out, leave it out.
pub const WEIGHT_MIN: u32 = 1;

/// The greatest weight. Greater ones are lowered to it.
pub const WEIGHT_MAX: u32 = 1_000;

/// How a pool shares its requests out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// In turn; with unequal weights, smooth weighted round robin as nginx introduced it in 1.3.1 (2012).
    RoundRobin,
    /// The member with the least load per weight.
    LeastConnections,
    /// By chance, in proportion to weight.
    Random,
    /// The less loaded of two members drawn by chance (Mitzenmacher: "The power of two choices in randomized load
    /// balancing", 2001). Nearly as even as least connections, without the herd that rushes to the one best member
    /// when several gateways see the same figures.
    TwoChoices,
}

impl Algorithm {
    /// Every algorithm, in the order in which messages list them.
    pub const ALL: [Self; 4] = [Self::RoundRobin, Self::LeastConnections, Self::Random, Self::TwoChoices];

    /// The name used in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::Random => "random",
            Self::TwoChoices => "two-choices",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| UnknownAlgorithm { name: name.to_owned() })
    }
}

/// A name that no [`Algorithm`] has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown algorithm {name:?}: known are round-robin, least-connections, random and two-choices")]
pub struct UnknownAlgorithm {
    /// The name as given.
    pub name: String,
}

/// An instance that may be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Member {
    /// The index of the instance in its pool. It stays the same for as long as the instance is in the pool.
    pub slot: u32,
    /// Its share of the traffic relative to the other members', [`WEIGHT_MIN`] to [`WEIGHT_MAX`].
    pub weight: u32,
}

/// One worker's view of a pool: the members and whose turn it is.
#[derive(Debug, Clone)]
pub struct Balancer {
    algorithm: Algorithm,
    /// Replaced by its successor whenever it was used.
    seed: u64,
    /// Sorted by slot, no slot twice.
    entries: Vec<Entry>,
    total_weight: u64,
    weights: Weights,
    /// The entry whose turn it is; below `entries.len()`, or 0 when there are none.
    cursor: usize,
    /// How many entries are still being paced.
    newcomers: usize,
}

impl Balancer {
    /// A balancer over these members. Workers given different seeds start at different members, and so do not march
    /// in step from one instance to the next.
    pub fn new(algorithm: Algorithm, members: &[Member], seed: u64) -> Self {
        let mut balancer = Self {
            algorithm,
            seed,
            entries: Vec::new(),
            total_weight: 0,
            weights: Weights::Uniform,
            cursor: 0,
            newcomers: 0,
        };
        balancer.set_members(members);
        balancer
    }

    /// The algorithm given at construction.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How many members there are to pick from.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to pick from.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Replaces the members and keeps the state of those that stay, so that no one sees a burst. Of members with the
    /// same slot the first counts. Weights are brought into [`WEIGHT_MIN`]..=[`WEIGHT_MAX`].
    pub fn set_members(&mut self, members: &[Member]) {
        let before = std::mem::take(&mut self.entries);
        let weights_before = self.weights;
        let weight_before = self.total_weight;
        let slot_in_turn = before.get(self.cursor).map(|entry| entry.slot);

        let pace = match self.algorithm {
            Algorithm::LeastConnections if !before.is_empty() => Pace::Newcomer { credit: 0 },
            _ => Pace::Settled,
        };
        let mut entries: Vec<Entry> = members.iter().map(|member| Entry::new(*member, pace)).collect();
        entries.sort_by_key(|entry| entry.slot);
        entries.dedup_by_key(|entry| entry.slot);

        self.total_weight = 0;
        for entry in &mut entries {
            if let Ok(index) = before.binary_search_by_key(&entry.slot, |known| known.slot) {
                entry.owed = before[index].owed;
                entry.pace = before[index].pace;
            }
            self.total_weight += u64::from(entry.weight);
            entry.weight_up_to_here = self.total_weight;
        }
        self.weights = Weights::of(&entries);
        self.newcomers = entries.iter().filter(|entry| entry.pace != Pace::Settled).count();
        self.entries = entries;

        self.cursor = match slot_in_turn {
            Some(slot) => self.wrap(self.entries.partition_point(|entry| entry.slot < slot)),
            None => below(self.next_seed(), self.entries.len() as u64) as usize,
        };
        match (weights_before, self.weights) {
            (Weights::Mixed, Weights::Mixed) if !before.is_empty() => self.rescale_owed(weight_before),
            (_, Weights::Mixed) => self.start_smooth_cycle(),
            (_, Weights::Uniform) => self.entries.iter_mut().for_each(|entry| entry.owed = 0),
        }
    }

    /// The slot of the member that gets the next request, or `None` when every member is skipped.
    ///
    /// - `load`: requests in flight at a slot, plus its failure penalty (see [`FailureEcho`](crate::FailureEcho)).
    ///   Read by least connections and two choices only.
    /// - `skip`: whether this request has tried the slot already.
    /// - `entropy`: a random word; read by random and two choices only.
    pub fn pick(&mut self, load: impl Fn(u32) -> u32, skip: impl Fn(u32) -> bool, entropy: u64) -> Option<u32> {
        let index = match (self.algorithm, self.weights) {
            (Algorithm::RoundRobin, Weights::Uniform) => self.pick_in_turn(skip),
            (Algorithm::RoundRobin, Weights::Mixed) => self.pick_smooth(|entry| !skip(entry.slot)),
            (Algorithm::LeastConnections, _) => self.pick_least(load, skip),
            (Algorithm::Random, _) => self.draw(mix(entropy), skip),
            (Algorithm::TwoChoices, _) => self.pick_of_two(mix(entropy), load, skip),
        }?;
        Some(self.entries[index].slot)
    }

    fn pick_in_turn(&mut self, skip: impl Fn(u32) -> bool) -> Option<usize> {
        let index =
            (self.cursor..self.entries.len()).chain(0..self.cursor).find(|index| !skip(self.entries[*index].slot))?;
        self.cursor = self.wrap(index + 1);
        Some(index)
    }

    /// `index`, which may be one past the end, brought back to the first entry there.
    fn wrap(&self, index: usize) -> usize {
        if index < self.entries.len() { index } else { 0 }
    }

    fn next_seed(&mut self) -> u64 {
        self.seed = mix(self.seed);
        self.seed
    }
}

/// A member with the state that the algorithms keep for it.
#[derive(Debug, Clone)]
struct Entry {
    slot: u32,
    weight: u32,
    /// The weights of all entries up to and including this one, for drawing by binary search.
    weight_up_to_here: u64,
    /// Smooth weighted round robin: what this member is owed, in requests times total weight. nginx calls it the
    /// current weight. Over all entries it sums to zero between picks.
    owed: i64,
    pace: Pace,
}

impl Entry {
    fn new(member: Member, pace: Pace) -> Self {
        let weight = member.weight.clamp(WEIGHT_MIN, WEIGHT_MAX);
        Self { slot: member.slot, weight, weight_up_to_here: 0, owed: 0, pace }
    }
}

/// Whether weights matter at all: most pools have equal ones, and equal ones allow cheaper picks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weights {
    Uniform,
    Mixed,
}

impl Weights {
    fn of(entries: &[Entry]) -> Self {
        match entries.windows(2).all(|pair| pair[0].weight == pair[1].weight) {
            true => Self::Uniform,
            false => Self::Mixed,
        }
    }
}

/// A member under consideration, with its load read once: other threads may change it at any time.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    index: usize,
    weight: u32,
    load: u32,
}

impl Candidate {
    /// Compares `(load + 1) / weight` by cross multiplication. At most 2^32 times [`WEIGHT_MAX`]: no overflow.
    fn less_loaded_than(&self, other: &Self) -> bool {
        (u64::from(self.load) + 1) * u64::from(other.weight) < (u64::from(other.load) + 1) * u64::from(self.weight)
    }
}
