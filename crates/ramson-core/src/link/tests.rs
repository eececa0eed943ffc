mod bounds;
mod handshake;
mod hostile;
mod probes;
mod relay;
mod replay;
mod throttled;
mod udp;
mod ways;

use super::*;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{Mapping, RouterAddress, RouterIdentity, base64};
use ramson_wire::i2np::Kind;

const START: u64 = 1_790_000_000_000;

/// One machine: its links, its RouterInfo, and what it has told.
struct Machine {
    links: Links,
    info: Arc<RouterInfo>,
    skew_ms: i64,
    rng: Rng,
    received: Vec<(Hash, Message)>,
    log: Vec<String>,
    offsets: Vec<i64>,
}

fn machine(n: u8, skew_ms: i64) -> Machine {
    machine_at(n, skew_ms, &[&format!("10.0.0.{n}")])
}

/// A machine that publishes these hosts.
fn machine_at(n: u8, skew_ms: i64, hosts: &[&str]) -> Machine {
    let mut rng = Rng::from_seed([n; 32]);
    let static_key = SecretKey::random(&mut rng);
    let signing = SigningKey::random(&mut rng);
    let identity = RouterIdentity::new(static_key.public_key(), *signing.public(), &mut rng);
    let iv = [n; 16];
    let (s, i) = (base64::encode(&static_key.public_key().0), base64::encode(&iv));
    let address = |host: &&str| {
        let options = [("host", *host), ("i", &i), ("port", "9000"), ("s", &s), ("v", "2")];
        RouterAddress::new(3, "NTCP2", Mapping::from_pairs(options).unwrap()).unwrap()
    };
    let unsigned = Unsigned {
        identity: identity.clone(),
        published: START,
        addresses: hosts.iter().map(address).collect(),
        options: Mapping::from_pairs([("caps", "LR"), ("netId", "99"), ("router.version", "0.9.68")]).unwrap(),
    };
    let info = Arc::new(unsigned.sign(&signing).unwrap());
    let config = LinkConfig {
        network_id: 99,
        static_key,
        router: identity.hash(),
        iv,
        padding: PaddingStrategy::Random,
        addresses: AddressRules { allow_reserved: true, ipv4: true, ipv6: true },
    };
    let mut links = Links::new(config, rng.child("links"));
    links.set_router_info(info.as_bytes().to_vec());
    Machine { links, info, skew_ms, rng, received: Vec::new(), log: Vec::new(), offsets: Vec::new() }
}

/// Two machines, one clock. Every event is carried out at once; bytes arrive in chunks of `chunk`.
struct Pair {
    machines: [Machine; 2],
    now: Instant,
    chunk: usize,
    /// Connections: machine and id on either side.
    wires: Vec<[(usize, ConnId); 2]>,
    /// Bytes and closings under way, in order.
    flying: VecDeque<(usize, ConnId, Option<Vec<u8>>)>,
    accepted: u64,
    /// Jobs end only when all that was sent has arrived.
    slow_jobs: Option<VecDeque<(usize, LinkJob)>>,
    /// Sockets do not say when they have taken what was written.
    slow_sockets: bool,
    /// All that was written, and by whom.
    tape: Vec<(usize, Vec<u8>)>,
}

impl Pair {
    fn new(skew_ms: i64) -> Self {
        let machines = [machine(1, 0), machine(2, skew_ms)];
        Self {
            machines,
            now: Instant::ZERO,
            chunk: 1460,
            wires: Vec::new(),
            flying: VecDeque::new(),
            accepted: 0,
            slow_jobs: None,
            slow_sockets: false,
            tape: Vec::new(),
        }
    }

    fn now(&self, m: usize) -> Now {
        let ms = START + self.now.as_micros() / 1000;
        Now::new(self.now, ms.saturating_add_signed(self.machines[m].skew_ms))
    }

    fn other(&self, m: usize, id: ConnId) -> Option<(usize, ConnId)> {
        self.wires.iter().find_map(|w| w.iter().position(|end| *end == (m, id)).map(|i| w[1 - i]))
    }

