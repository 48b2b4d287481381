//! The scripts of packages of npm: which run, as the spec says it, whatever a package says of itself.

use bulla_testkit::{
    NpmPackage, NpmRegistry, Project, Ran,
    npm::{npm_lock, npm_manifest},
};
use serde_json::{Map, Value, json};

use super::{
    npm::{node_world, unpacked, use_registry},
    world::{World, files, spec},
};

/// A package that notes when a script of it runs, and by which name.
fn noting(name: &str) -> NpmPackage {
    let note = |event: &str| format!("echo {event} of $npm_package_name in $PWD >>/src/app/ran");
    let events = ["preinstall", "install", "postinstall"];
    let scripts: Map<String, Value> = events.map(|event| (event.to_owned(), note(event).into())).into_iter().collect();
    NpmPackage::new(name, "1.0.0").field("scripts", scripts.into())
}

/// A project that installs what a lock file has, and gives what ran.
struct Attempt<'a> {
    world: &'a World,
    scripts: &'a str,
    lock: String,
    manifest: String,
    step: &'a str,
}

impl Attempt<'_> {
    fn project(&self) -> Project {
        let stage = format!("    dependencies: [{{npm: package-lock.json{}}}]\n", self.scripts);
        let steps = [&format!("touch ran; {}", self.step), "cp ran out"];
        let spec = spec(&stage, &steps, "/src/app/out").replace("packages: [tools]", "packages: [tools, node]");
        Project::with_spec(&spec).file("app/package.json", &self.manifest).file("app/package-lock.json", &self.lock)
    }

    fn ran(&self) -> (String, Ran) {
        let project = self.project();
        let built = self.world.build(&project, &[]).success();
        let (root, _folder) = unpacked(&project);
        (fs_err::read_to_string(root.join("out")).expect("what ran"), built)
    }
}

/// Puts scripts of its own into the project's `package.json`.
fn with_own_scripts(manifest: &str) -> String {
    let mut manifest: Value = serde_json::from_str(manifest).expect("JSON");
    manifest["scripts"] = json!({
        "postinstall": "echo postinstall of the project >>ran",
        "build": "echo build of the project >>ran",
    });
    manifest.to_string()
}

/// Leaves the package `shadowing` out of maps of a document.
fn less(text: &str, maps: &[&str]) -> String {
    let mut value: Value = serde_json::from_str(text).expect("JSON");
    for map in maps {
        let map = value.pointer_mut(map).and_then(Value::as_object_mut).expect("a map");
        map.retain(|name, _| !name.ends_with("shadowing"));
    }
    value.to_string()
}

/// Adds an entry to a lock file.
fn with_entry(lock: &str, location: &str, entry: Value) -> String {
    let mut lock: Value = serde_json::from_str(lock).expect("JSON");
    lock["packages"][location] = entry;
    lock.to_string()
}

