//! TunnelGateway (type 19): a message to be sent down the tunnel whose gateway the receiver is.
//! <https://geti2p.net/spec/i2np#msg-tunnelgateway>
//!
//! ```text
//! tunnelId(4) length(2) message(length, with the 16-byte header)
//! ```

use super::{MAX_BODY, Message, STANDARD_HEADER};
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};

/// The body of a TunnelGateway message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelGateway {
    /// The id under which the gateway knows the tunnel; nonzero.
    pub tunnel: u32,
    pub message: Message,
}

impl Encode for TunnelGateway {
    /// The message must fit behind a 16-bit length: its body is at most [`MAX_BODY`] bytes.
    fn encode(&self, out: &mut Vec<u8>) {
        let len = STANDARD_HEADER + self.message.body.len();
        out.put_u32(self.tunnel);
        out.put_u16(u16::try_from(len).unwrap_or(u16::MAX));
        self.message.encode_standard(out);
    }
}

impl Decode for TunnelGateway {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tunnel = r.u32("TunnelGateway tunnelId")?;
        if tunnel == 0 {
            return Err(DecodeError::invalid("TunnelGateway tunnelId", "zero"));
        }
        let len = usize::from(r.u16("TunnelGateway length")?);
        if len > STANDARD_HEADER + MAX_BODY {
            return Err(DecodeError::TooLarge { what: "TunnelGateway message", limit: MAX_BODY });
        }
        let message = Message::decode_standard(r.take(len, "TunnelGateway message")?)?;
        Ok(Self { tunnel, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i2np::Kind;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips(tunnel in 1u32.., id: u32, expiration: u64, body in prop::collection::vec(any::<u8>(), 0..3000)) {
            let gateway = TunnelGateway { tunnel, message: Message { kind: Kind::GARLIC, id, expiration, body } };
            let bytes = gateway.to_bytes();
            prop_assert_eq!(TunnelGateway::from_bytes(&bytes), Ok(gateway));
            prop_assert!(TunnelGateway::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = TunnelGateway::from_bytes(&bytes);
        }
    }

    #[test]
    fn tunnel_zero_is_refused() {
        let message = Message { kind: Kind::DATA, id: 1, expiration: 2, body: vec![] };
        assert!(TunnelGateway::from_bytes(&TunnelGateway { tunnel: 0, message }.to_bytes()).is_err());
    }
}
