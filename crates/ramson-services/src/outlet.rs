//! Where connections of local programs leave from: a destination of ours, which may be opened by the first of them and
//! closed when none was there for a while.

use crate::limits::{CONNECT_TIME, READY_TIME_PROGRAM};
use crate::names::{Host, Names};
use ramson::{DestinationOptions, Error, ErrorKind, LocalDestination, PrivateKeys, Progress, Ramson, Stream, Target};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Plain, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// What has passed a service. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    open: AtomicUsize,
    opened: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Connections and, of datagram services, local sockets that are open.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// All that were ever opened.
    pub fn opened(&self) -> u64 {
        self.0.opened.load(Ordering::Relaxed)
    }

    /// Bytes that went into the network.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Bytes that came out of it.
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// One more connection, until what this gives is dropped.
    pub(crate) fn enter(&self) -> Counted {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    pub(crate) fn add_sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A connection that is counted as open.
#[derive(Debug)]
pub(crate) struct Counted(Traffic);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A destination of ours for what local programs send. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Outlet {
    inner: Arc<Inner>,
    traffic: Traffic,
}

#[derive(Debug)]
struct Inner {
    maker: Option<Maker>,
    open: Mutex<Option<LocalDestination>>,
    /// The same, for those who do not wait.
    seen: Plain<Option<LocalDestination>>,
    uses: AtomicUsize,
    last: Plain<Instant>,
}

/// How a destination is made when it is needed.
struct Maker {
    ramson: Ramson,
    options: DestinationOptions,
    keys: Option<PrivateKeys>,
    /// Closed when it was not used for so long.
    idle: Option<Duration>,
}

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maker").field("options", &self.options).field("idle", &self.idle).finish_non_exhaustive()
    }
}

impl From<LocalDestination> for Outlet {
    /// One that is open already, and stays.
    fn from(local: LocalDestination) -> Self {
        Self::with(None, Some(local))
    }
}

impl Outlet {
    /// One whose destination is made at the first connection, and closed when none was there for `idle`.
    pub fn on_demand(
        ramson: Ramson,
        options: DestinationOptions,
        keys: Option<PrivateKeys>,
        idle: Option<Duration>,
    ) -> Self {
        Self::with(Some(Maker { ramson, options, keys, idle }), None)
    }

    fn with(maker: Option<Maker>, open: Option<LocalDestination>) -> Self {
        let (uses, last) = (AtomicUsize::new(0), Plain::new(Instant::now()));
        let inner = Inner { maker, seen: Plain::new(open.clone()), open: Mutex::new(open), uses, last };
        Self { inner: Arc::new(inner), traffic: Traffic::default() }
    }

    /// The same destination, whose traffic is counted by itself.
    pub fn counted_by(&self, traffic: Traffic) -> Self {
        Self { inner: Arc::clone(&self.inner), traffic }
    }

    /// What has passed it.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The destination, if it is open now.
    pub fn open_now(&self) -> Option<LocalDestination> {
        self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this is the only handle.
    pub(crate) fn is_held_once(&self) -> bool {
        Arc::strong_count(&self.inner) == 1
    }

    /// The destination, opened if it is not. It stays open for as long as what this gives lives.
    pub(crate) async fn enter(&self) -> Result<Inside, Error> {
        let inner = Use::of(&self.inner);
        let mut open = self.inner.open.lock().await;
        let local = match (&*open, &self.inner.maker) {
            (Some(local), _) => local.clone(),
            (None, None) => return Err(Error::new(ErrorKind::Closed, "the destination is closed")),
            (None, Some(maker)) => {
                let local = maker.ramson.destination(maker.options.clone(), maker.keys.clone()).await?;
                *open = Some(local.clone());
                self.inner.see(Some(local.clone()));
                if let Some(idle) = maker.idle {
                    tokio::spawn(close_when_idle(Arc::downgrade(&self.inner), idle));
                }
                local
            }
        };
        Ok(Inside { local, _use: inner })
    }

    /// The destination, when its tunnels stand; it fails with [`ErrorKind::NotReady`] after `patience`.
    pub(crate) async fn ready(&self, patience: Duration) -> Result<Inside, Error> {
        let inside = self.enter().await?;
        let mut progress = inside.local.progress();
        let _ = timeout(patience, progress.wait_for(Progress::is_ready)).await;
        let now = progress.borrow().clone();
        if now.is_ready() { Ok(inside) } else { Err(Error::not_ready(now)) }
    }

    /// A stream to `port` of `target`. Waits up to `patience` for our own tunnels.
    pub(crate) async fn connect(&self, target: Target, port: u16, patience: Duration) -> Result<Remote, Error> {
        let inside = self.ready(patience).await?;
        let stream = match timeout(CONNECT_TIME, inside.local.connect((target, port))).await {
            Ok(stream) => stream?,
            Err(_) => return Err(Error::new(ErrorKind::PeerNotAnswering, "no answer in time")),
        };
        Ok(Remote { stream, traffic: self.traffic.clone(), _counted: self.traffic.enter(), _inside: Some(inside) })
    }

    /// The same for a program, which waits longer than a person.
    pub(crate) async fn connect_for_program(&self, target: Target, port: u16) -> Result<Remote, Error> {
        self.connect(target, port, READY_TIME_PROGRAM).await
    }
}

impl Inner {
    fn see(&self, open: Option<LocalDestination>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = open;
    }

