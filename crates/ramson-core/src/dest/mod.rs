//! Local destinations: keys, sessions, the own LeaseSet, and what is sent and received.
//!
//! [`Destination`] is one of them. It shares nothing with another one: each has its own sessions, tags, remote
//! LeaseSets and randomness.

pub mod datagram;
pub mod keyless;
mod lease;
pub mod ratchet;
mod remote;
pub mod session;
#[cfg(test)]
mod tests;

pub(crate) use lease::OwnLeaseSet;
pub use lease::{SignDone, SignJob, VerifyDone, VerifyJob};
pub use session::Sender;

use crate::limits::dest as limits;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use datagram::{DatagramDone, DatagramJob, Datagrams};
use keyless::{AdoptDone, AdoptJob, Keyless, LeaseSetError};
use lease::bundled_lease_set;
use ramson_wire::crypto::Secret;
use ramson_wire::crypto::x25519::{PublicKey, SecretKey};
use ramson_wire::data::{Hash, Lease2, LeaseSet2, PrivateKeys};
use ramson_wire::datagram::ClientPayload;
use ramson_wire::garlic::block::{Clove, Delivery};
use ramson_wire::i2np::{Kind, Message};
use ratchet::{SessionDone, SessionJob};
use remote::{PathFailed, RemoteLeaseSets};
use session::{SessionError, SessionEvent, Sessions};
use std::collections::{BTreeMap, VecDeque};

/// How long a message waits for its receiver's LeaseSet, or for the own one.
const LEASE_SET_WAIT: Duration = Duration::from_secs(30);
/// How long a message is good for.
const MESSAGE_LIFETIME_MS: u64 = 60_000;

/// One of our destinations, as the shell numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationId(pub u64);

/// What a destination does with its own LeaseSet and with payloads.
#[derive(Clone, Copy, Debug)]
pub struct DestinationConfig {
    /// Others may look the destination up; else only those it writes to can answer.
    pub publish: bool,
    /// Payloads are packed when it pays. Off unless asked for: packing costs more time than all cryptography of a
    /// message, most of what is sent is packed already, and the length of a packed message tells something of its
    /// content to those who see it pass.
    pub compress: bool,
}

impl Default for DestinationConfig {
    fn default() -> Self {
        Self { publish: true, compress: false }
    }
}

/// What a destination has to say.
#[derive(Debug)]
pub enum DestinationEvent {
    /// Run it and hand the result to [`Destination::handle_job`].
    Job(DestinationJob),
    /// The own LeaseSet is signed and new; publish it if the configuration says so.
    LeaseSetChanged(LeaseSet2),
    /// Look up this LeaseSet; [`Destination::handle_lease_set`] or [`Destination::handle_lookup_failed`] answers. One that
    /// was not published after `newer_than` (seconds since 1970) is known already, and is no answer.
    NeedLeaseSet { hash: Hash, newer_than: Option<u32> },
    /// The way to this destination is another one, or better than was thought: its LeaseSet is newer.
    PathMoved(Hash),
    /// Send this Garlic body through an outbound tunnel of this destination to the lease's gateway and tunnel.
    /// Bodies of the same path should take the same outbound tunnel while it lives.
    Garlic { to: Hash, lease: Lease2, path: u64, body: Vec<u8> },
    /// A payload for the client. `from` is the destination whose LeaseSet came in the session; what is in the
    /// payload may prove more.
    Received { from: Option<Hash>, payload: ClientPayload },
    /// A datagram to a port that is bound.
    Datagram(datagram::Incoming),
    /// The program that holds the keys is to sign a LeaseSet of these, see [`Destination::adopt`].
    SignLeases(Vec<Lease2>),
    /// How that went.
    LeaseSetTaken { token: u64, result: Result<(), LeaseSetError> },
    /// What came for a program that holds the keys.
    Message(Vec<u8>),
    /// The same for another destination of the program, in a session of this one.
    MessageBeside { to: Hash, body: Vec<u8> },
    /// A message of such a program has left, or is lost.
    MessageSent { id: u32, result: Result<(), SendError> },
    /// The message with this token was not sent.
    Failed { to: Hash, token: u64, reason: SendError },
    /// A reply under a one-time key (a look-up's answer), or a DeliveryStatus. Nothing else than this destination's
    /// own business may follow from it.
    Control { from: Sender, message: Message },
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    #[error("the destination's LeaseSet was not found")]
    LeaseSetNotFound,
    #[error("the destination has no encryption key of a supported type")]
    UnsupportedEncryption,
    #[error("too many messages wait")]
    QueueFull,
    #[error("the message is too large")]
    TooLarge,
    #[error("no session or lease in time")]
    Unreachable,
    #[error("the message has expired")]
    Expired,
}

