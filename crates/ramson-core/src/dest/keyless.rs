//! A destination whose keys a program holds: the program signs its LeaseSets, and sends and receives whole messages.
//!
//! [`DestinationEvent::SignLeases`] asks for a LeaseSet, and [`Destination::adopt`] takes it, with the private parts of
//! its encryption keys, without which nothing that comes could be opened. [`Destination::send_message`] sends, and what
//! comes is [`DestinationEvent::Message`], as its sender has made it: streams and datagrams are the program's own.

use super::datagram::Datagrams;
use super::lease::OwnLeaseSet;
use super::remote;
use super::session::Sessions;
use super::{Destination, DestinationConfig, DestinationEvent, DestinationJob, SendError, Text};
use crate::limits::keyless as limits;
use crate::rng::Rng;
use crate::time::Now;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{Destination as PublicDestination, Hash, Lease2, LeaseSet2, PrivateKeys};
use ramson_wire::garlic::frame;
use std::collections::{BTreeSet, VecDeque};

/// The type of X25519 keys of LeaseSets, and those of keys that are with ML-KEM.
const X25519: u16 = 4;
const HYBRID: std::ops::RangeInclusive<u16> = 5..=7;

/// A message of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The program's number of it.
    pub id: u32,
    pub to: Hash,
    /// As the other side gets it.
    pub payload: Vec<u8>,
    /// Milliseconds since 1970 until when it is good; a minute at most.
    pub expires: Option<u64>,
    /// The program wants to know when it has left, or that it did not.
    pub report: bool,
}

/// Why a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    #[error("the message is empty or too large")]
    Size,
    #[error("the message has expired")]
    Expired,
    #[error("no LeaseSet of this destination is signed")]
    NoLeaseSet,
    #[error("a destination does not write to itself")]
    Loopback,
    #[error("too many messages wait for word of them")]
    QueueFull,
    #[error("the keys of this destination are the router's")]
    NotKeyless,
}

/// Why a LeaseSet of a program is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseSetError {
    #[error("it is another destination's")]
    OtherDestination,
    #[error("it is not newer than the one before, or from the future, or its transient key has expired")]
    Time,
    #[error("it has a lease that was not offered")]
    Lease,
    #[error("it has an encryption key with ML-KEM, which is not spoken here")]
    Hybrid,
    #[error("it has no X25519 key, or that key's private part did not come with it")]
    NoKey,
    #[error("its signature does not verify")]
    Signature,
    #[error("a newer one has come before it was verified")]
    Overtaken,
    #[error("its X25519 key is not that of the destination beside which it is")]
    OtherKey,
    #[error("the keys of this destination are the router's")]
    NotKeyless,
}

/// Verifies a LeaseSet of a program, and that its key is there.
pub struct AdoptJob {
    token: u64,
    set: LeaseSet2,
    keys: Vec<SecretKey>,
}

impl std::fmt::Debug for AdoptJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AdoptJob {}", self.token)
    }
}

/// The result of an [`AdoptJob`].
#[derive(Debug)]
pub struct AdoptDone {
    token: u64,
    result: Result<(LeaseSet2, SecretKey), LeaseSetError>,
}

impl AdoptJob {
    /// The result of this job when it has panicked.
    pub(crate) const fn failed(&self) -> AdoptDone {
        AdoptDone { token: self.token, result: Err(LeaseSetError::Signature) }
    }

    pub fn run(self) -> AdoptDone {
        let Self { token, set, keys } = self;
        let verify = || {
            set.verify().map_err(|_| LeaseSetError::Signature)?;
            let public = set.x25519_key().ok_or(LeaseSetError::NoKey)?;
            keys.into_iter().find(|key| key.public_key() == public).ok_or(LeaseSetError::NoKey)
        };
        let result = verify();
        AdoptDone { token, result: result.map(|key| (set, key)) }
    }
}

/// What a destination without keys has besides.
#[derive(Default)]
pub(super) struct Keyless {
    /// The leases of the last requests, the newest at the end: an answer may come late.
    offers: VecDeque<Vec<Lease2>>,
    verifying: bool,
    /// The newest LeaseSet that has come while another one is verified.
    next: Option<AdoptJob>,
    /// Messages whose sender wants to know.
    reported: BTreeSet<u32>,
    /// Other destinations of the same program that have the same static key and the same tunnels.
    beside: BTreeSet<Hash>,
}

