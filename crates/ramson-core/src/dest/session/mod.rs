//! All ratchet sessions of one local destination.
//!
//! A session belongs to a remote's static key. What comes in under a known tag is opened here and now; what needs
//! public-key work leaves as a [`SessionJob`]. Several New Session messages to one remote may be under way, and
//! several sessions with it may be readable; one of them, the current one, carries what is sent.

#[cfg(any(test, fuzzing, feature = "checks"))]
mod check;
mod flow;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod payload;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod secrets;
mod state;
#[cfg(test)]
mod tests;

use crate::bucket::Bucket;
use crate::dest::ratchet::handshake::{Done, TagSets};
use crate::dest::ratchet::handshake::{
    NewSessionCreated, NewSessionRead, ReadNewSession, ReadReply, ReplyCreated, ReplyRead, Work,
};
use crate::dest::ratchet::{SessionDone, SessionJob, TagSet};
use crate::limits::dest as limits;
use crate::rng::{Rng, SeededMap, SeededState};
use crate::seen::Seen;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use ramson_wire::codec::DecodeError;
use ramson_wire::crypto::Secret;
use ramson_wire::crypto::aead::AeadKey;
use ramson_wire::crypto::x25519::{PublicKey, SecretKey};
use ramson_wire::data::Hash;
use ramson_wire::garlic::block::{Block, Clove, NextKey, leading_date_time};
use ramson_wire::garlic::{one_time, unframe};
use state::{Doubt, Forward, InboundSet, Responding, Session, SessionId, SetId, State, Step};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};

/// A tag set asks for its successor from this index on.
const RATCHET_AFTER: u16 = 4096;
const PREVIOUS_SET_KEPT: Duration = Duration::from_secs(180);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(120);
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(600);
const SEND_TIMEOUT: Duration = Duration::from_secs(480);
/// A session younger than this is not replaced.
const RESTART_AFTER: Duration = Duration::from_secs(120);
/// What is owed to the other side leaves alone when no message takes it along.
const CONTROL_DELAY: Duration = Duration::from_secs(1);
/// How far a New Session may be dated behind and ahead.
const DATE_BEHIND: u32 = 5 * 60;
const DATE_AHEAD: u32 = 2 * 60;

/// Who sent a clove, as far as the encryption shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A New Session message without a static key.
    Anonymous,
    /// The holder of this static key.
    Static(PublicKey),
    /// Whoever was given the one-time key of this tag.
    OneTime([u8; 8]),
}

/// What sessions have to say.
#[derive(Debug)]
pub enum SessionEvent {
    /// Run it and hand the result to [`Sessions::handle_job`].
    Job(SessionJob),
    /// A Garlic body for the destination `to`. The token is that of [`Sessions::send`]; what sessions send on their
    /// own has none.
    Sealed { to: Hash, token: Option<u64>, body: Vec<u8> },
    /// The message with this token could not be sent.
    Dropped { to: Hash, token: u64 },
    /// A clove of a message that was opened.
    Clove { from: Sender, clove: Clove },
}

/// Why a garlic message was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The sender's fault: the bytes are no garlic message or hold a malformed payload.
    #[error("malformed garlic message: {0}")]
    Malformed(#[from] DecodeError),
    /// The message is under a known tag but does not open.
    #[error("a tagged message does not open")]
    Undecryptable,
    /// New Session messages come faster than they are read.
    #[error("too many new sessions")]
    Busy,
    /// A New Session message that was read before.
    #[error("replayed new session")]
    Replayed,
    /// A New Session message dated too far from now.
    #[error("new session is too old or from the future")]
    Skewed,
    /// The public-key work failed: not for this destination, or garbage.
    #[error("new session or reply does not open")]
    Failed,
}

/// The sessions; see the module.
pub struct Sessions {
    own: SecretKey,
    rng: Rng,
    ratchet_after: u16,
    /// The own LeaseSet as the body of a DatabaseStore message, and its version.
    lease_set: Option<(u64, Vec<u8>)>,
    sessions: BTreeMap<SessionId, Session>,
    remotes: BTreeMap<PublicKey, Remote>,
    sets: BTreeMap<SetId, InboundSet>,
    tags: SeededMap<[u8; 8], TagRef>,
    one_time: BTreeMap<[u8; 8], Secret>,
    replays: Seen,
    jobs: BTreeMap<u64, Context>,
    reading: usize,
    /// New Session messages that may still be read.
    reads: Bucket,
    next_id: u64,
    timers: Timers<Timer>,
    events: VecDeque<SessionEvent>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A session may be idle.
    Session(SessionId),
    /// A set that has a successor.
    Set(SetId),
    /// Something is owed to the other side.
    Control(SessionId),
    /// Messages wait too long.
    Queue(PublicKey),
    OneTime([u8; 8]),
}

