//! Who can dial whom, by what RouterInfos publish. Specification notes, part A6.

use ramson_wire::data::{RouterAddress, RouterInfo};

/// The transports and families by which a router can be dialled, and by which it dials. One bit each: NTCP2 over IPv4,
/// NTCP2 over IPv6, SSU2 over IPv4, SSU2 over IPv6. Introducers are not counted: they reach some peers, not all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    published: u8,
    dials: u8,
}

impl Reach {
    pub const NTCP2_V4: u8 = 1;
    pub const NTCP2_V6: u8 = 2;
    pub const SSU2_V4: u8 = 4;
    pub const SSU2_V6: u8 = 8;

    pub const fn new(published: u8, dials: u8) -> Self {
        Self { published, dials }
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
    }

    /// Whether this router can dial `other`.
    pub const fn can_dial(self, other: Self) -> bool {
        self.dials & other.published != 0
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
