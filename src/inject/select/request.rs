//! The grammar of the request annotation (`sidecar.io/inject`). This module parses one value. It does not depend on the
//! catalog or the rest of the pod.

use crate::inject::diagnostic::shown;
use crate::inject::kube::names::is_label;
use crate::inject::template::reference::{TemplateRef, is_version};

/// Maximum number of templates in one request.
pub const MAX_TEMPLATES: usize = 32;

/// A parsed request.
#[derive(Debug, PartialEq, Eq)]
pub enum Selection<'a> {
    /// The value is empty.
    Empty,
    /// The value is `false`.
    OptedOut,
    /// Templates and defaults, in the order of the request, without duplicates.
    Templates(Vec<RequestItem<'a>>),
}

/// One item of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestItem<'a> {
    /// A template, by its name and optional version.
    Named(TemplateRef<'a>),
    /// `true`: the default templates.
    Defaults,
}

/// The system that defines the annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The injector: `NAME@VERSION`.
    Own,
    /// Another system, where `NAME:VERSION` is equivalent.
    Foreign,
}

/// Parses a request: `value` is the value of the annotation `key`. An empty value and `false` are not lists.
///
/// # Errors
/// The first error in the request, a message that quotes the value and shows the grammar. It ends with a full stop.
pub fn parse<'a>(key: &str, value: &'a str, dialect: Dialect) -> Result<Selection<'a>, String> {
    let malformed = |problem: &str| malformed(key, value, problem);
    match value.trim_ascii() {
        "" => return Ok(Selection::Empty),
        "false" => return Ok(Selection::OptedOut),
        _ => {}
    }
    let mut items: Vec<RequestItem<'a>> = Vec::with_capacity(4);
    for text in value.split(',') {
        let item = parse_item(text.trim_ascii(), dialect).map_err(|problem| malformed(&problem))?;
        let same_name = |known: &&RequestItem<'a>| match (known, item) {
            (RequestItem::Named(one), RequestItem::Named(other)) => one.name == other.name,
            (known, item) => **known == item,
        };
        match (items.iter().find(same_name), item) {
            (None, _) => items.push(item),
            (Some(RequestItem::Named(seen)), RequestItem::Named(template)) if *seen != template => {
                let (one, other) = (version_or_none(*seen), version_or_none(template));
                return Err(malformed(&format!("{} is requested in two versions, {one} and {other}", template.name)));
            }
            _ => {}
        }
        if items.len() > MAX_TEMPLATES {
            return Err(malformed(&format!("at most {MAX_TEMPLATES} templates can be requested")));
        }
    }
    Ok(Selection::Templates(items))
}

fn version_or_none(template: TemplateRef<'_>) -> String {
    template.version.map_or_else(|| "none given".to_owned(), |version| format!("@{version}"))
}

fn parse_item(item: &str, dialect: Dialect) -> Result<RequestItem<'_>, String> {
    let separator = if dialect == Dialect::Foreign && !item.contains('@') { ':' } else { '@' };
    let (name, version) = match item.split_once(separator) {
        Some((name, version)) => (name, Some(version)),
        None => (item, None),
    };
    Err(match name {
        "" if item.is_empty() => "it has an empty item".to_owned(),
        "" => format!("\"{}\" has no name before the {separator}", shown(item, 80)),
        "true" if version.is_none() => return Ok(RequestItem::Defaults),
        "false" => "\"false\" cannot be part of a list".to_owned(),
        "true" | "enabled" | "yes" | "all" | "default" => format!("\"{name}\" is not a template; write \"true\""),
        "disabled" | "no" | "none" => format!("\"{name}\" is not a template; write \"false\""),
        name if !is_label(name) => format!("\"{}\" is not a valid template name", shown(name, 80)),
        _ => match version {
            Some("") => format!("\"{}\" has no version after the {separator}", shown(item, 80)),
            Some(version) if !is_version(version) => format!("\"{}\" is not a valid version", shown(version, 80)),
            _ => return Ok(RequestItem::Named(TemplateRef { name, version })),
        },
    })
}

fn malformed(key: &str, value: &str, problem: &str) -> String {
    format!(
        "{key} is \"{}\": {problem}. Use a list of names, each with an optional version \
         (\"fluent-bit, vault-agent@2\"), \"true\" for the defaults, or \"false\".",
        shown(value, 120)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Selection<'_>, String> {
        crate::inject::select::request::parse("sidecar.io/inject", value, Dialect::Own)
    }

    fn templates(value: &str) -> Vec<(&str, Option<&str>)> {
        let named = |item| match item {
            RequestItem::Named(template) => (template.name, template.version),
            RequestItem::Defaults => ("true", None),
        };
        match parse(value).expect("well formed") {
            Selection::Templates(list) => list.into_iter().map(named).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lists_with_blanks_versions_and_duplicates() {
        assert_eq!(
            templates(" fluent-bit ,vault-agent@2,\tfluent-bit"),
            [("fluent-bit", None), ("vault-agent", Some("2"))]
        );
        assert_eq!(templates("true, a, true"), [("true", None), ("a", None)]);
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
            ("a,false", "\"false\" cannot be part of a list"),
            ("a@1,a@2", "two versions, @1 and @2"),
            ("a,a@2", "two versions, none given and @2"),
            ("true@1", "write \"true\""),
            ("enabled", "write \"true\""),
            ("no", "write \"false\""),
            ("Fluent", "is not a valid template name"),
            ("-a", "is not a valid template name"),
            ("a b", "is not a valid template name"),
            ("a@", "no version after the @"),
            ("@1", "no name before the @"),
            ("a@-1", "\"-1\" is not a valid version"),
            ("a\nb", "\"a\\nb\" is not a valid template name"),
            ("ä", "is not a valid template name"),
            ("a:1", "is not a valid template name"),
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
