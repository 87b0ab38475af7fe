//! Whether the API server trusts the certificate that is served.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Check;
use super::api::Api;
use super::installation::bundles;
use super::replica::Replica;
use crate::certs;

/// Compares the Secret that the replica's certificate comes from with what webhook configurations trust.
pub(super) async fn check(api: &Api, replica: &Replica, configurations: &[&Value]) -> Option<Check> {
    let (namespace, name) = (&replica.namespace, replica.secret()?);
    let secret = match api.get(&format!("/api/v1/namespaces/{namespace}/secrets/{name}")).await {
        Ok(secret) => secret,
        Err(refusal) if refusal.code == 404 => {
            let check = Check::failed(
                "served",
                format!("Secret {namespace}/{name} is missing: new replicas have no certificate"),
            );
            return Some(check.remedy("helm upgrade brings it back; in cert-manager mode, the Certificate does"));
        }
        Err(refusal) => return Some(Check::refused("served", &refusal)),
    };
    let chain = STANDARD.decode(secret["data"]["tls.crt"].as_str().unwrap_or_default()).unwrap_or_default();
    Some(judge(&chain, &bundles(configurations), &format!("{namespace}/{name}")))
}

fn judge(chain: &[u8], bundles: &[Vec<u8>], name: &str) -> Check {
    if chain.is_empty() {
        return Check::failed("served", format!("Secret {name} holds no certificate"))
            .remedy("self-managed: the webhook's log says why it makes none; else look at who fills it");
    }
    let untrusted = |bundle: &&Vec<u8>| !certs::is_trusted(chain, bundle).unwrap_or(false);
    if bundles.iter().any(|bundle| untrusted(&bundle)) {
        return Check::failed(
            "served",
            format!("the certificate in Secret {name} is not signed by an authority in caBundle"),
        )
        .remedy(
            "write its authority into caBundle (tls.caBundle), or let the webhook or cert-manager do it (tls.mode)",
        );
    }
    Check::ok("served", format!("the certificate in Secret {name} is trusted"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::super::Health;
    use super::*;

    #[test]
    fn a_certificate_is_compared_with_what_is_trusted() {
        let authority = |name: &str| {
            let mut params = CertificateParams::new([]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        // Of one name, so that only the signature tells them apart.
        let (ours, theirs) = (authority("a"), authority("a"));
        let params = CertificateParams::new(["x.y.svc".to_owned()]).unwrap();
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &ours).unwrap().pem();
        let pem = |text: &str| text.as_bytes().to_vec();
        let health = |chain: &str, bundles: &[Vec<u8>]| judge(chain.as_bytes(), bundles, "n/s").health;
        assert_eq!(health(&leaf, &[pem(&ours.pem())]), Health::Ok);
        assert_eq!(health(&leaf, &[pem(&(theirs.pem() + &ours.pem()))]), Health::Ok, "one of several");
        assert_eq!(health(&ours.pem(), &[pem(&ours.pem())]), Health::Ok, "its own authority");
        assert_eq!(health(&leaf, &[pem(&theirs.pem())]), Health::Failed);
        assert_eq!(health(&leaf, &[pem(&ours.pem()), pem(&theirs.pem())]), Health::Failed, "one webhook of two");
        assert_eq!(health(&leaf, &[Vec::new()]), Health::Failed);
        assert_eq!(health("", &[pem(&ours.pem())]), Health::Failed);
    }
}
