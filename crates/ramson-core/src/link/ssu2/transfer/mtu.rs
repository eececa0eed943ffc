//! The largest packet that the path carries (RFC 8899): between 1280, which every path must carry, and what both routers
//! allow.
//!
//! A probe is a packet of its own that holds nothing of worth, padded to the size in question. When packets above 1280
//! bytes vanish while smaller ones arrive, the path has changed to one that swallows them: the size falls back at once.

use crate::limits::transfer as limits;
use crate::time::{Duration, Instant};

/// What the specification asks every path for.
pub(super) const MIN: u16 = 1280;
/// The largest payload that every path of both families carries.
pub(super) const LEAST_PAYLOAD: usize = MIN as usize - 80;
/// The search ends when it is this close.
const STEP: u16 = 16;
/// Losses of one size until it is taken for too large.
const TRIES: u8 = 3;
/// Times in a row at which packets above [`MIN`] turn out to be lost, with none between that arrived, until the path is
/// taken for a black hole. A full queue drops many at one time.
const BLACK_HOLE: u8 = 4;
/// After a search it is begun again: the path may have changed.
const SEARCH_AGAIN: Duration = Duration::from_secs(600);
/// After a black hole somewhat sooner.
const AFTER_BLACK_HOLE: Duration = Duration::from_secs(60);
/// The first search waits until the session is used.
const FIRST_PROBE_AFTER: u32 = 8;

/// The search for the path's MTU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mtu {
    /// Of the headers below and of a packet's own header and tag.
    overhead: u16,
    current: u16,
    /// The largest that either router allows, and the largest that may still be possible.
    most: u16,
    ceiling: u16,
    tries: u8,
    /// A probe of this size is under way.
    probe: Option<u16>,
    next_search: Instant,
    /// Packets that have arrived.
    arrived: u32,
    /// Times in a row that packets above [`MIN`] were lost, and the latest.
    suspicious: u8,
    lost_at: Instant,
}

impl Mtu {
    /// `most` is the smaller of what the routers publish.
    pub(super) fn new(ipv6: bool, most: u16) -> Self {
        let most = most.clamp(MIN, limits::MTU);
        Self {
            overhead: if ipv6 { 80 } else { 60 },
            current: MIN,
            most,
            ceiling: most,
            tries: 0,
            probe: None,
            next_search: Instant::ZERO,
            arrived: 0,
            suspicious: 0,
            lost_at: Instant::ZERO,
        }
    }

    /// The largest payload of a packet.
    pub(super) const fn payload(&self) -> usize {
        (self.current - self.overhead) as usize
    }

    /// The largest payload that every path carries.
    pub(super) const fn least_payload(&self) -> usize {
        (MIN - self.overhead) as usize
    }

    /// The size of the largest datagram.
    pub(super) const fn datagram(&self) -> u64 {
        (self.current - self.overhead + 32) as u64
    }

    /// The payload of a probe that is due.
    pub(super) fn probe_due(&self, now: Instant) -> Option<usize> {
        let due = self.probe.is_none() && self.arrived >= FIRST_PROBE_AFTER && now >= self.next_search;
        let size = self.candidate()?;
        due.then(|| usize::from(size - self.overhead))
    }

    /// The next size to try: all at first, which most paths carry, then the middle.
    const fn candidate(&self) -> Option<u16> {
        if self.current >= self.ceiling {
            None
        } else if self.ceiling == self.most && self.tries < TRIES {
            Some(self.most)
        } else if self.ceiling - self.current < STEP {
            None
        } else {
            Some(self.current + (self.ceiling - self.current).div_ceil(2))
        }
    }

    /// The probe with this payload has left.
    pub(super) fn probe_sent(&mut self, payload: usize) {
        self.probe = u16::try_from(payload).ok().map(|payload| payload + self.overhead);
    }

    /// The probe under way has arrived or not. True when packets may be larger from now on.
    pub(super) fn probe_ended(&mut self, now: Instant, arrived: bool) -> bool {
        let Some(size) = self.probe.take() else { return false };
        if arrived {
            self.current = self.current.max(size.min(self.most));
            self.tries = 0;
        } else {
            self.tries += 1;
            if self.tries >= TRIES {
                self.tries = 0;
                self.ceiling = (size - 1).max(self.current);
            }
        }
        if self.candidate().is_none() {
            self.ceiling = self.most;
            self.next_search = now + SEARCH_AGAIN;
        }
        arrived
    }

    /// A datagram of so many bytes has arrived.
    pub(super) fn arrived(&mut self, datagram: u16) {
        self.arrived = self.arrived.saturating_add(1);
        if self.is_large(datagram) {
            self.suspicious = 0;
        }
    }

    /// A datagram of so many bytes is lost. True when the size has fallen back because of it.
    pub(super) fn lost(&mut self, now: Instant, datagram: u16) -> bool {
        if self.current == MIN || !self.is_large(datagram) {
            return false;
        }
        self.suspicious += u8::from(self.lost_at != now);
        self.lost_at = now;
        if self.suspicious < BLACK_HOLE {
            return false;
        }
        self.fall_back(now);
        true
    }

