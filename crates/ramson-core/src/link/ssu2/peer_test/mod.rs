//! Peer tests: whether a router can be reached by one that it has never sent anything to.
//! <https://geti2p.net/spec/ssu2#peer-test-process>
//!
//! Alice asks Bob in a session (message 1), Bob asks Charlie in another (2), Charlie agrees (3) and Bob says so (4). Then
//! Charlie sends to Alice out of the blue (5); she sends to him (6), and he says what her address looks like (7). Messages
//! 5 to 7 stand outside of all sessions, and nothing but knowing the nonce vouches for them.
//!
//! One machine plays all three roles. It has no sessions, keys or RouterInfos: what it needs of those it asks for
//! ([`Event`]), and is told by `handle_*`.

mod alice;
mod bob;
mod charlie;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod job;
mod message;
#[cfg(test)]
mod tests;

pub(crate) use alice::{TestResult, Verdict};
pub use job::{TestDone, TestJob};
pub use message::{Message, Outside};

use crate::bucket::{Bucket, PeerBuckets};
use crate::limits::peer_test as limits;
use crate::link::address::{AddressRules, Origin};
use crate::rng::Rng;
use crate::seen::Seen;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use alice::Alice;
use bob::Bob;
use charlie::Charlie;
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::ssu2::ConnectionId;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Clocks of a message and ours may differ by so much; the specification's figure.
const MAX_SKEW_SECS: u32 = 120;
/// A RouterInfo that was sent along with a test is kept so long.
const INTRODUCED_FOR: Duration = Duration::from_secs(30);
/// A nonce is good for one test in this time.
const NONCE_AGE: Duration = Duration::from_secs(10 * 60);
/// No message names a lower port: nobody shall aim us at a service.
const LEAST_PORT: u16 = 1024;

/// The codes of messages 3 and 4.
mod code {
    pub(super) const ACCEPT: u8 = 0;
    pub(super) const BOB_UNSPECIFIED: u8 = 1;
    pub(super) const BOB_NO_CHARLIE: u8 = 2;
    pub(super) const BOB_LIMIT: u8 = 3;
    pub(super) const BOB_SIGNATURE: u8 = 4;
    pub(crate) const BOB_ADDRESS: u8 = 5;
    pub(super) const CHARLIE_UNSPECIFIED: u8 = 64;
    pub(super) const CHARLIE_ADDRESS: u8 = 65;
    pub(super) const CHARLIE_LIMIT: u8 = 66;
    pub(super) const CHARLIE_SIGNATURE: u8 = 67;
    pub(super) const CHARLIE_CONNECTED: u8 = 68;
    pub(super) const CHARLIE_UNKNOWN: u8 = 70;
}

pub(crate) use code::BOB_ADDRESS;

/// What a router is in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Alice,
    Bob,
    Charlie,
}

/// What the machine is and may do.
pub(crate) struct TestConfig {
    /// Our identity hash.
    pub(crate) own: Hash,
    pub(crate) addresses: AddressRules,
}

/// What the machine asks for.
#[derive(Debug)]
pub(crate) enum Event {
    /// This block goes to a peer in its session over UDP, and `about` goes ahead of it.
    Block { to: Hash, about: Option<Arc<RouterInfo>>, block: Vec<u8> },
    /// These blocks go out in a PeerTest message under this introduction key. `ids` are those of destination and source.
    Outside { to: SocketAddr, key: [u8; 32], ids: (ConnectionId, ConnectionId), blocks: Vec<u8> },
    /// Answered with [`PeerTests::handle_job`].
    Job(TestJob),
    /// Answered with [`PeerTests::handle_found`]: what is known of this router, and whether it was spoken to of late, at this
    /// address or over UDP at another.
    Find { role: Role, nonce: u32, router: Hash, ip: Option<IpAddr> },
    /// Answered with [`PeerTests::handle_chosen`], and again once a session stands if that is [`Choice::Soon`]: a peer with a
    /// session over UDP that takes part in tests of this family, and is none of `without` nor near `ip`.
    Choose { nonce: u32, v4: bool, without: Vec<Hash>, ip: IpAddr },
    /// A test of ours is over.
    Done(TestResult),
}

/// Who is Charlie for a test that we are Bob in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Charlie(Hash),
    /// Some that might be are being dialled.
    Soon,
    Nobody,
}

