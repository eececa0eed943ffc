//! The keys of a served destination, in the private key file format that i2pd and the Java router share.

use crate::files::{self, FileError};
use ramson::key_file;
use ramson_wire::data::PrivateKeys;
use std::path::Path;

/// Reads a private key file, which is refused where others could read it; `None` if there is none.
pub fn load_keys(path: &Path) -> Result<Option<PrivateKeys>, FileError> {
    Ok(key_file::load(path)?)
}

/// Reads a private key file; makes new keys and writes them, once and whole, if there is none. The keys are on disk
/// when this returns. A file that cannot be read stays as it is.
pub fn load_or_create_keys(path: &Path) -> Result<PrivateKeys, FileError> {
    // Earlier versions have left their unfinished files under other names.
    files::forget_unfinished(path);
    Ok(key_file::load_or_create(path)?)
}

/// Writes keys to a new file; fails if the file exists.
pub fn save_keys(path: &Path, keys: &PrivateKeys) -> Result<(), FileError> {
    Ok(key_file::create(path, keys)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::KEY_FILE_BYTES;
    use ramson_wire::codec::Encode as _;

    #[test]
    fn keys_are_made_once_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/site.dat");
        let made = load_or_create_keys(&path).unwrap();
        let read = load_or_create_keys(&path).unwrap();
        assert_eq!(made.destination(), read.destination());
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(save_keys(&path, &made).is_err(), "keys are never replaced");
        std::fs::write(&path, b"broken").unwrap();
        assert!(load_or_create_keys(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"broken", "what cannot be read stays");
        let long = [&made.to_bytes()[..], &vec![0; usize::try_from(KEY_FILE_BYTES).unwrap()]].concat();
        std::fs::write(&path, &long).unwrap();
        assert!(load_or_create_keys(&path).is_err(), "nor is a file read that is longer than any keys");
        assert_eq!(std::fs::read(&path).unwrap(), long);
    }

    #[test]
    fn t132_a_damaged_key_file_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.dat");
        load_or_create_keys(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let damaged = (0..whole.len()).map(|at| whole[..at].to_vec()).chain([
            vec![0; whole.len()],
            vec![0xff; whole.len()],
            whole.iter().chain(&[0]).copied().collect(),
            vec![0; KEY_FILE_BYTES as usize + 1],
        ]);
        for bytes in damaged {
            // Written over, so that the mode stays.
            std::fs::write(&path, &bytes).unwrap();
            assert!(load_or_create_keys(&path).is_err(), "{} bytes", bytes.len());
            assert!(std::fs::read(&path).unwrap() == bytes, "it stays, {} bytes", bytes.len());
        }
        std::fs::write(&path, &whole).unwrap();
        load_or_create_keys(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn t132_a_key_file_that_others_can_read_is_refused_with_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.dat");
        load_or_create_keys(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let said = load_or_create_keys(&path).unwrap_err().to_string();
        assert!(said.starts_with(&format!("{}: other users can read it", path.display())), "{said}");
        assert!(said.ends_with(&format!("chmod 600 {}", path.display())), "{said}");
    }
}
