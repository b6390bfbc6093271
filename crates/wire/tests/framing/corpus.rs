//! Streams with a known verdict. Each is run whole, a byte at a time, and cut in three at every place, because an
//! attacker chooses where the packets end.

use cloakroom_wire::Violation::{self, *};
use cloakroom_wire::{Outcome, Phase, guard_in_pieces};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

const BETWEEN: Phase = Phase::Head { started: false };
const AWAITING: Phase = Phase::AwaitingUpgrade;

/// A request for another protocol, with the rest of its head from the first `Connection` value on.
fn websocket(rest: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: {rest}\r\n\r\n")
}

/// Checks one stream, in every kind of cut.
#[track_caller]
fn check(name: &str, stream: &[u8], expected: Outcome) {
    let every_byte = vec![1; stream.len()];
    assert_eq!(guard_in_pieces(stream, &[]), expected, "{name}, whole");
    assert_eq!(guard_in_pieces(stream, &every_byte), expected, "{name}, byte by byte");
    for first in 0..stream.len() as u16 {
        assert_eq!(guard_in_pieces(stream, &[first, 3]), expected, "{name}, cut after {first} and 3 more");
    }
}

#[track_caller]
fn check_refused_head(name: &str, head: &[u8], violation: Violation) {
    let refused = |heads, boundary| Outcome {
        heads_completed: heads,
        messages_completed: heads,
        boundary,
        phase: Phase::Refused,
        violation: Some(violation),
    };
    check(name, head, refused(0, 0));
    // What is refused as a first request must be refused as a later one, and only from its own first byte on.
    check(name, &[GET, head].concat(), refused(1, GET.len()));
    check(name, &[CHUNKED, b"1\r\nx\r\n0\r\n\r\n", head].concat(), refused(1, CHUNKED.len() + 11));
}

#[track_caller]
fn check_refused_body(name: &str, valid: &[u8], rest: &[u8], violation: Violation) {
    let expected = Outcome {
        heads_completed: 1,
        messages_completed: 0,
        boundary: CHUNKED.len() + valid.len(),
        phase: Phase::Refused,
        violation: Some(violation),
    };
    check(name, &[CHUNKED, valid, rest].concat(), expected);
}

#[track_caller]
fn check_passed(name: &str, stream: &[u8], heads: u64, messages: u64, phase: Phase) {
    let expected = Outcome {
        heads_completed: heads,
        messages_completed: messages,
        boundary: stream.len(),
        phase,
        violation: None,
    };
    check(name, stream, expected);
}

/// A line end that one parser sees and another does not is where smuggled requests begin.
#[test]
fn line_ends_and_control_bytes() {
    for (name, head, violation) in LINE_ENDS {
        check_refused_head(name, head, *violation);
    }
}

/// `GET /a HTTP/1.1 HTTP/1.1`: which of the words is the target?
#[test]
fn request_lines() {
    for (name, head, violation) in REQUEST_LINES {
        check_refused_head(name, head, *violation);
    }
}

/// A name that one parser trims and another takes as it is hides a field from one of them.
#[test]
fn field_lines() {
    for (name, head, violation) in FIELD_LINES {
        check_refused_head(name, head, *violation);
    }
}

/// Every row is a `Content-Length` that some server somewhere reads as 5, or as nothing.
#[test]
fn content_lengths() {
    for (name, fields, violation) in CONTENT_LENGTHS {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nhello");
        check_refused_head(name, head.as_bytes(), *violation);
    }
}

