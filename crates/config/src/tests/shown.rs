//! How mistakes are shown: in every form, for every text, without a secret and without a crash.

use proptest::prelude::*;

use super::errors;
use crate::{Config, example};

/// Configuration errors end up in build logs and chat rooms; a password in them is a leak.
#[test]
fn credentials_are_never_shown() {
    for line in [
        "store = \"redis://user:hunter2@10.0.0.1:6379\"",
        "store = \"redis://user:hun\\\"ter2@10.0.0.1:6379\"",
        "store = \"user:hunter2@10.0.0.1\"",
        "store = \"\"\"redis:\nhunter2@10.0.0.1\"\"\"",
        "store = redis://user:hunter2@10.0.0.1:6379",
        "store = \"redis://user:hunter2@10.0.0.1:6379",
        "cookie = \"redis://user:hunter2@10.0.0.1:6379\"",
        "outage = \"redis://user:hunter2@10.0.0.1:6379\"",
        "\"redis://user:hunter2@10.0.0.1:6379\" = 1",
    ] {
        let errors = errors(&format!("[sessions]\n{line}\nidle = 1\n"));
        let shown = format!("{errors} {errors:?} {}", errors.render(false, 80));
        assert!(!shown.contains("ter2"), "{line}\n{shown}");
    }
}

/// A wrapped table of errors in a narrow terminal is unreadable; escape codes in a log file are, too.
#[test]
fn rendering_fits_the_terminal_and_is_plain_when_asked() {
    let text = "[gateway]\nlisten = \"0.0.0.0:80800\"\nworker = 4\n[sessions]\nidle = \"500d\"\ntouch = 3\n\
        [pools.shop]\nbalance = \"maglev\"\ninstances = [\n\"10.0.0.1:4001\",\n\"10.0.0.1:4001\",\n]\n\
        health = { pth = \"/\" }\n[[routes]]\nlimit = 3\npool = \"shp\"\n";
    let errors = errors(text);
    for width in [60, 80, 120] {
        let plain = errors.render(false, width);
        for line in plain.lines() {
            assert!(line.chars().count() <= width, "{} columns:\n{plain}", line.chars().count());
        }
        assert!(!plain.contains('\u{1b}'), "{plain}");
    }
    let plain = errors.render(false, 80);
    let parts = ["[gateway.toml:3:1]", "worker = 4", "did you mean `workers`?", "first here", "──"];
    for part in parts {
        assert!(plain.contains(part), "{part} is not in\n{plain}");
    }
    assert!(plain.ends_with(&format!("{} errors in gateway.toml\n", errors.errors().len())));
    assert!(errors.render(true, 80).contains('\u{1b}'));
    let empty = Config::parse("", "empty.toml").expect_err("no pools");
    assert!(empty.render(false, 80).ends_with("1 error in empty.toml\n"));
}

/// Parses, and shows what is wrong in every form.
fn exercise(text: &str) {
    if let Err(errors) = Config::parse(text, "gateway.toml") {
        assert!(!errors.errors().is_empty());
        assert_eq!(errors.source_text().len(), text.len());
        let _ = errors.to_string();
        let _ = errors.render(false, 80);
    }
}

proptest! {
    /// A file that crashes `cloakroom check` says nothing about what is wrong with it.
    #[test]
    fn any_text_parses_or_is_refused(text in any::<String>()) {
        exercise(&text);
    }

    /// Text that is nearly TOML gets further into the readers than noise does.
    #[test]
    fn toml_like_text_parses_or_is_refused(text in "([a-z_.]{1,8}|[=\\[\\]{}\",'@#:/*ä€-]|[0-9]{1,3}| |\n|\r\n|\\[\\[routes\\]\\]\n|\\[pools\\.a\\]\n|store = \"){0,60}") {
        exercise(&text);
    }

    /// A slip of the hand in a good file is the usual case.
    #[test]
    fn a_damaged_example_parses_or_is_refused(
        at in 0..example().len(),
        removed in 0usize..40,
        inserted in "[\\[\\]{}=\"'\n@:/ä€a0-]{0,4}",
    ) {
        let from = example().floor_char_boundary(at);
        let to = example().ceil_char_boundary((at + removed).min(example().len()));
        let mut text = example().to_owned();
        text.replace_range(from..to, &inserted);
        exercise(&text);
    }

    /// Two lines swapped, doubled or lost by an editor.
    #[test]
    fn shuffled_lines_parse_or_are_refused(order in prop::collection::vec(0usize..90, 0..90)) {
        let lines: Vec<&str> = example().lines().collect();
        let text: Vec<&str> = order.iter().map(|index| lines[index % lines.len()]).collect();
        exercise(&text.join("\n"));
    }
}

/// A store URL that was pasted where a pool's name belongs would show its password in every message about the pool.
#[test]
fn a_credential_used_as_a_name_is_blanked() {
    let text = "[pools.\"redis://user:hunter2@host\"]\n";
    let errors = Config::parse(text, "gateway.toml").unwrap_err();
    let shown = format!("{errors} {errors:?} {}", errors.render(false, 80));
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// Each error with its source line costs a look through the file: thousands of them would take minutes.
#[test]
fn thousands_of_errors_are_all_told_and_the_first_ones_shown() {
    let text: String = (0..2000).map(|number| format!("key{number} = 1\n")).collect();
    let errors = Config::parse(&text, "gateway.toml").unwrap_err();
    let rendered = errors.render(false, 80);
    assert!(rendered.contains("unknown key `key0`") && rendered.contains("unknown key `key1999`"));
    assert_eq!(rendered.matches('╰').count(), 100);
}
