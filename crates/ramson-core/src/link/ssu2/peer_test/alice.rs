//! The role of Alice: who wants to know whether she can be reached.

use super::job::{TestJob, Verify};
use super::message::{self, Message};
use super::{Event, Found, PeerTests, Role, clock, code, is_fresh, is_same_host};
use crate::limits::peer_test as limits;
use crate::time::{Duration, Now};
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::ssu2::PeerTest;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Bob answers within this time.
const BOB: Duration = Duration::from_secs(12);
/// So long message 5 is waited for before message 6 goes out, which opens the way for whatever Charlie sends.
const UNTOUCHED: Duration = Duration::from_secs(5);
/// From one message 6 to the next.
const RESEND: Duration = Duration::from_secs(2);

/// What a test of ours has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TestResult {
    pub(crate) v4: bool,
    pub(crate) bob: Hash,
    /// Who it was, and where, if he agreed and is who he says.
    pub(crate) charlie: Option<(Hash, IpAddr)>,
    /// The address that was tested.
    pub(crate) claimed: SocketAddr,
    /// Where Charlie has seen us.
    pub(crate) seen: Option<SocketAddr>,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What Charlie sent to the address came.
    Open,
    /// It did not, though he could be reached and we by what we had sent.
    Firewalled,
    /// Charlie is one whom we have spoken to, or who says so: there will be another.
    NoStranger,
    /// Nothing is known: who had to answer did not, refused (with this code), or was no fit Charlie.
    Unknown(Option<u8>),
}

/// A test of ours.
pub(super) struct Alice {
    v4: bool,
    bob: Hash,
    bob_ip: IpAddr,
    claimed: SocketAddr,
    state: State,
    /// Where message 5 came from, before we had sent anything to Charlie.
    greeted_from: Option<SocketAddr>,
    charlie: Option<Charlie>,
}

struct Charlie {
    hash: Hash,
    addr: SocketAddr,
    intro_key: [u8; 32],
}

enum State {
    /// These bytes of message 1 are being signed.
    Signing(Vec<u8>),
    AwaitBob,
    /// Charlie has agreed by this message; it is not known who he is.
    AwaitInfo(Box<Message>),
    /// Charlie's signature is being verified.
    Verifying,
    /// Nothing is sent to Charlie yet.
    Untouched,
    /// So many messages 6 are out.
    Asked(u8),
}

impl PeerTests {
    /// Begins a test of `claimed`, an address of ours, with a peer that has a session over UDP of its family. False when
    /// there are too many.
    pub(crate) fn start(&mut self, now: Now, bob: Hash, bob_ip: IpAddr, claimed: SocketAddr) -> bool {
        if self.alice.len() >= limits::OWN {
            return false;
        }
        let nonce = loop {
            let nonce = self.rng.nonzero_u32();
            if !self.alice.contains_key(&nonce) {
                break nonce;
            }
        };
        let v4 = claimed.is_ipv4();
        let bytes = PeerTest::to_be_signed(nonce, clock(now), &claimed);
        let sign = PeerTest::signed_message(&bytes, &bob, None);
        let state = State::Signing(bytes);
        self.alice.insert(nonce, Alice { v4, bob, bob_ip, claimed, state, greeted_from: None, charlie: None });
        self.timers.set((Role::Alice, nonce), now.mono + BOB);
        self.events.push_back(Event::Job(TestJob { role: Role::Alice, nonce, verify: None, sign: Some(sign) }));
        true
    }

    /// Tests of ours that are under way, of this family.
    #[cfg(test)]
    pub(crate) fn own_tests(&self, v4: bool) -> usize {
        self.alice.values().filter(|alice| alice.v4 == v4).count()
    }

    pub(super) fn alice_job(&mut self, now: Now, done: &super::TestDone) {
        let nonce = done.nonce;
        let Some(alice) = self.alice.get_mut(&nonce) else { return };
        match (&alice.state, done.signature, done.good) {
            (State::Signing(bytes), Some(signature), _) => {
                let (bob, block) = (alice.bob, message::block(1, code::ACCEPT, None, bytes, &signature));
                alice.state = State::AwaitBob;
                self.timers.set((Role::Alice, nonce), now.mono + BOB);
                self.say(bob, None, block);
            }
            (State::Verifying, _, true) => match alice.greeted_from {
                Some(from) => self.alice_greeted(now, nonce, from),
                None => {
                    alice.state = State::Untouched;
                    self.timers.set((Role::Alice, nonce), now.mono + UNTOUCHED);
                }
            },
            _ => self.finish(nonce, Verdict::Unknown(None), None),
        }
    }

