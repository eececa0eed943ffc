//! Two routers' links, strangers who connect to them, and wires that a fuzzer holds: it cuts what is sent into pieces,
//! changes it, adds frames and bytes of its own, and runs jobs when it likes.
//!
//! Whatever comes: the books agree, an inbound handshake that fails stays silent until its time, every connection ends
//! when nothing comes, and as long as nobody has changed anything, only what was sent is received, and once.

use super::connection::Connection;
use super::ntcp2::padding::PaddingStrategy;
use super::{AddressRules, Class, CloseKind, ConnId, Event, LinkConfig, LinkJob, Links};
use crate::fuzzing::program::{Program, Script, Seeds};
use crate::keys::RouterKeys;
use crate::own_info::OwnInfo;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::i2np::{Kind, Message};
use ramson_wire::ntcp2::{RequestOptions, RouterInfoBlock, VERSION};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

const START: Now = Now::new(Instant::from_micros(1_000_000), 1_790_000_000_000);
const NETWORK: u8 = 99;
/// An inbound handshake that fails is silent for at least so long.
const SILENCE: Duration = Duration::from_secs(7);
/// Wires at one time; further ones are refused.
const WIRES: usize = 24;
const EVENTS: usize = 50_000;

/// What came of a program, for tests.
#[derive(Debug, Default)]
pub struct Outcome {
    pub up: usize,
    pub received: usize,
    pub router_infos: usize,
    pub terminated: usize,
    pub refused: usize,
}

struct Machine {
    links: Links,
    keys: RouterKeys,
    info: Arc<RouterInfo>,
    rng: Rng,
    skew_ms: u64,
}

/// A connection: the name it has at each machine, if it has one there, and what is under way to it.
struct Wire {
    ids: [Option<ConnId>; 2],
    pipes: [Vec<u8>; 2],
    accepted: bool,
}

struct Net {
    now: Now,
    machines: [Machine; 2],
    wires: Vec<Wire>,
    jobs: VecDeque<(usize, LinkJob)>,
    next_inbound: u64,
    next_message: u32,
    /// Inbound connections of each machine without a session, and when they were accepted.
    unproven: BTreeMap<(usize, ConnId), Instant>,
    /// Connections that each machine has closed.
    closed: BTreeSet<(usize, ConnId)>,
    /// Messages that are under way, by id.
    sent: BTreeSet<u32>,
    /// Nobody has changed or added anything.
    honest: bool,
    outcome: Outcome,
}

fn machine(n: u8, skew_ms: u64) -> Machine {
    let mut rng = Rng::from_seed([n; 32]);
    let keys = RouterKeys::generate(&mut rng);
    let own = OwnInfo {
        network_id: NETWORK,
        bandwidth: 'L',
        floodfill: false,
        published: vec![address(n, 9000)],
        ipv4: true,
        ipv6: true,
        udp: Vec::new(),
        udp_published: Vec::new(),
        hidden: false,
        introducers: Vec::new(),
        congestion: crate::tunnel::Congestion::None,
    };
    let config = LinkConfig {
        network_id: NETWORK,
        static_key: keys.ntcp2_key.clone(),
        router: keys.identity.hash(),
        iv: keys.ntcp2_iv,
        padding: PaddingStrategy::Random,
        addresses: AddressRules { allow_reserved: true, ipv4: true, ipv6: true },
    };
    let mut links = Links::new(config, rng.child("links"));
    let signed = own.sign(&keys, START.unix_ms);
    assert!(signed.is_ok(), "a RouterInfo of ours is well formed");
    let info = Arc::new(signed.unwrap_or_else(|_| unreachable!()));
    links.set_router_info(info.as_bytes().to_vec());
    Machine { links, keys, info, rng, skew_ms }
}

fn address(n: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)), port)
}

/// Runs a program. The first byte chooses how far the second machine's clock is ahead.
pub fn link(bytes: &[u8]) -> Outcome {
    let mut program = Program::new(bytes);
    let skew = u64::from(program.byte()) * 1_000;
    let mut net = Net {
        now: START,
        machines: [machine(1, 0), machine(2, skew)],
        wires: Vec::new(),
        jobs: VecDeque::new(),
        next_inbound: 0,
        next_message: 0,
        unproven: BTreeMap::new(),
        closed: BTreeSet::new(),
        sent: BTreeSet::new(),
        honest: true,
        outcome: Outcome::default(),
    };
    while let Some(step) = program.step() {
        net.step(step, &mut program);
        net.drain();
        net.check();
    }
    net.settle();
    net.outcome
}

