//! The fault swarm (threats S4): small worlds in which what goes wrong is drawn by the seed, and what must hold all
//! the same (S5).
//!
//! A world of 20 to 50 routers, some of them hostile, comes up; then for six minutes routers are killed and started
//! again with or without their disk, groups are cut off, links become slow and lose packets, and clocks jump. When all
//! that ends, the destinations must have their tunnels again and a new stream must carry its bytes within five minutes.
//! Meanwhile every router's books are checked every few seconds, and each byte of a stream when it arrives.

use crate::invariants::Invariants;
use crate::link::Link;
use crate::link::NodeId;
use crate::net::{Net, Settings};
use crate::property::Property;
use crate::role::Role;
use crate::trace::Trace;
use crate::transfer::{End, Progress, Transfer};
use ramson_core::netdb::FloodfillMode;
use ramson_core::rng::Rng;
use ramson_core::router::{Command, DestinationId, LocalOptions};
use ramson_core::time::{Duration, Instant};
use ramson_core::tunnel::{PoolConfig, Wanted};
use ramson_wire::data::{Hash, PrivateKeys};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Honest routers: at least, and fewer than.
const SIZES: (usize, usize) = (20, 51);
/// What comes before, and how long the faults last.
const QUIET: Duration = Duration::from_secs(60);
const FAULTS: Duration = Duration::from_mins(6);
/// What the recovery may take.
const RECOVERY: Duration = Duration::from_mins(5);
/// How often the books are checked.
const CHECK: Duration = Duration::from_secs(5);
/// The stream during the faults, and the one after them.
const BYTES: u64 = 300_000;
const BYTES_AFTER: u64 = 50_000;
/// Most of what is down and cut off at one time, as a share of all.
const MOST_DOWN: usize = 3;

/// How one world has done.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub seed: u64,
    pub routers: usize,
    pub hostile: usize,
    pub faults: usize,
    /// After the faults.
    pub recovered: Option<Duration>,
    pub violations: Vec<String>,
    /// What was amiss when it had not recovered.
    pub state: String,
    pub trace: Trace,
    pub panicked: bool,
}

impl Verdict {
    /// Of a world that has panicked.
    pub fn panicked(seed: u64) -> Self {
        Self { seed, panicked: true, ..Self::default() }
    }

    pub fn is_good(&self) -> bool {
        !self.panicked && self.violations.is_empty() && self.recovered.is_some()
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.panicked {
            return f.write_str("panicked");
        }
        write!(f, "{} routers, {} hostile, {} faults", self.routers, self.hostile, self.faults)?;
        match self.recovered {
            Some(after) => write!(f, ", recovered after {:.0} s", after.as_secs_f64())?,
            None => write!(f, ", not recovered: {}", self.state)?,
        }
        self.violations.iter().try_for_each(|violation| write!(f, "\n    {violation}"))
    }
}

/// How many have done so.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub seeds: u64,
    pub broken: u64,
    pub unrecovered: u64,
    recoveries: Vec<f64>,
    faults: usize,
}

impl Tally {
    pub fn add(&mut self, verdict: &Verdict) {
        self.seeds += 1;
        self.broken += u64::from(verdict.panicked || !verdict.violations.is_empty());
        self.unrecovered += u64::from(!verdict.panicked && verdict.recovered.is_none());
        self.recoveries.extend(verdict.recovered.map(|after| after.as_secs_f64()));
        self.faults += verdict.faults;
    }

    /// What must hold of all of them.
    pub fn properties(&self) -> Vec<Property> {
        let recovered = 1.0 - self.unrecovered as f64 / self.seeds as f64;
        vec![
            Property::of("S5.broken-worlds", &[self.broken as f64], None, Some(0.0)),
            Property::of("S4.recovered", &[recovered], Some(0.99), None),
            Property::of("S4.recovery-s", &self.recoveries, None, Some(300.0)),
        ]
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seeds, broken, unrecovered, faults, .. } = self;
        write!(f, "{seeds} worlds, {faults} faults; {broken} with a broken invariant, {unrecovered} not recovered")
    }
}

/// Runs the world of this seed.
pub fn run(seed: u64) -> Verdict {
    run_of(seed, SIZES)
}

/// The same with so many routers at least, and fewer than so many.
fn run_of(seed: u64, sizes: (usize, usize)) -> Verdict {
    let mut world = World::new(seed, sizes);
    let mut transfer = world.settle();
    let start = world.net.now();
    while world.net.now() < start + FAULTS {
        let pause = world.rng.between(Duration::from_secs(2), Duration::from_secs(20));
        world.run_for(pause, transfer.as_mut());
        world.fault();
    }
    world.end_faults();
    let recovered = world.recover();
    Verdict {
        seed,
        routers: world.honest.len(),
        hostile: world.hostile,
        faults: world.faults,
        recovered,
        state: if recovered.is_none() { world.state() } else { String::new() },
        trace: world.net.trace().clone(),
        violations: world.invariants.take(),
        panicked: false,
    }
}

