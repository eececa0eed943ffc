//! One destination and its connection: GetDate, CreateSession, the LeaseSets that the router asks for, and the way back
//! when it goes.

use super::peers::Peers;
use super::{Login, Output};
use crate::dest::datagram::Datagrams;
use crate::dest::{DestinationId, DestinationJob, OwnLeaseSet, SignDone};
use crate::job::Job;
use crate::rng::Rng;
use crate::router::LocalOptions;
use crate::router::programs::Programs;
use crate::stream::{self, Streams};
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use crate::tunnel::PoolConfig;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{AnyLeaseSet, Hash, Lease, Lease2, Mapping, PrivateKeys, base64};
use ramson_wire::i2cp::{CreateLeaseSet2, GetDate, LeaseSetKey, Message, SessionConfig, SessionId, SessionState};
use std::collections::VecDeque;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The version of I2CP that is spoken.
const VERSION: &str = "0.9.66";
/// The oldest routers that know CreateLeaseSet2 with X25519 keys.
const OLDEST: [u32; 3] = [0, 9, 46];
/// The type of X25519 keys.
const X25519: u16 = 4;
/// How long the answers to GetDate and CreateSession may take; Java's router waits for tunnels first.
const ANSWER_TIME: Duration = Duration::from_secs(180);
/// Pauses between tries to connect grow from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Time for the last packets of streams to be signed and sent; and for those of streams that have not ended by then.
const STREAMS_END: Duration = Duration::from_secs(1);
const STREAMS_ABORTED: Duration = Duration::from_millis(500);
/// The router's clock counts where it is further away from ours than this.
const CLOCK_DIFFERENCE_MS: i64 = 500;
/// SYNs whose fate the router may tell.
pub(super) const NONCES: usize = 256;

/// Why a connection is given up; each is the router's word or fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It ends the connection, and says why.
    #[error("the router ends the session: {0}")]
    Disconnected(String),
    /// It does not make the session, or ends it.
    #[error("the router refuses the session")]
    Refused,
    /// It does not answer in time.
    #[error("the router does not answer")]
    Silent,
    /// It knows no LeaseSets with X25519 keys.
    #[error("the router is too old")]
    TooOld,
    /// A message that makes no sense there.
    #[error("the router sent what makes no sense there")]
    Unexpected,
}

/// How far a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The router is not reached, or has not made the session.
    Connecting,
    /// The router builds tunnels.
    Tunnels,
    /// The LeaseSet is signed.
    Ready,
}

/// A destination, as far as it can be seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub stage: Stage,
    /// Inbound tunnels that the LeaseSet names. Of the outbound ones the router does not tell.
    pub leases: usize,
    /// Why it is not further, in words for a person.
    pub trouble: Option<String>,
    pub streams: usize,
    /// Payload bytes that came and went.
    pub bytes: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between two tries.
    Away,
    Dialing,
    /// GetDate was sent.
    Greeting,
    /// CreateSession was sent.
    Creating,
    /// A session without a LeaseSet.
    Bare(SessionId),
    Open(SessionId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Dial,
    Answer,
    Sign,
    Lookup(Hash),
    End,
}

/// One destination; see the module.
pub(super) struct Session {
    pub(super) id: DestinationId,
    pub(super) hash: Hash,
    keys: PrivateKeys,
    secret: SecretKey,
    publish: bool,
    pub(super) compress: bool,
    tunnels: PoolConfig,
    extra_hops: (usize, usize),
    login: Option<Arc<Login>>,
    state: State,
    failures: u32,
    trouble: Option<String>,
    own: OwnLeaseSet,
    leases: usize,
    /// The LeaseSet that is being signed is for an earlier session.
    is_stale: bool,
    pub(super) datagrams: Datagrams,
    pub(super) streams: Streams,
    pub(super) programs: Programs,
    pub(super) peers: Peers,
    /// SYNs by the numbers that the router gives back: whom they are for.
    pub(super) nonces: VecDeque<(u32, Hash)>,
    pub(super) last_nonce: u32,
    offset_ms: i64,
    closing: bool,
    over: bool,
    pub(super) timers: Timers<Timer>,
    pub(super) out: VecDeque<Output>,
    pub(super) bytes: (u64, u64),
    /// Payloads to the destination itself.
    pub(super) loops: VecDeque<ramson_wire::datagram::ClientPayload>,
}

