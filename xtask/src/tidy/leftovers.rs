//! Words that mark unfinished work. Work that is not done belongs to a tracker, where someone sees it.

use super::tree::Tree;
use super::{Rule, Violation};

const LEFTOVERS: &[(&str, &str)] = &[
    ("#[ignore", "a test that does not run proves nothing: mend it or delete it"),
    ("todo!", "what is merged works"),
    ("unimplemented!", "what is merged works"),
    ("dbg!", "a trace of debugging: log through tracing, or not at all"),
    ("TODO", "unfinished work belongs to a tracker, where someone sees it"),
    ("FIXME", "a known fault is mended or belongs to a tracker"),
];

/// Finds them in Rust files, comments included.
pub(super) fn leftovers(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.rust_files() {
        for (line, text) in file.lines() {
            for (word, why) in LEFTOVERS.iter().filter(|(word, _)| contains_word(text, word)) {
                violations.push(Violation {
                    rule: Rule::Leftovers,
                    path: file.path.clone(),
                    line,
                    what: format!("`{word}`"),
                    why,
                });
            }
        }
    }
    violations
}

/// Whether the text has the word, and not as a part of a longer one.
fn contains_word(text: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic left in a branch that no test takes would be found by a user.
    #[test]
    fn unfinished_work_is_found_where_it_stands() {
        let source = "//! x\nfn f() { todo!() }\n// FIXME: later\n#[ignore = \"slow\"]\nlet x = dbg!(y);\n";
        let found = leftovers(&Tree::of(&[("a.rs", source), ("a.md", "TODO")]));
        assert_eq!(found.iter().map(|violation| violation.line).collect::<Vec<_>>(), [2, 3, 4, 5]);
    }

    /// A rule that cried at names would soon be switched off.
    #[test]
    fn words_within_words_are_no_leftovers() {
        let source = "//! x\nmy_todo!();\nconst TODOS: u8 = 1;\nignore(); // ignored\n";
        assert!(leftovers(&Tree::of(&[("a.rs", source)])).is_empty());
    }
}
