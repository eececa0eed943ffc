//! TunnelData (type 18): one tunnel message between two hops. <https://geti2p.net/spec/i2np#msg-tunneldata>
//!
//! ```text
//! tunnelId(4) data(1024)
//! ```
//!
//! The data is an IV of 16 bytes and 1,008 bytes under the layers of the tunnel. Hops work on the body in place.

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};

/// Length of the body of a TunnelData message.
pub const BODY_LEN: usize = 1028;
/// Length of the IV and the sealed part.
pub const DATA_LEN: usize = 1024;

/// The body of a TunnelData message.
#[derive(Clone, PartialEq, Eq)]
pub struct TunnelData {
    /// The id under which the receiver knows the tunnel; nonzero.
    pub tunnel: u32,
    /// The IV, and the tunnel message behind it.
    pub data: Box<[u8; DATA_LEN]>,
}

impl std::fmt::Debug for TunnelData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TunnelData of tunnel {}", self.tunnel)
    }
}

impl Encode for TunnelData {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.tunnel);
        out.put(self.data.as_slice());
    }
}

impl Decode for TunnelData {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tunnel = nonzero(r.u32("TunnelData tunnelId")?)?;
        Ok(Self { tunnel, data: Box::new(r.array("TunnelData data")?) })
    }
}

/// The tunnel id and the data of a body, for work in place. The body must be [`BODY_LEN`] bytes and the id nonzero.
pub fn split_mut(body: &mut [u8]) -> Result<(u32, &mut [u8; DATA_LEN]), DecodeError> {
    let extra = body.len().saturating_sub(BODY_LEN);
    if extra > 0 {
        return Err(DecodeError::Trailing { what: "TunnelData", extra });
    }
    let truncated = DecodeError::Truncated { what: "TunnelData" };
    let (id, data) = body.split_first_chunk_mut::<4>().ok_or(truncated)?;
    let data = data.first_chunk_mut::<DATA_LEN>().ok_or(truncated)?;
    Ok((nonzero(u32::from_be_bytes(*id))?, data))
}

/// Writes the id under which the next hop knows the tunnel.
pub fn set_tunnel(body: &mut [u8], tunnel: u32) {
    if let Some(id) = body.first_chunk_mut::<4>() {
        *id = tunnel.to_be_bytes();
    }
}

fn nonzero(tunnel: u32) -> Result<u32, DecodeError> {
    if tunnel == 0 { Err(DecodeError::invalid("TunnelData tunnelId", "zero")) } else { Ok(tunnel) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_works_in_place() {
        let data = TunnelData { tunnel: 7, data: Box::new(std::array::from_fn(|i| (i % 250) as u8)) };
        let mut bytes = data.to_bytes();
        assert_eq!(bytes.len(), BODY_LEN);
        assert_eq!(TunnelData::from_bytes(&bytes), Ok(data.clone()));
        let (tunnel, inside) = split_mut(&mut bytes).unwrap();
        assert_eq!((tunnel, &*inside), (7, &*data.data));
        set_tunnel(&mut bytes, 9);
        assert_eq!(TunnelData::from_bytes(&bytes).unwrap().tunnel, 9);
    }

    /// Threats T77: 1,027 and 1,029 bytes; T70: id 0.
    #[test]
    fn wrong_lengths_and_id_zero_are_refused() {
        for len in [0, 3, 4, 1027, 1029, 4000] {
            assert!(TunnelData::from_bytes(&vec![1; len]).is_err(), "{len}");
            assert!(split_mut(&mut vec![1; len]).is_err(), "{len}");
        }
        assert!(split_mut(&mut vec![0; BODY_LEN]).is_err());
        assert!(TunnelData::from_bytes(&vec![0; BODY_LEN]).is_err());
    }
}
