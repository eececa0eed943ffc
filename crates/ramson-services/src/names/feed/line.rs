//! One line of a subscription feed: an entry of hosts.txt with a signed command behind it, or a command alone.
//! <https://geti2p.net/spec/subscription>

use super::super::host::HostName;
use crate::limits::{DESTINATION_BASE64, FEED_KEYS, HOSTS_LINE_BYTES};
use ramson_wire::data::{Destination, base64};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A line that is well formed. Whether its signatures are good is another question.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) name: HostName,
    pub(crate) destination: Destination,
    /// `None`: a plain entry, which nobody has signed.
    pub(crate) command: Option<Command<'a>>,
}

/// The command of a line.
#[derive(Clone, Debug)]
pub(crate) struct Command<'a> {
    pub(crate) action: Action,
    /// Seconds since 1970; 0 where the line does not say.
    pub(crate) date: u64,
    expires: Option<u64>,
    /// What stands ahead of `#!`; nothing for commands that stand alone.
    head: &'a str,
    keys: BTreeMap<&'a str, &'a str>,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Add,
    AddName { old: HostName },
    AddDest { old: Destination },
    AddSubdomain { parent: HostName, owner: Destination },
    ChangeDest { old: Destination },
    ChangeName { old: HostName },
    Remove,
    RemoveAll,
    Update,
}

/// Why a line says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadLine;

impl<'a> Line<'a> {
    /// Reads a line that is neither empty nor a comment.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, BadLine> {
        if line.len() > HOSTS_LINE_BYTES {
            return Err(BadLine);
        }
        let line = std::str::from_utf8(line).map_err(|_| BadLine)?.trim_ascii();
        // A # without a ! begins a comment.
        let (head, rest) = line.split_at_checked(line.find('#').unwrap_or(line.len())).ok_or(BadLine)?;
        let (head, keys) = (head.trim_ascii(), rest.strip_prefix("#!"));
        let Some(keys) = keys.map(read_keys).transpose()? else {
            let (name, destination) = entry(head)?;
            return Ok(Self { name, destination, command: None });
        };
        let (name, destination) = if head.is_empty() { alone(&keys)? } else { entry(head)? };
        let action = action(head.is_empty(), &keys)?;
        let seconds = |key: &str| keys.get(key).map(|text| text.parse::<u64>().map_err(|_| BadLine)).transpose();
        let (date, expires) = (seconds("date")?.unwrap_or(0), seconds("expires")?);
        // What is signed must be what is meant.
        if !head.is_empty() && head.split('=').next() != Some(name.as_str()) {
            return Err(BadLine);
        }
        Ok(Self { name, destination, command: Some(Command { action, date, expires, head, keys }) })
    }
}

impl Command<'_> {
    /// Whether all signatures of the line are good, and it has not expired.
    pub(crate) fn is_signed(&self, destination: &Destination, now: u64) -> bool {
        if self.expires.is_some_and(|at| at <= now) {
            return false;
        }
        let verify = |by: &Destination, key: &str| {
            let signature = self.keys.get(key).and_then(|text| base64::decode(text).ok());
            signature.is_some_and(|signature| by.verify(self.signed(key).as_bytes(), &signature).is_ok())
        };
        let inner = match &self.action {
            Action::AddDest { old } | Action::ChangeDest { old } | Action::AddSubdomain { owner: old, .. } => {
                verify(old, "oldsig")
            }
            _ => true,
        };
        inner && verify(destination, "sig")
    }

    /// What the signature `key` is over.
    fn signed(&self, key: &str) -> String {
        signed(self.head, self.keys.iter().map(|(key, value)| (*key, *value)), key)
    }
}

/// What the signature `key` is over: the line without it; the inner signature, `oldsig`, is made before the outer one.
pub(crate) fn signed<'k>(head: &str, keys: impl Iterator<Item = (&'k str, &'k str)>, key: &str) -> String {
    let mut text = head.to_owned();
    let kept = keys.filter(|(name, _)| *name != "sig" && (key == "sig" || *name != "oldsig"));
    for (i, (name, value)) in kept.enumerate() {
        let _ = write!(text, "{}{name}={value}", if i == 0 { "#!" } else { "#" });
    }
    text
}

fn entry(text: &str) -> Result<(HostName, Destination), BadLine> {
    let (name, destination) = text.split_once('=').ok_or(BadLine)?;
    Ok((host(name.trim_ascii())?, dest(destination.trim_ascii())?))
}

/// The name and destination of a command that stands alone.
fn alone(keys: &BTreeMap<&str, &str>) -> Result<(HostName, Destination), BadLine> {
    Ok((host(keys.get("name").ok_or(BadLine)?)?, dest(keys.get("dest").ok_or(BadLine)?)?))
}

fn action(alone: bool, keys: &BTreeMap<&str, &str>) -> Result<Action, BadLine> {
    let old_name = || host(keys.get("oldname").ok_or(BadLine)?);
    let old_dest = || dest(keys.get("olddest").ok_or(BadLine)?);
    Ok(match (keys.get("action").copied(), alone) {
        (None, false) => Action::Add,
        (Some("addname"), false) => Action::AddName { old: old_name()? },
        (Some("adddest"), false) => Action::AddDest { old: old_dest()? },
        (Some("addsubdomain"), false) => Action::AddSubdomain { parent: old_name()?, owner: old_dest()? },
        (Some("changedest"), false) => Action::ChangeDest { old: old_dest()? },
        (Some("changename"), false) => Action::ChangeName { old: old_name()? },
        (Some("update"), false) => Action::Update,
        (Some("remove"), true) => Action::Remove,
        (Some("removeall"), true) => Action::RemoveAll,
        // A command that is not known may mean anything but an entry.
        _ => return Err(BadLine),
    })
}

/// A name as feeds may carry it: more is kept for the network's own use than what nobody may look up.
fn host(text: &str) -> Result<HostName, BadLine> {
    let name = HostName::parse(text).map_err(|_| BadLine)?;
    let mut labels = name.as_str().split('.').rev().skip(1);
    if labels.next() == Some("mail") || text.len() != name.as_str().len() {
        return Err(BadLine);
    }
    let odd = |label: &str| label.strip_prefix("xn--").unwrap_or(label).contains("--");
    if name.as_str().split('.').any(odd) { Err(BadLine) } else { Ok(name) }
}

fn dest(text: &str) -> Result<Destination, BadLine> {
    if text.len() > DESTINATION_BASE64 {
        return Err(BadLine);
    }
    Destination::from_base64(text).map_err(|_| BadLine)
}

fn read_keys(text: &str) -> Result<BTreeMap<&str, &str>, BadLine> {
    let mut keys = BTreeMap::new();
    for part in text.split('#') {
        let (key, value) = part.split_once('=').ok_or(BadLine)?;
        if keys.len() >= FEED_KEYS || keys.insert(key, value).is_some() {
            return Err(BadLine);
        }
    }
    Ok(keys)
}
