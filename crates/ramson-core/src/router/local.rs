//! One destination of ours: its sessions, streams, look-ups and publication, and the wires between them and the
//! router. Nothing in it is shared with another destination.

use super::asked::Questions;
use super::door::{Command, ConnectError, DestinationId, Event, KeylessRefused, StreamKey};
use super::faults::Machine;
use super::programs::{Next, Programs};
use super::{Router, Timer};
use crate::dest::{Destination, DestinationDone, DestinationEvent, SendError, Sender};
use crate::job::Job;
use crate::netdb::lookup::{self, Kind as LookupKind, LookupId};
use crate::netdb::{LeaseSetPublisher, Lookups, publish};
use crate::stream::{self, ConnectOptions, Streams};
use crate::time::{Duration, Instant, Now};
use crate::tunnel::{PoolConfig, PoolId, Target, TunnelId};
use ramson_wire::codec::Decode;
use ramson_wire::data::lease_set2::Flags;
use ramson_wire::data::{AnyLeaseSet, Destination as PublicDestination, Hash, Lease2, LeaseSet2, Mapping};
use ramson_wire::datagram::ClientPayload;
use ramson_wire::datagram::payload::protocol;
use ramson_wire::i2np::database_search_reply::DatabaseSearchReply;
use ramson_wire::i2np::database_store::{DatabaseStore, Entry};
use ramson_wire::i2np::delivery_status::DeliveryStatus;
use ramson_wire::i2np::{Kind, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::{debug, trace};

/// Destinations to which the path is remembered.
const MAX_PATHS: usize = 256;
/// Lifetime of garlic on its way.
const GARLIC_MS: u64 = 60_000;

/// A destination and all that belongs to it.
pub(super) struct Local {
    pub(super) id: DestinationId,
    pub(super) pool: PoolId,
    pub(super) tunnels: PoolConfig,
    /// The public part.
    pub(super) public: PublicDestination,
    pub(super) destination: Destination,
    pub(super) streams: Streams,
    pub(super) lookups: Lookups,
    pub(super) publisher: Option<LeaseSetPublisher>,
    /// The end of a LeaseSet that waits for the first outbound tunnel.
    pub(super) unpublished: Option<Instant>,
    /// The destination whose tunnels and static key it shares, and those that share its own.
    pub(super) beside: Option<DestinationId>,
    pub(super) members: Vec<DestinationId>,
    /// What a program is to sign, until there is an outbound tunnel.
    pub(super) offered: Option<Vec<Lease2>>,
    /// The leases that were signed last, those that floodfills were given last, and those that one has confirmed last.
    pub(super) signed: Vec<Lease2>,
    pub(super) stored: Vec<Lease2>,
    pub(super) confirmed: Vec<Lease2>,
    /// The look-up that verifies the publication.
    pub(super) verifying: Option<LookupId>,
    /// Look-ups that a program or a stream waits for.
    pub(super) asked: Questions,
    pub(super) needed: BTreeSet<Hash>,
    /// Those of streams that wait for tunnels, and what they must be newer than.
    pub(super) unasked: BTreeMap<Hash, u32>,
    /// What programs do with the streams.
    pub(super) programs: Programs,
    /// The path to each destination that was sent to of late.
    pub(super) paths: BTreeMap<Hash, SentBy>,
    /// The destinations of LeaseSets that look-ups have brought, and the options of those.
    pub(super) found: BTreeMap<Hash, (PublicDestination, Mapping)>,
    pub(super) bytes: (u64, u64),
}

/// By what garlic to a destination goes: the number of its path, our outbound tunnel, and the lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentBy {
    path: u64,
    pub(super) tunnel: TunnelId,
    pub(super) lease: (Hash, TunnelId),
}

impl Local {
    pub(super) fn destination_done(&mut self, now: Now, done: DestinationDone) {
        // Who sent what cannot be read is not known; nothing is told.
        let _ = self.destination.handle_job(now, done);
    }

