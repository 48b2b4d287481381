//! A [`serde::Deserializer`] over a document: each scalar is read as the type that is asked for.

use std::{collections::BTreeSet, fmt};

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess,
    Visitor,
};

use super::{
    Problem,
    at::AT,
    nearest,
    nearest::from_elsewhere,
    node::{Content, Document, NodeId},
};

/// Why a node could not be read; the node is added on the way up.
#[derive(Debug, Clone)]
pub(super) struct Error {
    node: Option<NodeId>,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// A message, and behind a line feed what to write instead.
    Text(String),
    Unknown {
        kind: &'static str,
        text: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
    Expected(String),
    Nothing,
}

impl Error {
    fn new(node: NodeId, what: What) -> Self {
        Self { node: Some(node), what }
    }

    /// Says where it happened, unless that is known already.
    fn at(mut self, node: NodeId) -> Self {
        self.node.get_or_insert(node);
        self
    }

    pub(super) const fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// Gives the map and the key, when the mistake is that a key is missing.
    pub(super) fn missing(&self) -> Option<(NodeId, &'static str)> {
        match self.what {
            What::Missing(field) => self.node.map(|node| (node, field)),
            _ => None,
        }
    }

    /// Puts the mistake into words.
    pub(super) fn problem(self, document: &Document) -> Problem {
        let node = self.node.unwrap_or(document.root);
        let span = document.pointer(node);
        match self.what {
            What::Text(text) => {
                let (message, help) = text.split_once('\n').unwrap_or((&text, ""));
                Problem::new(span, message, help)
            }
            What::Unknown { kind, text, known } => {
                let list = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
                let meant = from_elsewhere(&text, known).or_else(|| nearest(&text, known.iter().copied()));
                let meant = meant.map(|key| format!("did you mean `{key}`? ")).unwrap_or_default();
                let help = match text.contains([' ', '"', '\'', '$', '(']) {
                    true => "YAML reads a map where a text has `: ` in it, or a comma between `{` and `}`: put the text in quotes, \
                             or on the next line after a `|`".to_owned(),
                    false => format!("{meant}the {kind}s here: {list}"),
                };
                Problem::new(span, format!("unknown {kind} `{text}`", text = shortened(&text)), help)
            }
            What::Missing(field) => {
                Problem::new(span, format!("the key `{field}` is missing here"), format!("add `{field}:`"))
            }
            What::Expected(expected) => {
                let found = match document.content(node) {
                    Content::Scalar { text, .. } => format!("`{}`", shortened(text)),
                    Content::List { .. } => "a list".to_owned(),
                    Content::Map { .. } => "a map".to_owned(),
                };
                let expected = expected.replace("a sequence", "a list").replace("a string", "a text");
                let help = match (expected.as_str(), document.scalar(node)) {
                    ("a list", Some(text)) if text.len() < 60 && !text.contains(['\n', ',']) => {
                        format!("write `[{text}]`")
                    }
                    ("a map", _) => "write `KEY: VALUE`, each on its own line".to_owned(),
                    _ => String::new(),
                };
                Problem::new(span, format!("expected {expected}, found {found}"), help)
            }
            What::Nothing => {
                let help = "write a value, or delete the key; an empty text is written `''`";
                match document.key(node) {
                    Some(key) => Problem::new(span, format!("the key `{}` has no value", shortened(key)), help),
                    None => Problem::new(span, "nothing is written here", help),
                }
            }
        }
    }
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > 60 || line.len() < text.trim_end().len() {
        format!("{}…", line.chars().take(60).collect::<String>())
    } else {
        line.to_owned()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { node: None, what: What::Text(message.to_string()) }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self { node: None, what: What::Expected(expected.to_string()) }
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self { node: None, what: What::Expected(expected.to_string()) }
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self { node: None, what: What::Unknown { kind: "key", text: field.to_owned(), known } }
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self { node: None, what: What::Unknown { kind: "value", text: variant.to_owned(), known } }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { node: None, what: What::Missing(field) }
    }
}

/// Reads one node. Nodes in `left_out` are not there.
#[derive(Clone, Copy)]
pub(super) struct Reader<'d> {
    document: &'d Document,
    node: NodeId,
    left_out: &'d BTreeSet<NodeId>,
}

impl<'d> Reader<'d> {
    pub(super) const fn new(document: &'d Document, node: NodeId, left_out: &'d BTreeSet<NodeId>) -> Self {
        Self { document, node, left_out }
    }

    const fn to(self, node: NodeId) -> Self {
        Self { node, ..self }
    }