    /// Carries out everything that is due now.
    fn run(&mut self) {
        loop {
            let mut idle = true;
            for m in 0..2 {
                while let Some(event) = {
                    let now = self.now(m);
                    self.machines[m].links.poll_event(now)
                } {
                    idle = false;
                    self.carry_out(m, event);
                }
            }
            if let Some((m, id, bytes)) = self.flying.pop_front() {
                idle = false;
                let now = self.now(m);
                let links = &mut self.machines[m].links;
                match bytes {
                    Some(bytes) => bytes.chunks(self.chunk).for_each(|c| links.handle_data(now, id, c)),
                    None => links.handle_closed(now, id),
                }
            }
            if let Some((m, job)) = self.slow_jobs.as_mut().filter(|_| idle).and_then(VecDeque::pop_front) {
                idle = false;
                let (now, done) = (self.now(m), job.run(&mut self.machines[m].rng));
                self.machines[m].links.handle_job(now, done);
            }
            if idle {
                return;
            }
        }
    }

    fn carry_out(&mut self, m: usize, event: Event) {
        let now = self.now(m);
        match event {
            Event::Udp(_) | Event::SeenAt { .. } | Event::PeerTest { .. } | Event::Outside { .. } => {
                panic!("no UDP here")
            }
            Event::Open { conn, .. } => {
                let inbound = ConnId(ConnId::INBOUND | self.accepted);
                self.accepted += 1;
                self.wires.push([(m, conn), (1 - m, inbound)]);
                let addr = format!("10.0.0.{}:5000", m + 1).parse().unwrap();
                let theirs = self.now(1 - m);
                self.machines[1 - m].links.handle_accepted(theirs, inbound, addr, 1 << 20);
                self.machines[m].links.handle_opened(now, conn, 1 << 20);
            }
            Event::Write { conn, bytes } => {
                self.tape.push((m, bytes.clone()));
                if !self.slow_sockets {
                    self.machines[m].links.handle_writable(conn, bytes.len());
                }
                if let Some((to, id)) = self.other(m, conn) {
                    self.flying.push_back((to, id, Some(bytes)));
                }
            }
            Event::Close { conn, how } => {
                self.machines[m].log.push(format!("close {how:?}"));
                if let Some((to, id)) = self.other(m, conn) {
                    self.flying.push_back((to, id, None));
                }
            }
            Event::Job(job) if self.slow_jobs.is_some() => {
                self.slow_jobs.get_or_insert_default().push_back((m, job));
            }
            Event::Job(job) => {
                let done = job.run(&mut self.machines[m].rng);
                self.machines[m].links.handle_job(now, done);
            }
            Event::Received { from, message } => self.machines[m].received.push((from, message)),
            Event::Up { inbound, .. } => self.machines[m].log.push(format!("up inbound={inbound}")),
            Event::Down { hung_up: true, .. } => self.machines[m].log.push("down, hung up".into()),
            Event::Down { .. } => self.machines[m].log.push("down".into()),
            Event::Unreachable { lost, gone, .. } => {
                self.machines[m].log.push(format!("unreachable lost={lost}{}", if gone { " gone" } else { "" }));
            }
            Event::RouterInfo { .. } => self.machines[m].log.push("router info".into()),
            Event::Info { .. } | Event::WantIntroducers { .. } | Event::Introducers => {}
            Event::Clock { offset_ms, .. } => self.machines[m].offsets.push(offset_ms),
            Event::Terminated { reason, .. } => self.machines[m].log.push(format!("terminated {reason:?}")),
        }
    }

    /// Moves the clock in steps, running what is due.
    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(500));
            for m in 0..2 {
                let now = self.now(m);
                self.machines[m].links.handle_timeout(now);
            }
            self.run();
        }
    }

    fn send(&mut self, m: usize, len: usize) -> bool {
        let now = self.now(m);
        let (to, info) = (self.machines[1 - m].info.hash(), Arc::clone(&self.machines[1 - m].info));
        let message = Message {
            kind: Kind::DATA,
            id: 7,
            expiration: now.unix_ms / 1000 * 1000 + 60_000,
            body: vec![m as u8; len],
        };
        self.machines[m].links.send(now, &to, message, Class::Own, Some(&info))
    }

    fn lengths(&self, m: usize) -> Vec<usize> {
        self.machines[m].received.iter().map(|(_, message)| message.body.len()).collect()
    }
}

