//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// All listeners of the router.
#[derive(Default)]
pub(crate) struct Listeners {
    sockets: Vec<TcpListener>,
    next: usize,
}

impl Listeners {
    /// Listens on one more address; the error names it.
    pub(crate) fn add(&mut self, addr: SocketAddr) -> io::Result<()> {
        self.sockets.push(bind_one(addr).map_err(|e| name(addr, &e))?);
        Ok(())
    }

    /// Where the sockets listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|s| s.local_addr().ok()).collect()
    }

    /// The next connection of any listener. Never ends; pends for ever without listeners. A failure to accept (too many
    /// open files) is waited out.
    pub(crate) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let accepted = std::future::poll_fn(|cx| {
                for turn in 0..self.sockets.len() {
                    let at = (self.next + turn) % self.sockets.len();
                    if let Some(socket) = self.sockets.get(at)
                        && let std::task::Poll::Ready(result) = socket.poll_accept(cx)
                    {
                        self.next = at + 1;
                        return std::task::Poll::Ready(result);
                    }
                }
                std::task::Poll::Pending
            });
            match accepted.await {
                Ok(connection) => return connection,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    }
}

fn bind_one(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if addr.is_ipv6() {
        // Both families have sockets of their own.
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(256)
}

fn name(addr: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}"))
}
