//! Evaluates the expressions of one template for one request. The module owns the variables that expressions can read,
//! and the limits on their cost. It does not know how the results are used.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kube_cel::cel::objects::Key;
use kube_cel::cel::{Context, Value};
use serde_json::{Value as Json, json};

use crate::inject::cluster_version::ClusterVersion;
use crate::inject::expr::messages::{reason, word};
use crate::inject::expr::{Expression, Reads, check, failed, functions, value};

/// Maximum number of steps of all loops of an expression together. At each step the library copies the list that a loop
/// builds, so a step counts once for each value that is copied.
const MAX_STEPS: usize = 1_000_000;

/// The variables of the expressions of one template, for one request.
#[derive(Clone)]
pub(crate) struct Scope<'t> {
    roots: Vec<(&'static str, Value)>,
    /// The template's variables, as pairs of a name and an expression.
    variables: &'t [(String, Expression)],
    cluster: Option<ClusterVersion>,
    /// The variables that have been evaluated, by name.
    known: RefCell<BTreeMap<String, Result<Value, String>>>,
}

/// The values of the variables of a scope, as JSON. A value that no expression reads can be null.
#[derive(Clone, Copy)]
pub(crate) struct Roots<'r> {
    /// The pod, or the parts of it that are read. The functions `label` and `annotation` read its metadata.
    pub(crate) object: &'r Json,
    /// The namespace and the operation of the request, and whether it is a dry run.
    pub(crate) request: &'r Json,
    /// All declared parameters; null for a parameter that is not set.
    pub(crate) params: &'r Json,
    /// The shared values.
    pub(crate) values: &'r Json,
    /// The pod's namespace.
    pub(crate) namespace: &'r Json,
    /// The version of the cluster; `None` if it is not known.
    pub(crate) cluster: Option<ClusterVersion>,
}

impl Default for Roots<'_> {
    /// Nothing but nulls.
    fn default() -> Self {
        const NULL: &Json = &Json::Null;
        Self { object: NULL, request: NULL, params: NULL, values: NULL, namespace: NULL, cluster: None }
    }
}

impl<'t> Scope<'t> {
    /// Creates a scope with the template's variables. Each is evaluated when it is read for the first time.
    pub(crate) fn new(roots: &Roots<'_>, variables: &'t [(String, Expression)]) -> Self {
        let metadata = &roots.object["metadata"];
        let version = roots.cluster;
        let cluster = version.map_or_else(|| json!({}), |version| json!({"minor": version.minor}));
        let roots = [
            ("object", roots.object),
            ("request", roots.request),
            ("params", roots.params),
            ("values", roots.values),
            ("namespaceObject", roots.namespace),
            ("cluster", &cluster),
            (check::LABELS, &metadata["labels"]),
            (check::ANNOTATIONS, &metadata["annotations"]),
        ];
        let roots = roots.map(|(name, json)| (name, value::to_cel(json))).into();
        Self { roots, variables, cluster: version, known: RefCell::default() }
    }

    /// The version of the cluster; `None` if it is not known.
    pub(crate) fn cluster(&self) -> Option<ClusterVersion> {
        self.cluster
    }

    /// Evaluates the variables that an expression reads, so that copies of this scope do not evaluate them again.
    pub(crate) fn prepare(&self, expression: &Expression) {
        for name in &expression.reads.variables {
            // An error is reported when the variable is read.
            let _ = self.variable(name);
        }
    }

    /// Returns a copy of the scope with `container` set.
    pub(crate) fn with_container(&self, container: &Json) -> Self {
        let mut roots = self.roots.clone();
        roots.push(("container", value::to_cel(container)));
        Self { roots, known: RefCell::new(self.known.borrow().clone()), ..*self }
    }

    /// Evaluates an expression.
    ///
    /// # Errors
    /// The reason why it failed, as a sentence without a full stop.
    pub(crate) fn evaluate(&self, expression: &Expression) -> Result<Json, String> {
        value::to_json(&self.value(expression)?).map_err(|why| failed(expression, &why))
    }

    /// Evaluates a condition.
    ///
    /// # Errors
    /// The reason why it failed, as a sentence without a full stop. A result that is not a boolean is an error.
    pub(crate) fn holds(&self, condition: &Expression) -> Result<bool, String> {
        match self.value(condition)? {
            Value::Bool(value) => Ok(value),
            other => Err(failed(condition, &format!("a condition must be true or false, not {}", word(&other)))),
        }
    }

