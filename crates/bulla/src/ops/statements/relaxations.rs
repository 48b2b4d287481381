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
    all.extend(stage.normalise.iter().map(|(path, how)| {
        relaxation(&key("normalise"), Some(&format!("{path} as {}", how.format)), Some(&how.reason))
    }));
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

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "\
bulla: 1
name: loose
sources:
  app: {path: .}
  kit: {url: 'https://example.org/kit.tar.gz', unsigned: nobody signs it}
stages:
  build:
    from: {debian: trixie, packages: [gcc]}
    workdir: /src/app
    identity: fake
    normalise: {/src/app/out: {as: ar, reason: the old ar knows no D}}
    cache: [/src/app/target]
    locked-cache: it takes an hour else
    dependencies: [{npm: app/package-lock.json, scripts: {allow: [esbuild]}}, {maven: app/pom.xml}]
    locked-observed: it has no lock file
    steps:
      - make
    outputs: {out: /src/app/out}
image:
  from: {debian: trixie, packages: [libc6], scripts: {run: it needs its accounts}}
  copy:
    - {output: build.out, to: /out}
  entrypoint: [/out]
  user: root
  allow:
    root-user: it binds port 80
    toolchain: it compiles at night
    setuid: {/usr/bin/su: users change}
    capabilities: {/usr/bin/ping: {grant: cap_net_raw+ep, reason: users ping}}
";

    #[test]
    fn each_word_that_allows_more_is_told_with_its_reason() {
        let spec = Spec::parse_bytes("bulla.yaml", SPEC.as_bytes(), &std::collections::BTreeMap::new());
        let spec =
            spec.unwrap_or_else(|errors| panic!("{:?}", errors.iter().map(|one| &one.message).collect::<Vec<_>>()));
        let told: Vec<String> = of(&spec, &[])
            .iter()
            .map(|one| {
                [Some(one.key.as_str()), one.of.as_deref(), one.reason.as_deref()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" | ")
            })
            .collect();
        assert_eq!(
            told,
            [
                "sources.kit.unsigned | nobody signs it",
                "stages.build.identity | fake",
                "stages.build.normalise | /src/app/out as ar | the old ar knows no D",
                "stages.build.cache | it takes an hour else",
                "stages.build.locked-observed | it has no lock file",
                "stages.build.dependencies.npm.scripts | esbuild",
                "image.from.scripts | it needs its accounts",
                "image.allow.root-user | it binds port 80",
                "image.allow.toolchain | it compiles at night",
                "image.allow.setuid | /usr/bin/su | users change",
                "image.allow.capabilities | /usr/bin/ping cap_net_raw=ep | users ping",
            ]
        );
    }
}
