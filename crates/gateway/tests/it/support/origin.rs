//! Instances that follow a script, and remember every byte that reached them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;
use super::wire::{CutShort, Message, Wire};

type Script = dyn Fn(&mut OriginConnection) + Send + Sync;

/// An instance: one thread that accepts, and one per connection.
pub(crate) struct RawOrigin {
    pub(crate) address: SocketAddr,
    record: Arc<Record>,
    is_stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// What arrived, by connection.
#[derive(Default)]
struct Record {
    connections: Mutex<Vec<Vec<u8>>>,
    changed: Condvar,
}

/// One connection of an instance.
pub(crate) struct OriginConnection {
    pub(crate) wire: Wire,
}

impl RawOrigin {
    /// Runs `script` on every connection, which closes when the script returns.
    pub(crate) fn scripted(script: impl Fn(&mut OriginConnection) + Send + Sync + 'static) -> Self {
        Self::listening_on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// The same on a listener of the test's own.
    pub(crate) fn listening_on(
        listener: TcpListener,
        script: impl Fn(&mut OriginConnection) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Record::default());
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (script, thread_record, stopping) = (Arc::new(script), Arc::clone(&record), Arc::clone(&is_stopping));
        let acceptor = std::thread::spawn(move || {
            for number in 0.. {
                let Ok((socket, _)) = listener.accept() else { return };
                if stopping.load(Ordering::Acquire) {
                    return;
                }
                begin(socket, number, &thread_record, Arc::clone(&script) as Arc<Script>);
            }
        });
        Self { address, record, is_stopping, acceptor: Some(acceptor) }
    }

    /// Answers every request of every connection with what `answer` makes of it.
    pub(crate) fn serving(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::scripted(move |connection| {
            while let Ok(request) = connection.try_request() {
                let answer = answer(&request);
                if connection.wire.try_write(answer).is_err() {
                    return;
                }
            }
        })
    }

    /// Answers every request with its own head, and with what it says under `x-say` and `x-status`.
    pub(crate) fn echo() -> Self {
        Self::serving(saying)
    }

    /// Answers with a name, so that a client can tell who served.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::serving(move |_| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()).into_bytes())
    }

    /// All that arrived on all connections, in their order.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.record.connections.lock().unwrap().concat()
    }

    /// The same as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.received()).into_owned()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.record.connections.lock().unwrap().len()
    }

    /// Waits until what arrived is as wanted.
    pub(crate) fn wait_for(&self, is_so: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let guard = self.record.connections.lock().unwrap();
        let (guard, timeout) =
            self.record.changed.wait_timeout_while(guard, PATIENCE, |all| !is_so(&all.concat())).unwrap();
        assert!(!timeout.timed_out(), "what arrived: {:?}", String::from_utf8_lossy(&guard.concat()));
        guard.concat()
    }

    /// Refuses connections from now on; those that stand go on.
    pub(crate) fn stop_listening(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Some(acceptor) = self.acceptor.take() {
            // The acceptor waits for one more connection.
            drop(TcpStream::connect(self.address));
            acceptor.join().unwrap();
        }
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.stop_listening();
    }
}

fn begin(socket: TcpStream, number: usize, record: &Arc<Record>, script: Arc<Script>) {
    record.connections.lock().unwrap().push(Vec::new());
    let record = Arc::clone(record);
    std::thread::spawn(move || {
        let tap = move |bytes: &[u8]| {
            record.connections.lock().unwrap()[number].extend_from_slice(bytes);
            record.changed.notify_all();
        };
        let mut connection = OriginConnection { wire: Wire::new(socket, Some(Box::new(tap))) };
        // Longer than any test: a pooled connection is closed by the gateway, not by impatience.
        connection.wire.set_patience(Duration::from_secs(60));
        script(&mut connection);
    });
}

impl OriginConnection {
    /// The next head.
    pub(crate) fn try_head(&mut self) -> Result<Message, CutShort> {
        let head = self.wire.until("\r\n\r\n")?;
        Ok(Message { head, body: Vec::new(), trailers: String::new() })
    }

    /// The next request, whole.
    pub(crate) fn try_request(&mut self) -> Result<Message, CutShort> {
        let head = self.try_head()?;
        self.wire.body(head.head, false)
    }

    pub(crate) fn head(&mut self) -> Message {
        self.try_head().unwrap()
    }

    pub(crate) fn request(&mut self) -> Message {
        self.try_request().unwrap()
    }

    /// Waits, reading, until the other side closes.
    pub(crate) fn wait_for_close(&mut self) {
        self.wire.rest();
    }

    /// Closes with a reset instead of in order.
    pub(crate) fn reset(&mut self) {
        SockRef::from(self.wire.socket()).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// An answer that is the request's own head, with header lines and a status that the request asks for.
pub(crate) fn saying(request: &Message) -> Vec<u8> {
    let status = request.header("x-status").unwrap_or_else(|| "200".to_owned());
    let mut answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n", request.head.len());
    for line in request.headers("x-say") {
        answer.push_str(&format!("{line}\r\n"));
    }
    [answer.as_bytes(), b"\r\n", &request.head].concat()
}

/// An address where nobody listens.
pub(crate) fn refusing_address() -> SocketAddr {
    // Bound and never listened on, for as long as the process lives: nobody else gets the port.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// An address where connections are neither accepted nor refused: a listener whose queue is full.
pub(crate) fn blackhole() -> (SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = vec![listener];
    for _ in 0..3 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        // It is under way, or waits for ever: both fill the queue.
        let _ = filler.connect(&address);
        held.push(filler);
    }
    (address.as_socket().unwrap(), held)
}
