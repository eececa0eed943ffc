//! How many bytes may be under way: CUBIC (RFC 9438), whose doubling ends by HyStart++, and which tells losses of a bad
//! line from those of a full one.
//!
//! Routers share their line with TCP, whose flows are CUBIC's nearly everywhere: with its growth and its answer to
//! congestion neither starves the other. But half of all routers are behind radio, where packets are lost while no queue
//! is; there CUBIC alone takes a small part of the line (1 Mbit/s at 2 % and 100 ms). So a loss counts in full when the
//! round trip shows a queue, or when the share of lost packets is more than bad lines have; BBR draws that line at 2 %,
//! too. Where neither is so the window goes on as if nothing had been lost. A share between shrinks it in proportion.

use super::hystart::HyStart;
use super::rtt::Rtt;
use crate::limits::transfer as limits;
use crate::time::{Duration, Instant};

/// Datagrams of the first window and of the smallest (RFC 9002, section 7.2).
const INITIAL_DATAGRAMS: u64 = 10;
const MIN_DATAGRAMS: u64 = 2;
/// CUBIC's constants (RFC 9438, section 4.6 and 4.1).
const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// Growth per round trip in its region that is fair to Reno, in datagrams.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// The share of lost packets up to which nothing speaks for congestion, and the one from which it does.
const LOSSY: f64 = 0.025;
const CONGESTED: f64 = 0.06;
/// Weight of one packet in the share.
const LOSS_WEIGHT: f64 = 1.0 / 256.0;
/// A round trip that is longer than the shortest by this part, and by this much, shows a queue.
const QUEUE_DIVISOR: u32 = 8;
const QUEUE_LEAST: Duration = Duration::from_millis(4);

/// The window of a session.
#[derive(Clone, Debug)]
pub(super) struct Window {
    bytes: f64,
    threshold: f64,
    datagram: f64,
    hystart: HyStart,
    /// Where the cubic curve has its plateau, and how many seconds it takes to get there.
    w_max: f64,
    k: f64,
    /// When the curve began; `None` until the first growth after a reduction.
    epoch: Option<Instant>,
    /// What Reno would have.
    w_est: f64,
    /// Packets that were sent before this belong to a reduction that was made.
    reduced_at: Option<Instant>,
    last_ack: Instant,
    loss_share: f64,
    /// The smallest round trips of the running round and of the one before it, and the packet with which it ends.
    round: [Duration; 2],
    round_end: u32,
    undo: Option<Box<Undo>>,
    /// Every loss counts in full, as for TCP.
    strict: bool,
}

/// What a reduction has changed, while it may turn out to have been for nothing.
#[derive(Clone, Debug)]
struct Undo {
    bytes: f64,
    threshold: f64,
    w_max: f64,
    k: f64,
    epoch: Option<Instant>,
    w_est: f64,
    /// Lost packets that have not arrived after all.
    lost: u32,
}

/// A packet that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acked {
    pub(super) sent: Instant,
    pub(super) bytes: u64,
    /// While it was sent there was nothing else to send: the window was not what held us back.
    pub(super) limited: bool,
}

impl Window {
    /// `datagram` is the size of the largest datagram.
    pub(super) fn new(now: Instant, datagram: u64) -> Self {
        Self {
            bytes: (INITIAL_DATAGRAMS * datagram) as f64,
            threshold: f64::INFINITY,
            datagram: datagram as f64,
            hystart: HyStart::new(),
            w_max: 0.0,
            k: 0.0,
            epoch: None,
            w_est: 0.0,
            reduced_at: None,
            last_ack: now,
            loss_share: 0.0,
            round: [Duration::MAX; 2],
            round_end: 0,
            undo: None,
            strict: false,
        }
    }

