//! The handshake IK with Elligator2 keys, and the Diffie-Hellman of later ratchets, as jobs.
//!
//! - New Session: `representative :: 32`, `static key or zeros :: 32 + 16`, `payload + 16`
//! - New Session Reply: `tag :: 8`, `representative :: 32`, `tag of an empty section :: 16`, `payload + 16`

use super::tag_set::TagSet;
use crate::rng::Rng;
use ramson_wire::crypto::aead::{AeadKey, TAG_LEN};
use ramson_wire::crypto::elligator2::{self, KeyPair};
use ramson_wire::crypto::hash::hkdf32;
use ramson_wire::crypto::noise::SymmetricState;
use ramson_wire::crypto::x25519::{PublicKey, SecretKey};
use ramson_wire::crypto::{CryptoError, Secret};

const PROTOCOL: &[u8] = b"Noise_IKelg2+hs2_25519_ChaChaPoly_SHA256";
const STATIC_SECTION: usize = 32 + TAG_LEN;
/// Bytes that a New Session message adds to its payload.
pub const NEW_SESSION_OVERHEAD: usize = 32 + STATIC_SECTION + TAG_LEN;
/// Bytes that a New Session Reply adds to its payload.
pub const REPLY_OVERHEAD: usize = 8 + 32 + TAG_LEN + TAG_LEN;

/// Public-key work of the sessions of one destination.
pub struct SessionJob {
    pub(crate) id: u64,
    pub(crate) work: Work,
}

/// The result of a [`SessionJob`].
pub struct SessionDone {
    pub(crate) id: u64,
    pub(crate) result: Result<Done, CryptoError>,
}

impl SessionJob {
    /// The result of this job when it has panicked.
    pub(crate) const fn failed(&self) -> SessionDone {
        SessionDone { id: self.id, result: Err(CryptoError) }
    }
}

impl std::fmt::Debug for SessionJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionJob({})", self.id)
    }
}

impl std::fmt::Debug for SessionDone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionDone({})", self.id)
    }
}

impl SessionJob {
    pub fn run(self, rng: &mut Rng) -> SessionDone {
        let result = match self.work {
            Work::CreateNewSession(job) => job.run(rng).map(Done::NewSessionCreated),
            Work::ReadNewSession(job) => job.run().map(Done::NewSessionRead),
            Work::CreateReply(job) => job.run(rng).map(Done::ReplyCreated),
            Work::ReadReply(job) => job.run().map(Done::ReplyRead),
            Work::Ratchet(job) => job.run(rng).map(Done::Ratcheted),
        };
        SessionDone { id: self.id, result }
    }
}

pub(crate) enum Work {
    CreateNewSession(CreateNewSession),
    ReadNewSession(ReadNewSession),
    CreateReply(CreateReply),
    ReadReply(ReadReply),
    Ratchet(Ratchet),
}

pub(crate) enum Done {
    NewSessionCreated(NewSessionCreated),
    NewSessionRead(NewSessionRead),
    ReplyCreated(ReplyCreated),
    ReplyRead(ReplyRead),
    Ratcheted(Ratcheted),
}

