//! The network's time, learnt from authenticated peers without NTP.
//!
//! Every handshake shows how far the peer's clock is from ours. Samples are grouped by address prefix, so that one
//! owner of many addresses has one voice. The first correction needs three of the first five groups to agree; later
//! ones follow the median of the last groups. Where some groups confirm the system's clock, the others move us little,
//! however many they are. The clock never stands below a time that is known to have passed (the signing time of the
//! reseed bundle).
//!
//! A system's clock that is set while the router runs does not change the network's time, once peers have confirmed it;
//! they are asked anew. The same goes for a machine that has slept: then peers correct what was missed.

use crate::limits::clock as limits;
use crate::time::{Instant, Now};
use std::collections::VecDeque;
use std::net::IpAddr;

/// Samples that differ by no more than this agree.
const AGREEMENT_MS: i64 = 10_000;
/// Groups that must agree before the clock is stepped for the first time.
const QUORUM: usize = 3;
/// Groups among which they must be.
const FIRST: usize = 5;
/// Where a sixth of the groups says that the system's clock is right, what others say moves us by no more than this,
/// which leaves handshakes possible with both.
const MAX_AGAINST_MS: i64 = 27_000;
/// The system's clock was set when it has gone by so much more or less than the machine's.
const STEP_MS: i64 = 2_000;
/// A correction below this is not worth a step: peers send whole seconds.
const TOLERANCE_MS: i64 = 2_000;

/// What the router adds to the system's clock.
#[derive(Debug)]
pub struct NetworkClock {
    offset_ms: i64,
    /// The latest sample of each group, oldest first; each is an offset from the system's clock.
    samples: VecDeque<(Group, i64)>,
    /// All addresses count by themselves: for private networks, whose routers share a prefix.
    ungrouped: bool,
    /// A moment that has passed, milliseconds since 1970, and when we learnt of it.
    floor: (u64, Instant),
    settled: bool,
    /// Peers have once told the time. It goes on by the machine's clock from then, however often the system's is set.
    confirmed: bool,
    /// The latest time that the system has told.
    last: Option<Now>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Prefix4([u8; 2]),
    Prefix6([u8; 4]),
    Address(IpAddr),
}

impl NetworkClock {
    pub const fn new(ungrouped: bool) -> Self {
        Self {
            offset_ms: 0,
            samples: VecDeque::new(),
            ungrouped,
            floor: (0, Instant::ZERO),
            settled: false,
            confirmed: false,
            last: None,
        }
    }

    /// Takes note of the system's `now`: notices when its clock was set. True when the offset has changed for that.
    pub fn observe(&mut self, now: Now) -> bool {
        let Some(last) = self.last.replace(now) else { return false };
        let gone = i64::try_from(now.mono.since(last.mono).as_millis()).unwrap_or(i64::MAX);
        let said = 0i64.saturating_add_unsigned(now.unix_ms).saturating_sub_unsigned(last.unix_ms);
        let step = said.saturating_sub(gone);
        if step.saturating_abs() < STEP_MS {
            return false;
        }
        // The samples are offsets from a clock that is no more.
        self.samples.clear();
        self.settled = false;
        if !self.confirmed {
            return false;
        }
        self.offset_ms = self.offset_ms.saturating_sub(step);
        true
    }

    /// The network's time at the system's `now`.
    pub fn correct(&self, now: Now) -> Now {
        let unix_ms = now.unix_ms.saturating_add_signed(self.offset_ms).max(self.floor_at(now.mono));
        Now { unix_ms, ..now }
    }

    /// Milliseconds that the network is ahead of the system's clock.
    pub const fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// Groups that have been heard.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// Something signed at `unix_ms` exists, so that moment has passed.
    pub fn set_floor(&mut self, now: Instant, unix_ms: u64) {
        if unix_ms > self.floor_at(now) {
            self.floor = (unix_ms, now);
        }
    }

