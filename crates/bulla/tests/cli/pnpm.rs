//! Packages of `pnpm-lock.yaml`, found by the unmodified pnpm in a step that has no network.

use bulla_testkit::{
    Fault, Mirror, NpmPackage, NpmRegistry, Project, Ran, TestAuthority,
    javascript::{client, client_archive, client_deb, pnpm_lock, unpacked_client},
    npm::{integrity, npm_manifest},
    process,
};
use serde_json::json;

use super::{
    npm::{node_world, unpacked, use_registry},
    world::{World, spec},
};

/// The client that the quick tests run; it reads lock files of version 9.
const PNPM: &str = "9.15.9";
const MAIN: &str = "bin/pnpm.cjs";

/// A world that has Node, npm and pnpm.
fn pnpm_world(test: &str, version: &str) -> Option<World> {
    let mut world = node_world(test)?;
    world.publish(&client_deb("pnpm", version, "pnpm", MAIN)?);
    Some(world)
}

fn project(keys: &str, steps: &[&str], packages: &[&NpmPackage]) -> Project {
    let stage = format!("    dependencies: [{{npm: pnpm-lock.yaml{keys}}}]\n");
    let spec = spec(&stage, steps, "/src/app/out").replace("packages: [tools]", "packages: [tools, node, pnpm]");
    Project::with_spec(&spec)
        .file("app/package.json", npm_manifest(packages))
        .file("app/pnpm-lock.yaml", pnpm_lock(packages))
}

fn said(project: &Project) -> String {
    let (root, _folder) = unpacked(project);
    fs_err::read_to_string(root.join("out")).expect("what the step said")
}

/// A package that notes when a script of it runs.
fn noting(name: &str) -> NpmPackage {
    let note = format!("echo postinstall of {name} in $PWD >>/src/app/ran");
    NpmPackage::new(name, "1.0.0").field("scripts", json!({ "postinstall": note }))
}

