//! Checks the objects of an installation: webhook configurations, the Service behind them, the trusted authorities, and
//! other webhooks that change pods.
//!
//! It reads objects as JSON. It does not check replicas or templates.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::certs::x509;
use crate::commands::common::api::Api;
use crate::commands::doctor::check::DoctorCheck;
use crate::inject::cluster_version::{ClusterVersion, OLDEST};
use crate::inject::settings::keys::Keys;

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
/// The last part of the names of this program's webhooks, whatever prefix annotations have.
const DOMAIN: &str = ".sidecar.io";
/// Remaining validity of an authority below which the check warns. Self-managed authorities are renewed long before.
const SOON: Duration = Duration::days(7);

/// The facts about an installation that its canary needs.
pub(super) struct Installation {
    /// Names of the templates that load.
    pub(super) templates: Vec<String>,
    /// The keys of its annotations and labels.
    pub(super) keys: Keys,
    /// True if the webhook runs with `--observe`.
    pub(super) observes: bool,
}

/// Checks the version of Kubernetes (`v1.30.0`): `matchConditions` are stable since 1.30, native sidecars are enabled
/// since 1.29.
pub(super) fn version(text: &str) -> DoctorCheck {
    match text.parse::<ClusterVersion>() {
        Ok(version) if version < OLDEST => DoctorCheck::failed("cluster", format!("Kubernetes {text} is too old"))
            .remedy(format!("upgrade to Kubernetes {OLDEST} or later")),
        _ => DoctorCheck::ok("cluster", format!("Kubernetes {text}")),
    }
}

/// Finds the webhook configurations of this program: the one with that name, or all. The result is not empty.
///
/// # Errors
/// A check with the health `Failed` if there is none, or `Unknown` if they cannot be read.
pub(super) async fn find(api: &Api, name: Option<&str>) -> Result<Vec<Value>, DoctorCheck> {
    let missing = |text: String| {
        DoctorCheck::failed("webhook", text).remedy("install the chart (helm install), or set --webhook-configuration")
    };
    if let Some(name) = name {
        return match api.get(&format!("{CONFIGURATIONS}/{name}")).await {
            Ok(found) if webhooks_of(&found).any(is_ours) => Ok(vec![found]),
            Ok(_) => Err(missing(format!("{name} has no webhook whose name ends with {DOMAIN}"))),
            Err(error) if error.code == 404 => Err(missing(format!("there is no webhook configuration {name}"))),
            Err(error) => Err(DoctorCheck::unknown("webhook", &error)),
        };
    }
    let list = api.get(CONFIGURATIONS).await.map_err(|error| DoctorCheck::unknown("webhook", &error))?;
    let ours: Vec<Value> = items(&list).filter(|item| webhooks_of(item).any(is_ours)).cloned().collect();
    if ours.is_empty() {
        Err(missing("there is no webhook configuration of sidecar-injector".to_owned()))
    } else {
        Ok(ours)
    }
}

/// Returns the items of a list.
pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn webhooks_of(configuration: &Value) -> impl Iterator<Item = &Value> {
    configuration["webhooks"].as_array().into_iter().flatten()
}

