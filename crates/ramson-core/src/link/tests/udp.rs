//! Links over UDP: two of them, one clock, and a network that delays, loses, reorders and doubles.

use super::*;
use crate::keys::RouterKeys;
use crate::own_info::OwnInfo;
use crate::tunnel::Congestion;

struct Node {
    links: Links,
    info: Arc<RouterInfo>,
    rng: Rng,
    received: Vec<Message>,
    up: usize,
    down: usize,
    unreachable: usize,
    terminated: Vec<TerminationReason>,
    infos: usize,
    opened: Vec<ConnId>,
}

struct World {
    now: Instant,
    nodes: Vec<Node>,
    rng: Rng,
    loss: f64,
    delay: (u64, u64),
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    count: u64,
    bytes: u64,
    /// Where a translator has the first node seem to be; nothing reaches it elsewhere.
    outside: SocketAddr,
}

fn addr(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 7_000).into()
}

fn own(n: u8) -> OwnInfo {
    OwnInfo {
        network_id: 99,
        bandwidth: 'L',
        published: vec![([10, 0, 0, n], 9_000).into()],
        udp: vec![addr(n)],
        udp_published: vec![addr(n)],
        hidden: false,
        ipv4: true,
        ipv6: false,
        introducers: vec![],
        floodfill: false,
        congestion: Congestion::None,
    }
}

/// A RouterInfo with some of its addresses.
pub(super) fn saying(info: &RouterInfo, keys: &RouterKeys, which: impl Fn(&RouterAddress) -> bool) -> RouterInfo {
    let addresses = info.addresses().iter().filter(|address| which(address)).cloned().collect();
    let (identity, options) = (info.identity().clone(), info.options().clone());
    Unsigned { identity, published: START, addresses, options }.sign(&keys.signing).unwrap()
}

/// Links over TCP and over UDP.
pub(super) fn links(
    keys: &RouterKeys,
    info: &RouterInfo,
    ipv6: bool,
    sockets: Vec<SocketAddr>,
    rng: &mut Rng,
) -> Links {
    let config = LinkConfig {
        network_id: 99,
        static_key: keys.ntcp2_key.clone(),
        router: info.hash(),
        iv: keys.ntcp2_iv,
        padding: PaddingStrategy::Random,
        addresses: AddressRules { allow_reserved: true, ipv4: true, ipv6 },
    };
    let mut links = Links::new(config, rng.child("links"));
    let (static_key, intro_key) = (keys.ssu2_key(), keys.ssu2_intro());
    links.enable_udp(UdpConfig { sockets, static_key, intro_key, signing: Arc::new(keys.signing.clone()) });
    links.set_router_info(info.as_bytes().to_vec());
    links
}

/// `tcp`: it says that it can be reached by NTCP2, too.
fn node(n: u8, tcp: bool) -> Node {
    let mut rng = Rng::from_seed([n; 32]);
    let keys = RouterKeys::generate(&mut rng);
    let info = saying(&own(n).sign(&keys, START).unwrap(), &keys, |address| tcp || address.style() == "SSU2");
    let links = links(&keys, &info, false, vec![addr(n)], &mut rng);
    let info = Arc::new(info);
    Node {
        links,
        info,
        rng,
        received: vec![],
        up: 0,
        down: 0,
        unreachable: 0,
        terminated: vec![],
        infos: 0,
        opened: vec![],
    }
}

impl World {
    fn new(seed: u8, tcp: bool) -> Self {
        Self {
            now: Instant::ZERO + Duration::from_secs(100),
            nodes: vec![node(1, tcp), node(2, tcp)],
            rng: Rng::from_seed([seed; 32]),
            loss: 0.0,
            delay: (20, 20),
            flying: BTreeMap::new(),
            count: 0,
            bytes: 0,
            outside: addr(1),
        }
    }

    fn now(&self) -> Now {
        Now::new(self.now, START + self.now.as_micros() / 1_000)
    }

    fn send(&mut self, from: usize, len: usize, id: u32) -> bool {
        let to = Arc::clone(&self.nodes[1 - from].info);
        let body = (0..len).map(|at| (at as u32 ^ id) as u8).collect();
        let message = Message { kind: Kind::DATA, id, expiration: START + 10_000_000, body };
        let now = self.now();
        let sent = self.nodes[from].links.send(now, &to.hash(), message, Class::Own, Some(&to));
        self.drain(from);
        sent
    }

