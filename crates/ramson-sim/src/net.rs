//! The net: nodes, connections, virtual time, and the queue of events.

use crate::link::{Link, Parcel, Wire, WireId};
use crate::node::{Machine, NETWORK_ID, Node, NodeId, router_config};
use crate::puppet::{Puppet, PuppetConfig};
use crate::trace::{Trace, What};
use ramson_core::job::{Job, JobDone};
use ramson_core::keys::RouterKeys;
use ramson_core::link::ConnId;
use ramson_core::netdb::FloodfillMode;
use ramson_core::own_info::OwnInfo;
use ramson_core::rng::Rng;
use ramson_core::router::{Command, Config, Event, Input, Output, Router, Snapshot};
use ramson_core::time::{Duration, Instant, Now};
use ramson_core::tunnel::Congestion;
use ramson_wire::codec::Encode;
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::i2np::Message;
use ramson_wire::i2np::database_lookup::DatabaseLookup;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// Bytes that a socket takes ahead of the network.
const ROOM: usize = 128 << 10;
/// A frame begun within the room may go this far beyond it.
const OVERDRAFT: usize = 65_537;
/// Outputs of one turn, and wake-ups at one instant: more is a loop.
const MAX_OUTPUTS: usize = 1_000_000;
const MAX_IDLE_WAKES: u32 = 1_000;
/// Age of the RouterInfos that a reseed brings.
const INFO_AGE_MS: u64 = 30 * 60_000;
/// How long a dial into a partition hangs.
const DIAL_HANGS: Duration = Duration::from_secs(60);

/// What a net begins with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Between nodes for which nothing else is set.
    pub link: Link,
    /// Virtual time that each job takes.
    pub job_time: Duration,
    /// The network's time at the start, milliseconds since 1970.
    pub start_unix_ms: u64,
    /// Data is told with more to follow, and nothing but a time-out follows, as where a shell reads several sockets
    /// before anything is written.
    pub gather: bool,
}

impl Default for Settings {
    /// Seed 0, the default link, 1 ms for a job, and an afternoon (UTC) in September 2026.
    fn default() -> Self {
        Self {
            seed: 0,
            link: Link::default(),
            job_time: Duration::from_millis(1),
            start_unix_ms: 1_790_000_000_000,
            gather: false,
        }
    }
}

/// N nodes in virtual time.
pub struct Net {
    settings: Settings,
    rng: Rng,
    now: Instant,
    next_seq: u64,
    queue: BTreeMap<(Instant, u64), Due>,
    nodes: Vec<Node>,
    by_addr: BTreeMap<SocketAddr, NodeId>,
    wires: BTreeMap<WireId, Wire>,
    next_wire: WireId,
    links: BTreeMap<(NodeId, NodeId), Link>,
    cut: BTreeSet<(NodeId, NodeId)>,
    trace: Trace,
    meter: Option<Meter>,
}

/// Told of each call of a node's core: true before it, false after it.
pub type Meter = Box<dyn FnMut(NodeId, bool)>;

/// What waits in the queue.
enum Due {
    Wake(NodeId),
    /// A dial reaches the other side.
    Dialled(WireId),
    /// A dial has failed.
    Refused(WireId),
    /// The next parcel to this side.
    Arrival(WireId, usize),
    /// Bytes of this side have left its socket.
    Left(WireId, usize, usize),
    Job(NodeId, u32, Box<JobDone>),
}

