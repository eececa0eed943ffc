//! What `.i2p` names mean. The order: names accepted for this run, the user's own hosts.txt, the shipped list.

mod book;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod host;

pub use book::{Book, Skipped};
pub use host::{BadName, Host, HostName};

use crate::files::{self, FileError};
use crate::limits::{HOSTS_BYTES, SESSION_NAMES};
use ramson_wire::data::Destination;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The list that comes with Ramson; it is the hosts.txt of the Java router.
const SHIPPED: &[u8] = include_bytes!("hosts.txt");

/// Where a name's meaning comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Accepted by the user until the router stops.
    Session,
    /// The user's own hosts.txt.
    User,
    /// The list that comes with Ramson.
    Shipped,
}

impl Source {
    /// Whether the user gave the name its meaning himself.
    pub fn is_own(self) -> bool {
        match self {
            Self::Session | Self::User => true,
            Self::Shipped => false,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Session => "accepted by you until the router stops",
            Self::User => "your own hosts.txt",
            Self::Shipped => "the list that comes with Ramson",
        })
    }
}

/// The names that this router knows.
#[derive(Debug)]
pub struct Names {
    path: PathBuf,
    shipped: Book,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    session: HashMap<HostName, Destination>,
    user: Book,
    /// What the user's file looked like when it was read.
    seen: Option<(SystemTime, u64)>,
}

impl Names {
    /// Reads the user's own list from `path`; it need not exist, and may change at any time. Fails if it is there but
    /// cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let path = path.into();
        files::forget_unfinished(&path);
        let names = Self { path, shipped: Book::parse(SHIPPED).0, state: Mutex::default() };
        names.reload(&mut names.lock())?;
        Ok(names)
    }

    /// The user's own list.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a name means, and who says so.
    pub fn resolve(&self, name: &HostName) -> Option<(Destination, Source)> {
        let mut state = self.lock();
        if let Err(e) = self.reload(&mut state) {
            // The names that were read before stay good.
            tracing::warn!("names: {e}");
        }
        let session = state.session.get(name).map(|d| (d, Source::Session));
        let user = || state.user.get(name).map(|d| (d, Source::User));
        let shipped = || self.shipped.get(name).map(|d| (d, Source::Shipped));
        session.or_else(user).or_else(shipped).map(|(d, source)| (d.clone(), source))
    }

    /// Gives a name a meaning until the router stops. `false` if there are too many of those.
    pub fn accept_for_session(&self, name: HostName, destination: Destination) -> bool {
        let mut state = self.lock();
        let room = state.session.len() < SESSION_NAMES || state.session.contains_key(&name);
        if room {
            state.session.insert(name, destination);
        }
        room
    }

    /// Gives a name a meaning for good: writes it to the user's own list, in place of what stood there for it.
    /// All other lines stay as they are.
    pub fn store(&self, name: &HostName, destination: &Destination) -> Result<(), FileError> {
        let mut state = self.lock();
        let old = files::read(&self.path, HOSTS_BYTES)?.unwrap_or_default();
        files::write_atomic(&self.path, &book::with_entry(&old, name, destination), false)?;
        state.session.remove(name);
        state.seen = None;
        self.reload(&mut state)
    }

    /// Reads the user's file again if it has changed.
    fn reload(&self, state: &mut State) -> Result<(), FileError> {
        let now = match std::fs::metadata(&self.path) {
            Ok(meta) => Some((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len())),
            Err(_) => None,
        };
        if now == state.seen && now.is_some() {
            return Ok(());
        }
        let bytes = files::read(&self.path, HOSTS_BYTES)?.unwrap_or_default();
        let (user, skipped) = Book::parse(&bytes);
        if skipped != Skipped::default() {
            tracing::warn!("names: {}: {skipped}", self.path.display());
        }
        state.user = user;
        state.seen = now;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ramson::AddressBook for Names {
    fn resolve(&self, name: &str) -> Option<ramson::Target> {
        let (destination, _) = Self::resolve(self, &HostName::parse(name).ok()?)?;
        Some(ramson::Target::Destination(destination))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ramson_wire::data::PrivateKeys;

    pub(crate) fn destination() -> Destination {
        PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng)).destination().clone()
    }

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    #[test]
    fn the_shipped_list_is_read_and_the_users_own_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.txt");
        let names = Names::open(&path).unwrap();
        let postman = name("smtp.postman.i2p");
        assert_eq!(names.resolve(&postman).unwrap().1, Source::Shipped);
        assert!(names.resolve(&name("nobody.i2p")).is_none());
        let mine = destination();
        std::fs::write(&path, format!("# mine\nsmtp.postman.i2p={}\n", mine.to_base64())).unwrap();
        assert_eq!(names.resolve(&postman), Some((mine, Source::User)));
        let other = destination();
        assert!(names.accept_for_session(postman.clone(), other.clone()));
        assert_eq!(names.resolve(&postman), Some((other.clone(), Source::Session)));
        // A program's router takes them as its address book.
        let book: &dyn ramson::AddressBook = &names;
        assert_eq!(book.resolve("smtp.postman.i2p"), Some(ramson::Target::Destination(other)));
        assert_eq!(book.resolve("not a name.i2p"), None);
    }

    #[test]
    fn names_of_this_run_are_bounded_and_so_is_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.txt");
        let names = Names::open(&path).unwrap();
        let to = destination();
        for n in 0..SESSION_NAMES {
            assert!(names.accept_for_session(name(&format!("n{n}.i2p")), to.clone()));
        }
        assert!(!names.accept_for_session(name("beyond.i2p"), to.clone()));
        assert!(names.resolve(&name("beyond.i2p")).is_none());
        assert!(names.accept_for_session(name("n7.i2p"), destination()), "a name that is there may change");
        // A list larger than the limit is not read, and nothing is lost of it.
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(HOSTS_BYTES + 1).unwrap();
        assert!(names.store(&name("new.i2p"), &to).is_err());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), HOSTS_BYTES + 1);
        assert_eq!(names.resolve(&name("n1.i2p")), Some((to, Source::Session)), "what is known stays");
    }

    #[test]
    fn storing_keeps_every_other_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.txt");
        let (a, b) = (destination(), destination());
        std::fs::write(&path, format!("# mine\nold.i2p={}\nbroken line\n", a.to_base64())).unwrap();
        let names = Names::open(&path).unwrap();
        names.store(&name("new.i2p"), &b).unwrap();
        names.store(&name("old.i2p"), &b).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let b64 = b.to_base64();
        assert_eq!(text, format!("# mine\nbroken line\nnew.i2p={b64}\nold.i2p={b64}\n"));
        assert_eq!(names.resolve(&name("old.i2p")), Some((b, Source::User)));
    }
}
