//! The NTCP2 handshake: Noise XK with obfuscated ephemeral keys, as typestates.
//!
//! Initiator: [`Initiator`] -> message 1 -> [`AwaitCreated`] -> [`AwaitCreatedPadding`] -> message 3, [`Established`]
//! Responder: [`Responder`] -> [`AwaitRequestPadding`] -> message 2 and [`AwaitConfirmed`] -> [`Established`]
//!
//! Every step that costs a public-key operation is meant to run as a job. The types leave room for the hybrid
//! post-quantum variant: it adds one frame to messages 1 and 2 and a `mix_key_bytes` to each side.

use crate::rng::Rng;
use ramson_wire::codec::DecodeError;
use ramson_wire::crypto::noise::SymmetricState;
use ramson_wire::crypto::x25519::{PublicKey, SecretKey};
use ramson_wire::crypto::{CryptoError, Secret, aes, hash};
use ramson_wire::data::Hash;
use ramson_wire::ntcp2::{CreatedOptions, HANDSHAKE_FIXED, HANDSHAKE_MAX, PROTOCOL, RequestOptions, VERSION};

const TAG: usize = 16;

/// Why a handshake failed. None of it is told to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer's bytes do not authenticate: a wrong key, a probe, or damage.
    #[error("does not authenticate")]
    Crypto,
    /// The opened content is malformed.
    #[error("malformed: {0}")]
    Malformed(DecodeError),
    /// The peer belongs to another network.
    #[error("network id {0} is not ours")]
    NetworkId(u8),
    /// The peer speaks another version.
    #[error("version {0} is not supported")]
    Version(u8),
    /// More padding than every deployed router accepts.
    #[error("padding of {0} bytes is too long")]
    Padding(u16),
    /// Message 3 part 2 cannot hold a RouterInfo, or would not fit.
    #[error("message 3 of {0} bytes")]
    ConfirmedLength(u16),
}

impl From<CryptoError> for HandshakeError {
    fn from(_: CryptoError) -> Self {
        Self::Crypto
    }
}

impl From<DecodeError> for HandshakeError {
    fn from(e: DecodeError) -> Self {
        Self::Malformed(e)
    }
}

/// What the responder publishes: its identity hash, static key and the IV that obfuscates the ephemeral keys.
#[derive(Clone, Copy, Debug)]
pub struct ResponderKeys {
    pub router: Hash,
    pub static_key: PublicKey,
    pub iv: [u8; 16],
}

/// The keys of the data phase of both directions.
#[derive(Debug)]
pub struct DataKeys {
    pub send: Secret,
    pub receive: Secret,
    pub send_length: Secret,
    pub receive_length: Secret,
}

fn data_keys(state: &SymmetricState, initiator: bool) -> DataKeys {
    let (ab, ba) = pair(state.split());
    let ask = hash::hkdf32(state.ck(), b"", b"ask");
    let mut with_name = state.h().to_vec();
    with_name.extend_from_slice(b"siphash");
    let sip = hash::hkdf32(&ask, &with_name, b"");
    let (sip_ab, sip_ba) = pair(hash::hkdf64(&sip, b"", b""));
    match initiator {
        true => DataKeys { send: ab, receive: ba, send_length: sip_ab, receive_length: sip_ba },
        false => DataKeys { send: ba, receive: ab, send_length: sip_ba, receive_length: sip_ab },
    }
}

fn pair((ab, ba): ([u8; 32], [u8; 32])) -> (Secret, Secret) {
    (ab.into(), ba.into())
}

/// The side that dials ("Alice").
pub struct Initiator {
    pub static_key: SecretKey,
    pub responder: ResponderKeys,
    pub network_id: u8,
    /// Our clock, seconds since 1970.
    pub timestamp: u32,
    pub padding: Vec<u8>,
    /// The blocks of message 3 part 2: our RouterInfo, and padding.
    pub payload: Vec<u8>,
}

impl Initiator {
    /// Makes message 1. One key pair and one Diffie-Hellman.
    pub fn request(self, rng: &mut Rng) -> Result<(Vec<u8>, AwaitCreated), HandshakeError> {
        let length = |n: usize| u16::try_from(n).map_err(|_| HandshakeError::ConfirmedLength(u16::MAX));
        let mut state = SymmetricState::new(PROTOCOL);
        state.mix_hash(&self.responder.static_key.0);
        let ephemeral = SecretKey::random(rng);
        let public = ephemeral.public_key().0;
        state.mix_hash(&public);
        let mut message = public.to_vec();
        aes::cbc_encrypt(self.responder.router.as_bytes(), &self.responder.iv, &mut message);
        let iv = last_block(&message);
        state.mix_key(&ephemeral.diffie_hellman(&self.responder.static_key)?);
        RequestOptions {
            network_id: self.network_id,
            version: VERSION,
            padding: length(self.padding.len())?,
            confirmed_part2: length(self.payload.len() + TAG)?,
            timestamp: self.timestamp,
        }
        .encode(&mut message);
        state.seal_tail(0, &mut message, 32);
        if !self.padding.is_empty() {
            state.mix_hash(&self.padding);
            message.extend_from_slice(&self.padding);
        }
        let next = AwaitCreated {
            state,
            ephemeral,
            static_key: self.static_key,
            router: self.responder.router,
            iv,
            payload: self.payload,
        };
        Ok((message, next))
    }
}