    pub(super) fn stream_done(&mut self, now: Now, done: stream::Done) {
        self.streams.handle_job(now, done);
    }

    /// Whether the LeaseSet is where others find it, or need not be.
    pub(super) fn is_published(&self) -> bool {
        self.publisher.as_ref().is_none_or(LeaseSetPublisher::is_published)
    }

    /// When something of the publication of its LeaseSet is due.
    #[cfg(test)]
    pub(super) fn next_publication(&self) -> Option<Instant> {
        self.publisher.as_ref().and_then(LeaseSetPublisher::next_timeout)
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let publisher = self.publisher.as_ref().and_then(LeaseSetPublisher::next_timeout);
        [self.destination.next_timeout(), self.streams.next_timeout(), self.lookups.next_timeout(), publisher]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether leases that others may still use are not among these.
    fn has_lost(&self, now: Now, leases: &[Lease2]) -> bool {
        let soon = now.unix_secs().saturating_add(60);
        self.signed.iter().any(|lease| lease.end > soon && !leases.contains(lease))
    }

    /// Moves what programs wrote into the stream; returns how much.
    fn pump(&mut self, now: Now, stream: stream::StreamId) -> usize {
        let moved = self.programs.pump(now, &mut self.streams, stream);
        self.bytes.1 += moved as u64;
        moved
    }

    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn check(&self) {
        self.destination.check();
        self.streams.check();
        self.lookups.check();
        self.publisher.iter().for_each(LeaseSetPublisher::check);
        self.asked.check_bounds();
        assert!(self.unasked.len() <= crate::limits::netdb::LOOKUPS);
        assert!(self.paths.len() <= MAX_PATHS && self.found.len() <= crate::limits::dest::REMOTE_LEASE_SETS);
        self.programs.check();
    }

    /// Forgets what a program has to do with a stream; gives the token of a connect that it waits for.
    pub(super) fn forget(&mut self, stream: stream::StreamId) -> Option<u64> {
        self.programs.forget(stream)
    }
}

impl Router {
    pub(super) fn handle_command(&mut self, command: Command) {
        let now = self.now;
        match command {
            Command::KeepGuards { destination, saved } => self.keep_guards(destination, saved),
            Command::CreateDestination { id, options } => self.create_local(id, *options),
            Command::CreateKeyless { id, options } => self.create_keyless(id, *options),
            Command::SetLeaseSet { destination, token, set, keys } => {
                self.set_lease_set(destination, token, *set, keys);
            }
            Command::SendMessage { destination, token, message } => self.send_message(destination, token, *message),
            Command::SetTunnels { destination, token, tunnels, extra_hops } => {
                self.set_tunnels(destination, token, tunnels, extra_hops);
            }
            Command::CloseDestination(id) => self.close_local(id),
            Command::Listen { destination, port } => self.with_local(destination, |local| local.streams.listen(port)),
            Command::Unlisten { destination, port } => {
                self.with_local(destination, |local| local.streams.unlisten(port));
            }
            Command::Connect { destination, token, to, ports } => self.connect(destination, token, to, ports),
            Command::BindDatagrams { destination, token, bound } => self.bind_datagrams(destination, token, bound),
            Command::UnbindDatagrams { destination, bound } => self.unbind_datagrams(destination, bound),
            Command::SendDatagram { destination, token, datagram } => self.send_datagram(destination, token, *datagram),
            Command::StreamSend { stream, data } => {
                self.with_local(stream.destination, |local| local.programs.write(stream.stream, data));
                self.pump(stream);
            }
            Command::StreamShutdown(stream) => {
                self.with_local(stream.destination, |local| local.programs.shut_down(stream.stream));
                self.pump(stream);
            }
            Command::StreamReset(stream) => self.with_local(stream.destination, |local| {
                local.programs.reset(now, &mut local.streams, stream.stream);
            }),
            Command::StreamRelease(stream) => {
                self.with_local(stream.destination, |local| local.streams.discard(now, stream.stream));
            }
            Command::StreamCredit { stream, bytes } => {
                self.with_local(stream.destination, |local| local.streams.credit(now, stream.stream, bytes));
            }
            Command::Lookup { destination, token, hash } => self.look_up_destination(destination, token, hash),
            Command::Drain => self.tunnels.drain_transit(),
            Command::Shutdown => self.shut_down(),
        }
    }

