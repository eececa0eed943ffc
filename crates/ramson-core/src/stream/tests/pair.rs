//! The pair: two destinations, a link between them, and programs that write and read.

use super::*;
use crate::stream::{Done, Event, Streams};
use std::collections::{BTreeMap, VecDeque};

/// How the link treats packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) delay: Duration,
    /// Extra delay, uniform; larger than the gap between packets it reorders.
    pub(super) jitter: Duration,
    pub(super) loss: f64,
    pub(super) duplicate: f64,
    /// Packets per second; 0 for any. What waits longer than `queue` is dropped.
    pub(super) rate: u32,
    pub(super) queue: Duration,
}

impl Link {
    pub(super) fn plain(delay_ms: u64) -> Self {
        let delay = Duration::from_millis(delay_ms);
        Self { delay, jitter: Duration::ZERO, loss: 0.0, duplicate: 0.0, rate: 0, queue: Duration::from_secs(1) }
    }
}

enum Item {
    Packet { to: usize, from_port: u16, to_port: u16, packet: Vec<u8> },
    Job { of: usize, done: Done },
}

/// What a program at one end does and has seen with one stream.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) to_write: VecDeque<Vec<u8>>,
    pub(super) close_after: bool,
    pub(super) read: Vec<u8>,
    /// Given and not credited, when the program reads by hand.
    pub(super) uncredited: usize,
    pub(super) opened: bool,
    pub(super) finished: bool,
    pub(super) closed: bool,
    pub(super) failed: Option<Error>,
}

pub(super) struct End {
    pub(super) streams: Streams,
    pub(super) hash: Hash,
    pub(super) programs: BTreeMap<StreamId, Program>,
    pub(super) accepted: Vec<StreamId>,
    /// What a program does with a stream that is accepted.
    pub(super) answer: Vec<u8>,
    pub(super) close_answer: bool,
    pub(super) read_by_hand: bool,
    pub(super) sent: u64,
    pub(super) suspects: Vec<u32>,
    free_at: Instant,
}

type Drop = Box<dyn FnMut(usize, &[u8]) -> bool>;

/// Both ends and what is between them.
pub(super) struct Pair {
    pub(super) now: Now,
    pub(super) ends: [End; 2],
    pub(super) link: Link,
    /// Packets that the test wants dropped: given the sender and the packet.
    pub(super) drop: Drop,
    wire: BTreeMap<(Instant, u64), Item>,
    count: u64,
    rng: Rng,
}

impl Pair {
    pub(super) fn new(seed: u64, link: Link, configs: [Config; 2]) -> Self {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = Rng::from_seed(bytes);
        let now = at(0);
        let mut side = 0;
        let ends = configs.map(|config| {
            side += 1;
            let local = local(side);
            let hash = local.destination.hash();
            let mut streams = Streams::new(now, local, config, rng.child("streams"));
            streams.listen(None);
            End {
                streams,
                hash,
                programs: BTreeMap::new(),
                accepted: Vec::new(),
                answer: Vec::new(),
                close_answer: true,
                read_by_hand: false,
                sent: 0,
                suspects: Vec::new(),
                free_at: Instant::ZERO,
            }
        });
        Self { now, ends, link, drop: Box::new(|_, _| false), wire: BTreeMap::new(), count: 0, rng }
    }

    /// Opens a stream from the first end to the second that writes `data` and, if so, closes.
    pub(super) fn open(&mut self, data: Vec<u8>, close_after: bool) -> StreamId {
        let to = self.ends[1].hash;
        let stream = self.ends[0].streams.connect(self.now, to, (1, 80), ConnectOptions::default()).unwrap();
        let program = Program { to_write: VecDeque::from([data]), close_after, ..Program::default() };
        self.ends[0].programs.insert(stream, program);
        self.write(0, stream);
        self.drain();
        stream
    }

    fn write(&mut self, end: usize, stream: StreamId) {
        let end = &mut self.ends[end];
        let Some(program) = end.programs.get_mut(&stream) else { return };
        while let Some(data) = program.to_write.pop_front() {
            let taken = end.streams.send(self.now, stream, data.clone());
            if taken < data.len() {
                program.to_write.push_front(data[taken..].to_vec());
                return;
            }
        }
        if program.close_after {
            end.streams.close(self.now, stream);
        }
    }

    /// Handles all events of both ends.
    pub(super) fn drain(&mut self) {
        for end in 0..2 {
            while let Some(event) = self.ends[end].streams.poll_event() {
                self.handle(end, event);
            }
        }
    }

