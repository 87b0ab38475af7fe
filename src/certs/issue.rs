//! Issues certificates, and decides the next step of their rotation.
//!
//! [`step`] is a pure function apart from the random keys: it takes the state and the time, and returns the step. This
//! module does not depend on Kubernetes or on a clock. [`rotate`](super::rotate) carries the steps out.

use std::ops::Range;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use crate::certs::error::CertificateError;
use crate::certs::serving::Certificate;
use crate::certs::x509;

/// Validity of a self-signed certificate. It is not stored, so a restart replaces it.
const VALID: Duration = Duration::days(365);
/// How far `notBefore` is in the past, for machines whose clocks are behind.
const SKEW: Duration = Duration::hours(1);

/// A certificate and its private key, PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificatePair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// The content of the Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateState {
    /// The authority that signs new leaves.
    pub authority: CertificatePair,
    /// The authority that signs next, as soon as every webhook configuration trusts it.
    pub next: Option<CertificatePair>,
    /// The certificate of the authority that signed before; replicas may still serve a leaf of it.
    pub previous: Option<String>,
    /// The certificate that is served.
    pub leaf: CertificatePair,
}

/// The hosts and the validity of certificates.
#[derive(Clone, Debug)]
pub struct CertificatePolicy {
    /// DNS names and IP addresses of the webhook.
    pub hosts: Vec<String>,
    /// Validity of a leaf. It is renewed after two thirds of that time.
    pub leaf: Duration,
    /// Validity of an authority. It is renewed after two thirds of that time.
    pub authority: Duration,
}

/// The next step of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationStep {
    /// Write this state to the Secret, if the Secret has not changed since it was read.
    Write(Box<CertificateState>),
    /// Write this bundle (PEM) to `caBundle` of the webhook configurations.
    Publish(String),
    /// Do nothing until this time.
    Wait(OffsetDateTime),
}

/// Issues a serving certificate (ECDSA P-256) for `hosts` (DNS names and IP addresses), signed by a new authority.
/// Returns it with the authority's certificate, PEM, for clients to trust.
///
/// # Errors
/// If a host is not a valid DNS name.
pub fn self_signed(hosts: &[String], now: OffsetDateTime) -> Result<(Certificate, String), CertificateError> {
    let authority = authority(now, VALID)?;
    let leaf = leaf(&authority, hosts, now, VALID)?;
    let certificate = Certificate::from_pem(leaf.certificate.as_bytes(), leaf.key.as_bytes())?;
    Ok((certificate, authority.certificate))
}

/// Returns the next step for `state` at the time `now`. `trusted` has the `caBundle` (PEM) of every webhook in the
/// configurations. `state` is `None` if the Secret contains none.
///
/// An authority is renewed in three steps, so that clients trust it before it signs: add it as `next`, publish the
/// bundle, sign with it.
///
/// # Errors
/// If a certificate cannot be issued, for example because a host is not a valid DNS name.
pub fn step(
    state: Option<&CertificateState>,
    trusted: &[String],
    policy: &CertificatePolicy,
    now: OffsetDateTime,
) -> Result<RotationStep, CertificateError> {
    let Some(state) = state.filter(|state| state.is_usable(policy, now)) else {
        return Ok(RotationStep::Write(Box::new(CertificateState::fresh(policy, now)?)));
    };
    let bundle = state.bundle();
    if trusted.iter().any(|trusted| x509::sorted(trusted) != x509::sorted(&bundle)) {
        return Ok(RotationStep::Publish(bundle));
    }
    let mut new = state.clone();
    if let Some(next) = new.next.take() {
        // Every webhook configuration trusts it.
        new.previous = Some(std::mem::replace(&mut new.authority, next).certificate);
        new.leaf = leaf(&new.authority, &policy.hosts, now, policy.leaf)?;
        return Ok(RotationStep::Write(Box::new(new)));
    }
    let authority_due = due(&state.authority.certificate)?;
    if now >= authority_due {
        new.next = Some(authority(now, policy.authority)?);
        return Ok(RotationStep::Write(Box::new(new)));
    }
    let leaf_due = due(&state.leaf.certificate)?;
    if now >= leaf_due {
        new.leaf = leaf(&state.authority, &policy.hosts, now, policy.leaf)?;
        return Ok(RotationStep::Write(Box::new(new)));
    }
    let mut until = leaf_due.min(authority_due);
    if let Some(previous) = &state.previous {
        let end = validity(previous)?.end;
        if now >= end {
            new.previous = None;
            return Ok(RotationStep::Write(Box::new(new)));
        }
        until = until.min(end);
    }
    Ok(RotationStep::Wait(until))
}

impl CertificateState {
    fn fresh(policy: &CertificatePolicy, now: OffsetDateTime) -> Result<Self, CertificateError> {
        let authority = authority(now, policy.authority)?;
        let leaf = leaf(&authority, &policy.hosts, now, policy.leaf)?;
        Ok(Self { authority, next: None, previous: None, leaf })
    }

