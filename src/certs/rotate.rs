//! Keeps the Secret, the webhook configurations and what is served in step, on every replica alike: nobody leads, whoever
//! comes first writes. What to do is decided in [`issue`](super::issue).

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
use crate::certs::issue::{self, Policy, State, Step};
use crate::certs::serving::{Certificate, CurrentCertificate};
use crate::certs::store::Store;

/// After an error.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest sleep: clocks are set, and a suspended machine's timer sleeps too.
const LOOK: Duration = Duration::from_secs(60);

/// Certificates that the webhook makes and renews itself.
pub struct SelfManaged {
    store: Store,
    configurations: Configurations,
    policy: Policy,
}

impl SelfManaged {
    /// Certificates in the Secret `name`, trusted by these webhook configurations.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, configurations: &[String], policy: Policy) -> Self {
        let configurations = Configurations::new(&client, configurations);
        Self { store: Store::new(client, namespace, name), configurations, policy }
    }

    /// Runs for ever; calls `served` with each certificate that is taken into use.
    pub async fn run(self, current: Arc<CurrentCertificate>, served: impl Fn(&Certificate)) {
        let mut changes = self.changes();
        let (mut in_use, mut told) = (String::new(), String::new());
        loop {
            let wait = match self.advance(&current, &mut in_use, &served).await {
                Ok(Some(wait)) => {
                    told.clear();
                    wait
                }
                Ok(None) => continue,
                Err(error) => {
                    let error = format!("{error:#}");
                    // Said once, not every second.
                    if error != told {
                        tracing::warn!(error, "the certificate could not be looked after; trying again every second");
                        told = error;
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

    /// Does the next step; how long there is nothing more to do, if so.
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
        // Nobody would trust what is not published yet.
        let is_served = |state: &&State| state.is_usable(&self.policy, now) && state.is_trusted(&trusted);
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
            Step::Wait(until) => {
                let left = Duration::try_from(until - now).unwrap_or_default();
                return Ok(Some(left.clamp(Duration::from_millis(100), LOOK)));
            }
            Step::Publish(bundle) => {
                self.configurations.publish(&bundle).await?;
                tracing::info!("the webhook configurations trust our authorities");
            }
            Step::Write(state) => {
                let failed = if read.is_missing() {
                    "the Secret is missing and cannot be created; helm upgrade brings it back"
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

    /// Something happened to the Secret or to a configuration.
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

/// Rights to one object by name extend to watches that ask for that name alone.
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
