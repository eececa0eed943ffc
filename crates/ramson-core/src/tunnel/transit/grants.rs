//! Bandwidth that tunnels of others were granted in their build records (proposal 168).
//!
//! Who does not use it loses it: a grant of which a tunnel carries next to nothing for a minute counts against others no
//! longer, and favours the tunnel no longer. When it is used again, it counts again, if there is room.

use crate::bucket::Bucket;
use crate::limits::tunnel as limits;
use crate::time::{Duration, Instant};
use crate::tunnel::TunnelId;
use ramson_wire::tunnel::bandwidth::BandwidthRequest;
use std::collections::VecDeque;

/// More is granted than there is, since most tunnels use little of it, and many are never finished: this many times.
const OVERBOOKED: u64 = 2;

/// A grant is looked at this often.
const PERIOD: Duration = Duration::from_secs(60);
/// Of what it promised in that time, at least one part in so many is to be carried.
const USED_PART: u64 = 32;

/// What one tunnel was granted.
#[derive(Debug)]
pub(super) struct Grant {
    kilobytes: u32,
    bucket: Bucket,
    /// Bytes that came since it was looked at.
    used: u64,
    look_at: Instant,
    /// It was not used.
    lapsed: bool,
}

impl Grant {
    pub(super) fn new(now: Instant, kilobytes: u32, bucket: Bucket) -> Self {
        Self { kilobytes, bucket, used: 0, look_at: now + PERIOD, lapsed: false }
    }

    /// So many bytes came, whether they are carried or not.
    pub(super) const fn note(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes as u64);
    }

    /// Whether so many bytes are of what was granted.
    pub(super) fn covers(&mut self, now: Instant, bytes: usize) -> bool {
        !self.lapsed && self.bucket.take_many(now, bytes)
    }

    /// Kilobytes a second that count.
    pub(super) const fn counted(&self) -> u64 {
        if self.lapsed { 0 } else { self.kilobytes as u64 }
    }
}

/// The books over what is granted, in kilobytes a second.
#[derive(Debug, Default)]
pub(super) struct Grants {
    granted: u64,
    /// When grants are looked at, in that order: all as often.
    looks: VecDeque<(Instant, TunnelId)>,
}

impl Grants {
    /// What a tunnel gets of a router that carries so many bytes a second for others: nothing special where it asks for
    /// nothing. `Err` where it asks for more than there is, or contradicts itself.
    pub(super) fn offer(&self, request: &BandwidthRequest, bytes_per_second: u64) -> Result<Option<u32>, ()> {
        if !request.is_consistent() {
            return Err(());
        }
        let all = bytes_per_second / 1_024;
        // No tunnel gets more than a part, whatever is free.
        let share = all / limits::GRANT_SHARE;
        let free = all.saturating_mul(OVERBOOKED).saturating_sub(self.granted).min(share);
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        if request.minimum.is_some_and(|minimum| minimum > free) {
            return Err(());
        }
        if !request.wants_answer() || free == 0 {
            return Ok(None);
        }
        Ok(request.requested.or(request.minimum).map(|wanted| wanted.min(free)))
    }

    pub(super) fn add(&mut self, tunnel: TunnelId, grant: &Grant) {
        self.granted += grant.counted();
        self.looks.push_back((grant.look_at, tunnel));
    }

    pub(super) fn remove(&mut self, grant: &Grant) {
        self.granted = self.granted.saturating_sub(grant.counted());
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.looks.front().map(|(at, _)| *at)
    }

