//! The proxies of HTTP and SOCKS.

use super::tunnels::{Shape, Way, shaped};
use super::{At, Fault, Hops, OneOrMany, Password, Quantity, To};
use ramson_services::OutproxyConfig;
use serde::Deserialize;
use std::net::SocketAddr;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpProxy {
    pub(crate) enabled: bool,
    pub(crate) listen: At,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Password>,
    /// Each site sees another destination.
    pub(crate) per_site: bool,
    outproxy: OneOrMany<To>,
    outproxy_port: u16,
    outproxy_plain: bool,
    hops: Hops,
    quantity: Quantity,
    extra_hops: Option<Hops>,
    inbound: Way,
    outbound: Way,
    compress: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Socks {
    /// Not said: on, unless something else listens there already.
    enabled: Option<bool>,
    pub(crate) listen: At,
    outproxy: OneOrMany<To>,
    outproxy_port: u16,
    outproxy_plain: bool,
    hops: Hops,
    quantity: Quantity,
    extra_hops: Option<Hops>,
    inbound: Way,
    outbound: Way,
    compress: bool,
}

impl Default for HttpProxy {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: At(SocketAddr::from(([127, 0, 0, 1], 4444))),
            user: None,
            password: None,
            per_site: false,
            outproxy: OneOrMany::default(),
            outproxy_port: 0,
            outproxy_plain: false,
            hops: Hops::default(),
            quantity: Quantity::default(),
            extra_hops: None,
            inbound: Way::default(),
            outbound: Way::default(),
            compress: false,
        }
    }
}

impl Default for Socks {
    fn default() -> Self {
        Self {
            enabled: None,
            listen: At(SocketAddr::from(([127, 0, 0, 1], 4447))),
            outproxy: OneOrMany::default(),
            outproxy_port: 0,
            outproxy_plain: false,
            hops: Hops::default(),
            quantity: Quantity::default(),
            extra_hops: None,
            inbound: Way::default(),
            outbound: Way::default(),
            compress: false,
        }
    }
}

shaped!(HttpProxy, Socks);

macro_rules! proxy {
    ($($what:ty, $section:literal);*) => {$(
        impl $what {
            /// The way to the clear net.
            pub(crate) fn outproxy(&self) -> Option<OutproxyConfig> {
                let to: Vec<_> = self.outproxy.0.iter().map(|to| to.0.clone()).collect();
                let (port, plain) = (self.outproxy_port, self.outproxy_plain);
                (!to.is_empty()).then_some(OutproxyConfig { to, port, plain })
            }

            fn check_rest(&self) -> Result<(), Fault> {
                let fault = |key, why: &str| Err(Fault { section: $section, at: None, key, why: why.to_owned() });
                if self.outproxy.0.len() > ramson_services::limits::TARGETS {
                    return fault("outproxy", "must be at most 16 destinations");
                }
                if self.outproxy_plain && self.outproxy.0.is_empty() {
                    return fault("outproxy_plain", "needs an outproxy beside it");
                }
                self.shape().fault().map_or(Ok(()), |key| fault(key, "makes tunnels of more than 7 hops"))
            }
        }
    )*};
}
proxy!(HttpProxy, "http_proxy"; Socks, "socks");

impl HttpProxy {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let fault = |key, why: &str| Err(Fault { section: "http_proxy", at: None, key, why: why.to_owned() });
        match (&self.user, &self.password) {
            (Some(_), None) => return fault("user", "needs a password beside it"),
            (None, Some(_)) => return fault("password", "needs a user beside it"),
            _ => {}
        }
        if self.enabled && self.password.is_none() && !self.listen.0.ip().is_loopback() {
            return fault("listen", "is open to others: set user and password, or take a loopback address");
        }
        self.check_rest()
    }
}

impl Socks {
    pub(crate) fn is_on(&self) -> bool {
        self.enabled != Some(false)
    }

    /// Whether the router must not run without it.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.enabled == Some(true)
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.is_on() && !self.listen.0.ip().is_loopback() {
            let why = "must be a loopback address: SOCKS has no lock".to_owned();
            return Err(Fault { section: "socks", at: None, key: "listen", why });
        }
        self.check_rest()
    }
}