    /// From now on it is CUBIC and nothing else.
    #[cfg(test)]
    pub(super) const fn be_strict(&mut self) {
        self.strict = true;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Whether the window still doubles.
    pub(super) fn doubles(&self) -> bool {
        self.bytes < self.threshold
    }

    /// The share of packets that are lost, 0 to 1.
    #[cfg(test)]
    pub(super) const fn loss_share(&self) -> f64 {
        self.loss_share
    }

    /// Datagrams have another size from now on.
    pub(super) fn set_datagram(&mut self, datagram: u64) {
        self.datagram = datagram as f64;
        self.bytes = self.bytes.max(self.least());
    }

    fn least(&self) -> f64 {
        MIN_DATAGRAMS as f64 * self.datagram
    }

    /// A round trip was measured with this packet; `next` is the number that the next packet will have.
    pub(super) fn sampled(&mut self, number: u32, next: u32, sample: Duration) {
        if number >= self.round_end {
            self.round_end = next;
            self.round = [Duration::MAX, self.round[0]];
        }
        self.round[0] = self.round[0].min(sample);
        if self.doubles() && self.hystart.sample(number, next, sample) {
            self.threshold = self.bytes;
        }
    }

    /// A packet has arrived.
    pub(super) fn acked(&mut self, now: Instant, packet: Acked, rtt: &Rtt) {
        self.loss_share -= self.loss_share * LOSS_WEIGHT;
        let since = now.since(self.last_ack);
        self.last_ack = now;
        if packet.limited {
            // The curve does not go on while the window is not used (RFC 9438, section 5.8).
            self.epoch = self.epoch.map(|epoch| epoch + since);
            return;
        }
        if self.reduced_at.is_some_and(|at| packet.sent <= at) {
            return;
        }
        if self.doubles() {
            self.bytes += self.hystart.growth(packet.bytes) as f64;
        } else {
            self.grow(now, packet.bytes as f64, rtt);
        }
        self.bytes = self.bytes.min(limits::WINDOW as f64);
    }

    /// CUBIC's growth (RFC 9438, sections 4.2 to 4.5).
    fn grow(&mut self, now: Instant, acked: f64, rtt: &Rtt) {
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            None => {
                self.w_est = self.bytes;
                if self.w_max <= self.bytes {
                    self.w_max = self.bytes;
                    self.k = 0.0;
                } else {
                    self.k = ((self.w_max - self.bytes) / self.datagram / C).cbrt();
                }
                self.epoch = Some(now);
                now
            }
        };
        let t = now.since(epoch).as_secs_f64();
        let curve = |t: f64| C * self.datagram * (t - self.k).powi(3) + self.w_max;
        let alpha = if self.w_est >= self.w_max { 1.0 } else { ALPHA };
        self.w_est += alpha * self.datagram * acked / self.bytes;
        if curve(t) < self.w_est {
            self.bytes = self.bytes.max(self.w_est);
        } else {
            let target = curve(t + rtt.smoothed().as_secs_f64()).clamp(self.bytes, 1.5 * self.bytes);
            self.bytes += (target - self.bytes) * acked / self.bytes;
        }
    }

    /// Packets are lost, of which the last was sent at `sent`.
    pub(super) fn lost(&mut self, now: Instant, packets: u32, sent: Instant, rtt: &Rtt) {
        if self.reduced_at.is_some_and(|at| sent <= at) {
            if let Some(undo) = &mut self.undo {
                undo.lost += packets;
            }
            return;
        }
        for _ in 0..packets {
            self.loss_share += (1.0 - self.loss_share) * LOSS_WEIGHT;
        }
        let factor = self.factor(rtt);
        if factor >= 1.0 {
            return;
        }
        let undo = Undo {
            bytes: self.bytes,
            threshold: self.threshold,
            w_max: self.w_max,
            k: self.k,
            epoch: self.epoch,
            w_est: self.w_est,
            lost: packets,
        };
        self.reduce(now, factor);
        self.undo = Some(Box::new(undo));
    }

    /// The peer says that a packet met congestion (the Congestion block's ECN flag). It is not known which one it was:
    /// taken for one sent a round trip ago.
    pub(super) fn congestion_experienced(&mut self, now: Instant, rtt: &Rtt) {
        if self.reduced_at.is_none_or(|at| now - rtt.smoothed() > at) {
            self.reduce(now, BETA);
        }
    }

    /// What remains of the window after a loss: all of it where nothing speaks for congestion.
    fn factor(&self, rtt: &Rtt) -> f64 {
        let seen = self.round[0].min(self.round[1]);
        let queued = rtt.min().is_none_or(|min| {
            let limit = min + (min / QUEUE_DIVISOR).max(QUEUE_LEAST);
            seen != Duration::MAX && seen > limit
        });
        if queued || self.strict {
            return BETA;
        }
        let over = ((self.loss_share - LOSSY) / (CONGESTED - LOSSY)).clamp(0.0, 1.0);
        1.0 - (1.0 - BETA) * over
    }

