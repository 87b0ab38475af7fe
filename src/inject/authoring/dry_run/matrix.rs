//! The pods that one template is tried with: kinds of pods, combined with values of its parameters.

use serde_json::{Value as Json, json};

use crate::inject::authoring::dry_run::pairs;
use crate::inject::authoring::dry_run::pod_kind::PodKind;
use crate::inject::diagnostic::shown;
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;

/// Maximum number of pods for one template.
pub const MAX_PODS: usize = 100;
/// Maximum length of the value of an annotation in words, in characters.
const MAX_VALUE: usize = 60;

/// Annotations of a pod: keys and values.
type Annotations = Vec<(String, String)>;

/// The pods for one template.
#[derive(Debug)]
pub struct PodMatrix<'t> {
    template: &'t Template,
    keys: &'t Keys,
    /// The values of each parameter. The first is the default, which sets no annotation, or for a required parameter
    /// its first value.
    parameters: Vec<Vec<Annotations>>,
    pods: Vec<MatrixPod>,
    /// The number of pods beyond the maximum.
    pub left_out: usize,
}

/// A pod of a matrix: the index of the value of each field of the pod, then of each parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixPod(Vec<usize>);

impl MatrixPod {
    /// The kind of the pod.
    #[must_use]
    pub fn kind(&self) -> PodKind {
        PodKind::of_row(&self.0)
    }

    /// The pods with one setting less, each with a simpler value than this one.
    pub fn simpler(&self) -> impl Iterator<Item = Self> {
        let set = self.0.iter().enumerate().filter(|(_, value)| **value > 0);
        set.map(|(index, _)| {
            let mut row = self.0.clone();
            row[index] = 0;
            Self(row)
        })
    }
}

impl<'t> PodMatrix<'t> {
    /// The pods for `template`. Each two values of different fields or parameters are together in a pod, except pods
    /// that include a kind of `unusable`.
    #[must_use]
    pub fn of(template: &'t Template, keys: &'t Keys, unusable: &[PodKind]) -> Self {
        let annotation = |(name, text): (String, String)| (keys.parameter(&template.name, &name), text);
        let parameters = template.parameters.iter().map(|parameter| {
            let samples = parameter.samples().into_iter();
            let samples = samples.map(|sample| sample.into_iter().map(annotation).collect());
            let unset = (!parameter.required).then(Vec::new);
            unset.into_iter().chain(samples).collect::<Vec<Annotations>>()
        });
        let parameters: Vec<Vec<Annotations>> = parameters.collect();
        let sizes: Vec<usize> =
            PodKind::SIZES.into_iter().chain(parameters.iter().map(|values| values.len().max(1))).collect();
        let is_possible = |row: &[usize]| {
            let kind = PodKind::of_row(row);
            kind.is_valid() && !unusable.iter().any(|other| kind.includes(*other))
        };
        let mut pods: Vec<MatrixPod> = pairs::rows(&sizes, is_possible).into_iter().map(MatrixPod).collect();
        let left_out = pods.len().saturating_sub(MAX_PODS);
        pods.truncate(MAX_PODS);
        Self { template, keys, parameters, pods, left_out }
    }

    /// The pods. The first is a plain pod with the defaults of the template.
    #[must_use]
    pub fn pods(&self) -> &[MatrixPod] {
        &self.pods
    }

    /// The pod as a user writes it: with a request for the template, and its parameters.
    #[must_use]
    pub fn requesting(&self, pod: &MatrixPod) -> Json {
        let mut object = pod.kind().pod();
        object["metadata"]["annotations"] = json!({&self.keys.request: self.template.display()});
        for (key, text) in self.annotations(pod) {
            object["metadata"]["annotations"][key] = text.as_str().into();
        }
        object
    }

