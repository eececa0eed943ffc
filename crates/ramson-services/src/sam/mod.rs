//! The SAM bridge: programs that do not embed a router make destinations, streams and datagrams by lines of text.
//! <https://geti2p.net/en/docs/api/samv3>, version 3.3
//!
//! `control` is one connection, `create` its session, `stream` what becomes of connections that ask for a stream,
//! `accept` who takes those that come, `datagram` the datagrams, `naming`, `keys` and `auth` the other commands; `parse`,
//! `options`, `limits`, `forward` and its TLS, `version` and `reply` read and write lines, and `socket` carries them.

mod accept;
mod auth;
mod control;
mod create;
mod datagram;
mod forward;
mod forward_tls;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod keys;
mod limits;
mod naming;
mod options;
mod parse;
mod reply;
mod session;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod version;

pub(crate) use options::of_i2cp as options_of_i2cp;

use crate::door::{Door, DoorConfig};
use crate::limits::{SAM_DATAGRAM_BYTES, SAM_SOCKETS};
use crate::names::Names;
use auth::Users;
use forward_tls::ForwardTls;
use ramson::{DestinationOptions, Error, ErrorKind, LocalDestination, Ramson};
use reply::Refusal;
use session::Registry;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

/// Where the bridge listens, and whom it serves.
#[derive(Clone)]
pub struct SamConfig {
    pub door: DoorConfig,
    /// Where datagrams come in; without it there is no UDP port.
    pub udp: Option<SocketAddr>,
    /// Users and passwords. With none, whoever reaches the bridge may use it.
    pub users: Vec<(String, String)>,
    /// Programs may add and remove users, for as long as the router runs.
    pub auth_commands: bool,
    /// Streams and datagrams may be forwarded to other computers than the program's own.
    pub forward_anywhere: bool,
    /// Certificates, in a PEM file, that servers of `STREAM FORWARD` with `SSL=true` must show, or be vouched for by. Without
    /// it any certificate will do at this computer, and no other computer is forwarded to by TLS.
    pub forward_certificates: Option<PathBuf>,
}

impl std::fmt::Debug for SamConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { door, udp, .. } = self;
        f.debug_struct("SamConfig").field("door", door).field("udp", udp).finish_non_exhaustive()
    }
}

/// What all connections share.
struct Shared {
    config: SamConfig,
    ramson: Ramson,
    names: Arc<Names>,
    registry: Arc<Registry>,
    users: Users,
    udp: Option<Arc<UdpSocket>>,
    lookups: OnceCell<LocalDestination>,
    forward_tls: ForwardTls,
}

impl Shared {
    fn new(config: SamConfig, ramson: Ramson, names: Arc<Names>, udp: Option<Arc<UdpSocket>>) -> Result<Self, Error> {
        let forward_tls = ForwardTls::new(config.forward_certificates.as_deref())?;
        let users = Users::new(config.users.clone(), config.auth_commands);
        let registry = Arc::default();
        Ok(Self { config, ramson, names, registry, users, udp, lookups: OnceCell::new(), forward_tls })
    }

    /// The destination by which b32 addresses are looked up for sockets that have no session: never by somebody's
    /// session, whose peers would then see what others ask for. Made when it is first needed.
    async fn lookups(&self) -> Result<LocalDestination, Refusal> {
        let make = || async { self.ramson.destination(DestinationOptions::client("SAM look-ups"), None).await };
        self.lookups.get_or_try_init(make).await.cloned().map_err(|e| Refusal::error(e.to_string()))
    }
}

/// A SAM bridge that is bound to its addresses.
pub struct Sam {
    door: Door,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Sam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sam").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Sam {
    /// Binds the bridge. Fails with [`ErrorKind::Misuse`] beyond loopback without users, and with [`ErrorKind::Setup`] if
    /// it cannot listen there.
    pub async fn bind(config: SamConfig, ramson: Ramson, names: Arc<Names>) -> Result<Self, Error> {
        let at = config.door.listen;
        let misuse = |what: String| Error::new(ErrorKind::Misuse, what);
        if !at.ip().is_loopback() && config.users.is_empty() {
            return Err(misuse(format!("SAM at {at}: beyond loopback it needs users with passwords")));
        }
        // Datagrams carry no password.
        if let Some(udp) = config.udp.filter(|udp| !udp.ip().is_loopback() && config.users.is_empty()) {
            return Err(misuse(format!("SAM at UDP {udp}: beyond loopback it needs users with passwords")));
        }
        let door = Door::open(&config.door, "SAM").await?;
        let udp = match config.udp {
            None => None,
            Some(at) => {
                let cannot = |e| Error::new(ErrorKind::Setup, format!("SAM cannot listen at UDP {at}: {e}"));
                Some(Arc::new(UdpSocket::bind(at).await.map_err(cannot)?))
            }
        };
        Ok(Self { door, shared: Arc::new(Shared::new(config, ramson, names, udp)?) })
    }

    /// The address that it listens at.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.door.local_addr()
    }

    /// The address to which programs send datagrams.
    pub fn udp_addr(&self) -> Option<SocketAddr> {
        self.shared.udp.as_ref().and_then(|socket| socket.local_addr().ok())
    }

    /// Serves until the future is dropped; its sessions end with it.
    pub async fn run(self) {
        let Self { door, shared } = self;
        let packets = async {
            match &shared.udp {
                Some(socket) => take_packets(&shared, socket).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(packets, take_connections(&shared, door));
    }
}

async fn take_connections(shared: &Arc<Shared>, door: Door) {
    let slots = Arc::new(Semaphore::new(SAM_SOCKETS));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let arrival = door.accept().await;
        // Who has that many open already holds them for a purpose: a socket that waits for its turn would look like a
        // bridge that hangs.
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let shared = Arc::clone(shared);
        tasks.spawn(async move {
            let peer = arrival.peer();
            if let Some(connection) = arrival.enter().await {
                control::serve(shared, connection, peer).await;
            }
            drop(slot);
        });
    }
}

async fn take_packets(shared: &Shared, socket: &UdpSocket) {
    let mut buffer = vec![0; SAM_DATAGRAM_BYTES];
    loop {
        let Ok((n, from)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Nobody is told of a datagram that is lost.
        let packet = buffer.get(..n).unwrap_or_default();
        if let Err(why) = datagram::handle_packet(shared, from.ip(), packet).await {
            tracing::debug!("SAM: a datagram was not taken: {}", why.message);
        }
    }
}
