//! Four routers' tunnels, two of which build their own through the others, and wires that a fuzzer holds: messages are
//! lost, repeated, late, changed, or come from somebody else, and it writes build requests, tunnel messages and
//! messages for gateways.
//!
//! Whatever comes: the books of foreign tunnels are right, own tunnels are as long as was asked for and hold nobody
//! twice, nothing goes to ourselves, and all ends in time. As long as nobody has written anything, what comes out of
//! an own tunnel is what was sent.

use super::{
    Direction, Event, Hop, PoolConfig, PoolId, StaticKey, Target, TransitRules, TunnelConfig, TunnelId, TunnelJob,
    Tunnels, Wanted,
};
use crate::fuzzing::program::{Program, Script, Seeds};
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::codec::Encode;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::Hash;
use ramson_wire::garlic;
use ramson_wire::garlic::block::{Block, Clove, Delivery};
use ramson_wire::i2np::tunnel_build::BuildRecords;
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Kind, Message};
use ramson_wire::tunnel::bandwidth::BandwidthRequest;
use ramson_wire::tunnel::build_record::{self, Record, Request, Role};
use ramson_wire::tunnel::delivery::Instructions;
use ramson_wire::tunnel::message;
use std::collections::VecDeque;

const START: Now = Now::new(Instant::from_micros(5_000_000), 1_790_000_000_000);
const NODES: usize = 4;
const WIRE: usize = 256;
const EVENTS: usize = 20_000;
const CLIENT: PoolId = PoolId(7);
/// Foreign tunnels that each takes, few enough to be reached.
const TRANSIT: usize = 6;

/// What came of a program, for tests.
#[derive(Debug, Default)]
pub struct Outcome {
    pub ready: usize,
    pub lost: usize,
    pub inbound: usize,
    pub local: usize,
    pub accepted: u64,
    pub refused: usize,
    pub tampered: u64,
}

struct Node {
    hash: Hash,
    secret: SecretKey,
    tunnels: Tunnels,
}

struct Net {
    now: Now,
    rng: Rng,
    nodes: Vec<Node>,
    wire: VecDeque<(usize, usize, Message)>,
    jobs: VecDeque<(usize, TunnelJob)>,
    honest: bool,
    outcome: Outcome,
}

/// Runs a program. The first byte chooses the pools of the first two routers.
pub fn tunnel_build(bytes: &[u8]) -> Outcome {
    let mut program = Program::new(bytes);
    let mut net = Net::new(program.byte());
    while let Some(step) = program.step() {
        net.step(step, &mut program);
        net.drain();
        net.check();
    }
    net.settle();
    net.outcome
}

fn rules(accept: bool) -> TransitRules {
    TransitRules { accept, draining: false, max_tunnels: TRANSIT, bytes_per_second: 1 << 20, private_network: false }
}

fn config(form: u8) -> PoolConfig {
    let wanted = |bits: u8| Wanted { length: usize::from(bits & 3), quantity: 1 + usize::from(bits >> 2 & 1) };
    PoolConfig { inbound: wanted(form), outbound: wanted(form >> 3) }
}

impl Net {
    fn new(form: u8) -> Self {
        let mut rng = Rng::from_seed([form; 32]);
        let nodes = (0..NODES as u8).map(|i| {
            let (hash, secret) = (Hash::of(&[i]), SecretKey::random(&mut rng));
            let key = StaticKey { public: secret.public_key(), secret: secret.clone() };
            let tunnels = Tunnels::new(START, TunnelConfig { own: hash, key, transit: rules(true) }, &mut rng);
            Node { hash, secret, tunnels }
        });
        let mut nodes: Vec<Node> = nodes.collect();
        for node in nodes.iter_mut().take(if form & 0x80 == 0 { 1 } else { 2 }) {
            // One hop at least: only the exploratory pool's own doors have none.
            let _ = node.tunnels.create_pool(START, PoolId::EXPLORATORY, config(form | 0x09));
            let _ = node.tunnels.create_pool(START, CLIENT, config(form));
        }
        let outcome = Outcome::default();
        Self { now: START, rng, nodes, wire: VecDeque::new(), jobs: VecDeque::new(), honest: true, outcome }
    }

