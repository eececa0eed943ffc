//! The hash over everything that happened.

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
}
