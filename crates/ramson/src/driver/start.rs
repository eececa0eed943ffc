//! Starting: the data folder, the keys, the port, the sockets, and the task.

use super::clients::Clients;
use super::clock::Clock;
use super::disk::Disk;
use super::jobs::Pool;
use super::peers::Peers;
use super::progress::Reporter;
use super::reseeding::Reseeding;
use super::{Driver, READ_BUFFER, setup, translate};
use crate::client::Ramson;
use crate::config::{Config, Ntcp2Config, PortMapping};
use crate::error::{Error, ErrorKind};
use crate::mapping::{Mapping, Ports};
use crate::net::connections::Connections;
use crate::net::listen::Listeners;
use crate::seam;
use crate::store::{self, Store};
use ramson_core::keys::RouterKeys;
use ramson_core::rng::Rng;
use ramson_core::router::{self, ENTROPY_INTERVAL, Router};
use ramson_core::time::Instant;
use ramson_wire::data::router_address::is_public;
use ramson_wire::data::{RouterInfo, base64};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use tracing::Instrument as _;

/// The name of the kept port in the data folder.
const PORT: &str = "ntcp2-port";
/// Where the random port is drawn from, as other routers do.
const PORTS: std::ops::Range<u16> = 9_000..31_000;
/// Ports in that range that belong to well-known services, and would look odd or be in use.
const WELL_KNOWN: [u16; 20] = [
    9001, 9030, 9040, 9042, 9050, 9051, 9090, 9091, 9092, 9100, 9150, 9200, 9300, 9418, 9999, 10000, 11211, 19132,
    25565, 27017,
];
/// Random ports that are tried on the first start.
const PORT_TRIES: usize = 20;

/// Starts a router, see [`Ramson::start`].
pub(crate) async fn start(config: Config) -> Result<Ramson, Error> {
    check(&config)?;
    #[cfg(ramson_lab)]
    super::lab::refuse_live(&config)?;
    let folder = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || open(&folder)).await;
    let Opened { store, keys, port, stored, peers, mut rng } =
        opened.map_err(|why| setup("cannot open the data folder", &why))??;
    let listeners = listen(&config, port, &store, &mut rng)?;
    let listening = listeners.addresses();
    let udp = super::udp::bind(&config, &listening)?;
    let addresses = translate::publishing(&config, published(&config, &listening)?, is_ours, source_of);
    for addr in &addresses.withheld {
        tracing::warn!(%addr, "not published: connections to others would not come from this address");
    }
    let (ipv4, ipv6) = families(&config, &addresses.publish);
    let source = translate::source(&config, &addresses.publish, is_ours);

    // Nobody is asked to forward what is reached at the loopback alone.
    let open = |addr: &&SocketAddr| addr.is_ipv4() && !addr.ip().is_loopback();
    let port = |of: &[SocketAddr]| of.iter().find(open).and_then(|addr| NonZeroU16::new(addr.port()));
    let ports = Ports { udp: port(&udp.addresses()), tcp: port(&listening) };
    let mapping = Mapping::start(&config, ports, source_of(true));

    let hash = keys.identity.hash();
    let clock = Clock::new();
    let now = clock.now();
    let router = Router::new(
        router::Config { udp: udp.addresses(), ..translate::config(&config, addresses, ipv4, ipv6) },
        keys,
        rng.bytes(),
        now,
    );
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1)).max(1);
    let no_threads = |why: io::Error| setup("cannot start a thread", &why);
    let pool = Pool::new(threads, rng.child("jobs")).map_err(no_threads)?;
    let disk = Disk::new(store).map_err(no_threads)?;
    let seeds = disk.store();

    let identity: String = base64::encode(hash.as_bytes()).chars().take(8).collect();
    let ports: Vec<u16> = listening.iter().map(SocketAddr::port).collect();
    // By its hash anybody finds the router's addresses in the netDb.
    tracing::debug!(identity, "our router");
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        network = config.network.id,
        ?ports,
        known = stored.len(),
        ipv4,
        ipv6,
        "the router starts"
    );
    let (ramson, end) = seam::open();
    let driver = Driver {
        router,
        clock,
        listeners,
        conns: Connections::new(source),
        pool,
        disk,
        peers,
        clients: Clients::new(),
        end,
        reseeding: Reseeding::new(config.reseed.clone(), config.network.clone(), seeds, stored),
        mapping,
        reporter: Reporter::new(&config, now.mono),
        due: Instant::ZERO,
        next_tick: now.mono,
        next_look: Instant::FAR,
        next_entropy: now.mono + ENTROPY_INTERVAL,
        inputs: VecDeque::new(),
        buffer: vec![0; READ_BUFFER],
        udp_buffer: udp.buffer(),
        udp,
        held: 0,
        paused: Vec::new(),
        reads_at: Instant::FAR,
        stopping: None,
        #[cfg(ramson_lab)]
        folder: config.data_dir.clone(),
    };
    tokio::spawn(watch(driver).in_current_span());
    Ok(ramson)
}

