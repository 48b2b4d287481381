//! Packages of npm that a lock file names: fetched, and found by the unmodified npm in a step that has no network.

use std::{collections::BTreeMap, path::Path};

use bulla_testkit::{
    NpmPackage, NpmRegistry, Project, TestEnvironment,
    npm::{node_deb, npm, npm_lock, npm_manifest},
    process,
};
use serde_json::json;

use super::world::{World, files, spec};

/// Packages of which one needs another.
fn packages() -> [NpmPackage; 3] {
    [
        NpmPackage::new("is-odd", "3.0.1")
            .depends("is-number", "^6.0.0")
            .field("bin", json!({ "is-odd": "cli.js" }))
            .file("cli.js", "#!/usr/bin/env node\nconsole.log(require('is-number'));\n"),
        NpmPackage::new("is-number", "6.0.0"),
        NpmPackage::new("@acme/greeting", "1.2.0"),
    ]
}

/// A project that installs them.
fn project(steps: &[&str], packages: &[&NpmPackage]) -> Project {
    let stage = "    dependencies: [{npm: package-lock.json}]\n";
    let spec = spec(stage, steps, "/src/app/out").replace("packages: [tools]", "packages: [tools, node]");
    Project::with_spec(&spec)
        .file("app/package.json", npm_manifest(packages))
        .file("app/package-lock.json", npm_lock(packages))
}

/// A world that has Node and npm too.
pub(super) fn node_world(test: &str) -> Option<World> {
    let mut world = World::new(test)?;
    world.publish(&node_deb(test)?);
    Some(world)
}

/// Lets an environment find a registry, and nothing of the machine's.
pub(super) fn use_registry(environment: &TestEnvironment, registry: &NpmRegistry) {
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    environment.write_config(&format!("{before}[registry.npm]\nnpmrc = false\nregistry = \"{}\"\n", registry.url()));
}

/// Gives all files beneath a folder with their content, less what npm notes of where packages came from.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |path: std::path::PathBuf| {
        let name = path.strip_prefix(folder).expect("beneath it").display().to_string();
        let bytes = match fs_err::read_link(&path) {
            Ok(target) => target.display().to_string().into_bytes(),
            Err(_) if name == ".package-lock.json" => {
                let text = fs_err::read_to_string(&path).expect("a file");
                text.lines().filter(|line| !line.contains("\"resolved\":")).collect::<String>().into_bytes()
            }
            Err(_) => fs_err::read(&path).expect("a file"),
        };
        (name, bytes)
    };
    files(folder).into_iter().map(read).collect()
}

