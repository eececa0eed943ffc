//! The choice of a tunnel's hops.
//!
//! Every set of hops that keeps the rules is equally likely (threats 1.19): hops are drawn uniformly from all
//! eligible routers, ordered by the pool's secret, and the whole draw is thrown away when a rule is broken. A router
//! with cap D takes part in one draw of three. Routers that declined or did not answer within ten minutes come only
//! when the others do not suffice.

use super::{Profiles, Reach};
use crate::rng::Rng;
use crate::time::Now;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::router_info::Version;
use ramson_wire::data::{Hash, RouterInfo};
use siphasher::sip::SipHasher24;
use std::collections::BTreeSet;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

/// Routers below this version do not take part in tunnels.
const MIN_VERSION: Version = Version::new(0, 9, 59);
/// Draws before the choice is given up.
const DRAWS: usize = 200;
/// Cap E is obeyed while the RouterInfo that says so is this fresh.
const E_FRESH_MS: u64 = 15 * 60_000;

/// One hop as the tunnel builder needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    pub hash: Hash,
    pub static_key: PublicKey,
}

/// How we stand in the network.
#[derive(Clone, Copy, Debug)]
pub struct SelfView {
    pub hash: Hash,
    pub reach: Reach,
}

/// What a tunnel's hops must keep to.
pub struct Terms<'a> {
    pub now: Now,
    pub own: SelfView,
    pub inbound: bool,
    pub length: usize,
    /// The pool's secret, by which its hops are ordered.
    pub order: (u64, u64),
    /// Two hops of one /16 (IPv4), /32 (IPv6) or family are allowed: for test networks.
    pub allow_same_subnet: bool,
    /// Outbound: the router that the endpoint must be able to dial.
    pub endpoint_dials: Option<Reach>,
    /// Outbound: the endpoint delivers to us, for a reply that no tunnel can take yet.
    pub endpoint_dials_us: bool,
    /// Outbound: routers that must not be the endpoint (it would deliver to itself); both: never hops.
    pub exclude: &'a [Hash],
    /// Peers with a live session.
    pub connected: &'a dyn Fn(&Hash) -> bool,
    /// Peers that we failed to dial of late.
    pub unreachable: &'a dyn Fn(&Hash) -> bool,
}

/// Chooses hops in the order in which messages pass them: the gateway first. `None` when no set of known routers keeps
/// the terms.
pub fn select(
    terms: &Terms<'_>,
    routers: &mut dyn Iterator<Item = &Arc<RouterInfo>>,
    profiles: &Profiles,
    rng: &mut Rng,
) -> Option<Vec<Selection>> {
    let (mut good, mut doubtful) = (Vec::new(), Vec::new());
    for info in routers {
        if eligible(terms, info) {
            let list = if profiles.is_doubtful(terms.now, &info.hash()) { &mut doubtful } else { &mut good };
            list.push(info);
        }
    }
    if let Some(hops) = draw(terms, &good, rng) {
        return Some(hops);
    }
    good.append(&mut doubtful);
    draw(terms, &good, rng)
}

/// Rules that concern a router alone.
fn eligible(terms: &Terms<'_>, info: &RouterInfo) -> bool {
    let (hash, caps) = (info.hash(), info.caps());
    let refused = [b'G', b'H', b'U', b'K'].iter().any(|letter| caps.has(*letter));
    let fresh = terms.now.unix_ms.saturating_sub(info.published()) < E_FRESH_MS;
    let avoided = refused || (caps.has(b'E') && fresh);
    !avoided
        && info.version().is_some_and(|v| v >= MIN_VERSION)
        && hash != terms.own.hash
        && !terms.exclude.contains(&hash)
        && ((terms.connected)(&hash) || !(terms.unreachable)(&hash))
}

