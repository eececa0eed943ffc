//! TCP connections by readiness, on the driver's one task: sockets are read and written when they are ready, with a
//! budget per turn, and no task is switched per connection.

use crate::config::Proxy;
use crate::net::proxy;
use futures_util::future::{AbortHandle, Aborted, FutureExt, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use ramson_core::link::{CloseKind, ConnId};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream};

/// Bytes that the core may write ahead of a socket.
pub(crate) const WRITE_AHEAD: usize = ramson_core::limits::link::WRITE_AHEAD;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A closed connection has this long to get its last bytes out.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

type Readiness = Pin<Box<dyn Future<Output = Result<Ready, Aborted>> + Send>>;

/// Something happened on a socket.
pub(crate) enum Ready {
    Connected(ConnId, io::Result<TcpStream>),
    Readable(ConnId),
    Writable(ConnId),
    /// The time to flush a closed connection is over.
    FlushOver(ConnId),
}

/// Where outgoing connections come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) v4: Option<IpAddr>,
    pub(crate) v6: Option<IpAddr>,
    pub(crate) proxy: Option<Proxy>,
}

/// What a read brought.
pub(crate) enum Read {
    /// So many bytes are in the buffer.
    Data(usize),
    /// Nothing now, or nothing that matters.
    Blocked,
    /// The connection is gone.
    Closed,
}

/// What a turn of writing brought.
pub(crate) struct Turn {
    /// Bytes that the socket took.
    pub(crate) written: usize,
    /// The connection is gone.
    pub(crate) closed: bool,
}

pub(crate) struct Connections {
    source: Source,
    conns: BTreeMap<ConnId, Connection>,
    /// Connections that are being made.
    opening: BTreeMap<ConnId, AbortHandle>,
    ready: FuturesUnordered<Readiness>,
    accepted: u64,
}

struct Connection {
    stream: Arc<TcpStream>,
    out: VecDeque<Vec<u8>>,
    /// Bytes of the first vector that are written.
    done: usize,
    waits_to_write: bool,
    /// Closed by the core: goes when `out` is empty.
    flushing: bool,
    /// End the waits for readiness, which hold the socket open.
    reads: Option<AbortHandle>,
    writes: Option<AbortHandle>,
}

/// Reads what is there. A read that does not fill the buffer has emptied the socket: that it is no longer readable is noted
/// at once, so that it need not be asked again to find out.
fn read_now(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut short = None;
    let full = stream.try_io(Interest::READABLE, || {
        let n = (&*socket2::SockRef::from(stream)).read(buffer)?;
        if n == 0 || n == buffer.len() {
            return Ok(n);
        }
        short = Some(n);
        Err(io::ErrorKind::WouldBlock.into())
    });
    short.map_or(full, Ok)
}

impl Connections {
    pub(crate) fn new(source: Source) -> Self {
        let ready = FuturesUnordered::new();
        Self { source, conns: BTreeMap::new(), opening: BTreeMap::new(), ready, accepted: 0 }
    }

