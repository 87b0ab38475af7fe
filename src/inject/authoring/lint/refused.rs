//! Findings about pods that a cluster has refused in a dry run. The module finds the part of the template that the
//! message of the API server names. It does not create pods.

use serde_json::Value as Json;

use crate::inject::authoring::dry_run::refusal::Refusal;
use crate::inject::authoring::lint::linter::Finding;
use crate::inject::authoring::lint::rules::REFUSED_BY_CLUSTER;
use crate::inject::diagnostic::{Source, Span};
use crate::inject::document::{Node, Value, yaml};
use crate::inject::template::Template;

/// The pods with a template that a cluster refused for the same reason.
#[derive(Debug)]
pub struct RefusedPods<'r> {
    /// The reason.
    pub refusal: &'r Refusal,
    /// The simplest of the pods.
    pub pod: &'r Json,
    /// Its settings in words; empty for a plain pod.
    pub words: &'r str,
    /// The namespace of the pods.
    pub namespace: &'r str,
    /// The number of the pods.
    pub count: usize,
    /// The number of all pods with the template, including those that the cluster accepted.
    pub of: usize,
}

/// The finding about refused pods of the template in `source`. `None` if the template silences the rule.
#[must_use]
pub fn refused(source: &Source<'_>, template: &Template, pods: &RefusedPods<'_>) -> Option<Finding> {
    if template.silences(REFUSED_BY_CLUSTER.id) {
        return None;
    }
    let span = yaml::parse(source).map(|node| place(&node, &pods.refusal.why, pods.pod)).unwrap_or_default();
    let Refusal { by, why } = pods.refusal;
    let (name, namespace) = (template.display(), pods.namespace);
    let message =
        format!("{by} refuses {} of {} pods with {name} in the namespace {namespace}: {why}", pods.count, pods.of);
    let tried = match pods.words {
        "" => "a plain pod".to_owned(),
        words => format!("a pod with {words}"),
    };
    let help = format!("it refuses {tried}, and accepts the same pod without the template; {}", by.remedy());
    Some(Finding::new(&REFUSED_BY_CLUSTER, source.error(span, message).help(help), &template.name))
}

/// The place of the field or container that the message names, or the place of the template.
fn place(template: &Node, message: &str, pod: &Json) -> Span {
    let is_of_path = |c: char| c.is_ascii_alphanumeric() || ".[]_".contains(c);
    let words = message.split(|c| !is_of_path(c)).map(|word| word.trim_start_matches('['));
    let mut paths = words.filter(|word| word.starts_with("spec."));
    let containers = || template.items("sidecars").iter().chain(template.items("initContainers"));
    // Pod Security quotes the names of containers, and quota lists them at the end.
    let quoted = message.split('"').skip(1).step_by(2);
    let listed = message.rsplit_once(" for: ").into_iter().flat_map(|(_, names)| names.split([',', ';']));
    let mut names = quoted.chain(listed);
    paths
        .find_map(|path| at_path(template, path, pod))
        .or_else(|| names.find_map(|name| containers().find(|container| container.text("name") == Some(name))))
        .map_or(template.span, Node::place)
}

/// The part of the template that is at a path of the pod, such as `spec.initContainers[0].image`. If the template does
/// not have the last steps of the path, the part that contains them.
fn at_path<'n>(template: &'n Node, path: &str, pod: &Json) -> Option<&'n Node> {
    let mut steps = path.split(['.', '[', ']']).filter(|step| !step.is_empty()).skip(1).peekable();
    let field = steps.next()?;
    let list = &pod["spec"][field];
    let mut node = if list[0]["name"].is_string() {
        let name = list[steps.next()?.parse::<usize>().ok()?]["name"].as_str()?;
        let items = ["sidecars", "initContainers", "volumes"]
            .into_iter()
            .filter(|key| (*key == "volumes") == (field == "volumes"));
        items.flat_map(|key| template.items(key)).find(|item| item.text("name") == Some(name))?
    } else {
        template.get("pod")?.get(field)?
    };
    for step in steps {
        let next = match &node.value {
            Value::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => node.get(step),
        };
        let Some(next) = next else { break };
        node = next;
    }
    Some(node)
}

impl Node {
    /// The place to show: for an item with a name, the name.
    fn place(&self) -> Span {
        self.span_of("name")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::inject::authoring::dry_run::refusal::RefusedBy;
    use crate::inject::settings::keys::Keys;

    const TEXT: &str = "\
sidecars:
- name: logs
  image: logs:1
  ports:
  - {containerPort: 1}
- name: metrics
  image: metrics:1
volumes:
- {name: data, emptyDir: {}}
pod: {serviceAccountName: logs}
";

    fn line(message: &str) -> usize {
        let pod = json!({"spec": {
            "initContainers": [{"name": "metrics"}, {"name": "logs"}],
            "volumes": [{"name": "data"}],
            "serviceAccountName": "logs",
        }});
        let node = yaml::parse(&Source::new("t", TEXT)).expect("a document");
        place(&node, message, &pod).line
    }

    #[test]
    fn the_place_is_the_part_that_the_message_names() {
        for (message, expected) in [
            ("spec.initContainers[0].image: Required value", 7),
            ("[spec.initContainers[1].ports[0].containerPort: Invalid value: 0, spec.x: y]", 5),
            ("strict decoding error: unknown field \"spec.initContainers[1].foo\"", 2),
            ("spec.volumes[0].emptyDir.medium: Unsupported value", 9),
            ("spec.serviceAccountName: Invalid value", 10),
            ("(container \"metrics\" must set securityContext.capabilities.drop=[\"ALL\"])", 6),
            ("failed quota: compute: must specify requests.memory for: logs", 2),
            ("images must have a digest", 1),
        ] {
            assert_eq!(line(message), expected, "{message}");
        }
    }

    #[test]
    fn a_finding_says_what_refuses_which_pods() {
        let template =
            |text: &str| Template::load(&Source::new("t", text), "logs", &Keys::default()).expect(text).template;
        let refusal = Refusal { by: RefusedBy::LimitRange, why: "maximum memory usage".to_owned() };
        let pods =
            RefusedPods { refusal: &refusal, pod: &json!({}), words: "os: linux", namespace: "shop", count: 2, of: 7 };
        let finding = refused(&Source::new("t.yaml", TEXT), &template(TEXT), &pods).expect("a finding");
        assert_eq!(
            finding.diagnostic.one_line(),
            "t.yaml:1:1: a LimitRange refuses 2 of 7 pods with logs in the namespace shop: maximum memory usage (it \
             refuses a pod with os: linux, and accepts the same pod without the template; set resources within the \
             limits that `kubectl describe limitrange` shows)"
        );
        let silenced = "lint: {refused-by-cluster: the namespace is for another team}";
        assert_eq!(refused(&Source::new("t.yaml", silenced), &template(silenced), &pods), None);
    }
}
