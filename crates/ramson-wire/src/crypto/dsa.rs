//! DSA with SHA-1 over I2P's fixed group, for the signatures of old destinations. Only verification: everything in
//! it is public, so nothing here needs constant time.

use super::CryptoError;
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{NonZero, Odd, U256, U1024};
use sha1::{Digest, Sha1};

/// The group's prime, subgroup order and generator. <https://geti2p.net/spec/cryptography#dsa>
const P: U1024 = U1024::from_be_hex(concat!(
    "9c05b2aa960d9b97b8931963c9cc9e8c3026e9b8ed92fad0a69cc886d5bf8015fcadae31a0ad18fab3f01b00a358de23",
    "7655c4964afaa2b337e96ad316b9fb1cc564b5aec5b69a9ff6c3e4548707fef8503d91dd8602e867e6d35d2235c1869c",
    "e2479c3b9d5401de04e0727fb33d6511285d4cf29538d9e3b6051f5b22cc1c93"
));
const Q: U256 = U256::from_be_hex("000000000000000000000000a5dfc28fef4ca1e286744cd8eed9d29d684046b7");
const G: U1024 = U1024::from_be_hex(concat!(
    "0c1f4d27d40093b429e962d7223824e0bbc47e7c832a39236fc683af84889581075ff9082ed32353d4374d7301cda1d2",
    "3c431f4698599dda02451824ff369752593647cc3ddc197de985e43d136cdcfc6bd5409cd2f450821142a5e6f8eb1c3a",
    "b5d0484b8129fcf17bce4f7f33321c3cb3dbb14a905e7b2b3e93be4708cbcc82"
));

/// Verifies `signature` (r and s, 20 bytes each) by the public value `key` (128 bytes).
pub(super) fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    let key = <[u8; 128]>::try_from(key).map_err(|_| CryptoError)?;
    let (r, s) = signature.split_first_chunk::<20>().ok_or(CryptoError)?;
    let s = <[u8; 20]>::try_from(s).map_err(|_| CryptoError)?;
    let (y, r, s) = (U1024::from_be_slice(&key), scalar(r), scalar(&s));
    let in_range = |x: &U256| *x != U256::ZERO && *x < Q;
    if !in_range(&r) || !in_range(&s) || y <= U1024::ONE || y >= P {
        return Err(CryptoError);
    }
    let order = FixedMontyParams::new_vartime(odd(Q)?);
    let s = FixedMontyForm::new(&s, &order);
    // The order is prime, so s^(q-2) is the inverse.
    let w = s.pow_vartime(&Q.wrapping_sub(&U256::from_u8(2)));
    let h = FixedMontyForm::new(&scalar(&Sha1::digest(message).into()), &order);
    let u1 = h.mul(&w).retrieve();
    let u2 = FixedMontyForm::new(&r, &order).mul(&w).retrieve();
    let field = FixedMontyParams::new_vartime(odd(P)?);
    let power = |base: &U1024, exponent: &U256| FixedMontyForm::new(base, &field).pow_vartime(exponent);
    let v = power(&G, &u1).mul(&power(&y, &u2)).retrieve();
    let q = NonZero::new(U1024::from(&Q)).into_option().ok_or(CryptoError)?;
    if v.rem_vartime(&q) == U1024::from(&r) { Ok(()) } else { Err(CryptoError) }
}

fn scalar(bytes: &[u8; 20]) -> U256 {
    let mut wide = [0; 32];
    if let Some(tail) = wide.last_chunk_mut::<20>() {
        *tail = *bytes;
    }
    U256::from_be_slice(&wide)
}

fn odd<const L: usize>(n: crypto_bigint::Uint<L>) -> Result<Odd<crypto_bigint::Uint<L>>, CryptoError> {
    Odd::new(n).into_option().ok_or(CryptoError)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A signature by the definition (FIPS 186-4, 4.6) with a fixed nonce.
    fn sign(x: U256, k: U256, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let field = FixedMontyParams::new_vartime(odd(P).unwrap());
        let order = FixedMontyParams::new_vartime(odd(Q).unwrap());
        let g = |e: &U256| FixedMontyForm::new(&G, &field).pow_vartime(e).retrieve();
        let q = NonZero::new(U1024::from(&Q)).unwrap();
        let r: U1024 = g(&k).rem_vartime(&q);
        let r = U256::from_be_slice(&r.to_be_bytes()[96..]);
        let m = |v: &U256| FixedMontyForm::new(v, &order);
        let inverse = m(&k).pow_vartime(&Q.wrapping_sub(&U256::from_u8(2)));
        let s = inverse.mul(&m(&scalar(&Sha1::digest(message).into())).add(&m(&x).mul(&m(&r)))).retrieve();
        let signature = [&r.to_be_bytes()[12..], &s.to_be_bytes()[12..]].concat();
        (g(&x).to_be_bytes().to_vec(), signature)
    }

    #[test]
    fn the_group_is_a_group() {
        let field = FixedMontyParams::new_vartime(odd(P).unwrap());
        assert_eq!(FixedMontyForm::new(&G, &field).pow_vartime(&Q).retrieve(), U1024::ONE);
    }

    #[test]
    fn signatures_verify_and_flipped_bits_do_not() {
        for i in 1..5u8 {
            let (key, mut signature) = sign(scalar(&[i; 20]), scalar(&[i * 20 + 1; 20]), b"an old destination");
            verify(&key, b"an old destination", &signature).unwrap();
            assert!(verify(&key, b"an old destinatioN", &signature).is_err());
            for bit in (0..320).step_by(37) {
                signature[bit / 8] ^= 1 << (bit % 8);
                assert!(verify(&key, b"an old destination", &signature).is_err());
                signature[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let (key, signature) = sign(scalar(&[3; 20]), scalar(&[5; 20]), b"m");
        assert!(verify(&[0; 128], b"m", &signature).is_err());
        assert!(verify(&P.to_be_bytes()[..], b"m", &signature).is_err());
        let mut zero_s = signature.clone();
        zero_s[20..].fill(0);
        assert!(verify(&key, b"m", &zero_s).is_err());
        assert!(verify(&key, b"m", &[0xff; 40]).is_err());
    }
}
