//! What SSU2 costs a router without sockets: handshakes that others begin, requests that nobody follows up, sessions that
//! rest, and a session that carries what tunnels carry. Beside each the cost of its cryptography alone.

use ramson_core::keys::RouterKeys;
use ramson_core::link::ntcp2::padding::PaddingStrategy;
use ramson_core::link::{AddressRules, Class, Datagrams, Event, LinkConfig, Links, UdpConfig};
use ramson_core::own_info::OwnInfo;
use ramson_core::rng::Rng;
use ramson_core::time::{Duration, Instant, Now};
use ramson_core::tunnel::Congestion;
use ramson_wire::crypto::aead::AeadKey;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::RouterInfo;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::i2np::{Kind, Message};
use ramson_wire::ssu2::protection;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant as Clock;

const UNIX: u64 = 1_790_000_000_000;
const HANDSHAKES: u32 = 400;
const IDLE: u32 = 2_000;
const SPOOFED: u32 = 100_000;
/// As tunnels carry them.
const BODY: usize = 1_028;
const MESSAGES: u32 = 200_000;
/// Bytes that wait for the session at most.
const WAITING: usize = 256 << 10;

struct Node {
    links: Links,
    info: Arc<RouterInfo>,
    at: SocketAddr,
    rng: Rng,
    out: Vec<Datagrams>,
    got: u32,
    /// Seconds that were spent in it.
    spent: f64,
}

