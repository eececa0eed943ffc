//! The driver of destinations at another router, which is reached by I2CP: one task, as the router's own has, and one
//! for each connection.

mod wire;

use super::clients::{Clients, Outcome};
use super::clock::Clock;
use super::jobs::Pool;
use super::start::rng;
use super::{BATCH, STOP_TIME, new_keys, setup};
use crate::client::Ramson;
use crate::error::{Error, ErrorKind};
use crate::i2cp::{I2cpRouter, Place};
use crate::seam::{self, Command, DriverEnd, Reply};
use crate::status::{DestinationStatus, Event, Progress, Stage, Status};
use ramson_core::dest::DestinationId;
use ramson_core::i2cp::{self, Client, Login, Output};
use ramson_core::job::JobDone;
use ramson_core::router;
use ramson_core::time::Instant;
use ramson_wire::codec::Encode;
use ramson_wire::data::{Mapping, base32};
use ramson_wire::i2cp::{GetDate, Message};
use std::collections::BTreeMap;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};
use tracing::Instrument as _;
use wire::{Heard, What, Wire};

/// Messages of routers that wait for the driver; more wait in the sockets.
const HEARD: usize = 64;
/// How long the router may take to tell the date, before a program is told that it is there.
const GREETING_TIME: Duration = Duration::from_secs(20);

struct Driver {
    client: Client,
    clock: Clock,
    pool: Pool,
    clients: Clients,
    end: DriverEnd,
    place: Place,
    wires: BTreeMap<DestinationId, Wire>,
    heard: mpsc::Receiver<Heard>,
    tell: mpsc::Sender<Heard>,
    connections: u64,
    due: Instant,
    started: Instant,
    stopping: Option<(Instant, Vec<Reply<()>>)>,
    commands_closed: bool,
    /// Something else than a payload has come or gone: a destination may be further than it was.
    look: bool,
}

/// Asks the router who it is, and starts the driver.
pub(crate) async fn start(router: I2cpRouter) -> Result<Ramson, Error> {
    router.check()?;
    greet(&router).await?;
    let mut rng = rng()?;
    let login = router.login.map(|(user, password)| Login { user, password });
    let clock = Clock::new();
    let pool = Pool::new(1, rng.child("jobs")).map_err(|why| setup("cannot start a thread", &why))?;
    let (ramson, end) = seam::open();
    let (tell, heard) = mpsc::channel(HEARD);
    let driver = Driver {
        client: Client::new(login, rng.child("i2cp")),
        started: clock.now().mono,
        clock,
        pool,
        clients: Clients::new(),
        end,
        place: router.at,
        wires: BTreeMap::new(),
        heard,
        tell,
        connections: 0,
        due: Instant::FAR,
        stopping: None,
        commands_closed: false,
        look: false,
    };
    tracing::info!("destinations are at another router, by I2CP");
    driver.end.progress.send_replace(Progress { stage: Stage::Ready, ..Progress::default() });
    tokio::spawn(driver.run().in_current_span());
    Ok(ramson)
}

/// Whether a router is there and lets us in: what is wrong now is told now, and not to each destination.
async fn greet(router: &I2cpRouter) -> Result<(), Error> {
    let failed = |why: &dyn std::fmt::Display| setup("no router by I2CP", why);
    let asked = async {
        let mut socket = wire::connect(&router.at).await.map_err(|why| failed(&why))?;
        let authentication = router.login.as_ref().and_then(|(user, word)| {
            Mapping::from_pairs([("i2cp.username", user.as_str()), ("i2cp.password", word.as_str())]).ok()
        });
        let date = GetDate { version: "0.9.66".into(), authentication };
        socket.write_all(&Message::GetDate(date).to_bytes()).await.map_err(|why| failed(&why))?;
        match wire::read(&mut socket).await.map_err(|why| failed(&why))? {
            Message::SetDate(_) => Ok(()),
            Message::Disconnect(why) => Err(failed(&why.chars().filter(|c| !c.is_control()).collect::<String>())),
            _ => Err(failed(&"it answers with what makes no sense there")),
        }
    };
    timeout(GREETING_TIME, asked).await.unwrap_or_else(|_| Err(failed(&"it does not answer")))
}

