//! Sessions kept by the gateway: the shop reads one header and answers with up to one more. This is
//! all an application in any language has to do, so it is written out here without a library.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, InvalidHeaderValue};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::catalogue::PRODUCTS;
use crate::jwks::KeySource;
use crate::session::{Cart, Change, Quantity, SessionError, Visitor};
use crate::settings::Verification;

/// The request header that carries the session.
const SESSION: HeaderName = HeaderName::from_static("cloakroom-session");
/// The answer header that changes fields: a JSON object, `null` removes.
const PATCH: HeaderName = HeaderName::from_static("cloakroom-session-patch");
/// The answer header that logs in: the principal, in UTF-8.
const LOGIN: HeaderName = HeaderName::from_static("cloakroom-session-login");
/// The answer header that ends the session.
const END: HeaderName = HeaderName::from_static("cloakroom-session-end");
/// Who makes the tokens.
const ISSUER: &str = "cloakroom";
/// How far the clocks of gateway and instance may differ.
const CLOCK_LEEWAY_SECONDS: u64 = 5;
/// What the fields of the cart begin with. Each product has a field of its own, so that two changes
/// under way at the same time never undo each other.
const CART_PREFIX: &str = "cart.";

/// Reads sessions from requests and writes their changes into answers.
#[derive(Debug)]
pub(crate) struct GatewaySessions {
    check: Check,
}

