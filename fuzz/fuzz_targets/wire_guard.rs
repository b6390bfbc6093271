//! If the guard's verdict depended on where the network happens to cut a request, an attacker who chooses the cuts
//! would choose the verdict: a smuggled request refused in one packet would pass in two. And an offset outside its
//! slice, or a head counted as bigger than its bound, would end the worker that serves everybody else.
//!
//! The first byte of the input picks limits and cuts, the rest is the stream.

#![no_main]

use cloakroom_wire::{Delivered, Limits, Outcome, Phase, Refused, RequestGuard, Violation, guard_in_pieces};
use libfuzzer_sys::fuzz_target;

/// Pieces that are drawn before the rest of a stream is given at once.
const CUTS_MAX: usize = 64;
/// Small enough that short inputs reach them.
const TIGHT: Limits = Limits { head_bytes: 96, headers: 3 };

fuzz_target!(|input: &[u8]| {
    let Some((&choice, stream)) = input.split_first() else { return };
    let limits = if choice & 1 == 0 { Limits::default() } else { TIGHT };
    let whole = walk(stream, limits, &[], UpgradeAnswer::Never);
    let byte_by_byte = vec![1; stream.len()];
    for cuts in [&byte_by_byte[..], &cuts_from(choice)] {
        assert_eq!(walk(stream, limits, cuts, UpgradeAnswer::Never), whole, "cuts {cuts:?}");
    }
    if limits == Limits::default() {
        assert_eq!(outcome_by_crate(stream), whole);
    }
    // An answer comes between two slices, so that only a fixed cut can be asked for, and only safety asserted.
    walk(stream, limits, &byte_by_byte, UpgradeAnswer::Accepted);
    walk(stream, limits, &byte_by_byte, UpgradeAnswer::Declined);
});

#[derive(Clone, Copy)]
enum UpgradeAnswer {
    Never,
    Accepted,
    Declined,
}

#[derive(Debug, PartialEq)]
struct Verdict {
    heads: u64,
    messages: u64,
    boundary: usize,
    phase: Phase,
    violation: Option<Violation>,
}

/// Gives the stream in pieces and checks every answer on the way.
fn walk(stream: &[u8], limits: Limits, cuts: &[u16], answer: UpgradeAnswer) -> Verdict {
    let mut guard = RequestGuard::new(limits);
    let (mut at, mut heads, mut messages) = (0, 0, 0);
    let mut cuts = cuts.iter();
    while at < stream.len() {
        let rest = &stream[at..];
        let piece = cuts.next().map_or(rest, |cut| &rest[..rest.len().min(usize::from(*cut))]);
        let held_back = guard.unfinished_head_bytes();
        match guard.advance(piece) {
            Ok(progress) => {
                heads += u64::from(progress.heads_completed);
                messages += u64::from(progress.messages_completed);
                assert!(guard.unfinished_head_bytes() <= limits.head_bytes.min(held_back + piece.len()));
                assert_ne!(guard.phase(), Phase::Refused);
            }
            Err(refused) => {
                heads += u64::from(refused.progress.heads_completed);
                messages += u64::from(refused.progress.messages_completed);
                let taken_back = check_refusal(&refused, piece, held_back);
                check_nothing_passes_after(&mut guard, &refused);
                let (phase, violation) = (guard.phase(), Some(refused.violation));
                return Verdict { heads, messages, boundary: at + refused.offset - taken_back, phase, violation };
            }
        }
        assert!(messages <= heads, "{messages} messages of {heads} heads");
        at += piece.len();
        match answer {
            UpgradeAnswer::Never => {}
            UpgradeAnswer::Accepted => guard.upgrade_accepted(),
            UpgradeAnswer::Declined => guard.upgrade_declined(),
        }
    }
    Verdict { heads, messages, boundary: stream.len(), phase: guard.phase(), violation: None }
}

/// The offset lies inside the piece and agrees with what is said to be delivered. Answers with the bytes of the
/// refused head that earlier pieces carried.
fn check_refusal(refused: &Refused, piece: &[u8], held_back: usize) -> usize {
    assert!(refused.offset < piece.len(), "{refused:?} in a piece of {} bytes", piece.len());
    assert!(matches!(refused.violation.status(), 400..=599));
    match refused.delivered {
        Delivered::PartOfHead { head_bytes } => {
            assert_eq!((refused.offset, head_bytes), (0, held_back));
            assert!(head_bytes > 0);
            head_bytes
        }
        Delivered::Nothing | Delivered::PartOfBody | Delivered::UpgradeRequest => 0,
    }
}

fn check_nothing_passes_after(guard: &mut RequestGuard, first: &Refused) {
    assert_eq!(guard.phase(), Phase::Refused);
    guard.upgrade_accepted();
    guard.upgrade_declined();
    for later in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"\r\n", b""] {
        match guard.advance(later) {
            Ok(progress) => panic!("{progress:?} after {first:?}"),
            Err(again) => assert_eq!((again.offset, again.violation), (0, first.violation)),
        }
    }
}

fn outcome_by_crate(stream: &[u8]) -> Verdict {
    let Outcome { heads_completed: heads, messages_completed: messages, boundary, phase, violation } =
        guard_in_pieces(stream, &[]);
    Verdict { heads, messages, boundary, phase, violation }
}

/// Lengths of 0 to 15, the same for the same choice (xorshift, Marsaglia 2003).
fn cuts_from(choice: u8) -> Vec<u16> {
    let mut state = u32::from(choice) << 8 | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 16) as u16 & 15
    };
    (0..CUTS_MAX).map(|_| next()).collect()
}
