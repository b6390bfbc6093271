//! What instances' answers do to sessions: patches, log-ins and ends, and the races between them.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom_config::ServerError;
use cloakroom_store::SessionStore;

use super::support::*;

fn gateway_with(store: &Arc<SpiedStore>, origin: &RawOrigin) -> TestGateway {
    TestGateway::with_store(&[origin], Arc::clone(store) as Arc<dyn SessionStore>, |_| {})
}

/// What the origin is told of a browser's session now.
fn session(browser: &mut Browser) -> Option<serde_json::Value> {
    let echo = browser.get("/look");
    let arrived = Message { head: echo.body, body: Vec::new(), trailers: String::new() };
    let value = arrived.header("cloakroom-session")?;
    Some(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(value).unwrap()).unwrap())
}

fn fields(browser: &mut Browser) -> String {
    session(browser).map_or_else(|| "none".to_owned(), |object| object["fields"].to_string())
}

/// Echoes, but holds back requests to `/slow` until it is told to answer.
fn echo_with_slow_path() -> (RawOrigin, std::sync::mpsc::Sender<()>, Receiver<()>) {
    let (release, may_answer) = channel();
    let (arrived, has_arrived) = channel();
    let (may_answer, arrived) = (Mutex::new(may_answer), Mutex::new(arrived));
    let origin = RawOrigin::serving(move |request| {
        if request.request() == "GET /slow" {
            arrived.lock().unwrap().send(()).unwrap();
            let _ = may_answer.lock().unwrap().recv();
        }
        saying(request)
    });
    (origin, release, has_arrived)
}

