//! UPnP's Internet Gateway Device, by the crate `igd-next`.
//!
//! The crate would fetch a description from whoever answers its search. So it searches through us: we ask the local
//! network, and hand on what comes from the gateway alone; and it takes no address but the gateway's.

use super::Ports;
use super::gateway::{Forwarded, LIFETIME, Lan, Protocol};
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, GatewayIpVersion, PortMappingProtocol, SearchOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;
use tokio::net::UdpSocket;

type Gateway = igd_next::aio::Gateway<Tokio>;

/// Where gateways listen for searches.
pub(super) const MULTICAST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);
/// A search, with the fetching of the description.
const SEARCH: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(2);
/// Datagrams of the local network that are looked at in one search.
const ANSWERS: usize = 64;
const DATAGRAM: usize = 1_500;
/// Other ports that are tried where somebody has ours.
const OTHER_PORTS: u16 = 3;

const fn protocol(of: Protocol) -> PortMappingProtocol {
    match of {
        Protocol::Udp => PortMappingProtocol::UDP,
        Protocol::Tcp => PortMappingProtocol::TCP,
    }
}

/// Finds the gateway and asks for each port. What is refused is left out where another one is not.
pub(super) async fn ask(lan: Lan, ports: Ports, ssdp: SocketAddrV4) -> Result<Vec<Forwarded>, String> {
    let gateway = search(lan, ssdp).await?;
    let outside = match gateway.get_external_ip().await {
        Ok(IpAddr::V4(ip)) => ip,
        Ok(IpAddr::V6(_)) => return Err("it says that it has no IPv4 address".to_owned()),
        Err(why) => return Err(why.to_string()),
    };
    let mut forwarded = Vec::new();
    let mut last = String::new();
    for (what, port) in ports.each() {
        match forward(&gateway, lan, what, port.get()).await {
            Ok((port, lifetime)) => {
                forwarded.push(Forwarded { protocol: what, outside: SocketAddrV4::new(outside, port), lifetime });
            }
            Err(why) => last = why.to_string(),
        }
    }
    if forwarded.is_empty() && !last.is_empty() { Err(last) } else { Ok(forwarded) }
}

/// The port outside, and for how long.
async fn forward(gateway: &Gateway, lan: Lan, what: Protocol, port: u16) -> Result<(u16, Duration), AddPortError> {
    let inside = SocketAddr::from((lan.ours, port));
    let (mut outside, mut lease, mut others) = (port, LIFETIME, 0);
    loop {
        // The words are seen by all in the local network; they name no program.
        match gateway.add_port(protocol(what), outside, inside, lease, "port").await {
            Ok(()) => return Ok((outside, Duration::from_secs(LIFETIME.into()))),
            Err(AddPortError::OnlyPermanentLeasesSupported) if lease > 0 => lease = 0,
            Err(AddPortError::PortInUse) if others < OTHER_PORTS => {
                others += 1;
                // The ports of the range that routers draw theirs from, above and below.
                outside = 9_000 + (port ^ (others << 11)) % 22_000;
            }
            Err(why) => return Err(why),
        }
    }
}

/// Deletes what was forwarded.
pub(super) async fn take_back(lan: Lan, forwarded: &[Forwarded], ssdp: SocketAddrV4) {
    let Ok(gateway) = search(lan, ssdp).await else { return };
    for one in forwarded {
        if let Err(why) = gateway.remove_port(protocol(one.protocol), one.outside.port()).await {
            tracing::debug!("the gateway keeps a mapping: {why}");
        }
    }
}

async fn search(lan: Lan, ssdp: SocketAddrV4) -> Result<Gateway, String> {
    let failed = |why: io::Error| why.to_string();
    let relay = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    let mut options = SearchOptions::default();
    options.bind_addr = (Ipv4Addr::LOCALHOST, 0).into();
    options.broadcast_address = relay.local_addr().map_err(failed)?;
    options.timeout = Some(SEARCH);
    options.single_search_timeout = Some(ANSWER);
    options.gateway_ip_version = GatewayIpVersion::V4;
    options.allowed_gateway_ips = vec![lan.gateway.into()];
    let outside = outside(lan).map_err(failed)?;
    // The search ends by its own timeout, and with it the relay.
    tokio::select! {
        found = search_gateway(options) => found.map_err(|why| why.to_string()),
        why = hand_on(&relay, &outside, lan, ssdp) => Err(why.to_string()),
    }
}

/// A socket in the local network; what it sends to a group goes no further than that (TTL 1).
fn outside(lan: Lan) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((lan.ours, 0))?;
    socket.set_multicast_ttl_v4(1)?;
    socket2::SockRef::from(&socket).set_multicast_if_v4(&lan.ours)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Searches go out, answers of the gateway come back. Ends with an error only.
async fn hand_on(relay: &UdpSocket, outside: &UdpSocket, lan: Lan, ssdp: SocketAddrV4) -> io::Error {
    let (mut asked, mut answered) = ([0; DATAGRAM], [0; DATAGRAM]);
    let mut asker = None;
    for _ in 0..ANSWERS {
        tokio::select! {
            got = relay.recv_from(&mut asked) => match got {
                Ok((len, from)) if asker.is_none_or(|asker| asker == from) => {
                    asker = Some(from);
                    if let Err(why) = outside.send_to(asked.get(..len).unwrap_or_default(), ssdp).await {
                        return why;
                    }
                }
                Ok(_) => {}
                Err(why) => return why,
            },
            got = outside.recv_from(&mut answered) => match (got, asker) {
                (Ok((len, from)), Some(asker)) if from.ip() == IpAddr::V4(lan.gateway) => {
                    // Who has gone away has found something.
                    let _ = relay.send_to(answered.get(..len).unwrap_or_default(), asker).await;
                }
                (Ok(_), _) => {}
                (Err(why), _) => return why,
            },
        }
    }
    io::Error::other("too many answers to a search")
}
