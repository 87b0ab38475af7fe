//! The values of a template's parameters for one pod, from the pod's annotations. This module does not depend on the
//! rest of the template.

use serde_json::{Map, Value as Json};

use crate::inject::diagnostic::{nearest, shown};
use crate::inject::review::pod::{Metadata, StringMap};
use crate::inject::settings::keys::Keys;
use crate::inject::template::parameter::{Parameter, free};

/// The values of all parameters of `template` for a pod, as a JSON object: each from the pod's annotations, else the
/// default, else null.
///
/// # Errors
/// Every annotation that is not valid and every required value that is missing, each a sentence without full stop.
pub(crate) fn values(
    keys: &Keys,
    template: &str,
    parameters: &[Parameter],
    metadata: &Metadata<'_>,
) -> Result<Json, Vec<String>> {
    let mut values: Map<String, Json> =
        parameters.iter().map(|parameter| (parameter.name.clone(), parameter.default.clone())).collect();
    let mut problems = Vec::new();
    let annotations = metadata.annotations.iter().flat_map(StringMap::iter);
    let ours: Vec<(&str, &str, &str)> =
        annotations.filter_map(|(key, text)| Some((key, keys.parameter_of(template, key)?, text))).collect();
    // The entries of a map that a pod sets replace the whole default.
    for parameter in parameters.iter().filter(|parameter| parameter.is_map()) {
        if ours.iter().any(|(_, name, _)| name.split_once('.').is_some_and(|(word, _)| word == parameter.name)) {
            values.insert(parameter.name.clone(), Json::Object(Map::new()));
        }
    }
    for (key, name, text) in ours {
        if let Err(why) = set(parameters, &mut values, name, text) {
            problems.push(format!("{} is \"{}\": {why}", shown(key, 140), shown(text, 80)));
        }
    }
    for parameter in parameters.iter().filter(|parameter| parameter.required) {
        if values.get(&parameter.name).is_none_or(Json::is_null) {
            let key = keys.parameter(template, &parameter.name);
            let kind = article(&parameter.kind_in_words());
            problems.push(format!("the annotation {key} is missing; it must be {kind}"));
        }
    }
    if problems.is_empty() { Ok(Json::Object(values)) } else { Err(problems) }
}

fn article(kind: &str) -> String {
    let an = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if an { "an" } else { "a" })
}

/// Adds the value of one annotation to `values`. `name` is `PARAMETER`, or `PARAMETER.KEY` for a map.
///
/// # Errors
/// The cause why the annotation is not valid, a sentence without full stop.
fn set(parameters: &[Parameter], values: &mut Map<String, Json>, name: &str, text: &str) -> Result<(), String> {
    let (word, key) = name.split_once('.').map_or((name, None), |(word, key)| (word, Some(key)));
    let Some(parameter) = parameters.iter().find(|parameter| parameter.name == word) else {
        let hint = match nearest(word, parameters.iter().map(|parameter| parameter.name.as_str())) {
            Some(known) => format!("did you mean {known}?"),
            None if parameters.is_empty() => "it declares none".to_owned(),
            None => {
                let names: Vec<&str> = parameters.iter().take(10).map(|parameter| parameter.name.as_str()).collect();
                format!("it declares {}", names.join(", "))
            }
        };
        return Err(format!("the template has no such parameter; {hint}"));
    };
    match (parameter.is_map(), key) {
        (true, None) => Err(format!("it is a map; write one annotation for each key, {word}.KEY")),
        (false, Some(_)) => Err(format!("{word} is not a map, so it cannot have a key")),
        (true, Some(key)) => {
            free(key)?;
            let value = parameter.parse(text)?;
            if let Some(Json::Object(map)) = values.get_mut(word) {
                map.insert(key.to_owned(), value);
            }
            Ok(())
        }
        (false, None) => {
            values.insert(word.to_owned(), parameter.parse(text)?);
            Ok(())
        }
    }
}
