//! The routers that may be hops, kept up to date as RouterInfos come and go, so that a choice among many thousands looks
//! at a few of them only.

use super::Reach;
use crate::limits::peers as limits;
use crate::rng::{Rng, SeededMap, SeededState};
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::router_info::Version;
use ramson_wire::data::{Hash, RouterAddress, RouterInfo};
use std::net::IpAddr;

/// Routers below this version do not take part in tunnels.
const MIN_VERSION: Version = Version::new(0, 9, 59);
/// Classes of bandwidth that are too narrow for a hop that all traffic of a destination passes.
const NARROW: [u8; 2] = [b'K', b'L'];

/// What the choice of hops needs of a RouterInfo.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub hash: Hash,
    pub static_key: PublicKey,
    pub reach: Reach,
    pub published: u64,
    /// It says that it has little room (cap D), or none at present (cap E).
    pub is_derated: bool,
    pub is_crowded: bool,
    /// Its bandwidth does for a whole destination.
    pub is_wide: bool,
    /// Its subnets and the family that it claims, proven or not: enough to keep two of them out of one tunnel.
    groups: Box<[u64]>,
}

impl Candidate {
    /// `None` where the router is no hop by what it says of itself.
    pub fn of(info: &RouterInfo) -> Option<Self> {
        let caps = info.caps();
        let refuses = [b'G', b'H', b'U', b'K'].iter().any(|letter| caps.has(*letter));
        if refuses || info.version().is_none_or(|version| version < MIN_VERSION) {
            return None;
        }
        let hosts = info.addresses().iter().filter_map(RouterAddress::host).take(limits::SUBNETS);
        let mut groups: Vec<u64> = hosts.map(subnet).chain(info.family().map(family)).collect();
        groups.sort_unstable();
        groups.dedup();
        Some(Self {
            hash: info.hash(),
            static_key: info.identity().static_key(),
            reach: Reach::of(info),
            published: info.published(),
            is_derated: caps.has(b'D'),
            is_crowded: caps.has(b'E'),
            is_wide: !NARROW.iter().any(|letter| caps.has(*letter)),
            groups: groups.into(),
        })
    }

    /// Whether both are of one /16 (IPv4), /32 (IPv6) or family.
    pub fn is_related(&self, other: &Self) -> bool {
        self.groups.iter().any(|group| other.groups.contains(group))
    }
}

/// A number for a /16 of IPv4 or a /32 of IPv6. A /64 is part of its /32.
fn subnet(ip: IpAddr) -> u64 {
    let (kind, prefix) = match ip {
        IpAddr::V4(ip) => (4, ip.to_bits() >> 16),
        IpAddr::V6(ip) => (6, u32::try_from(ip.to_bits() >> 96).unwrap_or(0)),
    };
    kind << 32 | u64::from(prefix)
}

/// A number for a family, apart from those of subnets.
fn family(name: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = Hash::of(name.as_bytes()).0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) | 1 << 63
}

/// All candidates, with a fair random choice among them.
pub struct Candidates {
    all: Vec<Candidate>,
    places: SeededMap<Hash, usize>,
}

impl std::fmt::Debug for Candidates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} candidates", self.all.len())
    }
}

impl Candidates {
    pub fn new(rng: &mut Rng) -> Self {
        Self { all: Vec::new(), places: SeededMap::with_hasher(SeededState::new(rng)) }
    }

    /// Takes in what a router says of itself now.
    pub fn insert(&mut self, info: &RouterInfo) {
        let Some(candidate) = Candidate::of(info) else { return self.remove(&info.hash()) };
        match self.places.get(&candidate.hash).and_then(|at| self.all.get_mut(*at)) {
            Some(old) => *old = candidate,
            None => {
                self.places.insert(candidate.hash, self.all.len());
                self.all.push(candidate);
            }
        }
    }

    pub fn remove(&mut self, hash: &Hash) {
        let Some(at) = self.places.remove(hash) else { return };
        self.all.swap_remove(at);
        if let Some(moved) = self.all.get(at) {
            self.places.insert(moved.hash, at);
        }
    }

    pub fn get(&self, hash: &Hash) -> Option<&Candidate> {
        self.all.get(*self.places.get(hash)?)
    }

    /// One of them, each equally likely.
    pub fn random(&self, rng: &mut Rng) -> Option<&Candidate> {
        rng.pick(&self.all)
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
