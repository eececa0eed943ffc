//! All streams of one local destination: who a packet belongs to, what strangers may do, jobs and budgets.

#[cfg(any(test, fuzzing, feature = "checks"))]
mod check;
mod known;
mod reach;
mod strangers;

use super::connection::{Connection, Context, Start};
use super::jobs::{Done, Jobs, Outcome, Ports, Purpose, Signer};
use super::path::{Path, Paths};
use super::receive::Spare;
use super::{Config, ConnectOptions, Error, Event, Local, StreamId};
use crate::bucket::Bucket;
use crate::limits::stream as limits;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use ramson_wire::data::Hash;
use ramson_wire::streaming::Packet;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use strangers::Orphan;

/// How long a closed incoming stream is remembered.
const PAST_LIFE: Duration = Duration::from_secs(600);

/// The streams of one local destination.
#[derive(Debug)]
pub struct Streams {
    config: Config,
    local: Local,
    rng: Rng,
    events: VecDeque<Event>,
    jobs: Jobs,
    last: u64,
    pub(super) connections: BTreeMap<StreamId, Connection>,
    pub(super) by_local: BTreeMap<u32, StreamId>,
    /// Incoming streams by the peer's stream id.
    by_remote: BTreeMap<(u32, Hash), StreamId>,
    timers: Timers<StreamId>,
    listening: BTreeSet<Option<u16>>,
    orphans: VecDeque<Orphan>,
    orphan_bytes: usize,
    past: BTreeMap<(u32, Hash), Instant>,
    past_order: VecDeque<(u32, Hash)>,
    /// The ways to peers: of those with streams, and a few others.
    paths: Paths,
    pings: VecDeque<(u32, Hash)>,
    syns: Bucket,
    peer_syns: BTreeMap<Hash, Bucket>,
    echoes: Bucket,
    resets: Bucket,
    held: usize,
    early: usize,
    /// Bytes that programs wrote and peers do not have yet.
    sending: usize,
    /// The stream that is being worked on.
    working: Option<StreamId>,
    /// A test's: work on this stream panics.
    #[cfg(test)]
    pub(crate) trip: Option<StreamId>,
}

impl Streams {
    pub fn new(now: Now, local: Local, config: Config, rng: Rng) -> Self {
        let at = now.mono;
        Self {
            config: Config { max_streams: config.max_streams.min(limits::MAX_STREAMS), ..config },
            local,
            rng,
            events: VecDeque::new(),
            jobs: Jobs::default(),
            last: 0,
            connections: BTreeMap::new(),
            by_local: BTreeMap::new(),
            by_remote: BTreeMap::new(),
            timers: Timers::default(),
            listening: BTreeSet::new(),
            orphans: VecDeque::new(),
            orphan_bytes: 0,
            past: BTreeMap::new(),
            past_order: VecDeque::new(),
            paths: Paths::default(),
            pings: VecDeque::new(),
            syns: Bucket::new(limits::SYNS, at),
            peer_syns: BTreeMap::new(),
            echoes: Bucket::new(limits::ECHOES, at),
            resets: Bucket::new(limits::RESETS, at),
            held: 0,
            early: 0,
            sending: 0,
            working: None,
            #[cfg(test)]
            trip: None,
        }
    }

    // The program's side.

    /// Opens a stream to `to`; `ports` are the local and the peer's. [`Event::Opened`] or [`Event::Failed`] follows;
    /// data may be sent at once. Fails with [`Error::Limit`] when there are too many streams.
    pub fn connect(
        &mut self,
        now: Now,
        to: Hash,
        ports: (u16, u16),
        options: ConnectOptions,
    ) -> Result<StreamId, Error> {
        self.make_room()?;
        self.paths.enter(now.mono, to, options.path_rtt, &self.config);
        let signer = options.peer.filter(|peer| peer.hash() == to);
        let start = Start {
            signer: signer.map(|peer| Signer { key: peer.signing_key().clone(), destination: peer }),
            wait_for_data: options.wait_for_data,
            ..self.start(to, ports)
        };
        let connection = Connection::outbound(now.mono, start, &self.config);
        Ok(self.insert(now, connection))
    }

    /// Accepts streams to `port`, or with `None` to every port. Each gives an [`Event::Accepted`].
    pub fn listen(&mut self, port: Option<u16>) {
        self.listening.insert(port);
    }

