//! The guard of one connection: which part of which message the next byte belongs to, and whether it may pass.

use crate::chunked::{Broken, ChunkScan};
use crate::facts::Next;
use crate::fast::complete_head;
use crate::field::Flow;
use crate::head::HeadScan;
use crate::violation::Violation;

/// Watches the bytes that one client sends on one connection. Small, and never on the heap.
///
/// Give it every slice that was read, in order, before anyone else sees it. On `Ok` the whole slice may be
/// delivered; on [`Refused`] only what comes before the offset, and nothing ever after.
#[derive(Debug, Clone)]
pub struct RequestGuard {
    limits: Limits,
    state: State,
}

/// What a head may measure. Beyond it the answer is 431.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a head, from its first byte to the end of its empty line; also of a trailer section.
    pub head_bytes: usize,
    /// The most field lines of a head; also of a trailer section.
    pub headers: usize,
}

/// What a slice brought to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Request heads that ended in the slice.
    pub heads_completed: u32,
    /// Requests whose last byte, body and trailers included, was in the slice.
    pub messages_completed: u32,
}

/// The stream broke a rule. The guard refuses everything from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request stream was refused at byte {offset} of the slice")]
pub struct Refused {
    /// Index into the slice of the first byte that must not be delivered. What comes before it belongs to
    /// earlier requests, complete and valid, or to the valid part of this one's body.
    ///
    /// A violation in a head takes the whole head back: the offset is where the head begins in this slice, and 0
    /// if it began in an earlier one, which [`delivered`](Self::delivered) then says.
    pub offset: usize,
    /// The rule that was broken.
    #[source]
    pub violation: Violation,
    /// What the reader behind the guard has seen of the refused request, if it was given all up to the offset.
    pub delivered: Delivered,
    /// What the part of the slice before the offset brought to its end.
    pub progress: Progress,
}

/// How much of a refused request the reader behind the guard already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// Nothing: the reader stands between two requests, and the refusal can be answered after the replies that
    /// are still owed.
    Nothing,
    /// The beginning of its head, in earlier slices. The caller must make sure that the reader never takes the
    /// head for complete: end the stream, or hand it a byte no head may hold (NUL) in place of the rest.
    PartOfHead {
        /// Bytes of the head in earlier slices.
        head_bytes: usize,
    },
    /// Its head and the valid part of its body. The caller must end the stream, so that the body stays
    /// incomplete.
    PartOfBody,
    /// The whole of a request for an upgrade, which is valid; the refused bytes came after it.
    UpgradeRequest,
}

/// Where in the stream the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// In a request head, or between two requests.
    Head {
        /// Whether a byte of the head has been seen, an empty line before it included.
        started: bool,
    },
    /// In a body, its chunk framing and trailers included.
    Body,
    /// After a request for an upgrade, before its answer: no byte may come.
    AwaitingUpgrade,
    /// After an accepted upgrade: the bytes are another protocol's.
    Passthrough,
    /// After a violation.
    Refused,
}

#[derive(Debug, Clone)]
enum State {
    Head(HeadScan),
    FixedBody { remaining_bytes: u64 },
    ChunkedBody(ChunkScan),
    AwaitingUpgrade,
    Passthrough,
    Refused { violation: Violation, delivered: Delivered },
}

impl Default for Limits {
    /// 32 KiB and 100 fields: what common servers take.
    fn default() -> Self {
        Self { head_bytes: 32 * 1024, headers: 100 }
    }
}

