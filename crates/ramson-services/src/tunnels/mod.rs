//! Tunnels between local sockets and destinations: servers that we offer, and local ports that lead to others.

mod access;
mod client;
pub(crate) mod irc;
mod keys;
mod relay;
mod server;
mod streamr;
mod udp;

pub(crate) use access::Meter;
pub use access::{AccessConfig, Rates, RatesConfig, Who};
pub use client::{ClientKind, ClientTunnel, ClientTunnelConfig};
pub use keys::{load_keys, load_or_create_keys, save_keys};
pub(crate) use relay::{hold, let_go, relay};
pub use server::{ServerKind, ServerTunnel, ServerTunnelConfig, SharedSite};
pub use streamr::{StreamrClient, StreamrClientConfig, StreamrServer, StreamrServerConfig};
pub use udp::{UdpClient, UdpClientConfig, UdpFormat, UdpServer, UdpServerConfig};