    /// The next readiness; pends while there is no connection.
    pub(crate) async fn next(&mut self) -> Ready {
        loop {
            match self.ready.next().await {
                Some(Ok(ready)) => return ready,
                Some(Err(Aborted)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// A readiness that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Ready> {
        loop {
            if let Ok(ready) = self.ready.next().now_or_never()?? {
                return Some(ready);
            }
        }
    }

    /// Starts to connect; [`Ready::Connected`] tells the outcome.
    pub(crate) fn open(&mut self, id: ConnId, addr: SocketAddr) {
        let source = self.source.clone();
        let (opening, abort) = abortable(async move {
            let connecting = tokio::time::timeout(CONNECT_TIMEOUT, connect(&source, addr));
            let result = connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            Ready::Connected(id, result)
        });
        self.opening.insert(id, abort);
        self.ready.push(Box::pin(opening));
    }

    /// Takes over a connection that stands.
    pub(crate) fn insert(&mut self, id: ConnId, stream: TcpStream) {
        self.opening.remove(&id);
        let _ = stream.set_nodelay(true);
        let connection = Connection {
            stream: Arc::new(stream),
            out: VecDeque::new(),
            done: 0,
            waits_to_write: false,
            flushing: false,
            reads: None,
            writes: None,
        };
        self.conns.insert(id, connection);
        self.await_readable(id);
    }

    /// Numbers an accepted connection and takes it over.
    pub(crate) fn insert_accepted(&mut self, stream: TcpStream) -> ConnId {
        let id = ConnId(ConnId::INBOUND | self.accepted);
        self.accepted += 1;
        self.insert(id, stream);
        id
    }

    /// Reads once. When it is [`Read::Blocked`], or to go on in a later turn, call [`Connections::await_readable`].
    pub(crate) fn read(&mut self, id: ConnId, buffer: &mut [u8]) -> Read {
        let Some(conn) = self.conns.get_mut(&id) else { return Read::Blocked };
        match read_now(&conn.stream, buffer) {
            Ok(0) => {}
            // The core has closed it: what still comes is of no use.
            Ok(_) if conn.flushing => return Read::Blocked,
            Ok(n) => return Read::Data(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Read::Blocked,
            Err(_) => {}
        }
        let flushing = conn.flushing;
        self.forget(id);
        if flushing { Read::Blocked } else { Read::Closed }
    }

    /// Queues bytes and writes what the socket takes now.
    pub(crate) fn write(&mut self, id: ConnId, bytes: Vec<u8>) -> Turn {
        match self.conns.get_mut(&id) {
            Some(conn) => conn.out.push_back(bytes),
            None => return Turn { written: 0, closed: false },
        }
        self.pump(id)
    }

    /// Goes on writing: after [`Ready::Writable`].
    pub(crate) fn writable(&mut self, id: ConnId) -> Turn {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.waits_to_write = false;
        }
        self.pump(id)
    }

    /// Closes a connection, or gives up making it.
    pub(crate) fn close(&mut self, id: ConnId, how: CloseKind) {
        if let Some(opening) = self.opening.remove(&id) {
            return opening.abort();
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match how {
            CloseKind::Flush if !conn.out.is_empty() => {
                conn.flushing = true;
                self.ready.push(Box::pin(async move {
                    tokio::time::sleep(FLUSH_TIMEOUT).await;
                    Ok(Ready::FlushOver(id))
                }));
            }
            CloseKind::Flush => self.end(id),
            CloseKind::Reset => {
                // A zero linger time makes the system send a reset.
                let _ = socket2::SockRef::from(&*conn.stream).set_linger(Some(Duration::ZERO));
                self.forget(id);
            }
        }
    }

    /// Drops a connection, if it is there still.
    pub(crate) fn forget(&mut self, id: ConnId) {
        self.opening.remove(&id);
        if let Some(conn) = self.conns.remove(&id) {
            conn.reads.iter().chain(&conn.writes).for_each(AbortHandle::abort);
        }
    }

    /// Drops a connection whose bytes are all written. What was not read is taken away first: a close over unread
    /// bytes is a reset, which can overtake the last bytes at the peer.
    fn end(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get(&id) {
            let mut unread = [0; 4096];
            for _ in 0..16 {
                if !matches!(conn.stream.try_read(&mut unread), Ok(1..)) {
                    break;
                }
            }
        }
        self.forget(id);
    }

    /// Whether no connection stands. Those that are being made do not count.
    pub(crate) fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    fn pump(&mut self, id: ConnId) -> Turn {
        let mut turn = Turn { written: 0, closed: false };
        let Some(conn) = self.conns.get_mut(&id) else { return turn };
        if conn.waits_to_write {
            return turn;
        }
        let blocked = loop {
            let Some(first) = conn.out.front() else { break false };
            let rest = first.get(conn.done..).unwrap_or_default();
            match conn.stream.try_write(rest) {
                Ok(n) => {
                    turn.written += n;
                    conn.done += n;
                    if conn.done >= first.len() {
                        conn.out.pop_front();
                        conn.done = 0;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break true,
                Err(_) => {
                    turn.closed = !conn.flushing;
                    self.forget(id);
                    return turn;
                }
            }
        };
        if blocked {
            self.await_writable(id);
        } else if conn.flushing {
            self.end(id);
        }
        turn
    }

    /// Has [`Ready::Readable`] told when there is something to read.
    pub(crate) fn await_readable(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let stream = Arc::clone(&conn.stream);
        let (wait, abort) = abortable(async move {
            let _ = stream.readable().await;
            Ready::Readable(id)
        });
        conn.reads = Some(abort);
        self.ready.push(Box::pin(wait));
    }

    fn await_writable(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let stream = Arc::clone(&conn.stream);
        let (wait, abort) = abortable(async move {
            let _ = stream.writable().await;
            Ready::Writable(id)
        });
        conn.waits_to_write = true;
        conn.writes = Some(abort);
        self.ready.push(Box::pin(wait));
    }
}

async fn connect(source: &Source, addr: SocketAddr) -> io::Result<TcpStream> {
    if let Some(proxy) = &source.proxy {
        return proxy::connect(proxy, addr).await;
    }
    let (socket, from) =
        if addr.is_ipv4() { (TcpSocket::new_v4()?, source.v4) } else { (TcpSocket::new_v6()?, source.v6) };
    if let Some(ip) = from {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.connect(addr).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const ID: ConnId = ConnId(1);

    async fn pair() -> (Connections, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut conns = Connections::new(Source::default());
        conns.open(ID, listener.local_addr().unwrap());
        let (accepted, ready) = tokio::join!(listener.accept(), conns.next());
        let (peer, _) = accepted.unwrap();
        match ready {
            Ready::Connected(ID, Ok(stream)) => conns.insert(ID, stream),
            _ => panic!("not connected"),
        }
        (conns, peer)
    }

    async fn read_some(conns: &mut Connections) -> Option<Vec<u8>> {
        let mut buffer = [0; 1024];
        loop {
            let Ready::Readable(id) = conns.next().await else { continue };
            match conns.read(id, &mut buffer) {
                Read::Data(n) => return Some(buffer[..n].to_vec()),
                Read::Closed => return None,
                Read::Blocked => conns.await_readable(id),
            }
        }
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_and_the_end_is_told_once() {
        let (mut conns, mut peer) = pair().await;
        assert_eq!(conns.write(ID, b"ping".to_vec()).written, 4);
        let mut got = [0; 4];
        peer.read_exact(&mut got).await.unwrap();
        peer.write_all(b"pong").await.unwrap();
        assert_eq!(read_some(&mut conns).await.unwrap(), b"pong");
        conns.await_readable(ID);
        drop(peer);
        assert_eq!(read_some(&mut conns).await, None);
        assert!(conns.is_empty());
        assert!(!conns.write(ID, b"late".to_vec()).closed);
    }

    #[tokio::test]
    async fn a_full_socket_holds_back_and_writes_on_when_there_is_room() {
        let (mut conns, mut peer) = pair().await;
        let sent: Vec<u8> = (0..6_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
        let mut written = 0;
        for chunk in sent.chunks(100_000) {
            written += conns.write(ID, chunk.to_vec()).written;
        }
        assert!(written < sent.len(), "the peer has not read yet");
        let reader = tokio::spawn(async move {
            let mut got = vec![0; 6_000_000];
            peer.read_exact(&mut got).await.map(|_| got)
        });
        while written < sent.len() {
            if let Ready::Writable(id) = conns.next().await {
                written += conns.writable(id).written;
            }
        }
        assert_eq!(written, sent.len());
        assert!(reader.await.unwrap().unwrap() == sent);
    }

    #[tokio::test]
    async fn a_flushing_close_delivers_all_and_then_ends() {
        let (mut conns, mut peer) = pair().await;
        // What we have not read must not become a reset.
        peer.write_all(b"unread").await.unwrap();
        let sent = vec![7; 5_000_000];
        conns.write(ID, sent.clone());
        conns.close(ID, CloseKind::Flush);
        assert!(!conns.is_empty());
        let reader = tokio::spawn(async move {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).await.map(|_| got)
        });
        let mut buffer = [0; 1024];
        while !conns.is_empty() {
            match conns.next().await {
                Ready::Writable(id) => assert!(!conns.writable(id).closed),
                Ready::Readable(id) => {
                    assert!(matches!(conns.read(id, &mut buffer), Read::Blocked));
                    conns.await_readable(id);
                }
                Ready::FlushOver(id) => conns.forget(id),
                Ready::Connected(..) => panic!("connected twice"),
            }
        }
        // The wait for readability holds the socket until it is seen to be over.
        let waits = tokio::time::timeout(Duration::from_millis(20), conns.next()).await;
        assert!(waits.is_err() || matches!(waits, Ok(Ready::FlushOver(_))));
        assert!(reader.await.unwrap().unwrap() == sent);
    }

    #[tokio::test]
    async fn a_reset_is_seen_by_the_peer() {
        let (mut conns, mut peer) = pair().await;
        conns.close(ID, CloseKind::Reset);
        assert!(conns.is_empty());
        let mut got = [0; 1];
        let read = peer.read(&mut got);
        let read = tokio::select! {
            read = read => read,
            _ = conns.next() => panic!("nothing is left"),
        };
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_connection_that_cannot_be_made_or_is_given_up_is_told_or_forgotten() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut conns = Connections::new(Source::default());
        conns.open(ID, addr);
        conns.close(ID, CloseKind::Reset);
        drop(listener);
        conns.open(ConnId(2), addr);
        assert!(matches!(conns.next().await, Ready::Connected(ConnId(2), Err(_))));
        assert!(conns.opening.contains_key(&ConnId(2)));
        conns.forget(ConnId(2));
        assert!(conns.opening.is_empty());
    }
}
