//! The choice of hops behind the first hops of a destination.

use super::super::select::{Selection, Terms, can_be_nearest, guard, select};
use super::super::{Candidates, Profiles};
use super::{Guards, State};
use crate::limits::peers as limits;
use crate::rng::Rng;

/// Chooses hops of a client tunnel: next to us one of the destination's first hops that works, or a new one where there
/// are too few. Where no tunnel can begin with any of them, as in networks of a handful of routers, all hops are by
/// chance, for a destination that cannot be reached helps nobody. `online` says that we have a session with anybody.
pub fn select_behind(
    guards: &mut Guards,
    terms: &Terms<'_>,
    online: bool,
    routers: &Candidates,
    profiles: &Profiles,
    rng: &mut Rng,
) -> Option<Vec<Selection>> {
    let now = terms.now;
    let health = |hash: &_| match routers.get(hash) {
        None => State::Down,
        Some(_) if (terms.connected)(hash) => State::Connected,
        Some(_) if (terms.unreachable)(hash) => State::Down,
        Some(_) => State::Fine,
    };
    guards.update(now, online, health);
    let fit = |hash: &_| if can_be_nearest(terms, routers, hash) { health(hash) } else { State::Unfit };
    let mut tries = guards.to_try(now, fit);
    for _ in 0..limits::GUARDS {
        if !guards.wants_more(now, |hash| tries.contains(hash)) {
            break;
        }
        let known: Vec<_> = guards.hashes().iter().filter_map(|hash| routers.get(hash)).collect();
        let refused = |one: &super::super::Candidate| {
            let related = || !terms.allow_same_subnet && known.iter().any(|other| other.is_related(one));
            guards.contains(&one.hash) || guards.is_dropped(&one.hash) || related()
        };
        let Some(new) = guard(terms, routers, profiles, &refused, rng) else { break };
        guards.add(now, new);
        tries.push(new);
    }
    let aside = guards.hashes();
    let behind = |hash| {
        let terms = Terms { nearest: Some(hash), aside: &aside, ..*terms };
        select(&terms, routers, profiles, rng)
    };
    let found = tries.into_iter().find_map(behind);
    found.or_else(|| select(&Terms { aside: &aside, ..*terms }, routers, profiles, rng))
}
