//! The serving certificate: where it comes from, and the one shared cell that handshakes read it from.
//! It is the only module that makes rustls configurations.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

mod bundle;
pub mod issue;
pub mod rotate;
mod store;

pub use issue::self_signed;

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read or holds no PEM of its kind.
    #[error("failed to read {what} from {path}: {why}")]
    Read {
        /// `the certificate` or `the private key`.
        what: &'static str,
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The key is of a kind that is not supported, or does not belong to the certificate.
    #[error("failed to use the certificate and its key: {0}")]
    Unusable(#[from] rustls::Error),
    /// A certificate cannot be made for these names.
    #[error("failed to issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// A certificate does not parse.
    #[error("failed to parse the certificate: {0}")]
    Parse(String),
}

/// A certificate with its key, ready to serve.
#[derive(Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// From when to when it is valid, seconds since 1970.
    pub valid: Range<i64>,
}

impl Certificate {
    /// Reads a chain and its key from PEM files.
    ///
    /// # Errors
    /// When a file cannot be read, or key and certificate do not belong together.
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

    /// Reads a chain and its key from PEM texts.
    ///
    /// # Errors
    /// See [`Self::from_files`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let broken = |what, why: String| CertificateError::Read { what, path: "PEM".to_owned(), why };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| broken("the certificate", error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| broken("the private key", error.to_string()))?;
        let first = chain.first().ok_or_else(|| broken("the certificate", "there is none".to_owned()))?;
        let valid = validity(first)?;
        let certified = CertifiedKey::from_der(chain, key, &provider())?;
        Ok(Self { key: Arc::new(certified), valid })
    }
}

/// From when to when each certificate of a bundle (PEM) is valid, seconds since 1970; at least one.
///
/// # Errors
/// When there is none, or one does not parse.
pub fn validities(bundle: &[u8]) -> Result<Vec<Range<i64>>, CertificateError> {
    let certificates = read_all(bundle)?;
    if certificates.is_empty() {
        return Err(CertificateError::Parse("there is none".to_owned()));
    }
    certificates.iter().map(validity).collect()
}

/// Whether the first certificate of a chain (PEM) has the DNS name `host`.
///
/// # Errors
/// When it does not parse.
pub fn is_for(chain: &[u8], host: &str) -> Result<bool, CertificateError> {
    let chain = read_all(chain)?;
    let Some(leaf) = chain.first() else { return Ok(false) };
    let leaf = parse(leaf)?;
    let names = leaf.subject_alternative_name().map_err(|error| CertificateError::Parse(error.to_string()))?;
    let mut names = names.iter().flat_map(|names| &names.value.general_names);
    Ok(names.any(|name| matches!(name, GeneralName::DNSName(name) if *name == host)))
}

/// Whether a certificate of the chain (PEM) is one of the bundle's (PEM), or signed by one.
///
/// # Errors
/// When something of them does not parse.
pub fn is_trusted(chain: &[u8], bundle: &[u8]) -> Result<bool, CertificateError> {
    let (chain, bundle) = (read_all(chain)?, read_all(bundle)?);
    for authority in &bundle {
        let authority = parse(authority)?;
        for certificate in &chain {
            let certificate = parse(certificate)?;
            if certificate == authority || certificate.verify_signature(Some(authority.public_key())).is_ok() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The certificates of a PEM text.
fn read_all(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates: Result<_, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates.map_err(|error| CertificateError::Parse(error.to_string()))
}

fn parse<'c>(certificate: &'c CertificateDer<'_>) -> Result<X509Certificate<'c>, CertificateError> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    parsed.map(|(_, parsed)| parsed).map_err(|error| CertificateError::Parse(error.to_string()))
}

fn validity(certificate: &CertificateDer<'_>) -> Result<Range<i64>, CertificateError> {
    let certificate = parse(certificate)?;
    let validity = certificate.validity();
    Ok(validity.not_before.timestamp()..validity.not_after.timestamp())
}

/// The cell that handshakes read the certificate from; replacing it affects the next handshake.
#[derive(Debug)]
pub struct Current(ArcSwap<Certificate>);

impl Current {
    /// A cell with its first certificate.
    #[must_use]
    pub fn new(certificate: Certificate) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(certificate)))
    }

    /// Serves another certificate from the next handshake on.
    pub fn replace(&self, certificate: Certificate) {
        self.0.store(Arc::new(certificate));
    }

    /// From when to when the certificate in use is valid, seconds since 1970.
    #[must_use]
    pub fn valid(&self) -> Range<i64> {
        self.0.load().valid.clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The TLS configuration of the webhook port: TLS 1.2 and 1.3, HTTP/1.1 (all the API server speaks to a
/// service), no session tickets (it never resumes).
///
/// # Errors
/// When the crypto provider supports no protocol version.
pub fn server_config(current: Arc<Current>) -> Result<Arc<ServerConfig>, CertificateError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(current);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
