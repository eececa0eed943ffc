//! Introductions between whole links: routers behind translators and in the open, one clock, and datagrams that get lost.

use super::*;
use crate::keys::RouterKeys;
use crate::own_info::OwnInfo;
use crate::tunnel::Congestion;

/// The translator in front of a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nat {
    None,
    /// One port for all; let in is who has been sent something.
    PortRestricted,
    /// A port for each.
    Symmetric,
}

struct Node {
    links: Links,
    keys: RouterKeys,
    own: OwnInfo,
    info: Arc<RouterInfo>,
    rng: Rng,
    nat: Nat,
    /// Who was sent something, and by which port of the translator.
    holes: BTreeMap<SocketAddr, u16>,
    received: Vec<Message>,
    unreachable: usize,
    up: usize,
    alive: bool,
}

struct World {
    now: Instant,
    nodes: Vec<Node>,
    rng: Rng,
    loss: f64,
    doubled: f64,
    delay: (u64, u64),
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    count: u64,
    /// RouterInfos of nodes that nobody finds.
    hidden: Vec<usize>,
    /// HolePunches and all else that went to addresses at which nobody is.
    astray: usize,
}

fn outer(n: usize) -> IpAddr {
    [10, 1, 0, n as u8 + 1].into()
}

impl World {
    fn new(seed: u8, nats: &[Nat]) -> Self {
        let mut world = Self {
            now: Instant::ZERO + Duration::from_secs(100),
            nodes: vec![],
            rng: Rng::from_seed([seed; 32]),
            loss: 0.0,
            doubled: 0.0,
            delay: (20, 20),
            flying: BTreeMap::new(),
            count: 0,
            hidden: vec![],
            astray: 0,
        };
        for (n, nat) in nats.iter().enumerate() {
            let node = Self::node(seed, n, *nat);
            world.nodes.push(node);
            world.publish(n);
            let now = world.now();
            world.nodes[n].links.set_firewalled(now, *nat != Nat::None, false);
            world.drain(n);
        }
        world
    }

    fn node(seed: u8, n: usize, nat: Nat) -> Node {
        let mut rng = Rng::from_seed([seed.wrapping_mul(16).wrapping_add(n as u8 + 1); 32]);
        let keys = RouterKeys::generate(&mut rng);
        let socket: SocketAddr = ([10, 1, 0, n as u8 + 1], 7_000).into();
        let own = OwnInfo {
            network_id: 99,
            bandwidth: 'L',
            published: if nat == Nat::None { vec![socket] } else { vec![] },
            udp: vec![socket],
            udp_published: if nat == Nat::None { vec![socket] } else { vec![] },
            hidden: false,
            introducers: vec![],
            ipv4: true,
            ipv6: false,
            floodfill: false,
            congestion: Congestion::None,
        };
        let config = LinkConfig {
            network_id: 99,
            static_key: keys.ntcp2_key.clone(),
            router: keys.identity.hash(),
            iv: keys.ntcp2_iv,
            padding: PaddingStrategy::Random,
            addresses: AddressRules { allow_reserved: true, ipv4: true, ipv6: false },
        };
        let mut links = Links::new(config, rng.child("links"));
        let (static_key, intro_key) = (keys.ssu2_key(), keys.ssu2_intro());
        let signing = Arc::new(keys.signing.clone());
        links.enable_udp(UdpConfig { sockets: vec![socket], static_key, intro_key, signing });
        links.set_own_address(true, Some(socket));
        let info = Arc::new(own.sign(&keys, START).unwrap());
        let holes = BTreeMap::new();
        let (received, unreachable, up, alive) = (vec![], 0, 0, true);
        Node { links, keys, own, info, rng, nat, holes, received, unreachable, up, alive }
    }

    fn now(&self) -> Now {
        Now::new(self.now, START + self.now.as_micros() / 1_000)
    }

