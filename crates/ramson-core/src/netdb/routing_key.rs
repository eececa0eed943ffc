//! Routing keys: where in the network database a hash is kept on a day.
//! <https://geti2p.net/en/docs/how/network-database#routing-keys>

use ramson_wire::crypto::hash::sha256_of;
use ramson_wire::data::Hash;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A day in UTC, as the eight digits of `yyyyMMdd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day([u8; 8]);

impl Day {
    /// The day of a moment in milliseconds since 1970.
    pub fn of(unix_ms: u64) -> Self {
        let (year, month, day) = civil(unix_ms / DAY_MS);
        let digit = |number: u64, place: u64| b'0' + u8::try_from(number / place % 10).unwrap_or(0);
        Self([
            digit(year, 1000),
            digit(year, 100),
            digit(year, 10),
            digit(year, 1),
            digit(month, 10),
            digit(month, 1),
            digit(day, 10),
            digit(day, 1),
        ])
    }

    /// The day after that of `unix_ms`.
    pub fn after(unix_ms: u64) -> Self {
        Self::of(unix_ms.saturating_add(DAY_MS))
    }

    /// Where `hash` is kept on this day. Routing keys never travel, and floodfills are compared by their plain hashes.
    pub fn routing_key(&self, hash: &Hash) -> Hash {
        Hash(sha256_of(&[hash.as_bytes(), &self.0]))
    }
}

/// Milliseconds from `unix_ms` to the next midnight, when all keys move.
pub const fn until_midnight(unix_ms: u64) -> u64 {
    DAY_MS - unix_ms % DAY_MS
}

/// Year, month and day of a number of days since 1970-01-01, by the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // 400 years have 146,097 days. Counting them from a 1st of March puts the leap day at the end of a year.
    const ERA: u64 = 146_097;
    let days = days.saturating_add(719_468); // from 0000-03-01
    let (era, of_era) = (days / ERA, days % ERA);
    let century = (of_era / 36_524).min(3);
    let of_century = of_era - century * 36_524;
    let four = of_century / 1_461;
    let of_four = of_century - four * 1_461;
    let one = (of_four / 365).min(3);
    let mut of_year = of_four - one * 365;
    let year = era * 400 + century * 100 + four * 4 + one;
    // Months from March on.
    const MONTHS: [u64; 12] = [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29];
    let mut month = 3;
    for length in MONTHS {
        if of_year < length {
            break;
        }
        of_year -= length;
        month += 1;
    }
    if month > 12 { (year + 1, month - 12, of_year + 1) } else { (year, month, of_year + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (secs, text) in [
            (0u64, "19700101"),
            (951_782_399, "20000228"),
            (951_782_400, "20000229"),
            (951_868_800, "20000301"),
            (1_709_164_800, "20240229"),
            (1_735_689_599, "20241231"),
            (1_735_689_600, "20250101"),
            (1_795_305_600, "20261122"),
            (4_107_542_400, "21000301"),
            (4_107_542_399, "21000228"),
        ] {
            assert_eq!(Day::of(secs * 1000).0, *text.as_bytes(), "{text}");
        }
    }

    /// Every day of 800 years follows the day before it.
    #[test]
    fn days_follow_each_other() {
        let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..292_194 {
            assert_eq!(civil(days), (year, month, day));
            let length = match month {
                2 => 28 + u64::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn keys_move_at_midnight() {
        let (hash, ms) = (Hash([7; 32]), 1_735_689_599_999);
        let key = Day::of(ms).routing_key(&hash);
        assert_eq!(key, Hash::of(&[&[7; 32][..], b"20241231"].concat()));
        assert_eq!(Day::after(ms).routing_key(&hash), Day::of(ms + 1).routing_key(&hash));
        assert_ne!(key, Day::of(ms + 1).routing_key(&hash));
        assert_eq!((until_midnight(ms), until_midnight(ms + 1)), (1, DAY_MS));
    }
}
