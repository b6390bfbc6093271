//! Turning one word of entropy into several draws, so that a pick needs a single random number from its caller.

/// Scrambles a word: neighbouring inputs give unrelated outputs. This is the output function of SplitMix64 (Steele,
/// Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(crate) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Maps a scrambled word to `0..bound` (0 for an empty range) without a division: the high half of the product
/// (Lemire: "Fast random integer generation in an interval", 2019). The bias is below `bound / 2^64`.
pub(crate) fn below(word: u64, bound: u64) -> u64 {
    ((u128::from(word) * u128::from(bound)) >> 64) as u64
}
