//! The files of the others, line by line: `key = value`, in sections or not. Bounded, and never more than text.
//!
//! A line means what it means to the router that it was written for: what stands behind `#` is a comment in i2pd.conf and
//! in all files of the Java router, and part of the value in tunnels.conf.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of such a file.
const MOST: u64 = 4 << 20;
/// Lines of it.
const MOST_LINES: usize = 20_000;

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// i2pd.conf: sections, or `section.key`.
    Options,
    /// tunnels.conf: a section for each tunnel.
    Tunnels,
    /// The Java router's: no sections.
    Java,
}

/// One setting, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Empty ahead of the first section.
    pub(super) section: String,
    /// How many sections began ahead of it: two of one name are two.
    pub(super) block: usize,
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

/// The files of a folder, in the order of their names.
pub(super) fn files_of(folder: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_one = |path: &PathBuf| path.extension().is_some_and(|extension| extension == end);
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_one).take(1000).collect();
    files.sort();
    files
}

/// The settings of a file.
pub(super) fn settings(file: &Path, format: Format) -> Result<Vec<Setting>, String> {
    let bytes = bytes(file, MOST)?;
    if bytes.iter().filter(|b| **b == b'\n').count() > MOST_LINES {
        return Err(format!("{}: more than {MOST_LINES} lines", file.display()));
    }
    Ok(parse(&String::from_utf8_lossy(&bytes), file, format))
}

/// The settings in a text. Lines that are none are left out: they say nothing to the others either.
pub(super) fn parse(text: &str, file: &Path, format: Format) -> Vec<Setting> {
    let (mut section, mut block) = (String::new(), 0);
    let mut all = Vec::new();
    for (i, line) in without_mark(text).lines().take(MOST_LINES).enumerate() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let line = if format == Format::Tunnels { line } else { line.split('#').next().unwrap_or_default() };
        if format != Format::Java
            && let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next())
        {
            section = name.trim().to_owned();
            block += 1;
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let (mut section, mut key) = (section.as_str(), key.trim());
        if format == Format::Options
            && section.is_empty()
            && let Some((ahead, behind)) = key.split_once('.')
        {
            (section, key) = (ahead.trim(), behind.trim());
        }
        if !key.is_empty() {
            let at = At { file: file.to_owned(), line: i + 1 };
            let (section, key, value) = (section.to_owned(), key.to_owned(), value.trim().to_owned());
            all.push(Setting { section, block, key, value, at });
        }
    }
    all
}

/// A text without the mark that editors of Windows put ahead of it.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// `true` or what means it.
pub(super) fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on")
}
