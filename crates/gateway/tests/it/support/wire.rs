//! One side of a connection as bytes: exact, with deadlines, and with a record of all that came.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::PATIENCE;

/// Bytes asked of the socket at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// How a stream of bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Closed,
    /// By a reset.
    Reset,
    /// It did not end within the deadline.
    TimedOut,
}

/// A message cut short: what came of it, and how the stream ended.
#[derive(Clone, Debug)]
pub(crate) struct CutShort {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
}

impl CutShort {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

type Tap = Box<dyn FnMut(&[u8]) + Send>;

/// A socket with what was read of it and not yet asked for.
pub(crate) struct Wire {
    socket: TcpStream,
    buffer: Vec<u8>,
    tap: Option<Tap>,
}

/// A request or an answer.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Request line and fields, with the empty line.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// The trailer section as it came, without the empty line.
    pub(crate) trailers: String,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream, tap: Option<Tap>) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, buffer: Vec::new(), tap }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes).unwrap();
    }

    pub(crate) fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref())
    }

    /// How long a read may wait from now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.socket.set_read_timeout(Some(patience)).unwrap();
    }

    /// Ends the sending side.
    pub(crate) fn finish_writing(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads once. `None` while there may be more.
    fn fill(&mut self) -> Option<End> {
        let mut chunk = [0; CHUNK_BYTES];
        match self.socket.read(&mut chunk) {
            Ok(0) => Some(End::Closed),
            Ok(count) => {
                if let Some(tap) = &mut self.tap {
                    tap(&chunk[..count]);
                }
                self.buffer.extend_from_slice(&chunk[..count]);
                None
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Some(End::TimedOut)
            }
            Err(_) => Some(End::Reset),
        }
    }

    fn cut(&mut self, end: End) -> CutShort {
        CutShort { bytes: std::mem::take(&mut self.buffer), end }
    }

    /// Everything up to and with `pattern`.
    pub(crate) fn until(&mut self, pattern: &str) -> Result<Vec<u8>, CutShort> {
        loop {
            let found = self.buffer.windows(pattern.len()).position(|window| window == pattern.as_bytes());
            if let Some(place) = found {
                return Ok(self.buffer.drain(..place + pattern.len()).collect());
            }
            if let Some(end) = self.fill() {
                return Err(self.cut(end));
            }
        }
    }

    /// The next `count` bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Result<Vec<u8>, CutShort> {
        while self.buffer.len() < count {
            if let Some(end) = self.fill() {
                return Err(self.cut(end));
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Everything that still comes, and how it ends.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Some(end) = self.fill() {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    /// The body of a message with this head; `is_answer` where it may last until the connection closes.
    pub(crate) fn body(&mut self, head: Vec<u8>, is_answer: bool) -> Result<Message, CutShort> {
        let mut message = Message { head, body: Vec::new(), trailers: String::new() };
        if message.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            loop {
                let size = self.until("\r\n").map_err(|cut| cut.after(&message.body))?;
                let size = String::from_utf8(size).unwrap();
                let size = usize::from_str_radix(size.trim_end().split(';').next().unwrap(), 16).unwrap();
                if size == 0 {
                    break;
                }
                let mut data = self.exactly(size + 2).map_err(|cut| cut.after(&message.body))?;
                data.truncate(size);
                message.body.append(&mut data);
            }
            loop {
                let line = String::from_utf8(self.until("\r\n").map_err(|cut| cut.after(&message.body))?).unwrap();
                if line == "\r\n" {
                    return Ok(message);
                }
                message.trailers.push_str(&line);
            }
        }
        message.body = match message.header("content-length") {
            Some(length) => self.exactly(length.parse().unwrap())?,
            None if is_answer => match self.rest() {
                (body, End::Closed) => body,
                (bytes, end) => return Err(CutShort { bytes, end }),
            },
            None => Vec::new(),
        };
        Ok(message)
    }
}

impl CutShort {
    fn after(mut self, earlier: &[u8]) -> Self {
        self.bytes.splice(..0, earlier.iter().copied());
        self
    }
}

impl Message {
    /// The head as text.
    pub(crate) fn head(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Every value of a field, in order.
    pub(crate) fn headers(&self, name: &str) -> Vec<String> {
        let head = self.head();
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).collect()
    }

    /// The only value of a field; none where it does not stand, and none where it stands twice.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        match self.headers(name).as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        self.head().split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// The method and the target of a request.
    pub(crate) fn request(&self) -> String {
        self.head()
            .lines()
            .next()
            .and_then(|line| line.strip_suffix(" HTTP/1.1").map(str::to_owned))
            .unwrap_or_default()
    }
}
