//! Three routers and their peer tests, between which a fuzzer carries what they say: late, twice, never, in any order, or
//! its own.
//!
//! Whatever comes: no table grows beyond its bound, one address is sent little, every test has its timer, and all end.

use super::{Choice, Event, Found, LEAST_PORT, Message, Outside, PeerTests, Role, TestConfig, TestJob};
use crate::fuzzing::program::{Program, Script, Seeds};
use crate::keys::RouterKeys;
use crate::limits::peer_test as limits;
use crate::link::address::{AddressRules, Origin};
use crate::own_info::OwnInfo;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use crate::tunnel::Congestion;
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::ssu2::{Block, Blocks, ConnectionId, LongHeader, MessageType};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

const START: Now = Now::new(Instant::from_micros(1_000_000), 1_790_000_000_000);
/// What waits to be carried.
const CARRIED: usize = 128;

/// What came of a program, for tests.
#[derive(Debug, Default)]
pub struct Outcome {
    pub blocks: usize,
    pub datagrams: usize,
    pub done: usize,
    pub as_charlie: u64,
}

struct Node {
    tests: PeerTests,
    keys: Arc<RouterKeys>,
    info: Arc<RouterInfo>,
    addr: SocketAddr,
}

enum Carried {
    Block { from: usize, to: usize, about: Option<Arc<RouterInfo>>, message: Message },
    Datagram { from: SocketAddr, to: usize, outside: Outside },
    Job { of: usize, job: TestJob },
}

struct World {
    now: Now,
    nodes: Vec<Node>,
    carried: Vec<Carried>,
    /// Nonces that were seen.
    nonces: Vec<u32>,
    /// What Charlie has sent unasked to each address, and since when.
    greeted: BTreeMap<Origin, Vec<Instant>>,
    outcome: Outcome,
}

fn node(n: u8) -> Node {
    let mut rng = Rng::from_seed([n; 32]);
    let keys = Arc::new(RouterKeys::generate(&mut rng));
    let addr = SocketAddr::from(([20 + n, 1, 1, 1], 9_000));
    let own = OwnInfo {
        network_id: 99,
        bandwidth: 'P',
        published: vec![addr],
        udp: vec![addr],
        udp_published: vec![addr],
        hidden: false,
        introducers: Vec::new(),
        ipv4: true,
        ipv6: true,
        floodfill: false,
        congestion: Congestion::None,
    };
    // Its fields are right.
    let info = own.sign(&keys, START.unix_ms).map(Arc::new).unwrap_or_else(|why| unreachable!("{why}"));
    let addresses = AddressRules { allow_reserved: false, ipv4: true, ipv6: true };
    let config = TestConfig { own: keys.identity.hash(), addresses };
    let mut tests = PeerTests::new(START, config, rng.child("tests"));
    tests.set_serves(true, true);
    Node { tests, keys, info, addr }
}

/// Runs a program.
pub fn peer_test(bytes: &[u8]) -> Outcome {
    let mut program = Program::new(bytes);
    let nodes = (0..3).map(node).collect();
    let (carried, nonces, greeted) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut world = World { now: START, nodes, carried, nonces, greeted, outcome: Outcome::default() };
    while let Some(step) = program.step() {
        world.step(step, &mut program);
        for n in 0..3 {
            world.drain(n, &mut program);
        }
        world.check();
    }
    // Nothing is carried any more: every test ends.
    world.carried.clear();
    for _ in 0..200 {
        world.pass(Duration::from_secs(1), &mut program);
    }
    assert!(world.nodes.iter().all(|node| node.tests.len() == 0), "a test does not end");
    world.outcome.as_charlie = world.nodes.iter().map(|node| node.tests.stats().as_charlie).sum();
    world.outcome
}

impl World {
    fn hash(&self, n: usize) -> Hash {
        self.nodes[n].keys.identity.hash()
    }

    fn whose(&self, hash: &Hash) -> Option<usize> {
        (0..3).find(|n| self.hash(*n) == *hash)
    }

