//! The table of foreign tunnels, driven to its limits.

use super::*;
use ramson_wire::codec::Encode;
use ramson_wire::crypto::x25519::{PublicKey, SecretKey};
use ramson_wire::i2np::tunnel_build::BuildRecords;
use ramson_wire::i2np::{Kind, tunnel_data};
use ramson_wire::tunnel::bandwidth::BandwidthRequest;
use ramson_wire::tunnel::build_record::{HopKeys, RECORD_LEN, Record, seal_request};

const START_MS: u64 = 1_790_000_000_000;
const RULES: TransitRules = TransitRules {
    accept: true,
    draining: false,
    max_tunnels: limits::TRANSIT,
    bytes_per_second: u64::MAX,
    private_network: false,
};

struct Served {
    transit: Transit,
    now: Now,
    rng: Rng,
    hash: Hash,
    public: PublicKey,
    sealed: Option<(Record, HopKeys)>,
    bandwidth: BandwidthRequest,
}

fn served() -> Served {
    let mut rng = Rng::from_seed([3; 32]);
    let now = Now::new(Instant::ZERO, START_MS);
    let (hash, secret) = (Hash([1; 32]), SecretKey::random(&mut rng));
    let public = secret.public_key();
    let transit = Transit::new(now, hash, StaticKey { public, secret }, RULES, &mut rng);
    Served { transit, now, rng, hash, public, sealed: None, bandwidth: BandwidthRequest::NONE }
}

fn peer(n: usize) -> Hash {
    Hash::of(&n.to_le_bytes())
}

impl Served {
    fn pass(&mut self, ms: u64) {
        self.now = self.now.later(crate::time::Duration::from_millis(ms));
    }

    /// A request to us with this ephemeral key, which opens to nothing.
    fn offer(&mut self, n: usize, from: Hash) -> Result<(), TransitError> {
        self.queue(n, from)?;
        let RequestJob { request, .. } = self.transit.next_request(self.now.mono).unwrap();
        let result = Err(OpenError::Crypto(ramson_wire::crypto::CryptoError));
        let done = RequestDone { request, result };
        assert!(self.transit.handle_opened(self.now, done, |_| false).is_err());
        Ok(())
    }

    /// The same, which waits for its turn.
    fn queue(&mut self, n: usize, from: Hash) -> Result<(), TransitError> {
        let mut record: Record = [0; RECORD_LEN];
        record[..16].copy_from_slice(&self.hash.as_bytes()[..16]);
        record[16..24].copy_from_slice(&n.to_le_bytes());
        let body = BuildRecords::new([vec![record], vec![[0; RECORD_LEN]; 7]].concat()).unwrap().to_bytes();
        let message = Message { kind: Kind::SHORT_TUNNEL_BUILD, id: 1, expiration: 0, body };
        self.transit.handle_build(self.now, from, None, &message)
    }
}

impl Served {
    /// The answer to an opened request of `from` for a tunnel of this id: whether it is accepted.
    fn ask(&mut self, id: u32, from: Hash, role: Role) -> bool {
        let request = Request {
            receive_tunnel: 100 + id,
            next_tunnel: 7,
            next_hop: peer(1_000),
            role,
            minutes: u32::try_from(self.now.unix_ms / 60_000).unwrap(),
            send_message_id: 5,
            bandwidth: self.bandwidth,
        };
        if self.sealed.is_none() {
            self.sealed = Some(seal_request(&request, &self.hash, &self.public, &mut self.rng).unwrap());
        }
        let (record, keys) = self.sealed.clone().unwrap();
        let records = Records::Short(BuildRecords::new(vec![record]).unwrap());
        let waiting = Waiting { from, index: 0, ephemeral: [0; 32], records, since: self.now.mono };
        let done = RequestDone { request: waiting, result: Ok((request, Keys::Short(keys))) };
        let before = self.transit.stats;
        self.transit.handle_opened(self.now, done, |_| false).unwrap();
        let stats = self.transit.stats;
        assert_eq!(stats.accepted + stats.declined, before.accepted + before.declined + 1);
        stats.accepted > before.accepted
    }

