//! `lint`: checks templates, and manifests that request them.

mod dry_run;
mod output;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::commands::common::manifests;
use crate::commands::common::settings::{KeysArgs, KubernetesArgs, LevelArg};
use crate::commands::failure::Failure;
use crate::commands::lint::dry_run::{DryRunArgs, DryRunReport};
use crate::inject::authoring::lint::{self, Finding, INVALID, LintLimits, ManifestPod, RULES, WRONG_PLACE};
use crate::inject::catalog::Catalog;
use crate::inject::catalog::holder::TemplateText;
use crate::inject::catalog::sources::{SourceRules, Sources};
use crate::inject::diagnostic::{Diagnostic, Severity, nearest};
use crate::inject::kube::quantity::quantity;
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;
use crate::inject::template::pod_security::Profile;
use crate::manifest::template_files;
use crate::manifest::workload::pod_templates;

/// Arguments of `lint`.
#[derive(Args, Debug)]
pub(super) struct LintArgs {
    /// File or folder with templates (repeatable)
    #[arg(
        long,
        value_name = "PATH",
        env = "SIDECAR_INJECTOR_TEMPLATES",
        value_delimiter = ',',
        required_unless_present = "explain"
    )]
    templates: Vec<PathBuf>,
    /// File or folder with manifests that request templates, or - for stdin (repeatable)
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Level of the Pod Security Standards to check templates against
    #[arg(long, value_enum, default_value_t = LevelArg::Baseline)]
    pod_security: LevelArg,
    #[command(flatten)]
    keys: KeysArgs,
    /// Explain a rule; without a rule, explain all
    #[arg(long, value_name = "RULE", num_args = 0..=1, default_missing_value = "all")]
    explain: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = LintOutput::Text)]
    output: LintOutput,
    /// Lowest severity that makes the command fail
    #[arg(long, value_enum, default_value_t = FailOn::Error)]
    fail_on: FailOn,
    /// Maximum number of containers that one template can add
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    max_sidecars: usize,
    /// Maximum that the containers of one template can request together, e.g. cpu=100m,memory=128Mi
    #[arg(long, value_name = "RESOURCE=QUANTITY", value_delimiter = ',')]
    budget: Vec<String>,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
    #[command(flatten)]
    dry_run: DryRunArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LintOutput {
    /// Text with the place of each finding
    Text,
    /// A JSON list of findings
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
    if let Some(path) = args.templates.iter().chain(&args.dry_run.values).find(|path| !path.exists()) {
        return Err(Failure::Io(anyhow!("{}: no such file or folder", path.display())));
    }
    let limits = LintLimits {
        max_sidecars: args.max_sidecars,
        budget: budget(&args.budget)?,
        pod_security: args.pod_security.into(),
        cluster: args.kubernetes.kubernetes,
    };
    let files = template_files::read_files(&args.templates);
    let (mut findings, templates) = templates_of(&files, &args.keys.keys, &limits);
    let catalog = catalog_of(&files, args.kubernetes.rules(), &args.keys.keys);
    findings.extend(manifests_of(&args.files, &catalog, &args.keys.keys)?);
    let (report, failure) = match dry_run::run(&args.dry_run, args.kubernetes.kubernetes, &args.keys.keys, &templates) {
        Ok(report) => (report, None),
        // The other findings are printed anyway, so that one run reports all problems.
        Err(failure @ Failure::Io(_)) => (DryRunReport::default(), Some(failure)),
        Err(failure) => return Err(failure),
    };
    findings.extend(report.findings);
    findings.sort_by(|one, other| place(one).cmp(&place(other)));
    print(&findings, args.output);
    for note in lint::notes(&catalog).into_iter().chain(report.notes) {
        eprintln!("note: {note}");
    }
    let summary = summary(&findings, &templates) + &report.summary;
    let fails = |finding: &Finding| finding.diagnostic.severity == Severity::Error || args.fail_on == FailOn::Warning;
    if failure.is_none() && findings.iter().any(fails) {
        return Err(Failure::Found(summary));
    }
    eprintln!("{summary}");
    failure.map_or(Ok(()), Err)
}

fn print(findings: &[Finding], output: LintOutput) {
    match output {
        LintOutput::Text => print!("{}", output::as_text(findings)),
        LintOutput::Json => println!("{}", output::as_json(findings)),
        LintOutput::Sarif => println!("{}", output::as_sarif(findings)),
    }
}

