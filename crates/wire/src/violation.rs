//! Every rule the guard holds, as one table: what it is called in a metric, what the client is answered, and
//! what the log says. One table, so that a rule cannot exist without all three.

macro_rules! violations {
    ($($(#[doc = $doc:literal])+ $name:ident, $status:literal, $code:literal, $message:literal;)+) => {
        /// Why a stream of requests was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
        #[non_exhaustive]
        pub enum Violation {
            $($(#[doc = $doc])+ #[error($message)] $name,)+
        }

        impl Violation {
            /// Every violation, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The status code of the answer: 400, or 431 for a head beyond its limits, 501 for an unsupported
            /// transfer coding, 505 for an unsupported version.
            #[must_use]
            pub const fn status(&self) -> u16 {
                match self {
                    $(Self::$name => $status,)+
                }
            }

            /// A kebab-case label for a metric: stable, and one of a bounded set.
            #[must_use]
            pub const fn code(&self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }
        }
    };
}

violations! {
    /// A line feed without its carriage return (RFC 9112 §2.2 lets a recipient take it for a line end).
    BareLineFeed, 400, "bare-line-feed", "a line ends in a bare line feed";
    /// A carriage return without its line feed (RFC 9112 §2.2).
    BareCarriageReturn, 400, "bare-carriage-return", "a carriage return stands without its line feed";
    /// NUL or another control character in a head, a trailer or a chunk extension (RFC 9110 §5.5).
    ControlByte, 400, "control-byte", "a control character stands where text is expected";
    /// More than one empty line before a request line (RFC 9112 §2.2 asks for tolerance of at least one).
    ExtraEmptyLine, 400, "extra-empty-line", "more than one empty line stands before the request line";
    /// The method is no token followed by one space (RFC 9112 §3.1).
    InvalidMethod, 400, "invalid-method", "the method is not a token followed by one space";
    /// The target is empty, or holds whitespace or a byte that is not visible ASCII (RFC 9112 §3.2).
    InvalidTarget, 400, "invalid-target", "the request target is empty or holds a byte that is not visible ASCII";
    /// The request line ends after the target, as in HTTP/0.9.
    MissingVersion, 505, "missing-version", "the request line has no version";
    /// The version is not `HTTP/` digit `.` digit and the end of the line (RFC 9112 §2.3).
    InvalidVersion, 400, "invalid-version", "the version is malformed";
    /// A well-formed version other than HTTP/1.0 and HTTP/1.1, the preface of HTTP/2 included.
    UnsupportedVersion, 505, "unsupported-version", "the version is neither HTTP/1.0 nor HTTP/1.1";
    /// A field line that begins with whitespace (RFC 9112 §5.2, and §2.2 for the first one).
    FoldedLine, 400, "folded-line", "a field line begins with whitespace";
    /// A field line that begins with its colon (RFC 9110 §5.1).
    EmptyFieldName, 400, "empty-field-name", "a field has no name";
    /// Whitespace between a field name and its colon (RFC 9112 §5.1).
    SpaceBeforeColon, 400, "space-before-colon", "whitespace stands between a field name and its colon";
    /// A field name that is no token, or a line without a colon (RFC 9110 §5.1).
    InvalidFieldName, 400, "invalid-field-name", "a field name is not a token followed by a colon";
    /// A `Content-Length` that is not digits alone: a sign, a list, a base (RFC 9110 §8.6).
    InvalidContentLength, 400, "invalid-content-length", "Content-Length is not a plain decimal number";
    /// A `Content-Length` beyond [`BODY_BYTES_MAX`](crate::BODY_BYTES_MAX).
    ContentLengthOverflow, 400, "content-length-overflow", "Content-Length is beyond what can be counted";
    /// A second `Content-Length`, even with the same value (RFC 9110 §8.6 leaves that to the recipient).
    RepeatedContentLength, 400, "repeated-content-length", "Content-Length is given twice";
    /// Both ways to frame a body at once (RFC 9112 §6.1).
    ContentLengthWithTransferEncoding, 400, "content-length-with-transfer-encoding",
        "Content-Length and Transfer-Encoding are both given";
    /// A transfer coding other than `chunked` alone (RFC 9112 §6.1).
    UnsupportedTransferEncoding, 501, "unsupported-transfer-encoding",
        "Transfer-Encoding is something other than chunked alone";
    /// A second `Transfer-Encoding` field.
    RepeatedTransferEncoding, 400, "repeated-transfer-encoding", "Transfer-Encoding is given twice";
    /// `Transfer-Encoding` in an HTTP/1.0 request (RFC 9112 §6.1: faulty framing).
    TransferEncodingInHttp10, 400, "transfer-encoding-in-http-1-0", "Transfer-Encoding is given in HTTP/1.0";
    /// An HTTP/1.1 request without `Host` (RFC 9112 §3.2).
    MissingHost, 400, "missing-host", "an HTTP/1.1 request has no Host";
    /// A second `Host` (RFC 9112 §3.2).
    RepeatedHost, 400, "repeated-host", "Host is given twice";
    /// A `Host` without a value: legal for some targets, and read differently by everyone.
    EmptyHost, 400, "empty-host", "Host is empty";
    /// A `Host` that is not one host and at most one port (RFC 3986 §3.2.2, §3.2.3).
    InvalidHost, 400, "invalid-host", "Host is not a host with at most one port";
    /// A `Connection` that is no list of tokens, so that its options depend on the reader (RFC 9110 §7.6.1).
    InvalidConnection, 400, "invalid-connection", "Connection is not a list of tokens";
    /// A head, or a trailer section, beyond [`Limits::head_bytes`](crate::Limits::head_bytes).
    HeadTooLarge, 431, "head-too-large", "the head or the trailer section is too large";
    /// More fields, or trailers, than [`Limits::headers`](crate::Limits::headers).
    TooManyHeaders, 431, "too-many-headers", "the head or the trailer section has too many fields";
    /// A request for another protocol that brings a body, so that it is unsure whose bytes the body is.
    UpgradeWithBody, 400, "upgrade-with-body", "a request for an upgrade has a body";
    /// Bytes after a request for another protocol, sent before its answer said which protocol they are in.
    EarlyUpgradeBytes, 400, "early-upgrade-bytes", "bytes follow a request for an upgrade before its answer";
    /// A chunk size that is not hexadecimal digits alone (RFC 9112 §7.1).
    InvalidChunkSize, 400, "invalid-chunk-size", "a chunk size is not a plain hexadecimal number";
    /// A chunk size with too many digits, or beyond [`BODY_BYTES_MAX`](crate::BODY_BYTES_MAX).
    ChunkSizeOverflow, 400, "chunk-size-overflow", "a chunk size is beyond what can be counted";
    /// Text after a chunk size that does not begin with a semicolon, or is not visible ASCII (RFC 9112 §7.1.1).
    InvalidChunkExtension, 400, "invalid-chunk-extension", "a chunk extension is malformed";
    /// A chunk extension beyond [`CHUNK_EXTENSION_BYTES_MAX`](crate::CHUNK_EXTENSION_BYTES_MAX).
    ChunkExtensionTooLong, 400, "chunk-extension-too-long", "a chunk extension is too long";
    /// The extensions of one body beyond
    /// [`CHUNK_EXTENSION_TOTAL_BYTES_MAX`](crate::CHUNK_EXTENSION_TOTAL_BYTES_MAX).
    ChunkExtensionsTooLong, 400, "chunk-extensions-too-long", "the chunk extensions of a body are too long together";
    /// Chunk data that is not followed by a line end (RFC 9112 §7.1).
    MissingChunkEnd, 400, "missing-chunk-end", "chunk data is not followed by a line end";
    /// A field that decides framing, routing, identity or the connection, sent as a trailer (RFC 9110 §6.5.1).
    ForbiddenTrailer, 400, "forbidden-trailer", "a trailer names a field that only a head may hold";
}

#[cfg(test)]
mod tests {
    use super::Violation;

    /// Two rules under one label would make a metric that nobody can act on.
    #[test]
    fn labels_are_distinct_and_kebab_case() {
        let mut codes: Vec<&str> = Violation::ALL.iter().map(Violation::code).collect();
        for code in &codes {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(code.bytes().all(plain), "{code}");
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Violation::ALL.len());
    }

    /// A limit answered with 400 would send the operator looking for an attack instead of a fat cookie.
    #[test]
    fn statuses_follow_the_kind_of_rule() {
        for violation in Violation::ALL {
            let expected = match violation {
                Violation::HeadTooLarge | Violation::TooManyHeaders => 431,
                Violation::UnsupportedTransferEncoding => 501,
                Violation::UnsupportedVersion | Violation::MissingVersion => 505,
                _ => 400,
            };
            assert_eq!(violation.status(), expected, "{violation:?}");
        }
    }
}