impl Node {
    fn new(number: u32, at: SocketAddr) -> Self {
        let mut seed = [3; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let mut rng = Rng::from_seed(seed);
        let keys = RouterKeys::generate(&mut rng);
        let own = OwnInfo {
            network_id: 99,
            bandwidth: 'L',
            published: vec![at],
            udp: vec![at],
            udp_published: vec![at],
            hidden: false,
            introducers: vec![],
            ipv4: true,
            ipv6: false,
            floodfill: false,
            congestion: Congestion::None,
        };
        let both = own.sign(&keys, UNIX).unwrap();
        let addresses = both.addresses().iter().filter(|address| address.style() == "SSU2").cloned().collect();
        let (identity, options) = (both.identity().clone(), both.options().clone());
        let info = Unsigned { identity, published: UNIX, addresses, options }.sign(&keys.signing).unwrap();
        let config = LinkConfig {
            network_id: 99,
            static_key: keys.ntcp2_key.clone(),
            router: info.hash(),
            iv: keys.ntcp2_iv,
            padding: PaddingStrategy::Random,
            addresses: AddressRules { allow_reserved: true, ipv4: true, ipv6: false },
        };
        let mut links = Links::new(config, rng.child("links"));
        let (static_key, intro_key) = (keys.ssu2_key(), keys.ssu2_intro());
        links.enable_udp(UdpConfig {
            sockets: vec![at],
            static_key,
            intro_key,
            signing: Arc::new(keys.signing.clone()),
        });
        links.set_router_info(info.as_bytes().to_vec());
        Self { links, info: Arc::new(info), at, rng, out: Vec::new(), got: 0, spent: 0.0 }
    }

    /// Lets it act, and does what follows from it.
    fn act(&mut self, now: Now, act: impl FnOnce(&mut Links)) {
        let start = Clock::now();
        act(&mut self.links);
        while let Some(event) = self.links.poll_event(now) {
            match event {
                Event::Udp(datagrams) => self.out.push(datagrams),
                Event::Job(job) => {
                    let done = job.run(&mut self.rng);
                    self.links.handle_job(now, done);
                }
                Event::Received { message, .. } => self.got += u32::from(message.kind == Kind::TUNNEL_DATA),
                _ => {}
            }
        }
        self.spent += start.elapsed().as_secs_f64();
    }
}

/// The time on the way between two nodes is this.
const DELAY: Duration = Duration::from_micros(50);

fn at(micros: u64) -> Now {
    Now::new(Instant::from_micros(micros), UNIX + micros / 1_000)
}

/// Carries what the two have for each other, until neither has anything or a millisecond is over; how much it was.
fn carry(now: &mut Now, nodes: [&mut Node; 2]) -> usize {
    let [one, other] = nodes;
    let mut carried = 0;
    for _ in 0..20 {
        *now = now.later(DELAY);
        let (from_one, from_other) = (std::mem::take(&mut one.out), std::mem::take(&mut other.out));
        if from_one.is_empty() && from_other.is_empty() {
            break;
        }
        let (at_one, at_other) = (one.at, other.at);
        for (to, from, all) in [(&mut *other, at_one, from_one), (&mut *one, at_other, from_other)] {
            for Datagrams { segment, mut bytes, .. } in all {
                carried += bytes.len();
                to.act(*now, |links| links.handle_udp(*now, from, segment, &mut bytes, false));
            }
        }
    }
    carried
}

fn address(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    ([11 + a, b, c, 1], 9_000).into()
}

/// All figures.
pub(crate) fn measure() {
    if std::env::args().any(|arg| arg == "session") {
        return session();
    }
    handshakes();
    spoofed();
    session();
}

/// Sessions that others begin, one after the other; they stay, at rest.
fn handshakes() {
    let mut now = at(100_000_000);
    let mut server = Node::new(0, ([10, 0, 0, 1], 9_000).into());
    let info = Arc::clone(&server.info);
    let meet = |server: &mut Node, now: &mut Now, number: u32| {
        let mut client = Node::new(number, address(number));
        client.act(*now, |links| {
            links.dial(*now, &info);
        });
        while carry(now, [&mut client, server]) > 0 {}
        *now = now.later(Duration::from_millis(5));
    };
    (1..=100).for_each(|number| meet(&mut server, &mut now, number));
    let (spent, before) = (server.spent, super::resident());
    for number in 101..=100 + IDLE {
        meet(&mut server, &mut now, number);
        if number == 100 + HANDSHAKES {
            let each = (server.spent - spent) / f64::from(HANDSHAKES) * 1e6;
            println!("FIGURE ssu2-handshake-as-responder {each:.0} {:.0} us", public_key_work());
            println!("FIGURE ssu2-handshakes-as-responder {:.0} - 1/s", 1e6 / each);
        }
    }
    assert_eq!(server.links.stats().sessions, 100 + IDLE as usize, "all of them stand");
    let each = super::resident().saturating_sub(before) as f64 / f64::from(IDLE);
    println!("FIGURE ssu2-idle-session {each:.0} - B");
}

/// A responder's: two ephemeral or static keys with two of the peer's, its own ephemeral key, and the signature of the
/// peer's RouterInfo. Microseconds.
fn public_key_work() -> f64 {
    let mut rng = Rng::from_seed([5; 32]);
    let (ours, theirs) = (SecretKey::from_bytes(rng.bytes()), SecretKey::from_bytes(rng.bytes()));
    let (public, key) = (theirs.public_key(), SigningKey::from_seed(rng.bytes()));
    let signature = key.sign(&[7; 700]);
    let verifying = key.verifying_key();
    let start = Clock::now();
    const ROUNDS: u32 = 300;
    for _ in 0..ROUNDS {
        for _ in 0..3 {
            black_box(ours.diffie_hellman(black_box(&public))).unwrap();
        }
        black_box(SecretKey::from_bytes(rng.bytes()).public_key());
        black_box(verifying.verify(&[7; 700], black_box(&signature))).unwrap();
    }
    start.elapsed().as_secs_f64() / f64::from(ROUNDS) * 1e6
}

/// SessionRequests as anybody can make them who has read our RouterInfo, each from another address, without a token.
fn spoofed() {
    let now = at(100_000_000);
    let mut server = Node::new(0, ([10, 0, 0, 1], 9_000).into());
    let mut client = Node::new(1, address(1));
    let info = Arc::clone(&server.info);
    client.act(now, |links| {
        links.dial(now, &info);
    });
    let request = client.out.pop().unwrap().bytes;
    for (name, packet) in [("token-request", request), ("noise", vec![9; 600])] {
        let start = cpu();
        for number in 0..SPOOFED {
            let now = now.later(Duration::from_micros(u64::from(number) * 50));
            let mut packet = packet.clone();
            server.act(now, |links| links.handle_udp(now, address(number), 2_000, &mut packet, false));
            server.out.clear();
        }
        let each = (cpu() - start) / f64::from(SPOOFED) * 1e6;
        println!("FIGURE ssu2-spoofed-{name} {each:.2} - us");
        println!("FIGURE ssu2-flood-of-{name}s {:.3} - cores", each * 20_000.0 / 1e6);
    }
}

/// One session that carries as much as it can, both ends of it on one core.
fn session() {
    let mut now = at(100_000_000);
    let mut nodes = [Node::new(0, ([10, 0, 0, 1], 9_000).into()), Node::new(1, address(1))];
    let info = Arc::clone(&nodes[1].info);
    let to = info.hash();
    let (mut sent, mut since) = (0, None);
    let warm = MESSAGES / 10;
    while nodes[1].got < MESSAGES {
        let [one, other] = &mut nodes;
        while sent < MESSAGES && ((sent - other.got) as usize) * BODY < WAITING {
            let message =
                Message { kind: Kind::TUNNEL_DATA, id: sent, expiration: UNIX + 600_000, body: vec![7; BODY] };
            one.links.send(now, &to, message, Class::Own, Some(&info));
            sent += 1;
        }
        one.act(now, |_| ());
        if carry(&mut now, [one, other]) == 0 {
            now = now.later(Duration::from_micros(500));
        }
        for node in [one, other] {
            if node.links.next_timeout().is_some_and(|due| due <= now.mono) {
                node.act(now, |links| links.handle_timeout(now));
            }
        }
        if nodes[1].got >= warm && since.is_none() {
            since = Some((cpu(), nodes[1].got));
        }
    }
    let (start, from) = since.unwrap();
    let each = (cpu() - start) / f64::from(MESSAGES - from) * 1e9;
    let crypto = sealing_and_opening();
    println!("FIGURE ssu2-message-both-ends {each:.0} {crypto:.0} ns");
    // Of each end, on a core of its own.
    let rate = |nanos: f64| 2.0 * BODY as f64 * 1e3 / nanos;
    println!("FIGURE ssu2-session {:.0} {:.0} MB/s", rate(each), rate(crypto));
}

/// Sealing and opening as many bytes as a message has, in packets of the usual length, with the protection of their
/// headers; nanoseconds.
fn sealing_and_opening() -> f64 {
    const PACKETS: u32 = 50_000;
    let key = AeadKey::new(&[1; 32]);
    let mut packet = vec![7; 1_430];
    let start = cpu();
    for number in 0..PACKETS {
        packet.truncate(1_414);
        let header = [7; 16];
        key.seal_tail(number.into(), &header, &mut packet, 16);
        protection::turn_short(&mut packet, &[1; 32], &[2; 32]).unwrap();
        protection::turn_short(black_box(&mut packet), &[1; 32], &[2; 32]).unwrap();
        let (_, sealed) = packet.split_at_mut(16);
        black_box(key.open(number.into(), &header, sealed)).unwrap();
    }
    (cpu() - start) / f64::from(PACKETS) * 1e9 * (BODY + 12) as f64 / 1_398.0
}

/// Seconds that this thread has had a core: what else the machine does is not in it.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap() / 1e9
}