/// Public-key work of a destination.
#[derive(Debug)]
pub enum DestinationJob {
    Session(SessionJob),
    Sign(SignJob),
    Verify(VerifyJob),
    Datagram(DatagramJob),
    Adopt(AdoptJob),
}

/// The result of a [`DestinationJob`].
#[derive(Debug)]
pub enum DestinationDone {
    Session(SessionDone),
    Sign(SignDone),
    Verify(VerifyDone),
    Datagram(DatagramDone),
    Adopt(AdoptDone),
}

impl DestinationJob {
    pub fn run(self, rng: &mut Rng) -> DestinationDone {
        match self {
            Self::Session(job) => DestinationDone::Session(job.run(rng)),
            Self::Sign(job) => DestinationDone::Sign(job.run()),
            Self::Verify(job) => DestinationDone::Verify(job.run()),
            Self::Datagram(job) => DestinationDone::Datagram(job.run()),
            Self::Adopt(job) => DestinationDone::Adopt(job.run()),
        }
    }
}

/// A local destination; see the module.
pub struct Destination {
    hash: Hash,
    config: DestinationConfig,
    rng: Rng,
    own: OwnLeaseSet,
    sessions: Sessions,
    remotes: RemoteLeaseSets,
    datagrams: Datagrams,
    /// What there is besides where a program holds the keys.
    keyless: Option<Box<Keyless>>,
    /// Messages that wait for a LeaseSet.
    waiting: BTreeMap<Hash, Waiting>,
    /// Cloves that wait until the LeaseSet in front of them is verified, by the session's key.
    held: BTreeMap<PublicKey, Vec<Clove>>,
    /// Bytes of the messages in `waiting`, and in `held`.
    waiting_bytes: usize,
    held_bytes: usize,
    next_token: u64,
    timers: Timers<Timer>,
    events: VecDeque<DestinationEvent>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Messages waited long enough.
    Waiting(Hash),
    /// The own LeaseSet may be signed again.
    Sign,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Text>,
    /// The LeaseSet was asked for.
    asked: bool,
}

/// The body of a Data message on its way.
struct Text {
    token: u64,
    body: Vec<u8>,
    /// Milliseconds since 1970, if it is good for less than [`MESSAGE_LIFETIME_MS`].
    expires: Option<u64>,
}

impl Destination {
    /// A destination of these keys; `encryption` is the static key that its LeaseSet publishes.
    pub fn new(keys: PrivateKeys, encryption: SecretKey, config: DestinationConfig, mut rng: Rng) -> Self {
        let hash = keys.destination().hash();
        let datagrams = Datagrams::new(&keys, &mut rng.child("datagrams"));
        let own = OwnLeaseSet::new(keys, encryption.public_key(), config.publish);
        let sessions = Sessions::new(encryption, rng.child("sessions"));
        Self::of(hash, config, (own, sessions, datagrams), None, rng)
    }

