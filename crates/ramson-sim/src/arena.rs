//! A scenario as a world that runs: its routers, its adversaries, and what programs do there.

use crate::churn;
use crate::geo::{self, Region};
use crate::invariants::Invariants;
use crate::link::{Access, Link, NodeId};
use crate::net::{Net, Settings, Transport};
use crate::node::Place;
use crate::outcome::{LookUp, Outcome, Passage, Sample};
use crate::role::Role;
use crate::scenario::{Deed, Happening, Kind, Scenario};
use crate::transfer::{End, Progress, Transfer};
use ramson_core::keys::RouterKeys;
use ramson_core::netdb::FloodfillMode;
use ramson_core::netdb::routing_key::Day;
use ramson_core::rng::Rng;
use ramson_core::router::{Command, Config, DestinationId, Event, LocalOptions};
use ramson_core::time::{Duration, Instant};
use ramson_core::tunnel::{Direction, PoolConfig, Stats, Wanted};
use ramson_wire::data::{Hash, PrivateKeys};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const DAY_MS: u64 = 86_400_000;
/// What waits in the agenda of a world without anything to do.
const TICK: Duration = Duration::from_secs(60);
/// A limited pace is looked after this often.
const PACE_TICK: Duration = Duration::from_millis(500);
/// So is a destination whose router was restarted.
const READY_TICK: Duration = Duration::from_secs(5);
/// A transfer that is not over by then has failed.
const PATIENCE: Duration = Duration::from_mins(10);
/// A stall counts that begins this long after the event.
const AFTERMATH: Duration = Duration::from_mins(1);

/// Runs a scenario once.
pub fn run(scenario: &Scenario, seed: u64) -> Outcome {
    run_with(scenario, seed, &mut |_| 0)
}

/// Runs a scenario once, and asks at its end, while all is there, for the bytes of memory in use.
pub fn run_with(scenario: &Scenario, seed: u64, bytes: &mut dyn FnMut(&Net) -> u64) -> Outcome {
    let mut arena = Arena::new(scenario, seed);
    arena.run();
    arena.outcome.bytes = bytes(&arena.net);
    arena.close()
}

/// A destination, and the program that uses it.
struct Client {
    end: End,
    hash: Hash,
    keys: PrivateKeys,
    /// To the next destination.
    transfer: Option<(Transfer, Passage, Instant)>,
    /// Restarted then, and not ready yet.
    restarted: Option<Instant>,
}

/// What happens at a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Sample,
    Pace,
    Join(NodeId),
    Leave(NodeId),
    Return(NodeId),
    Happen(usize),
    LookUp,
    Transfer(usize),
    /// Whether who was restarted is ready.
    Ready,
}

struct Arena<'a> {
    scenario: &'a Scenario,
    net: Net,
    rng: Rng,
    honest: Vec<NodeId>,
    floodfills: Vec<NodeId>,
    hostile: BTreeSet<Hash>,
    by_hash: BTreeMap<Hash, NodeId>,
    kinds: BTreeMap<NodeId, Kind>,
    clients: Vec<Client>,
    by_node: BTreeMap<NodeId, usize>,
    agenda: BTreeSet<(Instant, Due)>,
    asked: BTreeMap<u64, Instant>,
    next_token: u64,
    last: BTreeMap<NodeId, Stats>,
    seen: BTreeSet<(NodeId, Direction, Vec<Hash>)>,
    invariants: Invariants,
    outcome: Outcome,
}

