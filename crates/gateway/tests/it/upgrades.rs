//! Connections that change their protocol, as WebSocket does.

use super::support::*;

const WANTED: &str = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Key: x\r\n\r\n";

/// Says 101 and its first word in one go, then echoes lines until told to stop.
fn echoing_socket() -> RawOrigin {
    RawOrigin::scripted(|connection| {
        let head = connection.head();
        assert_eq!(head.header("connection").map(|value| value.to_ascii_lowercase()).as_deref(), Some("upgrade"));
        assert_eq!(head.header("upgrade").as_deref(), Some("websocket"));
        connection.wire.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: y\r\n\r\nwelcome\n",
        );
        while let Ok(line) = connection.wire.until("\n") {
            connection.wire.write(&line);
            if line == b"bye\n" {
                return;
            }
        }
    })
}

/// A chat whose first message comes with the 101 must not lose it, nor hang on the second.
#[test]
fn an_accepted_upgrade_carries_bytes_both_ways() {
    let origin = echoing_socket();
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send(WANTED);
    let answer = client.head();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.header("upgrade").as_deref(), Some("websocket"));
    assert_eq!(answer.header("sec-websocket-accept").as_deref(), Some("y"));
    assert_eq!(client.wire.until("\n").unwrap(), b"welcome\n");
    for line in ["GET /not/a/request HTTP/1.1\r\n", "\0\u{1}\n", "bye\n"] {
        client.send(line);
        assert_eq!(client.wire.until("\n").unwrap(), line.as_bytes());
    }
    client.expect_closed();
    drop(client);
    gateway.wait_for_admin("/v1/status", "\"in_flight\":0");
}

/// A large transfer over an upgraded connection must arrive whole.
#[test]
fn an_upgraded_connection_carries_much() {
    let origin = echoing_socket();
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send(WANTED);
    client.wire.until("welcome\n").unwrap();
    let block = [vec![b'x'; 1024 * 1024], b"\n".to_vec()].concat();
    for _ in 0..4 {
        client.send(&block);
        assert!(client.wire.exactly(block.len()).unwrap() == block);
    }
}

/// The end of either side ends the other, or sockets pile up.
#[test]
fn an_upgraded_connection_ends_with_either_side() {
    let origin = echoing_socket();
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send(WANTED);
    client.wire.until("welcome\n").unwrap();
    drop(client);
    gateway.wait_for_admin("/v1/status", "\"in_flight\":0");
}

/// An instance that declines leaves an ordinary connection behind, and it must be usable.
#[test]
fn after_a_declined_upgrade_the_connection_goes_on() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    assert_eq!(client.ask(WANTED).status(), 200);
    assert_eq!(client.get("/next").status(), 200);
    assert_eq!(client.ask(WANTED).status(), 200);
    assert_eq!(client.get("/last").status(), 200);
    let failing = TestGateway::at(vec![refusing_address()], None, |_| {});
    let mut client = failing.client();
    assert_eq!(client.ask(WANTED).status(), 502);
    assert_eq!(client.get("/next").status(), 502, "also where the gateway declined");
}

/// Bytes behind an upgrade request are in a protocol nobody has agreed on: a request hidden there passes every check.
#[test]
fn early_bytes_never_reach_the_instance() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    client.send(format!("{WANTED}GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"));
    let answer = client.answer();
    assert_eq!(answer.status(), 400, "{}", answer.head());
    client.expect_closed();
    assert_eq!(gateway.client().get("/last").status(), 200);
    assert!(!holds(&origin.received(), "/hidden"));
    assert!(!holds(&origin.received(), "/socket"));
}

/// Upgraded connections that nobody counts are without bound, and are cut off when the gateway stops.
#[test]
fn an_upgraded_connection_counts_until_its_end() {
    let origin = echoing_socket();
    let mut gateway = TestGateway::with(&[&origin], |config| {
        config.gateway.limits.connections = 1;
        config.gateway.timeouts.shutdown = PATIENCE;
    });
    let mut client = gateway.client();
    client.send(WANTED);
    client.wire.until("welcome\n").unwrap();
    gateway.wait_for_admin("/v1/status", "\"client_connections\":1,");
    let mut second = gateway.client();
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    second.wire.set_patience(std::time::Duration::from_millis(100));
    assert_eq!(second.wire.exactly(1).unwrap_err().end, End::TimedOut);
    drop(second);

    let running = gateway.take();
    let stopping = std::thread::spawn(move || running.stop());
    for line in ["still there\n", "bye\n"] {
        client.send(line);
        assert_eq!(client.wire.until("\n").unwrap(), line.as_bytes());
        assert!(!stopping.is_finished());
    }
    drop(client);
    stopping.join().unwrap();
}

/// A log-in over WebSocket's first answer must be kept like any other.
#[test]
fn an_accepted_upgrade_may_change_the_session() {
    let origin = RawOrigin::scripted(|connection| {
        connection.head();
        connection.wire.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Cloakroom-Session-Patch: {\"a\":1}\r\n\r\n",
        );
        connection.wait_for_close();
    });
    let gateway = TestGateway::with_store(&[&origin], SpiedStore::new(), |_| {});
    let answer = gateway.client().send(WANTED).head();
    assert_eq!(answer.status(), 101);
    assert!(answer.header("set-cookie").unwrap().starts_with("cloakroom="));
    assert!(!answer.head().contains("loakroom-session"));
}

/// HTTP/2 inside an upgraded connection would carry requests past every check of the gateway.
#[test]
fn http_2_is_not_tunnelled() {
    let origin = RawOrigin::scripted(|connection| {
        while let Ok(request) = connection.try_head() {
            let answer = match request.headers("upgrade").iter().any(|value| value != "websocket") {
                true => "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
                false => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            connection.wire.write(answer);
        }
    });
    let gateway = TestGateway::start(&[&origin]);
    for protocol in ["h2c", "H2C", "websocket, h2c", "h2c, websocket", "HTTP/2.0", "TLS/1.2", "h2c\r\nUpgrade: h2c"] {
        let mut client = gateway.client();
        let answer = client.ask(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        ));
        assert_eq!(answer.status(), 200, "{protocol}: {}", answer.head());
        assert_eq!(client.get("/next").status(), 200, "{protocol}");
    }
}

/// An instance that switches unasked would turn everybody's connection into its own.
#[test]
fn an_unasked_switch_is_a_failure() {
    let origin = RawOrigin::serving(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_vec()
    });
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    assert_eq!(client.get("/").status(), 502);
    assert_eq!(client.get("/").status(), 502);
    let ten = client.ask("GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(ten.status(), 502, "HTTP/1.0 has no upgrades");
}
