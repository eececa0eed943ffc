//! The door of programs that speak I2CP.

use super::door::door;
use super::{At, Fault, Password};
use ramson_services::i2cp::I2cpConfig;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct I2cp {
    /// Not said: on, unless something else listens there already.
    enabled: Option<bool>,
    listen: At,
    tls: bool,
    socket: Option<PathBuf>,
    user: Option<String>,
    password: Option<Password>,
}

impl Default for I2cp {
    fn default() -> Self {
        let listen = At(SocketAddr::from(([127, 0, 0, 1], 7654)));
        Self { enabled: None, listen, tls: false, socket: None, user: None, password: None }
    }
}

impl I2cp {
    /// What it is to be like, at a router with this data folder and these limits of bandwidth; `None` when it is off. Its
    /// TLS is not opened yet.
    pub(crate) fn config(&self, folder: &Path, limits: (Option<u64>, Option<u64>)) -> Option<I2cpConfig> {
        if self.enabled == Some(false) {
            return None;
        }
        let users = self.user.clone().zip(self.password.clone().map(|password| password.0));
        let door = door(self.listen, self.socket.as_deref(), folder);
        Some(I2cpConfig { door, users: users.into_iter().collect(), limits })
    }

    /// Whether it speaks TLS.
    pub(crate) const fn is_by_tls(&self) -> bool {
        self.tls
    }

    /// Whether the router must not run without it.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.enabled == Some(true)
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        let fault = |key, why: &str| Err(Fault { section: "i2cp", at: None, key, why: why.to_owned() });
        match (&self.user, &self.password) {
            (Some(_), None) => return fault("user", "needs a password beside it"),
            (None, Some(_)) => return fault("password", "needs a user beside it"),
            _ => {}
        }
        let safe = self.tls && self.password.is_some();
        if self.enabled != Some(false) && !self.listen.0.ip().is_loopback() && !safe {
            return fault("listen", "must be a loopback address, or have tls, user and password: keys pass here");
        }
        Ok(())
    }
}
