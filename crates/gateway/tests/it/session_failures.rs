//! A store that can't be asked: nobody is signed out by it, and no lost change looks like success.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom_store::SessionStore;

use super::support::*;

const ALL: &[Call] = &[Call::Load, Call::Create, Call::Commit, Call::Touch, Call::Rotate, Call::End];

fn gateway_with(store: &Arc<SpiedStore>, origin: &RawOrigin) -> TestGateway {
    TestGateway::with_store(&[origin], Arc::clone(store) as Arc<dyn SessionStore>, |_| {})
}

/// "Unavailable, try again": never the instance's answer, never a word to the browser about its cookie.
fn check_unavailable(answer: &Message) {
    assert_eq!(answer.status(), 503, "{}", answer.head());
    assert_eq!(answer.header("retry-after").as_deref(), Some("2"));
    assert_eq!(answer.headers("set-cookie"), Vec::<String>::new());
    assert!(!answer.text().contains("GET") && !answer.text().contains("10.9.8.7"), "{}", answer.text());
}

/// A store that fails over for two seconds would otherwise sign everybody out for good.
#[test]
fn a_store_that_is_down_signs_nobody_out() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.have_said(&["Cloakroom-Session-Login: alice"]);
    let arrived = origin.received().len();
    store.fail(ALL);
    check_unavailable(&browser.get("/"));
    assert_eq!(origin.received().len(), arrived, "no instance sees a request without its session");
    assert!(browser.ticket().is_some());
    let mut stranger = gateway.browser();
    assert_eq!(stranger.get("/").status(), 200, "who has no ticket needs no store");
    store.fail(&[]);
    assert_eq!(browser.get("/").status(), 200);
    assert!(holds(&origin.received()[arrived..], "cloakroom-session: "));
    assert!(gateway.metric("cloakroom_store_failures_total{operation=\"load\"}") >= 1.0);
}

/// A change that was not kept and answered with the instance's 200 is an order that nobody took.
#[test]
fn a_change_that_was_not_kept_is_never_a_200() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    store.fail(&[Call::Create]);
    check_unavailable(&browser.have_said(&[r#"Cloakroom-Session-Patch: {"a":1}"#]));
    check_unavailable(&browser.have_said(&["Cloakroom-Session-Login: alice"]));
    store.fail(&[]);
    browser.have_said(&[r#"Cloakroom-Session-Patch: {"a":1}"#]);
    let ticket = browser.ticket().map(str::to_owned);
    for (call, line) in [
        (Call::Commit, r#"Cloakroom-Session-Patch: {"a":2}"#),
        (Call::Rotate, "Cloakroom-Session-Login: alice"),
        (Call::End, "Cloakroom-Session-End: 1"),
    ] {
        store.fail(&[call]);
        check_unavailable(&browser.have_said(&[line]));
        assert_eq!(browser.ticket(), ticket.as_deref(), "{call:?}");
    }
    check_unavailable(&browser.get_with("/", &["x-status: 500", "x-say: Cloakroom-Session-End: 1"]));
    store.fail(&[]);
    assert_eq!(browser.get("/").status(), 200);
}

/// Being seen is bookkeeping: its failure is no failure of the request.
#[test]
fn a_touch_that_fails_fails_nobody() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = TestGateway::with_store(&[&origin], Arc::clone(&store) as Arc<dyn SessionStore>, |config| {
        config.sessions.touch = Duration::ZERO;
    });
    let mut browser = gateway.browser();
    browser.have_said(&["Cloakroom-Session-Login: alice"]);
    store.fail(&[Call::Touch]);
    assert_eq!(browser.get("/").status(), 200);
    store.wait_for(Call::Touch, 1);
    assert_eq!(browser.get("/").status(), 200);
}

/// A store that hangs would otherwise hang every page with it.
#[test]
fn a_store_that_hangs_is_given_up() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.have_said(&["Cloakroom-Session-Login: alice"]);
    store.fall_silent();
    store.fail(ALL);
    let started = Instant::now();
    let mut other = browser.clone();
    let commit = std::thread::spawn({
        let mut stranger = gateway.browser();
        move || stranger.have_said(&["Cloakroom-Session-Login: bob"])
    });
    check_unavailable(&other.get("/"));
    check_unavailable(&commit.join().unwrap());
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    store.fail(&[]);
    assert_eq!(browser.get("/").status(), 200);
}
