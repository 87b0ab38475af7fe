//! `lint`: what is wrong, or will hurt, in templates and in manifests that ask for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::commands::Failure;
use crate::commands::common::manifests::{self, Document};
use crate::commands::common::settings::{KeysArgs, LevelArg};
use crate::inject::authoring::lint::{self, Finding, Limits, RULES};
use crate::inject::catalog::sources::{SourceRules, Sources};
use crate::inject::diagnostic::{Diagnostic, Severity, nearest};
use crate::inject::kube::quantity::quantity;
use crate::inject::review::pod::Pod;
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;
use crate::inject::template::pod_security::Profile;
use crate::manifest::template_files;
use crate::manifest::workload::{PodTemplate, pod_templates};

/// Arguments of `lint`.
#[derive(Args, Debug)]
pub(super) struct LintArgs {
    /// File or folder of templates (repeatable)
    #[arg(
        long,
        value_name = "PATH",
        env = "SIDECAR_INJECTOR_TEMPLATES",
        value_delimiter = ',',
        required_unless_present = "explain"
    )]
    templates: Vec<PathBuf>,
    /// Manifests that ask for templates, or - for stdin (repeatable)
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The level of the Pod Security Standards that templates should keep to
    #[arg(long, value_enum, default_value_t = LevelArg::Baseline)]
    pod_security: LevelArg,
    #[command(flatten)]
    keys: KeysArgs,
    /// Explain a rule, or all of them
    #[arg(long, value_name = "RULE", num_args = 0..=1, default_missing_value = "all")]
    explain: Option<String>,
    /// How findings are written
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// The least that makes the command fail
    #[arg(long, value_enum, default_value_t = FailOn::Error)]
    fail_on: FailOn,
    /// Most containers that one template may add
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    max_sidecars: usize,
    /// Most that the containers of one template may request together, e.g. cpu=100m,memory=128Mi
    #[arg(long, value_name = "RESOURCE=QUANTITY", value_delimiter = ',')]
    budget: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people, with the place
    Text,
    /// One JSON document
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Error,
    Warning,
}

/// Runs the command.
pub(super) fn run(args: &LintArgs) -> Result<(), Failure> {
    if let Some(id) = &args.explain {
        return explain(id);
    }
    if let Some(path) = args.templates.iter().find(|path| !path.exists()) {
        return Err(Failure::Io(anyhow!("{}: no such file or folder", path.display())));
    }
    let limits = Limits {
        max_sidecars: args.max_sidecars,
        budget: budget(&args.budget)?,
        pod_security: args.pod_security.into(),
    };
    let files = template_files::read_files(&args.templates);
    let (mut findings, templates) = templates_of(&files, &args.keys.keys, &limits);
    findings.extend(manifests_of(&args.files, &files, &args.keys.keys)?);
    findings.sort_by(|one, other| place(one).cmp(&place(other)));
    match args.output {
        Output::Text => print!("{}", as_text(&findings)),
        Output::Json => println!("{}", pretty(&Value::Array(findings.iter().map(as_json).collect()))),
        Output::Sarif => println!("{}", pretty(&as_sarif(&findings))),
    }
    let of = |severity| findings.iter().filter(|finding| finding.diagnostic.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let summary =
        format!("templates: {}{}, errors: {errors}, warnings: {warnings}", templates.len(), levels(&templates));
    if errors > 0 || warnings > 0 && args.fail_on == FailOn::Warning {
        return Err(Failure::Found(summary));
    }
    eprintln!("{summary}");
    Ok(())
}

/// How many templates keep to which level of the Pod Security Standards.
fn levels(templates: &[(String, Template)]) -> String {
    let level = |template: &Template| {
        let within = |profile: &Profile| template.beyond(*profile).is_none();
        [Profile::Restricted, Profile::Baseline].into_iter().find(within).unwrap_or(Profile::Privileged)
    };
    let of = |profile| templates.iter().filter(|(_, template)| level(template) == profile).count();
    let counts = [Profile::Restricted, Profile::Baseline, Profile::Privileged].map(|profile| (of(profile), profile));
    let shown: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, profile)| format!("{count} {}", profile.as_str()))
        .collect();
    if shown.is_empty() { String::new() } else { format!(" ({})", shown.join(", ")) }
}

