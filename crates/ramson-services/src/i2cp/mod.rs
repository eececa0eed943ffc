//! I2CP: programs that bring their own streams and datagrams, and keep their keys, have destinations at this router.
//! <https://geti2p.net/spec/i2cp>
//!
//! `connection` is one connection and its messages, `session` a session of it, `create` how one is made and changed,
//! `lookup` what is looked up for programs, `auth` who may come in, and `wire` carries messages.

mod auth;
mod connection;
mod create;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lookup;
mod session;
#[cfg(test)]
mod tests;
mod wire;

use crate::door::{Door, DoorConfig};
use crate::limits::I2CP_SOCKETS;
use crate::names::Names;
use auth::Users;
use ramson::{DestinationOptions, Error, ErrorKind, LocalDestination, Ramson};
use session::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

/// The version of I2CP that is spoken: without the post-quantum hybrid of 0.9.67, which programs would use.
const VERSION: &str = "0.9.66";
/// What is said to programs whose LeaseSets nobody could write to here.
const ELGAMAL_ONLY: &str = "the LeaseSet has an ElGamal key only, as all of type 1, and what peers write to it could not \
    be read here: set i2cp.leaseSetEncType=4";

/// Where programs come in, and which.
#[derive(Clone)]
pub struct I2cpConfig {
    /// A loopback address, unless TLS is spoken: passwords and private keys pass here.
    pub door: DoorConfig,
    /// Users and passwords. With none, whoever reaches the port may use it.
    pub users: Vec<(String, String)>,
    /// Bytes per second in and out that the router may use, for programs that ask.
    pub limits: (Option<u64>, Option<u64>),
}

impl std::fmt::Debug for I2cpConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("I2cpConfig").field("door", &self.door).finish_non_exhaustive()
    }
}

/// What all connections share.
struct Shared {
    config: I2cpConfig,
    ramson: Ramson,
    names: Arc<Names>,
    registry: Arc<Registry>,
    users: Users,
    lookups: OnceCell<LocalDestination>,
}

impl Shared {
    fn new(config: I2cpConfig, ramson: Ramson, names: Arc<Names>) -> Self {
        let users = Users::new(&config.users);
        Self { config, ramson, names, registry: Arc::default(), users, lookups: OnceCell::new() }
    }

    /// The destination by which those look up who have no session: never by somebody's session, whose peers would then
    /// see what others ask for. Made when it is first needed.
    async fn lookups(&self) -> Result<LocalDestination, Error> {
        let make = || async { self.ramson.destination(DestinationOptions::client("I2CP look-ups"), None).await };
        self.lookups.get_or_try_init(make).await.cloned()
    }
}

/// The door of programs that speak I2CP, bound to its address.
pub struct I2cp {
    door: Door,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for I2cp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("I2cp").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl I2cp {
    /// Binds it. Fails with [`ErrorKind::Misuse`] beyond loopback without TLS and users, and with [`ErrorKind::Setup`] if it cannot listen there.
    pub async fn bind(config: I2cpConfig, ramson: Ramson, names: Arc<Names>) -> Result<Self, Error> {
        let at = config.door.listen;
        if !at.ip().is_loopback() && (config.door.tls.is_none() || config.users.is_empty()) {
            let why =
                format!("I2CP at {at}: private keys would cross the network; beyond loopback it needs TLS and users");
            return Err(Error::new(ErrorKind::Misuse, why));
        }
        let door = Door::open(&config.door, "I2CP").await?;
        Ok(Self { door, shared: Arc::new(Shared::new(config, ramson, names)) })
    }

    /// The address that it listens at.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.door.local_addr()
    }

    /// Serves until the future is dropped; its sessions end with it.
    pub async fn run(self) {
        let Self { door, shared } = self;
        let slots = Arc::new(Semaphore::new(I2CP_SOCKETS));
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            let arrival = door.accept().await;
            // Who has that many open already holds them for a purpose: a socket that waits for its turn would look like a
            // router that hangs.
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
            let shared = Arc::clone(&shared);
            tasks.spawn(async move {
                if let Some(connection) = arrival.enter().await {
                    connection::serve(shared, connection).await;
                }
                drop(slot);
            });
        }
    }
}
