//! `[port_mapping]`: whether the gateway is asked to forward ports.

use ramson::config::{PortMapping as Wish, PortMappingConfig};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt::Formatter;
use std::net::Ipv4Addr;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PortMapping {
    enabled: Enabled,
    gateway: Option<Gateway>,
}

impl PortMapping {
    pub(super) fn config(&self) -> PortMappingConfig {
        PortMappingConfig { wish: self.enabled.0, gateway: self.gateway.as_ref().map(|gateway| gateway.0) }
    }
}

/// true, false or "auto".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Enabled(Wish);

impl Enabled {
    /// The same as a word; what "auto" means is for the section to say.
    pub(super) const fn or(&self, auto: bool) -> bool {
        match self.0 {
            Wish::Yes => true,
            Wish::No => false,
            Wish::Auto => auto,
        }
    }
}

impl<'de> Deserialize<'de> for Enabled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl Visitor<'_> for Of {
            type Value = Enabled;
            fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false or \"auto\"")
            }
            fn visit_bool<E: Error>(self, yes: bool) -> Result<Enabled, E> {
                Ok(Enabled(if yes { Wish::Yes } else { Wish::No }))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Enabled, E> {
                match text {
                    "auto" => Ok(Enabled(Wish::Auto)),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Of)
    }
}

/// An address of the local network.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gateway(Ipv4Addr);

impl<'de> Deserialize<'de> for Gateway {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let addr = Ipv4Addr::deserialize(deserializer)?;
        let of_home = addr.is_private() || addr.is_link_local() || addr.is_loopback();
        if of_home { Ok(Self(addr)) } else { Err(D::Error::custom("must be an address of the local network")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PortMappingConfig, String> {
        toml::from_str::<PortMapping>(text).map(|read| read.config()).map_err(|why| why.to_string())
    }

    #[test]
    fn it_is_yes_no_or_auto_and_the_gateway_is_at_home() {
        assert_eq!(read("").unwrap(), PortMappingConfig::default());
        assert_eq!(read("").unwrap().wish, Wish::Auto);
        assert_eq!(read("enabled = \"auto\"").unwrap().wish, Wish::Auto);
        assert_eq!(read("enabled = false").unwrap().wish, Wish::No);
        let all = read("enabled = true\ngateway = \"192.168.7.1\"").unwrap();
        assert_eq!((all.wish, all.gateway), (Wish::Yes, Some(Ipv4Addr::new(192, 168, 7, 1))));
        for bad in ["enabled = \"yes\"", "enabled = 1", "gateway = \"8.8.8.8\"", "gateway = \"x\"", "on = true"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("gateway = \"8.8.8.8\"").unwrap_err().contains("local network"));
    }
}
