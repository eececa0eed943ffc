//! Who may read and change what is the operator's alone: checked before a key is read, not only arranged when it is
//! written. A copy, a backup or an archive brings other modes along.
//!
//! A key that others could read is refused, as ssh does: whoever runs the router must know of it. So is a folder in
//! which others could put another key. Systems without such modes are not checked.

use super::{StoreError, io_error};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// Reads a file of keys, of at most `limit` bytes; `None` if there is none.
///
/// # Errors
/// Whatever stands in the way of reading an existing file, so that no caller takes it for a first start: that others
/// may read it, that it is not ours, that it is no file, or a link that leads nowhere.
pub fn read_private(path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    // What is no file is not opened: a pipe would never answer.
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(refused(path, "is no file".into())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            return match fs::symlink_metadata(path) {
                Ok(_) => Err(refused(path, "is a link that leads nowhere; is its disk there?".into())),
                Err(_) => Ok(None),
            };
        }
        Err(why) => return Err(io_error(path, why)),
    }
    let file = File::open(path).map_err(|why| io_error(path, why))?;
    check(path, &file.metadata().map_err(|why| io_error(path, why))?, READ_BY_OTHERS)?;
    // One allocation: a buffer that grows would leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(limit).unwrap_or(0).saturating_add(1)));
    file.take(limit + 1).read_to_end(&mut content).map_err(|why| io_error(path, why))?;
    if content.len() as u64 > limit { Err(StoreError::TooLarge(path.to_path_buf())) } else { Ok(Some(content)) }
}

/// Whether a folder that holds keys is ours, and nobody else can put other files into it, or another folder into its
/// place.
pub fn check_folder(dir: &Path) -> Result<(), StoreError> {
    let dir = fs::canonicalize(dir).map_err(|why| io_error(dir, why))?;
    check(&dir, &fs::metadata(&dir).map_err(|why| io_error(&dir, why))?, CHANGED_BY_OTHERS)?;
    for above in dir.ancestors().skip(1) {
        // One that cannot be looked at is not ours to judge.
        let Ok(found) = fs::metadata(above) else { continue };
        check_above(above, &found)?;
    }
    Ok(())
}

/// What to tell the operator of a folder that others can look into, though not change: it shows them no key, but the
/// routers that are known, and the names of files.
pub(crate) fn folder_warning(dir: &Path) -> Option<String> {
    let found = fs::metadata(dir).ok()?;
    check(dir, &found, (0o055, "look into")).err().map(|why| why.to_string())
}

