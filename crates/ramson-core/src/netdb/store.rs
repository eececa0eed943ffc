//! The RouterInfos that we know. Only what verified and keeps the rules comes in.

#[cfg(any(test, fuzzing, feature = "checks"))]
mod check;
mod verify;

pub use verify::{Known, Verified, VerifyDone, VerifyJob};

use super::closest::closest;
use super::crowd;
use super::nearest::Nearest;
use super::routing_key::Day;
use crate::limits::netdb as limits;
use crate::peers::{Candidate, Candidates};
use crate::rng::{Rng, SeededMap, SeededState};
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::router_info::Version;
use ramson_wire::data::{Hash, RouterInfo};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Floodfills below are not asked and not stored to.
pub const MIN_FLOODFILL_VERSION: Version = Version::new(0, 9, 59);
/// A RouterInfo may be ahead of our clock by this much.
const MAX_FUTURE: Duration = Duration::from_mins(2);
/// Oldest RouterInfo that is taken from the network.
const MAX_AGE: Duration = Duration::from_hours(27);
/// Oldest RouterInfo that is taken from our own disk or a reseed, to have somebody to ask at all.
const MAX_LOCAL_AGE: Duration = Duration::from_hours(24 * 180);
/// Lifetime in a store with many routers.
const MIN_LIFETIME: Duration = Duration::from_mins(90);
/// Lifetime of floodfills, which others must be able to rely on, and of routers that only others can introduce to us,
/// since these others change.
const FLOODFILL_LIFETIME: Duration = Duration::from_mins(60);
const HIDDEN_LIFETIME: Duration = Duration::from_mins(54);
/// Floodfills that stay however old they are, to have somebody to ask after a time without a network.
const KEPT_FLOODFILLS: usize = 50;
/// Nothing expires below this number of routers, nor before this uptime.
const FEW_ROUTERS: usize = 90;
const YOUNG: Duration = Duration::from_mins(10);

/// Why a RouterInfo is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It names no network or another one.
    #[error("another network")]
    WrongNetwork,
    /// It names no version of the API.
    #[error("no version")]
    NoVersion,
    /// It names no address.
    #[error("no address")]
    NoAddress,
    /// It is published more than two minutes ahead of our clock.
    #[error("published in the future")]
    Future,
    /// It is too old.
    #[error("too old")]
    Expired,
    /// It is our own router's.
    #[error("our own")]
    Own,
    /// Its signature does not verify.
    #[error("bad signature")]
    BadSignature,
    /// The store, or the queue before it, is full.
    #[error("full")]
    Full,
}

/// Where a RouterInfo comes from, which says whether it makes room for itself and whether others are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An exploration, or a reply to the router's own questions, has named it. It makes room for itself when the store
    /// is full.
    Wanted,
    /// The same, but that we know it says something of us: a reply to one of our destinations has named it, a message
    /// had to go to it, or it has a session with us. Nobody is told (threats P-10).
    Private,
    /// A peer sent its own. It comes in while there is room.
    Unasked,
    /// It was stored at us, a floodfill, for others to find. It makes room among its like.
    Published,
    /// A reseed or a file. It may be old.
    Local,
    /// Our own netDb on disk, where it need not be written again. It may be old.
    Disk,
}

impl Source {
    /// Whether others may learn that we know it.
    const fn is_told(self) -> bool {
        !matches!(self, Self::Private)
    }
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is being verified; [`Event::Stored`] or [`Event::Refused`] follows.
    Verifying,
    /// The same, or a newer one of the router, is here already.
    Known,
    /// It was verified already, and is here now; [`Event::Stored`] follows.
    Stored,
}

#[derive(Debug)]
pub enum Event {
    /// A signature to verify.
    Job(VerifyJob),
    /// The RouterInfo of this router is here, new or newer.
    Stored(Hash),
    /// An offered RouterInfo turned out bad.
    Refused(Hash, Refusal),
}

/// A change for the disk.
#[derive(Clone, Debug)]
pub enum Change {
    Save(Arc<RouterInfo>),
    Remove(Hash),
}

