//! The single values of a spec: how each is read from its text, and what the JSON schema says of it.

mod amounts;
mod debian;
mod images;
mod paths;
mod settings;
mod sources;
mod users;
mod words;

use schemars::{Schema, json_schema};
use serde::{Deserialize, Deserializer};

pub(in crate::spec) use self::{
    amounts::{Moment, Size, Time},
    debian::{Codename, Component, Suite},
    images::ImageReference,
    paths::{LockFile, SourceFile, SourcePath},
    settings::{ModeText, Signal},
    sources::{CommitText, FileName, GitAddress, KeyFile, RefText, Sha256, Subfolder, UnpackWord, UrlText},
    users::{OwnerText, UserName},
    words::{EnvName, FormatNumber, Key, LanguageVersion, Reason, Value},
};
use crate::capability::Capabilities;
use crate::spec::{AbsolutePath, Glob, Name, OutputRef, PackageRequest, Port, User};

/// A value that is written as one text.
pub(in crate::spec) trait Scalar: Sized {
    /// Its name in the schema.
    const NAME: &'static str;
    /// What it is, for the schema.
    const ABOUT: &'static str;
    /// A regular expression that every text of it matches.
    const PATTERN: Option<&'static str> = None;
    /// Whether some of its texts look like numbers or booleans to other readers of YAML.
    const LOOKS_LIKE_A_NUMBER: bool = false;

    /// Reads it. The error is a message, and behind a line feed what to write instead.
    fn read(text: &str) -> Result<Self, String>;
}

/// Reads a scalar.
pub(in crate::spec) fn deserialize<'de, T: Scalar, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    T::read(&text).map_err(serde::de::Error::custom)
}

/// Gives the schema of a scalar.
pub(in crate::spec) fn schema<T: Scalar>() -> Schema {
    let mut schema = json_schema!({ "type": "string", "description": T::ABOUT });
    if T::LOOKS_LIKE_A_NUMBER {
        schema.insert("type".to_owned(), serde_json::json!(["string", "number", "boolean"]));
    }
    if let Some(pattern) = T::PATTERN {
        schema.insert("pattern".to_owned(), pattern.into());
    }
    schema
}

/// Lets scalars be read, and have a schema.
macro_rules! scalars {
    ($($type:ty),* $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::spec::written::scalar::deserialize(deserializer)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$type as $crate::spec::written::scalar::Scalar>::NAME.into()
            }

            fn schema_id() -> std::borrow::Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($type)).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::spec::written::scalar::schema::<$type>()
            }
        }
    )*};
}
pub(in crate::spec) use scalars;

scalars!(
    FormatNumber,
    Name,
    Value,
    LanguageVersion,
    Reason,
    EnvName,
    Key,
    SourcePath,
    SourceFile,
    UrlText,
    Sha256,
    GitAddress,
    RefText,
    CommitText,
    UnpackWord,
    FileName,
    KeyFile,
    Subfolder,
    LockFile,
    AbsolutePath,
    Glob,
    Codename,
    Suite,
    Component,
    ImageReference,
    PackageRequest,
    OutputRef,
    User,
    OwnerText,
    UserName,
    ModeText,
    Capabilities,
    Port,
    Signal,
    Size,
    Time,
    Moment,
);

/// Makes the error of a scalar.
fn wrong<T>(message: impl std::fmt::Display, help: impl std::fmt::Display) -> Result<T, String> {
    Err(format!("{message}\n{help}"))
}

fn only(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}
