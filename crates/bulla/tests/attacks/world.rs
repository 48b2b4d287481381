//! The smallest world that a build can run in: one Essential package, which is a static busybox and a package manager that
//! says yes to all, in a signed repository behind a mirror, and an environment that knows the mirror.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use bulla_testkit::{
    Deb, DebianRepo, Mirror, Project, Ran, Release, TestEnvironment, archive::TarEntry, cache, debian::Compression,
    process, skipped,
};

/// What the package gives names to, beside `dpkg`.
const APPLETS: [&str; 34] = [
    "awk", "cat", "chmod", "cp", "dd", "echo", "env", "false", "find", "grep", "head", "id", "ln", "ls", "mkdir",
    "mkfifo", "mv", "nc", "nslookup", "printf", "rm", "sed", "seq", "setsid", "sh", "sleep", "sort", "stat", "tail",
    "test", "touch", "true", "wc", "yes",
];

/// A repository, its mirror, and an environment whose configuration names it.
pub(crate) struct World {
    pub(crate) repo: DebianRepo,
    pub(crate) mirror: Mirror,
    pub(crate) environment: TestEnvironment,
}

impl World {
    /// Makes a world. `None`, after it was said why, where there is no static busybox or no sandbox.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let busybox = usable(test)?;
        let mut repo = DebianRepo::new("trixie");
        repo.add(&tools(busybox));
        repo.publish(&Release::default());
        let mirror = Mirror::serve(repo.root());
        let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
        Some(Self { repo, mirror, environment })
    }

    /// Adds a package, and publishes the repository anew.
    pub(crate) fn publish(&mut self, deb: &Deb) {
        self.repo.add(deb);
        self.repo.publish(&Release::default());
    }

    /// Runs `bulla build`.
    pub(crate) fn build(&self, project: &Project, arguments: &[&str]) -> Ran {
        self.environment.run(project, &[&["build"], arguments].concat())
    }

    /// Builds, and gives the digest of the image.
    #[track_caller]
    pub(crate) fn digest(&self, project: &Project) -> String {
        let digest = self.build(project, &[]).success().stdout.trim_end().to_owned();
        assert!(digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64), "{digest}");
        digest
    }

    /// Rehashes the whole store, and panics when anything in it is not what it should be.
    #[track_caller]
    pub(crate) fn assert_sound(&self, project: &Project) {
        self.environment.run(project, &["store", "verify", "--full"]).success();
    }

    /// Says whether anything but the lock and what was there before is in the project after a failed build.
    #[track_caller]
    pub(crate) fn assert_no_image(&self, project: &Project) {
        assert!(!project.path("bulla-out/index.json").exists(), "an image was written");
    }
}

/// Gives the package that every root has.
pub(crate) fn tools(busybox: &Path) -> Deb {
    let mut bytes = fs_err::read(busybox).expect("reading busybox");
    // Its shell prefers its own applets to programs, and its own `dpkg` is none that configures packages: in the sorted table
    // of names it gets another name.
    let names = b"\0dpkg\0dpkg-deb\0";
    if let Some(at) = bytes.windows(names.len()).position(|part| part == names) {
        bytes[at..at + names.len()].copy_from_slice(b"\0dpk-\0dpkg-deb\0");
    }
    let deb = Deb::new("tools", "1").field("Essential", "yes").compression(Compression::None);
    let deb = deb.file("usr/bin/busybox", 0o755, bytes).file("usr/bin/dpkg", 0o755, "#!/bin/sh\nexit 0\n");
    APPLETS.iter().fold(deb, |deb, name| deb.entry(TarEntry::symlink(format!("./usr/bin/{name}"), "busybox")))
}

/// A spec with one stage and these steps, whose image is what the output holds.
pub(crate) fn spec(stage: &str, steps: &[&str], output: &str) -> String {
    let steps: Vec<String> = steps.iter().map(|step| format!("      - {}\n", quoted(step))).collect();
    format!(
        "bulla: 1
name: attacked
sources:
  app: {{path: app}}
stages:
  build:
    from: {{debian: trixie, suites: [trixie], packages: [tools]}}
{stage}    steps:
{}    outputs: {{out: {output}}}
image:
  from: {{scratch: {{}}}}
  copy:
    - {{output: build.out, to: /out}}
  entrypoint: [/out]
  user: 65532
",
        steps.concat()
    )
}

