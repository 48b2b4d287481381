//! Images are made again from their evidence.

use bulla_model::Digest;
use bulla_testkit::{Project, docker::Registry, git::git_command, process};
use serde_json::{Value, json};

use crate::{
    build, evidence, git, offline,
    world::{self, World},
};

#[test]
fn an_image_is_made_again_from_its_evidence_and_its_sources() {
    let Some(world) = World::new("reproduce") else { return };
    let project = world::project(&world::GOOD);
    let image = world.digest(&project);
    let again =
        |arguments: &[&str]| world.environment.run(&project, &[&["reproduce", "oci:bulla-out"], arguments].concat());
    // Where its sources are, nobody knows: there is no commit.
    let ran = again(&[]).failure(3);
    assert!(
        ran.stderr.contains("the source app is a folder of the project") && ran.stderr.contains("--source DIR"),
        "{}",
        ran.stderr
    );
    let ran = again(&["--source", "."]).success();
    assert_eq!(ran.stdout, format!("{image}\nreproduced: it came out the same\n"));
    assert!(
        ran.stderr.contains("nobody signed the evidence") && ran.stderr.contains("mkdir out"),
        "it ran again: {}",
        ran.stderr
    );
    let ran = again(&["--source", ".", "--perturb", "--format", "json"]).success();
    let told: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(
        (&told["same"], &told["signed"], told["varied"].as_array().map(Vec::len)),
        (&true.into(), &false.into(), Some(6))
    );
    // The spec that lies there is not the one that counts.
    let spec = project.read("bulla.yaml");
    project.write("bulla.yaml", spec.replace("echo more", "echo less"));
    again(&["--source", "."]).success();
    // Its sources are.
    project.write("app/hello", "another\n");
    let ran = again(&["--source", "."]).failure(7);
    assert!(ran.stderr.contains("the source app is not the one that the image was made of"), "{}", ran.stderr);
    world.environment.run(&project, &["reproduce", "oci:bulla-out", "--perturb=moon"]).failure(3);
}