    /// Returns the bundle (PEM) of every authority that must be trusted.
    #[must_use]
    pub fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|next| next.certificate.as_str());
        let all = [Some(self.authority.certificate.as_str()), next, self.previous.as_deref()];
        let all: Vec<&str> = all.into_iter().flatten().map(str::trim_end).collect();
        all.join("\n") + "\n"
    }

    /// Returns true if every bundle (PEM) contains the authority that signed the leaf.
    #[must_use]
    pub fn is_trusted(&self, bundles: &[String]) -> bool {
        let own = x509::sorted(&self.authority.certificate);
        bundles.iter().all(|bundle| {
            let trusted = x509::sorted(bundle);
            own.iter().all(|authority| trusted.contains(authority))
        })
    }

    /// Returns true if the rotation can continue from this state: the leaf is signed by the authority and is for the
    /// hosts of the policy, all certificates are valid now, and their keys belong to them. A state that is incomplete,
    /// foreign, expired or not yet valid is replaced, not repaired.
    pub(super) fn is_usable(&self, policy: &CertificatePolicy, now: OffsetDateTime) -> bool {
        let valid = |pem: &str| validity(pem).is_ok_and(|valid| valid.contains(&now));
        let has_key =
            |pair: &CertificatePair| Certificate::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes()).is_ok();
        let pairs = [Some(&self.authority), Some(&self.leaf), self.next.as_ref()];
        pairs.into_iter().flatten().all(|pair| valid(&pair.certificate) && has_key(pair))
            && x509::is_signed(&self.leaf.certificate, &self.authority.certificate)
            && x509::has_hosts(&self.leaf.certificate, &policy.hosts)
            && self.previous.as_ref().is_none_or(|previous| validity(previous).is_ok())
    }
}

/// Issues a new authority.
fn authority(now: OffsetDateTime, valid: Duration) -> Result<CertificatePair, CertificateError> {
    let mut params = named("sidecar-injector authority", Vec::new(), now, valid)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    Ok(CertificatePair { certificate: issuer.pem(), key: issuer.key().serialize_pem() })
}

/// Issues a leaf signed by `authority`. Its validity ends with that of the authority at the latest.
fn leaf(
    authority: &CertificatePair,
    hosts: &[String],
    now: OffsetDateTime,
    valid: Duration,
) -> Result<CertificatePair, CertificateError> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let mut params = named("sidecar-injector", hosts.to_vec(), now, valid)?;
    params.not_after = params.not_after.min(validity(&authority.certificate)?.end);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let signed = params.signed_by(&key, &issuer)?;
    Ok(CertificatePair { certificate: signed.pem(), key: key.serialize_pem() })
}

fn named(
    common_name: &str,
    hosts: Vec<String>,
    now: OffsetDateTime,
    valid: Duration,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = now - SKEW;
    params.not_after = now + valid;
    Ok(params)
}

/// Returns the validity of the first certificate of a PEM text.
fn validity(pem: &str) -> Result<Range<OffsetDateTime>, CertificateError> {
    x509::validity(&x509::first(pem)?)
}

