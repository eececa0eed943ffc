//! The table of foreign tunnels, driven to its limits.

use super::*;
use ramson_wire::tunnel::build_record::{RECORD_LEN, Record, seal_request};

const START_MS: u64 = 1_790_000_000_000;
const RULES: TransitRules =
    TransitRules { accept: true, max_tunnels: limits::TRANSIT, bytes_per_second: u64::MAX, private_network: false };

struct Served {
    transit: Transit,
    now: Now,
    rng: Rng,
    hash: Hash,
    public: PublicKey,
    sealed: Option<(Record, HopKeys)>,
}

fn served() -> Served {
    let mut rng = Rng::from_seed([3; 32]);
    let now = Now::new(Instant::ZERO, START_MS);
    let (hash, secret) = (Hash([1; 32]), SecretKey::random(&mut rng));
    let public = secret.public_key();
    let transit = Transit::new(now, hash, StaticKey { public, secret }, RULES, &mut rng);
    Served { transit, now, rng, hash, public, sealed: None }
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
        let mut record: Record = [0; RECORD_LEN];
        record[..16].copy_from_slice(&self.hash.as_bytes()[..16]);
        record[16..24].copy_from_slice(&n.to_le_bytes());
        let body = BuildRecords::new(vec![record]).unwrap().to_bytes();
        let message = Message { kind: Kind::SHORT_TUNNEL_BUILD, id: 1, expiration: 0, body };
        let RequestJob { from, index, records, .. } = self.transit.handle_build(self.now, from, &message)?;
        let result = Err(OpenError::Crypto(ramson_wire::crypto::CryptoError));
        let done = RequestDone { from, index, records, result };
        assert!(self.transit.handle_opened(self.now, done, |_| false).is_err());
        Ok(())
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
        };
        if self.sealed.is_none() {
            self.sealed = Some(seal_request(&request, &self.hash, &self.public, &mut self.rng).unwrap());
        }
        let (record, keys) = self.sealed.clone().unwrap();
        let records = BuildRecords::new(vec![record]).unwrap();
        let done = RequestDone { from, index: 0, records, result: Ok((request, keys)) };
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
    let share = u32::try_from(limits::TRANSIT_PER_PEER).unwrap();
    for id in 0..share {
        assert_eq!(ask(&mut served, id, peer(0)), id as usize + 1);
    }
    assert_eq!(ask(&mut served, share, peer(0)), limits::TRANSIT_PER_PEER, "declined");
    assert_eq!(ask(&mut served, share, peer(1)), limits::TRANSIT_PER_PEER + 1, "others have room");
    served.transit.remove(100);
    assert_eq!(ask(&mut served, share + 1, peer(0)), limits::TRANSIT_PER_PEER + 1, "the place of one that went");
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
        assert_eq!(served.transit.replays.len(), n + 1);
        if n % 10_000 == 9_999 {
            served.pass(5);
            let old = (n + 1).saturating_sub(count);
            assert_eq!(served.offer(old, peer(50)), Err(TransitError::Replayed), "{old} at {n}");
        }
    }
    assert_eq!(served.offer(2 * count, peer(51)), Ok(()));
    assert_eq!(served.transit.replays.len(), count + 1, "the older generation went");
    assert_eq!(served.offer(count, peer(51)), Err(TransitError::Replayed));
    assert_eq!(served.offer(0, peer(51)), Ok(()), "forgotten");
}

#[test]
fn full_begins_near_the_limit_and_ends_well_below() {
    let mut served = served();
    assert!(!served.transit.update_full() && served.transit.is_accepting(served.now.mono));
    served.transit.set_rules(served.now.mono, TransitRules { max_tunnels: 100, ..RULES });
    let mut id = 0;
    let mut grow = |served: &mut Served, to: usize| {
        while served.transit.len() < to {
            served.ask(id, peer(0), Role::Participant);
            id += 1;
        }
    };
    grow(&mut served, 94);
    assert!(!served.transit.update_full());
    grow(&mut served, 95);
    assert!(served.transit.update_full());
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
    assert!(served.transit.len() == 80 && served.transit.update_full(), "not yet");
    shrink(&mut served, 79);
    assert!(!served.transit.update_full());
    grow(&mut served, 94);
    assert!(!served.transit.update_full());
    for off in [
        TransitRules { accept: false, ..RULES },
        TransitRules { max_tunnels: 0, ..RULES },
        TransitRules { bytes_per_second: 0, ..RULES },
    ] {
        served.transit.set_rules(served.now.mono, off);
        assert!(served.transit.update_full() && !served.transit.is_accepting(served.now.mono), "{off:?}");
    }
}

/// What is carried keeps to the rate; beyond it nothing passes and nobody is accepted.
#[test]
fn carried_bytes_are_limited() {
    let mut served = served();
    assert!(served.ask(0, peer(0), Role::Participant) && served.ask(1, peer(0), Role::InboundGateway));
    let rate = 200 * tunnel_data::DATA_LEN as u64;
    served.transit.set_rules(served.now.mono, TransitRules { bytes_per_second: rate, ..RULES });
    let passed = (0..1_000).filter(|n| served.data(0, *n).is_ok()).count();
    assert_eq!(passed, 200, "one second of it at once");
    assert_eq!(served.data(0, 1_000), Err(TransitError::OverBandwidth));
    assert_eq!(served.gateway(1, 10), Err(TransitError::OverBandwidth));
    assert!(!served.transit.is_accepting(served.now.mono) && !served.ask(2, peer(0), Role::Participant));
    served.pass(500);
    assert!(served.ask(2, peer(0), Role::Participant), "room again");
    assert_eq!((1_001..2_000).filter(|n| served.data(0, *n).is_ok()).count(), 100);
    served.pass(1_000);
    assert_eq!(
        (0..1_000).filter(|_| served.gateway(1, 1).is_ok()).count(),
        200,
        "a small one may fill a tunnel message"
    );
    served.pass(1_000);
    assert_eq!(served.gateway(1, 50 * tunnel_data::DATA_LEN), Ok(()));
    assert_eq!((2_000..3_000).filter(|n| served.data(0, *n).is_ok()).count(), 150);
    // A wrong or repeated message takes nothing of it.
    served.pass(1_000);
    (0..1_000).for_each(|_| assert_eq!(served.data(0, 2_000), Err(TransitError::Duplicate)));
    (0..1_000).for_each(|n| assert_eq!(served.data(9, n), Err(TransitError::NoTunnel)));
    assert_eq!((3_000..4_000).filter(|n| served.data(0, *n).is_ok()).count(), 200);
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
