//! The LeaseSets that a floodfill keeps for others. It has nothing to do with those that our destinations know or
//! publish: nothing passes from one to the other but over the network, as between strangers (threats P-10, T26, T29).
//! <https://geti2p.net/en/docs/how/network-database#leaseset>

use super::nearest::Nearest;
use crate::limits::netdb as limits;
use crate::time::{Duration, Now};
use ramson_wire::data::{AnyLeaseSet, Hash};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A LeaseSet may be published ahead of our clock by this much.
const MAX_AHEAD: Duration = Duration::from_mins(2);
/// No LeaseSet ends later than this from now, but for a meta LeaseSet, which ends when it says (18 hours at most).
const MAX_LIFE: Duration = Duration::from_mins(15);
/// What keeping one costs besides its bytes, which are there twice: as they came, and taken apart.
const OVERHEAD: usize = 512;

/// Why a LeaseSet is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its flags say that it is not to be stored for others.
    #[error("not to be published")]
    Unpublished,
    /// It is published ahead of our clock, or ends later than any tunnel.
    #[error("from the future")]
    Future,
    /// It has ended, or the permit of its transient key has.
    #[error("ended")]
    Ended,
    /// It names no lease, or no other LeaseSet.
    #[error("leads nowhere")]
    Empty,
    /// There is no room, and all that is kept is closer to us.
    #[error("full")]
    Full,
}

/// The LeaseSets of others, bounded in number and bytes.
#[derive(Debug)]
pub struct LeaseSets {
    sets: BTreeMap<Hash, Arc<AnyLeaseSet>>,
    nearest: Nearest,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl LeaseSets {
    /// An empty store of the router `own`.
    pub fn new(own: Hash, now: Now) -> Self {
        Self::bounded(own, now, limits::LEASE_SETS, limits::LEASE_SET_BYTES)
    }

    fn bounded(own: Hash, now: Now, most: usize, most_bytes: usize) -> Self {
        Self { sets: BTreeMap::new(), nearest: Nearest::new(own, now), bytes: 0, most, most_bytes }
    }

    pub fn len(&self) -> usize {
        self.sets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The LeaseSet of this key, while it is good.
    pub fn get(&self, now: Now, key: &Hash) -> Option<&Arc<AnyLeaseSet>> {
        self.sets.get(key).filter(|set| set.end() > now.unix_ms)
    }

    /// Whether this one would be new, by everything but its signature: `false` when it, or a newer one, is here.
    pub fn check(&self, now: Now, set: &AnyLeaseSet) -> Result<bool, Refusal> {
        is_timely(now, set)?;
        match self.get(now, &set.key()) {
            Some(known) => Ok(is_newer(set, known)),
            None if self.is_full_for(set) && self.nearest.farther_than(&set.key()).is_none() => Err(Refusal::Full),
            None => Ok(true),
        }
    }

    /// Keeps a LeaseSet whose signature was verified; `false` when it, or a newer one, is here.
    pub fn insert(&mut self, now: Now, set: Arc<AnyLeaseSet>) -> Result<bool, Refusal> {
        let key = set.key();
        if !self.check(now, &set)? {
            return Ok(false);
        }
        self.remove(&key);
        while self.is_full_for(&set) {
            let farthest = self.nearest.farther_than(&key).ok_or(Refusal::Full)?;
            self.remove(&farthest);
        }
        self.bytes += cost(&set);
        self.nearest.insert(key);
        self.sets.insert(key, set);
        Ok(true)
    }

    /// Forgets what has ended. Call it every few seconds.
    pub fn expire(&mut self, now: Now) {
        self.nearest.turn_to(now);
        let ended: Vec<Hash> =
            self.sets.iter().filter(|(_, set)| set.end() <= now.unix_ms).map(|(key, _)| *key).collect();
        ended.iter().for_each(|key| self.remove(key));
    }

    fn remove(&mut self, key: &Hash) {
        if let Some(set) = self.sets.remove(key) {
            self.bytes -= cost(&set);
            self.nearest.remove(key);
        }
    }

    fn is_full_for(&self, set: &AnyLeaseSet) -> bool {
        self.sets.len() >= self.most || self.bytes + cost(set) > self.most_bytes
    }

    /// What must hold between any two calls.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(crate) fn check_books(&self) {
        assert!(self.sets.len() <= self.most && self.bytes <= self.most_bytes);
        assert_eq!(self.bytes, self.sets.values().map(|set| cost(set)).sum::<usize>());
        assert_eq!(self.nearest.len(), self.sets.len());
        for (key, set) in &self.sets {
            assert!(*key == set.key() && self.nearest.contains(key) && !set.is_unpublished());
        }
    }
}

fn cost(set: &AnyLeaseSet) -> usize {
    2 * set.as_bytes().len() + OVERHEAD
}

fn is_timely(now: Now, set: &AnyLeaseSet) -> Result<(), Refusal> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (published, permit) = match set.times() {
        Some(times) => (u64::from(times.published) * 1000, times.offline.as_ref().map(|permit| permit.expires)),
        None => (0, None),
    };
    let names_none = match set {
        AnyLeaseSet::Encrypted(_) => false,
        AnyLeaseSet::Meta(meta) => meta.entries.is_empty(),
        AnyLeaseSet::V1(_) | AnyLeaseSet::V2(_) => set.leases().is_empty(),
    };
    let last_end = set.leases().iter().map(|lease| lease.end).max().unwrap_or(0).max(set.end());
    let too_long = !matches!(set, AnyLeaseSet::Meta(_)) && last_end > now.unix_ms.saturating_add(ms(MAX_LIFE));
    match () {
        () if set.is_unpublished() => Err(Refusal::Unpublished),
        () if names_none => Err(Refusal::Empty),
        () if published > now.unix_ms.saturating_add(ms(MAX_AHEAD)) || too_long => Err(Refusal::Future),
        () if set.end() <= now.unix_ms || permit.is_some_and(|end| end <= now.unix_secs()) => Err(Refusal::Ended),
        () => Ok(()),
    }
}

/// The versions of the first kind are ends of leases, those of the others times of publication: they do not compare,
/// and the others came later.
fn is_newer(set: &AnyLeaseSet, known: &AnyLeaseSet) -> bool {
    let first = |set: &AnyLeaseSet| matches!(set, AnyLeaseSet::V1(_));
    match (first(set), first(known)) {
        (true, false) => false,
        (false, true) => true,
        _ => set.version() > known.version(),
    }
}

#[cfg(test)]
#[path = "lease_sets_tests.rs"]
mod tests;
