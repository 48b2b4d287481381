//! The keys of stages and steps.

use std::fmt;

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::{
    Map,
    from::StageFrom,
    scalar::{Codename, Component, EnvName, LockFile, OwnerText, Reason, Size, Suite, Time, Value},
};
use crate::{
    ecosystem::Ecosystem,
    spec::{AbsolutePath, Name, OnRefusal, OutputRef},
    yaml::At,
};

/// A root filesystem and the steps that run on it, in a sandbox that reaches nothing. It starts from packages (`from`) or
/// goes on where another stage ended (`stage`), one of both. A stage that nothing of the image comes from is a test: it
/// ships nothing, and its failure fails the build.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "the keys of a stage")]
#[schemars(rename = "Stage")]
pub(in crate::spec) struct StageKeys {
    /// The packages that it starts from.
    #[schemars(extend("x-example" = "from: {debian: trixie, packages: [gcc, libc6-dev, make]}"))]
    #[serde(default)]
    pub(in crate::spec) from: Option<At<StageFrom>>,
    /// The stage that it goes on from.
    #[schemars(extend("x-example" = "stage: build"))]
    #[serde(default)]
    pub(in crate::spec) stage: Option<At<Name>>,
    /// On which platform the steps run, and for which: `build` (on that of the machine that builds; what the stage makes is the
    /// same for every platform of the image), `cross` (on that of the machine too, once for each platform of the image, with
    /// packages such as `gcc:cross` and `zlib1g-dev:target`) or `target` (on each platform of the image, emulated where it is
    /// not the machine's). By default `build`, or what the continued stage has. Steps of `cross` and `target` have
    /// `TARGETPLATFORM` (`linux/arm64`), `TARGETOS`, `TARGETARCH` (`arm64`), `TARGETTRIPLET` (`aarch64-linux-gnu`) and
    /// `BUILDPLATFORM` in their environment.
    #[schemars(extend("x-example" = "platform: cross"))]
    #[serde(default)]
    pub(in crate::spec) platform: Option<At<PlatformWord>>,
    /// Where the steps run: by default where those of the continued stage do, else in the only source.
    #[schemars(extend("x-example" = "workdir: /src/app"))]
    #[serde(default)]
    pub(in crate::spec) workdir: Option<At<AbsolutePath>>,
    /// The environment of every step, beside the params and that of the continued stage.
    #[schemars(extend("x-example" = "env: {CFLAGS: -O2 -g, RELEASE: '${VERSION}'}"))]
    #[serde(default)]
    pub(in crate::spec) env: Map<EnvName, Value>,
    /// What is brought in from other stages before the first step.
    #[schemars(extend("x-example" = "copy:\n  - {output: build.lib, to: /usr/local/lib/shop}"))]
    #[serde(default)]
    pub(in crate::spec) copy: Vec<At<StageCopyKeys>>,
    /// The lock files of package managers whose packages the steps find, relative to `workdir` (or absolute beneath `/src`). All that one
    /// names is fetched and verified before a step runs, and served to the unmodified package manager on the step's own loopback;
    /// nothing else is there. Of one kind there may be several; a stage that goes on from another has what that has, and its own of a kind
    /// in place of it.
    #[schemars(extend("x-example" = "dependencies: [{npm: package-lock.json}]"))]
    #[serde(default)]
    pub(in crate::spec) dependencies: Option<Vec<At<DependencyKeys>>>,
    /// The commands, one a line: a text for `/bin/sh -eu`, a list of arguments, or a map with `run`.
    #[schemars(extend("x-example" = "steps:\n  - ./configure --prefix=/usr\n  - [make, -j4]\n  - run: make install DESTDIR=/out"))]
    #[serde(default)]
    pub(in crate::spec) steps: Option<At<Vec<At<StepText>>>>,
    /// The files and folders that other stages and the image may take, by name.
    #[schemars(extend("x-example" = "outputs: {dist: /src/app/dist}"))]
    #[serde(default)]
    pub(in crate::spec) outputs: Map<Name, AbsolutePath>,
    /// Who owns what the steps made: a path with all beneath it; the longest path counts, and the rest is root's.
    #[schemars(extend("x-example" = "owners: {/out/var/lib/shop: 65532}"))]
    #[serde(default)]
    pub(in crate::spec) owners: Map<AbsolutePath, OwnerText>,
    /// What is written anew of an output because what makes it cannot be told to make it twice the same: a file of it, or a folder with all archives
    /// of that format in it. Last resort, recorded with its reason: set the tool's own option where there is one.
    #[schemars(extend("x-example" = "normalise: {/src/app/target/app.jar: {as: zip, reason: its plugin writes the hour into each member}}"))]
    #[serde(default)]
    pub(in crate::spec) normalise: Map<AbsolutePath, NormaliseKeys>,
    /// What calls that change the user of a process do: `real` (they fail, for a stage has one user) or `fake` (they are
    /// answered with success and change nothing).
    #[schemars(extend("x-example" = "identity: fake"))]
    #[serde(default)]
    pub(in crate::spec) identity: Option<At<IdentityWord>>,
    /// Folders that a compiler keeps things in between builds. Each step has its own, and finds what it left when it ran last. What
    /// comes of a step that found something is tainted: it is not shared or called reproducible. Nothing of them is an output.
    #[schemars(extend("x-example" = "cache: [/src/app/target]"))]
    #[serde(default)]
    pub(in crate::spec) cache: Vec<At<AbsolutePath>>,
    /// Why `--locked` builds use the caches as well; without a reason they refuse the stage.
    #[schemars(extend("x-example" = "locked-cache: a build without it takes an hour"))]
    #[serde(default)]
    pub(in crate::spec) locked_cache: Option<At<Reason>>,
    /// Why `--locked` builds use what `bulla lock --observe` pinned of the stage's dependencies; without a reason they refuse the stage.
    /// A stage that goes on from another has what that says.
    #[schemars(extend("x-example" = "locked-observed: Maven has no lock file"))]
    #[serde(default)]
    pub(in crate::spec) locked_observed: Option<At<Reason>>,
    /// What each step may use at most.
    #[schemars(extend("x-example" = "limits: {memory: 4GiB, time: 30m}"))]
    #[serde(default)]
    pub(in crate::spec) limits: Option<At<LimitKeys>>,
    /// What happens when a step tries something and is not given it: `record` (it is shown, and the step goes on), `stop`
    /// (the step is ended) or `fail` (the step goes on, and then the build fails).
    #[schemars(extend("x-example" = "on-refusal: fail"))]
    #[serde(default)]
    pub(in crate::spec) on_refusal: Option<At<OnRefusalWord>>,
}

