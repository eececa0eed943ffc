//! Whether and where others can reach us: peer tests on their way, and what of it is published.

use super::{Event, Router};
use crate::job::Job;
use crate::link::ssu2::peer_test::{self, Choice, Found, Role, TestDone, TestResult, Verdict};
use crate::link::{Links, PeerTestMessage, PeerTestOutside};
use crate::reach::{self, Nat, ReachConfig, Reachability, Shown};
use crate::time::Duration;
use ramson_wire::codec::Encode;
use ramson_wire::data::{Hash, RouterInfo, Ssu2Address};
use ramson_wire::i2np::Kind;
use ramson_wire::i2np::database_store::{self, DatabaseStore, Entry};
use ramson_wire::ssu2::{MessageType, RouterInfoBlock};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Peers with sessions over UDP that can be asked for tests of a family; with fewer, others are dialled. Whom we talk to
/// is no Charlie for us: a small network must not run out of them.
const TESTERS: usize = 3;
const TESTERS_SMALL: usize = 2;
/// The same while too few have said where they see us: all must be of different networks.
const WITNESSES: usize = 6;
/// Routers that are dialled to be Charlie for somebody, at once, and how often at most.
const CHARLIES_DIALLED: usize = 2;
const BETWEEN_DIALS: Duration = Duration::from_secs(5);
/// Routers that are drawn to find them.
const DRAWN: usize = 64;

/// What the router tells the machine of its settings.
pub(super) fn config(config: &super::Config) -> ReachConfig {
    let of_family =
        |addrs: &[SocketAddr], v4: bool| addrs.iter().find(|addr| addr.ip().to_canonical().is_ipv4() == v4).copied();
    let port = |v4: bool| of_family(&config.udp, v4).map(|socket| socket.port()).filter(|_| !config.hidden);
    let fixed = |v4: bool| {
        let host = of_family(&config.listen, v4).filter(|_| config.publishable)?;
        Some(SocketAddr::new(host.ip().to_canonical(), port(v4)?))
    };
    ReachConfig {
        ports: [port(true), port(false)],
        fixed: [fixed(true), fixed(false)],
        small_network: config.small_network,
        allow_reserved: config.addresses.allow_reserved,
    }
}

impl Router {
    /// Carries what both machines say to where it belongs. False when they have nothing to say.
    pub(super) fn drain_reach(&mut self) -> bool {
        if let Some(event) = self.reach.poll_event() {
            match event {
                reach::Event::Test { v4, claimed } => self.begin_test(v4, claimed),
                reach::Event::Changed => self.reach_changed(),
            }
            return true;
        }
        let Some(event) = self.tests.poll_event() else { return false };
        let now = self.now;
        match event {
            peer_test::Event::Block { to, about, block } => self.send_test(&to, about.as_deref(), block),
            peer_test::Event::Outside { to, key, ids, blocks } => {
                self.links.send_outside(now, to, key, MessageType::PeerTest, ids, &blocks);
            }
            peer_test::Event::Job(job) => self.job(Job::PeerTest(Box::new(job), Arc::clone(&self.keys))),
            peer_test::Event::Find { role, nonce, router, ip } => {
                let found = self.find_for_test(role, &router, ip);
                self.tests.handle_found(now, role, nonce, found);
            }
            peer_test::Event::Choose { nonce, v4, without, ip } => {
                let choice = self.choose_charlie(v4, &without, ip);
                self.tests.handle_chosen(now, nonce, choice);
            }
            peer_test::Event::Done(result) => self.test_done(&result),
        }
        true
    }

    pub(super) fn handle_peer_test(&mut self, from: Hash, addr: SocketAddr, message: PeerTestMessage) {
        self.tests.handle_message(self.now, from, addr, message);
    }

    pub(super) fn handle_test_outside(&mut self, from: SocketAddr, outside: &PeerTestOutside) {
        self.tests.handle_outside(self.now, from, outside);
    }

    pub(super) fn test_job_done(&mut self, done: &TestDone) {
        self.tests.handle_job(self.now, done);
    }

    /// A peer has sent the RouterInfo of another router, perhaps since a test is about it. It goes nowhere else.
    pub(super) fn note_introduced(&mut self, from: Hash, info: &Arc<RouterInfo>) {
        if self.links.udp_address(&from).is_some() {
            self.tests.handle_introduced(self.now, from, info);
        }
    }

