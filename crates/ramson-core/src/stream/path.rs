//! The way to one peer: what all streams to it have learned together and share. So eight streams take no more of it than
//! one, each of them its part, and a new one knows what the others know.

use super::congestion::Window;
use super::rtt::Rtt;
use super::send::Acked;
use super::{Config, StreamId};
use crate::limits::stream as limits;
use crate::time::{Duration, Instant};
use ramson_wire::data::Hash;
use std::collections::{BTreeMap, BTreeSet};

/// Round trip that is assumed before anything is known.
const RTT_GUESS: Duration = Duration::from_millis(500);
/// The least silence after which a path is suspected.
const MIN_PATIENCE: Duration = Duration::from_millis(250);
/// The longest pause between two suspicions.
const MAX_PATIENCE: Duration = Duration::from_secs(2);
/// A path is not left for what it loses before this, and at the longest pause not before that.
const LOSSY_PAUSE: Duration = Duration::from_secs(2);
const MAX_LOSSY_PAUSE: Duration = Duration::from_secs(120);
/// How long a path without streams is remembered.
const LIFE: Duration = Duration::from_secs(300);

/// What is known of the way to a peer, and what is under way.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) rtt: Rtt,
    window: Window,
    /// The number of the next transmission, over all streams.
    next_tx: u64,
    in_flight: u32,
    /// Streams that have more to send than the path takes now.
    held_back: BTreeSet<StreamId>,
    /// The last of them that had its turn.
    turn: StreamId,
    /// The last acknowledgement of something new, change of the path, or first packet after silence.
    progress_at: Instant,
    /// Suspicions since the last acknowledgement of something new.
    suspicions: u32,
    /// When the path may be left next for what it loses, and the pause after that.
    lossy_at: Instant,
    lossy_pause: Duration,
    /// The peer was seen to drop in silence what is far ahead, as Java does: the next stream to it need not find that out.
    drops_far: bool,
    /// Streams that use it.
    pub(super) streams: u32,
    pub(super) used: Instant,
}

impl Path {
    /// `hint` is a guess of its round trip.
    pub(super) fn new(now: Instant, hint: Duration, config: &Config) -> Self {
        Self {
            rtt: Rtt::new(hint),
            window: Window::new(config.initial_window, config.max_window),
            next_tx: 1,
            in_flight: 0,
            held_back: BTreeSet::new(),
            turn: StreamId(0),
            progress_at: now,
            suspicions: 0,
            lossy_at: now + LOSSY_PAUSE,
            lossy_pause: LOSSY_PAUSE,
            drops_far: false,
            streams: 0,
            used: now,
        }
    }

    /// Packets that may be under way.
    pub(super) fn window(&self) -> u32 {
        self.window.packets()
    }

    /// When the next packet may leave.
    pub(super) const fn pace_at(&self) -> Instant {
        self.window.pace_at()
    }

    /// The number of the next transmission.
    pub(super) const fn next_tx(&self) -> u64 {
        self.next_tx
    }

