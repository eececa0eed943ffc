//! What must hold of the streams of a destination between any two calls.

use super::{Connection, Streams, limits};

impl Streams {
    pub(crate) fn check(&self) {
        assert!(self.connections.len() <= self.config.max_streams && self.by_local.len() == self.connections.len());
        assert_eq!(self.timers.len(), self.connections.len(), "every stream has a deadline");
        let held = || self.connections.values().map(Connection::held_bytes);
        let sums = (held().map(|held| held.0).sum(), held().map(|held| held.1).sum());
        assert_eq!((self.held, self.early), sums, "the books are right");
        assert!(
            held().all(|held| held.0 <= self.config.receive_buffer + limits::MAX_PACKET + limits::SEGMENT_OVERHEAD)
        );
        assert!(self.connections.values().all(|connection| connection.held.len() <= limits::MAX_HELD));
        let bytes: usize = self.orphans.iter().map(|orphan| orphan.packet.len()).sum();
        assert!(self.orphans.len() <= limits::MAX_ORPHANS && bytes <= limits::MAX_ORPHAN_BYTES);
        assert_eq!((self.orphan_bytes, self.past.len()), (bytes, self.past_order.len()));
        assert!(self.past.len() <= limits::MAX_PAST && self.paths.len() <= limits::MAX_PATHS);
        assert!(self.pings.len() <= limits::MAX_PINGS && self.peer_syns.len() <= limits::MAX_COUNTED_PEERS);
        assert!(self.jobs.strangers() <= limits::MAX_VERIFYING);
        assert!(self.by_remote.values().all(|stream| self.connections.contains_key(stream)));
    }

    /// What a packet can change, without the bytes themselves.
    #[cfg(any(test, fuzzing))]
    pub(in super::super) fn digest(&self) -> impl PartialEq + use<> {
        let connections: Vec<_> = self.connections.values().map(Connection::digest).collect();
        let others = (self.orphans.len(), self.past.len(), self.pings.len(), self.jobs.strangers());
        (connections, others, self.events.len(), self.by_remote.len(), self.timers.next())
    }
}
