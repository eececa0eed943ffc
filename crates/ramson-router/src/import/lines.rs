//! The files of the others, line by line: `key = value`, in sections or not. Bounded, and never more than text.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of such a file.
const MOST: u64 = 4 << 20;
/// Lines of it.
const MOST_LINES: usize = 20_000;

/// One setting, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Empty ahead of the first section.
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) at: At,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{name}:{}", self.line)
    }
}

/// The bytes of a file, if it is one of a reasonable size.
pub(super) fn bytes(file: &Path, most: u64) -> Result<Vec<u8>, String> {
    let said = |e: std::io::Error| format!("{}: {e}", file.display());
    // What is no file, a pipe for one, would never end.
    if !std::fs::metadata(file).map_err(said)?.is_file() {
        return Err(format!("{}: is no file", file.display()));
    }
    let mut bytes = Vec::new();
    File::open(file).map_err(said)?.take(most + 1).read_to_end(&mut bytes).map_err(said)?;
    if bytes.len() as u64 > most {
        return Err(format!("{}: larger than {most} bytes", file.display()));
    }
    Ok(bytes)
}

/// The settings of a file.
pub(super) fn settings(file: &Path) -> Result<Vec<Setting>, String> {
    Ok(parse(&String::from_utf8_lossy(&bytes(file, MOST)?), file))
}

/// The settings in a text. Lines that are none are left out: they say nothing to the others either.
pub(super) fn parse(text: &str, file: &Path) -> Vec<Setting> {
    let mut section = String::new();
    let mut all = Vec::new();
    for (i, line) in text.lines().take(MOST_LINES).enumerate() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.trim().to_owned();
            continue;
        }
        if let Some((key, value)) = line.split_once('=') {
            let at = At { file: file.to_owned(), line: i + 1 };
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            if !key.is_empty() {
                all.push(Setting { section: section.clone(), key, value, at });
            }
        }
    }
    all
}

/// `true` or what means it.
pub(super) fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on")
}
