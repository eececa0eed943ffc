//! The config, the keys and the names that an import makes. Everything is looked at before anything is written, and what
//! is there stays: the config of before is kept beside the new one.

use super::plan::{Change, Plan, Tunnel};
use crate::Failure;
use crate::control;
use crate::folder::Folder;
use crate::settings::{NetworkId, Settings};
use ramson_services::names::{HostName, Imported, Names, Part};
use ramson_services::tunnels::{load_keys, save_keys};
use ramson_wire::data::Destination;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

/// What would be written.
pub(super) struct Draft<'a> {
    plan: &'a Plan,
    config: PathBuf,
    /// The config as it is, if there is one.
    old: Option<String>,
    new: String,
    network: NetworkId,
    /// Settings that are written, and those that stand in the config already.
    set: Vec<&'a Change>,
    tunnels: Vec<&'a Tunnel>,
    kept: Vec<String>,
    names: Vec<(Part, String)>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(plan: &'a Plan, folder: &Folder, network: Option<NetworkId>) -> Result<Self, Failure> {
        let config = folder.config();
        let cannot = |e: std::io::Error| Failure::failed(format!("{}: {e}", config.display()));
        let old = match std::fs::read_to_string(&config) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(cannot(e)),
        };
        let said = |e: String| Failure::failed(format!("{}: {e}", config.display()));
        let network = network.or(plan.network.map(NetworkId)).unwrap_or(NetworkId(ramson::config::PUBLIC_NETWORK_ID));
        let base = old.clone().unwrap_or_else(|| Settings::template(network));
        Settings::parse(&base).map_err(said)?;
        let mut document: DocumentMut = base.parse().map_err(|e: toml_edit::TomlError| said(e.to_string()))?;
        let (mut set, mut tunnels, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for change in &plan.settings {
            let Change { section, key, value, at } = change;
            match with_change(&document, change) {
                Ok(changed) => {
                    document = changed;
                    set.push(change);
                }
                Err(why) => kept.push(format!("{at}: [{section}] {key} = {}: {why}", value.to_string().trim())),
            }
        }
        for tunnel in &plan.tunnels {
            match with_tunnel(&document, tunnel) {
                Ok(changed) => {
                    document = changed;
                    tunnels.push(tunnel);
                }
                Err(why) => kept.push(format!("{}: [[{}]] {}: {why}", tunnel.at, tunnel.section, tunnel.name)),
            }
        }
        let new = document.to_string();
        let list = |names: &BTreeMap<HostName, Destination>| {
            names.iter().fold(String::new(), |mut text, (name, destination)| {
                let _ = writeln!(text, "{name}={}", destination.to_base64());
                text
            })
        };
        let names = vec![(Part::Private, list(&plan.private)), (Part::User, list(&plan.names))];
        Ok(Self { plan, config, old, new, network, set, tunnels, kept, names })
    }

    /// Writes it.
    pub(super) fn carry_out(&self, folder: &Folder) -> Result<(), Failure> {
        if control::is_running(folder) {
            return Err(Failure::failed("a router runs in this data folder: stop it first (`ramson stop`)"));
        }
        folder.create()?;
        let _lock = folder.lock()?;
        // Keys before the config that names them.
        for (file, keys) in self.tunnels.iter().filter_map(|tunnel| tunnel.private.as_ref()) {
            let path = folder.path().join(file);
            match load_keys(&path).map_err(Failure::failed)? {
                Some(there) if there.destination() == keys.destination() => {}
                Some(_) => return Err(Failure::failed(format!("{}: other keys are there already", path.display()))),
                None => save_keys(&path, keys).map_err(Failure::failed)?,
            }
        }
        let names = Names::open(folder.hosts()).map_err(Failure::failed)?;
        for (part, list) in &self.names {
            let _: Imported = names.import(*part, list.as_bytes(), false).map_err(Failure::failed)?;
        }
        match &self.old {
            Some(old) if *old == self.new => {}
            Some(old) => {
                let beside = free(&self.config)?;
                ramson::store::create(&beside, old.as_bytes()).map_err(Failure::failed)?;
                ramson::store::replace(&self.config, self.new.as_bytes()).map_err(Failure::failed)?;
            }
            None => ramson::store::create(&self.config, self.new.as_bytes()).map_err(Failure::failed)?,
        }
        Ok(())
    }

    /// All of it in words.
    pub(super) fn said(&self, done: bool) -> String {
        let mut text = String::new();
        if self.old.is_none() {
            let _ = writeln!(text, "A new config, for network {}.", self.network.0);
        }
        let mut part = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let _ = writeln!(text, "{title}");
                for line in lines {
                    let _ = writeln!(text, "  {}", line.replace(char::is_control, " "));
                }
            }
        };
        part("Settings:", self.settings());
        part("Tunnels:", self.tunnels());
        part("Names:", self.lists());
        part("Good to know:", self.plan.notes.clone());
        part("Not carried over:", self.plan.left.iter().chain(&self.kept).cloned().collect());
        let _ = match (done, &self.old) {
            (true, Some(old)) if *old == self.new => {
                writeln!(text, "Done: {} says all of it already, and stays as it is.", self.config.display())
            }
            (true, Some(_)) => writeln!(text, "Done: {}; what it was before is beside it.", self.config.display()),
            (true, None) => writeln!(text, "Done: {}.", self.config.display()),
            (false, _) => writeln!(text, "Nothing was written. `--do` does it, in {}.", self.config.display()),
        };
        text
    }

    pub(super) fn to_json(&self, done: bool) -> serde_json::Value {
        let left: Vec<&String> = self.plan.left.iter().chain(&self.kept).collect();
        serde_json::json!({
            "done": done, "config": self.config.display().to_string(), "settings": self.settings(), "tunnels": self.tunnels(),
            "names": self.lists(), "notes": self.plan.notes, "left": left,
        })
    }

    fn settings(&self) -> Vec<String> {
        let line = |change: &&Change| {
            let Change { section, key, value, at } = change;
            format!("[{section}] {key} = {}  ({at})", value.to_string().trim())
        };
        self.set.iter().map(line).collect()
    }

    fn tunnels(&self) -> Vec<String> {
        let line = |tunnel: &&Tunnel| {
            let keys: Vec<String> =
                tunnel.keys.iter().map(|(key, value)| format!("{key} = {}", value.to_string().trim())).collect();
            let b32 = tunnel
                .private
                .as_ref()
                .map(|(_, keys)| ramson_wire::data::base32::host_name(&keys.destination().hash()));
            let b32 = b32.map(|b32| format!(", as {b32}")).unwrap_or_default();
            format!("[[{}]] {}: {}{b32}  ({})", tunnel.section, tunnel.name, keys.join(", "), tunnel.at)
        };
        self.tunnels.iter().map(line).collect()
    }

    fn lists(&self) -> Vec<String> {
        let line = |(file, n): &(PathBuf, usize)| format!("{n} of {}", file.display());
        let mut lines: Vec<String> = self.plan.lists.iter().map(line).collect();
        if !lines.is_empty() {
            lines.push("those that mean something else here already stay as they are".into());
        }
        lines
    }
}

