//! What a caller builds on: offsets, what was delivered, limits, and the answers to upgrades.

use cloakroom_wire::{
    CHUNK_EXTENSION_BYTES_MAX, CHUNK_EXTENSION_TOTAL_BYTES_MAX, Delivered, Limits, Phase, Progress, RequestGuard,
    Violation,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const WEBSOCKET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn guard() -> RequestGuard {
    RequestGuard::new(Limits::default())
}

/// The engine would answer the first half of a refused head, had it been delivered with the request before it.
#[test]
fn a_refused_head_is_taken_back_whole() {
    let bad = b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n";
    let refused = guard().advance(&[GET, GET, bad].concat()).unwrap_err();
    assert_eq!(refused.offset, 2 * GET.len());
    assert_eq!(refused.delivered, Delivered::Nothing);
    assert_eq!(refused.progress, Progress { heads_completed: 2, messages_completed: 2 });
    assert_eq!(std::error::Error::source(&refused).unwrap().to_string(), Violation::SpaceBeforeColon.to_string());
}

/// A head that began in an earlier slice cannot be taken back: the caller must learn that, and how much is out.
#[test]
fn a_refused_head_says_what_was_delivered_before() {
    let mut guard = guard();
    guard.advance(&[GET, b"GET / HTTP/1.1\r\n"].concat()).unwrap();
    assert_eq!(guard.phase(), Phase::Head { started: true });
    let refused = guard.advance(b"Host: a\nX: y\r\n\r\n").unwrap_err();
    assert_eq!(refused.offset, 0);
    assert_eq!(refused.delivered, Delivered::PartOfHead { head_bytes: 16 });
    assert_eq!(refused.progress, Progress::default());
}

/// After a refusal the stream has no meaning, and no later slice, answer or empty read may bring it back.
#[test]
fn a_refusal_is_final() {
    let mut guard = guard();
    let first = guard.advance(&[CHUNKED, b"zz"].concat()).unwrap_err();
    assert_eq!((first.offset, first.delivered), (CHUNKED.len(), Delivered::PartOfBody));
    guard.upgrade_accepted();
    guard.upgrade_declined();
    for slice in [GET, b""] {
        let again = guard.advance(slice).unwrap_err();
        assert_eq!((again.offset, again.violation), (0, Violation::InvalidChunkSize));
        assert_eq!(guard.phase(), Phase::Refused);
    }
}

/// A tunnel must not be read as HTTP once it is one, and HTTP not as a tunnel when the answer was no.
#[test]
fn upgrades_follow_the_answer() {
    let mut accepted = guard();
    accepted.advance(WEBSOCKET).unwrap();
    assert_eq!(accepted.phase(), Phase::AwaitingUpgrade);
    accepted.advance(b"").unwrap();
    accepted.upgrade_accepted();
    assert_eq!(accepted.advance(b"\x81\x00\r\n\0").unwrap(), Progress::default());
    assert_eq!(accepted.phase(), Phase::Passthrough);

    let mut declined = guard();
    declined.advance(WEBSOCKET).unwrap();
    declined.upgrade_declined();
    assert_eq!(declined.advance(GET).unwrap().heads_completed, 1);
    assert_eq!(declined.phase(), Phase::Head { started: false });
    declined.upgrade_accepted();
    assert!(declined.advance(b"\x81\x00").is_err());

    let mut early = guard();
    let refused = early.advance(&[WEBSOCKET, GET].concat()).unwrap_err();
    assert_eq!((refused.offset, refused.violation), (WEBSOCKET.len(), Violation::EarlyUpgradeBytes));
    assert_eq!((refused.delivered, refused.progress.heads_completed), (Delivered::UpgradeRequest, 1));
}

/// Runs a stream whole and byte by byte and gives the one violation both found.
fn violation_under(limits: Limits, stream: &[u8]) -> Option<Violation> {
    let whole = RequestGuard::new(limits).advance(stream).err().map(|refused| refused.violation);
    let mut bytewise = RequestGuard::new(limits);
    let by_bytes = stream.iter().find_map(|byte| bytewise.advance(&[*byte]).err());
    assert_eq!(by_bytes.map(|refused| refused.violation), whole);
    whole
}

/// A head without end would hold a connection and its buffer for ever; one off by one would refuse a fair client.
#[test]
fn limits_hold_to_the_byte() {
    let large = Some(Violation::HeadTooLarge);
    let many = Some(Violation::TooManyHeaders);
    let limits = |head_bytes, headers| Limits { head_bytes, headers };
    assert_eq!(violation_under(limits(GET.len(), 1), GET), None);
    assert_eq!(violation_under(limits(GET.len() - 1, 1), GET), large);
    assert_eq!(violation_under(limits(GET.len(), 0), GET), many);
    assert_eq!(violation_under(limits(GET.len(), 1), &[b"\r\n", GET].concat()), large);
    assert_eq!(violation_under(limits(GET.len(), 1), &[GET, GET, GET].concat()), None);

    let three = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n";
    assert_eq!(violation_under(limits(100, 3), three), None);
    assert_eq!(violation_under(limits(100, 2), three), many);

    let endless_target = [b"GET /".as_slice(), &[b'a'; 200]].concat();
    assert_eq!(violation_under(limits(100, 3), &endless_target), large);
    let endless_value = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 200]].concat();
    assert_eq!(violation_under(limits(100, 3), &endless_value), large);
}

