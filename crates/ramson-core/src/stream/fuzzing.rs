//! Two destinations with streams between them, and a link that a fuzzer holds: it loses, repeats and reorders packets,
//! runs jobs when it likes, and writes packets of its own, as a stranger or as the peer.
//!
//! As long as nobody but strangers writes packets, every byte must arrive once and in order, or the stream must fail;
//! and when the link is good again, everything must come to an end. Whoever writes them: budgets hold, a packet that
//! is refused as forged or malformed changes nothing, and both machines come to rest.

use super::{Config, ConnectOptions, Done, Error, Event, Job, Local, StreamId, Streams};
use crate::fuzzing::program::{Program, Script, Seeds};
use crate::limits::stream as limits;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::data::{Destination, Hash};
use ramson_wire::streaming::sign::Unsigned;
use ramson_wire::streaming::{Flags, Outgoing, Packet};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

const START: Now = Now::new(Instant::from_micros(1_000_000), 1_790_000_000_000);
/// Packets that the link holds; more are lost, and those that are older: tunnels deliver nothing after a minute, and
/// nobody remembers a SYN for ever.
const LINK: usize = 512;
const LATE: Duration = Duration::from_secs(120);
/// The port that is listened on. Each stream has another local port, by which both sides tell it.
const PORT: u16 = 80;
/// Events of one call; more are a loop.
const EVENTS: usize = 20_000;

/// What came of a program, for tests.
#[derive(Debug, Default)]
pub struct Outcome {
    pub opened: usize,
    pub accepted: usize,
    pub finished: usize,
    pub closed: usize,
    pub failed: usize,
    pub bytes: usize,
    pub refused: usize,
}

#[derive(Clone)]
struct Flying {
    since: Instant,
    to: usize,
    from_port: u16,
    to_port: u16,
    packet: Vec<u8>,
}

/// A program's end of a stream.
#[derive(Debug, Default)]
struct Side {
    /// The port by which both ends tell it; 0 for a stream that is no affair of the two.
    port: u16,
    sent: usize,
    got: usize,
    uncredited: usize,
    discards: bool,
    finished: bool,
    /// `Closed`, `Failed`, or reset by its own program.
    over: bool,
    failed: bool,
}

struct End {
    streams: Streams,
    local: Local,
    sides: BTreeMap<StreamId, Side>,
}

struct Pair {
    now: Now,
    ends: [End; 2],
    stranger: Local,
    wire: VecDeque<Flying>,
    jobs: VecDeque<(usize, Done)>,
    rng: Rng,
    next_port: u16,
    /// Only the two machines have written what they got from each other.
    honest: bool,
    /// Programs close what is accepted.
    settling: bool,
    outcome: Outcome,
}

fn local(seed: u8) -> Local {
    let key = SigningKey::from_seed([seed; 32]);
    let destination = Destination::new(key.verifying_key(), &mut Rng::from_seed([seed; 32]));
    Local { destination, key: Arc::new(key), offline: None }
}

/// The byte at this place of what the stream of this port carries towards one side.
fn byte_at(port: u16, to: usize, at: usize) -> u8 {
    let n = at.wrapping_mul(31) ^ (at >> 8) ^ usize::from(port) ^ (to << 5);
    n as u8
}

/// Runs a program. The first byte chooses the settings.
pub fn stream(bytes: &[u8]) -> Outcome {
    let mut program = Program::new(bytes);
    let mut pair = Pair::new(program.byte());
    while let Some(step) = program.step() {
        pair.step(step, &mut program);
        pair.drain();
        pair.check();
    }
    pair.settle();
    pair.outcome
}

impl Pair {
    fn new(form: u8) -> Self {
        let mut rng = Rng::from_seed([form; 32]);
        let config = Config {
            receive_buffer: if form & 1 == 0 { 1 << 16 } else { 8 << 10 },
            send_buffer: 1 << 16,
            max_streams: if form & 2 == 0 { 64 } else { 3 },
            unsigned_syn: form & 4 != 0,
            mtu: if form & 8 == 0 { 1812 } else { 512 },
            ..Config::default()
        };
        let mut end = |seed| {
            let local = local(seed);
            let mut streams = Streams::new(START, local.clone(), config.clone(), rng.child("streams"));
            streams.listen(Some(PORT));
            End { streams, local, sides: BTreeMap::new() }
        };
        Self {
            now: START,
            ends: [end(1), end(2)],
            stranger: local(3),
            wire: VecDeque::new(),
            jobs: VecDeque::new(),
            rng,
            next_port: 1_000,
            honest: true,
            settling: false,
            outcome: Outcome::default(),
        }
    }

