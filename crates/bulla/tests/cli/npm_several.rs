//! Several lock files of npm in one stage.

use bulla_testkit::{
    NpmPackage, NpmRegistry, Project,
    npm::{npm_lock, npm_manifest},
};

use super::{
    npm::{node_world, unpacked, use_registry},
    world::{World, spec},
};

/// A project of two parts, each with its lock file.
fn project(steps: &[&str], one: &[&NpmPackage], two: &[&NpmPackage]) -> Project {
    let stage = "    dependencies: [{npm: one/package-lock.json}, {npm: two/package-lock.json}]\n";
    let mut spec = spec(stage, steps, "/src/app/out");
    if steps.iter().any(|step| step.contains("npm")) {
        spec = spec.replace("packages: [tools]", "packages: [tools, node]");
    }
    let mut project = Project::with_spec(&spec);
    for (name, packages) in [("one", one), ("two", two)] {
        project = project
            .file(&format!("app/{name}/package.json"), npm_manifest(packages))
            .file(&format!("app/{name}/package-lock.json"), npm_lock(packages));
    }
    project
}

#[test]
fn each_part_of_a_project_finds_what_its_own_lock_file_has() {
    let test = "two lock files of npm";
    let Some(world) = node_world(test) else { return };
    let (old, new) = (NpmPackage::new("left-pad", "1.3.0"), NpmPackage::new("left-pad", "1.3.1"));
    let shared = NpmPackage::new("shared", "1.0.0");
    let registry = NpmRegistry::serve(&[&old, &new, &shared]);
    use_registry(&world.environment, &registry);
    let steps = [
        "(cd one; npm ci; node -p 'require(\"left-pad\")') >out; (cd two; npm ci; node -p 'require(\"left-pad\")') >>out",
        // The lock files say no address, so that a document is read of which both have a version.
        "grep '^left-pad' out >said; mv said out",
    ];
    world.digest(&project(&steps, &[&old, &shared], &[&new, &shared]));
    let project = project(&steps, &[&old, &shared], &[&new, &shared]);
    world.digest(&project);
    let (root, _folder) = unpacked(&project);
    let said = fs_err::read_to_string(root.join("out")).expect("what the steps said");
    assert_eq!(said, "left-pad 1.3.0\nleft-pad 1.3.1\n");
}

#[test]
fn lock_files_with_different_bytes_for_one_version_are_both_named() {
    let test = "two lock files of npm that contradict one another";
    let Some(world) = World::new(test) else { return };
    let good = NpmPackage::new("left-pad", "1.3.0");
    let evil = NpmPackage::new("left-pad", "1.3.0").file("index.js", "evil();\n");
    let registry = NpmRegistry::serve(&[&good]);
    use_registry(&world.environment, &registry);
    // Both can be had, from the store: what is refused is that they contradict one another.
    world.build(&project(&["echo >out"], &[&good], &[&good]), &[]).success();
    let other = NpmRegistry::serve(&[&evil]);
    let before = fs_err::read_to_string(world.environment.config()).expect("a configuration");
    world.environment.write_config(&before.replace(registry.url().as_str(), other.url().as_str()));
    let ran = world.build(&project(&["echo >out"], &[&good], &[&evil]), &[]).failure(3);
    let told = "/src/app/two/package-lock.json: it and /src/app/one/package-lock.json name different things at one place, /npm/left-pad/-/left-pad-1.3.0.tgz";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
}