#[test]
fn messages_arrive_in_both_directions_whatever_the_chunks() {
    for chunk in [1, 7, 64, 1460, 100_000] {
        let mut pair = Pair::new(0);
        pair.chunk = chunk;
        let sizes = [0, 1, 1028, 16_384, 62_708, 5];
        for size in sizes {
            assert!(pair.send(0, size));
        }
        pair.run();
        assert_eq!(pair.lengths(1), sizes);
        for size in sizes {
            assert!(pair.send(1, size));
        }
        pair.run();
        assert_eq!(pair.lengths(0), sizes);
        assert!(pair.machines[0].received.iter().all(|(from, _)| *from == pair.machines[1].info.hash()));
        assert_eq!(pair.wires.len(), 1, "one connection serves both directions");
        assert_eq!(pair.machines[0].log, ["up inbound=false"]);
        assert_eq!(pair.machines[1].log, ["up inbound=true"]);
    }
}

/// A router that dies ends TCP and cannot be dialled; one that says farewell, or comes back, is not gone.
#[test]
fn a_peer_that_hangs_up_and_cannot_be_dialled_is_gone() {
    let established = || {
        let mut pair = Pair::new(0);
        assert!(pair.send(0, 10));
        pair.run();
        let conn = pair.wires[0][0].1;
        pair.machines[0].log.clear();
        (pair, conn)
    };
    let dial = |pair: &mut Pair, works: bool| {
        let (now, info) = (pair.now(0), Arc::clone(&pair.machines[1].info));
        assert!(pair.machines[0].links.dial(now, &info));
        if works {
            return pair.run();
        }
        while let Some(event) = pair.machines[0].links.poll_event(now) {
            match event {
                Event::Open { conn, .. } => pair.machines[0].links.handle_closed(now, conn),
                event => pair.carry_out(0, event),
            }
        }
    };
    let (mut pair, conn) = established();
    let now = pair.now(0);
    pair.machines[0].links.handle_closed(now, conn);
    dial(&mut pair, false);
    assert_eq!(pair.machines[0].log, ["down, hung up", "unreachable lost=0 gone"]);
    let (mut pair, conn) = established();
    let now = pair.now(0);
    pair.machines[0].links.handle_closed(now, conn);
    dial(&mut pair, true);
    assert_eq!(pair.machines[0].log, ["down, hung up", "up inbound=false"]);
    let (mut pair, _) = established();
    let now = pair.now(1);
    pair.machines[1].links.shutdown(now);
    pair.run();
    dial(&mut pair, false);
    assert!(pair.machines[0].log[0].starts_with("terminated "), "{:?}", pair.machines[0].log);
    assert_eq!(pair.machines[0].log.last().unwrap(), "unreachable lost=0");
}

#[test]
fn what_comes_while_message_3_is_opened_is_not_lost() {
    let mut pair = Pair::new(0);
    pair.slow_jobs = Some(VecDeque::new());
    let sizes = [1000; 40];
    sizes.iter().for_each(|size| assert!(pair.send(0, *size)));
    pair.run();
    assert_eq!(pair.lengths(1), sizes, "{:?}", pair.machines[1].log);
}

/// Threats T47: both dial at once; messages of both arrive, and one session is left.
#[test]
fn t47_simultaneous_open_leaves_one_session() {
    let mut pair = Pair::new(0);
    assert!(pair.send(0, 10) && pair.send(1, 20));
    pair.run();
    assert_eq!((pair.lengths(1), pair.lengths(0)), (vec![10], vec![20]));
    pair.advance(Duration::from_secs(20));
    assert!(pair.send(0, 11) && pair.send(1, 21));
    pair.run();
    assert_eq!((pair.lengths(1), pair.lengths(0)), (vec![10, 11], vec![20, 21]));
    for m in &pair.machines {
        assert_eq!(m.links.stats().sessions, 1, "{:?}", m.log);
        assert!(m.links.inbound_of.values().sum::<usize>() <= 1);
        assert_eq!(m.links.inbound_handshakes, 0);
    }
}

#[test]
fn an_idle_session_ends_on_both_sides_and_can_be_had_again() {
    let mut pair = Pair::new(0);
    pair.send(0, 10);
    pair.run();
    pair.advance(Duration::from_secs(300));
    for m in &pair.machines {
        assert_eq!(m.links.stats().sessions, 0);
        assert!(m.log.iter().any(|l| l == "down"), "{:?}", m.log);
        assert!(m.links.conns.is_empty() && m.links.inbound_of.is_empty());
    }
    pair.send(1, 30);
    pair.run();
    assert_eq!(pair.lengths(0), [30]);
}

