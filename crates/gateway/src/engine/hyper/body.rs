//! Bodies on their way: a request's towards the instance, kept for a second try while it is small, and an answer's
//! towards the client, with what is to be settled when it ends.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::exchange::remove_with_prefix;
use crate::clock;
use crate::completion::Completion;
use crate::engine::ClientBodyFailure;
use crate::stage::session;

/// A request's body and what was already read of it, shared by the tries of one request.
pub(crate) struct BodyTape {
    source: Incoming,
    recorded: Vec<Bytes>,
    recorded_bytes: usize,
    recorded_bytes_max: usize,
    passed_bytes: u64,
    passed_bytes_max: u64,
    is_recordable: bool,
    is_finished: bool,
    trailers: Option<http::HeaderMap>,
    failure: Option<ClientBodyFailure>,
    /// When the client last sent some of it: the instance's time to answer runs from here.
    last_progress: Instant,
}

impl BodyTape {
    pub(crate) fn new(source: Incoming, recorded_bytes_max: usize, passed_bytes_max: Option<u64>) -> Self {
        Self {
            source,
            recorded: Vec::new(),
            recorded_bytes: 0,
            recorded_bytes_max,
            passed_bytes: 0,
            passed_bytes_max: passed_bytes_max.unwrap_or(u64::MAX),
            is_recordable: true,
            is_finished: false,
            trailers: None,
            failure: None,
            last_progress: clock::last(),
        }
    }

    /// Whether all that was read is still at hand.
    pub(crate) fn is_replayable(&self) -> bool {
        self.is_recordable && self.failure.is_none()
    }

    pub(crate) fn failure(&self) -> Option<ClientBodyFailure> {
        self.failure
    }

    pub(crate) fn last_progress(&self) -> Instant {
        self.last_progress
    }

    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let polled = std::task::ready!(Pin::new(&mut self.source).poll_frame(context));
        self.last_progress = clock::last();
        let mut frame = match polled {
            None => {
                self.is_finished = true;
                return Poll::Ready(None);
            }
            Some(Err(_)) => return Poll::Ready(Some(Err(self.fail(ClientBodyFailure::Broken)))),
            Some(Ok(frame)) => frame,
        };
        match frame.data_ref() {
            Some(data) => {
                self.passed_bytes += data.len() as u64;
                if self.passed_bytes > self.passed_bytes_max {
                    return Poll::Ready(Some(Err(self.fail(ClientBodyFailure::TooLarge))));
                }
                if self.is_recordable && self.recorded_bytes + data.len() <= self.recorded_bytes_max {
                    self.recorded_bytes += data.len();
                    self.recorded.push(data.clone());
                } else {
                    self.is_recordable = false;
                    self.recorded = Vec::new();
                }
            }
            None => {
                strip_trailers(&mut frame);
                self.trailers = frame.trailers_ref().cloned();
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn fail(&mut self, failure: ClientBodyFailure) -> RequestBodyError {
        self.failure = Some(failure);
        RequestBodyError
    }
}

/// Takes our own headers out of trailers: a reader that merges them into the head would believe them.
fn strip_trailers(frame: &mut Frame<Bytes>) {
    if let Some(trailers) = frame.trailers_mut() {
        remove_with_prefix(trailers, session::PREFIX);
    }
}

/// The client's body failed; the tape says how.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the client's body failed")]
pub(crate) struct RequestBodyError;

/// The body of one try.
pub(crate) enum RequestBody {
    Empty,
    Tape {
        tape: Rc<RefCell<BodyTape>>,
        position: usize,
        has_sent_trailers: bool,
        hint: SizeHint,
        /// `Expect: 100-continue`: nothing is read from the client before the instance asks for it.
        hold: Option<Rc<ContinueHold>>,
    },
}

/// Holds a body back until the instance says `100 Continue`, or long enough.
#[derive(Default)]
pub(crate) struct ContinueHold {
    is_released: Cell<bool>,
    waker: RefCell<Option<std::task::Waker>>,
}

impl ContinueHold {
    pub(crate) fn release(&self) {
        self.is_released.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl RequestBody {
    pub(crate) fn replay(tape: &Rc<RefCell<BodyTape>>, hint: SizeHint, hold: Option<Rc<ContinueHold>>) -> Self {
        Self::Tape { tape: Rc::clone(tape), position: 0, has_sent_trailers: false, hint, hold }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let Self::Tape { tape, position, has_sent_trailers, hold, .. } = &mut *self else {
            return Poll::Ready(None);
        };
        if let Some(held) = hold
            && !held.is_released.get()
        {
            *held.waker.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut tape = tape.borrow_mut();
        if let Some(data) = tape.recorded.get(*position) {
            *position += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if tape.is_finished || tape.trailers.is_some() {
            if *has_sent_trailers {
                return Poll::Ready(None);
            }
            *has_sent_trailers = true;
            return Poll::Ready(tape.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        if tape.failure.is_some() {
            return Poll::Ready(Some(Err(RequestBodyError)));
        }
        let polled = std::task::ready!(tape.poll_source(context));
        match &polled {
            Some(Ok(frame)) if frame.is_trailers() => *has_sent_trailers = true,
            Some(Ok(_)) => *position = tape.recorded.len(),
            _ => {}
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Tape { hint, .. } => *hint,
        }
    }
}

/// The body of an answer to a client. When it ends, or is dropped half-way, the request is settled.
pub(crate) enum ResponseBody {
    /// An instance's.
    Forwarded { incoming: Incoming, completion: Box<Completion> },
    /// One of our own.
    Own {
        bytes: Option<Bytes>,
        /// None where somebody else settles the request: the tunnel of an upgraded connection.
        completion: Option<Box<Completion>>,
    },
}

/// An answer that could not be forwarded to its end; the connection is cut so that the client notices.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the instance's answer ended early")]
pub(crate) struct ResponseBodyError;

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        match &mut *self {
            Self::Own { bytes, completion } => {
                let frame = bytes.take().filter(|bytes| !bytes.is_empty()).map(Frame::data);
                if let (Some(data), Some(completion)) = (frame.as_ref().and_then(Frame::data_ref), completion) {
                    completion.count_body(data.len());
                }
                Poll::Ready(frame.map(Ok))
            }
            Self::Forwarded { incoming, completion } => match completion.poll_body(incoming, context) {
                Poll::Pending => match completion.poll_stream_idle(context) {
                    Poll::Ready(()) => {
                        completion.fail_body();
                        Poll::Ready(Some(Err(ResponseBodyError)))
                    }
                    Poll::Pending => Poll::Pending,
                },
                Poll::Ready(None) => {
                    completion.finish_body();
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Ok(mut frame))) => {
                    strip_trailers(&mut frame);
                    completion.count_body(frame.data_ref().map_or(0, Bytes::len));
                    if incoming.is_end_stream() {
                        completion.finish_body();
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
                Poll::Ready(Some(Err(_))) => {
                    completion.fail_body();
                    Poll::Ready(Some(Err(ResponseBodyError)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { bytes, .. } => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Forwarded { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Forwarded { incoming, .. } => incoming.size_hint(),
        }
    }
}