    fn step(&mut self, step: u8, program: &mut Program<'_>) {
        let at = usize::from(step >> 6);
        match step & 0x1f {
            0 => self.pass(Duration::from_millis(u64::from(program.byte()) * 20)),
            1 => self.pass(Duration::from_secs(program.byte().into())),
            2 => self.deliver(program.byte().into(), false, None),
            3 => self.deliver(program.byte().into(), true, None),
            4 => drop(self.take(program.byte().into())),
            5 => {
                if let Some((from, to, mut message)) = self.take(program.byte().into()) {
                    program.tamper(&mut message.body);
                    self.write(from, to, message);
                }
            }
            6 => self.deliver(program.byte().into(), false, Some(at)),
            7 => {
                let kinds =
                    [Kind::TUNNEL_DATA, Kind::TUNNEL_GATEWAY, Kind::SHORT_TUNNEL_BUILD, Kind::VARIABLE_TUNNEL_BUILD];
                let kind = program.pick(&kinds).copied().unwrap_or(Kind::DATA);
                let (from, body) = (program.below(NODES), program.blob().to_vec());
                let message = self.message(kind, program.byte().into(), body);
                self.write(from, at, message);
            }
            8 | 9 => self.request(at, program),
            10 | 11 => self.tunnel_message(at, program),
            12 => self.for_gateway(at, program),
            13 => self.send(at, program),
            14 => {
                let peer = self.nodes[program.below(NODES)].hash;
                self.nodes[at].tunnels.handle_unreachable(self.now, peer);
            }
            15 => self.nodes[at].tunnels.suspect(self.now, CLIENT),
            16 => self.nodes[at].tunnels.remove_pool(CLIENT),
            17 => {
                let _ = self.nodes[at].tunnels.create_pool(self.now, CLIENT, config(program.byte()));
            }
            18 => self.nodes[at].tunnels.set_transit_rules(rules(program.flag())),
            19 => self.run_job(program.flag()),
            20 => self.jobs.rotate_left(usize::from(self.jobs.len() > 1)),
            21 => {
                let links = f64::from(program.byte()) / 200.0;
                self.nodes[at].tunnels.update_congestion(self.now, links.min(1.0));
            }
            _ => self.calm(program.below(60)),
        }
    }

    fn message(&self, kind: Kind, id: u32, body: Vec<u8>) -> Message {
        Message { kind, id, expiration: self.now.unix_ms + 10_000, body }
    }

    // ---- wires ----

    fn take(&mut self, at: usize) -> Option<(usize, usize, Message)> {
        self.wire.remove(at.checked_rem(self.wire.len())?)
    }

    fn deliver(&mut self, at: usize, again: bool, from: Option<usize>) {
        let Some((sender, to, message)) = self.take(at) else { return };
        if again && self.wire.len() < WIRE {
            self.wire.push_back((sender, to, message.clone()));
        }
        match from {
            Some(from) => self.write(from, to, message),
            None => self.receive(sender, to, message),
        }
    }

    /// Something that no machine has sent so.
    fn write(&mut self, from: usize, to: usize, message: Message) {
        self.honest = false;
        self.receive(from, to, message);
    }

    /// What the router does with a message of a link.
    fn receive(&mut self, from: usize, to: usize, message: Message) {
        let from = self.nodes[from].hash;
        match message.kind {
            Kind::GARLIC => self.garlic(to, from, &message),
            Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY => self.hand(to, from, message),
            kind if kind.is_build_request() => self.hand(to, from, message),
            _ => self.outcome.local += 1,
        }
    }

    fn hand(&mut self, to: usize, from: Hash, message: Message) {
        let result = self.nodes[to].tunnels.handle_message(self.now, from, message);
        self.outcome.refused += usize::from(result.is_err());
    }

    fn garlic(&mut self, to: usize, from: Hash, message: &Message) {
        let payload = garlic::router::open(&self.nodes[to].secret, &message.body);
        let Ok(blocks) = payload.and_then(|payload| Block::decode_all(&payload)) else { return };
        for block in blocks {
            if let Block::Clove(Clove { delivery: Delivery::Local, message }) = block
                && message.kind.is_build_request()
            {
                self.hand(to, from, message);
            }
        }
    }

    // ---- what a fuzzer writes ----

    /// A small id, or one that stands for an own tunnel here.
    fn id(&self, at: usize, program: &mut Program<'_>) -> TunnelId {
        match program.byte() {
            small @ 0..0x80 => small.into(),
            _ => program.pick(&self.nodes[at].tunnels.ids()).copied().unwrap_or(1),
        }
    }

