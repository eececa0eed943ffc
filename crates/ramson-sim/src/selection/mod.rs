//! Properties of the choice of hops, by playing the production choice without links: profiles, first hops and
//! candidates are those of the core, and what builds and tests would say is drawn from a model.
//!
//! A world is a set of routers, some of them hostile; a target is one router with its profiles, and clients with first
//! hops of their own. Each property runs once for each seed.
//! What the model leaves out: load, distance, and that RouterInfos come and go.

mod attacks;
mod chance;
mod model;

use crate::property::{Property, mean};

/// A property that can be run by its name.
struct Entry {
    name: &'static str,
    run: fn(&Form) -> Vec<Property>,
}

const ALL: &[Entry] = &[
    Entry { name: "c1", run: chance::c1 },
    Entry { name: "c2", run: chance::c2 },
    Entry { name: "u1", run: chance::u1 },
    Entry { name: "u2", run: chance::u2 },
    Entry { name: "u3", run: chance::u3 },
    Entry { name: "e1", run: chance::e1 },
    Entry { name: "p15", run: attacks::p15 },
    Entry { name: "p16", run: attacks::p16 },
    Entry { name: "p17", run: attacks::p17 },
    Entry { name: "p18", run: chance::p18 },
    Entry { name: "p19", run: chance::p19 },
    Entry { name: "p20", run: attacks::p20 },
];

/// Which seeds are run, and whether in the short form, with fewer tunnels.
pub(crate) struct Form {
    seeds: Vec<u64>,
    short: bool,
}

impl Form {
    /// A number of the long form, or of the short one.
    const fn pick(&self, long: usize, short: usize) -> usize {
        if self.short { short } else { long }
    }

    /// Runs once for each seed, and gives one list for each of the values that a run has.
    fn each<const N: usize>(&self, run: impl Fn(u64) -> [f64; N]) -> [Vec<f64>; N] {
        let runs: Vec<[f64; N]> = self.seeds.iter().map(|seed| run(*seed)).collect();
        std::array::from_fn(|at| runs.iter().map(|values| values[at]).collect())
    }
}

/// The names of all properties: C1, C2, U1 to U3, E1 and P-15 to P-20 of the list of threats.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|entry| entry.name)
}

/// Measures the properties of this name, or all, with so many seeds. `short` takes seconds in a build for tests; the
/// long form takes minutes in one for release. Nothing comes back for a name that is none.
pub fn run(name: &str, seeds: u64, short: bool) -> Vec<Property> {
    let form = Form { seeds: (1..=seeds.max(1)).collect(), short };
    ALL.iter().filter(|entry| name == "all" || entry.name == name).flat_map(|entry| (entry.run)(&form)).collect()
}

fn property(name: &'static str, values: &[f64], bound: String, holds: impl Fn(f64) -> bool) -> Property {
    let (value, low, high) = mean(values);
    Property { name, value, low, high, bound, holds: holds(value) }
}

fn at_most(name: &'static str, values: &[f64], bound: f64) -> Property {
    property(name, values, format!("<= {bound}"), |value| value <= bound)
}

fn at_least(name: &'static str, values: &[f64], bound: f64) -> Property {
    property(name, values, format!(">= {bound}"), |value| value >= bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(name: &str) {
        let measured = run(name, 10, false);
        for Property { name, value, low, high, bound, holds } in &measured {
            println!("{name} {value:.5} [{low:.5}, {high:.5}] {bound} {holds}");
        }
        assert!(measured.iter().all(|property| property.holds));
    }

    #[test]
    #[ignore = "takes minutes; `cargo xtask sim selection` runs all long forms in a release build"]
    fn long_forms_of_chance_hold() {
        ["c1", "u1", "u2", "u3", "e1", "p18", "p19"].into_iter().for_each(long);
    }

    #[test]
    #[ignore = "takes minutes; `cargo xtask sim selection` runs all long forms in a release build"]
    fn long_form_of_exposure_holds() {
        long("c2");
    }

    #[test]
    #[ignore = "takes minutes; `cargo xtask sim selection` runs all long forms in a release build"]
    fn long_forms_of_attacks_hold() {
        ["p15", "p16", "p17", "p20"].into_iter().for_each(long);
    }

    #[test]
    fn short_forms_hold() {
        for name in names() {
            let measured = run(name, 2, true);
            assert!(!measured.is_empty());
            for property in measured {
                assert!(property.holds, "{property:?}");
                assert!(property.low <= property.value && property.value <= property.high);
            }
        }
    }

    #[test]
    fn a_name_that_is_none_runs_nothing_and_a_seed_repeats() {
        assert!(run("p99", 1, true).is_empty());
        assert_eq!(run("u2", 1, true), run("u2", 1, true));
    }

    #[test]
    fn intervals_hold_the_mean() {
        let (mean, low, high) = crate::property::mean(&[1.0, 2.0, 3.0]);
        assert!((mean - 2.0).abs() < 1e-9 && (high - low - 2.0 * 4.30 / 3f64.sqrt()).abs() < 1e-9);
        assert_eq!(crate::property::mean(&[5.0]), (5.0, 5.0, 5.0));
    }
}
