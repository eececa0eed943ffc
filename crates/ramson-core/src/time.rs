//! Time as the core knows it: a monotonic instant, and the wall clock beside it.

pub use std::time::Duration;

/// Microseconds since an arbitrary start; never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    pub const ZERO: Self = Self(0);
    /// Later than everything; a timer that is not set.
    pub const FAR: Self = Self(u64::MAX);

    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;
    /// Saturates at `FAR`.
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Instant {
    type Output = Self;
    /// Saturates at zero.
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Both clocks at one moment. `unix_ms` is the network's time as far as it is known (milliseconds since 1970), and
/// may step; deadlines inside the router use `mono`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    pub mono: Instant,
    pub unix_ms: u64,
}

impl Now {
    pub const fn new(mono: Instant, unix_ms: u64) -> Self {
        Self { mono, unix_ms }
    }

    /// Whole seconds since 1970, as most messages carry them; saturates in 2106.
    pub fn unix_secs(&self) -> u32 {
        u32::try_from(self.unix_ms / 1000).unwrap_or(u32::MAX)
    }

    /// The same moment moved by `by`, on both clocks.
    pub fn later(&self, by: Duration) -> Self {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self { mono: self.mono + by, unix_ms: self.unix_ms.saturating_add(ms) }
    }
}
