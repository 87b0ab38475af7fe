//! Checks that the account of a replica has the permissions that its flags need.
//!
//! Each permission is checked with a SubjectAccessReview, so it does not depend on how it is granted.

use serde_json::json;

use crate::commands::common::api::{Api, ApiError};
use crate::commands::doctor::check::DoctorCheck;
use crate::commands::doctor::replica::Replica;

/// A permission that the webhook needs.
struct Permission {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    namespace: String,
    name: String,
}

/// Checks the permissions of the replica's account.
pub(super) async fn check(api: &Api, replica: &Replica) -> DoctorCheck {
    let missing = match missing(api, replica).await {
        Ok(missing) => missing,
        Err(error) => return DoctorCheck::unknown("rights", &error),
    };
    let account = replica.account();
    if missing.is_empty() {
        return DoctorCheck::ok("rights", format!("account {account} has the permissions that its flags need"));
    }
    let listed: Vec<String> = missing
        .iter()
        .map(|right| {
            format!("{} {}{}{}", right.verb, right.resource, if right.name.is_empty() { "" } else { " " }, right.name)
        })
        .collect();
    DoctorCheck::failed("rights", format!("account {account} lacks permissions: {}", listed.join(", ")))
        .remedy("set rbac.create: true in the chart's values, or grant the permissions")
}

/// Returns the permissions that the flags of the replica need.
fn needed(replica: &Replica) -> Vec<Permission> {
    let home = replica.namespace.as_str();
    let permission = |verb, group, resource, namespace: &str, name: &str| Permission {
        verb,
        group,
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let mut rights = Vec::new();
    let watched = |rights: &mut Vec<Permission>, resource, namespace: &str| {
        rights.extend(["list", "watch"].map(|verb| permission(verb, "", resource, namespace, "")));
    };
    watched(&mut rights, "configmaps", replica.flag("namespace").unwrap_or(home));
    if replica.has_flag("watch-namespaces") {
        watched(&mut rights, "namespaces", "");
    }
    if replica.flag("namespace-templates").is_some() {
        watched(&mut rights, "configmaps", "");
    }
    if replica.has_flag("events") {
        rights.push(permission("create", "events.k8s.io", "events", "", ""));
    }
    if let Some(secret) = replica.flag("tls-secret") {
        rights.extend(["get", "watch", "update"].map(|verb| permission(verb, "", "secrets", home, secret)));
    }
    let configurations = replica.flag("webhook-configuration").into_iter().flat_map(|names| names.split(','));
    for name in configurations {
        for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
            let group = "admissionregistration.k8s.io";
            rights.extend(["get", "watch", "patch"].map(|verb| permission(verb, group, kind, "", name)));
        }
    }
    rights
}

/// Returns the permissions that the account lacks.
async fn missing(api: &Api, replica: &Replica) -> Result<Vec<Permission>, ApiError> {
    let (namespace, account) = (&replica.namespace, replica.account());
    let groups =
        json!(["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"]);
    let mut missing = Vec::new();
    for right in needed(replica) {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{namespace}:{account}"),
                "groups": groups,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_determine_the_permissions() {
        let described = |args: &[&str]| {
            let rights = needed(&Replica::with_args(args));
            let describe =
                |right: &Permission| format!("{} {}/{} {}", right.verb, right.namespace, right.resource, right.name);
            rights.iter().map(describe).collect::<Vec<_>>()
        };
        let plain = described(&["serve", "--namespace=t", "--tls-cert=f"]);
        assert_eq!(plain, ["list t/configmaps ", "watch t/configmaps "]);
        let flags = ["--watch-namespaces", "--namespace-templates=allow", "--events", "--tls-secret=s"];
        let all = described(&[&["serve"], &flags[..], &["--webhook-configuration=a,b"]].concat());
        assert_eq!(all.len(), 22, "{all:?}");
        for right in ["update tools/secrets s", "patch /validatingwebhookconfigurations b"] {
            assert!(all.contains(&right.to_owned()), "{all:?}");
        }
    }
}
