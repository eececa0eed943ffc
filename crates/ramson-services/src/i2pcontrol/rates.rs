//! What the router did in the last hour.

use crate::limits::{I2PCONTROL_SAMPLE_TIME, I2PCONTROL_SAMPLES};
use ramson::{Ramson, Status};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A sample every few seconds.
#[derive(Default)]
pub(super) struct Rates(Mutex<VecDeque<Sample>>);

/// Counters of one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    counters: [u64; Counter::ALL],
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    Received,
    Sent,
    Transit,
    BuildsOk,
    BuildsEnded,
}

impl Counter {
    const ALL: usize = 5;

    /// By the names of the Java router's statistics.
    pub(super) fn named(name: &str) -> Option<&'static [Self]> {
        match name {
            "bw.recvRate" | "bw.receiveBps" => Some(&[Self::Received]),
            "bw.sendRate" | "bw.sendBps" => Some(&[Self::Sent]),
            "bw.combined" => Some(&[Self::Received, Self::Sent]),
            "tunnel.participatingBandwidth" => Some(&[Self::Transit]),
            _ => None,
        }
    }
}

impl Rates {
    /// Keeps them until the future is dropped.
    pub(super) async fn keep(&self, ramson: &Ramson) {
        loop {
            if let Ok(status) = ramson.status().await {
                self.add(Instant::now(), &status);
            }
            tokio::time::sleep(I2PCONTROL_SAMPLE_TIME).await;
        }
    }

    pub(super) fn add(&self, at: Instant, status: &Status) {
        let builds = &status.builds;
        let counters = [
            status.links.bytes_in,
            status.links.bytes_out,
            status.transit.bytes,
            builds.ok,
            builds.ok + builds.declined + builds.timed_out,
        ];
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() >= I2PCONTROL_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Sample { at, counters });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// By how much it has grown in this time, or as much of it as is known, and in how many seconds that was.
    pub(super) fn grown(&self, counter: Counter, within: Duration) -> Option<(u64, f64)> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = samples.back()?;
        let older = samples.iter().rev().skip(1);
        let first = older.take_while(|sample| last.at - sample.at <= within + I2PCONTROL_SAMPLE_TIME / 2).last()?;
        let at = counter as usize;
        let grown = last.counters.get(at)?.saturating_sub(*first.counters.get(at)?);
        Some((grown, (last.at - first.at).as_secs_f64()))
    }

    /// The mean of a second.
    pub(super) fn per_second(&self, counter: Counter, within: Duration) -> f64 {
        match self.grown(counter, within) {
            Some((grown, seconds)) if seconds > 0.0 => grown as f64 / seconds,
            _ => 0.0,
        }
    }
}
