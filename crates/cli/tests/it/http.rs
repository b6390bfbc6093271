//! A browser of few words: one kept-alive connection, one cookie, JSON bodies.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// One client.
pub(crate) struct Browser {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    pub(crate) ticket: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Browser {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None, ticket: None }
    }

    /// Sends a request and takes the ticket that the answer sets.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: Option<&str>) -> std::io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let socket = TcpStream::connect(self.address)?;
                socket.set_read_timeout(Some(ANSWER_DEADLINE))?;
                socket.set_nodelay(true)?;
                BufReader::new(socket)
            }
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: shop.test\r\nidempotency-key: {path}\r\n");
        if let Some(ticket) = &self.ticket {
            head += &format!("cookie: cloakroom={ticket}\r\n");
        }
        if let Some(body) = body {
            head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        head += "\r\n";
        head += body.unwrap_or_default();
        connection.get_mut().write_all(head.as_bytes())?;
        let answer = read_answer(&mut connection)?;
        for (name, value) in &answer.headers {
            if name == "set-cookie"
                && let Some(rest) = value.strip_prefix("cloakroom=")
            {
                let ticket = rest.split(';').next().unwrap_or_default();
                self.ticket = (!ticket.is_empty()).then(|| ticket.to_owned());
            }
        }
        if answer.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

fn read_answer(connection: &mut BufReader<TcpStream>) -> std::io::Result<Answer> {
    let mut line = String::new();
    let mut next_line = |connection: &mut BufReader<TcpStream>| {
        line.clear();
        match connection.read_line(&mut line)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok::<_, std::io::Error>(line.trim_end().to_owned()),
        }
    };
    let status = next_line(connection)?;
    let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(std::io::ErrorKind::InvalidData)?;
    let mut headers = Vec::new();
    loop {
        let line = next_line(connection)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    connection.read_exact(&mut body)?;
    Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap()
}

/// Asks again and again until `done` says so, within a bound.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(30), "never came: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
