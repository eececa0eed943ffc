//! SipHash-2-4 with 8-byte output, as the NTCP2 data phase uses it to hide frame lengths.

use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The running mask of one direction's frame lengths ("SipHash obfuscated length" of the NTCP2 specification).
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct LengthMask {
    k1: u64,
    k2: u64,
    iv: [u8; 8],
}

impl std::fmt::Debug for LengthMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LengthMask(..)")
    }
}

impl LengthMask {
    /// From the 32 bytes of key material of a direction: k1, k2 and IV, all little-endian; the last eight are unused.
    pub fn new(material: &[u8; 32]) -> Self {
        let [k1, k2, iv, _] = split(material);
        Self { k1: u64::from_le_bytes(k1), k2: u64::from_le_bytes(k2), iv }
    }

    /// The mask of the next frame's length.
    pub fn next_mask(&mut self) -> u16 {
        let mut hasher = SipHasher24::new_with_keys(self.k1, self.k2);
        hasher.write(&self.iv);
        self.iv = hasher.finish().to_le_bytes();
        let [low, high, ..] = self.iv;
        u16::from_le_bytes([low, high])
    }
}

fn split(material: &[u8; 32]) -> [[u8; 8]; 4] {
    let mut out = [[0; 8]; 4];
    for (to, from) in out.iter_mut().zip(material.chunks_exact(8)) {
        to.copy_from_slice(from);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference vector of the SipHash paper: key 00..0f, input 00..07.
    #[test]
    fn paper_vector() {
        let key: [u8; 16] = std::array::from_fn(|i| i as u8);
        let input: [u8; 8] = std::array::from_fn(|i| i as u8);
        let mut material = [0; 32];
        material[..16].copy_from_slice(&key);
        material[16..24].copy_from_slice(&input);
        let mut mask = LengthMask::new(&material);
        assert_eq!(mask.next_mask(), (0x93f5_f579_9a93_2462_u64 & 0xffff) as u16);
    }
}
