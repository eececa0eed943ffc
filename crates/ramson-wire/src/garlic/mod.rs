//! Garlic messages of today: <https://geti2p.net/spec/ecies>, <https://geti2p.net/spec/ecies-routers>.
//!
//! [`block`] is what stands inside every decrypted payload. [`router`] seals to a router's static key (Noise N),
//! [`one_time`] with a key and a tag that were handed over before. The ratchet between destinations has state and
//! lives in the core.

pub mod block;
pub mod one_time;
pub mod router;

use crate::codec::{DecodeError, Reader, Write};

/// Length of a session tag.
pub const TAG_LEN: usize = 8;

/// The body of an I2NP Garlic message: `size :: 4 bytes`, then `size` encrypted bytes.
pub fn frame(encrypted: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(4 + encrypted.len());
    body.put_u32(u32::try_from(encrypted.len()).unwrap_or(u32::MAX));
    body.put(encrypted);
    body
}

/// The encrypted bytes of a Garlic body.
pub fn unframe(body: &[u8]) -> Result<&[u8], DecodeError> {
    let mut r = Reader::new(body);
    let size = r.u32("Garlic size")?;
    let encrypted = r.take(usize::try_from(size).unwrap_or(usize::MAX), "Garlic data")?;
    r.finish("Garlic message")?;
    Ok(encrypted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_is_not_the_length_is_refused() {
        let body = frame(&[1, 2, 3]);
        assert_eq!(unframe(&body), Ok(&[1, 2, 3][..]));
        assert!(unframe(&body[..6]).is_err());
        assert!(unframe(&[&body[..], &[0]].concat()).is_err());
        assert!(unframe(&[0xff; 8]).is_err());
    }
}
