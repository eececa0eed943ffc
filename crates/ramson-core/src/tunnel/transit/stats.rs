//! Counters of what others ask of us.

use super::{Obstacle, TransitError};
use crate::time::Instant;

/// Counters of foreign tunnels since the start, and what is so at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransitStats {
    pub accepted: u64,
    pub declined: u64,
    /// The declined requests by cause.
    pub causes: Declined,
    /// Requests that were dropped without an answer, by cause.
    pub refused: Refused,
    /// Messages that were dropped, requests and tunnel messages.
    pub dropped: u64,
    /// The tunnel messages of them for which there was no bandwidth.
    pub over_bandwidth: u64,
    /// Tunnel messages that passed, and their bytes.
    pub messages: u64,
    pub bytes: u64,
    /// Bytes a second just now.
    pub bytes_per_second: u64,
    /// Kilobytes a second that all tunnels together were granted.
    pub granted: u64,
    /// When the last of the tunnels ends that there are.
    pub ends: Option<Instant>,
}

/// Requests that were declined, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declined {
    /// Transit is off, or the router is about to stop.
    pub off: u64,
    /// There were as many tunnels as there may be.
    pub full: u64,
    /// The router was busy.
    pub busy: u64,
    /// The previous hop had its share.
    pub share: u64,
    /// There was not the bandwidth that was asked for.
    pub bandwidth: u64,
    /// The request could not be served.
    pub request: u64,
}

/// Requests that were not answered, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// More than the previous hop, or its prefix, may ask.
    pub throttled: u64,
    /// More than can be served.
    pub overloaded: u64,
    pub replayed: u64,
    /// Not well formed, not for us, of another time, or turning back.
    pub invalid: u64,
}

impl TransitStats {
    pub(super) const fn decline(&mut self, why: Obstacle) {
        self.declined += 1;
        let cause = match why {
            Obstacle::Off => &mut self.causes.off,
            Obstacle::Full => &mut self.causes.full,
            Obstacle::Busy => &mut self.causes.busy,
            Obstacle::Share => &mut self.causes.share,
            Obstacle::Bandwidth => &mut self.causes.bandwidth,
            Obstacle::Request => &mut self.causes.request,
        };
        *cause += 1;
    }

    /// A message was dropped for this reason; `request` where it was a build request.
    pub(in super::super) const fn drop(&mut self, why: &TransitError, request: bool) {
        self.dropped += 1;
        match why {
            TransitError::OverBandwidth => self.over_bandwidth += 1,
            TransitError::Throttled => self.refused.throttled += 1,
            TransitError::Overloaded => self.refused.overloaded += 1,
            TransitError::Replayed => self.refused.replayed += 1,
            _ if request => self.refused.invalid += 1,
            _ => {}
        }
    }
}
