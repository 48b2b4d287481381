//! The reference of the spec for people (`docs/spec.md`), made from the schema: the comments of the keys, in the order in
//! which the types have them.

use std::fmt::Write as _;

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};
use serde_json::Value;

use super::{
    Spec,
    schema::schema,
    written::{
        AllowKeys, CopyKeys, DependencyKeys, GrantKeys, ImageFrom, ImageKeys, InstallScriptsKeys, LimitKeys,
        NormaliseKeys, ParamKeys, ScratchFrom, SecretKeys, SourceKeys, SpecKeys, StageCopyKeys, StageFrom, StageKeys,
        StepKeys, UserKeys,
    },
};

/// What the reference begins with.
const HEAD: &str = "\
# The spec: `bulla.yaml`

*Made from the program's types. The same as a JSON schema: [bulla.schema.json](bulla.schema.json); an editor uses it with
`# yaml-language-server: $schema=PATH` in the first line.*

```yaml
bulla: 1
name: hello
sources:
  app: {path: .}
stages:
  build:
    from: {debian: trixie, packages: [gcc, libc6-dev]}
    steps:
      - cc -O2 -o hello hello.c
    outputs: {hello: /src/app/hello}
image:
  from: {debian: trixie, packages: [libc6]}
  copy:
    - {output: build.hello, to: /usr/bin/hello}
  entrypoint: [/usr/bin/hello]
  user: 65532
```

How it is read:

- A value is read as the type that its key has: `1.10`, `no` and `0755` stay what was typed. Only `true` and `false` are
  booleans, numbers are decimal, and modes are octal.
- Steps are written one a line. In a list of arguments in `[…]`, an argument with a comma is put in quotes.
- A key that is not here is an error. So are tags, merge keys (`<<`), a key that is written twice, a second document, more
  than 1 MiB, more than 64 levels and more than 100,000 values. Anchors and aliases may be used.
- Source NAME is at `/src/NAME` in every stage. Files of sources have mode 0644, or 0755 where they are executable.
- In a member of a [workspace](workspace.md), what that says holds where the spec says nothing.
- `/proc`, `/sys`, `/dev` and `/run/bulla` are the sandbox's own: nothing is copied there or taken from there.

";

/// A struct of the spec: its name in the schema, its title here, and its keys in their order.
pub(super) type Section = (&'static str, &'static str, &'static [&'static str]);

/// The structs of the spec in the order of the reference.
fn sections() -> [Section; 19] {
    [
        ("", "The whole file", keys::<SpecKeys>()),
        ("Source", "`sources.NAME`", keys::<SourceKeys>()),
        ("Param", "`params.NAME`", keys::<ParamKeys>()),
        ("Stage", "`stages.NAME`", keys::<StageKeys>()),
        ("StageFrom", "`stages.NAME.from`", keys::<StageFrom>()),
        ("StageCopy", "`stages.NAME.copy`", keys::<StageCopyKeys>()),
        ("Normalise", "`stages.NAME.normalise`", keys::<NormaliseKeys>()),
        ("Dependency", "`stages.NAME.dependencies`", keys::<DependencyKeys>()),
        ("InstallScriptsKeys", "`scripts` of a lock file", keys::<InstallScriptsKeys>()),
        ("StepKeys", "A step that is a map", keys::<StepKeys>()),
        ("SecretKeys", "A secret that is a map", keys::<SecretKeys>()),
        ("Limits", "`stages.NAME.limits`", keys::<LimitKeys>()),
        ("Image", "`image`", keys::<ImageKeys>()),
        ("ImageFrom", "`image.from`", keys::<ImageFrom>()),
        ("Scratch", "`image.from.scratch`", keys::<ScratchFrom>()),
        ("Copy", "`image.copy`", keys::<CopyKeys>()),
        ("UserEntry", "`image.users`", keys::<UserKeys>()),
        ("Allow", "`image.allow`", keys::<AllowKeys>()),
        ("Grant", "`image.allow.capabilities`", keys::<GrantKeys>()),
    ]
}

impl Spec {
    /// Gives the reference of `bulla.yaml` in Markdown.
    pub fn reference() -> String {
        write(HEAD, &sections(), &schema::<SpecKeys>())
    }
}

/// Writes a reference: what it begins with, the structs, and the values.
pub(super) fn write(head: &str, sections: &[Section], schema: &Value) -> String {
    let mut out = head.to_owned();
    for (name, title, keys) in sections {
        let object = if name.is_empty() { schema } else { &schema["$defs"][name] };
        let _ = writeln!(out, "## {title}\n\n{}\n", text(object, "description"));
        for key in *keys {
            write_key(&mut out, key, object);
        }
    }
    out.push_str("## Values\n\n| name | what it is |\n| --- | --- |\n");
    for (name, scalar) in schema["$defs"].as_object().into_iter().flatten() {
        if scalar.get("properties").is_none() {
            let _ = writeln!(out, "| {name} | {} |", text(scalar, "description").replace('|', "\\|"));
        }
    }
    out
}

