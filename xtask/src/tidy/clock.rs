//! The gateway reads the clock in one place, once per request: readings that differ within a request make deadlines
//! and latencies that contradict each other, and each one costs time on the hottest path.

use super::tree::{SourceFile, Tree};
use super::{Rule, Violation};

const GATEWAY_SOURCES: &str = "crates/gateway/src/";

const READINGS: [&str; 2] = ["Instant::now", "SystemTime::now"];

/// Finds readings of the clock in the gateway, outside its tests.
pub(super) fn readings(tree: &Tree) -> Vec<Violation> {
    let sources = tree.rust_files().filter(|file| file.path.starts_with(GATEWAY_SOURCES) && !is_test_file(&file.path));
    sources.flat_map(readings_of).collect()
}

fn readings_of(file: &SourceFile) -> Vec<Violation> {
    let first_test_line = first_test_line(&file.text);
    let mut violations = Vec::new();
    for (line, text) in file.lines().take_while(|(line, _)| *line < first_test_line) {
        let code = text.split("//").next().unwrap_or_default();
        for reading in READINGS.iter().filter(|reading| code.contains(**reading)) {
            violations.push(Violation {
                rule: Rule::Clock,
                path: file.path.clone(),
                line,
                what: format!("{reading} outside clock.rs"),
                why: "one place reads the clock, once per request: ask the clock module",
            });
        }
    }
    violations
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Where the tests of a file begin: they stand last, in a module of their own.
fn first_test_line(text: &str) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let begins = |pair: &[&str]| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].trim_end().ends_with('{')
    };
    lines.windows(2).position(begins).map_or(usize::MAX, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second reading deep in a request would make its latency disagree with its deadline.
    #[test]
    fn a_reading_is_found_and_tests_are_free() {
        let source = "//! x\n// Instant::now is dear\nfn f() { Instant::now(); }\n\n#[cfg(test)]\nmod tests {\n    fn g() \
                      { SystemTime::now(); }\n}\n";
        let tree = Tree::of(&[
            ("crates/gateway/src/a.rs", source),
            ("crates/gateway/src/a/tests.rs", "fn f() { Instant::now(); }"),
            ("crates/gateway/tests/b.rs", "fn f() { Instant::now(); }"),
            ("crates/supervise/src/c.rs", "fn f() { Instant::now(); }"),
        ]);
        let found: Vec<_> = readings(&tree).into_iter().map(|violation| (violation.path, violation.line)).collect();
        assert_eq!(found, [("crates/gateway/src/a.rs".to_owned(), 3)]);
    }

    /// Tests in a file of their own are declared above the code, and must not hide what follows.
    #[test]
    fn a_declared_test_module_hides_nothing() {
        let source = "//! x\n#[cfg(test)]\nmod tests;\nfn f() { SystemTime::now(); }\n";
        let found = readings(&Tree::of(&[("crates/gateway/src/a.rs", source)]));
        assert_eq!(found.iter().map(|violation| violation.line).collect::<Vec<_>>(), [4]);
    }
}
