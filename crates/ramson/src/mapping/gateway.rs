//! What is asked of a gateway, and what it forwards, in whatever way it is spoken to.

use super::Ports;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::Duration;

/// How long a mapping is asked for, in seconds; RFC 6886 recommends it.
pub(super) const LIFETIME: u32 = 7_200;

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

impl Ports {
    pub(super) fn each(self) -> impl Iterator<Item = (Protocol, NonZeroU16)> {
        [(Protocol::Udp, self.udp), (Protocol::Tcp, self.tcp)]
            .into_iter()
            .filter_map(|(what, port)| Some((what, port?)))
    }
}

/// A port that the gateway forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    pub(super) protocol: Protocol,
    pub(super) outside: SocketAddrV4,
    pub(super) lifetime: Duration,
}

/// Who asks, and whom: our address in the local network and the gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lan {
    pub(super) gateway: Ipv4Addr,
    pub(super) ours: Ipv4Addr,
}
