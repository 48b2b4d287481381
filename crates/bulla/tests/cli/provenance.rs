//! What a build hands over beside its image: statements that refer to it.

use std::path::Path;

use bulla_model::{
    Digest,
    oci::{Index, Manifest},
};
use bulla_testkit::{Project, SbomTools, TestEnvironment, docker::Registry, process};
use serde_json::Value;

use crate::{build, git as git_world, offline, platforms, world::World};

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const CONFIGURATION: &str = "urn:bulla:configuration:1";
const SPDX: &str = "https://spdx.dev/Document";
const CYCLONEDX: &str = "https://cyclonedx.org/bom";
const TRACE: &str = "https://in-toto.io/attestation/runtime-trace/v0.2";

fn json<T: serde::de::DeserializeOwned>(layout: &Path, digest: &Digest) -> T {
    let bytes = fs_err::read(layout.join("blobs/sha256").join(digest.hex())).expect("a blob");
    assert_eq!(Digest::of(&bytes), *digest);
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Gives what is stated of each manifest of a layout: what it refers to, the type, the statement.
pub(crate) fn statements(layout: &Path) -> Vec<(Digest, String, Value)> {
    let top: Index =
        serde_json::from_slice(&fs_err::read(layout.join("index.json")).expect("an index")).expect("an index");
    let referring = top.manifests.iter().filter(|entry| entry.artifact_type.is_some());
    referring
        .map(|entry| {
            let manifest: Manifest = json(layout, &entry.digest);
            let subject = manifest.subject.expect("a subject").digest;
            let kind = manifest.annotations["in-toto.io/predicate-type"].clone();
            let statement: Value = json(layout, &manifest.layers[0].digest);
            assert_eq!(
                (&statement["_type"], &statement["predicateType"]),
                (&"https://in-toto.io/Statement/v1".into(), &kind.as_str().into())
            );
            (subject, kind, statement)
        })
        .collect()
}

/// Gives the provenance that refers to the image's index.
fn provenance(project: &Project, image: &str) -> Value {
    let image: Digest = image.trim_end().parse().expect("a digest");
    let all = statements(&project.path("bulla-out"));
    let found = all.into_iter().find(|(subject, kind, _)| *subject == image && kind == PROVENANCE);
    found.expect("provenance").2["predicate"].clone()
}

fn used<'a>(provenance: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = provenance["buildDefinition"]["resolvedDependencies"].as_array().expect("a list");
    all.iter().filter(|one| one["annotations"]["kind"] == kind).collect()
}

fn git(project: &Project, arguments: &[&str]) -> String {
    let mut git = std::process::Command::new("git");
    git.args(["-c", "user.name=T", "-c", "user.email=t@mirror.example", "-c", "commit.gpgsign=false"]).args(arguments);
    git.current_dir(project.root()).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    process::output(&mut git).expect("git")
}

