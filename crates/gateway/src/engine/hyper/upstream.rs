//! Connections to instances.

use std::io;
use std::net::SocketAddr;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::RequestBody;
use crate::clock;
use crate::deadline::LazyDeadline;
use crate::upstream::connections::Reusable;

/// One connection to an instance.
pub(crate) struct UpstreamConnection {
    pub(super) sender: SendRequest<RequestBody>,
    /// Whether it has carried a request.
    pub(super) is_reused: bool,
    pub(super) answer_deadline: LazyDeadline,
}

impl Reusable for UpstreamConnection {
    fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Opens a connection.
///
/// # Errors
/// What the system says of the connect; nothing was sent then.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<UpstreamConnection> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = Builder::new().handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "an instance's connection ended early");
        }
    });
    Ok(UpstreamConnection { sender, is_reused: false, answer_deadline: LazyDeadline::new(clock::last()) })
}