impl Net {
    pub fn new(settings: Settings) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&settings.seed.to_le_bytes());
        Self {
            rng: Rng::from_seed(seed),
            settings,
            now: Instant::ZERO,
            next_seq: 0,
            queue: BTreeMap::new(),
            nodes: Vec::new(),
            by_addr: BTreeMap::new(),
            wires: BTreeMap::new(),
            next_wire: 0,
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            trace: Trace::default(),
            meter: None,
        }
    }

    /// Tells `meter` of each call of a core from now on: it may take the time, which this crate must not.
    pub fn set_meter(&mut self, meter: Option<Meter>) {
        self.meter = meter;
    }

    fn call<T>(&mut self, id: NodeId, act: impl FnOnce(&mut Machine) -> T) -> T {
        if let Some(meter) = &mut self.meter {
            meter(id, true);
        }
        let result = act(&mut self.nodes[id.0].machine);
        if let Some(meter) = &mut self.meter {
            meter(id, false);
        }
        result
    }

    // ---- nodes ----

    /// Adds a router with [`router_config`]. It knows nobody until [`Net::reseed`].
    pub fn add_router(&mut self) -> NodeId {
        self.add_router_with(0, |_| {})
    }

    /// Adds a router whose clock is ahead by `skew_ms`, with settings of its own.
    pub fn add_router_with(&mut self, skew_ms: i64, change: impl FnOnce(&mut Config)) -> NodeId {
        let mut config = router_config(NodeId(self.nodes.len()).address());
        change(&mut config);
        self.add(Some(config), skew_ms)
    }

    /// Adds a router that serves as a floodfill.
    pub fn add_floodfill(&mut self) -> NodeId {
        self.add_router_with(0, |config| config.floodfill = FloodfillMode::Yes)
    }

    /// Adds a peer that a test plays, which others take for a floodfill.
    pub fn add_puppet(&mut self) -> NodeId {
        self.add(None, 0)
    }

    fn add(&mut self, config: Option<Config>, skew_ms: i64) -> NodeId {
        let id = NodeId(self.nodes.len());
        let addr = id.address();
        let mut rng = self.rng.child("node");
        let keys = RouterKeys::generate(&mut rng);
        let info = self.sign_info(&keys, config.as_ref(), addr);
        self.nodes.push(Node {
            machine: Machine::Down,
            keys,
            config,
            info,
            addr,
            skew_ms,
            rng,
            life: 0,
            wake: None,
            idle_wakes: 0,
            conns: BTreeMap::new(),
            next_inbound: 0,
            events: VecDeque::new(),
            saved: BTreeMap::new(),
            profiles: Vec::new(),
            guards: BTreeMap::new(),
        });
        self.by_addr.insert(addr, id);
        self.start(id);
        id
    }

    /// The RouterInfo of a node as the others know it from a reseed.
    fn sign_info(&self, keys: &RouterKeys, config: Option<&Config>, addr: SocketAddr) -> Arc<RouterInfo> {
        let unix_ms = self.unix_ms() - INFO_AGE_MS;
        let signed = match config {
            None => crate::puppet::sign_info(keys, NETWORK_ID, addr, unix_ms),
            Some(config) => OwnInfo {
                network_id: config.network_id,
                bandwidth: config.bandwidth,
                published: if config.publishable { config.listen.clone() } else { Vec::new() },
                ipv4: config.addresses.ipv4,
                ipv6: config.addresses.ipv6,
                floodfill: config.publishable && config.floodfill == FloodfillMode::Yes,
                congestion: if config.transit_tunnels == 0 { Congestion::Rejecting } else { Congestion::None },
            }
            .sign(keys, unix_ms),
        };
        assert!(signed.is_ok(), "a node's RouterInfo is not signed: {:?}", signed.err());
        signed.map(Arc::new).unwrap_or_else(|_| unreachable!())
    }

    /// Starts a node that is down: with its keys and what it saved, but nothing that it only remembered.
    pub fn start(&mut self, id: NodeId) {
        let now = self.system_of(id);
        let node = &mut self.nodes[id.0];
        assert!(!node.is_up(), "{id:?} runs");
        node.life += 1;
        let seed = node.rng.bytes();
        let keys = node.keys.clone();
        node.machine = match &node.config {
            Some(config) => Machine::Router(Box::new(Router::new(config.clone(), keys, seed, now))),
            None => {
                let config = PuppetConfig { network_id: NETWORK_ID, addr: node.addr, seed };
                Machine::Puppet(Box::new(Puppet::new(config, keys, now)))
            }
        };
        let saved: Vec<_> = node.saved.values().cloned().collect();
        self.note(What::Start, id, [0, 0], &[]);
        self.drain(id);
        let profiles = self.nodes[id.0].profiles.clone();
        if !profiles.is_empty() {
            self.feed(id, Input::Profiles(&profiles));
        }
        for info in saved {
            self.give(id, &info);
        }
    }

    /// Kills a node as kill -9 does: its connections are reset, and all that it remembered is gone.
    pub fn kill(&mut self, id: NodeId) {
        self.note(What::Stop, id, [0, 0], &[]);
        let node = &mut self.nodes[id.0];
        node.machine = Machine::Down;
        node.events.clear();
        if let Some(wake) = node.wake.take() {
            self.queue.remove(&wake);
        }
        let conns: Vec<ConnId> = self.nodes[id.0].conns.keys().copied().collect();
        for conn in conns {
            self.close(id, conn);
        }
    }

    /// Gives every node the RouterInfos of all others, as a reseed does.
    pub fn reseed(&mut self) {
        for id in (0..self.nodes.len()).map(NodeId) {
            self.reseed_one(id);
        }
    }

    /// Gives one node the RouterInfos of all others that are up.
    pub fn reseed_one(&mut self, id: NodeId) {
        let infos: Vec<_> = self.nodes.iter().filter(|node| node.is_up()).map(|node| Arc::clone(&node.info)).collect();
        for info in infos {
            if info.hash() != self.hash(id) {
                self.give(id, &info);
            }
        }
    }

    /// Gives `to` the RouterInfo of `known`.
    pub fn introduce(&mut self, known: NodeId, to: NodeId) {
        let info = Arc::clone(&self.nodes[known.0].info);
        self.give(to, &info);
    }

    fn give(&mut self, id: NodeId, info: &RouterInfo) {
        self.note(What::RouterInfo, id, [0, 0], info.hash().as_bytes());
        self.feed(id, Input::RouterInfo(Box::new(info.clone())));
    }

    /// Tells a node that this moment has passed, as the signature of a reseed bundle does.
    pub fn set_time_floor(&mut self, id: NodeId, unix_ms: u64) {
        self.note(What::TimeFloor, id, [unix_ms, 0], &[]);
        self.feed(id, Input::TimeFloor(unix_ms));
    }

    // ---- links ----

    /// Sets what lies between two nodes. What is under way is not changed.
    pub fn set_link(&mut self, a: NodeId, b: NodeId, link: Link) {
        self.links.insert(ordered(a, b), link);
    }

    /// Cuts two nodes off from each other: dials hang, and what is sent arrives when [`Net::heal`] is called.
    pub fn partition(&mut self, a: NodeId, b: NodeId) {
        self.cut.insert(ordered(a, b));
    }

    /// Cuts a node off from all others.
    pub fn isolate(&mut self, id: NodeId) {
        for other in (0..self.nodes.len()).map(NodeId).filter(|other| *other != id) {
            self.partition(id, other);
        }
    }

    /// Ends the partition between two nodes.
    pub fn heal(&mut self, a: NodeId, b: NodeId) {
        if !self.cut.remove(&ordered(a, b)) {
            return;
        }
        let mut arrivals = Vec::new();
        for (id, wire) in self.wires.iter_mut().filter(|(_, wire)| wire.joins(a, b)) {
            for (at, side) in wire.sides.iter_mut().enumerate() {
                arrivals.extend(std::iter::repeat_n((*id, at), std::mem::take(&mut side.stalled)));
            }
        }
        for (wire, side) in arrivals {
            self.schedule(self.now, Due::Arrival(wire, side));
        }
    }

    fn link(&self, a: NodeId, b: NodeId) -> Link {
        self.links.get(&ordered(a, b)).copied().unwrap_or(self.settings.link)
    }

    fn is_cut(&self, wire: &Wire) -> bool {
        self.cut.contains(&ordered(wire.sides[0].node, wire.sides[1].node))
    }

    /// From now on the system clock of a node is ahead by so many milliseconds, as after somebody has set it.
    pub fn set_skew(&mut self, id: NodeId, skew_ms: i64) {
        self.nodes[id.0].skew_ms = skew_ms;
    }

    // ---- what is seen from outside ----

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

    pub fn node_of(&self, hash: &Hash) -> Option<NodeId> {
        (0..self.nodes.len()).map(NodeId).find(|id| self.hash(*id) == *hash)
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

    /// Whether the router at a node has told anything that was not taken.
    /// What a node has saved of the first hops of a destination.
    pub fn saved_guards(&self, id: NodeId, destination: &Hash) -> Option<&[u8]> {
        self.nodes[id.0].guards.get(destination).map(Vec::as_slice)
    }

    pub fn has_events(&self, id: NodeId) -> bool {
        !self.nodes[id.0].events.is_empty()
    }

    /// Asks the router at a node for something.
    pub fn command(&mut self, id: NodeId, command: Command) {
        self.note(What::Command, id, [command_number(&command), 0], &[]);
        self.feed(id, Input::Command(command));
    }

    /// Lets a puppet ask a router something.
    pub fn ask(&mut self, puppet: NodeId, router: NodeId, question: &DatabaseLookup) {
        let (now, to) = (self.system_of(puppet), self.hash(router));
        self.note(What::Command, puppet, [0, 0], &question.to_bytes());
        self.puppet_mut(puppet).ask(now, to, question);
        self.drain(puppet);
    }

    /// Lets a puppet send a router whatever it is.
    pub fn tell(&mut self, puppet: NodeId, router: NodeId, message: Message) {
        let (now, to) = (self.system_of(puppet), self.hash(router));
        self.note(What::Command, puppet, [1, message.kind.0.into()], &message.body);
        self.puppet_mut(puppet).tell(now, to, message);
        self.drain(puppet);
    }

    // ---- time ----

    /// Runs for so long.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
    }

    /// Runs until `done` holds, which is asked after each event, or for `limit` at most. Returns whether it held.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                return false;
            }
        }
    }

    /// Carries out the next event if it is due by `end`, else moves the clock there and returns false.
    pub fn step(&mut self, end: Instant) -> bool {
        let due = self.queue.first_entry().filter(|entry| entry.key().0 <= end);
        let Some(due) = due else {
            self.now = end;
            return false;
        };
        let ((at, _), due) = due.remove_entry();
        debug_assert!(at >= self.now, "time goes forward");
        self.now = at;
        self.carry_out_due(due);
        true
    }

    fn carry_out_due(&mut self, due: Due) {
        match due {
            Due::Wake(id) => {
                let node = &mut self.nodes[id.0];
                node.wake = None;
                node.idle_wakes += 1;
                assert!(node.idle_wakes < MAX_IDLE_WAKES, "{id:?} wakes again and again at {:?}", self.now);
                self.note(What::Wake, id, [0, 0], &[]);
                self.feed(id, Input::Timeout);
            }
            Due::Dialled(wire) => self.dialled(wire),
            Due::Refused(wire) => {
                if let Some(wire) = self.wires.remove(&wire) {
                    self.closed(&wire, 0);
                }
            }
            Due::Arrival(wire, side) => self.arrival(wire, side),
            Due::Left(wire, side, bytes) => {
                let Some(side) = self.wires.get_mut(&wire).map(|wire| &mut wire.sides[side]) else { return };
                side.unsent -= bytes;
                let (id, Some(conn)) = (side.node, side.conn) else { return };
                self.note(What::Writable, id, [conn.0, bytes as u64], &[]);
                self.feed(id, Input::TcpWritable { conn, bytes });
            }
            Due::Job(id, life, done) => {
                if self.nodes[id.0].life == life && self.nodes[id.0].is_up() {
                    self.note(What::JobDone, id, [0, 0], &[]);
                    self.feed(id, Input::JobDone(*done));
                }
            }
        }
    }

    /// Gives an input to a node, and carries out what comes of it.
    fn feed(&mut self, id: NodeId, input: Input<'_>) {
        let now = self.system_of(id);
        self.call(id, |core| core.handle_input(now, input));
        self.drain(id);
    }

    /// Drains a node's outputs down to its time-out, and asserts the law of the door: drained is drained.
    fn drain(&mut self, id: NodeId) {
        let mut outputs = 0;
        let timeout = loop {
            match self.call(id, Machine::poll_output) {
                Output::Timeout(at) => break at,
                output => self.carry_out(id, output),
            }
            outputs += 1;
            assert!(outputs < MAX_OUTPUTS, "{id:?} is never drained at {:?}", self.now);
        };
        let again = self.nodes[id.0].machine.poll_output();
        assert!(matches!(again, Output::Timeout(at) if at == timeout), "{id:?} says more when it was drained");
        self.set_wake(id, timeout);
    }

    fn set_wake(&mut self, id: NodeId, at: Instant) {
        let at = at.max(self.now);
        let node = &mut self.nodes[id.0];
        if at > self.now {
            node.idle_wakes = 0;
        }
        if node.wake.is_some_and(|(set, _)| set == at) {
            return;
        }
        if let Some(wake) = node.wake.take() {
            self.queue.remove(&wake);
        }
        if at != Instant::FAR && node.is_up() {
            let key = self.schedule(at, Due::Wake(id));
            self.nodes[id.0].wake = Some(key);
        }
    }

    fn schedule(&mut self, at: Instant, due: Due) -> (Instant, u64) {
        let key = (at, self.next_seq);
        self.next_seq += 1;
        self.queue.insert(key, due);
        key
    }

    /// The system clock of a node.
    fn system_of(&self, id: NodeId) -> Now {
        Now::new(self.now, self.unix_ms().saturating_add_signed(self.nodes[id.0].skew_ms))
    }

    fn note(&mut self, what: What, id: NodeId, numbers: [u64; 2], bytes: &[u8]) {
        self.trace.add(self.now, what, id.0, numbers, bytes);
    }

    // ---- what the nodes ask for ----

    fn carry_out(&mut self, id: NodeId, output: Output) {
        match output {
            Output::TcpOpen { conn, addr } => self.open(id, conn, addr),
            Output::TcpWrite { conn, bytes } => self.write(id, conn, bytes),
            Output::TcpClose { conn, .. } => {
                self.note(What::Close, id, [conn.0, 0], &[]);
                self.close(id, conn);
            }
            Output::Job(job) => self.job(id, job),
            Output::SaveRouterInfo(info) => {
                self.note(What::Save, id, [0, 0], info.as_bytes());
                self.nodes[id.0].saved.insert(info.hash(), info);
            }
            Output::DropRouterInfo(hash) => {
                self.note(What::Drop, id, [0, 0], hash.as_bytes());
                self.nodes[id.0].saved.remove(&hash);
            }
            Output::SaveProfiles(bytes) => {
                self.note(What::Save, id, [1, 0], &bytes);
                self.nodes[id.0].profiles = bytes;
            }
            Output::SaveGuards { destination, bytes } => {
                self.note(What::Save, id, [2, 0], &bytes);
                self.nodes[id.0].guards.insert(destination, bytes);
            }
            Output::Event(event) => {
                let (numbers, bytes) = event_numbers(&event);
                self.trace.add(self.now, What::Event, id.0, numbers, bytes);
                self.nodes[id.0].events.push_back((self.now, event));
            }
            Output::Timeout(_) => {}
        }
    }

    fn job(&mut self, id: NodeId, job: Job) {
        self.note(What::Job, id, [job.class() as u64, 0], &[]);
        let node = &mut self.nodes[id.0];
        let (life, done) = (node.life, job.run(&mut node.rng));
        self.schedule(self.now + self.settings.job_time, Due::Job(id, life, Box::new(done)));
    }

    fn open(&mut self, id: NodeId, conn: ConnId, addr: SocketAddr) {
        self.note(What::Open, id, [conn.0, u64::from(addr.port())], addr.ip().to_string().as_bytes());
        assert!(!conn.is_inbound(), "{id:?} dials by a name of accepted connections");
        let to = self.by_addr.get(&addr).copied();
        // Nobody has that address: the network says so after the usual delay.
        let other = to.unwrap_or(id);
        let link = self.link(id, other);
        let wire = self.next_wire;
        self.next_wire += 1;
        let known = self.nodes[id.0].conns.insert(conn, (wire, 0));
        assert!(known.is_none(), "{id:?} opens {conn:?} twice");
        self.wires.insert(wire, Wire::new(id, conn, other));
        let refused = to.is_none() || self.rng.unit() < link.refused;
        let (at, due) = match refused {
            true => (self.now + link.delay * 2, Due::Refused(wire)),
            false => (self.now + link.delay, Due::Dialled(wire)),
        };
        self.schedule(at, due);
    }

    /// A dial arrives.
    fn dialled(&mut self, id: WireId) {
        let Some(wire) = self.wires.get(&id) else { return };
        let (from, to) = (wire.sides[0].node, wire.sides[1].node);
        let link = self.link(from, to);
        if self.is_cut(wire) {
            self.schedule(self.now + DIAL_HANGS, Due::Refused(id));
            return;
        }
        if !self.nodes[to.0].is_up() {
            self.schedule(self.now + link.delay, Due::Refused(id));
            return;
        }
        let node = &mut self.nodes[to.0];
        let conn = ConnId(ConnId::INBOUND | node.next_inbound);
        node.next_inbound += 1;
        node.conns.insert(conn, (id, 1));
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.sides[1].conn = Some(conn);
        }
        self.send_parcel(id, 0, self.now, Parcel::Opened);
        let port = 20_000 + u16::try_from(id % 40_000).unwrap_or(0);
        let addr = SocketAddr::new(self.nodes[from.0].addr.ip(), port);
        self.note(What::Accepted, to, [conn.0, u64::from(port)], &[]);
        self.feed(to, Input::TcpAccepted { conn, addr, room: ROOM });
    }

    fn write(&mut self, id: NodeId, conn: ConnId, bytes: Vec<u8>) {
        self.note(What::Write, id, [conn.0, 0], &bytes);
        let place = self.nodes[id.0].conns.get(&conn).copied();
        assert!(place.is_some(), "{id:?} writes to {conn:?}, which is closed");
        let Some((wire_id, at)) = place else { return };
        let Some(wire) = self.wires.get(&wire_id) else { return };
        let link = self.link(wire.sides[0].node, wire.sides[1].node);
        let Some(side) = self.wires.get_mut(&wire_id).map(|wire| &mut wire.sides[at]) else { return };
        side.unsent += bytes.len();
        assert!(side.unsent <= ROOM + OVERDRAFT, "{id:?} writes {} bytes ahead of {conn:?}", side.unsent);
        side.free = side.free.max(self.now) + link.duration_of(bytes.len());
        let left = side.free;
        self.schedule(left, Due::Left(wire_id, at, bytes.len()));
        self.send_parcel(wire_id, 1 - at, left, Parcel::Bytes(bytes));
    }

    /// Sends something towards a side; it leaves at `left`.
    fn send_parcel(&mut self, id: WireId, to: usize, left: Instant, parcel: Parcel) {
        let Some(wire) = self.wires.get(&id) else { return };
        let link = self.link(wire.sides[0].node, wire.sides[1].node);
        let jitter = self.rng.between(Duration::ZERO, link.jitter);
        let Some(side) = self.wires.get_mut(&id).map(|wire| &mut wire.sides[to]) else { return };
        side.last_arrival = side.last_arrival.max(left + link.delay + jitter);
        side.incoming.push_back(parcel);
        let at = side.last_arrival;
        self.schedule(at, Due::Arrival(id, to));
    }

    /// A node closes its side: what it wrote arrives, and then the end.
    fn close(&mut self, id: NodeId, conn: ConnId) {
        let Some((wire_id, at)) = self.nodes[id.0].conns.remove(&conn) else { return };
        let Some(side) = self.wires.get_mut(&wire_id).map(|wire| &mut wire.sides[at]) else { return };
        side.conn = None;
        let left = side.free.max(self.now);
        self.send_parcel(wire_id, 1 - at, left, Parcel::Closed);
    }

    /// Something arrives at a side.
    fn arrival(&mut self, id: WireId, at: usize) {
        let Some(wire) = self.wires.get(&id) else { return };
        let cut = self.is_cut(wire);
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let side = &mut wire.sides[at];
        if cut {
            side.stalled += 1;
            return;
        }
        let Some(parcel) = side.incoming.pop_front() else { return };
        let (node, conn) = (side.node, side.conn);
        match (parcel, conn) {
            (Parcel::Closed, _) => {
                if let Some(wire) = self.wires.remove(&id) {
                    self.closed(&wire, at);
                }
            }
            (Parcel::Opened, Some(conn)) => {
                self.note(What::Opened, node, [conn.0, 0], &[]);
                self.feed(node, Input::TcpOpened { conn, room: ROOM });
            }
            (Parcel::Bytes(bytes), Some(conn)) => {
                self.note(What::Data, node, [conn.0, 0], &bytes);
                let more = self.settings.gather;
                self.feed(node, Input::TcpData { conn, bytes: &bytes, more });
                if more {
                    self.feed(node, Input::Timeout);
                }
            }
            (_, None) => {}
        }
    }

    /// The connection has ended: the side is told unless it ended it itself.
    fn closed(&mut self, wire: &Wire, at: usize) {
        let (id, Some(conn)) = (wire.sides[at].node, wire.sides[at].conn) else { return };
        self.nodes[id.0].conns.remove(&conn);
        self.note(What::Closed, id, [conn.0, 0], &[]);
        self.feed(id, Input::TcpClosed { conn });
    }
}

