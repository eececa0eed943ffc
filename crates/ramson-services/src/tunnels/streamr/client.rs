//! What a streamr server says, for a local program.

use super::{SUBSCRIBE, UNSUBSCRIBE};
use crate::limits::{STREAMR_FIRST, STREAMR_FIRST_EVERY, STREAMR_PARTING_TIME, STREAMR_PING_EVERY};
use crate::names::{Host, Names};
use crate::outlet::{Inside, Outlet, Traffic, target};
use crate::tunnels::udp::{Inbox, UdpFormat, send, sender};
use ramson::{Datagram, DatagramFormat, Error, ErrorKind, Hash, LocalDestination, Mapping, OutgoingDatagram};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// What a streamr client hears, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamrClientConfig {
    pub name: String,
    /// The local program that gets the packets.
    pub target: SocketAddr,
    /// A name or b32 address.
    pub to: Host,
    /// The port there; 0 in Java's tunnels.
    pub port: u16,
    /// How it says who it is. Java's servers know the first only.
    pub format: UdpFormat,
}

/// A streamr client tunnel.
#[derive(Debug)]
pub struct StreamrClient {
    config: StreamrClientConfig,
    outlet: Outlet,
    names: Arc<Names>,
    socket: Option<UdpSocket>,
    open: Option<Open>,
}

/// The destination, and whom it hears.
#[derive(Debug)]
struct Open {
    inside: Arc<Inside>,
    inbox: Inbox,
    to: Hash,
    /// The port that we hear at: that of the socket, which the system has drawn.
    port: u16,
    asks: Asks,
}

/// What is said to the server.
#[derive(Clone, Copy, Debug)]
struct Asks {
    to: Hash,
    from_port: u16,
    to_port: u16,
    format: DatagramFormat,
}

impl StreamrClient {
    /// A tunnel whose outlet is its own: datagrams that come for a destination have one reader.
    pub fn new(config: StreamrClientConfig, outlet: Outlet, names: Arc<Names>) -> Self {
        Self { config, outlet, names, socket: None, open: None }
    }

    /// What passes it.
    pub fn traffic(&self) -> &Traffic {
        self.outlet.traffic()
    }

    /// Serves until the router stops or the future is dropped, and says then that it hears no more.
    pub async fn run(mut self) {
        let mut next = Instant::now();
        let mut asked = 0;
        let mut is_said = false;
        loop {
            let came = async {
                match &mut self.open {
                    Some(open) => open.inbox.next().await,
                    None => std::future::pending().await,
                }
            };
            let result = tokio::select! {
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + if asked < STREAMR_FIRST { STREAMR_FIRST_EVERY } else { STREAMR_PING_EVERY };
                    asked += 1;
                    self.ask().await
                }
                datagram = came => match datagram {
                    Ok(datagram) => {
                        self.incoming(&datagram).await;
                        continue;
                    }
                    Err(e) => Err(e),
                },
            };
            match result {
                Ok(()) => is_said = false,
                Err(e) => {
                    // Once, and not each time.
                    if !std::mem::replace(&mut is_said, true) {
                        tracing::info!("streamr client {}: {e}", self.config.name);
                    }
                    self.open = None;
                    if e.kind() == ErrorKind::ShuttingDown {
                        return;
                    }
                }
            }
        }
    }

    /// Says that we want to hear. Opens what is needed for that, where it is not open.
    async fn ask(&mut self) -> Result<(), Error> {
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let socket = match &self.socket {
                    Some(socket) => socket,
                    None => self.socket.insert(local_socket(self.config.target).await?),
                };
                let port = socket.local_addr().map_err(|e| Error::new(ErrorKind::Setup, e.to_string()))?.port();
                let to = target(&self.names, &self.config.to)?.hash();
                let inside = Arc::new(self.outlet.enter().await?);
                let inbox = Inbox::open(&inside.local, Some(port)).await?;
                let format = self.config.format.datagram();
                let asks = Asks { to, from_port: port, to_port: self.config.port, format };
                none.insert(Open { inside, inbox, to, port, asks })
            }
        };
        self.outlet.traffic().add_sent(1);
        open.asks.say(&open.inside.local, SUBSCRIBE).await
    }

    async fn incoming(&self, datagram: &Datagram) {
        let (Some(open), Some(socket)) = (&self.open, &self.socket) else { return };
        let is_ours = match datagram.format {
            // They do not say who sends them: they come to a port that only the server was told, from where it was asked.
            DatagramFormat::Raw(_) => datagram.from_port == self.config.port && datagram.to_port == open.port,
            _ => sender(datagram) == Some(open.to),
        };
        if !is_ours || datagram.payload.is_empty() {
            return;
        }
        self.outlet.traffic().add_received(datagram.payload.len());
        // A program that is not there misses nothing that it could have.
        let _ = socket.send(&datagram.payload).await;
    }
}

impl Asks {
    async fn say(self, local: &LocalDestination, word: u8) -> Result<(), Error> {
        let Self { to, from_port, to_port, format } = self;
        let options = Mapping::new();
        send(local, OutgoingDatagram { format, to, from_port, to_port, options, payload: vec![word] }).await
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let (inside, asks) = (Arc::clone(&self.inside), self.asks);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if asks.say(&inside.local, UNSUBSCRIBE).await.is_ok() {
                // The word needs its destination for as long as it is on its way out.
                tokio::time::sleep(STREAMR_PARTING_TIME).await;
            }
        });
    }
}

/// A socket from which packets go to `target`.
async fn local_socket(target: SocketAddr) -> Result<UdpSocket, Error> {
    let cannot = |e| Error::new(ErrorKind::Setup, format!("the local program cannot be reached: {e}"));
    let from = match target.ip() {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((from, 0)).await.map_err(cannot)?;
    socket.connect(target).await.map_err(cannot)?;
    Ok(socket)
}
