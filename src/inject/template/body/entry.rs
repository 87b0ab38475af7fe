//! An entry of one of a template's lists of items: a finished item if it is the same for every pod, otherwise an item
//! with compiled expressions. This module evaluates entries. It does not know about pods or other templates.

use std::sync::Arc;

use crate::inject::diagnostic::Span;
use crate::inject::document::{Node, Value};
use crate::inject::expr::{Expression, Scope};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::gates::{self, GateUse};
use crate::inject::template::body::compile::{Compiler, resolve};
use crate::inject::template::body::item::{Item, ItemKind, TakenNames};
use crate::inject::template::body::item_checks::Place;
use crate::inject::template::body::item_read;
use crate::inject::template::words::position;

/// An entry of one of the lists.
#[derive(Debug)]
pub(super) struct BodyEntry {
    pub(super) kind: ItemKind,
    /// The item's name; `None` if an expression sets it.
    pub(super) name: Option<String>,
    /// The item, without the members that only expressions set.
    pub(super) item: Arc<Item>,
    pub(super) condition: Option<Expression>,
    /// The item with its compiled expressions, and its path in messages; `None` without expressions.
    dynamic: Option<(Node, String)>,
    /// Values that need a feature gate, if the item has a condition. Without one, they are errors at load.
    gates: Vec<GateUse>,
}

/// Reads and compiles the list of items at `node`. `files` is the prefix of the keys of annotations that contain files;
/// `names` collects the names that are taken.
pub(super) fn load_list(
    compiler: &mut Compiler<'_, '_>,
    node: Option<&Node>,
    kind: ItemKind,
    files: &str,
    names: &mut TakenNames,
) -> Vec<BodyEntry> {
    let items = compiler.checker.items(node, kind.key());
    let entry = |(index, node)| load(compiler, node, kind, files, format!("{}[{index}]", kind.key()), names);
    items.iter().enumerate().filter_map(entry).collect()
}

fn load(
    compiler: &mut Compiler<'_, '_>,
    node: &Node,
    kind: ItemKind,
    files: &str,
    path: String,
    names: &mut TakenNames,
) -> Option<BodyEntry> {
    let condition = node.get("if").and_then(|node| compiler.condition(node, "if"));
    let place = if kind.is_container() { position(compiler.checker, node.get("position")) } else { None };
    let is_own = |key: &str| key == "if" || key == "position" && kind.is_container();
    let mut fields = node.clone();
    if let Value::Map(entries) = &mut fields.value {
        entries.retain(|(key, _)| !is_own(&key.name));
    }
    let (node, is_dynamic) = compiler.strings(&fields);
    if !node.is_known() {
        let help = "write the item as a map; its values and its `if` can have expressions";
        compiler.checker.error(node.span, format!("{path} cannot be a single expression"), help);
    }
    names.conditional = condition.is_some();
    let name = node.text("name").map(str::to_owned);
    let first = compiler.checker.gates.len();
    let item = item_read::read(compiler.checker, node.clone(), Place { kind, path: &path, files }, names)?;
    let gates = compiler.checker.gates_under(condition.as_ref(), first);
    let item = Arc::new(Item { position: place, ..item });
    Some(BodyEntry { kind, name, item, condition, dynamic: is_dynamic.then_some((node, path)), gates })
}

impl BodyEntry {
    /// The item, if it is the same for every pod.
    pub(super) fn constant(&self) -> Option<&Arc<Item>> {
        (self.condition.is_none() && self.dynamic.is_none()).then_some(&self.item)
    }

    /// Evaluates the item for one pod; `None` if its condition is false or its expressions return null for all of it.
    ///
    /// # Errors
    /// Expressions that failed or returned a wrong value, each a sentence without full stop.
    pub(super) fn evaluate(
        &self,
        scope: &Scope<'_>,
        files: &str,
        names: &mut TakenNames,
    ) -> Result<Option<Arc<Item>>, Vec<String>> {
        if let Some(condition) = &self.condition
            && !scope.holds(condition).map_err(|why| vec![why])?
        {
            return Ok(None);
        }
        let Some((node, path)) = &self.dynamic else {
            let rejected: Vec<String> = gates::rejected(&self.gates, scope.cluster()).collect();
            if !rejected.is_empty() {
                return Err(rejected);
            }
            let twice = || vec![format!("two items of the template named \"{}\" apply to this pod", self.item.name)];
            return if names.take(&self.item.name) { Ok(Some(Arc::clone(&self.item))) } else { Err(twice()) };
        };
        let Some(node) = resolve(node, scope).map_err(|why| vec![why])? else { return Ok(None) };
        let mut checker = Checker::of_results();
        let item = item_read::read(&mut checker, node, Place { kind: self.kind, path, files }, names);
        let messages = checker.messages(scope.cluster());
        if messages.is_empty() {
            Ok(item.map(|item| Arc::new(Item { position: self.item.position.clone(), ..item })))
        } else {
            Err(messages)
        }
    }

    /// The first expression in a field that affects the pod's privileges, with that field: image, securityContext, or
    /// the source of a volume.
    pub(super) fn sensitive_expression(&self) -> Option<(Span, &'static str)> {
        let (node, _) = self.dynamic.as_ref()?;
        node.entries().iter().find_map(|(key, value)| {
            let field = match (self.kind, key.name.as_str()) {
                (ItemKind::Volume, "files" | "name") => return None,
                (ItemKind::Volume, _) => "the source of a volume",
                (_, "image") => "image",
                (_, "securityContext") => "securityContext",
                _ => return None,
            };
            Some((first_expression(value)?, field))
        })
    }
}

/// The place of the first expression in a node; `None` without expressions.
pub(super) fn first_expression(node: &Node) -> Option<Span> {
    match &node.value {
        Value::Interpolated(_) => Some(node.span),
        Value::List(items) => items.iter().find_map(first_expression),
        Value::Map(entries) => entries.iter().find_map(|(_, value)| first_expression(value)),
        _ => None,
    }
}
