//! What an expression may be, checked on its syntax tree when a template is loaded, since the library checks
//! neither types nor cost: size, depth, loops, names. It collects what the expression reads, so that only that is
//! converted for a request.

use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use kube_cel::cel::{IdedExpr, common::ast::SelectExpr};

use crate::inject::diagnostic::nearest;
use crate::inject::expr::functions::{ALLOWED, NAMESPACES, REGEX};
use crate::inject::expr::maps::{is_total, may_be_map};
use crate::inject::expr::{ExpressionError, Reads, Vocabulary};

/// Most nodes of a tree, deepest nesting, most loops inside each other.
const MAX_NODES: usize = 300;
const MAX_DEPTH: usize = 50;
const MAX_LOOPS: usize = 2;
/// The pod's labels and annotations, put in front of the arguments of `label` and `annotation`.
pub(super) const LABELS: &str = "@labels";
pub(super) const ANNOTATIONS: &str = "@annotations";
/// What is known before the expression is read.
const ROOTS: [&str; 6] = ["object", "params", "request", "values", "variables", "namespaceObject"];
/// What no pod has yet when it is admitted, with what to write instead.
const NOT_YET: [&[&str]; 4] = [&["metadata", "name"], &["metadata", "uid"], &["spec", "nodeName"], &["status"]];

/// Checks `tree` and gives it back with `label` and `annotation` bound to the pod's.
pub(super) fn check(mut tree: IdedExpr, names: &Vocabulary<'_>) -> Result<(IdedExpr, Reads), ExpressionError> {
    let mut check = ExpressionCheck { names, reads: Reads::default(), nodes: 0, bound: Vec::new() };
    check.visit(&mut tree, Around { depth: 0, loops: 0, sorted: false })?;
    Ok((tree, check.reads))
}

/// Root, path, and path with indexes.
type Chain = (String, Vec<String>, Vec<String>);

struct ExpressionCheck<'n> {
    names: &'n Vocabulary<'n>,
    reads: Reads,
    nodes: usize,
    /// The variables of the loops around.
    bound: Vec<String>,
}

/// Where a node stands.
#[derive(Clone, Copy)]
struct Around {
    depth: usize,
    loops: usize,
    /// The result is sorted right away.
    sorted: bool,
}

impl Around {
    fn inside(self) -> Self {
        Self { depth: self.depth + 1, sorted: false, ..self }
    }
}

