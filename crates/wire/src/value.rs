//! Reads the values of the watched fields a byte at a time. Control characters never come here: the field
//! scanner has refused them.

use crate::class::{HOST_NAME, TOKEN, is, is_space};
use crate::facts::{BODY_BYTES_MAX, Framing, HeadFacts, Watched};
use crate::violation::Violation;

/// A value that is being read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ValueScan {
    /// A field nobody here cares about.
    Opaque,
    Length {
        value: u64,
        place: Place,
    },
    Coding {
        matched: u8,
        place: Place,
    },
    Host(HostStep),
    Options {
        matched: Match,
        place: Place,
    },
}

/// Where in a value, or in an element of a list, the scanner stands: optional whitespace comes before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Before,
    Within,
    After,
}

/// Which part of a `Host` value was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostStep {
    Before,
    Name,
    LiteralStart,
    Literal,
    LiteralEnd,
    Port,
    After,
}

/// How much of a word agrees with the one that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    Prefix(u8),
    Other,
}

const CHUNKED: &[u8] = b"chunked";
const UPGRADE: &[u8] = b"upgrade";

impl ValueScan {
    /// The reader for a field's value.
    #[inline]
    pub(crate) const fn of(watched: Option<Watched>) -> Self {
        let place = Place::Before;
        match watched {
            Some(Watched::ContentLength) => Self::Length { value: 0, place },
            Some(Watched::TransferEncoding) => Self::Coding { matched: 0, place },
            Some(Watched::Host) => Self::Host(HostStep::Before),
            Some(Watched::Connection) => Self::Options { matched: Match::Prefix(0), place },
            Some(Watched::Upgrade) | None => Self::Opaque,
        }
    }

    /// Takes the next byte of the value.
    #[inline]
    pub(crate) fn push(&mut self, byte: u8, facts: &mut HeadFacts) -> Result<(), Violation> {
        match self {
            Self::Opaque => Ok(()),
            Self::Length { value, place } => push_length(value, place, byte),
            Self::Coding { matched, place } => push_coding(matched, place, byte),
            Self::Host(step) => {
                *step = step.after(byte).ok_or(Violation::InvalidHost)?;
                Ok(())
            }
            Self::Options { matched, place } => push_option(matched, place, byte, facts),
        }
    }

    /// Ends the value, and notes what it said.
    #[inline]
    pub(crate) fn finish(self, facts: &mut HeadFacts) -> Result<(), Violation> {
        match self {
            Self::Opaque => {}
            Self::Length { place: Place::Before, .. } => return Err(Violation::InvalidContentLength),
            Self::Length { value, .. } => facts.framing = Framing::Length(value),
            Self::Coding { matched, .. } => {
                if usize::from(matched) != CHUNKED.len() {
                    return Err(Violation::UnsupportedTransferEncoding);
                }
            }
            Self::Host(HostStep::Before) => return Err(Violation::EmptyHost),
            Self::Host(HostStep::LiteralStart | HostStep::Literal) => {
                return Err(Violation::InvalidHost);
            }
            Self::Host(_) => {}
            Self::Options { matched, .. } => facts.upgrade_listed |= matched.is_whole(),
        }
        Ok(())
    }
}

fn push_length(value: &mut u64, place: &mut Place, byte: u8) -> Result<(), Violation> {
    if is_space(byte) {
        place.pass_space();
        return Ok(());
    }
    if *place == Place::After || !byte.is_ascii_digit() {
        return Err(Violation::InvalidContentLength);
    }
    *place = Place::Within;
    *value = value
        .checked_mul(10)
        .and_then(|tens| tens.checked_add(u64::from(byte - b'0')))
        .filter(|value| *value <= BODY_BYTES_MAX)
        .ok_or(Violation::ContentLengthOverflow)?;
    Ok(())
}

fn push_coding(matched: &mut u8, place: &mut Place, byte: u8) -> Result<(), Violation> {
    if is_space(byte) {
        place.pass_space();
        return Ok(());
    }
    let expected = CHUNKED.get(usize::from(*matched));
    if *place == Place::After || expected != Some(&byte.to_ascii_lowercase()) {
        return Err(Violation::UnsupportedTransferEncoding);
    }
    *place = Place::Within;
    *matched += 1;
    Ok(())
}

fn push_option(matched: &mut Match, place: &mut Place, byte: u8, facts: &mut HeadFacts) -> Result<(), Violation> {
    if byte == b',' {
        facts.upgrade_listed |= matched.is_whole();
        (*matched, *place) = (Match::Prefix(0), Place::Before);
        return Ok(());
    }
    if is_space(byte) {
        place.pass_space();
        return Ok(());
    }
    if *place == Place::After || !is(byte, TOKEN) {
        return Err(Violation::InvalidConnection);
    }
    *place = Place::Within;
    *matched = matched.after(byte);
    Ok(())
}

impl Place {
    fn pass_space(&mut self) {
        if *self == Self::Within {
            *self = Self::After;
        }
    }
}

impl Match {
    fn after(self, byte: u8) -> Self {
        match self {
            Self::Prefix(count) if UPGRADE.get(usize::from(count)) == Some(&byte.to_ascii_lowercase()) => {
                Self::Prefix(count + 1)
            }
            _ => Self::Other,
        }
    }

    fn is_whole(self) -> bool {
        matches!(self, Self::Prefix(count) if usize::from(count) == UPGRADE.len())
    }
}

impl HostStep {
    /// The part this byte belongs to, or `None` where it may not stand. `a:1:2` and `[::1` are refused for their
    /// shape: one reader takes the first colon, another the last.
    fn after(self, byte: u8) -> Option<Self> {
        use HostStep::{After, Before, Literal, LiteralEnd, LiteralStart, Name, Port};
        match (self, byte) {
            (Before, b' ' | b'\t') => Some(Before),
            (Name | LiteralEnd | Port | After, b' ' | b'\t') => Some(After),
            (Before, b'[') => Some(LiteralStart),
            (LiteralStart | Literal, b':' | b'.') => Some(Literal),
            (LiteralStart | Literal, byte) if byte.is_ascii_hexdigit() => Some(Literal),
            (Literal, b']') => Some(LiteralEnd),
            (Name | LiteralEnd, b':') => Some(Port),
            (Port, byte) if byte.is_ascii_digit() => Some(Port),
            (Before | Name, byte) if is(byte, HOST_NAME) => Some(Name),
            _ => None,
        }
    }
}
