//! Evaluation: what the expressions of one template see of one request, and the bounds on what they may cost.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kube_cel::cel::{Context, ExecutionError, Value};
use serde_json::Value as Json;

use crate::inject::diagnostic::shown;
use crate::inject::expr::{Expression, Reads, check, failed, functions, value};

/// Most steps of all loops of an expression together. The library copies the list that a loop makes at each
/// step, so a step counts as often as there are values to copy.
const MAX_STEPS: usize = 1_000_000;

/// What the expressions of one template see of one request.
pub(crate) struct Scope<'t> {
    roots: Vec<(&'static str, Value)>,
    variables: &'t [(String, Expression)],
    known: RefCell<BTreeMap<String, Result<Value, String>>>,
}

/// The values of a scope, as JSON; what is not read may be null.
pub(crate) struct Roots<'r> {
    /// The pod, as far as it is read.
    pub(crate) object: &'r Json,
    /// Labels and annotations of the pod are taken from it.
    pub(crate) request: &'r Json,
    /// Every declared parameter; null if it is not set.
    pub(crate) params: &'r Json,
    /// The shared values.
    pub(crate) values: &'r Json,
    /// The pod's namespace.
    pub(crate) namespace: &'r Json,
}

impl<'t> Scope<'t> {
    /// A scope with the template's variables, which are evaluated when they are first read.
    pub(crate) fn new(roots: &Roots<'_>, variables: &'t [(String, Expression)]) -> Self {
        let metadata = &roots.object["metadata"];
        let roots = [
            ("object", roots.object),
            ("request", roots.request),
            ("params", roots.params),
            ("values", roots.values),
            ("namespaceObject", roots.namespace),
            (check::LABELS, &metadata["labels"]),
            (check::ANNOTATIONS, &metadata["annotations"]),
        ];
        let roots = roots.map(|(name, json)| (name, value::to_cel(json))).into();
        Self { roots, variables, known: RefCell::default() }
    }

    /// Evaluates the variables that an expression reads, so that scopes made of this one need not.
    pub(crate) fn prepare(&self, expression: &Expression) {
        for name in &expression.reads.variables {
            // What fails is told where it is read.
            let _ = self.variable(name);
        }
    }

    /// The same with `container` set.
    pub(crate) fn with_container(&self, container: &Json) -> Self {
        let mut roots = self.roots.clone();
        roots.push(("container", value::to_cel(container)));
        Self { roots, variables: self.variables, known: RefCell::new(self.known.borrow().clone()) }
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// Why it failed, as a sentence without full stop.
    pub(crate) fn evaluate(&self, expression: &Expression) -> Result<Json, String> {
        value::to_json(&self.value(expression)?).map_err(|why| failed(expression, &why))
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// Why it failed, or that it is no boolean.
    pub(crate) fn holds(&self, condition: &Expression) -> Result<bool, String> {
        match self.value(condition)? {
            Value::Bool(value) => Ok(value),
            other => Err(failed(condition, &format!("a condition is true or false, not a {}", other.type_of()))),
        }
    }

    fn value(&self, expression: &Expression) -> Result<Value, String> {
        let mut variables = Vec::new();
        for name in &expression.reads.variables {
            variables.push((name.clone(), self.variable(name)?));
        }
        FUNCTIONS.with(|functions| {
            let mut context = functions.new_inner_scope();
            // Entering a value costs all of it.
            for (name, value) in self.roots.iter().filter(|(name, _)| expression.reads.reads(name)) {
                context.add_variable_from_value(*name, value.clone());
            }
            context.add_variable_from_value("variables", value::to_map(variables));
            if self.steps(&expression.reads) > MAX_STEPS {
                return Err(failed(expression, "the pod is too large for these loops"));
            }
            // The library is young: a panic of it must not become an answer that lets a pod through.
            catch_unwind(AssertUnwindSafe(|| context.resolve(&expression.tree)))
                .map_err(|_| failed(expression, "the evaluation broke off"))?
                .map_err(|error| failed(expression, &reason(&error)))
        })
    }

    /// An upper bound of the work that loops make of what is read.
    fn steps(&self, reads: &Reads) -> usize {
        if reads.loops.nested == 0 {
            return 0;
        }
        let known = self.known.borrow();
        let variables = reads.variables.iter().filter_map(|name| known.get(name)?.as_ref().ok());
        let roots = self.roots.iter().filter(|(root, _)| reads.reads(root)).map(|(_, value)| value);
        let extents: Vec<(usize, usize)> = roots.chain(variables).map(extent).collect();
        let all = extents.iter().map(|(all, _)| all).sum::<usize>();
        // Lists that stand in the expression itself are short.
        let longest = extents.iter().map(|(_, longest)| *longest).max().unwrap_or(0).max(16);
        let all = all.max(16);
        // A step that sees only its item costs about the item, else all that is read.
        let step = if reads.loops.wide { all } else { (all / longest).max(1) };
        let copies = if reads.loops.copying { longest } else { 1 };
        longest.saturating_pow(reads.loops.nested).saturating_mul(step).saturating_mul(copies)
    }

    fn variable(&self, name: &str) -> Result<Value, String> {
        if let Some(known) = self.known.borrow().get(name) {
            return known.clone();
        }
        let found = self.variables.iter().find(|(variable, _)| variable == name);
        let value = match found {
            // Bounded, since one variable may be used many times in the next.
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
    /// Building it costs more than most expressions.
    static FUNCTIONS: Context<'static> = functions::context();
}

/// How many values there are in `value`, and how many in its longest list or map.
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

fn reason(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!(
            "there is no \"{}\"; where it may be missing use label(key, default), annotation(key, default) or get(object, path, default)",
            shown(key, 60)
        ),
        ExecutionError::NoSuchOverload => "its operands are of types that do not go together".to_owned(),
        ExecutionError::FunctionError { function, message } => format!("{function}: {}", shown(message, 120)),
        other => shown(&other.to_string(), 160),
    }
}
