//! Alice: dials a router that cannot be dialled by asking one of its introducers, and the next one when that leads
//! nowhere.

use super::job::{Check, Signature};
use super::{Event, Peer, Relay, Timer, Work, code, is_fresh, limits};
use crate::link::ConnId;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::ssu2_address::Introducer;
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::ssu2::{Block, Blocks, RelayAgreement, RelayRequest, RelayResponse, Signed, VERSION};
use std::net::SocketAddr;
use std::sync::Arc;

/// After this the next introducer is asked beside the one before.
const NEXT_WAY: Duration = Duration::from_millis(2_500);
/// All must be done by then, but for the handshake with Charlie.
const ATTEMPT: Duration = Duration::from_secs(14);

/// A router that is being dialled by introducers.
pub(super) struct Attempt {
    charlie: Arc<RouterInfo>,
    v4: bool,
    ways: Vec<Way>,
    until: Instant,
    /// What Charlie has said, once it is known to be true.
    answer: Option<Answer>,
}

struct Way {
    introducer: Introducer,
    state: WayState,
}

enum WayState {
    Untried,
    /// A session with it is wanted.
    Reaching,
    Signing {
        bob: Peer,
        nonce: u32,
    },
    Asked {
        bob: Peer,
        nonce: u32,
        checking: Option<Answer>,
        failures: u8,
    },
    Over,
}

/// A RelayResponse of Charlie that accepts.
struct Answer {
    /// As it stands in the block: that in the HolePunch is the same.
    bytes: Vec<u8>,
    signature: Vec<u8>,
    charlie: SocketAddr,
    /// Where a HolePunch came from.
    punched: Option<SocketAddr>,
    token: u64,
}

impl Answer {
    fn of(response: &RelayResponse<'_>, punched: Option<SocketAddr>) -> Option<Self> {
        let (charlie, token) = (response.charlie?, response.token?);
        let (bytes, signature) = (response.signed.bytes.to_vec(), response.signed.signature.to_vec());
        Some(Self { bytes, signature, charlie, punched, token })
    }

    fn is(&self, response: &RelayResponse<'_>) -> bool {
        self.bytes == response.signed.bytes && self.signature == response.signed.signature
    }

    /// Where Charlie is. Behind a translator that has another port for each peer it does not know its own.
    fn target(&self) -> SocketAddr {
        self.punched.filter(|at| at.ip() == self.charlie.ip()).unwrap_or(self.charlie)
    }
}

impl Attempt {
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn has(&self, nonce: u32) -> bool {
        self.ways.iter().any(|way| way.nonce() == Some(nonce))
    }
}

impl Way {
    const fn nonce(&self) -> Option<u32> {
        match &self.state {
            WayState::Signing { nonce, .. } | WayState::Asked { nonce, .. } => Some(*nonce),
            _ => None,
        }
    }
}

impl Relay {
    /// Dials a router by its introducers, in their order. False when there is no room.
    pub(crate) fn begin(
        &mut self,
        now: Now,
        id: ConnId,
        charlie: Arc<RouterInfo>,
        v4: bool,
        introducers: Vec<Introducer>,
    ) -> bool {
        if introducers.is_empty() || self.attempts.len() >= limits::ATTEMPTS || self.attempts.contains_key(&id) {
            return false;
        }
        let ways = introducers.into_iter().map(|introducer| Way { introducer, state: WayState::Untried }).collect();
        let attempt = Attempt { charlie, v4, ways, until: now.mono + ATTEMPT, answer: None };
        self.attempts.insert(id, attempt);
        self.next_way(now, id);
        true
    }

    /// It is dialled no longer, or has a session.
    pub(crate) fn forget(&mut self, id: ConnId) {
        let Some(attempt) = self.attempts.remove(&id) else { return };
        self.timers.cancel(&Timer::Alice(id));
        for nonce in attempt.ways.iter().filter_map(Way::nonce) {
            self.nonces.remove(&nonce);
        }
    }