    /// Refuses further streams to what [`Self::listen`] was called with.
    pub fn unlisten(&mut self, port: Option<u16>) {
        self.listening.remove(&port);
    }

    /// Takes data to send and returns how many bytes there was room for: 0 for a stream that is closed or unknown.
    /// When it is less than all, [`Event::Writable`] follows.
    pub fn send(&mut self, now: Now, stream: StreamId, data: Vec<u8>) -> usize {
        let len = data.len();
        len - self.offer(now, stream, data).len()
    }

    /// As [`Self::send`], but gives back what there was no room for: all of it where the stream is closed or unknown.
    pub fn offer(&mut self, now: Now, stream: StreamId, data: Vec<u8>) -> Vec<u8> {
        if !self.connections.contains_key(&stream) {
            return data;
        }
        self.drive(now, stream, |connection, ctx| connection.send(data, ctx)).unwrap_or_default()
    }

    /// The program consumed `n` bytes of [`Event::Data`].
    pub fn credit(&mut self, now: Now, stream: StreamId, n: usize) {
        self.drive(now, stream, |connection, ctx| connection.credit(n, ctx));
    }

    /// Ends our direction after all data that `send` took. Reading goes on.
    pub fn close(&mut self, now: Now, stream: StreamId) {
        self.drive(now, stream, |connection, _| connection.close());
    }

    /// The program reads no more: what comes is acknowledged and thrown away, and needs no credit.
    pub fn discard(&mut self, now: Now, stream: StreamId) {
        self.drive(now, stream, Connection::discard);
    }

    /// Ends the stream at once, with a RESET; data under way may be lost. No event follows.
    pub fn reset(&mut self, now: Now, stream: StreamId) {
        self.drive(now, stream, Connection::reset);
    }

    /// The destination goes, and every stream ends with a RESET, so that no peer takes for whole what a program had not
    /// ended. Those whose program has ended its direction may still deliver what is under way, unless some of it is
    /// `unsent` by the owner, or the program has not read all that came: [`Streams::abort_all`] ends what is left of them.
    /// New ones are refused. Returns whether a peer has to be told.
    pub fn end_all(&mut self, now: Now, unsent: impl Fn(StreamId) -> bool) -> bool {
        self.listening.clear();
        self.reset_all(now, |connection| connection.is_ending() && !unsent(connection.id()))
    }

    /// Ends all that [`Streams::end_all`] has left, with a RESET. Returns whether a peer has to be told.
    pub fn abort_all(&mut self, now: Now) -> bool {
        self.reset_all(now, |_| false)
    }

    /// Whether packets are being signed that peers are to have.
    pub fn is_signing(&self) -> bool {
        !self.jobs.is_empty()
    }

    fn reset_all(&mut self, now: Now, spared: impl Fn(&Connection) -> bool) -> bool {
        let open = self.connections.values().filter(|connection| !connection.is_lingering());
        let open: Vec<_> = open.map(|it| (it.id(), it.is_opening(), spared(it))).collect();
        let mut told = false;
        for (stream, opening, spared) in open {
            told |= !opening;
            if !spared {
                self.reset(now, stream);
            }
        }
        told
    }

    // The network's side.

    /// A packet for this destination. `from` is the destination that the session names, if it does; `from_port` is the
    /// peer's. An error says why the packet was dropped; nothing else has to be done about it.
    pub fn handle_packet(
        &mut self,
        now: Now,
        from: Option<Hash>,
        from_port: u16,
        to_port: u16,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        if bytes.len() > limits::MAX_PACKET {
            return Err(Error::TooLarge);
        }
        let ports = (to_port, from_port);
        let packet = Packet::parse(&bytes)?;
        if packet.is_echo() {
            return self.handle_echo(now, from, ports, &bytes);
        }
        if packet.send_id != 0 {
            let stream = self.by_local.get(&packet.send_id).copied().ok_or(Error::UnknownStream)?;
            return self.handle_known(now, stream, from, bytes);
        }
        if packet.is_syn() {
            return self.handle_syn(now, from, ports, bytes);
        }
        match self.find_remote(packet.recv_id, from) {
            Some(stream) => self.handle_known(now, stream, from, bytes),
            None => self.keep_orphan(now.mono, packet.recv_id, from, bytes),
        }
    }

