//! Links between nodes, and TCP connections over them.
//!
//! TCP is reliable here as it is outside: what the network loses shows as delay. A connection attempt can fail; bytes
//! arrive once and in order, after the delay of the link, its jitter, and their own length at its rate and at that of
//! both nodes' lines. Not modelled: the congestion control of TCP (a loss delays, it does not slow down). Datagrams
//! are lost, and address translators stand in their way (`nat.rs`); for TCP a node can be dialled or not.

use ramson_core::link::ConnId;
use ramson_core::rng::Rng;
use ramson_core::time::{Duration, Instant};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Of Ethernet.
const MTU: u16 = 1_500;
/// Of IPv4 and TCP.
const HEADERS: usize = 40;
/// Of IPv4 and UDP.
pub(crate) const HEADERS_UDP: usize = 28;
/// RFC 6298 lets an implementation wait as little as this; Linux does.
const MIN_REPETITION: Duration = Duration::from_millis(200);
const MAX_REPETITION: Duration = Duration::from_secs(30);

/// A node of a [`crate::Net`], by the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

impl NodeId {
    /// 10.x.y.1:9000, each node a /24 of its own.
    pub(crate) fn address(self) -> SocketAddr {
        let (x, y) = (self.0 / 250 + 1, self.0 % 250 + 1);
        let byte = |n: usize| u8::try_from(n).unwrap_or(255);
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, byte(x), byte(y), 1)), 9000)
    }

    /// x.y.1.1:9000, each node a /16 of its own, for up to 50,000 of them.
    pub(crate) fn far_address(self) -> SocketAddr {
        let (x, y) = (self.0 / 250 + 11, self.0 % 250 + 1);
        let byte = |n: usize| u8::try_from(n).unwrap_or(255);
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(byte(x), byte(y), 1, 1)), 9000)
    }
}

/// What lies between two nodes, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// One way.
    pub delay: Duration,
    /// Up to this much is added, drawn for every write.
    pub jitter: Duration,
    /// Bytes per second of one connection, or of all datagrams, in one direction; 0 for no limit.
    pub rate: u64,
    /// The share of connection attempts that are refused, 0 to 1.
    pub refused: f64,
    /// The share of packets that are lost, 0 to 1: each costs its connection a repetition.
    pub loss: f64,
    /// The share of datagrams that come twice, 0 to 1. TCP notices nothing of it.
    pub duplicated: f64,
    /// The share of datagrams that may overtake others, by as much as the jitter, 0 to 1.
    pub reordered: f64,
    /// Bytes of a packet with its headers.
    pub mtu: u16,
}

impl Default for Link {
    /// 40 ms one way with 10 ms of jitter, 2 MB/s, and neither refusals nor losses.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(40),
            jitter: Duration::from_millis(10),
            rate: 2_000_000,
            refused: 0.0,
            loss: 0.0,
            duplicated: 0.0,
            reordered: 0.0,
            mtu: MTU,
        }
    }
}

impl Link {
    /// No delay and no limit.
    pub const IDEAL: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        rate: 0,
        refused: 0.0,
        loss: 0.0,
        duplicated: 0.0,
        reordered: 0.0,
        mtu: MTU,
    };

    /// The packets that `bytes` take.
    pub(crate) fn packets(&self, bytes: usize) -> usize {
        bytes.div_ceil(usize::from(self.mtu).saturating_sub(HEADERS).max(1)).max(1)
    }

    /// How long `bytes` take to leave, with the headers of their packets.
    pub(crate) fn duration_of(&self, bytes: usize) -> Duration {
        time_of(bytes + self.packets(bytes) * HEADERS, self.rate)
    }

    /// What losses add before the last of so many packets is there: a repetition after a round trip (200 ms at
    /// least), and each time the same packet is lost again after twice as long.
    pub(crate) fn repetitions(&self, packets: usize, rng: &mut Rng) -> Duration {
        let mut waited = Duration::ZERO;
        if self.loss <= 0.0 {
            return waited;
        }
        let mut patience = (self.delay * 2 + self.jitter).max(MIN_REPETITION);
        // Losses of one write are repaired together; what is lost again is a packet or two.
        let mut lost = rng.unit() < 1.0 - (1.0 - self.loss).powi(i32::try_from(packets).unwrap_or(i32::MAX));
        while lost && waited < MAX_REPETITION {
            waited += patience;
            patience *= 2;
            lost = rng.unit() < self.loss;
        }
        waited
    }
}

/// How long `bytes` take at so many bytes per second, 0 for no limit.
pub(crate) fn time_of(bytes: usize, rate: u64) -> Duration {
    match rate {
        0 => Duration::ZERO,
        rate => Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / rate),
    }
}

/// What a node's line carries for all its connections together, bytes per second; 0 for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub up: u64,
    pub down: u64,
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
