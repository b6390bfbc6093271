//! A client's socket as hyper reads it: every byte passes the wire guard first.
//!
//! hyper accepts some requests that another parser would read differently. The guard in front of it lets a head
//! through only when it is whole and has one reading; an incomplete head waits here. A refused one is replaced by a
//! marker request, so that the refusal is answered in its turn, with a status, a request id and a log line, after the
//! answers that are still owed. The stream also keeps the client's timeouts, since it alone knows what it waits for.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cloakroom_wire::{Delivered, Phase, RequestGuard, Violation};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use crate::clock;
use crate::deadline::LazyDeadline;

/// Bytes read from a socket at once. One buffer per worker, not per connection.
const SCRATCH_BYTES: usize = 64 * 1024;
/// A head and a body together no larger than this are copied into one buffer: one plain send costs the kernel less than
/// a vectored one.
const JOINED_WRITE_BYTES_MAX: usize = 4 * 1024;
/// How long a client that is still sending may go on after its answer: closed at once, the socket would answer with a
/// reset, which can overtake the answer (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
/// What hyper sees in place of a refused request.
const MARKER: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// The client's timeouts.
#[derive(Clone, Copy)]
pub(crate) struct ClientTimeouts {
    pub(crate) idle: Duration,
    pub(crate) header: Duration,
    pub(crate) stream_idle: Duration,
}

/// What the stream and the requests on it tell each other. Behind an `Arc` with atomics because hyper moves the stream
/// of an upgraded connection between tasks that it thinks may be on other threads.
#[derive(Default)]
pub(crate) struct Gate {
    /// The request, counted from 1, that was refused; 0 while none was.
    refused_request: AtomicU64,
    refused_as: AtomicU16,
    is_busy: AtomicBool,
    /// When the last request was over, in monotonic milliseconds; 0 before the first.
    quiet_since_ms: AtomicU64,
    upgrade: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

const UPGRADE_PENDING: u8 = 0;
const UPGRADE_ACCEPTED: u8 = 1;
const UPGRADE_DECLINED: u8 = 2;
/// Stands for "the head did not come in time" beside the indices of [`Violation::ALL`].
const REFUSED_FOR_TIME: u16 = u16::MAX;

/// Why a request never came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It broke a rule of the wire.
    Violation(Violation),
    /// Its head did not come in time.
    HeadTimedOut,
}

impl Gate {
    /// Why this request, counted from 1, was refused, if it was.
    pub(crate) fn refusal(&self, request: u64) -> Option<Refusal> {
        if self.refused_request.load(Ordering::Acquire) != request {
            return None;
        }
        let index = self.refused_as.load(Ordering::Acquire);
        match Violation::ALL.get(usize::from(index)) {
            Some(violation) => Some(Refusal::Violation(*violation)),
            None => Some(Refusal::HeadTimedOut),
        }
    }

    fn refuse(&self, request: u64, as_index: u16) {
        self.refused_as.store(as_index, Ordering::Release);
        self.refused_request.store(request, Ordering::Release);
    }

    /// Whether a request is being served, during which the client owes nothing.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        if !is_busy {
            self.quiet_since_ms.store(clock::monotonic_ms(clock::last()), Ordering::Release);
        }
        self.is_busy.store(is_busy, Ordering::Release);
    }

    /// How long ago the last request was over.
    fn quiet_for(&self) -> Duration {
        match self.quiet_since_ms.load(Ordering::Acquire) {
            0 => Duration::ZERO,
            since_ms => Duration::from_millis(clock::monotonic_ms(clock::last()).saturating_sub(since_ms)),
        }
    }

    /// The request for an upgrade was answered.
    pub(crate) fn answer_upgrade(&self, accepted: bool) {
        self.upgrade.store(if accepted { UPGRADE_ACCEPTED } else { UPGRADE_DECLINED }, Ordering::Release);
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}

