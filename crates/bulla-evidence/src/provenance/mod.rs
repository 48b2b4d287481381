//! Provenance of a build (SLSA, "Build: Provenance", version 1): what was asked for, what it was made of, who made it and how.
//!
//! Two kinds of facts are kept apart. `buildDefinition` has what follows from spec, lock and sources: whoever builds the same gets the same bytes of
//! it. `runDetails` has what is of one invocation: who built, when, and what was enforced and seen meanwhile.

mod run;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::run::{BuilderFacts, Isolation, Run, RunStep};
use crate::resource::Resource;

/// The predicate's type.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// What kind of build it is: how the parameters are to be read. Described in `docs/provenance.md`.
pub const BUILD_TYPE: &str = "urn:bulla:build:1";
/// Who built, where nobody has said who that is: a level is nothing that this name can have.
pub const LOCAL_BUILDER: &str = "urn:bulla:builder:local";

/// The predicate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was built, of what.
    pub build_definition: Definition,
    /// Who built it, and what was seen.
    pub run_details: RunDetails,
}

/// What was built, of what: the same for whoever builds the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// [`BUILD_TYPE`].
    pub build_type: String,
    /// What people have chosen. Verifiers look at each of it.
    pub external_parameters: External,
    /// What follows from the project and the program.
    pub internal_parameters: Internal,
    /// Every source, base, package and dependency that was used.
    pub resolved_dependencies: Vec<Resource>,
}

/// What people have chosen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct External {
    /// The spec: its digest, and its place in the checkout that it lies in.
    pub spec: Resource,
    /// What the spec has of its workspace, where it is a member of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Resource>,
    /// The lock.
    pub lock: Resource,
    /// The params that were set for this build, with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The params that were set and whose values look private: their names alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
    /// The platforms of the image.
    pub platforms: Vec<String>,
}

/// What follows from the project and the program.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Internal {
    /// `SOURCE_DATE_EPOCH` of steps and layers, in RFC 3339.
    pub epoch: String,
    /// The numbers of the ways in which things are done, which decide bytes.
    pub formats: BTreeMap<String, u32>,
    /// The steps, in the order of stages and steps.
    pub steps: Vec<Step>,
    /// What the spec allows beyond the ordinary, each with the reason that it gives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relaxations: Vec<Relaxation>,
}

/// A step, or the scripts of a root's packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// `build/1`; 0 are the scripts of the packages that its stage starts from.
    pub step: String,
    /// What was run.
    pub title: String,
    /// Whether something of the image comes from its stage; else it is a test.
    pub ships: bool,
}

/// Something that the spec allows beyond the ordinary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relaxation {
    /// Where the spec says so: `image.allow.root-user`.
    pub key: String,
    /// What for, where the key is about several things.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Why, in the spec's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Who built it, and what was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// Who built.
    pub builder: Builder,
    /// Which invocation it was.
    pub metadata: Metadata,
    /// What was enforced and seen, as the annotations of one descriptor: [`Run`].
    #[serde(default)]
    pub byproducts: Vec<Resource>,
}

/// Who built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Builder {
    /// The name that a verifier knows the builder's trust by.
    pub id: String,
    /// The version of each part.
    #[serde(default)]
    pub version: BTreeMap<String, String>,
    /// The program itself, by digest.
    #[serde(default)]
    pub builder_dependencies: Vec<Resource>,
}

/// Which invocation it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// A name that no other invocation has.
    pub invocation_id: String,
    /// When it began, in RFC 3339.
    pub started_on: String,
    /// When it ended.
    pub finished_on: String,
}

impl Provenance {
    /// Puts a definition together with what is of one invocation.
    pub fn new(definition: Definition, builder: &BuilderFacts, metadata: Metadata, run: &Run) -> Self {
        let run_details = RunDetails { builder: builder.named(), metadata, byproducts: vec![run.descriptor()] };
        Self { build_definition: definition, run_details }
    }

    /// Gives what was enforced and seen; `None` where it is not there, as in what others wrote.
    pub fn run(&self) -> Option<Run> {
        self.run_details.byproducts.iter().find_map(Run::of)
    }
}

impl Definition {
    /// Gives everything that was used with some of the annotation `kind`.
    pub fn used<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resolved_dependencies
            .iter()
            .filter(move |one| one.annotations.get("kind").and_then(|known| known.as_str()) == Some(kind))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn provenance() -> Provenance {
        let digest = bulla_model::Digest::of("x");
        let definition = Definition {
            build_type: BUILD_TYPE.to_owned(),
            external_parameters: External {
                spec: Resource::new("bulla.yaml", &digest),
                lock: Resource::new("bulla.lock", &digest),
                params: BTreeMap::from([("VERSION".to_owned(), "1".to_owned())]),
                platforms: vec!["linux/amd64".to_owned()],
                ..External::default()
            },
            internal_parameters: Internal { epoch: "2026-01-02T03:04:05Z".to_owned(), ..Internal::default() },
            resolved_dependencies: vec![
                Resource::new("libc6", &digest).at("pkg:deb/debian/libc6@1").noting("kind", "package"),
            ],
        };
        let builder = BuilderFacts { id: LOCAL_BUILDER.to_owned(), version: "0.1.0".to_owned(), digest };
        let metadata = Metadata {
            invocation_id: "urn:uuid:0".to_owned(),
            started_on: "2026-01-02T03:04:05Z".to_owned(),
            finished_on: "2026-01-02T03:04:06Z".to_owned(),
        };
        let run = Run {
            tainted: false,
            steps: vec![RunStep { step: "build/1".to_owned(), ..RunStep::default() }],
            ..Run::default()
        };
        Provenance::new(definition, &builder, metadata, &run)
    }

    #[test]
    fn it_has_what_slsa_requires_where_slsa_wants_it() {
        let value = serde_json::to_value(provenance()).expect("JSON");
        assert_eq!(value["buildDefinition"]["buildType"], BUILD_TYPE);
        assert_eq!(value["buildDefinition"]["externalParameters"]["params"], json!({"VERSION": "1"}));
        assert_eq!(value["runDetails"]["builder"]["id"], LOCAL_BUILDER);
        assert_eq!(value["buildDefinition"]["resolvedDependencies"][0]["uri"], "pkg:deb/debian/libc6@1");
        let known: Vec<&String> = value["runDetails"].as_object().expect("an object").keys().collect();
        assert_eq!(known, ["builder", "byproducts", "metadata"]);
    }

    #[test]
    fn what_was_seen_is_read_again() {
        let read: Provenance =
            serde_json::from_value(serde_json::to_value(provenance()).expect("JSON")).expect("provenance");
        assert_eq!(read, provenance());
        let run = read.run().expect("what was seen");
        assert_eq!((run.steps[0].step.as_str(), run.compared), ("build/1", false));
        assert_eq!(read.build_definition.used("package").count(), 1);
    }

    #[test]
    fn a_parameter_that_is_not_known_is_refused() {
        let mut value = serde_json::to_value(provenance()).expect("JSON");
        value["buildDefinition"]["externalParameters"]["hook"] = Value::from("curl");
        assert!(serde_json::from_value::<Provenance>(value).is_err());
    }
}