impl Net {
    fn now(&self, m: usize) -> Now {
        Now { unix_ms: self.now.unix_ms + self.machines[m].skew_ms, ..self.now }
    }

    fn step(&mut self, step: u8, program: &mut Program<'_>) {
        let m = usize::from(step >> 7);
        let now = self.now(m);
        match step & 0x1f {
            0 => {
                let info = Arc::clone(&self.machines[1 - m].info);
                self.machines[m].links.dial(now, &info);
            }
            1 => self.send(m, program),
            2 => self.connect(program),
            3 => self.close(m, program),
            4 | 5 => {
                let at = program.below(self.wires.len());
                let len = usize::from(program.byte()) * 8;
                self.deliver(at, m, len);
            }
            6 => self.change(m, program),
            7 => self.frame(m, program),
            8 => self.run_job(false),
            9 => self.run_job(true),
            10 => self.jobs.rotate_left(usize::from(self.jobs.len() > 1)),
            11 => self.stranger(m, program),
            12 => self.pass(Duration::from_millis(u64::from(program.byte()) * 10)),
            13 => self.pass(Duration::from_secs(program.byte().into())),
            14 => {
                self.go_on();
            }
            15 => {
                let id = program.pick(&self.wires).and_then(|wire| wire.ids[m]);
                let n = usize::from(program.u16());
                id.into_iter().for_each(|id| self.machines[m].links.handle_writable(id, n));
            }
            16 => {
                let peer = self.machines[1 - m].info.hash();
                self.machines[m].links.end_sessions(now, &peer);
                self.unproven.clear();
            }
            17 => {
                self.unproven.clear();
                self.machines[m].links.shutdown(now);
            }
            18 => {
                let bytes = self.machines[m].info.as_bytes().to_vec();
                self.machines[m].links.set_router_info(bytes);
            }
            19 => self.message_3(m, program),
            _ => self.calm(program.below(40)),
        }
    }

    fn send(&mut self, m: usize, program: &mut Program<'_>) {
        let kinds = [Kind::DATA, Kind::TUNNEL_DATA, Kind::TUNNEL_GATEWAY, Kind::GARLIC, Kind::DATABASE_STORE];
        let kind = program.pick(&kinds).copied().unwrap_or(Kind::DATA);
        let len = usize::from(program.u16()) % (ramson_wire::i2np::MAX_BODY + 1);
        self.next_message += 1;
        let message =
            Message { kind, id: self.next_message, expiration: START.unix_ms / 1000 * 1000, body: vec![m as u8; len] };
        let (now, info) = (self.now(m), Arc::clone(&self.machines[1 - m].info));
        let class = if len.is_multiple_of(2) { Class::Own } else { Class::Transit };
        if self.machines[m].links.send(now, &info.hash(), message, class, Some(&info)) {
            self.sent.insert(self.next_message);
        }
    }

    // ---- wires ----

    /// A dial succeeds, or fails.
    fn connect(&mut self, program: &mut Program<'_>) {
        let fails = program.flag();
        let room = 1 << program.below(18);
        let Some(at) = self.wires.iter().position(|wire| !wire.accepted) else { return };
        let Some(m) = self.wires[at].ids.iter().position(Option::is_some) else { return };
        let Some(id) = self.wires[at].ids[m] else { return };
        if fails {
            self.wires.remove(at);
            return self.machines[m].links.handle_closed(self.now(m), id);
        }
        let inbound = self.accept(1 - m, address(m as u8 + 1, 5_000), room);
        self.wires[at].ids[1 - m] = Some(inbound);
        self.wires[at].accepted = true;
        self.machines[m].links.handle_opened(self.now(m), id, room);
    }

    fn accept(&mut self, m: usize, addr: SocketAddr, room: usize) -> ConnId {
        let id = ConnId(ConnId::INBOUND | self.next_inbound);
        self.next_inbound += 1;
        self.machines[m].links.handle_accepted(self.now(m), id, addr, room);
        if self.machines[m].links.conns.contains_key(&id) {
            self.unproven.insert((m, id), self.now.mono);
        } else {
            self.outcome.refused += 1;
        }
        id
    }

    /// Somebody connects who is neither machine.
    fn stranger(&mut self, m: usize, program: &mut Program<'_>) {
        let [host, room] = [program.byte(), program.byte()];
        let bytes = program.blob().to_vec();
        if self.wires.len() >= WIRES {
            return;
        }
        let addr = match host & 0x80 {
            0 => address(host, 6_000),
            _ => SocketAddr::new(IpAddr::V6([0x2a00, 0, 0, host.into(), 0, 0, 0, 1].into()), 6_000),
        };
        let mut ids = [None, None];
        ids[m] = Some(self.accept(m, addr, usize::from(room) << 8));
        let mut pipes = [Vec::new(), Vec::new()];
        pipes[m] = bytes;
        self.wires.push(Wire { ids, pipes, accepted: true });
    }

