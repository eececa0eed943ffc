//! What a destination sends and receives: streams and datagrams as payloads of messages, and look-ups.

use super::Output;
use super::session::{NONCES, Session, Timer};
use crate::dest::DestinationJob;
use crate::dest::datagram::{Bound, DatagramDone, Outgoing, Step};
use crate::job::Job;
use crate::limits::dest as limits;
use crate::router::programs::Next;
use crate::router::{ConnectError, DatagramRefused, Event};
use crate::stream::{ConnectOptions, StreamId};
use crate::time::{Duration, Now};
use ramson_wire::data::{Destination, Hash, Mapping};
use ramson_wire::datagram::ClientPayload;
use ramson_wire::datagram::payload::protocol;
use ramson_wire::i2cp::{Delivery, Expiry, HostLookup, HostReply, LookupKey, LookupResult, Message, SendMessage};
use ramson_wire::streaming::Packet;

/// How long a look-up may take.
const LOOKUP_TIME: Duration = Duration::from_secs(30);
const LOOKUP_MS: u32 = 25_000;
/// How long a message is good.
const MESSAGE_LIFETIME_MS: u64 = 60_000;

impl Session {
    // Streams.

    pub(super) fn connect(&mut self, now: Now, token: u64, to: Hash, ports: (u16, u16)) {
        let failed = |why| Output::Event(Event::ConnectFailed { token, why });
        if self.open().is_none() {
            return self.out.push_back(failed(ConnectError::TunnelsNotReady));
        }
        if to == self.hash || self.peers.known(&to).is_some() {
            return self.begin(now, token, to, ports);
        }
        if self.peers.asked() >= limits::QUESTIONS {
            return self.out.push_back(failed(ConnectError::Limit));
        }
        match self.peers.wait(to) {
            Some((waiting, is_new)) => {
                waiting.connects.push((token, ports));
                self.ask(now, to, is_new);
            }
            None => self.out.push_back(failed(ConnectError::Limit)),
        }
    }

    fn begin(&mut self, now: Now, token: u64, to: Hash, ports: (u16, u16)) {
        let now = self.time(now);
        let options = ConnectOptions { peer: self.peers.known(&to).cloned(), ..ConnectOptions::default() };
        if let Err(why) = self.programs.connect(now, &mut self.streams, (token, to), ports, options) {
            self.out.push_back(Output::Event(Event::ConnectFailed { token, why }));
        }
    }

    pub(super) fn write(&mut self, now: Now, stream: StreamId, data: Vec<u8>) {
        self.programs.write(stream, data);
        self.pump(now, stream);
    }

    pub(super) fn shut_down(&mut self, now: Now, stream: StreamId) {
        self.programs.shut_down(stream);
        self.pump(now, stream);
    }

    fn pump(&mut self, now: Now, stream: StreamId) {
        let bytes = self.programs.pump(now, &mut self.streams, stream);
        self.bytes.1 += bytes as u64;
        if bytes > 0 {
            let stream = self.programs.key(stream);
            self.out.push_back(Output::Event(Event::StreamWritable { stream, bytes }));
        }
    }

    /// Carries out what the streams say, until they are quiet.
    pub(super) fn drain(&mut self, now: Now) {
        let now = self.time(now);
        loop {
            if let Some(payload) = self.loops.pop_front() {
                self.received(now, Some(self.hash), payload);
            }
            let Some(event) = self.streams.poll_event() else {
                if self.loops.is_empty() {
                    return;
                }
                continue;
            };
            match self.programs.handle(event) {
                Next::Nothing => {}
                Next::Event(event) => self.out.push_back(Output::Event(event)),
                Next::Job(job) => self.out.push_back(Output::Job(Job::Stream(self.id, job))),
                Next::Send { to, from_port, to_port, packet, token } => {
                    let payload = ClientPayload { protocol: protocol::STREAMING, from_port, to_port, data: packet };
                    let nonce = token.map_or(0, |_| self.nonce(to));
                    self.post(now, to, payload, nonce);
                }
                Next::Pump(stream) => self.pump(now, stream),
                // The router chooses tunnels and leases; that it chooses others cannot be asked for.
                Next::Suspect { to, .. } => self.streams.path_changed(now, to),
            }
        }
    }

    /// A number by which the router tells what becomes of a message.
    fn nonce(&mut self, to: Hash) -> u32 {
        self.last_nonce = self.last_nonce.wrapping_add(1).max(1);
        self.nonces.push_back((self.last_nonce, to));
        if self.nonces.len() > NONCES {
            self.nonces.pop_front();
        }
        self.last_nonce
    }

