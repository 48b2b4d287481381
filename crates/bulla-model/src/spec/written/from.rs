//! What stages and images start from.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};

use super::scalar::{Codename, Component, ImageReference, KeyFile, LanguageVersion, Reason, Suite};
use crate::{
    spec::{Name, PackageRequest},
    yaml::At,
};

/// What a stage starts from: packages (`debian`), an image (`image`), or what projects in a language have as a rule (`language`), which
/// may stand beside one of both.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{debian: trixie, packages: [gcc]}`, `{language: node}` or `{image: REFERENCE}`"
)]
pub(in crate::spec) struct StageFrom {
    /// What projects in a language have as a rule, where the stage does not say it otherwise: the packages of its tools (further ones are
    /// named under `packages`), variables, the lock file that lies in `workdir` (`package-lock.json`, `requirements.txt`, `Cargo.lock`, `go.sum`;
    /// `dependencies: []` for none), and what commands such as `npm ci` see. `bulla check --expand` shows it. Without `debian`, the release is
    /// that of the image, else `trixie`.
    #[schemars(extend("x-example" = "language: node"))]
    #[serde(default)]
    pub(in crate::spec) language: Option<At<LanguageWord>>,
    /// The version of the language's tools, or its beginning: that of the release must be of it.
    #[schemars(extend("x-example" = "version: 20"))]
    #[serde(default)]
    pub(in crate::spec) version: Option<At<LanguageVersion>>,
    /// A source that has the language's tools, in place of packages: an archive as its project publishes it, with `bin/` at its top.
    #[schemars(extend("x-example" = "toolchain: node"))]
    #[serde(default)]
    pub(in crate::spec) toolchain: Option<At<Name>>,
    /// The codename of the release of Debian that the packages come from. Where its archive is found, your configuration or
    /// the machine's apt settings say.
    #[schemars(extend("x-example" = "debian: trixie"))]
    #[serde(default)]
    pub(in crate::spec) debian: Option<At<Codename>>,
    /// An image of a registry, or of an OCI layout in the project: `oci:FOLDER`, or `oci:FOLDER:NAME` where it has several. Its layers are
    /// unpacked; steps run on them. The lock pins it by digest.
    #[schemars(extend("x-example" = "image: registry.example/team/builder:1.4"))]
    #[serde(default)]
    pub(in crate::spec) image: Option<At<ImageReference>>,
    /// The file of the project with the public key (P-256 or Ed25519, in PEM) by which cosign must have signed the image: as a Sigstore
    /// bundle (cosign 3), or in the simple form before it, which must also name the registry and repository as they are here. It is
    /// verified when the lock is written.
    #[schemars(extend("x-example" = "signed-by: keys/team.pub"))]
    #[serde(default, rename = "signed-by")]
    pub(in crate::spec) signed_by: Option<At<KeyFile>>,
    /// The packages, beside the Essential set that every stage has; what they depend on comes with them. A version, or the
    /// beginning of one, is written behind `=`. In a stage with `platform: cross`, `NAME:target` is the package of the platform
    /// that is built for, and `NAME:cross` the tool that makes programs for it: `gcc:cross` is `gcc-aarch64-linux-gnu` for
    /// `linux/arm64`, and `gcc` where that is the machine's own platform.
    #[schemars(extend("x-example" = "packages: [make, gcc=4:14.*, libc6-dev]"))]
    #[serde(default)]
    pub(in crate::spec) packages: Vec<At<PackageRequest>>,
    /// The suites to look in: by default the release, its `-updates` and its `-security`.
    #[schemars(extend("x-example" = "suites: [trixie, trixie-backports]"))]
    #[serde(default)]
    pub(in crate::spec) suites: Option<At<Vec<At<Suite>>>>,
    /// The components to look in: by default `main`.
    #[schemars(extend("x-example" = "components: [main, contrib]"))]
    #[serde(default)]
    pub(in crate::spec) components: Option<At<Vec<At<Component>>>>,
}

