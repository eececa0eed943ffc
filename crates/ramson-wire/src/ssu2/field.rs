//! What blocks of several kinds have inside: their header, and an endpoint, which is an address with its port.

use crate::codec::{DecodeError, Reader, Write};
use std::net::{IpAddr, SocketAddr};

pub(super) fn header(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.put_u8(kind);
    // Payloads are far shorter than 64 KiB.
    out.put_u16(u16::try_from(len).unwrap_or(u16::MAX));
}

pub(super) fn put_endpoint(out: &mut Vec<u8>, endpoint: &SocketAddr) {
    out.put_u16(endpoint.port());
    match endpoint.ip() {
        IpAddr::V4(ip) => out.put(&ip.octets()),
        IpAddr::V6(ip) => out.put(&ip.octets()),
    }
}

/// The bytes of a port and an address, as they stand in blocks: 6 or 18.
pub const fn endpoint_len(endpoint: &SocketAddr) -> usize {
    match endpoint {
        SocketAddr::V4(_) => 6,
        SocketAddr::V6(_) => 18,
    }
}

/// `port :: 2`, `IP :: 4 or 16`, in `len` bytes. An IPv4 address in the clothes of IPv6 is refused: it would let one
/// address count as two.
pub(super) fn endpoint(r: &mut Reader<'_>, len: u8, what: &'static str) -> Result<SocketAddr, DecodeError> {
    let port = r.u16(what)?;
    let ip = match len {
        6 => IpAddr::from(r.array::<4>(what)?),
        18 => IpAddr::from(r.array::<16>(what)?),
        _ => return Err(DecodeError::invalid(what, "an endpoint has 6 or 18 bytes")),
    };
    if ip.to_canonical() != ip {
        return Err(DecodeError::invalid(what, "IPv4 in an IPv6 address"));
    }
    Ok((ip, port).into())
}