    fn step(&mut self, step: u8, program: &mut Program<'_>) {
        match step % 8 {
            0 => {
                let (n, other) = (program.below(3), program.below(3));
                let (bob, ip, claimed) = (self.hash(other), self.nodes[other].addr.ip(), self.nodes[n].addr);
                self.nodes[n].tests.start(self.now, bob, ip, claimed);
            }
            1 | 2 => {
                let at = program.below(self.carried.len());
                if at < self.carried.len() {
                    let carried = self.carried.swap_remove(at);
                    let again = program.byte() >= 192;
                    self.arrive(carried, again);
                }
            }
            3 => {
                let at = program.below(self.carried.len());
                if at < self.carried.len() {
                    self.carried.swap_remove(at);
                }
            }
            4 => {
                let by = Duration::from_millis(u64::from(program.u16()));
                self.pass(by, program);
            }
            5 => self.own_block(program),
            6 => {
                let number = 4 + program.byte() % 5;
                let nonce = self.nonce(program);
                let timestamp = self.clock(program);
                let address = program.flag().then(|| self.address(program));
                let outside = Outside { number, nonce, timestamp, address };
                let (to, from) = (program.below(3), self.address(program));
                self.nodes[to].tests.handle_outside(self.now, from, &outside);
            }
            _ => {
                let (to, from, about) = (program.below(3), program.below(3), program.below(3));
                let (from, info) = (self.hash(from), Arc::clone(&self.nodes[about].info));
                self.nodes[to].tests.handle_introduced(self.now, from, &info);
            }
        }
    }

    /// A block that the fuzzer writes, in somebody's session.
    fn own_block(&mut self, program: &mut Program<'_>) {
        let number = 1 + program.byte() % 8;
        let code = program.byte() & 3;
        let router = program.flag().then(|| self.hash(program.below(3)));
        let (nonce, timestamp) = (self.nonce(program), self.clock(program));
        let alice = self.address(program);
        let version = 2 + u8::from(program.byte() > 250);
        let signature = vec![program.byte(); usize::from(program.byte() % 80)];
        let signed = ramson_wire::ssu2::PeerTest::to_be_signed(nonce, timestamp, &alice);
        let message = Message { number, code, router, version, nonce, timestamp, alice, signed, signature };
        let (to, from) = (program.below(3), program.below(3));
        let (hash, addr) = (self.hash(from), self.nodes[from].addr);
        self.nodes[to].tests.handle_message(self.now, hash, addr, message);
    }

    fn nonce(&self, program: &mut Program<'_>) -> u32 {
        let n = program.below(self.nonces.len() + 1);
        self.nonces.get(n).copied().unwrap_or_else(|| program.byte().into())
    }

    fn clock(&self, program: &mut Program<'_>) -> u32 {
        super::clock(self.now).wrapping_add(u32::from(program.byte())).wrapping_sub(60)
    }

    fn address(&self, program: &mut Program<'_>) -> SocketAddr {
        let n = program.below(4);
        self.nodes.get(n).map_or_else(|| SocketAddr::from(([9, 9, 9, program.byte()], program.u16())), |node| node.addr)
    }

    fn pass(&mut self, by: Duration, program: &mut Program<'_>) {
        self.now = self.now.later(by);
        for n in 0..3 {
            self.nodes[n].tests.handle_timeout(self.now);
            self.drain(n, program);
        }
        self.check();
    }

    fn arrive(&mut self, carried: Carried, again: bool) {
        match carried {
            Carried::Block { from, to, about, message } => {
                let (hash, addr) = (self.hash(from), self.nodes[from].addr);
                if let Some(info) = &about {
                    self.nodes[to].tests.handle_introduced(self.now, hash, info);
                }
                self.nodes[to].tests.handle_message(self.now, hash, addr, message.clone());
                self.outcome.blocks += 1;
                if again {
                    self.carry(Carried::Block { from, to, about, message });
                }
            }
            Carried::Datagram { from, to, outside } => {
                self.nodes[to].tests.handle_outside(self.now, from, &outside);
                self.outcome.datagrams += 1;
                if again {
                    self.carry(Carried::Datagram { from, to, outside });
                }
            }
            Carried::Job { of, job } => {
                let done = match again {
                    true => TestJob::failed(job.role, job.nonce),
                    false => job.run(&self.nodes[of].keys),
                };
                self.nodes[of].tests.handle_job(self.now, &done);
            }
        }
    }

    fn carry(&mut self, carried: Carried) {
        if self.carried.len() < CARRIED {
            self.carried.push(carried);
        }
    }

