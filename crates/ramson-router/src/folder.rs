//! The data folder: where it is, what is in it, and one router in it at a time.

use crate::Failure;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// The data folder of a router.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The given folder, or the platform's own.
    pub(crate) fn find(given: Option<PathBuf>) -> Result<Self, Failure> {
        let path = match given {
            Some(path) => path,
            None => platform_folder().ok_or_else(|| Failure::usage("no home folder is known: say --data FOLDER"))?,
        };
        std::path::absolute(path).map(Self).map_err(Failure::failed)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("ramson.toml")
    }

    pub(crate) fn hosts(&self) -> PathBuf {
        self.0.join("hosts.txt")
    }

    /// Names that were visited after their source was said.
    pub(crate) fn used_names(&self) -> PathBuf {
        self.0.join("names-used.txt")
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Makes the folder, for its owner only.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        let cannot = |e| Failure::failed(format!("{}: {e}", self.0.display()));
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.0).map_err(cannot)
    }

    /// Takes the folder for this process, until the lock is dropped or the process ends.
    pub(crate) fn lock(&self) -> Result<FolderLock, Failure> {
        let path = self.0.join("lock");
        let cannot = |e: std::io::Error| Failure::failed(format!("{}: {e}", path.display()));
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(Failure::failed(format!("another router runs in {} already", self.0.display())))
            }
            Err(TryLockError::Error(e)) => Err(cannot(e)),
        }
    }
}

/// The folder is ours while this lives.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

fn platform_folder() -> Option<PathBuf> {
    let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if cfg!(windows) {
        return env("LOCALAPPDATA").map(|p| p.join("Ramson"));
    }
    if cfg!(target_os = "macos") {
        return env("HOME").map(|p| p.join("Library/Application Support/Ramson"));
    }
    let data = env("XDG_DATA_HOME").filter(|p| p.is_absolute());
    data.or_else(|| env("HOME").map(|p| p.join(".local/share"))).map(|p| p.join("ramson"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_router_at_a_time() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(temporary.path().join("a/b"))).unwrap();
        folder.create().unwrap();
        let lock = folder.lock().unwrap();
        assert!(folder.lock().unwrap_err().text.contains("another router"));
        drop(lock);
        folder.lock().unwrap();
    }
}
