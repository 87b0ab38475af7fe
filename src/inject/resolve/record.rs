//! The new status annotation: the chosen templates in their order, then the other templates that are present.

use crate::inject::decision::reason::Reason;
use crate::inject::plan::{Plan, patch};
use crate::inject::resolve::candidate::{CandidateOutcome, Resolved};
use crate::inject::resolve::case::Case;
use crate::inject::status::write::{self, Skipped, Written, WrittenEntry};
use crate::inject::status::{Status, StatusEntry};

/// Returns the status as JSON text. Entries of `present` are kept unchanged. Entries of `incomplete` are completed,
/// because the pod lacked a part of their templates.
pub(super) fn status(
    case: &Case<'_>,
    old: &Status<'_>,
    (present, incomplete): (&[StatusEntry<'_>], &[StatusEntry<'_>]),
    resolved: &[Resolved<'_>],
    plan: &Plan<'_>,
) -> String {
    // Recorded with the first placed template, so removing that one also removes the created lists and maps.
    let mut created = patch::created(plan, case.metadata, case.spec);
    let any_placed = resolved.iter().any(|resolved| matches!(resolved.outcome, CandidateOutcome::Placed(_)));
    let mut templates = Vec::with_capacity(resolved.len());
    for resolved in resolved {
        let candidate = resolved.candidate;
        let name = candidate.name();
        let older = incomplete.iter().find(|entry| entry.name == name);
        let Some(template) = candidate.template else {
            let kept = present.iter().find(|entry| entry.name == name).map(|entry| entry.raw);
            let kept = kept
                .or_else(|| old.left_out(name).filter(|_| !matches!(resolved.outcome, CandidateOutcome::Failed(_))));
            templates.extend(kept.map(WrittenEntry::Kept));
            continue;
        };
        let hash = candidate.hash(template);
        let entry = match (&resolved.outcome, older) {
            (CandidateOutcome::Placed(placed), older) => {
                let added = write::added(placed, std::mem::take(&mut created));
                let entry = WrittenEntry::of(template, hash, Some(added), None);
                Some(match older {
                    Some(older) => entry.completing(older.raw, &placed.ready.additions, case.spec),
                    None => entry,
                })
            }
            (CandidateOutcome::NothingToAdd, Some(older)) => Some(WrittenEntry::Kept(older.raw)),
            // Recorded, because a later round would evaluate its conditions on the additions of the others.
            (CandidateOutcome::NothingToAdd, None) => any_placed.then(|| {
                let skipped = Skipped { reason: Reason::NothingToAdd.as_str(), message: "" };
                WrittenEntry::of(template, hash, None, Some(skipped))
            }),
            _ => resolved.problems().first().map(|problem| match old.skipped(&template.name, hash) {
                Some(raw) => WrittenEntry::Kept(raw),
                None => {
                    let skipped = Skipped { reason: problem.reason.as_str(), message: &problem.what };
                    WrittenEntry::of(template, hash, None, Some(skipped))
                }
            }),
        };
        templates.extend(entry);
    }
    let others = present.iter().filter(|entry| resolved.iter().all(|resolved| resolved.candidate.name() != entry.name));
    templates.extend(others.map(|entry| WrittenEntry::Kept(entry.raw)));
    Written { injector: env!("CARGO_PKG_VERSION"), templates }.to_text()
}
