//! AES-256 as I2P uses it: CBC without padding for the NTCP2 ephemeral keys, and the tunnel layer (IV by ECB, then
//! CBC over the message, then the IV by ECB again).

use aes::Aes256;
use aes::cipher::consts::U16;
use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit,
};

const BLOCK: usize = 16;
/// Blocks that are decrypted together: those of a tunnel message, and one.
const GROUP: usize = 64;

/// A tunnel message: IV and data.
const BODY: usize = 1024;
/// Messages that are encrypted side by side.
const TOGETHER: usize = 8;

/// CBC encryption in place without padding. The length must be a multiple of 16; a tail shorter than a block stays
/// as it is.
pub fn cbc_encrypt(key: &[u8; 32], iv: &[u8; 16], data: &mut [u8]) {
    cbc_encrypt_with(&Aes256::new(key.into()), iv, data);
}

/// CBC decryption in place without padding; see [`cbc_encrypt`].
pub fn cbc_decrypt(key: &[u8; 32], iv: &[u8; 16], data: &mut [u8]) {
    cbc_decrypt_with(&Aes256::new(key.into()), iv, data);
}

fn cbc_encrypt_with(cipher: &Aes256, iv: &[u8; 16], data: &mut [u8]) {
    cipher.encrypt_with_backend(Cbc { iv, data });
}

/// CBC encryption of all blocks in one call of the cipher: each call prepares its keys anew, which takes longer than a
/// block does.
struct Cbc<'a> {
    iv: &'a [u8; BLOCK],
    data: &'a mut [u8],
}

impl BlockSizeUser for Cbc<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Cbc<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let mut chain = u128::from_ne_bytes(*self.iv);
        for block in self.data.as_chunks_mut::<BLOCK>().0 {
            *block = (u128::from_ne_bytes(*block) ^ chain).to_ne_bytes();
            backend.encrypt_block_inplace(block.into());
            chain = u128::from_ne_bytes(*block);
        }
    }
}

/// A tunnel message's layer: the IV, the data behind it, and the IV again, with the keys of the IV prepared once.
struct Layer<'a> {
    layer: &'a Aes256,
    iv: &'a mut [u8; BLOCK],
    data: &'a mut [u8],
}

impl BlockSizeUser for Layer<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Layer<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        backend.encrypt_block_inplace((&mut *self.iv).into());
        cbc_encrypt_with(self.layer, self.iv, self.data);
        backend.encrypt_block_inplace((&mut *self.iv).into());
    }
}

fn cbc_decrypt_with(cipher: &Aes256, iv: &[u8; 16], data: &mut [u8]) {
    // A whole tunnel message at once: CBC decryption is parallel inside one message, and each call of the cipher
    // prepares its keys anew.
    let mut chain = *iv;
    for group in data.as_chunks_mut::<BLOCK>().0.chunks_mut(GROUP) {
        let mut sealed = [[0; BLOCK]; GROUP];
        let sealed = sealed.get_mut(..group.len()).unwrap_or_default();
        sealed.copy_from_slice(group);
        cipher.decrypt_blocks(Array::cast_slice_from_core_mut(group));
        for (block, sealed) in group.iter_mut().zip(sealed) {
            *block = (u128::from_ne_bytes(*block) ^ u128::from_ne_bytes(chain)).to_ne_bytes();
            chain = *sealed;
        }
    }
}

/// The layer of several messages of one tunnel.
struct Layers<'a, 'b> {
    layer: &'a Aes256,
    bodies: &'a mut [&'b mut [u8; BODY]],
}

impl BlockSizeUser for Layers<'_, '_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Layers<'_, '_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let ivs = |bodies: &mut [&mut [u8; BODY]]| {
            for block in bodies.iter_mut().filter_map(|body| body.first_chunk_mut::<BLOCK>()) {
                backend.encrypt_block_inplace(block.into());
            }
        };
        ivs(self.bodies);
        self.layer.encrypt_with_backend(CbcEach(self.bodies));
        ivs(self.bodies);
    }
}

/// CBC of several messages under one key, block by block of all of them: each block of a message waits for the one before
/// it, but not for those of other messages.
struct CbcEach<'a, 'b>(&'a mut [&'b mut [u8; BODY]]);

