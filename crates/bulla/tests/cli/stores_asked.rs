//! Lock files that need the documents of a registry, or whose packages come from several places, in bundles and remote stores: for machines
//! without a network.

use bulla_testkit::{
    Crate, CrateRegistry, FakeRegistry, Project, PythonIndex, TestEnvironment, crates, poetry, python::requirements,
};

use super::{
    cargo::{registry_of, spec_of, world as cargo_world},
    modules::unpacked,
    poetry::{INSTALL, poetry_world, with_poetry},
    pypi::{install, packages, project, python_world, tree, use_index},
    world::World,
};

/// A machine that reaches nothing.
fn nowhere() -> TestEnvironment {
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let none = "[registry.debian]\napt = false\n[registry.pypi]\nclient-settings = false\n[registry.cargo]\ncargo-config = false\n";
    environment.write_config(none);
    environment
}

fn export(environment: &TestEnvironment, project: &Project) -> String {
    let file = project.path("bundle.tar").display().to_string();
    environment.run(project, &["store", "export", "--output", &file]).success();
    file
}

#[test]
fn a_bundle_has_what_an_index_said_and_nobody_believes_it() {
    let Some(world) = python_world("requirements in a bundle") else { return };
    let packages = packages();
    let index = PythonIndex::serve(&packages.iter().collect::<Vec<_>>());
    use_index(&world.environment, &index);
    let lock = requirements(&[&packages[0], &packages[1]]);
    let project = project("{pypi: requirements.txt}", &[&install("requirements.txt")], &[("requirements.txt", lock)]);
    let digest = world.digest(&project);
    let file = export(&world.environment, &project);
    let environment = nowhere();
    environment.run(&project, &["store", "import", &file]).success();
    assert_eq!(environment.run(&project, &["build", "--locked"]).success().stdout.trim_end(), digest);
    assert!(tree(&unpacked(&project).path().join("out")).contains_key("greeting.py"));
    // One answer in the place of the other is none: the registry is asked, and there is none.
    let text = fs_err::read(&file).expect("a bundle");
    let at = |what: &str| text.windows(what.len()).position(|part| part == what.as_bytes());
    let start = at("[{\"ecosystem\"").expect("its answers");
    let answers = &text[start..];
    let blobs: Vec<usize> =
        (0..answers.len().min(4000)).filter(|at| answers[*at..].starts_with(b"\"blob\":\"sha256:")).collect();
    assert_eq!(blobs.len(), 2, "one for each package");
    let mut forged = text.clone();
    let place = |number: usize| start + blobs[number] + 8..start + blobs[number] + 8 + 71;
    let (first, second) = (text[place(0)].to_vec(), text[place(1)].to_vec());
    forged[place(0)].copy_from_slice(&second);
    forged[place(1)].copy_from_slice(&first);
    fs_err::write(&file, &forged).expect("a forged bundle");
    let environment = nowhere();
    environment.run(&project, &["store", "import", &file]).success();
    let ran = environment.run(&project, &["build", "--locked"]);
    assert!(ran.code != Some(0) && ran.stderr.contains("is not used"), "{}", ran.stderr);
    use_index(&environment, &index);
    assert_eq!(environment.run(&project, &["build", "--locked"]).success().stdout.trim_end(), digest);
    // One that is of nothing that there is.
    let other = String::from_utf8_lossy(&text[start..start + 30]).replace("pypi", "none").into_bytes();
    forged = text.clone();
    forged[start..start + 30].copy_from_slice(&other);
    fs_err::write(&file, &forged).expect("a forged bundle");
    let ran = nowhere().run(&project, &["store", "import", &file]).failure(5);
    assert!(ran.stderr.contains("of an ecosystem that there is not"), "{}", ran.stderr);
}

#[test]
fn a_bundle_of_poetry_builds_without_a_network() {
    let Some(world) = poetry_world("poetry.lock in a bundle") else { return };
    let packages = packages();
    let index = PythonIndex::serve(&packages.iter().collect::<Vec<_>>());
    use_index(&world.environment, &index);
    let project = with_poetry(INSTALL, &poetry::project(&[&packages[0], &packages[1]], None));
    let digest = world.digest(&project);
    let file = export(&world.environment, &project);
    let environment = nowhere();
    environment.run(&project, &["store", "import", &file]).success();
    assert_eq!(environment.run(&project, &["build", "--locked"]).success().stdout.trim_end(), digest);
}

#[test]
fn a_bundle_of_cargo_builds_without_a_network() {
    let Some(world) = cargo_world() else { return };
    let word = Crate::new("word", "1.0.0");
    let registry = CrateRegistry::serve(&[&word]);
    let environment = world.environment(&registry_of(&registry));
    let project =
        Project::with_spec(&spec_of("[{cargo: Cargo.lock}]", &["cargo run --quiet --locked >out; rm -r target"]));
    for (name, text) in crates::cargo_program(&[&word]) {
        project.write(&format!("app/{name}"), text);
    }
    project.write("app/Cargo.lock", crates::cargo_lock(&[&word], &[&word]));
    let digest = environment.run(&project, &["build"]).success().stdout;
    let file = export(&environment, &project);
    let environment = nowhere();
    environment.run(&project, &["store", "import", &file]).success();
    assert_eq!(environment.run(&project, &["build", "--locked"]).success().stdout, digest);
}

#[test]
fn a_remote_store_has_what_an_index_said_for_another_machine() {
    let Some(world) = python_world("requirements in a remote store") else { return };
    let packages = packages();
    let (full, empty) = (PythonIndex::serve(&packages.iter().collect::<Vec<_>>()), PythonIndex::serve(&[]));
    let registry = FakeRegistry::start();
    let remote = format!("[store]\nremote = \"oci://{}/team/bulla\"\n", registry.address());
    let of = |step: &str| {
        let lock = requirements(&[&packages[0], &packages[1]]);
        project(
            "{pypi: requirements.txt}",
            &[&format!("{}; {step}", install("requirements.txt"))],
            &[("requirements.txt", lock)],
        )
    };
    let configure = |environment: &TestEnvironment, index: &PythonIndex, keys: &str| {
        let before = fs_err::read_to_string(environment.config()).expect("a configuration");
        environment.write_config(&format!("{remote}{keys}{before}"));
        use_index(environment, index);
    };
    let key = world.environment.run(&Project::new(), &["store", "key", "--new"]).success().stdout;
    configure(&world.environment, &full, "write-from = [\"*\"]\n");
    world.build(&of("true"), &[]).success();
    assert!(!full.asked().is_empty());
    let build = |keys: &str| {
        let World { repo, mirror, .. } = &world;
        let other = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), repo, mirror);
        configure(&other, &empty, keys);
        other.run(&of("echo another step"), &["build"])
    };
    let ran = build(&format!("trusted-keys = [\"{}\"]\n", key.trim_end())).success();
    assert!(empty.asked().is_empty() && !ran.stderr.contains("warning"), "{}", ran.stderr);
    // The control: whoever trusts no key asks the index.
    assert_ne!(build("").code, Some(0));
    assert!(!empty.asked().is_empty());
}
