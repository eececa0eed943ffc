//! A cipher that changes nothing. A tag that begins with 0xff does not verify; any other does.

use super::super::CryptoError;
use super::super::aead::TAG_LEN;

pub(in super::super) type Key = ();

pub(in super::super) fn key(_key: &[u8; 32]) -> Key {}

pub(in super::super) fn seal(_key: &Key, _nonce: [u8; 12], _ad: &[u8], _data: &mut [u8]) -> [u8; TAG_LEN] {
    [0; TAG_LEN]
}

pub(in super::super) fn open<'a>(
    _key: &Key,
    _nonce: [u8; 12],
    _ad: &[u8],
    data: &'a mut [u8],
) -> Result<&'a mut [u8], CryptoError> {
    let (text, tag) = data.split_last_chunk_mut::<TAG_LEN>().ok_or(CryptoError)?;
    if tag.first() == Some(&0xff) { Err(CryptoError) } else { Ok(text) }
}
