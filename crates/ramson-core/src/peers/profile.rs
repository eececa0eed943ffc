//! How each peer has done of late: what it answered to builds, whether tunnels through it carried, and how fast.
//!
//! All figures fade: half of what is known is forgotten in eleven hours. Everything is whole numbers, so that a run with
//! the same seed is the same run on every machine.
//!
//! What a peer earns is bounded (threats 1.6): three weights, of which the largest is one and a half of the middle one
//! and the smallest half of it. So nobody gains much by being better than others, and who is made to look worse by an
//! attacker is not lost. What a build that nobody answered says is said of all its hops; it counts by comparison with
//! what is said of everybody (threats 1.8).

mod file;

use crate::limits::peers as limits;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::Hash;
use std::collections::{BTreeMap, BTreeSet};

/// How long a refusal, a missing answer or a failed dial counts against a peer.
pub const MEMORY: Duration = Duration::from_secs(600);
/// How long a router that is not there any more counts as gone, unless it is heard of before.
pub const GONE: Duration = Duration::from_hours(1);
/// One event, in the unit of the counters.
const ONE: u32 = 256;
/// No counter grows beyond so many events.
const MOST: u32 = ONE * 4_096;
/// The counters lose a thirty-second part in this time.
const STEP_SECS: u64 = 1_800;
/// After so many steps nothing is left.
const STEPS: u64 = 400;
/// Events that a peer without a history is given the benefit of.
const PRIOR: u32 = 2 * ONE;
/// With fewer events nothing is said about a peer.
const FEW: u32 = 4 * ONE;
/// A peer is proven while this is left of what it carried.
const PROOF: u32 = ONE / 2;
/// Events by which routers without proof are judged together.
const FRESH_FEW: u32 = 24 * ONE;
/// With a smaller share of good events, of 1,024, most routers without proof are useless.
const FEW_WORK: u32 = 256;

/// The weight of a peer in the choice of hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// It fails more than twice as often as others.
    Poor,
    /// Nothing speaks for it or against it.
    Plain,
    /// Tunnels through it are faster than others.
    Fast,
}

impl Tier {
    /// The share of draws that are kept, of [`Self::MOST`].
    pub const fn weight(self) -> usize {
        match self {
            Self::Poor => 1,
            Self::Plain => 2,
            Self::Fast => 3,
        }
    }

    pub const MOST: usize = 3;
}

/// The profiles of all peers, bounded; of those that prove nothing the one that was quiet for longest makes room.
#[derive(Debug, Default)]
pub struct Profiles {
    peers: BTreeMap<Hash, Profile>,
    /// All of them: those that prove nothing first, then the quietest.
    by_age: BTreeSet<(bool, Instant, Hash)>,
    /// Those that are proven, for a choice among them; each knows its place.
    proven: Vec<Hash>,
    /// What is said of everybody, and the means of what was measured.
    all: Record,
    /// Tunnels that carried, and what failed, with hops that were proven and that were not.
    known: Record,
    fresh: Record,
    rtt_ms: u32,
    rate: u32,
}

/// Counters and last times of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    record: Record,
    declined: u32,
    unanswered: u32,
    /// Tunnels that passed a test.
    carried: u32,
    /// Smoothed round trip of tests, zero when there was none, and the best rate of late in bytes per second.
    rtt_ms: u32,
    rate: u32,
    /// The time of the counters, in steps since 1970.
    step: u32,
    place: Option<usize>,
    /// When it was found to be gone.
    gone_ms: Option<u64>,
    last_bad: Option<Instant>,
    last_seen: Instant,
}

/// Good and bad events, in parts of [`ONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    good: u32,
    bad: u32,
}

impl Record {
    const fn events(self) -> u32 {
        self.good.saturating_add(self.bad)
    }

    /// The share of good events, of 1,024.
    fn share(self, prior: u32) -> u32 {
        let (good, all) = (u64::from(self.good) + u64::from(prior), u64::from(self.events()) + u64::from(prior));
        u32::try_from((good * 1_024).checked_div(all).unwrap_or(1_024)).unwrap_or(1_024)
    }

    /// Adds an event; beyond `most` events the old ones count less.
    const fn add(&mut self, good: bool, most: u32) {
        if self.events() >= most {
            self.good -= self.good / 16;
            self.bad -= self.bad / 16;
        }
        let to = if good { &mut self.good } else { &mut self.bad };
        *to = to.saturating_add(ONE);
    }
}

impl Profile {
    fn fade(&mut self, step: u32) {
        let steps = u64::from(step.saturating_sub(self.step)).min(STEPS);
        self.step = self.step.max(step);
        let counters = [
            &mut self.record.good,
            &mut self.record.bad,
            &mut self.declined,
            &mut self.unanswered,
            &mut self.carried,
            &mut self.rate,
        ];
        for counter in counters {
            for _ in 0..steps {
                // Rounded up, so that nothing stays for ever.
                *counter -= counter.div_ceil(32);
            }
        }
    }

