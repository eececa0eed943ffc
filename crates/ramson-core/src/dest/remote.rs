//! Remote LeaseSets that a destination knows, and the lease that it uses of each.

use crate::limits::dest::REMOTE_LEASE_SETS;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::{Hash, Lease2, LeaseSet2};
use std::collections::BTreeMap;

/// Leases that end sooner (seconds) are not used: a message needs time to arrive.
const LEASE_MARGIN: u32 = 10;
/// Leases that end later (seconds) are not used: no tunnel lives so long, and one that did not exist would stay in use.
const LEASE_AHEAD: u32 = 13 * 60;
/// When no lease lives longer (seconds), the LeaseSet is looked up anew while the old one is in use.
const REFRESH_MARGIN: u32 = 45;
/// A LeaseSet whose leases fail is looked up no sooner than this after the last time. Where both ends of a stream have lost
/// all tunnels, the new LeaseSet is found as soon as it is published, or the next time: after a few times without a newer one
/// each doubles the pause, up to eight times this.
const REFRESH_PAUSE: Duration = Duration::from_secs(4);
const REFRESHES_SOON: u32 = 4;
/// So many failures of its leases make a LeaseSet doubtful.
const DOUBTFUL: usize = 2;
/// A LeaseSet published further (seconds) ahead of our clock is not used: nothing newer could replace it for long.
const MAX_AHEAD: u32 = 120;

/// Whether a LeaseSet may be used now: it is not published ahead of our clock, and the permit of its transient key, if
/// it has one, has not ended.
pub(super) fn is_timely(now: Now, set: &LeaseSet2) -> bool {
    let (times, now) = (set.times(), now.unix_secs());
    times.published <= now.saturating_add(MAX_AHEAD) && times.offline.as_ref().is_none_or(|permit| permit.expires > now)
}

pub(super) struct RemoteLeaseSet {
    pub(super) key: PublicKey,
    set: LeaseSet2,
    /// The lease in use and the number of its path, which is another one after each change.
    sticky: Option<Lease2>,
    path: u64,
    failed: Vec<(Hash, u32)>,
    used: Instant,
    /// When it was last looked up because leases failed, and how often since it came.
    refreshed: Option<Instant>,
    refreshes: u32,
}

/// What the failure of a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathFailed {
    NoneInUse,
    One,
    /// Several leases or all have failed, and the LeaseSet was not looked up for that reason of late.
    Many,
}

#[derive(Default)]
pub(super) struct RemoteLeaseSets {
    sets: BTreeMap<Hash, RemoteLeaseSet>,
    next_path: u64,
}

impl RemoteLeaseSets {
    /// Takes a verified LeaseSet unless a newer one is known. Fails when it has no X25519 key. True when that changes
    /// the path in use, or how much is to be thought of it.
    pub(super) fn insert(&mut self, now: Now, set: LeaseSet2) -> Result<bool, ()> {
        let (hash, key) = (set.key(), set.x25519_key().ok_or(())?);
        if let Some(known) = self.sets.get_mut(&hash) {
            if known.set.times().published >= set.times().published {
                return Ok(false);
            }
            (known.set, known.key) = (set, key);
            known.sticky = known.sticky.filter(|lease| known.set.leases().iter().any(|other| is_same(other, lease)));
            let had_failed = !std::mem::take(&mut known.failed).is_empty();
            known.refreshes = 0;
            return Ok(known.sticky.is_none() || had_failed);
        }
        if self.sets.len() >= REMOTE_LEASE_SETS {
            let oldest = self.sets.iter().min_by_key(|(_, set)| set.used).map(|(hash, _)| *hash);
            oldest.and_then(|hash| self.sets.remove(&hash));
        }
        let fresh = RemoteLeaseSet {
            key,
            set,
            sticky: None,
            path: 0,
            failed: vec![],
            used: now.mono,
            refreshed: None,
            refreshes: 0,
        };
        self.sets.insert(hash, fresh);
        Ok(false)
    }

    /// The published time of the LeaseSet that is known.
    pub(super) fn published(&self, hash: &Hash) -> Option<u32> {
        Some(self.sets.get(hash)?.set.times().published)
    }

