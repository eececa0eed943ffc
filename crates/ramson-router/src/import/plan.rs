//! What is to be carried over, and what cannot be.

use super::lines::{self, At, Setting};
use ramson::PrivateKeys;
use ramson_services::names::{Book, HostName};
use ramson_wire::codec::Decode;
use ramson_wire::data::Destination;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use toml_edit::{Array, Value};
use zeroize::Zeroizing;

/// Bytes of a key file, and of a list of names.
const KEY_BYTES: u64 = ramson_services::limits::KEY_FILE_BYTES;
const LIST_BYTES: u64 = ramson_services::limits::HOSTS_BYTES;
/// Tunnels of one router.
const MOST_TUNNELS: usize = 500;
/// Names of ours are shorter than some of theirs.
const NAME_BYTES: usize = 64;

/// Everything that an import does, in the order in which it was found.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The network that the other router was in.
    pub(super) network: Option<u8>,
    /// Settings of ours, and where they come from.
    pub(super) settings: Vec<Change>,
    pub(super) tunnels: Vec<Tunnel>,
    pub(super) names: BTreeMap<HostName, Destination>,
    pub(super) private: BTreeMap<HostName, Destination>,
    /// Files from which names come, and how many each.
    pub(super) lists: Vec<(PathBuf, usize)>,
    /// What cannot be carried over, and why.
    pub(super) left: Vec<String>,
    /// What the user should know of what is carried over.
    pub(super) notes: Vec<String>,
}

/// A setting.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    pub(super) value: Value,
    pub(super) at: At,
}

/// A `[[server]]` or `[[client]]`.
#[derive(Clone, Debug)]
pub(super) struct Tunnel {
    pub(super) section: &'static str,
    pub(super) name: String,
    pub(super) keys: Vec<(&'static str, Value)>,
    /// The private keys of a server, and how their file is to be called.
    pub(super) private: Option<(String, PrivateKeys)>,
    pub(super) at: At,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.tunnels.is_empty() && self.lists.is_empty() && self.left.is_empty()
    }

    pub(super) fn set(&mut self, at: &At, section: &'static str, key: &'static str, value: impl Into<Value>) {
        self.settings.push(Change { section, key, value: value.into(), at: at.clone() });
    }

    /// A line that is not carried over.
    pub(super) fn leave(&mut self, setting: &Setting, why: &str) {
        let Setting { section, key, value, at, .. } = setting;
        let secret = ["pass", "psk", "secret", "privatekey", "private_key", "md5", "sha256"]
            .iter()
            .any(|word| key.to_ascii_lowercase().contains(word));
        let value = if secret { "..." } else { value };
        let section = if section.is_empty() { String::new() } else { format!("[{section}] ") };
        self.left.push(format!("{at}: {section}{key} = {value}: {why}"));
    }

    /// The servers of a destination that were found until now.
    pub(super) fn servers_of(&self, keys: &PrivateKeys) -> Vec<&Tunnel> {
        let is_one = |tunnel: &&Tunnel| {
            let own = tunnel.private.as_ref().map(|(_, own)| own.destination());
            tunnel.section == "server" && own == Some(keys.destination())
        };
        self.tunnels.iter().filter(is_one).collect()
    }

    /// Clients have a destination for themselves here: it stays with the server, else with the first of them.
    fn alone(&mut self, tunnel: &mut Tunnel) {
        let Some((file, _)) = tunnel.private.clone() else { return };
        let same = |other: &&mut Tunnel| other.private.as_ref().is_some_and(|(other, _)| *other == file);
        let mut without = Vec::new();
        if tunnel.section == "client" {
            if self.tunnels.iter_mut().any(|other| same(&other)) {
                without.push(tunnel);
            }
        } else {
            without.extend(self.tunnels.iter_mut().filter(same).filter(|other| other.section == "client"));
        }
        for client in without {
            client.private = None;
            client.keys.retain(|(key, _)| *key != "keys");
            let note =
                "another tunnel has its destination, too: here this one has one of its own, another at each start";
            self.notes.push(format!("{}: {note}", client.name));
        }
    }

    /// One more tunnel.
    pub(super) fn tunnel(&mut self, mut tunnel: Tunnel) {
        self.alone(&mut tunnel);
        if self.tunnels.len() < MOST_TUNNELS {
            self.tunnels.push(tunnel);
        } else {
            self.left.push(format!("{}: there are more than {MOST_TUNNELS} tunnels", tunnel.at));
        }
    }

