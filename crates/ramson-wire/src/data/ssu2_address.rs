//! What an address of SSU2 says. <https://geti2p.net/spec/ssu2#published-router-info>

use super::Hash;
use super::base64;
use super::router_address::{RouterAddress, is_static_key};
use crate::crypto::x25519;
use crate::ssu2::{MTU_MAX, MTU_MIN};
use std::net::SocketAddr;

/// The most introducers that an address has.
pub const INTRODUCERS: usize = 3;

/// An address of SSU2, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssu2Address {
    /// `s`: the static key of the handshake.
    pub static_key: x25519::PublicKey,
    /// `i`: the key of the protection of headers.
    pub intro_key: [u8; 32],
    pub host: Option<std::net::IpAddr>,
    pub port: Option<u16>,
    /// `mtu`, brought between 1280 and 1500; 1500 when there is none.
    pub mtu: u16,
    pub cost: u8,
    /// Caps `4` and `6`: the families that an unpublished router can be reached or dial out by.
    pub claims_v4: bool,
    pub claims_v6: bool,
    /// Cap `B`: takes part in peer tests.
    pub peer_test: bool,
    /// Cap `C`: introduces others.
    pub introduces: bool,
    pub introducers: Box<[Introducer]>,
}

/// Who introduces a router that cannot be reached itself: `ih#`, `itag#`, `iexp#`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introducer {
    pub router: Hash,
    /// Not 0.
    pub tag: u32,
    /// Seconds since 1970.
    pub expires: Option<u32>,
}

impl Ssu2Address {
    /// Where the router can be reached directly; `None` when it takes no connections here.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        Some((self.host?, self.port?).into())
    }
}

impl RouterAddress {
    /// The address as SSU2 understands it; `None` when it is of another transport, or one of its options is bad.
    /// A bad introducer is left out. An address of style "SSU" counts when it has the options of version 2.
    pub fn to_ssu2(&self) -> Option<Ssu2Address> {
        if self.style() != "SSU2" && self.style() != "SSU" {
            return None;
        }
        if !self.options.get("v")?.split(',').any(|v| v == "2") {
            return None;
        }
        let static_key: [u8; 32] = base64::decode(self.options.get("s")?).ok()?.try_into().ok()?;
        let intro_key = base64::decode(self.options.get("i")?).ok()?.try_into().ok()?;
        if !is_static_key(&static_key) {
            return None;
        }
        let caps = self.options.get("caps").unwrap_or_default();
        Some(Ssu2Address {
            static_key: x25519::PublicKey(static_key),
            intro_key,
            host: self.host(),
            port: self.port(),
            mtu: number(self.options.get("mtu"))
                .map_or(MTU_MAX, |mtu| u16::try_from(mtu).unwrap_or(MTU_MAX).clamp(MTU_MIN, MTU_MAX)),
            cost: self.cost,
            claims_v4: caps.contains('4'),
            claims_v6: caps.contains('6'),
            peer_test: caps.contains('B'),
            introduces: caps.contains('C'),
            introducers: (0..INTRODUCERS).filter_map(|n| self.introducer(n)).collect(),
        })
    }

    fn introducer(&self, n: usize) -> Option<Introducer> {
        let option = |name: &str| self.options.get(&format!("{name}{n}"));
        let router = Hash(base64::decode(option("ih")?).ok()?.try_into().ok()?);
        let tag = number(option("itag")).filter(|tag| *tag != 0)?;
        Some(Introducer { router, tag, expires: number(option("iexp")) })
    }
}

fn number(text: Option<&str>) -> Option<u32> {
    text.filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Mapping;

    fn address(style: &str, pairs: &[(&str, &str)]) -> RouterAddress {
        let mut sorted = pairs.to_vec();
        sorted.sort_unstable();
        RouterAddress::new(8, style, Mapping::from_pairs(sorted).unwrap()).unwrap()
    }

    #[test]
    fn ssu2_options_are_parsed() {
        let (s, i) = (base64::encode(&[7; 32]), base64::encode(&[9; 32]));
        let base = [("s", &*s), ("i", &*i), ("v", "2")];
        let with = |more: &[(&str, &str)]| address("SSU2", &[&base, more].concat()).to_ssu2();
        let open = with(&[("host", "1.2.3.4"), ("port", "999"), ("caps", "BC"), ("mtu", "1420")]).unwrap();
        assert_eq!(open.endpoint(), Some("1.2.3.4:999".parse().unwrap()));
        assert_eq!((open.static_key.0, open.intro_key, open.mtu), ([7; 32], [9; 32], 1420));
        assert_eq!((open.peer_test, open.introduces, open.claims_v4, open.introducers.len()), (true, true, false, 0));
        for (mtu, is) in [("0", 1280), ("1279", 1280), ("1501", 1500), ("9000000", 1500), ("x", 1500), ("-1", 1500)] {
            assert_eq!(with(&[("mtu", mtu)]).unwrap().mtu, is, "{mtu}");
        }
        let (one, two) = (base64::encode(&[1; 32]), base64::encode(&[2; 32]));
        let hidden = with(&[
            ("caps", "46"),
            ("ih0", &*one),
            ("itag0", "77"),
            ("iexp0", "1700000000"),
            ("ih1", "short"),
            ("itag1", "5"),
            ("ih2", &*two),
            ("itag2", "4294967295"),
            ("ih3", &*two),
            ("itag3", "6"),
        ])
        .unwrap();
        assert_eq!((hidden.endpoint(), hidden.claims_v4, hidden.claims_v6), (None, true, true));
        let first = Introducer { router: Hash([1; 32]), tag: 77, expires: Some(1_700_000_000) };
        let third = Introducer { router: Hash([2; 32]), tag: u32::MAX, expires: None };
        assert_eq!(*hidden.introducers, [first, third], "at most three, and no bad one");
        for tag in ["0", "4294967296", "", "-1", "x"] {
            assert!(with(&[("ih0", &*one), ("itag0", tag)]).unwrap().introducers.is_empty(), "{tag}");
        }
    }

    /// Threats T11.
    #[test]
    fn t11_bad_ssu2_options_are_ignored() {
        let (s, i) = (base64::encode(&[7; 32]), base64::encode(&[9; 32]));
        let (zero, top, short) = (base64::encode(&[0; 32]), base64::encode(&[0xff; 32]), base64::encode(&[7; 31]));
        assert!(address("SSU", &[("s", &*s), ("i", &*i), ("v", "2")]).to_ssu2().is_some());
        assert!(address("SSU2", &[("s", &*s), ("i", &*i), ("v", "2,3")]).to_ssu2().is_some());
        for bad in [
            address("NTCP2", &[("s", &*s), ("i", &*i), ("v", "2")]),
            address("SSU2", &[("s", &*s), ("i", &*i)]),
            address("SSU2", &[("s", &*s), ("i", &*i), ("v", "1")]),
            address("SSU2", &[("s", &*s), ("v", "2")]),
            address("SSU2", &[("i", &*i), ("v", "2")]),
            address("SSU2", &[("s", &*zero), ("i", &*i), ("v", "2")]),
            address("SSU2", &[("s", &*top), ("i", &*i), ("v", "2")]),
            address("SSU2", &[("s", &*short), ("i", &*i), ("v", "2")]),
            address("SSU2", &[("s", &*s), ("i", &*short), ("v", "2")]),
        ] {
            assert_eq!(bad.to_ssu2(), None);
        }
    }
}