    /// Begins a test with a peer that takes part in them; without one, some are dialled, which say too where they see us.
    fn begin_test(&mut self, v4: bool, claimed: Option<SocketAddr>) {
        let peers: Vec<_> = self.links.udp_peers().filter(|peer| peer.addr.is_ipv4() == v4).collect();
        let testers: Vec<_> =
            peers.into_iter().filter(|peer| self.store.get(&peer.hash).is_some_and(|info| tests(info, v4))).collect();
        let wanted = match (self.config.small_network, claimed) {
            (true, _) => TESTERS_SMALL,
            (false, Some(_)) => TESTERS,
            (false, None) => WITNESSES,
        };
        if testers.len() < wanted {
            self.dial_testers(v4, wanted - testers.len());
        }
        // Not the same one again, where there is another.
        let last = self.last_tester[usize::from(!v4)];
        let others: Vec<_> = testers.iter().filter(|peer| Some(peer.hash) != last).copied().collect();
        let bob = self.rng.pick(if others.is_empty() { &testers } else { &others }).copied();
        let mut begun = false;
        if let (Some(bob), Some(claimed)) = (bob, claimed) {
            self.last_tester[usize::from(!v4)] = Some(bob.hash);
            begun = self.tests.start(self.now, bob.hash, bob.addr.ip(), claimed);
            // While nothing is known, another one at once: two make a verdict.
            let second = testers.iter().find(|peer| peer.hash != bob.hash);
            if let Some(second) = second.filter(|_| self.reach.state(v4) == Reachability::Unknown) {
                self.tests.start(self.now, second.hash, second.addr.ip(), claimed);
            }
        }
        self.reach.handle_begun(self.now, v4, begun);
    }

    /// Dials routers over UDP that take part in tests; rather such without a session. How many are dialled.
    fn dial_testers(&mut self, v4: bool, wanted: usize) -> usize {
        let mut dialled = 0;
        for connected in [false, true] {
            for _ in 0..DRAWN {
                if dialled == wanted {
                    return dialled;
                }
                let Some(info) = self.store.random(&mut self.rng).cloned() else { return dialled };
                let hash = info.hash();
                let fits = tests(&info, v4) && self.links.udp_address(&hash).is_none();
                let fits = fits && self.links.is_connected(&hash) == connected;
                if fits && self.links.dial_over_udp(self.now, &info, Some(v4)) {
                    dialled += 1;
                }
            }
        }
        dialled
    }

    fn find_for_test(&self, role: Role, router: &Hash, ip: Option<IpAddr>) -> Found {
        let info = self.store.get(router).cloned();
        // Bob talks to both of them, of course.
        let spoken_to = role != Role::Bob && {
            let hosts = info.iter().flat_map(|info| info.ssu2_addresses()).filter_map(|address| address.host);
            let hosts: Vec<IpAddr> = hosts.filter(|_| role == Role::Alice).chain(ip).collect();
            self.links.has_spoken_to(self.now, router, None)
                || hosts.into_iter().any(|host| self.links.has_spoken_to(self.now, router, Some(host)))
        };
        Found { info, spoken_to }
    }

    /// A peer with a session over UDP that takes part in tests of this family, away from Alice at `ip`. Most of
    /// our sessions are over TCP: where none is there, some are dialled.
    pub(super) fn choose_charlie(&mut self, v4: bool, without: &[Hash], ip: IpAddr) -> Choice {
        let small = self.config.small_network;
        let peers: Vec<Hash> =
            self.links.udp_peers().map(|peer| peer.hash).filter(|hash| !without.contains(hash)).collect();
        let fits = |hash: &Hash| {
            let info = self.store.get(hash);
            let addresses = info.iter().flat_map(|info| info.ssu2_addresses()).filter(|address| address.peer_test);
            let mut hosts = addresses.filter_map(Ssu2Address::endpoint).map(|addr| addr.ip());
            hosts.any(|host| host.is_ipv4() == v4 && if small { host != ip } else { !is_near(host, ip) })
        };
        let fitting: Vec<Hash> = peers.into_iter().filter(fits).collect();
        if let Some(charlie) = self.rng.pick(&fitting) {
            return Choice::Charlie(*charlie);
        }
        let now = self.now.mono;
        if self.charlies_dialled.is_none_or(|at| now.since(at) >= BETWEEN_DIALS) {
            if self.dial_testers(v4, CHARLIES_DIALLED) == 0 {
                return Choice::Nobody;
            }
            self.charlies_dialled = Some(now);
        }
        Choice::Soon
    }

    /// Sends a block of a test in the session with a peer, and what is known of another router ahead of it.
    fn send_test(&mut self, to: &Hash, about: Option<&RouterInfo>, block: Vec<u8>) {
        let mut blocks = Vec::with_capacity(2);
        match about.map(router_info_block) {
            Some(Some(info)) => blocks.push(info),
            // It fits into no packet: as a message, which goes in fragments. The other waits for it.
            Some(None) => {
                let info = about.and_then(|info| self.store.get(&info.hash())).cloned();
                if let Some(info) = info {
                    let store = DatabaseStore::new(Entry::RouterInfo(info), None);
                    let message = self.message(Kind::DATABASE_STORE, super::network::DIRECT_MS, store.to_bytes());
                    self.send_direct(to, message);
                }
            }
            None => {}
        }
        blocks.push(block);
        self.links.send_blocks(self.now, to, blocks);
    }