/// The guarded socket.
pub(crate) struct GuardedStream {
    socket: TcpStream,
    guard: RequestGuard,
    gate: Arc<Gate>,
    timeouts: ClientTimeouts,
    /// The beginning of a head that is not whole yet.
    held: Vec<u8>,
    /// Examined bytes that did not fit into hyper's buffer.
    outbox: Vec<u8>,
    heads: u64,
    is_ended: bool,
    /// The body's framing broke behind what is in the outbox.
    is_broken: bool,
    is_lingering: bool,
    waiting_for: Phase,
    read_deadline: LazyDeadline,
    write_deadline: LazyDeadline,
}

impl GuardedStream {
    pub(crate) fn new(
        socket: TcpStream,
        limits: cloakroom_wire::Limits,
        timeouts: ClientTimeouts,
        gate: Arc<Gate>,
    ) -> Self {
        let now = clock::last();
        Self {
            socket,
            guard: RequestGuard::new(limits),
            gate,
            timeouts,
            held: Vec::new(),
            outbox: Vec::new(),
            heads: 0,
            is_ended: false,
            is_broken: false,
            is_lingering: false,
            waiting_for: Phase::Passthrough,
            read_deadline: LazyDeadline::new(now),
            write_deadline: LazyDeadline::new(now),
        }
    }

    /// Puts what may be delivered of `bytes` into the cursor, and the rest into the outbox.
    fn examine(&mut self, bytes: &[u8], cursor: &mut ReadBufCursor<'_>) {
        match self.guard.advance(bytes) {
            Ok(progress) => {
                self.heads += u64::from(progress.heads_completed);
                let unfinished = self.guard.unfinished_head_bytes();
                if self.held.is_empty() && unfinished == 0 && bytes.len() <= cursor.remaining() {
                    cursor.put_slice(bytes);
                    return;
                }
                self.held.extend_from_slice(bytes);
                let whole = self.held.len() - unfinished.min(self.held.len());
                self.outbox.extend(self.held.drain(..whole));
            }
            Err(refused) => {
                self.heads += u64::from(refused.progress.heads_completed);
                let index = Violation::ALL.iter().position(|violation| *violation == refused.violation);
                let index = index.unwrap_or_default() as u16;
                match refused.delivered {
                    Delivered::Nothing | Delivered::PartOfHead { .. } => {
                        // Earlier requests in these bytes are whole and are served first.
                        if refused.delivered == Delivered::Nothing {
                            self.outbox.append(&mut self.held);
                            self.outbox.extend_from_slice(&bytes[..refused.offset]);
                        }
                        self.refuse_next(index);
                    }
                    Delivered::UpgradeRequest => {
                        self.outbox.append(&mut self.held);
                        self.outbox.extend_from_slice(&bytes[..refused.offset]);
                        self.gate.refuse(self.heads, index);
                        self.is_ended = true;
                    }
                    Delivered::PartOfBody => {
                        self.outbox.append(&mut self.held);
                        self.outbox.extend_from_slice(&bytes[..refused.offset]);
                        self.is_broken = true;
                    }
                }
            }
        }
    }

    /// Lets a marker follow in place of the request that was refused.
    fn refuse_next(&mut self, as_index: u16) {
        self.held.clear();
        self.gate.refuse(self.heads + 1, as_index);
        self.outbox.extend_from_slice(MARKER);
        self.is_ended = true;
    }

