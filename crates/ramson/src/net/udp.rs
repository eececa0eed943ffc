//! UDP sockets by readiness, on the driver's one task: many datagrams to one peer, or of one peer, take one system call
//! where the system can segment and join them (GSO and GRO), and many senders are read in one call (recvmmsg).
//!
//! What a socket does not take waits in its order, up to a bound; the core is told to hold back meanwhile. What is beyond
//! the bound is lost, as on the way.

use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use ramson_core::router::{Datagrams, UdpId};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::Poll;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Buffers that one call fills, each with datagrams of one sender.
pub(crate) const BATCH: usize = 8;
/// A buffer holds the longest datagram, and as many as the system joins.
pub(crate) const BUFFER: usize = 64 << 10;
/// What the system shall hold for us; it may give less.
const RECEIVE_BUFFER: usize = 4 << 20;
const SEND_BUFFER: usize = 2 << 20;
/// Bytes that wait for a socket; datagrams beyond are lost.
const QUEUE_BYTES: usize = 2 << 20;
/// The system takes no more than this in one call.
const MOST_AT_ONCE: usize = 65_000;

/// Something can be done with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UdpReady {
    Readable(UdpId),
    Writable(UdpId),
}

/// Datagrams of one sender, at the start of one of the buffers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) from: SocketAddr,
    pub(crate) to: Option<std::net::IpAddr>,
    pub(crate) len: usize,
    pub(crate) segment: usize,
    pub(crate) congested: bool,
}

/// All UDP sockets of the router.
#[derive(Default)]
pub(crate) struct UdpSockets {
    sockets: Vec<Socket>,
    next: usize,
}

struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    out: VecDeque<Datagrams>,
    out_bytes: usize,
    blocked: bool,
    /// Datagrams that the system refused, or for which there was no room.
    lost: u64,
}

impl UdpSockets {
    /// Binds one more address; the error names it.
    pub(crate) fn add(&mut self, addr: SocketAddr) -> io::Result<()> {
        let socket = Socket::bind(addr)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot use UDP at {addr}: {error}")))?;
        self.sockets.push(socket);
        Ok(())
    }

