//! Sockets: listeners, connections, UDP, and the proxy for outgoing ones.

pub(crate) mod connections;
pub(crate) mod listen;
pub(crate) mod proxy;
pub(crate) mod udp;
