//! Dialling a peer by its RouterInfo.

use super::connection::{Connection, State};
use super::job::{LinkJob, Step};
use super::ntcp2::handshake::{Initiator, ResponderKeys};
use super::{CloseKind, ConnId, Event, Links};
use crate::limits::link as limits;
use crate::time::{Duration, Now};
use ramson_wire::data::RouterInfo;
use ramson_wire::ntcp2::{Block, RouterInfoBlock};
use std::net::SocketAddr;
use std::sync::Arc;

/// TCP and the handshake together must be done by then.
const DIAL_TIMEOUT: Duration = Duration::from_secs(12);
/// Where there is another way, over UDP, TCP alone is waited for this long: what waits must still be good then.
const TCP_PATIENCE: Duration = Duration::from_secs(3);
/// So many failed connections in a row make a family suspect.
const SUSPECT: u32 = 4;

/// How TCP connections by IPv4 and by IPv6 fare. Where the machine has no way into one of them, peers that have both
/// are dialled by the other one first. Nothing is ever left undone for it: peers must not be able to cut us off.
#[derive(Default)]
pub(super) struct Families {
    lost_v4: u32,
    lost_v6: u32,
}

impl Families {
    const fn lost(&mut self, v4: bool) -> &mut u32 {
        if v4 { &mut self.lost_v4 } else { &mut self.lost_v6 }
    }

    pub(super) const fn is_suspect(&self, v4: bool) -> bool {
        (if v4 { self.lost_v4 } else { self.lost_v6 }) >= SUSPECT
    }
}

impl Links {
    /// The address at which the peer can be dialled, and what obfuscates the handshake; `None` when it publishes none
    /// that we may use.
    pub fn dial_target(&self, info: &RouterInfo) -> Option<(SocketAddr, ResponderKeys)> {
        self.dial_target_where(info, |_| true)
    }

    /// Whether the peer can be dialled at all.
    pub fn can_dial(&self, info: &RouterInfo) -> bool {
        self.dial_target(info).is_some() || self.udp_target(info).is_some() || self.is_introduced(info)
    }

    fn dial_target_where(
        &self,
        info: &RouterInfo,
        wanted: impl Fn(&SocketAddr) -> bool,
    ) -> Option<(SocketAddr, ResponderKeys)> {
        info.ntcp2_addresses().iter().find_map(|address| {
            let (addr, iv) = address.endpoint()?;
            let keys = ResponderKeys { router: info.hash(), static_key: address.static_key, iv };
            (self.config.addresses.allows(&addr) && wanted(&addr)).then_some((addr, keys))
        })
    }

    /// The address to dial now: after a failed dial, of the other family where there is one; else not of a suspect one.
    fn next_target(&self, info: &RouterInfo) -> Option<SocketAddr> {
        let other = self.failed.get(&info.hash()).and_then(|failed| {
            let v4 = !failed.v4;
            self.dial_target_where(info, |addr| addr.is_ipv4() == v4)
        });
        let sound = || self.dial_target_where(info, |addr| !self.families.is_suspect(addr.is_ipv4()));
        other.or_else(sound).or_else(|| self.dial_target(info)).map(|(addr, _)| addr)
    }

    /// Starts a connection unless there is one. True when a session stands or is on its way.
    pub fn dial(&mut self, now: Now, info: &Arc<RouterInfo>) -> bool {
        let hash = info.hash();
        if hash == self.config.router || self.router_info.is_empty() || self.is_failed(now, &hash) {
            return false;
        }
        if self.peers.get(&hash).is_some_and(|p| p.current.is_some() || p.dialling.is_some()) {
            return true;
        }
        let Some(addr) = self.next_target(info).filter(|_| !self.prefers_udp(info)) else {
            return self.dial_udp(now, info) || self.dial_introduced(now, info);
        };
        if self.conns.len() >= limits::CONNECTIONS {
            return false;
        }
        let id = ConnId(self.next_conn);
        self.next_conn += 1;
        let state = State::Dialling { info: Arc::clone(info), second: false };
        self.conns.insert(id, Connection::new(now.mono, addr, false, Some(hash), state));
        self.peers.entry(hash).or_default().dialling = Some(id);
        self.dialled.insert(hash, ());
        let patience = if self.udp_target(info).is_some() { TCP_PATIENCE } else { DIAL_TIMEOUT };
        self.timers.set(id, now.mono + patience);
        self.events.push_back(Event::Open { conn: id, addr });
        true
    }

