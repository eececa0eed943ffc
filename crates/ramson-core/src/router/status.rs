//! A snapshot of the router, for the status.

use super::{DestinationId, Mapped, PoolState, Router};
use crate::link::PeerTestStats;
use crate::link::{LinkLimits, LinkStats};
use crate::netdb::{Floodfill, flood};
use crate::reach::{Nat, Reachability};
use crate::tunnel::{Congestion, Direction, PoolConfig, PoolId, Stats, TransitRules};
use ramson_wire::data::{AnyLeaseSet, Hash, RouterInfo};
use std::net::SocketAddr;
use std::sync::Arc;

/// What the router is and does at this moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub hash: Hash,
    pub routers: usize,
    pub floodfills: usize,
    /// Questions that went to floodfills, since the start.
    pub asked: u64,
    /// We serve as a floodfill.
    pub serves: bool,
    /// LeaseSets that we keep for others, and what was stored at us since we serve.
    pub lease_sets: usize,
    pub flood: flood::Stats,
    /// Questions that we have answered as a floodfill.
    pub answered: u64,
    pub links: LinkStats,
    pub clock_offset_ms: i64,
    pub clock_samples: usize,
    pub exploratory: PoolState,
    pub tunnels: Stats,
    /// A request of others may be accepted just now.
    pub accepts_transit: bool,
    /// By what requests of others are decided.
    pub transit_rules: TransitRules,
    /// What our RouterInfo says of transit.
    pub congestion: Congestion,
    /// What all links together may use.
    pub limits: LinkLimits,
    /// Garlic messages to the router that were dropped unopened, because there were too many.
    pub garlic_dropped: u64,
    /// Our addresses are published with cap R.
    pub reachable: bool,
    pub why: &'static str,
    pub published: Vec<SocketAddr>,
    /// Addresses of the operator that are not published, since outgoing connections do not come from them.
    pub withheld: Vec<SocketAddr>,
    /// The published addresses of SSU2.
    pub published_udp: Vec<SocketAddr>,
    /// We publish none, since we want so.
    pub hidden: bool,
    /// Whether others can reach us over UDP, as peer tests have shown: by IPv4 and by IPv6.
    pub reach: [Reachability; 2],
    /// Tests of others that we took part in.
    pub peer_tests: PeerTestStats,
    /// What a gateway says that it forwards to us.
    pub mapped: Option<Mapped>,
    pub locals: Vec<LocalStatus>,
    /// Panics since the start, each of which has cost one machine or one job.
    pub faults: u64,
}

/// One destination of ours.
#[derive(Clone, Copy, Debug)]
pub struct LocalStatus {
    pub id: DestinationId,
    pub pool: PoolState,
    /// The LeaseSet is confirmed by a floodfill, or is not to be published.
    pub published: bool,
    pub streams: usize,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// By what data from one destination to another goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The hops of our outbound tunnel, in the order of the messages.
    pub outbound: Vec<Hash>,
    /// The lease: where the other's inbound tunnel begins, and its id there. How it goes on is not known here.
    pub gateway: Hash,
    pub tunnel: u32,
}

/// An inbound tunnel of a destination of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As in the lease.
    pub gateway: Hash,
    pub tunnel: u32,
    /// In the order of the messages: the gateway first.
    pub hops: Vec<Hash>,
}

impl Router {
    /// By what the last message of a destination of ours to another went, while that tunnel stands.
    pub fn route(&self, from: DestinationId, to: &Hash) -> Option<Route> {
        let by = self.locals.get(&from)?.paths.get(to)?;
        let outbound = self.tunnels.hops(by.tunnel)?.to_vec();
        Some(Route { outbound, gateway: by.lease.0, tunnel: by.lease.1 })
    }

    /// The inbound tunnels of a destination of ours.
    pub fn entries(&self, id: DestinationId) -> Vec<Entry> {
        let Some(local) = self.locals.get(&id) else { return Vec::new() };
        let entries = self.tunnels.entries(local.pool);
        entries.map(|((gateway, tunnel), hops)| Entry { gateway, tunnel, hops: hops.to_vec() }).collect()
    }