#[test]
fn pnpm_in_a_step_installs_what_its_lock_file_has_and_is_told_what_it_has_not() {
    let test = "pnpm in a step";
    let Some(world) = pnpm_world(test, PNPM) else { return };
    let (odd, number) =
        (NpmPackage::new("is-odd", "3.0.1").depends("is-number", "^6.0.0"), NpmPackage::new("is-number", "6.0.0"));
    let scoped = NpmPackage::new("@acme/greeting", "1.2.0");
    let registry = NpmRegistry::serve(&[&odd, &number, &scoped]);
    use_registry(&world.environment, &registry);
    let all = [&odd, &number, &scoped];
    let says = "node -p 'require(\"is-odd\") + require(\"@acme/greeting\")' >out; cat pnpm-lock.yaml >>out";
    let good = project("", &["pnpm install --frozen-lockfile", says], &all);
    let lock = good.read("app/pnpm-lock.yaml");
    let digest = world.digest(&good);
    assert_eq!(
        registry.asked(),
        ["/@acme/greeting/-/greeting-1.2.0.tgz", "/is-number/-/is-number-6.0.0.tgz", "/is-odd/-/is-odd-3.0.1.tgz"]
    );
    assert_eq!(said(&good), format!("is-odd 3.0.1@acme/greeting 1.2.0\n{lock}"));
    let again = world.build(&good, &["--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    assert_eq!(registry.asked(), Vec::<String>::new());
    // What is not in the lock file.
    let ran = world.build(&project("", &["pnpm add is-number@6.1.0"], &all), &[]);
    let hint =
        "pnpm asked for is-number 6.1.0; pnpm-lock.yaml has 6.0.0. Run `pnpm install`, commit the lock, build again.";
    assert!(ran.code != Some(0) && ran.stderr.contains(hint), "{}", ran.stderr);
    let ran = world.build(&project("", &["pnpm add is-even"], &all), &[]);
    let hint = "pnpm asked for is-even; pnpm-lock.yaml does not have it.";
    assert!(ran.code != Some(0) && ran.stderr.contains(hint), "{}", ran.stderr);
}

#[test]
fn scripts_of_packages_run_as_the_spec_says_whatever_their_folders_are_called() {
    let test = "scripts of packages of pnpm";
    let Some(world) = pnpm_world(test, PNPM) else { return };
    let (good, other, peer) = (noting("@acme/good"), noting("other"), noting("peer"));
    let registry = NpmRegistry::serve(&[&good, &other, &peer]);
    use_registry(&world.environment, &registry);
    let attempt = |keys: &str| -> (Vec<String>, Ran) {
        let steps = ["touch ran; pnpm install --frozen-lockfile", "sort ran >out"];
        let project = project(keys, &steps, &[&good, &other, &peer]);
        // It is installed with another one, so that its folder has a longer name.
        let lock = project.read("app/pnpm-lock.yaml");
        let lock = lock.replace(
            "'peer':\n        specifier: 1.0.0\n        version: 1.0.0",
            "'peer':\n        specifier: 1.0.0\n        version: 1.0.0(other@1.0.0)",
        );
        let lock =
            lock.replace("  'peer@1.0.0': {}", "  'peer@1.0.0(other@1.0.0)':\n    dependencies:\n      other: 1.0.0");
        project.write("app/pnpm-lock.yaml", lock);
        let ran = world.build(&project, &[]).success();
        (said(&project).lines().map(str::to_owned).collect(), ran)
    };
    let line = |name: &str, folder: &str| {
        format!("postinstall of {name} in /src/app/node_modules/.pnpm/{folder}/node_modules/{name}")
    };
    let (good, other, peer) =
        (line("@acme/good", "@acme+good@1.0.0"), line("other", "other@1.0.0"), line("peer", "peer@1.0.0_other@1.0.0"));
    // The control: without a word they run.
    assert_eq!(attempt("").0, [good.clone(), other, peer.clone()]);
    let (ran, built) = attempt(", scripts: deny");
    assert_eq!(ran, Vec::<String>::new());
    let told = "refused: postinstall of /src/app/node_modules/.pnpm/other@1.0.0/node_modules/other";
    assert!(built.stderr.contains(told), "{}", built.stderr);
    assert_eq!(attempt(", scripts: {allow: ['@acme/good', peer]}").0, [good, peer]);
}

/// The lock file of a project that has one package, by its address alone.
fn by_address(address: &str) -> String {
    let (at, of) = (format!("left@{address}"), "    dependencies:\n      left:\n");
    format!(
        "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n{of}        specifier: {address}\n        version: {address}\n\npackages:\n\n  {at}:\n    resolution: {{tarball: {address}}}\n    version: 1.0.0\n\nsnapshots:\n\n  {at}: {{}}\n"
    )
}

#[test]
fn an_archive_by_its_address_is_pinned_and_found_at_that_address_through_the_proxy() {
    let test = "pnpm and whole addresses";
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped(test, &why);
    }
    let Some(world) = pnpm_world(test, PNPM) else { return };
    // As hosts of git repositories give archives of commits: nothing in the lock file says what they are.
    let path = format!("acme/left/tar.gz/{}", "0123456789".repeat(4));
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), TestAuthority::new());
    let file = folder.path().join(&path);
    fs_err::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    fs_err::write(&file, NpmPackage::new("left", "1.0.0").archive()).expect("an archive");
    let server = Mirror::serve_named(folder.path(), &authority, &["files.example"]);
    let proxy = Mirror::serve(folder.path());
    proxy.tunnel_to(server.address());
    let pem = folder.path().join("authority.pem");
    fs_err::write(&pem, authority.pem()).expect("a certificate");
    let before = fs_err::read_to_string(world.environment.config()).expect("a configuration");
    world.environment.write_config(&format!(
        "{before}[network]\nhttps-proxy = \"{}\"\nno-proxy = [\"127.0.0.1\"]\nca-files = [\"{}\"]\n[registry.npm]\nnpmrc = false\nregistry = \"https://npm.example/\"\n",
        proxy.url(),
        pem.display()
    ));
    let address = format!("https://files.example/{path}");
    let steps = ["pnpm install --frozen-lockfile", "node -p 'require(\"left\")' >out"];
    let manifest = json!({ "name": "app", "version": "1.0.0", "dependencies": { "left": address } });
    let project = project("", &steps, &[])
        .file("app/package.json", manifest.to_string())
        .file("app/pnpm-lock.yaml", by_address(&address));
    let ran = world.build(&project, &["--locked", "--allow-dirty"]).failure(7);
    assert!(ran.stderr.contains("there is no bulla.lock"), "{}", ran.stderr);
    let digest = world.digest(&project);
    assert_eq!(said(&project), "left 1.0.0\n");
    let lock = project.read("bulla.lock");
    assert!(lock.contains(&format!("file = \"{address}\"")) && lock.contains("evidence = \"first use\""), "{lock}");
    let asked = server.requests().len();
    let again = world.build(&project, &["--no-cache", "--locked", "--allow-dirty"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    assert_eq!(server.requests().len(), asked, "it is there");
    assert_eq!(project.read("app/pnpm-lock.yaml"), by_address(&address), "it is as it was");
}

#[test]
fn the_client_itself_is_a_package_of_a_lock_file_beside_that_of_the_project() {
    let test = "pnpm out of a lock file of npm";
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped(test, &why);
    }
    let (Some(world), Some(archive)) = (node_world(test), client_archive("pnpm", PNPM)) else { return };
    let archive = fs_err::read(archive).expect("an archive");
    let package = NpmPackage::new("is-number", "6.0.0");
    let registry = NpmRegistry::serve(&[&package]);
    registry.mirror.fault(&format!("/pnpm/-/pnpm-{PNPM}.tgz"), Fault::Bytes(archive.clone()));
    use_registry(&world.environment, &registry);
    let tool = json!({ "version": PNPM, "integrity": integrity(&archive), "bin": { "pnpm": MAIN } });
    let wanted = json!({ "name": "tools", "dependencies": { "pnpm": PNPM } });
    let lock = json!({ "name": "tools", "lockfileVersion": 3, "requires": true,
        "packages": { "": wanted, "node_modules/pnpm": tool } });
    let steps = [
        "mkdir -p /tmp; npm ci --prefix tools && tools/node_modules/.bin/pnpm install --frozen-lockfile",
        "node -p 'require(\"is-number\")' >out",
    ];
    let project = project("}, {npm: tools/package-lock.json", &steps, &[&package])
        .file("app/tools/package.json", wanted.to_string())
        .file("app/tools/package-lock.json", lock.to_string());
    let text = project.read("bulla.yaml").replace(", pnpm]", "]");
    project.write("bulla.yaml", text);
    world.digest(&project);
    assert_eq!(said(&project), "is-number 6.0.0\n");
}

