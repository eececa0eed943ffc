//! The LeaseSets that one context knows: one store per local destination, and nothing is shared between them.

use crate::limits::netdb as limits;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use ramson_wire::data::{AnyLeaseSet, Hash};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A LeaseSet may be published ahead of our clock by this much.
const MAX_FUTURE: Duration = Duration::from_mins(2);
/// The latest end of a LeaseSet, except of meta LeaseSets.
const MAX_LIFE: Duration = Duration::from_mins(15);
/// The latest end of a meta LeaseSet.
const MAX_META_LIFE: Duration = Duration::from_secs(65_535);

/// Why a LeaseSet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is that of a local destination.
    #[error("our own")]
    Own,
    /// It has ended, or all its leases have.
    #[error("ended")]
    Ended,
    /// It is published ahead of our clock, or ends later than LeaseSets may.
    #[error("in the future")]
    Future,
    /// The permit of its transient key has ended.
    #[error("the transient key has ended")]
    PermitEnded,
    /// Its signature does not verify.
    #[error("bad signature")]
    BadSignature,
    /// Too many are being verified.
    #[error("full")]
    Full,
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is being verified; [`Event::Stored`] or [`Event::Refused`] follows.
    Verifying,
    /// The same, or a newer one, is here already.
    Known,
}

#[derive(Debug)]
pub enum Event {
    /// A signature to verify.
    Job(VerifyJob),
    /// The LeaseSet of this key is here, new or newer.
    Stored(Hash),
    /// An offered LeaseSet turned out bad.
    Refused(Hash, Refusal),
}

/// The verification of one LeaseSet.
#[derive(Debug)]
pub struct VerifyJob(Arc<AnyLeaseSet>);

impl VerifyJob {
    pub fn run(self) -> VerifyDone {
        VerifyDone { verified: self.0.verify().is_ok(), set: self.0 }
    }
}

/// The result of a [`VerifyJob`].
#[derive(Debug)]
pub struct VerifyDone {
    set: Arc<AnyLeaseSet>,
    verified: bool,
}

/// The LeaseSets of one context by their keys. The owner offers only what was asked for, or came from the peer itself.
///
/// After each `offer` and `handle_`, drain [`Self::poll_event`].
#[derive(Debug, Default)]
pub struct LeaseSetStore {
    own: Option<Hash>,
    sets: BTreeMap<Hash, Arc<AnyLeaseSet>>,
    ends: Timers<Hash>,
    /// Keys with a verification out, and the version that is verified.
    verifying: BTreeMap<Hash, u64>,
    events: VecDeque<Event>,
}

impl LeaseSetStore {
    /// The store of the local destination `own`, whose LeaseSet nobody else may set.
    pub fn new(own: Option<Hash>) -> Self {
        Self { own, ..Self::default() }
    }

    /// The LeaseSet of `key`, if it has not ended.
    pub fn get(&self, now: Now, key: &Hash) -> Option<&Arc<AnyLeaseSet>> {
        self.sets.get(key).filter(|set| set.end() > now.unix_ms)
    }

