//! Every exception to a rule, with its reason. An exemption that nothing needs any more is itself a violation, so that
//! the table never outlives the code it speaks of.

use super::{Rule, Violation};

const TABLE: &str = "xtask/src/tidy/exemptions.rs";

const SPELLS_ITS_OWN_RULE: &str = "the rule and its tests spell what they look for";

/// One file, one rule.
pub(super) struct Exemption {
    rule: Rule,
    path: &'static str,
    reason: &'static str,
}

/// All of them.
pub(super) const EXEMPTIONS: &[Exemption] = &[
    Exemption { rule: Rule::Clock, path: "crates/gateway/src/clock.rs", reason: "the one place that reads the clock" },
    Exemption {
        rule: Rule::Clock,
        path: "crates/gateway/src/upstream/health.rs",
        reason: "health checks and readmissions run off the request path, on timers of their own",
    },
    Exemption {
        rule: Rule::Leftovers,
        path: "crates/supervise/tests/supervisor.rs",
        reason: "its ignored tests are programs that other tests start",
    },
    Exemption { rule: Rule::Leftovers, path: "xtask/src/tidy/leftovers.rs", reason: SPELLS_ITS_OWN_RULE },
    Exemption { rule: Rule::MachinePaths, path: "xtask/src/tidy/machine.rs", reason: SPELLS_ITS_OWN_RULE },
    Exemption { rule: Rule::Registries, path: "xtask/src/tidy/machine.rs", reason: SPELLS_ITS_OWN_RULE },
    Exemption { rule: Rule::Registries, path: "Cargo.lock", reason: "cargo writes it" },
    Exemption { rule: Rule::Registries, path: "fuzz/Cargo.lock", reason: "cargo writes it" },
];

/// Drops the violations that are exempted and adds the exemptions that matched none.
pub(super) fn apply(exemptions: &[Exemption], violations: Vec<Violation>) -> Vec<Violation> {
    let covers = |exemption: &Exemption, violation: &Violation| {
        exemption.rule == violation.rule && exemption.path == violation.path
    };
    let unused = exemptions.iter().filter(|exemption| !violations.iter().any(|violation| covers(exemption, violation)));
    let stale: Vec<_> = unused.map(stale).collect();
    let is_exempt = |violation: &Violation| exemptions.iter().any(|exemption| covers(exemption, violation));
    violations.into_iter().filter(|violation| !is_exempt(violation)).chain(stale).collect()
}

fn stale(exemption: &Exemption) -> Violation {
    Violation {
        rule: Rule::Exemptions,
        path: TABLE.to_owned(),
        line: 1,
        what: format!("{} needs no exemption from {:?} ({})", exemption.path, exemption.rule, exemption.reason),
        why: "an exemption that nothing needs hides the next violation; remove it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXEMPTION: Exemption = Exemption { rule: Rule::Length, path: "a.rs", reason: "a table" };

    fn violation(rule: Rule, path: &str) -> Violation {
        Violation { rule, path: path.to_owned(), line: 7, what: "x".to_owned(), why: "y" }
    }

    /// An exemption from one rule that covered all of them would let anything into that file.
    #[test]
    fn an_exemption_covers_one_rule_of_one_file() {
        let found =
            vec![violation(Rule::Length, "a.rs"), violation(Rule::Opening, "a.rs"), violation(Rule::Length, "b.rs")];
        let left: Vec<_> =
            apply(&[EXEMPTION], found).into_iter().map(|violation| (violation.rule, violation.path)).collect();
        assert_eq!(left, [(Rule::Opening, "a.rs".to_owned()), (Rule::Length, "b.rs".to_owned())]);
    }

    /// A file that was split would otherwise keep the right to grow again.
    #[test]
    fn an_unused_exemption_is_a_violation() {
        let left = apply(&[EXEMPTION], Vec::new());
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].rule, Rule::Exemptions);
    }
}
