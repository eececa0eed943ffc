//! Dialling a peer by its RouterInfo.

use super::connection::{Connection, State};
use super::job::{LinkJob, Step};
use super::ntcp2::handshake::{Initiator, ResponderKeys};
use super::ssu2::handshake::ResponderKeys as UdpKeys;
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
/// The same of UDP, where there is another way and nothing at all has come back: long enough for three packets.
const UDP_PATIENCE: Duration = Duration::from_secs(4);
/// The endpoint gives up before.
pub(super) const UDP_TIMEOUT: Duration = Duration::from_secs(60);
/// So many failed connections in a row make a family suspect.
const SUSPECT: u32 = 4;

/// How dials over TCP and over UDP, by IPv4 and by IPv6, fare. Where the machine has no way into one of them, peers that
/// have both are dialled by the other one first. Nothing is ever left undone for it: peers must not be able to cut us off.
#[derive(Default)]
pub(super) struct Families {
    lost: [u32; 4],
}

impl Families {
    const fn lost(&mut self, by: By) -> &mut u32 {
        &mut self.lost[by.index()]
    }

    const fn is_suspect(&self, by: By) -> bool {
        self.lost[by.index()] >= SUSPECT
    }

    /// A dial over UDP by this family has come through.
    pub(super) const fn note_udp(&mut self, v4: bool) {
        *self.lost(By { udp: true, v4 }) = 0;
    }

    #[cfg(test)]
    pub(super) const fn is_tcp_suspect(&self, v4: bool) -> bool {
        self.is_suspect(By { udp: false, v4 })
    }
}

/// A transport and a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct By {
    udp: bool,
    v4: bool,
}

impl By {
    const fn index(self) -> usize {
        2 * self.udp as usize + self.v4 as usize
    }
}

/// The ways to a peer that are not for this dial, or not any more: each is tried once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tried(u8);

impl Tried {
    /// Only an address of the peer's own over UDP will do.
    pub(super) const ALL_BUT_UDP: Self = Self(0b1_0011);
    pub(super) const ALL: Self = Self(0b1_1111);
    const INTRODUCED: u8 = 0b1_0000;

    const fn and(self, by: By) -> Self {
        Self(self.0 | 1 << by.index())
    }

    const fn has(self, by: By) -> bool {
        self.0 & 1 << by.index() != 0
    }

    /// The same, and without one family of UDP.
    pub(super) const fn and_udp(self, v4: bool) -> Self {
        self.and(By { udp: true, v4 })
    }
}

/// Where a peer is dialled.
enum Way {
    Tcp(SocketAddr),
    Udp(SocketAddr, UdpKeys),
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

    /// Starts a connection unless there is one. True when a session stands or is on its way.
    pub fn dial(&mut self, now: Now, info: &Arc<RouterInfo>) -> bool {
        let hash = info.hash();
        if hash == self.config.router || self.router_info.is_empty() || self.is_failed(now, &hash) {
            return false;
        }
        if self.peers.get(&hash).is_some_and(|p| p.current.is_some() || p.dialling.is_some()) {
            return true;
        }
        self.dial_next(now, info, Tried::default())
    }

    /// The way to take now. TCP comes first, but where it was TCP that failed last.
    fn next_way(&self, info: &RouterInfo, tried: Tried) -> Option<Way> {
        let udp_first = self.failed.get(&info.hash()).is_some_and(|failed| !failed.udp);
        let tcp = || self.next_of(info, tried, false, |v4| self.dial_target_where(info, v4));
        let udp = || self.next_of(info, tried, true, |v4| self.udp_target_where(info, v4));
        let tcp = || tcp().map(|(addr, _)| Way::Tcp(addr));
        let udp = || udp().map(|(addr, keys)| Way::Udp(addr, keys));
        if udp_first { udp().or_else(tcp) } else { tcp().or_else(udp) }
    }

    /// The target to try next by one transport: of the family that did not fail last, else one that is not suspect, else the
    /// first that the peer publishes.
    fn next_of<T>(
        &self,
        info: &RouterInfo,
        tried: Tried,
        udp: bool,
        target: impl Fn(&dyn Fn(&SocketAddr) -> bool) -> Option<(SocketAddr, T)>,
    ) -> Option<(SocketAddr, T)> {
        let left = |addr: &SocketAddr| !tried.has(By { udp, v4: addr.is_ipv4() });
        let failed = self.failed.get(&info.hash()).map(|failed| failed.v4);
        let sound = |addr: &SocketAddr| !self.families.is_suspect(By { udp, v4: addr.is_ipv4() });
        let other = failed.and_then(|v4| target(&|addr| left(addr) && addr.is_ipv4() != v4));
        other.or_else(|| target(&|addr| left(addr) && sound(addr))).or_else(|| target(&left))
    }

