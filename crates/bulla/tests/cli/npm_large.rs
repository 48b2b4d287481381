//! A tree of hundreds of real packages, by the real npm: in a step it is byte for byte what it is with a network.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path};

use bulla_testkit::{
    Mirror, Project,
    npm::{npm, real_npm},
    process,
};
use serde_json::Value;

use super::{
    modules::unpacked,
    npm::node_world,
    world::{files, spec},
};

/// What is beneath a folder: content or target, and whether it can be executed; less what npm notes of where packages came from.
fn tree(folder: &Path) -> BTreeMap<String, (bool, Vec<u8>)> {
    let read = |path: std::path::PathBuf| {
        let name = path.strip_prefix(folder).expect("beneath it").display().to_string();
        if let Ok(target) = fs_err::read_link(&path) {
            return (name, (false, target.display().to_string().into_bytes()));
        }
        let mut bytes = fs_err::read(&path).expect("a file");
        if name == ".package-lock.json" {
            let text = String::from_utf8(bytes).expect("JSON is text");
            bytes = text.lines().filter(|line| !line.contains("\"resolved\":")).collect::<String>().into_bytes();
        }
        let mode = fs_err::metadata(&path).expect("a file").permissions().mode();
        (name, (mode & 0o100 != 0, bytes))
    };
    files(folder).into_iter().map(read).collect()
}

#[test]
fn hundreds_of_packages_are_in_a_step_what_they_are_with_a_network() {
    let test = "hundreds of packages of npm";
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped(test, &why);
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/vite-site");
    let read = |file: &str| fs_err::read_to_string(example.join(file)).expect("the example");
    let Some(packages) = real_npm(&example.join("package-lock.json")) else { return };
    let Some(world) = node_world(test) else { return };
    let registry = Mirror::serve(packages);
    let config = fs_err::read_to_string(world.environment.config()).expect("a configuration");
    let own = format!("[registry.npm]\nnpmrc = false\nregistry = \"{}/\"\n", registry.url());
    world.environment.write_config(&format!("{config}{own}"));
    let (manifest, lock) = (read("package.json"), read("package-lock.json"));
    let steps = ["npm ci --ignore-scripts", "cp -r node_modules out"];
    let spec = spec("    dependencies: [{npm: package-lock.json}]\n", &steps, "/src/app/out");
    let project = Project::with_spec(&spec.replace("packages: [tools]", "packages: [tools, node]"))
        .file("app/package.json", &manifest)
        .file("app/package-lock.json", &lock);
    world.digest(&project);
    let inside = tree(&unpacked(&project).path().join("out"));
    // With a network the same client has the same archives from their registry, at the addresses that npm writes into a lock file.
    let online = tempfile::tempdir().expect("a folder");
    let mut locked: Value = serde_json::from_str(&lock).expect("JSON");
    let mut count = 0;
    for (place, entry) in locked["packages"].as_object_mut().expect("packages") {
        let Some((_, name)) = place.rsplit_once("node_modules/") else { continue };
        let version = entry["version"].as_str().expect("a version");
        let base = name.rsplit('/').next().expect("a name");
        entry["resolved"] = format!("{}/{name}/-/{base}-{version}.tgz", registry.url()).into();
        count += 1;
    }
    assert!(count > 300, "{count} packages are no large tree");
    fs_err::write(online.path().join("package.json"), manifest).expect("a file");
    fs_err::write(online.path().join("package-lock.json"), locked.to_string()).expect("a file");
    let home = tempfile::tempdir().expect("a folder");
    registry.forget_requests();
    process::output(npm(online.path(), home.path(), &registry.url()).args(["ci", "--ignore-scripts"])).expect("npm ci");
    assert!(registry.requests().len() > 200, "the control: with a network it is asked");
    let outside = tree(&online.path().join("node_modules"));
    assert!(outside.len() > 5000, "{} files", outside.len());
    let names = |tree: &BTreeMap<String, (bool, Vec<u8>)>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&inside), names(&outside));
    for (name, found) in &inside {
        assert!(outside.get(name) == Some(found), "{name} is another file");
    }
}
