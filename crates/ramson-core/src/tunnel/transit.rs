//! Serving as a hop of other routers' tunnels: requests, decisions, and the hot table by tunnel id.
//! <https://geti2p.net/spec/tunnel-implementation>

#[cfg(any(test, fuzzing, feature = "checks"))]
mod check;

use super::build::wrap_once;
use super::endpoint::{Delivered, Endpoint};
use super::gateway::Gateway;
use crate::bucket::{Bucket, PeerBuckets};
use crate::limits::tunnel as limits;
use crate::rng::{Rng, SeededMap, SeededState};
use crate::seen::{Seen, SeenIvs};
use crate::time::{Instant, Now};
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::crypto::aes::TunnelLayer;
use ramson_wire::crypto::x25519::{PublicKey, SecretKey};
use ramson_wire::data::Hash;
use ramson_wire::i2np::tunnel_build::BuildRecords;
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Kind, Message, tunnel_data};
use ramson_wire::tunnel::TunnelId;
use ramson_wire::tunnel::build_record::{self, HopKeys, OpenError, Request, Role};
use ramson_wire::tunnel::delivery::Target;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Messages of builds and of endpoints are of no use after this.
const EXPIRY_MS: u64 = 10_000;
/// Messages of one tunnel that get our layer together, at most.
const PASSING: usize = 64;
/// Above this share of the limit more and more requests are declined by chance.
const CROWDED: f64 = 0.7;

/// The keys by which requests to us are opened.
#[derive(Debug)]
pub struct StaticKey {
    pub secret: SecretKey,
    pub public: PublicKey,
}

/// Opening a request that is addressed to us: public-key work.
#[derive(Debug)]
pub struct RequestJob {
    from: Hash,
    index: u8,
    records: BuildRecords,
    key: Arc<StaticKey>,
}

/// The result of a [`RequestJob`].
#[derive(Debug)]
pub struct RequestDone {
    from: Hash,
    index: u8,
    records: BuildRecords,
    result: Result<(Request, HopKeys), OpenError>,
}

impl RequestJob {
    /// Draws nothing at random; the argument keeps all jobs alike.
    pub fn run(self, _rng: &mut Rng) -> RequestDone {
        let record = self.records.records().get(usize::from(self.index)).copied();
        let result = match record {
            Some(record) => build_record::open_request(&record, &self.key.secret, &self.key.public),
            None => Err(OpenError::Crypto(ramson_wire::crypto::CryptoError)),
        };
        RequestDone { from: self.from, index: self.index, records: self.records, result }
    }
}

/// What the table asks of its owner.
#[derive(Debug)]
pub(super) enum Action {
    Send {
        to: Hash,
        message: Message,
    },
    /// For the gateway of a tunnel that is ours or in the table.
    Gateway {
        tunnel: TunnelId,
        message: Message,
    },
    /// A foreign tunnel ends in a message to us.
    Local {
        from: Hash,
        message: Message,
    },
}

/// Why a message was dropped. None of it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransitError {
    /// The message is not formed as it should be.
    #[error(transparent)]
    Malformed(#[from] ramson_wire::DecodeError),
    /// No record for us, or more than one.
    #[error("not one record for us")]
    NotForUs,
    /// The previous hop, or all together, ask for too much.
    #[error("more requests than are served")]
    Throttled,
    /// The ephemeral key was seen before.
    #[error("a request came twice")]
    Replayed,
    /// The record does not open.
    #[error("the record does not open")]
    Unopened,
    /// The request is too old or in the future.
    #[error("the request is not of this time")]
    Untimely,
    /// The next hop is ourselves, or the previous hop.
    #[error("the tunnel turns back")]
    Loop,
    /// No tunnel of this id takes such messages.
    #[error("no such tunnel")]
    NoTunnel,
    /// A tunnel message came from somebody else than the previous hop.
    #[error("not from the previous hop")]
    WrongHop,
    /// A tunnel message came twice.
    #[error("a tunnel message came twice")]
    Duplicate,
    /// More bytes than are carried for others.
    #[error("more bytes than are carried")]
    OverBandwidth,
    /// A message for a tunnel inside a message for a tunnel, or one too large.
    #[error("not a message for a tunnel")]
    Unfit,
    /// The endpoint delivers to too many routers.
    #[error("too many targets")]
    TooManyTargets,
}

/// What decides about requests.
#[derive(Clone, Copy, Debug)]
pub struct TransitRules {
    /// Whether requests are accepted at all.
    pub accept: bool,
    /// At most this many tunnels, and never more than the limit of the router.
    pub max_tunnels: usize,
    /// At most this many bytes a second are carried for others; messages beyond are dropped. Zero for none.
    pub bytes_per_second: u64,
    /// A private network: the previous hop of a participant may be its next hop too.
    pub private_network: bool,
}

