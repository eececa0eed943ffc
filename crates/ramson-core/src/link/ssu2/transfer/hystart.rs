//! When to stop doubling: HyStart++ (RFC 9406).
//!
//! A round trip that grows while the window doubles says that a queue does: doubling ends before the queue overflows, and
//! what follows is a slower growth for some rounds, in case the growth of the round trip was chance.

use crate::time::Duration;

const MIN_THRESHOLD: Duration = Duration::from_millis(4);
const MAX_THRESHOLD: Duration = Duration::from_millis(16);
const THRESHOLD_DIVISOR: u32 = 8;
/// Samples that a round needs.
const SAMPLES: u32 = 8;
/// Rounds of slower growth, and how much slower.
const SLOW_ROUNDS: u32 = 5;
const SLOW_DIVISOR: u64 = 4;

/// What the rounds of doubling have shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct HyStart {
    /// The round ends with the ACK of this packet or a later one.
    round_end: u32,
    last_min: Duration,
    current_min: Duration,
    samples: u32,
    /// While growth is slower: the smallest round trip before that, and the rounds that are left.
    slow: Option<(Duration, u32)>,
}

impl HyStart {
    pub(super) const fn new() -> Self {
        Self { round_end: 0, last_min: Duration::MAX, current_min: Duration::MAX, samples: 0, slow: None }
    }

    /// By how much of `bytes`, which were acknowledged, the window grows.
    pub(super) const fn growth(&self, bytes: u64) -> u64 {
        if self.slow.is_some() { bytes / SLOW_DIVISOR } else { bytes }
    }

    /// Takes a sample of a packet; `next` is the number that the next packet will have. True when doubling is over.
    pub(super) fn sample(&mut self, number: u32, next: u32, rtt: Duration) -> bool {
        if number >= self.round_end {
            self.round_end = next;
            self.last_min = self.current_min;
            self.current_min = Duration::MAX;
            self.samples = 0;
            if let Some((_, rounds)) = &mut self.slow {
                *rounds -= 1;
                if *rounds == 0 {
                    return true;
                }
            }
        }
        self.current_min = self.current_min.min(rtt);
        self.samples += 1;
        if self.samples < SAMPLES {
            return false;
        }
        if let Some((baseline, _)) = self.slow {
            if self.current_min < baseline {
                self.slow = None;
            }
        } else if self.last_min != Duration::MAX {
            let threshold = (self.last_min / THRESHOLD_DIVISOR).clamp(MIN_THRESHOLD, MAX_THRESHOLD);
            if self.current_min >= self.last_min + threshold {
                self.slow = Some((self.current_min, SLOW_ROUNDS));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a round of 16 packets; true when doubling is over.
    fn round(hystart: &mut HyStart, number: &mut u32, ms: u64) -> bool {
        let end = *number + 16;
        let mut over = false;
        while *number < end {
            over |= hystart.sample(*number, end, Duration::from_millis(ms));
            *number += 1;
        }
        over
    }

    #[test]
    fn doubles_on_while_the_round_trip_stays() {
        let (mut hystart, mut number) = (HyStart::new(), 0);
        assert!((0..50).all(|n| !round(&mut hystart, &mut number, 40 + n % 3)));
        assert_eq!(hystart.growth(1_000), 1_000);
    }

    #[test]
    fn slows_down_and_ends_when_the_round_trip_swells() {
        let (mut hystart, mut number) = (HyStart::new(), 0);
        round(&mut hystart, &mut number, 40);
        round(&mut hystart, &mut number, 50);
        assert_eq!(hystart.growth(1_000), 250);
        let over: Vec<bool> = (0..5).map(|n| round(&mut hystart, &mut number, 51 + n)).collect();
        assert_eq!(over, [false, false, false, false, true]);
    }

    #[test]
    fn goes_on_doubling_when_it_was_chance() {
        let (mut hystart, mut number) = (HyStart::new(), 0);
        round(&mut hystart, &mut number, 40);
        round(&mut hystart, &mut number, 50);
        assert!(!round(&mut hystart, &mut number, 41));
        assert_eq!(hystart.growth(1_000), 1_000);
        assert!(!round(&mut hystart, &mut number, 41));
    }
}
