//! The plane: pools, own tunnels by id, builds in progress, and the table of foreign tunnels.

mod builds;
#[cfg(any(test, fuzzing, feature = "checks"))]
mod check;
mod choice;
mod ways;
mod widen;

use super::build::{CreateJob, Pending, Plan, unwrap_once};
use super::own::{Inbound, Own};
use super::pool::{BuildBudget, Pool};
use super::tester::Tester;
use super::transit::{Action, Transit};
use super::{
    Answer, BuildId, Congestion, Direction, Event, Hop, PoolConfig, PoolError, PoolId, SendError, StaticKey, Target,
    TransitError, TransitRules, TransitStats, TunnelDone, TunnelId, TunnelJob,
};
use crate::limits::tunnel as limits;
use crate::link::{Class, Prefix};
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::codec::Decode;
use ramson_wire::data::Hash;
use ramson_wire::garlic;
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Kind, Message, tunnel_data};
use std::collections::{BTreeMap, VecDeque};

/// Pools are looked at this often, and at once when something changed.
const TICK: Duration = Duration::from_secs(1);

/// What the tunnels need to know about the router.
pub struct TunnelConfig {
    /// Our identity hash.
    pub own: Hash,
    pub key: StaticKey,
    pub transit: TransitRules,
}

/// An own outbound tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// The name of the tunnel here.
    pub tunnel: TunnelId,
    pub expires_unix_ms: u64,
    /// Ourselves in a tunnel of no hops.
    pub last_hop: Hash,
    /// Time of a test through this tunnel and back.
    pub rtt: Option<Duration>,
    /// Kilobytes a second that hops have promised, where they were asked.
    pub granted: Option<u32>,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Builds that were started.
    pub started: u64,
    pub built: u64,
    pub declined: u64,
    pub timed_out: u64,
    /// Replies that a hop had changed.
    pub tampered: u64,
    /// Builds for which there were no hops.
    pub starved: u64,
    pub tests_passed: u64,
    pub tests_failed: u64,
    /// Messages for own tunnels that were dropped.
    pub dropped: u64,
    pub transit: TransitStats,
    pub transit_tunnels: usize,
}

/// How a build's message travels, or its reply.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// By an own tunnel of this name.
    Tunnel(TunnelId),
    /// From us to the first hop, or from the last hop to us.
    Direct,
}

struct Build {
    pool: PoolId,
    direction: Direction,
    length: usize,
    way: Way,
    started: Now,
    plan: Option<Plan>,
    pending: Option<Pending>,
    /// Its hops have not answered for so long that they come last.
    blamed: bool,
}

impl Build {
    /// The hop next to us.
    fn nearest(&self) -> Option<Hash> {
        let hops = &self.plan.as_ref()?.hops;
        let hop = match self.direction {
            Direction::Inbound => hops.last(),
            Direction::Outbound => hops.first(),
        };
        hop.map(|hop| hop.hash)
    }
}

/// The plane of tunnels.
pub struct Tunnels {
    own: Hash,
    rng: Rng,
    pools: BTreeMap<PoolId, Pool>,
    /// By the id under which we receive; outbound ones by a name of the same kind.
    tunnels: BTreeMap<TunnelId, Own>,
    builds: BTreeMap<BuildId, Build>,
    next_build: u64,
    budget: BuildBudget,
    transit: Transit,
    tester: Tester,
    /// Outbound tunnels in which something waits.
    dirty: Vec<TunnelId>,
    /// The tunnel, ours or another's, that is being worked on.
    working: Option<TunnelId>,
    events: VecDeque<Event>,
    /// Room for what one message causes, kept between messages.
    actions: Vec<Action>,
    tick: Instant,
    /// The latest time that was seen, for the end of a turn.
    now: Now,
    stats: Stats,
}

