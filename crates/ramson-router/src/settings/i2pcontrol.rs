//! Programs that watch and control the router.

use super::door::door;
use super::{At, Fault, Password};
use ramson_services::i2pcontrol::I2pControlConfig;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::Path;
use zeroize::Zeroizing;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct I2pControl {
    enabled: bool,
    listen: At,
    tls: bool,
    password: Option<Password>,
}

impl Default for I2pControl {
    fn default() -> Self {
        let listen = At(SocketAddr::from(([127, 0, 0, 1], 7650)));
        Self { enabled: false, listen, tls: true, password: None }
    }
}

impl I2pControl {
    /// What it is to be like, at a router with this data folder; `None` when it is off. Its TLS is not opened yet.
    pub(crate) fn config(&self, folder: &Path) -> Option<I2pControlConfig> {
        let password = self.password.as_ref().filter(|_| self.enabled)?;
        Some(I2pControlConfig { door: door(self.listen, None, folder), password: Zeroizing::new(password.0.clone()) })
    }

    /// Whether it speaks TLS.
    pub(crate) const fn is_by_tls(&self) -> bool {
        self.tls
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        let fault = |key, why: &str| Err(Fault { section: "i2pcontrol", at: None, key, why: why.to_owned() });
        if !self.enabled {
            return Ok(());
        }
        match &self.password {
            None => return fault("enabled", "needs a password beside it"),
            Some(password) if password.0.is_empty() => return fault("password", "must not be empty"),
            Some(_) => {}
        }
        if !self.listen.0.ip().is_loopback() && !self.tls {
            return fault("listen", "must be a loopback address without tls: the password passes here");
        }
        Ok(())
    }
}
