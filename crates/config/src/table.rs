//! Reads one table of the file key by key, reporting what is wrong and going on.
//!
//! A derived deserializer stops at its first error and knows no positions once it has succeeded; this reader does
//! neither. A value that cannot be used is reported and replaced by its default, so that one mistake does not hide
//! the next; the result is thrown away at the end if anything was reported.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ErrorKind, Span};
use crate::report::Report;
use crate::units::{format_duration, format_size, parse_duration, parse_size};

/// A table being read; [`TableReader::finish`] reports the keys that nobody asked for.
pub(crate) struct TableReader<'a> {
    table: &'a DeTable<'a>,
    name: String,
    span: Span,
    known: Vec<&'static str>,
    unsupported: Vec<&'static str>,
    report: &'a Report,
}

/// A value and the key it stands under (for an element of a list: the key of the list).
pub(crate) struct Value<'a> {
    pub(crate) key: &'a str,
    pub(crate) key_span: Span,
    value: &'a Spanned<DeValue<'a>>,
    pub(crate) report: &'a Report,
}

/// What a word of a closed set of words means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word<T> {
    /// It is a setting.
    Means(T),
    /// It is part of the language, but this version cannot do it; with what to use instead.
    Later(&'static str),
}

impl<'a> TableReader<'a> {
    pub(crate) fn new(table: &'a DeTable<'a>, name: String, span: Span, report: &'a Report) -> Self {
        Self { table, name, span, known: Vec::new(), unsupported: Vec::new(), report }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(crate) fn report(&self) -> &'a Report {
        self.report
    }

    /// The value under a key, which from now on is a known one.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        self.peek(key)
    }

    /// Like [`TableReader::value`], but absence is an error.
    pub(crate) fn required(&mut self, key: &'static str, help: &str) -> Option<Value<'a>> {
        let value = self.value(key);
        if value.is_none() {
            let table = self.name.clone();
            let help = Some(help.to_owned());
            self.report.push(ErrorKind::Missing { key, table }, self.span(), help);
        }
        value
    }

    /// The table under a key.
    pub(crate) fn table(&mut self, key: &'static str, name: &str) -> Option<TableReader<'a>> {
        self.value(key)?.table(name)
    }

    /// A duration within bounds, or its default.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        bounds: &RangeInclusive<Duration>,
    ) -> Duration {
        self.value(key).and_then(|value| value.duration(bounds)).unwrap_or(default)
    }

    /// A whole number within bounds, or its default.
    pub(crate) fn integer(&mut self, key: &'static str, default: u32, bounds: &RangeInclusive<u32>) -> u32 {
        self.value(key).and_then(|value| value.integer(bounds)).unwrap_or(default)
    }

    /// A size in bytes within bounds; `None` when it is absent or wrong.
    pub(crate) fn size(&mut self, key: &'static str, bounds: &RangeInclusive<u64>) -> Option<u64> {
        self.value(key).and_then(|value| value.size(bounds))
    }

    /// One of a closed set of words, or its default.
    pub(crate) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, Word<T>)], default: T) -> T {
        self.value(key).and_then(|value| value.word(words)).unwrap_or(default)
    }

    /// A key of the language that this version cannot honour: an error when it is there.
    pub(crate) fn unsupported(&mut self, key: &'static str, help: Option<&str>) {
        self.unsupported.push(key);
        if let Some(value) = self.peek(key) {
            let what = format!("`{key}`");
            self.report.push(ErrorKind::NotInThisVersion { what }, value.key_span, help.map(str::to_owned));
        }
    }

    /// Every entry in the order of the file, for a table whose keys are names.
    pub(crate) fn into_entries(self) -> Vec<Value<'a>> {
        let mut entries: Vec<Value<'a>> = self
            .table
            .iter()
            .map(|(key, value)| Value { key: key.get_ref(), key_span: key.span(), value, report: self.report })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        entries
    }

    /// Reports every key that was never asked for, with the nearest that was.
    pub(crate) fn finish(self) {
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) || self.unsupported.contains(&name) {
                continue;
            }
            let help = nearest(name, &self.known).map_or_else(
                || format!("the keys of {} are {}", self.name, listed(&self.known, '`')),
                |known| format!("did you mean `{known}`?"),
            );
            let kind = ErrorKind::UnknownKey { key: name.to_owned(), table: self.name.clone() };
            self.report.push(kind, key.span(), Some(help));
        }
    }

    /// The value under a key, without making the key a known one.
    pub(crate) fn peek(&self, key: &'static str) -> Option<Value<'a>> {
        let (found, value) = self.table.get_key_value(key)?;
        Some(Value { key, key_span: found.span(), value, report: self.report })
    }
}

impl<'a> Value<'a> {
    pub(crate) fn span(&self) -> Span {
        self.value.span()
    }

    pub(crate) fn is_string(&self) -> bool {
        self.value.get_ref().is_str()
    }

    pub(crate) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// Reports the value as senseless.
    pub(crate) fn refuse(&self, reason: impl Into<String>, help: Option<String>) {
        let kind = ErrorKind::BadValue { key: self.key.to_owned(), reason: reason.into() };
        self.report.push(kind, self.span(), help);
    }

    /// Reports the value as part of the language that this version cannot do.
    pub(crate) fn refuse_for_now(&self, what: impl Display, help: Option<String>) {
        let what = format!("`{what}`");
        self.report.push(ErrorKind::NotInThisVersion { what }, self.span(), help);
    }