    fn drain(&mut self, n: usize) {
        let now = self.now();
        while let Some(event) = self.nodes[n].links.poll_event(now) {
            let node = &mut self.nodes[n];
            match event {
                Event::Udp(Datagrams { socket, to, segment, bytes, .. }) => {
                    assert_eq!(socket, UdpId(0));
                    for datagram in bytes.chunks(segment) {
                        assert!(datagram.len() <= 1_472);
                        self.bytes += datagram.len() as u64;
                        self.count += 1;
                        if self.rng.unit() < self.loss {
                            continue;
                        }
                        let (least, most) = self.delay;
                        let delay = self.rng.between(Duration::from_millis(least), Duration::from_millis(most));
                        let key = (self.now + delay, self.count);
                        let from = if n == 0 { self.outside } else { addr(2) };
                        self.flying.insert(key, (from, to, datagram.to_vec()));
                    }
                }
                Event::Job(job) => {
                    let done = job.run(&mut node.rng);
                    node.links.handle_job(now, done);
                }
                Event::Received { message, .. } => node.received.push(message),
                Event::Up { .. } => node.up += 1,
                Event::Down { .. } => node.down += 1,
                Event::Unreachable { .. } => node.unreachable += 1,
                Event::Terminated { reason, .. } => node.terminated.push(reason),
                Event::RouterInfo { .. } => node.infos += 1,
                Event::Open { conn, .. } => node.opened.push(conn),
                Event::Write { .. } | Event::Close { .. } | Event::Clock { .. } => {}
                Event::SeenAt { .. } | Event::PeerTest { .. } | Event::Outside { .. } => {}
                Event::Info { .. } | Event::WantIntroducers { .. } | Event::Introducers => {}
            }
        }
        self.nodes[n].links.check();
    }

    fn run(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        for _ in 0..2_000_000 {
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let timers = self.nodes.iter().filter_map(|node| node.links.next_timeout());
            let Some(next) = timers.chain(arrival).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if arrival == Some(next)
                && let Some((_, (from, to, mut bytes))) = self.flying.pop_first()
            {
                let (n, len, now) = (usize::from(to == addr(2)), bytes.len(), self.now());
                if n == 0 && to != self.outside {
                    continue;
                }
                self.nodes[n].links.handle_udp(now, from, len, &mut bytes, false);
                self.drain(n);
                continue;
            }
            for n in 0..2 {
                let now = self.now();
                self.nodes[n].links.handle_timeout(now);
                self.drain(n);
            }
        }
        self.now = end;
    }
}

#[test]
fn messages_of_every_size_go_both_ways() {
    let mut world = World::new(1, false);
    let sizes = [0, 1, 1_000, 1_200, 1_400, 5_000, 62_708];
    for (n, len) in sizes.into_iter().enumerate() {
        assert!(world.send(0, len, n as u32));
    }
    world.run(3);
    for (n, len) in sizes.into_iter().enumerate() {
        assert!(world.send(1, len, n as u32));
    }
    world.run(3);
    for node in &world.nodes {
        let mut got: Vec<(u32, usize)> = node.received.iter().map(|message| (message.id, message.body.len())).collect();
        got.sort_unstable();
        assert_eq!(got, sizes.into_iter().enumerate().map(|(n, len)| (n as u32, len)).collect::<Vec<_>>());
        for message in &node.received {
            assert!(message.body.iter().enumerate().all(|(at, byte)| *byte == (at as u32 ^ message.id) as u8));
        }
        assert_eq!((node.up, node.down, node.links.stats().sessions), (1, 0, 1));
    }
    assert_eq!((world.nodes[0].links.stats().inbound, world.nodes[1].links.stats().inbound), (0, 1));
    assert!(world.nodes[0].opened.is_empty());
    assert_eq!(world.nodes[0].links.prefix(&world.nodes[1].info.hash()), Some(Prefix::V4([10, 0, 0])));
}