#[test]
fn what_comes_out_otherwise_is_explained_and_its_cause_is_found() {
    let Some(world) = World::new("reproduce, otherwise") else { return };
    let project = world::project(&["mkdir out; busybox nproc >out/x"]);
    world.build(&project, &[]).success();
    let again = |arguments: &[&str]| {
        world.environment.run(&project, &[&["reproduce", "oci:bulla-out", "--source", "."], arguments].concat())
    };
    again(&[]).success();
    let ran = again(&["--perturb"]).failure(7);
    assert!(ran.stdout.contains("not reproduced") && ran.stdout.contains("/out/x: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("It depends on: processors.\n"), "{}", ran.stdout);
    // The modes of what a step makes follow the mask, which is why it is varied where it is asked for alone.
    let ran = again(&["--perturb=umask"]).failure(7);
    assert!(
        ran.stdout.contains("/out: changed mode") && ran.stdout.contains("It depends on: umask.\n"),
        "{}",
        ran.stdout
    );
    let ran = again(&["--perturb=zone,locale"]).success();
    assert!(ran.stdout.contains("reproduced"), "{}", ran.stdout);
    let timed = world::project(&["mkdir out; date +%s >out/x; busybox usleep 1100000"]);
    world.build(&timed, &[]).success();
    let ran =
        world.environment.run(&timed, &["reproduce", "oci:bulla-out", "--source", ".", "--perturb=zone"]).failure(7);
    assert!(ran.stdout.contains("/out/x: a time in the bytes"), "{}", ran.stdout);
    assert!(ran.stdout.contains("It differs in the same surroundings too"), "{}", ran.stdout);
}

#[test]
fn a_step_that_takes_files_as_a_directory_lists_them_is_found_out() {
    let Some(world) = World::new("reproduce in another order") else { return };
    let files = |project: Project| (0..200).fold(project, |project, at| project.file(&format!("app/s{at}"), "x"));
    let again = |step: &str, code: i32| {
        let project = files(world::project(&[&format!("mkdir out; {step}")]));
        world.build(&project, &[]).success();
        let again = ["reproduce", "oci:bulla-out", "--source", ".", "--perturb=directory-order"];
        world.environment.run(&project, &again).failure(code).stdout
    };
    let told = again("busybox find . >out/x", 7);
    assert!(told.contains("/out/x: an order in ") && told.contains("It depends on: directory-order.\n"), "{told}");
    // The control: who sorts them does not depend on it.
    again("busybox touch out/x; busybox find . | busybox sort >out/x", 0);
}

#[test]
fn of_several_images_in_a_layout_the_one_that_is_named_is_compared() {
    let Some(world) = World::new("reproduce one of several") else { return };
    let project = world::project(&["mkdir out; busybox nproc >out/x"]);
    world.build(&project, &["--tag", "one", "--output", "oci:first"]).success();
    let other = world::project(&["mkdir out; echo other >out/x; echo more >out/y"]);
    world.build(&other, &["--tag", "two", "--output", "oci:second"]).success();
    let second = other.path("second").display().to_string();
    let copy = |from: &str, name: &str| {
        world.environment.run(&project, &["copy", from, &format!("oci:several:{name}")]).success();
    };
    copy(&format!("oci:{second}"), "two");
    copy("oci:first", "one");
    let again = ["reproduce", "oci:several:one", "--source", ".", "--perturb=processors"];
    let told = world.environment.run(&project, &again).failure(7).stdout;
    assert!(told.contains("/out/x: ") && !told.contains("/out/y"), "{told}");
}

#[test]
fn evidence_counts_when_a_key_that_is_named_signed_it() {
    let environment = offline().set("BULLA_KEY_PASSWORD", "correct horse");
    let project = build::project();
    for name in ["one", "two"] {
        environment.run(&project, &["key", "generate", "--output", &format!("{name}.key")]).success();
    }
    environment.run(&project, &["build", "--sign", "one.key"]).success();
    let again = |key: &str, code| {
        environment.run(&project, &["reproduce", "oci:bulla-out", "--source", ".", "--key", key]).failure(code)
    };
    assert!(!again("one.pub", 0).stderr.contains("nobody signed"));
    let ran = again("two.pub", 7);
    assert!(
        ran.stderr.contains("says how it was made, and was signed by one of those who are named"),
        "{}",
        ran.stderr
    );
    environment.run(&project, &["build", "--evidence", "none"]).success();
    assert!(again("one.pub", 7).stderr.contains("nothing that refers to sha256:"));
}

/// Changes the unsigned statement of a type in a layout, with digests that are right.
fn forge(project: &Project, predicate_type: &str, change: impl Fn(&mut Value)) {
    let layout = project.path("bulla-out");
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs_err::read(layout.join(name)).expect("a file")).expect("JSON")
    };
    let blob =
        |digest: &Value| format!("blobs/sha256/{}", digest.as_str().expect("a digest").trim_start_matches("sha256:"));
    let write = |value: &Value| {
        let bytes = value.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        fs_err::write(layout.join("blobs/sha256").join(digest.hex()), &bytes).expect("a blob");
        (json!(digest.to_string()), json!(bytes.len()))
    };
    let mut index = read("index.json");
    let mut gone = std::collections::BTreeSet::new();
    for entry in index["manifests"].as_array_mut().expect("entries") {
        if entry["annotations"]["in-toto.io/predicate-type"] == predicate_type {
            let mut manifest = read(&blob(&entry["digest"]));
            gone.extend([blob(&entry["digest"]), blob(&manifest["layers"][0]["digest"])]);
            let mut statement = read(&blob(&manifest["layers"][0]["digest"]));
            change(&mut statement);
            (manifest["layers"][0]["digest"], manifest["layers"][0]["size"]) = write(&statement);
            (entry["digest"], entry["size"]) = write(&manifest);
        }
    }
    // What a layout has is looked into, also where its index does not name it.
    gone.into_iter().for_each(|name| fs_err::remove_file(layout.join(name)).expect("a blob"));
    fs_err::write(layout.join("index.json"), index.to_string()).expect("an index");
}

