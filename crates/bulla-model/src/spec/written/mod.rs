//! The keys of a spec as they stand in the file, each with its place. The JSON schema and `docs/spec.md` are made from
//! the types and comments here, so the comments speak to the people who write specs.

mod from;
mod image;
pub(super) mod scalar;
mod source;
mod stage;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use self::{
    from::{ImageFrom, LanguageWord, ScratchFrom, ScriptsWord, StageFrom},
    image::{AllowKeys, Arguments, CompressionWord, CopyKeys, GrantKeys, ImageKeys, UserKeys},
    scalar::{
        Codename, Component, EnvName, FormatNumber, GitAddress, ImageReference, KeyFile, LanguageVersion, LockFile,
        Moment, OwnerText, Reason, Scalar, Suite, UrlText, Value, scalars,
    },
    source::SourceKeys,
    stage::{
        ArchiveWord, BuildDependenciesWord, DependencyKeys, IdentityWord, InstallScriptsKeys, InstallScriptsText,
        InstallScriptsWord, LimitKeys, NormaliseKeys, OnRefusalWord, PlatformWord, RunText, SecretKeys, SecretText,
        StageCopyKeys, StageKeys, StepKeys, StepText,
    },
};
use super::Name;
use crate::{platform::Platform, yaml::At};

/// A map from names to something, both with their places.
pub(super) type Map<K, V> = BTreeMap<At<K>, At<V>>;

/// A whole `bulla.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "the keys of a spec")]
#[schemars(title = "bulla.yaml", rename = "Spec")]
pub(super) struct SpecKeys {
    /// The version of this format: always `1`.
    #[schemars(extend("x-example" = "bulla: 1"))]
    #[expect(dead_code, reason = "reading it is what checks it")]
    pub(super) bulla: FormatNumber,
    /// The name of the project and of its image.
    #[schemars(extend("x-example" = "name: shop"))]
    pub(super) name: At<Name>,
    /// The platforms that the image is built for: `linux/amd64` and `linux/arm64`. Several give one image with a manifest for
    /// each. Without it, the image is for the machine that builds, which is `linux/amd64`.
    #[schemars(extend("x-example" = "platforms: [linux/amd64, linux/arm64]"))]
    #[serde(default)]
    pub(super) platforms: Option<At<Vec<At<Platform>>>>,
    /// The time that steps and layers see: a date, a date with a time in UTC, or seconds since 1970. Without it, it is the
    /// newest date among the signed package indexes in the lock.
    #[schemars(extend("x-example" = "epoch: 2026-01-02T03:04:05Z"))]
    #[serde(default)]
    pub(super) epoch: Option<At<Moment>>,
    /// What is built from: folders of the project, and what is downloaded. Source NAME is at `/src/NAME` in every stage.
    #[schemars(extend("x-example" = "sources:\n  app: {path: .}\n  zlib: {debian: trixie, source-package: zlib}"))]
    #[serde(default)]
    pub(super) sources: Map<Name, SourceKeys>,
    /// Values that `bulla build --set NAME=VALUE` changes. They are in the environment of every step, and `${NAME}` in a
    /// value of `env`, `labels` or `annotations` stands for them; `$${` writes `${` itself.
    #[schemars(extend("x-example" = "params:\n  VERSION: {default: dev}"))]
    #[serde(default)]
    pub(super) params: Map<EnvName, ParamKeys>,
    /// Root filesystems and the commands run on them. Stages that do not need one another run at the same time.
    #[schemars(extend("x-example" = "stages:\n  build:\n    from: {debian: trixie, packages: [gcc, libc6-dev]}\n    steps:\n      - cc -O2 -o hello hello.c\n    outputs: {hello: /src/app/hello}"))]
    #[serde(default)]
    pub(super) stages: Map<Name, StageKeys>,
    /// The image that comes out.
    #[schemars(extend("x-example" = "image:\n  from: {debian: trixie, packages: [libc6]}\n  copy:\n    - {output: build.hello, to: /usr/bin/hello}\n  entrypoint: [/usr/bin/hello]\n  user: 65532"))]
    pub(super) image: At<ImageKeys>,
}

/// A value that can be set from outside.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "the keys of a param, such as `{default: dev}`")]
#[schemars(rename = "Param")]
pub(super) struct ParamKeys {
    /// The value where none is set.
    #[schemars(extend("x-example" = "default: dev"))]
    pub(super) default: At<Value>,
}