/// The known routers, bounded, with a fair random choice among them.
///
/// After each call of a `handle_`, `offer` or `insert`, drain [`Self::poll_event`].
pub struct RouterStore {
    own: Hash,
    /// Our own router is a floodfill.
    own_serves: bool,
    net_id: u8,
    cap: usize,
    started: Instant,
    rng: Rng,
    slots: Vec<Slot>,
    positions: SeededMap<Hash, usize>,
    floodfills: BTreeSet<Hash>,
    /// Those that may be hops.
    candidates: Candidates,
    /// Those that are here only because they were stored at us.
    guests: Nearest,
    dirty: BTreeSet<Hash>,
    /// Routers with a verification out, the date that is verified, and whether others may learn of it then.
    verifying: SeededMap<Hash, (u64, bool)>,
    events: VecDeque<Event>,
}

struct Slot {
    info: Arc<RouterInfo>,
    /// Others may learn that we know it.
    told: bool,
    /// It is here only because it was stored at us.
    guest: bool,
    /// The date of the last one that was stored at us.
    given: Option<u64>,
}

impl std::fmt::Debug for RouterStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RouterStore of {} routers, {} floodfills", self.slots.len(), self.floodfills.len())
    }
}

impl RouterStore {
    /// A store of up to `cap` routers (see [`limits::ROUTERS`]) of the network `net_id`, without the router `own`.
    pub fn new(own: Hash, net_id: u8, cap: usize, mut rng: Rng, now: Now) -> Self {
        let state = SeededState::new(&mut rng);
        let candidates = Candidates::new(&mut rng.child("candidates"));
        Self {
            candidates,
            own,
            own_serves: false,
            net_id,
            cap,
            started: now.mono,
            slots: Vec::new(),
            positions: SeededMap::with_hasher(state.clone()),
            verifying: SeededMap::with_hasher(state),
            rng,
            floodfills: BTreeSet::new(),
            guests: Nearest::new(own, now),
            dirty: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn get(&self, hash: &Hash) -> Option<&Arc<RouterInfo>> {
        self.slot(hash).map(|slot| &slot.info)
    }

    /// All routers, in an order that only depends on what came in.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RouterInfo>> {
        self.slots.iter().map(|slot| &slot.info)
    }

    /// Whether the router is known and others may learn so.
    pub fn is_told(&self, hash: &Hash) -> bool {
        self.slot(hash).is_some_and(|slot| slot.told)
    }

    /// Up to `n` routers that others may learn of, each equally likely, in no order.
    pub fn some_told(&self, n: usize, rng: &mut Rng) -> Vec<&Arc<RouterInfo>> {
        let told = |slot: &&Slot| slot.told;
        if self.slots.len() <= n {
            return self.slots.iter().filter(told).map(|slot| &slot.info).collect();
        }
        let mut seen = BTreeSet::new();
        let drawn = (0..n).filter_map(|_| {
            let at = rng.below(self.slots.len());
            self.slots.get(at).filter(|_| seen.insert(at))
        });
        drawn.filter(told).map(|slot| &slot.info).collect()
    }

    /// One router, each equally likely.
    pub fn random(&self, rng: &mut Rng) -> Option<&Arc<RouterInfo>> {
        rng.pick(&self.slots).map(|slot| &slot.info)
    }

    /// The routers that may be hops of tunnels.
    pub fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// The number of usable floodfills.
    pub fn floodfills(&self) -> usize {
        self.floodfills.len()
    }

    pub fn is_floodfill(&self, hash: &Hash) -> bool {
        self.floodfills.contains(hash)
    }

    /// The `n` floodfills that are closest to `routing_key`, the closest first, without the excluded.
    pub fn closest_floodfills(&self, routing_key: &Hash, n: usize, excluded: &[Hash]) -> Vec<Hash> {
        self.closest_floodfills_where(routing_key, n, |hash| !excluded.contains(hash))
    }

    /// The `n` floodfills for which `usable` holds that are closest to `routing_key`, the closest first.
    pub fn closest_floodfills_where(&self, routing_key: &Hash, n: usize, usable: impl Fn(&Hash) -> bool) -> Vec<Hash> {
        closest(&self.floodfills, routing_key, n, usable)
    }

    /// Our own router serves as a floodfill from now on, or no longer.
    pub const fn set_own_serves(&mut self, serves: bool) {
        self.own_serves = serves;
    }

    /// The same for a destination of ours, to which our own router is a floodfill as any other. Were it passed over, those
    /// behind it would be stored at and asked out of turn, which tells on whose router the destination is (threats P-10).
    pub fn closest_to_destination(&self, routing_key: &Hash, n: usize, usable: impl Fn(&Hash) -> bool) -> Vec<Hash> {
        let mut found = self.closest_floodfills_where(routing_key, n, &usable);
        if self.own_serves && usable(&self.own) {
            let own = self.own.distance(routing_key);
            found.insert(found.partition_point(|hash| hash.distance(routing_key) < own), self.own);
            found.truncate(n);
        }
        found
    }

    /// The `n` floodfills that are closest to where `key` is kept today.
    pub fn closest_today(&self, now: Now, key: &Hash, n: usize, excluded: &[Hash]) -> Vec<Hash> {
        self.closest_floodfills(&Day::of(now.unix_ms).routing_key(key), n, excluded)
    }

    /// The floodfills that stand closer to `routing_key` than chance puts them; none, but for one key in ten thousand,
    /// where nobody has placed them there.
    pub fn crowd(&self, routing_key: &Hash) -> Vec<Hash> {
        let mut near = self.closest_floodfills(routing_key, crowd::CLOSEST, &[]);
        near.truncate(crowd::crowd(routing_key, &near, self.floodfills.len()));
        near
    }

    /// The `n` closest floodfills for which `usable` holds, no two of them in one subnet or family, nor in one with
    /// those of `apart`.
    pub fn closest_apart(
        &self,
        routing_key: &Hash,
        n: usize,
        apart: &[Hash],
        usable: impl Fn(&Hash) -> bool,
    ) -> Vec<Hash> {
        let mut from: Vec<&Candidate> = apart.iter().filter_map(|hash| self.candidates.get(hash)).collect();
        let mut found = Vec::with_capacity(n);
        for hash in self.closest_floodfills_where(routing_key, n * 8, usable) {
            if found.len() >= n {
                break;
            }
            // Of those that take part in no tunnels nothing is kept by which they could be related.
            match self.candidates.get(&hash) {
                Some(one) if from.iter().any(|other| other.is_related(one)) => continue,
                one => from.extend(one),
            }
            found.push(hash);
        }
        found
    }

    /// The `n` closest floodfills that others may learn of and for which `usable` holds.
    pub fn closest_told(&self, routing_key: &Hash, n: usize, usable: impl Fn(&Hash) -> bool) -> Vec<Hash> {
        self.closest_floodfills_where(routing_key, n, |hash| self.is_told(hash) && usable(hash))
    }

    /// Offers a RouterInfo that is not verified. What keeps the rules goes to a job.
    pub fn offer(&mut self, now: Now, info: Arc<RouterInfo>, source: Source) -> Result<Offer, Refusal> {
        self.check(now, &info, source)?;
        let (hash, published) = (info.hash(), info.published());
        if self.slot(&hash).is_some_and(|slot| slot.info.published() >= published && !slot.is_news(&info, source)) {
            return Ok(Offer::Known);
        }
        let told = source.is_told();
        if self.verifying.get(&hash).is_some_and(|(out, tells)| *out >= published && (*tells || !told)) {
            return Ok(Offer::Verifying);
        }
        let is_full = match source {
            _ if self.positions.contains_key(&hash) => false,
            Source::Unasked => self.slots.len() >= self.cap,
            Source::Published => self.are_guests_full() && self.guests.farther_than(&hash).is_none(),
            _ => false,
        };
        if self.verifying.len() >= limits::VERIFYING || is_full {
            return Err(Refusal::Full);
        }
        self.verifying.insert(hash, (published, told));
        self.events.push_back(Event::Job(VerifyJob { info, source }));
        Ok(Offer::Verifying)
    }

    /// Takes the result of a job.
    pub fn handle_job(&mut self, now: Now, done: VerifyDone) {
        self.verifying.remove(&done.hash);
        let result = match done.verified {
            Some(verified) => self.insert(now, verified, done.source).map(|_| ()),
            None => Err(Refusal::BadSignature),
        };
        if let Err(refusal) = result {
            self.events.push_back(Event::Refused(done.hash, refusal));
        }
    }

    /// The job for this router has panicked.
    pub fn handle_job_failed(&mut self, hash: &Hash) {
        self.verifying.remove(hash);
    }

    /// Inserts a RouterInfo that was verified elsewhere, such as by a handshake.
    pub fn insert(&mut self, now: Now, verified: Verified, source: Source) -> Result<Offer, Refusal> {
        let info = verified.0;
        self.check(now, &info, source)?;
        let hash = info.hash();
        let guest = match self.positions.get(&hash).and_then(|at| self.slots.get_mut(*at)) {
            Some(slot) => {
                let newer = slot.info.published() < info.published();
                if !newer && !slot.is_news(&info, source) {
                    return Ok(Offer::Known);
                }
                // Of two with one date, the first stays.
                if newer || !slot.told && source.is_told() {
                    slot.info = info.clone();
                }
                if source == Source::Published {
                    slot.given = Some(info.published());
                }
                slot.told |= source.is_told();
                slot.guest &= source == Source::Published;
                slot.guest
            }
            None => {
                self.make_room(&hash, source)?;
                let guest = source == Source::Published;
                self.positions.insert(hash, self.slots.len());
                let given = guest.then(|| info.published());
                self.slots.push(Slot { info: info.clone(), told: source.is_told(), guest, given });
                guest
            }
        };
        match guest {
            true => self.guests.insert(hash),
            false => self.guests.remove(&hash),
        }
        // Of two with one date this may be the other.
        let Some(info) = self.get(&hash) else { return Err(Refusal::Full) };
        let info = Arc::clone(info);
        self.candidates.insert(&info);
        let old = info.version().is_none_or(|version| version < MIN_FLOODFILL_VERSION);
        if info.is_floodfill() && !old {
            self.floodfills.insert(hash);
        } else {
            self.floodfills.remove(&hash);
        }
        if source != Source::Disk {
            self.mark_dirty(hash);
        }
        self.events.push_back(Event::Stored(hash));
        Ok(Offer::Stored)
    }

    /// Forgets a router.
    pub fn remove(&mut self, hash: &Hash) {
        let Some(at) = self.positions.remove(hash) else { return };
        self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            self.positions.insert(moved.info.hash(), at);
        }
        self.guests.remove(hash);
        self.floodfills.remove(hash);
        self.candidates.remove(hash);
        self.mark_dirty(*hash);
    }

