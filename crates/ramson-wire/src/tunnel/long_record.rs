//! Long build records for ECIES routers: a request to one hop and its reply, in 528 bytes each, as the messages
//! TunnelBuild and VariableTunnelBuild carry them. <https://geti2p.net/spec/tunnel-creation-ecies#long-record-specification>
//!
//! ```text
//! request: toPeer(16) ephemeralKey(32) AEAD(464) MAC(16)      reply: AEAD(512) MAC(16)
//! 464 bytes: receiveTunnel(4) nextTunnel(4) nextIdent(32) layerKey(32) ivKey(32) replyKey(32) replyIv(16) flags(1)
//!            more(3) minutes(4) expiration(4) sendMessageId(4) options(2+n) padding
//! 512 bytes: options(2+n) padding reply(1)
//! ```
//!
//! The tunnel's keys stand in the record. A hop puts its reply in the record's place and encrypts all other records with
//! AES under the reply key; the creator has decrypted them in advance.

use super::bandwidth::{BandwidthRequest, Reply};
use super::build_record::{OpenError, Request, Role, start};
pub use super::build_record::{ephemeral_key, is_for};
use crate::codec::{DecodeError, Reader, Write};
use crate::crypto::aead::{AeadKey, TAG_LEN};
use crate::crypto::x25519::{PublicKey, SecretKey};
use crate::crypto::{CryptoError, CryptoRng, Secret, aes};
use crate::data::Hash;
use zeroize::Zeroizing;

/// Length of a sealed record.
pub const RECORD_LEN: usize = 528;
/// A sealed record.
pub type Record = [u8; RECORD_LEN];

const PREFIX: usize = 16;
const SEALED_AT: usize = 48;
const REQUEST_LEN: usize = 464;
const OPTIONS_AT: usize = 168;

/// The keys of the tunnel at this hop, and those of its reply.
#[derive(Clone)]
pub struct HopKeys {
    pub layer: Secret,
    pub iv: Secret,
    /// Encrypts the records of the others.
    others: Secret,
    others_iv: [u8; 16],
    /// Seals our own reply.
    reply: Secret,
    hash: [u8; 32],
}

impl std::fmt::Debug for HopKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HopKeys(..)")
    }
}

/// Seals a request to a hop's static key, with a fresh ephemeral key and fresh keys of the tunnel.
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
    let [layer, iv, others] = std::array::from_fn(|_| Secret::from(crate::crypto::random::<32>(rng)));
    let others_iv: [u8; 16] = crate::crypto::random(rng);
    let mut bytes = Vec::with_capacity(RECORD_LEN);
    bytes.extend(hop.as_bytes().iter().take(PREFIX));
    bytes.put(&public.0);
    bytes.put_u32(request.receive_tunnel);
    bytes.put_u32(request.next_tunnel);
    bytes.put(request.next_hop.as_bytes());
    [&layer, &iv, &others].into_iter().for_each(|key| bytes.put(&key[..]));
    bytes.put(&others_iv);
    bytes.put_u8(request.role.flags());
    bytes.put(&[0; 3]);
    bytes.put_u32(request.minutes);
    bytes.put_u32(super::build_record::LIFETIME_SECS);
    bytes.put_u32(request.send_message_id);
    request.bandwidth.encode(&mut bytes);
    let padding = (SEALED_AT + REQUEST_LEN).saturating_sub(bytes.len());
    bytes.extend(crate::crypto::random::<REQUEST_LEN>(rng).iter().take(padding));
    noise.seal_tail(0, &mut bytes, SEALED_AT);
    let record = Record::try_from(bytes).map_err(|_| CryptoError)?;
    Ok((record, HopKeys { layer, iv, others, others_iv, reply: Secret::from(*noise.ck()), hash: *noise.h() }))
}

