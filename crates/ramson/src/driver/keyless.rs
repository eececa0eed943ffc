//! Destinations whose keys programs hold: who is told what, and the requests that the core has not answered.

use super::clients::no_destination;
use crate::client::{DestinationOptions, TunnelOptions};
use crate::error::{Error, ErrorKind};
use crate::keyless::{KeylessSink, MessageRefusal, OutgoingMessage};
use crate::seam::{DestinationId, Reply};
use crate::status::Progress;
use ramson_core::dest::SendError;
use ramson_core::dest::keyless::{LeaseSetError, MessageError, Outgoing};
use ramson_core::router::{self, Command, KeylessOptions, KeylessRefused};
use ramson_core::tunnel::{PoolConfig, PoolError, Wanted};
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{Destination, Lease2, LeaseSet2};
use std::collections::BTreeMap;

type Sent = Result<(), MessageRefusal>;

/// The programs, and what they wait for.
#[derive(Default)]
pub(super) struct Keyless {
    sinks: BTreeMap<DestinationId, KeylessSink>,
    signing: BTreeMap<u64, (DestinationId, Reply<()>)>,
    sending: BTreeMap<u64, (DestinationId, Reply<Sent>)>,
    setting: BTreeMap<u64, (DestinationId, Reply<()>)>,
}

impl Keyless {
    pub(super) fn create(
        &mut self,
        id: DestinationId,
        options: &DestinationOptions,
        destination: Destination,
        beside: Option<DestinationId>,
        sink: KeylessSink,
    ) -> Command {
        self.sinks.insert(id, sink);
        let (tunnels, extra_hops) = tunnels(&options.inbound, &options.outbound);
        let beside = beside.map(|id| router::DestinationId(id.0));
        let options = KeylessOptions { destination, publish: options.publish, tunnels, extra_hops, beside };
        Command::CreateKeyless { id: router::DestinationId(id.0), options: Box::new(options) }
    }

    pub(super) fn sign(
        &mut self,
        id: DestinationId,
        token: u64,
        set: Box<LeaseSet2>,
        keys: Vec<SecretKey>,
        reply: Reply<()>,
    ) -> Command {
        self.signing.insert(token, (id, reply));
        Command::SetLeaseSet { destination: router::DestinationId(id.0), token, set, keys }
    }

    pub(super) fn send(
        &mut self,
        id: DestinationId,
        token: u64,
        message: OutgoingMessage,
        reply: Reply<Sent>,
    ) -> Command {
        self.sending.insert(token, (id, reply));
        let OutgoingMessage { id: number, to, payload, expires, report } = message;
        let message = Box::new(Outgoing { id: number, to, payload, expires, report });
        Command::SendMessage { destination: router::DestinationId(id.0), token, message }
    }

    pub(super) fn set_tunnels(
        &mut self,
        id: DestinationId,
        token: u64,
        (inbound, outbound): (&TunnelOptions, &TunnelOptions),
        reply: Reply<()>,
    ) -> Command {
        self.setting.insert(token, (id, reply));
        let (tunnels, extra_hops) = tunnels(inbound, outbound);
        Command::SetTunnels { destination: router::DestinationId(id.0), token, tunnels, extra_hops }
    }

    /// Carries an event of the core up, or gives it back. `progress` says how far a destination is.
    pub(super) fn handle(
        &mut self,
        event: router::Event,
        progress: impl FnOnce(DestinationId) -> Option<Progress>,
    ) -> Option<router::Event> {
        match event {
            router::Event::LeasesOffered { destination, leases } => self.offered(destination, leases),
            router::Event::LeaseSetTaken { token, result } => {
                if let Some((id, reply)) = self.signing.remove(&token) {
                    let _ = reply.send(result.map_err(|why| refused(why, || progress(id))));
                }
            }
            router::Event::MessageTaken { token, result } => {
                if let Some((_, reply)) = self.sending.remove(&token) {
                    let _ = reply.send(Ok(result.map_err(not_taken)));
                }
            }
            router::Event::Message { destination, payload } => {
                if let Some(sink) = self.sinks.get(&DestinationId(destination.0)) {
                    sink.message(payload);
                }
            }
            router::Event::MessageSent { destination, message, result } => {
                if let Some(sink) = self.sinks.get(&DestinationId(destination.0)) {
                    sink.sent(message, result.map_err(not_sent));
                }
            }
            router::Event::TunnelsSet { token, result } => {
                if let Some((_, reply)) = self.setting.remove(&token) {
                    let _ = reply.send(result.map_err(|why| match why {
                        PoolError::Missing => no_destination(),
                        why => Error::new(ErrorKind::Misuse, why.to_string()),
                    }));
                }
            }
            event => return Some(event),
        }
        None
    }

    fn offered(&self, destination: router::DestinationId, leases: Vec<Lease2>) {
        if let Some(sink) = self.sinks.get(&DestinationId(destination.0)) {
            sink.sign(leases);
        }
    }

    /// The destination is closed.
    pub(super) fn close(&mut self, id: DestinationId) {
        self.sinks.remove(&id);
        for (_, (_, reply)) in self.signing.extract_if(.., |_, (of, _)| *of == id) {
            let _ = reply.send(Err(no_destination()));
        }
        for (_, (_, reply)) in self.setting.extract_if(.., |_, (of, _)| *of == id) {
            let _ = reply.send(Err(no_destination()));
        }
        for (_, (_, reply)) in self.sending.extract_if(.., |_, (of, _)| *of == id) {
            let _ = reply.send(Ok(Err(MessageRefusal::Closed)));
        }
    }
}

