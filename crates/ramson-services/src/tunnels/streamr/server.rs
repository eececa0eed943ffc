//! A local source of datagrams that others may hear.

use super::Subscribers;
use crate::limits::{STREAMR_SUBSCRIBERS, STREAMR_TIME};
use crate::names::Names;
use crate::outlet::Traffic;
use crate::tunnels::access::{Access, AccessConfig};
use crate::tunnels::udp::{Inbox, receive, send, sender};
use ramson::{Datagram, DatagramFormat, Error, ErrorKind, LocalDestination, Mapping, OutgoingDatagram};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;

/// How a streamr server works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamrServerConfig {
    pub name: String,
    /// Where the source sends its packets to, on loopback.
    pub listen: SocketAddr,
    /// The port of the destination at which who wants to hear says so; `None` takes all.
    pub port: Option<u16>,
    /// How many may hear at once, [`STREAMR_SUBSCRIBERS`] at most.
    pub max_subscribers: usize,
    /// Who may come.
    pub access: AccessConfig,
}

/// A streamr server tunnel that listens.
#[derive(Debug)]
pub struct StreamrServer {
    config: StreamrServerConfig,
    socket: Arc<UdpSocket>,
    local: LocalDestination,
    inbox: Inbox,
    access: Access,
    traffic: Traffic,
    subscribers: Subscribers,
}

impl StreamrServer {
    /// Serves at `local`, which was made with [`ramson::DestinationOptions::server`], what comes to a socket that is
    /// bound. Fails with [`ErrorKind::Misuse`] beyond loopback, and where nobody or too many might hear.
    pub async fn listen(
        config: StreamrServerConfig,
        socket: Arc<UdpSocket>,
        local: &LocalDestination,
        names: Arc<Names>,
    ) -> Result<Self, Error> {
        let at = socket.local_addr().map_err(|e| Error::new(ErrorKind::Setup, e.to_string()))?;
        if !at.ip().is_loopback() {
            return Err(Error::new(ErrorKind::Misuse, format!("streamr server at {at}: only loopback addresses")));
        }
        if config.max_subscribers == 0 || config.max_subscribers > STREAMR_SUBSCRIBERS {
            return Err(Error::new(ErrorKind::Misuse, format!("1 to {STREAMR_SUBSCRIBERS} may hear at once")));
        }
        let access = Access::new(config.access.clone(), names)?;
        let inbox = Inbox::of_those_who_say_who_they_are(local, config.port).await?;
        let traffic = Traffic::default();
        let subscribers = Subscribers::new(config.max_subscribers, traffic.clone());
        Ok(Self { config, socket, local: local.clone(), inbox, access, traffic, subscribers })
    }

    /// What passes it; those who hear are open.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Serves until the router stops or the future is dropped.
    pub async fn run(mut self) {
        let mut sweep = tokio::time::interval(STREAMR_TIME / 8);
        let mut buffer = Vec::new();
        let socket = Arc::clone(&self.socket);
        loop {
            tokio::select! {
                datagram = self.inbox.next() => match datagram {
                    Ok(datagram) => self.incoming(&datagram),
                    Err(_) => return,
                },
                got = receive(&socket, &mut buffer) => {
                    if let Some((n, _)) = got
                        && self.outgoing(buffer.get(..n).unwrap_or_default()).await.is_err()
                    {
                        return;
                    }
                }
                _ = sweep.tick() => self.subscribers.forget_silent(),
            }
        }
    }

    fn incoming(&mut self, datagram: &Datagram) {
        let Some(who) = sender(datagram) else { return };
        self.traffic.add_received(datagram.payload.len());
        let result = match self.access.admits(&who) {
            true => self.subscribers.handle((who, datagram.from_port, datagram.to_port), &datagram.payload),
            false => {
                self.subscribers.forget(who);
                Err("it may not hear")
            }
        };
        if let Err(why) = result {
            tracing::debug!("streamr server {}: what a subscriber says changes nothing: {why}", self.config.name);
        }
    }

    /// What the source says goes to all, from where each has asked to where it has asked from.
    async fn outgoing(&self, packet: &[u8]) -> Result<(), Error> {
        for (to, to_port, from_port) in self.subscribers.all() {
            let datagram = OutgoingDatagram {
                format: DatagramFormat::RAW,
                to,
                from_port,
                to_port,
                options: Mapping::new(),
                payload: packet.to_vec(),
            };
            self.traffic.add_sent(packet.len());
            send(&self.local, datagram).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
impl StreamrServer {
    pub(super) async fn step(&mut self) -> usize {
        let datagram = self.inbox.next().await.unwrap();
        self.incoming(&datagram);
        self.subscribers.len()
    }

    pub(super) async fn say(&self, packet: &[u8]) {
        self.outgoing(packet).await.unwrap();
    }
}
