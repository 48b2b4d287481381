//! The lists of the examples' images: every file has an owner, other programs take them, and where Syft lists something else it is explained.

use std::collections::BTreeSet;

use bulla_testkit::{Project, SbomTools, TestEnvironment, clients, skipped};
use serde_json::Value;

use crate::world::{World, build, project};

/// Why one of the two lists a package that the other does not: what is compared is type, name and version.
struct Explained {
    /// The example; `*` for all.
    example: &'static str,
    /// What the package's URL begins with.
    purl: &'static str,
    /// Who lists it.
    by: By,
    /// Why the other does not.
    why: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Bulla,
    Syft,
}

const EXPLAINED: &[Explained] = &[
    Explained {
        example: "hello",
        purl: "pkg:deb/debian/",
        by: By::Bulla,
        why: "packages of the image by the lock, of which it has no database",
    },
    Explained {
        example: "redis",
        purl: "pkg:generic/redis",
        by: By::Syft,
        why: "a guess by texts inside the program; here the step that compiled it owns it, and names its source",
    },
    Explained {
        example: "go-service",
        purl: "pkg:golang/example.com/go-service@(devel)",
        by: By::Syft,
        why: "the main module: Syft takes the compiler's word for an unknown version as one",
    },
    Explained {
        example: "go-service",
        purl: "pkg:golang/example.com/go-service",
        by: By::Bulla,
        why: "the main module, which has no version",
    },
    Explained {
        example: "node-service",
        purl: "pkg:generic/node",
        by: By::Syft,
        why: "a guess by texts inside the program, beside the Debian package that holds it",
    },
    Explained {
        example: "node-service",
        purl: "pkg:npm/node-service@",
        by: By::Syft,
        why: "the `package.json` of the service itself, which here the source that it was copied from owns",
    },
    Explained {
        example: "node-service",
        purl: "pkg:npm/benchmark@1.0.0",
        by: By::Syft,
        why: "a `package.json` that a package has among its benchmarks: nothing of that name is installed",
    },
    Explained {
        example: "node-service",
        purl: "pkg:npm/benchmarks@1.0.0",
        by: By::Syft,
        why: "a `package.json` that a package has among its benchmarks: nothing of that name is installed",
    },
    Explained {
        example: "node-service",
        purl: "pkg:npm/transport@0.0.1",
        by: By::Syft,
        why: "a `package.json` that a package has among its fixtures: nothing of that name is installed",
    },
    of_debian("pkg:npm/acorn"),
    of_debian("pkg:npm/undici"),
    of_debian("pkg:npm/%40types/busboy@1.5.0"),
    of_debian("pkg:npm/%40types/node@18.18.14"),
    of_debian("pkg:npm/binary-search@"),
    of_debian("pkg:npm/busboy@"),
    of_debian("pkg:npm/cjs-module-lexer@"),
    of_debian("pkg:npm/streamsearch@"),
    of_debian("pkg:npm/xtend@"),
];

/// A library of Node that Debian's own `nodejs` stands on.
const fn of_debian(purl: &'static str) -> Explained {
    let why =
        "in `usr/share/nodejs`, where no project has its packages: here the Debian package that owns it is listed";
    Explained { example: "node-service", purl, by: By::Syft, why }
}

fn spdx(environment: &TestEnvironment, project: &Project) -> Value {
    let text = environment.run(project, &["sbom", "--closed"]).success().stdout;
    serde_json::from_str(&text).expect("JSON")
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

fn check(tools: &SbomTools, name: &str, environment: &TestEnvironment, project: &Project) {
    build(environment, project);
    let spdx = spdx(environment, project);
    for format in ["spdx-2.3", "spdx-3.0", "cyclonedx-1.6", "cyclonedx-1.7"] {
        let text = environment.run(project, &["sbom", "--format", format]).success().stdout;
        // Beside the project, of which it would else be a source.
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("list.json");
        fs_err::write(&file, text).expect("writing");
        assert_eq!(tools.wrong(format, &file), "", "{name} as {format}");
    }
    let own = listed(&spdx);
    // Syft reads no index within an index, which a layout of Bulla's has.
    let folder = tempfile::tempdir().expect("a folder");
    let archive = format!("docker-archive:{}", folder.path().join("image.tar").display());
    environment.run(project, &["build", "--output", &archive]).success();
    hold(tools, name, (environment, project), &archive);
    let syft: BTreeSet<String> =
        tools.syft(&archive).expect("Syft runs").iter().filter_map(|purl| bare(purl)).collect();
    assert!(!syft.is_empty() || name == "hello", "Syft finds something in {name}");
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

/// Holds the lists of the build against its image, and those that Syft makes of it.
fn hold(tools: &SbomTools, name: &str, (environment, project): (&TestEnvironment, &Project), archive: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (secret, private, public) = (path("passphrase"), path("one.key"), path("one.pub"));
    fs_err::write(&secret, "correct horse\n").expect("writing");
    build(environment, project);
    environment.run(project, &["key", "generate", "--output", &private, "--passphrase-file", &secret]).success();
    for (kind, format) in [("cyclonedx", "cyclonedx-json"), ("spdxjson", "spdx-json")] {
        let list = path(format);
        fs_err::write(&list, tools.syft_list(archive, format).expect("Syft runs")).expect("writing");
        let attest = ["attest", "oci:bulla-out", "--type", kind, "--predicate", &list, "--key", &private];
        environment.run(project, &[&attest[..], &["--passphrase-file", &secret]].concat()).success();
    }
    let ran = environment.run(project, &["verify", "oci:bulla-out", "--key", &public, "--format", "json"]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let claims = report["claims"].as_array().expect("claims").iter();
    let lists: Vec<&Value> = claims.filter(|claim| claim["about"]["kind"] == "consistent").collect();
    assert_eq!(lists.len(), 8, "two of the build and two of Syft, of index and manifest: {report}");
    for claim in lists {
        // Those of the build nobody signed here.
        let wanted = if claim["key"].is_null() { "asserted" } else { "proven" };
        assert_eq!(claim["verdict"], wanted, "{name}: {claim}");
    }
}

fn tools() -> Option<SbomTools> {
    let test = "lists of the examples' images";
    if let Err(why) = clients() {
        skipped(test, &why);
        return None;
    }
    SbomTools::get(test)
}

#[test]
fn lists_of_packages_and_what_was_compiled_agree_with_syft() {
    let (Some(tools), Some(world)) = (tools(), World::get()) else { return };
    check(&tools, "hello", &world.environment, &project("hello", &["hello.c"]));
    check(&tools, "redis", &world.environment, &project("redis", &[]));
    let nginx = project("nginx-light", &["site/nginx.conf", "site/html/index.html"]);
    check(&tools, "nginx-light", &world.environment, &nginx);
}

#[test]
fn lists_of_a_service_in_go_agree_with_syft() {
    let Some(tools) = tools() else { return };
    let Some((project, environment)) = crate::go_service::fetched() else { return };
    check(&tools, "go-service", &environment, &project);
}

#[test]
fn lists_of_a_service_in_typescript_agree_with_syft() {
    let Some(tools) = tools() else { return };
    let Some((project, environment)) = crate::node_service::fetched() else { return };
    check(&tools, "node-service", &environment, &project);
}