    /// A build message with a request to one router, which may stand there twice, and any other records.
    fn request(&mut self, to: usize, program: &mut Program<'_>) {
        let [form, count, minutes] = [program.byte(), program.byte(), program.byte()];
        let role = match form & 3 {
            0 => Role::InboundGateway,
            1 => Role::OutboundEndpoint,
            _ => Role::Participant,
        };
        let now = u32::try_from(self.now.unix_ms / 60_000).unwrap_or(0);
        let request = Request {
            receive_tunnel: self.id(to, program),
            next_tunnel: self.id(to, program),
            next_hop: self.nodes[usize::from(form >> 2 & 3)].hash,
            role,
            minutes: now.wrapping_add_signed(i32::from(minutes.cast_signed()) / 8),
            send_message_id: program.byte().into(),
            bandwidth: BandwidthRequest {
                minimum: (minutes & 1 != 0).then_some(u32::from(minutes) + 1),
                requested: (minutes & 2 != 0).then_some(u32::from(minutes) * 100 + 1),
                limit: (minutes & 4 != 0).then_some(u32::from(count) * 50 + 1),
            },
        };
        let from = program.below(NODES);
        let node = &self.nodes[to];
        let key = node.secret.public_key();
        let Ok((mut record, _)) = build_record::seal_request(&request, &node.hash, &key, &mut self.rng) else { return };
        let changes = program.blob();
        record.iter_mut().skip(48).zip(changes).for_each(|(to, from)| *to ^= from);
        let count = 1 + usize::from(count & 7);
        let mut records: Vec<Record> = (0..count).map(|n| [n as u8; build_record::RECORD_LEN]).collect();
        let index = usize::from(form >> 4) % count;
        records[index] = record;
        if form & 0xc0 == 0xc0 {
            records[(index + 1) % count] = record;
        }
        let Ok(records) = BuildRecords::new(records) else { return };
        let message = self.message(Kind::SHORT_TUNNEL_BUILD, program.byte().into(), records.to_bytes());
        self.write(from, to, message);
    }

    /// A tunnel message with any fragments.
    fn tunnel_message(&mut self, to: usize, program: &mut Program<'_>) {
        let (tunnel, from) = (self.id(to, program), program.below(NODES));
        let mut payload = Vec::new();
        for _ in 0..program.below(8) {
            let [form, id] = [program.byte(), program.byte()];
            let target = match form & 3 {
                0 => Target::Local,
                1 => Target::Router(self.nodes[usize::from(form >> 2 & 3)].hash),
                2 => Target::Router(Hash([form; 32])),
                _ => Target::Tunnel {
                    gateway: self.nodes[usize::from(form >> 2 & 3)].hash,
                    tunnel: self.id(to, program),
                },
            };
            let instructions = match form >> 4 {
                0..4 => Instructions::First { target, fragmented: None },
                4..8 => Instructions::First { target, fragmented: Some(id.into()) },
                _ => Instructions::FollowOn {
                    message_id: id.into(),
                    number: 1 + program.byte() % 63,
                    last: form & 0x10 != 0,
                },
            };
            let data = match program.flag() {
                true => self.whole(program),
                false => program.blob().to_vec(),
            };
            instructions.encode(u16::try_from(data.len()).unwrap_or(u16::MAX), &mut payload);
            payload.extend_from_slice(&data);
        }
        payload.truncate(message::MAX_PAYLOAD);
        let Ok(body) = message::build(tunnel, &payload, &mut self.rng) else { return };
        let message = self.message(Kind::TUNNEL_DATA, 1, body);
        self.write(from, to, message);
    }

    /// A whole message in its long form, as fragments carry it.
    fn whole(&self, program: &mut Program<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        self.inner(program).encode_standard(&mut out);
        out
    }

    fn inner(&self, program: &mut Program<'_>) -> Message {
        let kind = Kind(program.byte() % 28);
        let body = match program.byte() {
            0xff => vec![7; usize::from(program.u16()) % 8_192],
            _ => program.blob().to_vec(),
        };
        self.message(kind, program.byte().into(), body)
    }

    fn for_gateway(&mut self, to: usize, program: &mut Program<'_>) {
        let (tunnel, from) = (self.id(to, program), program.below(NODES));
        let inner = TunnelGateway { tunnel, message: self.inner(program) };
        let message = self.message(Kind::TUNNEL_GATEWAY, 1, inner.to_bytes());
        self.write(from, to, message);
    }

