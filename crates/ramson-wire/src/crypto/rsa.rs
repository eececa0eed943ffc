//! RSA-4096 with SHA-512 as su3 files use it: PKCS#1 v1.5 padding of type 1 over the raw hash, without a DigestInfo.
//! <https://geti2p.net/spec/updates#signature-details>

use super::CryptoError;
use super::hash::sha512;
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U64, U4096};
use x509_cert::Certificate;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::oid::db::rfc5912::RSA_ENCRYPTION;
use x509_cert::der::{Decode, DecodePem, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Time;

/// Bytes of the modulus and of a signature.
pub const LEN: usize = 512;

/// A public key of 4,096 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct RsaPublicKey {
    modulus: Box<Odd<U4096>>,
    exponent: u64,
}

impl std::fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RsaPublicKey(..)")
    }
}

impl RsaPublicKey {
    /// A key of big-endian numbers. Fails unless the modulus is odd and has exactly 4,096 bits, and the exponent is
    /// odd, greater than 1 and has at most 64 bits.
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, CryptoError> {
        let modulus = <[u8; LEN]>::try_from(strip(modulus)).map_err(|_| CryptoError)?;
        if modulus.first().is_none_or(|b| b & 0x80 == 0) {
            return Err(CryptoError);
        }
        let modulus = Odd::new(U4096::from_be_slice(&modulus)).into_option().ok_or(CryptoError)?;
        let exponent = strip(exponent);
        if exponent.len() > 8 {
            return Err(CryptoError);
        }
        let exponent = exponent.iter().fold(0u64, |number, b| number << 8 | u64::from(*b));
        if exponent < 3 || exponent.is_multiple_of(2) {
            return Err(CryptoError);
        }
        Ok(Self { modulus: Box::new(modulus), exponent })
    }

    /// Verifies `signature` over SHA-512 of `message`. Everything in it is public, so time may vary.
    pub fn verify_raw_sha512(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature = <[u8; LEN]>::try_from(signature).map_err(|_| CryptoError)?;
        let signature = U4096::from_be_slice(&signature);
        if signature >= *self.modulus.as_ref() {
            return Err(CryptoError);
        }
        let params = FixedMontyParams::new_vartime(*self.modulus);
        let power = FixedMontyForm::new(&signature, &params).pow_vartime(&U64::from_u64(self.exponent)).retrieve();
        if power == padded(&sha512(message)) { Ok(()) } else { Err(CryptoError) }
    }
}

/// What a signer's certificate says.
#[derive(Clone, Debug)]
pub struct SignerCertificate {
    /// The common name, which is the signer's id.
    pub name: String,
    pub key: RsaPublicKey,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

impl SignerCertificate {
    /// Reads the first X.509 certificate of a PEM file; its RSA key has 4,096 bits. Its own signature is not verified:
    /// it is trusted because of where it is kept.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CryptoError> {
        let certificate = Certificate::from_pem(first_certificate(pem)?).map_err(|_| CryptoError)?;
        let certificate = certificate.tbs_certificate();
        let name = certificate.subject().common_name().map_err(|_| CryptoError)?.ok_or(CryptoError)?;
        let key = rsa_key(certificate.subject_public_key_info())?;
        let validity = certificate.validity();
        let (not_before, not_after) = (unix_secs(validity.not_before)?, unix_secs(validity.not_after)?);
        Ok(Self { name: name.value().into_owned(), key, not_before, not_after })
    }

    /// Whether the certificate is valid at `unix_secs`.
    pub const fn is_valid_at(&self, unix_secs: i64) -> bool {
        self.not_before <= unix_secs && unix_secs <= self.not_after
    }
}

/// What stands before the end of the first certificate: the parser allows text before it, but none after it.
fn first_certificate(pem: &[u8]) -> Result<&[u8], CryptoError> {
    const END: &[u8] = b"-----END CERTIFICATE-----";
    let end = pem.windows(END.len()).position(|window| window == END).ok_or(CryptoError)?;
    pem.get(..end + END.len()).ok_or(CryptoError)
}

/// `SEQUENCE { modulus INTEGER, publicExponent INTEGER }`. RFC 8017, appendix A.1.1.
fn rsa_key(info: &SubjectPublicKeyInfoOwned) -> Result<RsaPublicKey, CryptoError> {
    if info.algorithm.oid != RSA_ENCRYPTION {
        return Err(CryptoError);
    }
    let der = info.subject_public_key.as_bytes().ok_or(CryptoError)?;
    let mut reader = SliceReader::new(der).map_err(|_| CryptoError)?;
    let numbers = reader.sequence(|reader| Ok((UintRef::decode(reader)?, UintRef::decode(reader)?)));
    let (modulus, exponent) = numbers.map_err(|_: x509_cert::der::Error| CryptoError)?;
    reader.finish().map_err(|_| CryptoError)?;
    RsaPublicKey::new(modulus.as_bytes(), exponent.as_bytes())
}

fn unix_secs(time: Time) -> Result<i64, CryptoError> {
    i64::try_from(time.to_unix_duration().as_secs()).map_err(|_| CryptoError)
}

/// `00 01 ff..ff 00` and the hash.
fn padded(hash: &[u8; 64]) -> U4096 {
    let mut out = [0xff; LEN];
    let (head, tail) = out.split_at_mut(LEN - hash.len());
    if let [first, second, .., last] = head {
        (*first, *second, *last) = (0, 1, 0);
    }
    tail.copy_from_slice(hash);
    U4096::from_be_slice(&out)
}

/// DER puts a zero before numbers whose top bit is set.
fn strip(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_keys_are_refused() {
        assert!(RsaPublicKey::new(&[0xff; 512], &[1, 0, 1]).is_ok());
        assert!(RsaPublicKey::new(&[0xff; 256], &[1, 0, 1]).is_err());
        assert!(RsaPublicKey::new(&[0xfe; 512], &[1, 0, 1]).is_err(), "even");
        assert!(RsaPublicKey::new(&[0x7f; 512], &[1, 0, 1]).is_err(), "4,095 bits");
        for exponent in [&[][..], &[0], &[1], &[2], &[1; 9]] {
            assert!(RsaPublicKey::new(&[0xff; 512], exponent).is_err());
        }
        assert!(SignerCertificate::from_pem(b"-----BEGIN CERTIFICATE-----\n").is_err());
    }

    /// With exponent 3 and a signature whose cube is below the modulus, the power is the plain cube.
    #[test]
    fn small_numbers_do_not_verify() {
        let key = RsaPublicKey::new(&[0xff; 512], &[3]).unwrap();
        for last in [0, 1, 2] {
            let mut signature = [0; 512];
            signature[511] = last;
            assert!(key.verify_raw_sha512(b"x", &signature).is_err());
        }
        assert!(key.verify_raw_sha512(b"x", &[0xff; 512]).is_err(), "not below the modulus");
        assert!(key.verify_raw_sha512(b"x", &[0; 511]).is_err());
    }
}
