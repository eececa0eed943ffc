//! A network in memory, for tests of services: routers that join connects to listeners, without tunnels or peers.

mod keyless;

use crate::client::{DestinationOptions, Found, Incoming, Ramson, Target};
use crate::datagram::{Datagram, DatagramFormat, DatagramSender, DatagramSink, OutgoingDatagram};
use crate::error::{Error, ErrorKind};
use crate::seam::{Command, Created, DestinationId, DriverEnd, StreamHandle, StreamId, open};
use crate::status::{DestinationStatus, Draining, Progress, Stage, Status};
use crate::stream::Stream;
use ramson_wire::data::{Destination, Hash, Mapping, PrivateKeys, base32};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, watch};

/// How many bytes may be on the way in one direction of a stream.
const WINDOW: usize = 64 * 1024;

/// A network in memory. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct Network {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    destinations: HashMap<DestinationId, Local>,
    streams: HashMap<StreamId, Half>,
    faults: HashMap<Hash, Error>,
    opened: usize,
    draining: Draining,
    lease_set_options: HashMap<Hash, Mapping>,
    /// New destinations have no tunnels.
    bare: bool,
}

#[derive(Debug)]
struct Local {
    options: DestinationOptions,
    destination: Destination,
    progress: watch::Sender<Progress>,
    listeners: HashMap<Option<u16>, mpsc::Sender<Incoming>>,
    datagrams: HashMap<(DatagramFormat, Option<u16>), DatagramSink>,
    keyless: Option<keyless::Keyless>,
}

#[derive(Debug)]
struct Half {
    handle: StreamHandle,
    peer: StreamId,
}

impl Network {
    /// A router in this network, whose task runs in the current tokio runtime.
    pub fn router(&self) -> Ramson {
        let (ramson, end) = open();
        end.progress.send_replace(ready());
        tokio::spawn(self.clone().run(end));
        ramson
    }

    /// Connects and look-ups to this destination fail with `error` from now on; with `None` they work again.
    pub fn fault(&self, hash: Hash, error: Option<Error>) {
        let mut state = self.lock();
        match error {
            Some(error) => state.faults.insert(hash, error),
            None => state.faults.remove(&hash),
        };
    }

    /// Sets the progress of every destination; new ones start ready.
    pub fn set_progress(&self, progress: &Progress) {
        self.lock().destinations.values().for_each(|local| {
            local.progress.send_replace(progress.clone());
        });
    }

    /// From now on new destinations have no tunnels, until [`Network::set_progress`] says so.
    pub fn start_unready(&self) {
        self.lock().bare = true;
    }

    /// Closes every destination, as a router does that stops.
    pub fn close_all(&self) {
        self.lock().destinations.clear();
    }

    /// Sets what a router says that is asked to let the tunnels of others run out.
    pub fn set_draining(&self, draining: Draining) {
        self.lock().draining = draining;
    }

    /// What the LeaseSet of this destination says besides.
    pub fn set_lease_set_options(&self, hash: Hash, options: Mapping) {
        self.lock().lease_set_options.insert(hash, options);
    }

    /// What the options of a destination are, if there is one of that hash.
    pub fn options(&self, hash: Hash) -> Option<DestinationOptions> {
        let state = self.lock();
        state.destinations.values().find(|local| local.destination.hash() == hash).map(|local| local.options.clone())
    }

    /// How many destinations there are.
    pub fn destinations(&self) -> usize {
        self.lock().destinations.len()
    }

    /// How many streams were opened so far.
    pub fn opened(&self) -> usize {
        self.lock().opened
    }

    /// How many ends of streams are held by programs now.
    pub fn open_ends(&self) -> usize {
        self.lock().streams.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self, mut end: DriverEnd) {
        while let Some(command) = end.commands.recv().await {
            if let Command::Shutdown { reply } = command {
                end.commands.close();
                let _ = reply.send(Ok(()));
                return;
            }
            self.lock().handle(&end, command);
        }
    }
}

