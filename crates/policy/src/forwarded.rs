//! Who the client is behind trusted hops, and what the next hop is told.
//!
//! `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` (RFC 7239) are believed from trusted peers only; from anyone
//! else they are replaced, or a client could name itself.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Most addresses of an `X-Forwarded-For` that are walked, from its end.
pub const HOPS_MAX: usize = 32;

/// The ranges whose forwarding headers are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedHops {
    ranges: Vec<IpNet>,
}

/// What a peer's place in the chain means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// A client, or somebody who may as well be one: its forwarding headers are dropped.
    Client,
    /// A proxy of ours: its forwarding headers are extended.
    Trusted,
}

impl TrustedHops {
    /// Trusts these ranges. None by default.
    pub fn new(ranges: Vec<IpNet>) -> Self {
        Self { ranges }
    }

    /// What this peer is.
    pub fn hop(&self, peer: IpAddr) -> Hop {
        let peer = peer.to_canonical();
        match self.ranges.iter().any(|range| range.contains(&peer)) {
            true => Hop::Trusted,
            false => Hop::Client,
        }
    }

    /// The client's address: the peer itself, or behind trusted hops the last address of `X-Forwarded-For` that is not
    /// one of ours. `forwarded_for` gives the header's values in order.
    pub fn client<'value>(&self, peer: IpAddr, forwarded_for: impl DoubleEndedIterator<Item = &'value [u8]>) -> IpAddr {
        let mut client = peer.to_canonical();
        let addresses = forwarded_for.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        for text in addresses.take(HOPS_MAX) {
            if self.hop(client) == Hop::Client {
                break;
            }
            match parse_address(text.trim_ascii()) {
                Some(address) => client = address,
                // What a trusted hop did not understand says nothing about what lies before it.
                None => break,
            }
        }
        client
    }
}

/// `X-Forwarded-For` for the next hop: what came from a trusted peer, and the peer.
pub fn forwarded_for<'value>(earlier: impl Iterator<Item = &'value [u8]>, peer: IpAddr) -> Vec<u8> {
    let mut text = Vec::with_capacity(48);
    for value in earlier {
        text.extend_from_slice(value);
        text.extend_from_slice(b", ");
    }
    text.extend_from_slice(peer.to_canonical().to_string().as_bytes());
    text
}

/// One element of `Forwarded` (RFC 7239 §4) for the next hop.
pub fn forwarded_element(peer: IpAddr, host: &str, proto: &str) -> String {
    let mut text = String::with_capacity(48 + host.len());
    // Writing to a String can't fail.
    let _ = match peer.to_canonical() {
        IpAddr::V4(address) => write!(text, "for={address}"),
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\""),
    };
    if !host.is_empty() {
        let _ = match host.bytes().all(is_token) {
            true => write!(text, ";host={host}"),
            false => write!(text, ";host=\"{}\"", host.replace(['"', '\\'], "")),
        };
    }
    let _ = write!(text, ";proto={proto}");
    text
}

/// Token characters (RFC 9110 §5.6.2): what needs no quotes in `Forwarded`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = text.parse().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    let address = address.or_else(|_| text.trim_matches(['[', ']']).parse());
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, headers: &[&str]) -> String {
        let hops = TrustedHops::new(trusted.iter().map(|range| range.parse().unwrap()).collect());
        hops.client(peer.parse().unwrap(), headers.iter().map(|header| header.as_bytes())).to_string()
    }

    /// A client that names another address in X-Forwarded-For would dodge every limit and pin by address.
    #[test]
    fn only_trusted_hops_are_believed() {
        let ours = &["10.0.0.0/8", "fd00::/8"];
        for (trusted, peer, headers, expected) in [
            (&[][..], "1.2.3.4", &["9.9.9.9"][..], "1.2.3.4"),
            (ours, "10.0.0.1", &["9.9.9.9"], "9.9.9.9"),
            (ours, "10.0.0.1", &["6.6.6.6, 9.9.9.9, 10.0.0.2"], "9.9.9.9"),
            (ours, "10.0.0.1", &["6.6.6.6", "9.9.9.9"], "9.9.9.9"),
            (ours, "10.0.0.1", &[], "10.0.0.1"),
            (ours, "10.0.0.1", &["10.0.0.7"], "10.0.0.7"),
            (ours, "10.0.0.1", &["6.6.6.6, garbage"], "10.0.0.1"),
            (ours, "fd00::1", &["[2001:db8::1]:443"], "2001:db8::1"),
            (ours, "::ffff:10.0.0.1", &["9.9.9.9:81"], "9.9.9.9"),
            (ours, "9.9.9.9", &["10.0.0.1"], "9.9.9.9"),
        ] {
            assert_eq!(client(trusted, peer, headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn elements_are_quoted_where_the_grammar_asks() {
        let v4 = "1.2.3.4".parse().unwrap();
        assert_eq!(forwarded_element(v4, "shop.example.com", "http"), "for=1.2.3.4;host=shop.example.com;proto=http");
        assert_eq!(forwarded_element(v4, "a:8080", "https"), "for=1.2.3.4;host=\"a:8080\";proto=https");
        assert_eq!(forwarded_element("::1".parse().unwrap(), "", "http"), "for=\"[::1]\";proto=http");
        assert_eq!(forwarded_for([&b"9.9.9.9"[..]].into_iter(), v4), b"9.9.9.9, 1.2.3.4");
    }

    proptest::proptest! {
        #[test]
        fn headers_are_read_without_panic(value in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let hops = TrustedHops::new(vec!["0.0.0.0/0".parse().unwrap()]);
            hops.client("1.2.3.4".parse().unwrap(), [value.as_slice()].into_iter());
        }
    }
}
