//! Files that a command hands to the running router, which can open only those of its own folder: they are copied
//! there for as long as the command runs.

use crate::Failure;
use crate::folder::Folder;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The names of such folders begin so; behind it is the number of the command's process.
const NAME: &str = "offered-";
/// Files and folders of one command, and bytes of all of them together: more than any bundle or netDb has.
const MOST_FILES: usize = 60_000;
const MOST_BYTES: u64 = 512 << 20;
/// Folders in folders.
const MOST_LEVELS: usize = 4;

/// A folder in the data folder. It goes with this value.
#[derive(Debug)]
pub(crate) struct Offer {
    dir: PathBuf,
    files: usize,
    bytes: u64,
}

impl Offer {
    pub(crate) fn new(folder: &Folder) -> Result<Self, Failure> {
        let dir = folder.path().join(format!("{NAME}{}", std::process::id()));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&dir).map_err(|why| Failure::failed(format!("{}: {why}", dir.display())))?;
        Ok(Self { dir, files: 0, bytes: 0 })
    }

    /// Copies a file, or a folder with all that is in it; says where the router finds it.
    pub(crate) fn add(&mut self, path: &Path) -> Result<PathBuf, Failure> {
        self.files += 1;
        let place = self.dir.join(self.files.to_string());
        let copied = fs::create_dir(&place).and_then(|()| {
            let to = place.join(path.file_name().unwrap_or(path.as_os_str()));
            self.copy(path, &to, MOST_LEVELS).map(|()| to)
        });
        copied.map_err(|why| Failure::failed(format!("{}: {why}", path.display())))
    }

    /// Where the router may write a file.
    pub(crate) fn room(&self) -> PathBuf {
        self.dir.join("written")
    }

    fn copy(&mut self, from: &Path, to: &Path, levels: usize) -> io::Result<()> {
        let found = fs::metadata(from)?;
        self.files += 1;
        self.bytes = self.bytes.saturating_add(found.len());
        if self.files > MOST_FILES || self.bytes > MOST_BYTES || levels == 0 {
            return Err(io::Error::other("too many files, or too large ones"));
        }
        if found.is_dir() {
            fs::create_dir(to)?;
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                self.copy(&entry.path(), &to.join(entry.file_name()), levels - 1)?;
            }
            return Ok(());
        }
        // What is no file, a pipe for one, would never end.
        if !found.is_file() {
            return Err(io::Error::other("is no file"));
        }
        fs::copy(from, to).map(drop)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // What stays goes at the next start of the router.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Removes what commands that were killed have left.
pub(crate) fn forget_left(folder: &Folder) {
    let Ok(entries) = fs::read_dir(folder.path()) else { return };
    let is_left = |name: &str| name.strip_prefix(NAME).is_some_and(|pid| pid.bytes().all(|b| b.is_ascii_digit()));
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_left) && entry.file_type().is_ok_and(|found| found.is_dir()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_are_copied_and_go_again() {
        let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::find(Some(data.path().to_owned())).unwrap();
        let path = |name: &str| other.path().join(name);
        fs::create_dir_all(path("net/rA")).unwrap();
        fs::write(path("net/rA/x.dat"), b"x").unwrap();
        fs::write(path("b.su3"), b"bundle").unwrap();
        let mut offer = Offer::new(&folder).unwrap();
        let (net, bundle) = (offer.add(&path("net")).unwrap(), offer.add(&path("b.su3")).unwrap());
        assert!(net.starts_with(data.path()) && bundle.ends_with("b.su3"));
        assert_eq!(
            (fs::read(net.join("rA/x.dat")).unwrap(), fs::read(bundle).unwrap()),
            (b"x".to_vec(), b"bundle".to_vec())
        );
        assert!(offer.add(&path("none")).unwrap_err().text.contains("none"));
        fs::create_dir_all(path("deep/1/2/3/4/5")).unwrap();
        assert!(offer.add(&path("deep")).unwrap_err().text.contains("too many"));
        drop(offer);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
        for name in ["offered-12", "offered-x", "offered"] {
            fs::create_dir(data.path().join(name)).unwrap();
        }
        forget_left(&folder);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 2);
    }
}