impl Session {
    pub(super) fn new(
        now: Now,
        id: DestinationId,
        options: LocalOptions,
        login: Option<Arc<Login>>,
        mut rng: Rng,
    ) -> Self {
        let LocalOptions { keys, publish, tunnels, compress, extra_hops } = options;
        let secret = SecretKey::random(&mut rng);
        let streams = Streams::new(now, stream::Local::of(&keys), stream::Config::default(), rng.child("streams"));
        let mut session = Self {
            id,
            hash: keys.destination().hash(),
            own: OwnLeaseSet::new(keys.clone(), secret.public_key(), publish),
            datagrams: Datagrams::new(&keys, &mut rng.child("datagrams")),
            keys,
            secret,
            publish,
            compress,
            tunnels,
            extra_hops,
            login,
            state: State::Away,
            failures: 0,
            trouble: None,
            leases: 0,
            is_stale: false,
            streams,
            programs: Programs::new(id),
            peers: Peers::default(),
            nonces: VecDeque::new(),
            last_nonce: 0,
            offset_ms: 0,
            closing: false,
            over: false,
            timers: Timers::default(),
            out: VecDeque::new(),
            bytes: (0, 0),
            loops: VecDeque::new(),
        };
        session.dial();
        session
    }

    pub(super) fn view(&self) -> View {
        let stage = match self.state {
            State::Away | State::Dialing | State::Greeting | State::Creating => Stage::Connecting,
            State::Bare(_) => Stage::Tunnels,
            State::Open(_) => Stage::Ready,
        };
        let (trouble, streams) = (self.trouble.clone(), self.streams.len());
        View { stage, leases: self.leases, trouble, streams, bytes: self.bytes }
    }

    pub(super) const fn is_closing(&self) -> bool {
        self.closing
    }

    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// The session by which messages go, once its LeaseSet is signed.
    pub(super) const fn open(&self) -> Option<SessionId> {
        match self.state {
            State::Open(session) => Some(session),
            _ => None,
        }
    }

    pub(super) const fn destination(&self) -> &ramson_wire::data::Destination {
        self.keys.destination()
    }

    /// The router's time.
    pub(super) const fn time(&self, now: Now) -> Now {
        Now::new(now.mono, now.unix_ms.saturating_add_signed(self.offset_ms))
    }

    pub(super) fn say(&mut self, message: Message) {
        self.out.push_back(Output::Write(self.id, Box::new(message)));
    }

    fn dial(&mut self) {
        self.state = State::Dialing;
        self.out.push_back(Output::Dial(self.id));
    }

    pub(super) fn handle_opened(&mut self, now: Now) {
        if self.state != State::Dialing || self.over {
            return;
        }
        self.state = State::Greeting;
        self.timers.set(Timer::Answer, now.mono + ANSWER_TIME);
        let authentication = self.login.as_ref().and_then(|login| {
            Mapping::from_pairs([("i2cp.username", login.user.as_str()), ("i2cp.password", login.password.as_str())])
                .ok()
        });
        self.say(Message::GetDate(GetDate { version: VERSION.into(), authentication }));
    }

    pub(super) fn handle_closed(&mut self, now: Now, why: &str) {
        if matches!(self.state, State::Away) || self.over {
            return;
        }
        if self.closing {
            self.over = true;
            return;
        }
        self.trouble = Some(why.to_owned());
        self.lose(now);
    }

    /// The connection is no more; another one is tried later.
    fn lose(&mut self, now: Now) {
        self.state = State::Away;
        self.leases = 0;
        self.is_stale = true;
        self.own.renew();
        self.own.set_leases(now, Vec::new());
        self.peers.lose_questions();
        self.nonces.clear();
        self.streams.note_unreached(now);
        self.timers.cancel(&Timer::Answer);
        self.timers.cancel(&Timer::Sign);
        let pause = RETRY.0.saturating_mul(1 << self.failures.min(10)).min(RETRY.1);
        self.failures = self.failures.saturating_add(1);
        self.timers.set(Timer::Dial, now.mono + pause);
    }

    fn give_up(&mut self, now: Now, fault: Fault) -> Fault {
        self.trouble = Some(fault.to_string());
        self.out.push_back(Output::HangUp(self.id));
        if self.closing {
            self.over = true;
        } else {
            self.lose(now);
        }
        fault
    }

