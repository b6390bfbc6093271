//! Byte classes as one table of flags, so that a scanner asks one load per byte.

use crate::violation::Violation;

/// `tchar` of RFC 9110 §5.6.2: methods, field names, connection options.
pub(crate) const TOKEN: u8 = 1;
/// Visible ASCII, `0x21..=0x7E`: request targets.
pub(crate) const VISIBLE: u8 = 1 << 1;
/// What a field value may hold: HTAB, SP, visible ASCII and obs-text (RFC 9110 §5.5).
pub(crate) const VALUE: u8 = 1 << 2;
/// What a registered name may hold (RFC 3986 §3.2.2), without the comma, which reads as a list, and the percent
/// sign, which some readers decode and some do not.
pub(crate) const HOST_NAME: u8 = 1 << 3;
/// Letters, digits, dot and hyphen: the hosts that need no second look.
pub(crate) const HOST_PLAIN: u8 = 1 << 4;

/// Carriage return.
pub(crate) const CR: u8 = b'\r';
/// Line feed.
pub(crate) const LF: u8 = b'\n';

/// Whether a byte is in one of the classes of the mask.
#[inline(always)]
pub(crate) const fn is(byte: u8, mask: u8) -> bool {
    CLASSES[byte as usize] & mask != 0
}

/// How many leading bytes are in one of the classes of the mask.
#[inline]
pub(crate) fn run(bytes: &[u8], mask: u8) -> usize {
    bytes.iter().position(|byte| !is(*byte, mask)).unwrap_or(bytes.len())
}

/// Optional whitespace, `OWS` of RFC 9110 §5.6.3.
#[inline(always)]
pub(crate) const fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A control character other than HTAB, which no head, trailer or chunk line may hold inside a line.
#[inline(always)]
pub(crate) const fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7F
}

/// Names the violation of a byte that does not belong where it stands. A bare line feed and a control character
/// are called that wherever they stand; everything else is a matter of the place.
pub(crate) const fn unexpected(byte: u8, otherwise: Violation) -> Violation {
    match byte {
        LF => Violation::BareLineFeed,
        CR => otherwise,
        byte if is_control(byte) => Violation::ControlByte,
        _ => otherwise,
    }
}

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        table[index] = class_of(index as u8);
        index += 1;
    }
    table
}

const fn class_of(byte: u8) -> u8 {
    let mut class = 0;
    if byte.is_ascii_alphanumeric() {
        class |= TOKEN | HOST_NAME | HOST_PLAIN;
    }
    if matches!(byte, b'.' | b'-') {
        class |= HOST_PLAIN;
    }
    if matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    ) {
        class |= TOKEN;
    }
    if matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=')
    {
        class |= HOST_NAME;
    }
    if byte.is_ascii_graphic() {
        class |= VISIBLE;
    }
    if !is_control(byte) {
        class |= VALUE;
    }
    class
}
