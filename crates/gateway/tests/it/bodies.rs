//! Bodies in both directions: larger than any buffer, with trailers, held back, and answered early.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::support::*;

/// Larger than every buffer on the way.
const LARGE_BYTES: usize = 8 * 1024 * 1024;

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|place| (place % 251) as u8).collect()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 1000);
    for (number, chunk) in body.chunks(70_001).enumerate() {
        let extension = if number % 3 == 0 { ";a=b" } else { "" };
        write!(out, "{:X}{extension}\r\n", chunk.len()).unwrap();
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// A body that loses a byte on the way is a broken upload, and one that is reordered is a wrong one.
#[test]
fn large_bodies_pass_unchanged_both_ways() {
    let origin = RawOrigin::serving(|request| {
        let head = match request.header("x-answer").as_deref() {
            Some("chunked") => "Transfer-Encoding: chunked".to_owned(),
            _ => format!("Content-Length: {}", request.body.len()),
        };
        let body = if head.starts_with('T') { chunked(&request.body) } else { request.body.clone() };
        [format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes(), &body].concat()
    });
    let gateway = TestGateway::start(&[&origin]);
    let body = pattern(LARGE_BYTES);
    let mut client = gateway.client();
    for request in ["length", "chunked"] {
        for answer in ["length", "chunked"] {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nX-Answer: {answer}\r\n");
            let answered = match request {
                "length" => client.send(format!("{head}Content-Length: {}\r\n\r\n", body.len())).ask(&body),
                _ => client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).ask(chunked(&body)),
            };
            assert!(answered.body == body, "{request} to {answer}: {} bytes", answered.body.len());
        }
    }
    assert_eq!(origin.connections(), 1);
}