fn is_ours(webhook: &Value) -> bool {
    webhook["name"].as_str().is_some_and(|name| name.ends_with(DOMAIN))
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Checks each of our webhooks in a configuration, and its `caBundle`.
pub(super) fn webhooks(configuration: &Value) -> Vec<DoctorCheck> {
    let now = OffsetDateTime::now_utc();
    let ours = webhooks_of(configuration).filter(|webhook| is_ours(webhook));
    ours.flat_map(|webhook| {
        let text = format!(
            "{} in {}: failurePolicy {}, {} s",
            webhook["name"].as_str().unwrap_or_default(),
            name_of(configuration),
            webhook["failurePolicy"].as_str().unwrap_or("Fail"),
            webhook["timeoutSeconds"].as_i64().unwrap_or(10),
        );
        [DoctorCheck::ok("webhook", text), trust(webhook, now)]
    })
    .collect()
}

fn trust(webhook: &Value, now: OffsetDateTime) -> DoctorCheck {
    let text = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    if text.is_empty() {
        return DoctorCheck::failed("trust", "caBundle is empty: the API server trusts no certificate of the webhook")
            .remedy("self-managed: check the log and the permissions of the webhook; cert-manager: check that its CA injector runs");
    }
    let broken = |why: String| {
        DoctorCheck::failed("trust", format!("caBundle is invalid: {why}")).remedy(
            "self-managed: the running webhook repairs it within seconds; other modes: write the authority to caBundle",
        )
    };
    match STANDARD
        .decode(text)
        .map_err(|error| error.to_string())
        .and_then(|pem| x509::validities(&pem).map_err(|error| error.to_string()))
    {
        Ok(authorities) => validity(&authorities, now),
        Err(why) => broken(why),
    }
}

/// Checks that one of the authorities is valid for long enough.
fn validity(authorities: &[Range<OffsetDateTime>], now: OffsetDateTime) -> DoctorCheck {
    let last = authorities.iter().filter(|valid| valid.contains(&now)).map(|valid| valid.end).max();
    match last {
        None => DoctorCheck::failed("trust", "no authority in caBundle is valid now")
            .remedy("renew the authority, and check the clocks of the nodes"),
        Some(end) => {
            let text = format!("authorities in caBundle: {}, valid until {}", authorities.len(), end.date());
            if end - now < SOON {
                DoctorCheck::warning("trust", text).remedy("renew the authority soon")
            } else {
                DoctorCheck::ok("trust", text)
            }
        }
    }
}

/// Returns the Services (namespace, name) of our webhooks in a configuration, each once.
pub(super) fn services(configuration: &Value) -> BTreeSet<(String, String)> {
    let service = |webhook: &Value| {
        let service = &webhook["clientConfig"]["service"];
        Some((service["namespace"].as_str()?.to_owned(), service["name"].as_str()?.to_owned()))
    };
    webhooks_of(configuration).filter(|webhook| is_ours(webhook)).filter_map(service).collect()
}

/// Checks that the Service has ready endpoints.
pub(super) async fn endpoints(api: &Api, namespace: &str, service: &str, configuration: &Value) -> DoctorCheck {
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io/service-name={service}"
    );
    match api.get(&path).await {
        Ok(slices) => {
            let (ready, all) = count_endpoints(&slices);
            let text = format!("{namespace}/{service}: {ready} of {all} endpoints ready");
            match ready {
                0 => DoctorCheck::failed("service", text).remedy(format!(
                    "run kubectl -n {namespace} get pods,events; /readyz of a pod reports what it waits for. If the injector is no longer installed: kubectl delete mutatingwebhookconfiguration {}",
                    name_of(configuration)
                )),
                1 => DoctorCheck::warning("service", text).remedy("run two replicas or more: with one, pods are missed while it is replaced"),
                _ => DoctorCheck::ok("service", text),
            }
        }
        Err(error) => DoctorCheck::unknown("service", &error),
    }
}

/// Counts the ready endpoints, and all that are not terminating. A pod with addresses of both IP families counts once.
fn count_endpoints(slices: &Value) -> (usize, usize) {
    let with_ports = items(slices).filter(|slice| slice["ports"].as_array().is_some_and(|ports| !ports.is_empty()));
    let endpoints = with_ports.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let mut of: BTreeMap<String, bool> = BTreeMap::new();
    for endpoint in endpoints.filter(|endpoint| endpoint["conditions"]["terminating"] != true) {
        let pod = endpoint["targetRef"]["name"].as_str().or_else(|| endpoint["addresses"][0].as_str());
        // Absent means ready (EndpointConditions, discovery.k8s.io/v1).
        *of.entry(pod.unwrap_or_default().to_owned()).or_default() |= endpoint["conditions"]["ready"] != false;
    }
    (of.values().filter(|ready| **ready).count(), of.len())
}

/// Returns the validating configuration that belongs to a mutating one; `None` if there is none.
///
/// # Errors
/// A check with the health `Unknown` if it cannot be read.
pub(super) async fn validating(api: &Api, configuration: &Value) -> Result<Option<Value>, DoctorCheck> {
    match api.get(&format!("{VALIDATING}/{}", name_of(configuration))).await {
        Ok(found) => Ok(Some(found).filter(|found| webhooks_of(found).any(is_ours))),
        Err(error) if error.code == 404 => Ok(None),
        Err(error) => Err(DoctorCheck::unknown("webhook", &error)),
    }
}

/// Returns `caBundle` of each of our webhooks in the configurations, PEM.
pub(super) fn bundles(configurations: &[&Value]) -> Vec<Vec<u8>> {
    let ours = configurations.iter().flat_map(|configuration| webhooks_of(configuration)).filter(|hook| is_ours(hook));
    let text = |webhook: &Value| webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
    ours.map(|webhook| STANDARD.decode(text(webhook)).unwrap_or_default()).collect()
}

/// Checks that no two configurations call the same Service, which would then get every review twice. `None` if none do.
pub(super) fn shared_service(configurations: &[Value]) -> Option<DoctorCheck> {
    let mut seen = BTreeMap::new();
    for configuration in configurations {
        for service in services(configuration) {
            if let Some(other) = seen.insert(service, name_of(configuration)) {
                let text = format!("{other} and {} call the same Service", name_of(configuration));
                return Some(
                    DoctorCheck::warning("webhook", text)
                        .remedy("delete the configuration that does not belong to a Helm release"),
                );
            }
        }
    }
    None
}

