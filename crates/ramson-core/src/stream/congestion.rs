//! How many packets may be under way, and how fast they leave.
//!
//! Tunnels lose messages at random as well as by congestion, and hops that are too busy drop without queueing. So
//! loss alone says little: the window shrinks by much when the round trip swells or when more than a tenth is lost,
//! and by little otherwise. It grows by doubling until the round trip rises or something is lost, then by a share
//! of itself while no queue shows, and one packet per round trip when one does.

use super::rtt::Rtt;
use crate::time::{Duration, Instant};

/// The window never shrinks below this.
pub(super) const MIN_WINDOW: f64 = 2.0;
/// Share of lost packets that counts as congestion whatever the round trip says. A packet is two tunnel messages, so
/// one in twenty of those lost is one in ten of these.
const HEAVY_LOSS: f64 = 0.15;
/// Weight of one packet in the share of lost ones.
const LOSS_WEIGHT: f64 = 1.0 / 64.0;
/// Most packets that leave at once when the pacer was idle.
const BURST: u32 = 10;

/// The congestion window of one stream, in packets.
#[derive(Clone, Debug)]
pub(super) struct Window {
    size: f64,
    threshold: f64,
    ceiling: f64,
    /// Counts of the running round, which ends when a packet sent after its start is acknowledged.
    round: Round,
    /// Share of lost packets, smoothed.
    loss: f64,
    /// Window and threshold before the last reduction, to undo it when the loss turns out to be reordering.
    before: Option<(f64, f64)>,
    /// Packets sent before this transmission belong to a loss that was answered already.
    recovery: u64,
    pace_at: Instant,
}

#[derive(Clone, Debug, Default)]
struct Round {
    end: u64,
    acked: u32,
    min_rtt: Option<Duration>,
    limited: bool,
}

impl Window {
    pub(super) fn new(initial: u32, ceiling: u32) -> Self {
        Self {
            size: f64::from(initial).max(MIN_WINDOW),
            threshold: f64::INFINITY,
            ceiling: f64::from(ceiling).max(MIN_WINDOW),
            round: Round::default(),
            loss: 0.0,
            before: None,
            recovery: 0,
            pace_at: Instant::ZERO,
        }
    }

    /// Whole packets.
    pub(super) fn packets(&self) -> u32 {
        self.size as u32
    }

    /// The size that a new stream to the same peer may start with.
    pub(super) fn learned(&self) -> u32 {
        if self.threshold.is_finite() { (self.size / 2.0) as u32 } else { self.packets() }
    }

    /// `acked` packets arrived, the newest of them sent as transmission `tx`; `next` is the transmission to come.
    /// `limited` says that the window, and not the program or the peer, held the sender back.
    pub(super) fn acked(&mut self, acked: u32, tx: u64, next: u64, limited: bool, sample: Option<Duration>, rtt: &Rtt) {
        self.round.acked += acked;
        self.loss *= (1.0 - LOSS_WEIGHT).powf(acked.into());
        self.round.limited |= limited;
        if let Some(sample) = sample {
            self.round.min_rtt = Some(self.round.min_rtt.map_or(sample, |min| min.min(sample)));
        }
        let queued = self.queued(rtt);
        if self.round.limited {
            let acked = f64::from(acked);
            self.size += if self.size < self.threshold {
                acked
            } else if queued < (self.size / 8.0).max(3.0) {
                acked * (self.size / 8.0).max(1.0) / self.size
            } else {
                acked / self.size
            };
        }
        if self.size < self.threshold && self.round.acked >= 8 && queued > (self.size / 4.0).max(4.0) {
            self.threshold = self.size; // the queue fills: doubling ends
        }
        if tx >= self.round.end {
            self.end_round(next, queued);
        }
        self.size = self.size.clamp(MIN_WINDOW, self.ceiling);
    }

    fn end_round(&mut self, next: u64, queued: f64) {
        if self.size >= self.threshold && queued > self.size / 2.0 {
            self.size *= 0.85; // the round trip has doubled: drain
        }
        self.round = Round { end: next, ..Round::default() };
    }

    /// Packets that wait in queues, by the round trips of this round against the smallest known.
    fn queued(&self, rtt: &Rtt) -> f64 {
        let (Some(recent), Some(min)) = (self.round.min_rtt, rtt.min()) else { return 0.0 };
        // A few milliseconds are jitter of timers, not a queue.
        let (recent, min) = (recent.as_secs_f64() - 0.005, min.as_secs_f64());
        if recent <= min { 0.0 } else { self.size * (1.0 - min / recent) }
    }

    /// A packet sent as transmission `tx` was lost. Shrinks once per window; `next` is the transmission to come.
    pub(super) fn lost(&mut self, tx: u64, next: u64, rtt: &Rtt) {
        self.loss += (1.0 - self.loss) * LOSS_WEIGHT;
        if tx < self.recovery {
            return;
        }
        self.recovery = next;
        self.before = Some((self.size, self.threshold));
        let heavy = self.loss > HEAVY_LOSS || self.queued(rtt) > self.size / 3.0;
        let doubling = self.size < self.threshold;
        self.size = (self.size * if heavy { 0.7 } else { 0.95 }).max(MIN_WINDOW);
        if heavy || !doubling {
            self.threshold = self.size;
        }
    }

