//! One reading of a request, or none.
//!
//! Request smuggling needs two parsers that disagree about where a request ends. An HTTP engine is written to
//! be lenient: it takes a bare line feed for a line end, two equal `Content-Length` fields for one, and
//! `Transfer-Encoding` beside `Content-Length` for a reason to shrug. This crate stands in front of it. It
//! watches the bytes a client sends on an HTTP/1.1 connection, knows where every head, body, chunk and trailer
//! begins, and refuses whatever RFC 9112 leaves to the taste of the recipient.
//!
//! [`RequestGuard`] takes bytes as they come, however they are split, keeps no buffer on the heap, reads no
//! clock and does no I/O. It never changes a byte: it says how many may pass.
//!
//! ```
//! use cloakroom_wire::{Limits, RequestGuard, Violation};
//!
//! let mut guard = RequestGuard::new(Limits::default());
//! let progress = guard.advance(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")?;
//! assert_eq!(progress.heads_completed, 1);
//!
//! let smuggled = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
//! let refused = guard.advance(smuggled).unwrap_err();
//! assert_eq!(refused.offset, 0);
//! assert_eq!(refused.violation, Violation::ContentLengthWithTransferEncoding);
//! assert_eq!(refused.violation.status(), 400);
//! # Ok::<(), cloakroom_wire::Refused>(())
//! ```
//!
//! Two scanners read heads. The fast one takes a whole head at once, and only heads that are plainly right; on
//! any doubt it steps aside for the exact one, which goes byte by byte and names the violation. So the verdict
//! has one author, and tests hold the two together.

mod chunked;
mod class;
mod facts;
mod fast;
mod field;
mod guard;
mod head;
mod pieces;
mod value;
mod violation;
mod words;

pub use chunked::{CHUNK_EXTENSION_BYTES_MAX, CHUNK_EXTENSION_TOTAL_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX};
pub use facts::BODY_BYTES_MAX;
pub use guard::{Delivered, Limits, Phase, Progress, Refused, RequestGuard};
pub use pieces::{Outcome, guard_in_pieces};
pub use violation::Violation;
