//! Another router instead of one inside: the same API over I2CP.

use crate::error::{Error, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// A router that runs already, such as i2pd, the Java router or Ramson, and where it is reached by I2CP
/// (<https://geti2p.net/spec/i2cp>). [`crate::Builder::over_i2cp`] and [`crate::Ramson::over_i2cp`] take it.
///
/// Keys of destinations stay in this process, and streams and datagrams are made and read here. The router gets the private
/// part of the key by which garlic is encrypted: it reads what peers send, as the router inside would.
///
/// A destination is ready when the router has its LeaseSet. When others find it, I2CP does not tell: connects to a new
/// server fail with [`ErrorKind::NotFound`] until then. i2pd (2.59) publishes the LeaseSets of clients, too.
///
/// What I2CP does not tell, nobody can ask for: [`crate::Ramson::inside`], [`crate::Ramson::reseed`],
/// [`crate::Ramson::export_reseed`], [`crate::Ramson::drain`], [`crate::LocalDestination::route`],
/// [`crate::LocalDestination::inbound_tunnels`] and keyless destinations fail with [`ErrorKind::Unsupported`]. The status
/// has our destinations and nothing else of the router.
#[derive(Clone)]
pub struct I2cpRouter {
    pub(crate) at: Place,
    pub(crate) login: Option<(String, Zeroizing<String>)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Tcp {
        address: SocketAddr,
        far: bool,
    },
    #[cfg(unix)]
    Unix(PathBuf),
}

impl I2cpRouter {
    /// A router of this machine, at a loopback address; 127.0.0.1:7654 is the usual one. Any other address is
    /// [`ErrorKind::Misuse`] when it is used.
    pub const fn tcp(address: SocketAddr) -> Self {
        Self { at: Place::Tcp { address, far: false }, login: None }
    }

    /// A router of another machine. Danger: I2CP is not encrypted here. Whoever sees the packets on their way there sees
    /// which destinations are ours, whom they talk to, the password, and the keys by which all that peers send is read.
    pub const fn dangerously_tcp_in_the_clear(address: SocketAddr) -> Self {
        Self { at: Place::Tcp { address, far: true }, login: None }
    }

    /// A Unix socket, as Ramson's setting `socket` in `[i2cp]` opens it.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { at: Place::Unix(path.into()), login: None }
    }

    /// The user and the password that the router asks for, each up to 255 bytes.
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((user.into(), Zeroizing::new(password.into())));
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let misuse = |why: String| Err(Error::new(ErrorKind::Misuse, why));
        if let Place::Tcp { address, far: false } = &self.at
            && !address.ip().is_loopback()
        {
            return misuse(format!("{address} is another machine's: keys and passwords would pass in the clear"));
        }
        match &self.login {
            Some((user, word)) if user.len() > 255 || word.len() > 255 => {
                misuse("user and password of I2CP have 255 bytes at most".into())
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for I2cpRouter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("I2cpRouter").field("at", &self.at).finish_non_exhaustive()
    }
}
