//! What goes into payloads besides the messages themselves, and what comes out of them.

use super::*;
use ramson_wire::codec::Encode;
use ramson_wire::garlic::block::{Ack, Delivery};
use ramson_wire::i2np::{Kind, Message};

/// How often a message asks for an ack of itself.
const ACK_REQUEST_INTERVAL: Duration = Duration::from_secs(30);
/// An own LeaseSet that is not acknowledged is sent again.
const LEASE_SET_RETRY: Duration = Duration::from_secs(10);
/// How long the message with the own LeaseSet is good for.
const LEASE_SET_CLOVE_MS: u64 = 60_000;

impl Sessions {
    /// The payload of New Session messages and replies, and the version of the LeaseSet in it (0 for none).
    pub(super) fn handshake_payload(
        &mut self,
        now: Now,
        dated: bool,
        lease_set: bool,
        cloves: &[u8],
    ) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        if dated {
            Block::DateTime(now.unix_secs()).encode(&mut out);
        }
        let version = if lease_set { self.push_lease_set(now, &mut out) } else { 0 };
        out.extend_from_slice(cloves);
        self.push_padding(&mut out);
        (out, version)
    }

    /// An Existing Session message with what the session owes and asks. None when its tag set is used up.
    pub(super) fn seal_existing(&mut self, now: Now, id: SessionId, cloves: &[u8]) -> Option<Vec<u8>> {
        let after = self.ratchet_after;
        let newest = self.lease_set.as_ref().map_or(0, |(version, _)| *version);
        let session = self.sessions.get_mut(&id)?;
        let State::Established(ratchet) = &mut session.state else { return None };
        let entry = ratchet.send.next_entry()?;
        let this = Ack { tag_set: ratchet.send.id(), index: entry.index };
        let mut out = Vec::with_capacity(cloves.len() + 256);
        if !session.acks.is_empty() {
            Block::Ack(std::mem::take(&mut session.acks)).encode(&mut out);
        }
        let forward = match &ratchet.forward {
            Forward::Asking(next) => Some(*next),
            _ => None,
        };
        for next in [ratchet.reverse, forward].into_iter().flatten() {
            Block::NextKey(next).encode(&mut out);
        }
        session.must_send = false;
        session.last_sent = now.mono;
        session.unanswered_since.get_or_insert(now.mono);
        let in_flight = session
            .lease_set
            .in_flight
            .filter(|(version, _, at)| *version == newest && now.mono.since(*at) < LEASE_SET_RETRY);
        let with_lease_set = session.lease_set.confirmed < newest && in_flight.is_none();
        if with_lease_set {
            session.lease_set.in_flight = Some((newest, Some(this), now.mono));
        }
        let asked = session.last_ack_request.is_some_and(|at| now.mono.since(at) < ACK_REQUEST_INTERVAL);
        if with_lease_set || !asked {
            session.last_ack_request = Some(now.mono);
            Block::AckRequest.encode(&mut out);
            if matches!(session.doubt, Doubt::Ask) {
                session.doubt = Doubt::Asked(this, now.mono);
            }
        }
        let begin = entry.index >= after && matches!(ratchet.forward, Forward::Idle) && ratchet.send.id() < u16::MAX;
        if with_lease_set {
            self.push_lease_set(now, &mut out);
        }
        out.extend_from_slice(cloves);
        self.push_padding(&mut out);
        if begin {
            self.begin_forward(id);
        }
        let mut encrypted = Vec::with_capacity(8 + out.len() + 16);
        encrypted.extend_from_slice(&entry.tag);
        encrypted.append(&mut out);
        AeadKey::new(&entry.key).seal_tail(u64::from(entry.index), &entry.tag, &mut encrypted, 8);
        Some(encrypted)
    }

    /// Starts the step to the next tag set; its block goes with the next messages.
    fn begin_forward(&mut self, id: SessionId) {
        let Some(ratchet) = self.ratchet_mut(id) else { return };
        let step = Step::to(ratchet.send.id().saturating_add(1));
        if step.sender_new {
            ratchet.forward = Forward::Drawing;
            self.start_ratchet(Context::DrawForward { session: id }, None, None);
        } else {
            let block = NextKey { reverse: false, request_reverse: true, id: step.sender_id, key: None };
            ratchet.forward = Forward::Asking(block);
        }
    }

    /// The blocks of an Existing Session message that came under (set, the set's id, index).
    pub(super) fn handle_blocks(&mut self, now: Now, id: SessionId, at: (SetId, u16, u16), blocks: Vec<Block>) {
        let Some(key) = self.sessions.get(&id).map(|session| session.remote) else { return };
        let mut terminated = false;
        let mut requested = false;
        for block in blocks {
            match block {
                Block::Clove(clove) => {
                    self.events.push_back(SessionEvent::Clove { from: Sender::Static(key), clove });
                }
                Block::NextKey(next) if next.reverse => self.handle_reverse(id, &next),
                Block::NextKey(next) => self.handle_forward(now, id, at.0, &next),
                Block::Ack(acks) => self.handle_acks(id, &acks),
                Block::AckRequest => requested = true,
                Block::Termination { .. } => terminated = true,
                Block::DateTime(_) | Block::Options(_) | Block::MessageNumber(_) | Block::Padding(_) => {}
            }
        }
        if terminated {
            self.remove_session(id);
        } else if requested && let Some(session) = self.sessions.get_mut(&id) {
            // However many requests a message holds, it is acknowledged once.
            if session.acks.len() < limits::PENDING_ACKS {
                session.acks.push(Ack { tag_set: at.1, index: at.2 });
            }
            self.timers.set_sooner(Timer::Control(id), now.mono + CONTROL_DELAY);
        }
    }

    fn handle_acks(&mut self, id: SessionId, acks: &[Ack]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.acknowledges = true;
        if let Doubt::Asked(first, _) = session.doubt
            && acks.iter().any(|ack| (ack.tag_set, ack.index) >= (first.tag_set, first.index))
        {
            session.doubt = Doubt::No;
        }
        if let Some((version, Some(message), _)) = session.lease_set.in_flight
            && acks.contains(&message)
        {
            session.lease_set.confirmed = session.lease_set.confirmed.max(version);
            session.lease_set.in_flight = None;
        }
    }

    /// The other side wants to step to its next tag set.
    fn handle_forward(&mut self, now: Now, id: SessionId, set: SetId, next: &NextKey) {
        let root = match self.sets.get(&set) {
            Some(set) => set.chain.next_root().clone(),
            None => return,
        };
        let Some(ratchet) = self.ratchet_mut(id) else { return };
        if ratchet.reverse.is_some() {
            // Asked again: the answer was lost, or is under way.
            self.timers.set_sooner(Timer::Control(id), now.mono + CONTROL_DELAY);
            return;
        }
        let Some(wanted) = ratchet.receive_id.checked_add(1) else { return };
        let step = Step::to(wanted);
        let matching = next.id == step.sender_id && next.request_reverse == step.receiver_new;
        if set != ratchet.receive || ratchet.deriving_receive || !matching {
            return;
        }
        let Some(peer) = (if step.sender_new { next.key } else { ratchet.receive_peer }) else { return };
        let own = if step.receiver_new { None } else { ratchet.receive_own.clone() };
        if own.is_none() && !step.receiver_new {
            return;
        }
        ratchet.deriving_receive = true;
        self.start_ratchet(Context::DeriveReceive { session: id, peer, step }, own, Some((peer, root, wanted)));
    }

    /// The other side answers the own step.
    fn handle_reverse(&mut self, id: SessionId, next: &NextKey) {
        let Some(ratchet) = self.ratchet_mut(id) else { return };
        if !matches!(ratchet.forward, Forward::Asking(_)) {
            return;
        }
        let step = Step::to(ratchet.send.id().saturating_add(1));
        if next.id != step.receiver_id {
            return;
        }
        let Some(peer) = (if step.receiver_new { next.key } else { ratchet.send_peer }) else { return };
        let Some((own, _)) = ratchet.send_own.clone() else { return };
        let root = ratchet.send.next_root().clone();
        ratchet.forward = Forward::Deriving;
        self.start_ratchet(Context::DeriveForward { session: id, peer }, Some(own), Some((peer, root, step.set)));
    }

    /// Appends the own LeaseSet; its version, or 0 when there is none.
    fn push_lease_set(&mut self, now: Now, out: &mut Vec<u8>) -> u64 {
        let Some((version, store)) = &self.lease_set else { return 0 };
        let message = Message {
            kind: Kind::DATABASE_STORE,
            id: self.rng.nonzero_u32(),
            expiration: now.unix_ms.saturating_add(LEASE_SET_CLOVE_MS),
            body: store.clone(),
        };
        Block::Clove(Clove { delivery: Delivery::Local, message }).encode(out);
        *version
    }

    fn push_padding(&mut self, out: &mut Vec<u8>) {
        let len = u16::try_from(self.rng.below(16)).unwrap_or(0);
        Block::Padding(len).encode(out);
    }
}
