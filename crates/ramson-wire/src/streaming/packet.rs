//! A received packet as a checked view of its bytes.

use super::{Flags, HEADER_LEN, MAX_DELAY, MIN_MTU, REPLAY_NACKS};
use crate::codec::{Decode, DecodeError, Reader};
use crate::crypto::sign::{SigType, VerifyingKey};
use crate::data::{Destination, Hash};

/// Where the NACKs begin.
const NACKS_AT: usize = 17;
/// What the count of NACKs wraps at.
const NACKS_WRAP: usize = 256;
/// Most NACKs that are read beyond the count: more are not missing of any stream.
const MAX_UNCOUNTED: usize = 16 * NACKS_WRAP;

/// The sender's destination in a packet: raw, with its length checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct From<'a> {
    bytes: &'a [u8],
}

impl<'a> From<'a> {
    /// The encoding.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads the destination. Fails for key types that identities may not have.
    pub fn destination(&self) -> Result<Destination, DecodeError> {
        Destination::from_bytes(self.bytes)
    }

    /// SHA-256 of the encoding: the destination's hash.
    pub fn hash(&self) -> Hash {
        Hash::of(self.bytes)
    }
}

/// One packet, borrowed from the message that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The stream of the recipient; 0 while the sender does not know it.
    pub send_id: u32,
    /// The stream of the sender; may be 0 in a RESET.
    pub recv_id: u32,
    /// 0 in a SYN, and in a packet that only acknowledges.
    pub sequence: u32,
    /// The highest sequence received; without meaning under `NO_ACK`.
    pub ack_through: u32,
    /// Seconds after which the sender would repeat the packet. Only a hint.
    pub resend_delay: u8,
    pub flags: Flags,
    /// `DELAY_REQUESTED`, in milliseconds.
    pub delay: Option<u16>,
    /// `FROM_INCLUDED`.
    pub from: Option<From<'a>>,
    /// `MAX_PACKET_SIZE_INCLUDED`, as sent. [`Packet::mtu`] clamps it.
    pub max_size: Option<u16>,
    pub payload: &'a [u8],
    nacks: &'a [u8],
    tail: &'a [u8],
    /// Where `tail` begins in the packet.
    tail_at: usize,
}

impl<'a> Packet<'a> {
    /// Reads one packet, which is all of `bytes`. Options are checked as far as they can be without the sender's keys;
    /// the rest is done by [`Packet::tail`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let send_id = r.u32("streaming send id")?;
        let recv_id = r.u32("streaming receive id")?;
        let sequence = r.u32("streaming sequence")?;
        let ack_through = r.u32("streaming ack through")?;
        let mut count = usize::from(r.u8("streaming nack count")?);
        if sequence == 0 {
            count += uncounted_nacks(count, ack_through, bytes.get(NACKS_AT..).unwrap_or_default());
        }
        let nacks = r.take(count * 4, "streaming nacks")?;
        let resend_delay = r.u8("streaming resend delay")?;
        let flags = Flags(r.u16("streaming flags")?);
        let option_size = usize::from(r.u16("streaming option size")?);
        let mut o = Reader::new(r.take(option_size, "streaming options")?);
        let payload = r.take_rest();

