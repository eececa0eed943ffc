//! The part of a floodfill that takes in: what others store is verified, kept, confirmed to whom the store says, and
//! passed on to the floodfills that are closest to its key.
//! <https://geti2p.net/en/docs/how/network-database#flooding>
//!
//! RouterInfos are kept in the [`RouterStore`], marked as what others may be told; LeaseSets here. A store that asks for
//! no confirmation comes from another floodfill, and is not passed on. Too many stores of one previous hop are dropped,
//! and nothing else follows from them: whoever sends in another's name, or through another's tunnels, bans nobody
//! (threats P-4).

use super::lease_sets::LeaseSets;
use super::routing_key::{Day, until_midnight};
use super::store::{Offer, RouterStore, Source};
use crate::bucket::{Bucket, PeerBuckets};
use crate::limits::netdb as limits;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::{AnyLeaseSet, Hash, RouterInfo};
use ramson_wire::i2np::database_store::{DatabaseStore, Entry, StoreReply};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Floodfills that a new entry is passed on to.
const WIDTH: usize = 3;
/// Those of the next day that have it too, when midnight is near: keys move then, and it is found from the first moment.
const NEXT_WIDTH: usize = 2;
/// How near midnight must be, in milliseconds: a LeaseSet that is older has ended by then.
const NEXT_ROUTER_INFO_MS: u64 = 45 * 60_000;
const NEXT_LEASE_SET_MS: u64 = 10 * 60_000;
/// A RouterInfo that is older is kept, and not passed on.
const MAX_FLOODED_AGE_MS: u64 = 60 * 60_000;
/// A RouterInfo whose verification has brought nothing after this is no longer waited for.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub enum Event {
    /// The signature of a LeaseSet to verify.
    Job(VerifyJob),
    /// Tell that a store is done.
    Confirm(StoreReply),
    /// Pass the entry on to these floodfills, over links, without a wish for confirmation.
    Flood { entry: Entry, to: Vec<Hash> },
}

/// The verification of one LeaseSet.
#[derive(Debug)]
pub struct VerifyJob {
    set: Arc<AnyLeaseSet>,
    reply: Option<StoreReply>,
}

impl VerifyJob {
    pub fn run(self) -> VerifyDone {
        VerifyDone { set: self.set.verify().is_ok().then_some(self.set), reply: self.reply }
    }
}

/// The result of a [`VerifyJob`].
#[derive(Debug)]
pub struct VerifyDone {
    set: Option<Arc<AnyLeaseSet>>,
    reply: Option<StoreReply>,
}

/// What a floodfill has taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries that were new, RouterInfos and LeaseSets.
    pub stored: u64,
    pub confirmed: u64,
    /// Entries that broke a rule, or for which there was no room.
    pub refused: u64,
    /// Stores that were dropped because there were too many.
    pub dropped: u64,
    /// Entries that were passed on.
    pub flooded: u64,
}

/// A floodfill, as far as it takes in.
///
/// After each `handle_`, drain [`Self::poll_event`].
pub struct Floodfill {
    own: Hash,
    sets: LeaseSets,
    /// RouterInfos that are being verified, by their hash.
    waiting: BTreeMap<Hash, Vec<Waiting>>,
    /// LeaseSets that are.
    jobs: usize,
    per_peer: PeerBuckets,
    all: Bucket,
    stats: Stats,
    events: VecDeque<Event>,
}

/// A store of a RouterInfo that waits for the verification.
struct Waiting {
    published: u64,
    reply: Option<StoreReply>,
    /// Whoever stores it wants it to be passed on.
    flood: bool,
    since: Instant,
}

impl std::fmt::Debug for Floodfill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Floodfill with {} LeaseSets, {:?}", self.sets.len(), self.stats)
    }
}

impl Floodfill {
    pub fn new(own: Hash, now: Now) -> Self {
        Self {
            own,
            sets: LeaseSets::new(own, now),
            waiting: BTreeMap::new(),
            jobs: 0,
            per_peer: PeerBuckets::new(limits::STORES_PER_PEER, limits::STORE_PEERS),
            all: Bucket::new(limits::STORES, now.mono),
            stats: Stats::default(),
            events: VecDeque::new(),
        }
    }

    pub const fn lease_sets(&self) -> &LeaseSets {
        &self.sets
    }

    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// A store for others that the previous hop `from` has brought.
    pub fn handle_store(&mut self, now: Now, from: Hash, store: DatabaseStore, routers: &mut RouterStore) {
        if !self.admit(now, from) {
            return;
        }
        match store.entry {
            Entry::RouterInfo(info) => {
                self.handle_router_info(now, info, store.reply, store.reply.is_some(), routers);
            }
            Entry::LeaseSet(set) => self.handle_lease_set(now, set, store.reply),
        }
    }

    /// A peer has sent its RouterInfo over its link, and wants it to be passed on.
    pub fn handle_flood_request(&mut self, now: Now, info: Arc<RouterInfo>, routers: &mut RouterStore) {
        if self.admit(now, info.hash()) {
            self.handle_router_info(now, info, None, true, routers);
        }
    }

    /// Whether a store of this previous hop is looked at.
    fn admit(&mut self, now: Now, from: Hash) -> bool {
        let admitted = self.per_peer.take(now.mono, from) && self.all.take(now.mono);
        self.stats.dropped += u64::from(!admitted);
        admitted
    }

