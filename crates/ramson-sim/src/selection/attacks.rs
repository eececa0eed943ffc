//! What attackers gain by being better than others, by making others look worse, and by failing what they cannot use:
//! P-15 to P-17 and P-20.

use super::model::{Fate, LIFE, Target, World};
use super::{Form, Property, at_most};
use ramson_core::rng::Rng;
use ramson_core::time::Duration;

/// Builds of honest hops that fail for other reasons, of a hundred.
const FAIL: usize = 8;

/// A tunnel of hops that take so many milliseconds each, and carry so much.
fn fate(rng: &mut Rng, hops: &[usize], ms: impl Fn(usize) -> u64, rate: impl Fn(usize) -> u32) -> Fate {
    let chance = |rng: &mut Rng| 50 + rng.below(100) as u64;
    // The test comes back by another tunnel, of three hops by chance.
    let out: u64 = hops.iter().map(|hop| ms(*hop) * chance(rng) / 100).sum();
    let back: u64 = (0..3).map(|_| chance(rng)).sum();
    let rate = hops.iter().map(|hop| rate(*hop)).min().unwrap_or(0);
    Fate { works: rng.below(100) >= FAIL, rtt: Duration::from_millis(out + back), rate }
}

/// Attackers with three times the bandwidth and half the delay, a tenth of all: their share of hops of client tunnels,
/// and of tunnels with both ends, after two days.
pub(super) fn p15(form: &Form) -> Vec<Property> {
    let world = World::new(form.pick(500, 100));
    let (clients, rounds) = (form.pick(40, 10), form.pick(2 * 144, 40));
    let [hops, ends] = form.each(|seed| {
        let mut target = Target::new(&world, clients, seed);
        let bad = target.some(world.len() / 10);
        let (mut all, mut hostile, mut tunnels, mut both) = (0.0, 0.0, 0.0, 0.0);
        for round in 0..rounds {
            let counts = round >= rounds / 4;
            target.play(
                LIFE,
                |rng, hops| {
                    let carried = 3_000 + rng.below(7_000) as u32;
                    let ms = |hop: usize| if bad[hop] { 50 } else { 100 };
                    fate(rng, hops, ms, |hop| if bad[hop] { 3 * carried } else { carried })
                },
                |hops, _| {
                    if counts {
                        all += hops.len() as f64;
                        hostile += hops.iter().filter(|hop| bad[**hop]).count() as f64;
                        tunnels += 1.0;
                        both += f64::from(u8::from(bad[hops[0]] && bad[hops[2]]));
                    }
                },
            );
        }
        [hostile / all, both / tunnels]
    });
    // Few clients have few first hops: three sigma of what they are by chance.
    let slack = if form.short { 0.06 } else { 0.0 };
    vec![at_most("p15-share-of-hops", &hops, 0.15 + slack), at_most("p15-both-ends", &ends, 0.0225 + slack)]
}

/// Twenty honest peers fail everything: how much of the choice moves to others in the next hour, and how much of it to
/// attackers, a tenth of all. The choice is sampled before and after.
pub(super) fn p16(form: &Form) -> Vec<Property> {
    let world = World::new(form.pick(400, 200));
    let (clients, rounds, samples) = (form.pick(40, 8), form.pick(144, 20), form.pick(300_000, 12_000));
    let [moved, hostile] = form.each(|seed| {
        let mut target = Target::new(&world, clients, seed);
        let bad = target.some(world.len() / 10);
        let honest: Vec<usize> = (0..world.len()).filter(|hop| !bad[*hop]).take(20).collect();
        let run = |target: &mut Target<'_>, rounds: usize, attacked: &[usize]| {
            for _ in 0..rounds {
                let dead = |hops: &[usize]| hops.iter().any(|hop| attacked.contains(hop));
                target.play(
                    LIFE,
                    |rng, hops| {
                        let fate = fate(rng, hops, |_| 100, |_| 5_000);
                        Fate { works: fate.works && !dead(hops), ..fate }
                    },
                    |_, _| {},
                );
            }
        };
        run(&mut target, rounds, &[]);
        let before = shares(&mut target, samples);
        run(&mut target, 6, &honest);
        let after = shares(&mut target, samples);
        let moved: f64 = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0;
        [moved, (0..world.len()).filter(|hop| bad[*hop]).map(|hop| after[hop]).sum()]
    });
    vec![at_most("p16-choice-that-moved", &moved, 0.2), at_most("p16-share-of-attackers", &hostile, 0.15)]
}

/// How often each router is drawn at this moment.
fn shares(target: &mut Target<'_>, samples: usize) -> Vec<f64> {
    let mut counts = vec![0.0; target.world.len()];
    for _ in 0..samples / 3 {
        let order = (target.rng.next_u64(), 1);
        target.free(order, false).into_iter().for_each(|hop| counts[hop] += 1.0);
    }
    let all: f64 = counts.iter().sum();
    counts.into_iter().map(|count| count / all).collect()
}

/// Among equals nobody ends up with much more than others: Gini's coefficient of hops that are not first ones, after a
/// day.
pub(super) fn p17(form: &Form) -> Vec<Property> {
    let world = World::new(form.pick(300, 60));
    let (clients, rounds) = (form.pick(40, 6), form.pick(144, 40));
    let [gini] = form.each(|seed| {
        let mut target = Target::new(&world, clients, seed);
        let mut counts = vec![0.0; world.len()];
        for _ in 0..rounds {
            target.play(
                LIFE,
                |rng, hops| fate(rng, hops, |_| 100, |_| 5_000),
                |hops, _| hops[1..].iter().for_each(|hop| counts[*hop] += 1.0),
            );
        }
        counts.sort_by(f64::total_cmp);
        let (n, all): (f64, f64) = (counts.len() as f64, counts.iter().sum());
        let ranked: f64 = counts.iter().zip(1..).map(|(count, rank)| count * f64::from(rank)).sum();
        [2.0 * ranked / (n * all) - (n + 1.0) / n]
    });
    vec![at_most("p17-gini", &gini, 0.35)]
}

/// A fifth of all routers fail every build in which they do not have both ends: the share of working tunnels that they
/// have is at most 1.3 times what it is where they fail none.
pub(super) fn p20(form: &Form) -> Vec<Property> {
    let world = World::new(form.pick(500, 100));
    let (clients, rounds) = (form.pick(40, 12), form.pick(7 * 144, 60));
    let [share, ratio] = form.each(|seed| {
        let mut target = Target::new(&world, clients, seed);
        let hostile = world.len() / 5;
        let bad = target.some(hostile);
        let (mut working, mut both) = (0.0, 0.0);
        for _ in 0..rounds {
            target.play(
                LIFE,
                |rng, hops| {
                    let fate = fate(rng, hops, |_| 100, |_| 5_000);
                    let theirs = bad[hops[0]] && bad[hops[2]];
                    let any = hops.iter().any(|hop| bad[*hop]);
                    Fate { works: theirs || (fate.works && !any), ..fate }
                },
                |hops, fate| {
                    working += f64::from(u8::from(fate.works));
                    both += f64::from(u8::from(fate.works && bad[hops[0]] && bad[hops[2]]));
                },
            );
        }
        let (m, n) = (hostile as f64, world.len() as f64);
        [both / working, both / working / (m * (m - 1.0) / (n * (n - 1.0)))]
    });
    let slack = if form.short { 1.5 } else { 0.0 };
    let mut measured = vec![at_most("p20-share-of-working-tunnels", &share, 0.052 + slack * 0.04)];
    measured.push(at_most("p20-against-no-drop", &ratio, 1.3 + slack));
    measured
}
