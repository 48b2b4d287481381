//! The JSON schema of a spec, made from the types that read it.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

use super::{Spec, written::SpecKeys};

impl Spec {
    /// Gives the JSON schema (draft 2020-12) of `bulla.yaml`, as text that ends with a line feed.
    pub fn json_schema() -> String {
        text_of::<SpecKeys>()
    }
}

/// Gives the schema of a document as text that ends with a line feed.
pub(super) fn text_of<T: JsonSchema>() -> String {
    let mut schema = schema::<T>();
    without(&mut schema, "x-example");
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

/// Makes the schema of a document, in which each key still has its example as `x-example`.
pub(super) fn schema<T: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
    forbid_null(&mut schema);
    schema
}

/// Takes `null` out: a key is left out, or has a value.
fn forbid_null(schema: &mut Value) {
    if let Value::Object(object) = schema {
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|one| one != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
            choices.retain(|choice| choice.get("type").is_none_or(|one| one != "null"));
            if let [Value::Object(only)] = choices.as_slice() {
                let only = only.clone();
                object.remove("anyOf");
                merge(object, only);
            }
        }
    }
    for inner in children(schema) {
        forbid_null(inner);
    }
}

fn merge(object: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        object.entry(key).or_insert(value);
    }
}

fn without(schema: &mut Value, key: &str) {
    if let Value::Object(object) = schema {
        object.remove(key);
    }
    for inner in children(schema) {
        without(inner, key);
    }
}

fn children(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Object(object) => object.values_mut().collect(),
        Value::Array(list) => list.iter_mut().collect(),
        _ => Vec::new(),
    }
}