/// Threats T39, T40. Clocks more than a minute apart: no session, but the dialling side learns the difference.
#[test]
fn t39_t40_a_wrong_clock_is_answered_and_learnt() {
    for skew in [-3_600_000, -61_500, 61_500, 86_400_000] {
        let mut pair = Pair::new(skew);
        pair.send(0, 10);
        pair.run();
        pair.advance(Duration::from_secs(15));
        assert!(pair.lengths(1).is_empty());
        let learnt = pair.machines[0].offsets[0];
        assert!((learnt - skew).abs() <= 1_000, "{learnt} for {skew}");
        assert!(pair.machines[0].log.contains(&"unreachable lost=1".to_owned()));
        assert_eq!(pair.machines[1].links.stats().sessions, 0);
    }
    for skew in [58_000, -58_000] {
        let mut pair = Pair::new(skew);
        pair.send(0, 10);
        pair.run();
        assert_eq!(pair.lengths(1), [10]);
    }
}

/// Threats T35, T36, T40 and P-30: whatever a prober sends, nothing is answered and the end comes at the drawn time.
#[test]
fn p30_probes_see_silence() {
    let mut pair = Pair::new(0);
    pair.send(0, 10);
    // The genuine message 1, to be replayed.
    while let Some(event) = {
        let now = pair.now(0);
        pair.machines[0].links.poll_event(now)
    } {
        pair.carry_out(0, event);
        if !pair.flying.is_empty() {
            break;
        }
    }
    let (_, _, Some(genuine)) = pair.flying[0].clone() else { panic!("message 1") };
    pair.run();
    assert_eq!(pair.lengths(1), [10]);
    let mut bad_tag = genuine.clone();
    bad_tag[40] ^= 1;
    let probes = [vec![], vec![1; 3], vec![0; 64], vec![7; 64], vec![9; 2_000], genuine, bad_tag, vec![5; 60_000]];
    for (i, probe) in probes.iter().enumerate() {
        let id = ConnId(ConnId::INBOUND | (1000 + i as u64));
        let now = pair.now(1);
        let addr = format!("10.0.9.{i}:4000").parse().unwrap();
        pair.machines[1].links.handle_accepted(now, id, addr, 1 << 20);
        pair.wires.push([(0, id), (1, id)]);
        let before = pair.machines[1].links.stats().sent_bytes;
        probe.chunks(500).for_each(|c| pair.machines[1].links.handle_data(now, id, c));
        pair.run();
        assert!(pair.machines[1].links.conns.contains_key(&id), "probe {i} is not closed at once");
        pair.advance(Duration::from_millis(6_500));
        assert!(pair.machines[1].links.conns.contains_key(&id), "probe {i} is closed before the drawn time");
        pair.advance(Duration::from_secs(4));
        assert!(!pair.machines[1].links.conns.contains_key(&id), "probe {i} is closed in the end");
        assert_eq!(pair.machines[1].links.stats().sent_bytes, before, "probe {i} was answered");
    }
    assert_eq!(pair.machines[1].links.inbound_handshakes, 0);
}

/// A key of message 1 that comes again makes no work, until as many others have come as are remembered.
#[test]
fn replays_of_message_1_are_known_up_to_the_limit() {
    let mut pair = Pair::new(0);
    let (now, links) = (pair.now(1), &mut pair.machines[1].links);
    let mut conn = 0;
    let mut offer = |links: &mut Links, n: usize| {
        conn += 1;
        let id = ConnId(ConnId::INBOUND | conn);
        links.handle_accepted(now, id, "10.0.0.9:5000".parse().unwrap(), 1000);
        links.handle_data(now, id, &n.to_le_bytes().repeat(8));
        let jobs = std::iter::from_fn(|| links.poll_event(now)).filter(|e| matches!(e, Event::Job(_))).count();
        links.handle_closed(now, id);
        std::iter::from_fn(|| links.poll_event(now)).for_each(drop);
        jobs == 1
    };
    let count = limits::REPLAY_KEYS;
    for n in 0..2 * count {
        assert!(offer(links, n), "{n}");
        assert_eq!(links.replays.len(), n + 1);
        if n % 10_000 == 9_999 {
            assert!(!offer(links, (n + 1).saturating_sub(count)));
        }
    }
    assert!(offer(links, 2 * count) && !offer(links, count), "the older generation went");
    assert!(offer(links, 0), "forgotten");
    assert_eq!(links.replays.len(), count + 2);
}

