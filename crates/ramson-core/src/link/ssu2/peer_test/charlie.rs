//! The role of Charlie: he sends to an address that another has named. So he does it little, and for one whom he knows
//! nothing else of only when she has signed for it.

use super::job::{TestDone, TestJob, Verify};
use super::message::{self, Message};
use super::{Event, Found, LEAST_PORT, PeerTests, Role, clock, code, is_fresh, is_same_host};
use crate::limits::peer_test as limits;
use crate::link::address::Origin;
use crate::time::{Duration, Now};
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::ssu2::PeerTest;
use std::net::SocketAddr;
use std::sync::Arc;

/// Alice's RouterInfo is waited for so long.
const INFO: Duration = Duration::from_secs(3);
/// The signatures take no longer.
const WORK: Duration = Duration::from_secs(10);
/// From one message 5 to the next.
const RESEND: Duration = Duration::from_secs(2);
/// How long Alice may ask, once we have greeted her.
const LIFETIME: Duration = Duration::from_secs(20);

/// A test that Bob has asked us to take part in.
pub(super) struct Charlie {
    bob: Hash,
    alice: Hash,
    addr: SocketAddr,
    request: Message,
    state: State,
}

enum State {
    AwaitInfo,
    /// Alice's signature is being verified, and our answer signed.
    Working {
        intro_key: [u8; 32],
        timestamp: u32,
    },
    /// An answer that refuses is being signed.
    Refusing {
        code: u8,
        timestamp: u32,
    },
    /// So many messages 5 and 7 are out.
    Greeted {
        intro_key: [u8; 32],
        greetings: u8,
        answers: u8,
    },
}

impl PeerTests {
    /// Message 2.
    pub(super) fn asked_by_bob(&mut self, now: Now, from: Hash, request: Message) {
        let nonce = request.nonce;
        let Some(alice) = request.router.filter(|alice| *alice != from && *alice != self.config.own) else { return };
        // Every answer costs a signature: who asks too often gets none.
        if !self.is_new(now, Role::Charlie, &from, nonce) || !self.admits(now, from) {
            return;
        }
        if self.charlie.len() >= limits::AS_CHARLIE || self.charlie.contains_key(&nonce) {
            return;
        }
        let addr = request.alice;
        self.charlie.insert(nonce, Charlie { bob: from, alice, addr, request, state: State::AwaitInfo });
        self.timers.set((Role::Charlie, nonce), now.mono + INFO);
        if let Some(refusal) = self.refusal(now, nonce) {
            return self.charlie_refuses(now, nonce, refusal);
        }
        self.events.push_back(Event::Find { role: Role::Charlie, nonce, router: alice, ip: Some(addr.ip()) });
    }

    /// Why nothing is sent to this address, as far as that can be seen without Alice.
    fn refusal(&mut self, now: Now, nonce: u32) -> Option<u8> {
        let charlie = self.charlie.get(&nonce)?;
        let (addr, timestamp) = (charlie.addr, charlie.request.timestamp);
        if !self.serves(addr.is_ipv4()) || addr.port() < LEAST_PORT || !self.config.addresses.allows(&addr) {
            return Some(code::CHARLIE_ADDRESS);
        }
        if !is_fresh(now, timestamp) {
            return Some(code::CHARLIE_UNSPECIFIED);
        }
        // Threats P-40, P-41: however many ask for it, one address is sent little.
        self.aimed_at.retain(|_, at| now.mono.since(*at) < limits::TARGET_REST);
        let rests = self.aimed_at.contains_key(&Origin::from(addr.ip()));
        (rests || self.aimed_at.len() >= limits::TARGETS).then_some(code::CHARLIE_LIMIT)
    }

    pub(super) fn charlie_found(&mut self, now: Now, nonce: u32, found: Found) {
        let Some(charlie) = self.charlie.get(&nonce) else { return };
        if !matches!(charlie.state, State::AwaitInfo) {
            return;
        }
        if found.spoken_to {
            return self.charlie_refuses(now, nonce, code::CHARLIE_CONNECTED);
        }
        match (&found.info, self.introduced(now, &charlie.bob, &charlie.alice)) {
            (Some(info), _) => self.verify_alice(now, nonce, info, true),
            (None, Some(info)) => self.verify_alice(now, nonce, &info, false),
            // It may come yet.
            (None, None) => {}
        }
    }

    /// A RouterInfo has come from a peer: perhaps of an Alice, and from Bob.
    pub(super) fn charlie_learns(&mut self, now: Now, from: &Hash, info: &Arc<RouterInfo>) {
        let about = |charlie: &Charlie| matches!(charlie.state, State::AwaitInfo) && charlie.alice == info.hash();
        let waits = |charlie: &Charlie| charlie.bob == *from && about(charlie);
        let waiting = self.charlie.iter().find(|(_, charlie)| waits(charlie)).map(|(nonce, _)| *nonce);
        if let Some(nonce) = waiting {
            self.verify_alice(now, nonce, info, false);
        }
    }

    fn verify_alice(&mut self, now: Now, nonce: u32, info: &Arc<RouterInfo>, known: bool) {
        let Some(charlie) = self.charlie.get(&nonce) else { return };
        let v4 = charlie.addr.is_ipv4();
        let of_family = |address: &&ramson_wire::data::Ssu2Address| match address.host {
            Some(host) => host.is_ipv4() == v4,
            None if address.claims_v4 || address.claims_v6 => {
                if v4 {
                    address.claims_v4
                } else {
                    address.claims_v6
                }
            }
            None => true,
        };
        let Some(address) = info.ssu2_addresses().iter().find(of_family) else {
            return self.charlie_refuses(now, nonce, code::CHARLIE_ADDRESS);
        };
        let message = PeerTest::signed_message(&charlie.request.signed, &charlie.bob, None);
        let signature = charlie.request.signature.clone();
        let verify = Some(Verify { by: Arc::clone(info), known, message, signature });
        let timestamp = clock(now);
        let intro_key = address.intro_key;
        self.charlie_works(now, nonce, State::Working { intro_key, timestamp }, timestamp, verify);
    }

