//! What the router says of itself: progress, a snapshot, and events.

use ramson_wire::data::{Hash, RouterInfo};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How far the router, or one destination, is on its way to readiness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The step that it is at.
    pub stage: Stage,
    /// Routers in the netDb.
    pub known_routers: usize,
    /// Routers with a live session.
    pub sessions: usize,
    /// Tunnels that stand, and how many are wanted, each way. Of the destination, where one is meant.
    pub inbound: usize,
    /// Inbound tunnels that are wanted.
    pub inbound_wanted: usize,
    /// Outbound tunnels that stand.
    pub outbound: usize,
    /// Outbound tunnels that are wanted.
    pub outbound_wanted: usize,
    /// What is wrong, in words for a person, if something is; without addresses of peers.
    pub trouble: Option<String>,
}

impl Progress {
    /// Whether streams can be opened now.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.stage {
            Stage::Starting => f.write_str("starting")?,
            Stage::Reseeding => f.write_str("fetching the first routers (reseed)")?,
            Stage::Connecting => write!(f, "connecting to peers, {} of {} known", self.sessions, self.known_routers)?,
            Stage::BuildingTunnels => write!(
                f,
                "building tunnels, {} of {} inbound and {} of {} outbound stand",
                self.inbound, self.inbound_wanted, self.outbound, self.outbound_wanted
            )?,
            Stage::Publishing => f.write_str("publishing the LeaseSet")?,
            Stage::Ready => f.write_str("ready")?,
            Stage::ShuttingDown => f.write_str("shutting down")?,
        }
        match &self.trouble {
            Some(trouble) => write!(f, " ({trouble})"),
            None => Ok(()),
        }
    }
}

/// The steps to readiness, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    #[default]
    /// Files are read, sockets opened.
    Starting,
    /// No or few routers are known: the first are fetched.
    Reseeding,
    /// Sessions with the first routers are made.
    Connecting,
    /// The first tunnels are built.
    BuildingTunnels,
    /// Tunnels stand; a destination that is served is not yet in the netDb.
    Publishing,
    /// Streams can be opened.
    Ready,
    /// It is being stopped.
    ShuttingDown,
}

/// A snapshot of the router. All counts are of this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The version of Ramson.
    pub version: String,
    /// The hash of our own RouterInfo, in base64.
    pub router: String,
    /// The number of the network; 2 is the public one.
    pub network_id: u8,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// How far the router is.
    pub progress: Progress,
    /// Whether others can dial us.
    pub reachability: Reachability,
    /// Our clock against the network's.
    pub clock: ClockStatus,
    /// The network database.
    pub netdb: NetDbStatus,
    /// Sessions with peers.
    pub links: LinkStatus,
    /// The router's own tunnels.
    pub exploratory: TunnelStatus,
    /// Builds of our own tunnels.
    pub builds: BuildStatus,
    /// The tunnels of others.
    pub transit: TransitStatus,
    /// Our destinations.
    pub destinations: Vec<DestinationStatus>,
}

/// Whether others can reach us, and why we think so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reachability {
    /// Our addresses are published with cap R.
    pub reachable: bool,
    /// The reason, in words for a person.
    pub why: String,
    /// Addresses in our RouterInfo, as `NTCP2 192.0.2.1:12345` and `SSU2 192.0.2.1:12345`.
    pub published: Vec<String>,
    /// None are, since the settings want it so.
    pub hidden: bool,
    /// What peer tests have shown of IPv4, over UDP.
    pub udp_v4: Tested,
    /// The same of IPv6.
    pub udp_v6: Tested,
    /// Ports that a gateway says it forwards to us, as `UDP 192.0.2.1:12345 by UPnP`.
    pub mapped: Vec<String>,
}

/// What peer tests have shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Tested {
    /// Nothing yet.
    #[default]
    Unknown,
    /// Others can reach us.
    Open,
    /// Only those can whom we have sent something: a firewall or a translator stands in between.
    Firewalled,
    /// A translator stands in between that has another port for every peer.
    Symmetric,
}

/// Our clock against the network's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClockStatus {
    /// How many milliseconds the network is ahead of the system's clock.
    pub offset_ms: i64,
    /// How many peers the offset is from.
    pub samples: usize,
}

/// The network database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetDbStatus {
    /// Known routers.
    pub routers: usize,
    /// Floodfills among them.
    pub floodfills: usize,
    /// Look-ups that went to a floodfill, since the start.
    pub lookups: u64,
    /// The router is a floodfill itself.
    pub serves: bool,
    /// LeaseSets that it keeps for others then, what was stored at it since it serves, and what it has answered.
    pub lease_sets: usize,
    /// What was stored at it, since it serves.
    pub stored: u64,
    /// Questions that it has answered, since it serves.
    pub answered: u64,
}

/// Sessions with peers, and bytes since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkStatus {
    /// Sessions that peers began.
    pub inbound: usize,
    /// Sessions that we began.
    pub outbound: usize,
    /// Bytes that came.
    pub bytes_in: u64,
    /// Bytes that went.
    pub bytes_out: u64,
    /// Bytes a second that come now.
    pub bytes_per_second_in: u64,
    /// Bytes a second that go now.
    pub bytes_per_second_out: u64,
    /// What they may be at most, where there is a limit.
    pub limit_in: Option<u64>,
    /// The same of what goes.
    pub limit_out: Option<u64>,
}

