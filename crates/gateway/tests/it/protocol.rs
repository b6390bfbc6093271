//! HTTP/1.1 and HTTP/1.0 as clients and instances really speak it.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::support::*;

/// A connection per request costs a handshake each way, and runs the origin out of ports.
#[test]
fn connections_are_kept_on_both_sides() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    for path in ["/one", "/two", "/three"] {
        assert_eq!(client.get(path).status(), 200);
    }
    assert_eq!(gateway.client().get("/four").status(), 200);
    assert_eq!(origin.connections(), 1);
}

/// An answer out of turn is another request's answer.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    let mut requests = String::new();
    for number in 0..20 {
        requests.push_str(&format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"));
    }
    client.send(requests);
    for number in 0..20 {
        let answer = client.answer();
        assert!(answer.text().starts_with(&format!("POST /{number} ")), "{}", answer.text());
    }
}

/// A client that asked to close and is kept open waits for its own timeout.
#[test]
fn a_client_may_close_after_its_answer() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.header("connection").as_deref(), Some("close"));
    client.expect_closed();
    assert_eq!(gateway.client().get("/").status(), 200);
    assert_eq!(origin.connections(), 1, "the instance's connection is not the client's");
}

/// A length that is missing from a `HEAD` answer breaks download managers; a body in it breaks everybody.
#[test]
fn head_has_the_length_and_no_body() {
    let origin = RawOrigin::serving(|request| match request.request().as_str() {
        "HEAD /length" => b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n".to_vec(),
        "HEAD /chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    for (path, length) in [("/length", Some("1234")), ("/chunked", None)] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.status(), 200);
        assert_eq!(head.header("content-length").as_deref(), length, "{}", head.head());
        assert_eq!(client.get("/next").text(), "ok", "the connection goes on");
    }
    assert_eq!(origin.connections(), 1);
}

/// A body after 204 or 304 is read as the next answer.
#[test]
fn answers_without_a_body_have_none() {
    let origin = RawOrigin::serving(|request| match request.request().as_str() {
        "GET /204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "GET /304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 500\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send(
        "GET /204 HTTP/1.1\r\nHost: a\r\n\r\nGET /304 HTTP/1.1\r\nHost: a\r\n\r\nGET /0 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let empty = client.answer();
    assert_eq!((empty.status(), empty.header("content-length"), empty.header("transfer-encoding")), (204, None, None));
    let unchanged = client.answer();
    assert_eq!((unchanged.status(), unchanged.header("etag").as_deref()), (304, Some("\"x\"")));
    assert_eq!(client.answer().header("content-length").as_deref(), Some("0"));
}

/// Monitoring and old tools speak HTTP/1.0 and wait for the connection to close.
#[test]
fn a_client_of_http_1_0_is_served_and_closed() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    let answer = client.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(answer.status(), 200, "{}", answer.head());
    client.expect_closed();
    let head = answer.text();
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    // RFC 9112 §3.2: an HTTP/1.1 request has a Host, an empty one where there is no authority.
    assert_eq!(head.to_ascii_lowercase().matches("\r\nhost:").count(), 1, "{head}");

    let mut client = gateway.client();
    let kept = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    let answer = client.ask(kept);
    assert_eq!(answer.header("connection").map(|value| value.to_ascii_lowercase()).as_deref(), Some("keep-alive"));
    assert_eq!(client.ask(kept).status(), 200);
}

/// HTTP/1.0 has no chunks: a client that gets them shows their sizes to its user.
#[test]
fn a_client_of_http_1_0_gets_no_chunks() {
    let origin = RawOrigin::serving(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n".to_vec()
    });
    let gateway = TestGateway::start(&[&origin]);
    for connection in ["", "Connection: keep-alive\r\n"] {
        let mut client = gateway.client();
        client.send(format!("GET / HTTP/1.0\r\nHost: a\r\n{connection}\r\n"));
        let head = client.head();
        assert_eq!(head.header("transfer-encoding"), None, "{}", head.head());
        let (body, end) = client.wire.rest();
        assert_eq!((String::from_utf8_lossy(&body).as_ref(), end), ("hello world", End::Closed));
    }
}

/// `OPTIONS *` asks about the server, and is no path.
#[test]
fn options_of_the_whole_server_pass() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let answer = gateway.client().ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.text().starts_with("OPTIONS * HTTP/1.1\r\n"), "{}", answer.text());
}

/// An interim answer that is taken for the answer leaves the client without its page.
#[test]
fn interim_answers_are_not_the_answer() {
    let origin = RawOrigin::serving(|_| {
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            .to_vec()
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    for _ in 0..2 {
        let mut answer = client.get("/");
        while answer.status() < 200 {
            answer = client.answer();
        }
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    }
}

/// An instance of HTTP/1.0 ends its answer by closing; the client must still know where it ends.
#[test]
fn an_answer_that_ends_with_its_connection_is_whole() {
    let origin = RawOrigin::scripted(|connection| {
        connection.head();
        connection.wire.write("HTTP/1.0 200 OK\r\n\r\nhello");
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "hello");
    }
    assert_eq!(origin.connections(), 2);
}

/// An answer cut half-way that looks whole is kept by caches for everybody.
#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    for (head, part) in [("Content-Length: 10", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n")] {
        for by_reset in [false, true] {
            let (proceed, may_close) = channel::<()>();
            let may_close = Mutex::new(may_close);
            let origin = RawOrigin::scripted(move |connection| {
                connection.head();
                connection.wire.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{part}"));
                let _ = may_close.lock().unwrap().recv();
                if by_reset {
                    connection.reset();
                }
            });
            let gateway = TestGateway::start(&[&origin]);
            let mut client = gateway.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.head().status(), 200);
            assert!(holds(&client.wire.until("hello").unwrap(), "hello"));
            drop(proceed);
            let (rest, end) = client.wire.rest();
            assert_ne!(end, End::TimedOut);
            assert!(!holds(&rest, "0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
            gateway.wait_for_admin("/metrics", "cloakroom_truncated_answers_total 1");
        }
    }
}

/// A client that gives up waiting must not keep an instance's place.
#[test]
fn a_client_that_leaves_before_its_answer_frees_the_instance() {
    let (sender, closed) = channel();
    let sender = Mutex::new(sender);
    let origin = RawOrigin::scripted(move |connection| {
        connection.head();
        connection.wait_for_close();
        sender.lock().unwrap().send(()).unwrap();
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for(|bytes| holds(bytes, "\r\n\r\n"));
    drop(client);
    closed.recv_timeout(PATIENCE).unwrap();
    gateway.wait_for_admin("/v1/status", "\"in_flight\":0");
    gateway.wait_for_admin("/metrics", "pool=\"default\",class=\"left\"} 1");
    gateway.wait_for_state(1, "up");
}

/// A client that leaves must free the instance's connection, and nobody may get the rest of its answer.
#[test]
fn a_client_that_leaves_takes_its_answer_along() {
    let origin = RawOrigin::scripted(|connection| {
        while let Ok(request) = connection.try_request() {
            if request.request() == "GET /endless" {
                connection.wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                while connection.wire.try_write("5\r\nstale\r\n").is_ok() {}
                return;
            }
            connection.wire.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfresh");
        }
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
    client.wire.until("stale").unwrap();
    drop(client);
    assert_eq!(gateway.client().get("/").text(), "fresh");
    gateway.wait_for_admin("/v1/status", "\"in_flight\":0");
}
