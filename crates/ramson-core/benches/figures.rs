//! Figures of the core: `cargo xtask bench`. A line each, `FIGURE name ours peer unit`; there is no peer here, so `-`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program for the terminal"
)]

#[path = "figures/ssu2.rs"]
mod ssu2;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant as Clock;

use ramson_core::netdb::RouterStore;
use ramson_core::netdb::store::{Source, Verified};
use ramson_core::peers::guards::select_behind;
use ramson_core::peers::select::select;
use ramson_core::peers::{Guards, Profiles, Reach, SelfView, Terms};
use ramson_core::rng::Rng;
use ramson_core::time::{Instant, Now};
use ramson_wire::codec::Decode;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{Hash, Mapping, RouterIdentity, RouterInfo};

const NOW: Now = Now::new(Instant::from_micros(5_000_000), 1_790_000_000_000);
const ROUTERS: u64 = 50_000;

fn main() {
    // First, while the memory of the process is that of what is measured.
    ssu2::measure();
    // For a profile of that alone.
    if std::env::args().any(|arg| arg == "ssu2") {
        return;
    }
    let real = RouterInfo::from_bytes(include_bytes!("../../ramson-wire/tests/fixtures/routers/router1.dat")).unwrap();
    println!("FIGURE router-info-bytes {} - B", real.as_bytes().len());
    let before = resident();
    let mut store = RouterStore::new(Hash([9; 32]), 2, ROUTERS as usize, Rng::from_seed([1; 32]), NOW);
    for n in 0..ROUTERS {
        store.insert(NOW, like(&real, n), Source::Wanted).unwrap();
        while store.poll_event().is_some() {}
    }
    drop(store.take_dirty());
    let each = (resident() - before) as f64 / ROUTERS as f64;
    println!("FIGURE netdb-memory-per-router {each:.0} - B");

    let keys: Vec<Hash> = (0..10_000u32).map(|n| Hash::of(&n.to_be_bytes())).collect();
    let mut samples: Vec<f64> = keys
        .iter()
        .map(|key| {
            let start = Clock::now();
            black_box(store.closest_floodfills(key, 3, &[]));
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    println!("FIGURE closest-floodfills-50k {:.3} - us", samples[samples.len() / 2]);
    println!("FIGURE closest-floodfills-50k-p99 {:.3} - us", samples[samples.len() * 99 / 100]);
    println!("FIGURE netdb-floodfills {} - routers", store.floodfills());
    choice(&store);
}

/// The choice of three hops, and of those behind a destination's first hops.
fn choice(store: &RouterStore) {
    let (mut rng, profiles) = (Rng::from_seed([2; 32]), Profiles::default());
    let mut guards = Guards::new(rng.child("guards"));
    let reach = Reach::new(Reach::NTCP2_V4, Reach::NTCP2_V4);
    let terms = Terms {
        now: NOW,
        own: SelfView { hash: Hash([9; 32]), reach },
        inbound: false,
        length: 3,
        order: (1, 2),
        // All of them have the addresses of one router.
        allow_same_subnet: true,
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
    };
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..10_000 {
        let start = Clock::now();
        black_box(select(&terms, store.candidates(), &profiles, &mut rng)).unwrap();
        times[0].push(start.elapsed().as_secs_f64() * 1e6);
        let start = Clock::now();
        black_box(select_behind(&mut guards, &terms, true, store.candidates(), &profiles, &mut rng)).unwrap();
        times[1].push(start.elapsed().as_secs_f64() * 1e6);
    }
    for (times, name) in times.iter_mut().zip(["hops", "hops-behind-first"]) {
        times.sort_by(f64::total_cmp);
        println!("FIGURE choice-of-{name}-50k {:.3} - us", times[times.len() / 2]);
        println!("FIGURE choice-of-{name}-50k-p99 {:.3} - us", times[times.len() * 99 / 100]);
    }
}

/// A router with the addresses of a real one. One in three is a floodfill, as under a flood of them.
fn like(real: &RouterInfo, n: u64) -> Verified {
    let mut rng = Rng::from_seed(*Hash::of(&n.to_be_bytes()).as_bytes());
    let key = SigningKey::from_seed(rng.bytes());
    let caps = if n.is_multiple_of(3) { "XfR" } else { "LR" };
    let options = real.options().iter().filter(|(name, _)| !["caps", "netId", "router.version"].contains(name));
    let about = [("caps", caps), ("netId", "2"), ("router.version", "0.9.68")];
    let unsigned = Unsigned {
        identity: RouterIdentity::new(PublicKey(rng.bytes()), *key.public(), &mut rng),
        published: NOW.unix_ms - 60_000,
        addresses: real.addresses().to_vec(),
        options: Mapping::from_pairs(options.chain(about)).unwrap(),
    };
    // As it comes from the network: read from its bytes.
    let info = RouterInfo::from_bytes(unsigned.sign(&key).unwrap().as_bytes()).unwrap();
    Verified::new(Arc::new(info)).unwrap()
}

/// Bytes of memory that this process uses.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
