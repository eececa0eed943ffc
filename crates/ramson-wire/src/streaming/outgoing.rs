//! A packet to send.

use super::{Flags, HEADER_LEN, MAX_NACKS};
use crate::codec::Write;
use crate::data::{Destination, Hash};

/// The parts of a packet to send. Option flags follow from the options; the rest stand in `flags`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    /// The peer's stream; 0 while unknown.
    pub send_id: u32,
    /// Our stream.
    pub recv_id: u32,
    pub sequence: u32,
    /// `None` sets `NO_ACK`.
    pub ack_through: Option<u32>,
    /// The first 255 are sent. Must be empty when `meant_for` is set.
    pub nacks: &'a [u32],
    /// In a first SYN, the destination it goes to (proposal 164).
    pub meant_for: Option<Hash>,
    /// Seconds.
    pub resend_delay: u8,
    /// SYNCHRONIZE, CLOSE, RESET, ECHO.
    pub flags: Flags,
    /// Milliseconds; above 60,000 chokes.
    pub delay: Option<u16>,
    pub from: Option<&'a Destination>,
    pub max_size: Option<u16>,
    /// An offline signature block, as the destination's owner made it.
    pub offline: Option<&'a [u8]>,
    /// Length of the signature, whose place is filled with zeros; see [`super::sign::Unsigned`].
    pub signature_len: Option<usize>,
}

impl Outgoing<'_> {
    /// The packet's bytes, with the concatenated `payload` at the end.
    pub fn encode(&self, payload: &[&[u8]]) -> Vec<u8> {
        let body: usize = payload.iter().map(|part| part.len()).sum();
        let mut out = Vec::with_capacity(HEADER_LEN + 4 * self.nacks.len() + 600 + body);
        out.put_u32(self.send_id);
        out.put_u32(self.recv_id);
        out.put_u32(self.sequence);
        out.put_u32(self.ack_through.unwrap_or(0));
        if let Some(hash) = &self.meant_for {
            out.put_u8(8);
            out.put(hash.as_bytes());
        } else {
            let nacks = self.nacks.get(..MAX_NACKS).unwrap_or(self.nacks);
            out.put_u8(u8::try_from(nacks.len()).unwrap_or(u8::MAX));
            nacks.iter().for_each(|nack| out.put_u32(*nack));
        }
        out.put_u8(self.resend_delay);
        out.put_u16(self.all_flags().0);
        self.put_options(&mut out);
        payload.iter().for_each(|part| out.put(part));
        out
    }

    fn all_flags(&self) -> Flags {
        let mut flags = self.flags;
        let options = [
            (self.ack_through.is_none(), Flags::NO_ACK),
            (self.delay.is_some(), Flags::DELAY_REQUESTED),
            (self.from.is_some(), Flags::FROM_INCLUDED),
            (self.max_size.is_some(), Flags::MAX_PACKET_SIZE_INCLUDED),
            (self.offline.is_some(), Flags::OFFLINE_SIGNATURE),
            (self.signature_len.is_some(), Flags::SIGNATURE_INCLUDED),
        ];
        for (present, flag) in options {
            if present {
                flags = flags.with(flag);
            }
        }
        flags
    }

    fn put_options(&self, out: &mut Vec<u8>) {
        let mut options = Vec::new();
        if let Some(delay) = self.delay {
            options.put_u16(delay);
        }
        if let Some(from) = self.from {
            options.put(from.as_bytes());
        }
        if let Some(size) = self.max_size {
            options.put_u16(size);
        }
        if let Some(offline) = self.offline {
            options.put(offline);
        }
        options.resize(options.len() + self.signature_len.unwrap_or(0), 0);
        // A destination is at most a few kilobytes, so the options are far from 64 KiB.
        out.put_u16(u16::try_from(options.len()).unwrap_or(u16::MAX));
        out.put(&options);
    }
}

/// Replaces the acknowledged sequence of an unsigned packet without NACKs that is sent once more.
pub fn patch_ack(packet: &mut [u8], ack_through: u32) {
    if let Some(field) = packet.get_mut(12..16) {
        field.copy_from_slice(&ack_through.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streaming::Packet;

    #[test]
    fn a_first_syn_names_its_recipient() {
        let to = Hash::of(b"to");
        let out = Outgoing { recv_id: 9, meant_for: Some(to), ..Outgoing::default() };
        let bytes = out.encode(&[b"a", b"bc"]);
        assert_eq!((bytes[16], &bytes[17..49]), (8, &to.as_bytes()[..]));
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.acked(), packet.payload, packet.meant_for()), (None, &b"abc"[..], None), "no SYN");
    }

    #[test]
    fn acks_are_replaced_in_place() {
        let mut bytes = Outgoing { ack_through: Some(1), ..Outgoing::default() }.encode(&[]);
        patch_ack(&mut bytes, 77);
        assert_eq!(Packet::parse(&bytes).unwrap().acked(), Some(77));
        patch_ack(&mut [], 1);
    }
}
