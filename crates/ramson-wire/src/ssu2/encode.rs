//! Writing blocks. Each encoder appends one whole block, type and size included; what a block takes is
//! [`BLOCK_HEADER`](super::BLOCK_HEADER) and its data, so room can be reckoned before.

use super::block::{Block, Congestion, FirstFragment, FollowOnFragment, NewToken, RouterInfoBlock};
use super::field::{header, put_endpoint};
use crate::codec::Write;
use std::net::SocketAddr;

impl Block<'_> {
    /// 7 bytes.
    pub fn encode_date_time(out: &mut Vec<u8>, unix_secs: u32) {
        header(out, 0, 4);
        out.put_u32(unix_secs);
    }

    /// Appends the header of an I2NP block whose message of `len` bytes (short header included) follows.
    pub fn encode_i2np_header(out: &mut Vec<u8>, len: usize) {
        header(out, 3, len);
    }

    /// 9 or 21 bytes.
    pub fn encode_address(out: &mut Vec<u8>, endpoint: &SocketAddr) {
        header(out, 13, super::endpoint_len(endpoint));
        put_endpoint(out, endpoint);
    }

    /// 3 bytes.
    pub fn encode_relay_tag_request(out: &mut Vec<u8>) {
        header(out, 15, 0);
    }

    /// 7 bytes. The tag is not 0.
    pub fn encode_relay_tag(out: &mut Vec<u8>, tag: u32) {
        header(out, 16, 4);
        out.put_u32(tag);
    }

    /// 3 bytes and `data`.
    pub fn encode_path_challenge(out: &mut Vec<u8>, data: &[u8]) {
        header(out, 18, data.len());
        out.put(data);
    }

    /// 3 bytes and `data`.
    pub fn encode_path_response(out: &mut Vec<u8>, data: &[u8]) {
        header(out, 19, data.len());
        out.put(data);
    }

    /// Appends a Padding block of `len` zero bytes (they are sealed; their content does not matter); 3 bytes more.
    pub fn encode_padding(out: &mut Vec<u8>, len: usize) {
        header(out, 254, len);
        out.resize(out.len() + len, 0);
    }

    /// Pads the payload at `out[from..]` to the shortest that may be sent, if it is shorter.
    pub fn pad_to_min(out: &mut Vec<u8>, from: usize) {
        let missing = super::PAYLOAD_MIN.saturating_sub(out.len().saturating_sub(from));
        if missing > 0 {
            Self::encode_padding(out, missing.saturating_sub(super::BLOCK_HEADER));
        }
    }
}

impl RouterInfoBlock<'_> {
    /// 5 bytes and the data.
    pub fn encode(&self, out: &mut Vec<u8>) {
        header(out, 2, self.data.len() + 2);
        out.put_u8(u8::from(self.flood) | u8::from(self.gzip) << 1);
        out.put_u8(1);
        out.put(self.data);
    }
}

impl FirstFragment<'_> {
    /// Bytes of the block in front of the data.
    pub const OVERHEAD: usize = super::BLOCK_HEADER + 9;

    pub fn encode(&self, out: &mut Vec<u8>) {
        header(out, 4, self.data.len() + 9);
        out.put_u8(self.kind.0);
        out.put_u32(self.id);
        out.put_u32(self.expiration);
        out.put(self.data);
    }
}

impl FollowOnFragment<'_> {
    /// Bytes of the block in front of the data.
    pub const OVERHEAD: usize = super::BLOCK_HEADER + 5;

    /// The number is 1 to 127.
    pub fn encode(&self, out: &mut Vec<u8>) {
        header(out, 5, self.data.len() + 5);
        out.put_u8(self.number << 1 | u8::from(self.last));
        out.put_u32(self.id);
        out.put(self.data);
    }
}

impl NewToken {
    /// Bytes of the block.
    pub const LEN: usize = super::BLOCK_HEADER + 12;

    pub fn encode(&self, out: &mut Vec<u8>) {
        header(out, 17, 12);
        out.put_u32(self.expires);
        out.put_u64(self.token);
    }
}

impl Congestion {
    /// Bytes of the block.
    pub const LEN: usize = super::BLOCK_HEADER + 1;

    pub fn encode(&self, out: &mut Vec<u8>) {
        header(out, 21, 1);
        out.put_u8(u8::from(self.immediate_ack) | u8::from(self.ecn) << 1);
    }
}
