//! Sessions as pure logic: what a session is, how it changes, when it ends, and how it is named.
//!
//! Nothing here reads a clock, draws a random number, opens a socket or a file: `now` and entropy are arguments, so
//! that every rule can be tested at any moment of any day. Stores and gateways carry out what this crate decides.
//!
//! | module | holds |
//! | --- | --- |
//! | [`ticket`] | the secret in the browser, the key it has in a store |
//! | [`record`] | a session at rest, and its byte format |
//! | [`delta`] | a change to a session's fields, parsed from an instance's answer |
//! | [`lifecycle`] | alive, expired or revoked; when a touch is due |
//! | [`cookie`] | reading and stripping `Cookie`, writing `Set-Cookie` |
//! | [`key_ring`] | the secrets all gateways of a fleet share, and the keys derived from them |
//! | [`seal`] | small authenticated-encrypted values for cookies |
//! | [`token`] | what an instance is told about a session |

pub mod cookie;
pub mod delta;
pub mod key_ring;
pub mod lifecycle;
pub mod record;
pub mod seal;
pub mod ticket;
pub mod time;
pub mod token;

pub use delta::{Delta, DeltaError, FieldName, FieldValue};
pub use key_ring::{KeyRing, KeyRingError};
pub use lifecycle::{Lifetimes, Standing};
pub use record::{Principal, Record, RecordError};
pub use seal::SealError;
pub use ticket::{StoreKey, Ticket, TicketError};
pub use time::Timestamp;