    /// A TCP connection could not be made: the peer's address of the other family is tried, once. False when there is
    /// none, or when this connection was not being made.
    pub(super) fn dial_again(&mut self, now: Now, id: ConnId) -> bool {
        let Some(conn) = self.conns.get(&id) else { return false };
        let State::Dialling { info, second } = &conn.state else { return false };
        let (info, second, v4) = (Arc::clone(info), *second, conn.addr.is_ipv4());
        let lost = self.families.lost(v4);
        *lost = lost.saturating_add(1);
        let other = if second { None } else { self.dial_target_where(&info, |addr| addr.is_ipv4() != v4) };
        let Some((addr, _)) = other else { return self.dial_udp_instead(now, id, false) };
        let Some(conn) = self.conns.get_mut(&id) else { return false };
        conn.addr = addr;
        conn.state = State::Dialling { info, second: true };
        self.timers.set(id, now.mono + DIAL_TIMEOUT);
        self.events.push_back(Event::Open { conn: id, addr });
        true
    }

    /// Whether the peer is to be dialled over UDP though it has an address of TCP: by that it could not be reached.
    fn prefers_udp(&self, info: &RouterInfo) -> bool {
        let failed_by_tcp = self.failed.get(&info.hash()).is_some_and(|failed| !failed.udp);
        failed_by_tcp && self.udp_target(info).is_some()
    }

    /// A TCP connection could not be made, or nobody has answered on it: the peer is dialled over UDP, if it can be. False
    /// when it cannot, or when this connection was not being made.
    pub(super) fn dial_udp_instead(&mut self, now: Now, id: ConnId, close: bool) -> bool {
        let Some(conn) = self.conns.get(&id) else { return false };
        let State::Dialling { info, .. } = &conn.state else { return false };
        let info = Arc::clone(info);
        if !self.dial_udp(now, &info) {
            return false;
        }
        if close {
            self.events.push_back(Event::Close { conn: id, how: CloseKind::Reset });
        }
        self.remove(now, id);
        true
    }

    /// The TCP connection that `Event::Open` asked for stands, and takes `room` bytes.
    pub fn handle_opened(&mut self, now: Now, id: ConnId, room: usize) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let State::Dialling { info, .. } = std::mem::replace(&mut conn.state, State::Working) else { return };
        *self.families.lost(conn.addr.is_ipv4()) = 0;
        conn.room = room;
        let dialled = conn.addr;
        self.timers.set(id, conn.opened + DIAL_TIMEOUT);
        let Some((_, responder)) = self.dial_target_where(&info, |addr| *addr == dialled) else {
            self.remove(now, id);
            return;
        };
        let mut payload = Vec::with_capacity(self.router_info.len() + 32);
        RouterInfoBlock { flood: false, router_info: &self.router_info }.encode(&mut payload);
        Block::encode_padding(&mut payload, self.rng.below(16));
        let initiator = Initiator {
            static_key: self.config.static_key.clone(),
            responder,
            network_id: self.config.network_id,
            timestamp: rounded_secs(now),
            padding: self.config.padding.draw(&mut self.rng),
            payload,
        };
        self.events.push_back(Event::Job(LinkJob { conn: id, step: Step::Request(Box::new(initiator)) }));
    }
}

/// Seconds since 1970, rounded as the specification asks, so that a truncated clock does not look skewed.
pub(super) fn rounded_secs(now: Now) -> u32 {
    u32::try_from((now.unix_ms + 500) / 1000).unwrap_or(u32::MAX)
}