    fn close(&mut self, m: usize, program: &mut Program<'_>) {
        let at = program.below(self.wires.len());
        let Some(id) = self.wires.get_mut(at).and_then(|wire| wire.ids[m].take()) else { return };
        self.unproven.remove(&(m, id));
        self.machines[m].links.handle_closed(self.now(m), id);
        self.tidy();
    }

    /// Wires that nobody holds any more.
    fn tidy(&mut self) {
        self.wires.retain(|wire| wire.ids.iter().any(Option::is_some));
    }

    fn deliver(&mut self, at: usize, m: usize, len: usize) {
        let now = self.now(m);
        let Some(wire) = self.wires.get_mut(at) else { return };
        let Some(id) = wire.ids[m].filter(|_| wire.accepted) else { return wire.pipes[m].clear() };
        let len = len.min(wire.pipes[m].len());
        let bytes: Vec<u8> = wire.pipes[m].drain(..len).collect();
        self.machines[m].links.handle_data(now, id, &bytes);
    }

    /// Changes what is under way, or adds to it.
    fn change(&mut self, m: usize, program: &mut Program<'_>) {
        let (at, adds) = (program.below(self.wires.len()), program.flag());
        self.honest = false;
        match self.wires.get_mut(at) {
            Some(wire) if adds => wire.pipes[m].extend_from_slice(program.blob()),
            Some(wire) => program.tamper(&mut wire.pipes[m]),
            None => {}
        }
    }

    /// A frame of blocks that the program writes. Only the stubbed cryptography opens it.
    fn frame(&mut self, m: usize, program: &mut Program<'_>) {
        let at = program.below(self.wires.len());
        let mut frame = program.blocks();
        let tag = program.byte();
        frame.extend_from_slice(&[tag; 16]);
        self.honest = false;
        let Some(wire) = self.wires.get_mut(at) else { return };
        wire.pipes[m].extend_from_slice(&u16::try_from(frame.len()).unwrap_or(u16::MAX).to_be_bytes());
        wire.pipes[m].extend_from_slice(&frame);
    }

    /// Message 3 of a router that there is, or of one that the program writes.
    fn message_3(&mut self, m: usize, program: &mut Program<'_>) {
        let (at, form) = (program.below(self.wires.len()), program.byte());
        let raw = program.blob();
        let other = &self.machines[1 - m];
        let info = if form & 1 == 0 { other.info.as_bytes() } else { raw };
        let mut bytes = match form & 2 {
            0 => other.keys.ntcp2_key.public_key().0.to_vec(),
            _ => vec![form; 32],
        };
        bytes.extend_from_slice(&[0; 16]);
        RouterInfoBlock { flood: false, router_info: info }.encode(&mut bytes);
        if form & 1 == 0 {
            bytes.extend_from_slice(raw);
        }
        bytes.extend_from_slice(&[0; 16]);
        self.honest = false;
        if let Some(wire) = self.wires.get_mut(at) {
            wire.pipes[m].extend_from_slice(&bytes);
        }
    }

    // ---- time, jobs and events ----

    fn run_job(&mut self, fails: bool) {
        let Some((m, job)) = self.jobs.pop_front() else { return };
        let now = self.now(m);
        let machine = &mut self.machines[m];
        if fails {
            self.unproven.remove(&(m, job.conn));
            machine.links.handle_job_failed(now, job.conn);
        } else {
            let done = job.run(&mut machine.rng);
            machine.links.handle_job(now, done);
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.later(by);
        for m in 0..2 {
            let now = self.now(m);
            if self.machines[m].links.next_timeout().is_some_and(|at| at <= now.mono) {
                self.machines[m].links.handle_timeout(now);
            }
        }
    }

    fn go_on(&mut self) -> bool {
        let next = self.machines.iter().filter_map(|machine| machine.links.next_timeout()).min();
        let Some(next) = next else { return false };
        self.pass(next.since(self.now.mono));
        true
    }

    /// Everything in order, so many steps.
    fn calm(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.wires.iter().any(|wire| !wire.accepted) {
                self.connect(&mut Program::new(&[0, 17]));
            } else if !self.jobs.is_empty() {
                self.run_job(false);
            } else {
                for at in 0..self.wires.len() {
                    (0..2).for_each(|m| self.deliver(at, m, usize::MAX));
                }
            }
            self.drain();
        }
    }

