//! Files that a running webhook reads.

use std::io::Write as _;
use std::path::Path;

/// Writes a file whole: a reader sees what was there before, or all of `text`. With a plain write it could read the
/// beginning, which may be a valid template too.
pub(crate) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    // Its name does not end in `.yaml`, so it is not a template.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