/// What was sent is there once, on lines that lose and reorder.
#[test]
fn messages_come_through_loss_once() {
    for seed in 0..10 {
        let mut world = World::new(seed, false);
        (world.loss, world.delay) = (0.1, (5, 60));
        world.send(0, 10, 9_999);
        world.run(16);
        let begun = world.nodes[0].received.len() + world.nodes[1].received.len();
        assert!(begun > 0 || world.nodes[0].unreachable > 0, "seed {seed}");
        for n in 0..60 {
            world.send((n % 2) as usize, (n as usize * 97) % 6_000, n);
        }
        world.run(30);
        let mut got: Vec<u32> = world.nodes.iter().flat_map(|node| node.received.iter().map(|m| m.id)).collect();
        let all = got.len();
        got.sort_unstable();
        got.dedup();
        assert_eq!((got.len(), all), (61, 61), "seed {seed}");
    }
}

#[test]
fn a_shutdown_is_told_and_both_sides_forget() {
    let mut world = World::new(3, false);
    world.send(0, 10, 1);
    world.run(1);
    let now = world.now();
    world.nodes[0].links.shutdown(now);
    world.drain(0);
    world.run(20);
    assert_eq!(world.nodes[1].terminated, [TerminationReason::ROUTER_SHUTDOWN]);
    for node in &world.nodes {
        assert_eq!((node.down, node.links.stats().sessions, node.links.conns.len()), (1, 0, 0));
    }
    // The next session begins with a token of the last one, and carries what waited.
    world.send(1, 10, 2);
    world.run(1);
    assert_eq!(world.nodes[0].received.last().map(|message| message.id), Some(2));
}

/// The initiator's first packet of the data phase may be its last: number 0 was its SessionConfirmed.
#[test]
fn a_session_that_carried_nothing_ends_for_both() {
    let mut world = World::new(12, false);
    let (now, info) = (world.now(), Arc::clone(&world.nodes[1].info));
    assert!(world.nodes[0].links.dial(now, &info));
    world.drain(0);
    world.run(2);
    assert_eq!((world.nodes[0].up, world.nodes[1].up), (1, 1));
    let now = world.now();
    world.nodes[0].links.shutdown(now);
    world.drain(0);
    world.run(2);
    assert_eq!((world.nodes[1].down, world.nodes[1].terminated.len()), (1, 1));
}

#[test]
fn idle_sessions_end_and_silent_peers_are_unreachable() {
    let mut world = World::new(4, false);
    world.send(0, 10, 1);
    world.run(260);
    assert!(world.nodes.iter().all(|node| node.down == 1 && node.links.conns.is_empty()));
    world.loss = 1.0;
    assert!(world.send(0, 10, 2));
    world.run(20);
    assert_eq!((world.nodes[0].unreachable, world.nodes[0].links.conns.len()), (1, 0));
    let now = world.now();
    assert!(world.nodes[0].links.is_failed(now, &world.nodes[1].info.hash()));
}

/// A peer that vanishes in the middle of a session is found out long before the session would be idle.
#[test]
fn a_peer_that_vanishes_is_noticed() {
    let mut world = World::new(5, false);
    world.send(0, 10, 1);
    world.run(2);
    world.loss = 1.0;
    world.send(0, 10, 2);
    world.run(60);
    assert_eq!((world.nodes[0].down, world.nodes[0].links.stats().sessions), (1, 0));
}

#[test]
fn a_new_router_info_is_told_in_sessions() {
    let mut world = World::new(6, false);
    world.send(0, 10, 1);
    world.run(1);
    let bytes = world.nodes[0].info.as_bytes().to_vec();
    world.nodes[0].links.set_router_info(bytes);
    world.send(0, 10, 2);
    world.run(1);
    assert_eq!(world.nodes[1].infos, 1);
}

/// By TCP first; where nobody answers there, over UDP, without a word to the router in between.
#[test]
fn a_peer_that_tcp_does_not_reach_is_dialled_over_udp() {
    // Refused at once.
    let mut world = World::new(7, true);
    assert!(world.send(0, 10, 1));
    let conn = world.nodes[0].opened[0];
    assert!(!conn.is_udp());
    let now = world.now();
    world.nodes[0].links.handle_closed(now, conn);
    world.drain(0);
    world.run(1);
    assert_eq!((world.nodes[0].unreachable, world.nodes[1].received.len()), (0, 1));
    // Nothing comes back.
    let mut world = World::new(8, true);
    assert!(world.send(0, 10, 1));
    world.run(2);
    assert_eq!(world.nodes[1].received.len(), 0);
    world.run(3);
    assert_eq!((world.nodes[0].unreachable, world.nodes[1].received.len()), (0, 1), "within the life of what waits");
}