    /// The n-th tunnel message for the tunnel of this id, from peer 0.
    fn data(&mut self, id: u32, n: u64) -> Result<(), TransitError> {
        let mut body = vec![0; 4 + tunnel_data::DATA_LEN];
        body[..4].copy_from_slice(&(100 + id).to_be_bytes());
        body[4..12].copy_from_slice(&n.to_be_bytes());
        let message = Message { kind: Kind::TUNNEL_DATA, id: 1, expiration: 0, body };
        let mut out = Vec::new();
        let result = self.transit.handle_data(self.now, peer(0), message, &mut out);
        self.transit.pass(&mut out);
        assert_eq!(out.len(), usize::from(result.is_ok()));
        result
    }

    /// A message of so many bytes for the gateway of this id.
    fn gateway(&mut self, id: u32, len: usize) -> Result<(), TransitError> {
        let message = Message { kind: Kind::DATA, id: 1, expiration: self.now.unix_ms, body: vec![0; len] };
        self.transit.handle_gateway(self.now, 100 + id, &message, &mut Vec::new())
    }
}

/// One previous hop has its share of the table and no more, until its tunnels end.
#[test]
fn tunnels_of_one_previous_hop_are_limited() {
    let mut served = served();
    let ask = |served: &mut Served, id: u32, from: Hash| {
        served.ask(id, from, Role::Participant);
        served.transit.len()
    };
    let most = limits::TRANSIT / 4;
    let share = u32::try_from(most).unwrap();
    for id in 0..share {
        assert_eq!(ask(&mut served, id, peer(0)), id as usize + 1);
    }
    assert_eq!(ask(&mut served, share, peer(0)), most, "declined");
    assert_eq!(ask(&mut served, share, peer(1)), most + 1, "others have room");
    served.transit.set_rules(served.now.mono, TransitRules { max_tunnels: 200, ..RULES });
    assert_eq!(served.transit.most_per_peer(), limits::TRANSIT_PER_PEER_LEAST, "of few it has more than a quarter");
    served.transit.set_rules(served.now.mono, RULES);
    served.transit.remove(100);
    assert_eq!(ask(&mut served, share + 1, peer(0)), most + 1, "the place of one that went");
    let lifetime = limits::LIFETIME + limits::GRACE;
    served.pass(u64::try_from(lifetime.as_millis()).unwrap());
    served.transit.handle_timeout(served.now.mono);
    assert_eq!((served.transit.len(), served.transit.per_peer.len()), (0, 0));
    assert_eq!(ask(&mut served, share, peer(0)), 1);
}

/// At the full rate of requests no replay gets through within a generation, and the memory stays bounded.
#[test]
fn replays_of_requests_are_known_up_to_the_limit() {
    let mut served = served();
    let count = limits::REPLAY_KEYS;
    for n in 0..2 * count {
        served.pass(5);
        assert_eq!(served.offer(n, peer(n % 32)), Ok(()), "{n}");
        assert_eq!(served.transit.gate.remembered(), n + 1);
        if n % 10_000 == 9_999 {
            served.pass(5);
            let old = (n + 1).saturating_sub(count);
            assert_eq!(served.offer(old, peer(50)), Err(TransitError::Replayed), "{old} at {n}");
        }
    }
    assert_eq!(served.offer(2 * count, peer(51)), Ok(()));
    assert_eq!(served.transit.gate.remembered(), count + 1, "the older generation went");
    assert_eq!(served.offer(count, peer(51)), Err(TransitError::Replayed));
    assert_eq!(served.offer(0, peer(51)), Ok(()), "forgotten");
}

#[test]
fn full_begins_near_the_limit_and_ends_well_below() {
    let mut served = served();
    let is_full = |served: &mut Served| served.transit.update_congestion(served.now.mono, 0.0) == Congestion::Rejecting;
    assert!(!is_full(&mut served) && served.transit.is_accepting(served.now.mono));
    served.transit.set_rules(served.now.mono, TransitRules { max_tunnels: 100, ..RULES });
    let mut id = 0;
    let mut grow = |served: &mut Served, to: usize| {
        while served.transit.len() < to {
            if served.ask(id, peer(0), Role::Participant) {
                served.data(id, 1).unwrap();
            }
            id += 1;
        }
    };
    grow(&mut served, 94);
    assert!(!is_full(&mut served));
    grow(&mut served, 95);
    assert!(is_full(&mut served));
    let shrink = |served: &mut Served, to: usize| {
        let ids: Vec<_> = served.transit.expiry.iter().map(|(_, id)| *id).collect();
        ids.into_iter()
            .take_while(|id| {
                served.transit.remove(*id);
                served.transit.len() > to
            })
            .count();
    };
    shrink(&mut served, 80);
    assert!(served.transit.len() == 80 && is_full(&mut served), "not yet");
    shrink(&mut served, 79);
    assert!(!is_full(&mut served));
    grow(&mut served, 94);
    assert!(!is_full(&mut served));
    for off in [
        TransitRules { accept: false, ..RULES },
        TransitRules { max_tunnels: 0, ..RULES },
        TransitRules { bytes_per_second: 0, ..RULES },
    ] {
        served.transit.set_rules(served.now.mono, off);
        assert!(is_full(&mut served) && !served.transit.is_accepting(served.now.mono), "{off:?}");
    }
}