        let delay = flags.has(Flags::DELAY_REQUESTED).then(|| o.u16("streaming delay")).transpose()?;
        let from = flags.has(Flags::FROM_INCLUDED).then(|| take_destination(&mut o)).transpose()?;
        let max_size = flags.has(Flags::MAX_PACKET_SIZE_INCLUDED).then(|| o.u16("streaming max size")).transpose()?;
        let tail_at = HEADER_LEN + nacks.len() + option_size - o.remaining();
        let tail = o.take_rest();
        let wants_tail = flags.has(Flags::SIGNATURE_INCLUDED) || flags.has(Flags::OFFLINE_SIGNATURE);
        if wants_tail == tail.is_empty() {
            return Err(DecodeError::invalid("streaming options", "size does not fit the flags"));
        }
        let packet = Self {
            send_id,
            recv_id,
            sequence,
            ack_through,
            resend_delay,
            flags,
            delay,
            from,
            max_size,
            payload,
            nacks,
            tail,
            tail_at,
        };
        packet.check()?;
        Ok(packet)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.is_syn() {
            if self.from.is_none() {
                return Err(DecodeError::invalid("streaming SYN", "no destination"));
            }
            if self.sequence != 0 {
                return Err(DecodeError::invalid("streaming SYN", "sequence is not 0"));
            }
            if self.recv_id == 0 {
                return Err(DecodeError::invalid("streaming SYN", "no receive id"));
            }
        }
        Ok(())
    }

    pub const fn is_syn(&self) -> bool {
        self.flags.has(Flags::SYNCHRONIZE)
    }

    pub const fn is_close(&self) -> bool {
        self.flags.has(Flags::CLOSE)
    }

    pub const fn is_reset(&self) -> bool {
        self.flags.has(Flags::RESET)
    }

    pub const fn is_echo(&self) -> bool {
        self.flags.has(Flags::ECHO)
    }

    pub const fn is_signed(&self) -> bool {
        self.flags.has(Flags::SIGNATURE_INCLUDED)
    }

    /// Whether the packet only acknowledges and has no sequence of its own.
    pub const fn is_plain_ack(&self) -> bool {
        self.sequence == 0 && !self.is_syn()
    }

    /// The acknowledged sequence, unless `NO_ACK` voids it.
    pub const fn acked(&self) -> Option<u32> {
        if self.flags.has(Flags::NO_ACK) { None } else { Some(self.ack_through) }
    }

    /// Sequences that were not received, in the order sent. Empty for a SYN, which has another use for the field.
    pub fn nacks(&self) -> impl Iterator<Item = u32> + 'a {
        let bytes = if self.is_syn() { &[][..] } else { self.nacks };
        bytes.as_chunks::<4>().0.iter().map(|n| u32::from_be_bytes(*n))
    }

    /// The destination that a SYN is meant for, when it says so. A SYN for somebody else is a replay and must be
    /// dropped (proposal 164).
    pub fn meant_for(&self) -> Option<Hash> {
        let bytes = <[u8; REPLAY_NACKS * 4]>::try_from(self.nacks).ok()?;
        self.is_syn().then_some(Hash(bytes))
    }

    /// Whether the requested delay tells the sender to stop; `None` leaves things as they are.
    pub fn choke(&self) -> Option<bool> {
        self.delay.map(|delay| delay > MAX_DELAY)
    }

    /// The sender's largest payload, not below [`MIN_MTU`].
    pub fn mtu(&self) -> Option<u16> {
        self.max_size.map(|size| size.max(MIN_MTU))
    }

    /// Splits what stands behind the known options, for a sender whose signatures are of type `signer`.
    pub fn tail(&self, signer: SigType) -> Result<Tail<'a>, DecodeError> {
        let mut r = Reader::new(self.tail);
        let offline = self.flags.has(Flags::OFFLINE_SIGNATURE).then(|| Offline::read(&mut r, signer)).transpose()?;
        let kind = offline.as_ref().map_or(signer, |offline| offline.key.kind());
        let mut signature = None;
        if self.is_signed() {
            let at = self.tail_at + self.tail.len() - r.remaining();
            signature = Some((at, r.take(kind.signature_len(), "streaming signature")?));
        }
        r.finish("streaming options")?;
        Ok(Tail { offline, signature })
    }
}

/// The options whose length depends on the sender's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail<'a> {
    pub offline: Option<Offline<'a>>,
    /// Offset in the packet, and the signature.
    pub signature: Option<(usize, &'a [u8])>,
}

