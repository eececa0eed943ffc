//! Questions that others have for us. <https://geti2p.net/spec/i2np#msg-DatabaseLookup>
//!
//! A floodfill answers from what was stored at it (`netdb::serve`). Else there is one thing to tell: our own RouterInfo.
//! Whoever asks for another router is then told that we have it not, and is referred to nobody. Some RouterInfos are in the
//! store because a reply to one of our destinations named them: who learns that we know them learns whose router we
//! are (threats P-10). For the same reason nothing of a LeaseSet is ever told.

use super::Router;
use super::network::DIRECT_MS;
use crate::bucket::{Bucket, PeerBuckets};
use crate::limits::router as limits;
use crate::netdb::serve::{Answer, answer};
use crate::time::Instant;
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::data::Hash;
use ramson_wire::garlic::block::{Block, Clove, Delivery};
use ramson_wire::garlic::one_time;
use ramson_wire::i2np::database_lookup::{DatabaseLookup, LookupKind};
use ramson_wire::i2np::database_search_reply::DatabaseSearchReply;
use ramson_wire::i2np::database_store::{DatabaseStore, Entry};
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Kind, Message};

/// What an answer may have of the bytes of its question where it goes to somebody else than the peer that asks.
const MAX_AMPLIFICATION: usize = 3;

/// How many questions of others are answered (threats T31): one peer's do not take the place of another's.
pub(super) struct QuestionGate {
    per_peer: PeerBuckets,
    all: Bucket,
}

impl QuestionGate {
    pub(super) fn new(now: Instant) -> Self {
        let per_peer = PeerBuckets::new(limits::QUESTIONS_PER_PEER, limits::QUESTION_PEERS);
        Self { per_peer, all: Bucket::new(limits::QUESTIONS, now) }
    }

    fn admit(&mut self, now: Instant, asker: Hash) -> bool {
        self.per_peer.take(now, asker) && self.all.take(now)
    }
}

impl Router {
    /// A DatabaseLookup that came by a link, in garlic to us, or out of somebody's tunnel. `asker` is the peer that answers
    /// for the question.
    pub(super) fn handle_question(&mut self, asker: Hash, body: &[u8]) {
        let Ok(question) = DatabaseLookup::from_bytes(body) else { return };
        match self.floodfill.is_some() {
            true => self.serve(asker, question),
            false => self.answer_for_ourselves(asker, question, body.len()),
        }
    }

    /// As a floodfill. Answers are longer than questions: what a stranger can make us send to somebody who has not asked
    /// is bounded by receiver (threats T30).
    fn serve(&mut self, asker: Hash, question: DatabaseLookup) {
        if !self.answers.admit(self.now.mono, asker, question.kind) {
            return;
        }
        let Some(floodfill) = &self.floodfill else { return };
        let ourselves = matches!(question.kind, LookupKind::RouterInfo | LookupKind::Any) && question.key == self.hash;
        let answer = match self.own_info.clone().filter(|_| ourselves) {
            Some(info) => Answer::Found(Entry::RouterInfo(info)),
            None => answer(self.now, &question, &self.store, floodfill.lease_sets(), &mut self.rng),
        };
        let (kind, body) = match answer {
            Answer::Found(entry) => (Kind::DATABASE_STORE, DatabaseStore::new(entry, None).to_bytes()),
            Answer::Routers(peers) => {
                let reply = DatabaseSearchReply { key: question.key, peers, from: self.hash };
                (Kind::DATABASE_SEARCH_REPLY, reply.to_bytes())
            }
        };
        let message = self.message(kind, DIRECT_MS, body);
        let message = self.sealed_answer(&question, message);
        self.send_back(question.from, question.reply_tunnel, message);
    }

    /// As no floodfill. Look-ups of LeaseSets and explorations are for floodfills and get no answer, as with i2pd; the
    /// deprecated kind gets none as with Java. Where the answer goes to somebody else than the asker, it is no longer
    /// than three times the question (threats T30).
    fn answer_for_ourselves(&mut self, asker: Hash, question: DatabaseLookup, len: usize) {
        if question.kind != LookupKind::RouterInfo || question.from == self.hash {
            return;
        }
        // An answer goes to those who have a session: no stranger makes us dial, or learns whom we could dial.
        if !self.links.is_connected(&question.from) || !self.questions.admit(self.now.mono, asker) {
            return;
        }
        let limit = if asker == question.from { usize::MAX } else { MAX_AMPLIFICATION * len };
        if let Some(answer) = self.answer(&question) {
            self.send_answer(question, answer, limit);
        }
    }

    fn answer(&mut self, question: &DatabaseLookup) -> Option<Message> {
        if question.key == self.hash {
            let store = DatabaseStore::new(Entry::RouterInfo(self.own_info.clone()?), None);
            return Some(self.message(Kind::DATABASE_STORE, DIRECT_MS, store.to_bytes()));
        }
        let reply = DatabaseSearchReply { key: question.key, peers: Vec::new(), from: self.hash };
        Some(self.message(Kind::DATABASE_SEARCH_REPLY, DIRECT_MS, reply.to_bytes()))
    }

    /// The answer under the key that the question brings, if it brings one. It is the clove and nothing else: i2pd drops an
    /// answer that begins with another block.
    fn sealed_answer(&mut self, question: &DatabaseLookup, answer: Message) -> Message {
        let Some(encryption) = &question.encryption else { return answer };
        let clove = Block::Clove(Clove { delivery: Delivery::Local, message: answer });
        let sealed = one_time::seal(&encryption.key, &encryption.tag, &Block::encode_all(&[clove]));
        self.message(Kind::GARLIC, DIRECT_MS, sealed)
    }

    fn send_answer(&mut self, question: DatabaseLookup, answer: Message, limit: usize) {
        let mut answer = self.sealed_answer(&question, answer);
        if let Some(tunnel) = question.reply_tunnel {
            let gateway = TunnelGateway { tunnel, message: answer };
            answer = self.message(Kind::TUNNEL_GATEWAY, DIRECT_MS, gateway.to_bytes());
        }
        // An answer that cannot be sent is lost; whoever asked has a time-out.
        if answer.body.len() <= limit {
            self.send_direct(&question.from, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    /// Threats T31: many from one peer, and many from a thousand peers, leave room for others.
    #[test]
    fn t31_questions_are_few_for_each_peer_and_for_all() {
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let peer = |n: u32| Hash::of(&n.to_be_bytes());
        let mut gate = QuestionGate::new(at(0));
        let (rate, burst) = limits::QUESTIONS_PER_PEER;
        assert_eq!((0..1_000).filter(|_| gate.admit(at(0), peer(0))).count(), burst as usize);
        assert!(gate.admit(at(0), peer(1)), "another peer is answered");
        assert_eq!((0..1_000).filter(|_| gate.admit(at(1), peer(0))).count(), rate as usize);
        let mut answered = 0;
        for n in 2..1_002 {
            answered += (0..20).filter(|_| gate.admit(at(1), peer(n))).count();
        }
        assert!(answered <= limits::QUESTIONS.1 as usize, "{answered}");
        assert!(gate.admit(at(2), peer(5_000)), "a second later somebody else has a turn");
        // The table of peers is bounded, and forgets them when they are quiet.
        (0..6_000).for_each(|n| _ = gate.admit(at(3), peer(n)));
        assert!(gate.per_peer.len() <= limits::QUESTION_PEERS);
        assert!(gate.admit(at(60), peer(30_000)));
    }
}
