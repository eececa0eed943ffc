//! Destinations whose keys the program keeps to itself: it signs their LeaseSets, and brings its own streams and
//! datagrams.

use crate::client::{DestinationOptions, LocalDestination, Ramson, TunnelOptions};
use crate::error::{Error, ErrorKind};
use crate::seam::{Command, DestinationId};
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{Destination, Hash, Lease2, LeaseSet2};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{mpsc, watch};

/// Messages that wait to be read, and their bytes, per destination. More are dropped, and counted.
pub(crate) const QUEUE: usize = 4_096;
pub(crate) const QUEUE_BYTES: usize = 4 << 20;

/// A destination whose keys the program holds. [`KeylessEvents`] says what it is to sign and what comes; it closes when
/// the last of its handles is dropped.
#[derive(Clone, Debug)]
pub struct KeylessDestination {
    local: LocalDestination,
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The program's number of it, for [`KeylessEvent::Sent`].
    pub id: u32,
    /// The hash of the destination that it is for.
    pub to: Hash,
    /// As the other side gets it: by the specification a gzip member whose header names protocol and ports.
    pub payload: Vec<u8>,
    /// Milliseconds since 1970 until when it is good; a minute at most.
    pub expires: Option<u64>,
    /// Whether [`KeylessEvent::Sent`] is to follow.
    pub report: bool,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageRefusal {
    /// The destination is closed, or the router shuts down.
    #[error("the destination was closed, or the router shuts down")]
    Closed,
    /// Our tunnels do not stand yet: it can be tried again soon.
    #[error("our tunnels do not stand yet")]
    NotReady,
    /// The program has signed no LeaseSet that is still good: nobody could answer.
    #[error("no LeaseSet of this destination is signed, or it has expired")]
    NotSigned,
    /// It is empty, or larger than a message may be.
    #[error("the message is empty or too large")]
    Size,
    /// Its time is over.
    #[error("the message has expired")]
    Expired,
    /// It is for its own sender.
    #[error("a destination does not write to itself")]
    Loopback,
    /// Too many wait: it can be tried again when others have left.
    #[error("too many messages wait")]
    Overloaded,
    /// No floodfill knows where the destination is.
    #[error("no floodfill knows a LeaseSet of the destination")]
    NotFound,
    /// The destination has only keys of types that are not spoken here.
    #[error("the destination has no encryption key of a type that is spoken here")]
    UnsupportedEncryption,
    /// No way to the destination was found in time.
    #[error("no way to the destination was found in time")]
    Unreachable,
}

/// What a destination without keys is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeylessEvent {
    /// A LeaseSet of these leases is wanted, see [`KeylessDestination::set_lease_set`]. The first time says, too, that
    /// there are tunnels in both directions.
    Sign(Vec<Lease2>),
    /// A message has come. Who sent it the router does not say: what is in it may.
    Message(Vec<u8>),
    /// A message has left, or why not. That it arrives, nobody can say.
    Sent(u32, Result<(), MessageRefusal>),
}

impl Ramson {
    /// Makes a destination whose keys the program holds. Answers before its tunnels stand. `options.compress` means
    /// nothing here, and nothing of it is kept on disk.
    pub async fn keyless_destination(
        &self,
        options: DestinationOptions,
        destination: Destination,
    ) -> Result<(KeylessDestination, KeylessEvents), Error> {
        options.check()?;
        create(self, options, destination, None).await
    }
}

async fn create(
    ramson: &Ramson,
    options: DestinationOptions,
    destination: Destination,
    beside: Option<DestinationId>,
) -> Result<(KeylessDestination, KeylessEvents), Error> {
    let (sink, events) = channel();
    let destination = Box::new(destination);
    let create = |reply| Command::CreateKeyless { options, destination, beside, sink, reply };
    let local = LocalDestination::new(ramson, ramson.ask(create).await?);
    Ok((KeylessDestination { local }, events))
}

impl KeylessDestination {
    /// The destination for what needs no keys: look-ups, progress, its name. It has no streams and no datagrams: whoever
    /// asks for one is told that it is closed.
    pub fn local(&self) -> &LocalDestination {
        &self.local
    }

    /// Makes another destination of the same program, which shares the tunnels of this one, and must have the same X25519
    /// key in its LeaseSets: whoever sees both knows that they belong together. Their names and whether they are published
    /// are all that `options` says of it. It ends with this one.
    pub async fn beside(
        &self,
        options: DestinationOptions,
        destination: Destination,
    ) -> Result<(KeylessDestination, KeylessEvents), Error> {
        options.check()?;
        create(self.local.ramson(), options, destination, Some(self.local.id())).await
    }

    /// Takes a LeaseSet that the program has signed, of leases that [`KeylessEvent::Sign`] has named, and the private
    /// parts of its X25519 keys. Fails with [`ErrorKind::Misuse`] and the reason.
    pub async fn set_lease_set(&self, set: LeaseSet2, keys: Vec<SecretKey>) -> Result<(), Error> {
        let (destination, set) = (self.local.id(), Box::new(set));
        self.local.ramson().ask(|reply| Command::SetLeaseSet { destination, set, keys, reply }).await
    }

    /// Sends a message. That it was taken does not say that it arrives.
    pub async fn send(&self, message: OutgoingMessage) -> Result<(), MessageRefusal> {
        let (destination, message) = (self.local.id(), Box::new(message));
        let sent = self.local.ramson().ask(|reply| Command::SendMessage { destination, message, reply }).await;
        sent.unwrap_or(Err(MessageRefusal::Closed))
    }

