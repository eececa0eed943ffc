//! The Termination block. <https://geti2p.net/spec/ssu2#termination>

use super::field::header;
use crate::codec::{DecodeError, Reader, Write};

/// Why a session ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TerminationReason(pub u8);

impl TerminationReason {
    pub const NORMAL: Self = Self(0);
    pub const TERMINATION_RECEIVED: Self = Self(1);
    pub const IDLE_TIMEOUT: Self = Self(2);
    pub const ROUTER_SHUTDOWN: Self = Self(3);
    pub const DATA_PHASE_AEAD_FAILURE: Self = Self(4);
    pub const INCOMPATIBLE_OPTIONS: Self = Self(5);
    pub const INCOMPATIBLE_SIGNATURE_TYPE: Self = Self(6);
    pub const CLOCK_SKEW: Self = Self(7);
    pub const PADDING_VIOLATION: Self = Self(8);
    pub const AEAD_FRAMING_ERROR: Self = Self(9);
    pub const PAYLOAD_FORMAT_ERROR: Self = Self(10);
    pub const SESSION_REQUEST_ERROR: Self = Self(11);
    pub const SESSION_CREATED_ERROR: Self = Self(12);
    pub const SESSION_CONFIRMED_ERROR: Self = Self(13);
    pub const TIMEOUT: Self = Self(14);
    pub const ROUTER_INFO_SIGNATURE: Self = Self(15);
    pub const STATIC_KEY_MISMATCH: Self = Self(16);
    pub const BANNED: Self = Self(17);
    pub const BAD_TOKEN: Self = Self(18);
    pub const CONNECTION_LIMITS: Self = Self(19);
    pub const INCOMPATIBLE_VERSION: Self = Self(20);
    pub const WRONG_NETWORK_ID: Self = Self(21);
    pub const REPLACED_BY_NEW_SESSION: Self = Self(22);

    /// The specification's words.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "normal close or unspecified",
            1 => "termination received",
            2 => "idle timeout",
            3 => "router shutdown",
            4 => "data phase AEAD failure",
            5 => "incompatible options",
            6 => "incompatible signature type",
            7 => "clock skew",
            8 => "padding violation",
            9 => "AEAD framing error",
            10 => "payload format error",
            11 => "SessionRequest error",
            12 => "SessionCreated error",
            13 => "SessionConfirmed error",
            14 => "timeout",
            15 => "RouterInfo signature verification failed",
            16 => "s parameter missing, invalid or mismatched in RouterInfo",
            17 => "banned",
            18 => "bad token",
            19 => "connection limits",
            20 => "incompatible version",
            21 => "wrong network ID",
            22 => "replaced by new session",
            _ => "unknown reason",
        }
    }
}

impl std::fmt::Debug for TerminationReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

/// `valid data packets received :: 8`, `rsn :: 1`, then additional data of no format, which is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    /// What the sender says that it received intact; 0 in the handshake.
    pub packets_received: u64,
    pub reason: TerminationReason,
}

impl Termination {
    /// Bytes of the block as it is written.
    pub const LEN: usize = super::BLOCK_HEADER + 9;

    pub fn encode(&self, out: &mut Vec<u8>) {
        header(out, 6, 9);
        out.put_u64(self.packets_received);
        out.put_u8(self.reason.0);
    }

    pub(super) fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(data);
        let packets_received = r.u64("Termination block")?;
        Ok(Self { packets_received, reason: TerminationReason(r.u8("Termination block")?) })
    }
}
