//! Two ends of a session, between which a fuzzer carries the packets: late, twice, never, in any order, or its own.
//!
//! Whatever comes: an end sends no more than its window and probes, its timers go forward, what it holds of the totals is
//! what they say; and as long as the packets are those of the other end, each message arrives once and as it was, and both
//! come to rest.

use super::{Received, Totals, Transfer, TransferConfig};
use crate::fuzzing::program::{Program, Script, Seeds};
use crate::limits::transfer as limits;
use crate::link::outbox::{Class, Outbox};
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::i2np::{Kind, Message};
use std::collections::BTreeMap;

const START: Now = Now::new(Instant::from_micros(1_000_000), 1_790_000_000_000);
/// Packets that wait to be carried, each way.
const CARRIED: usize = 512;
/// No network carries a packet longer.
const LIFE: Duration = Duration::from_secs(5);

/// What came of a program, for tests.
#[derive(Debug, Default)]
pub struct Outcome {
    pub packets: u64,
    pub delivered: usize,
    pub lost: usize,
    pub refused: usize,
}

struct End {
    transfer: Transfer,
    outbox: Outbox,
    totals: Totals,
    /// What was sent to it and has not arrived.
    expected: BTreeMap<u32, Message>,
    /// Packets on their way to it.
    coming: Vec<(Instant, Received, Vec<u8>)>,
    most_window: u64,
    timeouts: u64,
}

struct Pair {
    now: Now,
    ends: [End; 2],
    next_id: u32,
    /// The fuzzer has written packets of its own: what arrives is no longer only what was sent.
    tampered: bool,
    outcome: Outcome,
}

/// Runs a program.
pub fn transfer(bytes: &[u8]) -> Outcome {
    let mut rng = Rng::from_seed([6; 32]);
    let mut program = Program::new(bytes);
    let form = program.byte();
    let mut end = |first_number| {
        let rtt = (form & 1 > 0).then_some(Duration::from_millis(30));
        let config = TransferConfig { first_number, rtt, ipv6: form & 2 > 0, mtu: 1200 + u16::from(form) * 2 };
        End {
            transfer: Transfer::new(START, config, rng.child("end")),
            outbox: Outbox::default(),
            totals: Totals::default(),
            expected: BTreeMap::new(),
            coming: Vec::new(),
            most_window: 0,
            timeouts: 0,
        }
    };
    let ends = [end(1), end(0)];
    let mut pair = Pair { now: START, ends, next_id: 0, tampered: false, outcome: Outcome::default() };
    pair.ends[1].transfer.handle_confirmed(START);
    while let Some(step) = program.step() {
        pair.step(step, &mut program);
        pair.check();
    }
    pair.come_to_rest();
    pair.outcome
}

impl Pair {
    fn step(&mut self, step: u8, program: &mut Program<'_>) {
        let at = usize::from(step >> 7);
        match step & 0x7f {
            0..=29 => self.push(at, usize::from(program.u16()) % 6_000),
            30..=69 => self.carry(at, program.byte().into()),
            70..=79 => self.lose(at, program.byte().into()),
            80..=84 => self.carry_copy(at, program.byte().into()),
            85..=109 => self.pass(Duration::from_micros(u64::from(program.u16()) * 20)),
            110..=113 => {
                let payload = program.blob().to_vec();
                self.forge(at, program, payload);
            }
            114..=117 => {
                let payload = program.blocks();
                self.forge(at, program, payload);
            }
            118..=120 => self.ends[at].transfer.set_restricted(program.flag()),
            121..=123 => {
                let change = match program.below(3) {
                    0 => super::PathChange::Port,
                    1 => super::PathChange::Back,
                    _ => super::PathChange::Address { ipv6: program.flag(), mtu: 1280 + u16::from(program.byte()) },
                };
                self.ends[at].transfer.path_changed(self.now, change);
            }
            124 => drop(self.ends[at].transfer.send_block(self.now, vec![19, 0, 2, 7, 7])),
            _ => drop(self.ends[at].transfer.reserve_number()),
        }
        self.drain();
    }

