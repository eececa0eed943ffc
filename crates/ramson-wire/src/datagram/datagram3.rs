//! Datagram3, repliable but not authenticated: `hash of the sender :: 32`, `flags :: 2`, `options?`, `payload`.

use super::{OPTIONS, flags_and_options};
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::data::{Hash, Mapping};

const VERSION: u16 = 3;

/// A datagram. Anybody can write any sender into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram3 {
    pub claimed_from: Hash,
    pub options: Mapping,
    pub payload: Vec<u8>,
}

impl Encode for Datagram3 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.claimed_from.0);
        out.put_u16(VERSION | if self.options.is_empty() { 0 } else { OPTIONS });
        if !self.options.is_empty() {
            self.options.encode(out);
        }
        out.put(&self.payload);
    }
}

impl Decode for Datagram3 {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let claimed_from = Hash::decode(r)?;
        let (_, options) = flags_and_options(r, VERSION)?;
        Ok(Self { claimed_from, options, payload: r.take_rest().to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(from: [u8; 32], option in prop::option::of("[a-z]{1,9}"), payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let options = Mapping::from_pairs(option.iter().map(|key| (&**key, "value"))).unwrap();
            let datagram = Datagram3 { claimed_from: Hash(from), options, payload };
            prop_assert_eq!(Datagram3::from_bytes(&datagram.to_bytes()).unwrap(), datagram);
        }

        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Datagram3::from_bytes(&bytes);
        }
    }

    #[test]
    fn other_versions_are_refused() {
        for version in [0u8, 1, 2, 4, 15] {
            let bytes = [&[7; 32][..], &[0, version, 1]].concat();
            assert!(matches!(Datagram3::from_bytes(&bytes), Err(DecodeError::Unsupported { .. })));
        }
    }
}