fn write_key(out: &mut String, key: &str, object: &Value) {
    let value = &object["properties"][key];
    let required = object["required"].as_array().is_some_and(|list| list.iter().any(|one| one == key));
    let kind = kind(value);
    let need = if required { ", **required**" } else { "" };
    let _ = writeln!(out, "### `{key}`\n\n*{kind}*{need}. {}\n", text(value, "description"));
    let _ = writeln!(out, "```yaml\n{}\n```\n", text(value, "x-example"));
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Says in a few words what a value is.
fn kind(value: &Value) -> String {
    if let Some(name) = value["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return name.to_owned();
    }
    match value["type"].as_str() {
        Some("array") => format!("list of {}", kind(&value["items"])),
        Some("object") => {
            let patterns = value["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
            let inner = patterns.unwrap_or(&value["additionalProperties"]);
            format!("map to {}", kind(inner))
        }
        Some("integer") => "whole number".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("string") => "text".to_owned(),
        _ => "value".to_owned(),
    }
}

/// Gives the keys of a struct in the order of its fields, which is what it tells its deserializer.
pub(super) fn keys<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    match T::deserialize(Asker) {
        Err(Told(keys)) => keys,
        Ok(_) => &[],
    }
}

/// A deserializer that gives nothing, and takes note of the keys.
struct Asker;

#[derive(Debug)]
struct Told(&'static [&'static str]);

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Told {}

impl de::Error for Told {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for Asker {
    type Error = Told;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Told> {
        Err(Told(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Told> {
        Err(Told(keys))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::yaml::Document;

    /// Reads the example of each key as the struct that the key is of. Other keys may be missing.
    fn examples_are_read<T: DeserializeOwned>(name: &str) {
        examples_of::<T>(&schema::<SpecKeys>(), name);
    }

    fn examples_of<T: DeserializeOwned>(schema: &Value, name: &str) {
        let object = if name.is_empty() { schema } else { &schema["$defs"][name] };
        let keys = keys::<T>();
        assert_eq!(keys.len(), object["properties"].as_object().map_or(0, serde_json::Map::len), "{name}");
        for key in keys {
            let example = text(&object["properties"][key], "x-example");
            assert!(example.starts_with(&format!("{key}:")), "{name}.{key} has the example {example:?}");
            let document = Document::parse(example).expect("YAML");
            for problem in document.read::<T>().err().unwrap_or_default() {
                assert!(problem.message.ends_with("is missing here"), "{name}.{key}: {problem:?}");
            }
        }
    }

    #[test]
    fn every_key_has_an_example_that_is_read() {
        examples_are_read::<SpecKeys>("");
        examples_are_read::<SourceKeys>("Source");
        examples_are_read::<ParamKeys>("Param");
        examples_are_read::<StageKeys>("Stage");
        examples_are_read::<StageFrom>("StageFrom");
        examples_are_read::<StageCopyKeys>("StageCopy");
        examples_are_read::<NormaliseKeys>("Normalise");
        examples_are_read::<DependencyKeys>("Dependency");
        examples_are_read::<InstallScriptsKeys>("InstallScriptsKeys");
        examples_are_read::<StepKeys>("StepKeys");
        examples_are_read::<LimitKeys>("Limits");
        examples_are_read::<ImageKeys>("Image");
        examples_are_read::<ImageFrom>("ImageFrom");
        examples_are_read::<ScratchFrom>("Scratch");
        examples_are_read::<CopyKeys>("Copy");
        examples_are_read::<UserKeys>("UserEntry");
        examples_are_read::<AllowKeys>("Allow");
        examples_are_read::<GrantKeys>("Grant");
    }

    #[test]
    fn every_key_of_a_workspace_has_an_example_that_is_read() {
        use crate::spec::workspace::written::{ReleaseKeys, SettingKeys, WaiverKeys, WorkspaceKeys};
        let schema = schema::<WorkspaceKeys>();
        examples_of::<WorkspaceKeys>(&schema, "");
        examples_of::<SettingKeys>(&schema, "Settings");
        examples_of::<ReleaseKeys>(&schema, "AllowedRelease");
        examples_of::<WaiverKeys>(&schema, "Waiver");
    }

    #[test]
    fn the_reference_has_every_struct_of_the_schema_and_a_spec_that_is_one() {
        let schema = schema::<SpecKeys>();
        let structs =
            schema["$defs"].as_object().into_iter().flatten().filter(|(_, def)| def.get("properties").is_some());
        for (name, _) in structs {
            assert!(sections().iter().any(|(section, ..)| section == name), "{name} is not in the reference");
        }
        let example = HEAD.split("```").nth(1).and_then(|block| block.strip_prefix("yaml\n")).expect("an example");
        assert!(Spec::parse("spec.md", example).is_ok());
    }
}
