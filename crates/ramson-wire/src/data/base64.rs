//! Base 64 with I2P's alphabet: `-` and `~` stand for `+` and `/`. Padding with `=` is required.

use crate::codec::DecodeError;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-~";
const WHAT: &str = "base 64";

/// The text of `bytes`, padded to a multiple of four characters.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().chain([0, 0].iter()).take(3).fold(0u32, |group, b| group << 8 | u32::from(*b));
        for i in 0..4usize {
            out.push(if i > chunk.len() { '=' } else { letter(group >> (18 - 6 * i)) });
        }
    }
    out
}

/// The bytes of `text`. Strict: every character of the alphabet, full padding, no bits left over.
pub fn decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    let text = text.as_bytes();
    let (groups, rest) = text.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(DecodeError::invalid(WHAT, "the length is no multiple of four"));
    }
    let mut out = Vec::with_capacity(groups.len() * 3);
    for (i, group) in groups.iter().enumerate() {
        let pad = match group {
            [_, _, b'=', b'='] => 2,
            [_, _, _, b'='] => 1,
            _ => 0,
        };
        if pad > 0 && i + 1 < groups.len() {
            return Err(DecodeError::invalid(WHAT, "padding inside"));
        }
        let mut bits = 0u32;
        for byte in group.iter().take(4 - pad) {
            bits = bits << 6 | value(*byte)?;
        }
        bits <<= 6 * pad;
        let [_, a, b, c] = bits.to_be_bytes();
        let (used, spare) = match pad {
            0 => (&[a, b, c][..], 0),
            1 => (&[a, b][..], c),
            _ => (&[a][..], b | c),
        };
        if spare != 0 {
            return Err(DecodeError::invalid(WHAT, "bits behind the end"));
        }
        out.extend_from_slice(used);
    }
    Ok(out)
}

fn letter(bits: u32) -> char {
    usize::try_from(bits & 63).ok().and_then(|i| ALPHABET.get(i)).map_or('A', |b| char::from(*b))
}

fn value(byte: u8) -> Result<u32, DecodeError> {
    Ok(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        b'~' => 63,
        _ => return Err(DecodeError::invalid(WHAT, "a character that is not of the alphabet")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn what_decodes_is_canonical(text in "[A-Za-z0-9~=+-]{0,16}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }

    /// RFC 4648, section 10, and I2P's two letters.
    #[test]
    fn vectors() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
        assert_eq!(encode(&[0xfb, 0xef, 0xff]), "--~~");
    }
}