impl Driver {
    async fn run(mut self) {
        self.drain();
        while !self.is_over() {
            let until = self.stopping.as_ref().map_or(self.due, |(deadline, _)| self.due.min(*deadline));
            tokio::select! {
                () = tokio::time::sleep_until(self.clock.tokio(until)) => {
                    let now = self.clock.now();
                    self.client.handle_timeout(now);
                }
                Some(heard) = self.heard.recv() => {
                    self.handle_heard(heard);
                    self.drain();
                    for _ in 1..BATCH {
                        let Ok(heard) = self.heard.try_recv() else { break };
                        self.handle_heard(heard);
                        self.drain();
                    }
                }
                done = self.pool.next() => self.handle_job(done),
                command = self.end.commands.recv(), if !self.commands_closed => self.handle_commands(command),
            }
            self.drain();
            self.clients.wake_readers();
            if std::mem::take(&mut self.look) {
                self.report();
            }
        }
        self.finish();
    }

    fn handle_heard(&mut self, Heard { of, connection, what }: Heard) {
        // What an earlier connection still says is passed over.
        if self.wires.get(&of).is_none_or(|wire| wire.connection != connection) {
            return;
        }
        let now = self.clock.now();
        self.look |= !matches!(&what, What::Message(message) if matches!(**message, Message::MessagePayload(_)));
        match what {
            What::Opened => self.client.handle_opened(now, of),
            What::Message(message) => {
                if let Err(why) = self.client.handle_message(now, of, *message) {
                    tracing::warn!("{why}");
                }
            }
            What::Closed(why) => {
                tracing::debug!("I2CP: {why}");
                self.wires.remove(&of);
                self.client.handle_closed(now, of, &why);
            }
        }
    }

    fn handle_job(&mut self, done: JobDone) {
        let now = self.clock.now();
        self.client.handle_job(now, done);
        for _ in 1..BATCH {
            let Some(done) = self.pool.try_next() else { return };
            self.client.handle_job(now, done);
        }
    }

    fn handle_commands(&mut self, first: Option<Command>) {
        let Some(first) = first else {
            self.commands_closed = true;
            return self.stop(None);
        };
        self.handle_command(first);
        for _ in 1..BATCH {
            let Ok(command) = self.end.commands.try_recv() else { return };
            self.handle_command(command);
        }
    }

    fn handle_command(&mut self, command: Command) {
        if self.stopping.is_some() && !matches!(command, Command::Shutdown { .. }) {
            // A reply that is dropped says that the router is shutting down.
            return;
        }
        let outcome = match command {
            Command::CreateDestination { options, keys, reply } => match keys.map_or_else(new_keys, |keys| Ok(*keys)) {
                Ok(keys) => self.clients.create(&options, keys, reply),
                Err(why) => return drop(reply.send(Err(why))),
            },
            Command::Status { reply } => return drop(reply.send(Ok(Box::new(self.status())))),
            Command::Shutdown { reply } => return self.stop(Some(reply)),
            Command::Inside { reply } => return drop(reply.send(Err(unsupported()))),
            Command::Route { reply, .. } => return drop(reply.send(Err(unsupported()))),
            Command::InboundTunnels { reply, .. } => return drop(reply.send(Err(unsupported()))),
            Command::Reseed { reply, .. } | Command::ExportReseed { reply, .. } => {
                return drop(reply.send(Err(unsupported())));
            }
            Command::Drain { reply } => return drop(reply.send(Err(unsupported()))),
            Command::CreateKeyless { reply, .. } => return drop(reply.send(Err(unsupported()))),
            command => self.clients.handle(command),
        };
        if let Outcome::Core(command) = outcome {
            self.client.handle_command(self.clock.now(), command);
            self.drain();
        }
    }

