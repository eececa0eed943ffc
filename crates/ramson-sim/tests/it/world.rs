//! The small network that most tests run in: eight routers and three floodfills, and destinations on them.

use ramson_core::rng::Rng;
use ramson_core::router::{Command, DestinationId, LocalOptions, LocalStatus};
use ramson_core::time::Duration;
use ramson_core::tunnel::{PoolConfig, Wanted};
use ramson_sim::{End, Net, NodeId, Settings};
use ramson_wire::data::{Hash, PrivateKeys};

pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) routers: Vec<NodeId>,
    pub(crate) floodfills: Vec<NodeId>,
    destinations: u64,
    /// Tunnels of each destination, each way, and their hops.
    quantity: usize,
    length: usize,
}

impl World {
    /// Everybody knows everybody, and nothing has happened yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(Settings { seed, ..Settings::default() })
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self::of(settings, 8, 2)
    }

    /// As many routers, and tunnels of each destination, each way.
    pub(crate) fn of(settings: Settings, routers: usize, quantity: usize) -> Self {
        Self::made(settings, routers, 3, quantity, Net::add_floodfill)
    }

    /// The same with so many floodfills.
    pub(crate) fn with_floodfills(settings: Settings, floodfills: usize) -> Self {
        Self::made(settings, 8, floodfills, 2, Net::add_floodfill)
    }

    /// The same as [`World::new`], but that the floodfills are puppets.
    pub(crate) fn with_puppets(seed: u64) -> Self {
        Self::made(Settings { seed, ..Settings::default() }, 8, 3, 2, Net::add_puppet)
    }

    fn made(
        settings: Settings,
        routers: usize,
        floodfills: usize,
        quantity: usize,
        add_floodfill: fn(&mut Net) -> NodeId,
    ) -> Self {
        let mut net = Net::new(settings);
        let routers = (0..routers).map(|_| net.add_router()).collect();
        let floodfills = (0..floodfills).map(|_| add_floodfill(&mut net)).collect();
        net.reseed();
        Self { net, routers, floodfills, destinations: 0, quantity, length: 3 }
    }

    /// From now on destinations have one tunnel each way, of so many hops.
    pub(crate) const fn with_single_tunnels(mut self, length: usize) -> Self {
        (self.quantity, self.length) = (1, length);
        self
    }

    /// A published destination at a router, with two tunnels of three hops each way. Returns where it is, and its
    /// hash.
    pub(crate) fn destination(&mut self, node: NodeId) -> (End, Hash) {
        self.destinations += 1;
        let end = End { node, destination: DestinationId(self.destinations) };
        (end, self.create(end))
    }

    /// Makes a destination (anew, after its router was restarted): its keys follow from its number.
    pub(crate) fn create(&mut self, end: End) -> Hash {
        let id = end.destination;
        let keys = PrivateKeys::random(&mut Rng::from_seed([u8::try_from(id.0).unwrap(); 32]));
        let hash = keys.destination().hash();
        let wanted = Wanted { length: self.length, quantity: self.quantity };
        let tunnels = PoolConfig { inbound: wanted, outbound: wanted };
        let options = Box::new(LocalOptions { keys, publish: true, tunnels, compress: false, extra_hops: (0, 0) });
        self.net.command(end.node, Command::CreateDestination { id, options });
        self.net.command(end.node, Command::Listen { destination: id, port: None });
        hash
    }

    /// Runs until these destinations have all their tunnels and their LeaseSets are published.
    pub(crate) fn wait_for(&mut self, ends: &[End]) {
        let ready = self.net.run_until(Duration::from_secs(300), |net| {
            ends.iter().all(|end| {
                let status = local(net, *end);
                let pool = status.pool;
                status.published && pool.inbound >= pool.inbound_wanted && pool.outbound >= pool.outbound_wanted
            })
        });
        let states: Vec<_> = ends.iter().map(|end| local(&self.net, *end)).collect();
        assert!(ready, "destinations are not ready with seed {}: {states:?}", self.net.seed());
    }
}

pub(crate) fn local(net: &Net, end: End) -> LocalStatus {
    net.snapshot(end.node).locals.into_iter().find(|local| local.id == end.destination).unwrap()
}
