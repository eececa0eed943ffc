//! su3 files, and the certificates of their signers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::crypto::rsa::SignerCertificate;
use ramson_wire::su3::Su3;

fuzz_target!(|data: &[u8]| {
    if let Ok(su3) = Su3::parse(data) {
        assert!(su3.content.len() < data.len());
        assert!(!su3.signer.contains('/'));
    }
    if let Ok(certificate) = SignerCertificate::from_pem(data) {
        let _ = certificate.is_valid_at(0);
    }
});