    fn value(&self, expression: &Expression) -> Result<Value, String> {
        let mut variables = Vec::new();
        for name in &expression.reads.variables {
            variables.push((name.clone(), self.variable(name)?));
        }
        FUNCTIONS.with(|functions| {
            let mut context = functions.new_inner_scope();
            // Adding a value copies all of it, so only those that are read are added.
            for (name, value) in self.roots.iter().filter(|(name, _)| expression.reads.reads(name)) {
                context.add_variable_from_value(*name, value.clone());
            }
            context.add_variable_from_value("variables", value::to_map(variables));
            if self.steps(&expression.reads) > MAX_STEPS {
                return Err(failed(expression, "the pod is too large for these loops"));
            }
            // A panic of the library must not lead to a response that admits the pod.
            catch_unwind(AssertUnwindSafe(|| context.resolve(&expression.tree)))
                .map_err(|_| failed(expression, "the evaluation was aborted"))?
                .map_err(|error| match (self.cluster, expression.reads.cluster) {
                    (None, true) => failed(expression, "the version of the cluster is not known; set --kubernetes"),
                    _ => failed(expression, &format!("{}{}", reason(&error), self.unset(expression))),
                })
        })
    }

    /// The parameters that an expression reads and that are not set, in words. A failed expression often does not expect
    /// their null.
    fn unset(&self, expression: &Expression) -> String {
        let params = self.roots.iter().find(|(name, _)| *name == "params").map(|(_, value)| value);
        let is_null = |name: &&String| match params {
            Some(Value::Map(map)) => matches!(map.map.get(&Key::String(Arc::new((*name).clone()))), Some(Value::Null)),
            _ => false,
        };
        let unset: Vec<_> =
            expression.reads.parameters.iter().filter(is_null).map(|name| format!("params.{name}")).collect();
        if unset.is_empty() { String::new() } else { format!("; {} is null, because it is not set", unset.join(", ")) }
    }

    /// An upper bound of the number of steps of the loops of an expression, with the sizes of the values that it reads.
    fn steps(&self, reads: &Reads) -> usize {
        if reads.loops.nested == 0 {
            return 0;
        }
        let known = self.known.borrow();
        let variables = reads.variables.iter().filter_map(|name| known.get(name)?.as_ref().ok());
        let roots = self.roots.iter().filter(|(root, _)| reads.reads(root)).map(|(_, value)| value);
        let extents: Vec<(usize, usize)> = roots.chain(variables).map(extent).collect();
        let all = extents.iter().map(|(all, _)| all).sum::<usize>();
        // Lists that are written in the expression itself are short.
        let longest = extents.iter().map(|(_, longest)| *longest).max().unwrap_or(0).max(16);
        let all = all.max(16);
        // A step that reads only its item costs about as much as the item. Any other step can cost as much as all
        // values.
        let step = if reads.loops.wide { all } else { (all / longest).max(1) };
        let copies = if reads.loops.copying { longest } else { 1 };
        longest.saturating_pow(reads.loops.nested).saturating_mul(step).saturating_mul(copies)
    }

    /// The value of a variable, which is evaluated only once.
    fn variable(&self, name: &str) -> Result<Value, String> {
        if let Some(known) = self.known.borrow().get(name) {
            return known.clone();
        }
        let found = self.variables.iter().find(|(variable, _)| variable == name);
        let value = match found {
            // The size is limited, because the next variable can use this one many times.
            Some((_, expression)) => self.value(expression).and_then(|value| {
                if value::is_too_large(&value) {
                    return Err(failed(expression, "the result is too large"));
                }
                Ok(value)
            }),
            None => Err(format!("there is no variable \"{name}\"")),
        };
        self.known.borrow_mut().insert(name.to_owned(), value.clone());
        value
    }
}

thread_local! {
    /// All functions. Creating this context costs more than evaluating most expressions.
    static FUNCTIONS: Context<'static> = functions::context();
}

/// The number of values in `value`, and in its longest list or map.
fn extent(value: &Value) -> (usize, usize) {
    let of = |values: &mut dyn Iterator<Item = &Value>, length: usize| {
        let sum = |(all, longest): (usize, usize), (more, other): (usize, usize)| (all + more, longest.max(other));
        values.map(extent).fold((1, length), sum)
    };
    match value {
        Value::List(items) => of(&mut items.iter(), items.len()),
        Value::Map(map) => of(&mut map.map.values(), map.map.len()),
        _ => (1, 0),
    }
}
