//! `[[routes]]`: which requests go to which pool.
//!
//! Routes are matched most specific first, so their order in the file means nothing, and two of one pattern are an
//! error: one of them could never match.

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv6Addr;

use crate::error::{ErrorKind, Span};
use crate::pools::Pool;
use crate::table::{TableReader, Value, Word, listed, nearest};

/// How many routes there may be.
pub const ROUTES_MAX: usize = 10_000;

/// `[[routes]]`: requests of one host and path pattern, and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The hosts it is for; `None` is every host.
    pub host: Option<HostPattern>,
    /// The paths it is for; default every path.
    pub path: PathPattern,
    /// The pool that serves it.
    pub pool: PoolId,
    /// Whether the ticket cookie reaches the instances; default [`SessionCookie::Strip`].
    pub session_cookie: SessionCookie,
}

impl Route {
    /// A route for every request.
    pub(crate) fn everything(pool: PoolId) -> Self {
        Self { host: None, path: PathPattern::default(), pool, session_cookie: SessionCookie::default() }
    }
}

/// An index into [`crate::Config::pools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub usize);

/// `host`: the hosts of a route, in lower case, without a port and without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host only, like `shop.example.com` or `[::1]`.
    Exact(String),
    /// `*.example.com` is `Wildcard("example.com")`: every host below it, and not itself.
    Wildcard(String),
}

/// `path`: the paths of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// This path only.
    Exact(String),
    /// `/api/*` is `Prefix("/api/")`: every path that starts so. `/*` is `Prefix("/")`, every path.
    Prefix(String),
}

/// `session_cookie`: whether the ticket cookie reaches the instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionCookie {
    /// No: an instance that logs its requests logs no tickets.
    #[default]
    Strip,
    /// Yes.
    Forward,
}

impl Default for PathPattern {
    fn default() -> Self {
        Self::Prefix("/".to_owned())
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => formatter.write_str(host),
            Self::Wildcard(parent) => write!(formatter, "*.{parent}"),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => formatter.write_str(path),
            Self::Prefix(prefix) => write!(formatter, "{prefix}*"),
        }
    }
}

pub(crate) fn read_routes(root: &mut TableReader<'_>, pools: &[Pool]) -> Vec<Route> {
    const HELP: &str = "write [[routes]] and under it pool = \"NAME\"";
    let Some(value) = root.value("routes") else {
        return routes_left_out(root, pools);
    };
    let Some(elements) = value.list("a list of tables", HELP) else {
        return Vec::new();
    };
    if elements.is_empty() || elements.len() > ROUTES_MAX {
        let reason = format!("there must be 1 to {ROUTES_MAX} routes, not {}", elements.len());
        value.refuse(reason, Some(HELP.to_owned()));
        return Vec::new();
    }
    let mut seen: HashMap<(Option<HostPattern>, PathPattern), Span> = HashMap::new();
    let mut routes = Vec::with_capacity(elements.len());
    for element in elements {
        let Some(mut reader) = element.table("[[routes]]") else {
            continue;
        };
        let Some((route, span)) = read_route(&mut reader, pools) else {
            reader.finish();
            continue;
        };
        reader.finish();
        let pattern = (route.host.clone(), route.path.clone());
        if let Some(first) = seen.get(&pattern) {
            let host = pattern.0.map_or_else(String::new, |host| host.to_string());
            let what = format!("the route for {host}{}", pattern.1);
            let help = Some("routes are matched most specific first, so one of them would never be used".to_owned());
            element.report.push_duplicate(what, span, first.clone(), help);
        } else {
            seen.insert(pattern, span);
            routes.push(route);
        }
    }
    routes
}

/// With one pool there is nothing to decide.
fn routes_left_out(root: &TableReader<'_>, pools: &[Pool]) -> Vec<Route> {
    if pools.len() > 1 {
        let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
        let kind = ErrorKind::Missing { key: "routes", table: root.name().to_owned() };
        let help = format!("say which requests go to which pool: {}", listed(&names, '"'));
        root.report().push(kind, root.span(), Some(help));
    }
    vec![Route::everything(PoolId(0))]
}

