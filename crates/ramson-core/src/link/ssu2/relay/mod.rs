//! Introductions: how a router behind a translator is reached. <https://geti2p.net/spec/ssu2#relay-process>
//!
//! Three roles, and a router may have all of them at once: Alice dials Charlie, who cannot be dialled, and asks Bob, with
//! whom Charlie has a session (`alice.rs`); Bob gives Charlie a tag, and passes on what both have signed (`bob.rs`);
//! Charlie answers by Bob, and by a HolePunch to where Alice is, which opens his translator for her (`charlie.rs`).
//!
//! What is here knows no sockets and no sessions: blocks and signed answers come in, blocks, datagrams and wishes come
//! out. Public-key work is a `RelayJob`. The links drive it: `handle_*`, then `poll_event` until it is empty;
//! `next_timeout` says when `handle_timeout` is due.

mod alice;
mod bob;
mod charlie;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod introducers;
mod job;
#[cfg(test)]
mod tests;

pub use introducers::Introduced;
pub(crate) use job::{RelayDone, RelayJob};

use crate::bucket::{Bucket, Buckets, PeerBuckets};
use crate::limits::relay as limits;
use crate::link::ConnId;
use crate::link::address::{AddressRules, Prefix};
use crate::rng::Rng;
use crate::seen::Seen;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use alice::Attempt;
use bob::{Forward, Tag};
use charlie::{Held, Intro};
use introducers::Mine;
use job::{Check, Signature};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::ssu2::{RelayResponse, Signed};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// How long Bob waits for Charlie's answer. i2pd has the same.
const FORWARD: Duration = Duration::from_secs(10);
/// A request, or an answer, may be that much older or younger than our clock says.
const MAX_SKEW_SECS: u32 = 60;

/// Why somebody is not introduced. Up to 63 it is Bob who says so, from 64 on Charlie.
pub(crate) mod code {
    pub(crate) const ACCEPT: u8 = 0;
    pub(crate) const BOB_UNSPECIFIED: u8 = 1;
    pub(crate) const BOB_LIMIT: u8 = 3;
    pub(crate) const BOB_SIGNATURE: u8 = 4;
    pub(crate) const BOB_NO_TAG: u8 = 5;
    pub(crate) const BOB_NO_ALICE: u8 = 6;
    pub(crate) const CHARLIE_UNSPECIFIED: u8 = 64;
    pub(crate) const CHARLIE_ADDRESS: u8 = 65;
    pub(crate) const CHARLIE_LIMIT: u8 = 66;
    pub(crate) const CHARLIE_SIGNATURE: u8 = 67;
    pub(crate) const CHARLIE_NO_ALICE: u8 = 70;
}

/// Who we are.
pub(crate) struct RelayConfig {
    pub(crate) network_id: u8,
    pub(crate) router: Hash,
    pub(crate) addresses: AddressRules,
    pub(crate) signing: Arc<SigningKey>,
}

/// A session with another router, as the links have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) conn: ConnId,
    pub(crate) router: Hash,
    /// Where it is.
    pub(crate) addr: SocketAddr,
}

