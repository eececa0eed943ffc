//! Many probers, and many who only connect. Threats P-30, P-32 and P-39.

use super::*;
use std::collections::BTreeMap as Map;

/// Connections of probers have numbers from here on.
const FIRST: ConnId = ConnId(ConnId::INBOUND | 1_000_000);

fn addr(n: usize) -> SocketAddr {
    format!("10.{}.{}.{}:4000", 100 + n / 60_000, n / 240 % 250, n % 240 + 1).parse().unwrap()
}

/// The genuine message 1 of machine 0, fresh, to machine 1.
fn message_1(pair: &mut Pair) -> Vec<u8> {
    let before = pair.tape.len();
    assert!(pair.send(0, 10));
    pair.run();
    pair.tape[before].1.clone()
}

/// Machine 1 with its jobs done at once; what it does with connections: bytes written, and when and how each ended.
struct Watched {
    links: Links,
    rng: Rng,
    now: Instant,
    written: usize,
    ended: Map<ConnId, (Instant, CloseKind)>,
}

impl Watched {
    fn new(pair: Pair) -> Self {
        let now = pair.now;
        let [_, Machine { links, rng, .. }] = pair.machines;
        Self { links, rng, now, written: 0, ended: Map::new() }
    }

    fn now(&self) -> Now {
        Now::new(self.now, START + self.now.as_micros() / 1000)
    }

    fn drain(&mut self) {
        let now = self.now();
        while let Some(event) = self.links.poll_event(now) {
            match event {
                Event::Job(job) => {
                    let done = job.run(&mut self.rng);
                    self.links.handle_job(now, done);
                }
                Event::Write { conn, bytes } if conn >= FIRST => self.written += bytes.len(),
                Event::Close { conn, how } => _ = self.ended.insert(conn, (self.now, how)),
                _ => {}
            }
        }
    }

    fn accept(&mut self, n: usize) -> ConnId {
        let id = ConnId(FIRST.0 + n as u64);
        let now = self.now();
        self.links.handle_accepted(now, id, addr(n), 1 << 20);
        id
    }

    fn data(&mut self, id: ConnId, bytes: &[u8]) {
        let now = self.now();
        self.links.handle_data(now, id, bytes);
        self.drain();
    }

    /// Goes on for so long, timer by timer.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.links.next_timeout().filter(|at| *at <= end) {
            self.now = at;
            let now = self.now();
            self.links.handle_timeout(now);
            self.drain();
        }
        self.now = end;
    }
}

/// The largest distance between the distributions of two samples, against the one that chance exceeds once in a
/// hundred times (Kolmogorov and Smirnov).
fn differ(a: &[Duration], b: &[Duration]) -> bool {
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    a.sort_unstable();
    b.sort_unstable();
    let share = |all: &[Duration], at: Duration| all.partition_point(|x| *x <= at) as f64 / all.len() as f64;
    let distance = a.iter().chain(&b).map(|at| (share(&a, *at) - share(&b, *at)).abs()).fold(0.0, f64::max);
    let (n, m) = (a.len() as f64, b.len() as f64);
    distance > 1.63 * ((n + m) / (n * m)).sqrt()
}