    /// Takes the next of the ways that are left; the last are the peer's introducers. False when there is none, or no room.
    pub(super) fn dial_next(&mut self, now: Now, info: &Arc<RouterInfo>, mut tried: Tried) -> bool {
        while let Some(way) = self.next_way(info, tried) {
            let (udp, addr) = match way {
                Way::Tcp(addr) => (false, addr),
                Way::Udp(addr, _) => (true, addr),
            };
            tried = tried.and(By { udp, v4: addr.is_ipv4() });
            let begun = match way {
                Way::Tcp(addr) => self.dial_tcp_at(now, info, addr, tried),
                Way::Udp(addr, keys) => self.dial_udp_at(now, info, (addr, keys), tried),
            };
            if begun {
                return true;
            }
        }
        tried.0 & Tried::INTRODUCED == 0 && self.dial_introduced(now, info)
    }

    fn dial_tcp_at(&mut self, now: Now, info: &Arc<RouterInfo>, addr: SocketAddr, tried: Tried) -> bool {
        if self.conns.len() >= limits::CONNECTIONS {
            return false;
        }
        let (hash, id) = (info.hash(), ConnId(self.next_conn));
        self.next_conn += 1;
        let state = State::Dialling { info: Arc::clone(info), tried };
        self.conns.insert(id, Connection::new(now.mono, addr, false, Some(hash), state));
        self.peers.entry(hash).or_default().dialling = Some(id);
        self.dialled.insert(hash, ());
        let patience = if self.is_left_over_udp(info, tried) { TCP_PATIENCE } else { DIAL_TIMEOUT };
        self.timers.set(id, now.mono + patience);
        self.events.push_back(Event::Open { conn: id, addr });
        true
    }

    fn is_left_over_udp(&self, info: &RouterInfo, tried: Tried) -> bool {
        self.udp_target_where(info, |addr| !tried.has(By { udp: true, v4: addr.is_ipv4() })).is_some()
    }

    /// How long an answer over UDP is waited for.
    pub(super) fn udp_patience(&self, info: &RouterInfo, tried: Tried) -> Duration {
        if self.next_way(info, tried).is_some() { UDP_PATIENCE } else { UDP_TIMEOUT }
    }

    /// A connection could not be made: the next way to the peer is tried. False when there is none, or when this connection
    /// was not being made.
    pub(super) fn dial_again(&mut self, now: Now, id: ConnId) -> bool {
        let Some(conn) = self.conns.get(&id) else { return false };
        let (udp, v4) = (id.is_udp(), conn.addr.is_ipv4());
        let (State::Dialling { info, tried } | State::UdpDialling { info, tried }) = &conn.state else { return false };
        let (info, tried) = (Arc::clone(info), *tried);
        let lost = self.families.lost(By { udp, v4 });
        *lost = lost.saturating_add(1);
        if !self.dial_next(now, &info, tried) {
            return false;
        }
        self.remove(now, id);
        true
    }

    /// Nothing at all has come of this dial. Over TCP, which may lose what it sends, the next way is one over UDP; over UDP it is
    /// any. False when there is none: then it is waited for longer, or was not being made.
    pub(super) fn dial_past_silence(&mut self, now: Now, id: ConnId) -> bool {
        let Some(conn) = self.conns.get(&id) else { return false };
        match &conn.state {
            State::UdpDialling { .. } => self.dial_again(now, id),
            State::Dialling { info, tried } => {
                let both = tried.and(By { udp: false, v4: true }).and(By { udp: false, v4: false });
                let info = Arc::clone(info);
                if !self.is_left_over_udp(&info, both) || !self.dial_next(now, &info, both) {
                    return false;
                }
                self.events.push_back(Event::Close { conn: id, how: CloseKind::Reset });
                self.remove(now, id);
                true
            }
            _ => false,
        }
    }

    /// The TCP connection that `Event::Open` asked for stands, and takes `room` bytes.
    pub fn handle_opened(&mut self, now: Now, id: ConnId, room: usize) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let State::Dialling { info, .. } = std::mem::replace(&mut conn.state, State::Working) else { return };
        *self.families.lost(By { udp: false, v4: conn.addr.is_ipv4() }) = 0;
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
