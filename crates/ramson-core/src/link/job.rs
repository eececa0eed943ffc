//! The public-key steps of a handshake as jobs.

use super::ConnId;
use super::ntcp2::handshake::{
    AwaitConfirmed, AwaitCreated, AwaitCreatedPadding, AwaitRequestPadding, Established, HandshakeError, Initiator,
    Responder,
};
use crate::netdb::store::{Known, Verified};
use crate::rng::Rng;
use ramson_wire::codec::{Decode, DecodeError};
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::RouterInfo;
use ramson_wire::ntcp2::{Block, Blocks, CreatedOptions, HANDSHAKE_FIXED, RequestOptions, TerminationReason};
use std::sync::Arc;

/// One step of one connection's handshake.
pub struct LinkJob {
    pub conn: ConnId,
    pub(super) step: Step,
}

pub(super) enum Step {
    /// Initiator: make message 1.
    Request(Box<Initiator>),
    /// Initiator: open message 2.
    Created(Box<AwaitCreated>, [u8; HANDSHAKE_FIXED]),
    /// Initiator: make message 3.
    Confirm(Box<AwaitCreatedPadding>, Vec<u8>),
    /// Responder: open message 1.
    OpenRequest(Box<Responder>),
    /// Responder: make message 2.
    Create { state: Box<AwaitRequestPadding>, request_padding: Vec<u8>, timestamp: u32, padding: Vec<u8> },
    /// Responder: open message 3 and verify the RouterInfo in it.
    OpenConfirmed(Box<AwaitConfirmed>, Vec<u8>),
    /// A step of SSU2.
    Ssu2(Box<super::ssu2::job::Step>),
}

/// What came of a [`LinkJob`].
pub struct LinkDone {
    pub conn: ConnId,
    pub(super) outcome: Result<Outcome, HandshakeError>,
}

pub(super) enum Outcome {
    Requested(Vec<u8>, Box<AwaitCreated>),
    Created(CreatedOptions, Box<AwaitCreatedPadding>),
    Confirmed(Vec<u8>, Established),
    RequestOpened(RequestOptions, Box<AwaitRequestPadding>),
    CreatedMade(Vec<u8>, Box<AwaitConfirmed>),
    ConfirmedOpened { established: Established, peer: Result<Verified, TerminationReason> },
    Ssu2(Box<super::ssu2::job::Outcome>),
}

impl LinkJob {
    /// Does the work. What it draws at random it draws here.
    pub fn run(self, rng: &mut Rng) -> LinkDone {
        self.run_knowing(rng, &|_| None)
    }

    /// The same where `known` may have verified the peer's RouterInfo before, or another version of it.
    pub fn run_knowing(self, rng: &mut Rng, known: Known<'_>) -> LinkDone {
        let outcome = match self.step {
            Step::Ssu2(step) => Ok(Outcome::Ssu2(Box::new(step.run(rng, known)))),
            Step::Request(initiator) => {
                initiator.request(rng).map(|(message, next)| Outcome::Requested(message, Box::new(next)))
            }
            Step::Created(state, message) => {
                state.created(&message).map(|(options, next)| Outcome::Created(options, Box::new(next)))
            }
            Step::Confirm(state, padding) => {
                state.confirm(&padding).map(|(message, established)| Outcome::Confirmed(message, established))
            }
            Step::OpenRequest(responder) => {
                responder.request().map(|(options, next)| Outcome::RequestOpened(options, Box::new(next)))
            }
            Step::Create { state, request_padding, timestamp, padding } => state
                .create(&request_padding, timestamp, &padding, rng)
                .map(|(message, next)| Outcome::CreatedMade(message, Box::new(next))),
            Step::OpenConfirmed(state, mut message) => state.confirmed(&mut message).map(|confirmed| {
                let peer = identify(&confirmed.payload, &confirmed.static_key, known);
                Outcome::ConfirmedOpened { established: confirmed.established, peer }
            }),
        };
        LinkDone { conn: self.conn, outcome }
    }
}

/// Reads message 3 part 2: a RouterInfo, then Options and Padding if present, nothing else (threats T41).
fn identify(payload: &[u8], static_key: &PublicKey, known: Known<'_>) -> Result<Verified, TerminationReason> {
    let bytes = router_info_of(payload).map_err(|_| TerminationReason::MESSAGE_3_ERROR)?;
    let info = RouterInfo::from_bytes(bytes).map_err(|_| TerminationReason::MESSAGE_3_ERROR)?;
    let verified =
        Verified::new_knowing(Arc::new(info), known).map_err(|_| TerminationReason::ROUTER_INFO_SIGNATURE)?;
    if !verified.info().ntcp2_addresses().iter().any(|address| address.static_key == *static_key) {
        return Err(TerminationReason::STATIC_KEY_MISMATCH);
    }
    Ok(verified)
}

fn router_info_of(payload: &[u8]) -> Result<&[u8], DecodeError> {
    let order = DecodeError::invalid("SessionConfirmed", "blocks are not RouterInfo, Options, Padding");
    let mut found = None;
    let mut options = false;
    for block in Blocks::new(payload) {
        match block? {
            Block::RouterInfo(block) if found.is_none() && !options => found = Some(block.router_info),
            Block::Options(_) if found.is_some() && !options => options = true,
            Block::Padding(_) if found.is_some() => {}
            _ => return Err(order),
        }
    }
    found.ok_or(order)
}
