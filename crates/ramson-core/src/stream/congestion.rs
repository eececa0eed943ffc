//! How many packets may be under way to a peer, and how fast they leave.
//!
//! Tunnels lose messages at random as well as by congestion, and hops that are too busy drop without queueing. So
//! loss alone says little: the window shrinks by much when the round trip swells or when a large share is lost, and by
//! little otherwise. It grows by doubling until the round trip rises or something is lost, then by a share of itself
//! while no queue shows, and one packet per round trip when one does. The queue that it tolerates has a bound in
//! packets: i2pd ends a session, with all tunnels on it, when 500 messages wait for its peer.

use super::rtt::{MIN_HALF, Rtt};
use crate::limits::stream as limits;
use crate::time::{Duration, Instant};

/// The window never shrinks below this.
pub(super) const MIN_WINDOW: f64 = 2.0;
/// Share of lost packets that counts as congestion whatever the round trip says. A packet is two tunnel messages, so
/// one in eight of those lost is one in four of these.
const HEAVY_LOSS: f64 = 0.25;
/// Share of lost packets that speaks for another path.
const LOSSY: f64 = 0.12;
/// Weight of one packet in the share of lost ones.
const LOSS_WEIGHT: f64 = 1.0 / 64.0;
/// Most packets that leave at once when the pacer was idle.
const BURST: u32 = 10;
/// What a round trip may be longer than the shortest without a queue.
const JITTER: Duration = Duration::from_millis(8);
/// Packets in queues, by the round trip, up to which the window grows by a share of itself.
const QUEUE: (f64, f64) = (3.0, 48.0);
/// The window's share down to which a queue was drained, and that of the round trip that must be gone by then: else it was
/// no queue, and the way has become longer.
const DRAINED: (f64, f64) = (0.65, 0.9);
/// The window's share while the length of the way is probed.
const PROBE: f64 = 0.6;
/// After a pause so long the window starts again as a new one, and doubles up to what it was.
const IDLE: Duration = Duration::from_secs(1);

/// The congestion window of one path, in packets.
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
    /// When the window last shrank for a round trip to see how long the way is without a queue, and the size before.
    probed_at: Instant,
    probing: Option<f64>,
    /// Window and round trip when the draining of a queue began.
    draining: Option<(f64, Duration)>,
}

