//! What the users noticed, and whether that is what each design promises.

use serde::Serialize;

/// Where sessions live and how users find them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    /// Design C: in the gateway's store; any instance serves any user.
    External,
    /// Design A: in each instance's memory; any instance serves any user.
    InProcess,
    /// Design B: in each instance's memory; a cookie keeps each user at one instance.
    Sticky,
}

impl Design {
    /// All of them, in the order of the tour.
    pub const ALL: [Self; 3] = [Self::External, Self::InProcess, Self::Sticky];

    /// Its letter in the documentation.
    pub fn letter(self) -> char {
        match self {
            Self::External => 'C',
            Self::InProcess => 'A',
            Self::Sticky => 'B',
        }
    }

    /// What it is, in a few words.
    pub fn name(self) -> &'static str {
        match self {
            Self::External => "sessions in the gateway's store",
            Self::InProcess => "sessions in each instance",
            Self::Sticky => "sessions in each instance, sticky",
        }
    }
}

/// What users lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Losses {
    /// Requests that were not served.
    pub failed: u64,
    /// Users who were signed out.
    pub signed_out: u64,
    /// Users whose cart was not what had been acknowledged.
    pub carts_lost: u64,
}

impl Losses {
    /// Whether nobody noticed anything.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What the users of one design met.
#[derive(Clone, Debug, Serialize)]
pub struct DesignReport {
    /// The design.
    pub design: Design,
    /// What it is, in a few words.
    pub name: &'static str,
    /// How many users there were, passing visitors aside.
    pub users: usize,
    /// Requests of all users and passing visitors.
    pub requests: u64,
    /// What they lost.
    #[serde(flatten)]
    pub losses: Losses,
    /// Requests that the gateway sent to an instance once more.
    pub retries: u64,
    /// Requests that a drained instance answered although they were begun after the drain. Users who are kept at an
    /// instance are meant to stay there.
    pub to_drained: u64,
    /// From the kill until the instance served again, in milliseconds.
    pub restart_ms: u64,
    /// What the users noticed first, in words.
    pub notices: Vec<String>,
}

/// A tour through all designs.
#[derive(Clone, Debug, Serialize)]
pub struct TourReport {
    /// What repeats the choices of this tour.
    pub seed: u64,
    /// How many users each design had.
    pub users: usize,
    /// How many instances each design had.
    pub instances: usize,
    /// One report per design, in the order of [`Design::ALL`].
    pub designs: Vec<DesignReport>,
}

/// Whether a tour showed what it promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Passed,
    /// It did not, for these reasons; at least one.
    Failed(Vec<Shortcoming>),
}

/// A way in which a tour did not show what it promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortcoming {
    /// A design has no report.
    #[error("design {} was not toured", .0.letter())]
    Missing(Design),
    /// Users of the external design noticed the faults.
    #[error(
        "the gateway's sessions were not safe: {} requests failed, {} users signed out, {} carts lost",
        .0.failed, .0.signed_out, .0.carts_lost
    )]
    ExternalLost(Losses),
    /// A drain of the external design did not keep requests away.
    #[error("a drained instance answered {requests} requests that were begun after the drain")]
    DrainLeaked {
        /// How many.
        requests: u64,
    },
    /// In-process sessions survived: the tour's checks, or its faults, do not work.
    #[error("in-process sessions lost nothing, so that this tour would not notice a loss")]
    InProcessLostNothing,
}

impl TourReport {
    /// The report of a design.
    pub fn of(&self, design: Design) -> Option<&DesignReport> {
        self.designs.iter().find(|report| report.design == design)
    }

    /// Passed where the external design lost nothing at all, and in-process sessions really did: a tour in which
    /// nothing is ever lost proves nothing.
    pub fn verdict(&self) -> Verdict {
        let mut shortcomings = Vec::new();
        match self.of(Design::External) {
            None => shortcomings.push(Shortcoming::Missing(Design::External)),
            Some(external) => {
                if !external.losses.are_none() {
                    shortcomings.push(Shortcoming::ExternalLost(external.losses));
                }
                if external.to_drained > 0 {
                    shortcomings.push(Shortcoming::DrainLeaked { requests: external.to_drained });
                }
            }
        }
        match self.of(Design::InProcess) {
            None => shortcomings.push(Shortcoming::Missing(Design::InProcess)),
            Some(in_process) if in_process.losses.signed_out + in_process.losses.carts_lost == 0 => {
                shortcomings.push(Shortcoming::InProcessLostNothing);
            }
            Some(_) => {}
        }
        match shortcomings.is_empty() {
            true => Verdict::Passed,
            false => Verdict::Failed(shortcomings),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(design: Design, losses: Losses) -> DesignReport {
        DesignReport {
            design,
            name: design.name(),
            users: 8,
            requests: 321,
            losses,
            retries: 4,
            to_drained: 0,
            restart_ms: 412,
            notices: Vec::new(),
        }
    }

    pub(crate) fn tour_of(designs: Vec<DesignReport>) -> TourReport {
        TourReport { seed: 42, users: 8, instances: 3, designs }
    }

    const NONE: Losses = Losses { failed: 0, signed_out: 0, carts_lost: 0 };
    const ALL: Losses = Losses { failed: 0, signed_out: 8, carts_lost: 8 };

    fn verdict(external: Losses, in_process: Losses) -> Verdict {
        tour_of(vec![sample(Design::External, external), sample(Design::InProcess, in_process)]).verdict()
    }

    #[test]
    fn what_is_promised_passes() {
        assert_eq!(verdict(NONE, ALL), Verdict::Passed);
        assert_eq!(verdict(NONE, Losses { carts_lost: 1, ..NONE }), Verdict::Passed);
    }

    /// "Only one request of hundreds failed" is a failure: the promise is none.
    #[test]
    fn a_single_loss_of_the_external_design_fails() {
        for lost in [Losses { failed: 1, ..NONE }, Losses { signed_out: 1, ..NONE }, Losses { carts_lost: 1, ..NONE }] {
            assert_eq!(verdict(lost, ALL), Verdict::Failed(vec![Shortcoming::ExternalLost(lost)]));
        }
    }

    /// Checks that notice nothing pass everything. Failed requests are no lost sessions either.
    #[test]
    fn a_tour_that_notices_no_loss_fails() {
        let blind = Verdict::Failed(vec![Shortcoming::InProcessLostNothing]);
        assert_eq!(verdict(NONE, NONE), blind);
        assert_eq!(verdict(NONE, Losses { failed: 9, ..NONE }), blind);
    }

    #[test]
    fn a_leaking_drain_and_missing_designs_fail() {
        let leaking = DesignReport { to_drained: 2, ..sample(Design::External, NONE) };
        let tour = tour_of(vec![leaking, sample(Design::InProcess, ALL)]);
        assert_eq!(tour.verdict(), Verdict::Failed(vec![Shortcoming::DrainLeaked { requests: 2 }]));
        let missing = [Design::External, Design::InProcess].map(Shortcoming::Missing);
        assert_eq!(tour_of(Vec::new()).verdict(), Verdict::Failed(missing.to_vec()));
    }

    /// Programs that read the report would otherwise break over a nested object.
    #[test]
    fn the_report_is_flat_json() {
        let json = serde_json::to_value(tour_of(vec![sample(Design::InProcess, ALL)])).unwrap();
        assert_eq!(json["designs"][0]["design"], "in-process");
        assert_eq!(json["designs"][0]["signed_out"], 8);
        assert_eq!(json["seed"], 42);
    }
}