impl Tunnels {
    pub fn new(now: Now, config: TunnelConfig, rng: &mut Rng) -> Self {
        let mut rng = rng.child("tunnels");
        Self {
            own: config.own,
            pools: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            builds: BTreeMap::new(),
            next_build: 0,
            budget: BuildBudget::default(),
            transit: Transit::new(now, config.own, config.key, config.transit, &mut rng),
            tester: Tester::default(),
            dirty: Vec::new(),
            working: None,
            events: VecDeque::new(),
            actions: Vec::new(),
            tick: Instant::FAR,
            now,
            stats: Stats::default(),
            rng,
        }
    }

    /// Begins a pool; its first builds start at the next `handle_timeout`, which is due at once.
    pub fn create_pool(&mut self, now: Now, id: PoolId, config: PoolConfig) -> Result<(), PoolError> {
        if self.pools.contains_key(&id) {
            return Err(PoolError::Exists);
        }
        // The router's own pool has its place, so that destinations that come first cannot take it.
        if id != PoolId::EXPLORATORY && self.destinations() >= limits::POOLS {
            return Err(PoolError::TooMany);
        }
        let pool = Pool::new(config, &mut self.rng.child("pool"))?;
        self.pools.insert(id, pool);
        self.tick = now.mono;
        Ok(())
    }

    /// How many pools are of destinations.
    pub(super) fn destinations(&self) -> usize {
        self.pools.len() - usize::from(self.pools.contains_key(&PoolId::EXPLORATORY))
    }

    /// Lets the tunnels of a pool have up to so many more hops, inbound and outbound; each draws its length.
    pub fn vary_lengths(&mut self, id: PoolId, extra: (usize, usize)) -> Result<(), PoolError> {
        let Some(pool) = self.pools.get_mut(&id) else { return Ok(()) };
        let too_long = |least: usize, extra: usize| least.saturating_add(extra) > limits::HOPS;
        if too_long(pool.config.inbound.length, extra.0) || too_long(pool.config.outbound.length, extra.1) {
            return Err(PoolError::TooLarge);
        }
        pool.extra = extra;
        Ok(())
    }

    /// Changes what a pool wants. Tunnels that stand are kept to their end, but those of fewer hops than are wanted now
    /// end at once, and so do their builds.
    pub fn configure_pool(
        &mut self,
        now: Now,
        id: PoolId,
        config: PoolConfig,
        extra: (usize, usize),
    ) -> Result<(), PoolError> {
        self.now = now;
        self.pools.get_mut(&id).ok_or(PoolError::Missing)?.configure(config, extra)?;
        let least = |direction| match direction {
            Direction::Inbound => config.inbound.length,
            Direction::Outbound => config.outbound.length,
        };
        self.builds.retain(|_, build| build.pool != id || build.length >= least(build.direction));
        let short = |own: &Own| own.pool == id && own.hops.len() < least(own.direction);
        let short: Vec<_> = self.tunnels.iter().filter(|(_, own)| short(own)).map(|(id, _)| *id).collect();
        for tunnel in short {
            self.lose(now, tunnel);
            self.tunnels.remove(&tunnel);
        }
        self.tick = now.mono;
        Ok(())
    }

    /// Ends a pool with its tunnels and builds. Nothing more comes out of its tunnels.
    pub fn remove_pool(&mut self, id: PoolId) {
        self.pools.remove(&id);
        self.tunnels.retain(|_, tunnel| tunnel.pool != id);
        self.builds.retain(|_, build| build.pool != id);
    }

    /// Changes what decides about requests of others.
    pub fn set_transit_rules(&mut self, rules: TransitRules) {
        self.transit.set_rules(self.now.mono, rules);
    }

    /// Outbound endpoints of others lose this share of tunnel messages. Each way of a stream passes one such endpoint.
    #[cfg(ramson_lab)]
    pub fn set_loss(&mut self, share: f64) {
        self.transit.loss = share;
    }

    /// Requests with 528-byte records that were accepted.
    #[cfg(ramson_lab)]
    pub fn long_requests(&self) -> u64 {
        self.transit.long
    }

    /// Lets the tunnels of others run out: no more requests are accepted.
    pub fn drain_transit(&mut self) {
        self.transit.drain();
    }

