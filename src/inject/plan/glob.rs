//! Globs of container names. It knows text only.

/// Whether `name` matches a glob: `*` is any text, `?` one character.
#[must_use]
pub(crate) fn matches(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < name.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[seen] => (at, seen) = (at + 1, seen + 1),
            _ => {
                let Some((back, taken)) = star else { return false };
                star = Some((back, taken + 1));
                (at, seen) = (back + 1, taken + 1);
            }
        }
    }
    glob[at..].iter().all(|byte| *byte == b'*')
}

/// Whether a glob spells a name out.
#[must_use]
pub(crate) fn is_literal(glob: &str) -> bool {
    !glob.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_shells() {
        for (glob, name) in [
            ("*", ""),
            ("*", "a"),
            ("a*", "abc"),
            ("*c", "abc"),
            ("a*c", "abbc"),
            ("a?c", "abc"),
            ("a", "a"),
            ("*b*", "abc"),
        ] {
            assert!(matches(glob, name), "{glob} {name}");
        }
        for (glob, name) in [("", "a"), ("a", "b"), ("a*", "ba"), ("*c", "cb"), ("?", ""), ("a?c", "ac"), ("a", "aa")] {
            assert!(!matches(glob, name), "{glob} {name}");
        }
    }
}