    fn handle_router_info(
        &mut self,
        now: Now,
        info: Arc<RouterInfo>,
        reply: Option<StoreReply>,
        flood: bool,
        routers: &mut RouterStore,
    ) {
        let (hash, published) = (info.hash(), info.published());
        match routers.offer(now, info, Source::Published) {
            Ok(Offer::Known) => self.confirm(reply),
            Ok(Offer::Verifying | Offer::Stored) => {
                let room = self.waiting.len() < limits::VERIFYING || self.waiting.contains_key(&hash);
                let waiting = if room { self.waiting.entry(hash).or_default() } else { return };
                if waiting.len() < limits::SAME_STORES {
                    waiting.push(Waiting { published, reply, flood, since: now.mono });
                }
            }
            Err(_) => self.stats.refused += 1,
        }
    }

    fn handle_lease_set(&mut self, now: Now, set: Arc<AnyLeaseSet>, reply: Option<StoreReply>) {
        match self.sets.check(now, &set) {
            Ok(true) if self.jobs < limits::VERIFYING_LEASE_SETS => {
                self.jobs += 1;
                self.events.push_back(Event::Job(VerifyJob { set, reply }));
            }
            Ok(true) => self.stats.dropped += 1,
            Ok(false) => self.confirm(reply),
            Err(_) => self.stats.refused += 1,
        }
    }

    /// The RouterInfo of this router is in the store, new or newer. Call it after each such event of the store.
    pub fn handle_stored(&mut self, now: Now, hash: &Hash, routers: &RouterStore) {
        let Some(info) = routers.get(hash).filter(|_| routers.is_told(hash)) else { return };
        let Some(mut waiting) = self.waiting.remove(hash) else { return };
        // One that was taken in by the way may be older than what is still being verified.
        let later: Vec<Waiting> = waiting.extract_if(.., |store| store.published > info.published()).collect();
        if !later.is_empty() {
            self.waiting.insert(*hash, later);
        }
        if waiting.is_empty() {
            return;
        }
        self.stats.stored += 1;
        let flood = waiting.iter().any(|store| store.flood);
        waiting.into_iter().for_each(|store| self.confirm(store.reply));
        if flood && info.published().saturating_add(MAX_FLOODED_AGE_MS) > now.unix_ms {
            self.flood(now, Entry::RouterInfo(Arc::clone(info)), NEXT_ROUTER_INFO_MS, routers);
        }
    }

    /// The RouterInfo of this router was refused, or its verification is lost.
    pub fn handle_refused(&mut self, hash: &Hash) {
        self.stats.refused += u64::from(self.waiting.remove(hash).is_some());
    }

    /// Takes the result of a job.
    pub fn handle_job(&mut self, now: Now, done: VerifyDone, routers: &RouterStore) {
        self.handle_job_failed();
        let result = done.set.map(|set| (self.sets.insert(now, Arc::clone(&set)), set));
        match result {
            Some((Ok(is_new), set)) => {
                self.stats.stored += u64::from(is_new);
                self.confirm(done.reply);
                if is_new && done.reply.is_some() {
                    self.flood(now, Entry::LeaseSet(set), NEXT_LEASE_SET_MS, routers);
                }
            }
            Some((Err(_), _)) | None => self.stats.refused += 1,
        }
    }

    /// The job has panicked, or there was no room for it.
    pub const fn handle_job_failed(&mut self) {
        self.jobs = self.jobs.saturating_sub(1);
    }

    /// Forgets what has ended. Call it every few seconds.
    pub fn expire(&mut self, now: Now) {
        self.sets.expire(now);
        self.waiting.retain(|_, waiting| {
            waiting.retain(|store| now.mono.since(store.since) < PATIENCE);
            !waiting.is_empty()
        });
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn confirm(&mut self, reply: Option<StoreReply>) {
        if let Some(reply) = reply {
            self.stats.confirmed += 1;
            self.events.push_back(Event::Confirm(reply));
        }
    }

    fn flood(&mut self, now: Now, entry: Entry, next_ms: u64, routers: &RouterStore) {
        let key = entry.key();
        let mut to = routers.closest_told(&Day::of(now.unix_ms).routing_key(&key), WIDTH, |hash| *hash != key);
        if until_midnight(now.unix_ms) < next_ms {
            let next = Day::after(now.unix_ms).routing_key(&key);
            let next = routers.closest_told(&next, NEXT_WIDTH, |hash| *hash != key);
            to.extend(next.into_iter().filter(|hash| !to.contains(hash)).collect::<Vec<_>>());
        }
        debug_assert!(!to.contains(&self.own), "the store does not hold its own router");
        if !to.is_empty() {
            self.stats.flooded += 1;
            self.events.push_back(Event::Flood { entry, to });
        }
    }

    /// What must hold between any two calls.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(crate) fn check_books(&self) {
        self.sets.check_books();
        assert!(self.waiting.len() <= limits::VERIFYING && self.jobs <= limits::VERIFYING_LEASE_SETS);
        assert!(self.waiting.values().all(|waiting| (1..=limits::SAME_STORES).contains(&waiting.len())));
        assert!(self.per_peer.len() <= limits::STORE_PEERS);
    }
}

#[cfg(test)]
#[path = "flood_tests.rs"]
mod tests;
