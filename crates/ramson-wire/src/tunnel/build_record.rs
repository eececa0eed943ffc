//! Short build records: a request to one hop of a tunnel, and its reply, in 218 bytes each.
//! <https://geti2p.net/spec/tunnel-creation-ecies#short-record-specification>
//!
//! ```text
//! request: toPeer(16) ephemeralKey(32) AEAD(154) MAC(16)      reply: AEAD(202) MAC(16)
//! 154 bytes: receiveTunnel(4) nextTunnel(4) nextIdent(32) flags(1) more(2) layerType(1) minutes(4) expiration(4)
//!            sendMessageId(4) options(2+n) padding            202 bytes: options(2+n) padding reply(1)
//! ```
//!
//! A hop opens its own record by Noise N and derives every key of the tunnel from the chaining key. It puts its reply
//! in the record's place and masks all other records with bare ChaCha20; the creator has masked them in advance, so
//! that each hop finds its own record bare.

use super::TunnelId;
use super::bandwidth::{BandwidthRequest, Reply};
use crate::codec::{DecodeError, Reader, Write};
use crate::crypto::aead::{AeadKey, TAG_LEN};
use crate::crypto::noise::SymmetricState;
use crate::crypto::x25519::{PublicKey, SecretKey};
use crate::crypto::{CryptoError, CryptoRng, Secret, chacha20, hash::hkdf64};
use crate::data::Hash;
use zeroize::{Zeroize, Zeroizing};

/// Length of a sealed record.
pub const RECORD_LEN: usize = 218;
/// The reply of a hop that takes part.
pub const ACCEPT: u8 = 0;
/// The one reply of a hop that does not, whatever the reason (TUNNEL_REJECT_BANDWIDTH).
pub const REJECT: u8 = 30;
/// Lifetime of every tunnel, in seconds: the only value that is supported.
pub const LIFETIME_SECS: u32 = 600;

/// A sealed record.
pub type Record = [u8; RECORD_LEN];

const PREFIX: usize = 16;
const SEALED_AT: usize = 48;
const REQUEST_LEN: usize = 154;
const OPTIONS_AT: usize = 56;
const PROTOCOL: &[u8] = b"Noise_N_25519_ChaChaPoly_SHA256";
const INBOUND_GATEWAY: u8 = 0x80;
const OUTBOUND_ENDPOINT: u8 = 0x40;

/// What a hop is to a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes messages from anyone and sends them down the tunnel.
    InboundGateway,
    /// Sends messages to anyone, and the reply of the build to a reply tunnel.
    OutboundEndpoint,
    Participant,
}

impl Role {
    pub(super) const fn flags(self) -> u8 {
        match self {
            Self::InboundGateway => INBOUND_GATEWAY,
            Self::OutboundEndpoint => OUTBOUND_ENDPOINT,
            Self::Participant => 0,
        }
    }

    /// The role of these flags; there is none that is both.
    pub(super) fn of(flags: u8) -> Result<Self, DecodeError> {
        match flags & (INBOUND_GATEWAY | OUTBOUND_ENDPOINT) {
            0 => Ok(Self::Participant),
            INBOUND_GATEWAY => Ok(Self::InboundGateway),
            OUTBOUND_ENDPOINT => Ok(Self::OutboundEndpoint),
            _ => Err(DecodeError::invalid("build record flags", "gateway and endpoint at once")),
        }
    }
}

/// What the creator asks of one hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The id under which the hop receives; nonzero.
    pub receive_tunnel: TunnelId,
    /// The id at the next hop, or of the reply tunnel; nonzero.
    pub next_tunnel: TunnelId,
    /// The next hop, or the gateway of the reply tunnel.
    pub next_hop: Hash,
    pub role: Role,
    /// Minutes since 1970, rounded down.
    pub minutes: u32,
    /// The I2NP id of the message that the hop sends on.
    pub send_message_id: u32,
    pub bandwidth: BandwidthRequest,
}