    /// A message out of an own tunnel.
    fn send(&mut self, at: usize, program: &mut Program<'_>) {
        let form = program.byte();
        let len = usize::from(program.u16()) % 16_384;
        let pool = if form & 1 == 0 { PoolId::EXPLORATORY } else { CLIENT };
        let inbound = self.nodes[at].tunnels.inbound(CLIENT);
        let target = match form & 2 {
            0 => Target::Router(self.nodes[usize::from(form >> 2 & 3)].hash),
            _ => match program.pick(&inbound) {
                Some(to) => Target::Tunnel { gateway: to.gateway, tunnel: to.tunnel },
                None => Target::Local,
            },
        };
        let message = self.message(Kind::DATA, 1, vec![at as u8 | 0x40; len]);
        let _ = self.nodes[at].tunnels.send(self.now, pool, None, target, message);
    }

    // ---- time, jobs and events ----

    fn run_job(&mut self, fails: bool) {
        let Some((at, job)) = self.jobs.pop_front() else { return };
        let tunnels = &mut self.nodes[at].tunnels;
        match (fails, &job) {
            (true, TunnelJob::Request(_)) => tunnels.handle_request_failed(self.now),
            (true, TunnelJob::Create(_)) => {}
            (false, _) => {
                let done = job.run(&mut self.rng);
                tunnels.handle_job(self.now, done);
            }
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.later(by);
        for node in &mut self.nodes {
            if node.tunnels.next_timeout().is_some_and(|at| at <= self.now.mono) {
                node.tunnels.handle_timeout(self.now);
            }
        }
    }

    fn calm(&mut self, steps: usize) {
        for _ in 0..steps {
            if !self.jobs.is_empty() {
                self.run_job(false);
            } else if !self.wire.is_empty() {
                self.deliver(0, false, None);
            } else {
                self.pass(Duration::from_millis(500));
            }
            self.drain();
        }
    }

    fn drain(&mut self) {
        for at in 0..NODES {
            for count in 0.. {
                assert!(count < EVENTS, "events without end");
                let Some(event) = self.nodes[at].tunnels.poll_event() else { break };
                self.handle(at, event);
            }
        }
    }

    fn handle(&mut self, at: usize, event: Event) {
        match event {
            Event::Send { to, message, .. } => {
                assert_ne!(to, self.nodes[at].hash, "nothing goes to ourselves");
                let to = self.nodes.iter().position(|node| node.hash == to);
                if let Some(to) = to.filter(|_| self.wire.len() < WIRE) {
                    self.wire.push_back((at, to, message));
                }
            }
            Event::Job(job) => self.jobs.push_back((at, job)),
            Event::NeedHops { build, length, .. } => {
                let others = (1..NODES).map(|n| &self.nodes[(at + n) % NODES]);
                let hops: Vec<Hop> = others
                    .take(length)
                    .map(|node| Hop { hash: node.hash, static_key: node.secret.public_key() })
                    .collect();
                let hops = (hops.len() == length).then_some(hops);
                self.nodes[at].tunnels.handle_hops(self.now, build, hops);
            }
            Event::Inbound { message, .. } => {
                self.outcome.inbound += 1;
                let whole = message.body.iter().all(|byte| *byte == message.body[0] && byte & 0x40 != 0);
                assert!(!self.honest || message.kind != Kind::DATA || whole, "what comes is what was sent");
            }
            Event::Local { from, message } if message.kind.is_build_request() => self.hand(at, from, message),
            Event::Local { from, message } => {
                self.outcome.local += 1;
                let kind = message.kind;
                assert!(kind != Kind::TUNNEL_DATA && kind != Kind::TUNNEL_GATEWAY, "no tunnel inside a tunnel");
                if kind == Kind::GARLIC {
                    self.garlic(at, from, &message);
                }
            }
            Event::TunnelReady { direction, .. } => {
                self.outcome.ready += usize::from(matches!(direction, Direction::Inbound | Direction::Outbound));
            }
            Event::TunnelLost { .. } => self.outcome.lost += 1,
            Event::PoolChanged { .. } | Event::Outcome { .. } | Event::Tested { .. } => {}
        }
    }

    // ---- what holds ----

    fn check(&mut self) {
        self.outcome.accepted = self.nodes.iter().map(|node| node.tunnels.stats().transit.accepted).sum();
        self.outcome.tampered = self.nodes.iter().map(|node| node.tunnels.stats().tampered).sum();
        self.nodes.iter().for_each(|node| node.tunnels.check());
        if self.honest {
            assert_eq!(self.outcome.tampered, 0, "records come back as they should");
        }
    }

    /// Pools go, and nothing comes any more: all tunnels end.
    fn settle(&mut self) {
        for node in &mut self.nodes {
            node.tunnels.remove_pool(PoolId::EXPLORATORY);
            node.tunnels.remove_pool(CLIENT);
        }
        self.jobs.clear();
        for _ in 0..2_000 {
            self.drain();
            let next = self.nodes.iter().filter_map(|node| node.tunnels.next_timeout()).min();
            let Some(next) = next else { break };
            self.pass(next.since(self.now.mono));
        }
        for node in &self.nodes {
            node.tunnels.check();
            assert_eq!(node.tunnels.sizes(), [0; 3], "own tunnels, builds and foreign tunnels that never end");
        }
    }
}

/// Programs to start from.
pub(crate) fn seeds() -> Seeds {
    let mut own = Script(vec![0x89 | 0x12]);
    own.put(&[31, 59, 31, 59, 31, 59, 31, 59]);
    own.put(&[13, 3, 0x10, 0, 0, 31, 59, 13, 1, 0, 50, 31, 20, 15, 14, 1, 31, 59, 1, 200, 31, 59, 1, 250, 31, 20]);
    let mut lossy = Script(vec![0x2d]);
    for n in 0..12 {
        lossy.put(&[0, 40, 19, 0, 19, 0, 3, n, 2, 0, 4, n, 19, 1, 2, 3, 31, 9]);
    }
    let mut tampered = Script(vec![9]);
    tampered.put(&[0, 50, 19, 0, 2, 0, 19, 0, 5, 0, 0, 60]).blob(&[1; 4]).put(&[31, 30, 5, 0, 0, 3]).blob(&[]);
    let mut transit = Script(vec![0]);
    // The first router as gateway, endpoint and participant; then one request twice, late, to itself, and changed.
    for (form, minutes) in [(0x04, 0), (0x05, 0), (0x06, 0), (0xc6, 0), (0x06, 0x80), (0x02, 0), (0x0a, 0)] {
        transit.put(&[8, form, 3, minutes, 3 + form, 9, 5, 2]).blob(&[]).put(&[1, 31, 4]);
    }
    transit.put(&[8, 6, 3, 0, 0x30, 9, 5, 2]).blob(&[0, 0, 0, 0, 0, 0, 0, 0, 9]).put(&[1, 31, 4]);
    // A message for the gateway, one in fragments for the endpoint, and one that passes.
    transit.put(&[12, 7, 2, 20, 0]).blob(&[1; 60]).put(&[1, 31, 4]).put(&[12, 7, 2, 20, 0xff, 16, 0, 1, 31, 4]);
    transit.put(&[10, 8, 2, 1, 1, 0, 1, 20, 0]).blob(&[2; 9]).put(&[1, 31, 2]);
    transit.put(&[10, 8, 2, 2, 0x41, 5, 0]).blob(&[0; 20]).put(&[0x90, 5, 0, 0]).blob(&[0; 20]).put(&[31, 2]);
    transit.put(&[10, 9, 2, 0, 31, 2, 1, 240, 31, 9, 1, 250, 1, 250]);
    let mut pools = Script(vec![0x49]);
    pools.put(&[31, 59, 16, 31, 9, 17, 0x12, 31, 59, 18, 0, 0x52, 0, 0x92, 0, 31, 59, 1, 60, 31, 40]);
    vec![("own", own.0), ("lossy", lossy.0), ("tampered", tampered.0), ("transit", transit.0), ("pools", pools.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seed(name: &str) -> Outcome {
        tunnel_build(&crate::fuzzing::program::named(seeds(), name))
    }

    #[test]
    fn honest_programs_come_through() {
        let own = seed("own");
        assert!(own.ready > 4 && own.inbound > 0 && own.tampered == 0, "{own:?}");
        assert!(seed("lossy").ready > 0, "{:?}", seed("lossy"));
        assert!(seed("pools").ready > 2, "{:?}", seed("pools"));
    }

    #[test]
    fn what_is_written_by_hand_reaches_the_machine() {
        let transit = seed("transit");
        assert!(transit.accepted >= 3 && transit.refused >= 3, "{transit:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_program_keeps_the_rules(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            tunnel_build(&bytes);
        }
    }
}
