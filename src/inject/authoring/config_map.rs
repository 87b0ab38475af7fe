//! Validation of template ConfigMaps before the API server stores them. It loads and lints their templates, so that an
//! invalid template is rejected and its author sees the place of the error. It checks one ConfigMap and does not know
//! about the catalog.

use std::collections::BTreeSet;

use crate::inject::authoring::lint::{self, LintLimits};
use crate::inject::catalog::holder::{not_read, template_name};
use crate::inject::catalog::sources::SourceRules;
use crate::inject::decision::reason::Reason;
use crate::inject::decision::{Decision, Verdict};
use crate::inject::diagnostic::{Severity, Source, beginning, shown};
use crate::inject::expr::paths::Paths;
use crate::inject::review::{self, Request, ReviewError};
use crate::inject::settings::Settings;
use crate::inject::settings::keys::Keys;

/// Maximum length of a denial, in bytes.
const MAX_MESSAGE: usize = 4_000;
/// Maximum length of a warning, in characters; see the `Warning` header of the Kubernetes API.
const MAX_WARNING: usize = 240;

/// Answers the AdmissionReview `body` of a ConfigMap that is created or updated. `rules` returns the rules for
/// templates of a namespace. Returns the response as JSON, and the decision.
///
/// # Errors
/// If the body is not an AdmissionReview.
pub fn config_map(
    body: &[u8],
    settings: &Settings,
    rules: impl FnOnce(&str) -> SourceRules,
) -> Result<(Vec<u8>, Decision), ReviewError> {
    let request = Request::parse(body)?;
    let decision = decide(&request, &settings.keys, rules(request.namespace.as_str()));
    let observed = settings.observe.then(|| Decision::unchanged(decision.reason));
    let body = review::response(request.version, request.uid.as_str(), observed.as_ref().unwrap_or(&decision));
    Ok((body, decision))
}

fn decide(request: &Request<'_>, keys: &Keys, rules: SourceRules) -> Decision {
    let writes = matches!(request.subject.operation.as_str(), "CREATE" | "UPDATE");
    if !writes || request.subject.resource.as_str() != "configmaps" {
        return Decision::unchanged(Reason::NotAPodCreate);
    }
    let paths =
        Paths::new(&BTreeSet::from([vec!["data".to_owned()], vec!["metadata".to_owned(), "labels".to_owned()]]));
    let object = paths.read(request.document, request.at).unwrap_or_default();
    // Without the label the ConfigMap is not read, so it can contain anything.
    if object["metadata"]["labels"][keys.template.as_str()] != "true" {
        return Decision::unchanged(Reason::NotRequested);
    }
    let (mut errors, mut decision) = (Vec::new(), Decision::unchanged(Reason::ValidTemplate));
    for (key, text) in object["data"].as_object().into_iter().flatten() {
        let (Some(name), Some(text)) = (template_name(key), text.as_str()) else {
            decision.warnings.push(not_read(key));
            continue;
        };
        let origin = format!("key {key}");
        let (findings, template) = lint::template(&Source::new(&origin, text), name, keys, &LintLimits::default());
        for finding in findings {
            match finding.diagnostic.severity {
                Severity::Error => errors.push(finding.diagnostic),
                Severity::Warning => {
                    let line = format!("{} [{}]", finding.diagnostic.one_line(), finding.rule);
                    decision.warnings.push(shown(&line, MAX_WARNING));
                }
            }
        }
        errors.extend(template.iter().flat_map(|template| rules.broken_by(template, &origin)));
    }
    if errors.is_empty() {
        return decision;
    }
    let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let mut message = format!("this ConfigMap contains an invalid template\n{}", text.join("\n"));
    if message.len() > MAX_MESSAGE {
        message.truncate(beginning(&message, MAX_MESSAGE).len());
        message.push('…');
    }
    message.push_str(" [InvalidTemplate]");
    Decision { verdict: Verdict::Denied, message, ..Decision::unchanged(Reason::InvalidTemplate) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn answer(operation: &str, label: &str, data: &Json) -> Json {
        let review = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "u", "operation": operation, "namespace": "ns",
                "resource": {"group": "", "version": "v1", "resource": "configmaps"},
                "object": {"metadata": {"name": "c", "labels": {"sidecar.io/template": label}}, "data": data},
            },
        });
        let (body, _) = config_map(review.to_string().as_bytes(), &Settings::default(), |_| SourceRules {
            without_namespaces: true,
            ..SourceRules::default()
        })
        .expect("an AdmissionReview");
        serde_json::from_slice::<Json>(&body).expect("JSON")["response"].clone()
    }

    #[test]
    fn an_invalid_template_is_denied_with_its_position() {
        let answer =
            answer("CREATE", "true", &json!({"a.yaml": "sidecars:\n- name: x\n  imag: i\n", "b.yaml": "sidecar: []"}));
        let message = answer["status"]["message"].as_str().expect("denied");
        for part in [
            "--> key a.yaml:2:3",
            "has no image",
            "--> key b.yaml:1:1",
            "did you mean \"sidecars\"?",
            "^",
            "[InvalidTemplate]",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn a_valid_template_is_allowed_with_its_warnings() {
        let data = json!({"a.yml": "volumes: [{name: a-x, emptyDir: {}, nw: 1}]", "README.md": "x"});
        let answer = answer("UPDATE", "true", &data);
        assert_eq!(answer["allowed"], true);
        assert_eq!(answer["warnings"].as_array().map(Vec::len), Some(3), "{answer}");
        assert!(answer["patch"].is_null());
    }

    #[test]
    fn other_config_maps_and_deletions_are_not_checked() {
        let broken = json!({"a.yaml": "sidecar: []"});
        assert_eq!(answer("CREATE", "false", &broken)["allowed"], true);
        assert_eq!(answer("DELETE", "true", &broken)["allowed"], true);
        let namespaces = json!({"a.yaml": "allowedNamespaces: {matchLabels: {a: b}}"});
        assert_eq!(answer("CREATE", "true", &namespaces)["allowed"], false);
    }
}
