//! The secrets that all gateways of a fleet share, in one small file.
//!
//! Two kinds of secret live here. The **lookup secret** turns tickets into store keys and does not rotate: another
//! one would orphan every session. The **ring** holds dated secrets for everything that is signed or sealed; one is
//! active, others only verify, so that a rotation fails nobody. Every use has its own key, derived by HKDF-SHA-256
//! (RFC 5869) under a label, so that a pin can never be taken for a token.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::ticket::{StoreKey, Ticket};
use crate::time::Timestamp;

/// Bytes of each secret in the ring.
pub const SECRET_BYTES: usize = 32;
/// Most keys one ring may hold: a rotation a week for more than a year.
pub const KEYS_MAX: usize = 64;
/// The format this version writes.
const FORMAT: u32 = 1;

/// What a key of the ring may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Known to every gateway before any uses it: verifies, does not sign.
    Published,
    /// Signs and seals; the newest active key is the one in use.
    Active,
    /// Verifies what it signed in the past, and nothing more.
    Verify,
}

/// Why a key ring can't be used. No variant carries key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// Not the JSON this file holds.
    #[error("the key ring is not valid: {reason} (line {line})")]
    Syntax {
        /// What the parser met, without the text it met.
        reason: &'static str,
        /// Line, from 1.
        line: usize,
    },
    /// Written by a later version.
    #[error("the key ring has format {found}, this version reads up to {FORMAT}")]
    NewerFormat {
        /// The format found.
        found: u32,
    },
    /// A secret that is not 32 bytes of base64url.
    #[error("the secret `{name}` of the key ring is not {SECRET_BYTES} bytes of base64url")]
    Secret {
        /// Which secret, by its name in the file.
        name: String,
    },
    /// No key is active, or too many are listed.
    #[error("the key ring needs one active key at least and {KEYS_MAX} keys at most: {active} active of {total}")]
    Keys {
        /// Active keys found.
        active: usize,
        /// Keys found.
        total: usize,
    },
    /// Two keys share an identifier.
    #[error("the key identifier `{id}` stands twice in the key ring")]
    DuplicateKey {
        /// The identifier.
        id: String,
    },
    /// The cryptographic library refused a derived key.
    #[error("a key could not be derived")]
    Derivation,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct RingFile {
    #[zeroize(skip)]
    format: u32,
    lookup: String,
    keys: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    #[zeroize(skip)]
    created_at_ms: u64,
    #[zeroize(skip)]
    state: KeyState,
    secret: String,
}

/// One dated secret with everything derived from it.
pub(crate) struct RingKey {
    pub(crate) id: String,
    pub(crate) seal_id: [u8; 4],
    state: KeyState,
    created_at: Timestamp,
    pub(crate) sealing: LessSafeKey,
    pub(crate) signing: Ed25519KeyPair,
}

/// The fleet's keys, derived and ready.
pub struct KeyRing {
    lookup: hmac::Key,
    keys: Vec<RingKey>,
    active: usize,
}

/// A public signing key, for the JWKS document (RFC 8037 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// `kid` of tokens signed with it.
    pub id: String,
    /// The Ed25519 public key, base64url.
    pub x: String,
}

impl KeyRing {
    /// The text of a new ring with one active key, from entropy the caller draws. To be written with mode 0600.
    pub fn generate(entropy: &[u8; 2 * SECRET_BYTES], now: Timestamp) -> Zeroizing<String> {
        let (lookup, secret) = entropy.split_at(SECRET_BYTES);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret);
        let id = digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let file = RingFile {
            format: FORMAT,
            lookup: URL_SAFE_NO_PAD.encode(lookup),
            keys: vec![KeyEntry {
                id,
                created_at_ms: now.as_millis(),
                state: KeyState::Active,
                secret: URL_SAFE_NO_PAD.encode(secret),
            }],
        };
        // Plain strings and numbers always serialise; an empty text would be refused by `parse`.
        Zeroizing::new(serde_json::to_string_pretty(&file).unwrap_or_default() + "\n")
    }

    /// Reads a ring from its file's text and derives its keys.
    ///
    /// # Errors
    /// [`KeyRingError`] for anything but a complete, valid ring; it never repeats a secret.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let file: RingFile = serde_json::from_str(text).map_err(|error| KeyRingError::Syntax {
            reason: match error.classify() {
                serde_json::error::Category::Eof => "it ends early",
                serde_json::error::Category::Data => "a key is missing, unknown or of the wrong type",
                _ => "it is not JSON",
            },
            line: error.line(),
        })?;
        if file.format > FORMAT {
            return Err(KeyRingError::NewerFormat { found: file.format });
        }
        let lookup = decode_secret(&file.lookup, "lookup")?;
        let mut keys: Vec<RingKey> = Vec::with_capacity(file.keys.len().min(KEYS_MAX));
        for entry in file.keys.iter().take(KEYS_MAX + 1) {
            let key = RingKey::derive(entry)?;
            if keys.iter().any(|other| other.id == key.id || other.seal_id == key.seal_id) {
                return Err(KeyRingError::DuplicateKey { id: key.id });
            }
            keys.push(key);
        }
        let newest_active = keys
            .iter()
            .enumerate()
            .filter(|(_, key)| key.state == KeyState::Active)
            .max_by_key(|(_, key)| key.created_at);
        match newest_active {
            Some((active, _)) if keys.len() <= KEYS_MAX => Ok(Self {
                lookup: hmac::Key::new(hmac::HMAC_SHA256, derive(lookup.as_slice(), b"ticket lookup")?.as_slice()),
                active,
                keys,
            }),
            active => Err(KeyRingError::Keys { active: usize::from(active.is_some()), total: file.keys.len() }),
        }
    }

    /// The key under which the ticket's session is stored.
    pub fn store_key(&self, ticket: &Ticket) -> StoreKey {
        let tag = hmac::sign(&self.lookup, ticket.bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        StoreKey::from_bytes(bytes)
    }

    /// Every public key that may verify a token: published, active and verify-only.
    pub fn public_keys(&self) -> Vec<PublicKey> {
        let public = |key: &RingKey| PublicKey {
            id: key.id.clone(),
            x: URL_SAFE_NO_PAD.encode(key.signing.public_key().as_ref()),
        };
        self.keys.iter().map(public).collect()
    }

    pub(crate) fn active(&self) -> &RingKey {
        &self.keys[self.active]
    }

    pub(crate) fn by_seal_id(&self, seal_id: [u8; 4]) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.seal_id == seal_id)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyRing({} keys, active {})", self.keys.len(), self.active().id)
    }
}