/// The config with one more setting: what it says already stays, and it stays a good one.
fn with_change(document: &DocumentMut, change: &Change) -> Result<DocumentMut, String> {
    let Change { section, key, value, .. } = change;
    let mut document = document.clone();
    let table = document.entry(section).or_insert_with(|| Item::Table(Table::new()));
    let table = table.as_table_like_mut().ok_or("the section cannot be added to")?;
    match table.get(key).map(|there| there.to_string().trim().to_owned()) {
        None => drop(table.insert(key, Item::Value(value.clone()))),
        Some(there) if there == value.to_string().trim() => {}
        Some(there) => return Err(format!("your config says {there}")),
    }
    good(document)
}

/// The config with one more tunnel.
fn with_tunnel(document: &DocumentMut, tunnel: &Tunnel) -> Result<DocumentMut, String> {
    let mut document = document.clone();
    let mut table = Table::new();
    table.insert("name", Item::Value(tunnel.name.as_str().into()));
    for (key, value) in &tunnel.keys {
        table.insert(key, Item::Value(value.clone()));
    }
    let item = document.entry(tunnel.section).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let tables = item.as_array_of_tables_mut().ok_or("they are written as a list, which cannot be added to")?;
    let same = |there: &Table| there.get("name").and_then(Item::as_str) == Some(tunnel.name.as_str());
    if tables.iter().any(same) {
        return Err("your config has one of this name".into());
    }
    tables.push(table);
    good(document)
}

/// What we write, we must be able to read.
fn good(document: DocumentMut) -> Result<DocumentMut, String> {
    match Settings::parse(&document.to_string()) {
        Ok(_) => Ok(document),
        Err(why) => {
            let why = why.lines().last().unwrap_or_default();
            // A line of a file that there will not be.
            let said = why.strip_prefix("line ").and_then(|rest| rest.split_once(": ")).map_or(why, |(_, said)| said);
            Err(format!("it is not possible here: {said}"))
        }
    }
}

/// A name for the config of before.
fn free(config: &std::path::Path) -> Result<PathBuf, Failure> {
    let name = |n: u32| config.with_extension(format!("toml.before-import-{n}"));
    (1..1000)
        .map(name)
        .find(|path| !path.exists())
        .ok_or_else(|| Failure::failed("there are too many configs of before"))
}
