//! A gateway that panics over its configuration tells the operator nothing, in the minutes when they most need to
//! know; and a message that quotes the store's password puts it into every log the message reaches.
//!
//! Each `~` of the input stands for a store URL with a password, so that credentials turn up in every place of a file.

#![no_main]

use cloakroom_config::{Config, ConfigErrors};
use libfuzzer_sys::fuzz_target;

const PASSWORD: &str = "Hunter2Swordfish";
const STORE_URL: &str = "redis://cart:Hunter2Swordfish@db.example:6379/0";

fuzz_target!(|input: &str| {
    if input.contains(PASSWORD) {
        return;
    }
    let text = input.replace('~', STORE_URL);
    match Config::parse(&text, "gateway.toml") {
        Ok(config) => check_valid(&config),
        Err(errors) => check_errors(&errors, &text),
    }
});

fn check_valid(config: &Config) {
    assert!(!config.pools.is_empty() && !config.routes.is_empty());
    assert!(config.routes.iter().all(|route| route.pool.0 < config.pools.len()), "a route without its pool");
}

fn check_errors(errors: &ConfigErrors, text: &str) {
    assert!(!errors.errors().is_empty());
    assert_eq!(errors.source_text().len(), text.len(), "spans would not fit");
    for error in errors.errors() {
        assert!(errors.source_text().get(error.span()).is_some());
        assert!(error.first().is_none_or(|first| errors.source_text().get(first).is_some()));
        assert!(error.line() >= 1 && error.column() >= 1);
    }
    for shown in [errors.to_string(), errors.render(false, 80), errors.render(true, 0), format!("{errors:?}")] {
        assert!(!shown.contains(PASSWORD), "{}", shown.replace(PASSWORD, "<the password>"));
    }
}
