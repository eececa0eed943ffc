//! A token bucket over the machine's clock.

use crate::time::Instant;

/// Allows `burst` at once and `rate` per second.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    rate: u32,
    burst: u32,
    /// Micro-tokens.
    level: u64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(rate: u32, burst: u32, now: Instant) -> Self {
        Self { rate, burst, level: u64::from(burst) * 1_000_000, at: now }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let micros = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        self.at = self.at.max(now);
        let full = u64::from(self.burst) * 1_000_000;
        self.level = self.level.saturating_add(micros.saturating_mul(self.rate.into())).min(full);
        let Some(level) = self.level.checked_sub(1_000_000) else { return false };
        self.level = level;
        true
    }

    /// When it was last used.
    pub(super) const fn used(&self) -> Instant {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_burst_and_then_the_rate() {
        let at = Instant::from_micros;
        let mut bucket = Bucket::new(2, 3, at(0));
        assert_eq!((0..5).filter(|_| bucket.take(at(0))).count(), 3);
        assert!(!bucket.take(at(499_999)) && bucket.take(at(500_000)));
        assert_eq!((0..5).filter(|_| bucket.take(at(100_000_000))).count(), 3);
        assert_eq!(bucket.used(), at(100_000_000));
    }
}