/// What an image stands on: packages (`debian`), an image (`image`) or nothing (`scratch`), one of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{debian: trixie, packages: [libc6]}`, `{language: node}`, `{image: REFERENCE}` or `{scratch: {}}`"
)]
pub(in crate::spec) struct ImageFrom {
    /// The packages that programs in a language run with; further ones are named under `packages`. Without `debian`, the release is `trixie`.
    #[schemars(extend("x-example" = "language: node"))]
    #[serde(default)]
    pub(in crate::spec) language: Option<At<LanguageWord>>,
    /// The version of the language, or its beginning: that of the release must be of it.
    #[schemars(extend("x-example" = "version: 20"))]
    #[serde(default)]
    pub(in crate::spec) version: Option<At<LanguageVersion>>,
    /// The codename of the release of Debian that the packages come from.
    #[schemars(extend("x-example" = "debian: trixie"))]
    #[serde(default)]
    pub(in crate::spec) debian: Option<At<Codename>>,
    /// An image of a registry, or of an OCI layout in the project (`oci:FOLDER:NAME`): its layers stay as they are, and the layers of this
    /// image come on top. What the spec does not say about how it runs is as in that image, but for the user. The lock pins it by
    /// digest.
    #[schemars(extend("x-example" = "image: registry.example/team/base:1.4"))]
    #[serde(default)]
    pub(in crate::spec) image: Option<At<ImageReference>>,
    /// The file of the project with the public key (P-256 or Ed25519, in PEM) by which cosign must have signed the image: as a Sigstore
    /// bundle (cosign 3), or in the simple form before it, which must also name the registry and repository as they are here. It is
    /// verified when the lock is written.
    #[schemars(extend("x-example" = "signed-by: keys/team.pub"))]
    #[serde(default, rename = "signed-by")]
    pub(in crate::spec) signed_by: Option<At<KeyFile>>,
    /// The packages of the image, with what they depend on at run time and without the Essential set.
    #[schemars(extend("x-example" = "packages: [libc6, ca-certificates]"))]
    #[serde(default)]
    pub(in crate::spec) packages: Vec<At<PackageRequest>>,
    /// The suites to look in: by default the release, its `-updates` and its `-security`.
    #[schemars(extend("x-example" = "suites: [trixie, trixie-backports]"))]
    #[serde(default)]
    pub(in crate::spec) suites: Option<At<Vec<At<Suite>>>>,
    /// The components to look in: by default `main`.
    #[schemars(extend("x-example" = "components: [main, contrib]"))]
    #[serde(default)]
    pub(in crate::spec) components: Option<At<Vec<At<Component>>>>,
    /// What is done about the packages' maintainer scripts: `native` (none runs, equivalents stand in for what they do most,
    /// and a package that needs more is an error) or `{run: REASON}` (they run in the sandbox).
    #[schemars(extend("x-example" = "scripts: {run: its database is made by a script}"))]
    #[serde(default)]
    pub(in crate::spec) scripts: Option<At<ScriptsWord>>,
    /// An image from nothing.
    #[schemars(extend("x-example" = "scratch: {debian: trixie, certificates: true}"))]
    #[serde(default)]
    pub(in crate::spec) scratch: Option<At<ScratchFrom>>,
}

/// An image from nothing but what is asked for here.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{}` or `{debian: trixie, certificates: true}`")]
#[schemars(rename = "Scratch")]
pub(in crate::spec) struct ScratchFrom {
    /// The release that certificates and time zones come from: by default the one that all stages are from.
    #[schemars(extend("x-example" = "debian: trixie"))]
    #[serde(default)]
    pub(in crate::spec) debian: Option<At<Codename>>,
    /// Whether the bundle of public certificate authorities is in the image.
    #[schemars(extend("x-example" = "certificates: true"))]
    #[serde(default)]
    pub(in crate::spec) certificates: bool,
    /// Whether the time zones are in the image.
    #[schemars(extend("x-example" = "timezones: true"))]
    #[serde(default)]
    pub(in crate::spec) timezones: bool,
}

/// A language whose projects have much in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Language")]
pub(in crate::spec) enum LanguageWord {
    /// JavaScript and TypeScript on Node.js.
    Node,
    /// Python, in a virtual environment at `/opt/venv`.
    Python,
    /// Rust.
    Rust,
    /// Go, without C.
    Go,
    /// Java.
    Java,
    /// C and C++.
    C,
}

/// What is done about maintainer scripts.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged, rename = "Scripts")]
pub(in crate::spec) enum ScriptsWord {
    /// None runs.
    Native(Native),
    /// They run in the sandbox.
    Run {
        /// Why they have to.
        run: Reason,
    },
}

/// The word `native`.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Native;

impl JsonSchema for Native {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Native".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "const": "native" })
    }
}

impl<'de> Deserialize<'de> for ScriptsWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl<'de> Visitor<'de> for Words {
            type Value = ScriptsWord;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`native` or `{run: REASON}`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<ScriptsWord, E> {
                match word {
                    "native" => Ok(ScriptsWord::Native(Native)),
                    "run" => Err(E::custom(
                        "maintainer scripts that run in a final image need a reason\nwrite `scripts: {run: why they have to}`",
                    )),
                    other => Err(E::unknown_variant(other, &["native", "run"])),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ScriptsWord, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Run {
                    run: Reason,
                }

                let Run { run } = Run::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(ScriptsWord::Run { run })
            }
        }

        deserializer.deserialize_any(Words)
    }
}
