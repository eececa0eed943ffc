//! Routers with sessions between all of them, and datagrams outside of those; both are late, doubled and out of order, and
//! datagrams get lost.

use super::super::*;
use crate::keys::RouterKeys;
use crate::link::ssu2::outside::{self, IntroKey};
use crate::own_info::OwnInfo;
use crate::tunnel::Congestion;
use ramson_wire::ssu2::{Block, Blocks, MessageType};
use std::collections::BTreeSet;

pub(super) const ALICE: usize = 0;
pub(super) const BOB: usize = 1;
pub(super) const CHARLIE: usize = 2;
const NETWORK: u8 = 99;

/// What stands in front of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    Nothing,
    FullCone,
    Restricted,
    PortRestricted,
    Symmetric,
}

pub(super) struct Node {
    pub(super) tests: PeerTests,
    pub(super) keys: Arc<RouterKeys>,
    pub(super) info: Arc<RouterInfo>,
    pub(super) addr: SocketAddr,
    intro: IntroKey,
    pub(super) front: Front,
    pub(super) contacts: BTreeSet<SocketAddr>,
    pub(super) results: Vec<TestResult>,
    /// What it has sent outside of sessions, and how many bytes of UDP that were.
    pub(super) sent: Vec<(SocketAddr, usize)>,
}

enum Delivery {
    Block { from: usize, to: usize, about: Option<Arc<RouterInfo>>, message: Message },
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
}

pub(super) struct World {
    pub(super) now: Now,
    pub(super) nodes: Vec<Node>,
    queue: BTreeMap<(Instant, u64), Delivery>,
    sequence: u64,
    pub(super) rng: Rng,
    /// The share of datagrams that is lost, and of all messages that come twice.
    pub(super) loss: f64,
    pub(super) doubled: f64,
    /// RouterInfos go along with messages 2 and 4.
    pub(super) introduces: bool,
    /// What routers know of each other without that.
    pub(super) known: BTreeSet<(usize, usize)>,
    pub(super) spoken_to: BTreeSet<(usize, usize)>,
    /// Whom Bob finds.
    pub(super) charlie: Option<usize>,
    /// He waits for sessions when there is none.
    pub(super) soon: bool,
    /// What he finds before that one.
    pub(super) others: Vec<usize>,
    /// The codes of messages 4 that Alice has been sent.
    pub(super) codes: Vec<u8>,
}

pub(super) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn start() -> Now {
    Now::new(Instant::ZERO + Duration::from_secs(1), 1_790_000_000_000)
}

impl World {
    pub(super) fn new(seed: u8) -> Self {
        Self::with(seed, ["20.1.0.1:9001", "21.1.0.1:9002", "22.1.0.1:9003"].map(at), Front::Nothing)
    }

    /// Alice, who stands behind something, Bob and Charlie.
    pub(super) fn with(seed: u8, addrs: [SocketAddr; 3], front: Front) -> Self {
        let mut rng = Rng::from_seed([seed; 32]);
        let nodes = addrs
            .into_iter()
            .enumerate()
            .map(|(n, addr)| Node::new(&mut rng.child("node"), addr, if n == ALICE { front } else { Front::Nothing }));
        let nodes = nodes.collect();
        Self {
            now: start(),
            nodes,
            queue: BTreeMap::new(),
            sequence: 0,
            rng,
            loss: 0.0,
            doubled: 0.0,
            introduces: true,
            known: [(BOB, ALICE), (BOB, CHARLIE)].into(),
            spoken_to: BTreeSet::new(),
            charlie: Some(CHARLIE),
            soon: false,
            others: Vec::new(),
            codes: Vec::new(),
        }
    }

    pub(super) fn hash(&self, n: usize) -> Hash {
        self.nodes[n].keys.identity.hash()
    }

    /// One more router that Bob has a session with.
    pub(super) fn add(&mut self, addr: &str) -> usize {
        let node = Node::new(&mut self.rng.child("another"), at(addr), Front::Nothing);
        self.nodes.push(node);
        self.known.insert((BOB, self.nodes.len() - 1));
        self.nodes.len() - 1
    }

