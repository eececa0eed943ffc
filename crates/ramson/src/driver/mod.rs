//! The driver: joins the core's [`Router`] to sockets, disk, clock and programs.
//!
//! One task owns everything. It waits for the first of: a socket that is ready, a connection that came in, a finished
//! job, a command of a program, a finished reseed, and the one timer. Whatever it was becomes inputs of the core, and
//! after each of them the core's outputs are drained. `start` makes it, `clients` knows what programs hold, `jobs` is
//! the pool for public-key work, `disk` the thread that writes the netDb, `reseeding` where routers come from,
//! `progress` and `translate` put the core's view into the words of the API.
//!
//! A panic in the core is a bug. It is caught at the door, and the core removes the machine out of which it came: a
//! session, a stream, a tunnel. Where there is none, or after too many, the panic ends this task, with an error in the
//! log: every stream, every waiting call and every later one then fails with "shutting down", and
//! [`crate::Ramson::stopped`] returns. The process goes on.

mod clients;
mod clock;
mod datagrams;
mod disk;
pub(crate) mod i2cp;
mod jobs;
mod keyless;
#[cfg(ramson_lab)]
mod lab;
mod peers;
mod progress;
mod reseeding;
mod start;
mod translate;
mod udp;

pub(crate) use start::start;

use crate::error::{Error, ErrorKind};
use crate::mapping::Mapping;
use crate::net::connections::{Connections, Read, Ready, Turn, WRITE_AHEAD};
use crate::net::listen::Listeners;
use crate::net::udp::UdpSockets;
use crate::seam::{Command, DriverEnd, Reply};
use crate::status::{Event, Stage};
use clients::{Clients, Outcome};
use clock::Clock;
use disk::Disk;
use jobs::Pool;
use peers::Peers;
use progress::Reporter;
use ramson_core::job::{Job, JobDone};
use ramson_core::link::ConnId;
use ramson_core::router::{self, ENTROPY_INTERVAL, Input, Output, Removed, Router, Snapshot, UdpId};
use ramson_core::time::{Duration, Instant};
use ramson_wire::data::PrivateKeys;
use reseeding::{Finished, Reseeding};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tokio::net::TcpStream;

/// Bytes read from one socket in one turn.
const READ_BUDGET: usize = 256 << 10;
const READ_BUFFER: usize = 64 << 10;
/// Bytes that may be read from other sockets before what goes to peers because of them is sealed and written.
const HOLD: usize = 32 << 10;
/// Jobs, commands and ready sockets that one turn takes.
const BATCH: usize = 64;
/// Progress is looked at this often.
const TICK: Duration = Duration::from_secs(1);
/// And this often while somebody waits for tunnels, which take less than a second where the network is near.
const LOOK: Duration = Duration::from_millis(100);
/// How long streams and sessions may take to end when the router stops.
const STOP_TIME: Duration = Duration::from_secs(6);

/// The one task.
struct Driver {
    router: Router,
    clock: Clock,
    listeners: Listeners,
    conns: Connections,
    udp: UdpSockets,
    pool: Pool,
    disk: Disk,
    peers: Peers,
    clients: Clients,
    end: DriverEnd,
    reseeding: Reseeding,
    mapping: Mapping,
    reporter: Reporter,
    /// When the core wants to be woken.
    due: Instant,
    next_tick: Instant,
    next_look: Instant,
    next_entropy: Instant,
    /// What outputs of the core led to; it goes in when the core is drained.
    inputs: VecDeque<Follow>,
    buffer: Vec<u8>,
    udp_buffer: Vec<u8>,
    /// Bytes read since the core last sealed what waits for peers.
    held: usize,
    /// Sockets that could be read, while the limit to what comes in does not allow it, and until when.
    paused: Vec<ConnId>,
    reads_at: Instant,
    stopping: Option<Stopping>,
    #[cfg(ramson_lab)]
    folder: std::path::PathBuf,
}

/// An input that follows from an output.
enum Follow {
    Writable {
        conn: ConnId,
        bytes: usize,
    },
    Closed(ConnId),
    /// The socket takes no more datagrams.
    Blocked(UdpId),
    Done(Box<JobDone>),
    Command(router::Command),
}

struct Stopping {
    deadline: Instant,
    replies: Vec<Reply<()>>,
    /// No handle of the router is left.
    commands_closed: bool,
    /// The core has ended its streams and sessions, which takes it a while.
    core_stopped: bool,
}

