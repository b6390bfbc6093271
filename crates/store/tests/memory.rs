//! The model passes the suite it is the measure of.
#![expect(clippy::unwrap_used, reason = "a failed step ends the test")]

use std::sync::Arc;

use cloakroom_store::SessionStore;
use cloakroom_store::conformance::model::{Operation, check_against_model, operations};
use cloakroom_store::conformance::{cases, run};
use cloakroom_store::memory::MemoryStore;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

/// A model that breaks a rule would declare right stores wrong and wrong ones right.
#[test]
fn the_model_keeps_every_rule() {
    runtime().block_on(run(async || Arc::new(MemoryStore::new()) as Arc<dyn SessionStore>));
}

/// Two rules of one name could not be told apart in a failure.
#[test]
fn cases_have_names_of_their_own() {
    let mut names: Vec<_> = cases().iter().map(|case| case.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// A failure that prints bytes instead of what was done is looked at by nobody.
#[test]
fn operations_read_as_sentences() {
    let rotate = Operation::Rotate { old: 1, new: 2, login: Some(0), length: None };
    assert_eq!(format!("{rotate} {rotate:?}"), "rotate #1 to #2 as user 0 signs in ".repeat(2).trim_end());
}

proptest::proptest! {
    /// A driver that depends on chance or on the clock would find differences where there are none.
    #[test]
    fn the_model_agrees_with_itself(operations in operations(40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = Arc::new(MemoryStore::new());
        let outcome = runtime.block_on(check_against_model(store, &operations, async |_| ()));
        proptest::prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}
