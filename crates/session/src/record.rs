//! A session at rest, and its byte format.
//!
//! Format 1: the format byte, then entries of tag (1 byte), length (LEB128) and bytes. A reader keeps entries it does
//! not know and writes them back, so that an older gateway beside a newer one loses nothing. A field whose value is no
//! JSON is quarantined: kept in the record, shown to nobody. Nothing is ever executed to read a record.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::delta::{Delta, FieldName, FieldValue};
use crate::lifecycle::Lifetimes;
use crate::time::{Timestamp, millis};

/// The format this version writes, and the newest it reads.
pub const FORMAT: u8 = 1;
/// Longest principal, in bytes.
pub const PRINCIPAL_BYTES_MAX: usize = 256;
/// Largest encoded record a reader accepts: a corrupt length must not make it allocate.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Who is signed in: 1 to 256 bytes of text without control characters. `Debug` hides it: it may be a mail address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Arc<str>);

/// A principal that is empty, too long, or holds a control character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a principal is 1 to {PRINCIPAL_BYTES_MAX} bytes of UTF-8 without control characters")]
pub struct PrincipalError;

impl Principal {
    /// Checks a principal as an instance named it.
    ///
    /// # Errors
    /// [`PrincipalError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PrincipalError> {
        let text = std::str::from_utf8(bytes).map_err(|_| PrincipalError)?.trim();
        if text.is_empty() || text.len() > PRINCIPAL_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(PrincipalError);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Principal(hidden)")
    }
}

/// One session. Cloning shares the fields' text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who is signed in; `None` while anonymous.
    pub principal: Option<Principal>,
    /// The principal's epoch when this session was bound to it. Ending all of a principal's sessions raises the
    /// principal's epoch; a session bound under a lower one is dead, whatever any index says.
    pub principal_epoch: u64,
    /// When the session began.
    pub created_at: Timestamp,
    /// When the principal was last proved.
    pub authenticated_at: Option<Timestamp>,
    /// The last request that was written down (see touch throttling in [`crate::lifecycle`]).
    pub last_seen_at: Timestamp,
    /// How long it lives without a request.
    pub idle: Duration,
    /// When it ends whatever happens.
    pub absolute_deadline: Timestamp,
    /// Rises by one with every committed change of fields or principal.
    pub revision: u64,
    fields: BTreeMap<FieldName, FieldValue>,
    quarantined: Vec<Vec<u8>>,
    unknown: Vec<(u8, Vec<u8>)>,
}

/// A change that would make the session too large. Nothing of it was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session would hold {bytes} bytes, at most {bytes_max} are allowed; largest fields: {}", largest.join(", "))]
pub struct PayloadTooLarge {
    /// Bytes of names and values after the change.
    pub bytes: usize,
    /// The cap.
    pub bytes_max: usize,
    /// The names of up to three largest fields, largest first.
    pub largest: Vec<String>,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer version in a format that this one may not interpret.
    #[error("the record has format {found}, this version reads up to {FORMAT}")]
    NewerFormat {
        /// The format found.
        found: u8,
    },
    /// Ends early, or a length points past its end.
    #[error("the record is cut short at byte {offset}")]
    Truncated {
        /// Where.
        offset: usize,
    },
    /// An entry has bytes its tag does not allow.
    #[error("entry {tag} of the record is malformed")]
    Malformed {
        /// The entry's tag.
        tag: u8,
    },
    /// A required entry is missing.
    #[error("entry {tag} of the record is missing")]
    Missing {
        /// The entry's tag.
        tag: u8,
    },
    /// Over [`RECORD_BYTES_MAX`].
    #[error("a record of {bytes} bytes is over the bound of {RECORD_BYTES_MAX}")]
    TooLarge {
        /// Bytes found.
        bytes: usize,
    },
}