/// What is known of a router in a test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Verified.
    pub(crate) info: Option<Arc<RouterInfo>>,
    /// We have, or had of late, a session over UDP with it or its address, so that a translator lets it in.
    pub(crate) spoken_to: bool,
}

/// Counters for the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestStats {
    /// Tests that we took part in as Bob and as Charlie.
    pub as_bob: u64,
    pub as_charlie: u64,
    /// Those that we refused.
    pub refused: u64,
}

/// A RouterInfo that a peer has sent of another router.
struct Introduced {
    at: Instant,
    from: Hash,
    info: Arc<RouterInfo>,
}

impl Introduced {
    fn is_young(&self, now: Now) -> bool {
        now.mono.since(self.at) < INTRODUCED_FOR
    }
}

/// All tests that we take part in.
pub(crate) struct PeerTests {
    config: TestConfig,
    /// By which families we take part for others: IPv4, IPv6.
    serves: (bool, bool),
    rng: Rng,
    alice: BTreeMap<u32, Alice>,
    bob: BTreeMap<u32, Bob>,
    charlie: BTreeMap<u32, Charlie>,
    /// Roles, peers and nonces that were dealt with.
    nonces: Seen,
    /// What peers with sessions may ask of us, together and each.
    all: Bucket,
    each: PeerBuckets,
    /// Addresses that we were made to send to, and when.
    aimed_at: BTreeMap<Origin, Instant>,
    /// RouterInfos that came with messages 2 and 4, and from whom. Not verified.
    introduced: VecDeque<Introduced>,
    timers: Timers<(Role, u32)>,
    events: VecDeque<Event>,
    stats: TestStats,
}

impl PeerTests {
    pub(crate) fn new(now: Now, config: TestConfig, mut rng: Rng) -> Self {
        Self {
            config,
            serves: (false, false),
            nonces: Seen::new(limits::NONCES, NONCE_AGE, &mut rng),
            rng,
            alice: BTreeMap::new(),
            bob: BTreeMap::new(),
            charlie: BTreeMap::new(),
            all: Bucket::new(limits::REQUESTS, now.mono),
            each: PeerBuckets::new(limits::REQUESTS_OF_PEER, limits::PEERS),
            aimed_at: BTreeMap::new(),
            introduced: VecDeque::new(),
            timers: Timers::default(),
            events: VecDeque::new(),
            stats: TestStats::default(),
        }
    }

    /// By which families we take part in the tests of others, from now on.
    pub(crate) const fn set_serves(&mut self, v4: bool, v6: bool) {
        self.serves = (v4, v6);
    }

    const fn serves(&self, v4: bool) -> bool {
        if v4 { self.serves.0 } else { self.serves.1 }
    }

    pub(crate) const fn stats(&self) -> TestStats {
        self.stats
    }

