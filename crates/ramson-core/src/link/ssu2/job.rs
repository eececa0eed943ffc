//! The public-key steps of an SSU2 handshake as jobs.

use super::handshake::{
    AwaitConfirmed, AwaitCreated, Confirmed, Create, Created, Established, HandshakeError, Initiator, Request,
    Responder,
};
use super::relay::{RelayDone, RelayJob};
use crate::netdb::store::{Known, Verified};
use crate::rng::Rng;
use ramson_wire::codec::{Decode, DecodeError};
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::RouterInfo;
use ramson_wire::ssu2::{Block, Blocks, SHORT_HEADER, TerminationReason};
use std::sync::Arc;

pub(crate) enum Step {
    /// Initiator: make the SessionRequest.
    Request(Box<Initiator>),
    /// Initiator: open a SessionCreated, and make the SessionConfirmed of these blocks in packets of at most `most` bytes.
    Created { state: Box<AwaitCreated>, packet: Vec<u8>, payload: Vec<u8>, most: usize },
    /// Responder: open a SessionRequest, and make the SessionCreated, unless the clocks are farther apart than that.
    Request1 { responder: Box<Responder>, packet: Vec<u8>, create: Create, max_skew: u32 },
    /// Responder: open a SessionConfirmed, and verify the RouterInfo in it.
    Confirmed { state: Box<AwaitConfirmed>, header: [u8; SHORT_HEADER], body: Vec<u8> },
    /// Not of a handshake: of an introduction.
    Relay(Box<RelayJob>),
}

pub(crate) enum Outcome {
    Requested(Vec<u8>, Box<AwaitCreated>),
    /// The second is the SessionConfirmed.
    Created(Created, Vec<Vec<u8>>, Established),
    /// That was none: the state waits on.
    NotCreated(Box<AwaitCreated>, HandshakeError),
    /// The SessionCreated is missing where the clocks are too far apart.
    Opened(Request, Option<(Vec<u8>, Box<AwaitConfirmed>)>),
    Confirmed(Box<Initiated>),
    /// That was none: the state waits on.
    NotConfirmed(Box<AwaitConfirmed>, HandshakeError),
    Relay(RelayDone),
    Failed(HandshakeError),
}

/// Who has dialled us, or why it may not.
pub(crate) struct Initiated {
    pub(super) established: Established,
    pub(super) peer: Result<Peer, TerminationReason>,
    /// The blocks of the SessionConfirmed.
    pub(super) payload: Vec<u8>,
}

pub(super) struct Peer {
    pub(super) info: Verified,
    pub(super) intro_key: [u8; 32],
}

impl Step {
    /// Does the work. What it draws at random it draws here. `known` may have verified the peer's RouterInfo before.
    pub(crate) fn run(self, rng: &mut Rng, known: Known<'_>) -> Outcome {
        match self {
            Self::Relay(job) => Outcome::Relay(job.run(known)),
            Self::Request(initiator) => match initiator.request(rng) {
                Ok((packet, next)) => Outcome::Requested(packet, Box::new(next)),
                Err(error) => Outcome::Failed(error),
            },
            Self::Created { state, mut packet, payload, most } => match state.created(&mut packet) {
                Err(error) => Outcome::NotCreated(state, error),
                Ok((created, confirming)) => match confirming.confirm(&payload, most) {
                    Ok((packets, established)) => Outcome::Created(created, packets, established),
                    Err(error) => Outcome::Failed(error),
                },
            },
            Self::Request1 { responder, mut packet, create, max_skew } => {
                let (request, creating) = match responder.request(&mut packet) {
                    Ok(opened) => opened,
                    Err(error) => return Outcome::Failed(error),
                };
                if request.timestamp.abs_diff(create.timestamp) > max_skew {
                    return Outcome::Opened(request, None);
                }
                match creating.create(&create, rng) {
                    Ok((packet, next)) => Outcome::Opened(request, Some((packet, Box::new(next)))),
                    Err(error) => Outcome::Failed(error),
                }
            }
            Self::Confirmed { state, header, mut body } => match state.confirmed(&header, &mut body) {
                Err(error) => Outcome::NotConfirmed(state, error),
                Ok(Confirmed { static_key, payload, established }) => {
                    let peer = identify(&payload, &static_key, known);
                    Outcome::Confirmed(Box::new(Initiated { established, peer, payload }))
                }
            },
        }
    }
}

/// Reads who has dialled: a RouterInfo that verifies, and has an address with the key of the handshake.
fn identify(payload: &[u8], static_key: &PublicKey, known: Known<'_>) -> Result<Peer, TerminationReason> {
    let info = read_info(payload).map_err(|_| TerminationReason::SESSION_CONFIRMED_ERROR)?;
    let info = Verified::new_knowing(Arc::new(info), known).map_err(|_| TerminationReason::ROUTER_INFO_SIGNATURE)?;
    let addresses = info.info().ssu2_addresses();
    let intro_key = addresses.iter().find(|address| address.static_key == *static_key).map(|address| address.intro_key);
    let intro_key = intro_key.ok_or(TerminationReason::STATIC_KEY_MISMATCH)?;
    Ok(Peer { info, intro_key })
}

fn read_info(payload: &[u8]) -> Result<RouterInfo, DecodeError> {
    match Blocks::of_confirmed(payload).next() {
        Some(Ok(Block::RouterInfo(block))) => RouterInfo::from_bytes(&block.router_info()?),
        Some(Err(error)) => Err(error),
        _ => Err(DecodeError::invalid("SessionConfirmed", "has no RouterInfo")),
    }
}