    /// The result of a [`super::Job`].
    pub fn handle_job(&mut self, now: Now, done: Done) {
        let Some(purpose) = self.jobs.take(done.id) else { return };
        match (purpose, done.outcome) {
            (Purpose::Sign { stream, sequence }, Outcome::Signed(packet)) => {
                self.drive(now, stream, |connection, _| connection.signed(sequence, packet));
            }
            (Purpose::SignLoose { to, ports }, Outcome::Signed(packet)) => self.send_loose(to, ports, packet),
            (purpose, Outcome::Verified { packet, verified }) => self.handle_verified(now, purpose, &packet, verified),
            _ => {}
        }
    }

    /// A job has panicked: the stream that waits for it fails.
    pub fn handle_job_failed(&mut self, now: Now, job: u64) {
        if let Some(
            Purpose::Sign { stream, .. }
            | Purpose::SynAck { stream }
            | Purpose::Close { stream }
            | Purpose::Reset { stream },
        ) = self.jobs.take(job)
        {
            self.drive(now, stream, |connection, ctx| connection.fail(Error::Fault, ctx));
        }
    }

    /// Removes the stream on which work was done when a panic came, without a word to anybody; returns it.
    pub fn end_broken(&mut self, now: Now) -> Option<StreamId> {
        let stream = self.working.take()?;
        // The books were not closed.
        let held = || self.connections.values().map(Connection::held_bytes);
        (self.held, self.early) = (held().map(|held| held.0).sum(), held().map(|held| held.1).sum());
        self.sending = self.connections.values().map(Connection::unsent_bytes).sum();
        self.remove(now.mono, stream);
        Some(stream)
    }

    /// The path to `to` is another one: tunnels or lease have changed.
    pub fn path_changed(&mut self, now: Now, to: Hash) {
        if let Some(path) = self.paths.get_mut(&to) {
            path.changed(now.mono, &self.config);
        }
        let streams: Vec<StreamId> = self.connections.values().filter(|c| c.peer == to).map(Connection::id).collect();
        for stream in streams {
            self.drive(now, stream, Connection::path_changed);
        }
    }