    fn charlie_refuses(&mut self, now: Now, nonce: u32, code: u8) {
        let timestamp = clock(now);
        self.charlie_works(now, nonce, State::Refusing { code, timestamp }, timestamp, None);
    }

    /// Has our answer signed.
    fn charlie_works(&mut self, now: Now, nonce: u32, state: State, timestamp: u32, verify: Option<Verify>) {
        let Some(charlie) = self.charlie.get_mut(&nonce) else { return };
        charlie.state = state;
        let bytes = PeerTest::to_be_signed(nonce, timestamp, &charlie.addr);
        let sign = Some(PeerTest::signed_message(&bytes, &charlie.bob, Some(&charlie.alice)));
        self.timers.set((Role::Charlie, nonce), now.mono + WORK);
        self.events.push_back(Event::Job(TestJob { role: Role::Charlie, nonce, verify, sign }));
    }

    pub(super) fn charlie_job(&mut self, now: Now, done: &TestDone) {
        let nonce = done.nonce;
        let Some(charlie) = self.charlie.get_mut(&nonce) else { return };
        let Some(signature) = done.signature else { return self.forget_charlie(nonce) };
        let (code, timestamp, intro_key) = match charlie.state {
            State::Working { intro_key, timestamp } if done.good => (code::ACCEPT, timestamp, Some(intro_key)),
            State::Working { timestamp, .. } => (code::CHARLIE_SIGNATURE, timestamp, None),
            State::Refusing { code, timestamp } => (code, timestamp, None),
            State::AwaitInfo | State::Greeted { .. } => return,
        };
        let (bob, addr) = (charlie.bob, charlie.addr);
        let bytes = PeerTest::to_be_signed(nonce, timestamp, &addr);
        let block = message::block(3, code, None, &bytes, &signature);
        match intro_key {
            Some(intro_key) => {
                charlie.state = State::Greeted { intro_key, greetings: 0, answers: 0 };
                self.stats.as_charlie += 1;
                self.aimed_at.insert(Origin::from(addr.ip()), now.mono);
                self.say(bob, None, block);
                self.greet_alice(now, nonce);
            }
            None => {
                self.stats.refused += 1;
                self.forget_charlie(nonce);
                self.say(bob, None, block);
            }
        }
    }

    /// Sends message 5, unless it was sent often enough.
    fn greet_alice(&mut self, now: Now, nonce: u32) {
        let Some(charlie) = self.charlie.get_mut(&nonce) else { return };
        let State::Greeted { intro_key, greetings, answers } = &mut charlie.state else { return };
        if *answers > 0 || *greetings >= limits::SENT_TO_ALICE {
            return self.forget_charlie(nonce);
        }
        *greetings += 1;
        let (to, key) = (charlie.addr, *intro_key);
        let rest = if *greetings < limits::SENT_TO_ALICE { RESEND } else { LIFETIME };
        let blocks = message::outside(5, nonce, clock(now), &to, None);
        self.timers.set((Role::Charlie, nonce), now.mono + rest);
        self.events.push_back(Event::Outside { to, key, ids: message::ids(5, nonce), blocks });
    }

    /// We have a session with this router now. What we send to it from here on comes in whatever it is behind, so it is greeted
    /// no more: one greeting that came late would tell it that all can reach it. It may still ask.
    pub(super) fn charlie_meets(&mut self, now: Now, peer: &Hash) {
        for (nonce, charlie) in &mut self.charlie {
            if let (true, State::Greeted { greetings, .. }) = (charlie.alice == *peer, &mut charlie.state) {
                *greetings = limits::SENT_TO_ALICE;
                self.timers.set((Role::Charlie, *nonce), now.mono + LIFETIME);
            }
        }
    }

    /// Message 6. Its port need not be the one that was tested; behind a translator it often is not.
    pub(super) fn greeted_by_alice(&mut self, now: Now, from: SocketAddr, nonce: u32) {
        let Some(charlie) = self.charlie.get_mut(&nonce) else { return };
        let allowed = self.config.addresses.allows(&from) && is_same_host(from.ip(), charlie.addr.ip());
        let State::Greeted { intro_key, answers, .. } = &mut charlie.state else { return };
        if !allowed || from.port() < LEAST_PORT || *answers >= limits::SENT_TO_ALICE {
            return;
        }
        *answers += 1;
        let key = *intro_key;
        // No more greetings: she has them, or they do not come through.
        self.timers.set((Role::Charlie, nonce), now.mono + LIFETIME);
        let blocks = message::outside(7, nonce, clock(now), &charlie.addr, Some(&from));
        self.events.push_back(Event::Outside { to: from, key, ids: message::ids(7, nonce), blocks });
    }

    pub(super) fn charlie_timeout(&mut self, now: Now, nonce: u32) {
        let Some(charlie) = self.charlie.get(&nonce) else { return };
        match charlie.state {
            State::AwaitInfo => self.charlie_refuses(now, nonce, code::CHARLIE_UNKNOWN),
            State::Working { .. } | State::Refusing { .. } => self.forget_charlie(nonce),
            State::Greeted { .. } => self.greet_alice(now, nonce),
        }
    }

    fn forget_charlie(&mut self, nonce: u32) {
        self.timers.cancel(&(Role::Charlie, nonce));
        self.charlie.remove(&nonce);
    }
}