#[test]
fn provenance_says_what_was_asked_for_and_what_it_was_made_of() {
    let Some(world) = World::new("provenance") else { return };
    let steps =
        ["mkdir out; cp hello out/hello", "busybox nc -w 1 192.0.2.7 443 </dev/null || true; echo more >out/more"];
    let project = crate::world::project(&steps);
    git(&project, &["init", "--quiet"]);
    git(&project, &["add", "."]);
    git(&project, &["commit", "--quiet", "--message=all"]);
    git(&project, &["remote", "add", "origin", "https://me:secret@git.example/team/shop.git"]);
    let commit = git(&project, &["rev-parse", "HEAD"]);
    world.environment.write_config(&format!(
        "{}\n[evidence]\nbuilder = \"https://ci.example/release\"\n",
        fs_err::read_to_string(world.environment.config()).expect("a configuration")
    ));
    let ran = world.build(&project, &["--evidence", "full"]).success();
    let image = ran.stdout.trim_end();
    let layout = project.path("bulla-out");
    let all = statements(&layout);
    // Of the index and of the manifest of its platform, both kinds.
    let index: Index = json(&layout, &image.parse().expect("a digest"));
    let manifest = index.manifests[0].digest;
    for subject in [image.parse().expect("a digest"), manifest] {
        for kind in [PROVENANCE, TRACE, CONFIGURATION, SPDX, CYCLONEDX] {
            let (_, _, statement) = all
                .iter()
                .find(|one| one.0 == subject && one.1 == kind)
                .unwrap_or_else(|| panic!("{kind} of {subject}"));
            let about: Vec<&str> = statement["subject"]
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(|s| s["digest"]["sha256"].as_str())
                .collect();
            assert!(about.contains(&subject.hex().as_str()));
        }
    }
    assert_eq!(all.len(), 10);
    let provenance = provenance(&project, image);
    let external = &provenance["buildDefinition"]["externalParameters"];
    assert_eq!(external["spec"]["digest"]["sha256"], Digest::of(project.read("bulla.yaml")).hex());
    assert_eq!(external["lock"]["digest"]["sha256"], Digest::of(project.read("bulla.lock")).hex());
    assert_eq!(provenance["runDetails"]["builder"]["id"], "https://ci.example/release");
    // The program names itself by its digest.
    let own = Digest::of(fs_err::read(env!("CARGO_BIN_EXE_bulla")).expect("the program")).hex();
    assert_eq!(provenance["runDetails"]["builder"]["builderDependencies"][0]["digest"]["sha256"], own);
    let checkout = used(&provenance, "checkout");
    assert_eq!(checkout[0]["uri"], "git+https://git.example/team/shop.git", "without the login");
    assert_eq!(
        (&checkout[0]["digest"]["gitCommit"], &checkout[0]["annotations"]["dirty"]),
        (&commit.trim().into(), &false.into())
    );
    assert!(!provenance.to_string().contains("secret"));
    let configuration = all.iter().find(|one| one.1 == CONFIGURATION).expect("the configuration");
    assert_eq!(configuration.2["predicate"]["spec"], project.read("bulla.yaml"));
    assert_eq!(configuration.2["predicate"]["lock"], project.read("bulla.lock"));
    // Each package and the index that names it, as the lock has them.
    let lock = project.read("bulla.lock");
    let packages = used(&provenance, "package");
    assert!(packages.iter().any(|one| one["uri"].as_str().is_some_and(|uri| uri.starts_with("pkg:deb/debian/tools@"))));
    for one in packages.iter().chain(&used(&provenance, "index")) {
        assert!(lock.contains(one["digest"]["sha256"].as_str().expect("a digest")), "{one}");
    }
    assert!(!used(&provenance, "index")[0]["annotations"]["signed-by"].as_array().expect("a list").is_empty());
    // What was enforced, and what was refused.
    let run = &provenance["runDetails"]["byproducts"][0]["annotations"];
    assert_eq!((&run["tainted"], &run["compared"]), (&false.into(), &false.into()));
    let steps = run["steps"].as_array().expect("a list");
    let second = steps.iter().find(|step| step["step"] == "build/2").expect("the second step");
    assert!(second["isolation"]["namespaces"].as_array().expect("a list").contains(&"network".into()), "{second}");
    assert!(second["isolation"]["filter"].as_str().is_some_and(|filter| filter.contains("sha256:")), "{second}");
    assert_eq!(second["refusals"], 1, "{}", ran.stderr);
    let trace = &all.iter().find(|one| one.1 == TRACE).expect("a trace").2["predicate"];
    let network = trace["monitorLog"]["network"].as_array().expect("a list");
    assert!(
        network.iter().any(|one| one["ip"] == "192.0.2.7" && one["port"] == 443 && one["refused"] == true),
        "{network:?}"
    );
    assert_eq!(trace["monitoredProcess"]["event"], provenance["runDetails"]["metadata"]["invocationId"]);
}

