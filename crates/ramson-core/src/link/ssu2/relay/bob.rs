//! Bob: who has a session with a router that cannot be dialled gives it a tag, and introduces others to it.

use super::job::{Check, Signature};
use super::{Event, FORWARD, Peer, Relay, Timer, Work, code, is_fresh, limits};
use crate::link::ConnId;
use crate::link::address::{Origin, Prefix};
use crate::link::ssu2::transfer::Transfer;
use crate::time::Now;
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::i2np::database_store::gzip;
use ramson_wire::ssu2::{
    Block, RelayAgreement, RelayIntro, RelayRequest, RelayResponse, RouterInfoBlock, Signed, VERSION,
};
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// A tag of ours, and the session that it stands for.
pub(super) struct Tag {
    charlie: Hash,
    conn: ConnId,
    v4: bool,
}

/// A request that is being checked, or has been passed on.
pub(super) struct Forward {
    alice: Peer,
    charlie: Hash,
    tag: u32,
    /// As Alice has signed them, and her signature.
    bytes: Vec<u8>,
    signature: Vec<u8>,
    /// It has not gone to Charlie: her RouterInfo is waited for, or known and her signature is being checked.
    waits: Option<Option<Arc<RouterInfo>>>,
}

impl Relay {
    /// By which families nobody can dial us: by those we introduce nobody, and look for routers that introduce us.
    pub(crate) fn set_firewalled(&mut self, now: Now, v4: bool, v6: bool) {
        let before = std::mem::replace(&mut self.firewalled, super::Families { v4, v6 });
        if before == self.firewalled {
            return;
        }
        self.tags.retain(|_, tag| !(if tag.v4 { v4 } else { v6 }));
        self.forget_needless(now);
        self.timers.set(Timer::Tend, now.mono);
    }

    /// A peer asks to be introduced to others.
    pub(crate) fn handle_tag_request(&mut self, charlie: &Peer) {
        let v4 = charlie.addr.is_ipv4();
        if self.firewalled.has(v4) {
            return;
        }
        // Asked again it gets the same: what we said may have come too late.
        let known = self.tags.iter().find(|(_, tag)| tag.conn == charlie.conn).map(|(tag, _)| *tag);
        let tag = match known {
            Some(tag) => tag,
            None if self.tags.len() >= limits::TAGS => return,
            None => loop {
                let tag = self.rng.nonzero_u32();
                if let Entry::Vacant(vacant) = self.tags.entry(tag) {
                    vacant.insert(Tag { charlie: charlie.router, conn: charlie.conn, v4 });
                    break tag;
                }
            },
        };
        let mut blocks = Vec::new();
        Block::encode_relay_tag(&mut blocks, tag);
        self.events.push_back(Event::Blocks { conn: charlie.conn, blocks });
    }

    pub(super) fn forget_tags(&mut self, conn: ConnId) {
        self.tags.retain(|_, tag| tag.conn != conn);
        let gone: Vec<_> = self.forwards.range((conn, 0)..=(conn, u32::MAX)).map(|(key, _)| *key).collect();
        for key in gone {
            self.forget_forward(&key);
        }
    }

    fn forget_forward(&mut self, key: &(ConnId, u32)) -> Option<Forward> {
        self.timers.cancel(&Timer::Forward(*key));
        self.forwards.remove(key)
    }

    /// Alice asks to be introduced to whom a tag of ours stands for.
    pub(crate) fn handle_request(&mut self, now: Now, alice: &Peer, request: &RelayRequest<'_>) {
        let agreement = &request.agreement;
        let prefix = Prefix::from(alice.addr.ip());
        let counts = !self.config.addresses.allow_reserved;
        let allowed = self.requests_of.take(now.mono, alice.router)
            && (!counts || self.requests_from.take(now.mono, prefix))
            && self.requests.take(now.mono);
        let verdict = if allowed { self.judge(now, alice, agreement) } else { Err(code::BOB_LIMIT) };
        let (conn, charlie) = match verdict {
            Ok(tag) => tag,
            Err(code) => return self.reject(now, alice, agreement.nonce, code),
        };
        let key = (conn, agreement.nonce);
        if self.forwards.contains_key(&key) {
            return;
        }
        let of_alice = self.forwards.values().filter(|forward| forward.alice.router == alice.router).count();
        if self.forwards.len() >= limits::FORWARDS || of_alice >= limits::FORWARDS_PER_PEER {
            return self.reject(now, alice, agreement.nonce, code::BOB_LIMIT);
        }
        let forward = Forward {
            alice: *alice,
            charlie,
            tag: agreement.tag,
            bytes: request.signed.bytes.to_vec(),
            signature: request.signed.signature.to_vec(),
            waits: Some(None),
        };
        self.forwards.insert(key, forward);
        self.timers.set(Timer::Forward(key), now.mono + FORWARD);
        self.events.push_back(Event::Info { router: alice.router });
    }