    /// The next tunnel whose grant is to be looked at, if it still has the one that was meant.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, TunnelId)> {
        self.looks.pop_front_if(|(at, _)| *at <= now)
    }

    /// Looks whether a grant is used. `at` is when that was due.
    pub(super) fn look(&mut self, at: Instant, tunnel: TunnelId, grant: &mut Grant, bytes_per_second: u64) {
        if grant.look_at != at {
            return;
        }
        let promised = u64::from(grant.kilobytes) * 1_024 * PERIOD.as_secs();
        let used = std::mem::take(&mut grant.used) >= promised / USED_PART;
        let room = (bytes_per_second / 1_024).saturating_mul(OVERBOOKED).saturating_sub(self.granted);
        let lapsed = !used || (grant.lapsed && u64::from(grant.kilobytes) > room);
        self.granted = self.granted.saturating_sub(grant.counted());
        grant.lapsed = lapsed;
        self.granted += grant.counted();
        grant.look_at = at + PERIOD;
        self.looks.push_back((grant.look_at, tunnel));
    }

    /// Kilobytes a second in all.
    pub(super) const fn granted(&self) -> u64 {
        self.granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(minimum: Option<u32>, requested: Option<u32>) -> BandwidthRequest {
        BandwidthRequest { minimum, requested, limit: None }
    }

    fn grant(kilobytes: u32) -> Grant {
        Grant::new(Instant::ZERO, kilobytes, Bucket::new((kilobytes * 1_024, kilobytes * 2_048), Instant::ZERO))
    }

    /// Proposal 168: who does not use it loses it, and has it again when there is room.
    #[test]
    fn a_grant_that_is_not_used_counts_no_longer() {
        let (rate, mut grants) = (400 * 1_024, Grants::default());
        let mut all: Vec<Grant> = (0..8).map(|_| grant(100)).collect();
        all.iter().enumerate().for_each(|(n, grant)| grants.add(u32::try_from(n).unwrap(), grant));
        assert_eq!((grants.granted(), grants.offer(&ask(Some(1), None), rate)), (800, Err(())), "all there is, twice");
        let look = |grants: &mut Grants, all: &mut [Grant], minute: u64| {
            let now = Instant::ZERO + PERIOD * u32::try_from(minute).unwrap();
            let mut looked = 0;
            while let Some((at, tunnel)) = grants.pop_due(now) {
                grants.look(at, tunnel, &mut all[tunnel as usize], rate);
                looked += 1;
            }
            assert_eq!(looked, all.len());
        };
        // Two are used, one of them as little as counts, and one a little less than that.
        let least = 100 * 1_024 * 60 / usize::try_from(USED_PART).unwrap();
        all[0].note(9_000_000);
        all[1].note(least);
        all[2].note(least - 1);
        look(&mut grants, &mut all, 1);
        assert_eq!(grants.granted(), 200);
        let now = Instant::ZERO + PERIOD;
        assert_eq!([0, 1, 2].map(|n| all[n].covers(now, 1_024)), [true, true, false]);
        assert_eq!(grants.offer(&ask(Some(100), None), rate), Ok(Some(100)), "there is room for others");
        // Those who begin to use theirs have it again, as far as there is room.
        let mut new: Vec<Grant> = (0..5).map(|_| grant(100)).collect();
        new.iter_mut().for_each(|grant| grant.look_at = Instant::FAR);
        new.iter().for_each(|grant| grants.granted += grant.counted());
        all.iter_mut().for_each(|grant| grant.note(least));
        look(&mut grants, &mut all, 2);
        assert_eq!(grants.granted(), 800, "and no more than that");
        assert_eq!(all.iter().filter(|grant| !grant.lapsed).count(), 3);
        look(&mut grants, &mut all, 3);
        assert_eq!(grants.granted(), 500, "what those have who came in between");
        all.iter().for_each(|grant| grants.remove(grant));
        assert_eq!(grants.granted(), 500);
    }

    #[test]
    fn a_tunnel_gets_a_part_and_all_together_no_more_than_there_is_twice() {
        let mut grants = Grants::default();
        let rate = 1_000 * 1_024;
        let share = u32::try_from(1_000 / limits::GRANT_SHARE).unwrap();
        assert_eq!(grants.offer(&BandwidthRequest::NONE, rate), Ok(None));
        assert_eq!(grants.offer(&ask(None, Some(40)), rate), Ok(Some(40)));
        assert_eq!(grants.offer(&ask(Some(30), None), rate), Ok(Some(30)));
        assert_eq!(grants.offer(&ask(Some(30), Some(u32::MAX)), rate), Ok(Some(share)));
        assert_eq!(grants.offer(&ask(Some(share + 1), None), rate), Err(()));
        assert_eq!(grants.offer(&ask(Some(u32::MAX), None), u64::MAX), Ok(Some(u32::MAX)), "without a limit");
        assert_eq!(grants.offer(&ask(Some(9), Some(8)), rate), Err(()), "a contradiction");
        let mut tunnels: u32 = 0;
        while let Ok(Some(granted)) = grants.offer(&ask(None, Some(100)), rate) {
            grants.add(tunnels, &grant(granted));
            tunnels += 1;
            assert!(tunnels <= 20);
        }
        assert_eq!((grants.granted(), tunnels), (2_000, 20));
        assert_eq!(grants.offer(&ask(None, Some(1)), rate), Ok(None), "accepted, without a promise");
        assert_eq!(grants.offer(&ask(Some(1), None), rate), Err(()));
        grants.remove(&grant(100));
        assert_eq!(grants.offer(&ask(Some(100), None), rate), Ok(Some(100)));
    }
}
