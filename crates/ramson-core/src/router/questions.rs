//! Questions that others have for us. We are no floodfill, so there is one thing to tell: our own RouterInfo.
//! <https://geti2p.net/spec/i2np#msg-DatabaseLookup>
//!
//! Whoever asks for another router is told that we have it not, and is referred to nobody. Some RouterInfos are in the
//! store because a reply to one of our destinations named them: who learns that we know them learns whose router we
//! are (threats P-10). For the same reason nothing of a LeaseSet is ever told.

use super::Router;
use super::network::DIRECT_MS;
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::garlic::block::{Block, Clove, Delivery};
use ramson_wire::garlic::one_time;
use ramson_wire::i2np::database_lookup::{DatabaseLookup, LookupKind};
use ramson_wire::i2np::database_search_reply::DatabaseSearchReply;
use ramson_wire::i2np::database_store::{DatabaseStore, Entry};
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Kind, Message};

impl Router {
    /// A DatabaseLookup that came by a link, in garlic to us, or out of somebody's tunnel. Look-ups of LeaseSets and
    /// explorations are for floodfills and get no answer, as with i2pd; the deprecated kind gets none as with Java.
    pub(super) fn handle_question(&mut self, body: &[u8]) {
        let Ok(question) = DatabaseLookup::from_bytes(body) else { return };
        if question.kind != LookupKind::RouterInfo || question.from == self.hash {
            return;
        }
        // An answer goes to those who have a session: no stranger makes us dial, or learns whom we could dial.
        if !self.links.is_connected(&question.from) || !self.questions.take(self.now.mono) {
            return;
        }
        if let Some(answer) = self.answer(&question) {
            self.send_answer(question, answer);
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

    fn send_answer(&mut self, question: DatabaseLookup, mut answer: Message) {
        if let Some(encryption) = &question.encryption {
            let clove = Block::Clove(Clove { delivery: Delivery::Local, message: answer });
            let payload = Block::encode_all(&[Block::DateTime(self.now.unix_secs()), clove]);
            let sealed = one_time::seal(&encryption.key, &encryption.tag, &payload);
            answer = self.message(Kind::GARLIC, DIRECT_MS, sealed);
        }
        if let Some(tunnel) = question.reply_tunnel {
            let gateway = TunnelGateway { tunnel, message: answer };
            answer = self.message(Kind::TUNNEL_GATEWAY, DIRECT_MS, gateway.to_bytes());
        }
        // An answer that cannot be sent is lost; whoever asked has a time-out.
        self.send_direct(&question.from, answer);
    }
}
