//! The seam between the client API and the driver: commands go down, events come up.
//!
//! # What the driver holds
//! [`DriverEnd`], made together with the [`Ramson`] handle by [`open`]. It takes [`Command`]s from
//! [`DriverEnd::commands`], keeps [`DriverEnd::progress`] current, and sends [`Event`]s. When `commands` is closed
//! (`recv` gives `None`), no handle of the router is left; the driver then shuts down as after [`Command::Shutdown`].
//! When the driver drops `commands`, every call of the API answers "shutting down"; so it is dropped last, after all
//! streams were failed.
//!
//! # Replies
//! Every request carries a `reply`. The driver answers each exactly once; one that it drops reads as "shutting down".
//! A caller that has gone away is seen by `reply.is_closed()`; an answer to it is dropped, and what the answer holds
//! closes itself: a [`Stream`] sends [`Command::StreamReset`], a destination [`Command::CloseDestination`]. No
//! clean-up by the driver is needed.
//!
//! # Destinations
//! [`Command::CreateDestination`] is answered at once with [`Created`], before its tunnels stand: how far they are is
//! told by the `watch` channel, whose sender the driver keeps. Where there are too many destinations, the answer is an
//! error, and nothing was made. The driver draws the [`DestinationId`]; it never
//! reuses one. [`Command::CloseDestination`] ends the destination and resets its streams.
//!
//! # Streams
//! - Outgoing: on [`Command::Connect`] the driver opens a stream in the core. When the core says that it is open (the
//!   SYN was answered), the driver calls [`DriverEnd::stream`], keeps the [`StreamHandle`] and replies with the
//!   [`Stream`]. If the core gives up, it replies with the error.
//! - Incoming: when the core accepts a stream, the driver looks for the [`Command::Listen`] of its destination with
//!   that local port, else for one with `port: None`; makes the pair, and `try_send`s an [`crate::Incoming`]. If nobody
//!   listens, or the queue is full, or the listener is gone (the channel is closed), it resets the stream in the core.
//! - Core to client: [`StreamHandle::data`], [`StreamHandle::writable`], [`StreamHandle::finished`] (the peer's
//!   direction ended in order), [`StreamHandle::failed`] (reset, timed out; nothing else follows).
//! - Client to core: [`Command::StreamData`], [`Command::StreamShutdown`] (close our direction after all data),
//!   [`Command::StreamReset`] (abort now, discard what was not sent), [`Command::StreamRelease`] (the client is done
//!   after its shutdown: deliver what was written, discard what still comes, no more events are read). After
//!   `StreamReset` or `StreamRelease` no command follows for that id. The driver must bear commands for ids that it
//!   has already forgotten.
//! - Credit out: the client sends at most the bytes granted by `initial_credit` and [`StreamHandle::writable`] (which
//!   adds); so the core's send buffer bounds what waits in the command channel.
//! - Credit in: the core hands out at most its receive window; [`Command::StreamCredit`] says how many bytes the
//!   program has read, and the core opens its window by them.

#![allow(missing_docs, reason = "the fields are what their names say, and the text above has their rules")]

use crate::client::{DestinationOptions, Found, Incoming, Ramson, Target, TunnelOptions};
use crate::datagram::{DatagramFormat, DatagramSink, OutgoingDatagram};
use crate::error::Error;
use crate::keyless::{KeylessSink, MessageRefusal, OutgoingMessage};
use crate::reseed::Sources;
use crate::status::{Draining, Event, InboundTunnel, Inside, Progress, Route, Status};
use crate::stream::{Shared, Stream, lock};
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{Destination, Hash, LeaseSet2, PrivateKeys};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// An [`Event`] queue that is not read falls behind by at most so many.
const EVENT_QUEUE: usize = 64;

/// One of our destinations, as the driver numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationId(pub u64);

