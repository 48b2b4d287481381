//! The platforms that the image is for, and those of stages.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use crate::{
    platform::Platform,
    spec::{
        Name, Spec, Stage, StagePlatform,
        written::{PlatformWord, SpecKeys, StageKeys},
    },
    yaml::At,
};

/// The variables that say what is built for.
const VARIABLES: [&str; 5] = ["TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETTRIPLET", "BUILDPLATFORM"];

/// Gives what a stage says of its platform, where it goes on from no other.
pub(super) fn written_platform(keys: &StageKeys) -> StagePlatform {
    match keys.platform.as_ref().map(|word| word.value) {
        None | Some(PlatformWord::Build) => StagePlatform::Build,
        Some(PlatformWord::Cross) => StagePlatform::Cross,
        Some(PlatformWord::Target) => StagePlatform::Target,
    }
}

impl Context<'_> {
    /// Evaluates the platforms of the image.
    pub(super) fn platforms(&mut self, keys: &SpecKeys) -> BTreeSet<Platform> {
        let Some(list) = &keys.platforms else { return BTreeSet::from([Platform::BUILD]) };
        if list.is_empty() {
            self.wrong(&list.span, "the list of platforms is empty", "delete the key to build for this machine");
        }
        self.refuse_twice(list, "platform");
        for name in keys.params.keys().filter(|name| VARIABLES.contains(&name.0.as_str())) {
            let help = "stages with `platform: cross` or `platform: target` have it already; take another name";
            self.wrong(&name.span, format!("`{}` cannot be a param of a spec with platforms", name.0), help);
        }
        list.iter().map(|platform| platform.value).collect()
    }

    /// Evaluates the platform of a stage, and sees that it takes nothing that differs between platforms unless it does so too.
    pub(super) fn stage_platform(
        &mut self,
        name: &At<Name>,
        keys: &StageKeys,
        before: Option<&Stage>,
        done: &BTreeMap<Name, Stage>,
    ) -> StagePlatform {
        let written = written_platform(keys);
        let platform = match (before.map(|stage| stage.platform), &keys.platform) {
            (None, _) => written,
            (Some(continued), None) => continued,
            (Some(continued), Some(word)) => {
                let fits = continued == written || continued == StagePlatform::Build && written == StagePlatform::Cross;
                if !fits {
                    let message = format!("the stage `{}` goes on from one of another platform", name.value);
                    self.wrong(&word.span, message, "delete the key, or start from packages");
                }
                written
            }
        };
        for copy in keys.copy.iter().filter(|_| platform.is_build()) {
            if done.get(&copy.output.stage).is_some_and(|stage| !stage.platform.is_build()) {
                let message = format!(
                    "the stage `{}` is the same for every platform, and `{}` differs between them",
                    name.value, copy.output.value
                );
                self.wrong(&copy.output.span, message, "write `platform: cross` in the stage that copies it");
            }
        }
        platform
    }

    /// Sees that there is a release which the emulator can come from.
    pub(super) fn check_emulation(&mut self, keys: &SpecKeys, spec: &Spec) {
        let foreign = spec.platforms.iter().find(|platform| spec.is_emulated(**platform));
        if let (Some(platform), false) = (foreign, spec.roots().contains_key(crate::spec::EMULATION)) {
            let message =
                format!("what runs for {platform} is emulated, and no stage says of which release the emulator is");
            let span = keys.stages.values().find_map(|stage| stage.platform.as_ref()).map(|word| word.span.clone());
            let help = "start one stage from packages: `from: {debian: trixie, packages: […]}`";
            self.wrong(&span.unwrap_or_else(|| keys.image.span.clone()), message, help);
        }
    }
}