#[test]
fn evidence_that_was_changed_is_noticed() {
    let environment = offline();
    let project = build::project();
    let attack = |predicate_type: &str, change: &dyn Fn(&mut Value), code: i32| {
        environment.run(&project, &["build"]).success();
        forge(&project, predicate_type, change);
        environment.run(&project, &["reproduce", "oci:bulla-out", "--source", "."]).failure(code)
    };
    let (provenance, configuration) = ("https://slsa.dev/provenance/v1", "urn:bulla:configuration:1");
    attack(provenance, &|one| one["predicate"]["buildDefinition"]["internalParameters"]["epoch"] = json!("other"), 0);
    let ran = attack(configuration, &|one| one["predicate"]["spec"] = json!("bulla: 1\nname: evil\n"), 5);
    assert!(ran.stderr.contains("the spec in the evidence is not the one that the provenance has"), "{}", ran.stderr);
    attack(provenance, &|one| one["subject"][0]["digest"]["sha256"] = json!("00"), 5);
    let ran = attack(provenance, &|one| one["predicate"]["buildDefinition"]["buildType"] = json!("urn:other:1"), 7);
    assert!(ran.stderr.contains("its build type is urn:other:1"), "{}", ran.stderr);
    attack(
        provenance,
        &|one| one["predicate"]["buildDefinition"]["internalParameters"]["formats"]["layers"] = json!(9),
        7,
    );
    // A parameter that nobody knows makes it another kind of provenance.
    attack(provenance, &|one| one["predicate"]["buildDefinition"]["externalParameters"]["hook"] = json!("x"), 7);
    // A spec that asks for something else, with a provenance to it: it cannot come out the same.
    environment.run(&project, &["build"]).success();
    let spec = project.read("bulla.yaml").replace("epoch: 1700000000", "epoch: 1700000001");
    let digest = Digest::of(&spec).hex();
    forge(&project, configuration, |one| one["predicate"]["spec"] = json!(spec));
    forge(&project, provenance, |one| {
        one["predicate"]["buildDefinition"]["externalParameters"]["spec"]["digest"]["sha256"] = json!(digest);
    });
    let ran = environment.run(&project, &["reproduce", "oci:bulla-out", "--source", "."]).failure(7);
    assert!(ran.stdout.contains("not reproduced"), "{}", ran.stdout);
}

#[test]
fn sources_of_a_clean_checkout_are_fetched_by_their_commit() {
    let Some(served) = git::World::new("reproduce from a commit") else { return };
    let repo = served.repo("shop");
    let spec = build::project().read("bulla.yaml");
    repo.write("services/site/bulla.yaml", &spec);
    repo.write("services/site/pages/index.html", "<p>hello</p>");
    repo.program("services/site/pages/serve", "#!/bin/true\n");
    repo.write(".gitignore", "bulla-out\nbulla.lock\n");
    let commit = repo.commit("all");
    let clone = Project::new();
    let url = format!("{}/shop", served.server.url());
    run_git(&clone, &["clone", "--quiet", &url, "work"]);
    let build = |arguments: &[&str]| {
        let all = [&["--project", "work/services/site"], arguments].concat();
        served.environment.run(&clone, &all)
    };
    let image = build(&["build"]).success().stdout;
    // Elsewhere, with the image alone.
    let elsewhere = Project::new();
    let layout = clone.path("work/services/site/bulla-out").display().to_string();
    served.environment.run(&elsewhere, &["copy", &format!("oci:{layout}"), "oci:image"]).success();
    fs_err::remove_dir_all(clone.path("work")).expect("the checkout goes");
    served.forget();
    let ran = served.environment.run(&elsewhere, &["reproduce", "oci:image"]).success();
    assert_eq!(ran.stdout, format!("{image}reproduced: it came out the same\n"));
    assert!(
        served.server.asked().iter().any(|asked| String::from_utf8_lossy(&asked.body).contains(&commit)),
        "the commit was asked for"
    );
    // What was built from a changed checkout has no commit that it could be made of.
    run_git(&clone, &["clone", "--quiet", &url, "work"]);
    clone.write("work/services/site/pages/index.html", "<p>other</p>");
    build(&["build"]).success();
    let ran = served.environment.run(&clone, &["reproduce", &format!("oci:{layout}")]).failure(3);
    assert!(ran.stderr.contains("it is not known where that is"), "{}", ran.stderr);
}

fn run_git(project: &Project, arguments: &[&str]) {
    process::output(git_command(project.root()).args(arguments)).expect("git");
}

