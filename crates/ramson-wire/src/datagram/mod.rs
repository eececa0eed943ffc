//! What clients put into Data messages: the gzip payload with ports, and the datagrams in it.
//! <https://geti2p.net/spec/datagrams>, <https://geti2p.net/spec/i2cp>

pub mod datagram1;
pub mod datagram2;
pub mod datagram3;
pub mod payload;

pub use datagram1::Datagram1;
pub use datagram2::Datagram2;
pub use datagram3::Datagram3;
pub use payload::ClientPayload;

use crate::codec::{Decode, DecodeError, Reader};
use crate::data::Mapping;

/// Version in the four lowest bits; options and offline signature by flag; the rest is unused.
const VERSION: u16 = 0x0f;
const OPTIONS: u16 = 0x10;
const OFFLINE: u16 = 0x20;

/// Reads the flags of version `version`, and the options if there are any.
fn flags_and_options(r: &mut Reader<'_>, version: u16) -> Result<(u16, Mapping), DecodeError> {
    let flags = r.u16("datagram flags")?;
    if flags & VERSION != version {
        return Err(DecodeError::Unsupported { what: "datagram version", value: (flags & VERSION).into() });
    }
    let options = if flags & OPTIONS != 0 { Mapping::decode(r)? } else { Mapping::new() };
    Ok((flags, options))
}