    /// Removes the annotations of [`Self::requesting`], so that a webhook in the cluster does not inject too.
    pub fn remove_request(&self, object: &mut Json) {
        if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
            let is_parameter = |key: &str| self.keys.parameter_of(&self.template.name, key).is_some();
            annotations.retain(|key, _| *key != self.keys.request && !is_parameter(key));
        }
    }

    /// The settings of the pod in words, such as `restartPolicy: Never`; empty for a plain pod.
    #[must_use]
    pub fn words(&self, pod: &MatrixPod) -> String {
        let settings = pod.kind().words().into_iter().map(str::to_owned);
        let annotations = self.annotations(pod).map(|(key, text)| match text.as_str() {
            "" => format!("{key}: \"\""),
            text => format!("{key}: {}", shown(text, MAX_VALUE)),
        });
        settings.chain(annotations).collect::<Vec<_>>().join(", ")
    }

    fn annotations(&self, pod: &MatrixPod) -> impl Iterator<Item = &(String, String)> {
        let values = pod.0.iter().skip(PodKind::SIZES.len());
        values.zip(&self.parameters).filter_map(|(value, values)| values.get(*value)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::diagnostic::Source;

    const TEXT: &str = "
version: '2'
parameters:
  level: {type: string, enum: [info, debug], default: info}
  port: {type: integer, required: true, minimum: 1024, maximum: 65535}
  extra: {type: map}
";

    fn template(text: &str) -> Template {
        Template::load(&Source::new("t", text), "logs", &Keys::default()).expect(text).template
    }

    #[test]
    fn pods_combine_kinds_and_parameters() {
        let (template, keys) = (template(TEXT), Keys::default());
        let matrix = PodMatrix::of(&template, &keys, &[]);
        let words: Vec<String> = matrix.pods().iter().map(|pod| matrix.words(pod)).collect();
        assert_eq!(words[0], "logs.sidecar.io/port: 1024");
        for part in ["restartPolicy: OnFailure", "os: windows", "hostUsers: false", "level: debug", "port: 65535"] {
            assert!(words.iter().any(|words| words.contains(part)), "{part}: {words:#?}");
        }
        let has_pair = |words: &String| words.contains("restartPolicy: Never") && words.contains("level: debug");
        assert!(words.iter().any(has_pair), "{words:#?}");
        assert!((9..20).contains(&words.len()), "{words:#?}");
        let mut object = matrix.requesting(&matrix.pods()[0]);
        let annotations = json!({"sidecar.io/inject": "logs@2", "logs.sidecar.io/port": "1024"});
        assert_eq!(object["metadata"]["annotations"], annotations);
        object["metadata"]["annotations"]["example.com/a"] = "b".into();
        matrix.remove_request(&mut object);
        assert_eq!(object["metadata"]["annotations"], json!({"example.com/a": "b"}));
    }

    #[test]
    fn kinds_that_the_cluster_refuses_are_left_out() {
        let (template, keys) = (template("{}"), Keys::default());
        let unusable = &PodKind::singles()[2..3];
        let matrix = PodMatrix::of(&template, &keys, unusable);
        assert!(matrix.pods().len() > 5);
        assert!(matrix.pods().iter().all(|pod| !matrix.words(pod).contains("hostNetwork")));
        assert!(matrix.pods().iter().all(|pod| pod.kind().is_valid()));
    }

    #[test]
    fn simpler_pods_have_one_setting_less() {
        let pod = MatrixPod(vec![1, 0, 0, 0, 2]);
        let simpler: Vec<MatrixPod> = pod.simpler().collect();
        assert_eq!(simpler, [MatrixPod(vec![0, 0, 0, 0, 2]), MatrixPod(vec![1, 0, 0, 0, 0])]);
    }

    #[test]
    fn the_number_of_pods_has_a_maximum() {
        let values: Vec<String> = (0..60).map(|value| format!("v{value}")).collect();
        let text = format!("parameters: {{a: {{type: string, enum: [{}]}}}}", values.join(", "));
        let (template, keys) = (template(&text), Keys::default());
        let matrix = PodMatrix::of(&template, &keys, &[]);
        assert_eq!(matrix.pods().len(), MAX_PODS);
        assert!(matrix.left_out > 0);
    }
}
