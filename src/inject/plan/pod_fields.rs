//! The pod-level fields of a plan: merges the fields of templates into those of the pod, by the rules of
//! [`POD_FIELDS`].

use serde_json::{Map, Value as Json, json};

use crate::inject::kube::defaults;
use crate::inject::plan::pointer::escaped;
use crate::inject::template::body::pod_fields::{Merge, POD_FIELDS, PodField};

/// The pod's own fields with the additions of templates.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodLevel {
    state: Map<String, Json>,
    /// The additions, in order.
    pub(crate) operations: Vec<Operation>,
}

/// One member or list item that is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// The keys below `/spec`. The last one can be an index: the length of the list that grows.
    pub(crate) path: Vec<String>,
    pub(crate) value: Json,
    /// The value that is replaced, if any: a default of the API server, or a shorter grace period.
    pub(crate) replaced: Option<Json>,
}

impl Operation {
    /// Returns true if the operation sets `field`, given as keys joined by dots, or a parent of it.
    pub(crate) fn gave(&self, field: &str) -> bool {
        let own = self.path.join(".");
        field.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The member's JSON pointer in the pod.
    pub(crate) fn pointer(&self) -> String {
        let steps: Vec<_> = self.path.iter().map(|step| escaped(step)).collect();
        format!("/spec/{}", steps.join("/"))
    }
}

impl PodLevel {
    /// The pod's own fields. `read` returns the JSON text of a field of its spec.
    pub(crate) fn of<'j>(read: impl Fn(&str) -> Option<&'j str>) -> Self {
        let field = |field: &PodField| {
            let json: Json = serde_json::from_str(read(field.name)?).ok()?;
            Some((field.name.to_owned(), json))
        };
        Self { state: POD_FIELDS.iter().filter_map(field).collect(), operations: Vec::new() }
    }

    /// The fields with the additions, by their names in `spec`.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&String, &Json)> {
        self.state.iter()
    }

    /// Adds the fields of one template. Returns the fields that the pod has with another value, keys joined by dots.
    pub(crate) fn add(&mut self, fields: &Map<String, Json>) -> Vec<String> {
        let mut conflicts = Vec::new();
        for PodField { name, merge, .. } in POD_FIELDS {
            let Some(wanted) = fields.get(name) else { continue };
            match merge {
                Merge::Leaves => self.leaves(vec![name.to_owned()], wanted, &mut conflicts),
                Merge::Append => self.append(name, wanted),
                Merge::OverDefault | Merge::Raise => self.replace(name, merge, wanted, &mut conflicts),
            }
        }
        conflicts
    }

    fn leaves(&mut self, path: Vec<String>, wanted: &Json, conflicts: &mut Vec<String>) {
        let own = path[1..].iter().fold(self.state.get(&path[0]), |own, step| own.and_then(|own| own.get(step)));
        match (own, wanted) {
            (Some(Json::Object(own)), Json::Object(_)) if is_whole(&path) && !own.is_empty() => {
                if !defaults::equal(&Json::Object(own.clone()), wanted) {
                    conflicts.push(path.join("."));
                }
            }
            (Some(Json::Object(_)), Json::Object(members)) => {
                for (key, value) in members {
                    let path = path.iter().chain([key]).cloned().collect();
                    self.leaves(path, value, conflicts);
                }
            }
            (None | Some(Json::Null), _) => self.push(path, wanted.clone(), None),
            (Some(own), _) if own == wanted => {}
            (Some(_), _) => conflicts.push(path.join(".")),
        }
    }

    fn append(&mut self, name: &str, wanted: &Json) {
        let own = self.state.get(name).and_then(Json::as_array).cloned();
        let mut new: Vec<&Json> = Vec::new();
        for item in wanted.as_array().into_iter().flatten() {
            if own.as_ref().is_none_or(|own| !own.contains(item)) && !new.contains(&item) {
                new.push(item);
            }
        }
        if new.is_empty() {
            return;
        }
        let Some(own) = &own else { return self.push(vec![name.to_owned()], json!(new), None) };
        for (count, item) in new.into_iter().enumerate() {
            self.push(vec![name.to_owned(), (own.len() + count).to_string()], item.clone(), None);
        }
    }

    fn replace(&mut self, name: &str, merge: Merge, wanted: &Json, conflicts: &mut Vec<String>) {
        let default = defaults::of_spec(name).unwrap_or_default();
        let own = self.state.get(name).filter(|own| !own.is_null() && **own != "").cloned();
        let is_default = own.as_ref().is_none_or(|own| *own == default);
        let old = own.clone().unwrap_or(default);
        if old == *wanted {
            return;
        }
        if merge == Merge::Raise {
            // If the pod has a longer period, it is kept.
            if wanted.as_i64() > old.as_i64() {
                self.push(vec![name.to_owned()], wanted.clone(), own);
            }
        } else if is_default {
            self.push(vec![name.to_owned()], wanted.clone(), own);
        } else {
            conflicts.push(name.to_owned());
        }
    }

    fn push(&mut self, path: Vec<String>, value: Json, replaced: Option<Json>) {
        let mut state = Json::Object(std::mem::take(&mut self.state));
        if let Some((last, parents)) = path.split_last() {
            let parent = parents.iter().fold(&mut state, |at, step| &mut at[step.as_str()]);
            match parent {
                Json::Array(items) => items.push(value.clone()),
                parent => parent[last.as_str()] = value.clone(),
            }
        }
        if let Json::Object(state) = state {
            self.state = state;
        }
        self.operations.push(Operation { path, value, replaced });
    }
}