    pub(super) fn handle_message(&mut self, now: Now, message: Message) -> Result<(), Fault> {
        let session = match self.state {
            // What comes after we have hung up is of a connection that is gone.
            State::Away | State::Dialing => return Ok(()),
            State::Greeting | State::Creating => None,
            State::Bare(session) | State::Open(session) => Some(session),
        };
        let fault = match (message, session) {
            (Message::Disconnect(why), _) => Fault::Disconnected(why.chars().filter(|c| !c.is_control()).collect()),
            (Message::SetDate(date), _) => {
                let ours = i64::try_from(now.unix_ms).unwrap_or(i64::MAX);
                let offset = i64::try_from(date.date).unwrap_or(i64::MAX).saturating_sub(ours);
                self.offset_ms = if offset.abs() > CLOCK_DIFFERENCE_MS { offset } else { 0 };
                if self.state != State::Greeting {
                    return Ok(());
                }
                if is_too_old(&date.version) {
                    Fault::TooOld
                } else {
                    self.create(now);
                    return Ok(());
                }
            }
            (Message::SessionStatus(status), None) => match (self.state, status.state) {
                (State::Creating, SessionState::CREATED) => {
                    self.state = State::Bare(status.session);
                    self.timers.cancel(&Timer::Answer);
                    return Ok(());
                }
                (State::Creating, _) => Fault::Refused,
                _ => Fault::Unexpected,
            },
            (Message::SessionStatus(status), Some(session)) => {
                let ends = [SessionState::DESTROYED, SessionState::INVALID, SessionState::REFUSED];
                if status.session != session || !ends.contains(&status.state) {
                    return Ok(());
                }
                Fault::Refused
            }
            (Message::RequestVariableLeaseSet(request), Some(session)) if request.session == session => {
                self.leases_offered(now, &request.leases);
                return Ok(());
            }
            (Message::MessagePayload(payload), Some(session)) if payload.session == session => {
                self.payload_came(self.time(now), &payload.payload);
                return Ok(());
            }
            (Message::MessageStatus(status), Some(session)) if status.session == session => {
                self.status_came(now, status.nonce, status.status);
                return Ok(());
            }
            (Message::HostReply(reply), Some(_)) => {
                self.host_reply(now, reply);
                return Ok(());
            }
            // Of another session than ours, of a question that was not asked, or of no use here.
            (
                Message::BandwidthLimits(_)
                | Message::DestReply(_)
                | Message::RequestVariableLeaseSet(_)
                | Message::MessagePayload(_)
                | Message::MessageStatus(_)
                | Message::HostReply(_),
                _,
            ) => return Ok(()),
            // What programs say, and routers do not.
            _ => Fault::Unexpected,
        };
        Err(self.give_up(now, fault))
    }

    /// CreateSession. It is signed here: once for a connection, and by no message of a peer.
    fn create(&mut self, now: Now) {
        self.state = State::Creating;
        self.timers.set(Timer::Answer, now.mono + ANSWER_TIME);
        let date = self.time(now).unix_ms;
        let options = self.options();
        let config = SessionConfig::sign(self.keys.destination().clone(), options, date, self.keys.signing_key());
        self.say(Message::CreateSession(config));
    }

    fn options(&self) -> Mapping {
        let (inbound, outbound) = (self.tunnels.inbound, self.tunnels.outbound);
        let mut pairs = vec![
            ("i2cp.fastReceive", "true".into()),
            ("i2cp.leaseSetEncType", X25519.to_string()),
            ("i2cp.leaseSetType", "3".into()),
            ("i2cp.messageReliability", "none".into()),
            ("inbound.length", inbound.length.to_string()),
            ("inbound.lengthVariance", self.extra_hops.0.to_string()),
            ("inbound.quantity", inbound.quantity.to_string()),
            ("outbound.length", outbound.length.to_string()),
            ("outbound.lengthVariance", self.extra_hops.1.to_string()),
            ("outbound.quantity", outbound.quantity.to_string()),
        ];
        // Where it is false, i2pd (2.59) reads it as not to be published.
        if !self.publish {
            pairs.push(("i2cp.dontPublishLeaseSet", "true".into()));
        }
        if let Some(permit) = self.keys.offline() {
            let mut bytes = Vec::new();
            permit.encode(&mut bytes);
            // Behind time, type and key.
            let signature = bytes.get(6 + permit.transient.bytes().len()..).unwrap_or_default();
            let key = format!("{}:{}", permit.transient.kind().code(), base64::encode(permit.transient.bytes()));
            pairs.push(("i2cp.leaseSetOfflineExpiration", permit.expires.to_string()));
            pairs.push(("i2cp.leaseSetOfflineSignature", base64::encode(signature)));
            pairs.push(("i2cp.leaseSetTransientPublicKey", key));
        }
        // They are few and short.
        Mapping::from_pairs(pairs.iter().map(|(key, value)| (*key, value.as_str()))).unwrap_or_default()
    }