#[test]
fn lock_files_that_pnpm_wrote_are_read_with_all_that_they_may_have() {
    let test = "lock files of several versions of pnpm";
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped(test, &why);
    }
    let (odd, old, new) = (
        NpmPackage::new("is-odd", "3.0.1").depends("is-number", "^6.0.0"),
        NpmPackage::new("is-number", "6.0.0"),
        NpmPackage::new("is-number", "7.0.0"),
    );
    let peer = NpmPackage::new("plugin", "1.0.0").field("peerDependencies", json!({ "is-odd": "*" }));
    let own = NpmPackage::new("own", "1.0.0");
    let mac = NpmPackage::new("mac", "1.0.0").field("os", json!(["darwin"]));
    let registry = NpmRegistry::serve(&[&odd, &old, &new, &peer, &mac]);
    let manifest = json!({
        "name": "app", "version": "1.0.0", "private": true,
        "dependencies": { "is-odd": "3.0.1", "alias": "npm:is-number@7.0.0", "plugin": "1.0.0", "own": "file:own.tgz",
            "dir": "file:dir", "web": "workspace:*" },
        "optionalDependencies": { "mac": "1.0.0" },
        "pnpm": { "overrides": { "is-number@^6": "6.0.0" }, "patchedDependencies": { "is-odd@3.0.1": "patches/is-odd.patch" } },
    });
    let patch = "diff --git a/index.js b/index.js\n--- a/index.js\n+++ b/index.js\n@@ -1,1 +1,1 @@\n-module.exports = 'is-odd 3.0.1';\n+module.exports = 'patched';\n";
    for version in ["8.15.9", PNPM, "10.34.9"] {
        let Some(world) = pnpm_world(test, version) else { return };
        use_registry(&world.environment, &registry);
        let says = "node -p '[\"is-odd\", \"alias\", \"plugin\", \"own\", \"dir\", \"web\"].map(name => require(name)).join()' >out; ls node_modules/.pnpm | grep -c mac >>out || true";
        let project = project("", &["pnpm install --frozen-lockfile", says], &[&odd])
            .file("app/package.json", manifest.to_string())
            .file("app/pnpm-workspace.yaml", "packages:\n  - web\n")
            .file(
                "app/web/package.json",
                json!({ "name": "web", "version": "1.0.0", "dependencies": { "is-number": "7.0.0" } }).to_string(),
            )
            .file("app/web/index.js", "module.exports = 'web of ' + require('is-number');\n")
            .file("app/dir/package.json", json!({ "name": "dir", "version": "1.0.0" }).to_string())
            .file("app/dir/index.js", "module.exports = 'dir';\n")
            .file("app/patches/is-odd.patch", patch)
            .file("app/own.tgz", own.archive());
        fs_err::remove_file(project.path("app/pnpm-lock.yaml")).expect("removing it");
        let (tool, home) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let Some(main) = unpacked_client("pnpm", version, tool.path(), MAIN) else { return };
        let mut pnpm = client(&main, &project.path("app"), home.path(), &registry.url());
        process::output(pnpm.args(["install", "--lockfile-only", "--ignore-scripts"])).expect("pnpm with a network");
        let lock = project.read("app/pnpm-lock.yaml");
        assert!(lock.starts_with(if version.starts_with('8') {
            "lockfileVersion: '6.0'"
        } else {
            "lockfileVersion: '9.0'"
        }));
        registry.asked();
        let digest = world.digest(&project);
        assert!(!registry.asked().iter().any(|path| path.contains("mac")), "it is for another platform alone");
        assert_eq!(said(&project), "patched,is-number 7.0.0,plugin 1.0.0,own 1.0.0,dir,web of is-number 7.0.0\n0\n");
        assert_eq!(project.read("app/pnpm-lock.yaml"), lock, "it is as it was");
        let again = world.build(&project, &["--no-cache"]).success();
        assert_eq!(again.stdout.trim_end(), digest, "pnpm {version}");
    }
}