/// Tunnels in the words of the core.
fn tunnels(inbound: &TunnelOptions, outbound: &TunnelOptions) -> (PoolConfig, (usize, usize)) {
    let wanted = |of: &TunnelOptions| Wanted { length: usize::from(of.hops), quantity: usize::from(of.quantity) };
    let extra_hops = (usize::from(inbound.extra_hops), usize::from(outbound.extra_hops));
    (PoolConfig { inbound: wanted(inbound), outbound: wanted(outbound) }, extra_hops)
}

fn refused(why: KeylessRefused, progress: impl FnOnce() -> Option<Progress>) -> Error {
    match why {
        KeylessRefused::TunnelsNotReady => Error::not_ready(progress().unwrap_or_default()),
        KeylessRefused::LeaseSet(why @ LeaseSetError::Overtaken) => Error::new(ErrorKind::Overloaded, why.to_string()),
        KeylessRefused::LeaseSet(why) => Error::new(ErrorKind::Misuse, why.to_string()),
        _ => no_destination(),
    }
}

const fn not_taken(why: KeylessRefused) -> MessageRefusal {
    match why {
        KeylessRefused::TunnelsNotReady => MessageRefusal::NotReady,
        KeylessRefused::Message(MessageError::Size) => MessageRefusal::Size,
        KeylessRefused::Message(MessageError::Expired) => MessageRefusal::Expired,
        KeylessRefused::Message(MessageError::NoLeaseSet) => MessageRefusal::NotSigned,
        KeylessRefused::Message(MessageError::Loopback) => MessageRefusal::Loopback,
        KeylessRefused::Message(MessageError::QueueFull) => MessageRefusal::Overloaded,
        _ => MessageRefusal::Closed,
    }
}

const fn not_sent(why: SendError) -> MessageRefusal {
    match why {
        SendError::LeaseSetNotFound => MessageRefusal::NotFound,
        SendError::UnsupportedEncryption => MessageRefusal::UnsupportedEncryption,
        SendError::QueueFull => MessageRefusal::Overloaded,
        SendError::TooLarge => MessageRefusal::Size,
        SendError::Expired => MessageRefusal::Expired,
        _ => MessageRefusal::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyless::{KeylessEvent, channel};
    use ramson_wire::data::{Hash, PrivateKeys};
    use tokio::sync::oneshot;

    const ID: DestinationId = DestinationId(7);
    const CORE: router::DestinationId = router::DestinationId(7);

    fn message() -> OutgoingMessage {
        OutgoingMessage { id: 3, to: Hash([1; 32]), payload: vec![1], expires: None, report: true }
    }

    #[test]
    fn every_request_is_answered_for() {
        let mut keyless = Keyless::default();
        let answers = [
            (Ok(()), Ok(())),
            (Err(KeylessRefused::TunnelsNotReady), Err(MessageRefusal::NotReady)),
            (Err(KeylessRefused::NoSuchDestination), Err(MessageRefusal::Closed)),
            (Err(KeylessRefused::Message(MessageError::Loopback)), Err(MessageRefusal::Loopback)),
        ];
        for (result, said) in answers {
            let (reply, mut answer) = oneshot::channel();
            keyless.send(ID, 1, message(), reply);
            assert!(keyless.handle(router::Event::MessageTaken { token: 1, result }, |_| None).is_none());
            assert_eq!(answer.try_recv().unwrap().unwrap(), said);
        }
        let (reply, mut answer) = oneshot::channel();
        keyless.set_tunnels(ID, 2, (&TunnelOptions::default(), &TunnelOptions::default()), reply);
        keyless.handle(router::Event::TunnelsSet { token: 2, result: Err(PoolError::TooLarge) }, |_| None);
        assert_eq!(answer.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Misuse);
        // Those of a destination that is closed are answered, too.
        let ((one, mut first), (two, mut second)) = (oneshot::channel(), oneshot::channel());
        keyless.send(ID, 3, message(), one);
        keyless.set_tunnels(ID, 4, (&TunnelOptions::default(), &TunnelOptions::default()), two);
        keyless.close(ID);
        assert_eq!(first.try_recv().unwrap().unwrap(), Err(MessageRefusal::Closed));
        assert_eq!(second.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert!(keyless.sending.is_empty() && keyless.setting.is_empty());
    }

    #[tokio::test]
    async fn events_come_to_their_program_and_end_with_the_destination() {
        let mut keyless = Keyless::default();
        let (sink, mut events) = channel();
        let keys = PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng));
        let options = DestinationOptions::server("x");
        keyless.create(ID, &options, keys.destination().clone(), None, sink);
        let lost = Err(SendError::LeaseSetNotFound);
        for event in [
            router::Event::Message { destination: CORE, payload: vec![1] },
            router::Event::MessageSent { destination: CORE, message: 3, result: lost },
            router::Event::Message { destination: router::DestinationId(8), payload: vec![2] },
            router::Event::LeasesOffered { destination: CORE, leases: Vec::new() },
        ] {
            assert!(keyless.handle(event, |_| None).is_none());
        }
        assert_eq!(events.next().await.unwrap(), KeylessEvent::Sign(Vec::new()));
        assert_eq!(events.next().await.unwrap(), KeylessEvent::Message(vec![1]));
        assert_eq!(events.next().await.unwrap(), KeylessEvent::Sent(3, Err(MessageRefusal::NotFound)));
        keyless.close(ID);
        assert_eq!(events.next().await.unwrap_err().kind(), ErrorKind::Closed);
        assert!(keyless.handle(router::Event::Stopped, |_| None).is_some(), "not of programs that hold keys");
    }
}
