//! Lease and Lease2: one inbound tunnel of a destination. <https://geti2p.net/spec/common-structures#lease>

use super::Hash;
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};

/// A lease of a LeaseSet of type 1: 44 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The tunnel's gateway.
    pub gateway: Hash,
    pub tunnel_id: u32,
    /// Milliseconds since 1970.
    pub end: u64,
}

/// A lease of a LeaseSet2: 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease2 {
    /// The tunnel's gateway.
    pub gateway: Hash,
    pub tunnel_id: u32,
    /// Seconds since 1970.
    pub end: u32,
}

impl From<Lease2> for Lease {
    fn from(lease: Lease2) -> Self {
        Self { gateway: lease.gateway, tunnel_id: lease.tunnel_id, end: u64::from(lease.end) * 1000 }
    }
}

impl Decode for Lease {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { gateway: Hash::decode(r)?, tunnel_id: r.u32("Lease tunnel")?, end: r.u64("Lease end")? })
    }
}

impl Encode for Lease {
    fn encode(&self, out: &mut Vec<u8>) {
        self.gateway.encode(out);
        out.put_u32(self.tunnel_id);
        out.put_u64(self.end);
    }
}

impl Decode for Lease2 {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { gateway: Hash::decode(r)?, tunnel_id: r.u32("Lease2 tunnel")?, end: r.u32("Lease2 end")? })
    }
}

impl Encode for Lease2 {
    fn encode(&self, out: &mut Vec<u8>) {
        self.gateway.encode(out);
        out.put_u32(self.tunnel_id);
        out.put_u32(self.end);
    }
}
