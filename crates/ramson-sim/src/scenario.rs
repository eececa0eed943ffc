//! A scenario: what the world is made of, what happens in it, and what must hold. A small TOML file that a person can
//! write; CONTRIBUTING.md says how.

use crate::nat::NatKind;
use serde::Deserialize;

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub title: String,
    /// What it shows, and at which scale.
    pub about: String,
    /// Virtual time.
    pub minutes: f64,
    /// Worlds, each from a seed of its own.
    #[serde(default = "ten")]
    pub seeds: u64,
    /// Seeds in the short form that `bar` runs; 0 leaves it out there.
    #[serde(default = "two")]
    pub short_seeds: u64,
    /// Each world runs twice, and the traces are compared.
    #[serde(default)]
    pub twice: bool,
    pub world: World,
    #[serde(default)]
    pub clients: Clients,
    #[serde(default, rename = "adversary")]
    pub adversaries: Vec<Adversary>,
    #[serde(default, rename = "event")]
    pub events: Vec<Happening>,
    #[serde(rename = "property")]
    pub properties: Vec<Claim>,
}

/// The honest part of the network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// All honest routers, floodfills among them.
    pub routers: usize,
    pub floodfills: usize,
    /// Exploratory tunnels, each way, and their hops.
    #[serde(default = "two_tunnels")]
    pub tunnels: usize,
    #[serde(default = "two_tunnels")]
    pub hops: usize,
    /// Delays between regions and the lines of homes and servers; else every link is the same and has no limit.
    #[serde(default)]
    pub regions: bool,
    /// The share of packets that are lost.
    #[serde(default)]
    pub loss: f64,
    /// The share of routers that cannot be dialled.
    #[serde(default)]
    pub firewalled: f64,
    /// Where there are any, links are sessions over UDP, and each router that cannot be dialled is behind a translator of
    /// one of these kinds.
    #[serde(default)]
    pub translators: Vec<Translator>,
    /// Routers come and go as published figures say, so many times faster; 0 for never.
    #[serde(default)]
    pub churn: f64,
    /// Entries of everybody's netDb at the start that answer to nobody.
    #[serde(default)]
    pub dead: usize,
    /// The network's time of day at the start, in minutes from midnight (UTC).
    #[serde(default)]
    pub starts_at: Option<u64>,
}

/// What an address translator does.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Translator {
    FullCone,
    Restricted,
    PortRestricted,
    Symmetric,
}

impl Translator {
    /// The same in the words of RFC 4787.
    pub const fn kind(self) -> NatKind {
        match self {
            Self::FullCone => NatKind::FULL_CONE,
            Self::Restricted => NatKind::RESTRICTED,
            Self::PortRestricted => NatKind::PORT_RESTRICTED,
            Self::Symmetric => NatKind::SYMMETRIC,
        }
    }
}

/// What programs at the routers do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// Published destinations, each at a router of its own.
    pub count: usize,
    /// Tunnels of each, each way, and their hops.
    pub tunnels: usize,
    pub hops: usize,
    /// From this minute on each destination sends the next one so many bytes, and gets as many back; 0 for none.
    pub from: f64,
    pub bytes: u64,
    /// Bytes per second that each side writes; 0 for as fast as it may.
    pub pace: u64,
    /// Seconds from the end of a transfer to the next.
    pub pause: f64,
    /// Seconds between two look-ups of a random destination by another one; 0 for none.
    pub look_up_every: f64,
    /// Only this destination is looked up.
    pub look_up_only: Option<usize>,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            count: 0,
            tunnels: 2,
            hops: 3,
            from: 5.0,
            bytes: 0,
            pace: 0,
            pause: 60.0,
            look_up_every: 0.0,
            look_up_only: None,
        }
    }
}

