//! Which programs wait for which datagrams, and for an answer whether theirs were taken.

use super::clients::no_destination;
use crate::datagram::{Datagram, DatagramFormat, DatagramSender, DatagramSink, OutgoingDatagram};
use crate::error::{Error, ErrorKind};
use crate::seam::{DestinationId, Reply};
use crate::status::Progress;
use ramson_core::dest::datagram::{DatagramError, Format, Incoming, Origin, Outgoing};
use ramson_core::router::{self, Command, DatagramRefused};
use std::collections::BTreeMap;

type Bound = (DatagramFormat, Option<u16>);

/// The receivers of all destinations, and the requests that the core has not answered.
#[derive(Default)]
pub(super) struct Takers {
    sinks: BTreeMap<(DestinationId, Bound), DatagramSink>,
    binding: BTreeMap<u64, (DestinationId, Bound, Reply<()>)>,
    sending: BTreeMap<u64, (DestinationId, Reply<()>)>,
}

impl Takers {
    pub(super) fn bind(
        &mut self,
        id: DestinationId,
        token: u64,
        bound: Bound,
        sink: DatagramSink,
        reply: Reply<()>,
    ) -> Option<Command> {
        if self.sinks.contains_key(&(id, bound)) {
            let _ = reply.send(Err(port_in_use()));
            return None;
        }
        self.sinks.insert((id, bound), sink);
        self.binding.insert(token, (id, bound, reply));
        Some(Command::BindDatagrams { destination: router::DestinationId(id.0), token, bound: to_core(bound) })
    }

    pub(super) fn unbind(&mut self, id: DestinationId, bound: Bound) -> Option<Command> {
        self.sinks.remove(&(id, bound))?;
        Some(Command::UnbindDatagrams { destination: router::DestinationId(id.0), bound: to_core(bound) })
    }

    pub(super) fn send(
        &mut self,
        id: DestinationId,
        token: u64,
        datagram: OutgoingDatagram,
        reply: Reply<()>,
    ) -> Command {
        self.sending.insert(token, (id, reply));
        let OutgoingDatagram { format, to, from_port, to_port, options, payload } = datagram;
        let datagram = Box::new(Outgoing { format: format.into(), to, from_port, to_port, options, payload });
        Command::SendDatagram { destination: router::DestinationId(id.0), token, datagram }
    }

    /// The core has bound a port, or has not.
    pub(super) fn bound(&mut self, token: u64, result: Result<(), DatagramRefused>) {
        let Some((id, bound, reply)) = self.binding.remove(&token) else { return };
        if result.is_err() {
            self.sinks.remove(&(id, bound));
        }
        let _ = reply.send(result.map_err(|why| refused(why, None)));
    }

    /// The core has taken a datagram, or has not.
    pub(super) fn taken(
        &mut self,
        token: u64,
        result: Result<(), DatagramRefused>,
        progress: impl FnOnce(DestinationId) -> Option<Progress>,
    ) {
        let Some((id, reply)) = self.sending.remove(&token) else { return };
        let _ = reply.send(result.map_err(|why| refused(why, progress(id))));
    }

    /// A datagram has come.
    pub(super) fn give(&self, id: DestinationId, datagram: Incoming) {
        let Incoming { bound: (format, port), format: of, from, from_port, to_port, options, payload } = datagram;
        let Some(sink) = self.sinks.get(&(id, (format.into(), port))) else { return };
        let from = match from {
            Origin::Signed(destination) => DatagramSender::Signed(destination),
            Origin::Session(hash) => DatagramSender::Session(hash),
            Origin::Claimed(hash) => DatagramSender::Claimed(hash),
            Origin::Unknown => DatagramSender::Unknown,
        };
        sink.give(Datagram { format: of.into(), from, from_port, to_port, options, payload });
    }

    /// The destination is closed.
    pub(super) fn close(&mut self, id: DestinationId) {
        self.sinks.retain(|(of, _), _| *of != id);
        for (_, (.., reply)) in self.binding.extract_if(.., |_, (of, ..)| *of == id) {
            let _ = reply.send(Err(no_destination()));
        }
        for (_, (_, reply)) in self.sending.extract_if(.., |_, (of, _)| *of == id) {
            let _ = reply.send(Err(no_destination()));
        }
    }
}

impl From<DatagramFormat> for Format {
    fn from(format: DatagramFormat) -> Self {
        match format {
            DatagramFormat::Datagram1 => Self::Datagram1,
            DatagramFormat::Raw(protocol) => Self::Raw(protocol),
            DatagramFormat::Datagram2 => Self::Datagram2,
            DatagramFormat::Datagram3 => Self::Datagram3,
        }
    }
}

