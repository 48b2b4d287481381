//! Packages of `yarn.lock`, found by the unmodified yarn in a step that has no network.

use std::process::Command;

use bulla_testkit::{
    NpmPackage, NpmRegistry, Project,
    javascript::{client, client_deb, unpacked_client, yarn_lock},
    npm::npm_manifest,
    process,
};
use serde_json::json;

use super::{
    npm::{node_world, unpacked, use_registry},
    world::{World, spec},
};

/// A client: its package, its version, and its main program.
type Client = [&'static str; 3];

const CLASSIC: Client = ["yarn", "1.22.22", "bin/yarn.js"];
/// The newest one, with a lock file of version 10.
const BERRY: Client = ["@yarnpkg/cli-dist", "4.18.1", "bin/yarn.js"];

/// A world that has Node, npm and yarn.
fn yarn_world(test: &str, [package, version, main]: Client) -> Option<World> {
    let mut world = node_world(test)?;
    world.publish(&client_deb(package, version, "yarn", main)?);
    Some(world)
}

fn project(keys: &str, steps: &[&str], packages: &[&NpmPackage]) -> Project {
    let stage = format!("    dependencies: [{{npm: yarn.lock{keys}}}]\n");
    let spec = spec(&stage, steps, "/src/app/out").replace("packages: [tools]", "packages: [tools, node, yarn]");
    Project::with_spec(&spec)
        .file("app/package.json", npm_manifest(packages))
        .file("app/yarn.lock", yarn_lock("https://npm.example", packages))
}

fn said(project: &Project) -> String {
    let (root, _folder) = unpacked(project);
    fs_err::read_to_string(root.join("out")).expect("what the step said")
}

fn packages() -> [NpmPackage; 3] {
    let note = "echo postinstall of noting >>/src/app/ran";
    [
        NpmPackage::new("is-odd", "3.0.1").depends("is-number", "6.0.0"),
        NpmPackage::new("is-number", "6.0.0"),
        NpmPackage::new("@acme/noting", "1.2.0").field("scripts", json!({ "postinstall": note })),
    ]
}

#[test]
fn yarn_1_in_a_step_goes_to_the_addresses_of_its_lock_file_and_finds_what_that_has() {
    let test = "yarn 1 in a step";
    let Some(world) = yarn_world(test, CLASSIC) else { return };
    let packages = packages();
    let all: Vec<&NpmPackage> = packages.iter().collect();
    let registry = NpmRegistry::serve(&all);
    use_registry(&world.environment, &registry);
    let says =
        "node -p 'require(\"is-odd\") + require(\"@acme/noting\")' >out; cat ran >>out || true; cat yarn.lock >>out";
    let attempt = |keys: &str| {
        let project = project(keys, &["yarn install --frozen-lockfile", says], &all);
        let lock = project.read("app/yarn.lock");
        let digest = world.digest(&project);
        (said(&project).replace(&lock, ""), digest, project)
    };
    let (told, digest, project) = attempt("");
    assert_eq!(told, "is-odd 3.0.1@acme/noting 1.2.0\npostinstall of noting\n", "the control: scripts run");
    assert_eq!(
        registry.asked(),
        ["/@acme/noting/-/noting-1.2.0.tgz", "/is-number/-/is-number-6.0.0.tgz", "/is-odd/-/is-odd-3.0.1.tgz"]
    );
    let again = world.build(&project, &["--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    assert_eq!(attempt(", scripts: deny").0, "is-odd 3.0.1@acme/noting 1.2.0\n");
    let some = self::project(", scripts: {allow: ['@acme/noting']}", &["yarn install"], &all);
    let ran = world.build(&some, &[]).failure(3);
    assert!(ran.stderr.contains("yarn can run the scripts of all packages or of none"), "{}", ran.stderr);
    let ran = world.build(&self::project("", &["yarn add is-even"], &all), &[]);
    let hint = "yarn asked for is-even; yarn.lock does not have it. Run `yarn install`, commit the lock, build again.";
    assert!(ran.code != Some(0) && ran.stderr.contains(hint), "{}", ran.stderr);
}

/// Has the machine's own Node run a client in the project's folder, with a registry.
fn lock(client_of: Client, project: &Project, registry: &NpmRegistry) -> Option<()> {
    let (tool, home) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let main = unpacked_client(client_of[0], client_of[1], tool.path(), client_of[2])?;
    let mut yarn: Command = client(&main, &project.path("app"), home.path(), &registry.url());
    yarn.env("YARN_NPM_REGISTRY_SERVER", registry.url().trim_end_matches('/'));
    yarn.env("YARN_UNSAFE_HTTP_WHITELIST", "127.0.0.1").env("YARN_ENABLE_TELEMETRY", "0");
    if client_of == BERRY {
        // It wants to know how old versions are, which this registry does not say.
        yarn.env("YARN_NPM_MINIMAL_AGE_GATE", "0");
    }
    process::output(yarn.args(["install", "--mode=update-lockfile"])).expect("yarn with a network");
    Some(())
}

/// A project of which yarn itself made the lock file.
fn locked_by_yarn(keys: &str, client: Client, steps: &[&str], registry: &NpmRegistry) -> Option<Project> {
    let manifest = json!({ "name": "app", "version": "1.0.0",
        "dependencies": { "is-odd": "3.0.1", "alias": "npm:is-number@6.0.0", "@acme/noting": "1.2.0", "web": "workspace:*" },
        "optionalDependencies": { "mac": "1.0.0", "linux": "1.0.0" }, "workspaces": ["web"] });
    let project = project(keys, steps, &[])
        .file("app/package.json", manifest.to_string())
        .file(
            "app/web/package.json",
            json!({ "name": "web", "version": "1.0.0", "dependencies": { "is-number": "6.0.0" } }).to_string(),
        )
        .file("app/web/index.js", "module.exports = 'web of ' + require('is-number');\n")
        .file("app/.yarnrc.yml", "nodeLinker: node-modules\ncompressionLevel: 0\n")
        .file("app/yarn.lock", "");
    lock(client, &project, registry)?;
    Some(project)
}

/// What is for one platform alone has no checksum in the lock file, and is pinned in `bulla.lock`.
fn pinned_for_one_platform(world: &World, project: &Project, others: &[&NpmPackage]) {
    let lock = project.read("bulla.lock");
    assert!(lock.contains("name = \"linux\"\nversion = \"1.0.0\"") && !lock.contains("name = \"mac\""), "{lock}");
    assert!(lock.contains("evidence = \"first use\""), "{lock}");
    // Whoever has other bytes under the name later is refused, and nothing is pinned anew.
    let other = NpmPackage::new("linux", "1.0.0").field("os", json!(["linux"])).file("evil.js", "x");
    let evil = NpmRegistry::serve(&others.iter().copied().chain([&other]).collect::<Vec<_>>());
    let fresh = || {
        let environment =
            bulla_testkit::TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror);
        use_registry(&environment, &evil);
        environment
    };
    let ran = fresh().run(project, &["fetch"]).failure(5);
    assert!(ran.stderr.contains("fetching linux 1.0.0") && ran.stderr.contains("gives other bytes"), "{}", ran.stderr);
    assert_eq!(project.read("bulla.lock"), lock);
    // The control: without the pin they would be taken. With `--locked` nothing is taken without one.
    let text = project.read("bulla.lock");
    let (before, _) = text.split_once("\n[[loose]]").expect("a pin");
    let body = format!("{before}\n# end of bulla.lock\n");
    let (head, rest) = body.split_once("checksum = ").expect("a checksum");
    let rest = rest.split_once('\n').expect("a line").1;
    project.write("bulla.lock", format!("{head}checksum = \"{}\"\n{rest}", bulla_model::Digest::of(rest)));
    let ran = fresh().run(project, &["fetch", "--locked"]).failure(7);
    assert!(ran.stderr.contains("has no hash of linux 1.0.0, bulla.lock has no pin of it"), "{}", ran.stderr);
    let ran = fresh().run(project, &["fetch"]).success();
    assert!(ran.stderr.contains("+ npm linux 1.0.0"), "{}", ran.stderr);
    assert_ne!(project.read("bulla.lock"), lock);
    project.write("bulla.lock", lock);
}

fn berry_in_a_step(test: &str, client: Client) {
    let Some(world) = yarn_world(test, client) else { return };
    let packages = packages();
    let mac = NpmPackage::new("mac", "1.0.0").field("os", json!(["darwin"]));
    let linux = NpmPackage::new("linux", "1.0.0").field("os", json!(["linux"]));
    let all: Vec<&NpmPackage> = packages.iter().chain([&mac, &linux]).collect();
    let registry = NpmRegistry::serve(&all);
    use_registry(&world.environment, &registry);
    let says = "node -p '[\"is-odd\", \"alias\", \"@acme/noting\", \"web\", \"linux\"].map(name => require(name)).join()' >out; cat ran >>out || true; cat yarn.lock >>out";
    let attempt = |keys: &str| {
        let project = locked_by_yarn(keys, client, &["yarn install --immutable", says], &registry)?;
        registry.asked();
        let lock = project.read("app/yarn.lock");
        let digest = world.digest(&project);
        Some((said(&project).replace(&lock, ""), digest, project))
    };
    let Some((told, digest, project)) = attempt("") else { return };
    let known = "is-odd 3.0.1,is-number 6.0.0,@acme/noting 1.2.0,web of is-number 6.0.0,linux 1.0.0\n";
    assert!(told.starts_with(known), "{told}");
    assert_eq!(
        registry.asked(),
        [
            "/@acme/noting/-/noting-1.2.0.tgz",
            "/is-number/-/is-number-6.0.0.tgz",
            "/is-odd/-/is-odd-3.0.1.tgz",
            "/linux/-/linux-1.0.0.tgz"
        ],
        "by the checksums of the zip archives that yarn makes"
    );
    let again = world.build(&project, &["--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    pinned_for_one_platform(&world, &project, &[&packages[0], &packages[1], &packages[2], &mac]);
    let Some((told, ..)) = attempt(", scripts: deny") else { return };
    assert_eq!(told, known);
    // An address of its own, to which yarn goes.
    let address = "::__archiveUrl=https%3A%2F%2Fnpm.example%2Fis-number%2F-%2Fis-number-6.0.0.tgz";
    let Some(bound) =
        locked_by_yarn("", client, &["yarn install --immutable", "node -p 'require(\"alias\")' >out"], &registry)
    else {
        return;
    };
    let text = bound.read("app/yarn.lock");
    let resolution = "resolution: \"is-number@npm:6.0.0";
    assert!(text.contains(resolution), "{text}");
    bound.write("app/yarn.lock", text.replace(resolution, &format!("{resolution}{address}")));
    world.digest(&bound);
    assert_eq!(said(&bound), "is-number 6.0.0\n");
    // Other bytes under the name.
    let other = NpmPackage::new("is-number", "6.0.0").file("evil.js", "x");
    let (evil, environment) = (
        NpmRegistry::serve(&[&packages[0], &other, &packages[2], &linux]),
        bulla_testkit::TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, &world.mirror),
    );
    use_registry(&environment, &evil);
    let ran = environment.run(&project, &["fetch"]).failure(5);
    assert!(ran.stderr.contains("gives other bytes than the lock file says"), "{}", ran.stderr);
}

#[test]
fn yarn_4_in_a_step_installs_what_its_lock_file_has_by_its_own_checksums() {
    berry_in_a_step("yarn 4 in a step", BERRY);
}

#[test]
fn older_versions_of_the_newer_yarn_do_so_too() {
    let test = "several versions of yarn";
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped(test, &why);
    }
    for version in ["3.8.7", "4.1.0"] {
        berry_in_a_step(test, [BERRY[0], version, BERRY[2]]);
    }
}
