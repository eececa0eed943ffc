//! The router's folder: what outlives the process.
//!
//! - `router.keys`: the identity's keys. Written once, never replaced, never made anew because it cannot be read.
//! - `router.info`: the last RouterInfo of our own, for tools and other programs.
//! - `netDb/rX/routerInfo-<base 64>.dat`: one file per RouterInfo, as i2pd and Java keep them.
//! - `state/NAME`: small values that the core asks to keep.
//! - `router.lock`: held while a router lives here.
//!
//! Every write is atomic: to a new file beside the old one, synced, then renamed, then the folder synced. A crash at
//! any moment leaves the old content or the new. Files of keys and state are readable by their owner only; keys that
//! others could read, and a folder that others could change, are refused (see `private.rs`).
//!
//! All calls block; the driver makes them on a thread of its own.

mod private;

pub(crate) use private::folder_warning;
pub use private::{check_folder, read_private};

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ramson_wire::codec::Decode;
use ramson_wire::data::{Hash, RouterInfo, base64, router_info};
use zeroize::Zeroizing;

/// RouterInfo files that are read at start. More than the core ever keeps.
pub const MAX_ROUTER_INFOS: usize = 20_000;
/// Files and folders of the netDb that are looked at at start; the damaged ones among them are gone at the next one.
pub const MAX_NET_DB_FILES: usize = 60_000;
/// The most bytes of a saved value.
pub const MAX_VALUE: u64 = 1 << 20;
/// The most bytes of a keys file.
pub const MAX_KEYS: u64 = 1 << 14;

const KEYS: &str = "router.keys";
const OWN_ROUTER_INFO: &str = "router.info";
const NET_DB: &str = "netDb";
const STATE: &str = "state";
/// Not the name of a lock that a program may hold on its own folder, which may be this one.
const LOCK: &str = "router.lock";
/// Behind the name of a file that is being written.
const UNFINISHED: &str = ".new";

/// Why the folder cannot be used. The text names the file, and never its content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another router has the folder.
    #[error("{0}: another router is using this data folder; stop it, or choose another folder")]
    InUse(PathBuf),
    /// There are keys already. They are never replaced.
    #[error("{0}: exists; a router's keys are written once. Move the file away to get a new identity")]
    KeysExist(PathBuf),
    /// The file is there, but larger than anything that we write.
    #[error("{0}: too large; this is no file of ours")]
    TooLarge(PathBuf),
    /// The name of a saved value has other characters than `a-z 0-9 . -`, or is too long.
    #[error("`{0}` cannot name a saved value")]
    Name(String),
    /// Others could read or change it, or it is not what it should be. The text says how to mend it.
    #[error("{path}: {why}")]
    Unsafe {
        /// What it is about.
        path: PathBuf,
        /// The reason, in words for a person.
        why: String,
    },
    /// The operating system refused.
    #[error("{path}: {why}")]
    Io {
        /// What it is about.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
}

/// What the netDb folder held.
#[derive(Debug, Default)]
pub struct LoadedNetDb {
    /// Decoded, signature verified, kept under their own hash. Their age is the core's affair.
    pub routers: Vec<RouterInfo>,
    /// Files that were damaged or misnamed, and are gone now.
    pub discarded: usize,
}

/// A locked data folder.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// The lock goes with the file.
    _lock: File,
}

impl Store {
    /// Makes `dir` (mode 0700) if it is missing, and locks it for this process.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another router has it, [`StoreError::Unsafe`] when others can change it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        make_private_dir(dir)?;
        check_folder(dir)?;
        for folder in [NET_DB, STATE] {
            make_private_dir(&dir.join(folder))?;
        }
        let path = dir.join(LOCK);
        let lock =
            private().create(true).truncate(false).write(true).open(&path).map_err(|why| io_error(&path, why))?;
        match lock.try_lock() {
            Ok(()) => {
                forget_unfinished(dir)?;
                Ok(Self { dir: dir.to_path_buf(), _lock: lock })
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.to_path_buf())),
            Err(TryLockError::Error(why)) => Err(io_error(&path, why)),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The router's keys as they were written, or `None` when there are none yet. Whatever stands in the way of
    /// reading an existing file is an error, so that no caller takes it for a first start.
    pub fn router_keys(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        read_private(&self.dir.join(KEYS), MAX_KEYS)
    }