    pub(super) fn with_local(&mut self, id: DestinationId, act: impl FnOnce(&mut Local)) {
        if let Some(local) = self.locals.get_mut(&id) {
            act(local);
            self.dirty.insert(id);
        }
    }

    pub(super) fn local_job(&mut self, id: DestinationId, act: impl FnOnce(&mut Local, Now)) {
        let now = self.now;
        self.with_local(id, |local| act(local, now));
    }

    pub(super) fn handle_local_timeout(&mut self, id: DestinationId) {
        let (now, store) = (self.now, &self.store);
        let Some(local) = self.locals.get_mut(&id) else { return };
        self.running = Machine::Sessions(id);
        local.destination.handle_timeout(now);
        self.running = Machine::Streams(id);
        local.streams.handle_timeout(now);
        self.running = Machine::Shared;
        local.lookups.handle_timeout(now, store);
        if let Some(publisher) = &mut local.publisher {
            publisher.handle_timeout(now, store);
        }
        self.dirty.insert(id);
    }

    /// Carries out what a destination's machines say, until they are quiet; then sets its timer.
    pub(super) fn drain_local(&mut self, id: DestinationId) {
        loop {
            let Some(local) = self.locals.get_mut(&id) else { return };
            if let Some(event) = local.destination.poll_event() {
                self.runs(Machine::Sessions(id));
                self.handle_destination(id, event);
                continue;
            }
            if let Some(event) = local.streams.poll_event() {
                self.runs(Machine::Streams(id));
                self.handle_stream(id, event);
                continue;
            }
            self.running = Machine::Shared;
            if let Some(event) = local.lookups.poll_event() {
                self.handle_lookup(Some(id), event);
            } else if let Some(event) = local.publisher.as_mut().and_then(LeaseSetPublisher::poll_event) {
                self.handle_lease_set_publisher(id, event);
            } else {
                break;
            }
        }
        match self.locals.get(&id).and_then(Local::next_timeout) {
            Some(at) => self.timers.set(Timer::Local(id), at),
            None => self.timers.cancel(&Timer::Local(id)),
        }
        self.dirty.remove(&id);
    }

    // ---- tunnels of a destination ----

    pub(super) fn pool_changed(&mut self, pool: PoolId) {
        let Some(id) = self.pools.get(&pool).copied() else { return };
        let leases: Vec<Lease2> = self
            .tunnels
            .inbound_in_use(pool)
            .iter()
            .map(|t| Lease2 {
                gateway: t.gateway,
                tunnel_id: t.tunnel,
                end: u32::try_from(t.expires_unix_ms / 1000).unwrap_or(u32::MAX),
            })
            .collect();
        let now = self.now;
        for id in self.members_of(id) {
            let leases = leases.clone();
            self.with_local(id, |local| {
                if local.has_lost(now, &leases) {
                    local.streams.note_unreached(now);
                }
                local.destination.handle_leases(now, leases);
            });
        }
    }

    pub(super) fn tunnel_ready(&mut self, pool: PoolId) {
        let Some(id) = self.pools.get(&pool).copied() else { return };
        for id in self.members_of(id) {
            self.publish_waiting(id);
            self.offer_waiting(id);
            self.look_up_waiting(id);
            self.dirty.insert(id);
        }
    }

