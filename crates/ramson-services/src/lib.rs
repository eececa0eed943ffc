//! What local programs talk to. These services see only the client API of [`ramson`], never the core.
//!
//! - [`http`]: the HTTP proxy, by which browsers read eepsites.
//! - [`tunnels`]: servers behind a destination of ours, and local ports that lead to one of others.
//! - [`names`]: what `.i2p` names mean.

mod files;
pub mod http;
pub mod limits;
pub mod names;
pub mod tunnels;

pub use files::FileError;
