//! The router: wires the machines together, and is the only place that does.
//!
//! [`Router::handle_input`] takes one input; then [`Router::poll_output`] is called until it says
//! [`Output::Timeout`]. The files of this folder are the wires: `network` joins links, netDb and our own RouterInfo,
//! `tunnels` joins tunnels to links and garlic, `hops` chooses their hops, `lookups` sends what look-ups and publications ask
//! for, `create` makes a destination of ours, `local` is one with its streams, `datagrams` its datagrams, `keyless` one whose keys a program holds, `questions` answers those of others, `floodfill` takes in
//! what others store, `faults` removes what has panicked.

mod asked;
#[cfg(any(test, fuzzing, feature = "checks"))]
mod check;
mod closing;
mod create;
mod datagrams;
mod door;
mod faults;
mod floodfill;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hops;
mod introductions;
mod keyless;
#[cfg(ramson_lab)]
mod lab;
mod local;
mod lookups;
mod mapped;
mod network;
pub(crate) mod programs;
mod questions;
mod reach;
mod status;
mod tunnels;

pub use door::{
    Command, Config, ConnectError, DatagramRefused, DestinationId, ENTROPY_INTERVAL, Event, Input, KeylessOptions,
    KeylessRefused, LocalOptions, Mapped, Output, PoolState, StreamError, StreamKey,
};
pub use faults::{Fatal, Removed};
pub use status::{Entry, LocalStatus, Route, Snapshot};

use crate::bucket::Bucket;
use crate::clock::NetworkClock;
use crate::job::{Job, JobDone};
use crate::keys::RouterKeys;
use crate::limits::netdb::ROUTERS;
use crate::limits::router::{MESSAGES, MESSAGES_GENERATION, REDIALS};
use crate::link::ssu2::peer_test::{PeerTests, TestConfig};
pub use crate::link::{Datagrams, UdpId};
use crate::link::{LinkConfig, Links, UdpConfig};
use crate::netdb::store::Source;
use crate::netdb::{Explorer, Fitness, Floodfill, Lookups, RouterInfoPublisher, RouterStore};
use crate::own_info::OwnInfo;
use crate::peers::Profiles;
use crate::reach::{Reach, Reachability};
use crate::rng::Rng;
use crate::seen::Seen;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use crate::tunnel::{Congestion, PoolId, StaticKey, TransitRules, TunnelConfig, Tunnels};
use faults::Machine;
use local::Local;
use lookups::Sealing;
use ramson_wire::data::{Hash, RouterInfo};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A whole router, without sockets, files and clock.
pub struct Router {
    config: Config,
    keys: Arc<RouterKeys>,
    hash: Hash,
    rng: Rng,
    clock: NetworkClock,
    /// The system's and the network's time of the latest input.
    system: Now,
    now: Now,
    links: Links,
    store: RouterStore,
    lookups: Lookups,
    publisher: RouterInfoPublisher,
    explorer: Explorer,
    tunnels: Tunnels,
    profiles: Profiles,
    first_hops: hops::FirstHops,
    own: OwnInfo,
    /// Our signed RouterInfo, once there is one.
    own_info: Option<Arc<RouterInfo>>,
    /// A signature is being made.
    signing: bool,
    /// The network's time has changed, or what our RouterInfo says, while the signature is being made.
    resign: bool,
    /// By which families routers that we never dialled have come in.
    reached: network::Reached,
    /// Whether we can be reached, the tests of that and of others, who was asked last by IPv4 and IPv6, and what of it the
    /// program has been told.
    reach: Reach,
    tests: PeerTests,
    last_tester: [Option<Hash>; 2],
    /// When routers were last dialled to be Charlie in a test of another.
    charlies_dialled: Option<Instant>,
    told_reach: [Reachability; 2],
    /// What a gateway says that it forwards to us.
    mapped: Option<Mapped>,
    /// One-time keys under which answers to the router's own look-ups come.
    one_time: BTreeMap<[u8; 8], lookups::OneTime>,
    /// Messages for routers whose RouterInfo is being looked up.
    waiting: BTreeMap<Hash, tunnels::Waiting>,
    /// Payloads that are being sealed to routers.
    sealing: BTreeMap<u64, Sealing>,
    next_token: u64,
    /// Questions of others that are answered.
    questions: questions::QuestionGate,
    /// Whether we are to serve as a floodfill, and what we are as one while we are one.
    fitness: Fitness,
    floodfill: Option<Floodfill>,
    /// What a floodfill answers.
    answers: floodfill::AnswerGate,
    /// Messages that came by links, but for those of tunnels: one that comes again is dropped (threats T27, P-23).
    seen: Seen,
    /// Garlic of others that is opened.
    garlic: tunnels::GarlicGate,
    /// Dials of those who have hung up.
    redials: Bucket,
    /// How many are gone since then.
    losses: (Instant, u32),
    /// Routers that were drawn while nearly nobody answered, and are there or being dialled.
    at_home: Vec<Hash>,
    locals: BTreeMap<DestinationId, Local>,
    pools: BTreeMap<PoolId, DestinationId>,
    /// Destinations that may have something to say.
    dirty: BTreeSet<DestinationId>,
    /// When it stops at the latest, once it has been told to.
    stop_by: Instant,
    /// More data follows at once: nothing is sealed yet.
    held: bool,
    timers: Timers<Timer>,
    outputs: VecDeque<Output>,
    /// Enough routers were known to begin: tunnels are built, and our RouterInfo is published.
    begun: bool,
    /// What runs, for when it panics.
    running: Machine,
    /// When panics came lately, and how many there were in all, those of jobs included.
    faults: VecDeque<Instant>,
    fault_count: u64,
    /// Questions that went to floodfills.
    asked: u64,
    /// A test's: this machine panics.
    #[cfg(test)]
    trip: Option<Machine>,
}

