//! What the tunnels of others carry: messages of a hop on their way, those that leave at an endpoint, and those that enter
//! at a gateway. <https://geti2p.net/spec/tunnel-implementation>

use super::{Action, EXPIRY_MS, Entry, Transit, TransitError, Work};
use crate::bucket::Bucket;
use crate::limits::tunnel as limits;
use crate::rng::Rng;
use crate::time::{Instant, Now};
use crate::tunnel::endpoint::Delivered;
use ramson_wire::codec::Encode;
use ramson_wire::data::Hash;
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Kind, Message, tunnel_data};
use ramson_wire::tunnel::TunnelId;
use ramson_wire::tunnel::delivery::Target;

/// Messages of one tunnel that get our layer together, at most.
const PASSING: usize = 64;
/// What is left of the bytes that may come at once, as a share: below the first some are dropped, below the second all but
/// those that were granted.
pub(super) const DROPPING: f64 = 0.5;
const GRANTED: f64 = 0.25;

impl Transit {
    /// Adds our layer to the messages that go on, all of one tunnel, and sends them.
    pub(super) fn pass(&mut self, out: &mut Vec<Action>) {
        let mut passing = std::mem::take(&mut self.passing);
        let entry = passing.first().and_then(|(tunnel, _)| self.table.get(tunnel));
        if let Some(entry) = entry {
            let bodies = passing.iter_mut().filter_map(|(_, message)| tunnel_data::split_mut(&mut message.body).ok());
            entry.layer.encrypt_each(&mut bodies.map(|(_, data)| data).collect::<Vec<_>>());
            for (_, mut message) in passing.drain(..) {
                tunnel_data::set_tunnel(&mut message.body, entry.next_tunnel);
                message.id = self.rng.nonzero_u32();
                out.push(Action::Send { to: entry.next, message });
            }
        }
        // A tunnel that has ended meanwhile takes its messages along. The room stays.
        passing.clear();
        self.passing = passing;
    }

    /// A TunnelData message of the previous hop. It goes on with [`Self::flush`] at the latest, or its content is delivered.
    pub(in crate::tunnel) fn handle_data(
        &mut self,
        now: Now,
        from: Hash,
        mut message: Message,
        out: &mut Vec<Action>,
    ) -> Result<(), TransitError> {
        let (tunnel, data) = tunnel_data::split_mut(&mut message.body)?;
        let entry = self.table.get_mut(&tunnel).filter(|entry| entry.expires > now.mono);
        let entry = entry.ok_or(TransitError::NoTunnel)?;
        if matches!(entry.work, Work::Gateway(..)) {
            return Err(TransitError::NoTunnel);
        }
        if entry.previous != from {
            return Err(TransitError::WrongHop);
        }
        if !note_iv(entry, now.mono, data, &mut self.ivs) {
            return Err(TransitError::Duplicate);
        }
        if !carries(&mut self.bytes, &mut self.rng, entry, now.mono, data.len()) {
            return Err(TransitError::OverBandwidth);
        }
        self.idle = self.idle.saturating_sub(usize::from(!std::mem::replace(&mut entry.is_used, true)));
        self.stats.messages += 1;
        self.stats.bytes += data.len() as u64;
        match &mut entry.work {
            #[cfg(ramson_lab)]
            Work::Endpoint { .. } if self.rng.unit() < self.loss => Ok(()),
            Work::Endpoint { endpoint, .. } => {
                entry.layer.encrypt(data);
                let before = endpoint.bytes();
                let result = endpoint.handle(now.mono, &message.body, &mut self.delivered);
                self.partial_bytes = (self.partial_bytes + endpoint.bytes()).saturating_sub(before);
                if self.partial_bytes > limits::PARTIAL_BYTES_TRANSIT && endpoint.bytes() > before {
                    self.partial_bytes = self.partial_bytes.saturating_sub(endpoint.bytes());
                    endpoint.clear();
                }
                self.deliver(now, from, tunnel, out);
                Ok(result?)
            }
            _ => {
                if self.passing.len() >= PASSING || self.passing.last().is_some_and(|(last, _)| *last != tunnel) {
                    self.pass(out);
                }
                self.passing.push((tunnel, message));
                Ok(())
            }
        }
    }

    /// Sends what the endpoint of `tunnel` put together.
    fn deliver(&mut self, now: Now, from: Hash, tunnel: TunnelId, out: &mut Vec<Action>) {
        for Delivered { target, message } in std::mem::take(&mut self.delivered) {
            let to = match target {
                Target::Router(to) | Target::Tunnel { gateway: to, .. } => to,
                Target::Local => {
                    self.stats.dropped += 1; // no outbound tunnel has a local end
                    continue;
                }
            };
            if to != self.own && !self.may_deliver(now.mono, tunnel, to) {
                self.stats.dropped += 1;
                continue;
            }
            out.push(match target {
                Target::Tunnel { tunnel, .. } if to == self.own => Action::Gateway { tunnel, message },
                Target::Tunnel { tunnel, .. } => Action::Send { to, message: self.for_gateway(tunnel, message) },
                _ if to == self.own => Action::Local { from, message },
                _ => Action::Send { to, message },
            });
        }
    }

    /// The routers that the endpoint of this tunnel remembers.
    #[cfg(test)]
    pub(in crate::tunnel) fn known_targets(&self, tunnel: TunnelId) -> usize {
        match self.table.get(&tunnel).map(|entry| &entry.work) {
            Some(Work::Endpoint { known, .. }) => known.len(),
            _ => 0,
        }
    }

