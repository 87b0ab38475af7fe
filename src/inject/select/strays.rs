//! Parameters of templates that a pod does not request. The webhook warns about them, and lint reports them. This
//! module does not know which templates or parameters exist.

use crate::inject::diagnostic::nearest;
use crate::inject::review::pod::{Metadata, StringMap};
use crate::inject::settings::keys::Keys;
use crate::inject::template::reference::TemplateRef;

/// Finds the annotations in `metadata` that are parameters of templates outside of `requested`, which is probably a
/// typo. Returns one message for each, a sentence without full stop.
pub(crate) fn stray_parameters(metadata: &Metadata<'_>, requested: &[TemplateRef<'_>], keys: &Keys) -> Vec<String> {
    let annotations = metadata.annotations.iter().flat_map(StringMap::iter);
    let stray = annotations.filter_map(|(key, _)| {
        let (template, _) = keys.as_parameter(key)?;
        requested.iter().all(|wanted| wanted.name != template).then_some((key, template))
    });
    let message = |(key, template)| {
        let hint = nearest(template, requested.iter().map(|wanted| wanted.name));
        let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        format!("{key} is for a template that is not requested{hint}")
    };
    stray.map(message).collect()
}