/// What the router itself waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A destination.
    Local(DestinationId),
    /// A destination that is closed goes, for its streams have had time to end.
    Close(DestinationId),
    /// The same for the whole router.
    Stop,
    /// The network is begun with, however few routers are known.
    Begin,
    /// Tunnels are begun at the latest.
    Tunnels,
    /// Our RouterInfo may need to be signed anew.
    OwnInfo,
    /// First hops without a session are dialled.
    TendGuards,
    SaveProfiles,
    /// Old RouterInfos, one-time keys and waiting messages go; the disk is told.
    Sweep,
}

/// Our RouterInfo is signed anew this often, so that it is never old where it is shown.
const RESIGN: Duration = Duration::from_secs(30 * 60);
const SWEEP: Duration = Duration::from_secs(5);
/// Routers that are dialled at the start.
const FIRST_DIALS: usize = 8;
/// Sessions with which tunnels are begun, or this long after the first routers were dialled.
const TUNNELS_WITH: usize = 3;
const TUNNELS_AFTER: Duration = Duration::from_secs(2);
/// Known routers with which a router begins at once; with fewer it begins so long after the first, so that its first hops
/// are not always those that are read first.
const BEGIN_WITH: usize = 10;
const BEGIN_AFTER: Duration = Duration::from_millis(250);

