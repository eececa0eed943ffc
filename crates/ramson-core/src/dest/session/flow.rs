//! How messages flow through sessions: which session takes an outgoing message, and what an incoming one changes.

use super::*;
use crate::dest::ratchet::handshake::{CreateNewSession, CreateReply, Ratchet, Ratcheted};
use state::{Candidate, LeaseSetState, Ratcheting};

impl Sessions {
    /// Sends what waits for the remote, as far as its sessions allow.
    pub(super) fn flush(&mut self, now: Now, key: PublicKey) {
        loop {
            let Some(remote) = self.remotes.get(&key) else { return };
            if remote.queue.is_empty() {
                self.timers.cancel(&Timer::Queue(key));
                return;
            }
            let current = remote.current;
            let sent = match current.and_then(|id| self.sessions.get(&id).map(|session| (id, session))) {
                None => self.send_new_session(now, key),
                Some((_, session)) if must_restart(session, now.mono) => {
                    if let Some(remote) = self.remotes.get_mut(&key) {
                        remote.current = None;
                    }
                    continue;
                }
                Some((id, session)) => match &session.state {
                    State::Initiating { reading: true } => false,
                    State::Initiating { reading: false } => self.send_new_session(now, key),
                    State::Responding(_) => self.send_reply(now, key, id),
                    State::Established(_) => self.send_existing(now, key, id),
                },
            };
            if !sent {
                break;
            }
        }
        let Some(remote) = self.remotes.get(&key) else { return };
        let Some(deadline) = remote.queue.front().map(|message| message.deadline) else { return };
        let next = remote.last_new_session.map(|at| at + NEW_SESSION_INTERVAL).filter(|at| *at > now.mono);
        self.timers.set(Timer::Queue(key), next.map_or(deadline, |next| next.min(deadline)));
    }

    pub(super) fn expire_queue(&mut self, now: Now, key: PublicKey) {
        let Some(remote) = self.remotes.get_mut(&key) else { return };
        while remote.queue.front().is_some_and(|message| message.deadline <= now.mono) {
            if let Some(message) = remote.queue.pop_front() {
                self.events.push_back(SessionEvent::Dropped { to: message.to, token: message.token });
            }
        }
        self.flush(now, key);
        self.remove_remote_if_empty(&key);
    }

    fn remove_remote_if_empty(&mut self, key: &PublicKey) {
        let empty = |r: &Remote| r.sessions.is_empty() && r.queue.is_empty() && r.creating == 0;
        if self.remotes.get(key).is_some_and(empty) {
            self.remotes.remove(key);
        }
    }

    fn send_new_session(&mut self, now: Now, key: PublicKey) -> bool {
        let Some(remote) = self.remotes.get(&key) else { return false };
        let waiting: Vec<(SessionId, &Session)> = remote
            .sessions
            .iter()
            .filter_map(|id| Some((*id, self.sessions.get(id)?)))
            .filter(|(_, session)| matches!(session.state, State::Initiating { .. }))
            .collect();
        if remote.last_new_session.is_some_and(|at| now.mono.since(at) < NEW_SESSION_INTERVAL) {
            return false;
        }
        if remote.creating + waiting.len() >= limits::PENDING_NEW_SESSIONS {
            // i2pd answers by the first of several for two minutes, Java by the last: one in between makes room.
            let idle = |session: &Session| {
                let reading = matches!(session.state, State::Initiating { reading: true });
                !reading && now.mono.since(session.created) >= REPLY_PATIENCE
            };
            let Some(spare) = waiting.iter().skip(1).find(|(_, session)| idle(session)).map(|(id, _)| *id) else {
                return false;
            };
            self.remove_session(spare);
        }
        let Some(remote) = self.remotes.get_mut(&key) else { return false };
        let Some(message) = remote.queue.pop_front() else { return false };
        remote.creating += 1;
        remote.last_new_session = Some(now.mono);
        let (payload, lease_set) = self.handshake_payload(now, true, true, &message.cloves);
        let context = Context::NewSession { remote: key, to: message.to, token: message.token, lease_set };
        let work = CreateNewSession { own: Some(self.own.clone()), peer: key, payload };
        self.start_job(context, Work::CreateNewSession(work));
        true
    }

