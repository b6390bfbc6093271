//! The one record of a request: everything that metrics and the access log tell of it.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use cloakroom_session::Timestamp;
use http::{HeaderValue, Method, Uri};

use crate::completion::Place;

/// A request, from its arrival to its last byte. Holds no cookie, no header but the host, and no body.
#[derive(Clone, Debug)]
pub(crate) struct RequestRecord {
    pub(crate) started: Instant,
    pub(crate) started_at: Timestamp,
    pub(crate) client: IpAddr,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) host: Option<HeaderValue>,
    pub(crate) request_id: RequestId,
    pub(crate) route: Option<usize>,
    /// The instance it was sent to last.
    pub(crate) place: Option<Place>,
    /// 0 while there is no answer: the client left before.
    pub(crate) status: u16,
    /// Why the gateway answered in the instance's place.
    pub(crate) refused_as: Option<&'static str>,
    pub(crate) session: SessionEvent,
    pub(crate) tries: u32,
    pub(crate) body_bytes: u64,
    /// From arrival to the head of the answer.
    pub(crate) upstream: Option<Duration>,
    /// Whether the answer's body broke off.
    pub(crate) is_truncated: bool,
}

/// What names a request in logs and answers.
#[derive(Clone, Debug)]
pub(crate) enum RequestId {
    /// Drawn here.
    Own(u128),
    /// Brought by a trusted hop.
    Given(HeaderValue),
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(number) => write!(formatter, "{number:032x}"),
            Self::Given(value) => formatter.write_str(value.to_str().unwrap_or("unreadable")),
        }
    }
}

/// What a request meant to its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SessionEvent {
    /// No ticket was shown, and no session began.
    #[default]
    None,
    /// A ticket that is no ticket.
    Malformed,
    /// A ticket whose session is not there.
    Missing,
    /// A ticket whose session had run out.
    Expired,
    /// A ticket whose session was ended with all of its principal's.
    Revoked,
    /// A session was there and stayed as it is.
    Found,
    /// A session began.
    Created,
    /// Fields changed.
    Committed,
    /// Somebody signed in: the session has a new ticket.
    LoggedIn,
    /// The session was ended.
    Ended,
    /// A change came too late: the session had ended meanwhile.
    Gone,
    /// The instance's session headers can't be used.
    Unusable,
    /// The change would have made the session too large.
    TooLarge,
    /// A change of a 5xx answer that was discarded.
    Discarded,
    /// The store could not answer.
    Unavailable,
}

impl SessionEvent {
    /// Every event, in the order of its counter.
    pub(crate) const ALL: [Self; 15] = [
        Self::None,
        Self::Malformed,
        Self::Missing,
        Self::Expired,
        Self::Revoked,
        Self::Found,
        Self::Created,
        Self::Committed,
        Self::LoggedIn,
        Self::Ended,
        Self::Gone,
        Self::Unusable,
        Self::TooLarge,
        Self::Discarded,
        Self::Unavailable,
    ];

    /// The label in metrics and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Malformed => "malformed",
            Self::Missing => "missing",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Found => "found",
            Self::Created => "created",
            Self::Committed => "committed",
            Self::LoggedIn => "logged-in",
            Self::Ended => "ended",
            Self::Gone => "gone",
            Self::Unusable => "unusable",
            Self::TooLarge => "too-large",
            Self::Discarded => "discarded",
            Self::Unavailable => "unavailable",
        }
    }
}