    /// Other tunnels from now on. Those that are shorter than these end at once, the others run out.
    pub async fn set_tunnels(&self, inbound: TunnelOptions, outbound: TunnelOptions) -> Result<(), Error> {
        let options = DestinationOptions { inbound, outbound, ..DestinationOptions::client("") };
        options.check()?;
        let (destination, inbound, outbound) = (self.local.id(), options.inbound, options.outbound);
        self.local.ramson().ask(|reply| Command::SetTunnels { destination, inbound, outbound, reply }).await
    }

    /// Closes it now, whoever else holds it.
    pub fn close(&self) {
        self.local.close();
    }
}

/// What happens at a [`KeylessDestination`].
#[derive(Debug)]
pub struct KeylessEvents {
    leases: watch::Receiver<Vec<Lease2>>,
    queue: mpsc::Receiver<KeylessEvent>,
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct Room {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl KeylessEvents {
    /// The next event. What is to be signed comes first, and of several such requests only the last. An error when the
    /// destination is closed or the router shuts down.
    pub async fn next(&mut self) -> Result<KeylessEvent, Error> {
        let closed = || Error::new(ErrorKind::Closed, "the destination was closed");
        tokio::select! {
            biased;
            changed = self.leases.changed() => match changed {
                Ok(()) => Ok(KeylessEvent::Sign(self.leases.borrow_and_update().clone())),
                Err(_) => Err(closed()),
            },
            event = self.queue.recv() => {
                let event = event.ok_or_else(closed)?;
                self.taken(&event);
                Ok(event)
            }
        }
    }

    /// The next event that has come already, in no order with what is to be signed.
    pub fn try_next(&mut self) -> Option<KeylessEvent> {
        let event = self.queue.try_recv().ok()?;
        self.taken(&event);
        Some(event)
    }

    fn taken(&self, event: &KeylessEvent) {
        if let KeylessEvent::Message(payload) = event {
            self.room.bytes.fetch_sub(payload.len(), Ordering::Relaxed);
        }
    }

    /// How many messages were dropped because they were not read in time.
    pub fn dropped(&self) -> u64 {
        self.room.dropped.load(Ordering::Relaxed)
    }
}

/// The driver's end of [`KeylessEvents`].
#[derive(Debug)]
pub struct KeylessSink {
    leases: watch::Sender<Vec<Lease2>>,
    queue: mpsc::Sender<KeylessEvent>,
    room: Arc<Room>,
}

/// Makes both ends.
pub(crate) fn channel() -> (KeylessSink, KeylessEvents) {
    let (leases, leases_seen) = watch::channel(Vec::new());
    let (sender, queue) = mpsc::channel(QUEUE);
    let room = Arc::<Room>::default();
    let sink = KeylessSink { leases, queue: sender, room: Arc::clone(&room) };
    (sink, KeylessEvents { leases: leases_seen, queue, room })
}

impl KeylessSink {
    /// Asks the program to sign.
    pub fn sign(&self, leases: Vec<Lease2>) {
        self.leases.send_replace(leases);
    }

    /// Hands a message over, or drops and counts it where too many wait.
    pub fn message(&self, payload: Vec<u8>) {
        let (len, room) = (payload.len(), &self.room);
        let fits = room.bytes.load(Ordering::Relaxed).saturating_add(len) <= QUEUE_BYTES;
        // Counted before it can be read.
        room.bytes.fetch_add(len, Ordering::Relaxed);
        if !fits || self.queue.try_send(KeylessEvent::Message(payload)).is_err() {
            room.bytes.fetch_sub(len, Ordering::Relaxed);
            room.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says what became of a message; not to a program that reads nothing.
    pub fn sent(&self, id: u32, result: Result<(), MessageRefusal>) {
        let _ = self.queue.try_send(KeylessEvent::Sent(id, result));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that does not read: bytes and number of what waits for it are bounded, and all that is read makes room.
    #[tokio::test]
    async fn what_is_not_read_is_dropped_and_counted() {
        let (sink, mut events) = channel();
        let large = 64 << 10;
        (0..QUEUE_BYTES / large + 3).for_each(|_| sink.message(vec![1; large]));
        assert_eq!(events.dropped(), 3);
        assert_eq!(events.next().await.unwrap(), KeylessEvent::Message(vec![1; large]));
        sink.message(vec![2; large]);
        assert_eq!(events.dropped(), 3, "there is room again");
        sink.message(vec![3]);
        assert_eq!(events.dropped(), 4);
        while events.try_next().is_some() {}
        (0..QUEUE + 5).for_each(|_| sink.message(vec![4]));
        assert_eq!(events.dropped(), 9);
        sink.sent(1, Ok(()));
        while events.try_next().is_some() {}
        assert_eq!(events.room.bytes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn of_requests_to_sign_the_last_one_counts_and_comes_first() {
        let (sink, mut events) = channel();
        let lease = |n| Lease2 { gateway: Hash([n; 32]), tunnel_id: 1, end: 2 };
        sink.message(vec![1]);
        sink.sign(vec![lease(1)]);
        sink.sign(vec![lease(2)]);
        assert_eq!(events.next().await.unwrap(), KeylessEvent::Sign(vec![lease(2)]));
        assert_eq!(events.next().await.unwrap(), KeylessEvent::Message(vec![1]));
        drop(sink);
        assert_eq!(events.next().await.unwrap_err().kind(), ErrorKind::Closed);
    }
}
