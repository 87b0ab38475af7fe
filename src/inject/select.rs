//! What a pod asks for: the grammar of the request annotation (`sidecar.io/inject`). It reads one
//! value and knows neither the catalog nor the rest of the pod.

use super::diagnostic::shown;
use super::syntax::is_label;

/// The annotation that asks for templates.
pub const REQUEST: &str = "sidecar.io/inject";
/// The kubelet's mark of a mirror pod; changing its spec makes the kubelet delete it.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// Most templates in one request.
pub const MAX_TEMPLATES: usize = 32;
/// Longest name of a template (a DNS-1123 label) and longest version.
const MAX_WORD: usize = 63;
/// Words that cannot name a template since they read like a choice.
pub const RESERVED: [&str; 9] = ["true", "false", "all", "none", "default", "enabled", "disabled", "yes", "no"];

/// One template asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// The version after `@`, if given.
    pub version: Option<&'a str>,
}

/// What a request says.
#[derive(Debug, PartialEq, Eq)]
pub enum Selection<'a> {
    /// Nothing: the value is empty.
    Empty,
    /// `false`.
    OptedOut,
    /// These templates, in this order, without duplicates.
    Templates(Vec<TemplateRef<'a>>),
}

/// Reads the value of the request annotation.
///
/// # Errors
/// What is wrong with it, as the first half of a message: the value is quoted, the grammar is shown.
pub fn parse(value: &str) -> Result<Selection<'_>, String> {
    match value.trim_ascii() {
        "" => return Ok(Selection::Empty),
        "false" => return Ok(Selection::OptedOut),
        _ => {}
    }
    let mut templates: Vec<TemplateRef<'_>> = Vec::with_capacity(4);
    for item in value.split(',') {
        let template = parse_item(value, item.trim_ascii())?;
        match templates.iter().find(|seen| seen.name == template.name) {
            None => templates.push(template),
            Some(seen) if *seen == template => {}
            Some(seen) => {
                let (one, other) = (version_or_none(*seen), version_or_none(template));
                return Err(malformed(
                    value,
                    &format!("{} is asked for in two versions, {one} and {other}", template.name),
                ));
            }
        }
        if templates.len() > MAX_TEMPLATES {
            return Err(malformed(value, &format!("at most {MAX_TEMPLATES} templates can be asked for")));
        }
    }
    Ok(Selection::Templates(templates))
}

fn version_or_none(template: TemplateRef<'_>) -> String {
    template.version.map_or_else(|| "none given".to_owned(), |version| format!("@{version}"))
}

fn parse_item<'a>(value: &str, item: &'a str) -> Result<TemplateRef<'a>, String> {
    let (name, version) = match item.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (item, None),
    };
    let problem = match name {
        "" if item.is_empty() => "it has an empty item".to_owned(),
        "" => format!("\"{}\" has no name before the @", shown(item, 80)),
        "true" => "\"true\" (the default templates) is not supported yet".to_owned(),
        "false" => "\"false\" cannot stand in a list".to_owned(),
        "enabled" | "yes" | "all" | "default" => format!("\"{name}\" is not a template; write \"true\""),
        "disabled" | "no" | "none" => format!("\"{name}\" is not a template; write \"false\""),
        name if !is_label(name) => format!("\"{}\" is no name of a template", shown(name, 80)),
        _ => match version {
            Some("") => format!("\"{}\" has no version after the @", shown(item, 80)),
            Some(version) if !is_version(version) => format!("\"{}\" is no version", shown(version, 80)),
            _ => return Ok(TemplateRef { name, version }),
        },
    };
    Err(malformed(value, &problem))
}

fn malformed(value: &str, problem: &str) -> String {
    format!(
        "{REQUEST} is \"{}\": {problem}. It is a list of names, each with an optional version (\"fluent-bit, vault-agent@2\"), or \"false\".",
        shown(value, 120)
    )
}

/// Whether `version` is `[A-Za-z0-9][-._A-Za-z0-9]{0,62}`.
#[must_use]
pub fn is_version(version: &str) -> bool {
    let bytes = version.as_bytes();
    (1..=MAX_WORD).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(value: &str) -> Vec<(&str, Option<&str>)> {
        match parse(value).expect("well formed") {
            Selection::Templates(list) => list.into_iter().map(|t| (t.name, t.version)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lists_with_blanks_versions_and_duplicates() {
        assert_eq!(
            templates(" fluent-bit ,vault-agent@2,\tfluent-bit"),
            [("fluent-bit", None), ("vault-agent", Some("2"))]
        );
        assert_eq!(templates("a@1.2.3-rc_1"), [("a", Some("1.2.3-rc_1"))]);
    }

    #[test]
    fn empty_and_false() {
        assert_eq!(parse("  ").expect("ok"), Selection::Empty);
        assert_eq!(parse(" false ").expect("ok"), Selection::OptedOut);
    }

    #[test]
    fn malformed_requests_quote_the_value_and_show_the_grammar() {
        for (value, problem) in [
            ("a,,b", "an empty item"),
            ("a,", "an empty item"),
            ("a,false", "\"false\" cannot stand in a list"),
            ("a@1,a@2", "two versions, @1 and @2"),
            ("a,a@2", "two versions, none given and @2"),
            ("true", "not supported yet"),
            ("enabled", "write \"true\""),
            ("no", "write \"false\""),
            ("Fluent", "is no name of a template"),
            ("-a", "is no name"),
            ("a b", "is no name"),
            ("a@", "no version after the @"),
            ("@1", "no name before the @"),
            ("a@-1", "\"-1\" is no version"),
            ("a\nb", "\"a\\nb\" is no name"),
            ("ä", "is no name"),
            ("a:1", "is no name"),
        ] {
            let error = parse(value).expect_err(value);
            assert!(error.contains(problem), "{value:?}: {error}");
            assert!(error.contains("fluent-bit, vault-agent@2"), "{error}");
        }
        let many = (0..33).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",");
        assert!(parse(&many).expect_err("too many").contains("at most 32"));
        assert!(parse(&"x".repeat(100_000)).expect_err("too long").len() < 500);
    }
}