#[derive(Clone, Debug, Default)]
struct Round {
    end: u64,
    acked: u32,
    lost: u32,
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
            probed_at: Instant::ZERO,
            probing: None,
            draining: None,
        }
    }

    /// Whole packets.
    pub(super) fn packets(&self) -> u32 {
        self.size as u32
    }

    /// `acked` packets arrived, the newest of them sent as transmission `tx`; `next` is the transmission to come.
    /// `limited` says that the window, and not the program or the peer, held the senders back. Gives the length of the
    /// way where that has grown.
    pub(super) fn acked(
        &mut self,
        acked: u32,
        tx: u64,
        next: u64,
        limited: bool,
        sample: Option<Duration>,
        rtt: &Rtt,
    ) -> Option<Duration> {
        self.round.acked += acked;
        self.loss *= (1.0 - LOSS_WEIGHT).powf(acked.into());
        self.round.limited |= limited;
        if let Some(sample) = sample {
            self.round.min_rtt = Some(self.round.min_rtt.map_or(sample, |min| min.min(sample)));
        }
        let queued = self.queued(rtt);
        if self.round.limited && self.probing.is_none() {
            let acked = f64::from(acked);
            self.size += if self.size < self.threshold {
                acked
            } else if queued < self.target() {
                acked * (self.size / 8.0).max(1.0) / self.size
            } else {
                acked / self.size
            };
        }
        if self.size < self.threshold && self.round.acked >= 8 && queued > (2.0 * self.target()).max(4.0) {
            self.threshold = self.size; // the queue fills: doubling ends
        }
        let longer = if tx >= self.round.end { self.end_round(next, queued) } else { None };
        self.size = self.size.clamp(MIN_WINDOW, self.ceiling);
        longer
    }

    /// Packets in queues that are welcome: they keep the slowest hop busy.
    fn target(&self) -> f64 {
        (self.size / 8.0).clamp(QUEUE.0, QUEUE.1)
    }

    /// Whether the path loses more than a usual one.
    pub(super) const fn is_lossy(&self) -> bool {
        self.loss > LOSSY
    }

    /// Shrinks for a round trip where that was not done for long and a queue may stand, and grows back after it.
    pub(super) fn probe(&mut self, now: Instant) {
        if let Some(size) = self.probing.take() {
            self.size = self.size.max(size.min(self.ceiling));
        } else if now.since(self.probed_at) >= MIN_HALF && self.size >= self.threshold {
            self.probed_at = now;
            self.probing = Some(self.size);
            self.size = (self.size * PROBE).max(MIN_WINDOW);
        }
    }

    /// Whether the round has just begun.
    pub(super) const fn is_round_new(&self) -> bool {
        self.round.acked == 0
    }

    fn end_round(&mut self, next: u64, queued: f64) -> Option<Duration> {
        let round = std::mem::replace(&mut self.round, Round { end: next, ..Round::default() });
        let most = (self.size / 2.0).min(2.0 * QUEUE.1);
        if self.size < self.threshold || queued <= most {
            self.draining = None;
            return None;
        }
        let now = round.min_rtt?;
        if round.lost * 8 > round.acked {
            self.draining = None; // a queue that overflows stays as long as it is, with less under way, too
        }
        // A round trip tells of the window one round ago: while it still rises, what it tells of is the rise.
        let began = self.draining.filter(|(_, rtt)| now <= rtt.div_f64(DRAINED.1));
        let (size, rtt) = began.unwrap_or((self.size, now));
        self.draining = Some((size, rtt));
        if self.size <= size * DRAINED.0 && now >= rtt.mul_f64(DRAINED.1) {
            // Less is under way, and it takes as long: doubling finds out anew what the longer way bears.
            self.draining = None;
            self.threshold = f64::INFINITY;
            return Some(now);
        }
        // The round trip has doubled, or more waits than hops bear: what is too much drains.
        self.size = (self.size - (queued - self.target()).max(0.0)).max(self.size * 0.85);
        None
    }

    /// Packets that wait in queues, by the round trips of this round against the smallest known.
    fn queued(&self, rtt: &Rtt) -> f64 {
        let (Some(recent), Some(min)) = (self.round.min_rtt, rtt.min()) else { return 0.0 };
        // Some milliseconds are those of timers and of busy machines, not of a queue.
        let (recent, min) = (recent.saturating_sub(JITTER).as_secs_f64(), min.as_secs_f64());
        if recent <= min { 0.0 } else { self.size * (1.0 - min / recent) }
    }

    /// A packet sent as transmission `tx` was lost. Shrinks once per window; `next` is the transmission to come.
    pub(super) fn lost(&mut self, tx: u64, next: u64, rtt: &Rtt) {
        self.loss += (1.0 - self.loss) * LOSS_WEIGHT;
        self.round.lost += 1;
        if tx < self.recovery {
            return;
        }
        self.recovery = next;
        // What was taken off to probe is no answer to a loss.
        self.size = self.probing.take().map_or(self.size, |size| self.size.max(size));
        self.before = Some((self.size, self.threshold));
        let heavy = self.loss > HEAVY_LOSS || self.queued(rtt) > (self.size / 3.0).min(QUEUE.1);
        let doubling = self.size < self.threshold;
        self.size = (self.size * if heavy { 0.7 } else { 0.97 }).max(MIN_WINDOW);
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

    /// Nothing arrives any more, by whatever way: starts small again, up to where it stood.
    pub(super) fn collapse(&mut self, next: u64) {
        self.threshold = self.threshold.min((self.size * 0.7).max(MIN_WINDOW * 2.0));
        self.size = MIN_WINDOW * 2.0;
        self.recovery = next;
        (self.before, self.probing) = (None, None);
    }

    /// Another path: as a new one, and with care beyond half of what the old one bore, since the new one may be as
    /// good or may fail for the same reason.
    pub(super) fn path_changed(&mut self, initial: u32, next: u64) {
        self.threshold = self.threshold.min((self.size / 2.0).max(f64::from(initial)));
        self.size = self.size.min(f64::from(initial)).max(MIN_WINDOW);
        self.recovery = next;
        (self.before, self.probing) = (None, None);
        self.loss = 0.0;
        self.round = Round { end: next, ..Round::default() };
    }

    /// Nothing was under way since `since`: after a while the path may be another one than it was.
    pub(super) fn resumed(&mut self, now: Instant, since: Instant, initial: u32) {
        if now.since(since) > IDLE && self.packets() > initial {
            self.threshold = self.threshold.min(self.size);
            self.size = f64::from(initial);
            self.probing = None;
        }
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
        let gain = if self.size < self.threshold && self.probing.is_none() { 2.0 } else { 1.25 };
        let interval = rtt.smoothed().div_f64((self.size * gain).max(1.0));
        // At least 2 ms worth, so that timers need not be finer. A path that drops may have queues of one packet.
        let burst = if self.loss > HEAVY_LOSS {
            Duration::ZERO
        } else {
            (interval * BURST).max(Duration::from_millis(2)).min(rtt.smoothed())
        };
        self.pace_at = self.pace_at.max(now - burst) + interval;
    }
}

