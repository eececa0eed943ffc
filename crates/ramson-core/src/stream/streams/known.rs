//! Packets of streams that stand, and what comes of signatures that were checked.

use super::super::jobs::{By, Purpose, Signer};
use super::super::{Error, Event, StreamId};
use super::{PAST_LIFE, Streams};
use crate::limits::stream as limits;
use crate::time::Now;
use ramson_wire::data::Hash;
use ramson_wire::streaming::{Flags, MAX_ECHO, Outgoing, Packet};

impl Streams {
    pub(super) fn handle_known(
        &mut self,
        now: Now,
        stream: StreamId,
        from: Option<Hash>,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        let packet = Packet::parse(&bytes)?;
        let connection = self.connections.get_mut(&stream).ok_or(Error::UnknownStream)?;
        if from.is_some_and(|from| from != connection.peer) {
            return Err(Error::Forged);
        }
        let trusted = from.is_some();
        if packet.is_reset() {
            return self.handle_reset(now, stream, trusted, bytes);
        }
        if connection.is_opening() {
            if packet.is_syn() {
                return self.handle_syn_ack(now, stream, trusted, bytes);
            }
            if connection.held.len() >= limits::MAX_HELD {
                return Err(Error::Limit);
            }
            connection.held.push((from, bytes));
            return Ok(());
        }
        if packet.is_syn()
            && packet.recv_id != connection.remote_id
            && packet.send_id == connection.local_id
            && connection.may_be_answered_again()
        {
            return self.handle_syn_ack(now, stream, trusted, bytes);
        }
        if packet.recv_id != connection.remote_id || (packet.send_id != connection.local_id && packet.send_id != 0) {
            return Err(Error::Forged);
        }
        if packet.is_close() && !trusted {
            // A repeated SYN with CLOSE changes nothing and needs no signature check.
            let (true, Some(signer)) = (packet.is_signed(), connection.signer.clone()) else {
                return Err(Error::Unsigned);
            };
            if std::mem::replace(&mut connection.verifying, true) {
                return Err(Error::Limit);
            }
            let job = self.jobs.verify(now, bytes, By::Peer(signer), Purpose::Close { stream });
            self.events.push_back(Event::Job(job));
            return Ok(());
        }
        self.drive(now, stream, |connection, ctx| connection.handle(&packet, ctx));
        Ok(())
    }

    fn handle_syn_ack(&mut self, now: Now, stream: StreamId, trusted: bool, bytes: Vec<u8>) -> Result<(), Error> {
        let packet = Packet::parse(&bytes)?;
        let connection = self.connections.get_mut(&stream).ok_or(Error::UnknownStream)?;
        let from = packet.from.ok_or(Error::Unsigned)?;
        if from.hash() != connection.peer {
            return Err(Error::Forged);
        }
        let destination = from.destination()?;
        if packet.is_signed() {
            if std::mem::replace(&mut connection.verifying, true) {
                return Err(Error::Limit);
            }
            let job = self.jobs.verify(now, bytes, By::Itself(destination), Purpose::SynAck { stream });
            self.events.push_back(Event::Job(job));
        } else if trusted {
            let signer = Signer { key: destination.signing_key().clone(), destination };
            self.answered(now, stream, &packet, signer);
        } else {
            return Err(Error::Unsigned);
        }
        Ok(())
    }

    fn answered(&mut self, now: Now, stream: StreamId, packet: &Packet<'_>, signer: Signer) {
        self.drive(now, stream, |connection, ctx| connection.answered(packet, signer, ctx));
        let held = self.connections.get_mut(&stream).map(|connection| std::mem::take(&mut connection.held));
        for (from, bytes) in held.into_iter().flatten() {
            let _ = self.handle_known(now, stream, from, bytes);
        }
    }

    /// A RESET counts when it is signed: by the key of the SYN, or by the destination it names. A refusal of a peer
    /// whose keys are not at hand counts when it comes from the peer's session.
    fn handle_reset(&mut self, now: Now, stream: StreamId, trusted: bool, bytes: Vec<u8>) -> Result<(), Error> {
        let packet = Packet::parse(&bytes)?;
        let connection = self.connections.get_mut(&stream).ok_or(Error::UnknownStream)?;
        if packet.send_id != connection.local_id && packet.send_id != 0
            || packet.recv_id != connection.remote_id && packet.recv_id != 0
            || packet.send_id == 0 && packet.recv_id == 0
        {
            return Err(Error::Forged);
        }
        if !packet.is_signed() {
            return Err(Error::Unsigned);
        }
        let named = packet.from.map(|from| from.destination()).transpose()?;
        if named.as_ref().is_some_and(|named| named.hash() != connection.peer) {
            return Err(Error::Forged);
        }
        let by = match (connection.signer.clone(), named) {
            (Some(signer), _) => By::Peer(signer),
            (None, Some(named)) => By::Itself(named),
            (None, None) if trusted => {
                self.drive(now, stream, |connection, ctx| connection.fail(Error::Reset, ctx));
                return Ok(());
            }
            (None, None) => return Err(Error::Unsigned),
        };
        if std::mem::replace(&mut connection.verifying, true) {
            return Err(Error::Limit);
        }
        let job = self.jobs.verify(now, bytes, by, Purpose::Reset { stream });
        self.events.push_back(Event::Job(job));
        Ok(())
    }

    pub(super) fn handle_verified(
        &mut self,
        now: Now,
        purpose: Purpose,
        bytes: &[u8],
        verified: Result<Signer, ramson_wire::DecodeError>,
    ) {
        if let Purpose::SynAck { stream } | Purpose::Close { stream } | Purpose::Reset { stream } = purpose
            && let Some(connection) = self.connections.get_mut(&stream)
        {
            connection.verifying = false;
        }
        let (Ok(signer), Ok(packet)) = (verified, Packet::parse(bytes)) else { return };
        match purpose {
            // Of one that has waited longer, nobody could say any more whether it opened a stream already.
            Purpose::Syn { ports, since } if now.mono.since(since) < PAST_LIFE => {
                self.accept(now, ports, &packet, signer);
            }
            Purpose::SynAck { stream } => self.answered(now, stream, &packet, signer),
            Purpose::Close { stream } => {
                self.drive(now, stream, |connection, ctx| connection.handle(&packet, ctx));
            }
            Purpose::Reset { stream } => {
                self.drive(now, stream, |connection, ctx| connection.fail(Error::Reset, ctx));
            }
            Purpose::Ping { ports } => {
                let payload = packet.payload.get(..MAX_ECHO).unwrap_or(packet.payload);
                let out = Outgoing { recv_id: packet.send_id, flags: Flags::ECHO, ..Outgoing::default() };
                let pong = Outgoing { ack_through: Some(0), ..out }.encode(&[payload]);
                self.send_loose(signer.destination.hash(), ports, pong);
            }
            Purpose::Syn { .. } | Purpose::Sign { .. } | Purpose::SignLoose { .. } => {}
        }
    }
}
