//! Three routers, each with a session with both others, between which a fuzzer carries what introductions say: late, twice,
//! never, in any order, or its own.
//!
//! Whatever comes: bounds hold and tables agree; no request has more than one HolePunch; while all is carried as it was
//! said, nobody is dialled but where he is; and all comes to rest.

use super::charlie::connection_id;
use super::{Event, Peer, Relay, RelayConfig, RelayJob};
use crate::fuzzing::program::{Program, Script, Seeds};
use crate::keys::RouterKeys;
use crate::link::ConnId;
use crate::link::address::AddressRules;
use crate::link::ssu2::outside::IntroKey;
use crate::own_info::OwnInfo;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use crate::tunnel::Congestion;
use ramson_wire::data::RouterInfo;
use ramson_wire::data::ssu2_address::Introducer;
use ramson_wire::ssu2::{Block, Blocks, MessageType, RouterInfoBlock};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

const START: Now = Now::new(Instant::from_micros(1_000_000_000), 1_790_000_000_000);
/// What waits to be carried.
const CARRIED: usize = 256;

/// What came of a program, for tests.
#[derive(Debug, Default)]
pub struct Outcome {
    pub introducers: usize,
    pub punches: usize,
    pub dials: usize,
    pub failed: usize,
}

struct Machine {
    relay: Relay,
    info: Arc<RouterInfo>,
    jobs: Vec<RelayJob>,
    intro: IntroKey,
}

/// On its way from one to another.
enum Parcel {
    Blocks(Vec<u8>),
    Punch { nonce: u32, blocks: Vec<u8> },
}

struct Net {
    now: Now,
    machines: Vec<Machine>,
    carried: Vec<(usize, usize, Parcel)>,
    punched: BTreeSet<(usize, usize, u32)>,
    next_attempt: u64,
    tampered: bool,
    outcome: Outcome,
}

fn addr(n: usize) -> SocketAddr {
    ([20, 30, u8::try_from(n).unwrap_or(0), 1], 9_000).into()
}

/// The session of one with another, as the first names it.
const fn conn(of: usize, with: usize) -> ConnId {
    ConnId((of * 4 + with) as u64)
}

fn machine(n: usize) -> Machine {
    let mut rng = Rng::from_seed([u8::try_from(n).unwrap_or(0) + 1; 32]);
    let keys = RouterKeys::generate(&mut rng);
    let own = OwnInfo {
        network_id: 99,
        bandwidth: 'L',
        published: vec![],
        udp: vec![addr(n)],
        udp_published: vec![],
        hidden: false,
        introducers: vec![],
        ipv4: true,
        ipv6: false,
        floodfill: false,
        congestion: Congestion::None,
    };
    let signed = own.sign(&keys, START.unix_ms);
    assert!(signed.is_ok(), "a RouterInfo of ours is well formed");
    let info = Arc::new(signed.unwrap_or_else(|_| unreachable!()));
    let addresses = AddressRules { allow_reserved: false, ipv4: true, ipv6: true };
    let config =
        RelayConfig { network_id: 99, router: info.hash(), addresses, signing: Arc::new(keys.signing.clone()) };
    let mut relay = Relay::new(config, rng.child("relay"));
    relay.set_own_address(true, Some(addr(n)));
    Machine { relay, info, jobs: vec![], intro: IntroKey::new(keys.ssu2_intro()) }
}

/// Runs a program.
pub fn relay(bytes: &[u8]) -> Outcome {
    let mut program = Program::new(bytes);
    let mut net = Net {
        now: START,
        machines: (0..3).map(machine).collect(),
        carried: vec![],
        punched: BTreeSet::new(),
        next_attempt: 100,
        tampered: false,
        outcome: Outcome::default(),
    };
    while let Some(step) = program.step() {
        net.step(step, &mut program);
        net.drain();
    }
    net.come_to_rest();
    net.outcome
}

impl Net {
    /// `with` as `of` has it in a session.
    fn peer(&self, of: usize, with: usize) -> Option<Peer> {
        let router = self.machines.get(with)?.info.hash();
        Some(Peer { conn: conn(of, with), router, addr: addr(with) })
    }

    fn step(&mut self, step: u8, program: &mut Program<'_>) {
        let of = program.below(3);
        let with = (of + 1 + program.below(2)) % 3;
        let (now, Some(peer)) = (self.now, self.peer(of, with)) else { return };
        let Some(machine) = self.machines.get_mut(of) else { return };
        match step {
            0..70 => self.deliver(program.byte(), step % 8 == 7),
            70..80 => {
                if !self.carried.is_empty() {
                    self.carried.swap_remove(program.below(self.carried.len()));
                }
            }
            80..120 => self.work(of, program.byte()),
            120..140 => {
                let pause = Duration::from_millis(u64::from(program.u16()));
                self.now = Now::new(now.mono + pause, now.unix_ms + u64::try_from(pause.as_millis()).unwrap_or(0));
                let now = self.now;
                self.machines.iter_mut().for_each(|machine| machine.relay.handle_timeout(now));
            }
            140..150 => machine.relay.set_firewalled(now, program.flag(), program.flag()),
            150..165 => {
                machine.relay.ask_for_tag(&peer);
            }
            165..170 => machine.relay.handle_gone(now, conn(of, with)),
            170..200 => self.begin(of, with, program),
            200..210 => machine.relay.handle_info(now, &peer.router, None),
            210..220 => {
                let blocks = program.blob();
                self.tampered = true;
                machine.relay.handle_punch(now, addr(with), program.u32(), blocks);
            }
            _ => {
                let blocks = program.blocks();
                self.tampered = true;
                self.hear(with, of, &blocks);
            }
        }
    }

