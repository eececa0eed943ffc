//! Destinations whose keys programs hold.

use super::{Local, Network, State, ready};
use crate::error::{Error, ErrorKind};
use crate::keyless::{KeylessSink, MessageRefusal, OutgoingMessage};
use crate::seam::{Command, Created, DestinationId};
use crate::status::Progress;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{Hash, Lease2, LeaseSet2};
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// What there is besides of such a destination.
#[derive(Debug)]
pub(super) struct Keyless {
    sink: KeylessSink,
    set: Option<LeaseSet2>,
}

impl Network {
    /// Asks the program of this destination to sign again, as when its tunnels are others.
    pub fn offer(&self, hash: Hash) {
        self.lock().keyless(hash).into_iter().for_each(|keyless| keyless.sink.sign(leases()));
    }

    /// The LeaseSet that the program of this destination has signed last.
    pub fn lease_set(&self, hash: Hash) -> Option<LeaseSet2> {
        self.lock().keyless(hash)?.set.clone()
    }
}

fn leases() -> Vec<Lease2> {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + Duration::from_secs(600);
    let end = u32::try_from(end.as_secs()).unwrap_or(u32::MAX);
    vec![Lease2 { gateway: Hash([1; 32]), tunnel_id: 2, end }]
}

impl State {
    fn keyless(&self, hash: Hash) -> Option<&Keyless> {
        self.destinations.values().find(|local| local.destination.hash() == hash)?.keyless.as_ref()
    }

    pub(super) fn handle_keyless(&mut self, command: Command) {
        match command {
            Command::CreateKeyless { options, destination, sink, reply, .. } => {
                if self.find(destination.hash()).is_ok() {
                    let _ = reply.send(Err(Error::new(ErrorKind::InUse, "these keys are in use")));
                    return;
                }
                let id = DestinationId(self.number());
                if !self.bare {
                    sink.sign(leases());
                }
                let (progress, seen) = watch::channel(if self.bare { Progress::default() } else { ready() });
                let keyless = Some(Keyless { sink, set: None });
                let (listeners, datagrams, destination) = (HashMap::new(), HashMap::new(), *destination);
                let created = Created { id, destination: destination.clone(), progress: seen };
                let local = Local { options, destination, progress, listeners, datagrams, keyless };
                self.destinations.insert(id, local);
                if reply.send(Ok(created)).is_err() {
                    self.destinations.remove(&id);
                }
            }
            Command::SetLeaseSet { destination, set, keys, reply } => {
                let _ = reply.send(self.sign(destination, *set, &keys));
            }
            Command::SendMessage { destination, message, reply } => {
                let _ = reply.send(Ok(self.send_message(destination, *message)));
            }
            Command::SetTunnels { destination, inbound, outbound, reply } => {
                let set = self.destinations.get_mut(&destination).ok_or_else(closed);
                let _ = reply.send(set.map(|local| {
                    (local.options.inbound, local.options.outbound) = (inbound, outbound);
                }));
            }
            _ => {}
        }
    }

    fn sign(&mut self, id: DestinationId, set: LeaseSet2, keys: &[SecretKey]) -> Result<(), Error> {
        let local = self.destinations.get_mut(&id).ok_or_else(closed)?;
        let keyless = local.keyless.as_mut().ok_or_else(closed)?;
        let has_key = keys.iter().any(|key| Some(key.public_key()) == set.x25519_key());
        if set.destination() != &local.destination || set.verify().is_err() || !has_key {
            return Err(Error::new(ErrorKind::Misuse, "the LeaseSet is not what was asked for"));
        }
        keyless.set = Some(set);
        Ok(())
    }

    fn send_message(&self, id: DestinationId, message: OutgoingMessage) -> Result<(), MessageRefusal> {
        let from = self.destinations.get(&id).ok_or(MessageRefusal::Closed)?;
        let keyless = from.keyless.as_ref().ok_or(MessageRefusal::Closed)?;
        if keyless.set.is_none() {
            return Err(MessageRefusal::NotSigned);
        }
        let OutgoingMessage { id: number, to, payload, report, expires } = message;
        if payload.is_empty() {
            return Err(MessageRefusal::Size);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if expires.is_some_and(|at| u128::from(at) <= now.as_millis()) {
            return Err(MessageRefusal::Expired);
        }
        if to == from.destination.hash() {
            return Err(MessageRefusal::Loopback);
        }
        let found = self.find(to).ok().and_then(|(_, local)| local.keyless.as_ref()).filter(|it| it.set.is_some());
        if let Some(target) = found {
            target.sink.message(payload);
        }
        if report {
            keyless.sink.sent(number, found.map(|_| ()).ok_or(MessageRefusal::NotFound));
        }
        Ok(())
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the destination is closed")
}
