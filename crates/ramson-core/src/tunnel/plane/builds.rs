//! Builds and tests of own tunnels: starting, completing, giving up.

use super::super::build::{Created, Plan};
use super::super::own::{Health, Own};
use super::super::tester::Test;
use super::super::{Answer, BuildId, Direction, Event, Hop, PoolId, Target, TunnelId};
use super::{Build, Tunnels, Way};
use crate::limits::tunnel as limits;
use crate::link::Class;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::Hash;
use ramson_wire::i2np::Message;
use ramson_wire::tunnel::bandwidth::Reply;
use ramson_wire::tunnel::build_record::ACCEPT;
use tracing::debug;

/// A tunnel that worked within this time tells which one of a pair does not.
const WITNESS: Duration = Duration::from_secs(5);
pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Inbound, Direction::Outbound];

/// Kilobytes a second that are asked for. A tunnel that carries less than the first asks for nothing.
const BANDWIDTHS: [u32; 4] = [16, 64, 256, 1_024];

/// What one direction of a pool lacks.
struct Lack {
    /// Tunnels that last, and builds whose answer is still awaited.
    have: usize,
    /// Builds that may start.
    builds: usize,
    /// It has no tunnel against which nothing speaks, and wants one.
    is_bare: bool,
}

fn before(at: Instant, by: Duration) -> Instant {
    if at.since(Instant::ZERO) > by { at - by } else { Instant::ZERO }
}

/// Nobody of these has answered.
fn unanswered(build: &Build) -> Vec<(Hash, Answer)> {
    let hops = build.plan.iter().flat_map(|plan| &plan.hops);
    hops.map(|hop| (hop.hash, Answer::Unanswered)).collect()
}

impl Tunnels {
    /// Starts what the pools lack, the barest direction of any pool first: a page needs one tunnel each way, and the
    /// budget of the router must not go into the spares of another pool. The exploratory pool is first among equals,
    /// since others begin through it, but its spares come later; those behind take turns.
    pub(super) fn start_builds(&mut self, now: Now) {
        let mut pools: Vec<_> = self.pools.keys().copied().collect();
        let from = usize::from(pools.first() == Some(&PoolId::EXPLORATORY));
        if let Some(others) = pools.get_mut(from..) {
            let turn = self.rng.below(others.len());
            others.rotate_left(turn);
        }
        let destinations = self.destinations();
        let mut wishes: Vec<(usize, PoolId, Direction)> = Vec::new();
        let mut reserve = 0;
        for pool in pools {
            for direction in DIRECTIONS {
                let lack = self.lack(now, pool, direction);
                let weight = if pool == PoolId::EXPLORATORY { 2 } else { 1 };
                wishes.extend((lack.have..lack.have + lack.builds).map(|have| (weight * have, pool, direction)));
                if lack.is_bare {
                    reserve += if pool == PoolId::EXPLORATORY { 1 } else { limits::RESERVED_BUILDS };
                }
            }
        }
        wishes.sort_by_key(|(rank, ..)| *rank);
        for (rank, pool, direction) in wishes {
            if rank > 0 && self.budget.left(now.mono, destinations) <= reserve {
                return;
            }
            if !self.start_build(now, pool, direction) {
                return;
            }
        }
    }

    /// How many tunnels of a side last or are on their way, and how many builds it may start.
    fn lack(&mut self, now: Now, id: PoolId, direction: Direction) -> Lack {
        let lasts = |own: &Own| {
            now.mono < own.health.replace_at && own.health.failures < limits::TEST_DOUBTS && !own.health.is_aside
        };
        let is_bare = !self.usable(id, direction).any(|(_, own)| own.health.is_sound());
        // Where none of them passes its tests, one failure is enough: they may all have died together.
        let lasting = if is_bare { 0 } else { self.usable(id, direction).filter(|(_, own)| lasts(own)).count() };
        let younger = |patience| {
            let young = move |build: &&Build| now.mono.since(build.started.mono) < patience;
            self.builds.values().filter(|b| b.pool == id && b.direction == direction).filter(young).count()
        };
        // A side without any sound tunnel does not wait so long for an answer that may never come.
        let flying = younger(if is_bare { limits::BLAME_PATIENCE } else { limits::BUILD_PATIENCE });
        let awaited = if is_bare { younger(limits::BARE_PATIENCE) } else { flying };
        let builds = self
            .pools
            .get_mut(&id)
            .map_or(0, |pool| pool.builds_to_start(direction, now.mono, lasting, awaited, flying));
        Lack { have: lasting + awaited, builds, is_bare: is_bare && builds + flying > 0 }
    }

