//! The blocks of introductions and peer tests, and what is signed in them.
//! <https://geti2p.net/spec/ssu2#relayrequest>, <https://geti2p.net/spec/ssu2#peertest>

use super::field::{endpoint, header, put_endpoint};
use crate::codec::{DecodeError, Reader, Write};
use crate::data::Hash;
use std::net::SocketAddr;

/// The part of a block that is signed, and its signature, as they stand there. They are passed on unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    pub bytes: &'a [u8],
    /// As long as the signature type of its author has them; may be empty where it is optional.
    pub signature: &'a [u8],
}

/// What Alice asks: `nonce :: 4`, `relay tag :: 4`, `timestamp :: 4`, `ver :: 1`, `asz :: 1`, port and IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAgreement {
    pub nonce: u32,
    /// The `itag` of Charlie.
    pub tag: u32,
    /// Seconds since 1970.
    pub timestamp: u32,
    /// 2.
    pub version: u8,
    pub alice: SocketAddr,
}

impl RelayAgreement {
    /// The bytes that are signed after prologue and hashes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.put_u32(self.nonce);
        out.put_u32(self.tag);
        out.put_u32(self.timestamp);
        out.put_u8(self.version);
        put_sized_endpoint(&mut out, &self.alice);
        out
    }

    /// What Alice signs: the prologue, the hashes of Bob and Charlie, and `bytes` of this.
    pub fn signed_message(bytes: &[u8], bob: &Hash, charlie: &Hash) -> Vec<u8> {
        [b"RelayRequestData", bob.as_bytes().as_slice(), charlie.as_bytes(), bytes].concat()
    }

    fn decode<'a>(r: &mut Reader<'a>) -> Result<(Self, Signed<'a>), DecodeError> {
        const WHAT: &str = "relay request";
        let whole = r.peek();
        let (nonce, tag, timestamp, version) = (r.u32(WHAT)?, r.u32(WHAT)?, r.u32(WHAT)?, r.u8(WHAT)?);
        let len = r.u8(WHAT)?;
        let alice = endpoint(r, len, WHAT)?;
        Ok((Self { nonce, tag, timestamp, version, alice }, signed(whole, r, WHAT)?))
    }
}

/// `flag :: 1`, then the agreement and Alice's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayRequest<'a> {
    pub agreement: RelayAgreement,
    pub signed: Signed<'a>,
}

impl<'a> RelayRequest<'a> {
    pub(super) fn decode(data: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(data);
        r.u8("relay request")?;
        let (agreement, signed) = RelayAgreement::decode(&mut r)?;
        Ok(Self { agreement, signed })
    }

    /// Appends the block with the signed bytes as they are: 4 bytes and those.
    pub fn encode(out: &mut Vec<u8>, signed: &Signed<'_>) {
        header(out, 7, 1 + signed.bytes.len() + signed.signature.len());
        out.put_u8(0);
        put_signed(out, signed);
    }
}

/// `flag :: 1`, Alice's hash, then what she has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayIntro<'a> {
    pub alice: Hash,
    pub agreement: RelayAgreement,
    pub signed: Signed<'a>,
}

impl<'a> RelayIntro<'a> {
    pub(super) fn decode(data: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(data);
        r.u8("relay intro")?;
        let alice = Hash(r.array("relay intro")?);
        let (agreement, signed) = RelayAgreement::decode(&mut r)?;
        Ok(Self { alice, agreement, signed })
    }

    /// Appends the block: 36 bytes and the signed ones.
    pub fn encode(out: &mut Vec<u8>, alice: &Hash, signed: &Signed<'_>) {
        header(out, 9, 33 + signed.bytes.len() + signed.signature.len());
        out.put_u8(0);
        out.put(alice.as_bytes());
        put_signed(out, signed);
    }
}

/// `flag :: 1`, `code :: 1`, then signed: `nonce :: 4`, `timestamp :: 4`, `ver :: 1`, `csz :: 1`, port and IP of
/// Charlie; the signature; a `token :: 8` when accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayResponse<'a> {
    /// 0 accepts; up to 63 Bob rejects, from 64 Charlie.
    pub code: u8,
    pub nonce: u32,
    /// Seconds since 1970; 0 when a rejection ends behind its nonce.
    pub timestamp: u32,
    /// There when accepted.
    pub charlie: Option<SocketAddr>,
    pub signed: Signed<'a>,
    /// There when accepted: for Alice's SessionRequest, at once.
    pub token: Option<u64>,
}

impl<'a> RelayResponse<'a> {
    pub(super) fn decode(data: &'a [u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "relay response";
        let mut r = Reader::new(data);
        r.u8(WHAT)?;
        let code = r.u8(WHAT)?;
        let token = match code {
            0 => {
                let (rest, token) = r.peek().split_last_chunk().ok_or(DecodeError::Truncated { what: WHAT })?;
                r = Reader::new(rest);
                Some(u64::from_be_bytes(*token))
            }
            _ => None,
        };
        let whole = r.peek();
        let nonce = r.u32(WHAT)?;
        if code != 0 && r.is_empty() {
            let signed = Signed { bytes: whole, signature: &[] };
            return Ok(Self { code, nonce, timestamp: 0, charlie: None, signed, token: None });
        }
        let (timestamp, _version) = (r.u32(WHAT)?, r.u8(WHAT)?);
        let charlie = match r.u8(WHAT)? {
            0 if code != 0 => None,
            len => Some(endpoint(&mut r, len, WHAT)?),
        };
        Ok(Self { code, nonce, timestamp, charlie, signed: signed(whole, &mut r, WHAT)?, token })
    }

