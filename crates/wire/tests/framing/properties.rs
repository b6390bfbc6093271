//! What holds for every stream and every cut.

use cloakroom_wire::{Limits, Phase, RequestGuard, guard_in_pieces};
use proptest::prelude::*;

use crate::reference::{Verdict, judge};
use crate::requests::{apply, edit, request};

fn cuts() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(prop_oneof![0_u16..4, 0_u16..200], 0..40)
}

fn spoiled_stream() -> impl Strategy<Value = Vec<u8>> {
    let requests = prop::collection::vec(request(), 1..4);
    (requests, prop::collection::vec(edit(), 0..4)).prop_map(|(requests, edits)| {
        let mut stream = requests.concat();
        edits.iter().for_each(|edit| apply(&mut stream, edit));
        stream
    })
}

/// Compares the guard with the reference; `Err` is what they disagree about.
fn compare(stream: &[u8]) -> Result<(), TestCaseError> {
    let outcome = guard_in_pieces(stream, &[]);
    let refused = outcome.violation.is_some();
    match judge(stream) {
        Verdict::Passes { heads } => {
            // A beginning of trailers is not judged by the reference, but never ends a message.
            let in_body = outcome.messages_completed < heads;
            prop_assert_eq!(outcome.heads_completed, heads);
            prop_assert!(!refused || in_body, "{:?}", outcome);
        }
        Verdict::HeadIncomplete { heads, head_start } => {
            prop_assert_eq!(outcome.heads_completed, heads);
            prop_assert!(outcome.boundary == if refused { head_start } else { stream.len() }, "{:?}", outcome);
        }
        Verdict::BadHead { heads, head_start } => {
            prop_assert!(refused);
            prop_assert_eq!((outcome.heads_completed, outcome.boundary), (heads, head_start));
        }
        Verdict::BadBody { heads, body_start } => {
            prop_assert!(refused);
            prop_assert_eq!(outcome.heads_completed, heads);
            prop_assert!(outcome.boundary >= body_start);
        }
        Verdict::EarlyBytes { heads, start } => {
            prop_assert!(refused);
            prop_assert_eq!((outcome.heads_completed, outcome.boundary), (heads, start));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// A guard that panics, or points outside the slice, takes the gateway down with one packet.
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200), pieces in cuts()) {
        let outcome = guard_in_pieces(&bytes, &pieces);
        prop_assert!(outcome.boundary <= bytes.len());
        let mut guard = RequestGuard::new(Limits::default());
        if let Err(refused) = guard.advance(&bytes) {
            prop_assert!(refused.offset < bytes.len());
            prop_assert_eq!(guard.phase(), Phase::Refused);
        }
    }

    /// An attacker who can change the verdict with the size of packets has two parsers again.
    #[test]
    fn cuts_change_nothing(stream in spoiled_stream(), pieces in cuts()) {
        let whole = guard_in_pieces(&stream, &[]);
        prop_assert_eq!(guard_in_pieces(&stream, &pieces), whole);
        prop_assert_eq!(guard_in_pieces(&stream, &vec![1; stream.len()]), whole);
    }

    /// What comes before the boundary must be valid by itself, or a delivered byte was an invalid one.
    #[test]
    fn what_is_delivered_is_valid(stream in spoiled_stream()) {
        let outcome = guard_in_pieces(&stream, &[]);
        let delivered = guard_in_pieces(&stream[..outcome.boundary], &[]);
        prop_assert_eq!(delivered.violation, None);
        prop_assert_eq!(delivered.heads_completed, outcome.heads_completed);
    }

    /// A guard that loses count of valid requests would take a body for a head.
    #[test]
    fn valid_requests_are_counted(requests in prop::collection::vec(request(), 0..6), pieces in cuts()) {
        let outcome = guard_in_pieces(&requests.concat(), &pieces);
        prop_assert_eq!(outcome.violation, None);
        prop_assert_eq!(outcome.heads_completed, requests.len() as u64);
        prop_assert_eq!(outcome.messages_completed, requests.len() as u64);
        prop_assert_eq!(outcome.phase, Phase::Head { started: false });
    }

    /// A rule that both scanners of the guard get wrong is found only by a reader that shares no code with them.
    #[test]
    fn the_guard_agrees_with_the_reference(stream in spoiled_stream()) {
        compare(&stream)?;
    }
}
