//! I2PControl: programs on this or another computer watch and control the router, by JSON-RPC 2.0 over HTTPS.
//! <https://geti2p.net/en/docs/api/i2pcontrol>, version 1, with the additions of proposal 170.
//!
//! `http` takes requests and keeps web pages out, `rpc` reads calls and words answers, `tokens` says who may, `methods`
//! carries calls out with `router_info`, `address_book` and `manager`, `rates` remembers the last hour.

mod address_book;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod http;
mod manager;
mod methods;
mod rates;
mod router_info;
mod rpc;
#[cfg(test)]
mod tests;
mod tokens;

use crate::door::{Door, DoorConfig};
use crate::limits::I2PCONTROL_SOCKETS;
use crate::names::Names;
use ramson::{Error, ErrorKind, Ramson};
use rates::Rates;
use serde_json::{Map, Value};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokens::Tokens;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// An answer that comes later.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the program around the router does for those who control it.
pub trait Host: Send + Sync + 'static {
    /// Stops the router: at once, or when the tunnels of others have run out.
    fn stop(&self, graceful: bool);
    /// The proxies and tunnels that there are.
    fn tunnels(&self) -> Later<Vec<Tunnel>>;
    /// Does something with tunnels: `params` are those of the method `TunnelManager`, without the token. Answers with
    /// its result, or says why not.
    fn manage_tunnels(&self, params: Map<String, Value>) -> Later<Result<Value, String>>;
    /// The settings of the network as I2PControl names them.
    fn network(&self) -> Map<String, Value>;
    /// Changes some of them. Says whether they take effect after a restart only, or why they were not taken.
    fn set_network(&self, settings: Map<String, Value>) -> Later<Result<bool, String>>;
    /// The addresses of the feeds of names.
    fn subscriptions(&self) -> Vec<String>;
    /// Sets them, or says why not.
    fn set_subscriptions(&self, urls: Vec<String>) -> Later<Result<String, String>>;
    /// Whether programs can come in by SAM, and by I2CP.
    fn doors(&self) -> (bool, bool);
}

/// A proxy or tunnel, as it is told to who controls the router.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tunnel {
    pub name: String,
    /// Its kind as the config has it: `http-proxy`, `socks-proxy`, or that of a client or server.
    pub kind: String,
    pub is_server: bool,
    /// Where it listens, or which local server it offers.
    pub address: String,
    /// Its destination, while it is open.
    pub b32: Option<String>,
    pub state: String,
    pub connections: usize,
    pub bytes_out: u64,
    pub bytes_in: u64,
}

/// Where it listens, and by which password.
#[derive(Clone)]
pub struct I2pControlConfig {
    pub door: DoorConfig,
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for I2pControlConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("I2pControlConfig").field("door", &self.door).finish_non_exhaustive()
    }
}

/// What all connections share.
struct Shared {
    config: I2pControlConfig,
    ramson: Ramson,
    names: Arc<Names>,
    host: Arc<dyn Host>,
    tokens: Tokens,
    rates: Rates,
}

/// I2PControl, bound to its address.
pub struct I2pControl {
    door: Door,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for I2pControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("I2pControl").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl I2pControl {
    /// Binds it. Fails with [`ErrorKind::Misuse`] without a password, or beyond loopback without TLS, and with
    /// [`ErrorKind::Setup`] if it cannot listen there.
    pub async fn bind(
        config: I2pControlConfig,
        ramson: Ramson,
        names: Arc<Names>,
        host: Arc<dyn Host>,
    ) -> Result<Self, Error> {
        let at = config.door.listen;
        let misuse = |why: &str| Err(Error::new(ErrorKind::Misuse, format!("I2PControl at {at}: {why}")));
        if config.password.is_empty() {
            return misuse("it needs a password");
        }
        if !at.ip().is_loopback() && config.door.tls.is_none() {
            return misuse("beyond loopback it needs TLS: its password would cross the network in the clear");
        }
        let door = Door::open(&config.door, "I2PControl").await?;
        let (tokens, rates) = (Tokens::default(), Rates::default());
        Ok(Self { door, shared: Arc::new(Shared { config, ramson, names, host, tokens, rates }) })
    }

    /// The address that it listens at.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.door.local_addr()
    }

    /// Serves until the future is dropped.
    pub async fn run(self) {
        let Self { door, shared } = self;
        tokio::join!(shared.rates.keep(&shared.ramson), take_connections(&shared, door));
    }
}

async fn take_connections(shared: &Arc<Shared>, door: Door) {
    let slots = Arc::new(Semaphore::new(I2PCONTROL_SOCKETS));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let arrival = door.accept().await;
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let shared = Arc::clone(shared);
        tasks.spawn(async move {
            if let Some(connection) = arrival.enter().await {
                http::serve(shared, connection).await;
            }
            drop(slot);
        });
    }
}
