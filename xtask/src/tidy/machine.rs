//! Nothing in the repository may depend on the machine it was written on: a path of somebody's home or a fixed host of
//! a registry works for one person and fails for the next.

use super::tree::Tree;
use super::{Rule, Violation};

const FOLDERS: &[(&str, &str)] = &[
    ("/home/", "a home folder exists on one machine"),
    ("/Users/", "a home folder exists on one machine"),
    ("/root/", "a home folder exists on one machine"),
    ("/tmp/", "a fixed temporary path is shared with everyone on the machine: make a folder with a random name"),
    ("/var/tmp/", "a fixed temporary path is shared with everyone on the machine: make a folder with a random name"),
    ("/var/folders/", "a temporary folder of one login session"),
    ("/work/", "a working folder exists on one machine"),
    ("/workspace/", "a working folder exists on one machine"),
    ("/workspaces/", "a working folder exists on one machine"),
];

const REGISTRY_HOSTS: &[&str] = &[
    "://crates.io",
    "index.crates.io",
    "static.crates.io",
    "crates.io-index",
    "registry.npmjs.org",
    "registry.yarnpkg.com",
    "pypi.org",
    "files.pythonhosted.org",
    "proxy.golang.org",
    "repo.maven.apache.org",
    "rubygems.org",
];

/// Finds absolute paths into homes, temporary and working folders.
pub(super) fn paths(tree: &Tree) -> Vec<Violation> {
    find(tree, Rule::MachinePaths, |text| {
        let hit = FOLDERS.iter().find(|(folder, _)| names_folder(text, folder));
        hit.map(|(folder, why)| (format!("a path under {folder}"), *why))
    })
}

/// Finds hosts of package registries.
pub(super) fn registries(tree: &Tree) -> Vec<Violation> {
    find(tree, Rule::Registries, |text| {
        let hit = REGISTRY_HOSTS.iter().find(|host| text.contains(**host));
        hit.map(|host| (format!("the registry host {host}"), "the package manager's own settings name the registry"))
    })
}

fn find(tree: &Tree, rule: Rule, judge: impl Fn(&str) -> Option<(String, &'static str)>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in &tree.files {
        for (line, text) in file.lines() {
            if let Some((what, why)) = judge(text) {
                violations.push(Violation { rule, path: file.path.clone(), line, what, why });
            }
        }
    }
    violations
}

/// Whether an absolute path below the folder stands in the text: not the folder as a part of a longer path or of an
/// address, and not the folder alone.
fn names_folder(text: &str, folder: &str) -> bool {
    text.match_indices(folder).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + folder.len()..].chars().next();
        let continues = before.is_some_and(|character| character.is_alphanumeric() || "._-~$})*".contains(character));
        !continues && after.is_some_and(|character| character.is_alphanumeric() || "._-$".contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(violations: Vec<Violation>) -> Vec<usize> {
        violations.into_iter().map(|violation| violation.line).collect()
    }

    /// A test that writes to a fixed temporary path fails for the second user of a machine.
    #[test]
    fn paths_of_one_machine_are_found() {
        let text = "keys = \"/home/ann/keys\"\ncd /work/tree\nPath::new(\"/tmp/x\")\nfile:///Users/b/c\n`/root/.ssh`\n";
        assert_eq!(lines(paths(&Tree::of(&[("a.md", text)]))), [1, 2, 3, 4, 5]);
    }

    /// A route named /home or a folder named tmp is nobody's machine.
    #[test]
    fn other_paths_are_left_alone() {
        let text = "path = \"/home/*\"\nhttps://example.com/home/page\ntarget/tmp/x\n$ROOT/work/x\n../tmp/x\n/tmp\n";
        assert_eq!(lines(paths(&Tree::of(&[("a.md", text)]))), Vec::<usize>::new());
    }

    /// A download from a fixed host breaks every build behind a mirror.
    #[test]
    fn registry_hosts_are_found() {
        let text = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\ncargo publish to crates.io\n";
        assert_eq!(lines(registries(&Tree::of(&[("a.lock", text), ("b.md", "https://pypi.org/x")]))), [1, 1]);
    }
}