/// An instance that does not read would otherwise fill the gateway's memory with one client's upload.
#[test]
fn an_instance_that_does_not_read_stalls_the_client() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(64 * 1024).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(8).unwrap();
    let (finish, may_end) = channel::<()>();
    let may_end = Mutex::new(may_end);
    let origin = RawOrigin::listening_on(listener.into(), move |connection| {
        connection.head();
        let _ = may_end.lock().unwrap().recv();
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
    origin.wait_for(|bytes| holds(bytes, "\r\n\r\n"));
    let mut socket = client.wire.socket().try_clone().unwrap();
    SockRef::from(&socket).set_send_buffer_size(64 * 1024).unwrap();
    socket.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let block = vec![0; 64 * 1024];
    let mut written = 0;
    while let Ok(count) = socket.write(&block) {
        written += count;
        assert!(written < 64 * 1024 * 1024, "nothing holds the client back");
    }
    // The rest is in the kernel's buffers, which are its own to size; the gateway holds a few blocks.
    assert!(written < 24 * 1024 * 1024, "{written} bytes were taken in");
    drop(finish);
}

/// A client that does not read would otherwise fill the gateway's memory with one instance's answer.
#[test]
fn a_client_that_does_not_read_stalls_the_instance() {
    let (sender, written) = channel();
    let sender = Mutex::new(sender);
    let origin = RawOrigin::scripted(move |connection| {
        connection.head();
        connection.wire.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let mut socket = connection.wire.socket();
        socket.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let block = vec![0; 64 * 1024];
        let mut total = 0;
        while let Ok(count) = socket.write(&block) {
            total += count;
            if total > 300 * 1024 * 1024 {
                break;
            }
        }
        sender.lock().unwrap().send(total).unwrap();
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    SockRef::from(client.wire.socket()).set_recv_buffer_size(64 * 1024).unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let total = written.recv_timeout(PATIENCE).unwrap();
    assert!(total < 24 * 1024 * 1024, "{total} bytes were taken in");
}

/// A checksum behind a body, as gRPC and signed uploads send it, must arrive.
#[test]
fn trailers_pass_both_ways() {
    let origin = RawOrigin::serving(|request| {
        let trailers = request.trailers.to_ascii_lowercase();
        assert_eq!(trailers, "x-sum: 42\r\n");
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Answer-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Answer-Sum: 7\r\n\r\n"
            .to_vec()
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    let request = |te: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{te}Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n"
        )
    };
    let answer = client.ask(request("TE: trailers\r\n"));
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.trailers.to_ascii_lowercase(), "x-answer-sum: 7\r\n");
    // RFC 9110 §6.5.1: who did not ask for trailers need not get them, but gets the body.
    assert_eq!(client.ask(request("")).text(), "ok");
}

/// A trailer in our name would be merged into the head by whoever merges trailers.
#[test]
fn trailers_do_not_speak_in_our_name() {
    let origin = RawOrigin::serving(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Cloakroom-Session-Patch\r\n\r\n\
          2\r\nok\r\n0\r\nCloakroom-Session-Patch: {}\r\n\r\n"
            .to_vec()
    });
    let gateway = TestGateway::start(&[&origin]);
    let answer = gateway.client().ask(
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: Cloakroom-Session\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nCloakroom-Session: forged\r\n\r\n",
    );
    assert_eq!(answer.text(), "ok");
    assert!(!holds(&origin.received(), "forged"));
    assert_eq!(answer.trailers, "");
}

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

/// A client that waits for 100 and never gets it sends its body late or never.
#[test]
fn a_body_flows_when_the_instance_says_continue() {
    let (proceed, may_continue) = channel::<()>();
    let may_continue = Mutex::new(may_continue);
    let origin = RawOrigin::scripted(move |connection| {
        let head = connection.head();
        assert_eq!(head.header("expect").as_deref(), Some("100-continue"));
        may_continue.lock().unwrap().recv().unwrap();
        connection.wire.write("HTTP/1.1 100 Continue\r\n\r\n");
        let body = connection.wire.exactly(5).unwrap();
        connection.wire.write([&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"[..], &body].concat());
        connection.wait_for_close();
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send(EXPECTING);
    origin.wait_for(|bytes| holds(bytes, "\r\n\r\n"));
    proceed.send(()).unwrap();
    assert_eq!(client.head().status(), 100);
    assert_eq!(client.ask("hello").text(), "hello");
}

/// An upload that the instance refused at its head would otherwise be sent in full for nothing.
#[test]
fn a_body_that_was_refused_is_never_asked_for() {
    let (sender, after_the_answer) = channel();
    let sender = Mutex::new(sender);
    let origin = RawOrigin::scripted(move |connection| {
        connection.head();
        connection.wire.write("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
        sender.lock().unwrap().send(connection.wire.rest().0).unwrap();
    });
    let gateway = TestGateway::start(&[&origin]);
    // A client need not wait for its 100, and may have sent its body along.
    for body in ["", "hello"] {
        let mut client = gateway.client();
        client.send(format!("{EXPECTING}{body}"));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (417, "no"), "and no 100 before it");
        if body.is_empty() {
            // Nobody can tell whether it is still to come, so that this connection carries no other request.
            client.expect_closed();
        }
        assert_eq!(after_the_answer.recv_timeout(PATIENCE).unwrap(), b"");
    }
    gateway.wait_for_admin("/v1/status", "\"client_connections\":0");
}

/// An instance that knows nothing of 100 waits for a body that waits for it.
#[test]
fn a_body_flows_when_the_instance_is_silent() {
    let origin =
        RawOrigin::serving(|request| [&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"[..], &request.body].concat());
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send(EXPECTING);
    assert_eq!(client.head().status(), 100);
    assert_eq!(client.ask("hello").text(), "hello");
    // A client need not wait for the 100 at all.
    client.send(EXPECTING);
    let answer = client.ask("early");
    let answer = if answer.status() == 100 { client.answer() } else { answer };
    assert_eq!(answer.text(), "early");
}

/// An instance that refuses an upload half-way has its reason lost, if the answer waits for the upload's end.
#[test]
fn an_early_answer_reaches_a_client_that_is_uploading() {
    let origin = RawOrigin::scripted(|connection| {
        connection.wire.until("first part").unwrap();
        connection.wire.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        connection.wait_for_close();
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nfirst part");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
}

/// A conversation over one request, as event streams and gRPC hold it, must not wait for either side's end.
#[test]
fn an_answer_streams_while_its_request_does() {
    let origin = RawOrigin::scripted(|connection| {
        connection.head();
        connection.wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Ok(size) = connection.wire.until("\r\n") {
            if size == b"0\r\n" {
                connection.wire.write("0\r\n\r\n");
                return;
            }
            let word = connection.wire.until("\r\n").unwrap();
            connection.wire.write([&size[..], &word].concat());
        }
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    for word in ["ping", "pong", "ping"] {
        client.send(format!("4\r\n{word}\r\n"));
        assert_eq!(client.wire.until(&format!("4\r\n{word}\r\n")).unwrap().len(), 9);
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.wire.until("0\r\n\r\n").unwrap(), b"0\r\n\r\n");
}

/// A half-written upload whose client is gone must not look finished to the instance.
#[test]
fn an_upload_whose_client_leaves_is_cut_at_the_instance() {
    let (sender, result) = channel();
    let sender = Mutex::new(sender);
    let origin = RawOrigin::scripted(move |connection| {
        let _ = sender.lock().unwrap().send(connection.try_request().map_err(|cut| cut.end));
    });
    let gateway = TestGateway::start(&[&origin]);
    for head in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}"));
        assert_eq!(result.recv_timeout(Duration::from_millis(50)).unwrap_err(), RecvTimeoutError::Timeout);
        drop(client);
        assert!(result.recv_timeout(PATIENCE).unwrap().is_err());
    }
}
