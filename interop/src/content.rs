//! Bytes that both ends can make: so a transfer is checked without a file, and a difference is found where it is.

use sha2::{Digest, Sha256};

/// Words of splitmix64 from a seed, as bytes.
pub(crate) struct Content {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl Content {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, word: [0; 8], used: 8 }
    }

    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            if self.used == 8 {
                self.word = self.next().to_le_bytes();
                self.used = 0;
            }
            *byte = self.word[self.used];
            self.used += 1;
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

/// Lower-case hex of a digest.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of the first `length` bytes of a seed's content.
pub(crate) fn sha256_of(seed: u64, length: u64) -> String {
    let mut content = Content::new(seed);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut left = length;
    while left > 0 {
        let now = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        content.fill(&mut buffer[..now]);
        hash.update(&buffer[..now]);
        left -= now as u64;
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_come_in_any_portions() {
        let mut whole = [0; 100];
        Content::new(7).fill(&mut whole);
        let mut parts = [0; 100];
        let mut content = Content::new(7);
        for part in parts.chunks_mut(7) {
            content.fill(part);
        }
        assert_eq!(whole, parts);
        assert_eq!(sha256_of(7, 100), hex(&Sha256::digest(whole)));
    }
}