    /// Writes the router's keys, on the first start. When this returns they survive a crash.
    ///
    /// # Errors
    /// [`StoreError::KeysExist`] when there are keys; they stay as they are.
    pub fn create_router_keys(&self, keys: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(KEYS);
        create(&path, keys).map_err(|error| match error {
            StoreError::Io { why, .. } if why.kind() == io::ErrorKind::AlreadyExists => StoreError::KeysExist(path),
            other => other,
        })
    }

    /// Keeps our own RouterInfo where other programs look for it.
    pub fn write_own_router_info(&self, info: &RouterInfo) -> Result<(), StoreError> {
        replace(&self.dir.join(OWN_ROUTER_INFO), info.as_bytes())
    }

    /// A value that was saved under `name`, if there is one.
    pub fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        read(&self.state_file(name)?)
    }

    /// Keeps `value` under `name`, in place of an older one. When this returns it survives a crash.
    pub fn save(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        if value.len() as u64 > MAX_VALUE {
            return Err(StoreError::TooLarge(self.state_file(name)?));
        }
        replace(&self.state_file(name)?, value)
    }

    /// Forgets the value under `name`; nothing happens when there is none.
    pub fn forget(&self, name: &str) -> Result<(), StoreError> {
        remove(&self.state_file(name)?)
    }

    /// The saved values whose names begin with `prefix`, up to `most`. Of more, those that were not written for longest
    /// are forgotten.
    pub fn load_all(&self, prefix: &str, most: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut left = MAX_NET_DB_FILES;
        let mut files = Vec::new();
        for path in list(&self.dir.join(STATE), &mut left, fs::FileType::is_file)? {
            let name = path.file_name().and_then(|name| name.to_str()).filter(|name| name.starts_with(prefix));
            let Some(name) = name.map(str::to_owned).filter(|name| self.state_file(name).is_ok()) else { continue };
            let written = fs::metadata(&path).and_then(|about| about.modified()).map_err(|why| io_error(&path, why))?;
            files.push((written, name));
        }
        files.sort_by(|a, b| b.cmp(a));
        for (_, name) in files.drain(most.min(files.len())..) {
            self.forget(&name)?;
        }
        let load = |(_, name): (_, String)| match self.load(&name) {
            // It is none of ours, and is written anew when there is something to write.
            Err(StoreError::TooLarge(_)) => Ok(None),
            loaded => Ok(loaded?.map(|value| (name, value))),
        };
        files.into_iter().filter_map(|file| load(file).transpose()).collect()
    }

    /// Reads the netDb. A damaged file is removed and counted, and the others are kept. What cannot be read for
    /// another reason stays where it is.
    pub fn load_net_db(&self) -> Result<LoadedNetDb, StoreError> {
        let mut loaded = LoadedNetDb::default();
        let mut left = MAX_NET_DB_FILES;
        // Links are not followed: what they lead to is not ours to remove, and a pipe would never answer.
        for folder in list(&self.dir.join(NET_DB), &mut left, fs::FileType::is_dir)? {
            for file in list(&folder, &mut left, fs::FileType::is_file)? {
                if loaded.routers.len() >= MAX_ROUTER_INFOS {
                    return Ok(loaded);
                }
                match router_info_file(&file) {
                    Some(Ok(info)) => loaded.routers.push(info),
                    Some(Err(())) => {
                        remove(&file)?;
                        loaded.discarded += 1;
                    }
                    None => {}
                }
            }
        }
        Ok(loaded)
    }

    /// Keeps a RouterInfo, in place of an older one of the same router. Not synced: a lost one is fetched again, and
    /// the rename keeps the file whole.
    pub fn save_router_info(&self, info: &RouterInfo) -> Result<(), StoreError> {
        let path = self.router_info_path(&info.hash());
        if let Some(folder) = path.parent() {
            make_private_dir(folder)?;
        }
        let new = unfinished(&path);
        let mut file =
            private().create(true).truncate(true).write(true).open(&new).map_err(|why| io_error(&new, why))?;
        file.write_all(info.as_bytes()).map_err(|why| io_error(&new, why))?;
        fs::rename(&new, &path).map_err(|why| io_error(&path, why))
    }

    /// Forgets the RouterInfo of a router; nothing happens when there is none.
    pub fn remove_router_info(&self, router: &Hash) -> Result<(), StoreError> {
        remove(&self.router_info_path(router))
    }

    fn router_info_path(&self, router: &Hash) -> PathBuf {
        let name = base64::encode(router.as_bytes());
        let folder: String = name.chars().take(1).collect();
        self.dir.join(NET_DB).join(format!("r{folder}")).join(format!("routerInfo-{name}.dat"))
    }

    fn state_file(&self, name: &str) -> Result<PathBuf, StoreError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        let good = !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.bytes().all(plain);
        if !good || name.ends_with(UNFINISHED) {
            return Err(StoreError::Name(name.chars().take(100).collect()));
        }
        Ok(self.dir.join(STATE).join(name))
    }
}

