//! Datagrams of a destination: repliable ones (formats 1, 2 and 3) and raw ones, by protocol and port.
//!
//! [`Destination::send_datagram`] makes them, and those that come to a bound port are [`DestinationEvent::Datagram`].
//! Signing and verifying are jobs; for a port that nobody has bound no job is begun. [`Origin`] tells who sent a
//! datagram. A session tells whose LeaseSet came in it, so a signed datagram that comes in another destination's
//! session is a copy, and is dropped.
//! <https://geti2p.net/spec/datagrams>

use super::{Destination, DestinationEvent, DestinationJob, SendError};
use crate::bucket::Bucket;
use crate::limits::datagram as limits;
use crate::rng::Rng;
use crate::seen::Seen;
use crate::time::{Instant, Now};
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::data::{Destination as PublicDestination, Hash, Mapping, PrivateKeys};
use ramson_wire::datagram::payload::protocol;
use ramson_wire::datagram::{ClientPayload, Datagram1, Datagram2, Datagram3};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const FLAGS: usize = 2;
/// Our own signatures are by Ed25519.
const SIGNATURE: usize = 64;

/// How a datagram says who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Signed, but not bound to its receiver: prefer [`Format::Datagram2`]. Needs the destination's own key.
    Datagram1,
    /// Nobody: the sender is not said. Sent by this protocol, which is none of the other formats' nor of streams; 18
    /// unless programs agree on another one.
    Raw(u8),
    /// Signed for one receiver.
    Datagram2,
    /// Not signed: the session alone shows who sent it.
    Datagram3,
}

impl Format {
    /// The usual raw datagrams.
    pub const RAW: Self = Self::Raw(protocol::RAW);
    /// Where it is bound, raw datagrams by every protocol that nothing else is bound for, those of the other formats
    /// included: they come as they are. Streams never do.
    pub const ANY: Self = Self::Raw(0);

    const fn protocol(self) -> u8 {
        match self {
            Self::Datagram1 => protocol::DATAGRAM,
            Self::Raw(protocol) => protocol,
            Self::Datagram2 => protocol::DATAGRAM2,
            Self::Datagram3 => protocol::DATAGRAM3,
        }
    }

    const fn of(number: u8) -> Option<Self> {
        match number {
            protocol::STREAMING => None,
            protocol::DATAGRAM => Some(Self::Datagram1),
            protocol::DATAGRAM2 => Some(Self::Datagram2),
            protocol::DATAGRAM3 => Some(Self::Datagram3),
            number => Some(Self::Raw(number)),
        }
    }

    /// Whether raw datagrams of this protocol can be told from all else.
    const fn is_sendable(self) -> bool {
        match self {
            Self::Raw(number) => matches!(Self::of(number), Some(Self::Raw(_))),
            _ => true,
        }
    }
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub format: Format,
    pub to: Hash,
    pub from_port: u16,
    pub to_port: u16,
    /// For formats 2 and 3 only.
    pub options: Mapping,
    pub payload: Vec<u8>,
}

/// What is bound: a format, and a port or, with `None`, every port that is not bound by itself.
pub type Bound = (Format, Option<u16>);

/// A datagram that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// To whom it goes.
    pub bound: Bound,
    pub format: Format,
    pub from: Origin,
    pub from_port: u16,
    pub to_port: u16,
    pub options: Mapping,
    pub payload: Vec<u8>,
}

/// Who sent a datagram, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Its signature shows it. Of a Datagram1 it does not show to whom it was sent.
    Signed(Box<PublicDestination>),
    /// Its own words, and the LeaseSet of the session that it came in.
    Session(Hash),
    /// Its own words only: anybody may have written them.
    Claimed(Hash),
    /// Not said.
    Unknown,
}

/// Why a datagram cannot be sent, or a port not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    #[error("the datagram is too large")]
    TooLarge,
    #[error("too many datagrams wait to be signed")]
    QueueFull,
    #[error("this protocol is that of streams or of another format")]
    Protocol,
    #[error("this format has no place for options")]
    NoOptions,
    #[error("a Datagram1 needs the destination's own key, which is kept offline")]
    OfflineKey,
    #[error("the permit of the transient key has expired")]
    ExpiredKey,
    #[error("the port is bound already, or too many are")]
    Port,
}