impl Router {
    /// A router with these keys, at `now` by the system's clock. `seed` is the root of all its randomness.
    pub fn new(config: Config, keys: RouterKeys, seed: [u8; 32], now: Now) -> Self {
        let mut rng = Rng::from_seed(seed);
        let keys = Arc::new(keys);
        let hash = keys.identity.hash();
        let link_config = LinkConfig {
            network_id: config.network_id,
            static_key: keys.ntcp2_key.clone(),
            router: hash,
            iv: keys.ntcp2_iv,
            padding: config.padding,
            addresses: config.addresses,
        };
        let transit = TransitRules {
            accept: config.transit_tunnels > 0,
            draining: false,
            max_tunnels: config.transit_tunnels,
            bytes_per_second: config.transit_bytes_per_second,
            private_network: config.small_network,
        };
        let key = StaticKey { secret: keys.static_key.clone(), public: keys.static_key.public_key() };
        let tunnels = Tunnels::new(now, TunnelConfig { own: hash, key, transit }, &mut rng);
        let own = OwnInfo {
            network_id: config.network_id,
            bandwidth: config.bandwidth,
            published: Vec::new(),
            udp_published: Vec::new(),
            hidden: config.hidden,
            ipv4: config.addresses.ipv4,
            ipv6: config.addresses.ipv6,
            udp: config.udp.clone(),
            introducers: Vec::new(),
            floodfill: false,
            congestion: match config.transit_tunnels == 0 || config.transit_bytes_per_second == 0 {
                true => Congestion::Rejecting,
                false => Congestion::None,
            },
            #[cfg(ramson_lab)]
            claims: Default::default(),
        };
        let mut router = Self {
            hash,
            links: Links::new(link_config, rng.child("links")),
            store: RouterStore::new(hash, config.network_id, ROUTERS, rng.child("store"), now),
            lookups: Lookups::new(rng.child("lookups")),
            publisher: RouterInfoPublisher::new(now, hash, rng.child("publisher")),
            explorer: Explorer::new(now, rng.child("explorer")),
            tunnels,
            profiles: Profiles::default(),
            first_hops: hops::FirstHops::default(),
            own,
            own_info: None,
            signing: false,
            resign: false,
            reached: network::Reached::default(),
            reach: Reach::new(now, &reach::config(&config), rng.child("reach")),
            tests: PeerTests::new(now, TestConfig { own: hash, addresses: config.addresses }, rng.child("tests")),
            last_tester: [None; 2],
            charlies_dialled: None,
            told_reach: [Reachability::Unknown; 2],
            mapped: None,
            one_time: BTreeMap::new(),
            waiting: BTreeMap::new(),
            sealing: BTreeMap::new(),
            next_token: 0,
            questions: questions::QuestionGate::new(now.mono),
            fitness: Fitness::new(config.floodfill, rng.child("fitness")),
            floodfill: None,
            answers: floodfill::AnswerGate::new(now.mono),
            seen: Seen::new(MESSAGES, MESSAGES_GENERATION, &mut rng.child("seen")),
            garlic: tunnels::GarlicGate::new(now.mono),
            redials: Bucket::new(REDIALS, now.mono),
            losses: (now.mono, 0),
            at_home: Vec::new(),
            locals: BTreeMap::new(),
            pools: BTreeMap::new(),
            dirty: BTreeSet::new(),
            stop_by: now.mono,
            held: false,
            timers: Timers::default(),
            outputs: VecDeque::new(),
            begun: false,
            running: Machine::Shared,
            faults: VecDeque::new(),
            fault_count: 0,
            asked: 0,
            #[cfg(test)]
            trip: None,
            clock: NetworkClock::new(config.small_network),
            system: now,
            now,
            rng,
            keys,
            config,
        };
        router.links.set_limits(now, router.config.limits);
        if !router.config.udp.is_empty() {
            router.links.enable_udp(UdpConfig {
                sockets: router.config.udp.clone(),
                static_key: router.keys.ssu2_key(),
                intro_key: router.keys.ssu2_intro(),
                signing: Arc::new(router.keys.signing.clone()),
            });
        }
        router.begin();
        router
    }

    /// When sockets may be read again, while they must not be: more has come than the limit allows. To be asked after
    /// every input of bytes.
    pub fn reads_at(&mut self) -> Option<Instant> {
        self.links.reads_at(self.now)
    }

    fn begin(&mut self) {
        self.tell_own_address();
        self.note_publishable();
        self.update_floodfill();
        self.sign_own_info();
        self.timers.set(Timer::Sweep, self.now.mono + SWEEP);
        self.begin_hops();
    }

    /// Begins to be known, as soon as routers are: the first few are dialled, so that hops next to us have our
    /// RouterInfo before any floodfill has it. Tunnels follow when the first sessions stand.
    pub(super) fn begin_with_routers(&mut self, routers: usize) {
        if self.begun || self.own_info.is_none() || self.store.is_empty() {
            return;
        }
        if self.store.len() < routers {
            return self.timers.set_sooner(Timer::Begin, self.now.mono + BEGIN_AFTER);
        }
        self.timers.cancel(&Timer::Begin);
        self.begun = true;
        let mut seen = BTreeSet::new();
        let first: Vec<Arc<RouterInfo>> = (0..FIRST_DIALS * 4)
            .filter_map(|_| self.store.random(&mut self.rng).cloned())
            .filter(|info| self.links.can_dial(info) && seen.insert(info.hash()))
            .take(FIRST_DIALS)
            .collect();
        for info in first {
            self.links.dial(self.now, &info);
        }
        self.publisher.handle_changed(self.now);
        self.timers.set(Timer::Tunnels, self.now.mono + TUNNELS_AFTER);
    }