    /// An outbound tunnel is no more: what streams sent by it may not have arrived.
    pub(super) fn tunnel_lost(&mut self, pool: PoolId, tunnel: TunnelId) {
        let Some(id) = self.pools.get(&pool).copied() else { return };
        // Those beside it have no streams.
        let now = self.now;
        self.with_local(id, |local| {
            let by = local.paths.iter().filter(|(_, by)| by.tunnel == tunnel).map(|(to, _)| *to);
            for to in by.collect::<Vec<_>>() {
                local.streams.path_changed(now, to);
            }
        });
    }

    /// Hands a new LeaseSet to the publisher once there is a tunnel to send it by.
    fn publish_waiting(&mut self, id: DestinationId) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        if self.tunnels.outbound(local.pool).is_empty() {
            return;
        }
        if let (Some(end), Some(publisher)) = (local.unpublished.take(), &mut local.publisher) {
            // What was stored and not confirmed may be known to nobody.
            let known = &local.confirmed;
            let urgent = !known.is_empty() && !local.signed.iter().any(|lease| known.contains(lease));
            publisher.handle_changed(self.now, end, urgent);
        }
    }

    /// A message that came down a tunnel of a destination. It never reaches anything else (threats P-10).
    pub(super) fn handle_local_message(&mut self, pool: PoolId, message: Message) {
        let Some(id) = self.pools.get(&pool).copied() else { return };
        let now = self.now;
        if message.kind == Kind::DELIVERY_STATUS {
            for id in self.members_of(id) {
                self.runs(Machine::Sessions(id));
                // Floodfills confirm a LeaseSet in the clear, by the tunnel that the store named.
                self.with_local(id, |local| local.handle_delivery_status(now, &message.body));
            }
            return;
        }
        let id = self.receiver(id, &message);
        self.runs(Machine::Sessions(id));
        self.with_local(id, |local| {
            if message.kind == Kind::GARLIC {
                let result = local.destination.handle_garlic(now, &message.body);
                trace!(pool = pool.0, ?result, "garlic came");
            }
        });
    }

    // ---- sessions ----

    fn handle_destination(&mut self, id: DestinationId, event: DestinationEvent) {
        let now = self.now;
        match event {
            DestinationEvent::Job(job) => self.job(Job::Destination(id, job)),
            DestinationEvent::LeaseSetChanged(set) => {
                let ends = u64::from(set.times().end()).saturating_mul(1000).saturating_sub(now.unix_ms);
                let end = now.mono + Duration::from_millis(ends);
                let Some(local) = self.locals.get_mut(&id) else { return };
                // Who writes to us by a lease that is lost must not wait for a floodfill to hear of it.
                if local.has_lost(now, set.leases()) {
                    local.streams.tell_peers(now);
                }
                local.signed = set.leases().to_vec();
                // Without an outbound tunnel the store would be lost. A program that signs says by itself what is not to be
                // published.
                local.unpublished = (!set.times().flags.contains(Flags::UNPUBLISHED)).then_some(end);
                self.publish_waiting(id);
            }
            DestinationEvent::NeedLeaseSet { hash, newer_than } => {
                self.need_lease_set(id, hash, newer_than);
            }
            DestinationEvent::PathMoved(to) => self.local_job(id, |local, now| local.streams.path_changed(now, to)),
            DestinationEvent::Garlic { to, lease, path, body } => self.send_garlic(id, to, (lease, path), body),
            DestinationEvent::Received { from, payload } => self.received(id, from, payload),
            DestinationEvent::Datagram(datagram) => {
                self.event(Event::Datagram { destination: id, datagram: Box::new(datagram) });
            }
            DestinationEvent::Failed { to, reason, .. } => self.sending_failed(id, to, reason),
            DestinationEvent::SignLeases(leases) => self.offer_leases(id, leases),
            DestinationEvent::LeaseSetTaken { token, result } => {
                let result = result.map_err(KeylessRefused::LeaseSet);
                self.event(Event::LeaseSetTaken { token, result });
            }
            DestinationEvent::Message(payload) => self.message_came(id, payload),
            DestinationEvent::MessageBeside { to, body } => self.message_beside(id, to, body),
            DestinationEvent::MessageSent { id: message, result } => {
                self.event(Event::MessageSent { destination: id, message, result });
            }
            DestinationEvent::Control { from, message } => self.handle_control(id, from, &message),
        }
    }

