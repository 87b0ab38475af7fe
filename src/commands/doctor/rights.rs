//! Whether the running webhook may do what its flags need, and runs this version.

use serde_json::{Value, json};

use super::Check;
use super::api::{Api, Refusal};

/// One thing that the webhook needs to be allowed.
struct Right {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    namespace: String,
    name: String,
}

/// Asks about each right of the account of a pod behind the Service, and compares versions.
pub(super) async fn check(api: &Api, namespace: &str, service: &str) -> Vec<Check> {
    match pod(api, namespace, service).await {
        Ok(Some(pod)) => match missing(api, &pod, namespace).await {
            Ok(rights) => rights_told(&pod, &rights).into_iter().chain(version(&pod)).chain(observes(&pod)).collect(),
            Err(refusal) => vec![Check::refused("rights", &refusal)],
        },
        // That there is none is told of the Service.
        Ok(None) => Vec::new(),
        Err(refusal) => vec![Check::refused("rights", &refusal)],
    }
}

/// One of the pods that the Service selects and that is to stay.
async fn pod(api: &Api, namespace: &str, service: &str) -> Result<Option<Value>, Refusal> {
    let found = api.get(&format!("/api/v1/namespaces/{namespace}/services/{service}")).await?;
    let labels = found["spec"]["selector"].as_object().into_iter().flatten();
    let labels: Vec<String> =
        labels.map(|(key, value)| format!("{key}%3D{}", value.as_str().unwrap_or_default())).collect();
    if labels.is_empty() {
        return Ok(None);
    }
    let pods = api.get(&format!("/api/v1/namespaces/{namespace}/pods?labelSelector={}", labels.join(","))).await?;
    // One that is on its way out has the flags of before.
    let serves = |pod: &&Value| flags(pod).next() == Some("serve") && pod["metadata"]["deletionTimestamp"].is_null();
    Ok(pods["items"].as_array().into_iter().flatten().find(serves).cloned())
}

/// The arguments of the container that is the webhook.
fn flags(pod: &Value) -> impl Iterator<Item = &str> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let ours = containers.into_iter().find(|container| container["args"][0] == "serve");
    ours.and_then(|container| container["args"].as_array()).into_iter().flatten().filter_map(Value::as_str)
}

/// The value of a flag that is written `--name=value`.
fn flag<'p>(pod: &'p Value, name: &str) -> Option<&'p str> {
    flags(pod).find_map(|flag| flag.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
}

fn has_flag(pod: &Value, name: &str) -> bool {
    flags(pod).any(|flag| flag.strip_prefix("--") == Some(name))
}

/// What the flags of the pod need.
fn needed(pod: &Value, namespace: &str) -> Vec<Right> {
    let right = |verb, group, resource, namespace: &str, name: &str| Right {
        verb,
        group,
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let mut rights = Vec::new();
    let watched = |rights: &mut Vec<Right>, resource, namespace: &str| {
        rights.extend(["list", "watch"].map(|verb| right(verb, "", resource, namespace, "")));
    };
    watched(&mut rights, "configmaps", flag(pod, "namespace").unwrap_or(namespace));
    if has_flag(pod, "watch-namespaces") {
        watched(&mut rights, "namespaces", "");
    }
    if flag(pod, "namespace-templates").is_some() {
        watched(&mut rights, "configmaps", "");
    }
    if has_flag(pod, "events") {
        rights.push(right("create", "events.k8s.io", "events", "", ""));
    }
    if let Some(secret) = flag(pod, "tls-secret") {
        rights.extend(["get", "watch", "update"].map(|verb| right(verb, "", "secrets", namespace, secret)));
    }
    let configurations = flag(pod, "webhook-configuration").into_iter().flat_map(|names| names.split(','));
    for name in configurations {
        let kind = "mutatingwebhookconfigurations";
        rights
            .extend(["get", "watch", "patch"].map(|verb| right(verb, "admissionregistration.k8s.io", kind, "", name)));
    }
    rights
}

/// The rights that the account of the pod lacks.
async fn missing(api: &Api, pod: &Value, namespace: &str) -> Result<Vec<Right>, Refusal> {
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    let mut missing = Vec::new();
    for right in needed(pod, namespace) {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{namespace}:{account}"),
                "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"],
                "resourceAttributes": {"verb": right.verb, "group": right.group, "resource": right.resource, "namespace": right.namespace, "name": right.name},
            },
        });
        let answer = api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await?;
        if answer["status"]["allowed"] != true {
            missing.push(right);
        }
    }
    Ok(missing)
}

fn rights_told(pod: &Value, missing: &[Right]) -> Vec<Check> {
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    if missing.is_empty() {
        return vec![Check::ok("rights", format!("account {account} may do what its flags need"))];
    }
    let told: Vec<String> = missing
        .iter()
        .map(|right| {
            format!("{} {}{}{}", right.verb, right.resource, if right.name.is_empty() { "" } else { " " }, right.name)
        })
        .collect();
    let check = Check::failed("rights", format!("account {account} may not: {}", told.join(", ")));
    vec![check.remedy("rbac.create: true in the chart's values, or grant it")]
}

/// Whether the pod runs this version, if its image says which it runs.
fn version(pod: &Value) -> Option<Check> {
    let running = pod["metadata"]["labels"]["app.kubernetes.io/version"].as_str()?;
    let own = env!("CARGO_PKG_VERSION");
    Some(if running == own {
        Check::ok("version", format!("the webhook and this program are {own}"))
    } else {
        Check::warning("version", format!("the webhook is {running}, this program {own}"))
            .remedy("what they decide may differ; use the same version")
    })
}

fn observes(pod: &Value) -> Option<Check> {
    has_flag(pod, "observe").then(|| {
        Check::warning("observe", "the webhook only observes: it decides and counts, and changes nothing")
            .remedy("settings.observe: false in the chart's values")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_which_rights_are_needed() {
        let pod = |args: &[&str]| json!({"spec": {"containers": [{"args": ["proxy"]}, {"args": args}]}});
        let told = |args: &[&str]| {
            let rights = needed(&pod(args), "tools");
            rights
                .iter()
                .map(|right| format!("{} {}/{} {}", right.verb, right.namespace, right.resource, right.name))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&["serve", "--namespace=t", "--tls-cert=f"]), ["list t/configmaps ", "watch t/configmaps "]);
        let all = told(&[
            "serve",
            "--watch-namespaces",
            "--namespace-templates=allow",
            "--events",
            "--tls-secret=s",
            "--webhook-configuration=a,b",
        ]);
        assert_eq!(all.len(), 16, "{all:?}");
        assert!(
            all.contains(&"update tools/secrets s".to_owned())
                && all.contains(&"patch /mutatingwebhookconfigurations b".to_owned()),
            "{all:?}"
        );
    }
}
