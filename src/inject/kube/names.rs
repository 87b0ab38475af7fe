//! The syntax of Kubernetes names. A template with a name that the API server would reject in every pod is invalid.
//! Source: `k8s.io/apimachinery/pkg/util/validation`. The module checks strings only. It does not know what they name.

/// Returns true if `name` is a DNS-1123 label: 1 to 63 characters of a-z, 0-9 and `-`, with a letter or digit at both
/// ends.
#[must_use]
pub fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_part(name)
}

/// Returns true if `name` is a DNS-1123 subdomain: parts of a-z, 0-9 and `-`, joined by dots, at most 253 characters.
/// Each part has a letter or digit at both ends.
#[must_use]
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

/// Returns true for one or more of a-z, 0-9 and `-`, with a letter or digit at both ends.
fn is_part(part: &str) -> bool {
    part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !part.is_empty()
        && !part.starts_with('-')
        && !part.ends_with('-')
}

/// Returns true if `key` is a valid key of a label or annotation: an optional subdomain and `/`, then 1 to 63
/// characters as in [`is_label_value`].
#[must_use]
pub fn is_qualified_name(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && !name.is_empty() && is_label_value(name),
        None => !key.is_empty() && is_label_value(key),
    }
}

/// Returns true if `value` is a valid value of a label: empty, or up to 63 letters, digits, `-`, `_` and `.`, with a
/// letter or digit at both ends.
#[must_use]
pub fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let outer = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
        && outer(bytes.first())
        && outer(bytes.last())
}

/// The tag of an image reference without digest, such as `1.2` of `registry:5000/app:1.2`. `None` if it has none.
#[must_use]
pub(crate) fn image_tag(image: &str) -> Option<&str> {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').map(|(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_kubernetes() {
        for good in ["a", "a-1", "0"] {
            assert!(is_label(good) && is_subdomain(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"a".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
        assert!(is_subdomain("a.b-c.d") && !is_subdomain("a..b") && !is_subdomain(".") && !is_subdomain("a.-b"));
        for good in ["a", "A_b.c", "app.kubernetes.io/name", "x/y"] {
            assert!(is_qualified_name(good), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "bad key!", "a/b/c", "A/b", "-a", "a/.b", &"a".repeat(64)] {
            assert!(!is_qualified_name(bad), "{bad}");
        }
        assert!(is_label_value("") && is_label_value("1.2_3-A") && !is_label_value("x y") && !is_label_value("-"));
    }
}