/// Returns true for an object whose members have a meaning only together (unions of the API, and options of one system).
fn is_whole(path: &[String]) -> bool {
    const WHOLE: [&str; 4] = ["seccompProfile", "appArmorProfile", "windowsOptions", "seLinuxOptions"];
    path.len() == 2 && path[0] == "securityContext" && WHOLE.contains(&path[1].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(own: &Json, wanted: &[Json]) -> (Vec<String>, Vec<String>) {
        let texts: Map<String, Json> =
            own.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.to_string().into())).collect();
        let mut pod = PodLevel::of(|name| texts.get(name).and_then(Json::as_str));
        let conflicts = wanted.iter().flat_map(|w| pod.add(w.as_object().expect("a map"))).collect();
        (pod.operations.iter().map(|o| format!("{} {}", o.pointer(), o.value)).collect(), conflicts)
    }

    #[test]
    fn maps_merge_at_the_leaf_and_lists_grow() {
        let own = json!({"securityContext": {}, "nodeSelector": {"a/b": "1"}, "tolerations": [{"key": "x"}]});
        let one = json!({"securityContext": {"fsGroup": 1, "supplementalGroups": [1]}, "nodeSelector": {"a/b": "1", "c/d": "2"}, "tolerations": [{"key": "x"}, {"key": "y"}], "hostAliases": [{"ip": "1.1.1.1"}]});
        let two = json!({"securityContext": {"fsGroup": 2}, "hostAliases": [{"ip": "2.2.2.2"}], "shareProcessNamespace": true});
        let (operations, conflicts) = merged(&own, &[one, two]);
        assert_eq!(
            operations,
            [
                "/spec/securityContext/fsGroup 1",
                "/spec/securityContext/supplementalGroups [1]",
                "/spec/nodeSelector/c~1d \"2\"",
                "/spec/tolerations/1 {\"key\":\"y\"}",
                "/spec/hostAliases [{\"ip\":\"1.1.1.1\"}]",
                "/spec/shareProcessNamespace true",
                "/spec/hostAliases/1 {\"ip\":\"2.2.2.2\"}",
            ]
        );
        assert_eq!(conflicts, ["securityContext.fsGroup"]);
    }

    #[test]
    fn defaults_of_the_api_server_count_as_absent() {
        let wanted = json!({"serviceAccountName": "agent", "terminationGracePeriodSeconds": 90});
        for own in [json!({}), json!({"serviceAccountName": "default", "terminationGracePeriodSeconds": 30})] {
            let (operations, conflicts) = merged(&own, std::slice::from_ref(&wanted));
            let expected = ["/spec/serviceAccountName \"agent\"", "/spec/terminationGracePeriodSeconds 90"];
            assert_eq!((operations.as_slice(), conflicts.len()), (&expected.map(str::to_owned)[..], 0));
        }
        let own = json!({"serviceAccountName": "own", "terminationGracePeriodSeconds": 120});
        assert_eq!(merged(&own, &[wanted]), (vec![], vec!["serviceAccountName".to_owned()]));
    }
}
