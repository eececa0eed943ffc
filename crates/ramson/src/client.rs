//! The handle of a running router, and of its own destinations.

use crate::address::{Address, Names};
use crate::builder::Builder;
use crate::config::Config;
use crate::datagram::{DatagramFormat, DatagramSink, Datagrams, OutgoingDatagram, QUEUE};
use crate::error::{Error, ErrorKind};
use crate::i2cp::I2cpRouter;
use crate::key_file;
use crate::reseed::Sources;
use crate::seam::{Command, Created, DestinationId, Reply};
use crate::status::{Draining, Event, InboundTunnel, Inside, Progress, Route, Stage, Status};
use crate::stream::Stream;
use ramson_wire::data::{Destination, Hash, Mapping, PrivateKeys, base32};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::{broadcast, oneshot, watch};

/// Incoming streams that wait to be accepted, per listener; more are reset.
const ACCEPT_QUEUE: usize = 128;

/// A running router. Clones are handles of the same router; when the last handle and the last of its destinations and
/// streams are dropped, the router stops.
#[derive(Clone, Debug)]
pub struct Ramson {
    commands: UnboundedSender<Command>,
    progress: watch::Receiver<Progress>,
    events: broadcast::Sender<Event>,
    names: Names,
}

impl Ramson {
    /// A router to be set up and started.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts a router in the caller's tokio runtime. It answers when the identity is on disk and the sockets listen,
    /// not when tunnels stand: see [`Ramson::progress`]. Fails with [`ErrorKind::Setup`] if the data folder or a socket
    /// cannot be used, with [`ErrorKind::Misuse`] if the settings contradict each other.
    pub async fn start(config: Config) -> Result<Self, Error> {
        crate::driver::start(config).await
    }

    /// Destinations at a router that runs already: the same API over I2CP. Answers when that router is there and lets us
    /// in; afterwards a router that goes is waited for, while [`LocalDestination::progress`] says so and streams are kept
    /// for a minute. Runs in the caller's tokio runtime; [`Builder::over_i2cp`] has the other ways. Fails with
    /// [`ErrorKind::Setup`] if no router answers or it refuses the password, with [`ErrorKind::Misuse`] if its address is
    /// not this machine's.
    pub async fn over_i2cp(router: I2cpRouter) -> Result<Self, Error> {
        crate::driver::i2cp::start(router).await
    }

    pub(crate) fn new(
        commands: UnboundedSender<Command>,
        progress: watch::Receiver<Progress>,
        events: broadcast::Sender<Event>,
    ) -> Self {
        Self { commands, progress, events, names: Names::default() }
    }

