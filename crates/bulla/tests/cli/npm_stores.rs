//! Packages of npm in the stores of others: a remote one, and bundles.

use bulla_testkit::{
    FakeRegistry, Mirror, NpmPackage, NpmRegistry, Project, RegistryFault, TestEnvironment, npm::npm_lock,
};

use super::{
    npm::use_registry,
    world::{World, spec},
};

fn project(packages: &[&NpmPackage], step: &str) -> Project {
    let stage = "    dependencies: [{npm: package-lock.json}]\n";
    Project::with_spec(&spec(stage, &[step], "/src/app/out")).file("app/package-lock.json", npm_lock(packages))
}

fn configure(environment: &TestEnvironment, keys: &str) {
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    environment.write_config(&format!("{before}[store]\n{keys}"));
}

/// A machine that has nothing, and knows this registry of npm.
fn machine(world: &World, npm: &NpmRegistry) -> (TestEnvironment, Mirror) {
    let mirror = Mirror::serve(world.repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &mirror);
    use_registry(&environment, npm);
    (environment, mirror)
}

#[test]
fn a_remote_store_keeps_packages_for_another_machine() {
    let Some(world) = World::new("packages in a remote store") else { return };
    let (one, two) = (NpmPackage::new("left-pad", "1.3.0"), NpmPackage::new("@acme/greeting", "1.2.0"));
    let (full, empty) = (NpmRegistry::serve(&[&one, &two]), NpmRegistry::serve(&[]));
    let registry = FakeRegistry::start();
    let remote = format!("remote = \"oci://{}/team/bulla\"\n", registry.address());
    use_registry(&world.environment, &full);
    let key = world.environment.run(&Project::new(), &["store", "key", "--new"]).success().stdout;
    configure(&world.environment, &format!("{remote}write-from = [\"*\"]\n"));
    world.build(&project(&[&one, &two], "echo >out"), &[]).success();
    assert_eq!(full.asked().len(), 2);
    let trusting = format!("{remote}trusted-keys = [\"{}\"]\n", key.trim_end());
    let build = |npm: &NpmRegistry, keys: &str| {
        let (environment, _mirror) = machine(&world, npm);
        configure(&environment, keys);
        environment.run(&project(&[&one, &two], "echo of another step >out"), &["build"])
    };
    // The registry has nothing, and the step runs: its packages come from the store.
    let ran = build(&empty, &trusting).success();
    assert!(empty.asked().is_empty() && !ran.stderr.contains("warning"), "{}", ran.stderr);
    // The control: without the store they cannot be had.
    assert_ne!(build(&empty, "").code, Some(0));
    assert!(!empty.asked().is_empty());
    // What the store has of another kind is not used.
    registry.fault("GET", "/blobs/sha256", 1000, RegistryFault::Body(b"poison".to_vec()));
    let ran = build(&full, &trusting).success();
    assert_eq!(full.asked().len(), 2, "{}", ran.stderr);
    registry.heal();
    build(&full, &trusting).success();
    assert!(full.asked().is_empty());
}

#[test]
fn a_bundle_has_the_packages_and_what_it_says_of_them_is_not_believed() {
    let Some(world) = World::new("packages in a bundle") else { return };
    let (one, two) = (NpmPackage::new("left-pad", "1.3.0"), NpmPackage::new("@acme/greeting", "1.2.0"));
    let npm = NpmRegistry::serve(&[&one, &two]);
    use_registry(&world.environment, &npm);
    let project = project(&[&one, &two], "echo >out");
    let digest = world.digest(&project);
    let file = project.path("bundle.tar").display().to_string();
    world.environment.run(&project, &["store", "export", "--output", &file]).success();
    let empty = || {
        // Neither a registry nor a mirror is there.
        let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
        environment.write_config("[registry.npm]\nnpmrc = false\n[registry.debian]\napt = false\n");
        environment
    };
    let environment = empty();
    environment.run(&project, &["store", "import", &file]).success();
    let ran = environment.run(&project, &["build", "--locked"]).success();
    assert_eq!(ran.stdout.trim_end(), digest);
    // The control: without it there is no build.
    assert_ne!(empty().run(&project, &["build", "--locked"]).code, Some(0));
    // A bundle that says one package's hash of another: the hashes are the bytes' own, or it is no bundle.
    let bytes = fs_err::read(&file).expect("a bundle");
    let (first, second) = (one.integrity(), two.integrity());
    let aside = vec![b'x'; first.len()];
    let forged = replaced(&bytes, first.as_bytes(), &aside);
    let forged = replaced(&replaced(&forged, second.as_bytes(), first.as_bytes()), &aside, second.as_bytes());
    assert_ne!(forged, bytes, "the pins are in the bundle as text");
    fs_err::write(&file, forged).expect("a forged bundle");
    let ran = empty().run(&project, &["store", "import", &file]).failure(5);
    assert!(ran.stderr.contains("has not the hash"), "{}", ran.stderr);
}

/// Puts bytes of the same length in the place of others.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if from.len() == to.len() {
        let places: Vec<usize> =
            bytes.windows(from.len()).enumerate().filter(|(_, part)| *part == from).map(|(at, _)| at).collect();
        places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to));
    }
    bytes
}
