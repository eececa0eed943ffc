//! Charlie: who cannot be dialled is told by Bob that Alice wants to, answers by him, and opens the way for her.

use super::job::{Check, RelayDone, Signature};
use super::{Event, Peer, Relay, Timer, Work, code, is_fresh, limits};
use crate::link::ConnId;
use crate::link::address::{Origin, Prefix};
use crate::link::ssu2::outside::{self, IntroKey};
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::ssu2::{Block, ConnectionId, MessageType, RelayAgreement, RelayIntro, RelayResponse, Signed, VERSION};
use std::net::SocketAddr;
use std::sync::Arc;

/// How long Alice's RouterInfo is waited for. It comes with the request or just before it.
const INFO_PATIENCE: Duration = Duration::from_secs(3);
/// How long a RouterInfo that Bob has sent is kept for a request that follows.
const INFO_KEPT: Duration = Duration::from_secs(10);

/// A RouterInfo that an introducer has sent, not verified.
pub(super) struct Held {
    bob: ConnId,
    info: Arc<RouterInfo>,
    at: Instant,
}

/// A request that is being answered.
pub(super) struct Intro {
    bob: Peer,
    alice: Hash,
    /// Where she is, as she says.
    to: SocketAddr,
    /// What she may use there.
    token: u64,
    bytes: Vec<u8>,
    signature: Vec<u8>,
    /// What we sign when we agree, and when we do not.
    agreed: Vec<u8>,
    refused: Vec<u8>,
    answer: Answer,
}

enum Answer {
    /// Her RouterInfo is waited for.
    NoInfo,
    /// Her signature is being checked; her introduction key.
    Checking([u8; 32]),
    Refusing(u8),
}

impl Intro {
    pub(super) fn awaits(&self, router: &Hash) -> bool {
        matches!(self.answer, Answer::NoInfo) && self.alice == *router
    }
}

impl Relay {
    /// Bob says that Alice wants to dial us. `token` is one for a session from where she is.
    pub(crate) fn handle_intro(&mut self, now: Now, bob: &Peer, intro: &RelayIntro<'_>, token: u64) {
        let agreement = &intro.agreement;
        let Some(mine) = self.mine.get(&bob.conn) else { return };
        // Who introduces us does so under the tag that it gave us (threats T61).
        if mine.is.tag != agreement.tag || intro.alice == self.config.router {
            return;
        }
        if !self.intros_of.take(now.mono, bob.router) || !self.intros_all.take(now.mono) {
            return;
        }
        let key = (bob.conn, agreement.nonce);
        let mut entry = intro.alice.0.to_vec();
        entry.extend_from_slice(&agreement.nonce.to_be_bytes());
        if self.intros.len() >= limits::INTROS_HELD || !self.replays.insert(now.mono, &entry) {
            return;
        }
        let v4 = agreement.alice.is_ipv4();
        let own = self.own_address(v4);
        let (nonce, time) = (agreement.nonce, now.unix_secs());
        let state = Intro {
            bob: *bob,
            alice: intro.alice,
            to: agreement.alice,
            token,
            bytes: intro.signed.bytes.to_vec(),
            signature: intro.signed.signature.to_vec(),
            agreed: RelayResponse::to_be_signed(nonce, time, own.as_ref()),
            refused: RelayResponse::to_be_signed(nonce, time, None),
            answer: Answer::NoInfo,
        };
        let verdict = self.judge_intro(now, bob, agreement, own);
        self.intros.insert(key, state);
        if let Err(code) = verdict {
            return self.refuse(now, key, code);
        }
        self.timers.set(Timer::Intro(key), now.mono + INFO_PATIENCE);
        let held = self.held.iter().rev().find(|held| held.bob == bob.conn && held.info.hash() == intro.alice);
        match held.map(|held| Arc::clone(&held.info)) {
            Some(info) => self.info_for_intros(now, &intro.alice, &info, false),
            None => self.events.push_back(Event::Info { router: intro.alice }),
        }
    }

    fn judge_intro(
        &mut self,
        now: Now,
        bob: &Peer,
        agreement: &RelayAgreement,
        own: Option<SocketAddr>,
    ) -> Result<(), u8> {
        let to = &agreement.alice;
        if agreement.version != VERSION || !is_fresh(agreement.timestamp, now) {
            return Err(code::CHARLIE_UNSPECIFIED);
        }
        // Nobody aims us at a host that has nothing to do with the network (threats P-41, P-42, T61).
        if !self.config.addresses.allows(to) || to.is_ipv4() != bob.addr.is_ipv4() {
            return Err(code::CHARLIE_ADDRESS);
        }
        // Where we are is the first thing that Alice wants to know.
        if own.is_none() {
            return Err(code::CHARLIE_UNSPECIFIED);
        }
        let counts = !self.config.addresses.allow_reserved;
        if counts && !self.punches_to.take(now.mono, Prefix::from(to.ip())) {
            return Err(code::CHARLIE_LIMIT);
        }
        Ok(())
    }

    /// An introducer has sent a RouterInfo of another router: that of Alice, perhaps.
    pub(crate) fn handle_router_info(&mut self, now: Now, bob: ConnId, info: Arc<RouterInfo>) {
        if !self.mine.contains_key(&bob) {
            return;
        }
        self.info_for_intros(now, &info.hash(), &info, false);
        self.held.retain(|held| now.mono.since(held.at) < INFO_KEPT);
        if self.held.len() >= limits::INFOS {
            self.held.pop_front();
        }
        self.held.push_back(Held { bob, info, at: now.mono });
    }