    pub(crate) fn with_names(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// Makes a destination with the given keys, or with new ones that are forgotten when it is closed. Answers before
    /// its tunnels stand.
    pub async fn destination(
        &self,
        options: DestinationOptions,
        keys: Option<PrivateKeys>,
    ) -> Result<LocalDestination, Error> {
        options.check()?;
        let keys = keys.map(Box::new);
        let created = self.ask(|reply| Command::CreateDestination { options, keys, reply }).await?;
        Ok(LocalDestination::new(self, created))
    }

    /// A new destination that only connects to others, with keys that nobody keeps. What is done with one of them cannot be
    /// told to be of the same person as what is done with another.
    pub async fn client(&self, name: impl Into<String>) -> Result<LocalDestination, Error> {
        self.destination(DestinationOptions::client(name), None).await
    }

    /// A destination that others find, whose keys are in `file`; new ones are made if there is no such file. Whoever has
    /// the file is that destination.
    pub async fn server(&self, name: impl Into<String>, file: impl Into<PathBuf>) -> Result<LocalDestination, Error> {
        let file = file.into();
        // A thread, and not the caller's runtime, which need not be tokio's. It reads one small file.
        let (tell, told) = oneshot::channel();
        let read = move || drop(tell.send(key_file::load_or_create(&file)));
        let failed = |why: &dyn std::fmt::Display| Error::new(ErrorKind::Setup, format!("cannot use the keys: {why}"));
        std::thread::Builder::new().spawn(read).map_err(|why| failed(&why))?;
        let keys = told.await.map_err(|why| failed(&why))?.map_err(|why| failed(&why))?;
        self.destination(DestinationOptions::server(name), Some(keys)).await
    }

    /// How far the router is on its way to readiness; the receiver sees every change.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// A snapshot of the router.
    pub async fn status(&self) -> Result<Status, Error> {
        self.ask(|reply| Command::Status { reply }).await.map(|status| *status)
    }

    /// What is inside of the router: whom it knows, and by whom its tunnels go.
    pub async fn inside(&self) -> Result<Inside, Error> {
        self.ask(|reply| Command::Inside { reply }).await.map(|inside| *inside)
    }

    /// What happens to the router from now on. A receiver that falls behind misses the oldest events.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Reseeds now, from these sources or, if there are none, from the configured ones; answers with the number of new
    /// routers.
    pub async fn reseed(&self, sources: Sources) -> Result<usize, Error> {
        self.ask(|reply| Command::Reseed { sources, reply }).await
    }

    /// Writes a reseed bundle of the netDb, a zip without a signature; answers with the number of routers in it.
    pub async fn export_reseed(&self, file: PathBuf) -> Result<usize, Error> {
        self.ask(|reply| Command::ExportReseed { file, reply }).await
    }

    /// Accepts no more tunnels of others, and says how long those last that there are. All else goes on as before. Who
    /// then waits so long before [`Ramson::shutdown`] breaks nobody's tunnel.
    pub async fn drain(&self) -> Result<Draining, Error> {
        self.ask(|reply| Command::Drain { reply }).await
    }

    /// Stops the router in order and returns when it has stopped.
    pub async fn shutdown(&self) {
        // The reply is dropped unanswered when the router stopped before; either way it has stopped.
        let _ = self.ask(|reply| Command::Shutdown { reply }).await;
    }

    /// Returns when the router has stopped, for whatever reason.
    pub async fn stopped(&self) {
        self.commands.closed().await;
    }

    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| Error::shutting_down())?;
        answer.await.unwrap_or_else(|_| Err(Error::shutting_down()))
    }
}

/// How a destination of ours behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationOptions {
    /// What the status calls it. Not sent to anybody.
    pub name: String,
    /// Tunnels by which others reach it.
    pub inbound: TunnelOptions,
    /// Tunnels by which it sends.
    pub outbound: TunnelOptions,
    /// Publish the LeaseSet, so that others can connect to us. Off for pure clients.
    pub publish: bool,
    /// Pack what is sent, when it pays. Off unless asked for: it costs time, and the length of what is packed tells
    /// something of its content.
    pub compress: bool,
    /// Keep nothing of it on disk: the keys are given, but they are for this time only.
    pub transient: bool,
}

impl DestinationOptions {
    /// A destination that only connects to others.
    pub fn client(name: impl Into<String>) -> Self {
        let tunnels = TunnelOptions::default();
        Self {
            name: name.into(),
            inbound: tunnels.clone(),
            outbound: tunnels,
            publish: false,
            compress: false,
            transient: false,
        }
    }

    /// A destination that others can find.
    pub fn server(name: impl Into<String>) -> Self {
        Self { publish: true, ..Self::client(name) }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        for (tunnels, way) in [(&self.inbound, "inbound"), (&self.outbound, "outbound")] {
            if tunnels.hops < TunnelOptions::SAFE_HOPS && !tunnels.dangerously_short {
                let text = format!("{way} tunnels of fewer than 2 hops show who we are: dangerously_short allows them");
                return Err(Error::new(ErrorKind::Misuse, text));
            }
            if tunnels.hops.saturating_add(tunnels.extra_hops) > 7 {
                return Err(Error::new(ErrorKind::Misuse, format!("{way} tunnels have at most 7 hops")));
            }
            if !(1..=16).contains(&tunnels.quantity) {
                return Err(Error::new(ErrorKind::Misuse, format!("the number of {way} tunnels is 1 to 16")));
            }
        }
        Ok(())
    }
}

/// Length and number of the tunnels of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelOptions {
    /// 2 to 7, or fewer with [`TunnelOptions::dangerously_short`]. Each hop less makes it easier to see who we are.
    pub hops: u8,
    /// 1 to 16.
    pub quantity: u8,
    /// Each tunnel has none to so many hops more, as it is drawn.
    pub extra_hops: u8,
    /// Allow [`hops`](TunnelOptions::hops) of 0 and 1. For what needs no anonymity, and for tests. Danger: with 1, that one
    /// router sees both this machine and the other end of the tunnel; with 0, whoever reads the LeaseSet or gets a message
    /// sees this machine's router itself.
    pub dangerously_short: bool,
}