/// Signs or verifies one datagram.
pub struct DatagramJob {
    id: u64,
    work: Work,
}

enum Work {
    Sign { datagram: Outgoing, keys: Arc<PrivateKeys> },
    Verify { format: Format, bytes: Vec<u8>, to: Hash, session: Option<Hash>, now: u32 },
}

impl std::fmt::Debug for DatagramJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DatagramJob {}", self.id)
    }
}

/// The result of a [`DatagramJob`].
#[derive(Debug)]
pub struct DatagramDone {
    id: u64,
    result: Option<Worked>,
}

#[derive(Debug)]
enum Worked {
    Signed(Vec<u8>),
    Verified { from: Box<PublicDestination>, options: Mapping, payload: Vec<u8> },
}

impl DatagramJob {
    /// The result of this job when it has panicked.
    pub(crate) const fn failed(&self) -> DatagramDone {
        DatagramDone { id: self.id, result: None }
    }

    pub fn run(self) -> DatagramDone {
        let result = match self.work {
            Work::Sign { datagram, keys } => sign(&datagram, &keys).map(Worked::Signed),
            Work::Verify { format, bytes, to, session, now } => verify(format, &bytes, (&to, session), now),
        };
        DatagramDone { id: self.id, result }
    }
}

fn sign(datagram: &Outgoing, keys: &PrivateKeys) -> Option<Vec<u8>> {
    let Outgoing { format, to, options, payload, .. } = datagram;
    let (from, key, offline) = (keys.destination(), keys.signing_key(), keys.offline());
    match format {
        Format::Datagram1 => Some(Datagram1::sign(from, key, payload)),
        Format::Datagram2 => Some(Datagram2::sign(from, to, key, offline, options, payload)),
        Format::Raw(_) | Format::Datagram3 => None,
    }
}

fn verify(format: Format, bytes: &[u8], (to, session): (&Hash, Option<Hash>), now: u32) -> Option<Worked> {
    let (from, options, payload) = match format {
        Format::Datagram1 => Datagram1::open(bytes).ok().map(|it| (it.from, Mapping::new(), it.payload)),
        Format::Datagram2 => {
            // i2pd signs the sender's hash in the receiver's place. That binds it to nobody; but where the sender's own
            // session brings it, that does.
            let opened = Datagram2::open(bytes, to, now);
            let opened = opened.or_else(|e| session.map_or(Err(e), |from| Datagram2::open(bytes, &from, now)));
            opened.ok().map(|it| (it.from, it.options, it.payload))
        }
        Format::Raw(_) | Format::Datagram3 => None,
    }?;
    Some(Worked::Verified { from: Box::new(from), options, payload })
}

/// What follows from a call of [`Datagrams`].
#[derive(Debug)]
pub(crate) enum Step {
    Nothing,
    Job(DatagramJob),
    Send { token: u64, to: Hash, payload: ClientPayload },
    Received(Incoming),
    Failed { to: Hash, token: u64 },
}

/// The datagrams of one destination; see the module.
pub(crate) struct Datagrams {
    own: Hash,
    keys: Arc<PrivateKeys>,
    /// Bound ports; `None` is every port that is not bound by itself.
    bound: BTreeSet<Bound>,
    next_job: u64,
    signing: BTreeMap<u64, Signing>,
    verifying: BTreeMap<u64, Verifying>,
    verifications: Bucket,
    /// Signed datagrams of sessions that do not say whose they are.
    seen: Seen,
}

struct Signing {
    token: u64,
    to: Hash,
    format: Format,
    ports: (u16, u16),
}

struct Verifying {
    bound: Bound,
    format: Format,
    ports: (u16, u16),
    session: Option<Hash>,
}

