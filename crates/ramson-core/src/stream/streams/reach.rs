//! Whether peers can be reached, and whether they can reach us.

use super::super::connection::Connection;
use super::super::jobs::{By, Ports, Purpose};
use super::super::{Error, Event, StreamId};
use super::Streams;
use crate::limits::stream as limits;
use crate::time::{Instant, Now};
use ramson_wire::data::Hash;
use ramson_wire::streaming::sign::Unsigned;
use ramson_wire::streaming::{Flags, MAX_ECHO, Outgoing, Packet};
use std::collections::BTreeMap;

impl Streams {
    /// Asks whether `to` is there: [`Event::Pong`] with the returned nonce follows, or nothing. Of `payload`, 32 bytes
    /// come back.
    pub fn ping(&mut self, to: Hash, ports: (u16, u16), payload: &[u8]) -> u32 {
        let nonce = self.rng.nonzero_u32();
        if self.pings.len() >= limits::MAX_PINGS {
            self.pings.pop_front();
        }
        self.pings.push_back((nonce, to));
        let out = Outgoing {
            send_id: nonce,
            ack_through: None,
            flags: Flags::ECHO,
            from: Some(&self.local.destination),
            offline: self.local.offline.as_deref(),
            ..Outgoing::default()
        };
        let payload = payload.get(..MAX_ECHO).unwrap_or(payload);
        let job = self.jobs.sign(&self.local.key, Unsigned::new(&out, &[payload]), Purpose::SignLoose { to, ports });
        self.events.push_back(Event::Job(job));
        nonce
    }

    /// A peer asks whether we are there, or answers that it is.
    pub(super) fn handle_echo(
        &mut self,
        now: Now,
        from: Option<Hash>,
        ports: Ports,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let packet = Packet::parse(bytes)?;
        if packet.send_id == 0 {
            let waits = |(nonce, to): &(u32, Hash)| *nonce == packet.recv_id && from.is_none_or(|from| from == *to);
            let at = self.pings.iter().position(waits).ok_or(Error::UnknownStream)?;
            self.pings.remove(at);
            let payload = packet.payload.get(..MAX_ECHO).unwrap_or(packet.payload).to_vec();
            self.events.push_back(Event::Pong { from, nonce: packet.recv_id, payload });
            return Ok(());
        }
        let destination = packet.from.ok_or(Error::Unsigned)?;
        if !packet.is_signed() {
            return Err(Error::Unsigned);
        }
        if from.is_some_and(|from| from != destination.hash()) {
            return Err(Error::Forged);
        }
        let destination = destination.destination()?;
        let free = self.jobs.strangers() < limits::MAX_VERIFYING;
        if !self.config.answer_pings || !free || !self.echoes.take(now.mono) {
            return Err(Error::Limit);
        }
        let job = self.jobs.verify(now, bytes.to_vec(), By::Itself(destination), Purpose::Ping { ports });
        self.events.push_back(Event::Job(job));
        Ok(())
    }

    /// Tunnels by which peers reach us are lost; [`Streams::tell_peers`] follows when there are others.
    pub fn note_unreached(&mut self, now: Now) {
        self.connections.values_mut().for_each(|connection| connection.note_unreached(now));
    }

    /// Our LeaseSet is another one: each peer with an open stream gets a packet now, which brings it along.
    pub fn tell_peers(&mut self, now: Now) {
        // By the stream that was heard of last: whether a silence means something is known by that one.
        let mut of_peers: BTreeMap<Hash, (Instant, StreamId)> = BTreeMap::new();
        for connection in self.connections.values().filter(|c| !c.is_opening() && !c.is_lingering()) {
            let this = (connection.heard_at(), connection.id());
            of_peers.entry(connection.peer).and_modify(|last| *last = this.max(*last)).or_insert(this);
        }
        for (_, stream) in of_peers.into_values() {
            self.drive(now, stream, Connection::say_where);
        }
    }
}