impl RingKey {
    fn derive(entry: &KeyEntry) -> Result<Self, KeyRingError> {
        let secret = decode_secret(&entry.secret, &entry.id)?;
        let sealing = UnboundKey::new(&AES_256_GCM_SIV, derive(secret.as_slice(), b"seal")?.as_slice())
            .map_err(|_| KeyRingError::Derivation)?;
        let signing = Ed25519KeyPair::from_seed_unchecked(derive(secret.as_slice(), b"token signature")?.as_slice())
            .map_err(|_| KeyRingError::Derivation)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, entry.id.as_bytes());
        let mut seal_id = [0; 4];
        seal_id.copy_from_slice(&digest.as_ref()[..4]);
        Ok(Self {
            id: entry.id.clone(),
            seal_id,
            state: entry.state,
            created_at: Timestamp::from_millis(entry.created_at_ms),
            sealing: LessSafeKey::new(sealing),
            signing,
        })
    }
}

struct SecretLength;

impl KeyType for SecretLength {
    fn len(&self) -> usize {
        SECRET_BYTES
    }
}

fn derive(secret: &[u8], label: &[u8]) -> Result<Zeroizing<[u8; SECRET_BYTES]>, KeyRingError> {
    let mut derived = Zeroizing::new([0; SECRET_BYTES]);
    Salt::new(HKDF_SHA256, b"cloakroom key ring 1")
        .extract(secret)
        .expand(&[label], SecretLength)
        .and_then(|material| material.fill(derived.as_mut_slice()))
        .map_err(|_| KeyRingError::Derivation)?;
    Ok(derived)
}

fn decode_secret(text: &str, name: &str) -> Result<Zeroizing<[u8; SECRET_BYTES]>, KeyRingError> {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    match URL_SAFE_NO_PAD.decode_slice(text, bytes.as_mut_slice()) {
        Ok(SECRET_BYTES) => Ok(bytes),
        _ => Err(KeyRingError::Secret { name: name.to_owned() }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn ring(seed: u8) -> KeyRing {
        KeyRing::parse(&KeyRing::generate(&[seed; 64], Timestamp::from_millis(1))).unwrap()
    }

    /// A gateway that starts with half a key file would sign everybody out; it must refuse, and never say why with
    /// the secret itself.
    #[test]
    fn a_damaged_ring_is_refused_without_repeating_it() {
        let text = KeyRing::generate(&[9; 64], Timestamp::from_millis(5));
        for cut in 0..text.len() - 2 {
            let error = KeyRing::parse(&text[..cut]).unwrap_err();
            let lookup = URL_SAFE_NO_PAD.encode([9; 32]);
            assert!(!format!("{error:?} {error}").contains(&lookup[..8]), "cut at {cut}");
        }
        assert!(matches!(
            KeyRing::parse(&text.replace("\"format\": 1", "\"format\": 2")),
            Err(KeyRingError::NewerFormat { found: 2 })
        ));
        assert!(matches!(
            KeyRing::parse(&text.replace("active", "verify")),
            Err(KeyRingError::Keys { active: 0, total: 1 })
        ));
    }

    /// If two rings agreed on a store key, one fleet's store would open another's sessions.
    #[test]
    fn store_keys_depend_on_ring_and_ticket() {
        let ticket = Ticket::from_entropy([1; 32]);
        let key = ring(1).store_key(&ticket);
        assert_eq!(key, ring(1).store_key(&ticket));
        assert_ne!(key, ring(2).store_key(&ticket));
        assert_ne!(key, ring(1).store_key(&Ticket::from_entropy([2; 32])));
        assert_ne!(key.as_bytes(), &[1; 32]);
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(format!("{:?}", ring(3)).starts_with("KeyRing(1 keys, active "));
    }
}
