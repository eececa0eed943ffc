//! Bare ChaCha20 (RFC 8439) as I2P uses it: the block counter starts at 1.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

/// XORs `data` with the key stream of block 1 onwards. Build records use it with `nonce[4]` = the record's index.
pub fn xor(key: &[u8; 32], nonce: &[u8; 12], data: &mut [u8]) {
    let mut cipher = ChaCha20::new(key.into(), nonce.into());
    cipher.seek(64u32);
    cipher.apply_keystream(data);
}

#[cfg(test)]
mod tests {
    /// RFC 8439, section 2.4.2: counter 1.
    #[test]
    fn rfc_8439_2_4_2() {
        let key: [u8; 32] = std::array::from_fn(|i| i as u8);
        let nonce = [0, 0, 0, 0, 0, 0, 0, 0x4a, 0, 0, 0, 0];
        let mut text = *b"Ladies and Gentlemen of the class of '99";
        super::xor(&key, &nonce, &mut text);
        assert_eq!(
            text[..16],
            [0x6e, 0x2e, 0x35, 0x9a, 0x25, 0x68, 0xf9, 0x80, 0x41, 0xba, 0x07, 0x28, 0xdd, 0x0d, 0x69, 0x81]
        );
    }
}