    fn drain(&mut self) {
        for m in 0..2 {
            for count in 0.. {
                assert!(count < EVENTS, "events without end");
                let now = self.now(m);
                let Some(event) = self.machines[m].links.poll_event(now) else { break };
                self.handle(m, event);
            }
        }
        self.tidy();
    }

    fn handle(&mut self, m: usize, event: Event) {
        match event {
            Event::Udp(_) => unreachable!("no UDP here"),
            Event::Open { conn, .. } => self.open(m, conn),
            Event::Write { conn, bytes } => {
                assert!(!bytes.is_empty(), "nothing is not written");
                assert!(!self.closed.contains(&(m, conn)), "a connection that is closed is not written to");
                let wire = self.wires.iter_mut().find(|wire| wire.ids[m] == Some(conn));
                wire.into_iter().for_each(|wire| wire.pipes[1 - m].extend_from_slice(&bytes));
                self.machines[m].links.handle_writable(conn, bytes.len());
            }
            Event::Close { conn, how } => self.closed(m, conn, how),
            Event::Job(job) => {
                let twice = self.jobs.iter().any(|(of, other)| *of == m && other.conn == job.conn);
                assert!(!twice, "one step of a handshake after the other");
                self.jobs.push_back((m, job));
            }
            Event::Received { from, message } => self.received(m, from, &message),
            Event::Up { peer, .. } => {
                assert_ne!(peer, self.machines[m].info.hash(), "no session with ourselves");
                self.outcome.up += 1;
                let links = &self.machines[m].links;
                self.unproven.retain(|(of, id), _| *of != m || !links.conns.get(id).is_some_and(Connection::is_up));
            }
            Event::RouterInfo { .. } => self.outcome.router_infos += 1,
            Event::Terminated { .. } => self.outcome.terminated += 1,
            Event::Down { .. } | Event::Unreachable { .. } | Event::Clock { .. } => {}
            Event::SeenAt { .. } | Event::PeerTest { .. } | Event::Outside { .. } => {}
            Event::Info { .. } | Event::WantIntroducers { .. } | Event::Introducers => {}
        }
    }

    fn open(&mut self, m: usize, conn: ConnId) {
        let mut ids = [None, None];
        ids[m] = Some(conn);
        self.wires.retain(|wire| wire.ids[m] != Some(conn));
        self.wires.push(Wire { ids, pipes: [Vec::new(), Vec::new()], accepted: false });
    }

    /// A machine closes its side. The other side hears of it at once where that was by a reset, else when it has read.
    fn closed(&mut self, m: usize, conn: ConnId, how: CloseKind) {
        assert!(self.closed.insert((m, conn)), "a connection is closed once");
        if let Some(since) = self.unproven.remove(&(m, conn))
            && how == CloseKind::Reset
        {
            let silent = self.now.mono.since(since);
            assert!(silent >= SILENCE, "a failed handshake tells by its end, after {silent:?}");
        }
        let Some(at) = self.wires.iter().position(|wire| wire.ids[m] == Some(conn)) else { return };
        let wire = &mut self.wires[at];
        wire.ids[m] = None;
        let (Some(other), true) = (wire.ids[1 - m], wire.accepted) else { return };
        let bytes = std::mem::take(&mut wire.pipes[1 - m]);
        wire.ids[1 - m] = None;
        let now = self.now(1 - m);
        let links = &mut self.machines[1 - m].links;
        if how == CloseKind::Flush {
            links.handle_data(now, other, &bytes);
        }
        self.unproven.remove(&(1 - m, other));
        links.handle_closed(now, other);
    }

    fn received(&mut self, m: usize, from: Hash, message: &Message) {
        self.outcome.received += 1;
        if self.honest {
            assert_eq!(from, self.machines[1 - m].info.hash(), "it comes from who sent it");
            assert!(self.sent.remove(&message.id), "a message that was not sent, or comes twice");
            assert!(message.body.iter().all(|byte| usize::from(*byte) == 1 - m), "it comes as it was sent");
        }
    }

    // ---- what holds ----

    fn check(&self) {
        for machine in &self.machines {
            machine.links.check();
        }
    }

    /// Nothing comes any more: every connection ends.
    fn settle(&mut self) {
        self.jobs.clear();
        for _ in 0..2_000 {
            self.drain();
            if !self.go_on() {
                break;
            }
        }
        self.drain();
        for machine in &self.machines {
            machine.links.check();
            assert!(machine.links.conns.is_empty() && machine.links.peers.is_empty(), "connections that never end");
            assert!(machine.links.inbound_of.is_empty() && machine.links.timers.is_empty());
        }
        assert!(self.now.mono.since(START.mono) < Duration::from_secs(110_000), "and soon");
    }
}