/// Message 1 is out.
pub struct AwaitCreated {
    state: SymmetricState,
    ephemeral: SecretKey,
    static_key: SecretKey,
    router: Hash,
    iv: [u8; 16],
    payload: Vec<u8>,
}

impl AwaitCreated {
    /// Reads the first 64 bytes of message 2. One Diffie-Hellman.
    pub fn created(
        mut self,
        message: &[u8; HANDSHAKE_FIXED],
    ) -> Result<(CreatedOptions, AwaitCreatedPadding), HandshakeError> {
        let mut message = *message;
        let (key, sealed) = message.split_at_mut(32);
        aes::cbc_decrypt(self.router.as_bytes(), &self.iv, key);
        let public = array32(key);
        self.state.mix_hash(&public);
        self.state.mix_key(&self.ephemeral.diffie_hellman(&PublicKey(public))?);
        let options = CreatedOptions::decode(self.state.open(0, sealed)?)?;
        if usize::from(options.padding) + HANDSHAKE_FIXED > HANDSHAKE_MAX_RECEIVED {
            return Err(HandshakeError::Padding(options.padding));
        }
        let next = AwaitCreatedPadding {
            state: self.state,
            peer: PublicKey(public),
            static_key: self.static_key,
            payload: self.payload,
        };
        Ok((options, next))
    }
}

/// Longest message 1 or 2 that we read: Java I2P from API 0.9.69 may send up to 880 bytes.
pub const HANDSHAKE_MAX_RECEIVED: usize = 880;
const _: () = assert!(HANDSHAKE_MAX <= HANDSHAKE_MAX_RECEIVED);

/// Message 2 is read but for its padding.
pub struct AwaitCreatedPadding {
    state: SymmetricState,
    peer: PublicKey,
    static_key: SecretKey,
    payload: Vec<u8>,
}

impl AwaitCreatedPadding {
    /// Takes the padding of message 2 and makes message 3. One Diffie-Hellman.
    pub fn confirm(mut self, padding: &[u8]) -> Result<(Vec<u8>, Established), HandshakeError> {
        if !padding.is_empty() {
            self.state.mix_hash(padding);
        }
        let mut message = self.static_key.public_key().0.to_vec();
        self.state.seal_tail(1, &mut message, 0);
        self.state.mix_key(&self.static_key.diffie_hellman(&self.peer)?);
        let part2 = message.len();
        message.extend_from_slice(&self.payload);
        self.state.seal_tail(0, &mut message, part2);
        Ok((message, Established { keys: data_keys(&self.state, true) }))
    }
}

/// The handshake is done.
#[derive(Debug)]
pub struct Established {
    pub keys: DataKeys,
}

/// The side that is dialled ("Bob"), with the 64 bytes of message 1.
pub struct Responder {
    pub static_key: SecretKey,
    pub keys: ResponderKeys,
    pub network_id: u8,
    /// The ephemeral key, already deobfuscated by [`request_key`].
    pub peer: PublicKey,
    pub message: [u8; HANDSHAKE_FIXED],
}

/// Deobfuscates the ephemeral key of message 1, so that a replay is noticed before any public-key work.
pub fn request_key(keys: &ResponderKeys, message: &[u8; HANDSHAKE_FIXED]) -> PublicKey {
    let mut key = array32(message);
    aes::cbc_decrypt(keys.router.as_bytes(), &keys.iv, &mut key);
    PublicKey(key)
}