#[test]
fn what_follows_from_the_project_is_the_same_for_everyone_and_the_rest_is_apart() {
    let Some(world) = World::new("provenance twice") else { return };
    // What the first step leaves beside its outputs is another thing each time, and an input of the second.
    let leaves = format!("{}; cat /proc/sys/kernel/random/uuid >/src/app/left", crate::world::GOOD[0]);
    let steps: Vec<&str> = [leaves.as_str()].into_iter().chain(crate::world::GOOD.into_iter().skip(1)).collect();
    let project = crate::world::project(&steps);
    let image = world.digest(&project);
    let first = fs_err::read(project.path("bulla-out/index.json")).expect("an index");
    let one = provenance(&project, &image);
    // Nothing ran: the evidence of the invocation that made the image is that of this one.
    world.digest(&project);
    assert_eq!(fs_err::read(project.path("bulla-out/index.json")).expect("an index"), first);
    // Everything ran again: another invocation, of the same definition.
    let ran = world.build(&project, &["--no-cache"]).success();
    assert_eq!(ran.stdout.trim_end(), image);
    let two = provenance(&project, &image);
    assert_eq!(one["buildDefinition"], two["buildDefinition"]);
    let second = |provenance: &Value| {
        let steps =
            provenance["runDetails"]["byproducts"][0]["annotations"]["steps"].as_array().expect("a list").clone();
        steps.into_iter().find(|step| step["step"] == "build/2").expect("the second step")["action"].clone()
    };
    assert_ne!(second(&one), second(&two), "the control: its inputs are others");
    assert_ne!(one["runDetails"]["metadata"]["invocationId"], two["runDetails"]["metadata"]["invocationId"]);
    // In another folder and store, as somebody else would.
    let other = World::new("provenance twice").expect("as before");
    fs_err::remove_dir_all(other.environment.store()).ok();
    let elsewhere = crate::world::project(&steps);
    elsewhere.write("bulla.lock", project.read("bulla.lock"));
    let environment = &world.environment;
    let store = elsewhere.path("../store-of-another").display().to_string();
    let ran = environment.run(&elsewhere, &["--store", &store, "build", "--locked"]).success();
    assert_eq!(ran.stdout.trim_end(), image);
    assert_eq!(provenance(&elsewhere, &image)["buildDefinition"], one["buildDefinition"]);
    fs_err::remove_dir_all(store).ok();
}

#[test]
fn what_people_chose_and_allowed_is_in_the_provenance() {
    let environment = offline();
    let spec = build::project()
        .read("bulla.yaml")
        .replace("  user: 65532\n", "  user: root\n  allow: {root-user: it binds port 80}\n");
    let project = build::project();
    project.write("bulla.yaml", &spec);
    let image = environment.run(&project, &["build", "--set", "VERSION=1.10"]).success().stdout;
    let provenance = provenance(&project, &image);
    let definition = &provenance["buildDefinition"];
    assert_eq!(definition["externalParameters"]["params"], serde_json::json!({"VERSION": "1.10"}));
    let relaxations = &definition["internalParameters"]["relaxations"];
    assert_eq!(relaxations, &serde_json::json!([{"key": "image.allow.root-user", "reason": "it binds port 80"}]));
    let tree = used(&provenance, "source");
    assert_eq!((tree.len(), &tree[0]["name"]), (1, &"pages".into()));
    // The control: the defaults are nobody's choice.
    let image = environment.run(&project, &["build"]).success().stdout;
    assert_eq!(self::provenance(&project, &image)["buildDefinition"]["externalParameters"].get("params"), None);
}

