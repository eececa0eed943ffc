//! The HTTP proxy, by which browsers and programs read eepsites. It leads into I2P only: nothing on the user's own
//! machine or network and nothing in the clear is reachable through it.

pub(crate) mod address;
mod doubt;
pub(crate) mod exchange;
mod first_use;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod head;
#[cfg(test)]
mod header_sets;
mod helper;
pub(crate) mod hygiene;
mod idle;
pub(crate) mod pages;
mod proxy;
pub(crate) mod wire;

pub use proxy::{Credentials, HttpProxy, PerSite, ProxyConfig, ProxyError};