/// What is carried keeps to the rate. When little is left some is dropped by chance, and nobody is accepted.
#[test]
fn carried_bytes_are_limited() {
    let mut served = served();
    assert!(served.ask(0, peer(0), Role::Participant) && served.ask(1, peer(0), Role::InboundGateway));
    let rate = 200 * tunnel_data::DATA_LEN as u64;
    served.transit.set_rules(served.now.mono, TransitRules { bytes_per_second: rate, ..RULES });
    let passed = (0..1_000).take_while(|n| served.data(0, *n).is_ok()).count();
    assert!((100..130).contains(&passed), "{passed}: the first half of a second's passes whole");
    let passed = passed + (1_000..9_000).filter(|n| served.data(0, *n).is_ok()).count();
    assert!((145..=151).contains(&passed), "{passed}: the last quarter is kept");
    assert_eq!(served.gateway(1, 10), Err(TransitError::OverBandwidth));
    assert!(!served.transit.is_accepting(served.now.mono) && !served.ask(2, peer(0), Role::Participant));
    assert_eq!(served.transit.stats.causes.busy, 1);
    served.pass(300);
    assert!(served.ask(2, peer(0), Role::Participant), "room again");
    let mut carried = 0;
    for n in 9_000..17_000 {
        served.pass(1);
        carried += usize::from(served.data(0, n).is_ok());
    }
    assert!((8 * 200..8 * 200 + 80).contains(&carried), "{carried} in eight seconds");
    served.pass(1_000);
    let small = (0..1_000).filter(|_| served.gateway(1, 1).is_ok()).count();
    assert!((120..=151).contains(&small), "{small}: a small one may fill a tunnel message");
    served.pass(1_000);
    assert_eq!(served.gateway(1, 50 * tunnel_data::DATA_LEN), Ok(()));
    // A wrong or repeated message takes nothing of it.
    served.pass(1_000);
    (0..1_000).for_each(|_| assert_eq!(served.data(0, 0), Err(TransitError::Duplicate)));
    (0..1_000).for_each(|n| assert_eq!(served.data(9, n), Err(TransitError::NoTunnel)));
    assert_eq!((20_000..20_100).filter(|n| served.data(0, *n).is_ok()).count(), 100);
}

/// A tunnel that was granted bandwidth has it while others together want more than there is.
#[test]
fn granted_bandwidth_is_kept_free_of_others() {
    let mut served = served();
    let rate = 200 * tunnel_data::DATA_LEN as u64;
    served.transit.set_rules(served.now.mono, TransitRules { bytes_per_second: rate, ..RULES });
    served.bandwidth = BandwidthRequest { requested: Some(40), ..BandwidthRequest::NONE };
    assert!(served.ask(0, peer(0), Role::Participant));
    assert_eq!(served.transit.stats().granted, 40);
    served.bandwidth = BandwidthRequest::NONE;
    assert!(served.ask(1, peer(0), Role::Participant));
    let (mut granted, mut other) = (0, 0);
    for n in 0..10_000 {
        served.pass(1);
        // 40 a second, and 1,000 of the other.
        if n % 25 == 0 {
            granted += usize::from(served.data(0, n).is_ok());
        }
        other += usize::from(served.data(1, n).is_ok());
    }
    assert_eq!(granted, 400, "all of it");
    assert!((1_500..1_800).contains(&other), "{other}");
    // Beyond its grant it is as the others are.
    let beyond = (10_000..11_000).filter(|n| served.data(0, *n).is_ok()).count();
    assert!(beyond <= 2 * 40 + 120, "{beyond}");
    served.bandwidth = BandwidthRequest { minimum: Some(51), ..BandwidthRequest::NONE };
    served.pass(2_000);
    assert!(!served.ask(2, peer(0), Role::Participant), "more than one tunnel may have");
    served.bandwidth = BandwidthRequest { minimum: Some(9), requested: Some(8), limit: None };
    assert!(!served.ask(2, peer(0), Role::Participant), "T75: a contradiction");
    assert_eq!(served.transit.stats.causes.bandwidth, 2);
    served.transit.remove(100);
    assert_eq!(served.transit.stats().granted, 0);
}