/// The secrets that creator and hop share, and the hash that binds the reply to the request.
#[derive(Clone)]
pub struct HopKeys {
    pub layer: Secret,
    pub iv: Secret,
    /// Key and tag of the garlic around the reply; of an outbound endpoint only.
    pub garlic: Option<GarlicReply>,
    reply: Secret,
    hash: [u8; 32],
}

/// What an outbound endpoint seals the reply message with, as a one-time message of an existing session.
#[derive(Clone)]
pub struct GarlicReply {
    pub key: Secret,
    pub tag: [u8; 8],
}

/// Why a request record cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The record is not sealed to this key, or was changed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The record opens, but its fields are wrong.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

impl std::fmt::Debug for HopKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HopKeys(..)")
    }
}

impl std::fmt::Debug for GarlicReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GarlicReply(..)")
    }
}

/// Whether the record, short or long, is addressed to the router of this hash.
pub fn is_for(record: &[u8], router: &Hash) -> bool {
    record.first_chunk::<PREFIX>() == router.as_bytes().first_chunk::<PREFIX>()
}

/// The ephemeral key in a request record, short or long, for replay filters.
pub fn ephemeral_key(record: &[u8]) -> [u8; 32] {
    record.get(PREFIX..).and_then(|tail| tail.first_chunk()).copied().unwrap_or_default()
}

/// Seals a request to a hop's static key, with a fresh ephemeral key.
pub fn seal_request(
    request: &Request,
    hop: &Hash,
    hop_key: &PublicKey,
    rng: &mut impl CryptoRng,
) -> Result<(Record, HopKeys), CryptoError> {
    let ephemeral = SecretKey::random(rng);
    let public = ephemeral.public_key();
    let mut noise = start(hop_key, &public);
    noise.mix_key(&ephemeral.diffie_hellman(hop_key)?);
    let mut bytes = Vec::with_capacity(RECORD_LEN);
    bytes.extend(hop.as_bytes().iter().take(PREFIX));
    bytes.put(&public.0);
    request.encode(&mut bytes);
    let padding = (SEALED_AT + REQUEST_LEN).saturating_sub(bytes.len());
    bytes.extend(crate::crypto::random::<REQUEST_LEN>(rng).iter().take(padding));
    noise.seal_tail(0, &mut bytes, SEALED_AT);
    let record = Record::try_from(bytes).map_err(|_| CryptoError)?;
    Ok((record, HopKeys::derive(&noise, request.role)))
}

/// Opens a request record that is addressed to us. This is the public-key work of a hop.
pub fn open_request(record: &Record, secret: &SecretKey, public: &PublicKey) -> Result<(Request, HopKeys), OpenError> {
    let ephemeral = PublicKey(ephemeral_key(record));
    let mut noise = start(public, &ephemeral);
    noise.mix_key(&secret.diffie_hellman(&ephemeral)?);
    let mut sealed = Zeroizing::new(*record);
    let sealed = sealed.get_mut(SEALED_AT..).unwrap_or_default();
    let request = Request::decode(noise.open(0, sealed)?)?;
    let keys = HopKeys::derive(&noise, request.role);
    Ok((request, keys))
}

/// A record that only looks like one for the router of this hash: its prefix, a real ephemeral key, random bytes.
/// An inbound build carries one for its creator, so that the last hop cannot tell that it is the last.
pub fn fake_record(router: &Hash, rng: &mut impl CryptoRng) -> Record {
    let mut record: Record = crate::crypto::random(rng);
    let key = SecretKey::random(rng).public_key();
    let head = router.as_bytes().iter().take(PREFIX).chain(&key.0);
    record.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
    record
}

/// Masks the records of a build message before it is sent: each record of a later hop under the keys of all earlier
/// ones, and each fake record under the keys of all. `hops` are the hops' record indices and keys, in order.
pub fn conceal(records: &mut [Record], hops: &[(u8, HopKeys)]) {
    for (index, record) in (0u8..).zip(records) {
        for (_, keys) in hops.iter().take_while(|(own, _)| *own != index) {
            keys.mask(index, record);
        }
    }
}