    /// Begins to build tunnels.
    fn begin_tunnels(&mut self) {
        self.timers.cancel(&Timer::Tunnels);
        // The limits of a pool are checked where the configuration is read, and a pool that exists stays.
        let _ = self.tunnels.create_pool(self.now, PoolId::EXPLORATORY, self.config.exploratory);
    }

    /// Our identity hash.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// Takes one input; `system` is the system's clock. Then drain [`Router::poll_output`].
    pub fn handle_input(&mut self, system: Now, input: Input<'_>) {
        self.system = system;
        let stepped = self.clock.observe(system);
        self.now = self.clock.correct(system);
        if stepped {
            self.event(Event::ClockCorrected { offset_ms: self.clock.offset_ms() });
        }
        let now = self.now;
        self.runs(machine_of(&input));
        self.held = matches!(input, Input::TcpData { more: true, .. } | Input::Udp { more: true, .. });
        match input {
            Input::TcpOpened { conn, room } => self.links.handle_opened(now, conn, room),
            Input::TcpAccepted { conn, addr, room } => self.links.handle_accepted(now, conn, addr, room),
            Input::TcpData { conn, bytes, .. } => self.links.handle_data(now, conn, bytes),
            Input::TcpWritable { conn, bytes } => self.links.handle_writable(conn, bytes),
            Input::TcpClosed { conn } => self.links.handle_closed(now, conn),
            Input::Udp { from, segment, bytes, congested, .. } => {
                self.links.handle_udp(now, from, segment, bytes, congested);
            }
            Input::UdpBlocked { socket, blocked } => self.links.handle_udp_blocked(socket, blocked),
            Input::JobDone(done) => self.handle_job(done),
            Input::RouterInfo(info) => {
                // What a file or a reseed holds and breaks the rules is dropped one by one.
                let _ = self.store.offer(now, Arc::from(info), Source::Local);
            }
            Input::StoredRouterInfo(info) => {
                let _ = self.store.offer(now, Arc::from(info), Source::Disk);
            }
            Input::Profiles(saved) => drop(self.profiles.load(now, saved)),
            Input::Mapped(mapped) => self.handle_mapped(mapped),
            Input::TimeFloor(unix_ms) => self.raise_floor(unix_ms),
            Input::Entropy(entropy) => self.rng.feed(&entropy),
            Input::Command(command) => self.handle_command(command),
            Input::Timeout => {}
        }
        self.handle_timeouts();
        self.runs(Machine::Shared);
    }

