//! Serving as a hop of other routers' tunnels: requests, decisions, and the hot table by tunnel id.
//! <https://geti2p.net/spec/tunnel-implementation>

mod carry;
#[cfg(any(test, fuzzing, feature = "checks"))]
mod check;
mod gate;
mod grants;
mod load;
mod queue;
mod request;
mod room;
mod stats;

pub(super) use carry::for_gateway;
pub use load::Congestion;
pub use request::{RequestDone, RequestJob, StaticKey};
pub use stats::{Declined, Refused, TransitStats};

use super::build::wrap_once;
use super::endpoint::{Delivered, Endpoint};
use super::gateway::Gateway;
use crate::bucket::Bucket;
use crate::limits::tunnel as limits;
use crate::link::Prefix;
use crate::meter::Meter;
use crate::rng::{Rng, SeededMap, SeededState};
use crate::seen::SeenIvs;
use crate::time::{Instant, Now};
use carry::DROPPING;
use gate::Gate;
use grants::{Grant, Grants};
use load::LoadAverage;
use ramson_wire::crypto::aes::TunnelLayer;
use ramson_wire::data::Hash;
use ramson_wire::i2np::Message;
use ramson_wire::tunnel::TunnelId;
use ramson_wire::tunnel::bandwidth::Reply;
use ramson_wire::tunnel::build_record::{self, OpenError, Request, Role};
use request::{Keys, Records, Waiting};
use room::Carriers;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Messages of builds and of endpoints are of no use after this.
const EXPIRY_MS: u64 = 10_000;
/// Above this share of the limit more and more requests are declined by chance.
const CROWDED: f64 = 0.7;

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
    /// The previous hop, or its prefix, asks for too much.
    #[error("more requests than are served")]
    Throttled,
    /// More requests wait than can be served.
    #[error("too many requests wait")]
    Overloaded,
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
    /// More bytes than are carried for others, or than the tunnel's creator lets into it.
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
    /// The router is about to stop: no request is accepted any more, and nothing that is published says so.
    pub draining: bool,
    /// At most this many tunnels, and never more than the limit of the router.
    pub max_tunnels: usize,
    /// At most this many bytes a second are carried for others; messages beyond are dropped. Zero for none.
    pub bytes_per_second: u64,
    /// A private network: the previous hop of a participant may be its next hop too.
    pub private_network: bool,
}

/// Why a request is declined. The creator is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// Transit is off, or the router is about to stop.
    Off,
    /// There are as many tunnels as there may be.
    Full,
    /// Too much of the bandwidth or of the machine is used.
    Busy,
    /// The previous hop has as many tunnels as one may have.
    Share,
    /// The bandwidth that is asked for is not there.
    Bandwidth,
    /// Its ids are taken, or are one.
    Request,
}

struct Entry {
    previous: Hash,
    next: Hash,
    next_tunnel: TunnelId,
    layer: TunnelLayer,
    seen: SeenIvs,
    work: Work,
    expires: Instant,
    /// Something has come by it.
    is_used: bool,
    /// What the tunnel was granted.
    granted: Option<Box<Grant>>,
}

enum Work {
    Participant,
    /// The creator may have set a limit to what comes in.
    Gateway(Gateway, Option<Box<Bucket>>),
    Endpoint {
        endpoint: Endpoint,
        known: BTreeSet<Hash>,
        allowance: Bucket,
    },
}

/// Foreign tunnels.
pub(super) struct Transit {
    own: Hash,
    rules: TransitRules,
    rng: Rng,
    table: SeededMap<TunnelId, Entry>,
    /// In the order of their end: all live equally long.
    expiry: VecDeque<(Instant, TunnelId)>,
    /// The same, without those that were looked at and are used.
    unused: VecDeque<TunnelId>,
    /// Those that nobody has used.
    idle: usize,
    per_peer: BTreeMap<Hash, usize>,
    carriers: Carriers,
    gate: Gate,
    grants: Grants,
    /// What may be carried, in bytes.
    bytes: Bucket,
    meter: Meter,
    average: LoadAverage,
    /// How much of their limits all links together use, and what waits for them: from 0 to 1.
    link_load: f64,
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
    /// Requests with 528-byte records that were accepted.
    #[cfg(ramson_lab)]
    pub(super) long: u64,
}

