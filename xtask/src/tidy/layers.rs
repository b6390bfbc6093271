//! Which crate may know which. Pure crates decide and take time and randomness as arguments, so that they can be
//! tested without either; the gateway knows the traits of stores and only the command names concrete ones.

use super::tree::Tree;
use super::{Rule, Violation};
use crate::workspace::{Dependency, Package};

const OUR_PREFIX: &str = "cloakroom-";

/// How far a crate keeps away from the outside world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purity {
    /// No runtime, socket, clock, entropy or file.
    Pure,
    /// No runtime and no socket.
    NoSockets,
    /// Does input and output.
    Edge,
}

/// Which of our crates a crate may depend on.
#[derive(Clone, Copy, Debug)]
enum MayUse {
    Only(&'static [&'static str]),
    Anything,
}

/// What a forbidden dependency would bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brings {
    Runtime,
    Socket,
    Clock,
    Entropy,
    Files,
}

struct Layer {
    name: &'static str,
    purity: Purity,
    may_use: MayUse,
    why: &'static str,
}

const DECIDES: &str = "it decides and nothing else: what it needs of others comes as an argument";

const LAYERS: &[Layer] = &[
    Layer { name: "cloakroom-session", purity: Purity::Pure, may_use: MayUse::Only(&[]), why: DECIDES },
    Layer { name: "cloakroom-policy", purity: Purity::Pure, may_use: MayUse::Only(&[]), why: DECIDES },
    Layer { name: "cloakroom-balance", purity: Purity::Pure, may_use: MayUse::Only(&[]), why: DECIDES },
    Layer { name: "cloakroom-wire", purity: Purity::Pure, may_use: MayUse::Only(&[]), why: DECIDES },
    Layer { name: "cloakroom-config", purity: Purity::NoSockets, may_use: MayUse::Only(&[]), why: DECIDES },
    Layer {
        name: "cloakroom-store",
        purity: Purity::Edge,
        may_use: MayUse::Only(&["cloakroom-session"]),
        why: "the traits of stores speak of sessions and know neither a store nor the gateway",
    },
    Layer {
        name: "cloakroom-store-embedded",
        purity: Purity::Edge,
        may_use: MayUse::Only(&["cloakroom-session", "cloakroom-store"]),
        why: "a store implements the traits and does not know who calls it",
    },
    Layer {
        name: "cloakroom-gateway",
        purity: Purity::Edge,
        may_use: MayUse::Only(&[
            "cloakroom-session",
            "cloakroom-policy",
            "cloakroom-balance",
            "cloakroom-config",
            "cloakroom-store",
            "cloakroom-wire",
        ]),
        why: "the gateway knows the traits of stores; only the command names concrete ones",
    },
    Layer {
        name: "cloakroom-supervise",
        purity: Purity::Edge,
        may_use: MayUse::Only(&[]),
        why: "it runs any program as instances and knows nothing of sessions",
    },
    Layer {
        name: "cloakroom-drill",
        purity: Purity::Edge,
        may_use: MayUse::Only(&[
            "cloakroom-gateway",
            "cloakroom-supervise",
            "cloakroom-config",
            "cloakroom-session",
            "cloakroom-store",
        ]),
        why: "a drill is handed its stores, so that it drills any of them",
    },
    Layer {
        name: "cloakroom-shop",
        purity: Purity::Edge,
        may_use: MayUse::Only(&[]),
        why: "the shop is an application like any other: it knows the gateway by its headers alone",
    },
    Layer {
        name: "cloakroom-cli",
        purity: Purity::Edge,
        may_use: MayUse::Anything,
        why: "it puts everything together",
    },
    Layer {
        name: "xtask",
        purity: Purity::Edge,
        may_use: MayUse::Only(&[]),
        why: "the gates must build when the product does not",
    },
];

const FORBIDDEN: &[(&str, Brings)] = &[
    ("tokio", Brings::Runtime),
    ("tokio-util", Brings::Runtime),
    ("async-std", Brings::Runtime),
    ("smol", Brings::Runtime),
    ("rayon", Brings::Runtime),
    ("axum", Brings::Socket),
    ("h2", Brings::Socket),
    ("hyper", Brings::Socket),
    ("hyper-util", Brings::Socket),
    ("libc", Brings::Socket),
    ("mio", Brings::Socket),
    ("redis", Brings::Socket),
    ("reqwest", Brings::Socket),
    ("rustix", Brings::Socket),
    ("rustls", Brings::Socket),
    ("socket2", Brings::Socket),
    ("ureq", Brings::Socket),
    ("chrono", Brings::Clock),
    ("jiff", Brings::Clock),
    ("quanta", Brings::Clock),
    ("time", Brings::Clock),
    ("fastrand", Brings::Entropy),
    ("getrandom", Brings::Entropy),
    ("rand", Brings::Entropy),
    ("uuid", Brings::Entropy),
    ("fjall", Brings::Files),
    ("memmap2", Brings::Files),
    ("notify", Brings::Files),
    ("tempfile", Brings::Files),
];