    fn content(self) -> &'d Content {
        self.document.content(self.node)
    }

    fn is_left_out(self, node: NodeId) -> bool {
        self.left_out.contains(&node)
    }

    fn error(self, what: What) -> Error {
        Error::new(self.node, what)
    }

    fn expected(self, what: &str) -> Error {
        self.error(What::Expected(what.to_owned()))
    }

    /// Gives the text of a scalar that has one.
    fn text(self, expected: &dyn de::Expected) -> Result<&'d str, Error> {
        match self.content() {
            Content::Scalar { text, plain: true } if text.is_empty() => Err(self.error(What::Nothing)),
            Content::Scalar { text, .. } => Ok(text),
            _ => Err(self.error(What::Expected(expected.to_string()))),
        }
    }

    /// Reads a decimal number that is written without quotes, sign or leading zeros.
    fn number<T: std::str::FromStr>(self, expected: &dyn de::Expected) -> Result<T, Error> {
        let text = self.text(expected)?;
        let plain = matches!(self.content(), Content::Scalar { plain: true, .. });
        let decimal = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        match text.parse() {
            Ok(number) if plain && decimal => Ok(number),
            _ => {
                Err(self
                    .expected("a whole number in decimal digits, without quotes and leading zeros, and not too large"))
            }
        }
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let number = self.number::<$type>(&visitor)?;
            visitor.$visit(number).map_err(|error: Error| error.at(self.node))
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = match self.content() {
            Content::Scalar { .. } => {
                let text = self.text(&visitor)?;
                visitor.visit_str(text)
            }
            Content::List { items, .. } => visitor.visit_seq(Items { reader: self, items: items.iter() }),
            Content::Map { entries, .. } => {
                visitor.visit_map(Entries { reader: self, entries: entries.iter(), value: None })
            }
        };
        value.map_err(|error: Error| error.at(self.node))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.content() {
            Content::Scalar { text, plain: true } if text == "true" => visitor.visit_bool(true),
            Content::Scalar { text, plain: true } if text == "false" => visitor.visit_bool(false),
            Content::Scalar { text, plain: true } if text.is_empty() => Err(self.error(What::Nothing)),
            _ => Err(self.expected("`true` or `false` without quotes")),
        }
    }

    numbers!(
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64
    );

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self).map_err(|error: Error| error.at(self.node))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == AT {
            visitor.visit_seq(Parts { reader: self, next: 0 }).map_err(|error: Error| error.at(self.node))
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.text(&"one word")?;
        visitor.visit_enum(Word(self)).map_err(|error: Error| error.at(self.node))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple map struct identifier
        ignored_any
    }
}

struct Items<'d> {
    reader: Reader<'d>,
    items: std::slice::Iter<'d, NodeId>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.items.find(|item| !self.reader.is_left_out(**item)) else { return Ok(None) };
        seed.deserialize(self.reader.to(*item)).map(Some).map_err(|error| error.at(*item))
    }
}

struct Entries<'d> {
    reader: Reader<'d>,
    entries: std::slice::Iter<'d, (NodeId, NodeId)>,
    value: Option<NodeId>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let reader = self.reader;
        let there = |entry: &&(NodeId, NodeId)| !reader.is_left_out(entry.0) && !reader.is_left_out(entry.1);
        let Some((key, value)) = self.entries.find(there) else { return Ok(None) };
        self.value = Some(*value);
        seed.deserialize(reader.to(*key)).map(Some).map_err(|error| error.at(*key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let value = self.value.take().expect("serde asks for a value after its key");
        seed.deserialize(self.reader.to(value)).map_err(|error| error.at(value))
    }
}

/// The parts of an [`super::At`]: start, end, whether it is in flow style, and the value.
struct Parts<'d> {
    reader: Reader<'d>,
    next: u8,
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.next += 1;
        let reader = self.reader;
        let span = reader.document.span(reader.node);
        match self.next {
            1 => seed.deserialize(span.start.into_deserializer()).map(Some),
            2 => seed.deserialize(span.end.into_deserializer()).map(Some),
            3 => {
                let flow =
                    matches!(reader.content(), Content::List { flow: true, .. } | Content::Map { flow: true, .. });
                seed.deserialize(flow.into_deserializer()).map(Some)
            }
            4 => seed.deserialize(reader).map(Some),
            _ => Ok(None),
        }
    }
}

/// A scalar that is the name of a variant without content.
struct Word<'d>(Reader<'d>);

impl<'de, 'd> EnumAccess<'de> for Word<'d> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let reader = self.0;
        seed.deserialize(reader).map(|value| (value, self)).map_err(|error| error.at(reader.node))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Error> {
        Err(self.0.expected("a map"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(self.0.expected("a map"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(self.0.expected("a map"))
    }
}
