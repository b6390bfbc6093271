//! A change to a session's fields.
//!
//! An instance answers with `Cloakroom-Session-Patch`, a JSON object: each member sets that field whole, `null`
//! removes it (RFC 7396, applied to one level). Values stay JSON text from end to end, so that no store ever has to
//! parse them and no number changes its spelling on the way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Longest field name, in bytes.
pub const FIELD_NAME_BYTES_MAX: usize = 128;
/// Deepest nesting of arrays and objects in one field's value.
pub const VALUE_DEPTH_MAX: usize = 32;
/// Most members in one patch.
pub const PATCH_MEMBERS_MAX: usize = 1024;
/// Longest patch that is looked at, in bytes. A session's own cap is smaller or equal.
pub const PATCH_BYTES_MAX: usize = 1024 * 1024;
/// Names beginning so belong to Cloakroom.
pub const RESERVED_PREFIX: &str = "cloakroom.";

/// The name of a session field: 1 to 128 bytes, no control characters, not reserved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName(Arc<str>);

impl FieldName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`DeltaError::Name`] for a name that is empty, too long, reserved or holds a control character.
    pub fn new(name: &str) -> Result<Self, DeltaError> {
        let reason = if name.is_empty() {
            "is empty"
        } else if name.len() > FIELD_NAME_BYTES_MAX {
            "is longer than 128 bytes"
        } else if name.starts_with(RESERVED_PREFIX) {
            "begins with the reserved `cloakroom.`"
        } else if name.chars().any(char::is_control) {
            "holds a control character"
        } else {
            return Ok(Self(name.into()));
        };
        Err(DeltaError::Name { reason })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One field's value: valid JSON text, at most [`VALUE_DEPTH_MAX`] deep. `Debug` tells only its length: fields are
/// users' data.
#[derive(Clone, PartialEq, Eq)]
pub struct FieldValue(Arc<str>);

impl FieldValue {
    /// Checks a JSON text.
    ///
    /// # Errors
    /// [`DeltaError::Syntax`] for what is no JSON, [`DeltaError::TooDeep`].
    pub fn parse(json: &str) -> Result<Self, DeltaError> {
        let raw: &RawValue = serde_json::from_str(json).map_err(|error| syntax(&error))?;
        Self::from_valid(raw.get())
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    fn from_valid(json: &str) -> Result<Self, DeltaError> {
        if depth(json) > VALUE_DEPTH_MAX {
            return Err(DeltaError::TooDeep);
        }
        Ok(Self(json.into()))
    }
}

impl fmt::Debug for FieldValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FieldValue({} bytes)", self.0.len())
    }
}

/// Why a patch is refused. No variant repeats a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// Not JSON, or not an object.
    #[error("the patch is no JSON object (column {column})")]
    Syntax {
        /// Column in the patch, from 1; 0 where it is unknown.
        column: usize,
    },
    /// A field name out of bounds.
    #[error("a field name of the patch {reason}")]
    Name {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A member that stands twice: two readers could keep different ones.
    #[error("a member stands twice in the patch")]
    Duplicate,
    /// Nested too deep.
    #[error("a value of the patch is nested deeper than {VALUE_DEPTH_MAX}")]
    TooDeep,
    /// Too many members or bytes.
    #[error("the patch is larger than {PATCH_BYTES_MAX} bytes or {PATCH_MEMBERS_MAX} members")]
    TooLarge,
}

/// Fields to set and fields to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    changes: BTreeMap<FieldName, Option<FieldValue>>,
}

impl Delta {
    /// Reads the JSON object of a `Cloakroom-Session-Patch`.
    ///
    /// # Errors
    /// [`DeltaError`]: nothing of a refused patch is applied.
    pub fn parse_patch(json: &[u8]) -> Result<Self, DeltaError> {
        if json.len() > PATCH_BYTES_MAX {
            return Err(DeltaError::TooLarge);
        }
        let text = std::str::from_utf8(json).map_err(|error| DeltaError::Syntax { column: error.valid_up_to() + 1 })?;
        let members: Members<'_> = serde_json::from_str(text).map_err(|error| syntax(&error))?;
        let mut changes = BTreeMap::new();
        if members.0.len() > PATCH_MEMBERS_MAX {
            return Err(DeltaError::TooLarge);
        }
        for (name, raw) in members.0 {
            let name = FieldName::new(&name)?;
            let value = match raw.get() {
                "null" => None,
                json => Some(FieldValue::from_valid(json)?),
            };
            if changes.insert(name, value).is_some() {
                return Err(DeltaError::Duplicate);
            }
        }
        Ok(Self { changes })
    }

