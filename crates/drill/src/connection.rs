//! One connection of a client, kept alive, that knows whether it heard anything at all: only then may a request that
//! broke off be sent again by its own client.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The longest answer that is read; the shop's pages are far shorter.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A connection over which one request at a time is sent.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    bytes_heard: Arc<AtomicU64>,
    use_of: Use,
}

/// Whether a connection carried a request before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    First,
    Again,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A request that brought no whole answer.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) heard: Heard,
    pub(crate) use_of: Use,
    pub(crate) reason: String,
}

/// What came back for a request that broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not one byte.
    Nothing,
    /// Something, so that the request was certainly received.
    Something,
}

impl Connection {
    /// Connects. Must be called within a runtime.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let bytes_heard = Arc::new(AtomicU64::new(0));
        let stream = Listening { stream, bytes_heard: Arc::clone(&bytes_heard) };
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Ends by itself once the sender is dropped or the other side closes; its error reaches the request too.
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::trace!(%error, "a connection ended early");
            }
        });
        Ok(Self { sender, bytes_heard, use_of: Use::First })
    }

    /// Whether the other side is not known to have closed it.
    pub(crate) async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// Where the answer did not come whole; the connection is of no use then.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Broken> {
        let use_of = std::mem::replace(&mut self.use_of, Use::Again);
        let heard_before = self.bytes_heard.load(Ordering::Relaxed);
        let answered = match self.sender.send_request(request).await {
            Ok(answer) => {
                let (parts, body) = answer.into_parts();
                let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
                body.map(|body| (parts, body.to_bytes())).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match answered {
            Ok((parts, body)) => Ok(Answer { status: parts.status, headers: parts.headers, body }),
            Err(reason) => {
                let is_silent = self.bytes_heard.load(Ordering::Relaxed) == heard_before;
                let heard = if is_silent { Heard::Nothing } else { Heard::Something };
                Err(Broken { heard, use_of, reason })
            }
        }
    }
}

/// A socket that counts what it hears.
struct Listening {
    stream: TcpStream,
    bytes_heard: Arc<AtomicU64>,
}

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled_before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let heard = buffer.filled().len() - filled_before;
        self.bytes_heard.fetch_add(heard as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Listening {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