    fn step(&mut self, step: u8, program: &mut Program<'_>) {
        let end = usize::from(step >> 7);
        match step & 0x1f {
            0 => self.connect(end, program),
            1 => {
                let len = usize::from(program.u16());
                self.write(end, program, len);
            }
            2..=6 => self.act(end, step & 0x1f, program),
            7 | 8 => self.deliver(program.byte().into(), false),
            9 => self.deliver(program.byte().into(), true),
            10 => drop(self.take(program.byte().into())),
            11 => self.run_job(),
            12 => self.jobs.rotate_left(usize::from(self.jobs.len() > 1)),
            13 => self.pass(Duration::from_millis(program.byte().into())),
            14 => self.pass(Duration::from_millis(u64::from(program.u16()) * 10)),
            15 => {
                self.go_on();
            }
            16 => {
                let (from, packet) = (program.byte(), program.blob().to_vec());
                self.inject(end, from, packet);
            }
            17 | 18 => self.write_packet(end, program),
            19 => {
                if let Some(mut flying) = self.take(program.byte().into()) {
                    program.tamper(&mut flying.packet);
                    self.honest = false;
                    self.give(flying);
                }
            }
            20 => {
                let peer = self.ends[1 - end].local.destination.hash();
                self.ends[end].streams.path_changed(self.now, peer);
            }
            21 => {
                let peer = self.ends[1 - end].local.destination.hash();
                self.ends[end].streams.ping(peer, (1, PORT), program.blob());
            }
            22 => self.ends[end].streams.unlisten(Some(PORT)),
            23 => self.ends[end].streams.listen(Some(PORT)),
            // The link as it should be, for a while.
            _ => self.calm(program.below(40)),
        }
    }

    fn connect(&mut self, end: usize, program: &mut Program<'_>) {
        let peer = &self.ends[1 - end].local.destination;
        let form = program.byte();
        let options = ConnectOptions {
            peer: (form & 1 == 0).then(|| peer.clone()),
            path_rtt: (form & 2 != 0).then_some(Duration::from_millis(40)),
            wait_for_data: Duration::from_millis(u64::from(form >> 4)),
        };
        let to = peer.hash();
        self.next_port += 1;
        let port = self.next_port;
        if let Ok(stream) = self.ends[end].streams.connect(self.now, to, (port, PORT), options) {
            self.ends[end].sides.insert(stream, Side { port, ..Side::default() });
        }
    }

    fn pick(&self, end: usize, program: &mut Program<'_>) -> Option<StreamId> {
        let ids: Vec<StreamId> = self.ends[end].sides.keys().copied().collect();
        program.pick(&ids).copied()
    }

    fn write(&mut self, end: usize, program: &mut Program<'_>, len: usize) {
        let Some(stream) = self.pick(end, program) else { return };
        let End { streams, sides, .. } = &mut self.ends[end];
        let Some(side) = sides.get_mut(&stream) else { return };
        let data = (side.sent..side.sent + len).map(|at| byte_at(side.port, 1 - end, at)).collect();
        let taken = streams.send(self.now, stream, data);
        assert!(
            taken <= len && !(side.over && taken > 0),
            "no more is taken than was offered, and nothing after the end"
        );
        side.sent += taken;
    }

    /// What a program does with its stream.
    fn act(&mut self, end: usize, what: u8, program: &mut Program<'_>) {
        let Some(stream) = self.pick(end, program) else { return };
        let End { streams, sides, .. } = &mut self.ends[end];
        let Some(side) = sides.get_mut(&stream) else { return };
        match what {
            2 => streams.close(self.now, stream),
            3 => {
                streams.discard(self.now, stream);
                side.discards = true;
            }
            4 => {
                streams.reset(self.now, stream);
                (side.over, side.failed) = (true, true);
            }
            5 => {
                let n = side.uncredited.min(usize::from(program.u16()));
                streams.credit(self.now, stream, n);
                side.uncredited -= n;
            }
            _ => streams.credit(self.now, stream, std::mem::take(&mut side.uncredited)),
        }
    }

    // ---- the link ----

    fn take(&mut self, at: usize) -> Option<Flying> {
        self.wire.remove(at.checked_rem(self.wire.len())?)
    }

