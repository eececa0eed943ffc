//! DeliveryStatus (type 10): says that a message arrived. <https://geti2p.net/spec/i2np#msg-deliverystatus>
//!
//! ```text
//! msg_id(4) timestamp(8)
//! ```

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};

/// The body of a DeliveryStatus: 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// The id that the sender asked to be told about: a reply token or the id of a message.
    pub message_id: u32,
    /// When the message arrived, in milliseconds since 1970. Some senders put the number of the network here.
    pub timestamp: u64,
}

impl DeliveryStatus {
    pub const LEN: usize = 12;
}

impl Encode for DeliveryStatus {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.message_id);
        out.put_u64(self.timestamp);
    }
}

impl Decode for DeliveryStatus {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let message_id = r.u32("DeliveryStatus msg_id")?;
        let timestamp = r.u64("DeliveryStatus timestamp")?;
        Ok(Self { message_id, timestamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips(message_id: u32, timestamp: u64) {
            let status = DeliveryStatus { message_id, timestamp };
            let bytes = status.to_bytes();
            prop_assert_eq!(bytes.len(), DeliveryStatus::LEN);
            prop_assert_eq!(DeliveryStatus::from_bytes(&bytes), Ok(status));
        }

        #[test]
        fn other_lengths_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(DeliveryStatus::from_bytes(&bytes).is_ok(), bytes.len() == DeliveryStatus::LEN);
        }
    }
}