/// Removes the masks from a build message that came back. The result is one reply per hop, in order; the records that
/// belong to no hop are left as they were made, for a check of their integrity.
pub fn reveal(records: &mut [Record], hops: &[(u8, HopKeys)]) -> Result<Vec<Reply>, CryptoError> {
    let mut replies = vec![Reply::of(REJECT); hops.len()];
    for (index, record) in (0u8..).zip(records) {
        let place = hops.iter().position(|(own, _)| *own == index);
        // A hop's own reply carries the masks of those behind it; a fake record, which was masked in advance by all
        // and then by all again, is bare already.
        if let Some(place) = place {
            for (_, keys) in hops.iter().skip(place + 1) {
                keys.mask(index, record);
            }
            if let (Some((_, keys)), Some(reply)) = (hops.get(place), replies.get_mut(place)) {
                *reply = keys.open_reply(index, record)?;
            }
        }
    }
    Ok(replies)
}

impl Request {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.receive_tunnel);
        out.put_u32(self.next_tunnel);
        out.put(self.next_hop.as_bytes());
        out.put_u8(self.role.flags());
        out.put(&[0, 0, 0]); // more flags, and the layer type AES
        out.put_u32(self.minutes);
        out.put_u32(LIFETIME_SECS);
        out.put_u32(self.send_message_id);
        self.bandwidth.encode(out);
    }

    /// The padding behind the options is not looked at.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let receive_tunnel = r.u32("build record receiveTunnel")?;
        let next_tunnel = r.u32("build record nextTunnel")?;
        if receive_tunnel == 0 || next_tunnel == 0 {
            return Err(DecodeError::invalid("build record tunnel id", "zero"));
        }
        let next_hop = Hash(r.array("build record nextIdent")?);
        let role = Role::of(r.u8("build record flags")?)?;
        r.u16("build record more flags")?;
        match r.u8("build record layer type")? {
            0 => {}
            other => {
                return Err(DecodeError::Unsupported { what: "build record layer type", value: u32::from(other) });
            }
        }
        let minutes = r.u32("build record time")?;
        r.u32("build record expiration")?;
        let send_message_id = r.u32("build record sendMessageId")?;
        let bandwidth = BandwidthRequest::decode(bytes.get(OPTIONS_AT..).unwrap_or_default());
        Ok(Self { receive_tunnel, next_tunnel, next_hop, role, minutes, send_message_id, bandwidth })
    }
}

impl HopKeys {
    /// The keys below the chaining key of the Noise state behind its message.
    fn derive(noise: &SymmetricState, role: Role) -> Self {
        let (mut ck, reply) = hkdf64(noise.ck(), b"", b"SMTunnelReplyKey");
        let layer;
        (ck, layer) = hkdf64(&ck, b"", b"SMTunnelLayerKey");
        let mut keys = Self { layer: layer.into(), iv: ck.into(), garlic: None, reply: reply.into(), hash: *noise.h() };
        if role == Role::OutboundEndpoint {
            (ck, *keys.iv) = hkdf64(&ck, b"", b"TunnelLayerIVKey");
            let (head, key) = hkdf64(&ck, b"", b"RGarlicKeyAndTag");
            let [a, b, c, d, e, f, g, h, ..] = head;
            keys.garlic = Some(GarlicReply { key: key.into(), tag: [a, b, c, d, e, f, g, h] });
        }
        ck.zeroize();
        keys
    }

    /// The hop's own reply, for the place `index` of its request.
    pub fn seal_reply(&self, index: u8, reply: Reply, rng: &mut impl CryptoRng) -> Record {
        let mut record: Record = crate::crypto::random(rng);
        if let Some((plain, tag)) = record.split_last_chunk_mut::<TAG_LEN>() {
            reply.write(plain);
            *tag = AeadKey::new(&self.reply).seal(u64::from(index), &self.hash, plain);
        }
        record
    }

