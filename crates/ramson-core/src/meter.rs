//! How much passes in a second.

use crate::time::Instant;

/// Bytes a second, smoothed over some seconds.
#[derive(Debug)]
pub(crate) struct Meter {
    at: Instant,
    bytes: u64,
    per_second: f64,
}

impl Meter {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { at: now, bytes: 0, per_second: 0.0 }
    }

    /// Notes how many bytes there were since the start. To be called every few seconds.
    pub(crate) fn update(&mut self, now: Instant, bytes: u64) {
        let passed = now.since(self.at).as_secs_f64();
        if passed < 1.0 {
            return;
        }
        let rate = bytes.saturating_sub(self.bytes) as f64 / passed;
        self.per_second = f64::midpoint(self.per_second, rate);
        (self.at, self.bytes) = (now, bytes);
    }

    pub(crate) const fn per_second(&self) -> f64 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn a_meter_goes_with_what_passes() {
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let mut meter = Meter::new(at(0));
        (1..20).for_each(|n| meter.update(at(5 * n), 5_000 * n));
        assert!((meter.per_second() - 1_000.0).abs() < 1.0);
        meter.update(at(95), 1 << 40);
        assert!(meter.per_second() < 1_001.0, "no time has passed");
        (20..40).for_each(|n| meter.update(at(5 * n), 95_000));
        assert!(meter.per_second() < 1.0);
    }
}