/// Why a session header cannot be believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderFault {
    #[error("there is more than one")]
    Repeated,
    #[error("it is not base64url")]
    NotBase64(#[source] base64::DecodeError),
    #[error("it is not a session object")]
    NotSession(#[source] serde_json::Error),
    #[error("its token does not hold")]
    Token(#[source] jsonwebtoken::errors::Error),
    #[error("its token names no key")]
    KeyUnnamed,
    #[error("its token names a key the gateway does not publish")]
    KeyUnknown,
    #[error("it leaves the fields out because they are too large, and the shop does not fetch them")]
    Large,
    #[error("the change cannot be written as a header")]
    Unwritable(#[from] InvalidHeaderValue),
}

impl From<HeaderFault> for SessionError {
    fn from(fault: HeaderFault) -> Self {
        Self::Header(fault)
    }
}

impl GatewaySessions {
    pub(crate) fn new(verification: Verification) -> Self {
        let check = match verification {
            Verification::Trusted => Check::Network,
            Verification::Jwks { url, audience } => {
                let mut rules = Validation::new(Algorithm::EdDSA);
                rules.leeway = CLOCK_LEEWAY_SECONDS;
                rules.set_issuer(&[ISSUER]);
                rules.set_audience(&[audience]);
                rules.set_required_spec_claims(&["exp", "iss", "aud"]);
                Check::Signature { keys: Box::new(KeySource::new(url)), rules: Box::new(rules) }
            }
        };
        Self { check }
    }

    /// Who sent a request with these headers. No header is an anonymous visitor without a session.
    pub(crate) async fn visitor(&self, headers: &HeaderMap) -> Result<Visitor, SessionError> {
        Ok(self.session(headers).await?.map(SessionObject::into_visitor).unwrap_or_default())
    }

    /// The visitor after `change`, and the headers that ask the gateway to carry it out.
    pub(crate) async fn change(
        &self,
        headers: &HeaderMap,
        change: &Change,
    ) -> Result<(Visitor, HeaderMap), SessionError> {
        let session = self.session(headers).await?;
        // Removing from a session that was never begun must not begin one.
        let nothing_to_do =
            session.is_none() && matches!(change, Change::LogOut | Change::SetQuantity { quantity: Quantity(0), .. });
        let mut visitor = session.map(SessionObject::into_visitor).unwrap_or_default();
        visitor.apply(change);
        if nothing_to_do {
            return Ok((visitor, HeaderMap::new()));
        }
        let header = request_of(change).map_err(HeaderFault::from)?;
        Ok((visitor, HeaderMap::from_iter([header])))
    }

    async fn session(&self, headers: &HeaderMap) -> Result<Option<SessionObject>, SessionError> {
        let mut values = headers.get_all(SESSION).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(HeaderFault::Repeated.into());
        }
        let session = match &self.check {
            Check::Network => decode_trusted(value.as_bytes())?,
            Check::Signature { keys, rules } => decode_signed(value.as_bytes(), keys, rules).await?,
        };
        if session.large && session.fields.is_none() {
            return Err(HeaderFault::Large.into());
        }
        Ok(Some(session))
    }
}

/// How a header is believed.
#[derive(Debug)]
enum Check {
    Network,
    Signature { keys: Box<KeySource>, rules: Box<Validation> },
}

/// The part of the session object that the shop uses.
#[derive(Debug, Deserialize)]
struct SessionObject {
    sub: Option<String>,
    fields: Option<Map<String, Value>>,
    #[serde(default)]
    large: bool,
}

impl SessionObject {
    /// A field of another shape than ours is passed over: one bad field must not take the shop away
    /// from its owner.
    fn into_visitor(self) -> Visitor {
        let fields = self.fields.unwrap_or_default();
        let quantity_of = |id: &str| -> Option<u8> {
            let quantity = Quantity::new(fields.get(&format!("{CART_PREFIX}{id}"))?.as_u64()?)?;
            (quantity.0 > 0).then_some(quantity.0)
        };
        let cart = PRODUCTS.iter().filter_map(|product| Some((product.id, quantity_of(product.id)?)));
        Visitor { user: self.sub, cart: Cart::from_iter(cart) }
    }
}

fn decode_trusted(value: &[u8]) -> Result<SessionObject, HeaderFault> {
    let json = URL_SAFE_NO_PAD.decode(value).map_err(HeaderFault::NotBase64)?;
    serde_json::from_slice(&json).map_err(HeaderFault::NotSession)
}

async fn decode_signed(value: &[u8], keys: &KeySource, rules: &Validation) -> Result<SessionObject, SessionError> {
    let key_id = decode_header(value).map_err(HeaderFault::Token)?.kid;
    let key_id = key_id.ok_or(HeaderFault::KeyUnnamed)?;
    let key = keys.key(&key_id).await?.ok_or(HeaderFault::KeyUnknown)?;
    Ok(decode(value, &key, rules).map_err(HeaderFault::Token)?.claims)
}

/// The header that asks the gateway for `change`.
fn request_of(change: &Change) -> Result<(HeaderName, HeaderValue), InvalidHeaderValue> {
    Ok(match change {
        Change::LogIn(name) => (LOGIN, HeaderValue::from_bytes(name.as_str().as_bytes())?),
        Change::LogOut => (END, HeaderValue::from_static("1")),
        Change::SetQuantity { product, quantity } => {
            let value = if quantity.0 == 0 { Value::Null } else { quantity.0.into() };
            let patch = Map::from_iter([(format!("{CART_PREFIX}{}", product.id), value)]);
            (PATCH, HeaderValue::try_from(ascii_json(&Value::Object(patch)))?)
        }
    })
}

/// JSON in ASCII alone, as a header needs it: everything else as `\u` escapes, in UTF-16 pairs
/// where one does not suffice (RFC 8259, section 7).
fn ascii_json(value: &Value) -> String {
    let json = value.to_string();
    let mut ascii = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        // DEL is ASCII and legal in JSON, but not in a header (RFC 9110, section 5.5).
        if character.is_ascii() && character != '\u{7f}' {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A field that came back changed, or a header the server refuses to write, would lose the
        /// visitor's change after the page had already shown it.
        #[test]
        fn any_patch_survives_the_way_through_a_header(key in any::<String>(), text in any::<String>()) {
            let value = Value::Object(Map::from_iter([(key, Value::String(text))]));
            let ascii = ascii_json(&value);
            prop_assert!(ascii.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert_eq!(serde_json::from_str::<Value>(&ascii).unwrap(), value);
        }
    }

    /// A field written by another version of the shop must not keep its owner out.
    #[test]
    fn fields_of_another_shape_are_passed_over() {
        let json = r#"{"sub":"alice","sid":"s1","fields":{"cart.espresso":2,"cart.mug":"three",
            "cart.scarf":100,"cart.flask":0,"cart.hat":1,"theme":"dark"}}"#;
        let session = decode_trusted(URL_SAFE_NO_PAD.encode(json).as_bytes()).unwrap();
        let visitor = session.into_visitor();
        assert_eq!(visitor.user.as_deref(), Some("alice"));
        assert_eq!(visitor.cart, Cart::from_iter([("espresso", 2)]));
    }
}