/// How an archive is written anew.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{as: zip, reason: REASON}`")]
#[schemars(rename = "Normalise")]
pub(in crate::spec) struct NormaliseKeys {
    /// What it is: `zip` (jars too: times of members gone, members in the order of their names), `gzip` (its time gone) or `ar` (static libraries:
    /// times and owners of members gone).
    #[serde(rename = "as")]
    #[schemars(extend("x-example" = "as: zip"))]
    pub(in crate::spec) format: ArchiveWord,
    /// Why the tool cannot do it itself.
    #[schemars(extend("x-example" = "reason: its plugin writes the hour into each member"))]
    pub(in crate::spec) reason: Reason,
}

/// The format of an archive.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "ArchiveFormat")]
pub(in crate::spec) enum ArchiveWord {
    /// zip.
    Zip,
    /// gzip.
    Gzip,
    /// ar.
    Ar,
}

/// An output of another stage that is brought in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{output: build.lib, to: /usr/lib/shop}`")]
#[schemars(rename = "StageCopy")]
pub(in crate::spec) struct StageCopyKeys {
    /// The output: STAGE.OUTPUT.
    #[schemars(extend("x-example" = "output: build.lib"))]
    pub(in crate::spec) output: At<OutputRef>,
    /// The path that it gets; not the folder that it goes into.
    #[schemars(extend("x-example" = "to: /usr/local/lib/shop"))]
    pub(in crate::spec) to: At<AbsolutePath>,
}

