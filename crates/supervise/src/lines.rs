//! Splits an instance's output into lines of bounded length. Pure: bytes in, lines out.

/// The longest line that is passed on whole, in bytes and without its line end; the rest of a longer one is dropped.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// Follows what is left of a line that was too long.
const CUT_MARK: &str = " [cut]";

/// Collects bytes until a line is complete.
#[derive(Debug, Default)]
pub(crate) struct LineCutter {
    kept: Vec<u8>,
    overflowed: bool,
}

impl LineCutter {
    /// Takes the next bytes, which may end anywhere, and gives each line they complete to `emit`, without its `\n` or
    /// `\r\n`. Bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(String)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.keep(&bytes[..end]);
            emit(self.take());
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// The line without a line end that the output stopped in, if there is one.
    pub(crate) fn finish(&mut self) -> Option<String> {
        (!self.kept.is_empty()).then(|| self.take())
    }

    /// Keeps one byte more than a line may have: it may yet prove to be the `\r` of a line end.
    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX + 1 - self.kept.len();
        self.overflowed |= bytes.len() > room;
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&mut self) -> String {
        if !self.overflowed && self.kept.last() == Some(&b'\r') {
            self.kept.pop();
        }
        let cut = self.kept.len() > LINE_BYTES_MAX;
        if cut {
            self.kept.truncate(LINE_BYTES_MAX);
            self.kept.truncate(LINE_BYTES_MAX - incomplete_tail(&self.kept));
        }
        let mut line = String::from_utf8_lossy(&self.kept).into_owned();
        if cut {
            line.push_str(CUT_MARK);
        }
        self.kept.clear();
        self.overflowed = false;
        line
    }
}

/// How many bytes at the end belong to a character whose remaining bytes were cut off (RFC 3629, section 3: the first
/// byte tells the length).
fn incomplete_tail(bytes: &[u8]) -> usize {
    for (after, &byte) in bytes.iter().rev().take(4).enumerate() {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if length > after + 1 { after + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut cutter, mut lines) = (LineCutter::default(), Vec::new());
        for chunk in chunks {
            cutter.push(chunk, |line| lines.push(line));
        }
        lines.extend(cutter.finish());
        lines
    }

    /// A carriage return passed on to a terminal would let the next text overwrite the prefix.
    #[test]
    fn both_line_ends_are_taken_off() {
        assert_eq!(lines(&[b"one\r\ntwo\n\nthree\r", b"\nfour"]), ["one", "two", "", "three", "four"]);
        assert_eq!(lines(&[b"progress\rdone\n"]), ["progress\rdone"]);
        assert_eq!(lines(&[b""]), [""; 0]);
    }

    /// An instance that prints a core dump without a line end would otherwise fill our memory.
    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let longest = "x".repeat(LINE_BYTES_MAX);
        let cut = format!("{longest}{CUT_MARK}");
        assert_eq!(lines(&[longest.as_bytes(), b"\r\nnext\n"]), [longest.as_str(), "next"]);
        assert_eq!(lines(&[longest.as_bytes(), b"y\nnext\n"]), [cut.as_str(), "next"]);
        assert_eq!(lines(&[longest.as_bytes(), b"yy\r\n\n"]), [cut.as_str(), ""]);
        assert_eq!(lines(&[longest.as_bytes(), longest.as_bytes()]), [cut.as_str()]);
    }

    /// A cut in the middle of a character would otherwise show as a broken character nobody printed.
    #[test]
    fn a_cut_falls_between_characters() {
        for character in ["é", "€", "🧥"] {
            for shift in 0..4 {
                let text = format!("{}{}", "x".repeat(shift), character.repeat(LINE_BYTES_MAX));
                let line = lines(&[text.as_bytes()]).remove(0);
                assert!(!line.contains('\u{fffd}') && line.ends_with(CUT_MARK), "{character} after {shift}");
                assert!(line.len() > LINE_BYTES_MAX - 4 + CUT_MARK.len());
            }
        }
    }

    /// One stray byte would otherwise cost the whole line.
    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(lines(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }

    proptest! {
        /// A line that happens to be split between two reads would otherwise come out as two, or with a stray `\r`.
        #[test]
        fn where_reads_end_makes_no_difference(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..400),
            size in 1_usize..40,
            stretch in 0_usize..3,
        ) {
            let mut text = vec![b'x'; stretch * (LINE_BYTES_MAX / 2)];
            text.extend_from_slice(&bytes);
            let chunks: Vec<&[u8]> = text.chunks(size).collect();
            let expected = lines(&[&text]);
            prop_assert!(expected.iter().all(|line| line.len() <= LINE_BYTES_MAX * 3 + CUT_MARK.len()));
            prop_assert_eq!(lines(&chunks), expected);
        }
    }
}
