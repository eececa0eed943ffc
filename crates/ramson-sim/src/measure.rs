//! What a run says about a claim.

use crate::outcome::{Outcome, Passage, Sample};
use crate::property::Property;
use crate::scenario::{Claim, Measure, Scenario};
use ramson_core::time::{Duration, Instant};

impl Scenario {
    /// The properties, out of all runs.
    pub fn properties(&self, outcomes: &[Outcome]) -> Vec<Property> {
        let property = |claim: &Claim| {
            let values: Vec<f64> = outcomes.iter().map(|outcome| outcome.measure(claim)).collect();
            // A program has a few scenarios, and each name once.
            let name: &'static str = String::leak(claim.name.clone());
            Property::of(name, &values, claim.at_least, claim.at_most)
        };
        self.properties.iter().map(property).collect()
    }
}

impl Outcome {
    /// The value of one claim; not a number where nothing was there to be measured.
    pub fn measure(&self, claim: &Claim) -> f64 {
        let (from, to) = (claim.from, claim.to);
        let within = |at: Instant| (from..to).contains(&minutes(at));
        let samples: Vec<&Sample> = self.samples.iter().filter(|s| s.minute > from && s.minute <= to).collect();
        let sum = |of: fn(&Sample) -> u64| samples.iter().map(|sample| of(sample)).sum::<u64>() as f64;
        let passages: Vec<&Passage> = self.transfers.iter().filter(|p| p.fair && within(p.started)).collect();
        let whole = || passages.iter().filter(|passage| passage.whole);
        match claim.measure {
            Measure::OwnBuilds => sum(|s| s.built) / sum(|s| s.built + s.declined + s.timed_out + s.starved),
            Measure::TransfersDone => whole().count() as f64 / passages.len() as f64,
            Measure::Throughput => median(whole().map(|passage| passage.throughput())),
            Measure::Connect => median(passages.iter().filter_map(|passage| passage.connect())),
            Measure::Stall => median(self.transfers.iter().filter_map(|p| p.stall).map(|stall| stall.as_secs_f64())),
            Measure::LookUps => 1.0 - self.failures(within),
            Measure::LookUpFailures => self.failures(within) / self.failures(|_| true).max(1e-3),
            Measure::Published => {
                samples.last().map_or(f64::NAN, |last| last.published as f64 / last.destinations as f64)
            }
            Measure::HostileKnown => samples.last().map_or(f64::NAN, |last| last.known_hostile / last.known),
            Measure::HostileHops => sum(|s| s.hostile_hops) / sum(|s| s.hops),
            Measure::HostileEnds => sum(|s| s.hostile_ends) / sum(|s| s.tunnels),
            Measure::HopGini => gini(self.hops.values().map(|count| *count as f64).collect()),
            Measure::Ready => {
                let never = Duration::from_hours(24);
                median(self.ready.iter().map(|ready| ready.unwrap_or(never).as_secs_f64() / 60.0))
            }
            Measure::Violations => self.violations.len() as f64,
            Measure::SameTrace => self.again.map_or(f64::NAN, |again| f64::from(again == self.trace.hash())),
            Measure::RealTime => {
                let virtual_time = self.samples.last().map_or(f64::NAN, |last| last.minute * 60.0);
                virtual_time / self.seconds
            }
            Measure::Memory => self.bytes as f64 / 1e6 / (self.routers + self.hostile) as f64,
        }
    }

    fn failures(&self, within: impl Fn(Instant) -> bool) -> f64 {
        let asked: Vec<_> = self.look_ups.iter().filter(|look_up| within(look_up.at)).collect();
        asked.iter().filter(|look_up| !look_up.found).count() as f64 / asked.len() as f64
    }
}

impl Passage {
    /// Kilobytes per second and direction, from the opening to the end.
    pub fn throughput(&self) -> f64 {
        let time = self.ended.since(self.opened.unwrap_or(self.started)).as_secs_f64();
        self.bytes as f64 / 1_000.0 / time.max(1e-6)
    }

    /// Seconds until the stream was open.
    pub fn connect(&self) -> Option<f64> {
        Some(self.opened?.since(self.started).as_secs_f64())
    }
}

/// Minutes since the start.
pub fn minutes(at: Instant) -> f64 {
    at.as_micros() as f64 / 60e6
}

/// The one in the middle; not a number of none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How unequal values are: 0 where all are the same, near 1 where one has all.
fn gini(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let total: f64 = values.iter().sum();
    let ranked: f64 = values.iter().enumerate().map(|(rank, value)| (rank + 1) as f64 * value).sum();
    2.0 * ranked / (n * total) - (n + 1.0) / n
}

#[cfg(test)]
mod tests {
    use super::{gini, median};

    #[test]
    fn inequality_goes_from_none_to_all() {
        assert!(gini(vec![3.0; 50]).abs() < 1e-9);
        let mut one = vec![0.0; 99];
        one.push(10.0);
        assert!((gini(one) - 0.99).abs() < 1e-9);
    }

    #[test]
    fn the_median_of_nothing_is_nothing() {
        assert!(median([].into_iter()).is_nan());
        assert_eq!(median([5.0, 1.0, 3.0].into_iter()), 3.0);
    }
}
