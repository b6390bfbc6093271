//! Clients: one that sends exact bytes, and one that keeps cookies.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};

use super::wire::{End, Message, Wire};

/// Sends exact bytes and reads answers.
pub(crate) struct RawClient {
    pub(crate) wire: Wire,
}

impl RawClient {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self { wire: Wire::new(TcpStream::connect(address).unwrap(), None) }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire.write(bytes);
        self
    }

    /// The next head, interim ones included.
    pub(crate) fn head(&mut self) -> Message {
        let head = self.wire.until("\r\n\r\n");
        let head = head.unwrap_or_else(|cut| panic!("no answer, but {:?} after {:?}", cut.end, cut.text()));
        Message { head, body: Vec::new(), trailers: String::new() }
    }

    /// The next whole answer.
    pub(crate) fn answer(&mut self) -> Message {
        let head = self.head();
        if matches!(head.status(), 204 | 304) || head.status() < 200 {
            return head;
        }
        let body = self.wire.body(head.head, true);
        body.unwrap_or_else(|cut| panic!("the body ended by {:?} after {} bytes", cut.end, cut.bytes.len()))
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Message {
        self.send(bytes).answer()
    }

    /// `GET` of a path on a connection that stays open.
    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n"))
    }

    /// Nothing more comes, and the connection is closed in order.
    pub(crate) fn expect_closed(&mut self) {
        let (rest, end) = self.wire.rest();
        assert_eq!((String::from_utf8_lossy(&rest).as_ref(), end), ("", End::Closed));
    }
}

/// Keeps cookies as browsers do, and sends each request on a connection of its own.
#[derive(Clone)]
pub(crate) struct Browser {
    address: SocketAddr,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, cookies: BTreeMap::new() }
    }

    /// `GET` of a path with more request header lines.
    pub(crate) fn get_with(&mut self, path: &str, lines: &[&str]) -> Message {
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n");
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request.push_str(&format!("Cookie: {}\r\n", pairs.join("; ")));
        }
        for line in lines {
            request.push_str(&format!("{line}\r\n"));
        }
        request.push_str("\r\n");
        let answer = RawClient::connect(self.address).ask(request);
        for cookie in answer.headers("set-cookie") {
            self.keep(&cookie);
        }
        answer
    }

    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.get_with(path, &[])
    }

    /// Has the echoing origin answer with these header lines.
    pub(crate) fn have_said(&mut self, lines: &[&str]) -> Message {
        let lines: Vec<_> = lines.iter().map(|line| format!("x-say: {line}")).collect();
        self.get_with("/say", &lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(crate) fn ticket(&self) -> Option<&str> {
        self.cookies.get("cloakroom").map(String::as_str)
    }

    fn keep(&mut self, cookie: &str) {
        let pair = cookie.split(';').next().unwrap_or_default();
        let Some((name, value)) = pair.split_once('=') else { return };
        if cookie.split(';').any(|attribute| attribute.trim() == "Max-Age=0") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}
