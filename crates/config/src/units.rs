//! Durations and sizes as people write them: `"150ms"`, `"64KiB"`.
//!
//! A bare number leaves the reader guessing the unit, and guessing wrong by a factor of a thousand is how a timeout
//! becomes an outage; so durations always carry theirs.

use std::time::Duration;

/// The units of a duration in milliseconds, largest first.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

/// The units of a size in bytes, largest first.
const SIZE_UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `"150ms"`, `"30s"`, `"5m"`, `"24h"` or `"30d"`; `None` for anything else, or past 2^64 ms.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATION_UNITS).map(Duration::from_millis)
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that divides it; below 1 ms is cut off.
pub fn format_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    format(milliseconds, &DURATION_UNITS)
}

/// Reads `"512B"`, `"64KiB"`, `"1MiB"`, `"2GiB"` or `"1TiB"` as bytes; `None` for anything else, or past 2^64.
pub fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZE_UNITS)
}

/// Writes a number of bytes as [`parse_size`] reads it, in the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    format(bytes, &SIZE_UNITS)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn format(number: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .find(|(_, factor)| number.is_multiple_of(*factor))
        .map_or_else(|| number.to_string(), |(unit, factor)| format!("{}{unit}", number / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A "5m" taken for five milliseconds would otherwise cut every request short.
    #[test]
    fn durations_read_in_their_unit() {
        for (text, milliseconds) in [
            ("150ms", Some(150)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("30d", Some(2_592_000_000)),
            ("0s", Some(0)),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1 s", None),
            ("1h30m", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(parse_duration(text), milliseconds.map(Duration::from_millis), "{text}");
        }
    }

    /// "64KB" is 64,000 to some and 65,536 to others; neither is guessed.
    #[test]
    fn sizes_read_in_binary_units_only() {
        for (text, bytes) in [
            ("64KiB", Some(65_536)),
            ("1MiB", Some(1 << 20)),
            ("512B", Some(512)),
            ("64KB", None),
            ("64k", None),
            ("KiB", None),
            ("99999999TiB", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    proptest! {
        /// A bound printed in an error message must be accepted when it is copied back into the file.
        #[test]
        fn what_is_written_reads_back(number in 0u64..1 << 50) {
            let duration = Duration::from_millis(number);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&format_size(number)), Some(number));
        }
    }
}
