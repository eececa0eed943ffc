//! The messages of a test, taken off the wire.

use ramson_wire::codec::DecodeError;
use ramson_wire::data::Hash;
use ramson_wire::ssu2::{Block, Blocks, ConnectionId, LongHeader, PeerTest, Signed};
use std::net::SocketAddr;

/// A PeerTest block of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// 1 to 7.
    pub(crate) number: u8,
    pub(crate) code: u8,
    /// Alice's hash in message 2, Charlie's in message 4.
    pub(crate) router: Option<Hash>,
    pub(crate) version: u8,
    pub(crate) nonce: u32,
    pub(crate) timestamp: u32,
    pub(crate) alice: SocketAddr,
    /// What is signed, and its signature, as they came.
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl From<&PeerTest<'_>> for Message {
    fn from(test: &PeerTest<'_>) -> Self {
        Self {
            number: test.message,
            code: test.code,
            router: test.router,
            version: test.version,
            nonce: test.nonce,
            timestamp: test.timestamp,
            alice: test.alice,
            signed: test.signed.bytes.to_vec(),
            signature: test.signed.signature.to_vec(),
        }
    }
}

impl Message {
    /// The block that passes on what was signed.
    pub(super) fn passed_on(&self, number: u8, code: u8, router: &Hash) -> Vec<u8> {
        block(number, code, Some(router), &self.signed, &self.signature)
    }
}

/// A PeerTest message outside of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outside {
    /// 5 to 7.
    pub(crate) number: u8,
    pub(crate) nonce: u32,
    /// The clock of its sender.
    pub(crate) timestamp: u32,
    /// Where the receiver is seen to be.
    pub(crate) address: Option<SocketAddr>,
}

impl Outside {
    /// Reads one. `None` when it is none: without clock or test, or with connection IDs that are not those of its nonce.
    pub(crate) fn read(header: &LongHeader, blocks: &[u8]) -> Result<Option<Self>, DecodeError> {
        let (mut timestamp, mut address, mut test) = (None, None, None);
        for block in Blocks::new(blocks) {
            match block? {
                Block::DateTime(at) => timestamp = Some(at),
                Block::Address(at) => address = Some(at),
                Block::PeerTest(block) => test = Some((block.message, block.nonce, block.version)),
                _ => {}
            }
        }
        let (Some(timestamp), Some((number, nonce, version))) = (timestamp, test) else { return Ok(None) };
        let right = header.destination == ids(number, nonce).0 && header.source == ids(number, nonce).1;
        let ours = (5..=7).contains(&number) && version == ramson_wire::ssu2::VERSION;
        Ok((right && ours).then_some(Self { number, nonce, timestamp, address }))
    }
}

/// The connection IDs of messages 5 to 7, destination and source.
pub(super) const fn ids(number: u8, nonce: u32) -> (ConnectionId, ConnectionId) {
    let to_alice = ConnectionId::of_nonce(nonce);
    match number {
        6 => (to_alice.inverse(), to_alice),
        _ => (to_alice, to_alice.inverse()),
    }
}

/// A PeerTest block.
pub(super) fn block(number: u8, code: u8, router: Option<&Hash>, bytes: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + signature.len() + 40);
    PeerTest::encode(&mut out, number, code, router, &Signed { bytes, signature });
    out
}

/// The blocks of messages 5 to 7. What is in them is not signed: a signature is optional there, and would make what goes to
/// an address that is not proven twice as long.
pub(super) fn outside(
    number: u8,
    nonce: u32,
    timestamp: u32,
    alice: &SocketAddr,
    seen: Option<&SocketAddr>,
) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(80);
    Block::encode_date_time(&mut blocks, timestamp);
    if let Some(seen) = seen {
        Block::encode_address(&mut blocks, seen);
    }
    let bytes = PeerTest::to_be_signed(nonce, timestamp, alice);
    PeerTest::encode(&mut blocks, number, 0, None, &Signed { bytes: &bytes, signature: &[] });
    blocks
}