/// What the links are told.
pub(crate) enum Event {
    /// These blocks go out in one packet.
    Blocks {
        conn: ConnId,
        blocks: Vec<u8>,
    },
    /// This RouterInfo goes to Charlie before the blocks: it does not fit beside them.
    Store {
        conn: ConnId,
        info: Arc<RouterInfo>,
    },
    /// A HolePunch to this router, which will dial us soon.
    Punch {
        alice: Hash,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Job(ConnId, RelayJob),
    /// A session over UDP with this router is wanted: to be answered with `handle_session` or `handle_no_session`.
    Reach {
        router: Hash,
    },
    /// The RouterInfo of this router is wanted: to be answered with `handle_info`.
    Info {
        router: Hash,
    },
    /// Charlie can be dialled there with this token.
    Dial {
        id: ConnId,
        addr: SocketAddr,
        token: u64,
    },
    /// Charlie is seen there instead.
    Redirect {
        id: ConnId,
        addr: SocketAddr,
    },
    /// Nobody introduces us to this one.
    Failed {
        id: ConnId,
    },
    /// More routers are wanted that introduce us by this family.
    Want {
        v4: bool,
    },
    /// Others introduce us than before.
    Changed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The next introducer is asked, or all is over.
    Alice(ConnId),
    /// Charlie has not answered.
    Forward((ConnId, u32)),
    /// Alice's RouterInfo has not come.
    Intro((ConnId, u32)),
    /// Something goes to an introducer so that translators keep the way open.
    KeepAlive(ConnId),
    /// Whether there are enough introducers.
    Tend,
}

/// What waits for a job.
enum Work {
    Request {
        id: ConnId,
        nonce: u32,
        bytes: Vec<u8>,
    },
    Response {
        id: ConnId,
        nonce: u32,
    },
    Forward((ConnId, u32)),
    /// Bob rejects: to whom, with which code, and what is signed.
    Rejection {
        alice: ConnId,
        code: u8,
        bytes: Vec<u8>,
    },
    Intro((ConnId, u32)),
}

/// Jobs that are out, at most; what is beyond waits for nothing and is dropped.
type Jobs = BTreeMap<u64, (Instant, Work)>;

/// Introductions in all three roles.
pub(crate) struct Relay {
    config: RelayConfig,
    rng: Rng,
    /// By which families nobody can dial us.
    firewalled: Families,
    /// Where we are by IPv4 and by IPv6, as peers have agreed: no peer's word alone counts, since others send there (T66).
    own: [Option<SocketAddr>; 2],
    // Alice.
    attempts: BTreeMap<ConnId, Attempt>,
    /// Whose a nonce is.
    nonces: BTreeMap<u32, ConnId>,
    // Bob.
    tags: BTreeMap<u32, Tag>,
    forwards: BTreeMap<(ConnId, u32), Forward>,
    requests: Bucket,
    requests_of: PeerBuckets,
    requests_from: Buckets<Prefix>,
    rejections: Bucket,
    // Charlie.
    mine: BTreeMap<ConnId, Mine>,
    /// Sessions in which we have asked for a tag.
    asked: BTreeSet<ConnId>,
    held: VecDeque<Held>,
    intros: BTreeMap<(ConnId, u32), Intro>,
    intros_all: Bucket,
    intros_of: PeerBuckets,
    punches_to: Buckets<Prefix>,
    replays: Seen,
    // All.
    jobs: Jobs,
    next_job: u64,
    timers: Timers<Timer>,
    events: VecDeque<Event>,
}

/// Something for each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    const fn has(self, v4: bool) -> bool {
        if v4 { self.v4 } else { self.v6 }
    }
}

impl Relay {
    pub(crate) fn new(config: RelayConfig, mut rng: Rng) -> Self {
        let replays = Seen::new(limits::NONCES, limits::NONCES_GENERATION, &mut rng);
        let bucket = |rate| Bucket::new(rate, Instant::ZERO);
        Self {
            config,
            firewalled: Families::default(),
            own: [None; 2],
            attempts: BTreeMap::new(),
            nonces: BTreeMap::new(),
            tags: BTreeMap::new(),
            forwards: BTreeMap::new(),
            requests: bucket(limits::REQUESTS),
            requests_of: Buckets::new(limits::REQUESTS_PER_PEER, limits::COUNTED),
            requests_from: Buckets::new(limits::REQUESTS_PER_PREFIX, limits::COUNTED),
            rejections: bucket(limits::REJECTIONS),
            mine: BTreeMap::new(),
            asked: BTreeSet::new(),
            held: VecDeque::new(),
            intros: BTreeMap::new(),
            intros_all: bucket(limits::INTROS),
            intros_of: Buckets::new(limits::INTROS_PER_PEER, limits::COUNTED),
            punches_to: Buckets::new(limits::PUNCHES_PER_PREFIX, limits::COUNTED),
            replays,
            jobs: BTreeMap::new(),
            next_job: 0,
            timers: Timers::default(),
            events: VecDeque::new(),
            rng,
        }
    }

    /// Where we are by this family from now on, as far as it is known.
    pub(crate) fn set_own_address(&mut self, v4: bool, addr: Option<SocketAddr>) {
        let [four, six] = &mut self.own;
        *(if v4 { four } else { six }) = addr.filter(|addr| addr.is_ipv4() == v4 && self.config.addresses.allows(addr));
    }

    /// Where we are by this family: what others are told. Without it nobody can introduce us, and nobody is introduced to us.
    pub(crate) const fn own_address(&self, v4: bool) -> Option<SocketAddr> {
        let [four, six] = self.own;
        if v4 { four } else { six }
    }