    fn push(&mut self, from: usize, len: usize) {
        self.next_id += 1;
        let body = vec![self.next_id.to_le_bytes()[0]; len];
        let message = Message { kind: Kind::GARLIC, id: self.next_id, expiration: 0, body };
        let End { outbox, totals, .. } = &mut self.ends[from];
        if outbox.push(self.now.mono, message.clone(), Class::Own, &mut totals.waiting) {
            self.ends[1 - from].expected.insert(message.id, message);
        }
    }

    fn carry(&mut self, to: usize, which: usize) {
        if self.ends[to].coming.is_empty() {
            return;
        }
        let at = which % self.ends[to].coming.len();
        let (_, packet, payload) = self.ends[to].coming.remove(at);
        self.arrive(to, packet, &payload);
    }

    fn carry_copy(&mut self, to: usize, which: usize) {
        let coming = &self.ends[to].coming;
        if let Some((_, packet, payload)) = coming.get(which.checked_rem(coming.len()).unwrap_or(0)).cloned() {
            self.arrive(to, packet, &payload);
        }
    }

    fn lose(&mut self, to: usize, which: usize) {
        let coming = &mut self.ends[to].coming;
        if !coming.is_empty() {
            coming.remove(which % coming.len());
            self.outcome.lost += 1;
        }
    }

    fn forge(&mut self, to: usize, program: &mut Program<'_>, payload: Vec<u8>) {
        self.tampered = true;
        let flags = program.byte();
        let packet = Received { number: program.u32(), immediate_ack: flags & 1 > 0, congested: flags & 2 > 0 };
        self.arrive(to, packet, &payload);
    }