/// Proposal 168: what nobody uses is there for others after a minute; a tunnel that carries keeps what it was promised.
#[test]
fn granted_bandwidth_that_is_not_used_is_lost() {
    let mut served = served();
    let rate = 200 * tunnel_data::DATA_LEN as u64;
    served.transit.set_rules(served.now.mono, TransitRules { bytes_per_second: rate, ..RULES });
    served.bandwidth = BandwidthRequest { minimum: Some(40), ..BandwidthRequest::NONE };
    let taken = (0..20).filter(|n| served.ask(*n, peer(0), Role::Participant)).count();
    assert_eq!((taken, served.transit.stats().granted), (10, 400), "all there is, twice");
    for n in 0..59 {
        served.pass(1_000);
        served.transit.handle_timeout(served.now.mono);
        // Two of 40 a second are enough.
        assert!(served.data(3, 2 * n).is_ok() && served.data(3, 2 * n + 1).is_ok());
    }
    served.transit.check_books();
    assert_eq!(served.transit.stats().granted, 400, "for a minute");
    served.pass(2_000);
    assert!(served.transit.next_timeout(served.now.mono).is_some_and(|at| at <= served.now.mono));
    served.transit.handle_timeout(served.now.mono);
    assert_eq!(served.transit.stats().granted, 40);
    served.transit.check_books();
    assert!(served.ask(30, peer(0), Role::Participant), "others get it");
    assert_eq!(served.transit.stats().granted, 80);
    // Those that have lost theirs are carried as any other.
    assert!(served.data(5, 1).is_ok());
}

/// The creator's limit holds at the gateway of its tunnel, and for no other.
#[test]
fn a_gateway_lets_no_more_in_than_its_creator_wants() {
    let mut served = served();
    served.bandwidth = BandwidthRequest { limit: Some(50), ..BandwidthRequest::NONE };
    assert!(served.ask(0, peer(0), Role::InboundGateway) && served.ask(1, peer(0), Role::Participant));
    served.bandwidth = BandwidthRequest::NONE;
    assert!(served.ask(2, peer(0), Role::InboundGateway));
    assert_eq!((0..1_000).filter(|_| served.gateway(0, 1_024).is_ok()).count(), 100, "two seconds of it at once");
    served.pass(1_000);
    assert_eq!((0..1_000).filter(|_| served.gateway(0, 1_024).is_ok()).count(), 50);
    assert_eq!((0..1_000).filter(|_| served.gateway(2, 1_024).is_ok()).count(), 1_000);
    assert_eq!((0..1_000).filter(|n| served.data(1, *n).is_ok()).count(), 1_000);
    let slow = BandwidthRequest { limit: Some(1), ..BandwidthRequest::NONE };
    served.bandwidth = slow;
    assert!(served.ask(3, peer(0), Role::InboundGateway));
    assert_eq!(served.gateway(3, 62_000), Ok(()), "the largest message passes the smallest limit");
}

/// One who is near a limit declines more and more, whatever limit it is.
#[test]
fn requests_are_declined_by_chance_near_any_limit() {
    let accepted = |links: f64, bytes: u64| {
        let mut served = served();
        served.transit.set_rules(served.now.mono, TransitRules { bytes_per_second: 1_000_000, ..RULES });
        for n in 1..20 {
            served.pass(5_000);
            served.transit.stats.bytes = 5 * bytes * n;
            served.transit.update_congestion(served.now.mono, links);
        }
        (0..1_000).filter(|id| served.ask(*id, peer(*id as usize), Role::Participant)).count()
    };
    assert_eq!((accepted(0.0, 0), accepted(0.69, 690_000)), (1_000, 1_000));
    assert!((600..730).contains(&accepted(0.8, 0)), "{}", accepted(0.8, 0));
    assert!((270..400).contains(&accepted(0.0, 900_000)), "{}", accepted(0.0, 900_000));
    assert_eq!(accepted(1.0, 0), 0);
}

