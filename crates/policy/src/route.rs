//! Which route a request takes: the most specific host first, then the most specific path.
//!
//! Looking a route up costs one hash of the host and one per path segment, whatever the number of routes.

use std::collections::HashMap;

/// Longest path, in segments, that is walked: a deeper one is matched by its first segments.
pub const SEGMENTS_MAX: usize = 64;
/// Longest host name that is looked up (RFC 1035 §2.3.4), so that lower-casing needs no heap.
const HOST_BYTES_MAX: usize = 255;

/// Which hosts a route serves. Names are lower-case and without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// This one.
    Exact(String),
    /// Every name that ends in `.` and this suffix: `*.example.com`.
    Subdomains(String),
}

/// Which paths a route serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// This one.
    Exact(String),
    /// This path and everything below it; without a trailing slash. The empty prefix is every path.
    Prefix(String),
}

/// Routes, indexed. `Id` is whatever the caller wants back.
#[derive(Clone, Debug)]
pub struct RouteTable<Id> {
    exact: HashMap<String, Paths<Id>>,
    subdomains: HashMap<String, Paths<Id>>,
    any: Paths<Id>,
}

#[derive(Clone, Debug)]
struct Paths<Id> {
    exact: HashMap<String, Id>,
    prefixes: HashMap<String, Id>,
    /// The empty prefix, apart from the others: most tables hold nothing else, and need no hash then.
    every: Option<Id>,
}

impl<Id: Copy> Paths<Id> {
    fn new() -> Self {
        Self { exact: HashMap::new(), prefixes: HashMap::new(), every: None }
    }

    fn find(&self, path: &str) -> Option<Id> {
        if !self.exact.is_empty()
            && let Some(id) = self.exact.get(path)
        {
            return Some(*id);
        }
        if self.prefixes.is_empty() {
            return self.every;
        }
        let mut end = nth_slash(path, SEGMENTS_MAX).unwrap_or(path.len());
        loop {
            if end == 0 {
                return self.every;
            }
            if let Some(id) = self.prefixes.get(&path[..end]) {
                return Some(*id);
            }
            end = path[..end].rfind('/').unwrap_or(0);
        }
    }
}

impl<Id: Copy> RouteTable<Id> {
    /// Indexes routes. Of two with the same host and path the first one counts; a checked configuration has none.
    pub fn new(routes: impl IntoIterator<Item = (HostPattern, PathPattern, Id)>) -> Self {
        let mut table = Self { exact: HashMap::new(), subdomains: HashMap::new(), any: Paths::new() };
        for (host, path, id) in routes {
            let paths = match host {
                HostPattern::Any => &mut table.any,
                HostPattern::Exact(name) => table.exact.entry(name).or_insert_with(Paths::new),
                HostPattern::Subdomains(suffix) => table.subdomains.entry(suffix).or_insert_with(Paths::new),
            };
            match path {
                PathPattern::Exact(path) => paths.exact.entry(path).or_insert(id),
                PathPattern::Prefix(path) if path.is_empty() => paths.every.get_or_insert(id),
                PathPattern::Prefix(path) => paths.prefixes.entry(path).or_insert(id),
            };
        }
        table
    }

    /// The route for a request's host (with or without a port, in any case) and path (without the query).
    ///
    /// A host that has routes of its own falls through to less specific hosts where none of its paths match.
    pub fn find(&self, host: &str, path: &str) -> Option<Id> {
        if (!self.exact.is_empty() || !self.subdomains.is_empty())
            && let Some(id) = self.find_by_host(host_name(host), path)
        {
            return Some(id);
        }
        self.any.find(path)
    }

    fn find_by_host(&self, host: &str, path: &str) -> Option<Id> {
        let mut buffer = [0; HOST_BYTES_MAX];
        let lower = buffer.get_mut(..host.len())?;
        lower.copy_from_slice(host.as_bytes());
        lower.make_ascii_lowercase();
        let host = std::str::from_utf8(lower).ok()?;
        if let Some(id) = self.exact.get(host).and_then(|paths| paths.find(path)) {
            return Some(id);
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(id) = self.subdomains.get(suffix).and_then(|paths| paths.find(path)) {
                return Some(id);
            }
            rest = suffix;
        }
        None
    }
}

/// A host without its port: `example.com:80`, `[::1]:80`.
pub fn host_name(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => &host[..colon],
        _ => host,
    }
}

fn nth_slash(path: &str, count: usize) -> Option<usize> {
    path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(index, _)| index).nth(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[(&str, &str)]) -> RouteTable<usize> {
        let host = |text: &str| match text {
            "" => HostPattern::Any,
            _ => match text.strip_prefix("*.") {
                Some(suffix) => HostPattern::Subdomains(suffix.into()),
                None => HostPattern::Exact(text.into()),
            },
        };
        let path = |text: &str| match text.strip_suffix("/*") {
            Some(prefix) => PathPattern::Prefix(prefix.into()),
            None => PathPattern::Exact(text.into()),
        };
        RouteTable::new(routes.iter().enumerate().map(|(id, (h, p))| (host(h), path(p), id)))
    }

    /// A request that takes a less specific route than its author meant may land on a pool without its protection.
    #[test]
    fn the_most_specific_route_wins() {
        let table = table(&[
            ("", "/*"),
            ("", "/api/*"),
            ("", "/api/cart"),
            ("shop.example.com", "/api/*"),
            ("*.example.com", "/*"),
            ("*.eu.example.com", "/*"),
        ]);
        for (host, path, expected) in [
            ("x.org", "/", Some(0)),
            ("x.org", "/apix", Some(0)),
            ("x.org", "/api", Some(1)),
            ("x.org", "/api/", Some(1)),
            ("x.org", "/api/cart", Some(2)),
            ("x.org", "/api/cart/1", Some(1)),
            ("SHOP.example.com:8080", "/api/cart", Some(3)),
            ("shop.example.com", "/other", Some(4)),
            ("a.eu.example.com", "/", Some(5)),
            ("example.com", "/", Some(0)),
            ("[::1]:80", "/", Some(0)),
            ("", "/", Some(0)),
            ("x.org", "*", Some(0)),
        ] {
            assert_eq!(table.find(host, path), expected, "{host} {path}");
        }
    }

    #[test]
    fn no_route_is_no_route() {
        let table = table(&[("", "/api/*"), ("", "/x")]);
        assert_eq!(table.find("h", "/"), None);
        assert_eq!(table.find("h", "/x/y"), None);
    }

    proptest::proptest! {
        /// Hosts and paths come from the network.
        #[test]
        fn lookups_are_total(host in ".{0,300}", path in "/.{0,300}") {
            let table = table(&[("", "/*"), ("a.b", "/c"), ("*.b", "/d/*")]);
            proptest::prop_assert!(table.find(&host, &path).is_some());
        }
    }
}
