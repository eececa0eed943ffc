//! What requests of others to build tunnels cost a router, and what a flood of them costs it (threats P-2).

use super::{black_box, each};
use ramson_core::rng::Rng;
use ramson_core::time::{Duration, Instant, Now};
use ramson_core::tunnel::{Event, StaticKey, TransitRules, TunnelConfig, Tunnels};
use ramson_wire::codec::Encode;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::Hash;
use ramson_wire::i2np::tunnel_build::BuildRecords;
use ramson_wire::i2np::{Kind, Message, tunnel_data};
use ramson_wire::tunnel::bandwidth::{BandwidthRequest, Reply};
use ramson_wire::tunnel::build_record::{self, Record, Request, Role};
use std::time::{Duration as Spent, Instant as Clock};

const START_MS: u64 = 1_790_000_000_000;
/// The flood: requests a second, from so many peers, for so many seconds.
const FLOOD: u64 = 5_000;
const PEERS: u64 = 50;
const SECONDS: u64 = 8;
/// Messages a second through tunnels that stand.
const MESSAGES: u64 = 2_000;

/// Where tunnels lead: those of the flood, and others.
const FLOODED: Hash = Hash([9; 32]);
const MODEST: Hash = Hash([8; 32]);

struct Served {
    tunnels: Tunnels,
    hash: Hash,
    secret: SecretKey,
    rng: Rng,
    now: Now,
    next_tunnel: u32,
}

/// What was spent on what since the start.
#[derive(Default)]
struct Costs {
    sent: u64,
    /// Of these, to where the modest peer's tunnels lead.
    modest: u64,
    jobs: Spent,
    rest: Spent,
}

pub(crate) fn measure() {
    let crypto = crypto();
    let request = one_by_one();
    println!("FIGURE build-request {request:.0} {crypto:.0} ns");
    println!("FIGURE build-requests-a-second-and-core {:.0} {:.0} /s", 1e9 / request, 1e9 / crypto);
    flood();
}

fn served() -> Served {
    let mut rng = Rng::from_seed([7; 32]);
    let now = Now::new(Instant::ZERO + Duration::from_secs(1), START_MS);
    let (hash, secret) = (Hash([1; 32]), SecretKey::random(&mut rng));
    let key = StaticKey { public: secret.public_key(), secret: secret.clone() };
    let transit = TransitRules {
        accept: true,
        draining: false,
        max_tunnels: 5_000,
        bytes_per_second: u64::MAX,
        private_network: false,
    };
    let tunnels = Tunnels::new(now, TunnelConfig { own: hash, key, transit }, &mut rng);
    Served { tunnels, hash, secret, rng, now, next_tunnel: 1 }
}

impl Served {
    fn request(&mut self, next_hop: Hash) -> Message {
        self.next_tunnel += 1;
        let request = Request {
            receive_tunnel: self.next_tunnel,
            next_tunnel: 7,
            next_hop,
            role: Role::Participant,
            minutes: (START_MS / 60_000) as u32,
            send_message_id: 5,
            bandwidth: BandwidthRequest::NONE,
        };
        let key = self.secret.public_key();
        let (record, _) = build_record::seal_request(&request, &self.hash, &key, &mut self.rng).unwrap();
        let mut records: Vec<Record> = (0..4).map(|_| self.rng.bytes()).collect();
        records[2] = record;
        let body = BuildRecords::new(records).unwrap().to_bytes();
        Message { kind: Kind::SHORT_TUNNEL_BUILD, id: 3, expiration: START_MS + 10_000, body }
    }

    /// Does what the tunnels ask for.
    fn drain(&mut self, costs: &mut Costs) {
        loop {
            let begun = Clock::now();
            let event = self.tunnels.poll_event();
            costs.rest += begun.elapsed();
            match event {
                None => return,
                Some(Event::Send { to, .. }) => {
                    costs.sent += 1;
                    costs.modest += u64::from(to == MODEST);
                }
                Some(Event::Job(job)) => {
                    let begun = Clock::now();
                    let done = job.run(&mut self.rng);
                    costs.jobs += begun.elapsed();
                    let begun = Clock::now();
                    self.tunnels.handle_job(self.now, done);
                    costs.rest += begun.elapsed();
                }
                Some(_) => {}
            }
        }
    }

