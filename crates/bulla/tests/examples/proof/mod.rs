//! What holds of the image of each example: its lists are whole, agree with the image and with Syft's but for what is explained, and are the same for every
//! build; and it is made again in other surroundings, with the verdict that the README tells.

mod explained;

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{
    Digest,
    oci::{Index, Manifest},
};
use bulla_testkit::{Project, Ran, SbomTools, TestEnvironment, clients, skipped};
use serde_json::Value;

use self::explained::{By, EXPLAINED};
use crate::world::{World, example, project};

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// What the programs tried is of one invocation, as a part of the provenance is.
const TRACE: &str = "https://in-toto.io/attestation/runtime-trace/v0.2";

/// An example that is ready to be built.
struct Ready<'a> {
    /// Its folder in `examples/`.
    name: &'static str,
    /// The folder of the spec in the project.
    folder: &'static str,
    project: &'a Project,
    environment: &'a TestEnvironment,
    /// The platform, where the spec has several: lists are compared of one image.
    platform: Option<&'static str>,
}

impl<'a> Ready<'a> {
    const fn new(name: &'static str, project: &'a Project, environment: &'a TestEnvironment) -> Self {
        Self { name, folder: ".", project, environment, platform: None }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let folder = self.project.path(self.folder).display().to_string();
        self.environment.run(self.project, &[&["--project", &folder], arguments].concat())
    }

    fn build(&self, arguments: &[&str]) -> String {
        let platform: &[&str] = match self.platform {
            Some(platform) => &["--platform", platform],
            None => &[],
        };
        self.run(&[&["build"], platform, arguments].concat()).success().stdout
    }

    fn layout(&self) -> String {
        format!("oci:{}", self.project.path(self.folder).join("bulla-out").display())
    }
}

/// Proves all that this file is about of an example.
fn prove(tools: &SbomTools, ready: &Ready<'_>) {
    let name = ready.name;
    let image = ready.build(&[]);
    let first = statements(ready);
    assert_eq!(ready.build(&["--no-cache"]), image, "{name}");
    let again = statements(ready);
    same_but_for_the_invocation(name, &first, &again);
    // The control: where a step ran again it is of another invocation. Nothing is stated anew where nothing ran.
    if ready.project.read(&format!("{}/bulla.yaml", ready.folder)).contains("steps:") {
        assert_ne!(first, again, "{name}");
    }
    taken_by_others(tools, ready);
    agrees_with_syft(tools, ready);
    made_again(ready);
}

/// Gives what a layout states: for what it is about and each type, the statement.
fn statements(ready: &Ready<'_>) -> BTreeMap<(Digest, String), Value> {
    let layout = ready.project.path(ready.folder).join("bulla-out");
    let blob = |digest: &Digest| fs_err::read(layout.join("blobs/sha256").join(digest.hex())).expect("a blob");
    let index = fs_err::read(layout.join("index.json")).expect("an index");
    let index: Index = serde_json::from_slice(&index).expect("an index");
    let mut found = BTreeMap::new();
    for entry in index.manifests.iter().filter(|entry| entry.artifact_type.is_some()) {
        let manifest: Manifest = serde_json::from_slice(&blob(&entry.digest)).expect("a manifest");
        let kind = manifest.annotations["in-toto.io/predicate-type"].clone();
        let statement = serde_json::from_slice(&blob(&manifest.layers[0].digest)).expect("a statement");
        found.insert((manifest.subject.expect("a subject").digest, kind), statement);
    }
    found
}

fn same_but_for_the_invocation(
    name: &str,
    one: &BTreeMap<(Digest, String), Value>,
    two: &BTreeMap<(Digest, String), Value>,
) {
    let of_invocation = |kind: &str| kind == TRACE;
    let keys = |all: &BTreeMap<(Digest, String), Value>| -> BTreeSet<(Digest, String)> {
        all.keys().filter(|key| !of_invocation(&key.1)).cloned().collect()
    };
    assert_eq!(keys(one), keys(two), "{name}");
    for (key, statement) in one.iter().filter(|(key, _)| !of_invocation(&key.1)) {
        let other = &two[key];
        if key.1 != PROVENANCE {
            assert_eq!(statement, other, "{name}: {}", key.1);
            continue;
        }
        let (statement, other) = (&statement["predicate"], &other["predicate"]);
        assert_eq!(statement["buildDefinition"], other["buildDefinition"], "{name}");
        assert_eq!(statement["runDetails"]["builder"], other["runDetails"]["builder"], "{name}");
    }
}

