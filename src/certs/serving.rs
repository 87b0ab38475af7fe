//! The certificate that is served, and the TLS configuration of the webhook port.
//!
//! Handshakes read the certificate from one shared cell, so a renewed certificate is used from the next handshake on.
//! This is the only module that makes rustls configurations. It does not know where certificates come from.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use crate::certs::error::CertificateError;
use crate::certs::x509;

/// A certificate chain and its private key, ready to serve.
#[derive(Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// The time during which the first certificate of the chain is valid.
    pub valid: Range<OffsetDateTime>,
}

impl Certificate {
    /// Reads a chain (leaf first) and its private key from PEM files.
    ///
    /// # Errors
    /// If a file cannot be read or parsed, or the key does not belong to the certificate.
    pub fn from_files(certificate: &PathBuf, key: &PathBuf) -> Result<Self, CertificateError> {
        let read = |path: &PathBuf, what| {
            fs::read(path).map_err(|error| CertificateError::Read {
                what,
                path: path.display().to_string(),
                why: error.to_string(),
            })
        };
        Self::from_pem(&read(certificate, "the certificate")?, &read(key, "the private key")?)
    }

    /// Reads a chain (leaf first) and its private key from PEM text.
    ///
    /// # Errors
    /// See [`Self::from_files`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let broken = |what, why: String| CertificateError::Read { what, path: "PEM".to_owned(), why };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| broken("the certificate", error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| broken("the private key", error.to_string()))?;
        let first = chain.first().ok_or_else(|| broken("the certificate", "there is no certificate".to_owned()))?;
        let valid = x509::validity(first)?;
        let certified = CertifiedKey::from_der(chain, key, &provider())?;
        Ok(Self { key: Arc::new(certified), valid })
    }
}

/// The shared cell that handshakes read the certificate from.
#[derive(Debug)]
pub struct CurrentCertificate(ArcSwap<Certificate>);

impl CurrentCertificate {
    /// Returns a cell with its first certificate.
    #[must_use]
    pub fn new(certificate: Certificate) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(certificate)))
    }

    /// Replaces the certificate. The next handshake uses it.
    pub fn replace(&self, certificate: Certificate) {
        self.0.store(Arc::new(certificate));
    }

    /// Returns the time during which the certificate in use is valid.
    #[must_use]
    pub fn valid(&self) -> Range<OffsetDateTime> {
        self.0.load().valid.clone()
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Returns the TLS configuration of the webhook port: TLS 1.2 and 1.3, HTTP/1.1 (the API server uses no other version
/// with services), no session tickets (the API server does not resume sessions).
///
/// # Errors
/// If the crypto provider supports no protocol version.
pub fn server_config(current: Arc<CurrentCertificate>) -> Result<Arc<ServerConfig>, CertificateError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(current);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
