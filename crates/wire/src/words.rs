//! Looks for the end of a run of text many bytes at a time. Lines of a head are short, and a general search
//! routine would spend more on its start than on its work; these loops are inlined, and stop and judge in one.

use crate::class::{TOKEN, VALUE, VISIBLE, is};

/// What the compiler can look at in one vector on every target.
const BLOCK_BYTES: usize = 16;
const WORD_BYTES: usize = size_of::<u64>();
const LOWS: u64 = u64::MAX / 0xFF;
const HIGHS: u64 = LOWS * 0x80;

/// How many leading bytes a field value may hold (RFC 9110 §5.5).
#[inline]
pub(crate) fn text_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some((block, _)) = bytes[at..].split_first_chunk::<BLOCK_BYTES>() {
        // Without an early exit inside the block, so that it stays one comparison of vectors.
        if block.iter().fold(false, |found, byte| found | (*byte < b' ') | (*byte == 0x7F)) {
            break;
        }
        at += BLOCK_BYTES;
    }
    at + run(&bytes[at..], VALUE, |word| below(word, b' ') | equal(word, 0x7F))
}

/// How many leading bytes are visible ASCII.
#[inline]
pub(crate) fn visible_run(bytes: &[u8]) -> usize {
    run(bytes, VISIBLE, |word| below(word, b'!') | equal(word, 0x7F) | (word & HIGHS))
}

/// How many leading bytes a field name may hold (RFC 9110 §5.6.2). Letters and hyphens, of which nearly all names
/// are made, need no second look.
#[inline]
pub(crate) fn name_run(bytes: &[u8]) -> usize {
    run(bytes, TOKEN, |word| !(letters(word) | hyphens(word)) & HIGHS)
}

/// `suspects` marks, by its high bit, every byte outside the class and perhaps some inside; each suspect is then
/// looked up.
#[inline(always)]
fn run(bytes: &[u8], class: u8, suspects: impl Fn(u64) -> u64) -> usize {
    let mut at = 0;
    while let Some((word, _)) = bytes[at..].split_first_chunk::<WORD_BYTES>() {
        let marks = suspects(u64::from_le_bytes(*word));
        if marks == 0 {
            at += WORD_BYTES;
            continue;
        }
        at += marks.trailing_zeros() as usize / 8;
        if !is(bytes[at], class) {
            return at;
        }
        at += 1;
    }
    at + crate::class::run(&bytes[at..], class)
}

/// Marks the bytes below a limit of at most 0x80. A borrow may mark a byte above a true mark, never below the
/// first one.
#[inline(always)]
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(LOWS * limit as u64) & !word & HIGHS
}

/// Marks the bytes of one value, with the same slack as [`below`].
#[inline(always)]
const fn equal(word: u64, value: u8) -> u64 {
    below(word ^ (LOWS * value as u64), 1)
}

/// Marks exactly the ASCII letters.
#[inline(always)]
const fn letters(word: u64) -> u64 {
    let lower = (word & !HIGHS) | (LOWS * 0x20);
    let from_a = lower + LOWS * (0x80 - b'a' as u64);
    let beyond_z = lower + LOWS * (0x7F - b'z' as u64);
    from_a & !beyond_z & !word & HIGHS
}

/// Marks exactly the hyphens.
#[inline(always)]
const fn hyphens(word: u64) -> u64 {
    let difference = word ^ (LOWS * b'-' as u64);
    let nonzero = ((difference & !HIGHS) + LOWS * 0x7F) | difference;
    !nonzero & HIGHS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{name_run, text_run, visible_run};
    use crate::class::{TOKEN, VALUE, VISIBLE, run};

    proptest! {
        /// A control character that hides behind a borrow between two bytes of a word would reach the engine.
        #[test]
        fn words_agree_with_bytes(
            clean in prop::collection::vec(prop_oneof![0x20_u8..0x7F, Just(b'-'), Just(b'\t'), 0x80_u8..=0xFF], 0..64),
            end in any::<u8>(),
            rest in prop::collection::vec(any::<u8>(), 0..24),
        ) {
            let bytes = [clean.as_slice(), &[end], rest.as_slice()].concat();
            for start in 0..bytes.len() {
                prop_assert_eq!(text_run(&bytes[start..]), run(&bytes[start..], VALUE));
                prop_assert_eq!(visible_run(&bytes[start..]), run(&bytes[start..], VISIBLE));
                prop_assert_eq!(name_run(&bytes[start..]), run(&bytes[start..], TOKEN));
            }
        }
    }
}