    /// Sends garlic to a lease, out of the tunnel that its path uses while that tunnel lives. A new path to the same
    /// destination takes another tunnel than the one before: that one may be why the path was left.
    fn send_garlic(&mut self, id: DestinationId, to: Hash, (lease, path): (Lease2, u64), body: Vec<u8>) {
        let message = self.message(Kind::GARLIC, GARLIC_MS, body);
        let Some(local) = self.locals.get(&id) else { return };
        let pool = local.pool;
        let before = local.paths.get(&to).copied();
        let known = before.filter(|by| by.path == path).map(|by| by.tunnel);
        let usable = known.filter(|t| self.tunnels.outbound(pool).iter().any(|o| o.tunnel == *t));
        let tunnel = usable.or_else(|| self.outbound_to(pool, &lease.gateway, before.map(|by| by.tunnel)));
        let target = Target::Tunnel { gateway: lease.gateway, tunnel: lease.tunnel_id };
        let Ok(tunnel) = self.tunnels.send(self.now, pool, tunnel, target, message) else { return };
        trace!(pool = pool.0, path, tunnel, gateway = ?lease.gateway, lease = lease.tunnel_id, "garlic sent");
        if let Some(local) = self.locals.get_mut(&id) {
            local.paths.insert(to, SentBy { path, tunnel, lease: (lease.gateway, lease.tunnel_id) });
            if local.paths.len() > MAX_PATHS {
                // The oldest path goes; its next message draws a tunnel anew.
                let oldest = local.paths.iter().min_by_key(|(_, by)| by.path).map(|(to, _)| *to);
                oldest.and_then(|to| local.paths.remove(&to));
            }
        }
    }

    fn received(&mut self, id: DestinationId, from: Option<Hash>, payload: ClientPayload) {
        let now = self.now;
        self.runs(Machine::Streams(id));
        let Some(local) = self.locals.get_mut(&id) else { return };
        if payload.protocol == protocol::STREAMING {
            local.bytes.0 += payload.data.len() as u64;
            // A packet that is dropped is sent again, or was not for us.
            let _ = local.streams.handle_packet(now, from, payload.from_port, payload.to_port, payload.data);
        }
    }

    fn sending_failed(&mut self, id: DestinationId, to: Hash, reason: SendError) {
        let why = match reason {
            SendError::LeaseSetNotFound | SendError::UnsupportedEncryption => ConnectError::LeaseSetNotFound,
            // A single packet that was lost is sent again.
            _ => return,
        };
        let now = self.now;
        let Some(local) = self.locals.get_mut(&id) else { return };
        for token in local.programs.fail_connects(now, &mut local.streams, &to) {
            self.outputs.push_back(super::Output::Event(Event::ConnectFailed { token, why }));
        }
    }

    /// An answer to a question of this destination.
    fn handle_control(&mut self, id: DestinationId, from: Sender, message: &Message) {
        let (now, store) = (self.now, &self.store);
        let Some(local) = self.locals.get_mut(&id) else { return };
        match message.kind {
            Kind::DATABASE_STORE => {
                let Ok(found) = DatabaseStore::from_bytes(&message.body) else { return };
                let Entry::LeaseSet(set) = found.entry else { return };
                let key = set.key();
                if !local.lookups.wants(&key) {
                    return;
                }
                match (set.as_ref(), from) {
                    (AnyLeaseSet::V2(old), Sender::OneTime(tag))
                        if local.lookups.is_too_old(&key, old.times().published) =>
                    {
                        local.lookups.handle_older(now, tag, &key, store);
                    }
                    _ if local.asked.check(key) => self.job(Job::VerifyLeaseSet { destination: id, set }),
                    _ => {}
                }
            }
            Kind::DATABASE_SEARCH_REPLY => {
                if let Ok(reply) = DatabaseSearchReply::from_bytes(&message.body) {
                    local.lookups.handle_search_reply(now, &reply.from, &reply.key, &reply.peers, store);
                }
            }
            Kind::DELIVERY_STATUS => local.handle_delivery_status(now, &message.body),
            _ => {}
        }
    }

