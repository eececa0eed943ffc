//! A local port that leads to one destination.

use super::relay;
use crate::limits::{CONNECT_TIME, LOCAL_CONNECTIONS, READY_TIME_PROGRAM};
use crate::names::{Host, Names};
use ramson::{Error, ErrorKind, LocalDestination, Progress, Target};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Where a client tunnel listens and leads.
#[derive(Clone, Debug)]
pub struct ClientTunnelConfig {
    pub name: String,
    /// On loopback: whoever reaches it, uses it.
    pub listen: SocketAddr,
    /// A name or b32 address.
    pub to: Host,
    pub port: u16,
}

/// A client tunnel that is bound to its address.
#[derive(Debug)]
pub struct ClientTunnel {
    config: ClientTunnelConfig,
    listener: TcpListener,
    local: LocalDestination,
    names: Arc<Names>,
}

impl ClientTunnel {
    /// Binds the tunnel. It connects from `local`. Fails with [`ErrorKind::Misuse`] beyond loopback, and with
    /// [`ErrorKind::Setup`] if it cannot listen there.
    pub async fn bind(config: ClientTunnelConfig, local: LocalDestination, names: Arc<Names>) -> Result<Self, Error> {
        let at = config.listen;
        if !at.ip().is_loopback() {
            return Err(Error::new(ErrorKind::Misuse, format!("client tunnel at {at}: only loopback addresses")));
        }
        let cannot = |e| Error::new(ErrorKind::Setup, format!("client tunnel cannot listen at {at}: {e}"));
        let listener = TcpListener::bind(at).await.map_err(cannot)?;
        Ok(Self { config, listener, local, names })
    }

    /// The address that it listens at.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the future is dropped; its connections end with it.
    pub async fn run(self) {
        let Self { config, listener, local, names } = self;
        let slots = Arc::new(Semaphore::new(LOCAL_CONNECTIONS));
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            };
            let (config, local, names) = (config.clone(), local.clone(), Arc::clone(&names));
            tasks.spawn(async move {
                if let Err(e) = serve(stream, &config, &local, &names).await {
                    tracing::info!("client tunnel {}: {e}", config.name);
                }
                drop(slot);
            });
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    config: &ClientTunnelConfig,
    local: &LocalDestination,
    names: &Names,
) -> Result<(), Error> {
    let target = match &config.to {
        Host::B32(hash) => Target::Hash(*hash),
        Host::Name(name) => {
            let unknown = || Error::new(ErrorKind::Misuse, "its name is not in the address book");
            Target::Destination(names.resolve(name).ok_or_else(unknown)?.0)
        }
    };
    let mut progress = local.progress();
    let _ = timeout(READY_TIME_PROGRAM, progress.wait_for(Progress::is_ready)).await;
    let silent = |_| Error::new(ErrorKind::PeerNotAnswering, "no answer in time");
    let remote = timeout(CONNECT_TIME, local.connect((target, config.port))).await.map_err(silent)??;
    let _ = stream.set_nodelay(true);
    let (mut from, mut to) = tokio::io::split(remote);
    let (mut local_from, mut local_to) = stream.split();
    if relay(&mut local_from, &mut local_to, &mut from, &mut to).await.is_err() {
        // A reset, so that the local program does not take a broken transfer for a whole one.
        let _ = stream.set_zero_linger();
    }
    Ok(())
}