    /// A name for a tunnel that no other has.
    pub(super) fn tunnel_name(&self, wanted: &str) -> String {
        let plain: String = wanted.chars().filter(|c| !c.is_control()).collect();
        let mut cut = NAME_BYTES - 4;
        while !plain.is_char_boundary(cut.min(plain.len())) {
            cut -= 1;
        }
        let base = plain.get(..cut.min(plain.len())).unwrap_or_default().trim().to_owned();
        let base = if base.is_empty() { "tunnel".to_owned() } else { base };
        let taken: BTreeSet<&str> = self.tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect();
        let numbered = (2..1000).map(|n| format!("{base} {n}"));
        std::iter::once(base.clone()).chain(numbered).find(|name| !taken.contains(name.as_str())).unwrap_or(base)
    }

    /// How the copy of a key file is called. Tunnels that share a destination share it.
    pub(super) fn key_file(&self, name: &str, keys: &PrivateKeys) -> String {
        let same = |(_, other): &&(String, PrivateKeys)| other.destination() == keys.destination();
        if let Some((file, _)) = self.tunnels.iter().filter_map(|tunnel| tunnel.private.as_ref()).find(same) {
            return file.clone();
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let plain: String = name.chars().map(plain).take(40).collect();
        // Two tunnels may be called alike.
        let b32 = ramson_wire::data::base32::host_name(&keys.destination().hash());
        format!("imported/{}-{}.dat", plain.trim_matches('-'), b32.get(..8).unwrap_or_default())
    }

    /// Takes a list of names over.
    pub(super) fn hosts(&mut self, file: &Path, private: bool) {
        match lines::bytes(file, LIST_BYTES) {
            Ok(bytes) => {
                let (book, skipped) = Book::parse(&bytes);
                if skipped.bad > 0 {
                    self.left.push(format!("{}: {} lines that are no names", file.display(), skipped.bad));
                }
                let list = book.iter().map(|(name, destination)| (name.clone(), destination.clone())).collect();
                self.add_names(file, private, list);
            }
            Err(why) => self.left.push(why),
        }
    }

    /// The first list that has a name decides, as it does for the others.
    pub(super) fn add_names(&mut self, file: &Path, private: bool, list: Vec<(HostName, Destination)>) {
        self.lists.push((file.to_owned(), list.len()));
        let names = if private { &mut self.private } else { &mut self.names };
        for (name, destination) in list {
            names.entry(name).or_insert(destination);
        }
    }
}

/// Reads a key file, which the other router may have left open to all.
pub(super) fn read_keys(file: &Path, notes: &mut Vec<String>) -> Result<PrivateKeys, String> {
    if !file.exists() {
        return Err(format!("{}: its keys are not there (`--keys` says in which folder they are)", file.display()));
    }
    let bytes = Zeroizing::new(lines::bytes(file, KEY_BYTES)?);
    #[cfg(unix)]
    if std::fs::metadata(file).is_ok_and(|found| std::os::unix::fs::MetadataExt::mode(&found) & 0o077 != 0) {
        notes.push(format!("{}: others on this machine could read these keys until now", file.display()));
    }
    PrivateKeys::from_bytes(&bytes).map_err(|e| format!("{}: keys that cannot be used here: {e}", file.display()))
}

/// An address of a server or a listener, in numbers.
pub(super) fn socket(host: &str, port: &str) -> Result<SocketAddr, String> {
    let host = if host.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { host };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = host.parse().map_err(|_| format!("{host} is no address in numbers"))?;
    let port: u16 = port.parse().map_err(|_| format!("{port} is no port"))?;
    Ok(SocketAddr::new(ip, port))
}

/// Hops and quantity of a tunnel whose options both routers call the same; of both ways the larger.
pub(super) fn lengths<'a>(keys: &mut Vec<(&'static str, Value)>, option: impl Fn(&str) -> Option<&'a str>) {
    for (name, what, least, most) in [("hops", "length", 0, 7), ("quantity", "quantity", 1, 16)] {
        let ways = ["inbound", "outbound"];
        let numbers = ways.iter().filter_map(|way| number(option(&format!("{way}.{what}"))?, least, most));
        if let Some(n) = numbers.max() {
            keys.push((name, n.into()));
        }
    }
}

/// A list of texts.
pub(super) fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> Value {
    Value::Array(items.into_iter().collect::<Array>())
}

/// The number of a tunnel length or quantity, within what we take.
pub(super) fn number(value: &str, least: i64, most: i64) -> Option<i64> {
    value.parse::<i64>().ok().filter(|n| (least..=most).contains(n))
}