    const fn is_proven(&self) -> bool {
        self.has_carried() && self.gone_ms.is_none()
    }

    const fn has_carried(&self) -> bool {
        self.carried >= PROOF
    }

    /// Builds that it declined of late, fading.
    pub const fn declined(&self) -> u32 {
        self.declined.div_ceil(ONE)
    }

    /// Builds through it that were not answered of late, fading.
    pub const fn unanswered(&self) -> u32 {
        self.unanswered.div_ceil(ONE)
    }

    /// Tunnels through it that passed a test of late, fading.
    pub const fn carried(&self) -> u32 {
        self.carried.div_ceil(ONE)
    }

    /// Smoothed round trip of tests of tunnels through it.
    pub fn rtt(&self) -> Option<Duration> {
        (self.rtt_ms > 0).then(|| Duration::from_millis(self.rtt_ms.into()))
    }
}

fn step(now: Now) -> u32 {
    u32::try_from(now.unix_ms / 1_000 / STEP_SECS).unwrap_or(u32::MAX)
}

/// A mean that follows the last few dozen samples.
fn follow(mean: u32, sample: u32, of: u32) -> u32 {
    if mean == 0 {
        return sample;
    }
    let sum = u64::from(mean) * u64::from(of - 1) + u64::from(sample);
    u32::try_from(sum / u64::from(of)).unwrap_or(u32::MAX)
}

impl Profiles {
    /// The peer has accepted a tunnel.
    pub fn note_agreed(&mut self, now: Now, peer: &Hash) {
        self.note(now, peer, |profile| {
            profile.record.add(true, MOST);
            (profile.last_bad, profile.gone_ms) = (None, None);
        });
        self.all.add(true, MOST);
    }

    /// The peer has declined a tunnel.
    pub fn note_declined(&mut self, now: Now, peer: &Hash) {
        self.note_bad(now, peer, |profile| profile.declined = profile.declined.saturating_add(ONE).min(MOST));
    }

    /// A build through the peer was not answered; any hop of it may be to blame.
    pub fn note_unanswered(&mut self, now: Now, peer: &Hash) {
        self.note_bad(now, peer, |profile| profile.unanswered = profile.unanswered.saturating_add(ONE).min(MOST));
    }

    /// The peer has hung up and cannot be dialled, or could not be dialled twice: nobody is there. What it carried proves
    /// nothing until it is back.
    pub fn note_gone(&mut self, now: Now, peer: &Hash) {
        self.note(now, peer, |profile| profile.gone_ms = Some(now.unix_ms));
    }

    /// There is a session with the peer.
    pub fn note_here(&mut self, peer: &Hash) {
        self.change(peer, |profile| profile.gone_ms = None);
    }

    /// A tunnel through the peer carries nothing; any hop of it may be to blame.
    pub fn note_dropped(&mut self, now: Now, peer: &Hash) {
        self.note_bad(now, peer, |profile| profile.carried -= profile.carried / 4);
    }

    /// A tunnel through the peer has passed its first test.
    pub fn note_carried(&mut self, now: Now, peer: &Hash) {
        self.note_kind(peer, true);
        self.note(now, peer, |profile| profile.carried = profile.carried.saturating_add(ONE).min(MOST));
    }