    /// A RouterInfo is here that requests may wait for; `verified` if somebody has verified it.
    pub(super) fn info_for_intros(&mut self, now: Now, router: &Hash, info: &Arc<RouterInfo>, verified: bool) {
        let waiting: Vec<_> =
            self.intros.iter().filter(|(_, intro)| intro.awaits(router)).map(|(key, _)| *key).collect();
        for key in waiting {
            let Some(intro) = self.intros.get_mut(&key) else { continue };
            let intro_key = match key_of(info, &intro.to) {
                Ok(key) => key,
                Err(code) => {
                    self.refuse(now, key, code);
                    continue;
                }
            };
            intro.answer = Answer::Checking(intro_key);
            let check = Check {
                signer: Arc::clone(info),
                unverified: !verified,
                message: RelayAgreement::signed_message(&intro.bytes, &intro.bob.router, &self.config.router),
                signature: std::mem::take(&mut intro.signature),
            };
            let sign = |bytes: &[u8]| Some(RelayResponse::signed_message(bytes, &intro.bob.router));
            let signature = Signature { if_good: sign(&intro.agreed), if_bad: sign(&intro.refused) };
            self.timers.set(Timer::Intro(key), now.mono + super::FORWARD);
            if !self.work(now, Work::Intro(key), Some(check), signature) {
                self.forget_intro(&key);
            }
        }
    }

    /// Alice's RouterInfo has not come, or a job got lost.
    pub(super) fn intro_without_info(&mut self, now: Now, key: (ConnId, u32)) {
        match self.intros.get(&key).map(|intro| &intro.answer) {
            Some(Answer::NoInfo) => self.refuse(now, key, code::CHARLIE_NO_ALICE),
            _ => {
                self.intros.remove(&key);
            }
        }
    }

    fn forget_intro(&mut self, key: &(ConnId, u32)) -> Option<Intro> {
        self.timers.cancel(&Timer::Intro(*key));
        self.intros.remove(key)
    }

    fn refuse(&mut self, now: Now, key: (ConnId, u32), code: u8) {
        let Some(intro) = self.intros.get_mut(&key) else { return };
        intro.answer = Answer::Refusing(code);
        let message = RelayResponse::signed_message(&intro.refused, &intro.bob.router);
        self.timers.set(Timer::Intro(key), now.mono + super::FORWARD);
        if !self.work(now, Work::Intro(key), None, Signature::of(message)) {
            self.forget_intro(&key);
        }
    }

    /// Our answer is signed: Bob gets it, and when we agree Alice does, too, where she says that she is.
    pub(super) fn intro_checked(&mut self, now: Now, key: (ConnId, u32), done: &RelayDone) {
        let Some(intro) = self.forget_intro(&key) else { return };
        let Some(signature) = &done.signature else { return };
        let code = match intro.answer {
            Answer::Refusing(code) => code,
            _ if done.good => code::ACCEPT,
            _ => code::CHARLIE_SIGNATURE,
        };
        let bytes = if code == code::ACCEPT { &intro.agreed } else { &intro.refused };
        let mut response = Vec::with_capacity(128);
        RelayResponse::encode(&mut response, code, &Signed { bytes, signature }, Some(intro.token));
        if let (Answer::Checking(intro_key), code::ACCEPT) = (&intro.answer, code) {
            self.punch(now, key.1, (intro.alice, intro.to), intro_key, &response);
        }
        self.events.push_back(Event::Blocks { conn: key.0, blocks: response });
    }

    /// One for each request (threats P-41): if it is lost behind our translator it has done its work there, and Alice
    /// hears of us by Bob.
    fn punch(&mut self, now: Now, nonce: u32, (alice, to): (Hash, SocketAddr), intro_key: &[u8; 32], response: &[u8]) {
        let mut blocks = Vec::with_capacity(response.len() + 48);
        Block::encode_date_time(&mut blocks, now.unix_secs());
        Block::encode_address(&mut blocks, &to);
        blocks.extend_from_slice(response);
        Block::encode_padding(&mut blocks, self.rng.below(16));
        let destination = connection_id(nonce);
        let ids = (destination, destination.inverse());
        let intro = IntroKey::new(*intro_key);
        let network = self.config.network_id;
        let packet = outside::message(&intro, MessageType::HolePunch, ids, network, &blocks, &mut self.rng);
        if let Some(bytes) = packet {
            self.events.push_back(Event::Punch { alice, to, bytes });
        }
    }
}

/// The connection ID that a nonce stands for in a HolePunch.
pub(super) fn connection_id(nonce: u32) -> ConnectionId {
    ConnectionId(u64::from(nonce) << 32 | u64::from(nonce))
}

/// Alice's introduction key; or why she is not answered: she has no SSU2, or publishes that she is somewhere else.
fn key_of(alice: &RouterInfo, to: &SocketAddr) -> Result<[u8; 32], u8> {
    let addresses = alice.ssu2_addresses();
    let mut of_family = addresses
        .iter()
        .filter_map(|address| Some((address.host?, address.intro_key)))
        .filter(|(host, _)| host.is_ipv4() == to.is_ipv4())
        .peekable();
    if of_family.peek().is_some() {
        let origin = Origin::from(to.ip());
        let here = of_family.find(|(host, _)| Origin::from(*host) == origin);
        return here.map(|(_, key)| key).ok_or(code::CHARLIE_ADDRESS);
    }
    addresses.first().map(|address| address.intro_key).ok_or(code::CHARLIE_NO_ALICE)
}
