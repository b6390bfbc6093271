//! The ticket is the first thing a stranger can say. Two spellings of one ticket would be two identities in caches
//! and logs, and a way round a list of the revoked; an error that repeats what it refused would print somebody's
//! real ticket with one typing mistake.

#![no_main]

use std::sync::LazyLock;

use cloakroom_session::ticket::{TICKET_BYTES, TICKET_CHARS};
use cloakroom_session::{KeyRing, Ticket, Timestamp};
use libfuzzer_sys::fuzz_target;

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    KeyRing::parse(&KeyRing::generate(&[7; 64], Timestamp::from_millis(1))).expect("a ring that was just generated")
});

fuzz_target!(|input: &[u8]| {
    match Ticket::parse(input) {
        Ok(ticket) => check_accepted(&ticket, input),
        // Whatever is refused is refused in the same words as any other text of its length.
        Err(error) => {
            let other = Ticket::parse(&vec![b'!'; input.len()]).expect_err("not base64url");
            assert_eq!(format!("{error} {error:?}"), format!("{other} {other:?}"));
        }
    }
    if let Some(entropy) = input.first_chunk::<TICKET_BYTES>() {
        check_twisted(&Ticket::from_entropy(*entropy), &input[TICKET_BYTES..]);
    }
});

fn check_accepted(ticket: &Ticket, input: &[u8]) {
    assert_eq!(ticket.reveal().as_bytes(), input, "two spellings of one ticket");
    let handle = RING.store_key(ticket).handle();
    assert_ne!(handle.as_bytes(), input, "a store would see the ticket");
    assert!(!contains(format!("{ticket:?}").as_bytes(), input));
}

/// A ticket with one character changed is no ticket, or another one with another session.
fn check_twisted(ticket: &Ticket, twist: &[u8]) {
    let text = ticket.reveal();
    assert_eq!(Ticket::parse(text.as_bytes()).as_ref(), Ok(ticket));
    let [place, character, ..] = *twist else { return };
    let mut twisted = text.clone().into_bytes();
    twisted[usize::from(place) % TICKET_CHARS] = character;
    if twisted != text.as_bytes()
        && let Ok(other) = Ticket::parse(&twisted)
    {
        assert_ne!(&other, ticket);
        assert_ne!(RING.store_key(&other), RING.store_key(ticket));
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
