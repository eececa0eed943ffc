//! Links, the network database, our own RouterInfo and the clock.

use super::faults::Machine;
use super::{BEGIN_WITH, Event, Output, RESIGN, Router, SWEEP, TUNNELS_WITH, Timer};
use crate::job::Job;
use crate::link::{self, Class};
use crate::netdb::publish;
use crate::netdb::store::{self, Change, Source};
use crate::own_info::says_other;
use crate::reach::Reachability;
use crate::time::Duration;
use ramson_wire::codec::{Decode, DecodeError, Encode};
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::i2np::database_search_reply::DatabaseSearchReply;
use ramson_wire::i2np::database_store::{DatabaseStore, Entry, StoreReply};
use ramson_wire::i2np::delivery_status::DeliveryStatus;
use ramson_wire::i2np::{Kind, Message};
use std::net::IpAddr;
use std::sync::Arc;

/// How long after its expiration a message is still handled, and how far ahead it may expire.
const LATE_MS: u64 = 60_000;
const AHEAD_MS: u64 = 180_000;
/// Dials that failed one after the other, after which a router that never carried a tunnel is forgotten.
const DEAD: u32 = 3;
/// The same after which a router counts as gone.
const GONE: u32 = 2;
/// Lifetime of what we send to a router directly.
pub(super) const DIRECT_MS: u64 = 30_000;

/// By which families an inbound session came from a router that we never dialled.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// By IPv4 and by IPv6; over TCP, and over UDP.
    tcp: [bool; 2],
    udp: [bool; 2],
}

impl Reached {
    pub(super) const fn any(&self) -> bool {
        let ([a, b], [c, d]) = (self.tcp, self.udp);
        a || b || c || d
    }

    /// Somebody has come in. False when others have before.
    pub(super) fn note(&mut self, by_udp: bool, v4: bool) -> bool {
        let reached = if by_udp { &mut self.udp } else { &mut self.tcp };
        !std::mem::replace(&mut reached[usize::from(!v4)], true)
    }

    pub(super) const fn by_tcp(&self, v4: bool) -> bool {
        self.tcp[if v4 { 0 } else { 1 }]
    }

    pub(super) const fn by_udp(&self, v4: bool) -> bool {
        self.udp[if v4 { 0 } else { 1 }]
    }

    pub(super) const fn by_any(&self, v4: bool) -> bool {
        self.by_tcp(v4) || self.by_udp(v4)
    }
}

impl Router {
    pub(super) fn handle_link(&mut self, event: link::Event) {
        let now = self.now;
        self.runs(match &event {
            link::Event::Received { from, .. } | link::Event::RouterInfo { from, .. } => Machine::Peer(*from),
            link::Event::Up { peer, .. } => Machine::Peer(*peer),
            _ => Machine::Shared,
        });
        match event {
            link::Event::Open { conn, addr } => self.outputs.push_back(Output::TcpOpen { conn, addr }),
            link::Event::Write { conn, bytes } => self.outputs.push_back(Output::TcpWrite { conn, bytes }),
            link::Event::Close { conn, how } => self.outputs.push_back(Output::TcpClose { conn, how }),
            link::Event::Udp(datagrams) => self.outputs.push_back(Output::Udp(datagrams)),
            link::Event::Job(job) => self.job(Job::Link(job)),
            link::Event::Received { from, message } => self.handle_message(from, message),
            link::Event::Up { peer, inbound, addr, router_info, dialled_before } => {
                self.profiles.note_here(&peer);
                if let Some(verified) = router_info {
                    // It passed the handshake; what the store does not want of it is the store's affair.
                    let _ = self.store.insert(now, verified, Source::Private);
                }
                let waiting = self.timers.get(&Timer::Tunnels).is_some();
                if waiting && self.links.stats().sessions >= TUNNELS_WITH {
                    self.begin_tunnels();
                }
                if self.links.udp_address(&peer).is_some() {
                    self.tests.handle_session(now, &peer);
                }
                if inbound && !dialled_before {
                    self.proven_reachable(&peer, addr);
                }
            }
            link::Event::Down { peer, hung_up } => {
                // A router that died takes all tunnels through it along, and those that are built through it later are
                // lost. Whether it did shows when it is dialled.
                if hung_up
                    && (self.tunnels.suspect_through(now, &peer) || self.redials.take(now.mono))
                    && let Some(info) = self.store.get(&peer).cloned()
                {
                    self.links.dial(now, &info);
                }
            }
            link::Event::Terminated { .. } => {}
            link::Event::SeenAt { by, seen } => self.reach.handle_seen(now, by, seen),
            link::Event::PeerTest { from, addr, message } => self.handle_peer_test(from, addr, *message),
            link::Event::Outside { from, outside } => self.handle_test_outside(from, &outside),
            link::Event::Info { router, look_up } => self.info_wanted(router, look_up),
            link::Event::WantIntroducers { v4 } => self.find_introducers(v4),
            link::Event::Introducers => self.introducers_changed(),
            link::Event::Unreachable { peer, gone, .. } => {
                self.profiles.note_unanswered(now, &peer);
                self.tunnels.handle_unreachable(now, peer);
                // Its RouterInfo comes again where others have it. While nobody is there it may be we who are cut off.
                if self.links.stats().sessions == 0 {
                    return;
                }
                if self.links.failures(&peer) >= DEAD && !self.profiles.has_carried(&peer) {
                    self.store.remove_dead(&peer);
                }
                if gone || self.links.failures(&peer) >= GONE {
                    self.profiles.note_gone(now, &peer);
                }
                if gone {
                    self.tunnels.handle_gone(now, peer);
                    self.look_around();
                }
            }
            link::Event::RouterInfo { from, bytes, flood } => {
                let Ok(info) = RouterInfo::from_bytes(&bytes) else { return };
                if info.hash() != from {
                    self.note_introduced(from, &Arc::new(info));
                } else {
                    if let (true, Some(floodfill)) = (flood, &mut self.floodfill) {
                        return floodfill.handle_flood_request(now, Arc::new(info), &mut self.store);
                    }
                    let _ = self.store.offer(now, Arc::new(info), Source::Private);
                }
            }
            link::Event::Clock { peer, offset_ms } => {
                if self.clock.handle_sample(self.system, peer, offset_ms) {
                    self.now = self.clock.correct(self.system);
                    let offset_ms = self.clock.offset_ms();
                    self.event(Event::ClockCorrected { offset_ms });
                    self.sign_own_info();
                }
            }
        }
    }