    /// Starts one build; false when the budget of the router is used up.
    fn start_build(&mut self, now: Now, id: PoolId, direction: Direction) -> bool {
        let Some(pool) = self.pools.get(&id) else { return true };
        let (length, order) = (pool.draw_length(direction, &mut self.rng), pool.order);
        if length == 0 {
            self.add_zero_hop(now, id, direction, false);
            return true;
        }
        let Some(way) = self.way(now, id, direction) else { return true };
        let destinations = self.destinations();
        if !self.budget.take(now.mono, destinations) {
            return false;
        }
        let other_end = self.other_end(direction, way);
        let build = BuildId(self.next_build);
        self.next_build += 1;
        self.builds.insert(
            build,
            Build { pool: id, direction, length, way, started: now, plan: None, pending: None, blamed: false },
        );
        debug!(build = build.0, pool = id.0, ?direction, "build starts");
        let avoid = self.barren_ends(id, direction);
        self.events.push_back(Event::NeedHops { pool: id, direction, build, length, other_end, order, avoid });
        true
    }

    /// A tunnel of no hops for the replies of first builds. It is in no list, and nothing else is taken from it.
    pub(super) fn reply_door(&mut self, now: Now) -> TunnelId {
        let lasts = |own: &Own| own.hidden && own.health.is_usable(now.mono + limits::BUILD_TIMEOUT);
        match self.tunnels.iter().find(|(_, own)| lasts(own)) {
            Some((id, _)) => *id,
            None => self.add_zero_hop(now, PoolId::EXPLORATORY, Direction::Inbound, true),
        }
    }

    fn other_end(&self, direction: Direction, way: Way) -> Hash {
        let tunnel = match way {
            Way::Tunnel(id) => self.tunnels.get(&id),
            Way::Direct => None,
        };
        match direction {
            Direction::Inbound => tunnel.and_then(|own| own.hops.last().copied()).unwrap_or(self.own),
            Direction::Outbound => tunnel.map_or(self.own, |own| own.entry.0),
        }
    }

    fn add_zero_hop(&mut self, now: Now, pool: PoolId, direction: Direction, hidden: bool) -> TunnelId {
        let id = self.unused_id(&[]);
        let health = Health::new(now, &mut self.rng);
        let entry = (self.own, id);
        let mut own = Own::new(pool, direction, entry, (Vec::new(), Vec::new()), health, &mut self.rng);
        own.hidden = hidden;
        self.tunnels.insert(id, own);
        if !hidden {
            self.ready(pool, direction, id);
        }
        id
    }

    /// The plan of a build; `None` when the tunnel that it needs is gone.
    pub(super) fn plan(&mut self, direction: Direction, way: Way, hops: Vec<Hop>) -> Option<Plan> {
        let tunnel = match way {
            Way::Tunnel(id) => Some(self.tunnels.get(&id).filter(|own| !own.health.lost)?),
            Way::Direct => None,
        };
        let through = tunnel.and_then(|own| own.hops.last().copied());
        let reply_to = tunnel.map(|own| own.entry);
        let mut ids = Vec::with_capacity(hops.len() + 1);
        for _ in 0..=hops.len() {
            ids.push(self.unused_id(&ids));
        }
        let own_id = ids.pop()?;
        let (end, wrap) = match direction {
            Direction::Inbound => ((self.own, own_id), through.is_some() && through != hops.first().map(|h| h.hash)),
            Direction::Outbound => (reply_to?, false),
        };
        Some(Plan { direction, hops, ids, end, reply_message_id: self.rng.nonzero_u32(), wrap, bandwidth: None })
    }

