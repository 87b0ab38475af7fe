//! Values of a parameter for trials of its template: the limits, every value of the enum, the shortest and the longest
//! string. The module does not know which pods get them.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::inject::template::parameter::{MAX_FREE, Parameter, ParameterType, ScalarType, plain};

/// Maximum length in bytes of a string that is made from a pattern.
const MAX_LENGTH: usize = 4_096;

impl Parameter {
    /// Different values that a pod can set. Each is a list of annotations: the name of the parameter, with `.KEY` for an
    /// entry of a map, and the text. A value that equals the default is left out.
    #[must_use]
    pub fn samples(&self) -> Vec<Vec<(String, String)>> {
        let (ParameterType::One(scalar) | ParameterType::List(scalar) | ParameterType::Map(scalar)) = self.kind;
        let mut texts: Vec<String> = Vec::new();
        for text in self.scalar_samples(scalar) {
            if self.parse(&text).is_ok() && !texts.contains(&text) {
                texts.push(text);
            }
        }
        let named = |text: &String| vec![(self.name.clone(), text.clone())];
        let mut samples: Vec<Vec<(String, String)>> = match self.kind {
            ParameterType::One(_) => texts.iter().map(named).collect(),
            ParameterType::List(_) => [String::new(), texts.join(", ")].iter().map(named).collect(),
            ParameterType::Map(_) => {
                let keys = ('a'..='z').map(|key| format!("{}.{key}", self.name));
                vec![keys.zip(texts).collect()]
            }
        };
        samples.retain(|sample| !sample.is_empty() && !self.is_default(sample));
        samples.dedup();
        samples
    }

    /// Returns true if a pod that does not set the parameter has the same value.
    fn is_default(&self, sample: &[(String, String)]) -> bool {
        !self.is_map() && sample.iter().all(|(_, text)| self.parse(text).is_ok_and(|value| value == self.default))
    }

    /// Texts for one value; some can be invalid.
    fn scalar_samples(&self, scalar: ScalarType) -> Vec<String> {
        let rules = &self.rules;
        if !rules.one_of.is_empty() {
            return rules.one_of.iter().map(plain).collect();
        }
        if scalar == ScalarType::Boolean {
            return vec!["true".to_owned(), "false".to_owned()];
        }
        if scalar == ScalarType::String {
            return self.string_samples();
        }
        let limits = [&rules.minimum, &rules.maximum].into_iter().flatten().map(|(_, text)| text.clone());
        let limits: Vec<String> = limits.collect();
        match scalar {
            _ if !limits.is_empty() => limits,
            // Without limits any value is as good as another, and the default is tried anyway.
            _ if !self.default.is_null() => Vec::new(),
            ScalarType::Duration => vec!["1s".to_owned()],
            _ => vec!["1".to_owned()],
        }
    }

    fn string_samples(&self) -> Vec<String> {
        let rules = &self.rules;
        let Some(pattern) = &rules.pattern else {
            let longest = rules.max_length.unwrap_or(MAX_FREE).min(MAX_FREE);
            return vec!["a".to_owned(), String::new(), "a".repeat(longest)];
        };
        let Ok(parsed) = regex_syntax::parse(pattern.as_str()) else { return Vec::new() };
        let matching = |is_long: bool| {
            let mut text = String::new();
            write_match(&parsed, is_long, &mut text).map(|()| text)
        };
        [matching(false), matching(true)].into_iter().flatten().collect()
    }
}

/// Adds a text that matches the expression: with as few repetitions as possible, or with as many as it bounds. `None`
/// if there is no such text.
fn write_match(expression: &Hir, is_long: bool, text: &mut String) -> Option<()> {
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(member(class)?),
        HirKind::Capture(capture) => write_match(&capture.sub, is_long, text)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write_match(part, is_long, text))?,
        HirKind::Alternation(parts) => write_match(parts.first()?, is_long, text)?,
        HirKind::Repetition(repetition) => {
            let longest = repetition.max.unwrap_or(repetition.min.max(1));
            for _ in 0..if is_long { longest } else { repetition.min } {
                write_match(&repetition.sub, is_long, text)?;
            }
        }
    }
    (text.len() <= MAX_LENGTH).then_some(())
}

/// A character of the class: a letter or a digit if it has any.
fn member(class: &Class) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.ranges().iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect(),
    };
    let preferred = ['a', 'A', '0', '1'].into_iter();
    let common = preferred.chain(' '..='~').find(|c| ranges.iter().any(|(from, to)| (from..=to).contains(&c)));
    common.or_else(|| ranges.first().map(|(from, _)| *from))
}

#[cfg(test)]
mod tests {
    use crate::inject::diagnostic::Source;
    use crate::inject::settings::keys::Keys;
    use crate::inject::template::Template;

    /// The samples of a parameter `p` with this declaration, each as `NAME=TEXT`.
    fn samples(declaration: &str) -> Vec<String> {
        let text = format!("parameters: {{p: {declaration}}}");
        let template = Template::load(&Source::new("t", &text), "t", &Keys::default()).expect(declaration).template;
        let samples = template.parameters[0].samples().into_iter();
        let shown =
            samples.map(|sample| sample.iter().map(|(name, text)| format!("{name}={text}")).collect::<Vec<_>>());
        shown.map(|sample| sample.join("; ")).collect()
    }

    #[test]
    fn samples_are_limits_and_listed_values() {
        for (declaration, expected) in [
            ("{type: string, enum: [error, debug], default: debug}", &["p=error"][..]),
            ("{type: boolean}", &["p=true", "p=false"]),
            ("{type: integer, default: 5, minimum: 1, maximum: 9}", &["p=1", "p=9"]),
            ("{type: quantity, default: 64Mi, maximum: 256Mi}", &["p=256Mi"]),
            ("{type: quantity, default: 64Mi}", &[]),
            ("{type: number}", &["p=1"]),
            ("{type: duration, required: true}", &["p=1s"]),
            ("{type: list, of: integer, minimum: 1, maximum: 3}", &["p=", "p=1, 3"]),
            ("{type: list, default: []}", &["p=a, , AAA"]),
            ("{type: map, enum: [v, w]}", &["p.a=v; p.b=w"]),
            ("{type: string, maxLength: 3, default: a}", &["p=", "p=aaa"]),
        ] {
            let expected: Vec<String> = expected.iter().map(|text| text.replace("AAA", &"a".repeat(253))).collect();
            assert_eq!(samples(declaration), expected, "{declaration}");
        }
    }

    #[test]
    fn samples_match_the_pattern() {
        for (pattern, expected) in [
            ("^[a-z]{1,4}$", &["p=a", "p=aaaa"][..]),
            ("^/[A-Za-z0-9/._-]*$", &["p=/", "p=/a"]),
            ("^(info|debug)$", &["p=info"]),
            (r"^\d+(\.\d+)?$", &["p=0", "p=0.0"]),
            ("^v?[1-9]$", &["p=1", "p=v1"]),
        ] {
            assert_eq!(samples(&format!("{{type: string, pattern: '{pattern}'}}")), expected, "{pattern}");
        }
    }
}
