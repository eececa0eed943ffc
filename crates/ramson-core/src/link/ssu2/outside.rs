//! Messages outside a handshake: TokenRequest and Retry under the responder's introduction key alone, PeerTest and
//! HolePunch under that of whom they go to. Whoever knows that key, and everybody may, can make them: they prove nothing
//! but that what was sent to an address was received there.
//! <https://geti2p.net/spec/ssu2#kdf-for-retry>, <https://geti2p.net/spec/ssu2#peer-test-type-7>

use super::handshake::{HandshakeError, Ids};
use crate::rng::Rng;
use ramson_wire::crypto::aead::AeadKey;
use ramson_wire::ssu2::{
    self, Block, Blocks, ConnectionId, LONG_HEADER, LongHeader, MessageType, Termination, TerminationReason, VERSION,
    protection,
};
use std::net::SocketAddr;

/// An introduction key, prepared.
pub(in crate::link) struct IntroKey {
    pub(super) bytes: [u8; 32],
    aead: AeadKey,
}

impl IntroKey {
    pub(in crate::link) fn new(bytes: [u8; 32]) -> Self {
        Self { bytes, aead: AeadKey::new(&bytes) }
    }

    /// Makes a packet of a header and blocks, of at least the smallest size.
    fn seal(&self, header: &LongHeader, blocks: &[u8]) -> Option<Vec<u8>> {
        let bytes = header.to_bytes();
        let mut packet = Vec::with_capacity(LONG_HEADER + blocks.len() + 32);
        packet.extend_from_slice(&bytes);
        packet.extend_from_slice(blocks);
        Block::pad_to_min(&mut packet, LONG_HEADER);
        self.aead.seal_tail(u64::from(header.packet_number), &bytes, &mut packet, LONG_HEADER);
        protection::protect_long(&mut packet, header.kind, &self.bytes, &self.bytes)?;
        Some(packet)
    }

    /// Opens a packet of this kind in place, protection and all; its header and blocks.
    pub(super) fn open<'a>(
        &self,
        packet: &'a mut [u8],
        kind: MessageType,
    ) -> Result<(LongHeader, &'a [u8]), HandshakeError> {
        protection::turn_short(packet, &self.bytes, &self.bytes).ok_or(HandshakeError::Header)?;
        protection::turn_rest(packet, kind, &self.bytes).ok_or(HandshakeError::Header)?;
        let parts = ssu2::plain(packet).ok_or(HandshakeError::Header)?;
        let header = LongHeader::from_bytes(parts.header)?;
        if header.kind != kind || header.version != VERSION {
            return Err(HandshakeError::Header);
        }
        let blocks = self.aead.open(u64::from(header.packet_number), parts.header, parts.sealed)?;
        Ok((header, blocks))
    }
}

/// Makes a PeerTest or HolePunch to who has this introduction key: packet number and token are random, and nobody looks
/// at the token.
pub(in crate::link) fn message(
    intro: &IntroKey,
    kind: MessageType,
    (destination, source): (ConnectionId, ConnectionId),
    network_id: u8,
    blocks: &[u8],
    rng: &mut Rng,
) -> Option<Vec<u8>> {
    let packet_number = u32::from_be_bytes(rng.bytes());
    let token = u64::from_be_bytes(rng.bytes());
    let header = LongHeader { destination, packet_number, kind, version: VERSION, network_id, flag: 0, source, token };
    intro.seal(&header, blocks)
}

/// Makes a TokenRequest to who has this introduction key, with so much padding.
pub(super) fn token_request(
    intro: &IntroKey,
    ids: Ids,
    network_id: u8,
    timestamp: u32,
    padding: usize,
    rng: &mut Rng,
) -> Option<Vec<u8>> {
    let header = LongHeader {
        destination: ids.responder,
        packet_number: u32::from_be_bytes(rng.bytes()),
        kind: MessageType::TokenRequest,
        version: VERSION,
        network_id,
        flag: 0,
        source: ids.initiator,
        token: 0,
    };
    let mut blocks = Vec::with_capacity(16 + padding);
    Block::encode_date_time(&mut blocks, timestamp);
    Block::encode_padding(&mut blocks, padding);
    intro.seal(&header, &blocks)
}

/// What a Retry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// To be used at once.
    Token(u64),
    /// The responder wants no session, and why, if it says so.
    Refused(Option<TerminationReason>),
}

/// Reads the token of a Retry, or why there is none.
pub(super) fn read_retry(header: &LongHeader, blocks: &[u8]) -> Result<Retry, HandshakeError> {
    let mut refused = None;
    for block in Blocks::new(blocks) {
        if let Block::Termination(termination) = block? {
            refused = Some(termination.reason);
        }
    }
    // Its DateTime and Address are the word of anybody who has seen our request.
    Ok(match (header.token, refused) {
        (0, refused) => Retry::Refused(refused),
        (_, Some(reason)) => Retry::Refused(Some(reason)),
        (token, None) => Retry::Token(token),
    })
}

