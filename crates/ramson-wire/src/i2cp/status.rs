//! SessionStatus and BandwidthLimits.

use super::SessionId;
use crate::codec::{DecodeError, Reader, Write};

/// What a session is, by the code of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionState(pub u8);

impl SessionState {
    pub const DESTROYED: Self = Self(0);
    pub const CREATED: Self = Self(1);
    pub const UPDATED: Self = Self(2);
    pub const INVALID: Self = Self(3);
    pub const REFUSED: Self = Self(4);
}

/// Word of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    pub session: SessionId,
    pub state: SessionState,
}

impl SessionStatus {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { session: SessionId::decode(r)?, state: SessionState(r.u8("session status")?) })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.session.0);
        out.put_u8(self.state.0);
    }
}

/// Limits of bandwidth, in kilobytes per second. What is not said is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandwidthLimits {
    pub client_inbound: u32,
    pub client_outbound: u32,
    pub router_inbound: u32,
    pub router_inbound_burst: u32,
    pub router_outbound: u32,
    pub router_outbound_burst: u32,
    /// Seconds.
    pub burst_time: u32,
    pub undefined: [u32; 9],
}

impl BandwidthLimits {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut next = || r.u32("BandwidthLimits");
        let mut limits = Self {
            client_inbound: next()?,
            client_outbound: next()?,
            router_inbound: next()?,
            router_inbound_burst: next()?,
            router_outbound: next()?,
            router_outbound_burst: next()?,
            burst_time: next()?,
            undefined: [0; 9],
        };
        for field in &mut limits.undefined {
            *field = next()?;
        }
        Ok(limits)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let known = [
            self.client_inbound,
            self.client_outbound,
            self.router_inbound,
            self.router_inbound_burst,
            self.router_outbound,
            self.router_outbound_burst,
            self.burst_time,
        ];
        known.into_iter().chain(self.undefined).for_each(|field| out.put_u32(field));
    }
}
