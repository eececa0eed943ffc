//! What programs do with the streams of one destination: connects that wait, what was written ahead of a stream's own
//! buffer, and what the streams say, in the words of the door. The router's own destinations have one, and so has a
//! destination at a router that is reached by I2CP.

use super::door::{ConnectError, DestinationId, Event, StreamError, StreamKey};
use crate::stream::{self, ConnectOptions, StreamId, Streams};
use crate::time::Now;
use ramson_wire::data::Hash;
use std::collections::{BTreeMap, VecDeque};

/// Bytes that a program may write ahead of the stream's own send buffer.
const CREDIT: usize = 128 << 10;

/// What programs hold of one destination's streams.
pub(crate) struct Programs {
    id: DestinationId,
    /// Streams that are being opened: token and peer.
    connecting: BTreeMap<StreamId, (u64, Hash)>,
    /// Streams that programs hold, and what they wrote that the stream has no room for yet.
    unsent: BTreeMap<StreamId, Unsent>,
}

#[derive(Default)]
struct Unsent {
    data: VecDeque<Vec<u8>>,
    shutdown: bool,
}

/// What follows from an event of the streams.
pub(crate) enum Next {
    Nothing,
    Event(Event),
    Job(stream::Job),
    /// A packet for the peer; with the token of the connect, while the stream is being opened.
    Send {
        to: Hash,
        from_port: u16,
        to_port: u16,
        packet: Vec<u8>,
        token: Option<u64>,
    },
    /// Nothing seems to arrive at this peer: so many paths in a row have failed, as far as streams that we have opened tell.
    Suspect {
        to: Hash,
        failures: u32,
    },
    /// What was written goes on: see [`Programs::pump`].
    Pump(StreamId),
}

impl Programs {
    pub(crate) const fn new(id: DestinationId) -> Self {
        Self { id, connecting: BTreeMap::new(), unsent: BTreeMap::new() }
    }

    pub(crate) const fn key(&self, stream: StreamId) -> StreamKey {
        StreamKey { destination: self.id, stream }
    }

    /// Opens a stream; the token comes back with the event that says how it went.
    pub(crate) fn connect(
        &mut self,
        now: Now,
        streams: &mut Streams,
        (token, to): (u64, Hash),
        ports: (u16, u16),
        options: ConnectOptions,
    ) -> Result<(), ConnectError> {
        let stream = streams.connect(now, to, ports, options).map_err(|_| ConnectError::Limit)?;
        self.connecting.insert(stream, (token, to));
        self.unsent.insert(stream, Unsent::default());
        Ok(())
    }

    /// A program writes; [`Programs::pump`] follows.
    pub(crate) fn write(&mut self, stream: StreamId, data: Vec<u8>) {
        if let Some(unsent) = self.unsent.get_mut(&stream) {
            unsent.data.push_back(data);
        }
    }

    /// A program writes no more; [`Programs::pump`] follows.
    pub(crate) fn shut_down(&mut self, stream: StreamId) {
        if let Some(unsent) = self.unsent.get_mut(&stream) {
            unsent.shutdown = true;
        }
    }

    /// A program aborts the stream.
    pub(crate) fn reset(&mut self, now: Now, streams: &mut Streams, stream: StreamId) {
        streams.reset(now, stream);
        self.forget(stream);
    }

    /// Moves what programs wrote into the stream; returns how much.
    pub(crate) fn pump(&mut self, now: Now, streams: &mut Streams, stream: StreamId) -> usize {
        let Some(unsent) = self.unsent.get_mut(&stream) else { return 0 };
        let mut moved = 0;
        while let Some(data) = unsent.data.pop_front() {
            let len = data.len();
            let rest = streams.offer(now, stream, data);
            moved += len - rest.len();
            if !rest.is_empty() {
                unsent.data.push_front(rest);
                break;
            }
        }
        if unsent.data.is_empty() && std::mem::take(&mut unsent.shutdown) {
            streams.close(now, stream);
        }
        moved
    }

    /// Forgets what a program has to do with a stream; gives the token of a connect that it waits for.
    pub(crate) fn forget(&mut self, stream: StreamId) -> Option<u64> {
        self.unsent.remove(&stream);
        self.connecting.remove(&stream).map(|(token, _)| token)
    }

    /// Ends the streams that are being opened to a peer; gives their tokens.
    pub(crate) fn fail_connects(&mut self, now: Now, streams: &mut Streams, to: &Hash) -> Vec<u64> {
        let to_it = self.connecting.iter().filter(|(_, (_, peer))| peer == to);
        let failed: Vec<_> = to_it.map(|(stream, (token, _))| (*stream, *token)).collect();
        for (stream, _) in &failed {
            self.reset(now, streams, *stream);
        }
        failed.into_iter().map(|(_, token)| token).collect()
    }

    /// Ends all streams. Returns whether peers have to be told.
    pub(crate) fn end_all(&mut self, now: Now, streams: &mut Streams) -> bool {
        let unsent = std::mem::take(&mut self.unsent);
        self.connecting.clear();
        streams.end_all(now, |stream| unsent.get(&stream).is_some_and(|unsent| !unsent.data.is_empty()))
    }

    /// Takes what the streams say.
    pub(crate) fn handle(&mut self, event: stream::Event) -> Next {
        Next::Event(match event {
            stream::Event::Send { to, from_port, to_port, packet, stream, .. } => {
                let token = stream.and_then(|stream| self.connecting.get(&stream)).map(|(token, _)| *token);
                return Next::Send { to, from_port, to_port, packet, token };
            }
            stream::Event::Job(job) => return Next::Job(job),
            stream::Event::Opened { stream, peer } => match self.connecting.remove(&stream) {
                Some((token, _)) => {
                    Event::StreamOpened { token, stream: self.key(stream), remote: peer, credit: CREDIT }
                }
                None => return Next::Nothing,
            },
            stream::Event::Accepted { stream, from, port, peer_port } => {
                self.unsent.insert(stream, Unsent::default());
                Event::StreamAccepted { stream: self.key(stream), from, port, peer_port, credit: CREDIT }
            }
            stream::Event::Data { stream, bytes } => Event::StreamData { stream: self.key(stream), data: bytes },
            stream::Event::Writable { stream } => return Next::Pump(stream),
            stream::Event::Finished { stream } => Event::StreamFinished(self.key(stream)),
            stream::Event::Failed { stream, why } => match self.forget(stream) {
                Some(token) => Event::ConnectFailed { token, why: connect_error(why) },
                None => Event::StreamFailed { stream: self.key(stream), why: stream_error(why) },
            },
            stream::Event::Closed { stream } => {
                self.forget(stream);
                Event::StreamClosed(self.key(stream))
            }
            stream::Event::PathSuspect { to, timeouts, opened, .. } => {
                return Next::Suspect { to, failures: if opened { timeouts } else { 0 } };
            }
            _ => return Next::Nothing,
        })
    }

    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(crate) fn check(&self) {
        assert!(self.connecting.keys().all(|stream| self.unsent.contains_key(stream)), "who connects may write");
    }
}

fn connect_error(why: stream::Error) -> ConnectError {
    match why {
        stream::Error::Reset => ConnectError::Refused,
        stream::Error::Limit => ConnectError::Limit,
        _ => ConnectError::NoAnswer,
    }
}

fn stream_error(why: stream::Error) -> StreamError {
    match why {
        stream::Error::Reset => StreamError::Reset,
        stream::Error::TimedOut => StreamError::TimedOut,
        _ => StreamError::Closed,
    }
}