    /// Whether one more packet may be under way.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight < self.window.packets()
    }

    /// How many packets one stream may have under way while others want to send, too.
    pub(super) fn share(&self, stream: StreamId) -> u32 {
        let others = self.held_back.len() - usize::from(self.held_back.contains(&stream));
        if others == 0 {
            return u32::MAX;
        }
        self.window.packets().div_ceil(u32::try_from(others + 1).unwrap_or(u32::MAX)).max(2)
    }

    /// The stream has more to send than the path takes, or no longer.
    pub(super) fn hold_back(&mut self, stream: StreamId, held: bool) {
        if held {
            self.held_back.insert(stream);
        } else {
            self.held_back.remove(&stream);
        }
    }

    /// The next stream that is held back, in turn; `None` when the path takes nothing now.
    pub(super) fn next_turn(&mut self, now: Instant) -> Option<StreamId> {
        if !self.has_room() || self.window.pace_at() > now {
            return None;
        }
        let after = StreamId(self.turn.0 + 1);
        self.turn = *self.held_back.range(after..).next().or_else(|| self.held_back.first())?;
        Some(self.turn)
    }

    /// Streams that are held back.
    pub(super) fn waiting(&self) -> usize {
        self.held_back.len()
    }

    /// A stream has this many packets under way, and had `before`.
    pub(super) fn count(&mut self, before: u32, after: u32) {
        self.in_flight = (self.in_flight + after).saturating_sub(before);
    }

    /// A packet leaves; gives the number of its transmission. One of a stream that already `waits` in vain begins no new
    /// patience: it would begin anew with every try.
    pub(super) fn sent(&mut self, now: Instant, waits: bool, config: &Config) -> u64 {
        if self.in_flight == 0 {
            self.window.resumed(now, self.used, config.initial_window);
            if !waits {
                self.progress_at = self.progress_at.max(now);
            }
        }
        self.used = now;
        self.window.paced(now, &self.rtt);
        self.next_tx += 1;
        self.next_tx - 1
    }

    /// Packets were acknowledged.
    pub(super) fn acked(&mut self, now: Instant, acked: &Acked) {
        if let Some(sample) = acked.rtt {
            self.rtt.sample(now, sample);
        }
        let limited = !self.held_back.is_empty();
        let longer = self.window.acked(acked.packets, acked.newest, self.next_tx, limited, acked.rtt, &self.rtt);
        if let Some(length) = longer {
            self.rtt.lengthened(now, length);
        }
        if self.window.is_round_new() {
            self.window.probe(now);
        }
        if acked.spurious {
            self.window.undo();
        }
        self.progress_at = now;
        self.suspicions = 0;
    }

    /// Most packets that a new stream has under way.
    pub(super) fn max_window(&self, config: &Config) -> u32 {
        if self.drops_far { config.max_window.min(limits::JAVA_WINDOW) } else { config.max_window }
    }

    /// The peer drops in silence what is far ahead.
    pub(super) const fn note_drops_far(&mut self) {
        self.drops_far = true;
    }

    /// The packet of this transmission was lost.
    pub(super) fn lost(&mut self, tx: u64) {
        self.window.lost(tx, self.next_tx, &self.rtt);
    }

    /// Whether nothing has arrived for so long that another path should be tried. Says so once per pause, and each pause
    /// is longer than the one before.
    pub(super) fn is_suspect(&mut self, now: Instant) -> bool {
        let patience = (self.rtt.rto(Duration::ZERO) * 2).max(MIN_PATIENCE);
        let patience = (patience * (1 << self.suspicions.min(5))).min(MAX_PATIENCE.max(patience));
        if now.since(self.progress_at) < patience {
            return false;
        }
        self.suspect(now);
        true
    }

    /// The path is given up whatever else arrives by it.
    pub(super) fn suspect(&mut self, now: Instant) {
        self.suspicions += 1;
        self.progress_at = now;
        if self.suspicions > 1 {
            self.window.collapse(self.next_tx);
        }
    }

    /// Whether so much is lost that another path is worth a try. That may be no better: each pause until the next try is
    /// twice as long, and as short as the first when little was lost for as long.
    pub(super) fn is_lossy(&mut self, now: Instant) -> bool {
        if now < self.lossy_at {
            return false;
        }
        if !self.window.is_lossy() {
            if now.since(self.lossy_at) >= self.lossy_pause {
                self.lossy_pause = LOSSY_PAUSE;
            }
            return false;
        }
        self.lossy_pause = (self.lossy_pause * 2).min(MAX_LOSSY_PAUSE);
        self.lossy_at = now + self.lossy_pause;
        true
    }

    /// How often it was suspected since something arrived.
    pub(super) const fn suspicions(&self) -> u32 {
        self.suspicions
    }

    /// Tunnels or lease are other ones now.
    pub(super) fn changed(&mut self, now: Instant, config: &Config) {
        self.rtt.path_changed();
        self.progress_at = now;
        if self.suspicions < 2 {
            self.window.path_changed(config.initial_window, self.next_tx);
        }
    }

    /// Whether something arrived, or the path began, since `at`.
    pub(super) fn moved_since(&self, at: Instant) -> bool {
        self.progress_at > at
    }
}

/// The ways to all peers: of those with streams, and a few others.
#[derive(Debug, Default)]
pub(super) struct Paths(BTreeMap<Hash, Path>);

impl Paths {
    pub(super) fn get(&self, peer: &Hash) -> Option<&Path> {
        self.0.get(peer)
    }

    pub(super) fn get_mut(&mut self, peer: &Hash) -> Option<&mut Path> {
        self.0.get_mut(peer)
    }

    /// One more stream uses the way to `peer`. `hint` is what the tunnels say of its round trip.
    pub(super) fn enter(&mut self, now: Instant, peer: Hash, hint: Option<Duration>, config: &Config) {
        let fresh = || Path::new(now, hint.unwrap_or(RTT_GUESS), config);
        let path = self.0.entry(peer).or_insert_with(fresh);
        if path.streams == 0 && now.since(path.used) >= LIFE {
            *path = fresh();
        }
        path.streams += 1;
    }

    /// A stream leaves the way to its peer. That is remembered as long as few others are.
    pub(super) fn leave(&mut self, peer: &Hash) {
        let Some(path) = self.0.get_mut(peer) else { return };
        path.streams = path.streams.saturating_sub(1);
        if path.streams > 0 {
            return;
        }
        if !path.rtt.is_sampled() {
            self.0.remove(peer);
            return;
        }
        let idle = || self.0.iter().filter(|(_, path)| path.streams == 0);
        if idle().count() > limits::MAX_PATHS {
            let oldest = idle().min_by_key(|(_, path)| path.used).map(|(peer, _)| *peer);
            oldest.map(|oldest| self.0.remove(&oldest));
        }
    }

    /// How many are known.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