#[test]
fn a_reproduction_is_attested_beside_the_image_and_asked_for() {
    let Some(mut world) = World::new("a reproduction is attested") else { return };
    world.environment = world.environment.set("BULLA_KEY_PASSWORD", "correct horse");
    let keys = tempfile::tempdir().expect("a folder");
    let path = |name: &str| keys.path().join(name).display().to_string();
    let project = world::project(&world::GOOD);
    for name in ["builder", "again"] {
        world.environment.run(&project, &["key", "generate", "--output", &path(&format!("{name}.key"))]).success();
    }
    let (builder, again) = (path("builder.pub"), path("again.pub"));
    let (builder_key, again_key) = (path("builder.key"), path("again.key"));
    let verify = |project: &Project, what: &str, code: i32| {
        let all = [what, "--key", &builder, "--key", &again, "--require", "signature,reproduced"];
        evidence::report(&world.environment, project, code, &all)
    };
    let reproduce = |project: &Project, what: &str, more: &[&str]| {
        let all = ["reproduce", what, "--source", ".", "--key", &builder, "--attest", &again_key];
        world.environment.run(project, &[&all[..], more].concat())
    };
    world.build(&project, &["--sign", &builder_key]).success();
    assert_eq!(verify(&project, "oci:bulla-out", 7)["required"][1]["reason"], "there is none");
    reproduce(&project, "oci:bulla-out", &["--perturb=zone"]).success();
    verify(&project, "oci:bulla-out", 0);
    // What was said: by whom, of which evidence, and no level of SLSA.
    let bundle = world::files(&project.path("bulla-out/blobs/sha256")).into_iter().find_map(|blob| {
        let value: Value = serde_json::from_slice(&fs_err::read(blob).ok()?).ok()?;
        let payload = value["dsseEnvelope"]["payload"].as_str()?.to_owned();
        let payload =
            process::output(std::process::Command::new("sh").args(["-c", &format!("printf %s {payload} | base64 -d")]));
        serde_json::from_str::<Value>(&payload.ok()?)
            .ok()
            .filter(|one| one["predicateType"].to_string().contains("svr"))
    });
    let predicate = bundle.expect("a result")["predicate"].clone();
    assert_eq!(predicate["properties"], json!(["BULLA_REPRODUCED", "BULLA_REPRODUCED_WITH_OTHER_ZONE"]));
    assert_eq!(
        (&predicate["verifier"]["id"], &predicate["verifier"]["evidenceSigned"]),
        (&json!("urn:bulla:verifier:local"), &json!(true))
    );
    // By a policy, and in the checklist.
    project.write("policy.yaml", "policy: 1\nrequire: [reproduced]\n");
    let policy = ["verify", "oci:bulla-out", "--key", &again, "--policy", "policy.yaml"];
    world.environment.run(&project, &policy).success();
    world.environment.run(&project, &policy.map(|word| if word == again { builder.as_str() } else { word })).failure(7);
    let told =
        world.environment.run(&project, &["checklist", "oci:bulla-out", "--key", &builder, "--key", &again]).success();
    assert!(told.stdout.contains("urn:bulla:verifier:local made it again, with the same digest"), "{}", told.stdout);
    // A result of another kind is none; nor is one of an image that came out otherwise, of which nothing is written.
    world.build(&project, &["--sign", &builder_key]).success();
    project.write(
        "other.json",
        json!({"verifier": {"id": "urn:x:y"}, "properties": ["SLSA_BUILD_REPRODUCED"]}).to_string(),
    );
    let attest = ["attest", "oci:bulla-out", "--type", "svr", "--predicate", "other.json", "--key", &again_key];
    world.environment.run(&project, &attest).success();
    verify(&project, "oci:bulla-out", 7);
    let odd = world::project(&["mkdir out; date +%s >out/x; busybox usleep 1100000"]);
    world.build(&odd, &["--sign", &builder_key]).success();
    let before = fs_err::read(odd.path("bulla-out/index.json")).expect("an index");
    reproduce(&odd, "oci:bulla-out", &[]).failure(7);
    assert_eq!(fs_err::read(odd.path("bulla-out/index.json")).expect("an index"), before, "nothing was written");
    // An archive is not added to, and that is said before anything is built.
    world.environment.run(&odd, &["copy", "oci:bulla-out", "oci-archive:odd.tar"]).success();
    let archive = reproduce(&odd, "oci-archive:odd.tar", &[]).failure(3);
    assert!(archive.stderr.contains("not added to"), "{}", archive.stderr);
    // In a registry it lies beside the image too.
    let Some(registry) = Registry::start() else { return };
    let reference = format!("{}/team/again:1", registry.address());
    world.build(&project, &["--sign", &builder_key, "--push", &reference]).success();
    reproduce(&project, &reference, &[]).success();
    verify(&project, &reference, 0);
}
