//! What is left to chance, and what first hops do over time: C1, C2, U1 to U3, E1, P-18 and P-19.

use super::model::{Fate, Target, World};
use super::{Form, Property, at_least, at_most, property};
use ramson_core::time::Duration;
use std::collections::BTreeMap;

const GOOD: Fate = Fate { works: true, rtt: Duration::from_millis(900), rate: 0 };

/// The share of tunnels with hostile first and last hops is what theory says, with a share of 1, 5, 10 and 20 % of
/// hostile routers (threats 4.3). Each tunnel is the first of a client of its own, so that they do not depend on each
/// other.
pub(super) fn c1(form: &Form) -> Vec<Property> {
    let world = World::new(form.pick(2_000, 400));
    let tunnels = form.pick(100_000, 1_500);
    let names = [(1, "c1-both-ends-1"), (5, "c1-both-ends-5"), (10, "c1-both-ends-10"), (20, "c1-both-ends-20")];
    let one = |(percent, name): (usize, &'static str)| {
        let hostile = world.len() * percent / 100;
        let [shares] = form.each(|seed| {
            let mut target = Target::new(&world, 0, seed);
            let bad = target.some(hostile);
            let hit = (0..tunnels).filter(|n| {
                target.clients = std::mem::take(&mut Target::new(&world, 1, seed << 32 | *n as u64).clients);
                let hops = target.tunnel(0, n % 2 == 0);
                bad[hops[0]] && bad[hops[2]]
            });
            [hit.count() as f64 / tunnels as f64]
        });
        let (m, n) = (hostile as f64, world.len() as f64);
        let theory = m * (m - 1.0) / (n * (n - 1.0));
        let sigma = (theory * (1.0 - theory) / (tunnels * shares.len()) as f64).sqrt();
        let bound = format!("{theory:.6} +- {:.6} (3 sigma)", 3.0 * sigma);
        property(name, &shares, bound, |value| (value - theory).abs() <= 3.0 * sigma)
    };
    names.into_iter().map(one).collect()
}

/// Of clients with 5 % hostile routers, one in five at most has a tunnel with two hostile ends in 30 days; with hops by
/// chance all of them have. A tunnel in so many is looked at.
pub(super) fn c2(form: &Form) -> Vec<Property> {
    let world = World::new(form.pick(2_000, 300));
    let (clients, pause) = (form.pick(200, 60), Duration::from_mins(form.pick(30, 360) as u64));
    let month = Duration::from_hours(30 * 24);
    let [day, all, first_hops, free] = form.each(|seed| {
        let mut target = Target::new(&world, clients, seed);
        let bad = target.some(world.len() / 20);
        let orders: Vec<_> = target.clients.iter().map(|client| client.order).collect();
        let (mut hit_day, mut hit, mut hit_free) = (vec![false; clients], vec![false; clients], vec![false; clients]);
        let mut first: Vec<Vec<usize>> = vec![Vec::new(); clients];
        let start = target.now;
        while target.now.mono.since(start.mono) < month {
            for client in 0..clients {
                let hops = target.tunnel(client, false);
                target.note(Some(client), &hops, &GOOD);
                hit[client] |= bad[hops[0]] && bad[hops[2]];
                if !first[client].contains(&hops[0]) {
                    first[client].push(hops[0]);
                }
                let hops = target.free(orders[client], false);
                hit_free[client] |= bad[hops[0]] && bad[hops[2]];
            }
            target.now = target.now.later(pause);
            if target.now.mono.since(start.mono) < Duration::from_hours(24) {
                hit_day.clone_from(&hit);
            }
        }
        let share = |hit: &[bool]| hit.iter().filter(|hit| **hit).count() as f64 / clients as f64;
        let met: usize = first.iter().map(Vec::len).sum();
        [share(&hit_day), share(&hit), met as f64 / clients as f64, share(&hit_free)]
    });
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let fifth = mean(&free) / 5.0;
    // Clients are few in the short form: three sigma of them.
    let slack = if form.short { 3.0 * (0.18 * 0.82 / (clients * day.len()) as f64).sqrt() } else { 0.0 };
    vec![
        at_most("c2-exposed-in-a-day", &day, 0.15 + slack),
        property("c2-exposed-in-30-days", &all, format!("<= {:.3}, a fifth of hops by chance", 0.2 + slack), |value| {
            value <= 0.2 + slack && (form.short || value <= fifth)
        }),
        property("c2-exposed-by-chance-in-30-days", &free, "for comparison".into(), |_| true),
        at_most("c3-first-hops-in-30-days", &first_hops, 20.0),
    ]
}

