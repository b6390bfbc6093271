//! An instance's answer carries the change to a session. A patch that is read otherwise than it was written loses a
//! cart; one that is accepted but cannot be stored, read back or nested into a token loses the whole session later,
//! at a request that did nothing wrong.

#![no_main]

use std::collections::BTreeMap;

use cloakroom_session::delta::{FIELD_NAME_BYTES_MAX, PATCH_MEMBERS_MAX, RESERVED_PREFIX, VALUE_DEPTH_MAX};
use cloakroom_session::{Delta, DeltaError, FieldValue, Lifetimes, Record, Timestamp};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

fuzz_target!(|input: &[u8]| {
    let reference: Option<BTreeMap<String, Box<RawValue>>> = serde_json::from_slice(input).ok();
    match Delta::parse_patch(input) {
        Ok(delta) => {
            check_against(&delta, &reference.expect("a patch that is accepted is a JSON object"));
            check_applies(&delta);
        }
        Err(error) => check_reason(&error, reference.as_ref()),
    }
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(value) = FieldValue::parse(text)
    {
        assert_eq!(FieldValue::parse(value.as_json()).as_ref(), Ok(&value));
    }
});

/// Every member of the object is one change, spelt as it was, and within its bounds.
fn check_against(delta: &Delta, reference: &BTreeMap<String, Box<RawValue>>) {
    assert_eq!(delta.changes().count(), reference.len(), "a member was lost or stood twice");
    assert!(reference.len() <= PATCH_MEMBERS_MAX);
    for (name, value) in delta.changes() {
        let name = name.as_str();
        assert!((1..=FIELD_NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with(RESERVED_PREFIX));
        let expected = reference[name].get();
        assert_eq!(value.map_or("null", FieldValue::as_json), expected);
        // A number beyond f64 is valid JSON that `Value` cannot hold.
        if let Ok(parsed) = serde_json::from_str::<Value>(expected) {
            assert!(depth(&parsed) <= VALUE_DEPTH_MAX, "{expected}");
        }
    }
}

/// What is called no JSON object is none.
fn check_reason(error: &DeltaError, reference: Option<&BTreeMap<String, Box<RawValue>>>) {
    let _ = error.to_string();
    if let DeltaError::Syntax { .. } = error {
        assert!(reference.is_none(), "an object of {} members is called none", reference.map_or(0, BTreeMap::len));
    }
}

/// The changed session can be written down and read back.
fn check_applies(delta: &Delta) {
    let now = Timestamp::from_millis(1_000);
    let record = Record::begin(now, &Lifetimes::default());
    if let Ok(changed) = record.with_delta(delta, now, 64 * 1024) {
        assert_eq!(changed.fields().count(), delta.changes().filter(|(_, value)| value.is_some()).count());
        assert_eq!(changed.quarantined(), 0);
        assert_eq!(Record::decode(&changed.encode()), Ok(changed));
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
