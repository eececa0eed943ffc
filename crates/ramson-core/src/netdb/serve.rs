//! The part of a floodfill that answers. <https://geti2p.net/spec/i2np#msg-DatabaseLookup>
//!
//! It tells what was stored at it, and names routers that it may name (see `RouterStore::is_told`). Of what our
//! destinations know, nothing is here to be told.

use super::lease_sets::LeaseSets;
use super::routing_key::Day;
use super::store::RouterStore;
use crate::rng::Rng;
use crate::time::Now;
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::i2np::database_lookup::{DatabaseLookup, LookupKind};
use ramson_wire::i2np::database_search_reply::MAX_PEERS;
use ramson_wire::i2np::database_store::Entry;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Floodfills that an answer names.
const FLOODFILLS: usize = 3;
/// Routers among which those are sought that an exploration is told: what an answer costs, and how little of our
/// knowledge many answers show (threats P-26).
const SAMPLE: usize = 128;

/// What a question is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    Found(Entry),
    /// It is not here; these may know more, or are news to an exploration.
    Routers(Vec<Hash>),
}

/// Answers a question for anything but our own RouterInfo.
pub fn answer(now: Now, question: &DatabaseLookup, routers: &RouterStore, sets: &LeaseSets, rng: &mut Rng) -> Answer {
    let key = &question.key;
    let info = || routers.get(key).filter(|_| routers.is_told(key)).cloned().map(Entry::RouterInfo);
    let set = || sets.get(now, key).cloned().map(Entry::LeaseSet);
    let found = match question.kind {
        LookupKind::RouterInfo => info(),
        LookupKind::LeaseSet => set(),
        LookupKind::Any => info().or_else(set),
        LookupKind::Exploration => None,
    };
    if let Some(entry) = found {
        return Answer::Found(entry);
    }
    let mut excluded: BTreeSet<Hash> = question.excluded.iter().copied().collect();
    if question.reply_tunnel.is_none() {
        // Who asks knows itself.
        excluded.insert(question.from);
    }
    let target = Day::of(now.unix_ms).routing_key(key);
    Answer::Routers(match question.kind {
        LookupKind::Exploration => explored(&target, &excluded, routers, rng),
        _ => routers.closest_told(&target, FLOODFILLS, |hash| !excluded.contains(hash)),
    })
}

/// The closest among some routers that are no floodfills, and can be dialled.
fn explored(target: &Hash, excluded: &BTreeSet<Hash>, routers: &RouterStore, rng: &mut Rng) -> Vec<Hash> {
    let fit = |info: &&Arc<RouterInfo>| {
        let dialled = info.addresses().iter().any(|address| address.host().is_some());
        dialled && !info.is_floodfill() && !excluded.contains(&info.hash())
    };
    let mut found: Vec<Hash> = routers.some_told(SAMPLE, rng).into_iter().filter(fit).map(|info| info.hash()).collect();
    found.sort_by_key(|hash| hash.distance(target));
    found.truncate(MAX_PEERS);
    found
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