    /// MessageStatus: that there is no LeaseSet of a peer ends the connects to it.
    pub(super) fn status_came(&mut self, now: Now, nonce: u32, status: Delivery) {
        let Some(at) = self.nonces.iter().position(|(known, _)| *known == nonce) else { return };
        let lost = [Delivery::NO_LEASE_SET, Delivery::UNSUPPORTED_ENCRYPTION];
        if status == Delivery::ACCEPTED {
            return;
        }
        let Some((_, to)) = self.nonces.remove(at).filter(|_| lost.contains(&status)) else { return };
        for token in self.programs.fail_connects(now, &mut self.streams, &to) {
            self.out.push_back(Output::Event(Event::ConnectFailed { token, why: ConnectError::LeaseSetNotFound }));
        }
    }

    // Datagrams.

    pub(super) fn bind_datagrams(&mut self, token: u64, (format, port): Bound) {
        let result = self.datagrams.bind(format, port).map_err(DatagramRefused::Datagram);
        self.out.push_back(Output::Event(Event::DatagramsBound { token, result }));
    }

    /// What cannot be sent for lack of tunnels is refused at once: it would be late when they stand.
    pub(super) fn send_datagram(&mut self, now: Now, token: u64, datagram: Outgoing) {
        let time = self.time(now);
        let result = if self.open().is_none() && datagram.to != self.hash {
            Err(DatagramRefused::TunnelsNotReady)
        } else {
            let bytes = datagram.payload.len() as u64;
            let made = self.datagrams.make(time, token, datagram).map_err(DatagramRefused::Datagram);
            made.map(|step| {
                self.bytes.1 += bytes;
                self.datagram_step(time, step);
            })
        };
        self.out.push_back(Output::Event(Event::DatagramTaken { token, result }));
    }

    pub(super) fn datagram_done(&mut self, now: Now, done: DatagramDone) {
        let step = self.datagrams.handle_job(done);
        self.datagram_step(self.time(now), step);
    }

    fn datagram_step(&mut self, now: Now, step: Step) {
        match step {
            Step::Nothing | Step::Failed { .. } => {}
            Step::Job(job) => {
                self.out.push_back(Output::Job(Job::Destination(self.id, DestinationJob::Datagram(job))));
            }
            Step::Send { to, payload, .. } => self.post(now, to, payload, 0),
            Step::Received(datagram) => {
                if let crate::dest::datagram::Origin::Signed(from) = &datagram.from {
                    self.peers.learn((**from).clone());
                }
                let (destination, datagram) = (self.id, Box::new(datagram));
                self.out.push_back(Output::Event(Event::Datagram { destination, datagram }));
            }
        }
    }

    // Messages.

    /// Sends a payload, or keeps it until it is known whose hash it is for. What finds no session or no room is lost, as
    /// any packet can be.
    fn post(&mut self, now: Now, to: Hash, payload: ClientPayload, nonce: u32) {
        if to == self.hash {
            return self.loops.push_back(payload);
        }
        if self.open().is_none() {
            return;
        }
        let payload = payload.to_gzip(self.compress);
        if payload.len() > limits::CLIENT_PAYLOAD {
            return;
        }
        match self.peers.known(&to).cloned() {
            Some(to) => self.send(now, to, payload, nonce),
            None => {
                if let Some(is_new) = self.peers.keep(to, payload) {
                    self.ask(now, to, is_new);
                }
            }
        }
    }

    fn send(&mut self, now: Now, to: Destination, payload: Vec<u8>, nonce: u32) {
        let Some(session) = self.open() else { return };
        let expires = Some(Expiry { flags: 0, at: now.unix_ms.saturating_add(MESSAGE_LIFETIME_MS) });
        self.say(Message::SendMessage(SendMessage { session, to, payload, nonce, expires }));
    }

    /// MessagePayload. Who sent it, I2CP does not say.
    pub(super) fn payload_came(&mut self, now: Now, payload: &[u8]) {
        if let Ok(payload) = ClientPayload::from_gzip(payload) {
            self.received(now, None, payload);
        }
    }