/// A transient key, signed by the destination's own.
/// <https://geti2p.net/spec/common-structures#offlinesignature>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offline<'a> {
    /// Seconds since 1970.
    pub expires: u32,
    pub key: VerifyingKey,
    /// What the destination signed: expiry, type and key.
    pub signed: &'a [u8],
    pub signature: &'a [u8],
}

impl<'a> Offline<'a> {
    fn read(r: &mut Reader<'a>, signer: SigType) -> Result<Self, DecodeError> {
        let start = r.peek();
        let expires = r.u32("offline expiry")?;
        let code = r.u16("offline key type")?;
        let unsupported = DecodeError::Unsupported { what: "offline key type", value: code.into() };
        let kind = SigType::from_code(code).ok_or(unsupported)?;
        let key = r.take(kind.key_len(), "offline key")?;
        let key = VerifyingKey::new(kind, key).map_err(|_| unsupported)?;
        let signed = start.get(..start.len() - r.remaining()).unwrap_or_default();
        let signature = r.take(signer.signature_len(), "offline signature")?;
        Ok(Self { expires, key, signed, signature })
    }
}

/// Takes a destination by its certificate's length, without looking at its keys.
fn take_destination<'a>(r: &mut Reader<'a>) -> Result<From<'a>, DecodeError> {
    let start = r.peek();
    r.take(385, "streaming from")?;
    let len = r.u16("streaming from")?;
    r.take(usize::from(len), "streaming from")?;
    Ok(From { bytes: start.get(..387 + usize::from(len)).unwrap_or_default() })
}