    /// What hops of a new tunnel are asked to provide, in kilobytes a second: enough for what the busiest of the pool's
    /// tunnels carries; of few that carry little, nothing, as of most tunnels in the network. Steps, so that hops learn
    /// little of who asks.
    pub(super) fn wanted_bandwidth(&self, now: Instant, pool: PoolId, direction: Direction) -> Option<u32> {
        if pool == PoolId::EXPLORATORY {
            return None;
        }
        let used = self.usable(pool, direction).map(|(_, own)| own.kilobytes_per_second(now)).max()?;
        let [least, .., most] = BANDWIDTHS;
        let enough = BANDWIDTHS.into_iter().find(|step| u64::from(*step) > used).unwrap_or(most);
        (used >= least.into()).then_some(enough)
    }

    fn unused_id(&mut self, also: &[TunnelId]) -> TunnelId {
        loop {
            let id = self.rng.nonzero_u32();
            if !self.tunnels.contains_key(&id) && !self.transit.contains(id) && !also.contains(&id) {
                return id;
            }
        }
    }

    /// The keys of a build are made: its message goes out.
    pub(super) fn handle_created(&mut self, now: Now, created: Created) {
        let Some(build) = self.builds.get_mut(&created.id) else { return };
        let first = build.plan.as_ref().and_then(|plan| plan.hops.first()).map(|hop| hop.hash);
        let (Ok((message, pending)), Some(first)) = (created.result, first) else {
            return self.give_up(now, created.id, Vec::new());
        };
        build.pending = Some(pending);
        match (build.direction, build.way) {
            (Direction::Inbound, Way::Tunnel(tunnel)) => {
                if self.send_through(now, tunnel, Target::Router(first), message).is_err() {
                    self.give_up(now, created.id, Vec::new());
                }
            }
            _ => self.events.push_back(Event::Send { to: first, message, class: Class::Own }),
        }
    }

    /// The records of a build came back.
    pub(super) fn complete(&mut self, now: Now, id: BuildId, body: &[u8]) {
        let Some(build) = self.builds.remove(&id) else { return };
        let (Some(plan), Some(pending)) = (&build.plan, &build.pending) else { return };
        let Ok(replies) = pending.replies(body) else {
            self.stats.tampered += 1;
            return self.build_failed(now, &build, Vec::new());
        };
        let answer = |reply: &Reply| if reply.code == ACCEPT { Answer::Agreed } else { Answer::Declined };
        let hops: Vec<_> = plan.hops.iter().map(|hop| hop.hash).zip(replies.iter().map(answer)).collect();
        if let Way::Tunnel(id) = build.way
            && let Some(own) = self.tunnels.get_mut(&id)
        {
            own.health.note_works(build.started.mono);
        }
        if replies.iter().any(|reply| reply.code != ACCEPT) {
            self.stats.declined += 1;
            debug!(build = id.0, pool = build.pool.0, ?hops, "build declined");
            return self.build_failed(now, &build, hops);
        }
        self.stats.built += 1;
        let after = now.mono.since(build.started.mono);
        let granted = replies.iter().filter_map(|reply| reply.bandwidth).min();
        debug!(build = id.0, pool = build.pool.0, direction = ?build.direction, ?after, ?granted, "tunnel built");
        let (Some(entry_hop), Some(entry_id)) = (plan.hops.first(), plan.ids.first()) else { return };
        // An inbound tunnel is known here by the id that its last hop sends to; an outbound one by that of its first.
        let name = match build.direction {
            Direction::Inbound => plan.end.1,
            Direction::Outbound => *entry_id,
        };
        let path = (plan.hops.iter().map(|hop| hop.hash).collect(), pending.layers());
        let health = Health::new(build.started, &mut self.rng);
        let entry = (entry_hop.hash, *entry_id);
        let mut own = Own::new(build.pool, build.direction, entry, path, health, &mut self.rng);
        own.granted = granted;
        self.events.push_back(Event::Outcome { pool: build.pool, nearest: build.nearest(), hops });
        self.tunnels.insert(name, own);
        if let Some(pool) = self.pools.get_mut(&build.pool) {
            // The other direction may have waited for this one as its way.
            DIRECTIONS.into_iter().for_each(|direction| pool.side_mut(direction).wake());
            pool.side_mut(build.direction).succeeded();
        }
        self.ready(build.pool, build.direction, name);
        self.tick = now.mono;
    }