    pub(super) fn new_session_created(
        &mut self,
        now: Now,
        key: PublicKey,
        to: Hash,
        token: u64,
        lease_set: u64,
        created: Option<NewSessionCreated>,
    ) {
        if let Some(remote) = self.remotes.get_mut(&key) {
            remote.creating = remote.creating.saturating_sub(1);
        }
        let Some(created) = created else {
            self.events.push_back(SessionEvent::Dropped { to, token });
            self.remove_remote_if_empty(&key);
            return;
        };
        let reply_tags = created.sent.reply_tags();
        let id = self.add_session(now, key, State::Initiating { reading: false });
        if let Some(session) = self.sessions.get_mut(&id) {
            session.sent = Some(created.sent);
            session.lease_set.in_flight = Some((lease_set, None, now.mono));
        }
        self.add_set(id, reply_tags, true, 0);
        let free = self.current_state(&key).is_none_or(|state| matches!(state, State::Initiating { reading: false }));
        if free && let Some(remote) = self.remotes.get_mut(&key) {
            remote.hash.get_or_insert(to);
            remote.current = Some(id);
        }
        self.emit_sealed(to, Some(token), &created.encrypted);
        self.flush(now, key);
    }

    fn send_reply(&mut self, now: Now, key: PublicKey, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let State::Responding(responding) = &mut session.state else { return false };
        if responding.reply_tags.next_index() >= limits::REPLIES_PER_NEW_SESSION {
            return false;
        }
        let Some(message) = self.remotes.get_mut(&key).and_then(|remote| remote.queue.pop_front()) else {
            return false;
        };
        let Some(entry) = responding.reply_tags.next_entry() else { return false };
        let received = responding.received.clone();
        let (payload, lease_set) = self.handshake_payload(now, false, entry.index == 0, &message.cloves);
        let context = Context::Reply { session: id, to: message.to, token: message.token, lease_set };
        self.start_job(context, Work::CreateReply(CreateReply { received, tag: entry.tag, payload }));
        true
    }

    pub(super) fn reply_created(
        &mut self,
        now: Now,
        id: SessionId,
        to: Hash,
        token: u64,
        lease_set: u64,
        reply: ReplyCreated,
    ) {
        let TagSets { send, receive } = reply.sets;
        let responding = self.sessions.get(&id).is_some_and(|s| matches!(s.state, State::Responding(_)));
        if responding {
            let set = self.add_set(id, receive, false, 0);
            if let Some(session) = self.sessions.get_mut(&id) {
                session.last_sent = now.mono;
                if lease_set != 0 {
                    session.lease_set.in_flight = Some((lease_set, None, now.mono));
                }
                if let State::Responding(responding) = &mut session.state {
                    responding.candidates.push(Candidate { set, send });
                }
            }
        }
        // A reply to a session that was established meanwhile still opens for the other side.
        self.emit_sealed(to, Some(token), &reply.encrypted);
    }

    fn send_existing(&mut self, now: Now, key: PublicKey, id: SessionId) -> bool {
        let Some(message) = self.remotes.get_mut(&key).and_then(|remote| remote.queue.pop_front()) else {
            return false;
        };
        match self.seal_existing(now, id, &message.cloves) {
            Some(encrypted) => self.emit_sealed(message.to, Some(message.token), &encrypted),
            None => {
                // The last tag set is used up: a new session follows.
                if let Some(remote) = self.remotes.get_mut(&key) {
                    remote.queue.push_front(message);
                    remote.current = None;
                }
            }
        }
        true
    }

