//! Whose signatures on bundles count.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ramson_wire::crypto::rsa::{RsaPublicKey, SignerCertificate};

use super::{Failure, ReseedError, Stage};

/// Certificates of signers that are shipped.
macro_rules! shipped {
    ($($name:literal)*) => {
        &[$(include_bytes!(concat!("../../assets/certificates/reseed/", $name, ".crt"))),*]
    };
}

const SHIPPED: &[&[u8]] = shipped!(
    "acetone_at_mail.i2p"
    "admin_at_stormycloud.org"
    "arnavbhatt288_at_mail.i2p"
    "creativecowpat_at_mail.i2p"
    "diyarciftci_at_protonmail.com"
    "echelon3_at_mail.i2p"
    "hankhill19580_at_gmail.com"
    "hottuna_at_mail.i2p"
    "i2p-reseed_at_mk16.de"
    "igor_at_novg.net"
    "lazygravy_at_mail.i2p"
    "orignal_at_mail.i2p"
    "r4sas-reseed_at_mail.i2p"
    "rambler_at_mail.i2p"
    "reseed_at_diva.exchange"
    "sahil_at_mail.i2p"
);

/// The most bytes of a certificate file.
const MAX_CERTIFICATE: u64 = 64 << 10;

/// Certificates by signer id, several for a signer whose key changed.
#[derive(Debug)]
pub(super) struct Trust {
    signers: BTreeMap<String, Vec<SignerCertificate>>,
}

impl Trust {
    /// The shipped certificates and those in the PEM files named.
    pub(super) fn new(files: &[PathBuf]) -> Result<Self, ReseedError> {
        let mut trust = Self { signers: BTreeMap::new() };
        for pem in SHIPPED {
            // A test reads them all, so nothing is lost here.
            trust.add(pem);
        }
        for file in files {
            let source = file.display().to_string();
            let pem = super::files::read_file(file, MAX_CERTIFICATE).map_err(|why| why.of(&source))?;
            if !trust.add(&pem) {
                let why = "not a certificate (PEM) with an RSA key of 4,096 bits";
                return Err(Failure::new(Stage::Verification, why).of(source));
            }
        }
        Ok(trust)
    }

    /// The keys of `signer` whose certificates are valid at `at`, in seconds since 1970.
    pub(super) fn keys(&self, signer: &str, at: u64) -> Result<Vec<&RsaPublicKey>, Failure> {
        let Some(certificates) = self.signers.get(signer) else {
            return Err(Failure::new(
                Stage::Verification,
                format!("signed by `{signer}`, whose certificate is not known"),
            ));
        };
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        let keys: Vec<&RsaPublicKey> = certificates.iter().filter(|it| it.is_valid_at(at)).map(|it| &it.key).collect();
        if keys.is_empty() {
            let why = format!("the certificate of `{signer}` has expired, or is not valid yet");
            return Err(Failure::new(Stage::Verification, why));
        }
        Ok(keys)
    }

    fn add(&mut self, pem: &[u8]) -> bool {
        let Ok(certificate) = SignerCertificate::from_pem(pem) else { return false };
        self.signers.entry(certificate.name.clone()).or_default().push(certificate);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_certificate_is_read() {
        let trust = Trust::new(&[]).unwrap();
        assert_eq!(trust.signers.len(), SHIPPED.len());
        assert_eq!(trust.keys("arnavbhatt288@mail.i2p", 1_750_000_000).unwrap().len(), 1);
        assert_eq!(trust.keys("reseed@diva.exchange", 1_750_000_000).unwrap().len(), 1);
        assert!(trust.keys("reseed@diva.exchange", 4_000_000_000).unwrap_err().why.contains("expired"));
        assert!(trust.keys("reseed@diva.exchange", 1).is_err());
        assert!(trust.keys("nobody@mail.i2p", 1_750_000_000).unwrap_err().why.contains("not known"));
    }

    #[test]
    fn a_bad_certificate_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no certificate").unwrap();
        let error = Trust::new(&[file.path().to_path_buf()]).unwrap_err();
        assert_eq!(error.stage, Stage::Verification);
        assert!(Trust::new(&[PathBuf::from("/nowhere")]).unwrap_err().to_string().starts_with("/nowhere: reading: "));
    }
}
