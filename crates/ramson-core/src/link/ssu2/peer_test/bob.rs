//! The role of Bob: he finds a Charlie for Alice, and carries their words.

use super::job::{TestDone, TestJob, Verify};
use super::message::{self, Message};
use super::{Choice, Event, Found, LEAST_PORT, PeerTests, Role, code, is_fresh, is_same_host};
use crate::limits::peer_test as limits;
use crate::time::{Duration, Now};
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::ssu2::PeerTest;
use std::net::SocketAddr;
use std::sync::Arc;

/// Charlie answers within this time. Alice waits a little longer.
const LIFETIME: Duration = Duration::from_secs(10);
/// A session with one who may be Charlie is waited for so long.
const SESSION: Duration = Duration::from_secs(4);

/// A test that a peer has asked for.
pub(super) struct Bob {
    alice: Hash,
    /// Where her session is.
    addr: SocketAddr,
    request: Message,
    /// Who was asked to be Charlie and has refused.
    refused: Vec<Hash>,
    state: State,
}

enum State {
    /// Nothing is known of Alice.
    AwaitInfo,
    /// Her signature is being verified.
    Verifying(Arc<RouterInfo>),
    /// A Charlie is being chosen.
    Choosing(Choosing),
    /// He has the request.
    AwaitCharlie(Hash, Arc<RouterInfo>),
    /// He has agreed: what is known of him goes to Alice ahead of this block.
    Answering(Vec<u8>),
}

struct Choosing {
    alice: Arc<RouterInfo>,
    /// What she is told if there is no other, once one has refused.
    refusal: Option<Vec<u8>>,
    /// A session is waited for.
    waits: bool,
}

impl PeerTests {
    /// Message 1. Who comes again with the same nonce has not heard us yet: the data phase repeats what was lost.
    pub(super) fn asked_by_alice(&mut self, now: Now, from: Hash, addr: SocketAddr, request: Message) {
        let nonce = request.nonce;
        if !self.is_new(now, Role::Bob, &from, nonce) || !self.admits(now, from) {
            return;
        }
        let tested = request.alice;
        let refuses = if !self.serves(addr.is_ipv4()) {
            Some(code::BOB_UNSPECIFIED)
        } else if self.bob.len() >= limits::AS_BOB || self.bob.contains_key(&nonce) {
            Some(code::BOB_LIMIT)
        } else if tested.is_ipv4() != addr.is_ipv4()
            || !is_same_host(tested.ip(), addr.ip())
            || tested.port() < LEAST_PORT
            || !self.config.addresses.allows(&tested)
        {
            Some(code::BOB_ADDRESS)
        } else if !is_fresh(now, request.timestamp) {
            Some(code::BOB_UNSPECIFIED)
        } else {
            None
        };
        if let Some(refusal) = refuses {
            return self.bob_refuses(from, &request, refusal);
        }
        self.bob.insert(nonce, Bob { alice: from, addr, request, refused: Vec::new(), state: State::AwaitInfo });
        self.timers.set((Role::Bob, nonce), now.mono + LIFETIME);
        self.events.push_back(Event::Find { role: Role::Bob, nonce, router: from, ip: None });
    }

    pub(super) fn bob_found(&mut self, nonce: u32, found: Found) {
        let Some(bob) = self.bob.get_mut(&nonce) else { return };
        match (&bob.state, found.info) {
            // She has a session, so she has shown who she is; but nothing can be told to Charlie.
            (State::AwaitInfo, None) => self.bob_ends(nonce, code::BOB_UNSPECIFIED),
            (State::AwaitInfo, Some(info)) => {
                let message = PeerTest::signed_message(&bob.request.signed, &self.config.own, None);
                let signature = bob.request.signature.clone();
                let verify = Some(Verify { by: Arc::clone(&info), known: true, message, signature });
                bob.state = State::Verifying(info);
                self.events.push_back(Event::Job(TestJob { role: Role::Bob, nonce, verify, sign: None }));
            }
            (State::Answering(block), info) => {
                let (alice, block) = (bob.alice, block.clone());
                self.bob.remove(&nonce);
                self.timers.cancel(&(Role::Bob, nonce));
                self.stats.as_bob += 1;
                self.say(alice, info, block);
            }
            _ => {}
        }
    }

    pub(super) fn bob_job(&mut self, done: &TestDone) {
        let nonce = done.nonce;
        let Some(bob) = self.bob.get_mut(&nonce) else { return };
        let State::Verifying(info) = &bob.state else { return };
        if !done.good {
            return self.bob_ends(nonce, code::BOB_SIGNATURE);
        }
        bob.state = State::Choosing(Choosing { alice: Arc::clone(info), refusal: None, waits: false });
        self.bob_chooses(nonce);
    }