/// Pure crates depend on nothing that reaches outside: with a clock or a socket inside, their tests would need one too,
/// and a failure could not be repeated.
pub(super) fn purity(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (package, layer) in layered(tree) {
        for dependency in package.dependencies.iter().filter(|dependency| dependency.is_shipped()) {
            let Some((_, brings)) = FORBIDDEN.iter().find(|(name, _)| *name == dependency.name) else {
                continue;
            };
            if is_kept_out(layer.purity, *brings) {
                violations.push(at_dependency(tree, package, dependency, because(*brings)));
            }
        }
    }
    violations
}

/// A crate depends only on crates below it. A dependency for tests alone may point anywhere.
pub(super) fn layering(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in &tree.packages {
        if layer_of(package).is_none() {
            violations.push(Violation {
                rule: Rule::Layers,
                path: format!("{}/Cargo.toml", package.folder(&tree.root)),
                line: 1,
                what: format!("{} has no row in xtask/src/tidy/layers.rs", package.name),
                why: "every crate has a place, and someone decided which",
            });
        }
    }
    for (package, layer) in layered(tree) {
        let MayUse::Only(allowed) = layer.may_use else { continue };
        let ours = package.dependencies.iter().filter(|dependency| dependency.name.starts_with(OUR_PREFIX));
        let wrong = ours.filter(|dependency| dependency.is_shipped() && !allowed.contains(&dependency.name.as_str()));
        violations.extend(wrong.map(|dependency| at_dependency(tree, package, dependency, layer.why)));
    }
    violations
}

/// Pure crates have clippy refuse the clock of the standard library, which no list of dependencies can see.
pub(super) fn disallowed_methods(tree: &Tree) -> Vec<Violation> {
    let pure = layered(tree).filter(|(_, layer)| layer.purity == Purity::Pure);
    let paths = pure.map(|(package, _)| format!("{}/clippy.toml", package.folder(&tree.root)));
    let unguarded = paths.filter(|path| {
        let guards = |text: &str| text.contains("disallowed-methods") && text.contains("std::time::Instant::now");
        !tree.file(path).is_some_and(|file| guards(&file.text))
    });
    unguarded
        .map(|path| Violation {
            rule: Rule::Layers,
            path,
            line: 1,
            what: "no disallowed-methods with std::time::Instant::now".to_owned(),
            why: "a pure crate takes the time as an argument, and clippy holds it to that",
        })
        .collect()
}

fn layered(tree: &Tree) -> impl Iterator<Item = (&Package, &'static Layer)> {
    tree.packages.iter().filter_map(|package| Some((package, layer_of(package)?)))
}

fn layer_of(package: &Package) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.name == package.name)
}

fn is_kept_out(purity: Purity, brings: Brings) -> bool {
    match purity {
        Purity::Pure => true,
        Purity::NoSockets => matches!(brings, Brings::Runtime | Brings::Socket),
        Purity::Edge => false,
    }
}

fn because(brings: Brings) -> &'static str {
    match brings {
        Brings::Runtime => "a crate that decides must run without a runtime",
        Brings::Socket => "a crate that decides must not reach the network or the system",
        Brings::Clock => "a pure crate takes the time as an argument",
        Brings::Entropy => "a pure crate takes randomness as an argument",
        Brings::Files => "a pure crate touches no file",
    }
}

fn at_dependency(tree: &Tree, package: &Package, dependency: &Dependency, why: &'static str) -> Violation {
    let path = format!("{}/Cargo.toml", package.folder(&tree.root));
    let line = tree.file(&path).and_then(|file| dependency_line(&file.text, &dependency.name)).unwrap_or(1);
    Violation { rule: Rule::Layers, path, line, what: format!("{} depends on {}", package.name, dependency.name), why }
}