/// Opens a request record that is addressed to us. This is the public-key work of a hop.
pub fn open_request(record: &Record, secret: &SecretKey, public: &PublicKey) -> Result<(Request, HopKeys), OpenError> {
    let ephemeral = PublicKey(ephemeral_key(record));
    let mut noise = start(public, &ephemeral);
    noise.mix_key(&secret.diffie_hellman(&ephemeral)?);
    let mut sealed = Zeroizing::new(*record);
    let sealed = sealed.get_mut(SEALED_AT..).unwrap_or_default();
    let (request, [layer, iv, others], others_iv) = decode(noise.open(0, sealed)?)?;
    Ok((request, HopKeys { layer, iv, others, others_iv, reply: Secret::from(*noise.ck()), hash: *noise.h() }))
}

fn decode(bytes: &[u8]) -> Result<(Request, [Secret; 3], [u8; 16]), DecodeError> {
    let mut r = Reader::new(bytes);
    let receive_tunnel = r.u32("build record receiveTunnel")?;
    let next_tunnel = r.u32("build record nextTunnel")?;
    if receive_tunnel == 0 || next_tunnel == 0 {
        return Err(DecodeError::invalid("build record tunnel id", "zero"));
    }
    let next_hop = Hash(r.array("build record nextIdent")?);
    let layer = Secret::from(r.array::<32>("build record layerKey")?);
    let iv = Secret::from(r.array::<32>("build record ivKey")?);
    let others = Secret::from(r.array::<32>("build record replyKey")?);
    let others_iv = r.array("build record replyIv")?;
    let role = Role::of(r.u8("build record flags")?)?;
    r.take(3, "build record more flags")?;
    let minutes = r.u32("build record time")?;
    r.u32("build record expiration")?;
    let send_message_id = r.u32("build record sendMessageId")?;
    let bandwidth = BandwidthRequest::decode(bytes.get(OPTIONS_AT..).unwrap_or_default());
    let request = Request { receive_tunnel, next_tunnel, next_hop, role, minutes, send_message_id, bandwidth };
    Ok((request, [layer, iv, others], others_iv))
}

impl HopKeys {
    /// What a hop does to a build message: its reply into its place, a layer of AES over every other record.
    pub fn answer(&self, records: &mut [Record], own: u8, reply: Reply, rng: &mut impl CryptoRng) {
        for (index, record) in (0u8..).zip(records) {
            if index == own {
                *record = self.seal_reply(reply, rng);
            } else {
                aes::cbc_encrypt(&self.others, &self.others_iv, record);
            }
        }
    }

    fn seal_reply(&self, reply: Reply, rng: &mut impl CryptoRng) -> Record {
        let mut record: Record = crate::crypto::random(rng);
        if let Some((plain, tag)) = record.split_last_chunk_mut::<TAG_LEN>() {
            reply.write(plain);
            *tag = AeadKey::new(&self.reply).seal(0, &self.hash, plain);
        }
        record
    }

    /// The hop's reply.
    pub fn open_reply(&self, record: &Record) -> Result<Reply, CryptoError> {
        let mut sealed = *record;
        let plain = AeadKey::new(&self.reply).open(0, &self.hash, &mut sealed)?;
        Reply::read(plain).ok_or(CryptoError)
    }

    /// What the creator does to the records of later hops before it sends them, and the inverse of what this hop does.
    pub fn uncover(&self, record: &mut Record) {
        aes::cbc_decrypt(&self.others, &self.others_iv, record);
    }
}

