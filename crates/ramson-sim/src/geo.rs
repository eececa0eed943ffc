//! Where routers are, and how far that is from each other.

use crate::link::Link;
use ramson_core::rng::Rng;
use ramson_core::time::Duration;

/// A part of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Region {
    NorthAmerica,
    SouthAmerica,
    WesternEurope,
    EasternEurope,
    EastAsia,
    SouthAsia,
    Oceania,
}

/// All regions, in the order of the tables.
const REGIONS: [Region; 7] = [
    Region::NorthAmerica,
    Region::SouthAmerica,
    Region::WesternEurope,
    Region::EasternEurope,
    Region::EastAsia,
    Region::SouthAsia,
    Region::Oceania,
];

/// One way in milliseconds between the lines of two users. The round trips between data centres that cloud providers
/// publish (Azure's "network round-trip latency statistics"), in round figures and halved, and 5 ms more at each end
/// for the line to a home. A model of the world's shape; nobody has measured it on I2P.
const DELAY_MS: [[u64; 7]; 7] = [
    [30, 75, 55, 75, 90, 120, 105],
    [75, 25, 105, 120, 150, 165, 160],
    [55, 105, 20, 30, 125, 80, 140],
    [75, 120, 30, 20, 110, 85, 150],
    [90, 150, 125, 110, 30, 60, 75],
    [120, 165, 80, 85, 60, 25, 85],
    [105, 160, 140, 150, 75, 85, 20],
];

/// Of a hundred routers so many are there: the order of countries in Hoang et al., "An Empirical Study of the I2P
/// Anonymity Network", IMC 2018 (the United States first, then Russia, Britain, France, Canada and Australia), in round
/// figures of our own.
const SHARES: [usize; 7] = [32, 4, 30, 20, 6, 3, 5];

/// The bandwidth of a line, bytes per second up and down, and of a hundred routers how many have it: from an ADSL
/// line through cable and fibre to a server.
pub(crate) const LINES: [(u64, u64, usize); 4] =
    [(125_000, 2_000_000, 20), (1_250_000, 6_250_000, 40), (6_250_000, 12_500_000, 25), (25_000_000, 25_000_000, 15)];

impl Region {
    /// Drawn by where routers are.
    pub fn draw(rng: &mut Rng) -> Self {
        weighted(rng, REGIONS.into_iter().zip(SHARES)).unwrap_or(Self::WesternEurope)
    }
}

/// One of the values, by its weight.
pub(crate) fn weighted<T>(rng: &mut Rng, values: impl Iterator<Item = (T, usize)> + Clone) -> Option<T> {
    let total: usize = values.clone().map(|(_, weight)| weight).sum();
    let mut at = rng.below(total.max(1));
    for (value, weight) in values {
        match at.checked_sub(weight) {
            None => return Some(value),
            Some(rest) => at = rest,
        }
    }
    None
}

/// What lies between two regions: the delay is theirs, jitter a tenth of it and 2 ms, and all else as in `usual`.
pub(crate) fn link(a: Region, b: Region, usual: Link) -> Link {
    let ms = DELAY_MS[a as usize][b as usize];
    let delay = Duration::from_millis(ms);
    Link { delay, jitter: delay / 10 + Duration::from_millis(2), ..usual }
}

#[cfg(test)]
mod tests {
    use super::{DELAY_MS, LINES, REGIONS, Region, SHARES};
    use ramson_core::rng::Rng;

    #[test]
    fn the_way_there_is_as_long_as_the_way_back() {
        for (a, row) in DELAY_MS.iter().enumerate() {
            for (b, ms) in row.iter().enumerate() {
                assert_eq!(*ms, DELAY_MS[b][a], "{:?} and {:?}", REGIONS[a], REGIONS[b]);
                assert!(*ms >= DELAY_MS[a][a].min(DELAY_MS[b][b]), "no way is shorter than the one within both");
            }
        }
    }

    #[test]
    fn regions_come_by_their_shares() {
        assert_eq!(SHARES.iter().sum::<usize>(), 100);
        assert_eq!(LINES.iter().map(|line| line.2).sum::<usize>(), 100);
        let mut rng = Rng::from_seed([7; 32]);
        let drawn: Vec<Region> = (0..10_000).map(|_| Region::draw(&mut rng)).collect();
        for (region, share) in REGIONS.into_iter().zip(SHARES) {
            let count = drawn.iter().filter(|drawn| **drawn == region).count();
            assert!(count.abs_diff(share * 100) < 200, "{region:?}: {count} of 10,000");
        }
    }
}
