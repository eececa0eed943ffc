//! Serving as a floodfill: whether we do, what others store at us, and how confirmations and answers reach them.
//! <https://geti2p.net/en/docs/how/network-database#floodfill>

use super::network::DIRECT_MS;
use super::{Event, Router};
use crate::bucket::{Bucket, PeerBuckets};
use crate::job::Job;
use crate::limits::netdb;
use crate::link::Class;
use crate::netdb::fitness::Signs;
use crate::netdb::{Floodfill, flood};
use crate::own_info::says_floodfill;
use crate::time::Instant;
use crate::tunnel::Congestion;
use crate::tunnel::{PoolId, Target};
use ramson_wire::codec::Encode;
use ramson_wire::data::Hash;
use ramson_wire::i2np::database_lookup::LookupKind;
use ramson_wire::i2np::database_store::DatabaseStore;
use ramson_wire::i2np::delivery_status::DeliveryStatus;
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Kind, Message};

/// What bounds the answers of a floodfill. Nothing but silence follows from a bound that is reached, for a while and
/// for one previous hop or one receiver (threats P-4, T31).
pub(super) struct AnswerGate {
    askers: PeerBuckets,
    all: Bucket,
    explorers: PeerBuckets,
    receivers: PeerBuckets,
    dials: Bucket,
    /// Questions that were admitted.
    pub(super) answered: u64,
}

impl AnswerGate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            askers: PeerBuckets::new(netdb::QUESTIONS_PER_PEER, netdb::ANSWER_PEERS),
            all: Bucket::new(netdb::QUESTIONS, now),
            explorers: PeerBuckets::new(netdb::EXPLORATIONS_PER_PEER, netdb::ANSWER_PEERS),
            receivers: PeerBuckets::new(netdb::ANSWER_BYTES_PER_PEER, netdb::ANSWER_PEERS),
            dials: Bucket::new(netdb::ANSWER_DIALS, now),
            answered: 0,
        }
    }

    /// Whether a question that `asker` has brought is answered.
    pub(super) fn admit(&mut self, now: Instant, asker: Hash, kind: LookupKind) -> bool {
        let explores = kind == LookupKind::Exploration;
        let own = self.askers.take(now, asker);
        let room = own && self.all.take(now);
        let admitted = room && (!explores || self.explorers.take_many(now, asker, netdb::EXPLORATION_COST as usize));
        self.answered += u64::from(admitted);
        admitted
    }

    /// Whether so many bytes go to a router that may not have asked for them.
    fn admit_receiver(&mut self, now: Instant, receiver: Hash, bytes: usize) -> bool {
        self.receivers.take_many(now, receiver, bytes)
    }

    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn check_books(&self) {
        for peers in [&self.askers, &self.explorers, &self.receivers] {
            assert!(peers.len() <= netdb::ANSWER_PEERS);
        }
    }
}

impl Router {
    /// Becomes a floodfill, or is one no longer, by what is true now. Others learn it from our RouterInfo.
    pub(super) fn update_floodfill(&mut self) {
        let signs = Signs {
            reachable: self.own.is_reachable(),
            published: self.publisher.is_published(),
            bandwidth: self.own.bandwidth,
            full: self.own.congestion >= Congestion::High,
            routers: self.store.len(),
            floodfills: self.store.floodfills(),
        };
        let serves = self.fitness.update(self.now, &signs);
        if serves != self.floodfill.is_some() {
            self.floodfill = serves.then(|| Floodfill::new(self.hash, self.now));
            self.store.set_own_serves(serves);
            self.event(Event::Floodfill { serves });
        }
        self.own.floodfill = serves;
        if self.own_info.as_ref().is_some_and(|info| says_floodfill(info) != serves) {
            self.sign_own_info();
        }
    }

    /// A store for others, where we are a floodfill. `hop` is the peer that has brought it: the router itself, another
    /// floodfill, or the endpoint of somebody's tunnel. What comes by our own tunnels is no store for others.
    pub(super) fn take_store(&mut self, hop: Option<Hash>, store: DatabaseStore) {
        if let (Some(floodfill), Some(hop)) = (&mut self.floodfill, hop) {
            floodfill.handle_store(self.now, hop, store, &mut self.store);
        }
    }

    pub(super) fn handle_floodfill(&mut self, event: flood::Event) {
        match event {
            flood::Event::Job(job) => self.job(Job::VerifyStored(job)),
            flood::Event::Confirm(reply) => {
                let status = DeliveryStatus { message_id: reply.token, timestamp: self.now.unix_ms };
                let message = self.message(Kind::DELIVERY_STATUS, DIRECT_MS, status.to_bytes());
                self.send_back(reply.gateway, Some(reply.tunnel).filter(|tunnel| *tunnel != 0), message);
            }
            flood::Event::Flood { entry, to } => {
                let body = DatabaseStore::new(entry, None).to_bytes();
                for floodfill in to {
                    let message = self.message(Kind::DATABASE_STORE, DIRECT_MS, body.clone());
                    self.send_direct(&floodfill, message);
                }
            }
        }
    }