    /// The earliest time that it can be: the floor and what has passed since.
    fn floor_at(&self, now: Instant) -> u64 {
        let since = now.since(self.floor.1).as_millis();
        self.floor.0.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// A peer's clock is ahead of the *corrected* clock by `ahead_ms`, at the system's `now`. True when the offset has
    /// changed; then `now` is to be corrected anew.
    pub fn handle_sample(&mut self, now: Now, peer: IpAddr, ahead_ms: i64) -> bool {
        let group = self.group(peer);
        // The corrected clock may stand at the floor, which the offset knows nothing of.
        let corrected = self.correct(now).unix_ms;
        let sample = ahead_ms.saturating_add_unsigned(corrected).saturating_sub_unsigned(now.unix_ms);
        self.samples.retain(|(g, _)| *g != group);
        self.samples.push_back((group, sample));
        if self.samples.len() > limits::SAMPLES {
            self.samples.pop_front();
        }
        let Some(mut agreed) = self.agreed() else { return false };
        let confirming = self.samples.iter().filter(|(_, offset)| offset.saturating_abs() <= AGREEMENT_MS).count();
        if confirming * 6 >= self.samples.len() {
            agreed = agreed.clamp(-MAX_AGAINST_MS, MAX_AGAINST_MS);
        }
        if agreed.saturating_sub(self.offset_ms).saturating_abs() < TOLERANCE_MS {
            (self.settled, self.confirmed) = (true, true);
            return false;
        }
        self.offset_ms = agreed;
        (self.settled, self.confirmed) = (true, true);
        true
    }

    /// The middle of the largest set of samples that agree, when it is large enough: at the start three of the first
    /// five, later more than half of those remembered.
    fn agreed(&self) -> Option<i64> {
        let mut offsets: Vec<i64> = self.samples.iter().map(|(_, offset)| *offset).collect();
        offsets.sort_unstable();
        let mut best: &[i64] = &[];
        for start in 0..offsets.len() {
            let end = offsets.partition_point(|o| o.saturating_sub(offsets[start]) <= AGREEMENT_MS);
            if end - start > best.len() {
                best = &offsets[start..end];
            }
        }
        let needed = if offsets.len() <= FIRST { QUORUM } else { offsets.len() / 2 + 1 };
        (best.len() >= needed).then(|| best[best.len() / 2])
    }

    fn group(&self, peer: IpAddr) -> Group {
        match peer.to_canonical() {
            ip if self.ungrouped => Group::Address(ip),
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                Group::Prefix4([a, b])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.octets();
                Group::Prefix6([a, b, c, d])
            }
        }
    }

