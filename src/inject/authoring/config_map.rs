//! Validation of template ConfigMaps before they are stored: the same loading as for pods, and lint, so that bad text does
//! not land and whoever applies it sees the caret. It looks at one ConfigMap, not at the catalog.

use crate::inject::authoring::lint::{self, Limits};
use crate::inject::catalog::sources::{SourceRules, template_name};
use crate::inject::decision::reason::Reason;
use crate::inject::decision::{Decision, Verdict};
use crate::inject::diagnostic::{Severity, Source, beginning, shown};
use crate::inject::expr::paths::Paths;
use crate::inject::review::{self, Request, ReviewError};
use crate::inject::settings::Settings;
use crate::inject::settings::keys::Keys;
use std::collections::BTreeSet;

/// Longest refusal, in bytes: a few carets.
const MAX_MESSAGE: usize = 4_000;
/// Longest warning, in characters, see the API's `Warning` header.
const MAX_WARNING: usize = 240;

/// Answers the review of a ConfigMap that is created or updated. `rules` gives those that templates of a namespace must
/// obey.
///
/// # Errors
/// When the body is no review.
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
    // Whoever takes the label off may write what they like.
    if object["metadata"]["labels"][keys.template.as_str()] != "true" {
        return Decision::unchanged(Reason::NotRequested);
    }
    let (mut errors, mut decision) = (Vec::new(), Decision::unchanged(Reason::ValidTemplate));
    for (key, text) in object["data"].as_object().into_iter().flatten() {
        let (Some(name), Some(text)) = (template_name(key), text.as_str()) else {
            let warning = format!("{} does not end in .yaml or .yml and is not read", shown(key, 80));
            decision.warnings.push(warning);
            continue;
        };
        let origin = format!("key {key}");
        let (findings, template) = lint::template(&Source::new(&origin, text), name, keys, &Limits::default());
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
    let mut message = format!("this ConfigMap holds a template that cannot be used\n{}", text.join("\n"));
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
        .expect("a review");
        serde_json::from_slice::<Json>(&body).expect("JSON")["response"].clone()
    }

    #[test]
    fn bad_text_is_refused_with_its_place() {
        let answer =
            answer("CREATE", "true", &json!({"a.yaml": "sidecars:\n- name: x\n  imag: i\n", "b.yaml": "sidecar: []"}));
        let message = answer["status"]["message"].as_str().expect("refused");
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
    fn good_text_is_let_through_with_its_warnings() {
        let data = json!({"a.yml": "volumes: [{name: a-x, emptyDir: {}, nw: 1}]", "README.md": "x"});
        let answer = answer("UPDATE", "true", &data);
        assert_eq!(answer["allowed"], true);
        assert_eq!(answer["warnings"].as_array().map(Vec::len), Some(3), "{answer}");
        assert!(answer["patch"].is_null());
    }

    #[test]
    fn what_is_no_template_is_not_looked_at() {
        let broken = json!({"a.yaml": "sidecar: []"});
        assert_eq!(answer("CREATE", "false", &broken)["allowed"], true);
        assert_eq!(answer("DELETE", "true", &broken)["allowed"], true);
        let namespaces = json!({"a.yaml": "allowedNamespaces: {matchLabels: {a: b}}"});
        assert_eq!(answer("CREATE", "true", &namespaces)["allowed"], false);
    }
}