impl ExpressionCheck<'_> {
    fn visit(&mut self, node: &mut IdedExpr, around: Around) -> Result<(), ExpressionError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || around.depth > MAX_DEPTH {
            let help = "move parts of it into `variables`";
            return Err(ExpressionError::new("the expression is too large", help));
        }
        let asks = matches!(&node.expr, Expr::Select(select) if select.test);
        if let Some((root, path, whole)) = self.path(node, around)? {
            self.note(&root, whole, asks);
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
                Err(ExpressionError::new("messages cannot be built here", "write a map: {'key': value}"))
            }
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Ok(()),
        }
    }

    /// The variable that a chain of fields and indexes begins with, the chain up to the first index that is not constant,
    /// and all of it. Expressions in indexes are visited.
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
                            // What stands behind an index that is not known needs all below it.
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

    /// Notes that a path of the pod is read, or asked about with `has`, which reads what stands around it.
    fn note(&mut self, root: &str, mut path: Vec<String>, asks: bool) {
        if !matches!(root, "object" | "container") || self.is_bound(root) {
            return;
        }
        path.insert(0, root.to_owned());
        if asks {
            self.reads.guards.insert(path.clone());
            path.pop();
        }
        self.reads.direct.insert(path);
    }

    /// `'key' in object.path` asks about that key.
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
                let known = || self.names.parameters.iter().map(|(name, _)| *name);
                let name = one_of(root, path, &known())?;
                self.reads.parameters.insert(name);
            }
            "variables" => {
                let name = one_of(root, path, &self.names.variables.iter().map(String::as_str))?;
                self.reads.variables.insert(name);
            }
            "request" => drop(one_of(root, path, &["namespace", "operation", "dryRun"].into_iter())?),
            "values" => match path.first() {
                Some(key) => drop(self.reads.values.insert(key.clone())),
                None => self.reads.all_values = true,
            },
            "namespaceObject" => self.reads.namespace = true,
            "container" if self.names.container => self.reads.container = true,
            "container" => {
                let help = "it stands for a container of the pod in the `if` of an appContainers entry";
                return Err(ExpressionError::new("`container` is not a variable here", help));
            }
            name => {
                let help = match nearest(name, ROOTS) {
                    Some(known) => format!("did you mean \"{known}\"?"),
                    None => format!("for a literal write $${{{name}}}; variables are {}", ROOTS.join(", ")),
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
        let sorted = call.func_name == "sort";
        if let Some(target) = &mut call.target
            && !matches!(&target.expr, Expr::Ident(name) if NAMESPACES.contains(&name.as_str()) && !self.bound.contains(name))
        {
            self.visit(target, Around { sorted, ..around.inside() })?;
        }
        // `get(object, 'a.b', default)` reads one path, not the whole pod.
        if call.func_name == "get" && call.target.is_none() && self.get_of_object(call)? {
            return call.args.iter_mut().skip(2).try_for_each(|arg| self.visit(arg, around.inside()));
        }
        call.args.iter_mut().try_for_each(|arg| self.visit(arg, around.inside()))
    }

    fn function(&mut self, call: &mut CallExpr) -> Result<(), ExpressionError> {
        let name = match call.target.as_ref().map(|target| &target.expr) {
            Some(Expr::Ident(space)) if NAMESPACES.contains(&space.as_str()) => format!("{space}.{}", call.func_name),
            Some(Expr::Ident(space)) if space == "lists" => format!("{space}.{}", call.func_name),
            _ => call.func_name.clone(),
        };
        if !ALLOWED.contains(&name.as_str()) {
            let help = match nearest(&name, ALLOWED.iter().copied()) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => {
                    "the functions are CEL's and Kubernetes', and label, annotation, get, json, shellQuote".to_owned()
                }
            };
            return Err(ExpressionError::new(format!("there is no function `{name}` here"), help));
        }
        if QUADRATIC.contains(&name.as_str()) {
            // Each of these is a loop over its list for every item.
            self.reads.loops.nested += 1;
            self.reads.loops.wide = true;
        }
        if name == "replace" && call.args.len() != 2 {
            return Err(ExpressionError::new("`replace` takes what to replace and by what", ""));
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
        // A list is needed as a whole.
        let whole = steps.iter().position(|step| step.bytes().all(|byte| byte.is_ascii_digit()));
        let steps = steps[..whole.unwrap_or(steps.len())].to_vec();
        self.name("object", &steps)?;
        Ok(true)
    }

    fn comprehension(&mut self, node: &mut ComprehensionExpr, around: Around) -> Result<(), ExpressionError> {
        let loops = around.loops + 1;
        if loops > MAX_LOOPS {
            return Err(ExpressionError::new(
                "at most two loops (map, filter, all, exists) may stand inside each other",
                "",
            ));
        }
        self.reads.loops.nested = self.reads.loops.nested.max(u32::try_from(loops).unwrap_or(u32::MAX));
        // `all`, `exists` and `exists_one` begin with a boolean or a number: order does not matter to them.
        let ordered = matches!(node.accu_init.expr, Expr::List(_) | Expr::Map(_));
        self.reads.loops.copying |= ordered;
        if !ordered && may_be_map(&node.iter_range, self.names) && !is_total(&node.loop_step) {
            let help = "compare the key with constants, or use a list";
            return Err(ExpressionError::new(
                "a condition over a map may only compare its keys: maps have no order here",
                help,
            ));
        }
        if ordered && !around.sorted && may_be_map(&node.iter_range, self.names) {
            let help = "maps have no order here; write .map(…).sort()";
            return Err(ExpressionError::new("the result of a loop over a map must be sorted", help));
        }
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

/// Functions whose cost grows with the square of a list.
const QUADRATIC: [&str; 4] = ["distinct", "sets.contains", "sets.equivalent", "sets.intersects"];

fn one_of<'k>(
    root: &str,
    path: &[String],
    known: &(impl Iterator<Item = &'k str> + Clone),
) -> Result<String, ExpressionError> {
    let list = || known.clone().collect::<Vec<_>>().join(", ");
    let Some(name) = path.first() else {
        return Err(ExpressionError::new(
            format!("`{root}` is used one by one"),
            format!("write {root}.NAME; there are: {}", list()),
        ));
    };
    if known.clone().any(|known| known == name) {
        return Ok(name.clone());
    }
    let help = match nearest(name, known.clone()) {
        Some(known) => format!("did you mean \"{root}.{known}\"?"),
        None if known.clone().next().is_none() => format!("the template declares no {root}"),
        None => format!("there are: {}", list()),
    };
    Err(ExpressionError::new(format!("`{root}.{name}` is not declared"), help))
}
