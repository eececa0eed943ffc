//! What the report shows of a scenario's runs.

use crate::plots::{Axes, FIRST, Line, SECOND, THIRD, bars, lines};
use ramson_sim::measure::median;
use ramson_sim::{Outcome, Passage, Sample};

pub(crate) struct Figure {
    pub(crate) title: &'static str,
    pub(crate) svg: String,
    pub(crate) caption: String,
}

/// All figures for which there is something to be shown.
pub(crate) fn all(outcomes: &[Outcome]) -> Result<Vec<Figure>, String> {
    let figures = [builds(outcomes)?, opening(outcomes)?, throughput(outcomes)?, look_ups(outcomes)?];
    let more = [hops(outcomes)?, compromise(outcomes)?, netdb(outcomes)?];
    Ok(figures.into_iter().chain(more).flatten().collect())
}

fn builds(outcomes: &[Outcome]) -> Result<Option<Figure>, String> {
    let (mean, low, high) =
        over_time(&smooth(outcomes), |s| s.built as f64 / (s.built + s.declined + s.timed_out + s.starved) as f64);
    let Some(end) = last(&mean) else { return Ok(None) };
    let axes = Axes { x: ("minutes", 0.0, end), y: ("", 0.0, 1.02), percent: true };
    let svg = lines(&axes, &[Line::new(mean, FIRST)], Some((low, high)))?;
    let caption = "<i class=\"first\"></i>The share of honest routers' builds that end in a tunnel, over five minutes: the \
                   mean of all worlds, and from the worst to the best of them.";
    Ok(Some(Figure { title: "Builds that succeed", svg, caption: caption.to_owned() }))
}

fn opening(outcomes: &[Outcome]) -> Result<Option<Figure>, String> {
    let times = outcomes.iter().flat_map(|o| &o.transfers).filter_map(Passage::connect);
    let caption =
        "The share of streams that are open after so long; look-up of the LeaseSet and six hops each way are in it.";
    distribution(times.collect(), "seconds", "Latency: until a stream is open", caption)
}

fn throughput(outcomes: &[Outcome]) -> Result<Option<Figure>, String> {
    let whole = outcomes.iter().flat_map(|o| &o.transfers).filter(|passage| passage.whole);
    let caption = "The share of streams that are no faster than this, each way, of those that carried every byte.";
    distribution(whole.map(Passage::throughput).collect(), "kB/s", "Throughput of streams", caption)
}

fn look_ups(outcomes: &[Outcome]) -> Result<Option<Figure>, String> {
    let all = || outcomes.iter().flat_map(|o| &o.look_ups);
    let found = all().filter(|look_up| look_up.found);
    let times: Vec<f64> = found.map(|look_up| look_up.took.as_secs_f64()).collect();
    let caption = format!(
        "The share of successful look-ups of a LeaseSet that are over after so long. {} of {} found what they looked for.",
        times.len(),
        all().count()
    );
    distribution(times, "seconds", "Look-ups", &caption)
}

fn distribution(
    mut values: Vec<f64>,
    unit: &'static str,
    title: &'static str,
    caption: &str,
) -> Result<Option<Figure>, String> {
    if values.len() < 5 {
        return Ok(None);
    }
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let most = values[(values.len() * 99 / 100).min(values.len() - 1)].max(1e-6) * 1.05;
    let mut points = vec![(0.0, 0.0)];
    for (rank, value) in values.iter().enumerate().take_while(|(_, value)| **value <= most) {
        points.push((*value, rank as f64 / n));
        points.push((*value, (rank + 1) as f64 / n));
    }
    let middle = median(values.iter().copied());
    let axes = Axes { x: (unit, 0.0, most), y: ("", 0.0, 1.02), percent: true };
    let halfway = Line::dashed(vec![(middle, 0.0), (middle, 0.5)], SECOND);
    let svg = lines(&axes, &[halfway, Line::new(points, FIRST)], None)?;
    let caption = format!("{caption} <i class=\"second\"></i>The median of {} is {middle:.2} {unit}.", values.len());
    Ok(Some(Figure { title, svg, caption }))
}

