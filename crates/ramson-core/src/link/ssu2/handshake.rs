//! The SSU2 handshake: Noise XK under protected headers, as typestates. <https://geti2p.net/spec/ssu2>
//!
//! Initiator ("Alice"): [`Initiator`] -> SessionRequest, [`AwaitCreated`] -> [`Confirming`] -> SessionConfirmed,
//! [`Established`]. Responder ("Bob"): [`Responder`] -> [`Creating`] -> SessionCreated, [`AwaitConfirmed`] ->
//! [`Confirmed`].
//!
//! Every step costs public-key operations and is meant to run as a job. The steps that read a packet borrow their state:
//! one that does not authenticate, damaged or forged on the way, leaves it as it was, and the genuine one can still
//! come. The types leave room for the hybrid post-quantum variant: it adds a frame behind both ephemeral keys, a
//! `mix_key_bytes` to each side, and the responder's hash to the transcript.

use super::packet::{DataKeys, Direction};
use crate::rng::Rng;
use ramson_wire::codec::DecodeError;
use ramson_wire::crypto::noise::SymmetricState;
use ramson_wire::crypto::x25519::{PublicKey, SecretKey};
use ramson_wire::crypto::{CryptoError, Secret, hash};
use ramson_wire::data::Hash;
use ramson_wire::ssu2::{
    self, Block, Blocks, CONFIRMED_FRAGMENTS, CONFIRMED_PART1, ConfirmedFragment, ConnectionId, LongHeader,
    MessageType, NewToken, PROTOCOL, SHORT_HEADER, Short, ShortHeader, TAG, TerminationReason, VERSION, protection,
};
use std::net::SocketAddr;

/// Bytes in front of the sealed payload of SessionRequest and SessionCreated.
const KEYED_HEADER: usize = ssu2::LONG_HEADER + ssu2::EPHEMERAL;
/// The last fragment of a SessionConfirmed is at least this long: the protection samples so much.
const FRAGMENT_MIN: usize = 24;

/// Why a step of a handshake failed. None of it is told to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer's bytes do not authenticate: a wrong key, a forgery, or damage.
    #[error("does not authenticate")]
    Crypto,
    /// The opened content is malformed.
    #[error("malformed: {0}")]
    Malformed(DecodeError),
    /// The header is not of this message, session, version or network.
    #[error("header of another message")]
    Header,
    /// Our RouterInfo does not fit in the fragments of a SessionConfirmed.
    #[error("SessionConfirmed of {0} bytes")]
    TooLong(usize),
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

/// What the responder publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponderKeys {
    pub router: Hash,
    pub static_key: PublicKey,
    pub intro_key: [u8; 32],
}

/// The connection IDs of a session, chosen by the initiator and the same from its first message to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// What stands in packets to the initiator.
    pub initiator: ConnectionId,
    /// What stands in packets to the responder.
    pub responder: ConnectionId,
}

impl Ids {
    /// Two ids that differ.
    pub fn random(rng: &mut Rng) -> Self {
        let initiator = ConnectionId(rng.next_u64());
        let mut responder = ConnectionId(rng.next_u64());
        if responder == initiator {
            responder = initiator.inverse();
        }
        Self { initiator, responder }
    }
}

/// The side that dials ("Alice").
pub struct Initiator {
    pub static_key: SecretKey,
    pub responder: ResponderKeys,
    pub network_id: u8,
    pub ids: Ids,
    /// From a Retry, or from a session before.
    pub token: u64,
    /// Our clock, seconds since 1970.
    pub timestamp: u32,
    /// Whether we ask the responder to introduce us to others.
    pub relay_tag: bool,
    /// Bytes of padding; one more block in any case.
    pub padding: usize,
}

impl Initiator {
    /// Makes the SessionRequest. One key pair and one Diffie-Hellman.
    pub fn request(self, rng: &mut Rng) -> Result<(Vec<u8>, AwaitCreated), HandshakeError> {
        let header = LongHeader {
            destination: self.ids.responder,
            packet_number: u32::from_be_bytes(rng.bytes()),
            kind: MessageType::SessionRequest,
            version: VERSION,
            network_id: self.network_id,
            flag: 0,
            source: self.ids.initiator,
            token: self.token,
        }
        .to_bytes();
        let mut state = SymmetricState::new(PROTOCOL);
        state.mix_hash(&self.responder.static_key.0);
        state.mix_hash(&header);
        let ephemeral = SecretKey::random(rng);
        let public = ephemeral.public_key().0;
        state.mix_hash(&public);
        state.mix_key(&ephemeral.diffie_hellman(&self.responder.static_key)?);
        let mut packet = Vec::with_capacity(KEYED_HEADER + 32 + self.padding + TAG);
        packet.extend_from_slice(&header);
        packet.extend_from_slice(&public);
        Block::encode_date_time(&mut packet, self.timestamp);
        if self.relay_tag {
            Block::encode_relay_tag_request(&mut packet);
        }
        Block::encode_padding(&mut packet, self.padding);
        state.seal_tail(0, &mut packet, KEYED_HEADER);
        let intro = &self.responder.intro_key;
        protection::protect_long(&mut packet, MessageType::SessionRequest, intro, intro)
            .ok_or(HandshakeError::Header)?;
        let header_key = hash::hkdf32(state.ck(), b"", b"SessCreateHeader").into();
        let Self { static_key, responder, network_id, ids, .. } = self;
        Ok((packet, AwaitCreated { state, ephemeral, static_key, responder, network_id, ids, header_key }))
    }
}