fn explain(id: &str) -> Result<(), Failure> {
    let wanted: Vec<_> = RULES.iter().filter(|rule| id == "all" || rule.id == id).collect();
    if wanted.is_empty() {
        let known = nearest(id, RULES.iter().map(|rule| rule.id));
        let hint = known.map(|known| format!("; did you mean {known}?")).unwrap_or_default();
        return Err(Failure::Usage(format!("there is no rule {id}{hint}")));
    }
    for (index, rule) in wanted.into_iter().enumerate() {
        let break_before = if index > 0 { "\n" } else { "" };
        println!("{break_before}{} ({})\n{}", rule.id, severity(rule.severity), rule.explanation);
    }
    Ok(())
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn budget(items: &[String]) -> Result<BTreeMap<String, i128>, Failure> {
    let pair = |item: &String| {
        let (name, text) = item.split_once('=')?;
        Some((name.to_owned(), quantity(text)?))
    };
    let wrong = |item: &String| Failure::Usage(format!("--budget {item}: write RESOURCE=QUANTITY, e.g. cpu=100m"));
    items.iter().map(|item| pair(item).ok_or_else(|| wrong(item))).collect()
}

/// The findings of all templates, and the templates with their origins.
fn templates_of(
    files: &[template_files::TemplateFile],
    keys: &Keys,
    limits: &Limits,
) -> (Vec<Finding>, Vec<(String, Template)>) {
    let (mut findings, mut templates) = (Vec::new(), Vec::new());
    let of_file = |rule, diagnostic| Finding::new(rule, diagnostic, "");
    for file in files {
        let found = template_files::found(file, keys);
        findings.extend(found.errors.into_iter().map(|error| of_file("invalid", error)));
        findings.extend(found.warnings.into_iter().map(|warning| of_file("wrong-place", warning)));
        for text in found.texts {
            let (of_template, template) = lint::template(&text.source(), &text.default_name, keys, limits);
            findings.extend(of_template);
            templates.extend(template.map(|template| (text.origin.clone(), template)));
        }
    }
    let all: Vec<(String, &Template)> = templates.iter().map(|(origin, template)| (origin.clone(), template)).collect();
    findings.extend(lint::across(&all));
    (findings, templates)
}

/// What is wrong with the annotations of manifests.
fn manifests_of(
    paths: &[PathBuf],
    files: &[template_files::TemplateFile],
    keys: &Keys,
) -> Result<Vec<Finding>, Failure> {
    let mut sources = Sources::with_rules(SourceRules::default(), keys.clone());
    template_files::load(files, &mut sources);
    let catalog = sources.catalog().catalog;
    let (mut findings, mut problems) = (Vec::new(), String::new());
    for path in manifests::files(paths)? {
        let file = manifests::read(&path).map_err(Failure::Io)?;
        for document in manifests::documents(&file, &mut problems) {
            for pod in pod_templates(&document.value) {
                let origin = format!("{}: {}", file.name, manifests::describe(&document.value, &pod));
                let mut find = |rule, message: String| {
                    findings.push(Finding::new(rule, Diagnostic::of_document(&origin, message), ""));
                };
                for message in misplaced(&document, &pod, keys) {
                    find("wrong-place", message);
                }
                let metadata = pod_metadata(&document, &pod);
                let request = metadata["annotations"][&keys.request].as_str();
                for message in request.iter().flat_map(|request| lint::request(&keys.request, request, &catalog)) {
                    find("no-template", message);
                }
                let text = json!({"metadata": metadata}).to_string();
                match Pod::parse(&text).metadata {
                    Ok(metadata) => {
                        for message in lint::parameters(&metadata, request, &catalog, keys) {
                            find("no-parameter", message);
                        }
                    }
                    Err(why) => find("wrong-place", format!("no API server takes this: {why}")),
                }
            }
        }
    }
    if problems.is_empty() { Ok(findings) } else { Err(Failure::Found(problems)) }
}

fn pod_metadata(document: &Document<'_>, pod: &PodTemplate) -> Value {
    document.value.pointer(&format!("{}/metadata", pod.embedding.pointer)).cloned().unwrap_or_default()
}

/// Our keys where they have no effect: on the workload, as labels, or with a slip.
fn misplaced(document: &Document<'_>, pod: &PodTemplate, keys: &Keys) -> Vec<String> {
    let request = keys.request.as_str();
    let wrong = manifests::on_the_wrong_object(&document.value, pod, request);
    let mut found: Vec<String> = wrong.into_iter().collect();
    let written = |metadata: &Value, part: &str| -> Vec<String> {
        metadata[part].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let is_ours = |key: &String| keys.is_own(key) || keys.as_parameter(key).is_some();
    let metadata = pod_metadata(document, pod);
    let object = document.value.pointer(&pod.object).map(|object| object["metadata"].clone()).unwrap_or_default();
    let is_workload = pod.object != pod.embedding.pointer;
    for key in written(&metadata, "labels").iter().filter(|key| is_ours(key) && keys.template != **key) {
        found.push(format!("{key} is a label, which does nothing; make it an annotation"));
    }
    for key in written(&object, "labels").iter().filter(|key| is_workload && is_ours(key)) {
        found.push(format!("{key} is a label of the workload; make it an annotation of the pod template"));
    }
    for key in written(&object, "annotations").iter().filter(|key| is_workload && keys.as_parameter(key).is_some()) {
        found.push(format!("{key} has no effect there; move it to the pod template's annotations"));
    }
    let known = [&keys.request, &keys.status, &keys.trace];
    for key in written(&metadata, "annotations") {
        if known.contains(&&key) || keys.as_parameter(&key).is_some() {
            continue;
        }
        if let Some(hint) = nearest(&key, known.map(String::as_str)) {
            found.push(format!("the annotation {key} does nothing; did you mean {hint}?"));
        }
    }
    found
}

fn place(finding: &Finding) -> (String, usize, usize, &'static str) {
    let diagnostic = &finding.diagnostic;
    (diagnostic.origin.clone(), diagnostic.line, diagnostic.column, finding.rule)
}

fn as_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let shown = finding.diagnostic.to_string();
        let kind = severity(finding.diagnostic.severity);
        let rest = shown.strip_prefix(kind).unwrap_or(&shown);
        let _ = writeln!(text, "{kind}[{}]{rest}\n", finding.rule);
    }
    text
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn as_json(finding: &Finding) -> Value {
    let diagnostic = &finding.diagnostic;
    json!({
        "rule": finding.rule,
        "severity": severity(diagnostic.severity),
        "template": finding.template,
        "origin": diagnostic.origin,
        "line": diagnostic.line,
        "column": diagnostic.column,
        "message": diagnostic.message,
        "help": diagnostic.help,
    })
}

fn as_sarif(findings: &[Finding]) -> Value {
    let rule = |rule: &lint::Rule| {
        json!({
            "id": rule.id,
            "fullDescription": {"text": rule.explanation},
            "defaultConfiguration": {"level": severity(rule.severity)},
        })
    };
    let result = |finding: &Finding| {
        let diagnostic = &finding.diagnostic;
        let region = json!({"startLine": diagnostic.line.max(1), "startColumn": diagnostic.column.max(1)});
        json!({
            "ruleId": finding.rule,
            "level": severity(diagnostic.severity),
            "message": {"text": diagnostic.message},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": diagnostic.origin}, "region": region}}],
        })
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "sidecar-injector", "version": env!("CARGO_PKG_VERSION"),
                "rules": RULES.iter().map(rule).collect::<Vec<_>>(),
            }},
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}