/// A lock file of a package manager, by the manager's name; or the release that apt installs packages of.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{npm: package-lock.json}`")]
#[schemars(rename = "Dependency")]
pub(in crate::spec) struct DependencyKeys {
    /// A `package-lock.json` (of version 2 or 3), `npm-shrinkwrap.json`, `pnpm-lock.yaml` (of version 6 or 9), or `yarn.lock`.
    #[schemars(extend("x-example" = "npm: package-lock.json"))]
    #[serde(default)]
    pub(in crate::spec) npm: Option<At<LockFile>>,
    /// A `requirements.txt` with hashes, `uv.lock`, `poetry.lock` or `pylock.toml`.
    #[schemars(extend("x-example" = "pypi: requirements.txt"))]
    #[serde(default)]
    pub(in crate::spec) pypi: Option<At<LockFile>>,
    /// A `Cargo.lock`.
    #[schemars(extend("x-example" = "cargo: Cargo.lock"))]
    #[serde(default)]
    pub(in crate::spec) cargo: Option<At<LockFile>>,
    /// A `go.sum`; of a workspace any module's, `go.work` or `go.work.sum`.
    #[schemars(extend("x-example" = "go: go.sum"))]
    #[serde(default)]
    pub(in crate::spec) go: Option<At<LockFile>>,
    /// A `pom.xml`. Maven has no lock file: what it asks for is found out by `bulla lock --observe`, which runs the stage once, and is
    /// pinned in `bulla.lock`. `--locked` builds need a reason for that, `locked-observed` of the stage.
    #[schemars(extend("x-example" = "maven: pom.xml"))]
    #[serde(default)]
    pub(in crate::spec) maven: Option<At<LockFile>>,
    /// A `gradle.lockfile`, with `gradle/verification-metadata.xml` beside or above it; or that file alone.
    #[schemars(extend("x-example" = "gradle: gradle.lockfile"))]
    #[serde(default)]
    pub(in crate::spec) gradle: Option<At<LockFile>>,
    /// The codename of a release of Debian that steps install packages of, by `apt-get update && apt-get install NAME`. What apt asks its
    /// archive for is found out by `bulla lock --observe`, verified by the keys that packages of Debian are verified by, and pinned in
    /// `bulla.lock`. `--locked` builds need a reason for that, `locked-observed` of the stage.
    #[schemars(extend("x-example" = "apt: trixie"))]
    #[serde(default)]
    pub(in crate::spec) apt: Option<At<Codename>>,
    /// What becomes of the scripts that packages have run when they are installed. By default they run, in the sandbox of the step. With
    /// `deny` those of no package run, with `{allow: […]}` those of these packages alone; the project's own always run. What was
    /// denied is told and recorded.
    #[schemars(extend("x-example" = "scripts: {allow: [esbuild, '@parcel/watcher']}"))]
    #[serde(default)]
    pub(in crate::spec) scripts: Option<At<InstallScriptsText>>,
    /// What says which packages of Python building others from source takes (`build-system.requires`): `locked`, which lock files of the
    /// stage do, or `observed`: it is found out by `bulla lock --observe`, and pinned in `bulla.lock`. `--locked` builds need a reason for
    /// that, `locked-observed` of the stage.
    #[schemars(extend("x-example" = "build-dependencies: observed"))]
    #[serde(default, rename = "build-dependencies")]
    pub(in crate::spec) build_dependencies: Option<At<BuildDependenciesWord>>,
    /// The suites that apt finds: by default those of the stage's `from`, where that is of the same release; else the release, its
    /// `-updates` and its `-security`.
    #[schemars(extend("x-example" = "suites: [trixie, trixie-backports]"))]
    #[serde(default)]
    pub(in crate::spec) suites: Option<At<Vec<At<Suite>>>>,
    /// The components that apt finds: by default those of `from`, else `main`.
    #[schemars(extend("x-example" = "components: [main, contrib]"))]
    #[serde(default)]
    pub(in crate::spec) components: Option<At<Vec<At<Component>>>>,
}

/// What says which packages building others takes.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "BuildDependencies")]
pub(in crate::spec) enum BuildDependenciesWord {
    /// Lock files of the stage.
    Locked,
    /// What was observed of it.
    Observed,
}

/// What becomes of the scripts of packages: `run`, `deny`, or a map with those packages whose scripts run.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged, rename = "InstallScripts")]
pub(in crate::spec) enum InstallScriptsText {
    /// The same for all packages.
    Word(InstallScriptsWord),
    /// Some packages' scripts run.
    Keys(InstallScriptsKeys),
}

/// What becomes of the scripts of all packages.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "InstallScriptsWord")]
pub(in crate::spec) enum InstallScriptsWord {
    /// They run.
    Run,
    /// They do not run.
    Deny,
}

/// The packages whose scripts run; those of all others do not.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "`run`, `deny`, or a map such as `{allow: [esbuild]}`")]
#[schemars(rename = "InstallScriptsKeys")]
pub(in crate::spec) struct InstallScriptsKeys {
    /// Packages by the name that the lock file has for them.
    #[schemars(extend("x-example" = "allow: [esbuild, '@parcel/watcher']"))]
    pub(in crate::spec) allow: Vec<At<String>>,
}

impl DependencyKeys {
    /// Names one lock file.
    pub(in crate::spec) fn one(ecosystem: Ecosystem, file: At<LockFile>) -> Self {
        let mut keys = Self::default();
        let place = match ecosystem {
            Ecosystem::Npm => &mut keys.npm,
            Ecosystem::Pypi => &mut keys.pypi,
            Ecosystem::Cargo => &mut keys.cargo,
            Ecosystem::Go => &mut keys.go,
            Ecosystem::Maven => &mut keys.maven,
            Ecosystem::Gradle => &mut keys.gradle,
            // No file names packages of it.
            Ecosystem::Apt => return keys,
        };
        *place = Some(file);
        keys
    }