/// What nobody else may do, as bits of a mode, and its name.
type Forbidden = (u32, &'static str);

/// Keys are not even read: mode 0600 or less.
const READ_BY_OTHERS: Forbidden = (0o077, "read");
const CHANGED_BY_OTHERS: Forbidden = (0o022, "change");

#[cfg(unix)]
fn check(path: &Path, found: &Metadata, (bits, what): Forbidden) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::geteuid().as_raw();
    // What is root's is as safe as the machine is.
    if found.uid() != own && found.uid() != 0 {
        let why =
            format!("belongs to another user ({}); `chown {own}` it, or run the router as that user", found.uid());
        return Err(refused(path, why));
    }
    if found.mode() & bits != 0 {
        let mode = if found.is_dir() { 700 } else { 600 };
        let why =
            format!("other users can {what} it (mode {:04o}); mend it with: chmod {mode} ", found.mode() & 0o7777);
        return Err(refused(path, why + &quoted(path)));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check(_: &Path, _: &Metadata, _: Forbidden) -> Result<(), StoreError> {
    Ok(())
}

/// A folder above: others may write into it only if the sticky bit keeps them from what is not theirs. Groups that
/// share a folder above know why.
#[cfg(unix)]
fn check_above(path: &Path, found: &Metadata) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt;
    const STICKY: u32 = 0o1000;
    if found.mode() & 0o002 == 0 || found.mode() & STICKY != 0 {
        return Ok(());
    }
    let mode = found.mode() & 0o7777;
    let why =
        format!("is above the data folder, and every user can change it (mode {mode:04o}); mend it with: chmod o-w ");
    Err(refused(path, why + &quoted(path)))
}

#[cfg(not(unix))]
fn check_above(_: &Path, _: &Metadata) -> Result<(), StoreError> {
    Ok(())
}

fn refused(path: &Path, why: String) -> StoreError {
    StoreError::Unsafe { path: path.to_path_buf(), why }
}

/// A path as a shell takes it for one word.
#[cfg(unix)]
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn why(path: &Path) -> String {
        read_private(path, 10).unwrap_err().to_string()
    }

    #[test]
    fn t132_keys_that_others_can_read_are_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a 'key'");
        fs::write(&path, b"secret").unwrap();
        for mode in (0..0o1000).filter(|mode| mode & 0o077 != 0) {
            set_mode(&path, mode | 0o400);
            let said = why(&path);
            let command = format!("chmod 600 '{}/a '\\''key'\\'''", dir.path().display());
            assert!(said.contains("other users can read it") && said.ends_with(&command), "{said}");
            assert!(!said.contains("secret"));
        }
        // What the text says is what helps.
        let command = why(&path).split("mend it with: ").nth(1).unwrap().to_owned();
        assert!(std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success());
        assert_eq!(read_private(&path, 10).unwrap().unwrap().as_slice(), b"secret");
        set_mode(&path, 0o400);
        assert!(read_private(&path, 10).is_ok());
    }

    #[test]
    fn t132_links_pipes_and_folders_are_never_a_first_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        symlink(path("nowhere"), path("dangling")).unwrap();
        symlink(path("loop"), path("loop")).unwrap();
        symlink(dir.path(), path("to-folder")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        for name in ["dangling", "loop", "to-folder", "folder", "pipe"] {
            assert!(read_private(&path(name), 10).is_err(), "{name}");
            assert!(super::super::create(&path(name), b"new").is_err(), "{name}");
        }
        // A link to where the keys are is the operator's choice; the mode is that of the file.
        fs::write(path("keys"), b"secret").unwrap();
        set_mode(&path("keys"), 0o600);
        symlink(path("keys"), path("link")).unwrap();
        assert_eq!(read_private(&path("link"), 10).unwrap().unwrap().as_slice(), b"secret");
        set_mode(&path("keys"), 0o640);
        assert!(why(&path("link")).contains("mode 0640"));
        assert!(read_private(&path("none"), 10).unwrap().is_none());
    }

    #[test]
    fn folders_that_others_can_change_are_refused_and_the_sticky_bit_helps_only_above() {
        let dir = tempfile::tempdir().unwrap();
        let (above, inside) = (dir.path().join("above"), dir.path().join("above/data"));
        fs::create_dir_all(&inside).unwrap();
        for mode in [0o700, 0o750, 0o755] {
            set_mode(&inside, mode);
            check_folder(&inside).unwrap();
            assert_eq!(folder_warning(&inside).is_some(), mode != 0o700);
        }
        for mode in [0o770, 0o702, 0o777, 0o1777] {
            set_mode(&inside, mode);
            let said = check_folder(&inside).unwrap_err().to_string();
            assert!(said.contains(&format!("chmod 700 {}", inside.display())), "{said}");
        }
        set_mode(&inside, 0o700);
        set_mode(&above, 0o1777);
        check_folder(&inside).unwrap();
        set_mode(&above, 0o777);
        let said = check_folder(&inside).unwrap_err().to_string();
        assert!(said.contains("above the data folder") && said.contains("chmod o-w"), "{said}");
        set_mode(&above, 0o700);
    }

    /// Only root can give a file away.
    #[test]
    fn t132_keys_of_another_user_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        fs::write(&path, b"secret").unwrap();
        set_mode(&path, 0o600);
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
            assert!(why(&path).contains("another user (12345)"));
        }
        if std::os::unix::fs::chown(dir.path(), Some(12_345), None).is_ok() {
            assert!(check_folder(dir.path()).is_err());
            std::os::unix::fs::chown(dir.path(), Some(0), None).unwrap();
        }
    }
}