/// A generator seeded by the operating system.
pub(super) fn rng() -> Result<Rng, Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|why| setup("the operating system gives no randomness", &why))?;
    Ok(Rng::from_seed(seed))
}

/// Runs the driver, and says when it has ended by a panic: what it held is dropped by then, and all waiting calls fail.
async fn watch(driver: Driver) {
    let events = driver.end.events.clone();
    if let Err(why) = tokio::spawn(driver.run().in_current_span()).await
        && why.is_panic()
    {
        tracing::error!("the router has stopped by a panic; this is a bug of Ramson, please report it");
        let _ = events.send(crate::status::Event::Stopped);
    }
}

/// Whether the settings contradict each other.
fn check(config: &Config) -> Result<(), Error> {
    let misuse = |why: &str| Err(Error::new(ErrorKind::Misuse, why));
    let (network, ntcp2, tunnels) = (&config.network, &config.ntcp2, &config.tunnels);
    if network.is_public() && (network.allow_reserved_addresses || network.allow_same_subnet) {
        return misuse("reserved addresses and shared subnets are for private networks only");
    }
    if !network.is_public() && network.id < 16 {
        return misuse("the number of a private network is 16 to 254");
    }
    if config.ssu2.enabled && config.proxy.is_some() {
        return misuse("SSU2 does not go through the proxy, and would show what it hides");
    }
    if cfg!(not(feature = "port-mapping")) && config.port_mapping.wish == PortMapping::Yes {
        return misuse("built without the feature port-mapping, it cannot ask the gateway to forward ports");
    }
    if network.id == 255 {
        return misuse("255 is no network");
    }
    if ntcp2.outbound_only && !(ntcp2.bind.is_empty() && ntcp2.publish.is_empty()) {
        return misuse("a router that does not listen has no address to listen on or to publish");
    }
    if network.is_public() && ntcp2.publish.iter().any(|addr| !is_public(addr.ip())) {
        return misuse("only public addresses can be published on the public network");
    }
    if ntcp2.publish.iter().any(|addr| addr.ip().is_unspecified()) {
        return misuse("an unspecified address cannot be published");
    }
    if tunnels.exploratory_hops > 7 || !(1..=16).contains(&tunnels.exploratory_quantity) {
        return misuse("exploratory tunnels have 0 to 7 hops, and there are 1 to 16 of them");
    }
    Ok(())
}

/// What the data folder holds.
struct Opened {
    store: Store,
    keys: RouterKeys,
    port: Option<u16>,
    stored: Vec<RouterInfo>,
    peers: Peers,
    rng: Rng,
}

fn open(folder: &std::path::Path) -> Result<Opened, Error> {
    let failed = |why| setup("cannot use the data folder", &why);
    let mut rng = rng()?;
    let store = Store::open(folder).map_err(failed)?;
    if let Some(warning) = store::folder_warning(folder) {
        tracing::warn!("{warning}");
    }
    let keys = match store.router_keys().map_err(failed)? {
        Some(file) => RouterKeys::from_file(&file).map_err(|why| {
            setup("cannot use the router's keys; restore them from a copy, or move them away for a new identity", &why)
        })?,
        None => {
            let keys = RouterKeys::generate(&mut rng.child("identity"));
            store.create_router_keys(&keys.to_file()).map_err(failed)?;
            keys
        }
    };
    let port = store.load(PORT).map_err(failed)?;
    // A damaged port is drawn anew: nothing is lost with it.
    let port = port.and_then(|text| String::from_utf8(text).ok()).and_then(|text| text.trim().parse().ok());
    let net_db = store.load_net_db().map_err(failed)?;
    if net_db.discarded > 0 {
        tracing::warn!(discarded = net_db.discarded, "damaged files of the netDb are removed");
    }
    let peers = Peers::load(&store).map_err(failed)?;
    Ok(Opened { store, keys, port, stored: net_db.routers, peers, rng })
}