    fn reduce(&mut self, now: Instant, factor: f64) {
        // A flow that did not get back to where it was leaves room for another (RFC 9438, section 4.7).
        self.w_max = if self.bytes < self.w_max { self.bytes * (1.0 + factor) / 2.0 } else { self.bytes };
        // What was lost is paid for: how it goes on says whether the line is still too full.
        self.loss_share = self.loss_share.min(LOSSY);
        self.threshold = (self.bytes * factor).max(self.least());
        self.bytes = self.threshold;
        self.epoch = None;
        self.reduced_at = Some(now);
        self.undo = None;
    }

    /// Nothing has arrived for several timeouts (RFC 9002, section 7.6.2).
    pub(super) fn persistent_congestion(&mut self) {
        self.w_max = self.bytes;
        self.threshold = (self.bytes * BETA).max(self.least());
        self.bytes = self.least();
        self.epoch = None;
        self.reduced_at = None;
        self.undo = None;
        self.hystart = HyStart::new();
    }

    /// A packet that was taken for lost has arrived. When all of the last reduction have, it is undone.
    pub(super) fn not_lost(&mut self, sent: Instant) {
        self.loss_share = (self.loss_share - LOSS_WEIGHT).max(0.0);
        if self.reduced_at.is_none_or(|at| sent > at) {
            return;
        }
        let Some(undo) = &mut self.undo else { return };
        undo.lost = undo.lost.saturating_sub(1);
        if undo.lost == 0
            && let Some(undo) = self.undo.take()
        {
            self.bytes = self.bytes.max(undo.bytes);
            self.threshold = undo.threshold;
            (self.w_max, self.k, self.epoch, self.w_est) = (undo.w_max, undo.k, undo.epoch, undo.w_est);
            self.reduced_at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATAGRAM: u64 = 1_472;

    struct Flow {
        window: Window,
        rtt: Rtt,
        now: Instant,
        number: u32,
    }

    impl Flow {
        fn new(rtt_ms: u64) -> Self {
            let now = Instant::from_micros(1_000_000);
            let rtt = Rtt::new(now, Some(Duration::from_millis(rtt_ms)));
            Self { window: Window::new(now, DATAGRAM), rtt, now, number: 0 }
        }

        /// A full window goes and all of it arrives a round trip later.
        fn round(&mut self, ms: u64) {
            let (sent, packets) = (self.now, (self.window.bytes() / DATAGRAM) as u32);
            let next = self.number + packets;
            let sample = Duration::from_millis(ms);
            self.now = self.now + sample;
            for number in self.number..next {
                self.rtt.sample(self.now, sample);
                self.window.sampled(number, next, sample);
                let acked = Acked { sent, bytes: DATAGRAM, limited: false };
                self.window.acked(self.now, acked, &self.rtt);
            }
            self.number = next;
        }

        fn lose(&mut self, packets: u32) {
            self.window.lost(self.now, packets, self.now, &self.rtt);
        }

        fn packets(&self) -> u64 {
            self.window.bytes() / DATAGRAM
        }
    }

    #[test]
    fn doubles_per_round_trip_from_ten_datagrams() {
        let mut flow = Flow::new(50);
        for round in 0..5 {
            assert_eq!(flow.packets(), 10 << round);
            flow.round(50);
        }
        assert!(flow.window.doubles());
    }

    #[test]
    fn a_loss_behind_a_queue_costs_three_tenths_once_per_round() {
        let mut flow = Flow::new(50);
        (0..3).for_each(|_| flow.round(50));
        flow.round(80);
        flow.round(80);
        let before = flow.window.bytes();
        flow.lose(1);
        let after = flow.window.bytes();
        assert!((after * 10).abs_diff(before * 7) < 10, "{before} {after}");
        let old = flow.now;
        flow.now = flow.now + Duration::from_millis(10);
        flow.window.lost(flow.now, 5, old, &flow.rtt);
        assert_eq!(flow.window.bytes(), after, "the same round");
    }

    #[test]
    fn follows_the_cubic_curve_back_to_where_it_was() {
        let mut flow = Flow::new(100);
        (0..6).for_each(|_| flow.round(100));
        let before = flow.packets();
        flow.window.loss_share = 1.0;
        flow.lose(1);
        let start = flow.now;
        let mut reached = None;
        for _ in 0..200 {
            flow.round(100);
            if reached.is_none() && flow.packets() >= before {
                reached = Some(flow.now.since(start).as_secs_f64());
            }
        }
        // K = cbrt(640 * 0.3 / 0.4) = 7.8 s.
        let k = (before as f64 * 0.3 / C).cbrt();
        let reached = reached.unwrap();
        assert!((reached - k).abs() < 0.6, "{reached} {k}");
    }

    #[test]
    fn a_lossy_line_without_a_queue_keeps_its_window_and_a_congested_one_does_not() {
        let rest = |every: u32| {
            let mut flow = Flow::new(50);
            (0..4).for_each(|_| flow.round(50));
            flow.window.threshold = 100.0;
            for n in 1..4_000u32 {
                let acked = Acked { sent: flow.now, bytes: DATAGRAM, limited: false };
                flow.now = flow.now + Duration::from_millis(1);
                if n % every == 0 {
                    flow.window.lost(flow.now, 1, flow.now, &flow.rtt);
                } else {
                    flow.window.acked(flow.now, acked, &flow.rtt);
                }
            }
            (flow.packets(), flow.window.loss_share())
        };
        let (lossy, share) = rest(100);
        assert!(lossy >= 160 && share < 0.015, "{lossy} {share}");
        let (congested, share) = rest(8);
        assert!(congested < 20 && share > 0.015, "{congested} {share}");
    }

    #[test]
    fn does_not_grow_while_it_is_not_used() {
        let mut flow = Flow::new(50);
        flow.window.threshold = 0.0;
        let packet = Acked { sent: flow.now, bytes: DATAGRAM, limited: false };
        flow.window.acked(flow.now, packet, &flow.rtt);
        let before = flow.window.bytes();
        for _ in 0..1_000 {
            flow.now = flow.now + Duration::from_millis(50);
            let packet = Acked { sent: flow.now, limited: true, ..packet };
            flow.window.acked(flow.now, packet, &flow.rtt);
        }
        assert_eq!(flow.window.bytes(), before);
        // And does not leap when it is used again.
        flow.window.acked(flow.now, Acked { sent: flow.now, ..packet }, &flow.rtt);
        assert!(flow.window.bytes() < before + 2 * DATAGRAM);
    }

    #[test]
    fn a_reduction_for_nothing_is_undone() {
        let mut flow = Flow::new(50);
        (0..3).for_each(|_| flow.round(50));
        let before = flow.window.bytes();
        flow.window.loss_share = 1.0;
        let sent = flow.now;
        flow.lose(2);
        assert!(flow.window.bytes() < before);
        flow.window.not_lost(sent);
        assert!(flow.window.bytes() < before);
        flow.window.not_lost(sent);
        assert_eq!(flow.window.bytes(), before);
        assert!(flow.window.doubles());
    }

    #[test]
    fn the_window_has_its_bounds() {
        let mut flow = Flow::new(50);
        for _ in 0..100 {
            flow.now = flow.now + Duration::from_secs(1);
            flow.window.loss_share = 1.0;
            flow.lose(1);
        }
        assert_eq!(flow.packets(), MIN_DATAGRAMS);
        flow.window.persistent_congestion();
        assert_eq!(flow.packets(), MIN_DATAGRAMS);
        let mut flow = Flow::new(50);
        for _ in 0..40_000 {
            let acked = Acked { sent: flow.now, bytes: DATAGRAM, limited: false };
            flow.window.acked(flow.now, acked, &flow.rtt);
        }
        assert_eq!(flow.window.bytes(), limits::WINDOW);
    }

    #[test]
    fn congestion_that_the_peer_reports_counts_once_per_round_trip() {
        let mut flow = Flow::new(50);
        let before = flow.window.bytes();
        flow.window.congestion_experienced(flow.now, &flow.rtt);
        let after = flow.window.bytes();
        assert_eq!(after, (before as f64 * BETA) as u64);
        flow.window.congestion_experienced(flow.now + Duration::from_millis(20), &flow.rtt);
        assert_eq!(flow.window.bytes(), after);
        flow.window.congestion_experienced(flow.now + Duration::from_millis(51), &flow.rtt);
        assert!(flow.window.bytes() < after);
    }
}
