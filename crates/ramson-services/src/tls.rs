//! TLS for programs that reach the router from elsewhere: a key and a certificate of our own making.
//!
//! Nobody signs it. Who connects takes the certificate file as the one that it trusts.

use crate::FileError;
use ramson::store;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

/// A key with its certificate, by which servers of this router speak TLS 1.2 and 1.3.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: PathBuf,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads `tls-cert.pem` and `tls-key.pem` in a folder. Where neither is there they are made, for this computer and
    /// the address `at`. A user's own, from a certificate authority, may stand in their place.
    pub fn open(folder: &Path, at: IpAddr) -> Result<Self, FileError> {
        let (certificate, key) = (folder.join("tls-cert.pem"), folder.join("tls-key.pem"));
        if !key.exists() && !certificate.exists() {
            make(&certificate, &key, at)?;
        }
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(&certificate).and_then(Iterator::collect::<Result<_, _>>);
        let chain = chain.map_err(|e| FileError::new(&certificate, e))?;
        let secret = PrivateKeyDer::from_pem_file(&key).map_err(|e| FileError::new(&key, e))?;
        let unusable = |e| FileError::new(&certificate, e);
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(unusable)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// The file that programs have to trust.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// The server's side of the handshake.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }
}

fn make(certificate: &Path, key: &Path, at: IpAddr) -> Result<(), FileError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !at.is_loopback() && !at.is_unspecified() {
        names.push(at.to_string());
    }
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(names).map_err(|e| FileError::new(certificate, e))?;
    // The key first: a certificate without its key would keep both from being made again.
    store::create(key, Zeroizing::new(signing_key.serialize_pem()).as_bytes())?;
    store::create(certificate, cert.pem().as_bytes())?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A program that trusts the certificate in a file, and nothing else.
    pub(crate) fn connector(certificate: &Path) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    async fn handshake(tls: Tls, connector: TlsConnector, name: &'static str) -> bool {
        let listener = TcpListener::bind((HOME, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { tls.accept(listener.accept().await.unwrap().0).await.is_ok() });
        let stream = TcpStream::connect(at).await.unwrap();
        let client = connector.connect(ServerName::try_from(name).unwrap(), stream).await.is_ok();
        server.await.unwrap() && client
    }

    #[tokio::test]
    async fn the_certificate_is_made_once_and_trusted_by_who_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let first = Tls::open(folder.path(), "192.0.2.7".parse().unwrap()).unwrap();
        let made = std::fs::read(first.certificate()).unwrap();
        let again = Tls::open(folder.path(), HOME).unwrap();
        assert_eq!(std::fs::read(again.certificate()).unwrap(), made);
        for name in ["localhost", "127.0.0.1", "192.0.2.7"] {
            assert!(handshake(again.clone(), connector(first.certificate()), name).await, "{name}");
        }
        assert!(!handshake(again.clone(), connector(first.certificate()), "192.0.2.8").await);
        let other = tempfile::tempdir().unwrap();
        let other = Tls::open(other.path(), HOME).unwrap();
        assert!(!handshake(other, connector(first.certificate()), "localhost").await);
    }

    #[test]
    fn a_certificate_without_its_key_is_an_error_and_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        Tls::open(folder.path(), HOME).unwrap();
        let key = folder.path().join("tls-key.pem");
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&key.metadata().unwrap()) & 0o077, 0);
        std::fs::remove_file(&key).unwrap();
        let error = Tls::open(folder.path(), HOME).unwrap_err().to_string();
        assert!(error.contains("tls-key.pem"), "{error}");
        assert!(!key.exists());
        std::fs::write(&key, "not a key").unwrap();
        assert!(Tls::open(folder.path(), HOME).is_err());
    }
}