#[cfg(test)]
mod tests {
    use super::super::build_record::{ACCEPT, REJECT};
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
            bandwidth: BandwidthRequest { requested: Some(9), ..BandwidthRequest::NONE },
        }
    }

    /// The fields stand where the specification has them.
    #[test]
    fn the_layout_is_that_of_the_specification() {
        let mut plain = vec![0; REQUEST_LEN];
        plain[3] = 11;
        plain[7] = 22;
        plain[8..40].fill(3);
        for (at, fill) in [(40, 4), (72, 5), (104, 6)] {
            plain[at..at + 32].fill(fill);
        }
        plain[136..152].fill(7);
        plain[152] = 0x40;
        plain[156..160].copy_from_slice(&29_000_000u32.to_be_bytes());
        plain[160..164].copy_from_slice(&600u32.to_be_bytes());
        plain[164..168].copy_from_slice(&0x0a0b_0c0du32.to_be_bytes());
        plain[168..176].copy_from_slice(b"\0\x06\x01r=\x019;");
        let (read, keys, iv) = decode(&plain).unwrap();
        assert_eq!(read, request(Role::OutboundEndpoint));
        assert_eq!((keys.map(|key| key[0]), iv), ([4, 5, 6], [7; 16]));
        // Threats T68 and T70: both roles at once, ids of zero.
        for at in [3, 7] {
            let mut bad = plain.clone();
            bad[at] = 0;
            assert!(decode(&bad).is_err());
        }
        plain[152] = 0xc0;
        assert!(decode(&plain).is_err());
    }

    /// The whole way: the creator decrypts in advance, three hops answer in turn, the creator reads.
    #[test]
    fn a_build_message_goes_through_its_hops() {
        let mut rng = TestRng::new(2);
        let hops: Vec<_> = (0..3u8).map(|i| (Hash::of(&[i]), SecretKey::random(&mut rng))).collect();
        let order = [2u8, 0, 3];
        let mut records = vec![[9; RECORD_LEN]; 4];
        let mut keys: Vec<HopKeys> = Vec::new();
        for ((hash, secret), index) in hops.iter().zip(order) {
            let (mut record, own) =
                seal_request(&request(Role::Participant), hash, &secret.public_key(), &mut rng).unwrap();
            keys.iter().rev().for_each(|earlier| earlier.uncover(&mut record));
            records[usize::from(index)] = record;
            keys.push(own);
        }
        let replies = [Reply::of(ACCEPT), Reply { code: ACCEPT, bandwidth: Some(12) }, Reply::of(REJECT)];
        for (((hash, secret), index), reply) in hops.iter().zip(order).zip(replies) {
            let mine: Vec<_> = (0..4u8).filter(|i| is_for(&records[usize::from(*i)], hash)).collect();
            assert_eq!(mine, [index], "a hop sees only its own record");
            let record = records[usize::from(index)];
            let (opened, theirs) = open_request(&record, secret, &secret.public_key()).unwrap();
            assert_eq!(opened, request(Role::Participant));
            let ours = &keys[order.iter().position(|i| *i == index).unwrap()];
            assert_eq!((&ours.layer, &ours.iv), (&theirs.layer, &theirs.iv));
            theirs.answer(&mut records, index, reply, &mut rng);
        }
        for (at, index) in order.into_iter().enumerate() {
            let mut record = records[usize::from(index)];
            keys.iter().skip(at + 1).rev().for_each(|later| later.uncover(&mut record));
            assert_eq!(keys[at].open_reply(&record), Ok(replies[at]));
        }
    }

    /// Threats T73 and T74.
    #[test]
    fn t73_t74_changed_long_records_do_not_open() {
        let mut rng = TestRng::new(3);
        let secret = SecretKey::random(&mut rng);
        let public = secret.public_key();
        let (record, keys) = seal_request(&request(Role::Participant), &Hash([1; 32]), &public, &mut rng).unwrap();
        for at in (PREFIX..RECORD_LEN).step_by(7) {
            let mut bad = record;
            bad[at] ^= 0x40;
            assert!(matches!(open_request(&bad, &secret, &public), Err(OpenError::Crypto(_))));
        }
        let reply = keys.seal_reply(Reply::of(ACCEPT), &mut rng);
        for at in (0..RECORD_LEN).step_by(7) {
            let mut bad = reply;
            bad[at] ^= 1;
            assert!(keys.open_reply(&bad).is_err());
        }
        assert!(open_request(&[0; RECORD_LEN], &secret, &public).is_err());
    }

    proptest! {
        #[test]
        fn random_plaintexts_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn random_records_are_refused(bytes in prop::collection::vec(any::<u8>(), RECORD_LEN)) {
            let secret = SecretKey::from_bytes([5; 32]);
            prop_assert!(open_request(&bytes.try_into().unwrap(), &secret, &secret.public_key()).is_err());
        }
    }
}
