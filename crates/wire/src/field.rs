//! The exact scanner of a section of field lines, up to and with its empty line: the fields of a head and the
//! trailers of a chunked body follow one grammar (RFC 9112 §5, §7.1.2).

use crate::class::{CR, LF, TOKEN, VALUE, is, run, unexpected};
use crate::facts::{HeadFacts, Watched};
use crate::value::ValueScan;
use crate::violation::Violation;

/// The longest name that is compared with anything; longer ones are remembered as too long.
const NAME_BYTES_MAX: usize = 20;

/// Fields that decide framing, routing, identity, the content or the connection, and so have no place after the
/// body (RFC 9110 §6.5.1): a reader that merges trailers into the head would act on them.
const FORBIDDEN_TRAILERS: [&[u8]; 18] = [
    b"authorization",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
    b"keep-alive",
    b"max-forwards",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// Which section is read: the same grammar, other rules about names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Head,
    Trailers,
}

/// Whether a section goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    More,
    Done,
}

/// A section that is being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FieldScan {
    section: Section,
    step: Step,
    fields: usize,
    name: [u8; NAME_BYTES_MAX],
    name_bytes: u8,
    value: ValueScan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    LineStart,
    Name,
    Value,
    LineEnd,
    SectionEnd,
}

impl FieldScan {
    pub(crate) const fn new(section: Section) -> Self {
        Self {
            section,
            step: Step::LineStart,
            fields: 0,
            name: [0; NAME_BYTES_MAX],
            name_bytes: 0,
            value: ValueScan::Opaque,
        }
    }

    /// How many of the next bytes are ordinary text of a value that nobody here reads.
    #[inline]
    pub(crate) fn unread(&self, bytes: &[u8]) -> usize {
        match (self.step, self.value) {
            (Step::Value, ValueScan::Opaque) => run(bytes, VALUE),
            _ => 0,
        }
    }

    /// Takes the next byte.
    pub(crate) fn push(&mut self, byte: u8, fields_max: usize, facts: &mut HeadFacts) -> Result<Flow, Violation> {
        match (self.step, byte) {
            (Step::LineStart, CR) => self.step = Step::SectionEnd,
            (Step::LineStart, b' ' | b'\t') => return Err(Violation::FoldedLine),
            (Step::LineStart, b':') => return Err(Violation::EmptyFieldName),
            (Step::LineStart, byte) if is(byte, TOKEN) => {
                if self.fields >= fields_max {
                    return Err(Violation::TooManyHeaders);
                }
                self.fields += 1;
                self.name_bytes = 0;
                self.push_name(byte);
                self.step = Step::Name;
            }
            (Step::Name, b':') => {
                self.value = self.begin_value(facts)?;
                self.step = Step::Value;
            }
            (Step::Name, b' ' | b'\t') => return Err(Violation::SpaceBeforeColon),
            (Step::Name, byte) if is(byte, TOKEN) => self.push_name(byte),
            (Step::LineStart | Step::Name, byte) => {
                return Err(unexpected(byte, Violation::InvalidFieldName));
            }
            (Step::Value, CR) => {
                self.value.finish(facts)?;
                self.step = Step::LineEnd;
            }
            (Step::Value, byte) if is(byte, VALUE) => self.value.push(byte, facts)?,
            (Step::Value, byte) => return Err(unexpected(byte, Violation::ControlByte)),
            (Step::LineEnd, LF) => self.step = Step::LineStart,
            (Step::SectionEnd, LF) => return Ok(Flow::Done),
            (Step::LineEnd | Step::SectionEnd, _) => return Err(Violation::BareCarriageReturn),
        }
        Ok(Flow::More)
    }

    fn push_name(&mut self, byte: u8) {
        let length = usize::from(self.name_bytes);
        if let Some(slot) = self.name.get_mut(length) {
            *slot = byte.to_ascii_lowercase();
        }
        self.name_bytes = self.name_bytes.saturating_add(1);
    }

    fn begin_value(&self, facts: &mut HeadFacts) -> Result<ValueScan, Violation> {
        // A name that outgrew its room is none of those that are compared.
        let name = self.name.get(..usize::from(self.name_bytes)).unwrap_or(&[]);
        match self.section {
            Section::Trailers if FORBIDDEN_TRAILERS.contains(&name) => Err(Violation::ForbiddenTrailer),
            Section::Trailers => Ok(ValueScan::Opaque),
            Section::Head => {
                let watched = Watched::of(name);
                if let Some(watched) = watched {
                    facts.begin(watched)?;
                }
                Ok(ValueScan::of(watched))
            }
        }
    }
}