/// Listens where the settings say. A random port is drawn once, and kept when it could be bound.
fn listen(config: &Config, kept: Option<u16>, store: &Store, rng: &mut Rng) -> Result<Listeners, Error> {
    let Config { ntcp2: Ntcp2Config { bind: wanted, outbound_only, .. }, proxy, .. } = config;
    // A listener on all addresses would show the machine that the proxy hides.
    if *outbound_only || (proxy.is_some() && wanted.is_empty()) {
        return Ok(Listeners::default());
    }
    let failed = |why: io::Error| setup("cannot listen", &why);
    let random = wanted.is_empty() || wanted.iter().any(|addr| addr.port() == 0);
    if !random || kept.is_some() {
        return bind(wanted, kept.unwrap_or(0)).map_err(failed);
    }
    let mut tries = 0;
    let (listeners, port) = loop {
        let port = draw_port(rng);
        tries += 1;
        match bind(wanted, port) {
            Err(why) if why.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES => {}
            bound => break (bound.map_err(failed)?, port),
        }
    };
    let saved = store.save(PORT, port.to_string().as_bytes());
    saved.map_err(|why| setup("cannot keep the port", &why))?;
    Ok(listeners)
}

/// Binds all addresses, with `port` where they name none. No addresses are all of both families; a family that the
/// machine has not is left out.
fn bind(addresses: &[SocketAddr], port: u16) -> io::Result<Listeners> {
    let mut listeners = Listeners::default();
    if !addresses.is_empty() {
        for addr in addresses {
            let port = if addr.port() == 0 { port } else { addr.port() };
            listeners.add(SocketAddr::new(addr.ip(), port))?;
        }
        return Ok(listeners);
    }
    let v4 = listeners.add(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    let v6 = listeners.add(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
    match (v4, v6) {
        (Err(why), _) | (_, Err(why)) if why.kind() == io::ErrorKind::AddrInUse => Err(why),
        (Err(why), Err(_)) => Err(why),
        _ => Ok(listeners),
    }
}

fn draw_port(rng: &mut Rng) -> u16 {
    loop {
        let offset = u16::try_from(rng.below(PORTS.len())).unwrap_or(0);
        let port = PORTS.start + offset;
        if !WELL_KNOWN.contains(&port) {
            return port;
        }
    }
}

/// The operator's addresses, with the port of the listener of their family where they name none.
fn published(config: &Config, listening: &[SocketAddr]) -> Result<Vec<SocketAddr>, Error> {
    let with_port = |addr: &SocketAddr| {
        let listener = listening.iter().find(|listener| listener.is_ipv4() == addr.is_ipv4());
        match (addr.port(), listener) {
            (0, Some(listener)) => Ok(SocketAddr::new(addr.ip(), listener.port())),
            (0, None) => {
                Err(Error::new(ErrorKind::Misuse, "an address is to be published whose family has no listener"))
            }
            _ => Ok(*addr),
        }
    };
    config.ntcp2.publish.iter().map(with_port).collect()
}

/// By which families peers can be dialled. Nothing is sent to find that out.
fn families(config: &Config, publish: &[SocketAddr]) -> (bool, bool) {
    if config.proxy.is_some() {
        return (true, false);
    }
    let named = |v4: bool| publish.iter().chain(&config.ntcp2.bind).any(|addr| addr.is_ipv4() == v4);
    let private = !config.network.is_public();
    // A private IPv4 address is translated; an IPv6 address that is not public leads nowhere.
    let ipv6 = named(false) || source_of(false).is_some_and(is_public);
    let ipv4 = private || named(true) || source_of(true).is_some() || !ipv6;
    (ipv4, ipv6)
}

/// The address from which the system would send into the world by IPv4, or by IPv6. Connecting a UDP socket only looks
/// at its routes.
fn source_of(v4: bool) -> Option<IpAddr> {
    let (any, far): (IpAddr, IpAddr) = if v4 {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 5, 5, 241).into())
    } else {
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0x500, 0x2f, 0, 0, 0, 0, 0xf).into())
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