    /// The bytes that are signed after the prologue and Bob's hash.
    pub fn to_be_signed(nonce: u32, timestamp: u32, charlie: Option<&SocketAddr>) -> Vec<u8> {
        let mut out = Vec::with_capacity(28);
        out.put_u32(nonce);
        out.put_u32(timestamp);
        out.put_u8(super::VERSION);
        match charlie {
            Some(charlie) => put_sized_endpoint(&mut out, charlie),
            None => out.put_u8(0),
        }
        out
    }

    /// What Charlie signs, or Bob when he rejects: the prologue, Bob's hash, and `bytes`.
    pub fn signed_message(bytes: &[u8], bob: &Hash) -> Vec<u8> {
        [b"RelayAgreementOK", bob.as_bytes().as_slice(), bytes].concat()
    }

    /// Appends the block: 5 bytes, the signed ones, and 8 for a token.
    pub fn encode(out: &mut Vec<u8>, code: u8, signed: &Signed<'_>, token: Option<u64>) {
        let token = token.filter(|_| code == 0).map(u64::to_be_bytes);
        let token = token.as_ref().map_or(&[][..], |token| token);
        header(out, 8, 2 + signed.bytes.len() + signed.signature.len() + token.len());
        out.put_u8(0);
        out.put_u8(code);
        put_signed(out, signed);
        out.put(token);
    }
}

/// `msg :: 1`, `code :: 1`, `flag :: 1`, a hash in messages 2 and 4, then signed: `ver :: 1`, `nonce :: 4`,
/// `timestamp :: 4`, `asz :: 1`, Alice's port and IP; the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerTest<'a> {
    /// 1 to 7.
    pub message: u8,
    /// 0 accepts. Other codes stand in messages 3 and 4 only.
    pub code: u8,
    /// Alice's in message 2, Charlie's in message 4 (zeros when Bob rejects).
    pub router: Option<Hash>,
    pub version: u8,
    pub nonce: u32,
    /// Seconds since 1970.
    pub timestamp: u32,
    pub alice: SocketAddr,
    pub signed: Signed<'a>,
}

impl<'a> PeerTest<'a> {
    pub(super) fn decode(data: &'a [u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "peer test";
        let mut r = Reader::new(data);
        let message = r.u8(WHAT)?;
        let code = r.u8(WHAT)?;
        r.u8(WHAT)?;
        match (message, code) {
            (3 | 4, _) | (1..=7, 0) => {}
            (1..=7, _) => return Err(DecodeError::invalid(WHAT, "a code where none may be")),
            _ => return Err(DecodeError::invalid(WHAT, "message number")),
        }
        let router = match message {
            2 | 4 => Some(Hash(r.array(WHAT)?)),
            _ => None,
        };
        let whole = r.peek();
        let (version, nonce, timestamp) = (r.u8(WHAT)?, r.u32(WHAT)?, r.u32(WHAT)?);
        let len = r.u8(WHAT)?;
        let alice = endpoint(&mut r, len, WHAT)?;
        let signed = signed(whole, &mut r, WHAT)?;
        Ok(Self { message, code, router, version, nonce, timestamp, alice, signed })
    }

    /// The bytes that are signed after the prologue and the hashes.
    pub fn to_be_signed(nonce: u32, timestamp: u32, alice: &SocketAddr) -> Vec<u8> {
        let mut out = Vec::with_capacity(28);
        out.put_u8(super::VERSION);
        out.put_u32(nonce);
        out.put_u32(timestamp);
        put_sized_endpoint(&mut out, alice);
        out
    }

    /// What Alice signs in message 1, with Bob's hash alone, and Charlie in message 3, with Alice's too.
    pub fn signed_message(bytes: &[u8], bob: &Hash, alice: Option<&Hash>) -> Vec<u8> {
        let alice = alice.map_or(&[][..], |hash| hash.as_bytes());
        [b"PeerTestValidate", bob.as_bytes().as_slice(), alice, bytes].concat()
    }

    /// Appends the block: 6 bytes, 32 for a hash, and the signed ones.
    pub fn encode(out: &mut Vec<u8>, message: u8, code: u8, router: Option<&Hash>, signed: &Signed<'_>) {
        let router = router.map_or(&[][..], |hash| hash.as_bytes());
        header(out, 10, 3 + router.len() + signed.bytes.len() + signed.signature.len());
        out.put(&[message, code, 0]);
        out.put(router);
        put_signed(out, signed);
    }
}

/// What of `whole` was read is what is signed; the rest is the signature.
fn signed<'a>(whole: &'a [u8], r: &mut Reader<'a>, what: &'static str) -> Result<Signed<'a>, DecodeError> {
    let len = whole.len() - r.remaining();
    let bytes = whole.get(..len).ok_or(DecodeError::Truncated { what })?;
    Ok(Signed { bytes, signature: r.take_rest() })
}

fn put_signed(out: &mut Vec<u8>, signed: &Signed<'_>) {
    out.put(signed.bytes);
    out.put(signed.signature);
}

fn put_sized_endpoint(out: &mut Vec<u8>, endpoint: &SocketAddr) {
    out.put_u8(if endpoint.is_ipv4() { 6 } else { 18 });
    put_endpoint(out, endpoint);
}
