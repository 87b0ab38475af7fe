//! Globs for container names. They work on any text.

/// Returns true if `name` matches the glob: `*` matches any text, `?` matches one byte.
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

/// Returns true if the glob is a literal name.
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
