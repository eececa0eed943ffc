//! How commands ask the running router: a Unix socket in the data folder, one JSON line each way.

// With its path: the fuzz target includes this file from elsewhere.
#[path = "control/guests.rs"]
mod guests;
#[path = "control/names.rs"]
mod names;

use crate::Failure;
use crate::asks::{Ask, TunnelReport};
use crate::folder::Folder;
use crate::hardening::Hardening;
use crate::stop::Stop;
pub(crate) use guests::{Guest, Guests, Welcome, keys_file};
pub(crate) use names::{NameAnswer, NameRequest, Shelf, carry_out};
use ramson::{Draining, Ramson, Status};
use ramson_services::names::Names;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// Bytes of a request.
const REQUEST_BYTES: u64 = 64 * 1024;
/// Bytes of an answer.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;
/// Requests at once.
const REQUESTS: usize = 16;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    Status,
    Reseed {
        files: Vec<PathBuf>,
        urls: Vec<String>,
    },
    ExportReseed {
        file: PathBuf,
    },
    Lookup {
        hash: [u8; 32],
    },
    Name {
        request: NameRequest,
    },
    Host {
        guest: Guest,
    },
    Stop {
        graceful: bool,
    },
    /// Where the config file is.
    Config,
    /// Read it again, or this one in its place.
    Reload {
        file: Option<PathBuf>,
    },
    Tunnels,
}

/// The status of the router, and what of its process the router does not know.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) status: Status,
    pub(crate) hardening: Hardening,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer<T> {
    Ok(T),
    Error(String),
}

/// What the running router answers by.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    pub(crate) ramson: Ramson,
    /// Where questions about the tunnels go.
    pub(crate) asks: UnboundedSender<Ask>,
    pub(crate) config: PathBuf,
    /// Where wishes to stop go.
    pub(crate) stop: UnboundedSender<Stop>,
    pub(crate) hardening: Hardening,
    pub(crate) names: Arc<Names>,
    /// Has the subscriptions of names read; `None` without any.
    pub(crate) feeds: Option<Arc<Notify>>,
    pub(crate) guests: Arc<Guests>,
}

impl Doors {
    async fn answer(&self, line: &[u8]) -> String {
        let Ok(request) = serde_json::from_slice(line) else {
            return json(&Answer::<()>::Error(
                "the request cannot be read; are command and router of one version?".into(),
            ));
        };
        match request {
            Request::Status => {
                let report = |status| Report { status, hardening: self.hardening.clone() };
                json(&answer(self.ramson.status().await.map(report)))
            }
            Request::Reseed { files, urls } => {
                json(&answer(self.ramson.reseed(ramson::reseed::Sources { files, urls }).await))
            }
            Request::ExportReseed { file } => json(&answer(self.ramson.export_reseed(file).await)),
            Request::Stop { graceful } => {
                let draining = if graceful { self.ramson.drain().await } else { Ok(Draining::default()) };
                if draining.is_ok() {
                    // One who does not listen any more stops already.
                    let _ = self.stop.send(if graceful { Stop::Graceful } else { Stop::Now });
                }
                json(&answer(draining))
            }
            Request::Name { request } => json(&self.name(request).await),
            Request::Host { guest } => {
                let heard = self.guests.hear(&self.ramson, &self.names, &guest).await;
                json(&heard.map_or_else(Answer::Error, Answer::Ok))
            }
            Request::Config => json(&Answer::Ok(&self.config)),
            Request::Reload { file } => match self.ask(|reply| Ask::Reload { file, reply }).await {
                Some(Ok(changes)) => json(&Answer::Ok(changes)),
                Some(Err(why)) => json(&Answer::<()>::Error(why)),
                None => json(&stopping()),
            },
            Request::Tunnels => match self.ask(|reply| Ask::List { reply }).await {
                Some(list) => json::<Answer<Vec<TunnelReport>>>(&Answer::Ok(list)),
                None => json(&stopping()),
            },
            // Whose tunnels look things up; without an own destination there are none.
            Request::Lookup { hash } => match self.ask(|reply| Ask::Local { reply }).await.flatten() {
                Some(local) if !local.progress().borrow().is_ready() => {
                    let progress = local.progress().borrow().clone();
                    json(&Answer::<()>::Error(format!("look-ups need tunnels, which do not stand yet: {progress}")))
                }
                Some(local) => json(&answer(local.lookup(ramson::Hash(hash)).await.map(|d| d.to_base64()))),
                None => json(&Answer::<()>::Error("look-ups need the HTTP proxy or a tunnel in the config".into())),
            },
        }
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).ok()?;
        answer.await.ok()
    }
}

fn stopping() -> Answer<()> {
    Answer::Error("the router starts or stops".into())
}

