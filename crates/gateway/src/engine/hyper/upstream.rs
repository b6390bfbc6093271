//! Connections to instances.
//!
//! hyper splits a connection into a handle that takes requests and a future that moves bytes. The usual way spawns that
//! future as a task of its own, and every request then crosses between two tasks twice. Here whoever uses the connection
//! drives it: the request while it waits for the head of the answer, the answer's body while it is read. Between
//! requests nobody does; [`Reusable::is_usable`] looks once before the next, and so sees that an instance
//! closed it in the meantime.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::RequestBody;
use crate::clock;
use crate::deadline::LazyDeadline;
use crate::upstream::connections::Reusable;

/// hyper's future of a connection whose type has no public name.
type Driver = dyn Future<Output = hyper::Result<()>>;
/// What became of a request: the answer's head, or the error with the request if none of it was sent.
pub(super) type Answered = Result<http::Response<Incoming>, TrySendError<http::Request<RequestBody>>>;

/// One connection to an instance.
pub(crate) struct UpstreamConnection {
    pub(super) sender: SendRequest<RequestBody>,
    /// `None` once the connection has ended.
    driver: Option<Pin<Box<Driver>>>,
    /// Whether it has carried a request.
    pub(super) is_reused: bool,
    /// Whether a request was written and its answer has not begun.
    is_waiting: bool,
    pub(super) answer_deadline: LazyDeadline,
}

impl UpstreamConnection {
    /// Moves bytes as far as they go now.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && let Poll::Ready(ended) = driver.as_mut().poll(context)
        {
            self.driver = None;
            if let Err(error) = ended {
                tracing::trace!(%error, "an instance's connection ended early");
            }
        }
    }

    /// Drives the connection and asks for the head of the answer. Signals between the handle and the driver go nowhere:
    /// both are polled here, by one task, which would otherwise wake itself for each.
    pub(super) fn poll_answer(
        &mut self,
        mut answer: Pin<&mut impl Future<Output = Answered>>,
        context: &mut Context<'_>,
    ) -> Poll<Answered> {
        let quiet = &mut Context::from_waker(Waker::noop());
        if self.is_waiting {
            self.drive(quiet);
            if let Poll::Ready(answered) = answer.as_mut().poll(quiet) {
                self.is_waiting = false;
                return Poll::Ready(answered);
            }
        }
        // The first time nothing can have come yet: the request is written, and the socket listened to.
        self.is_waiting = true;
        self.drive(context);
        let answered = answer.poll(quiet);
        self.is_waiting = answered.is_pending();
        answered
    }

    /// Drives the connection and asks for the next part of the answer's body.
    pub(crate) fn poll_body(
        &mut self,
        incoming: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, hyper::Error>>> {
        let quiet = &mut Context::from_waker(Waker::noop());
        // Asking tells the driver that somebody wants the body; most often it is there already.
        if let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(quiet) {
            return Poll::Ready(frame);
        }
        self.drive(quiet);
        if let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(quiet) {
            return Poll::Ready(frame);
        }
        self.drive(context);
        Pin::new(incoming).poll_frame(quiet)
    }

    /// What still has to be driven after the answer's head, for an upgraded connection.
    pub(super) fn take_driver(&mut self) -> Option<Pin<Box<Driver>>> {
        self.driver.take()
    }
}

impl Reusable for UpstreamConnection {
    fn is_usable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// Opens a connection.
///
/// # Errors
/// What the system says of the connect; nothing was sent then.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<UpstreamConnection> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    // A request is most often a head alone: one plain send costs the kernel less than a vectored one.
    let (sender, connection) =
        Builder::new().writev(false).handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    Ok(UpstreamConnection {
        sender,
        driver: Some(Box::pin(connection.with_upgrades())),
        is_reused: false,
        is_waiting: false,
        answer_deadline: LazyDeadline::new(clock::last()),
    })
}
