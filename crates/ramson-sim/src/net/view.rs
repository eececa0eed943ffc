//! What is seen of a net from outside.

use super::Net;
use crate::link::NodeId;
use crate::node::Machine;
use crate::puppet::Puppet;
use crate::trace::Trace;
use ramson_core::job::Class;
use ramson_core::router::{Event, Router, Snapshot};
use ramson_core::time::Instant;
use ramson_wire::data::{Hash, RouterInfo};
use std::net::SocketAddr;
use std::sync::Arc;

impl Net {
    /// Virtual time since the start.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The true time, milliseconds since 1970.
    pub const fn unix_ms(&self) -> u64 {
        self.settings.start_unix_ms + self.now.as_micros() / 1000
    }

    pub const fn seed(&self) -> u64 {
        self.settings.seed
    }

    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub fn hash(&self, id: NodeId) -> Hash {
        self.nodes[id.0].keys.identity.hash()
    }

    /// The system clock of a node, milliseconds since 1970.
    pub fn system_ms(&self, id: NodeId) -> u64 {
        self.system_of(id).unix_ms
    }

    /// Bytes that a node has written to its connections since the start.
    pub fn sent_bytes(&self, id: NodeId) -> u64 {
        self.nodes[id.0].sent_bytes
    }

    pub fn node_of(&self, hash: &Hash) -> Option<NodeId> {
        (0..self.nodes.len()).map(NodeId).find(|id| self.hash(*id) == *hash)
    }

    /// The RouterInfo of a node, as a reseed has it.
    pub fn info(&self, id: NodeId) -> Arc<RouterInfo> {
        Arc::clone(&self.nodes[id.0].info)
    }

    /// Whether the rules for subnets do not count for a router.
    pub fn is_small(&self, id: NodeId) -> bool {
        self.nodes[id.0].config.as_ref().is_none_or(|config| config.small_network)
    }

    pub fn address_of(&self, id: NodeId) -> SocketAddr {
        self.nodes[id.0].addr
    }

    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes[id.0].is_up()
    }

    /// The router at a node.
    pub fn router(&self, id: NodeId) -> &Router {
        let Machine::Router(router) = &self.nodes[id.0].machine else { unreachable!("{id:?} is no router that runs") };
        router
    }

    pub fn snapshot(&self, id: NodeId) -> Snapshot {
        self.router(id).snapshot()
    }

    /// The puppet at a node.
    pub fn puppet(&self, id: NodeId) -> &Puppet {
        let Machine::Puppet(puppet) = &self.nodes[id.0].machine else { unreachable!("{id:?} is no puppet that runs") };
        puppet
    }

    /// The same, to change how it behaves.
    pub fn puppet_mut(&mut self, id: NodeId) -> &mut Puppet {
        let Machine::Puppet(puppet) = &mut self.nodes[id.0].machine else {
            unreachable!("{id:?} is no puppet that runs")
        };
        puppet
    }

    /// What the router at a node has told since the last call.
    pub fn take_events(&mut self, id: NodeId) -> Vec<(Instant, Event)> {
        self.nodes[id.0].events.drain(..).collect()
    }

    /// The nodes whose routers have told anything since the last call and had nothing waiting before.
    pub fn take_told(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.told)
    }

    /// Jobs of this class that a node has given out since the start.
    pub fn jobs(&self, id: NodeId, class: Class) -> u64 {
        self.nodes[id.0].jobs.get(&class).copied().unwrap_or(0)
    }

    /// What a node has saved of the first hops of a destination.
    pub fn saved_guards(&self, id: NodeId, destination: &Hash) -> Option<&[u8]> {
        self.nodes[id.0].guards.get(destination).map(Vec::as_slice)
    }

    /// Whether the router at a node has told anything that was not taken.
    pub fn has_events(&self, id: NodeId) -> bool {
        !self.nodes[id.0].events.is_empty()
    }
}
