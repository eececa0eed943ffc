//! What local programs have open: destinations, listeners, streams, and requests that wait for an answer. Translates
//! between the seam and the core.

use super::datagrams::Takers;
use super::keyless::Keyless;
use crate::client::{DestinationOptions, Found, Incoming, Target};
use crate::error::{Error, ErrorKind};
use crate::keyless::{KeylessSink, MessageRefusal};
use crate::seam::{Command, Created, DestinationId, DriverEnd, Reply, StreamHandle, StreamId};
use crate::status::{Progress, Stage};
use crate::stream::Stream;
use ramson_core::router::{self, ConnectError, StreamError, StreamKey};
use ramson_core::tunnel::PoolError;
use ramson_wire::data::{Destination, PrivateKeys};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, watch};

/// All that programs hold.
pub(crate) struct Clients {
    destinations: BTreeMap<DestinationId, Local>,
    /// Destinations that the core has not answered for.
    creating: BTreeMap<DestinationId, (Created, Reply<Created>)>,
    streams: BTreeMap<StreamId, (StreamKey, StreamHandle)>,
    by_key: BTreeMap<StreamKey, StreamId>,
    connects: BTreeMap<u64, (DestinationId, Reply<Stream>)>,
    lookups: BTreeMap<u64, (DestinationId, Reply<Found>)>,
    datagrams: Takers,
    keyless: Keyless,
    /// Streams with bytes of which their readers do not know yet.
    read: Vec<StreamKey>,
    next: u64,
}

struct Local {
    name: String,
    destination: Destination,
    progress: watch::Sender<Progress>,
    listeners: BTreeMap<Option<u16>, mpsc::Sender<Incoming>>,
}

/// What the driver does after a command.
pub(crate) enum Outcome {
    Core(router::Command),
    Nothing,
}

impl Outcome {
    fn into_command(self) -> Option<router::Command> {
        match self {
            Self::Core(command) => Some(command),
            Self::Nothing => None,
        }
    }
}

