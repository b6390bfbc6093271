//! Headers that end at each hop (RFC 9110 §7.6.1).

use http::header::{self, HeaderMap, HeaderName};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
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

/// Which fields with a meaning for the engine a message has. Most have one or two of them, and one look through the few
/// names there are costs less than hashing each of those that might be.
#[derive(Default)]
pub(super) struct Present {
    connection: bool,
    keep_alive: bool,
    proxy_connection: bool,
    transfer_encoding: bool,
    pub(super) upgrade: bool,
    pub(super) te: bool,
    pub(super) expect: bool,
    pub(super) idempotency_key: bool,
}

impl Present {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            let flag = match () {
                () if *name == header::CONNECTION => &mut present.connection,
                () if *name == header::TRANSFER_ENCODING => &mut present.transfer_encoding,
                () if *name == header::UPGRADE => &mut present.upgrade,
                () if *name == header::TE => &mut present.te,
                () if *name == header::EXPECT => &mut present.expect,
                () if *name == KEEP_ALIVE => &mut present.keep_alive,
                () if *name == PROXY_CONNECTION => &mut present.proxy_connection,
                () if *name == IDEMPOTENCY_KEY => &mut present.idempotency_key,
                () => continue,
            };
            *flag = true;
        }
        present
    }

    /// Removes the fields of this hop. Message framing is the engine's to write anew.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        if self.connection {
            strip_named(headers);
        }
        for (is_there, name) in [
            (self.connection, &header::CONNECTION),
            (self.keep_alive, &KEEP_ALIVE),
            (self.proxy_connection, &PROXY_CONNECTION),
            (self.transfer_encoding, &header::TRANSFER_ENCODING),
            (self.upgrade, &header::UPGRADE),
        ] {
            if is_there {
                headers.remove(name);
            }
        }
    }
}

/// Removes the fields that `Connection` names.
fn strip_named(headers: &mut HeaderMap) {
    let is_plain = |value: &http::HeaderValue| {
        value.as_bytes().eq_ignore_ascii_case(b"keep-alive") || value.as_bytes().eq_ignore_ascii_case(b"close")
    };
    if headers.get_all(header::CONNECTION).iter().all(is_plain) {
        return;
    }
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
        Present::of(&headers).strip(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "cookie", "host", "x-other"]);
    }
}
