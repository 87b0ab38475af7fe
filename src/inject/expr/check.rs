//! Checks the syntax tree of an expression when its template is loaded: size, depth, loops and names. The CEL library
//! checks no cost. Types are inferred afterwards, by [`infer`](super::infer). The module also collects the inputs that the expression reads, so that only these are
//! converted for a request. It does not evaluate anything.

use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use kube_cel::cel::{IdedExpr, common::ast::SelectExpr};

use crate::inject::diagnostic::nearest;
use crate::inject::expr::functions::{NAMESPACES, REGEX, UNAVAILABLE};
use crate::inject::expr::{ExpressionError, Reads, Vocabulary, signatures};

/// Maximum number of nodes of a tree.
const MAX_NODES: usize = 300;
/// Maximum depth of a tree.
const MAX_DEPTH: usize = 50;
/// Maximum nesting depth of loops.
const MAX_LOOPS: usize = 2;
/// The variable with the pod's labels, which is inserted as the first argument of `label`.
pub(super) const LABELS: &str = "@labels";
/// The variable with the pod's annotations, which is inserted as the first argument of `annotation`.
pub(super) const ANNOTATIONS: &str = "@annotations";
/// The variables that every expression can use.
const ROOTS: [&str; 7] = ["object", "params", "request", "values", "variables", "namespaceObject", "cluster"];
/// Paths that a pod does not have yet when it is admitted.
const NOT_YET: [&[&str]; 4] = [&["metadata", "name"], &["metadata", "uid"], &["spec", "nodeName"], &["status"]];

/// Checks `tree`. Returns it with the pod's metadata as an argument of `label` and `annotation`, and the inputs that it
/// reads.
pub(super) fn check(mut tree: IdedExpr, names: &Vocabulary<'_>) -> Result<(IdedExpr, Reads), ExpressionError> {
    let mut check = ExpressionCheck { names, reads: Reads::default(), nodes: 0, bound: Vec::new() };
    check.visit(&mut tree, Around { depth: 0, loops: 0 })?;
    Ok((tree, check.reads))
}

/// The variable, the path up to the first index that is not constant, and the whole path with `[]` for such an index.
type Chain = (String, Vec<String>, Vec<String>);

struct ExpressionCheck<'n> {
    names: &'n Vocabulary<'n>,
    reads: Reads,
    nodes: usize,
    /// The variables of the enclosing loops.
    bound: Vec<String>,
}

/// The surroundings of a node.
#[derive(Clone, Copy)]
struct Around {
    depth: usize,
    loops: usize,
}

