//! A dialler that makes every message of the handshake by hand.

use super::*;
use ntcp2::handshake::{Initiator, ResponderKeys};
use ramson_wire::ntcp2::RouterInfoBlock;

/// What a scripted dialler says.
struct Script {
    /// Its clock, seconds since 1970.
    timestamp: u32,
    padding: usize,
    /// The blocks of message 3.
    payload: Vec<u8>,
    /// What is sent instead of message 3.
    changed: fn(Vec<u8>) -> Vec<u8>,
}

impl Script {
    fn of(pair: &Pair) -> Self {
        let payload = info_block(&pair.machines[0].info);
        Self { timestamp: seconds(pair.now(1)), padding: 20, payload, changed: |message| message }
    }
}

fn seconds(now: Now) -> u32 {
    u32::try_from(now.unix_ms / 1000).unwrap()
}

fn info_block(info: &RouterInfo) -> Vec<u8> {
    let mut payload = Vec::new();
    RouterInfoBlock { flood: false, router_info: info.as_bytes() }.encode(&mut payload);
    payload
}

fn block(kind: u8, data: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(data.len()).unwrap().to_be_bytes(), data].concat()
}

/// What machine 1 does with a connection: bytes that it writes, whether a session stood, and how it ended.
#[derive(Debug, Default)]
struct Seen {
    written: Vec<u8>,
    up: bool,
    closed: Option<CloseKind>,
    clocks: usize,
}

impl Pair {
    fn keys_of(&self, m: usize) -> ResponderKeys {
        self.machines[1 - m].links.dial_target(&self.machines[m].info).unwrap().1
    }

    /// Makes message 1 with the static key of machine 0.
    fn request(&mut self, script: &Script) -> (Vec<u8>, ntcp2::handshake::AwaitCreated) {
        let responder = self.keys_of(1);
        let this = &mut self.machines[0];
        let initiator = Initiator {
            static_key: this.links.config.static_key.clone(),
            responder,
            network_id: 99,
            timestamp: script.timestamp,
            padding: vec![9; script.padding],
            payload: script.payload.clone(),
        };
        initiator.request(&mut this.rng).unwrap()
    }

    fn accept(&mut self, id: ConnId, addr: &str) {
        let now = self.now(1);
        self.machines[1].links.handle_accepted(now, id, addr.parse().unwrap(), 1 << 20);
    }

    /// Hands bytes to machine 1, runs its jobs, and tells what it does.
    fn offer(&mut self, id: ConnId, bytes: &[u8]) -> Seen {
        let (now, this) = (self.now(1), &mut self.machines[1]);
        this.links.handle_data(now, id, bytes);
        let mut seen = Seen::default();
        while let Some(event) = this.links.poll_event(now) {
            match event {
                Event::Job(job) => {
                    let done = job.run(&mut this.rng);
                    this.links.handle_job(now, done);
                }
                Event::Write { conn, bytes } if conn == id => {
                    this.links.handle_writable(conn, bytes.len());
                    seen.written.extend(bytes);
                }
                Event::Up { .. } => seen.up = true,
                Event::Close { conn, how } if conn == id => seen.closed = Some(how),
                Event::Clock { .. } => seen.clocks += 1,
                _ => {}
            }
        }
        seen
    }

    /// The whole handshake by this script, from machine 0's address. What machine 1 did after message 3.
    fn play(&mut self, number: u64, script: &Script) -> Seen {
        let id = ConnId(ConnId::INBOUND | number);
        self.accept(id, "10.0.0.1:5000");
        let (message, next) = self.request(script);
        let second = self.offer(id, &message).written;
        let (_, next) = next.created(second[..64].try_into().unwrap()).unwrap();
        let (third, _) = next.confirm(&second[64..]).unwrap();
        self.offer(id, &(script.changed)(third))
    }

    fn is_there(&self, number: u64) -> bool {
        self.machines[1].links.conns.contains_key(&ConnId(ConnId::INBOUND | number))
    }
}

/// Padding that comes a byte a second, and padding that is longer than announced.
#[test]
fn t37_dribbled_and_longer_padding_costs_little_and_ends_in_time() {
    let mut pair = Pair::new(0);
    let id = ConnId(ConnId::INBOUND | 1);
    pair.accept(id, "10.0.0.1:5000");
    let script = Script { padding: 223, ..Script::of(&pair) };
    let (message, _) = pair.request(&script);
    assert!(pair.offer(id, &message[..64]).written.is_empty());
    let opened = pair.now;
    for byte in &message[64..] {
        assert!(pair.offer(id, &[*byte]).written.is_empty());
        pair.advance(Duration::from_secs(1));
        let Some(conn) = pair.machines[1].links.conns.get(&id) else { break };
        assert!(conn.received.capacity() <= 300, "{} bytes", conn.received.capacity());
    }
    assert!(!pair.is_there(1) && pair.now.since(opened) <= Duration::from_secs(11), "the time is drawn once");
    // No padding, and bytes behind it all the same; and all of it in one piece with the rest.
    for (number, padding, more) in [(2, 0, 1), (3, 0, 100), (4, 20, 1), (5, 20, 60_000)] {
        let id = ConnId(ConnId::INBOUND | number);
        pair.accept(id, "10.0.0.1:5000");
        let script = Script { padding, ..Script::of(&pair) };
        let (mut message, _) = pair.request(&script);
        message.resize(message.len() + more, 7);
        let seen = pair.offer(id, &message);
        assert!(seen.written.is_empty() && seen.closed.is_none(), "{padding} and {more}: {seen:?}");
        assert!(pair.machines[1].links.conns[&id].received.capacity() <= 300);
        pair.advance(Duration::from_secs(11));
        assert!(!pair.is_there(number));
    }
    assert_eq!(pair.machines[1].links.stats().sent_bytes, 0);
}

