//! The driver: joins the core's machines to sockets, disk and clock.

use crate::client::Ramson;
use crate::config::Config;
use crate::error::{Error, ErrorKind};

/// Starts a router, see [`Ramson::start`].
#[allow(clippy::unused_async)]
pub(crate) async fn start(config: Config) -> Result<Ramson, Error> {
    Err(Error::new(ErrorKind::Setup, format!("this build has no driver for network {}", config.network.id)))
}
