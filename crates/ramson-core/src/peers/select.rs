//! The choice of a tunnel's hops.
//!
//! Every set of hops that keeps the rules is equally likely, but for the weights of its hops (threats 1.19): each hop is
//! drawn from all candidates, a draw is kept with the weight of who was drawn, the hops are ordered by the pool's secret,
//! and all of them are thrown away when a rule about several is broken. Nobody's weight is more than three times
//! another's ([`Tier`]). Routers that declined or did not answer within ten minutes come only when the others do not
//! suffice. While most routers that are not proven fail, few draws are made among them; where there are too few proven ones
//! for that, too, those are hops whom we have drawn and found at home (threats P-1, P-3).
//!
//! What it costs does not depend on the number of candidates.

use super::profile::Tier;
use super::{Candidate, Candidates, Profiles, Reach};
use crate::rng::Rng;
use crate::time::Now;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::Hash;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// Draws of all hops before the choice is given up.
const DRAWS: usize = 200;
/// Draws of one hop before those are given up.
const TRIES: usize = 64;
/// Cap E is obeyed while the RouterInfo that says so is this fresh.
const E_FRESH_MS: u64 = 15 * 60_000;
/// While most routers that are not proven fail, one draw in so many is made among all.
const WARY_CLIENT: usize = 16;
const WARY_EXPLORATORY: usize = 8;

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
#[derive(Clone, Copy)]
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
    /// The hop next to us, instead of one by chance, and others that are next to us in other tunnels of the pool.
    pub nearest: Option<Hash>,
    pub aside: &'a [Hash],
    /// The tunnels are the router's own, which get to know other routers.
    pub exploratory: bool,
    /// Peers with a live session, and a list of them.
    pub connected: &'a dyn Fn(&Hash) -> bool,
    pub sessions: &'a dyn Fn() -> Vec<Hash>,
    /// Those of them who were drawn by chance: nobody gets onto this list by coming to us.
    pub at_home: &'a dyn Fn() -> Vec<Hash>,
    /// Peers that we failed to dial of late.
    pub unreachable: &'a dyn Fn(&Hash) -> bool,
}

/// Chooses hops in the order in which messages pass them: the gateway first. `None` when no set of known routers keeps
/// the terms.
pub fn select(terms: &Terms<'_>, routers: &Candidates, profiles: &Profiles, rng: &mut Rng) -> Option<Vec<Selection>> {
    let choice = Choice::new(terms, routers, profiles);
    [true, false].into_iter().find_map(|strict| choice.draw(strict, rng))
}

/// A router that may be next to us in all tunnels of a destination for weeks: one that everybody can dial, wide enough
/// where there are such ones, and none of these.
pub fn guard(
    terms: &Terms<'_>,
    routers: &Candidates,
    profiles: &Profiles,
    not: &dyn Fn(&Candidate) -> bool,
    rng: &mut Rng,
) -> Option<Hash> {
    let choice = Choice::new(terms, routers, profiles);
    let fits = |one: &Candidate| one.reach.is_published() && choice.is_next_to_us(one) && !not(one);
    for (strict, wide) in [(true, true), (true, false), (false, false)] {
        for _ in 0..DRAWS {
            let Some(one) = choice.one(strict, rng) else { break };
            if fits(one) && (one.is_wide || !wide) {
                return Some(one.hash);
            }
        }
    }
    None
}

/// Whether a router can be next to us now: not one that has failed to be, and reachable as the direction needs it.
pub fn can_be_nearest(terms: &Terms<'_>, routers: &Candidates, hash: &Hash) -> bool {
    let choice = Choice { terms, routers, profiles: &Profiles::default(), at_home: Vec::new() };
    routers.get(hash).is_some_and(|one| choice.is_eligible(one) && choice.is_next_to_us(one))
}

struct Choice<'a> {
    terms: &'a Terms<'a>,
    routers: &'a Candidates,
    profiles: &'a Profiles,
    /// Whom we have found at home, where nearly nobody else works.
    at_home: Vec<&'a Candidate>,
}

/// Among whom a hop is drawn.
#[derive(Clone, Copy)]
enum Among {
    All,
    Proven,
    AtHome,
}

impl<'a> Choice<'a> {
    fn new(terms: &'a Terms<'a>, routers: &'a Candidates, profiles: &'a Profiles) -> Self {
        let at_home = if profiles.is_lost() { (terms.at_home)() } else { Vec::new() };
        let at_home = at_home.iter().filter_map(|hash| routers.get(hash)).collect();
        Self { terms, routers, profiles, at_home }
    }