/// The router that is about to stop takes no more tunnels, carries what it has, and does not tell.
#[test]
fn a_draining_router_declines_and_says_nothing() {
    let mut served = served();
    assert!(served.ask(0, peer(0), Role::Participant));
    let ends = served.transit.stats().ends;
    assert_eq!(ends, Some(served.now.mono + limits::LIFETIME + limits::GRACE));
    served.transit.set_rules(served.now.mono, TransitRules { draining: true, ..RULES });
    assert!(!served.ask(1, peer(0), Role::Participant) && served.data(0, 1).is_ok());
    for _ in 0..1_000 {
        served.pass(5_000);
        assert_eq!(served.transit.update_congestion(served.now.mono, 0.0), Congestion::None);
    }
    served.transit.handle_timeout(served.now.mono);
    assert_eq!((served.transit.stats().ends, served.transit.stats.causes.off), (None, 1));
}

/// Threats T76: who asks much delays itself, and not those who ask little.
#[test]
fn previous_hops_take_turns_when_requests_wait() {
    let mut served = served();
    let mut out = Vec::new();
    // 50 ask for 100 a second each, of which 10 are looked at; one asks for one a second.
    let (mut asked, mut served_few, mut most_bytes) = (0, 0, 0);
    for ms in 0..20_000usize {
        served.pass(1);
        for n in 0..5 {
            let _ = served.queue(1 + 5 * ms + n, peer(n + 5 * (ms % 10)));
        }
        if ms % 1_000 == 500 {
            asked += 1;
            assert_eq!(served.queue(10_000_000 + ms, peer(999)), Ok(()), "{ms}");
        }
        out.extend(std::iter::from_fn(|| served.transit.next_request(served.now.mono)));
        most_bytes = most_bytes.max(served.transit.queue_bytes());
        for job in out.drain(..) {
            served_few += usize::from(job.request.from == peer(999));
            let result = Err(OpenError::Crypto(ramson_wire::crypto::CryptoError));
            let _ = served.transit.handle_opened(served.now, RequestDone { request: job.request, result }, |_| false);
        }
    }
    assert_eq!((served_few, asked), (20, 20), "all of those who ask little");
    assert!(most_bytes <= limits::REQUEST_QUEUE_BYTES && most_bytes > 10_000, "{most_bytes}");
}

/// Threats T76: many routers in one prefix are as one of a few.
#[test]
fn a_prefix_has_its_share_of_requests() {
    let mut served = served();
    let prefix = |ip: &str| Some(Prefix::from(ip.parse::<std::net::IpAddr>().unwrap()));
    let mut admitted = 0;
    for n in 0..1_000 {
        admitted += usize::from(served.transit.gate.admit(served.now.mono, peer(n), prefix("192.0.2.7")).is_ok());
    }
    assert_eq!(admitted, limits::REQUESTS_PER_PREFIX.1 as usize);
    assert!(served.transit.gate.admit(served.now.mono, peer(2_000), prefix("192.0.3.7")).is_ok());
    assert!(served.transit.gate.admit(served.now.mono, peer(2_001), None).is_ok(), "in a private network");
}

/// Requests that nobody waits for any more cost no key work.
#[test]
fn requests_that_waited_too_long_are_dropped() {
    let mut served = served();
    let count = limits::REQUEST_JOBS + 100;
    (0..count).for_each(|n| assert_eq!(served.queue(n, peer(n)), Ok(())));
    let jobs: Vec<_> = std::iter::from_fn(|| served.transit.next_request(served.now.mono)).collect();
    assert_eq!(jobs.len(), limits::REQUEST_JOBS);
    served.pass(u64::try_from(limits::REQUEST_PATIENCE.as_millis()).unwrap() + 1);
    served.transit.handle_request_failed(served.now.mono);
    assert!(served.transit.next_request(served.now.mono).is_none() && served.transit.queue_bytes() == 0);
    assert_eq!(served.transit.stats.refused.overloaded, 100);
}