/// Has the list of every form taken by the programs of others, with no file that nobody owns.
fn taken_by_others(tools: &SbomTools, ready: &Ready<'_>) {
    for format in ["spdx-2.3", "spdx-3.0", "cyclonedx-1.6", "cyclonedx-1.7"] {
        let text = ready.run(&["sbom", "--closed", "--format", format]).success().stdout;
        // Beside the project, of which it would else be a source.
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("list.json");
        fs_err::write(&file, text).expect("writing");
        assert_eq!(tools.wrong(format, &file), "", "{} as {format}", ready.name);
    }
}

/// Compares the list with the one that Syft makes of the same image, and holds both against the image itself.
fn agrees_with_syft(tools: &SbomTools, ready: &Ready<'_>) {
    let name = ready.name;
    let text = ready.run(&["sbom", "--closed"]).success().stdout;
    let own = listed(&serde_json::from_str(&text).expect("JSON"));
    let folder = tempfile::tempdir().expect("a folder");
    let archive = format!("docker-archive:{}", folder.path().join("image.tar").display());
    ready.build(&["--output", &archive]);
    hold(tools, ready, &archive);
    let syft: BTreeSet<String> =
        tools.syft(&archive).expect("Syft runs").iter().filter_map(|purl| bare(purl)).collect();
    let mut unexplained = Vec::new();
    for (by, only) in [(By::Bulla, own.difference(&syft)), (By::Syft, syft.difference(&own))] {
        for purl in only {
            let known = EXPLAINED.iter().any(|one| {
                one.by == by && !one.why.is_empty() && ["*", name].contains(&one.example) && purl.starts_with(one.purl)
            });
            if !known {
                unexplained.push(format!("{by:?} alone: {purl}"));
            }
        }
    }
    assert!(unexplained.is_empty(), "{name}:\n{}", unexplained.join("\n"));
}

/// Gives type, name and version of what the list has of packages, less what a step could only read.
fn listed(spdx: &Value) -> BTreeSet<String> {
    let packages = spdx["packages"].as_array().expect("a list").iter().skip(1);
    let found =
        packages.filter(|one| one["sourceInfo"].as_str().is_some_and(|told| !told.starts_with("known by: input")));
    found.filter_map(|one| bare(one["externalRefs"][0]["referenceLocator"].as_str()?)).collect()
}

/// Gives a package URL without what tells packages of one version apart.
fn bare(purl: &str) -> Option<String> {
    let bare = purl.split(['?', '#']).next()?;
    // Syft leaves a plus sign and a colon as they are, or does not.
    let bare = bare.replace("%2B", "+").replace("%3A", ":");
    // Of a module of Go it has what comes after three parts of the path (`/v2`) as a path within the module, which it is not.
    match (bare.strip_prefix("pkg:golang/").and_then(|rest| rest.split_once('@')), purl.split_once('#')) {
        (Some((module, version)), Some((_, within))) => Some(format!("pkg:golang/{module}/{within}@{version}")),
        _ => Some(bare),
    }
}