    /// Gives what is written, each with its kind.
    pub(in crate::spec) fn written(&self) -> impl Iterator<Item = (Ecosystem, &At<LockFile>)> {
        let all = [
            (Ecosystem::Npm, &self.npm),
            (Ecosystem::Pypi, &self.pypi),
            (Ecosystem::Cargo, &self.cargo),
            (Ecosystem::Go, &self.go),
            (Ecosystem::Maven, &self.maven),
            (Ecosystem::Gradle, &self.gradle),
        ];
        all.into_iter().filter_map(|(ecosystem, file)| Some((ecosystem, file.as_ref()?)))
    }
}

/// What each step of a stage may use at most. Without a limit, what your configuration says holds.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{memory: 4GiB, time: 30m}`")]
#[schemars(rename = "Limits")]
pub(in crate::spec) struct LimitKeys {
    /// Memory, of all its processes together.
    #[schemars(extend("x-example" = "memory: 4GiB"))]
    #[serde(default)]
    pub(in crate::spec) memory: Option<At<Size>>,
    /// Time on the wall.
    #[schemars(extend("x-example" = "time: 1h30m"))]
    #[serde(default)]
    pub(in crate::spec) time: Option<At<Time>>,
    /// Processes and threads at once.
    #[schemars(range(min = 1, max = 4_194_304), extend("x-example" = "processes: 1000"))]
    #[serde(default)]
    pub(in crate::spec) processes: Option<At<u32>>,
    /// What it may write to disk.
    #[schemars(extend("x-example" = "disk: 10GiB"))]
    #[serde(default)]
    pub(in crate::spec) disk: Option<At<Size>>,
}

/// On which platform the steps of a stage run, and for which.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "StagePlatform")]
pub(in crate::spec) enum PlatformWord {
    /// On that of the machine that builds, for all.
    Build,
    /// On that of the machine that builds, once for each platform of the image.
    Cross,
    /// On each platform of the image.
    Target,
}

/// What calls that change the user do.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Identity")]
pub(in crate::spec) enum IdentityWord {
    /// They fail.
    Real,
    /// They are answered with success.
    Fake,
}

/// What happens at a refusal.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "OnRefusal")]
pub(in crate::spec) enum OnRefusalWord {
    /// The step is ended, and the build fails.
    Stop,
    /// It is shown, and the step goes on.
    Record,
    /// The step goes on, and then the build fails.
    Fail,
}

impl From<OnRefusalWord> for OnRefusal {
    fn from(word: OnRefusalWord) -> Self {
        match word {
            OnRefusalWord::Stop => Self::Stop,
            OnRefusalWord::Record => Self::Record,
            OnRefusalWord::Fail => Self::Fail,
        }
    }
}

/// A step: a text for `/bin/sh -eu`, a list of arguments, or a map with `run`.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged, rename = "Step")]
pub(in crate::spec) enum StepText {
    /// A text for `/bin/sh -eu`.
    Shell(String),
    /// A program and its arguments, without a shell.
    Arguments(Vec<At<Value>>),
    /// A step with more to say.
    Keys(Box<StepKeys>),
}

/// A step with more to say than its command. It is written over several lines.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "the keys of a step")]
#[schemars(rename = "StepKeys")]
pub(in crate::spec) struct StepKeys {
    /// The command: a text for `/bin/sh -eu`, or a list of arguments.
    #[schemars(extend("x-example" = "run: npm ci"))]
    pub(in crate::spec) run: At<RunText>,
    /// The only files of the sources that the step sees, as patterns relative to `workdir` (or absolute beneath `/src`). It
    /// runs again only when these change. Without the key it sees all, with an empty list none.
    #[schemars(extend("x-example" = "sees: [package.json, package-lock.json]"))]
    #[serde(default)]
    pub(in crate::spec) sees: Option<Vec<At<String>>>,
    /// The environment of this step alone, beside the stage's.
    #[schemars(extend("x-example" = "env: {NODE_ENV: production}"))]
    #[serde(default)]
    pub(in crate::spec) env: Map<EnvName, Value>,
    /// Secrets of the command line (`bulla build --secret id=NAME,…`) that this step is given: a name puts the value into
    /// `/run/secrets/NAME`, a map into another file or into a variable of the environment. They are gone when the step ends;
    /// names, and never values, decide whether it runs again.
    #[schemars(extend("x-example" = "secrets:\n  - npm-token\n  - {id: github, env: GH_TOKEN}"))]
    #[serde(default)]
    pub(in crate::spec) secrets: Vec<At<SecretText>>,
    /// What to show for the step instead of its command.
    #[schemars(extend("x-example" = "name: dependencies"))]
    #[serde(default)]
    pub(in crate::spec) name: Option<At<String>>,
}

