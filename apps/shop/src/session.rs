//! What the shop knows of a visitor, and the one door through which handlers reach it: they neither
//! know nor ask where sessions are kept.

use std::collections::BTreeMap;

use hyper::HeaderMap;

use crate::catalogue::Product;
use crate::gateway_session::{GatewaySessions, HeaderFault};
use crate::jwks::KeysUnavailable;
use crate::memory_session::MemorySessions;

/// The most of one product that fits into a cart.
pub(crate) const QUANTITY_MAX: u8 = 99;
/// The longest name of a visitor, in characters.
pub(crate) const NAME_CHARS_MAX: usize = 40;

/// Quantities by product id; never a zero.
pub(crate) type Cart = BTreeMap<&'static str, u8>;

/// What the shop knows of one visitor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// The name they logged in with; anonymous visitors have none.
    pub(crate) user: Option<String>,
    pub(crate) cart: Cart,
}

/// One thing a visitor can do to their session.
#[derive(Debug)]
pub(crate) enum Change {
    /// The cart stays: what was chosen before the log-in is still wanted after it.
    LogIn(VisitorName),
    /// Ends the session, cart included.
    LogOut,
    /// Sets rather than adds, so that doing it twice does no harm.
    SetQuantity { product: &'static Product, quantity: Quantity },
}

impl Visitor {
    /// The visitor once `change` is done.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::LogIn(name) => self.user = Some(name.0.clone()),
            Change::LogOut => *self = Self::default(),
            Change::SetQuantity { product, quantity: Quantity(0) } => {
                self.cart.remove(product.id);
            }
            Change::SetQuantity { product, quantity } => {
                self.cart.insert(product.id, quantity.0);
            }
        }
    }
}

/// A quantity from 0 to [`QUANTITY_MAX`]; 0 means "none, take it out".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantity(pub(crate) u8);

impl Quantity {
    /// The quantity, unless it is out of bounds.
    pub(crate) fn new(count: u64) -> Option<Self> {
        let count = u8::try_from(count).ok()?;
        (count <= QUANTITY_MAX).then_some(Self(count))
    }
}

/// A visitor's name: 1 to [`NAME_CHARS_MAX`] printable characters with no blanks around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VisitorName(String);

impl VisitorName {
    /// The name, trimmed, unless it is empty, too long or holds a character nobody can see.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = (1..=NAME_CHARS_MAX).contains(&text.chars().count());
        (fits && text.chars().all(is_printable)).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A session that could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("the session header from the gateway cannot be believed")]
    Header(#[source] HeaderFault),
    #[error("the gateway's keys cannot be fetched, so its session header cannot be checked")]
    Keys(#[from] Box<KeysUnavailable>),
    #[error("the operating system gave no randomness for a session id")]
    Randomness(#[source] std::io::Error),
}

/// Where sessions are kept.
#[derive(Debug)]
pub(crate) enum Sessions {
    Memory(MemorySessions),
    Gateway(GatewaySessions),
}

impl Sessions {
    /// Who sent a request with these headers.
    pub(crate) async fn visitor(&self, headers: &HeaderMap) -> Result<Visitor, SessionError> {
        match self {
            Self::Memory(memory) => Ok(memory.visitor(headers)),
            Self::Gateway(gateway) => gateway.visitor(headers).await,
        }
    }

    /// Carries `change` out. Returns the visitor as they are afterwards, and the headers that the
    /// answer must carry for the change to last.
    pub(crate) async fn change(
        &self,
        headers: &HeaderMap,
        change: Change,
    ) -> Result<(Visitor, HeaderMap), SessionError> {
        match self {
            Self::Memory(memory) => memory.change(headers, &change),
            Self::Gateway(gateway) => gateway.change(headers, &change).await,
        }
    }

    /// The word for this design in the JSON API.
    pub(crate) fn design_word(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Gateway(_) => "external",
        }
    }

    /// The line about this design on the page.
    pub(crate) fn design_line(&self) -> &'static str {
        match self {
            Self::Memory(_) => "sessions: in this instance\u{2019}s memory",
            Self::Gateway(_) => "sessions: kept by the gateway",
        }
    }
}

/// Whether the standard library prints this character as it is. It escapes controls, formats
/// (text-direction overrides among them), lone surrogates, private use, unassigned code points and
/// all blanks but the space. The letter in front is there because a combining mark is escaped only
/// at the start of a string.
fn is_printable(character: char) -> bool {
    matches!(character, '\'' | '"' | '\\') || String::from_iter(['a', character]).escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_pass() {
        for name in ["a", "alice", "José", "Łukasz Ó Sé", "李小龍", "أمل", "D'Arcy \"Q\"", "नीता", "😀"]
        {
            assert_eq!(VisitorName::parse(name).map(|name| name.0).as_deref(), Some(name));
        }
        assert_eq!(VisitorName::parse("  alice\n").unwrap().as_str(), "alice");
        assert!(VisitorName::parse(&"é".repeat(NAME_CHARS_MAX)).is_some());
    }

    /// A line break in a name would end the header that carries it; a text-direction override
    /// would let one visitor dress up as another.
    #[test]
    fn names_with_invisible_characters_are_refused() {
        for name in ["", "   ", "a\nb", "a\r\nX: y", "a\u{202e}b", "a\u{200b}b", "a\u{0}", "a\u{7f}b"] {
            assert_eq!(VisitorName::parse(name), None, "{name:?}");
        }
        assert_eq!(VisitorName::parse(&"é".repeat(NAME_CHARS_MAX + 1)), None);
    }

    #[test]
    fn quantities_are_bounded() {
        assert_eq!(Quantity::new(99), Some(Quantity(99)));
        assert_eq!(Quantity::new(100), None);
        assert_eq!(Quantity::new(256), None);
    }
}
