//! Streams: reliable, ordered bytes between two destinations. <https://geti2p.net/spec/streaming>
//!
//! [`Streams`] is the machine of one local destination. It knows neither tunnels nor LeaseSets: it asks for packets to
//! be sent to a destination's hash, says when a path looks dead, and is told when it changed.
//!
//! # Driving it
//!
//! 1. After every call (`connect`, `send`, `credit`, `handle_packet`, `handle_job`, `handle_timeout`, ..) drain
//!    [`Streams::poll_event`] until `None`, then wait until [`Streams::next_timeout`] at the latest.
//! 2. [`Event::Send`]: wrap the packet as protocol 6 with the two ports and send it. `first` asks for a bundled
//!    LeaseSet, since the peer may not have ours. A packet may be dropped on the way; it is sent again.
//! 3. [`Event::Job`]: run it anywhere and give the result to [`Streams::handle_job`].
//! 4. [`Event::Data`] is given to the program; when the program has consumed `n` bytes, call `credit(n)`. What is not
//!    credited counts against the receive buffer, and a full one chokes the peer.
//! 5. `send` takes what there is room for and returns how much; the rest is offered again after [`Event::Writable`].
//! 6. `close` ends our direction after everything written; reading goes on until [`Event::Finished`]. An i2pd peer
//!    answers a CLOSE at once with its own and forgets what it had not sent, so a program that still expects an answer
//!    closes after it. A program that goes away calls `close` and `discard`, or `reset`.
//! 7. [`Event::PathSuspect`]: the destination tries another outbound tunnel or lease for `to`, and calls
//!    [`Streams::path_changed`]. It comes when nothing of any stream arrives by the path, again after growing pauses,
//!    and before the SYN's first repetition; when the peer repeats itself, so that our acknowledgements seem to get
//!    lost; and when the path loses much.
//!
//! # Trust
//!
//! SYN, CLOSE, RESET and pings are signed. The other packets count because they carry both random stream ids and come
//! out of the session of the peer: where the session names its destination (`from`), it must be the peer, and a CLOSE
//! without signature counts only then.

mod congestion;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod jobs;
mod path;
mod receive;
mod rtt;
mod send;
mod streams;
mod tally;
#[cfg(test)]
mod tests;

pub use jobs::{Done, Job, SignJob, VerifyJob};
pub use streams::Streams;

use crate::time::Duration;
use ramson_wire::DecodeError;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::data::{Destination, Hash, OfflineSignature, PrivateKeys};
use std::sync::Arc;

/// The handle of a stream on this side. Never used twice by one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// The local destination and the key that signs for it.
#[derive(Clone, Debug)]
pub struct Local {
    pub destination: Destination,
    /// The destination's own key, or the transient one of `offline`.
    pub key: Arc<SigningKey>,
    /// The offline signature block, when `key` is transient.
    pub offline: Option<Vec<u8>>,
}

impl Local {
    /// The destination of these keys.
    pub fn of(keys: &PrivateKeys) -> Self {
        let permit = |offline: &OfflineSignature| {
            let mut block = Vec::new();
            offline.encode(&mut block);
            block
        };
        Self {
            destination: keys.destination().clone(),
            key: Arc::new(keys.signing_key().clone()),
            offline: keys.offline().map(permit),
        }
    }
}

