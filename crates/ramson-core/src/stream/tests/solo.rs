//! One machine against packets that a test makes by hand, as another implementation would.

use super::*;
use ramson_wire::streaming::sign::Unsigned;
use ramson_wire::streaming::{Flags, Outgoing, Packet};

/// The machine, its peer's keys and the clock.
pub(super) struct Solo {
    pub(super) streams: Streams,
    pub(super) own: Local,
    pub(super) peer: Local,
    pub(super) now: Now,
    pub(super) events: Vec<Event>,
    /// The payloads, flags and acknowledgements of what was sent, as bytes.
    pub(super) sent: Vec<Vec<u8>>,
    rng: Rng,
}

impl Solo {
    pub(super) fn new(config: Config) -> Self {
        let (own, now) = (local(1), at(0));
        let mut streams = Streams::new(now, own.clone(), config, Rng::from_seed([5; 32]));
        streams.listen(Some(80));
        let rng = Rng::from_seed([6; 32]);
        Self { streams, own, peer: local(2), now, events: Vec::new(), sent: Vec::new(), rng }
    }

    pub(super) fn peer_hash(&self) -> Hash {
        self.peer.destination.hash()
    }

    /// Runs jobs and gathers events and packets.
    pub(super) fn drain(&mut self) {
        while let Some(event) = self.streams.poll_event() {
            match event {
                Event::Job(job) => {
                    let done = job.run(&mut self.rng);
                    self.streams.handle_job(self.now, done);
                }
                Event::Send { packet, .. } => self.sent.push(packet),
                event => self.events.push(event),
            }
        }
    }

    /// Hands over a packet from the peer's session, or from one without a name.
    pub(super) fn packet(&mut self, known: bool, bytes: Vec<u8>) -> Result<(), Error> {
        let from = known.then(|| self.peer_hash());
        let result = self.streams.handle_packet(self.now, from, 7, 80, bytes);
        self.drain();
        result
    }

    /// Lets `ms` pass, timer by timer.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now.later(Duration::from_millis(ms));
        while let Some(next) = self.streams.next_timeout().filter(|at| *at <= end.mono) {
            self.now = self.now.later(next.since(self.now.mono));
            self.streams.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// A signed SYN of the peer with stream id `recv_id`.
    pub(super) fn syn(&self, recv_id: u32, payload: &[u8]) -> Vec<u8> {
        let out = Outgoing {
            recv_id,
            meant_for: Some(self.own.destination.hash()),
            flags: Flags::SYNCHRONIZE,
            from: Some(&self.peer.destination),
            max_size: Some(1812),
            ..Outgoing::default()
        };
        self.sign(&out, payload)
    }

    pub(super) fn sign(&self, out: &Outgoing<'_>, payload: &[u8]) -> Vec<u8> {
        Unsigned::new(out, &[payload]).sign(&self.peer.key)
    }

    /// Opens a stream from the peer, and returns it with our id on the wire.
    pub(super) fn accept(&mut self, recv_id: u32, payload: &[u8]) -> (StreamId, u32) {
        let syn = self.syn(recv_id, payload);
        self.packet(true, syn).unwrap();
        let accepted = self.events.iter().rev().find_map(|event| match event {
            Event::Accepted { stream, .. } => Some(*stream),
            _ => None,
        });
        self.pass(20);
        // Answers of other streams may be sent again meanwhile.
        let packets = self.sent.iter().rev().map(|packet| Packet::parse(packet).unwrap());
        let answer = packets.into_iter().find(|packet| packet.send_id == recv_id && packet.is_syn());
        (accepted.unwrap(), answer.unwrap().recv_id)
    }

    /// Connects to the peer, which answers as `payload`; returns the stream and our id.
    pub(super) fn connect(&mut self, payload: &[u8]) -> (StreamId, u32) {
        let options = ConnectOptions { wait_for_data: Duration::ZERO, ..ConnectOptions::default() };
        let stream = self.streams.connect(self.now, self.peer_hash(), (80, 7), options).unwrap();
        self.drain();
        let send_id = Packet::parse(self.sent.last().unwrap()).unwrap().recv_id;
        let syn_ack = self.sign(&self.syn_ack(send_id), payload);
        self.pass(100);
        self.packet(true, syn_ack).unwrap();
        (stream, send_id)
    }

    /// The peer's answer to our SYN; its stream id is 99.
    pub(super) fn syn_ack(&self, send_id: u32) -> Outgoing<'_> {
        Outgoing {
            send_id,
            recv_id: 99,
            ack_through: Some(0),
            flags: Flags::SYNCHRONIZE,
            from: Some(&self.peer.destination),
            max_size: Some(1730),
            ..Outgoing::default()
        }
    }

    /// Everything read from `stream` so far.
    pub(super) fn read(&self, stream: StreamId) -> Vec<u8> {
        let data = self.events.iter().filter_map(|event| match event {
            Event::Data { stream: of, bytes } if *of == stream => Some(bytes.as_slice()),
            _ => None,
        });
        data.flatten().copied().collect()
    }

    pub(super) fn finished(&self, stream: StreamId) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Finished { stream: of } if *of == stream))
    }

    pub(super) fn failed(&self, stream: StreamId) -> Option<Error> {
        self.events.iter().find_map(|event| match event {
            Event::Failed { stream: of, why } if *of == stream => Some(*why),
            _ => None,
        })
    }

    pub(super) fn accepted(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Accepted { .. })).count()
    }

    pub(super) fn last(&self) -> Packet<'_> {
        Packet::parse(self.sent.last().unwrap()).unwrap()
    }
}