    pub fn len(&self) -> usize {
        self.sets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Offers a LeaseSet that is not verified. What keeps the rules goes to a job.
    pub fn offer(&mut self, now: Now, set: Arc<AnyLeaseSet>) -> Result<Offer, Refusal> {
        self.check(now, &set)?;
        let (key, version) = (set.key(), set.version());
        if self.get(now, &key).is_some_and(|known| known.version() >= version) {
            return Ok(Offer::Known);
        }
        if self.verifying.get(&key).is_some_and(|out| *out >= version) {
            return Ok(Offer::Verifying);
        }
        if self.verifying.len() >= limits::LEASE_SETS_VERIFYING {
            return Err(Refusal::Full);
        }
        self.verifying.insert(key, version);
        self.events.push_back(Event::Job(VerifyJob(set)));
        Ok(Offer::Verifying)
    }

    /// Takes the result of a job.
    pub fn handle_job(&mut self, now: Now, done: VerifyDone) {
        let key = done.set.key();
        self.verifying.remove(&key);
        let result = if done.verified { self.check(now, &done.set) } else { Err(Refusal::BadSignature) };
        if let Err(refusal) = result {
            self.events.push_back(Event::Refused(key, refusal));
            return;
        }
        if self.get(now, &key).is_some_and(|known| known.version() >= done.set.version()) {
            return;
        }
        if self.sets.len() >= limits::LEASE_SETS && !self.sets.contains_key(&key) {
            // The one that ends first makes room.
            if let Some(first) = self.ends.pop_due(Instant::FAR) {
                self.sets.remove(&first);
            }
        }
        let left = Duration::from_millis(done.set.end().saturating_sub(now.unix_ms));
        self.ends.set(key, now.mono + left);
        self.sets.insert(key, done.set);
        self.events.push_back(Event::Stored(key));
    }

    /// Forgets the LeaseSet of `key`.
    pub fn remove(&mut self, key: &Hash) {
        self.sets.remove(key);
        self.ends.cancel(key);
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.ends.next()
    }

    /// Forgets what has ended.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(key) = self.ends.pop_due(now.mono) {
            self.sets.remove(&key);
        }
    }

    fn check(&self, now: Now, set: &AnyLeaseSet) -> Result<(), Refusal> {
        let ahead = |limit: Duration| now.unix_ms.saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let life = if matches!(set, AnyLeaseSet::Meta(_)) { MAX_META_LIFE } else { MAX_LIFE };
        let published = set.times().map_or(0, |times| u64::from(times.published) * 1000);
        let permit = set.times().and_then(|times| times.offline.as_ref());
        match () {
            () if self.own == Some(set.key()) => Err(Refusal::Own),
            () if set.end() <= now.unix_ms => Err(Refusal::Ended),
            () if set.end() > ahead(life) || published > ahead(MAX_FUTURE) => Err(Refusal::Future),
            () if permit.is_some_and(|permit| u64::from(permit.expires) * 1000 <= now.unix_ms) => {
                Err(Refusal::PermitEnded)
            }
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::testing::NOW;
    use super::*;
    use ramson_wire::codec::Decode;
    use ramson_wire::crypto::sign::SigningKey;
    use ramson_wire::crypto::x25519::PublicKey;
    use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
    use ramson_wire::data::{Destination, Lease2, LeaseSet2, Mapping, OfflineSignature};

    const SECS: u32 = (NOW.unix_ms / 1000) as u32;

    fn unsigned(seed: u32, published: u32, life: u16) -> (SigningKey, Unsigned) {
        let key = SigningKey::from_seed(ramson_wire::crypto::hash::sha256(&seed.to_le_bytes()));
        let destination = Destination::new(key.verifying_key(), &mut crate::rng::Rng::from_seed([1; 32]));
        let end = published.saturating_add(life.into());
        let unsigned = Unsigned {
            destination,
            times: Times { published, expires: life, flags: Flags::default(), offline: None },
            options: Mapping::new(),
            keys: vec![EncryptionKey::x25519(PublicKey([3; 32]))],
            leases: vec![Lease2 { gateway: Hash([4; 32]), tunnel_id: 1, end }],
        };
        (key, unsigned)
    }

    fn set(seed: u32, published: u32, life: u16) -> Arc<AnyLeaseSet> {
        let (key, unsigned) = unsigned(seed, published, life);
        Arc::new(AnyLeaseSet::V2(unsigned.sign(&key).unwrap()))
    }

    fn add(store: &mut LeaseSetStore, now: Now, set: Arc<AnyLeaseSet>) -> Option<Refusal> {
        if let Err(refusal) = store.offer(now, set) {
            return Some(refusal);
        }
        let mut refused = None;
        while let Some(event) = store.poll_event() {
            match event {
                Event::Job(job) => store.handle_job(now, job.run()),
                Event::Refused(_, refusal) => refused = Some(refusal),
                Event::Stored(_) => {}
            }
        }
        refused
    }

    #[test]
    fn the_newest_wins_and_ends() {
        let mut store = LeaseSetStore::new(None);
        let (old, new) = (set(1, SECS - 60, 600), set(1, SECS - 30, 600));
        assert_eq!(add(&mut store, NOW, old.clone()), None);
        assert_eq!(add(&mut store, NOW, new.clone()), None);
        assert_eq!(store.offer(NOW, old), Ok(Offer::Known));
        assert_eq!(store.get(NOW, &new.key()).unwrap().version(), new.version());
        let end = store.next_timeout().unwrap();
        assert_eq!(end.since(NOW.mono), Duration::from_secs(570));
        let later = NOW.later(Duration::from_secs(570));
        assert!(store.get(later, &new.key()).is_none());
        store.handle_timeout(later);
        assert!(store.is_empty() && store.next_timeout().is_none());
    }

    #[test]
    fn what_breaks_a_rule_changes_nothing() {
        let good = set(1, SECS - 60, 600);
        let mut store = LeaseSetStore::new(Some(set(2, SECS, 600).key()));
        assert_eq!(add(&mut store, NOW, good.clone()), None);
        for (bad, refusal) in [
            (set(2, SECS, 600), Refusal::Own),
            (set(1, SECS - 600, 599), Refusal::Ended),
            (set(1, 0, 600), Refusal::Ended),
            (set(1, SECS + 121, 600), Refusal::Future),
            (set(1, SECS, 901), Refusal::Future),
            (set(1, u32::MAX, 600), Refusal::Future),
        ] {
            assert_eq!(add(&mut store, NOW, bad), Some(refusal));
        }
        let newer = set(1, SECS, 600);
        for at in 0..newer.as_bytes().len() {
            let mut raw = newer.as_bytes().to_vec();
            raw[at] ^= 0x10;
            let Ok(changed) = LeaseSet2::from_bytes(&raw) else { continue };
            assert!(add(&mut store, NOW, Arc::new(AnyLeaseSet::V2(changed))).is_some(), "byte {at}");
        }
        assert_eq!(store.len(), 1);
        assert_eq!(store.get(NOW, &good.key()).unwrap().as_bytes(), good.as_bytes());
    }

    #[test]
    fn an_ended_permit_is_refused() {
        let transient = SigningKey::from_seed([200; 32]);
        for (expires, refusal) in [(SECS, Some(Refusal::PermitEnded)), (SECS + 1, None)] {
            let (key, mut unsigned) = unsigned(1, SECS, 600);
            unsigned.times.offline = Some(OfflineSignature::new(expires, transient.verifying_key(), &key));
            let set = Arc::new(AnyLeaseSet::V2(unsigned.sign(&transient).unwrap()));
            assert_eq!(add(&mut LeaseSetStore::new(None), NOW, set), refusal);
        }
    }

    #[test]
    fn it_is_bounded_and_the_first_to_end_makes_room() {
        let mut store = LeaseSetStore::new(None);
        let first = set(0, SECS - 100, 400);
        assert_eq!(add(&mut store, NOW, first.clone()), None);
        for seed in 1..=limits::LEASE_SETS as u32 {
            assert_eq!(add(&mut store, NOW, set(seed, SECS, 600)), None);
        }
        assert_eq!(store.len(), limits::LEASE_SETS);
        assert!(store.get(NOW, &first.key()).is_none());
        let mut store = LeaseSetStore::new(None);
        for seed in 0..limits::LEASE_SETS_VERIFYING as u32 {
            assert_eq!(store.offer(NOW, set(seed, SECS, 600)), Ok(Offer::Verifying));
        }
        assert_eq!(store.offer(NOW, first), Ok(Offer::Verifying), "it is out already");
        assert_eq!(store.offer(NOW, set(999, SECS, 600)), Err(Refusal::Full));
    }
}
