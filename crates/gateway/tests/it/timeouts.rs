//! Who may keep whom waiting, and for how long.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use cloakroom_config::Config;

use super::support::*;

const SHORT: Duration = Duration::from_millis(250);
/// A step well below [`SHORT`], of which a few make more than it.
const STEP: Duration = Duration::from_millis(60);

fn short_streams(config: &mut Config) {
    config.gateway.timeouts.stream_idle = SHORT;
}

/// Lets a moment pass, by waiting for bytes that do not come.
fn pass(wire: &mut Wire, time: Duration) {
    wire.set_patience(time);
    assert_eq!(wire.exactly(1).unwrap_err().end, End::TimedOut);
    wire.set_patience(PATIENCE);
}

/// Clients that send a byte now and then would otherwise hold every connection there is (slowloris).
#[test]
fn a_head_has_one_deadline_whatever_drips_in() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::with(&[&origin], |config| config.gateway.timeouts.header = SHORT);
    for is_first in [true, false] {
        let mut client = gateway.client();
        if !is_first {
            assert_eq!(client.get("/").status(), 200);
        }
        let started = Instant::now();
        client.send("GET /late HTTP/1.1\r\nHost: a\r\nX: ");
        client.wire.set_patience(STEP);
        let answer = loop {
            match client.wire.until("\r\n\r\n") {
                Ok(head) => break client.wire.body(head, true).unwrap(),
                Err(cut) => assert_eq!((cut.end, cut.text().as_str()), (End::TimedOut, "")),
            }
            assert!(started.elapsed() < PATIENCE);
            client.send("x");
        };
        assert_eq!(answer.status(), 408);
        assert!(started.elapsed() >= SHORT && started.elapsed() < 4 * SHORT, "{:?}", started.elapsed());
        assert!(answer.text().contains(&answer.header("x-request-id").unwrap()));
        client.expect_closed();
    }
    assert!(!holds(&origin.received(), "/late"));
}

/// Browsers open connections they never use, and keep those they used.
#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::with(&[&origin], |config| config.gateway.timeouts.idle = SHORT);
    let started = Instant::now();
    gateway.client().expect_closed();
    let mut client = gateway.client();
    assert_eq!(client.get("/").status(), 200);
    client.expect_closed();
    assert!(started.elapsed() >= 2 * SHORT);
    gateway.wait_for_admin("/v1/status", "\"client_connections\":0");
}

/// A connection that waits for a slow page is not idle.
#[test]
fn a_client_that_waits_for_its_answer_is_not_idle() {
    let origin = RawOrigin::scripted(|connection| {
        connection.head();
        pass(&mut connection.wire, 2 * SHORT);
        connection.wire.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
        connection.wait_for_close();
    });
    let gateway = TestGateway::with(&[&origin], |config| {
        config.gateway.timeouts.idle = SHORT;
        config.gateway.timeouts.header = SHORT;
    });
    let mut client = gateway.client();
    assert_eq!(client.get("/").text(), "slow");
    client.expect_closed();
}

/// An upload whose client went to sleep holds a connection on both sides.
#[test]
fn an_upload_that_stalls_is_cut() {
    let (sender, result) = channel();
    let sender = Mutex::new(sender);
    let origin = RawOrigin::scripted(move |connection| {
        let _ = sender.lock().unwrap().send(connection.try_request().is_ok());
    });
    let gateway = TestGateway::with(&[&origin], short_streams);
    for head in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut client = gateway.client();
        let started = Instant::now();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}"));
        let (rest, end) = client.wire.rest();
        assert_eq!(end, End::Closed, "{}", String::from_utf8_lossy(&rest));
        assert!(started.elapsed() >= SHORT && started.elapsed() < 8 * SHORT, "{:?}", started.elapsed());
        assert!(!result.recv_timeout(PATIENCE).unwrap(), "the body must not look whole");
    }
}

/// A phone on a train uploads slowly, and must be able to finish.
#[test]
fn a_slow_upload_that_moves_is_not_cut() {
    let origin =
        RawOrigin::serving(|request| [&b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"[..], &request.body].concat());
    let gateway = TestGateway::with(&[&origin], |config| {
        short_streams(config);
        config.gateway.timeouts.total = SHORT;
        config.gateway.timeouts.header = SHORT;
        config.gateway.timeouts.idle = SHORT;
    });
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n");
    for letter in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        pass(&mut client.wire, STEP);
        client.send(letter);
    }
    assert_eq!(client.answer().text(), "abcdefgh");
}

/// An instance that hangs half-way through its answer holds the client's connection too.
#[test]
fn an_answer_that_stalls_is_cut() {
    for head in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let origin = RawOrigin::scripted(move |connection| {
            connection.head();
            connection.wire.write(format!("HTTP/1.1 200 OK\r\n{head}"));
            connection.wait_for_close();
        });
        let gateway = TestGateway::with(&[&origin], short_streams);
        let mut client = gateway.client();
        let started = Instant::now();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (answer, end) = client.wire.rest();
        assert_ne!(end, End::TimedOut);
        assert!(holds(&answer, "hello") && !holds(&answer, "0\r\n\r\n"));
        assert!(started.elapsed() >= SHORT && started.elapsed() < 8 * SHORT, "{:?}", started.elapsed());
        gateway.wait_for_admin("/v1/status", "\"in_flight\":0");
    }
}

/// An event stream says something now and then, and must not be cut in between.
#[test]
fn a_slow_answer_that_moves_is_not_cut() {
    let origin = RawOrigin::scripted(|connection| {
        connection.head();
        connection
            .wire
            .write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..8 {
            pass(&mut connection.wire, STEP);
            connection.wire.write("1\r\nx\r\n");
        }
        connection.wire.write("0\r\n\r\n");
        connection.wait_for_close();
    });
    let gateway = TestGateway::with(&[&origin], |config| {
        short_streams(config);
        config.gateway.timeouts.total = SHORT;
        config.gateway.timeouts.idle = SHORT;
    });
    assert_eq!(gateway.client().get("/").text(), "xxxxxxxx");
}

/// A client that asks for much and reads nothing keeps an instance busy for as long as it likes.
#[test]
fn a_client_that_does_not_read_is_cut() {
    let (sender, gave_up) = channel();
    let sender = Mutex::new(sender);
    let origin = RawOrigin::scripted(move |connection| {
        connection.head();
        connection.wire.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let block = vec![0; 1024 * 1024];
        while connection.wire.try_write(&block).is_ok() {}
        sender.lock().unwrap().send(()).unwrap();
    });
    let gateway = TestGateway::with(&[&origin], short_streams);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let started = Instant::now();
    gave_up.recv_timeout(PATIENCE).unwrap();
    assert!(started.elapsed() < PATIENCE / 2, "by the deadline, not by the instance's own");
    gateway.wait_for_admin("/v1/status", "\"client_connections\":0");
}

/// Connections kept for nobody are ports that somebody else needs.
#[test]
fn an_unused_connection_to_an_instance_is_closed() {
    let (sender, closed) = channel();
    let sender = Mutex::new(sender);
    let origin = RawOrigin::scripted(move |connection| {
        connection.head();
        connection.wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        connection.wait_for_close();
        sender.lock().unwrap().send(()).unwrap();
    });
    let gateway = TestGateway::with(&[&origin], |config| config.gateway.timeouts.upstream_idle = SHORT);
    let started = Instant::now();
    assert_eq!(gateway.client().get("/").text(), "ok");
    closed.recv_timeout(PATIENCE).unwrap();
    assert!(started.elapsed() >= SHORT && started.elapsed() < 8 * SHORT, "{:?}", started.elapsed());
}
