//! The programs at both ends of a stream: they write a pattern, read the other's, and check every byte.

use crate::link::NodeId;
use crate::net::Net;
use ramson_core::router::{Command, ConnectError, DestinationId, Event, StreamError, StreamKey};
use ramson_core::time::Instant;
use ramson_wire::data::Hash;

/// Written at once.
const CHUNK: usize = 16 << 10;

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub node: NodeId,
    pub destination: DestinationId,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The stream is not open yet.
    Opening,
    Running,
    /// All bytes of both directions arrived, and both ends were told so.
    Done,
    /// The stream could not be opened.
    ConnectFailed(ConnectError),
    Failed(StreamError),
}

/// A stream with `total` bytes in each direction, which a client opens to a server. Both ends are closed after their
/// last byte.
pub struct Transfer {
    programs: [Program; 2],
    total: u64,
    /// Bytes per second that each program writes; 0 for as fast as it may.
    pace: u64,
    token: u64,
    progress: Progress,
}

struct Program {
    end: End,
    stream: Option<StreamKey>,
    /// Since when it may write.
    since: Instant,
    credit: usize,
    sent: u64,
    received: u64,
    shut: bool,
    finished: bool,
}

impl Transfer {
    /// Opens the stream from the client to the destination `to` at the server's end, which must listen there.
    pub fn open(net: &mut Net, client: End, server: End, to: Hash, total: u64, pace: u64) -> Self {
        let token = net.trace().events();
        let program = |end| Program {
            end,
            stream: None,
            since: Instant::ZERO,
            credit: 0,
            sent: 0,
            received: 0,
            shut: false,
            finished: false,
        };
        let programs = [program(client), program(server)];
        let destination = client.destination;
        net.command(client.node, Command::Connect { destination, token, to, ports: (0, 80) });
        Self { programs, total, pace, token, progress: Progress::Opening }
    }

    pub const fn progress(&self) -> Progress {
        self.progress
    }

    pub const fn is_over(&self) -> bool {
        !matches!(self.progress, Progress::Opening | Progress::Running)
    }

    /// Bytes that have arrived at the client and at the server.
    pub const fn received(&self) -> [u64; 2] {
        [self.programs[0].received, self.programs[1].received]
    }

    /// Takes what both routers have told, and writes what may be written. True when it is over. Give it to
    /// [`Net::run_until`].
    pub fn pump(&mut self, net: &mut Net) -> bool {
        for at in 0..2 {
            let node = self.programs[at].end.node;
            for (_, event) in net.take_events(node) {
                self.handle_event(net, at, &event);
            }
            self.write(net, at);
        }
        self.close()
    }

    /// The same with what somebody else has taken from the router at `node`, where several transfers share one.
    pub fn handle(&mut self, net: &mut Net, node: NodeId, event: &Event) -> bool {
        for at in 0..2 {
            if self.programs[at].end.node == node {
                self.handle_event(net, at, event);
                self.write(net, at);
            }
        }
        self.close()
    }

    /// Writes what may be written by now, where the pace is limited.
    pub fn write_more(&mut self, net: &mut Net) {
        self.write(net, 0);
        self.write(net, 1);
    }

    fn close(&mut self) -> bool {
        if self.progress == Progress::Running && self.programs.iter().all(|program| program.finished) {
            self.progress = Progress::Done;
        }
        self.is_over()
    }

    fn handle_event(&mut self, net: &mut Net, at: usize, event: &Event) {
        let now = net.now();
        let token = self.token;
        let program = &mut self.programs[at];
        let own = |stream: &StreamKey| program.stream == Some(*stream);
        match *event {
            Event::StreamOpened { token: t, stream, credit, .. } if t == token && at == 0 => {
                (program.stream, program.credit, program.since) = (Some(stream), credit, now);
                self.progress = Progress::Running;
            }
            Event::StreamAccepted { stream, credit, .. }
                if at == 1 && program.stream.is_none() && stream.destination == program.end.destination =>
            {
                (program.stream, program.credit, program.since) = (Some(stream), credit, now);
            }
            Event::ConnectFailed { token: t, why } if t == token => self.progress = Progress::ConnectFailed(why),
            Event::StreamData { stream, ref data } if own(&stream) => {
                for (i, byte) in data.iter().enumerate() {
                    let offset = program.received + i as u64;
                    assert!(*byte == pattern(1 - at, offset), "byte {offset} at end {at} is not the one sent");
                }
                program.received += data.len() as u64;
                assert!(program.received <= self.total, "more bytes than were sent");
                net.command(program.end.node, Command::StreamCredit { stream, bytes: data.len() });
            }
            Event::StreamWritable { stream, bytes } if own(&stream) => program.credit += bytes,
            Event::StreamFinished(stream) if own(&stream) => {
                assert!(program.received == self.total, "end {at} closed after {} bytes", program.received);
                program.finished = true;
            }
            Event::StreamFailed { stream, why } if own(&stream) => self.progress = Progress::Failed(why),
            _ => {}
        }
    }

    fn write(&mut self, net: &mut Net, at: usize) {
        let (now, total, pace) = (net.now(), self.total, self.pace);
        let program = &mut self.programs[at];
        let Some(stream) = program.stream else { return };
        let node = program.end.node;
        let allowed = match pace {
            0 => total,
            pace => total.min(now.since(program.since).as_millis() as u64 * pace / 1000),
        };
        // Small writes would only make small packets.
        let worth = |left: u64| left >= CHUNK as u64 || allowed == total;
        while program.sent < allowed && program.credit > 0 && worth(allowed - program.sent) {
            let len = (allowed - program.sent).min(CHUNK as u64).min(program.credit as u64);
            let data: Vec<u8> = (program.sent..program.sent + len).map(|offset| pattern(at, offset)).collect();
            program.sent += len;
            program.credit -= data.len();
            net.command(node, Command::StreamSend { stream, data });
        }
        if program.sent == total && !program.shut {
            program.shut = true;
            net.command(node, Command::StreamShutdown(stream));
        }
    }
}

/// The byte that an end writes at this offset; its period is longer than any transfer.
fn pattern(end: usize, offset: u64) -> u8 {
    let mixed = (offset + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (end as u64) << 17);
    mixed.to_be_bytes()[0]
}
