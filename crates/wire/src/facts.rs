//! What a head says about the bytes after it, and the rules about which fields may stand together. Both
//! scanners write here, so that neither can have rules of its own.

use crate::violation::Violation;

/// The longest body, and the longest chunk, that is counted: what a signed 64-bit counter holds, because the
/// next reader may have one.
pub const BODY_BYTES_MAX: u64 = i64::MAX as u64;

/// The two versions that are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

/// How the body is framed (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Unstated,
    Length(u64),
    Chunked,
}

/// What follows a head that broke no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Head,
    FixedBody(u64),
    ChunkedBody,
    AwaitUpgrade,
}

/// The fields whose values the guard reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watched {
    ContentLength,
    TransferEncoding,
    Host,
    Connection,
    Upgrade,
}

impl Watched {
    /// Recognises a field by its name, in any case.
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        let (watched, lower): (Self, &[u8]) = match name.len() {
            4 => (Self::Host, b"host"),
            7 => (Self::Upgrade, b"upgrade"),
            10 => (Self::Connection, b"connection"),
            14 => (Self::ContentLength, b"content-length"),
            17 => (Self::TransferEncoding, b"transfer-encoding"),
            _ => return None,
        };
        // Most names of these lengths are others, and differ in the first letter.
        ((name[0] | 0x20) == lower[0] && name.eq_ignore_ascii_case(lower)).then_some(watched)
    }
}

/// What the head has said so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadFacts {
    pub(crate) version: Version,
    pub(crate) method_is_connect: bool,
    pub(crate) framing: Framing,
    /// `upgrade` is among the options of `Connection`.
    pub(crate) upgrade_listed: bool,
    upgrade_named: bool,
    host_named: bool,
}

impl HeadFacts {
    pub(crate) const fn new() -> Self {
        Self {
            version: Version::Http11,
            method_is_connect: false,
            framing: Framing::Unstated,
            upgrade_listed: false,
            upgrade_named: false,
            host_named: false,
        }
    }

    /// Notes that a field begins, and refuses it where it may not stand.
    #[inline]
    pub(crate) fn begin(&mut self, watched: Watched) -> Result<(), Violation> {
        match watched {
            Watched::ContentLength => {
                match self.framing {
                    Framing::Unstated => {}
                    Framing::Length(_) => return Err(Violation::RepeatedContentLength),
                    Framing::Chunked => return Err(Violation::ContentLengthWithTransferEncoding),
                }
                self.framing = Framing::Length(0);
            }
            Watched::TransferEncoding => {
                if self.version == Version::Http10 {
                    return Err(Violation::TransferEncodingInHttp10);
                }
                match self.framing {
                    Framing::Unstated => {}
                    Framing::Length(_) => return Err(Violation::ContentLengthWithTransferEncoding),
                    Framing::Chunked => return Err(Violation::RepeatedTransferEncoding),
                }
                self.framing = Framing::Chunked;
            }
            Watched::Host => {
                if self.host_named {
                    return Err(Violation::RepeatedHost);
                }
                self.host_named = true;
            }
            Watched::Upgrade => self.upgrade_named = true,
            Watched::Connection => {}
        }
        Ok(())
    }

    /// Judges the finished head as a whole, and says what follows it.
    #[inline]
    pub(crate) fn conclude(&self) -> Result<Next, Violation> {
        if self.version == Version::Http11 && !self.host_named {
            return Err(Violation::MissingHost);
        }
        let next = match self.framing {
            Framing::Unstated | Framing::Length(0) => Next::Head,
            Framing::Length(bytes) => Next::FixedBody(bytes),
            Framing::Chunked => Next::ChunkedBody,
        };
        match (self.asks_for_upgrade(), next) {
            (false, next) => Ok(next),
            (true, Next::Head) => Ok(Next::AwaitUpgrade),
            (true, _) => Err(Violation::UpgradeWithBody),
        }
    }

    /// RFC 9110 §7.8: `Upgrade` counts when `Connection` lists it, and never in HTTP/1.0. RFC 9110 §9.3.6:
    /// `CONNECT` turns the connection into a tunnel.
    fn asks_for_upgrade(&self) -> bool {
        let by_field = self.upgrade_named && self.upgrade_listed && self.version == Version::Http11;
        by_field || self.method_is_connect
    }
}
