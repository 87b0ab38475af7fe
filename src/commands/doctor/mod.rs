//! `doctor`: checks that the installations in a cluster work, and reports what is wrong.
//!
//! It reads objects, and with `--canary` creates a pod as a dry run; nothing is stored. It does not decide on pods
//! itself: the running webhook does.

mod canary;
mod certificate;
mod check;
mod installation;
mod replica;
mod rights;
mod templates;

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use crate::commands::common::api::Api;
use crate::commands::common::settings::KeysArgs;
use crate::commands::doctor::check::{DoctorCheck, Health};
use crate::commands::doctor::installation::Installation;
use crate::commands::doctor::replica::Replica;
use crate::commands::failure::Failure;
use crate::inject::settings::keys::Keys;

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// Name of the webhook configuration [default: all webhook configurations of this program]
    #[arg(long, value_name = "NAME")]
    webhook_configuration: Option<String>,
    /// Create a pod that requests a template, as a dry run; nothing is stored
    #[arg(long)]
    canary: bool,
    /// Namespace of the canary pod [default: the namespace of the kubeconfig]
    #[arg(short, long, value_name = "NAMESPACE", requires = "canary")]
    namespace: Option<String>,
    /// Template that the canary pod requests [default: try the templates until one is injected]
    #[arg(long, value_name = "NAME[@VERSION]", requires = "canary")]
    template: Option<String>,
    #[command(flatten)]
    keys: KeysArgs,
}

/// Runs the command and prints the checks.
///
/// # Errors
/// [`Failure::Found`] if a check has failed. [`Failure::Io`] if the cluster cannot be reached, or if the canary, which
/// the user requested, could not be sent. Other checks that were not possible are printed, but are not an error.
pub(super) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start")?;
    let checks = runtime.block_on(run_checks(args))?;
    let text: String = checks.iter().map(|check| format!("{check}\n")).collect();
    std::io::stdout().write_all(text.as_bytes()).context("failed to write to stdout")?;
    match checks.iter().filter(|check| check.health == Health::Failed).count() {
        0 if checks.iter().any(|check| check.what == "canary" && check.health == Health::Unknown) => {
            Err(Failure::Io(anyhow::anyhow!("failed to send the canary")))
        }
        0 => Ok(()),
        1 => Err(Failure::Found("1 check failed".to_owned())),
        count => Err(Failure::Found(format!("{count} checks failed"))),
    }
}

async fn run_checks(args: &DoctorArgs) -> anyhow::Result<Vec<DoctorCheck>> {
    let api = Api::connect().await?;
    let version = api.get("/version").await;
    let version = version.map_err(|error| anyhow::anyhow!("failed to reach the cluster: {error}"))?;
    let mut checks = vec![installation::version(version["gitVersion"].as_str().unwrap_or_default())];
    let configurations = match installation::find(&api, args.webhook_configuration.as_deref()).await {
        Ok(configurations) => configurations,
        // Without an installation there is nothing more to check. If it may not be read, the other checks continue.
        Err(check) if check.health == Health::Failed => {
            checks.push(check);
            return Ok(checks);
        }
        Err(check) => {
            checks.push(check);
            Vec::new()
        }
    };
    let mut installations = Vec::new();
    for configuration in &configurations {
        installations.push(check_installation(&api, configuration, &args.keys.keys, &mut checks).await);
    }
    checks.extend(installation::shared_service(&configurations));
    checks.push(installation::other_webhooks(&api, &configurations).await);
    if args.canary {
        if installations.is_empty() {
            installations.push(Installation { templates: Vec::new(), keys: args.keys.keys.clone(), observes: false });
        }
        let namespace = args.namespace.clone().unwrap_or_else(|| api.default_namespace().to_owned());
        for installation in &installations {
            let request = canary::Canary { api: &api, namespace: &namespace, installation };
            checks.push(request.check(args.template.as_deref()).await);
        }
    }
    Ok(checks)
}

/// Checks the installation behind one webhook configuration, and adds the results to `checks`. Its keys come from the
/// flags of its replicas; `keys` are used if the flags do not set them.
async fn check_installation(
    api: &Api,
    configuration: &Value,
    keys: &Keys,
    checks: &mut Vec<DoctorCheck>,
) -> Installation {
    let mut found = Installation { templates: Vec::new(), keys: keys.clone(), observes: false };
    let validating = installation::validating(api, configuration).await.unwrap_or_else(|check| {
        checks.push(check);
        None
    });
    let both: Vec<&Value> = [Some(configuration), validating.as_ref()].into_iter().flatten().collect();
    checks.extend(both.iter().flat_map(|configuration| installation::webhooks(configuration)));
    for (namespace, service) in installation::services(configuration) {
        checks.push(installation::endpoints(api, &namespace, &service, configuration).await);
        match Replica::find(api, &namespace, &service).await {
            Ok(Some(replica)) => {
                checks.extend(certificate::check(api, &replica, &both, &format!("{service}.{namespace}.svc")).await);
                checks.push(rights::check(api, &replica).await);
                checks.extend(compare_version(&replica));
                found.keys = replica.keys().unwrap_or_else(|| found.keys.clone());
                if replica.has_flag("observe") {
                    found.observes = true;
                    checks.push(
                        DoctorCheck::warning(
                            "observe",
                            "the webhook only observes: it decides, logs and counts, but changes no pod",
                        )
                        .remedy("set settings.observe: false in the chart's values"),
                    );
                }
            }
            // The check of the Service reports that there are no replicas.
            Ok(None) => {}
            Err(error) => checks.push(DoctorCheck::unknown("replica", &error)),
        }
        let (names, check) = templates::check(api, &namespace, &found.keys).await;
        found.templates.extend(names);
        checks.push(check);
    }
    found
}

/// Compares the version of the replica with this program. `None` if the labels of the replica do not have its version.
fn compare_version(replica: &Replica) -> Option<DoctorCheck> {
    let (running, own) = (replica.version()?, env!("CARGO_PKG_VERSION"));
    Some(if running == own {
        DoctorCheck::ok("version", format!("the webhook and this program have version {own}"))
    } else {
        DoctorCheck::warning("version", format!("the webhook has version {running}, this program {own}"))
            .remedy("their decisions can differ; use the same version")
    })
}
