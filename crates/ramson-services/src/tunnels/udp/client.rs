//! A local UDP port that leads to a destination.

use super::{Inbox, Pace, UdpFormat, acknowledgement, number_of, receive, send, sender};
use crate::limits::{UDP_SESSION_TIME, UDP_SESSIONS};
use crate::names::{Host, Names};
use crate::outlet::{Counted, Inside, Outlet, Traffic, target};
use ramson::{Datagram, DatagramFormat, Error, ErrorKind, Hash, Mapping, OutgoingDatagram};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;

/// Where a UDP client tunnel leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpClientConfig {
    pub name: String,
    /// On loopback.
    pub listen: SocketAddr,
    /// A name or b32 address.
    pub to: Host,
    /// The port there.
    pub port: u16,
    pub format: UdpFormat,
}

/// A UDP client tunnel at its port.
#[derive(Debug)]
pub struct UdpClient {
    config: UdpClientConfig,
    socket: Arc<UdpSocket>,
    outlet: Outlet,
    names: Arc<Names>,
    programs: Programs,
    open: Option<Open>,
}

/// The destination while it is used, and whom it talks to.
#[derive(Debug)]
struct Open {
    inside: Inside,
    inbox: Inbox,
    to: Hash,
    /// The highest number of what came.
    last: u32,
}

impl UdpClient {
    /// A tunnel at a socket that is bound. Its outlet must be its own: datagrams that come for a destination have one
    /// reader. Fails with [`ErrorKind::Misuse`] beyond loopback.
    pub fn new(
        config: UdpClientConfig,
        socket: Arc<UdpSocket>,
        outlet: Outlet,
        names: Arc<Names>,
    ) -> Result<Self, Error> {
        let at = socket.local_addr().map_err(|e| Error::new(ErrorKind::Setup, e.to_string()))?;
        if !at.ip().is_loopback() {
            return Err(Error::new(ErrorKind::Misuse, format!("UDP tunnel at {at}: only loopback addresses")));
        }
        let programs = Programs { by_port: BTreeMap::new(), by_address: BTreeMap::new() };
        Ok(Self { config, socket, outlet, names, programs, open: None })
    }

    /// What passes it.
    pub fn traffic(&self) -> &Traffic {
        self.outlet.traffic()
    }

    /// Serves until the future is dropped.
    pub async fn run(mut self) {
        let mut buffer = Vec::new();
        let socket = Arc::clone(&self.socket);
        let mut sweep = tokio::time::interval(UDP_SESSION_TIME / 4);
        let mut is_said = false;
        loop {
            let came = async {
                match &mut self.open {
                    Some(open) => open.inbox.next().await,
                    None => std::future::pending().await,
                }
            };
            let result = tokio::select! {
                got = receive(&socket, &mut buffer) => match got {
                    Some((n, from)) => self.outgoing(buffer.get(..n).unwrap_or_default(), from).await,
                    None => Ok(()),
                },
                datagram = came => match datagram {
                    Ok(datagram) => self.incoming(datagram).await,
                    Err(e) => Err(e),
                },
                _ = sweep.tick() => {
                    self.programs.forget_silent();
                    Ok(())
                }
            };
            if let Err(e) = result {
                // Once, and not for each packet.
                if !std::mem::replace(&mut is_said, true) {
                    tracing::info!("UDP tunnel {}: {e}", self.config.name);
                }
                self.open = None;
                if e.kind() == ErrorKind::ShuttingDown {
                    return;
                }
            }
            is_said &= self.open.is_none();
            // The destination may close when nobody is there.
            if self.programs.by_port.is_empty() {
                self.open = None;
            }
        }
    }

    async fn outgoing(&mut self, packet: &[u8], from: SocketAddr) -> Result<(), Error> {
        let Self { config, outlet, programs, .. } = self;
        let (port, is_signed) = programs.take(from, outlet.traffic());
        if self.open.is_none() {
            let to = target(&self.names, &config.to)?.hash();
            let inside = outlet.enter().await?;
            let inbox = Inbox::open(&inside.local, None).await?;
            self.open = Some(Open { inside, inbox, to, last: 0 });
        }
        let Some(open) = &self.open else { return Ok(()) };
        let format = if is_signed { config.format.datagram() } else { DatagramFormat::RAW };
        outlet.traffic().add_sent(packet.len());
        let datagram = OutgoingDatagram {
            format,
            to: open.to,
            from_port: port,
            to_port: config.port,
            options: Mapping::new(),
            payload: packet.to_vec(),
        };
        send(&open.inside.local, datagram).await
    }

