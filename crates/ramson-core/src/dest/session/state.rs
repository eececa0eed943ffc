//! One session: its state, and the ratchet once it is established.

use crate::dest::ratchet::TagSet;
use crate::dest::ratchet::handshake::{NewSessionReceived, NewSessionSent};
use crate::limits::dest as limits;
use crate::time::Instant;
use ramson_wire::crypto::x25519::{PublicKey, SecretKey};
use ramson_wire::garlic::block::{Ack, NextKey};
use std::collections::VecDeque;

pub(super) type SessionId = u64;
pub(super) type SetId = u64;

pub(super) struct Session {
    pub(super) remote: PublicKey,
    pub(super) state: State,
    /// Kept as long as the session, since replies may come late.
    pub(super) sent: Option<NewSessionSent>,
    pub(super) created: Instant,
    pub(super) last_received: Instant,
    pub(super) last_sent: Instant,
    /// The first message since the last one that came back.
    pub(super) unanswered_since: Option<Instant>,
    pub(super) last_ack_request: Option<Instant>,
    /// The other side has acknowledged something.
    pub(super) acknowledges: bool,
    pub(super) doubt: Doubt,
    pub(super) acks: Vec<Ack>,
    /// The other side waits for any message on this session.
    pub(super) must_send: bool,
    pub(super) lease_set: LeaseSetState,
}

/// Whether what is sent still arrives, and can be read.
#[derive(Clone, Copy)]
pub(super) enum Doubt {
    No,
    /// The next message is to ask for an ack of itself.
    Ask,
    /// The first message that did, and when it left.
    Asked(Ack, Instant),
}

/// What the other side knows of the own LeaseSet; versions count from 1.
#[derive(Default)]
pub(super) struct LeaseSetState {
    pub(super) confirmed: u64,
    /// The version under way, the message that carries it, and when it left.
    pub(super) in_flight: Option<(u64, Option<Ack>, Instant)>,
}

pub(super) enum State {
    /// New Session sent. While a reply is being read, further messages wait.
    Initiating {
        reading: bool,
    },
    /// New Session received.
    Responding(Box<Responding>),
    Established(Box<Ratcheting>),
}

pub(super) struct Responding {
    pub(super) received: NewSessionReceived,
    pub(super) reply_tags: TagSet,
    /// One for each reply that was sent; the first Existing Session message chooses.
    pub(super) candidates: Vec<Candidate>,
}

pub(super) struct Candidate {
    pub(super) set: SetId,
    pub(super) send: TagSet,
}

/// Both directions of an established session.
pub(super) struct Ratcheting {
    pub(super) send: TagSet,
    pub(super) forward: Forward,
    /// Own and received key of the sending direction.
    pub(super) send_own: Option<(SecretKey, PublicKey)>,
    pub(super) send_peer: Option<PublicKey>,
    /// The newest set of the receiving direction.
    pub(super) receive: SetId,
    pub(super) receive_id: u16,
    pub(super) receive_own: Option<SecretKey>,
    pub(super) receive_peer: Option<PublicKey>,
    pub(super) deriving_receive: bool,
    /// Goes with every message until one comes under the newest set.
    pub(super) reverse: Option<NextKey>,
}

/// The step to the next tag set of the sending direction.
pub(super) enum Forward {
    Idle,
    /// A new key is drawn.
    Drawing,
    /// This block goes with every message until the reverse block comes.
    Asking(NextKey),
    /// The new set is derived.
    Deriving,
}

impl Ratcheting {
    pub(super) const fn new(send: TagSet, receive: SetId) -> Self {
        Self {
            send,
            forward: Forward::Idle,
            send_own: None,
            send_peer: None,
            receive,
            receive_id: 0,
            receive_own: None,
            receive_peer: None,
            deriving_receive: false,
            reverse: None,
        }
    }
}

/// Which keys lead to a tag set: ids of sender and receiver, and whose is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) set: u16,
    pub(super) sender_id: u16,
    pub(super) sender_new: bool,
    pub(super) receiver_id: u16,
    pub(super) receiver_new: bool,
}

impl Step {
    /// The step to tag set `set` (1 or more): both keys are new for the first one, then the sender's for even and
    /// the receiver's for odd ones; the set's id is 1 + both ids.
    pub(super) const fn to(set: u16) -> Self {
        let even = set.is_multiple_of(2);
        let half = set / 2;
        Self {
            set,
            sender_id: half,
            sender_new: even || set == 1,
            receiver_id: if even { half.saturating_sub(1) } else { half },
            receiver_new: !even,
        }
    }
}

