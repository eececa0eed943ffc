//! The scenario that runs for long under light and varied load, and looks for what grows.

use std::fmt::Write as _;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::figures::figure;
use crate::scenarios::{LEASES, STALL, number, one_transfer};
use crate::subject::{anonymous_of, descriptors_of, usage_of};
use crate::world::{Route, World, begin, idle, until_page};

/// Minutes of the whole run; `INTEROP_SOAK_MINUTES` changes it.
const MINUTES: u64 = 90;
/// Minutes before anything is judged: pools fill, tables reach the size of the network.
const WARM_UP: u64 = 20;
/// A slope over less time is the noise of the allocator, and the first builds are those of a router that knows nobody.
const JUDGED_FROM: u64 = 60;
/// From one request of a pair to its next one.
const PACE: Duration = Duration::from_secs(4);
/// What is asked of ours.
const MOST_GROWTH: f64 = 1.0;
const LEAST_BUILDS: f64 = 90.0;
/// Requests come and go between two samples, and with them a few descriptors.
const MOST_DESCRIPTORS: f64 = 40.0;
const MOST_DESCRIPTORS_AN_HOUR: f64 = 4.0;

/// The four processes that are looked at: who reads and who serves, of ours and of i2pd's.
const WHO: [&str; 4] = ["our-reader", "our-server", "i2pd-reader", "i2pd-server"];

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// Minutes since the start.
    minute: f64,
    ends: [End; 4],
}

/// One process at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    memory: f64,
    /// What of it is no file: the heap, and stacks.
    anonymous: f64,
    descriptors: f64,
    cpu: f64,
    /// Builds that succeeded and all that ended, where the router tells it.
    builds: Option<(f64, f64)>,
}

/// What the load of one pair of ends did.
#[derive(Debug, Default)]
struct Load {
    asked: AtomicU64,
    failed: AtomicU64,
}

/// Pages, files, streams left idle and downloads broken off, between all pairs, for a long time.
pub(crate) fn soak(world: &mut World) -> Result<String, String> {
    let minutes = number("INTEROP_SOAK_MINUTES", MINUTES).max(2);
    let (our_reader, our_site) = (world.ours(0)?, world.our_site(1)?);
    let (their_reader, their_site) = (world.theirs()?, world.their_site()?);
    let pairs = [
        (&our_reader, &our_site),
        (&our_reader, &their_site),
        (&their_reader, &our_site),
        (&their_reader, &their_site),
    ];
    for (route, site) in pairs {
        until_page(route, site, LEASES)?;
    }
    let loads: [Load; 4] = Default::default();
    let over = AtomicBool::new(false);
    let samples = std::thread::scope(|scope| {
        for ((number, (route, site)), load) in pairs.into_iter().enumerate().zip(&loads) {
            let over = &over;
            scope.spawn(move || keep_asking(route, site, number as u64, load, over));
        }
        let samples = watch(world, minutes);
        over.store(true, Ordering::Relaxed);
        samples
    })?;
    judge(&samples, &loads, minutes)
}

