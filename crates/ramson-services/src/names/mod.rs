//! What `.i2p` names mean. The order: names accepted for this run, the user's private names, his own hosts.txt, what
//! subscriptions say, the shipped list. The first that has a name says what it means; only who held a name in hosts.txt
//! himself can sign it over to another destination, by a feed.

mod alike;
mod book;
mod feed;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod host;
mod url;

pub use alike::{Odd, oddity};
pub use book::{Book, Skipped};
pub use feed::Report as FeedReport;
pub use feed::register;
pub use feed::subscriptions::Subscriptions;
pub(crate) use host::without_alt;
pub use host::{BadName, Host, HostName};
pub use url::{BadUrl, I2pUrl};

use crate::files::{self, FileError};
use crate::limits::{HOSTS_BYTES, HOSTS_NAMES, LOOK_ALIKES, SESSION_NAMES};
use feed::subscribed::{Subscribed, Version};
use ramson_wire::data::Destination;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The list that comes with Ramson; it is the hosts.txt of the Java router.
const SHIPPED: &[u8] = include_bytes!("hosts.txt");

/// Where a name's meaning comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Accepted by the user until the router stops.
    Session,
    /// The user's own names that are given to nobody.
    Private,
    /// The user's own hosts.txt.
    User,
    /// A feed that is subscribed to.
    Subscribed,
    /// The list that comes with Ramson.
    Shipped,
}

impl Source {
    /// Whether the user gave the name its meaning himself.
    pub fn is_own(self) -> bool {
        match self {
            Self::Session | Self::Private | Self::User => true,
            Self::Subscribed | Self::Shipped => false,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Session => "accepted by you until the router stops",
            Self::Private => "your private names",
            Self::User => "your own hosts.txt",
            Self::Subscribed => "a list that you subscribe to",
            Self::Shipped => "the list that comes with Ramson",
        })
    }
}

/// A part of the address book that the user writes himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Names for him alone: they are not exported, and no feed touches them.
    Private,
    /// His hosts.txt.
    User,
}

/// The names that this router knows.
#[derive(Debug)]
pub struct Names {
    /// The user's own list; the other files are beside it.
    path: PathBuf,
    shipped: Book,
    state: Mutex<State>,
    /// Held by who changes the subscribed names: signatures and disks take time, and the state must not wait for them.
    feeds: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    session: HashMap<HostName, Destination>,
    private: Kept<Book>,
    user: Kept<Book>,
    subscribed: Kept<Subscribed>,
}

/// What a file holds.
#[derive(Debug, Default)]
struct Kept<T> {
    names: T,
    /// What the file looked like when it was read.
    seen: Option<Look>,
}

/// When a file was written, how long it is, and, where there is such a thing, its number: one that is written anew is
/// another one.
type Look = (SystemTime, u64, u64);

/// What was done with the names of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Imported {
    /// Names that are new.
    pub added: usize,
    /// Names that have another destination now.
    pub replaced: usize,
    /// Names that were as the list says.
    pub same: usize,
    /// Names that mean something else, and were left so; the first of them.
    pub kept: Vec<String>,
    /// How many of those there are.
    pub conflicts: usize,
    /// Lines that cannot be read.
    pub bad: usize,
}

