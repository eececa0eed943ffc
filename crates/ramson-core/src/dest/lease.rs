//! The own LeaseSet2: made from the inbound tunnels, signed by a job, published times strictly increasing.

use crate::time::{Duration, Now};
use ramson_wire::codec::{Decode, DecodeError, Encode};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use ramson_wire::data::{Lease2, LeaseSet2, Mapping, PrivateKeys};

/// The most leases of a LeaseSet2.
const MAX_LEASES: usize = 16;
/// Changes that come sooner after a signature wait, so that the published time does not run ahead.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Tunnels that are lost rarely are alone, and others soon stand for them: while some of those that were signed are
/// left, a LeaseSet without the lost ones waits this long.
const SETTLE: Duration = Duration::from_millis(300);

/// Signs a LeaseSet2.
#[derive(Debug)]
pub struct SignJob {
    unsigned: Unsigned,
    key: SigningKey,
}

/// The result of a [`SignJob`].
#[derive(Debug)]
pub struct SignDone(Result<LeaseSet2, DecodeError>);

impl SignDone {
    /// Of a job that has panicked.
    pub(crate) const fn failed() -> Self {
        Self(Err(DecodeError::invalid("LeaseSet2", "it could not be signed")))
    }
}

impl SignJob {
    pub fn run(self) -> SignDone {
        SignDone(self.unsigned.sign(&self.key))
    }
}

/// The own leases and their LeaseSet.
pub(crate) struct OwnLeaseSet {
    /// The keys and the static key that is published; none where a program holds them.
    keys: Option<(PrivateKeys, PublicKey)>,
    publish: bool,
    wanted: Vec<Lease2>,
    /// The leases of the last job.
    signed: Vec<Lease2>,
    published: u32,
    signing: bool,
    not_before: crate::time::Instant,
    /// Since when leases that were signed are lost while others are left.
    lost_at: Option<crate::time::Instant>,
    current: Option<LeaseSet2>,
}

impl OwnLeaseSet {
    pub(crate) fn new(keys: PrivateKeys, encryption: PublicKey, publish: bool) -> Self {
        Self { keys: Some((keys, encryption)), publish, ..Self::keyless() }
    }

    /// Of a destination whose keys a program holds.
    pub(super) const fn keyless() -> Self {
        Self {
            keys: None,
            publish: false,
            wanted: Vec::new(),
            signed: Vec::new(),
            published: 0,
            signing: false,
            not_before: crate::time::Instant::ZERO,
            lost_at: None,
            current: None,
        }
    }

    pub(super) const fn current(&self) -> Option<&LeaseSet2> {
        self.current.as_ref()
    }

    /// The inbound tunnels as they are now. The 16 that live longest are taken.
    pub(crate) fn set_leases(&mut self, now: Now, mut leases: Vec<Lease2>) {
        leases.retain(|lease| lease.end > now.unix_secs());
        leases.sort_by_key(|lease| (std::cmp::Reverse(lease.end), lease.gateway, lease.tunnel_id));
        leases.truncate(MAX_LEASES);
        self.wanted = leases;
        let left = self.signed.iter().filter(|lease| self.wanted.contains(lease)).count();
        let some_lost = (1..self.signed.len()).contains(&left);
        self.lost_at = some_lost.then(|| self.lost_at.unwrap_or(now.mono));
    }

    /// What is signed counts no longer: the next leases are signed whatever they are.
    pub(crate) fn renew(&mut self) {
        self.signed.clear();
        self.lost_at = None;
    }

    /// The next job, if the leases changed and it is time; else when it will be.
    pub(crate) fn next_job(&mut self, now: Now) -> Result<SignJob, Option<crate::time::Instant>> {
        if self.signing {
            return Err(None);
        }
        let leases = self.next_offer(now)?;
        let Some((keys, encryption)) = &self.keys else { return Err(None) };
        self.signing = true;
        self.published = now.unix_secs().max(self.published.saturating_add(1));
        let end = leases.iter().map(|lease| lease.end).max().unwrap_or(self.published);
        let expires = u16::try_from(end.saturating_sub(self.published)).unwrap_or(u16::MAX);
        let flags = if self.publish { Flags::default() } else { Flags::UNPUBLISHED };
        let times = Times { published: self.published, expires, flags, offline: keys.offline().cloned() };
        let unsigned = Unsigned {
            destination: keys.destination().clone(),
            times,
            options: Mapping::new(),
            keys: vec![EncryptionKey::x25519(*encryption)],
            leases,
        };
        Ok(SignJob { unsigned, key: keys.signing_key().clone() })
    }

    /// The leases that are to be signed, if they changed and it is time; else when it will be.
    pub(super) fn next_offer(&mut self, now: Now) -> Result<Vec<Lease2>, Option<crate::time::Instant>> {
        if self.wanted.is_empty() || self.wanted == self.signed {
            return Err(None);
        }
        let settled = self.lost_at.map_or(now.mono, |at| at + SETTLE);
        let due = self.not_before.max(settled);
        if now.mono < due {
            return Err(Some(due));
        }
        self.lost_at = None;
        self.not_before = now.mono + MIN_INTERVAL;
        self.signed.clone_from(&self.wanted);
        Ok(self.wanted.clone())
    }

    /// The signed LeaseSet, as the body of a DatabaseStore message too.
    pub(crate) fn handle_signed(&mut self, done: SignDone) -> Result<(LeaseSet2, Vec<u8>), DecodeError> {
        self.signing = false;
        let set = done.0?;
        let store = self.adopt(&set);
        Ok((set, store))
    }

