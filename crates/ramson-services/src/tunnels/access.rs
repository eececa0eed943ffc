//! Who may reach a server of ours, and how often.

use crate::limits::{ACCESS, ACCESS_NAMES_TIME, RATED_CLIENTS};
use crate::names::{HostName, Names};
use ramson::{Destination, Error, ErrorKind, Hash};
use ramson_wire::data::{base32, base64};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A destination in an access list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Hash(Hash),
    /// Whoever the name means at the time.
    Name(HostName),
}

impl Who {
    /// Reads a name, a b32 address with or without its domain, or a hash or destination in base64.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let b32 = base32::host_hash(text).or_else(|| base32::host_hash(&format!("{text}.b32.i2p")));
        if let Some(hash) = b32 {
            return Some(Self::Hash(hash));
        }
        if let Ok(name) = HostName::parse(text) {
            return Some(Self::Name(name));
        }
        if text.len() == 44 {
            return base64::decode(text).ok()?.try_into().ok().map(|hash| Self::Hash(Hash(hash)));
        }
        Destination::from_base64(text).ok().map(|destination| Self::Hash(destination.hash()))
    }
}

/// Who may come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// If anybody stands here: nobody else.
    pub allow: Vec<Who>,
    /// Never these.
    pub deny: Vec<Who>,
}

#[derive(Debug)]
pub(crate) struct Access {
    config: AccessConfig,
    names: Arc<Names>,
    read: Mutex<Option<Read>>,
}

/// The lists, with the names as they were looked up.
#[derive(Debug)]
struct Read {
    since: Instant,
    allow: BTreeSet<Hash>,
    deny: BTreeSet<Hash>,
}

impl Access {
    /// Fails with [`ErrorKind::Misuse`] where a list is too long.
    pub(crate) fn new(config: AccessConfig, names: Arc<Names>) -> Result<Self, Error> {
        if config.allow.len() > ACCESS || config.deny.len() > ACCESS {
            return Err(Error::new(ErrorKind::Misuse, format!("an access list has at most {ACCESS} entries")));
        }
        Ok(Self { config, names, read: Mutex::default() })
    }

    /// Whether this one may.
    pub(crate) fn admits(&self, who: &Hash) -> bool {
        if self.config.allow.is_empty() && self.config.deny.is_empty() {
            return true;
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = read.take().filter(|read| read.since.elapsed() < ACCESS_NAMES_TIME);
        let now = fresh.unwrap_or_else(|| Read {
            since: Instant::now(),
            allow: self.hashes(&self.config.allow),
            deny: self.hashes(&self.config.deny),
        });
        let admitted = (self.config.allow.is_empty() || now.allow.contains(who)) && !now.deny.contains(who);
        *read = Some(now);
        admitted
    }

    fn hashes(&self, list: &[Who]) -> BTreeSet<Hash> {
        let hash = |who: &Who| match who {
            Who::Hash(hash) => Some(*hash),
            Who::Name(name) => self.names.resolve(name).map(|(destination, _)| destination.hash()),
        };
        list.iter().filter_map(hash).collect()
    }
}

/// How many connections there may be in a minute, an hour and a day; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub minute: Option<u32>,
    pub hour: Option<u32>,
    pub day: Option<u32>,
}

/// The limits to the connections of each client and of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RatesConfig {
    pub client: Rates,
    pub all: Rates,
}

const LENGTHS: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(60 * 60), Duration::from_secs(24 * 60 * 60)];

impl Rates {
    fn limits(self) -> [Option<u32>; 3] {
        [self.minute, self.hour, self.day]
    }
}

#[derive(Debug)]
pub(crate) struct Meter {
    config: RatesConfig,
    state: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    turn: u64,
    all: Windows,
    clients: BTreeMap<Hash, (u64, Windows)>,
    /// Who was counted the longest ago stands first.
    turns: BTreeMap<u64, Hash>,
}

/// The minute, the hour and the day that run, and what was counted in them.
#[derive(Clone, Copy, Debug, Default)]
struct Windows([Option<(Instant, u32)>; 3]);

impl Windows {
    fn has_room(&mut self, limits: [Option<u32>; 3]) -> bool {
        let each = self.0.iter_mut().zip(LENGTHS).zip(limits);
        // All are looked at, so that all that are over begin anew.
        each.fold(true, |room, ((window, length), limit)| {
            if window.is_some_and(|(begun, _)| begun.elapsed() >= length) {
                *window = None;
            }
            room && limit.is_none_or(|limit| window.map_or(0, |(_, count)| count) < limit)
        })
    }

    fn count(&mut self) {
        for window in &mut self.0 {
            let (_, count) = window.get_or_insert((Instant::now(), 0));
            *count = count.saturating_add(1);
        }
    }
}

impl Meter {
    pub(crate) fn new(config: RatesConfig) -> Self {
        Self { config, state: Mutex::default() }
    }

