//! The lock files that a stage names, and the release that its steps have apt install from.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, stage::source_root};
use crate::{
    ecosystem::Ecosystem,
    path::CleanPath,
    spec::{
        AbsolutePath, Dependency, InstallScripts, Name, Named, Release, Source, Stage,
        written::{Codename, DependencyKeys, InstallScriptsText, InstallScriptsWord, LockFile},
    },
    yaml::At,
};

/// The kinds of packages whose scripts can be kept from running.
const DENIES_SCRIPTS: [Ecosystem; 3] = [Ecosystem::Npm, Ecosystem::Pypi, Ecosystem::Cargo];
/// The most bytes of a name of a package.
const MAX_NAME: usize = 256;

impl Context<'_> {
    /// Evaluates the lock files: those of the stage that is continued, and the stage's own in place of them. `base` is the release that the
    /// stage itself starts from.
    pub(super) fn dependencies(
        &mut self,
        keys: &[At<DependencyKeys>],
        sources: &BTreeMap<Name, Source>,
        workdir: &AbsolutePath,
        (before, base): (Option<&Stage>, Option<&Release>),
    ) -> BTreeMap<Ecosystem, Vec<Dependency>> {
        let mut own: BTreeMap<Ecosystem, Vec<Dependency>> = BTreeMap::new();
        for entry in keys {
            let (mut written, apt) = (entry.written(), entry.apt.as_ref());
            let (ecosystem, span) = match (written.next(), written.next(), apt) {
                (Some((ecosystem, file)), None, None) => (ecosystem, &file.span),
                (None, None, Some(apt)) => (Ecosystem::Apt, &apt.span),
                _ => {
                    let help = "write one kind and its lock file for each entry: `- {npm: package-lock.json}`";
                    self.wrong(&entry.span, "this names not exactly one lock file", help);
                    continue;
                }
            };
            let scripts = self.scripts(ecosystem, entry.scripts.as_ref());
            let named = match apt {
                Some(codename) => Some(Named::Release(self.archive(codename, entry, base))),
                None => {
                    self.refuse_archive(entry);
                    let file = entry.written().next().map(|(_, file)| file);
                    file.and_then(|file| self.lock_file(file, sources, workdir))
                        .map(|(source, file)| Named::File { source, file })
                }
            };
            let Some(named) = named else { continue };
            let dependency = Dependency { named, scripts };
            let files = own.entry(ecosystem).or_default();
            if ecosystem == Ecosystem::Apt && !files.is_empty() {
                let help = "name one; `suites` and `components` say what of it there is";
                self.wrong(span, "apt has several releases in one stage", help);
                continue;
            }
            if files.iter().any(|known| known.named == dependency.named) {
                self.wrong(span, format!("`{dependency}` is named twice"), "name it once");
                continue;
            }
            if files.first().is_some_and(|first| first.scripts.is_run() != dependency.scripts.is_run()) {
                let message =
                    format!("one lock file of {ecosystem} denies scripts, and another one of the stage does not");
                self.wrong(span, message, "write `scripts` to all of them: a step cannot tell whose a package is");
                continue;
            }
            files.push(dependency);
        }
        let mut all = before.map(|stage| stage.dependencies.clone()).unwrap_or_default();
        all.extend(own);
        all
    }

    /// Gives what apt finds of a release: by default what the stage itself is from, where that is the same one.
    fn archive(&mut self, codename: &At<Codename>, keys: &DependencyKeys, base: Option<&Release>) -> Release {
        let same = base.filter(|base| base.codename == codename.value.0);
        match (same, &keys.suites, &keys.components) {
            (Some(base), None, None) => base.clone(),
            (_, suites, components) => self.release(codename, suites.as_ref(), components.as_ref()),
        }
    }

    /// Refuses what only apt has, beside a lock file.
    fn refuse_archive(&mut self, keys: &DependencyKeys) {
        let suites = keys.suites.as_ref().map(|list| &list.span);
        if let Some(span) = suites.or(keys.components.as_ref().map(|list| &list.span)) {
            self.wrong(span, "only `apt` has suites and components", "delete the key");
        }
    }

    fn lock_file(
        &mut self,
        file: &At<LockFile>,
        sources: &BTreeMap<Name, Source>,
        workdir: &AbsolutePath,
    ) -> Option<(Name, CleanPath)> {
        let path = match &file.value {
            LockFile::Absolute(path) => path.clone(),
            LockFile::Beneath(path) => workdir.clean().map_or(Ok(path.clone()), |workdir| workdir.join(path)).ok()?,
        };
        let found = sources.keys().find_map(|name| Some((name, path.strip_prefix(&source_root(name))?)));
        let Some((source, file_in_it)) = found else {
            let help = "name a file of a source: relative to `workdir`, or `/src/NAME/package-lock.json`";
            self.wrong(&file.span, format!("`/{path}` is in no source"), help);
            return None;
        };
        Some((source.clone(), file_in_it))
    }

    fn scripts(&mut self, ecosystem: Ecosystem, written: Option<&At<InstallScriptsText>>) -> InstallScripts {
        let Some(written) = written else { return InstallScripts::Run };
        let mut allow = BTreeSet::new();
        match &written.value {
            InstallScriptsText::Word(InstallScriptsWord::Run) => return InstallScripts::Run,
            InstallScriptsText::Word(InstallScriptsWord::Deny) => {}
            InstallScriptsText::Keys(keys) => {
                for name in &keys.allow {
                    let bad = |c: char| c.is_whitespace() || c.is_control();
                    if name.value.is_empty() || name.value.len() > MAX_NAME || name.value.contains(bad) {
                        let help = "write it as the lock file does: `esbuild`, `@scope/name`";
                        self.wrong(&name.span, "this is no name of a package", help);
                    } else if !allow.insert(name.value.clone()) {
                        self.wrong(&name.span, format!("`{}` is named twice", name.value), "name it once");
                    }
                }
            }
        }
        if ecosystem == Ecosystem::Apt {
            let help = "leave `scripts` out: packages of Debian are not installed without their maintainer scripts, which run in the sandbox";
            self.wrong(&written.span, "scripts of packages of Debian cannot be denied", help);
        } else if matches!(ecosystem, Ecosystem::Maven | Ecosystem::Gradle) {
            let help = "leave `scripts` out: plugins are the build itself, and run in the sandbox";
            self.wrong(&written.span, "artifacts of Maven have no scripts", help);
        } else if ecosystem == Ecosystem::Go {
            let help = "leave `scripts` out: nothing of a module runs when it is fetched or compiled, and `go generate` is a step of your own";
            self.wrong(&written.span, "modules of Go have no scripts", help);
        } else if !DENIES_SCRIPTS.contains(&ecosystem) {
            let message = format!("scripts of packages of {ecosystem} cannot be denied yet");
            self.wrong(
                &written.span,
                message,
                "leave `scripts` out: they run in the sandbox, and what they execute is recorded",
            );
        }
        InstallScripts::Deny { allow }
    }
}