    /// A test went through the peer, and its tunnel carried so many bytes per second before.
    pub fn note_speed(&mut self, now: Now, peer: &Hash, rtt: Duration, rate: u32) {
        let ms = u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX).max(1);
        self.note(now, peer, |profile| {
            profile.rtt_ms = follow(profile.rtt_ms, ms, 8);
            profile.rate = profile.rate.max(rate);
        });
        self.rtt_ms = follow(self.rtt_ms, ms, 128);
        if rate > 0 {
            self.rate = follow(self.rate, rate, 128);
        }
    }

    fn note_bad(&mut self, now: Now, peer: &Hash, change: impl FnOnce(&mut Profile)) {
        self.note_kind(peer, false);
        self.note(now, peer, |profile| {
            profile.record.add(false, MOST);
            profile.last_bad = Some(now.mono);
            change(profile);
        });
        self.all.add(false, MOST);
    }

    fn note_kind(&mut self, peer: &Hash, good: bool) {
        let kind = if self.is_proven(peer) { &mut self.known } else { &mut self.fresh };
        kind.add(good, 4 * FRESH_FEW);
    }

    /// Whether something bad happened with the peer within [`MEMORY`].
    pub fn is_doubtful(&self, now: Now, peer: &Hash) -> bool {
        self.is_doubtful_since(now, peer, MEMORY)
    }

    /// Whether something bad happened with the peer within this time.
    pub fn is_doubtful_since(&self, now: Now, peer: &Hash, time: Duration) -> bool {
        let last = self.peers.get(peer).and_then(|p| p.last_bad);
        last.is_some_and(|at| now.mono.since(at) < time)
    }

    /// Whether the peer is to be a hop only where others do not suffice, and its weight. A RouterInfo that it has
    /// published since it was gone says that it is back.
    pub fn standing(&self, now: Now, peer: &Hash, published: u64) -> (bool, Tier) {
        let Some(profile) = self.peers.get(peer) else { return (false, Tier::Plain) };
        let bad = profile.last_bad.is_some_and(|at| now.mono.since(at) < MEMORY);
        let gone = |at: u64| published <= at && Duration::from_millis(now.unix_ms.saturating_sub(at)) < GONE;
        (bad || profile.gone_ms.is_some_and(gone), self.tier(profile))
    }

    fn tier(&self, profile: &Profile) -> Tier {
        let poor = || profile.record.share(PRIOR) * 2 < self.all.share(PRIOR);
        let quick = || profile.rtt_ms > 0 && u64::from(profile.rtt_ms) * 10 < u64::from(self.rtt_ms) * 9;
        let wide = || self.rate > 0 && profile.rate / 2 > self.rate;
        match () {
            () if profile.record.events() >= FEW && poor() => Tier::Poor,
            () if profile.is_proven() && (quick() || wide()) => Tier::Fast,
            () => Tier::Plain,
        }
    }

    /// Whether tunnels through the peer carried of late, and it is not gone.
    pub fn is_proven(&self, peer: &Hash) -> bool {
        self.peers.get(peer).is_some_and(|profile| profile.place.is_some())
    }

    /// The same, also of those who are gone.
    pub fn has_carried(&self, peer: &Hash) -> bool {
        self.peers.get(peer).is_some_and(Profile::has_carried)
    }

    /// The peers through which tunnels carried of late and who are not gone, in no order.
    pub fn proven(&self) -> &[Hash] {
        &self.proven
    }

    /// Whether routers that are not proven fail so often, or so much more often than the proven ones, that few of them
    /// shall be hops: most of them are useless, as in a flood (threats 1.1). Where too few are proven there is no choice.
    pub fn is_wary(&self) -> bool {
        let (fresh, known) = (self.fresh.share(0), self.known.share(PRIOR));
        let many = self.proven.len() >= limits::PROVEN_LEAST && self.fresh.events() >= FRESH_FEW;
        many && (fresh < FEW_WORK || fresh * 2 < known)
    }

    /// Whether most routers are useless, and too few are proven to do without them.
    pub fn is_lost(&self) -> bool {
        let few = self.proven.len() < limits::PROVEN_LEAST && self.fresh.events() >= FRESH_FEW;
        few && self.fresh.share(0) < FEW_WORK
    }

    pub fn get(&self, peer: &Hash) -> Option<&Profile> {
        self.peers.get(peer)
    }

    pub fn len(&self) -> usize {
        self.peers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Lets what is known fade. To be called now and then: else only those fade that are heard of.
    pub fn fade(&mut self, now: Now) {
        for peer in self.proven.clone() {
            self.change(&peer, |profile| profile.fade(step(now)));
        }
    }

    fn note(&mut self, now: Now, peer: &Hash, change: impl FnOnce(&mut Profile)) {
        if !self.peers.contains_key(peer) {
            self.make_room();
            let new = Profile { step: step(now), last_seen: now.mono, ..Profile::default() };
            self.peers.insert(*peer, new);
        }
        self.change(peer, |profile| {
            profile.fade(step(now));
            profile.last_seen = now.mono;
            change(profile);
        });
    }

    /// Changes a profile, and what is kept in order by it.
    fn change(&mut self, peer: &Hash, change: impl FnOnce(&mut Profile)) {
        let Some(profile) = self.peers.get_mut(peer) else { return };
        self.by_age.remove(&(profile.place.is_some(), profile.last_seen, *peer));
        change(profile);
        let moved = match (profile.place, profile.is_proven()) {
            (None, true) => {
                profile.place = Some(self.proven.len());
                self.proven.push(*peer);
                None
            }
            (Some(at), false) => {
                profile.place = None;
                Some(at)
            }
            _ => None,
        };
        self.by_age.insert((profile.place.is_some(), profile.last_seen, *peer));
        moved.into_iter().for_each(|at| self.disprove(at));
    }

    /// Takes the proven one at this place out.
    fn disprove(&mut self, at: usize) {
        self.proven.swap_remove(at);
        if let Some(other) = self.proven.get(at)
            && let Some(other) = self.peers.get_mut(other)
        {
            other.place = Some(at);
        }
    }

    fn make_room(&mut self) {
        if self.peers.len() < limits::PROFILES {
            return;
        }
        let Some((_, _, peer)) = self.by_age.pop_first() else { return };
        if let Some(at) = self.peers.remove(&peer).and_then(|gone| gone.place) {
            self.disprove(at);
        }
    }
}

#[cfg(test)]
mod tests;