    /// What to do after the socket had nothing to read: keep the time.
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let phase = self.guard.phase();
        if self.gate.is_busy.load(Ordering::Acquire) && matches!(phase, Phase::Head { .. }) {
            self.waiting_for = Phase::Passthrough;
            // Nobody looks here when the answer is over, so that the timer must go on.
            self.read_deadline.set(clock::last(), self.timeouts.idle);
            let _: Poll<()> = self.read_deadline.poll_passed(context);
            return Poll::Pending;
        }
        // A head has one deadline from its first byte, whatever drips in; a body has a new one with every byte.
        if phase != self.waiting_for {
            self.waiting_for = phase;
            match phase {
                Phase::Head { started: false } => {
                    let left = self.timeouts.idle.saturating_sub(self.gate.quiet_for());
                    self.read_deadline.set(clock::last(), left);
                }
                Phase::Head { started: true } => self.read_deadline.set(clock::last(), self.timeouts.header),
                Phase::Body => self.read_deadline.set(clock::last(), self.timeouts.stream_idle),
                _ => self.read_deadline.clear(),
            }
        }
        if self.read_deadline.poll_passed(context).is_pending() {
            return Poll::Pending;
        }
        match phase {
            Phase::Head { started: true } => {
                self.refuse_next(REFUSED_FOR_TIME);
                Poll::Ready(Ok(()))
            }
            Phase::Head { started: false } => {
                self.is_ended = true;
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            _ => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Whether an answered upgrade lets reading go on.
    fn poll_upgrade(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut waker = self.gate.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match self.gate.upgrade.swap(UPGRADE_PENDING, Ordering::AcqRel) {
            UPGRADE_ACCEPTED => self.guard.upgrade_accepted(),
            UPGRADE_DECLINED => self.guard.upgrade_declined(),
            _ => {
                *waker = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Reads to nowhere what a client still sends behind its last answer, for a while.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let polled = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                let polled = Pin::new(&mut self.socket).poll_read(context, &mut buffer);
                polled.map_ok(|()| buffer.filled().len())
            });
            match polled {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return self.read_deadline.poll_passed(context).map(Ok),
            }
        }
    }

    fn poll_write_deadline<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_deadline.clear();
            return result;
        }
        if self.write_deadline.is_clear() {
            self.write_deadline.set(clock::last(), self.timeouts.stream_idle);
        }
        match self.write_deadline.poll_passed(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Read for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.outbox.is_empty() {
                let count = this.outbox.len().min(cursor.remaining());
                cursor.put_slice(&this.outbox[..count]);
                this.outbox.drain(..count);
                return Poll::Ready(Ok(()));
            }
            if this.is_ended {
                // The connection closes with the answer; end-of-stream would make hyper drop the request instead.
                return Poll::Pending;
            }
            if this.is_broken {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the body's framing is broken")));
            }
            if this.guard.phase() == Phase::AwaitingUpgrade {
                std::task::ready!(this.poll_upgrade(context));
            }
            let before = cursor.remaining();
            let polled = SCRATCH.with_borrow_mut(|scratch| {
                let limit = before.min(scratch.len());
                let mut buffer = ReadBuf::new(&mut scratch[..limit]);
                match Pin::new(&mut this.socket).poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Ok(0)),
                    Poll::Ready(Ok(())) => {
                        let count = buffer.filled().len();
                        if this.waiting_for == Phase::Body {
                            this.waiting_for = Phase::Passthrough;
                        }
                        match this.guard.phase() {
                            Phase::Passthrough => cursor.put_slice(buffer.filled()),
                            _ => this.examine(buffer.filled(), &mut cursor),
                        }
                        Poll::Ready(Ok(count))
                    }
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => Poll::Pending,
                }
            });
            match polled {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) if cursor.remaining() < before => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => std::task::ready!(this.poll_timeout(context))?,
            }
        }
    }
}

impl Write for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.poll_write_deadline(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let result = if total <= JOINED_WRITE_BYTES_MAX {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut length = 0;
                for slice in slices {
                    scratch[length..length + slice.len()].copy_from_slice(slice);
                    length += slice.len();
                }
                Pin::new(&mut self.socket).poll_write(context, &scratch[..length])
            })
        } else {
            Pin::new(&mut self.socket).poll_write_vectored(context, slices)
        };
        self.poll_write_deadline(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.is_lingering {
            std::task::ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
            if !this.is_ended && !this.is_broken && this.guard.phase() != Phase::Body {
                return Poll::Ready(Ok(()));
            }
            this.is_lingering = true;
            this.read_deadline.set(clock::last(), LINGER);
        }
        this.poll_linger(context)
    }
}
