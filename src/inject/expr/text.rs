//! Finds the expressions `${…}` in a string of a template. The module determines where expressions begin and end. It
//! does not know what they mean.

/// A part of a string.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// Text, with `$${` replaced by `${`.
    Literal(String),
    /// The text between `${` and `}`, and its byte offset in the string.
    Expression(&'t str, usize),
}

/// Returns true if a string contains an expression or a literal `${`.
pub(super) fn has_marks(text: &str) -> bool {
    text.contains("${")
}

/// Splits `text` into literals and expressions, in order. Braces and quotes inside an expression are balanced; `$${` is
/// a literal `${`.
///
/// # Errors
/// The byte offset of a `${` that is not closed.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, usize> {
    let (mut pieces, mut literal, mut at) = (Vec::new(), String::new(), 0);
    while let Some(found) = text[at..].find("${").map(|offset| at + offset) {
        if text[at..found].ends_with('$') {
            literal.push_str(&text[at..found - 1]);
            literal.push_str("${");
            at = found + 2;
            continue;
        }
        literal.push_str(&text[at..found]);
        let inside = found + 2;
        let end = inside + end_of_expression(&text[inside..]).ok_or(found)?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Expression(&text[inside..end], inside));
        at = end + 1;
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// The byte offset of the brace that closes the expression at the beginning of `text`; `None` if it is not closed.
fn end_of_expression(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'\'' | b'"') => {
                let raw = at > 0 && matches!(bytes[at - 1], b'r' | b'R');
                at = end_of_string(bytes, at, quote, raw)?;
            }
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The byte offset of the first character outside of strings that CEL does not use, or of a quote that is not closed.
/// The parser is slow to recover from these.
pub(super) fn foreign(expression: &str) -> Option<usize> {
    let bytes = expression.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'\'' | b'"') => {
                let raw = at > 0 && matches!(bytes[at - 1], b'r' | b'R');
                match end_of_string(bytes, at, quote, raw) {
                    Some(end) => at = end,
                    None => return Some(at),
                }
            }
            byte if byte.is_ascii_alphanumeric() || b" \t\r\n_.,:?!&|=<>+-*/%()[]{}".contains(&byte) => {}
            _ => return Some(at),
        }
        at += 1;
    }
    None
}

/// The byte offset of the last quote of the CEL string that begins at `from`; `None` if it is not closed. A string in
/// three quotes can contain single quotes.
fn end_of_string(bytes: &[u8], from: usize, quote: u8, raw: bool) -> Option<usize> {
    let triple = bytes.get(from..from + 3).is_some_and(|three| three.iter().all(|byte| *byte == quote));
    let length = if triple { 3 } else { 1 };
    let mut at = from + length;
    while at < bytes.len() {
        if bytes[at] == b'\\' && !raw {
            at += 2;
            continue;
        }
        if bytes.get(at..at + length).is_some_and(|end| end.iter().all(|byte| *byte == quote)) {
            return Some(at + length - 1);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match pieces(text) {
            Err(at) => format!("open at {at}"),
            Ok(pieces) => {
                let show = |piece: &Piece<'_>| match piece {
                    Piece::Literal(text) => format!("[{text}]"),
                    Piece::Expression(text, at) => format!("<{text}>{at}"),
                };
                pieces.iter().map(show).collect()
            }
        }
    }

    #[test]
    fn finds_expressions_with_braces_and_quotes_inside() {
        for (text, expected) in [
            ("", ""),
            ("plain $ { } $HOME", "[plain $ { } $HOME]"),
            ("${a}", "<a>2"),
            ("x${a}y${b}", "[x]<a>3[y]<b>8"),
            ("$${HOME}", "[${HOME}]"),
            ("$$${a}", "[$${a}]"),
            ("${ {'a': 1}.a }", "< {'a': 1}.a >2"),
            ("${'}'}", "<'}'>2"),
            ("${\"}\\\"}\"}", "<\"}\\\"}\">2"),
            ("${r'\\'}", "<r'\\'>2"),
            ("${'''it's }'''}", "<'''it's }'''>2"),
            ("${''}", "<''>2"),
            ("${a", "open at 0"),
            ("x ${'a}", "open at 2"),
            ("${{}", "open at 0"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