impl From<Format> for DatagramFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Datagram1 => Self::Datagram1,
            Format::Raw(protocol) => Self::Raw(protocol),
            Format::Datagram2 => Self::Datagram2,
            Format::Datagram3 => Self::Datagram3,
        }
    }
}

fn to_core((format, port): Bound) -> (Format, Option<u16>) {
    (format.into(), port)
}

fn port_in_use() -> Error {
    Error::new(ErrorKind::Misuse, "the port has a receiver already")
}

fn refused(why: DatagramRefused, progress: Option<Progress>) -> Error {
    match why {
        DatagramRefused::TunnelsNotReady => Error::not_ready(progress.unwrap_or_default()),
        DatagramRefused::Datagram(why @ DatagramError::QueueFull) => Error::new(ErrorKind::Overloaded, why.to_string()),
        DatagramRefused::Datagram(why) => Error::new(ErrorKind::Misuse, why.to_string()),
        _ => no_destination(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson_wire::data::{Hash, Mapping};
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use tokio::sync::{mpsc, oneshot};

    const ID: DestinationId = DestinationId(7);
    const BOUND: Bound = (DatagramFormat::RAW, Some(5));

    fn sink() -> (DatagramSink, mpsc::Receiver<Datagram>, Arc<AtomicU64>) {
        let (sender, queue) = mpsc::channel(1);
        let dropped = Arc::default();
        (DatagramSink::new(sender, Arc::clone(&dropped)), queue, dropped)
    }

    fn incoming() -> Incoming {
        let (format, from, options) = (Format::RAW, Origin::Unknown, Mapping::new());
        Incoming { bound: (format, Some(5)), format, from, from_port: 1, to_port: 5, options, payload: b"x".to_vec() }
    }

    #[test]
    fn what_is_not_read_is_dropped_and_counted() {
        let mut takers = Takers::default();
        let (sink, mut queue, dropped) = sink();
        let (reply, mut answer) = oneshot::channel();
        assert!(takers.bind(ID, 1, BOUND, sink, reply).is_some());
        takers.bound(1, Ok(()));
        assert!(answer.try_recv().unwrap().is_ok());
        (0..4).for_each(|_| takers.give(ID, incoming()));
        assert_eq!(queue.try_recv().unwrap().payload, b"x");
        assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 3);
        assert!(queue.try_recv().is_err());
        assert!(takers.unbind(ID, BOUND).is_some() && takers.unbind(ID, BOUND).is_none());
        takers.give(ID, incoming());
        assert!(queue.try_recv().is_err_and(|e| e == mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn a_port_that_the_core_does_not_bind_is_free_again_and_so_is_that_of_a_closed_destination() {
        let mut takers = Takers::default();
        let bind = |takers: &mut Takers, token| {
            let (reply, answer) = oneshot::channel();
            (takers.bind(ID, token, BOUND, sink().0, reply).is_some(), answer)
        };
        let (asked, mut first) = bind(&mut takers, 1);
        let (twice, mut second) = bind(&mut takers, 2);
        assert_eq!((asked, twice), (true, false));
        assert_eq!(second.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Misuse);
        takers.bound(1, Err(DatagramRefused::Datagram(DatagramError::Port)));
        assert_eq!(first.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Misuse);
        let (asked, mut third) = bind(&mut takers, 3);
        assert!(asked);
        takers.close(ID);
        assert_eq!(third.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert!(bind(&mut takers, 4).0);
    }

    #[test]
    fn every_datagram_that_is_sent_is_answered_for() {
        let mut takers = Takers::default();
        let refusals = [
            (Ok(()), None),
            (Err(DatagramRefused::TunnelsNotReady), Some(ErrorKind::NotReady)),
            (Err(DatagramRefused::NoSuchDestination), Some(ErrorKind::Closed)),
            (Err(DatagramRefused::Datagram(DatagramError::QueueFull)), Some(ErrorKind::Overloaded)),
            (Err(DatagramRefused::Datagram(DatagramError::TooLarge)), Some(ErrorKind::Misuse)),
        ];
        for (result, kind) in refusals {
            let (reply, mut answer) = oneshot::channel();
            let datagram = OutgoingDatagram {
                format: DatagramFormat::Datagram2,
                to: Hash([1; 32]),
                from_port: 1,
                to_port: 2,
                options: Mapping::new(),
                payload: Vec::new(),
            };
            takers.send(ID, 9, datagram, reply);
            takers.taken(9, result, |_| None);
            assert_eq!(answer.try_recv().unwrap().err().map(|e| e.kind()), kind);
        }
        assert!(takers.sending.is_empty());
    }
}
