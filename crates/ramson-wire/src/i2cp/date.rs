//! GetDate and SetDate, which begin a connection.

use super::{put_string, string};
use crate::codec::{DecodeError, Reader, Write};
use crate::data::Mapping;

/// The first message of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetDate {
    /// The version of I2CP that it speaks; empty if it is older than 0.8.7.
    pub version: String,
    /// `i2cp.username` and `i2cp.password`, where they are needed.
    pub authentication: Option<Mapping>,
}

impl GetDate {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.is_empty() {
            return Ok(Self::default());
        }
        let version = string(r, "GetDate version")?;
        // It is not signed, and need not be in order.
        let authentication = if r.is_empty() { None } else { Some(Mapping::decode_in_any_order(r)?) };
        Ok(Self { version, authentication })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        if self.version.is_empty() && self.authentication.is_none() {
            return;
        }
        put_string(out, &self.version);
        if let Some(mapping) = &self.authentication {
            crate::codec::Encode::encode(mapping, out);
        }
    }
}

/// The router's answer, and later word of a clock that was corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetDate {
    /// Milliseconds since 1970.
    pub date: u64,
    /// The version of I2CP that it speaks; empty if it is older than 0.8.7.
    pub version: String,
}

impl SetDate {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let date = r.u64("SetDate")?;
        let version = if r.is_empty() { String::new() } else { string(r, "SetDate version")? };
        Ok(Self { date, version })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.date);
        if !self.version.is_empty() {
            put_string(out, &self.version);
        }
    }
}
