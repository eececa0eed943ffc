//! SSU2 in the plane of all links: its sessions are connections like those of NTCP2, with the same outboxes and events.
//!
//! A connection stands here for a session that we dial, or that is established; handshakes that others begin are the
//! endpoint's own affair until they have shown who they are.

mod incoming;
mod moved;
mod outgoing;
mod outside;
mod relay;

use super::connection::{Connection, State};
use super::dial::{Tried, UDP_TIMEOUT};
use super::job::{LinkJob, Step};
use super::ssu2::endpoint::{self, Dial, Endpoint, EndpointConfig};
use super::ssu2::handshake::ResponderKeys;
use super::ssu2::relay::{Relay, RelayConfig};
use super::ssu2::transfer::{PathChange, Transfer, TransferConfig};
use super::{ConnId, Event, Links};
use crate::limits::link as limits;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::RouterInfo;
use ramson_wire::ntcp2::TerminationReason;
use ramson_wire::ssu2::{self as wire, MTU_MAX};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A UDP socket of the shell: its place in the list that the router was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpId(pub u8);

/// Datagrams to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagrams {
    pub socket: UdpId,
    pub to: SocketAddr,
    /// The address of ours that they come from, for a socket that is bound to several.
    pub from: Option<IpAddr>,
    /// Each has so many bytes, the last one perhaps less.
    pub segment: usize,
    pub bytes: Vec<u8>,
}

/// What SSU2 needs beside what all links share.
pub struct UdpConfig {
    /// Where the sockets are bound, by [`UdpId`].
    pub sockets: Vec<SocketAddr>,
    /// The published static key ("s") and introduction key ("i").
    pub static_key: SecretKey,
    pub intro_key: [u8; 32],
    /// The key of our identity, which signs introductions.
    pub signing: Arc<SigningKey>,
}

/// The sessions over UDP.
pub(super) struct Udp {
    endpoint: Endpoint,
    relay: Relay,
    sockets: Vec<SocketAddr>,
    /// Sockets that take no more datagrams.
    blocked: Vec<bool>,
    next_conn: u64,
    rng: Rng,
    /// When all sessions last asked whether their peers know where we are.
    asked_all: Option<Instant>,
    /// Where packets are sealed.
    packet: Vec<u8>,
    spoken: outside::Spoken,
}

/// An established session over UDP.
pub(super) struct UdpSession {
    transfer: Transfer,
    flow: moved::Flow,
    /// Our RouterInfo goes out with what goes next.
    pub(super) router_info_due: bool,
    /// Nothing more is given to it; it is closed then.
    pub(super) retires: Option<Instant>,
}

impl Udp {
    fn socket_of(&self, v4: bool) -> Option<usize> {
        self.sockets.iter().position(|socket| socket.is_ipv4() == v4)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.next_timeout().into_iter().chain(self.relay.next_timeout()).min()
    }

    pub(super) fn set_router_info(&mut self, bytes: &[u8]) {
        self.endpoint.set_router_info(bytes.to_vec());
    }

    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn relay_check(&self) {
        self.relay.check();
    }

    pub(super) const fn stats(&self) -> endpoint::EndpointStats {
        self.endpoint.stats()
    }

    fn is_blocked(&self, v4: bool) -> bool {
        self.socket_of(v4).and_then(|at| self.blocked.get(at)).copied().unwrap_or(true)
    }
}

impl Links {
    /// From now on there is SSU2. To be called once, before anything else.
    pub fn enable_udp(&mut self, config: UdpConfig) {
        let mut rng = self.rng.child("udp");
        let endpoint_config = EndpointConfig {
            network_id: self.config.network_id,
            static_key: config.static_key,
            intro_key: config.intro_key,
            router: self.config.router,
            addresses: self.config.addresses,
        };
        let relay = RelayConfig {
            network_id: self.config.network_id,
            router: self.config.router,
            addresses: self.config.addresses,
            signing: config.signing,
        };
        self.udp = Some(Box::new(Udp {
            relay: Relay::new(relay, rng.child("relay")),
            endpoint: Endpoint::new(endpoint_config, rng.child("endpoint")),
            blocked: vec![false; config.sockets.len()],
            sockets: config.sockets,
            next_conn: 0,
            rng,
            asked_all: None,
            packet: Vec::new(),
            spoken: outside::Spoken::default(),
        }));
    }

