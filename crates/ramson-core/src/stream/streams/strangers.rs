//! Streams that others open: their SYNs, what overtakes those, and refusals.

use super::super::connection::{Connection, Start};
use super::super::jobs::{By, Ports, Purpose, Signer};
use super::super::{Error, Event, StreamId};
use super::Streams;
use crate::bucket::Bucket;
use crate::limits::stream as limits;
use crate::time::{Instant, Now};
use ramson_wire::data::Hash;
use ramson_wire::streaming::sign::Unsigned;
use ramson_wire::streaming::{Flags, Outgoing, Packet};
use std::collections::VecDeque;

/// A packet of a stream whose SYN has not come yet.
#[derive(Debug)]
pub(super) struct Orphan {
    remote_id: u32,
    from: Option<Hash>,
    pub(super) packet: Vec<u8>,
    at: Instant,
}

impl Streams {
    pub(super) fn handle_syn(
        &mut self,
        now: Now,
        from: Option<Hash>,
        ports: Ports,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        let packet = Packet::parse(&bytes)?;
        let claimed = packet.from.ok_or(Error::Unsigned)?;
        let peer = claimed.hash();
        if from.is_some_and(|from| from != peer) {
            return Err(Error::Forged);
        }
        if packet.meant_for().is_some_and(|hash| hash != self.local.destination.hash()) {
            return Err(Error::Forged); // a replay of a SYN that was meant for somebody else
        }
        if let Some(stream) = self.by_remote.get(&(packet.recv_id, peer)).copied() {
            return self.handle_known(now, stream, from, bytes);
        }
        if self.is_past(now.mono, &(packet.recv_id, peer)) {
            return Err(Error::UnknownStream);
        }
        let destination = claimed.destination()?;
        if !packet.is_signed() {
            if !self.config.unsigned_syn || from.is_none() {
                return Err(Error::Unsigned);
            }
            self.count_syn(now.mono, peer)?;
            let signer = Signer { key: destination.signing_key().clone(), destination };
            self.accept(now, ports, &packet, signer);
            return Ok(());
        }
        self.count_syn(now.mono, peer)?;
        let job = self.jobs.verify(now, bytes, By::Itself(destination), Purpose::Syn { ports, since: now.mono });
        self.events.push_back(Event::Job(job));
        Ok(())
    }

    /// Whether one more SYN of `peer` may cost us work.
    fn count_syn(&mut self, now: Instant, peer: Hash) -> Result<(), Error> {
        if self.jobs.strangers() >= limits::MAX_VERIFYING || self.connections.len() >= self.config.max_streams {
            return Err(Error::Limit);
        }
        if self.peer_syns.len() >= limits::MAX_COUNTED_PEERS && !self.peer_syns.contains_key(&peer) {
            let oldest = self.peer_syns.iter().min_by_key(|(_, bucket)| bucket.used()).map(|(peer, _)| *peer);
            oldest.map(|oldest| self.peer_syns.remove(&oldest));
        }
        let fresh = || Bucket::new(limits::SYNS_PER_PEER, now);
        let allowed = self.peer_syns.entry(peer).or_insert_with(fresh).take(now) && self.syns.take(now);
        if allowed { Ok(()) } else { Err(Error::Limit) }
    }

    /// A SYN that was verified.
    pub(super) fn accept(&mut self, now: Now, ports: Ports, packet: &Packet<'_>, signer: Signer) {
        let (peer, remote_id) = (signer.destination.hash(), packet.recv_id);
        if let Some(stream) = self.by_remote.get(&(remote_id, peer)).copied() {
            self.drive(now, stream, |connection, ctx| connection.handle(packet, ctx));
            return;
        }
        if self.is_past(now.mono, &(remote_id, peer)) {
            return;
        }
        let listens = self.listening.contains(&None) || self.listening.contains(&Some(ports.0));
        if !listens || self.make_room().is_err() {
            self.refuse(now.mono, peer, ports, remote_id);
            return;
        }
        self.paths.enter(now.mono, peer, None, &self.config);
        let from = signer.destination.clone();
        let start = Start { signer: Some(signer), ..self.start(peer, ports) };
        let connection = Connection::inbound(now.mono, start, remote_id, &self.config);
        let stream = connection.id();
        self.events.push_back(Event::Accepted { stream, from, port: ports.0, peer_port: ports.1 });
        self.by_remote.insert((remote_id, peer), stream);
        self.insert(now, connection);
        self.drive(now, stream, |connection, ctx| connection.handle(packet, ctx));
        self.adopt_orphans(now, stream, remote_id, peer);
    }

    fn refuse(&mut self, now: Instant, to: Hash, ports: Ports, remote_id: u32) {
        if !self.resets.take(now) {
            return;
        }
        let out = Outgoing { send_id: remote_id, flags: Flags::RESET, ..Outgoing::default() };
        // With our destination inside, since a peer that is only connecting may not have it at hand.
        let out = Outgoing { from: Some(&self.local.destination), offline: self.local.offline.as_deref(), ..out };
        let job = self.jobs.sign(&self.local.key, Unsigned::new(&out, &[]), Purpose::SignLoose { to, ports });
        self.events.push_back(Event::Job(job));
    }

    /// Keeps a packet that may have overtaken its SYN.
    pub(super) fn keep_orphan(
        &mut self,
        now: Instant,
        remote_id: u32,
        from: Option<Hash>,
        packet: Vec<u8>,
    ) -> Result<(), Error> {
        if remote_id == 0 || self.listening.is_empty() {
            return Err(Error::UnknownStream);
        }
        self.orphan_bytes += packet.len();
        self.orphans.push_back(Orphan { remote_id, from, packet, at: now });
        while self.orphans.len() > limits::MAX_ORPHANS
            || self.orphan_bytes > limits::MAX_ORPHAN_BYTES
            || self.orphans.front().is_some_and(|orphan| orphan.at + limits::ORPHAN_LIFE <= now)
        {
            let Some(orphan) = self.orphans.pop_front() else { break };
            self.orphan_bytes -= orphan.packet.len();
        }
        Ok(())
    }

    fn adopt_orphans(&mut self, now: Now, stream: StreamId, remote_id: u32, peer: Hash) {
        let mine = |orphan: &Orphan| orphan.remote_id == remote_id && orphan.from.is_none_or(|from| from == peer);
        let (mine, rest): (VecDeque<Orphan>, _) = std::mem::take(&mut self.orphans).into_iter().partition(mine);
        self.orphans = rest;
        for orphan in mine {
            self.orphan_bytes -= orphan.packet.len();
            if orphan.at + limits::ORPHAN_LIFE > now.mono {
                let _ = self.handle_known(now, stream, orphan.from, orphan.packet);
            }
        }
    }

    /// The incoming stream of a packet whose sender does not know our id yet.
    pub(super) fn find_remote(&self, remote_id: u32, from: Option<Hash>) -> Option<StreamId> {
        if let Some(from) = from {
            return self.by_remote.get(&(remote_id, from)).copied();
        }
        let mut all = self.by_remote.range((remote_id, Hash([0; 32]))..=(remote_id, Hash([0xff; 32])));
        let (_, stream) = all.next()?;
        all.next().is_none().then_some(*stream)
    }
}
