//! What reaches an instance of a request's head: nothing a client may not say, and everything else.

use super::support::*;

fn with_trusted_loopback(origin: &RawOrigin) -> TestGateway {
    TestGateway::with(&[origin], |config| {
        config.gateway.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
}

/// What arrived at an echoing origin, read back from its answer.
fn arrived(gateway: &TestGateway, lines: &str) -> Message {
    let answer = gateway.client().ask(format!("GET /x HTTP/1.1\r\nHost: shop.test:8080\r\n{lines}\r\n"));
    assert_eq!(answer.status(), 200, "{}", answer.head());
    Message { head: answer.body, body: Vec::new(), trailers: String::new() }
}

/// A client that may name itself in `Cloakroom-Session` is anybody it likes.
#[test]
fn nobody_outside_speaks_in_our_name() {
    let origin = RawOrigin::echo();
    let plain = TestGateway::start(&[&origin]);
    let trusting = with_trusted_loopback(&origin);
    let with_sessions = TestGateway::with_store(&[&origin], SpiedStore::new(), |_| {});
    for gateway in [&plain, &trusting, &with_sessions] {
        let head = arrived(
            gateway,
            "Cloakroom-Session: forged\r\ncloakroom-session: forged\r\nCLOAKROOM-SESSION: forged\r\n\
             Cloakroom-Session-Login: forged\r\nCloakroom-Future: forged\r\nConnection: cloakroom-session\r\n\
             Cloakroom_Session: forged\r\nCLOAKROOM_session-patch: forged\r\n",
        );
        assert!(!head.head().contains("forged"), "{}", head.head());
    }
}

/// A CGI-like server reads `X_Forwarded_For` as `X-Forwarded-For`, and a client could name itself again.
#[test]
fn an_untrusted_peers_word_on_hops_is_replaced() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let head = arrived(
        &gateway,
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.7\r\nX-Forwarded-Proto: 6https\r\n\
         X-Forwarded-Host: 6.test\r\nX-Forwarded-Port: 6443\r\nX-Forwarded-Prefix: /6\r\nForwarded: for=6.6.6.6\r\n\
         X-Request-Id: 6given\r\nX_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Plain: kept\r\n",
    );
    assert_eq!(head.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(head.headers("x-forwarded-proto"), ["http"]);
    assert_eq!(head.headers("x-forwarded-host"), ["shop.test:8080"]);
    assert_eq!(head.headers("forwarded"), ["for=127.0.0.1;host=\"shop.test:8080\";proto=http"]);
    assert_eq!(head.headers("via"), ["1.1 cloakroom"]);
    assert_eq!(head.headers("x-plain"), ["kept"]);
    let id = head.header("x-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    for claim in ["6.6.6.6", "6443", "/6", "6given"] {
        assert!(!head.head().contains(claim), "{claim}: {}", head.head());
    }
}

/// A proxy of one's own that is not believed makes every user look like that proxy.
#[test]
fn a_trusted_peers_word_on_hops_is_extended() {
    let origin = RawOrigin::echo();
    let gateway = with_trusted_loopback(&origin);
    let head = arrived(
        &gateway,
        "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 10.0.0.7\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: outside.test\r\nForwarded: for=9.9.9.9;proto=https\r\nForwarded: for=10.0.0.7\r\n\
         X-Request-Id: given-1\r\nVia: 1.1 edge\r\n",
    );
    assert_eq!(head.headers("x-forwarded-for"), ["9.9.9.9, 10.0.0.7, 127.0.0.1"]);
    assert_eq!(head.headers("x-forwarded-proto"), ["https"]);
    assert_eq!(head.headers("x-forwarded-host"), ["outside.test"]);
    assert_eq!(
        head.headers("forwarded"),
        ["for=9.9.9.9;proto=https, for=10.0.0.7, for=127.0.0.1;host=\"shop.test:8080\";proto=http"]
    );
    assert_eq!(head.headers("x-request-id"), ["given-1"]);
    assert_eq!(head.headers("via"), ["1.1 edge, 1.1 cloakroom"]);
    // An identifier that would break the log is not taken over from anybody.
    let long = "x".repeat(129);
    for bad in ["a b", "é", long.as_str()] {
        let head = arrived(&gateway, &format!("X-Request-Id: {bad}\r\n"));
        assert_eq!(head.header("x-request-id").unwrap().len(), 32, "{bad}");
    }
}

/// `Connection: Host` would strip what routing rests on after the gateway has looked at it.
#[test]
fn fields_of_one_hop_end_here_and_protected_ones_do_not() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let head = arrived(
        &gateway,
        "Connection: keep-alive, X-Hop, Host, Cookie, Authorization, X-Forwarded-For, X-Request-Id\r\n\
         X-Hop: 1\r\nKeep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\n\
         Cookie: a=1\r\nAuthorization: Basic eA==\r\n",
    );
    assert_eq!(head.headers("host"), ["shop.test:8080"]);
    assert_eq!(head.headers("cookie"), ["a=1"]);
    assert_eq!(head.headers("authorization"), ["Basic eA=="]);
    assert_eq!(head.headers("x-forwarded-for"), ["127.0.0.1"]);
    for gone in ["x-hop", "keep-alive", "proxy-connection", "te", "upgrade", "connection"] {
        assert_eq!(head.headers(gone), Vec::<String>::new(), "{gone}");
    }
}

/// The fields of an instance's own hop, and those meant for the gateway, are not the client's business.
#[test]
fn an_answers_fields_of_one_hop_end_here() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let mut client = gateway.client();
    let answer = client.ask(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Say: Connection: X-Hop, Set-Cookie\r\nX-Say: X-Hop: 1\r\n\
         X-Say: Keep-Alive: timeout=1\r\nX-Say: Set-Cookie: a=1\r\nX-Say: Set-Cookie: b=2\r\n\
         X-Say: Cloakroom-Session-Patch: {}\r\nX-Say: Cloakroom-Other: 1\r\nX-Say: X-Plain: kept\r\n\r\n",
    );
    assert_eq!(answer.headers("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.headers("x-plain"), ["kept"]);
    for gone in ["x-hop", "keep-alive", "connection", "cloakroom-session-patch", "cloakroom-other"] {
        assert_eq!(answer.headers(gone), Vec::<String>::new(), "{gone}");
    }
    assert_eq!(client.get("/").status(), 200, "the instance's own `Connection` does not close the client's");
}

/// A client that speaks through the absolute form could reach one host's routes under another host's name.
#[test]
fn an_absolute_target_names_the_host() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::with(&[&origin], |config| {
        config.routes[0].host = Some(cloakroom_config::HostPattern::Exact("shop.test".to_owned()));
    });
    for (target, expected) in [
        ("http://shop.test/a?b=c", Some("GET /a?b=c HTTP/1.1")),
        ("http://shop.test:8080/a", Some("GET /a HTTP/1.1")),
        ("http://SHOP.test", Some("GET / HTTP/1.1")),
        ("http://shop.test?x", Some("GET /?x HTTP/1.1")),
        ("http://user:secret@shop.test/a", Some("GET /a HTTP/1.1")),
        ("http://other.test/a", None),
    ] {
        let answer = gateway.client().ask(format!("GET {target} HTTP/1.1\r\nHost: shop.test\r\n\r\n"));
        let Some(line) = expected else {
            assert_eq!(answer.status(), 404, "{target}");
            continue;
        };
        assert_eq!(answer.status(), 200, "{target}: {}", answer.head());
        let text = answer.text();
        assert_eq!(text.lines().next(), Some(line), "{target}");
        assert!(!text.contains("secret"), "credentials in a host: {text}");
        let host = Message { head: answer.body, body: Vec::new(), trailers: String::new() }.header("host").unwrap();
        assert!(host.to_ascii_lowercase().starts_with("shop.test"), "{host}");
    }
    let answer = gateway.client().ask("GET http://shop.test/a HTTP/1.1\r\nHost: other.test\r\n\r\n");
    assert_eq!(answer.status(), 200, "the target counts, not the field");
    assert!(!answer.text().contains("other.test"), "{}", answer.text());
}

/// Whatever else a client sends is the application's business.
#[test]
fn everything_else_passes_unchanged() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let answer = gateway.client().ask(
        "FROB /a//b/../c%2fd;p=1?q=%00&r=a+b HTTP/1.1\r\nHost: a\r\nX-Bytes: \u{e9}\r\nX-Twice: 1\r\nX-Twice: 2\r\n\
         Cookie: a=1; b=\"2\"\r\nCookie: c=3\r\nRange: bytes=0-1\r\nX-Empty:\r\n\r\n",
    );
    let head = Message { head: answer.body, body: Vec::new(), trailers: String::new() };
    assert_eq!(head.request(), "FROB /a//b/../c%2fd;p=1?q=%00&r=a+b");
    assert_eq!(head.headers("x-bytes"), ["\u{e9}"]);
    assert_eq!(head.headers("x-twice"), ["1", "2"]);
    assert_eq!(head.headers("cookie"), ["a=1; b=\"2\"", "c=3"]);
    assert_eq!(head.headers("range"), ["bytes=0-1"]);
    assert_eq!(head.headers("x-empty"), [""]);
}