impl Doors {
    async fn name(&self, request: NameRequest) -> Answer<NameAnswer> {
        match (&request, &self.feeds) {
            (NameRequest::Update, Some(feeds)) => {
                feeds.notify_one();
                return Answer::Ok(NameAnswer::Reading);
            }
            (NameRequest::Update, None) => return Answer::Error("there are no subscriptions in the config".into()),
            _ => {}
        }
        let names = Arc::clone(&self.names);
        // Lists can be long, and disks slow.
        let done = tokio::task::spawn_blocking(move || carry_out(&names, &request)).await;
        done.map_err(|e| e.to_string()).flatten().map_or_else(Answer::Error, Answer::Ok)
    }
}

fn answer<T>(result: Result<T, ramson::Error>) -> Answer<T> {
    result.map_or_else(|e| Answer::Error(e.to_string()), Answer::Ok)
}

fn json<T: Serialize>(answer: &T) -> String {
    // Plain data in plain structures: writing it cannot fail; if it did, the asker reads an empty line as an error.
    serde_json::to_string(answer).unwrap_or_default() + "\n"
}

#[cfg(unix)]
mod unix {
    use super::{ANSWER_BYTES, Answer, Doors, Failure, Folder, REQUEST_BYTES, REQUESTS, Request, json};
    use serde::de::DeserializeOwned;
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{UnixListener, UnixStream};

