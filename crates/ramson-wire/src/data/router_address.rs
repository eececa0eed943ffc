//! RouterAddress: one way to reach a router. <https://geti2p.net/spec/common-structures#routeraddress>

use super::base64;
use super::mapping::Mapping;
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::crypto::x25519;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const WHAT: &str = "RouterAddress";

/// A transport's name, its cost and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterAddress {
    /// 0 is free, 255 expensive.
    pub cost: u8,
    /// Unused; zero in everything that is published today, kept for exact re-encoding.
    expiration: u64,
    style: Box<str>,
    pub options: Mapping,
}

impl RouterAddress {
    /// An address of the transport `style` ("NTCP2", "SSU2"). Fails when `style` is over 255 bytes.
    pub fn new(cost: u8, style: &str, options: Mapping) -> Result<Self, DecodeError> {
        if style.len() > 255 {
            return Err(DecodeError::TooLarge { what: WHAT, limit: 255 });
        }
        Ok(Self { cost, expiration: 0, style: style.into(), options })
    }

    /// The transport's name.
    pub const fn style(&self) -> &str {
        &self.style
    }

    /// The option `host` as an address. Names are not resolved: nothing a peer publishes causes a DNS look-up.
    pub fn host(&self) -> Option<IpAddr> {
        self.options.get("host")?.parse().ok()
    }

    /// The option `port`; `None` for 0 and for everything that is not plain digits.
    pub fn port(&self) -> Option<u16> {
        let text = self.options.get("port").filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        text.parse().ok().filter(|port| *port != 0)
    }

    /// The address as NTCP2 understands it; `None` when it is of another transport, or one of its options is bad.
    pub fn to_ntcp2(&self) -> Option<Ntcp2Address> {
        if &*self.style != "NTCP2" && &*self.style != "NTCP" {
            return None;
        }
        if !self.options.get("v")?.split(',').any(|v| v == "2") {
            return None;
        }
        let static_key: [u8; 32] = base64::decode(self.options.get("s")?).ok()?.try_into().ok()?;
        if !is_static_key(&static_key) {
            return None;
        }
        let iv = match self.options.get("i") {
            Some(text) => Some(base64::decode(text).ok()?.try_into().ok()?),
            None => None,
        };
        let caps = self.options.get("caps").unwrap_or_default();
        Some(Ntcp2Address {
            static_key: x25519::PublicKey(static_key),
            iv,
            host: self.host(),
            port: self.port(),
            cost: self.cost,
            claims_v4: caps.contains('4'),
            claims_v6: caps.contains('6'),
        })
    }
}

impl Decode for RouterAddress {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let cost = r.u8(WHAT)?;
        let expiration = r.u64(WHAT)?;
        let len = r.u8(WHAT)?;
        let style = std::str::from_utf8(r.take(usize::from(len), WHAT)?)
            .map_err(|_| DecodeError::invalid(WHAT, "style is not UTF-8"))?
            .into();
        Ok(Self { cost, expiration, style, options: Mapping::decode(r)? })
    }
}

impl Encode for RouterAddress {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.cost);
        out.put_u64(self.expiration);
        // Bounded where the value is made.
        out.put_u8(u8::try_from(self.style.len()).unwrap_or(0));
        out.put(self.style.as_bytes());
        self.options.encode(out);
    }
}

/// Whether `key` can be the static key of a handshake. The top bit of a Curve25519 key is zero; an address with another
/// key cannot be met by any peer. With a key of low order no handshake succeeds.
pub(super) fn is_static_key(key: &[u8; 32]) -> bool {
    !LOW_ORDER.contains(key) && key.last().is_some_and(|b| b & 0x80 == 0)
}