impl Transit {
    pub(super) fn new(now: Now, own: Hash, key: StaticKey, rules: TransitRules, rng: &mut Rng) -> Self {
        let mut rng = rng.child("transit");
        Self {
            own,
            rules,
            table: SeededMap::with_hasher(SeededState::new(&mut rng)),
            expiry: VecDeque::new(),
            unused: VecDeque::new(),
            idle: 0,
            per_peer: BTreeMap::new(),
            carriers: Carriers::default(),
            gate: Gate::new(now.mono, key, &mut rng),
            grants: Grants::default(),
            bytes: byte_bucket(&rules, now.mono),
            meter: Meter::new(now.mono),
            average: LoadAverage::new(now.mono),
            link_load: 0.0,
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
            #[cfg(ramson_lab)]
            long: 0,
            rng,
        }
    }

    pub(super) fn set_rules(&mut self, now: Instant, rules: TransitRules) {
        if rules.bytes_per_second != self.rules.bytes_per_second {
            self.bytes = byte_bucket(&rules, now);
        }
        self.rules = rules;
    }

    /// From now on no request is accepted, and nothing that is published says so.
    pub(super) const fn drain(&mut self) {
        self.rules.draining = true;
    }

    pub(super) const fn rules(&self) -> &TransitRules {
        &self.rules
    }

    /// Whether a request may be accepted at all just now.
    pub(super) fn is_accepting(&self, now: Instant) -> bool {
        self.obstacle(now).is_none()
    }

    /// What keeps requests from being accepted just now.
    fn obstacle(&self, now: Instant) -> Option<Obstacle> {
        let mut bytes = self.bytes;
        if !self.is_on() || self.rules.draining {
            Some(Obstacle::Off)
        } else if self.table.len() >= self.most() {
            Some(Obstacle::Full)
        } else if bytes.left(now) < DROPPING {
            Some(Obstacle::Busy)
        } else {
            None
        }
    }

    const fn is_on(&self) -> bool {
        self.rules.accept && self.rules.bytes_per_second > 0 && self.rules.max_tunnels > 0
    }

    /// Measures anew, and says what the RouterInfo is to say. To be called every few seconds; `links` is how much of
    /// their limits all links together use, from 0 to 1.
    ///
    /// Full begins near the limit, and ends well below it, so that what we publish does not go to and fro.
    pub(super) fn update_congestion(&mut self, now: Instant, links: f64) -> Congestion {
        self.link_load = links;
        self.meter.update(now, self.stats.bytes);
        let bound = if self.full { limits::TRANSIT_ROOMY } else { limits::TRANSIT_FULL };
        self.full = self.table.len() * 100 >= self.most() * bound;
        let load = self.load(now);
        self.average.update(now, load, self.full || !self.is_on())
    }

    /// How near we are to the nearest of our limits, from 0 to 1.
    fn load(&self, now: Instant) -> f64 {
        let tunnels = self.table.len() as f64 / self.most().max(1) as f64;
        tunnels.max(self.load_but_tunnels(now)).min(1.0)
    }

    fn load_but_tunnels(&self, now: Instant) -> f64 {
        let bytes = self.meter.per_second() / (self.rules.bytes_per_second.max(1) as f64);
        [bytes, self.link_load, self.gate.lag(now)].into_iter().fold(0.0, f64::max).min(1.0)
    }

    fn most(&self) -> usize {
        self.rules.max_tunnels.min(limits::TRANSIT)
    }

    /// Tunnels that may come by one previous hop.
    fn most_per_peer(&self) -> usize {
        (self.most() / 4).max(limits::TRANSIT_PER_PEER_LEAST)
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
        self.gate.counted_peers()
    }

    /// Bytes of requests that wait.
    #[cfg(test)]
    pub(super) fn queue_bytes(&self) -> usize {
        self.gate.queue_bytes()
    }

