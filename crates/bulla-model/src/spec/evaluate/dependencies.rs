//! The lock files that a stage names.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, stage::source_root};
use crate::{
    ecosystem::Ecosystem,
    path::CleanPath,
    spec::{
        AbsolutePath, Dependency, InstallScripts, Name, Source, Stage,
        written::{DependencyKeys, InstallScriptsText, InstallScriptsWord, LockFile},
    },
    yaml::At,
};

/// The kinds of packages whose scripts can be kept from running.
const DENIES_SCRIPTS: [Ecosystem; 3] = [Ecosystem::Npm, Ecosystem::Pypi, Ecosystem::Cargo];
/// The most bytes of a name of a package.
const MAX_NAME: usize = 256;

impl Context<'_> {
    /// Evaluates the lock files: those of the stage that is continued, and the stage's own in place of them.
    pub(super) fn dependencies(
        &mut self,
        keys: &[At<DependencyKeys>],
        sources: &BTreeMap<Name, Source>,
        workdir: &AbsolutePath,
        before: Option<&Stage>,
    ) -> BTreeMap<Ecosystem, Vec<Dependency>> {
        let mut own: BTreeMap<Ecosystem, Vec<Dependency>> = BTreeMap::new();
        for entry in keys {
            let mut written = entry.written();
            let (Some((ecosystem, file)), None) = (written.next(), written.next()) else {
                let help = "write one kind and its lock file for each entry: `- {npm: package-lock.json}`";
                self.wrong(&entry.span, "this names not exactly one lock file", help);
                continue;
            };
            let scripts = self.scripts(ecosystem, entry.scripts.as_ref());
            let Some((source, path)) = self.lock_file(file, sources, workdir) else { continue };
            let dependency = Dependency { source, file: path, scripts };
            let files = own.entry(ecosystem).or_default();
            if files.iter().any(|known| (&known.source, &known.file) == (&dependency.source, &dependency.file)) {
                self.wrong(&file.span, format!("`{dependency}` is named twice"), "name it once");
                continue;
            }
            if files.first().is_some_and(|first| first.scripts.is_run() != dependency.scripts.is_run()) {
                let message =
                    format!("one lock file of {ecosystem} denies scripts, and another one of the stage does not");
                self.wrong(
                    &file.span,
                    message,
                    "write `scripts` to all of them: a step cannot tell whose a package is",
                );
                continue;
            }
            files.push(dependency);
        }
        let mut all = before.map(|stage| stage.dependencies.clone()).unwrap_or_default();
        all.extend(own);
        all
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
        if matches!(ecosystem, Ecosystem::Maven | Ecosystem::Gradle) {
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
