//! Whether others can reach us over UDP, and where: what peers say of our address, and what peer tests have shown.
//!
//! No peer's word counts alone (threats T66): an address is ours when peers of several networks see us there, and a verdict
//! is what two tests say that went by different routers. What is published follows it, and so must not flap: a verdict
//! stands until two others speak against it.
//!
//! The machine has no sessions: it says when a test is due (`Event::Test`), and is told what came of it.

mod votes;

use crate::limits::reach as limits;
use crate::link::address::Prefix;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use votes::Votes;

/// The first test of an address comes so soon.
const AT_ONCE: Duration = Duration::from_secs(1);
/// From one test to the next while there is no verdict, or one was spoken against.
const SOON: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(16));
/// The same while a verdict stands; i2pd's figures.
const REGULAR: (Duration, Duration) = (Duration::from_mins(68), Duration::from_mins(71));
/// The same after tests that showed nothing: twice as long each time, up to this.
const SELDOM: Duration = Duration::from_mins(5);
/// A test that has not ended by then is forgotten.
const LONGEST: Duration = Duration::from_secs(90);
/// So many networks that see us elsewhere are believed.
const REFUSALS: usize = 2;
/// What a test has shown counts so long towards another verdict.
const RESULT_AGE: Duration = Duration::from_mins(20);

/// What stands in front of a router that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nat {
    /// Something that lets in only whom we have sent to. All see us at one port.
    Filtering,
    /// A translator that has another port for every peer: nobody can be told where we are.
    Symmetric,
}

/// Whether others can reach us by a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reachability {
    /// Not known yet.
    #[default]
    Unknown,
    Open,
    Firewalled(Nat),
}

/// What a test has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Where it went by: the tester's address.
    pub(crate) by: IpAddr,
    pub(crate) state: Reachability,
}

pub(crate) struct ReachConfig {
    /// The families that there are sockets of, with their ports.
    pub(crate) ports: [Option<u16>; 2],
    /// What the operator says that our addresses are; peers do not change them.
    pub(crate) fixed: [Option<SocketAddr>; 2],
    /// A small private network: hosts count where else networks do.
    pub(crate) small_network: bool,
    /// Reserved addresses may be ours, in private networks.
    pub(crate) allow_reserved: bool,
}

/// What the machine has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A test of this family is due: of this address, if it is known. Answered with `Reach::handle_begun`.
    Test { v4: bool, claimed: Option<SocketAddr> },
    /// [`Reach::state`] or [`Reach::external`] says something else.
    Changed,
}

/// Both families, IPv4 first.
pub(crate) struct Reach {
    families: [Family; 2],
    small_network: bool,
    allow_reserved: bool,
    rng: Rng,
    events: VecDeque<Event>,
}

struct Family {
    v4: bool,
    /// Our socket's; without one there is nothing to do.
    port: Option<u16>,
    fixed: Option<SocketAddr>,
    votes: Votes,
    state: Reachability,
    results: VecDeque<(Instant, Shown)>,
    /// Tests that showed nothing, one after the other.
    nothing: u32,
    /// Networks that refused to have our address tested since it is not where they see us.
    refused_by: Vec<Prefix>,
    next: Instant,
}

impl Reach {
    pub(crate) fn new(now: Now, config: &ReachConfig, rng: Rng) -> Self {
        let family = |v4: bool| {
            let n = usize::from(!v4);
            let port = config.ports.get(n).copied().flatten();
            Family {
                v4,
                port,
                fixed: config.fixed.get(n).copied().flatten(),
                votes: Votes::new(config.small_network),
                state: Reachability::Unknown,
                results: VecDeque::new(),
                nothing: 0,
                refused_by: Vec::new(),
                next: if port.is_some() { now.mono + SOON.0 } else { Instant::FAR },
            }
        };
        Self {
            families: [family(true), family(false)],
            small_network: config.small_network,
            allow_reserved: config.allow_reserved,
            rng,
            events: VecDeque::new(),
        }
    }

