//! What a hostile registry, lock file or project tries when packages of npm are fetched; each with a control.

use bulla_testkit::{Fault, NpmPackage, NpmRegistry, Project, Ran, TestEnvironment, contains, npm::npm_lock};

use super::{online, world::files};

/// A project whose stage names a lock file. Nothing is run.
fn project(lock: &str) -> Project {
    let spec = "bulla: 1
name: shop
sources:
  app: {path: .}
stages:
  build:
    from: {debian: trixie, suites: [trixie], packages: [make]}
    dependencies: [{npm: package-lock.json}]
    steps:
      - npm ci
image:
  from: {debian: trixie, suites: [trixie], packages: [libshop]}
  user: 65532
";
    Project::with_spec(spec).file("package-lock.json", lock)
}

/// Gives an environment whose configuration of npm is this, beside that of Debian's mirror.
fn with_npm(environment: &TestEnvironment, text: &str) {
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    environment.write_config(&format!("{before}[registry.npm]\n{text}"));
}

fn registry_of(url: &str) -> String {
    format!("npmrc = false\nregistry = \"{url}\"\n")
}

fn fetch(environment: &TestEnvironment, project: &Project) -> Ran {
    environment.run(project, &["fetch"])
}

/// Writes the user's own settings of npm.
fn npmrc(environment: &TestEnvironment, text: &str) {
    fs_err::write(environment.folder().join("home/.npmrc"), text).expect("writing the settings");
}

#[test]
fn a_registry_that_gives_other_bytes_is_refused() {
    let (_repo, _mirror, environment) = online();
    let (good, other) =
        (NpmPackage::new("left-pad", "1.3.0"), NpmPackage::new("left-pad", "1.3.0").file("evil.js", "x"));
    let registry = NpmRegistry::serve(&[&good]);
    with_npm(&environment, &registry_of(&registry.url()));
    let project = project(&npm_lock(&[&good]));
    registry.mirror.fault(&good.path(), Fault::Bytes(other.archive()));
    let ran = fetch(&environment, &project).failure(5);
    assert!(ran.stderr.contains("fetching left-pad 1.3.0, which package-lock.json:"), "{}", ran.stderr);
    assert!(ran.stderr.contains("gives other bytes than the lock file says"), "{}", ran.stderr);
    // The control: it is the bytes that were refused.
    registry.mirror.heal();
    fetch(&environment, &project).success();
}

#[test]
fn a_redirect_takes_no_login_along() {
    let (_repo, _mirror, environment) = online();
    let package = NpmPackage::new("@acme/thing", "1.0.0");
    let (registry, elsewhere) = (NpmRegistry::serve(&[&package]), NpmRegistry::serve(&[&package]));
    let host = registry.mirror.address();
    npmrc(&environment, &format!("registry={}\n//{host}/:_authToken=hidden-token\n", registry.url()));
    let environment = environment.set("npm_config_globalconfig", "/nonexistent");
    let project = project(&npm_lock(&[&package]));
    registry.mirror.fault(&package.path(), Fault::Redirect(format!("{}{}", elsewhere.mirror.url(), package.path())));
    fetch(&environment, &project).success();
    let login = |registry: &NpmRegistry| {
        let requests = registry.mirror.requests();
        assert!(!requests.is_empty(), "it was asked");
        requests.iter().any(|request| request.header("authorization").is_some())
    };
    assert!(login(&registry), "the control: who the token is for gets it");
    assert!(!login(&elsewhere), "nobody else does");
    // Nothing of it is anywhere in the store, and the lock and the log do not have it.
    for file in files(&environment.store()) {
        let bytes = fs_err::read(&file).unwrap_or_default();
        assert!(!contains(&bytes, "hidden-token"), "{}", file.display());
    }
}

#[test]
fn a_body_without_end_ends() {
    let (_repo, _mirror, environment) = online();
    let package = NpmPackage::new("left-pad", "1.3.0");
    let registry = NpmRegistry::serve(&[&package]);
    with_npm(&environment, &registry_of(&registry.url()));
    registry.mirror.fault(&package.path(), Fault::Endless);
    let ran = fetch(&environment, &project(&npm_lock(&[&package])));
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("left-pad"), "{}", ran.stderr);
}

