//! Padding of messages 1 and 2: cleartext, so its size and content are what an observer sees (threats 1.14).

use crate::rng::Rng;

/// How messages 1 and 2 are padded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaddingStrategy {
    /// 0 to 63 random bytes, as Java I2P pads: the largest crowd.
    #[default]
    Random,
    /// 24 to 63 printable characters: passes filters that block first packets which look fully random, at the price
    /// of being recognisable itself. For restricted networks.
    Printable,
}

impl PaddingStrategy {
    /// Padding for one message.
    pub fn draw(self, rng: &mut Rng) -> Vec<u8> {
        match self {
            Self::Random => {
                let len = rng.below(64);
                (0..len).map(|_| rng.bytes::<1>()[0]).collect()
            }
            Self::Printable => {
                let len = 24 + rng.below(40);
                (0..len).map(|_| 0x20 + u8::try_from(rng.below(95)).unwrap_or(0)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published rule of the filter (threats 1.14), as far as it concerns us: a first packet is blocked when its
    /// bits look random and no exemption holds.
    fn blocked(packet: &[u8]) -> bool {
        let printable = |b: &u8| (0x20..=0x7e).contains(b);
        let ones: u32 = packet.iter().map(|b| b.count_ones()).sum();
        let density = f64::from(ones) / packet.len() as f64;
        let longest = packet.split(|b| !printable(b)).map(<[u8]>::len).max().unwrap_or(0);
        let share = packet.iter().filter(|b| printable(b)).count() as f64 / packet.len() as f64;
        (3.4..4.6).contains(&density) && !packet.iter().take(6).all(printable) && share <= 0.5 && longest <= 20
    }

    /// Threats P-33, restricted mode: at least 99.9 % exempt.
    #[test]
    fn p33_printable_padding_passes_the_rule() {
        let mut rng = Rng::from_seed([4; 32]);
        let mut hit = 0;
        for _ in 0..10_000 {
            let mut packet = rng.bytes::<64>().to_vec();
            packet.extend(PaddingStrategy::Printable.draw(&mut rng));
            hit += u32::from(blocked(&packet));
        }
        assert!(hit <= 10, "{hit} of 10000 blocked");
    }

    #[test]
    fn sizes_stay_within_what_every_router_accepts() {
        let mut rng = Rng::from_seed([5; 32]);
        for strategy in [PaddingStrategy::Random, PaddingStrategy::Printable] {
            let sizes: std::collections::BTreeSet<usize> = (0..5_000).map(|_| strategy.draw(&mut rng).len()).collect();
            assert!(sizes.last().is_some_and(|max| 64 + max <= ramson_wire::ntcp2::HANDSHAKE_MAX));
            assert!(sizes.len() >= 40, "never a constant");
        }
    }
}
