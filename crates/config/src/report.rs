//! Where the readers leave what they find wrong, and what of it is worth telling.
//!
//! After a syntax error the parser guesses how to go on, and its guess brings follow-up errors that are not the
//! author's. They are dropped here; everything else is kept.

use std::cell::RefCell;

use crate::error::{ConfigErrors, ErrorKind, Finding, Span, line_starts};

/// Collects errors while a file is read.
///
/// Readers of nested tables are alive at the same time and all report; hence the interior mutability.
#[derive(Debug, Default)]
pub(crate) struct Report {
    findings: RefCell<Vec<Finding>>,
    secrets: RefCell<Vec<Span>>,
}

impl Report {
    pub(crate) fn push(&self, kind: ErrorKind, span: Span, help: Option<String>) {
        self.findings.borrow_mut().push(Finding { kind, span, first: None, help });
    }

    pub(crate) fn push_duplicate(&self, what: String, span: Span, first: Span, help: Option<String>) {
        self.findings.borrow_mut().push(Finding {
            kind: ErrorKind::Duplicate { what },
            span,
            first: Some(first),
            help,
        });
    }

    /// Marks a value that may hold a credential: it is blanked up to its last `@` wherever the text is shown.
    pub(crate) fn mark_secret(&self, span: Span) {
        self.secrets.borrow_mut().push(span);
    }

    /// The errors worth telling, in the order of the file; `Ok` when there are none.
    pub(crate) fn into_result(self, text: &str, file_name: &str) -> Result<(), ConfigErrors> {
        let mut findings = self.findings.into_inner();
        if findings.is_empty() {
            return Ok(());
        }
        findings.sort_by_key(|finding| (finding.span.start, !is_syntax(finding)));
        drop_follow_ups(text, &mut findings);
        for finding in &mut findings {
            blank_message(finding);
        }
        let source = blank_source(text, &self.secrets.into_inner());
        Err(ConfigErrors::new(file_name, source, findings))
    }
}

fn is_syntax(finding: &Finding) -> bool {
    matches!(finding.kind, ErrorKind::Syntax { .. })
}

/// Keeps one syntax error per line, and drops the errors that a syntax error may have caused.
fn drop_follow_ups(text: &str, findings: &mut Vec<Finding>) {
    let starts = line_starts(text);
    let line_of = |at: usize| starts.partition_point(|start| *start <= at);
    let mut broken_lines: Vec<usize> =
        findings.iter().filter(|finding| is_syntax(finding)).map(|finding| line_of(finding.span.start)).collect();
    if broken_lines.is_empty() {
        return;
    }
    broken_lines.dedup();
    let orphans = lines_of_broken_tables(text, &broken_lines);
    let mut last_syntax_line = 0;
    findings.retain(|finding| {
        let line = line_of(finding.span.start);
        if is_syntax(finding) {
            return std::mem::replace(&mut last_syntax_line, line) != line;
        }
        // What is missing may stand on the line that could not be read.
        let may_follow = matches!(finding.kind, ErrorKind::Missing { .. } | ErrorKind::UnknownPool { .. });
        !may_follow && broken_lines.binary_search(&line).is_err() && orphans.binary_search(&line).is_err()
    });
}

/// The lines under a header that could not be read, up to the next header: their keys were taken for another table's.
fn lines_of_broken_tables(text: &str, broken_lines: &[usize]) -> Vec<usize> {
    let mut under_broken_header = false;
    let numbered = text.lines().zip(1..);
    numbered
        .filter_map(|(line, number)| {
            if line.trim_start().starts_with('[') {
                under_broken_header = broken_lines.binary_search(&number).is_ok();
            }
            under_broken_header.then_some(number)
        })
        .collect()
}

/// Blanks credentials that a message would quote from a value that stands under the wrong key, or is used as one.
fn blank_message(finding: &mut Finding) {
    let blank = |texts: &mut [&mut String]| texts.iter_mut().for_each(|text| **text = blank_urls(text));
    match &mut finding.kind {
        ErrorKind::UnknownKey { key, table } => blank(&mut [key, table]),
        ErrorKind::BadValue { key, reason } => blank(&mut [key, reason]),
        ErrorKind::OutOfBounds { key, minimum, maximum, found } => blank(&mut [key, minimum, maximum, found]),
        ErrorKind::Syntax { message: text }
        | ErrorKind::WrongType { key: text, .. }
        | ErrorKind::Missing { table: text, .. }
        | ErrorKind::Conflict { reason: text }
        | ErrorKind::Duplicate { what: text }
        | ErrorKind::NotInThisVersion { what: text }
        | ErrorKind::UnknownPool { name: text } => blank(&mut [text]),
    }
    finding.help = finding.help.take().map(|help| blank_urls(&help));
}

/// The text with every credential replaced by asterisks of the same length, so that spans still fit.
fn blank_source(text: &str, secrets: &[Span]) -> String {
    let mut blanked = blank_urls(text);
    for span in secrets {
        let Some(value) = blanked.get(span.clone()) else {
            continue;
        };
        let Some(at) = value.rfind('@') else { continue };
        let quotes = value.bytes().take_while(|byte| matches!(byte, b'"' | b'\'')).count();
        let asterisks: String = value[quotes..at].chars().map(asterisks_for).collect();
        blanked.replace_range(span.start + quotes..span.start + at, &asterisks);
    }
    blanked
}

/// Blanks, on each line, what stands between `://` and the last `@`: too much rather than too little, since a
/// password may hold any character, quotes included (RFC 3986 section 3.2.1 advises against showing it).
fn blank_urls(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| {
            let authority = line.find("://").map(|at| at + "://".len());
            match (authority, line.rfind('@')) {
                (Some(from), Some(to)) if from < to => {
                    let asterisks: String = line[from..to].chars().map(asterisks_for).collect();
                    format!("{}{asterisks}{}", &line[..from], &line[to..])
                }
                _ => line.to_owned(),
            }
        })
        .collect()
}

fn asterisks_for(character: char) -> &'static str {
    // Line breaks stay, so that line numbers do.
    match (character, character.len_utf8()) {
        ('\n', _) => "\n",
        (_, 1) => "*",
        (_, 2) => "**",
        (_, 3) => "***",
        _ => "****",
    }
}
