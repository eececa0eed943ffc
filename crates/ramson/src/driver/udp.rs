//! Datagrams between the core and the UDP sockets.

use super::{Driver, Follow, HOLD, setup};
use crate::config::Config;
use crate::error::Error;
use crate::net::udp::{BATCH, BUFFER, Received, UdpReady, UdpSockets};
use ramson_core::router::{Datagrams, Input, UdpId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Batches that are read from one socket in one turn.
const ROUNDS: usize = 4;

/// Binds where the settings say: at the addresses of NTCP2 or all of both families, at the port of SSU2 or the one of
/// NTCP2. A family that the machine has not is left out. Where another program has the port of NTCP2 for UDP, and none was
/// asked for, it is another one.
pub(super) fn bind(config: &Config, listening: &[SocketAddr]) -> Result<UdpSockets, Error> {
    let mut sockets = UdpSockets::default();
    if !config.ssu2.enabled {
        return Ok(sockets);
    }
    let failed = |why| setup("cannot listen", &why);
    let port = |v4: bool| match config.ssu2.port {
        0 => listening.iter().find(|addr| addr.is_ipv4() == v4).map_or(0, SocketAddr::port),
        port => port,
    };
    let in_use =
        |bound: &std::io::Result<()>| bound.as_ref().is_err_and(|why| why.kind() == std::io::ErrorKind::AddrInUse);
    let mut add = |ip: IpAddr| {
        let addr = SocketAddr::new(ip, port(ip.is_ipv4()));
        let bound = sockets.add(addr);
        if in_use(&bound) && config.ssu2.port == 0 && addr.port() != 0 {
            tracing::warn!(port = addr.port(), "another program has this port of UDP: SSU2 takes another one");
            return sockets.add(SocketAddr::new(ip, 0));
        }
        bound
    };
    for addr in &config.ntcp2.bind {
        add(addr.ip()).map_err(failed)?;
    }
    if config.ntcp2.bind.is_empty() {
        let v4 = add(Ipv4Addr::UNSPECIFIED.into());
        let v6 = add(Ipv6Addr::UNSPECIFIED.into());
        if in_use(&v4) || v6.is_err() && v4.is_err() {
            v4.map_err(failed)?;
        }
        if in_use(&v6) {
            v6.map_err(failed)?;
        }
    }
    Ok(sockets)
}

impl Driver {
    pub(super) fn handle_udp(&mut self, ready: UdpReady) {
        match ready {
            UdpReady::Readable(socket) => self.read_udp(socket),
            UdpReady::Writable(socket) => {
                if self.udp.writable(socket) {
                    self.input(Input::UdpBlocked { socket, blocked: false });
                }
            }
        }
    }

    /// Hands datagrams to the core. Those that were read together are taken in before what they lead to is sent: one
    /// acknowledgement answers many.
    fn read_udp(&mut self, socket: UdpId) {
        let mut buffer = std::mem::take(&mut self.udp_buffer);
        for _ in 0..ROUNDS {
            let mut received: [Option<Received>; BATCH] = [None; BATCH];
            let read = self.udp.receive(socket, &mut buffer, &mut received);
            for (at, (chunk, received)) in buffer.chunks_mut(BUFFER).zip(received).take(read).enumerate() {
                let Some(Received { from, to, len, segment, congested }) = received else { continue };
                let Some(bytes) = chunk.get_mut(..len).filter(|bytes| !bytes.is_empty()) else { continue };
                let more = at + 1 < read && self.held + len < HOLD;
                self.input(Input::Udp { socket, from, to, segment, bytes, congested, more });
            }
            if read < BATCH || self.is_reading_paused() {
                break;
            }
        }
        self.udp_buffer = buffer;
        self.seal_held();
    }

    pub(super) fn send_udp(&mut self, datagrams: Datagrams) {
        let socket = datagrams.socket;
        if self.udp.send(datagrams) {
            self.inputs.push_back(Follow::Blocked(socket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bind: &[&str], port: u16) -> Config {
        let mut config = Config::private("/nowhere", 99);
        config.ssu2.enabled = true;
        config.ssu2.port = port;
        config.ntcp2.bind = bind.iter().map(|addr| addr.parse().unwrap()).collect();
        config
    }

    #[tokio::test]
    async fn without_the_setting_there_is_no_socket() {
        let mut config = config(&["127.0.0.1:0"], 0);
        config.ssu2.enabled = false;
        assert!(bind(&config, &[]).unwrap().addresses().is_empty());
    }

    #[tokio::test]
    async fn sockets_stand_beside_the_listeners_at_their_port_or_their_own() {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let beside = bind(&config(&["127.0.0.1:0"], 0), &[free]).unwrap();
        assert_eq!(beside.addresses(), [free]);
        assert!(bind(&config(&["127.0.0.1:0"], free.port()), &[]).is_err(), "in use");
        drop(beside);
        assert_eq!(bind(&config(&["127.0.0.1:0"], free.port()), &[]).unwrap().addresses(), [free]);
        let both = bind(&config(&["127.0.0.1:0", "[::1]:0"], 0), &[]).unwrap().addresses();
        assert!(both[0].is_ipv4() && both[1].is_ipv6());
        let all = bind(&config(&[], 0), &[]).unwrap().addresses();
        assert!(all.iter().all(|addr| addr.ip().is_unspecified()) && !all.is_empty());
    }

    #[tokio::test]
    async fn a_port_that_another_program_has_is_left_to_it_unless_it_was_asked_for() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        let bound = bind(&config(&["127.0.0.1:0"], 0), &[at]).unwrap().addresses();
        assert!(bound.len() == 1 && bound[0].port() != at.port() && bound[0].port() != 0, "{bound:?}");
        assert!(bind(&config(&["127.0.0.1:0"], at.port()), &[]).is_err());
    }

    /// Datagrams that belong to no session are read and thrown away, however many, and cost nothing else.
    #[tokio::test]
    async fn a_router_with_udp_lives_through_a_flood_of_noise() {
        let dir = tempfile::tempdir().unwrap();
        let at = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut config = Config { data_dir: dir.path().to_owned(), ..config(&["127.0.0.1:0"], at.port()) };
        config.ntcp2.publish = config.ntcp2.bind.clone();
        let ramson = crate::Ramson::start(config).await.unwrap();
        let noise = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for n in 0..2_000usize {
            let _ = noise.send_to(&vec![n.to_le_bytes()[0]; n % 1_473], at);
        }
        let status = ramson.status().await.unwrap();
        assert_eq!(status.network_id, 99);
        ramson.shutdown().await;
        ramson.stopped().await;
        assert!(std::net::UdpSocket::bind(at).is_ok(), "the port is free again");
    }

    /// Nobody is at the TCP address that both tell: the session is one over UDP, on real sockets.
    #[tokio::test]
    async fn two_routers_meet_over_udp() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = |at: usize| {
            let mut config = Config { data_dir: dirs[at].path().to_owned(), ..config(&["127.0.0.1:0"], 0) };
            config.ntcp2.publish = vec![nobody];
            config
        };
        crate::driver::start::tests::meet(dirs[0].path(), config).await;
    }
}
