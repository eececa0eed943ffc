//! Links between nodes, and TCP connections over them.
//!
//! TCP is reliable here as it is outside: what the network loses shows as delay. A connection attempt can fail; bytes
//! arrive once and in order, after the delay of the link, its jitter, and their own length at its rate.

use crate::node::NodeId;
use ramson_core::link::ConnId;
use ramson_core::time::{Duration, Instant};
use std::collections::VecDeque;

/// What lies between two nodes, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// One way.
    pub delay: Duration,
    /// Up to this much is added, drawn for every write.
    pub jitter: Duration,
    /// Bytes per second of one connection and direction; 0 for no limit.
    pub rate: u64,
    /// The share of connection attempts that are refused, 0 to 1.
    pub refused: f64,
}

impl Default for Link {
    /// 40 ms one way with 10 ms of jitter, 2 MB/s, and no refusals.
    fn default() -> Self {
        Self { delay: Duration::from_millis(40), jitter: Duration::from_millis(10), rate: 2_000_000, refused: 0.0 }
    }
}

impl Link {
    /// No delay and no limit.
    pub const IDEAL: Self = Self { delay: Duration::ZERO, jitter: Duration::ZERO, rate: 0, refused: 0.0 };

    /// How long `bytes` take to leave.
    pub(crate) fn duration_of(&self, bytes: usize) -> Duration {
        match self.rate {
            0 => Duration::ZERO,
            rate => Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / rate),
        }
    }
}

/// The name of a TCP connection in the net.
pub(crate) type WireId = u64;

/// One TCP connection: the side that dialled, and the side that was dialled.
pub(crate) struct Wire {
    pub(crate) sides: [Side; 2],
}

/// One side of a connection, and what travels towards it.
pub(crate) struct Side {
    pub(crate) node: NodeId,
    /// The connection's name at the node; of the dialled side only once it has accepted.
    pub(crate) conn: Option<ConnId>,
    /// What the socket holds that has not left yet.
    pub(crate) unsent: usize,
    /// When all that was written has left.
    pub(crate) free: Instant,
    /// What is on its way to this side, in order.
    pub(crate) incoming: VecDeque<Parcel>,
    /// When the last of it arrives.
    pub(crate) last_arrival: Instant,
    /// Arrivals that a partition holds up.
    pub(crate) stalled: usize,
}

/// What travels.
pub(crate) enum Parcel {
    /// The answer to the dial.
    Opened,
    Bytes(Vec<u8>),
    Closed,
}

impl Wire {
    pub(crate) fn new(from: NodeId, conn: ConnId, to: NodeId) -> Self {
        let side = |node, conn| Side {
            node,
            conn,
            unsent: 0,
            free: Instant::ZERO,
            incoming: VecDeque::new(),
            last_arrival: Instant::ZERO,
            stalled: 0,
        };
        Self { sides: [side(from, Some(conn)), side(to, None)] }
    }

    pub(crate) fn joins(&self, a: NodeId, b: NodeId) -> bool {
        let [x, y] = [self.sides[0].node, self.sides[1].node];
        (x, y) == (a, b) || (x, y) == (b, a)
    }
}
