//! The routers of a world, and the target that builds tunnels through them.

use ramson_core::peers::guards::select_behind;
use ramson_core::peers::select::{Selection, SelfView, Terms, select};
use ramson_core::peers::{Candidates, Guards, Profiles, Reach};
use ramson_core::rng::Rng;
use ramson_core::time::{Duration, Instant, Now};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{Hash, Mapping, RouterAddress, RouterIdentity, RouterInfo, base64};
use std::collections::BTreeMap;

pub(super) const START: Now = Now::new(Instant::from_micros(1 << 40), 1_790_000_000_000);
/// The life of a tunnel.
pub(super) const LIFE: Duration = Duration::from_secs(600);

/// Routers, by number.
pub(super) struct World {
    pub(super) candidates: Candidates,
    numbers: BTreeMap<Hash, usize>,
    pub(super) hashes: Vec<Hash>,
    /// The /16 and the family of each.
    pub(super) subnets: Vec<usize>,
    pub(super) families: Vec<Option<usize>>,
}

impl World {
    /// So many routers, each in a subnet of its own.
    pub(super) fn new(routers: usize) -> Self {
        Self::crowded(routers, routers, 0)
    }

    /// So many routers in so many subnets; of each ten, the first is of one of `families`.
    pub(super) fn crowded(routers: usize, subnets: usize, families: usize) -> Self {
        let mut rng = Rng::from_seed([77; 32]);
        let mut world = Self {
            candidates: Candidates::new(&mut rng),
            numbers: BTreeMap::new(),
            hashes: Vec::new(),
            subnets: Vec::new(),
            families: Vec::new(),
        };
        for n in 0..routers {
            let (subnet, family) = (n % subnets, (families > 0 && n % 10 == 0).then(|| n / 10 % families.max(1)));
            // All of them are well formed.
            let Some(info) = info(n, subnet, family, &mut rng) else { continue };
            world.numbers.insert(info.hash(), n);
            world.hashes.push(info.hash());
            world.subnets.push(subnet);
            world.families.push(family);
            world.candidates.insert(&info);
        }
        world
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    fn number(&self, hash: &Hash) -> usize {
        self.numbers[hash]
    }
}

fn info(n: usize, subnet: usize, family: Option<usize>, rng: &mut Rng) -> Option<RouterInfo> {
    let signing = SigningKey::from_seed(rng.bytes());
    let identity = RouterIdentity::new(PublicKey(rng.bytes()), *signing.public(), rng);
    let host = format!("{}.{}.{}.{}", 20 + subnet / 250, subnet % 250, n / 250 % 250, 1 + n % 250);
    let (s, i) = (base64::encode(&[7; 32]), base64::encode(&[1; 16]));
    let pairs = vec![("host", host.as_str()), ("i", &i), ("port", "9000"), ("s", &s), ("v", "2")];
    let address = RouterAddress::new(3, "NTCP2", Mapping::from_pairs(pairs).ok()?).ok()?;
    let family = family.map(|family| format!("family-{family}"));
    let mut options = vec![("caps", "PR"), ("netId", "99"), ("router.version", "0.9.68")];
    options.extend(family.as_deref().map(|family| ("family", family)));
    let options = Mapping::from_pairs(options).ok()?;
    let unsigned = Unsigned { identity, published: START.unix_ms, addresses: vec![address], options };
    unsigned.sign(&signing).ok()
}

/// A destination of the target.
pub(super) struct Client {
    guards: Guards,
    pub(super) order: (u64, u64),
}

/// One router, and what it knows.
pub(super) struct Target<'a> {
    pub(super) world: &'a World,
    pub(super) profiles: Profiles,
    pub(super) clients: Vec<Client>,
    pub(super) rng: Rng,
    pub(super) now: Now,
}

/// What becomes of a build.
pub(super) struct Fate {
    /// All hops have agreed, and the tunnel carries.
    pub(super) works: bool,
    pub(super) rtt: Duration,
    pub(super) rate: u32,
}