struct Entry {
    previous: Hash,
    next: Hash,
    next_tunnel: TunnelId,
    layer: TunnelLayer,
    seen: SeenIvs,
    work: Work,
    expires: Instant,
}

enum Work {
    Participant,
    Gateway(Gateway),
    Endpoint { endpoint: Endpoint, known: BTreeSet<Hash>, allowance: Bucket },
}

/// Foreign tunnels.
pub(super) struct Transit {
    own: Hash,
    key: Arc<StaticKey>,
    rules: TransitRules,
    rng: Rng,
    table: SeededMap<TunnelId, Entry>,
    /// In the order of their end: all live equally long.
    expiry: VecDeque<(Instant, TunnelId)>,
    per_peer: BTreeMap<Hash, usize>,
    replays: Seen,
    throttle: Bucket,
    throttles: PeerBuckets,
    jobs: usize,
    /// What may be carried, in bytes.
    bytes: Bucket,
    /// The table is about full, and was not roomy since.
    full: bool,
    /// Entries of all duplicate filters.
    ivs: usize,
    partial_bytes: usize,
    dirty: Vec<TunnelId>,
    /// Messages that go on, without their layer yet: those of one tunnel get it together.
    passing: Vec<(TunnelId, Message)>,
    delivered: Vec<Delivered>,
    /// The tunnel that is being flushed.
    pub(super) working: Option<TunnelId>,
    pub(super) stats: TransitStats,
    /// The share of tunnel messages that endpoints lose, for measuring streams over such paths.
    #[cfg(ramson_lab)]
    pub(super) loss: f64,
}

/// Counters of foreign tunnels since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransitStats {
    pub accepted: u64,
    pub declined: u64,
    /// Messages that were dropped, requests and tunnel messages.
    pub dropped: u64,
    /// Tunnel messages that passed.
    pub messages: u64,
}

impl Transit {
    pub(super) fn new(now: Now, own: Hash, key: StaticKey, rules: TransitRules, rng: &mut Rng) -> Self {
        let mut rng = rng.child("transit");
        Self {
            own,
            key: Arc::new(key),
            rules,
            table: SeededMap::with_hasher(SeededState::new(&mut rng)),
            expiry: VecDeque::new(),
            per_peer: BTreeMap::new(),
            replays: Seen::new(limits::REPLAY_KEYS, limits::REPLAY_GENERATION, &mut rng),
            throttle: Bucket::new(limits::REQUESTS, now.mono),
            throttles: PeerBuckets::new(limits::REQUESTS_PER_PEER, limits::REQUEST_PEERS),
            jobs: 0,
            bytes: byte_bucket(&rules, now.mono),
            full: false,
            ivs: 0,
            partial_bytes: 0,
            dirty: Vec::new(),
            passing: Vec::new(),
            delivered: Vec::new(),
            working: None,
            stats: TransitStats::default(),
            #[cfg(ramson_lab)]
            loss: 0.0,
            rng,
        }
    }

    pub(super) fn set_rules(&mut self, now: Instant, rules: TransitRules) {
        if rules.bytes_per_second != self.rules.bytes_per_second {
            self.bytes = byte_bucket(&rules, now);
        }
        self.rules = rules;
    }

    /// Whether a request may be accepted at all just now.
    pub(super) fn is_accepting(&self, now: Instant) -> bool {
        let TransitRules { accept, bytes_per_second, .. } = self.rules;
        accept && bytes_per_second > 0 && self.table.len() < self.most() && !self.bytes.is_low(now)
    }

    /// Looks anew whether transit is off, or full: that begins near the limit, and ends well below it, so that what
    /// we publish does not go to and fro.
    pub(super) fn update_full(&mut self) -> bool {
        let bound = if self.full { limits::TRANSIT_ROOMY } else { limits::TRANSIT_FULL };
        self.full = self.table.len() * 100 >= self.most() * bound;
        self.full || !self.rules.accept || self.rules.bytes_per_second == 0
    }

    fn most(&self) -> usize {
        self.rules.max_tunnels.min(limits::TRANSIT)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn contains(&self, tunnel: TunnelId) -> bool {
        self.table.contains_key(&tunnel)
    }

    /// Bytes under reassembly at all endpoints.
    #[cfg(test)]
    pub(super) fn partial_bytes(&self) -> usize {
        self.partial_bytes
    }

    /// Previous hops whose requests are counted.
    #[cfg(test)]
    pub(super) fn throttled_peers(&self) -> usize {
        self.throttles.len()
    }

    /// When the next tunnel ends.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.expiry.front().map(|(at, _)| *at)
    }

