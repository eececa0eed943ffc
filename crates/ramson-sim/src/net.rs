//! The net: nodes, connections, virtual time, and the queue of events.

mod links;
mod traffic;
mod udp;
mod view;

use crate::link::{Link, NodeId, Wire, WireId};
use crate::node::{Machine, NETWORK_ID, Node, Place, UdpStats, router_config};
use crate::puppet::{Puppet, PuppetConfig};
use crate::role::Role;
use crate::trace::{Trace, What, command_number, event_numbers};
use ramson_core::job::{Job, JobDone};
use ramson_core::keys::RouterKeys;
use ramson_core::link::ConnId;
use ramson_core::netdb::{FloodfillMode, Verified};
use ramson_core::own_info::{OwnInfo, at_hosts};
use ramson_core::rng::Rng;
use ramson_core::router::{Command, Config, Input, Output, Router};
use ramson_core::time::{Duration, Instant, Now};
use ramson_core::tunnel::Congestion;
use ramson_wire::codec::Encode;
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::i2np::Message;
use ramson_wire::i2np::database_lookup::DatabaseLookup;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
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
    /// Each node has a /16 of its own, so that the rules for subnets can be kept.
    pub spread: bool,
    /// By what routers reach each other.
    pub transport: Transport,
}

/// What carries links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    #[default]
    Tcp,
    /// Routers have UDP sockets, too.
    Both,
    /// Routers publish both, but no TCP connection is ever made.
    Udp,
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
            spread: false,
            transport: Transport::Tcp,
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
    /// Nodes by the addresses of their UDP sockets, and those behind translators by the addresses of these.
    by_udp: BTreeMap<SocketAddr, NodeId>,
    by_outer: BTreeMap<IpAddr, NodeId>,
    lanes: BTreeMap<(NodeId, NodeId), udp::Lane>,
    cut: BTreeSet<(NodeId, NodeId)>,
    trace: Trace,
    meter: Option<Meter>,
    /// Who has told something, for [`Net::take_told`].
    told: Vec<NodeId>,
    /// The last RouterInfo of each router that somebody has verified.
    verified: BTreeMap<Hash, Verified>,
}