/// How often routers are hops, beside what pure chance makes of it.
fn hops(outcomes: &[Outcome]) -> Result<Option<Figure>, String> {
    let mut relative = Vec::new();
    let mut expected = 0.0;
    for outcome in outcomes.iter().filter(|o| !o.hops.is_empty()) {
        let mean = outcome.hops.values().sum::<u64>() as f64 / outcome.hops.len() as f64;
        expected = mean;
        relative.extend(outcome.hops.values().map(|count| *count as f64 / mean));
    }
    if relative.is_empty() {
        return Ok(None);
    }
    const BINS: usize = 25;
    let most = relative.iter().copied().fold(2.0, f64::max).min(6.0);
    let width = most / BINS as f64;
    let mut counts = [0.0; BINS];
    for value in &relative {
        let bin = ((value / width) as usize).min(BINS - 1);
        counts[bin] += 1.0 / relative.len() as f64;
    }
    let shown: Vec<_> =
        counts.iter().enumerate().map(|(n, share)| (n as f64 * width, (n + 1) as f64 * width, *share)).collect();
    // The normal approximation of Poisson's law with this mean, in the bins' width.
    let normal =
        |x: f64| (-(x - 1.0).powi(2) * expected / 2.0).exp() * (expected / std::f64::consts::TAU).sqrt() * width;
    let chance: Vec<_> = (0..=200).map(|n| f64::from(n) / 200.0 * most).map(|x| (x, normal(x))).collect();
    let tallest = counts.iter().copied().fold(0.0, f64::max).max(normal(1.0)) * 1.1;
    let axes = Axes { x: ("uses of a router, relative to the mean", 0.0, most), y: ("", 0.0, tallest), percent: true };
    let svg = bars(&axes, &shown, &Line::new(chance, SECOND))?;
    let caption = format!(
        "<i class=\"first\"></i>The share of honest routers that are hops so often ({expected:.0} times on average). \
         <i class=\"second\"></i>What it would be if every router were as likely as any other."
    );
    Ok(Some(Figure { title: "Choice of hops", svg, caption }))
}

fn compromise(outcomes: &[Outcome]) -> Result<Option<Figure>, String> {
    let Some(first) = outcomes.iter().find(|outcome| outcome.hostile > 0) else { return Ok(None) };
    let (hostile, all) = (first.hostile as f64, (first.hostile + first.routers) as f64);
    let (c, both) = (hostile / all, hostile * (hostile - 1.0) / (all * (all - 1.0)));
    let hop_share = cumulative(outcomes, |s| (s.hostile_hops, s.hops));
    let end_share = cumulative(outcomes, |s| (s.hostile_ends, s.tunnels));
    let Some(end) = last(&hop_share) else { return Ok(None) };
    let most = hop_share.iter().chain(&end_share).map(|(_, y)| *y).fold(c, f64::max).max(0.01) * 1.15;
    let axes = Axes { x: ("minutes", 0.0, end), y: ("", 0.0, most.min(1.02)), percent: true };
    let level = |y: f64, colour| Line::dashed(vec![(0.0, y), (end, y)], colour);
    let shown = [level(c, FIRST), level(both, SECOND), Line::new(hop_share, FIRST), Line::new(end_share, SECOND)];
    let svg = lines(&axes, &shown, None)?;
    let caption = format!(
        "Up to then, <i class=\"first\"></i>the share of hostile hops, and <i class=\"second\"></i>of tunnels with hostile \
         routers at both ends. Dashed: {:.1} % and {:.2} %, as theory has it when {hostile} of {all} are hostile and \
         every router is as likely as any other.",
        100.0 * c,
        100.0 * both
    );
    Ok(Some(Figure { title: "Compromise, against theory", svg, caption }))
}