impl Keyless {
    fn offered(&self, lease: &Lease2) -> bool {
        // A program that counts in milliseconds may round up.
        let fits = |it: &Lease2| {
            (it.gateway, it.tunnel_id) == (lease.gateway, lease.tunnel_id) && lease.end <= it.end.saturating_add(1)
        };
        self.offers.iter().flatten().any(fits)
    }

    /// What became of a message, if its sender wants to know.
    pub(super) fn report(&mut self, token: u64, result: Result<(), SendError>) -> Option<DestinationEvent> {
        let id = u32::try_from(token).ok()?;
        self.reported.remove(&id).then_some(DestinationEvent::MessageSent { id, result })
    }

    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn check(&self) {
        assert!(self.offers.len() <= limits::OFFERS && self.reported.len() <= limits::REPORTED);
        assert!(self.beside.len() <= limits::BESIDE);
    }
}

impl Destination {
    /// A destination whose keys a program holds. Without its first LeaseSet nothing that comes can be opened.
    pub fn keyless(public: PublicDestination, publish: bool, mut rng: Rng) -> Self {
        // Datagrams are the program's own: these keys are nobody's, and sign nothing.
        let datagrams = Datagrams::new(&PrivateKeys::random(&mut rng), &mut rng.child("datagrams"));
        let sessions = Sessions::new(SecretKey::random(&mut rng), rng.child("sessions"));
        let config = DestinationConfig { publish, compress: false };
        let parts = (OwnLeaseSet::keyless(), sessions, datagrams);
        Self::of(public.hash(), config, parts, Some(Box::default()), rng)
    }

    /// Whether a program holds its keys.
    pub const fn is_keyless(&self) -> bool {
        self.keyless.is_some()
    }

    /// Another destination of the same program, with the same static key and tunnels, is here from now on, or no longer.
    pub(crate) fn set_beside(&mut self, other: Hash, is_here: bool) {
        if let Some(keyless) = &mut self.keyless {
            if is_here {
                keyless.beside.insert(other);
            } else {
                keyless.beside.remove(&other);
            }
        }
    }

    /// Whether what is for this other destination may come in a session of this one.
    pub(super) fn is_beside(&self, other: &Hash) -> bool {
        self.keyless.as_ref().is_some_and(|keyless| keyless.beside.contains(other))
    }

    /// Whether a Garlic body is of a session that is known here.
    pub(crate) fn knows(&self, body: &[u8]) -> bool {
        self.sessions.knows(body)
    }

    /// What came for this destination in a session of one beside it.
    pub(crate) fn take_message(&mut self, body: Vec<u8>) {
        let _ = self.give_message(body);
    }

    /// The program is to sign these.
    pub(super) fn offer(&mut self, leases: Vec<Lease2>) {
        let Some(keyless) = &mut self.keyless else { return };
        if keyless.offers.len() >= limits::OFFERS {
            keyless.offers.pop_front();
        }
        keyless.offers.push_back(leases.clone());
        self.events.push_back(DestinationEvent::SignLeases(leases));
    }

    /// Takes a LeaseSet that the program has signed. If nothing is wrong with it at first sight, it is verified, and
    /// [`DestinationEvent::LeaseSetTaken`] says with the token how that went.
    pub fn adopt(&mut self, now: Now, token: u64, set: LeaseSet2, keys: Vec<SecretKey>) -> Result<(), LeaseSetError> {
        let before = self.own.current().map_or(0, |set| set.times().published);
        let keyless = self.keyless.as_mut().ok_or(LeaseSetError::NotKeyless)?;
        if set.key() != self.hash {
            return Err(LeaseSetError::OtherDestination);
        }
        if set.times().published <= before || !remote::is_timely(now, &set) {
            return Err(LeaseSetError::Time);
        }
        // Whoever finds a key with ML-KEM uses it, and nothing of that could be read.
        if set.encryption_keys().iter().any(|key| HYBRID.contains(&key.kind)) {
            return Err(LeaseSetError::Hybrid);
        }
        if !set.encryption_keys().iter().any(|key| key.kind == X25519) {
            return Err(LeaseSetError::NoKey);
        }
        if !set.leases().iter().all(|lease| keyless.offered(lease)) {
            return Err(LeaseSetError::Lease);
        }
        if let Some(next) = &keyless.next
            && set.times().published <= next.set.times().published
        {
            return Err(LeaseSetError::Time);
        }
        if let Some(AdoptJob { token, .. }) = keyless.next.replace(AdoptJob { token, set, keys }) {
            self.events.push_back(DestinationEvent::LeaseSetTaken { token, result: Err(LeaseSetError::Overtaken) });
        }
        self.verify_next();
        Ok(())
    }