    /// The counters, with what is so at this moment.
    pub(super) fn stats(&self) -> TransitStats {
        let bytes_per_second = self.meter.per_second() as u64;
        let ends = self.expiry.iter().rev().find(|(_, id)| self.table.contains_key(id)).map(|(at, _)| *at);
        TransitStats { bytes_per_second, granted: self.grants.granted(), ends, ..self.stats }
    }

    /// When the next tunnel ends, or a request that waits may have its turn.
    pub(super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let ends = self.expiry.front().map(|(at, _)| *at);
        ends.into_iter().chain(self.gate.next_timeout(now)).chain(self.grants.next_timeout()).min()
    }

    /// Forgets tunnels that are over.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.expiry.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, tunnel)) = self.expiry.pop_front() else { return };
            self.unused.pop_front_if(|oldest| *oldest == tunnel);
            self.remove(tunnel);
        }
        while let Some((at, tunnel)) = self.grants.pop_due(now) {
            let grant = self.table.get_mut(&tunnel).and_then(|entry| entry.granted.as_deref_mut());
            if let Some(grant) = grant {
                self.grants.look(at, tunnel, grant, self.rules.bytes_per_second);
            }
        }
    }

    /// Forgets a tunnel before its time. Its place in the order of ends stays, and means nothing then.
    pub(super) fn remove(&mut self, tunnel: TunnelId) {
        let Some(entry) = self.table.remove(&tunnel) else { return };
        self.idle = self.idle.saturating_sub(usize::from(!entry.is_used));
        self.ivs = self.ivs.saturating_sub(entry.seen.len());
        if let Work::Endpoint { endpoint, .. } = &entry.work {
            self.partial_bytes = self.partial_bytes.saturating_sub(endpoint.bytes());
        }
        if let Some(grant) = &entry.granted {
            self.grants.remove(grant);
        }
        if let Some(count) = self.per_peer.get_mut(&entry.previous) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&entry.previous);
            }
        }
    }

    /// A build request: waits for its turn after all checks that need no public-key work. `prefix` is where the previous
    /// hop is, where that counts. Then [`Self::next_request`].
    pub(super) fn handle_build(
        &mut self,
        now: Now,
        from: Hash,
        prefix: Option<Prefix>,
        message: &Message,
    ) -> Result<(), TransitError> {
        self.gate.admit(now.mono, from, prefix)?;
        let records = Records::read(message)?;
        let (index, ephemeral) = records.ours(&self.own).ok_or(TransitError::NotForUs)?;
        let request = Waiting { from, index, ephemeral, records, since: now.mono };
        self.gate.push(request, &mut self.rng, &mut self.stats.refused)
    }

    /// The next request to open. To be called until `None` after a request came, was opened or was lost, and in time.
    pub(super) fn next_request(&mut self, now: Instant) -> Option<RequestJob> {
        self.gate.next_job(now, &mut self.stats.refused)
    }

    /// The opened request: decides, answers, and sends the message on. Ids that are `taken` by own tunnels are not
    /// given away.
    pub(super) fn handle_opened(
        &mut self,
        now: Now,
        done: RequestDone,
        taken: impl Fn(TunnelId) -> bool,
    ) -> Result<Action, TransitError> {
        let RequestDone { request: Waiting { from, index, mut records, since, .. }, result } = done;
        self.gate.job_done(now.mono, Some(since));
        let (request, keys) = result.map_err(|error| match error {
            OpenError::Malformed(error) => TransitError::Malformed(error),
            _ => TransitError::Unopened,
        })?;
        self.check(now, from, &request)?;
        let reply = match self.decide(now.mono, from, &request, taken(request.receive_tunnel)) {
            Ok(bandwidth) => {
                self.add(now.mono, from, &request, &keys, bandwidth);
                self.stats.accepted += 1;
                #[cfg(ramson_lab)]
                {
                    self.long += u64::from(keys.is_long());
                }
                Reply { code: build_record::ACCEPT, bandwidth }
            }
            Err(why) => {
                self.stats.decline(why);
                Reply::of(build_record::REJECT)
            }
        };
        records.answer(&keys, index, reply, &mut self.rng);
        Ok(self.answer(now, &request, &keys, &records))
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

    /// What the tunnel is granted, or why it is declined.
    fn decide(&mut self, now: Instant, from: Hash, request: &Request, taken: bool) -> Result<Option<u32>, Obstacle> {
        if let Some(obstacle) = self.obstacle(now) {
            return Err(obstacle);
        }
        let id = request.receive_tunnel;
        if taken || id == request.next_tunnel || self.table.contains_key(&id) {
            return Err(Obstacle::Request);
        }
        let own = self.per_peer.get(&from).copied().unwrap_or(0);
        if own >= self.most_per_peer() || !self.leaves_room(now, &from, own) {
            return Err(Obstacle::Share);
        }
        let load = if self.is_flooded() { self.load_but_tunnels(now) } else { self.load(now) };
        let crowd = (load - CROWDED) / (1.0 - CROWDED);
        if crowd > 0.0 && self.rng.unit() < crowd {
            return Err(Obstacle::Busy);
        }
        let granted = self.grants.offer(&request.bandwidth, self.rules.bytes_per_second);
        let granted = granted.map_err(|()| Obstacle::Bandwidth)?;
        self.make_room();
        Ok(granted)
    }

    fn add(&mut self, now: Instant, from: Hash, request: &Request, keys: &Keys, granted: Option<u32>) {
        let work = match request.role {
            Role::Participant => Work::Participant,
            Role::InboundGateway => {
                let limit = request.bandwidth.limit.map(|limit| Box::new(tunnel_bucket(limit, now)));
                Work::Gateway(Gateway::default(), limit)
            }
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
            layer: keys.layer(),
            seen: SeenIvs::new(limits::SEEN_IVS, limits::LIFETIME + limits::GRACE, &mut self.rng),
            work,
            expires,
            is_used: false,
            granted: granted.map(|granted| Box::new(Grant::new(now, granted, tunnel_bucket(granted, now)))),
        };
        if let Some(grant) = &entry.granted {
            self.grants.add(request.receive_tunnel, grant);
        }
        *self.per_peer.entry(from).or_default() += 1;
        self.expiry.push_back((expires, request.receive_tunnel));
        self.unused.push_back(request.receive_tunnel);
        self.idle += 1;
        self.table.insert(request.receive_tunnel, entry);
    }

    fn answer(&mut self, now: Now, request: &Request, keys: &Keys, records: &Records) -> Action {
        let expiration = now.unix_ms + EXPIRY_MS;
        let to = request.next_hop;
        let replies = request.role == Role::OutboundEndpoint;
        let message = records.message(replies, request.send_message_id, expiration);
        if !replies {
            return Action::Send { to, message };
        }
        if to == self.own {
            // The gateway of the reply tunnel is here: nobody stands between whom garlic would hide it from.
            return Action::Gateway { tunnel: request.next_tunnel, message };
        }
        let message = match keys.garlic() {
            Some(garlic) => wrap_once(&garlic.key, &garlic.tag, message, &mut self.rng),
            None => message,
        };
        Action::Send { to, message: self.for_gateway(request.next_tunnel, message) }
    }

    /// The job of a request has panicked, or there was no room for it.
    pub(super) fn handle_request_failed(&mut self, now: Instant) {
        self.gate.job_done(now, None);
    }
}

/// The bucket of one tunnel, of kilobytes a second: two seconds of it, and the largest message in any case, may come at
/// once.
fn tunnel_bucket(kilobytes: u32, now: Instant) -> Bucket {
    let rate = kilobytes.saturating_mul(1_024);
    Bucket::new((rate, rate.saturating_mul(2).max(limits::TRANSIT_BURST)), now)
}

/// The allowance of bytes: one second of it may come at once.
fn byte_bucket(rules: &TransitRules, now: Instant) -> Bucket {
    let rate = u32::try_from(rules.bytes_per_second).unwrap_or(u32::MAX);
    let burst = if rate == 0 { 0 } else { rate.max(limits::TRANSIT_BURST) };
    Bucket::new((rate, burst), now)
}

#[cfg(test)]
#[path = "transit_tests.rs"]
mod tests;