/// The SessionRequest is out.
pub struct AwaitCreated {
    state: SymmetricState,
    ephemeral: SecretKey,
    static_key: SecretKey,
    responder: ResponderKeys,
    network_id: u8,
    ids: Ids,
    header_key: Secret,
}

/// What a SessionCreated says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// The responder's clock, seconds since 1970.
    pub timestamp: u32,
    /// Where the responder sees us.
    pub address: Option<SocketAddr>,
    pub relay_tag: Option<u32>,
    pub new_token: Option<NewToken>,
    /// It does not want a session after all.
    pub termination: Option<TerminationReason>,
}

impl AwaitCreated {
    /// Whether the packet has the header of our SessionCreated. Symmetric work alone, and only one who has computed our
    /// secret with the responder can make such a one.
    pub fn expects(&self, packet: &[u8]) -> bool {
        is_long(packet, &self.responder.intro_key, &self.header_key, MessageType::SessionCreated, self.network_id)
            .is_some_and(|id| id == self.ids.initiator)
    }

    /// Reads a SessionCreated. One Diffie-Hellman.
    pub fn created(&self, packet: &mut [u8]) -> Result<(Created, Confirming), HandshakeError> {
        let kind = MessageType::SessionCreated;
        protection::turn_short(packet, &self.responder.intro_key, &self.header_key).ok_or(HandshakeError::Header)?;
        protection::turn_rest(packet, kind, &self.header_key).ok_or(HandshakeError::Header)?;
        let parts = ssu2::keyed(packet).ok_or(HandshakeError::Header)?;
        let header = LongHeader::from_bytes(parts.header)?;
        let ours = header.destination == self.ids.initiator && header.source == self.ids.responder;
        if !ours || header.kind != kind || header.version != VERSION || header.network_id != self.network_id {
            return Err(HandshakeError::Header);
        }
        let peer = PublicKey(*parts.ephemeral);
        let mut state = self.state.clone();
        state.mix_hash(parts.header);
        state.mix_hash(&peer.0);
        state.mix_key(&self.ephemeral.diffie_hellman(&peer)?);
        let created = read_created(state.open(0, parts.sealed)?)?;
        let (static_key, ids, intro_key) = (self.static_key.clone(), self.ids, self.responder.intro_key);
        Ok((created, Confirming { state, peer, static_key, ids, intro_key }))
    }
}

fn read_created(payload: &[u8]) -> Result<Created, DecodeError> {
    let mut created = Created::default();
    let mut time = None;
    for block in Blocks::new(payload) {
        match block? {
            Block::DateTime(at) => time = Some(at),
            Block::Address(address) => created.address = Some(address),
            Block::RelayTag(tag) => created.relay_tag = Some(tag),
            Block::NewToken(token) => created.new_token = Some(token),
            Block::Termination(termination) => created.termination = Some(termination.reason),
            // Options are not negotiated; what else stands there means nothing in a SessionCreated.
            _ => {}
        }
    }
    created.timestamp = time.ok_or(DecodeError::Truncated { what: "DateTime in SessionCreated" })?;
    Ok(created)
}

/// The SessionCreated is read.
pub struct Confirming {
    state: SymmetricState,
    peer: PublicKey,
    static_key: SecretKey,
    ids: Ids,
    intro_key: [u8; 32],
}