    pub(in crate::tunnel) fn may_deliver(&mut self, now: Instant, tunnel: TunnelId, to: Hash) -> bool {
        match self.table.get_mut(&tunnel).map(|entry| &mut entry.work) {
            Some(Work::Endpoint { known, allowance, .. }) => {
                if known.contains(&to) {
                    return true;
                }
                if known.len() >= limits::KNOWN_TARGETS {
                    known.clear();
                }
                allowance.take(now) && known.insert(to)
            }
            _ => false,
        }
    }

    /// A message for the gateway of `tunnel`. What becomes of it goes out now or with [`Self::flush`].
    pub(in crate::tunnel) fn handle_gateway(
        &mut self,
        now: Now,
        tunnel: TunnelId,
        message: &Message,
        out: &mut Vec<Action>,
    ) -> Result<(), TransitError> {
        if matches!(message.kind, Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY) {
            return Err(TransitError::Unfit);
        }
        let entry = self.table.get_mut(&tunnel).filter(|entry| entry.expires > now.mono);
        let entry = entry.ok_or(TransitError::NoTunnel)?;
        // However small it is, a tunnel message may be filled up for it.
        let bytes = message.body.len().max(tunnel_data::DATA_LEN);
        let Work::Gateway(_, limit) = &mut entry.work else { return Err(TransitError::NoTunnel) };
        if limit.as_mut().is_some_and(|limit| !limit.take_many(now.mono, bytes)) {
            return Err(TransitError::OverBandwidth);
        }
        if !carries(&mut self.bytes, &mut self.rng, entry, now.mono, bytes) {
            return Err(TransitError::OverBandwidth);
        }
        self.idle = self.idle.saturating_sub(usize::from(!std::mem::replace(&mut entry.is_used, true)));
        let Work::Gateway(gateway, _) = &mut entry.work else { return Err(TransitError::NoTunnel) };
        self.stats.bytes += bytes as u64;
        let mut bodies = Vec::new();
        let put = gateway.put(entry.next_tunnel, Target::Local, message, &mut self.rng, &mut bodies);
        self.stats.messages += 1;
        send_down(entry, bodies, now, &mut self.rng, out);
        if !self.dirty.contains(&tunnel) {
            self.dirty.push(tunnel);
        }
        put.map_err(|_| TransitError::Unfit)
    }

    /// Sends what goes on, and what waits in gateways, at the end of a turn.
    pub(in crate::tunnel) fn flush(&mut self, now: Now, out: &mut Vec<Action>) {
        self.pass(out);
        for tunnel in std::mem::take(&mut self.dirty) {
            self.working = Some(tunnel);
            let Some(entry) = self.table.get_mut(&tunnel) else { continue };
            if let Work::Gateway(gateway, _) = &mut entry.work {
                let mut bodies = Vec::new();
                gateway.flush(entry.next_tunnel, &mut self.rng, &mut bodies);
                send_down(entry, bodies, now, &mut self.rng, out);
            }
        }
        self.working = None;
    }

    pub(super) fn for_gateway(&mut self, tunnel: TunnelId, message: Message) -> Message {
        for_gateway(tunnel, message, &mut self.rng)
    }
}

/// A message in TunnelGateway for the gateway of `tunnel`.
pub(in crate::tunnel) fn for_gateway(tunnel: TunnelId, message: Message, rng: &mut Rng) -> Message {
    let expiration = message.expiration;
    let body = TunnelGateway { tunnel, message }.to_bytes();
    Message { kind: Kind::TUNNEL_GATEWAY, id: rng.nonzero_u32(), expiration, body }
}

fn send_down(entry: &Entry, bodies: Vec<Vec<u8>>, now: Now, rng: &mut Rng, out: &mut Vec<Action>) {
    for mut body in bodies {
        if let Some(data) = body.get_mut(4..) {
            entry.layer.encrypt(data);
        }
        let expiration = now.unix_ms + EXPIRY_MS;
        let message = Message { kind: Kind::TUNNEL_DATA, id: rng.nonzero_u32(), expiration, body };
        out.push(Action::Send { to: entry.next, message });
    }
}

/// Whether so many bytes of a tunnel are carried.
///
/// While little is left of what may come at once, more and more is dropped by chance, of all tunnels alike: streams notice
/// that, and slow down before much of one of them is lost. The last quarter is for what tunnels were granted.
fn carries(all: &mut Bucket, rng: &mut Rng, entry: &mut Entry, now: Instant, bytes: usize) -> bool {
    if let Some(grant) = &mut entry.granted {
        grant.note(bytes);
    }
    let left = all.left(now);
    if left < DROPPING {
        let granted = entry.granted.as_mut().is_some_and(|grant| grant.covers(now, bytes));
        if !granted && rng.unit() >= (left - GRANTED) / (DROPPING - GRANTED) {
            return false;
        }
    }
    all.take_many(now, bytes)
}

/// Notes a tunnel message; false when it came before. `ivs` counts what all tunnels remember: beyond the limit each
/// remembers little.
fn note_iv(entry: &mut Entry, now: Instant, data: &[u8; tunnel_data::DATA_LEN], ivs: &mut usize) -> bool {
    let crowded = *ivs >= limits::SEEN_IVS_TRANSIT;
    entry.seen.set_capacity(if crowded { limits::SEEN_IVS_CROWDED } else { limits::SEEN_IVS });
    let before = entry.seen.len();
    let fresh = entry.seen.insert(now, &iv_and_block(data));
    *ivs = (*ivs + entry.seen.len()).saturating_sub(before);
    fresh
}

/// The IV and the first block by XOR: who plays with one must play with the other too (threats T79).
fn iv_and_block(data: &[u8; tunnel_data::DATA_LEN]) -> [u8; 16] {
    let mut out = [0; 16];
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = data[at] ^ data[at + 16];
    }
    out
}