mod tag {
    pub(super) const PRINCIPAL: u8 = 1;
    pub(super) const PRINCIPAL_EPOCH: u8 = 2;
    pub(super) const CREATED_AT: u8 = 3;
    pub(super) const AUTHENTICATED_AT: u8 = 4;
    pub(super) const LAST_SEEN_AT: u8 = 5;
    pub(super) const IDLE: u8 = 6;
    pub(super) const ABSOLUTE_DEADLINE: u8 = 7;
    pub(super) const REVISION: u8 = 8;
    pub(super) const FIELD: u8 = 9;
}

impl Record {
    /// A new anonymous session without fields, at revision 1.
    pub fn begin(now: Timestamp, lifetimes: &Lifetimes) -> Self {
        Self {
            principal: None,
            principal_epoch: 0,
            created_at: now,
            authenticated_at: None,
            last_seen_at: now,
            idle: lifetimes.idle,
            absolute_deadline: now.plus(lifetimes.absolute),
            revision: 1,
            fields: BTreeMap::new(),
            quarantined: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// The fields in the order of their names; quarantined ones are not among them.
    pub fn fields(&self) -> impl Iterator<Item = (&FieldName, &FieldValue)> {
        self.fields.iter()
    }

    /// One field.
    pub fn field(&self, name: &FieldName) -> Option<&FieldValue> {
        self.fields.get(name)
    }

    /// How many stored fields can't be read as JSON and are hidden.
    pub fn quarantined(&self) -> usize {
        self.quarantined.len()
    }

    /// Bytes of all names and values: what the payload cap counts.
    pub fn payload_bytes(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.as_str().len() + value.as_json().len()).sum()
    }

    /// The session after a delta and as seen at `now`, one revision later.
    ///
    /// # Errors
    /// [`PayloadTooLarge`] when it would pass `payload_bytes_max`; `self` is unchanged. A delta that only shrinks a
    /// session that is over the cap (after the cap was lowered) is let through.
    pub fn with_delta(&self, delta: &Delta, now: Timestamp, payload_bytes_max: usize) -> Result<Self, PayloadTooLarge> {
        let mut next = self.clone();
        for (name, value) in delta.changes() {
            match value {
                Some(value) => next.fields.insert(name.clone(), value.clone()),
                None => next.fields.remove(name),
            };
        }
        let bytes = next.payload_bytes();
        if bytes > payload_bytes_max && bytes > self.payload_bytes() {
            return Err(PayloadTooLarge { bytes, bytes_max: payload_bytes_max, largest: next.largest_fields(3) });
        }
        next.revision = next.revision.saturating_add(1);
        next.last_seen_at = next.last_seen_at.max(now);
        Ok(next)
    }

    /// The session bound to a principal that was proved at `now`.
    pub fn with_principal(mut self, principal: Principal, principal_epoch: u64, now: Timestamp) -> Self {
        self.principal = Some(principal);
        self.principal_epoch = principal_epoch;
        self.authenticated_at = Some(now);
        self
    }

    fn largest_fields(&self, count: usize) -> Vec<String> {
        let mut sizes: Vec<_> =
            self.fields.iter().map(|(name, value)| (value.as_json().len(), name.as_str())).collect();
        sizes.sort_unstable_by(|left, right| right.cmp(left));
        sizes.into_iter().take(count).map(|(_, name)| name.to_owned()).collect()
    }

    /// The record in format 1.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.payload_bytes());
        out.push(FORMAT);
        if let Some(principal) = &self.principal {
            put(&mut out, tag::PRINCIPAL, principal.as_str().as_bytes());
        }
        put_number(&mut out, tag::PRINCIPAL_EPOCH, self.principal_epoch);
        put_number(&mut out, tag::CREATED_AT, self.created_at.as_millis());
        if let Some(at) = self.authenticated_at {
            put_number(&mut out, tag::AUTHENTICATED_AT, at.as_millis());
        }
        put_number(&mut out, tag::LAST_SEEN_AT, self.last_seen_at.as_millis());
        put_number(&mut out, tag::IDLE, millis(self.idle));
        put_number(&mut out, tag::ABSOLUTE_DEADLINE, self.absolute_deadline.as_millis());
        put_number(&mut out, tag::REVISION, self.revision);
        for (name, value) in &self.fields {
            let (name, value) = (name.as_str().as_bytes(), value.as_json().as_bytes());
            out.push(tag::FIELD);
            put_length(&mut out, 1 + name.len() + value.len());
            // A name is at most 128 bytes, so that one byte always holds its length.
            out.push(name.len() as u8);
            out.extend_from_slice(name);
            out.extend_from_slice(value);
        }
        for field in &self.quarantined {
            put(&mut out, tag::FIELD, field);
        }
        for (tag, bytes) in &self.unknown {
            put(&mut out, *tag, bytes);
        }
        out
    }