/// The route and the place of its pattern; `None` when a part of it could not be read.
fn read_route(reader: &mut TableReader<'_>, pools: &[Pool]) -> Option<(Route, Span)> {
    let host = reader.value("host");
    let path = reader.value("path");
    let span = path.as_ref().or(host.as_ref()).map_or_else(|| reader.span(), Value::span);
    let host = host.map(|value| read_pattern(&value, parse_host));
    let path = path.map(|value| read_pattern(&value, parse_path));
    let pool = reader
        .required("pool", "write pool = \"NAME\" for one of the [pools.NAME]")
        .and_then(|value| read_pool_name(&value, pools));
    let words = [("strip", Word::Means(SessionCookie::Strip)), ("forward", Word::Means(SessionCookie::Forward))];
    let session_cookie = reader.word("session_cookie", &words, SessionCookie::default());
    reader.unsupported("identify", Some("sessions are identified by their cookie on every route"));
    reader.unsupported("require", Some("check roles in the application, which gets them with the session"));
    reader.unsupported("limit", None);
    reader.unsupported("idempotency", None);
    reader.unsupported("session", Some("every route follows [sessions]"));
    let host = match host {
        None => None,
        Some(pattern) => Some(pattern?),
    };
    let path = match path {
        None => PathPattern::default(),
        Some(pattern) => pattern?,
    };
    let route = Route {
        host,
        path,
        // A route to an unknown pool still takes part in the search for duplicates.
        pool: pool.unwrap_or(PoolId(0)),
        session_cookie,
    };
    Some((route, span))
}

fn read_pool_name(value: &Value<'_>, pools: &[Pool]) -> Option<PoolId> {
    let name = value.string()?;
    if let Some(index) = pools.iter().position(|pool| pool.name == name) {
        return Some(PoolId(index));
    }
    if pools.is_empty() {
        // Said once already, of the pools themselves.
        return None;
    }
    let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
    let help = nearest(name, &names)
        .map_or_else(|| format!("the pools are {}", listed(&names, '"')), |near| format!("did you mean \"{near}\"?"));
    let kind = ErrorKind::UnknownPool { name: name.to_owned() };
    value.report.push(kind, value.span(), Some(help));
    None
}

/// Why a pattern is refused, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
struct PatternError {
    reason: String,
    help: Option<String>,
}

impl PatternError {
    fn new<T>(reason: impl Into<String>, help: Option<String>) -> Result<T, Self> {
        let reason = reason.into();
        Err(Self { reason, help })
    }
}

fn read_pattern<T>(value: &Value<'_>, parse: fn(&str) -> Result<T, PatternError>) -> Option<T> {
    match parse(value.string()?) {
        Ok(pattern) => Some(pattern),
        Err(PatternError { reason, help }) => {
            value.refuse(reason, help);
            None
        }
    }
}

fn parse_host(text: &str) -> Result<HostPattern, PatternError> {
    /// RFC 1035 section 2.3.4.
    const HOST_LENGTH_MAX: usize = 253;
    let lower = text.to_ascii_lowercase();
    let host = lower.strip_suffix('.').unwrap_or(&lower);
    if host == "*" {
        return PatternError::new("\"*\" is not a host", Some("leave `host` out for every host".to_owned()));
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(address) => Ok(HostPattern::Exact(format!("[{address}]"))),
            Err(_) => PatternError::new(format!("{text:?} is not an IPv6 address"), None),
        };
    }
    if host.contains(':') {
        return PatternError::new(
            format!("{text:?} is not a host name"),
            Some("a host is matched without scheme and port".to_owned()),
        );
    }
    let (name, wildcard) = match host.strip_prefix("*.") {
        Some(parent) => (parent, true),
        None => (host, false),
    };
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() > HOST_LENGTH_MAX || !name.split('.').all(label_fits) {
        let help = if name.is_ascii() {
            "write \"shop.example.com\", or \"*.example.com\" for every host below it"
        } else {
            "write international names as browsers send them, like \"xn--bcher-kva.example\""
        };
        return PatternError::new(format!("{text:?} is not a host name"), Some(help.to_owned()));
    }
    let name = name.to_owned();
    Ok(if wildcard { HostPattern::Wildcard(name) } else { HostPattern::Exact(name) })
}