    fn deliver(&mut self, at: usize, again: bool) {
        let Some(flying) = self.take(at) else { return };
        if again {
            self.wire.push_back(flying.clone());
        }
        self.give(flying);
    }

    fn give(&mut self, flying: Flying) {
        let from = self.ends[1 - flying.to].local.destination.hash();
        self.hand(flying.to, Some(from), flying.from_port, flying.to_port, flying.packet);
    }

    /// Gives a packet to a machine. One that is refused for what it is changes nothing.
    fn hand(&mut self, to: usize, from: Option<Hash>, from_port: u16, to_port: u16, packet: Vec<u8>) {
        let streams = &mut self.ends[to].streams;
        let before = streams.digest();
        let result = streams.handle_packet(self.now, from, from_port, to_port, packet);
        self.outcome.refused += usize::from(result.is_err());
        if let Err(Error::Forged | Error::Malformed(_) | Error::TooLarge | Error::Unsigned) = result {
            assert!(before == streams.digest(), "a packet that is refused changes nothing");
        }
    }

    /// Bytes from a stranger, from nobody known, or from the peer.
    fn inject(&mut self, to: usize, from: u8, packet: Vec<u8>) {
        let from = match from % 3 {
            0 => Some(self.stranger.destination.hash()),
            1 => None,
            _ => Some(self.ends[1 - to].local.destination.hash()),
        };
        let stranger = from == Some(self.stranger.destination.hash());
        if stranger {
            // What names a stream of the two must not count, however it is signed.
            let known = |id: u32| {
                self.ends[to]
                    .streams
                    .by_local
                    .get(&id)
                    .is_some_and(|id| self.ends[to].sides.get(id).is_some_and(|side| side.port != 0))
            };
            let names = Packet::parse(&packet).is_ok_and(|p| !p.is_echo() && known(p.send_id));
            let result = self.ends[to].streams.handle_packet(self.now, from, 7, PORT, packet);
            assert!(!names || result.is_err(), "a stranger speaks for a stream of others");
            return;
        }
        self.honest = false;
        self.hand(to, from, 7, PORT, packet);
    }

