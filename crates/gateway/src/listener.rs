//! Listening sockets: one per worker and address, joined by `SO_REUSEPORT`, so that the kernel spreads connections and
//! no two workers share an accept queue.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::engine;
use crate::worker::Worker;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long a worker that may take no more connections waits before it looks again.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// Binds one socket per worker. Port 0 is resolved by the first and shared by the rest.
///
/// # Errors
/// What the system says. A port that another process listens on is busy even if it shares ports too: two gateways by
/// accident on one port would each get half of the users.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<StdListener>)> {
    if address.port() != 0 {
        drop(open(address, Sharing::Alone)?);
    }
    let first = open(address, Sharing::WithOthers)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(open(address, Sharing::WithOthers)?);
    }
    Ok((address, listeners))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    WithOthers,
}

fn open(address: SocketAddr, sharing: Sharing) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if sharing == Sharing::WithOthers {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections until the worker stops, and then what was already waiting.
pub(crate) async fn accept_all(worker: Rc<Worker>, listener: StdListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut stopping = worker.stopping();
    let limit = worker.shared.config.gateway.limits.connections;
    loop {
        while worker.shared.connections.load(std::sync::atomic::Ordering::Relaxed) >= limit {
            let _ = tokio::time::timeout(FULL_PAUSE, worker.connection_change()).await;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.wait() => break,
        };
        match accepted {
            Ok((socket, peer)) => begin(&worker, socket, peer),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
    }
    // Closing a listener resets what waits in its queue.
    let listener = listener.into_std()?;
    while let Ok((socket, peer)) = listener.accept() {
        socket.set_nonblocking(true)?;
        begin(&worker, TcpStream::from_std(socket)?, peer);
    }
    Ok(())
}

fn begin(worker: &Rc<Worker>, socket: TcpStream, peer: SocketAddr) {
    // Without it the answer's last segment waits for an acknowledgement; a socket that refuses works all the same.
    let _ = socket.set_nodelay(true);
    let open = Open::new(worker);
    tokio::task::spawn_local(async move {
        engine::hyper::serve_connection(Rc::clone(&open.worker), open.number, socket, peer).await;
    });
}

/// A client's connection counts for as long as this lives.
pub(crate) struct Open {
    worker: Rc<Worker>,
    number: usize,
}

impl Open {
    pub(crate) fn new(worker: &Rc<Worker>) -> Self {
        Self { number: worker.connection_opened(), worker: Rc::clone(worker) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.connection_closed(self.number);
    }
}

/// Errors that `accept` passes on from a connection that is gone already.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second gateway that binds the same port without a word would take half of the first one's users.
    #[test]
    fn a_port_in_use_is_refused_even_where_it_is_shared() {
        let (address, listeners) = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert_eq!(listeners.len(), 2);
        assert_eq!(bind(address, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listeners);
        assert!(bind(address, 1).is_ok());
    }
}
