//! Address translators, in the words of RFC 4787: how they map what goes out, and what they let in.

use ramson_core::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Mappings of one translator; the one that was used least lately makes room.
const MAPPINGS: usize = 4_096;
/// Peers that one mapping remembers to let them in; the one that was sent to least lately makes room.
const PEERS: usize = 1_024;
/// Where ports are taken from.
const PORTS: std::ops::RangeInclusive<u16> = 20_000..=59_999;

/// On what of the other side's address something depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependence {
    /// On nothing: endpoint-independent.
    None,
    /// On the address alone.
    Address,
    /// On address and port.
    AddressAndPort,
}

/// How a translator behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatKind {
    /// Who of the other side gets another port.
    pub mapping: Dependence,
    /// Who of the other side is let in: who was sent something.
    pub filtering: Dependence,
    /// How long a mapping lives that nothing goes out by. RFC 4787 asks for two minutes at least; many have 30 s.
    pub timeout: Duration,
    /// The port of the inside is taken outside, where it is free.
    pub keeps_port: bool,
    /// Routers behind it reach each other by its outer address.
    pub hairpins: bool,
}

impl NatKind {
    /// Everybody is let in once something has gone out.
    pub const FULL_CONE: Self = Self::of(Dependence::None, Dependence::None);
    /// Let in is who has been sent something, at whatever port.
    pub const RESTRICTED: Self = Self::of(Dependence::None, Dependence::Address);
    /// Let in is who has been sent something, at that port.
    pub const PORT_RESTRICTED: Self = Self::of(Dependence::None, Dependence::AddressAndPort);
    /// Each peer sees another port.
    pub const SYMMETRIC: Self =
        Self { keeps_port: false, ..Self::of(Dependence::AddressAndPort, Dependence::AddressAndPort) };

    const fn of(mapping: Dependence, filtering: Dependence) -> Self {
        Self { mapping, filtering, timeout: Duration::from_secs(120), keeps_port: true, hairpins: false }
    }
}

/// What of `peer` counts.
fn part(of: Dependence, peer: SocketAddr) -> Option<(IpAddr, Option<u16>)> {
    match of {
        Dependence::None => None,
        Dependence::Address => Some((peer.ip(), None)),
        Dependence::AddressAndPort => Some((peer.ip(), Some(peer.port()))),
    }
}

/// What a mapping is found by: the inside, and what of the other side counts.
type MappingKey = (SocketAddr, Option<(IpAddr, Option<u16>)>);

/// One translator with its mappings.
#[derive(Clone, Debug)]
pub struct Nat {
    kind: NatKind,
    outer: IpAddr,
    mappings: BTreeMap<MappingKey, Mapping>,
    /// Which mapping has a port.
    ports: BTreeMap<u16, MappingKey>,
    next_port: u16,
}

#[derive(Clone, Debug)]
struct Mapping {
    port: u16,
    last_out: Instant,
    /// Who has been sent something, and when.
    peers: BTreeMap<(IpAddr, Option<u16>), Instant>,
}

impl Nat {
    /// A translator with this address outside.
    pub const fn new(kind: NatKind, outer: IpAddr) -> Self {
        Self { kind, outer, mappings: BTreeMap::new(), ports: BTreeMap::new(), next_port: *PORTS.start() }
    }

    pub const fn kind(&self) -> NatKind {
        self.kind
    }

    pub const fn outer(&self) -> IpAddr {
        self.outer
    }

    /// A datagram goes out: where it comes from, seen from outside.
    pub fn outbound(&mut self, now: Instant, inside: SocketAddr, to: SocketAddr) -> SocketAddr {
        self.expire(now);
        let key = (inside, part(self.kind.mapping, to));
        if !self.mappings.contains_key(&key) {
            self.make_room();
            let port = self.free_port(inside.port());
            self.ports.insert(port, key);
            self.mappings.insert(key, Mapping { port, last_out: now, peers: BTreeMap::new() });
        }
        let Some(mapping) = self.mappings.get_mut(&key) else { return SocketAddr::new(self.outer, inside.port()) };
        mapping.last_out = now;
        if let Some(peer) = part(self.kind.filtering, to) {
            let oldest = mapping.peers.iter().min_by_key(|(_, at)| **at).map(|(peer, _)| *peer);
            if mapping.peers.len() >= PEERS
                && let Some(oldest) = oldest
            {
                mapping.peers.remove(&oldest);
            }
            mapping.peers.insert(peer, now);
        }
        SocketAddr::new(self.outer, mapping.port)
    }

