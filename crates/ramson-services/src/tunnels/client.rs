//! A local port that leads to a destination, or to several that serve the same.

use super::{hold, irc, let_go, relay};
use crate::limits::LOCAL_CONNECTIONS;
use crate::names::{Host, Names};
use crate::outlet::{Outlet, Traffic};
use crate::port::Port;
use crate::targets::{Order, Targets};
use ramson::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Where a client tunnel leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTunnelConfig {
    pub name: String,
    pub kind: ClientKind,
    /// Names or b32 addresses.
    pub to: Vec<Host>,
    /// Which of them a connection goes to.
    pub order: Order,
    /// The port there.
    pub port: u16,
    /// Connections at once; who comes then waits.
    pub max_connections: usize,
}

impl ClientTunnelConfig {
    /// A tunnel that leads to one destination.
    pub fn new(name: impl Into<String>, to: Host, port: u16) -> Self {
        let (kind, order, max_connections) = (ClientKind::Tcp, Order::InTurn, LOCAL_CONNECTIONS);
        Self { name: name.into(), kind, to: vec![to], order, port, max_connections }
    }
}

/// What the local programs speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Bytes as they are.
    Tcp,
    /// IRC: what tells of the user, and what leads out of I2P, is filtered.
    Irc,
}

/// A client tunnel at its port.
#[derive(Debug)]
pub struct ClientTunnel {
    port: Port,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: ClientTunnelConfig,
    targets: Targets,
    outlet: Outlet,
    names: Arc<Names>,
}

impl ClientTunnel {
    /// Listens at an address of this machine. Fails as [`ClientTunnel::new`] and [`Port::bind`] do.
    pub async fn bind(
        config: ClientTunnelConfig,
        listen: SocketAddr,
        outlet: impl Into<Outlet>,
        names: Arc<Names>,
    ) -> Result<Self, Error> {
        check(listen)?;
        let port = Port::bind(listen, &format!("client tunnel {}", config.name)).await?;
        Self::new(config, port, outlet.into(), names)
    }

    /// A tunnel at a port that is bound. It connects from `outlet`. Fails with [`ErrorKind::Misuse`] beyond loopback,
    /// where whoever reaches it would use it, and where there is no destination, or there are too many.
    pub fn new(config: ClientTunnelConfig, port: Port, outlet: Outlet, names: Arc<Names>) -> Result<Self, Error> {
        check(port.local_addr().map_err(|e| Error::new(ErrorKind::Setup, e.to_string()))?)?;
        let targets = Targets::new(config.to.clone(), config.order)?;
        Ok(Self { port, shared: Arc::new(Shared { config, targets, outlet, names }) })
    }

    /// The address that it listens at.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.port.local_addr()
    }

    /// What passes it.
    pub fn traffic(&self) -> &Traffic {
        self.shared.outlet.traffic()
    }

    /// Serves until the future is dropped; its connections end with it.
    pub async fn run(self) {
        let Self { port, shared } = self;
        let slots = Arc::new(Semaphore::new(shared.config.max_connections.clamp(1, LOCAL_CONNECTIONS)));
        let mut tasks = JoinSet::new();
        while let Some((stream, slot)) = port.accept_one_of(&slots).await {
            while tasks.try_join_next().is_some() {}
            let shared = Arc::clone(&shared);
            tasks.spawn(async move {
                if let Err(e) = shared.serve(stream).await {
                    tracing::info!("client tunnel {}: {e}", shared.config.name);
                }
                drop(slot);
            });
        }
    }
}

fn check(at: SocketAddr) -> Result<(), Error> {
    let misuse = || Error::new(ErrorKind::Misuse, format!("client tunnel at {at}: only loopback addresses"));
    at.ip().is_loopback().then_some(()).ok_or_else(misuse)
}

impl Shared {
    async fn serve(&self, mut stream: TcpStream) -> Result<(), Error> {
        let remote = self.targets.connect(&self.outlet, &self.names, self.config.port).await?;
        hold(&stream);
        let passed = match self.config.kind {
            ClientKind::Irc => irc::pass_filtered(&mut stream, remote).await,
            ClientKind::Tcp => {
                let (mut from, mut to) = tokio::io::split(remote);
                let (mut local_from, mut local_to) = stream.split();
                relay(&mut local_from, &mut local_to, &mut from, &mut to).await
            }
        };
        if passed.is_ok() {
            let_go(&stream);
        }
        Ok(())
    }
}