    /// Whether peers have confirmed or corrected the clock.
    pub const fn is_settled(&self) -> bool {
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    const NOW: Now = Now { mono: Instant::ZERO, unix_ms: 1_790_000_000_000 };

    fn ip(n: u8) -> IpAddr {
        format!("{n}.1.0.1").parse().unwrap()
    }

    #[test]
    fn no_step_before_three_agree() {
        let mut clock = NetworkClock::new(false);
        assert!(!clock.handle_sample(NOW, ip(1), 3_600_000));
        assert!(!clock.handle_sample(NOW, ip(2), 3_600_400));
        assert!(!clock.handle_sample(NOW, "1.1.9.9".parse().unwrap(), 3_600_000), "the same /16 is one voice");
        assert_eq!(clock.offset_ms(), 0);
        assert!(clock.handle_sample(NOW, ip(3), 3_599_000));
        assert!((clock.offset_ms() - 3_600_000).abs() <= 1_000);
        let now = clock.correct(Now::new(Instant::ZERO, 1_000));
        assert!((now.unix_ms as i64 - 3_601_000).abs() <= 1_000);
    }

    /// Threats P-36: one liar of five moves us by at most two seconds, however he lies.
    #[test]
    fn p36_one_liar_of_five() {
        for lie in [-1_000_000_000_000, -3_600_000, -11_000, -9_000, 9_000, 11_000, 86_400_000, i64::MAX / 4] {
            for place in 0..5 {
                let mut clock = NetworkClock::new(false);
                for i in 0..5 {
                    let offset = if i == place { lie } else { 0 };
                    clock.handle_sample(NOW, ip(i), offset - clock.offset_ms());
                }
                assert!(clock.offset_ms().abs() <= 2_000, "{lie} at {place}: {}", clock.offset_ms());
            }
        }
    }

    /// Threats P-36: with 40 % liars of one voice, at most thirty seconds.
    #[test]
    fn p36_two_liars_of_five() {
        for lie in [-3_600_000, -12_000, 12_000, 3_600_000] {
            let mut clock = NetworkClock::new(false);
            for i in 0..10 {
                let offset = if i % 5 < 2 { lie } else { 100 * i64::from(i) };
                clock.handle_sample(NOW, ip(i), offset - clock.offset_ms());
            }
            assert!(clock.offset_ms().abs() <= 30_000, "{lie}: {}", clock.offset_ms());
        }
    }

    /// Threats P-36: who says that our clock is right bounds what all others can do, also when they come first.
    #[test]
    fn p36_those_who_confirm_bound_those_who_lie() {
        for lie in [-86_400_000, -40_000, 40_000, 3_600_000] {
            let mut clock = NetworkClock::new(false);
            // Four liars come first and are believed; then two of five lie.
            for i in 0..4 {
                clock.handle_sample(NOW, ip(i), lie - clock.offset_ms());
            }
            assert_eq!(clock.offset_ms(), lie, "nobody has said otherwise");
            for i in 4..30 {
                let offset = if matches!(i % 5, 2 | 3) { lie } else { 300 };
                clock.handle_sample(NOW, ip(i), offset - clock.offset_ms());
                assert!(clock.offset_ms().abs() <= 30_000, "{lie}: {}", clock.offset_ms());
            }
        }
        // Where nobody says so, it is wrong.
        let mut clock = NetworkClock::new(false);
        (0..20).for_each(|i| _ = clock.handle_sample(NOW, ip(i), 45_000 - clock.offset_ms()));
        assert_eq!(clock.offset_ms(), 45_000);
    }

    /// Threats P-36: steps of the system's clock, before and after peers have confirmed it.
    #[test]
    fn p36_a_step_changes_nothing_once_peers_have_confirmed_the_clock() {
        let at = |seconds: u64, unix_ms: u64| Now { mono: Instant::ZERO + Duration::from_secs(seconds), unix_ms };
        for step in [-3_600_000i64, 3_600_000, -1_700_000_000_000, 315_000_000_000] {
            let mut clock = NetworkClock::new(false);
            let set = |seconds, step: i64| at(seconds, (NOW.unix_ms + 1000 * seconds).saturating_add_signed(step));
            assert!(!clock.observe(set(0, step)) && !clock.observe(set(1, 0)), "at the start the system knows better");
            assert_eq!(clock.offset_ms(), 0);
            (1..4).for_each(|i| _ = clock.handle_sample(set(1, 0), ip(i), 0));
            assert!(clock.is_settled() && !clock.observe(set(2, 0)) && !clock.observe(set(3, 900)), "too little");
            assert!(clock.observe(set(4, step)));
            let said = clock.correct(set(5, step)).unix_ms.abs_diff(NOW.unix_ms + 5_000);
            assert!(said < 1_000, "{step}: off by {said}");
            assert_eq!((clock.samples(), clock.is_settled()), (0, false));
            // Set back before any peer was heard: sessions that stand bring no samples.
            assert!(clock.observe(set(5, 0)));
            assert!(clock.correct(set(5, 0)).unix_ms.abs_diff(NOW.unix_ms + 5_000) < 1_000);
            assert!(clock.observe(set(6, step)));
            // Peers may say that the system was right, as after sleep.
            (1..4).for_each(|i| _ = clock.handle_sample(set(6, step), ip(i), -clock.offset_ms()));
            assert_eq!(clock.correct(set(6, step)).unix_ms, set(6, step).unix_ms);
        }
    }

    #[test]
    fn p36_many_groups_are_remembered_up_to_the_limit() {
        let mut clock = NetworkClock::new(false);
        for i in 0..10_000u32 {
            let ip = IpAddr::from([(i / 200) as u8 + 1, (i % 200) as u8, 0, 1]);
            clock.handle_sample(NOW, ip, i64::from(i % 7) - clock.offset_ms());
        }
        assert_eq!(clock.samples(), limits::SAMPLES);
        assert!(clock.offset_ms().abs() <= 1_000);
    }

    #[test]
    fn never_below_the_floor() {
        let mut clock = NetworkClock::new(true);
        let floor = NOW.unix_ms + 5_000;
        clock.set_floor(NOW.mono, floor);
        assert_eq!(clock.correct(NOW).unix_ms, floor);
        let later = Now { mono: NOW.mono + Duration::from_secs(1), ..NOW };
        assert_eq!(clock.correct(later).unix_ms, floor + 1_000, "it does not stand still");
        clock.set_floor(later.mono, floor + 500);
        assert_eq!(clock.correct(later).unix_ms, floor + 1_000, "an earlier floor changes nothing");
        (1..4).for_each(|i| assert_eq!(clock.handle_sample(NOW, ip(i), -105_000), i == 3));
        assert_eq!(clock.correct(NOW).unix_ms, floor);
        assert_eq!(clock.offset_ms(), -100_000);
    }

    /// A system clock far behind the floor: what peers say is measured from the floor, and the offset from the system.
    #[test]
    fn a_clock_behind_the_floor_is_corrected() {
        let mut clock = NetworkClock::new(true);
        clock.set_floor(NOW.mono, NOW.unix_ms + 3_600_000);
        (1..4).for_each(|i| assert_eq!(clock.handle_sample(NOW, ip(i), 20_000), i == 3));
        assert_eq!(clock.offset_ms(), 3_620_000);
    }
}