/// A set of tags by which messages come in.
pub(super) struct InboundSet {
    pub(super) session: SessionId,
    pub(super) chain: TagSet,
    /// Replies to a New Session message (else Existing Session messages).
    pub(super) replies: bool,
    /// Tags that are in the table, in the order of their index.
    pub(super) live: VecDeque<(u16, [u8; 8])>,
    /// One more than the highest index that came.
    pub(super) reached: u16,
    /// What the set before this one had reached.
    before: u16,
}

impl InboundSet {
    pub(super) const fn new(session: SessionId, chain: TagSet, replies: bool, before: u16) -> Self {
        Self { session, chain, replies, live: VecDeque::new(), reached: 0, before }
    }

    /// How many tags stand ready in front of the highest index that came, at most `most`. A sender's streams have so
    /// much in flight as they have sent before, by several tunnels: where one of them loses all of that, what comes by
    /// the others must still be read, or the session is lost. A later set goes on where the one before it was: the sender
    /// has as much in flight when it begins.
    pub(super) fn window(&self, most: u16) -> u16 {
        match (self.replies, self.chain.id()) {
            (true, _) => 12,
            (false, 0) => self.reached.saturating_add(24).min(most),
            (false, _) => self.reached.max(self.before).saturating_add(MIN_WINDOW).min(most),
        }
    }
}

/// How many tags a set may have ready, where all sets together have `tags`.
pub(super) const fn most_ahead(tags: usize) -> u16 {
    if tags < limits::TAGS { MAX_WINDOW } else { MIN_WINDOW }
}

/// Tags in front of the highest index of a later set at least, and the most where memory is short.
pub(super) const MIN_WINDOW: u16 = 160;
/// Tags in front of, and kept behind, the highest index that came: i2pd's streams have 512 packets in flight each.
pub(super) const MAX_WINDOW: u16 = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    /// The window grows with what came, and no further than memory allows; replies have few tags, always.
    #[test]
    fn windows_grow_within_their_bounds() {
        let set = |id, replies| InboundSet::new(1, TagSet::new(id, &[1; 32], &[2; 32]), replies, 0);
        let (plenty, short) = (most_ahead(0), most_ahead(limits::TAGS));
        let mut first = set(0, false);
        let mut later = set(1, false);
        assert_eq!((first.window(plenty), later.window(plenty)), (24, MIN_WINDOW));
        (first.reached, later.reached) = (100, 100);
        assert_eq!((first.window(plenty), later.window(plenty)), (124, 100 + MIN_WINDOW));
        assert_eq!((first.window(short), later.window(short)), (124, MIN_WINDOW));
        (first.reached, later.reached) = (u16::MAX, u16::MAX);
        assert_eq!((first.window(plenty), later.window(plenty)), (MAX_WINDOW, MAX_WINDOW));
        assert_eq!((first.window(short), later.window(short)), (MIN_WINDOW, MIN_WINDOW));
        later = InboundSet::new(1, TagSet::new(2, &[1; 32], &[2; 32]), false, 100);
        assert_eq!((later.window(plenty), later.window(short)), (100 + MIN_WINDOW, MIN_WINDOW), "as the one before");
        later.before = 5_000;
        assert_eq!((later.window(plenty), later.window(short)), (MAX_WINDOW, MIN_WINDOW));
        let mut replies = set(0, true);
        replies.reached = 11;
        assert_eq!((replies.window(plenty), replies.window(short)), (12, 12));
        assert_eq!(most_ahead(limits::TAGS - 1), MAX_WINDOW);
    }

    /// The table of proposal 144, "KEY AND TAG SET IDS".
    #[test]
    fn steps_follow_the_table() {
        let step = |set, sender_id, sender_new, receiver_id, receiver_new| Step {
            set,
            sender_id,
            sender_new,
            receiver_id,
            receiver_new,
        };
        for expected in [
            step(1, 0, true, 0, true),
            step(2, 1, true, 0, false),
            step(3, 1, false, 1, true),
            step(4, 2, true, 1, false),
            step(5, 2, false, 2, true),
            step(65_534, 32_767, true, 32_766, false),
            step(65_535, 32_767, false, 32_767, true),
        ] {
            assert_eq!(Step::to(expected.set), expected);
            assert_eq!(u32::from(expected.set), 1 + u32::from(expected.sender_id) + u32::from(expected.receiver_id));
        }
    }
}
