//! Keys and certificates for tests. Each run generates them, so the repository contains no secrets.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// A certificate and the authority that signed it.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// The authority (PEM), for a `caBundle` or a kubeconfig.
    pub(crate) authority: String,
    /// The serving certificate (PEM).
    pub(crate) certificate: String,
    /// The serving key.
    pub(crate) key: KeyPair,
}

impl Credentials {
    /// Creates an authority and a certificate for loopback.
    pub(crate) fn for_loopback() -> Result<Self, rcgen::Error> {
        Self::for_names(&["127.0.0.1", "localhost"])
    }

    /// Creates an authority and a certificate for other names and addresses.
    pub(crate) fn for_names(names: &[&str]) -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::<String>::new())?;
        // The authority needs another name than the certificate. Otherwise OpenSSL treats the certificate as
        // self-signed.
        authority.distinguished_name.push(DnType::CommonName, "sidecar-injector test authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
        Ok(Self { authority: authority.pem(), certificate: certificate.pem(), key })
    }
}

/// Creates a random token. With it, a run cannot use the API server of another run by mistake.
pub(crate) fn random_token() -> Result<String, rcgen::Error> {
    use std::fmt::Write;
    let mut token = String::new();
    for byte in &KeyPair::generate()?.public_key_raw()[1..33] {
        let _ = write!(token, "{byte:02x}");
    }
    Ok(token)
}