/// A stream, as the driver numbers them. Unique over all destinations, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// The answer to a request.
pub type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the client API asks of the driver. See the module's text for the rules.
#[derive(Debug)]
#[non_exhaustive]
pub enum Command {
    /// Make a destination; without keys, with new ones that live as long as it does.
    CreateDestination {
        options: DestinationOptions,
        keys: Option<Box<PrivateKeys>>,
        reply: Reply<Created>,
    },
    /// Make a destination whose keys the program holds. `InUse` if it is there already.
    CreateKeyless {
        options: DestinationOptions,
        destination: Box<Destination>,
        /// Another one of this kind, whose tunnels it shares.
        beside: Option<DestinationId>,
        sink: KeylessSink,
        reply: Reply<Created>,
    },
    /// A LeaseSet that such a program has signed, and the private parts of its X25519 keys.
    SetLeaseSet {
        destination: DestinationId,
        set: Box<LeaseSet2>,
        keys: Vec<SecretKey>,
        reply: Reply<()>,
    },
    /// A message of such a program. Answered when it is on its way, or cannot be.
    SendMessage {
        destination: DestinationId,
        message: Box<OutgoingMessage>,
        reply: Reply<Result<(), MessageRefusal>>,
    },
    /// Other tunnels for a destination of such a program.
    SetTunnels {
        destination: DestinationId,
        inbound: TunnelOptions,
        outbound: TunnelOptions,
        reply: Reply<()>,
    },
    /// End a destination and reset its streams.
    CloseDestination(DestinationId),
    /// Hand out streams that come to `port`, or to any port that nobody else listens on. `Misuse` if the port is taken.
    Listen {
        destination: DestinationId,
        port: Option<u16>,
        incoming: mpsc::Sender<Incoming>,
        reply: Reply<()>,
    },
    /// Open a stream.
    Connect {
        destination: DestinationId,
        to: Target,
        /// Ours and the peer's.
        ports: (u16, u16),
        reply: Reply<Stream>,
    },
    /// Nobody listens there any more, if the listener is closed.
    Unlisten {
        destination: DestinationId,
        port: Option<u16>,
    },
    /// Hand out datagrams of a format that come to a port, or to any that is not bound by itself. `Misuse` if they are
    /// handed out already.
    BindDatagrams {
        destination: DestinationId,
        bound: (DatagramFormat, Option<u16>),
        sink: DatagramSink,
        reply: Reply<()>,
    },
    UnbindDatagrams {
        destination: DestinationId,
        bound: (DatagramFormat, Option<u16>),
    },
    /// Answered when it is on its way, or cannot be.
    SendDatagram {
        destination: DestinationId,
        datagram: Box<OutgoingDatagram>,
        reply: Reply<()>,
    },
    StreamData {
        stream: StreamId,
        data: Vec<u8>,
    },
    StreamShutdown(StreamId),
    StreamReset(StreamId),
    StreamRelease(StreamId),
    StreamCredit {
        stream: StreamId,
        bytes: usize,
    },
    /// Find the LeaseSet of a destination by the tunnels of one of ours, and answer with the destination in it.
    Lookup {
        destination: DestinationId,
        hash: Hash,
        reply: Reply<Found>,
    },
    /// By what data of a destination of ours to another goes at this moment.
    Route {
        destination: DestinationId,
        to: Hash,
        reply: Reply<Option<Route>>,
    },
    /// The inbound tunnels of a destination of ours.
    InboundTunnels {
        destination: DestinationId,
        reply: Reply<Vec<InboundTunnel>>,
    },
    Status {
        reply: Reply<Box<Status>>,
    },
    Inside {
        reply: Reply<Box<Inside>>,
    },
    /// Reseed now: from these sources, or from the configured ones if there are none. Answers with the number of new
    /// routers.
    Reseed {
        sources: Sources,
        reply: Reply<usize>,
    },
    /// Write a reseed bundle of the netDb to a file, a zip without a signature. Answers with the number of routers in
    /// it.
    ExportReseed {
        file: PathBuf,
        reply: Reply<usize>,
    },
    /// Accept no more tunnels of others. Answers with how many there are, and how long they last.
    Drain {
        reply: Reply<Draining>,
    },
    /// Stop in order: close streams, save, answer, end.
    Shutdown {
        reply: Reply<()>,
    },
}

