//! The 16-byte options of SessionRequest and SessionCreated.

use crate::codec::{DecodeError, Reader, Write};

/// Options of message 1 (SessionRequest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestOptions {
    /// The network's id; 2 on the live network.
    pub network_id: u8,
    /// The protocol version, 2.
    pub version: u8,
    /// Cleartext padding behind this message.
    pub padding: u16,
    /// Length of message 3 part 2, tag included.
    pub confirmed_part2: u16,
    /// Seconds since 1970, rounded.
    pub timestamp: u32,
}

impl RequestOptions {
    pub const LEN: usize = 16;

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.network_id);
        out.put_u8(self.version);
        out.put_u16(self.padding);
        out.put_u16(self.confirmed_part2);
        out.put_u16(0);
        out.put_u32(self.timestamp);
        out.put_u32(0);
    }

    /// Reads what AEAD has opened. Reserved bytes are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let network_id = r.u8("network id")?;
        let version = r.u8("version")?;
        let padding = r.u16("padding length")?;
        let confirmed_part2 = r.u16("message 3 part 2 length")?;
        r.u16("reserved")?;
        let timestamp = r.u32("timestamp")?;
        r.u32("reserved")?;
        r.finish("SessionRequest options")?;
        Ok(Self { network_id, version, padding, confirmed_part2, timestamp })
    }
}

/// Options of message 2 (SessionCreated).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreatedOptions {
    /// Cleartext padding behind this message.
    pub padding: u16,
    /// Seconds since 1970, rounded.
    pub timestamp: u32,
}

impl CreatedOptions {
    pub const LEN: usize = 16;

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(0);
        out.put_u16(self.padding);
        out.put_u32(0);
        out.put_u32(self.timestamp);
        out.put_u32(0);
    }

    /// Reads what AEAD has opened. Reserved bytes are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        r.u16("reserved")?;
        let padding = r.u16("padding length")?;
        r.u32("reserved")?;
        let timestamp = r.u32("timestamp")?;
        r.u32("reserved")?;
        r.finish("SessionCreated options")?;
        Ok(Self { padding, timestamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn options_round_trip(network_id: u8, padding: u16, confirmed_part2: u16, timestamp: u32) {
            let request = RequestOptions { network_id, version: 2, padding, confirmed_part2, timestamp };
            let mut bytes = Vec::new();
            request.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), RequestOptions::LEN);
            prop_assert_eq!(RequestOptions::decode(&bytes), Ok(request));
            let created = CreatedOptions { padding, timestamp };
            bytes.clear();
            created.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), CreatedOptions::LEN);
            prop_assert_eq!(CreatedOptions::decode(&bytes), Ok(created));
        }

        #[test]
        fn every_other_length_is_refused(len in 0usize..40) {
            prop_assert_eq!(RequestOptions::decode(&vec![1; len]).is_ok(), len == 16);
            prop_assert_eq!(CreatedOptions::decode(&vec![1; len]).is_ok(), len == 16);
        }
    }
}