/// Whether this machine has the address.
fn is_ours(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn contradictions_are_misuse() {
        let misuse = |change: &dyn Fn(&mut Config)| {
            let mut config = Config::private("/nowhere", 99);
            change(&mut config);
            check(&config).is_err_and(|e| e.kind() == ErrorKind::Misuse)
        };
        assert!(!misuse(&|_| {}));
        assert!(misuse(&|c| c.network.id = 2));
        assert!(misuse(&|c| c.network.id = 3));
        assert!(misuse(&|c| c.network.id = 255));
        assert!(misuse(&|c| {
            c.ssu2.enabled = true;
            let (kind, address) = (crate::config::ProxyKind::Socks5, "127.0.0.1:9050".parse().unwrap());
            c.proxy = Some(crate::config::Proxy { kind, address, user: None, password: None });
        }));
        let mapped = |c: &mut Config| c.port_mapping.wish = PortMapping::Yes;
        assert_eq!(misuse(&mapped), cfg!(not(feature = "port-mapping")));
        assert!(misuse(&|c| c.tunnels.exploratory_hops = 8));
        assert!(misuse(&|c| c.tunnels.exploratory_quantity = 0));
        assert!(misuse(&|c| c.ntcp2.publish = vec!["0.0.0.0:1".parse().unwrap()]));
        assert!(misuse(&|c| {
            c.ntcp2.outbound_only = true;
            c.ntcp2.bind = vec!["127.0.0.1:0".parse().unwrap()];
        }));
        let mut public = Config::new("/nowhere");
        assert!(check(&public).is_ok());
        public.ntcp2.publish = vec!["192.168.1.1:9000".parse().unwrap()];
        assert!(check(&public).is_err());
    }

    #[test]
    fn random_ports_are_in_the_range_and_of_no_known_service() {
        let mut rng = Rng::from_seed([1; 32]);
        for _ in 0..50_000 {
            let port = draw_port(&mut rng);
            assert!(PORTS.contains(&port) && !WELL_KNOWN.contains(&port));
        }
    }

    #[tokio::test]
    async fn a_router_starts_keeps_its_identity_and_port_and_stops() {
        let dir = tempfile::tempdir().unwrap();
        let config = || {
            let mut config = Config::private(dir.path().join("data"), 99);
            config.ntcp2.bind = vec!["127.0.0.1:0".parse().unwrap()];
            config.ntcp2.publish = vec!["127.0.0.1:0".parse().unwrap()];
            config
        };
        let mut seen = Vec::new();
        for _ in 0..2 {
            let ramson = start(config()).await.unwrap();
            let used = start(config()).await.unwrap_err();
            assert_eq!(used.kind(), ErrorKind::Setup, "the folder is in use");
            let local = ramson.destination(crate::DestinationOptions::client("test"), None).await.unwrap();
            let target = crate::Target::Hash(ramson_wire::data::Hash([1; 32]));
            assert_eq!(local.connect((target, 80)).await.unwrap_err().kind(), ErrorKind::NotReady);
            let status = ramson.status().await.unwrap();
            assert_eq!((status.network_id, status.destinations.len()), (99, 1));
            seen.push((status.router, status.reachability.published));
            assert_eq!(ramson.reseed(crate::reseed::Sources::default()).await.unwrap_err().kind(), ErrorKind::Misuse);
            ramson.shutdown().await;
            ramson.stopped().await;
            assert_eq!(ramson.status().await.unwrap_err().kind(), ErrorKind::ShuttingDown);
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0].1.len(), 1);
    }

    /// What comes faster than the limit waits, and is read all the same: a second's worth at once, the rest after pauses.
    #[tokio::test]
    async fn reading_goes_on_after_a_pause() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::private(dir.path(), 99);
        config.ntcp2.bind = vec!["127.0.0.1:0".parse().unwrap()];
        config.ntcp2.publish = vec!["127.0.0.1:0".parse().unwrap()];
        config.bandwidth.incoming = Some(1_000_000);
        let ramson = start(config).await.unwrap();
        let status = ramson.status().await.unwrap();
        assert_eq!((status.links.limit_in, status.links.limit_out), (Some(1_000_000), None));
        assert_eq!(status.transit.limit, Some(800_000));
        let at = status.reachability.published[0].trim_start_matches("NTCP2 ").to_owned();
        // No handshake, so that it is read and thrown away.
        let sender = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(at).unwrap();
            std::io::Write::write_all(&mut stream, &vec![7; 1_200_000]).unwrap();
            stream
        });
        while ramson.status().await.unwrap().links.bytes_in < 1_200_000 {
            tokio::task::yield_now().await;
        }
        drop(sender.await.unwrap());
        let draining = ramson.drain().await.unwrap();
        let status = ramson.status().await.unwrap().transit;
        assert_eq!((draining, status.draining, status.accepting), (crate::Draining::default(), true, false));
        ramson.shutdown().await;
    }

    #[tokio::test]
    async fn the_clock_is_not_behind_what_an_earlier_run_has_seen_signed() {
        let dir = tempfile::tempdir().unwrap();
        let floor = 4_000_000_000_000;
        Store::open(dir.path()).unwrap().save("time-floor", floor.to_string().as_bytes()).unwrap();
        let mut config = Config::private(dir.path(), 99);
        config.ntcp2.outbound_only = true;
        let ramson = start(config).await.unwrap();
        let published = || {
            let file = std::fs::read(dir.path().join("router.info")).ok()?;
            <RouterInfo as ramson_wire::codec::Decode>::from_bytes(&file).ok().map(|info| info.published())
        };
        while published().is_none_or(|at| at < floor) {
            tokio::task::yield_now().await;
        }
        ramson.shutdown().await;
    }

    #[tokio::test]
    async fn a_router_stops_when_its_last_handle_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::private(dir.path(), 99);
        config.ntcp2.outbound_only = true;
        drop(start(config.clone()).await.unwrap());
        while start(config.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn behind_a_proxy_only_a_named_address_listens() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (kind, address) = (crate::config::ProxyKind::Socks5, "127.0.0.1:9050".parse().unwrap());
        let mut config = Config::private(dir.path(), 99);
        config.proxy = Some(crate::config::Proxy { kind, address, user: None, password: None });
        let addresses = |config: &Config| {
            let listeners = listen(config, None, &store, &mut Rng::from_seed([1; 32])).unwrap();
            listeners.addresses().len()
        };
        assert_eq!(addresses(&config), 0);
        config.ntcp2.bind = vec!["127.0.0.1:0".parse().unwrap()];
        assert_eq!(addresses(&config), 1);
    }

    #[test]
    fn t132_damaged_keys_are_neither_used_nor_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("router.keys");
        let identity = |opened: Result<Opened, Error>| opened.map(|opened| opened.keys.identity.hash());
        let first = identity(open(dir.path())).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[100] ^= 1;
        let damaged = (0..whole.len()).map(|at| whole[..at].to_vec()).chain([
            flipped,
            vec![0; whole.len()],
            whole.iter().chain(&[0]).copied().collect(),
            // Another kind of key file, in this one's place.
            ramson_wire::codec::Encode::to_bytes(&crate::PrivateKeys::random(&mut Rng::from_seed([1; 32]))),
        ]);
        for bytes in damaged {
            // Written over, so that the mode stays.
            std::fs::write(&path, &bytes).unwrap();
            let error = identity(open(dir.path())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Setup);
            assert!(error.to_string().contains("router's keys"), "{error}");
            assert!(std::fs::read(&path).unwrap() == bytes, "{} bytes stay as they are", bytes.len());
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(identity(open(dir.path())).unwrap(), first);
    }

    #[cfg(unix)]
    #[test]
    fn t132_keys_that_others_can_read_stop_the_start_with_words() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).map(drop).unwrap();
        let set = |name: &str, mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(dir.path().join(name), mode).unwrap();
        };
        set("router.keys", 0o640);
        let said = open(dir.path()).map(drop).unwrap_err().to_string();
        assert!(said.ends_with(&format!("chmod 600 {}", dir.path().join("router.keys").display())), "{said}");
        set("router.keys", 0o600);
        set(".", 0o777);
        let said = open(dir.path()).map(drop).unwrap_err().to_string();
        assert!(said.contains("chmod 700"), "{said}");
        set(".", 0o755);
        open(dir.path()).map(drop).unwrap();
    }

    /// Two routers, the second of which is seeded with the first, whose folder this is: they have a session, and it ends.
    pub(crate) async fn meet(folder: &std::path::Path, config: impl Fn(usize) -> Config) {
        let first = start(config(0)).await.unwrap();
        let file = folder.join("router.info");
        while !file.exists() {
            tokio::task::yield_now().await;
        }
        let mut second = config(1);
        second.reseed.files = vec![file];
        second.reseed.dangerously_accept_unsigned_files = true;
        let second = start(second).await.unwrap();
        for router in [&first, &second] {
            router.progress().wait_for(|progress| progress.sessions > 0).await.unwrap();
        }
        let status = second.status().await.unwrap();
        assert!(status.links.bytes_in > 0 && status.links.bytes_out > 0, "{:?}", status.links);
        second.shutdown().await;
        first.progress().wait_for(|progress| progress.sessions == 0).await.unwrap();
        first.shutdown().await;
    }

    #[tokio::test]
    async fn two_routers_meet_when_one_is_seeded_with_the_other() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let config = |at: usize| {
            let mut config = Config::private(dirs[at].path(), 99);
            config.ntcp2.bind = vec!["127.0.0.1:0".parse().unwrap()];
            config.ntcp2.publish = config.ntcp2.bind.clone();
            config
        };
        meet(dirs[0].path(), config).await;
    }
}
