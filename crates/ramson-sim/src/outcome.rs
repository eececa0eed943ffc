//! What a run of a scenario has shown.

use crate::link::NodeId;
use crate::trace::Trace;
use ramson_core::time::{Duration, Instant};
use std::collections::BTreeMap;

/// One world from begin to end.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    pub trace: Trace,
    /// The trace of the second run, where there was one.
    pub again: Option<u64>,
    /// Honest routers and hostile ones.
    pub routers: usize,
    pub hostile: usize,
    /// One a minute.
    pub samples: Vec<Sample>,
    pub transfers: Vec<Passage>,
    pub look_ups: Vec<LookUp>,
    /// When a destination that was restarted had all its tunnels again, if it had.
    pub ready: Vec<Option<Duration>>,
    /// How often each honest router was a hop of an honest tunnel.
    pub hops: BTreeMap<NodeId, u64>,
    /// What the invariants say that is not so, each once.
    pub violations: Vec<String>,
    /// Seconds and bytes of memory that the run took, measured by the program around it.
    pub seconds: f64,
    pub bytes: u64,
    /// Bytes that all nodes have sent.
    pub sent: u64,
}

/// What a minute has brought to the honest routers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Minutes since the start, at its end.
    pub minute: f64,
    pub built: u64,
    pub declined: u64,
    pub timed_out: u64,
    /// Builds for which there were no hops.
    pub starved: u64,
    pub up: usize,
    /// The mean of what they know: routers, hostile ones and floodfills among them.
    pub known: f64,
    pub known_hostile: f64,
    pub known_floodfills: f64,
    /// New tunnels, their hops, the hostile ones, and tunnels with hostile routers at both ends.
    pub tunnels: u64,
    pub hops: u64,
    pub hostile_hops: u64,
    pub hostile_ends: u64,
    /// Destinations, and those that are published.
    pub destinations: usize,
    pub published: usize,
    /// LeaseSets that floodfills keep, and what was stored at them.
    pub lease_sets: usize,
}

/// One transfer.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    pub started: Instant,
    pub opened: Option<Instant>,
    pub ended: Instant,
    /// Every byte of both directions has arrived.
    pub whole: bool,
    /// Both ends' routers stayed up.
    pub fair: bool,
    pub bytes: u64,
    /// The longest silence that begins before the first event of the scenario and a minute after it.
    pub stall: Option<Duration>,
}

/// One look-up.
#[derive(Clone, Copy, Debug)]
pub struct LookUp {
    pub at: Instant,
    pub took: Duration,
    pub found: bool,
}
