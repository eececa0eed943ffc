//! A minimal profile of each peer: how it answered our tunnel builds of late.

use crate::limits::peers as limits;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::Hash;
use std::collections::BTreeMap;

/// How long a refusal, a missing answer or a failed dial counts against a peer.
pub const MEMORY: Duration = Duration::from_secs(600);

/// The profiles of all peers, bounded; the one that was quiet for longest makes room.
#[derive(Debug, Default)]
pub struct Profiles {
    peers: BTreeMap<Hash, Profile>,
}

/// Counters and last times of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub agreed: u32,
    pub declined: u32,
    pub unanswered: u32,
    last_bad: Option<Instant>,
    last_seen: Instant,
}

impl Profiles {
    /// The peer has accepted a tunnel.
    pub fn note_agreed(&mut self, now: Now, peer: &Hash) {
        let profile = self.entry(now, peer);
        profile.agreed = profile.agreed.saturating_add(1);
        profile.last_bad = None;
    }

    /// The peer has declined a tunnel.
    pub fn note_declined(&mut self, now: Now, peer: &Hash) {
        let profile = self.entry(now, peer);
        profile.declined = profile.declined.saturating_add(1);
        profile.last_bad = Some(now.mono);
    }

    /// A build through the peer was not answered; any hop of it may be to blame.
    pub fn note_unanswered(&mut self, now: Now, peer: &Hash) {
        let profile = self.entry(now, peer);
        profile.unanswered = profile.unanswered.saturating_add(1);
        profile.last_bad = Some(now.mono);
    }

    /// Whether something bad happened with the peer within [`MEMORY`].
    pub fn is_doubtful(&self, now: Now, peer: &Hash) -> bool {
        let last = self.peers.get(peer).and_then(|p| p.last_bad);
        last.is_some_and(|at| now.mono.since(at) < MEMORY)
    }

    pub fn get(&self, peer: &Hash) -> Option<&Profile> {
        self.peers.get(peer)
    }

    pub fn len(&self) -> usize {
        self.peers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    fn entry(&mut self, now: Now, peer: &Hash) -> &mut Profile {
        if self.peers.len() >= limits::PROFILES && !self.peers.contains_key(peer) {
            let quietest = self.peers.iter().min_by_key(|(_, p)| p.last_seen).map(|(hash, _)| *hash);
            quietest.map(|hash| self.peers.remove(&hash));
        }
        let profile = self.peers.entry(*peer).or_default();
        profile.last_seen = now.mono;
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_news_fades_and_good_news_clears() {
        let (a, b) = (Hash([1; 32]), Hash([2; 32]));
        let mut profiles = Profiles::default();
        let start = Now::default();
        profiles.note_declined(start, &a);
        profiles.note_unanswered(start, &b);
        assert!(profiles.is_doubtful(start.later(Duration::from_secs(599)), &a));
        assert!(!profiles.is_doubtful(start.later(Duration::from_secs(601)), &a));
        profiles.note_agreed(start, &b);
        assert!(!profiles.is_doubtful(start, &b));
    }

    #[test]
    fn the_number_of_profiles_is_bounded() {
        let mut profiles = Profiles::default();
        for i in 0..limits::PROFILES as u64 + 10 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&i.to_be_bytes());
            profiles.note_agreed(Now::default().later(Duration::from_secs(i)), &Hash(hash));
        }
        assert_eq!(profiles.len(), limits::PROFILES);
        assert!(profiles.get(&Hash([0; 32])).is_none(), "the quietest has made room");
    }
}
