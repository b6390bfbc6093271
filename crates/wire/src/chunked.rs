//! The exact scanner of a chunked body (RFC 9112 §7.1): sizes, extensions, data and trailers. Data is skipped,
//! not looked at; everything around it is read a byte at a time.

use crate::class::{CR, LF, is_space, unexpected};
use crate::facts::{BODY_BYTES_MAX, HeadFacts};
use crate::field::{FieldScan, Flow, Section};
use crate::guard::Limits;
use crate::head::Taken;
use crate::violation::Violation;

/// The most digits of a chunk size: what an unsigned 64-bit number needs.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 16;
/// The longest extension of one chunk in bytes, from the end of the size to the end of the line.
pub const CHUNK_EXTENSION_BYTES_MAX: u16 = 256;
/// The most bytes of extensions in one body: they cost work and carry nothing.
pub const CHUNK_EXTENSION_TOTAL_BYTES_MAX: u32 = 16 * 1024;

/// A chunked body that is being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkScan {
    step: Step,
    /// The size being read, then what is left of the data.
    remaining_bytes: u64,
    extension_bytes: u16,
    extension_total_bytes: u32,
    trailer_bytes: usize,
    trailers: FieldScan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Size {
        digits: u8,
    },
    /// Whitespace after the size, which only an extension may follow.
    ExtensionStart,
    Extension,
    SizeLineEnd,
    Data,
    DataReturn,
    DataLineFeed,
    Trailers,
}

/// A violation and the place of the byte that made it one.
pub(crate) struct Broken {
    pub(crate) at: usize,
    pub(crate) violation: Violation,
}

impl ChunkScan {
    pub(crate) const fn new() -> Self {
        Self {
            step: Step::Size { digits: 0 },
            remaining_bytes: 0,
            extension_bytes: 0,
            extension_total_bytes: 0,
            trailer_bytes: 0,
            trailers: FieldScan::new(Section::Trailers),
        }
    }

    /// Takes bytes up to the end of the body or of the slice.
    pub(crate) fn take(&mut self, bytes: &[u8], limits: &Limits) -> Result<Taken, Broken> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.step == Step::Data {
                at += self.skip_data(bytes.len() - at);
                continue;
            }
            match self.push(*byte, limits) {
                Ok(Flow::More) => at += 1,
                Ok(Flow::Done) => {
                    return Ok(Taken { bytes: at + 1, flow: Flow::Done });
                }
                Err(violation) => return Err(Broken { at, violation }),
            }
        }
        Ok(Taken { bytes: at, flow: Flow::More })
    }

    fn skip_data(&mut self, available: usize) -> usize {
        // What is skipped is at most `available`, so the cast back loses nothing.
        let skipped = self.remaining_bytes.min(available as u64);
        self.remaining_bytes -= skipped;
        if self.remaining_bytes == 0 {
            self.step = Step::DataReturn;
        }
        skipped as usize
    }

    fn push(&mut self, byte: u8, limits: &Limits) -> Result<Flow, Violation> {
        self.step = match (self.step, byte) {
            (Step::Trailers, byte) => return self.push_trailer(byte, limits),
            (Step::Size { digits }, byte) if byte.is_ascii_hexdigit() => self.push_digit(digits, byte)?,
            (Step::Size { digits: 0 }, byte) => {
                return Err(unexpected(byte, Violation::InvalidChunkSize));
            }
            (Step::Size { .. } | Step::Extension, CR) => Step::SizeLineEnd,
            (Step::Size { .. } | Step::ExtensionStart, b';') => self.push_extension(Step::Extension)?,
            (Step::Size { .. } | Step::ExtensionStart, byte) if is_space(byte) => {
                self.push_extension(Step::ExtensionStart)?
            }
            (Step::Extension, byte) if is_space(byte) || byte.is_ascii_graphic() => {
                self.push_extension(Step::Extension)?
            }
            (Step::Size { .. }, byte) => return Err(unexpected(byte, Violation::InvalidChunkSize)),
            (Step::ExtensionStart | Step::Extension, byte) => {
                return Err(unexpected(byte, Violation::InvalidChunkExtension));
            }
            (Step::SizeLineEnd, LF) if self.remaining_bytes == 0 => Step::Trailers,
            (Step::SizeLineEnd, LF) => Step::Data,
            (Step::SizeLineEnd, _) => return Err(Violation::BareCarriageReturn),
            (Step::DataReturn, CR) => Step::DataLineFeed,
            (Step::DataLineFeed, LF) => {
                self.extension_bytes = 0;
                Step::Size { digits: 0 }
            }
            (Step::Data | Step::DataReturn | Step::DataLineFeed, _) => {
                return Err(Violation::MissingChunkEnd);
            }
        };
        Ok(Flow::More)
    }

    fn push_digit(&mut self, digits: u8, byte: u8) -> Result<Step, Violation> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        let digits = digits + 1;
        // Sixteen digits fill the number exactly, so no bit is shifted out before the comparison.
        let size = self.remaining_bytes << 4 | u64::from(digit);
        if digits > CHUNK_SIZE_DIGITS_MAX || size > BODY_BYTES_MAX {
            return Err(Violation::ChunkSizeOverflow);
        }
        self.remaining_bytes = size;
        Ok(Step::Size { digits })
    }

    fn push_extension(&mut self, step: Step) -> Result<Step, Violation> {
        self.extension_bytes += 1;
        self.extension_total_bytes += 1;
        if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX {
            return Err(Violation::ChunkExtensionTooLong);
        }
        if self.extension_total_bytes > CHUNK_EXTENSION_TOTAL_BYTES_MAX {
            return Err(Violation::ChunkExtensionsTooLong);
        }
        Ok(step)
    }

    fn push_trailer(&mut self, byte: u8, limits: &Limits) -> Result<Flow, Violation> {
        if self.trailer_bytes >= limits.head_bytes {
            return Err(Violation::HeadTooLarge);
        }
        self.trailer_bytes += 1;
        // Trailers state no facts: those that would are refused by name.
        self.trailers.push(byte, limits.headers, &mut HeadFacts::new())
    }
}