    /// A LeaseSet that is signed and verified: it is ours from now on. Returns the body of a DatabaseStore message.
    pub(super) fn adopt(&mut self, set: &LeaseSet2) -> Vec<u8> {
        self.current = Some(set.clone());
        let mut store = set.key().to_bytes();
        store.push(ramson_wire::data::lease_set2::TYPE_LEASE_SET2);
        store.extend_from_slice(&[0; 4]);
        set.encode(&mut store);
        store
    }
}

/// Checks a LeaseSet that came in a session.
#[derive(Debug)]
pub struct VerifyJob {
    pub(super) session_key: PublicKey,
    pub(super) set: LeaseSet2,
}

/// The result of a [`VerifyJob`].
#[derive(Debug)]
pub struct VerifyDone {
    pub(super) session_key: PublicKey,
    pub(super) set: Option<LeaseSet2>,
}

impl VerifyJob {
    /// The result of this job when it has panicked.
    pub(crate) const fn failed(&self) -> VerifyDone {
        VerifyDone { session_key: self.session_key, set: None }
    }

    pub fn run(self) -> VerifyDone {
        let set = self.set.verify().is_ok().then_some(self.set);
        VerifyDone { session_key: self.session_key, set }
    }
}

/// The LeaseSet2 in the body of a DatabaseStore message, not verified.
pub(super) fn bundled_lease_set(store: &[u8]) -> Result<LeaseSet2, DecodeError> {
    use ramson_wire::i2np::database_store::{DatabaseStore, Entry};
    match DatabaseStore::from_bytes(store)?.entry {
        Entry::LeaseSet(set) => match &*set {
            ramson_wire::data::AnyLeaseSet::V2(set) => Ok(set.clone()),
            _ => Err(DecodeError::invalid("bundled LeaseSet", "not a LeaseSet2")),
        },
        Entry::RouterInfo(_) => Err(DecodeError::invalid("bundled LeaseSet", "a RouterInfo")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::time::Instant;
    use ramson_wire::data::Hash;

    #[test]
    fn published_grows_and_unchanged_leases_are_not_signed_again() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut own = OwnLeaseSet::new(PrivateKeys::random(&mut rng), PublicKey([3; 32]), true);
        let mut now = Now::new(Instant::from_micros(5_000_000), 1_780_000_000_000);
        let lease = |n: u8, end| Lease2 { gateway: Hash([n; 32]), tunnel_id: u32::from(n) + 1, end };
        let end = now.unix_secs() + 600;
        assert!(matches!(own.next_job(now), Err(None)));
        let mut last = 0;
        for n in 1..40u8 {
            own.set_leases(now, (0..n).map(|i| lease(i, end + u32::from(n))).chain([lease(99, 5)]).collect());
            let job = match own.next_job(now) {
                Ok(job) => job,
                Err(at) => {
                    now = now.later(at.unwrap().since(now.mono));
                    now.unix_ms = 1_780_000_000_000; // a clock that stands still
                    own.next_job(now).unwrap()
                }
            };
            assert!(matches!(own.next_job(now), Err(None)), "one job at a time");
            let (set, store) = own.handle_signed(job.run()).unwrap();
            assert!(set.times().published > last);
            last = set.times().published;
            assert_eq!(set.leases().len(), usize::from(n.min(16)));
            assert_eq!(set.x25519_key(), Some(PublicKey([3; 32])));
            assert_eq!(bundled_lease_set(&store).unwrap().as_bytes(), set.as_bytes());
            own.set_leases(now, (0..n).rev().map(|i| lease(i, end + u32::from(n))).collect());
            assert!(matches!(own.next_job(now.later(Duration::from_secs(60))), Err(None)), "the same leases");
        }
    }

    #[test]
    fn a_lease_set_without_lost_leases_waits_for_more_of_them_unless_none_is_left() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut own = OwnLeaseSet::new(PrivateKeys::random(&mut rng), PublicKey([3; 32]), true);
        let mut now = Now::new(Instant::from_micros(5_000_000), 1_780_000_000_000);
        let end = now.unix_secs() + 600;
        let leases = |these: &[u8]| {
            these.iter().map(|n| Lease2 { gateway: Hash([*n; 32]), tunnel_id: 1, end }).collect::<Vec<_>>()
        };
        let mut sign = |now: Now, these: &[u8]| {
            own.set_leases(now, leases(these));
            match own.next_job(now) {
                Ok(job) => Ok(own.handle_signed(job.run()).unwrap().0.leases().len()),
                Err(at) => Err(at.map(|at| at.since(now.mono))),
            }
        };
        assert_eq!(sign(now, &[1, 2, 3]), Ok(3));
        now = now.later(Duration::from_secs(10));
        assert_eq!(sign(now, &[2, 3]), Err(Some(SETTLE)));
        let later = now.later(SETTLE / 2);
        assert_eq!(sign(later, &[3]), Err(Some(SETTLE / 2)), "the first loss counts");
        assert_eq!(sign(now.later(SETTLE), &[3, 4]), Ok(2));
        now = now.later(Duration::from_secs(10));
        assert_eq!(sign(now, &[]), Err(None));
        assert_eq!(sign(now, &[5]), Ok(1), "nobody gets to us by any lease of the last one");
    }
}