fn netdb(outcomes: &[Outcome]) -> Result<Option<Figure>, String> {
    let Some(first) = outcomes.first() else { return Ok(None) };
    let all = (first.routers + first.hostile) as f64;
    let (known, low, high) = over_time(outcomes, |s| s.known / all);
    let (hostile, ..) = over_time(outcomes, |s| s.known_hostile / s.known);
    let (published, ..) = over_time(outcomes, |s| s.published as f64 / s.destinations as f64);
    let Some(end) = last(&known) else { return Ok(None) };
    let most = known.iter().map(|(_, y)| *y).fold(1.0, f64::max) * 1.02;
    let axes = Axes { x: ("minutes", 0.0, end), y: ("", 0.0, most), percent: true };
    let mut shown = vec![Line::new(known, FIRST)];
    let mut caption = "<i class=\"first\"></i>How much of the network an honest router knows.".to_owned();
    if first.hostile > 0 {
        shown.push(Line::new(hostile, SECOND));
        caption += " <i class=\"second\"></i>The share of hostile routers in it.";
    }
    if !published.is_empty() {
        shown.push(Line::new(published, THIRD));
        caption += " <i class=\"third\"></i>Destinations whose LeaseSet a floodfill has confirmed.";
    }
    let svg = lines(&axes, &shown, Some((low, high)))?;
    Ok(Some(Figure { title: "Health of the netDb", svg, caption }))
}

/// Each minute with the four before it: few tunnels are built in one alone.
fn smooth(outcomes: &[Outcome]) -> Vec<Outcome> {
    let window = |samples: &[Sample], at: usize| {
        let mut sum = samples[at];
        for sample in &samples[at.saturating_sub(4)..at] {
            sum.built += sample.built;
            sum.declined += sample.declined;
            sum.timed_out += sample.timed_out;
            sum.starved += sample.starved;
        }
        sum
    };
    let smooth = |outcome: &Outcome| Outcome {
        samples: (0..outcome.samples.len()).map(|at| window(&outcome.samples, at)).collect(),
        ..Outcome::default()
    };
    outcomes.iter().map(smooth).collect()
}

type Points = Vec<(f64, f64)>;

fn last(points: &Points) -> Option<f64> {
    points.last().map(|(x, _)| *x).filter(|_| points.len() > 1)
}

/// The mean of all worlds in each minute, the lowest and the highest. Minutes without a value are left out.
fn over_time(outcomes: &[Outcome], value: impl Fn(&Sample) -> f64) -> (Points, Points, Points) {
    let minutes = outcomes.iter().map(|outcome| outcome.samples.len()).max().unwrap_or(0);
    let (mut mean, mut low, mut high) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..minutes {
        let here = outcomes.iter().filter_map(|outcome| outcome.samples.get(at)).map(&value);
        let here: Vec<f64> = here.filter(|value| value.is_finite()).collect();
        if here.is_empty() {
            continue;
        }
        let x = (at + 1) as f64;
        mean.push((x, here.iter().sum::<f64>() / here.len() as f64));
        low.push((x, here.iter().copied().fold(f64::INFINITY, f64::min)));
        high.push((x, here.iter().copied().fold(f64::NEG_INFINITY, f64::max)));
    }
    (mean, low, high)
}

/// One count over another, of all worlds from the start to each minute.
fn cumulative(outcomes: &[Outcome], count: impl Fn(&Sample) -> (u64, u64)) -> Points {
    let minutes = outcomes.iter().map(|outcome| outcome.samples.len()).max().unwrap_or(0);
    let (mut some, mut all) = (0, 0);
    let mut points = Vec::new();
    for at in 0..minutes {
        for sample in outcomes.iter().filter_map(|outcome| outcome.samples.get(at)) {
            let (a, b) = count(sample);
            (some, all) = (some + a, all + b);
        }
        if all > 0 {
            points.push(((at + 1) as f64, some as f64 / all as f64));
        }
    }
    points
}