    fn received(&mut self, now: Now, from: Option<Hash>, payload: ClientPayload) {
        self.bytes.0 += payload.data.len() as u64;
        if let Some(bound) = self.datagrams.taker(&payload) {
            let step = self.datagrams.handle(now, from, bound, payload);
            return self.datagram_step(now, step);
        }
        if payload.protocol != protocol::STREAMING {
            return;
        }
        // Whoever opens a stream says its destination, to which the answer goes. That it is the sender's is for the
        // stream to verify: a destination belongs to its hash whoever says it.
        if let Ok(packet) = Packet::parse(&payload.data)
            && let Some(claimed) = packet.from
            && self.peers.known(&claimed.hash()).is_none()
            && let Ok(destination) = claimed.destination()
        {
            self.peers.learn(destination);
        }
        // A packet that is dropped is sent again, or was not for us.
        let _ = self.streams.handle_packet(now, from, payload.from_port, payload.to_port, payload.data);
    }

    // Look-ups.

    /// A program asks for the destination of a hash.
    pub(super) fn look_up(&mut self, now: Now, token: u64, hash: Hash) {
        if hash == self.hash {
            let destination = Some(self.destination().clone());
            return self.out.push_back(Output::Event(Event::LookedUp { token, destination, options: Mapping::new() }));
        }
        let refused = Output::Event(Event::LookupRefused { token });
        if self.peers.asked() >= limits::QUESTIONS {
            return self.out.push_back(refused);
        }
        match self.peers.wait(hash) {
            Some((waiting, is_new)) => {
                waiting.tokens.push(token);
                waiting.with_options |= is_new;
                self.ask(now, hash, is_new);
            }
            None => self.out.push_back(refused),
        }
    }

    /// Asks the router, unless it was asked.
    fn ask(&mut self, now: Now, hash: Hash, is_new: bool) {
        if is_new {
            self.timers.set(Timer::Lookup(hash), now.mono + LOOKUP_TIME);
            self.put_question(hash);
        }
    }

    fn put_question(&mut self, hash: Hash) {
        let Some(session) = self.open() else { return };
        let Some(options) = self.peers.waiting.get(&hash).map(|waiting| waiting.with_options) else { return };
        let request = self.peers.ask(hash);
        let lookup = HostLookup { session, request, timeout: LOOKUP_MS, key: LookupKey::Hash(hash), options };
        self.say(Message::HostLookup(lookup));
    }

    /// Asks all that is waited for.
    pub(super) fn ask_again(&mut self, _now: Now) {
        for hash in self.peers.waiting.keys().copied().collect::<Vec<_>>() {
            self.put_question(hash);
        }
    }

    pub(super) fn host_reply(&mut self, now: Now, reply: HostReply) {
        let Some(hash) = self.peers.answered(reply.request) else { return };
        match reply.destination.filter(|found| reply.result == LookupResult::SUCCESS && found.hash() == hash) {
            Some(destination) => self.found(now, destination, reply.options.unwrap_or_default()),
            None => {
                // Routers that know nothing of options say so, or say that nothing was found.
                let again = self.peers.waiting.get_mut(&hash).is_some_and(|waiting| {
                    std::mem::take(&mut waiting.with_options) && reply.result != LookupResult::LEASE_SET_NOT_FOUND
                });
                if again {
                    self.put_question(hash);
                } else {
                    self.not_found(now, &hash);
                }
            }
        }
    }

    fn found(&mut self, now: Now, destination: Destination, options: Mapping) {
        let hash = destination.hash();
        self.peers.learn(destination.clone());
        self.timers.cancel(&Timer::Lookup(hash));
        let Some(waiting) = self.peers.take(&hash) else { return };
        for token in waiting.tokens {
            let (destination, options) = (Some(destination.clone()), options.clone());
            self.out.push_back(Output::Event(Event::LookedUp { token, destination, options }));
        }
        for (token, ports) in waiting.connects {
            self.begin(now, token, hash, ports);
        }
        let now = self.time(now);
        for payload in waiting.payloads {
            self.send(now, destination.clone(), payload, 0);
        }
    }

    pub(super) fn not_found(&mut self, now: Now, hash: &Hash) {
        self.timers.cancel(&Timer::Lookup(*hash));
        let Some(waiting) = self.peers.take(hash) else { return };
        for token in waiting.tokens {
            self.out.push_back(Output::Event(Event::LookedUp { token, destination: None, options: Mapping::new() }));
        }
        let mut failed: Vec<u64> = waiting.connects.into_iter().map(|(token, _)| token).collect();
        if !waiting.payloads.is_empty() {
            failed.extend(self.programs.fail_connects(now, &mut self.streams, hash));
        }
        for token in failed {
            self.out.push_back(Output::Event(Event::ConnectFailed { token, why: ConnectError::LeaseSetNotFound }));
        }
    }
}