/// The numbers of templates and findings.
fn summary(findings: &[Finding], templates: &[(TemplateText, Arc<Template>)]) -> String {
    let of = |severity| findings.iter().filter(|finding| finding.diagnostic.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    format!("templates: {}{}, errors: {errors}, warnings: {warnings}", templates.len(), levels(templates))
}

/// The number of templates at each level of the Pod Security Standards, such as ` (1 restricted, 2 baseline)`.
fn levels(templates: &[(TemplateText, Arc<Template>)]) -> String {
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
        println!("{break_before}{} ({})\n{}", rule.id, output::word(rule.severity), rule.explanation);
    }
    Ok(())
}

fn budget(items: &[String]) -> Result<BTreeMap<String, i128>, Failure> {
    let pair = |item: &String| {
        let (name, text) = item.split_once('=')?;
        Some((name.to_owned(), quantity(text)?))
    };
    let wrong = |item: &String| Failure::Usage(format!("--budget {item}: write RESOURCE=QUANTITY, e.g. cpu=100m"));
    items.iter().map(|item| pair(item).ok_or_else(|| wrong(item))).collect()
}

/// Returns the findings in all templates, and the templates that loaded, each with its document.
fn templates_of(
    files: &[template_files::TemplateFile],
    keys: &Keys,
    limits: &LintLimits,
) -> (Vec<Finding>, Vec<(TemplateText, Arc<Template>)>) {
    let (mut findings, mut templates) = (Vec::new(), Vec::new());
    let of_file = |rule, diagnostic| Finding::new(rule, diagnostic, "");
    for file in files {
        let found = template_files::found(file, keys);
        findings.extend(found.errors.into_iter().map(|error| of_file(&INVALID, error)));
        findings.extend(found.warnings.into_iter().map(|warning| of_file(&WRONG_PLACE, warning)));
        for text in found.texts {
            let (of_template, template) = lint::template(&text.source(), &text.default_name, keys, limits);
            findings.extend(of_template);
            templates.extend(template.map(|template| (text, Arc::new(template))));
        }
    }
    let all: Vec<(&TemplateText, &Template)> = templates.iter().map(|(text, template)| (text, &**template)).collect();
    findings.extend(lint::across(&all));
    (findings, templates)
}

/// Returns the catalog of the templates.
fn catalog_of(files: &[template_files::TemplateFile], rules: SourceRules, keys: &Keys) -> Catalog {
    let mut sources = Sources::with_rules(rules, keys.clone());
    template_files::load(files, &mut sources);
    sources.catalog().catalog
}

/// Returns the findings in the annotations and labels of manifests.
fn manifests_of(paths: &[PathBuf], catalog: &Catalog, keys: &Keys) -> Result<Vec<Finding>, Failure> {
    let (mut findings, mut problems) = (Vec::new(), String::new());
    for path in manifests::files(paths)? {
        let file = manifests::read(&path).map_err(Failure::Io)?;
        for document in manifests::documents(&file, &mut problems) {
            for pod in pod_templates(&document.value) {
                let origin = format!("{}: {}", file.name, manifests::describe(&document.value, &pod));
                let elsewhere = manifests::on_the_wrong_object(&document.value, &pod, &keys.request);
                let elsewhere = elsewhere.map(|message| Diagnostic::of_document(&origin, message));
                findings.extend(elsewhere.map(|diagnostic| Finding::new(&WRONG_PLACE, diagnostic, "")));
                let at = |pointer: &str| document.value.pointer(&format!("{pointer}/metadata")).unwrap_or(&Value::Null);
                findings.extend(lint::manifest(&ManifestPod {
                    origin: &origin,
                    metadata: at(&pod.embedding.pointer),
                    workload: (pod.object != pod.embedding.pointer).then(|| at(&pod.object)),
                    catalog,
                    keys,
                }));
            }
        }
    }
    if problems.is_empty() { Ok(findings) } else { Err(Failure::Found(problems)) }
}

fn place(finding: &Finding) -> (String, usize, usize, &'static str) {
    let diagnostic = &finding.diagnostic;
    (diagnostic.origin.clone(), diagnostic.line, diagnostic.column, finding.rule)
}