    /// Packets are to have the least size, and larger ones are tried only after a while.
    pub(super) fn fall_back(&mut self, now: Instant) {
        self.current = MIN;
        self.ceiling = self.most;
        self.tries = 0;
        self.probe = None;
        self.suspicious = 0;
        self.next_search = now + AFTER_BLACK_HOLE;
    }

    /// Another path: all that was found out is void.
    pub(super) fn path_changed(&mut self, ipv6: bool, most: u16) {
        *self = Self::new(ipv6, most);
    }

    const fn is_large(&self, datagram: u16) -> bool {
        datagram + self.overhead - 32 > MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches on a path that carries `path`; returns what was found, and the probes that it took.
    fn search(mtu: &mut Mtu, now: Instant, path: u16) -> (u16, u32) {
        let mut probes = 0;
        while let Some(payload) = mtu.probe_due(now) {
            probes += 1;
            assert!(probes < 50, "the search has an end");
            mtu.probe_sent(payload);
            assert_eq!(mtu.probe_due(now), None, "one at a time");
            let size = u16::try_from(payload).unwrap() + mtu.overhead;
            assert!(size > mtu.current && size <= mtu.most);
            mtu.probe_ended(now, size <= path);
        }
        (mtu.current, probes)
    }

    fn used(ipv6: bool, most: u16) -> Mtu {
        let mut mtu = Mtu::new(ipv6, most);
        assert_eq!(mtu.probe_due(Instant::ZERO), None, "not before it is used");
        (0..FIRST_PROBE_AFTER).for_each(|_| mtu.arrived(100));
        mtu
    }

    #[test]
    fn a_usual_path_takes_one_probe() {
        let mut mtu = used(false, 1500);
        assert_eq!((mtu.payload(), mtu.datagram()), (1220, 1252));
        assert_eq!(search(&mut mtu, Instant::ZERO, 1500), (1500, 1));
        assert_eq!((mtu.payload(), mtu.datagram()), (1440, 1472));
        let mut mtu = used(true, 1500);
        assert_eq!(mtu.payload(), 1200);
        search(&mut mtu, Instant::ZERO, 1500);
        assert_eq!(mtu.payload(), 1420);
    }

    #[test]
    fn every_path_is_found_out_to_a_few_bytes() {
        for path in MIN..=1500 {
            let mut mtu = used(false, 1500);
            let (found, probes) = search(&mut mtu, Instant::ZERO, path);
            assert!(found <= path && found + STEP >= path, "{found} of {path}");
            assert!(probes <= 25, "{probes}");
            assert_eq!(mtu.probe_due(Instant::ZERO + Duration::from_secs(599)), None);
            if found < 1500 {
                assert!(mtu.probe_due(Instant::ZERO + SEARCH_AGAIN).is_some(), "later it may be better");
            }
        }
    }

    #[test]
    fn neither_router_is_sent_more_than_it_allows() {
        for most in [0, 1280, 1281, 1400, 1492, 9_000] {
            let mut mtu = used(false, most);
            let allowed = most.clamp(MIN, 1500);
            assert!(search(&mut mtu, Instant::ZERO, 9_000).0 <= allowed);
            assert!(allowed - mtu.current < STEP || mtu.current == allowed);
        }
    }

    #[test]
    fn one_lost_probe_is_not_the_path() {
        let mut mtu = used(false, 1500);
        for arrived in [false, false, true] {
            mtu.probe_sent(mtu.probe_due(Instant::ZERO).unwrap());
            mtu.probe_ended(Instant::ZERO, arrived);
        }
        assert_eq!(mtu.current, 1500);
    }

    #[test]
    fn a_black_hole_is_found_out_and_common_loss_is_not_one() {
        let mut mtu = used(false, 1500);
        search(&mut mtu, Instant::ZERO, 1500);
        let at = |n: u64| Instant::from_micros(5_000_000 + n);
        for n in 0..1_000 {
            assert!(!mtu.lost(at(n), 1_472));
            assert!(!mtu.lost(at(n), 1_000), "small ones say nothing");
            if n % 3 == 0 {
                mtu.arrived(1_472);
            } else {
                mtu.arrived(1_252);
            }
        }
        mtu.arrived(1_472);
        assert!((0..100).all(|_| !mtu.lost(at(2_000), 1_472)), "at one time");
        let fell: Vec<bool> = (0..4).map(|n| mtu.lost(at(3_000 + n), 1_472)).collect();
        assert_eq!(fell, [false, false, true, false]);
        let now = at(3_002);
        assert_eq!(mtu.payload(), 1220);
        assert_eq!(mtu.probe_due(now + Duration::from_secs(59)), None);
        assert!(mtu.probe_due(now + AFTER_BLACK_HOLE).is_some());
    }

    #[test]
    fn another_path_begins_anew() {
        let mut mtu = used(true, 1492);
        search(&mut mtu, Instant::ZERO, 1500);
        mtu.path_changed(true, 1492);
        assert_eq!((mtu.current, mtu.most, mtu.overhead, mtu.arrived), (MIN, 1492, 80, 0));
    }
}
