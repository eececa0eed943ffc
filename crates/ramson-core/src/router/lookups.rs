//! Sending what look-ups and publications ask for: the question or LeaseSet is sealed to the floodfill and goes out
//! of a tunnel of its own context; the answer comes back by an inbound tunnel of the same context.

use super::network::DIRECT_MS;
use super::{DestinationId, Router};
use crate::job::Job;
use crate::limits::netdb as limits;
use crate::netdb::lookup::{self, Kind as LookupKind, LookupId};
use crate::peers::Reach;
use crate::time::{Duration, Instant};
use crate::tunnel::{PoolId, Target, TunnelId};
use ramson_wire::codec::Encode;
use ramson_wire::crypto::{CryptoError, Secret};
use ramson_wire::data::{AnyLeaseSet, Hash, LeaseSet2};
use ramson_wire::garlic::block::{Block, Clove, Delivery};
use ramson_wire::i2np::database_lookup::{DatabaseLookup, ReplyEncryption};
use ramson_wire::i2np::database_store::{DatabaseStore, Entry, StoreReply};
use ramson_wire::i2np::{Kind, Message};
use std::sync::Arc;

/// How long an answer is awaited.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Lifetime of a question, and of what is sealed.
const QUESTION_MS: u64 = 10_000;

/// A key under which an answer comes.
pub(super) struct OneTime {
    pub(super) key: Secret,
    pub(super) expires: Instant,
}

/// What is being sealed to a router, and where it goes then.
pub(super) struct Sealing {
    pool: PoolId,
    to: Hash,
}

impl Router {
    /// An event of the look-ups of the router (`None`) or of a destination.
    pub(super) fn handle_lookup(&mut self, context: Option<DestinationId>, event: lookup::Event) {
        match event {
            lookup::Event::Query { id, floodfill, key, kind, excluded } => {
                self.query(context, id, floodfill, key, kind, excluded);
            }
            lookup::Event::Need { hash, .. } => {
                // An unknown floodfill that another one has named: its RouterInfo is the router's affair.
                // What a destination learns of, nobody else may learn of by us (threats P-10).
                let told = context.is_none();
                if told || self.store.get(&hash).is_none() {
                    self.lookups.start_hint(self.now, hash, told, &self.store);
                }
            }
            lookup::Event::Done { id: lookup, key, result, .. } => {
                if let Some(id) = context {
                    self.local_lookup_done(id, lookup, key, result);
                }
            }
        }
    }

    fn query(
        &mut self,
        context: Option<DestinationId>,
        id: LookupId,
        floodfill: Hash,
        key: Hash,
        kind: LookupKind,
        excluded: Vec<Hash>,
    ) {
        let pool = match context {
            None => PoolId::EXPLORATORY,
            Some(id) => match self.locals.get(&id) {
                Some(local) => local.pool,
                None => return,
            },
        };
        let inbound = self.tunnels.inbound_in_use(pool);
        let outbound = !self.tunnels.outbound(pool).is_empty();
        let reply = self.rng.pick(&inbound).copied();
        let (Some(reply), true) = (reply, outbound) else {
            // Only the router's own look-ups of routers may go directly, while there are no tunnels yet.
            if context.is_none() && kind != LookupKind::LeaseSet {
                let lookup =
                    DatabaseLookup { key, from: self.hash, kind, reply_tunnel: None, excluded, encryption: None };
                let message = self.message(Kind::DATABASE_LOOKUP, DIRECT_MS, lookup.to_bytes());
                if self.send_direct(&floodfill, message) {
                    self.asked += 1;
                    return;
                }
            }
            self.query_failed(context, id, &floodfill);
            return;
        };
        let (answer_key, tag) = match context.and_then(|id| self.locals.get_mut(&id)) {
            Some(local) => {
                let (key, tag) = (Secret::from(self.rng.bytes()), self.rng.bytes());
                local.destination.expect_one_time(self.now, tag, key.clone(), ANSWER_TIME);
                local.lookups.note_tag(id, floodfill, tag);
                (key, tag)
            }
            None => self.expect_answer(),
        };
        let lookup = DatabaseLookup {
            key,
            from: reply.gateway,
            kind,
            reply_tunnel: Some(reply.tunnel),
            excluded,
            encryption: Some(ReplyEncryption { key: answer_key, tag }),
        };
        let message = self.message(Kind::DATABASE_LOOKUP, QUESTION_MS, lookup.to_bytes());
        self.asked += 1;
        self.seal_to_router(pool, floodfill, message);
    }