/// Writes a file that must not be there yet, so that it survives a crash. For keys: mode 0600.
///
/// # Errors
/// An `AlreadyExists` when there is one; it stays as it is.
pub fn create(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let new = write_beside(path, content)?;
    // A link fails where a file is, a rename would replace it.
    let linked = fs::hard_link(&new, path).map_err(|why| io_error(path, why));
    remove(&new)?;
    linked?;
    sync_parent(path)
}

/// Writes a file, in place of an older one, so that a crash leaves one of both. Mode 0600.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let new = write_beside(path, content)?;
    fs::rename(&new, path).map_err(|why| io_error(path, why))?;
    sync_parent(path)
}

fn write_beside(path: &Path, content: &[u8]) -> Result<PathBuf, StoreError> {
    let new = unfinished(path);
    // Made anew, so that an old file's mode does not stay.
    remove(&new)?;
    let mut file = private().create_new(true).write(true).open(&new).map_err(|why| io_error(&new, why))?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if let Err(why) = written {
        remove(&new)?;
        return Err(io_error(&new, why));
    }
    Ok(new)
}

/// Removes what a crash has left beside our files: it may hold keys.
fn forget_unfinished(dir: &Path) -> Result<(), StoreError> {
    for name in [KEYS, OWN_ROUTER_INFO] {
        forget_unfinished_of(&dir.join(name))?;
    }
    let state = dir.join(STATE);
    let files = fs::read_dir(&state).map_err(|why| io_error(&state, why))?.flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().ends_with(UNFINISHED)) {
        remove(&file.path())?;
    }
    Ok(())
}

/// Removes what a crash has left beside a file.
pub(crate) fn forget_unfinished_of(path: &Path) -> Result<(), StoreError> {
    remove(&unfinished(path))
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// A rename is on the disk only when its folder is.
fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    if cfg!(unix) {
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(|why| io_error(parent, why))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(io_error(path, why)),
    };
    let mut content = Vec::new();
    file.take(MAX_VALUE + 1).read_to_end(&mut content).map_err(|why| io_error(path, why))?;
    if content.len() as u64 > MAX_VALUE { Err(StoreError::TooLarge(path.to_path_buf())) } else { Ok(Some(content)) }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(io_error(path, why)),
        _ => Ok(()),
    }
}

/// A file of the netDb: `None` is not ours to judge, an error is damaged.
fn router_info_file(path: &Path) -> Option<Result<RouterInfo, ()>> {
    let name = path.file_name()?.to_str()?;
    if name.ends_with(UNFINISHED) {
        return Some(Err(()));
    }
    let hash = name.strip_prefix("routerInfo-")?.strip_suffix(".dat")?;
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(router_info::MAX_LEN as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(router_info_of(hash, &bytes).ok_or(()))
}

/// The RouterInfo in a file that is named for `hash`, in base64.
pub(crate) fn router_info_of(hash: &str, bytes: &[u8]) -> Option<RouterInfo> {
    let info = RouterInfo::from_bytes(bytes).ok()?;
    // Another program may have put the file here: what we pass on as ours is verified.
    let good = base64::encode(info.hash().as_bytes()) == hash && info.verify().is_ok();
    good.then_some(info)
}

/// What is in a folder, of one kind, in order; `left` says how many more entries are looked at.
fn list(folder: &Path, left: &mut usize, kind: impl Fn(&fs::FileType) -> bool) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|why| io_error(folder, why))?.take(*left) {
        let entry = entry.map_err(|why| io_error(folder, why))?;
        *left = left.saturating_sub(1);
        if entry.file_type().is_ok_and(|found| kind(&found)) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn make_private_dir(dir: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|why| io_error(dir, why))
}