impl Stopping {
    /// All sessions have ended, or the time for it has. Those over UDP are the core's, and no connections of ours.
    fn is_over(&self, now: Instant, connections: bool) -> bool {
        self.core_stopped && !connections || now >= self.deadline
    }
}

impl Driver {
    async fn run(mut self) {
        if let Some(floor) = self.reseeding.floor() {
            self.input(Input::TimeFloor(floor));
        }
        let profiles = std::mem::take(&mut self.peers.profiles);
        self.input(Input::Profiles(&profiles));
        self.input(Input::Timeout);
        let mut timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        let mut armed = Instant::ZERO;
        while !self.is_over() {
            let at = self.due.min(self.next_tick).min(self.next_look).min(self.reads_at);
            if armed != at {
                timer.as_mut().reset(self.clock.tokio(at));
                armed = at;
            }
            let stopping = self.stopping.is_some();
            let commands_closed = self.stopping.as_ref().is_some_and(|stopping| stopping.commands_closed);
            tokio::select! {
                () = &mut timer => {
                    armed = Instant::ZERO;
                    self.handle_time();
                }
                done = self.pool.next() => self.handle_jobs(done),
                ready = self.conns.next() => self.handle_ready(ready),
                ready = self.udp.next(self.reads_at == Instant::FAR) => self.handle_udp(ready),
                command = self.end.commands.recv(), if !commands_closed => self.handle_commands(command),
                (stream, addr) = self.listeners.accept(), if !stopping => self.handle_accepted(stream, addr),
                finished = self.reseeding.next() => self.handle_reseed(finished),
                mapped = self.mapping.next() => self.input(Input::Mapped(mapped)),
            }
            self.feed_routers();
        }
        self.finish().await;
    }

    // ---- the door of the core ----

    /// Feeds one input and what follows from it; the core is drained after each.
    fn input(&mut self, input: Input<'_>) {
        self.turn(input);
        self.follow();
    }

    fn follow(&mut self) {
        while let Some(follow) = self.inputs.pop_front() {
            self.turn(match follow {
                Follow::Writable { conn, bytes } => Input::TcpWritable { conn, bytes },
                Follow::Closed(conn) => Input::TcpClosed { conn },
                Follow::Blocked(socket) => Input::UdpBlocked { socket, blocked: true },
                Follow::Done(done) => Input::JobDone(*done),
                Follow::Command(command) => Input::Command(command),
            });
        }
    }

    fn turn(&mut self, input: Input<'_>) {
        if let Input::JobDone(done) = &input {
            self.reseeding.note_done(done);
            if let JobDone::SignInfo(Ok(info)) = done {
                self.disk.save_own(info.clone());
            }
        }
        self.held = match &input {
            Input::TcpData { bytes, more: true, .. } => self.held + bytes.len(),
            Input::Udp { bytes, more: true, .. } => self.held + bytes.len(),
            _ => 0,
        };
        let now = self.clock.now();
        self.enter(|router| router.handle_input(now, input));
        loop {
            let Some(output) = self.enter(Router::poll_output) else { continue };
            match output {
                Output::TcpOpen { conn, addr } => self.conns.open(conn, addr),
                Output::TcpWrite { conn, bytes } => {
                    let turn = self.conns.write(conn, bytes);
                    self.note_turn(conn, &turn);
                }
                Output::TcpClose { conn, how } => self.conns.close(conn, how),
                Output::Udp(datagrams) => self.send_udp(datagrams),
                Output::Job(job) => self.submit(job),
                Output::SaveRouterInfo(info) => self.disk.save(info),
                Output::DropRouterInfo(hash) => self.disk.remove(hash),
                Output::SaveProfiles(bytes) => Peers::save_profiles(&self.disk, bytes),
                Output::SaveGuards { destination, bytes } => self.peers.save_guards(&self.disk, &destination, bytes),
                Output::Event(event) => {
                    if let (Some(stopping), router::Event::Stopped) = (&mut self.stopping, &event) {
                        stopping.core_stopped = true;
                    }
                    self.handle_event(event);
                }
                Output::Timeout(at) => {
                    self.due = at;
                    self.clients.wake_readers();
                    return;
                }
            }
        }
    }

    /// Calls the core. `None` when that has panicked, and what panicked is gone.
    fn enter<R>(&mut self, act: impl FnOnce(&mut Router) -> R) -> Option<R> {
        let entered = enter(&mut self.router, &self.clock, act);
        if let Err(removed) = &entered {
            let warning = format!("a fault of Ramson has cost {}; please report it", translate::removed(*removed));
            tracing::error!("{warning}");
            let _ = self.end.events.send(Event::Warning(warning));
        }
        entered.ok()
    }