struct TagRef {
    set: SetId,
    index: u16,
    key: Secret,
}

#[derive(Default)]
struct Remote {
    hash: Option<Hash>,
    current: Option<SessionId>,
    sessions: Vec<SessionId>,
    /// New Session messages that are being made.
    creating: usize,
    last_new_session: Option<Instant>,
    queue: VecDeque<Outgoing>,
    active: Instant,
}

struct Outgoing {
    to: Hash,
    token: u64,
    /// Encoded clove blocks.
    cloves: Vec<u8>,
    deadline: Instant,
}

/// What a job is for.
enum Context {
    NewSession { remote: PublicKey, to: Hash, token: u64, lease_set: u64 },
    ReadNewSession,
    Reply { session: SessionId, to: Hash, token: u64, lease_set: u64 },
    ReadReply { session: SessionId },
    DrawForward { session: SessionId },
    DeriveForward { session: SessionId, peer: PublicKey },
    DeriveReceive { session: SessionId, peer: PublicKey, step: Step },
}

impl Sessions {
    /// Sessions under the static key that the own LeaseSet publishes.
    pub fn new(own: SecretKey, mut rng: Rng) -> Self {
        let tags = SeededMap::with_hasher(SeededState::new(&mut rng));
        let replays = Seen::new(limits::REPLAY_KEYS, limits::REPLAY_GENERATION, &mut rng);
        Self {
            own,
            rng,
            ratchet_after: RATCHET_AFTER,
            lease_set: None,
            sessions: BTreeMap::new(),
            remotes: BTreeMap::new(),
            sets: BTreeMap::new(),
            tags,
            one_time: BTreeMap::new(),
            replays,
            jobs: BTreeMap::new(),
            reading: 0,
            reads: Bucket::new(limits::NEW_SESSIONS, Instant::ZERO),
            next_id: 0,
            timers: Timers::default(),
            events: VecDeque::new(),
        }
    }

    /// Drops all sessions, after a fault that may have left one of them half changed. New ones follow with the next
    /// messages; what waited is lost. Results of jobs that are out find nobody.
    pub fn forget_all(&mut self) {
        let fresh = Self::new(self.own.clone(), self.rng.child("anew"));
        let old = std::mem::replace(self, fresh);
        (self.lease_set, self.replays, self.next_id) = (old.lease_set, old.replays, old.next_id);
        self.ratchet_after = old.ratchet_after;
    }

    /// Whether a Garlic body is under a tag that is known here.
    pub fn knows(&self, body: &[u8]) -> bool {
        let tag = unframe(body).ok().and_then(|encrypted| encrypted.first_chunk::<8>());
        tag.is_some_and(|tag| self.tags.contains_key(tag) || self.one_time.contains_key(tag))
    }

    /// The static key is this one from now on. Sessions under another one are dropped with it.
    pub fn set_own(&mut self, own: SecretKey) {
        if self.own.as_bytes() == own.as_bytes() {
            return;
        }
        self.own = own;
        // Before there is any session, only one-time keys are there, which are of no static key.
        if !self.remotes.is_empty() || !self.sessions.is_empty() || !self.jobs.is_empty() {
            self.forget_all();
        }
    }

    /// The own LeaseSet that goes with every new session, and to every session when it changed. `store` is the body
    /// of a DatabaseStore message.
    pub fn set_lease_set(&mut self, store: Vec<u8>) {
        let version = self.lease_set.as_ref().map_or(1, |(version, _)| version + 1);
        self.lease_set = Some((version, store));
    }

    /// What was sent to this remote may not have arrived: the next message brings our LeaseSet again, and asks for an ack of
    /// itself. A remote that sends and acknowledges nothing of that cannot read the session any more.
    pub fn path_changed(&mut self, remote: &PublicKey) {
        let current = self.remotes.get(remote).and_then(|remote| remote.current);
        if let Some(session) = current.and_then(|id| self.sessions.get_mut(&id)) {
            session.lease_set.in_flight = None;
            session.last_ack_request = None;
            if matches!(session.doubt, Doubt::No) {
                session.doubt = Doubt::Ask;
            }
        }
    }

    /// Expects one message under this tag and key for `lifetime`; its cloves come with [`Sender::OneTime`].
    pub fn expect_one_time(&mut self, now: Now, tag: [u8; 8], key: Secret, lifetime: Duration) {
        if self.one_time.len() >= limits::ONE_TIME_KEYS {
            self.one_time.pop_first();
        }
        self.one_time.insert(tag, key);
        self.timers.set(Timer::OneTime(tag), now.mono + lifetime);
    }