/// A Retry that answers a request with this header, from this address. It is never longer than three times what it
/// answers: the shortest request has 56 bytes, and this has at most 112.
pub(super) fn retry(
    intro: &IntroKey,
    request: &LongHeader,
    from: &SocketAddr,
    timestamp: u32,
    answer: Retry,
    rng: &mut Rng,
) -> Option<Vec<u8>> {
    let token = match answer {
        Retry::Token(token) => token,
        Retry::Refused(_) => 0,
    };
    let header = LongHeader {
        destination: request.source,
        packet_number: u32::from_be_bytes(rng.bytes()),
        kind: MessageType::Retry,
        version: VERSION,
        network_id: request.network_id,
        flag: 0,
        source: request.destination,
        token,
    };
    let mut blocks = Vec::with_capacity(64);
    Block::encode_date_time(&mut blocks, timestamp);
    Block::encode_address(&mut blocks, from);
    if let Retry::Refused(reason) = answer {
        let reason = reason.unwrap_or(TerminationReason::NORMAL);
        Termination { packets_received: 0, reason }.encode(&mut blocks);
    }
    Block::encode_padding(&mut blocks, rng.below(RETRY_PADDING));
    intro.seal(&header, &blocks)
}

const RETRY_PADDING: usize = 16;
const _: () = assert!(LONG_HEADER + 7 + 21 + Termination::LEN + 3 + RETRY_PADDING + ssu2::TAG <= 112);

/// The clock that blocks of a TokenRequest tell.
pub(super) fn timestamp(blocks: &[u8]) -> Result<Option<u32>, HandshakeError> {
    let mut time = None;
    for block in Blocks::new(blocks) {
        if let Block::DateTime(at) = block? {
            time = Some(at);
        }
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threats T51, P-40: a Retry is never longer than three times what it answers.
    #[test]
    fn t51_p40_a_retry_is_short_and_says_whom_it_answers() {
        let intro = IntroKey::new([7; 32]);
        let mut rng = Rng::from_seed([1; 32]);
        let ids = Ids::random(&mut rng);
        for n in 0..200 {
            let mut request = token_request(&intro, ids, 99, 1000, n % 20, &mut rng).unwrap();
            let len = request.len();
            let (header, blocks) = intro.open(&mut request, MessageType::TokenRequest).unwrap();
            assert_eq!(timestamp(blocks), Ok(Some(1000)));
            assert_eq!((header.source, header.destination, header.network_id), (ids.initiator, ids.responder, 99));
            let from: SocketAddr = if n % 2 == 0 { "1.2.3.4:5" } else { "[2a00::1]:5" }.parse().unwrap();
            for answer in [Retry::Token(77), Retry::Refused(Some(TerminationReason::CLOCK_SKEW))] {
                let mut packet = retry(&intro, &header, &from, 1001, answer, &mut rng).unwrap();
                assert!(packet.len() <= 112 && packet.len() <= 3 * len && 112 <= 3 * ssu2::LONG_PACKET_MIN);
                let (answered, blocks) = intro.open(&mut packet, MessageType::Retry).unwrap();
                assert_eq!((answered.destination, answered.source), (ids.initiator, ids.responder));
                assert_eq!(read_retry(&answered, blocks), Ok(answer));
            }
        }
    }

    #[test]
    fn messages_of_tests_and_introductions_come_as_they_went() {
        let intro = IntroKey::new([7; 32]);
        let mut rng = Rng::from_seed([1; 32]);
        let id = ConnectionId::of_nonce(0x0102_0304);
        for kind in [MessageType::PeerTest, MessageType::HolePunch] {
            let mut blocks = Vec::new();
            Block::encode_date_time(&mut blocks, 1000);
            let mut packet = message(&intro, kind, (id, id.inverse()), 99, &blocks, &mut rng).unwrap();
            let again = message(&intro, kind, (id, id.inverse()), 99, &blocks, &mut rng).unwrap();
            assert_ne!(packet, again, "its number is random");
            let (header, opened) = intro.open(&mut packet, kind).unwrap();
            assert_eq!((header.kind, header.network_id, header.flag), (kind, 99, 0));
            assert_eq!((header.destination, header.source), (id, id.inverse()));
            assert_eq!(timestamp(opened), Ok(Some(1000)));
            assert!(IntroKey::new([8; 32]).open(&mut again.clone(), kind).is_err(), "for nobody else");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let intro = IntroKey::new([7; 32]);
        let mut rng = Rng::from_seed([1; 32]);
        let good = token_request(&intro, Ids::random(&mut rng), 99, 1000, 4, &mut rng).unwrap();
        assert!(intro.open(&mut good.clone(), MessageType::TokenRequest).is_ok());
        assert!(intro.open(&mut good.clone(), MessageType::Retry).is_err());
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(intro.open(&mut bad, MessageType::TokenRequest).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(intro.open(&mut good[..len].to_vec(), MessageType::TokenRequest).is_err(), "cut at {len}");
        }
    }
}