    fn draw(&self, strict: bool, rng: &mut Rng) -> Option<Vec<Selection>> {
        let terms = self.terms;
        let nearest = match &terms.nearest {
            Some(hash) => Some(self.routers.get(hash).filter(|one| self.is_eligible(one))?),
            None => None,
        };
        // Unpublished, we can only be reached by those who have a session with us: such a one is drawn first.
        let dialled_by_last = terms.inbound || terms.endpoint_dials_us;
        let neighbours: Option<Vec<&Candidate>> =
            (nearest.is_none() && dialled_by_last && !terms.own.reach.is_published()).then(|| {
                let all = (terms.sessions)().into_iter().filter_map(|hash| self.routers.get(&hash));
                all.filter(|one| self.is_eligible(one) && (!strict || self.is_sound(one))).collect()
            });
        let mut hops: Vec<&Candidate> = Vec::with_capacity(terms.length);
        for _ in 0..DRAWS {
            hops.clear();
            hops.extend(nearest);
            if let Some(neighbours) = &neighbours {
                hops.push(rng.pick(neighbours)?);
            }
            while hops.len() < terms.length {
                hops.push(self.one(strict, rng)?);
            }
            if !self.is_distinct(&hops) {
                continue;
            }
            // The nearest to us has the smallest key; messages pass it last inbound, first outbound.
            let fixed = usize::from(nearest.is_some());
            if let Some(rest) = hops.get_mut(fixed..) {
                rest.sort_by_cached_key(|one| order_key(terms.order, &one.hash));
            }
            if terms.inbound {
                hops.reverse();
            }
            if self.is_path(&hops) {
                let select = |one: &&Candidate| Selection { hash: one.hash, static_key: one.static_key };
                return Some(hops.iter().map(select).collect());
            }
        }
        None
    }

    /// One router that keeps the rules about one, by its weight; strictly, only one of which nothing bad is known.
    fn one(&self, strict: bool, rng: &mut Rng) -> Option<&'a Candidate> {
        let among = self.among(rng);
        for _ in 0..TRIES {
            let one = match among {
                Among::All => Some(self.routers.random(rng)?),
                Among::Proven => rng.pick(self.profiles.proven()).and_then(|hash| self.routers.get(hash)),
                Among::AtHome => rng.pick(&self.at_home).copied(),
            };
            let Some(one) = one else { continue };
            let aside = strict && self.terms.aside.contains(&one.hash);
            let (doubtful, tier) = self.profiles.standing(self.terms.now, &one.hash, one.published);
            let kept = !strict || (!doubtful && rng.below(Tier::MOST) < tier.weight());
            if kept && !aside && self.is_eligible(one) && (!self.is_derated(one) || rng.below(3) == 0) {
                return Some(one);
            }
        }
        None
    }

    /// Nearly always among those who work, while nearly nobody else does.
    fn among(&self, rng: &mut Rng) -> Among {
        let (wary, lost) = (self.profiles.is_wary(), self.profiles.is_lost());
        let among_all = if self.terms.exploratory { WARY_EXPLORATORY } else { WARY_CLIENT };
        if !(wary || lost) || rng.below(among_all) == 0 {
            return Among::All;
        }
        let (proven, at_home) = (self.profiles.proven().len(), self.at_home.len());
        match () {
            () if wary => Among::Proven,
            () if proven + at_home <= self.terms.length => Among::All,
            () if at_home == 0 || (proven > 0 && rng.below(2) == 0) => Among::Proven,
            () => Among::AtHome,
        }
    }

    /// Rules that concern a router alone.
    fn is_eligible(&self, one: &Candidate) -> bool {
        let terms = self.terms;
        !(one.is_crowded && self.is_fresh(one))
            && one.hash != terms.own.hash
            && !terms.exclude.contains(&one.hash)
            && ((terms.connected)(&one.hash) || !(terms.unreachable)(&one.hash))
    }

    fn is_sound(&self, one: &Candidate) -> bool {
        !self.profiles.standing(self.terms.now, &one.hash, one.published).0
    }

    fn is_derated(&self, one: &Candidate) -> bool {
        one.is_derated || (one.is_crowded && !self.is_fresh(one))
    }

    fn is_fresh(&self, one: &Candidate) -> bool {
        self.terms.now.unix_ms.saturating_sub(one.published) < E_FRESH_MS
    }

    /// No router twice; no two of one subnet or family unless allowed.
    fn is_distinct(&self, hops: &[&Candidate]) -> bool {
        let apart =
            |a: &Candidate, b: &Candidate| a.hash != b.hash && (self.terms.allow_same_subnet || !a.is_related(b));
        hops.iter().enumerate().all(|(at, a)| hops.iter().skip(at + 1).all(|b| apart(a, b)))
    }

    fn is_next_to_us(&self, one: &Candidate) -> bool {
        let own = self.terms.own.reach;
        let reaches = if self.terms.inbound { one.reach.can_dial(own) } else { own.can_reach(one.reach) };
        reaches || (self.terms.connected)(&one.hash)
    }

    /// Each hop can dial the next, we the first and the last us, and the ends what they must.
    fn is_path(&self, hops: &[&Candidate]) -> bool {
        let terms = self.terms;
        let pairs = hops.iter().zip(hops.iter().skip(1));
        if !pairs.into_iter().all(|(from, to)| from.reach.can_dial(to.reach)) {
            return false;
        }
        let (Some(first), Some(last)) = (hops.first(), hops.last()) else { return true };
        if terms.inbound {
            return first.reach.is_published_v4() && self.is_next_to_us(last);
        }
        let reaches_us = || last.reach.can_dial(terms.own.reach) || (terms.connected)(&last.hash);
        self.is_next_to_us(first)
            && (!terms.endpoint_dials_us || reaches_us())
            && terms.endpoint_dials.is_none_or(|target| last.reach.can_dial(target))
    }
}

/// The place of a router in every tunnel of a pool: nobody outside can compute or aim at it (threats 1.7).
fn order_key(order: (u64, u64), hash: &Hash) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(order.0, order.1);
    hasher.write(hash.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests;
