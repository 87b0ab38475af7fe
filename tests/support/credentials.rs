//! Keys and certificates for tests, made in memory for each run: nothing secret is in the repository
//! and nothing expires.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// A certificate and the authority that signed it.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// PEM of the authority: what goes into a `caBundle` or a kubeconfig.
    pub(crate) authority: String,
    /// PEM of the serving certificate.
    pub(crate) certificate: String,
    /// The serving key.
    pub(crate) key: KeyPair,
}

impl Credentials {
    /// Makes an authority and has it sign a certificate for loopback.
    pub(crate) fn for_loopback() -> Result<Self, rcgen::Error> {
        Self::for_names(&["127.0.0.1", "localhost"])
    }

    /// The same for other names and addresses.
    pub(crate) fn for_names(names: &[&str]) -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::<String>::new())?;
        // A name of its own: with rcgen's default for both, OpenSSL takes the other certificate for
        // a self-signed one.
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

/// A token nobody else knows: two runs on one machine must not take each other's API server for
/// their own.
pub(crate) fn random_token() -> Result<String, rcgen::Error> {
    use std::fmt::Write;
    let mut token = String::new();
    for byte in &KeyPair::generate()?.public_key_raw()[1..33] {
        let _ = write!(token, "{byte:02x}");
    }
    Ok(token)
}
