//! What an instance is told about the hops before it: `X-Forwarded-*`, `Forwarded`, `Via` and `X-Request-Id`.

use cloakroom_policy::{Hop, forwarded};
use cloakroom_session::cookie::Scheme;
use http::{HeaderName, HeaderValue, header};

use crate::engine::Exchange;
use crate::telemetry::record::{RequestId, RequestRecord};

pub(crate) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Whatever else a client claims in this family, some application believes it.
const X_FORWARDED: &str = "x-forwarded-";
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What RFC 9110 §7.6.3 asks every gateway to add to a request.
static VIA: HeaderValue = HeaderValue::from_static("1.1 cloakroom");
static HTTP: HeaderValue = HeaderValue::from_static("http");

/// The client's scheme: a trusted hop may have ended TLS.
pub(crate) fn scheme<X: Exchange>(exchange: &X) -> Scheme {
    let is_https = exchange.connection().hop == Hop::Trusted
        && exchange
            .request_header(&X_FORWARDED_PROTO)
            .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"https"));
    if is_https { Scheme::Https } else { Scheme::Http }
}

/// Replaces what an untrusted peer said of hops, and extends what a trusted one said.
pub(crate) fn prepare<X: Exchange>(exchange: &mut X, record: &RequestRecord) {
    match exchange.connection().hop {
        Hop::Client => {
            exchange.remove_request_headers_with_prefix(X_FORWARDED);
            exchange.remove_request_header(&X_REAL_IP);
            let forwarded_for = exchange.connection().forwarded_for.clone();
            exchange.set_request_header(X_FORWARDED_FOR.clone(), forwarded_for);
            exchange.set_request_header(X_FORWARDED_PROTO.clone(), HTTP.clone());
            if let Some(host) = exchange.host_header().filter(|host| !host.is_empty()).cloned() {
                exchange.set_request_header(X_FORWARDED_HOST.clone(), host);
            }
            match client_element(exchange) {
                Some(element) => exchange.set_request_header(header::FORWARDED, element),
                None => exchange.remove_request_header(&header::FORWARDED),
            }
        }
        Hop::Trusted => {
            let peer = exchange.connection().peer.ip();
            extend(exchange, peer);
        }
    }
    let via = match exchange.request_header(&header::VIA) {
        None => VIA.clone(),
        Some(earlier) => {
            let joined = [earlier, b", ", VIA.as_bytes()].concat();
            HeaderValue::from_bytes(&joined).unwrap_or_else(|_| VIA.clone())
        }
    };
    exchange.set_request_header(header::VIA, via);
    match &record.request_id {
        RequestId::Given(value) => exchange.set_request_header(X_REQUEST_ID.clone(), value.clone()),
        RequestId::Own(number) => set_text(exchange, X_REQUEST_ID.clone(), &hexadecimal(*number)),
    }
}

fn extend<X: Exchange>(exchange: &mut X, peer: std::net::IpAddr) {
    let text = forwarded::forwarded_for(exchange.request_headers(&X_FORWARDED_FOR), peer);
    set_text(exchange, X_FORWARDED_FOR.clone(), &text);
    if exchange.request_header(&X_FORWARDED_PROTO).is_none() {
        exchange.set_request_header(X_FORWARDED_PROTO.clone(), HTTP.clone());
    }
    if exchange.request_header(&X_FORWARDED_HOST).is_none() {
        let host = exchange.host().to_owned();
        set_text(exchange, X_FORWARDED_HOST.clone(), host.as_bytes());
    }
    let element = forwarded::forwarded_element(peer, exchange.host(), "http");
    let mut text: Vec<u8> = exchange.request_headers(&header::FORWARDED).collect::<Vec<_>>().join(&b", "[..]);
    if !text.is_empty() {
        text.extend_from_slice(b", ");
    }
    text.extend_from_slice(element.as_bytes());
    set_text(exchange, header::FORWARDED, &text);
}

/// `Forwarded` for a client's request, made once per connection as long as the client names the same host.
fn client_element<X: Exchange>(exchange: &X) -> Option<HeaderValue> {
    let connection = exchange.connection();
    let host = exchange.host_header()?;
    let mut made = connection.forwarded.borrow_mut();
    if let Some((made_for, element)) = &*made
        && made_for == host
    {
        return Some(element.clone());
    }
    let text = forwarded::forwarded_element(connection.peer.ip(), exchange.host(), "http");
    let element = HeaderValue::from_str(&text).ok()?;
    *made = Some((host.clone(), element.clone()));
    Some(element)
}

fn set_text<X: Exchange>(exchange: &mut X, name: HeaderName, text: &[u8]) {
    match HeaderValue::from_bytes(text) {
        Ok(value) => exchange.set_request_header(name, value),
        Err(_) => exchange.remove_request_header(&name),
    }
}

/// A number as 32 lower-case hexadecimal digits, without a heap allocation.
fn hexadecimal(number: u128) -> [u8; 32] {
    let mut text = [0; 32];
    for (place, digit) in text.iter_mut().enumerate() {
        // Four bits always index the sixteen digits.
        *digit = b"0123456789abcdef"[(number >> (124 - 4 * place)) as usize & 0xf];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_hexadecimal() {
        let number = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210;
        assert_eq!(hexadecimal(number), *b"0123456789abcdeffedcba9876543210");
        assert_eq!(String::from_utf8_lossy(&hexadecimal(7)), format!("{}", RequestId::Own(7)));
    }
}
