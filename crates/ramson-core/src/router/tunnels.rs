//! Tunnels joined to links, to the choice of hops, and to garlic for the router.

use super::faults::Machine;
use super::hops::Wanted;
use super::{Router, lookups};
use crate::bucket::{Bucket, Buckets, PeerBuckets};
use crate::job::Job;
use crate::limits::router as limits;
use crate::link::{Class, Prefix};
use crate::netdb::lookup::Kind as LookupKind;
use crate::own_info::congestion_of;
use crate::time::Instant;
use crate::tunnel::{self, PoolId};
use ramson_wire::codec::DecodeError;
use ramson_wire::crypto::Secret;
use ramson_wire::data::Hash;
use ramson_wire::garlic;
use ramson_wire::garlic::block::{Block, Delivery};
use ramson_wire::i2np::{Kind, Message};
use std::collections::VecDeque;

/// Messages for a router that is being looked up.
pub(super) struct Waiting {
    pub(super) since: Instant,
    pub(super) messages: VecDeque<Message>,
}

/// What bounds the work on garlic to our static key (threats T76): most requests of others come in such garlic.
pub(super) struct GarlicGate {
    per_peer: PeerBuckets,
    per_prefix: Buckets<Prefix>,
    all: Bucket,
    jobs: usize,
    /// Messages that were dropped unopened.
    pub(super) dropped: u64,
}

impl GarlicGate {
    pub(super) fn new(now: Instant) -> Self {
        let per_peer = PeerBuckets::new(limits::GARLIC_PER_PEER, limits::GARLIC_PEERS);
        let per_prefix = Buckets::new(limits::GARLIC_PER_PREFIX, limits::GARLIC_PEERS);
        Self { per_peer, per_prefix, all: Bucket::new(limits::GARLIC, now), jobs: 0, dropped: 0 }
    }

    /// Whether a message that `from` answers for may be opened, who is in this prefix, where that counts. Then a job is
    /// begun.
    pub(super) fn admit(&mut self, now: Instant, from: Hash, prefix: Option<Prefix>) -> bool {
        let admitted = self.jobs < limits::GARLIC_JOBS
            && self.per_peer.take(now, from)
            && prefix.is_none_or(|prefix| self.per_prefix.take(now, prefix))
            && self.all.take(now);
        match admitted {
            true => self.jobs += 1,
            false => self.dropped += 1,
        }
        admitted
    }

    /// Messages that are being opened.
    #[cfg(any(test, fuzzing))]
    pub(super) const fn jobs(&self) -> usize {
        self.jobs
    }

    /// A job is over, or lost.
    pub(super) fn job_done(&mut self) {
        self.jobs = self.jobs.saturating_sub(1);
    }
}

impl Router {
    pub(super) fn handle_tunnels(&mut self, event: tunnel::Event) {
        match event {
            tunnel::Event::Send { to, message, class } => self.send_or_look_up(to, message, class),
            tunnel::Event::Job(job) => self.job(Job::Tunnel(job)),
            tunnel::Event::Inbound { pool: PoolId::EXPLORATORY, message, .. } => {
                self.runs(Machine::Item);
                self.handle_exploratory(message);
            }
            tunnel::Event::Inbound { pool, message, .. } => self.handle_local_message(pool, message),
            tunnel::Event::Local { from, message } => {
                self.runs(Machine::Peer(from));
                self.handle_delivered(from, message);
            }
            tunnel::Event::NeedHops { pool, direction, build, length, other_end, order, avoid } => {
                self.choose_hops(&Wanted { pool, direction, build, length, other_end, order, avoid });
            }
            tunnel::Event::PoolChanged { pool } => self.pool_changed(pool),
            tunnel::Event::TunnelReady { pool, .. } => self.tunnel_ready(pool),
            tunnel::Event::TunnelLost { pool, tunnel, .. } => self.tunnel_lost(pool, tunnel),
            tunnel::Event::Outcome { pool, nearest, hops } => self.build_ended(pool, nearest, &hops),
            tunnel::Event::Tested { hops, passed } => self.tunnel_tested(&hops, passed),
        }
    }

    /// Sends to a router; one that is unknown is looked up once, and few messages wait for that.
    pub(super) fn send_or_look_up(&mut self, to: Hash, message: Message, class: Class) {
        if to == self.hash {
            return self.handle_delivered(self.hash, message);
        }
        // Of a router that cannot be dialled we may know what it said before it had introducers.
        let stale = class == Class::Transit && self.store.get(&to).is_some_and(|info| !self.links.can_dial(info));
        if self.links.is_connected(&to) || (self.store.get(&to).is_some() && !stale) {
            if !self.send_by_link(&to, message, class) && !self.links.is_connected(&to) {
                self.tunnels.handle_unreachable(self.now, to);
            }
            return;
        }
        let room = self.waiting.len() < limits::WAITING_ROUTERS || self.waiting.contains_key(&to);
        if !room {
            return;
        }
        let since = self.now.mono;
        let waiting = self.waiting.entry(to).or_insert_with(|| Waiting { since, messages: VecDeque::new() });
        if waiting.messages.len() < limits::WAITING_MESSAGES {
            waiting.messages.push_back(message);
        }
        self.look_up_router(to);
    }

    /// The RouterInfo that messages waited for is here.
    pub(super) fn release_waiting(&mut self, hash: &Hash) {
        for message in self.waiting.remove(hash).map(|w| w.messages).into_iter().flatten() {
            // What waited here was of others: our own messages go to routers that we know.
            self.send_by_link(hash, message, Class::Transit);
        }
    }