    fn idle_for(&self) -> Duration {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Closes a destination that nobody has used for `idle`, and ends then, or with its outlet.
async fn close_when_idle(inner: std::sync::Weak<Inner>, idle: Duration) {
    let mut wait = idle;
    loop {
        tokio::time::sleep(wait).await;
        let Some(inner) = inner.upgrade() else { return };
        let mut open = inner.open.lock().await;
        let idle_for = inner.idle_for();
        if inner.uses.load(Ordering::Acquire) == 0 && idle_for >= idle {
            *open = None;
            inner.see(None);
            return;
        }
        wait = if inner.uses.load(Ordering::Acquire) == 0 { idle.saturating_sub(idle_for) } else { idle };
        // Never in a circle without a pause.
        wait = wait.max(Duration::from_secs(1));
    }
}

/// A destination that does not close while this lives.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) local: LocalDestination,
    _use: Use,
}

#[derive(Debug)]
struct Use(Arc<Inner>);

impl Use {
    fn of(inner: &Arc<Inner>) -> Self {
        inner.uses.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(inner))
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.uses.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A stream that is counted, and keeps its destination open.
#[derive(Debug)]
pub(crate) struct Remote {
    stream: Stream,
    traffic: Traffic,
    _counted: Counted,
    _inside: Option<Inside>,
}

impl Remote {
    /// A stream that came to a listener of ours.
    pub(crate) fn incoming(stream: Stream, traffic: &Traffic) -> Self {
        Self { stream, traffic: traffic.clone(), _counted: traffic.enter(), _inside: None }
    }
}

impl AsyncRead for Remote {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.traffic.add_received(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Remote {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = &polled {
            self.traffic.add_sent(*n);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Whom a host means.
pub(crate) fn target(names: &Names, host: &Host) -> Result<Target, Error> {
    match host {
        Host::B32(hash) => Ok(Target::Hash(*hash)),
        Host::Name(name) => {
            let unknown = || Error::new(ErrorKind::NotFound, "the name is not in the address book");
            Ok(Target::Destination(names.resolve(name).ok_or_else(unknown)?.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson::testing::Network;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const IDLE: Duration = Duration::from_secs(600);

    #[tokio::test(start_paused = true)]
    async fn an_outlet_opens_with_its_first_connection_and_closes_when_idle() {
        let network = Network::default();
        let ramson = network.router();
        let server = ramson.destination(DestinationOptions::server("s"), None).await.unwrap();
        let mut listener = server.listen(None).await.unwrap();
        let outlet = Outlet::on_demand(ramson.clone(), DestinationOptions::client("c"), None, Some(IDLE));
        assert!(network.destinations() == 1 && outlet.open_now().is_none());
        let mut stream = outlet.connect_for_program(Target::Hash(server.hash()), 0).await.unwrap();
        let mut theirs = listener.accept().await.unwrap().stream;
        let first = outlet.open_now().unwrap().hash();
        stream.write_all(b"four").await.unwrap();
        theirs.read_exact(&mut [0; 4]).await.unwrap();
        theirs.write_all(b"threes").await.unwrap();
        stream.read_exact(&mut [0; 6]).await.unwrap();
        let traffic = outlet.traffic().clone();
        assert_eq!((traffic.open(), traffic.opened(), traffic.sent(), traffic.received()), (1, 1, 4, 6));
        tokio::time::sleep(IDLE * 3).await;
        assert_eq!(network.destinations(), 2, "a stream that says nothing is a use all the same");
        drop(stream);
        tokio::time::sleep(IDLE - Duration::from_secs(2)).await;
        assert_eq!(network.destinations(), 2);
        tokio::time::sleep(IDLE + Duration::from_secs(5)).await;
        assert!(network.destinations() == 1 && outlet.open_now().is_none());
        assert_eq!(traffic.open(), 0);
        let _again = outlet.connect_for_program(Target::Hash(server.hash()), 0).await.unwrap();
        assert_ne!(outlet.open_now().unwrap().hash(), first, "and it is another one then");
    }

    #[tokio::test]
    async fn two_connections_at_once_open_one_destination() {
        let network = Network::default();
        let ramson = network.router();
        let server = ramson.destination(DestinationOptions::server("s"), None).await.unwrap();
        let _listener = server.listen(None).await.unwrap();
        let outlet = Outlet::on_demand(ramson.clone(), DestinationOptions::client("c"), None, None);
        let target = || Target::Hash(server.hash());
        let (a, b) = tokio::join!(outlet.connect_for_program(target(), 0), outlet.connect_for_program(target(), 0));
        assert!(a.is_ok() && b.is_ok());
        assert_eq!(network.destinations(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_tunnels_the_error_says_how_far_they_are() {
        let network = Network::default();
        network.start_unready();
        let outlet = Outlet::on_demand(network.router(), DestinationOptions::client("c"), None, None);
        let error = outlet.connect_for_program(Target::Hash(ramson::Hash([1; 32])), 0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotReady);
        assert!(error.progress().is_some() && outlet.traffic().opened() == 0);
    }
}
