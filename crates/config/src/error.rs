//! What is wrong with a configuration file: every mistake at once, each at its place.
//!
//! An operator who fixes one error only to be told of the next loses patience and, during an incident, minutes.
//! So the errors of one file travel together, with the text they point into.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::render;

/// A range of bytes in the configuration file.
pub type Span = Range<usize>;

/// Every error of one configuration file, in the order of the file.
///
/// `Display` is compact: one `file:line:column: message` per line. [`ConfigErrors::render`] shows the source.
/// Credentials in the text are blanked out before they get here, so neither form (nor `Debug`) can leak one.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    file: Arc<str>,
    source: Arc<str>,
    errors: Vec<ConfigError>,
}

/// One error of a configuration file.
#[derive(Clone, Debug)]
pub struct ConfigError {
    file: Arc<str>,
    line: usize,
    column: usize,
    span: Span,
    first: Option<Span>,
    kind: ErrorKind,
    help: Option<String>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is not TOML here.
    #[error("not valid TOML: {message}")]
    Syntax {
        /// What the TOML parser expected.
        message: String,
    },
    /// A key that means nothing in its table.
    #[error("unknown key `{key}` in {table}")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The table that holds it.
        table: String,
    },
    /// A value of the wrong TOML type.
    #[error("`{key}` must be {expected}, not {found}")]
    WrongType {
        /// The key of the value.
        key: String,
        /// What is expected, with its article.
        expected: &'static str,
        /// The TOML type that was found, with its article.
        found: &'static str,
    },
    /// A value of the right type that makes no sense.
    #[error("`{key}`: {reason}")]
    BadValue {
        /// The key of the value.
        key: String,
        /// Why it is refused.
        reason: String,
    },
    /// A value outside its bounds.
    #[error("`{key}` must be {minimum} to {maximum}, not {found}")]
    OutOfBounds {
        /// The key of the value.
        key: String,
        /// The smallest value that is accepted.
        minimum: String,
        /// The largest value that is accepted.
        maximum: String,
        /// The value as it was understood.
        found: String,
    },
    /// A key that has no default is absent.
    #[error("`{key}` is missing from {table}")]
    Missing {
        /// The absent key.
        key: &'static str,
        /// The table that should hold it.
        table: String,
    },
    /// Something that may appear once appears again.
    #[error("{what} appears twice")]
    Duplicate {
        /// What appears twice.
        what: String,
    },
    /// A route names a pool that is not defined.
    #[error("no pool is named \"{name}\"")]
    UnknownPool {
        /// The name as written.
        name: String,
    },
    /// Two settings, each fine alone, contradict each other.
    #[error("{reason}")]
    Conflict {
        /// Both settings, and why they do not go together.
        reason: String,
    },
    /// Part of the configuration language that this version does not carry out.
    #[error("{what} is not in this version")]
    NotInThisVersion {
        /// The key or value, in backticks.
        what: String,
    },
}

impl ConfigErrors {
    pub(crate) fn new(file: &str, source: String, findings: Vec<Finding>) -> Self {
        let file: Arc<str> = file.into();
        let line_starts = line_starts(&source);
        let errors = findings
            .into_iter()
            .map(|finding| {
                let span = aligned(&source, finding.span);
                let line_index = line_starts.partition_point(|start| *start <= span.start) - 1;
                let line_start = line_starts[line_index];
                ConfigError {
                    file: Arc::clone(&file),
                    line: line_index + 1,
                    column: source[line_start..span.start].chars().count() + 1,
                    first: finding.first.map(|first| aligned(&source, first)),
                    span,
                    kind: finding.kind,
                    help: finding.help,
                }
            })
            .collect();
        Self { file, source: source.into(), errors }
    }

    /// The errors, in the order of the file; never empty.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// The name of the file, as it was given to [`crate::Config::parse`].
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The text of the file, with credentials blanked out; spans point into it.
    pub fn source_text(&self) -> &str {
        &self.source
    }

    /// The errors for a person: each with its source line underlined, and a closing count.
    ///
    /// `width` is the width of the terminal in columns (at least 40 is assumed). Messages and help are wrapped to it;
    /// lines of the file are shown as they are.
    pub fn render(&self, colour: bool, width: usize) -> String {
        render::render(self, colour, width)
    }

    pub(crate) fn source_shared(&self) -> Arc<str> {
        Arc::clone(&self.source)
    }
}

impl ConfigError {
    /// The name of the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line of the error; the first line is 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column of the error in characters; the first column is 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong, in one line and without the place.
    pub fn message(&self) -> String {
        self.kind.to_string()
    }

    /// What to do about it, where there is something to say.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// What is wrong, to match on.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The bytes of the file that are wrong.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Where the thing that appears twice appears first.
    pub fn first(&self) -> Option<Span> {
        self.first.clone()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            error.fmt(formatter)?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, kind, .. } = self;
        write!(formatter, "{file}:{line}:{column}: {kind}")
    }
}

impl Error for ConfigErrors {}

impl Error for ConfigError {}

/// An error before its line and column are known.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) kind: ErrorKind,
    pub(crate) span: Span,
    pub(crate) first: Option<Span>,
    pub(crate) help: Option<String>,
}

/// The byte at which each line starts.
pub(crate) fn line_starts(source: &str) -> Vec<usize> {
    std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// The span within the text and on character boundaries, so that slicing by it cannot fail.
fn aligned(source: &str, span: Span) -> Span {
    let start = source.floor_char_boundary(span.start);
    let end = source.ceil_char_boundary(span.end.max(start).min(source.len()));
    start..end
}
