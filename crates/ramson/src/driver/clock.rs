//! The clocks of the system, as the core wants them.

use ramson_core::time::{Instant, Now};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Counts from when it was made.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// Both clocks now. A system clock before 1970 reads as 1970.
    pub(crate) fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now::new(Instant::from_micros(micros), millis(unix))
    }

    /// An instant of the core for tokio's timer; what is too far for that is a year from now.
    pub(crate) fn tokio(&self, at: Instant) -> tokio::time::Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let later = Duration::from_micros(at.as_micros());
        self.start
            .checked_add(later)
            .filter(|at| *at - self.start < 10 * YEAR)
            .unwrap_or_else(|| self.start + 10 * YEAR)
    }
}