    fn test_done(&mut self, result: &TestResult) {
        let TestResult { v4, bob, charlie, claimed, seen, verdict } = *result;
        tracing::debug!(v4, ?verdict, code = ?seen.map(|seen| seen.port() == claimed.port()), "a peer test has ended");
        if let (Verdict::Unknown(Some(peer_test::BOB_ADDRESS)), Some(addr)) = (verdict, self.links.udp_address(&bob)) {
            self.reach.handle_refused(self.now, v4, addr.ip());
        }
        // Where most are known already it takes a while to be given another.
        if verdict == Verdict::NoStranger {
            return self.reach.handle_begun(self.now, v4, false);
        }
        let Some((_, by)) = charlie else {
            return self.reach.handle_shown(self.now, v4, Shown { by: claimed.ip(), state: Reachability::Unknown });
        };
        let state = match verdict {
            Verdict::Open => Reachability::Open,
            Verdict::Firewalled if seen.is_some_and(|seen| seen.port() != claimed.port()) => {
                Reachability::Firewalled(Nat::Symmetric)
            }
            Verdict::Firewalled => Reachability::Firewalled(Nat::Filtering),
            Verdict::Unknown(_) | Verdict::NoStranger => Reachability::Unknown,
        };
        if let Some(seen) = seen {
            self.reach.handle_seen(self.now, by, seen);
        }
        self.reach.handle_shown(self.now, v4, Shown { by, state });
    }

    /// Who introduces us, and to whom we are introduced, is told where peers agree that we are.
    pub(super) fn tell_own_address(&mut self) {
        for v4 in [true, false] {
            self.links.set_own_address(v4, self.reach.external(v4));
        }
    }

    fn reach_changed(&mut self) {
        self.tell_own_address();
        self.update_published();
        for v4 in [true, false] {
            let state = self.reach.state(v4);
            let told = &mut self.told_reach[usize::from(!v4)];
            if std::mem::replace(told, state) != state {
                self.event(Event::ReachabilityTested { v4, state });
            }
        }
    }

    /// Brings what we publish in line with what is known, and has it signed anew if that is something else.
    pub(super) fn update_published(&mut self) {
        if self.note_publishable() {
            self.sign_own_info();
        }
    }

    /// The same, without a signature. True when it is something else than before.
    pub(super) fn note_publishable(&mut self) -> bool {
        let (tcp, udp) = self.publishable();
        self.tests.set_serves(udp.iter().any(SocketAddr::is_ipv4), udp.iter().any(SocketAddr::is_ipv6));
        let changed = (&tcp, &udp) != (&self.own.published, &self.own.udp_published);
        (self.own.published, self.own.udp_published) = (tcp, udp);
        changed
    }

    /// The addresses at which we can be dialled, as far as is known: over TCP and over UDP.
    pub(super) fn publishable(&self) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        if self.config.hidden {
            return (tcp, udp);
        }
        let private = self.config.network_id != 2;
        for v4 in [true, false] {
            let state = self.reach.state(v4);
            let firewalled = matches!(state, Reachability::Firewalled(_));
            let by_tcp = self.reached.by_tcp(v4);
            let of_family = |addr: &&SocketAddr| addr.ip().to_canonical().is_ipv4() == v4;
            let configured = self.config.listen.iter().filter(|_| self.config.publishable).filter(of_family);
            let configured: Vec<SocketAddr> = configured.copied().collect();
            let believed = private || self.reached.by_any(v4) || state == Reachability::Open;
            // What lets in no datagrams lets in no connections either, unless one has come.
            if believed && (!firewalled || by_tcp) {
                tcp.extend(&configured);
            }
            match state {
                Reachability::Open => udp.extend(self.reach.external(v4)),
                // The operator's address stands against tests while somebody has come in by it.
                Reachability::Unknown | Reachability::Firewalled(_)
                    if believed && (!firewalled || self.reached.by_udp(v4)) =>
                {
                    let port = self.config.udp.iter().find(|socket| socket.is_ipv4() == v4).map(SocketAddr::port);
                    let hosts = configured.iter().map(|addr| addr.ip().to_canonical());
                    udp.extend(hosts.zip(port.into_iter().cycle()).map(SocketAddr::from));
                }
                Reachability::Unknown | Reachability::Firewalled(_) => {}
            }
        }
        (tcp, udp)
    }
}

/// Whether a router takes part in tests of this family, and can be dialled by it.
fn tests(info: &RouterInfo, v4: bool) -> bool {
    let by_family = |addr: SocketAddr| addr.is_ipv4() == v4;
    info.ssu2_addresses().iter().any(|address| address.peer_test && address.endpoint().is_some_and(by_family))
}

/// Whether two addresses are of one network: an IPv4 /16, or an IPv6 /32.
fn is_near(one: IpAddr, other: IpAddr) -> bool {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..2] == other.octets()[..2],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..2] == other.segments()[..2],
        _ => false,
    }
}

/// A RouterInfo as a block that fits into a packet, packed if it must be.
fn router_info_block(info: &RouterInfo) -> Option<Vec<u8>> {
    let encode = |gzip: bool, data: &[u8]| {
        let mut out = Vec::with_capacity(data.len() + 8);
        RouterInfoBlock { flood: false, gzip, data }.encode(&mut out);
        (out.len() <= Links::BLOCK_ROOM).then_some(out)
    };
    encode(false, info.as_bytes()).or_else(|| encode(true, &database_store::gzip(info.as_bytes())))
}