/// Two who dial each other at once keep one session, and lose nothing.
#[test]
fn t47_two_who_dial_each_other_over_udp_keep_one_session() {
    let mut world = World::new(9, false);
    assert!(world.send(0, 100, 1) && world.send(1, 100, 2));
    world.run(2);
    for n in 0..20 {
        world.send(n % 2, 100, 10 + n as u32);
    }
    world.run(10);
    for node in &world.nodes {
        assert_eq!((node.received.len(), node.links.stats().sessions, node.links.conns.len()), (11, 1, 1));
        assert_eq!(node.down, 0);
    }
}

/// Limits of bandwidth hold for datagrams as for streams.
#[test]
fn a_limit_of_bandwidth_holds_over_udp() {
    let mut world = World::new(10, false);
    world.send(0, 10, 0);
    world.run(2);
    let now = world.now();
    world.nodes[0].links.set_limits(now, LinkLimits { incoming: None, outgoing: Some(100_000) });
    for n in 1..400 {
        world.send(0, 1_000, n);
    }
    let before = world.bytes;
    world.run(2);
    let sent = world.bytes - before;
    assert!((150_000..350_000).contains(&sent), "{sent} bytes in two seconds");
}

/// Sockets that take nothing for a while: what waits goes when they do.
#[test]
fn a_blocked_socket_holds_back_and_goes_on() {
    let mut world = World::new(11, false);
    world.send(0, 10, 0);
    world.run(1);
    let now = world.now();
    world.nodes[0].links.handle_udp_blocked(UdpId(0), true);
    world.send(0, 10, 1);
    world.run(1);
    assert_eq!(world.nodes[1].received.len(), 1);
    world.nodes[0].links.handle_udp_blocked(UdpId(0), false);
    let _ = now;
    world.drain(0);
    world.run(1);
    assert_eq!(world.nodes[1].received.len(), 2);
    world.nodes[0].links.handle_udp_blocked(UdpId(7), true);
}

/// Who only hears learns nothing of a new address of its own: when the flow stops, it says a word, and the flow goes on.
#[test]
fn who_only_hears_is_found_at_its_new_address() {
    let mut world = World::new(30, false);
    world.send(0, 10, 1);
    world.run(2);
    let flow = |world: &mut World, ids: std::ops::Range<u32>| {
        for id in ids {
            world.send(1, 900, id);
            world.send(1, 900, id + 10_000);
            let end = world.now + Duration::from_millis(50);
            world.run(0);
            while world.now < end {
                let step = world.flying.first_key_value().map_or(end, |((at, _), _)| (*at).min(end));
                world.now = world.now.max(step);
                world.run(0);
                if step == end {
                    break;
                }
            }
        }
    };
    flow(&mut world, 100..140);
    let before = world.nodes[0].received.len();
    assert!(before >= 70, "{before}");
    world.outside = ([10, 0, 0, 77], 40_000).into();
    world.flying.clear();
    // Two seconds and a half: one of silence, and the way of the challenge.
    flow(&mut world, 200..250);
    world.run(2);
    assert_eq!(world.nodes[0].received.len(), before + 100, "with all that was lost");
    let sessions: Vec<_> = world.nodes.iter().map(|node| (node.up, node.down)).collect();
    assert_eq!(sessions, [(1, 0), (1, 0)], "in the same session");
}

/// A peer that challenges us where it always was has seen us elsewhere: all others are asked whether they do, too.
#[test]
fn a_challenge_makes_us_ask_other_peers_but_not_often() {
    let mut world = World::new(31, false);
    world.send(0, 10, 1);
    world.run(2);
    let sent = |world: &mut World| {
        let before = world.nodes[1].links.stats().received_bytes;
        world.run(2);
        world.nodes[1].links.stats().received_bytes - before
    };
    assert_eq!(sent(&mut world), 0);
    let id = *world.nodes[0].links.conns.keys().next().unwrap();
    let other = ConnId(id.0 + 1);
    let conn = Connection::new(world.now, addr(9), false, None, connection::State::Working);
    world.nodes[0].links.conns.insert(other, conn);
    let now = world.now();
    world.nodes[0].links.we_have_moved(now, other);
    world.nodes[0].links.conns.remove(&other);
    world.drain(0);
    assert!(sent(&mut world) > 0);
    let now = world.now();
    world.nodes[0].links.we_have_moved(now, id);
    assert_eq!(sent(&mut world), 0, "it was asked a moment ago");
}