/// Another message 3 than message 1 announces.
#[test]
fn t38_another_message_3_than_announced_is_no_session() {
    let mut pair = Pair::new(0);
    let good = Script::of(&pair);
    let changes: [fn(Vec<u8>) -> Vec<u8>; 6] = [
        |mut message| {
            message.pop();
            message
        },
        |message| message[..48].to_vec(),
        |_| vec![7; 48],
        |message| vec![7; message.len()],
        |mut message| {
            message[48] ^= 1;
            message
        },
        |message| message.iter().rev().copied().collect(),
    ];
    for (number, changed) in (1..).zip(changes) {
        let script = Script { changed, payload: good.payload.clone(), ..good };
        let seen = pair.play(number, &script);
        assert!(seen.written.is_empty() && !seen.up && seen.closed.is_none() && seen.clocks == 0, "{number}: {seen:?}");
        assert!(pair.is_there(number), "it falls silent");
    }
    pair.advance(Duration::from_secs(11));
    assert!(pair.machines[1].links.conns.is_empty() && pair.machines[1].links.inbound_handshakes == 0);
    // One byte more belongs to the session: it is a frame that never opens.
    let longer = Script { changed: |message| [&message[..], &[1]].concat(), ..good };
    let seen = pair.play(99, &longer);
    assert!(seen.up && seen.clocks == 1);
}

/// A clock that is wrong is answered after authentication alone, and few times for each address.
#[test]
fn t39_t40_wrong_clocks_are_answered_a_few_times() {
    let mut pair = Pair::new(0);
    let mut number = 0;
    let mut answered = |pair: &mut Pair, clock: &dyn Fn(u32) -> u32, addr: &str, flip: bool| {
        number += 1;
        let timestamp = clock(seconds(pair.now(1)));
        let id = ConnId(ConnId::INBOUND | number);
        pair.accept(id, addr);
        let script = Script { timestamp, ..Script::of(pair) };
        let (mut message, _) = pair.request(&script);
        message[40] ^= u8::from(flip);
        let seen = pair.offer(id, &message);
        assert_eq!((seen.closed, seen.up, seen.clocks), (None, false, 0), "nobody's clock is believed yet");
        let now = pair.now(1);
        pair.machines[1].links.handle_closed(now, id);
        !seen.written.is_empty()
    };
    let clocks: [&dyn Fn(u32) -> u32; 5] = [&|_| 0, &|_| u32::MAX, &|at| at - 61, &|at| at + 62, &|at| at - 86_400];
    for (n, clock) in clocks.into_iter().enumerate() {
        let addr = format!("10.1.{n}.1:5000");
        assert!(!answered(&mut pair, clock, &addr, true), "without authentication");
        let times = (0..6).filter(|_| answered(&mut pair, clock, &addr, false)).count();
        assert_eq!(times, limits::SKEW_ANSWERS as usize, "clock {n}");
    }
    // Within the bound no answer is counted.
    assert!((0..3).all(|_| answered(&mut pair, &|at| at - 59, "10.2.0.1:5000", false)));
    assert!((0..3).all(|_| answered(&mut pair, &|at| at + 59, "10.2.0.1:5000", false)));
    let late = |at| at - 70_000;
    for n in 0..limits::SKEW_ADDRESSES + 200 {
        answered(&mut pair, &late, &format!("10.3.{}.{}:5000", n / 250, n % 250 + 1), false);
    }
    assert_eq!(pair.machines[1].links.skew_answers.len(), limits::SKEW_ADDRESSES);
    assert!(!answered(&mut pair, &late, "10.9.9.9:5000", false), "no place to count it");
    pair.advance(Duration::from_mins(10));
    assert!(answered(&mut pair, &late, "10.9.9.9:5000", false), "ten minutes later there is");
}