#[test]
fn the_image_is_the_same_with_all_evidence_and_with_none() {
    let environment = offline();
    let project = build::project();
    let digest = |arguments: &[&str]| environment.run(&project, &[&["build"], arguments].concat()).success().stdout;
    let image = digest(&["--evidence", "none"]);
    assert!(statements(&project.path("bulla-out")).is_empty());
    assert_eq!(digest(&["--evidence", "full"]), image);
    let kinds = |project: &Project| {
        statements(&project.path("bulla-out")).into_iter().map(|one| one.1).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(kinds(&project).len(), 5);
    assert_eq!(digest(&[]), image);
    assert_eq!(kinds(&project), [PROVENANCE, CONFIGURATION, SPDX, CYCLONEDX].map(str::to_owned).into());
    // What the layout does not lead to any more is gone from it.
    let text = fs_err::read_dir(project.path("bulla-out/blobs/sha256")).expect("blobs").flatten();
    let traces =
        text.filter(|blob| fs_err::read(blob.path()).is_ok_and(|bytes| memchr(&bytes, TRACE.as_bytes()))).count();
    assert_eq!(traces, 0);
}

fn memchr(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[test]
fn evidence_is_pushed_with_the_image_and_read_back_from_the_registry() {
    let Some(registry) = Registry::start() else { return };
    let environment = offline();
    allow(&environment, &registry.address());
    let project = build::project();
    let reference = format!("{}/team/site:1", registry.address());
    environment.run(&project, &["build", "--push", &reference, "--evidence", "full"]).success();
    environment.run(&project, &["pull", &reference, "pulled"]).success();
    let kinds: Vec<String> = statements(&project.path("pulled")).into_iter().map(|one| one.1).collect();
    assert_eq!(
        kinds.iter().filter(|kind| *kind == PROVENANCE).count(),
        2,
        "of the index and of the manifest: {kinds:?}"
    );
    assert_eq!(kinds.len(), 10);
    // Again gives no second one.
    environment.run(&project, &["build", "--push", &reference, "--evidence", "full"]).success();
    environment.run(&project, &["pull", &reference, "again"]).success();
    assert_eq!(statements(&project.path("again")).len(), 10);
}

fn allow(environment: &TestEnvironment, address: &str) {
    environment.write_config(&format!("[registry.oci]\ninsecure = [\"{address}\"]\n"));
}

#[test]
fn oci_image_tools_take_a_layout_with_evidence() {
    if !process::exists("skopeo") {
        return bulla_testkit::skipped("skopeo and evidence", "there is no skopeo");
    }
    let environment = offline();
    let project = build::project();
    let image = environment.run(&project, &["build", "--evidence", "full"]).success().stdout;
    let mut skopeo = std::process::Command::new("skopeo");
    let from = format!("oci:{}:site", project.path("bulla-out").display());
    skopeo.args(["inspect", "--raw", &from]);
    let raw = process::output(&mut skopeo).expect("skopeo");
    assert_eq!(Digest::of(raw).to_string(), image.trim_end());
}

#[test]
fn what_is_built_is_signed_by_the_key_that_is_named_and_by_no_other_way() {
    let environment = offline().set("BULLA_KEY_PASSWORD", "correct horse");
    let project = build::project();
    environment.run(&project, &["key", "generate", "--output", "one.key"]).success();
    let verify = |required: &str, code: i32| {
        let verify = ["verify", "oci:bulla-out", "--key", "one.pub", "--require", required];
        environment.run(&project, &verify).failure(code)
    };
    // The key lies in the project, and nobody asked for it.
    let image = environment.run(&project, &["build"]).success().stdout;
    verify("signature", 7);
    assert_eq!(environment.run(&project, &["build", "--sign", "one.key"]).success().stdout, image);
    let index = fs_err::read(project.path("bulla-out/index.json")).expect("an index");
    verify("signature", 0);
    verify("provenance", 0);
    verify("urn:bulla:configuration:1", 0);
    // The same again is the same bytes.
    environment.run(&project, &["build", "--sign", "one.key"]).success();
    assert_eq!(fs_err::read(project.path("bulla-out/index.json")).expect("an index"), index);
    // Without the key, what is written is what this build makes.
    environment.run(&project, &["build"]).success();
    verify("signature", 7);
    // What would hold no signature is no place to sign for.
    let docker = ["build", "--sign", "one.key", "--output", "docker-archive:site.tar"];
    let ran = environment.run(&project, &docker).failure(3);
    assert!(
        ran.stderr.contains("an archive for Docker hold no signature") && !project.path("site.tar").exists(),
        "{}",
        ran.stderr
    );
    environment.run(&project, &[&docker[..], &["--output", "oci:both"]].concat()).success();
    let wrong = offline().set("BULLA_KEY_PASSWORD", "wrong");
    wrong.run(&project, &["build", "--sign", "one.key"]).failure(5);
}

#[test]
fn ci_signs_by_the_key_of_the_configuration_and_nobody_else_does() {
    let environment = offline().set("BULLA_KEY_PASSWORD", "correct horse");
    let project = build::project();
    environment.run(&project, &["key", "generate", "--output", "ci.key"]).success();
    environment.run(&project, &["lock"]).success();
    let key = project.path("ci.key").display().to_string();
    environment.write_config(&format!("[evidence]\nci-key = \"{key}\"\n"));
    let verify = |environment: &TestEnvironment, code| {
        environment.run(&project, &["verify", "oci:bulla-out", "--key", "ci.pub"]).failure(code);
    };
    environment.run(&project, &["build"]).success();
    verify(&environment, 7);
    let environment = environment.set("CI", "true");
    environment.run(&project, &["build"]).success();
    verify(&environment, 0);
}

#[test]
fn a_push_with_a_key_leaves_both_forms_of_all_that_was_signed() {
    let Some(registry) = Registry::start() else { return };
    let environment = offline().set("BULLA_KEY_PASSWORD", "correct horse");
    allow(&environment, &registry.address());
    let project = build::project();
    environment.run(&project, &["key", "generate", "--output", "one.key"]).success();
    let reference = format!("{}/team/site:1", registry.address());
    for _ in 0..2 {
        environment.run(&project, &["build", "--push", &reference, "--sign", "one.key"]).success();
    }
    let wanted = ["verify", &reference, "--key", "one.pub", "--require", "signature,provenance", "--format", "json"];
    let report: Value = serde_json::from_str(&environment.run(&project, &wanted).success().stdout).expect("JSON");
    let claims = report["claims"].as_array().expect("claims");
    let proven = |form: &str| {
        let is = |claim: &&Value| claim["verdict"] == "proven" && claim.to_string().contains(form);
        claims.iter().filter(is).count()
    };
    assert!(proven("bundle") > 0 && proven("legacy") > 0, "{report}");
}

#[test]
fn a_secret_that_would_be_in_the_evidence_fails_the_build() {
    let Some(world) = World::new("a secret in the evidence") else { return };
    let spec = crate::world::spec("", &["REPLACED"], "/src/app/out");
    let step = "      - run: \"mkdir out; cp hello out/hello\"\n        secrets: [token]\n";
    let project = Project::with_spec(&spec.replace("      - \"REPLACED\"\n", step)).file("app/hello", "hello\n");
    git(&project, &["init", "--quiet"]);
    git(&project, &["add", "."]);
    git(&project, &["commit", "--quiet", "--message=all"]);
    // Behind the host, where a login is not looked for.
    git(&project, &["remote", "add", "origin", "https://git.example/t0kenOfSomebody/shop.git"]);
    world.environment.own(&project);
    let build = |value: &str| {
        let mut command = world.environment.command(project.root());
        command.env("MY_TOKEN", value).args(["build", "--secret", "id=token,env=MY_TOKEN"]);
        command.output().expect("bulla can be run")
    };
    let ran = build("t0kenOfSomebody");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(6), "{said}");
    assert!(said.contains("the evidence of type https://slsa.dev/provenance/v1 would have"), "{said}");
    world.assert_no_image(&project);
    // The control: another value is in nothing.
    assert_eq!(build("0therToken").status.code(), Some(0));
}

#[test]
fn the_library_of_in_toto_takes_statement_and_provenance() {
    let test = "provenance and in-toto's library";
    let (Some(tools), Some(world)) = (SbomTools::get(test), World::new(test)) else { return };
    let project = crate::world::project(&crate::world::GOOD);
    git(&project, &["init", "--quiet"]);
    git(&project, &["add", "."]);
    git(&project, &["commit", "--quiet", "--message=all"]);
    git(&project, &["remote", "add", "origin", "https://git.example/team/shop.git"]);
    world.digest(&project);
    let all = statements(&project.path("bulla-out"));
    let statement = &all.iter().find(|one| one.1 == PROVENANCE).expect("provenance").2;
    let check = |value: &Value| tools.wrong("provenance", &project.write("statement.json", value.to_string()));
    assert_eq!(check(statement), "");
    // It does say what is wrong.
    for (place, wrong) in [
        ("/subject", serde_json::json!([])),
        ("/predicate/runDetails/builder/id", "".into()),
        ("/predicate/buildDefinition/resolvedDependencies/0", serde_json::json!({"mediaType": "x"})),
        ("/predicate/runDetails/metadata/startedOn", "yesterday".into()),
        ("/predicate/buildDefinition/internalParameters", 1.into()),
    ] {
        let mut changed = statement.clone();
        *changed.pointer_mut(place).expect("a place") = wrong;
        assert_ne!(check(&changed), "", "{place}");
    }
}

/// Gives the addresses of all that was used of a kind.
fn addresses(provenance: &Value, kind: &str) -> Vec<String> {
    used(provenance, kind).iter().map(|one| one["uri"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn only_what_a_platform_was_made_of_is_in_its_provenance() {
    let Some(world) = platforms::world("provenance of one platform") else { return };
    let project = platforms::project();
    let both = world.build(&project, &[]).success().stdout;
    let all = addresses(&provenance(&project, &both), "package");
    let arm = world.build(&project, &["--platform", "linux/arm64"]).success().stdout;
    let made = provenance(&project, &arm);
    assert_eq!(made["buildDefinition"]["externalParameters"]["platforms"], serde_json::json!(["linux/arm64"]));
    let some = addresses(&made, "package");
    let here = "pkg:deb/debian/libshop@2?arch=amd64".to_owned();
    assert!(all.contains(&here) && !some.contains(&here), "it is in the other image alone: {some:?}");
    assert!(some.contains(&"pkg:deb/debian/libshop@2?arch=arm64".to_owned()), "{some:?}");
    assert!(
        some.iter().any(|one| one.starts_with("pkg:deb/debian/cc-aarch64-linux-gnu@1")),
        "of the stages too: {some:?}"
    );
}

#[test]
fn a_commit_is_in_the_provenance_with_what_vouched_for_it() {
    let Some(world) = git_world::World::new("provenance of a commit") else { return };
    let repo = world.repo("shop");
    repo.write("index.html", "<p>hello</p>");
    let commit = repo.commit("all");
    let project = world.project(&format!("commit: {commit}"));
    let image = world.build(&project, &[]).success().stdout;
    let made = provenance(&project, &image);
    let source = used(&made, "source");
    assert_eq!(source.len(), 1);
    assert_eq!(source[0]["uri"], format!("git+{}/shop@{commit}", world.server.url()));
    assert_eq!(
        (&source[0]["digest"]["gitCommit"], &source[0]["annotations"]["trusted-by"]),
        (&commit.as_str().into(), &"digest".into())
    );
}

#[test]
fn a_value_that_looks_private_is_told_to_nobody_and_the_image_is_not_made_again() {
    let environment = offline();
    let project = build::project();
    let spec = project
        .read("bulla.yaml")
        .replace("  VERSION: {default: dev}", "  VERSION: {default: dev}\n  API_TOKEN: {default: none}");
    project.write("bulla.yaml", spec);
    let set = ["build", "--set", "VERSION=2", "--set", "API_TOKEN=hunter2-hunter2", "--evidence", "full"];
    let image = environment.run(&project, &set).success().stdout;
    let external = &provenance(&project, &image)["buildDefinition"]["externalParameters"];
    assert_eq!(
        (&external["params"], &external["withheld"]),
        (&serde_json::json!({"VERSION": "2"}), &serde_json::json!(["API_TOKEN"]))
    );
    for (_, kind, statement) in statements(&project.path("bulla-out")) {
        assert!(!statement.to_string().contains("hunter2"), "{kind}");
    }
    let ran = environment.run(&project, &["reproduce", "oci:bulla-out", "--source", "."]).failure(7);
    assert!(ran.stderr.contains("values for API_TOKEN that the provenance does not tell"), "{}", ran.stderr);
}

#[test]
fn an_unchanged_build_writes_no_blob_and_signs_nothing_anew() {
    let environment = offline().set("BULLA_KEY_PASSWORD", "correct horse");
    let project = build::project();
    environment.run(&project, &["key", "generate", "--output", "one.key"]).success();
    let blobs = || {
        let folder = fs_err::read_dir(environment.store().join("blobs")).expect("the blobs").flatten();
        let look = |entry: fs_err::DirEntry| {
            let found = entry.metadata().expect("a blob");
            (entry.file_name(), std::os::unix::fs::MetadataExt::ino(&found))
        };
        folder.map(look).collect::<std::collections::BTreeMap<_, _>>()
    };
    for arguments in [&["build"][..], &["build", "--sign", "one.key"]] {
        environment.run(&project, arguments).success();
        let before = blobs();
        environment.run(&project, arguments).success();
        assert!(!before.is_empty());
        assert_eq!(blobs(), before, "each is the very file that it was: {arguments:?}");
    }
}