    /// Adds "set this field".
    pub fn set(&mut self, name: FieldName, value: FieldValue) {
        self.changes.insert(name, Some(value));
    }

    /// Adds "remove this field".
    pub fn remove(&mut self, name: FieldName) {
        self.changes.insert(name, None);
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes in the order of their names: a value to set, or `None` to remove.
    pub fn changes(&self) -> impl Iterator<Item = (&FieldName, Option<&FieldValue>)> {
        self.changes.iter().map(|(name, value)| (name, value.as_ref()))
    }
}

/// The members of a JSON object in order, duplicates kept.
struct Members<'text>(Vec<(String, &'text RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while members.len() <= PATCH_MEMBERS_MAX
                    && let Some(member) = map.next_entry::<String, &'de RawValue>()?
                {
                    members.push(member);
                }
                // One too many is enough to refuse the patch; the rest is read over, so that the error is the right one.
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

fn syntax(error: &serde_json::Error) -> DeltaError {
    DeltaError::Syntax { column: error.column() }
}

/// Nesting depth of valid JSON text. serde_json's raw values are not recursion-limited, their later readers are.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, Option<String>)>, DeltaError> {
        let delta = Delta::parse_patch(text.as_bytes())?;
        let owned = |(name, value): (&FieldName, Option<&FieldValue>)| {
            (name.as_str().to_owned(), value.map(|value| value.as_json().to_owned()))
        };
        Ok(delta.changes().map(owned).collect())
    }

    /// A number that changed its spelling on the way (1e400, 12345678901234567890) would corrupt the user's data.
    #[test]
    fn values_keep_their_spelling() {
        let changes = parse(r#"{"price": 1.10, "big": 12345678901234567890123, "gone": null, "nested": {"a": [1]}}"#);
        assert_eq!(
            changes.unwrap(),
            [
                ("big".into(), Some("12345678901234567890123".into())),
                ("gone".into(), None),
                ("nested".into(), Some(r#"{"a": [1]}"#.into())),
                ("price".into(), Some("1.10".into())),
            ]
        );
    }

    /// A patch that is half applied, or applied differently by two readers, loses a cart.
    #[test]
    fn bad_patches_are_refused_whole() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(33), "]".repeat(33));
        let many = format!("{{{}}}", (0..1030).map(|n| format!("\"f{n}\":1")).collect::<Vec<_>>().join(","));
        let cases = [
            ("", DeltaError::Syntax { column: 0 }),
            ("[]", DeltaError::Syntax { column: 0 }),
            ("{\"a\":1", DeltaError::Syntax { column: 6 }),
            ("{\"a\":1} x", DeltaError::Syntax { column: 9 }),
            (r#"{"a":1,"a":2}"#, DeltaError::Duplicate),
            (r#"{"":1}"#, DeltaError::Name { reason: "is empty" }),
            (r#"{"cloakroom.x":1}"#, DeltaError::Name { reason: "begins with the reserved `cloakroom.`" }),
            ("{\"a\\u0000\":1}", DeltaError::Name { reason: "holds a control character" }),
            (deep.as_str(), DeltaError::TooDeep),
            (many.as_str(), DeltaError::TooLarge),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap_err(), expected, "{}", &text[..text.len().min(40)]);
        }
        assert_eq!(Delta::parse_patch(&[b'{', 0xff]).unwrap_err(), DeltaError::Syntax { column: 2 });
        assert!(parse(&format!(r#"{{"a":{}1{}}}"#, "[".repeat(32), "]".repeat(32))).is_ok());
        assert!(parse(r#"{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[["}"#).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = Delta::parse_patch(&bytes);
        }

        #[test]
        fn json_like_text_never_panics(text in r#"[\[\]{}",:a0\\ ]{0,60}"#) {
            let _ = Delta::parse_patch(text.as_bytes());
        }
    }
}