    /// The hop's reply.
    pub fn open_reply(&self, index: u8, record: &Record) -> Result<Reply, CryptoError> {
        let mut sealed = *record;
        let plain = AeadKey::new(&self.reply).open(u64::from(index), &self.hash, &mut sealed)?;
        Reply::read(plain).ok_or(CryptoError)
    }

    /// Masks or unmasks the record at `index`, which belongs to another hop.
    pub fn mask(&self, index: u8, record: &mut Record) {
        chacha20::xor(&self.reply, &[0, 0, 0, 0, index, 0, 0, 0, 0, 0, 0, 0], record);
    }

    /// What a hop does to a build message: its reply into its place, a mask over every other record.
    pub fn answer(&self, records: &mut [Record], own: u8, reply: Reply, rng: &mut impl CryptoRng) {
        for (index, record) in (0u8..).zip(records) {
            if index == own {
                *record = self.seal_reply(index, reply, rng);
            } else {
                self.mask(index, record);
            }
        }
    }
}

/// The Noise state of a record, up to the ephemeral key.
pub(super) fn start(hop_key: &PublicKey, ephemeral: &PublicKey) -> SymmetricState {
    let mut noise = SymmetricState::new(PROTOCOL);
    noise.mix_hash(&hop_key.0);
    noise.mix_hash(&ephemeral.0);
    noise
}

#[cfg(test)]
mod tests {
    use super::super::test_rng::TestRng;
    use super::*;
    use proptest::prelude::*;

    fn request(role: Role) -> Request {
        Request {
            receive_tunnel: 11,
            next_tunnel: 22,
            next_hop: Hash([3; 32]),
            role,
            minutes: 29_000_000,
            send_message_id: 0x0a0b_0c0d,
            bandwidth: BandwidthRequest::NONE,
        }
    }

    struct Hop {
        hash: Hash,
        secret: SecretKey,
    }

    fn hops(n: u8, rng: &mut TestRng) -> Vec<Hop> {
        (0..n).map(|i| Hop { hash: Hash::of(&[i]), secret: SecretKey::random(rng) }).collect()
    }

    #[test]
    fn creator_and_hop_derive_the_same_keys() {
        let mut rng = TestRng::new(1);
        let hop = hops(1, &mut rng).remove(0);
        for role in [Role::Participant, Role::InboundGateway, Role::OutboundEndpoint] {
            let (record, ours) = seal_request(&request(role), &hop.hash, &hop.secret.public_key(), &mut rng).unwrap();
            assert!(is_for(&record, &hop.hash) && !is_for(&record, &Hash([9; 32])));
            let (opened, theirs) = open_request(&record, &hop.secret, &hop.secret.public_key()).unwrap();
            assert_eq!(opened, request(role));
            assert_eq!((&ours.layer, &ours.iv, &ours.reply), (&theirs.layer, &theirs.iv, &theirs.reply));
            assert_ne!(ours.layer, ours.iv);
            let garlic = ours.garlic.as_ref().map(|g| (g.key.clone(), g.tag));
            assert_eq!(garlic, theirs.garlic.as_ref().map(|g| (g.key.clone(), g.tag)));
            assert_eq!(garlic.is_some(), role == Role::OutboundEndpoint);
            let reply = theirs.seal_reply(3, Reply::of(REJECT), &mut rng);
            assert_eq!(ours.open_reply(3, &reply), Ok(Reply::of(REJECT)));
            assert!(ours.open_reply(2, &reply).is_err(), "the index is the nonce");
        }
    }