    pub(super) fn send_control(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let State::Established(ratchet) = &session.state else { return };
        if session.acks.is_empty() && ratchet.reverse.is_none() && !session.must_send {
            return;
        }
        let Some(to) = self.remotes.get(&session.remote).and_then(|remote| remote.hash) else { return };
        if let Some(encrypted) = self.seal_existing(now, id, &[]) {
            self.emit_sealed(to, None, &encrypted);
        }
    }

    pub(super) fn read_new_session(&mut self, now: Now, encrypted: &[u8]) -> Result<(), SessionError> {
        // Shorter messages cannot hold a DateTime block; most often they are late ones of a session that is gone.
        if encrypted.len() < crate::dest::ratchet::handshake::NEW_SESSION_OVERHEAD + 7 {
            return Err(SessionError::Undecryptable);
        }
        if self.reading >= limits::NEW_SESSION_JOBS || !self.reads.take(now.mono) {
            return Err(SessionError::Busy);
        }
        self.reading += 1;
        let work = ReadNewSession { own: self.own.clone(), encrypted: encrypted.to_vec() };
        self.start_job(Context::ReadNewSession, Work::ReadNewSession(work));
        Ok(())
    }

    pub(super) fn new_session_read(&mut self, now: Now, read: NewSessionRead) -> Result<(), SessionError> {
        let blocks = Block::decode_all(&read.payload)?;
        let date = leading_date_time(&blocks)?;
        let here = now.unix_secs();
        if date < here.saturating_sub(DATE_BEHIND) || date > here.saturating_add(DATE_AHEAD) {
            return Err(SessionError::Skewed);
        }
        if !self.replays.insert(now.mono, &read.ephemeral.0) {
            return Err(SessionError::Replayed);
        }
        let Some(received) = read.received else {
            self.emit_cloves(Sender::Anonymous, blocks);
            return Ok(());
        };
        let key = received.peer;
        let reply_tags = received.reply_tags();
        self.remote(now, key);
        let responding = Responding { received, reply_tags, candidates: Vec::new() };
        let id = self.add_session(now, key, State::Responding(Box::new(responding)));
        let keep = self.remotes.get(&key).and_then(|r| r.current).and_then(|id| self.sessions.get(&id)).is_some_and(
            |session| {
                matches!(session.state, State::Established(_))
                    && now.mono.since(session.created) < RESTART_AFTER
                    && now.mono.since(session.last_received) < SILENT
            },
        );
        if !keep && let Some(remote) = self.remotes.get_mut(&key) {
            remote.current = Some(id);
        }
        self.emit_cloves(Sender::Static(key), blocks);
        self.flush(now, key);
        Ok(())
    }

    pub(super) fn read_reply(&mut self, tag: [u8; 8], encrypted: &[u8]) -> Result<(), SessionError> {
        let id = self.tags.get(&tag).and_then(|found| self.sets.get(&found.set)).map(|set| set.session);
        let Some((id, session)) = id.and_then(|id| Some((id, self.sessions.get_mut(&id)?))) else {
            return Err(SessionError::Undecryptable);
        };
        let Some(sent) = session.sent.clone() else { return Err(SessionError::Undecryptable) };
        if let State::Initiating { reading } = &mut session.state {
            *reading = true;
        }
        // The tag goes at once, so that copies of the message make no further work.
        self.use_tag(tag);
        let work = ReadReply { own: self.own.clone(), sent, encrypted: encrypted.to_vec() };
        self.start_job(Context::ReadReply { session: id }, Work::ReadReply(work));
        Ok(())
    }

    pub(super) fn stop_reading(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let key = session.remote;
        if let State::Initiating { reading } = &mut session.state {
            *reading = false;
        }
        self.flush(now, key);
    }

