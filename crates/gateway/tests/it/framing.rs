//! Requests that two parsers read differently. The oracle is what arrived at the origin: nothing of a refused request,
//! nothing of what followed it in the same bytes, and all of what came before.

use std::sync::mpsc::channel;

use super::support::*;

/// Heads that must be refused, with the status of the refusal. `@` stands for a path that names the case.
const REFUSED: &[(&str, u16)] = &[
    // Two framings at once, in either order.
    ("POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\nhi", 400),
    // Lengths that one reader takes and another one does not.
    ("POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nhello", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nhello", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello", 400),
    // Line ends.
    ("GET @ HTTP/1.1\nHost: a\n\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n", 400),
    ("\r\n\r\nGET @ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    // Bytes that end strings, or names, for some.
    ("GET @ HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n", 400),
    ("GET @\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nContent-Length\t: 5\r\n\r\nhello", 400),
    ("GET @ HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
    // Transfer codings that one reader takes for `chunked`.
    ("POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 501),
    ("POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501),
    ("POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    ("POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 501),
    ("POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501),
    ("POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    ("POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST @ HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    // Hosts.
    ("GET @ HTTP/1.1\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: \r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400),
    // Request lines.
    ("GET @\r\n\r\n", 505),
    ("GET @ HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    ("GET @ HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    ("GET @ HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("GET @ http/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET @ HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("GET  @ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET\t@ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("G@T @ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET @ x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    // The authority of a target replaces `Host`, and only `CONNECT` may give one alone (RFC 9112 §3.2.3).
    ("GET a.test:80 HTTP/1.1\r\nHost: b\r\n\r\n", 400),
    ("GET a.test HTTP/1.1\r\nHost: b\r\n\r\n", 400),
    ("GET http://:80@ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
    ("GET @ HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n", 400),
    // Whose bytes would they be?
    ("GET @ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi", 400),
];

fn check_refusal(answer: &Message, status: u16, case: &str) {
    assert_eq!(answer.status(), status, "{case:?}: {}", answer.head());
    assert_eq!(answer.header("connection").as_deref(), Some("close"), "{case:?}");
    assert!(answer.body.len() < 200, "{case:?}");
}

/// One request hidden in another one poisons the answers of everybody behind the same connection.
#[test]
fn nothing_of_a_refused_request_or_behind_it_arrives() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    for (number, (text, status)) in REFUSED.iter().enumerate() {
        let refused = text.replace('@', &format!("/refused/{number}"));
        let mut client = gateway.client();
        client.send(format!(
            "GET /before/{number} HTTP/1.1\r\nHost: a\r\n\r\n{refused}GET /hidden/{number} HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        let before = client.answer();
        assert_eq!(before.status(), 200, "{text:?}");
        assert!(before.text().starts_with(&format!("GET /before/{number} ")), "{text:?}");
        check_refusal(&client.answer(), *status, text);
        client.expect_closed();
    }
    assert_eq!(gateway.client().get("/last").status(), 200);
    let arrived = origin.text();
    let lines = arrived.lines().filter(|line| line.ends_with("HTTP/1.1")).collect::<Vec<_>>();
    let expected: Vec<_> = (0..REFUSED.len()).map(|number| format!("GET /before/{number} HTTP/1.1")).collect();
    assert_eq!(lines[..expected.len()], expected);
    assert_eq!(lines[expected.len()..], ["GET /last HTTP/1.1"]);
    assert_eq!(count(&origin.received(), "\r\n\r\n"), REFUSED.len() + 1, "nothing stands between the requests");
}

/// A verdict that depends on how the bytes are split is a verdict the client chooses.
#[test]
fn a_head_in_pieces_is_refused_all_the_same() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    for (text, status) in REFUSED {
        let refused = text.replace('@', "/refused");
        // Where the head ends nothing more is read, and further writes would only meet a closed door.
        let head = refused.find("\r\n\r\n").map_or(refused.len(), |place| place + 4);
        let mut client = gateway.client();
        for byte in refused.as_bytes()[..head].chunks(3) {
            if client.wire.try_write(byte).is_err() {
                break;
            }
        }
        check_refusal(&client.answer(), *status, text);
    }
    assert_eq!(origin.connections(), 0);
}

/// A head without end fills the memory of whoever waits for its end.
#[test]
fn heads_beyond_the_limits_are_answered_with_431() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let long_field = format!("GET /refused HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(200 * 1024));
    let long_target = format!("GET /refused?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20 * 1024));
    let endless = format!("GET /refused HTTP/1.1\r\nHost: a\r\n{}", "X: y\r\n".repeat(40 * 1024));
    let many = format!("GET /refused HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100));
    for text in [long_field, long_target, endless, many] {
        let mut client = gateway.client();
        // It may be refused, and the connection closed, before all of it is written.
        let _ = client.wire.try_write(text);
        check_refusal(&client.answer(), 431, "a head beyond the limits");
    }
    let most = format!("GET /most HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(99));
    assert_eq!(gateway.client().ask(most).status(), 200);
    let longest = format!("GET /longest HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(16 * 1024 - 60));
    assert_eq!(gateway.client().ask(longest).status(), 200);
    assert!(!holds(&origin.received(), "/refused"));
}

/// A target that no URI library reads must not bring the connection or the log down.
#[test]
fn an_unreadable_target_is_refused() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    for (number, target) in
        ["/<x>", "http://", "http://a b/", "//[", "http://[::1/", "\\\\x", "/a\\b^`", "http://:80/", "?x", "/%"]
            .into_iter()
            .enumerate()
    {
        let hidden = format!("/hidden/{number}");
        let mut client = gateway.client();
        let answer =
            client.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\nGET {hidden} HTTP/1.1\r\nHost: a\r\n\r\n"));
        if answer.status() != 200 {
            assert!((400..500).contains(&answer.status()), "{target}: {}", answer.head());
            client.expect_closed();
            assert!(!holds(&origin.received(), &hidden), "{target}");
        }
    }
}

/// A body that an origin takes for complete when its framing broke half-way is a request that nobody sent.
#[test]
fn a_broken_chunk_never_completes_a_body() {
    for (number, broken) in [
        "zz\r\n",
        "-1\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFFFFF\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5;a=\0\r\nhello\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\nHost: b\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n\r",
    ]
    .into_iter()
    .enumerate()
    {
        let (sender, arrived) = channel();
        let origin = RawOrigin::scripted(move |connection| {
            let request = connection.try_request();
            sender.send(request.map_err(|cut| cut.text())).unwrap();
        });
        let gateway = TestGateway::start(&[&origin]);
        let mut client = gateway.client();
        client.send("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n");
        // The first chunk is under way when the rest of it comes, but in one case.
        if number > 0 {
            origin.wait_for(|bytes| holds(bytes, "data"));
        }
        client.send(broken);
        if broken == "0\r\n\r" {
            client.wire.finish_writing();
        } else {
            client.send("GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let result = arrived.recv_timeout(PATIENCE).unwrap();
        assert!(result.is_err(), "{broken:?} became {result:?}");
        assert!(!holds(&origin.received(), "\r\n0\r\n"), "{broken:?}");
        assert!(!holds(&origin.received(), "/hidden"), "{broken:?}");
        let (rest, _) = client.wire.rest();
        let text = String::from_utf8_lossy(&rest);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 400 "), "{broken:?}: {text}");
    }
}

/// A client that pipelines a good request before a bad one would otherwise lose the good one's answer.
#[test]
fn what_stands_before_a_broken_chunk_in_the_same_bytes_is_served() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send(
        "GET /before HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /broken HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\nzz\r\n\
         GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert!(client.answer().text().starts_with("GET /before "));
    let (rest, _) = client.wire.rest();
    let text = String::from_utf8_lossy(&rest);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 400 "), "{text}");
    assert_eq!(gateway.client().get("/last").status(), 200);
    assert!(!holds(&origin.received(), "/hidden"));
    assert!(!holds(&origin.received(), "\r\n0\r\n"), "the broken body was completed");
}

/// An origin whose answer has two readings must not get to choose which one the client takes.
#[test]
fn an_answer_with_two_framings_has_one_reading() {
    for length in ["3", "5", "900"] {
        let origin = RawOrigin::serving(move |_| {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            )
            .into_bytes()
        });
        let gateway = TestGateway::start(&[&origin]);
        let mut client = gateway.client();
        for path in ["/one", "/two"] {
            let answer = client.get(path);
            assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"), "{}", answer.head());
            assert!(answer.header("content-length").is_none() || answer.header("transfer-encoding").is_none());
        }
    }
    for heads in ["Content-Length: 5\r\nContent-Length: 6", "Content-Length: x", "Content-Length: -1", "A\0: b"] {
        let origin = RawOrigin::serving(move |_| format!("HTTP/1.1 200 OK\r\n{heads}\r\n\r\nhello").into_bytes());
        let gateway = TestGateway::start(&[&origin]);
        assert_eq!(gateway.client().get("/").status(), 502, "{heads:?}");
    }
}

/// Bytes an origin sends behind its answer would become the answer to somebody else's request.
#[test]
fn what_follows_an_answer_is_nobodys_answer() {
    let origin = RawOrigin::serving(|request| {
        let own = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        match request.request().as_str() {
            "GET /poison" => format!("{own}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison").into_bytes(),
            _ => own.as_bytes().to_vec(),
        }
    });
    let gateway = TestGateway::start(&[&origin]);
    for _ in 0..50 {
        let mut client = gateway.client();
        assert_eq!(client.get("/poison").text(), "ok");
        assert_eq!(client.get("/victim").text(), "ok");
        assert_eq!(gateway.client().get("/victim").text(), "ok");
    }
}