    /// What decides about requests of others.
    pub fn transit_rules(&self) -> &TransitRules {
        self.transit.rules()
    }

    /// Whether a request of others may be accepted just now.
    pub fn accepts_transit(&self) -> bool {
        self.transit.is_accepting(self.now.mono)
    }

    /// Measures transit anew, and says what our RouterInfo is to say of it. To be called every few seconds; `links` is how
    /// much of their limits all links together use, from 0 to 1.
    pub fn update_congestion(&mut self, now: Now, links: f64) -> Congestion {
        self.now = now;
        self.transit.update_congestion(now.mono, links)
    }

    /// A message of a link, or of garlic that a link brought, of the kinds TunnelData and TunnelGateway, and build
    /// requests. The error says why it was dropped; no peer is told.
    pub fn handle_message(&mut self, now: Now, from: Hash, message: Message) -> Result<(), TransitError> {
        self.handle_message_of(now, from, None, message)
    }

    /// The same, from a peer that is in this prefix, which has its share of build requests.
    pub fn handle_message_of(
        &mut self,
        now: Now,
        from: Hash,
        prefix: Option<Prefix>,
        message: Message,
    ) -> Result<(), TransitError> {
        self.now = now;
        let request = message.kind.is_build_request();
        let result = match message.kind {
            Kind::TUNNEL_DATA => self.handle_data(now, from, message),
            Kind::TUNNEL_GATEWAY => match TunnelGateway::from_bytes(&message.body) {
                Ok(inner) => self.handle_gateway(now, inner.tunnel, inner.message),
                Err(error) => Err(error.into()),
            },
            _ if request => self.handle_build(now, from, prefix, &message),
            _ => Err(TransitError::Unfit),
        };
        if let Err(why) = &result {
            tracing::trace!(?from, %why, "tunnel message dropped");
            self.transit.stats.drop(why, request);
        }
        self.working = None;
        result
    }

    /// The job of a request of others has panicked.
    pub fn handle_request_failed(&mut self, now: Now) {
        self.transit.handle_request_failed(now.mono);
        self.open_requests(now);
    }

    /// Removes the tunnel that was worked on when a panic came. False when there is none.
    pub fn end_broken(&mut self, now: Now) -> bool {
        let Some(tunnel) = self.working.take().or(self.transit.working.take()) else { return false };
        if self.tunnels.contains_key(&tunnel) {
            self.lose(now, tunnel);
            self.tunnels.remove(&tunnel);
        } else {
            self.transit.remove(tunnel);
        }
        true
    }

    /// Sends a message out of a pool, through this tunnel or one of its choice; returns the tunnel. The message leaves
    /// with the next `poll_event`, together with others of the same turn.
    pub fn send(
        &mut self,
        now: Now,
        pool: PoolId,
        tunnel: Option<TunnelId>,
        target: Target,
        message: Message,
    ) -> Result<TunnelId, SendError> {
        self.now = now;
        let fits = |own: &Own| own.pool == pool && own.direction == Direction::Outbound;
        let tunnel = match tunnel {
            Some(tunnel) => self.tunnels.get(&tunnel).filter(|own| fits(own)).map(|_| tunnel),
            None => self.choose(pool, Direction::Outbound),
        };
        let tunnel = tunnel.ok_or(SendError::NoTunnel)?;
        self.send_through(now, tunnel, target, message)?;
        Ok(tunnel)
    }