    /// What is to be done; to be called after every other call until it is `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The earliest deadline.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        // Each stream once: its next deadline may be due again, and waits for the next call.
        let mut due = Vec::new();
        while let Some(stream) = self.timers.pop_due(now.mono) {
            due.push(stream);
        }
        for stream in due {
            self.drive(now, stream, Connection::handle_timeout);
        }
    }

    /// Streams that are open or opening.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Bytes that are held for programs and behind holes, and the latter alone.
    pub const fn held_bytes(&self) -> (usize, usize) {
        (self.held, self.early)
    }

    /// Bytes that programs wrote and peers do not have yet.
    #[cfg(test)]
    pub(super) const fn sending_bytes(&self) -> usize {
        self.sending
    }

    /// Packets of unknown streams, and their bytes.
    #[cfg(test)]
    pub(super) fn orphans(&self) -> (usize, usize) {
        (self.orphans.len(), self.orphan_bytes)
    }

    /// Ended streams and paths that are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize) {
        assert_eq!(self.past.len(), self.past_order.len());
        (self.past.len(), self.paths.len())
    }

    /// Peers whose SYNs are counted.
    #[cfg(test)]
    pub(super) fn counted_peers(&self) -> usize {
        self.peer_syns.len()
    }

    fn send_loose(&mut self, to: Hash, ports: Ports, packet: Vec<u8>) {
        let (from_port, to_port) = ports;
        self.events.push_back(Event::Send { to, from_port, to_port, packet, stream: None, first: false });
    }

    // The house.

    fn start(&mut self, peer: Hash, ports: Ports) -> Start {
        self.last += 1;
        let local_id = loop {
            let id = self.rng.nonzero_u32();
            if !self.by_local.contains_key(&id) {
                break id;
            }
        };
        let path = self.paths.get(&peer);
        let max_window = path.map_or(self.config.max_window, |path| path.max_window(&self.config));
        Start {
            id: StreamId(self.last),
            peer,
            ports,
            local_id,
            signer: None,
            wait_for_data: Duration::ZERO,
            max_window,
        }
    }

    fn insert(&mut self, now: Now, connection: Connection) -> StreamId {
        let stream = connection.id();
        self.by_local.insert(connection.local_id, stream);
        let opens = connection.is_opening();
        self.connections.insert(stream, connection);
        if opens {
            self.drive(now, stream, |_, _| ());
        }
        stream
    }

    /// Makes sure that one more stream fits, by ending the oldest that only lingers.
    fn make_room(&mut self) -> Result<(), Error> {
        if self.connections.len() < self.config.max_streams {
            return Ok(());
        }
        let lingers = self.connections.values().find(|connection| connection.is_lingering()).map(Connection::id);
        let stream = lingers.ok_or(Error::Limit)?;
        self.remove(Instant::ZERO, stream);
        Ok(())
    }

    /// Lets a stream act, and then others to the same peer for which that made room.
    fn drive<R>(
        &mut self,
        now: Now,
        stream: StreamId,
        act: impl FnOnce(&mut Connection, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let peer = self.connections.get(&stream)?.peer;
        let result = self.drive_one(now, stream, act);
        // Each at most once: who has had his turn and wants more waits for the next event.
        for _ in 0..self.paths.get(&peer).map_or(0, Path::waiting) {
            let Some(next) = self.paths.get_mut(&peer).and_then(|path| path.next_turn(now.mono)) else { break };
            if next != stream {
                self.drive_one(now, next, |_, _| ());
            }
        }
        result
    }

    /// Lets a stream act, sends what follows from it, and keeps budgets and timers.
    fn drive_one<R>(
        &mut self,
        now: Now,
        stream: StreamId,
        act: impl FnOnce(&mut Connection, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let connection = self.connections.get_mut(&stream)?;
        let path = self.paths.get_mut(&connection.peer)?;
        self.working = Some(stream);
        #[cfg(test)]
        assert!(self.trip != Some(stream), "tripped by a test");
        let (before, sending) = (connection.held_bytes(), connection.unsent_bytes());
        let spare = Spare {
            all: limits::RECEIVE_TOTAL.saturating_sub(self.held),
            early: limits::EARLY_TOTAL.saturating_sub(self.early),
            send: limits::SEND_TOTAL.saturating_sub(self.sending),
        };
        let (config, local) = (&self.config, &self.local);
        let mut ctx = Context { now, config, local, events: &mut self.events, jobs: &mut self.jobs, spare, path };
        let result = act(connection, &mut ctx);
        connection.pump(&mut ctx);
        let after = connection.held_bytes();
        self.held = self.held + after.0 - before.0;
        self.early = self.early + after.1 - before.1;
        self.sending = self.sending + connection.unsent_bytes() - sending;
        match connection.next_timeout(&self.config, ctx.path) {
            Instant::FAR => self.timers.cancel(&stream),
            at => self.timers.set(stream, at),
        }
        if connection.is_dead() {
            self.remove(now.mono, stream);
        }
        self.working = None;
        Some(result)
    }

    fn remove(&mut self, now: Instant, stream: StreamId) {
        let Some(mut connection) = self.connections.remove(&stream) else { return };
        self.timers.cancel(&stream);
        self.by_local.remove(&connection.local_id);
        let held = connection.held_bytes();
        self.held -= held.0;
        self.early -= held.1;
        self.sending -= connection.unsent_bytes();
        if let Some(path) = self.paths.get_mut(&connection.peer) {
            connection.leave(path);
        }
        self.paths.leave(&connection.peer);
        if !connection.outbound {
            let key = (connection.remote_id, connection.peer);
            self.by_remote.remove(&key);
            self.forget_past(now);
            if self.past.insert(key, now).is_none() {
                self.past_order.push_back(key);
            }
            if self.past_order.len() > limits::MAX_PAST
                && let Some(oldest) = self.past_order.pop_front()
            {
                self.past.remove(&oldest);
            }
        }
    }

    /// Whether an incoming stream of this name has ended of late. Looking changes nothing: who asks is often refused.
    fn is_past(&self, now: Instant, key: &(u32, Hash)) -> bool {
        self.past.get(key).is_some_and(|at| *at + PAST_LIFE > now)
    }

    fn forget_past(&mut self, now: Instant) {
        while let Some(oldest) = self.past_order.front()
            && self.past.get(oldest).is_none_or(|at| *at + PAST_LIFE <= now)
        {
            self.past.remove(oldest);
            self.past_order.pop_front();
        }
    }
}
