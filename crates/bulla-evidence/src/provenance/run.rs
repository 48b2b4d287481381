//! What was enforced and seen during one invocation, and who it was.

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Builder;
use crate::resource::Resource;

/// What the descriptor is called by which it stands among the byproducts.
const RUN: &str = "urn:bulla:run:1";

/// Who built, as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderFacts {
    /// The name that the configuration gives, else [`super::LOCAL_BUILDER`].
    pub id: String,
    /// The version of the program.
    pub version: String,
    /// The SHA-256 of the program.
    pub digest: Digest,
}

impl BuilderFacts {
    pub(super) fn named(&self) -> Builder {
        Builder {
            id: self.id.clone(),
            version: BTreeMap::from([("bulla".to_owned(), self.version.clone())]),
            builder_dependencies: vec![Resource::new("bulla", &self.digest)],
        }
    }
}

/// What was enforced and seen during one invocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Whether something of the image stands on what a cache had from earlier builds.
    pub tainted: bool,
    /// Whether the image was made a second time in other surroundings, and came out the same. `false` says that it was not compared.
    pub compared: bool,
    /// What was otherwise around the steps of the second time, beside the time itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub varied: Vec<String>,
    /// The steps.
    pub steps: Vec<RunStep>,
}

/// What was enforced and seen during a step: when it ran, which is another invocation where its result was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStep {
    /// `build/1`, as in the definition.
    pub step: String,
    /// The SHA-256 of all its inputs. What an earlier step of its stage left beside its outputs is among them, which may be another thing each time.
    pub action: String,
    /// Whether the result of an earlier invocation was used.
    pub cached: bool,
    /// What was enforced.
    pub isolation: Isolation,
    /// How often it tried something and was not given it.
    pub refusals: u64,
    /// Whether it found something in a cache.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_a_cache: bool,
    /// The registries whose answers to it no lock file pins.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub observed: BTreeSet<String>,
}

/// What was enforced during a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Isolation {
    /// The namespaces that were new. That of the network had nothing but its own loopback.
    pub namespaces: Vec<String>,
    /// The digest of the filter of system calls.
    pub filter: String,
    /// How limits were enforced: `cgroup-v2`, `cgroup-v1`, `rlimits`.
    pub limits: String,
    /// Whether its root was an overlay, or else a copy.
    pub overlay: bool,
    /// Its capabilities, all inside of its own user namespace, as a mask.
    pub capabilities: u64,
    /// The processor that was emulated, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated: Option<String>,
}

impl Run {
    pub(super) fn descriptor(&self) -> Resource {
        let annotations = match serde_json::to_value(self).expect("its maps have texts as keys") {
            Value::Object(fields) => fields.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        Resource { name: Some("run".to_owned()), uri: Some(RUN.to_owned()), annotations, ..Resource::default() }
    }

    pub(super) fn of(resource: &Resource) -> Option<Self> {
        let fields = resource.annotations.clone().into_iter().collect();
        if resource.uri.as_deref() == Some(RUN) { serde_json::from_value(Value::Object(fields)).ok() } else { None }
    }
}
