//! Rotates self-managed certificates: keeps the Secret, the webhook configurations and the served certificate in step.
//!
//! Every replica runs the same loop. There is no leader: the first replica to write the Secret wins, and the others
//! read its certificates. [`issue`] decides the steps; this module carries them out, and does not decide.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::certs::bundle::Configurations;
use crate::certs::issue::{self, CertificatePolicy, CertificateState, RotationStep};
use crate::certs::serving::{Certificate, CurrentCertificate};
use crate::certs::store::SecretStore;

/// Pause after an error.
const PAUSE: Duration = Duration::from_secs(1);
/// Maximum sleep between two checks. A timer does not notice that a clock was set or that the machine was suspended.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// The certificates that the webhook issues and renews itself.
pub struct SelfManaged {
    store: SecretStore,
    configurations: Configurations,
    policy: CertificatePolicy,
}

impl SelfManaged {
    /// Returns the rotation of the certificates in the Secret `namespace`/`name`. `configurations` are the names of the
    /// webhook configurations that must trust them.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        configurations: &[String],
        policy: CertificatePolicy,
    ) -> Self {
        let configurations = Configurations::new(&client, configurations);
        Self { store: SecretStore::new(client, namespace, name), configurations, policy }
    }

    /// Runs forever. Each new certificate is put into `current`, after `served` has been called with it.
    pub async fn run(self, current: Arc<CurrentCertificate>, served: impl Fn(&Certificate)) {
        let mut changes = self.changes();
        let (mut in_use, mut reported) = (String::new(), String::new());
        loop {
            let wait = match self.advance(&current, &mut in_use, &served).await {
                Ok(Some(wait)) => {
                    reported.clear();
                    wait
                }
                Ok(None) => continue,
                Err(error) => {
                    let error = format!("{error:#}");
                    // The same error is logged once, not every second.
                    if error != reported {
                        tracing::warn!(error, "failed to manage the certificate; retrying every second");
                        reported = error;
                    }
                    PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = changes.next() => {}
            }
        }
    }

    /// Carries out the next step. Returns how long to wait; `None` if another step follows at once.
    async fn advance(
        &self,
        current: &CurrentCertificate,
        in_use: &mut String,
        served: impl Fn(&Certificate),
    ) -> anyhow::Result<Option<Duration>> {
        let read = self.store.read().await?;
        let trusted = self.configurations.read().await?;
        let now = OffsetDateTime::now_utc();
        let step = issue::step(read.state.as_ref(), &trusted, &self.policy, now)?;
        // Clients do not trust a certificate whose authority is not published yet.
        let is_served = |state: &&CertificateState| state.is_usable(&self.policy, now) && state.is_trusted(&trusted);
        if let Some(state) = read.state.as_ref().filter(is_served)
            && *in_use != state.leaf.certificate
        {
            let certificate = Certificate::from_pem(state.leaf.certificate.as_bytes(), state.leaf.key.as_bytes())?;
            served(&certificate);
            current.replace(certificate);
            in_use.clone_from(&state.leaf.certificate);
            tracing::info!("certificate taken into use");
        }
        match step {
            RotationStep::Wait(until) => {
                let left = Duration::try_from(until - now).unwrap_or_default();
                return Ok(Some(left.clamp(Duration::from_millis(100), MAX_SLEEP)));
            }
            RotationStep::Publish(bundle) => {
                self.configurations.publish(&bundle).await?;
                tracing::info!("the webhook configurations trust the certificates of the webhook");
            }
            RotationStep::Write(state) => {
                let failed = if read.is_missing() {
                    "the Secret is missing and cannot be created; run helm upgrade to restore it"
                } else {
                    "failed to write the Secret"
                };
                if self.store.write(read, &state).await.context(failed)? {
                    tracing::info!("certificates written");
                }
            }
        }
        Ok(None)
    }

    /// Returns a stream with an item for each change of the Secret or a webhook configuration.
    fn changes(&self) -> BoxStream<'static, ()> {
        let (api, name) = self.store.api();
        let mut all = stream::SelectAll::new();
        all.push(changes_of(watcher::watcher(api, named(name))));
        for (api, _, name) in self.configurations.each() {
            all.push(changes_of(watcher::watcher(api.clone(), named(name))));
        }
        all.boxed()
    }
}

/// Returns a watch of one object. RBAC permissions for a named object apply only to watches with this field selector.
fn named(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

fn changes_of<K>(
    events: impl futures_util::Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
) -> BoxStream<'static, ()>
where
    K: Resource + Clone + DeserializeOwned + Send + 'static,
{
    let change = |event: watcher::Result<watcher::Event<K>>| async move {
        if event.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    events.then(change).boxed()
}