    fn ready(&mut self, pool: PoolId, direction: Direction, tunnel: TunnelId) {
        self.events.push_back(Event::TunnelReady { pool, direction, tunnel });
        if direction == Direction::Inbound {
            self.events.push_back(Event::PoolChanged { pool });
        }
    }

    fn give_up(&mut self, now: Now, id: BuildId, hops: Vec<(Hash, Answer)>) {
        if let Some(build) = self.builds.remove(&id) {
            self.build_failed(now, &build, hops);
        }
    }

    pub(super) fn build_failed(&mut self, now: Now, build: &Build, hops: Vec<(Hash, Answer)>) {
        if !hops.is_empty() {
            self.events.push_back(Event::Outcome { pool: build.pool, nearest: build.nearest(), hops });
        }
        if let Some(pool) = self.pools.get_mut(&build.pool) {
            pool.side_mut(build.direction).failed();
        }
        self.tick = self.tick.min(now.mono + Duration::from_millis(100));
    }

    /// Builds whose reply no longer comes.
    pub(super) fn end_builds(&mut self, now: Now) {
        let late = |build: &Build| now.mono.since(build.started.mono) >= limits::BUILD_TIMEOUT;
        let ids: Vec<_> = self.builds.iter().filter(|(_, build)| late(build)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(build) = self.builds.remove(&id) else { continue };
            self.stats.timed_out += 1;
            let Build { pool, direction, way, .. } = &build;
            let hops = unanswered(&build);
            debug!(build = id.0, pool = pool.0, ?direction, ?way, ?hops, "build without an answer");
            let hops = if build.blamed { Vec::new() } else { hops };
            self.build_failed(now, &build, hops);
        }
        let slow = |build: &Build| !build.blamed && now.mono.since(build.started.mono) >= limits::BLAME_PATIENCE;
        let mute = self.mute(now);
        for build in self.builds.values_mut().filter(|build| slow(build)) {
            build.blamed = true;
            if matches!(build.way, Way::Tunnel(id) if mute.contains(&id)) {
                // It hardly got to anybody.
                self.budget.give_back(build.started.mono);
            }
            let hops = unanswered(build);
            self.events.push_back(Event::Outcome { pool: build.pool, nearest: build.nearest(), hops });
        }
    }

    /// Tunnels that are over.
    pub(super) fn end_tunnels(&mut self, now: Now) {
        let over = |own: &Own| !own.health.is_usable(now.mono);
        let ids: Vec<_> = self.tunnels.iter().filter(|(_, own)| over(own)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.lose(now, id));
    }

    /// A tunnel is given up or over. An inbound one still receives until its grace ends.
    pub(super) fn lose(&mut self, now: Now, id: TunnelId) {
        let Some(own) = self.tunnels.get_mut(&id) else { return };
        let first = !std::mem::replace(&mut own.health.lost, true);
        let (pool, direction, hidden) = (own.pool, own.direction, own.hidden);
        if direction == Direction::Outbound || now.mono >= own.health.expires + limits::GRACE {
            self.tunnels.remove(&id);
        }
        if first && !hidden {
            debug!(tunnel = id, pool = pool.0, ?direction, "tunnel over");
            self.events.push_back(Event::TunnelLost { pool, direction, tunnel: id });
            if direction == Direction::Inbound {
                self.events.push_back(Event::PoolChanged { pool });
            }
            self.tick = self.tick.min(now.mono + Duration::from_millis(100));
        }
    }

