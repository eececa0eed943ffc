//! The routers of the network in this process: each a whole one with its own identity, sockets and folder.

use super::picture::Picture;
use super::site::Guide;
use crate::Failure;
use ramson::config::{Config, Floodfill};
use ramson::reseed::Sources;
use ramson::{Hash, LocalDestination, Ramson};
use ramson_wire::codec::Decode;
use ramson_wire::data::RouterInfo;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The number of this network; no other router listens for it.
const NETWORK_ID: u8 = 77;
/// Routers that hold the network database.
const FLOODFILLS: usize = 3;
/// How often a router's own RouterInfo is looked for on disk.
const LOOK: Duration = Duration::from_millis(5);

/// What the routers are called: herbs, as Ramson is.
pub(super) const NAMES: [&str; 20] = [
    "anise", "borage", "chervil", "dill", "endive", "fennel", "garlic", "hyssop", "iris", "juniper", "kale", "lovage",
    "mint", "nettle", "oregano", "parsley", "rue", "sage", "thyme", "yarrow",
];

/// A running network.
pub(super) struct Network {
    folder: tempfile::TempDir,
    routers: Vec<Router>,
    reader: Router,
    server: Router,
}

struct Router {
    name: &'static str,
    hash: Hash,
    ramson: Ramson,
}

impl Network {
    /// Starts `count` routers that carry tunnels, one that reads and one that serves, and makes all known to each other.
    pub(super) async fn start(count: usize, picture: &Picture) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("ramson-try-").tempdir().map_err(Failure::failed)?;
        let infos = folder.path().join("seeds");
        std::fs::create_dir(&infos).map_err(Failure::failed)?;
        let names: Vec<&'static str> = NAMES.into_iter().take(count).collect();
        picture.step(&format!("starting {} routers", names.len() + 2));
        let mut started = Vec::new();
        for (place, name) in names.iter().copied().chain(["you", SERVER]).enumerate() {
            let floodfill = if place < FLOODFILLS { Floodfill::Yes } else { Floodfill::No };
            started.push(Router::start(name, place, floodfill, folder.path(), &infos).await?);
        }
        let sources = Sources { files: vec![infos], urls: Vec::new() };
        for router in &started {
            router.ramson.reseed(sources.clone()).await.map_err(Failure::failed)?;
        }
        let missing = || Failure::failed("no router has started");
        let server = started.pop().ok_or_else(missing)?;
        let reader = started.pop().ok_or_else(missing)?;
        Ok(Self { folder, routers: started, reader, server })
    }

    /// The router that the browser uses.
    pub(super) fn reader(&self) -> &Ramson {
        &self.reader.ramson
    }

    /// The router of the site.
    pub(super) fn server(&self) -> &Ramson {
        &self.server.ramson
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Who finds the ways between the two destinations.
    pub(super) fn guide(&self, reader: LocalDestination, site: LocalDestination) -> Guide {
        let all = self.routers.iter().chain([&self.reader, &self.server]);
        let names: BTreeMap<Hash, &'static str> = all.map(|router| (router.hash, router.name)).collect();
        Guide { names, reader, site }
    }

    /// Stops all routers, and removes their folder.
    pub(super) async fn stop(self) {
        let all = self.routers.into_iter().chain([self.reader, self.server]);
        let mut stops = tokio::task::JoinSet::new();
        for router in all {
            stops.spawn(async move { router.ramson.shutdown().await });
        }
        stops.join_all().await;
        // What cannot be removed lies in the folder of temporary files.
        drop(self.folder);
    }
}

/// What the router of the site is called, where it is a hop of somebody.
const SERVER: &str = "site";

impl Router {
    async fn start(
        name: &'static str,
        place: usize,
        floodfill: Floodfill,
        folder: &Path,
        infos: &Path,
    ) -> Result<Self, Failure> {
        let data = folder.join(name);
        let mut config = Config::private(&data, NETWORK_ID);
        // Each its own loopback address where the system has more than one: limits by address then fall on each alone.
        let last = if cfg!(target_os = "linux") { u8::try_from(place + 2).unwrap_or(1) } else { 1 };
        config.ntcp2.bind = vec![SocketAddr::from((Ipv4Addr::new(127, 0, 77, last), 0))];
        if !cfg!(target_os = "linux") {
            config.ntcp2.bind = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        }
        config.ntcp2.publish = config.ntcp2.bind.clone();
        config.floodfill = floodfill;
        // The two ends carry nothing for others here, so that no picture shows an end in the middle.
        config.transit.enabled = NAMES.contains(&name);
        // They share one machine, not a line each.
        config.transit.bytes_per_second = u64::from(u32::MAX);
        config.reseed.dangerously_accept_unsigned_files = true;
        let ramson = Ramson::start(config).await.map_err(Failure::failed)?;
        let info = own_info(&data.join("router.info")).await;
        let file = infos.join(format!("routerInfo-{name}.dat"));
        std::fs::write(file, &info.1).map_err(Failure::failed)?;
        Ok(Self { name, hash: info.0, ramson })
    }
}

/// A router's own RouterInfo and its hash, once it is whole on disk.
async fn own_info(path: &PathBuf) -> (Hash, Vec<u8>) {
    loop {
        if let Ok(bytes) = std::fs::read(path)
            && let Ok(info) = RouterInfo::from_bytes(&bytes)
        {
            return (info.hash(), bytes);
        }
        tokio::time::sleep(LOOK).await;
    }
}