fn ordered(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

fn command_number(command: &Command) -> u64 {
    match command {
        Command::CreateDestination { .. } => 1,
        Command::CloseDestination(_) => 2,
        Command::Listen { .. } => 3,
        Command::Connect { .. } => 4,
        Command::StreamSend { .. } => 5,
        Command::StreamShutdown(_) => 6,
        Command::StreamReset(_) => 7,
        Command::StreamRelease(_) => 8,
        Command::StreamCredit { .. } => 9,
        Command::Lookup { .. } => 10,
        Command::Shutdown => 11,
        Command::KeepGuards { .. } => 12,
        Command::Drain => 13,
    }
}

/// What tells an event from others in the trace.
fn event_numbers(event: &Event) -> ([u64; 2], &[u8]) {
    match event {
        Event::StreamOpened { token, .. } => ([1, *token], &[]),
        Event::ConnectFailed { token, .. } => ([2, *token], &[]),
        Event::StreamAccepted { stream, .. } => ([3, stream.destination.0], &[]),
        Event::StreamData { stream, data } => ([4, stream.destination.0], data),
        Event::StreamWritable { bytes, .. } => ([5, *bytes as u64], &[]),
        Event::StreamFinished(stream) => ([6, stream.destination.0], &[]),
        Event::StreamFailed { stream, .. } => ([7, stream.destination.0], &[]),
        Event::StreamClosed(stream) => ([8, stream.destination.0], &[]),
        Event::LookedUp { token, .. } => ([9, *token], &[]),
        Event::Reachable { published, .. } => ([10, u64::from(*published)], &[]),
        Event::ClockCorrected { offset_ms } => ([11, offset_ms.cast_unsigned()], &[]),
        Event::DestinationCreated(id) => ([12, id.0], &[]),
        Event::Stopped => ([13, 0], &[]),
        Event::DestinationFailed { id, .. } => ([14, id.0], &[]),
        Event::Floodfill { serves } => ([15, u64::from(*serves)], &[]),
    }
}