/// The CL.TE, TE.CL and TE.TE families: a coding that one side honours and the other does not recognise.
#[test]
fn transfer_encodings() {
    for (name, fields, violation) in TRANSFER_ENCODINGS {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n");
        check_refused_head(name, head.as_bytes(), *violation);
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    check_refused_head("HTTP/1.0", old, TransferEncodingInHttp10);
}

/// Two hosts, or one that reads as two, route a request to one site and cache it under another.
#[test]
fn hosts() {
    for (name, fields, violation) in HOSTS {
        let head = format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n");
        check_refused_head(name, head.as_bytes(), *violation);
    }
    check_refused_head("two in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", RepeatedHost);
    for host in
        ["a", "a.b-c_d:8080", "a:", "[::1]", "[2001:db8::1]:80", "127.0.0.1:80", "xn--bcher-kva.example", "\t a \t"]
    {
        let head = format!("GET / HTTP/1.1\r\nHost:{host}\r\n\r\n");
        check_passed(host, head.as_bytes(), 1, 1, Phase::Head { started: false });
    }
}

/// Bytes sent behind an upgrade are a request to one reader and another protocol to the other.
#[test]
fn upgrades() {
    for options in ["Upgrade", "upgrade", "keep-alive, Upgrade", "keep-alive,UPGRADE ,x", ", upgrade,"] {
        let stream = websocket(options);
        check_passed(options, stream.as_bytes(), 1, 1, AWAITING);
        let early = Outcome {
            heads_completed: 1,
            messages_completed: 1,
            boundary: stream.len(),
            phase: Phase::Refused,
            violation: Some(EarlyUpgradeBytes),
        };
        check(options, &[stream.as_bytes(), GET].concat(), early);
    }
    for options in ["keep-alive", "upgraded", "up", "x-upgrade", "close, upgrade-insecure", ""] {
        let stream = websocket(options);
        check_passed(options, stream.as_bytes(), 1, 1, BETWEEN);
    }
    for options in ["keep-alive upgrade", "keep-alive; upgrade", "\"upgrade\"", "upgrade upgrade"] {
        let stream = websocket(options);
        check_refused_head(options, stream.as_bytes(), InvalidConnection);
    }
}

/// A rule that took too much for an upgrade would hold back a pipelined request for ever.
#[test]
fn near_misses_of_upgrades() {
    check_passed("no Upgrade field", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", 1, 1, BETWEEN);
    check_passed("HTTP/1.0", b"GET / HTTP/1.0\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 1, 1, BETWEEN);
    check_passed("two fields", websocket("close\r\nConnection: upgrade").as_bytes(), 1, 1, AWAITING);
    check_passed("length of zero", websocket("upgrade\r\nContent-Length: 0").as_bytes(), 1, 1, AWAITING);
    check_passed("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 1, 1, AWAITING);
    check_passed("CONNECTS", b"CONNECTS a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 1, 1, BETWEEN);
    check_passed("connect", b"connect a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 1, 1, BETWEEN);
    for body in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
        let stream = websocket(&format!("upgrade\r\n{body}"));
        check_refused_head(body, stream.as_bytes(), UpgradeWithBody);
        let stream = format!("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n{body}\r\n\r\n");
        check_refused_head(body, stream.as_bytes(), UpgradeWithBody);
    }
}

/// Chunk framing that one reader forgives and another does not moves the end of the body.
#[test]
fn chunked_bodies() {
    for (name, valid, rest, violation) in CHUNKED_BODIES {
        check_refused_body(name, valid, rest, *violation);
    }
}

/// A guard that refuses ordinary clients would be switched off.
#[test]
fn ordinary_traffic_passes() {
    for (name, stream, heads, messages, phase) in ORDINARY {
        check_passed(name, stream, *heads, *messages, *phase);
    }
}

#[rustfmt::skip]
const LINE_ENDS: &[(&str, &[u8], Violation)] = &[
    ("bare LF after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", BareLineFeed),
    ("bare LF after a field", b"GET / HTTP/1.1\r\nHost: a\n\r\n", BareLineFeed),
    ("bare LF in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: w\r\n\r\n", BareLineFeed),
    ("bare LF in a name", b"GET / HTTP/1.1\r\nHo\nst: a\r\n\r\n", BareLineFeed),
    ("bare LF for the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\n", BareLineFeed),
    ("bare LF before the request line", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLineFeed),
    ("bare LF in the target", b"GET /\na HTTP/1.1\r\nHost: a\r\n\r\n", BareLineFeed),
    ("bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\n\r\n", BareCarriageReturn),
    ("bare CR at a line start", b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", BareCarriageReturn),
    ("bare CR after the version", b"GET / HTTP/1.1\rHost: a\r\n\r\n", BareCarriageReturn),
    ("bare CR before the request", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareCarriageReturn),
    ("two CRs", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", BareCarriageReturn),
    ("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n", ControlByte),
    ("NUL in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n", ControlByte),
    ("NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", ControlByte),
    ("escape in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[0m\r\n\r\n", ControlByte),
    ("DEL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", ControlByte),
    ("DEL in the target", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", ControlByte),
    ("two empty lines first", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", ExtraEmptyLine),
];

#[rustfmt::skip]
const REQUEST_LINES: &[(&str, &[u8], Violation)] = &[
    ("space first", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", InvalidMethod),
    ("no method", b"/ HTTP/1.1\r\nHost: a\r\n\r\n", InvalidMethod),
    ("method with a colon", b"GET: / HTTP/1.1\r\nHost: a\r\n\r\n", InvalidMethod),
    ("tab after the method", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", InvalidMethod),
    ("method alone", b"GET\r\n\r\n", InvalidMethod),
    ("TLS client hello", b"\x16\x03\x01\x02\x00\x01", ControlByte),
    ("two spaces before the target", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", InvalidTarget),
    ("no target", b"GET \r\n\r\n", InvalidTarget),
    ("tab in the target", b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", InvalidTarget),
    ("UTF-8 in the target", "GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes(), InvalidTarget),
    ("space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", InvalidVersion),
    ("two versions", b"GET /a HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", InvalidVersion),
    ("two spaces before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", InvalidVersion),
    ("space after the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", InvalidVersion),
    ("version in lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n", InvalidVersion),
    ("two-digit minor version", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", InvalidVersion),
    ("two-digit major version", b"GET / HTTP/11.1\r\nHost: a\r\n\r\n", InvalidVersion),
    ("version cut short", b"GET / HTTP/1.\r\nHost: a\r\n\r\n", InvalidVersion),
    ("empty version", b"GET / \r\nHost: a\r\n\r\n", InvalidVersion),
    ("HTTP/0.9", b"GET /\r\n", MissingVersion),
    ("HTTP/0.9 by name", b"GET / HTTP/0.9\r\n\r\n", UnsupportedVersion),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", UnsupportedVersion),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion),
];

#[rustfmt::skip]
const FIELD_LINES: &[(&str, &[u8], Violation)] = &[
    ("folded value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", FoldedLine),
    ("folded with a tab", b"GET / HTTP/1.1\r\nHost: a\r\n\tX: y\r\n\r\n", FoldedLine),
    ("whitespace before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", FoldedLine),
    ("line of spaces", b"GET / HTTP/1.1\r\nHost: a\r\n  \r\n\r\n", FoldedLine),
    ("empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", EmptyFieldName),
    ("space before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", SpaceBeforeColon),
    ("tab before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\t: y\r\n\r\n", SpaceBeforeColon),
    ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nXyz\r\n\r\n", InvalidFieldName),
    ("two words", b"GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", SpaceBeforeColon),
    ("bracket in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX[0]: z\r\n\r\n", InvalidFieldName),
    ("obs-text in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\xa0: z\r\n\r\n", InvalidFieldName),
    ("quote first", b"GET / HTTP/1.1\r\nHost: a\r\n\"X\": z\r\n\r\n", InvalidFieldName),
];

#[rustfmt::skip]
const CONTENT_LENGTHS: &[(&str, &str, Violation)] = &[
    ("plus", "Content-Length: +5", InvalidContentLength),
    ("minus", "Content-Length: -5", InvalidContentLength),
    ("two words", "Content-Length: 5 5", InvalidContentLength),
    ("list", "Content-Length: 5,5", InvalidContentLength),
    ("list with a space", "Content-Length: 5, 5", InvalidContentLength),
    ("hexadecimal", "Content-Length: 0x5", InvalidContentLength),
    ("empty", "Content-Length:", InvalidContentLength),
    ("blank", "Content-Length: \t ", InvalidContentLength),
    ("fraction", "Content-Length: 5.0", InvalidContentLength),
    ("exponent", "Content-Length: 5e1", InvalidContentLength),
    ("quoted", "Content-Length: \"5\"", InvalidContentLength),
    ("separator", "Content-Length: 1_0", InvalidContentLength),
    ("other digits", "Content-Length: \u{665}", InvalidContentLength),
    ("beyond i64", "Content-Length: 9223372036854775808", ContentLengthOverflow),
    ("beyond u64", "Content-Length: 18446744073709551621", ContentLengthOverflow),
    ("equal twice", "Content-Length: 5\r\nContent-Length: 5", RepeatedContentLength),
    ("unequal twice", "Content-Length: 5\r\nX: y\r\ncontent-length: 6", RepeatedContentLength),
    ("zero twice", "Content-Length: 0\r\nContent-Length: 0", RepeatedContentLength),
    ("space before the colon", "Content-Length : 5", SpaceBeforeColon),
    ("folded", "Content-Length:\r\n 5", InvalidContentLength),
    ("vertical tab", "Content-Length: \x0b5", ControlByte),
];

#[rustfmt::skip]
const TRANSFER_ENCODINGS: &[(&str, &str, Violation)] = &[
    ("CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked", ContentLengthWithTransferEncoding),
    ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 6", ContentLengthWithTransferEncoding),
    ("CL of zero and TE", "Content-Length: 0\r\nTransfer-Encoding: chunked", ContentLengthWithTransferEncoding),
    ("TE.TE", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", RepeatedTransferEncoding),
    ("TE.TE with identity", "Transfer-Encoding: chunked\r\nTransfer-encoding: identity", RepeatedTransferEncoding),
    ("TE.TE with cow", "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", UnsupportedTransferEncoding),
    ("identity", "Transfer-Encoding: identity", UnsupportedTransferEncoding),
    ("chunked, identity", "Transfer-Encoding: chunked, identity", UnsupportedTransferEncoding),
    ("identity, chunked", "Transfer-Encoding: identity, chunked", UnsupportedTransferEncoding),
    ("gzip, chunked", "Transfer-Encoding: gzip, chunked", UnsupportedTransferEncoding),
    ("chunked twice", "Transfer-Encoding: chunked, chunked", UnsupportedTransferEncoding),
    ("xchunked", "Transfer-Encoding: xchunked", UnsupportedTransferEncoding),
    ("chunkedx", "Transfer-Encoding: chunkedx", UnsupportedTransferEncoding),
    ("chunk", "Transfer-Encoding: chunk", UnsupportedTransferEncoding),
    ("comma before", "Transfer-Encoding: ,chunked", UnsupportedTransferEncoding),
    ("comma after", "Transfer-Encoding: chunked,", UnsupportedTransferEncoding),
    ("parameter", "Transfer-Encoding: chunked;a=b", UnsupportedTransferEncoding),
    ("quoted", "Transfer-Encoding: \"chunked\"", UnsupportedTransferEncoding),
    ("two words", "Transfer-Encoding: chunked chunked", UnsupportedTransferEncoding),
    ("empty", "Transfer-Encoding:", UnsupportedTransferEncoding),
    ("obs-text", "Transfer-Encoding: chunked\u{a0}", UnsupportedTransferEncoding),
    ("space before the colon", "Transfer-Encoding : chunked", SpaceBeforeColon),
    ("tab before the colon", "Transfer-Encoding\t: chunked", SpaceBeforeColon),
    ("space before the name", " Transfer-Encoding: chunked", FoldedLine),
    ("vertical tab", "Transfer-Encoding: \x0bchunked", ControlByte),
    ("form feed", "Transfer-Encoding: chunked\x0c", ControlByte),
    ("hidden behind a bare LF", "X: y\nTransfer-Encoding: chunked", BareLineFeed),
    ("hidden behind a bare CR", "X: y\rTransfer-Encoding: chunked", BareCarriageReturn),
    ("folded after the name", "Transfer-Encoding:\r\n chunked", UnsupportedTransferEncoding),
    ("folded after the value", "Transfer-Encoding: chunked\r\n , identity", FoldedLine),
];

#[rustfmt::skip]
const HOSTS: &[(&str, &str, Violation)] = &[
    ("none", "X: y", MissingHost),
    ("two", "Host: a\r\nHost: b", RepeatedHost),
    ("the same twice", "Host: a\r\nhost: a", RepeatedHost),
    ("empty", "Host:", EmptyHost),
    ("blank", "Host: \t", EmptyHost),
    ("list", "Host: a,b", InvalidHost),
    ("two words", "Host: a b", InvalidHost),
    ("credentials", "Host: a@b", InvalidHost),
    ("path", "Host: a/b", InvalidHost),
    ("backslash", "Host: a\\b", InvalidHost),
    ("query", "Host: a?b", InvalidHost),
    ("fragment", "Host: a#b", InvalidHost),
    ("percent", "Host: a%2eb", InvalidHost),
    ("obs-text", "Host: b\u{fc}cher", InvalidHost),
    ("two ports", "Host: a:80:81", InvalidHost),
    ("port that is no number", "Host: a:b", InvalidHost),
    ("port alone", "Host: :80", InvalidHost),
    ("open literal", "Host: [::1", InvalidHost),
    ("empty literal", "Host: []", InvalidHost),
    ("text after a literal", "Host: [::1]a", InvalidHost),
    ("stray bracket", "Host: a]", InvalidHost),
    ("IPv6 without brackets", "Host: ::1", InvalidHost),
];

#[rustfmt::skip]
const CHUNKED_BODIES: &[(&str, &[u8], &[u8], Violation)] = &[
    ("prefix", b"0", b"x5\r\nhello\r\n", InvalidChunkSize),
    ("no size", b"", b"\r\n", InvalidChunkSize),
    ("sign", b"", b"+5\r\n", InvalidChunkSize),
    ("minus", b"", b"-1\r\n", InvalidChunkSize),
    ("space first", b"", b" 5\r\n", InvalidChunkSize),
    ("extension without a size", b"", b";a=b\r\n", InvalidChunkSize),
    ("underscore", b"1", b"_0\r\n", InvalidChunkSize),
    ("not hexadecimal", b"5", b"g\r\n", InvalidChunkSize),
    ("bare LF after the size", b"5", b"\nhello\r\n", BareLineFeed),
    ("bare LF first", b"", b"\n5\r\n", BareLineFeed),
    ("bare CR after the size", b"5\r", b"hello\r\n", BareCarriageReturn),
    ("NUL after the size", b"5", b"\0\r\n", ControlByte),
    ("two sizes", b"5 ", b"5\r\n", InvalidChunkExtension),
    ("space after the size", b"5 ", b"\r\nhello\r\n", InvalidChunkExtension),
    ("bare LF in an extension", b"5;a", b"\nhello\r\n", BareLineFeed),
    ("bare CR in an extension", b"5;a\r", b"b\r\nhello\r\n", BareCarriageReturn),
    ("obs-text in an extension", b"5;a", b"\x80\r\n", InvalidChunkExtension),
    ("seventeen digits", b"0000000000000000", b"5\r\n", ChunkSizeOverflow),
    ("beyond i64", b"800000000000000", b"0\r\n", ChunkSizeOverflow),
    ("all ones", b"fffffffffffffff", b"f\r\n", ChunkSizeOverflow),
    ("data too long", b"5\r\nhello", b"!\r\n0\r\n\r\n", MissingChunkEnd),
    ("LF after the data", b"5\r\nhello", b"\n0\r\n\r\n", MissingChunkEnd),
    ("CR alone after the data", b"5\r\nhello\r", b"0\r\n\r\n", MissingChunkEnd),
    ("no line end after the data", b"5\r\nhello", b"0\r\n\r\n", MissingChunkEnd),
    ("LF in the trailers", b"0\r\nX: y", b"\nZ: w\r\n\r\n", BareLineFeed),
    ("LF for the last line", b"0\r\n", b"\n", BareLineFeed),
    ("CR for the last line", b"0\r\n\r", b"GET", BareCarriageReturn),
    ("NUL in a trailer", b"0\r\nX: ", b"\0\r\n\r\n", ControlByte),
    ("folded trailer", b"0\r\nX: y\r\n", b" z\r\n\r\n", FoldedLine),
    ("trailer without a name", b"0\r\n", b": y\r\n\r\n", EmptyFieldName),
    ("space before the colon", b"0\r\nX", b" : y\r\n\r\n", SpaceBeforeColon),
    ("request in place of trailers", b"0\r\nGET", b" / HTTP/1.1\r\n\r\n", SpaceBeforeColon),
    ("length as a trailer", b"0\r\nContent-Length", b": 5\r\n\r\n", ForbiddenTrailer),
    ("coding as a trailer", b"0\r\ntransfer-ENCODING", b": chunked\r\n\r\n", ForbiddenTrailer),
    ("host as a trailer", b"0\r\nA: b\r\nHost", b": b\r\n\r\n", ForbiddenTrailer),
    ("cookie as a trailer", b"0\r\nCookie", b": b\r\n\r\n", ForbiddenTrailer),
];

#[rustfmt::skip]
const ORDINARY: &[(&str, &[u8], u64, u64, Phase)] = &[
    ("nothing", b"", 0, 0, BETWEEN),
    ("GET", GET, 1, 1, BETWEEN),
    ("empty line first", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, 1, BETWEEN),
    ("empty line alone", b"\r\n", 0, 0, Phase::Head { started: true }),
    ("part of a head", b"GET / HTTP/1.1\r\nHo", 0, 0, Phase::Head { started: true }),
    ("HTTP/1.0 without a host", b"GET / HTTP/1.0\r\n\r\n", 1, 1, BETWEEN),
    ("asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 1, 1, BETWEEN),
    ("odd method", b"M-SEARCH! / HTTP/1.1\r\nHost: a\r\n\r\n", 1, 1, BETWEEN),
    ("absolute target", b"GET http://a/b?c=d HTTP/1.1\r\nHost: a\r\n\r\n", 1, 1, BETWEEN),
    ("empty value", b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \r\n\r\n", 1, 1, BETWEEN),
    ("tab and obs-text", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\tb \xe9\r\n\r\n", 1, 1, BETWEEN),
    ("near misses", b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encodings: x\r\nHosts: b\r\nX-Content-Length-Of-Old: 9\r\n\r\n", 1, 1, BETWEEN),
    ("length of zero", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 1, 1, BETWEEN),
    ("largest length", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\nx", 1, 0, Phase::Body),
    ("leading zeros and spaces", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t005 \r\n\r\nhelloGET", 1, 1, Phase::Head { started: true }),
    ("body that looks like a head", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET /\n\n\n\0GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2, 2, BETWEEN),
    ("chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:CHUNKED \r\n\r\n5\r\nhello\r\n0A;x=\"y\"\r\n0123456789\r\n000\r\n\r\n", 1, 1, BETWEEN),
    ("spaced extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \t; a = b ;c\r\n\n\r\n0;z\r\nX-Sum: 1\r\nY:\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2, 2, BETWEEN),
    ("sixteen digits", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nxyz", 1, 0, Phase::Body),
    ("pipelined", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.0\r\n\r\nGET", 3, 3, Phase::Head { started: true }),
];
