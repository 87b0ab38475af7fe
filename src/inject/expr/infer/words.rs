//! The words of messages about types: operators as they are written, and the places of tokens in a source. The module
//! knows no types.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{Expr, LiteralValue, operators};

use crate::inject::diagnostic::shown;

/// The operator as it is written; `None` for a function.
pub(super) fn operator(name: &str) -> Option<&str> {
    match name {
        operators::IN => Some("in"),
        operators::CONDITIONAL => Some("?"),
        operators::INDEX => Some("["),
        operators::NEGATE => Some("-"),
        operators::LOGICAL_NOT => Some("!"),
        name => name.strip_prefix('_')?.strip_suffix('_'),
    }
}

/// The source of a short node; `None` for a longer one.
pub(super) fn written(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Ident(name) if !name.starts_with('@') => Some(name.clone()),
        Expr::Select(select) => Some(format!("{}.{}", written(&select.operand)?, select.field)),
        Expr::Literal(LiteralValue::String(text)) => Some(format!("'{}'", shown(text.inner(), 40))),
        Expr::Literal(LiteralValue::Int(number)) => Some(number.inner().to_string()),
        Expr::Literal(LiteralValue::Boolean(value)) => Some(value.inner().to_string()),
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let [target, key] = &call.args[..] else { return None };
            Some(format!("{}[{}]", written(target)?, written(key)?))
        }
        _ => None,
    }
}

/// The offset of `token` in `source`, if it occurs once outside of strings; otherwise 0. The library does not reveal
/// the places of nodes.
pub(super) fn locate(source: &str, token: &str) -> usize {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (bytes, is_name) = (source.as_bytes(), token.bytes().all(is_word));
    let (mut found, mut quote, mut at) = (None, None, 0);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'\'' | b'"')) => quote = Some(byte),
            (None, _) if source.get(at..).is_some_and(|rest| rest.starts_with(token)) => {
                let before = at.checked_sub(1).map(|before| bytes[before]);
                let after = bytes.get(at + token.len()).copied();
                let is_part = is_name && [before, after].into_iter().flatten().any(is_word);
                let is_longer = !is_name && [before, after].into_iter().flatten().any(|byte| b"=<>&|".contains(&byte));
                if !is_part && !is_longer {
                    if found.is_some() {
                        return 0;
                    }
                    found = Some(at);
                }
                at += token.len() - 1;
            }
            _ => {}
        }
        at += 1;
    }
    found.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::locate;

    #[test]
    fn finds_the_only_token() {
        for (source, token, at) in [
            ("a.lables.b", "lables", 2),
            ("'lables' + lables", "lables", 11),
            ("lables + x.lables", "lables", 0),
            ("x.lablesx", "lables", 0),
            ("'a' + b", "+", 4),
            ("'a + b' + c", "+", 8),
            ("a <= b", "<", 0),
            ("'a\\'+' + b", "+", 7),
            ("é + b", "+", 3),
        ] {
            assert_eq!(locate(source, token), at, "{source}");
        }
    }
}
