//! The shape of a source file: short enough to be read in one sitting, and opened by a line that says why it exists.

use super::tree::Tree;
use super::{Rule, Violation};

/// The most lines of a source file.
const LINES_MAX: usize = 600;

const SOURCE_EXTENSIONS: [&str; 7] = ["rs", "js", "ts", "css", "html", "py", "sh"];

/// A long file is several things under one name.
pub(super) fn length(tree: &Tree) -> Vec<Violation> {
    let sources = tree.files.iter().filter(|file| SOURCE_EXTENSIONS.contains(&file.extension()));
    let long = sources.filter(|file| file.text.lines().count() > LINES_MAX);
    long.map(|file| Violation {
        rule: Rule::Length,
        path: file.path.clone(),
        line: LINES_MAX + 1,
        what: format!("{} lines, above {LINES_MAX}", file.text.lines().count()),
        why: "a long file is several things under one name: split it",
    })
    .collect()
}

/// A reader who opens a file learns first what it is for.
pub(super) fn opening(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.rust_files() {
        let first = file.lines().find(|(_, text)| !text.trim().is_empty());
        let (line, text) = first.unwrap_or((1, ""));
        let says_something = text.strip_prefix("//!").is_some_and(|words| !words.trim().is_empty());
        if !says_something {
            violations.push(Violation {
                rule: Rule::Opening,
                path: file.path.clone(),
                line,
                what: "does not open with a `//!` line".to_owned(),
                why: "a file says first why it exists",
            });
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(violations: Vec<Violation>) -> Vec<String> {
        violations.into_iter().map(|violation| violation.path).collect()
    }

    /// Without a limit, files grow by one test at a time until nobody reads them.
    #[test]
    fn length_counts_in_sources_and_nowhere_else() {
        let longest = "x\n".repeat(LINES_MAX);
        let too_long = "x\n".repeat(LINES_MAX + 1);
        let tree = Tree::of(&[("a.rs", &longest), ("b.rs", &too_long), ("c.lock", &too_long), ("d.css", &too_long)]);
        assert_eq!(paths(length(&tree)), ["b.rs", "d.css"]);
    }

    /// A file that opens with its imports leaves the reader to guess its purpose.
    #[test]
    fn a_file_opens_with_its_purpose() {
        let tree = Tree::of(&[
            ("good.rs", "\n//! Why.\nuse a;\n"),
            ("imports.rs", "use a;\n//! Late.\n"),
            ("empty.rs", ""),
            ("hollow.rs", "//!\n//! Why.\n"),
            ("read.me", "hello"),
        ]);
        assert_eq!(paths(opening(&tree)), ["imports.rs", "empty.rs", "hollow.rs"]);
    }
}