impl Datagrams {
    pub(crate) fn new(keys: &PrivateKeys, rng: &mut Rng) -> Self {
        Self {
            own: keys.destination().hash(),
            keys: Arc::new(keys.clone()),
            bound: BTreeSet::new(),
            next_job: 0,
            signing: BTreeMap::new(),
            verifying: BTreeMap::new(),
            verifications: Bucket::new(limits::VERIFICATIONS, Instant::ZERO),
            seen: Seen::new(limits::REPLAYS, limits::REPLAY_GENERATION, rng),
        }
    }

    pub(crate) fn bind(&mut self, format: Format, port: Option<u16>) -> Result<(), DatagramError> {
        let room = self.bound.len() < limits::PORTS;
        if room && self.bound.insert((format, port)) { Ok(()) } else { Err(DatagramError::Port) }
    }

    pub(crate) fn unbind(&mut self, format: Format, port: Option<u16>) {
        self.bound.remove(&(format, port));
    }

    /// Who waits for what comes by this protocol to this port.
    pub(crate) fn taker(&self, payload: &ClientPayload) -> Option<Bound> {
        let format = Format::of(payload.protocol)?;
        let mut formats = [format, Format::Raw(payload.protocol), Format::ANY].into_iter();
        formats.find_map(|format| {
            [Some(payload.to_port), None].map(|port| (format, port)).into_iter().find(|it| self.bound.contains(it))
        })
    }

    /// Makes a datagram; the token comes back with it.
    pub(crate) fn make(&mut self, now: Now, token: u64, datagram: Outgoing) -> Result<Step, DatagramError> {
        let Outgoing { format, to, from_port, to_port, .. } = datagram;
        if !format.is_sendable() {
            return Err(DatagramError::Protocol);
        }
        if !datagram.options.is_empty() && matches!(format, Format::Raw(_) | Format::Datagram1) {
            return Err(DatagramError::NoOptions);
        }
        if datagram.payload.len().saturating_add(self.header_len(&datagram)) > limits::BYTES {
            return Err(DatagramError::TooLarge);
        }
        let data = match format {
            Format::Raw(_) => datagram.payload,
            Format::Datagram3 => {
                let Outgoing { options, payload, .. } = datagram;
                Datagram3 { claimed_from: self.own, options, payload }.to_bytes()
            }
            Format::Datagram1 | Format::Datagram2 => return self.sign(now, token, datagram),
        };
        Ok(Step::Send { token, to, payload: ClientPayload { protocol: format.protocol(), from_port, to_port, data } })
    }

    /// Bytes that stand beside the payload, or a few more.
    fn header_len(&self, datagram: &Outgoing) -> usize {
        let options = if datagram.options.is_empty() { 0 } else { datagram.options.to_bytes().len() };
        let sender = match datagram.format {
            Format::Raw(_) => return 0,
            Format::Datagram3 => self.own.0.len(),
            Format::Datagram1 | Format::Datagram2 => {
                let mut permit = Vec::new();
                if let Some(offline) = self.keys.offline() {
                    offline.encode(&mut permit);
                }
                self.keys.destination().as_bytes().len() + permit.len() + SIGNATURE
            }
        };
        sender + FLAGS + options
    }

    fn sign(&mut self, now: Now, token: u64, datagram: Outgoing) -> Result<Step, DatagramError> {
        let Outgoing { format, to, from_port, to_port, .. } = datagram;
        if let Some(permit) = self.keys.offline() {
            if format == Format::Datagram1 {
                return Err(DatagramError::OfflineKey);
            }
            if permit.expires <= now.unix_secs() {
                return Err(DatagramError::ExpiredKey);
            }
        }
        if self.signing.len() >= limits::SIGNING {
            return Err(DatagramError::QueueFull);
        }
        let id = self.job_id();
        self.signing.insert(id, Signing { token, to, format, ports: (from_port, to_port) });
        Ok(Step::Job(DatagramJob { id, work: Work::Sign { datagram, keys: Arc::clone(&self.keys) } }))
    }

