//! The guard over a recorded stream, for tests and fuzzing: one stream has one outcome, however it is cut.

use crate::guard::{Delivered, Limits, Phase, Progress, Refused, RequestGuard};
use crate::violation::Violation;

/// What a guard made of a whole stream, in terms that do not depend on how it was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Request heads that were let through.
    pub heads_completed: u64,
    /// Requests that were let through whole.
    pub messages_completed: u64,
    /// The length of the longest beginning of the stream that is valid: the start of the head, or the byte of
    /// the body, that was refused; the length of the stream if nothing was.
    pub boundary: usize,
    /// Where the guard stands after the last byte.
    pub phase: Phase,
    /// The violation, if one was found.
    pub violation: Option<Violation>,
}

/// Gives a guard with the default limits the stream in pieces of the given lengths, then the rest in one, and
/// answers no upgrade.
///
/// A fuzz target takes `bytes` and `cuts` from its input and asserts that the outcome equals the one of `&[]`.
#[must_use]
pub fn guard_in_pieces(bytes: &[u8], cuts: &[u16]) -> Outcome {
    let mut guard = RequestGuard::new(Limits::default());
    let mut outcome = Outcome {
        heads_completed: 0,
        messages_completed: 0,
        boundary: bytes.len(),
        phase: guard.phase(),
        violation: None,
    };
    let mut at = 0;
    let mut cuts = cuts.iter();
    while at < bytes.len() {
        let rest = &bytes[at..];
        let piece = match cuts.next() {
            Some(cut) => &rest[..rest.len().min(usize::from(*cut))],
            None => rest,
        };
        match guard.advance(piece) {
            Ok(progress) => outcome.add(progress),
            Err(refused) => {
                outcome.add(refused.progress);
                outcome.boundary = at + refused.offset - taken_back(&refused);
                outcome.violation = Some(refused.violation);
                break;
            }
        }
        at += piece.len();
    }
    outcome.phase = guard.phase();
    outcome
}

/// Bytes before the offset that a violation in a head makes invalid with the rest of it.
const fn taken_back(refused: &Refused) -> usize {
    match refused.delivered {
        Delivered::PartOfHead { head_bytes } => head_bytes,
        Delivered::Nothing | Delivered::PartOfBody | Delivered::UpgradeRequest => 0,
    }
}

impl Outcome {
    fn add(&mut self, progress: Progress) {
        self.heads_completed += u64::from(progress.heads_completed);
        self.messages_completed += u64::from(progress.messages_completed);
    }
}