impl Confirming {
    /// Makes the SessionConfirmed of these blocks (our RouterInfo first), in as many packets of at most `most` bytes as it
    /// takes. One Diffie-Hellman.
    pub fn confirm(mut self, payload: &[u8], most: usize) -> Result<(Vec<Vec<u8>>, Established), HandshakeError> {
        let len = CONFIRMED_PART1 + payload.len() + TAG;
        let room = most.saturating_sub(SHORT_HEADER).max(FRAGMENT_MIN + 1);
        let total = u8::try_from(len.div_ceil(room)).ok().filter(|total| *total <= CONFIRMED_FRAGMENTS);
        let total = total.ok_or(HandshakeError::TooLong(len))?;
        let header_key: Secret = hash::hkdf32(self.state.ck(), b"", b"SessionConfirmed").into();
        let header = |number| {
            let fragment = ConfirmedFragment::new(number, total).ok_or(HandshakeError::TooLong(len))?;
            let kind = Short::Confirmed(fragment);
            let header = ShortHeader { destination: self.ids.responder, packet_number: 0, kind };
            Ok::<_, HandshakeError>(header.to_bytes())
        };
        let first = header(0)?;
        let headers: Vec<_> = (0..total).map(header).collect::<Result<_, _>>()?;
        self.state.mix_hash(&first);
        let mut body = Vec::with_capacity(len);
        body.extend_from_slice(&self.static_key.public_key().0);
        self.state.seal_tail(1, &mut body, 0);
        self.state.mix_key(&self.static_key.diffie_hellman(&self.peer)?);
        body.extend_from_slice(payload);
        self.state.seal_tail(0, &mut body, CONFIRMED_PART1);
        let mut packets = Vec::with_capacity(headers.len());
        let mut rest = body.as_slice();
        for header in headers {
            // What is left for the last packet is never too short for its protection.
            let take = match rest.len() {
                len if len <= room => len,
                len if len - room < FRAGMENT_MIN => len - FRAGMENT_MIN,
                _ => room,
            };
            let (part, behind) = rest.split_at_checked(take).ok_or(HandshakeError::TooLong(len))?;
            rest = behind;
            let mut packet = [&header[..], part].concat();
            protection::turn_short(&mut packet, &self.intro_key, &header_key).ok_or(HandshakeError::Header)?;
            packets.push(packet);
        }
        Ok((packets, Established { keys: data_keys(&self.state, true) }))
    }
}

/// The handshake is done.
#[derive(Debug)]
pub struct Established {
    pub keys: DataKeys,
}

/// The side that is dialled ("Bob").
pub struct Responder {
    pub static_key: SecretKey,
    pub intro_key: [u8; 32],
    pub network_id: u8,
}

/// What a SessionRequest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The initiator's clock, seconds since 1970.
    pub timestamp: u32,
    /// It asks us to introduce it to others.
    pub relay_tag: bool,
}

impl Responder {
    /// Opens a SessionRequest whose header is out of its protection, and whose token is good. One Diffie-Hellman.
    pub fn request(self, packet: &mut [u8]) -> Result<(Request, Creating), HandshakeError> {
        let parts = ssu2::keyed(packet).ok_or(HandshakeError::Header)?;
        let header = LongHeader::from_bytes(parts.header)?;
        if header.kind != MessageType::SessionRequest
            || header.version != VERSION
            || header.network_id != self.network_id
            || header.source == header.destination
        {
            return Err(HandshakeError::Header);
        }
        let peer = PublicKey(*parts.ephemeral);
        // No router makes such keys; two encodings of one would be one replay that is not known again.
        if !peer.is_canonical() {
            return Err(HandshakeError::Crypto);
        }
        let mut state = SymmetricState::new(PROTOCOL);
        state.mix_hash(&self.static_key.public_key().0);
        state.mix_hash(parts.header);
        state.mix_hash(&peer.0);
        state.mix_key(&self.static_key.diffie_hellman(&peer)?);
        let mut time = None;
        let mut relay_tag = false;
        for block in Blocks::new(state.open(0, parts.sealed)?) {
            match block? {
                Block::DateTime(at) => time = Some(at),
                Block::RelayTagRequest => relay_tag = true,
                _ => {}
            }
        }
        let timestamp = time.ok_or(DecodeError::Truncated { what: "DateTime in SessionRequest" })?;
        let ids = Ids { initiator: header.source, responder: header.destination };
        let Self { intro_key, network_id, .. } = self;
        Ok((Request { timestamp, relay_tag }, Creating { state, peer, ids, intro_key, network_id }))
    }
}

/// The SessionRequest is read.
pub struct Creating {
    state: SymmetricState,
    peer: PublicKey,
    ids: Ids,
    intro_key: [u8; 32],
    network_id: u8,
}

/// What we say in a SessionCreated.
#[derive(Clone, Copy, Debug)]
pub struct Create {
    /// Our clock, seconds since 1970.
    pub timestamp: u32,
    /// Where we see the initiator.
    pub address: SocketAddr,
    pub new_token: Option<NewToken>,
    pub relay_tag: Option<u32>,
    /// Bytes of padding; one more block in any case.
    pub padding: usize,
}

