//! Checks that the API server trusts the certificate in the webhook's Secret.
//!
//! It reads the Secret; it does not connect to the webhook.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use time::OffsetDateTime;

use crate::certs::x509;
use crate::commands::common::api::Api;
use crate::commands::doctor::check::DoctorCheck;
use crate::commands::doctor::installation::bundles;
use crate::commands::doctor::replica::Replica;

/// Compares the certificate in the replica's Secret with `caBundle` of the webhook configurations. `host` is the name
/// by which the API server calls the webhook. `None` if the certificate does not come from a Secret.
pub(super) async fn check(api: &Api, replica: &Replica, configurations: &[&Value], host: &str) -> Option<DoctorCheck> {
    let (namespace, name) = (&replica.namespace, replica.secret()?);
    let secret = match api.get(&format!("/api/v1/namespaces/{namespace}/secrets/{name}")).await {
        Ok(secret) => secret,
        Err(error) if error.code == 404 => {
            let check = DoctorCheck::failed(
                "served",
                format!("Secret {namespace}/{name} is missing: new replicas have no certificate"),
            );
            return Some(check.remedy(
                "run helm upgrade to restore it; in cert-manager mode, cert-manager restores it from the Certificate",
            ));
        }
        Err(error) => return Some(DoctorCheck::unknown("served", &error)),
    };
    let chain = STANDARD.decode(secret["data"]["tls.crt"].as_str().unwrap_or_default()).unwrap_or_default();
    let now = OffsetDateTime::now_utc();
    Some(compare(&chain, &bundles(configurations), host, now, &format!("{namespace}/{name}")))
}

/// Compares a certificate chain (PEM) with the bundles (PEM) that must trust it. `name` is that of its Secret.
fn compare(chain: &[u8], bundles: &[Vec<u8>], host: &str, now: OffsetDateTime, name: &str) -> DoctorCheck {
    if chain.is_empty() {
        return DoctorCheck::failed("served", format!("Secret {name} contains no certificate")).remedy(
            "self-managed: see the log of the webhook; other modes: check the component that writes the Secret",
        );
    }
    if !x509::is_for(chain, host).unwrap_or(false) {
        return DoctorCheck::failed(
            "served",
            format!("the certificate in Secret {name} is not for {host}, which the API server calls"),
        )
        .remedy("issue a certificate with that name as a DNS subject alternative name");
    }
    if !x509::validities(chain).is_ok_and(|valid| valid[0].contains(&now)) {
        return DoctorCheck::failed("served", format!("the certificate in Secret {name} is not valid now"))
            .remedy("renew the certificate, and check the clocks of the nodes");
    }
    let untrusted = |bundle: &&Vec<u8>| !x509::is_trusted(chain, bundle).unwrap_or(false);
    if bundles.iter().any(|bundle| untrusted(&bundle)) {
        return DoctorCheck::failed(
            "served",
            format!("the certificate in Secret {name} is not signed by an authority in caBundle"),
        )
        .remedy(
            "write its authority to caBundle (tls.caBundle), or let the webhook or cert-manager write it (tls.mode)",
        );
    }
    DoctorCheck::ok("served", format!("the certificate in Secret {name} is trusted"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::super::check::Health;
    use super::*;

    #[test]
    fn a_certificate_is_compared_with_what_is_trusted() {
        let authority = |name: &str| {
            let mut params = CertificateParams::new([]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        // Both have the same name, so only the signature is different.
        let (ours, theirs) = (authority("a"), authority("a"));
        let params = CertificateParams::new(["x.y.svc".to_owned()]).unwrap();
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &ours).unwrap().pem();
        let now = OffsetDateTime::now_utc();
        let pem = |text: &str| text.as_bytes().to_vec();
        let health =
            |chain: &str, bundles: &[Vec<u8>]| compare(chain.as_bytes(), bundles, "x.y.svc", now, "n/s").health;
        assert_eq!(health(&leaf, &[pem(&ours.pem())]), Health::Ok);
        assert_eq!(health(&leaf, &[pem(&(theirs.pem() + &ours.pem()))]), Health::Ok, "one of several");
        let health_at = |host: &str, now| compare(leaf.as_bytes(), &[pem(&ours.pem())], host, now, "n/s").health;
        assert_eq!(health_at("other.y.svc", now), Health::Failed, "another name");
        assert_eq!(health_at("x.y.svc", OffsetDateTime::UNIX_EPOCH), Health::Failed, "not yet valid");
        assert_eq!(health(&leaf, &[pem(&theirs.pem())]), Health::Failed);
        assert_eq!(health(&leaf, &[pem(&ours.pem()), pem(&theirs.pem())]), Health::Failed, "one webhook of two");
        assert_eq!(health(&leaf, &[Vec::new()]), Health::Failed);
        assert_eq!(health("", &[pem(&ours.pem())]), Health::Failed);
    }
}
