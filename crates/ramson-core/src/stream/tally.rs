//! What a stream has cost, for the log at DEBUG.

use super::StreamId;
use super::path::Path;

/// Counts of one stream's packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) repeated: u64,
    pub(super) lost: u64,
    pub(super) spurious: u64,
    pub(super) timeouts: u64,
    pub(super) chokes: u64,
    pub(super) acks_sent: u64,
    pub(super) acks_received: u64,
    pub(super) duplicates: u64,
    pub(super) dropped: u64,
}

impl Tally {
    /// The stream has ended, and `how`.
    pub(super) fn log(&self, stream: StreamId, how: &'static str, path: &Path) {
        let (window, rtt, min) = (path.window(), path.rtt.smoothed(), path.rtt.min());
        tracing::debug!(stream = stream.0, how, window, ?rtt, ?min, tally = ?self, "stream over");
    }
}