impl<'a> Arena<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let mut settings = Settings { seed, spread: true, ..Settings::default() };
        settings.link = match scenario.world.regions {
            true => Link { rate: 0, ..Link::default() },
            false => Link::default(),
        };
        settings.link.loss = scenario.world.loss;
        if !scenario.world.translators.is_empty() {
            settings.transport = Transport::Udp;
        }
        if let Some(minute) = scenario.world.starts_at {
            settings.start_unix_ms = settings.start_unix_ms / DAY_MS * DAY_MS + minute * 60_000;
        }
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[31] = 1;
        let mut arena = Self {
            scenario,
            net: Net::new(settings),
            rng: Rng::from_seed(bytes),
            honest: Vec::new(),
            floodfills: Vec::new(),
            hostile: BTreeSet::new(),
            by_hash: BTreeMap::new(),
            kinds: BTreeMap::new(),
            clients: Vec::new(),
            by_node: BTreeMap::new(),
            agenda: BTreeSet::new(),
            asked: BTreeMap::new(),
            next_token: 1,
            last: BTreeMap::new(),
            seen: BTreeSet::new(),
            invariants: Invariants::default(),
            outcome: Outcome { seed, ..Outcome::default() },
        };
        arena.add_honest();
        arena.make_clients();
        arena.add_hostile();
        arena.introduce();
        arena.start_clients();
        arena.plan();
        arena
    }

    fn at(minutes: f64) -> Instant {
        Instant::ZERO + Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(Duration::MAX)
    }

    // ---- the people ----

    fn add_honest(&mut self) {
        let world = &self.scenario.world;
        for n in 0..world.routers {
            let serves = n < world.floodfills;
            let firewalled = !serves && self.rng.unit() < world.firewalled;
            let wanted = Wanted { length: world.hops, quantity: world.tunnels };
            let change = |config: &mut Config| {
                config.small_network = world.routers < 20;
                config.exploratory = PoolConfig { inbound: wanted, outbound: wanted };
                config.floodfill = if serves { FloodfillMode::Yes } else { FloodfillMode::No };
                config.publishable = !firewalled;
                if firewalled {
                    config.listen.clear();
                }
            };
            let id = self.net.add_router_with(0, change);
            // Nobody is dialled over TCP where all is UDP.
            let translator = self.rng.pick(&world.translators).copied();
            if let (true, Some(translator)) = (firewalled, translator) {
                self.net.set_nat(id, Some(translator.kind()));
            }
            let firewalled = firewalled || translator.is_some();
            if world.regions {
                let region = Some(Region::draw(&mut self.rng));
                let line = geo::weighted(&mut self.rng, geo::LINES.into_iter().map(|(u, d, n)| ((u, d), n)));
                let (up, down) = line.unwrap_or_default();
                self.net.set_place(id, Place { region, access: Access { up, down }, firewalled });
            } else {
                self.net.set_place(id, Place { firewalled, ..Place::default() });
            }
            self.by_hash.insert(self.net.hash(id), id);
            self.honest.push(id);
            if serves {
                self.floodfills.push(id);
            }
        }
    }

    fn make_clients(&mut self) {
        let homes: Vec<NodeId> = self.honest.iter().copied().filter(|id| !self.floodfills.contains(id)).collect();
        for (n, node) in homes.into_iter().take(self.scenario.clients.count).enumerate() {
            let keys = PrivateKeys::random(&mut self.rng.child("destination"));
            let end = End { node, destination: DestinationId(n as u64 + 1) };
            let hash = keys.destination().hash();
            self.by_node.insert(node, n);
            self.clients.push(Client { end, hash, keys, transfer: None, restarted: None });
        }
    }

    fn add_hostile(&mut self) {
        let scenario = self.scenario;
        let liars_last = |kind: Kind| kind == Kind::Lying;
        let mut infos = Vec::new();
        let mut order: Vec<_> = scenario.adversaries.iter().collect();
        order.sort_by_key(|adversary| liars_last(adversary.kind));
        for adversary in order {
            for n in 0..adversary.count {
                let own = || Arc::new(self.hostile.clone());
                let role = match adversary.kind {
                    Kind::Silent => Role::Silent,
                    Kind::Dropping => Role::Dropping,
                    Kind::Lying => Role::Lying(Arc::new(Vec::clone(&infos))),
                    Kind::Flooding => Role::Flooding(adversary.rate),
                    Kind::Observing => Role::Observing,
                    Kind::Failing => Role::Failing(adversary.share, own()),
                };
                let id = match adversary.near.and_then(|client| self.clients.get(client)) {
                    None => self.net.add_adversary(role),
                    Some(client) => {
                        let target = Day::of(self.net.unix_ms()).routing_key(&client.hash);
                        self.net.add_sybil(role, &target, adversary.identities)
                    }
                };
                if self.scenario.world.regions {
                    let region = Some(Region::draw(&mut self.rng));
                    self.net.set_place(id, Place { region, ..Place::default() });
                }
                self.kinds.insert(id, adversary.kind);
                infos.push(self.net.info(id));
                self.hostile.insert(self.net.hash(id));
                self.by_hash.insert(self.net.hash(id), id);
                let [from, to] = adversary.joins.unwrap_or_default();
                let minutes = from + (to - from) * (n as f64 + 0.5) / adversary.count as f64;
                self.agenda.insert((Self::at(minutes), Due::Join(id)));
            }
        }
    }

    /// Everybody honest knows everybody honest, those of the adversaries that are there from the start, and the dead.
    fn introduce(&mut self) {
        let mut known = self.honest.clone();
        let early: Vec<NodeId> = (self.agenda.iter())
            .filter_map(|(at, due)| if let Due::Join(id) = due { Some((*at, *id)) } else { None })
            .filter(|(at, _)| *at == Instant::ZERO)
            .map(|(_, id)| id)
            .collect();
        known.extend(early);
        let dead: Vec<_> = (0..self.scenario.world.dead)
            .map(|n| {
                let keys = RouterKeys::generate(&mut self.rng.child("dead"));
                self.net.info_of_nobody(&keys, n)
            })
            .collect();
        for id in self.honest.clone() {
            for other in known.iter().filter(|other| **other != id) {
                self.net.introduce(*other, id);
            }
            for info in &dead {
                self.net.give_info(id, info);
            }
        }
    }

    fn start_clients(&mut self) {
        for n in 0..self.clients.len() {
            self.create(n);
        }
    }

    fn create(&mut self, n: usize) {
        let spec = &self.scenario.clients;
        let client = &self.clients[n];
        let wanted = Wanted { length: spec.hops, quantity: spec.tunnels };
        let tunnels = PoolConfig { inbound: wanted, outbound: wanted };
        let options = Box::new(LocalOptions {
            keys: client.keys.clone(),
            publish: true,
            tunnels,
            compress: false,
            extra_hops: (0, 0),
        });
        let (node, id) = (client.end.node, client.end.destination);
        self.net.command(node, Command::CreateDestination { id, options });
        self.net.command(node, Command::Listen { destination: id, port: None });
    }

    fn plan(&mut self) {
        let scenario = self.scenario;
        self.agenda.insert((Instant::ZERO + TICK, Due::Sample));
        for (n, event) in scenario.events.iter().enumerate() {
            self.agenda.insert((Self::at(event.at), Due::Happen(n)));
        }
        let clients = &scenario.clients;
        if clients.look_up_every > 0.0 && self.clients.len() > 1 {
            self.agenda.insert((Self::at(clients.from), Due::LookUp));
        }
        if clients.bytes > 0 && self.clients.len() > 1 {
            for n in 0..self.clients.len() {
                self.agenda.insert((Self::at(clients.from), Due::Transfer(n)));
            }
            if clients.pace > 0 {
                self.agenda.insert((Self::at(clients.from), Due::Pace));
            }
        }
        if scenario.world.churn > 0.0 {
            // Destinations stay, so that what fails does not fail for want of an end.
            let come_and_go: Vec<_> = self.honest.iter().copied().filter(|id| !self.by_node.contains_key(id)).collect();
            for id in come_and_go {
                let at = Instant::ZERO + churn::rest(scenario.world.churn, &mut self.rng);
                self.agenda.insert((at, Due::Leave(id)));
            }
        }
    }

    // ---- time ----

    fn run(&mut self) {
        let end = Self::at(self.scenario.minutes);
        while let Some((at, due)) = self.agenda.pop_first() {
            if at > end {
                break;
            }
            while self.net.step(at) {
                self.hear();
            }
            self.act(due);
            self.hear();
        }
        while self.net.step(end) {
            self.hear();
        }
        for n in 0..self.clients.len() {
            if let Some((_, passage, _)) = self.clients[n].transfer.take() {
                self.finish(passage, false);
            }
        }
    }

    fn close(mut self) -> Outcome {
        let open = self.clients.iter().filter(|client| client.restarted.is_some()).count();
        self.outcome.ready.extend(std::iter::repeat_n(None, open));
        self.outcome.trace = self.net.trace().clone();
        self.outcome.routers = self.honest.len();
        self.outcome.hostile = self.hostile.len();
        self.outcome.violations = self.invariants.take();
        self.outcome.sent = (0..self.net.nodes()).map(|n| self.net.sent_bytes(NodeId(n))).sum();
        self.outcome
    }

    fn act(&mut self, due: Due) {
        let now = self.net.now();
        match due {
            Due::Sample => {
                self.sample();
                self.agenda.insert((now + TICK, Due::Sample));
            }
            Due::Pace => {
                for n in 0..self.clients.len() {
                    if let Some((transfer, ..)) = &mut self.clients[n].transfer {
                        transfer.write_more(&mut self.net);
                    }
                }
                self.agenda.insert((now + PACE_TICK, Due::Pace));
            }
            Due::Join(id) => {
                self.net.refresh(id);
                // Who serves as a hop must find the next one.
                let known = match self.kinds.get(&id) {
                    Some(Kind::Flooding) => self.honest.clone(),
                    Some(Kind::Dropping | Kind::Observing | Kind::Failing) => {
                        self.honest.iter().chain(self.kinds.keys()).copied().collect()
                    }
                    Some(Kind::Silent | Kind::Lying) | None => self.floodfills.clone(),
                };
                self.net.join(id, &known);
            }
            Due::Leave(id) => {
                if self.net.is_up(id) {
                    self.kill(id);
                }
                let at = now + churn::absence(self.scenario.world.churn, &mut self.rng);
                self.agenda.insert((at, Due::Return(id)));
            }
            Due::Return(id) => {
                if !self.net.is_up(id) {
                    self.net.start(id);
                }
                let at = now + churn::session(self.scenario.world.churn, &mut self.rng);
                self.agenda.insert((at, Due::Leave(id)));
            }
            Due::Happen(n) => {
                if let Some(event) = self.scenario.events.get(n) {
                    self.happen(event);
                }
            }
            Due::Ready => {
                self.sample_clients();
                if self.clients.iter().any(|client| client.restarted.is_some()) {
                    self.agenda.insert((now + READY_TICK, Due::Ready));
                }
            }
            Due::LookUp => self.look_up(),
            Due::Transfer(n) => self.begin(n),
        }
    }

    fn happen(&mut self, event: &Happening) {
        let mut victims: Vec<NodeId> =
            (self.honest.iter()).copied().filter(|id| !self.by_node.contains_key(id) && self.net.is_up(*id)).collect();
        let count = (self.honest.len() as f64 * event.share).round() as usize;
        match event.what {
            Deed::Restart => {
                let node = self.clients[event.client].end.node;
                self.kill(node);
                self.net.start(node);
                self.clients[event.client].restarted = Some(self.net.now());
                self.create(event.client);
                self.agenda.insert((self.net.now() + READY_TICK, Due::Ready));
                return;
            }
            Deed::Kill => self.rng.shuffle(&mut victims),
            Deed::KillMostUsed => {
                victims.sort_by_key(|id| std::cmp::Reverse(self.net.snapshot(*id).tunnels.transit_tunnels));
            }
        }
        victims.truncate(count);
        victims.into_iter().for_each(|id| self.kill(id));
    }

    /// Kills a router, whose counts begin anew when it comes back.
    fn kill(&mut self, id: NodeId) {
        self.net.kill(id);
        self.last.remove(&id);
    }

    // ---- the programs ----

    fn look_up(&mut self) {
        let spec = &self.scenario.clients;
        let now = self.net.now();
        let pause = Duration::from_secs_f64(spec.look_up_every.max(0.001));
        self.agenda.insert((now + pause, Due::LookUp));
        let who = self.rng.below(self.clients.len());
        let whom = spec.look_up_only.unwrap_or_else(|| self.rng.below(self.clients.len()));
        if who == whom || !self.net.is_up(self.clients[who].end.node) {
            return;
        }
        let token = self.next_token << 32;
        self.next_token += 1;
        self.asked.insert(token, now);
        let (end, hash) = (self.clients[who].end, self.clients[whom].hash);
        self.net.command(end.node, Command::Lookup { destination: end.destination, token, hash });
    }

    fn begin(&mut self, n: usize) {
        let now = self.net.now();
        let spec = &self.scenario.clients;
        let next = (n + 1) % self.clients.len();
        let (client, server, to) = (self.clients[n].end, self.clients[next].end, self.clients[next].hash);
        if !self.net.is_up(client.node) || !self.net.is_up(server.node) {
            self.again(n);
            return;
        }
        let transfer = Transfer::open(&mut self.net, client, server, to, spec.bytes, spec.pace);
        let passage = Passage {
            started: now,
            opened: None,
            ended: now,
            whole: false,
            fair: true,
            bytes: spec.bytes,
            stall: None,
        };
        self.clients[n].transfer = Some((transfer, passage, now));
    }

    fn again(&mut self, n: usize) {
        let pause = Duration::from_secs_f64(self.scenario.clients.pause.clamp(1.0, 1e6));
        self.agenda.insert((self.net.now() + pause, Due::Transfer(n)));
    }

    fn finish(&mut self, mut passage: Passage, whole: bool) {
        (passage.ended, passage.whole) = (self.net.now(), whole);
        self.outcome.transfers.push(passage);
    }

    /// Hands what the routers have told to whom it concerns.
    fn hear(&mut self) {
        for node in self.net.take_told() {
            for (at, event) in self.net.take_events(node) {
                if let Event::LookedUp { token, destination, .. } = &event
                    && let Some(asked) = self.asked.remove(token)
                {
                    let found = destination.is_some();
                    self.outcome.look_ups.push(LookUp { at: asked, took: at.since(asked), found });
                }
                if let Some(n) = self.by_node.get(&node).copied() {
                    let before = (n + self.clients.len() - 1) % self.clients.len();
                    self.tell(n, node, &event);
                    if before != n {
                        self.tell(before, node, &event);
                    }
                }
            }
        }
    }

    fn tell(&mut self, n: usize, node: NodeId, event: &Event) {
        let now = self.net.now();
        let Some((mut transfer, mut passage, mut heard)) = self.clients[n].transfer.take() else { return };
        let before = transfer.received();
        transfer.handle(&mut self.net, node, event);
        if passage.opened.is_none() && transfer.progress() == Progress::Running {
            passage.opened = Some(now);
        }
        if transfer.received() != before {
            self.note_stall(&mut passage, heard, now);
            heard = now;
        }
        if transfer.is_over() {
            let whole = transfer.progress() == Progress::Done;
            if !whole {
                self.note_stall(&mut passage, heard, now);
            }
            self.finish(passage, whole);
            self.again(n);
            return;
        }
        self.clients[n].transfer = Some((transfer, passage, heard));
    }

    /// A silence around the first event, or shortly after it.
    fn note_stall(&self, passage: &mut Passage, from: Instant, to: Instant) {
        let Some(event) = self.scenario.events.first().map(|event| Self::at(event.at)) else { return };
        if passage.started < event && to > event && from < event + AFTERMATH {
            let silence = to.since(from.max(event));
            passage.stall = Some(passage.stall.map_or(silence, |stall| stall.max(silence)));
        }
    }

    // ---- what is seen ----

    fn sample(&mut self) {
        let now = self.net.now();
        let mut sample = Sample { minute: now.as_micros() as f64 / 60e6, ..Sample::default() };
        for id in self.honest.clone() {
            if self.net.is_up(id) {
                self.sample_router(id, &mut sample);
            }
        }
        let up = sample.up.max(1) as f64;
        sample.known /= up;
        sample.known_hostile /= up;
        sample.known_floodfills /= up;
        self.outcome.samples.push(sample);
        self.overdue();
    }

    fn sample_router(&mut self, id: NodeId, sample: &mut Sample) {
        self.invariants.router(&self.net, id);
        let snapshot = self.net.snapshot(id);
        let stats = snapshot.tunnels;
        let last = self.last.insert(id, stats).unwrap_or_default();
        sample.up += 1;
        sample.built += stats.built - last.built;
        sample.declined += stats.declined - last.declined;
        sample.timed_out += stats.timed_out - last.timed_out;
        sample.starved += stats.starved - last.starved;
        sample.known += snapshot.routers as f64;
        sample.known_floodfills += snapshot.floodfills as f64;
        sample.lease_sets += snapshot.lease_sets;
        if !self.hostile.is_empty() {
            let known = self.net.router(id).known_routers().filter(|info| self.hostile.contains(&info.hash()));
            sample.known_hostile += known.count() as f64;
        }
        sample.destinations += snapshot.locals.len();
        sample.published += snapshot.locals.iter().filter(|local| local.published).count();
        let world = &self.scenario.world;
        let mut pools = vec![(None, world.hops)];
        pools.extend(snapshot.locals.iter().map(|local| (Some(local.id), self.scenario.clients.hops)));
        for (pool, length) in pools {
            for (direction, hops) in self.net.router(id).paths(pool) {
                self.invariants.path(&self.net, &self.by_hash, id, &hops, length);
                self.count(id, direction, hops, sample);
            }
        }
    }

    fn count(&mut self, id: NodeId, direction: Direction, hops: Vec<Hash>, sample: &mut Sample) {
        if !self.seen.insert((id, direction, hops.clone())) {
            return;
        }
        let is_hostile = |hash: &Hash| self.hostile.contains(hash);
        sample.tunnels += 1;
        sample.hops += hops.len() as u64;
        sample.hostile_hops += hops.iter().filter(|hash| is_hostile(hash)).count() as u64;
        let ends = hops.len() > 1 && hops.first().is_some_and(is_hostile) && hops.last().is_some_and(is_hostile);
        sample.hostile_ends += u64::from(ends);
        for hash in &hops {
            if let Some(node) = self.by_hash.get(hash).filter(|_| !self.hostile.contains(hash)) {
                *self.outcome.hops.entry(*node).or_default() += 1;
            }
        }
    }

    fn sample_clients(&mut self) {
        let now = self.net.now();
        for client in &mut self.clients {
            let Some(since) = client.restarted else { continue };
            if !self.net.is_up(client.end.node) {
                continue;
            }
            let locals = self.net.snapshot(client.end.node).locals;
            let ready = locals.iter().find(|local| local.id == client.end.destination).is_some_and(|local| {
                local.pool.inbound >= local.pool.inbound_wanted && local.pool.outbound >= local.pool.outbound_wanted
            });
            if ready {
                client.restarted = None;
                self.outcome.ready.push(Some(now.since(since)));
            }
        }
    }

    /// Ends transfers that take too long.
    fn overdue(&mut self) {
        let now = self.net.now();
        for n in 0..self.clients.len() {
            let late = |(_, passage, _): &(Transfer, Passage, Instant)| now.since(passage.started) > PATIENCE;
            if self.clients[n].transfer.as_ref().is_some_and(late)
                && let Some((_, mut passage, heard)) = self.clients[n].transfer.take()
            {
                self.note_stall(&mut passage, heard, now);
                self.finish(passage, false);
                self.again(n);
            }
        }
    }
}