    /// `of` dials `to` by the third, under the tag that it has there, or another.
    fn begin(&mut self, of: usize, to: usize, program: &mut Program<'_>) {
        let by = 3 - of - to;
        let known = self.machines.get(to).map(|to| to.relay.introducers()).unwrap_or_default();
        let (Some(charlie), Some(bob)) = (self.machines.get(to), self.machines.get(by)) else { return };
        let (charlie, bob) = (Arc::clone(&charlie.info), bob.info.hash());
        let tag = known.iter().find(|one| one.router == bob).map_or_else(|| program.u32().max(1), |one| one.tag);
        let way = Introducer { router: bob, tag, expires: None };
        let id = ConnId(self.next_attempt);
        self.next_attempt += 1;
        let now = self.now;
        if let Some(machine) = self.machines.get_mut(of) {
            machine.relay.begin(now, id, charlie, true, vec![way; 1 + program.below(2)]);
        }
    }

    fn work(&mut self, of: usize, which: u8) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(of).filter(|machine| !machine.jobs.is_empty()) else { return };
        let job = machine.jobs.swap_remove(usize::from(which) % machine.jobs.len());
        machine.relay.handle_job(now, job.run(&|_| None));
    }

    fn deliver(&mut self, which: u8, again: bool) {
        if self.carried.is_empty() {
            return;
        }
        let at = usize::from(which) % self.carried.len();
        let (from, to, parcel) = self.carried.swap_remove(at);
        match &parcel {
            Parcel::Blocks(blocks) => self.hear(from, to, &blocks.clone()),
            Parcel::Punch { nonce, blocks } => {
                let now = self.now;
                if let Some(machine) = self.machines.get_mut(to).filter(|one| one.relay.expects_punch(*nonce)) {
                    machine.relay.handle_punch(now, addr(from), *nonce, blocks);
                }
            }
        }
        if again {
            self.carry(from, to, parcel);
        }
    }

    fn carry(&mut self, from: usize, to: usize, parcel: Parcel) {
        if self.carried.len() < CARRIED {
            self.carried.push((from, to, parcel));
        }
    }

    /// `to` reads blocks in its session with `from`.
    fn hear(&mut self, from: usize, to: usize, blocks: &[u8]) {
        let (now, Some(peer)) = (self.now, self.peer(to, from)) else { return };
        let Some(machine) = self.machines.get_mut(to) else { return };
        for block in Blocks::new(blocks).map_while(Result::ok) {
            match block {
                Block::RelayTagRequest => machine.relay.handle_tag_request(&peer),
                Block::RelayTag(tag) => machine.relay.handle_tag(now, &peer, tag),
                Block::RelayRequest(request) => machine.relay.handle_request(now, &peer, &request),
                Block::RelayResponse(response) => machine.relay.handle_response(now, peer.conn, &response),
                Block::RelayIntro(intro) => machine.relay.handle_intro(now, &peer, &intro, 77),
                Block::RouterInfo(RouterInfoBlock { data, .. }) => {
                    let known = ramson_wire::codec::Decode::from_bytes(data);
                    if let Ok(info) = known {
                        machine.relay.handle_router_info(now, peer.conn, Arc::new(info));
                    }
                }
                _ => {}
            }
        }
    }

    fn drain(&mut self) {
        for of in 0..self.machines.len() {
            while let Some(event) = self.machines.get_mut(of).and_then(|machine| machine.relay.poll_event()) {
                self.handle(of, event);
            }
            if let Some(machine) = self.machines.get(of) {
                machine.relay.check();
            }
        }
    }

    fn handle(&mut self, of: usize, event: Event) {
        let now = self.now;
        let index = |router: &ramson_wire::data::Hash, net: &Self| {
            net.machines.iter().position(|machine| machine.info.hash() == *router)
        };
        match event {
            Event::Blocks { conn, blocks } => {
                let to = usize::try_from(conn.0).unwrap_or(0) % 4;
                self.carry(of, to, Parcel::Blocks(blocks));
            }
            Event::Punch { alice, to, bytes } => {
                self.outcome.punches += 1;
                let Some(at) = index(&alice, self).filter(|at| addr(*at) == to) else {
                    return assert!(self.tampered, "a hole is punched for whom who is not there");
                };
                let Some((nonce, blocks)) = self.open(at, bytes) else {
                    return assert!(self.tampered, "a HolePunch opens");
                };
                assert!(self.punched.insert((of, at, nonce)), "one for each request");
                self.carry(of, at, Parcel::Punch { nonce, blocks });
            }
            Event::Job(_, job) => {
                if let Some(machine) = self.machines.get_mut(of) {
                    machine.jobs.push(job);
                }
            }
            Event::Reach { router } => {
                let peer = index(&router, self).and_then(|with| self.peer(of, with));
                if let (Some(peer), Some(machine)) = (peer, self.machines.get_mut(of)) {
                    machine.relay.handle_session(now, &peer);
                }
            }
            Event::Info { router } => {
                let info = index(&router, self).and_then(|at| self.machines.get(at)).map(|one| Arc::clone(&one.info));
                if let Some(machine) = self.machines.get_mut(of) {
                    machine.relay.handle_info(now, &router, info.as_ref());
                }
            }
            Event::Dial { addr: to, .. } | Event::Redirect { addr: to, .. } => {
                self.outcome.dials += 1;
                assert!(self.tampered || (0..3).any(|n| addr(n) == to), "nobody is there");
            }
            Event::Failed { .. } => self.outcome.failed += 1,
            Event::Changed => self.outcome.introducers += 1,
            Event::Store { .. } | Event::Want { .. } => {}
        }
    }

    /// The nonce of a HolePunch, and its blocks.
    fn open(&self, to: usize, mut packet: Vec<u8>) -> Option<(u32, Vec<u8>)> {
        let intro = &self.machines.get(to)?.intro;
        let (header, blocks) = intro.open(&mut packet, MessageType::HolePunch).ok()?;
        let nonce = u32::try_from(header.destination.0 >> 32).ok()?;
        assert!(header.destination == connection_id(nonce) && header.source == header.destination.inverse());
        Some((nonce, blocks.to_vec()))
    }

    fn come_to_rest(&mut self) {
        for _ in 0..200 {
            let pause = Duration::from_millis(500);
            self.now = Now::new(self.now.mono + pause, self.now.unix_ms + 500);
            for of in 0..3 {
                for _ in 0..32 {
                    self.work(of, 0);
                }
                let now = self.now;
                if let Some(machine) = self.machines.get_mut(of) {
                    machine.relay.handle_timeout(now);
                }
            }
            self.drain();
        }
        for machine in &self.machines {
            let relay = &machine.relay;
            let waits = (relay.attempts.len(), relay.nonces.len(), relay.forwards.len(), relay.intros.len());
            assert_eq!(waits, (0, 0, 0, 0), "all comes to rest");
        }
    }
}