    pub(super) fn reply_read(&mut self, now: Now, id: SessionId, read: ReplyRead) -> Result<(), SessionError> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        let key = session.remote;
        note_received(session, now.mono);
        if let Some((version, _, _)) = session.lease_set.in_flight.take() {
            session.lease_set.confirmed = session.lease_set.confirmed.max(version);
        }
        if matches!(session.state, State::Initiating { .. }) {
            let TagSets { send, receive } = read.sets;
            let set = self.add_set(id, receive, false, 0);
            self.establish(now, id, Ratcheting::new(send, set));
            // The other side can use the session only after a message under its tags.
            if let Some(session) = self.sessions.get_mut(&id) {
                session.must_send = true;
                self.timers.set_sooner(Timer::Control(id), now.mono + CONTROL_DELAY);
            }
        }
        let blocks = Block::decode_all(&read.payload);
        self.flush(now, key);
        self.emit_cloves(Sender::Static(key), blocks?);
        Ok(())
    }

    fn establish(&mut self, now: Now, id: SessionId, ratchet: Ratcheting) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.state = State::Established(Box::new(ratchet));
        session.created = now.mono;
        self.timers.set(Timer::Session(id), now.mono + SEND_TIMEOUT);
        if let Some(remote) = self.remotes.get_mut(&session.remote) {
            remote.current = Some(id);
        }
    }

    pub(super) fn read_existing(&mut self, now: Now, tag: [u8; 8], encrypted: &[u8]) -> Result<(), SessionError> {
        let Some(found) = self.tags.get(&tag) else { return Err(SessionError::Undecryptable) };
        let (set_id, index) = (found.set, found.index);
        let mut data = encrypted.get(8..).unwrap_or_default().to_vec();
        // A message that does not open keeps its tag: the right one may still come.
        let opened = AeadKey::new(&found.key).open(u64::from(index), &tag, &mut data);
        let payload = opened.map_err(|_| SessionError::Undecryptable)?;
        let blocks = Block::decode_all(payload);
        self.use_tag(tag);
        let Some(set) = self.sets.get(&set_id) else { return Err(SessionError::Undecryptable) };
        let (id, chain_id) = (set.session, set.chain.id());
        self.promote(now, id, set_id);
        let Some(session) = self.sessions.get_mut(&id) else { return Err(SessionError::Undecryptable) };
        let key = session.remote;
        note_received(session, now.mono);
        if let State::Established(ratchet) = &mut session.state
            && ratchet.receive == set_id
        {
            ratchet.reverse = None;
        }
        if let Some(remote) = self.remotes.get_mut(&key) {
            remote.active = now.mono;
        }
        // A session that was given up answers after all. One that the other side cannot read is no better for that.
        let readable = self.sessions.get(&id).is_some_and(|session| !is_unread(session, now.mono));
        if readable
            && self.current_state(&key).is_none_or(|state| matches!(state, State::Initiating { .. }))
            && let Some(remote) = self.remotes.get_mut(&key)
        {
            remote.current = Some(id);
        }
        let result = blocks.map(|blocks| self.handle_blocks(now, id, (set_id, chain_id, index), blocks));
        self.flush(now, key);
        Ok(result?)
    }

    /// The first message under a candidate's tags establishes the session.
    fn promote(&mut self, now: Now, id: SessionId, set: SetId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::Responding(responding) = &mut session.state else { return };
        let Some(chosen) = responding.candidates.iter().position(|candidate| candidate.set == set) else { return };
        let chosen = responding.candidates.swap_remove(chosen);
        let others: Vec<SetId> = responding.candidates.iter().map(|candidate| candidate.set).collect();
        if let Some((version, None, _)) = session.lease_set.in_flight {
            session.lease_set.confirmed = version;
            session.lease_set.in_flight = None;
        }
        others.into_iter().for_each(|set| self.remove_set(set));
        self.establish(now, id, Ratcheting::new(chosen.send, chosen.set));
    }

    fn current_state(&self, key: &PublicKey) -> Option<&State> {
        let id = self.remotes.get(key)?.current?;
        Some(&self.sessions.get(&id)?.state)
    }

    fn add_session(&mut self, now: Now, key: PublicKey, state: State) -> SessionId {
        let id = self.next_id();
        let remote = self.remote(now, key);
        remote.sessions.push(id);
        let spare = match remote.sessions.len() > limits::SESSIONS_PER_REMOTE {
            true => remote.sessions.iter().copied().find(|other| Some(*other) != remote.current && *other != id),
            false => None,
        };
        let session = Session {
            remote: key,
            state,
            sent: None,
            created: now.mono,
            last_received: now.mono,
            last_sent: now.mono,
            unanswered_since: None,
            last_ack_request: None,
            acknowledges: false,
            doubt: Doubt::No,
            acks: Vec::new(),
            must_send: false,
            lease_set: LeaseSetState::default(),
        };
        self.sessions.insert(id, session);
        self.timers.set(Timer::Session(id), now.mono + HANDSHAKE_TIMEOUT);
        if let Some(spare) = spare {
            self.remove_session(spare);
        }
        id
    }

    pub(super) fn check_idle(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let key = session.remote;
        let until = match session.state {
            State::Established(_) => (session.last_received + RECEIVE_TIMEOUT).max(session.last_sent + SEND_TIMEOUT),
            _ => session.created + HANDSHAKE_TIMEOUT,
        };
        if until > now.mono {
            self.timers.set(Timer::Session(id), until);
            return;
        }
        self.remove_session(id);
        self.flush(now, key);
    }

    pub(super) fn forward_drawn(&mut self, id: SessionId, done: Ratcheted) {
        let Some(ratchet) = self.ratchet_mut(id) else { return };
        if !matches!(ratchet.forward, Forward::Drawing) {
            return;
        }
        let step = Step::to(ratchet.send.id().saturating_add(1));
        ratchet.forward = Forward::Asking(NextKey {
            reverse: false,
            request_reverse: step.receiver_new,
            id: step.sender_id,
            key: Some(done.own_public),
        });
        ratchet.send_own = Some((done.own, done.own_public));
    }

    pub(super) fn forward_derived(&mut self, id: SessionId, peer: PublicKey, done: Ratcheted) {
        let Some(ratchet) = self.ratchet_mut(id) else { return };
        if let Some(set) = done.set {
            ratchet.send = set;
            ratchet.send_peer = Some(peer);
        }
        ratchet.forward = Forward::Idle;
    }

    pub(super) fn receive_derived(&mut self, now: Now, id: SessionId, peer: PublicKey, step: Step, done: Ratcheted) {
        let Some(chain) = done.set else { return };
        let before = self.ratchet_mut(id).map(|ratchet| ratchet.receive);
        let before = before.and_then(|set| self.sets.get(&set)).map_or(0, |set| set.reached);
        let set = self.add_set(id, chain, false, before);
        let Some(ratchet) = self.ratchet_mut(id) else {
            self.remove_set(set);
            return;
        };
        let old = std::mem::replace(&mut ratchet.receive, set);
        ratchet.receive_id = step.set;
        ratchet.receive_peer = Some(peer);
        ratchet.receive_own = Some(done.own);
        ratchet.deriving_receive = false;
        ratchet.reverse = Some(NextKey {
            reverse: true,
            request_reverse: false,
            id: step.receiver_id,
            key: step.receiver_new.then_some(done.own_public),
        });
        self.timers.set(Timer::Set(old), now.mono + PREVIOUS_SET_KEPT);
        // What is two sets late is lost. At full speed sets follow each other many times a second, and their tags would
        // take the room that the newest one needs.
        let sets = self.sets.iter().filter(|(_, set)| set.session == id && !set.replies).map(|(id, _)| *id);
        let mut sets: Vec<SetId> = sets.collect();
        sets.sort_unstable();
        sets.truncate(sets.len().saturating_sub(KEPT_SETS));
        sets.into_iter().for_each(|set| self.remove_set(set));
        self.timers.set_sooner(Timer::Control(id), now.mono + CONTROL_DELAY);
    }

    /// The other side's key was of no use; its next block may be better. The own key and its id stay.
    pub(super) fn ratchet_failed(&mut self, id: SessionId) {
        let Some(ratchet) = self.ratchet_mut(id) else { return };
        ratchet.deriving_receive = false;
        let step = Step::to(ratchet.send.id().saturating_add(1));
        ratchet.forward = match (&ratchet.forward, &ratchet.send_own) {
            (Forward::Deriving, Some((_, public))) => Forward::Asking(NextKey {
                reverse: false,
                request_reverse: step.receiver_new,
                id: step.sender_id,
                key: step.sender_new.then_some(*public),
            }),
            (Forward::Asking(block), _) => Forward::Asking(*block),
            _ => Forward::Idle,
        };
    }

    pub(super) fn ratchet_mut(&mut self, id: SessionId) -> Option<&mut Ratcheting> {
        match &mut self.sessions.get_mut(&id)?.state {
            State::Established(ratchet) => Some(ratchet),
            _ => None,
        }
    }

    pub(super) fn start_ratchet(
        &mut self,
        context: Context,
        own: Option<SecretKey>,
        step: Option<(PublicKey, Secret, u16)>,
    ) {
        self.start_job(context, Work::Ratchet(Ratchet { own, step }));
    }

    fn emit_sealed(&mut self, to: Hash, token: Option<u64>, encrypted: &[u8]) {
        self.events.push_back(SessionEvent::Sealed { to, token, body: ramson_wire::garlic::frame(encrypted) });
    }
}