/// The points of low order on Curve25519, and other encodings of them, that have a zero top bit. RFC 7748, section 7.
const LOW_ORDER: [[u8; 32]; 7] = [
    [
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ],
    [
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    [
        0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    [
        0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
];

/// An address of NTCP2, parsed. <https://geti2p.net/spec/ntcp2#published-addresses>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ntcp2Address {
    /// `s`: the static key of the handshake.
    pub static_key: x25519::PublicKey,
    /// `i`: the IV of the first message. Without it the router does not take connections here.
    pub iv: Option<[u8; 16]>,
    pub host: Option<IpAddr>,
    pub port: Option<u16>,
    pub cost: u8,
    /// Caps `4` and `6`: the families that an unpublished router can dial out by.
    pub claims_v4: bool,
    pub claims_v6: bool,
}

impl Ntcp2Address {
    /// Where the router can be dialled, and with which IV; `None` when it takes no connections here.
    pub fn endpoint(&self) -> Option<(std::net::SocketAddr, [u8; 16])> {
        Some(((self.host?, self.port?).into(), self.iv?))
    }
}

/// Whether an address of the public Internet can stand there: not private, loopback, link-local, multicast,
/// documentation, benchmarking, reserved, a tunnel's (6to4, Teredo) or an overlay's.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !matches!(
        ip.octets(),
        [0 | 10 | 127 | 224.., ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(style: &str, pairs: &[(&str, &str)]) -> RouterAddress {
        RouterAddress::new(3, style, Mapping::from_pairs(pairs.iter().copied()).unwrap()).unwrap()
    }

    #[test]
    fn ntcp2_options_are_parsed() {
        let (s, i) = (base64::encode(&[7; 32]), base64::encode(&[9; 16]));
        let good = address("NTCP2", &[("host", "1.2.3.4"), ("port", "999"), ("s", &s), ("i", &i), ("v", "2")]);
        assert_eq!(RouterAddress::from_bytes(&good.to_bytes()).unwrap(), good);
        let parsed = good.to_ntcp2().unwrap();
        assert_eq!(parsed.endpoint(), Some(("1.2.3.4:999".parse().unwrap(), [9; 16])));
        let hidden = address("NTCP2", &[("s", &s), ("v", "2"), ("caps", "4")]).to_ntcp2().unwrap();
        assert_eq!((hidden.endpoint(), hidden.claims_v4, hidden.claims_v6), (None, true, false));
    }

    /// Threats T9: what is no address is none, and is never looked up.
    #[test]
    fn t9_hosts_that_are_no_addresses_are_none() {
        let long = "a".repeat(255);
        for host in [
            "evil.example",
            "localhost",
            "fe80::1%eth0",
            "[2a00::1]",
            "1.2.3",
            "01.2.3.4",
            "0x7f.1",
            "2130706433",
            "1.2.3.4:80",
            " 1.2.3.4",
            "1.2.3.4 ",
            "",
            &long,
        ] {
            assert_eq!(address("NTCP2", &[("host", host)]).host(), None, "{host}");
        }
        assert!(Mapping::from_pairs([("host", &*"a".repeat(300))]).is_err(), "300 characters fit in no mapping");
        let mapped = address("NTCP2", &[("host", "::ffff:127.0.0.1")]).host().unwrap();
        assert!(!is_public(mapped) && mapped.to_canonical().is_loopback());
    }

    /// Threats T11, T9.
    #[test]
    fn t11_bad_ntcp2_options_are_ignored() {
        let (s, i) = (base64::encode(&[7; 32]), base64::encode(&[9; 16]));
        let (zero, top, short) = (base64::encode(&[0; 32]), base64::encode(&[0xff; 32]), base64::encode(&[7; 31]));
        for bad in [
            address("SSU2", &[("s", &s), ("v", "2")]),
            address("NTCP2", &[("s", &s)]),
            address("NTCP2", &[("s", &s), ("v", "3")]),
            address("NTCP2", &[("s", &zero), ("v", "2")]),
            address("NTCP2", &[("s", &top), ("v", "2")]),
            address("NTCP2", &[("s", &short), ("v", "2")]),
            address("NTCP2", &[("i", "AAAA"), ("s", &s), ("v", "2")]),
        ] {
            assert_eq!(bad.to_ntcp2(), None);
        }
        for low in LOW_ORDER {
            let key = x25519::PublicKey(low);
            assert!(x25519::SecretKey::from_bytes([5; 32]).diffie_hellman(&key).is_err(), "{low:x?}");
            let s = base64::encode(&low);
            assert_eq!(address("NTCP2", &[("s", &s), ("v", "2")]).to_ntcp2(), None, "{low:x?}");
        }
        for len in [0, 15, 17, 32] {
            let i = base64::encode(&vec![1; len]);
            assert_eq!(address("NTCP2", &[("i", &i), ("s", &s), ("v", "2")]).to_ntcp2(), None, "an i of {len} bytes");
        }
        for port in ["0", "65536", "-1", "80 ", "+80", ""] {
            let bad = address("NTCP2", &[("host", "1.2.3.4"), ("port", port), ("s", &s), ("i", &i), ("v", "2")]);
            assert_eq!(bad.to_ntcp2().unwrap().endpoint(), None, "{port}");
        }
        for host in ["evil.example", "fe80::1%eth0", "1.2.3", "01.2.3.4"] {
            assert_eq!(address("NTCP2", &[("host", host)]).host(), None, "{host}");
        }
    }

    #[test]
    fn reserved_addresses_are_not_public() {
        for ip in [
            "0.0.0.0",
            "10.1.1.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.31.0.1",
            "192.168.1.1",
            "198.19.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002::1",
            "64:ff9b::1",
            "200::1",
            "3fff::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "223.255.255.1", "2a00::1", "2600::1", "2001:470::1"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    proptest! {
        #[test]
        fn what_decodes_re_encodes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut r = Reader::new(&bytes);
            if let Ok(address) = RouterAddress::decode(&mut r) {
                prop_assert_eq!(address.to_bytes(), &bytes[..bytes.len() - r.remaining()]);
                let _ = address.to_ntcp2();
            }
        }
    }
}