    /// Where the peer can be reached over UDP, and by which keys; `None` when nowhere by an address that we may use.
    pub(super) fn udp_target(&self, info: &RouterInfo) -> Option<(SocketAddr, ResponderKeys)> {
        self.udp_target_where(info, |_| true)
    }

    pub(super) fn udp_target_where(
        &self,
        info: &RouterInfo,
        wanted: impl Fn(&SocketAddr) -> bool,
    ) -> Option<(SocketAddr, ResponderKeys)> {
        let udp = self.udp.as_ref()?;
        info.ssu2_addresses().iter().find_map(|address| {
            let addr = address.endpoint()?;
            let usable =
                self.config.addresses.allows(&addr) && udp.socket_of(addr.is_ipv4()).is_some() && wanted(&addr);
            let keys =
                ResponderKeys { router: info.hash(), static_key: address.static_key, intro_key: address.intro_key };
            usable.then_some((addr, keys))
        })
    }

    /// Begins a session over UDP, beside one over TCP that there may be, by this family where one is named. False when there
    /// is no way, or a dial is under way.
    pub fn dial_over_udp(&mut self, now: Now, info: &Arc<RouterInfo>, v4: Option<bool>) -> bool {
        let hash = info.hash();
        let busy = self.peers.get(&hash).is_some_and(|peer| peer.dialling.is_some());
        let own = hash == self.config.router || self.router_info.is_empty();
        if busy || own || self.udp_address(&hash).is_some() || self.is_failed(now, &hash) {
            return false;
        }
        let tried = v4.map_or(Tried::ALL_BUT_UDP, |v4| Tried::ALL_BUT_UDP.and_udp(!v4));
        self.dial_next(now, info, tried)
    }

    pub(super) fn dial_udp_at(
        &mut self,
        now: Now,
        info: &Arc<RouterInfo>,
        (addr, keys): (SocketAddr, ResponderKeys),
        tried: Tried,
    ) -> bool {
        self.note_spoken_to(now, addr.ip());
        let Some(udp) = &mut self.udp else { return false };
        let hash = info.hash();
        let id = ConnId(ConnId::UDP | udp.next_conn);
        let relay_tag = udp.asks_for_tag(id, info, &addr);
        let how = Dial { token: None, relay_tag };
        if self.conns.len() >= limits::CONNECTIONS || !udp.endpoint.dial(now, id, hash, keys, addr, how) {
            return false;
        }
        udp.next_conn += 1;
        let state = State::UdpDialling { info: Arc::clone(info), tried };
        self.conns.insert(id, Connection::new(now.mono, addr, false, Some(hash), state));
        self.peers.entry(hash).or_default().dialling = Some(id);
        self.dialled.insert(hash, ());
        self.timers.set(id, now.mono + self.udp_patience(info, tried));
        self.drain_udp(now);
        true
    }

    /// The sockets of a family take datagrams again, or no more.
    pub fn handle_udp_blocked(&mut self, socket: UdpId, blocked: bool) {
        let Some(udp) = &mut self.udp else { return };
        if let Some(state) = udp.blocked.get_mut(usize::from(socket.0)) {
            *state = blocked;
        }
        if !blocked {
            self.dirty.extend(self.conns.keys().filter(|id| id.is_udp()));
        }
    }