/// Between two New Sessions to one remote: i2pd drops those that come within 200 ms of another one, whoever sent that.
/// What waits goes by the session as soon as the first one is answered.
pub(super) const NEW_SESSION_INTERVAL: Duration = Duration::from_millis(300);

/// Tag sets of one session by which messages are read: the newest, and those that late ones come by.
const KEPT_SETS: usize = 3;

/// An unanswered New Session that is neither the first nor the last may be forgotten after this.
const REPLY_PATIENCE: Duration = Duration::from_secs(5);

/// The other side does not answer any more, or does not read: perhaps it lost the session.
fn must_restart(session: &Session, now: Instant) -> bool {
    let unanswered = now.since(session.created) > RESTART_AFTER
        && session.unanswered_since.is_some_and(|since| now.since(since) > UNANSWERED);
    matches!(session.state, State::Established(_)) && (unanswered || is_unread(session, now))
}

/// The other side may send, and yet cannot read what it gets: more messages in a row were lost than its tags reach over. One
/// that has acknowledged nothing at all may have read nothing of this session, whose tags reach over few messages at first; or
/// it never acknowledges, and then a session more costs little.
fn is_unread(session: &Session, now: Instant) -> bool {
    let patience = if session.acknowledges { UNREAD } else { UNREAD_SO_FAR };
    matches!(session.doubt, Doubt::Asked(_, at) if now.since(at) > patience)
}

/// So long after the first of several unanswered messages a new session is tried: sooner than a connect gives up, so
/// that one outlives a session that the other side has lost.
const UNANSWERED: Duration = Duration::from_secs(40);

/// So long after a message that asked for an ack, while streams saw their packets lost, a session is not read any more.
const UNREAD: Duration = Duration::from_secs(10);
/// The same of a session of which nothing was ever acknowledged: soon enough for who waits for a connect.
const UNREAD_SO_FAR: Duration = Duration::from_secs(15);

/// An established session by which nothing came for so long makes room for a new one that the other side begins.
const SILENT: Duration = Duration::from_secs(5);

fn note_received(session: &mut Session, now: Instant) {
    session.last_received = now;
    session.unanswered_since = None;
}
