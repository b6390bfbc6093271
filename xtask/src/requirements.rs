//! What the tasks need on the machine beside Rust, in one table. A missing program is installed where that can be done
//! without asking (root, and a system with apt-get); everywhere else the exact command is printed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{console, step};

/// Programs of administrators live here, and are often not on the search path of others.
const ADMINISTRATOR_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A task with needs of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeededBy {
    Test,
    BenchProxy,
    DrillLoad,
}

/// How to find out whether a requirement is met.
#[derive(Clone, Copy, Debug)]
enum Probe {
    /// A program of this name can be found.
    Program(&'static str),
}

/// Something that must be on the machine.
struct Requirement {
    name: &'static str,
    probe: Probe,
    debian_package: &'static str,
    fedora_package: Option<&'static str>,
    homebrew_package: Option<&'static str>,
    why: &'static str,
    needed_by: &'static [NeededBy],
}

/// The name of a requirement's package in one system, where it has one.
type PackageOf = fn(&Requirement) -> Option<&'static str>;

const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        name: "a C compiler",
        probe: Probe::Program("cc"),
        debian_package: "build-essential",
        fedora_package: Some("gcc"),
        homebrew_package: Some("gcc"),
        why: "aws-lc is written in C and assembly",
        needed_by: &[NeededBy::Test],
    },
    Requirement {
        name: "wrk",
        probe: Probe::Program("wrk"),
        debian_package: "wrk",
        fedora_package: None,
        homebrew_package: Some("wrk"),
        why: "generates the load",
        needed_by: &[NeededBy::BenchProxy, NeededBy::DrillLoad],
    },
    Requirement {
        name: "HAProxy",
        probe: Probe::Program("haproxy"),
        debian_package: "haproxy",
        fedora_package: Some("haproxy"),
        homebrew_package: Some("haproxy"),
        why: "a proxy to compare with",
        needed_by: &[NeededBy::BenchProxy],
    },
    Requirement {
        name: "nginx",
        probe: Probe::Program("nginx"),
        debian_package: "nginx",
        fedora_package: Some("nginx"),
        homebrew_package: Some("nginx"),
        why: "the origin, and a proxy to compare with",
        needed_by: &[NeededBy::BenchProxy],
    },
    Requirement {
        name: "taskset",
        probe: Probe::Program("taskset"),
        debian_package: "util-linux",
        fedora_package: Some("util-linux"),
        homebrew_package: None,
        why: "pins each process to its core",
        needed_by: &[NeededBy::BenchProxy],
    },
    Requirement {
        name: "setpriv",
        probe: Probe::Program("setpriv"),
        debian_package: "util-linux",
        fedora_package: Some("util-linux"),
        homebrew_package: None,
        why: "stops each process when the benchmark dies",
        needed_by: &[NeededBy::BenchProxy],
    },
];

/// Makes sure that everything is there that the task needs.
pub(crate) fn ensure(task: NeededBy) -> Result<()> {
    let missing = missing(task);
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || find_program("apt-get").is_none() {
        bail!("{}", instructions(&missing));
    }
    for requirement in &missing {
        console::note(&format!("missing: {} ({})", requirement.name, requirement.why));
    }
    let packages = packages(&missing, |requirement| Some(requirement.debian_package));
    let install = format!("apt-get install --yes --no-install-recommends {}", packages.join(" "));
    step::run("requirements", &install, || {
        apt_get(&["update", "--quiet"])?;
        apt_get(&[&["install", "--quiet", "--yes", "--no-install-recommends"], packages.as_slice()].concat())
    })?;
    let still_missing = self::missing(task);
    if still_missing.is_empty() {
        return Ok(());
    }
    bail!("{}", instructions(&still_missing))
}

/// Where a program is, on the search path or in the folders of administrators.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search_path)
        .chain(ADMINISTRATOR_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn missing(task: NeededBy) -> Vec<&'static Requirement> {
    let is_met = |probe| match probe {
        Probe::Program(name) => find_program(name).is_some(),
    };
    REQUIREMENTS
        .iter()
        .filter(|requirement| requirement.needed_by.contains(&task) && !is_met(requirement.probe))
        .collect()
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot start apt-get")?;
    if !status.success() {
        bail!("apt-get {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

fn instructions(missing: &[&Requirement]) -> String {
    let mut lines = vec!["something is missing on this machine:".to_owned()];
    lines.extend(missing.iter().map(|requirement| format!("  {}: {}", requirement.name, requirement.why)));
    lines.push("to install it:".to_owned());
    let managers: [(&str, PackageOf); 3] = [
        ("Debian, Ubuntu:  sudo apt-get install", |requirement| Some(requirement.debian_package)),
        ("Fedora, RHEL:    sudo dnf install", |requirement| requirement.fedora_package),
        ("macOS:           brew install", |requirement| requirement.homebrew_package),
    ];
    for (command, package_of) in managers {
        let unknown: Vec<_> = missing
            .iter()
            .filter(|requirement| package_of(requirement).is_none())
            .map(|requirement| requirement.name)
            .collect();
        let packages = packages(missing, package_of);
        let mut line = format!("  {command} {}", packages.join(" "));
        if !unknown.is_empty() {
            line.push_str(&format!("   # has no package of: {}", unknown.join(", ")));
        }
        lines.push(line);
    }
    lines.join("\n")
}

fn packages(requirements: &[&Requirement], package_of: PackageOf) -> Vec<&'static str> {
    let mut packages: Vec<_> = requirements.iter().filter_map(|requirement| package_of(requirement)).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed_by(task: NeededBy) -> Vec<&'static Requirement> {
        REQUIREMENTS.iter().filter(|requirement| requirement.needed_by.contains(&task)).collect()
    }

    /// "cc not found" alone would leave a newcomer to search for the package of their system.
    #[test]
    fn a_missing_compiler_comes_with_the_command_of_each_system() {
        let text = instructions(&needed_by(NeededBy::Test));
        for expected in ["apt-get install build-essential", "dnf install gcc", "brew install gcc"] {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
    }

    /// A package named twice, or a system that silently lacks one, would end in an error of the package manager.
    #[test]
    fn packages_are_named_once_and_gaps_are_said() {
        let text = instructions(&needed_by(NeededBy::BenchProxy));
        assert!(text.contains("apt-get install haproxy nginx util-linux wrk"), "{text}");
        assert!(text.contains("brew install haproxy nginx wrk   # has no package of: taskset, setpriv"), "{text}");
    }

    /// nginx in a folder of administrators would otherwise be installed again at every run.
    #[test]
    fn programs_are_found_by_name_and_only_if_they_exist() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
    }
}