/// Programs from which a fuzzer starts.
pub(crate) fn seeds() -> Seeds {
    vec![("introduced", introduced().0), ("hostile", hostile().0)]
}

/// 0 cannot be dialled; 1 introduces it to 2.
fn introduced() -> Script {
    let mut script = Script::default();
    script.put(&[140, 0, 0, 1, 0, 150, 0, 0]);
    // The request for a tag, the tag.
    deliver(&mut script, 2);
    script.put(&[170, 2, 0, 0]);
    // Alice signs; to Bob, who checks; to Charlie, who checks and signs; to both.
    script.put(&[80, 2, 0, 0]);
    deliver(&mut script, 1);
    script.put(&[80, 1, 0, 0]);
    deliver(&mut script, 1);
    script.put(&[80, 0, 0, 0]);
    deliver(&mut script, 3);
    script.put(&[80, 2, 0, 0, 80, 2, 0, 0]);
    script
}

fn deliver(script: &mut Script, times: usize) {
    (0..times).for_each(|_| {
        script.put(&[0, 0, 0, 0]);
    });
}

/// Blocks by hand: a request, an intro, a response that accepts, a tag; and a HolePunch.
fn hostile() -> Script {
    let mut script = introduced();
    let said = [0, 0, 0, 5, 0, 0, 0, 7, 0x6a, 0xb1, 0x3b, 0x80, 2, 6, 0x23, 0x28, 20, 30, 0, 1];
    for (kind, head) in [(7, 1), (9, 33), (8, 2), (16, 0)] {
        script.put(&[220, 0, 0, 1, kind]);
        script.blob(&[vec![0; head], said.to_vec(), vec![1; 72]].concat());
    }
    script.put(&[210, 0, 0]);
    script.blob(&said);
    script.put(&[0, 0, 0, 5]);
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::program::named;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_by_hand_reaches_the_machine() {
        let outcome = relay(&named(seeds(), "introduced"));
        assert_eq!((outcome.introducers, outcome.punches, outcome.dials), (1, 1, 1), "{outcome:?}");
        relay(&named(seeds(), "hostile"));
    }

    proptest! {
        #[test]
        fn no_program_harms(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            relay(&bytes);
        }

        /// Nothing by hand.
        #[test]
        fn no_carrier_harms(steps in prop::collection::vec((0u8..210, any::<[u8; 4]>()), 0..120)) {
            let program: Vec<u8> = steps.iter().flat_map(|(step, rest)| [&[*step], &rest[..]].concat()).collect();
            relay(&program);
        }
    }
}