impl Clients {
    pub(crate) fn new() -> Self {
        Self {
            destinations: BTreeMap::new(),
            creating: BTreeMap::new(),
            streams: BTreeMap::new(),
            by_key: BTreeMap::new(),
            connects: BTreeMap::new(),
            lookups: BTreeMap::new(),
            datagrams: Takers::default(),
            keyless: Keyless::default(),
            read: Vec::new(),
            next: 1,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Makes a destination known; the core is told by the returned command, and its answer is the program's.
    pub(crate) fn create(&mut self, options: &DestinationOptions, keys: PrivateKeys, reply: Reply<Created>) -> Outcome {
        let destination = keys.destination().clone();
        match self.register(options, destination, reply) {
            Some(id) => Outcome::Core(super::translate::create(id, options, keys)),
            None => Outcome::Nothing,
        }
    }

    /// The same for a destination whose keys the program holds.
    fn create_keyless(
        &mut self,
        options: &DestinationOptions,
        (destination, beside): (Destination, Option<DestinationId>),
        sink: KeylessSink,
        reply: Reply<Created>,
    ) -> Outcome {
        match self.register(options, destination.clone(), reply) {
            Some(id) => Outcome::Core(self.keyless.create(id, options, destination, beside, sink)),
            None => Outcome::Nothing,
        }
    }

    /// Keeps a new destination until the core answers for it. `None` if it is there already, which was said.
    fn register(
        &mut self,
        options: &DestinationOptions,
        destination: Destination,
        reply: Reply<Created>,
    ) -> Option<DestinationId> {
        if self.destinations.values().any(|local| local.destination == destination) {
            let _ = reply.send(Err(Error::new(ErrorKind::InUse, "these keys are in use")));
            return None;
        }
        let id = DestinationId(self.number());
        let (progress, seen) = watch::channel(Progress { stage: Stage::BuildingTunnels, ..Progress::default() });
        let created = Created { id, destination: destination.clone(), progress: seen };
        let local = Local { name: options.name.clone(), destination, progress, listeners: BTreeMap::new() };
        self.destinations.insert(id, local);
        self.creating.insert(id, (created, reply));
        Some(id)
    }

    /// A command of a program that holds keys.
    fn handle_keyless(&mut self, command: Command) -> Outcome {
        let token = self.number();
        let known = |id: DestinationId| self.destinations.contains_key(&id);
        // A reply that is dropped says that the router is shutting down; of these destinations that is not so.
        let core = match command {
            Command::CreateKeyless { options, destination, beside, sink, reply } => {
                return self.create_keyless(&options, (*destination, beside), sink, reply);
            }
            Command::SetLeaseSet { destination, set, keys, reply } if known(destination) => {
                self.keyless.sign(destination, token, set, keys, reply)
            }
            Command::SendMessage { destination, message, reply } if known(destination) => {
                self.keyless.send(destination, token, *message, reply)
            }
            Command::SetTunnels { destination, inbound, outbound, reply } if known(destination) => {
                self.keyless.set_tunnels(destination, token, (&inbound, &outbound), reply)
            }
            Command::SendMessage { reply, .. } => {
                let _ = reply.send(Ok(Err(MessageRefusal::Closed)));
                return Outcome::Nothing;
            }
            Command::SetLeaseSet { reply, .. } | Command::SetTunnels { reply, .. } => {
                let _ = reply.send(Err(no_destination()));
                return Outcome::Nothing;
            }
            _ => return Outcome::Nothing,
        };
        Outcome::Core(core)
    }

    /// Handles a command of a destination or stream; others do not come here.
    pub(crate) fn handle(&mut self, command: Command) -> Outcome {
        let core = match command {
            Command::CloseDestination(id) => return self.close(id),
            Command::Listen { destination, port, incoming, reply } => {
                let listening = self.listen(destination, port, incoming);
                let failed = listening.is_err();
                let _ = reply.send(listening);
                if failed {
                    return Outcome::Nothing;
                }
                router::Command::Listen { destination: router::DestinationId(destination.0), port }
            }
            Command::Unlisten { destination, port } => return self.unlisten(destination, port),
            Command::BindDatagrams { destination, bound, sink, reply } => {
                if !self.destinations.contains_key(&destination) {
                    let _ = reply.send(Err(no_destination()));
                    return Outcome::Nothing;
                }
                let token = self.number();
                return self
                    .datagrams
                    .bind(destination, token, bound, sink, reply)
                    .map_or(Outcome::Nothing, Outcome::Core);
            }
            Command::UnbindDatagrams { destination, bound } => {
                return self.datagrams.unbind(destination, bound).map_or(Outcome::Nothing, Outcome::Core);
            }
            Command::SendDatagram { destination, datagram, reply } => {
                if !self.destinations.contains_key(&destination) {
                    let _ = reply.send(Err(no_destination()));
                    return Outcome::Nothing;
                }
                let token = self.number();
                return Outcome::Core(self.datagrams.send(destination, token, *datagram, reply));
            }
            Command::Connect { destination, to, ports, reply } => return self.connect(destination, &to, ports, reply),
            Command::Lookup { destination, hash, reply } => {
                if !self.destinations.contains_key(&destination) {
                    let _ = reply.send(Err(no_destination()));
                    return Outcome::Nothing;
                }
                let token = self.number();
                self.lookups.insert(token, (destination, reply));
                let destination = router::DestinationId(destination.0);
                router::Command::Lookup { destination, token, hash }
            }
            Command::StreamData { stream, data } => match self.key(stream) {
                Some(stream) => router::Command::StreamSend { stream, data },
                None => return Outcome::Nothing,
            },
            Command::StreamShutdown(stream) => match self.key(stream) {
                Some(stream) => router::Command::StreamShutdown(stream),
                None => return Outcome::Nothing,
            },
            Command::StreamCredit { stream, bytes } => match self.key(stream) {
                Some(stream) => router::Command::StreamCredit { stream, bytes },
                None => return Outcome::Nothing,
            },
            Command::StreamReset(stream) => match self.forget(stream) {
                Some(key) => router::Command::StreamReset(key),
                None => return Outcome::Nothing,
            },
            Command::StreamRelease(stream) => match self.forget(stream) {
                Some(key) => router::Command::StreamRelease(key),
                None => return Outcome::Nothing,
            },
            command => return self.handle_keyless(command),
        };
        Outcome::Core(core)
    }

    fn key(&self, stream: StreamId) -> Option<StreamKey> {
        self.streams.get(&stream).map(|(key, _)| *key)
    }

    fn forget(&mut self, stream: StreamId) -> Option<StreamKey> {
        let (key, _) = self.streams.remove(&stream)?;
        self.by_key.remove(&key);
        Some(key)
    }

    fn close(&mut self, id: DestinationId) -> Outcome {
        if self.destinations.remove(&id).is_none() {
            return Outcome::Nothing;
        }
        let core_id = router::DestinationId(id.0);
        let streams: Vec<StreamId> =
            self.by_key.iter().filter(|(key, _)| key.destination == core_id).map(|(_, id)| *id).collect();
        for stream in streams {
            if let Some((key, handle)) = self.streams.remove(&stream) {
                self.by_key.remove(&key);
                handle.failed(Error::new(ErrorKind::Closed, "the destination was closed"));
            }
        }
        for (_, (_, reply)) in self.connects.extract_if(.., |_, (of, _)| *of == id) {
            let _ = reply.send(Err(no_destination()));
        }
        for (_, (_, reply)) in self.lookups.extract_if(.., |_, (of, _)| *of == id) {
            let _ = reply.send(Err(no_destination()));
        }
        self.datagrams.close(id);
        self.keyless.close(id);
        Outcome::Core(router::Command::CloseDestination(core_id))
    }

    fn listen(&mut self, id: DestinationId, port: Option<u16>, incoming: mpsc::Sender<Incoming>) -> Result<(), Error> {
        let local = self.destinations.get_mut(&id).ok_or_else(no_destination)?;
        local.listeners.retain(|_, sender| !sender.is_closed());
        if local.listeners.contains_key(&port) {
            return Err(Error::new(ErrorKind::Misuse, "the port has a listener already"));
        }
        local.listeners.insert(port, incoming);
        Ok(())
    }

    fn unlisten(&mut self, id: DestinationId, port: Option<u16>) -> Outcome {
        let Some(local) = self.destinations.get_mut(&id) else { return Outcome::Nothing };
        if local.listeners.get(&port).is_none_or(|listener| !listener.is_closed()) {
            return Outcome::Nothing;
        }
        local.listeners.remove(&port);
        Outcome::Core(router::Command::Unlisten { destination: router::DestinationId(id.0), port })
    }

    fn connect(&mut self, id: DestinationId, to: &Target, ports: (u16, u16), reply: Reply<Stream>) -> Outcome {
        if !self.destinations.contains_key(&id) {
            let _ = reply.send(Err(no_destination()));
            return Outcome::Nothing;
        }
        let token = self.number();
        self.connects.insert(token, (id, reply));
        let destination = router::DestinationId(id.0);
        Outcome::Core(router::Command::Connect { destination, token, to: to.hash(), ports })
    }

    /// Carries an event of the core up. The command, if any, goes down again.
    pub(crate) fn handle_event(&mut self, end: &DriverEnd, event: router::Event) -> Option<router::Command> {
        let progress = |id| self.destinations.get(&id).map(|local| local.progress.borrow().clone());
        match self.keyless.handle(event, progress)? {
            router::Event::DestinationCreated(id) => {
                let (created, reply) = self.creating.remove(&DestinationId(id.0))?;
                // A program that has gone away meanwhile closes nothing: it never had a handle.
                if reply.send(Ok(created)).is_err() {
                    return self.close(DestinationId(id.0)).into_command();
                }
            }
            router::Event::DestinationFailed { id, why } => {
                let id = DestinationId(id.0);
                self.destinations.remove(&id);
                self.keyless.close(id);
                let (_, reply) = self.creating.remove(&id)?;
                let _ = reply.send(Err(create_error(why)));
            }
            router::Event::StreamOpened { token, stream, remote, credit } => {
                let (_, reply) = self.connects.remove(&token)?;
                match self.make(end, stream, remote, credit) {
                    Some(made) => drop(reply.send(Ok(made))),
                    None => return Some(router::Command::StreamReset(stream)),
                }
            }
            router::Event::ConnectFailed { token, why } => {
                let (id, reply) = self.connects.remove(&token)?;
                let progress = self.destinations.get(&id).map(|d| d.progress.borrow().clone());
                let _ = reply.send(Err(connect_error(why, progress)));
            }
            router::Event::StreamAccepted { stream, from, port, peer_port, credit } => {
                return self.accepted(end, stream, from, (port, peer_port), credit);
            }
            router::Event::StreamData { stream, data } => {
                self.with(stream, |handle| handle.keep(data));
                if self.read.last() != Some(&stream) {
                    self.read.push(stream);
                }
            }
            router::Event::StreamWritable { stream, bytes } => self.with(stream, |handle| handle.writable(bytes)),
            router::Event::StreamFinished(stream) => self.with(stream, StreamHandle::finished),
            router::Event::StreamFailed { stream, why } => {
                let id = self.by_key.remove(&stream)?;
                let (_, handle) = self.streams.remove(&id)?;
                handle.failed(stream_error(why));
            }
            router::Event::DatagramsBound { token, result } => self.datagrams.bound(token, result),
            router::Event::DatagramTaken { token, result } => {
                let progress = |id| self.destinations.get(&id).map(|local| local.progress.borrow().clone());
                self.datagrams.taken(token, result, progress);
            }
            router::Event::Datagram { destination, datagram } => {
                self.datagrams.give(DestinationId(destination.0), *datagram);
            }
            router::Event::LookedUp { token, destination, options } => {
                let (_, reply) = self.lookups.remove(&token)?;
                let not_found = || Error::new(ErrorKind::NotFound, "no floodfill knows a LeaseSet of this destination");
                let found = destination.map(|destination| Found { destination, options });
                let _ = reply.send(found.ok_or_else(not_found));
            }
            router::Event::LookupRefused { token } => {
                let (_, reply) = self.lookups.remove(&token)?;
                let _ = reply.send(Err(Error::new(ErrorKind::Overloaded, "too many look-ups wait for an answer")));
            }
            // The program's end is told by `StreamFinished` and by its own shutdown; the others are not of programs, or were
            // taken before.
            router::Event::StreamClosed(_)
            | router::Event::LeasesOffered { .. }
            | router::Event::LeaseSetTaken { .. }
            | router::Event::MessageTaken { .. }
            | router::Event::Message { .. }
            | router::Event::MessageSent { .. }
            | router::Event::TunnelsSet { .. }
            | router::Event::Reachable { .. }
            | router::Event::ReachabilityTested { .. }
            | router::Event::Floodfill { .. }
            | router::Event::ClockCorrected { .. }
            | router::Event::Stopped => {}
        }
        None
    }

    /// Wakes the readers for which bytes have come since the last call: once for all that came in one turn, since a
    /// program that is woken reads at once, and one packet at a time costs it a system call each.
    pub(crate) fn wake_readers(&mut self) {
        for stream in std::mem::take(&mut self.read) {
            self.with(stream, StreamHandle::wake_reader);
        }
    }

    fn with(&self, key: StreamKey, act: impl FnOnce(&StreamHandle)) {
        if let Some((_, handle)) = self.by_key.get(&key).and_then(|id| self.streams.get(id)) {
            act(handle);
        }
    }

    fn make(&mut self, end: &DriverEnd, key: StreamKey, remote: Destination, credit: usize) -> Option<Stream> {
        let id = StreamId(self.number());
        let (handle, stream) = end.stream(id, remote, credit)?;
        self.streams.insert(id, (key, handle));
        self.by_key.insert(key, id);
        Some(stream)
    }

    fn accepted(
        &mut self,
        end: &DriverEnd,
        key: StreamKey,
        from: Destination,
        (port, from_port): (u16, u16),
        credit: usize,
    ) -> Option<router::Command> {
        let local = self.destinations.get(&DestinationId(key.destination.0))?;
        let listener = local.listeners.get(&Some(port)).or_else(|| local.listeners.get(&None)).cloned();
        let Some(listener) = listener else { return Some(router::Command::StreamReset(key)) };
        let Ok(permit) = listener.try_reserve() else { return Some(router::Command::StreamReset(key)) };
        match self.make(end, key, from.clone(), credit) {
            Some(stream) => permit.send(Incoming { stream, from, port, from_port }),
            None => return Some(router::Command::StreamReset(key)),
        }
        None
    }

    /// Tells every destination how far it is. `state` gives the core's view of one.
    pub(crate) fn update_progress(&self, state: impl Fn(router::DestinationId) -> Option<Progress>) {
        for (id, local) in &self.destinations {
            if let Some(progress) = state(router::DestinationId(id.0)) {
                local.progress.send_if_modified(|old| {
                    let changed = *old != progress;
                    *old = progress;
                    changed
                });
            }
        }
    }

    /// Whether all destinations can be used.
    pub(crate) fn are_ready(&self) -> bool {
        self.destinations.values().all(|local| local.progress.borrow().is_ready())
    }

    /// The destinations: id, name, public part.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = (router::DestinationId, &str, &Destination, Progress)> {
        self.destinations.iter().map(|(id, local)| {
            (router::DestinationId(id.0), local.name.as_str(), &local.destination, local.progress.borrow().clone())
        })
    }

    /// Fails everything that is open: the router stops.
    pub(crate) fn fail_all(&mut self) {
        for (_, (_, reply)) in std::mem::take(&mut self.connects) {
            let _ = reply.send(Err(Error::shutting_down()));
        }
        for (_, (_, reply)) in std::mem::take(&mut self.lookups) {
            let _ = reply.send(Err(Error::shutting_down()));
        }
        self.creating.clear();
        self.datagrams = Takers::default();
        self.keyless = Keyless::default();
        self.streams.clear();
        self.by_key.clear();
        self.destinations.clear();
    }
}

pub(super) fn no_destination() -> Error {
    Error::new(ErrorKind::Closed, "the destination was closed")
}

fn create_error(why: PoolError) -> Error {
    match why {
        PoolError::TooMany => Error::new(ErrorKind::Overloaded, "too many destinations are open"),
        PoolError::Missing => no_destination(),
        why => Error::new(ErrorKind::Misuse, why.to_string()),
    }
}

fn connect_error(why: ConnectError, progress: Option<Progress>) -> Error {
    match why {
        ConnectError::TunnelsNotReady => Error::not_ready(progress.unwrap_or_default()),
        ConnectError::LeaseSetNotFound => {
            Error::new(ErrorKind::NotFound, "no floodfill knows a LeaseSet of this destination")
        }
        ConnectError::NoAnswer => Error::new(ErrorKind::PeerNotAnswering, "the peer did not answer"),
        ConnectError::Refused => Error::new(ErrorKind::Refused, "the peer refused the connection"),
        ConnectError::Limit => Error::new(ErrorKind::Overloaded, "too many streams are open"),
        _ => no_destination(),
    }
}

fn stream_error(why: StreamError) -> Error {
    match why {
        StreamError::Reset => Error::new(ErrorKind::Reset, "the peer has reset the stream"),
        StreamError::TimedOut => Error::new(ErrorKind::Reset, "the peer does not answer any more"),
        _ => Error::new(ErrorKind::Closed, "the stream was closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam;
    use tokio::sync::oneshot;

    fn create(clients: &mut Clients) -> (router::DestinationId, oneshot::Receiver<Result<Created, Error>>) {
        let keys = PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng));
        let (reply, answer) = oneshot::channel();
        match clients.create(&DestinationOptions::client("test"), keys, reply) {
            Outcome::Core(router::Command::CreateDestination { id, .. }) => (id, answer),
            _ => panic!("another command"),
        }
    }

    #[tokio::test]
    async fn a_destination_that_the_core_cannot_make_is_an_error_and_nothing_else() {
        let ((_ramson, end), mut clients) = (seam::open(), Clients::new());
        let (id, mut answer) = create(&mut clients);
        assert!(answer.try_recv().is_err(), "not before the core has said so");
        let failed = router::Event::DestinationFailed { id, why: PoolError::TooMany };
        assert!(clients.handle_event(&end, failed).is_none());
        assert_eq!(answer.await.unwrap().unwrap_err().kind(), ErrorKind::Overloaded);
        assert_eq!(clients.destinations().count(), 0);
        let (id, answer) = create(&mut clients);
        assert!(clients.handle_event(&end, router::Event::DestinationCreated(id)).is_none());
        assert_eq!(answer.await.unwrap().unwrap().id, DestinationId(id.0));
        assert_eq!(clients.destinations().count(), 1);
    }

    #[tokio::test]
    async fn a_destination_of_a_program_that_has_gone_is_closed() {
        let ((_ramson, end), mut clients) = (seam::open(), Clients::new());
        let (id, answer) = create(&mut clients);
        drop(answer);
        let command = clients.handle_event(&end, router::Event::DestinationCreated(id));
        assert!(matches!(command, Some(router::Command::CloseDestination(closed)) if closed == id));
        assert_eq!(clients.destinations().count(), 0);
    }
}
