//! Who can dial whom, by what RouterInfos publish. Specification notes, part A6.

use ramson_wire::data::{RouterAddress, RouterInfo};

/// The transports and families by which a router can be dialled, and by which it dials. One bit each: NTCP2 over IPv4,
/// NTCP2 over IPv6, SSU2 over IPv4, SSU2 over IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    published: u8,
    /// By which it can be dialled with the help of introducers, which takes seconds and may fail.
    introduced: u8,
    dials: u8,
}

impl Reach {
    pub const NTCP2_V4: u8 = 1;
    pub const NTCP2_V6: u8 = 2;
    pub const SSU2_V4: u8 = 4;
    pub const SSU2_V6: u8 = 8;

    pub const fn new(published: u8, dials: u8) -> Self {
        Self { published, introduced: 0, dials }
    }

    pub fn of(info: &RouterInfo) -> Self {
        let mut reach = Self::default();
        for address in info.addresses() {
            let (v4, v6) = match address.style() {
                "NTCP2" | "NTCP" => (Self::NTCP2_V4, Self::NTCP2_V6),
                "SSU2" | "SSU" => (Self::SSU2_V4, Self::SSU2_V6),
                _ => continue,
            };
            reach.add(address, v4, v6);
        }
        reach
    }

    fn add(&mut self, address: &RouterAddress, v4: u8, v6: u8) {
        let of_host = address.host().map(|host| if host.is_ipv4() { v4 } else { v6 });
        let caps = address.options.get("caps").unwrap_or_default();
        let of_caps = (u8::from(caps.contains('4')) * v4) | (u8::from(caps.contains('6')) * v6);
        self.dials |= of_host.unwrap_or(0) | of_caps;
        if let Some(bit) = of_host
            && address.port().is_some()
            && address.options.get("i").is_some()
        {
            self.published |= bit;
        }
        if of_host.is_none() && address.options.get("ih0").is_some() {
            self.introduced |= of_caps & (Self::SSU2_V4 | Self::SSU2_V6);
        }
    }

    /// Whether this router can dial `other`.
    pub const fn can_dial(self, other: Self) -> bool {
        self.dials & other.published != 0
    }

    /// Whether this router reaches `other` at all, by introducers if need be. Good enough for a link of ours; who chooses
    /// hops that dial each other asks [`Reach::can_dial`].
    pub const fn can_reach(self, other: Self) -> bool {
        self.can_dial(other) || self.dials & other.introduced != 0
    }

    /// Whether anybody can dial this router.
    pub const fn is_published(self) -> bool {
        self.published != 0
    }

    /// Whether it can be dialled over IPv4, as an inbound gateway must be.
    pub const fn is_published_v4(self) -> bool {
        self.published & (Self::NTCP2_V4 | Self::SSU2_V4) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::RouterKeys;
    use crate::link::Introduced;
    use crate::own_info::{OwnInfo, at_hosts};
    use crate::rng::Rng;
    use crate::tunnel::Congestion;
    use ramson_wire::data::Hash;

    fn reach(published: &[&str], udp: &[&str], introduced: &[bool]) -> Reach {
        let one = |v4: &bool| Introduced { router: Hash([1; 32]), v4: *v4, tag: 7, expires: 1 };
        let parse = |all: &[&str]| all.iter().map(|addr| addr.parse().unwrap()).collect::<Vec<_>>();
        let own = OwnInfo {
            network_id: 99,
            bandwidth: 'L',
            published: parse(published),
            udp: parse(udp),
            udp_published: at_hosts(&parse(published), &parse(udp)),
            hidden: false,
            introducers: introduced.iter().map(one).collect(),
            ipv4: true,
            ipv6: true,
            floodfill: false,
            congestion: Congestion::None,
        };
        Reach::of(&own.sign(&RouterKeys::generate(&mut Rng::from_seed([1; 32])), 5).unwrap())
    }

    /// A router that is introduced is reached by those who have its family over UDP; nobody takes that for an address.
    #[test]
    fn introducers_reach_but_are_no_address() {
        let sockets = ["0.0.0.0:7000", "[::]:7000"];
        let (hidden, introduced) = (reach(&[], &sockets, &[]), reach(&[], &sockets, &[true]));
        let open = reach(&["1.2.3.4:9000"], &["0.0.0.0:7000"], &[]);
        let (v4, v6) = (Reach::new(0, Reach::SSU2_V4), Reach::new(0, Reach::SSU2_V6));
        assert!(!introduced.is_published() && !v4.can_dial(introduced) && v4.can_reach(introduced));
        assert!(!v6.can_reach(introduced) && v6.can_reach(reach(&[], &sockets, &[false])));
        assert!(!Reach::new(0, Reach::NTCP2_V4).can_reach(introduced), "there are none for TCP");
        assert!(!v4.can_reach(hidden) && introduced.can_dial(open) && v4.can_reach(open));
    }
}