#[test]
fn an_address_of_a_lock_file_leads_to_no_place_of_this_machine() {
    let (_repo, _mirror, environment) = online();
    let package = NpmPackage::new("left-pad", "1.3.0");
    let inside = NpmRegistry::serve(&[&package]);
    let host = inside.mirror.address();
    // The token of the user for that very host is not sent to what a lock file chose either.
    npmrc(&environment, &format!("registry=https://npm.example/\n//{host}/:_authToken=hidden-token\n"));
    let environment = environment.set("npm_config_globalconfig", "/nonexistent");
    let address = format!("{}download/{}", inside.url(), "left-pad.tgz");
    let lock = npm_lock(&[&package]);
    let lock = lock.replace("\"integrity\":", &format!("\"resolved\": \"{address}\",\n      \"integrity\":"));
    inside.mirror.fault("/download/left-pad.tgz", Fault::Bytes(package.archive()));
    let project = project(&lock);
    let ran = fetch(&environment, &project);
    assert_ne!(ran.code, Some(0));
    assert!(inside.mirror.requests().is_empty(), "it was asked: {}", ran.stderr);
    // The control: what the user lets be reached is, and as nobody.
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    environment.write_config(&format!("{before}[network]\nlocal-hosts = [\"{host}\"]\n"));
    fetch(&environment, &project).success();
    let requests = inside.mirror.requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_projects_settings_name_no_registry_and_a_user_without_one_is_told_what_to_write() {
    let (_repo, _mirror, environment) = online();
    let package = NpmPackage::new("left-pad", "1.3.0");
    let evil = NpmRegistry::serve(&[&package]);
    let environment = environment.set("npm_config_globalconfig", "/nonexistent");
    let project = project(&npm_lock(&[&package])).file(".npmrc", format!("registry={}\n", evil.url()));
    let ran = fetch(&environment, &project);
    assert_ne!(ran.code, Some(0));
    assert!(evil.mirror.requests().is_empty(), "it was asked: {}", ran.stderr);
    assert!(
        ran.stderr.contains("nothing says where the registry of npm is") && ran.stderr.contains("~/.npmrc"),
        "{}",
        ran.stderr
    );
    // The control: the user's own settings do.
    npmrc(&environment, &format!("registry={}\n", evil.url()));
    fetch(&environment, &project).success();
}

#[test]
fn a_forged_note_of_what_a_hash_stands_for_is_a_miss() {
    let (_repo, _mirror, environment) = online();
    let (one, two) = (NpmPackage::new("left-pad", "1.3.0"), NpmPackage::new("is-odd", "3.0.1"));
    let registry = NpmRegistry::serve(&[&one, &two]);
    with_npm(&environment, &registry_of(&registry.url()));
    let project = project(&npm_lock(&[&one, &two]));
    fetch(&environment, &project).success();
    assert_eq!(registry.asked().len(), 2);
    // The control: what is noted is believed.
    fetch(&environment, &project).success();
    assert_eq!(registry.asked(), Vec::<String>::new());
    let notes: Vec<_> = files(&environment.store().join("actions"));
    let [first, second] = notes.as_slice() else { panic!("two notes, and not {notes:?}") };
    let (left, right) = (fs_err::read(first).expect("a note"), fs_err::read(second).expect("a note"));
    for (file, bytes) in [(first, right), (second, left)] {
        fs_err::remove_file(file).expect("removing a note");
        fs_err::write(file, bytes).expect("forging a note");
    }
    let ran = fetch(&environment, &project).success();
    assert_eq!(registry.asked().len(), 2, "{}", ran.stderr);
}

#[test]
fn a_lock_file_that_is_wrong_is_named_with_its_line() {
    let (_repo, _mirror, environment) = online();
    let package = NpmPackage::new("left-pad", "1.3.0");
    let project = project("{\n<<<<<<< HEAD\n");
    let ran = fetch(&environment, &project).failure(3);
    assert!(ran.stderr.contains("package-lock.json:2: here is a conflict of a merge"), "{}", ran.stderr);
    let missing = self::project(&npm_lock(&[&package]));
    fs_err::remove_file(missing.path("package-lock.json")).expect("removing it");
    let ran = fetch(&environment, &missing).failure(3);
    assert!(ran.stderr.contains("package-lock.json: it is not in the source"), "{}", ran.stderr);
}

#[test]
fn a_version_that_the_registry_hides_is_named_with_its_line() {
    let (_repo, _mirror, environment) = online();
    let (locked, newer) = (NpmPackage::new("left-pad", "1.3.0"), NpmPackage::new("left-pad", "1.3.1"));
    let (hiding, whole) = (NpmRegistry::serve(&[&newer]), NpmRegistry::serve(&[&locked, &newer]));
    let project = project(&npm_lock(&[&locked]));
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    let with = |registry: &NpmRegistry| {
        environment.write_config(&format!("{before}[registry.npm]\n{}", registry_of(&registry.url())));
        fetch(&environment, &project)
    };
    let ran = with(&hiding);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("fetching left-pad 1.3.0, which package-lock.json:"), "{}", ran.stderr);
    // The control: it is there again.
    with(&whole).success();
}