    /// The static key of a destination with a usable lease.
    pub(super) fn key(&self, now: Now, hash: &Hash) -> Option<PublicKey> {
        let known = self.sets.get(hash)?;
        known.set.leases().iter().any(|lease| usable(now, lease, LEASE_MARGIN)).then_some(known.key)
    }

    /// Whether the leases end soon.
    pub(super) fn is_ageing(&self, now: Now, hash: &Hash) -> bool {
        self.sets
            .get(hash)
            .is_some_and(|known| !known.set.leases().iter().any(|lease| usable(now, lease, REFRESH_MARGIN)))
    }

    /// The lease in use, or another one drawn at random; with the number of its path.
    pub(super) fn lease(&mut self, now: Now, hash: &Hash, rng: &mut Rng) -> Option<(Lease2, u64)> {
        let known = self.sets.get_mut(hash)?;
        known.used = now.mono;
        let leases = known.set.leases();
        if let Some(lease) = known.sticky
            && usable(now, &lease, LEASE_MARGIN)
            && leases.iter().any(|other| is_same(other, &lease))
        {
            return Some((lease, known.path));
        }
        let live: Vec<Lease2> = leases.iter().copied().filter(|lease| usable(now, lease, LEASE_MARGIN)).collect();
        let good: Vec<Lease2> =
            live.iter().copied().filter(|lease| !known.failed.contains(&(lease.gateway, lease.tunnel_id))).collect();
        if good.is_empty() {
            known.failed.clear(); // all failed once: every one gets another try
        }
        let lease = *rng.pick(if good.is_empty() { &live } else { &good })?;
        self.next_path += 1;
        known.path = self.next_path;
        known.sticky = Some(lease);
        Some((lease, known.path))
    }

    /// The path in use does not deliver: the next lease is another one, if there is one.
    pub(super) fn path_failed(&mut self, now: Now, hash: &Hash) -> PathFailed {
        let Some(known) = self.sets.get_mut(hash) else { return PathFailed::NoneInUse };
        let Some(lease) = known.sticky.take() else { return PathFailed::NoneInUse };
        known.failed.push((lease.gateway, lease.tunnel_id));
        let good = |lease: &Lease2| {
            usable(now, lease, LEASE_MARGIN) && !known.failed.contains(&(lease.gateway, lease.tunnel_id))
        };
        let all_failed = !known.set.leases().iter().any(good);
        let doubtful = all_failed || known.failed.len() >= DOUBTFUL;
        if doubtful && known.refresh(now) { PathFailed::Many } else { PathFailed::One }
    }

    /// Whether a LeaseSet may be looked up anew: then it is noted that it is.
    pub(super) fn refresh(&mut self, now: Now, hash: &Hash) -> bool {
        self.sets.get_mut(hash).is_some_and(|known| known.refresh(now))
    }
}

impl RemoteLeaseSet {
    fn refresh(&mut self, now: Now) -> bool {
        let pause = REFRESH_PAUSE * (1 << self.refreshes.saturating_sub(REFRESHES_SOON).min(3));
        let due = self.refreshed.is_none_or(|at| now.mono.since(at) >= pause);
        if due {
            self.refreshed = Some(now.mono);
            self.refreshes += 1;
        }
        due
    }
}

/// Whether two leases are of one tunnel.
fn is_same(a: &Lease2, b: &Lease2) -> bool {
    (a.gateway, a.tunnel_id) == (b.gateway, b.tunnel_id)
}

