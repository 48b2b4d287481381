//! The lock files that a stage names.

use std::collections::BTreeMap;

use super::{Context, stage::source_root};
use crate::{
    ecosystem::Ecosystem,
    spec::{
        AbsolutePath, Dependency, Name, Source, Stage,
        written::{DependencyKeys, LockFile},
    },
    yaml::At,
};

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
            let Some(dependency) = self.lock_file(file, sources, workdir) else { continue };
            let files = own.entry(ecosystem).or_default();
            if files.contains(&dependency) {
                self.wrong(&file.span, format!("`{dependency}` is named twice"), "name it once");
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
    ) -> Option<Dependency> {
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
        Some(Dependency { source: source.clone(), file: file_in_it })
    }
}
