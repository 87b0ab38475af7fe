//! The certificate of `serve`: from files, self-signed, or managed in a Secret, and kept current while the process
//! runs.
//!
//! It connects the flags with [`certs`], and reports to the metrics and the readiness of the admin port.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use time::OffsetDateTime;

use crate::certs::issue::CertificatePolicy;
use crate::certs::rotate::SelfManaged;
use crate::certs::{self, Certificate, CurrentCertificate};
use crate::commands::serve::args::ServeArgs;
use crate::server::admin::Admin;
use crate::state::Webhook;

/// How often certificate files are checked for changes.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(1);

/// Returns the certificate to begin with.
///
/// # Errors
/// If the files of the certificate are not valid, or a self-signed certificate cannot be issued or written.
pub(super) fn first(args: &ServeArgs) -> anyhow::Result<Arc<CurrentCertificate>> {
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        return Ok(CurrentCertificate::new(Certificate::from_files(certificate, key)?));
    }
    // A self-signed certificate is used until the Secret has been read. The process is not ready before.
    let hosts = if args.tls_secret.is_some() { &args.tls_host } else { &args.tls_self_signed };
    let (certificate, authority) = certs::self_signed(hosts, OffsetDateTime::now_utc())
        .with_context(|| format!("failed to issue a certificate for {}", hosts.join(",")))?;
    if let Some(path) = &args.tls_write_ca {
        std::fs::write(path, authority).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(CurrentCertificate::new(certificate))
}

/// Starts to keep `current` up to date: from the Secret or the files that the flags name. The admin port reports
/// readiness as soon as clients can trust the certificate.
pub(super) fn keep_current(
    args: &ServeArgs,
    client: Option<&kube::Client>,
    current: Arc<CurrentCertificate>,
    webhook: &Arc<Webhook>,
    admin: &Arc<Admin>,
) {
    let webhook = Arc::clone(webhook);
    if let Some(managed) = self_managed(args, client) {
        let admin = Arc::clone(admin);
        tokio::spawn(managed.run(current, move |certificate| {
            webhook.metrics.set_certificate_validity(&certificate.valid);
            admin.certified.store(true, Ordering::Relaxed);
        }));
        return;
    }
    webhook.metrics.set_certificate_validity(&current.valid());
    admin.certified.store(true, Ordering::Relaxed);
    if let Some((certificate, key)) = args.tls_cert.clone().zip(args.tls_key.clone()) {
        tokio::spawn(reload(certificate, key, current, webhook));
    }
}

/// Returns the rotation of the certificates in a Secret; `None` if they do not come from one.
fn self_managed(args: &ServeArgs, client: Option<&kube::Client>) -> Option<SelfManaged> {
    let (secret, client) = args.tls_secret.as_ref().zip(client)?;
    let namespace = args.tls_secret_namespace.as_deref().unwrap_or_else(|| client.default_namespace());
    let (hosts, leaf) = (args.tls_host.clone(), args.tls_lifetime);
    let policy = CertificatePolicy { hosts, leaf, authority: leaf.saturating_mul(12) };
    Some(SelfManaged::new(client.clone(), namespace, secret, &args.webhook_configuration, policy))
}

/// Reloads changed certificate files. Contents are compared, since the kubelet swaps symbolic links. While the key does
/// not belong to the certificate (one file is written before the other), the current certificate stays in use.
async fn reload(certificate: PathBuf, key: PathBuf, current: Arc<CurrentCertificate>, webhook: Arc<Webhook>) {
    let read = || (std::fs::read(&certificate).ok(), std::fs::read(&key).ok());
    let (mut before, mut unusable) = (read(), (None, None));
    loop {
        tokio::time::sleep(CERTIFICATE_INTERVAL).await;
        let now = read();
        if now == before {
            continue;
        }
        match Certificate::from_files(&certificate, &key) {
            Ok(new) => {
                webhook.metrics.set_certificate_validity(&new.valid);
                current.replace(new);
                tracing::info!("certificate replaced");
                before = now;
            }
            // Each invalid content is logged once.
            Err(_) if now == unusable => {}
            Err(error) => {
                tracing::warn!(%error, "the changed certificate is invalid; the current one stays in use");
                unusable = now;
            }
        }
    }
}
