//! The operator's listener: drains, status, metrics, and who may not ask.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::support::*;

fn status(gateway: &TestGateway) -> serde_json::Value {
    let answer = gateway.admin("GET /v1/status");
    assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

/// A deploy that stops an instance with requests on it fails them; a drain lets them finish first.
#[test]
fn a_drained_instance_finishes_and_gets_nothing_new() {
    let (release, may_answer) = channel::<()>();
    let may_answer = Mutex::new(may_answer);
    let slow = RawOrigin::serving(move |request| {
        if request.request() == "GET /slow" {
            let _ = may_answer.lock().unwrap().recv();
        }
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow".to_vec()
    });
    let other = RawOrigin::named("other");
    let gateway = TestGateway::with(&[&slow, &other], |_| {});
    // One of two requests in turn meets the slow instance.
    let mut clients = [gateway.client(), gateway.client()];
    for client in &mut clients {
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    slow.wait_for(|bytes| holds(bytes, "/slow"));
    let drained = gateway.admin("POST /v1/pools/default/instances/1/drain");
    assert_eq!(drained.status(), 200);
    let drained: serde_json::Value = serde_json::from_slice(&drained.body).unwrap();
    assert_eq!((&drained["state"], &drained["in_flight"]), (&"draining".into(), &1.into()));
    for _ in 0..6 {
        assert_eq!(gateway.client().get("/").text(), "other");
    }
    release.send(()).unwrap();
    let mut answers = clients.each_mut().map(|client| client.answer().text());
    answers.sort();
    assert_eq!(answers, ["other", "slow"]);
    gateway.wait_for_admin("/v1/status", "\"state\":\"draining\",\"weight\":1,\"incarnation\":1,\"in_flight\":0");

    let path = format!("POST /v1/pools/default/instances/{}/undrain", slow.address);
    assert_eq!(gateway.admin(&path).status(), 200, "an address names an instance as well");
    let served: Vec<_> = (0..4).map(|_| gateway.client().get("/").text()).collect();
    assert!(served.contains(&"slow".to_owned()), "{served:?}");
}

/// A typo in a script must not look like a drain that worked.
#[test]
fn what_does_not_exist_is_not_drained() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    for path in [
        "/v1/pools/other/instances/1/drain",
        "/v1/pools/default/instances/0/drain",
        "/v1/pools/default/instances/2/drain",
        "/v1/pools/default/instances/127.0.0.1:1/drain",
        "/v1/pools/default/instances/x/drain",
        "/v1/pools/default/instances/1/remove",
        "/v1/nothing",
    ] {
        let answer = gateway.admin(&format!("POST {path}"));
        assert_eq!(answer.status(), 404, "{path}");
    }
    let answer = gateway.admin("POST /v1/pools/other/instances/1/drain");
    assert!(answer.text().contains("the pools are: default"), "{}", answer.text());
    assert_eq!(gateway.admin("GET /v1/pools/default/instances/1/drain").status(), 405, "a link changes nothing");
    assert_eq!(status(&gateway)["pools"][0]["instances"][0]["state"], "up");
}

/// A page of another site, open in the operator's browser, must not drain the fleet or read its addresses.
#[test]
fn pages_of_other_sites_are_refused() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::start(&[&origin]);
    let (own, drain) = (gateway.admin.to_string(), "POST /v1/pools/default/instances/1/drain");
    let port = gateway.admin.port();
    let ask = |request: &str, lines: &str| gateway.admin_ask(request, lines).status();
    for path in [drain, "GET /v1/status", "GET /metrics"] {
        assert_eq!(ask(path, &format!("Host: {own}\r\nOrigin: http://evil.test\r\n")), 403, "{path}");
        assert_eq!(ask(path, &format!("Host: {own}\r\nOrigin: null\r\n")), 403, "{path}");
        assert_eq!(ask(path, &format!("Host: {own}\r\nOrigin: http://{own}.evil.test\r\n")), 403, "{path}");
        assert_eq!(ask(path, "Host: evil.test\r\n"), 403, "{path}: a name that was rebound to this address");
        assert_eq!(ask(path, &format!("Host: evil.test:{port}\r\nOrigin: http://evil.test:{port}\r\n")), 403, "{path}");
        assert_eq!(ask(path, &format!("Host: 127.0.0.1.evil.test:{port}\r\n")), 403, "{path}");
    }
    assert_eq!(status(&gateway)["pools"][0]["instances"][0]["state"], "up", "nothing was drained");
    assert_eq!(ask("GET /v1/status", &format!("Host: localhost:{port}\r\n")), 200);
    assert_eq!(ask("GET /v1/status", &format!("Host: {own}\r\nOrigin: http://{own}\r\n")), 200);
}

