//! Which instances get requests: by their probes, by what requests met, and when hardly any is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloakroom_config::{Config, HealthCheck, Probe};

use super::support::*;

fn checked(config: &mut Config) {
    let mut check = HealthCheck::new(Probe::Http { path: "/health".to_owned() });
    check.every = Duration::from_millis(20);
    check.timeout = Duration::from_millis(200);
    config.pools[0].health = Some(check);
    config.pools[0].panic_threshold_percent = 0;
}

/// Answers as well as its switch says.
fn switched(name: &'static str) -> (RawOrigin, Arc<AtomicBool>) {
    let is_well = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&is_well);
    let origin = RawOrigin::serving(move |_| {
        let status = if switch.load(Ordering::SeqCst) { "200 OK" } else { "500 Ill" };
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{name}", name.len()).into_bytes()
    });
    (origin, is_well)
}

/// An instance that fails its checks and still gets requests fails users too.
#[test]
fn an_instance_that_fails_its_checks_gets_nothing_until_it_passes_them() {
    let (ill, is_well) = switched("ill");
    let well = RawOrigin::named("well");
    let gateway = TestGateway::with(&[&ill, &well], checked);
    is_well.store(false, Ordering::SeqCst);
    gateway.wait_for_state(1, "down");
    for _ in 0..6 {
        assert_eq!(gateway.client().get("/").text(), "well");
    }
    assert_eq!(gateway.admin("GET /readyz").status(), 200);
    is_well.store(true, Ordering::SeqCst);
    gateway.wait_for_state(1, "up");
    let served: Vec<_> = (0..4).map(|_| gateway.client().get("/").text()).collect();
    assert!(served.contains(&"ill".to_owned()), "{served:?}");
}

/// A process that is gone is noticed by a probe that only connects, too.
#[test]
fn an_instance_that_is_gone_fails_its_checks() {
    let well = RawOrigin::named("well");
    let gateway = TestGateway::at(vec![refusing_address(), well.address], None, |config| {
        checked(config);
        config.pools[0].health.as_mut().unwrap().probe = Probe::Tcp;
    });
    gateway.wait_for_state(1, "down");
    gateway.wait_for_state(2, "up");
    assert_eq!(gateway.client().get("/").text(), "well");
}

/// A probe that hangs must count as failed, or a hanging instance is well for ever.
#[test]
fn an_instance_that_hangs_fails_its_checks() {
    let silent = RawOrigin::scripted(|connection| connection.wait_for_close());
    let well = RawOrigin::named("well");
    let gateway = TestGateway::with(&[&silent, &well], |config| {
        checked(config);
        config.pools[0].health.as_mut().unwrap().timeout = Duration::from_millis(30);
    });
    gateway.wait_for_state(1, "down");
    assert_eq!(gateway.client().get("/").text(), "well");
}

/// A gateway that is asked for traffic without an instance to send it to answers 503 to everybody.
#[test]
fn readiness_needs_an_instance() {
    let (only, is_well) = switched("only");
    let gateway = TestGateway::with(&[&only], checked);
    assert_eq!(gateway.admin("GET /readyz").status(), 200);
    is_well.store(false, Ordering::SeqCst);
    gateway.wait_for_state(1, "down");
    let answer = gateway.admin("GET /readyz");
    assert_eq!(answer.status(), 503);
    assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    assert_eq!(gateway.admin("GET /healthz").status(), 200, "alive is not ready");
    assert_eq!(gateway.client().get("/").status(), 503);
}

/// A check that broke everywhere at once is more likely wrong than the instances are.
#[test]
fn with_hardly_any_instance_well_all_are_used() {
    let ill = || {
        RawOrigin::serving(|request| match request.request().as_str() {
            "GET /health" => b"HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        })
    };
    let origins = [ill(), ill(), ill()];
    let gateway = TestGateway::with(&origins.each_ref(), |config| {
        checked(config);
        config.pools[0].panic_threshold_percent = 30;
    });
    for instance in 1..=3 {
        gateway.wait_for_state(instance, "down");
    }
    for _ in 0..6 {
        assert_eq!(gateway.client().get("/").text(), "ok");
    }
    assert!(origins.iter().all(|origin| holds(&origin.received(), "GET / ")));
}

/// An instance whose requests fail while its health page is fine takes every n-th user down with it.
#[test]
fn an_instance_that_fails_requests_is_ejected_and_comes_back() {
    let (ill, is_well) = switched("ill");
    let well = RawOrigin::named("well");
    let gateway = TestGateway::with(&[&ill, &well], |config| {
        config.pools[0].outlier.ejection = Duration::from_millis(400);
    });
    is_well.store(false, Ordering::SeqCst);
    let mut failures = 0;
    for _ in 0..20 {
        failures += usize::from(gateway.client().get("/").status() == 500);
    }
    assert_eq!(failures, 5, "five in a row eject it");
    is_well.store(true, Ordering::SeqCst);
    gateway.wait_for_state(1, "up");
    let served: Vec<_> = (0..4).map(|_| gateway.client().get("/").text()).collect();
    assert!(served.contains(&"ill".to_owned()), "{served:?}");
}

/// Single failures among successes are everyday life.
#[test]
fn failures_that_are_not_in_a_row_eject_nobody() {
    let origin = RawOrigin::echo();
    let gateway = TestGateway::with(&[&origin, &origin], |config| {
        config.pools[0].outlier.ejection = Duration::from_secs(60);
    });
    for _ in 0..10 {
        for status in ["500", "500", "500", "500", "200", "200"] {
            gateway.browser().get_with("/", &[&format!("x-status: {status}")]);
        }
    }
    gateway.wait_for_state(1, "up");
    gateway.wait_for_state(2, "up");
}

/// Clients that break their own uploads must not get an instance ejected for everybody.
#[test]
fn a_clients_own_failure_ejects_nobody() {
    let (first, second) = (RawOrigin::echo(), RawOrigin::echo());
    let gateway = TestGateway::with(&[&first, &second], |config| {
        config.gateway.limits.body_bytes = Some(10);
        config.pools[0].outlier.consecutive_failures = 2;
        config.pools[0].outlier.ejection = Duration::from_secs(60);
    });
    for _ in 0..8 {
        let broken = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\nzz\r\n";
        gateway.client().send(broken).wire.rest();
        let large = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n";
        assert_eq!(gateway.client().ask(large).status(), 413);
        let mut leaving = gateway.client();
        leaving.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
        drop(leaving);
    }
    gateway.wait_for_admin("/v1/status", "\"client_connections\":0");
    gateway.wait_for_state(1, "up");
    gateway.wait_for_state(2, "up");
}

/// Whoever starts the instances knows first that one has ended.
#[test]
fn a_process_that_ended_gets_nothing_until_it_serves_again() {
    let origins = [RawOrigin::named("one"), RawOrigin::named("two")];
    let gateway = TestGateway::with(&origins.each_ref(), |_| {});
    let reports = gateway.running().instances();
    reports.ended(0);
    for _ in 0..4 {
        assert_eq!(gateway.client().get("/").text(), "two");
    }
    reports.serves(0, 2);
    let served: Vec<_> = (0..4).map(|_| gateway.client().get("/").text()).collect();
    assert!(served.contains(&"one".to_owned()), "{served:?}");
}