fn usable(now: Now, lease: &Lease2, margin: u32) -> bool {
    let now = now.unix_secs();
    lease.end > now.saturating_add(margin) && lease.end <= now.saturating_add(LEASE_AHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson_wire::crypto::sign::SigningKey;
    use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
    use ramson_wire::data::{Destination, Mapping, OfflineSignature};

    #[test]
    fn the_longest_unused_lease_set_makes_room() {
        let mut now = Now::new(Instant::from_micros(1), 1_780_000_000_000);
        let mut remotes = RemoteLeaseSets::default();
        let mut rng = Rng::from_seed([3; 32]);
        let mut first = Hash([0; 32]);
        for n in 0..REMOTE_LEASE_SETS as u32 + 100 {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&n.to_be_bytes());
            let key = SigningKey::from_seed(seed);
            let unsigned = Unsigned {
                destination: Destination::new(key.verifying_key(), &mut Rng::from_seed(seed)),
                times: Times { published: now.unix_secs(), expires: 600, flags: Flags::default(), offline: None },
                options: Mapping::new(),
                keys: vec![EncryptionKey::x25519(PublicKey([3; 32]))],
                leases: vec![Lease2 { gateway: Hash([4; 32]), tunnel_id: 1, end: now.unix_secs() + 600 }],
            };
            let set = unsigned.sign(&key).unwrap();
            if n == 0 {
                first = set.key();
            }
            remotes.insert(now, set).unwrap();
            now = now.later(Duration::from_millis(1));
            assert!(remotes.lease(now, &first, &mut rng).is_some(), "what is used stays");
        }
        assert_eq!(remotes.sets.len(), REMOTE_LEASE_SETS);
    }

    /// Threats T20: leases that are over, that end far ahead, or at the end of all clocks.
    #[test]
    fn t20_leases_out_of_time_are_not_used() {
        let now = Now::new(Instant::from_micros(1), 1_780_000_000_000);
        let secs = now.unix_secs();
        let key = SigningKey::from_seed([1; 32]);
        let mut rng = Rng::from_seed([3; 32]);
        let mut used = |published: u32, ends: &[u32]| {
            let unsigned = Unsigned {
                destination: Destination::new(key.verifying_key(), &mut Rng::from_seed([3; 32])),
                times: Times { published, expires: 600, flags: Flags::default(), offline: None },
                options: Mapping::new(),
                keys: vec![EncryptionKey::x25519(PublicKey([3; 32]))],
                leases: ends.iter().map(|end| Lease2 { gateway: Hash([4; 32]), tunnel_id: *end, end: *end }).collect(),
            };
            let set = unsigned.sign(&key).unwrap();
            let (mut remotes, hash) = (RemoteLeaseSets::default(), set.key());
            remotes.insert(now, set).unwrap();
            assert_eq!(remotes.key(now, &hash).is_some(), remotes.lease(now, &hash, &mut rng).is_some());
            remotes.lease(now, &hash, &mut rng).map(|(lease, _)| lease.end - secs)
        };
        assert_eq!(used(secs, &[secs + 600]), Some(600));
        assert_eq!(used(secs, &[secs + 660, secs + 5, 0]), Some(660), "the one that is good");
        for ends in [&[0][..], &[secs], &[secs - 600], &[secs + 10], &[secs + 3_600], &[u32::MAX], &[u32::MAX, 1]] {
            assert_eq!(used(secs, ends), None, "{ends:?}");
        }
        assert_eq!(used(secs, &[secs - 1]), None, "ends before it is published");
    }

    /// Threats T20, T21.
    #[test]
    fn t20_t21_sets_from_the_future_and_under_an_ended_permit_are_not_timely() {
        let now = Now::new(Instant::from_micros(1), 1_780_000_000_000);
        let secs = now.unix_secs();
        let (key, transient) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
        let timely = |published, permit: Option<u32>| {
            let offline = permit.map(|expires| OfflineSignature::new(expires, transient.verifying_key(), &key));
            let unsigned = Unsigned {
                destination: Destination::new(key.verifying_key(), &mut Rng::from_seed([3; 32])),
                times: Times { published, expires: 600, flags: Flags::default(), offline },
                options: Mapping::new(),
                keys: vec![EncryptionKey::x25519(PublicKey([3; 32]))],
                leases: vec![Lease2 { gateway: Hash([4; 32]), tunnel_id: 1, end: secs + 600 }],
            };
            is_timely(now, &unsigned.sign(if permit.is_some() { &transient } else { &key }).unwrap())
        };
        assert!(timely(secs, None) && timely(secs + 120, None) && timely(secs, Some(secs + 1)));
        assert!(!timely(secs + 121, None) && !timely(u32::MAX, None));
        assert!(!timely(secs, Some(secs)) && !timely(secs, Some(0)));
    }
}