    /// Reads what [`Record::encode`] wrote, by this or another version.
    ///
    /// # Errors
    /// [`RecordError`]; a field with a bad value is no error but quarantined.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge { bytes: bytes.len() });
        }
        let mut reader = Reader { bytes, offset: 0 };
        let format = reader.byte()?;
        match format {
            FORMAT => {}
            0 => return Err(RecordError::Malformed { tag: 0 }),
            found => return Err(RecordError::NewerFormat { found }),
        }
        let mut numbers = [None; 9];
        let (mut principal, mut fields) = (None, BTreeMap::new());
        let (mut quarantined, mut unknown) = (Vec::new(), Vec::new());
        while !reader.is_at_end() {
            let tag = reader.byte()?;
            let entry = reader.entry()?;
            match tag {
                tag::PRINCIPAL => {
                    principal = Some(Principal::parse(entry).map_err(|_| RecordError::Malformed { tag })?);
                }
                tag::PRINCIPAL_EPOCH..=tag::REVISION => {
                    let number = entry.try_into().map_err(|_| RecordError::Malformed { tag })?;
                    numbers[usize::from(tag)] = Some(u64::from_be_bytes(number));
                }
                tag::FIELD => match decode_field(entry) {
                    Some((name, value)) => drop(fields.insert(name, value)),
                    None => quarantined.push(entry.to_vec()),
                },
                _ => unknown.push((tag, entry.to_vec())),
            }
        }
        let number = |tag: u8| numbers[usize::from(tag)].ok_or(RecordError::Missing { tag });
        let time = |tag: u8| number(tag).map(Timestamp::from_millis);
        Ok(Self {
            principal,
            principal_epoch: number(tag::PRINCIPAL_EPOCH)?,
            created_at: time(tag::CREATED_AT)?,
            authenticated_at: time(tag::AUTHENTICATED_AT).ok(),
            last_seen_at: time(tag::LAST_SEEN_AT)?,
            idle: Duration::from_millis(number(tag::IDLE)?),
            absolute_deadline: time(tag::ABSOLUTE_DEADLINE)?,
            revision: number(tag::REVISION)?,
            fields,
            quarantined,
            unknown,
        })
    }
}

fn put(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, tag: u8, number: u64) {
    put(out, tag, &number.to_be_bytes());
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn decode_field(entry: &[u8]) -> Option<(FieldName, FieldValue)> {
    let (&name_length, rest) = entry.split_first()?;
    let (name, value) = rest.split_at_checked(usize::from(name_length))?;
    let name = FieldName::new(std::str::from_utf8(name).ok()?).ok()?;
    let value = FieldValue::parse(std::str::from_utf8(value).ok()?).ok()?;
    Some((name, value))
}

struct Reader<'bytes> {
    bytes: &'bytes [u8],
    offset: usize,
}

impl<'bytes> Reader<'bytes> {
    fn is_at_end(&self) -> bool {
        self.offset == self.bytes.len()
    }

    fn byte(&mut self) -> Result<u8, RecordError> {
        let byte = *self.bytes.get(self.offset).ok_or(RecordError::Truncated { offset: self.offset })?;
        self.offset += 1;
        Ok(byte)
    }