    fn submit(&mut self, job: Job) {
        self.reseeding.note_job(&job);
        if let Some(done) = self.pool.submit(job) {
            self.inputs.push_back(Follow::Done(Box::new(done)));
        }
    }

    fn note_turn(&mut self, conn: ConnId, turn: &Turn) {
        if turn.written > 0 {
            match self.inputs.back_mut() {
                Some(Follow::Writable { conn: last, bytes }) if *last == conn => *bytes += turn.written,
                _ => self.inputs.push_back(Follow::Writable { conn, bytes: turn.written }),
            }
        }
        if turn.closed {
            self.inputs.push_back(Follow::Closed(conn));
        }
    }

    fn handle_event(&mut self, event: router::Event) {
        match &event {
            router::Event::Reachable { published, why } => {
                if *published {
                    tracing::info!("the router can be reached from outside: {why}");
                } else {
                    tracing::info!("the router cannot be reached from outside: {why}");
                }
                let _ = self.end.events.send(Event::Reachability(translate::reachability(&self.router.snapshot())));
            }
            router::Event::ReachabilityTested { v4, state } => {
                let family = if *v4 { "IPv4" } else { "IPv6" };
                tracing::info!("over UDP and {family}, {}", translate::tested_words(*state));
                let _ = self.end.events.send(Event::Reachability(translate::reachability(&self.router.snapshot())));
            }
            router::Event::Floodfill { serves: true } => {
                tracing::info!("the router serves as a floodfill: it keeps a part of the network database for others");
            }
            router::Event::Floodfill { serves: false } => tracing::info!("the router no longer serves as a floodfill"),
            router::Event::ClockCorrected { offset_ms } => {
                tracing::info!(offset_ms, "the clock is corrected to the network's");
            }
            _ => {}
        }
        if let Some(command) = self.clients.handle_event(&self.end, event) {
            self.inputs.push_back(Follow::Command(command));
        }
    }

    // ---- sockets ----

    /// Handles what sockets are ready for. Those that can be read are read before anything is written, a little at least:
    /// what goes from several of them to one peer takes one write, and wakes that peer once.
    fn handle_ready(&mut self, first: Ready) {
        let mut ready = first;
        for _ in 0..BATCH {
            let next = self.conns.try_next();
            self.handle_socket(ready, next.is_some());
            match next {
                Some(next) => ready = next,
                None => return self.seal_held(),
            }
        }
        self.handle_socket(ready, false);
        self.seal_held();
    }

    /// Has the core seal what it has held back.
    fn seal_held(&mut self) {
        if self.held > 0 {
            self.input(Input::Timeout);
        }
    }

    fn handle_socket(&mut self, ready: Ready, more: bool) {
        match ready {
            Ready::Connected(conn, Ok(stream)) => {
                self.conns.insert(conn, stream);
                self.input(Input::TcpOpened { conn, room: WRITE_AHEAD });
            }
            Ready::Connected(conn, Err(why)) => {
                tracing::debug!(conn = conn.0, %why, "no connection");
                self.conns.forget(conn);
                self.input(Input::TcpClosed { conn });
            }
            Ready::Readable(conn) => self.handle_readable(conn, more),
            Ready::Writable(conn) => {
                let turn = self.conns.writable(conn);
                self.note_turn(conn, &turn);
                self.follow();
            }
            Ready::FlushOver(conn) => self.conns.forget(conn),
        }
    }

    /// Whether the limit to what comes in has been reached: sockets are left alone then, and their senders wait.
    fn is_reading_paused(&mut self) -> bool {
        let reads_at = self.router.reads_at();
        self.reads_at = reads_at.unwrap_or(Instant::FAR);
        reads_at.is_some()
    }

    /// Goes on reading, when the time for that has come.
    fn read_on(&mut self) {
        if self.reads_at != Instant::FAR && !self.is_reading_paused() {
            for conn in std::mem::take(&mut self.paused) {
                self.conns.await_readable(conn);
            }
        }
    }