/// The line of a manifest that names a dependency which is not for tests alone.
fn dependency_line(manifest: &str, name: &str) -> Option<usize> {
    let mut counts = false;
    for (index, line) in manifest.lines().enumerate() {
        if let Some(header) = line.strip_prefix('[') {
            counts = header.contains("dependencies") && !header.starts_with("dev-");
            if counts && header.ends_with(&format!(".{name}]")) {
                return Some(index + 1);
            }
        }
        let names = |rest: &str| rest.starts_with(['.', ' ', '=']);
        if counts && line.strip_prefix(name).is_some_and(names) {
            return Some(index + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::DependencyKind;

    fn tree(package: &str, dependencies: &[(&str, Option<DependencyKind>)], files: &[(&str, &str)]) -> Tree {
        let dependency =
            |(name, kind): &(&str, Option<DependencyKind>)| Dependency { name: (*name).into(), kind: *kind };
        let mut tree = Tree::of(files);
        tree.packages.push(Package {
            name: package.into(),
            manifest_path: "/w/crates/x/Cargo.toml".into(),
            dependencies: dependencies.iter().map(dependency).collect(),
            targets: Vec::new(),
        });
        tree
    }

    fn shown(violations: &[Violation]) -> Vec<String> {
        violations.iter().map(|violation| format!("{}:{} {}", violation.path, violation.line, violation.what)).collect()
    }

    /// Session logic with a runtime inside could only be tested with real time passing.
    #[test]
    fn a_pure_crate_has_no_runtime_except_for_its_tests() {
        let manifest = "[package]\n\n[dev-dependencies]\nrand = \"1\"\n\n[dependencies]\ntokio.workspace = true\n";
        let dependencies = [("tokio", None), ("rand", Some(DependencyKind::Dev)), ("thiserror", None)];
        let tree = tree("cloakroom-session", &dependencies, &[("crates/x/Cargo.toml", manifest)]);
        assert_eq!(shown(&purity(&tree)), ["crates/x/Cargo.toml:7 cloakroom-session depends on tokio"]);
    }

    /// Reading a configuration may need files; answering requests while doing so is another crate's job.
    #[test]
    fn the_configuration_is_kept_from_sockets_alone() {
        let tree = tree("cloakroom-config", &[("notify", None), ("socket2", None)], &[]);
        assert_eq!(shown(&purity(&tree)), ["crates/x/Cargo.toml:1 cloakroom-config depends on socket2"]);
    }

    /// A gateway that named a store would have to be changed for every new one.
    #[test]
    fn the_gateway_names_no_concrete_store() {
        let dependencies = [
            ("cloakroom-store", None),
            ("cloakroom-store-embedded", None),
            ("cloakroom-shop", Some(DependencyKind::Dev)),
            ("cloakroom-supervise", Some(DependencyKind::Build)),
        ];
        let found = shown(&layering(&tree("cloakroom-gateway", &dependencies, &[])));
        assert_eq!(
            found,
            [
                "crates/x/Cargo.toml:1 cloakroom-gateway depends on cloakroom-store-embedded",
                "crates/x/Cargo.toml:1 cloakroom-gateway depends on cloakroom-supervise"
            ]
        );
        assert!(layering(&tree("cloakroom-cli", &dependencies, &[])).is_empty());
    }

    /// A new crate without a place would be free of every rule.
    #[test]
    fn a_crate_without_a_row_is_a_violation() {
        let found = shown(&layering(&tree("cloakroom-new", &[], &[])));
        assert_eq!(found, ["crates/x/Cargo.toml:1 cloakroom-new has no row in xtask/src/tidy/layers.rs"]);
    }

    /// `Instant::now` is in the standard library: no list of dependencies keeps it out.
    #[test]
    fn a_pure_crate_has_clippy_refuse_the_clock() {
        assert_eq!(disallowed_methods(&tree("cloakroom-wire", &[], &[])).len(), 1);
        let guarded = "disallowed-methods = [{ path = \"std::time::Instant::now\" }]";
        assert!(disallowed_methods(&tree("cloakroom-wire", &[], &[("crates/x/clippy.toml", guarded)])).is_empty());
        assert!(disallowed_methods(&tree("cloakroom-gateway", &[], &[])).is_empty());
    }

    /// A violation on the wrong line sends the reader to an innocent dependency.
    #[test]
    fn a_dependency_is_found_where_it_is_named() {
        let manifest = "[dev-dependencies]\nrand = \"1\"\n[dependencies]\nrandom = \"1\"\n[dependencies.mio]\n";
        assert_eq!(dependency_line(manifest, "rand"), None);
        assert_eq!(dependency_line(manifest, "random"), Some(4));
        assert_eq!(dependency_line(manifest, "mio"), Some(5));
    }
}
