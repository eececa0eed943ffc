//! The SAM bridge.

use super::door::door;
use super::{At, Fault, Password};
use ramson_services::sam::SamConfig;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sam {
    /// Not said: on, unless something else listens there already.
    enabled: Option<bool>,
    listen: At,
    tls: bool,
    socket: Option<PathBuf>,
    udp: Udp,
    user: Option<String>,
    password: Option<Password>,
    auth_commands: bool,
    forward_anywhere: bool,
    forward_certificates: Option<PathBuf>,
}

/// Where datagrams come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Udp {
    Off,
    At(SocketAddr),
}

impl TryFrom<String> for Udp {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| "udp is \"off\", or an address in numbers with a port")
    }
}

impl Default for Sam {
    fn default() -> Self {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            enabled: None,
            listen: At(at(7656)),
            tls: false,
            socket: None,
            udp: Udp::At(at(7655)),
            user: None,
            password: None,
            auth_commands: false,
            forward_anywhere: false,
            forward_certificates: None,
        }
    }
}

impl Sam {
    /// What the bridge is to be like, at a router with this data folder; `None` when it is off. Its TLS is not opened yet.
    pub(crate) fn config(&self, folder: &Path) -> Option<SamConfig> {
        if self.enabled == Some(false) {
            return None;
        }
        let users = self.user.clone().zip(self.password.clone().map(|password| password.0));
        Some(SamConfig {
            door: door(self.listen, self.socket.as_deref(), folder),
            udp: match self.udp {
                Udp::Off => None,
                Udp::At(at) => Some(at),
            },
            users: users.into_iter().collect(),
            auth_commands: self.auth_commands,
            forward_anywhere: self.forward_anywhere,
            forward_certificates: self.forward_certificates.as_ref().map(|file| folder.join(file)),
        })
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
        let fault = |key, why: &str| Err(Fault { section: "sam", at: None, key, why: why.to_owned() });
        match (&self.user, &self.password) {
            (Some(_), None) => return fault("user", "needs a password beside it"),
            (None, Some(_)) => return fault("password", "needs a user beside it"),
            _ => {}
        }
        if self.enabled == Some(false) || self.password.is_some() {
            return Ok(());
        }
        let open = "is open to others: set user and password, or take a loopback address";
        if !self.listen.0.ip().is_loopback() {
            return fault("listen", open);
        }
        match self.udp {
            Udp::At(at) if !at.ip().is_loopback() => fault("udp", open),
            _ => Ok(()),
        }
    }
}