#[test]
fn npm_ci_in_a_step_gives_what_it_gives_with_a_network() {
    let test = "npm ci in a step";
    let Some(world) = node_world(test) else { return };
    let packages = packages();
    let all: Vec<&NpmPackage> = packages.iter().collect();
    let registry = NpmRegistry::serve(&all);
    use_registry(&world.environment, &registry);
    let steps =
        ["npm ci", "node_modules/.bin/is-odd >said", "mkdir out; cp -r node_modules said package-lock.json out"];
    let project = project(&steps, &all);
    let before = project.read("app/package-lock.json");
    let digest = world.digest(&project);
    let asked = registry.asked();
    assert_eq!(
        asked,
        ["/@acme/greeting/-/greeting-1.2.0.tgz", "/is-number/-/is-number-6.0.0.tgz", "/is-odd/-/is-odd-3.0.1.tgz"]
    );
    let (root, _folder) = unpacked(&project);
    assert_eq!(fs_err::read_to_string(root.join("out/said")).expect("what the step said"), "is-number 6.0.0\n");
    assert_eq!(fs_err::read_to_string(root.join("out/package-lock.json")).expect("the lock file"), before);
    // The same by the machine's own npm, which has the registry.
    let (online, home) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    for file in ["package.json", "package-lock.json"] {
        fs_err::copy(project.path("app").join(file), online.path().join(file)).expect("copying");
    }
    process::output(npm(online.path(), home.path(), &registry.url()).arg("ci")).expect("npm ci with a network");
    assert!(!registry.asked().is_empty(), "the control: with a network the registry is asked");
    assert_eq!(tree(&root.join("out/node_modules")), tree(&online.path().join("node_modules")));
    // What is there is not asked for again, also when the step runs again.
    let again = world.build(&project, &["--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    assert_eq!(registry.asked(), Vec::<String>::new());
}

/// Unpacks the layers of a built image.
pub(super) fn unpacked(project: &Project) -> (std::path::PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = project.path("bulla-out");
    for blob in files(&layout.join("blobs/sha256")) {
        let listed = std::process::Command::new("tar").arg("-xzf").arg(&blob).arg("-C").arg(folder.path()).output();
        drop(listed.expect("tar can be run"));
    }
    (folder.path().to_owned(), folder)
}

#[test]
fn npm_install_in_a_step_finds_exactly_the_locked_versions() {
    let test = "npm install in a step";
    let Some(world) = node_world(test) else { return };
    let old = NpmPackage::new("is-number", "6.0.0");
    let new = NpmPackage::new("is-number", "6.1.0");
    let odd = NpmPackage::new("is-odd", "3.0.1").depends("is-number", "^6.0.0");
    let registry = NpmRegistry::serve(&[&old, &new, &odd]);
    use_registry(&world.environment, &registry);
    let steps = ["rm package-lock.json; npm install", "node -p 'require(\"is-number\")' >out"];
    let project = project(&steps, &[&old, &odd]);
    project.write("app/package.json", npm_manifest(&[&odd]));
    world.digest(&project);
    let (root, _folder) = unpacked(&project);
    assert_eq!(fs_err::read_to_string(root.join("out")).expect("what the step said"), "is-number 6.0.0\n");
}

#[test]
fn what_is_not_in_the_lock_is_explained_at_once() {
    let test = "npm asks for what is not in the lock";
    let Some(world) = node_world(test) else { return };
    let (locked, other) = (NpmPackage::new("left-pad", "1.3.0"), NpmPackage::new("left-pad", "1.3.1"));
    let registry = NpmRegistry::serve(&[&locked, &other]);
    use_registry(&world.environment, &registry);
    let asks = |what: &str| {
        let step = format!("npm install {what}");
        let project = project(&[&step], &[&locked]);
        let ran = world.build(&project, &[]);
        assert_ne!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    // npm looks into the document, and finds no such version there; what it says of that is explained.
    let told = asks("left-pad@1.3.1");
    let hint =
        "npm asked for left-pad 1.3.1; package-lock.json has 1.3.0. Run `npm install`, commit the lock, build again.";
    assert!(told.contains(hint), "{told}");
    let told = asks("is-even");
    assert!(
        told.contains("npm asked for is-even; package-lock.json does not have it. Run `npm install`, commit the lock, build again."),
        "{told}"
    );
    let told = asks("${npm_config_registry}left-pad/-/left-pad-1.3.1.tgz");
    assert!(
        told.contains("npm asked for left-pad 1.3.1; package-lock.json has 1.3.0. Run `npm install`, commit the lock, build again."),
        "{told}"
    );
}

#[test]
fn a_step_may_read_packages_and_nothing_else() {
    let test = "a step attacks the locked repository";
    let Some(world) = node_world(test) else { return };
    let locked = NpmPackage::new("left-pad", "1.3.0");
    let registry = NpmRegistry::serve(&[&locked]);
    use_registry(&world.environment, &registry);
    let script = "
        const http = require('http');
        const base = new URL(process.env.npm_config_registry);
        const ask = (method, path) => new Promise(done => {
          const request = http.request({ host: base.hostname, port: base.port, method, path }, answer => {
            answer.resume(); answer.on('end', () => done(`${method} ${path} ${answer.statusCode}`)); });
          request.on('error', error => done(`${method} ${path} ${error.code}`));
          request.end();
        });
        (async () => {
          const told = [];
          for (const [method, path] of [['GET', '/npm/left-pad'], ['PUT', '/npm/left-pad'], ['GET', '/npm/../../etc/passwd'],
            ['GET', '/npm/%2e%2e/%2e%2e/etc/passwd'], ['GET', '/'], ['DELETE', '/npm/left-pad']])
            told.push(await ask(method, path));
          require('fs').writeFileSync('out', told.join('\\n') + '\\n');
        })();";
    let project = project(&["node attack.js"], &[&locked]).file("app/attack.js", script);
    world.digest(&project);
    let (root, _folder) = unpacked(&project);
    let told = fs_err::read_to_string(root.join("out")).expect("what the step said");
    let good: Vec<&str> = told.lines().filter(|line| line.ends_with(" 200")).collect();
    assert_eq!(good, ["GET /npm/left-pad 200"], "{told}");
    let publish = self::project(&["npm publish --ignore-scripts"], &[&locked]);
    let ran = world.build(&publish, &[]);
    assert_ne!(ran.code, Some(0));
}

#[test]
fn explain_names_the_dependency_that_changed() {
    let test = "explain names a dependency";
    let Some(world) = World::new(test) else { return };
    let (old, new) = (NpmPackage::new("left-pad", "1.3.0"), NpmPackage::new("left-pad", "1.3.1"));
    let registry = NpmRegistry::serve(&[&old, &new]);
    use_registry(&world.environment, &registry);
    let stage = "    dependencies: [{npm: package-lock.json}]\n";
    let seen = spec(stage, &[], "/src/app/out")
        .replace("    steps:\n", "    steps:\n      - run: echo >out\n        sees: []\n");
    let project = Project::with_spec(&seen).file("app/package-lock.json", npm_lock(&[&old]));
    world.digest(&project);
    // Another form of the same is the same.
    project.write("app/package-lock.json", npm_lock(&[&old]).replace("  ", "\t"));
    let again = world.build(&project, &[]).success();
    assert!(again.stderr.contains("0 of 2 steps run"), "{}", again.stderr);
    project.write("app/package-lock.json", npm_lock(&[&new]));
    world.digest(&project);
    let told = world.environment.run(&project, &["explain", "build/1"]).success().stdout;
    assert!(told.contains("package left-pad of /src/app/package-lock.json 1.3.0 → 1.3.1"), "{told}");
}

#[test]
fn after_fetch_a_build_needs_no_network() {
    let test = "a build after bulla fetch";
    let Some(world) = World::new(test) else { return };
    let packages = packages();
    let all: Vec<&NpmPackage> = packages.iter().collect();
    let registry = NpmRegistry::serve(&all);
    use_registry(&world.environment, &registry);
    let stage = "    dependencies: [{npm: package-lock.json}]\n";
    let project =
        Project::with_spec(&spec(stage, &["echo >out"], "/src/app/out")).file("app/package-lock.json", npm_lock(&all));
    world.environment.run(&project, &["fetch"]).success();
    assert_eq!(registry.asked().len(), 3);
    // Nothing is there any more: neither a mirror nor a registry.
    drop(registry);
    let World { repo: _repo, mirror, environment } = world;
    drop(mirror);
    environment.run(&project, &["build"]).success();
}

#[test]
fn an_archive_of_another_package_is_refused_before_the_step_runs() {
    let test = "an archive of another package";
    let Some(world) = World::new(test) else { return };
    let attempt = |package: &NpmPackage| {
        let registry = NpmRegistry::serve(&[package]);
        let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
        use_registry(&environment, &registry);
        let stage = "    dependencies: [{npm: package-lock.json}]\n";
        let project = Project::with_spec(&spec(stage, &["echo RAN >out"], "/src/app/out"))
            .file("app/package-lock.json", npm_lock(&[package]));
        environment.run(&project, &["build"])
    };
    let evil = NpmPackage::new("left-pad", "1.3.0").field("name", json!("evil"));
    let ran = attempt(&evil).failure(5);
    assert!(
        ran.stderr.contains("left-pad 1.3.0 (left-pad-1.3.0.tgz): its package.json is of the package `evil`"),
        "{}",
        ran.stderr
    );
    // The control: it is the name that was refused.
    attempt(&NpmPackage::new("left-pad", "1.3.0")).success();
}

#[test]
fn a_stage_may_want_a_step_to_end_when_something_is_not_in_the_lock() {
    let test = "a step that asks for what is not locked, and is ended";
    let Some(world) = World::new(test) else { return };
    let package = NpmPackage::new("left-pad", "1.3.0");
    let registry = NpmRegistry::serve(&[&package]);
    use_registry(&world.environment, &registry);
    // Busybox asks as npm would; it goes on where it may.
    let ask = "printf 'GET /npm/is-odd HTTP/1.0\\r\\n\\r\\n' | nc 127.0.0.1 8417 >out; sleep 1; echo WENT ON >out";
    let build = |key: &str| {
        let stage = format!("    dependencies: [{{npm: package-lock.json}}]\n{key}");
        let project = Project::with_spec(&spec(&stage, &[ask], "/src/app/out"))
            .file("app/package-lock.json", npm_lock(&[&package]));
        world.build(&project, &[])
    };
    let ran = build("    on-refusal: stop\n");
    assert_ne!(ran.code, Some(0), "{}", ran.stderr);
    let hint = "npm asked for is-odd; package-lock.json does not have it.";
    assert!(ran.stderr.contains("GET /npm/is-odd") && ran.stderr.contains(hint), "{}", ran.stderr);
    // The control: without the word it goes on.
    build("").success();
}

#[test]
fn no_proxy_or_setting_of_the_host_comes_into_a_step() {
    let test = "settings of the host and a step";
    let Some(mut world) = World::new(test) else { return };
    let package = NpmPackage::new("left-pad", "1.3.0");
    let registry = NpmRegistry::serve(&[&package]);
    use_registry(&world.environment, &registry);
    let names =
        ["http_proxy", "HTTPS_PROXY", "ALL_PROXY", "npm_config_proxy", "npm_config_https_proxy", "NODE_OPTIONS"];
    for name in names {
        world.environment = world.environment.set(name, "http://proxy.example:3128");
    }
    world.environment = world.environment.set("no_proxy", "127.0.0.1,localhost");
    let build = |env: &str| {
        let stage = format!("    dependencies: [{{npm: package-lock.json}}]\n{env}");
        let project = Project::with_spec(&spec(&stage, &["env >out"], "/src/app/out"))
            .file("app/package-lock.json", npm_lock(&[&package]));
        world.digest(&project);
        let (root, _folder) = unpacked(&project);
        fs_err::read_to_string(root.join("out")).expect("the environment of the step")
    };
    let seen = build("");
    assert!(!seen.contains("proxy.example") && seen.contains("npm_config_registry=http://127.0.0.1:"), "{seen}");
    // The control: what the spec says comes in.
    let seen = build("    env: {http_proxy: 'http://proxy.example:3128'}\n");
    assert!(seen.contains("http_proxy=http://proxy.example:3128"), "{seen}");
}
