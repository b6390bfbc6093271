//! The exact scanner of a request head (RFC 9112 §2.2, §3, §5): any split, one byte at a time, and the author
//! of every verdict on a head.

use crate::class::{CR, LF, TOKEN, VISIBLE, is, run, unexpected};
use crate::facts::{HeadFacts, Version};
use crate::field::{FieldScan, Flow, Section};
use crate::guard::Limits;
use crate::violation::Violation;

/// A head that is being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadScan {
    /// Bytes of this head taken so far, a tolerated empty line before it included.
    pub(crate) bytes: usize,
    pub(crate) facts: HeadFacts,
    step: Step,
    fields: FieldScan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Start,
    EmptyLineEnd,
    AfterEmptyLine,
    /// `matched` bytes agree with `CONNECT`, or [`NOT_CONNECT`].
    Method {
        matched: u8,
    },
    TargetStart,
    Target,
    Version {
        at: u8,
        major: u8,
    },
    RequestLineEnd,
    Fields,
}

/// The end of a scan: how many bytes were taken, and whether that ends the message part.
pub(crate) struct Taken {
    pub(crate) bytes: usize,
    pub(crate) flow: Flow,
}

const CONNECT: &[u8] = b"CONNECT";
const NOT_CONNECT: u8 = u8::MAX;

impl HeadScan {
    pub(crate) const fn new() -> Self {
        Self { bytes: 0, facts: HeadFacts::new(), step: Step::Start, fields: FieldScan::new(Section::Head) }
    }

    /// Takes bytes up to the end of the head or of the slice.
    pub(crate) fn take(&mut self, bytes: &[u8], limits: &Limits) -> Result<Taken, Violation> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let room = limits.head_bytes.saturating_sub(self.bytes);
            if room == 0 {
                return Err(Violation::HeadTooLarge);
            }
            let plain = self.plain_run(&bytes[at..bytes.len().min(at + room)]);
            if plain > 0 {
                at += plain;
                self.bytes += plain;
                continue;
            }
            at += 1;
            self.bytes += 1;
            if self.push(*byte, limits)? == Flow::Done {
                return Ok(Taken { bytes: at, flow: Flow::Done });
            }
        }
        Ok(Taken { bytes: at, flow: Flow::More })
    }

    /// How many of the next bytes change nothing but the count.
    fn plain_run(&self, bytes: &[u8]) -> usize {
        match self.step {
            Step::Target => run(bytes, VISIBLE),
            Step::Fields => self.fields.unread(bytes),
            _ => 0,
        }
    }

    fn push(&mut self, byte: u8, limits: &Limits) -> Result<Flow, Violation> {
        self.step = match (self.step, byte) {
            (Step::Fields, byte) => return self.fields.push(byte, limits.headers, &mut self.facts),
            (Step::Start, CR) => Step::EmptyLineEnd,
            (Step::EmptyLineEnd, LF) => Step::AfterEmptyLine,
            (Step::EmptyLineEnd | Step::RequestLineEnd, byte) if byte != LF => {
                return Err(Violation::BareCarriageReturn);
            }
            (Step::AfterEmptyLine, CR) => return Err(Violation::ExtraEmptyLine),
            (Step::Start | Step::AfterEmptyLine, byte) if is(byte, TOKEN) => method_after(0, byte),
            (Step::Method { matched }, b' ') => {
                self.facts.method_is_connect = usize::from(matched) == CONNECT.len();
                Step::TargetStart
            }
            (Step::Method { matched }, byte) if is(byte, TOKEN) => method_after(matched, byte),
            (Step::TargetStart | Step::Target, byte) if is(byte, VISIBLE) => Step::Target,
            (Step::Target, b' ') => Step::Version { at: 0, major: 0 },
            (Step::Target, CR) => return Err(Violation::MissingVersion),
            (Step::TargetStart | Step::Target, byte) => {
                return Err(unexpected(byte, Violation::InvalidTarget));
            }
            (Step::Version { at, major }, byte) => self.push_version(at, major, byte)?,
            (Step::RequestLineEnd, _) => Step::Fields,
            (Step::Start | Step::EmptyLineEnd | Step::AfterEmptyLine | Step::Method { .. }, byte) => {
                return Err(unexpected(byte, Violation::InvalidMethod));
            }
        };
        Ok(Flow::More)
    }

    /// `HTTP/` digit `.` digit CR, with `at` the place of the byte in it.
    fn push_version(&mut self, at: u8, major: u8, byte: u8) -> Result<Step, Violation> {
        let next = at + 1;
        match (at, byte) {
            (0, b'H') | (1 | 2, b'T') | (3, b'P') | (4, b'/') | (6, b'.') => Ok(Step::Version { at: next, major }),
            (5, digit) if digit.is_ascii_digit() => Ok(Step::Version { at: next, major: digit }),
            (7, digit) if digit.is_ascii_digit() => {
                self.facts.version = match (major, digit) {
                    (b'1', b'1') => Version::Http11,
                    (b'1', b'0') => Version::Http10,
                    _ => return Err(Violation::UnsupportedVersion),
                };
                Ok(Step::Version { at: next, major })
            }
            (8, CR) => Ok(Step::RequestLineEnd),
            _ => Err(unexpected(byte, Violation::InvalidVersion)),
        }
    }
}

fn method_after(matched: u8, byte: u8) -> Step {
    let matched = match CONNECT.get(usize::from(matched)) {
        Some(expected) if *expected == byte => matched + 1,
        _ => NOT_CONNECT,
    };
    Step::Method { matched }
}