/// Every router is as likely as any other where nothing is known of them: chi square, and the size of the set of which
/// hops seem to be drawn.
pub(super) fn u1(form: &Form) -> Vec<Property> {
    let world = World::new(form.pick(1_000, 100));
    let hops = form.pick(100_000, 9_000);
    let [p, set] = form.each(|seed| {
        let mut target = Target::new(&world, 0, seed);
        let mut counts = vec![0_u32; world.len()];
        for n in 0..hops / 3 {
            let order = (target.rng.next_u64(), 1);
            target.free(order, n % 2 == 0).into_iter().for_each(|hop| counts[hop] += 1);
        }
        let (n, all) = (world.len() as f64, f64::from(counts.iter().sum::<u32>()));
        let mean = all / n;
        let chi: f64 = counts.iter().map(|count| (f64::from(*count) - mean).powi(2) / mean).sum();
        // Without the share that chance adds.
        let pairs: f64 = counts.iter().map(|count| f64::from(*count) * (f64::from(*count) - 1.0)).sum();
        [upper_tail(chi, n - 1.0), (all * (all - 1.0) / pairs / n).min(1.0)]
    });
    let least = 0.001 / p.len() as f64;
    let worst = p.iter().copied().fold(1.0, f64::min);
    vec![
        property("u1-chi-square-p", &p, format!("every one > {least:.6}"), |_| worst > least),
        at_least("u1-effective-set", &set, if form.short { 0.96 } else { 0.99 }),
    ]
}

/// The chance of a chi square as large as this, by Wilson and Hilferty.
fn upper_tail(chi: f64, freedom: f64) -> f64 {
    let a = 2.0 / (9.0 * freedom);
    let z = ((chi / freedom).cbrt() - (1.0 - a)) / a.sqrt();
    // Abramowitz and Stegun 26.2.17.
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let terms = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum: f64 = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    let tail = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum;
    if z >= 0.0 { tail } else { 1.0 - tail }
}

/// For each pair of routers, which one is nearer to us is as likely as the reverse, and so is who is first and last.
pub(super) fn u2(form: &Form) -> Vec<Property> {
    let world = World::new(6);
    let tunnels = form.pick(100_000, 6_000);
    let [order, first, last] = form.each(|seed| {
        let mut target = Target::new(&world, 0, seed);
        let (mut nearer, mut both, mut ends) = ([[0.0; 6]; 6], [[0.0; 6]; 6], [[0.0; 6]; 2]);
        for n in 0..tunnels {
            let order = (target.rng.next_u64(), target.rng.next_u64());
            let hops = target.free(order, n % 2 == 0);
            for (at, a) in hops.iter().enumerate() {
                for b in &hops[at + 1..] {
                    nearer[*a][*b] += 1.0;
                    both[*a][*b] += 1.0;
                    both[*b][*a] += 1.0;
                }
            }
            ends[0][hops[0]] += 1.0;
            ends[1][hops[2]] += 1.0;
        }
        let pairs = (0..6).flat_map(|a| (0..6).filter(move |b| a != *b).map(move |b| (a, b)));
        let worst = pairs.map(|(a, b)| (nearer[a][b] / both[a][b] - 0.5_f64).abs()).fold(0.0, f64::max);
        let off = |counts: [f64; 6]| {
            let share = counts.map(|count| (count / tunnels as f64 - 1.0 / 6.0).abs());
            share.into_iter().fold(0.0, f64::max)
        };
        [worst, off(ends[0]), off(ends[1])]
    });
    let bound = if form.short { 0.06 } else { 0.02 };
    vec![
        at_most("u2-order-off-by", &order, bound),
        at_most("u2-first-off-by", &first, bound),
        at_most("u2-last-off-by", &last, bound),
    ]
}

/// No tunnel has a router twice, or two of one subnet or family.
pub(super) fn u3(form: &Form) -> Vec<Property> {
    let world = World::crowded(300, 60, 5);
    let tunnels = form.pick(100_000, 1_500);
    let [broken] = form.each(|seed| {
        let mut target = Target::new(&world, 10, seed);
        let broken = (0..tunnels).filter(|n| {
            let hops = target.tunnel(n % 10, n % 2 == 0);
            let pairs = [(0, 1), (0, 2), (1, 2)].map(|(a, b): (usize, usize)| (hops[a], hops[b]));
            pairs.into_iter().any(|(a, b)| {
                let family = world.families[a].is_some() && world.families[a] == world.families[b];
                a == b || world.subnets[a] == world.subnets[b] || family
            })
        });
        [broken.count() as f64]
    });
    vec![at_most("u3-tunnels-that-break-a-rule", &broken, 0.0)]
}

