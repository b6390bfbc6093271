//! The configuration errors as a person at a terminal wants them: the source line, underlined, and what to do.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use crate::error::{ConfigError, ConfigErrors, Span};

/// Narrower than this, wrapped text is harder to read than text that runs over.
const WIDTH_MIN: usize = 40;

/// Errors that are shown with their source line; each costs a look through the whole file. The rest get a line each.
const WHOLE_MAX: usize = 100;

/// Renders every error, then one closing line.
pub(crate) fn render(errors: &ConfigErrors, colour: bool, width: usize) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(width.max(WIDTH_MIN));
    let source = NamedSource::new(errors.file(), errors.source_shared());
    let mut rendered = String::new();
    let (shown_whole, rest) = errors.errors().split_at(errors.errors().len().min(WHOLE_MAX));
    for error in shown_whole {
        let view = View { error, text: errors.source_text(), source: &source };
        // A `String` takes everything that is written to it; were the handler itself to fail, the compact form stands in.
        if handler.render_report(&mut rendered, &view).is_err() {
            rendered.push_str(&error.to_string());
        }
        rendered.push('\n');
    }
    for error in rest {
        rendered.push_str(&format!("{error}\n"));
    }
    let count = errors.errors().len();
    let noun = if count == 1 { "error" } else { "errors" };
    rendered.push_str(&format!("{count} {noun} in {}\n", errors.file()));
    rendered
}

/// One error with the text it points into, as the handler wants it.
#[derive(Debug)]
struct View<'a> {
    error: &'a ConfigError,
    text: &'a str,
    source: &'a NamedSource<std::sync::Arc<str>>,
}

impl fmt::Display for View<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.kind().fmt(formatter)
    }
}

impl std::error::Error for View<'_> {}

impl Diagnostic for View<'_> {
    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        let help = self.error.help()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        (!self.text.is_empty()).then_some(self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.text.is_empty() {
            return None;
        }
        let primary = LabeledSpan::new_primary_with_span(None, shown(self.text, self.error.span()));
        let first = self
            .error
            .first()
            .map(|span| LabeledSpan::new_with_span(Some("first here".to_owned()), shown(self.text, span)));
        Some(Box::new(first.into_iter().chain([primary])))
    }
}

/// The part of a span to underline: its first line only, since a list over fifty lines would bury the message.
fn shown(text: &str, span: Span) -> Span {
    let line = &text[span.clone()];
    let length = line.find(['\n', '\r']).unwrap_or(line.len());
    span.start..span.start + length
}