    /// A datagram comes to a port outside: where it goes inside, unless it is not let in. What comes in does not lengthen
    /// a mapping's life (RFC 4787, section 4.3: anybody could).
    pub fn inbound(&mut self, now: Instant, from: SocketAddr, port: u16) -> Option<SocketAddr> {
        self.expire(now);
        let key = self.ports.get(&port)?;
        let mapping = self.mappings.get(key)?;
        let known = part(self.kind.filtering, from)
            .is_none_or(|peer| mapping.peers.get(&peer).is_some_and(|at| now.since(*at) < self.kind.timeout));
        // A port that is one peer's lets in nobody else.
        let own = key.1.is_none_or(|of| part(self.kind.mapping, from) == Some(of));
        (known && own).then_some(key.0)
    }

    /// Forgets everything, as one that restarts: from now on other ports are used.
    pub fn rebind(&mut self) {
        self.mappings.clear();
        self.ports.clear();
        self.kind.keeps_port = false;
    }

    /// Has another address outside from now on, as after a new dial-in.
    pub fn move_to(&mut self, outer: IpAddr) {
        self.outer = outer;
        self.mappings.clear();
        self.ports.clear();
    }

    fn expire(&mut self, now: Instant) {
        let timeout = self.kind.timeout;
        let ports = &mut self.ports;
        self.mappings.retain(|_, mapping| {
            let lives = now.since(mapping.last_out) < timeout;
            if !lives {
                ports.remove(&mapping.port);
            }
            lives
        });
    }

    fn make_room(&mut self) {
        if self.mappings.len() < MAPPINGS {
            return;
        }
        let oldest = self.mappings.iter().min_by_key(|(_, mapping)| mapping.last_out).map(|(key, _)| *key);
        if let Some(mapping) = oldest.and_then(|key| self.mappings.remove(&key)) {
            self.ports.remove(&mapping.port);
        }
    }

    fn free_port(&mut self, inside: u16) -> u16 {
        if self.kind.keeps_port && !self.ports.contains_key(&inside) {
            return inside;
        }
        while self.ports.contains_key(&self.next_port) {
            self.next_port = after(self.next_port);
        }
        let port = self.next_port;
        self.next_port = after(port);
        port
    }
}