impl Around {
    fn inside(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

impl ExpressionCheck<'_> {
    fn visit(&mut self, node: &mut IdedExpr, around: Around) -> Result<(), ExpressionError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || around.depth > MAX_DEPTH {
            let help = "move parts of it into `variables`";
            return Err(ExpressionError::new("the expression is too large", help));
        }
        let is_test = matches!(&node.expr, Expr::Select(select) if select.test);
        if let Some((root, path, whole)) = self.path(node, around)? {
            self.note(&root, whole, is_test);
            return self.name(&root, &path);
        }
        match &mut node.expr {
            Expr::Select(SelectExpr { operand, .. }) => self.visit(operand, around.inside()),
            Expr::Call(call) => self.call(call, around),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, around),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|item| self.visit(item, around.inside())),
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.visit(&mut entry.key, around.inside())?;
                        self.visit(&mut entry.value, around.inside())?;
                    }
                }
                Ok(())
            }
            Expr::Struct(_) => {
                Err(ExpressionError::new("message types are not supported", "write a map: {'key': value}"))
            }
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Ok(()),
        }
    }

    /// Splits a chain of fields and indexes that begins with a variable. Returns `None` for any other node. Expressions
    /// in indexes are visited.
    fn path(&mut self, node: &mut IdedExpr, around: Around) -> Result<Option<Chain>, ExpressionError> {
        let (mut steps, mut current, mut depth): (Vec<Option<String>>, _, _) = (Vec::new(), node, around.depth);
        let mut known = 0;
        loop {
            depth += 1;
            if depth > MAX_DEPTH {
                return Err(ExpressionError::new("the expression is too large", "move parts of it into `variables`"));
            }
            match &mut current.expr {
                Expr::Ident(name) => {
                    steps.reverse();
                    let rest = steps.len() - known;
                    let path = steps.iter().take(rest).flatten().cloned().collect();
                    let whole = steps.into_iter().map(|step| step.unwrap_or_else(|| "[]".to_owned())).collect();
                    return Ok(Some((name.clone(), path, whole)));
                }
                Expr::Select(select) => {
                    steps.push(Some(select.field.clone()));
                    current = &mut select.operand;
                }
                Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
                    let (target, index) = call.args.split_at_mut(1);
                    match &index[0].expr {
                        Expr::Literal(LiteralValue::String(key)) => steps.push(Some(key.inner().to_owned())),
                        _ => {
                            self.visit(&mut index[0], Around { depth, ..around })?;
                            steps.push(None);
                            // A path after an index that is not constant needs everything below that index.
                            known = steps.len();
                        }
                    }
                    current = &mut target[0];
                }
                _ => return Ok(None),
            }
            self.nodes += 1;
        }
    }

    fn is_bound(&self, root: &str) -> bool {
        self.bound.iter().any(|name| name == root)
    }

    /// Records that a path of the pod is read. If `is_test` is set, `has` tests the path and reads the member around
    /// it.
    fn note(&mut self, root: &str, mut path: Vec<String>, is_test: bool) {
        if !matches!(root, "object" | "container") || self.is_bound(root) {
            return;
        }
        path.insert(0, root.to_owned());
        if is_test {
            self.reads.guards.insert(path.clone());
            path.pop();
        }
        self.reads.direct.insert(path);
    }

    /// Records that `'key' in object.path` tests that key.
    fn note_membership(&mut self, call: &mut CallExpr, around: Around) -> Result<(), ExpressionError> {
        let [key, map] = &mut call.args[..] else { return Ok(()) };
        let Expr::Literal(LiteralValue::String(key)) = &key.expr else { return Ok(()) };
        let key = key.inner().to_owned();
        if let Some((root, _, mut path)) = self.path(map, around)? {
            path.insert(0, root);
            path.push(key);
            self.reads.guards.insert(path);
        }
        Ok(())
    }

    /// Checks that `root` and `path` are names that the expression can use, and records that they are read.
    fn name(&mut self, root: &str, path: &[String]) -> Result<(), ExpressionError> {
        let is_bound = self.is_bound(root);
        self.reads.loops.wide |= !self.bound.is_empty() && !is_bound && !root.starts_with("@result");
        if is_bound || root.starts_with('@') {
            return Ok(());
        }
        match root {
            "object" => {
                let forbidden = NOT_YET
                    .iter()
                    .find(|steps| path.iter().zip(**steps).filter(|(a, b)| a == *b).count() == steps.len());
                if let Some(steps) = forbidden {
                    let field = steps.join(".");
                    let help = format!("use an env entry with valueFrom: {{fieldRef: {{fieldPath: {field}}}}}");
                    return Err(ExpressionError::new(
                        format!("object.{field} is not known when a pod is admitted"),
                        help,
                    ));
                }
                self.reads.object.insert(path.to_vec());
            }
            "params" => {
                let known = || self.names.parameters.iter().map(|parameter| parameter.name);
                let name = one_of(root, path, &known())?;
                self.reads.parameters.insert(name);
            }
            "variables" => {
                let name = one_of(root, path, &self.names.variables.iter().map(|(name, _)| name.as_str()))?;
                self.reads.variables.insert(name);
            }
            "request" => {
                one_of(root, path, &["namespace", "operation", "dryRun"].into_iter())?;
                self.reads.request = true;
            }
            "cluster" => {
                one_of(root, path, &["minor"].into_iter())?;
                self.reads.cluster = true;
            }
            "values" => match path.first() {
                Some(key) => drop(self.reads.values.insert(key.clone())),
                None => self.reads.all_values = true,
            },
            "namespaceObject" => self.reads.namespace = true,
            "container" if self.names.container => self.reads.container = true,
            "container" => {
                let help = "it is available only in the `if` of an appContainers entry";
                return Err(ExpressionError::new("`container` is not a variable here", help));
            }
            name => {
                let help = match nearest(name, ROOTS) {
                    Some(known) => format!("did you mean \"{known}\"?"),
                    None => format!(
                        "for a text write '{name}', for a literal write $${{{name}}}; variables are {}",
                        ROOTS.join(", ")
                    ),
                };
                return Err(ExpressionError::new(format!("`{name}` is not a variable here"), help));
            }
        }
        Ok(())
    }

    fn call(&mut self, call: &mut CallExpr, around: Around) -> Result<(), ExpressionError> {
        let is_operator = call.func_name.starts_with(['_', '@', '!', '-']);
        if !is_operator {
            self.function(call)?;
        }
        if call.func_name == operators::IN {
            self.note_membership(call, around.inside())?;
        }
        if let Some(target) = &mut call.target
            && !matches!(&target.expr, Expr::Ident(name) if NAMESPACES.contains(&name.as_str()) && !self.bound.contains(name))
        {
            self.visit(target, around.inside())?;
        }
        // `get(object, 'a.b', default)` reads one path, not the whole pod.
        if call.func_name == "get" && call.target.is_none() && self.get_of_object(call)? {
            return call.args.iter_mut().skip(2).try_for_each(|arg| self.visit(arg, around.inside()));
        }
        call.args.iter_mut().try_for_each(|arg| self.visit(arg, around.inside()))
    }

    /// Checks that the function is allowed, and its constant arguments.
    fn function(&mut self, call: &mut CallExpr) -> Result<(), ExpressionError> {
        let name = match call.target.as_ref().map(|target| &target.expr) {
            Some(Expr::Ident(space)) if NAMESPACES.contains(&space.as_str()) => format!("{space}.{}", call.func_name),
            Some(Expr::Ident(space)) if matches!(space.as_str(), "lists" | "cel") => {
                format!("{space}.{}", call.func_name)
            }
            _ => call.func_name.clone(),
        };
        if signatures::of(&name).is_empty() {
            return Err(unavailable(&name));
        }
        if QUADRATIC.contains(&name.as_str()) {
            // Each of these loops over its list for every item.
            self.reads.loops.nested += 1;
            self.reads.loops.wide = true;
        }
        if REGEX.contains(&name.as_str()) && !matches!(call.args.last().map(|arg| &arg.expr), Some(Expr::Literal(_))) {
            return Err(ExpressionError::new(format!("the pattern of `{name}` must be a constant string"), ""));
        }
        let bound = match name.as_str() {
            "label" => (LABELS, "labels"),
            "annotation" => (ANNOTATIONS, "annotations"),
            _ => return Ok(()),
        };
        if call.args.len() != 2 || call.target.is_some() {
            let help = format!("write {name}('key', 'default')");
            return Err(ExpressionError::new(format!("`{name}` takes a key and a default"), help));
        }
        self.reads.object.insert(vec!["metadata".to_owned(), bound.1.to_owned()]);
        call.args.insert(0, IdedExpr { id: 0, expr: Expr::Ident(bound.0.to_owned()) });
        Ok(())
    }

    /// Records the path of `get(object, 'a.b', default)`. Returns false if the first argument is not the pod.
    fn get_of_object(&mut self, call: &CallExpr) -> Result<bool, ExpressionError> {
        let [value, path, _] = &call.args[..] else {
            return Err(ExpressionError::new(
                "`get` takes a value, a path and a default",
                "write get(object, 'spec.x.y', 'default')",
            ));
        };
        if !matches!(&value.expr, Expr::Ident(name) if name == "object")
            || self.bound.iter().any(|name| name == "object")
        {
            return Ok(false);
        }
        let Expr::Literal(LiteralValue::String(path)) = &path.expr else {
            return Err(ExpressionError::new("the path of `get(object, …)` must be a constant string", ""));
        };
        let steps: Vec<String> = path.inner().split('.').map(str::to_owned).collect();
        // A list is read as a whole.
        let whole = steps.iter().position(|step| step.bytes().all(|byte| byte.is_ascii_digit()));
        let steps = steps[..whole.unwrap_or(steps.len())].to_vec();
        self.name("object", &steps)?;
        Ok(true)
    }

    fn comprehension(&mut self, node: &mut ComprehensionExpr, around: Around) -> Result<(), ExpressionError> {
        let loops = around.loops + 1;
        if loops > MAX_LOOPS {
            return Err(ExpressionError::new("at most two loops (map, filter, all, exists) can be nested", ""));
        }
        self.reads.loops.nested = self.reads.loops.nested.max(u32::try_from(loops).unwrap_or(u32::MAX));
        self.reads.loops.copying |= matches!(node.accu_init.expr, Expr::List(_) | Expr::Map(_));
        self.visit(&mut node.iter_range, around.inside())?;
        let bound = self.bound.len();
        self.bound.push(node.iter_var.clone());
        self.bound.extend(node.iter_var2.clone());
        self.bound.push(node.accu_var.clone());
        let inside = Around { loops, ..around.inside() };
        for part in [&mut node.accu_init, &mut node.loop_cond, &mut node.loop_step, &mut node.result] {
            self.visit(part, inside)?;
        }
        self.bound.truncate(bound);
        Ok(())
    }
}