fn draw(terms: &Terms<'_>, routers: &[&Arc<RouterInfo>], rng: &mut Rng) -> Option<Vec<Selection>> {
    if routers.len() < terms.length {
        return None;
    }
    // Unpublished, we can only be reached by those who have a session with us: such a one is drawn first.
    let dialled_by_last = terms.inbound || terms.endpoint_dials_us;
    let neighbours: Option<Vec<&Arc<RouterInfo>>> = (dialled_by_last && !terms.own.reach.is_published())
        .then(|| routers.iter().copied().filter(|info| (terms.connected)(&info.hash())).collect());
    for _ in 0..DRAWS {
        let mut hops: Vec<&Arc<RouterInfo>> = Vec::with_capacity(terms.length);
        if let Some(neighbours) = &neighbours {
            hops.push(rng.pick(neighbours)?);
        }
        while hops.len() < terms.length {
            hops.push(rng.pick(routers)?);
        }
        if hops.iter().any(|info| is_derated(terms, info) && rng.below(3) != 0) || !distinct(terms, &hops) {
            continue;
        }
        // The nearest to us has the smallest key; messages pass it last inbound, first outbound.
        hops.sort_by_cached_key(|info| order_key(terms.order, &info.hash()));
        if terms.inbound {
            hops.reverse();
        }
        if connected_path(terms, &hops) {
            let select =
                |info: &&Arc<RouterInfo>| Selection { hash: info.hash(), static_key: info.identity().static_key() };
            return Some(hops.iter().map(select).collect());
        }
    }
    None
}

fn is_derated(terms: &Terms<'_>, info: &RouterInfo) -> bool {
    let caps = info.caps();
    let stale = terms.now.unix_ms.saturating_sub(info.published()) >= E_FRESH_MS;
    caps.has(b'D') || (caps.has(b'E') && stale)
}

/// The place of a router in every tunnel of a pool: nobody outside can compute or aim at it (threats 1.7).
fn order_key(order: (u64, u64), hash: &Hash) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(order.0, order.1);
    hasher.write(hash.as_bytes());
    hasher.finish()
}

/// No router twice; no two of one subnet or family unless allowed.
fn distinct(terms: &Terms<'_>, hops: &[&Arc<RouterInfo>]) -> bool {
    let mut seen = BTreeSet::new();
    let hashes = hops.iter().all(|info| seen.insert(info.hash()));
    if !hashes || terms.allow_same_subnet {
        return hashes;
    }
    let (mut subnets, mut families) = (BTreeSet::new(), BTreeSet::new());
    for info in hops {
        let own: BTreeSet<Subnet> =
            info.addresses().iter().filter_map(ramson_wire::data::RouterAddress::host).map(subnet).collect();
        if own.into_iter().any(|s| !subnets.insert(s)) {
            return false;
        }
        if info.options().get("family").is_some_and(|family| !families.insert(family)) {
            return false;
        }
    }
    true
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subnet {
    V4([u8; 2]),
    V6([u8; 4]),
}

fn subnet(ip: IpAddr) -> Subnet {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            Subnet::V4([a, b])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.octets();
            Subnet::V6([a, b, c, d])
        }
    }
}

/// Each hop can dial the next, we the first and the last us, and the ends what they must.
fn connected_path(terms: &Terms<'_>, hops: &[&Arc<RouterInfo>]) -> bool {
    let reaches: Vec<Reach> = hops.iter().map(|info| Reach::of(info.as_ref())).collect();
    if !reaches.windows(2).all(|pair| pair[0].can_dial(pair[1])) {
        return false;
    }
    let (Some(first), Some(last)) = (hops.first().zip(reaches.first()), hops.last().zip(reaches.last())) else {
        return true;
    };
    let reaches_us = || last.1.can_dial(terms.own.reach) || (terms.connected)(&last.0.hash());
    if terms.inbound {
        return first.1.is_published_v4() && reaches_us();
    }
    let we_reach = terms.own.reach.can_dial(*first.1) || (terms.connected)(&first.0.hash());
    we_reach
        && (!terms.endpoint_dials_us || reaches_us())
        && terms.endpoint_dials.is_none_or(|target| last.1.can_dial(target))
}

#[cfg(test)]
mod tests;