/// Programs to start from.
pub(crate) fn seeds() -> Seeds {
    let mut session = Script(vec![0]);
    session.put(&[1, 0, 0, 50, 31, 20, 0x81, 3, 4, 4, 1, 1, 4, 20, 31, 9, 18, 13, 40, 1, 1, 0xf0, 0, 31, 9, 13, 0xff]);
    let mut both = Script(vec![3]);
    both.put(&[1, 0, 0, 9, 0x81, 0, 0, 7, 31, 39, 13, 6, 31, 5, 1, 4, 2, 0, 31, 9, 17, 31, 4]);
    let mut skewed = Script(vec![90]);
    skewed.put(&[0, 31, 20, 13, 8, 0x80, 31, 20, 14, 14]);
    let mut frames = Script(vec![0]);
    frames.put(&[0, 31, 20]);
    // DateTime, I2NP, Options and padding; then a RouterInfo, then a Termination with a reason.
    frames.put(&[7, 0, 4, 0]).blob(&[0x6a; 4]).put(&[3]).blob(&[20, 0, 0, 0, 1, 0x6a, 0x6a, 0x6a, 0x6a, 1, 2]);
    frames.put(&[1]).blob(&[0; 12]).put(&[254]).blob(&[0; 9]).put(&[0, 31, 3]);
    frames.put(&[0x87, 0, 1, 2]).blob(&[&[0], machine(1, 0).info.as_bytes()].concat()).put(&[0, 31, 3]);
    frames.put(&[7, 0, 1, 4]).blob(&[0, 0, 0, 0, 0, 0, 0, 1, 3]).put(&[0, 31, 3]);
    let mut bad_frame = Script(vec![0]);
    bad_frame.put(&[0, 31, 20, 7, 0, 1, 0]).blob(&[0; 4]).put(&[0xff, 31, 3, 0, 31, 20, 13, 16, 0, 31, 20]);
    vec![
        ("session", session.0),
        ("both", both.0),
        ("skewed", skewed.0),
        ("frames", frames.0),
        ("bad_frame", bad_frame.0),
        ("stranger", stranger()),
    ]
}

/// A stranger who makes the whole handshake by hand, as the first machine; one who is silent, and one who is wrong.
fn stranger() -> Vec<u8> {
    let first = machine(1, 0);
    let length = 3 + 1 + first.info.as_bytes().len() + 16;
    let mut request = vec![9; 32];
    RequestOptions {
        network_id: NETWORK,
        version: VERSION,
        padding: 4,
        confirmed_part2: u16::try_from(length).unwrap_or(0),
        timestamp: u32::try_from(START.unix_ms / 1000).unwrap_or(0),
    }
    .encode(&mut request);
    request.extend_from_slice(&[0; 16 + 4]);
    let mut script = Script(vec![0]);
    script.put(&[0x80 | 11, 1, 40]).blob(&request).put(&[31, 6]);
    script.put(&[0x80 | 19, 0, 0]).blob(&[]).put(&[31, 6]);
    script.put(&[0x80 | 7, 0, 1, 3]).blob(&[20, 0, 0, 0, 1, 0x6a, 0x6a, 0x6a, 0x6a, 1, 2]).put(&[0, 31, 2]);
    script.put(&[0x80 | 11, 2, 9]).blob(&[]).put(&[0x80 | 11, 0x90, 9]).blob(&[7; 80]).put(&[31, 4, 13, 11]);
    script.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seed(name: &str) -> Outcome {
        link(&crate::fuzzing::program::named(seeds(), name))
    }

    #[test]
    fn honest_programs_come_through() {
        let session = seed("session");
        assert_eq!((session.up, session.received, session.router_infos), (2, 4, 1), "{session:?}");
        let both = seed("both");
        assert_eq!((both.up, both.received), (4, 3), "{both:?}");
        assert!(both.terminated > 0, "{both:?}");
        assert_eq!(seed("skewed").up, 0);
    }

    #[test]
    fn frames_by_hand_open_under_stubs_only() {
        let frames = seed("frames");
        if cfg!(ramson_fuzz_crypto) {
            assert_eq!((frames.received, frames.router_infos, frames.terminated), (1, 1, 1), "{frames:?}");
        } else {
            assert_eq!((frames.received, frames.router_infos), (0, 0), "{frames:?}");
        }
        assert_eq!(seed("stranger").up, usize::from(cfg!(ramson_fuzz_crypto)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_program_keeps_the_rules(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            link(&bytes);
        }
    }
}