#[test]
fn inbound_connections_of_one_address_are_limited() {
    let mut pair = Pair::new(0);
    let now = pair.now(1);
    for i in 0..50 {
        let addr = format!("10.7.7.7:{}", 1000 + i).parse().unwrap();
        pair.machines[1].links.handle_accepted(now, ConnId(ConnId::INBOUND | i), addr, 1000);
    }
    assert_eq!(pair.machines[1].links.conns.len(), limits::INBOUND_PER_ADDRESS);
    let addr = "10.7.7.8:1000".parse().unwrap();
    pair.machines[1].links.handle_accepted(now, ConnId(ConnId::INBOUND | 99), addr, 1000);
    assert_eq!(pair.machines[1].links.conns.len(), limits::INBOUND_PER_ADDRESS + 1, "another address is served");
}

#[test]
fn a_connection_that_sends_nothing_makes_room_when_there_are_too_many() {
    let mut pair = Pair::new(0);
    let now = pair.now(1);
    let links = &mut pair.machines[1].links;
    let id = |n: usize| ConnId(ConnId::INBOUND | n as u64);
    let accept = |links: &mut Links, n: usize| {
        let addr = format!("10.7.{}.{}:1000", n / 250, n % 250 + 1).parse().unwrap();
        links.handle_accepted(now, id(n), addr, 1000);
    };
    let count = limits::INBOUND_HANDSHAKES;
    (0..count).for_each(|n| accept(links, n));
    // The first works on its handshake; the second has failed in it.
    links.handle_data(now, id(0), &[7; 64]);
    links.fail(now, id(1));
    accept(links, count);
    accept(links, count + 1);
    assert_eq!(links.inbound_handshakes, count);
    let there = |links: &Links, n: usize| links.conns.contains_key(&id(n));
    assert!(there(links, 0) && !there(links, 1) && !there(links, 2) && there(links, 3) && there(links, count + 1));
    let mut closed = Vec::new();
    while let Some(event) = links.poll_event(now) {
        if let Event::Close { conn, how: CloseKind::Reset } = event {
            closed.push(conn);
        }
    }
    assert_eq!(closed, [id(1), id(2)]);
    // Where all work, the new one is closed.
    links.conns.values_mut().for_each(|conn| conn.state = connection::State::Working);
    accept(links, count + 2);
    assert!(!there(links, count + 2));
    assert_eq!(links.inbound_handshakes, count);
}

/// The families of the addresses that a dial of this peer goes to, while no TCP connection comes about.
fn dialled_families(dialling: &mut Machine, peer: &Machine, now: Now) -> Vec<bool> {
    let mut families = Vec::new();
    assert!(dialling.links.dial(now, &peer.info));
    while let Some(event) = dialling.links.poll_event(now) {
        let Event::Open { conn, addr } = event else { continue };
        families.push(addr.is_ipv4());
        dialling.links.handle_closed(now, conn);
    }
    assert!(!dialling.links.dial(now, &peer.info), "not at once");
    families
}

#[test]
fn where_tcp_fails_the_other_family_is_tried() {
    let mut dialling = machine(1, 0);
    let peer = machine_at(2, 0, &["10.0.0.2", "fd00::2"]);
    let mut now = Now::new(Instant::ZERO, START);
    assert_eq!(dialled_families(&mut dialling, &peer, now), [true, false]);
    now = now.later(Duration::from_mins(10));
    assert_eq!(dialled_families(&mut dialling, &peer, now), [true, false]);
    let single = machine(3, 0);
    for _ in 0..2 {
        assert_eq!(dialled_families(&mut dialling, &single, now), [true], "the only family is tried again");
        now = now.later(Duration::from_mins(10));
    }
    // The handshake is for the address that was dialled.
    assert!(dialling.links.dial(now, &peer.info));
    let Some(Event::Open { conn, .. }) = dialling.links.poll_event(now) else { panic!("no dial") };
    dialling.links.handle_closed(now, conn);
    let Some(Event::Open { conn: again, addr }) = dialling.links.poll_event(now) else { panic!("no second dial") };
    assert!(addr.is_ipv6());
    dialling.links.handle_opened(now, again, 1000);
    assert!(matches!(dialling.links.poll_event(now), Some(Event::Job(_))));
}