    /// Tests that did not come back. A tunnel by which a later one came, or by which alone one came just before, is not
    /// to blame; then it is the other one. Else both share the blame, and the next test of each has another partner.
    pub(super) fn end_tests(&mut self, now: Now) {
        for test in self.tester.take_failed(now.mono) {
            self.stats.tests_failed += 1;
            debug!(outbound = test.outbound, inbound = test.inbound, "tunnel test failed");
            let lately = before(test.sent, WITNESS);
            let works = |id, at| self.tunnels.get(&id).is_some_and(|own: &Own| own.health.works_since(at));
            let known = [test.outbound, test.inbound].map(|id| (id, works(id, test.sent), works(id, lately)));
            for ((id, now_works, did_work), partner_did) in known.into_iter().zip([known[1].2, known[0].2]) {
                if now_works || (did_work && !partner_did) {
                    continue;
                }
                let proven = partner_did && !did_work;
                let own = self.tunnels.get_mut(&id);
                let Some(own) = own else { continue };
                if own.health.failed(now.mono, proven, &mut self.rng) {
                    let hops = own.hops.clone();
                    self.events.push_back(Event::Tested { hops, passed: None });
                    self.lose(now, id);
                }
            }
        }
    }

    pub(super) fn test_passed(&mut self, now: Instant, test: &Test, rtt: Duration) {
        self.stats.tests_passed += 1;
        for id in [test.outbound, test.inbound] {
            if let Some(own) = self.tunnels.get_mut(&id) {
                let passed = Some(own.passed(now, test.sent, rtt));
                self.transit.note_carried(&own.hops);
                self.events.push_back(Event::Tested { hops: own.hops.clone(), passed });
            }
        }
    }

    /// Tests every tunnel whose time has come, with a partner of the same pool by chance, if there is one.
    pub(super) fn start_tests(&mut self, now: Now) {
        let due = |own: &Own| !own.hops.is_empty() && !own.hidden && own.health.test_at <= now.mono;
        let usable = |own: &Own| own.health.is_usable(now.mono);
        let ids: Vec<_> = self.tunnels.iter().filter(|(_, o)| due(o) && usable(o)).map(|(id, _)| *id).collect();
        for id in ids {
            // An earlier test of this round may have had it as partner.
            let Some(own) = self.tunnels.get(&id).filter(|own| due(own)) else { continue };
            let (pool, direction, sound) = (own.pool, own.direction, own.health.is_sound());
            if self.tester.is_testing(id) {
                continue;
            }
            let other = direction.other();
            // Builds of a pool go by exploratory tunnels as well, where it has none of the other direction.
            let partner = self.partner(pool, other, sound).or_else(|| self.partner(PoolId::EXPLORATORY, other, sound));
            let (outbound, inbound) = match direction {
                Direction::Outbound => (Some(id), partner),
                Direction::Inbound => (partner, Some(id)),
            };
            let (Some(outbound), Some(inbound)) = (outbound, inbound) else { continue };
            self.start_test(now, outbound, inbound);
        }
    }

    /// A usable tunnel of the pool, each as likely; for one that is in doubt, one that worked just now, else one that is
    /// not in doubt, if there is any.
    fn partner(&mut self, pool: PoolId, direction: Direction, sound: bool) -> Option<TunnelId> {
        let lately = before(self.now.mono, WITNESS);
        let rank = |_, own: &Own| {
            let works = sound || own.health.works_since(lately);
            if works { 0 } else { 1 + u8::from(!own.health.is_sound()) }
        };
        let fit = self.best(pool, direction, rank);
        self.rng.pick(&fit).copied()
    }

    /// When a test is too late, or one of a tunnel in doubt is due.
    pub(super) fn next_test(&self, now: Now) -> Instant {
        let doubted = self.tunnels.values().filter(|own| !own.health.is_sound() && own.health.is_usable(now.mono));
        let due = doubted.map(|own| own.health.test_at).filter(|at| *at > now.mono);
        due.chain(self.tester.next_timeout()).min().unwrap_or(Instant::FAR)
    }

    fn start_test(&mut self, now: Now, outbound: TunnelId, inbound: TunnelId) {
        let Some((gateway, tunnel)) = self.tunnels.get(&inbound).map(|own| own.entry) else { return };
        let mut patience = Duration::ZERO;
        for id in [outbound, inbound] {
            if let Some(own) = self.tunnels.get_mut(&id) {
                own.health.tested(now.mono, &mut self.rng);
                patience = patience.max(own.health.patience());
            }
        }
        let message: Message = self.tester.start(now, outbound, inbound, patience, &mut self.rng);
        // A message this small always fits.
        let _ = self.send_through(now, outbound, Target::Tunnel { gateway, tunnel }, message);
    }
}