    pub(super) fn lease_set_verified(&mut self, id: DestinationId, key: Hash, set: Option<Arc<AnyLeaseSet>>) {
        let now = self.now;
        self.with_local(id, |local| {
            local.asked.checked(&key);
            let Some(set) = set else { return };
            if let AnyLeaseSet::V2(set) = set.as_ref() {
                local.take_lease_set(now, set);
            }
        });
    }

    pub(super) fn local_lookup_done(
        &mut self,
        id: DestinationId,
        lookup: LookupId,
        key: Hash,
        result: Result<(), lookup::Failure>,
    ) {
        let (now, store) = (self.now, &self.store);
        let Some(local) = self.locals.get_mut(&id) else { return };
        if local.verifying == Some(lookup) {
            local.verifying = None;
            if let Some(publisher) = &mut local.publisher {
                debug!(pool = local.pool.0, ?result, "LeaseSet verified");
                publisher.handle_verified(now, result.is_ok(), store);
            }
            return;
        }
        // Of two look-ups, for any LeaseSet and for a newer one, the last one tells that there is none.
        if result.is_err() && local.lookups.wants(&key) {
            return;
        }
        if local.needed.remove(&key) && result.is_err() {
            local.destination.handle_lookup_failed(now, key);
        }
        for token in local.asked.take(&key) {
            let found = local.found.get(&key).filter(|_| result.is_ok()).cloned();
            let (destination, options) = found.map_or((None, Mapping::new()), |(it, options)| (Some(it), options));
            self.outputs.push_back(super::Output::Event(Event::LookedUp { token, destination, options }));
        }
    }

    fn look_up_destination(&mut self, id: DestinationId, token: u64, hash: Hash) {
        let now = self.now;
        let closing = self.is_closing(id);
        let Some(local) = self.locals.get_mut(&id).filter(|_| !closing) else {
            return self.event(Event::LookedUp { token, destination: None, options: Mapping::new() });
        };
        if hash == local.destination.hash() {
            let destination = Some(local.public.clone());
            return self.event(Event::LookedUp { token, destination, options: Mapping::new() });
        }
        if !local.asked.add(hash, token) {
            return self.event(Event::LookupRefused { token });
        }
        local.lookups.start(now, hash, LookupKind::LeaseSet, &self.store);
        self.dirty.insert(id);
    }

    fn handle_lease_set_publisher(&mut self, id: DestinationId, event: publish::Event) {
        let now = self.now;
        let Some(local) = self.locals.get_mut(&id) else { return };
        match event {
            publish::Event::Store { floodfill, token } => {
                debug!(pool = local.pool.0, ?floodfill, "LeaseSet stored");
                let (pool, set) = (local.pool, local.destination.lease_set().cloned());
                let Some(set) = set else { return };
                local.stored = set.leases().to_vec();
                self.store_lease_set(pool, floodfill, token, set);
            }
            publish::Event::Verify { exclude } => {
                debug!(pool = local.pool.0, "LeaseSet confirmed, verifying");
                let own = local.destination.hash();
                let Some(published) = local.destination.lease_set().map(|set| set.times().published) else { return };
                let older = published.saturating_sub(1);
                local.verifying = Some(local.lookups.start_newer(now, own, older, exclude, &self.store));
            }
        }
    }

    // ---- streams ----