/// Off loopback anybody on the network can connect; only the token tells the operator.
#[test]
fn the_token_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let token = "0123456789abcdef0123456789abcdef";
    std::fs::write(&path, format!("{token}\n")).unwrap();
    let origin = RawOrigin::echo();
    let gateway = TestGateway::with(&[&origin], |config| config.gateway.admin_token_file = Some(path.clone()));
    let host = format!("Host: {}\r\n", gateway.admin);
    let ask = |request: &str, lines: &str| gateway.admin_ask(request, &format!("{host}{lines}"));
    for request in ["GET /metrics", "GET /v1/status", "POST /v1/pools/default/instances/1/drain"] {
        for wrong in ["", "Authorization: Bearer x\r\n", &format!("Authorization: Basic {token}\r\n")] {
            let answer = ask(request, wrong);
            assert_eq!(answer.status(), 401, "{request} {wrong}");
            assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
        }
        assert_eq!(ask(request, &format!("Authorization: Bearer {token}\r\n")).status(), 200, "{request}");
    }
    for open in ["GET /healthz", "GET /.well-known/jwks.json"] {
        assert_eq!(ask(open, "").status(), 200, "{open}");
    }
    // The only instance is draining by now.
    assert_eq!(ask("GET /readyz", "").status(), 503);
}

/// A scrape with one bad line is a scrape without any.
#[test]
fn every_line_of_the_metrics_parses_and_requests_are_counted() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::with_store(&[&origin], SpiedStore::new(), |config| {
        config.gateway.workers = std::num::NonZeroUsize::new(2);
        config.gateway.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    for status in ["200", "200", "404", "500"] {
        gateway.browser().get_with("/", &[&format!("x-status: {status}")]);
    }
    gateway.browser().have_said(&["Cloakroom-Session-Login: alice"]);
    gateway.client().ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    gateway.wait_for_admin("/metrics", "reason=\"repeated-host\"} 1");
    let answer = gateway.admin("GET /metrics");
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let word = comment.split(' ').next().unwrap();
            assert!(["HELP", "TYPE", "UNIT", "EOF"].contains(&word), "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        assert!(name.starts_with("cloakroom_") && value.parse::<f64>().is_ok(), "{line}");
        assert_eq!(name.matches('{').count(), name.matches('}').count(), "{line}");
    }
    let count = |class: &str| {
        gateway.metric(&format!("cloakroom_requests_total{{route=\"/*\",pool=\"default\",class=\"{class}\"}}"))
    };
    assert_eq!(["2xx", "4xx", "5xx"].map(count), [3.0, 1.0, 1.0]);
    let instance = "cloakroom_instance_requests_total{pool=\"default\",instance=\"default/1\",class=\"2xx\"}";
    assert_eq!(gateway.metric(instance), 3.0);
    assert_eq!(gateway.metric("cloakroom_session_events_total{event=\"logged-in\"}"), 1.0);
    assert_eq!(gateway.metric("cloakroom_request_duration_seconds_count{pool=\"default\"}"), 5.0);
    assert_eq!(gateway.metric("cloakroom_store_duration_seconds_count{operation=\"create\"}"), 1.0);
}

/// Whatever the dashboard shows comes from here.
#[test]
fn the_status_tells_instances_and_sessions() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::with_store(&[&origin], SpiedStore::new(), |_| {});
    let mut client = gateway.client();
    client.get("/");
    client.ask("GET / HTTP/1.1\r\nHost: a\r\nx-status: 500\r\n\r\n");
    let status = status(&gateway);
    assert_eq!((&status["client_connections"], &status["store"]), (&1.into(), &"memory".into()));
    let pool = &status["pools"][0];
    assert_eq!((&pool["name"], &pool["balance"]), (&"default".into(), &"round-robin".into()));
    let instance = &pool["instances"][0];
    assert_eq!(instance["address"], origin.address.to_string());
    assert_eq!((&instance["requests"], &instance["failures"]), (&2.into(), &1.into()));
}