struct World {
    net: Net,
    rng: Rng,
    honest: Vec<NodeId>,
    by_hash: BTreeMap<Hash, NodeId>,
    hostile: usize,
    ends: [(End, Hash, PrivateKeys); 2],
    down: BTreeSet<NodeId>,
    cut: Vec<(NodeId, NodeId)>,
    slow: Vec<(NodeId, NodeId)>,
    skewed: BTreeSet<NodeId>,
    faults: usize,
    check_at: Instant,
    invariants: Invariants,
}

impl World {
    fn new(seed: u64, sizes: (usize, usize)) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[31] = 2;
        let mut rng = Rng::from_seed(bytes);
        let mut net = Net::new(Settings { seed, spread: true, ..Settings::default() });
        let (routers, floodfills) = (sizes.0 + rng.below(sizes.1 - sizes.0), 3 + rng.below(5));
        let honest: Vec<NodeId> = (0..routers)
            .map(|n| {
                net.add_router_with(0, |config| {
                    config.small_network = false;
                    config.floodfill = if n < floodfills { FloodfillMode::Yes } else { FloodfillMode::No };
                })
            })
            .collect();
        let hostile = rng.below(routers / 5 + 1);
        let enemies: Vec<NodeId> = (0..hostile).map(|_| add_enemy(&mut net, &mut rng)).collect();
        net.reseed();
        for enemy in enemies {
            net.join(enemy, &honest);
        }
        let by_hash = (0..net.nodes()).map(NodeId).map(|id| (net.hash(id), id)).collect();
        let mut end = |n: u64| {
            let keys = PrivateKeys::random(&mut rng.child("destination"));
            let end = End { node: honest[routers - 1 - n as usize], destination: DestinationId(n + 1) };
            (end, keys.destination().hash(), keys)
        };
        let ends = [end(0), end(1)];
        Self {
            net,
            rng,
            honest,
            by_hash,
            hostile,
            ends,
            down: BTreeSet::new(),
            cut: Vec::new(),
            slow: Vec::new(),
            skewed: BTreeSet::new(),
            faults: 0,
            check_at: Instant::ZERO,
            invariants: Invariants::default(),
        }
    }

    fn create(&mut self, n: usize) {
        let (end, _, keys) = &self.ends[n];
        let (id, node) = (end.destination, end.node);
        let wanted = Wanted { length: 3, quantity: 2 };
        let tunnels = PoolConfig { inbound: wanted, outbound: wanted };
        let options =
            Box::new(LocalOptions { keys: keys.clone(), publish: true, tunnels, compress: false, extra_hops: (0, 0) });
        self.net.command(node, Command::CreateDestination { id, options });
        self.net.command(node, Command::Listen { destination: id, port: None });
    }

    /// A minute without faults, and a stream that shall live through those that follow.
    fn settle(&mut self) -> Option<Transfer> {
        self.create(0);
        self.create(1);
        self.run_for(QUIET, None);
        let [(client, ..), (server, to, _)] = &self.ends;
        let (client, server, to) = (*client, *server, *to);
        Some(Transfer::open(&mut self.net, client, server, to, BYTES, 1_000))
    }

    fn run_for(&mut self, time: Duration, mut transfer: Option<&mut Transfer>) {
        let end = self.net.now() + time;
        while self.net.now() < end {
            let until = end.min(self.net.now() + Duration::from_millis(500));
            while self.net.step(until) {
                if self.ends.iter().any(|(end, ..)| self.net.has_events(end.node))
                    && let Some(transfer) = transfer.as_deref_mut()
                {
                    transfer.pump(&mut self.net);
                }
            }
            if let Some(transfer) = transfer.as_deref_mut() {
                transfer.write_more(&mut self.net);
            }
            if self.check_at <= self.net.now() {
                self.check_at = self.net.now() + CHECK;
                self.check();
            }
        }
    }

    fn check(&mut self) {
        for id in self.honest.clone() {
            if !self.net.is_up(id) {
                continue;
            }
            self.invariants.router(&self.net, id);
            let mut pools = vec![(None, 2)];
            pools.extend(
                self.ends.iter().filter(|(end, ..)| end.node == id).map(|(end, ..)| (Some(end.destination), 3)),
            );
            for (pool, length) in pools {
                for (_, hops) in self.net.router(id).paths(pool) {
                    self.invariants.path(&self.net, &self.by_hash, id, &hops, length);
                }
            }
        }
    }

    // ---- faults ----

    /// The next thing that goes wrong, or right again.
    fn fault(&mut self) {
        self.faults += 1;
        let (a, b) = (self.any(), self.any());
        match self.rng.below(10) {
            0 | 1 if self.down.len() < self.honest.len() / MOST_DOWN => self.kill(a),
            2 | 3 => {
                if let Some(id) = self.down.pop_first() {
                    let with_disk = self.rng.below(2) == 0;
                    self.restart(id, with_disk);
                }
            }
            4 => self.cut_off(),
            5 => self.cut.drain(..).for_each(|(a, b)| self.net.heal(a, b)),
            6 | 7 if a != b => {
                let (delay, loss) = (1 + self.rng.below(5_000), self.rng.unit() * 0.3);
                let delay = Duration::from_millis(delay as u64);
                let mtu = u16::try_from(1_280 + self.rng.below(221)).unwrap_or(1_500);
                let link = Link { delay, jitter: delay / 4, loss, refused: loss, mtu, ..Link::default() };
                // All that one router has to do with the others, or one link.
                let others = if self.rng.below(4) == 0 { self.honest.clone() } else { vec![b] };
                for other in others.into_iter().filter(|other| *other != a) {
                    self.net.set_link(a, other, link);
                    self.slow.push((a, other));
                }
            }
            8 => {
                // Up to a second, a minute, or a day: forwards or back.
                let most = [1_000, 60_000, 86_400_000][self.rng.below(3)];
                let skew = self.rng.below(2 * most + 1) as i64 - most as i64;
                self.net.set_skew(a, skew);
                self.skewed.insert(a);
            }
            _ => {}
        }
    }

    fn any(&mut self) -> NodeId {
        self.honest[self.rng.below(self.honest.len())]
    }

    /// A program whose router dies makes its destination anew, but the stream through the faults needs both ends.
    fn kill(&mut self, id: NodeId) {
        if self.net.is_up(id) && self.ends.iter().all(|(end, ..)| end.node != id) {
            self.net.kill(id);
            self.down.insert(id);
        }
    }

    fn restart(&mut self, id: NodeId, with_disk: bool) {
        if !with_disk {
            self.net.wipe(id);
        }
        self.net.start(id);
        if !with_disk {
            self.net.reseed_one(id);
        }
    }

    /// Cuts up to a third of the routers off from the rest.
    fn cut_off(&mut self) {
        let mut all = self.honest.clone();
        self.rng.shuffle(&mut all);
        let group = 1 + self.rng.below(all.len() / MOST_DOWN);
        let (inside, outside) = all.split_at(group);
        for a in inside {
            for b in outside {
                self.net.partition(*a, *b);
                self.cut.push((*a, *b));
            }
        }
    }

    fn end_faults(&mut self) {
        self.cut.drain(..).for_each(|(a, b)| self.net.heal(a, b));
        self.slow.drain(..).for_each(|(a, b)| self.net.set_link(a, b, Link::default()));
        std::mem::take(&mut self.skewed).into_iter().for_each(|id| self.net.set_skew(id, 0));
        while let Some(id) = self.down.pop_first() {
            self.restart(id, true);
        }
    }

    // ---- afterwards ----

    /// How long it takes until the destinations stand and a new stream has carried its bytes.
    fn recover(&mut self) -> Option<Duration> {
        let start = self.net.now();
        let left = |net: &Net| RECOVERY.saturating_sub(net.now().since(start));
        while !self.stands() {
            if left(&self.net).is_zero() {
                return None;
            }
            self.run_for(Duration::from_secs(1), None);
        }
        while !left(&self.net).is_zero() {
            let [(client, ..), (server, to, _)] = &self.ends;
            let (client, server, to) = (*client, *server, *to);
            for node in [client.node, server.node] {
                self.net.take_events(node);
            }
            let mut transfer = Transfer::open(&mut self.net, client, server, to, BYTES_AFTER, 0);
            while !transfer.is_over() && !left(&self.net).is_zero() {
                self.run_for(Duration::from_millis(500), Some(&mut transfer));
            }
            if transfer.progress() == Progress::Done {
                return Some(self.net.now().since(start));
            }
            self.run_for(Duration::from_secs(1), None);
        }
        None
    }

    fn stands(&self) -> bool {
        self.ends.iter().all(|(end, ..)| {
            let locals = self.net.snapshot(end.node).locals;
            locals.iter().find(|local| local.id == end.destination).is_some_and(|local| {
                let pool = local.pool;
                local.published && pool.inbound >= pool.inbound_wanted && pool.outbound >= pool.outbound_wanted
            })
        })
    }

    fn state(&self) -> String {
        let locals = self.ends.iter().flat_map(|(end, ..)| self.net.snapshot(end.node).locals);
        let told: Vec<String> = locals.map(|local| format!("{local:?}")).collect();
        told.join("; ")
    }
}

fn add_enemy(net: &mut Net, rng: &mut Rng) -> NodeId {
    let role = match rng.below(6) {
        0 => Role::Silent,
        1 => Role::Dropping,
        2 => Role::Lying(Arc::new(Vec::new())),
        3 => Role::Flooding(1 + u32::try_from(rng.below(10)).unwrap_or(0)),
        4 => Role::Observing,
        _ => Role::Failing(rng.unit(), Arc::new(BTreeSet::new())),
    };
    net.add_adversary(role)
}

#[cfg(test)]
mod tests {
    use super::run_of;

    #[test]
    fn a_world_recovers_from_its_faults() {
        let verdict = run_of(3, (12, 15));
        assert!(verdict.is_good() && verdict.faults > 15, "seed 3: {verdict}");
    }
}
