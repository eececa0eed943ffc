//! What the clock does to a stream: time-outs, probes, and acknowledgements that are due.

use super::{
    ACK_DELAY, Connection, Context, GIVE_UP, MAX_PROBE_PAUSE, MAX_SYN_PAUSE, OPENING_PATHS, Phase, SILENT_PERIODS,
};
use crate::stream::path::Path;
use crate::stream::send::Kind;
use crate::stream::{Config, Error};
use crate::time::{Duration, Instant};

impl Connection {
    /// The earliest deadline.
    pub(in crate::stream) fn next_timeout(&self, config: &Config, path: &Path) -> Instant {
        let mut next = match self.phase {
            Phase::Dead => return Instant::FAR,
            Phase::Lingering { until } => return until.min(self.ack_due()),
            Phase::Opening { deadline } => deadline,
            Phase::Open => self.kept_alive_at + config.inactivity,
        };
        next = next.min(self.ack_due()).min(self.telling.map_or(Instant::FAR, |(at, _)| at));
        if self.choke.is_none() {
            for at in [self.lost_at, self.timeout_at(path)] {
                next = next.min(at.unwrap_or(Instant::FAR));
            }
            if self.may_fly(path) && (self.tx.first_waiting().is_some() || self.opens_next(Instant::FAR, path)) {
                let at = if self.tx.first_waiting().is_none() && !self.opens_next(Instant::ZERO, path) {
                    self.flush_at.max(path.pace_at())
                } else {
                    path.pace_at()
                };
                next = next.min(at);
            }
        } else if let Some(choke) = self.choke {
            next = next.min(choke.probe_at);
        }
        let again = self.syn_ack_again_at.unwrap_or(Instant::FAR);
        next.min(again).min(self.unchoke_at.unwrap_or(Instant::FAR))
    }

    pub(super) fn ack_due(&self) -> Instant {
        let due = self.rx.ack_at().unwrap_or(Instant::FAR);
        if self.remote_id != 0 && self.started && self.rx.has_any() { due } else { Instant::FAR }
    }

    pub(in crate::stream) fn handle_timeout(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now.mono;
        match self.phase {
            Phase::Opening { deadline } if deadline <= now => return self.fail(Error::TimedOut, ctx),
            Phase::Lingering { until } if until <= now => self.phase = Phase::Dead,
            Phase::Open if self.kept_alive_at + ctx.config.inactivity <= now => {
                if now.since(self.heard_at) >= ctx.config.inactivity * SILENT_PERIODS {
                    return self.fail(Error::TimedOut, ctx);
                }
                self.kept_alive_at = now;
                self.send_ack(Some(0), ctx);
            }
            _ => {}
        }
        if let Some((_, times)) = self.telling.filter(|(at, _)| *at <= now && self.phase == Phase::Open) {
            self.say_where_again(times, ctx);
        }
        if let Some(choke) = self.choke {
            if choke.probe_at <= now {
                self.probe_choke(choke, ctx);
            }
        } else {
            if self.lost_at.is_some_and(|at| at <= now) {
                self.detect_losses(ctx);
            }
            if self.timeout_at(ctx.path).is_some_and(|at| at <= now) {
                self.handle_loss_of_all(ctx);
            }
        }
        if self.syn_ack_again_at.take_if(|at| *at <= now).is_some() && self.tx.first_unacked() == Some(0) {
            self.transmit(0, ctx);
        }
        if self.unchoke_at.is_some_and(|at| at <= now) {
            self.say_unchoked(ctx);
        }
    }

    pub(super) fn rto(&self, path: &Path) -> Duration {
        if self.is_opening() {
            return (path.rtt.smoothed() * 3).max(Duration::from_secs(1));
        }
        path.rtt.rto(ACK_DELAY)
    }

    /// When nothing was acknowledged for too long.
    pub(super) fn timeout_at(&self, path: &Path) -> Option<Instant> {
        let sent = self.tx.last_sent()?;
        let rto = self.rto(path);
        // A SYN goes by another path each time: as many as a LeaseSet commonly has are tried without a longer pause.
        let doublings = if self.is_opening() { self.backoff.saturating_sub(OPENING_PATHS - 1) } else { self.backoff };
        let most = if self.is_opening() { MAX_SYN_PAUSE } else { MAX_PROBE_PAUSE };
        let pause = (rto * (1 << doublings.min(6))).min(most.max(rto));
        Some(sent + pause)
    }

    /// A timeout: the first probes with one packet. From the second on everything under way counts as lost, and where
    /// nothing of any stream arrives by this path, another one is asked for. A SYN asks at once, unless others get on.
    pub(super) fn handle_loss_of_all(&mut self, ctx: &mut Context<'_>) {
        self.timeouts += 1;
        self.tally.timeouts += 1;
        self.backoff += 1;
        let now = ctx.now.mono;
        let given_up = self.timeouts >= ctx.config.max_resends && now.since(self.progress_at) >= GIVE_UP;
        if self.tx.only(Kind::Close) && self.timeouts > 9 && (self.rx.is_closed() || self.discard) {
            // A peer that had everything and has forgotten us, as i2pd does, does not answer a CLOSE. Where a program
            // still reads, it must hear that the rest does not come.
            return self.end(ctx);
        }
        if given_up && !self.is_opening() {
            return self.fail(Error::TimedOut, ctx);
        }
        let alone = self.is_opening() && self.tx.oldest_sent_at().is_none_or(|sent| !ctx.path.moved_since(sent));
        if alone {
            ctx.path.suspect(now);
        }
        if alone || (self.timeouts > 1 && ctx.path.is_suspect(now)) {
            self.say_suspect(ctx.path.suspicions(), ctx);
        }
        if self.timeouts > 1 {
            self.tx.lose_all();
        }
        self.count(ctx.path);
        if let Some(first) = self.tx.first_unacked() {
            self.transmit(first, ctx);
        }
    }
}
