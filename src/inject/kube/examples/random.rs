//! Random values of the types of a Pod, for tests that compare the checks with a real API server. Equal seeds give equal
//! values.

use serde_json::{Map, Value as Json, json};

use crate::inject::kube::examples::sample::accepted;
use crate::inject::kube::rules::{FieldRule, Relation};
use crate::inject::kube::types::{self, Field, Kind, ObjectType};

/// A source of random values (SplitMix64).
#[derive(Debug)]
pub struct Random(u64);

/// Texts that are valid in some fields only.
const TEXTS: [&str; 10] = ["x", "", "a/b", "/a", "../a", "A b", "1", "a.b", "metadata.name", "app"];

impl Random {
    /// A source that begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end` - 1.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }

    /// True in `percent` of 100 calls.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the items.
    pub fn pick<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        items.get(self.below(items.len()))
    }

    /// An object of the type `name`, such as `Container`. Most of its values are valid.
    pub fn object(&mut self, name: &str) -> Json {
        types::kind(name).object().map_or(Json::Null, |object| Json::Object(self.of_type(object, 0)))
    }

    /// The field `name` of a pod's spec.
    pub fn field_of_spec(&mut self, name: &str) -> Json {
        let field = types::kind("PodSpec").object().and_then(|spec| spec.field(name));
        field.map_or(Json::Null, |field| self.of_field(field, 0))
    }

    fn of_type(&mut self, object: &'static ObjectType, depth: usize) -> Map<String, Json> {
        let chosen: Vec<&str> = object.relations.iter().filter_map(|relation| self.one_of(object, relation)).collect();
        let grouped = |name: &str| {
            object.relations.iter().any(|relation| match relation {
                Relation::Exactly(fields) | Relation::AtMost(fields) => fields.contains(&name),
                Relation::Only(fields) => !fields.contains(&name),
                Relation::OneBeside(other) => name != *other,
                _ => false,
            })
        };
        let mut whole = Map::new();
        for field in &object.fields {
            let percent = if depth < 2 { 20 } else { 8 };
            let is_wanted = if grouped(&field.name) {
                chosen.contains(&field.name.as_str()) || self.chance(1)
            } else {
                field.required && !self.chance(1) || self.chance(percent)
            };
            if is_wanted {
                whole.insert(field.name.clone(), self.of_field(field, depth));
            }
        }
        whole
    }

    /// A member of a group of which one must be set.
    fn one_of(&mut self, object: &'static ObjectType, relation: &'static Relation) -> Option<&'static str> {
        match relation {
            Relation::Exactly(fields) | Relation::AtMost(fields) => self.pick(fields).copied(),
            Relation::OneBeside(name) => {
                let fields: Vec<&'static str> =
                    object.fields.iter().map(|field| field.name.as_str()).filter(|field| field != name).collect();
                self.pick(&fields).copied()
            }
            _ => None,
        }
    }

    fn of_field(&mut self, field: &Field, depth: usize) -> Json {
        if self.chance(2) {
            return self.of_kind(&field.kind, depth);
        }
        if let Some(word) = self.pick(&field.words).filter(|word| !word.is_empty()) {
            return (*word).into();
        }
        let bounds = field.rules.iter().find_map(|rule| match rule {
            FieldRule::Range(least, most) => Some((*least, *most)),
            _ => None,
        });
        match (&field.kind, bounds) {
            (Kind::Object(_) | Kind::List(_), _) => self.of_kind(&field.kind, depth),
            (_, Some((least, most))) => {
                self.pick(&[least, least + 1, most.min(least + 50)]).copied().unwrap_or(0).into()
            }
            _ => accepted(field),
        }
    }

    fn of_kind(&mut self, kind: &Kind, depth: usize) -> Json {
        match kind {
            Kind::String | Kind::Any => self.pick(&TEXTS).copied().unwrap_or_default().into(),
            Kind::Boolean => self.chance(50).into(),
            Kind::Int32 | Kind::Int64 => self.pick(&[-1, 0, 1, 20, 65_536]).copied().unwrap_or(0).into(),
            Kind::IntOrString => {
                if self.chance(50) {
                    json!(80)
                } else {
                    json!("http")
                }
            }
            Kind::Quantity => self.pick(&["1", "0", "-1", "100m", "1Gi"]).copied().unwrap_or("1").into(),
            Kind::Time => "2026-01-01T00:00:00Z".into(),
            Kind::List(item) => {
                let count = self.below(3);
                Json::Array((0..count).map(|_| self.of_kind(item, depth + 1)).collect())
            }
            Kind::Map(item) => {
                let keys = ["a", "example.com/a", "cpu", "memory", "A b"];
                let count = self.below(3);
                let entry = |random: &mut Self| {
                    let key = random.pick(&keys).copied().unwrap_or("a").to_owned();
                    (key, random.of_kind(item, depth + 1))
                };
                Json::Object((0..count).map(|_| entry(self)).collect())
            }
            Kind::Object(_) => match kind.object() {
                Some(object) if depth < 8 => Json::Object(self.of_type(object, depth + 1)),
                _ => json!({}),
            },
        }
    }
}