    /// A packet with the ids of a stream that there is, or with others.
    fn write_packet(&mut self, to: usize, program: &mut Program<'_>) {
        let [form, ids, sender] = [program.byte(), program.byte(), program.byte()];
        let known = self.pick(to, program).and_then(|id| self.ends[to].streams.connections.get(&id));
        let (local, remote) = known.map_or((0, 0), |c| (c.local_id, c.remote_id));
        let id = |bits: u8, right: u32, program: &mut Program<'_>| match bits & 3 {
            0 | 1 => right,
            2 => 0,
            _ => program.u32(),
        };
        let (send_id, recv_id) = (id(ids, local, program), id(ids >> 2, remote, program));
        let number = |program: &mut Program<'_>| match program.byte() {
            0xff => program.u32(),
            near => near.into(),
        };
        let (sequence, ack) = (number(program), number(program));
        let nacks: Vec<u32> = (0..program.below(8)).map(|_| number(program)).collect();
        let flags = Flags(program.u16() & 0x0207);
        let peer = match sender % 3 {
            0 => self.stranger.clone(),
            _ => self.ends[1 - to].local.clone(),
        };
        let out = Outgoing {
            send_id,
            recv_id,
            sequence,
            ack_through: (form & 1 == 0).then_some(ack),
            nacks: &nacks,
            flags,
            resend_delay: form,
            delay: (form & 2 != 0).then(|| program.u16()),
            from: (form & 4 != 0).then_some(&peer.destination),
            max_size: (form & 8 != 0).then(|| program.u16()),
            ..Outgoing::default()
        };
        let payload = program.blob();
        let packet = match form & 16 == 0 {
            true => Unsigned::new(&out, &[payload]).sign(&peer.key),
            false => out.encode(&[payload]),
        };
        self.inject(to, sender, packet);
    }

    // ---- time, jobs and events ----

    fn run_job(&mut self) {
        if let Some((end, done)) = self.jobs.pop_front() {
            self.ends[end].streams.handle_job(self.now, done);
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.later(by);
        self.wire.retain(|flying| self.now.mono.since(flying.since) < LATE);
        for end in 0..2 {
            if self.ends[end].streams.next_timeout().is_some_and(|at| at <= self.now.mono) {
                self.ends[end].streams.handle_timeout(self.now);
            }
        }
    }

    /// To the next deadline. False when there is none.
    fn go_on(&mut self) -> bool {
        let next = self.ends.iter().filter_map(|end| end.streams.next_timeout()).min();
        let Some(next) = next else { return false };
        self.pass(next.since(self.now.mono));
        true
    }

    /// Everything in order, so many steps.
    fn calm(&mut self, steps: usize) {
        for _ in 0..steps {
            if !self.jobs.is_empty() {
                self.run_job();
            } else if !self.wire.is_empty() {
                self.deliver(0, false);
            } else {
                self.go_on();
            }
            self.drain();
        }
    }

    fn drain(&mut self) {
        for end in 0..2 {
            let mut count = 0;
            while let Some(event) = self.ends[end].streams.poll_event() {
                count += 1;
                assert!(count < EVENTS, "events without end");
                self.handle(end, event);
            }
        }
    }

    fn handle(&mut self, end: usize, event: Event) {
        match event {
            Event::Send { to, from_port, to_port, packet, .. } => {
                assert!(packet.len() <= limits::MAX_PACKET, "what we send, others must take");
                if to == self.ends[1 - end].local.destination.hash() && self.wire.len() < LINK {
                    self.wire.push_back(Flying { since: self.now.mono, to: 1 - end, from_port, to_port, packet });
                }
            }
            Event::Job(job) => self.job(end, job),
            Event::Accepted { stream, from, port, peer_port } => self.accepted(end, stream, &from, port, peer_port),
            Event::Opened { stream, .. } => {
                self.outcome.opened += 1;
                assert!(self.ends[end].sides.contains_key(&stream), "a stream that nobody opened");
            }
            Event::Data { stream, bytes } => self.data(end, stream, &bytes),
            Event::Finished { stream } => self.finished(end, stream),
            Event::Closed { stream } => self.over(end, stream, false),
            Event::Failed { stream, .. } => self.over(end, stream, true),
            Event::Writable { .. } | Event::PathSuspect { .. } | Event::PathGood { .. } | Event::Pong { .. } => {}
        }
    }

    fn job(&mut self, end: usize, job: Job) {
        let done = job.run(&mut self.rng);
        self.jobs.push_back((end, done));
    }

    fn accepted(&mut self, end: usize, stream: StreamId, from: &Destination, port: u16, peer_port: u16) {
        self.outcome.accepted += 1;
        assert_eq!(port, PORT, "only this one is listened on");
        let of_peer = from.hash() == self.ends[1 - end].local.destination.hash();
        let port = if of_peer { peer_port } else { 0 };
        let twice = self.ends[end].sides.values().any(|side| side.port == port && port != 0);
        assert!(!twice || !self.honest, "one SYN opens one stream");
        self.ends[end].sides.insert(stream, Side { port, ..Side::default() });
        if self.settling {
            self.ends[end].streams.close(self.now, stream);
        }
    }

    fn data(&mut self, end: usize, stream: StreamId, bytes: &[u8]) {
        let honest = self.honest;
        let Some(side) = self.ends[end].sides.get_mut(&stream) else { return };
        assert!(!side.finished && !side.over, "no data after the end: {side:?}");
        assert!(!side.discards, "no data for a program that reads no more");
        if honest && side.port != 0 {
            let right = (side.got..).zip(bytes).all(|(at, byte)| *byte == byte_at(side.port, end, at));
            assert!(right, "every byte once and in order");
        }
        side.got += bytes.len();
        side.uncredited += bytes.len();
        self.outcome.bytes += bytes.len();
    }

    /// What the other end of the stream has sent.
    fn sent_to(&self, end: usize, port: u16) -> Option<usize> {
        self.ends[1 - end].sides.values().find(|side| side.port == port).map(|side| side.sent)
    }

    fn finished(&mut self, end: usize, stream: StreamId) {
        self.outcome.finished += 1;
        let Some(side) = self.ends[end].sides.get_mut(&stream) else { return };
        assert!(!std::mem::replace(&mut side.finished, true), "it ends once");
        let (port, got, discards) = (side.port, side.got, side.discards);
        if self.honest && port != 0 && !discards {
            assert_eq!(self.sent_to(end, port), Some(got), "all that was sent has come");
        }
    }

    fn over(&mut self, end: usize, stream: StreamId, failed: bool) {
        self.outcome.closed += usize::from(!failed);
        self.outcome.failed += usize::from(failed);
        let Some(side) = self.ends[end].sides.get_mut(&stream) else { return };
        assert!(!side.over, "it is over once");
        (side.over, side.failed) = (true, failed);
    }

    // ---- what holds ----

    fn check(&self) {
        for end in &self.ends {
            end.streams.check();
        }
    }

    /// The link is good from now on, programs read and close: everything comes to an end.
    fn settle(&mut self) {
        self.settling = true;
        for end in 0..2 {
            let streams: Vec<StreamId> = self.ends[end].sides.keys().copied().collect();
            for stream in streams {
                self.ends[end].streams.close(self.now, stream);
            }
        }
        self.run_out();
        // A peer that acknowledges what never came leaves both ends waiting for what nobody sends again, while each hears
        // that the other one lives. Programs can end that.
        if !self.honest {
            for end in &mut self.ends {
                let streams: Vec<StreamId> = end.sides.keys().copied().collect();
                for stream in streams {
                    end.streams.reset(self.now, stream);
                }
            }
            self.run_out();
        }
        self.check();
        for end in &self.ends {
            assert!(end.streams.is_empty(), "streams that never end: {:?}", end.sides);
            assert_eq!(end.streams.held_bytes(), (0, 0), "nothing stays");
            let told = end.sides.values().all(|side| side.over);
            assert!(told || !self.honest, "programs are told that their streams are over: {:?}", end.sides);
        }
    }

    /// An hour passes, or as much of it as there is anything to do.
    fn run_out(&mut self) {
        let patience = self.now.mono + Duration::from_secs(3_600);
        for _ in 0..200_000 {
            self.drain();
            self.credit_all();
            if self.now.mono >= patience || self.ends.iter().all(|end| end.streams.is_empty()) {
                break;
            }
            if !self.jobs.is_empty() {
                self.run_job();
            } else if !self.wire.is_empty() {
                self.deliver(0, false);
            } else if !self.go_on() {
                break;
            }
        }
        self.drain();
    }

    fn credit_all(&mut self) {
        for end in &mut self.ends {
            for (stream, side) in &mut end.sides {
                let n = std::mem::take(&mut side.uncredited);
                if n > 0 {
                    end.streams.credit(self.now, *stream, n);
                }
            }
        }
    }
}