    fn whose(&self, hash: &Hash) -> Option<usize> {
        (0..self.nodes.len()).find(|n| self.hash(*n) == *hash)
    }

    /// Alice begins a test with Bob.
    pub(super) fn begin(&mut self) {
        let (bob, ip) = (self.hash(BOB), self.nodes[BOB].addr.ip());
        let claimed = self.nodes[ALICE].addr;
        assert!(self.nodes[ALICE].tests.start(self.now, bob, ip, claimed));
        self.drain(ALICE);
    }

    /// Plays a whole test.
    pub(super) fn test(&mut self) -> TestResult {
        self.begin();
        self.run(Duration::from_secs(60));
        self.nodes[ALICE].results.pop().expect("every test ends")
    }

    pub(super) fn run(&mut self, by: Duration) {
        let until = self.now.mono + by;
        for _ in 0..100_000 {
            let due = self.queue.keys().next().map(|(at, _)| *at);
            let timer = self.nodes.iter().filter_map(|node| node.tests.next_timeout()).min();
            let Some(next) = due.into_iter().chain(timer).min().filter(|next| *next <= until) else {
                self.now = self.now.later(until.since(self.now.mono));
                return;
            };
            self.now = self.now.later(next.since(self.now.mono));
            if let Some(key) = self.queue.keys().next().copied().filter(|(at, _)| *at <= self.now.mono) {
                let delivery = self.queue.remove(&key).unwrap();
                self.deliver(delivery);
            }
            for n in 0..self.nodes.len() {
                self.nodes[n].tests.handle_timeout(self.now);
                self.drain(n);
            }
        }
        panic!("the world does not come to rest");
    }

    fn later(&mut self, delivery: Delivery) {
        let delay = Duration::from_millis(5 + self.rng.below(120) as u64);
        self.sequence += 1;
        self.queue.insert((self.now.mono + delay, self.sequence), delivery);
    }

