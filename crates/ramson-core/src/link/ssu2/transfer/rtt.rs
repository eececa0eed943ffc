//! Round-trip time of a session's path (RFC 9002, section 5).
//!
//! ACK blocks do not say how long they were held back: nothing is taken off a sample, and timers allow for the longest
//! delay that the specification lets the peer take.

use crate::time::{Duration, Instant};

/// RFC 9002's guess before the first sample.
const INITIAL: Duration = Duration::from_millis(333);
/// What clocks and timers may be off.
pub(super) const GRANULARITY: Duration = Duration::from_millis(1);
const MAX_SAMPLE: Duration = Duration::from_secs(60);
/// How long the smallest round trip counts, in two halves. Long: where others keep a queue filled it is never seen empty,
/// and must not be taken for a part of the way meanwhile.
const MIN_HALF: Duration = Duration::from_secs(150);

/// An estimate of one path's round trip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rtt {
    latest: Duration,
    smoothed: Duration,
    variance: Duration,
    sampled: bool,
    /// Minimum of the running and of the finished half.
    min: [Duration; 2],
    half_since: Instant,
}

impl Rtt {
    /// `handshake` is the round trip that the handshake has seen: a sample as any other.
    pub(super) fn new(now: Instant, handshake: Option<Duration>) -> Self {
        let mut rtt = Self {
            latest: INITIAL,
            smoothed: INITIAL,
            variance: INITIAL / 2,
            sampled: false,
            min: [Duration::MAX; 2],
            half_since: now,
        };
        if let Some(sample) = handshake {
            rtt.sample(now, sample);
        }
        rtt
    }

    /// The time between a packet and the ACK block that was the first to name it, it being the highest that the block names.
    pub(super) fn sample(&mut self, now: Instant, sample: Duration) {
        let sample = sample.clamp(Duration::from_micros(1), MAX_SAMPLE);
        self.latest = sample;
        if now.since(self.half_since) >= MIN_HALF {
            self.min = [Duration::MAX, self.min[0]];
            self.half_since = now;
        }
        self.min[0] = self.min[0].min(sample);
        if self.sampled {
            self.variance = (self.variance * 3 + self.smoothed.abs_diff(sample)) / 4;
            self.smoothed = (self.smoothed * 7 + sample) / 8;
        } else {
            self.sampled = true;
            self.smoothed = sample;
            self.variance = sample / 2;
        }
    }

    pub(super) const fn smoothed(&self) -> Duration {
        self.smoothed
    }

    pub(super) const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The smallest round trip of the last minutes: the way without a queue, as far as is known.
    pub(super) fn min(&self) -> Option<Duration> {
        let min = self.min[0].min(self.min[1]);
        (min != Duration::MAX).then_some(min)
    }

    /// The larger of the latest and the smoothed round trip, as loss detection by time wants it.
    pub(super) fn loss_base(&self) -> Duration {
        self.latest.max(self.smoothed)
    }

    /// How long an ACK block may be held back: max(10, min(rtt/6, 150)) ms (specification, "Recommended Constants").
    pub(super) fn ack_delay(&self) -> Duration {
        (self.smoothed / 6).clamp(Duration::from_millis(10), Duration::from_millis(150))
    }

    /// The probe timeout without back-off.
    pub(super) fn probe_timeout(&self) -> Duration {
        self.smoothed + (self.variance * 4).max(GRANULARITY) + self.ack_delay()
    }

    /// How long a path must have delivered nothing to be congested persistently (RFC 9002, section 7.6.1).
    pub(super) fn persistent(&self) -> Duration {
        self.probe_timeout() * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn follows_rfc_9002() {
        let mut rtt = Rtt::new(Instant::ZERO, None);
        assert_eq!((rtt.smoothed(), rtt.is_sampled(), rtt.min()), (ms(333), false, None));
        rtt.sample(Instant::ZERO, ms(200));
        assert_eq!((rtt.smoothed(), rtt.min()), (ms(200), Some(ms(200))));
        assert_eq!(rtt.probe_timeout(), ms(200) + ms(400) + ms(200) / 6);
        rtt.sample(Instant::ZERO, ms(100));
        // Half of 200 ms, three parts, and one of the 100 ms between; seven parts of 200 ms and one of 100 ms.
        assert_eq!((rtt.smoothed(), rtt.variance), (Duration::from_micros(187_500), ms(100)));
        assert_eq!(rtt.loss_base(), rtt.smoothed());
        rtt.sample(Instant::ZERO, ms(600));
        assert_eq!(rtt.loss_base(), ms(600));
    }

    #[test]
    fn a_short_way_has_short_timers_and_a_lie_has_a_bound() {
        let mut rtt = Rtt::new(Instant::ZERO, Some(ms(1)));
        (0..100).for_each(|_| rtt.sample(Instant::ZERO, Duration::from_micros(80)));
        assert!(rtt.probe_timeout() < ms(12), "{:?}", rtt.probe_timeout());
        assert_eq!(rtt.ack_delay(), ms(10));
        rtt.sample(Instant::ZERO, Duration::MAX);
        assert!(rtt.smoothed() <= MAX_SAMPLE);
        assert_eq!(rtt.ack_delay(), ms(150));
        rtt.sample(Instant::ZERO, Duration::ZERO);
        assert_eq!(rtt.min(), Some(Duration::from_micros(1)));
    }

    #[test]
    fn the_smallest_round_trip_is_forgotten_in_minutes() {
        let at = |secs: u64| Instant::ZERO + Duration::from_secs(secs);
        let mut rtt = Rtt::new(Instant::ZERO, Some(ms(20)));
        rtt.sample(at(151), ms(60));
        rtt.sample(at(290), ms(70));
        assert_eq!(rtt.min(), Some(ms(20)));
        rtt.sample(at(302), ms(70));
        assert_eq!(rtt.min(), Some(ms(60)));
    }
}
