//! The task that asks the gateway, in each of the ways, and keeps what it forwards.

use super::gateway::{Forwarded, Lan, Protocol};
use super::{Ports, pmp, route, upnp};
use crate::config::Config;
use ramson_core::router::Mapped;
use ramson_wire::data::router_address::is_public;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

/// A mapping is asked for again after half of its time, but neither sooner nor later than this.
const RENEWAL: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(1_800));
/// After a failure it is tried again, later each time.
const RETRY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));
/// All that one way of asking may take.
const PATIENCE: Duration = Duration::from_secs(12);

/// How the gateway is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Pcp,
    NatPmp,
    Upnp,
}

impl Method {
    const ALL: [Self; 3] = [Self::Pcp, Self::NatPmp, Self::Upnp];

    const fn name(self) -> &'static str {
        match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        }
    }
}

/// Asks the gateway, and asks again.
pub(super) struct Mapper {
    gateway: Option<Ipv4Addr>,
    ports: Ports,
    allow_reserved: bool,
    ssdp: SocketAddrV4,
    said: Sender<Option<Mapped>>,
    /// Who asks with it may change and delete what it has (PCP).
    nonce: [u32; 3],
    /// What worked the last time, and with whom.
    method: Option<(Method, Lan, Vec<Forwarded>)>,
}

impl Mapper {
    pub(super) fn new(config: &Config, ports: Ports, said: Sender<Option<Mapped>>) -> Self {
        Self {
            gateway: config.port_mapping.gateway,
            ports,
            allow_reserved: config.network.allow_reserved_addresses,
            ssdp: upnp::MULTICAST,
            said,
            nonce: nonce(),
            method: None,
        }
    }

    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut retry = RETRY.0;
        loop {
            let round = tokio::select! {
                round = self.round() => round,
                _ = &mut stopped => break,
            };
            let pause = match round {
                Some(lifetime) => {
                    retry = RETRY.0;
                    (lifetime / 2).clamp(RENEWAL.0, RENEWAL.1)
                }
                None => {
                    let pause = retry;
                    retry = (retry * 2).min(RETRY.1);
                    pause
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = &mut stopped => break,
            }
        }
        self.take_back().await;
    }

    /// Asks for all ports once, first by what worked the last time. The shortest time that a port is forwarded.
    async fn round(&mut self) -> Option<Duration> {
        let Some(lan) = self.lan() else {
            let _ = self.said.send(None).await;
            return None;
        };
        let known = self.method.as_ref().map(|(method, ..)| *method);
        let mut ways: Vec<Method> = known.into_iter().collect();
        ways.extend(Method::ALL.into_iter().filter(|way| Some(*way) != known));
        for way in ways {
            let asked = tokio::time::timeout(PATIENCE, self.ask(way, lan)).await;
            match asked.unwrap_or_else(|_| Err("it takes too long".to_owned())) {
                Ok(forwarded) => {
                    if let Some(mapped) = self.take_in(way, lan, &forwarded) {
                        let lifetime = forwarded.iter().map(|one| one.lifetime).min();
                        if self.method.is_none() {
                            tracing::info!("the gateway forwards ports to the router, by {}", way.name());
                        }
                        self.method = Some((way, lan, forwarded));
                        let _ = self.said.send(Some(mapped)).await;
                        return lifetime;
                    }
                    // It forwards, but from an address that nobody else can send to.
                    tracing::debug!("the gateway has no public address itself, it says by {}", way.name());
                    self.method = Some((way, lan, forwarded));
                    break;
                }
                Err(why) => tracing::debug!("the gateway forwards nothing by {}: {why}", way.name()),
            }
        }
        let _ = self.said.send(None).await;
        None
    }

    /// What is told to the core; nothing where the address is none that others could use.
    fn take_in(&self, way: Method, lan: Lan, forwarded: &[Forwarded]) -> Option<Mapped> {
        let usable = |addr: &SocketAddrV4| {
            let ip = *addr.ip();
            let somewhere = !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast() && addr.port() != 0;
            somewhere && (is_public(ip.into()) || self.allow_reserved)
        };
        let of = |protocol| {
            let mut of_it = forwarded.iter().filter(|one| one.protocol == protocol).map(|one| one.outside);
            of_it.find(usable).map(SocketAddr::V4)
        };
        let mapped =
            Mapped { gateway: lan.gateway.into(), by: way.name(), udp: of(Protocol::Udp), tcp: of(Protocol::Tcp) };
        (mapped.udp.is_some() || mapped.tcp.is_some()).then_some(mapped)
    }

    /// The gateway, if it is one of a local network and we have an address there.
    fn lan(&self) -> Option<Lan> {
        let gateway = self.gateway.or_else(route::default_gateway)?;
        if is_public(gateway.into()) || gateway.is_unspecified() || gateway.is_multicast() || gateway.is_broadcast() {
            return None;
        }
        // Connecting a UDP socket looks at the routes only.
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((gateway, 9)).ok()?;
        match socket.local_addr().ok()?.ip() {
            IpAddr::V4(ours) if !ours.is_unspecified() => Some(Lan { gateway, ours }),
            _ => None,
        }
    }

    async fn ask(&self, way: Method, lan: Lan) -> Result<Vec<Forwarded>, String> {
        let forwarded = match way {
            Method::Pcp => pmp::ask(Some(self.nonce), lan, self.ports).await?,
            Method::NatPmp => pmp::ask(None, lan, self.ports).await?,
            Method::Upnp => upnp::ask(lan, self.ports, self.ssdp).await?,
        };
        if forwarded.is_empty() { Err("it forwards none of the ports".to_owned()) } else { Ok(forwarded) }
    }

    async fn take_back(&mut self) {
        let Some((way, lan, forwarded)) = self.method.take() else { return };
        match way {
            Method::Pcp | Method::NatPmp => {
                pmp::take_back((way == Method::Pcp).then_some(self.nonce), lan, self.ports).await;
            }
            Method::Upnp => upnp::take_back(lan, &forwarded, self.ssdp).await,
        }
    }
}

/// Whoever guesses it could take our mapping away; a system without randomness has other troubles.
fn nonce() -> [u32; 3] {
    let mut bytes = [0; 12];
    let _ = getrandom::fill(&mut bytes);
    let mut nonce = [0; 3];
    for (word, bytes) in nonce.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    nonce
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
