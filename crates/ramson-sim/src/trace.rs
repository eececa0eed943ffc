//! The hash over everything that happened.

use ramson_core::reach::Reachability;
use ramson_core::router::{Command, Event};
use ramson_core::time::Instant;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// A running hash over the events of a simulation. Two runs that did the same have the same value.
#[derive(Clone, Debug)]
pub struct Trace {
    hasher: SipHasher13,
    events: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hasher: SipHasher13::new_with_keys(0, 0), events: 0 }
    }
}

impl Trace {
    /// Adds one event: when, what, where, and two numbers and bytes that tell it from others.
    pub(crate) fn add(&mut self, at: Instant, what: What, node: usize, numbers: [u64; 2], bytes: &[u8]) {
        self.events += 1;
        self.hasher.write_u64(at.as_micros());
        self.hasher.write_u64(what as u64);
        self.hasher.write_u64(node as u64);
        numbers.into_iter().for_each(|number| self.hasher.write_u64(number));
        self.hasher.write_u64(bytes.len() as u64);
        self.hasher.write(bytes);
    }

    /// The hash of all events so far.
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// How many there were.
    pub const fn events(&self) -> u64 {
        self.events
    }
}

/// Kinds of events. The numbers are part of the hash.
#[derive(Clone, Copy)]
pub(crate) enum What {
    Wake = 1,
    Accepted = 2,
    Opened = 3,
    Data = 4,
    Writable = 5,
    Closed = 6,
    JobDone = 7,
    Command = 8,
    RouterInfo = 9,
    Open = 10,
    Write = 11,
    Close = 12,
    Job = 13,
    Save = 14,
    Drop = 15,
    Event = 16,
    Start = 17,
    Stop = 18,
    TimeFloor = 19,
    Udp = 20,
    UdpSent = 21,
}

/// What tells a command from others in the trace.
pub(crate) fn command_number(command: &Command) -> u64 {
    match command {
        Command::CreateDestination { .. } => 1,
        Command::CloseDestination(_) => 2,
        Command::Listen { .. } => 3,
        Command::Connect { .. } => 4,
        Command::StreamSend { .. } => 5,
        Command::StreamShutdown(_) => 6,
        Command::StreamReset(_) => 7,
        Command::StreamRelease(_) => 8,
        Command::StreamCredit { .. } => 9,
        Command::Lookup { .. } => 10,
        Command::Shutdown => 11,
        Command::KeepGuards { .. } => 12,
        Command::Drain => 13,
        Command::Unlisten { .. } => 14,
        Command::BindDatagrams { .. } => 15,
        Command::UnbindDatagrams { .. } => 16,
        Command::SendDatagram { .. } => 17,
        Command::CreateKeyless { .. } => 18,
        Command::SetLeaseSet { .. } => 19,
        Command::SendMessage { .. } => 20,
        Command::SetTunnels { .. } => 21,
    }
}

/// What tells an event from others in the trace.
pub(crate) fn event_numbers(event: &Event) -> ([u64; 2], &[u8]) {
    match event {
        Event::StreamOpened { token, .. } => ([1, *token], &[]),
        Event::ConnectFailed { token, .. } => ([2, *token], &[]),
        Event::StreamAccepted { stream, .. } => ([3, stream.destination.0], &[]),
        Event::StreamData { stream, data } => ([4, stream.destination.0], data),
        Event::StreamWritable { bytes, .. } => ([5, *bytes as u64], &[]),
        Event::StreamFinished(stream) => ([6, stream.destination.0], &[]),
        Event::StreamFailed { stream, .. } => ([7, stream.destination.0], &[]),
        Event::StreamClosed(stream) => ([8, stream.destination.0], &[]),
        Event::LookedUp { token, .. } => ([9, *token], &[]),
        Event::Reachable { published, .. } => ([10, u64::from(*published)], &[]),
        Event::ClockCorrected { offset_ms } => ([11, offset_ms.cast_unsigned()], &[]),
        Event::DestinationCreated(id) => ([12, id.0], &[]),
        Event::Stopped => ([13, 0], &[]),
        Event::DestinationFailed { id, .. } => ([14, id.0], &[]),
        Event::Floodfill { serves } => ([15, u64::from(*serves)], &[]),
        Event::DatagramsBound { token, .. } => ([16, *token], &[]),
        Event::DatagramTaken { token, .. } => ([17, *token], &[]),
        Event::Datagram { destination, datagram } => ([18, destination.0], &datagram.payload),
        Event::LookupRefused { token } => ([19, *token], &[]),
        Event::LeasesOffered { destination, leases } => ([20, destination.0 << 8 | leases.len() as u64], &[]),
        Event::LeaseSetTaken { token, .. } => ([21, *token], &[]),
        Event::MessageTaken { token, .. } => ([22, *token], &[]),
        Event::Message { destination, payload } => ([23, destination.0], payload),
        Event::MessageSent { destination, message, .. } => ([24, destination.0 << 32 | u64::from(*message)], &[]),
        Event::TunnelsSet { token, .. } => ([25, *token], &[]),
        Event::ReachabilityTested { v4, state } => {
            ([26, u64::from(*v4) << 8 | u64::from(*state != Reachability::Open)], &[])
        }
    }
}
