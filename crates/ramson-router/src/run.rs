//! Running the router: settings, services, signals.

mod doors;
mod i2pcontrol;
mod manage;
mod plan;
mod services;
mod tls;

use crate::asks::Ask;
use crate::confine::{self, Files};
use crate::control::{self, Doors, Guests};
use crate::folder::Folder;
use crate::hardening::Hardening;
use crate::process;
use crate::settings::{self, Level, NetworkId, Server, Settings};
use crate::stop::{Stop, Wishes};
use crate::{Failure, hosted, offer, redact, show};
use i2pcontrol::House;
use ramson::config::PUBLIC_NETWORK_ID;
use ramson::{DestinationOptions, Event, PrivateKeys, Ramson};
use ramson_services::names::{Names, Subscriptions};
use ramson_services::tunnels::load_or_create_keys;
use services::{Base, Services};
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
    // It is read again later, by who may be in another folder.
    let path = std::path::absolute(config.unwrap_or_else(|| folder.config())).map_err(Failure::failed)?;
    let Loaded { mut settings, is_new } = load(folder, &path, network)?;
    settings.server.extend(hosted.clone());
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
        hosted::holds_no_keys(folder, &site, settings.server.iter().map(|server| &server.keys))?;
    }
    // Before there are other threads: what they begin with is what this one has.
    let hardening = match settings.process.hardening {
        settings::Hardening::On => confine::confine(&Files::of(folder, &path, &settings)),
        settings::Hardening::Off => confine::off(),
    };
    let ready = Ready { keys, hardening, config: path, hosted };
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
    config: PathBuf,
    /// A server that the config does not have.
    hosted: Option<Server>,
}

fn server_keys(folder: &Folder, settings: &Settings) -> Result<Keys, Failure> {
    let mut keys = Keys::new();
    let of_clients = settings.client.iter().filter_map(|client| client.keys.as_ref());
    for file in settings.server.iter().map(|server| &server.keys).chain(of_clients) {
        let path = folder.path().join(file);
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
    Ready { keys, hardening, config, hosted }: Ready,
    ramson: &Ramson,
    (stop, json): (UnboundedSender<Stop>, bool),
    tasks: &mut JoinSet<()>,
) -> Result<(), Failure> {
    let names = Arc::new(Names::open(folder.hosts()).map_err(Failure::failed)?);
    doors::open(settings, folder, ramson, &names, tasks).await?;
    let is_confined = settings.process.hardening == settings::Hardening::On;
    let base = Base {
        folder: folder.clone(),
        config: config.clone(),
        ramson: ramson.clone(),
        names: Arc::clone(&names),
        is_confined,
        hosted,
        json,
    };
    let mut services = Services::new(base, settings.clone());
    services.start(keys).await.map_err(Failure::failed)?;
    let (asks, asked) = tokio::sync::mpsc::unbounded_channel();
    tasks.spawn(services.run(asked));
    let house = House {
        asks: asks.clone(),
        stop: stop.clone(),
        config: config.clone(),
        settings: settings.clone(),
        folder: folder.clone(),
        writing: Arc::default(),
    };
    i2pcontrol::open(settings, folder, ramson, &names, house, tasks).await?;
    let feeds = subscribe(settings, ramson, &names, tasks);
    #[cfg(unix)]
    {
        // Taken before anybody is told that the router is there.
        let hangups = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
        tasks.spawn(reload_on_hangup(hangups.map_err(Failure::failed)?, asks.clone()));
        let guests = Guests::new(folder.clone(), settings.http_proxy.shape().apply(DestinationOptions::server("")));
        tasks.spawn(Arc::clone(&guests).watch());
        let doors = Doors { ramson: ramson.clone(), asks, config, stop, hardening, names, feeds, guests };
        match control::listen(folder) {
            Ok(listener) => drop(tasks.spawn(control::serve(listener, doors))),
            Err(e) => warn!("`ramson status` will not work: {}", e.text),
        }
    }
    Ok(())
}

/// Has the subscriptions of names read from time to time, and at once by what it gives back.
fn subscribe(
    settings: &Settings,
    ramson: &Ramson,
    names: &Arc<Names>,
    tasks: &mut JoinSet<()>,
) -> Option<Arc<tokio::sync::Notify>> {
    let urls = settings.names.subscriptions(settings.is_public());
    if urls.is_empty() {
        return None;
    }
    let options = settings.http_proxy.shape().apply(DestinationOptions::client("subscriptions of names"));
    let subscriptions = Subscriptions::new(Arc::clone(names), ramson.clone(), options, &urls);
    let now = subscriptions.now();
    tasks.spawn(subscriptions.run());
    Some(now)
}

/// SIGHUP has the config read again.
#[cfg(unix)]
async fn reload_on_hangup(mut hangups: tokio::signal::unix::Signal, asks: UnboundedSender<Ask>) {
    while hangups.recv().await.is_some() {
        // What comes of it stands in the log.
        let (reply, done) = tokio::sync::oneshot::channel();
        if asks.send(Ask::Reload { file: None, reply }).is_err() {
            return;
        }
        let _ = done.await;
    }
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

    #[tokio::test(flavor = "multi_thread")]
    async fn a_router_that_stops_without_a_signal_is_a_failure() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(temporary.path().to_owned())).unwrap();
        let text = "network.id = 99\nhttp_proxy.listen = \"127.0.0.1:0\"\nsocks.enabled = false\n";
        let settings = Settings::parse(text).unwrap();
        let ramson = Network::default().router();
        let other = ramson.clone();
        tokio::spawn(async move {
            other.destination(ramson::DestinationOptions::client("a"), None).await.unwrap();
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