/// Lists the other webhooks that change pods. Webhooks run in the order of the names of their configurations.
pub(super) async fn other_webhooks(api: &Api, ours: &[Value]) -> DoctorCheck {
    let list = match api.get(CONFIGURATIONS).await {
        Ok(list) => list,
        Err(error) => return DoctorCheck::unknown("others", &error),
    };
    let first = ours.iter().map(name_of).min().unwrap_or_default();
    let changes_pods = |webhook: &Value| {
        let has = |rule: &Value, list: &str, word: &str| {
            rule[list].as_array().into_iter().flatten().any(|value| value == word || value == "*")
        };
        let rules = webhook["rules"].as_array().into_iter().flatten();
        rules.into_iter().any(|rule| has(rule, "resources", "pods") && has(rule, "operations", "CREATE"))
    };
    let others = items(&list).filter(|item| !webhooks_of(item).any(is_ours) && webhooks_of(item).any(changes_pods));
    let listed: Vec<String> = others
        .map(|item| format!("{} ({})", name_of(item), if name_of(item) < first { "before" } else { "after" }))
        .collect();
    if listed.is_empty() {
        return DoctorCheck::ok("others", "no other webhook changes pods");
    }
    DoctorCheck::ok("others", format!("other webhooks that change pods: {}", listed.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::super::check::Health;
    use super::*;

    #[test]
    fn versions_before_match_conditions_are_too_old() {
        for (text, health) in [
            ("v1.29.9", Health::Failed),
            ("v1.30.0", Health::Ok),
            ("v1.36.3+k3s1", Health::Ok),
            ("v2.0.0", Health::Ok),
            ("v1.31-eks", Health::Ok),
            ("", Health::Ok),
        ] {
            assert_eq!(version(text).health, health, "{text}");
        }
    }

    #[test]
    fn trust_is_read_from_the_bundle() {
        let webhook =
            |bundle: &str| json!({"name": "inject.sidecar.io", "clientConfig": {"caBundle": STANDARD.encode(bundle)}});
        let now = OffsetDateTime::now_utc();
        let (_, authority) = crate::certs::self_signed(&["a.b.svc".to_owned()], now).unwrap();
        assert_eq!(trust(&webhook(&authority), now).health, Health::Ok);
        for bundle in ["", "nonsense"] {
            assert_eq!(trust(&webhook(bundle), now).health, Health::Failed, "{bundle:?}");
        }
        assert_eq!(trust(&json!({"clientConfig": {"caBundle": "%"}}), now).health, Health::Failed);
    }

    #[test]
    fn an_authority_that_ends_soon_or_never_began_is_reported() {
        const DAY: i64 = 24 * 3600;
        let at = |seconds: i64| OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds);
        for (authorities, health) in [
            (&[(0, 1000 * DAY)][..], Health::Ok),
            (&[(0, 10), (0, 1000 * DAY)], Health::Ok),
            (&[(0, 60)], Health::Warning),
            (&[(0, 10), (90, 100)], Health::Failed),
        ] {
            let authorities: Vec<_> = authorities.iter().map(|(start, end)| at(*start)..at(*end)).collect();
            assert_eq!(validity(&authorities, at(50)).health, health, "{authorities:?}");
        }
    }

    #[test]
    fn terminating_endpoints_are_not_counted() {
        let endpoint = |pod: &str, conditions: Value| json!({"targetRef": {"name": pod}, "addresses": ["x"], "conditions": conditions});
        let ready = || json!({"ready": true});
        let slice = |ports: Value, endpoints: Value| json!({"ports": ports, "endpoints": endpoints});
        let ports = || json!([{"port": 8443}]);
        let v4 = slice(
            ports(),
            json!([
                endpoint("a", ready()),
                endpoint("b", json!({"ready": false})),
                endpoint("c", json!({"ready": false, "terminating": true}))
            ]),
        );
        let v6 = slice(ports(), json!([endpoint("a", json!({}))]));
        // A pod without the port is not a replica.
        let other = slice(Value::Null, json!([endpoint("d", ready())]));
        assert_eq!(count_endpoints(&json!({"items": [v4, v6, other]})), (1, 2));
        assert_eq!(count_endpoints(&json!({})), (0, 0));
    }

    #[test]
    fn services_are_those_of_our_own_webhooks() {
        let service = |name: &str, service: &str| json!({"name": name, "clientConfig": {"service": {"namespace": "n", "name": service}}});
        let configuration = json!({"webhooks": [service("inject.sidecar.io", "a"), service("policy.sidecar.io", "a"), service("x.istio.io", "b"), {"name": "url.sidecar.io"}]});
        assert_eq!(services(&configuration), BTreeSet::from([("n".to_owned(), "a".to_owned())]));
    }
}
