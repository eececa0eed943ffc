//! Running the router: settings, services, signals.

use crate::confine::{self, Files};
use crate::control::{self, Doors, Guests};
use crate::folder::Folder;
use crate::hardening::Hardening;
use crate::process;
use crate::settings::{self, Kind, Level, NetworkId, Server, Settings};
use crate::stop::{Stop, Wishes};
use crate::{Failure, host, offer, redact, show};
use ramson::config::PUBLIC_NETWORK_ID;
use ramson::{DestinationOptions, Event, LocalDestination, PrivateKeys, Ramson};
use ramson_services::http::{Credentials, HttpProxy, ProxyConfig};
use ramson_services::names::{Names, Subscriptions};
use ramson_services::sam::{Sam, SamConfig};
use ramson_services::site::Site;
use ramson_services::tunnels::{
    ClientTunnel, ClientTunnelConfig, ServerKind, ServerTunnel, ServerTunnelConfig, SharedSite, load_or_create_keys,
};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tracing::{info, warn};
use tracing_subscriber::filter::LevelFilter;

/// How long an orderly stop may take.
const STOP_TIME: Duration = Duration::from_secs(8);

/// Runs the router until a signal stops it. With `hosted` it has one server more than the config says.
pub(crate) fn run(
    folder: &Folder,
    config: Option<PathBuf>,
    network: Option<NetworkId>,
    json: bool,
    hosted: Option<Server>,
) -> Result<(), Failure> {
    let path = config.unwrap_or_else(|| folder.config());
    let Loaded { mut settings, is_new } = load(folder, &path, network)?;
    settings.server.extend(hosted);
    folder.create()?;
    let lock = folder.lock()?;
    log_to_stderr(settings.log.level);
    offer::forget_left(folder);
    if is_new {
        info!("a new config file, with a comment on every setting: {}", path.display());
    }
    process::allow_many_files();
    let keys = server_keys(folder, &settings)?;
    for site in settings.server.iter().filter_map(|server| server.site(folder.path())) {
        host::holds_no_keys(folder, &site, settings.server.iter().map(|server| &server.keys))?;
    }
    // Before there are other threads: what they begin with is what this one has.
    let hardening = match settings.process.hardening {
        settings::Hardening::On => confine::confine(&Files::of(folder, &settings)),
        settings::Hardening::Off => confine::off(),
    };
    let ready = Ready { keys, hardening };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)?;
    let result = runtime.block_on(live(folder, &settings, ready, json));
    // What a stuck task holds must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(lock);
    result
}

/// Bytes of a config file: the template has a few thousand.
const MOST_SETTINGS: u64 = 1 << 20;

/// The settings, and whether their file was not there before.
struct Loaded {
    settings: Settings,
    is_new: bool,
}

/// The text of a file, which is no config file when it is larger than any could be.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MOST_SETTINGS + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_SETTINGS {
        let why = format!("larger than {MOST_SETTINGS} bytes: this is no config file");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
    }
    Ok(text)
}

/// Reads the config file; writes it first, if there is none and the network is known.
fn load(folder: &Folder, path: &Path, network: Option<NetworkId>) -> Result<Loaded, Failure> {
    let mut is_new = false;
    let text = match read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let network = network.ok_or_else(|| ask_for_network(path))?;
            folder.create()?;
            let text = Settings::template(network);
            // It may come to hold passwords: for its owner only.
            ramson::store::create(path, text.as_bytes()).map_err(Failure::failed)?;
            is_new = true;
            text
        }
        Err(e) => return Err(Failure::failed(format!("{}: {e}", path.display()))),
    };
    let settings = Settings::parse(&text).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
    match network {
        Some(network) if network != settings.network.id => Err(Failure::usage(format!(
            "{} is for network {}, and its data folder, too: take another --data for network {}",
            path.display(),
            settings.network.id.0,
            network.0
        ))),
        _ => Ok(Loaded { settings, is_new }),
    }
}

fn ask_for_network(path: &Path) -> Failure {
    Failure::usage(format!(
        "there is no config file {} yet. Say which network it shall be for:\n\
         \x20 ramson --network public   the I2P network. This is a pre-release: do not trust your safety to it.\n\
         \x20 ramson --network 99       a private network, by its number (16 to 254)",
        path.display()
    ))
}

