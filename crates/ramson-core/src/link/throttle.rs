//! Limits of bandwidth, of all links together: a bucket that may fall into debt, since what was sealed is sent and what
//! came was read.

use crate::time::{Duration, Instant};

/// Bytes a second over all links, each way. Nothing where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkLimits {
    pub incoming: Option<u64>,
    pub outgoing: Option<u64>,
}

/// At least so much may go at once: a frame, and what a socket takes.
const LEAST_BURST: u64 = 64 << 10;
/// Millionths of a byte, so that a rate per second is a rate per microsecond.
const BYTE: i64 = 1_000_000;

/// One direction that is limited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Throttle {
    /// Bytes a second.
    rate: i64,
    full: i64,
    level: i64,
    at: Instant,
}

impl Throttle {
    /// One second of the rate may go at once.
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        // So much a second that it is no limit is no limit.
        let rate = i64::try_from(rate.clamp(1, 1 << 40)).unwrap_or(i64::MAX);
        let full = rate.max(LEAST_BURST.cast_signed()).saturating_mul(BYTE);
        Self { rate, full, level: full, at: now }
    }

    /// Notes bytes that went.
    pub(super) fn spend(&mut self, now: Instant, bytes: usize) {
        self.refill(now);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.level = self.level.saturating_sub(bytes.saturating_mul(BYTE));
    }

    /// Bytes that may go now; none while there is a debt.
    pub(super) fn allows(&mut self, now: Instant) -> usize {
        self.refill(now);
        usize::try_from(self.level / BYTE).unwrap_or(0)
    }

    /// When something may go again.
    pub(super) fn opens_at(&mut self, now: Instant) -> Instant {
        self.refill(now);
        let lacks = u64::try_from(BYTE.saturating_sub(self.level)).unwrap_or(0);
        now + Duration::from_micros(lacks.div_ceil(self.rate.cast_unsigned()))
    }

    /// The time of its latest use.
    pub(super) const fn at(&self) -> Instant {
        self.at
    }

    pub(super) const fn rate(&self) -> i64 {
        self.rate
    }

    fn refill(&mut self, now: Instant) {
        let micros = i64::try_from(now.as_micros().saturating_sub(self.at.as_micros())).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(micros.saturating_mul(self.rate)).min(self.full);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_with_a_burst_and_debts() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut throttle = Throttle::new(100_000, at(0));
        assert_eq!(throttle.allows(at(0)), 100_000);
        throttle.spend(at(0), 150_000);
        assert_eq!((throttle.allows(at(0)), throttle.allows(at(499))), (0, 0));
        let opens = throttle.opens_at(at(499));
        assert!(opens > at(500) && opens < at(501) && throttle.allows(opens) == 1);
        assert_eq!((throttle.allows(at(1_000)), throttle.allows(at(100_000))), (50_000, 100_000));
        let mut sent = 0;
        for ms in 100_000..110_000 {
            if throttle.allows(at(ms)) > 0 {
                throttle.spend(at(ms), 16_000);
                sent += 16_000;
            }
        }
        assert!((1_090_000..1_120_000).contains(&sent), "{sent} in ten seconds, and the burst");
    }

    #[test]
    fn odd_rates_do_no_harm() {
        for rate in [0, 1, 1 << 20, u64::MAX] {
            let mut throttle = Throttle::new(rate, Instant::ZERO);
            throttle.spend(Instant::ZERO, usize::MAX);
            assert!(throttle.allows(Instant::ZERO) == 0 && throttle.opens_at(Instant::ZERO) > Instant::ZERO);
            assert!(throttle.allows(Instant::FAR) > 0);
        }
    }
}