    /// Has our RouterInfo signed anew when it says something else of transit than is true. A signature that was under
    /// way meanwhile is followed by another.
    pub(super) fn update_caps(&mut self) {
        self.own.congestion = self.tunnels.update_congestion(self.now, self.links.measure_load(self.now));
        #[cfg(ramson_lab)]
        self.claim_congestion();
        let wrong = self.own_info.as_ref().is_some_and(|info| congestion_of(info) != self.own.congestion);
        if wrong {
            self.sign_own_info();
        }
    }

    /// A request to take part in a tunnel, for which `from` answers: the hop before us.
    pub(super) fn handle_build_request(&mut self, from: Hash, message: Message) {
        let prefix = self.prefix_of(&from);
        let _ = self.tunnels.handle_message_of(self.now, from, prefix, message);
    }

    /// Where a peer is, for its share of what costs us work. In small networks all may be in one place.
    pub(super) fn prefix_of(&self, peer: &Hash) -> Option<Prefix> {
        if self.config.small_network { None } else { self.links.prefix(peer) }
    }

    // ---- what comes to the router by tunnels and garlic ----

    /// A message that came down an exploratory tunnel: answers to our own questions, and nothing else.
    pub(super) fn handle_exploratory(&mut self, message: Message) {
        match message.kind {
            Kind::GARLIC => self.open_garlic(None, message.body),
            // Floodfills that cannot encrypt answer in the clear; the look-ups take only what they asked for.
            Kind::DATABASE_STORE => self.handle_database_store(None, None, &message.body),
            Kind::DATABASE_SEARCH_REPLY => self.handle_search_reply(&message.body),
            _ => {}
        }
    }

    /// A message that somebody's tunnel delivered to us as a router (threats T82). The hop before us answers for what
    /// it asks of us; nothing is believed because it comes from there.
    fn handle_delivered(&mut self, from: Hash, message: Message) {
        match message.kind {
            Kind::GARLIC => self.open_garlic(Some(from), message.body),
            Kind::TUNNEL_GATEWAY => {
                let _ = self.tunnels.handle_message(self.now, from, message);
            }
            kind if kind.is_build_request() => self.handle_build_request(from, message),
            Kind::DATABASE_LOOKUP => self.handle_question(from, &message.body),
            Kind::DATABASE_STORE => self.handle_database_store(None, None, &message.body),
            _ => {}
        }
    }

    /// Garlic for us as a router: under a one-time key that we gave away, or sealed to our static key. `from` is the
    /// peer that answers for it, or nobody where it comes by a tunnel of our own.
    pub(super) fn open_garlic(&mut self, from: Option<Hash>, body: Vec<u8>) {
        let tag = garlic::one_time::tag(&body);
        if let Some(key) = tag.and_then(|tag| self.one_time.remove(&tag)) {
            let opened = garlic::one_time::open(&key.key, &body);
            if let Ok(blocks) = opened.and_then(|payload| Block::decode_all(&payload)) {
                self.handle_answers(blocks);
            }
            return;
        }
        let prefix = from.and_then(|from| self.prefix_of(&from));
        if !self.garlic.admit(self.now.mono, from.unwrap_or(self.hash), prefix) {
            return;
        }
        let key = self.keys.static_key.clone();
        self.job(Job::OpenAtRouter { from, key, body });
    }

    /// What stood under a one-time key: answers to the router's look-ups.
    fn handle_answers(&mut self, blocks: Vec<Block>) {
        for block in blocks {
            let Block::Clove(clove) = block else { continue };
            match clove.message.kind {
                Kind::DATABASE_STORE => self.handle_database_store(None, None, &clove.message.body),
                Kind::DATABASE_SEARCH_REPLY => self.handle_search_reply(&clove.message.body),
                _ => {}
            }
        }
    }

    /// Cloves that were sealed to our static key. Only for us: cloves for others are not relayed.
    pub(super) fn opened_at_router(&mut self, from: Option<Hash>, payload: Result<Vec<u8>, DecodeError>) {
        self.garlic.job_done();
        let Ok(blocks) = payload.and_then(|payload| Block::decode_all(&payload)) else { return };
        for block in blocks {
            let Block::Clove(clove) = block else { continue };
            if clove.delivery != Delivery::Local {
                continue;
            }
            match clove.message.kind {
                // Nobody asks for a tunnel by a tunnel of ours.
                kind if kind.is_build_request() => {
                    let Some(from) = from else { continue };
                    self.handle_build_request(from, clove.message);
                }
                Kind::DATABASE_LOOKUP => {
                    let Some(from) = from else { continue };
                    self.handle_question(from, &clove.message.body);
                }
                Kind::DATABASE_STORE => self.handle_database_store(None, from, &clove.message.body),
                Kind::DATABASE_SEARCH_REPLY => self.handle_search_reply(&clove.message.body),
                _ => {}
            }
        }
    }

    pub(super) fn look_up_router(&mut self, hash: Hash) {
        self.lookups.start(self.now, hash, LookupKind::RouterInfo, &self.store);
    }

    /// A new one-time key for the answer to a question of the router.
    pub(super) fn expect_answer(&mut self) -> (Secret, [u8; 8]) {
        let (key, tag) = (Secret::from(self.rng.bytes()), self.rng.bytes());
        if self.one_time.len() >= limits::ONE_TIME_KEYS {
            let oldest = self.one_time.iter().min_by_key(|(_, key)| key.expires).map(|(tag, _)| *tag);
            oldest.map(|tag| self.one_time.remove(&tag));
        }
        let expires = self.now.mono + lookups::ANSWER_TIME;
        self.one_time.insert(tag, lookups::OneTime { key: key.clone(), expires });
        (key, tag)
    }
}