/// The entropy of last hops, and of first hops, against that of all routers.
pub(super) fn e1(form: &Form) -> Vec<Property> {
    let world = World::new(form.pick(2_000, 200));
    let tunnels = form.pick(100_000, 3_000);
    let [last, first] = form.each(|seed| {
        let mut target = Target::new(&world, 20, seed);
        let mut counts = [vec![0_u32; world.len()], vec![0_u32; world.len()]];
        for n in 0..tunnels {
            let client = n % 20;
            let hops = target.tunnel(client, n % 2 == 0);
            let rtt = Duration::from_millis(500 + target.rng.below(800) as u64);
            target.note(Some(client), &hops, &Fate { works: true, rtt, rate: 0 });
            counts[0][hops[2]] += 1;
            counts[1][hops[0]] += 1;
            if client == 19 {
                target.now = target.now.later(Duration::from_secs(50));
            }
        }
        counts.map(|counts| entropy(&counts) / (world.len() as f64).log2())
    });
    vec![
        at_least("e1-last-hops", &last, 0.9),
        property("e1-first-hops-of-20-clients", &first, "for comparison".into(), |_| true),
    ]
}

/// In bits, with what a finite sample lacks added (Miller and Madow).
fn entropy(counts: &[u32]) -> f64 {
    let all: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    let seen = counts.iter().filter(|count| **count > 0);
    let plain: f64 = seen.clone().map(|count| f64::from(*count) / all).map(|p| -p * p.log2()).sum();
    plain + (seen.count() as f64 - 1.0) / (2.0 * all * std::f64::consts::LN_2)
}

/// Two identities that were ground for any relation of their hashes are at opposite ends one time in three.
pub(super) fn p18(form: &Form) -> Vec<Property> {
    let world = World::new(24);
    let far = |at: usize| {
        let distance = |other: &usize| world.hashes[at].distance(&world.hashes[*other]);
        let others = (0..24).filter(|other| *other != at);
        (others.clone().max_by_key(distance).unwrap_or(0), others.min_by_key(distance).unwrap_or(0))
    };
    let tunnels = form.pick(100_000, 6_000);
    let [far_apart, near] = form.each(|seed| {
        let mut target = Target::new(&world, 0, seed);
        let partners: Vec<_> = (0..24).map(far).collect();
        let (mut both, mut opposite) = ([0.0; 2], [0.0; 2]);
        for n in 0..tunnels {
            let order = (target.rng.next_u64(), target.rng.next_u64());
            let hops = target.free(order, n % 2 == 0);
            for (at, a) in hops.iter().enumerate() {
                for (kind, partner) in [partners[*a].0, partners[*a].1].into_iter().enumerate() {
                    if let Some(other) = hops.iter().position(|hop| *hop == partner) {
                        both[kind] += 1.0;
                        opposite[kind] += f64::from(u8::from(at.abs_diff(other) == 2));
                    }
                }
            }
        }
        [opposite[0] / both[0], opposite[1] / both[1]]
    });
    let slack = if form.short { 0.06 } else { 0.02 };
    let third = |value: f64| (value - 1.0 / 3.0).abs() <= slack;
    let bound = format!("0.333 +- {slack}");
    vec![
        property("p18-opposite-ends-of-far-hashes", &far_apart, bound.clone(), third),
        property("p18-opposite-ends-of-near-hashes", &near, bound, third),
    ]
}

/// Within a pool the order of two routers never turns round, with first hops and without; over pools it is chance.
pub(super) fn p19(form: &Form) -> Vec<Property> {
    let world = World::new(40);
    let (pools, tunnels) = (form.pick(200, 12), form.pick(2_000, 120));
    let [turned, same] = form.each(|seed| {
        let mut target = Target::new(&world, pools, seed);
        let (mut turned, mut nearer_of_two) = (0.0, 0.0);
        for pool in 0..pools {
            let order = target.clients[pool].order;
            for with_first_hops in [false, true] {
                let mut nearer: BTreeMap<(usize, usize), bool> = BTreeMap::new();
                for n in 0..tunnels {
                    let inbound = n % 2 == 0;
                    let hops = if with_first_hops { target.tunnel(pool, inbound) } else { target.free(order, inbound) };
                    for (at, a) in hops.iter().enumerate() {
                        for b in &hops[at + 1..] {
                            let before = *nearer.entry((*a.min(b), *a.max(b))).or_insert(a < b);
                            turned += f64::from(u8::from(before != (a < b)));
                        }
                    }
                }
                if !with_first_hops {
                    let first = nearer.values().filter(|nearer| **nearer).count();
                    nearer_of_two += first as f64 / nearer.len() as f64;
                }
            }
        }
        [turned, nearer_of_two / pools as f64]
    });
    let slack = if form.short { 0.1 } else { 0.02 };
    vec![
        at_most("p19-turned-in-a-pool", &turned, 0.0),
        property("p19-same-order-over-pools", &same, format!("0.5 +- {slack}"), |value| (value - 0.5).abs() <= slack),
    ]
}