    /// RequestVariableLeaseSet: also for leases that are signed already, since the router has no LeaseSet of them, or an
    /// old one.
    fn leases_offered(&mut self, now: Now, leases: &[Lease]) {
        let seconds = |lease: &Lease| Lease2 {
            gateway: lease.gateway,
            tunnel_id: lease.tunnel_id,
            end: u32::try_from(lease.end / 1_000).unwrap_or(u32::MAX),
        };
        let time = self.time(now);
        self.own.renew();
        self.own.set_leases(time, leases.iter().map(seconds).collect());
        self.sign(now);
    }

    fn sign(&mut self, now: Now) {
        match self.own.next_job(self.time(now)) {
            Ok(job) => {
                self.is_stale = false;
                self.out.push_back(Output::Job(Job::Destination(self.id, DestinationJob::Sign(job))));
            }
            Err(Some(at)) => self.timers.set(Timer::Sign, at),
            Err(None) => {}
        }
    }

    /// A LeaseSet is signed: the router gets it with the private part of its key.
    pub(super) fn signed(&mut self, now: Now, done: SignDone) {
        let signed = self.own.handle_signed(done);
        let (State::Bare(session) | State::Open(session)) = self.state else { return };
        if !std::mem::take(&mut self.is_stale)
            && let Ok((set, _)) = signed
        {
            let was_open = self.open().is_some();
            self.leases = set.leases().len();
            let bytes = Zeroizing::new(self.secret.as_bytes().to_vec());
            let keys = vec![LeaseSetKey { kind: X25519, bytes }];
            self.say(Message::CreateLeaseSet2(CreateLeaseSet2 { session, set: AnyLeaseSet::V2(set), keys }));
            self.state = State::Open(session);
            if !was_open {
                self.opened(now);
            }
        }
        self.sign(now);
    }

    /// From now on messages go out.
    fn opened(&mut self, now: Now) {
        self.failures = 0;
        self.trouble = None;
        self.ask_again(now);
        // Peers of streams that have outlived a router write to tunnels that are gone.
        self.streams.tell_peers(now);
    }

    /// The program closes the destination.
    pub(super) fn close(&mut self, now: Now) {
        if self.closing {
            return;
        }
        self.closing = true;
        self.timers.cancel(&Timer::Dial);
        let told = self.programs.end_all(now, &mut self.streams);
        let wait = if told && self.open().is_some() { STREAMS_END } else { Duration::ZERO };
        self.timers.set(Timer::End, now.mono + wait);
    }

    fn end(&mut self) {
        if let State::Bare(session) | State::Open(session) = self.state {
            self.say(Message::DestroySession(session));
        }
        if !matches!(self.state, State::Away) {
            self.out.push_back(Output::HangUp(self.id));
        }
        self.over = true;
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.streams.next_timeout()].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Dial => self.dial(),
                Timer::Answer => drop(self.give_up(now, Fault::Silent)),
                Timer::Sign => self.sign(now),
                Timer::Lookup(hash) => self.not_found(now, &hash),
                Timer::End if self.streams.abort_all(now) && self.open().is_some() => {
                    self.timers.set(Timer::End, now.mono + STREAMS_ABORTED);
                }
                Timer::End => self.end(),
            }
        }
        self.streams.handle_timeout(self.time(now));
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn check(&self) {
        self.streams.check();
        self.programs.check();
        self.peers.check();
        assert!(self.nonces.len() <= NONCES && self.loops.is_empty());
        assert!(
            self.peers.waiting.keys().all(|hash| self.timers.get(&Timer::Lookup(*hash)).is_some()),
            "nothing waits for ever"
        );
        let dials = self.timers.get(&Timer::Dial).is_some();
        assert!(self.over || self.closing || dials == (self.state == State::Away), "who is away comes back");
    }
}

/// Whether a router says that it is older than [`OLDEST`]. One that says nothing that can be read is not asked further.
fn is_too_old(version: &str) -> bool {
    if version.is_empty() {
        return true;
    }
    let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    !parts.is_empty() && parts.as_slice() < OLDEST.as_slice()
}
