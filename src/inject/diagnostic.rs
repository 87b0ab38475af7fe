//! One problem in a document: its place (origin, line, column), a message and a help text that says how to fix it. It
//! is printed in the style of a compiler, with the offending line and a caret. The module works on text positions only.
//! It does not know about YAML or templates.

use std::fmt;

/// A document that diagnostics can point into.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name of the document in messages: a path, or `ConfigMap NAMESPACE/NAME key KEY`.
    pub origin: &'a str,
    /// The document's text.
    pub text: &'a str,
    /// Number of lines in `origin` before the text (for a template inside a ConfigMap manifest).
    pub lines_before: usize,
    /// Number of columns in `origin` before each line of the text (the indentation of a block scalar).
    pub columns_before: usize,
}

impl<'a> Source<'a> {
    /// Creates a source whose text is the whole of `origin`.
    #[must_use]
    pub fn new(origin: &'a str, text: &'a str) -> Self {
        Self { origin, text, lines_before: 0, columns_before: 0 }
    }

    /// Converts an error in this document to a diagnostic.
    #[must_use]
    pub fn diagnostic(&self, error: LocatedError) -> Diagnostic {
        let help = (!error.help.is_empty()).then_some(error.help);
        Diagnostic { help, ..self.error(error.span, error.message) }
    }

    /// Creates an error diagnostic at `span` of this document. The message is cut to 400 characters.
    #[must_use]
    pub fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        let line = self.text.lines().nth(span.line.saturating_sub(1));
        Diagnostic {
            severity: Severity::Error,
            origin: self.origin.to_owned(),
            line: span.line + self.lines_before,
            column: span.column + self.columns_before,
            snippet: line.map(|text| Snippet::new(text, span)),
            message: shown(&message.into(), MAX_MESSAGE),
            help: None,
        }
    }
}

/// An error at a place of a document, without the document. [`Source::diagnostic`] converts it to a [`Diagnostic`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedError {
    /// The place.
    pub span: Span,
    /// The problem, without a full stop.
    pub message: String,
    /// How to fix it; empty if there is no advice.
    pub help: String,
}

impl LocatedError {
    /// Creates an error. The message and the help are cut to 400 characters each.
    #[must_use]
    pub fn new(span: Span, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { span, message: shown(&message.into(), MAX_MESSAGE), help: shown(&help.into(), MAX_MESSAGE) }
    }
}

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
    /// Number of characters; shown as at least 1.
    pub length: usize,
}

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document is used, but it probably contains a mistake.
    Warning,
}

/// The line that a diagnostic points at, with the position of the caret in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snippet {
    text: String,
    caret_from: usize,
    caret_length: usize,
}

/// Maximum length of a message and of a help text, in characters. Both can quote the document.
const MAX_MESSAGE: usize = 400;
/// Maximum length of the part of a source line that is shown, in characters.
const SHOWN_CHARACTERS: usize = 120;

impl Snippet {
    fn new(line: &str, span: Span) -> Self {
        let column = span.column.saturating_sub(1);
        // A long line is shown from 60 characters before the place.
        let skipped = column.saturating_sub(SHOWN_CHARACTERS / 2);
        let text: String =
            line.chars().skip(skipped).take(SHOWN_CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let shown = text.chars().count();
        let caret_from = (column - skipped).min(shown);
        Self { caret_from, caret_length: span.length.clamp(1, (shown - caret_from).max(1)), text }
    }
}

/// A problem with its place. `Display` prints it on several lines with a caret; [`Self::one_line`] is for logs and
/// messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The name of the document; see [`Source::origin`].
    pub origin: String,
    /// 1-based line in `origin`; 0 if the problem concerns the whole document.
    pub line: usize,
    /// 1-based column in `origin`, in characters.
    pub column: usize,
    /// The problem, without a full stop.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
    snippet: Option<Snippet>,
}

impl Diagnostic {
    /// Creates an error that concerns the whole document.
    #[must_use]
    pub fn of_document(origin: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            origin: origin.to_owned(),
            line: 0,
            column: 0,
            message: shown(&message.into(), MAX_MESSAGE),
            help: None,
            snippet: None,
        }
    }

    /// Returns the diagnostic with a help text, cut to 400 characters.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(shown(&help.into(), MAX_MESSAGE));
        self
    }

    /// Returns the diagnostic as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The diagnostic as `ORIGIN:LINE:COLUMN: MESSAGE (HELP)`. Without a line it is `ORIGIN: MESSAGE (HELP)`.
    #[must_use]
    pub fn one_line(&self) -> String {
        let place = match self.line {
            0 => self.origin.clone(),
            line => format!("{}:{line}:{}", self.origin, self.column),
        };
        match &self.help {
            Some(help) => format!("{place}: {} ({help})", self.message),
            None => format!("{place}: {}", self.message),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        self.print(f, severity)
    }
}