    fn verify_next(&mut self) {
        let Some(keyless) = self.keyless.as_mut().filter(|keyless| !keyless.verifying) else { return };
        if let Some(job) = keyless.next.take() {
            keyless.verifying = true;
            self.events.push_back(DestinationEvent::Job(DestinationJob::Adopt(job)));
        }
    }

    pub(super) fn handle_adopted(&mut self, now: Now, AdoptDone { token, result }: AdoptDone) {
        if let Some(keyless) = &mut self.keyless {
            keyless.verifying = false;
        }
        let result = result.map(|(set, key)| {
            self.sessions.set_own(key);
            self.sessions.set_lease_set(self.own.adopt(&set));
            self.events.push_back(DestinationEvent::LeaseSetChanged(set));
            let ready: Vec<Hash> = self.waiting.keys().copied().collect();
            ready.into_iter().for_each(|hash| self.release(now, hash));
        });
        self.events.push_back(DestinationEvent::LeaseSetTaken { token, result });
        self.verify_next();
    }

    /// Sends a message. If its sender wants to know, [`DestinationEvent::MessageSent`] says whether it has left; that
    /// it arrives nobody can say.
    pub fn send_message(&mut self, now: Now, message: Outgoing) -> Result<(), MessageError> {
        let Outgoing { id, to, payload, expires, report } = message;
        let keyless = self.keyless.as_mut().ok_or(MessageError::NotKeyless)?;
        if to == self.hash {
            return Err(MessageError::Loopback);
        }
        if payload.is_empty() || payload.len().saturating_add(4) > crate::limits::dest::CLIENT_PAYLOAD {
            return Err(MessageError::Size);
        }
        if expires.is_some_and(|at| at <= now.unix_ms) {
            return Err(MessageError::Expired);
        }
        if self.own.current().is_none_or(|set| set.times().end() <= now.unix_secs()) {
            return Err(MessageError::NoLeaseSet);
        }
        if report && (keyless.reported.len() >= limits::REPORTED || !keyless.reported.insert(id)) {
            return Err(MessageError::QueueFull);
        }
        self.send_text(now, to, Text { token: u64::from(id), body: frame(&payload), expires });
        Ok(())
    }

    /// What came, if a program holds the keys; else it comes back.
    pub(super) fn give_message(&mut self, body: Vec<u8>) -> Option<Vec<u8>> {
        if self.keyless.is_none() {
            return Some(body);
        }
        if let Some(payload) = ramson_wire::garlic::unframe(&body).ok().filter(|payload| !payload.is_empty()) {
            self.events.push_back(DestinationEvent::Message(payload.to_vec()));
        }
        None
    }

    /// Drops all sessions after a fault, see [`Sessions::forget_all`].
    pub fn forget_sessions(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
        self.sessions.forget_all();
        if let Some(keyless) = &mut self.keyless {
            // What waited in sessions is lost.
            let lost = std::mem::take(&mut keyless.reported);
            let waiting =
                |id: &u32| self.waiting.values().any(|it| it.messages.iter().any(|m| m.token == u64::from(*id)));
            let (kept, lost): (BTreeSet<u32>, BTreeSet<u32>) = lost.into_iter().partition(waiting);
            keyless.reported = kept;
            let sent = |id| DestinationEvent::MessageSent { id, result: Err(SendError::Unreachable) };
            self.events.extend(lost.into_iter().map(sent));
        }
    }
}