    fn handle(&mut self, end: usize, event: Event) {
        match event {
            Event::Send { to, from_port, to_port, packet, .. } => {
                assert_eq!(to, self.ends[1 - end].hash);
                self.post(end, from_port, to_port, packet);
            }
            Event::Job(job) => {
                let done = job.run(&mut self.rng);
                self.put(self.now.mono + Duration::from_micros(300), Item::Job { of: end, done });
            }
            Event::Opened { stream, .. } => {
                let program = self.ends[end].programs.get_mut(&stream).unwrap();
                assert!(!std::mem::replace(&mut program.opened, true), "opened once");
            }
            Event::Accepted { stream, port, peer_port, .. } => {
                assert_eq!((port, peer_port), (80, 1));
                let this = &mut self.ends[end];
                this.accepted.push(stream);
                let to_write = VecDeque::from([this.answer.clone()]);
                let close_after = this.close_answer;
                this.programs.insert(stream, Program { to_write, close_after, ..Program::default() });
                self.write(end, stream);
            }
            Event::Data { stream, bytes } => {
                let by_hand = self.ends[end].read_by_hand;
                let program = self.ends[end].programs.get_mut(&stream).unwrap();
                assert!(!program.finished, "no data after the end");
                program.read.extend(&bytes);
                if by_hand {
                    program.uncredited += bytes.len();
                } else {
                    self.ends[end].streams.credit(self.now, stream, bytes.len());
                }
            }
            Event::Writable { stream } => self.write(end, stream),
            Event::Finished { stream } => self.ends[end].programs.get_mut(&stream).unwrap().finished = true,
            Event::Closed { stream } => self.ends[end].programs.get_mut(&stream).unwrap().closed = true,
            Event::Failed { stream, why } => self.ends[end].programs.get_mut(&stream).unwrap().failed = Some(why),
            Event::PathSuspect { timeouts, .. } => self.ends[end].suspects.push(timeouts),
            Event::PathGood { .. } | Event::Pong { .. } => {}
        }
    }

    fn post(&mut self, end: usize, from_port: u16, to_port: u16, packet: Vec<u8>) {
        self.ends[end].sent += 1;
        if (self.drop)(end, &packet) || self.rng.unit() < self.link.loss {
            return;
        }
        let mut leaves = self.now.mono;
        if self.link.rate > 0 {
            let free_at = self.ends[end].free_at.max(leaves);
            if free_at.since(leaves) > self.link.queue {
                return;
            }
            leaves = free_at + Duration::from_secs(1) / self.link.rate;
            self.ends[end].free_at = leaves;
        }
        let copies = 1 + usize::from(self.rng.unit() < self.link.duplicate);
        for _ in 0..copies {
            let arrives = leaves + self.link.delay + self.rng.between(Duration::ZERO, self.link.jitter);
            let packet = packet.clone();
            self.put(arrives, Item::Packet { to: 1 - end, from_port, to_port, packet });
        }
    }

    fn put(&mut self, when: Instant, item: Item) {
        self.count += 1;
        self.wire.insert((when, self.count), item);
    }

    /// Goes on to the next moment at which something happens, but not beyond `until`. False when nothing will.
    pub(super) fn step(&mut self, until: Instant) -> bool {
        let timeouts = self.ends.iter().filter_map(|end| end.streams.next_timeout());
        let Some(next) = timeouts.chain(self.wire.keys().next().map(|(at, _)| *at)).min() else { return false };
        if next > until {
            self.now = self.now.later(until.since(self.now.mono));
            return false;
        }
        self.now = self.now.later(next.since(self.now.mono));
        while let Some(entry) = self.wire.first_entry() {
            if entry.key().0 > self.now.mono {
                break;
            }
            match entry.remove() {
                Item::Packet { to, from_port, to_port, packet } => {
                    let from = Some(self.ends[1 - to].hash);
                    let _ = self.ends[to].streams.handle_packet(self.now, from, from_port, to_port, packet);
                }
                Item::Job { of, done } => self.ends[of].streams.handle_job(self.now, done),
            }
            self.drain();
        }
        for end in 0..2 {
            if self.ends[end].streams.next_timeout().is_some_and(|at| at <= self.now.mono) {
                self.ends[end].streams.handle_timeout(self.now);
            }
        }
        self.drain();
        true
    }

    /// Runs for `secs` of virtual time, or until `done`. Returns whether `done` was reached.
    pub(super) fn run(&mut self, secs: u64, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.now.mono + Duration::from_secs(secs);
        let mut steps = 0u64;
        while !done(self) {
            steps += 1;
            assert!(steps < 3_000_000, "it spins");
            if !self.step(until) {
                return done(self);
            }
        }
        true
    }

    pub(super) fn program(&self, end: usize, stream: StreamId) -> &Program {
        &self.ends[end].programs[&stream]
    }

    /// Where each program stands, for messages of failed tests.
    pub(super) fn describe(&self) -> String {
        let each = self.ends.iter().flat_map(|end| end.programs.values().map(|p| (p.read.len(), p)));
        each.map(|(n, p)| {
            let left: usize = p.to_write.iter().map(Vec::len).sum();
            format!("[read {n}, to write {left}, finished {}, closed {}, {:?}]", p.finished, p.closed, p.failed)
        })
        .collect()
    }

    /// Both programs have read to the end and everything is closed.
    pub(super) fn all_closed(&self) -> bool {
        let closed = |end: &End| !end.programs.is_empty() && end.programs.values().all(|p| p.closed && p.finished);
        self.ends.iter().all(closed)
    }
}

/// Bytes that tell where they belong.
pub(super) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = [3; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = Rng::from_seed(bytes);
    let mut out = Vec::with_capacity(len + 64);
    while out.len() < len {
        out.extend(rng.bytes::<64>());
    }
    out.truncate(len);
    out
}
