//! Servers that other processes of the user offer by this router, for as long as they say so again and again: one that is
//! killed leaves nothing open.

use crate::folder::Folder;
use ramson::{DestinationOptions, LocalDestination, Ramson};
use ramson_services::names::Names;
use ramson_services::tunnels::{
    AccessConfig, RatesConfig, ServerKind, ServerTunnel, ServerTunnelConfig, load_or_create_keys,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Guests at once.
const GUESTS: usize = 64;
/// How long one stays that is not heard of.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks whether they were.
const EVERY: Duration = Duration::from_secs(5);
/// Streams at once, of all and of one client.
const STREAMS: usize = 256;
const STREAMS_PER_CLIENT: usize = 32;

/// A server that is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guest {
    /// Its keys are kept by this name.
    pub(crate) name: String,
    /// On loopback.
    pub(crate) at: SocketAddr,
    /// It is no longer offered.
    pub(crate) ends: bool,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) b32: String,
    pub(crate) is_reachable: bool,
    pub(crate) progress: String,
}

/// Those that are offered now.
#[derive(Debug)]
pub(crate) struct Guests {
    folder: Folder,
    /// What their destinations are like.
    options: DestinationOptions,
    open: Mutex<BTreeMap<String, Offered>>,
    /// One at a time becomes a guest.
    door: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Offered {
    at: SocketAddr,
    local: LocalDestination,
    serving: tokio::task::JoinHandle<()>,
    heard: Instant,
}

impl Drop for Offered {
    fn drop(&mut self) {
        self.serving.abort();
        // The keys can be used again at once.
        self.local.close();
    }
}

impl Guests {
    pub(crate) fn new(folder: Folder, options: DestinationOptions) -> Arc<Self> {
        Arc::new(Self { folder, options, open: Mutex::default(), door: tokio::sync::Mutex::default() })
    }

    /// Lets those go that are not heard of any more, until the future is dropped.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.lock().retain(|_, offered| offered.heard.elapsed() < PATIENCE);
        }
    }

    /// Takes a guest in, or hears of him again, or lets him go.
    pub(crate) async fn hear(&self, ramson: &Ramson, names: &Arc<Names>, guest: &Guest) -> Result<Welcome, String> {
        if !guest.at.ip().is_loopback() {
            return Err("only servers of this computer are offered".into());
        }
        let _one = self.door.lock().await;
        if let Some(welcome) = self.again(guest)? {
            return Ok(welcome);
        }
        if guest.ends {
            return Err("it was not offered".into());
        }
        if self.lock().len() >= GUESTS {
            return Err(format!("{GUESTS} servers are offered already"));
        }
        let file = keys_file(&self.folder, &guest.name)?;
        let keys = tokio::task::spawn_blocking(move || load_or_create_keys(&file)).await;
        let keys = keys.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        let options = DestinationOptions { name: guest.name.clone(), ..self.options.clone() };
        let local = ramson.destination(options, Some(keys)).await.map_err(|e| e.to_string())?;
        let config = ServerTunnelConfig {
            name: guest.name.clone(),
            kind: ServerKind::Tcp,
            target: guest.at,
            port: None,
            max_streams: STREAMS,
            max_streams_per_client: STREAMS_PER_CLIENT,
            access: AccessConfig::default(),
            rates: RatesConfig::default(),
        };
        let tunnel = ServerTunnel::listen(config, &local, Arc::clone(names)).await.map_err(|e| e.to_string())?;
        let serving = tokio::spawn(tunnel.run());
        let welcome = welcome(&local);
        self.lock().insert(guest.name.clone(), Offered { at: guest.at, local, serving, heard: Instant::now() });
        Ok(welcome)
    }

    fn again(&self, guest: &Guest) -> Result<Option<Welcome>, String> {
        let mut open = self.lock();
        match open.get_mut(&guest.name) {
            Some(offered) if offered.at != guest.at => {
                Err(format!("{} is offered by another process: take another --name, or end that one", guest.name))
            }
            Some(offered) => {
                offered.heard = Instant::now();
                let welcome = welcome(&offered.local);
                if guest.ends {
                    open.remove(&guest.name);
                }
                Ok(Some(welcome))
            }
            None => Ok(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Offered>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn welcome(local: &LocalDestination) -> Welcome {
    let progress = local.progress().borrow().clone();
    Welcome { b32: local.b32(), is_reachable: progress.is_ready(), progress: progress.to_string() }
}

/// Where the keys of what is hosted by this name are.
pub(crate) fn keys_file(folder: &Folder, name: &str) -> Result<std::path::PathBuf, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !(1..=64).contains(&name.len()) || name.starts_with('.') || !name.bytes().all(plain) {
        return Err("such a name has 1 to 64 letters, digits, hyphens, underscores and dots".into());
    }
    Ok(folder.path().join("hosted").join(format!("{name}.dat")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson::testing::Network;

    fn guest(name: &str, port: u16) -> Guest {
        Guest { name: name.into(), at: SocketAddr::from(([127, 0, 0, 1], port)), ends: false }
    }

    #[tokio::test(start_paused = true)]
    async fn guests_stay_while_they_are_heard_of_and_keep_their_address() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(temporary.path().to_owned())).unwrap();
        let (network, guests) = (Network::default(), Guests::new(folder, DestinationOptions::server("")));
        let names = Arc::new(Names::open(temporary.path().join("hosts.txt")).unwrap());
        let ramson = network.router();
        let watch = tokio::spawn(Arc::clone(&guests).watch());
        let first = guests.hear(&ramson, &names, &guest("site", 1)).await.unwrap();
        assert!(first.is_reachable && first.b32.ends_with(".b32.i2p"));
        let other = guests.hear(&ramson, &names, &guest("site", 2)).await.unwrap_err();
        assert!(other.contains("another process"), "{other}");
        for _ in 0..10 {
            tokio::time::sleep(PATIENCE / 2).await;
            assert_eq!(guests.hear(&ramson, &names, &guest("site", 1)).await, Ok(first.clone()));
        }
        assert_eq!(network.destinations(), 1);
        // Not heard of any more, it goes; its address stays its own.
        tokio::time::sleep(PATIENCE + EVERY * 2).await;
        assert_eq!(network.destinations(), 0);
        assert_eq!(guests.hear(&ramson, &names, &guest("site", 2)).await, Ok(first.clone()));
        let ends = Guest { ends: true, ..guest("site", 2) };
        guests.hear(&ramson, &names, &ends).await.unwrap();
        assert!(guests.hear(&ramson, &names, &ends).await.is_err());
        assert_eq!(guests.hear(&ramson, &names, &guest("site", 3)).await, Ok(first), "at once");
        for n in 1..GUESTS {
            guests.hear(&ramson, &names, &guest(&format!("n{n}"), 1)).await.unwrap();
        }
        assert!(guests.hear(&ramson, &names, &guest("beyond", 1)).await.is_err());
        let abroad = Guest { at: SocketAddr::from(([10, 0, 0, 1], 80)), ..guest("x", 1) };
        assert!(guests.hear(&ramson, &names, &abroad).await.is_err());
        for name in ["", "../x", "a/b", ".x", "a b", &"x".repeat(65)] {
            assert!(guests.hear(&ramson, &names, &guest(name, 1)).await.is_err(), "{name}");
        }
        watch.abort();
    }
}
