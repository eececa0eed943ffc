//! Who shall be a hop of our tunnels: the wires to profiles, candidates and the first hops of destinations.

use super::door::DestinationId;
use super::{Output, Router, Timer};
use crate::limits::peers as limits;
use crate::limits::tunnel::POOLS;
use crate::peers::guards::{State, select_behind};
use crate::peers::select::{SelfView, Terms, select};
use crate::peers::{Guards, Reach};
use crate::time::Duration;
use crate::tunnel::{Answer, BuildId, Direction, Hop, Passed, PoolId};
use ramson_wire::data::Hash;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// First hops are looked at this often: those that are gone are dialled or looked up.
const TEND: Duration = Duration::from_secs(60);
/// So many routers that are gone within this time are no chance.
const SEVERAL: u32 = 4;
const TOGETHER: Duration = Duration::from_secs(60);
/// Profiles are saved this often.
const SAVE: Duration = Duration::from_secs(600);

/// The first hops of our destinations, each by itself.
#[derive(Default)]
pub(super) struct FirstHops {
    of: BTreeMap<DestinationId, Held>,
    /// What was saved for destinations that are to come.
    saved: BTreeMap<Hash, Vec<u8>>,
}

struct Held {
    guards: Guards,
    /// The destination under whose name they are saved.
    saved_as: Option<Hash>,
}

/// A build that waits for its hops.
pub(super) struct Wanted {
    pub(super) pool: PoolId,
    pub(super) direction: Direction,
    pub(super) build: BuildId,
    pub(super) length: usize,
    pub(super) other_end: Hash,
    pub(super) order: (u64, u64),
    pub(super) avoid: Vec<Hash>,
}

impl Router {
    pub(super) fn begin_hops(&mut self) {
        self.timers.set(Timer::TendGuards, self.now.mono + TEND);
        self.timers.set(Timer::SaveProfiles, self.now.mono + SAVE);
    }

    /// What was saved of the first hops of a destination; those that it will have are saved, too.
    pub(super) fn keep_guards(&mut self, destination: Hash, saved: Vec<u8>) {
        if self.first_hops.saved.len() < POOLS || self.first_hops.saved.contains_key(&destination) {
            self.first_hops.saved.insert(destination, saved);
        }
    }

    /// A destination begins, with the first hops that it had before or with none.
    pub(super) fn begin_guards(&mut self, id: DestinationId, destination: &Hash) {
        let mut guards = Guards::new(self.rng.child("guards"));
        let saved = self.first_hops.saved.remove(destination);
        let saved_as = saved.as_ref().map(|_| *destination);
        if let Some(saved) = saved {
            guards.load(self.now, &saved);
        }
        self.first_hops.of.insert(id, Held { guards, saved_as });
        self.tend_guards_of(id);
    }

    pub(super) fn end_guards(&mut self, id: DestinationId) {
        self.save_guards(id);
        self.first_hops.of.remove(&id);
    }

    /// The first hops of a destination, those in use before those that stand in.
    pub fn first_hops(&self, id: DestinationId) -> Vec<Hash> {
        self.first_hops.of.get(&id).map(|held| held.guards.hashes()).unwrap_or_default()
    }