impl<'a> Target<'a> {
    pub(super) fn new(world: &'a World, clients: usize, seed: u64) -> Self {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut rng = Rng::from_seed(bytes);
        let client = |rng: &mut Rng| Client {
            guards: Guards::new(rng.child("guards")),
            order: (rng.next_u64(), rng.next_u64()),
        };
        let clients = (0..clients).map(|_| client(&mut rng)).collect();
        Self { world, profiles: Profiles::default(), clients, rng, now: START }
    }

    /// So many routers by chance: those that are hostile.
    pub(super) fn some(&mut self, routers: usize) -> Vec<bool> {
        let mut numbers: Vec<usize> = (0..self.world.len()).collect();
        self.rng.shuffle(&mut numbers);
        let mut chosen = vec![false; self.world.len()];
        numbers.into_iter().take(routers).for_each(|n| chosen[n] = true);
        chosen
    }

    /// The hops of a tunnel that begins with no first hop, the nearest to us first.
    pub(super) fn free(&mut self, order: (u64, u64), inbound: bool) -> Vec<usize> {
        let terms = terms(self.now, order, inbound);
        let hops = select(&terms, &self.world.candidates, &self.profiles, &mut self.rng);
        self.numbers(hops, inbound)
    }

    /// The hops of a tunnel of a client, the nearest to us first.
    pub(super) fn tunnel(&mut self, client: usize, inbound: bool) -> Vec<usize> {
        let Client { guards, order } = &mut self.clients[client];
        let terms = terms(self.now, *order, inbound);
        let hops = select_behind(guards, &terms, true, &self.world.candidates, &self.profiles, &mut self.rng);
        self.numbers(hops, inbound)
    }

    fn numbers(&self, hops: Option<Vec<Selection>>, inbound: bool) -> Vec<usize> {
        assert!(hops.is_some(), "there are enough routers");
        let mut numbers: Vec<usize> = hops.iter().flatten().map(|hop| self.world.number(&hop.hash)).collect();
        if inbound {
            numbers.reverse();
        }
        numbers
    }

    /// Tells profiles and first hops what has become of a build, as the router does.
    pub(super) fn note(&mut self, client: Option<usize>, hops: &[usize], fate: &Fate) {
        let hashes: Vec<Hash> = hops.iter().map(|hop| self.world.hashes[*hop]).collect();
        for hash in &hashes {
            if fate.works {
                self.profiles.note_agreed(self.now, hash);
                self.profiles.note_carried(self.now, hash);
                self.profiles.note_speed(self.now, hash, fate.rtt, fate.rate);
            } else {
                self.profiles.note_unanswered(self.now, hash);
            }
        }
        if let Some(client) = client {
            self.clients[client].guards.handle_outcome(self.now, &hashes[0], fate.works);
        }
    }

    /// Lets every client build one tunnel each way in this time; a build that fails is followed by another one, up to a
    /// few times. `fate` says what becomes of each; `seen` is told of each.
    pub(super) fn play(
        &mut self,
        time: Duration,
        mut fate: impl FnMut(&mut Rng, &[usize]) -> Fate,
        mut seen: impl FnMut(&[usize], &Fate),
    ) {
        for client in 0..self.clients.len() {
            for inbound in [false, true] {
                for _ in 0..8 {
                    let hops = self.tunnel(client, inbound);
                    let fate = fate(&mut self.rng, &hops);
                    self.note(Some(client), &hops, &fate);
                    seen(&hops, &fate);
                    if fate.works {
                        break;
                    }
                }
            }
        }
        self.now = self.now.later(time);
    }
}

fn terms(now: Now, order: (u64, u64), inbound: bool) -> Terms<'static> {
    let reach = Reach::new(Reach::NTCP2_V4, Reach::NTCP2_V4);
    Terms {
        now,
        own: SelfView { hash: Hash([9; 32]), reach },
        inbound,
        length: 3,
        order,
        allow_same_subnet: false,
        endpoint_dials: None,
        endpoint_dials_us: false,
        exclude: &[],
        nearest: None,
        aside: &[],
        exploratory: false,
        connected: &|_| false,
        sessions: &Vec::new,
        at_home: &Vec::new,
        unreachable: &|_| false,
    }
}
