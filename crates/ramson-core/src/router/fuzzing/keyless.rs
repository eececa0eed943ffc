//! Programs that hold the keys of their destinations.

use super::*;
use crate::dest::keyless::Outgoing;
use crate::router::KeylessOptions;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};

impl Solo {
    pub(super) fn create_keyless(&mut self, id: DestinationId, options: Box<LocalOptions>) {
        let LocalOptions { keys, publish, tunnels, extra_hops, .. } = *options;
        let destination = keys.destination().clone();
        self.signers.insert(id, keys);
        let options = Box::new(KeylessOptions { destination, publish, tunnels, extra_hops, beside: None });
        self.command(Command::CreateKeyless { id, options });
    }

    /// A program signs what it was asked for, or something else; sends a message; or wants other tunnels.
    pub(super) fn as_signer(&mut self, destination: DestinationId, program: &mut Program<'_>) {
        match program.byte() & 7 {
            0 => {
                let wanted = |byte: u8| Wanted { length: (byte & 1).into(), quantity: (byte >> 4).into() };
                let tunnels = PoolConfig { inbound: wanted(program.byte()), outbound: wanted(program.byte()) };
                let token = self.token();
                self.command(Command::SetTunnels { destination, token, tunnels, extra_hops: (0, 0) });
            }
            1..=3 => self.sign(program),
            _ => {
                let (token, to) = (self.token(), self.hash(program));
                let expires = program.flag().then(|| self.now.unix_ms + u64::from(program.u16()));
                let payload = vec![7; program.u16().into()];
                let message = Outgoing { id: u32::from(program.u16()), to, payload, expires, report: program.flag() };
                self.command(Command::SendMessage { destination, token, message: Box::new(message) });
            }
        }
    }

    fn sign(&mut self, program: &mut Program<'_>) {
        let Some((destination, leases)) = self.offers.pop_front() else { return };
        let Some(keys) = self.signers.get(&destination) else { return };
        let (odd, secret) = (program.byte(), SecretKey::from_bytes([9; 32]));
        let published = self.now.unix_secs() + u32::from(odd & 3);
        let key = match odd {
            0..0xe0 => EncryptionKey::x25519(secret.public_key()),
            _ => EncryptionKey { kind: u16::from(odd & 7), bytes: vec![1; if odd & 7 == 0 { 256 } else { 32 }].into() },
        };
        let unsigned = Unsigned {
            destination: keys.destination().clone(),
            times: Times { published, expires: 600, flags: Flags(u16::from(odd & 2)), offline: None },
            options: Mapping::new(),
            keys: vec![key],
            leases,
        };
        let Ok(set) = unsigned.sign(keys.signing_key()) else { return };
        let token = self.token();
        self.command(Command::SetLeaseSet { destination, token, set: Box::new(set), keys: vec![secret] });
    }
}
