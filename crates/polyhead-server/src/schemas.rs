//! The schemas of a description: each by its name once, under `#/components/schemas`, and referred to from everywhere else.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

/// Where they stand in the description.
pub const PLACE: &str = "#/components/schemas/";

/// The schemas that a description needs, as far as it is made.
pub struct Schemas(SchemaGenerator);

impl Schemas {
    /// None yet.
    pub fn new() -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        Self(settings.into_generator())
    }

    /// The schema of a type: a reference, if the type has a name.
    pub fn of<T: JsonSchema>(&mut self) -> Schema {
        self.0.subschema_for::<T>()
    }

    /// What tasks make theirs with.
    pub fn generator(&mut self) -> &mut SchemaGenerator {
        &mut self.0
    }

    /// Keeps a schema under a name, or under that name and a number if another has it; a reference to it.
    pub fn named(&mut self, name: &str, schema: Schema) -> Schema {
        let (known, value) = (self.0.definitions_mut(), schema.to_value());
        let numbered = (2..).map(|number| format!("{name}{number}"));
        let free = |name: &String| known.get(name).is_none_or(|other| *other == value);
        let name = std::iter::once(name.to_owned()).chain(numbered).find(free).unwrap_or_default();
        let reference = Schema::new_ref(format!("{PLACE}{name}"));
        known.insert(name, value);
        reference
    }

    /// All of them by name.
    pub fn finish(mut self) -> Map<String, Value> {
        let mut all: Vec<(String, Value)> = std::mem::take(self.0.definitions_mut()).into_iter().collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.into_iter().collect()
    }
}

/// One of several forms; the form itself where there is one.
pub fn one_of(forms: impl Iterator<Item = Schema>) -> Schema {
    let mut different: Vec<Schema> = Vec::new();
    for form in forms {
        if !different.contains(&form) {
            different.push(form);
        }
    }
    match different.pop() {
        None => any_object(),
        Some(only) if different.is_empty() => only,
        Some(last) => {
            different.push(last);
            json_schema!({ "anyOf": different })
        }
    }
}

/// An object of whatever form.
pub fn any_object() -> Schema {
    json_schema!({ "type": "object", "additionalProperties": true })
}

/// `token-classification` as the first part of a name: `TokenClassification`.
pub fn type_name(words: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    words.split(|c: char| !c.is_ascii_alphanumeric()).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_is_of_one_schema_and_another_gets_a_number() {
        let mut schemas = Schemas::new();
        let object = || json_schema!({ "type": "object" });
        let references: Vec<Value> = [object(), object(), json_schema!({ "type": "string" }), any_object()]
            .map(|schema| schemas.named("Thing", schema).to_value())
            .into();
        let place = |name: &str| json!({ "$ref": format!("{PLACE}{name}") });
        assert_eq!(references, [place("Thing"), place("Thing"), place("Thing2"), place("Thing3")]);
        assert_eq!(schemas.finish().len(), 3);
        assert_eq!(type_name("token-classification"), "TokenClassification");
    }

    #[test]
    fn equal_forms_are_one_wherever_they_stand() {
        let forms = ["string", "object", "string"].map(|kind| json_schema!({ "type": kind }));
        assert_eq!(one_of(forms.into_iter()), json_schema!({ "anyOf": [{ "type": "string" }, { "type": "object" }] }));
    }
}
