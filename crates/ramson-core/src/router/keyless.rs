//! Destinations whose keys a program holds: the router asks it to sign, and carries its messages.

use super::Router;
use super::door::{DestinationId, Event, KeylessRefused};
use super::faults::Machine;
use super::local::Local;
use crate::dest::keyless::{LeaseSetError, Outgoing};
use crate::tunnel::{PoolConfig, PoolError};
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{Hash, Lease2, LeaseSet2};
use ramson_wire::i2np::{Kind, Message};

impl Router {
    /// A destination and those that share its tunnels.
    pub(super) fn members_of(&self, id: DestinationId) -> Vec<DestinationId> {
        let members = self.locals.get(&id).map(|local| local.members.as_slice()).unwrap_or_default();
        [id].into_iter().chain(members.iter().copied()).collect()
    }

    /// The new destination shares the tunnels of the first one from now on. What a program says of both is known to all
    /// anyway: they have one static key.
    pub(super) fn join(&mut self, first: DestinationId, id: DestinationId) {
        let Some(hash) = self.locals.get(&id).map(|local| local.destination.hash()) else { return };
        for other in self.members_of(first) {
            let Some(local) = self.locals.get_mut(&other) else { continue };
            local.destination.set_beside(hash, true);
            let theirs = local.destination.hash();
            if let Some(local) = self.locals.get_mut(&id) {
                local.destination.set_beside(theirs, true);
            }
        }
        if let Some(local) = self.locals.get_mut(&first) {
            local.members.push(id);
            let pool = local.pool;
            self.pool_changed(pool);
        }
    }

    /// A destination that has shared the tunnels of the first one is gone.
    pub(super) fn part(&mut self, first: DestinationId, id: DestinationId, hash: Hash) {
        if let Some(local) = self.locals.get_mut(&first) {
            local.members.retain(|member| *member != id);
        }
        for other in self.members_of(first) {
            if let Some(local) = self.locals.get_mut(&other) {
                local.destination.set_beside(hash, false);
            }
        }
    }

    /// Whose session a message is of that came down the tunnels of `id`: that of one beside it, if its sender has a
    /// session with that one.
    pub(super) fn receiver(&self, id: DestinationId, message: &Message) -> DestinationId {
        let members = self.locals.get(&id).map(|local| local.members.as_slice()).unwrap_or_default();
        if members.is_empty() {
            return id;
        }
        let is_theirs = |local: &Local| message.kind == Kind::GARLIC && local.destination.knows(&message.body);
        let theirs = members.iter().find(|member| self.locals.get(member).is_some_and(is_theirs));
        theirs.copied().unwrap_or(id)
    }

    /// A message for a destination beside the one in whose session it came.
    pub(super) fn message_beside(&mut self, id: DestinationId, to: Hash, body: Vec<u8>) {
        let first = self.locals.get(&id).and_then(|local| local.beside).unwrap_or(id);
        let members = self.members_of(first);
        let is_it = |id: &DestinationId| self.locals.get(id).is_some_and(|local| local.destination.hash() == to);
        if let Some(member) = members.into_iter().find(is_it) {
            self.with_local(member, |local| local.destination.take_message(body));
        }
    }

    /// Whether a LeaseSet has the static key of the destination that is first at these tunnels.
    fn has_their_key(&self, id: DestinationId, set: &LeaseSet2) -> bool {
        let Some(first) = self.locals.get(&id).and_then(|local| local.beside) else { return true };
        let theirs = self.locals.get(&first).and_then(|local| local.destination.lease_set()?.x25519_key());
        theirs.is_some() && theirs == set.x25519_key()
    }

    /// Keeps what the program is to sign until there is an outbound tunnel, too: programs take the first request as word
    /// that they can send.
    pub(super) fn offer_leases(&mut self, id: DestinationId, leases: Vec<Lease2>) {
        if let Some(local) = self.locals.get_mut(&id) {
            local.offered = Some(leases);
        }
        self.offer_waiting(id);
    }

    pub(super) fn offer_waiting(&mut self, id: DestinationId) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        if self.tunnels.outbound(local.pool).is_empty() {
            return;
        }
        if let Some(leases) = local.offered.take() {
            self.event(Event::LeasesOffered { destination: id, leases });
        }
    }

    pub(super) fn set_lease_set(&mut self, id: DestinationId, token: u64, set: LeaseSet2, keys: Vec<SecretKey>) {
        let (now, closing) = (self.now, self.is_closing(id));
        let fits = self.has_their_key(id, &set);
        let result = match self.locals.get_mut(&id).filter(|_| !closing) {
            Some(_) if !fits => Err(KeylessRefused::LeaseSet(LeaseSetError::OtherKey)),
            Some(local) => local.destination.adopt(now, token, set, keys).map_err(KeylessRefused::LeaseSet),
            None => Err(KeylessRefused::NoSuchDestination),
        };
        match result {
            // The job answers.
            Ok(()) => drop(self.dirty.insert(id)),
            Err(why) => self.event(Event::LeaseSetTaken { token, result: Err(why) }),
        }
    }

    pub(super) fn send_message(&mut self, id: DestinationId, token: u64, message: Outgoing) {
        let result = self.take_message(id, message);
        self.event(Event::MessageTaken { token, result });
    }

    /// What cannot be sent for lack of tunnels is refused at once: it would be late when they stand.
    fn take_message(&mut self, id: DestinationId, message: Outgoing) -> Result<(), KeylessRefused> {
        let (now, closing) = (self.now, self.is_closing(id));
        self.runs(Machine::Sessions(id));
        let local = self.locals.get_mut(&id).filter(|_| !closing).ok_or(KeylessRefused::NoSuchDestination)?;
        if self.tunnels.outbound(local.pool).is_empty() {
            return Err(KeylessRefused::TunnelsNotReady);
        }
        let bytes = message.payload.len() as u64;
        local.destination.send_message(now, message).map_err(KeylessRefused::Message)?;
        local.bytes.1 += bytes;
        self.dirty.insert(id);
        Ok(())
    }

    pub(super) fn set_tunnels(
        &mut self,
        id: DestinationId,
        token: u64,
        tunnels: PoolConfig,
        extra_hops: (usize, usize),
    ) {
        let closing = self.is_closing(id);
        let result = match self.locals.get_mut(&id).filter(|_| !closing) {
            // They are those of another one.
            Some(local) if local.beside.is_some() => Ok(()),
            Some(local) => {
                let set = self.tunnels.configure_pool(self.now, local.pool, tunnels, extra_hops);
                if set.is_ok() {
                    local.tunnels = tunnels;
                }
                set
            }
            None => Err(PoolError::Missing),
        };
        self.event(Event::TunnelsSet { token, result });
    }

    pub(super) fn message_came(&mut self, id: DestinationId, payload: Vec<u8>) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        local.bytes.0 += payload.len() as u64;
        self.event(Event::Message { destination: id, payload });
    }
}