impl State {
    fn handle(&mut self, end: &DriverEnd, command: Command) {
        match command {
            Command::CreateDestination { options, keys, reply } => {
                let created = self.create(options, keys.as_deref());
                // Nobody holds one whose maker has gone.
                if let Err(Ok(Created { id, .. })) = reply.send(created) {
                    self.destinations.remove(&id);
                }
            }
            Command::CloseDestination(id) => drop(self.destinations.remove(&id)),
            Command::Listen { destination, port, incoming, reply } => {
                let _ = reply.send(self.listen(destination, port, incoming));
            }
            Command::Unlisten { destination, port } => {
                if let Some(local) = self.destinations.get_mut(&destination) {
                    local.listeners.retain(|at, listener| *at != port || !listener.is_closed());
                }
            }
            Command::Connect { destination, to, ports, reply } => {
                let _ = reply.send(self.connect(end, destination, &to, ports));
            }
            Command::BindDatagrams { destination, bound, sink, reply } => {
                let _ = reply.send(self.bind(destination, bound, sink));
            }
            Command::UnbindDatagrams { destination, bound } => {
                self.destinations.get_mut(&destination).and_then(|local| local.datagrams.remove(&bound));
            }
            Command::SendDatagram { destination, datagram, reply } => {
                let _ = reply.send(self.send(destination, *datagram));
            }
            Command::Lookup { hash, reply, .. } => {
                let options = self.lease_set_options.get(&hash).cloned().unwrap_or_default();
                let found = self.find(hash).map(|(_, local)| local.destination.clone());
                let _ = reply.send(found.map(|destination| Found { destination, options }));
            }
            Command::Route { reply, .. } => drop(reply.send(Ok(None))),
            Command::InboundTunnels { reply, .. } => drop(reply.send(Ok(Vec::new()))),
            Command::Inside { reply } => drop(reply.send(Ok(Box::default()))),
            Command::Status { reply } => {
                let _ = reply.send(Ok(Box::new(self.status())));
            }
            Command::Reseed { reply, .. } | Command::ExportReseed { reply, .. } => {
                let _ = reply.send(Err(Error::new(ErrorKind::Misuse, "a network in memory has no netDb")));
            }
            Command::Drain { reply } => drop(reply.send(Ok(self.draining))),
            Command::Shutdown { .. } => {}
            command => self.handle_stream(command),
        }
    }

    fn handle_stream(&mut self, command: Command) {
        match command {
            Command::StreamData { stream, data } => match self.peer(stream) {
                Some(peer) => peer.handle.data(data),
                // The peer reads no more; what it would not read must not block the writer.
                None => {
                    if let Some(half) = self.streams.get(&stream) {
                        half.handle.writable(data.len());
                    }
                }
            },
            Command::StreamCredit { stream, bytes } => {
                if let Some(peer) = self.peer(stream) {
                    peer.handle.writable(bytes);
                }
            }
            Command::StreamShutdown(stream) => {
                if let Some(peer) = self.peer(stream) {
                    peer.handle.finished();
                }
            }
            Command::StreamReset(stream) => {
                if let Some(peer) = self.peer(stream) {
                    peer.handle.failed(Error::new(ErrorKind::Reset, "the peer reset the stream"));
                }
                self.streams.remove(&stream);
            }
            Command::StreamRelease(stream) => drop(self.streams.remove(&stream)),
            command => self.handle_keyless(command),
        }
    }