    fn take(&mut self, from: Hash, message: Message, costs: &mut Costs) -> bool {
        let begun = Clock::now();
        let taken = self.tunnels.handle_message(self.now, from, message).is_ok();
        costs.rest += begun.elapsed();
        self.drain(costs);
        taken
    }
}

fn peer(n: u64) -> Hash {
    Hash::of(&n.to_le_bytes())
}

/// The cryptography of one request: to open it, and to answer.
fn crypto() -> f64 {
    let mut served = served();
    let message = served.request(FLOODED);
    let records: Vec<Record> = message.body[1..].as_chunks().0.to_vec();
    let public = served.secret.public_key();
    each(|| {
        let mut records = records.clone();
        let (_, keys) = build_record::open_request(black_box(&records[2]), &served.secret, &public).unwrap();
        keys.answer(&mut records, 2, Reply::of(build_record::ACCEPT), &mut served.rng);
        black_box(records);
    })
}

/// Nanoseconds for a request that is answered, at the rate at which all are.
fn one_by_one() -> f64 {
    const COUNT: u64 = 4_000;
    let mut served = served();
    let messages: Vec<Message> = (0..COUNT).map(|_| served.request(FLOODED)).collect();
    let mut costs = Costs::default();
    for (n, message) in (0..).zip(messages) {
        served.now = served.now.later(Duration::from_millis(6));
        assert!(served.take(peer(n), message, &mut costs));
    }
    assert_eq!(costs.sent, COUNT, "each was answered");
    (costs.jobs + costs.rest).as_nanos() as f64 / COUNT as f64
}

/// The flood, beside tunnels that stand and one peer that asks little.
fn flood() {
    let mut served = served();
    let mut costs = Costs::default();
    let modest = peer(1_000_000);
    for _ in 0..50 {
        served.now = served.now.later(Duration::from_millis(10));
        let message = served.request(FLOODED);
        assert!(served.take(modest, message, &mut costs));
    }
    let standing = served.next_tunnel;
    served.now = served.now.later(Duration::from_secs(10));
    let messages: Vec<Message> = (0..FLOOD * SECONDS).map(|_| served.request(FLOODED)).collect();
    let (mut passed, mut data, mut asked) = (Costs::default(), 0, 0);
    let mut flooded = Costs::default();
    for (n, message) in (0..).zip(messages) {
        served.now = served.now.later(Duration::from_micros(1_000_000 / FLOOD));
        let timeout = served.tunnels.next_timeout().is_some_and(|at| at <= served.now.mono);
        if timeout {
            served.tunnels.handle_timeout(served.now);
            served.drain(&mut flooded);
        }
        let _ = served.take(peer(n % PEERS), message, &mut flooded);
        if n % (FLOOD / MESSAGES) == 0 {
            let mut body = vec![0; tunnel_data::BODY_LEN];
            tunnel_data::set_tunnel(&mut body, 2 + (n % u64::from(standing - 1)) as u32);
            body[4..12].copy_from_slice(&u64::to_le_bytes(n));
            data += 1;
            let message = Message { kind: Kind::TUNNEL_DATA, id: 1, expiration: START_MS + 10_000, body };
            assert!(served.take(modest, message, &mut passed));
        }
        if n % FLOOD == 0 {
            asked += 1;
            let message = served.request(MODEST);
            assert!(served.take(modest, message, &mut flooded));
        }
    }
    let stats = served.tunnels.stats().transit;
    assert_eq!(passed.sent, data, "tunnels that stand lose nothing");
    let share = |spent: Spent| 100.0 * spent.as_secs_f64() / SECONDS as f64;
    println!("FIGURE flood-cpu {:.1} - %", share(flooded.jobs + flooded.rest));
    println!("FIGURE flood-cpu-without-keys {:.1} - %", share(flooded.rest));
    println!("FIGURE flood-requests-answered {} - /s", (stats.accepted + stats.declined) / SECONDS);
    println!("FIGURE flood-modest-peer {} {asked} requests", flooded.modest);
}