/// Options for files that only their owner may read.
fn private() -> OpenOptions {
    #[allow(unused_mut)]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn io_error(path: &Path, why: io::Error) -> StoreError {
    StoreError::Io { path: path.to_path_buf(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTERS: [&[u8]; 2] = [
        include_bytes!("../../ramson-wire/tests/fixtures/routers/router1.dat"),
        include_bytes!("../../ramson-wire/tests/fixtures/routers/router2.dat"),
    ];

    fn routers() -> Vec<RouterInfo> {
        ROUTERS.iter().map(|bytes| RouterInfo::from_bytes(bytes).unwrap()).collect()
    }

    #[test]
    fn one_router_per_folder() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse(_))));
        drop(store);
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn keys_are_written_once_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(store.router_keys().unwrap().is_none());
        store.create_router_keys(b"first").unwrap();
        assert!(matches!(store.create_router_keys(b"second"), Err(StoreError::KeysExist(_))));
        assert_eq!(store.router_keys().unwrap().unwrap().as_slice(), b"first");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "nothing unfinished stays: keys, lock, netDb, state");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_keys() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("new")).unwrap();
        store.create_router_keys(b"keys").unwrap();
        store.save("state", b"x").unwrap();
        let mode = |name: &str| fs::metadata(store.dir().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("router.keys"), mode("state/state"), mode(".")), (0o600, 0o600, 0o700));
    }

    #[test]
    fn unreadable_keys_are_an_error_and_not_a_first_start() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fs::create_dir(dir.path().join(KEYS)).unwrap();
        assert!(store.router_keys().is_err());
        assert!(store.create_router_keys(b"new").is_err());
        fs::remove_dir(dir.path().join(KEYS)).unwrap();
        store.create_router_keys(&vec![0; MAX_KEYS as usize + 1]).unwrap();
        assert!(matches!(store.router_keys(), Err(StoreError::TooLarge(_))));
    }

    #[test]
    fn what_a_crash_left_unfinished_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fs::write(dir.path().join("router.keys.new"), b"half").unwrap();
        store.create_router_keys(b"whole").unwrap();
        fs::write(dir.path().join("state/a.new"), b"half").unwrap();
        assert_eq!(store.load("a").unwrap(), None);
        store.save("a", b"whole").unwrap();
        assert_eq!(store.load("a").unwrap().unwrap(), b"whole");
        assert_eq!(store.router_keys().unwrap().unwrap().as_slice(), b"whole");
    }

    #[test]
    fn what_a_crash_left_unfinished_goes_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path()).unwrap().create_router_keys(b"whole").unwrap();
        let left = ["router.keys.new", "router.info.new", "state/a.new"];
        for name in left.into_iter().chain(["mine.new", "state/kept"]) {
            fs::write(dir.path().join(name), b"half").unwrap();
        }
        let store = Store::open(dir.path()).unwrap();
        assert!(left.iter().all(|name| !dir.path().join(name).exists()));
        assert!(dir.path().join("mine.new").exists(), "not ours");
        assert_eq!(store.router_keys().unwrap().unwrap().as_slice(), b"whole");
        assert_eq!(store.load("kept").unwrap().unwrap(), b"half");
    }

    #[test]
    fn values_are_replaced_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.save("profiles", b"1").unwrap();
        store.save("profiles", b"2").unwrap();
        assert_eq!(store.load("profiles").unwrap().unwrap(), b"2");
        store.forget("profiles").unwrap();
        store.forget("profiles").unwrap();
        assert_eq!(store.load("profiles").unwrap(), None);
        assert!(matches!(store.save("x", &vec![0; MAX_VALUE as usize + 1]), Err(StoreError::TooLarge(_))));
        for name in ["", "../router.keys", "a/b", ".hidden", "Upper", "x.new", &"x".repeat(101)] {
            assert!(matches!(store.save(name, b""), Err(StoreError::Name(_))), "{name}");
        }
    }

    #[test]
    fn values_of_a_kind_are_read_together_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for n in 0..10u8 {
            store.save(&format!("kind-{n}"), &[n]).unwrap();
            let file = File::options().write(true).open(dir.path().join(format!("state/kind-{n}"))).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(n.into())).unwrap();
        }
        store.save("other", b"x").unwrap();
        fs::write(dir.path().join("state/kind-Odd"), b"not ours").unwrap();
        fs::write(dir.path().join("state/kind-large"), vec![0; MAX_VALUE as usize + 1]).unwrap();
        let loaded = store.load_all("kind-", 5).unwrap();
        let expected: Vec<_> = [9, 8, 7, 6].map(|n: u8| (format!("kind-{n}"), vec![n])).to_vec();
        assert_eq!(loaded, expected);
        assert_eq!((store.load("kind-5").unwrap(), store.load("other").unwrap()), (None, Some(b"x".to_vec())));
    }

    #[test]
    fn the_net_db_keeps_whole_files_and_discards_damaged_ones() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for info in routers() {
            store.save_router_info(&info).unwrap();
            store.save_router_info(&info).unwrap();
        }
        let damaged = store.router_info_path(&Hash([7; 32]));
        fs::create_dir_all(damaged.parent().unwrap()).unwrap();
        fs::write(&damaged, b"damaged").unwrap();
        // Whole, but under another router's name.
        fs::write(damaged.with_file_name("routerInfo-other.dat"), ROUTERS[0]).unwrap();
        let mut flipped = ROUTERS[1].to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        let second = store.router_info_path(&routers()[1].hash());
        fs::write(&second, flipped).unwrap();
        fs::write(damaged.with_file_name("notes.txt"), b"not ours").unwrap();

        let loaded = store.load_net_db().unwrap();
        assert_eq!((loaded.routers, loaded.discarded), (vec![routers().remove(0)], 3));
        assert_eq!(store.load_net_db().unwrap().discarded, 0);
        store.remove_router_info(&routers()[0].hash()).unwrap();
        store.remove_router_info(&routers()[0].hash()).unwrap();
        assert!(store.load_net_db().unwrap().routers.is_empty());
    }

    #[test]
    fn t133_garbage_in_the_net_db_is_bounded_work_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.save_router_info(&routers()[0]).unwrap();
        let folder = dir.path().join("netDb/rA");
        fs::create_dir_all(&folder).unwrap();
        for n in 0..50_000 {
            fs::write(folder.join(format!("routerInfo-{n}.dat")), [0; 60]).unwrap();
        }
        let loaded = store.load_net_db().unwrap();
        assert_eq!((loaded.routers.len(), loaded.discarded), (1, 50_000));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        // More than are looked at: what is left goes at the next start.
        let mut left = 3;
        for n in 0..5 {
            fs::write(folder.join(n.to_string()), b"").unwrap();
        }
        assert_eq!(list(&folder, &mut left, fs::FileType::is_file).unwrap().len(), 3);
        assert_eq!(left, 0);
        assert!(list(&folder, &mut left, fs::FileType::is_file).unwrap().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_and_pipes_in_the_net_db_are_not_looked_at() {
        use std::os::unix::fs::symlink;
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Store::open(dir.path()).unwrap();
        let (folder, theirs) = (dir.path().join("netDb/rA"), other.path().join("routerInfo-theirs.dat"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&theirs, b"no RouterInfo").unwrap();
        symlink(other.path(), dir.path().join("netDb/rB")).unwrap();
        symlink(&theirs, folder.join("routerInfo-link.dat")).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(folder.join("routerInfo-pipe.dat")).status();
        assert!(pipe.unwrap().success());
        assert_eq!(store.load_net_db().unwrap().discarded, 0);
        assert!(theirs.exists());
    }
}
