//! The ticket a browser carries, and the name its session has in a store.
//!
//! A ticket is 256 random bits. A store never sees it: sessions are kept under a keyed hash, so that a copy of the
//! store signs nobody in, and a guessed or malformed ticket is refused before any store is asked.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Random bytes in a ticket.
pub const TICKET_BYTES: usize = 32;
/// Characters of a ticket as text: base64url without padding (RFC 4648 §5).
pub const TICKET_CHARS: usize = 43;

/// The secret that stands for a session. Its text is only to be had through [`Ticket::reveal`]; `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Ticket([u8; TICKET_BYTES]);

/// Why a text is no ticket. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Too short or too long.
    #[error("a ticket has {TICKET_CHARS} characters, this text has {found}")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// A character outside the base64url alphabet, or bits set behind the last byte.
    #[error("not canonical base64url")]
    Encoding,
}

impl Ticket {
    /// A new ticket from 32 bytes of a cryptographic random source, which the caller draws.
    pub fn from_entropy(entropy: [u8; TICKET_BYTES]) -> Self {
        Self(entropy)
    }

    /// Reads a ticket from a cookie's value. One session has one spelling: what is not canonical is refused.
    ///
    /// # Errors
    /// [`TicketError`], which says what is wrong without repeating the value.
    pub fn parse(text: &[u8]) -> Result<Self, TicketError> {
        if text.len() != TICKET_CHARS {
            return Err(TicketError::Length { found: text.len() });
        }
        let mut bytes = [0; TICKET_BYTES];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(TICKET_BYTES) => Ok(Self(bytes)),
            _ => Err(TicketError::Encoding),
        }
    }

    /// The text for the cookie. The only way to see a ticket.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ticket(hidden)")
    }
}

/// The key of a session in a store: HMAC-SHA-256 of its ticket. Knowing it signs nobody in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey([u8; 32]);

impl StoreKey {
    /// A key from its 32 bytes, as a store read them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes a store keeps.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The session's public handle, `sid`: this key as base64url. It names a session to people and instances.
    pub fn handle(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StoreKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ticket that shows itself in a log line would sign in whoever reads the log.
    #[test]
    fn debug_hides_the_ticket() {
        let ticket = Ticket::from_entropy([7; 32]);
        assert_eq!(format!("{ticket:?}"), "Ticket(hidden)");
        let error = Ticket::parse(b"secret-looking").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    /// Two spellings of one ticket would be two cache entries, two log identities, and a way round a denylist.
    #[test]
    fn only_the_canonical_spelling_parses() {
        let text = Ticket::from_entropy([0xff; 32]).reveal();
        assert_eq!(text.len(), TICKET_CHARS);
        assert!(Ticket::parse(text.as_bytes()).is_ok());
        let mut twisted = text.clone().into_bytes();
        *twisted.last_mut().unwrap() = b'9';
        assert_eq!(Ticket::parse(&twisted), Err(TicketError::Encoding));
        assert_eq!(Ticket::parse(format!("{text}=").as_bytes()), Err(TicketError::Length { found: 44 }));
        assert_eq!(Ticket::parse(b""), Err(TicketError::Length { found: 0 }));
        assert_eq!(Ticket::parse(&[b'+'; 43]), Err(TicketError::Encoding));
    }

    proptest::proptest! {
        /// Bytes from the network must never panic, and whatever parses must round-trip.
        #[test]
        fn parsing_is_total_and_exact(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            if let Ok(ticket) = Ticket::parse(&bytes) {
                proptest::prop_assert_eq!(ticket.reveal().into_bytes(), bytes);
            }
        }

        #[test]
        fn every_ticket_round_trips(entropy in proptest::array::uniform32(proptest::num::u8::ANY)) {
            let ticket = Ticket::from_entropy(entropy);
            proptest::prop_assert_eq!(Ticket::parse(ticket.reveal().as_bytes()), Ok(ticket));
        }
    }
}