    /// Opens the socket. The folder's lock is held, so a socket that is there is a dead router's.
    pub(crate) fn listen(folder: &Folder) -> Result<UnixListener, Failure> {
        let path = folder.control();
        let cannot = |e: std::io::Error| Failure::failed(format!("{}: {e}", path.display()));
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(cannot(e)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(cannot)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(cannot)?;
        Ok(listener)
    }

    /// Answers until the future is dropped.
    pub(crate) async fn serve(listener: UnixListener, doors: Doors) {
        let slots = Arc::new(tokio::sync::Semaphore::new(REQUESTS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let doors = doors.clone();
            tokio::spawn(async move {
                let _ = tokio::time::timeout(Duration::from_secs(300), one(stream, &doors)).await;
                drop(slot);
            });
        }
    }

    async fn one(mut stream: UnixStream, doors: &Doors) -> std::io::Result<()> {
        let mut line = Vec::new();
        let (from, mut to) = stream.split();
        BufReader::new(from.take(REQUEST_BYTES)).read_until(b'\n', &mut line).await?;
        to.write_all(doors.answer(&line).await.as_bytes()).await
    }

    /// Asks the running router.
    pub(crate) fn ask<T: DeserializeOwned>(folder: &Folder, request: &Request) -> Result<T, Failure> {
        let path = folder.control();
        let no_router = |_| Failure::failed(format!("no router runs in {}", folder.path().display()));
        let mut stream = std::os::unix::net::UnixStream::connect(&path).map_err(no_router)?;
        let mut text = Vec::new();
        let exchange =
            stream.write_all(json(request).as_bytes()).and_then(|()| stream.take(ANSWER_BYTES).read_to_end(&mut text));
        exchange.map_err(|e| Failure::failed(format!("the router broke off: {e}")))?;
        match serde_json::from_slice(&text) {
            Ok(Answer::Ok(value)) => Ok(value),
            Ok(Answer::Error(e)) => Err(Failure::failed(e)),
            Err(_) => {
                Err(Failure::failed("the router's answer cannot be read; are command and router of one version?"))
            }
        }
    }
}

#[cfg(unix)]
pub(crate) use unix::{listen, serve};

/// Whether a router answers in this folder.
pub(crate) fn is_running(folder: &Folder) -> bool {
    #[cfg(unix)]
    return std::os::unix::net::UnixStream::connect(folder.control()).is_ok();
    #[cfg(not(unix))]
    return folder.path().exists() && folder.lock().is_err();
}

/// Waits until a router that was asked to stop has gone.
pub(crate) fn wait_for_end(folder: &Folder) -> Result<(), Failure> {
    // More than it takes at most.
    for _ in 0..200 {
        if !folder.control().exists() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(Failure::failed("the router still runs; see its log"))
}

/// Asks the running router, and reads its answer.
pub(crate) fn ask<T: DeserializeOwned>(folder: &Folder, request: &Request) -> Result<T, Failure> {
    #[cfg(unix)]
    return unix::ask(folder, request);
    #[cfg(not(unix))]
    Err(Failure::failed("asking a running router needs Unix sockets, which this platform lacks"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::asks::Changes;
    use crate::hardening::{Measure, State};
    use ramson::DestinationOptions;
    use ramson::testing::Network;

    #[tokio::test(flavor = "multi_thread")]
    async fn commands_get_answers_and_errors_get_words() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(temporary.path().to_owned())).unwrap();
        assert!(ask::<Status>(&folder, &Request::Status).unwrap_err().text.contains("no router runs"));
        std::fs::write(folder.control(), b"left by a dead router").unwrap();
        let ramson = Network::default().router();
        let local = ramson.destination(DestinationOptions::server("site"), None).await.unwrap();
        let names = Arc::new(Names::open(folder.hosts()).unwrap());
        let guests = Guests::new(folder.clone(), DestinationOptions::server(""));
        let (stop, mut stops) = tokio::sync::mpsc::unbounded_channel();
        let files = Measure::new(State::Partly, "as far as there is any");
        let hardening = Hardening { files, ..Hardening::default() };
        let (asks, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let looks_up = local.clone();
        tokio::spawn(async move {
            while let Some(ask) = asked.recv().await {
                match ask {
                    Ask::Run { .. } => panic!("nobody has asked for that"),
                    Ask::Local { reply } => drop(reply.send(Some(looks_up.clone()))),
                    Ask::List { reply } => drop(reply.send(vec![TunnelReport::default()])),
                    Ask::Reload { file, reply } => {
                        drop(reply.send(file.map(|_| Changes::default()).ok_or("line 3: bad".to_owned())));
                    }
                }
            }
        });
        let config = PathBuf::from("/etc/ramson.toml");
        let doors = Doors {
            ramson,
            asks,
            config: config.clone(),
            stop,
            hardening: hardening.clone(),
            names,
            feeds: None,
            guests,
        };
        tokio::spawn(serve(listen(&folder).unwrap(), doors));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(folder.control()).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        tokio::task::spawn_blocking(move || {
            let report: Report = ask(&folder, &Request::Status).unwrap();
            assert_eq!(
                (report.status.destinations[0].b32.as_str(), report.hardening),
                (local.b32().as_str(), hardening)
            );
            // Who knows no more than the library reads it, too.
            let status: Status = ask(&folder, &Request::Status).unwrap();
            assert_eq!(status.destinations[0].b32, local.b32());
            assert_eq!(ask::<PathBuf>(&folder, &Request::Config).unwrap(), config);
            assert_eq!(ask::<Vec<TunnelReport>>(&folder, &Request::Tunnels).unwrap().len(), 1);
            let reload = |file| ask::<Changes>(&folder, &Request::Reload { file });
            assert_eq!(reload(Some(config)).unwrap(), Changes::default());
            assert_eq!(reload(None).unwrap_err().text, "line 3: bad");
            let found: String = ask(&folder, &Request::Lookup { hash: local.hash().0 }).unwrap();
            assert_eq!(found, local.base64());
            let (name, destination) = ("a.i2p".to_owned(), local.base64());
            let request = NameRequest::Add { name, destination, private: false, replace: false };
            let added: NameAnswer = ask(&folder, &Request::Name { request }).unwrap();
            assert_eq!(added, NameAnswer::Added);
            assert!(std::fs::read_to_string(folder.hosts()).unwrap().contains("a.i2p="));
            let update = Request::Name { request: NameRequest::Update };
            assert!(ask::<NameAnswer>(&folder, &update).unwrap_err().text.contains("no subscriptions"));
            let guest = Guest { name: "site".into(), at: ([127, 0, 0, 1], 9).into(), ends: false };
            let welcome: Welcome = ask(&folder, &Request::Host { guest }).unwrap();
            assert!(welcome.is_reachable && folder.path().join("hosted/site.dat").exists());
            let error = ask::<usize>(&folder, &Request::Reseed { files: Vec::new(), urls: Vec::new() }).unwrap_err();
            assert!(error.text.contains("netDb"), "{}", error.text);
            for (graceful, stop) in [(true, Stop::Graceful), (false, Stop::Now)] {
                let draining: Draining = ask(&folder, &Request::Stop { graceful }).unwrap();
                assert_eq!((draining, stops.try_recv()), (Draining::default(), Ok(stop)));
            }
        })
        .await
        .unwrap();
    }

    proptest::proptest! {
        #[test]
        fn requests_are_written_and_read_back(
            files in proptest::collection::vec("[ -~é]{0,20}", 0..4),
            urls in proptest::collection::vec("[ -~é]{0,20}", 0..4), hash in proptest::array::uniform32(0u8..),
        ) {
            let files: Vec<PathBuf> = files.into_iter().map(PathBuf::from).collect();
            let file = files.first().cloned().unwrap_or_default();
            let requests =
                [Request::Status, Request::Reseed { files, urls }, Request::ExportReseed { file: file.clone() }, Request::Lookup { hash },
                    Request::Stop { graceful: hash[0] & 1 == 0 }, Request::Config, Request::Tunnels,
                    Request::Reload { file: (hash[0] & 2 == 0).then(|| file.clone()) }, Request::Name { request: NameRequest::Update }];
            for request in requests {
                let line = json(&request);
                proptest::prop_assert_eq!(serde_json::from_str::<Request>(&line).ok(), Some(request));
                proptest::prop_assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
            }
        }

        #[test]
        fn random_lines_never_panic(line in proptest::collection::vec(0u8.., 0..100), words in "\\{\"[a-z]{1,7}\":[ -~]{0,30}") {
            let _ = serde_json::from_slice::<Request>(&line);
            let _ = serde_json::from_str::<Request>(&words);
            let _ = serde_json::from_slice::<Answer<Report>>(&line);
        }
    }
}