    fn handle_readable(&mut self, conn: ConnId, more: bool) {
        if self.reads_at != Instant::FAR && self.is_reading_paused() {
            return self.paused.push(conn);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut budget = READ_BUDGET;
        while budget > 0 {
            match self.conns.read(conn, &mut buffer) {
                Read::Data(n) => {
                    budget = budget.saturating_sub(n);
                    let more = more && self.held + n < HOLD;
                    self.input(Input::TcpData { conn, bytes: buffer.get(..n).unwrap_or_default(), more });
                    if self.is_reading_paused() || n < buffer.len() {
                        break;
                    }
                }
                Read::Blocked => break,
                Read::Closed => {
                    self.input(Input::TcpClosed { conn });
                    break;
                }
            }
        }
        self.buffer = buffer;
        self.conns.await_readable(conn);
    }

    fn handle_accepted(&mut self, stream: TcpStream, addr: SocketAddr) {
        let conn = self.conns.insert_accepted(stream);
        self.input(Input::TcpAccepted { conn, addr, room: WRITE_AHEAD });
    }

    // ---- jobs, time and routers ----

    fn handle_jobs(&mut self, first: JobDone) {
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(done) = next else { return };
            self.input(Input::JobDone(done));
            next = self.pool.try_next();
        }
        if let Some(done) = next {
            self.input(Input::JobDone(done));
        }
    }

    fn handle_time(&mut self) {
        let now = self.clock.now().mono;
        if now >= self.next_entropy {
            self.next_entropy = now + ENTROPY_INTERVAL;
            let mut entropy = [0; 32];
            // Where the system has none to give, the tree goes on from what it has.
            if getrandom::fill(&mut entropy).is_ok() {
                self.input(Input::Entropy(entropy));
            }
        }
        self.input(Input::Timeout);
        self.read_on();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(now);
        } else if now >= self.next_look {
            let snapshot = self.router.snapshot();
            self.report(now, &snapshot);
        }
    }

    /// Looks at how far everything is.
    fn tick(&mut self, now: Instant) {
        #[cfg(ramson_lab)]
        lab::look(&self.folder, &mut self.router);
        let snapshot = self.router.snapshot();
        self.reseeding.tick(now, snapshot.routers, &self.end);
        self.report(now, &snapshot);
        if let Some(warning) = self.disk.warning() {
            tracing::warn!("{warning}");
            let _ = self.end.events.send(Event::Warning(warning));
        }
    }

    fn report(&mut self, now: Instant, snapshot: &Snapshot) {
        let stopping = self.stopping.is_some();
        let progress = self.reporter.router(now, snapshot, &self.reseeding, stopping);
        self.reporter.note_bytes(now, snapshot);
        self.clients.update_progress(|id| {
            snapshot.locals.iter().find(|local| local.id == id).map(|local| progress::destination(&progress, local))
        });
        self.reporter.announce(&self.end, &progress, snapshot);
        let all_there = progress.is_ready() && self.clients.are_ready();
        self.next_look = if stopping || all_there { Instant::FAR } else { now + LOOK };
    }

    /// Gives the core as many RouterInfos as it has room to verify.
    fn feed_routers(&mut self) {
        while let Some(router) = self.reseeding.next_router() {
            self.input(router);
        }
    }

    fn handle_reseed(&mut self, finished: Finished) {
        let (now, routers) = (self.clock.now().mono, self.router.snapshot().routers);
        if let Some(floor) = self.reseeding.handle_finished(now, finished, routers, &self.end) {
            self.input(Input::TimeFloor(floor));
        }
    }

    // ---- commands of programs ----

    fn handle_commands(&mut self, first: Option<Command>) {
        let Some(first) = first else {
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
            Command::CreateDestination { options, keys, reply } => {
                self.next_look = self.clock.now().mono + LOOK;
                // New keys are forgotten with the destination, and so is all else of it.
                let kept =
                    keys.as_ref().filter(|_| !options.transient).map(|keys| self.peers.keep(keys.destination().hash()));
                if let Some(command) = kept {
                    self.input(Input::Command(command));
                }
                let keys = keys.map_or_else(new_keys, |keys| Ok(*keys));
                match keys {
                    Ok(keys) => self.clients.create(&options, keys, reply),
                    Err(why) => {
                        let _ = reply.send(Err(why));
                        Outcome::Nothing
                    }
                }
            }
            Command::Status { reply } => {
                let now = self.clock.now().mono;
                let snapshot = self.router.snapshot();
                self.report(now, &snapshot);
                let status = translate::status(&snapshot, &self.reporter, &self.clients, now);
                let _ = reply.send(Ok(Box::new(status)));
                Outcome::Nothing
            }
            Command::Inside { reply } => {
                let _ = reply.send(Ok(Box::new(translate::inside(&self.router, &self.clients))));
                Outcome::Nothing
            }
            Command::Route { destination, to, reply } => {
                let _ = reply.send(Ok(translate::route(&self.router, destination, &to)));
                Outcome::Nothing
            }
            Command::InboundTunnels { destination, reply } => {
                let _ = reply.send(Ok(translate::inbound_tunnels(&self.router, destination)));
                Outcome::Nothing
            }
            Command::Reseed { sources, reply } => {
                self.reseeding.start(sources, Some(reply));
                Outcome::Nothing
            }
            Command::ExportReseed { file, reply } => {
                reseeding::export(self.disk.store(), file, reply);
                Outcome::Nothing
            }
            Command::Drain { reply } => {
                self.input(Input::Command(router::Command::Drain));
                let draining = translate::draining(&self.router.snapshot(), self.clock.now().mono);
                let _ = reply.send(Ok(draining));
                Outcome::Nothing
            }
            Command::Shutdown { reply } => {
                self.stop(Some(reply));
                Outcome::Nothing
            }
            command => self.clients.handle(command),
        };
        if let Outcome::Core(command) = outcome {
            self.input(Input::Command(command));
        }
    }

    // ---- the end ----

    /// Begins to stop; without a reply because no handle of the router is left.
    fn stop(&mut self, reply: Option<Reply<()>>) {
        let commands_closed = reply.is_none();
        if let Some(stopping) = &mut self.stopping {
            stopping.replies.extend(reply);
            stopping.commands_closed |= commands_closed;
            return;
        }
        tracing::debug!("shutting down");
        let deadline = self.clock.now().mono + STOP_TIME;
        let replies = reply.into_iter().collect();
        self.stopping = Some(Stopping { deadline, replies, commands_closed, core_stopped: false });
        self.end.progress.send_modify(|progress| progress.stage = Stage::ShuttingDown);
        self.clients.fail_all();
        self.input(Input::Command(router::Command::Shutdown));
    }

    fn is_over(&self) -> bool {
        let over = |stopping: &Stopping| stopping.is_over(self.clock.now().mono, !self.conns.is_empty());
        self.stopping.as_ref().is_some_and(over)
    }

    async fn finish(self) {
        let Self { disk, clients, mut end, stopping, reseeding, mapping, .. } = self;
        drop(reseeding);
        mapping.finish().await;
        disk.finish().await;
        drop(clients);
        tracing::info!("stopped");
        let _ = end.events.send(Event::Stopped);
        for reply in stopping.map(|stopping| stopping.replies).unwrap_or_default() {
            let _ = reply.send(Ok(()));
        }
        end.commands.close();
    }
}