    pub(super) fn stored_verified(&mut self, done: flood::VerifyDone) {
        if let Some(floodfill) = &mut self.floodfill {
            floodfill.handle_job(self.now, done, &self.store);
        }
    }

    /// Sends an answer or a confirmation to a router, or down a tunnel whose gateway it is. What cannot be sent is lost:
    /// whoever asked has a time-out.
    pub(super) fn send_back(&mut self, to: Hash, tunnel: Option<u32>, message: Message) {
        if to == self.hash {
            // A tunnel of others begins here.
            if let Some(tunnel) = tunnel {
                let message = self.for_gateway(tunnel, message);
                let _ = self.tunnels.handle_message(self.now, self.hash, message);
            }
            return;
        }
        let now = self.now.mono;
        if !self.answers.admit_receiver(now, to, message.body.len()) {
            return;
        }
        let connected = self.links.is_connected(&to);
        if !connected && !self.answers.dials.take(now) {
            return;
        }
        let undialled = self.store.get(&to).is_some_and(|info| !self.links.can_dial(info));
        match tunnel {
            // There is no way to the gateway but by a tunnel of ours.
            Some(tunnel) if !connected && undialled => {
                let out = self.outbound_to(PoolId::EXPLORATORY, &to, None);
                let target = Target::Tunnel { gateway: to, tunnel };
                let _ = self.tunnels.send(self.now, PoolId::EXPLORATORY, out, target, message);
            }
            Some(tunnel) => {
                let message = self.for_gateway(tunnel, message);
                self.send_or_look_up(to, message, Class::Transit);
            }
            None => self.send_or_look_up(to, message, Class::Transit),
        }
    }

    fn for_gateway(&mut self, tunnel: u32, message: Message) -> Message {
        let body = TunnelGateway { tunnel, message }.to_bytes();
        self.message(Kind::TUNNEL_GATEWAY, DIRECT_MS, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn peer(n: u32) -> Hash {
        Hash::of(&n.to_be_bytes())
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// Threats T31, P-26: one asker, a thousand, and explorers.
    #[test]
    fn t31_a_floodfill_answers_many_and_each_within_bounds() {
        let kind = LookupKind::LeaseSet;
        let mut gate = AnswerGate::new(at(0));
        let (rate, burst) = netdb::QUESTIONS_PER_PEER;
        assert_eq!((0..1_000).filter(|_| gate.admit(at(0), peer(0), kind)).count(), burst as usize);
        assert!(gate.admit(at(0), peer(1), kind), "another is answered");
        assert_eq!((0..1_000).filter(|_| gate.admit(at(1), peer(0), kind)).count(), rate as usize);
        let answered: usize = (2..1_002).map(|n| (0..20).filter(|_| gate.admit(at(1), peer(n), kind)).count()).sum();
        assert!(answered <= netdb::QUESTIONS.1 as usize, "{answered}");
        assert!(gate.admit(at(2), peer(5_000), kind), "a second later somebody else has a turn");
        // Fourteen explorations in any two minutes, and other questions beside them.
        let mut gate = AnswerGate::new(at(0));
        let explored: usize = (0..600).map(|s| usize::from(gate.admit(at(s), peer(0), LookupKind::Exploration))).sum();
        assert!((36..=7 + 35).contains(&explored), "{explored} in ten minutes");
        let mut gate = AnswerGate::new(at(0));
        let explored: usize = (0..120).map(|s| usize::from(gate.admit(at(s), peer(0), LookupKind::Exploration))).sum();
        assert!(explored <= 14 && gate.admit(at(119), peer(0), kind), "{explored}");
        (0..9_000).for_each(|n| _ = gate.admit(at(200 + u64::from(n) / 100), peer(n), LookupKind::Exploration));
        gate.check_books();
        assert!(gate.admit(at(600), peer(30_000), kind), "the quiet are forgotten");
    }

    /// Threats T28, T30, P-4: a victim in whose name others ask gets so much and no more; another receiver loses
    /// nothing.
    #[test]
    fn t28_t30_what_one_router_is_sent_is_bounded() {
        let mut gate = AnswerGate::new(at(0));
        let (rate, burst) = netdb::ANSWER_BYTES_PER_PEER;
        let sent =
            |gate: &mut AnswerGate, now| (0..10_000).filter(|_| gate.admit_receiver(now, peer(0), 1_000)).count();
        assert_eq!(sent(&mut gate, at(0)), burst as usize / 1_000);
        assert!(gate.admit_receiver(at(0), peer(1), 8_000));
        assert!(sent(&mut gate, at(1)) <= rate as usize / 1_000 + 1);
        let (rate, burst) = netdb::ANSWER_DIALS;
        assert_eq!((0..1_000).filter(|_| gate.dials.take(at(0))).count(), burst as usize);
        assert_eq!((0..1_000).filter(|_| gate.dials.take(at(1))).count(), rate as usize);
    }
}
