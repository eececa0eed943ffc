//! The SOCKS proxy, versions 4, 4a and 5, for programs that know no other way. It leads into I2P: addresses in numbers
//! and names of the clear net are refused, unless there is an outproxy. Nothing is looked up in the DNS, ever.
//!
//! Users and passwords are no lock here: whoever reaches the proxy may use it. They keep apart: each pair has its own
//! destination, so that those who see both cannot tell that they are of one router.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod request;
#[cfg(test)]
mod tests;

use crate::isolation::Isolation;
use crate::limits::{HEAD_TIME, LOCAL_CONNECTIONS, READY_TIME_PROGRAM, SOCKS_HEAD_TIME};
use crate::names::Names;
use crate::outlet::{Outlet, Traffic, target};
use crate::outproxy::{Outproxy, OutproxyConfig, begins_tls};
use crate::port::Port;
use crate::tunnels::{self, relay};
use ramson::{DestinationOptions, Error, ErrorKind, Ramson};
use request::{Asked, Code, Place, Refused};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How the proxy works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocksConfig {
    /// What the destinations of users are like.
    pub isolated: DestinationOptions,
    /// The way to the clear net; without one there is none.
    pub outproxy: Option<OutproxyConfig>,
}

/// A SOCKS proxy at its port.
#[derive(Debug)]
pub struct Socks {
    port: Port,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outlet: Outlet,
    isolation: Isolation,
    names: Arc<Names>,
    outproxy: Option<Outproxy>,
}

impl Socks {
    /// A proxy at `port`. Who names no user leaves by `outlet`. Fails with [`ErrorKind::Misuse`] beyond loopback: SOCKS
    /// has no lock that is worth the name.
    pub fn new(
        config: SocksConfig,
        port: Port,
        outlet: Outlet,
        ramson: Ramson,
        names: Arc<Names>,
    ) -> Result<Self, Error> {
        let at = port.local_addr().map_err(|e| Error::new(ErrorKind::Setup, e.to_string()))?;
        if !at.ip().is_loopback() {
            return Err(Error::new(ErrorKind::Misuse, format!("the SOCKS proxy at {at}: only loopback addresses")));
        }
        let shared = Shared::new(config, outlet, ramson, names)?;
        Ok(Self { port, shared: Arc::new(shared) })
    }

    /// What passes it.
    pub fn traffic(&self) -> &Traffic {
        self.shared.outlet.traffic()
    }

    /// Serves until the future is dropped; its connections end with it.
    pub async fn run(self) {
        let slots = Arc::new(Semaphore::new(LOCAL_CONNECTIONS));
        let mut tasks = JoinSet::new();
        while let Some((mut stream, slot)) = self.port.accept_one_of(&slots).await {
            while tasks.try_join_next().is_some() {}
            let shared = Arc::clone(&self.shared);
            tasks.spawn(async move {
                tunnels::hold(&stream);
                if shared.serve(&mut stream).await.is_ok() {
                    tunnels::let_go(&stream);
                }
                drop(slot);
            });
        }
    }
}

impl Shared {
    fn new(config: SocksConfig, outlet: Outlet, ramson: Ramson, names: Arc<Names>) -> Result<Self, Error> {
        let isolation = Isolation::new(ramson, config.isolated, outlet.traffic().clone());
        let outproxy = config.outproxy.map(Outproxy::new).transpose()?;
        Ok(Self { outlet, isolation, names, outproxy })
    }

    /// One connection of a program. An error is a transfer that broke.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> io::Result<()> {
        let asked = match timeout(SOCKS_HEAD_TIME, request::read(stream)).await {
            Ok(Ok(asked)) => asked,
            // Nobody hears more who is silent, or speaks another protocol.
            Err(_) | Ok(Err(Refused::Silently)) => return Ok(()),
            Ok(Err(Refused::With(reply))) => return end(stream, &reply).await,
        };
        let outlet = match asked.user {
            Some(user) => self.isolation.outlet(user),
            None => Ok(self.outlet.clone()),
        };
        let outlet = match outlet {
            Ok(outlet) => outlet,
            Err(e) => return end(stream, &asked.reply(Code::of(&e))).await,
        };
        match &asked.place {
            Place::I2p(host) => {
                let opened = async { outlet.connect(target(&self.names, host)?, asked.port, READY_TIME_PROGRAM).await };
                match opened.await {
                    Ok(remote) => {
                        stream.write_all(&asked.reply(Code::Granted)).await?;
                        let (mut from, mut to) = tokio::io::split(remote);
                        pass(stream, &mut from, &mut to).await
                    }
                    Err(e) => end(stream, &asked.reply(Code::of(&e))).await,
                }
            }
            Place::Clear(host) => self.leave(stream, &asked, host, &outlet).await,
            Place::Never(code) => end(stream, &asked.reply(*code)).await,
        }
    }

    /// To the clear net, if there is a way.
    async fn leave<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        asked: &Asked,
        host: &str,
        outlet: &Outlet,
    ) -> io::Result<()> {
        let Some(outproxy) = &self.outproxy else { return end(stream, &asked.reply(Code::NotAllowed)).await };
        let mut side = match outproxy.connect(outlet, &self.names, host, asked.port).await {
            Ok(side) => side,
            Err(e) => return end(stream, &asked.reply(Code::of(&e))).await,
        };
        stream.write_all(&asked.reply(Code::Granted)).await?;
        let mut first = Vec::new();
        if !outproxy.plain {
            let is_tls = async {
                loop {
                    match begins_tls(&first) {
                        Some(is) => return is,
                        None => match stream.read_buf(&mut first).await {
                            Ok(n) if n > 0 => {}
                            _ => return false,
                        },
                    }
                }
            };
            if !timeout(HEAD_TIME, is_tls).await.unwrap_or(false) {
                tracing::info!("SOCKS: only TLS leaves by the outproxy");
                return Ok(());
            }
        }
        side.to.write_all(&first).await?;
        stream.write_all(side.from.buffered()).await?;
        pass(stream, side.from.inner(), &mut side.to).await
    }
}

async fn pass<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let (mut local_from, mut local_to) = tokio::io::split(stream);
    relay(&mut local_from, &mut local_to, from, to).await
}

/// A last word, and the end in order.
async fn end<S: AsyncWrite + Unpin>(stream: &mut S, reply: &[u8]) -> io::Result<()> {
    let said = async {
        stream.write_all(reply).await?;
        stream.shutdown().await
    };
    // Who does not read it does not miss it.
    let _ = timeout(SOCKS_HEAD_TIME, said).await;
    Ok(())
}