fn parse_path(text: &str) -> Result<PathPattern, PatternError> {
    if !text.starts_with('/') {
        return PatternError::new(
            format!("{text:?} does not start with /"),
            Some("write \"/x\" for one path, or \"/x/*\" for every path below it".to_owned()),
        );
    }
    let unfit = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#');
    if text.bytes().any(unfit) {
        return PatternError::new(
            format!("{text:?} is not a path"),
            Some("a path has no query, and other characters are percent-encoded".to_owned()),
        );
    }
    if text.split('/').any(|segment| matches!(segment, "." | "..")) {
        return PatternError::new(format!("{text:?} has a segment that no request keeps"), None);
    }
    match text.split_once('*') {
        None => Ok(PathPattern::Exact(text.to_owned())),
        Some((prefix, "")) if prefix.ends_with('/') => Ok(PathPattern::Prefix(prefix.to_owned())),
        Some((prefix, _)) => PatternError::new(
            format!("{text:?} has a * in another place than a last segment of its own"),
            Some(format!("write \"{}/*\"", prefix.trim_end_matches('/'))),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pattern that is read as another would send users to the wrong application.
    #[test]
    fn paths() {
        let exact = |path: &str| Ok(PathPattern::Exact(path.to_owned()));
        let prefix = |path: &str| Ok(PathPattern::Prefix(path.to_owned()));
        for (text, expected) in [
            ("/", exact("/")),
            ("/x", exact("/x")),
            ("/*", prefix("/")),
            ("/api/*", prefix("/api/")),
            ("api", Err("does not start")),
            ("/api*", Err("another place")),
            ("/a/*/b", Err("another place")),
            ("/a b", Err("not a path")),
            ("/a?b=1", Err("not a path")),
            ("/a/../b", Err("no request keeps")),
            ("/ä", Err("not a path")),
        ] {
            check(parse_path(text), expected, text);
        }
    }

    /// Hosts compare as they arrive: in lower case and without the root dot.
    #[test]
    fn hosts() {
        let exact = |host: &str| Ok(HostPattern::Exact(host.to_owned()));
        for (text, expected) in [
            ("Shop.Example.COM", exact("shop.example.com")),
            ("shop.example.com.", exact("shop.example.com")),
            ("10.0.0.1", exact("10.0.0.1")),
            ("[0:0::1]", exact("[::1]")),
            ("*.example.com", Ok(HostPattern::Wildcard("example.com".to_owned()))),
            ("*", Err("not a host")),
            ("shop.*.com", Err("not a host name")),
            ("shop.example.com:8080", Err("not a host name")),
            ("https://shop", Err("not a host name")),
            ("bücher.example", Err("not a host name")),
            ("a..b", Err("not a host name")),
            ("", Err("not a host name")),
        ] {
            check(parse_host(text), expected, text);
        }
    }

    fn check<T: fmt::Debug + PartialEq>(parsed: Result<T, PatternError>, expected: Result<T, &str>, text: &str) {
        match (&parsed, &expected) {
            (Ok(pattern), Ok(wanted)) => assert_eq!(pattern, wanted, "{text}"),
            (Err(error), Err(part)) => assert!(error.reason.contains(part), "{text}: {error:?}"),
            _ => panic!("{text}: {parsed:?}, not {expected:?}"),
        }
    }
}