    /// A destination of these parts, to which nothing has happened yet.
    fn of(
        hash: Hash,
        config: DestinationConfig,
        (own, sessions, datagrams): (OwnLeaseSet, Sessions, Datagrams),
        keyless: Option<Box<Keyless>>,
        rng: Rng,
    ) -> Self {
        Self {
            hash,
            config,
            rng,
            own,
            sessions,
            remotes: RemoteLeaseSets::default(),
            datagrams,
            keyless,
            waiting: BTreeMap::new(),
            held: BTreeMap::new(),
            waiting_bytes: 0,
            held_bytes: 0,
            next_token: 0,
            timers: Timers::default(),
            events: VecDeque::new(),
        }
    }

    /// The destination's hash.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The own LeaseSet, once it is signed.
    pub const fn lease_set(&self) -> Option<&LeaseSet2> {
        self.own.current()
    }

    /// Sends a payload. The token names it in [`DestinationEvent::Failed`].
    pub fn send(&mut self, now: Now, to: Hash, payload: ClientPayload) -> u64 {
        self.next_token += 1;
        let token = self.next_token;
        self.send_as(now, token, to, payload);
        token
    }

    fn send_as(&mut self, now: Now, token: u64, to: Hash, payload: ClientPayload) {
        if to == self.hash {
            return self.handle_payload(now, Some(to), payload);
        }
        let body = payload.to_data_message(self.config.compress);
        if body.len() > limits::CLIENT_PAYLOAD {
            return self.fail(to, token, SendError::TooLarge);
        }
        self.send_text(now, to, Text { token, body, expires: None });
    }

    fn send_text(&mut self, now: Now, to: Hash, text: Text) {
        match self.remotes.key(now, &to) {
            Some(key) if self.own.current().is_some() => {
                if self.remotes.is_ageing(now, &to) && self.remotes.refresh(now, &to) {
                    self.ask(now, to);
                }
                self.seal(now, to, key, text);
            }
            known => self.wait(now, to, text, known.is_none()),
        }
        self.drain(now);
    }

    /// The inbound tunnels of the own pool changed.
    pub fn handle_leases(&mut self, now: Now, leases: Vec<Lease2>) {
        self.own.set_leases(now, leases);
        self.sign(now);
    }

    /// A LeaseSet that was looked up, its signature already verified. One whose time is wrong counts as not found, and
    /// our own is not taken from others.
    pub fn handle_lease_set(&mut self, now: Now, set: LeaseSet2) {
        let hash = set.key();
        if hash == self.hash {
            return;
        }
        if !remote::is_timely(now, &set) {
            self.handle_lookup_failed(now, hash);
            return;
        }
        match self.remotes.insert(now, set) {
            Ok(moved) => {
                if let Some(waiting) = self.waiting.get_mut(&hash) {
                    waiting.asked = false;
                }
                self.release(now, hash);
                self.note_moved(now, hash, moved);
            }
            Err(()) => self.fail_waiting(hash, SendError::UnsupportedEncryption),
        }
        self.drain(now);
    }

    /// The LeaseSet that was asked for cannot be had.
    pub fn handle_lookup_failed(&mut self, now: Now, hash: Hash) {
        if self.remotes.key(now, &hash).is_none() {
            self.fail_waiting(hash, SendError::LeaseSetNotFound);
        } else if let Some(waiting) = self.waiting.get_mut(&hash) {
            waiting.asked = false;
            self.release(now, hash);
        }
        self.drain(now);
    }

    /// A Garlic body that came down an own inbound tunnel.
    pub fn handle_garlic(&mut self, now: Now, body: &[u8]) -> Result<(), SessionError> {
        let result = self.sessions.handle_garlic(now, body);
        self.drain(now);
        result
    }

    /// What was sent to this destination does not seem to arrive: another lease and path are taken.
    /// When several leases have failed, the LeaseSet is looked up anew while the old one is in use: the other side may have
    /// come back with other tunnels and another key.
    ///
    /// True when a path was in use. Else nothing was sent since the last failure, or the LeaseSet is still looked for:
    /// nothing speaks against any tunnel then.
    pub fn handle_path_failed(&mut self, now: Now, to: &Hash) -> bool {
        let failed = self.remotes.path_failed(now, to);
        self.bundle_again(now, to);
        if failed == PathFailed::Many {
            self.ask(now, *to);
        }
        failed != PathFailed::NoneInUse
    }