/// The error for a function that expressions cannot use.
fn unavailable(name: &str) -> ExpressionError {
    let help = match UNAVAILABLE.iter().find(|(unavailable, _)| *unavailable == name) {
        Some((_, help)) => (*help).to_owned(),
        None => match nearest(name, signatures::names()) {
            Some(known) => format!("did you mean \"{known}\"?"),
            None => "available: those of CEL and Kubernetes, and label, annotation, get, json, shellQuote".to_owned(),
        },
    };
    ExpressionError::new(format!("the function `{name}` is not available"), help)
}

/// Functions whose cost grows with the square of the length of a list.
const QUADRATIC: [&str; 4] = ["distinct", "sets.contains", "sets.equivalent", "sets.intersects"];

/// The name after `root`, which must be one of `known`.
fn one_of<'k>(
    root: &str,
    path: &[String],
    known: &(impl Iterator<Item = &'k str> + Clone),
) -> Result<String, ExpressionError> {
    let list = || known.clone().collect::<Vec<_>>().join(", ");
    let Some(name) = path.first() else {
        return Err(ExpressionError::new(
            format!("`{root}` cannot be used as a whole"),
            format!("write {root}.NAME; available: {}", list()),
        ));
    };
    if known.clone().any(|known| known == name) {
        return Ok(name.clone());
    }
    let help = match nearest(name, known.clone()) {
        Some(known) => format!("did you mean \"{root}.{known}\"?"),
        None if known.clone().next().is_none() => format!("the template declares no {root}"),
        None => format!("available: {}", list()),
    };
    Err(ExpressionError::new(format!("`{root}.{name}` is not declared"), help))
}
