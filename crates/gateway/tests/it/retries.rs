//! Which failed requests are sent once more, to whom, and which never.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cloakroom_config::Config;

use super::support::*;

/// Reads requests whole, and closes without an answer.
fn closing() -> RawOrigin {
    RawOrigin::scripted(|connection| drop(connection.try_request()))
}

/// Keeps failing instances in the pool, so that requests go on meeting them.
fn without_ejection(config: &mut Config) {
    config.pools[0].outlier.consecutive_failures = 1000;
}

fn post(path: &str, more: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The requests that arrived at an origin.
fn requests(origin: &RawOrigin) -> usize {
    count(&origin.received(), " HTTP/1.1\r\n")
}

/// A deploy that replaces one of three instances would otherwise fail a third of the requests.
#[test]
fn a_refused_connection_fails_nobody() {
    let origin = RawOrigin::serving(|request| {
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()).as_bytes(), &request.body]
            .concat()
    });
    let instances = vec![refusing_address(), origin.address, refusing_address()];
    let gateway = TestGateway::at(instances, None, without_ejection);
    let mut client = gateway.client();
    let large = "x".repeat(300 * 1024);
    for _ in 0..6 {
        assert_eq!(client.get("/").status(), 200);
        assert_eq!(client.ask(post("/", "", "once")).text(), "once");
        assert_eq!(client.ask("FROB / HTTP/1.1\r\nHost: a\r\n\r\n").status(), 200);
        assert_eq!(client.ask(post("/", "", &large)).body.len(), large.len(), "nothing of it was read before");
    }
    assert_eq!(requests(&origin), 24);
    assert!(gateway.metric("cloakroom_retries_total{pool=\"default\"}") >= 12.0);
}

/// A payment that was sent, answered by a reset, and sent again is charged twice.
#[test]
fn what_may_have_arrived_is_repeated_only_where_that_is_harmless() {
    let (broken, good) = (closing(), RawOrigin::echo());
    let gateway = TestGateway::with(&[&broken, &good], without_ejection);
    for _ in 0..4 {
        assert_eq!(gateway.client().get("/get").status(), 200);
        let with_key = post("/keyed", "Idempotency-Key: \"k\"\r\n", "whole body");
        assert_eq!(gateway.client().ask(with_key).status(), 200);
    }
    assert!(holds(&broken.received(), "/get") && holds(&broken.received(), "/keyed"));
    assert_eq!(count(&good.received(), "POST /keyed"), 4);
    assert_eq!(count(&good.received(), "whole body"), 4, "the body is sent again, not what was left of it");

    let statuses: Vec<_> = (0..6).map(|_| gateway.client().ask(post("/once", "", "pay")).status()).collect();
    let failed = statuses.iter().filter(|status| **status == 502).count();
    assert!(failed > 0 && statuses.iter().all(|status| matches!(status, 200 | 502)), "{statuses:?}");
    assert_eq!(count(&broken.received(), "POST /once"), failed);
    assert_eq!(count(&good.received(), "POST /once"), 6 - failed, "each was sent to one instance alone");
}

/// An instance closes idle connections whenever it likes; the next request must not pay for it.
#[test]
fn a_stale_connection_fails_nobody() {
    let closes_at_once = RawOrigin::scripted(|connection| {
        connection.request();
        connection.wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let gateway = TestGateway::start(&[&closes_at_once]);
    let mut client = gateway.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "ok");
    }

    // Here the request is on its way when the connection closes.
    let closes_at_the_second = RawOrigin::scripted(|connection| {
        connection.request();
        connection.wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let _ = connection.try_head();
    });
    let gateway = TestGateway::start(&[&closes_at_the_second]);
    let mut client = gateway.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(client.ask(post("/once", "", "pay")).status(), 502);
    assert_eq!(count(&closes_at_the_second.received(), "POST /once"), 1);
    gateway.wait_for_state(1, "up");
}

/// Keeping every body for a second try would let a few uploads fill the memory.
#[test]
fn a_body_over_the_limit_is_not_repeated() {
    let body = "x".repeat(100 * 1024);
    let put = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let chunked = format!(
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n{:x}\r\n{body}\r\n0\r\nX-Sum: 7\r\n\r\n",
        body.len()
    );
    for (limit, is_repeated) in [(64 * 1024, false), (200 * 1024, true)] {
        let broken = closing();
        let good = RawOrigin::serving(|request| {
            assert_eq!(request.body.len(), 100 * 1024);
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
        });
        let gateway = TestGateway::with(&[&broken, &good], |config| {
            without_ejection(config);
            config.gateway.limits.retry_body_bytes = limit;
        });
        for request in [&put, &chunked] {
            let statuses = [gateway.client().ask(request).status(), gateway.client().ask(request).status()];
            assert_eq!(statuses.iter().all(|status| *status == 200), is_repeated, "{limit}: {statuses:?}");
            assert!(statuses.contains(&200) && statuses.iter().all(|status| matches!(status, 200 | 502)));
        }
        if is_repeated {
            assert_eq!(count(&good.received(), "x-sum: 7"), 2, "trailers are sent again too");
        }
    }
}

