//! Bandwidth that tunnels of others were granted in their build records (proposal 168).

use crate::limits::tunnel as limits;
use ramson_wire::tunnel::bandwidth::BandwidthRequest;

/// More is granted than there is, since most tunnels use little of it, and many are never finished: this many times.
const OVERBOOKED: u64 = 2;

/// The books over what is granted, in kilobytes a second.
#[derive(Debug, Default)]
pub(super) struct Grants {
    granted: u64,
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

    pub(super) fn add(&mut self, granted: Option<u32>) {
        self.granted += u64::from(granted.unwrap_or(0));
    }

    pub(super) fn remove(&mut self, granted: Option<u32>) {
        self.granted = self.granted.saturating_sub(granted.unwrap_or(0).into());
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
        let mut tunnels = 0;
        while let Ok(Some(granted)) = grants.offer(&ask(None, Some(100)), rate) {
            grants.add(Some(granted));
            tunnels += 1;
            assert!(tunnels <= 20);
        }
        assert_eq!((grants.granted(), tunnels), (2_000, 20));
        assert_eq!(grants.offer(&ask(None, Some(1)), rate), Ok(None), "accepted, without a promise");
        assert_eq!(grants.offer(&ask(Some(1), None), rate), Err(()));
        grants.remove(Some(100));
        assert_eq!(grants.offer(&ask(Some(100), None), rate), Ok(Some(100)));
    }
}