/// Programs to start from.
pub(crate) fn seeds() -> Seeds {
    let mut echo = Script(vec![0]);
    echo.put(&[0, 0, 1, 0x10, 0, 0, 31, 39]).put(&[0x81, 0x08, 0, 0, 31, 39, 2, 0, 0x82, 0, 31, 39]);
    let mut lossy = Script(vec![1]);
    lossy.put(&[0, 3, 1, 0xff, 0xff, 0, 11, 7, 0, 11, 7, 0]);
    for n in 0..30 {
        lossy.put(&[31, 9, 10, n, 9, n, 7, 3, 6, 0, 0x86, 0]);
    }
    let mut peer = Script(vec![2]);
    peer.put(&[0x80, 1, 31, 20]);
    for flags in [0, 2, 4, 1] {
        // Data, CLOSE, RESET and SYN of the peer, with the right ids.
        peer.put(&[17, 4, 0, 2, 0, 1, 0, 0, 0, flags]).blob(b"injected").put(&[31, 5]);
        peer.put(&[17, 0x10, 0, 2, 0, 5, 2, 2, 0, 1, 0, flags]).blob(b"later").put(&[31, 5]);
    }
    let mut stranger = Script(vec![4]);
    stranger.put(&[0, 0, 31, 9]);
    // A SYN of a stranger, and one in his name without a signature.
    stranger.put(&[17, 4, 0x0e, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 1]).blob(b"hello").put(&[31, 9]);
    stranger.put(&[0x91, 20, 0x0e, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1]).blob(b"hello").put(&[31, 9]);
    let mut ping = Script(vec![0]);
    ping.put(&[21]).blob(b"are you there").put(&[31, 9, 0x84, 0, 0, 0, 22, 0x80, 0, 31, 30]);
    vec![("echo", echo.0), ("lossy", lossy.0), ("peer", peer.0), ("stranger", stranger.0), ("ping", ping.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seed(name: &str) -> Outcome {
        stream(&crate::fuzzing::program::named(seeds(), name))
    }

    #[test]
    fn honest_programs_come_through() {
        let echo = seed("echo");
        assert_eq!((echo.opened, echo.accepted, echo.finished, echo.closed, echo.failed), (1, 1, 2, 2, 0), "{echo:?}");
        assert_eq!((echo.bytes, echo.refused), (0x1000 + 0x800, 0));
        let lossy = seed("lossy");
        assert_eq!((lossy.finished, lossy.failed, lossy.bytes), (2, 0, 0xffff), "{lossy:?}");
    }

    #[test]
    fn strangers_and_peers_reach_the_machine() {
        let stranger = seed("stranger");
        assert_eq!(stranger.accepted, 3, "{stranger:?}");
        assert!(seed("peer").failed > 0, "{:?}", seed("peer"));
    }

    #[test]
    fn what_a_lying_peer_leaves_waiting_can_be_ended() {
        let program = concat!(
            "0280011f145e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e1f0000fd000000005e5e5e5e5e5e5e5e5e5e5e",
            "5e5e5e5e5e5e5e795e5e5e5e5e5e5e5e5e5e5e1104000200010000000008696e6a65637465641f000208236e6a6563746564",
            "1f020005020200010000056c7472616504001f2b110200010000000208696e6a65637465641f051110000200050602000100",
            "02056c617465721f051104000200010000000408696e6a65637400010000000008696e6a65637465641f0511100002000502",
            "0205111000020005020200010002056c617465721f0500020005020200010000056c747261659f0511040002000100000002",
            "08696e6a65637465641f051110000224000502020001000200010000000108696e6a65637465a11f05111000020005020200",
            "010001056c617465721f05",
        );
        let outcome = stream(&crate::fuzzing::program::from_hex(program));
        assert_eq!(outcome.opened, 3, "{outcome:?}");
    }

    /// An unsigned SYN came when the name of a stream that had ended was due to be forgotten.
    #[test]
    fn what_is_refused_forgets_no_ended_stream() {
        let program = concat!(
            "02800105020200010000056c617765721f051104000200010000000208696e0000000000001080006a656374656409c01510",
            "00020005026409c0151000020005020200010000056c74617465721f1fc30003100100002700fffa168001000301ffff0100",
            "0000990931040e00f513278409000088ffffffffffffffffffe9030000ffffffffffff3effffffffffffffffff3a010100ff",
            "f4f8fff4f4f61f090703060086001f090a0b090bffffff0181ff1f090a0c090c010101010101010101010167010101010101",
            "01010000004c051104000200010000000208696e00002000000000004949494949494949494949493b494949494900070300",
            "150d617265e086908adf8b9790001f090a1d091d0703494949494949494900ff0000ff1256dc080703060086001f090a0909",
            "090703006a6563746564800105020200010000056c617465721f056a65637465641f0161740009000765721f050306000703",
            "2074",
        );
        let outcome = stream(&crate::fuzzing::program::from_hex(program));
        assert!(outcome.refused > 0, "{outcome:?}");
    }

    /// A SYN came twice, and the signature of the second was checked when the stream of the first was long forgotten.
    #[test]
    fn a_syn_that_was_checked_too_late_opens_nothing() {
        let program = concat!(
            "c8000301ffff000b070000000000000000000000000000011000401f00000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000401f00000000000000000000000000000086001f090a0509050703",
            "060086001f090a06090607030600861f00090a0709070f0306000901060a1509150703060086001f090a1569696969696969",
            "6969692929292929292929292929292929292929212929292929292929292929292929292929292929292929292929292929",
            "2929292929296969696969696969696969696969696969696969714f1fbc6969696969696969692929292929292929292929",
            "2929292929292929292929292929292929292929292929292929292929000000000000aeaeaeaeaeaeaeaeaeaeaeaeaeaeae",
            "aeaeaeae000000000000000000000000000209020703060086001f41000000000000000086001f090a040904070306008600",
            "1f090a05090509190703060086081f090a1a091a0703060086001f09ffffffff0a110002020005147e040002fa0201030000",
            "0008696e6a656374650400001f0904110e00641f05ff0c000000000000000000010500010000850a1b091b0703060086001f",
            "090a1c091c070306f986001f090a1d091d0703060086",
        );
        let outcome = stream(&crate::fuzzing::program::from_hex(program));
        assert!(outcome.accepted > 0, "{outcome:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_program_keeps_the_rules(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            stream(&bytes);
        }
    }
}
