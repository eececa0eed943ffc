//! Two routers and one clock.

use crate::link::Link;
use crate::link::NodeId;
use crate::net::{Net, Settings};

/// The smallest net: two routers that know each other, over an ideal link.
pub struct Pair {
    pub net: Net,
    pub a: NodeId,
    pub b: NodeId,
}

impl Pair {
    /// Two routers with tunnels of one hop, since there is only one other router to go through.
    pub fn new(seed: u64) -> Self {
        Self::with_skew(seed, 0)
    }

    /// The same, with the second router's clock ahead by so many milliseconds.
    pub fn with_skew(seed: u64, skew_ms: i64) -> Self {
        let mut net = Net::new(Settings { seed, link: Link::IDEAL, ..Settings::default() });
        let one_hop = |config: &mut ramson_core::router::Config| {
            config.exploratory.inbound.length = 1;
            config.exploratory.outbound.length = 1;
        };
        let a = net.add_router_with(0, one_hop);
        let b = net.add_router_with(skew_ms, one_hop);
        net.reseed();
        Self { net, a, b }
    }
}