/// The load of one pair: a page each time, and something else besides now and then.
fn keep_asking(route: &Route, site: &str, number: u64, load: &Load, over: &AtomicBool) {
    let mut left_idle: Vec<Child> = Vec::new();
    let said = |what: Result<(), String>| {
        load.asked.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = what {
            load.failed.fetch_add(1, Ordering::Relaxed);
            println!("     request failed: {why}");
        }
    };
    let page = || begin(route, &format!("http://{site}/ping"), STALL, STALL, &[])?.end().map(|_| ());
    // The pairs do not do the same at the same moment.
    for turn in number * 5.. {
        let next = Instant::now() + PACE;
        said(page());
        match turn % 20 {
            3 => said(one_transfer(route, site, "down", turn, 2_000_000).and_then(|moved| moved.end().map(|_| ()))),
            8 => said(one_transfer(route, site, "up", turn, 300_000).and_then(|moved| moved.end().map(|_| ()))),
            11 => said(one_transfer(route, site, "down", turn, 20_000_000).map(|moved| {
                std::thread::sleep(Duration::from_millis(700));
                moved.abort();
            })),
            16 => said(idle(route, &format!("http://{site}/ping"), Duration::from_secs(150)).map(|child| {
                left_idle.push(child);
            })),
            _ => {}
        }
        left_idle.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        while Instant::now() < next {
            if over.load(Ordering::Relaxed) {
                for mut child in left_idle {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A sample each minute, each also a line of `soak.csv` in the folder of the run.
fn watch(world: &mut World, minutes: u64) -> Result<Vec<Sample>, String> {
    let (start, file) = (Instant::now(), world.net.run.join("soak.csv"));
    let mut table = String::from("minute");
    for who in WHO {
        let _ = write!(
            table,
            ",{who}-rss-mb,{who}-anonymous-mb,{who}-descriptors,{who}-cpu-s,{who}-builds-ok,{who}-builds-ended"
        );
    }
    table.push('\n');
    let mut samples = Vec::new();
    for minute in 0..=minutes {
        std::thread::sleep((start + Duration::from_secs(60 * minute)).saturating_duration_since(Instant::now()));
        let sample = Sample { minute: start.elapsed().as_secs_f64() / 60.0, ends: ends(world)? };
        let _ = write!(table, "{:.2}", sample.minute);
        for end in sample.ends {
            let builds = end.builds.map_or_else(|| ",".to_owned(), |(ok, ended)| format!("{ok},{ended}"));
            let End { memory, anonymous, descriptors, cpu, .. } = end;
            let _ = write!(table, ",{memory:.2},{anonymous:.2},{descriptors},{cpu:.2},{builds}");
        }
        table.push('\n');
        std::fs::write(&file, &table).map_err(|why| format!("{}: {why}", file.display()))?;
        let [a, b, c, d] = sample.ends.map(|end| format!("{:.1} MB, {} open", end.memory, end.descriptors));
        println!("     minute {minute}: ours {a}; {b}; i2pd {c}; {d}");
        samples.push(sample);
    }
    Ok(samples)
}

fn ends(world: &mut World) -> Result<[End; 4], String> {
    let mut ends = [End::default(); 4];
    for (number, end) in ends.iter_mut().enumerate() {
        let (pid, builds) = if number < 2 {
            let subject = world.subject(number)?;
            (subject.pid(), subject.builds())
        } else {
            (world.net.peer(["client", "server"][number - 2])?.pid, None)
        };
        let what = || format!("{} is gone", WHO[number]);
        let pid = pid.ok_or_else(what)?;
        let (cpu, memory) = usage_of(pid).ok_or_else(what)?;
        let anonymous = anonymous_of(pid).ok_or_else(what)?;
        *end = End { memory, anonymous, cpu, builds, descriptors: descriptors_of(pid).ok_or_else(what)? };
    }
    Ok(ends)
}

/// The figures, and whether they are what is asked.
fn judge(samples: &[Sample], loads: &[Load; 4], minutes: u64) -> Result<String, String> {
    let warm = (minutes / 4).min(WARM_UP) as f64;
    let settled: Vec<&Sample> = samples.iter().filter(|sample| sample.minute >= warm).collect();
    let of = |who: usize, field: fn(&End) -> f64| {
        settled.iter().map(|sample| (sample.minute / 60.0, field(&sample.ends[who]))).collect::<Vec<_>>()
    };
    // Of the two ends on each side, the worse one.
    let worse = |value: &dyn Fn(usize) -> f64| [value(0).max(value(1)), value(2).max(value(3))];
    let mut said = Vec::new();
    let mut figure = |name: &str, [ours, peer]: [f64; 2], unit: &str| said.push(figure(name, ours, peer, unit));
    let growth = worse(&|who| slope(&of(who, |end| end.memory)));
    figure("net-soak-growth", growth, "MB/h");
    figure("net-soak-growth-anonymous", worse(&|who| slope(&of(who, |end| end.anonymous))), "MB/h");
    figure("net-soak-memory", worse(&|who| highest(&of(who, |end| end.memory))), "MB");
    let open = |end: &End| end.descriptors;
    let spread = worse(&|who| highest(&of(who, open)) - lowest(&of(who, open)));
    figure("net-soak-descriptors-spread", spread, "count");
    let opened = worse(&|who| slope(&of(who, open)));
    figure("net-soak-descriptors-growth", opened, "count/h");
    let last = |who: usize| samples.last().map(|sample| sample.ends[who]).unwrap_or_default();
    let cpu = |who: usize| (last(who).cpu - samples[0].ends[who].cpu) * 60.0 / last_minute(samples);
    figure("net-soak-cpu", worse(&cpu), "s/h");
    let failed = |pair: usize| {
        let [asked, failed] = [&loads[pair].asked, &loads[pair].failed].map(|count| count.load(Ordering::Relaxed));
        failed as f64 * 100.0 / asked.max(1) as f64
    };
    figure("net-soak-failed", [failed(0), failed(3)], "%");
    let mixed = [failed(1), failed(2)];
    let built = [0, 1].map(|who| last(who).builds.map_or(0.0, |(ok, ended)| ok * 100.0 / ended.max(1.0)));
    let built = built[0].min(built[1]);
    println!("FIGURE net-soak-builds {built:.2} - %");
    let asked: u64 = loads.iter().map(|load| load.asked.load(Ordering::Relaxed)).sum();
    said.push(format!(
        "{built:.1} % of builds; {asked} requests, failed with one end of i2pd's: reading {:.2} %, serving {:.2} %",
        mixed[0], mixed[1]
    ));
    let said = said.join("; ");
    if minutes < JUDGED_FROM {
        return Ok(format!("(too short to judge it) {said}"));
    }
    if built < LEAST_BUILDS {
        return Err(format!("builds: {said}"));
    }
    if growth[0] > MOST_GROWTH {
        return Err(format!("memory grows: {said}"));
    }
    if spread[0] > MOST_DESCRIPTORS || opened[0] > MOST_DESCRIPTORS_AN_HOUR {
        return Err(format!("descriptors are not flat: {said}"));
    }
    Ok(said)
}

fn last_minute(samples: &[Sample]) -> f64 {
    samples.last().map_or(1.0, |sample| sample.minute.max(1.0))
}

fn highest(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|(_, value)| *value).fold(f64::MIN, f64::max)
}

fn lowest(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|(_, value)| *value).fold(f64::MAX, f64::min)
}

/// By least squares, in units of the second by units of the first.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let mean = |field: fn(&(f64, f64)) -> f64| points.iter().map(field).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let over: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let under: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if under > 0.0 { over / under } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run in which ours grows so many MB an hour and opens so many descriptors an hour.
    fn run(grows: f64, opens: f64, built: f64) -> Vec<Sample> {
        let sample = |minute: u64| {
            let hours = minute as f64 / 60.0;
            // The warm-up may grow as it likes.
            let early = if minute < WARM_UP { minute as f64 } else { WARM_UP as f64 };
            let memory = early + hours * grows;
            let end = End {
                memory,
                anonymous: memory,
                descriptors: 40.0 + hours * opens,
                cpu: hours,
                builds: Some((built, 100.0)),
            };
            Sample { minute: minute as f64, ends: [end; 4] }
        };
        (0..=MINUTES).map(sample).collect()
    }

    #[test]
    fn what_grows_fails() {
        let judged = |grows, opens, built| judge(&run(grows, opens, built), &Default::default(), MINUTES);
        assert!(judged(0.9, 0.0, 95.0).unwrap().contains("net-soak-growth 0.90"));
        assert!(judged(1.1, 0.0, 95.0).unwrap_err().starts_with("memory"));
        assert!(judged(0.0, 5.0, 95.0).unwrap_err().starts_with("descriptors"));
        assert!(judged(0.0, 0.0, 89.0).unwrap_err().starts_with("builds"));
    }

    #[test]
    fn slopes_are_of_least_squares() {
        assert!((slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) - 2.0).abs() < 1e-9);
        assert!((slope(&[(0.0, 0.0), (1.0, 3.0), (2.0, 0.0)])).abs() < 1e-9);
        assert_eq!(slope(&[(1.0, 1.0)]), 0.0);
    }
}