    /// A block goes from one to the other by their session.
    pub(super) fn say(&mut self, from: usize, to: usize, about: Option<Arc<RouterInfo>>, message: &Message) {
        let times = if self.rng.unit() < self.doubled { 2 } else { 1 };
        for _ in 0..times {
            self.later(Delivery::Block { from, to, about: about.clone(), message: message.clone() });
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let n = match delivery {
            Delivery::Block { from, to, about, message } => {
                let (hash, addr) = (self.hash(from), self.nodes[from].addr);
                if let Some(info) = about.filter(|_| self.introduces) {
                    self.nodes[to].tests.handle_introduced(self.now, hash, &info);
                }
                if message.number == 4 {
                    self.codes.push(message.code);
                }
                self.nodes[to].tests.handle_message(self.now, hash, addr, message);
                to
            }
            Delivery::Datagram { from, to, mut bytes } => {
                let Some(n) = self.nodes.iter().position(|node| node.takes(from, to)) else { return };
                let opened = self.nodes[n].intro.open(&mut bytes, MessageType::PeerTest);
                let (header, blocks) = opened.expect("it is for whom it goes to");
                let outside = Outside::read(&header, blocks).unwrap().expect("it is a test");
                self.nodes[n].tests.handle_outside(self.now, from, &outside);
                n
            }
        };
        self.drain(n);
    }

    pub(super) fn drain(&mut self, n: usize) {
        while let Some(event) = self.nodes[n].tests.poll_event() {
            self.nodes[n].tests.check();
            match event {
                Event::Block { to, about, block } => {
                    let Some(to) = self.whose(&to) else { continue };
                    let message = read(&block);
                    self.say(n, to, about, &message);
                }
                Event::Outside { to, key, ids, blocks } => {
                    let intro = IntroKey::new(key);
                    let sealed = outside::message(&intro, MessageType::PeerTest, ids, NETWORK, &blocks, &mut self.rng);
                    self.launch(n, to, &sealed.unwrap());
                }
                Event::Job(job) => {
                    let done = job.run(&self.nodes[n].keys);
                    self.nodes[n].tests.handle_job(self.now, &done);
                }
                Event::Find { role, nonce, router, .. } => {
                    let sought = self.whose(&router);
                    let known = sought.filter(|sought| self.known.contains(&(n, *sought)));
                    let found = Found {
                        info: known.map(|known| Arc::clone(&self.nodes[known].info)),
                        spoken_to: sought.is_some_and(|sought| self.spoken_to.contains(&(n, sought))),
                    };
                    self.nodes[n].tests.handle_found(self.now, role, nonce, found);
                }
                Event::Choose { nonce, without, .. } => {
                    let found = self.others.iter().copied().chain(self.charlie).map(|n| self.hash(n));
                    let charlie = found.into_iter().find(|hash| !without.contains(hash));
                    let without_one = if self.soon { Choice::Soon } else { Choice::Nobody };
                    let choice = charlie.map_or(without_one, Choice::Charlie);
                    self.nodes[n].tests.handle_chosen(self.now, nonce, choice);
                }
                Event::Done(result) => self.nodes[n].results.push(result),
            }
        }
        self.nodes[n].tests.check();
    }

    fn launch(&mut self, n: usize, to: SocketAddr, bytes: &[u8]) {
        let from = self.nodes[n].goes_to(to);
        self.nodes[n].sent.push((to, bytes.len()));
        if self.rng.unit() < self.loss {
            return;
        }
        let times = if self.rng.unit() < self.doubled { 2 } else { 1 };
        for _ in 0..times {
            self.later(Delivery::Datagram { from, to, bytes: bytes.to_vec() });
        }
    }
}

impl Node {
    fn new(rng: &mut Rng, addr: SocketAddr, front: Front) -> Self {
        let keys = Arc::new(RouterKeys::generate(rng));
        let hidden = !matches!(front, Front::Nothing | Front::FullCone);
        let own = OwnInfo {
            network_id: NETWORK,
            bandwidth: 'P',
            published: if hidden { Vec::new() } else { vec![addr] },
            udp: vec![addr],
            udp_published: if hidden { Vec::new() } else { vec![addr] },
            hidden: false,
            introducers: Vec::new(),
            ipv4: addr.is_ipv4(),
            ipv6: addr.is_ipv6(),
            floodfill: false,
            congestion: Congestion::None,
        };
        let info = Arc::new(own.sign(&keys, start().unix_ms).unwrap());
        let addresses = AddressRules { allow_reserved: false, ipv4: true, ipv6: true };
        let config = TestConfig { own: keys.identity.hash(), addresses };
        let mut tests = PeerTests::new(start(), config, rng.child("tests"));
        tests.set_serves(true, true);
        let intro = IntroKey::new(keys.ssu2_intro());
        Self { tests, keys, info, addr, intro, front, contacts: BTreeSet::new(), results: vec![], sent: vec![] }
    }

    /// Sends something to this address: where it comes from, seen from there.
    fn goes_to(&mut self, to: SocketAddr) -> SocketAddr {
        self.contacts.insert(to);
        match self.front {
            Front::Symmetric => SocketAddr::new(self.addr.ip(), 30_000 + to.port() % 1_000),
            _ => self.addr,
        }
    }

    /// Whether a datagram reaches this router.
    fn takes(&self, from: SocketAddr, to: SocketAddr) -> bool {
        to.ip() == self.addr.ip()
            && match self.front {
                Front::Nothing | Front::FullCone => to == self.addr,
                Front::Restricted => to == self.addr && self.contacts.iter().any(|known| known.ip() == from.ip()),
                Front::PortRestricted => to == self.addr && self.contacts.contains(&from),
                Front::Symmetric => to.port() == 30_000 + from.port() % 1_000 && self.contacts.contains(&from),
            }
    }
}

/// The message in a block.
pub(super) fn read(block: &[u8]) -> Message {
    match Blocks::new(block).next() {
        Some(Ok(Block::PeerTest(test))) => Message::from(&test),
        other => panic!("no test: {other:?}"),
    }
}