    /// Where the sockets are bound, by [`UdpId`].
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.socket.local_addr().ok()).collect()
    }

    /// Buffers for [`UdpSockets::receive`]; none without sockets.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        vec![0; if self.sockets.is_empty() { 0 } else { BATCH * BUFFER }]
    }

    /// The next thing that can be done; pends for ever without sockets. With `read` false nothing is told of what has come.
    pub(crate) async fn next(&mut self, read: bool) -> UdpReady {
        let first = self.next;
        let (sockets, next) = (&self.sockets, &mut self.next);
        poll_fn(|cx| {
            for turn in 0..sockets.len() {
                let at = (first + turn) % sockets.len();
                let (Some(socket), Ok(id)) = (sockets.get(at), u8::try_from(at)) else { continue };
                if socket.blocked && socket.socket.poll_send_ready(cx).is_ready() {
                    return Poll::Ready(UdpReady::Writable(UdpId(id)));
                }
                if read && socket.socket.poll_recv_ready(cx).is_ready() {
                    *next = at + 1;
                    return Poll::Ready(UdpReady::Readable(UdpId(id)));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Reads what is there, up to a batch: what was received is at the starts of the [`BUFFER`]s of `buffer`. Zero when
    /// there is nothing any more.
    pub(crate) fn receive(&self, id: UdpId, buffer: &mut [u8], received: &mut [Option<Received>; BATCH]) -> usize {
        let Some(socket) = self.sockets.get(usize::from(id.0)) else { return 0 };
        let mut metas = [RecvMeta::default(); BATCH];
        let mut chunks = buffer.chunks_mut(BUFFER);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let read = socket.socket.try_io(Interest::READABLE, || {
            let read = socket.state.recv(UdpSockRef::from(&socket.socket), &mut slices, &mut metas);
            // Whatever else it was: it is over, and waiting for more is all that can be done about it.
            read.map_err(|_| io::ErrorKind::WouldBlock.into())
        });
        let read = read.unwrap_or(0);
        for (meta, received) in metas.iter().take(read).zip(received) {
            *received = Some(Received {
                from: meta.addr,
                to: meta.dst_ip,
                len: meta.len,
                segment: if meta.stride == 0 { meta.len } else { meta.stride },
                congested: meta.ecn == Some(EcnCodepoint::Ce),
            });
        }
        read
    }

    /// Sends, or has it wait behind what waits already. True when the socket has just begun to block.
    pub(crate) fn send(&mut self, datagrams: Datagrams) -> bool {
        let Some(socket) = self.sockets.get_mut(usize::from(datagrams.socket.0)) else { return false };
        if socket.blocked {
            socket.wait(datagrams);
            return false;
        }
        match socket.send(&datagrams) {
            Ok(()) => false,
            Err(sent) => {
                socket.blocked = true;
                let mut rest = datagrams;
                rest.bytes.drain(..sent);
                socket.wait(rest);
                true
            }
        }
    }

    /// Goes on sending: after [`UdpReady::Writable`]. True when the socket has taken all, and blocks no longer.
    pub(crate) fn writable(&mut self, id: UdpId) -> bool {
        let Some(socket) = self.sockets.get_mut(usize::from(id.0)) else { return false };
        while let Some(mut datagrams) = socket.out.pop_front() {
            socket.out_bytes = socket.out_bytes.saturating_sub(datagrams.bytes.len());
            if let Err(sent) = socket.send(&datagrams) {
                datagrams.bytes.drain(..sent);
                socket.out_bytes += datagrams.bytes.len();
                socket.out.push_front(datagrams);
                return false;
            }
        }
        std::mem::take(&mut socket.blocked)
    }
}

impl Socket {
    fn bind(addr: SocketAddr) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(addr);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        if addr.is_ipv6() {
            // Both families have sockets of their own.
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        // What the system does not allow is no failure: it holds less then.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        socket.bind(&addr.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, state, out: VecDeque::new(), out_bytes: 0, blocked: false, lost: 0 })
    }

    fn wait(&mut self, datagrams: Datagrams) {
        if self.out_bytes + datagrams.bytes.len() > QUEUE_BYTES {
            self.lost += 1;
        } else if !datagrams.bytes.is_empty() {
            self.out_bytes += datagrams.bytes.len();
            self.out.push_back(datagrams);
        }
    }

    /// Sends datagrams, in as few calls as the system allows. `Err` when it takes no more: with the bytes that are sent.
    fn send(&mut self, datagrams: &Datagrams) -> Result<(), usize> {
        let segment = datagrams.segment.max(1);
        let mut sent = 0;
        while let Some(rest) = datagrams.bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let segments = self.state.max_gso_segments().min(MOST_AT_ONCE / segment).max(1);
            let contents = rest.get(..segments.saturating_mul(segment)).unwrap_or(rest);
            let transmit = Transmit {
                destination: datagrams.to,
                ecn: None,
                contents,
                segment_size: (contents.len() > segment).then_some(segment),
                src_ip: datagrams.from,
            };
            let send = || self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
            // The runtime does not know of a new socket that it can be written, but it must know when one cannot be.
            let result = send().or_else(|error| match error.kind() {
                io::ErrorKind::WouldBlock => self.socket.try_io(Interest::WRITABLE, send),
                _ => Err(error),
            });
            match result {
                Ok(()) => sent += contents.len(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(sent),
                // The network card cannot segment, which is known from now on: once more, one by one.
                Err(_) if self.state.max_gso_segments() < segments => {}
                // Too large for the interface, no route, forbidden: lost, as on the way.
                Err(error) => {
                    self.lost += contents.len().div_ceil(segment) as u64;
                    tracing::trace!(%error, "a datagram is not sent");
                    sent += contents.len();
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