/// The answer to [`Command::CreateDestination`].
#[derive(Debug)]
pub struct Created {
    /// The driver's number of it.
    pub id: DestinationId,
    /// The public part.
    pub destination: Destination,
    /// How far the destination's tunnels are; `Stage::Ready` when streams can be opened, and, if it is published,
    /// when its LeaseSet is in the netDb.
    pub progress: watch::Receiver<Progress>,
}

/// The driver's end of the seam.
#[derive(Debug)]
pub struct DriverEnd {
    /// What the API asks for.
    pub commands: mpsc::UnboundedReceiver<Command>,
    /// How far the router as a whole is.
    pub progress: watch::Sender<Progress>,
    /// Sending to nobody is not an error; ignore the result.
    pub events: broadcast::Sender<Event>,
    /// Weak, so that the driver's own end does not keep the command channel open.
    sender: mpsc::WeakUnboundedSender<Command>,
}

impl DriverEnd {
    /// Makes a stream to hand to the client, and the driver's handle of it. `initial_credit` bytes may be written at
    /// once. `None` if the last handle of the router is gone: the driver resets the stream then.
    pub fn stream(&self, id: StreamId, remote: Destination, initial_credit: usize) -> Option<(StreamHandle, Stream)> {
        let commands = self.sender.upgrade()?;
        let shared = Arc::new(Mutex::new(Shared { write_credit: initial_credit, ..Shared::default() }));
        let handle = StreamHandle { id, shared: Arc::clone(&shared) };
        Some((handle, Stream::new(id, shared, commands, remote)))
    }
}

/// The driver's end of one stream.
#[derive(Debug)]
pub struct StreamHandle {
    id: StreamId,
    shared: Arc<Mutex<Shared>>,
}

impl StreamHandle {
    /// The driver's number of the stream.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Bytes from the peer, in order.
    pub fn data(&self, data: Vec<u8>) {
        self.keep(data);
        self.wake_reader();
    }

    /// The same, without a word to the reader: [`StreamHandle::wake_reader`] follows, when all that came at once is here.
    pub(crate) fn keep(&self, data: Vec<u8>) {
        if !data.is_empty() {
            lock(&self.shared).inbox.push_back(data);
        }
    }

    /// Wakes a reader that waits.
    pub(crate) fn wake_reader(&self) {
        lock(&self.shared).wake(true, false);
    }

    /// The client may write `n` bytes more.
    pub fn writable(&self, n: usize) {
        let mut shared = lock(&self.shared);
        shared.write_credit = shared.write_credit.saturating_add(n);
        shared.wake(false, n > 0);
    }

    /// The peer closed its direction; all its bytes were handed over before.
    pub fn finished(&self) {
        let mut shared = lock(&self.shared);
        shared.finished = true;
        shared.wake(true, false);
    }

    /// The stream broke. Bytes that were handed over before can still be read. The first reason stands.
    pub fn failed(&self, why: Error) {
        let mut shared = lock(&self.shared);
        shared.failed.get_or_insert(why);
        shared.wake(true, true);
    }
}

impl Drop for StreamHandle {
    /// A handle that goes away without an end fails its stream, so that no reader waits for ever.
    fn drop(&mut self) {
        self.failed(Error::shutting_down());
    }
}

/// Makes the two ends: the handle for programs, and the driver's.
pub fn open() -> (Ramson, DriverEnd) {
    let (sender, commands) = mpsc::unbounded_channel();
    let (progress, progress_seen) = watch::channel(Progress::default());
    let (events, _) = broadcast::channel(EVENT_QUEUE);
    let weak = sender.downgrade();
    let ramson = Ramson::new(sender, progress_seen, events.clone());
    (ramson, DriverEnd { commands, progress, events, sender: weak })
}
