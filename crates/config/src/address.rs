//! Socket addresses as the file writes them.
//!
//! Names are not resolved: a name that resolved at start and moved later would send users to whoever holds the old
//! address, and nothing would say so.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::table::Value;

/// Why an address is refused, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AddressError {
    pub(crate) reason: String,
    pub(crate) help: &'static str,
}

/// What an address is for, which decides the short forms it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressUse {
    /// To listen on: `:8080` is every IPv4 address, and port 0 lets the system choose.
    Listen,
    /// To connect to: both parts are needed.
    Connect,
}

/// Reads an address, reporting why it is none.
pub(crate) fn read_address(value: &Value<'_>, usage: AddressUse) -> Option<SocketAddr> {
    let text = value.string()?;
    if text.starts_with("tls://") {
        value.refuse_for_now("tls://", Some("terminate TLS in front of the gateway".to_owned()));
        return None;
    }
    match parse_address(text, usage) {
        Ok(address) => Some(address),
        Err(AddressError { reason, help }) => {
            value.refuse(reason, Some(help.to_owned()));
            None
        }
    }
}

fn parse_address(text: &str, usage: AddressUse) -> Result<SocketAddr, AddressError> {
    const EXAMPLE: &str = "write an IP address and a port, like \"10.0.0.1:4001\" or \"[::1]:4001\"";
    let error = |reason: String, help| Err(AddressError { reason, help });
    if let Ok(address) = text.parse::<SocketAddr>() {
        if usage == AddressUse::Connect && address.port() == 0 {
            return error(format!("{text:?} has port 0, which nobody listens on"), EXAMPLE);
        }
        if usage == AddressUse::Connect && address.ip().is_unspecified() {
            return error(format!("{text:?} is not the address of an instance"), EXAMPLE);
        }
        return Ok(address);
    }
    if text.contains("://") {
        return error("an address has no scheme".to_owned(), EXAMPLE);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return error(format!("{text:?} has no port"), EXAMPLE);
    };
    if text.parse::<IpAddr>().is_ok() {
        return error(format!("{text:?} has no port, or no brackets around its IPv6 address"), EXAMPLE);
    }
    let lowest_port = u16::from(usage == AddressUse::Connect);
    // `parse` alone would accept "+80".
    let digits_only = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port.parse::<u16>() {
        Ok(port) if digits_only && port >= lowest_port => port,
        _ => {
            return error(format!("{text:?} has no port of {lowest_port} to 65535"), EXAMPLE);
        }
    };
    match (host, usage) {
        ("localhost", _) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        ("", AddressUse::Listen) => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        ("", AddressUse::Connect) => error(format!("{text:?} has no IP address"), EXAMPLE),
        _ if looks_like_a_name(host) => {
            error(format!("host names are not resolved in this version, and {host:?} is one"), "give an IP address")
        }
        _ => error(format!("{host:?} is not an IP address"), EXAMPLE),
    }
}

fn looks_like_a_name(host: &str) -> bool {
    host.bytes().any(|byte| byte.is_ascii_alphabetic())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, usage: AddressUse, expected: Result<&str, &str>) {
        let parsed = parse_address(text, usage);
        match expected {
            Ok(address) => assert_eq!(parsed, Ok(address.parse().unwrap()), "{text}"),
            Err(part) => assert!(parsed.as_ref().unwrap_err().reason.contains(part), "{text}: {parsed:?}"),
        }
    }

    /// A host name taken for an address would otherwise fail only at the first request.
    #[test]
    fn addresses_are_understood_or_refused_with_the_reason() {
        use AddressUse::{Connect, Listen};
        check("10.0.0.1:4001", Connect, Ok("10.0.0.1:4001"));
        check("[::1]:4001", Connect, Ok("[::1]:4001"));
        check("localhost:4001", Connect, Ok("127.0.0.1:4001"));
        check(":8080", Listen, Ok("0.0.0.0:8080"));
        check("127.0.0.1:0", Listen, Ok("127.0.0.1:0"));
        check(":4001", Connect, Err("no IP address"));
        check("127.0.0.1:0", Connect, Err("port 0"));
        check("0.0.0.0:4001", Connect, Err("not the address of an instance"));
        check("10.0.0.1", Connect, Err("no port"));
        check("::1", Connect, Err("no brackets"));
        check("10.0.0.1:99999", Connect, Err("1 to 65535"));
        check("10.0.0.1:+80", Connect, Err("1 to 65535"));
        check("10.0.0.999:80", Connect, Err("not an IP address"));
        check("shop.internal:80", Connect, Err("not resolved"));
        check("http://10.0.0.1:80", Connect, Err("no scheme"));
        check("", Listen, Err("no port"));
    }
}