/// Peers that are not honest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adversary {
    pub kind: Kind,
    pub count: usize,
    /// The minutes between which they come; without it all are there and known to everybody at the start.
    #[serde(default)]
    pub joins: Option<[f64; 2]>,
    /// Requests per second of a flooding one.
    #[serde(default = "five")]
    pub rate: u32,
    /// What a failing one drops, 0 to 1.
    #[serde(default = "one")]
    pub share: f64,
    /// They made so many identities each, and took the one closest to where this destination is kept.
    #[serde(default)]
    pub near: Option<usize>,
    #[serde(default = "thousand")]
    pub identities: usize,
}

/// What an adversary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Silent,
    Dropping,
    /// Floodfills that name only hostile routers.
    Lying,
    Flooding,
    Observing,
    Failing,
}

/// Something that happens to all.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Happening {
    /// Minutes.
    pub at: f64,
    #[serde(rename = "do")]
    pub what: Deed,
    /// Of the routers without destinations; for a restart, which destination's.
    #[serde(default)]
    pub share: f64,
    #[serde(default)]
    pub client: usize,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// This share of the routers is killed, those first that serve most tunnels.
    KillMostUsed,
    /// This share of the routers is killed, by chance.
    Kill,
    /// The router of this destination is killed, and started with what it had saved.
    Restart,
}

/// What must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    pub name: String,
    pub measure: Measure,
    /// Minutes; the whole run where nothing is said.
    #[serde(default)]
    pub from: f64,
    #[serde(default = "forever")]
    pub to: f64,
    #[serde(default)]
    pub at_least: Option<f64>,
    #[serde(default)]
    pub at_most: Option<f64>,
}

/// What is measured, between two minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The share of own builds of honest routers that stand.
    OwnBuilds,
    /// The share of transfers that end in the time and have carried every byte.
    TransfersDone,
    /// Their median, kilobytes per second and direction.
    Throughput,
    /// The median time until a stream is open, seconds.
    Connect,
    /// The median of the longest silence of each transfer that was running at the first event, seconds.
    Stall,
    /// The share of look-ups that find what they look for.
    LookUps,
    /// The share that fail, divided by that of the whole run.
    LookUpFailures,
    /// The share of destinations whose LeaseSet a floodfill has confirmed, at the end of the time.
    Published,
    /// Hostile routers among those that honest ones know, at the end of the time.
    HostileKnown,
    /// Hostile hops of the tunnels that honest routers have built.
    HostileHops,
    /// Their tunnels with hostile routers at both ends.
    HostileEnds,
    /// How unequally hops are spread over honest routers: 0 is equal, 1 is all at one.
    HopGini,
    /// Minutes from a restart until its destination has this many tunnels: all that are wanted.
    Ready,
    /// Broken invariants.
    Violations,
    /// 1 when both runs had the same trace.
    SameTrace,
    /// Virtual time over the time it took on one core.
    RealTime,
    /// Megabytes of memory per router.
    Memory,
}

/// Why a file is no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError(String);

