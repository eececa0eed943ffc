//! Runs scenarios of the simulator: `cargo xtask sim`. The simulator itself has neither clock nor files; this has.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what the simulator must not know is measured here"
)]

mod figures;
mod options;
mod plots;
mod report;
mod show;

use options::{Options, scenarios};
use ramson_sim::property::Property;
use ramson_sim::scenario::Scenario;
use ramson_sim::{Outcome, selection, swarm};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const HELP: &str = "\
cargo xtask sim SCENARIO [--seeds N] [--first N] [--short] [--json] [--each] [--report FILE] [--traces]
cargo xtask sim swarm [--seeds N] [--first N] [--seconds N]
cargo xtask sim traces [--seeds N]      the same worlds in a debug and a release build
cargo xtask sim --stub SCENARIO ...     without any cryptography
cargo xtask sim SCENARIO --each         says what each world has shown, too
cargo xtask sim list

SCENARIO is a name of crates/ramson-sim/scenarios, a path, or `bar`: all of them in their short form.";

/// Measures properties: by the name of one or all of them, over so many seeds, in the short form or not.
type Source = fn(name: &str, seeds: u64, short: bool) -> Vec<Property>;

/// Properties that are not those of a scenario's file: the name by which they are run, and what measures them. The
/// scenario `bar` runs them, too.
const SOURCES: &[(&str, Source)] = &[("selection", |_, seeds, short| selection::run("all", seeds, short))];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = Options::parse(&args).and_then(|options| match options.scenario.as_str() {
        "list" => list(),
        "swarm" => run_swarm(&options),
        "bar" => bar(&options),
        name => match SOURCES.iter().find(|(source, _)| *source == name) {
            Some((name, source)) => judge(&options, &source(name, options.seeds.unwrap_or(10), options.short)),
            None => one(&options, name),
        },
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<(), String> {
    for (name, scenario) in scenarios()? {
        println!("{name:12} {}", scenario.title);
    }
    SOURCES.iter().for_each(|(name, _)| println!("{name:12} properties of the choice of hops, without links"));
    println!("{:12} small worlds with faults, drawn by the seed", "swarm");
    println!("{:12} all of them in their short form", "bar");
    Ok(())
}

fn one(options: &Options, name: &str) -> Result<(), String> {
    let scenario = options::load(name)?;
    let seeds = options.seeds.unwrap_or(if options.short { scenario.short_seeds } else { scenario.seeds });
    let outcomes = run_all(options, &scenario, seeds);
    if options.traces {
        outcomes.iter().for_each(|o| println!("TRACE {} {:016x}", o.seed, o.trace.hash()));
    }
    let properties = scenario.properties(&outcomes);
    if !options.json {
        show::summary(&scenario, &outcomes);
    }
    if let Some(path) = &options.report {
        let html = report::html(name, &scenario, &outcomes, &properties)?;
        std::fs::write(path, html).map_err(|why| format!("{}: {why}", path.display()))?;
        eprintln!("report: {}", path.display());
    }
    judge(options, &properties)
}

/// All scenarios that have a short form, and all other properties.
fn bar(options: &Options) -> Result<(), String> {
    let mut properties = Vec::new();
    for (name, scenario) in scenarios()? {
        let seeds = options.seeds.unwrap_or(scenario.short_seeds);
        if scenario.short_seeds > 0 {
            eprintln!("{name}: {}", scenario.title);
            let outcomes = run_all(options, &scenario, seeds);
            properties.extend(scenario.properties(&outcomes));
        }
    }
    for (name, source) in SOURCES {
        properties.extend(source(name, options.seeds.unwrap_or(2), true));
    }
    judge(options, &properties)
}

fn judge(options: &Options, properties: &[Property]) -> Result<(), String> {
    if options.json {
        properties.iter().for_each(|property| println!("{}", property.json()));
    } else {
        show::properties(properties);
    }
    let missed: Vec<&str> =
        properties.iter().filter(|property| !property.holds).map(|property| property.name).collect();
    if missed.is_empty() { Ok(()) } else { Err(format!("does not hold: {}", missed.join(", "))) }
}

fn run_all(options: &Options, scenario: &Scenario, seeds: u64) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for seed in options.first..options.first.saturating_add(seeds) {
        let (before, start) = (memory(), Instant::now());
        let mut outcome = ramson_sim::run_with(scenario, seed, &mut |_| memory());
        outcome.seconds = start.elapsed().as_secs_f64();
        outcome.bytes = outcome.bytes.saturating_sub(before);
        if scenario.twice {
            outcome.again = Some(ramson_sim::run(scenario, seed).trace.hash());
        }
        eprintln!("  seed {seed}: {:.1} s, {} events", outcome.seconds, outcome.trace.events());
        if options.each {
            let each = scenario.properties(std::slice::from_ref(&outcome));
            each.iter().for_each(|property| eprintln!("    {} {:.4}", property.name, property.value));
        }
        outcomes.push(outcome);
    }
    outcomes
}

fn run_swarm(options: &Options) -> Result<(), String> {
    let start = Instant::now();
    let limit = options.seconds.map(Duration::from_secs);
    let seeds = options.seeds.unwrap_or(if limit.is_some() { u64::MAX } else { 100 });
    let mut tally = swarm::Tally::default();
    for seed in options.first..options.first.saturating_add(seeds) {
        if limit.is_some_and(|limit| start.elapsed() >= limit) {
            break;
        }
        // A panic is a broken invariant with a seed to repeat it.
        let run = std::panic::catch_unwind(|| swarm::run(seed));
        let verdict = run.unwrap_or_else(|_| swarm::Verdict::panicked(seed));
        if !verdict.is_good() {
            println!("seed {seed}: {verdict}");
        }
        tally.add(&verdict);
        if tally.seeds % 50 == 0 {
            eprintln!("  {} seeds, {:.0} s", tally.seeds, start.elapsed().as_secs_f64());
        }
    }
    println!("{tally} ({:.0} s)", start.elapsed().as_secs_f64());
    judge(options, &tally.properties())
}

/// Bytes that this process has in memory.
fn memory() -> u64 {
    let statm = std::fs::read_to_string(Path::new("/proc/self/statm")).unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}
