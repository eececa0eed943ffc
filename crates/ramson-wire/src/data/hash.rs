//! A SHA-256 hash: the name of a router or a destination, and a key of the network database.

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};

/// 32 bytes. Its `Debug` shows only the first three bytes, so that logs stay readable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    pub const LEN: usize = 32;

    /// The hash of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self(crate::crypto::hash::sha256(data))
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The XOR distance of the network database, comparable as a big-endian number.
    pub fn distance(&self, other: &Self) -> [u8; 32] {
        let mut out = self.0;
        out.iter_mut().zip(other.0).for_each(|(a, b)| *a ^= b);
        out
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}..")
    }
}

impl Decode for Hash {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array("Hash").map(Self)
    }
}

impl Encode for Hash {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.0);
    }
}
