//! Paths in containers, as the runtime reads them.

use std::borrow::Cow;

/// The shortest path with the same meaning, as Go's `path.Clean`: without repeated and trailing slashes, `.` and `..`.
/// The empty path stays empty.
#[must_use]
pub fn clean(path: &str) -> Cow<'_, str> {
    let is_clean = path == "/"
        || !path.ends_with('/')
            && path.split('/').skip(usize::from(path.starts_with('/'))).all(|part| !matches!(part, "" | "." | ".."));
    if is_clean || path.is_empty() {
        return Cow::Borrowed(path);
    }
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    Cow::Owned(if rooted {
        format!("/{joined}")
    } else if joined.is_empty() {
        ".".to_owned()
    } else {
        joined
    })
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn cleans_as_go_does() {
        for (path, cleaned) in [
            ("/data", "/data"),
            ("/data/", "/data"),
            ("//data", "/data"),
            ("/data/.", "/data"),
            ("/x/../data", "/data"),
            ("/..", "/"),
            ("/", "/"),
            ("//", "/"),
            ("a/../..", ".."),
            ("a/..", "."),
            ("", ""),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }
}
