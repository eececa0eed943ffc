//! The names that subscriptions have brought, and their file: a hosts.txt, with what else must be known of each name
//! behind it, and ahead of all what each feed said of its own version. One file, so that no crash leaves names without
//! the versions that they are of.

use super::super::host::HostName;
use crate::limits::{FEED_PAST, HOSTS_NAMES, SUBSCRIPTIONS, VALIDATOR_BYTES};
use ramson_wire::data::{Destination, Hash, base32};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// A name of the feeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `None`: given up by who held it.
    pub(crate) destination: Option<Destination>,
    /// Seconds since 1970, as the last command said; 0 if none did.
    pub(crate) date: u64,
    /// Destinations that have signed the name over to the next, and at last to the present one.
    pub(crate) moved: Vec<Hash>,
    /// Destinations that have given the name up.
    pub(crate) gone: Vec<Hash>,
    /// The feed that said so.
    pub(crate) from: Option<Arc<str>>,
}

impl Entry {
    pub(super) fn set(&mut self, destination: Option<Destination>, date: u64, from: Option<&Arc<str>>) {
        self.destination = destination;
        self.date = self.date.max(date);
        self.from = from.cloned();
    }

    /// Adds to a list of the past; the oldest goes.
    pub(super) fn remember(past: &mut Vec<Hash>, hash: Hash) {
        past.retain(|other| *other != hash);
        if past.len() >= FEED_PAST {
            past.remove(0);
        }
        past.push(hash);
    }
}

/// What a server said of the version of a feed that is kept, to be asked whether there is a newer one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) etag: String,
    pub(crate) modified: String,
    /// When it was asked last, in seconds since 1970.
    pub(crate) checked: u64,
}

impl Version {
    /// A value of a header as it is kept and sent again: short and of plain characters, or none at all.
    pub(crate) fn value(text: Option<&str>) -> String {
        let good = |text: &&str| text.len() <= VALIDATOR_BYTES && text.bytes().all(|b| (b' '..=b'~').contains(&b));
        text.map(str::trim).filter(good).unwrap_or_default().to_owned()
    }
}

/// All names of the feeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscribed {
    entries: BTreeMap<HostName, Entry>,
    versions: BTreeMap<String, Version>,
}

impl Subscribed {
    pub(crate) fn get(&self, name: &HostName) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HostName, &Entry)> {
        self.entries.iter()
    }

    /// How many names there are, those given up among them.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entry(&mut self, name: &HostName) -> &mut Entry {
        self.entries.entry(name.clone()).or_default()
    }

    /// Forgets a name with all that is known of its past: whoever comes first has it.
    pub(crate) fn forget(&mut self, name: &HostName) -> bool {
        self.entries.remove(name).is_some()
    }

    pub(crate) fn version(&self, feed: &str) -> Version {
        self.versions.get(feed).cloned().unwrap_or_default()
    }

    pub(crate) fn set_version(&mut self, feed: &str, version: Version) {
        if self.versions.len() < SUBSCRIPTIONS || self.versions.contains_key(feed) {
            self.versions.insert(feed.to_owned(), version);
        }
    }

    /// Forgets the versions of feeds that are subscribed to no more.
    pub(crate) fn keep_versions(&mut self, feeds: &[Arc<str>]) {
        self.versions.retain(|feed, _| feeds.iter().any(|other| **other == **feed));
    }

    /// The text of the file.
    pub(crate) fn to_text(&self) -> String {
        let mut text =
            "# Names from subscriptions. The router writes this file; your own names belong into hosts.txt.\n"
                .to_owned();
        for (feed, version) in &self.versions {
            let Version { etag, modified, checked } = version;
            let _ = writeln!(text, "#!feed\t{feed}\t{checked}\t{etag}\t{modified}");
        }
        let feeds: Vec<&Arc<str>> = {
            let mut feeds: Vec<_> = self.entries.values().filter_map(|entry| entry.from.as_ref()).collect();
            feeds.sort();
            feeds.dedup();
            feeds
        };
        for feed in &feeds {
            let _ = writeln!(text, "#!from\t{feed}");
        }
        for (name, entry) in &self.entries {
            let _ = match &entry.destination {
                Some(destination) => write!(text, "{name}={}#!", destination.to_base64()),
                None => write!(text, "#!ended={name}#"),
            };
            let from = entry.from.as_ref().and_then(|from| feeds.binary_search(&from).ok());
            let _ = write!(text, "date={}", entry.date);
            if let Some(from) = from {
                let _ = write!(text, "#from={from}");
            }
            for (key, past) in [("moved", &entry.moved), ("gone", &entry.gone)] {
                if !past.is_empty() {
                    let all: Vec<String> = past.iter().map(|hash| base32::encode(&hash.0)).collect();
                    let _ = write!(text, "#{key}={}", all.join(","));
                }
            }
            text.push('\n');
        }
        text
    }

    /// Reads the file. What cannot be read is left out, and then no version is kept: the feeds are read anew.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let (mut read, mut feeds, mut whole) = (Self::default(), Vec::new(), true);
        for line in bytes.split(|b| *b == b'\n') {
            let Ok(line) = std::str::from_utf8(line) else {
                whole = false;
                continue;
            };
            if line.is_empty() || line.starts_with('#') && !line.starts_with("#!") {
                continue;
            }
            let read_line = if let Some(rest) = line.strip_prefix("#!feed\t") {
                version(rest).map(|(feed, version)| read.set_version(&feed, version))
            } else if let Some(feed) = line.strip_prefix("#!from\t") {
                // Those that are subscribed to no more may be more than those that are.
                feeds.push(Arc::from(feed));
                (feeds.len() <= HOSTS_NAMES).then_some(())
            } else {
                entry(line, &feeds).filter(|_| read.entries.len() < HOSTS_NAMES).map(|(name, entry)| {
                    read.entries.insert(name, entry);
                })
            };
            whole &= read_line.is_some();
        }
        if !whole {
            read.versions.clear();
        }
        read
    }
}

fn version(text: &str) -> Option<(String, Version)> {
    let mut parts = text.split('\t');
    let (feed, checked) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
    let (etag, modified) = (Version::value(parts.next()), Version::value(parts.next()));
    Some((feed, Version { etag, modified, checked }))
}

fn entry(line: &str, feeds: &[Arc<str>]) -> Option<(HostName, Entry)> {
    let (head, keys) = line.split_once("#!")?;
    let mut entry = Entry::default();
    let mut name = None;
    if let Some((host, destination)) = head.split_once('=') {
        name = HostName::parse(host).ok();
        entry.destination = Some(Destination::from_base64(destination).ok()?);
    } else if !head.is_empty() {
        return None;
    }
    for part in keys.split('#') {
        match part.split_once('=')? {
            ("ended", host) if head.is_empty() => name = HostName::parse(host).ok(),
            ("date", date) => entry.date = date.parse().ok()?,
            ("from", from) => entry.from = Some(Arc::clone(feeds.get(from.parse::<usize>().ok()?)?)),
            ("moved", past) => entry.moved = hashes(past)?,
            ("gone", past) => entry.gone = hashes(past)?,
            _ => return None,
        }
    }
    Some((name?, entry))
}

fn hashes(text: &str) -> Option<Vec<Hash>> {
    let hash = |text: &str| base32::decode(text).ok()?.try_into().ok().map(Hash);
    let all: Vec<Hash> = text.split(',').map(hash).collect::<Option<_>>()?;
    (all.len() <= FEED_PAST).then_some(all)
}