    /// The next event. Call until `None` after every other call.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn next_timeout(&self) -> Instant {
        self.families.iter().map(|family| family.next).min().unwrap_or(Instant::FAR)
    }

    pub(crate) fn handle_timeout(&mut self, now: Now) {
        for n in 0..self.families.len() {
            let Some(family) = self.families.get_mut(n).filter(|family| family.next <= now.mono) else { continue };
            family.next = now.mono + LONGEST;
            let (v4, claimed) = (family.v4, family.external());
            self.events.push_back(Event::Test { v4, claimed });
        }
    }

    fn family(&mut self, v4: bool) -> &mut Family {
        let [four, six] = &mut self.families;
        if v4 { four } else { six }
    }

    const fn of(&self, v4: bool) -> &Family {
        let [four, six] = &self.families;
        if v4 { four } else { six }
    }

    /// Whether others can reach us by this family.
    pub(crate) const fn state(&self, v4: bool) -> Reachability {
        self.of(v4).state
    }

    /// Our address as others see it, as far as it is known.
    pub(crate) fn external(&self, v4: bool) -> Option<SocketAddr> {
        self.of(v4).external()
    }

    /// A peer that we have dialled, or a tester, sees us here.
    pub(crate) fn handle_seen(&mut self, now: Now, by: IpAddr, seen: SocketAddr) {
        let seen = SocketAddr::new(seen.ip().to_canonical(), seen.port());
        let possible = self.allow_reserved || ramson_wire::data::router_address::is_public(seen.ip());
        let family = self.family(seen.is_ipv4());
        if !possible || family.port.is_none() || by.to_canonical().is_ipv4() != seen.is_ipv4() {
            return;
        }
        let before = family.external();
        family.votes.add(now.mono, by, seen);
        let after = family.external();
        if before == after {
            return;
        }
        // Another host: what was shown of the old one says nothing of it.
        if before.map(|addr| addr.ip()) != after.map(|addr| addr.ip()) && family.state != Reachability::Unknown {
            family.state = Reachability::Unknown;
            family.results.clear();
        }
        family.nothing = 0;
        // Before most are known to us, and we to our translator.
        family.next = family.next.min(now.mono + AT_ONCE);
        self.events.push_back(Event::Changed);
    }

    /// Whether a test could be begun. Without a peer to ask there is another try soon.
    pub(crate) fn handle_begun(&mut self, now: Now, v4: bool, begun: bool) {
        if !begun {
            let pause = self.rng.between(SOON.0, SOON.1);
            self.family(v4).next = now.mono + pause;
        }
    }

    /// One who was asked to have our address tested refuses: it sees us elsewhere. When two networks say so, peers have
    /// misled us.
    pub(crate) fn handle_refused(&mut self, now: Now, v4: bool, by: IpAddr) {
        let small = self.small_network;
        let family = self.family(v4);
        let by = Prefix::from(by);
        if family.fixed.is_some() || !small && family.refused_by.contains(&by) {
            return;
        }
        family.refused_by.push(by);
        if family.refused_by.len() < REFUSALS {
            return;
        }
        family.refused_by.clear();
        family.results.clear();
        family.votes.forget();
        family.state = Reachability::Unknown;
        family.next = family.next.min(now.mono + SOON.0);
        self.events.push_back(Event::Changed);
    }

    /// A test has ended.
    pub(crate) fn handle_shown(&mut self, now: Now, v4: bool, shown: Shown) {
        let (soon, regular) = (self.rng.between(SOON.0, SOON.1), self.rng.between(REGULAR.0, REGULAR.1));
        let small = self.small_network;
        let family = self.family(v4);
        if shown.state == Reachability::Unknown {
            family.nothing = family.nothing.saturating_add(1);
            let pause = soon.saturating_mul(1 << family.nothing.min(6).saturating_sub(1)).min(SELDOM);
            family.next = now.mono + pause;
            return;
        }
        family.nothing = 0;
        family.refused_by.clear();
        family.results.retain(|(at, _)| now.mono.since(*at) < RESULT_AGE);
        if family.results.len() >= limits::RESULTS {
            family.results.pop_front();
        }
        family.results.push_back((now.mono, shown));
        let before = family.state;
        if family.is_confirmed(shown, small) {
            family.state = shown.state;
        }
        // Two against the other kind of verdict decide; one speaks for another test soon.
        let settled = family.state == shown.state;
        family.next = now.mono + if settled { regular } else { soon };
        if before != family.state {
            self.events.push_back(Event::Changed);
        }
    }

    /// A router that we never dialled has begun a session over UDP from this host, and nobody had introduced it. Where the
    /// operator says what our address is, that shows the same as a test: a router whom all others know finds no Charlie that
    /// does not know it. It says nothing against a verdict.
    pub(crate) fn handle_came(&mut self, now: Now, by: IpAddr) {
        let by = by.to_canonical();
        let family = self.of(by.is_ipv4());
        let has_come = |(_, shown): &(Instant, Shown)| shown.by == by;
        let counts = family.fixed.is_some() && family.state == Reachability::Unknown;
        if counts && !family.results.iter().any(has_come) {
            self.handle_shown(now, by.is_ipv4(), Shown { by, state: Reachability::Open });
        }
    }

    /// What must hold between two calls.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(crate) fn check(&self) {
        for family in &self.families {
            assert!(family.results.len() <= limits::RESULTS);
            assert!(family.votes.len() <= limits::VOTES && family.refused_by.len() < REFUSALS);
            assert!(family.port.is_some() || family.state == Reachability::Unknown);
        }
    }
}

impl Family {
    /// Where others see us: at the operator's address, or where enough say; at the port that they say most, if they do
    /// not all say another.
    fn external(&self) -> Option<SocketAddr> {
        let own = self.port?;
        match (self.fixed, self.votes.agreed()) {
            (Some(fixed), _) => Some(fixed),
            (None, Some((ip, port))) => Some(SocketAddr::new(ip, port.unwrap_or(own))),
            (None, None) => None,
        }
    }

    /// Whether another test, by another router, has shown the same, and none between.
    fn is_confirmed(&self, shown: Shown, small_network: bool) -> bool {
        let is_open = |state: Reachability| state == Reachability::Open;
        let same = self.results.iter().rev().map(|(_, other)| other);
        let same = same.take_while(|other| is_open(other.state) == is_open(shown.state)).take(limits::RESULTS);
        let mut count = 0;
        let mut networks: Vec<Prefix> = Vec::new();
        for other in same.filter(|other| other.state == shown.state) {
            count += 1;
            let network = Prefix::from(other.by);
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
        count >= 2 && (small_network || networks.len() >= 2)
    }
}

#[cfg(test)]
mod tests;