    /// Takes a payload for who waits for it. `session` is the destination whose LeaseSet came in its session.
    pub(crate) fn handle(&mut self, now: Now, session: Option<Hash>, bound: Bound, payload: ClientPayload) -> Step {
        let ClientPayload { protocol, from_port, to_port, data } = payload;
        // Who takes it as raw gets it as it is, whatever it is.
        let format = match bound.0 {
            Format::Raw(_) => Format::Raw(protocol),
            format => format,
        };
        if data.len() > limits::BYTES {
            return Step::Nothing;
        }
        let (from, options, payload) = match format {
            Format::Raw(_) => (Origin::Unknown, Mapping::new(), data),
            Format::Datagram3 => {
                let Ok(datagram) = Datagram3::from_bytes(&data) else { return Step::Nothing };
                let claimed = datagram.claimed_from;
                let from = if session == Some(claimed) { Origin::Session(claimed) } else { Origin::Claimed(claimed) };
                (from, datagram.options, datagram.payload)
            }
            Format::Datagram1 | Format::Datagram2 => {
                let ports = (from_port, to_port);
                return self.verify(now, data, Verifying { bound, format, ports, session });
            }
        };
        Step::Received(Incoming { bound, format, from, from_port, to_port, options, payload })
    }

    fn verify(&mut self, now: Now, bytes: Vec<u8>, what: Verifying) -> Step {
        if self.verifying.len() >= limits::VERIFYING || !self.verifications.take(now.mono) {
            return Step::Nothing;
        }
        // In a session of its own sender a datagram may come again, when that sender says the same again. The session
        // itself takes no replays.
        if what.session.is_none() && !self.seen.insert(now.mono, &bytes) {
            return Step::Nothing;
        }
        let (id, format, session) = (self.job_id(), what.format, what.session);
        self.verifying.insert(id, what);
        Step::Job(DatagramJob { id, work: Work::Verify { format, bytes, to: self.own, session, now: now.unix_secs() } })
    }

    pub(crate) fn handle_job(&mut self, done: DatagramDone) -> Step {
        if let Some(Signing { token, to, format, ports: (from_port, to_port) }) = self.signing.remove(&done.id) {
            let Some(Worked::Signed(data)) = done.result else { return Step::Failed { to, token } };
            let payload = ClientPayload { protocol: format.protocol(), from_port, to_port, data };
            return Step::Send { token, to, payload };
        }
        let Some(what) = self.verifying.remove(&done.id) else { return Step::Nothing };
        let Some(Worked::Verified { from, options, payload }) = done.result else { return Step::Nothing };
        if what.session.is_some_and(|session| session != from.hash()) {
            return Step::Nothing;
        }
        let (from_port, to_port) = what.ports;
        Step::Received(Incoming {
            bound: what.bound,
            format: what.format,
            from: Origin::Signed(from),
            from_port,
            to_port,
            options,
            payload,
        })
    }

    fn job_id(&mut self) -> u64 {
        self.next_job += 1;
        self.next_job
    }
}

impl Destination {
    /// Takes datagrams of a format at a port, or with `None` at every port that is not bound by itself. They come as
    /// [`DestinationEvent::Datagram`].
    pub fn bind_datagrams(&mut self, format: Format, port: Option<u16>) -> Result<(), DatagramError> {
        self.datagrams.bind(format, port)
    }

    /// Takes no more datagrams there.
    pub fn unbind_datagrams(&mut self, format: Format, port: Option<u16>) {
        self.datagrams.unbind(format, port);
    }

    /// Sends a datagram. The token names it in [`DestinationEvent::Failed`]; that none comes does not say that it
    /// arrived.
    pub fn send_datagram(&mut self, now: Now, datagram: Outgoing) -> Result<u64, DatagramError> {
        let token = self.next_token + 1;
        let step = self.datagrams.make(now, token, datagram)?;
        self.next_token = token;
        self.handle_datagram_step(now, step);
        Ok(token)
    }

    pub(super) fn handle_datagram_step(&mut self, now: Now, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Job(job) => self.events.push_back(DestinationEvent::Job(DestinationJob::Datagram(job))),
            Step::Send { token, to, payload } => self.send_as(now, token, to, payload),
            Step::Received(datagram) => self.events.push_back(DestinationEvent::Datagram(datagram)),
            Step::Failed { to, token } => self.fail(to, token, SendError::Unreachable),
        }
    }
}
