//! What real programs of npm's world make: a registry with a login, and the updates of a lock file.

use std::{path::Path, process::Command};

use bulla_testkit::{NpmPackage, NpmRegistry, Project, Verdaccio, contains, npm::npm, process};
use serde_json::{Value, json};

use super::{
    npm::use_registry,
    online,
    world::{World, spec},
};

/// Runs npm in the project's folder, with a registry and settings of its user.
fn run_npm(project: &Project, home: &Path, registry: &str, arguments: &[&str]) {
    let mut npm: Command = npm(&project.path("app"), home, registry);
    process::output(npm.args(arguments).args(["--ignore-scripts", "--package-lock-only"])).expect("npm runs");
}

fn with_lock_file() -> Project {
    let stage = "    dependencies: [{npm: package-lock.json}]\n";
    Project::with_spec(&spec(stage, &["cp package-lock.json out"], "/src/app/out"))
        .file("app/package.json", json!({"name": "app", "version": "1.0.0"}).to_string())
}

#[test]
fn a_real_registry_with_a_login_for_a_scope_is_used_as_npm_uses_it() {
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped("verdaccio", &why);
    }
    let Some(registry) = Verdaccio::start() else { return };
    let (public, own) = (NpmPackage::new("left-pad", "1.3.0"), NpmPackage::new("@acme/greeting", "1.2.0"));
    registry.publish(&public);
    registry.publish(&own);
    let (_repo, _mirror, environment) = online();
    let home = environment.folder().join("home");
    let settings = format!("registry={}\n@acme:registry={}\n", registry.url(), registry.url());
    fs_err::write(home.join(".npmrc"), format!("{settings}{}", registry.login())).expect("npm's settings");
    let text = "bulla: 1\nname: shop\nsources:\n  app: {path: app}\nstages:\n  build:\n    from: {debian: trixie, suites: [trixie], packages: [make]}\n    dependencies: [{npm: package-lock.json}]\n    steps:\n      - npm ci\nimage:\n  from: {debian: trixie, suites: [trixie], packages: [libshop]}\n  user: 65532\n";
    let project =
        Project::with_spec(text).file("app/package.json", json!({"name": "app", "version": "1.0.0"}).to_string());
    // The lock file is npm's own, with the addresses that the registry gave.
    run_npm(&project, &home, &registry.url(), &["install", "left-pad", "@acme/greeting"]);
    let lock: Value = serde_json::from_str(&project.read("app/package-lock.json")).expect("JSON");
    let entry = &lock["packages"]["node_modules/@acme/greeting"];
    assert_eq!(entry["integrity"], own.integrity(), "{lock:#}");
    environment.run(&project, &["fetch"]).success();
    let store = environment.store();
    for file in super::world::files(&store).into_iter().chain([project.path("bulla.lock")]) {
        let bytes = fs_err::read(&file).expect("a file");
        assert!(!contains(&bytes, &registry.token), "the login is in {}", file.display());
    }
    // The control: without the login the scope's package cannot be had, and the error says so.
    let (_repo, _mirror, without) = online();
    fs_err::write(without.folder().join("home/.npmrc"), settings).expect("npm's settings");
    let ran = without.run(&project, &["fetch"]);
    assert!(ran.code != Some(0) && ran.stderr.contains("@acme/greeting"), "{}", ran.stderr);
}

/// One update of dependencies, in npm's words.
type Update<'a> = &'a [&'a str];

#[test]
fn twenty_updates_by_npm_build_locked_and_leave_the_lock_alone() {
    let test = "twenty updates of dependencies";
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped(test, &why);
    }
    let Some(world) = World::new(test) else { return };
    if !process::exists("npm") {
        return bulla_testkit::skipped(test, "npm is not installed");
    }
    let versions = |name: &'static str, all: &[&'static str]| {
        all.iter().map(|version| NpmPackage::new(name, version)).collect::<Vec<_>>()
    };
    let mut packages = versions("left-pad", &["1.0.0", "1.1.0", "1.1.1", "1.2.0", "2.0.0"]);
    packages.extend(versions("is-odd", &["3.0.0"]).into_iter().map(|one| one.depends("is-number", "^6.0.0")));
    packages.extend(versions("is-odd", &["3.0.1"]).into_iter().map(|one| one.depends("is-number", "^6.0.1")));
    packages.extend(versions("is-number", &["6.0.0", "6.0.1", "6.0.2", "7.0.0"]));
    packages.extend(versions("@acme/a", &["1.0.0", "1.0.1"]));
    packages.extend(versions("@acme/b", &["0.1.0", "0.2.0"]));
    let all: Vec<&NpmPackage> = packages.iter().collect();
    let registry = NpmRegistry::serve(&all);
    use_registry(&world.environment, &registry);
    let updates: [Update<'_>; 20] = [
        &["install", "left-pad@1.0.0"],
        &["install", "is-odd@3.0.0", "is-number@6.0.0"],
        &["install", "left-pad@1.1.0"],
        &["install", "@acme/a@1.0.0"],
        &["install", "is-number@6.0.1"],
        &["install", "is-odd@3.0.1"],
        &["uninstall", "is-number"],
        &["install", "left-pad@1.1.1"],
        &["install", "@acme/b@0.1.0", "--save-dev"],
        &["install", "@acme/a@1.0.1"],
        &["uninstall", "is-odd"],
        &["install", "left-pad@1.2.0"],
        &["install", "is-number@7.0.0"],
        &["install", "is-odd@3.0.1"],
        &["update"],
        &["install", "@acme/b@0.2.0", "--save-dev"],
        &["install", "number@npm:is-number@6.0.2"],
        &["uninstall", "@acme/a"],
        &["install", "left-pad@2.0.0"],
        &["uninstall", "left-pad"],
    ];
    let (project, home) = (with_lock_file(), tempfile::tempdir().expect("a folder"));
    let mut lock = None;
    let mut digests = std::collections::BTreeSet::new();
    for (number, update) in updates.into_iter().enumerate() {
        run_npm(&project, home.path(), &registry.url(), update);
        let before = project.read("app/package-lock.json");
        // The first build writes the lock of the packages; no other may.
        let arguments: &[&str] = if number == 0 { &[] } else { &["--locked"] };
        let ran = world.build(&project, arguments).success();
        digests.insert(ran.stdout);
        assert_eq!(project.read("app/package-lock.json"), before, "{update:?}");
        let now = project.read("bulla.lock");
        assert_eq!(*lock.get_or_insert_with(|| now.clone()), now, "{update:?}");
    }
    assert!(digests.len() > 15, "the image has the lock file, so that each update makes another: {digests:?}");
}
