//! Tunnels between TCP and destinations: servers that we offer, and local ports that lead to a destination.

mod client;
mod keys;
mod relay;
mod server;

pub use client::{ClientTunnel, ClientTunnelConfig};
pub use keys::{load_keys, load_or_create_keys, save_keys};
pub(crate) use relay::relay;
pub use server::{ServerKind, ServerTunnel, ServerTunnelConfig, SharedSite};
