//! Pins: a cookie that leads back to the instance that served before, and what happens where it can't.

use std::time::Duration;

use cloakroom_config::{Affinity, Config};

use super::support::*;

fn pinned(config: &mut Config) {
    config.pools[0].affinity = Affinity::Cookie { ttl: Duration::from_secs(3600) };
}

fn three() -> [RawOrigin; 3] {
    [RawOrigin::named("one"), RawOrigin::named("two"), RawOrigin::named("three")]
}

/// A user whose cart lives in one instance's memory loses it on any other.
#[test]
fn a_pinned_user_stays() {
    let origins = three();
    let gateway = TestGateway::with(&origins.each_ref(), pinned);
    let mut seen = Vec::new();
    for _ in 0..6 {
        let mut browser = gateway.browser();
        let first = browser.get("/");
        let cookie = first.header("set-cookie").unwrap();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600"), "{cookie}");
        assert!(!cookie.contains("127.0.0.1"), "a pin holds no address");
        for _ in 0..5 {
            let next = browser.get("/");
            assert_eq!(next.text(), first.text());
            assert_eq!(next.headers("set-cookie"), Vec::<String>::new(), "a good pin is not written again");
        }
        seen.push(first.text());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3, "users without a pin are spread");
}

/// A pin that anybody can write steers traffic; one that fails on a flipped bit turns users away.
#[test]
fn an_altered_pin_is_no_pin_and_no_failure() {
    let origins = three();
    let gateway = TestGateway::with(&origins.each_ref(), pinned);
    let mut browser = gateway.browser();
    browser.get("/");
    let pin = browser.cookies["cloakroom-pin"].clone();
    let mut altered: Vec<String> = (0..pin.len())
        .step_by(7)
        .map(|place| {
            let mut bytes = pin.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        })
        .collect();
    altered.extend(["".to_owned(), "x".to_owned(), "%00".to_owned(), pin[1..].to_owned(), "A".repeat(5000)]);
    for value in altered {
        let mut browser = gateway.browser();
        browser.cookies.insert("cloakroom-pin".to_owned(), value.clone());
        let answer = browser.get("/");
        assert_eq!(answer.status(), 200, "{value}");
        assert!(answer.header("set-cookie").unwrap().starts_with("cloakroom-pin="), "{value}: pinned anew");
        assert_eq!(browser.get("/").text(), answer.text());
    }
    assert!(gateway.metric("cloakroom_pins_total{reason=\"broken\"}") > 10.0);
    assert!(!origins.iter().any(|origin| holds(&origin.received(), "cloakroom-pin")));
}

/// A user pinned to an instance that died must be served by another one at once, and stay there.
#[test]
fn a_dead_pin_is_replaced_in_the_same_answer() {
    // Without kept connections a process that is gone refuses the next request.
    let named = |name: &'static str| {
        RawOrigin::scripted(move |connection| {
            connection.request();
            connection.wire.write(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{name}"));
        })
    };
    let mut origins = [named("one"), named("two"), named("three")];
    let gateway = TestGateway::with(&origins.each_ref(), |config| {
        pinned(config);
        config.pools[0].outlier.consecutive_failures = 1000;
    });
    let place = |answer: &Message| ["one", "two", "three"].iter().position(|name| *name == answer.text()).unwrap();
    let mut browser = gateway.browser();
    let served_by = place(&browser.get("/"));
    origins[served_by].stop_listening();
    let answer = browser.get("/");
    assert_ne!(place(&answer), served_by);
    assert!(answer.header("set-cookie").unwrap().starts_with("cloakroom-pin="), "re-pinned at once");
    for _ in 0..3 {
        let next = browser.get("/");
        assert_eq!((next.text(), next.headers("set-cookie").len()), (answer.text(), 0));
    }
    // Known to be down, an instance is not even tried.
    gateway.running().instances().ended(place(&answer));
    let moved = browser.get("/");
    assert_ne!(place(&moved), place(&answer));
    assert!(moved.header("set-cookie").unwrap().starts_with("cloakroom-pin="));
    assert_eq!(gateway.metric("cloakroom_pins_total{reason=\"instance-down\"}"), 1.0);
}

/// A drain that throws its users out is a restart.
#[test]
fn a_draining_instance_keeps_its_users_and_gets_no_others() {
    let origins = three();
    let gateway = TestGateway::with(&origins.each_ref(), pinned);
    let mut browser = gateway.browser();
    let served_by = browser.get("/").text();
    let place = ["one", "two", "three"].iter().position(|name| *name == served_by).unwrap() + 1;
    assert_eq!(gateway.admin(&format!("POST /v1/pools/default/instances/{place}/drain")).status(), 200);
    for _ in 0..6 {
        assert_eq!(browser.get("/").text(), served_by);
        assert_ne!(gateway.browser().get("/").text(), served_by);
    }
}

/// A pin to a process that was restarted leads back to a memory that is gone.
#[test]
fn a_pin_to_a_former_process_is_replaced() {
    let origin = RawOrigin::named("one");
    let gateway = TestGateway::with(&[&origin], pinned);
    let mut browser = gateway.browser();
    browser.get("/");
    assert_eq!(browser.get("/").headers("set-cookie"), Vec::<String>::new());
    gateway.running().instances().serves(0, 2);
    assert!(browser.get("/").header("set-cookie").unwrap().starts_with("cloakroom-pin="));
    assert_eq!(browser.get("/").headers("set-cookie"), Vec::<String>::new());
    assert_eq!(gateway.metric("cloakroom_pins_total{reason=\"instance-gone\"}"), 1.0);
}

/// Two gateways of a fleet, in whatever order their clients meet them, must agree on every pin.
#[test]
fn gateways_of_a_fleet_honour_each_others_pins() {
    let origins = three();
    let first = TestGateway::with(&origins.each_ref(), pinned);
    // The same instances in another order.
    let second = TestGateway::with(&[&origins[2], &origins[0], &origins[1]], pinned);
    for _ in 0..6 {
        let mut browser = first.browser();
        let served_by = browser.get("/").text();
        let mut elsewhere = second.browser();
        elsewhere.cookies = browser.cookies.clone();
        for _ in 0..3 {
            let answer = elsewhere.get("/");
            assert_eq!(answer.text(), served_by);
            assert_eq!(answer.headers("set-cookie"), Vec::<String>::new());
        }
    }
}
