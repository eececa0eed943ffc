//! What the terminal is told.

use ramson_sim::measure::median;
use ramson_sim::property::{Property, mean};
use ramson_sim::scenario::Scenario;
use ramson_sim::{Outcome, Sample};

/// What the runs were like, before what they show.
pub(crate) fn summary(scenario: &Scenario, outcomes: &[Outcome]) {
    let Some(first) = outcomes.first() else { return };
    println!("\n{}\n{}\n", scenario.title, scenario.about);
    println!(
        "  {} worlds of {} routers{}, {} minutes each",
        outcomes.len(),
        first.routers,
        if first.hostile > 0 { format!(" and {} hostile ones", first.hostile) } else { String::new() },
        scenario.minutes
    );
    let sum = |of: fn(&Sample) -> u64| outcomes.iter().flat_map(|o| &o.samples).map(of).sum::<u64>();
    let built = sum(|s| s.built);
    println!(
        "  tunnels    {built} built, {} declined, {} unanswered, {} without hops",
        sum(|s| s.declined),
        sum(|s| s.timed_out),
        sum(|s| s.starved)
    );
    let passages: Vec<_> = outcomes.iter().flat_map(|o| &o.transfers).collect();
    if !passages.is_empty() {
        let whole = || passages.iter().filter(|passage| passage.whole);
        println!(
            "  streams    {} of {} whole, median {:.0} kB/s each way, open after {:.2} s",
            whole().count(),
            passages.len(),
            median(whole().map(|passage| passage.throughput())),
            median(passages.iter().filter_map(|passage| passage.connect()))
        );
    }
    let look_ups: Vec<_> = outcomes.iter().flat_map(|o| &o.look_ups).collect();
    if !look_ups.is_empty() {
        let found = || look_ups.iter().filter(|look_up| look_up.found);
        let took = median(found().map(|look_up| look_up.took.as_secs_f64()));
        println!("  look-ups   {} of {} found, in {took:.2} s", found().count(), look_ups.len());
    }
    let speeds: Vec<f64> = outcomes.iter().map(|o| scenario.minutes * 60.0 / o.seconds).collect();
    println!("  speed      {:.1} times real time", mean(&speeds).0);
    for outcome in outcomes {
        outcome.violations.iter().for_each(|broken| println!("  BROKEN     seed {}: {broken}", outcome.seed));
    }
    println!();
}

/// A table of properties.
pub(crate) fn properties(properties: &[Property]) {
    let width = properties.iter().map(|property| property.name.len()).max().unwrap_or(0);
    for property in properties {
        let Property { name, value, low, high, bound, holds } = property;
        let mark = if *holds { "holds " } else { "MISSED" };
        println!("  {mark}  {name:width$}  {value:>10.4}  ({low:.4} to {high:.4})  {bound}");
    }
}