    /// The hops for a build: as many as were asked for, each other, none of them ourselves; or `None` when there are
    /// none. A build whose pool is gone is forgotten.
    pub fn handle_hops(&mut self, now: Now, id: BuildId, hops: Option<Vec<Hop>>) {
        self.now = now;
        let Some(build) = self.builds.get(&id) else { return };
        let (pool, direction, way, length) = (build.pool, build.direction, build.way, build.length);
        let fits = |hops: &Vec<Hop>| {
            let all: std::collections::BTreeSet<_> = hops.iter().map(|hop| hop.hash).collect();
            length > 0 && hops.len() == length && all.len() == length && !all.contains(&self.own)
        };
        let plan = hops.filter(fits).and_then(|hops| self.plan(direction, way, hops));
        let bandwidth = self.wanted_bandwidth(now.mono, pool, direction);
        let Some(plan) = plan.map(|plan| Plan { bandwidth, ..plan }) else {
            self.builds.remove(&id);
            self.stats.starved += 1;
            if let Some(pool) = self.pools.get_mut(&pool) {
                pool.side_mut(direction).starved(now.mono, &mut self.rng);
            }
            return;
        };
        let job = CreateJob { id, own: self.own, now, plan: plan.clone() };
        if let Some(build) = self.builds.get_mut(&id) {
            build.plan = Some(plan);
        }
        self.stats.started += 1;
        self.events.push_back(Event::Job(TunnelJob::Create(Box::new(job))));
    }

    /// The result of a job.
    pub fn handle_job(&mut self, now: Now, done: TunnelDone) {
        self.now = now;
        match done {
            TunnelDone::Create(created) => self.handle_created(now, *created),
            TunnelDone::Request(done) => {
                let (transit, tunnels) = (&mut self.transit, &self.tunnels);
                match transit.handle_opened(now, *done, |id| tunnels.contains_key(&id)) {
                    Ok(action) => self.act(now, &mut vec![action]),
                    Err(why) => self.transit.stats.drop(&why, true),
                }
                self.open_requests(now);
            }
        }
    }

    /// A router cannot be reached: builds that wait on it directly have failed, and so have tunnels that begin there.
    pub fn handle_unreachable(&mut self, now: Now, peer: Hash) {
        self.now = now;
        let direct = |build: &Build| match (build.direction, build.way) {
            (Direction::Outbound, _) | (Direction::Inbound, Way::Direct) => true,
            (Direction::Inbound, Way::Tunnel(_)) => false,
        };
        let first = |build: &Build| build.plan.as_ref().and_then(|plan| plan.hops.first()).map(|hop| hop.hash);
        let failed: Vec<_> =
            self.builds.iter().filter(|(_, b)| direct(b) && first(b) == Some(peer)).map(|(id, _)| *id).collect();
        for id in failed {
            if let Some(build) = self.builds.remove(&id) {
                self.stats.timed_out += 1;
                self.build_failed(now, &build, vec![(peer, Answer::Unanswered)]);
            }
        }
        let begins = |own: &Own| own.direction == Direction::Outbound && !own.hops.is_empty() && own.entry.0 == peer;
        let lost: Vec<_> = self.tunnels.iter().filter(|(_, own)| begins(own)).map(|(id, _)| *id).collect();
        lost.into_iter().for_each(|id| self.lose(now, id));
    }

    /// A router is not there any more: nothing comes through any tunnel that leads through it, nor an answer to a build.
    pub fn handle_gone(&mut self, now: Now, peer: Hash) {
        self.now = now;
        let through = |build: &Build| {
            build.plan.as_ref().is_some_and(|plan| plan.hops.iter().any(|hop| hop.hash == peer))
                || matches!(build.way, Way::Tunnel(id) if self.tunnels.get(&id).is_some_and(|own| own.hops.contains(&peer)))
        };
        let failed: Vec<_> = self.builds.iter().filter(|(_, build)| through(build)).map(|(id, _)| *id).collect();
        for id in failed {
            if let Some(build) = self.builds.remove(&id) {
                self.stats.timed_out += 1;
                self.budget.give_back(build.started.mono);
                self.build_failed(now, &build, vec![(peer, Answer::Unanswered)]);
            }
        }
        let lost: Vec<_> = self.tunnels.iter().filter(|(_, own)| own.hops.contains(&peer)).map(|(id, _)| *id).collect();
        lost.into_iter().for_each(|id| self.lose(now, id));
    }