/// Calls the core. A panic out of one of its machines costs that machine, which is told; any other one goes on.
fn enter<R>(router: &mut Router, clock: &Clock, act: impl FnOnce(&mut Router) -> R) -> Result<R, Removed> {
    catch_unwind(AssertUnwindSafe(|| act(router))).or_else(|panic| match router.recover(clock.now()) {
        Ok(removed) => Err(removed),
        Err(_) => resume_unwind(panic),
    })
}

fn new_keys() -> Result<PrivateKeys, Error> {
    Ok(PrivateKeys::random(&mut start::rng()?))
}

/// An error that the operator must act upon.
fn setup(what: &str, why: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Setup, format!("{what}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use ramson_core::keys::RouterKeys;
    use ramson_core::rng::Rng;

    /// A router whose sessions are all over UDP has no connection: that is no sign that it has said farewell.
    #[test]
    fn a_stop_waits_for_the_core_and_for_connections_up_to_its_time() {
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let mut stopping = Stopping { deadline: at(5), replies: vec![], commands_closed: false, core_stopped: false };
        assert!(!stopping.is_over(at(4), false) && !stopping.is_over(at(4), true));
        assert!(stopping.is_over(at(5), false) && stopping.is_over(at(5), true));
        stopping.core_stopped = true;
        assert!(stopping.is_over(at(0), false) && !stopping.is_over(at(4), true) && stopping.is_over(at(5), true));
    }

    #[test]
    fn a_panic_that_no_machine_answers_for_goes_on() {
        let clock = Clock::new();
        let keys = RouterKeys::generate(&mut Rng::from_seed([1; 32]));
        let config = translate::config(&Config::private("/nowhere", 99), translate::Publishing::default(), true, false);
        let mut router = Router::new(config, keys, [2; 32], clock.now());
        assert_eq!(enter(&mut router, &clock, |router| router.snapshot().faults), Ok(0));
        let outside = AssertUnwindSafe(|| enter(&mut router, &clock, |_| panic!("as a bug would")));
        assert!(catch_unwind(outside).is_err());
    }
}
