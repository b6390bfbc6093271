//! Pins: the encoding, and which ones are honoured.

use cloakroom_balance::{Affinity, PIN_LENGTH, Pin, PinError, PinnedState, Reason, decide};
use proptest::prelude::*;

const PIN: Pin =
    Pin { pool: 7, instance: 0x0102_0304_0506_0708, incarnation: 3, issued_at_s: 1_000, expires_at_s: 2_000 };

/// Gateways of a fleet are upgraded one by one: if the layout changed under the same version, each would re-pin the
/// other's users.
#[test]
fn the_layout_is_fixed() {
    let expected =
        [1, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0x03, 0xe8, 0, 0, 0, 0, 0, 0, 0x07, 0xd0];
    assert_eq!(PIN.encode(), expected);
    assert_eq!(Pin::decode(&expected), Ok(PIN));
}

#[test]
fn other_versions_and_lengths_are_told_apart() {
    let bytes = PIN.encode();
    assert_eq!(Pin::decode(&[]), Err(PinError::Length { length: 0 }));
    assert_eq!(Pin::decode(&bytes[..32]), Err(PinError::Length { length: 32 }));
    assert_eq!(Pin::decode(&[2, 0]), Err(PinError::Version { version: 2 }));
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert_eq!(Pin::decode(&longer), Err(PinError::Length { length: PIN_LENGTH + 1 }));
}

/// What is decided for [`PIN`] in pool 7 at this time, its instance being in this state.
fn at(now_s: u64, state: PinnedState) -> Affinity {
    decide(Some(&PIN), 7, now_s, |instance, incarnation| {
        assert_eq!((instance, incarnation), (PIN.instance, PIN.incarnation));
        state
    })
}

/// A user whose cart is in a draining instance's memory would find it empty if new traffic's rules applied to the
/// pin as well.
#[test]
fn pins_are_honoured_while_the_instance_can_serve() {
    assert_eq!(at(1_500, PinnedState::Serving { slot: 4 }), Affinity::Honour { slot: 4 });
    assert_eq!(at(1_500, PinnedState::Draining { slot: 4 }), Affinity::Honour { slot: 4 });
    assert_eq!(at(1_500, PinnedState::Down), Affinity::Pick(Reason::InstanceDown));
    assert_eq!(at(1_500, PinnedState::Gone), Affinity::Pick(Reason::InstanceGone));
    assert_eq!(at(1_999, PinnedState::Serving { slot: 4 }), Affinity::Honour { slot: 4 });
}

/// A gateway whose clock is behind the issuer's must honour the pin all the same, or two gateways would pass a user
/// back and forth.
#[test]
fn a_pin_from_a_clock_ahead_is_honoured() {
    assert_eq!(at(999, PinnedState::Serving { slot: 0 }), Affinity::Honour { slot: 0 });
}

/// A pin of another pool may hold an id that this pool uses for another instance.
#[test]
fn a_pin_that_is_not_good_is_not_looked_up() {
    let never = |_, _| -> PinnedState { panic!("looked up") };
    assert_eq!(decide(None, 7, 0, never), Affinity::Pick(Reason::NoPin));
    assert_eq!(decide(Some(&PIN), 8, 0, never), Affinity::Pick(Reason::OtherPool));
    assert_eq!(decide(Some(&PIN), 7, 2_000, never), Affinity::Pick(Reason::Expired));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(pool: u32, instance: u64, incarnation: u32, issued_at_s: u64, expires_at_s: u64) {
        let pin = Pin { pool, instance, incarnation, issued_at_s, expires_at_s };
        prop_assert_eq!(Pin::decode(&pin.encode()), Ok(pin));
    }

    /// Bytes of a client, after all: none may bring a worker down, and none may be read in two ways.
    #[test]
    fn any_bytes_are_a_pin_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..48), mark_version: bool) {
        let mut bytes = bytes;
        if let (true, Some(first)) = (mark_version, bytes.first_mut()) {
            *first = 1;
        }
        if let Ok(pin) = Pin::decode(&bytes) {
            prop_assert_eq!(&pin.encode()[..], &bytes[..]);
        }
    }
}