#[test]
fn scripts_run_as_the_spec_says_and_those_of_the_project_always() {
    let test = "scripts of packages";
    let Some(world) = node_world(test) else { return };
    let (good, other) = (noting("@acme/good"), noting("other"));
    let native = NpmPackage::new("native", "1.0.0").file("binding.gyp", "{}");
    let registry = NpmRegistry::serve(&[&good, &other, &native]);
    use_registry(&world.environment, &registry);
    let attempt = |scripts: &'static str, packages: &[&NpmPackage]| {
        let (lock, manifest) = (npm_lock(packages), with_own_scripts(&npm_manifest(packages)));
        Attempt { world: &world, scripts, lock, manifest, step: "npm ci && npm run build" }
    };
    let own = "postinstall of the project\nbuild of the project\n";
    let of = |name: &str| {
        let line = |event: &str| format!("{event} of {name} in /src/app/node_modules/{name}\n");
        ["preinstall", "install", "postinstall"].map(line).concat()
    };
    // The control: without a word they run.
    let (ran, _) = attempt("", &[&good, &other]).ran();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&ran), sorted(&format!("{}{}{own}", of("@acme/good"), of("other"))));
    let (ran, built) = attempt(", scripts: deny", &[&good, &other, &native]).ran();
    assert_eq!(ran, own);
    for told in ["postinstall of /src/app/node_modules/@acme/good", "preinstall of /src/app/node_modules/other"] {
        assert!(built.stderr.contains(&format!("refused: {told}")), "{}", built.stderr);
    }
    let verbose = attempt(", scripts: deny", &[&native]);
    let built = world.build(&verbose.project(), &[]).success();
    let gyp = "refused: install of /src/app/node_modules/native (asked by node-gyp rebuild)";
    assert!(built.stderr.contains(gyp), "{}", built.stderr);
    let (ran, built) = attempt(", scripts: {allow: ['@acme/good', absent]}", &[&good, &other]).ran();
    assert_eq!(ran, format!("{}{own}", of("@acme/good")));
    assert!(!built.stderr.contains("node_modules/@acme/good"), "{}", built.stderr);
    // Both are in the record of the step.
    let records = files(&world.environment.store().join("actions"));
    let records: String = records
        .iter()
        .map(|file| String::from_utf8_lossy(&fs_err::read(file).expect("a record")).replace('\\', ""))
        .collect();
    for (place, ran) in [("@acme/good", true), ("other", false)] {
        let at = format!(r#""place":"/src/app/node_modules/{place}","event":"postinstall""#);
        let told = records
            .split(&at)
            .skip(1)
            .any(|rest| rest.split('}').next().is_some_and(|one| one.ends_with(&format!(r#""ran":{ran}"#))));
        assert!(told, "{place}: {records}");
    }
    let remark = "/src/app/package-lock.json: `scripts` allows those of `absent`, and no package of the registry has that name here";
    assert!(built.stderr.contains(remark), "{}", built.stderr);
}

#[test]
fn no_package_passes_for_an_allowed_one() {
    let test = "packages that claim to be others";
    let Some(world) = node_world(test) else { return };
    let good = noting("good");
    // A package with another name than its place has: what it says of itself is that of an allowed one.
    let alias = noting("evil");
    // What lies in another one's archive is whatever that one likes.
    let bundling = NpmPackage::new("bundling", "1.0.0")
        .field("bundleDependencies", json!(["good"]))
        .depends("good", "1.0.0")
        .file(
            "node_modules/good/package.json",
            json!({"name": "good", "version": "1.0.0", "scripts": {"install": "echo bundled >>/src/app/ran"}})
                .to_string(),
        );
    // Programs that a shell might call by name, and a variable that npm makes of the manifest.
    let programs = ["pwd", "cat", "sh", "echo", "printf", "dirname", "test", "["];
    let bins: Map<String, Value> = programs.iter().map(|name| ((*name).to_owned(), "bin.sh".into())).collect();
    let shadowing = noting("shadowing")
        .field("bin", bins.into())
        .file("bin.sh", "#!/bin/sh\necho shadowed >>/src/app/ran\n")
        .field("config", json!({"json": "/src/app/package.json"}));
    let archive = noting("good");
    let registry = NpmRegistry::serve(&[&good, &alias, &bundling, &shadowing]);
    use_registry(&world.environment, &registry);
    let all = [&bundling, &shadowing];
    let mut lock = npm_lock(&all);
    let aliased = json!({"name": "evil", "version": "1.0.0", "integrity": alias.integrity(), "hasInstallScript": true});
    lock = with_entry(&lock, "node_modules/good", aliased);
    let bundled = json!({"version": "1.0.0", "inBundle": true, "hasInstallScript": true});
    lock = with_entry(&lock, "node_modules/bundling/node_modules/good", bundled);
    // An archive of the source that says it is `good`.
    let file = json!({"name": "good", "version": "1.0.0", "resolved": "file:good.tgz", "integrity": archive.integrity(), "hasInstallScript": true});
    lock = with_entry(&lock, "node_modules/claimed", file);
    let wanted = json!({
        "good": "npm:evil@1.0.0", "bundling": "1.0.0", "shadowing": "1.0.0", "claimed": "file:good.tgz",
    });
    lock = with_entry(&lock, "", json!({"name": "app", "version": "1.0.0", "dependencies": wanted}));
    let manifest = json!({"name": "app", "version": "1.0.0", "dependencies": wanted}).to_string();
    let attempt = |scripts: &'static str, step: &'static str| {
        let (lock, manifest) = (lock.clone(), manifest.clone());
        Attempt { world: &world, scripts, lock, manifest, step }
    };
    let build = |attempt: &Attempt<'_>| {
        let project = attempt.project().file("app/good.tgz", archive.archive());
        world.build(&project, &[]).success();
        let (root, _folder) = unpacked(&project);
        fs_err::read_to_string(root.join("out")).expect("what ran")
    };
    assert_eq!(build(&attempt(", scripts: {allow: [good]}", "npm ci; npm rebuild")), "");
    // A place may be allowed, and the package that is really there.
    let ran = build(&attempt(", scripts: {allow: [node_modules/claimed]}", "npm ci"));
    assert!(ran.lines().count() == 3 && ran.contains("postinstall of good in /src/app/node_modules/claimed"), "{ran}");
    let ran = build(&attempt(", scripts: {allow: [evil]}", "npm ci"));
    assert!(ran.lines().count() == 3 && ran.contains("postinstall of evil in /src/app/node_modules/good"), "{ran}");
    // The control: they would run; the first is the one that takes the place of the shell.
    let ran = build(&attempt("", "npm ci"));
    assert!(ran.contains("shadowed"), "{ran}");
    let mut without = attempt("", "npm ci; npm rebuild");
    without.manifest = less(&without.manifest, &["/dependencies"]);
    without.lock = less(&without.lock, &["/packages//dependencies", "/packages"]);
    let ran = build(&without);
    for what in ["of evil in", "bundled", "of good in"] {
        assert!(ran.contains(what), "{what}: {ran}");
    }
}

#[test]
fn a_variable_that_would_have_denied_scripts_run_is_an_error() {
    let test = "a variable against denied scripts";
    let Some(world) = World::new(test) else { return };
    let package = noting("left-pad");
    let registry = NpmRegistry::serve(&[&package]);
    use_registry(&world.environment, &registry);
    let build = |variable: &str| {
        let stage = format!(
            "    dependencies: [{{npm: package-lock.json, scripts: deny}}]\n    env: {{{variable}: /bin/sh}}\n"
        );
        let project = Project::with_spec(&spec(&stage, &["echo >out"], "/src/app/out"))
            .file("app/package-lock.json", npm_lock(&[&package]));
        world.build(&project, &[])
    };
    for variable in ["npm_config_script_shell", "NPM_CONFIG_SCRIPT_SHELL"] {
        let ran = build(variable).failure(3);
        let told = format!("`scripts` denies some, and the variable `{variable}` of the step would have them run");
        assert!(ran.stderr.contains(&told), "{}", ran.stderr);
    }
    build("npm_config_script_shells").success();
}

#[test]
fn scripts_see_no_secret_that_their_step_was_not_given() {
    let test = "scripts of packages and secrets";
    let Some(world) = node_world(test) else { return };
    // The pattern is none of what it finds: npm has the command in a variable.
    let looks = "(env; cat /run/secrets/*; cat /proc/*/environ) 2>/dev/null | tr '\\0' '\\n' | grep -c SECRET[-]WORD >>/src/app/ran; true";
    let package = NpmPackage::new("looking", "1.0.0").field("scripts", json!({ "postinstall": looks }));
    let registry = NpmRegistry::serve(&[&package]);
    use_registry(&world.environment, &registry);
    let build = |secrets: &str| {
        let stage = "    dependencies: [{npm: package-lock.json}]\n    steps:\n";
        let text = spec("", &["cp ran out"], "/src/app/out").replace("packages: [tools]", "packages: [tools, node]");
        let with_step = text.replace(
            "    steps:\n",
            &format!("{stage}      - run: npm ci\n{secrets}      - run: test -n \"$TOKEN\"\n        secrets: [{{id: token, env: TOKEN}}]\n"),
        );
        let project = Project::with_spec(&with_step)
            .file("app/package.json", npm_manifest(&[&package]))
            .file("app/package-lock.json", npm_lock(&[&package]))
            .file("token", "the SECRET-WORD of this test");
        world.build(&project, &["--secret", "id=token,file=token"]).success();
        let (root, _folder) = unpacked(&project);
        fs_err::read_to_string(root.join("out")).expect("what it saw")
    };
    assert_eq!(build(""), "0\n");
    // The control: where the step has it, the script finds it.
    assert_ne!(build("        secrets: [token]\n"), "0\n");
}