    /// Message 4.
    pub(super) fn answered_by_bob(&mut self, now: Now, from: Hash, message: Message) {
        let nonce = message.nonce;
        let Some(alice) = self.alice.get_mut(&nonce) else { return };
        if !matches!(alice.state, State::AwaitBob) || alice.bob != from {
            return;
        }
        if message.code == code::CHARLIE_CONNECTED {
            return self.finish(nonce, Verdict::NoStranger, None);
        }
        if message.code != code::ACCEPT {
            return self.finish(nonce, Verdict::Unknown(Some(message.code)), None);
        }
        let Some(router) = message.router.filter(|charlie| *charlie != from && *charlie != self.config.own) else {
            return self.finish(nonce, Verdict::Unknown(None), None);
        };
        if message.alice != alice.claimed || !is_fresh(now, message.timestamp) {
            return self.finish(nonce, Verdict::Unknown(None), None);
        }
        let v4 = alice.v4;
        alice.state = State::AwaitInfo(Box::new(message));
        let ip = self.introduced(now, &from, &router).and_then(|info| host_of(&info, v4));
        self.events.push_back(Event::Find { role: Role::Alice, nonce, router, ip });
    }

    pub(super) fn alice_found(&mut self, now: Now, nonce: u32, found: Found) {
        let Some(alice) = self.alice.get(&nonce) else { return };
        let State::AwaitInfo(message) = &alice.state else { return };
        let Some(router) = message.router else { return };
        // What we send to him ourselves opens the way: then the test shows nothing.
        if found.spoken_to {
            return self.finish(nonce, Verdict::NoStranger, None);
        }
        match (&found.info, self.introduced(now, &alice.bob, &router)) {
            (Some(info), _) => self.verify_charlie(now, nonce, info, true),
            (None, Some(info)) => self.verify_charlie(now, nonce, &info, false),
            // It may come yet.
            (None, None) => {}
        }
    }

    /// A RouterInfo has come from a peer: perhaps of a Charlie, and from Bob.
    pub(super) fn alice_learns(&mut self, from: &Hash, info: &Arc<RouterInfo>) {
        let about = |alice: &Alice| matches!(&alice.state, State::AwaitInfo(m) if m.router == Some(info.hash()));
        let waits = |alice: &Alice| alice.bob == *from && about(alice);
        let waiting = self.alice.iter().find(|(_, alice)| waits(alice)).map(|(nonce, alice)| (*nonce, alice.v4));
        if let Some((nonce, v4)) = waiting {
            let ip = host_of(info, v4);
            self.events.push_back(Event::Find { role: Role::Alice, nonce, router: info.hash(), ip });
        }
    }

    fn verify_charlie(&mut self, now: Now, nonce: u32, info: &Arc<RouterInfo>, known: bool) {
        let Some(alice) = self.alice.get_mut(&nonce) else { return };
        let State::AwaitInfo(message) = &alice.state else { return };
        let fits = |addr: &SocketAddr| {
            addr.is_ipv4() == alice.v4
                && self.config.addresses.allows(addr)
                && !is_same_host(addr.ip(), alice.bob_ip)
                && !is_same_host(addr.ip(), alice.claimed.ip())
        };
        let address = info.ssu2_addresses().iter().find_map(|address| {
            let addr = address.endpoint().filter(fits)?;
            Some(Charlie { hash: info.hash(), addr, intro_key: address.intro_key })
        });
        // One without an address cannot be told from Bob, who could greet us in his place.
        let Some(charlie) = address else { return self.finish(nonce, Verdict::Unknown(None), None) };
        let signed = PeerTest::signed_message(&message.signed, &alice.bob, Some(&self.config.own));
        let verify = Verify { by: Arc::clone(info), known, message: signed, signature: message.signature.clone() };
        alice.charlie = Some(charlie);
        alice.state = State::Verifying;
        self.timers.set((Role::Alice, nonce), now.mono + BOB);
        self.events.push_back(Event::Job(TestJob { role: Role::Alice, nonce, verify: Some(verify), sign: None }));
    }

    /// Message 5. It counts only while nothing was sent to Charlie, and where it comes from his address.
    pub(super) fn greeted_by_charlie(&mut self, now: Now, from: SocketAddr, nonce: u32) {
        let Some(alice) = self.alice.get_mut(&nonce) else { return };
        match &alice.state {
            State::Untouched => self.alice_greeted(now, nonce, from),
            State::AwaitBob | State::AwaitInfo(_) | State::Verifying => {
                alice.greeted_from.get_or_insert(from);
            }
            State::Signing(_) | State::Asked(_) => {}
        }
    }

