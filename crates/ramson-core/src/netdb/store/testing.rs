//! Stores and RouterInfos for tests.

use super::*;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{Mapping, RouterAddress, RouterIdentity};

pub(crate) const NOW: Now = Now { mono: Instant::from_micros(5_000_000), unix_ms: 1_750_000_000_000 };

/// What a test wants of a RouterInfo.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) seed: u64,
    pub(crate) published: u64,
    pub(crate) caps: &'static str,
    pub(crate) net: &'static str,
    pub(crate) version: &'static str,
    pub(crate) addresses: usize,
    /// The host of each address; none when it is empty.
    pub(crate) host: &'static str,
}

pub(crate) fn wish(seed: u64) -> Wish {
    Wish {
        seed,
        published: NOW.unix_ms - 60_000,
        caps: "LR",
        net: "2",
        version: "0.9.68",
        addresses: 1,
        host: "192.0.2.1",
    }
}

pub(crate) fn info(wish: &Wish) -> Arc<RouterInfo> {
    let seed = ramson_wire::crypto::hash::sha256(&wish.seed.to_le_bytes());
    let key = SigningKey::from_seed(seed);
    let host = Mapping::from_pairs([("host", wish.host)].into_iter().filter(|(_, host)| !host.is_empty()));
    let address = RouterAddress::new(3, "NTCP2", host.unwrap()).unwrap();
    let options = [("caps", wish.caps), ("netId", wish.net), ("router.version", wish.version)];
    let unsigned = Unsigned {
        identity: RouterIdentity::new(PublicKey([2; 32]), *key.public(), &mut Rng::from_seed(seed)),
        published: wish.published,
        addresses: vec![address; wish.addresses],
        options: Mapping::from_pairs(options.into_iter().filter(|(_, value)| !value.is_empty())).unwrap(),
    };
    Arc::new(unsigned.sign(&key).unwrap())
}

pub(crate) fn store(cap: usize) -> RouterStore {
    RouterStore::new(Hash([9; 32]), 2, cap, Rng::from_seed([4; 32]), NOW)
}

/// A store with `n` floodfills.
pub(crate) fn floodfills(n: u64) -> RouterStore {
    let mut store = store(limits::ROUTERS);
    for seed in 0..n {
        add(&mut store, &Wish { caps: "XfR", ..wish(seed) }, Source::Unasked);
    }
    store
}

/// Offers and runs all jobs.
pub(crate) fn add(store: &mut RouterStore, wish: &Wish, source: Source) -> Option<Refusal> {
    give(store, info(wish), source)
}

pub(crate) fn give(store: &mut RouterStore, info: Arc<RouterInfo>, source: Source) -> Option<Refusal> {
    if let Err(refusal) = store.offer(NOW, info, source) {
        return Some(refusal);
    }
    let mut refused = None;
    while let Some(event) = store.poll_event() {
        match event {
            Event::Job(job) => store.handle_job(NOW, job.run()),
            Event::Refused(_, refusal) => refused = Some(refusal),
            Event::Stored(_) => {}
        }
    }
    refused
}