/// RouterInfos in message 3 that are not the dialler's, of another network, or no RouterInfo where one must be.
#[test]
fn t41_a_message_3_that_breaks_a_rule_is_no_session() {
    let mut pair = Pair::new(0);
    let own = Arc::clone(&pair.machines[0].info);
    let signing = SigningKey::random(&mut Rng::from_seed([77; 32]));
    let with = |net: &str, published: u64, addresses: &[RouterAddress]| {
        let unsigned = Unsigned {
            identity: RouterIdentity::new(
                SecretKey::from_bytes([5; 32]).public_key(),
                *signing.public(),
                &mut Rng::from_seed([78; 32]),
            ),
            published,
            addresses: addresses.to_vec(),
            options: Mapping::from_pairs([("caps", "LR"), ("netId", net), ("router.version", "0.9.68")]).unwrap(),
        };
        unsigned.sign(&signing).unwrap()
    };
    let other_key = machine(7, 0).info;
    let elsewhere = machine_at(1, 0, &["10.0.0.99"]).info;
    let (ri, padding) = (info_block(&own), block(254, &[0; 5]));
    let i2np = block(3, &[20, 0, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3]);
    let mut unsigned_bytes = own.as_bytes().to_vec();
    *unsigned_bytes.last_mut().unwrap() ^= 1;
    let mut forged = Vec::new();
    RouterInfoBlock { flood: false, router_info: &unsigned_bytes }.encode(&mut forged);
    let long = block(254, &[0; 500]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("another static key", info_block(&other_key)),
        ("another address", info_block(&elsewhere)),
        ("ourselves", info_block(&pair.machines[1].info)),
        ("another network", info_block(&with("98", START, own.addresses()))),
        ("no network", info_block(&with("", START, own.addresses()))),
        ("too old", info_block(&with("99", START - 6_000_000, own.addresses()))),
        ("of the future", info_block(&with("99", START + 180_000, own.addresses()))),
        ("no address", info_block(&with("99", START, &[]))),
        ("a signature that does not fit", forged),
        ("padding first", [&padding[..], &ri].concat()),
        ("two RouterInfos", [&ri[..], &ri].concat()),
        ("options before", [&block(1, &[0; 12])[..], &ri].concat()),
        ("a message", [&ri[..], &i2np].concat()),
        ("a message first", [&i2np[..], &ri].concat()),
        ("a clock", [&block(0, &[0; 4])[..], &ri].concat()),
        ("a block of no type", [&ri[..], &block(99, &[])].concat()),
        ("nothing of it", long),
    ];
    for (number, (what, payload)) in (1..).zip(cases) {
        let script = Script { payload, ..Script::of(&pair) };
        let seen = pair.play(number, &script);
        assert!(!seen.up && seen.clocks == 0, "{what}: {seen:?}");
        assert_eq!(seen.closed, Some(CloseKind::Flush), "{what}: told, and closed");
        assert!(!pair.is_there(number) && pair.machines[1].links.peers.is_empty(), "{what}");
    }
    assert_eq!(pair.machines[1].links.inbound_handshakes, 0);
    assert!(pair.machines[1].links.inbound_of.is_empty());
    let script = Script { payload: [&ri[..], &block(1, &[0; 12]), &padding].concat(), ..Script::of(&pair) };
    assert!(pair.play(1_000, &script).up, "what the rules allow");
}

/// One router from two addresses, and two routers from one: one session for each router, and no place is lost.
#[test]
fn t47_one_session_is_kept_for_each_router() {
    let mut pair = Pair::new(0);
    let script = Script::of(&pair);
    // The same router again and again, from its address.
    for number in 1..6 {
        assert!(pair.play(number, &script).up, "{number}");
    }
    pair.advance(Duration::from_secs(6));
    assert_eq!(pair.machines[1].links.stats().sessions, 1);
    assert_eq!(pair.machines[1].links.inbound_of.values().sum::<usize>(), 1);
    assert!(pair.is_there(5), "the newest: the router may have lost the others");
    // From an address that it does not publish.
    let id = ConnId(ConnId::INBOUND | 50);
    pair.accept(id, "10.0.0.50:5000");
    let (message, next) = pair.request(&script);
    let second = pair.offer(id, &message).written;
    let (_, next) = next.created(second[..64].try_into().unwrap()).unwrap();
    let (third, _) = next.confirm(&second[64..]).unwrap();
    let seen = pair.offer(id, &third);
    assert!(!seen.up && seen.closed == Some(CloseKind::Flush));
    assert_eq!(pair.machines[1].links.stats().sessions, 1);
    // Another router of the first one's address.
    let first = pair.machines[0].info.hash();
    let second = machine_at(9, 0, &["10.0.0.1"]);
    let hash = second.info.hash();
    pair.machines[0] = second;
    let script = Script::of(&pair);
    assert!(pair.play(60, &script).up);
    assert_eq!(pair.machines[1].links.stats().sessions, 2);
    let known = pair.machines[1].links.connected();
    assert!(known.contains(&first) && known.contains(&hash));
    assert_eq!(pair.machines[1].links.inbound_of.values().sum::<usize>(), 2);
    pair.advance(Duration::from_secs(300));
    assert!(pair.machines[1].links.conns.is_empty() && pair.machines[1].links.inbound_of.is_empty());
}
