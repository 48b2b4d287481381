//! JSON in which two readers cannot see different things, and its one way of being written.
//!
//! RFC 8259 leaves open what a name means that an object has twice; readers take the first, the last, or both. What is signed must mean one
//! thing, so such a text is refused here, wherever the names are.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// Says why a text is not read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is longer than what is read of its kind.
    #[error("it has {size} bytes, and at most {most} are read")]
    TooLarge {
        /// Its bytes.
        size: usize,
        /// The most.
        most: usize,
    },
    /// It is not JSON, has a name twice, is too deep, or is not what was expected.
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
}

/// Reads a document of at most `most` bytes: UTF-8, no name twice in an object, at most 128 levels, nothing after its end.
///
/// # Errors
/// When it is not so.
pub fn read(bytes: &[u8], most: usize) -> Result<Value, JsonError> {
    if bytes.len() > most {
        return Err(JsonError::TooLarge { size: bytes.len(), most });
    }
    Ok(serde_json::from_slice::<Strict>(bytes)?.0)
}

/// Reads a document as [`read`] does, into a type.
///
/// # Errors
/// As [`read`], and when it is not of that type.
pub fn read_as<T: DeserializeOwned>(bytes: &[u8], most: usize) -> Result<T, JsonError> {
    Ok(T::deserialize(read(bytes, most)?)?)
}

/// Writes a document in its one form: on one line, names of a [`Value`]'s objects sorted, those of a type in its order.
///
/// # Panics
/// When a map of the document has keys that are no texts, which is a mistake of its type.
pub fn write(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have texts as keys")
}

/// A value none of whose objects has a name twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if values.contains_key(&name) {
                return Err(de::Error::custom(format_args!("the name {name:?} is there twice in one object")));
            }
            values.insert(name, map.next_value::<Strict>()?.0);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_is_there_twice_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
            let error = read(text.as_bytes(), 100).expect_err("a name twice").to_string();
            assert!(error.contains("\"a\" is there twice"), "{error}");
            assert!(serde_json::from_str::<Value>(text).is_ok(), "an ordinary reader takes one of them");
        }
        assert!(read(br#"{"a":{"a":1},"b":[{"a":1},{"a":2}]}"#, 100).is_ok());
    }

    #[test]
    fn what_is_huge_deep_or_not_json_is_refused() {
        assert!(matches!(read(b"[1,2]", 4), Err(JsonError::TooLarge { size: 5, most: 4 })));
        for text in
            ["[".repeat(1 << 20), format!("{}1{}", "[".repeat(200), "]".repeat(200)), "{}{}".into(), "1e999".into()]
        {
            assert!(read(text.as_bytes(), 2 << 20).is_err());
        }
        assert!(read(b"\"\xff\"", 10).is_err());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again_and_sorted(names in prop::collection::btree_set("[a-z]{1,4}", 0..8)) {
            let object: Map<String, Value> = names.iter().rev().map(|name| (name.clone(), name.as_str().into())).collect();
            let bytes = write(&object);
            prop_assert_eq!(read(&bytes, 1 << 20).expect("JSON"), Value::Object(object));
            let sorted: Vec<_> = names.iter().map(|name| format!("\"{name}\":\"{name}\"")).collect();
            prop_assert_eq!(String::from_utf8(bytes).expect("a text"), format!("{{{}}}", sorted.join(",")));
        }
    }
}