/// A machine without IPv4 loses no time on it, where peers have IPv6, too.
#[test]
fn a_family_without_luck_comes_second() {
    let mut dialling = machine(1, 0);
    let mut now = Now::new(Instant::ZERO, START);
    let mut first = Vec::new();
    for number in 2..10 {
        let peer = machine_at(number, 0, &["10.0.0.2", "fd00::2"]);
        assert!(dialling.links.dial(now, &peer.info));
        while let Some(event) = dialling.links.poll_event(now) {
            match event {
                Event::Open { conn, addr } if addr.is_ipv4() => dialling.links.handle_closed(now, conn),
                Event::Open { conn, .. } => dialling.links.handle_opened(now, conn, 1000),
                _ => {}
            }
        }
        first.push(dialling.links.families.is_tcp_suspect(true));
        now = now.later(Duration::from_secs(1));
    }
    assert_eq!(first, [false, false, false, true, true, true, true, true]);
    assert_eq!(dialling.links.conns.values().filter(|conn| conn.addr.is_ipv4()).count(), 0);
    // Who has nothing else is dialled all the same, and one success ends the suspicion.
    let single = machine(20, 0);
    assert!(dialling.links.dial(now, &single.info));
    let opened = std::iter::from_fn(|| dialling.links.poll_event(now)).find_map(|event| match event {
        Event::Open { conn, addr } if addr.is_ipv4() => Some(conn),
        _ => None,
    });
    dialling.links.handle_opened(now, opened.expect("a dial by IPv4"), 1000);
    assert!(!dialling.links.families.is_tcp_suspect(true));
}

/// Threats T41: who dials from another address than it publishes is told so and cut off.
#[test]
fn t41_the_source_must_be_the_published_address() {
    let mut pair = Pair::new(0);
    pair.machines.swap(0, 1); // machine 0 now publishes 10.0.0.2 and dials from 10.0.0.1
    pair.send(0, 10);
    pair.run();
    assert!(pair.lengths(1).is_empty());
    assert!(pair.machines[0].log.iter().any(|l| l == "terminated banned (17)"), "{:?}", pair.machines[0].log);
    assert!(pair.machines[1].links.conns.is_empty());
}

/// Threats T48: damage in the data phase ends the session, and only it.
#[test]
fn t48_a_damaged_frame_ends_the_session() {
    let mut pair = Pair::new(0);
    pair.send(0, 10);
    pair.run();
    let [(_, _), (_, id)] = pair.wires[0];
    let now = pair.now(1);
    pair.machines[1].links.handle_data(now, id, &[0; 70_000]);
    pair.run();
    pair.advance(Duration::from_secs(9));
    assert!(pair.machines[1].log.iter().any(|l| l == "down"));
    assert!(
        pair.machines[0].log.iter().any(|l| l.starts_with("terminated data phase AEAD")),
        "{:?}",
        pair.machines[0].log
    );
    pair.send(0, 12);
    pair.run();
    assert_eq!(pair.lengths(1), [10, 12]);
}

#[test]
fn messages_wait_unsealed_while_the_socket_is_full() {
    let mut pair = Pair::new(0);
    pair.send(0, 10);
    pair.run();
    let [(_, id), _] = pair.wires[0];
    let conn = pair.machines[0].links.conns.get_mut(&id).unwrap();
    conn.ahead = conn.room;
    (0..100).for_each(|_| assert!(pair.send(0, 1000)));
    pair.run();
    assert_eq!(pair.lengths(1), [10], "nothing is sealed ahead of the socket");
    pair.machines[0].links.handle_writable(id, 1);
    pair.run();
    assert_eq!(pair.lengths(1).len(), 101, "each write gives its room back");
}

/// The last frame may go beyond the room, but that does not widen it.
#[test]
fn the_room_of_a_slow_socket_does_not_grow() {
    let mut pair = Pair::new(0);
    pair.send(0, 10);
    pair.run();
    let [(_, id), _] = pair.wires[0];
    pair.machines[0].links.conns.get_mut(&id).unwrap().room = 20_000;
    pair.slow_sockets = true;
    for _ in 0..50 {
        (0..60).for_each(|_| _ = pair.send(0, 1000));
        pair.run();
        let ahead = pair.machines[0].links.conns[&id].ahead;
        assert!((20_000..20_000 + limits::FRAME_PAYLOAD + 100).contains(&ahead), "{ahead} bytes");
        pair.machines[0].links.handle_writable(id, ahead);
    }
}
