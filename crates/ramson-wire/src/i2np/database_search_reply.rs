//! DatabaseSearchReply (type 3): what is asked for is not here, but these routers may know.
//! <https://geti2p.net/spec/i2np#msg-DatabaseSearchReply>

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::data::Hash;

/// The most hashes that are sent, and that are used of what is received.
pub const MAX_PEERS: usize = 16;

/// The body. Nothing in it is authenticated: the hashes are hints, and `from` may be anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSearchReply {
    /// The key of the question.
    pub key: Hash,
    /// Up to 16 routers.
    pub peers: Vec<Hash>,
    pub from: Hash,
}

impl Encode for DatabaseSearchReply {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.key.0);
        let peers = self.peers.get(..MAX_PEERS).unwrap_or(&self.peers);
        out.put_u8(u8::try_from(peers.len()).unwrap_or(0));
        for peer in peers {
            out.put(&peer.0);
        }
        out.put(&self.from.0);
    }
}

impl Decode for DatabaseSearchReply {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let key = Hash::decode(r)?;
        let count = usize::from(r.u8("DatabaseSearchReply count")?);
        let mut peers = Vec::with_capacity(count.min(MAX_PEERS));
        for i in 0..count {
            let peer = Hash::decode(r)?;
            if i < MAX_PEERS {
                peers.push(peer);
            }
        }
        Ok(Self { key, peers, from: Hash::decode(r)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(key: [u8; 32], from: [u8; 32], peers in prop::collection::vec(any::<[u8; 32]>(), 0..=16)) {
            let reply = DatabaseSearchReply { key: Hash(key), peers: peers.into_iter().map(Hash).collect(), from: Hash(from) };
            prop_assert_eq!(DatabaseSearchReply::from_bytes(&reply.to_bytes()).unwrap(), reply);
        }

        #[test]
        fn random_bytes_do_not_panic(count: u8, bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = DatabaseSearchReply::from_bytes(&[&[0; 32][..], &[count], &bytes].concat());
        }
    }

    /// Threats T32.
    #[test]
    fn t32_more_than_sixteen_are_read_and_not_used() {
        let raw = [&[1; 32][..], &[255], &[2; 255 * 32], &[3; 32]].concat();
        let reply = DatabaseSearchReply::from_bytes(&raw).unwrap();
        assert_eq!((reply.peers.len(), reply.from), (16, Hash([3; 32])));
    }
}
