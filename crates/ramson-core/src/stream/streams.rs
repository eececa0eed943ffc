//! All streams of one local destination: who a packet belongs to, what strangers may do, jobs and budgets.

#[cfg(any(test, fuzzing, feature = "checks"))]
mod check;
mod reach;

use super::connection::{Connection, Context, Start};
use super::jobs::{By, Done, Jobs, Outcome, Ports, Purpose, Signer};
use super::path::{Path, Paths};
use super::receive::Spare;
use super::{Config, ConnectOptions, Error, Event, Local, StreamId};
use crate::bucket::Bucket;
use crate::limits::stream as limits;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use ramson_wire::data::Hash;
use ramson_wire::streaming::sign::Unsigned;
use ramson_wire::streaming::{Flags, MAX_ECHO, Outgoing, Packet};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long a closed incoming stream is remembered.
const PAST_LIFE: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Orphan {
    remote_id: u32,
    from: Option<Hash>,
    packet: Vec<u8>,
    at: Instant,
}

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

    // Incoming streams.

    fn handle_syn(&mut self, now: Now, from: Option<Hash>, ports: Ports, bytes: Vec<u8>) -> Result<(), Error> {
        let packet = Packet::parse(&bytes)?;
        let claimed = packet.from.ok_or(Error::Unsigned)?;
        let peer = claimed.hash();
        if from.is_some_and(|from| from != peer) {
            return Err(Error::Forged);
        }
        if packet.meant_for().is_some_and(|hash| hash != self.local.destination.hash()) {
            return Err(Error::Forged); // a replay of a SYN that was meant for somebody else
        }
        if let Some(stream) = self.by_remote.get(&(packet.recv_id, peer)).copied() {
            return self.handle_known(now, stream, from, bytes);
        }
        self.forget_past(now.mono);
        if self.past.contains_key(&(packet.recv_id, peer)) {
            return Err(Error::UnknownStream);
        }
        let destination = claimed.destination()?;
        if !packet.is_signed() {
            if !self.config.unsigned_syn || from.is_none() {
                return Err(Error::Unsigned);
            }
            self.count_syn(now.mono, peer)?;
            let signer = Signer { key: destination.signing_key().clone(), destination };
            self.accept(now, ports, &packet, signer);
            return Ok(());
        }
        self.count_syn(now.mono, peer)?;
        let job = self.jobs.verify(now, bytes, By::Itself(destination), Purpose::Syn { ports });
        self.events.push_back(Event::Job(job));
        Ok(())
    }

    /// Whether one more SYN of `peer` may cost us work.
    fn count_syn(&mut self, now: Instant, peer: Hash) -> Result<(), Error> {
        if self.jobs.strangers() >= limits::MAX_VERIFYING || self.connections.len() >= self.config.max_streams {
            return Err(Error::Limit);
        }
        if self.peer_syns.len() >= limits::MAX_COUNTED_PEERS && !self.peer_syns.contains_key(&peer) {
            let oldest = self.peer_syns.iter().min_by_key(|(_, bucket)| bucket.used()).map(|(peer, _)| *peer);
            oldest.map(|oldest| self.peer_syns.remove(&oldest));
        }
        let fresh = || Bucket::new(limits::SYNS_PER_PEER, now);
        let allowed = self.peer_syns.entry(peer).or_insert_with(fresh).take(now) && self.syns.take(now);
        if allowed { Ok(()) } else { Err(Error::Limit) }
    }

    /// A SYN that was verified.
    fn accept(&mut self, now: Now, ports: Ports, packet: &Packet<'_>, signer: Signer) {
        let (peer, remote_id) = (signer.destination.hash(), packet.recv_id);
        if let Some(stream) = self.by_remote.get(&(remote_id, peer)).copied() {
            self.drive(now, stream, |connection, ctx| connection.handle(packet, ctx));
            return;
        }
        if self.past.contains_key(&(remote_id, peer)) {
            return;
        }
        let listens = self.listening.contains(&None) || self.listening.contains(&Some(ports.0));
        if !listens || self.make_room().is_err() {
            self.refuse(now.mono, peer, ports, remote_id);
            return;
        }
        self.paths.enter(now.mono, peer, None, &self.config);
        let from = signer.destination.clone();
        let start = Start { signer: Some(signer), ..self.start(peer, ports) };
        let connection = Connection::inbound(now.mono, start, remote_id, &self.config);
        let stream = connection.id();
        self.events.push_back(Event::Accepted { stream, from, port: ports.0, peer_port: ports.1 });
        self.by_remote.insert((remote_id, peer), stream);
        self.insert(now, connection);
        self.drive(now, stream, |connection, ctx| connection.handle(packet, ctx));
        self.adopt_orphans(now, stream, remote_id, peer);
    }

    fn refuse(&mut self, now: Instant, to: Hash, ports: Ports, remote_id: u32) {
        if !self.resets.take(now) {
            return;
        }
        let out = Outgoing { send_id: remote_id, flags: Flags::RESET, ..Outgoing::default() };
        // With our destination inside, since a peer that is only connecting may not have it at hand.
        let out = Outgoing { from: Some(&self.local.destination), offline: self.local.offline.as_deref(), ..out };
        let job = self.jobs.sign(&self.local.key, Unsigned::new(&out, &[]), Purpose::SignLoose { to, ports });
        self.events.push_back(Event::Job(job));
    }

    /// Keeps a packet that may have overtaken its SYN.
    fn keep_orphan(&mut self, now: Instant, remote_id: u32, from: Option<Hash>, packet: Vec<u8>) -> Result<(), Error> {
        if remote_id == 0 || self.listening.is_empty() {
            return Err(Error::UnknownStream);
        }
        self.orphan_bytes += packet.len();
        self.orphans.push_back(Orphan { remote_id, from, packet, at: now });
        while self.orphans.len() > limits::MAX_ORPHANS
            || self.orphan_bytes > limits::MAX_ORPHAN_BYTES
            || self.orphans.front().is_some_and(|orphan| orphan.at + limits::ORPHAN_LIFE <= now)
        {
            let Some(orphan) = self.orphans.pop_front() else { break };
            self.orphan_bytes -= orphan.packet.len();
        }
        Ok(())
    }

    fn adopt_orphans(&mut self, now: Now, stream: StreamId, remote_id: u32, peer: Hash) {
        let mine = |orphan: &Orphan| orphan.remote_id == remote_id && orphan.from.is_none_or(|from| from == peer);
        let (mine, rest): (VecDeque<Orphan>, _) = std::mem::take(&mut self.orphans).into_iter().partition(mine);
        self.orphans = rest;
        for orphan in mine {
            self.orphan_bytes -= orphan.packet.len();
            if orphan.at + limits::ORPHAN_LIFE > now.mono {
                let _ = self.handle_known(now, stream, orphan.from, orphan.packet);
            }
        }
    }

    /// The incoming stream of a packet whose sender does not know our id yet.
    fn find_remote(&self, remote_id: u32, from: Option<Hash>) -> Option<StreamId> {
        if let Some(from) = from {
            return self.by_remote.get(&(remote_id, from)).copied();
        }
        let mut all = self.by_remote.range((remote_id, Hash([0; 32]))..=(remote_id, Hash([0xff; 32])));
        let (_, stream) = all.next()?;
        all.next().is_none().then_some(*stream)
    }

    // Packets of a stream.

    fn handle_known(&mut self, now: Now, stream: StreamId, from: Option<Hash>, bytes: Vec<u8>) -> Result<(), Error> {
        let packet = Packet::parse(&bytes)?;
        let connection = self.connections.get_mut(&stream).ok_or(Error::UnknownStream)?;
        if from.is_some_and(|from| from != connection.peer) {
            return Err(Error::Forged);
        }
        let trusted = from.is_some();
        if packet.is_reset() {
            return self.handle_reset(now, stream, trusted, bytes);
        }
        if connection.is_opening() {
            if packet.is_syn() {
                return self.handle_syn_ack(now, stream, trusted, bytes);
            }
            if connection.held.len() >= limits::MAX_HELD {
                return Err(Error::Limit);
            }
            connection.held.push((from, bytes));
            return Ok(());
        }
        if packet.is_syn()
            && packet.recv_id != connection.remote_id
            && packet.send_id == connection.local_id
            && connection.may_be_answered_again()
        {
            return self.handle_syn_ack(now, stream, trusted, bytes);
        }
        if packet.recv_id != connection.remote_id || (packet.send_id != connection.local_id && packet.send_id != 0) {
            return Err(Error::Forged);
        }
        if packet.is_close() && !trusted {
            // A repeated SYN with CLOSE changes nothing and needs no signature check.
            let (true, Some(signer)) = (packet.is_signed(), connection.signer.clone()) else {
                return Err(Error::Unsigned);
            };
            if std::mem::replace(&mut connection.verifying, true) {
                return Err(Error::Limit);
            }
            let job = self.jobs.verify(now, bytes, By::Peer(signer), Purpose::Close { stream });
            self.events.push_back(Event::Job(job));
            return Ok(());
        }
        self.drive(now, stream, |connection, ctx| connection.handle(&packet, ctx));
        Ok(())
    }

    fn handle_syn_ack(&mut self, now: Now, stream: StreamId, trusted: bool, bytes: Vec<u8>) -> Result<(), Error> {
        let packet = Packet::parse(&bytes)?;
        let connection = self.connections.get_mut(&stream).ok_or(Error::UnknownStream)?;
        let from = packet.from.ok_or(Error::Unsigned)?;
        if from.hash() != connection.peer {
            return Err(Error::Forged);
        }
        let destination = from.destination()?;
        if packet.is_signed() {
            if std::mem::replace(&mut connection.verifying, true) {
                return Err(Error::Limit);
            }
            let job = self.jobs.verify(now, bytes, By::Itself(destination), Purpose::SynAck { stream });
            self.events.push_back(Event::Job(job));
        } else if trusted {
            let signer = Signer { key: destination.signing_key().clone(), destination };
            self.answered(now, stream, &packet, signer);
        } else {
            return Err(Error::Unsigned);
        }
        Ok(())
    }

    fn answered(&mut self, now: Now, stream: StreamId, packet: &Packet<'_>, signer: Signer) {
        self.drive(now, stream, |connection, ctx| connection.answered(packet, signer, ctx));
        let held = self.connections.get_mut(&stream).map(|connection| std::mem::take(&mut connection.held));
        for (from, bytes) in held.into_iter().flatten() {
            let _ = self.handle_known(now, stream, from, bytes);
        }
    }

    /// A RESET counts when it is signed: by the key of the SYN, or by the destination it names. A refusal of a peer
    /// whose keys are not at hand counts when it comes from the peer's session.
    fn handle_reset(&mut self, now: Now, stream: StreamId, trusted: bool, bytes: Vec<u8>) -> Result<(), Error> {
        let packet = Packet::parse(&bytes)?;
        let connection = self.connections.get_mut(&stream).ok_or(Error::UnknownStream)?;
        if packet.send_id != connection.local_id && packet.send_id != 0
            || packet.recv_id != connection.remote_id && packet.recv_id != 0
            || packet.send_id == 0 && packet.recv_id == 0
        {
            return Err(Error::Forged);
        }
        if !packet.is_signed() {
            return Err(Error::Unsigned);
        }
        let named = packet.from.map(|from| from.destination()).transpose()?;
        if named.as_ref().is_some_and(|named| named.hash() != connection.peer) {
            return Err(Error::Forged);
        }
        let by = match (connection.signer.clone(), named) {
            (Some(signer), _) => By::Peer(signer),
            (None, Some(named)) => By::Itself(named),
            (None, None) if trusted => {
                self.drive(now, stream, |connection, ctx| connection.fail(Error::Reset, ctx));
                return Ok(());
            }
            (None, None) => return Err(Error::Unsigned),
        };
        if std::mem::replace(&mut connection.verifying, true) {
            return Err(Error::Limit);
        }
        let job = self.jobs.verify(now, bytes, by, Purpose::Reset { stream });
        self.events.push_back(Event::Job(job));
        Ok(())
    }

    fn handle_verified(
        &mut self,
        now: Now,
        purpose: Purpose,
        bytes: &[u8],
        verified: Result<Signer, ramson_wire::DecodeError>,
    ) {
        if let Purpose::SynAck { stream } | Purpose::Close { stream } | Purpose::Reset { stream } = purpose
            && let Some(connection) = self.connections.get_mut(&stream)
        {
            connection.verifying = false;
        }
        let (Ok(signer), Ok(packet)) = (verified, Packet::parse(bytes)) else { return };
        match purpose {
            Purpose::Syn { ports } => self.accept(now, ports, &packet, signer),
            Purpose::SynAck { stream } => self.answered(now, stream, &packet, signer),
            Purpose::Close { stream } => {
                self.drive(now, stream, |connection, ctx| connection.handle(&packet, ctx));
            }
            Purpose::Reset { stream } => {
                self.drive(now, stream, |connection, ctx| connection.fail(Error::Reset, ctx));
            }
            Purpose::Ping { ports } => {
                let payload = packet.payload.get(..MAX_ECHO).unwrap_or(packet.payload);
                let out = Outgoing { recv_id: packet.send_id, flags: Flags::ECHO, ..Outgoing::default() };
                let pong = Outgoing { ack_through: Some(0), ..out }.encode(&[payload]);
                self.send_loose(signer.destination.hash(), ports, pong);
            }
            Purpose::Sign { .. } | Purpose::SignLoose { .. } => {}
        }
    }

    // Echo.

    fn handle_echo(&mut self, now: Now, from: Option<Hash>, ports: Ports, bytes: &[u8]) -> Result<(), Error> {
        let packet = Packet::parse(bytes)?;
        if packet.send_id == 0 {
            let waits = |(nonce, to): &(u32, Hash)| *nonce == packet.recv_id && from.is_none_or(|from| from == *to);
            let at = self.pings.iter().position(waits).ok_or(Error::UnknownStream)?;
            self.pings.remove(at);
            let payload = packet.payload.get(..MAX_ECHO).unwrap_or(packet.payload).to_vec();
            self.events.push_back(Event::Pong { from, nonce: packet.recv_id, payload });
            return Ok(());
        }
        let destination = packet.from.ok_or(Error::Unsigned)?;
        if !packet.is_signed() {
            return Err(Error::Unsigned);
        }
        if from.is_some_and(|from| from != destination.hash()) {
            return Err(Error::Forged);
        }
        let destination = destination.destination()?;
        let free = self.jobs.strangers() < limits::MAX_VERIFYING;
        if !self.config.answer_pings || !free || !self.echoes.take(now.mono) {
            return Err(Error::Limit);
        }
        let job = self.jobs.verify(now, bytes.to_vec(), By::Itself(destination), Purpose::Ping { ports });
        self.events.push_back(Event::Job(job));
        Ok(())
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

    fn forget_past(&mut self, now: Instant) {
        while let Some(oldest) = self.past_order.front()
            && self.past.get(oldest).is_none_or(|at| *at + PAST_LIFE <= now)
        {
            self.past.remove(oldest);
            self.past_order.pop_front();
        }
    }
}