    pub(super) fn choose_hops(&mut self, wanted: &Wanted) {
        let Wanted { pool, direction, build, length, other_end, order, ref avoid } = *wanted;
        if self.profiles.is_lost() {
            self.find_some_at_home();
        }
        let now = self.now;
        let to_us = other_end == self.hash;
        // The other end of a tunnel is no hop of it, except in networks that are too small for that.
        let exclude = if self.config.small_network { Vec::new() } else { vec![other_end] };
        let stricter: Vec<Hash> = exclude.iter().chain(avoid).copied().collect();
        let (links, at_home) = (&self.links, &self.at_home);
        let terms = Terms {
            now,
            own: SelfView { hash: self.hash, reach: self.own_reach() },
            inbound: direction == Direction::Inbound,
            length,
            order,
            allow_same_subnet: self.config.small_network,
            endpoint_dials: self.store.get(&other_end).map(|info| Reach::of(info)),
            endpoint_dials_us: to_us && direction == Direction::Outbound,
            exclude: &exclude,
            nearest: None,
            aside: &[],
            exploratory: pool == PoolId::EXPLORATORY,
            connected: &|hash| links.is_connected(hash),
            sessions: &|| links.connected(),
            at_home: &|| at_home.iter().copied().filter(|hash| links.is_connected(hash)).collect(),
            unreachable: &|hash| links.is_failed(now, hash),
        };
        let (routers, profiles, rng) = (self.store.candidates(), &self.profiles, &mut self.rng);
        let mut held = self.pools.get(&pool).and_then(|id| self.first_hops.of.get_mut(id));
        let mut choose = |terms: &Terms<'_>| match held.as_deref_mut() {
            Some(held) => {
                let online = links.stats().sessions > 0;
                select_behind(&mut held.guards, terms, online, routers, profiles, rng)
            }
            None => select(terms, routers, profiles, rng),
        };
        let apart = if avoid.is_empty() { None } else { choose(&Terms { exclude: &stricter, ..terms }) };
        let hops = apart.or_else(|| choose(&terms));
        let hops = hops.map(|hops| hops.into_iter().map(Hop::from).collect());
        self.tunnels.handle_hops(now, build, hops);
    }

    /// How the hops of a build answered.
    pub(super) fn build_ended(&mut self, pool: PoolId, nearest: Option<Hash>, hops: &[(Hash, Answer)]) {
        let now = self.now;
        let credit = |hash: &Hash| self.credit(hash);
        let least = hops.iter().map(|(hash, _)| credit(hash)).min().unwrap_or_default();
        let blamed: Vec<bool> = hops.iter().map(|(hash, _)| credit(hash) == least).collect();
        for ((hash, answer), blamed) in hops.iter().zip(blamed) {
            match answer {
                Answer::Agreed => self.profiles.note_agreed(now, hash),
                Answer::Declined => self.profiles.note_declined(now, hash),
                Answer::Unanswered if blamed => self.profiles.note_unanswered(now, hash),
                Answer::Unanswered => {}
            }
        }
        let built = hops.iter().all(|(_, answer)| *answer == Answer::Agreed);
        let Some(id) = self.pools.get(&pool).copied() else { return };
        if let (Some(held), Some(nearest)) = (self.first_hops.of.get_mut(&id), nearest) {
            held.guards.handle_outcome(now, &nearest, built);
        }
        self.save_guards(id);
    }

    /// Whom to believe when a build is not answered. Any hop may be to blame; but while most routers are useless it was
    /// one of those, and the few others are not to be lost for it (threats P-1).
    fn credit(&self, hash: &Hash) -> u8 {
        match () {
            () if !self.profiles.is_wary() && !self.profiles.is_lost() => 0,
            () if self.profiles.is_proven(hash) => 2,
            () => u8::from(self.links.is_connected(hash)),
        }
    }

    /// Draws a few routers and dials those without a session, while nearly nobody answers and few are known to be there:
    /// most of what we know may be dead (threats P-3). Builds come at a bounded rate, and so do these. Since they are
    /// drawn by us, nobody is more likely among them for having come to us.
    pub(super) fn find_some_at_home(&mut self) {
        let (now, links) = (self.now, &mut self.links);
        self.at_home.retain(|hash| !links.is_failed(now, hash) && self.store.get(hash).is_some());
        for _ in 0..limits::DIALS_WHEN_LOST {
            let room = self.at_home.len() < limits::AT_HOME;
            let drawn = self.store.candidates().random(&mut self.rng).filter(|one| !self.at_home.contains(&one.hash));
            let info = drawn.filter(|_| room).and_then(|one| self.store.get(&one.hash));
            if let Some(info) = info.filter(|info| links.dial(now, info)) {
                self.at_home.push(info.hash());
            }
        }
    }

    /// Somebody has hung up and is gone, and may not be the only one: where several are, a few of those whom we have no
    /// session with are dialled, too. Which ones has nothing to do with our tunnels.
    pub(super) fn look_around(&mut self) {
        let (since, losses) = &mut self.losses;
        if self.now.mono.since(*since) > TOGETHER {
            (*since, *losses) = (self.now.mono, 0);
        }
        *losses += 1;
        if *losses >= SEVERAL {
            for _ in 0..limits::DIALS_WHEN_LOST {
                let drawn = self.store.candidates().random(&mut self.rng).map(|one| one.hash);
                if let Some(info) = drawn.and_then(|hash| self.store.get(&hash))
                    && self.redials.take(self.now.mono)
                {
                    self.links.dial(self.now, info);
                }
            }
        }
    }

    /// What a test says of the hops of a tunnel.
    pub(super) fn tunnel_tested(&mut self, hops: &[Hash], passed: Option<Passed>) {
        let now = self.now;
        for hop in hops {
            match passed {
                Some(passed) => {
                    if passed.first {
                        self.profiles.note_carried(now, hop);
                    }
                    self.profiles.note_speed(now, hop, passed.rtt, passed.rate);
                }
                None => self.profiles.note_dropped(now, hop),
            }
        }
    }

    pub(super) fn tend_guards(&mut self) {
        self.timers.set(Timer::TendGuards, self.now.mono + TEND);
        let ids: Vec<_> = self.first_hops.of.keys().copied().collect();
        ids.into_iter().for_each(|id| self.tend_guards_of(id));
    }

    /// Dials or looks up the first hops of a destination without a session, so that it shows in time which of them are
    /// there.
    fn tend_guards_of(&mut self, id: DestinationId) {
        let (now, online) = (self.now, self.links.stats().sessions > 0);
        let Some(held) = self.first_hops.of.get_mut(&id) else { return };
        let (links, store) = (&self.links, &self.store);
        held.guards.update(now, online, |hash| match store.candidates().get(hash) {
            None => State::Down,
            Some(_) if links.is_connected(hash) => State::Connected,
            Some(_) if links.is_failed(now, hash) => State::Down,
            Some(_) => State::Fine,
        });
        for hash in held.guards.hashes() {
            match self.store.get(&hash).cloned() {
                Some(info) => drop(self.links.dial(now, &info)),
                None => self.look_up_router(hash),
            }
        }
        self.save_guards(id);
    }

    fn save_guards(&mut self, id: DestinationId) {
        let Some(held) = self.first_hops.of.get_mut(&id) else { return };
        if let (true, Some(destination)) = (held.guards.take_changed(), held.saved_as) {
            let bytes = held.guards.to_file();
            self.outputs.push_back(Output::SaveGuards { destination, bytes });
        }
    }

    pub(super) fn save_all_guards(&mut self) {
        let ids: Vec<_> = self.first_hops.of.keys().copied().collect();
        ids.into_iter().for_each(|id| self.save_guards(id));
    }

    pub(super) fn save_profiles(&mut self) {
        self.timers.set(Timer::SaveProfiles, self.now.mono + SAVE);
        self.profiles.fade(self.now);
        if !self.profiles.is_empty() {
            self.outputs.push_back(Output::SaveProfiles(self.profiles.to_file()));
        }
    }

    pub(super) fn own_reach(&self) -> Reach {
        let (v4, v6) = (self.config.addresses.ipv4, self.config.addresses.ipv6);
        let tcp = (u8::from(v4) * Reach::NTCP2_V4) | (u8::from(v6) * Reach::NTCP2_V6);
        let socket = |v4: bool| self.config.udp.iter().any(|socket| socket.is_ipv4() == v4);
        let udp = (u8::from(v4 && socket(true)) * Reach::SSU2_V4) | (u8::from(v6 && socket(false)) * Reach::SSU2_V6);
        let dials = tcp | udp;
        // Until a floodfill has our RouterInfo, only those can dial us who have it from a session.
        if !self.publisher.is_published() {
            return Reach::new(0, dials);
        }
        let bits = |addrs: &[SocketAddr], v4: u8, v6: u8| {
            addrs.iter().fold(0, |bits, addr| bits | if addr.is_ipv4() { v4 } else { v6 })
        };
        let published = bits(&self.own.published, Reach::NTCP2_V4, Reach::NTCP2_V6)
            | bits(&self.own.udp_published, Reach::SSU2_V4, Reach::SSU2_V6);
        Reach::new(published, dials)
    }
}