impl Responder {
    /// Opens message 1. One Diffie-Hellman.
    pub fn request(self) -> Result<(RequestOptions, AwaitRequestPadding), HandshakeError> {
        // No router makes such keys; two encodings of one would be one replay that is not known again.
        if !self.peer.is_canonical() {
            return Err(HandshakeError::Crypto);
        }
        let mut state = SymmetricState::new(PROTOCOL);
        state.mix_hash(&self.keys.static_key.0);
        state.mix_hash(&self.peer.0);
        state.mix_key(&self.static_key.diffie_hellman(&self.peer)?);
        let mut message = self.message;
        let (key, sealed) = message.split_at_mut(32);
        let iv = last_block(key);
        let options = RequestOptions::decode(state.open(0, sealed)?)?;
        if options.network_id != self.network_id {
            return Err(HandshakeError::NetworkId(options.network_id));
        }
        if options.version != VERSION {
            return Err(HandshakeError::Version(options.version));
        }
        if usize::from(options.padding) + HANDSHAKE_FIXED > HANDSHAKE_MAX_RECEIVED {
            return Err(HandshakeError::Padding(options.padding));
        }
        if !CONFIRMED_PART2_RANGE.contains(&usize::from(options.confirmed_part2)) {
            return Err(HandshakeError::ConfirmedLength(options.confirmed_part2));
        }
        Ok((options, AwaitRequestPadding { state, peer: self.peer, router: self.keys.router, iv }))
    }
}

/// What message 3 part 2 may hold: a RouterInfo block of at least 400 bytes, and no more than Java I2P takes.
const CONFIRMED_PART2_RANGE: std::ops::RangeInclusive<usize> = 400..=6_000;

/// Message 1 is read but for its padding.
pub struct AwaitRequestPadding {
    state: SymmetricState,
    peer: PublicKey,
    router: Hash,
    iv: [u8; 16],
}

impl AwaitRequestPadding {
    /// Takes the padding of message 1 and makes message 2. One key pair and one Diffie-Hellman.
    pub fn create(
        mut self,
        request_padding: &[u8],
        timestamp: u32,
        padding: &[u8],
        rng: &mut Rng,
    ) -> Result<(Vec<u8>, AwaitConfirmed), HandshakeError> {
        if !request_padding.is_empty() {
            self.state.mix_hash(request_padding);
        }
        let ephemeral = SecretKey::random(rng);
        let mut message = ephemeral.public_key().0.to_vec();
        self.state.mix_hash(&message);
        aes::cbc_encrypt(self.router.as_bytes(), &self.iv, &mut message);
        self.state.mix_key(&ephemeral.diffie_hellman(&self.peer)?);
        let len = u16::try_from(padding.len()).map_err(|_| HandshakeError::Padding(u16::MAX))?;
        CreatedOptions { padding: len, timestamp }.encode(&mut message);
        self.state.seal_tail(0, &mut message, 32);
        if !padding.is_empty() {
            self.state.mix_hash(padding);
            message.extend_from_slice(padding);
        }
        Ok((message, AwaitConfirmed { state: self.state, ephemeral }))
    }
}

/// Message 2 is out.
pub struct AwaitConfirmed {
    state: SymmetricState,
    ephemeral: SecretKey,
}

/// What message 3 says: who dialled.
#[derive(Debug)]
pub struct Confirmed {
    /// The initiator's static key, which must be the one in its RouterInfo.
    pub static_key: PublicKey,
    /// The blocks of part 2.
    pub payload: Vec<u8>,
    pub established: Established,
}

impl AwaitConfirmed {
    /// Opens message 3, both parts. One Diffie-Hellman.
    pub fn confirmed(mut self, message: &mut [u8]) -> Result<Confirmed, HandshakeError> {
        let (part1, part2) =
            message.split_at_mut_checked(ramson_wire::ntcp2::CONFIRMED_PART1).ok_or(HandshakeError::Crypto)?;
        let static_key = PublicKey(array32(self.state.open(1, part1)?));
        self.state.mix_key(&self.ephemeral.diffie_hellman(&static_key)?);
        let payload = self.state.open(0, part2)?.to_vec();
        Ok(Confirmed { static_key, payload, established: Established { keys: data_keys(&self.state, false) } })
    }
}

fn array32(bytes: &[u8]) -> [u8; 32] {
    bytes.first_chunk().copied().unwrap_or([0; 32])
}