    /// The whole way: the creator conceals, three hops answer in turn, the creator reads; fakes come back unchanged.
    #[test]
    fn a_build_message_goes_through_its_hops() {
        let mut rng = TestRng::new(2);
        let routers = hops(3, &mut rng);
        let replies = [Reply::of(ACCEPT), Reply::of(REJECT), Reply { code: ACCEPT, bandwidth: Some(7) }];
        for order in [[0u8, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]] {
            let fake = fake_record(&Hash([8; 32]), &mut rng);
            let mut records = vec![fake; 4];
            let mut keys = Vec::new();
            for (router, index) in routers.iter().zip(order) {
                let (record, k) =
                    seal_request(&request(Role::Participant), &router.hash, &router.secret.public_key(), &mut rng)
                        .unwrap();
                records[usize::from(index)] = record;
                keys.push((index, k));
            }
            conceal(&mut records, &keys);
            for (at, (router, index)) in routers.iter().zip(order).enumerate() {
                let mine: Vec<_> = (0..4).filter(|i| is_for(&records[*i], &router.hash)).collect();
                assert_eq!(mine, [usize::from(index)], "a hop sees only its own record");
                let (_, k) = open_request(&records[mine[0]], &router.secret, &router.secret.public_key()).unwrap();
                k.answer(&mut records, index, replies[at], &mut rng);
            }
            assert_eq!(reveal(&mut records, &keys), Ok(replies.to_vec()));
            assert_eq!(records[usize::from(order[3])], fake);
        }
    }

    /// Threats T73: a record that does not open is never read as anything else. T74: a changed reply is noticed.
    #[test]
    fn t73_t74_every_changed_byte_is_noticed() {
        let mut rng = TestRng::new(3);
        let hop = hops(1, &mut rng).remove(0);
        let (record, keys) =
            seal_request(&request(Role::Participant), &hop.hash, &hop.secret.public_key(), &mut rng).unwrap();
        for at in PREFIX..RECORD_LEN {
            let mut bad = record;
            bad[at] ^= 0x40;
            assert!(matches!(open_request(&bad, &hop.secret, &hop.secret.public_key()), Err(OpenError::Crypto(_))));
        }
        let reply = keys.seal_reply(0, Reply::of(ACCEPT), &mut rng);
        for at in 0..RECORD_LEN {
            let mut bad = reply;
            bad[at] ^= 1;
            assert!(keys.open_reply(0, &bad).is_err());
        }
        assert!(open_request(&record, &SecretKey::random(&mut rng), &hop.secret.public_key()).is_err());
    }

    /// Threats T68 and T70: both roles at once, ids of zero, another layer type; T75: options that are none.
    #[test]
    fn t68_t70_t75_fields() {
        let mut plain = Vec::new();
        request(Role::Participant).encode(&mut plain);
        plain.resize(REQUEST_LEN, 0xff);
        assert_eq!(Request::decode(&plain), Ok(request(Role::Participant)));
        for (at, value) in [(40, 0xc0), (43, 1)] {
            let mut bad = plain.clone();
            bad[at] = value;
            assert!(Request::decode(&bad).is_err());
        }
        for at in [0, 4] {
            let mut bad = plain.clone();
            bad[at..at + 4].fill(0);
            assert!(Request::decode(&bad).is_err());
        }
        plain[56..58].copy_from_slice(&[0xff, 0xff]);
        assert!(Request::decode(&plain).is_ok());
    }

    #[test]
    fn low_order_ephemeral_keys_are_refused() {
        let secret = SecretKey::from_bytes([5; 32]);
        assert!(open_request(&[0; RECORD_LEN], &secret, &secret.public_key()).is_err());
    }

    proptest! {
        #[test]
        fn random_plaintexts_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::decode(&bytes);
        }

        #[test]
        fn random_records_are_refused(bytes in prop::collection::vec(any::<u8>(), RECORD_LEN)) {
            let secret = SecretKey::from_bytes([5; 32]);
            prop_assert!(open_request(&bytes.try_into().unwrap(), &secret, &secret.public_key()).is_err());
        }
    }
}
