//! Small values that travel through a browser and come back unread and unaltered.
//!
//! Format: `1` (format byte) ‖ key identifier (4 bytes) ‖ nonce (12) ‖ AES-256-GCM-SIV ciphertext and tag (RFC 8452),
//! as base64url. The purpose (which cookie) is associated data: a value sealed for one cookie opens under no other.
//! GCM-SIV because many gateways seal with one key and random nonces: a repeated nonce then tells at most that two
//! equal texts are equal.

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::key_ring::KeyRing;

/// Longest sealed text that is looked at: a cookie can't be longer (RFC 6265 §6.1).
pub const SEALED_CHARS_MAX: usize = 4096;
const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 1 + 4 + NONCE_LEN;

/// Why a sealed value can't be opened. All of them mean: treat it as absent, and count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Longer than a cookie may be, or too short to hold a nonce and a tag.
    #[error("a sealed value of {found} characters is out of bounds")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// Not base64url.
    #[error("not base64url")]
    Encoding,
    /// Another format byte.
    #[error("sealed in format {found}, this version opens {FORMAT}")]
    Format {
        /// The format found.
        found: u8,
    },
    /// No key of the ring has this identifier.
    #[error("sealed with a key that is not in the ring")]
    UnknownKey,
    /// Altered, or sealed for another purpose.
    #[error("the seal is broken")]
    Broken,
}

/// Why the value could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of {bytes} bytes could not be sealed")]
pub struct SealingFailed {
    /// Length of the plain value.
    pub bytes: usize,
}

/// Seals `plain` for `purpose` with the ring's active key. `nonce` is fresh random bytes.
///
/// # Errors
/// [`SealingFailed`] where the library refuses, which no length that fits a cookie makes it do.
pub fn seal(ring: &KeyRing, purpose: &str, plain: &[u8], nonce: [u8; NONCE_LEN]) -> Result<String, SealingFailed> {
    let key = ring.active();
    let mut sealed = Vec::with_capacity(HEAD_BYTES + plain.len() + 16);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&key.seal_id);
    sealed.extend_from_slice(&nonce);
    let mut body = plain.to_vec();
    key.sealing
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose), &mut body)
        .map_err(|_| SealingFailed { bytes: plain.len() })?;
    sealed.extend_from_slice(&body);
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}

/// Opens what [`seal`] made, with whichever key of the ring it names.
///
/// # Errors
/// [`SealError`]; the value is then as good as absent.
pub fn open(ring: &KeyRing, purpose: &str, text: &[u8]) -> Result<Vec<u8>, SealError> {
    if text.len() > SEALED_CHARS_MAX {
        return Err(SealError::Length { found: text.len() });
    }
    let mut sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Encoding)?;
    if sealed.len() < HEAD_BYTES + 16 {
        return Err(SealError::Length { found: text.len() });
    }
    if sealed[0] != FORMAT {
        return Err(SealError::Format { found: sealed[0] });
    }
    let mut seal_id = [0; 4];
    seal_id.copy_from_slice(&sealed[1..5]);
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&sealed[5..HEAD_BYTES]);
    let key = ring.by_seal_id(seal_id).ok_or(SealError::UnknownKey)?;
    let plain = key
        .sealing
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(purpose), &mut sealed[HEAD_BYTES..])
        .map_err(|_| SealError::Broken)?;
    Ok(plain.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_ring::tests::ring;

    /// A pin or a sealed session with a flipped byte that still opened would let a client choose its own state.
    #[test]
    fn any_flipped_character_breaks_it() {
        let ring = ring(1);
        let text = seal(&ring, "cloakroom-pin", b"instance 3", [5; NONCE_LEN]).unwrap();
        assert_eq!(open(&ring, "cloakroom-pin", text.as_bytes()).unwrap(), b"instance 3");
        for index in 0..text.len() {
            for bit in 0..8 {
                let mut altered = text.clone().into_bytes();
                altered[index] ^= 1 << bit;
                assert!(open(&ring, "cloakroom-pin", &altered).is_err(), "byte {index} bit {bit}");
            }
        }
        assert_eq!(open(&ring, "cloakroom", text.as_bytes()), Err(SealError::Broken));
        let stranger = crate::key_ring::tests::ring(2);
        assert_eq!(open(&stranger, "cloakroom-pin", text.as_bytes()), Err(SealError::UnknownKey));
    }

    proptest::proptest! {
        #[test]
        fn opening_is_total(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            proptest::prop_assert!(open(&ring(1), "x", &bytes).is_err());
        }

        #[test]
        fn everything_round_trips(plain in proptest::collection::vec(proptest::num::u8::ANY, 0..500)) {
            let ring = ring(1);
            let text = seal(&ring, "x", &plain, [1; NONCE_LEN]).unwrap();
            proptest::prop_assert_eq!(open(&ring, "x", text.as_bytes()).unwrap(), plain);
        }
    }
}