/// What a step runs: a text for `/bin/sh -eu`, or a list of arguments.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged, rename = "Run")]
pub(in crate::spec) enum RunText {
    /// A text for `/bin/sh -eu`.
    Shell(String),
    /// A program and its arguments, without a shell.
    Arguments(Vec<At<Value>>),
}

/// A secret that a step is given: its name, or a map with `id`.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged, rename = "Secret")]
pub(in crate::spec) enum SecretText {
    /// Its name; the value is in `/run/secrets/NAME`.
    Name(Name),
    /// A secret with a place of its own.
    Keys(Box<SecretKeys>),
}

/// A secret of the command line, and where the step finds it: in a file (`target`) or in a variable (`env`). With neither it is
/// the file `/run/secrets/NAME`. Where the value comes from is said on the command line and cannot be said here.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a name, or a map such as `{id: github, env: GH_TOKEN}`")]
#[schemars(rename = "SecretKeys")]
pub(in crate::spec) struct SecretKeys {
    /// The name that the command line has for it.
    #[schemars(extend("x-example" = "id: github"))]
    pub(in crate::spec) id: At<Name>,
    /// The variable of this step's environment that has the value, less a line end at its end, as `$(cat FILE)` gives it. A file is the
    /// safer place: variables go on to every process that the step starts.
    #[schemars(extend("x-example" = "env: GH_TOKEN"))]
    #[serde(default)]
    pub(in crate::spec) env: Option<At<EnvName>>,
    /// The file (mode 0400) that has the value, for programs that look in one place.
    #[schemars(extend("x-example" = "target: /root/.npmrc"))]
    #[serde(default)]
    pub(in crate::spec) target: Option<At<AbsolutePath>>,
}

struct InstallScriptsVisitor;

impl<'de> Visitor<'de> for InstallScriptsVisitor {
    type Value = InstallScriptsText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`run`, `deny`, or a map such as `{allow: [esbuild]}`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<InstallScriptsText, E> {
        InstallScriptsWord::deserialize(de::value::StrDeserializer::new(text)).map(InstallScriptsText::Word)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<InstallScriptsText, A::Error> {
        InstallScriptsKeys::deserialize(de::value::MapAccessDeserializer::new(map)).map(InstallScriptsText::Keys)
    }
}

impl<'de> Deserialize<'de> for InstallScriptsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InstallScriptsVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a secret, or a map such as `{id: github, env: GH_TOKEN}`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretText, E> {
        Name::deserialize(de::value::StrDeserializer::new(text)).map(SecretText::Name)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretText, A::Error> {
        SecretKeys::deserialize(de::value::MapAccessDeserializer::new(map)).map(|keys| SecretText::Keys(Box::new(keys)))
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = StepText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command, a list of arguments, or a map with `run`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<StepText, E> {
        command(text).map(StepText::Shell)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<StepText, A::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(items)).map(StepText::Arguments)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StepText, A::Error> {
        StepKeys::deserialize(de::value::MapAccessDeserializer::new(map)).map(|keys| StepText::Keys(Box::new(keys)))
    }
}

impl<'de> Deserialize<'de> for StepText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StepVisitor)
    }
}

struct RunVisitor;

impl<'de> Visitor<'de> for RunVisitor {
    type Value = RunText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command or a list of arguments")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RunText, E> {
        command(text).map(RunText::Shell)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<RunText, A::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(items)).map(RunText::Arguments)
    }
}

impl<'de> Deserialize<'de> for RunText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RunVisitor)
    }
}

/// The most bytes that Linux takes as one argument (`MAX_ARG_STRLEN`), less the NUL.
pub(in crate::spec) const MAX_ARGUMENT: usize = 131_071;

fn command<E: de::Error>(text: &str) -> Result<String, E> {
    if text.trim().is_empty() {
        return Err(E::custom("this command is empty\nwrite a command, or delete the step"));
    }
    if text.contains('\0') || text.len() > MAX_ARGUMENT {
        return Err(E::custom(format!(
            "a command cannot have a NUL character in it, nor more than {MAX_ARGUMENT} bytes\nput it into a script in the source"
        )));
    }
    Ok(text.to_owned())
}
