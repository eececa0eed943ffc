//! Where local programs connect to.

use ramson::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A local port. Clones are the same one; it is free again when the last is dropped. So what stands behind it can be
/// changed while nobody is turned away.
#[derive(Clone, Debug)]
pub struct Port(Arc<TcpListener>);

impl Port {
    /// Listens at an address of this machine; `what` names the listener in the error. Fails with [`ErrorKind::Setup`].
    pub async fn bind(at: SocketAddr, what: &str) -> Result<Self, Error> {
        let cannot = |e| Error::new(ErrorKind::Setup, format!("{what} cannot listen at {at}: {e}"));
        TcpListener::bind(at).await.map(|listener| Self(Arc::new(listener))).map_err(cannot)
    }

    /// The address that it listens at.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> TcpStream {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    return stream;
                }
                // Out of file descriptors, most likely: others must end first.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    }

    /// The next connection, when one of `slots` is free. `None` never comes while the slots are open.
    pub(crate) async fn accept_one_of(&self, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let slot = Arc::clone(slots).acquire_owned().await.ok()?;
        Some((self.accept().await, slot))
    }
}
