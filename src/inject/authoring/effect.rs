//! What a ConfigMap changes in the catalog: templates that another ConfigMap defines already, and names for which a
//! request without a version gets another version. This module does not read documents and does not decide on the
//! ConfigMap.

use std::collections::BTreeMap;

use crate::inject::catalog::Catalog;
use crate::inject::catalog::changes::of_place;
use crate::inject::catalog::definitions::{Definition, Duplicate, DuplicateKind};
use crate::inject::catalog::holder::HolderId;
use crate::inject::catalog::view::View;
use crate::inject::diagnostic::Diagnostic;

/// The effect of a ConfigMap.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// Why the ConfigMap must not be stored.
    pub(super) errors: Vec<Diagnostic>,
    /// What its author should know, each a clause without a full stop.
    pub(super) warnings: Vec<String>,
}

/// The effect of replacing the documents of the ConfigMap `id` by `own`. Pods of the namespace see the templates through
/// `view`. If `of_namespace` is true, the ConfigMap is one of the templates of the namespace, otherwise a central one.
pub(super) fn of(view: View<'_>, of_namespace: bool, id: &HolderId, own: Vec<Definition>) -> Effect {
    let empty = Catalog::default();
    let before = if of_namespace { view.own.unwrap_or(&empty) } else { view.central };
    let (after, clashes) = Catalog::of_definitions(replaced(before.definitions(), id, own), BTreeMap::new());
    let mut effect = Effect::default();
    for clash in clashes {
        effect.add_clash(clash, before.definitions(), after.definitions(), id);
    }
    let view = if of_namespace { View { own: Some(&after), ..view } } else { View::central(&after) };
    effect.warnings.extend(of_place(before, &after, view).iter().map(ToString::to_string));
    effect
}

impl Effect {
    /// Adds the problem of a clash of two documents in `after`. Clashes of other ConfigMaps are not problems of the
    /// ConfigMap `id`, nor is one in which the ConfigMap defined and served the version before.
    fn add_clash(&mut self, clash: Duplicate, before: &[Definition], after: &[Definition], id: &HolderId) {
        let (at, first) = (&after[clash.at], &after[clash.first]);
        let is_own = |definition: &Definition| definition.holder.id == *id;
        let (own, other) = match (is_own(at), is_own(first)) {
            (true, _) => (at, first),
            (false, true)
                if clash.kind == DuplicateKind::Version && !before.iter().any(|it| is_own(it) && same(it, at)) =>
            {
                (first, at)
            }
            _ => return,
        };
        let message = clash.kind.message(own.document(), other.document());
        if clash.kind == DuplicateKind::Version || is_own(other) {
            self.errors.push(Diagnostic::of_document(&own.place, message));
        } else {
            self.warnings.push(format!("{}: {message}, which is older and serves", own.place));
        }
    }
}

/// The definitions after the documents of `holder` are replaced by `own`, from the oldest to the newest.
fn replaced(definitions: &[Definition], holder: &HolderId, own: Vec<Definition>) -> Vec<Definition> {
    let mut all: Vec<Definition> = definitions.iter().filter(|each| each.holder.id != *holder).cloned().collect();
    all.extend(own);
    all.sort_by(|one, other| one.holder.cmp(&other.holder));
    all
}

/// Returns true if the current text of `one` defines the same version of a template as `other`.
fn same(one: &Definition, other: &Definition) -> bool {
    let (template, other) = (&one.template, &other.template);
    one.is_current && template.name == other.name && template.version == other.version
}
