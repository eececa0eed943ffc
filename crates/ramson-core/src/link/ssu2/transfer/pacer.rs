//! How fast packets leave: a window is spread over its round trip (RFC 9002, section 7.7).

use crate::time::{Duration, Instant};

/// Packets that may leave at once after a pause, as RFC 9002 allows them at the start.
const BURST_PACKETS: u64 = 10;
/// What may leave at once on a fast path: the shell's timers do not wake us more often, and a batch costs one system call.
const BURST_TIME: Duration = Duration::from_millis(2);

/// A bucket of bytes that fills at a window per round trip, and somewhat faster so that the window is the bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    tokens: f64,
    at: Instant,
}

/// What the path allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Bytes in a round trip.
    pub(super) window: u64,
    pub(super) rtt: Duration,
    /// The largest datagram.
    pub(super) datagram: u64,
    /// The window still doubles.
    pub(super) doubles: bool,
}

impl Pace {
    /// Bytes per microsecond.
    fn rate(&self) -> f64 {
        let gain = if self.doubles { 2.0 } else { 1.25 };
        gain * self.window as f64 / (self.rtt.as_micros() as f64).max(1.0)
    }

    fn burst(&self) -> f64 {
        (self.rate() * BURST_TIME.as_micros() as f64).max((BURST_PACKETS * self.datagram) as f64)
    }
}

impl Pacer {
    /// A first burst may leave at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: f64::MAX, at: now }
    }

    /// When the next packet may leave: `None` for now.
    pub(super) fn wait(&mut self, now: Instant, pace: &Pace) -> Option<Instant> {
        let passed = now.since(self.at).as_micros() as f64;
        self.tokens = (self.tokens + passed * pace.rate()).min(pace.burst());
        self.at = self.at.max(now);
        if self.tokens >= 0.0 {
            return None;
        }
        let micros = (-self.tokens / pace.rate()).ceil().clamp(1.0, 1e6);
        Some(now + Duration::from_micros(micros as u64))
    }

    /// So many bytes have left. The bucket may be overdrawn by one packet.
    pub(super) fn spent(&mut self, bytes: u64) {
        self.tokens -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(window: u64, rtt_ms: u64) -> Pace {
        Pace { window, rtt: Duration::from_millis(rtt_ms), datagram: 1_472, doubles: false }
    }

    /// Bytes that leave in `time` when there is always something to send.
    fn sent(pace: &Pace, time: Duration) -> u64 {
        let (mut pacer, mut now, mut bytes) = (Pacer::new(Instant::ZERO), Instant::ZERO, 0);
        while now.since(Instant::ZERO) < time {
            match pacer.wait(now, pace) {
                None => {
                    pacer.spent(1_472);
                    bytes += 1_472;
                }
                Some(at) => {
                    assert!(at > now, "time goes on");
                    now = at;
                }
            }
        }
        bytes
    }

    #[test]
    fn a_window_is_spread_over_its_round_trip() {
        let bytes = sent(&pace(1_000_000, 100), Duration::from_secs(1));
        assert!((12_400_000..12_600_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_pause_allows_a_short_burst_and_no_more() {
        let pace = pace(147_200, 100);
        let mut pacer = Pacer::new(Instant::ZERO);
        let mut now = Instant::ZERO;
        for _ in 0..3 {
            let mut burst = 0;
            while pacer.wait(now, &pace).is_none() {
                pacer.spent(1_472);
                burst += 1;
            }
            assert_eq!(burst, 11, "ten, and one that overdraws");
            now = now + Duration::from_secs(9);
        }
    }

    #[test]
    fn extremes_end_neither_in_a_standstill_nor_in_a_flood() {
        for (window, rtt) in [(2_560, 60_000), (1 << 30, 0), (0, 1)] {
            let pace = pace(window, rtt);
            let mut pacer = Pacer::new(Instant::ZERO);
            pacer.spent(1_472);
            assert!(pacer.wait(Instant::ZERO, &pace).is_none_or(|at| at <= Instant::from_micros(1_000_000)));
        }
    }
}