    /// Carries out what the core says.
    fn drain(&mut self) {
        loop {
            let now = self.clock.now();
            match self.client.poll_output(now) {
                Output::Dial(id) => {
                    self.look = true;
                    self.connections += 1;
                    let wire = Wire::dial(&self.place, id, self.connections, self.tell.clone());
                    self.wires.insert(id, wire);
                }
                Output::Write(id, message) => {
                    self.look |= !i2cp::is_expendable(&message);
                    if let Some(wire) = self.wires.get(&id) {
                        wire.write(&message);
                    }
                }
                Output::HangUp(id) => {
                    self.look = true;
                    self.wires.remove(&id);
                }
                Output::Job(job) => {
                    if let Some(done) = self.pool.submit(job) {
                        self.client.handle_job(now, done);
                    }
                }
                Output::Event(event) => {
                    if let Some(command) = self.clients.handle_event(&self.end, event) {
                        self.client.handle_command(now, command);
                    }
                }
                Output::Timeout(at) => {
                    self.due = at;
                    return;
                }
            }
        }
    }

    /// Tells how far all is: the router as a whole is where its destinations are.
    fn report(&self) {
        if self.stopping.is_some() {
            return;
        }
        self.clients.update_progress(|id| self.client.view(id).map(|view| progress(&view)));
        let worst = self.clients.destinations().map(|(.., progress)| progress).find(|it| it.stage == Stage::Starting);
        let progress = worst.unwrap_or(Progress { stage: Stage::Ready, ..Progress::default() });
        let changed = self.end.progress.send_if_modified(|old| {
            let changed = *old != progress;
            old.clone_from(&progress);
            changed
        });
        if changed {
            match &progress.trouble {
                Some(trouble) => tracing::warn!("{trouble}"),
                None => tracing::info!("{progress}"),
            }
            let _ = self.end.events.send(Event::Progress(progress));
        }
    }

    fn status(&self) -> Status {
        let describe = |(id, name, destination, progress): (_, &str, &ramson_wire::data::Destination, _)| {
            let view = self.client.view(id);
            let (bytes_in, bytes_out) = view.as_ref().map_or((0, 0), |view| view.bytes);
            DestinationStatus {
                name: name.to_owned(),
                b32: base32::host_name(&destination.hash()),
                progress,
                streams: view.map_or(0, |view| view.streams),
                bytes_in,
                bytes_out,
                ..DestinationStatus::default()
            }
        };
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: self.clock.now().mono.since(self.started).as_secs(),
            progress: self.end.progress.borrow().clone(),
            destinations: self.clients.destinations().map(describe).collect(),
            ..Status::default()
        }
    }

    fn stop(&mut self, reply: Option<Reply<()>>) {
        if let Some((_, replies)) = &mut self.stopping {
            return replies.extend(reply);
        }
        let now = self.clock.now();
        self.stopping = Some((now.mono + STOP_TIME, reply.into_iter().collect()));
        self.end.progress.send_modify(|progress| progress.stage = Stage::ShuttingDown);
        self.clients.update_progress(|_| Some(Progress { stage: Stage::ShuttingDown, ..Progress::default() }));
        self.clients.fail_all();
        for id in self.client.ids() {
            self.client.handle_command(now, router::Command::CloseDestination(id));
        }
        self.drain();
    }

    fn is_over(&self) -> bool {
        let over = |(deadline, _): &(Instant, _)| self.client.is_empty() || self.clock.now().mono >= *deadline;
        self.stopping.as_ref().is_some_and(over)
    }

    fn finish(self) {
        let Self { clients, mut end, stopping, wires, .. } = self;
        drop((clients, wires));
        let _ = end.events.send(Event::Stopped);
        for reply in stopping.map(|(_, replies)| replies).unwrap_or_default() {
            let _ = reply.send(Ok(()));
        }
        end.commands.close();
    }
}

fn progress(view: &i2cp::View) -> Progress {
    let stage = match view.stage {
        i2cp::Stage::Connecting => Stage::Starting,
        i2cp::Stage::Tunnels => Stage::BuildingTunnels,
        i2cp::Stage::Ready => Stage::Ready,
    };
    Progress { stage, inbound: view.leases, trouble: view.trouble.clone(), ..Progress::default() }
}

fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "a router that is reached by I2CP does not tell or do this")
}