    /// The next thing to do outside. Ends with [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        if self.outputs.is_empty() {
            self.turn();
        }
        match self.outputs.pop_front() {
            Some(output) => output,
            None => Output::Timeout(self.next_timeout()),
        }
    }

    /// Carries what the machines say to where it belongs, until all are quiet.
    fn turn(&mut self) {
        loop {
            self.runs(Machine::Links);
            if let Some(event) = self.links.poll_happened() {
                self.handle_link(event);
                continue;
            }
            self.runs(Machine::Shared);
            if let Some(event) = self.store.poll_event() {
                self.handle_store_event(event);
            } else if let Some(event) = self.floodfill.as_mut().and_then(Floodfill::poll_event) {
                self.handle_floodfill(event);
            } else if let Some(event) = self.lookups.poll_event() {
                self.handle_lookup(None, event);
            } else if let Some(event) = self.publisher.poll_event() {
                self.handle_publisher(event);
            } else if self.drain_reach() {
                continue;
            } else if let Some(id) = self.dirty.pop_first() {
                self.drain_local(id);
            } else {
                // Late, since it ends the turn of the tunnels: what shares a tunnel message is together by now.
                self.runs(Machine::Tunnels);
                let event = self.tunnels.poll_event();
                self.runs(Machine::Shared);
                if let Some(event) = event {
                    self.handle_tunnels(event);
                    continue;
                }
                // Last: what goes to one peer shares a frame, with that of the next input too when it follows at once.
                if self.held {
                    return;
                }
                self.runs(Machine::Links);
                match self.links.poll_event(self.now) {
                    Some(event) => self.handle_link(event),
                    None => return,
                }
            }
        }
    }

    fn next_timeout(&self) -> Instant {
        [
            self.links.next_timeout(),
            self.lookups.next_timeout(),
            self.publisher.next_timeout().filter(|_| !self.config.hidden),
            Some(self.explorer.next_timeout()),
            self.tunnels.next_timeout(),
            Some(self.reach.next_timeout()),
            self.tests.next_timeout(),
            self.timers.next(),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Instant::FAR)
    }

    fn handle_timeouts(&mut self) {
        let now = self.now;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.mono);
        self.runs(Machine::Links);
        if due(self.links.next_timeout()) {
            self.links.handle_timeout(now);
        }
        self.runs(Machine::Shared);
        if due(self.lookups.next_timeout()) {
            self.lookups.handle_timeout(now, &self.store);
        }
        // Who hides is told to no floodfill.
        if !self.config.hidden && due(self.publisher.next_timeout()) {
            self.publisher.handle_timeout(now, &self.store);
        }
        if let Some(key) = self.explorer.handle_timeout(now, &self.store) {
            self.explore(key);
        }
        if due(self.tunnels.next_timeout()) {
            self.tunnels.handle_timeout(now);
        }
        self.reach.handle_timeout(now);
        self.tests.handle_timeout(now);
        while let Some(timer) = self.timers.pop_due(now.mono) {
            self.runs(Machine::Shared);
            match timer {
                Timer::Local(id) => self.handle_local_timeout(id),
                Timer::Close(id) => self.finish_local(id),
                Timer::Stop => self.finish(),
                Timer::Begin => self.begin_with_routers(1),
                Timer::Tunnels => self.begin_tunnels(),
                Timer::OwnInfo => self.sign_own_info(),
                Timer::Sweep => self.sweep(),
                Timer::TendGuards => self.tend_guards(),
                Timer::SaveProfiles => self.save_profiles(),
            }
        }
    }

    fn handle_job(&mut self, done: JobDone) {
        let now = self.now;
        match done {
            JobDone::Link(done) => self.links.handle_job(now, done),
            JobDone::Tunnel(done) => self.tunnels.handle_job(now, done),
            JobDone::VerifyRouter(done) => self.store.handle_job(now, done),
            JobDone::VerifyStored(done) => self.stored_verified(done),
            JobDone::SignInfo(info) => self.own_info_signed(info),
            JobDone::PeerTest(done) => self.test_job_done(&done),
            JobDone::SealToRouter { token, body } => self.sealed(token, body),
            JobDone::OpenAtRouter { from, payload } => self.opened_at_router(from, payload),
            JobDone::Destination(id, done) => self.local_job(id, |local, now| local.destination_done(now, done)),
            JobDone::Stream(id, done) => self.local_job(id, |local, now| local.stream_done(now, done)),
            JobDone::VerifyLeaseSet { destination, key, set } => self.lease_set_verified(destination, key, set),
            JobDone::Failed(name) => self.job_failed(name),
        }
    }

    fn job(&mut self, job: Job) {
        self.outputs.push_back(Output::Job(job));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }
}

/// What runs while an input is taken in.
fn machine_of(input: &Input<'_>) -> Machine {
    match input {
        Input::TcpOpened { conn, .. }
        | Input::TcpAccepted { conn, .. }
        | Input::TcpData { conn, .. }
        | Input::TcpWritable { conn, .. }
        | Input::TcpClosed { conn } => Machine::Connection(*conn),
        Input::JobDone(JobDone::Link(done)) => Machine::Connection(done.conn),
        Input::JobDone(JobDone::Destination(id, _)) => Machine::Sessions(*id),
        Input::JobDone(JobDone::Stream(id, _)) => Machine::Streams(*id),
        Input::JobDone(
            JobDone::SignInfo(_) | JobDone::VerifyRouter(_) | JobDone::VerifyStored(_) | JobDone::VerifyLeaseSet { .. },
        ) => Machine::Shared,
        Input::JobDone(_) | Input::RouterInfo(_) | Input::StoredRouterInfo(_) => Machine::Item,
        Input::Command(
            Command::StreamSend { stream, .. }
            | Command::StreamShutdown(stream)
            | Command::StreamReset(stream)
            | Command::StreamRelease(stream)
            | Command::StreamCredit { stream, .. },
        ) => Machine::Streams(stream.destination),
        Input::Command(_)
        | Input::Profiles(_)
        | Input::Mapped(_)
        | Input::TimeFloor(_)
        | Input::Entropy(_)
        | Input::UdpBlocked { .. }
        | Input::Timeout => Machine::Shared,
        // The session whose packet it is, if it is one's.
        Input::Udp { .. } => Machine::Links,
    }
}

#[cfg(test)]
mod tests;
