//! Reads X.509 certificates from PEM text: validity, subject alternative names, signatures.
//!
//! This is the only module that parses certificates. It does not depend on TLS, on Kubernetes, or on how certificates
//! are issued. All input is PEM text; text around the PEM blocks is ignored (RFC 7468, section 2).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Range;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::certs::error::CertificateError;

/// Returns the validity of each certificate in a bundle, in the order of the bundle. The result is not empty.
///
/// # Errors
/// If the bundle contains no certificate, or a certificate does not parse.
pub fn validities(bundle: &[u8]) -> Result<Vec<Range<OffsetDateTime>>, CertificateError> {
    let certificates = read_all(bundle)?;
    if certificates.is_empty() {
        return Err(CertificateError::Parse("there is no certificate".to_owned()));
    }
    certificates.iter().map(validity).collect()
}

/// Returns the validity of a certificate: from `notBefore` until `notAfter` (RFC 5280, section 4.1.2.5).
///
/// # Errors
/// If the certificate does not parse.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Result<Range<OffsetDateTime>, CertificateError> {
    let certificate = parse(certificate)?;
    let validity = certificate.validity();
    Ok(validity.not_before.to_datetime()..validity.not_after.to_datetime())
}

/// Returns true if the first certificate of a chain is for the host: a DNS name, or an IP address in text form. A chain
/// without certificates is for no host.
///
/// # Errors
/// If a certificate does not parse.
pub fn is_for(chain: &[u8], host: &str) -> Result<bool, CertificateError> {
    let chain = read_all(chain)?;
    let Some(leaf) = chain.first() else { return Ok(false) };
    Ok(hosts(leaf)?.contains(host))
}

/// Returns true if the first certificate of a chain is for exactly these hosts (DNS names and IP addresses). A chain
/// that does not parse is for no hosts.
pub(super) fn has_hosts(chain: &str, expected: &[String]) -> bool {
    let found = first(chain).and_then(|leaf| hosts(&leaf));
    found.is_ok_and(|found| found == expected.iter().cloned().collect())
}

/// Returns true if a certificate of the chain is in the bundle, or is signed by a certificate in it.
///
/// # Errors
/// If a certificate of the chain or the bundle does not parse.
pub fn is_trusted(chain: &[u8], bundle: &[u8]) -> Result<bool, CertificateError> {
    let (chain, bundle) = (read_all(chain)?, read_all(bundle)?);
    for authority in &bundle {
        let authority = parse(authority)?;
        for certificate in &chain {
            let certificate = parse(certificate)?;
            if certificate == authority || is_signed_by(&certificate, &authority) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Returns true if the first certificate in `leaf` is signed by the first one in `authority`. Text that does not parse
/// is not signed.
pub(super) fn is_signed(leaf: &str, authority: &str) -> bool {
    let signed = || -> Result<bool, CertificateError> {
        let (leaf, authority) = (first(leaf)?, first(authority)?);
        Ok(is_signed_by(&parse(&leaf)?, &parse(&authority)?))
    };
    signed().unwrap_or(false)
}

/// Returns the first certificate of a PEM text.
///
/// # Errors
/// If there is no certificate.
pub(super) fn first(pem: &str) -> Result<CertificateDer<'static>, CertificateError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| CertificateError::Parse(error.to_string()))
}

/// Returns the certificates of a PEM text in DER, sorted, so that two bundles can be compared. Blocks that are not
/// valid PEM are left out.
pub(super) fn sorted(pem: &str) -> Vec<Vec<u8>> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes());
    let mut all: Vec<Vec<u8>> = all.filter_map(|der| der.ok().map(|der| der.to_vec())).collect();
    all.sort();
    all
}

/// Returns the certificates of a PEM text, in the order of the text.
fn read_all(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates: Result<_, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates.map_err(|error| CertificateError::Parse(error.to_string()))
}

fn parse<'c>(certificate: &'c CertificateDer<'_>) -> Result<X509Certificate<'c>, CertificateError> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    parsed.map(|(_, parsed)| parsed).map_err(|error| CertificateError::Parse(error.to_string()))
}

fn is_signed_by(certificate: &X509Certificate<'_>, authority: &X509Certificate<'_>) -> bool {
    certificate.verify_signature(Some(authority.public_key())).is_ok()
}

/// Returns the DNS names and IP addresses of a certificate (subject alternative names, RFC 5280, section 4.2.1.6).
fn hosts(certificate: &CertificateDer<'_>) -> Result<BTreeSet<String>, CertificateError> {
    let certificate = parse(certificate)?;
    let names = certificate.subject_alternative_name().map_err(|error| CertificateError::Parse(error.to_string()))?;
    Ok(names.iter().flat_map(|names| &names.value.general_names).filter_map(host).collect())
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn hosts_are_dns_names_and_addresses() {
        let authority = authority();
        let names = ["a.b.svc", "10.0.0.1", "::1"].map(str::to_owned);
        let params = CertificateParams::new(names.to_vec()).unwrap();
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap().pem();
        assert!(has_hosts(&leaf, &names));
        assert!(!has_hosts(&leaf, &names[..2]) && !has_hosts("", &[]));
        for (host, expected) in [("a.b.svc", true), ("10.0.0.1", true), ("::1", true), ("b.svc", false)] {
            assert_eq!(is_for(leaf.as_bytes(), host).unwrap(), expected, "{host}");
        }
        assert!(!is_for(b"", "a.b.svc").unwrap(), "an empty file has no hosts");
        assert!(is_signed(&leaf, &authority.pem()) && !is_signed(&leaf, &leaf) && !is_signed("", &leaf));
    }

    #[test]
    fn a_bundle_is_read_completely() {
        let (one, two) = (authority().pem(), authority().pem());
        assert_eq!(validities(format!("# comment\n{one}{two}").as_bytes()).unwrap().len(), 2);
        assert!(validities(b"").is_err());
        assert!(validities(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
        assert_eq!(sorted(&format!("{one}\n{two}")), sorted(&format!("{two}# text\n{one}")));
        assert!(is_trusted(one.as_bytes(), format!("{two}{one}").as_bytes()).unwrap());
        assert!(!is_trusted(one.as_bytes(), two.as_bytes()).unwrap());
    }
}