    /// Forgets a router that nobody answers for, unless there are few.
    pub fn remove_dead(&mut self, hash: &Hash) {
        let few = if self.floodfills.contains(hash) { self.floodfills.len() <= KEPT_FLOODFILLS } else { false };
        if !few && self.slots.len() > FEW_ROUTERS {
            self.remove(hash);
        }
    }

    /// Forgets what is too old. Call it every few minutes. With few routers, and shortly after a start, nothing is too
    /// old; in between, the lifetime falls from 27 hours to 90 minutes as the number grows. Floodfills, and routers
    /// that cannot be dialled, live about an hour.
    pub fn expire(&mut self, now: Now) {
        self.guests.turn_to(now);
        if self.slots.len() <= FEW_ROUTERS || now.mono.since(self.started) < YOUNG {
            return;
        }
        let share = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let lifetime = MIN_LIFETIME + (MAX_AGE - MIN_LIFETIME) * FEW_ROUTERS as u32 / share;
        let is_old = |info: &RouterInfo| {
            let lifetime = match () {
                () if info.is_floodfill() => FLOODFILL_LIFETIME,
                () if info.addresses().iter().all(|address| address.host().is_none()) => HIDDEN_LIFETIME,
                () => lifetime,
            };
            info.published().saturating_add(millis(lifetime)) < now.unix_ms
        };
        let mut expired: Vec<(u64, Hash)> =
            self.iter().filter(|info| is_old(info)).map(|info| (info.published(), info.hash())).collect();
        // The oldest go first, and the last few stay.
        expired.sort_unstable();
        let mut floodfills = self.floodfills.len().saturating_sub(KEPT_FLOODFILLS);
        expired.retain(|(_, hash)| {
            let goes = !self.floodfills.contains(hash) || floodfills > 0;
            floodfills = floodfills.saturating_sub(usize::from(goes && self.floodfills.contains(hash)));
            goes
        });
        expired.truncate(self.slots.len() - FEW_ROUTERS);
        for (_, hash) in expired {
            self.remove(&hash);
        }
    }