    /// Sends cloves to the destination `to` with the static key `key`. Either [`SessionEvent::Sealed`] or
    /// [`SessionEvent::Dropped`] follows with the token, perhaps later.
    pub fn send(&mut self, now: Now, to: Hash, key: PublicKey, cloves: &[Clove], token: u64) {
        let mut bytes = Vec::new();
        for clove in cloves {
            ramson_wire::codec::Encode::encode(&Block::Clove(clove.clone()), &mut bytes);
        }
        let deadline = now.mono + limits::QUEUED_FOR;
        let remote = self.remote(now, key);
        remote.hash.get_or_insert(to);
        let waiting: usize = remote.queue.iter().map(|message| message.cloves.len()).sum();
        if remote.queue.len() >= limits::QUEUED_PER_REMOTE || waiting + bytes.len() > limits::QUEUED_BYTES_PER_REMOTE {
            self.events.push_back(SessionEvent::Dropped { to, token });
            return;
        }
        remote.queue.push_back(Outgoing { to, token, cloves: bytes, deadline });
        self.flush(now, key);
    }

    /// Notes that the destination `hash` publishes the static key `key`, so that sessions can answer it.
    pub fn learn_hash(&mut self, key: &PublicKey, hash: Hash) {
        if let Some(remote) = self.remotes.get_mut(key) {
            remote.hash = Some(hash);
        }
    }

    /// The destination that the static key is known to belong to.
    pub fn hash_of(&self, key: &PublicKey) -> Option<Hash> {
        self.remotes.get(key)?.hash
    }

    /// A Garlic body that came down an own inbound tunnel.
    pub fn handle_garlic(&mut self, now: Now, body: &[u8]) -> Result<(), SessionError> {
        let encrypted = unframe(body)?;
        let tag = *encrypted.first_chunk::<8>().ok_or(DecodeError::Truncated { what: "session tag" })?;
        if let Some(found) = self.tags.get(&tag) {
            let set = found.set;
            return match self.sets.get(&set).map(|set| set.replies) {
                Some(true) => self.read_reply(tag, encrypted),
                Some(false) => self.read_existing(now, tag, encrypted),
                None => {
                    self.tags.remove(&tag); // a tag never outlives its set
                    Err(SessionError::Undecryptable)
                }
            };
        }
        if let Some(key) = self.one_time.get(&tag) {
            let payload = one_time::open(key, body).map_err(|_| SessionError::Undecryptable)?;
            self.one_time.remove(&tag);
            self.timers.cancel(&Timer::OneTime(tag));
            self.emit_cloves(Sender::OneTime(tag), Block::decode_all(&payload)?);
            return Ok(());
        }
        self.read_new_session(now, encrypted)
    }

    /// The result of a job.
    pub fn handle_job(&mut self, now: Now, done: SessionDone) -> Result<(), SessionError> {
        let Some(context) = self.jobs.remove(&done.id) else { return Ok(()) };
        if matches!(context, Context::ReadNewSession) {
            self.reading = self.reading.saturating_sub(1);
        }
        match (context, done.result) {
            (Context::NewSession { remote, to, token, lease_set }, result) => {
                let created = match result {
                    Ok(Done::NewSessionCreated(created)) => Some(created),
                    _ => None,
                };
                self.new_session_created(now, remote, to, token, lease_set, created);
            }
            (Context::ReadNewSession, Ok(Done::NewSessionRead(read))) => return self.new_session_read(now, read),
            (Context::Reply { session, to, token, lease_set }, Ok(Done::ReplyCreated(reply))) => {
                self.reply_created(now, session, to, token, lease_set, reply);
            }
            (Context::Reply { to, token, .. }, _) => self.events.push_back(SessionEvent::Dropped { to, token }),
            (Context::ReadReply { session }, Ok(Done::ReplyRead(read))) => {
                return self.reply_read(now, session, read);
            }
            (Context::ReadReply { session }, _) => {
                self.stop_reading(now, session);
                return Err(SessionError::Failed);
            }
            (Context::DrawForward { session }, Ok(Done::Ratcheted(done))) => self.forward_drawn(session, done),
            (Context::DeriveForward { session, peer }, Ok(Done::Ratcheted(done))) => {
                self.forward_derived(session, peer, done);
            }
            (Context::DeriveReceive { session, peer, step }, Ok(Done::Ratcheted(done))) => {
                self.receive_derived(now, session, peer, step, done);
            }
            (
                Context::DrawForward { session }
                | Context::DeriveForward { session, .. }
                | Context::DeriveReceive { session, .. },
                _,
            ) => self.ratchet_failed(session),
            (Context::ReadNewSession, _) => return Err(SessionError::Failed),
        }
        Ok(())
    }