/// NACKs of a packet that only acknowledges beyond those that its count names, in what follows the count.
///
/// Java (2.8.0) writes every NACK and counts them modulo 256. Where more than 255 packets are missing, all of its
/// acknowledgements are such, and a sender that cannot read them never learns what to send again. NACKs rise and are
/// below the acknowledged sequence, as Java writes them; no other packet has 256 such numbers in that place.
fn uncounted_nacks(count: usize, ack_through: u32, bytes: &[u8]) -> usize {
    let numbers = bytes.as_chunks::<4>().0.iter().map(|number| u32::from_be_bytes(*number));
    let mut last = None;
    let rising = numbers.take(MAX_UNCOUNTED + NACKS_WRAP).take_while(|number| {
        let rises = last.is_none_or(|last| *number > last) && *number < ack_through;
        last = Some(*number);
        rises
    });
    (rising.count().saturating_sub(count) / NACKS_WRAP * NACKS_WRAP).min(MAX_UNCOUNTED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streaming::Outgoing;
    use proptest::prelude::*;

    /// A packet's bytes from its parts, written by hand.
    fn raw(nacks: &[u32], flags: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9];
        out.push(u8::try_from(nacks.len()).unwrap());
        nacks.iter().for_each(|n| out.extend(n.to_be_bytes()));
        out.push(3);
        out.extend(flags.to_be_bytes());
        out.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
        out.extend(options);
        out.extend(payload);
        out
    }

    /// 384 bytes of keys and a null certificate: DSA.
    fn null_destination() -> Vec<u8> {
        let mut dest = vec![7; 384];
        dest.extend([0, 0, 0]);
        dest
    }

    #[test]
    fn options_stand_in_their_order() {
        let mut options = vec![0xff, 0xff];
        options.extend(null_destination());
        options.extend([0x07, 0x14]);
        options.extend([5; 40]);
        let bytes = raw(&[], 0x0001 | 0x0008 | 0x0020 | 0x0040 | 0x0080, &options, b"GET");
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.send_id, packet.recv_id, packet.sequence, packet.ack_through), (1, 2, 0, 9));
        assert_eq!((packet.delay, packet.choke(), packet.mtu()), (Some(65535), Some(true), Some(1812)));
        assert_eq!(packet.from.unwrap().as_bytes(), null_destination());
        let tail = packet.tail(SigType::DsaSha1).unwrap();
        let (at, signature) = tail.signature.unwrap();
        assert_eq!((at, signature), (bytes.len() - 3 - 40, &[5; 40][..]));
        assert_eq!(packet.payload, b"GET");
        assert!(packet.tail(SigType::Ed25519).is_err(), "a signature of another length");
    }

    #[test]
    fn offline_signature_is_split_from_the_signature() {
        let mut options = null_destination();
        options.extend([0x6f, 0, 0, 0, 0, 7]);
        options.extend([1; 32]);
        options.extend([2; 40]);
        options.extend([3; 64]);
        let bytes = raw(&[], 0x0001 | 0x0008 | 0x0020 | 0x0800, &options, &[]);
        let tail = Packet::parse(&bytes).unwrap().tail(SigType::DsaSha1).unwrap();
        let offline = tail.offline.unwrap();
        assert_eq!((offline.expires, offline.key.kind()), (0x6f00_0000, SigType::Ed25519));
        assert_eq!((offline.signed.len(), offline.signature), (38, &[2; 40][..]));
        assert_eq!(tail.signature.unwrap().1, [3; 64]);
    }

    #[test]
    fn t90_syn_without_destination_wrong_option_size_and_large_payload() {
        assert!(Packet::parse(&raw(&[], 0x0001, &[], &[])).is_err(), "no destination");
        let dest = null_destination();
        assert!(Packet::parse(&raw(&[], 0x0001 | 0x0020, &dest, &[])).is_ok());
        let mut early = raw(&[], 0x0001 | 0x0020, &dest, &[]);
        early[21] = 0xff;
        assert!(Packet::parse(&early).is_err(), "option size beyond the packet");
        assert!(Packet::parse(&raw(&[], 0x0001 | 0x0020, &dest[..300], &[])).is_err(), "destination cut");
        let mut long = dest.clone();
        long[385] = 0xff;
        assert!(Packet::parse(&raw(&[], 0x0001 | 0x0020, &long, &[])).is_err(), "certificate beyond the options");
        assert!(Packet::parse(&raw(&[], 0, &[1], &[])).is_err(), "options that no flag names");
        let seven = Packet::parse(&raw(&[1, 2, 3, 4, 5, 6, 7], 0x0001 | 0x0020, &dest, &[])).unwrap().meant_for();
        assert_eq!(seven, None, "only eight NACKs are a hash");
        let large = raw(&[], 0, &[], &vec![0; 65_536]);
        assert_eq!(Packet::parse(&large).unwrap().payload.len(), 65_536, "the machine's limit, not the format's");
    }

    #[test]
    fn t91_nack_count_beyond_the_packet() {
        let mut bytes = raw(&[1, 2], 0, &[], &[]);
        assert_eq!(Packet::parse(&bytes).unwrap().nacks().collect::<Vec<_>>(), [1, 2]);
        bytes[16] = 255;
        assert!(Packet::parse(&bytes).is_err());
        let full: Vec<u32> = (0..255).collect();
        assert_eq!(Packet::parse(&raw(&full, 0, &[], &[])).unwrap().nacks().count(), 255);
    }

    /// A plain acknowledgement as Java writes one: all NACKs, and their number modulo 256.
    fn from_java(nacks: impl Iterator<Item = u32>, through: u32, delay: Option<u16>) -> Vec<u8> {
        let nacks: Vec<u32> = nacks.collect();
        let mut bytes = vec![0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0];
        bytes.extend(through.to_be_bytes());
        bytes.push((nacks.len() % 256) as u8);
        nacks.iter().for_each(|n| bytes.extend(n.to_be_bytes()));
        match delay {
            Some(delay) => bytes.extend([0, 0, 0x40, 0, 2].into_iter().chain(delay.to_be_bytes())),
            None => bytes.extend([0; 5]),
        }
        bytes
    }

    #[test]
    fn nacks_that_java_counts_modulo_256_are_read_whole() {
        for missing in [1u32, 255, 256, 257, 270, 310, 511, 512, 513, 1_000, 2_048] {
            for delay in [None, Some(0), Some(61_000)] {
                // The sequences at which the count would end hold multiples of 256, too.
                let first = 797;
                let bytes = from_java(first..first + missing, first + missing + 40, delay);
                let packet = Packet::parse(&bytes).unwrap();
                assert_eq!(packet.nacks().collect::<Vec<_>>(), (first..first + missing).collect::<Vec<_>>());
                assert_eq!((packet.delay, packet.acked()), (delay, Some(first + missing + 40)), "{missing}");
                assert!(packet.payload.is_empty() && packet.is_plain_ack());
            }
        }
    }

    #[test]
    fn other_packets_have_the_nacks_that_they_count() {
        let numbers = |n: u32| (0..n).flat_map(u32::to_be_bytes).collect::<Vec<_>>();
        // Data that looks like NACKs, behind a header: in a packet with a sequence, and in one whose numbers are too high.
        let mut data = raw(&[], 0, &[], &numbers(400));
        data[11] = 5;
        assert_eq!(Packet::parse(&data).unwrap().payload.len(), 1_600);
        let high = raw(&[1, 2], 0, &[], &numbers(400));
        let packet = Packet::parse(&high).unwrap();
        assert_eq!((packet.nacks().count(), packet.payload.len()), (2, 1_600));
        // One too few for another round, and numbers that do not rise.
        let short: Vec<u32> = (1..=255).chain([3]).collect();
        let mut bytes = from_java(short.into_iter(), 5_000, None);
        bytes[16] = 1;
        assert_eq!(Packet::parse(&bytes).map_or(1, |packet| packet.nacks().count()), 1);
    }

    #[test]
    fn t96_mtu_is_clamped_from_below() {
        for (sent, used) in [(0u16, 512), (1, 512), (512, 512), (1730, 1730), (65535, 65535)] {
            let bytes = raw(&[], 0x0080, &sent.to_be_bytes(), &[]);
            assert_eq!(Packet::parse(&bytes).unwrap().mtu(), Some(used));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), flags in any::<u16>()) {
            let mut bytes = bytes;
            for step in 0..2 {
                if let Ok(packet) = Packet::parse(&bytes) {
                    let _ = (packet.nacks().count(), packet.meant_for(), packet.mtu());
                    let _ = packet.from.map(|from| from.destination());
                    for kind in [SigType::DsaSha1, SigType::Ed25519, SigType::EcdsaSha512P521] {
                        let _ = packet.tail(kind);
                    }
                }
                // The second round gets past the NACKs, to the options.
                if step == 0 && bytes.len() > 21 {
                    bytes[16] = 0;
                    bytes[18..20].copy_from_slice(&flags.to_be_bytes());
                    bytes[20] = 0;
                }
            }
        }

        #[test]
        fn round_trip(
            ids in any::<(u32, u32, u32, u32)>(),
            nacks in prop::collection::vec(any::<u32>(), 0..300),
            delay in any::<Option<u16>>(),
            max_size in any::<Option<u16>>(),
            payload in prop::collection::vec(any::<u8>(), 0..2000),
            resend_delay in any::<u8>(),
        ) {
            let out = Outgoing {
                send_id: ids.0, recv_id: ids.1, sequence: ids.2, ack_through: Some(ids.3), nacks: &nacks, delay, max_size,
                resend_delay, ..Outgoing::default()
            };
            let bytes = out.encode(&[&payload]);
            let packet = Packet::parse(&bytes).unwrap();
            prop_assert_eq!((packet.send_id, packet.recv_id, packet.sequence, packet.ack_through), ids);
            prop_assert!(packet.nacks().eq(nacks.iter().copied().take(255)));
            prop_assert_eq!((packet.delay, packet.max_size, packet.resend_delay), (delay, max_size, resend_delay));
            prop_assert_eq!(packet.payload, payload);
        }
    }
}
