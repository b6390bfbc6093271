//! What a client gets when the gateway answers in an instance's place: the only map from errors to HTTP.
//!
//! The body is one short line and the request's id. It never holds an address, a name of an instance, or the text of
//! an error: those are in the log, under the same id.

use bytes::Bytes;
use cloakroom_wire::Violation;
use http::header::{self, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};

use crate::telemetry::record::RequestRecord;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Seconds that `Retry-After` asks for: recovery is promised within two.
const RETRY_AFTER_SECONDS: &str = "2";

/// Why the gateway answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request broke a rule of the wire.
    Wire(Violation),
    /// The request's head did not come in time.
    HeadTimedOut,
    /// The request's body broke off, or its framing was broken.
    BrokenBody,
    /// The request's body is over the limit.
    BodyTooLarge,
    /// `CONNECT`: this is no forward proxy.
    TunnelRefused,
    /// No route takes this host and path.
    NoRoute,
    /// The pool has no instance that may be used.
    NoInstance,
    /// Every try failed.
    InstancesFailed,
    /// The instance did not answer in time.
    InstanceTimedOut,
    /// The limit of connections is reached everywhere.
    Overloaded,
    /// The store could not be asked, or could not keep a change.
    StoreUnavailable,
    /// The session ended before its change could be kept.
    SessionGone,
    /// The instance's session headers can't be used.
    UnusableSessionAnswer,
    /// The instance's change would make the session too large.
    SessionTooLarge,
    /// The system has no random bytes to give.
    NoRandomness,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Wire(violation) => StatusCode::from_u16(violation.status()).unwrap_or(StatusCode::BAD_REQUEST),
            Self::HeadTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::BrokenBody => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TunnelRefused => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::InstancesFailed | Self::UnusableSessionAnswer | Self::SessionTooLarge => StatusCode::BAD_GATEWAY,
            Self::InstanceTimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::SessionGone => StatusCode::CONFLICT,
            Self::NoInstance | Self::Overloaded | Self::StoreUnavailable | Self::NoRandomness => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The reason in metrics and logs.
    fn code(self) -> &'static str {
        match self {
            Self::Wire(violation) => violation.code(),
            Self::HeadTimedOut => "head-timed-out",
            Self::BrokenBody => "broken-body",
            Self::BodyTooLarge => "body-too-large",
            Self::TunnelRefused => "tunnel-refused",
            Self::NoRoute => "no-route",
            Self::NoInstance => "no-instance",
            Self::InstancesFailed => "instances-failed",
            Self::InstanceTimedOut => "instance-timed-out",
            Self::Overloaded => "overloaded",
            Self::StoreUnavailable => "store-unavailable",
            Self::SessionGone => "session-gone",
            Self::UnusableSessionAnswer => "unusable-session-answer",
            Self::SessionTooLarge => "session-too-large",
            Self::NoRandomness => "no-randomness",
        }
    }

    /// Every reason, for the counters.
    pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
        let own = [
            Self::HeadTimedOut,
            Self::BrokenBody,
            Self::BodyTooLarge,
            Self::TunnelRefused,
            Self::NoRoute,
            Self::NoInstance,
            Self::InstancesFailed,
            Self::InstanceTimedOut,
            Self::Overloaded,
            Self::StoreUnavailable,
            Self::SessionGone,
            Self::UnusableSessionAnswer,
            Self::SessionTooLarge,
            Self::NoRandomness,
        ];
        own.into_iter().map(Self::code).chain(Violation::ALL.iter().map(Violation::code))
    }

    /// What the client reads.
    fn text(self) -> &'static str {
        match self {
            Self::Wire(_) | Self::BrokenBody => "The request could not be read.",
            Self::HeadTimedOut => "The request took too long to arrive.",
            Self::BodyTooLarge => "The request's body is too large.",
            Self::TunnelRefused => "This server makes no tunnels.",
            Self::NoRoute => "There is nothing here.",
            Self::NoInstance | Self::Overloaded => "The service is not available just now.",
            Self::InstancesFailed => "The service did not answer.",
            Self::InstanceTimedOut => "The service did not answer in time.",
            Self::StoreUnavailable | Self::NoRandomness => "Sessions are not available just now.",
            Self::SessionGone => "The session has ended; the change was not kept.",
            Self::UnusableSessionAnswer | Self::SessionTooLarge => "The service's answer could not be used.",
        }
    }
}

/// The answer to a refused request; its status and reason go into the record.
pub(crate) fn refuse(refusal: &Refusal, record: &mut RequestRecord, must_close: bool) -> (Parts, Bytes) {
    let status = refusal.status();
    record.status = status.as_u16();
    record.refused_as = Some(refusal.code());
    let request_id = record.request_id.to_string();
    let text = format!("{} {}\nrequest id: {request_id}\n", status.as_u16(), refusal.text());
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    let headers = &mut parts.headers;
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID.clone(), value);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if must_close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    (parts, Bytes::from(text))
}
