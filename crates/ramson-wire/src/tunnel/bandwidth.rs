//! Bandwidth parameters in the options of build records.
//! <https://geti2p.net/spec/tunnel-creation-ecies#tunnel-bandwidth-parameters>
//!
//! All are kilobytes a second at the tunnel's layer, which are tunnel messages a second.

use crate::codec::{Decode, Encode, Reader, Write};
use crate::data::Mapping;

/// What the creator of a tunnel says of its bandwidth to one hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandwidthRequest {
    /// `m`: a hop that cannot provide so much declines.
    pub minimum: Option<u32>,
    /// `r`: what the tunnel would use.
    pub requested: Option<u32>,
    /// `l`: an inbound gateway lets no more than this in.
    pub limit: Option<u32>,
}

impl BandwidthRequest {
    /// Nothing is asked for, as in most tunnels.
    pub const NONE: Self = Self { minimum: None, requested: None, limit: None };

    /// Whether `m <= r <= l` holds for those that are there.
    pub fn is_consistent(&self) -> bool {
        let all = [self.minimum, self.requested, self.limit];
        all.into_iter().flatten().is_sorted()
    }

    /// Whether the reply of a hop that accepts says what it provides.
    pub const fn wants_answer(&self) -> bool {
        self.minimum.is_some() || self.requested.is_some()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let pairs = [("l", self.limit), ("m", self.minimum), ("r", self.requested)];
        encode_pairs(pairs, out);
    }

    /// Reads the options of a request. What is malformed is as if it were not there; what is too large to be true is
    /// larger than anybody has.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let options = read(bytes);
        let value = |key| options.as_ref().and_then(|options| parse(options.get(key)?));
        Self { minimum: value("m"), requested: value("r"), limit: value("l") }
    }
}

/// A hop's answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// [`super::build_record::ACCEPT`] or another.
    pub code: u8,
    /// `b`: what the hop provides, where the request asked.
    pub bandwidth: Option<u32>,
}

impl Reply {
    /// An answer that says nothing of bandwidth.
    pub const fn of(code: u8) -> Self {
        Self { code, bandwidth: None }
    }

    /// Puts the answer into the clear text of a reply record, whose last byte is the code.
    pub(super) fn write(self, plain: &mut [u8]) {
        let mut options = Vec::new();
        encode_pairs([("b", self.bandwidth)], &mut options);
        plain.iter_mut().zip(&options).for_each(|(to, from)| *to = *from);
        if let Some(code) = plain.last_mut() {
            *code = self.code;
        }
    }

    /// Reads the clear text of a reply record.
    pub(super) fn read(plain: &[u8]) -> Option<Self> {
        let (code, options) = plain.split_last()?;
        let bandwidth = read(options).and_then(|options| parse(options.get("b")?));
        Some(Self { code: *code, bandwidth })
    }
}

fn read(bytes: &[u8]) -> Option<Mapping> {
    Mapping::decode(&mut Reader::new(bytes)).ok()
}

fn encode_pairs<const N: usize>(pairs: [(&str, Option<u32>); N], out: &mut Vec<u8>) {
    let texts: Vec<(&str, String)> =
        pairs.into_iter().filter_map(|(key, value)| Some((key, value?.to_string()))).collect();
    match Mapping::from_pairs(texts.iter().map(|(key, value)| (*key, value.as_str()))) {
        Ok(options) => options.encode(out),
        // A few numbers always make a mapping.
        Err(_) => out.put_u16(0),
    }
}

/// A positive integer in decimal digits.
fn parse(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().unwrap_or(u32::MAX);
    (digits && value > 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_options_are_those_of_the_specification() {
        let mut out = Vec::new();
        BandwidthRequest { minimum: Some(8), requested: Some(20), limit: None }.encode(&mut out);
        assert_eq!(out, b"\0\x0d\x01m=\x018;\x01r=\x0220;");
        let mut plain = [0xff; 202];
        Reply { code: 0, bandwidth: Some(64) }.write(&mut plain);
        assert_eq!((&plain[..9], plain[201]), (&b"\0\x07\x01b=\x0264;"[..], 0));
        assert_eq!(Reply::read(&plain), Some(Reply { code: 0, bandwidth: Some(64) }));
        Reply::of(30).write(&mut plain);
        assert_eq!((&plain[..2], Reply::read(&plain)), (&[0, 0][..], Some(Reply::of(30))));
    }

    /// Threats T75: sizes that lie, values that are none or more than anybody has, contradictions.
    #[test]
    fn t75_odd_options_ask_for_nothing_or_for_too_much() {
        let decode = |pairs: &[(&str, &str)]| {
            BandwidthRequest::decode(&Mapping::from_pairs(pairs.iter().copied()).unwrap().to_bytes())
        };
        for text in ["", "0", "-1", "+1", "1.5", "0x10", " 1", "many"] {
            assert_eq!(decode(&[("m", text), ("r", text), ("l", text)]), BandwidthRequest::NONE, "{text}");
        }
        let all = decode(&[("m", "18446744073709551616"), ("other", "1")]);
        assert_eq!(all, BandwidthRequest { minimum: Some(u32::MAX), ..BandwidthRequest::NONE });
        for (pairs, good) in [
            (&[("m", "1"), ("r", "2"), ("l", "2")][..], true),
            (&[("m", "3"), ("r", "2")], false),
            (&[("m", "3"), ("l", "2")], false),
            (&[("r", "3"), ("l", "2")], false),
            (&[], true),
        ] {
            assert_eq!(decode(pairs).is_consistent(), good, "{pairs:?}");
        }
        for bytes in [&b""[..], b"\0", b"\xff\xff", b"\0\x06\x01m=\x018", b"\0\x06\x01m=\x018,", b"\0\x01\x01m=\x018;"]
        {
            assert_eq!(BandwidthRequest::decode(bytes), BandwidthRequest::NONE, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn requests_round_trip(values in prop::array::uniform3(prop::option::of(1u32..))) {
            let [minimum, requested, limit] = values;
            let request = BandwidthRequest { minimum, requested, limit };
            let mut out = Vec::new();
            request.encode(&mut out);
            out.extend([7; 20]);
            prop_assert_eq!(BandwidthRequest::decode(&out), request);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = (BandwidthRequest::decode(&bytes), Reply::read(&bytes));
        }
    }
}
