//! Evaluates an expression of unknown type on sample pods, when its template is loaded: a minimal pod, a pod of a
//! Deployment with all common fields, a pod of a Job, and a Windows pod (`samples.json`). The module does not know
//! types.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value as Json, json};

use crate::inject::cluster_version::NEWEST;
use crate::inject::expr::messages::MISSING;
use crate::inject::expr::{Expression, ExpressionError, Roots, Scope, Vocabulary};

static PODS: LazyLock<Vec<Json>> =
    LazyLock::new(|| serde_json::from_str(include_str!("samples.json")).unwrap_or_default());

/// The warning about an expression that fails on every sample. `is_condition` is true if the result must be a boolean.
/// `None` if a sample has a result, or if the expression reads a value that is not known yet. A missing member does
/// not count: pods can have it, and a condition can guard the expression.
pub(super) fn failure(expression: &Expression, names: &Vocabulary<'_>, is_condition: bool) -> Option<ExpressionError> {
    let params = known_parameters(expression, names)?;
    let request = json!({"namespace": "default", "operation": "CREATE", "dryRun": false});
    let mut reason = None;
    for pod in PODS.iter() {
        let (values, namespace) = (&Json::Null, &Json::Null);
        let roots = Roots { object: pod, request: &request, params: &params, values, namespace, cluster: Some(NEWEST) };
        let scope = Scope::new(&roots, names.variables);
        let containers = pod["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let count = if expression.reads.container { containers.len() } else { 1 };
        for container in containers.iter().take(count) {
            let scope = if expression.reads.container { scope.with_container(container) } else { scope.clone() };
            let outcome =
                if is_condition { scope.holds(expression).map(drop) } else { scope.evaluate(expression).map(drop) };
            let why = outcome.err()?;
            if !why.contains(MISSING) {
                reason = Some(why);
            }
        }
    }
    let help = "the samples are a minimal pod, and pods of a Deployment, of a Job and of Windows";
    Some(ExpressionError::new(format!("{}, on each of four sample pods", reason?), help))
}

/// The defaults of the parameters. `None` if the expression reads a parameter without a default, a shared value, the
/// namespace or a broken variable, also by way of variables.
fn known_parameters(expression: &Expression, names: &Vocabulary<'_>) -> Option<Json> {
    let (mut pending, mut seen) = (vec![expression], BTreeSet::new());
    while let Some(next) = pending.pop() {
        let reads = &next.reads;
        let is_known = |name: &String| {
            names.parameters.iter().any(|parameter| parameter.name == name && !parameter.default.is_null())
        };
        if next.is_broken()
            || reads.all_values
            || reads.namespace
            || !reads.values.is_empty()
            || !reads.parameters.iter().all(is_known)
        {
            return None;
        }
        for (name, variable) in names.variables {
            if reads.variables.contains(name) && seen.insert(name) {
                pending.push(variable);
            }
        }
    }
    let pairs = names.parameters.iter().map(|parameter| (parameter.name.to_owned(), parameter.default.clone()));
    Some(Json::Object(pairs.collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::expr::DeclaredParameter;
    use crate::inject::expr::types::Type;
    use crate::inject::kube::schema::objects;

    fn warnings(source: &str, is_condition: bool) -> Vec<ExpressionError> {
        let default = |name, default| DeclaredParameter { name, kind: Type::Int, default };
        let (one, null) = (json!(1), Json::Null);
        let parameters = [default("n", &one), default("unset", &null)];
        let names =
            Vocabulary { parameters: &parameters, container: true, objects: objects(), ..Vocabulary::default() };
        let compile = if is_condition { Expression::condition } else { Expression::compile };
        compile(source, &names).expect(source).warnings
    }

    #[test]
    fn the_samples_are_four_pods() {
        assert_eq!(PODS.len(), 4);
        assert!(PODS.iter().all(|pod| pod["spec"]["containers"][0]["image"].is_string()));
    }

    #[test]
    fn what_fails_on_every_sample_is_a_warning() {
        for (source, is_condition, why) in [
            ("dyn(params.n) + 'a'", false, "its operands have incompatible types"),
            ("object.spec.containers[0].resources.limits.memory + 1", false, "`+` does not work with string and int"),
            ("container.resources.limits.memory + 1", false, "`+` does not work with string and int"),
            ("dyn('a')", true, "a condition must be true or false, not string"),
        ] {
            let found = warnings(source, is_condition);
            let [warning] = &found[..] else { panic!("{source}: {found:?}") };
            assert!(warning.message.contains(why) && warning.message.ends_with("sample pods"), "{}", warning.message);
        }
    }

    #[test]
    fn a_broken_variable_is_not_evaluated() {
        let variables = [("bad".to_owned(), Expression::broken())];
        let names = Vocabulary { variables: &variables, ..Vocabulary::default() };
        assert_eq!(Expression::compile("variables.bad + 1", &names).expect("compiles").warnings, []);
    }

    #[test]
    fn what_can_have_a_result_is_not() {
        for source in [
            "object.spec.containers[0].resources.limits.memory",
            "object.spec.containers[0].resources.limits['example.com/gpu']",
            "dyn(values.X) + 1",
            "dyn(params.unset) + 'a'",
            "dyn(namespaceObject.metadata.labels) + 1",
            "get(object, 'spec.newField', 1)",
        ] {
            assert_eq!(warnings(source, false), [], "{source}");
        }
    }
}
