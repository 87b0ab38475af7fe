//! Validation of template ConfigMaps before the API server stores them. It loads and lints their templates, so that an
//! invalid template is rejected and its author sees the place of the error. It also compares them with the catalog; what
//! they change there is found by `effect`.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::authoring::effect;
use crate::inject::authoring::lint::{self, LintLimits};
use crate::inject::catalog::Catalog;
use crate::inject::catalog::definitions::Definition;
use crate::inject::catalog::holder::{Holder, HolderId, not_read, template_name};
use crate::inject::catalog::sources::SourceRules;
use crate::inject::catalog::view::View;
use crate::inject::decision::reason::Reason;
use crate::inject::decision::{Decision, Verdict};
use crate::inject::diagnostic::{Diagnostic, Severity, Source, beginning, shown};
use crate::inject::expr::paths::Paths;
use crate::inject::review::{self, Request, ReviewError};
use crate::inject::settings::Settings;
use crate::inject::settings::keys::Keys;

/// Maximum length of a denial, in bytes.
const MAX_MESSAGE: usize = 4_000;
/// Maximum length of a warning, in characters; see the `Warning` header of the Kubernetes API.
const MAX_WARNING: usize = 240;
/// The creation time of a ConfigMap that does not have one yet.
const YOUNGEST: &str = "9999-12-31T23:59:59Z";
/// The parts of a ConfigMap that are read.
const READ: [&[&str]; 4] =
    [&["data"], &["metadata", "labels"], &["metadata", "name"], &["metadata", "creationTimestamp"]];

/// What is known of the templates in the ConfigMaps of a namespace.
#[derive(Clone, Copy, Debug)]
pub struct TemplatePlace<'c> {
    /// The rules for the templates.
    pub rules: SourceRules,
    /// The catalog to compare them with. `None` if it can be out of date, or does not contain the templates of the
    /// namespace.
    pub catalog: Option<&'c Catalog>,
}

/// Answers the AdmissionReview `body` of a ConfigMap that is created or updated. `place` returns what is known of a
/// namespace. Returns the response as JSON, and the decision.
///
/// # Errors
/// If the body is not an AdmissionReview.
pub fn config_map<'c>(
    body: &[u8],
    settings: &Settings,
    place: impl FnOnce(&str) -> TemplatePlace<'c>,
) -> Result<(Vec<u8>, Decision), ReviewError> {
    let request = Request::parse(body)?;
    let decision = decide(&request, &settings.keys, place(request.namespace.as_str()));
    let observed = settings.observe.then(|| Decision::unchanged(decision.reason));
    let body = review::response(request.version, request.uid.as_str(), observed.as_ref().unwrap_or(&decision));
    Ok((body, decision))
}

fn decide(request: &Request<'_>, keys: &Keys, place: TemplatePlace<'_>) -> Decision {
    let writes = matches!(request.subject.operation.as_str(), "CREATE" | "UPDATE");
    if !writes || request.subject.resource.as_str() != "configmaps" {
        return Decision::unchanged(Reason::NotAPodCreate);
    }
    let object = Paths::new(&READ.iter().map(|path| path.iter().map(ToString::to_string).collect()).collect());
    let object = object.read(request.document, request.at).unwrap_or_default();
    // Without the label the ConfigMap is not read, so it can contain anything.
    if object["metadata"]["labels"][keys.template.as_str()] != "true" {
        return Decision::unchanged(Reason::NotRequested);
    }
    let holder = holder(request.namespace.as_str(), &object["metadata"]);
    let Checked { mut errors, mut warnings, definitions } = check(&object["data"], keys, place.rules, &holder);
    let empty = Catalog::default();
    let view = match place.catalog {
        Some(catalog) if place.rules.of_namespace => View::of(catalog, request.namespace.as_str()),
        catalog => View::central(catalog.unwrap_or(&empty)),
    };
    let effect = effect::of(view, place.rules.of_namespace, &holder.id, definitions);
    errors.extend(effect.errors);
    warnings.extend(effect.warnings.iter().map(|warning| shown(warning, MAX_WARNING)));
    if errors.is_empty() {
        Decision { warnings, ..Decision::unchanged(Reason::ValidTemplate) }
    } else {
        denied(&errors)
    }
}

/// The ConfigMap as the holder of its templates. A ConfigMap without a creation time is the youngest.
fn holder(namespace: &str, metadata: &Json) -> Holder {
    let text = |key: &str| metadata[key].as_str();
    let created = text("creationTimestamp").unwrap_or(YOUNGEST).to_owned();
    let name = text("name").unwrap_or_default().to_owned();
    Holder { created, id: HolderId::ConfigMap { namespace: namespace.to_owned(), name } }
}

/// What the documents of a ConfigMap contain.
#[derive(Default)]
struct Checked {
    errors: Vec<Diagnostic>,
    warnings: Vec<String>,
    definitions: Vec<Definition>,
}

/// Loads and lints each document in the `data` of the ConfigMap `holder`.
fn check(data: &Json, keys: &Keys, rules: SourceRules, holder: &Holder) -> Checked {
    let mut checked = Checked::default();
    for (key, text) in data.as_object().into_iter().flatten() {
        let (Some(name), Some(text)) = (template_name(key), text.as_str()) else {
            checked.warnings.push(not_read(key));
            continue;
        };
        let place = format!("key {key}");
        let source = Source::new(&place, text);
        let limits = LintLimits { cluster: rules.cluster, ..LintLimits::default() };
        let (findings, template) = lint::template(&source, name, keys, &limits);
        for finding in findings {
            match finding.diagnostic.severity {
                Severity::Error => checked.errors.push(finding.diagnostic),
                Severity::Warning => {
                    let line = format!("{} [{}]", finding.diagnostic.one_line(), finding.rule);
                    checked.warnings.push(shown(&line, MAX_WARNING));
                }
            }
        }
        if let Some(template) = template {
            checked.errors.extend(rules.broken_by(&template, &place));
            let (template, holder) = (Arc::new(template), holder.clone());
            checked.definitions.push(Definition { template, holder, place, is_current: true });
        }
    }
    checked
}

fn denied(errors: &[Diagnostic]) -> Decision {
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
mod tests;