/// Holds the lists of the build against its image, and those that Syft makes of it.
fn hold(tools: &SbomTools, ready: &Ready<'_>, archive: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (secret, private, public) = (path("passphrase"), path("one.key"), path("one.pub"));
    fs_err::write(&secret, "correct horse\n").expect("writing");
    ready.build(&[]);
    let layout = ready.layout();
    ready.run(&["key", "generate", "--output", &private, "--passphrase-file", &secret]).success();
    for (kind, format) in [("cyclonedx", "cyclonedx-json"), ("spdxjson", "spdx-json")] {
        let list = path(format);
        fs_err::write(&list, tools.syft_list(archive, format).expect("Syft runs")).expect("writing");
        let attest = ["attest", &layout, "--type", kind, "--predicate", &list, "--key", &private];
        ready.run(&[&attest[..], &["--passphrase-file", &secret]].concat()).success();
    }
    let ran = ready.run(&["verify", &layout, "--key", &public, "--format", "json"]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let claims = report["claims"].as_array().expect("claims").iter();
    let lists: Vec<&Value> = claims.filter(|claim| claim["about"]["kind"] == "consistent").collect();
    assert_eq!(lists.len(), 8, "two of the build and two of Syft, of index and manifest: {report}");
    for claim in lists {
        // Those of the build nobody signed here.
        let wanted = if claim["key"].is_null() { "asserted" } else { "proven" };
        assert_eq!(claim["verdict"], wanted, "{}: {claim}", ready.name);
    }
}

/// Makes the image again in other surroundings, and holds what comes out against the README.
fn made_again(ready: &Ready<'_>) {
    ready.build(&[]);
    let folder = ready.project.path(ready.folder).display().to_string();
    let ran = ready.run(&["reproduce", &ready.layout(), "--source", &folder, "--perturb", "--format", "json"]);
    let told: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{}: {error}: {}", ready.name, ran.stderr));
    let causes = |causes: &Value| -> Vec<String> {
        causes.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let verdict = match (told["same"].as_bool(), causes(&told["causes"])) {
        (Some(true), _) => "the same".to_owned(),
        (_, causes) if causes.is_empty() => "differs anyway".to_owned(),
        (_, causes) => format!("depends on {}", causes.join(", ")),
    };
    assert_eq!(verdict, in_readme(ready.name), "{}: {told}", ready.name);
}

/// Gives what the README's table of examples says last of one.
fn in_readme(name: &str) -> String {
    let readme = fs_err::read_to_string(example("../README.md")).expect("the README");
    let row = readme.lines().find(|line| line.starts_with(&format!("| [{name}](examples/")));
    let row = row.unwrap_or_else(|| panic!("the README has no row of {name}"));
    row.trim_end_matches('|').rsplit('|').next().unwrap_or_default().trim().to_owned()
}

fn tools() -> Option<SbomTools> {
    let test = "what holds of each example";
    if let Err(why) = clients() {
        skipped(test, &why);
        return None;
    }
    SbomTools::get(test)
}

/// Proves it of an example that brings its own environment.
fn prove_own(name: &'static str, made: impl FnOnce() -> Option<(Project, TestEnvironment)>) {
    let Some(tools) = tools() else { return };
    let Some((project, environment)) = made() else { return };
    prove(&tools, &Ready::new(name, &project, &environment));
}

#[test]
fn of_hello_redis_and_nginx() {
    let (Some(tools), Some(world)) = (tools(), World::get()) else { return };
    for (name, files) in
        [("hello", &["hello.c"][..]), ("redis", &[]), ("nginx-light", &["site/nginx.conf", "site/html/index.html"])]
    {
        prove(&tools, &Ready::new(name, &project(name, files), &world.environment));
    }
}

#[test]
fn of_a_signed_tag() {
    let (Some(tools), Some(world)) = (tools(), World::get()) else { return };
    let Some(project) = crate::signed_tag::ready(world) else { return };
    prove(&tools, &Ready::new("signed-tag", &project, &world.environment));
}

#[test]
fn of_a_private_base() {
    prove_own("private-base", crate::private_base::fetched);
}

#[test]
fn of_a_workspace() {
    let Some(tools) = tools() else { return };
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let project = Project::new().tree(&example("workspace"));
    for folder in ["services/docs", "services/site"] {
        prove(&tools, &Ready { folder, ..Ready::new("workspace", &project, &environment) });
    }
}

#[test]
fn of_two_platforms() {
    let Some(tools) = tools() else { return };
    let Some((project, environment)) = crate::two_platforms::fetched() else { return };
    for platform in [Some("linux/amd64"), Some("linux/arm64")] {
        prove(&tools, &Ready { platform, ..Ready::new("two-platforms", &project, &environment) });
    }
    let both = Ready::new("two-platforms", &project, &environment);
    both.build(&[]);
    made_again(&both);
}

#[test]
fn of_apt_in_a_step() {
    prove_own("apt-in-step", crate::apt_in_step::observed);
}

#[test]
fn of_a_service_in_go() {
    prove_own("go-service", crate::go_service::fetched);
}

#[test]
fn of_a_tool_in_rust() {
    prove_own("cargo-tool", crate::cargo_tool::fetched);
}

#[test]
fn of_a_service_in_java() {
    prove_own("maven-service", crate::maven_service::observed);
}

#[test]
fn of_services_in_typescript() {
    prove_own("node-service", crate::node_service::fetched);
    for name in ["node-service-pnpm", "node-service-yarn"] {
        prove_own(name, || crate::node_service::fetched_by(name));
    }
}

#[test]
fn of_front_ends() {
    for name in ["vite-site", "vite-site-pnpm"] {
        prove_own(name, || crate::vite_site::fetched(name));
    }
}

#[test]
fn of_services_in_python() {
    for (name, locks) in [
        ("python-service", &["requirements.txt", "build-requirements.txt"][..]),
        ("python-service-uv", &["requirements.txt", "build-requirements.txt", "tools.txt"]),
        ("python-service-poetry", &["poetry.lock"]),
    ] {
        prove_own(name, || crate::python_service::fetched(name, locks));
    }
}

/// Every folder of `examples/` has a row in the README, and every row a folder.
#[test]
fn the_readme_has_a_row_of_every_example() {
    let folders = fs_err::read_dir(example("")).expect("the examples").flatten();
    let folders: BTreeSet<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let readme = fs_err::read_to_string(example("../README.md")).expect("the README");
    let row = |line: &str| Some(line.strip_prefix("| [")?.split_once("](examples/")?.0.to_owned());
    assert_eq!(readme.lines().filter_map(row).collect::<BTreeSet<_>>(), folders);
}
