//! What is to be settled when a request is over, however it ends: the instance's load, the connection's place in the
//! pool, the counters and the log line. Dropping it half-way is one of the ways.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use hyper::body::Incoming;

use crate::clock;
use crate::deadline::LazyDeadline;
use crate::engine::hyper::Gate;
use crate::listener::Open;
use crate::telemetry::record::RequestRecord;
use crate::upstream::Lease;
use crate::worker::Worker;

/// Where a request is being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pool: usize,
    pub(crate) slot: u32,
}

/// One request until its last byte.
pub(crate) struct Completion {
    worker: Rc<Worker>,
    gate: Arc<Gate>,
    pub(crate) record: RequestRecord,
    in_flight: Option<Place>,
    /// The connection the answer comes on, until the answer is over.
    lease: Option<Lease>,
    /// An upgraded connection outlives the engine's part of it, and counts on.
    tunnel: Option<Open>,
    stream_idle: LazyDeadline,
}

impl Completion {
    pub(crate) fn new(worker: Rc<Worker>, gate: Arc<Gate>, record: RequestRecord) -> Self {
        gate.set_busy(true);
        let stream_idle = LazyDeadline::new(record.started);
        Self { worker, gate, record, in_flight: None, lease: None, tunnel: None, stream_idle }
    }

    /// The request goes to this instance now, and to no other.
    pub(crate) fn enter(&mut self, place: Place) {
        self.leave();
        self.worker.instance(place).begin_request();
        self.in_flight = Some(place);
        self.record.place = Some(place);
    }

    fn leave(&mut self) {
        if let Some(place) = self.in_flight.take() {
            self.worker.instance(place).end_request();
        }
    }

    /// The answer's body comes on this connection.
    pub(crate) fn hold_connection(&mut self, lease: Lease) {
        self.lease = Some(lease);
    }

    /// The client's connection goes on as a tunnel until this is dropped.
    pub(crate) fn begin_tunnel(&mut self) {
        self.tunnel = Some(Open::new(&self.worker));
    }

    /// The next part of the answer's body.
    pub(crate) fn poll_body(
        &mut self,
        incoming: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.lease.as_mut().and_then(Lease::connection) {
            Some(connection) => connection.poll_body(incoming, context),
            None => Poll::Ready(None),
        }
    }

    /// Bytes of the answer's body went by.
    pub(crate) fn count_body(&mut self, bytes: usize) {
        self.record.body_bytes += bytes as u64;
        self.stream_idle.clear();
    }

    /// Ready when an answer's body stood still for too long.
    pub(crate) fn poll_stream_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.stream_idle.is_clear() {
            self.stream_idle.set(clock::last(), self.worker.shared.config.gateway.timeouts.stream_idle);
        }
        self.stream_idle.poll_passed(context)
    }

    /// The answer's body is over: its connection can take another request.
    pub(crate) fn finish_body(&mut self) {
        self.leave();
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }

    /// The answer's body broke off.
    pub(crate) fn fail_body(&mut self) {
        self.record.is_truncated = true;
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.leave();
        self.gate.set_busy(false);
        self.worker.settle(&self.record);
    }
}