fn last_block(bytes: &[u8]) -> [u8; 16] {
    bytes.last_chunk().copied().unwrap_or([0; 16])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parties() -> (SecretKey, SecretKey, ResponderKeys) {
        let (alice, bob) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
        let keys = ResponderKeys { router: Hash([3; 32]), static_key: bob.public_key(), iv: [4; 16] };
        (alice, bob, keys)
    }

    fn initiator(alice: &SecretKey, keys: ResponderKeys, padding: usize) -> Initiator {
        Initiator {
            static_key: alice.clone(),
            responder: keys,
            network_id: 99,
            timestamp: 1000,
            padding: vec![9; padding],
            payload: vec![7; 500],
        }
    }

    fn fixed(message: &[u8]) -> [u8; 64] {
        *message.first_chunk().unwrap()
    }

    fn responder(bob: &SecretKey, keys: ResponderKeys, message: [u8; 64]) -> Responder {
        Responder { static_key: bob.clone(), keys, network_id: 99, peer: request_key(&keys, &message), message }
    }

    #[test]
    fn both_sides_agree_with_every_padding() {
        let (alice, bob, keys) = parties();
        let mut rng = Rng::from_seed([8; 32]);
        for padding in [0, 1, 63, 223] {
            let (m1, a) = initiator(&alice, keys, padding).request(&mut rng).unwrap();
            let (request, b) = responder(&bob, keys, fixed(&m1)).request().unwrap();
            assert_eq!(
                (request.timestamp, usize::from(request.padding), request.confirmed_part2),
                (1000, padding, 516)
            );
            let (m2, b) = b.create(&m1[64..], 1001, &vec![6; padding], &mut rng).unwrap();
            let (created, a) = a.created(&fixed(&m2)).unwrap();
            assert_eq!((created.timestamp, usize::from(created.padding)), (1001, padding));
            let (mut m3, a) = a.confirm(&m2[64..]).unwrap();
            let b = b.confirmed(&mut m3).unwrap();
            assert_eq!(b.static_key, alice.public_key());
            assert_eq!(b.payload, vec![7; 500]);
            assert_eq!(a.keys.send, b.established.keys.receive);
            assert_eq!(a.keys.receive, b.established.keys.send);
            assert_eq!(a.keys.send_length, b.established.keys.receive_length);
            assert_eq!(a.keys.receive_length, b.established.keys.send_length);
            assert_ne!(a.keys.send, a.keys.receive);
        }
    }

    /// As the links do it: states wait in boxes between the jobs that move them on, and results go through queues.
    #[cfg(target_os = "linux")]
    #[test]
    fn no_key_of_a_handshake_or_of_its_session_stays_in_the_heap() {
        use super::super::session::{Opener, Sealer};
        use std::collections::VecDeque;
        let mut secrets = crate::heap::Secrets::new();
        let (mut sessions, mut waiting) = (Vec::new(), VecDeque::new());
        for n in 0..100u32 {
            let seed = |kind: &str| hash::sha256(format!("{kind} {n}").as_bytes());
            let mut rng = Rng::from_seed(seed("rng"));
            let (alice, bob) = (SecretKey::from_bytes(seed("alice")), SecretKey::from_bytes(seed("bob")));
            let keys = ResponderKeys { router: Hash([3; 32]), static_key: bob.public_key(), iv: [4; 16] };
            let (m1, a) = initiator(&alice, keys, 10).request(&mut rng).unwrap();
            let (_, b) = responder(&bob, keys, fixed(&m1)).request().unwrap();
            let (a, b) = (Box::new(a), Box::new(b));
            [a.state.ck(), b.state.k(), a.ephemeral.as_bytes()]
                .iter()
                .for_each(|secret| secrets.note(secret.as_slice()));
            let (m2, b) = b.create(&m1[64..], 1001, &[6; 10], &mut rng).unwrap();
            let b = Box::new(b);
            [b.state.ck(), b.state.k(), b.ephemeral.as_bytes()]
                .iter()
                .for_each(|secret| secrets.note(secret.as_slice()));
            let (_, a) = a.created(&fixed(&m2)).unwrap();
            let (mut m3, a) = Box::new(a).confirm(&m2[64..]).unwrap();
            let b = b.confirmed(&mut m3).unwrap();
            [alice.as_bytes(), bob.as_bytes()].iter().for_each(|secret| secrets.note(secret.as_slice()));
            waiting.extend([a, b.established]);
            for Established { keys } in waiting.drain(..) {
                let all = [&keys.send, &keys.receive, &keys.send_length, &keys.receive_length];
                all.iter().for_each(|secret| secrets.note(secret.as_slice()));
                sessions.push(Box::new((Sealer::new(&keys), Opener::new(&keys))));
            }
        }
        for session in &mut sessions {
            let (sealer, _) = &mut **session;
            let mut out = Vec::new();
            let start = Sealer::begin(&mut out);
            sealer.finish(&mut out, start);
        }
        assert!(secrets.count_in_heap() >= 400, "the keys of the sessions are there before");
        drop(sessions);
        assert_eq!(secrets.count_in_heap(), 0, "parts of {}", secrets.len());
    }

    #[test]
    fn a_flipped_bit_in_any_message_ends_the_handshake() {
        let (alice, bob, keys) = parties();
        let run = |flip: Option<(usize, usize)>| -> bool {
            let mut rng = Rng::from_seed([8; 32]);
            let flipped = |which: usize, m: &mut Vec<u8>| {
                if let Some((message, bit)) = flip
                    && message == which
                {
                    let at = bit % (m.len() * 8);
                    m[at / 8] ^= 1 << (at % 8);
                }
            };
            let (mut m1, a) = initiator(&alice, keys, 10).request(&mut rng).unwrap();
            flipped(1, &mut m1);
            let Ok((_, b)) = responder(&bob, keys, fixed(&m1)).request() else { return false };
            let (mut m2, b) = b.create(&m1[64..], 1, &[5; 11], &mut rng).unwrap();
            flipped(2, &mut m2);
            let Ok((_, a)) = a.created(&fixed(&m2)) else { return false };
            let (mut m3, _) = a.confirm(&m2[64..]).unwrap();
            flipped(3, &mut m3);
            b.confirmed(&mut m3).is_ok()
        };
        assert!(run(None));
        for message in 1..=3 {
            // Bit 255 of the ephemeral key is ignored by X25519 but covered by the hash.
            (0..64 * 8).step_by(7).for_each(|bit| assert!(!run(Some((message, bit))), "message {message} bit {bit}"));
        }
    }

    /// Message 1 as one would make it who knows the secret that comes of this ephemeral key.
    fn forged(keys: &ResponderKeys, ephemeral: [u8; 32], shared: &[u8; 32]) -> [u8; 64] {
        let mut state = SymmetricState::new(PROTOCOL);
        state.mix_hash(&keys.static_key.0);
        state.mix_hash(&ephemeral);
        state.mix_key(&ramson_wire::crypto::x25519::SharedSecret(*shared));
        let mut message = ephemeral.to_vec();
        aes::cbc_encrypt(keys.router.as_bytes(), &keys.iv, &mut message);
        let options =
            RequestOptions { network_id: 99, version: VERSION, padding: 0, confirmed_part2: 500, timestamp: 1000 };
        options.encode(&mut message);
        state.seal_tail(0, &mut message, 32);
        fixed(&message)
    }

    /// Threats T36: keys of low order are refused like a random probe, though everybody knows what comes of them; and
    /// so are other encodings of a good key, by which a replay would not be known again.
    #[test]
    fn t36_keys_of_low_order_and_odd_encodings_are_refused() {
        let (alice, bob, keys) = parties();
        let mut prime = [0xff; 32];
        (prime[0], prime[31]) = (0xed, 0x7f);
        let plus = |n: u8| {
            let mut key = prime;
            key[0] += n;
            key
        };
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = prime;
        minus_one[0] -= 1;
        let order8 = [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
            0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ];
        let order8_too = [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
            0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
        ];
        let low = [[0; 32], one, minus_one, order8, order8_too, prime, plus(1)];
        let top = |mut key: [u8; 32]| {
            key[31] |= 0x80;
            key
        };
        for key in low.into_iter().chain(low.map(top)) {
            let message = forged(&keys, key, &[0; 32]);
            assert_eq!(request_key(&keys, &message), PublicKey(key));
            assert_eq!(responder(&bob, keys, message).request().err(), Some(HandshakeError::Crypto), "{key:x?}");
        }
        // The same point in another encoding authenticates, and is refused all the same.
        let shared = alice.diffie_hellman(&bob.public_key()).unwrap();
        let good = alice.public_key().0;
        assert!(responder(&bob, keys, forged(&keys, good, &shared.0)).request().is_ok());
        let message = forged(&keys, top(good), &shared.0);
        assert_eq!(responder(&bob, keys, message).request().err(), Some(HandshakeError::Crypto));
    }

    /// Threats T37 and T38: padding and message 3 lengths out of range.
    #[test]
    fn t37_t38_lengths_are_bounded() {
        let (alice, bob, keys) = parties();
        let mut rng = Rng::from_seed([8; 32]);
        for padding in [817u16, 900, u16::MAX] {
            let (m1, _) = initiator(&alice, keys, padding.into()).request(&mut rng).unwrap();
            let refused = responder(&bob, keys, fixed(&m1)).request().err();
            assert_eq!(refused, Some(HandshakeError::Padding(padding)));
        }
        for payload in [0, 1, 300, 6_000, 60_000, 65_519] {
            let mut alice = initiator(&alice, keys, 0);
            alice.payload = vec![0; payload];
            let (m1, _) = alice.request(&mut rng).unwrap();
            let refused = responder(&bob, keys, fixed(&m1)).request().err();
            assert!(matches!(refused, Some(HandshakeError::ConfirmedLength(_))), "{payload}: {refused:?}");
        }
    }
}