    fn peer(&self, stream: StreamId) -> Option<&Half> {
        self.streams.get(&self.streams.get(&stream)?.peer)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn create(&mut self, options: DestinationOptions, keys: Option<&PrivateKeys>) -> Result<Created, Error> {
        let destination = keys.map_or_else(random_destination, |keys| keys.destination().clone());
        if self.find(destination.hash()).is_ok() {
            return Err(Error::new(ErrorKind::InUse, "these keys are in use"));
        }
        let id = DestinationId(self.number());
        let (progress, seen) = watch::channel(if self.bare { Progress::default() } else { ready() });
        let (listeners, datagrams) = (HashMap::new(), HashMap::new());
        let local = Local { options, destination: destination.clone(), progress, listeners, datagrams, keyless: None };
        self.destinations.insert(id, local);
        Ok(Created { id, destination, progress: seen })
    }

    fn listen(&mut self, id: DestinationId, port: Option<u16>, incoming: mpsc::Sender<Incoming>) -> Result<(), Error> {
        let closed = || Error::new(ErrorKind::Closed, "the destination is closed");
        let local = self.destinations.get_mut(&id).ok_or_else(closed)?;
        if local.listeners.get(&port).is_some_and(|listener| !listener.is_closed()) {
            return Err(Error::new(ErrorKind::Misuse, "the port has a listener already"));
        }
        local.listeners.insert(port, incoming);
        Ok(())
    }

    fn bind(
        &mut self,
        id: DestinationId,
        bound: (DatagramFormat, Option<u16>),
        sink: DatagramSink,
    ) -> Result<(), Error> {
        let closed = || Error::new(ErrorKind::Closed, "the destination is closed");
        let local = self.destinations.get_mut(&id).ok_or_else(closed)?;
        if local.datagrams.contains_key(&bound) {
            return Err(Error::new(ErrorKind::Misuse, "the port has a receiver already"));
        }
        local.datagrams.insert(bound, sink);
        Ok(())
    }

    fn send(&self, from: DestinationId, datagram: OutgoingDatagram) -> Result<(), Error> {
        let closed = || Error::new(ErrorKind::Closed, "the destination is closed");
        let local = self.destinations.get(&from).ok_or_else(closed)?;
        let progress = local.progress.borrow().clone();
        if !progress.is_ready() {
            return Err(Error::not_ready(progress));
        }
        let OutgoingDatagram { format, to, from_port, to_port, options, payload } = datagram;
        if payload.len() > 61_440 {
            return Err(Error::new(ErrorKind::Misuse, "the datagram is too large"));
        }
        let from = match format {
            DatagramFormat::Datagram1 | DatagramFormat::Datagram2 => {
                DatagramSender::Signed(Box::new(local.destination.clone()))
            }
            DatagramFormat::Datagram3 => DatagramSender::Session(local.destination.hash()),
            DatagramFormat::Raw(_) => DatagramSender::Unknown,
        };
        // Nobody hears of one that is lost.
        let Ok((_, target)) = self.find(to) else { return Ok(()) };
        let ports = [Some(to_port), None];
        let bound = [format, DatagramFormat::Raw(0)].into_iter().flat_map(|format| ports.map(|port| (format, port)));
        if let Some(sink) = bound.filter_map(|bound| target.datagrams.get(&bound)).next() {
            sink.give(Datagram { format, from, from_port, to_port, options, payload });
        }
        Ok(())
    }

    fn connect(
        &mut self,
        end: &DriverEnd,
        from: DestinationId,
        to: &Target,
        (from_port, port): (u16, u16),
    ) -> Result<Stream, Error> {
        let closed = || Error::new(ErrorKind::Closed, "the destination is closed");
        let local = self.destinations.get(&from).ok_or_else(closed)?;
        let (from, progress) = (local.destination.clone(), local.progress.borrow().clone());
        if !progress.is_ready() {
            return Err(Error::not_ready(progress));
        }
        let (ours, theirs) = (StreamId(self.number()), StreamId(self.number()));
        let (_, target) = self.find(to.hash())?;
        let refused = || Error::new(ErrorKind::Refused, "nobody listens there");
        let listener = target.listeners.get(&Some(port)).or_else(|| target.listeners.get(&None)).ok_or_else(refused)?;
        let (their_handle, their_end) = end.stream(theirs, from.clone(), WINDOW).ok_or_else(Error::shutting_down)?;
        let (our_handle, our_end) =
            end.stream(ours, target.destination.clone(), WINDOW).ok_or_else(Error::shutting_down)?;
        listener.try_send(Incoming { stream: their_end, from, port, from_port }).map_err(|_| refused())?;
        self.streams.insert(ours, Half { handle: our_handle, peer: theirs });
        self.streams.insert(theirs, Half { handle: their_handle, peer: ours });
        self.opened += 1;
        Ok(our_end)
    }

    fn find(&self, hash: Hash) -> Result<(DestinationId, &Local), Error> {
        if let Some(error) = self.faults.get(&hash) {
            return Err(error.clone());
        }
        let found = self.destinations.iter().find(|(_, local)| local.destination.hash() == hash);
        let (id, local) = found.ok_or_else(|| Error::new(ErrorKind::NotFound, "no LeaseSet was found"))?;
        Ok((*id, local))
    }

    fn status(&self) -> Status {
        let describe = |local: &Local| DestinationStatus {
            name: local.options.name.clone(),
            b32: base32::host_name(&local.destination.hash()),
            progress: local.progress.borrow().clone(),
            ..DestinationStatus::default()
        };
        let destinations = self.destinations.values().map(describe).collect();
        Status { progress: ready(), destinations, ..Status::default() }
    }
}

fn ready() -> Progress {
    let stage = Stage::Ready;
    Progress { stage, inbound: 3, inbound_wanted: 3, outbound: 3, outbound_wanted: 3, ..Progress::default() }
}

fn random_destination() -> Destination {
    PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng)).destination().clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn pair() -> (Network, LocalPair) {
        let network = Network::default();
        let ramson = network.router();
        let server = ramson.destination(DestinationOptions::server("server"), None).await.unwrap();
        let client = network.router().destination(DestinationOptions::client("client"), None).await.unwrap();
        let mut listener = server.listen(None).await.unwrap();
        let ours = client.connect((Target::Hash(server.hash()), 80)).await.unwrap();
        let incoming = listener.accept().await.unwrap();
        assert_eq!((incoming.port, incoming.from), (80, client.destination().clone()));
        (network, LocalPair { client, ours, theirs: incoming.stream, _server: listener })
    }

    struct LocalPair {
        client: crate::LocalDestination,
        ours: Stream,
        theirs: Stream,
        _server: crate::Listener,
    }

    #[tokio::test]
    async fn megabytes_pass_both_ways_at_once_and_end_in_order() {
        let (network, LocalPair { ours, theirs, .. }) = pair().await;
        let sent: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
        let copy = |stream: Stream, sent: Vec<u8>| async move {
            let (mut r, mut w) = tokio::io::split(stream);
            let mut got = Vec::new();
            let write = async {
                w.write_all(&sent).await.unwrap();
                w.shutdown().await.unwrap();
            };
            let (_, read) = tokio::join!(write, r.read_to_end(&mut got));
            read.unwrap();
            assert!(got == sent);
        };
        tokio::join!(tokio::spawn(copy(ours, sent.clone())).map_ok(), tokio::spawn(copy(theirs, sent)).map_ok());
        while network.open_ends() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_writer_is_bounded_by_the_credit_that_its_reader_gives_back() {
        let (_network, LocalPair { mut ours, mut theirs, .. }) = pair().await;
        let mut written = 0;
        while let Ok(n) = tokio::time::timeout(Duration::from_millis(50), ours.write(&[7; 5000])).await {
            written += n.unwrap();
        }
        assert_eq!(written, WINDOW);
        let mut buf = vec![0; 40_000];
        theirs.read_exact(&mut buf).await.unwrap();
        assert!(ours.write(&[7; 5000]).await.unwrap() > 0);
    }

    #[tokio::test]
    async fn a_dropped_stream_is_reset_and_a_closed_one_is_not() {
        let (_network, LocalPair { mut ours, mut theirs, .. }) = pair().await;
        ours.write_all(b"half").await.unwrap();
        drop(ours);
        let mut got = Vec::new();
        let e = theirs.read_to_end(&mut got).await.unwrap_err();
        assert_eq!((e.kind(), got.as_slice()), (std::io::ErrorKind::ConnectionReset, b"half".as_slice()));
        assert!(theirs.write(b"x").await.is_err());

        let (_network, LocalPair { mut ours, mut theirs, .. }) = pair().await;
        ours.write_all(b"whole").await.unwrap();
        ours.shutdown().await.unwrap();
        assert_eq!(ours.write(b"more").await.unwrap_err().kind(), std::io::ErrorKind::NotConnected);
        drop(ours);
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"whole");
    }

    fn datagram(format: DatagramFormat, to: Hash, to_port: u16) -> OutgoingDatagram {
        OutgoingDatagram { format, to, from_port: 3, to_port, options: Mapping::new(), payload: b"hello".to_vec() }
    }

    #[tokio::test]
    async fn datagrams_come_with_their_sender_and_too_many_are_dropped() {
        let (_network, LocalPair { client, _server, .. }) = pair().await;
        let server = _server.destination().clone();
        let mut any = server.datagrams(DatagramFormat::Raw(0), None).await.unwrap();
        let mut signed = server.datagrams(DatagramFormat::Datagram2, Some(7)).await.unwrap();
        let twice = server.datagrams(DatagramFormat::Datagram2, Some(7)).await;
        assert_eq!(twice.unwrap_err().kind(), ErrorKind::Misuse);
        client.send_datagram(datagram(DatagramFormat::Datagram2, server.hash(), 7)).await.unwrap();
        let came = signed.recv().await.unwrap();
        assert_eq!(came.from, DatagramSender::Signed(Box::new(client.destination().clone())));
        assert_eq!((came.from_port, came.to_port, came.payload.as_slice()), (3, 7, &b"hello"[..]));
        for _ in 0..crate::datagram::QUEUE + 5 {
            client.send_datagram(datagram(DatagramFormat::Raw(99), server.hash(), 1)).await.unwrap();
        }
        assert_eq!((any.recv().await.unwrap().format, any.dropped()), (DatagramFormat::Raw(99), 5));
        drop(signed);
        assert!(server.datagrams(DatagramFormat::Datagram2, Some(7)).await.is_ok(), "free again");
    }

    #[tokio::test]
    async fn a_destination_that_is_closed_is_closed_for_all_who_hold_it() {
        let (network, LocalPair { client, _server, .. }) = pair().await;
        let other = client.clone();
        let mut datagrams = client.datagrams(DatagramFormat::RAW, None).await.unwrap();
        client.close();
        assert!(datagrams.recv().await.is_err());
        let sent = other.send_datagram(datagram(DatagramFormat::RAW, Hash([1; 32]), 0)).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(network.destinations(), 1);
    }

    #[tokio::test]
    async fn errors_say_what_the_caller_can_do() {
        let (network, LocalPair { client, .. }) = pair().await;
        let nowhere = Hash([9; 32]);
        let kind = |r: Result<Stream, Error>| r.unwrap_err().kind();
        assert_eq!(kind(client.connect((Target::Hash(nowhere), 0)).await), ErrorKind::NotFound);
        network.fault(nowhere, Some(Error::new(ErrorKind::PeerNotAnswering, "silent")));
        assert_eq!(kind(client.connect((Target::Hash(nowhere), 0)).await), ErrorKind::PeerNotAnswering);
        assert_eq!(kind(client.connect((Target::Hash(client.hash()), 0)).await), ErrorKind::Refused);
        network.set_progress(&Progress::default());
        let e = client.connect((Target::Hash(nowhere), 0)).await.unwrap_err();
        assert_eq!((e.kind(), e.progress().map(|p| p.stage)), (ErrorKind::NotReady, Some(Stage::Starting)));
        let too_long = DestinationOptions {
            inbound: crate::TunnelOptions { hops: 8, ..crate::TunnelOptions::default() },
            ..DestinationOptions::client("x")
        };
        assert_eq!(network.router().destination(too_long, None).await.unwrap_err().kind(), ErrorKind::Misuse);
    }

    #[tokio::test]
    async fn short_tunnels_are_asked_for_by_a_name_that_warns() {
        let (network, _) = pair().await;
        for hops in [0, 1] {
            let short =
                |dangerously_short| crate::TunnelOptions { hops, dangerously_short, ..crate::TunnelOptions::default() };
            let outbound = |flag| DestinationOptions { outbound: short(flag), ..DestinationOptions::client("x") };
            let inbound = |flag| DestinationOptions { inbound: short(flag), ..DestinationOptions::client("x") };
            for refused in [inbound(false), outbound(false)] {
                assert_eq!(network.router().destination(refused, None).await.unwrap_err().kind(), ErrorKind::Misuse);
            }
            for taken in [inbound(true), outbound(true)] {
                assert!(network.router().destination(taken, None).await.is_ok());
            }
        }
    }

    #[tokio::test]
    async fn after_shutdown_every_call_says_so() {
        let (network, LocalPair { ours: _ours, .. }) = pair().await;
        let ramson = network.router();
        ramson.shutdown().await;
        ramson.stopped().await;
        assert_eq!(ramson.status().await.unwrap_err().kind(), ErrorKind::ShuttingDown);
    }

    trait MapOk {
        async fn map_ok(self);
    }

    impl MapOk for tokio::task::JoinHandle<()> {
        async fn map_ok(self) {
            self.await.unwrap();
        }
    }
}