impl TunnelOptions {
    /// With so many hops, or more, no single router sees both ends of a tunnel.
    pub const SAFE_HOPS: u8 = 2;
}

impl Default for TunnelOptions {
    fn default() -> Self {
        Self { hops: 3, quantity: 3, extra_hops: 0, dangerously_short: false }
    }
}

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Known whole, as from an address book.
    Destination(Destination),
    /// Known by its hash, as from a b32 name; the LeaseSet tells the rest.
    Hash(Hash),
}

impl Target {
    /// The destination's hash.
    pub fn hash(&self) -> Hash {
        match self {
            Self::Destination(destination) => destination.hash(),
            Self::Hash(hash) => *hash,
        }
    }
}

/// A destination of ours. Clones are handles of the same one; it closes when the last is dropped.
#[derive(Clone, Debug)]
pub struct LocalDestination {
    inner: Arc<Local>,
}

#[derive(Debug)]
struct Local {
    ramson: Ramson,
    id: DestinationId,
    destination: Destination,
    hash: Hash,
    progress: watch::Receiver<Progress>,
}

impl LocalDestination {
    pub(crate) fn new(ramson: &Ramson, Created { id, destination, progress }: Created) -> Self {
        let hash = destination.hash();
        Self { inner: Arc::new(Local { ramson: ramson.clone(), id, destination, hash, progress }) }
    }

    pub(crate) fn id(&self) -> DestinationId {
        self.inner.id
    }

    pub(crate) fn ramson(&self) -> &Ramson {
        &self.inner.ramson
    }

    /// The public part.
    pub fn destination(&self) -> &Destination {
        &self.inner.destination
    }

    /// The hash of the public part, by which others look it up.
    pub fn hash(&self) -> Hash {
        self.inner.hash
    }

    /// The address as `<52 characters>.b32.i2p`.
    pub fn b32(&self) -> String {
        base32::host_name(&self.inner.hash)
    }

    /// The whole destination in I2P's base64.
    pub fn base64(&self) -> String {
        self.inner.destination.to_base64()
    }