    /// Whom the tag stands for, or why Alice is not introduced.
    fn judge(&self, now: Now, alice: &Peer, agreement: &RelayAgreement) -> Result<(ConnId, Hash), u8> {
        if agreement.version != VERSION || !is_fresh(agreement.timestamp, now) {
            return Err(code::BOB_UNSPECIFIED);
        }
        let tag = self.tags.get(&agreement.tag).ok_or(code::BOB_NO_TAG)?;
        let to = &agreement.alice;
        // Charlie will send there: never to whom Alice is not, as far as we can see that, nor to a host that has nothing
        // to do with the network (threats P-41, P-42, T61).
        let same_family = to.is_ipv4() == alice.addr.is_ipv4();
        let hers = !same_family || Origin::from(to.ip()) == Origin::from(alice.addr.ip());
        let allowed = self.config.addresses.allows(to) && to.is_ipv4() == tag.v4;
        if !hers || !allowed || tag.charlie == alice.router {
            return Err(code::BOB_UNSPECIFIED);
        }
        Ok((tag.conn, tag.charlie))
    }

    fn reject(&mut self, now: Now, alice: &Peer, nonce: u32, code: u8) {
        if !self.rejections.take(now.mono) {
            return;
        }
        let bytes = RelayResponse::to_be_signed(nonce, now.unix_secs(), None);
        let message = RelayResponse::signed_message(&bytes, &self.config.router);
        let work = Work::Rejection { alice: alice.conn, code, bytes };
        self.work(now, work, None, Signature::of(message));
    }

    /// Alice's RouterInfo is here, or nobody has it.
    pub(super) fn info_for_forwards(&mut self, now: Now, router: &Hash, info: Option<&Arc<RouterInfo>>) {
        let of_her = |forward: &Forward| forward.alice.router == *router && matches!(forward.waits, Some(None));
        let waiting: Vec<_> =
            self.forwards.iter().filter(|(_, forward)| of_her(forward)).map(|(key, _)| *key).collect();
        for key in waiting {
            let Some(info) = info else {
                if let Some(forward) = self.forget_forward(&key) {
                    self.reject(now, &forward.alice, key.1, code::BOB_NO_ALICE);
                }
                continue;
            };
            let Some(forward) = self.forwards.get_mut(&key) else { continue };
            forward.waits = Some(Some(Arc::clone(info)));
            let message = RelayAgreement::signed_message(&forward.bytes, &self.config.router, &forward.charlie);
            let signature = forward.signature.clone();
            let check = Check { signer: Arc::clone(info), unverified: false, message, signature };
            if !self.work(now, Work::Forward(key), Some(check), Signature::default()) {
                self.forget_forward(&key);
            }
        }
    }

    /// Alice's signature is checked: the request goes to Charlie, with her RouterInfo.
    pub(super) fn request_checked(&mut self, now: Now, key: (ConnId, u32), good: bool) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        let Some(Some(info)) = forward.waits.take() else { return };
        // The tag may have gone meanwhile.
        let gone = self.tags.get(&forward.tag).is_none_or(|tag| tag.conn != key.0);
        if !good || gone {
            let code = if good { code::BOB_NO_TAG } else { code::BOB_SIGNATURE };
            if let Some(forward) = self.forget_forward(&key) {
                self.reject(now, &forward.alice, key.1, code);
            }
            return;
        }
        let mut intro = Vec::new();
        let signed = Signed { bytes: &forward.bytes, signature: &forward.signature };
        RelayIntro::encode(&mut intro, &forward.alice.router, &signed);
        let mut blocks = Vec::new();
        RouterInfoBlock { flood: false, gzip: false, data: info.as_bytes() }.encode(&mut blocks);
        if blocks.len() + intro.len() > Transfer::BLOCK_ROOM {
            blocks.clear();
            RouterInfoBlock { flood: false, gzip: true, data: &gzip(info.as_bytes()) }.encode(&mut blocks);
        }
        if blocks.len() + intro.len() > Transfer::BLOCK_ROOM {
            blocks.clear();
            self.events.push_back(Event::Store { conn: key.0, info });
        }
        blocks.extend_from_slice(&intro);
        self.events.push_back(Event::Blocks { conn: key.0, blocks });
    }

    /// Charlie has answered: Alice gets it as it is. False when it answers nothing that we have passed on.
    pub(super) fn pass_on(&mut self, charlie: ConnId, response: &RelayResponse<'_>) -> bool {
        let key = (charlie, response.nonce);
        if self.forwards.get(&key).is_none_or(|forward| forward.waits.is_some()) {
            return false;
        }
        let Some(forward) = self.forget_forward(&key) else { return false };
        let mut blocks = Vec::new();
        RelayResponse::encode(&mut blocks, response.code, &response.signed, response.token);
        self.events.push_back(Event::Blocks { conn: forward.alice.conn, blocks });
        true
    }
}