impl RequestGuard {
    /// A guard for a connection on which nothing was sent yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, state: State::Head(HeadScan::new()) }
    }

    /// Examines the next bytes of the stream. How the stream is split into slices changes neither the verdict
    /// nor the boundary.
    ///
    /// # Errors
    /// [`Refused`] at the first violation, and for every slice after it (at offset 0, with the same violation).
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, Refused> {
        let mut progress = Progress::default();
        if let State::Refused { violation, delivered } = self.state {
            return Err(Refused { offset: 0, violation, delivered, progress });
        }
        let mut at = 0;
        while at < bytes.len() {
            match self.step(&bytes[at..], &mut progress) {
                Ok(taken) => at += taken,
                Err(stop) => {
                    let Stop { at: place, violation, delivered } = stop;
                    self.state = State::Refused { violation, delivered };
                    return Err(Refused { offset: at + place, violation, delivered, progress });
                }
            }
        }
        Ok(progress)
    }

    /// Where in the stream the next byte stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match &self.state {
            State::Head(head) => Phase::Head { started: head.bytes > 0 },
            State::FixedBody { .. } | State::ChunkedBody(_) => Phase::Body,
            State::AwaitingUpgrade => Phase::AwaitingUpgrade,
            State::Passthrough => Phase::Passthrough,
            State::Refused { .. } => Phase::Refused,
        }
    }

    /// Bytes at the end of what was examined that belong to a head that is not whole yet; 0 elsewhere. A caller that
    /// holds these back lets its reader see whole heads only.
    #[must_use]
    pub const fn unfinished_head_bytes(&self) -> usize {
        match &self.state {
            State::Head(head) => head.bytes,
            _ => 0,
        }
    }

    /// The upgrade was answered with 101, or the `CONNECT` with success: everything from now on is opaque.
    /// Without effect unless the guard is awaiting that answer.
    pub const fn upgrade_accepted(&mut self) {
        if let State::AwaitingUpgrade = self.state {
            self.state = State::Passthrough;
        }
    }

    /// The upgrade was answered otherwise: the next bytes are a request head again. Without effect unless the
    /// guard is awaiting that answer.
    pub const fn upgrade_declined(&mut self) {
        if let State::AwaitingUpgrade = self.state {
            self.state = State::Head(HeadScan::new());
        }
    }

    /// Takes the bytes of one part of one message, and says how many those were. The slice is never empty.
    #[inline]
    fn step(&mut self, bytes: &[u8], progress: &mut Progress) -> Result<usize, Stop> {
        match &mut self.state {
            State::Head(head) => {
                if head.bytes == 0
                    && let Some((taken, next)) = complete_head(bytes, &self.limits)
                {
                    // The scan is still untouched, and serves for the next head.
                    if next != Next::Head {
                        self.state = State::after(next);
                    }
                    progress.count_head(next);
                    return Ok(taken);
                }
                self.step_head(bytes, progress)
            }
            State::FixedBody { remaining_bytes } => {
                // What is taken is at most the slice, so the cast back loses nothing.
                let taken = (*remaining_bytes).min(bytes.len() as u64);
                *remaining_bytes -= taken;
                if *remaining_bytes == 0 {
                    self.state = State::Head(HeadScan::new());
                    progress.messages_completed += 1;
                }
                Ok(taken as usize)
            }
            State::ChunkedBody(chunks) => {
                let taken = chunks.take(bytes, &self.limits)?;
                if taken.flow == Flow::Done {
                    self.state = State::Head(HeadScan::new());
                    progress.messages_completed += 1;
                }
                Ok(taken.bytes)
            }
            State::AwaitingUpgrade => {
                Err(Stop { at: 0, violation: Violation::EarlyUpgradeBytes, delivered: Delivered::UpgradeRequest })
            }
            State::Passthrough => Ok(bytes.len()),
            State::Refused { violation, delivered } => {
                Err(Stop { at: 0, violation: *violation, delivered: *delivered })
            }
        }
    }

    #[inline(never)]
    fn step_head(&mut self, bytes: &[u8], progress: &mut Progress) -> Result<usize, Stop> {
        let State::Head(head) = &mut self.state else {
            return Ok(0);
        };
        let delivered = match head.bytes {
            0 => Delivered::Nothing,
            head_bytes => Delivered::PartOfHead { head_bytes },
        };
        let stop = |violation| Stop { at: 0, violation, delivered };
        let taken = head.take(bytes, &self.limits).map_err(stop)?;
        if taken.flow == Flow::Done {
            let next = head.facts.conclude().map_err(stop)?;
            self.state = State::after(next);
            progress.count_head(next);
        }
        Ok(taken.bytes)
    }
}

impl State {
    const fn after(next: Next) -> Self {
        match next {
            Next::Head => Self::Head(HeadScan::new()),
            Next::FixedBody(remaining_bytes) => Self::FixedBody { remaining_bytes },
            Next::ChunkedBody => Self::ChunkedBody(ChunkScan::new()),
            Next::AwaitUpgrade => Self::AwaitingUpgrade,
        }
    }
}

impl Progress {
    const fn count_head(&mut self, next: Next) {
        self.heads_completed += 1;
        if let Next::Head | Next::AwaitUpgrade = next {
            self.messages_completed += 1;
        }
    }
}

/// A violation at a place of the slice that one step was given.
struct Stop {
    at: usize,
    violation: Violation,
    delivered: Delivered,
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self { at: broken.at, violation: broken.violation, delivered: Delivered::PartOfBody }
    }
}