    fn alice_greeted(&mut self, now: Now, nonce: u32, from: SocketAddr) {
        let Some(alice) = self.alice.get_mut(&nonce) else { return };
        let his = alice.charlie.as_ref().is_some_and(|charlie| is_same_host(charlie.addr.ip(), from.ip()));
        alice.greeted_from = his.then_some(from);
        if !his {
            // Somebody else has greeted us. Charlie may yet.
            alice.state = State::Untouched;
            return self.timers.set_sooner((Role::Alice, nonce), now.mono + UNTOUCHED);
        }
        self.ask_charlie(now, nonce, 0);
    }

    /// Sends message 6, for the `sent + 1`-th time.
    fn ask_charlie(&mut self, now: Now, nonce: u32, sent: u8) {
        let Some(alice) = self.alice.get_mut(&nonce) else { return };
        let Some(Charlie { addr, intro_key, .. }) = alice.charlie else { return };
        alice.state = State::Asked(sent + 1);
        let blocks = message::outside(6, nonce, clock(now), &alice.claimed, Some(&addr));
        self.timers.set((Role::Alice, nonce), now.mono + RESEND);
        self.events.push_back(Event::Outside { to: addr, key: intro_key, ids: message::ids(6, nonce), blocks });
    }

    /// We have a session with this router now: what it sends comes in whatever we are behind, and shows nothing any more.
    pub(super) fn alice_meets(&mut self, peer: &Hash) {
        let is_charlie = |alice: &Alice| alice.charlie.as_ref().is_some_and(|charlie| charlie.hash == *peer);
        let waits = |alice: &Alice| alice.greeted_from.is_none() && is_charlie(alice);
        let waiting: Vec<u32> = self.alice.iter().filter(|(_, alice)| waits(alice)).map(|(nonce, _)| *nonce).collect();
        for nonce in waiting {
            self.finish(nonce, Verdict::NoStranger, None);
        }
    }

    /// Message 7.
    pub(super) fn told_by_charlie(&mut self, from: SocketAddr, nonce: u32, seen: Option<SocketAddr>) {
        let Some(alice) = self.alice.get(&nonce) else { return };
        let (State::Asked(_), Some(charlie)) = (&alice.state, &alice.charlie) else { return };
        if !is_same_host(charlie.addr.ip(), from.ip()) {
            return;
        }
        let seen = seen.filter(|seen| seen.is_ipv4() == alice.v4);
        let verdict = match (alice.greeted_from, seen) {
            (Some(_), _) => Verdict::Open,
            // The address is not ours any more: he sent to another.
            (None, Some(seen)) if !is_same_host(seen.ip(), alice.claimed.ip()) => Verdict::Unknown(None),
            (None, _) => Verdict::Firewalled,
        };
        self.finish(nonce, verdict, seen);
    }

    pub(super) fn alice_timeout(&mut self, now: Now, nonce: u32) {
        let Some(alice) = self.alice.get(&nonce) else { return };
        match alice.state {
            State::Untouched => self.ask_charlie(now, nonce, 0),
            State::Asked(sent) if sent < limits::SENT_TO_CHARLIE => self.ask_charlie(now, nonce, sent),
            // He could not be reached where he says; but what he sent has come.
            State::Asked(_) if alice.greeted_from.is_some() => self.finish(nonce, Verdict::Open, None),
            _ => self.finish(nonce, Verdict::Unknown(None), None),
        }
    }

    fn finish(&mut self, nonce: u32, verdict: Verdict, seen: Option<SocketAddr>) {
        self.timers.cancel(&(Role::Alice, nonce));
        let Some(Alice { v4, bob, claimed, charlie, .. }) = self.alice.remove(&nonce) else { return };
        let charlie = charlie.map(|charlie| (charlie.hash, charlie.addr.ip()));
        self.events.push_back(Event::Done(TestResult { v4, bob, charlie, claimed, seen, verdict }));
    }
}

/// Where a Charlie says that he is.
fn host_of(info: &RouterInfo, v4: bool) -> Option<IpAddr> {
    let hosts = info.ssu2_addresses().iter().filter_map(|address| address.host);
    hosts.into_iter().find(|host| host.is_ipv4() == v4)
}
