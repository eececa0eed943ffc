//! A local UDP server behind a destination of ours.

use super::{Inbox, Pace, acknowledgement, number_of, receive, send, sender};
use crate::limits::{UDP_SESSION_TIME, UDP_SESSIONS};
use crate::names::Names;
use crate::outlet::{Counted, Traffic};
use crate::tunnels::access::{Access, AccessConfig};
use ramson::{Datagram, DatagramFormat, Error, ErrorKind, Hash, LocalDestination, Mapping, OutgoingDatagram};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// How a UDP server tunnel works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpServerConfig {
    pub name: String,
    /// The local server.
    pub target: SocketAddr,
    /// The port of the destination; `None` takes all.
    pub port: Option<u16>,
    /// Who may come.
    pub access: AccessConfig,
}

/// A UDP server tunnel that listens.
#[derive(Debug)]
pub struct UdpServer {
    config: UdpServerConfig,
    local: LocalDestination,
    inbox: Inbox,
    access: Access,
    traffic: Traffic,
    clients: BTreeMap<Key, Client>,
    /// Who of those with these ports has said last who he is: plain datagrams are his.
    plain: BTreeMap<(u16, u16), Key>,
}

/// A client: its destination, its port, and the port of ours.
type Key = (Hash, u16, u16);

/// A client, to whom the server's answers go by a socket of its own.
#[derive(Debug)]
struct Client {
    socket: Arc<UdpSocket>,
    state: Arc<Mutex<State>>,
    answers: AbortHandle,
    _counted: Counted,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// As the client spoke last.
    format: DatagramFormat,
    /// The highest number of what came.
    last: u32,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl UdpServer {
    /// Receives at `local`, which was made with [`ramson::DestinationOptions::server`].
    pub async fn listen(config: UdpServerConfig, local: &LocalDestination, names: Arc<Names>) -> Result<Self, Error> {
        let access = Access::new(config.access.clone(), names)?;
        let inbox = Inbox::open(local, config.port).await?;
        let (clients, plain) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { config, local: local.clone(), inbox, access, traffic: Traffic::default(), clients, plain })
    }

    /// What passes it.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Serves until the router stops or the future is dropped.
    pub async fn run(mut self) {
        let mut sweep = tokio::time::interval(UDP_SESSION_TIME / 4);
        loop {
            tokio::select! {
                datagram = self.inbox.next() => {
                    let Ok(datagram) = datagram else { return };
                    match self.incoming(datagram).await {
                        Err(e) if [ErrorKind::Closed, ErrorKind::ShuttingDown].contains(&e.kind()) => return,
                        Err(e) => tracing::warn!("UDP tunnel {}: {e}", self.config.name),
                        Ok(()) => {}
                    }
                }
                _ = sweep.tick() => self.forget_silent(),
            }
        }
    }

    async fn incoming(&mut self, datagram: Datagram) -> Result<(), Error> {
        let ports = (datagram.from_port, datagram.to_port);
        let is_raw = matches!(datagram.format, DatagramFormat::Raw(_));
        let key = match sender(&datagram) {
            _ if is_raw => self.plain.get(&ports).copied(),
            Some(hash) if self.access.admits(&hash) => Some((hash, ports.0, ports.1)),
            _ => None,
        };
        let Some(key) = key else {
            tracing::debug!("UDP tunnel {}: a datagram of nobody who may send it", self.config.name);
            return Ok(());
        };
        // What carries nothing asks something of the tunnel, and is of no program.
        if !datagram.payload.is_empty() && !self.clients.contains_key(&key) {
            let client = self.client(key, datagram.format).await?;
            self.make_room();
            self.clients.insert(key, client);
        }
        let last = self.note(key.0, number_of(&datagram).unwrap_or(0));
        if let Some(answer) = acknowledgement(&datagram, last) {
            send(&self.local, answer).await?;
        }
        let Some(client) = self.clients.get(&key) else { return Ok(()) };
        {
            let mut state = client.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.pace.used();
            if !is_raw {
                state.format = datagram.format;
                self.plain.insert(ports, key);
            }
        }
        if !datagram.payload.is_empty() {
            self.traffic.add_received(datagram.payload.len());
            // A server that is down is as one that does not answer.
            let _ = client.socket.send(&datagram.payload).await;
        }
        Ok(())
    }

    /// The highest number of what has come from a destination, with this one.
    fn note(&self, who: Hash, number: u32) -> u32 {
        let mut last = number;
        for (_, client) in self.clients.range((who, 0, 0)..=(who, u16::MAX, u16::MAX)) {
            let mut state = client.state.lock().unwrap_or_else(PoisonError::into_inner);
            last = last.max(state.last);
            state.last = last;
        }
        last
    }

    /// A socket for a client, and who passes on what the server says to it.
    async fn client(&self, key: Key, format: DatagramFormat) -> Result<Client, Error> {
        let cannot = |e| Error::new(ErrorKind::Setup, format!("the local server cannot be reached: {e}"));
        let from = match self.config.target.ip() {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((from, 0)).await.map_err(cannot)?;
        socket.connect(self.config.target).await.map_err(cannot)?;
        let (socket, state) = (Arc::new(socket), Arc::new(Mutex::new(State { pace: Pace::new(), format, last: 0 })));
        let answers = answer(self.local.clone(), Arc::clone(&socket), Arc::clone(&state), key, self.traffic.clone());
        let answers = tokio::spawn(answers).abort_handle();
        Ok(Client { socket, state, answers, _counted: self.traffic.enter() })
    }

    fn make_room(&mut self) {
        if self.clients.len() < UDP_SESSIONS {
            return;
        }
        let last = |client: &Client| client.state.lock().unwrap_or_else(PoisonError::into_inner).pace.last;
        let oldest = self.clients.iter().min_by_key(|(_, client)| last(client)).map(|(key, _)| *key);
        self.forget(oldest);
    }

    fn forget_silent(&mut self) {
        let over = |client: &Client| client.state.lock().unwrap_or_else(PoisonError::into_inner).pace.is_over();
        let silent: Vec<Key> = self.clients.iter().filter(|(_, client)| over(client)).map(|(key, _)| *key).collect();
        for key in silent {
            self.forget(Some(key));
        }
    }

    fn forget(&mut self, key: Option<Key>) {
        let Some(key) = key else { return };
        self.clients.remove(&key);
        let ports = (key.1, key.2);
        if self.plain.get(&ports) == Some(&key) {
            self.plain.remove(&ports);
        }
    }
}

/// Passes on what the server says to one client.
async fn answer(
    local: LocalDestination,
    socket: Arc<UdpSocket>,
    state: Arc<Mutex<State>>,
    (to, to_port, from_port): Key,
    traffic: Traffic,
) {
    let mut buffer = Vec::new();
    loop {
        let Some((n, _)) = receive(&socket, &mut buffer).await else { continue };
        let format = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.pace.is_due() { state.format } else { DatagramFormat::RAW }
        };
        let payload = buffer.get(..n).unwrap_or_default().to_vec();
        traffic.add_sent(n);
        let datagram = OutgoingDatagram { format, to, from_port, to_port, options: Mapping::new(), payload };
        if send(&local, datagram).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
impl UdpServer {
    pub(super) fn clients(&self) -> (usize, usize) {
        (self.clients.len(), self.plain.len())
    }

    pub(super) async fn step(&mut self) {
        let datagram = self.inbox.next().await.unwrap();
        self.incoming(datagram).await.unwrap();
    }
}