/// Without a budget an outage is answered with three times the load.
#[test]
fn retries_end_with_their_budget() {
    let (broken, good) = (closing(), RawOrigin::echo());
    let gateway = TestGateway::with(&[&broken, &good], |config| {
        without_ejection(config);
        config.gateway.retry.budget_percent = 0;
        config.gateway.retry.reserve = 2;
    });
    let statuses: Vec<_> = (0..12).map(|_| gateway.client().get("/").status()).collect();
    let failed = statuses.iter().filter(|status| **status == 502).count();
    assert!(requests(&broken) > 2, "{statuses:?}");
    assert_eq!(failed, requests(&broken) - 2, "{statuses:?}");
    assert_eq!(gateway.metric("cloakroom_retries_total{pool=\"default\"}"), 2.0);
}

/// A request that kills whoever gets it must not be handed round the whole pool.
#[test]
fn tries_are_bounded() {
    let origins = [closing(), closing(), closing(), closing()];
    let all: Vec<_> = origins.iter().collect();
    let gateway = TestGateway::with(&all, |config| config.gateway.retry.tries = 2);
    assert_eq!(gateway.client().get("/").status(), 502);
    assert_eq!(origins.iter().map(requests).sum::<usize>(), 2);
    assert!(origins.iter().all(|origin| requests(origin) < 2), "each instance once at most");
}

/// An instance that answers 503 has answered; sending its load to the others takes them down as well.
#[test]
fn an_answer_is_not_repeated_whatever_it_says() {
    let served = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&served);
    let origin = RawOrigin::serving(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 9\r\n\r\nbusy".to_vec()
    });
    let gateway = TestGateway::with(&[&origin, &origin], without_ejection);
    let answer = gateway.client().get("/");
    assert_eq!((answer.status(), answer.text().as_str()), (503, "busy"));
    assert_eq!(answer.header("retry-after").as_deref(), Some("9"));
    assert_eq!(served.load(Ordering::SeqCst), 1);
}

/// With three tries of a minute each, a page that hangs hangs for three minutes.
#[test]
fn the_time_to_answer_is_one_for_all_tries() {
    let silent = || RawOrigin::scripted(|connection| connection.wait_for_close());
    let origins = [silent(), silent(), silent()];
    let all: Vec<_> = origins.iter().collect();
    let total = Duration::from_millis(250);
    let gateway = TestGateway::with(&all, |config| config.gateway.timeouts.total = total);
    let started = Instant::now();
    assert_eq!(gateway.client().get("/").status(), 504);
    assert!(started.elapsed() >= total && started.elapsed() < 2 * total, "{:?}", started.elapsed());
    assert_eq!(origins.iter().map(requests).sum::<usize>(), 1);
}

/// A machine that is gone neither accepts nor refuses: only time tells.
#[test]
fn a_connection_that_does_not_come_about_is_given_up() {
    let (address, _held) = blackhole();
    let tweak = |config: &mut Config| config.gateway.timeouts.connect = Duration::from_millis(100);
    let alone = TestGateway::at(vec![address], None, tweak);
    assert_eq!(alone.client().get("/").status(), 504);

    let origin = RawOrigin::echo();
    let gateway = TestGateway::at(vec![address, origin.address], None, tweak);
    for _ in 0..4 {
        assert_eq!(gateway.client().ask(post("/", "", "pay")).status(), 200);
    }
    assert_eq!(requests(&origin), 4);
}

/// One slow instance must not take all connections the gateway may have.
#[test]
fn connections_to_an_instance_are_bounded() {
    let (release, may_answer) = std::sync::mpsc::channel::<()>();
    let may_answer = std::sync::Mutex::new(may_answer);
    let origin = RawOrigin::scripted(move |connection| {
        connection.head();
        let _ = may_answer.lock().unwrap().recv();
        connection.wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        connection.wait_for_close();
    });
    let gateway = TestGateway::with(&[&origin], |config| config.gateway.limits.upstream_connections = 1);
    let mut first = gateway.client();
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for(|bytes| holds(bytes, "\r\n\r\n"));
    let refused = gateway.client().get("/");
    assert_eq!(refused.status(), 503, "{}", refused.head());
    drop(release);
    assert_eq!(first.answer().text(), "ok");
    gateway.wait_for_state(1, "up");
}
