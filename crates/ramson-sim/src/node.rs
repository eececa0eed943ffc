//! One node of the net: a router or a puppet with its address, its clock and its connections.

use crate::geo::Region;
use crate::link::{Access, WireId};
use crate::nat::Nat;
use crate::puppet::Puppet;
use crate::role::Role;
use ramson_core::job::Class;
use ramson_core::keys::RouterKeys;
use ramson_core::link::ntcp2::padding::PaddingStrategy;
use ramson_core::link::{AddressRules, ConnId, LinkLimits};
use ramson_core::netdb::FloodfillMode;
use ramson_core::rng::Rng;
use ramson_core::router::{Config, Event, Input, Output, Router};
use ramson_core::time::{Instant, Now};
use ramson_core::tunnel::{PoolConfig, Wanted};
use ramson_wire::data::{Hash, RouterInfo};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// The network that all nodes are of.
pub const NETWORK_ID: u8 = 99;

/// Where a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    /// Nowhere in particular: the net's usual link.
    pub region: Option<Region>,
    pub access: Access,
    /// It dials by TCP, but cannot be dialled. For UDP see [`crate::Net::set_nat`].
    pub firewalled: bool,
}

/// The settings of a router at this address, for a small private network: two exploratory tunnels of two hops each
/// way.
pub fn router_config(addr: SocketAddr) -> Config {
    let wanted = Wanted { length: 2, quantity: 2 };
    Config {
        network_id: NETWORK_ID,
        addresses: AddressRules { allow_reserved: true, ipv4: true, ipv6: false },
        listen: vec![addr],
        publishable: true,
        udp: Vec::new(),
        withheld: Vec::new(),
        hidden: false,
        padding: PaddingStrategy::Random,
        small_network: true,
        exploratory: PoolConfig { inbound: wanted, outbound: wanted },
        transit_tunnels: 1_000,
        transit_bytes_per_second: u64::MAX,
        bandwidth: 'P',
        limits: LinkLimits::default(),
        floodfill: FloodfillMode::No,
    }
}

/// What runs at a node. Both kinds have the door of the router.
pub(crate) enum Machine {
    Router(Box<Router>),
    Puppet(Box<Puppet>),
    /// Killed.
    Down,
}

impl Machine {
    pub(crate) fn handle_input(&mut self, system: Now, input: Input<'_>) {
        match self {
            Self::Router(router) => router.handle_input(system, input),
            Self::Puppet(puppet) => puppet.handle_input(system, input),
            Self::Down => {}
        }
    }

    pub(crate) fn poll_output(&mut self) -> Output {
        match self {
            Self::Router(router) => router.poll_output(),
            Self::Puppet(puppet) => puppet.poll_output(),
            Self::Down => Output::Timeout(Instant::FAR),
        }
    }
}

pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) keys: RouterKeys,
    /// `None` for a puppet.
    pub(crate) config: Option<Config>,
    /// What a puppet plays.
    pub(crate) role: Role,
    pub(crate) place: Place,
    /// When the line has taken all that was written, and brought all that was sent.
    pub(crate) up_free: Instant,
    pub(crate) down_free: Instant,
    /// Bytes that were written to connections since the start.
    pub(crate) sent_bytes: u64,
    pub(crate) info: Arc<RouterInfo>,
    pub(crate) addr: SocketAddr,
    /// How far the node's system clock is ahead, milliseconds.
    pub(crate) skew_ms: i64,
    /// What jobs and restarts draw from.
    pub(crate) rng: Rng,
    /// Counts starts: what was meant for an earlier life is dropped.
    pub(crate) life: u32,
    /// The place of the node's next wake-up in the queue.
    pub(crate) wake: Option<(Instant, u64)>,
    /// Wake-ups in a row that did not move the clock.
    pub(crate) idle_wakes: u32,
    pub(crate) conns: BTreeMap<ConnId, (WireId, usize)>,
    pub(crate) next_inbound: u64,
    pub(crate) events: VecDeque<(Instant, Event)>,
    /// What the router has asked to keep on disk.
    pub(crate) saved: BTreeMap<Hash, Arc<RouterInfo>>,
    pub(crate) profiles: Vec<u8>,
    pub(crate) guards: BTreeMap<Hash, Vec<u8>>,
    /// Jobs since the start.
    pub(crate) jobs: BTreeMap<Class, u64>,
    /// What stands between its UDP sockets and the others.
    pub(crate) nat: Option<Nat>,
    pub(crate) udp: UdpStats,
    /// What has come.
    #[cfg(test)]
    pub(crate) datagrams: Vec<(Instant, SocketAddr, Vec<u8>)>,
}

/// What became of the datagrams of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpStats {
    pub sent: u64,
    /// By chance, and for want of room in a queue.
    pub lost: u64,
    /// Longer than the link's MTU.
    pub too_long: u64,
    /// Sent where nobody is, or not let in by a translator.
    pub refused: u64,
    pub received: u64,
}

impl Node {
    pub(crate) fn is_up(&self) -> bool {
        !matches!(self.machine, Machine::Down)
    }
}