    /// What changed since the last call, for the disk. What nobody is told of is not kept: after the next start it
    /// could not be told from the rest.
    pub fn take_dirty(&mut self) -> Vec<Change> {
        let dirty = std::mem::take(&mut self.dirty);
        let change = |hash: Hash| match self.slot(&hash) {
            Some(slot) => slot.told.then(|| Change::Save(Arc::clone(&slot.info))),
            None => Some(Change::Remove(hash)),
        };
        dirty.into_iter().filter_map(change).collect()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn check(&self, now: Now, info: &RouterInfo, source: Source) -> Result<(), Refusal> {
        // With few routers nothing is too old, or a clock that is far ahead would keep us from those that correct it.
        let few = self.slots.len() < FEW_ROUTERS;
        let age = match source {
            Source::Local | Source::Disk if few => Duration::MAX,
            Source::Local | Source::Disk => MAX_LOCAL_AGE,
            _ => MAX_AGE,
        };
        match () {
            () if info.hash() == self.own => Err(Refusal::Own),
            () if info.net_id() != Some(self.net_id) => Err(Refusal::WrongNetwork),
            () if info.version().is_none() => Err(Refusal::NoVersion),
            () if info.addresses().is_empty() => Err(Refusal::NoAddress),
            () if info.published() > now.unix_ms.saturating_add(millis(MAX_FUTURE)) => Err(Refusal::Future),
            () if info.published().saturating_add(millis(age)) < now.unix_ms => Err(Refusal::Expired),
            () => Ok(()),
        }
    }

    /// Makes room for one more. What we look for ourselves takes the place of the oldest of a few random routers. What
    /// is stored at us takes the place of what was stored at us and is farther; so nobody can flush the store by
    /// sending.
    fn make_room(&mut self, hash: &Hash, source: Source) -> Result<(), Refusal> {
        if source == Source::Published && self.are_guests_full() {
            let farthest = self.guests.farther_than(hash).ok_or(Refusal::Full)?;
            self.remove(&farthest);
        }
        if self.slots.len() < self.cap {
            return Ok(());
        }
        if matches!(source, Source::Unasked | Source::Published) {
            return Err(Refusal::Full);
        }
        let oldest = (0..8).filter_map(|_| {
            let info = &self.slots.get(self.rng.below(self.slots.len()))?.info;
            Some((info.published(), info.hash()))
        });
        let (_, hash) = oldest.min().ok_or(Refusal::Full)?;
        self.remove(&hash);
        Ok(())
    }

    /// Whether one more that is stored at us takes the place of another.
    fn are_guests_full(&self) -> bool {
        self.guests.len() >= limits::GUESTS || self.slots.len() >= self.cap
    }

    fn slot(&self, hash: &Hash) -> Option<&Slot> {
        self.slots.get(*self.positions.get(hash)?)
    }

    /// A change beyond the bound is not recorded; its file is found stale when it is loaded.
    fn mark_dirty(&mut self, hash: Hash) {
        if self.dirty.len() < limits::DIRTY {
            self.dirty.insert(hash);
        }
    }
}

impl Slot {
    /// Whether a RouterInfo that is no newer changes something. Where nobody was told of the router, and now others may
    /// be, they hear what was given for them, also where we have it newer. And one that we have by another way is new
    /// as one that is stored at us: it is passed on.
    fn is_news(&self, info: &RouterInfo, source: Source) -> bool {
        let same = self.info.published() == info.published();
        let first = source == Source::Published && same && self.given != Some(info.published());
        first || !self.told && source.is_told()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
