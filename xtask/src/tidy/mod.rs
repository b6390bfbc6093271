//! `cargo xtask tidy`: the invariants of this code base that no compiler knows. Each check is a function from the tree
//! of tracked files to violations, and says why its rule exists; exceptions stand in one table, with their reasons.

mod clock;
mod exemptions;
mod layers;
mod leftovers;
mod machine;
mod shape;
mod tree;

use std::fmt;
use std::process::ExitCode;

use anyhow::{Result, bail};

use tree::Tree;

use crate::{console, step};

/// Everything that is checked.
const CHECKS: &[fn(&Tree) -> Vec<Violation>] = &[
    layers::purity,
    layers::layering,
    layers::disallowed_methods,
    clock::readings,
    shape::length,
    shape::opening,
    leftovers::leftovers,
    machine::paths,
    machine::registries,
];

/// What an exemption can be from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Layers,
    Clock,
    Length,
    Opening,
    Leftovers,
    MachinePaths,
    Registries,
    Exemptions,
}

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    rule: Rule,
    /// Relative to the root of the repository.
    path: String,
    /// Counted from one.
    line: usize,
    what: String,
    why: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {} — {}", self.path, self.line, self.what, self.why)
    }
}

/// The task: `check` as a step of its own.
pub(crate) fn run() -> Result<ExitCode> {
    step::run("tidy", "cargo xtask tidy", check)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints every violation; any makes it an error.
pub(crate) fn check() -> Result<()> {
    let tree = Tree::read()?;
    let found = CHECKS.iter().flat_map(|check| check(&tree)).collect();
    let mut violations = exemptions::apply(exemptions::EXEMPTIONS, found);
    violations.sort_by(|one, other| (&one.path, one.line).cmp(&(&other.path, other.line)));
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => {
            console::note(&format!("{} files, {} packages", tree.files.len(), tree.packages.len()));
            Ok(())
        }
        1 => bail!("1 violation in {} files", tree.files.len()),
        count => bail!("{count} violations in {} files", tree.files.len()),
    }
}