    /// The next event. Call until `None` after every other call.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn handle_timeout(&mut self, now: Now) {
        while let Some((role, nonce)) = self.timers.pop_due(now.mono) {
            match role {
                Role::Alice => self.alice_timeout(now, nonce),
                Role::Bob => self.bob_timeout(nonce),
                Role::Charlie => self.charlie_timeout(now, nonce),
            }
        }
    }

    /// A PeerTest block of a session, whose peer is at this address.
    pub(crate) fn handle_message(&mut self, now: Now, from: Hash, addr: SocketAddr, message: Message) {
        if message.version != ramson_wire::ssu2::VERSION {
            return;
        }
        match message.number {
            1 => self.asked_by_alice(now, from, addr, message),
            2 => self.asked_by_bob(now, from, message),
            3 => self.answered_by_charlie(from, &message),
            4 => self.answered_by_bob(now, from, message),
            // Those come outside of sessions only.
            _ => {}
        }
    }

    /// A PeerTest message from this address, outside of all sessions.
    pub(crate) fn handle_outside(&mut self, now: Now, from: SocketAddr, outside: &Outside) {
        if !is_fresh(now, outside.timestamp) {
            return;
        }
        match outside.number {
            5 => self.greeted_by_charlie(now, from, outside.nonce),
            6 => self.greeted_by_alice(now, from, outside.nonce),
            7 => self.told_by_charlie(from, outside.nonce, outside.address),
            _ => {}
        }
    }

    /// A session over UDP with this router stands, whoever has begun it.
    pub(crate) fn handle_session(&mut self, now: Now, peer: &Hash) {
        self.alice_meets(peer);
        self.bob_meets();
        self.charlie_meets(now, peer);
    }

    /// A RouterInfo of another router, as a peer has sent it in a session: perhaps a test is about that router. It may
    /// come behind the test.
    pub(crate) fn handle_introduced(&mut self, now: Now, from: Hash, info: &Arc<RouterInfo>) {
        let hash = info.hash();
        self.introduced.retain(|known| known.is_young(now) && !(known.from == from && known.info.hash() == hash));
        // Whoever sends many takes his own room.
        let of_peer = self.introduced.iter().filter(|known| known.from == from).count();
        let full = self.introduced.len() >= limits::INTRODUCED;
        if of_peer >= limits::INTRODUCED_BY_PEER || full {
            let oldest = self.introduced.iter().position(|known| full && of_peer == 0 || known.from == from);
            self.introduced.remove(oldest.unwrap_or(0));
        }
        self.introduced.push_back(Introduced { at: now.mono, from, info: Arc::clone(info) });
        self.alice_learns(&from, info);
        self.charlie_learns(now, &from, info);
    }

    /// What was sent along with a test.
    fn introduced(&self, now: Now, from: &Hash, router: &Hash) -> Option<Arc<RouterInfo>> {
        let sought = |known: &&Introduced| known.from == *from && known.info.hash() == *router && known.is_young(now);
        self.introduced.iter().find(sought).map(|known| Arc::clone(&known.info))
    }

    /// The answer to [`Event::Find`].
    pub(crate) fn handle_found(&mut self, now: Now, role: Role, nonce: u32, found: Found) {
        match role {
            Role::Alice => self.alice_found(now, nonce, found),
            Role::Bob => self.bob_found(nonce, found),
            Role::Charlie => self.charlie_found(now, nonce, found),
        }
    }

    /// The answer to [`Event::Choose`].
    pub(crate) fn handle_chosen(&mut self, now: Now, nonce: u32, choice: Choice) {
        self.bob_chosen(now, nonce, choice);
    }

    pub(crate) fn handle_job(&mut self, now: Now, done: &TestDone) {
        match done.role {
            Role::Alice => self.alice_job(now, done),
            Role::Bob => self.bob_job(done),
            Role::Charlie => self.charlie_job(now, done),
        }
    }

    /// Whether this peer may ask for one more test.
    fn admits(&mut self, now: Now, peer: Hash) -> bool {
        self.each.take(now.mono, peer) && self.all.take(now.mono)
    }

    /// Whether a message of a test is the first with this nonce of this peer.
    fn is_new(&mut self, now: Now, role: Role, peer: &Hash, nonce: u32) -> bool {
        let role = [role as u8];
        self.nonces.insert(now.mono, &[&role[..], peer.as_bytes(), &nonce.to_be_bytes()].concat())
    }

    /// Sends a block to a peer in its session.
    fn say(&mut self, to: Hash, about: Option<Arc<RouterInfo>>, block: Vec<u8>) {
        self.events.push_back(Event::Block { to, about, block });
    }

    /// Tests of all roles that are under way.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(crate) fn len(&self) -> usize {
        self.alice.len() + self.bob.len() + self.charlie.len()
    }

    /// What must hold between two calls.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(crate) fn check(&self) {
        assert!(self.alice.len() <= limits::OWN && self.bob.len() <= limits::AS_BOB);
        assert!(self.charlie.len() <= limits::AS_CHARLIE && self.aimed_at.len() <= limits::TARGETS);
        assert!(self.introduced.len() <= limits::INTRODUCED && self.each.len() <= limits::PEERS);
        assert_eq!(self.timers.len(), self.len(), "every test has its timer");
    }
}

/// Seconds since 1970, rounded as the specification asks.
fn clock(now: Now) -> u32 {
    u32::try_from((now.unix_ms + 500) / 1000).unwrap_or(u32::MAX)
}

fn is_fresh(now: Now, timestamp: u32) -> bool {
    clock(now).abs_diff(timestamp) <= MAX_SKEW_SECS
}

/// Whether two addresses belong to one host as far as a test goes: the same of IPv4, one /64 of IPv6.
fn is_same_host(one: IpAddr, other: IpAddr) -> bool {
    Origin::from(one) == Origin::from(other)
}