/// A tunnel knows every message of its first 100 MB to its end.
#[test]
fn duplicates_are_known_over_a_life_of_100_megabytes() {
    let mut served = served();
    served.ask(0, peer(0), Role::Participant);
    let count = 100_000_000 / tunnel_data::DATA_LEN as u64;
    for n in 0..=count {
        served.pass(6);
        assert_eq!(served.data(0, n), Ok(()));
    }
    for n in [0, 1, count / 2, count] {
        assert_eq!(served.data(0, n), Err(TransitError::Duplicate), "{n}");
    }
    assert_eq!(served.transit.ivs as u64, count + 1);
    served.transit.remove(100);
    assert_eq!(served.transit.ivs, 0);
}

/// Where all tunnels together remember too much, each remembers little.
#[test]
fn the_memory_of_duplicates_is_bounded() {
    let mut served = served();
    served.ask(0, peer(0), Role::Participant);
    served.ask(1, peer(0), Role::Participant);
    (0..5_000).for_each(|n| assert_eq!(served.data(0, n), Ok(())));
    served.transit.ivs += limits::SEEN_IVS_TRANSIT; // of many others
    for n in 5_000..10_000 {
        assert_eq!(served.data(0, n), Ok(()));
        assert_eq!(served.data(1, n), Ok(()));
        assert_eq!(served.data(1, n), Err(TransitError::Duplicate));
    }
    let all: usize = [100, 101].iter().map(|id| served.transit.table[id].seen.len()).sum();
    assert_eq!(served.transit.ivs, limits::SEEN_IVS_TRANSIT + all);
    assert!(all <= 2 * 2 * limits::SEEN_IVS_CROWDED, "{all}");
    assert_eq!(served.data(0, 10_000 - limits::SEEN_IVS_CROWDED as u64), Err(TransitError::Duplicate));
}

/// Threats P-1, P-3: a flood of requests for tunnels that nobody uses leaves room for those who use theirs.
#[test]
fn p1_unused_tunnels_make_room_in_a_flood() {
    let mut served = served();
    served.transit.set_rules(served.now.mono, TransitRules { max_tunnels: 200, ..RULES });
    let mut id = 0;
    let mut ask = |served: &mut Served, from| {
        id += 1;
        served.ask(id, peer(from), Role::Participant).then_some(id)
    };
    let used: Vec<u32> = (0..20).filter_map(|_| ask(&mut served, 0)).collect();
    used.iter().for_each(|id| served.data(*id, 1).unwrap());
    // Few a second: each takes the place of the oldest that is unused, and the table is never full.
    for n in 0..1_000 {
        served.pass(500);
        assert!(ask(&mut served, 10 + n % 50).is_some(), "{n}");
        assert!(served.transit.len() * 100 <= 200 * limits::TRANSIT_SCARCE + 100);
        served.transit.check_books();
    }
    assert!(used.iter().all(|id| served.data(*id, 2).is_ok()), "those that are used stay");
    assert!(!served.transit.full);
    // Many at once, so that there is none of some age: what is left is for those who have few, or have carried ours.
    let accepted = (0..1_000).filter(|n| ask(&mut served, 10 + n % 50).is_some()).count();
    assert!(accepted <= 200, "{accepted}");
    assert!(ask(&mut served, 9_000).is_some(), "a new one has few");
    let many: Vec<bool> = (0..40).map(|_| ask(&mut served, 7_000).is_some()).collect();
    assert!(many[0] && !many[39]);
    served.transit.note_carried(&[peer(7_000)]);
    assert!(ask(&mut served, 7_000).is_some(), "it has carried tunnels of ours");
    (0..10_000).for_each(|n| served.transit.note_carried(&[peer(n)]));
    assert_eq!(served.transit.carriers.len(), limits::CARRIERS);
    served.transit.check_books();
}

/// Where tunnels are used, one previous hop may fill what others leave.
#[test]
fn a_table_of_used_tunnels_is_no_flood() {
    let mut served = served();
    served.transit.set_rules(served.now.mono, TransitRules { max_tunnels: 100, ..RULES });
    let mut used = 0;
    for id in 0..2_000 {
        if served.ask(id, peer(0), Role::Participant) {
            used += usize::from(served.data(id, 1).is_ok());
        }
    }
    assert_eq!((served.transit.len(), used), (100, 100));
}
