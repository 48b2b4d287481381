//! A world with real packages of the machine's own release, for the clients that come with it: one store for all tests of a client.

use std::path::{Path, PathBuf};

use bulla_testkit::{DebianRepo, Mirror, Project, Release, TestEnvironment, contains, debian};

use super::world::{files, usable};

/// A repository of real packages, and a store that is warm after the first build.
pub(crate) struct Real {
    repo: DebianRepo,
    mirror: Mirror,
    first: TestEnvironment,
}

impl Real {
    /// Makes a world with packages. `None`, after it was said why, where they or a sandbox cannot be had.
    pub(crate) fn new(test: &str, packages: &[&str]) -> Option<Self> {
        Self::with(test, packages, |_| {})
    }

    /// Makes a world with packages, and what is added to the archive.
    pub(crate) fn with(test: &str, packages: &[&str], add: impl FnOnce(&mut DebianRepo)) -> Option<Self> {
        usable(test)?;
        let mut repo = DebianRepo::real(packages)?;
        add(&mut repo);
        repo.publish_release(&Release::default());
        let mirror = Mirror::serve(repo.root());
        let first = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
        Some(Self { repo, mirror, first })
    }

    /// Gives an environment with a home of its own, which has the store of all tests, and whose configuration has more.
    pub(crate) fn environment(&self, configuration: &str) -> TestEnvironment {
        let environment = self.cold(configuration);
        let state = self.first.folder().join("home/.local/state");
        let environment = environment.set("BULLA_STORE", &self.first.store().display().to_string());
        environment.set("XDG_STATE_HOME", &state.display().to_string())
    }

    /// Publishes the archive anew.
    pub(crate) fn publish(&mut self, release: &Release) {
        self.repo.publish_release(release);
    }

    /// Gives the folder of the archive.
    pub(crate) fn root(&self) -> PathBuf {
        self.repo.root().to_owned()
    }

    /// Gives an environment with an empty store.
    pub(crate) fn cold(&self, configuration: &str) -> TestEnvironment {
        let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &self.repo, &self.mirror);
        configure(&environment, configuration);
        environment
    }
}

/// Adds to the configuration.
pub(crate) fn configure(environment: &TestEnvironment, text: &str) {
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    environment.write_config(&format!("{before}{text}"));
}

/// A spec whose stage has packages and lock files, and leaves `/src/app/out`.
pub(crate) fn spec(packages: &str, dependencies: &str, steps: &[&str]) -> String {
    let release = debian::codename().expect("Debian");
    let steps: Vec<String> = steps.iter().map(|step| format!("      - {}\n", super::world::quoted(step))).collect();
    format!(
        "bulla: 1
name: app
sources:
  app: {{path: app}}
stages:
  build:
    from: {{debian: {release}, packages: [{packages}]}}
    dependencies: {dependencies}
    steps:
{}    outputs: {{out: /src/app/out}}
image:
  from: {{scratch: {{}}}}
  copy:
    - {{output: build.out, to: /out}}
  entrypoint: [/out/app]
  user: 65532
",
        steps.concat()
    )
}

/// Unpacks the layers of a built image into a folder.
pub(crate) fn unpacked(project: &Project) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for blob in files(&project.path("bulla-out").join("blobs/sha256")) {
        let tar = std::process::Command::new("tar").arg("-xzf").arg(&blob).arg("-C").arg(folder.path()).output();
        drop(tar.expect("tar can be run"));
    }
    folder
}

/// Says which of a store's files have a word in them.
pub(crate) fn with_word(store: &Path, word: &str) -> Vec<PathBuf> {
    let has = |file: &PathBuf| contains(&fs_err::read(file).unwrap_or_default(), word);
    files(store).into_iter().filter(has).collect()
}
