//! Headers that end at each hop (RFC 9110 §7.6.1).

use http::header::{self, HeaderMap, HeaderName};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What `Connection` may not take away: fields that the next hop needs to frame, route or trust the message. Naming one
/// of them is an attempt to make two hops read one message differently.
const PROTECTED: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "cookie",
    "set-cookie",
    "authorization",
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
];

/// Removes the fields of this hop. Message framing is the engine's to write anew.
pub(super) fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
            .filter(|name| !PROTECTED.contains(&name.as_str()) && !name.as_str().starts_with("cloakroom-"))
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::UPGRADE);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Connection: Host` would strip what routing and framing rest on, after the gateway has looked at it.
    #[test]
    fn connection_options_go_and_protected_fields_stay() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "shop"),
            ("connection", "X-Secret, host, Content-Length, cookie"),
            ("connection", "keep-alive"),
            ("x-secret", "1"),
            ("content-length", "3"),
            ("cookie", "a=1"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("x-other", "2"),
        ] {
            headers.append(HeaderName::from_static(name), http::HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "cookie", "host", "x-other"]);
    }
}