    fn bob_chooses(&mut self, nonce: u32) {
        let Some(bob) = self.bob.get(&nonce) else { return };
        let without = bob.refused.iter().copied().chain([bob.alice]).collect();
        self.events.push_back(Event::Choose { nonce, v4: bob.addr.is_ipv4(), without, ip: bob.addr.ip() });
    }

    /// A session stands: perhaps with a Charlie who is waited for.
    pub(super) fn bob_meets(&mut self) {
        let waits = |bob: &Bob| matches!(&bob.state, State::Choosing(choosing) if choosing.waits);
        let waiting: Vec<u32> = self.bob.iter().filter(|(_, bob)| waits(bob)).map(|(nonce, _)| *nonce).collect();
        waiting.into_iter().for_each(|nonce| self.bob_chooses(nonce));
    }

    pub(super) fn bob_chosen(&mut self, now: Now, nonce: u32, choice: Choice) {
        let Some(bob) = self.bob.get_mut(&nonce) else { return };
        let State::Choosing(choosing) = &mut bob.state else { return };
        let charlie = match choice {
            Choice::Charlie(charlie) => Some(charlie),
            Choice::Nobody => None,
            Choice::Soon => {
                if !std::mem::replace(&mut choosing.waits, true) {
                    self.timers.set_sooner((Role::Bob, nonce), now.mono + SESSION);
                }
                return;
            }
        };
        let Some(charlie) = charlie.filter(|charlie| *charlie != bob.alice && !bob.refused.contains(charlie)) else {
            return self.bob_finds_nobody(nonce);
        };
        let info = Arc::clone(&choosing.alice);
        bob.state = State::AwaitCharlie(charlie, Arc::clone(&info));
        let block = bob.request.passed_on(2, code::ACCEPT, &bob.alice);
        // All of them together have the time of one: Alice does not wait longer.
        if bob.refused.is_empty() {
            self.timers.set((Role::Bob, nonce), now.mono + LIFETIME);
        }
        self.say(charlie, Some(info), block);
    }

    /// Message 3. Charlie's signature is Alice's affair. Who is a stranger to Charlie only she knows, and he: where he refuses,
    /// others are asked.
    pub(super) fn answered_by_charlie(&mut self, from: Hash, message: &Message) {
        let nonce = message.nonce;
        let Some(bob) = self.bob.get_mut(&nonce) else { return };
        let State::AwaitCharlie(charlie, info) = &bob.state else { return };
        if *charlie != from || message.alice != bob.request.alice {
            return;
        }
        let block = message.passed_on(4, message.code, &from);
        if message.code == code::ACCEPT {
            bob.state = State::Answering(block);
            self.events.push_back(Event::Find { role: Role::Bob, nonce, router: from, ip: None });
            return;
        }
        let info = Arc::clone(info);
        bob.refused.push(from);
        if bob.refused.len() >= limits::CHARLIES {
            return self.bob_passes_on(nonce, block);
        }
        bob.state = State::Choosing(Choosing { alice: info, refusal: Some(block), waits: false });
        self.bob_chooses(nonce);
    }

    /// Message 4 of a Charlie who refuses.
    fn bob_passes_on(&mut self, nonce: u32, block: Vec<u8>) {
        self.timers.cancel(&(Role::Bob, nonce));
        let Some(bob) = self.bob.remove(&nonce) else { return };
        self.say(bob.alice, None, block);
    }

    fn bob_finds_nobody(&mut self, nonce: u32) {
        match self.bob.get_mut(&nonce).map(|bob| &mut bob.state) {
            Some(State::Choosing(Choosing { refusal: Some(refusal), .. })) => {
                let refusal = std::mem::take(refusal);
                self.bob_passes_on(nonce, refusal);
            }
            _ => self.bob_ends(nonce, code::BOB_NO_CHARLIE),
        }
    }

    pub(super) fn bob_timeout(&mut self, nonce: u32) {
        match self.bob.get(&nonce).map(|bob| &bob.state) {
            Some(State::Choosing(_)) => self.bob_finds_nobody(nonce),
            _ => self.bob_ends(nonce, code::BOB_UNSPECIFIED),
        }
    }

    fn bob_ends(&mut self, nonce: u32, refusal: u8) {
        self.timers.cancel(&(Role::Bob, nonce));
        let Some(bob) = self.bob.remove(&nonce) else { return };
        self.bob_refuses(bob.alice, &bob.request, refusal);
    }

    /// Message 4 of one who refuses: with the request as it came, and no Charlie. Peers look at the code alone.
    fn bob_refuses(&mut self, alice: Hash, request: &Message, refusal: u8) {
        self.stats.refused += 1;
        let block = message::block(4, refusal, Some(&Hash([0; 32])), &request.signed, &request.signature);
        self.say(alice, None, block);
    }
}
