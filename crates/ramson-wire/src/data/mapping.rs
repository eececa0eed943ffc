//! Mapping: sorted pairs of short strings. <https://geti2p.net/spec/common-structures#mapping>

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use std::cmp::Ordering;

const WHAT: &str = "Mapping";

/// Pairs of strings of up to 255 bytes, sorted by key as Java compares strings (UTF-16 code units), no key twice.
/// It keeps its encoding, so it takes no more memory than that and is re-encoded byte for byte.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The checked pairs, without the size before them.
    body: Box<[u8]>,
}

impl Mapping {
    pub fn new() -> Self {
        Self::default()
    }

    /// A mapping of these pairs, sorted here. Fails on a key that comes twice, on a string over 255 bytes, and
    /// on more than 65,535 bytes.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, DecodeError> {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|(a, _), (b, _)| compare(a, b));
        if pairs.is_sorted_by(|(a, _), (b, _)| a != b) {
            let mut body = Vec::new();
            for (key, value) in pairs {
                put_string(&mut body, key, b'=')?;
                put_string(&mut body, value, b';')?;
            }
            if body.len() > usize::from(u16::MAX) {
                return Err(DecodeError::TooLarge { what: WHAT, limit: usize::from(u16::MAX) });
            }
            Ok(Self { body: body.into() })
        } else {
            Err(DecodeError::invalid(WHAT, "a key comes twice"))
        }
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut r = Reader::new(&self.body);
        // The body was checked when the value was made, so this ends where the body ends.
        std::iter::from_fn(move || pair(&mut r).ok())
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    pub const fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Reads pairs in whatever order they come, where no signature depends on it; they are sorted here.
    pub fn decode_in_any_order(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let size = r.u16(WHAT)?;
        let mut inside = Reader::new(r.take(usize::from(size), WHAT)?);
        let mut pairs = Vec::new();
        while !inside.is_empty() {
            pairs.push(pair(&mut inside)?);
        }
        Self::from_pairs(pairs)
    }
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Encode for Mapping {
    fn encode(&self, out: &mut Vec<u8>) {
        // The size is bounded where the value is made.
        out.put_u16(u16::try_from(self.body.len()).unwrap_or(0));
        out.put(&self.body);
    }
}

impl Decode for Mapping {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let size = r.u16(WHAT)?;
        let body = r.take(usize::from(size), WHAT)?;
        let mut inside = Reader::new(body);
        let mut last: Option<&str> = None;
        while !inside.is_empty() {
            let (key, _) = pair(&mut inside)?;
            if last.is_some_and(|last| compare(last, key) != Ordering::Less) {
                return Err(DecodeError::invalid(WHAT, "keys are not in order, or come twice"));
            }
            last = Some(key);
        }
        Ok(Self { body: body.into() })
    }
}

/// Java's `String.compareTo`: by UTF-16 code units.
fn compare(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

fn pair<'a>(r: &mut Reader<'a>) -> Result<(&'a str, &'a str), DecodeError> {
    Ok((string(r, b'=')?, string(r, b';')?))
}

fn string<'a>(r: &mut Reader<'a>, end: u8) -> Result<&'a str, DecodeError> {
    let len = r.u8(WHAT)?;
    let bytes = r.take(usize::from(len), WHAT)?;
    if r.u8(WHAT)? != end {
        return Err(DecodeError::invalid(WHAT, "no separator"));
    }
    std::str::from_utf8(bytes).map_err(|_| DecodeError::invalid(WHAT, "not UTF-8"))
}

fn put_string(out: &mut Vec<u8>, text: &str, end: u8) -> Result<(), DecodeError> {
    let len = u8::try_from(text.len()).map_err(|_| DecodeError::TooLarge { what: "string", limit: 255 })?;
    out.put_u8(len);
    out.put(text.as_bytes());
    out.put_u8(end);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn round_trip(pairs in prop::collection::btree_map(".{0,20}", ".{0,30}", 0..10)) {
            let pairs: BTreeMap<String, String> = pairs;
            let mapping = Mapping::from_pairs(pairs.iter().map(|(k, v)| (&**k, &**v))).unwrap();
            let read = Mapping::from_bytes(&mapping.to_bytes()).unwrap();
            prop_assert_eq!(read.iter().count(), pairs.len());
            for (key, value) in &pairs {
                prop_assert_eq!(read.get(key), Some(&**value));
            }
        }

        #[test]
        fn what_decodes_re_encodes(mut bytes in prop::collection::vec(any::<u8>(), 2..60)) {
            (bytes[0], bytes[1]) = (0, bytes.len() as u8 - 2);
            if let Ok(mapping) = Mapping::from_bytes(&bytes) {
                prop_assert_eq!(mapping.to_bytes(), bytes);
            }
        }
    }

    /// U+FFFF sorts behind U+10000 in UTF-16 and before it in UTF-8.
    #[test]
    fn the_order_is_that_of_utf16() {
        let mapping = Mapping::from_pairs([("\u{ffff}", "1"), ("\u{10000}", "2"), ("b", "3"), ("a", "4")]).unwrap();
        let keys: Vec<_> = mapping.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "b", "\u{10000}", "\u{ffff}"]);
        Mapping::from_bytes(&mapping.to_bytes()).unwrap();
    }

    /// Threats T5.
    #[test]
    fn t5_bad_mappings_are_refused() {
        let wrap = |body: &[u8]| [&(body.len() as u16).to_be_bytes()[..], body].concat();
        Mapping::from_bytes(&wrap(b"\x01a=\x01x;\x01b=\x01y;")).unwrap();
        for bad in [
            &b"\x01b=\x01x;\x01a=\x01y;"[..], // unsorted
            b"\x01a=\x01x;\x01a=\x01y;",      // twice
            b"\x01a:\x01x;",                  // no =
            b"\x01a=\x01x,",                  // no ;
            b"\x09a=\x01x;",                  // longer than the rest
            b"\x01\xff=\x01x;",               // not UTF-8
            b"\x01a=",                        // no value
        ] {
            assert!(Mapping::from_bytes(&wrap(bad)).is_err());
        }
        for odd in [&b"\x00=\x01x;"[..], b"\x01\0=\x00;"] {
            let odd = wrap(odd);
            assert_eq!(Mapping::from_bytes(&odd).unwrap().to_bytes(), odd, "strange, but there is one way to write it");
        }
        assert!(Mapping::from_bytes(&[0, 9, 1]).is_err());
        let long = "x".repeat(256);
        assert!(Mapping::from_pairs([("a", &*long)]).is_err());
        assert!(Mapping::from_pairs([("a", "1"), ("a", "2")]).is_err());
    }
}