/// How many packets of one stream the receiver bears. There is no receive window on the wire: a receiver that is full
/// chokes, or drops what is too far ahead in silence, as Java does beyond 128 packets.
#[derive(Clone, Debug)]
pub(super) struct Ceiling {
    size: f64,
    most: f64,
    answered: u64,
    /// Packets that were far ahead when they were sent: arrived, and lost.
    far: (f64, f64),
    /// The same of those that were not.
    near: (f64, f64),
    drops_far: bool,
}

impl Ceiling {
    pub(super) fn new(most: u32) -> Self {
        let most = f64::from(most).max(MIN_WINDOW);
        Self { size: most, most, answered: 0, far: (0.0, 0.0), near: (0.0, 0.0), drops_far: false }
    }

    pub(super) fn packets(&self) -> u32 {
        self.size as u32
    }

    /// Whether the receiver was seen to drop in silence what is far ahead.
    pub(super) const fn drops_far(&self) -> bool {
        self.drops_far
    }

    /// The receiver is full: half of what is under way, and never again more than Java's buffer holds. Once for what
    /// was sent before the answer to it; `next` is the stream's transmission to come.
    pub(super) fn choked(&mut self, in_flight: u32, tx: u64, next: u64) {
        self.most = self.most.min(f64::from(limits::JAVA_WINDOW));
        if tx >= self.answered {
            self.size = (f64::from(in_flight) / 2.0).clamp(MIN_WINDOW, self.most);
            self.answered = next;
        }
        self.size = self.size.min(self.most);
    }

    /// Packets arrived: `far` of them were sent at least a Java window ahead of the oldest missing one.
    pub(super) fn acked(&mut self, near: u32, far: u32) {
        self.near.0 += f64::from(near);
        self.far.0 += f64::from(far);
        self.size = (self.size + f64::from(near + far) / self.size).min(self.most);
        self.age();
    }

    /// A packet was lost that was sent `ahead` of the oldest missing one. Where those far ahead are lost much more
    /// often than the others, the receiver drops them.
    pub(super) fn lost(&mut self, ahead: u32) {
        if ahead < limits::JAVA_WINDOW {
            self.near.1 += 1.0;
            return;
        }
        self.far.1 += 1.0;
        let share = |(arrived, lost): (f64, f64)| lost / (arrived + lost).max(1.0);
        if self.far.1 >= 32.0 && share(self.far) > 0.3 + 2.0 * share(self.near) {
            self.drops_far = true;
            self.most = self.most.min(f64::from(limits::JAVA_WINDOW));
            self.size = self.size.min(self.most);
        }
    }