    pub(crate) fn wrong_type(&self, expected: &'static str, help: Option<String>) {
        let kind = ErrorKind::WrongType { key: self.key.to_owned(), expected, found: type_name(self.value.get_ref()) };
        self.report.push(kind, self.span(), help);
    }

    pub(crate) fn string(&self) -> Option<&'a str> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type("a string", None);
        }
        text
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        let boolean = self.value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong_type("true or false", None);
        }
        boolean
    }

    pub(crate) fn table(&self, name: &str) -> Option<TableReader<'a>> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong_type("a table", None);
            return None;
        };
        // An inline table is the place of its errors; of a `[header]` the parser knows only the place of the header.
        Some(TableReader::new(table, name.to_owned(), self.span(), self.report))
    }

    /// The elements of a list; a single value stands for a list of one.
    pub(crate) fn elements(&self) -> Vec<Value<'a>> {
        let element = |value: &'a Spanned<DeValue<'a>>| Value {
            key: self.key,
            key_span: self.key_span.clone(),
            value,
            report: self.report,
        };
        match self.value.get_ref().as_array() {
            Some(array) => array.iter().map(element).collect(),
            None => vec![element(self.value)],
        }
    }

    /// The elements of a list; a single value is an error.
    pub(crate) fn list(&self, expected: &'static str, help: &str) -> Option<Vec<Value<'a>>> {
        if self.value.get_ref().is_array() {
            return Some(self.elements());
        }
        self.wrong_type(expected, Some(help.to_owned()));
        None
    }

    pub(crate) fn duration(&self, bounds: &RangeInclusive<Duration>) -> Option<Duration> {
        let example =
            || Some("write a number and its unit, like \"150ms\", \"30s\", \"5m\", \"24h\" or \"30d\"".to_owned());
        let Some(text) = self.value.get_ref().as_str() else {
            self.wrong_type("a duration in quotes", example());
            return None;
        };
        let Some(duration) = parse_duration(text) else {
            self.refuse(format!("{text:?} is not a duration"), example());
            return None;
        };
        self.bounded(duration, bounds, |duration| format_duration(*duration))
    }

    pub(crate) fn size(&self, bounds: &RangeInclusive<u64>) -> Option<u64> {
        let example = || Some("write a number of bytes, or a size like \"64KiB\" or \"1MiB\"".to_owned());
        let size = match self.value.get_ref() {
            DeValue::Integer(_) => {
                let Ok(size) = u64::try_from(self.signed()?) else {
                    self.refuse("a size is not negative", example());
                    return None;
                };
                size
            }
            DeValue::String(text) => {
                let Some(size) = parse_size(text) else {
                    self.refuse(format!("{text:?} is not a size"), example());
                    return None;
                };
                size
            }
            _ => {
                self.wrong_type("a size", example());
                return None;
            }
        };
        self.bounded(size, bounds, |size| format_size(*size))
    }

    pub(crate) fn integer(&self, bounds: &RangeInclusive<u32>) -> Option<u32> {
        let number = self.signed()?;
        let wide = i64::from(*bounds.start())..=i64::from(*bounds.end());
        let number = self.bounded(number, &wide, i64::to_string)?;
        u32::try_from(number).ok()
    }

    pub(crate) fn word<T: Copy>(&self, words: &[(&'static str, Word<T>)]) -> Option<T> {
        let text = self.string()?;
        match words.iter().find(|(name, _)| *name == text) {
            Some((_, Word::Means(meaning))) => Some(*meaning),
            Some((name, Word::Later(instead))) => {
                self.refuse_for_now(format_args!("{} = \"{name}\"", self.key), Some((*instead).to_owned()));
                None
            }
            None => {
                let usable: Vec<&'static str> =
                    words.iter().filter(|(_, word)| matches!(word, Word::Means(_))).map(|(name, _)| *name).collect();
                self.refuse(
                    format!("{text:?} is not one of {}", listed(&usable, '"')),
                    nearest(text, &usable).map(|near| format!("did you mean \"{near}\"?")),
                );
                None
            }
        }
    }

    fn signed(&self) -> Option<i64> {
        let Some(integer) = self.value.get_ref().as_integer() else {
            self.wrong_type("a whole number", None);
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            self.refuse("the number is too large", None);
        }
        number
    }

    fn bounded<T: PartialOrd>(&self, value: T, bounds: &RangeInclusive<T>, show: fn(&T) -> String) -> Option<T> {
        if bounds.contains(&value) {
            return Some(value);
        }
        let kind = ErrorKind::OutOfBounds {
            key: self.key.to_owned(),
            minimum: show(bounds.start()),
            maximum: show(bounds.end()),
            found: show(&value),
        };
        self.report.push(kind, self.span(), None);
        None
    }
}

/// The known word that a misspelt one most likely means: at most one edit in three characters away.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    /// Longer than any known word by far; the distance is quadratic in the length.
    const WORD_LENGTH_MAX: usize = 64;
    let length = word.chars().count();
    if length > WORD_LENGTH_MAX {
        return None;
    }
    let normal = word.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&normal, &candidate.replace('-', "_"));
            (distance, *candidate)
        })
        .filter(|(distance, candidate)| *distance <= (length.max(candidate.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The words in quotes, with commas between them.
pub(crate) fn listed(words: &[&str], quote: char) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{quote}{word}{quote}")).collect();
    quoted.join(", ")
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