/// The tunnels of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TunnelStatus {
    /// Inbound tunnels that stand.
    pub inbound: usize,
    /// Outbound tunnels that stand.
    pub outbound: usize,
}

/// Builds of our own tunnels since the start, of all pools together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildStatus {
    /// Builds whose hops were chosen, whatever came of them.
    pub started: u64,
    /// Tunnels that stood.
    pub ok: u64,
    /// Builds that a hop declined.
    pub declined: u64,
    /// No answer came in time.
    pub timed_out: u64,
}

/// Being a hop in the tunnels of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TransitStatus {
    /// Whether requests are accepted now.
    pub accepting: bool,
    /// Tunnels of others that go through us.
    pub tunnels: usize,
    /// At most so many.
    pub max_tunnels: usize,
    /// Requests that were accepted, since the start.
    pub accepted: u64,
    /// Requests that were declined, since the start.
    pub declined: u64,
    /// The same by cause.
    pub declined_by: DeclinedBy,
    /// Requests that were not answered, and tunnel messages for which there was no bandwidth.
    pub dropped_by: DroppedBy,
    /// Tunnel messages that were carried.
    pub messages: u64,
    /// Bytes that were carried.
    pub bytes: u64,
    /// Bytes a second that are carried now.
    pub bytes_per_second: u64,
    /// What it may be at most, where there is a limit.
    pub limit: Option<u64>,
    /// Kilobytes a second that tunnels were granted, all together.
    pub granted: u64,
    /// What our RouterInfo says of congestion: `D`, `E`, `G` or nothing.
    pub cap: Option<char>,
    /// No more tunnels are accepted, since the router is to stop.
    pub draining: bool,
    /// The last of the tunnels that there are ends in so many seconds.
    pub ends_in_seconds: u64,
}

/// Requests that were declined, by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeclinedBy {
    /// Transit was off, or the router about to stop.
    pub off: u64,
    /// There were as many tunnels as there may be.
    pub full: u64,
    /// The router was near one of its limits.
    pub busy: u64,
    /// The previous hop had its share of tunnels.
    pub share: u64,
    /// The bandwidth that was asked for was not there.
    pub bandwidth: u64,
    /// The request could not be served.
    pub request: u64,
}

/// What was dropped without an answer, by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DroppedBy {
    /// Requests beyond what one router or subnet may ask.
    pub throttled: u64,
    /// Requests beyond what can be served.
    pub overloaded: u64,
    /// Requests that came again.
    pub replayed: u64,
    /// Requests that were not well formed, or not to be served.
    pub invalid: u64,
    /// Tunnel messages beyond the bandwidth for others.
    pub messages: u64,
}

/// The tunnels of others that a router that is about to stop lets run out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Draining {
    /// How many there are.
    pub tunnels: usize,
    /// The last of them ends in so many seconds.
    pub seconds: u64,
}

/// One of our own destinations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DestinationStatus {
    /// The name given in [`crate::DestinationOptions`].
    pub name: String,
    /// Its address, `<52 characters>.b32.i2p`.
    pub b32: String,
    /// How far it is.
    pub progress: Progress,
    /// Its tunnels.
    pub tunnels: TunnelStatus,
    /// Streams that are open or opening.
    pub streams: usize,
    /// Payload bytes that came.
    pub bytes_in: u64,
    /// Payload bytes that went.
    pub bytes_out: u64,
}

/// By what data from a destination of ours to another goes. Who knows it knows how to look for us: it is for the
/// user's own eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The routers of our outbound tunnel, in the order of the messages.
    pub outbound: Vec<Hash>,
    /// Where the other's inbound tunnel begins, and its id there. Its further routers are known to its owner only:
    /// see [`InboundTunnel`].
    pub gateway: Hash,
    /// The id of the other's inbound tunnel at its gateway.
    pub tunnel: u32,
}

/// An inbound tunnel of a destination of ours; as secret as a [`Route`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundTunnel {
    /// Where it begins, and its id there, as in the LeaseSet.
    pub gateway: Hash,
    /// Its id at the gateway.
    pub tunnel: u32,
    /// Its routers in the order of the messages, the gateway first.
    pub hops: Vec<Hash>,
}

/// What is inside of the router. Who knows it knows how to look for its user: it is for the user's own eyes.
#[derive(Clone, Debug, Default)]
pub struct Inside {
    /// The RouterInfo that is published; empty before there is one.
    pub own: Vec<u8>,
    /// The netDb.
    pub known: Vec<Arc<RouterInfo>>,
    /// Routers with a live session.
    pub sessions: Vec<Hash>,
    /// Our own tunnels that stand.
    pub tunnels: Vec<OwnTunnel>,
}

/// A tunnel of our own that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTunnel {
    /// The name of the destination that it is for; `None` for an exploratory one.
    pub destination: Option<String>,
    /// Inbound, else outbound.
    pub inbound: bool,
    /// Its routers in the order of the messages.
    pub hops: Vec<Hash>,
}

/// Something that happened to the router as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The router reached another stage.
    Progress(Progress),
    /// A reseed ended well, with so many new routers.
    Reseeded {
        /// How many of them.
        routers: usize,
    },
    /// A reseed failed; the text says why and what to try.
    ReseedFailed {
        /// The text.
        why: String,
    },
    /// The router found whether it can be reached.
    Reachability(Reachability),
    /// The operator should read this.
    Warning(String),
    /// The router has stopped.
    Stopped,
}
