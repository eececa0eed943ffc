//! The way to the clear net, where the user has one: an HTTP proxy at a destination of somebody else, who sees what is
//! not encrypted. So only TLS goes there, unless more is asked for.

use crate::http::head::Response;
use crate::http::wire::{Side, write};
use crate::limits::{HEAD_TIME, RESPONSE_TIME};
use crate::names::{Host, Names};
use crate::outlet::{Outlet, Remote};
use crate::targets::{Order, Targets};
use ramson::{Error, ErrorKind};

/// Whom the clear net is reached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutproxyConfig {
    /// HTTP proxies, tried in turn.
    pub to: Vec<Host>,
    /// Their port.
    pub port: u16,
    /// What is not encrypted may go there, too: its owner reads and can change it.
    pub plain: bool,
}

#[derive(Debug)]
pub(crate) struct Outproxy {
    targets: Targets,
    port: u16,
    pub(crate) plain: bool,
}

impl Outproxy {
    /// Fails with [`ErrorKind::Misuse`] if there is no proxy, or too many.
    pub(crate) fn new(config: OutproxyConfig) -> Result<Self, Error> {
        let OutproxyConfig { to, port, plain } = config;
        Ok(Self { targets: Targets::new(to, Order::InTurn)?, port, plain })
    }

    /// A stream to the outproxy itself, for a request that it reads.
    pub(crate) async fn open(&self, outlet: &Outlet, names: &Names) -> Result<Remote, Error> {
        self.targets.connect(outlet, names, self.port).await
    }

    /// A way through it to `host` and `port`: what comes from there may be buffered already.
    pub(crate) async fn connect(
        &self,
        outlet: &Outlet,
        names: &Names,
        host: &str,
        port: u16,
    ) -> Result<Side<Remote>, Error> {
        let mut side = Side::new(self.open(outlet, names).await?);
        let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        let broken = |_| Error::new(ErrorKind::Reset, "the outproxy has closed the connection");
        write(&mut side.to, request.as_bytes()).await.map_err(broken)?;
        let silent = || Error::new(ErrorKind::PeerNotAnswering, "the outproxy has not answered");
        let head = side.from.head(RESPONSE_TIME, HEAD_TIME).await.map_err(|_| silent())?.ok_or_else(silent)?;
        let odd = |_| Error::new(ErrorKind::Refused, "the answer of the outproxy cannot be read");
        match Response::parse(&head).map_err(odd)?.code {
            200..=299 => Ok(side),
            code => Err(Error::new(ErrorKind::Refused, format!("the outproxy refuses: status {code}"))),
        }
    }
}

/// Whether these are the first bytes of TLS: the record of a ClientHello (RFC 8446, section 5.1). `None` if there are
/// too few to tell.
pub(crate) fn begins_tls(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [] => None,
        [0x16] => None,
        [0x16, major, ..] => Some(*major == 3),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_known_by_its_first_bytes() {
        assert_eq!([begins_tls(b""), begins_tls(&[0x16])], [None, None]);
        assert_eq!([begins_tls(&[0x16, 3, 1]), begins_tls(&[0x16, 3])], [Some(true); 2]);
        for other in [&b"GET / HTTP/1.1"[..], &[0x16, 2], b"\x80\x2e\x01", b"E"] {
            assert_eq!(begins_tls(other), Some(false), "{other:?}");
        }
    }
}