impl Names {
    /// Reads the user's own list from `path`, and the other parts from files beside it. None need exist, and each may
    /// change at any time. Fails if one is there but cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let names = Self {
            path: path.into(),
            shipped: Book::parse(SHIPPED).0,
            state: Mutex::default(),
            feeds: Mutex::default(),
        };
        for path in [names.path.clone(), names.private_path(), names.subscribed_path()] {
            files::forget_unfinished(&path);
        }
        names.reload(&mut names.lock())?;
        Ok(names)
    }

    /// The user's own list.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of names that are for the user alone.
    pub fn private_path(&self) -> PathBuf {
        self.path.with_file_name("hosts-private.txt")
    }

    /// The file of what subscriptions say.
    pub fn subscribed_path(&self) -> PathBuf {
        self.path.with_file_name("hosts-subscribed.txt")
    }

    fn part_path(&self, part: Part) -> PathBuf {
        match part {
            Part::Private => self.private_path(),
            Part::User => self.path.clone(),
        }
    }

    /// What a name means, and who says so.
    pub fn resolve(&self, name: &HostName) -> Option<(Destination, Source)> {
        let state = self.fresh();
        self.find(&state, name).map(|(destination, source)| (destination.clone(), source))
    }

    /// The feed by which a name means what it does, if it is one.
    pub fn told_by(&self, name: &HostName) -> Option<Arc<str>> {
        self.lock().subscribed.names.get(name).and_then(|entry| entry.from.clone())
    }

    fn find<'a>(&'a self, state: &'a State, name: &HostName) -> Option<(&'a Destination, Source)> {
        let own = state.session.get(name).map(|d| (d, Source::Session));
        if let Some(found) = own.or_else(|| state.private.names.get(name).map(|d| (d, Source::Private))) {
            return Some(found);
        }
        let entry = state.subscribed.names.get(name);
        let subscribed = entry.and_then(|entry| Some((entry.destination.as_ref()?, Source::Subscribed)));
        match state.user.names.get(name) {
            // Who holds the name, by the user's own word, has signed it over.
            Some(user) if entry.is_some_and(|entry| entry.moved.contains(&user.hash())) => {
                subscribed.or(Some((user, Source::User)))
            }
            Some(user) => Some((user, Source::User)),
            None if entry.is_some() => subscribed,
            None => self.shipped.get(name).map(|d| (d, Source::Shipped)),
        }
    }

    /// All names with what they mean, in their order, and who says so.
    pub fn list(&self) -> Vec<(HostName, Destination, Source)> {
        let state = self.fresh();
        let session: BTreeMap<_, _> = state.session.iter().collect();
        let feeds = state.subscribed.names.iter().map(|(name, _)| name);
        let books = [&state.private.names, &state.user.names, &self.shipped];
        let names = books.into_iter().flat_map(|book| book.iter().map(|(name, _)| name));
        let all: std::collections::BTreeSet<&HostName> = session.into_keys().chain(feeds).chain(names).collect();
        let found = |name: &HostName| {
            self.find(&state, name).map(|(destination, source)| (name.clone(), destination.clone(), source))
        };
        all.into_iter().filter_map(found).collect()
    }

    /// Names that `name` could be taken for, the user's own ones first.
    pub fn look_alikes(&self, name: &HostName) -> Vec<(HostName, Destination, Source)> {
        let bones = alike::bones(name);
        let mut found: Vec<_> = Vec::new();
        let state = self.fresh();
        let feeds = state.subscribed.names.iter().map(|(name, _)| name);
        let books = [&state.private.names, &state.user.names, &self.shipped];
        let names = books.into_iter().flat_map(|book| book.iter().map(|(name, _)| name)).chain(feeds);
        for other in names.filter(|other| *other != name && alike::are_alike(&bones, other)) {
            if let Some((destination, source)) = self.find(&state, other) {
                let known = found.iter().any(|(known, _, _)| known == other);
                // The same destination deceives nobody.
                let same = self.find(&state, name).is_some_and(|(own, _)| own == destination);
                if !known && !same && found.len() < LOOK_ALIKES {
                    found.push((other.clone(), destination.clone(), source));
                }
            }
        }
        found
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
        self.set(Part::User, name, destination)
    }

    /// The same, in either part.
    pub fn set(&self, part: Part, name: &HostName, destination: &Destination) -> Result<(), FileError> {
        self.write(part, |old| book::with_entry(old, name, destination), Some(name))
    }

    /// Takes a name out of a part; says whether it was there.
    pub fn remove(&self, part: Part, name: &HostName) -> Result<bool, FileError> {
        let mut state = self.lock();
        self.reload(&mut state)?;
        let was_there = state.part(part).names.get(name).is_some();
        drop(state);
        if was_there {
            let none = BTreeMap::from([(name.clone(), None)]);
            self.write(part, |old| book::with_entries(old, &none), Some(name))?;
        }
        Ok(was_there)
    }

    /// Takes back what the user has accepted for this run; says whether there was such a thing.
    pub fn forget_for_session(&self, name: &HostName) -> bool {
        self.lock().session.remove(name).is_some()
    }

    /// Forgets what feeds say of a name, and its past: the next feed that has it says anew. Says whether one did.
    pub fn forget_subscribed(&self, name: &HostName) -> Result<bool, FileError> {
        let _one = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        self.reload(&mut state)?;
        let mut names = state.subscribed.names.clone();
        drop(state);
        if !names.forget(name) {
            return Ok(false);
        }
        self.write_subscribed(names)?;
        Ok(true)
    }

    /// Takes the names of a hosts.txt into a part. What a name means already stays, unless `replace`.
    pub fn import(&self, part: Part, list: &[u8], replace: bool) -> Result<Imported, FileError> {
        let (book, skipped) = Book::parse(list);
        let mut done = Imported { bad: skipped.bad + skipped.too_many, ..Imported::default() };
        let mut new = BTreeMap::new();
        let mut state = self.lock();
        self.reload(&mut state)?;
        for (name, destination) in book.iter() {
            let there = state.part(part).names.get(name);
            // Private names are there to differ.
            let elsewhere = || self.find(&state, name).filter(|_| part == Part::User).map(|(known, _)| known);
            let known = there.or_else(elsewhere);
            match known {
                Some(known) if known == destination => done.same += 1,
                Some(_) if !replace => {
                    done.conflicts += 1;
                    if done.kept.len() < LOOK_ALIKES {
                        done.kept.push(name.to_string());
                    }
                }
                _ if there.is_none() && state.part(part).names.len() + new.len() >= HOSTS_NAMES => done.bad += 1,
                known => {
                    if known.is_some() {
                        done.replaced += 1;
                    } else {
                        done.added += 1;
                    }
                    new.insert(name.clone(), Some(destination.clone()));
                }
            }
        }
        drop(state);
        if !new.is_empty() {
            self.write(part, |old| book::with_entries(old, &new), None)?;
        }
        Ok(done)
    }

    /// All names but the private ones and those of this run, as a hosts.txt.
    pub fn export(&self) -> String {
        let kept = [Source::User, Source::Subscribed, Source::Shipped];
        let names = self.list().into_iter().filter(|(_, _, source)| kept.contains(source));
        names
            .fold(String::new(), |text, (name, destination, _)| text + &format!("{name}={}\n", destination.to_base64()))
    }

    /// What is known of the version of a feed that was read last.
    pub(crate) fn version(&self, feed: &str) -> Version {
        self.lock().subscribed.names.version(feed)
    }

    /// A feed was asked and is as it was. That is not worth a write.
    pub(crate) fn set_checked(&self, feed: &str, checked: u64) {
        let mut state = self.lock();
        let version = Version { checked, ..state.subscribed.names.version(feed) };
        state.subscribed.names.set_version(feed, version);
    }

    pub(crate) fn keep_versions(&self, feeds: &[Arc<str>]) {
        self.lock().subscribed.names.keep_versions(feeds);
    }

    /// Takes a feed in. Names and its version are on disk, both or neither, when this returns.
    pub(crate) fn take_feed(
        &self,
        body: &[u8],
        from: &Arc<str>,
        version: Version,
        now: u64,
    ) -> Result<feed::Report, FileError> {
        let _one = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        self.reload(&mut state)?;
        let (mut names, own) = (state.subscribed.names.clone(), state.user.names.clone());
        drop(state);
        let report = feed::apply(&mut names, feed::Others { own: &own, shipped: &self.shipped }, body, from, now);
        names.set_version(from, version);
        self.write_subscribed(names)?;
        Ok(report)
    }

    /// Nobody waits for the disk but who writes. Who looks meanwhile reads the file that is there.
    fn write_subscribed(&self, names: Subscribed) -> Result<(), FileError> {
        let path = self.subscribed_path();
        files::write_atomic(&path, names.to_text().as_bytes(), false)?;
        let mut state = self.lock();
        state.subscribed = Kept { names, seen: look(&path)? };
        Ok(())
    }

    /// Writes a part anew; a name that is set does not mean something else for this run.
    fn write(
        &self,
        part: Part,
        change: impl FnOnce(&[u8]) -> Vec<u8>,
        set: Option<&HostName>,
    ) -> Result<(), FileError> {
        let path = self.part_path(part);
        let mut state = self.lock();
        let old = files::read(&path, HOSTS_BYTES)?.unwrap_or_default();
        files::write_atomic(&path, &change(&old), false)?;
        if let Some(name) = set {
            state.session.remove(name);
        }
        state.part_mut(part).seen = None;
        self.reload(&mut state)
    }

    /// The state, with the files as they are now.
    fn fresh(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if let Err(e) = self.reload(&mut state) {
            // The names that were read before stay good.
            tracing::warn!("names: {e}");
        }
        state
    }

    /// Reads the files again that have changed.
    fn reload(&self, state: &mut State) -> Result<(), FileError> {
        for part in [Part::Private, Part::User] {
            let path = self.part_path(part);
            if let Some(bytes) = state.part_mut(part).read_again(&path)? {
                let (book, skipped) = Book::parse(&bytes);
                if skipped != Skipped::default() {
                    tracing::warn!("names: {}: {skipped}", path.display());
                }
                state.part_mut(part).names = book;
            }
        }
        if let Some(bytes) = state.subscribed.read_again(&self.subscribed_path())? {
            state.subscribed.names = Subscribed::parse(&bytes);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn part(&self, part: Part) -> &Kept<Book> {
        match part {
            Part::Private => &self.private,
            Part::User => &self.user,
        }
    }

    fn part_mut(&mut self, part: Part) -> &mut Kept<Book> {
        match part {
            Part::Private => &mut self.private,
            Part::User => &mut self.user,
        }
    }
}

impl<T> Kept<T> {
    /// The bytes of a file that is not as it was.
    fn read_again(&mut self, path: &Path) -> Result<Option<Vec<u8>>, FileError> {
        let now = look(path)?;
        if now == self.seen {
            return Ok(None);
        }
        let bytes = files::read(path, HOSTS_BYTES)?.unwrap_or_default();
        self.seen = now;
        Ok(Some(bytes))
    }
}

fn look(path: &Path) -> Result<Option<Look>, FileError> {
    match std::fs::metadata(path) {
        Ok(meta) => {
            #[cfg(unix)]
            let number = std::os::unix::fs::MetadataExt::ino(&meta);
            #[cfg(not(unix))]
            let number = 0;
            Ok(Some((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), number)))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(FileError::new(path, e)),
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

    #[test]
    fn private_names_come_first_and_stay_private() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::open(folder.path().join("hosts.txt")).unwrap();
        let (a, b, c) = (destination(), destination(), destination());
        names.set(Part::User, &name("a.i2p"), &a).unwrap();
        names.set(Part::Private, &name("a.i2p"), &b).unwrap();
        names.set(Part::Private, &name("mine.i2p"), &c).unwrap();
        assert_eq!(names.resolve(&name("a.i2p")), Some((b, Source::Private)));
        let export = names.export();
        assert!(!export.contains("mine.i2p") && export.contains("smtp.postman.i2p="), "{export}");
        assert!(names.remove(Part::Private, &name("a.i2p")).unwrap());
        assert!(!names.remove(Part::Private, &name("a.i2p")).unwrap(), "it is not there any more");
        assert_eq!(names.resolve(&name("a.i2p")), Some((a.clone(), Source::User)));
        // What is known until the router stops does not outlive what is written.
        assert!(names.accept_for_session(name("a.i2p"), c.clone()));
        names.store(&name("a.i2p"), &a).unwrap();
        assert_eq!(names.resolve(&name("a.i2p")).unwrap().0, a);
        let again = Names::open(folder.path().join("hosts.txt")).unwrap();
        assert_eq!(again.resolve(&name("mine.i2p")), Some((c, Source::Private)));
        assert_eq!(again.list(), names.list());
    }

    #[test]
    fn a_file_that_is_written_anew_is_seen_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.txt");
        let names = Names::open(&path).unwrap();
        // Same length, and perhaps the same time.
        for _ in 0..5 {
            let to = destination();
            crate::files::write_atomic(&path, format!("a.i2p={}\n", to.to_base64()).as_bytes(), false).unwrap();
            assert_eq!(names.resolve(&name("a.i2p")), Some((to, Source::User)));
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(names.resolve(&name("a.i2p")), None);
    }

    #[test]
    fn imported_lists_replace_nothing_unless_told() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::open(folder.path().join("hosts.txt")).unwrap();
        let (a, b) = (destination(), destination());
        names.set(Part::User, &name("a.i2p"), &a).unwrap();
        let list = format!("a.i2p={0}\nb.i2p={0}\nsmtp.postman.i2p={0}\nbroken\n", b.to_base64());
        let done = names.import(Part::User, list.as_bytes(), false).unwrap();
        assert_eq!((done.added, done.replaced, done.same, done.conflicts, done.bad), (1, 0, 0, 2, 1));
        assert_eq!(done.kept, ["a.i2p", "smtp.postman.i2p"]);
        assert_eq!(names.resolve(&name("a.i2p")).unwrap().0, a);
        let done = names.import(Part::User, list.as_bytes(), true).unwrap();
        assert_eq!((done.added, done.replaced, done.same), (0, 2, 1));
        assert_eq!(names.resolve(&name("smtp.postman.i2p")), Some((b.clone(), Source::User)));
        let private = names.import(Part::Private, format!("a.i2p={}\n", a.to_base64()).as_bytes(), false).unwrap();
        assert_eq!((private.added, private.conflicts), (1, 0), "private names are there to differ");
    }

    #[test]
    fn t117_look_alikes_of_known_names_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::open(folder.path().join("hosts.txt")).unwrap();
        let (a, b) = (destination(), destination());
        names.set(Part::User, &name("planet.i2p"), &a).unwrap();
        let found = names.look_alikes(&name("p1anet.i2p"));
        assert_eq!(found, [(name("planet.i2p"), a.clone(), Source::User)]);
        assert!(
            names.look_alikes(&name("planets.i2p")).is_empty() && names.look_alikes(&name("planet.i2p")).is_empty()
        );
        // Two spellings of one site deceive nobody.
        names.set(Part::User, &name("p1anet.i2p"), &a).unwrap();
        assert!(names.look_alikes(&name("p1anet.i2p")).is_empty());
        for n in 0..LOOK_ALIKES + 4 {
            let spelled: String = (0..5).map(|bit| if n >> bit & 1 == 1 { '1' } else { 'l' }).collect();
            names.set(Part::User, &name(&format!("{spelled}.i2p")), &b).unwrap();
        }
        assert_eq!(names.look_alikes(&name("lllll1.i2p")).len(), 0);
        assert_eq!(names.look_alikes(&name("11111.i2p")).len(), LOOK_ALIKES);
    }
}