    fn arrive(&mut self, to: usize, packet: Received, payload: &[u8]) {
        let now = self.now;
        let End { transfer, totals, expected, .. } = &mut self.ends[to];
        if !transfer.accepts(packet.number) {
            self.outcome.refused += 1;
            return;
        }
        let result = transfer.handle_packet(now, packet, payload, totals, &mut Vec::new());
        assert!(result.is_ok() || self.tampered, "an end understands the other");
        assert!(!transfer.accepts(packet.number), "a number counts once");
        while let Some(message) = transfer.poll_message() {
            self.outcome.delivered += 1;
            let sent = expected.remove(&message.id);
            assert!(self.tampered || sent.is_some_and(|sent| sent == message), "each comes once, as it was");
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.later(time);
        for end in &mut self.ends {
            end.coming.retain(|(sent, ..)| self.now.mono.since(*sent) < LIFE);
            if end.transfer.next_timeout().is_some_and(|at| at <= self.now.mono) {
                end.timeouts += 1;
                end.transfer.handle_timeout(self.now, &mut end.totals);
                assert!(end.transfer.next_timeout().is_none_or(|at| at > self.now.mono), "a timer goes forward");
            }
        }
    }

    fn drain(&mut self) {
        for from in 0..2 {
            for turn in 0.. {
                assert!(turn < 20_000, "an end has enough at last");
                let End { transfer, outbox, totals, .. } = &mut self.ends[from];
                let mut payload = Vec::new();
                let Some(sent) = transfer.poll_transmit(self.now, outbox, totals, &mut payload) else { break };
                assert!((8..=1440).contains(&payload.len()));
                self.outcome.packets += 1;
                let packet = Received { number: sent.number, immediate_ack: sent.immediate_ack, congested: false };
                let coming = &mut self.ends[1 - from].coming;
                if coming.len() < CARRIED {
                    coming.push((self.now.mono, packet, payload));
                }
            }
        }
    }

    fn check(&mut self) {
        for end in &mut self.ends {
            let stats = end.transfer.stats();
            end.most_window = end.most_window.max(stats.window);
            // Each timeout lets two packets go beyond the window.
            let probes = (end.timeouts + 1) * 2 * 1_500;
            assert!(stats.in_flight <= end.most_window + probes, "{stats:?}");
            assert!(stats.window <= limits::WINDOW && stats.window >= 2 * 1_200);
            assert!(end.totals.reassembling <= limits::REASSEMBLY_BYTES);
            assert!((1_200..=1_440).contains(&stats.payload));
        }
    }

    /// Everything arrives from now on: nothing is left under way, and nothing is missing that was not given up.
    fn come_to_rest(&mut self) {
        for end in &mut self.ends {
            end.transfer.set_restricted(false);
        }
        let idle = |end: &End| end.outbox.is_empty() && end.transfer.is_idle() && end.coming.is_empty();
        for _ in 0..20_000 {
            self.drain();
            if self.ends.iter().all(idle) {
                break;
            }
            if self.ends.iter().all(|end| end.coming.is_empty()) {
                let next = self.ends.iter().filter_map(|end| end.transfer.next_timeout()).min();
                let wait = next.map_or(Duration::from_secs(1), |at| at.since(self.now.mono));
                self.pass(wait.max(Duration::from_micros(1)));
            } else {
                self.pass(Duration::from_millis(10));
                for to in 0..2 {
                    for (_, packet, payload) in std::mem::take(&mut self.ends[to].coming) {
                        self.arrive(to, packet, &payload);
                    }
                }
            }
            self.check();
        }
        if self.tampered {
            return;
        }
        for at in 0..2 {
            let (given_up, dropped) =
                (self.ends[1 - at].transfer.stats().given_up, self.ends[1 - at].outbox.is_empty());
            assert!(dropped && self.ends[at].transfer.is_idle(), "it comes to rest");
            let aged = self.now.mono.since(START.mono) > Duration::from_secs(7);
            assert!(
                self.ends[at].expected.is_empty() || given_up > 0 || aged,
                "{} are missing",
                self.ends[at].expected.len()
            );
        }
    }
}

/// Programs to start from.
pub(crate) fn seeds() -> Seeds {
    let mut honest = Script::default();
    honest.put(&[255]);
    for n in 0..40u8 {
        honest.put(&[n % 30, 4, n]).put(&[128 + n % 30, 16, n]).put(&[90, 1, 0]).put(&[40, 0]).put(&[168, 0]);
    }
    let mut lossy = Script::default();
    lossy.put(&[1]);
    for n in 0..60u8 {
        lossy.put(&[0, 4, n]).put(&[75 + 128 * (n % 2), n]).put(&[100, 20, 0]).put(&[50, n]).put(&[178, n]);
    }
    let mut hostile = Script::default();
    hostile.put(&[3]).put(&[0, 4, 4]);
    for n in 0..20u8 {
        // An ACK of everything, and a fragment without end.
        hostile.put(&[110]).blob(&[12, 0, 5, 0, 0, 0, n, n]).put(&[0, 0, 0, 1, n]);
        hostile.put(&[238]).blob(&[5, 0, 6, 2, 0, 0, 0, n, 1]).put(&[1, 0, 0, 0, n]).put(&[90, 200, 0]);
    }
    hostile.put(&[121, 2, 1, 9]).put(&[118, 1]);
    vec![("honest", honest.0), ("lossy", lossy.0), ("hostile", hostile.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::program::named;
    use proptest::prelude::*;

    #[test]
    fn the_seeds_do_what_they_say() {
        let honest = transfer(&named(seeds(), "honest"));
        assert!(honest.delivered == 80 && honest.lost == 0, "{honest:?}");
        let lossy = transfer(&named(seeds(), "lossy"));
        assert!(lossy.delivered == 60 && lossy.lost > 10, "{lossy:?}");
        assert!(transfer(&named(seeds(), "hostile")).packets > 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn no_program_harms(program in prop::collection::vec(any::<u8>(), 0..2_000)) {
            transfer(&program);
        }

        /// Without packets of the fuzzer's own.
        #[test]
        fn no_carrier_harms(steps in prop::collection::vec((0u8..110, any::<bool>(), any::<u16>()), 0..400)) {
            let mut program = vec![1];
            for (step, end, argument) in steps {
                program.extend([step | u8::from(end) << 7]);
                program.extend(&argument.to_be_bytes()[usize::from((30..85).contains(&step))..]);
            }
            transfer(&program);
        }
    }
}