/// Told of each call of a node's core: true before it, false after it. Its end in [`Net::kill`] counts as one.
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
    Datagram(Box<udp::Flying>),
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
            by_udp: BTreeMap::new(),
            by_outer: BTreeMap::new(),
            lanes: BTreeMap::new(),
            cut: BTreeSet::new(),
            trace: Trace::default(),
            meter: None,
            told: Vec::new(),
            verified: BTreeMap::new(),
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
        let mut config = router_config(self.address(NodeId(self.nodes.len())));
        if self.settings.transport != Transport::Tcp {
            config.udp.clone_from(&config.listen);
        }
        change(&mut config);
        self.add(Some(config), Role::default(), skew_ms, None)
    }

    fn address(&self, id: NodeId) -> SocketAddr {
        if self.settings.spread { id.far_address() } else { id.address() }
    }

    /// Adds a router that serves as a floodfill.
    pub fn add_floodfill(&mut self) -> NodeId {
        self.add_router_with(0, |config| config.floodfill = FloodfillMode::Yes)
    }

    /// Adds a peer that a test plays, which others take for a floodfill.
    pub fn add_puppet(&mut self) -> NodeId {
        self.add(None, Role::default(), 0, None)
    }

    /// Adds a peer that plays this role. It knows nobody, and nobody it, until [`Net::join`].
    pub fn add_adversary(&mut self, role: Role) -> NodeId {
        self.add(None, role, 0, None)
    }

    /// The same under the one of so many identities that is closest to `target`, as somebody makes them who wants to
    /// hold a key of the netDb.
    pub fn add_sybil(&mut self, role: Role, target: &Hash, identities: usize) -> NodeId {
        let mut rng = self.rng.child("sybil");
        let made = (0..identities.max(1)).map(|_| RouterKeys::generate(&mut rng));
        let keys = made.min_by_key(|keys| keys.identity.hash().distance(target));
        self.add(None, role, 0, keys)
    }

    /// Puts a node somewhere.
    pub fn set_place(&mut self, id: NodeId, place: Place) {
        self.nodes[id.0].place = place;
    }

    /// Lets a peer of [`Net::add_adversary`] learn of these nodes, and publish itself at the floodfills among them.
    pub fn join(&mut self, id: NodeId, known: &[NodeId]) {
        for node in known.iter().filter(|node| **node != id) {
            // What it is told here is true: nobody verifies it, and all share it.
            let info = self.info(*node);
            self.puppet_mut(id).learn(&info);
        }
        let now = self.system_of(id);
        self.puppet_mut(id).publish(now);
        self.drain(id);
    }

    fn add(&mut self, config: Option<Config>, role: Role, skew_ms: i64, keys: Option<RouterKeys>) -> NodeId {
        let id = NodeId(self.nodes.len());
        let addr = self.address(id);
        let mut rng = self.rng.child("node");
        let keys = keys.unwrap_or_else(|| RouterKeys::generate(&mut rng));
        let info = self.sign_info(&keys, config.as_ref(), &role, addr);
        self.nodes.push(Node {
            machine: Machine::Down,
            keys,
            config,
            role,
            place: Place { firewalled: self.settings.transport == Transport::Udp, ..Place::default() },
            up_free: Instant::ZERO,
            down_free: Instant::ZERO,
            sent_bytes: 0,
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
            jobs: BTreeMap::new(),
            nat: None,
            udp: UdpStats::default(),
            #[cfg(test)]
            datagrams: Vec::new(),
        });
        let sockets = self.nodes[id.0].config.iter().flat_map(|config| config.udp.clone());
        self.by_udp.extend(sockets.map(|socket| (socket, id)));
        self.by_addr.insert(addr, id);
        self.start(id);
        id
    }

    /// The RouterInfo of a node as the others know it from a reseed.
    fn sign_info(&self, keys: &RouterKeys, config: Option<&Config>, role: &Role, addr: SocketAddr) -> Arc<RouterInfo> {
        let unix_ms = self.unix_ms() - INFO_AGE_MS;
        let signed = match config {
            None => crate::puppet::sign_info(keys, NETWORK_ID, addr, unix_ms, role.is_floodfill()),
            Some(config) => OwnInfo {
                network_id: config.network_id,
                bandwidth: config.bandwidth,
                published: if config.publishable { config.listen.clone() } else { Vec::new() },
                udp_published: if config.publishable { at_hosts(&config.listen, &config.udp) } else { Vec::new() },
                hidden: config.hidden,
                ipv4: config.addresses.ipv4,
                ipv6: config.addresses.ipv6,
                udp: config.udp.clone(),
                introducers: Vec::new(),
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
                let config = PuppetConfig { network_id: NETWORK_ID, addr: node.addr, seed, role: node.role.clone() };
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
        self.call(id, |core| *core = Machine::Down);
        let node = &mut self.nodes[id.0];
        node.events.clear();
        if let Some(wake) = node.wake.take() {
            self.queue.remove(&wake);
        }
        let conns: Vec<ConnId> = self.nodes[id.0].conns.keys().copied().collect();
        for conn in conns {
            self.close(id, conn);
        }
    }

    /// Takes from a node that is down all that it has saved.
    pub fn wipe(&mut self, id: NodeId) {
        assert!(!self.is_up(id), "{id:?} runs");
        self.nodes[id.0].saved.clear();
    }

    /// Signs a node's RouterInfo anew, as those know it who come from a reseed from now on.
    pub fn refresh(&mut self, id: NodeId) {
        let node = &self.nodes[id.0];
        let info = self.sign_info(&node.keys, node.config.as_ref(), &node.role, node.addr);
        self.nodes[id.0].info = info;
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

    /// From now on the system clock of a node is ahead by so many milliseconds, as after somebody has set it.
    pub fn set_skew(&mut self, id: NodeId, skew_ms: i64) {
        self.nodes[id.0].skew_ms = skew_ms;
    }

    /// Gives a node a RouterInfo.
    pub fn give_info(&mut self, id: NodeId, info: &RouterInfo) {
        self.give(id, info);
    }

    /// The RouterInfo of a router at an address where nobody is.
    pub fn info_of_nobody(&self, keys: &RouterKeys, number: usize) -> Arc<RouterInfo> {
        let addr = NodeId(number + 20_000).far_address();
        self.sign_info(keys, Some(&router_config(addr)), &Role::default(), addr)
    }

    /// Has a router send another one something by a link: it is looked up and dialled where that is needed.
    pub fn greet(&mut self, id: NodeId, to: NodeId) {
        let to = self.hash(to);
        if let Machine::Router(router) = &mut self.nodes[id.0].machine {
            router.greet(to);
        }
        self.feed(id, Input::Timeout);
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
            Due::Datagram(flying) => self.datagram(*flying),
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

    /// Whether some router here has done this job before: a RouterInfo is verified once, and all routers share it. That
    /// takes no time.
    fn is_known(&self, job: &Job) -> bool {
        let Job::VerifyRouter(job) = job else { return false };
        self.verified.get(&job.hash()).is_some_and(|known| known.info().as_bytes() == job.info().as_bytes())
    }

    fn learn(&mut self, done: &JobDone) {
        let JobDone::VerifyRouter(done) = done else { return };
        if let Some(verified) = done.verified() {
            self.verified.insert(verified.info().hash(), verified.clone());
        }
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
            Output::Udp(datagrams) => self.send_udp(id, &datagrams),
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
                let events = &mut self.nodes[id.0].events;
                if events.is_empty() {
                    self.told.push(id);
                }
                events.push_back((self.now, event));
            }
            Output::Timeout(_) => {}
        }
    }

    fn job(&mut self, id: NodeId, job: Job) {
        self.note(What::Job, id, [job.class() as u64, 0], &[]);
        *self.nodes[id.0].jobs.entry(job.class()).or_default() += 1;
        let instant = self.is_known(&job);
        let (node, verified) = (&mut self.nodes[id.0], &self.verified);
        let known = |info: &RouterInfo| verified.get(&info.hash()).cloned();
        let (life, done) = (node.life, job.run_knowing(&mut node.rng, &known));
        self.learn(&done);
        if instant {
            return self.feed(id, Input::JobDone(done));
        }
        self.schedule(self.now + self.settings.job_time, Due::Job(id, life, Box::new(done)));
    }
}
