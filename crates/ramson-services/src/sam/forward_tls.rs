//! TLS to the server of a STREAM FORWARD with `SSL=true`. The specification says no more than that the socket speaks it; the
//! Java router trusts the usual authorities and files beside them.

use super::reply::Refusal;
use crate::limits::TLS_HANDSHAKE_TIME;
use ramson::{Error, ErrorKind};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Whom a bridge believes to be the server that it forwards to.
pub(super) struct ForwardTls {
    /// By the certificates that the operator names.
    trusted: Option<TlsConnector>,
    /// Any, at the bridge's own computer: who could answer there in its place could as well have a certificate.
    own: TlsConnector,
}

impl ForwardTls {
    /// `certificates` is a PEM file. Fails with [`ErrorKind::Setup`] where it holds none that can be used.
    pub(super) fn new(certificates: Option<&Path>) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = || {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
            builder.with_safe_default_protocol_versions().map_err(|e| Error::new(ErrorKind::Setup, e.to_string()))
        };
        let trusted = match certificates {
            None => None,
            Some(path) => {
                let roots =
                    roots(path).map_err(|e| Error::new(ErrorKind::Setup, format!("{}: {e}", path.display())))?;
                Some(builder()?.with_root_certificates(roots).with_no_client_auth())
            }
        };
        let any = Arc::new(DangerouslyAny(Arc::clone(&provider)));
        let own = builder()?.dangerous().with_custom_certificate_verifier(any).with_no_client_auth();
        let connector = |config| TlsConnector::from(Arc::new(config));
        Ok(Self { trusted: trusted.map(connector), own: connector(own) })
    }

    /// How to speak to a server; refused where nobody could tell whether it is the right one.
    pub(super) fn to(&self, server: SocketAddr) -> Result<TlsConnector, Refusal> {
        match &self.trusted {
            Some(trusted) => Ok(trusted.clone()),
            None if server.ip().is_loopback() => Ok(self.own.clone()),
            None => {
                Err(Refusal::error("SSL=true: no certificate says who is at another computer (forward_certificates)"))
            }
        }
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| e.to_string())?;
    for certificate in certificates {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    if roots.is_empty() { Err("it holds no certificate".into()) } else { Ok(roots) }
}

/// The client's side of the handshake.
pub(super) async fn connect(
    connector: &TlsConnector,
    name: ServerName<'static>,
    socket: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    timeout(TLS_HANDSHAKE_TIME, connector.connect(name, socket)).await?
}

/// Takes any certificate. Its holder must have its key all the same.
#[derive(Debug)]
struct DangerouslyAny(Arc<CryptoProvider>);

impl ServerCertVerifier for DangerouslyAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Tls;

    #[test]
    fn without_certificates_only_this_computer_is_spoken_to() {
        let none = ForwardTls::new(None).unwrap();
        assert!(none.to("127.0.0.1:1".parse().unwrap()).is_ok() && none.to("[::1]:1".parse().unwrap()).is_ok());
        assert!(none.to("192.0.2.1:1".parse().unwrap()).is_err());
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::open(folder.path(), "127.0.0.1".parse().unwrap()).unwrap();
        let some = ForwardTls::new(Some(tls.certificate())).unwrap();
        assert!(some.to("192.0.2.1:1".parse().unwrap()).is_ok());
        let file = folder.path().join("bad.pem");
        for text in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(ForwardTls::new(Some(&file)).err().map(|e| e.kind()), Some(ErrorKind::Setup), "{text}");
        }
        assert!(ForwardTls::new(Some(&folder.path().join("none.pem"))).is_err());
    }
}