fn log_to_stderr(level: Level) {
    let filter = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A second subscriber cannot be set; the first one then goes on.
    let _ = tracing_subscriber::fmt()
        .with_writer(redact::Stderr)
        .with_ansi(ansi)
        .with_max_level(filter)
        .with_target(false)
        .try_init();
}

/// The keys of the servers, by the paths of their files. They are made here, where they are new: later on the process
/// may not be able to.
type Keys = BTreeMap<PathBuf, PrivateKeys>;

/// What was made ready before there were other threads.
#[derive(Default)]
struct Ready {
    keys: Keys,
    hardening: Hardening,
}

fn server_keys(folder: &Folder, settings: &Settings) -> Result<Keys, Failure> {
    let mut keys = Keys::new();
    for server in &settings.server {
        let path = folder.path().join(&server.keys);
        if let Entry::Vacant(vacant) = keys.entry(path) {
            let read = load_or_create_keys(vacant.key()).map_err(Failure::failed)?;
            vacant.insert(read);
        }
    }
    Ok(keys)
}

async fn live(folder: &Folder, settings: &Settings, ready: Ready, json: bool) -> Result<(), Failure> {
    // What `ramson stop` asks for comes by this channel.
    let (stop, commands) = tokio::sync::mpsc::unbounded_channel();
    let mut wishes = Wishes::new(commands)?;
    if settings.network.id.0 == PUBLIC_NETWORK_ID {
        warn!("this is a pre-release on the public network: do not trust your safety to it");
    }
    let ramson = tokio::select! {
        started = Ramson::start(settings.router(folder.path())) => started.map_err(Failure::failed)?,
        _ = wishes.next() => return Ok(()),
    };
    until_end(folder, settings, ready, &ramson, json, (stop, &mut wishes)).await
}

/// Serves until it is asked to stop, which is success, or the router stops by itself, which is none. Then closes all.
async fn until_end(
    folder: &Folder,
    settings: &Settings,
    ready: Ready,
    ramson: &Ramson,
    json: bool,
    (asks, wishes): (UnboundedSender<Stop>, &mut Wishes),
) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    let teller = json.then(|| tokio::spawn(tell(ramson.events())));
    let serve = async {
        open(folder, settings, ready, ramson, (asks, json), &mut tasks).await?;
        std::future::pending::<Result<Stop, Failure>>().await
    };
    let result = tokio::select! {
        biased;
        stop = wishes.next() => Ok(stop),
        () = ramson.stopped() => Err(stopped_by_itself()),
        failed = serve => failed,
    };
    let result = match result {
        Ok(Stop::Graceful) => {
            wishes.run_out(ramson).await;
            Ok(())
        }
        Ok(Stop::Now) => {
            info!("stopping; a second signal stops at once");
            Ok(())
        }
        Err(why) => Err(why),
    };
    let stop = async {
        ramson.shutdown().await;
        tasks.shutdown().await;
        // It ends with the line that says so.
        if let Some(teller) = teller {
            let _ = teller.await;
        }
    };
    tokio::select! {
        () = stop => {}
        _ = wishes.next() => warn!("stopped at once"),
        () = tokio::time::sleep(STOP_TIME) => warn!("stopped before everything was closed"),
    }
    let _ = std::fs::remove_file(folder.control());
    result
}

fn stopped_by_itself() -> Failure {
    Failure::failed(
        "the router has stopped by itself, by a fault that its log names; please report it, and start it again",
    )
}

