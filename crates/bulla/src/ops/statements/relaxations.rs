//! What a spec allows beyond the ordinary: each word of it, and the reason that it gives.

use bulla_evidence::provenance::Relaxation;
use bulla_model::{
    Spec,
    spec::{Allow, Base, GitTrust, Identity, InstallScripts, Scripts, Source, Stage, Trust, Waiver},
};

/// Gives all of them, in the order of the spec's parts.
pub(super) fn of(spec: &Spec, waived: &[Waiver]) -> Vec<Relaxation> {
    let mut all: Vec<Relaxation> =
        spec.sources.iter().filter_map(|(name, source)| unsigned(name.as_str(), source)).collect();
    for (name, stage) in &spec.stages {
        all.extend(of_stage(name.as_str(), stage));
    }
    if let Base::Debian { scripts: Scripts::Run { reason }, .. } = &spec.image.base {
        all.push(relaxation("image.from.scripts", None, Some(reason)));
    }
    all.extend(allowed(&spec.image.allow));
    all.extend(waived.iter().map(|waiver| {
        let until = format!("until {}", waiver.last_day());
        relaxation(&format!("workspace.{}", waiver.setting), Some(&until), Some(&waiver.reason))
    }));
    all
}

fn relaxation(key: &str, of: Option<&str>, reason: Option<&str>) -> Relaxation {
    Relaxation { key: key.to_owned(), of: of.map(str::to_owned), reason: reason.map(str::to_owned) }
}

fn unsigned(name: &str, source: &Source) -> Option<Relaxation> {
    let reason = match source {
        Source::Url(source) => match &source.trust {
            Trust::FirstUse { reason } => reason,
            Trust::Digest | Trust::Signature { .. } => return None,
        },
        Source::Git(source) => match &source.trust {
            GitTrust::FirstUse { reason } => reason,
            GitTrust::Commit | GitTrust::Signature { .. } => return None,
        },
        Source::Folder(_) | Source::Debian(_) => return None,
    };
    Some(relaxation(&format!("sources.{name}.unsigned"), None, Some(reason)))
}

fn of_stage(name: &str, stage: &Stage) -> Vec<Relaxation> {
    let key = |word: &str| format!("stages.{name}.{word}");
    let mut all = Vec::new();
    if stage.identity == Identity::Fake {
        all.push(relaxation(&key("identity"), Some("fake"), None));
    }
    if !stage.cache.is_empty() {
        all.push(relaxation(&key("cache"), None, stage.locked_cache.as_deref()));
    }
    if stage.is_observed() {
        all.push(relaxation(&key("locked-observed"), None, stage.locked_observed.as_deref()));
    }
    for (ecosystem, dependencies) in &stage.dependencies {
        for dependency in dependencies {
            let InstallScripts::Deny { allow } = &dependency.scripts else { continue };
            let of =
                |package: &String| relaxation(&key(&format!("dependencies.{ecosystem}.scripts")), Some(package), None);
            all.extend(allow.iter().map(of));
        }
    }
    all
}

fn allowed(allow: &Allow) -> Vec<Relaxation> {
    let Allow { root_user, toolchain, setuid, capabilities } = allow;
    let words = [("image.allow.root-user", root_user), ("image.allow.toolchain", toolchain)];
    let words = words.into_iter().filter_map(|(key, reason)| Some(relaxation(key, None, Some(reason.as_ref()?))));
    let bits =
        setuid.iter().map(|(path, reason)| relaxation("image.allow.setuid", Some(&path.to_string()), Some(reason)));
    let grants = capabilities.iter().map(|(path, grant)| {
        let of = format!("{path} {}", grant.capabilities);
        relaxation("image.allow.capabilities", Some(&of), Some(&grant.reason))
    });
    words.chain(bits).chain(grants).collect()
}