/// Trailers are a second head that the engine buffers too.
#[test]
fn trailers_share_the_limits_of_heads() {
    let limits = Limits { head_bytes: CHUNKED.len(), headers: 2 };
    let with_trailers = |trailers: &[u8]| [CHUNKED, b"0\r\n", trailers, b"\r\n"].concat();
    assert_eq!(violation_under(limits, &with_trailers(b"A: b\r\nC: d\r\n")), None);
    assert_eq!(violation_under(limits, &with_trailers(b"A: b\r\nC: d\r\nE: f\r\n")), Some(Violation::TooManyHeaders));
    let fill = |bytes: usize| format!("A: {}\r\n", "x".repeat(bytes - 5)).into_bytes();
    assert_eq!(violation_under(limits, &with_trailers(&fill(CHUNKED.len() - 2))), None);
    assert_eq!(violation_under(limits, &with_trailers(&fill(CHUNKED.len() - 1))), Some(Violation::HeadTooLarge));
}

/// Extensions carry nothing: a client that sends megabytes of them wants to cost work.
#[test]
fn chunk_extensions_are_bounded_one_by_one_and_together() {
    let longest = usize::from(CHUNK_EXTENSION_BYTES_MAX);
    let chunk = |bytes: usize| format!("1;{}\r\nx\r\n", "e".repeat(bytes - 1)).into_bytes();
    let stream = |chunk: &[u8], count: usize| [CHUNKED, &chunk.repeat(count), b"0\r\n\r\n"].concat();
    let verdict = |stream: &[u8]| violation_under(Limits::default(), stream);
    assert_eq!(verdict(&stream(&chunk(longest), 1)), None);
    assert_eq!(verdict(&stream(&chunk(longest + 1), 1)), Some(Violation::ChunkExtensionTooLong));

    let count = CHUNK_EXTENSION_TOTAL_BYTES_MAX as usize / longest;
    assert_eq!(verdict(&stream(&chunk(longest), count)), None);
    assert_eq!(verdict(&stream(&chunk(longest), count + 1)), Some(Violation::ChunkExtensionsTooLong));
    let two_bodies = stream(&chunk(longest), count).repeat(2);
    assert_eq!(verdict(&two_bodies), None);
}

/// The guard sits in every connection's state; a boxed or bloated one would cost each idle connection.
#[test]
fn a_guard_is_small() {
    assert!(size_of::<RequestGuard>() <= 160, "{}", size_of::<RequestGuard>());
}
