//! Records come from disks, from other gateways and from newer versions. A torn or foreign one that panics takes the
//! store's reader down at every start; one that changes by being read and written back wears a session away a little
//! with each request.

#![no_main]

use cloakroom_session::record::{FORMAT, Principal, RECORD_BYTES_MAX};
use cloakroom_session::{Delta, Record, RecordError, Timestamp};
use libfuzzer_sys::fuzz_target;

/// Enough for every field of an input: the cap is not what is tested here.
const PAYLOAD_BYTES_MAX: usize = RECORD_BYTES_MAX;

fuzz_target!(|input: &[u8]| {
    check_principal(input);
    match Record::decode(input) {
        Ok(record) => {
            check_round_trip(&record, input.len());
            check_change(&record);
        }
        Err(error) => check_reason(error, input),
    }
});

fn check_round_trip(record: &Record, read_bytes: usize) {
    let encoded = record.encode();
    assert_eq!(Record::decode(&encoded).as_ref(), Ok(record));
    assert!(encoded.len() <= read_bytes, "{read_bytes} bytes grew to {}", encoded.len());
    assert_eq!(encoded[0], FORMAT);
}

/// A request that changes one field leaves the others, the hidden and the unknown ones where they were.
fn check_change(record: &Record) {
    let delta = Delta::parse_patch(br#"{"fuzzed":1}"#).expect("a literal patch");
    let undo = Delta::parse_patch(br#"{"fuzzed":null}"#).expect("a literal patch");
    let now = Timestamp::from_millis(u64::MAX);
    let Ok(changed) = record.with_delta(&delta, now, PAYLOAD_BYTES_MAX) else { return };
    let changed_back = changed.with_delta(&undo, now, PAYLOAD_BYTES_MAX).expect("smaller than before");
    assert_eq!(changed_back.quarantined(), record.quarantined());
    let others = |session: &Record| {
        let named = session.fields().filter(|(name, _)| name.as_str() != "fuzzed");
        named.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
    };
    assert_eq!(others(&changed), others(record));
    assert_eq!(others(&changed_back), others(record));
}

fn check_reason(error: RecordError, input: &[u8]) {
    let _ = error.to_string();
    if let RecordError::Truncated { offset } = error {
        assert!(offset <= input.len());
    }
}

fn check_principal(input: &[u8]) {
    if let Ok(principal) = Principal::parse(input) {
        assert_eq!(Principal::parse(principal.as_str().as_bytes()), Ok(principal));
    }
}
