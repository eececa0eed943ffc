//! Which addresses may be dialled, and which one of a RouterInfo is.

use ramson_wire::data::router_address::is_public;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What the configuration says about addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRules {
    /// Dial private, loopback and other reserved ranges too: for private networks only.
    pub allow_reserved: bool,
    pub ipv4: bool,
    pub ipv6: bool,
}

impl AddressRules {
    /// Whether a peer at this address may be dialled (threats P-42, T9, T10).
    pub fn allows(&self, addr: &SocketAddr) -> bool {
        let family = if addr.is_ipv4() { self.ipv4 } else { self.ipv6 };
        family && usable(addr.ip()) && allowed_port(addr.port()) && (self.allow_reserved || is_public(addr.ip()))
    }
}

/// Addresses that never name one host, whatever the configuration says.
fn usable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && ip.to_ipv4_mapped().is_none(),
    }
}

/// Ports of well-known services are not dialled: nobody shall aim us at somebody's mail or name server.
fn allowed_port(port: u16) -> bool {
    const FOREIGN: [u16; 12] = [22, 25, 53, 110, 143, 465, 587, 993, 995, 3389, 6667, 6697];
    port != 0 && !FOREIGN.contains(&port)
}

/// The unit in which inbound connections are counted: an IPv4 address, or an IPv6 /64 (threats P-40).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl From<IpAddr> for Origin {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// The unit in which requests are counted beside routers: an IPv4 /24, or an IPv6 /48. Many routers of one owner stand
/// there for little money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefix {
    V4([u8; 3]),
    V6([u16; 3]),
}

impl From<IpAddr> for Prefix {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, ..] = ip.segments();
                Self::V6([a, b, c])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_those_of_one_owner() {
        let prefix = |ip: &str| Prefix::from(ip.parse::<IpAddr>().unwrap());
        assert_eq!(prefix("192.0.2.1"), prefix("::ffff:192.0.2.200"));
        assert_ne!(prefix("192.0.2.1"), prefix("192.0.3.1"));
        assert_eq!(prefix("2001:db8:1:2::3"), prefix("2001:db8:1:ffff::"));
        assert_ne!(prefix("2001:db8:1::"), prefix("2001:db8:2::"));
    }

    const PUBLIC: AddressRules = AddressRules { allow_reserved: false, ipv4: true, ipv6: true };

    /// Threats T9, T10 and P-42.
    #[test]
    fn t9_t10_reserved_addresses_and_foreign_ports_are_never_dialled() {
        for bad in [
            "127.0.0.1:9000",
            "10.1.2.3:9000",
            "192.168.1.1:9000",
            "172.16.0.1:9000",
            "169.254.1.1:9000",
            "100.64.0.1:9000",
            "192.0.2.1:9000",
            "198.18.0.1:9000",
            "0.0.0.0:9000",
            "224.0.0.1:9000",
            "255.255.255.255:9000",
            "8.8.8.8:0",
            "8.8.8.8:25",
            "8.8.8.8:53",
            "8.8.8.8:22",
            "8.8.8.8:6667",
            "[::1]:9000",
            "[::]:9000",
            "[fe80::1]:9000",
            "[fc00::1]:9000",
            "[ff02::1]:9000",
            "[::ffff:8.8.8.8]:9000",
            "[2001:db8::1]:9000",
            "[2001::1]:9000",
            "[2002::1]:9000",
            "[64:ff9b::1]:9000",
        ] {
            assert!(!PUBLIC.allows(&bad.parse().unwrap()), "{bad}");
        }
        for good in ["8.8.8.8:9000", "20.30.7.1:23456", "[2a00:1450::1]:9000"] {
            assert!(PUBLIC.allows(&good.parse().unwrap()), "{good}");
        }
        let private = AddressRules { allow_reserved: true, ..PUBLIC };
        assert!(private.allows(&"10.10.0.1:23456".parse().unwrap()));
        assert!(!private.allows(&"0.0.0.0:23456".parse().unwrap()));
        assert!(!AddressRules { ipv6: false, ..PUBLIC }.allows(&"[2a00:1450::1]:9000".parse().unwrap()));
    }

    #[test]
    fn p40_one_slash_64_is_one_origin() {
        let origin = |s: &str| Origin::from(s.parse::<IpAddr>().unwrap());
        assert_eq!(origin("2a00:1::1"), origin("2a00:1::ffff:1"));
        assert_ne!(origin("2a00:1::1"), origin("2a00:1:0:1::1"));
        assert_eq!(origin("::ffff:1.2.3.4"), origin("1.2.3.4"));
    }
}