/// Ten thousand probes: nothing is written, and neither how nor when a connection ends tells what was sent.
#[test]
fn p30_neither_kind_nor_length_of_a_probe_shows() {
    let mut pair = Pair::new(0);
    let genuine = message_1(&mut pair);
    let mut watched = Watched::new(pair);
    let mut rng = Rng::from_seed([30; 32]);
    // By kind of probe: the times that they took, and their lengths.
    let mut delays: Map<usize, Vec<(Duration, usize)>> = Map::new();
    let mut number = 0;
    for _ in 0..34 {
        let mut opened = Vec::new();
        let start = watched.now;
        for _ in 0..300 {
            number += 1;
            let kind = number % 6;
            let random: Vec<u8> = (0..1 + rng.below(2_000)).map(|_| rng.below(256) as u8).collect();
            let mut bad_tag = genuine[..64].to_vec();
            // Another ephemeral key each time, so that none is known again; none of them fits its tag.
            bad_tag[..16].copy_from_slice(&rng.bytes::<16>());
            let probe = match kind {
                0 => random,
                1 => genuine.clone(),
                2 => bad_tag,
                3 => Vec::new(),
                4 => genuine[..rng.below(64)].to_vec(),
                _ => vec![number as u8; 64 + rng.below(1_000)],
            };
            let id = watched.accept(number);
            let at = rng.below(probe.len() + 1);
            watched.data(id, &probe[..at]);
            watched.data(id, &probe[at..]);
            opened.push((id, kind, probe.len()));
        }
        watched.pass(Duration::from_secs(11));
        for (id, kind, len) in opened {
            let (at, how) = watched.ended.remove(&id).expect("it ended");
            assert_eq!(how, CloseKind::Reset);
            delays.entry(kind).or_default().push((at.since(start), len));
        }
    }
    assert_eq!(watched.written, 0);
    let times = |kind: &usize| delays[kind].iter().map(|(delay, _)| *delay).collect::<Vec<_>>();
    for a in 0..6 {
        assert!((a + 1..6).all(|b| !differ(&times(&a), &times(&b))), "kind {a}");
    }
    let of_length = |short: bool| {
        delays[&0].iter().filter(|(_, len)| (*len < 1_000) == short).map(|(delay, _)| *delay).collect::<Vec<_>>()
    };
    assert!(of_length(true).len() > 500 && !differ(&of_length(true), &of_length(false)), "short and long ones");
    // The measure would see it if one kind waited half a second longer.
    let later: Vec<Duration> = times(&1).iter().map(|delay| *delay + Duration::from_millis(500)).collect();
    assert!(differ(&times(&0), &later));
    assert_eq!(watched.links.inbound_handshakes, 0);
}

/// Ten thousand connections that send nothing, or a byte a second: each costs little and goes in time, and honest peers
/// come in all the while.
#[test]
fn p32_p39_waiting_connections_cost_little_and_keep_nobody_out() {
    assert!(std::mem::size_of::<Connection>() <= 512, "{}", std::mem::size_of::<Connection>());
    let mut pair = Pair::new(0);
    let mut waiting: Vec<ConnId> = Vec::new();
    let mut number = 0;
    let mut sessions = 0;
    for round in 0..100 {
        for _ in 0..100 {
            number += 1;
            let id = ConnId(FIRST.0 + number as u64);
            let now = pair.now(1);
            pair.machines[1].links.handle_accepted(now, id, addr(number), 1 << 20);
            waiting.push(id);
        }
        // Every second one sends a byte now and then.
        let now = pair.now(1);
        for id in waiting.iter().step_by(2) {
            pair.machines[1].links.handle_data(now, *id, &[7]);
        }
        let links = &pair.machines[1].links;
        assert!(links.inbound_handshakes <= limits::INBOUND_HANDSHAKES);
        let held: usize = links.conns.values().map(|conn| conn.received.capacity()).sum();
        assert!(held <= 64 * limits::INBOUND_HANDSHAKES, "{held} bytes");
        // An honest peer comes in by a handshake of its own.
        if round % 2 == 0 {
            pair.machines[0].links.end_sessions(now, &pair.machines[1].info.hash());
            pair.run();
        }
        assert!(pair.send(0, 10), "round {round}");
        pair.run();
        sessions += 1;
        assert_eq!(pair.machines[1].received.len(), sessions, "round {round}");
        pair.advance(Duration::from_millis(500));
        waiting.retain(|id| pair.machines[1].links.conns.contains_key(id));
    }
    pair.advance(Duration::from_secs(10));
    assert!(waiting.iter().all(|id| !pair.machines[1].links.conns.contains_key(id)), "all are gone in ten seconds");
    assert_eq!(pair.machines[1].links.inbound_handshakes, 0);
    let honest = pair.machines[1].links.stats();
    assert_eq!(honest.sessions, 1);
    assert!(pair.machines[1].links.timers.len() <= 1, "no timer is left behind");
}