/// Alice's first message to Bob.
pub(crate) struct CreateNewSession {
    /// Her own static key; none for a message without reply.
    pub(crate) own: Option<SecretKey>,
    pub(crate) peer: PublicKey,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct NewSessionCreated {
    pub(crate) encrypted: Vec<u8>,
    pub(crate) sent: NewSessionSent,
}

/// What Alice keeps to read replies.
#[derive(Clone)]
pub(crate) struct NewSessionSent {
    state: SymmetricState,
    ephemeral: SecretKey,
}

impl NewSessionSent {
    pub(crate) fn reply_tags(&self) -> TagSet {
        TagSet::of_replies(self.state.ck())
    }
}

impl CreateNewSession {
    fn run(self, rng: &mut Rng) -> Result<NewSessionCreated, CryptoError> {
        let keys = KeyPair::random(rng);
        let mut state = SymmetricState::new(PROTOCOL);
        state.mix_hash(&self.peer.0);
        state.mix_hash(&keys.public.0);
        state.mix_key(&keys.secret.diffie_hellman(&self.peer)?);
        let mut encrypted = Vec::with_capacity(NEW_SESSION_OVERHEAD + self.payload.len());
        encrypted.extend_from_slice(&keys.representative);
        encrypted.extend_from_slice(&self.own.as_ref().map_or([0; 32], |own| own.public_key().0));
        state.seal_tail(0, &mut encrypted, 32);
        let nonce = match &self.own {
            Some(own) => {
                state.mix_key(&own.diffie_hellman(&self.peer)?);
                0
            }
            None => 1,
        };
        let from = encrypted.len();
        encrypted.extend_from_slice(&self.payload);
        state.seal_tail(nonce, &mut encrypted, from);
        Ok(NewSessionCreated { encrypted, sent: NewSessionSent { state, ephemeral: keys.secret } })
    }
}

/// Bob reads Alice's first message.
pub(crate) struct ReadNewSession {
    pub(crate) own: SecretKey,
    pub(crate) encrypted: Vec<u8>,
}

pub(crate) struct NewSessionRead {
    /// Names the message: no two messages that open have the same.
    pub(crate) ephemeral: PublicKey,
    pub(crate) payload: Vec<u8>,
    /// None when Alice wants no reply.
    pub(crate) received: Option<NewSessionReceived>,
}

/// What Bob keeps to reply.
#[derive(Clone)]
pub(crate) struct NewSessionReceived {
    state: SymmetricState,
    ephemeral: PublicKey,
    pub(crate) peer: PublicKey,
}

impl NewSessionReceived {
    pub(crate) fn reply_tags(&self) -> TagSet {
        TagSet::of_replies(self.state.ck())
    }
}

impl ReadNewSession {
    fn run(mut self) -> Result<NewSessionRead, CryptoError> {
        let (representative, rest) = self.encrypted.split_first_chunk_mut::<32>().ok_or(CryptoError)?;
        let (section, payload) = rest.split_at_mut_checked(STATIC_SECTION).ok_or(CryptoError)?;
        let ephemeral = elligator2::decode(representative);
        let mut state = SymmetricState::new(PROTOCOL);
        state.mix_hash(&self.own.public_key().0);
        state.mix_hash(&ephemeral.0);
        state.mix_key(&self.own.diffie_hellman(&ephemeral)?);
        let peer = *state.open(0, section)?.first_chunk::<32>().ok_or(CryptoError)?;
        let bound = peer != [0; 32];
        if bound {
            state.mix_key(&self.own.diffie_hellman(&PublicKey(peer))?);
        }
        let payload = state.open(if bound { 0 } else { 1 }, payload)?.to_vec();
        let received = bound.then(|| NewSessionReceived { state, ephemeral, peer: PublicKey(peer) });
        Ok(NewSessionRead { ephemeral, payload, received })
    }
}

/// Bob's reply.
pub(crate) struct CreateReply {
    pub(crate) received: NewSessionReceived,
    /// The next of [`NewSessionReceived::reply_tags`].
    pub(crate) tag: [u8; 8],
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct ReplyCreated {
    pub(crate) encrypted: Vec<u8>,
    pub(crate) sets: TagSets,
}

/// The first tag sets of a session.
pub(crate) struct TagSets {
    pub(crate) send: TagSet,
    pub(crate) receive: TagSet,
}

impl CreateReply {
    fn run(self, rng: &mut Rng) -> Result<ReplyCreated, CryptoError> {
        let keys = KeyPair::random(rng);
        let NewSessionReceived { mut state, ephemeral, peer } = self.received;
        state.mix_hash(&self.tag);
        state.mix_hash(&keys.public.0);
        state.mix_key(&keys.secret.diffie_hellman(&ephemeral)?);
        state.mix_key(&keys.secret.diffie_hellman(&peer)?);
        let mut encrypted = Vec::with_capacity(REPLY_OVERHEAD + self.payload.len());
        encrypted.extend_from_slice(&self.tag);
        encrypted.extend_from_slice(&keys.representative);
        let from = encrypted.len();
        state.seal_tail(0, &mut encrypted, from);
        let split = Split::of(&state);
        let from = encrypted.len();
        encrypted.extend_from_slice(&self.payload);
        split.payload.seal_tail(0, state.h(), &mut encrypted, from);
        Ok(ReplyCreated { encrypted, sets: TagSets { send: split.bob_to_alice, receive: split.alice_to_bob } })
    }
}

/// Alice reads a reply.
pub(crate) struct ReadReply {
    pub(crate) own: SecretKey,
    pub(crate) sent: NewSessionSent,
    pub(crate) encrypted: Vec<u8>,
}

pub(crate) struct ReplyRead {
    pub(crate) payload: Vec<u8>,
    pub(crate) sets: TagSets,
}

impl ReadReply {
    fn run(mut self) -> Result<ReplyRead, CryptoError> {
        let (tag, rest) = self.encrypted.split_first_chunk_mut::<8>().ok_or(CryptoError)?;
        let (representative, rest) = rest.split_first_chunk_mut::<32>().ok_or(CryptoError)?;
        let (section, payload) = rest.split_at_mut_checked(TAG_LEN).ok_or(CryptoError)?;
        let bob = elligator2::decode(representative);
        let NewSessionSent { mut state, ephemeral } = self.sent;
        state.mix_hash(tag);
        state.mix_hash(&bob.0);
        state.mix_key(&ephemeral.diffie_hellman(&bob)?);
        state.mix_key(&self.own.diffie_hellman(&bob)?);
        state.open(0, section)?;
        let split = Split::of(&state);
        let payload = split.payload.open(0, state.h(), payload)?.to_vec();
        Ok(ReplyRead { payload, sets: TagSets { send: split.alice_to_bob, receive: split.bob_to_alice } })
    }
}

struct Split {
    alice_to_bob: TagSet,
    bob_to_alice: TagSet,
    payload: AeadKey,
}

impl Split {
    fn of(state: &SymmetricState) -> Self {
        let (ab, ba) = state.split();
        Self {
            alice_to_bob: TagSet::new(0, state.ck(), &ab),
            bob_to_alice: TagSet::new(0, state.ck(), &ba),
            payload: AeadKey::new(&hkdf32(&ba, b"", b"AttachPayloadKDF")),
        }
    }
}

/// A step of the ratchet after NextKey blocks.
pub(crate) struct Ratchet {
    /// The own key; a new one is drawn when there is none.
    pub(crate) own: Option<SecretKey>,
    /// The other side's key with the root and the id of the new tag set; without it only a key is drawn.
    pub(crate) step: Option<(PublicKey, Secret, u16)>,
}

pub(crate) struct Ratcheted {
    pub(crate) own: SecretKey,
    pub(crate) own_public: PublicKey,
    pub(crate) set: Option<TagSet>,
}

impl Ratchet {
    fn run(self, rng: &mut Rng) -> Result<Ratcheted, CryptoError> {
        let own = self.own.unwrap_or_else(|| SecretKey::random(rng));
        let set = match self.step {
            Some((peer, root, id)) => Some(TagSet::successor(&root, id, &own.diffie_hellman(&peer)?)),
            None => None,
        };
        Ok(Ratcheted { own_public: own.public_key(), own, set })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (SecretKey, SecretKey) {
        (SecretKey::from_bytes([3; 32]), SecretKey::from_bytes([4; 32]))
    }

    #[test]
    fn both_sides_get_the_same_tag_sets() {
        let (alice, bob) = keys();
        let rng = &mut Rng::from_seed([1; 32]);
        let create = CreateNewSession { own: Some(alice.clone()), peer: bob.public_key(), payload: b"hello".to_vec() };
        let created = create.run(rng).unwrap();
        assert_eq!(created.encrypted.len(), NEW_SESSION_OVERHEAD + 5);
        let read = ReadNewSession { own: bob, encrypted: created.encrypted }.run().unwrap();
        assert_eq!(read.payload, b"hello");
        let received = read.received.unwrap();
        assert_eq!(received.peer, alice.public_key());
        let (mut hers, mut his) = (created.sent.reply_tags(), received.reply_tags());
        for _ in 0..3 {
            let tag = his.next_entry().unwrap().tag;
            assert_eq!(hers.next_entry().unwrap().tag, tag);
            let create = CreateReply { received: received.clone(), tag, payload: b"welcome".to_vec() };
            let reply = create.run(rng).unwrap();
            assert_eq!(reply.encrypted.len(), REPLY_OVERHEAD + 7);
            let read = ReadReply { own: alice.clone(), sent: created.sent.clone(), encrypted: reply.encrypted };
            let mut read = read.run().unwrap();
            assert_eq!(read.payload, b"welcome");
            let mut reply = reply.sets;
            assert_eq!(read.sets.send.next_entry().unwrap().tag, reply.receive.next_entry().unwrap().tag);
            assert_eq!(read.sets.receive.next_entry().unwrap().key, reply.send.next_entry().unwrap().key);
        }
    }

    #[test]
    fn t85_every_flipped_byte_of_both_messages_is_refused() {
        let (alice, bob) = keys();
        let rng = &mut Rng::from_seed([2; 32]);
        for own in [Some(alice.clone()), None] {
            let create = CreateNewSession { own: own.clone(), peer: bob.public_key(), payload: b"hello".to_vec() };
            let created = create.run(rng).unwrap();
            let read = |encrypted: Vec<u8>| ReadNewSession { own: bob.clone(), encrypted }.run();
            for i in 0..created.encrypted.len() {
                let mut bad = created.encrypted.clone();
                bad[i] ^= 1;
                assert!(read(bad).is_err(), "byte {i}");
                assert!(read(created.encrypted[..i].to_vec()).is_err());
            }
            let mut other_top = created.encrypted.clone();
            other_top[31] ^= 0xc0;
            let first = read(created.encrypted.clone()).unwrap();
            assert_eq!(read(other_top).unwrap().ephemeral, first.ephemeral, "the random bits do not make it new");
            let Some(received) = first.received else {
                assert!(own.is_none());
                continue;
            };
            let create = CreateReply { received, tag: [9; 8], payload: b"welcome".to_vec() };
            let reply = create.run(rng).unwrap().encrypted;
            for i in 0..reply.len() {
                let mut bad = reply.clone();
                bad[i] ^= 1;
                let read = |encrypted| ReadReply { own: alice.clone(), sent: created.sent.clone(), encrypted }.run();
                assert!(read(bad).is_err(), "byte {i}");
                assert!(read(reply[..i].to_vec()).is_err());
            }
        }
    }

    #[test]
    fn t85_keys_of_low_order_are_refused() {
        let (_, bob) = keys();
        // The representative 0 stands for -A; 32 zeros behind it open for nobody.
        assert!(ReadNewSession { own: bob, encrypted: vec![0; 200] }.run().is_err());
        let rng = &mut Rng::from_seed([3; 32]);
        assert!(CreateNewSession { own: None, peer: PublicKey([0; 32]), payload: vec![] }.run(rng).is_err());
        let low = Ratchet { own: None, step: Some((PublicKey([0; 32]), [1; 32].into(), 1)) };
        assert!(low.run(rng).is_err());
    }
}
