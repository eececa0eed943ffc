//! Base 32 as host names carry it: lower case, `a` to `z` and `2` to `7`, without padding.

use super::Hash;
use crate::codec::DecodeError;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const WHAT: &str = "base 32";

/// The text of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in bytes {
        bits = (bits << 8 | u32::from(*byte)) & 0xfff;
        held += 8;
        while held >= 5 {
            held -= 5;
            out.push(letter(bits >> held));
        }
    }
    if held > 0 {
        out.push(letter(bits << (5 - held)));
    }
    out
}

/// The bytes of `text`, whose letters may be of either case. Bits left over must be zero and fewer than a letter.
pub fn decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.bytes() {
        let value = match byte {
            b'a'..=b'z' => byte - b'a',
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return Err(DecodeError::invalid(WHAT, "a character that is not of the alphabet")),
        };
        bits = (bits << 5 | u32::from(value)) & 0xfff;
        held += 5;
        if held >= 8 {
            held -= 8;
            let [.., byte] = (bits >> held).to_be_bytes();
            out.push(byte);
        }
    }
    if held >= 5 || bits & ((1 << held) - 1) != 0 {
        return Err(DecodeError::invalid(WHAT, "bits behind the end"));
    }
    Ok(out)
}

/// The hash of the host name `<52 letters>.b32.i2p`; `None` for every other name.
pub fn host_hash(host: &str) -> Option<Hash> {
    let (label, domain) = host.split_at_checked(host.len().checked_sub(8)?)?;
    if !domain.eq_ignore_ascii_case(".b32.i2p") || label.len() != 52 {
        return None;
    }
    Some(Hash(decode(label).ok()?.try_into().ok()?))
}

/// The host name of a destination's hash.
pub fn host_name(hash: &Hash) -> String {
    encode(&hash.0) + ".b32.i2p"
}

fn letter(bits: u32) -> char {
    usize::try_from(bits & 31).ok().and_then(|i| ALPHABET.get(i)).map_or('a', |b| char::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(bytes in prop::collection::vec(any::<u8>(), 0..70), hash: [u8; 32]) {
            prop_assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
            prop_assert_eq!(host_hash(&host_name(&Hash(hash)).to_uppercase()), Some(Hash(hash)));
        }

        #[test]
        fn what_decodes_is_canonical(text in "[a-z0-9]{0,20}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }

    /// RFC 4648, section 10.
    #[test]
    fn vectors() {
        for (bytes, text) in
            [("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foob", "mzxw6yq"), ("foobar", "mzxw6ytboi")]
        {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
        assert_eq!(host_hash("example.i2p"), None);
        assert_eq!(host_hash("é.b32.i2p"), None);
    }
}
