//! Sessions from the first visit to the last: what browsers hold, what instances are told, what the store is asked.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom_config::{SessionCookie, SessionMode};
use cloakroom_session::{Delta, Lifetimes, Principal, Record, Ticket, Timestamp};
use cloakroom_store::{CreateRequest, PrincipalIndex as _, SessionStore};

use super::support::*;

fn gateway_with(store: &Arc<SpiedStore>, origin: &RawOrigin) -> TestGateway {
    TestGateway::with_store(&[origin], Arc::clone(store) as Arc<dyn SessionStore>, |_| {})
}

/// The value of `Cloakroom-Session` that an echoing origin got.
fn presented(echo: &Message) -> Option<String> {
    Message { head: echo.body.clone(), body: Vec::new(), trailers: String::new() }.header("cloakroom-session")
}

/// The object that an echoing origin got as plain JSON.
fn object(echo: &Message) -> Option<serde_json::Value> {
    presented(echo).map(|value| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(value).unwrap()).unwrap())
}

fn now() -> Timestamp {
    Timestamp::from_millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

fn ago(time: Duration) -> Timestamp {
    Timestamp::from_millis(now().as_millis() - time.as_millis() as u64)
}

/// Runs a call of the store to its end.
fn done<Answer>(call: cloakroom_store::StoreFuture<'_, Answer>) -> Answer {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(call).unwrap()
}

/// Puts a session into the store behind the gateway's back; the ticket that leads to it.
fn plant(store: &SpiedStore, record: Record) -> Ticket {
    let ticket = Ticket::from_entropy([9; 32]);
    done(store.inner.create(CreateRequest { key: key_ring().store_key(&ticket), record }));
    ticket
}

fn with_field(record: Record) -> Record {
    let delta = Delta::parse_patch(br#"{"planted":true}"#).unwrap();
    let at = record.last_seen_at;
    record.with_delta(&delta, at, 1000).unwrap()
}

/// A session per visit fills the store with robots.
#[test]
fn a_visit_makes_no_session_and_asks_no_store() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.cookies.insert("theme".to_owned(), "dark".to_owned());
    for _ in 0..3 {
        let answer = browser.get("/");
        assert_eq!(answer.headers("set-cookie"), Vec::<String>::new());
        assert_eq!(presented(&answer), None);
    }
    let answer = browser.have_said(&[r#"Cloakroom-Session-Patch: {"a":null}"#]);
    assert_eq!(answer.headers("set-cookie"), Vec::<String>::new(), "removing nothing begins nothing");
    assert_eq!(store.all_calls(), 0);
}

/// A cookie without its attributes is readable by scripts and sent along by other sites.
#[test]
fn the_first_patch_begins_a_session() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    let answer = browser.have_said(&[r#"Cloakroom-Session-Patch: {"cart":[1,2],"n":1.50}"#, "Set-Cookie: own=1"]);
    assert_eq!(answer.status(), 200);
    let cookies = answer.headers("set-cookie");
    assert_eq!(cookies[0], "own=1");
    let (ticket, attributes) = cookies[1].split_once(';').unwrap();
    assert_eq!(ticket.len(), "cloakroom=".len() + 43, "{ticket}");
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000");
    assert_eq!(answer.headers("cache-control"), ["no-store"]);
    assert!(!answer.head().contains("loakroom-session"), "{}", answer.head());

    let echo = browser.get("/next");
    let object = object(&echo).unwrap();
    assert_eq!(object["iss"], "cloakroom");
    assert_eq!(object["aud"], "default");
    assert_eq!(object["fields"].to_string(), r#"{"cart":[1,2],"n":1.5}"#);
    assert!(object.get("sub").is_none());
    assert_ne!(object["sid"].as_str(), browser.ticket(), "the handle is not the ticket");
    assert!(!echo.text().contains(browser.ticket().unwrap()));
    assert_eq!(echo.headers("set-cookie"), Vec::<String>::new(), "a session that stays as it is sets no cookie");

    browser.have_said(&[r#"Cloakroom-Session-Patch: {"cart":null,"m":2}"#]);
    assert_eq!(super::session_life::object(&browser.get("/")).unwrap()["fields"].to_string(), r#"{"m":2,"n":1.5}"#);
}

/// On TLS the cookie must not be sent in the clear, nor be set by a neighbouring subdomain.
#[test]
fn behind_tls_the_cookie_is_secure_and_bound_to_its_host() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = TestGateway::with_store(&[&origin], store, |config| {
        config.gateway.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let mut browser = gateway.browser();
    let https = "X-Forwarded-Proto: https";
    let answer = browser.get_with("/say", &[https, r#"x-say: Cloakroom-Session-Patch: {"a":1}"#]);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-cloakroom="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=2592000"), "{cookie}");
    let echo = browser.get_with("/", &[https]);
    assert_eq!(object(&echo).unwrap()["fields"]["a"], 1);
    assert!(!echo.text().contains("__Host-"), "{}", echo.text());
    // A plain cookie of that name may have been planted by a neighbour.
    let ticket = browser.cookies.remove("__Host-cloakroom").unwrap();
    browser.cookies.insert("cloakroom".to_owned(), ticket);
    assert_eq!(presented(&browser.get_with("/", &[https])), None);
}

/// Instances verify with a standard library and the published keys, or they could as well not verify.
#[test]
fn a_signed_session_verifies_against_the_published_keys() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = TestGateway::with_store(&[&origin], store, |config| config.pools[0].session = SessionMode::Token);
    let mut browser = gateway.browser();
    browser.have_said(&["Cloakroom-Session-Login: alice", r#"Cloakroom-Session-Patch: {"cart":3}"#]);
    let token = presented(&browser.get("/")).unwrap();
    let keys: serde_json::Value = serde_json::from_slice(&gateway.admin("GET /.well-known/jwks.json").body).unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"].as_str() == header.kid.as_deref()).unwrap();
    assert_eq!((&key["kty"], &key["crv"]), (&"OKP".into(), &"Ed25519".into()));
    let key = jsonwebtoken::DecodingKey::from_ed_components(key["x"].as_str().unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&["default"]);
    validation.set_issuer(&["cloakroom"]);
    let claims = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).unwrap().claims;
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["fields"]["cart"], 3);
    assert_eq!(presented(&browser.get("/")).unwrap(), token, "an unchanged session is not signed again");
    browser.have_said(&[r#"Cloakroom-Session-Patch: {"cart":4}"#]);
    assert_ne!(presented(&browser.get("/")).unwrap(), token);
}

/// A ticket in an instance's log signs in whoever reads the log.
#[test]
fn our_cookies_stay_here_and_the_others_pass() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let ticket = "A".repeat(43);
    for (cookies, expected) in [
        (format!("Cookie: a=1; cloakroom={ticket}; b=2\r\n"), Some("a=1; b=2")),
        (format!("Cookie: cloakroom={ticket}\r\n"), None),
        (format!("Cookie: a=1\r\nCookie: cloakroom={ticket}\r\nCookie: b=2\r\n"), Some("a=1; b=2")),
        (format!("Cookie: __Host-cloakroom={ticket}; cloakroom-pin=x; __Host-cloakroom-pin=x; c=3\r\n"), Some("c=3")),
        (format!("Cookie: cloakroom ={ticket};cloakroom=x; xcloakroom=y\r\n"), Some("xcloakroom=y")),
    ] {
        let answer = gateway.client().ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{cookies}\r\n"));
        let arrived = Message { head: answer.body, body: Vec::new(), trailers: String::new() };
        assert_eq!(arrived.header("cookie").as_deref(), expected, "{cookies}");
    }
    assert!(!holds(&origin.received(), &ticket));
    let forwarding = TestGateway::with_store(&[&origin], store, |config| {
        config.routes[0].session_cookie = SessionCookie::Forward;
    });
    let cookies = format!("Cookie: cloakroom={ticket}; cloakroom-pin=x");
    let echo = forwarding.browser().get_with("/", &[&cookies]).text();
    assert!(echo.contains(&ticket) && !echo.contains("cloakroom-pin"), "{echo}");
}

/// A client that may choose its session's name plants one in a victim's browser and waits for the log-in.
#[test]
fn tickets_that_lead_nowhere_are_anonymous_and_never_adopted() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let canonical = "A".repeat(42);
    for malformed in ["", "x", "../../etc/passwd", "\u{1f36a}", &canonical, &format!("{canonical}B"), &"A".repeat(9000)]
    {
        let mut browser = gateway.browser();
        browser.cookies.insert("cloakroom".to_owned(), malformed.to_owned());
        let answer = browser.get("/");
        assert_eq!(answer.status(), 200, "{malformed}");
        assert_eq!(presented(&answer), None, "{malformed}");
        assert_eq!(answer.headers("set-cookie"), Vec::<String>::new(), "{malformed}");
    }
    assert_eq!(store.all_calls(), 0, "what is no ticket is no question either");

    let planted = Ticket::from_entropy([3; 32]).reveal();
    let mut browser = gateway.browser();
    browser.cookies.insert("cloakroom".to_owned(), planted.clone());
    let answer = browser.get("/");
    assert_eq!((answer.status(), presented(&answer)), (200, None));
    assert_eq!(answer.headers("set-cookie"), Vec::<String>::new(), "an unknown ticket is not cleared either");
    assert_eq!(store.calls(Call::Load), 1);
    browser.have_said(&["Cloakroom-Session-Login: victim"]);
    assert_ne!(browser.ticket(), Some(planted.as_str()));
    assert!(presented(&browser.get("/")).is_some());
    browser.cookies.insert("cloakroom".to_owned(), planted);
    assert_eq!(presented(&browser.get("/")), None);
}

/// A session that outlives its deadline is a shared computer left signed in.
#[test]
fn sessions_run_out() {
    let hour = Duration::from_secs(3600);
    let lifetimes = Lifetimes { idle: hour, absolute: 2 * hour, touch: Duration::from_secs(30) };
    let mut used_until_now = with_field(Record::begin(ago(2 * hour), &lifetimes));
    used_until_now.last_seen_at = ago(Duration::from_secs(1));
    let mut fresh = with_field(Record::begin(ago(hour + hour / 2), &lifetimes));
    fresh.last_seen_at = ago(hour / 2);
    for (record, is_alive) in
        [(with_field(Record::begin(ago(hour), &lifetimes)), false), (used_until_now, false), (fresh, true)]
    {
        let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
        let ticket = plant(&store, record);
        let gateway = gateway_with(&store, &origin);
        let mut browser = gateway.browser();
        browser.cookies.insert("cloakroom".to_owned(), ticket.reveal());
        assert_eq!(object(&browser.get("/")).is_some(), is_alive);
        // A change after the end begins a new session, without what the old one held.
        browser.have_said(&[r#"Cloakroom-Session-Patch: {"new":1}"#]);
        assert_eq!(browser.ticket() == Some(ticket.reveal().as_str()), is_alive);
        let fields = object(&browser.get("/")).unwrap()["fields"].clone();
        assert_eq!(fields.get("planted").is_some(), is_alive, "{fields}");
    }
}

/// "Sign out everywhere" that one gateway does not notice leaves the thief signed in.
#[test]
fn a_revoked_session_is_dead() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.have_said(&["Cloakroom-Session-Login: alice"]);
    assert_eq!(object(&browser.get("/")).unwrap()["sub"], "alice");
    done(store.inner.end_all(&Principal::parse(b"alice").unwrap(), None, now()));
    assert_eq!(presented(&browser.get("/")), None);
    browser.have_said(&["Cloakroom-Session-Login: alice"]);
    assert_eq!(object(&browser.get("/")).unwrap()["sub"], "alice");
}

/// A write per request makes the store the bottleneck of every page.
#[test]
fn being_seen_is_written_once_per_window() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let mut record = with_field(Record::begin(ago(Duration::from_secs(600)), &Lifetimes::default()));
    record.last_seen_at = ago(Duration::from_secs(31));
    let ticket = plant(&store, record);
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    browser.cookies.insert("cloakroom".to_owned(), ticket.reveal());
    browser.get("/");
    store.wait_for(Call::Touch, 1);
    for _ in 0..5 {
        browser.get("/");
    }
    assert_eq!(store.calls(Call::Touch), 1);
    assert_eq!(store.calls(Call::Commit), 0);
    let seen = done(store.inner.load(&key_ring().store_key(&ticket), now())).unwrap().record.last_seen_at;
    assert!(now().since(seen) < Duration::from_secs(5));
}

/// A header over an instance's limit would turn every request of that user into a 431.
#[test]
fn a_large_session_is_announced_without_its_fields() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = gateway_with(&store, &origin);
    let mut browser = gateway.browser();
    for name in ["a", "b"] {
        browser.have_said(&[&format!(r#"Cloakroom-Session-Patch: {{"{name}":"{}"}}"#, "x".repeat(6000))]);
    }
    let object = object(&browser.get("/")).unwrap();
    assert_eq!(object["large"], true);
    assert!(object.get("fields").is_none());
}

/// A pool without sessions must not cost the store anything, nor believe anybody.
#[test]
fn a_pool_without_sessions_has_none() {
    let (store, origin) = (SpiedStore::new(), RawOrigin::echo());
    let gateway = TestGateway::with_store(&[&origin], Arc::clone(&store) as Arc<dyn SessionStore>, |config| {
        config.pools[0].session = SessionMode::Off;
    });
    let mut browser = gateway.browser();
    browser.cookies.insert("cloakroom".to_owned(), "A".repeat(43));
    let answer = browser.have_said(&[r#"Cloakroom-Session-Patch: {"a":1}"#]);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers("set-cookie"), Vec::<String>::new());
    assert!(!answer.head().contains("loakroom-session"));
    assert_eq!((presented(&answer), store.all_calls()), (None, 0));
}
