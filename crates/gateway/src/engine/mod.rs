//! The seam between the HTTP engine and everything that decides.
//!
//! The pipeline sees one request and its answer through [`Exchange`] and knows nothing of the library that parsed
//! them: it asks for single headers, states edits, and says "send this to that instance". An engine that forwards
//! header bytes without building maps can take the present one's place by implementing this trait.

pub(crate) mod hyper;

use std::cell::RefCell;
use std::net::SocketAddr;

use cloakroom_policy::{Replay, Sent};
use cloakroom_wire::Violation;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::upstream::Lease;
use crate::worker::Worker;

/// The connection type of the engine in use.
pub(crate) type Connection = hyper::UpstreamConnection;

/// What stays the same for all requests of a client's connection.
pub(crate) struct ConnectionInfo {
    /// The client's address as the socket tells it.
    pub(crate) peer: SocketAddr,
    /// Whether its forwarding headers are believed.
    pub(crate) hop: cloakroom_policy::Hop,
    /// `X-Forwarded-For` for a request that brings none that is believed.
    pub(crate) forwarded_for: HeaderValue,
    /// `Forwarded` for such a request, with the `Host` it was made for: a client rarely names another.
    pub(crate) forwarded: RefCell<Option<(HeaderValue, HeaderValue)>>,
}

/// One request and its answer.
pub(crate) trait Exchange {
    /// The connection it came on.
    fn connection(&self) -> &ConnectionInfo;
    /// Why the wire guard refused this request, if it did: nothing of it may be forwarded.
    fn violation(&self) -> Option<Violation>;
    /// Whether the request's head did not come in time.
    fn has_timed_out(&self) -> bool;
    /// Whether the body's announced length is over the limit.
    fn is_body_too_large(&self) -> bool;

    fn method(&self) -> &Method;
    /// The path without the query; `*` for `OPTIONS *`.
    fn path(&self) -> &str;
    /// The authority asked for, with its port if it was given.
    fn host(&self) -> &str;
    /// `Host` as it came, to be passed on without copying it.
    fn host_header(&self) -> Option<&HeaderValue>;
    /// The first value of a request header.
    fn request_header(&self, name: &HeaderName) -> Option<&[u8]>;
    /// All values of a request header.
    fn request_headers<'head>(&'head self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'head [u8]>;
    fn set_request_header(&mut self, name: HeaderName, value: HeaderValue);
    fn remove_request_header(&mut self, name: &HeaderName);
    /// Removes every request header whose (lower-case) name begins so.
    fn remove_request_headers_with_prefix(&mut self, prefix: &str);

    /// Whether the request can be sent once more.
    fn replay(&self) -> Replay;
    /// Sends the request on a connection and waits for the head of the answer.
    async fn send(&mut self, worker: &Worker, lease: Lease) -> Result<(), SendFailure>;

    /// The answer's status. Only after a successful [`Exchange::send`].
    fn status(&self) -> StatusCode;
    /// All values of an answer's header.
    fn response_headers<'head>(&'head self, name: &HeaderName) -> impl Iterator<Item = &'head [u8]>;
    fn has_response_header(&self, name: &HeaderName) -> bool;
    fn append_response_header(&mut self, name: HeaderName, value: HeaderValue);
    /// Removes every header of the answer whose (lower-case) name begins so.
    fn remove_response_headers_with_prefix(&mut self, prefix: &str);
}

/// A try that brought no answer.
#[derive(Debug)]
pub(crate) struct SendFailure {
    /// How far the request got.
    pub(crate) sent: Sent,
    /// What happened.
    pub(crate) kind: FailureKind,
}

/// Why a try brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The connection was closed before an answer began. On a reused connection that may be the instance's own
    /// keep-alive timeout and says nothing of its health.
    Closed {
        /// Whether the connection had carried a request before.
        reused: bool,
    },
    /// No answer in time.
    TimedOut,
    /// The answer was no HTTP.
    Malformed,
    /// The client's body ended badly: not the instance's fault.
    ClientBody(ClientBodyFailure),
}

/// How a client's body failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientBodyFailure {
    /// It was cut off, or its framing was broken.
    Broken,
    /// It passed the limit.
    TooLarge,
}
