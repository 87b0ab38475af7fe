//! Issues certificates in memory. Pure but for the key's randomness: the time is given.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::{Certificate, CertificateError};

/// How long a self-signed certificate is valid. It lives no longer than the process.
const VALID: Duration = Duration::days(365);
/// Clocks of other machines may be behind.
const SKEW: Duration = Duration::hours(1);

/// A serving certificate for `hosts` (DNS names and IP addresses) under an authority of its own, ECDSA
/// P-256, and the authority's certificate as PEM for clients.
///
/// # Errors
/// When a host is no name.
pub fn self_signed(hosts: &[String], now: OffsetDateTime) -> Result<(Certificate, String), CertificateError> {
    let mut authority = named("sidecar-injector authority", Vec::new(), now)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut leaf = named("sidecar-injector", hosts.to_vec(), now)?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let signed = leaf.signed_by(&key, &issuer)?;
    let certificate = Certificate::from_pem(signed.pem().as_bytes(), key.serialize_pem().as_bytes())?;
    Ok((certificate, issuer.pem()))
}

fn named(common_name: &str, hosts: Vec<String>, now: OffsetDateTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = now - SKEW;
    params.not_after = now + VALID;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issues_for_names_and_addresses() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time");
        let hosts = ["injector.tools.svc".to_owned(), "127.0.0.1".to_owned()];
        let (certificate, authority) = self_signed(&hosts, now).expect("issued");
        assert_eq!(certificate.not_after, 1_800_000_000 + VALID.whole_seconds());
        assert!(authority.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(self_signed(&["ä".to_owned()], now).is_err());
    }
}