    /// Asks the next introducer, if there is one.
    pub(super) fn next_way(&mut self, now: Now, id: ConnId) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let over = now.mono >= attempt.until;
        let next = attempt.ways.iter_mut().find(|way| matches!(way.state, WayState::Untried));
        if let (Some(way), false, None) = (next, over, &attempt.answer) {
            way.state = WayState::Reaching;
            let router = way.introducer.router;
            self.timers.set(Timer::Alice(id), (now.mono + NEXT_WAY).min(attempt.until));
            self.events.push_back(Event::Reach { router });
            return;
        }
        let hopeless = attempt.ways.iter().all(|way| matches!(way.state, WayState::Over)) && attempt.answer.is_none();
        if over || hopeless {
            let told = attempt.answer.is_none();
            self.forget(id);
            if told {
                self.events.push_back(Event::Failed { id });
            }
            return;
        }
        self.timers.set(Timer::Alice(id), attempt.until);
    }

    /// A way has led nowhere.
    fn end_way(&mut self, now: Now, id: ConnId, at: usize) {
        let Some(way) = self.attempts.get_mut(&id).and_then(|attempt| attempt.ways.get_mut(at)) else { return };
        let nonce = way.nonce();
        way.state = WayState::Over;
        if let Some(nonce) = nonce {
            self.nonces.remove(&nonce);
        }
        self.next_way(now, id);
    }

    fn ways_where(&self, is: impl Fn(&Way) -> bool) -> Vec<(ConnId, usize)> {
        let of = |(id, attempt): (&ConnId, &Attempt)| {
            let at: Vec<_> = attempt.ways.iter().enumerate().filter(|(_, way)| is(way)).map(|(at, _)| at).collect();
            let id = *id;
            at.into_iter().map(move |at| (id, at))
        };
        self.attempts.iter().flat_map(of).collect()
    }

    fn reaching(&self, router: &Hash) -> Vec<(ConnId, usize)> {
        self.ways_where(|way| way.introducer.router == *router && matches!(way.state, WayState::Reaching))
    }

    /// Whether a session with this router is wanted.
    pub(crate) fn wants_session(&self, router: &Hash) -> bool {
        !self.reaching(router).is_empty()
    }

    /// A session with a router stands that may be one that we want to ask.
    pub(crate) fn handle_session(&mut self, now: Now, bob: &Peer) {
        for (id, at) in self.reaching(&bob.router) {
            let Some(attempt) = self.attempts.get(&id) else { continue };
            let charlie = attempt.charlie.hash();
            let alice = self.own_address(attempt.v4);
            let (Some(alice), Some(way)) = (alice, attempt.ways.get(at)) else {
                self.end_way(now, id, at);
                continue;
            };
            let tag = way.introducer.tag;
            let nonce = self.fresh_nonce();
            let agreement = RelayAgreement { nonce, tag, timestamp: now.unix_secs(), version: VERSION, alice };
            let bytes = agreement.to_bytes();
            let message = RelayAgreement::signed_message(&bytes, &bob.router, &charlie);
            if !self.work(now, Work::Request { id, nonce, bytes }, None, Signature::of(message)) {
                self.end_way(now, id, at);
                continue;
            }
            if let Some(way) = self.attempts.get_mut(&id).and_then(|attempt| attempt.ways.get_mut(at)) {
                way.state = WayState::Signing { bob: *bob, nonce };
                self.nonces.insert(nonce, id);
            }
        }
    }

    fn fresh_nonce(&mut self) -> u32 {
        loop {
            let nonce = self.rng.nonzero_u32();
            if !self.nonces.contains_key(&nonce) {
                return nonce;
            }
        }
    }

    /// There is no session with this router, and none to be had.
    pub(crate) fn handle_no_session(&mut self, now: Now, router: &Hash) {
        for (id, at) in self.reaching(router) {
            self.end_way(now, id, at);
        }
    }

    /// The session with an introducer that we have asked is gone.
    pub(super) fn way_gone(&mut self, now: Now, conn: ConnId) {
        let of_conn = |way: &Way| matches!(&way.state, WayState::Signing { bob, .. } | WayState::Asked { bob, .. } if bob.conn == conn);
        for (id, at) in self.ways_where(of_conn) {
            self.end_way(now, id, at);
        }
    }

    fn way_of(&mut self, nonce: u32) -> Option<(ConnId, usize, &mut Attempt)> {
        let id = *self.nonces.get(&nonce)?;
        let attempt = self.attempts.get_mut(&id)?;
        let at = attempt.ways.iter().position(|way| way.nonce() == Some(nonce))?;
        Some((id, at, attempt))
    }

    pub(super) fn request_signed(
        &mut self,
        now: Now,
        id: ConnId,
        nonce: u32,
        bytes: &[u8],
        signature: Option<Vec<u8>>,
    ) {
        let Some((_, at, attempt)) = self.way_of(nonce) else { return };
        let Some(signature) = signature else { return self.end_way(now, id, at) };
        let Some(way) = attempt.ways.get_mut(at) else { return };
        let WayState::Signing { bob, .. } = way.state else { return };
        way.state = WayState::Asked { bob, nonce, checking: None, failures: 0 };
        let mut blocks = Vec::new();
        RelayRequest::encode(&mut blocks, &Signed { bytes, signature: &signature });
        self.events.push_back(Event::Blocks { conn: bob.conn, blocks });
    }

    /// A RelayResponse in a session: of Bob, to what we have asked, or of Charlie, to what we have passed on.
    pub(crate) fn handle_response(&mut self, now: Now, from: ConnId, response: &RelayResponse<'_>) {
        if self.pass_on(from, response) {
            return;
        }
        let Some((id, at, attempt)) = self.way_of(response.nonce) else { return };
        let asked = matches!(&attempt.ways[at].state, WayState::Asked { bob, .. } if bob.conn == from);
        if !asked || attempt.answer.is_some() {
            return;
        }
        match Answer::of(response, None).filter(|_| response.code == code::ACCEPT) {
            Some(answer) if is_fresh(response.timestamp, now) => self.check_answer(now, id, at, answer),
            _ => {
                tracing::debug!(code = response.code, "not introduced");
                self.end_way(now, id, at);
            }
        }
    }

    /// Whether a HolePunch with this nonce may be one for us: all others are not even opened (threats T62).
    pub(crate) fn expects_punch(&self, nonce: u32) -> bool {
        self.nonces.contains_key(&nonce)
    }

    /// A HolePunch for this nonce, under our introduction key, which everybody knows: what it says must be signed.
    pub(crate) fn handle_punch(&mut self, now: Now, from: SocketAddr, nonce: u32, blocks: &[u8]) {
        let response = Blocks::new(blocks).map_while(Result::ok).find_map(|block| match block {
            Block::RelayResponse(response) => Some(response),
            _ => None,
        });
        let Some(response) = response.filter(|response| response.nonce == nonce && response.code == code::ACCEPT)
        else {
            return;
        };
        let allowed = self.config.addresses.allows(&from) && is_fresh(response.timestamp, now);
        let Some((id, at, attempt)) = self.way_of(nonce).filter(|_| allowed) else { return };
        if let Some(answer) = &mut attempt.answer {
            // It is being dialled already: this tells where it is.
            let before = answer.target();
            if answer.is(&response) {
                answer.punched = Some(from);
                let addr = answer.target();
                if addr != before {
                    self.events.push_back(Event::Redirect { id, addr });
                }
            }
            return;
        }
        let WayState::Asked { checking, .. } = &mut attempt.ways[at].state else { return };
        match checking {
            Some(answer) if answer.is(&response) => answer.punched = Some(from),
            Some(_) => {}
            None => {
                if let Some(answer) = Answer::of(&response, Some(from)) {
                    self.check_answer(now, id, at, answer);
                }
            }
        }
    }

    /// Has Charlie's signature checked, if that is not being done.
    fn check_answer(&mut self, now: Now, id: ConnId, at: usize, answer: Answer) {
        let allowed = self.config.addresses.allows(&answer.charlie);
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let (signer, v4) = (Arc::clone(&attempt.charlie), attempt.v4);
        let Some(way) = attempt.ways.get_mut(at) else { return };
        let WayState::Asked { bob, nonce, checking, .. } = &mut way.state else { return };
        // One at a time: both ways bring the same, but for who knows the nonce and lies.
        if checking.is_some() {
            return;
        }
        if !allowed || answer.charlie.is_ipv4() != v4 {
            return self.end_way(now, id, at);
        }
        let (nonce, bob) = (*nonce, bob.router);
        let message = RelayResponse::signed_message(&answer.bytes, &bob);
        let check = Check { signer, unverified: false, message, signature: answer.signature.clone() };
        *checking = Some(answer);
        if !self.work(now, Work::Response { id, nonce }, Some(check), Signature::default()) {
            self.end_way(now, id, at);
        }
    }

    pub(super) fn response_checked(&mut self, now: Now, id: ConnId, nonce: u32, good: bool) {
        let Some((_, at, attempt)) = self.way_of(nonce) else { return };
        let WayState::Asked { checking, failures, .. } = &mut attempt.ways[at].state else { return };
        let Some(answer) = checking.take() else { return };
        if attempt.answer.is_some() {
            return;
        }
        if !good {
            *failures += 1;
            if *failures >= limits::FALSE_ANSWERS {
                self.end_way(now, id, at);
            }
            return;
        }
        let (addr, token) = (answer.target(), answer.token);
        attempt.answer = Some(answer);
        attempt.until = now.mono + ATTEMPT;
        self.timers.set(Timer::Alice(id), now.mono + ATTEMPT);
        self.events.push_back(Event::Dial { id, addr, token });
    }
}
