//! Sessions over a line in virtual time: for tests, and to measure.

use super::{Received, Totals, Transfer, TransferConfig, TransferStats};
use crate::link::outbox::{Class, Outbox};
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::i2np::Message;
use std::collections::BTreeMap;

/// Of IPv4 and UDP, and of a packet around its payload.
const HEADERS: usize = 28 + super::AROUND;
const UNIX_MS: u64 = 1_790_000_000_000;

/// What lies between the two ends, in both directions.
#[derive(Clone, Copy, Debug)]
pub struct LineConfig {
    /// One way.
    pub delay: Duration,
    pub jitter: Duration,
    /// Bytes per second, 0 for no limit, and what waits for them at most.
    pub rate: u64,
    pub buffer: u64,
    /// Shares, 0 to 1.
    pub loss: f64,
    pub duplicated: f64,
    pub reordered: f64,
    pub mtu: usize,
    pub seed: u8,
}

impl Default for LineConfig {
    /// 20 ms each way, and nothing else.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            rate: 0,
            buffer: 0,
            loss: 0.0,
            duplicated: 0.0,
            reordered: 0.0,
            mtu: 1500,
            seed: 1,
        }
    }
}

/// One end of a session.
struct End {
    transfer: Transfer,
    outbox: Outbox,
    totals: Totals,
    received: Vec<Message>,
}

struct Flying {
    flow: usize,
    to: usize,
    packet: Received,
    payload: Vec<u8>,
}

/// Several sessions that share a line.
pub struct Line {
    pub config: LineConfig,
    now: Instant,
    rng: Rng,
    flows: Vec<[End; 2]>,
    flying: BTreeMap<(Instant, u64), Flying>,
    next: u64,
    /// When the line has carried what it was given, each way, and when the latest packet arrives.
    free: [Instant; 2],
    last: [Instant; 2],
    /// Packets that the line has lost, by chance, for want of room, and for their length.
    pub lost: [u64; 3],
    events: u64,
}

