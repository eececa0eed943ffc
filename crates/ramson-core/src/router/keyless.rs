//! Destinations whose keys a program holds: the router asks it to sign, and carries its messages.

use super::Router;
use super::door::{DestinationId, Event, KeylessRefused};
use super::faults::Machine;
use crate::dest::keyless::Outgoing;
use crate::tunnel::{PoolConfig, PoolError};
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{Lease2, LeaseSet2};

impl Router {
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
        let result = match self.locals.get_mut(&id).filter(|_| !closing) {
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
