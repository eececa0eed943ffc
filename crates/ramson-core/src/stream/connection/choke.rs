//! A full buffer: how the peer says that its own is, and how we say that ours is no longer.

use super::{Connection, Context, GIVE_UP};
use crate::stream::Error;
use crate::time::{Duration, Instant};
use ramson_wire::streaming::Packet;

/// The delay with which i2pd says that it dropped a packet too far ahead: congestion, not a full buffer.
const I2PD_TOO_FAR: u16 = 65_535;
/// The delay with which i2pd says that its holes do not fit a packet.
const I2PD_HOLES: u16 = 60_000;

/// The peer's buffer is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choke {
    /// The next sequence when it was said: an acknowledgement of anything newer ends it.
    pub(super) next: u32,
    pub(super) probe_at: Instant,
    pub(super) probes: u32,
}

impl Connection {
    pub(super) fn handle_choke(&mut self, packet: &Packet<'_>, ctx: &Context<'_>) {
        self.tally.chokes += u64::from(packet.choke() == Some(true));
        let now = ctx.now.mono;
        let oldest = self.tx.oldest_tx();
        match packet.delay {
            Some(I2PD_TOO_FAR | I2PD_HOLES) => self.ceiling.choked(self.tx.in_flight(), oldest, self.tx.next_tx()),
            Some(_) if packet.choke() == Some(true) => {
                self.ceiling.choked(self.tx.in_flight(), oldest, self.tx.next_tx());
                // The peer is there: what is not acknowledged is no sign of a dead path.
                self.timeouts = 0;
                self.progress_at = now;
                if self.choke.is_none() {
                    let probe_at = now + self.rto(ctx.path).max(Duration::from_secs(1));
                    self.choke = Some(Choke { next: self.tx.next_sequence(), probe_at, probes: 0 });
                }
            }
            Some(_) => self.choke = None,
            None => {}
        }
    }

    /// The peer may have forgotten to say that there is room: one packet finds out.
    pub(super) fn probe_choke(&mut self, choke: Choke, ctx: &mut Context<'_>) {
        let pause =
            (self.rto(ctx.path).max(Duration::from_secs(1)) * (1 << choke.probes.min(4))).min(Duration::from_secs(15));
        self.choke = Some(Choke { probe_at: ctx.now.mono + pause, probes: choke.probes + 1, ..choke });
        self.timeouts += 1;
        if self.timeouts >= ctx.config.max_resends && ctx.now.mono.since(self.progress_at) >= GIVE_UP {
            return self.fail(Error::TimedOut, ctx);
        }
        let first =
            self.tx.first_unacked().or_else(|| self.opens_next(Instant::FAR, ctx.path).then(|| self.open_next(ctx)));
        if let Some(sequence) = first {
            self.transmit(sequence, ctx);
        }
    }

    /// Tells the peer that there is room again, and again later until data comes.
    pub(super) fn say_unchoked(&mut self, ctx: &mut Context<'_>) {
        self.unchoke_at = None;
        if self.remote_id == 0 || !self.started {
            return;
        }
        self.send_ack(None, ctx);
        if self.rx.owes_unchoke() && !self.rx.is_closed() {
            self.unchoke_at = Some(ctx.now.mono + self.rto(ctx.path));
        }
    }
}
