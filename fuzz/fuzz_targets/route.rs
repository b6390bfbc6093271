//! A request that takes a less specific route than its author meant may land on a pool without that route's
//! protection. The indexed lookup must agree, for every host and path a client can write, with the plain reading of
//! the rules: the most specific host that has a route for the path, then the most specific path.
//!
//! The input is lines: the host asked for, the path asked for, then a route per line as `host path`, with `*` for
//! every host, `*.suffix` for subdomains and a trailing `/*` for a prefix.

#![no_main]

use cloakroom_policy::route::{SEGMENTS_MAX, host_name};
use cloakroom_policy::{HostPattern, PathPattern, RouteTable};
use libfuzzer_sys::fuzz_target;

/// Longest host that is looked up (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 255;
/// Routes of one table that are taken from an input.
const ROUTES_MAX: usize = 64;

type Route = (HostPattern, PathPattern, usize);

fuzz_target!(|input: &str| {
    let mut lines = input.split('\n');
    let (Some(host), Some(path)) = (lines.next(), lines.next()) else { return };
    let routes: Vec<Route> = lines.take(ROUTES_MAX).enumerate().filter_map(|(id, line)| route(id, line)).collect();
    let table = RouteTable::new(routes.iter().cloned());
    let found = table.find(host, path);
    // Deeper paths are matched by their first segments only, which the plain reading does not know.
    if path.matches('/').count() <= SEGMENTS_MAX {
        assert_eq!(found, plain_reading(&routes, host, path), "{host:?} {path:?} {routes:?}");
    }
    assert_eq!(table.find(&host.to_ascii_uppercase(), path), found, "the case of a host was told apart");
});

fn route(id: usize, line: &str) -> Option<Route> {
    let (host, path) = line.split_once(' ')?;
    let host = match host {
        "*" => HostPattern::Any,
        _ => match host.strip_prefix("*.") {
            Some(suffix) => HostPattern::Subdomains(suffix.to_ascii_lowercase()),
            None => HostPattern::Exact(host.to_ascii_lowercase()),
        },
    };
    // A prefix has no slash at its end, and begins with one unless it is empty.
    let path = match path.strip_suffix("/*") {
        Some(prefix) if prefix.ends_with('/') || !(prefix.is_empty() || prefix.starts_with('/')) => return None,
        Some(prefix) => PathPattern::Prefix(prefix.to_owned()),
        None => PathPattern::Exact(path.to_owned()),
    };
    Some((host, path, id))
}

/// Every route is looked at, and the best kept; of two alike the first counts.
fn plain_reading(routes: &[Route], host: &str, path: &str) -> Option<usize> {
    let host = host_name(host).to_ascii_lowercase();
    let mut best: Option<((usize, usize), usize)> = None;
    for (pattern, route_path, id) in routes {
        let (Some(host_rank), Some(path_rank)) = (host_rank(pattern, &host), path_rank(route_path, path)) else {
            continue;
        };
        let rank = (host_rank, path_rank);
        if best.is_none_or(|(kept, _)| rank > kept) {
            best = Some((rank, *id));
        }
    }
    best.map(|(_, id)| id)
}

fn host_rank(pattern: &HostPattern, host: &str) -> Option<usize> {
    let within_bounds = host.len() <= HOST_BYTES_MAX;
    match pattern {
        HostPattern::Any => Some(0),
        HostPattern::Exact(name) => (within_bounds && name == host).then_some(usize::MAX),
        HostPattern::Subdomains(suffix) => {
            let is_below = host.strip_suffix(suffix.as_str()).is_some_and(|label| label.ends_with('.'));
            (within_bounds && is_below).then_some(1 + suffix.len())
        }
    }
}

fn path_rank(pattern: &PathPattern, path: &str) -> Option<usize> {
    match pattern {
        PathPattern::Exact(exact) => (exact == path).then_some(usize::MAX),
        PathPattern::Prefix(prefix) => {
            let below = path.strip_prefix(prefix.as_str())?;
            (prefix.is_empty() || below.is_empty() || below.starts_with('/')).then_some(prefix.len())
        }
    }
}
