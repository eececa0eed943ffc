//! When the servers may be asked again.

/// At most one reseed from servers an hour; after failures less often, up to once a day. Kept across restarts, so that
/// a router that starts again and again is no burden to the servers. A person who asks for a reseed is not held to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Seconds since 1970 of the last attempt; 0 before the first.
    last: u64,
    /// Failed attempts in a row.
    failures: u32,
}

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

impl Schedule {
    /// The name under which the driver saves this.
    pub const NAME: &'static str = "reseed";

    /// Seconds to wait at `now` before the servers may be asked; 0 when they may.
    pub fn wait(&self, now: u64) -> u64 {
        // A clock that went back, or was wrong then, must not lock the router out.
        if self.last == 0 || self.last > now {
            return 0;
        }
        let interval = HOUR.saturating_mul(1 << self.failures.saturating_sub(1).min(5)).min(DAY);
        (self.last + interval).saturating_sub(now)
    }

    /// Notes an attempt at `now`.
    pub fn attempted(&mut self, now: u64, success: bool) {
        self.last = now;
        self.failures = if success { 0 } else { self.failures.saturating_add(1) };
    }

    /// As it is saved.
    pub fn to_bytes(self) -> Vec<u8> {
        format!("{} {}\n", self.last, self.failures).into_bytes()
    }

    /// As it was saved; a damaged one counts as none.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut numbers = text.split_ascii_whitespace();
        let last = numbers.next().and_then(|number| number.parse().ok());
        let failures = numbers.next().and_then(|number| number.parse().ok());
        last.zip(failures).map_or_else(Self::default, |(last, failures)| Self { last, failures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_an_hour_and_less_often_after_failures() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.wait(1_000_000), 0);
        schedule.attempted(1_000_000, true);
        assert_eq!(schedule.wait(1_000_001), HOUR - 1);
        assert_eq!(schedule.wait(1_000_000 + HOUR), 0);
        let waits: Vec<u64> = (0..8)
            .map(|_| {
                schedule.attempted(1_000_000, false);
                schedule.wait(1_000_000) / HOUR
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 24, 24, 24]);
        assert_eq!(schedule.wait(999_999), 0, "the clock went back");
        schedule.attempted(1_000_000, true);
        assert_eq!(schedule.wait(1_000_000), HOUR);
    }

    #[test]
    fn it_survives_a_restart_and_damage() {
        let mut schedule = Schedule::default();
        schedule.attempted(7, false);
        assert_eq!(Schedule::from_bytes(&schedule.to_bytes()), schedule);
        for bytes in [&b""[..], b"x y", b"7", b"\xff\xff", b"99999999999999999999999 1"] {
            assert_eq!(Schedule::from_bytes(bytes), Schedule::default());
        }
        assert_eq!(Schedule::from_bytes(b"1 4294967295").wait(u64::MAX), 0);
    }
}