    /// What happened; call it after every other call until it gives nothing.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// When [`Sessions::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Session(id) => self.check_idle(now, id),
                Timer::Set(id) => self.remove_set(id),
                Timer::Control(id) => self.send_control(now, id),
                Timer::Queue(key) => self.expire_queue(now, key),
                Timer::OneTime(tag) => {
                    self.one_time.remove(&tag);
                }
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn start_job(&mut self, context: Context, work: Work) {
        let id = self.next_id();
        self.jobs.insert(id, context);
        self.events.push_back(SessionEvent::Job(SessionJob { id, work }));
    }

    /// The remote with this key, made if need be; the longest silent one goes when there are too many.
    fn remote(&mut self, now: Now, key: PublicKey) -> &mut Remote {
        if !self.remotes.contains_key(&key) && self.remotes.len() >= limits::REMOTES {
            // One that never answered goes before one that did.
            let rank = |remote: &Remote| {
                let established = remote.current.and_then(|id| self.sessions.get(&id));
                (established.is_some_and(|s| matches!(s.state, State::Established(_))), remote.active)
            };
            let oldest = self.remotes.iter().min_by_key(|(_, remote)| rank(remote)).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.remove_remote(&oldest);
            }
        }
        let remote = self.remotes.entry(key).or_default();
        remote.active = now.mono;
        remote
    }

    fn remove_remote(&mut self, key: &PublicKey) {
        let Some(remote) = self.remotes.remove(key) else { return };
        self.timers.cancel(&Timer::Queue(*key));
        for message in remote.queue {
            self.events.push_back(SessionEvent::Dropped { to: message.to, token: message.token });
        }
        for id in remote.sessions {
            self.remove_session(id);
        }
    }

    /// Removes a session with its tags; the remote stays while it has others or something to send.
    fn remove_session(&mut self, id: SessionId) {
        self.timers.cancel(&Timer::Session(id));
        self.timers.cancel(&Timer::Control(id));
        let sets: Vec<SetId> = self.sets.iter().filter(|(_, set)| set.session == id).map(|(id, _)| *id).collect();
        sets.into_iter().for_each(|set| self.remove_set(set));
        let Some(session) = self.sessions.remove(&id) else { return };
        if let Some(remote) = self.remotes.get_mut(&session.remote) {
            remote.sessions.retain(|other| *other != id);
            if remote.current == Some(id) {
                remote.current = None;
            }
            if remote.sessions.is_empty() && remote.queue.is_empty() && remote.creating == 0 {
                self.remotes.remove(&session.remote);
            }
        }
    }

    fn remove_set(&mut self, id: SetId) {
        self.timers.cancel(&Timer::Set(id));
        if let Some(set) = self.sets.remove(&id) {
            for (_, tag) in set.live {
                self.tags.remove(&tag);
            }
        }
    }

    /// `before` is what the set before this one has reached.
    fn add_set(&mut self, session: SessionId, chain: TagSet, replies: bool, before: u16) -> SetId {
        let id = self.next_id();
        self.sets.insert(id, InboundSet::new(session, chain, replies, before));
        self.fill(id);
        id
    }

    /// Makes tags up to the window in front, and forgets those far behind.
    fn fill(&mut self, id: SetId) {
        let most = state::most_ahead(self.tags.len());
        let Some(set) = self.sets.get_mut(&id) else { return };
        let until = set.reached.saturating_add(set.window(most));
        while set.chain.next_index() < until {
            let Some(entry) = set.chain.next_entry() else { break };
            // Of two equal tags the first one stays: the other message is lost, as it would be in any case.
            if let Entry::Vacant(vacant) = self.tags.entry(entry.tag) {
                vacant.insert(TagRef { set: id, index: entry.index, key: entry.key });
                set.live.push_back((entry.index, entry.tag));
            }
        }
        let from = set.reached.saturating_sub(state::MAX_WINDOW);
        while let Some((index, tag)) = set.live.front().copied() {
            if index >= from {
                break;
            }
            set.live.pop_front();
            self.tags.remove(&tag);
        }
    }

    /// Takes a tag out of the table and moves its set's window.
    fn use_tag(&mut self, tag: [u8; 8]) {
        let Some(used) = self.tags.remove(&tag) else { return };
        if let Some(set) = self.sets.get_mut(&used.set) {
            set.reached = set.reached.max(used.index.saturating_add(1));
            // In order of the index, and what is in front of a message that comes in order is what was lost.
            if let Ok(at) = set.live.binary_search_by_key(&used.index, |(index, _)| *index) {
                set.live.remove(at);
            }
        }
        self.fill(used.set);
    }

    fn emit_cloves(&mut self, from: Sender, blocks: Vec<Block>) {
        for block in blocks {
            if let Block::Clove(clove) = block {
                self.events.push_back(SessionEvent::Clove { from, clove });
            }
        }
    }
}