    /// Signs a node's RouterInfo, without TCP.
    fn publish(&mut self, n: usize) {
        let now = self.now();
        let node = &mut self.nodes[n];
        node.own.introducers = node.links.introducers();
        let info = node.own.sign(&node.keys, now.unix_ms).unwrap();
        let addresses = info.addresses().iter().filter(|address| address.style() == "SSU2").cloned().collect();
        let (identity, options) = (info.identity().clone(), info.options().clone());
        let unsigned = Unsigned { identity, published: now.unix_ms, addresses, options };
        node.info = Arc::new(unsigned.sign(&node.keys.signing).unwrap());
        node.links.set_router_info(node.info.as_bytes().to_vec());
    }

    fn index(&self, router: &Hash) -> usize {
        self.nodes.iter().position(|node| node.info.hash() == *router).unwrap()
    }

    fn send(&mut self, from: usize, to: usize, id: u32) -> bool {
        let to = Arc::clone(&self.nodes[to].info);
        let message = Message { kind: Kind::DATA, id, expiration: START + 10_000_000, body: vec![7; 100] };
        let now = self.now();
        let sent = self.nodes[from].links.send(now, &to.hash(), message, Class::Own, Some(&to));
        self.drain(from);
        sent
    }

    fn drain(&mut self, n: usize) {
        let now = self.now();
        while let Some(event) = self.nodes[n].links.poll_event(now) {
            match event {
                Event::Udp(Datagrams { to, segment, bytes, .. }) => {
                    for datagram in bytes.chunks(segment) {
                        self.launch(n, to, datagram);
                    }
                }
                Event::Job(job) => {
                    let node = &mut self.nodes[n];
                    let done = job.run(&mut node.rng);
                    node.links.handle_job(now, done);
                }
                Event::Received { message, .. } => self.nodes[n].received.push(message),
                Event::Up { .. } => self.nodes[n].up += 1,
                Event::Unreachable { .. } => self.nodes[n].unreachable += 1,
                Event::Info { router, .. } => {
                    let at = self.index(&router);
                    let info = Arc::clone(&self.nodes[at].info);
                    let info = Some(&info).filter(|_| !self.hidden.contains(&at));
                    self.nodes[n].links.handle_info(now, &router, info);
                }
                Event::WantIntroducers { .. } => {
                    for at in 0..self.nodes.len() {
                        if at != n && self.nodes[at].nat == Nat::None {
                            let info = Arc::clone(&self.nodes[at].info);
                            let links = &mut self.nodes[n].links;
                            if links.udp_family(&info.hash()).is_some() {
                                links.ask_for_tag(now, &info.hash());
                            } else {
                                links.dial_over_udp(now, &info, None);
                            }
                        }
                    }
                }
                Event::Introducers => self.publish(n),
                _ => {}
            }
        }
        self.nodes[n].links.check();
    }