    /// Takes in what the endpoint has to tell. To be called after everything that it was told.
    pub(super) fn drain_udp(&mut self, now: Now) {
        while let Some(event) = self.udp.as_mut().and_then(|udp| udp.endpoint.poll_event()) {
            match event {
                endpoint::Event::Datagram { to, bytes } => self.send_datagrams(to, bytes.len(), bytes),
                endpoint::Event::Job(conn, step) => {
                    self.events.push_back(Event::Job(LinkJob { conn, step: Step::Ssu2(Box::new(step)) }));
                }
                endpoint::Event::Up { id, info } => self.udp_up(now, id, info),
                endpoint::Event::Packet { id, number, immediate_ack, payload } => {
                    self.early_packet(now, id, number, immediate_ack, &payload);
                }
                endpoint::Event::Control { id, to, blocks } => self.control(now, id, to, blocks),
                endpoint::Event::Moved { id, ip_changed } => self.moved(now, id, ip_changed),
                endpoint::Event::Clock { peer, offset_ms } => self.events.push_back(Event::Clock { peer, offset_ms }),
                endpoint::Event::SeenAt { id, seen } => self.seen_at(id, seen),
                endpoint::Event::Outside { from, outside } => self.events.push_back(Event::Outside { from, outside }),
                endpoint::Event::Tag { id, tag } => self.handle_tag(now, id, tag),
                endpoint::Event::HolePunch { from, nonce, packet } => self.hole_punch(now, from, nonce, packet),
                endpoint::Event::Down { id, reason } => self.udp_down(now, id, reason),
            }
        }
        self.drain_relay(now);
    }

    fn udp_up(&mut self, now: Now, id: ConnId, info: Option<crate::netdb::store::Verified>) {
        let Some(udp) = &mut self.udp else { return };
        let Some(addr) = udp.endpoint.address(id) else { return };
        let (inbound, full) = (id.is_inbound(), self.conns.len() >= limits::CONNECTIONS);
        let known = self.conns.get(&id).and_then(|conn| conn.peer);
        let peer = known.or_else(|| info.as_ref().map(|info| info.info().hash()));
        let (Some(peer), false) = (peer, inbound && full) else {
            udp.endpoint.terminate(now, id, wire::TerminationReason::CONNECTION_LIMITS);
            return;
        };
        let mtu = self.peer_mtu(id, info.as_ref().map(|info| &**info.info()), addr);
        let Some(udp) = &mut self.udp else { return };
        let config =
            TransferConfig { first_number: u32::from(!inbound), rtt: udp.endpoint.trip(id), ipv6: addr.is_ipv6(), mtu };
        let transfer = Transfer::new(now, config, udp.rng.child("transfer"));
        let state = State::UdpUp(Box::new(UdpSession {
            transfer,
            flow: moved::Flow::default(),
            router_info_due: false,
            retires: None,
        }));
        if !inbound {
            self.families.note_udp(addr.is_ipv4());
        }
        let mut conn = Connection::new(now.mono, addr, inbound, Some(peer), State::Working);
        if let Some(before) = self.conns.get(&id) {
            conn.opened = before.opened;
        }
        conn.state = state;
        // Nothing is ever ahead of the socket: there is always some.
        conn.room = 1;
        self.conns.insert(id, conn);
        self.stands(now, id, info);
    }

    /// The smaller of what we and the peer publish for this address.
    fn peer_mtu(&self, id: ConnId, info: Option<&RouterInfo>, addr: SocketAddr) -> u16 {
        let dialled = match self.conns.get(&id).map(|conn| &conn.state) {
            Some(State::UdpDialling { info, .. }) => Some(&**info),
            _ => None,
        };
        let addresses = info.or(dialled).map(RouterInfo::ssu2_addresses).unwrap_or_default();
        let of_host = addresses.iter().find(|address| address.host == Some(addr.ip()));
        of_host.or_else(|| addresses.first()).map_or(MTU_MAX, |address| address.mtu)
    }

    fn udp_down(&mut self, now: Now, id: ConnId, reason: Option<wire::TerminationReason>) {
        let Some(conn) = self.conns.get(&id) else { return };
        if let (true, Some(reason), Some(peer)) = (conn.is_up(), reason, conn.peer) {
            self.events.push_back(Event::Terminated { peer, reason: TerminationReason(reason.0) });
        }
        // Who refuses us as such does so by any way.
        let elsewhere = reason.is_none_or(|reason| reason == wire::TerminationReason::CONNECTION_LIMITS);
        if !elsewhere || !self.dial_again(now, id) {
            self.remove(now, id);
        }
    }

