//! Errors of reading, issuing and serving certificates.

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read, or contains no PEM block of the expected kind.
    #[error("failed to read {what} from {path}: {why}")]
    Read {
        /// `the certificate` or `the private key`.
        what: &'static str,
        /// The file, or `PEM` for text that does not come from a file.
        path: String,
        /// The cause.
        why: String,
    },
    /// The key is of an unsupported kind, or does not belong to the certificate.
    #[error("failed to use the certificate and its key: {0}")]
    Unusable(#[from] rustls::Error),
    /// No certificate can be issued for these names.
    #[error("failed to issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// A certificate does not parse.
    #[error("failed to parse the certificate: {0}")]
    Parse(String),
}