    /// A datagram leaves through the translator of its sender.
    fn launch(&mut self, n: usize, to: SocketAddr, datagram: &[u8]) {
        let node = &mut self.nodes[n];
        let next = 20_000 + node.holes.len() as u16;
        let port = match node.nat {
            Nat::Symmetric => *node.holes.entry(to).or_insert(next),
            _ => *node.holes.entry(to).or_insert(7_000),
        };
        let from = SocketAddr::new(outer(n), port);
        if !node.alive {
            return;
        }
        let copies = 1 + usize::from(self.rng.unit() < self.doubled);
        for _ in 0..copies {
            if self.rng.unit() < self.loss {
                continue;
            }
            let (least, most) = self.delay;
            let delay = self.rng.between(Duration::from_millis(least), Duration::from_millis(most));
            self.count += 1;
            self.flying.insert((self.now + delay, self.count), (from, to, datagram.to_vec()));
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, mut bytes: Vec<u8>) {
        let Some(n) = (0..self.nodes.len()).find(|n| outer(*n) == to.ip()) else {
            self.astray += 1;
            return;
        };
        let node = &mut self.nodes[n];
        let let_in = match node.nat {
            Nat::None => to.port() == 7_000,
            _ => node.holes.get(&from) == Some(&to.port()),
        };
        if let_in && node.alive {
            let now = Now::new(self.now, START + self.now.as_micros() / 1_000);
            let len = bytes.len();
            node.links.handle_udp(now, from, len, &mut bytes, false);
            self.drain(n);
        }
    }

    fn run(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        for _ in 0..2_000_000 {
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let timers = self.nodes.iter().filter(|node| node.alive).filter_map(|node| node.links.next_timeout());
            let Some(next) = timers.chain(arrival).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if arrival == Some(next)
                && let Some((_, (from, to, bytes))) = self.flying.pop_first()
            {
                self.arrive(from, to, bytes);
                continue;
            }
            for n in 0..self.nodes.len() {
                if self.nodes[n].alive {
                    let now = self.now();
                    self.nodes[n].links.handle_timeout(now);
                    self.drain(n);
                }
            }
        }
        self.now = end;
    }

    fn introducers(&self, n: usize) -> usize {
        self.nodes[n].links.introducers().len()
    }
}

use Nat::{None as Open, PortRestricted, Symmetric};

/// The one in the open, the one behind a translator, and who dials: all by one introducer.
#[test]
fn who_cannot_be_dialled_is_reached_through_an_introducer() {
    for (seed, charlie, alice) in [
        (1, PortRestricted, Open),
        (2, PortRestricted, PortRestricted),
        (3, Symmetric, Open),
        (4, Symmetric, Symmetric),
    ] {
        let mut world = World::new(seed, &[Open, charlie, alice]);
        world.run(5);
        assert_eq!(world.introducers(1), 1 + usize::from(alice == Open), "seed {seed}");
        assert!(world.send(2, 1, 7));
        world.run(40);
        // Two translators with a port for each peer never meet; the dial ends and is told.
        let meet = alice != Symmetric;
        assert_eq!(world.nodes[1].received.len(), usize::from(meet), "seed {seed}");
        assert_eq!(world.nodes[2].unreachable, usize::from(!meet), "seed {seed}");
        assert!(world.nodes[1].unreachable == 0);
    }
}

/// Lost, late, out of order and twice: most dials succeed, none lasts for ever.
#[test]
fn introductions_come_through_loss_or_end() {
    let (mut reached, mut dialled) = (0, 0);
    for seed in 0..12 {
        let mut world = World::new(seed, &[Open, PortRestricted, PortRestricted, Open, Open]);
        world.run(5);
        (world.loss, world.doubled, world.delay) = (0.1, 0.1, (5, 120));
        dialled += 1;
        assert!(world.send(2, 1, 7));
        world.run(45);
        let node = &world.nodes[2];
        let stands = node.links.is_connected(&world.nodes[1].info.hash());
        assert!(stands || node.unreachable == 1, "seed {seed}: neither stands nor is over");
        reached += usize::from(!world.nodes[1].received.is_empty());
        let dialling = node.links.conns.values().filter(|conn| !conn.is_up()).count();
        assert_eq!(dialling, 0, "seed {seed}");
    }
    assert!(reached * 10 >= dialled * 8, "{reached} of {dialled}");
}

/// An introducer that has died is not waited for: the next one is asked within seconds.
#[test]
fn the_next_introducer_is_asked_when_one_is_silent() {
    for seed in 20..28 {
        let mut world = World::new(seed, &[Open, Open, Open, PortRestricted, PortRestricted]);
        world.run(5);
        assert_eq!(world.introducers(3), 3);
        world.nodes[0].alive = false;
        world.nodes[1].alive = false;
        assert!(world.send(4, 3, 7));
        world.run(9);
        assert_eq!(world.nodes[3].received.len(), 1, "seed {seed}");
    }
}

/// Threats T66: as long as peers do not agree where we are, whoever has to be told of it is not dialled by introducers.
#[test]
fn t66_nobody_is_dialled_by_introducers_before_we_know_where_we_are() {
    let mut world = World::new(31, &[Open, PortRestricted, PortRestricted]);
    world.run(5);
    world.nodes[2].links.set_own_address(true, None);
    let charlie = Arc::clone(&world.nodes[1].info);
    assert!(!world.nodes[2].links.can_dial(&charlie) && !world.send(2, 1, 7));
    let here = SocketAddr::new(outer(2), 7_000);
    world.nodes[2].links.set_own_address(true, Some(here));
    assert!(world.nodes[2].links.can_dial(&charlie) && world.send(2, 1, 8));
    world.run(8);
    assert_eq!(world.nodes[1].received.len(), 1);
}

/// Nobody knows one introducer's RouterInfo: the others are asked.
#[test]
fn introducers_that_nobody_knows_are_passed_over() {
    let mut world = World::new(30, &[Open, Open, PortRestricted, PortRestricted]);
    world.nodes[3].links.set_firewalled(Now::new(world.now, START), false, false);
    world.run(5);
    assert_eq!((world.introducers(2), world.introducers(3)), (2, 0));
    world.hidden = vec![0];
    assert!(world.send(3, 2, 7));
    world.run(8);
    assert_eq!(world.nodes[2].received.len(), 1);
}

/// Sessions with introducers outlive the patience of translators and of idle sessions, and their tags are renewed.
#[test]
fn introducers_are_kept_and_renewed_and_replaced() {
    let mut world = World::new(40, &[Open, Open, Open, Open, PortRestricted]);
    world.run(5);
    let first = world.nodes[4].links.introducers();
    assert_eq!(first.len(), 3);
    world.run(90 * 60);
    let later = world.nodes[4].links.introducers();
    assert_eq!(later.len(), 3);
    let routers = |all: &[Introduced]| all.iter().map(|one| (one.router, one.tag)).collect::<Vec<_>>();
    assert_eq!(routers(&first), routers(&later), "the sessions are the same");
    let secs = world.now().unix_secs();
    assert!(later.iter().all(|one| one.expires > secs + 600), "what is published is good for a while");
    let gone = world.index(&first[0].router);
    world.nodes[gone].alive = false;
    world.run(120);
    let now = world.nodes[4].links.introducers();
    assert!(now.len() == 3 && now.iter().all(|one| one.router != first[0].router), "replaced by the fourth");
    world.nodes[4].links.set_firewalled(Now::new(world.now, START), false, false);
    assert!(world.nodes[4].links.introducers().is_empty());
}

/// Who introduces whom is forgotten with the sessions, at both ends.
#[test]
fn tags_go_with_their_sessions() {
    let mut world = World::new(50, &[Open, PortRestricted, Open]);
    world.run(5);
    assert_eq!(world.introducers(1), 2);
    let before = Arc::clone(&world.nodes[1].info);
    let now = world.now();
    world.nodes[1].links.shutdown(now);
    world.nodes[1].links.set_firewalled(now, false, false);
    world.drain(1);
    assert_eq!((world.introducers(1), before.ssu2_addresses()[0].introducers.len()), (0, 2));
    world.run(20);
    // It is dialled as it was: the tag is nobody's.
    world.nodes[1].alive = false;
    world.nodes[1].info = before;
    assert!(world.send(2, 1, 7));
    world.run(60);
    assert_eq!(world.nodes[2].unreachable, 1);
}

/// Threats T12: introducers without or with impossible tags, expired ones, ourselves, too many: none of them is asked, and
/// of those that may be one at a time.
#[test]
fn t12_introducers_that_cannot_be_are_not_asked() {
    let mut world = World::new(60, &[Open, Open, Open, PortRestricted]);
    world.run(5);
    let now = world.now();
    let hash = |n: usize| base64::encode(&world.nodes[n].info.hash().0);
    let (own, victim, past, future) = (hash(2), hash(0), "1", "1790009999");
    let cases: [(Vec<(String, String)>, bool); 7] = [
        (one(0, &victim, "0", future), false),
        (one(0, &victim, "4294967296", future), false),
        (one(0, &victim, "-1", future), false),
        (one(0, &victim, "7", past), false),
        (one(0, &own, "7", future), false),
        ((0..9).flat_map(|n| one(n + 3, &victim, "7", future)).collect(), false),
        ((0..9).flat_map(|n| one(n, &victim, "7", future)).collect(), true),
    ];
    let s = base64::encode(&[7; 32]);
    for (n, (options, asked)) in cases.into_iter().enumerate() {
        let mut options: Vec<(&str, &str)> = options.iter().map(|(key, value)| (&**key, &**value)).collect();
        options.extend([("caps", "4"), ("i", &s), ("s", &s), ("v", "2")]);
        options.sort_unstable();
        let address = RouterAddress::new(10, "SSU2", Mapping::from_pairs(options).unwrap()).unwrap();
        let mut rng = Rng::from_seed([200 + n as u8; 32]);
        let keys = RouterKeys::generate(&mut rng);
        let options = world.nodes[0].info.options().clone();
        let unsigned =
            Unsigned { identity: keys.identity.clone(), published: START, addresses: vec![address], options };
        let info = Arc::new(unsigned.sign(&keys.signing).unwrap());
        let links = &mut world.nodes[2].links;
        assert_eq!(links.dial(now, &info), asked, "{n}");
        // One at a time, and Bob says that there is no such tag.
        world.drain(2);
        world.run(15);
        assert_eq!(world.nodes[2].unreachable, usize::from(asked), "{n}");
    }
}

fn one(n: usize, router: &str, tag: &str, expires: &str) -> Vec<(String, String)> {
    let option = |key: &str, value: &str| (format!("{key}{n}"), value.to_owned());
    vec![option("ih", router), option("itag", tag), option("iexp", expires)]
}

/// Translators of every kind at both ends, lines good and bad, introducers that die: in no world a dial lasts for ever, and
/// where they can meet on a good line they do.
#[test]
fn no_dial_is_stuck_in_any_world() {
    no_dial_is_stuck(24);
}

#[test]
#[ignore = "minutes: cargo test -p ramson-core no_dial_is_stuck -- --ignored"]
fn no_dial_is_stuck_in_many_worlds() {
    no_dial_is_stuck(1_536);
}

fn no_dial_is_stuck(worlds: u32) {
    let mut met = 0;
    for world in 0..worlds {
        let (seed, charlie) = ((world / 6) as u8, [PortRestricted, Symmetric][world as usize % 2]);
        let alice = [Open, PortRestricted, Symmetric][world as usize / 2 % 3];
        let mut net = World::new(seed, &[Open, Open, Open, charlie, alice]);
        net.run(5);
        let bad = net.rng.below(3);
        (net.loss, net.doubled, net.delay) = [(0.0, 0.0, (20, 20)), (0.05, 0.05, (5, 90)), (0.3, 0.1, (5, 200))][bad];
        if net.rng.below(4) == 0 {
            let dies = net.rng.below(3);
            net.nodes[dies].alive = false;
        }
        assert!(net.send(4, 3, 7) && net.send(3, 0, 8), "world {world}");
        net.run(60);
        for n in [3, 4] {
            // What is younger than a dial may last is no matter of that.
            let now = net.now;
            let conns = net.nodes[n].links.conns.values();
            let stuck = conns.filter(|conn| !conn.is_up() && now.since(conn.opened) > Duration::from_secs(40)).count();
            assert_eq!(stuck, 0, "world {world}: node {n}");
        }
        let came = !net.nodes[3].received.is_empty();
        let meet = charlie == PortRestricted && alice != Symmetric || alice == Open;
        assert!(came || !meet || bad > 0, "world {world}: they have not met");
        met += u32::from(came);
    }
    assert!(met * 3 > worlds, "{met} of {worlds}");
}