    /// Whether one more connection of this client is within the limits; it is counted then.
    pub(crate) fn admits(&self, who: Hash) -> bool {
        if self.config == RatesConfig::default() {
            return true;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, mut windows) = state.clients.get(&who).copied().unwrap_or_default();
        let room = windows.has_room(self.config.client.limits()) && state.all.has_room(self.config.all.limits());
        if !room {
            return false;
        }
        windows.count();
        state.all.count();
        state.turns.remove(&before);
        if state.clients.len() >= RATED_CLIENTS
            && !state.clients.contains_key(&who)
            && let Some((_, oldest)) = state.turns.pop_first()
        {
            state.clients.remove(&oldest);
        }
        state.turn += 1;
        let turn = state.turn;
        state.clients.insert(who, (turn, windows));
        state.turns.insert(turn, who);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::destination;

    fn hash(n: usize) -> Hash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        Hash(hash)
    }

    #[tokio::test(start_paused = true)]
    async fn access_lists_know_every_form_and_follow_names() {
        let folder = tempfile::tempdir().unwrap();
        let names = Arc::new(Names::open(folder.path().join("hosts.txt")).unwrap());
        let (whole, named, later) = (destination(), destination(), destination());
        let name = HostName::parse("friend.i2p").unwrap();
        assert!(names.accept_for_session(name.clone(), named.clone()));
        let forms = [
            base32::host_name(&hash(1)),
            base32::encode(&hash(2).0),
            base64::encode(&hash(3).0),
            whole.to_base64(),
            "Friend.i2p".to_owned(),
            " unknown.i2p ".to_owned(),
        ];
        let list: Vec<Who> = forms.iter().map(|form| Who::parse(form).unwrap()).collect();
        for bad in ["", "example.org", "AAAA", "proxy.i2p", "a b.i2p", &"A".repeat(44)[..43]] {
            assert!(Who::parse(bad).is_none(), "{bad}");
        }
        let access = |allow: &[Who], deny: &[Who]| {
            let config = AccessConfig { allow: allow.to_vec(), deny: deny.to_vec() };
            Access::new(config, Arc::clone(&names)).unwrap()
        };
        let only = access(&list, &[]);
        let known = [hash(1), hash(2), hash(3), whole.hash(), named.hash()];
        assert!(known.iter().all(|who| only.admits(who)) && !only.admits(&hash(4)));
        let but = access(&[], &list);
        assert!(known.iter().all(|who| !but.admits(who)) && but.admits(&hash(4)));
        let both = access(&list, &list[..1]);
        assert!(!both.admits(&hash(1)) && both.admits(&hash(2)), "who is denied is not let in by the other list");
        assert!(access(&[], &[]).admits(&hash(9)));
        assert!(!access(&[Who::parse("nobody.i2p").unwrap()], &[]).admits(&hash(9)), "a name that means nobody");
        assert!(names.accept_for_session(name, later.clone()));
        assert!(only.admits(&named.hash()), "for a while names mean what they meant");
        tokio::time::sleep(ACCESS_NAMES_TIME).await;
        assert!(only.admits(&later.hash()) && !only.admits(&named.hash()));
        let long = AccessConfig { allow: vec![Who::Hash(hash(1)); ACCESS + 1], deny: Vec::new() };
        assert!(Access::new(long, Arc::clone(&names)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_counted_by_client_and_in_all() {
        let client = Rates { minute: Some(2), hour: Some(3), day: Some(4) };
        let meter = Meter::new(RatesConfig { client, all: Rates { minute: Some(5), ..Rates::default() } });
        let take = |who: usize, times: usize| (0..times).filter(|_| meter.admits(hash(who))).count();
        assert_eq!([take(1, 5), take(2, 5), take(3, 5)], [2, 2, 1], "two of each in a minute, five of all");
        tokio::time::sleep(LENGTHS[0]).await;
        assert_eq!([take(1, 5), take(2, 1)], [1, 1], "three in an hour");
        tokio::time::sleep(LENGTHS[1]).await;
        assert_eq!(take(1, 5), 1, "four in a day");
        tokio::time::sleep(LENGTHS[2]).await;
        assert_eq!(take(1, 5), 2);
        assert!((0..10_000).all(|_| Meter::new(RatesConfig::default()).admits(hash(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_of_clients_is_bounded_and_the_oldest_goes() {
        let client = Rates { day: Some(1), ..Rates::default() };
        let meter = Meter::new(RatesConfig { client, all: Rates::default() });
        for n in 0..RATED_CLIENTS {
            assert!(meter.admits(hash(n)));
        }
        assert!(!meter.admits(hash(0)));
        assert!(meter.admits(hash(RATED_CLIENTS)), "one more");
        let state = meter.state.lock().unwrap();
        assert_eq!((state.clients.len(), state.turns.len()), (RATED_CLIENTS, RATED_CLIENTS));
        assert!(!state.clients.contains_key(&hash(0)) && state.clients.contains_key(&hash(1)));
    }
}