    /// A router may be gone: the tunnels through it are tested. True when there are any, or builds.
    pub fn suspect_through(&mut self, now: Now, peer: &Hash) -> bool {
        self.now = now;
        let mut any = self
            .builds
            .values()
            .any(|build| build.plan.as_ref().is_some_and(|plan| plan.hops.iter().any(|hop| hop.hash == *peer)));
        for own in self.tunnels.values_mut().filter(|own| own.hops.contains(peer)) {
            own.health.suspect(now.mono);
            any = true;
        }
        if any {
            // Routers die in groups: builds that start before all of them are known would go through the others.
            self.tick = self.tick.min(now.mono + Duration::from_millis(100));
        }
        any
    }

    /// What went by tunnels of this pool does not seem to arrive: those that were not tested just now are.
    pub fn suspect(&mut self, now: Now, pool: PoolId) {
        self.now = now;
        let mut any = false;
        for own in self.tunnels.values_mut().filter(|own| own.pool == pool) {
            own.health.suspect(now.mono);
            any = true;
        }
        if any {
            self.tick = self.tick.min(now.mono);
        }
    }

    /// What happened. To be called after every other call until it returns `None`, which ends the turn.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events.is_empty() {
            self.flush();
        }
        self.events.pop_front()
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        let tick = (self.tick != Instant::FAR).then_some(self.tick);
        tick.into_iter().chain(self.transit.next_timeout(self.now.mono)).min()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        self.transit.handle_timeout(now.mono);
        self.open_requests(now);
        if self.tick > now.mono {
            return;
        }
        self.end_builds(now);
        self.end_tunnels(now);
        self.end_tests(now);
        self.start_tests(now);
        self.start_builds(now);
        let idle = self.pools.is_empty() && self.tunnels.is_empty() && self.builds.is_empty();
        self.tick = if idle { Instant::FAR } else { self.next_test(now).min(now.mono + TICK) };
    }

    /// The inbound tunnels of a pool.
    pub fn inbound(&self, pool: PoolId) -> Vec<Inbound> {
        self.usable(pool, Direction::Inbound).map(|(_, own)| own.as_inbound()).collect()
    }

    /// The same for leases and reply paths: without those in whose place another one is built, where there are others.
    pub fn inbound_in_use(&self, pool: PoolId) -> Vec<Inbound> {
        let firm = |own: &Own| own.health.failures < limits::TEST_DOUBTS;
        let firm = self.usable(pool, Direction::Inbound).filter(|(_, own)| firm(own));
        let firm: Vec<Inbound> = firm.map(|(_, own)| own.as_inbound()).collect();
        if firm.is_empty() { self.inbound(pool) } else { firm }
    }

    /// The outbound tunnels of a pool.
    pub fn outbound(&self, pool: PoolId) -> Vec<Outbound> {
        self.usable(pool, Direction::Outbound)
            .map(|(id, own)| Outbound {
                tunnel: *id,
                expires_unix_ms: own.health.expires_unix_ms,
                last_hop: own.hops.last().copied().unwrap_or(self.own),
                rtt: own.health.rtt,
                granted: own.granted,
            })
            .collect()
    }

    /// The hops of every usable tunnel of a pool, for status pages.
    pub fn paths(&self, pool: PoolId) -> Vec<(Direction, Vec<Hash>)> {
        let both = [Direction::Inbound, Direction::Outbound];
        both.into_iter().flat_map(|d| self.usable(pool, d).map(move |(_, own)| (d, own.hops.clone()))).collect()
    }

    /// The inbound tunnels of a pool as leases name them, by gateway and id there, each with its hops.
    pub fn entries(&self, pool: PoolId) -> impl Iterator<Item = ((Hash, TunnelId), &[Hash])> {
        self.usable(pool, Direction::Inbound).map(|(_, own)| (own.entry, own.hops.as_slice()))
    }

    /// The hops of an outbound tunnel, while it stands.
    pub fn hops(&self, tunnel: TunnelId) -> Option<&[Hash]> {
        self.tunnels.get(&tunnel).map(|own| own.hops.as_slice())
    }

    pub fn stats(&self) -> Stats {
        Stats { transit: self.transit.stats(), transit_tunnels: self.transit.len(), ..self.stats }
    }

    /// Bytes under reassembly at foreign endpoints.
    #[cfg(test)]
    pub(super) fn partial_bytes(&self) -> usize {
        self.transit.partial_bytes()
    }

    /// Whether a foreign endpoint may deliver to this router, and how many it remembers.
    #[cfg(test)]
    pub(super) fn may_deliver(&mut self, now: Instant, tunnel: TunnelId, to: Hash) -> bool {
        self.transit.may_deliver(now, tunnel, to)
    }

    #[cfg(test)]
    pub(super) fn known_targets(&self, tunnel: TunnelId) -> usize {
        self.transit.known_targets(tunnel)
    }

    /// As if the tunnels of this pool had carried so many bytes.
    #[cfg(test)]
    pub(super) fn pretend_traffic(&mut self, pool: PoolId, bytes: u64) {
        self.tunnels.values_mut().filter(|own| own.pool == pool).for_each(|own| own.bytes = bytes);
    }

    /// Bytes of requests that wait.
    #[cfg(test)]
    pub(super) fn queue_bytes(&self) -> usize {
        self.transit.queue_bytes()
    }

    /// Previous hops whose requests are counted.
    #[cfg(test)]
    pub(super) fn throttled_peers(&self) -> usize {
        self.transit.throttled_peers()
    }

    // Messages.

    fn handle_data(&mut self, now: Now, from: Hash, mut message: Message) -> Result<(), TransitError> {
        let (tunnel, _) = tunnel_data::split_mut(&mut message.body)?;
        self.working = Some(tunnel);
        let Some(own) = self.tunnels.get_mut(&tunnel) else {
            let mut actions = std::mem::take(&mut self.actions);
            let result = self.transit.handle_data(now, from, message, &mut actions);
            self.act(now, &mut actions);
            self.actions = actions;
            return result;
        };
        let mut messages = Vec::new();
        let whole = own.receive(now, from, message, &mut messages);
        for message in messages {
            self.deliver(now, tunnel, message);
        }
        if whole { Ok(()) } else { Err(TransitError::Unfit) }
    }

    fn handle_gateway(&mut self, now: Now, tunnel: TunnelId, message: Message) -> Result<(), TransitError> {
        self.working = Some(tunnel);
        if let Some(own) = self.tunnels.get(&tunnel) {
            if own.direction == Direction::Inbound && own.hops.is_empty() && own.health.is_usable(now.mono) {
                self.deliver(now, tunnel, message);
                return Ok(());
            }
            return Err(TransitError::NoTunnel);
        }
        let mut actions = std::mem::take(&mut self.actions);
        let result = self.transit.handle_gateway(now, tunnel, &message, &mut actions);
        self.act(now, &mut actions);
        self.actions = actions;
        result
    }

    fn handle_build(
        &mut self,
        now: Now,
        from: Hash,
        prefix: Option<Prefix>,
        message: &Message,
    ) -> Result<(), TransitError> {
        let ours = self.builds.iter().find(|(_, build)| {
            let plan = build.plan.as_ref().filter(|plan| plan.direction == Direction::Inbound);
            plan.is_some_and(|plan| {
                plan.reply_message_id == message.id && plan.hops.last().is_some_and(|hop| hop.hash == from)
            })
        });
        if let Some(id) = ours.map(|(id, _)| *id) {
            self.complete(now, id, &message.body);
            return Ok(());
        }
        self.transit.handle_build(now, from, prefix, message)?;
        self.open_requests(now);
        Ok(())
    }

    /// Has those requests opened whose turn it is.
    fn open_requests(&mut self, now: Now) {
        while let Some(job) = self.transit.next_request(now.mono) {
            self.events.push_back(Event::Job(TunnelJob::Request(Box::new(job))));
        }
    }

    fn act(&mut self, now: Now, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            match action {
                Action::Send { to, message } => {
                    self.events.push_back(Event::Send { to, message, class: Class::Transit });
                }
                Action::Gateway { tunnel, message } => {
                    if self.handle_gateway(now, tunnel, message).is_err() {
                        self.transit.stats.dropped += 1;
                    }
                }
                Action::Local { from, message } => self.local(from, message),
            }
        }
    }

    /// A message to us as a router out of the end of somebody's tunnel.
    fn local(&mut self, from: Hash, message: Message) {
        if matches!(message.kind, Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY) {
            self.transit.stats.dropped += 1;
        } else {
            self.events.push_back(Event::Local { from, message });
        }
    }

    /// A message out of an own inbound tunnel: a reply to a build, a test, or something for the owner of the pool.
    fn deliver(&mut self, now: Now, tunnel: TunnelId, message: Message) {
        let Some(own) = self.tunnels.get(&tunnel) else { return };
        let (pool, hidden) = (own.pool, own.hidden);
        match message.kind {
            Kind::OUTBOUND_TUNNEL_BUILD_REPLY => self.handle_reply(now, &message),
            Kind::GARLIC => {
                if let Some(reply) = self.open_reply(&message.body) {
                    self.handle_reply(now, &reply);
                } else if let Some((test, rtt)) = self.tester.receive(now, tunnel, &message.body) {
                    self.test_passed(now.mono, &test, rtt);
                } else if !hidden {
                    self.events.push_back(Event::Inbound { pool, tunnel, message });
                }
            }
            Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY => self.stats.dropped += 1,
            kind if kind.is_build_request() => self.stats.dropped += 1,
            _ if hidden => self.stats.dropped += 1,
            _ => self.events.push_back(Event::Inbound { pool, tunnel, message }),
        }
    }

    fn open_reply(&self, body: &[u8]) -> Option<Message> {
        let tag = garlic::one_time::tag(body)?;
        let keys = self.builds.values().filter_map(|build| build.pending.as_ref()?.garlic());
        let key = &keys.into_iter().find(|garlic| garlic.tag == tag)?.key;
        unwrap_once(key, body).filter(|message| message.kind == Kind::OUTBOUND_TUNNEL_BUILD_REPLY)
    }

    fn handle_reply(&mut self, now: Now, message: &Message) {
        let waits = |build: &Build| {
            build.direction == Direction::Outbound
                && build.pending.is_some()
                && build.plan.as_ref().is_some_and(|plan| plan.reply_message_id == message.id)
        };
        match self.builds.iter().find(|(_, build)| waits(build)).map(|(id, _)| *id) {
            Some(id) => self.complete(now, id, &message.body),
            None => self.stats.dropped += 1,
        }
    }

    fn send_through(&mut self, now: Now, id: TunnelId, target: Target, message: Message) -> Result<(), SendError> {
        let own = self.tunnels.get_mut(&id).ok_or(SendError::NoTunnel)?;
        let mut out = Vec::new();
        let result = own.send(now, target, message, &mut self.rng, &mut out);
        if !self.dirty.contains(&id) {
            self.dirty.push(id);
        }
        self.send_all(now, out);
        Ok(result?)
    }

    /// Messages of a tunnel of no hops may be for ourselves.
    fn send_all(&mut self, now: Now, out: Vec<(Hash, Message)>) {
        for (to, message) in out {
            if to != self.own {
                self.events.push_back(Event::Send { to, message, class: Class::Own });
            } else if message.kind == Kind::TUNNEL_GATEWAY {
                let inner = TunnelGateway::from_bytes(&message.body);
                if !inner.is_ok_and(|inner| self.handle_gateway(now, inner.tunnel, inner.message).is_ok()) {
                    self.stats.dropped += 1;
                }
            } else {
                self.local(to, message);
            }
        }
    }

    fn flush(&mut self) {
        let now = self.now;
        for id in std::mem::take(&mut self.dirty) {
            self.working = Some(id);
            let mut out = Vec::new();
            if let Some(own) = self.tunnels.get_mut(&id) {
                own.flush(now, &mut self.rng, &mut out);
            }
            self.send_all(now, out);
        }
        self.working = None;
        let mut actions = Vec::new();
        self.transit.flush(now, &mut actions);
        self.act(now, &mut actions);
        self.working = None;
    }
}
