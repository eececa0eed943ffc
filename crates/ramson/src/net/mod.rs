//! Sockets: listeners, connections and the proxy for outgoing ones.

pub(crate) mod connections;
pub(crate) mod listen;
pub(crate) mod proxy;