/// Opens what local programs and other people use.
async fn open(
    folder: &Folder,
    settings: &Settings,
    Ready { keys, hardening }: Ready,
    ramson: &Ramson,
    (stop, json): (UnboundedSender<Stop>, bool),
    tasks: &mut JoinSet<()>,
) -> Result<(), Failure> {
    let names = Arc::new(Names::open(folder.hosts()).map_err(Failure::failed)?);
    let mut any = None;
    let proxy = &settings.http_proxy;
    if proxy.enabled {
        let local = destination(ramson, "http proxy", proxy.tunnels()).await?;
        let credentials = proxy
            .user
            .clone()
            .zip(proxy.password.clone())
            .map(|(user, password)| Credentials { user, password: password.0 });
        let ask_first_use = settings.names.ask_first_use.then(|| folder.used_names());
        let jump_services = settings.names.jump_services(is_public(settings));
        let config = ProxyConfig { listen: proxy.listen.0, credentials, ask_first_use, jump_services };
        let server = HttpProxy::bind(config, local.clone(), Arc::clone(&names)).await.map_err(Failure::failed)?;
        let at = server.local_addr().map_err(Failure::failed)?;
        info!("the HTTP proxy listens at {at}");
        tasks.spawn(server.run());
        any = Some(local);
    }
    if let Some(config) = settings.sam.config() {
        open_sam(config, settings.sam.is_asked_for(), ramson, &names, tasks).await?;
    }
    for client in &settings.client {
        let local = destination(ramson, &client.name.0, client.tunnels()).await?;
        let config = ClientTunnelConfig {
            name: client.name.0.clone(),
            listen: client.listen.0,
            to: client.to.0.clone(),
            port: client.port,
        };
        let tunnel = ClientTunnel::bind(config, local.clone(), Arc::clone(&names)).await.map_err(Failure::failed)?;
        info!("client tunnel {} listens at {}", client.name.0, client.listen.0);
        tasks.spawn(tunnel.run());
        any.get_or_insert(local);
    }
    let mut served: BTreeMap<PathBuf, LocalDestination> = BTreeMap::new();
    for server in &settings.server {
        let path = folder.path().join(&server.keys);
        let site = server.site(folder.path()).zip(keys.get(&path));
        let site = site.map(|(site, keys)| Site::open(&site, keys, server.listing)).transpose();
        let site = site.map_err(Failure::failed)?.map(|site| SharedSite(Arc::new(site)));
        let local = match served.get(&path) {
            Some(local) => local.clone(),
            None => {
                let tunnels = server.tunnels();
                let options = DestinationOptions {
                    inbound: tunnels.clone(),
                    outbound: tunnels,
                    ..DestinationOptions::server(server.name.0.clone())
                };
                // Without them the router would make others.
                let keys =
                    keys.get(&path).cloned().ok_or_else(|| Failure::failed("the keys of a server were not read"))?;
                ramson.destination(options, Some(keys)).await.map_err(Failure::failed)?
            }
        };
        let kind = match (server.kind, site) {
            (Kind::Http, _) => ServerKind::Http { host: server.host.clone() },
            (Kind::Site, Some(site)) => ServerKind::Site(site),
            (Kind::Site, None) => return Err(Failure::failed("the keys of a site were not read")),
            (Kind::Tcp, _) => ServerKind::Tcp,
        };
        let config = ServerTunnelConfig {
            name: server.name.0.clone(),
            kind,
            target: server.at(),
            port: server.port,
            max_streams: server.max_streams,
            max_streams_per_client: server.max_streams_per_client,
        };
        tasks.spawn(ServerTunnel::listen(config, &local).await.map_err(Failure::failed)?.run());
        match server.site(folder.path()) {
            Some(site) => info!("site {} offers {}; `ramson status` says its address", server.name.0, site.display()),
            None => info!("server tunnel {} offers {}; `ramson status` says its address", server.name.0, server.at()),
        }
        if server.announced {
            tasks.spawn(host::announce(local.clone(), json));
        }
        served.insert(path, local.clone());
        any.get_or_insert(local);
    }
    let feeds = subscribe(settings, ramson, &names, tasks);
    #[cfg(unix)]
    {
        let guests = Guests::new(folder.clone(), proxy.tunnels());
        tasks.spawn(Arc::clone(&guests).watch());
        let doors = Doors { ramson: ramson.clone(), local: any, stop, hardening, names, feeds, guests };
        match control::listen(folder) {
            Ok(listener) => drop(tasks.spawn(control::serve(listener, doors))),
            Err(e) => warn!("`ramson status` will not work: {}", e.text),
        }
    }
    Ok(())
}

fn is_public(settings: &Settings) -> bool {
    settings.network.id.0 == PUBLIC_NETWORK_ID
}

/// Has the subscriptions of names read from time to time, and at once by what it gives back.
fn subscribe(
    settings: &Settings,
    ramson: &Ramson,
    names: &Arc<Names>,
    tasks: &mut JoinSet<()>,
) -> Option<Arc<tokio::sync::Notify>> {
    let urls = settings.names.subscriptions(is_public(settings));
    if urls.is_empty() {
        return None;
    }
    let tunnels = settings.http_proxy.tunnels();
    let subscriptions = Subscriptions::new(Arc::clone(names), ramson.clone(), tunnels, &urls);
    let now = subscriptions.now();
    tasks.spawn(subscriptions.run());
    Some(now)
}