impl Line {
    pub fn new(config: LineConfig, flows: usize) -> Self {
        let mut rng = Rng::from_seed([config.seed; 32]);
        let start = Instant::from_micros(1_000_000);
        let rtt = Some(config.delay * 2 + config.jitter);
        let mut end = |first_number| {
            let config = TransferConfig { first_number, rtt, ipv6: false, mtu: 1500 };
            let transfer = Transfer::new(now(start), config, rng.child("end"));
            End { transfer, outbox: Outbox::default(), totals: Totals::default(), received: Vec::new() }
        };
        let flows = (0..flows).map(|_| [end(1), end(0)]).collect();
        let mut line = Self {
            config,
            now: start,
            rng,
            flows,
            flying: BTreeMap::new(),
            next: 0,
            free: [start; 2],
            last: [start; 2],
            lost: [0; 3],
            events: 0,
        };
        for flow in 0..line.flows.len() {
            line.flows[flow][1].transfer.handle_confirmed(now(start));
            line.transmit(flow, 1);
        }
        line
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    pub fn stats(&self, flow: usize, end: usize) -> TransferStats {
        self.flows[flow][end].transfer.stats()
    }

    #[cfg(test)]
    pub(super) fn transfer(&mut self, flow: usize, end: usize) -> &mut Transfer {
        &mut self.flows[flow][end].transfer
    }

    /// Gives an end a message to send, of another's tunnels; false when its outbox is full.
    pub fn push(&mut self, flow: usize, from: usize, message: Message) -> bool {
        let End { outbox, totals, .. } = &mut self.flows[flow][from];
        let taken = outbox.push(self.now, message, Class::Own, &mut totals.waiting);
        self.transmit(flow, from);
        taken
    }

    /// Messages that an end has dropped, having waited too long.
    #[cfg(test)]
    pub(super) fn dropped(&self, flow: usize, end: usize) -> u64 {
        self.flows[flow][end].outbox.dropped()
    }

    /// Bytes that wait at an end, unsent.
    pub fn waiting(&self, flow: usize, end: usize) -> usize {
        self.flows[flow][end].outbox.bytes()
    }

    /// What an end has received since the last call.
    pub fn take(&mut self, flow: usize, end: usize) -> Vec<Message> {
        std::mem::take(&mut self.flows[flow][end].received)
    }

    /// Whether everything that was sent has arrived.
    pub fn is_idle(&self) -> bool {
        let idle = |end: &End| end.outbox.is_empty() && end.transfer.is_idle();
        self.flying.is_empty() && self.flows.iter().flatten().all(idle)
    }

    /// Carries out what is next, if that is due by `until`; else the clock goes there, and false is returned.
    pub fn step(&mut self, until: Instant) -> bool {
        let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
        let mut timer: Option<(Instant, usize, usize)> = None;
        for (flow, ends) in self.flows.iter().enumerate() {
            for (at, end) in ends.iter().enumerate() {
                let next = end.transfer.next_timeout().map(|time| (time, flow, at));
                timer = timer.into_iter().chain(next).min();
            }
        }
        let (due, first) = match (arrival, timer) {
            (Some(arrival), Some((time, ..))) => (arrival.min(time), arrival <= time),
            (Some(arrival), None) => (arrival, true),
            (None, Some((time, ..))) => (time, false),
            (None, None) => (Instant::FAR, false),
        };
        if due > until {
            self.now = until;
            return false;
        }
        self.now = self.now.max(due);
        self.events += 1;
        match (first, timer) {
            (true, _) => self.arrive(),
            (false, Some((_, flow, end))) => {
                let End { transfer, totals, .. } = &mut self.flows[flow][end];
                transfer.handle_timeout(now(self.now), totals);
                let again = transfer.next_timeout();
                assert!(again.is_none_or(|at| at > self.now), "a timer goes forward");
                self.transmit(flow, end);
            }
            (false, None) => {}
        }
        true
    }

    /// All packets that arrive now, before anything is answered: as a shell hands a batch over.
    fn arrive(&mut self) {
        let mut touched = Vec::new();
        while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let Flying { flow, to, packet, payload } = entry.remove();
            let End { transfer, totals, received, .. } = &mut self.flows[flow][to];
            if transfer.accepts(packet.number) {
                let mut others = Vec::new();
                let result = transfer.handle_packet(now(self.now), packet, &payload, totals, &mut others);
                assert!(result.is_ok(), "{result:?}");
                let responses = others.iter().filter_map(|block| match block {
                    ramson_wire::ssu2::Block::PathChallenge(data) => Some(*data),
                    _ => None,
                });
                for data in responses {
                    let mut block = Vec::new();
                    ramson_wire::ssu2::Block::encode_path_response(&mut block, data);
                    transfer.send_block(now(self.now), block);
                }
                received.extend(std::iter::from_fn(|| transfer.poll_message()));
            }
            touched.push((flow, to));
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().for_each(|(flow, end)| self.transmit(flow, end));
    }

    fn transmit(&mut self, flow: usize, from: usize) {
        for _ in 0..100_000 {
            let End { transfer, outbox, totals, .. } = &mut self.flows[flow][from];
            let mut payload = Vec::new();
            let sent = transfer.poll_transmit(now(self.now), outbox, totals, &mut payload);
            let Some(sent) = sent else { return };
            assert!(payload.len() >= ramson_wire::ssu2::PAYLOAD_MIN && payload.len() + HEADERS <= 1500);
            let packet = Received { number: sent.number, immediate_ack: sent.immediate_ack, congested: false };
            self.launch(Flying { flow, to: 1 - from, packet, payload });
        }
        unreachable!("an end never has enough");
    }

    fn launch(&mut self, flying: Flying) {
        let LineConfig { delay, jitter, rate, buffer, loss, duplicated, reordered, mtu, .. } = self.config;
        let (bytes, to) = (flying.payload.len() + HEADERS, flying.to);
        if bytes > mtu {
            self.lost[2] += 1;
            return;
        }
        let mut left = self.now;
        if rate > 0 {
            let free = self.free[to].max(self.now);
            if free.since(self.now).as_micros() as u64 * rate / 1_000_000 + bytes as u64 > buffer {
                self.lost[1] += 1;
                return;
            }
            left = free + Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate);
            self.free[to] = left;
        }
        if self.rng.unit() < loss {
            self.lost[0] += 1;
            return;
        }
        let copies = 1 + usize::from(self.rng.unit() < duplicated);
        for _ in 0..copies {
            let at = left + delay + self.rng.between(Duration::ZERO, jitter);
            let at = if self.rng.unit() < reordered { at } else { at.max(self.last[to]) };
            self.last[to] = self.last[to].max(at);
            self.next += 1;
            let copy = Flying { payload: flying.payload.clone(), ..flying };
            self.flying.insert((at, self.next), copy);
        }
    }
}

fn now(mono: Instant) -> Now {
    Now::new(mono, UNIX_MS + mono.as_micros() / 1000)
}
