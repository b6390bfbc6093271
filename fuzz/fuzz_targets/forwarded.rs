//! A client that could choose its own address would dodge every limit and pin by address, and frame somebody else in
//! the access log. It writes whatever it likes to the left of `X-Forwarded-For`; a host name that broke out of its
//! quotes in `Forwarded` would let it write to the right as well.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use cloakroom_policy::forwarded::{forwarded_element, forwarded_for};
use cloakroom_policy::{Hop, TrustedHops};
use libfuzzer_sys::fuzz_target;

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

static HOPS: LazyLock<TrustedHops> = LazyLock::new(|| {
    let ranges = ["10.0.0.0/8", "fd00::/8"].map(|range| range.parse().expect("a literal range"));
    TrustedHops::new(ranges.into())
});

fuzz_target!(|input: &[u8]| {
    let values: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let client = |peer, values: &[&[u8]]| HOPS.client(peer, values.iter().copied());

    assert_eq!(client(STRANGER, &values), STRANGER, "a stranger was believed");
    let found = client(PROXY, &values);
    assert_eq!(found, found.to_canonical());
    // What our own proxies appended is what counts, in one header or in several.
    for appended in [&b"203.0.113.9"[..], b"203.0.113.9, 10.0.0.2", b"203.0.113.9:4711,[fd00::1]:80 , ::ffff:10.1.2.3"]
    {
        let one_header = [&values.join(&b", "[..])[..], appended].join(&b", "[..]);
        assert_eq!(client(PROXY, &[&one_header]), STRANGER);
        let mut own_header = values.clone();
        own_header.push(appended);
        assert_eq!(client(PROXY, &own_header), STRANGER);
    }
    // The next hop, which trusts us, must come to the same client as we did.
    let told = forwarded_for(values.iter().copied(), STRANGER);
    assert_eq!(client(PROXY, &[&told]), STRANGER);
    if HOPS.hop(found) == Hop::Client {
        assert_eq!(client("fd00::7".parse().expect("a literal address"), &values), found);
    }
    if let Ok(host) = std::str::from_utf8(input) {
        check_element(host);
    }
});

/// One element with the three parameters we wrote, whatever the host says.
fn check_element(host: &str) {
    let element = forwarded_element(STRANGER, host, "https");
    assert!(element.starts_with("for=203.0.113.9;") && element.ends_with(";proto=https"), "{element}");
    let outside_quotes: String = element.split('"').step_by(2).collect();
    assert_eq!(element.matches('"').count() % 2, 0, "{element}");
    assert_eq!(outside_quotes.matches(';').count(), if host.is_empty() { 1 } else { 2 }, "{element}");
    assert!(!outside_quotes.contains([',', ' ', '\\']), "{element}");
}