impl std::fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ScenarioError {}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the line and the field.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|why| ScenarioError(why.to_string()))?;
        scenario.check().map_err(ScenarioError)?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), String> {
        let world = &self.world;
        let share = |field: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                Err(format!("{field} is {value}, and a share is 0 to 1"))
            }
        };
        let time = |field: &str, value: f64| {
            let fits = value.is_finite() && (0.0..=self.minutes).contains(&value);
            if fits {
                Ok(())
            } else {
                Err(format!("{field} is {value}, and the run has minutes 0 to {}", self.minutes))
            }
        };
        if !(self.minutes > 0.0 && self.minutes <= 100_000.0) {
            return Err(format!("minutes is {}, and must be above 0 and at most 100,000", self.minutes));
        }
        if self.seeds == 0 {
            return Err("seeds is 0: nothing would run".to_owned());
        }
        if world.floodfills > world.routers {
            return Err(format!("world.floodfills is {}, of {} routers", world.floodfills, world.routers));
        }
        if self.clients.count > world.routers - world.floodfills {
            return Err("clients.count is more than there are routers that are no floodfills".to_owned());
        }
        if world.starts_at.is_some_and(|minute| minute >= 1_440) {
            return Err("world.starts_at is in minutes from midnight, and a day has 1,440".to_owned());
        }
        share("world.loss", world.loss)?;
        share("world.firewalled", world.firewalled)?;
        if world.churn < 0.0 {
            return Err(format!("world.churn is {}, and time does not run backwards", world.churn));
        }
        if self.clients.look_up_only.is_some_and(|client| client >= self.clients.count) {
            return Err("clients.look_up_only names no destination".to_owned());
        }
        for adversary in &self.adversaries {
            share("adversary.share", adversary.share)?;
            for minute in adversary.joins.into_iter().flatten() {
                time("adversary.joins", minute)?;
            }
            if adversary.joins.is_some_and(|[from, to]| from > to) {
                return Err("adversary.joins ends before it begins".to_owned());
            }
            if adversary.near.is_some_and(|client| client >= self.clients.count) {
                return Err("adversary.near names no destination".to_owned());
            }
        }
        for event in &self.events {
            time("event.at", event.at)?;
            share("event.share", event.share)?;
            if event.what == Deed::Restart && event.client >= self.clients.count {
                return Err("event.client names no destination".to_owned());
            }
        }
        for claim in &self.properties {
            let Claim { name, from, to, at_least, at_most, .. } = claim;
            time(&format!("from of property {name}"), *from)?;
            if from >= to {
                return Err(format!("property {name} ends before it begins"));
            }
            if at_least.is_none() && at_most.is_none() {
                return Err(format!("property {name} has neither at_least nor at_most, so that it would always hold"));
            }
        }
        Ok(())
    }
}

const fn ten() -> u64 {
    10
}

const fn two() -> u64 {
    2
}

const fn two_tunnels() -> usize {
    2
}

const fn five() -> u32 {
    5
}

const fn one() -> f64 {
    1.0
}

const fn thousand() -> usize {
    1_000
}

const fn forever() -> f64 {
    f64::INFINITY
}

#[cfg(test)]
mod tests {
    use super::Scenario;

    const SMALL: &str = r#"
title = "Small"
about = "A test"
minutes = 10

[world]
routers = 10
floodfills = 3

[[property]]
name = "builds"
measure = "own-builds"
at_least = 0.9
"#;

    fn error(change: (&str, &str)) -> String {
        let text = SMALL.replace(change.0, change.1);
        assert_ne!(text, SMALL, "{change:?} changes nothing");
        Scenario::parse(&text).unwrap_err().to_string()
    }

    #[test]
    fn a_small_file_is_a_scenario() {
        let scenario = Scenario::parse(SMALL).unwrap();
        assert_eq!((scenario.seeds, scenario.world.routers), (10, 10));
    }

    #[test]
    fn an_error_names_the_field() {
        assert!(error(("minutes = 10", "minuts = 10")).contains("minuts"));
        assert!(error(("routers = 10", "routers = -1")).contains("routers"));
        assert!(error(("own-builds", "own-build")).contains("own-build"));
        assert!(error(("minutes = 10", "minutes = 0")).contains("minutes"));
        assert!(error(("floodfills = 3", "floodfills = 30")).contains("world.floodfills"));
        assert!(error(("floodfills = 3", "floodfills = 3\nloss = 30")).contains("world.loss"));
        assert!(error(("at_least = 0.9", "")).contains("always hold"));
        assert!(error(("at_least = 0.9", "at_least = 0.9\nfrom = 20")).contains("from of property builds"));
        assert!(error(("[[property]]", "[[event]]\nat = 1\ndo = \"restart\"\n[[property]]")).contains("event.client"));
        assert!(error(("[[property]]", "[[event]]\nat = 11\ndo = \"kill\"\n[[property]]")).contains("event.at"));
        let joins = "[[adversary]]\nkind = \"silent\"\ncount = 1\njoins = [5, 2]\n[[property]]";
        assert!(error(("[[property]]", joins)).contains("adversary.joins"));
    }
}
