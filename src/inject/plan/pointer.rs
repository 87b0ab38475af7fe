//! JSON pointers (RFC 6901), which name the places that a patch changes.

use std::borrow::Cow;

/// Escapes one step of a JSON pointer (RFC 6901, section 3).
pub(crate) fn escaped(step: &str) -> Cow<'_, str> {
    if step.contains(['~', '/']) { Cow::Owned(step.replace('~', "~0").replace('/', "~1")) } else { Cow::Borrowed(step) }
}