    /// What was long ago counts less.
    fn age(&mut self) {
        for count in [&mut self.near, &mut self.far] {
            if count.0 + count.1 > 2048.0 {
                *count = (count.0 / 2.0, count.1 / 2.0);
            }
        }
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

    /// The round trip is that of a longer way, whatever is under way: after a few rounds it is taken for what it is.
    #[test]
    fn a_longer_way_is_told_from_a_queue_in_a_few_rounds() {
        let (mut window, mut rtt, mut tx) = (Window::new(32, 512), sampled(2), 0);
        run(&mut window, &rtt, 5, 2, &mut tx);
        window.threshold = 100.0;
        let mut rounds = 0;
        while rtt.min() == Some(Duration::from_millis(2)) {
            rounds += 1;
            assert!(rounds < 10, "{window:?}");
            for _ in 0..window.packets() {
                tx += 1;
                let next = tx + u64::from(window.packets());
                let longer = window.acked(1, tx, next, true, Some(Duration::from_millis(100)), &rtt);
                longer.into_iter().for_each(|length| rtt.lengthened(Instant::ZERO, length));
            }
        }
        assert_eq!(rtt.min(), Some(Duration::from_millis(100)));
        run(&mut window, &rtt, 4, 100, &mut tx);
        assert_eq!(window.packets(), 512);
    }

    /// The round trip falls with what is under way: that is a queue, for as long as it lasts.
    #[test]
    fn a_queue_is_not_taken_for_a_longer_way() {
        let (mut window, rtt, mut tx) = (Window::new(32, 512), sampled(20), 0);
        window.size = 400.0;
        window.threshold = 100.0;
        for _ in 0..100 {
            let (packets, sample) = (window.packets(), Duration::from_millis(u64::from(window.packets()).max(20)));
            for _ in 0..packets {
                tx += 1;
                assert_eq!(window.acked(1, tx, tx + u64::from(packets), true, Some(sample), &rtt), None);
            }
        }
        assert!(window.packets() < 60, "{}", window.packets());
    }

    #[test]
    fn random_loss_costs_little_and_heavy_loss_much() {
        let (mut window, rtt) = (Window::new(100, 128), sampled(100));
        window.lost(5, 10, &rtt);
        assert_eq!(window.packets(), 97);
        window.lost(6, 11, &rtt);
        assert_eq!(window.packets(), 97, "once per window");
        for tx in 10..40 {
            window.lost(tx, 40, &rtt);
        }
        window.lost(41, 50, &rtt);
        assert!(window.packets() < 68);
        window.undo();
        assert!(window.packets() >= 67, "the last reduction is undone");
    }

    #[test]
    fn a_choke_halves_and_lowers_the_ceiling_once() {
        let mut ceiling = Ceiling::new(2048);
        ceiling.choked(400, 10, 100);
        assert_eq!(ceiling.packets(), 128);
        ceiling.choked(100, 100, 200);
        assert_eq!(ceiling.packets(), 50);
        ceiling.choked(50, 150, 200);
        assert_eq!(ceiling.packets(), 50, "the same window");
        (0..20_000).for_each(|_| ceiling.acked(1, 0));
        assert_eq!(ceiling.packets(), 128);
    }

    #[test]
    fn a_receiver_that_drops_what_is_far_ahead_is_found_out_and_a_bad_path_is_not() {
        let mut java = Ceiling::new(2048);
        for _ in 0..10 {
            java.acked(128, 0);
            (0..100).for_each(|n| java.lost(128 + n));
        }
        assert_eq!(java.packets(), 128);
        let mut bad = Ceiling::new(2048);
        for n in 0..20_000 {
            if n % 5 == 0 {
                bad.lost(n % 1000);
            } else {
                bad.acked(u32::from(n % 1000 < 128), u32::from(n % 1000 >= 128));
            }
        }
        assert_eq!(bad.packets(), 2048);
    }

    #[test]
    fn a_large_window_bears_no_more_queue_than_hops_do() {
        let (mut window, rtt, mut tx) = (Window::new(1000, 4096), sampled(200), 0);
        window.threshold = 1000.0;
        // 300 packets wait: far less than half of the window.
        run(&mut window, &rtt, 4, 300, &mut tx);
        assert!(window.packets() < 720, "{}", window.packets());
    }

    /// A window that shrank only to see the way without a queue does not grow meanwhile, and gets back what it had: also
    /// after a loss, and not after a pause.
    #[test]
    fn a_probe_costs_one_round_trip_and_no_window() {
        let at = Instant::from_micros(60_000_000);
        let probing = || {
            let (mut window, rtt) = (Window::new(100, 4096), sampled(100));
            window.threshold = 100.0;
            window.probe(at);
            assert_eq!(window.packets(), 60);
            window.acked(10, 1, 100, true, None, &rtt);
            assert_eq!(window.packets(), 60);
            (window, rtt)
        };
        let (mut window, _) = probing();
        window.probe(at);
        assert_eq!(window.packets(), 100);
        window.probe(at + Duration::from_secs(1));
        assert_eq!(window.packets(), 100, "not again so soon");
        let (mut window, rtt) = probing();
        window.lost(200, 300, &rtt);
        assert_eq!(window.packets(), 97);
        let (mut window, _) = probing();
        window.resumed(at, at - Duration::from_secs(2), 32);
        window.probe(at);
        assert_eq!(window.packets(), 32);
    }

    #[test]
    fn after_a_pause_it_starts_small_and_doubles() {
        let (mut window, rtt, mut tx) = (Window::new(32, 4096), sampled(100), 0);
        run(&mut window, &rtt, 5, 100, &mut tx);
        assert!(window.packets() > 500);
        let now = Instant::from_micros(9_000_000);
        window.resumed(now, now - Duration::from_millis(900), 32);
        assert!(window.packets() > 500);
        window.resumed(now, now - Duration::from_millis(1_100), 32);
        assert_eq!(window.packets(), 32);
        run(&mut window, &rtt, 4, 100, &mut tx);
        assert!(window.packets() >= 500, "{}", window.packets());
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
