//! Reads named members of a JSON text and skips all others, so that the cost of an expression depends on what it reads
//! and not on the size of the pod. The module does not know what the members mean.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

/// The members to read, as a tree of keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths {
    /// True if the whole value is read.
    whole: bool,
    members: BTreeMap<String, Paths>,
}

impl Paths {
    /// Creates a tree of the members at `paths`; an empty path is the whole value.
    pub(crate) fn new(paths: &BTreeSet<Vec<String>>) -> Self {
        let mut root = Self::default();
        for path in paths {
            let mut current = &mut root;
            for step in path {
                current = current.members.entry(step.clone()).or_default();
            }
            current.whole = true;
        }
        root
    }

    /// Reads the members of the value at the path `at` of a JSON text. Missing members are omitted; a missing value is
    /// null.
    ///
    /// # Errors
    /// The parser's error, if the text is not valid JSON.
    pub(crate) fn read(&self, document: &str, at: &[&str]) -> Result<Json, serde_json::Error> {
        let seed = Seed { at, paths: self };
        seed.deserialize(&mut serde_json::Deserializer::from_str(document))
    }
}

#[derive(Clone, Copy)]
struct Seed<'p> {
    /// Keys that lead to the value.
    at: &'p [&'p str],
    paths: &'p Paths,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        if self.at.is_empty() && self.paths.whole {
            return serde::Deserialize::deserialize(deserializer);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        if let [first, rest @ ..] = self.at {
            let mut found = Json::Null;
            while let Some(key) = access.next_key::<std::borrow::Cow<'de, str>>()? {
                if key == *first {
                    found = access.next_value_seed(Seed { at: rest, ..self })?;
                } else {
                    access.next_value::<IgnoredAny>()?;
                }
            }
            return Ok(found);
        }
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            match self.paths.members.get(&key) {
                Some(paths) => drop(map.insert(key, access.next_value_seed(Seed { at: &[], paths })?)),
                None => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Json::Object(map))
    }

    // A value that is not an object has no members. For a list, the result is an empty list.
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Array(Vec::new()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_the_named_paths() {
        let paths: BTreeSet<Vec<String>> =
            [vec!["metadata", "labels"], vec!["spec", "a", "b"], vec!["spec", "none"], vec!["spec", "list", "x"]]
                .map(|path| path.into_iter().map(str::to_owned).collect())
                .into();
        let text = r#"{"x":1,"o":{"p":{"metadata":{"name":"n","labels":{"a":"b"}},"spec":{"a":{"b":[1,{"c":2}],"d":3},"list":[1]},"z":[[]]}}}"#;
        let read = Paths::new(&paths).read(text, &["o", "p"]).expect("JSON");
        assert_eq!(read.to_string(), r#"{"metadata":{"labels":{"a":"b"}},"spec":{"a":{"b":[1,{"c":2}]},"list":[]}}"#);
        let whole = Paths::new(&BTreeSet::from([vec![]])).read(text, &["o"]).expect("JSON");
        assert_eq!(whole["p"]["spec"]["a"]["d"], 3);
        assert!(Paths::new(&paths).read(text, &["none"]).expect("JSON").is_null());
        assert!(Paths::new(&paths).read("{", &[]).is_err());
    }
}
