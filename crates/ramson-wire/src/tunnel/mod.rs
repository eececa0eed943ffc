//! What travels inside tunnels, and what builds them: tunnel messages and their delivery instructions
//! (<https://geti2p.net/spec/tunnel-message>) and build records (<https://geti2p.net/spec/tunnel-creation-ecies>).

pub mod bandwidth;
pub mod build_record;
pub mod delivery;
pub mod long_record;
pub mod message;

/// The name of a tunnel at one router: nonzero, chosen at random by the tunnel's creator.
pub type TunnelId = u32;

/// A repeatable generator for the tests of this folder.
#[cfg(test)]
pub(crate) mod test_rng {
    use rand_core::{TryCryptoRng, TryRng};
    use std::convert::Infallible;

    pub(crate) struct TestRng {
        seed: [u8; 32],
        block: [u8; 256],
        used: usize,
    }

    impl TestRng {
        pub(crate) fn new(seed: u8) -> Self {
            Self { seed: [seed; 32], block: [0; 256], used: 256 }
        }
    }

    impl TryRng for TestRng {
        type Error = Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            let mut bytes = [0; 4];
            self.try_fill_bytes(&mut bytes)?;
            Ok(u32::from_le_bytes(bytes))
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            let mut bytes = [0; 8];
            self.try_fill_bytes(&mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        }
        fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
            for byte in dst {
                if self.used == self.block.len() {
                    self.block = [0; 256];
                    crate::crypto::chacha20::xor(&self.seed, &[0; 12], &mut self.block);
                    self.seed = crate::crypto::hash::sha256(&self.seed);
                    self.used = 0;
                }
                *byte = self.block[self.used];
                self.used += 1;
            }
            Ok(())
        }
    }

    impl TryCryptoRng for TestRng {}
}