    fn connect(&mut self, id: DestinationId, token: u64, to: Hash, ports: (u16, u16)) {
        let now = self.now;
        let failed = |why| Event::ConnectFailed { token, why };
        let closing = self.is_closing(id);
        let Some(local) = self.locals.get_mut(&id).filter(|it| !closing && !it.destination.is_keyless()) else {
            return self.event(failed(ConnectError::NoSuchDestination));
        };
        let outbound = self.tunnels.outbound(local.pool);
        debug!(?to, pool = local.pool.0, outbound = outbound.len(), "connect");
        if outbound.is_empty() || local.destination.lease_set().is_none() {
            return self.event(failed(ConnectError::TunnelsNotReady));
        }
        let options = ConnectOptions {
            peer: local.found.get(&to).map(|(peer, _)| peer.clone()),
            path_rtt: outbound.iter().filter_map(|t| t.rtt).max(),
            ..ConnectOptions::default()
        };
        match local.programs.connect(now, &mut local.streams, (token, to), ports, options) {
            Ok(()) => drop(self.dirty.insert(id)),
            Err(why) => self.event(failed(why)),
        }
    }

    fn pump(&mut self, stream: StreamKey) {
        let now = self.now;
        let Some(local) = self.locals.get_mut(&stream.destination) else { return };
        let bytes = local.pump(now, stream.stream);
        self.dirty.insert(stream.destination);
        if bytes > 0 {
            self.event(Event::StreamWritable { stream, bytes });
        }
    }

    fn handle_stream(&mut self, id: DestinationId, event: stream::Event) {
        let now = self.now;
        let Some(local) = self.locals.get_mut(&id) else { return };
        match local.programs.handle(event) {
            Next::Nothing => {}
            Next::Event(event) => self.event(event),
            Next::Job(job) => self.job(Job::Stream(id, job)),
            Next::Send { to, from_port, to_port, packet, .. } => {
                let payload = ClientPayload { protocol: protocol::STREAMING, from_port, to_port, data: packet };
                self.running = Machine::Sessions(id);
                local.destination.send(now, to, payload);
            }
            Next::Pump(stream) => {
                let key = local.programs.key(stream);
                self.pump(key);
            }
            Next::Suspect { to, failures } => {
                let was_used = local.destination.handle_path_failed(now, &to);
                debug!(?to, pool = local.pool.0, was_used, failures, "path suspect");
                local.streams.path_changed(now, to);
                let (pool, was_sent) = (local.pool, local.paths.contains_key(&to));
                if was_used {
                    self.tunnels.suspect(now, pool);
                }
                // New sessions are rare where none is answered, so that little may have been sent since the last failure. What
                // strangers open to us must not decide where our tunnels lead.
                if was_sent {
                    self.tunnels.widen(now, pool, failures);
                }
            }
        }
    }
}

impl Local {
    fn handle_delivery_status(&mut self, now: Now, body: &[u8]) {
        if let (Ok(status), Some(publisher)) = (DeliveryStatus::from_bytes(body), &mut self.publisher)
            && publisher.handle_confirmation(now, status.message_id)
        {
            self.confirmed.clone_from(&self.stored);
        }
    }

    /// A verified LeaseSet that a look-up has brought. Our own only answers whether the publication is found. An older
    /// one than is wanted is no answer, and the look-up goes on at others.
    fn take_lease_set(&mut self, now: Now, set: &LeaseSet2) {
        let key = set.key();
        if key != self.destination.hash() {
            self.remember(set);
            self.destination.handle_lease_set(now, set.clone());
        }
        self.lookups.handle_lease_set(&key, set.times().published);
    }

    /// Keeps the public part of a destination that was looked up; few are kept.
    fn remember(&mut self, set: &LeaseSet2) {
        if self.found.len() >= crate::limits::dest::REMOTE_LEASE_SETS {
            self.found.pop_first();
        }
        self.found.insert(set.key(), (set.destination().clone(), set.options().clone()));
    }
}
