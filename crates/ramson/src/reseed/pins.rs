//! Servers whose TLS certificate nobody vouches for, but which is known: it counts for its host, and nowhere else.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{Failure, Stage};

/// Hosts and their certificates, as i2pd and the Java router know them.
const SHIPPED: &[(&str, &[u8])] =
    &[("i2pseed.creativecowpat.net", include_bytes!("../../assets/certificates/ssl/i2pseed.creativecowpat.net.crt"))];

/// One certificate, good for one host.
#[derive(Clone, Debug)]
pub(super) struct Pin {
    pub(super) host: String,
    pub(super) certificate: CertificateDer<'static>,
}

/// The pins that come with Ramson.
pub(super) fn shipped() -> Result<Vec<Pin>, Failure> {
    let pin = |(host, pem): &(&str, &[u8])| {
        let certificate = CertificateDer::from_pem_slice(pem).map_err(|why| Failure::new(Stage::Tls, why))?;
        Ok(Pin { host: (*host).to_owned(), certificate })
    };
    SHIPPED.iter().map(pin).collect()
}

/// Takes a server whose certificate is, byte for byte, the one pinned for its host, and else one that a root vouches
/// for. A pin adds trust and takes none, so its server may go over to an authority.
#[derive(Debug)]
pub(super) struct PinsAndRoots {
    pins: Vec<Pin>,
    roots: Arc<WebPkiServerVerifier>,
}

impl PinsAndRoots {
    pub(super) fn new(pins: Vec<Pin>, roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, Failure> {
        let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self { pins, roots: roots.map_err(|why| Failure::new(Stage::Tls, why))? })
    }

    fn is_pinned(&self, host: &ServerName<'_>, certificate: &CertificateDer<'_>) -> bool {
        let ServerName::DnsName(name) = host else { return false };
        let is_it = |pin: &Pin| name.as_ref().eq_ignore_ascii_case(&pin.host) && pin.certificate == *certificate;
        self.pins.iter().any(is_it)
    }
}

impl ServerCertVerifier for PinsAndRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.is_pinned(server_name, end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    // The server must hold the certificate's key in either case.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_pins_are_for_shipped_servers() {
        let pins = shipped().unwrap();
        assert_eq!(pins.len(), SHIPPED.len());
        for pin in pins {
            assert!(super::super::SERVERS.iter().any(|url| url.contains(&pin.host)), "{}", pin.host);
            assert!(!pin.certificate.is_empty());
        }
    }
}
