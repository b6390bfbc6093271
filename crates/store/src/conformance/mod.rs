//! The rules of a store as checks that every adapter runs, so that a gateway behaves the same over any of them.
//!
//! [`run`] goes through all [`cases`]; [`model::check_against_model`] compares a store with [`crate::memory`] over
//! random sequences of changes. A failed check panics with the case's name and its failure story. Needs a tokio runtime.
#![expect(clippy::unwrap_used, reason = "a failed check ends the test that runs the suite")]

mod fields;
mod life;
pub mod model;
mod principals;
mod rotation;
mod support;

use std::pin::Pin;
use std::sync::Arc;

use crate::SessionStore;

/// One check under way.
pub type CaseFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One rule of a store.
pub struct Case {
    /// Its name, in the words of the rule.
    pub name: &'static str,
    /// What happens to users of a store that breaks it.
    pub story: &'static str,
    /// Checks the rule on a store that is empty or holds other sessions; panics where the rule is broken.
    pub run: fn(Arc<dyn SessionStore>) -> CaseFuture,
}

/// Runs every case, each on a store from `open`.
///
/// # Panics
/// At the first broken rule, with its name and story.
pub async fn run(open: impl AsyncFn() -> Arc<dyn SessionStore>) {
    for case in cases() {
        let store = open().await;
        let outcome = tokio::spawn((case.run)(store)).await;
        assert!(outcome.is_ok(), "the store breaks the rule `{}`: {}", case.name, case.story);
    }
}

/// Builds a [`Case`] from a check.
macro_rules! case {
    ($name:literal, $check:path, $story:literal) => {
        Case { name: $name, story: $story, run: |store| Box::pin($check(store)) }
    };
}

/// Every rule. Those about principals pass at once on a store without them.
pub fn cases() -> Vec<Case> {
    let mut cases = session_cases();
    cases.extend(rotation_cases());
    cases.extend(principal_cases());
    cases
}

fn session_cases() -> Vec<Case> {
    vec![
        case!(
            "a session is created, loaded, changed, touched and ended",
            life::round_trip,
            "a store that gets one of these wrong serves nobody"
        ),
        case!(
            "nothing comes back after an end",
            life::no_resurrection,
            "a slow request's commit signs a user in again who has just signed out"
        ),
        case!(
            "a taken key is not overwritten",
            life::taken_key,
            "a broken random source hands one user's session to another"
        ),
        case!("idle expiry is exact", life::idle_expiry, "a shared computer stays signed in after its user has left"),
        case!(
            "absolute expiry is exact",
            life::absolute_expiry,
            "a stolen ticket that is used often enough lives for ever"
        ),
        case!(
            "touches are throttled",
            life::touch_throttle,
            "each page view costs a write, and the store is the first to fall over"
        ),
        case!("a closed store says so", life::closed, "a change sent during shutdown is acknowledged and lost"),
        case!(
            "concurrent commits keep each other's fields",
            fields::concurrent_fields,
            "two tabs of one user overwrite each other's cart"
        ),
        case!(
            "a removed field stays removed",
            fields::removed_field_stays_removed,
            "a voucher that was taken back returns with the next request"
        ),
        case!(
            "an expected revision is enforced",
            fields::expected_revision,
            "two check-outs of one cart both go through"
        ),
        case!(
            "a delta over the cap is refused whole",
            fields::payload_cap,
            "half a change is kept, and nobody knows which half"
        ),
    ]
}

fn rotation_cases() -> Vec<Case> {
    vec![
        case!(
            "a log-in cuts the old key off at once",
            rotation::login,
            "a ticket planted by an attacker is signed in together with its victim"
        ),
        case!(
            "parallel rotations make one successor",
            rotation::one_successor,
            "the requests of one page view scatter a user over several sessions"
        ),
        case!(
            "an alias leads to the session for its grace and no longer",
            rotation::alias_grace,
            "requests on their way with the old ticket sign the user out, or an old ticket works for ever"
        ),
        case!(
            "a commit through an alias reaches the session",
            rotation::commit_through_alias,
            "what a user did while the ticket changed is lost"
        ),
        case!(
            "a log-in through an alias is not lost",
            rotation::login_through_alias,
            "a user who signs in while the ticket changes stays signed out"
        ),
        case!(
            "an end kills the session under all its keys",
            rotation::end_kills_every_key,
            "signing out leaves the session open under its other ticket"
        ),
        case!("a rotation never takes over another session", rotation::taken_new_key, "two users share one session"),
        case!(
            "a refused rotation leaves the old key as it was",
            rotation::refused_rotation,
            "a patch that is too large signs the user out"
        ),
    ]
}

fn principal_cases() -> Vec<Case> {
    vec![
        case!(
            "ending all sessions kills every one but the excepted",
            principals::end_all,
            "a thief stays signed in after the user has signed out everywhere"
        ),
        case!(
            "no race with ending all leaves an earlier session alive",
            principals::end_all_races,
            "a request in flight carries the thief's session over"
        ),
        case!(
            "a session of another is never excepted",
            principals::end_all_spares_only_its_own,
            "a mistaken exception revives or rebinds a session that is none of the user's"
        ),
        case!(
            "a principal's sessions come in pages",
            principals::pages,
            "the list of devices leaves some out, and those are never ended"
        ),
    ]
}