/// Returns the time at which a certificate (PEM) is due for renewal: after two thirds of its validity.
fn due(pem: &str) -> Result<OffsetDateTime, CertificateError> {
    let valid = validity(pem)?;
    let begin = valid.start + SKEW;
    Ok(begin + (valid.end - begin) * 2 / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time") + Duration::days(days)
    }

    fn policy() -> CertificatePolicy {
        let hosts = vec!["injector.tools.svc".to_owned(), "127.0.0.1".to_owned()];
        CertificatePolicy { hosts, leaf: Duration::days(30), authority: Duration::days(300) }
    }

    fn written(step: RotationStep) -> CertificateState {
        match step {
            RotationStep::Write(state) => *state,
            other => panic!("{other:?}"),
        }
    }

    /// The next step if every configuration trusts the bundle of the state.
    fn next(state: &CertificateState, days: i64) -> RotationStep {
        step(Some(state), &[state.bundle()], &policy(), at(days)).expect("a step")
    }

    fn fresh() -> CertificateState {
        written(step(None, &[], &policy(), at(0)).expect("a step"))
    }

    #[test]
    fn issues_for_names_and_addresses() {
        let (certificate, authority) = self_signed(&policy().hosts, at(0)).expect("issued");
        assert_eq!(certificate.valid.end, at(0) + VALID);
        assert!(authority.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(self_signed(&["ä".to_owned()], at(0)).is_err());
    }

    #[test]
    fn creates_the_first_state_and_serves() {
        let state = fresh();
        assert_eq!(
            step(Some(&state), &[String::new()], &policy(), at(0)).expect("a step"),
            RotationStep::Publish(state.bundle())
        );
        assert_eq!(next(&state, 0), RotationStep::Wait(at(20)), "two thirds of the leaf's life");
        assert_eq!(next(&state, 19), RotationStep::Wait(at(20)));
    }

    #[test]
    fn a_leaf_is_renewed_under_the_same_authority() {
        let state = fresh();
        let renewed = written(next(&state, 20));
        assert_eq!(renewed.authority, state.authority);
        assert_ne!(renewed.leaf, state.leaf);
        assert_eq!(next(&renewed, 20), RotationStep::Wait(at(40)));
    }

    #[test]
    fn a_new_authority_is_trusted_before_it_signs_and_the_old_one_after() {
        let mut state = fresh();
        state.leaf = leaf(&state.authority, &policy().hosts, at(199), Duration::days(30)).expect("issued");
        let announced = written(next(&state, 200));
        assert_eq!(
            (&announced.authority, &announced.leaf),
            (&state.authority, &state.leaf),
            "the first step only adds it"
        );
        let unpublished = step(Some(&announced), &[state.bundle()], &policy(), at(200)).expect("a step");
        assert_eq!(unpublished, RotationStep::Publish(announced.bundle()));
        let one_of_two = [announced.bundle(), state.bundle()];
        let step_of_two = step(Some(&announced), &one_of_two, &policy(), at(200)).expect("a step");
        assert!(matches!(step_of_two, RotationStep::Publish(_)), "every configuration must trust it");
        let promoted = written(next(&announced, 200));
        assert_eq!(Some(&promoted.authority), announced.next.as_ref());
        assert_eq!(promoted.previous.as_ref(), Some(&state.authority.certificate));
        assert!(x509::is_signed(&promoted.leaf.certificate, &promoted.authority.certificate));
        assert_eq!(
            x509::sorted(&promoted.bundle()),
            x509::sorted(&announced.bundle()),
            "nothing to publish in between"
        );
        let mut later = promoted.clone();
        later.leaf = leaf(&later.authority, &policy().hosts, at(300), Duration::days(30)).expect("issued");
        assert_eq!(written(next(&later, 300)).previous, None, "removed when it has expired");
    }

    #[test]
    fn a_state_that_cannot_be_continued_is_replaced() {
        let (valid, other) = (fresh(), fresh());
        let pair = |pair: &CertificatePair| pair.clone();
        let cases: [(&str, CertificateState); 7] = [
            ("a foreign authority", CertificateState { authority: pair(&other.authority), ..valid.clone() }),
            ("a foreign leaf", CertificateState { leaf: pair(&other.leaf), ..valid.clone() }),
            (
                "a leaf without its key",
                CertificateState { leaf: CertificatePair { key: String::new(), ..pair(&valid.leaf) }, ..valid.clone() },
            ),
            (
                "another key",
                CertificateState {
                    leaf: CertificatePair { key: other.leaf.key.clone(), ..pair(&valid.leaf) },
                    ..valid.clone()
                },
            ),
            (
                "invalid PEM",
                CertificateState {
                    authority: CertificatePair { certificate: "x".to_owned(), ..pair(&valid.authority) },
                    ..valid.clone()
                },
            ),
            (
                "an incomplete next authority",
                CertificateState {
                    next: Some(CertificatePair { key: "x".to_owned(), ..pair(&other.authority) }),
                    ..valid.clone()
                },
            ),
            (
                "invalid PEM as the previous authority",
                CertificateState { previous: Some("x".to_owned()), ..valid.clone() },
            ),
        ];
        for (what, state) in cases {
            let new = written(next(&state, 0));
            assert!(new.is_usable(&policy(), at(0)) && new != state, "{what}");
        }
        // Expired while no replica ran, or issued by a clock that was ahead.
        assert!(matches!(next(&valid, 31), RotationStep::Write(_)));
        assert!(matches!(next(&valid, -1), RotationStep::Write(_)));
        // The hosts of the policy have changed.
        let renamed = CertificatePolicy { hosts: vec!["other.tools.svc".to_owned()], ..policy() };
        let new = written(step(Some(&valid), &[valid.bundle()], &renamed, at(0)).expect("a step"));
        assert!(x509::has_hosts(&new.leaf.certificate, &renamed.hosts));
        let wrong = CertificatePolicy { hosts: vec!["ä".to_owned()], ..policy() };
        assert!(step(None, &[], &wrong, at(0)).is_err());
    }

    #[test]
    fn a_leaf_does_not_outlive_its_authority() {
        let mut state = fresh();
        state.leaf = leaf(&state.authority, &policy().hosts, at(290), Duration::days(30)).expect("issued");
        assert_eq!(validity(&state.leaf.certificate).expect("valid").end, at(300));
    }

    #[test]
    fn bundles_are_compared_by_their_certificates() {
        let state = fresh();
        let commented = format!("# ours\n\n{}\n", state.bundle());
        let same = step(Some(&state), &[commented], &policy(), at(0)).expect("a step");
        assert!(matches!(same, RotationStep::Wait(_)));
        let garbage = step(Some(&state), &["garbage".to_owned()], &policy(), at(0)).expect("a step");
        assert!(matches!(garbage, RotationStep::Publish(_)));
    }
}
