//! Datagrams of programs: on their way to a destination of ours and out of it.

use super::Router;
use super::door::{DatagramRefused, DestinationId, Event};
use super::faults::Machine;
use crate::dest::datagram::{Bound, Outgoing};

impl Router {
    pub(super) fn bind_datagrams(&mut self, id: DestinationId, token: u64, (format, port): Bound) {
        let closing = self.is_closing(id);
        let result = match self.locals.get_mut(&id).filter(|it| !closing && !it.destination.is_keyless()) {
            Some(local) => local.destination.bind_datagrams(format, port).map_err(DatagramRefused::Datagram),
            None => Err(DatagramRefused::NoSuchDestination),
        };
        self.event(Event::DatagramsBound { token, result });
    }

    pub(super) fn unbind_datagrams(&mut self, id: DestinationId, (format, port): Bound) {
        self.with_local(id, |local| local.destination.unbind_datagrams(format, port));
    }

    pub(super) fn send_datagram(&mut self, id: DestinationId, token: u64, datagram: Outgoing) {
        let result = self.take_datagram(id, datagram);
        self.event(Event::DatagramTaken { token, result });
    }

    /// What cannot be sent for lack of tunnels is refused at once: it would be late when they stand.
    fn take_datagram(&mut self, id: DestinationId, datagram: Outgoing) -> Result<(), DatagramRefused> {
        let (now, closing) = (self.now, self.is_closing(id));
        self.runs(Machine::Sessions(id));
        let usable = |it: &&mut super::Local| !closing && !it.destination.is_keyless();
        let local = self.locals.get_mut(&id).filter(usable).ok_or(DatagramRefused::NoSuchDestination)?;
        let is_bare = self.tunnels.outbound(local.pool).is_empty() || local.destination.lease_set().is_none();
        if is_bare && datagram.to != local.destination.hash() {
            return Err(DatagramRefused::TunnelsNotReady);
        }
        let bytes = datagram.payload.len() as u64;
        local.destination.send_datagram(now, datagram).map_err(DatagramRefused::Datagram)?;
        local.bytes.1 += bytes;
        self.dirty.insert(id);
        Ok(())
    }
}