    /// A destination needs a LeaseSet that is newer than the one it has, or any. While it has no tunnels, one that is
    /// newer would not be found: it is looked up as soon as there are some. Somebody who waits for any hears at once.
    pub(super) fn need_lease_set(&mut self, id: DestinationId, hash: Hash, newer_than: Option<u32>) {
        let now = self.now;
        let Some(local) = self.locals.get_mut(&id) else { return };
        let Some(than) = newer_than else {
            local.needed.insert(hash);
            local.lookups.start(now, hash, LookupKind::LeaseSet, &self.store);
            return;
        };
        let cannot = self.tunnels.inbound(local.pool).is_empty() || self.tunnels.outbound(local.pool).is_empty();
        if cannot && local.unasked.len() < limits::LOOKUPS {
            local.unasked.insert(hash, than);
        } else {
            local.needed.insert(hash);
            local.lookups.start_newer(now, hash, than, Vec::new(), &self.store);
        }
    }

    /// Looks for what has waited for tunnels.
    pub(super) fn look_up_waiting(&mut self, id: DestinationId) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        for (hash, than) in std::mem::take(&mut local.unasked) {
            self.need_lease_set(id, hash, Some(than));
        }
    }

    fn query_failed(&mut self, context: Option<DestinationId>, id: LookupId, floodfill: &Hash) {
        match context.and_then(|id| self.locals.get_mut(&id)) {
            Some(local) => local.lookups.handle_query_failed(self.now, id, floodfill, &self.store),
            None => self.lookups.handle_query_failed(self.now, id, floodfill, &self.store),
        }
    }

    /// Publishes a LeaseSet: out of a tunnel of its destination, confirmed to an inbound one.
    pub(super) fn store_lease_set(&mut self, pool: PoolId, floodfill: Hash, token: u32, set: LeaseSet2) {
        let inbound = self.tunnels.inbound_in_use(pool);
        let Some(reply) = self.rng.pick(&inbound).copied() else { return };
        let reply = StoreReply { token, tunnel: reply.tunnel, gateway: reply.gateway };
        let store = DatabaseStore::new(Entry::LeaseSet(Arc::new(AnyLeaseSet::V2(set))), Some(reply));
        let message = self.message(Kind::DATABASE_STORE, QUESTION_MS, store.to_bytes());
        self.seal_to_router(pool, floodfill, message);
    }

    /// Seals a message to a router as a clove and sends it out of the pool.
    fn seal_to_router(&mut self, pool: PoolId, to: Hash, message: Message) {
        // To a destination, our own router is a floodfill as any other.
        let own = self.own_info.as_ref().filter(|_| to == self.hash);
        let Some(info) = self.store.get(&to).or(own) else { return };
        let key = info.identity().static_key();
        let date_time = Block::DateTime(self.now.unix_secs());
        let clove = Block::Clove(Clove { delivery: Delivery::Local, message });
        let payload = Block::encode_all(&[date_time, clove]);
        let token = self.token();
        self.sealing.insert(token, Sealing { pool, to });
        self.job(Job::SealToRouter { token, key, payload });
    }

    pub(super) fn sealed(&mut self, token: u64, body: Result<Vec<u8>, CryptoError>) {
        let (Some(Sealing { pool, to }), Ok(body)) = (self.sealing.remove(&token), body) else { return };
        let message = self.message(Kind::GARLIC, QUESTION_MS, body);
        // Without a tunnel the question is lost; whoever asked has a time-out.
        let tunnel = self.outbound_to(pool, &to, None);
        let _ = self.tunnels.send(self.now, pool, tunnel, Target::Router(to), message);
    }

    /// An outbound tunnel whose endpoint can dial `to`, as far as RouterInfos tell and there is one; else any. Not `not`
    /// while another one is as good.
    pub(super) fn outbound_to(&mut self, pool: PoolId, to: &Hash, not: Option<TunnelId>) -> Option<TunnelId> {
        let reach = |hash: &Hash| self.store.get(hash).map(|info| Reach::of(info));
        let target = reach(to);
        let reaches = |last: &Hash| {
            let (Some(target), false) = (target, last == to) else { return true };
            reach(last).is_none_or(|last| last.can_dial(target))
        };
        self.tunnels.choose_outbound(pool, not, reaches)
    }

    /// Asks a floodfill for routers that we do not know.
    pub(super) fn explore(&mut self, key: Hash) {
        self.lookups.start(self.now, key, LookupKind::Exploration, &self.store);
    }
}