    fn entry(&mut self) -> Result<&'bytes [u8], RecordError> {
        let mut length = 0_usize;
        // Four groups of seven bits hold every length under RECORD_BYTES_MAX.
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let end = self.offset + length;
                let entry = self.bytes.get(self.offset..end).ok_or(RecordError::Truncated { offset: self.offset })?;
                self.offset = end;
                return Ok(entry);
            }
        }
        Err(RecordError::Truncated { offset: self.offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetimes() -> Lifetimes {
        Lifetimes::default()
    }

    fn sample() -> Record {
        let now = Timestamp::from_millis(1_000_000);
        let delta = Delta::parse_patch(br#"{"cart.tea": 2, "note": {"a": [1, 2]}}"#).unwrap();
        Record::begin(now, &lifetimes()).with_delta(&delta, now, 65_536).unwrap().with_principal(
            Principal::parse("álice".as_bytes()).unwrap(),
            3,
            now,
        )
    }

    #[test]
    fn a_record_round_trips() {
        let record = sample();
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    /// An older gateway that drops what a newer one added would lose data on every rolling upgrade.
    #[test]
    fn unknown_entries_survive_a_change() {
        let mut bytes = sample().encode();
        put(&mut bytes, 200, b"from the future");
        let record = Record::decode(&bytes).unwrap();
        let delta = Delta::parse_patch(br#"{"x":1}"#).unwrap();
        let changed = record.with_delta(&delta, Timestamp::from_millis(2_000_000), 65_536).unwrap();
        let again = Record::decode(&changed.encode()).unwrap();
        assert_eq!(again.unknown, [(200, b"from the future".to_vec())]);
        assert_eq!(Record::decode(&[2]), Err(RecordError::NewerFormat { found: 2 }));
    }

    /// One bad field must cost that field, not the session.
    #[test]
    fn a_bad_field_is_quarantined_and_kept() {
        let mut bytes = sample().encode();
        put(&mut bytes, tag::FIELD, b"\x03badnot json");
        let record = Record::decode(&bytes).unwrap();
        assert_eq!(record.quarantined(), 1);
        assert_eq!(record.fields().count(), 2);
        assert_eq!(Record::decode(&record.encode()).unwrap().quarantined(), 1);
    }

    /// A cap that silently drops the change would be a silent 200 for a lost cart.
    #[test]
    fn the_payload_cap_refuses_growth_and_names_the_largest_field() {
        let now = Timestamp::from_millis(1);
        let delta = Delta::parse_patch(format!(r#"{{"big":"{}"}}"#, "x".repeat(100)).as_bytes()).unwrap();
        let error = sample().with_delta(&delta, now, 64).unwrap_err();
        assert_eq!(error.largest[0], "big");
        let shrink = Delta::parse_patch(br#"{"note":null}"#).unwrap();
        assert!(sample().with_delta(&shrink, now, 1).is_ok());
    }

    #[test]
    fn debug_shows_neither_principal_nor_values() {
        let text = format!("{:?}", sample());
        assert!(!text.contains("álice") && !text.contains("[1, 2]"), "{text}");
    }

    proptest::proptest! {
        /// A torn write or a foreign record must be an error with an offset, never a panic or a huge allocation.
        #[test]
        fn decoding_is_total(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Record::decode(&bytes);
            let mut headed = vec![FORMAT];
            headed.extend(&bytes);
            let _ = Record::decode(&headed);
        }

        #[test]
        fn a_cut_record_never_decodes_to_another_one(cut in 0_usize..200) {
            let whole = sample();
            let bytes = whole.encode();
            let cut = cut.min(bytes.len() - 1);
            if let Ok(record) = Record::decode(&bytes[..cut]) {
                // Only whole trailing fields may be missing, and a store detects that by its own checksum.
                proptest::prop_assert_eq!(record.created_at, whole.created_at);
            }
        }
    }
}
