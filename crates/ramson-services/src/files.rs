//! Files that must survive a crash at any moment.

use ramson::store::StoreError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct FileError {
    pub path: PathBuf,
    pub what: String,
}

impl FileError {
    pub(crate) fn new(path: &Path, what: impl std::fmt::Display) -> Self {
        Self { path: path.to_owned(), what: what.to_string() }
    }
}

impl From<StoreError> for FileError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unsafe { path, why } => Self { path, what: why },
            StoreError::Io { path, why } => Self { what: why.to_string(), path },
            StoreError::TooLarge(path) => Self { path, what: "too large".into() },
            other => Self { path: PathBuf::new(), what: other.to_string() },
        }
    }
}

/// Reads a file of at most `limit` bytes; `None` if there is none.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(FileError::new(path, e)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| FileError::new(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::new(path, format!("larger than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// Writes a file whole or not at all: a new file beside it, synced, renamed over it, and the folder synced.
/// With `create_new`, an existing file stays, and the call fails.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8], create_new: bool) -> Result<(), FileError> {
    let fail = |e: io::Error| FileError::new(path, e);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(fail)?;
    forget_unfinished(path);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = folder.join(name);
    let result = write_synced(&temporary, bytes).and_then(|()| {
        if create_new {
            // A hard link, unlike a rename, never replaces.
            fs::hard_link(&temporary, path)?;
            fs::remove_file(&temporary)
        } else {
            fs::rename(&temporary, path)
        }
    });
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(fail)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
}

/// Removes what crashes have left beside a file: it may hold keys.
pub(crate) fn forget_unfinished(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return };
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let rest = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".new"));
        if rest.is_some_and(|process| !process.is_empty() && process.bytes().all(|b| b.is_ascii_digit())) {
            // What cannot be removed does no harm to the file itself.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_whole_and_never_replaces_what_must_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/keys");
        assert!(read(&path, 10).unwrap().is_none());
        write_atomic(&path, b"one", true).unwrap();
        assert!(write_atomic(&path, b"two", true).is_err());
        assert_eq!(read(&path, 3).unwrap().unwrap(), b"one");
        write_atomic(&path, b"three", false).unwrap();
        assert_eq!(read(&path, 5).unwrap().unwrap(), b"three");
        assert!(read(&path, 4).is_err(), "too large");
        let names = fs::read_dir(folder.path().join("a")).unwrap().count();
        assert_eq!(names, 1, "no temporary file stays");
        let folder = path.parent().unwrap();
        for left in ["keys.12.new", "keys.1.new", "keys.new", "keys.a.new", "other.3.new"] {
            fs::write(folder.join(left), b"half").unwrap();
        }
        forget_unfinished(&path);
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["keys", "keys.a.new", "keys.new", "other.3.new"], "only what crashed writes leave");
    }
}