/// A project whose steps leave `/src/app/out`.
pub(crate) fn project(steps: &[&str]) -> Project {
    project_with("", steps)
}

/// A project whose stage has more keys: whole lines, indented by four.
pub(crate) fn project_with(stage: &str, steps: &[&str]) -> Project {
    Project::with_spec(&spec(stage, steps, "/src/app/out")).file("app/hello", "hello\n")
}

/// The steps of a build in which nothing is wrong.
pub(crate) const GOOD: [&str; 2] = ["mkdir out; cp hello out/hello", "echo more >out/more"];

/// Says whether cgroups limit what a step takes, so that a limit that was reached is known.
pub(crate) fn has_cgroups() -> bool {
    let ran = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla")).run(&Project::new(), &["doctor"]);
    ran.stdout.lines().any(|line| line.contains("limits:") && line.contains("cgroup") && line.starts_with("ok"))
}

/// Writes a double-quoted scalar of YAML: JSON's is one.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

/// Gives busybox where sandboxes can be had.
pub(crate) fn usable(test: &str) -> Option<&'static Path> {
    static USABLE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match USABLE.get_or_init(|| busybox().and_then(|path| sandbox().map(|()| path))) {
        Ok(path) => Some(path),
        Err(why) => {
            skipped(test, why);
            None
        }
    }
}

fn sandbox() -> Result<(), String> {
    let ran = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla")).run(&Project::new(), &["doctor"]);
    if ran.code == Some(0) { Ok(()) } else { Err(format!("there is no sandbox here: {}", ran.stdout)) }
}

/// Gives a static busybox: that of the machine, else that of its distribution, by apt, kept in the test kit's cache.
fn busybox() -> Result<PathBuf, String> {
    let folder = cache::folder().join("busybox");
    let kept = folder.join("busybox");
    let found = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().chain([kept.clone()]);
    if let Some(path) = found.into_iter().find(|path| is_static(path)) {
        return Ok(path);
    }
    let scratch = tempfile::tempdir().expect("a temporary folder");
    process::output(Command::new("apt-get").args(["-qq", "download", "busybox-static"]).current_dir(scratch.path()))?;
    let deb = fs_err::read_dir(scratch.path()).expect("listing it").filter_map(Result::ok).next();
    let deb = deb.ok_or("apt downloaded nothing")?.path();
    process::output(Command::new("dpkg-deb").arg("-x").arg(deb).arg(scratch.path().join("root")))?;
    let unpacked = ["bin/busybox", "usr/bin/busybox"].map(|path| scratch.path().join("root").join(path));
    let unpacked = unpacked.into_iter().find(|path| is_static(path)).ok_or("the package has no static busybox")?;
    fs_err::create_dir_all(&folder).expect("a folder in the cache");
    // Another test binary may do the same at the same time: what is there is whole.
    let fresh = folder.join(format!("busybox.{}", std::process::id()));
    fs_err::copy(unpacked, &fresh).expect("copying busybox");
    fs_err::rename(&fresh, &kept).expect("renaming busybox");
    Ok(kept)
}

/// Says whether a file is a program that asks for no interpreter (ELF, `PT_INTERP`): the name of the loader is not in it.
fn is_static(path: &Path) -> bool {
    fs_err::read(path).is_ok_and(|bytes| {
        bytes.starts_with(b"\x7fELF")
            && !bytes.get(..4096).unwrap_or(&bytes).windows(9).any(|part| part == b"ld-linux-")
    })
}

/// Gives every file beneath a folder, the folders themselves left out.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// Says whether a process runs that has a word in its command line.
pub(crate) fn is_running(word: &str) -> bool {
    std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok).any(|entry| {
        let line = fs_err::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
    })
}