    /// A message that a peer has sent to us directly.
    fn handle_message(&mut self, from: Hash, message: Message) {
        if message.expiration + LATE_MS < self.now.unix_ms || message.expiration > self.now.unix_ms + AHEAD_MS {
            return;
        }
        // Tunnels know theirs again by what is in them.
        let request = message.kind.is_build_request();
        let of_tunnels = request || matches!(message.kind, Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY);
        if !of_tunnels && !self.is_new(&from, &message) {
            return;
        }
        match message.kind {
            // Why a message was dropped is counted by the tunnels; no peer is told.
            Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY => {
                let _ = self.tunnels.handle_message(self.now, from, message);
            }
            _ if request => self.handle_build_request(from, message),
            Kind::GARLIC => self.open_garlic(Some(from), message.body),
            Kind::DATABASE_STORE => self.handle_database_store(Some(from), Some(from), &message.body),
            Kind::DATABASE_LOOKUP => self.handle_question(from, &message.body),
            Kind::DATABASE_SEARCH_REPLY => self.handle_search_reply(&message.body),
            Kind::DELIVERY_STATUS => {
                if let Ok(status) = DeliveryStatus::from_bytes(&message.body) {
                    self.publisher.handle_confirmation(status.message_id);
                }
            }
            _ => {}
        }
    }

    /// Whether this message did not come from this peer before, while it is good.
    pub(super) fn is_new(&mut self, from: &Hash, message: &Message) -> bool {
        let (id, expiration) = (message.id.to_be_bytes(), message.expiration.to_be_bytes());
        self.seen.insert(self.now.mono, &[&from.0[..], &id, &expiration].concat())
    }

    /// What is stored at us. `hop` is the peer that answers for it, or nobody where it came by a tunnel of our own; `from`
    /// is that peer where it is said by itself.
    ///
    /// For ourselves we take a RouterInfo that we look for, or that a peer sends of itself. Others are dropped, or anybody
    /// could fill the store from which hops are drawn (threats P-1, P-8); and so are LeaseSets, since our destinations
    /// hear of theirs by their own tunnels (threats T25, T29). A floodfill takes both for others, and what it takes does
    /// not reach its destinations.
    pub(super) fn handle_database_store(&mut self, from: Option<Hash>, hop: Option<Hash>, body: &[u8]) {
        let Ok(store) = DatabaseStore::from_bytes(body) else { return };
        if let Entry::RouterInfo(info) = &store.entry {
            if let Some(from) = from {
                self.links.note_info(self.now, &from, info);
                if from != store.key {
                    self.note_introduced(from, info);
                }
            }
            let source = match self.lookups.source_of(&store.key) {
                Some(source) => source,
                None if from == Some(store.key) && self.floodfill.is_none() => Source::Unasked,
                None => return self.take_store(hop, store),
            };
            if let Ok(store::Offer::Known) = self.store.offer(self.now, Arc::clone(info), source) {
                self.lookups.handle_store(&store.key);
            }
        }
        self.take_store(hop, store);
    }

    pub(super) fn handle_search_reply(&mut self, body: &[u8]) {
        if let Ok(reply) = DatabaseSearchReply::from_bytes(body) {
            self.lookups.handle_search_reply(self.now, &reply.from, &reply.key, &reply.peers, &self.store);
        }
    }

    pub(super) fn handle_store_event(&mut self, event: store::Event) {
        match event {
            store::Event::Job(job) => self.job(Job::VerifyRouter(job)),
            store::Event::Stored(hash) => {
                self.lookups.handle_store(&hash);
                self.begin_with_routers(BEGIN_WITH);
                self.release_waiting(&hash);
                self.info_for_introductions(&hash);
                if let Some(floodfill) = &mut self.floodfill {
                    floodfill.handle_stored(self.now, &hash, &self.store);
                }
            }
            store::Event::Refused(hash, _) => {
                if let Some(floodfill) = &mut self.floodfill {
                    floodfill.handle_refused(&hash);
                }
            }
        }
    }