    async fn incoming(&mut self, datagram: Datagram) -> Result<(), Error> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let is_raw = matches!(datagram.format, DatagramFormat::Raw(_));
        if !is_raw && sender(&datagram) != Some(open.to) {
            return Ok(());
        }
        open.last = open.last.max(number_of(&datagram).unwrap_or(0));
        if let Some(answer) = acknowledgement(&datagram, open.last) {
            send(&open.inside.local, answer).await?;
        }
        // Those that do not say who sends them come to the port of a program that talks, from where it talks to.
        if datagram.payload.is_empty() || (is_raw && datagram.from_port != self.config.port) {
            return Ok(());
        }
        if let Some(program) = self.programs.by_port.get_mut(&datagram.to_port) {
            program.pace.used();
            self.outlet.traffic().add_received(datagram.payload.len());
            // A program that has gone misses nothing.
            let _ = self.socket.send_to(&datagram.payload, program.address).await;
        }
        Ok(())
    }
}

/// The local programs, each by a port of I2P of its own: that of its socket, where it is free.
#[derive(Debug)]
struct Programs {
    by_port: BTreeMap<u16, Program>,
    by_address: BTreeMap<SocketAddr, u16>,
}

#[derive(Debug)]
struct Program {
    address: SocketAddr,
    pace: Pace,
    _counted: Counted,
}

impl Programs {
    /// The port of a program, and whether what it sends now must say who we are.
    fn take(&mut self, address: SocketAddr, traffic: &Traffic) -> (u16, bool) {
        let known = self.by_address.get(&address).copied();
        let port = known.unwrap_or_else(|| self.add(address, traffic));
        let is_signed = self.by_port.get_mut(&port).is_none_or(|program| program.pace.is_due());
        (port, is_signed)
    }

    fn add(&mut self, address: SocketAddr, traffic: &Traffic) -> u16 {
        if self.by_port.len() >= UDP_SESSIONS {
            let oldest = self.by_port.iter().min_by_key(|(_, program)| program.pace.last).map(|(port, _)| *port);
            self.forget(oldest);
        }
        let free = |port: &u16| *port != 0 && !self.by_port.contains_key(port);
        let own = Some(address.port()).filter(free);
        let port = own.or_else(|| (1..=u16::MAX).rev().find(free)).unwrap_or(address.port());
        let program = Program { address, pace: Pace::new(), _counted: traffic.enter() };
        self.by_port.insert(port, program);
        self.by_address.insert(address, port);
        port
    }

    fn forget_silent(&mut self) {
        let silent: Vec<u16> =
            self.by_port.iter().filter(|(_, program)| program.pace.is_over()).map(|(port, _)| *port).collect();
        for port in silent {
            self.forget(Some(port));
        }
    }

    fn forget(&mut self, port: Option<u16>) {
        if let Some(program) = port.and_then(|port| self.by_port.remove(&port)) {
            self.by_address.remove(&program.address);
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::limits::{UDP_PAUSE, UDP_SIGNED_EVERY};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn programs_are_bounded_and_the_most_silent_goes() {
        let mut programs = Programs { by_port: BTreeMap::new(), by_address: BTreeMap::new() };
        let traffic = Traffic::default();
        let at = |n: usize| SocketAddr::from(([127, 0, 0, 1], 1000 + n as u16));
        for n in 0..UDP_SESSIONS {
            assert_eq!(programs.take(at(n), &traffic), (1000 + n as u16, true));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        programs.take(at(0), &traffic);
        programs.take(at(UDP_SESSIONS), &traffic);
        assert_eq!(traffic.open(), UDP_SESSIONS);
        assert!(programs.by_address.contains_key(&at(0)) && !programs.by_address.contains_key(&at(1)));
        let other = SocketAddr::from(([127, 0, 0, 2], 1000));
        let (port, _) = programs.take(other, &traffic);
        assert!(port != 1000 && programs.by_port[&1000].address == at(0), "one port, two programs");
        tokio::time::advance(UDP_SESSION_TIME).await;
        programs.forget_silent();
        assert!(programs.by_port.is_empty() && programs.by_address.is_empty() && traffic.open() == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flow_says_who_it_is_at_its_start_after_a_pause_and_now_and_then() {
        let mut pace = Pace::new();
        assert!(pace.is_due() && !pace.is_due());
        tokio::time::advance(UDP_PAUSE * 2).await;
        assert!(pace.is_due() && !pace.is_due());
        let mut signed = 0;
        let step = Duration::from_millis(50);
        for _ in 0..100 {
            tokio::time::advance(step).await;
            signed += usize::from(pace.is_due());
        }
        let whole = step * 100;
        assert_eq!(signed as u128, whole.as_millis() / (UDP_SIGNED_EVERY + step).as_millis());
    }
}
