//! Files that a running webhook reads.

use std::io::Write as _;
use std::path::Path;

/// Writes a file atomically: a reader gets the old content or all of `text`. With a plain write, it could get a part of
/// `text`, which can be a valid template.
pub(crate) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    // The name of the temporary file does not end in `.yaml`, so the webhook does not read it.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
