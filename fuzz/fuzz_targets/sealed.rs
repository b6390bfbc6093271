//! A sealed cookie is state that its own bearer must not be able to choose: which instance serves them, or a whole
//! session. If any text but the one that was sealed opened, or the one opened under another cookie's name, a client
//! would write that state itself.
//!
//! The first byte picks how the rest becomes a text: as it is, as the bytes behind a valid head, or as changes to a
//! genuine value.

#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom_session::{KeyRing, Timestamp, seal};
use libfuzzer_sys::fuzz_target;

const PURPOSE: &str = "cloakroom-pin";
const PLAIN: &[u8] = b"instance 3";
/// Format and key identifier: up to here a text is easy to forge.
const HEAD_BYTES: usize = 5;

struct Sealed {
    ring: KeyRing,
    genuine: String,
}

static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let text = KeyRing::generate(&[7; 64], Timestamp::from_millis(1));
    let ring = KeyRing::parse(&text).expect("a ring that was just generated");
    let genuine = seal::seal(&ring, PURPOSE, PLAIN, [9; 12]).expect("a short value");
    assert_eq!(seal::open(&ring, PURPOSE, genuine.as_bytes()).as_deref(), Ok(PLAIN));
    Sealed { ring, genuine }
});

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    let Sealed { ring, genuine } = &*SEALED;
    let bytes = URL_SAFE_NO_PAD.decode(genuine).expect("sealed values are base64url");
    let text = match choice % 4 {
        0 => rest.to_vec(),
        1 => URL_SAFE_NO_PAD.encode([&bytes[..HEAD_BYTES], rest].concat()).into_bytes(),
        2 => URL_SAFE_NO_PAD.encode(altered(bytes, rest)).into_bytes(),
        _ => altered(genuine.clone().into_bytes(), rest),
    };
    match seal::open(ring, PURPOSE, &text) {
        Ok(plain) => assert_eq!((text.as_slice(), plain.as_slice()), (genuine.as_bytes(), PLAIN)),
        Err(error) => drop(error.to_string()),
    }
    for purpose in ["", "cloakroom", "cloakroom-pin2"] {
        assert!(seal::open(ring, purpose, &text).is_err(), "opened for {purpose:?}");
    }
});

/// Flips the bits that are set in the mask; what is longer than the value is appended.
fn altered(mut value: Vec<u8>, mask: &[u8]) -> Vec<u8> {
    let common = value.len().min(mask.len());
    value.iter_mut().zip(mask).for_each(|(byte, flip)| *byte ^= flip);
    value.extend_from_slice(&mask[common..]);
    value
}
