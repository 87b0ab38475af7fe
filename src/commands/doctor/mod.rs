//! `doctor`: whether an installation in a cluster works, and where it does not. It only reads, and creates a pod as a dry
//! run if asked to. What it must not know: how pods are decided on, which it asks the running webhook.

mod api;
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

use crate::commands::common::settings::KeysArgs;
use crate::commands::doctor::api::Api;
use crate::commands::doctor::check::{DoctorCheck, Health};
use crate::commands::doctor::installation::Installation;
use crate::commands::doctor::replica::Replica;
use crate::commands::failure::Failure;
use crate::inject::settings::keys::Keys;

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// Name of the webhook configuration; else all of this program's are looked for
    #[arg(long, value_name = "NAME")]
    webhook_configuration: Option<String>,
    /// Have the API server create a pod that asks for a template, as a dry run: nothing is stored
    #[arg(long)]
    canary: bool,
    /// Namespace of that pod; else that of the kubeconfig
    #[arg(short, long, value_name = "NAMESPACE", requires = "canary")]
    namespace: Option<String>,
    /// Template it asks for; else all are tried until one is injected
    #[arg(long, value_name = "NAME[@VERSION]", requires = "canary")]
    template: Option<String>,
    #[command(flatten)]
    keys: KeysArgs,
}

/// Runs the command: exit code 1 when something has failed. What could not be looked at is told, and is no failure but for the
/// canary, which somebody has asked for: exit code 3.
pub(super) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start")?;
    let checks = runtime.block_on(look(args))?;
    let text: String = checks.iter().map(|check| format!("{check}\n")).collect();
    std::io::stdout().write_all(text.as_bytes()).context("failed to write to stdout")?;
    match checks.iter().filter(|check| check.health == Health::Failed).count() {
        0 if checks.iter().any(|check| check.what == "canary" && check.health == Health::Unknown) => {
            Err(Failure::Io(anyhow::anyhow!("the canary could not be sent")))
        }
        0 => Ok(()),
        1 => Err(Failure::Found("1 check failed".to_owned())),
        count => Err(Failure::Found(format!("{count} checks failed"))),
    }
}

async fn look(args: &DoctorArgs) -> anyhow::Result<Vec<DoctorCheck>> {
    let api = Api::connect().await?;
    let version = api.get("/version").await;
    let version = version.map_err(|refusal| anyhow::anyhow!("failed to reach the cluster: {refusal}"))?;
    let mut checks = vec![installation::version(version["gitVersion"].as_str().unwrap_or_default())];
    let configurations = match installation::find(&api, args.webhook_configuration.as_deref()).await {
        Ok(configurations) => configurations,
        // Nothing more can be found out where nothing is; where it may not be read, the rest goes on.
        Err(check) if check.health == Health::Failed => {
            checks.push(check);
            return Ok(checks);
        }
        Err(check) => {
            checks.push(check);
            Vec::new()
        }
    };
    let mut founds = Vec::new();
    for configuration in &configurations {
        founds.push(installed(&api, configuration, &args.keys.keys, &mut checks).await);
    }
    checks.extend(installation::twice(&configurations));
    checks.push(installation::others(&api, &configurations).await);
    if args.canary {
        if founds.is_empty() {
            founds.push(Installation { templates: Vec::new(), keys: args.keys.keys.clone(), observes: false });
        }
        let namespace = args.namespace.clone().unwrap_or_else(|| api.default_namespace().to_owned());
        for found in &founds {
            let request = canary::Canary { api: &api, namespace: &namespace, found };
            checks.push(request.check(args.template.as_deref()).await);
        }
    }
    Ok(checks)
}

/// Everything behind one webhook configuration, whose keys begin with what its replicas say, else with `keys`.
async fn installed(api: &Api, configuration: &Value, keys: &Keys, checks: &mut Vec<DoctorCheck>) -> Installation {
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
                checks.extend(version_of(&replica));
                found.keys = replica.keys().unwrap_or_else(|| found.keys.clone());
                if replica.has_flag("observe") {
                    found.observes = true;
                    checks.push(
                        DoctorCheck::warning(
                            "observe",
                            "the webhook only observes: it decides and counts, and changes nothing",
                        )
                        .remedy("settings.observe: false in the chart's values"),
                    );
                }
            }
            // That there is none is told of the Service.
            Ok(None) => {}
            Err(refusal) => checks.push(DoctorCheck::unknown("replica", &refusal)),
        }
        let (names, check) = templates::check(api, &namespace, &found.keys).await;
        found.templates.extend(names);
        checks.push(check);
    }
    found
}

/// Whether the replica runs this version, if its labels say which it runs.
fn version_of(replica: &Replica) -> Option<DoctorCheck> {
    let (running, own) = (replica.version()?, env!("CARGO_PKG_VERSION"));
    Some(if running == own {
        DoctorCheck::ok("version", format!("the webhook and this program are {own}"))
    } else {
        DoctorCheck::warning("version", format!("the webhook is {running}, this program {own}"))
            .remedy("what they decide may differ; use the same version")
    })
}
