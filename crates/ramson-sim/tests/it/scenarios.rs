//! Scenarios: their files, what happens in their worlds, and that it happens again.

use ramson_sim::scenario::{Measure, Scenario};
use ramson_sim::{Kind, run};
use std::path::Path;

/// A world of four minutes with everything that draws lots.
const LIVELY: &str = r#"
title = "Lively"
about = "A test"
minutes = 4

[world]
routers = 12
floodfills = 3
regions = true
loss = 0.01
firewalled = 0.2
churn = 1_000

[clients]
count = 3
from = 1
bytes = 20_000
pause = 5
look_up_every = 5

[[adversary]]
kind = "flooding"
count = 1
rate = 2
joins = [0, 1]

[[adversary]]
kind = "lying"
count = 1

[[event]]
at = 2
do = "restart"
client = 0

[[event]]
at = 3
do = "kill"
share = 0.1

[[property]]
name = "violations"
measure = "violations"
at_most = 0

[[property]]
name = "ready"
measure = "ready"
at_most = 2

[[property]]
name = "transfers"
measure = "transfers-done"
at_least = 0.5
"#;

#[test]
fn every_file_is_a_scenario_and_each_property_has_its_own_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let scenario = Scenario::parse(&std::fs::read_to_string(&path).unwrap());
        let scenario = scenario.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        names.extend(scenario.properties.iter().map(|claim| claim.name.clone()));
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert!(all == names.len() && all > 10, "{names:?}");
}

#[test]
fn a_lively_world_keeps_its_word_and_runs_the_same_again() {
    let scenario = Scenario::parse(LIVELY).unwrap();
    let outcome = run(&scenario, 1);
    assert_eq!((outcome.routers, outcome.hostile), (12, 2));
    assert_eq!(outcome.samples.len(), 4);
    assert!(outcome.look_ups.len() > 20 && outcome.transfers.len() > 3, "{outcome:?}");
    for property in scenario.properties(std::slice::from_ref(&outcome)) {
        assert!(property.holds, "seed 1: {property:?}");
    }
    assert_eq!(run(&scenario, 1).trace.hash(), outcome.trace.hash());
}

/// Each adversary does to the network what its kind says.
#[test]
fn adversaries_do_what_they_are() {
    let with = |kind: &str, count: usize| {
        let text = format!(
            "title = \"t\"\nabout = \"a\"\nminutes = 6\n[world]\nrouters = 12\nfloodfills = 3\n[clients]\ncount = 2\n\
             [[adversary]]\nkind = \"{kind}\"\ncount = {count}\n\
             [[property]]\nname = \"n\"\nmeasure = \"own-builds\"\nat_least = 0"
        );
        let scenario = Scenario::parse(&text).unwrap();
        assert_eq!(scenario.adversaries[0].kind, kind_of(kind));
        let outcome = run(&scenario, 1);
        let measure = |measure: Measure| {
            let mut claim = scenario.properties[0].clone();
            claim.measure = measure;
            outcome.measure(&claim)
        };
        (measure(Measure::OwnBuilds), measure(Measure::HostileHops))
    };
    let (builds, hostile) = with("observing", 12);
    assert!(builds > 0.95 && hostile > 0.3, "those who observe serve: {builds}, {hostile}");
    let (builds, hostile) = with("silent", 12);
    assert!(builds < 0.7 && hostile == 0.0, "those who are silent serve nobody: {builds}, {hostile}");
    let (builds, hostile) = with("failing", 12);
    assert!(builds < 0.8 && hostile < 0.3, "nor do those who drop what asks them: {builds}, {hostile}");
}

fn kind_of(name: &str) -> Kind {
    match name {
        "observing" => Kind::Observing,
        "silent" => Kind::Silent,
        _ => Kind::Failing,
    }
}
