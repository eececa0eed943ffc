//! Round-trip time of a path, and the timeout that follows from it (RFC 6298).

use crate::time::{Duration, Instant};

/// Smallest retransmission timeout.
pub(super) const MIN_RTO: Duration = Duration::from_millis(100);
/// Largest retransmission timeout, back-off included.
pub(super) const MAX_RTO: Duration = Duration::from_secs(45);
/// How long the smallest round trip counts, in two halves: a path that has become longer is soon known to be. The
/// window shrinks for a moment as often, so that a queue of our own making is not taken for the way's length.
pub(super) const MIN_HALF: Duration = Duration::from_secs(5);

/// An estimate of one path's round trip. Before the first sample it works with a hint.
#[derive(Clone, Debug)]
pub(super) struct Rtt {
    smoothed: Duration,
    variance: Duration,
    latest: Duration,
    sampled: bool,
    /// Minimum of the running and of the finished half window.
    min: [Duration; 2],
    half_since: Instant,
}

impl Rtt {
    /// `hint` is what is known from the tunnels or from earlier streams.
    pub(super) fn new(hint: Duration) -> Self {
        Self {
            smoothed: hint,
            variance: hint / 2,
            latest: hint,
            sampled: false,
            min: [Duration::MAX; 2],
            half_since: Instant::ZERO,
        }
    }

    /// Takes a sample of a packet that was sent once.
    pub(super) fn sample(&mut self, now: Instant, rtt: Duration) {
        let rtt = rtt.clamp(Duration::from_micros(1), Duration::from_secs(60));
        self.latest = rtt;
        if now.since(self.half_since) >= MIN_HALF {
            self.min = [Duration::MAX, self.min[0]];
            self.half_since = now;
        }
        self.min[0] = self.min[0].min(rtt);
        if self.sampled {
            self.variance = (self.variance * 3 + self.smoothed.abs_diff(rtt)) / 4;
            self.smoothed = (self.smoothed * 7 + rtt) / 8;
        } else {
            self.sampled = true;
            self.smoothed = rtt;
            self.variance = rtt / 2;
        }
    }

    /// The path has changed: what was learned remains an estimate, but the minimum starts anew and the next sample
    /// weighs in full.
    pub(super) fn path_changed(&mut self) {
        self.min = [Duration::MAX; 2];
        self.sampled = false;
        self.variance = self.variance.max(self.smoothed / 2);
    }

    /// The path has become longer: no less than `length` is its round trip now.
    pub(super) const fn lengthened(&mut self, now: Instant, length: Duration) {
        self.min = [length, Duration::MAX];
        self.half_since = now;
    }

    pub(super) const fn smoothed(&self) -> Duration {
        self.smoothed
    }

    pub(super) const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The larger of the latest and the smoothed round trip, as loss detection by time wants it.
    pub(super) fn loss_base(&self) -> Duration {
        self.latest.max(self.smoothed)
    }

    /// The smallest round trip of the last ten seconds.
    pub(super) fn min(&self) -> Option<Duration> {
        let min = self.min[0].min(self.min[1]);
        (min != Duration::MAX).then_some(min)
    }

    /// The timeout without back-off. `ack_delay` is how long the peer may hold an acknowledgement back.
    pub(super) fn rto(&self, ack_delay: Duration) -> Duration {
        let spread = (self.variance * 4).max(Duration::from_millis(10));
        (self.smoothed + spread + ack_delay).clamp(MIN_RTO, MAX_RTO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_rfc_6298_within_bounds() {
        let ms = Duration::from_millis;
        let mut rtt = Rtt::new(ms(1000));
        assert_eq!(rtt.rto(ms(0)), ms(3000));
        rtt.sample(Instant::ZERO, ms(200));
        assert_eq!((rtt.smoothed(), rtt.rto(ms(0))), (ms(200), ms(600)));
        for i in 0..200 {
            rtt.sample(Instant::from_micros(i), ms(2));
        }
        assert_eq!(rtt.rto(ms(0)), MIN_RTO);
        rtt.sample(Instant::ZERO, ms(3_600_000));
        assert_eq!(rtt.rto(ms(0)), MAX_RTO);
    }

    #[test]
    fn the_minimum_is_forgotten_in_time_and_with_the_path() {
        let ms = Duration::from_millis;
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        let mut rtt = Rtt::new(ms(1000));
        rtt.sample(at(6), ms(50));
        rtt.sample(at(8), ms(80));
        assert_eq!(rtt.min(), Some(ms(50)));
        rtt.sample(at(12), ms(90));
        assert_eq!(rtt.min(), Some(ms(50)));
        rtt.sample(at(18), ms(95));
        assert_eq!(rtt.min(), Some(ms(90)));
        rtt.path_changed();
        assert_eq!(rtt.min(), None);
        rtt.sample(at(51), ms(300));
        assert_eq!(rtt.smoothed(), ms(300));
    }
}