    /// Expects an answer under a one-time key, for look-ups through this destination's tunnels.
    pub fn expect_one_time(&mut self, now: Now, tag: [u8; 8], key: Secret, lifetime: Duration) {
        self.sessions.expect_one_time(now, tag, key, lifetime);
    }

    /// The result of a job.
    pub fn handle_job(&mut self, now: Now, done: DestinationDone) -> Result<(), SessionError> {
        let result = match done {
            DestinationDone::Session(done) => self.sessions.handle_job(now, done),
            DestinationDone::Sign(done) => {
                let signed = self.own.handle_signed(done);
                let result = signed.map(|(set, store)| {
                    self.sessions.set_lease_set(store);
                    self.events.push_back(DestinationEvent::LeaseSetChanged(set));
                });
                let ready: Vec<Hash> = self.waiting.keys().copied().collect();
                ready.into_iter().for_each(|hash| self.release(now, hash));
                self.sign(now);
                result.map_err(SessionError::Malformed)
            }
            DestinationDone::Verify(done) => {
                self.handle_verified(now, done);
                Ok(())
            }
            DestinationDone::Adopt(done) => {
                self.handle_adopted(now, done);
                Ok(())
            }
            DestinationDone::Datagram(done) => {
                let step = self.datagrams.handle_job(done);
                self.handle_datagram_step(now, step);
                Ok(())
            }
        };
        self.drain(now);
        result
    }