/// The port that is tried after this one: a step that is none of a neighbour's, so that a port is no hint at the next.
fn after(port: u16) -> u16 {
    let step = port.saturating_add(7);
    if PORTS.contains(&step) { step } else { *PORTS.start() + (step % 7) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Instant = Instant::from_micros(1_000_000);

    fn at(addr: &str) -> SocketAddr {
        addr.parse().unwrap()
    }

    fn nat(kind: NatKind) -> Nat {
        Nat::new(kind, "81.2.3.4".parse().unwrap())
    }

    /// Sends from inside to A; says whether A, A at another port, and B are let in.
    fn lets_in(kind: NatKind) -> [bool; 3] {
        let mut nat = nat(kind);
        let outside = nat.outbound(T, at("10.0.0.2:9000"), at("1.1.1.1:50"));
        ["1.1.1.1:50", "1.1.1.1:51", "2.2.2.2:50"].map(|from| {
            let inside = nat.inbound(T, at(from), outside.port());
            assert!(inside.is_none_or(|inside| inside == at("10.0.0.2:9000")));
            inside.is_some()
        })
    }

    /// The ports that A, A at another port, and B see, compared with the first.
    fn same_port(kind: NatKind) -> [bool; 2] {
        let mut nat = nat(kind);
        let mut seen = |to: &str| nat.outbound(T, at("10.0.0.2:9000"), at(to)).port();
        let first = seen("1.1.1.1:50");
        assert_eq!(seen("1.1.1.1:50"), first, "stays");
        [seen("1.1.1.1:51") == first, seen("2.2.2.2:50") == first]
    }

    #[test]
    fn a_full_cone_lets_everybody_in() {
        assert_eq!(lets_in(NatKind::FULL_CONE), [true, true, true]);
        assert_eq!(same_port(NatKind::FULL_CONE), [true, true]);
    }

    #[test]
    fn a_restricted_cone_lets_in_whom_it_knows_by_address() {
        assert_eq!(lets_in(NatKind::RESTRICTED), [true, true, false]);
        assert_eq!(same_port(NatKind::RESTRICTED), [true, true]);
    }

    #[test]
    fn a_port_restricted_cone_lets_in_whom_it_knows_by_port() {
        assert_eq!(lets_in(NatKind::PORT_RESTRICTED), [true, false, false]);
        assert_eq!(same_port(NatKind::PORT_RESTRICTED), [true, true]);
    }

    #[test]
    fn a_symmetric_one_has_a_port_for_each_peer() {
        assert_eq!(lets_in(NatKind::SYMMETRIC), [true, false, false]);
        assert_eq!(same_port(NatKind::SYMMETRIC), [false, false]);
        let by_address = NatKind { mapping: Dependence::Address, ..NatKind::SYMMETRIC };
        assert_eq!(same_port(by_address), [true, false]);
        // Even one that filters nothing lets only its peer in by a peer's port.
        let open = NatKind { filtering: Dependence::None, ..NatKind::SYMMETRIC };
        assert_eq!(lets_in(open), [true, false, false]);
    }

    #[test]
    fn nothing_comes_in_before_something_has_gone_out() {
        for kind in [NatKind::FULL_CONE, NatKind::RESTRICTED, NatKind::PORT_RESTRICTED, NatKind::SYMMETRIC] {
            assert_eq!(nat(kind).inbound(T, at("1.1.1.1:50"), 9_000), None);
        }
    }

    #[test]
    fn a_mapping_ends_when_nothing_goes_out_whatever_comes_in() {
        let mut nat = nat(NatKind::PORT_RESTRICTED);
        let outside = nat.outbound(T, at("10.0.0.2:9000"), at("1.1.1.1:50"));
        for secs in [30, 60, 90, 119] {
            let now = T + Duration::from_secs(secs);
            assert!(nat.inbound(now, at("1.1.1.1:50"), outside.port()).is_some());
        }
        assert!(nat.inbound(T + Duration::from_secs(120), at("1.1.1.1:50"), outside.port()).is_none());
    }

    #[test]
    fn a_peer_is_let_in_as_long_as_it_was_sent_something_lately() {
        let mut nat = nat(NatKind::RESTRICTED);
        let inside = at("10.0.0.2:9000");
        let port = nat.outbound(T, inside, at("1.1.1.1:50")).port();
        let later = T + Duration::from_secs(100);
        nat.outbound(later, inside, at("2.2.2.2:50"));
        let now = T + Duration::from_secs(130);
        assert!(nat.inbound(now, at("1.1.1.1:50"), port).is_none());
        assert!(nat.inbound(now, at("2.2.2.2:50"), port).is_some());
    }

    #[test]
    fn two_insides_do_not_share_a_port() {
        let mut nat = nat(NatKind::FULL_CONE);
        let one = nat.outbound(T, at("10.0.0.2:9000"), at("1.1.1.1:50"));
        let other = nat.outbound(T, at("10.0.0.3:9000"), at("1.1.1.1:50"));
        assert_eq!(one.port(), 9_000, "kept where it is free");
        assert_ne!(one, other);
        assert_eq!(nat.inbound(T, at("9.9.9.9:9"), other.port()), Some(at("10.0.0.3:9000")));
    }

    #[test]
    fn after_a_restart_everybody_sees_another_port_and_after_a_move_another_address() {
        let mut nat = nat(NatKind::FULL_CONE);
        let inside = at("10.0.0.2:9000");
        let before = nat.outbound(T, inside, at("1.1.1.1:50"));
        nat.rebind();
        assert_eq!(nat.inbound(T, at("1.1.1.1:50"), before.port()), None);
        let after = nat.outbound(T, inside, at("1.1.1.1:50"));
        assert_ne!(before, after);
        nat.move_to("81.2.3.5".parse().unwrap());
        assert_eq!(nat.inbound(T, at("1.1.1.1:50"), after.port()), None);
        assert_eq!(nat.outbound(T, inside, at("1.1.1.1:50")).ip(), nat.outer());
    }

    #[test]
    fn mappings_and_peers_are_bounded() {
        let mut nat = nat(NatKind::SYMMETRIC);
        let peer = |n: u32| SocketAddr::new(IpAddr::from(n.to_be_bytes()), 50);
        for n in 1..6_000u32 {
            let now = T + Duration::from_micros(n.into());
            let outside = nat.outbound(now, at("10.0.0.2:9000"), peer(n));
            assert_eq!(nat.inbound(now, peer(n), outside.port()), Some(at("10.0.0.2:9000")));
        }
        assert_eq!((nat.mappings.len(), nat.ports.len()), (MAPPINGS, MAPPINGS));
        let mut nat = Nat::new(NatKind::RESTRICTED, nat.outer);
        for n in 1..3_000u32 {
            nat.outbound(T + Duration::from_micros(n.into()), at("10.0.0.2:9000"), peer(n));
        }
        let known = nat.mappings.values().map(|mapping| mapping.peers.len()).sum::<usize>();
        assert_eq!(known, PEERS);
    }
}
