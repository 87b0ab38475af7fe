//! The last step of a plan, when all templates are placed: annotations that keep kubectl and the cluster autoscaler
//! working as they did before the injection.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::plan::contents::{Placed, Plan, find};
use crate::inject::plan::context::PodContext;
use crate::inject::plan::pointer::escaped;

/// The container that kubectl uses if the command names none. Without this annotation, it uses the first container.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The local volumes that can be lost when a node is drained, comma-separated.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

impl<'r> Plan<'r> {
    /// Completes the plan after all templates are placed.
    pub(crate) fn finish(&mut self, pod: &PodContext<'r>) {
        self.keep_default_container(pod);
        self.let_evict(pod);
    }

    /// Lists the added `emptyDir` volumes in [`SAFE_TO_EVICT`]. The cluster autoscaler does not evict a pod with local
    /// volumes that are not listed there (autoscaler FAQ; since 1.27). The added ones contain no data of the
    /// application.
    fn let_evict(&mut self, pod: &PodContext<'r>) {
        let ours: Vec<&str> = self
            .volumes
            .iter()
            .filter(|item| !item.value["emptyDir"].is_null())
            .map(|item| item.name.as_str())
            .collect();
        let of_template = find(&self.annotations, SAFE_TO_EVICT);
        let is_listed = of_template.is_some();
        let before = of_template.or(pod.metadata.annotation(SAFE_TO_EVICT));
        let listed = |name: &&&str| before.is_some_and(|list| list.split(',').any(|other| other.trim() == **name));
        let new: Vec<&str> = ours.iter().filter(|name| !listed(name)).copied().collect();
        if new.is_empty() {
            return;
        }
        let before = before.filter(|list| !list.trim().is_empty()).map(str::to_owned);
        let list = before.iter().map(String::as_str).chain(new.iter().copied()).collect::<Vec<_>>().join(",");
        let by = |placed: &&mut Placed<'r>| placed.volumes.iter().any(|item| item.name == new[0]);
        if let Some(placed) = self.placed.iter_mut().find(by).filter(|_| !is_listed) {
            match before {
                Some(old) => {
                    let pointer = format!("/metadata/annotations/{}", escaped(SAFE_TO_EVICT));
                    placed.replaced.insert(pointer, Json::from(old));
                }
                None => placed.annotations.push(SAFE_TO_EVICT),
            }
        }
        self.annotations.retain(|(key, _)| *key != SAFE_TO_EVICT);
        self.annotations.push((SAFE_TO_EVICT, Cow::Owned(list)));
    }

    /// Keeps the first container of the application as kubectl's default, if an added container is the first.
    fn keep_default_container(&mut self, pod: &PodContext<'r>) {
        let Some((first, own)) = self.containers.new_first().map(|(item, own)| (Arc::clone(item), own)) else { return };
        let is_set = pod.metadata.annotation(DEFAULT_CONTAINER).is_some()
            || find(&self.annotations, DEFAULT_CONTAINER).is_some();
        let by = |placed: &&mut Placed<'r>| placed.containers.iter().any(|item| Arc::ptr_eq(item, &first));
        if !is_set && let Some(placed) = self.placed.iter_mut().find(by) {
            placed.annotations.push(DEFAULT_CONTAINER);
            self.annotations.push((DEFAULT_CONTAINER, Cow::Borrowed(own)));
        }
    }
}
