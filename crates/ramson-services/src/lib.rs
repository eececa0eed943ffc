//! What local programs talk to. These services see only the client API of [`ramson`], never the core.
//!
//! - [`http`]: the HTTP proxy, by which browsers read eepsites.
//! - [`socks`]: the SOCKS proxy, for other programs.
//! - [`tunnels`]: servers behind a destination of ours, and local ports that lead to one of others.
//! - [`names`]: what `.i2p` names mean.
//! - [`i2cp`]: the door of programs that bring their own streams and keep their keys.
//! - [`i2pcontrol`]: programs that watch and control the router.
//! - [`site`]: a folder as an eepsite.
//! - [`sam`]: the SAM bridge, by which programs in any language make destinations, streams and datagrams.

mod door;
mod files;
/// Doors of the fuzz targets to what is private otherwise.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::http::fuzzing::{http_body, http_request, http_response};
    pub use crate::i2cp::fuzzing::i2cp_session;
    pub use crate::i2pcontrol::fuzzing::i2pcontrol;
    pub use crate::names::fuzzing::{feed, hosts};
    pub use crate::sam::fuzzing::{sam_line, sam_session};
    pub use crate::site::fuzzing::site_target;
    pub use crate::socks::fuzzing::socks;
    pub use crate::tunnels::irc::fuzzing::irc;
}
pub mod http;
pub mod i2cp;
pub mod i2pcontrol;
mod isolation;
pub mod limits;
pub mod names;
mod outlet;
mod outproxy;
mod port;
pub mod sam;
pub mod site;
pub mod socks;
mod targets;
mod tls;
pub mod tunnels;

pub use door::DoorConfig;
pub use files::FileError;
pub use outlet::{Outlet, Traffic};
pub use outproxy::OutproxyConfig;
pub use port::Port;
pub use targets::Order;
pub use tls::Tls;
