//! One mirror of real packages, and one store, for all these tests; what is to be cold makes a store of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use bulla_testkit::{
    DebianRepo, GitServer, Mirror, Project, Release, TestEnvironment, debian, docker::Registry, git::has_git, process,
    skipped,
};

/// The release that the examples name.
const RELEASE: &str = "bookworm";

/// The mirror, and an environment that is warm after the first build.
pub(crate) struct World {
    repo: DebianRepo,
    mirror: Mirror,
    pub(crate) environment: TestEnvironment,
    /// A server of git repositories, which the configuration lets be reached, and the folder that they are in.
    pub(crate) git: Option<(tempfile::TempDir, GitServer)>,
}

impl World {
    /// Gives the world of these tests. `None`, after it was said why, where real packages cannot be had.
    pub(crate) fn get() -> Option<&'static Self> {
        static WORLD: OnceLock<Option<World>> = OnceLock::new();
        WORLD
            .get_or_init(|| {
                let mut repo = DebianRepo::real(&["gcc", "libc6-dev", "make", "nginx-light"])?;
                repo.add_real_source("redis")?;
                repo.publish_release(&Release::default());
                let mirror = Mirror::serve(repo.root());
                let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
                let git = has_git("a git server").then(|| {
                    let folder = tempfile::tempdir().expect("a temporary folder");
                    let server = GitServer::serve(folder.path());
                    let config = fs_err::read_to_string(environment.config()).expect("the configuration");
                    environment.write_config(&format!("{config}[network]\nlocal-hosts = [\"{}\"]\n", server.address()));
                    (folder, server)
                });
                Some(Self { repo, mirror, environment, git })
            })
            .as_ref()
    }

    /// Makes an environment with an empty store.
    pub(crate) fn cold(&self) -> TestEnvironment {
        TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &self.repo, &self.mirror)
    }

    /// Makes an environment with an empty store, and a mirror of its own that notes what it is asked for.
    pub(crate) fn elsewhere(&self) -> (TestEnvironment, Mirror) {
        let mirror = Mirror::serve(self.repo.root());
        (TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &self.repo, &mirror), mirror)
    }
}

/// A remote store: a repository of a real registry, or a folder where there is none.
pub(crate) struct Remote {
    place: String,
    key: String,
    _registry: Option<Registry>,
    _folder: tempfile::TempDir,
}

impl Remote {
    /// Starts a remote store that an environment fills with what it builds.
    pub(crate) fn filled_by(environment: &TestEnvironment) -> Self {
        let (registry, folder) = (Registry::start(), tempfile::tempdir().expect("a folder"));
        let place = match &registry {
            Some(registry) => format!("oci://{}/bulla", registry.address()),
            None => format!("file://{}", folder.path().display()),
        };
        let key = environment.run(&Project::new(), &["store", "key", "--new"]).success().stdout;
        configure(environment, &format!("remote = \"{place}\"\nwrite-from = [\"*\"]\n"));
        Self { place, key: key.trim_end().to_owned(), _registry: registry, _folder: folder }
    }

    /// Lets an environment read it, and use its results.
    pub(crate) fn read_by(&self, environment: &TestEnvironment) {
        configure(environment, &format!("remote = \"{}\"\ntrusted-keys = [\"{}\"]\n", self.place, self.key));
    }
}

fn configure(environment: &TestEnvironment, keys: &str) {
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    environment.write_config(&format!("{before}[store]\n{keys}"));
}

/// Gives the folder of an example.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// Copies files of an example into a project, whose spec then names this machine's own release.
pub(crate) fn project(name: &str, files: &[&str]) -> Project {
    let read = |file: &str| fs_err::read(example(name).join(file)).expect("a file of the example");
    let spec = String::from_utf8(read("bulla.yaml")).expect("UTF-8");
    let release = debian::codename().expect("Debian");
    let project = Project::with_spec(&spec.replace(RELEASE, &release));
    files.iter().fold(project, |project, file| project.file(file, read(file)))
}

/// Builds, and gives the digest of the image: standard output has that alone.
#[track_caller]
pub(crate) fn build(environment: &TestEnvironment, project: &Project) -> String {
    let ran = environment.run(project, &["build"]).success();
    let digest = ran.stdout.strip_suffix('\n').expect("a line").to_owned();
    assert!(digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64), "{}", ran.stdout);
    digest
}

/// Unpacks a built image by umoci, beside the project, of which it would else be a source, and gives the folder of its root
/// with the folder that vanishes when it is dropped. `None`, after it was said, where there is no umoci.
pub(crate) fn unpack(project: &Project) -> Option<(PathBuf, tempfile::TempDir)> {
    if !process::exists("umoci") {
        skipped("the image unpacked", "umoci is not installed");
        return None;
    }
    let image = format!("{}:{}", project.path("bulla-out").display(), only_name(project));
    let folder = tempfile::tempdir().expect("a temporary folder");
    process::make_readable(folder.path());
    let bundle = folder.path().join("bundle");
    let mut umoci = Command::new("umoci");
    umoci.arg("unpack");
    if !process::is_root() {
        umoci.arg("--rootless");
    }
    process::output(umoci.arg("--image").arg(image).arg(&bundle)).expect("umoci accepts the image");
    Some((bundle.join("rootfs"), folder))
}

/// Compares what skopeo says of an image with its name and user. Nothing where there is no skopeo, after it was said.
pub(crate) fn skopeo(project: &Project, user: &str) {
    if !process::exists("skopeo") {
        return skipped("what skopeo says of the image", "it is not installed");
    }
    let image = format!("oci:{}:{}", project.path("bulla-out").display(), only_name(project));
    let text = process::output(Command::new("skopeo").args(["inspect", "--config", &image])).expect("skopeo reads it");
    assert!(
        text.contains(&format!("\"User\": \"{user}\"")) || text.contains(&format!("\"User\":\"{user}\"")),
        "{text}"
    );
}

fn only_name(project: &Project) -> String {
    let index = project.read("bulla-out/index.json");
    let (_, rest) = index.split_once("org.opencontainers.image.ref.name\":\"").expect("a name");
    rest.split('"').next().expect("its end").to_owned()
}