/// Opens the SAM bridge. One that nobody has asked for is not worth a router that does not start: two routers may run
/// beside each other.
async fn open_sam(
    config: SamConfig,
    is_asked_for: bool,
    ramson: &Ramson,
    names: &Arc<Names>,
    tasks: &mut JoinSet<()>,
) -> Result<(), Failure> {
    let at = config.listen;
    match Sam::bind(config, ramson.clone(), Arc::clone(names)).await {
        Ok(sam) => {
            info!("the SAM bridge listens at {}", sam.local_addr().unwrap_or(at));
            tasks.spawn(sam.run());
            Ok(())
        }
        Err(e) if is_asked_for => Err(Failure::failed(e)),
        Err(e) => {
            warn!("programs that speak SAM do not reach this router: {e}");
            Ok(())
        }
    }
}

async fn destination(ramson: &Ramson, name: &str, tunnels: ramson::TunnelOptions) -> Result<LocalDestination, Failure> {
    let options =
        DestinationOptions { inbound: tunnels.clone(), outbound: tunnels, ..DestinationOptions::client(name) };
    ramson.destination(options, None).await.map_err(Failure::failed)
}

/// Writes what happens as JSON lines. The library writes the log.
async fn tell(mut events: Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(event) => {
                let _ = show::pairs(true, &[("event", serde_json::to_value(&event).unwrap_or_default())]);
                if event == Event::Stopped {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson::testing::Network;

    #[test]
    fn a_config_file_without_an_end_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(temporary.path().to_owned())).unwrap();
        let path = temporary.path().join("ramson.toml");
        let settings = "network.id = 99\n".to_owned();
        let padded = |length: u64| format!("{settings}{}", "#".repeat(length as usize - settings.len()));
        std::fs::write(&path, padded(MOST_SETTINGS)).unwrap();
        assert!(load(&folder, &path, None).is_ok());
        std::fs::write(&path, padded(MOST_SETTINGS + 1)).unwrap();
        let said = load(&folder, &path, None).err().unwrap().text;
        assert!(said.contains("larger than"), "{said}");
        // What ends only when it is no longer read.
        let said = load(&folder, Path::new("/dev/zero"), None).err().unwrap().text;
        assert!(said.contains("larger than"), "{said}");
    }

    #[tokio::test]
    async fn a_sam_port_that_is_taken_stops_only_a_router_that_was_told_to_have_it() {
        let temporary = tempfile::tempdir().unwrap();
        let names = Arc::new(Names::open(temporary.path().join("hosts.txt")).unwrap());
        let (ramson, mut tasks) = (Network::default().router(), JoinSet::new());
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap();
        for (enabled, fails) in [("", false), ("sam.enabled = true\n", true)] {
            let text = format!("network.id = 99\nsam.listen = \"{taken}\"\nsam.udp = \"off\"\n{enabled}");
            let sam = Settings::parse(&text).unwrap().sam;
            let opened = open_sam(sam.config().unwrap(), sam.is_asked_for(), &ramson, &names, &mut tasks).await;
            assert_eq!((opened.is_err(), tasks.len()), (fails, 0), "{enabled}");
        }
        let sam =
            Settings::parse("network.id = 99\nsam.listen = \"127.0.0.1:0\"\nsam.udp = \"127.0.0.1:0\"\n").unwrap().sam;
        open_sam(sam.config().unwrap(), true, &ramson, &names, &mut tasks).await.unwrap();
        assert_eq!(tasks.len(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_router_that_stops_without_a_signal_is_a_failure() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(temporary.path().to_owned())).unwrap();
        let settings = Settings::parse("network.id = 99\nhttp_proxy.listen = \"127.0.0.1:0\"\n").unwrap();
        let ramson = Network::default().router();
        let other = ramson.clone();
        tokio::spawn(async move {
            other.destination(DestinationOptions::client("a"), None).await.unwrap();
            other.shutdown().await;
        });
        let (stop, commands) = tokio::sync::mpsc::unbounded_channel();
        let mut wishes = Wishes::new(commands).unwrap();
        let asked = (stop, &mut wishes);
        let failure = until_end(&folder, &settings, Ready::default(), &ramson, false, asked).await.unwrap_err();
        assert_eq!(failure.status, 1);
        // It may stop while the services are being opened, or later.
        let said = ["stopped by itself", "shutting down"];
        assert!(said.iter().any(|words| failure.text.contains(words)), "{}", failure.text);
    }
}