    /// The last loss was reordering.
    pub(super) fn undo(&mut self) {
        if let Some((size, threshold)) = self.before.take() {
            self.size = self.size.max(size).min(self.ceiling);
            self.threshold = self.threshold.max(threshold);
            self.loss /= 2.0;
        }
    }

    /// Nothing arrives any more: starts small again, up to where it stood.
    pub(super) fn collapse(&mut self, next: u64) {
        self.threshold = self.threshold.min((self.size * 0.7).max(MIN_WINDOW * 2.0));
        self.size = MIN_WINDOW * 2.0;
        self.recovery = next;
        self.before = None;
    }

    /// The peer's buffer is full: half, and never again above what Java's buffer holds.
    pub(super) fn choked(&mut self, next: u64) {
        if self.recovery < next {
            self.ceiling = self.ceiling.min(128.0);
            self.size = (self.size / 2.0).clamp(MIN_WINDOW, self.ceiling);
            self.threshold = self.size;
            self.recovery = next;
        }
        self.before = None;
    }

    /// Another path: half of what was learned, since the new one may be as good.
    pub(super) fn path_changed(&mut self, initial: u32, next: u64) {
        let half = (self.size / 2.0).max(f64::from(initial).min(self.size));
        self.threshold = self.threshold.max(self.size);
        self.size = half.max(MIN_WINDOW);
        self.recovery = next;
        self.round = Round { end: next, ..Round::default() };
    }

    /// When the next packet may leave.
    pub(super) const fn pace_at(&self) -> Instant {
        self.pace_at
    }

    /// A packet left at `now`: the next follows after its share of the round trip. An idle pacer saves up a short
    /// burst.
    pub(super) fn paced(&mut self, now: Instant, rtt: &Rtt) {
        if !rtt.is_sampled() {
            return;
        }
        let gain = if self.size < self.threshold { 2.0 } else { 1.25 };
        let interval = rtt.smoothed().div_f64((self.size * gain).max(1.0));
        // At least 2 ms worth, so that timers need not be finer. A path that drops may have queues of one packet.
        let burst = if self.loss > 0.05 {
            Duration::ZERO
        } else {
            (interval * BURST).max(Duration::from_millis(2)).min(rtt.smoothed())
        };
        self.pace_at = self.pace_at.max(now - burst) + interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(ms: u64) -> Rtt {
        let mut rtt = Rtt::new(Duration::from_millis(ms));
        rtt.sample(Instant::ZERO, Duration::from_millis(ms));
        rtt
    }

    /// Runs `rounds` round trips of a full window with round trip `ms`.
    fn run(window: &mut Window, rtt: &Rtt, rounds: u32, ms: u64, tx: &mut u64) {
        for _ in 0..rounds {
            for _ in 0..window.packets() {
                *tx += 1;
                let next = *tx + u64::from(window.packets());
                window.acked(1, *tx, next, true, Some(Duration::from_millis(ms)), rtt);
            }
        }
    }

    #[test]
    fn doubles_to_the_ceiling_while_the_path_is_free() {
        let (mut window, rtt, mut tx) = (Window::new(10, 128), sampled(100), 0);
        run(&mut window, &rtt, 5, 100, &mut tx);
        assert_eq!(window.packets(), 128);
    }

    #[test]
    fn stops_doubling_and_drains_when_the_round_trip_swells() {
        let (mut window, rtt, mut tx) = (Window::new(32, 512), sampled(100), 0);
        run(&mut window, &rtt, 2, 300, &mut tx);
        assert!(window.threshold.is_finite() && window.packets() < 64, "{}", window.packets());
        window.size = 100.0;
        run(&mut window, &rtt, 10, 300, &mut tx);
        assert!(window.packets() < 50, "{}", window.packets());
    }

    #[test]
    fn random_loss_costs_little_and_heavy_loss_much() {
        let (mut window, rtt) = (Window::new(100, 128), sampled(100));
        window.lost(5, 10, &rtt);
        assert_eq!(window.packets(), 95);
        window.lost(6, 11, &rtt);
        assert_eq!(window.packets(), 95, "once per window");
        for tx in 10..40 {
            window.lost(tx, 40, &rtt);
        }
        window.lost(41, 50, &rtt);
        assert!(window.packets() < 67);
        window.undo();
        assert!(window.packets() >= 66, "the last reduction is undone");
    }

    #[test]
    fn a_choke_halves_and_lowers_the_ceiling_once() {
        let (mut window, rtt, mut tx) = (Window::new(400, 512), sampled(100), 100);
        window.choked(100);
        assert_eq!(window.packets(), 128);
        window.choked(100);
        assert_eq!(window.packets(), 128, "the same window");
        run(&mut window, &rtt, 50, 100, &mut tx);
        assert_eq!(window.packets(), 128);
    }

    #[test]
    fn pacing_spreads_a_window_over_a_round_trip() {
        let (mut window, rtt) = (Window::new(100, 128), sampled(100));
        window.threshold = 1.0;
        let now = Instant::from_micros(1_000_000);
        for _ in 0..125 {
            window.paced(now, &rtt);
        }
        let ahead = window.pace_at().since(now);
        assert!(ahead > Duration::from_millis(85) && ahead < Duration::from_millis(101), "{ahead:?}");
    }
}