impl BlockSizeUser for CbcEach<'_, '_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for CbcEach<'_, '_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        for bodies in self.0.chunks_mut(TOGETHER) {
            let mut chains = [0; TOGETHER];
            for (body, chain) in bodies.iter().zip(&mut chains) {
                *chain = body.first_chunk().map_or(0, |iv| u128::from_ne_bytes(*iv));
            }
            for at in 1..BODY / BLOCK {
                for (body, chain) in bodies.iter_mut().zip(&mut chains) {
                    if let Some(block) = body.as_chunks_mut::<BLOCK>().0.get_mut(at) {
                        *block = (u128::from_ne_bytes(*block) ^ *chain).to_ne_bytes();
                        backend.encrypt_block_inplace(block.into());
                        *chain = u128::from_ne_bytes(*block);
                    }
                }
            }
        }
    }
}

/// The two keys of one tunnel at one hop, expanded once and kept with the tunnel. In a box, so that tables of tunnels
/// are small, and leave no copies of keys behind where they grow.
#[derive(Clone)]
pub struct TunnelLayer(Box<Keys>);

#[derive(Clone)]
struct Keys {
    layer: Aes256,
    iv: Aes256,
}

impl std::fmt::Debug for TunnelLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TunnelLayer(..)")
    }
}

impl TunnelLayer {
    pub fn new(layer_key: &[u8; 32], iv_key: &[u8; 32]) -> Self {
        Self(Box::new(Keys { layer: Aes256::new(layer_key.into()), iv: Aes256::new(iv_key.into()) }))
    }

    /// What a participant does to a tunnel message: `body` is the IV (16 bytes) and the data behind it.
    pub fn encrypt(&self, body: &mut [u8]) {
        if let Some((iv, data)) = body.split_first_chunk_mut::<BLOCK>() {
            self.0.iv.encrypt_with_backend(Layer { layer: &self.0.layer, iv, data });
        }
    }

    /// The same to several messages, in less time than one by one.
    pub fn encrypt_each(&self, bodies: &mut [&mut [u8; BODY]]) {
        self.0.iv.encrypt_with_backend(Layers { layer: &self.0.layer, bodies });
    }

    /// The inverse, which the tunnel's creator applies once per hop.
    pub fn decrypt(&self, body: &mut [u8]) {
        if let Some((iv, data)) = body.split_first_chunk_mut::<BLOCK>() {
            self.0.iv.decrypt_block(iv.into());
            cbc_decrypt_with(&self.0.layer, iv, data);
            self.0.iv.decrypt_block(iv.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cbc::cipher::{BlockModeEncrypt, InnerIvInit};

    #[test]
    fn cbc_is_that_of_the_crate() {
        let (key, iv) = ([5; 32], [6; 16]);
        let plain: Vec<u8> = (0..1008).map(|i| (i % 256) as u8).collect();
        let mut ours = plain.clone();
        cbc_encrypt(&key, &iv, &mut ours);
        let mut theirs = plain.clone();
        let mut mode = cbc::Encryptor::inner_iv_init(Aes256::new(&key.into()), &iv.into());
        mode.encrypt_blocks(Array::cast_slice_from_core_mut(theirs.as_chunks_mut::<16>().0));
        assert_eq!(ours, theirs);
        cbc_decrypt(&key, &iv, &mut ours);
        assert_eq!(ours, plain);
    }

    #[test]
    fn several_messages_get_the_layer_that_each_would_get() {
        let layer = TunnelLayer::new(&[1; 32], &[2; 32]);
        for count in [0, 1, 7, 8, 9, 20] {
            let mut bodies: Vec<[u8; BODY]> =
                (0..count).map(|n| std::array::from_fn(|i| (i * (n + 3) % 251) as u8)).collect();
            let mut each = bodies.clone();
            each.iter_mut().for_each(|body| layer.encrypt(body));
            layer.encrypt_each(&mut bodies.iter_mut().collect::<Vec<_>>());
            assert_eq!(bodies, each);
        }
    }

    #[test]
    fn layers_undo_each_other() {
        let hops: Vec<_> = (0..3u8).map(|i| TunnelLayer::new(&[i; 32], &[i + 100; 32])).collect();
        let plain: Vec<u8> = (0..1024).map(|i| (i % 253) as u8).collect();
        let mut body = plain.clone();
        hops.iter().rev().for_each(|hop| hop.decrypt(&mut body));
        hops.iter().for_each(|hop| hop.encrypt(&mut body));
        assert_eq!(body, plain);
    }
}