    /// How far its tunnels are; the receiver sees every change.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.inner.progress.clone()
    }

    /// Waits until its tunnels stand, so that it can connect, and others can reach it if it is published. Ends early, with
    /// an error, only when the router stops; [`LocalDestination::progress`] tells what it waits for.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut progress = self.progress();
        let ready = progress.wait_for(|progress| progress.is_ready() || progress.stage == Stage::ShuttingDown).await;
        match ready {
            Ok(progress) if progress.is_ready() => Ok(()),
            _ => Err(Error::shutting_down()),
        }
    }

    /// Opens a stream to another destination: to `"name.i2p:80"`, to `"<52 characters>.b32.i2p"`, to a [`Target`] and a
    /// port, see [`Address`]. Waits until the peer answers.
    ///
    /// # Errors
    /// [`ErrorKind::NotReady`] while our tunnels do not stand, see [`LocalDestination::ready`];
    /// [`ErrorKind::UnknownName`], [`ErrorKind::NotFound`], [`ErrorKind::PeerNotAnswering`], [`ErrorKind::Refused`].
    pub async fn connect<A>(&self, to: A) -> Result<Stream, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        let (target, port) = to.try_into()?.resolve(&self.inner.ramson.names)?;
        self.connect_from(target, 0, port).await
    }

    /// Opens a stream from a port of ours, which the peer sees.
    pub async fn connect_from(&self, to: Target, from_port: u16, port: u16) -> Result<Stream, Error> {
        let destination = self.inner.id;
        self.inner.ramson.ask(|reply| Command::Connect { destination, to, ports: (from_port, port), reply }).await
    }

    /// Takes the streams that come to `port`, or with `None` to every port without a listener of its own. Fails with
    /// [`ErrorKind::Misuse`] if the port has a listener already.
    pub async fn listen(&self, port: Option<u16>) -> Result<Listener, Error> {
        let (incoming, queue) = mpsc::channel(ACCEPT_QUEUE);
        let destination = self.inner.id;
        self.inner.ramson.ask(|reply| Command::Listen { destination, port, incoming, reply }).await?;
        Ok(Listener { queue, port, destination: self.clone() })
    }

    /// Receives the datagrams of `format` that come to `port`, or with `None` to every port without a receiver of its
    /// own. Fails with [`ErrorKind::Misuse`] if they have a receiver already.
    pub async fn datagrams(&self, format: DatagramFormat, port: Option<u16>) -> Result<Datagrams, Error> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let (id, bound, dropped) = (self.inner.id, (format, port), Arc::new(AtomicU64::new(0)));
        let sink = DatagramSink::new(sender, Arc::clone(&dropped));
        let bind = |reply| Command::BindDatagrams { destination: id, bound, sink, reply };
        self.inner.ramson.ask(bind).await?;
        Ok(Datagrams { queue, dropped, bound, id, destination: self.clone() })
    }

    /// Sends a datagram. That it was taken does not say that it arrives. Fails with [`ErrorKind::Misuse`] if it is too
    /// large or cannot be made with these keys, with [`ErrorKind::NotReady`] while our tunnels do not stand, and with
    /// [`ErrorKind::Overloaded`] if too many wait to be signed.
    pub async fn send_datagram(&self, datagram: OutgoingDatagram) -> Result<(), Error> {
        let (destination, datagram) = (self.inner.id, Box::new(datagram));
        self.inner.ramson.ask(|reply| Command::SendDatagram { destination, datagram, reply }).await
    }

    /// Closes it now, whoever else holds it: its streams are reset, and every later call fails with
    /// [`ErrorKind::Closed`]. Its keys can be used again at once.
    pub fn close(&self) {
        self.tell(Command::CloseDestination(self.inner.id));
    }

    pub(crate) fn tell(&self, command: Command) {
        // A closed channel means that the router is gone, and all this is about.
        let _ = self.inner.ramson.commands.send(command);
    }

    /// By what data to another destination goes at this moment; `None` while nothing was sent there of late, or its
    /// tunnel is gone.
    pub async fn route(&self, to: Hash) -> Result<Option<Route>, Error> {
        let destination = self.inner.id;
        self.inner.ramson.ask(|reply| Command::Route { destination, to, reply }).await
    }

    /// The tunnels by which others reach this destination.
    pub async fn inbound_tunnels(&self) -> Result<Vec<InboundTunnel>, Error> {
        let destination = self.inner.id;
        self.inner.ramson.ask(|reply| Command::InboundTunnels { destination, reply }).await
    }

    /// Finds the destination that belongs to a hash, by its LeaseSet.
    pub async fn lookup(&self, hash: Hash) -> Result<Destination, Error> {
        self.find(hash).await.map(|found| found.destination)
    }

    /// The same, with what the LeaseSet says besides.
    pub async fn find(&self, hash: Hash) -> Result<Found, Error> {
        let destination = self.inner.id;
        self.inner.ramson.ask(|reply| Command::Lookup { destination, hash, reply }).await
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.ramson.commands.send(Command::CloseDestination(self.id));
    }
}

/// Streams that others open to a destination of ours.
#[derive(Debug)]
pub struct Listener {
    queue: mpsc::Receiver<Incoming>,
    port: Option<u16>,
    /// A listener keeps its destination.
    destination: LocalDestination,
}

impl Listener {
    /// The destination that it is of.
    pub fn destination(&self) -> &LocalDestination {
        &self.destination
    }

    /// The next stream; an error when the router shuts down.
    pub async fn accept(&mut self) -> Result<Incoming, Error> {
        self.queue.recv().await.ok_or_else(Error::shutting_down)
    }
}

impl futures_util::Stream for Listener {
    type Item = Incoming;

    /// The next stream; ends when the router shuts down.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.queue.poll_recv(cx)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Closed before it is told, so that it is not taken for one that came after it.
        self.queue.close();
        self.destination.tell(Command::Unlisten { destination: self.destination.inner.id, port: self.port });
    }
}

/// What a LeaseSet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose it is.
    pub destination: Destination,
    /// Such as service records. Empty if the destination is one of ours.
    pub options: Mapping,
}

/// A stream that somebody opened to us.
#[derive(Debug)]
pub struct Incoming {
    /// Its bytes.
    pub stream: Stream,
    /// Who opened it; proved by the signature of the first packet.
    pub from: Destination,
    /// The port of ours that it came to.
    pub port: u16,
    /// The port that the peer says that it came from.
    pub from_port: u16,
}