    /// Sends to a router over its link, dialling when there is none. False when there is no way to it.
    pub(super) fn send_direct(&mut self, to: &Hash, message: Message) -> bool {
        self.send_by_link(to, message, Class::Own)
    }

    /// The same, of others too.
    pub(super) fn send_by_link(&mut self, to: &Hash, message: Message, class: Class) -> bool {
        let info = self.store.get(to).cloned();
        self.links.send(self.now, to, message, class, info.as_ref())
    }

    // ---- our own RouterInfo ----

    /// Has our RouterInfo signed with what is true now.
    pub(super) fn sign_own_info(&mut self) {
        self.timers.set(Timer::OwnInfo, self.now.mono + RESIGN);
        self.tell_firewalled();
        if std::mem::replace(&mut self.signing, true) {
            self.resign = true;
            return;
        }
        let keys = Arc::clone(&self.keys);
        self.job(Job::SignInfo { own: self.own.clone(), keys, unix_ms: self.now.unix_ms });
    }

    /// No clock may stand before this time. Where ours has, our RouterInfo has a time at which no peer takes it.
    pub(super) fn raise_floor(&mut self, unix_ms: u64) {
        let before = self.now.unix_ms;
        self.clock.set_floor(self.now.mono, unix_ms);
        self.now = self.clock.correct(self.system);
        if self.now.unix_ms != before {
            self.sign_own_info();
        }
    }

    /// No signature is being made any more. What has changed meanwhile needs another one.
    pub(super) fn signing_over(&mut self) {
        self.signing = false;
        if std::mem::take(&mut self.resign) {
            self.sign_own_info();
        }
    }

    pub(super) fn own_info_signed(&mut self, info: Result<RouterInfo, DecodeError>) {
        self.signing_over();
        // A RouterInfo that cannot be signed is a fault of ours; the old one stays in use.
        let Ok(info) = info else { return };
        let stale = self.own_info.as_ref().is_some_and(|old| old.published() > info.published());
        self.links.set_router_info(info.as_bytes().to_vec());
        let changed = self.own_info.as_ref().is_none_or(|old| stale || says_other(old, &info));
        self.own_info = Some(Arc::new(info));
        self.begin_with_routers(BEGIN_WITH);
        if changed && self.begun {
            self.publisher.handle_changed(self.now);
        }
    }

    /// Somebody has come in by himself: cap R and our addresses of the family by which he came are published, where
    /// the operator has named any.
    fn proven_reachable(&mut self, peer: &Hash, addr: IpAddr) {
        let v4 = addr.to_canonical().is_ipv4();
        let by_udp = self.links.udp_address(peer).is_some();
        // Behind a translator those come in whom we were introduced to.
        if by_udp && matches!(self.reach.state(v4), Reachability::Firewalled(_)) {
            return;
        }
        if by_udp {
            self.reach.handle_came(self.now, addr);
        }
        if !self.reached.note(by_udp, v4) {
            return;
        }
        let before = self.own.published.len() + self.own.udp_published.len();
        self.update_published();
        if self.own.published.len() + self.own.udp_published.len() > before {
            self.event(Event::Reachable { published: true, why: "a router that we never dialled has connected" });
        }
    }

    pub(super) fn handle_publisher(&mut self, event: publish::Event) {
        let publish::Event::Store { floodfill, token } = event else { return };
        let Some(info) = self.own_info.clone() else { return };
        let reply = StoreReply { token, tunnel: 0, gateway: self.hash };
        let store = DatabaseStore::new(Entry::RouterInfo(info), Some(reply));
        let message = self.message(Kind::DATABASE_STORE, DIRECT_MS, store.to_bytes());
        if !self.send_direct(&floodfill, message) {
            self.publisher.handle_store_failed(self.now, token, &self.store);
        }
    }

    /// A new message that lives for `lifetime_ms`.
    pub(super) fn message(&mut self, kind: Kind, lifetime_ms: u64, body: Vec<u8>) -> Message {
        Message { kind, id: self.rng.nonzero_u32(), expiration: self.now.unix_ms + lifetime_ms, body }
    }

    /// Regular cleaning.
    pub(super) fn sweep(&mut self) {
        self.timers.set(Timer::Sweep, self.now.mono + SWEEP);
        self.store.expire(self.now);
        self.update_caps();
        self.update_floodfill();
        if let Some(floodfill) = &mut self.floodfill {
            floodfill.expire(self.now);
        }
        let now = self.now.mono;
        self.one_time.retain(|_, key| key.expires > now);
        self.waiting.retain(|_, waiting| now.since(waiting.since) < Duration::from_secs(20));
        for change in self.store.take_dirty() {
            self.outputs.push_back(match change {
                Change::Save(info) => Output::SaveRouterInfo(info),
                Change::Remove(hash) => Output::DropRouterInfo(hash),
            });
        }
    }
}