    /// What must hold between any two calls.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(crate) fn check(&self) {
        self.sessions.check();
        self.keyless.iter().for_each(|keyless| keyless.check());
        assert!(self.waiting.len() <= limits::LOOKUPS && self.held.len() <= limits::LEASE_SET_JOBS);
        assert!(self.waiting.values().all(|waiting| waiting.messages.len() <= limits::WAITING_FOR_LEASE_SET));
        assert!(
            self.waiting.keys().all(|hash| self.timers.get(&Timer::Waiting(*hash)).is_some()),
            "nothing waits for ever"
        );
        assert!(self.held.values().all(|cloves| cloves.len() <= limits::QUEUED_PER_REMOTE));
    }

    /// What happened; call it after every other call until it gives nothing.
    pub fn poll_event(&mut self) -> Option<DestinationEvent> {
        self.events.pop_front()
    }

    /// When [`Destination::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.sessions.next_timeout()].into_iter().flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Waiting(hash) => self.fail_waiting(hash, SendError::LeaseSetNotFound),
                Timer::Sign => self.sign(now),
            }
        }
        self.sessions.handle_timeout(now);
        self.drain(now);
    }

    fn sign(&mut self, now: Now) {
        let next = if self.is_keyless() {
            self.own.next_offer(now).map(|leases| self.offer(leases))
        } else {
            let job = self.own.next_job(now);
            job.map(|job| self.events.push_back(DestinationEvent::Job(DestinationJob::Sign(job))))
        };
        if let Err(Some(at)) = next {
            self.timers.set(Timer::Sign, at);
        }
    }

    fn seal(&mut self, now: Now, to: Hash, key: PublicKey, text: Text) {
        let Text { token, body, expires } = text;
        let latest = now.unix_ms.saturating_add(MESSAGE_LIFETIME_MS);
        let expiration = expires.map_or(latest, |at| at.min(latest));
        let message = Message { kind: Kind::DATA, id: self.rng.nonzero_u32(), expiration, body };
        let clove = Clove { delivery: Delivery::Destination(to), message };
        self.sessions.send(now, to, key, &[clove], token);
    }

    /// Keeps a message until both LeaseSets are there.
    fn wait(&mut self, now: Now, to: Hash, text: Text, unknown: bool) {
        if !self.waiting.contains_key(&to) && self.waiting.len() >= limits::LOOKUPS {
            return self.fail(to, text.token, SendError::QueueFull);
        }
        let waiting = self.waiting.entry(to).or_default();
        if waiting.messages.len() >= limits::WAITING_FOR_LEASE_SET
            || self.waiting_bytes + text.body.len() > limits::WAITING_BYTES
        {
            return self.fail(to, text.token, SendError::QueueFull);
        }
        self.waiting_bytes += text.body.len();
        waiting.messages.push_back(text);
        self.timers.set_sooner(Timer::Waiting(to), now.mono + LEASE_SET_WAIT);
        if unknown {
            self.ask(now, to);
        }
    }

    /// Asks for a LeaseSet unless it was asked for.
    fn ask(&mut self, now: Now, hash: Hash) {
        if !self.waiting.contains_key(&hash) && self.waiting.len() >= limits::LOOKUPS {
            return;
        }
        let waiting = self.waiting.entry(hash).or_default();
        if !std::mem::replace(&mut waiting.asked, true) {
            self.timers.set_sooner(Timer::Waiting(hash), now.mono + LEASE_SET_WAIT);
            // One that has ended is not what floodfills still give.
            let usable = self.remotes.key(now, &hash).is_some();
            let newer_than = self.remotes.published(&hash).filter(|_| usable);
            self.events.push_back(DestinationEvent::NeedLeaseSet { hash, newer_than });
        }
    }

    /// Sends what waited, if all is there now.
    fn release(&mut self, now: Now, hash: Hash) {
        if self.own.current().is_none() {
            return;
        }
        let Some(key) = self.remotes.key(now, &hash) else { return };
        for text in self.take_waiting(hash) {
            if text.expires.is_some_and(|at| at <= now.unix_ms) {
                self.fail(hash, text.token, SendError::Expired);
            } else {
                self.seal(now, hash, key, text);
            }
        }
    }

    fn bundle_again(&mut self, now: Now, to: &Hash) {
        if let Some(key) = self.remotes.key(now, to) {
            self.sessions.path_changed(&key);
        }
    }

    fn note_moved(&mut self, now: Now, hash: Hash, moved: bool) {
        if moved {
            self.bundle_again(now, &hash);
            self.events.push_back(DestinationEvent::PathMoved(hash));
        }
    }

    fn fail_waiting(&mut self, hash: Hash, reason: SendError) {
        for text in self.take_waiting(hash) {
            self.fail(hash, text.token, reason);
        }
    }

    /// What waits for the LeaseSet of `hash` waits no longer.
    fn take_waiting(&mut self, hash: Hash) -> VecDeque<Text> {
        self.timers.cancel(&Timer::Waiting(hash));
        let messages = self.waiting.remove(&hash).unwrap_or_default().messages;
        let bytes: usize = messages.iter().map(|text| text.body.len()).sum();
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        messages
    }

    fn fail(&mut self, to: Hash, token: u64, reason: SendError) {
        match &mut self.keyless {
            None => self.events.push_back(DestinationEvent::Failed { to, token, reason }),
            Some(keyless) => self.events.extend(keyless.report(token, Err(reason))),
        }
    }

    /// Takes what the sessions have to say.
    fn drain(&mut self, now: Now) {
        while let Some(event) = self.sessions.poll_event() {
            match event {
                SessionEvent::Job(job) => {
                    self.events.push_back(DestinationEvent::Job(DestinationJob::Session(job)));
                }
                SessionEvent::Sealed { to, token, body } => match self.remotes.lease(now, &to, &mut self.rng) {
                    Some((lease, path)) => {
                        self.events.push_back(DestinationEvent::Garlic { to, lease, path, body });
                        let keyless = self.keyless.as_mut().zip(token);
                        self.events.extend(keyless.and_then(|(it, token)| it.report(token, Ok(()))));
                    }
                    None => {
                        if let Some(token) = token {
                            self.fail(to, token, SendError::Unreachable);
                        }
                    }
                },
                SessionEvent::Dropped { to, token } => self.fail(to, token, SendError::Unreachable),
                SessionEvent::Clove { from, clove } => self.handle_clove(now, from, clove),
            }
        }
    }

    /// A clove for this destination, or for one beside it, is handled; one for anybody else is dropped, whoever sent it.
    fn handle_clove(&mut self, now: Now, from: Sender, clove: Clove) {
        let mut beside = None;
        match clove.delivery {
            Delivery::Local => {}
            Delivery::Destination(to) if to == self.hash => {}
            Delivery::Destination(to) if self.is_beside(&to) => beside = Some(to),
            Delivery::Destination(_) | Delivery::Router(_) | Delivery::Tunnel { .. } => return,
        }
        if let Sender::Static(key) = from
            && let Some(held) = self.held.get_mut(&key)
        {
            let bytes = clove.message.body.len();
            if held.len() < limits::QUEUED_PER_REMOTE && self.held_bytes + bytes <= limits::HELD_BYTES {
                self.held_bytes += bytes;
                held.push(clove);
            }
            return;
        }
        let message = clove.message;
        if let Some(to) = beside {
            if message.kind == Kind::DATA {
                self.events.push_back(DestinationEvent::MessageBeside { to, body: message.body });
            }
            return;
        }
        match (from, message.kind) {
            (Sender::OneTime(_), _) | (_, Kind::DELIVERY_STATUS) => {
                self.events.push_back(DestinationEvent::Control { from, message });
            }
            (Sender::Static(key), Kind::DATABASE_STORE) => self.handle_bundled(now, key, &message.body),
            (_, Kind::DATA) => {
                let Some(body) = self.give_message(message.body) else { return };
                let Ok(payload) = ClientPayload::from_data_message(&body) else { return };
                let from = match from {
                    Sender::Static(key) => self.sessions.hash_of(&key),
                    _ => None,
                };
                self.handle_payload(now, from, payload);
            }
            _ => {}
        }
    }

    fn handle_payload(&mut self, now: Now, from: Option<Hash>, payload: ClientPayload) {
        if let Some(bound) = self.datagrams.taker(&payload) {
            let step = self.datagrams.handle(now, from, bound, payload);
            return self.handle_datagram_step(now, step);
        }
        self.events.push_back(DestinationEvent::Received { from, payload });
    }

    /// A LeaseSet in a session: it must publish the session's static key, and be newer than what is known.
    fn handle_bundled(&mut self, now: Now, key: PublicKey, store: &[u8]) {
        let Ok(set) = bundled_lease_set(store) else { return };
        let known = self.remotes.published(&set.key()).is_some_and(|known| known >= set.times().published);
        let identified = self.sessions.hash_of(&key) == Some(set.key());
        let foreign = set.key() != self.hash;
        let wanted = foreign && set.x25519_key() == Some(key) && remote::is_timely(now, &set) && !(known && identified);
        if !wanted || self.held.len() >= limits::LEASE_SET_JOBS {
            return;
        }
        self.held.insert(key, Vec::new());
        let job = VerifyJob { session_key: key, set };
        self.events.push_back(DestinationEvent::Job(DestinationJob::Verify(job)));
    }

    fn handle_verified(&mut self, now: Now, done: VerifyDone) {
        let held = self.held.remove(&done.session_key).unwrap_or_default();
        let bytes: usize = held.iter().map(|clove| clove.message.body.len()).sum();
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        if let Some(set) = done.set {
            let hash = set.key();
            self.sessions.learn_hash(&done.session_key, hash);
            if let Ok(moved) = self.remotes.insert(now, set) {
                self.release(now, hash);
                self.note_moved(now, hash, moved);
            }
        }
        for clove in held {
            self.handle_clove(now, Sender::Static(done.session_key), clove);
        }
    }
}