/// Settings of one local destination's streams.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest payload to send and to ask for, in bytes.
    pub mtu: u16,
    /// Packets under way when nothing is known about the path.
    pub initial_window: u32,
    /// Most packets under way to one peer, over all streams. Java's buffers hold 128 of one stream: it is found out when it
    /// drops more.
    pub max_window: u32,
    /// Most bytes per stream that `send` takes before the peer has them: two windows, but no fewer than
    /// [`crate::limits::stream::SEND_BUFFER`] and no more than this.
    pub send_buffer: usize,
    /// Bytes per stream that wait for the program or behind holes.
    pub receive_buffer: usize,
    /// Streams at once; at most [`crate::limits::stream::MAX_STREAMS`].
    pub max_streams: usize,
    /// How long a `connect` tries.
    pub connect_timeout: Duration,
    /// Silence after which a keep-alive is sent.
    pub inactivity: Duration,
    /// Timeouts in a row after which a stream fails, if they took at least a minute.
    pub max_resends: u32,
    /// Whether pings are answered.
    pub answer_pings: bool,
    /// Whether a SYN without signature counts when the session names its destination (i2pd's `dontSign`).
    pub unsigned_syn: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mtu: ramson_wire::streaming::ECIES_MTU,
            initial_window: 32,
            max_window: 2048,
            send_buffer: 8 << 20,
            receive_buffer: 8 << 20,
            max_streams: 1024,
            connect_timeout: Duration::from_secs(60),
            inactivity: Duration::from_secs(90),
            max_resends: 10,
            answer_pings: true,
            unsigned_syn: false,
        }
    }
}

/// Options of one `connect`.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The peer's destination, when its LeaseSet is at hand. Without it a refusal is believed only from the peer's
    /// session.
    pub peer: Option<Destination>,
    /// Round trip through the tunnels in use. The SYN is sent again after three, but not within a second.
    pub path_rtt: Option<Duration>,
    /// How long the SYN waits for data to carry. With the first data it leaves at once.
    pub wait_for_data: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { peer: None, path_rtt: None, wait_for_data: Duration::from_millis(5) }
    }
}

/// What comes out of [`Streams`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Send this packet. `first` while the peer may not have our LeaseSet; `stream` is `None` for pings and refusals.
    Send { to: Hash, from_port: u16, to_port: u16, packet: Vec<u8>, stream: Option<StreamId>, first: bool },
    /// Run this job.
    Job(Job),
    /// A `connect` succeeded.
    Opened { stream: StreamId, peer: Destination },
    /// A peer opened a stream to a port that is listened on.
    Accepted { stream: StreamId, from: Destination, port: u16, peer_port: u16 },
    /// Bytes in order, to be credited when consumed.
    Data { stream: StreamId, bytes: Vec<u8> },
    /// `send` has room again, after it took less than was offered.
    Writable { stream: StreamId },
    /// The peer has closed, and all its data was given.
    Finished { stream: StreamId },
    /// The stream is over before its end; what was given before is valid but may not be all.
    Failed { stream: StreamId, why: Error },
    /// Both directions are closed and acknowledged. The handle is not used again.
    Closed { stream: StreamId },
    /// Another tunnel or lease towards `to` should be tried. `timeouts` is how often that was said since something
    /// arrived; 0 where packets do arrive. `opened` says that the stream is one that we have opened.
    PathSuspect { to: Hash, stream: StreamId, timeouts: u32, opened: bool },
    /// The path to `to` works: the first acknowledgement, or the first after timeouts.
    PathGood { to: Hash, stream: StreamId },
    /// The answer to a `ping`.
    Pong { from: Option<Hash>, nonce: u32, payload: Vec<u8> },
}

/// Why a packet was not taken, a call failed or a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's packet is malformed, or its signature does not verify.
    #[error("malformed packet: {0}")]
    Malformed(#[from] DecodeError),
    /// The packet is larger than any that is handled. The peer's fault.
    #[error("packet too large")]
    TooLarge,
    /// The packet comes from another destination than the stream's, is meant for another one, or carries a wrong stream
    /// id.
    #[error("packet does not belong to the stream")]
    Forged,
    /// The packet needs a signature or a session that names the peer.
    #[error("packet is not signed")]
    Unsigned,
    /// The packet belongs to no stream. It may be late.
    #[error("no such stream")]
    UnknownStream,
    /// A limit is reached; the packet was dropped or the stream refused.
    #[error("limit reached")]
    Limit,
    /// Nobody listens on the port.
    #[error("nobody listens on the port")]
    NotListening,
    /// The peer reset the stream, or refused it.
    #[error("reset by the peer")]
    Reset,
    /// A panic while the stream was worked on. Our own fault.
    #[error("a fault of this router")]
    Fault,
    /// The peer did not answer.
    #[error("the peer does not answer")]
    TimedOut,
}