    fn drain(&mut self, n: usize, program: &mut Program<'_>) {
        while let Some(event) = self.nodes[n].tests.poll_event() {
            match event {
                Event::Block { to, about, block } => {
                    let Some(Ok(Block::PeerTest(test))) = Blocks::new(&block).next() else {
                        unreachable!("a block of ours is none")
                    };
                    let message = Message::from(&test);
                    self.note(message.nonce);
                    if let Some(to) = self.whose(&to) {
                        self.carry(Carried::Block { from: n, to, about, message });
                    }
                }
                Event::Outside { to, ids, blocks, .. } => self.launch(n, to, ids, &blocks),
                Event::Job(job) => self.carry(Carried::Job { of: n, job }),
                Event::Find { role, nonce, router, .. } => {
                    let known = self.whose(&router).filter(|_| role == Role::Bob || program.flag());
                    let info = known.map(|known| Arc::clone(&self.nodes[known].info));
                    let found = Found { info, spoken_to: program.byte() > 250 };
                    self.nodes[n].tests.handle_found(self.now, role, nonce, found);
                }
                Event::Choose { nonce, .. } => {
                    let charlie = self.hash(program.below(3));
                    let choice = match program.byte() {
                        0..230 => Choice::Charlie(charlie),
                        230..245 => Choice::Soon,
                        245.. => Choice::Nobody,
                    };
                    self.nodes[n].tests.handle_chosen(self.now, nonce, choice);
                }
                Event::Done(_) => self.outcome.done += 1,
            }
        }
    }

    fn launch(&mut self, n: usize, to: SocketAddr, ids: (ConnectionId, ConnectionId), blocks: &[u8]) {
        assert!(to.port() >= LEAST_PORT && blocks.len() <= 64, "{to}: {}", blocks.len());
        let (destination, source) = ids;
        let header = LongHeader {
            destination,
            packet_number: 0,
            kind: MessageType::PeerTest,
            version: 2,
            network_id: 99,
            flag: 0,
            source,
            token: 0,
        };
        let Ok(Some(outside)) = Outside::read(&header, blocks) else { unreachable!("a message of ours is none") };
        self.note(outside.nonce);
        if outside.number == 5 {
            let times = self.greeted.entry(Origin::from(to.ip())).or_default();
            times.retain(|at| self.now.mono.since(*at) < limits::TARGET_REST);
            times.push(self.now.mono);
            // Three routers, each of which may begin anew when its time of rest is over.
            assert!(times.len() <= 3 * 2 * usize::from(limits::SENT_TO_ALICE), "{to} is sent too much");
        }
        let whose = self.nodes.iter().position(|node| node.addr == to);
        if let Some(receiver) = whose {
            self.carry(Carried::Datagram { from: self.nodes[n].addr, to: receiver, outside });
        }
    }

    fn note(&mut self, nonce: u32) {
        if !self.nonces.contains(&nonce) && self.nonces.len() < 200 {
            self.nonces.push(nonce);
        }
    }

    fn check(&self) {
        self.nodes.iter().for_each(|node| node.tests.check());
    }
}

/// Programs to start from.
pub(crate) fn seeds() -> Seeds {
    let mut honest = Script::default();
    // A test of the first router by the second, with the third, which the second finds: all is carried in order.
    honest.put(&[0, 0, 1]);
    for _ in 0..40 {
        honest.put(&[1, 0, 0, 1, 2, 0, 4, 0, 200]);
    }
    let mut hostile = Script::default();
    for n in 0..60u8 {
        hostile.put(&[5, n, 0, 1, 0, n, n, 60, 3, n, 40, 0, 0, n, 64, n, n]);
        hostile.put(&[6, n, 0, n, 60, 1, 0, 1, 2]).put(&[4, 1, 0]).put(&[7, n, 1, 2]);
    }
    vec![("honest", honest.0), ("hostile", hostile.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::program::named;
    use proptest::prelude::*;

    #[test]
    fn the_seeds_do_what_they_say() {
        let honest = peer_test(&named(seeds(), "honest"));
        assert!(honest.blocks >= 4 && honest.done > 0, "{honest:?}");
        peer_test(&named(seeds(), "hostile"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn no_program_harms(program in prop::collection::vec(any::<u8>(), 0..2_000)) {
            peer_test(&program);
        }
    }
}
