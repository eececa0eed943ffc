//! Datagrams: single messages between destinations, which arrive or do not.

use crate::client::LocalDestination;
use crate::error::Error;
use crate::seam::{Command, DestinationId};
use ramson_wire::data::{Destination, Hash, Mapping};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Datagrams that wait to be read, per receiver: 8 MB at most. More are dropped, and counted.
pub(crate) const QUEUE: usize = 128;

/// How a datagram says who sent it. <https://geti2p.net/spec/datagrams>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DatagramFormat {
    /// Signed, but not bound to its receiver, who can pass it on to others. Needs the destination's own key.
    Datagram1,
    /// The sender is not said. With the number of its protocol: 18 unless both sides agree on another one, never 6, 17,
    /// 19 or 20. To receive, those can be asked for (but 6), and 0 is every protocol that nobody else receives.
    Raw(u8),
    /// Signed for one receiver.
    Datagram2,
    /// Not signed: see [`DatagramSender`].
    Datagram3,
}

impl DatagramFormat {
    /// The usual raw datagrams.
    pub const RAW: Self = Self::Raw(18);
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingDatagram {
    /// How it says who sends it.
    pub format: DatagramFormat,
    /// The hash of the destination that it is for.
    pub to: Hash,
    /// A port of ours, to which an answer comes.
    pub from_port: u16,
    /// The receiver's port.
    pub to_port: u16,
    /// For [`DatagramFormat::Datagram2`] and [`DatagramFormat::Datagram3`] only.
    pub options: Mapping,
    /// With what is around it 61,440 bytes at most. Those above 11 KB are often lost.
    pub payload: Vec<u8>,
}

/// A datagram that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// How it says who sent it.
    pub format: DatagramFormat,
    /// Who sent it.
    pub from: DatagramSender,
    /// The port that the sender says that it came from.
    pub from_port: u16,
    /// The port of ours that it came to.
    pub to_port: u16,
    /// Empty where the format has none.
    pub options: Mapping,
    /// What was sent.
    pub payload: Vec<u8>,
}

/// Who sent a datagram, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatagramSender {
    /// Its signature shows it.
    Signed(Box<Destination>),
    /// Its own words, and the session that it came in.
    Session(Hash),
    /// Its own words only: anybody may have written them.
    Claimed(Hash),
    /// Not said.
    Unknown,
}

impl DatagramSender {
    /// The sender's hash, if one is said.
    pub fn hash(&self) -> Option<Hash> {
        match self {
            Self::Signed(destination) => Some(destination.hash()),
            Self::Session(hash) | Self::Claimed(hash) => Some(*hash),
            Self::Unknown => None,
        }
    }
}

/// Receives the datagrams of one format that come to one port, or to all. It keeps its destination.
#[derive(Debug)]
pub struct Datagrams {
    pub(crate) queue: mpsc::Receiver<Datagram>,
    pub(crate) dropped: Arc<AtomicU64>,
    pub(crate) bound: (DatagramFormat, Option<u16>),
    pub(crate) id: DestinationId,
    pub(crate) destination: LocalDestination,
}

impl Datagrams {
    /// The next datagram; an error when the destination is closed or the router shuts down.
    pub async fn recv(&mut self) -> Result<Datagram, Error> {
        self.queue.recv().await.ok_or_else(Error::shutting_down)
    }

    /// How many were dropped because they were not read in time.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.destination.tell(Command::UnbindDatagrams { destination: self.id, bound: self.bound });
    }
}

/// The driver's end of a [`Datagrams`].
#[derive(Clone, Debug)]
pub struct DatagramSink {
    sender: mpsc::Sender<Datagram>,
    dropped: Arc<AtomicU64>,
}

impl DatagramSink {
    pub(crate) fn new(sender: mpsc::Sender<Datagram>, dropped: Arc<AtomicU64>) -> Self {
        Self { sender, dropped }
    }

    /// Hands a datagram over, or drops and counts it where too many wait.
    pub fn give(&self, datagram: Datagram) {
        if self.sender.try_send(datagram).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
