//! What an instance is told about a session: one JSON object, either signed or plain.
//!
//! Signed, it is a JSON Web Token (RFC 7519) in compact serialisation (RFC 7515 §3.1) under Ed25519 (RFC 8037), which
//! lives for [`TOKEN_LIFETIME`]. Plain, it is the same object as base64url, for a network where nobody else can reach
//! the instance.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::key_ring::KeyRing;
use crate::record::Record;
use crate::ticket::StoreKey;
use crate::time::Timestamp;

/// How long a token is valid: the time one request may take on an instance, and no more.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(60);
/// Largest object with its fields; over it `fields` is left out and `large` is true.
pub const OBJECT_BYTES_MAX: usize = 8 * 1024;
/// `iss` of every token.
pub const ISSUER: &str = "cloakroom";

/// How a pool's instances get sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presentation {
    /// Signed token.
    Signed,
    /// Plain base64url JSON.
    Plain,
}

/// The value of `Cloakroom-Session` for one session and pool. A token is a credential for as long as it lives: keep it
/// out of logs.
pub fn present(
    ring: &KeyRing,
    presentation: Presentation,
    audience: &str,
    key: &StoreKey,
    record: &Record,
    now: Timestamp,
) -> String {
    let mut claims = Claims { audience, key, record, now, with_fields: true };
    let mut json = claims.to_json();
    if json.len() > OBJECT_BYTES_MAX {
        claims.with_fields = false;
        json = claims.to_json();
    }
    match presentation {
        Presentation::Plain => URL_SAFE_NO_PAD.encode(json),
        Presentation::Signed => sign(ring, &json),
    }
}

fn sign(ring: &KeyRing, claims: &[u8]) -> String {
    let key = ring.active();
    // A key identifier is hexadecimal or was read from the ring file; it is encoded as a JSON string all the same.
    let kid = serde_json::to_string(&key.id).unwrap_or_default();
    let header = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":{kid}}}"#);
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.reserve(claims.len() * 4 / 3 + 100);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = key.signing.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
    token
}

struct Claims<'session> {
    audience: &'session str,
    key: &'session StoreKey,
    record: &'session Record,
    now: Timestamp,
    with_fields: bool,
}

impl Claims<'_> {
    fn to_json(&self) -> Vec<u8> {
        // Strings, numbers and already valid JSON always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Serialize for Claims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", ISSUER)?;
        map.serialize_entry("aud", self.audience)?;
        if let Some(principal) = &self.record.principal {
            map.serialize_entry("sub", principal.as_str())?;
        }
        map.serialize_entry("sid", &self.key.handle())?;
        map.serialize_entry("iat", &self.now.as_seconds())?;
        map.serialize_entry("exp", &self.now.plus(TOKEN_LIFETIME).as_seconds())?;
        if self.with_fields {
            map.serialize_entry("fields", &Fields(self.record))?;
        } else {
            map.serialize_entry("large", &true)?;
        }
        map.end()
    }
}

struct Fields<'session>(&'session Record);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.fields() {
            let raw: &RawValue = serde_json::from_str(value.as_json()).map_err(serde::ser::Error::custom)?;
            map.serialize_entry(name.as_str(), raw)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::Delta;
    use crate::key_ring::tests::ring;
    use crate::lifecycle::Lifetimes;
    use crate::record::Principal;

    fn session(patch: &str) -> Record {
        let now = Timestamp::from_millis(1_000);
        let delta = Delta::parse_patch(patch.as_bytes()).unwrap();
        Record::begin(now, &Lifetimes::default()).with_delta(&delta, now, 65_536).unwrap()
    }

    fn object(text: &str) -> serde_json::Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    }

    /// An instance verifies with a standard library and the public key alone; a token of our own dialect would be
    /// refused by all of them.
    #[test]
    fn a_standard_library_verifies_the_token() {
        let ring = ring(1);
        let now = Timestamp::from_millis(4_000_000_000_000);
        let record = session(r#"{"cart.tea":2}"#).with_principal(Principal::parse(b"alice").unwrap(), 0, now);
        let key = StoreKey::from_bytes([1; 32]);
        let token = present(&ring, Presentation::Signed, "shop", &key, &record, now);
        let public = &ring.public_keys()[0];
        let decoding = jsonwebtoken::DecodingKey::from_ed_components(&public.x).unwrap();
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
        validation.set_audience(&["shop"]);
        validation.set_issuer(&["cloakroom"]);
        let data = jsonwebtoken::decode::<serde_json::Value>(&token, &decoding, &validation).unwrap();
        assert_eq!(data.header.kid.as_deref(), Some(public.id.as_str()));
        assert_eq!(data.claims["sub"], "alice");
        assert_eq!(data.claims["fields"]["cart.tea"], 2);
        assert_eq!(data.claims["exp"].as_u64().unwrap() - data.claims["iat"].as_u64().unwrap(), 60);
        validation.set_audience(&["another pool"]);
        assert!(jsonwebtoken::decode::<serde_json::Value>(&token, &decoding, &validation).is_err());
    }

    #[test]
    fn an_anonymous_session_has_no_subject() {
        let key = StoreKey::from_bytes([1; 32]);
        let text = present(&ring(1), Presentation::Plain, "shop", &key, &session("{}"), Timestamp::from_millis(5_000));
        let claims = object(&text);
        assert!(claims.get("sub").is_none());
        assert_eq!(claims["sid"], key.handle());
        assert_eq!(claims["iat"], 5);
    }

    /// A header over an instance's limit would turn every request of that user into a 431.
    #[test]
    fn a_large_session_leaves_its_fields_out() {
        let key = StoreKey::from_bytes([1; 32]);
        let big = session(&format!(r#"{{"big":"{}"}}"#, "x".repeat(OBJECT_BYTES_MAX)));
        let claims = object(&present(&ring(1), Presentation::Plain, "shop", &key, &big, Timestamp::from_millis(1)));
        assert_eq!(claims["large"], true);
        assert!(claims.get("fields").is_none());
    }
}