    pub fn snapshot(&self) -> Snapshot {
        let locals = self.locals.values().map(|local| LocalStatus {
            id: local.id,
            pool: self.pool_state(local.pool, local.tunnels),
            published: local.destination.lease_set().is_some() && local.is_published(),
            streams: local.streams(),
            bytes_in: local.bytes.0,
            bytes_out: local.bytes.1,
        });
        Snapshot {
            hash: self.hash,
            routers: self.store.len(),
            floodfills: self.store.floodfills(),
            asked: self.asked,
            serves: self.floodfill.is_some(),
            lease_sets: self.floodfill.as_ref().map_or(0, |floodfill| floodfill.lease_sets().len()),
            flood: self.floodfill.as_ref().map(Floodfill::stats).unwrap_or_default(),
            answered: self.answers.answered,
            links: self.links.stats(),
            clock_offset_ms: self.clock.offset_ms(),
            clock_samples: self.clock.samples(),
            exploratory: self.pool_state(PoolId::EXPLORATORY, self.config.exploratory),
            tunnels: self.tunnels.stats(),
            accepts_transit: self.tunnels.accepts_transit(),
            transit_rules: *self.tunnels.transit_rules(),
            congestion: self.own.congestion,
            limits: self.config.limits,
            garlic_dropped: self.garlic.dropped,
            reachable: self.own.is_reachable(),
            why: self.why_reachable(),
            published: self.own.published.clone(),
            published_udp: self.own.udp_published.clone(),
            hidden: self.config.hidden,
            reach: [true, false].map(|v4| self.reach.state(v4)),
            peer_tests: self.tests.stats(),
            withheld: self.config.withheld.clone(),
            mapped: self.mapped,
            locals: locals.collect(),
            faults: self.fault_count,
        }
    }

    /// The hops of the tunnels that stand: of a destination, or of the router itself.
    pub fn paths(&self, destination: Option<DestinationId>) -> Vec<(Direction, Vec<Hash>)> {
        match destination {
            None => self.tunnels.paths(PoolId::EXPLORATORY),
            Some(id) => self.locals.get(&id).map_or_else(Vec::new, |local| self.tunnels.paths(local.pool)),
        }
    }

    /// Our RouterInfo as it is published; empty before there is one.
    pub fn own_router_info(&self) -> &[u8] {
        self.links.router_info()
    }

    /// The routers with a session.
    pub fn connected(&self) -> Vec<Hash> {
        self.links.connected()
    }

    /// The routers that are known, in an order that only depends on what came in.
    pub fn known_routers(&self) -> impl Iterator<Item = &Arc<RouterInfo>> {
        self.store.iter()
    }

    /// Whether others may learn from us that we know this router.
    pub fn is_told(&self, router: &Hash) -> bool {
        self.store.is_told(router)
    }

    /// The LeaseSet that we keep for others as a floodfill, while it is good.
    pub fn lease_set_of_others(&self, key: &Hash) -> Option<&Arc<AnyLeaseSet>> {
        self.floodfill.as_ref()?.lease_sets().get(self.now, key)
    }

    fn pool_state(&self, pool: PoolId, config: PoolConfig) -> PoolState {
        PoolState {
            inbound: self.tunnels.inbound(pool).len(),
            inbound_wanted: config.inbound.quantity,
            outbound: self.tunnels.outbound(pool).len(),
            outbound_wanted: config.outbound.quantity,
        }
    }

    fn why_reachable(&self) -> &'static str {
        let tested = |state: Reachability| [true, false].iter().any(|v4| self.reach.state(*v4) == state);
        if self.config.hidden {
            return "hidden, as the settings want it";
        }
        match (self.own.is_reachable(), self.reached.any()) {
            (true, _) if tested(Reachability::Open) => "peer tests have shown it",
            (true, true) => "a router that we never dialled has connected",
            (true, false) => "the network is private and an address is configured",
            (false, _) if tested(Reachability::Firewalled(Nat::Symmetric)) => {
                "peer tests have shown a translator that has another port for every peer"
            }
            (false, _) if tested(Reachability::Firewalled(Nat::Filtering)) => {
                "peer tests have shown a firewall, or a translator that lets in nobody else"
            }
            (false, _) if !self.config.publishable && self.config.withheld.is_empty() => "no address is configured",
            (false, _) if !self.config.publishable => "no address can be published",
            (false, _) => "nobody that we did not dial has connected yet",
        }
    }
}
