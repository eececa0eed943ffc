//! No layers: what a tunnel message or an obfuscated key holds is what stands on the wire.

pub fn cbc_encrypt(_key: &[u8; 32], _iv: &[u8; 16], _data: &mut [u8]) {}

pub fn cbc_decrypt(_key: &[u8; 32], _iv: &[u8; 16], _data: &mut [u8]) {}

#[derive(Clone, Debug)]
pub struct TunnelLayer;

impl TunnelLayer {
    pub fn new(_layer_key: &[u8; 32], _iv_key: &[u8; 32]) -> Self {
        Self
    }

    pub fn encrypt(&self, _body: &mut [u8]) {}

    pub fn encrypt_each(&self, _bodies: &mut [&mut [u8; 1_024]]) {}

    pub fn decrypt(&self, _body: &mut [u8]) {}
}
