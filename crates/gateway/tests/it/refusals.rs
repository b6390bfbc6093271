//! The answers of the gateway itself: short, with a request id, and silent about what stands behind it.

use cloakroom_config::{PathPattern, PoolId};
use std::time::Duration;

use super::support::*;

/// What every answer of the gateway's own must be.
fn check(answer: &Message, status: u16) {
    assert_eq!(answer.status(), status, "{}", answer.head());
    let id = answer.header("x-request-id").unwrap();
    let text = answer.text();
    assert!(text.starts_with(&status.to_string()) && text.ends_with(&format!("\nrequest id: {id}\n")), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.len() < 200, "{text}");
    assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
    let all = format!("{}{text}", answer.head());
    for secret in ["127.0.0.1", "default", "refused", "error", "Error", "errno", "os ", "10.9.8.7"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    assert_eq!(answer.header("retry-after").is_some(), status == 503, "{all}");
}

/// An error page that names an address or an error is a map of the network for whoever provokes it.
#[test]
fn failures_say_nothing_of_instances() {
    let refused = TestGateway::at(vec![refusing_address()], None, |_| {});
    check(&refused.client().get("/"), 502);

    let garbage = RawOrigin::serving(|_| b"SMTP ready at 10.9.8.7\r\n\r\n".to_vec());
    check(&TestGateway::start(&[&garbage]).client().get("/"), 502);

    let closing = RawOrigin::scripted(|connection| drop(connection.try_head()));
    check(&TestGateway::start(&[&closing]).client().get("/"), 502);

    let silent = RawOrigin::scripted(|connection| connection.wait_for_close());
    let gateway = TestGateway::with(&[&silent], |config| config.gateway.timeouts.total = Duration::from_millis(150));
    check(&gateway.client().get("/"), 504);

    let drained = TestGateway::start(&[&silent]);
    assert_eq!(drained.admin("POST /v1/pools/default/instances/1/drain").status(), 200);
    check(&drained.client().get("/"), 503);

    let store = SpiedStore::new();
    store.fail(&[Call::Load]);
    let gateway = TestGateway::with_store(&[&silent], store, |_| {});
    let mut browser = gateway.browser();
    browser.cookies.insert("cloakroom".to_owned(), "A".repeat(43));
    check(&browser.get("/"), 503);
}

/// A request nobody has a route for must not fall through to some pool.
#[test]
fn no_route_is_404_and_reaches_nobody() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::with(&[&origin], |config| {
        config.routes[0].path = PathPattern::Prefix("/api/".to_owned());
        config.routes[0].pool = PoolId(0);
    });
    let mut client = gateway.client();
    check(&client.get("/other"), 404);
    assert_eq!(client.get("/api/cart").status(), 200, "the connection goes on");
    check(&client.get("/apix"), 404);
    assert_eq!(count(&origin.received(), "HTTP/1.1\r\n"), 1);
}

/// A tunnel through the gateway reaches whatever the gateway reaches.
#[test]
fn connect_is_refused_and_the_connection_does_not_hang() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    for target in ["10.0.0.1:22", "/", "shop.test:443"] {
        let mut client = gateway.client();
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {}\r\n\r\n", "shop.test:443"));
        let answer = client.answer();
        assert!(matches!(answer.status(), 400 | 405), "{target}: {}", answer.head());
        if answer.status() == 405 {
            check(&answer, 405);
            assert!(answer.header("allow").is_some());
        }
        client.expect_closed();
    }
    assert_eq!(origin.connections(), 0);
}

/// An upload over the limit that is forwarded before anybody counts has already done its harm.
#[test]
fn a_body_over_the_limit_is_413() {
    let origin = RawOrigin::scripted(|connection| connection.wait_for_close());
    let gateway = TestGateway::with(&[&origin], |config| config.gateway.limits.body_bytes = Some(1000));
    let mut client = gateway.client();
    client.send("POST /announced HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    check(&client.answer(), 413);
    client.expect_closed();
    assert_eq!(origin.connections(), 0, "an announced length is refused before anything is sent");

    let mut client = gateway.client();
    client.send("POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("3e8\r\n{}\r\n", "x".repeat(1000)));
    origin.wait_for(|bytes| holds(bytes, "xxx"));
    client.send("1\r\nx\r\n");
    check(&client.answer(), 413);
    assert!(!holds(&origin.received(), "\r\n0\r\n"), "a cut body must not look whole");
}

/// A client that is still sending when it is refused would otherwise see a reset in place of the reason.
#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let gateway = TestGateway::with(&[], |config| {
        config.pools[0].instances = vec![cloakroom_config::Instance::new(refusing_address())];
        config.gateway.limits.body_bytes = Some(1000);
    });
    for head in ["Content-Length: 8388608", "Content-Length: 4\r\nTransfer-Encoding: chunked"] {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n"));
        let block = vec![b'x'; 64 * 1024];
        // It sends on for a while, as clients do that look for an answer only afterwards.
        for _ in 0..16 {
            if client.wire.try_write(&block).is_err() {
                break;
            }
        }
        let answer = client.answer();
        assert!(matches!(answer.status(), 413 | 400), "{}", answer.head());
        client.wire.finish_writing();
        client.expect_closed();
    }
}

/// `HEAD` has no body, whoever answers.
#[test]
fn a_refused_head_has_no_body() {
    let gateway = TestGateway::at(vec![refusing_address()], None, |_| {});
    let mut client = gateway.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status(), 502);
    check(&client.answer(), 502);
}