    fn moved(&mut self, now: Now, id: ConnId, ip_changed: bool) {
        let Some(addr) = self.udp.as_ref().and_then(|udp| udp.endpoint.address(id)) else { return };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.addr = addr;
        let State::UdpUp(session) = &mut conn.state else { return };
        let change = match ip_changed {
            true => PathChange::Address { ipv6: addr.is_ipv6(), mtu: MTU_MAX },
            false => PathChange::Port,
        };
        session.transfer.path_changed(now, change);
        self.dirty.insert(id);
    }

    /// The timer of a connection over UDP has run out.
    pub(super) fn udp_deadline(&mut self, now: Now, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let State::UdpUp(session) = &mut conn.state else {
            // Where something has come back the endpoint says when it is over.
            if self.udp.as_ref().is_some_and(|udp| udp.endpoint.is_answered(id)) {
                self.timers.set(id, now.mono + UDP_TIMEOUT);
            } else if !self.dial_past_silence(now, id) {
                self.remove(now, id);
            }
            return;
        };
        if session.retires.is_some_and(|at| at <= now.mono) || session.transfer.is_exhausted() {
            return self.terminate(now, id, TerminationReason::NORMAL);
        }
        session.transfer.handle_timeout(now, &mut self.totals);
        if session.transfer.is_dead(now) {
            conn.hung_up = true;
            return self.terminate(now, id, TerminationReason(wire::TerminationReason::TIMEOUT.0));
        }
        if session.flow.has_stopped(now.mono) {
            self.ask(now, id);
        }
        self.set_udp_timer(now, id);
        self.dirty.insert(id);
    }

    /// Every connection has a deadline.
    fn set_udp_timer(&mut self, now: Now, id: ConnId) {
        const LATEST: Duration = Duration::from_secs(60);
        let Some(conn) = self.conns.get(&id) else { return };
        let State::UdpUp(session) = &conn.state else { return };
        let next = session.transfer.next_timeout().into_iter().chain(session.retires).chain(session.flow.look);
        self.timers.set(id, next.min().unwrap_or(Instant::FAR).min(now.mono + LATEST));
    }

    /// Ends a session over UDP, telling the peer.
    pub(super) fn terminate_udp(&mut self, now: Now, id: ConnId, reason: TerminationReason) {
        if let Some(udp) = &mut self.udp {
            udp.endpoint.terminate(now, id, wire::TerminationReason(reason.0));
        }
        self.drain_udp(now);
        self.remove(now, id);
    }

    /// A connection over UDP is forgotten: so is its session.
    pub(super) fn forget_udp(&mut self, now: Now, id: ConnId, conn: &mut Connection) {
        self.note_spoken_to(now, conn.addr.ip());
        if let State::UdpUp(session) = &mut conn.state {
            session.transfer.close(&mut self.totals);
        }
        if let Some(udp) = &mut self.udp {
            udp.endpoint.end_broken(id);
        }
    }

    pub(super) fn handle_udp_timeout(&mut self, now: Now) {
        if let Some(udp) = &mut self.udp {
            udp.endpoint.handle_timeout(now);
            udp.relay.handle_timeout(now);
        }
        self.drain_udp(now);
    }

    /// A step of a handshake over UDP is done.
    pub(super) fn udp_job(&mut self, now: Now, id: ConnId, outcome: super::ssu2::job::Outcome) {
        if let Some(udp) = &mut self.udp {
            match outcome {
                super::ssu2::job::Outcome::Relay(done) => udp.relay.handle_job(now, done),
                outcome => udp.endpoint.handle_job(now, id, outcome),
            }
        }
        self.drain_udp(now);
    }

    /// The job of a handshake that others began has panicked.
    pub(super) fn end_udp_handshake(&mut self, now: Now, id: ConnId) {
        if let Some(udp) = &mut self.udp {
            udp.endpoint.end_broken(id);
        }
        self.drain_udp(now);
    }
}