/// A ticket that was planted before the log-in must not be signed in by it (session fixation).
#[test]
fn a_log_in_rotates_the_ticket_and_keeps_the_fields() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.have_said(&[r#"Cloakroom-Session-Patch: {"cart":3}"#]);
    let mut thief = browser.clone();
    let before = session(&mut browser).unwrap();
    let answer = browser.have_said(&["Cloakroom-Session-Login: alice", r#"Cloakroom-Session-Patch: {"seen":true}"#]);
    assert!(answer.header("set-cookie").unwrap().contains("HttpOnly"));
    assert_ne!(browser.ticket(), thief.ticket());
    let after = session(&mut browser).unwrap();
    assert_eq!(after["sub"], "alice");
    assert_eq!(after["fields"].to_string(), r#"{"cart":3,"seen":true}"#);
    assert_ne!(after["sid"], before["sid"]);
    assert_eq!(session(&mut thief), None, "the old ticket is dead at once");
    assert_eq!(store.calls(Call::Rotate), 1);

    // The next user of the same browser.
    let alices = browser.clone();
    browser.have_said(&["Cloakroom-Session-Login: bob"]);
    assert_eq!(session(&mut browser).unwrap()["sub"], "bob");
    assert_eq!(session(&mut alices.clone()), None);
}

/// Most users sign in without having had a session.
#[test]
fn a_log_in_begins_a_session() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.have_said(&["Cloakroom-Session-Login: alice"]);
    let object = session(&mut browser).unwrap();
    assert_eq!((&object["sub"], object["fields"].to_string().as_str()), (&"alice".into(), "{}"));
    assert_eq!((store.calls(Call::Create), store.calls(Call::Rotate)), (1, 0));
}

/// A log-out that leaves the session alive on the server is no log-out.
#[test]
fn an_end_clears_the_cookie_and_kills_the_session() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.have_said(&["Cloakroom-Session-Login: alice"]);
    let mut thief = browser.clone();
    let answer = browser.have_said(&["Cloakroom-Session-End: 1", r#"Cloakroom-Session-Patch: {"late":1}"#]);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("set-cookie").unwrap(), "cloakroom=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    assert_eq!(browser.ticket(), None);
    assert_eq!(session(&mut thief), None);
    assert_eq!(store.calls(Call::Create), 1, "a patch beside an end begins nothing");
    let again = thief.have_said(&["Cloakroom-Session-End: 1"]);
    assert_eq!((again.status(), thief.ticket()), (200, None), "ending twice is ending");
}

/// A slower request of the same page must not bring a signed-out user's session back.
#[test]
fn a_patch_after_the_end_is_409_and_brings_nothing_back() {
    let (origin, release, has_arrived) = echo_with_slow_path();
    let store = SpiedStore::new();
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.have_said(&["Cloakroom-Session-Login: alice"]);
    let mut slow = browser.clone();
    let slow_request = std::thread::spawn(move || {
        let answer = slow.get_with("/slow", &[r#"x-say: Cloakroom-Session-Patch: {"back":1}"#]);
        (answer, slow)
    });
    has_arrived.recv_timeout(PATIENCE).unwrap();
    browser.have_said(&["Cloakroom-Session-End: 1"]);
    release.send(()).unwrap();
    let (answer, mut slow) = slow_request.join().unwrap();
    assert_eq!(answer.status(), 409);
    assert_eq!(answer.headers("set-cookie"), Vec::<String>::new());
    assert!(!answer.text().contains("GET"), "the instance's answer is not shown");
    assert_eq!(session(&mut slow), None);
    assert_eq!(store.calls(Call::Create), 1);
}

/// A request that was under way at the log-in must not write into the new session with the old ticket.
#[test]
fn a_patch_under_the_old_ticket_is_409() {
    let (origin, release, has_arrived) = echo_with_slow_path();
    let store = SpiedStore::new();
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.have_said(&[r#"Cloakroom-Session-Patch: {"cart":3}"#]);
    let mut slow = browser.clone();
    let slow_request =
        std::thread::spawn(move || slow.get_with("/slow", &[r#"x-say: Cloakroom-Session-Patch: {"cart":0}"#]));
    has_arrived.recv_timeout(PATIENCE).unwrap();
    browser.have_said(&["Cloakroom-Session-Login: alice"]);
    release.send(()).unwrap();
    assert_eq!(slow_request.join().unwrap().status(), 409);
    assert_eq!(fields(&mut browser), r#"{"cart":3}"#);
}

/// Whoever proves who they are is signed in, whatever became of their former session meanwhile.
#[test]
fn a_log_in_after_the_end_begins_afresh() {
    let (origin, release, has_arrived) = echo_with_slow_path();
    let store = SpiedStore::new();
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.have_said(&[r#"Cloakroom-Session-Patch: {"old":1}"#]);
    let mut slow = browser.clone();
    let slow_request = std::thread::spawn(move || {
        let answer = slow.get_with("/slow", &["x-say: Cloakroom-Session-Login: alice"]);
        (answer, slow)
    });
    has_arrived.recv_timeout(PATIENCE).unwrap();
    browser.have_said(&["Cloakroom-Session-End: 1"]);
    release.send(()).unwrap();
    let (answer, mut slow) = slow_request.join().unwrap();
    assert_eq!(answer.status(), 200);
    let object = session(&mut slow).unwrap();
    assert_eq!((&object["sub"], object["fields"].to_string().as_str()), (&"alice".into(), "{}"));
}

/// A page that loads its parts in parallel loses all changes but one, if sessions are written whole.
#[test]
fn parallel_patches_are_all_kept() {
    const REQUESTS: usize = 100;
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = TestGateway::with_store(&[&origin], store, |config| {
        config.gateway.workers = std::num::NonZeroUsize::new(2);
    });
    let mut browser = gateway.browser();
    browser.have_said(&[r#"Cloakroom-Session-Patch: {"first":0}"#]);
    let threads: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let mut browser = browser.clone();
            std::thread::spawn(move || {
                let answer = browser.have_said(&[&format!(r#"Cloakroom-Session-Patch: {{"f{number}":{number}}}"#)]);
                assert_eq!(answer.status(), 200);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let object = session(&mut browser).unwrap();
    assert_eq!(object["fields"].as_object().unwrap().len(), REQUESTS + 1);
    assert!((0..REQUESTS).all(|number| object["fields"][format!("f{number}")] == number));
}

/// A change that the gateway did not understand and dropped would be a cart that forgets, with a 200.
#[test]
fn a_bad_change_is_502_and_changes_nothing() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.have_said(&[r#"Cloakroom-Session-Patch: {"cart":3}"#]);
    let deep = format!(r#"Cloakroom-Session-Patch: {{"a":{}1{}}}"#, "[".repeat(33), "]".repeat(33));
    let bad: &[&[&str]] = &[
        &["Cloakroom-Session-Patch: not json"],
        &["Cloakroom-Session-Patch: [1]"],
        &["Cloakroom-Session-Patch: 3"],
        &["Cloakroom-Session-Patch:"],
        &[r#"Cloakroom-Session-Patch: {"a":1"#],
        &[r#"Cloakroom-Session-Patch: {"a":1} {"#],
        &[r#"Cloakroom-Session-Patch: {"a":1,"a":2}"#],
        &[&deep],
        &[r#"Cloakroom-Session-Patch: {"cloakroom.x":1}"#],
        &[r#"Cloakroom-Session-Patch: {"a":1}"#, r#"Cloakroom-Session-Patch: {"b":1}"#],
        &["Cloakroom-Session-Login:"],
        &["Cloakroom-Session-Login: alice", "Cloakroom-Session-Login: bob"],
        &["Cloakroom-Session-End: 0"],
        &["Cloakroom-Session-End: yes", r#"Cloakroom-Session-Patch: {"a":1}"#],
        &["Cloakroom-Session-End: 1", "Cloakroom-Session-End: 1"],
    ];
    for lines in bad {
        let answer = browser.have_said(lines);
        assert_eq!(answer.status(), 502, "{lines:?}");
        assert_eq!(answer.headers("set-cookie"), Vec::<String>::new(), "{lines:?}");
        assert!(!answer.text().contains("GET"), "{lines:?}");
        assert_eq!(fields(&mut browser), r#"{"cart":3}"#, "{lines:?}");
    }
    assert_eq!(store.calls(Call::Commit) + store.calls(Call::Rotate) + store.calls(Call::End), 0);
}

/// A session that grows with every page ends as a store that is full.
#[test]
fn a_session_over_its_cap_is_502_and_unchanged() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = TestGateway::with_store(&[&origin], store, |config| config.sessions.payload_bytes = 1024);
    let mut browser = gateway.browser();
    let large = format!(r#"Cloakroom-Session-Patch: {{"big":"{}"}}"#, "x".repeat(1100));
    assert_eq!(browser.have_said(&[&large]).status(), 502);
    assert_eq!(browser.ticket(), None, "no session began either");
    browser.have_said(&[r#"Cloakroom-Session-Patch: {"cart":3}"#]);
    assert_eq!(browser.have_said(&[&large]).status(), 502);
    assert_eq!(browser.have_said(&[&large, "Cloakroom-Session-Login: alice"]).status(), 502);
    assert_eq!(fields(&mut browser), r#"{"cart":3}"#);
}

/// A handler that changed the session and then failed must not leave half of its work behind.
#[test]
fn a_failed_answer_changes_nothing_but_an_end() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.have_said(&[r#"Cloakroom-Session-Patch: {"cart":3}"#]);
    let ticket = browser.ticket().map(str::to_owned);
    let patch = r#"x-say: Cloakroom-Session-Patch: {"cart":0}"#;
    for status in ["500", "503"] {
        let answer =
            browser.get_with("/", &[&format!("x-status: {status}"), patch, "x-say: Cloakroom-Session-Login: eve"]);
        assert_eq!(answer.status().to_string(), status, "the instance's answer passes");
        assert!(answer.text().starts_with("GET / "), "{}", answer.text());
        assert_eq!((fields(&mut browser).as_str(), browser.ticket()), (r#"{"cart":3}"#, ticket.as_deref()));
    }
    for status in ["404", "302", "204"] {
        let counted = format!(r#"x-say: Cloakroom-Session-Patch: {{"status":{status}}}"#);
        browser.get_with("/", &[&format!("x-status: {status}"), &counted]);
        assert_eq!(fields(&mut browser), format!(r#"{{"cart":3,"status":{status}}}"#));
    }
    let answer = browser.get_with("/", &["x-status: 500", "x-say: Cloakroom-Session-End: 1"]);
    assert_eq!((answer.status(), browser.ticket()), (500, None));
    browser.cookies.insert("cloakroom".to_owned(), ticket.unwrap());
    assert_eq!(session(&mut browser), None);

    let committing = TestGateway::with_store(&[&origin], SpiedStore::new(), |config| {
        config.sessions.server_error = ServerError::Commit;
    });
    let mut browser = committing.browser();
    browser.get_with("/", &["x-status: 500", patch]);
    assert_eq!(fields(&mut browser), r#"{"cart":0}"#);
}

/// `HEAD`, redirects and answers without a body carry changes like any other.
#[test]
fn a_change_comes_with_any_answer() {
    let (store, origin) = (
        SpiedStore::new(),
        RawOrigin::serving(|_| b"HTTP/1.1 304 Not Modified\r\nCloakroom-Session-Patch: {\"a\":1}\r\n\r\n".to_vec()),
    );
    let gateway = gateway_with(&store, &origin);
    let mut client = gateway.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head();
    assert_eq!(head.status(), 304);
    assert!(head.header("set-cookie").unwrap().starts_with("cloakroom="));
    assert_eq!(store.calls(Call::Create), 1);
}
