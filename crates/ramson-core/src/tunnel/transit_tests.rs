//! The table of foreign tunnels, driven to its limits.

use super::*;
use ramson_wire::tunnel::build_record::{RECORD_LEN, Record, seal_request};

const START_MS: u64 = 1_790_000_000_000;
const RULES: TransitRules = TransitRules { accept: true, max_tunnels: limits::TRANSIT, private_network: false };

struct Served {
    transit: Transit,
    now: Now,
    rng: Rng,
    hash: Hash,
    public: PublicKey,
}

fn served() -> Served {
    let mut rng = Rng::from_seed([3; 32]);
    let now = Now::new(Instant::ZERO, START_MS);
    let (hash, secret) = (Hash([1; 32]), SecretKey::random(&mut rng));
    let public = secret.public_key();
    let transit = Transit::new(now, hash, StaticKey { public, secret }, RULES, &mut rng);
    Served { transit, now, rng, hash, public }
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

/// One previous hop has its share of the table and no more, until its tunnels end.
#[test]
fn tunnels_of_one_previous_hop_are_limited() {
    let mut served = served();
    let request = Request {
        receive_tunnel: 1,
        next_tunnel: 7,
        next_hop: peer(1_000),
        role: Role::Participant,
        minutes: u32::try_from(START_MS / 60_000).unwrap(),
        send_message_id: 5,
    };
    let (record, keys) = seal_request(&request, &served.hash, &served.public, &mut served.rng).unwrap();
    let ask = |served: &mut Served, id: u32, from: Hash| {
        let minutes = u32::try_from(served.now.unix_ms / 60_000).unwrap();
        let request = Request { receive_tunnel: 100 + id, minutes, ..request.clone() };
        let records = BuildRecords::new(vec![record]).unwrap();
        let done = RequestDone { from, index: 0, records, result: Ok((request, keys.clone())) };
        served.transit.handle_opened(served.now, done, |_| false).unwrap();
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
