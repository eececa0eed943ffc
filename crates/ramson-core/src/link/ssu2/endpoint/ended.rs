//! Sessions that are over. Each answers what still comes with a Termination, more and more seldom, by the little that this
//! needs; they take no room from sessions that stand or begin. <https://geti2p.net/spec/ssu2#session-termination>

use super::{ConnId, Endpoint, Event, Sealer, Session, State, Timer};
use crate::limits::ssu2 as limits;
use crate::time::{Duration, Instant, Now};
use ramson_wire::ssu2::{Block, ConnectionId, Termination, TerminationReason};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// How long a session that has ended answers late packets. i2pd keeps an ended session for 23 to 28 seconds unless it
/// hears of its end once more, and sends by it all that while, even when there is a newer one.
const DRAIN: Duration = Duration::from_secs(30);

/// What is left of a session.
struct Ended {
    addr: SocketAddr,
    /// The connection ID in packets to us.
    own: ConnectionId,
    /// Each Termination is a packet of its own: one that came before is a duplicate, which peers do not look at.
    sealer: Sealer,
    /// Packets that we had opened.
    opened: u64,
    /// The peer knows, since it has ended the session: it is answered once, and again only when it asks twice.
    told: bool,
    came: u32,
    until: Instant,
}

/// All of them.
#[derive(Default)]
pub(super) struct EndedSessions {
    sessions: BTreeMap<ConnId, Ended>,
    by_age: BTreeSet<(Instant, ConnId)>,
}

impl EndedSessions {
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        assert_eq!(self.sessions.len(), self.by_age.len());
        self.sessions.len()
    }
}

impl Endpoint {
    /// Ends a session that stands, telling the peer why, and with why the peer has told if it has.
    pub(super) fn end(&mut self, now: Now, id: ConnId, reason: TerminationReason, told: Option<TerminationReason>) {
        if !self.sessions.get(&id).is_some_and(|session| matches!(session.state, State::Up(_))) {
            return self.remove(id, told);
        }
        let Some(Session { addr, inbound, ids, state: State::Up(up), .. }) = self.take(id) else { return };
        let own = if inbound { ids.responder } else { ids.initiator };
        let opened = up.opener.opened();
        while self.ended.sessions.len() >= limits::ENDED
            && let Some((_, oldest)) = self.ended.by_age.first().copied()
        {
            self.forget_ended(oldest);
        }
        let until = now.mono + DRAIN;
        let ended = Ended { addr, own, sealer: up.sealer, opened, told: told.is_some(), came: 0, until };
        self.ended.sessions.insert(id, ended);
        self.ended.by_age.insert((until, id));
        self.timers.set((id, Timer::Deadline), until);
        self.say_ended(id, reason);
        if reason == TerminationReason::ROUTER_SHUTDOWN {
            // We are not there any more when the peer answers, and must be for i2pd to forget the session: this says so.
            self.say_ended(id, TerminationReason::TERMINATION_RECEIVED);
        }
        self.events.push_back(Event::Down { id, reason: told });
    }

    /// Sends a Termination in a session that has ended.
    fn say_ended(&mut self, id: ConnId, reason: TerminationReason) {
        let padding = self.rng.below(32);
        let Some(ended) = self.ended.sessions.get_mut(&id) else { return };
        let mut bytes = Vec::new();
        Sealer::begin(&mut bytes);
        Termination { packets_received: ended.opened, reason }.encode(&mut bytes);
        Block::encode_padding(&mut bytes, padding);
        let number = ended.sealer.next();
        if ended.sealer.finish(&mut bytes, number, false) {
            self.events.push_back(Event::Datagram { to: ended.addr, bytes });
        }
    }

    /// A packet has come with the connection ID of a session that is over.
    pub(super) fn of_ended(&mut self, id: ConnId, from: SocketAddr) {
        let Some(ended) = self.ended.sessions.get_mut(&id).filter(|ended| ended.addr == from) else {
            self.stats.dropped += 1;
            return;
        };
        ended.came = ended.came.saturating_add(1);
        if ended.came.is_power_of_two() && !(ended.told && ended.came == 1) {
            self.say_ended(id, TerminationReason::TERMINATION_RECEIVED);
        }
    }

    pub(super) fn forget_ended(&mut self, id: ConnId) {
        let Some(ended) = self.ended.sessions.remove(&id) else { return };
        self.ended.by_age.remove(&(ended.until, id));
        self.ids.remove(&ended.own);
        self.timers.cancel(&(id, Timer::Deadline));
    }
}