    /// Forgets tunnels that are over.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.expiry.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, tunnel)) = self.expiry.pop_front() else { return };
            self.remove(tunnel);
        }
    }

    /// Forgets a tunnel before its time. Its place in the order of ends stays, and means nothing then.
    pub(super) fn remove(&mut self, tunnel: TunnelId) {
        let Some(entry) = self.table.remove(&tunnel) else { return };
        self.ivs = self.ivs.saturating_sub(entry.seen.len());
        if let Work::Endpoint { endpoint, .. } = &entry.work {
            self.partial_bytes = self.partial_bytes.saturating_sub(endpoint.bytes());
        }
        if let Some(count) = self.per_peer.get_mut(&entry.previous) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&entry.previous);
            }
        }
    }

    /// A build request. All checks that need no public-key work come before the job.
    pub(super) fn handle_build(&mut self, now: Now, from: Hash, message: &Message) -> Result<RequestJob, TransitError> {
        let records = BuildRecords::from_bytes(&message.body)?;
        let mut ours = (0u8..).zip(records.records()).filter(|(_, record)| build_record::is_for(record, &self.own));
        let (Some((index, record)), None) = (ours.next(), ours.next()) else { return Err(TransitError::NotForUs) };
        let ephemeral = build_record::ephemeral_key(record);
        if self.jobs >= limits::REQUEST_JOBS || !self.throttles.take(now.mono, from) || !self.throttle.take(now.mono) {
            return Err(TransitError::Throttled);
        }
        if !self.replays.insert(now.mono, &ephemeral) {
            return Err(TransitError::Replayed);
        }
        self.jobs += 1;
        Ok(RequestJob { from, index, records, key: Arc::clone(&self.key) })
    }

    /// The opened request: decides, answers, and sends the message on. Ids that are `taken` by own tunnels are not
    /// given away.
    pub(super) fn handle_opened(
        &mut self,
        now: Now,
        done: RequestDone,
        taken: impl Fn(TunnelId) -> bool,
    ) -> Result<Action, TransitError> {
        self.jobs = self.jobs.saturating_sub(1);
        let RequestDone { from, index, mut records, result } = done;
        let (request, keys) = result.map_err(|error| match error {
            OpenError::Malformed(error) => TransitError::Malformed(error),
            _ => TransitError::Unopened,
        })?;
        self.check(now, from, &request)?;
        let accept = self.wants(now.mono, from, &request) && !taken(request.receive_tunnel);
        let code = if accept { build_record::ACCEPT } else { build_record::REJECT };
        if accept {
            self.add(now.mono, from, &request, &keys);
            self.stats.accepted += 1;
        } else {
            self.stats.declined += 1;
        }
        keys.answer(records.records_mut(), index, code, &mut self.rng);
        Ok(self.answer(now, &request, &keys, records.to_bytes()))
    }

    /// Threats T69, T71: requests that no honest creator makes.
    fn check(&self, now: Now, from: Hash, request: &Request) -> Result<(), TransitError> {
        let made = u64::from(request.minutes) * 60_000;
        let (age, ahead) = (limits::REQUEST_MAX_AGE.as_millis(), limits::REQUEST_MAX_AHEAD.as_millis());
        if u128::from(now.unix_ms.saturating_sub(made)) > age || u128::from(made.saturating_sub(now.unix_ms)) > ahead {
            return Err(TransitError::Untimely);
        }
        let to_self = request.next_hop == self.own && request.role != Role::OutboundEndpoint;
        let back = request.next_hop == from && request.role == Role::Participant && !self.rules.private_network;
        if to_self || back { Err(TransitError::Loop) } else { Ok(()) }
    }

    fn wants(&mut self, now: Instant, from: Hash, request: &Request) -> bool {
        if !self.is_accepting(now) || request.receive_tunnel == request.next_tunnel {
            return false;
        }
        if self.table.contains_key(&request.receive_tunnel) {
            return false;
        }
        if self.per_peer.get(&from).is_some_and(|count| *count >= limits::TRANSIT_PER_PEER) {
            return false;
        }
        let load = self.table.len() as f64 / self.most() as f64;
        load < CROWDED || self.rng.unit() >= (load - CROWDED) / (1.0 - CROWDED)
    }

    fn add(&mut self, now: Instant, from: Hash, request: &Request, keys: &HopKeys) {
        let work = match request.role {
            Role::Participant => Work::Participant,
            Role::InboundGateway => Work::Gateway(Gateway::default()),
            Role::OutboundEndpoint => Work::Endpoint {
                endpoint: Endpoint::default(),
                known: BTreeSet::new(),
                allowance: Bucket::new(limits::TARGETS, now),
            },
        };
        let expires = now + limits::LIFETIME + limits::GRACE;
        let entry = Entry {
            previous: from,
            next: request.next_hop,
            next_tunnel: request.next_tunnel,
            layer: TunnelLayer::new(&keys.layer, &keys.iv),
            seen: SeenIvs::new(limits::SEEN_IVS, limits::LIFETIME + limits::GRACE, &mut self.rng),
            work,
            expires,
        };
        *self.per_peer.entry(from).or_default() += 1;
        self.expiry.push_back((expires, request.receive_tunnel));
        self.table.insert(request.receive_tunnel, entry);
    }

    fn answer(&mut self, now: Now, request: &Request, keys: &HopKeys, body: Vec<u8>) -> Action {
        let expiration = now.unix_ms + EXPIRY_MS;
        let id = request.send_message_id;
        let to = request.next_hop;
        let Some(garlic) = &keys.garlic else {
            let message = Message { kind: Kind::SHORT_TUNNEL_BUILD, id, expiration, body };
            return Action::Send { to, message };
        };
        let reply = Message { kind: Kind::OUTBOUND_TUNNEL_BUILD_REPLY, id, expiration, body };
        if to == self.own {
            // The gateway of the reply tunnel is here: nobody stands between whom garlic would hide it from.
            return Action::Gateway { tunnel: request.next_tunnel, message: reply };
        }
        let message = wrap_once(&garlic.key, &garlic.tag, reply, &mut self.rng);
        Action::Send { to, message: self.for_gateway(request.next_tunnel, message) }
    }

    /// Adds our layer to the messages that go on, all of one tunnel, and sends them.
    fn pass(&mut self, out: &mut Vec<Action>) {
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
    pub(super) fn handle_data(
        &mut self,
        now: Now,
        from: Hash,
        mut message: Message,
        out: &mut Vec<Action>,
    ) -> Result<(), TransitError> {
        let (tunnel, data) = tunnel_data::split_mut(&mut message.body)?;
        let entry = self.table.get_mut(&tunnel).filter(|entry| entry.expires > now.mono);
        let entry = entry.ok_or(TransitError::NoTunnel)?;
        if matches!(entry.work, Work::Gateway(_)) {
            return Err(TransitError::NoTunnel);
        }
        if entry.previous != from {
            return Err(TransitError::WrongHop);
        }
        if !note_iv(entry, now.mono, data, &mut self.ivs) {
            return Err(TransitError::Duplicate);
        }
        if !self.bytes.take_many(now.mono, data.len()) {
            return Err(TransitError::OverBandwidth);
        }
        self.stats.messages += 1;
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
    pub(super) fn known_targets(&self, tunnel: TunnelId) -> usize {
        match self.table.get(&tunnel).map(|entry| &entry.work) {
            Some(Work::Endpoint { known, .. }) => known.len(),
            _ => 0,
        }
    }

    pub(super) fn may_deliver(&mut self, now: Instant, tunnel: TunnelId, to: Hash) -> bool {
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
    pub(super) fn handle_gateway(
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
        let Work::Gateway(gateway) = &mut entry.work else { return Err(TransitError::NoTunnel) };
        // However small it is, a tunnel message may be filled up for it.
        if !self.bytes.take_many(now.mono, message.body.len().max(tunnel_data::DATA_LEN)) {
            return Err(TransitError::OverBandwidth);
        }
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
    pub(super) fn flush(&mut self, now: Now, out: &mut Vec<Action>) {
        self.pass(out);
        for tunnel in std::mem::take(&mut self.dirty) {
            self.working = Some(tunnel);
            let Some(entry) = self.table.get_mut(&tunnel) else { continue };
            if let Work::Gateway(gateway) = &mut entry.work {
                let mut bodies = Vec::new();
                gateway.flush(entry.next_tunnel, &mut self.rng, &mut bodies);
                send_down(entry, bodies, now, &mut self.rng, out);
            }
        }
        self.working = None;
    }

    /// The job of a request has panicked.
    pub(super) fn handle_request_failed(&mut self) {
        self.jobs = self.jobs.saturating_sub(1);
    }

    fn for_gateway(&mut self, tunnel: TunnelId, message: Message) -> Message {
        for_gateway(tunnel, message, &mut self.rng)
    }
}

/// A message in TunnelGateway for the gateway of `tunnel`.
pub(super) fn for_gateway(tunnel: TunnelId, message: Message, rng: &mut Rng) -> Message {
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

/// The allowance of bytes: one second of it may come at once.
fn byte_bucket(rules: &TransitRules, now: Instant) -> Bucket {
    let rate = u32::try_from(rules.bytes_per_second).unwrap_or(u32::MAX);
    let burst = if rate == 0 { 0 } else { rate.max(limits::TRANSIT_BURST) };
    Bucket::new((rate, burst), now)
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

#[cfg(test)]
#[path = "transit_tests.rs"]
mod tests;