impl Creating {
    /// Makes the SessionCreated. One key pair and one Diffie-Hellman.
    pub fn create(mut self, create: &Create, rng: &mut Rng) -> Result<(Vec<u8>, AwaitConfirmed), HandshakeError> {
        let created_key: Secret = hash::hkdf32(self.state.ck(), b"", b"SessCreateHeader").into();
        let header = LongHeader {
            destination: self.ids.initiator,
            packet_number: u32::from_be_bytes(rng.bytes()),
            kind: MessageType::SessionCreated,
            version: VERSION,
            network_id: self.network_id,
            flag: 0,
            source: self.ids.responder,
            token: 0,
        }
        .to_bytes();
        self.state.mix_hash(&header);
        let ephemeral = SecretKey::random(rng);
        let public = ephemeral.public_key().0;
        self.state.mix_hash(&public);
        self.state.mix_key(&ephemeral.diffie_hellman(&self.peer)?);
        let mut packet = Vec::with_capacity(KEYED_HEADER + 64 + create.padding + TAG);
        packet.extend_from_slice(&header);
        packet.extend_from_slice(&public);
        Block::encode_date_time(&mut packet, create.timestamp);
        Block::encode_address(&mut packet, &create.address);
        if let Some(tag) = create.relay_tag {
            Block::encode_relay_tag(&mut packet, tag);
        }
        if let Some(token) = create.new_token {
            token.encode(&mut packet);
        }
        Block::encode_padding(&mut packet, create.padding);
        self.state.seal_tail(0, &mut packet, KEYED_HEADER);
        protection::protect_long(&mut packet, MessageType::SessionCreated, &self.intro_key, &created_key)
            .ok_or(HandshakeError::Header)?;
        let header_key = hash::hkdf32(self.state.ck(), b"", b"SessionConfirmed").into();
        Ok((packet, AwaitConfirmed { state: self.state, ephemeral, header_key }))
    }
}

/// The SessionCreated is out.
pub struct AwaitConfirmed {
    state: SymmetricState,
    ephemeral: SecretKey,
    header_key: Secret,
}

/// What a SessionConfirmed says: who dialled.
#[derive(Debug)]
pub struct Confirmed {
    /// The initiator's static key, which must be the one in its RouterInfo.
    pub static_key: PublicKey,
    /// The blocks of part 2.
    pub payload: Vec<u8>,
    pub established: Established,
}

impl AwaitConfirmed {
    /// The key that bytes 8 to 15 of a SessionConfirmed are under.
    pub fn header_key(&self) -> &[u8; 32] {
        &self.header_key
    }

    /// Opens a SessionConfirmed: the header of its first fragment, and what all have behind theirs. One Diffie-Hellman.
    pub fn confirmed(&self, header: &[u8; SHORT_HEADER], body: &mut [u8]) -> Result<Confirmed, HandshakeError> {
        let (part1, part2) = body.split_at_mut_checked(CONFIRMED_PART1).ok_or(HandshakeError::Crypto)?;
        let mut state = self.state.clone();
        state.mix_hash(header);
        let static_key = state.open(1, part1)?.first_chunk().copied().ok_or(HandshakeError::Crypto)?;
        let static_key = PublicKey(static_key);
        state.mix_key(&self.ephemeral.diffie_hellman(&static_key)?);
        let payload = state.open(0, part2)?.to_vec();
        Ok(Confirmed { static_key, payload, established: Established { keys: data_keys(&state, false) } })
    }
}

/// The destination of a packet, if it has a header of this kind, version and network under these keys.
pub(super) fn is_long(
    packet: &[u8],
    k_header_1: &[u8; 32],
    k_header_2: &[u8; 32],
    kind: MessageType,
    network_id: u8,
) -> Option<ConnectionId> {
    let destination = ConnectionId(u64::from_be_bytes(protection::first(packet, k_header_1)?));
    let [_, _, _, _, code, version, network, _] = protection::second(packet, k_header_2)?;
    (code == kind.code() && version == VERSION && network == network_id).then_some(destination)
}

fn data_keys(state: &SymmetricState, initiator: bool) -> DataKeys {
    let (ab, ba) = state.split();
    let (ab, ba) = (Secret::from(ab), Secret::from(ba));
    let direction = |key: &Secret| {
        let (data, header) = hash::hkdf64(key, b"", b"HKDFSSU2DataKeys");
        Direction { data: data.into(), header: header.into() }
    };
    match initiator {
        true => DataKeys { send: direction(&ab), receive: direction(&ba) },
        false => DataKeys { send: direction(&ba), receive: direction(&ab) },
    }
}

#[cfg(test)]
mod tests;