/// A diagnostic that is printed under a title.
struct Titled<'d> {
    diagnostic: &'d Diagnostic,
    title: &'d str,
}

impl fmt::Display for Titled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.print(f, self.title)
    }
}

impl Diagnostic {
    /// Displays the diagnostic like `Display`, but with `title` instead of the severity, such as `warning[image-tag]`.
    #[must_use]
    pub fn titled<'d>(&'d self, title: &'d str) -> impl fmt::Display + 'd {
        Titled { diagnostic: self, title }
    }

    fn print(&self, f: &mut fmt::Formatter<'_>, title: &str) -> fmt::Result {
        write!(f, "{title}: {}", self.message)?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        if self.line == 0 {
            write!(f, "\n{margin}--> {}", self.origin)?;
        } else {
            write!(f, "\n{margin}--> {}:{}:{}", self.origin, self.line, self.column)?;
        }
        if let Some(snippet) = &self.snippet {
            let indent = " ".repeat(snippet.caret_from);
            let caret = "^".repeat(snippet.caret_length);
            write!(f, "\n{margin} |\n{number} | {}\n{margin} | {indent}{caret}", snippet.text)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{margin} = help: {help}")?;
        }
        Ok(())
    }
}

/// The name in `known` that `word` is probably a typo of: the nearest by edit distance, ignoring case. Returns `None`
/// if more than a third of the characters of `word` (at least 1, at most 4) differ. Of equally near names, the first
/// wins.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let lower = word.to_lowercase();
    let limit = word.chars().count().div_ceil(3).clamp(1, 4);
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        // A prefix is the other common mistake: `fluent` for `fluent-bit`.
        let distance = if name.len() > 3 && lower.len() >= 3 && name.to_lowercase().starts_with(&lower) {
            1
        } else {
            strsim::osa_distance(&lower, &name.to_lowercase())
        };
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// The longest beginning of `text` that has at most `max` bytes and ends at a character boundary.
#[must_use]
pub fn beginning(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// `text` made safe to show: control characters are escaped, and text beyond `limit` characters is replaced by `…`.
#[must_use]
pub fn shown(text: &str, limit: usize) -> String {
    let mut out = String::new();
    let mut count = 0;
    for c in text.chars() {
        let before = out.len();
        // Bidirectional control characters could change the order in which a message is displayed.
        if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
            count += c.escape_default().count();
        } else {
            out.push(c);
            count += 1;
        }
        if count > limit {
            out.truncate(before);
            out.push('…');
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_the_position() {
        let source = Source::new("t.yaml", "name: x\nsidecar: []\n");
        let diagnostic = source
            .error(Span { line: 2, column: 1, length: 7 }, "unknown key \"sidecar\"")
            .help("did you mean \"sidecars\"?");
        assert_eq!(
            diagnostic.to_string(),
            "error: unknown key \"sidecar\"\n --> t.yaml:2:1\n  |\n2 | sidecar: []\n  | ^^^^^^^\n  = help: did you mean \"sidecars\"?"
        );
        assert!(
            diagnostic.titled("error[invalid]").to_string().starts_with("error[invalid]: unknown key \"sidecar\"\n")
        );
        assert_eq!(diagnostic.one_line(), "t.yaml:2:1: unknown key \"sidecar\" (did you mean \"sidecars\"?)");
    }

    #[test]
    fn long_lines_are_truncated_around_the_position() {
        let text = format!("{}here{}", "x".repeat(500), "y".repeat(500));
        let printed = Source::new("t", &text).error(Span { line: 1, column: 501, length: 4 }, "m").to_string();
        let lines: Vec<&str> = printed.lines().collect();
        let at = lines[4].find('^').expect("a caret");
        assert_eq!(&lines[3][at..at + 4], "here");
        assert!(lines[3].len() < 140);
    }

    #[test]
    fn suggests_only_similar_names() {
        let known = ["sidecars", "initContainers", "volumes", "fluent-bit"];
        assert_eq!(nearest("sidecar", known), Some("sidecars"));
        assert_eq!(nearest("initcontainers", known), Some("initContainers"));
        assert_eq!(nearest("fluent-bti", known), Some("fluent-bit"));
        assert_eq!(nearest("fluent", known), Some("fluent-bit"));
        assert_eq!(nearest("affinity", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn shown_text_cannot_break_a_line() {
        assert_eq!(shown("a\nb\u{202e}", 20), "a\\nb\\u{202e}");
        assert_eq!(shown("abcdef", 3), "abc…");
    }
}