    /// The next event. Call until `None` after every other call.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Alice(id) => self.next_way(now, id),
                Timer::Forward(key) => {
                    self.forwards.remove(&key);
                }
                Timer::Intro(key) => self.intro_without_info(now, key),
                Timer::KeepAlive(conn) => self.keep_alive(now, conn),
                Timer::Tend => self.tend(now),
            }
        }
    }

    /// A job is done.
    pub(crate) fn handle_job(&mut self, now: Now, done: RelayDone) {
        let Some((_, work)) = self.jobs.remove(&done.token) else { return };
        match work {
            Work::Request { id, nonce, bytes } => self.request_signed(now, id, nonce, &bytes, done.signature),
            Work::Response { id, nonce } => self.response_checked(now, id, nonce, done.good),
            Work::Forward(key) => self.request_checked(now, key, done.good),
            Work::Rejection { alice, code, bytes } => {
                let Some(signature) = done.signature else { return };
                let mut blocks = Vec::new();
                let signed = Signed { bytes: &bytes, signature: &signature };
                RelayResponse::encode(&mut blocks, code, &signed, None);
                self.events.push_back(Event::Blocks { conn: alice, blocks });
            }
            Work::Intro(key) => self.intro_checked(now, key, &done),
        }
    }

    /// What was asked for by [`Event::Info`]: `None` where nobody knows this router now.
    pub(crate) fn handle_info(&mut self, now: Now, router: &Hash, info: Option<&Arc<RouterInfo>>) {
        self.info_for_forwards(now, router, info);
        if let Some(info) = info {
            self.info_for_intros(now, router, info, true);
        }
    }

    /// Whether a RouterInfo of this router is waited for.
    pub(crate) fn awaits_info(&self, router: &Hash) -> bool {
        self.intros.values().any(|intro| intro.awaits(router))
    }

    /// A session is gone, whatever it was good for.
    pub(crate) fn handle_gone(&mut self, now: Now, conn: ConnId) {
        self.forget_tags(conn);
        self.forget_introducer(now, conn);
        self.way_gone(now, conn);
    }

    /// Has something checked and signed. False when too many jobs are out.
    fn work(&mut self, now: Now, work: Work, check: Option<Check>, signature: Signature) -> bool {
        if self.jobs.len() >= limits::JOBS {
            // A job may get lost: it has found no room, or has panicked.
            self.jobs.retain(|_, (since, _)| now.mono.since(*since) < FORWARD);
            if self.jobs.len() >= limits::JOBS {
                return false;
            }
        }
        let own = matches!(work, Work::Request { .. } | Work::Response { .. });
        let token = self.next_job;
        self.next_job += 1;
        self.jobs.insert(token, (now.mono, work));
        let key = Arc::clone(&self.config.signing);
        let job = RelayJob { token, check, signature, key };
        self.events.push_back(Event::Job(job_id(token, own), job));
        true
    }

    /// Sizes of what strangers fill, and that all of it holds together.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(crate) fn check(&self) {
        assert!(self.attempts.len() <= limits::ATTEMPTS && self.tags.len() <= limits::TAGS);
        assert!(self.forwards.len() <= limits::FORWARDS && self.intros.len() <= limits::INTROS_HELD);
        assert!(self.held.len() <= limits::INFOS && self.mine.len() <= limits::INTRODUCERS);
        assert!(self.jobs.len() <= limits::JOBS && self.asked.len() <= limits::ASKED);
        assert!(self.nonces.iter().all(|(nonce, id)| self.attempts[id].has(*nonce)), "a nonce is somebody's");
        for key in self.forwards.keys() {
            assert!(self.timers.get(&Timer::Forward(*key)).is_some(), "nothing waits for ever");
        }
        for id in self.attempts.keys() {
            assert!(self.timers.get(&Timer::Alice(*id)).is_some(), "no attempt lasts for ever");
        }
        for conn in self.mine.keys() {
            assert!(self.timers.get(&Timer::KeepAlive(*conn)).is_some());
        }
    }
}

/// The connection that a job is said to be of: none that there is, so that one that is lost takes no session along.
fn job_id(token: u64, own: bool) -> ConnId {
    const OF_RELAY: u64 = 1 << 61;
    let class = if own { 0 } else { ConnId::INBOUND };
    ConnId(class | ConnId::UDP | OF_RELAY | token & (OF_RELAY - 1))
}

/// Whether a timestamp in seconds is of now.
fn is_fresh(timestamp: u32, now: Now) -> bool {
    timestamp.abs_diff(now.unix_secs()) <= MAX_SKEW_SECS
}
