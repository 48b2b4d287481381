//! Modules of Go that `go.sum` names: fetched, and found by the distribution's own `go` in a step that has no network.

use std::{path::Path, sync::OnceLock};

use bulla_testkit::{
    GoModule, GoProxy, Project, TestEnvironment,
    go::{debian_go, go, go_program, go_sum},
    process,
};

use super::modules::{Real, spec, unpacked};

fn world() -> Option<&'static Real> {
    static WORLD: OnceLock<Option<Real>> = OnceLock::new();
    WORLD.get_or_init(|| Real::new("go in a step", &["golang-go"])).as_ref()
}

fn proxied(proxy: &GoProxy) -> String {
    format!("[registry.go]\ngo-env = false\nproxy = \"{}\"\n", proxy.url())
}

/// Modules of which one needs another.
fn modules() -> [GoModule; 3] {
    [
        GoModule::new("example.com/Acme/greet/v2", "v2.1.0").requires("example.com/once", "v1.0.0"),
        GoModule::new("example.com/once", "v1.0.0"),
        GoModule::new("example.com/pseudo", "v0.0.0-20191109021931-daa7c04131f5"),
    ]
}

/// Writes a program that needs modules into a folder of a project.
fn program(project: &Project, folder: &str, wanted: &[&GoModule], locked: &[&GoModule]) {
    for (name, text) in go_program(wanted) {
        project.write(&format!("{folder}/{name}"), text);
    }
    project.write(&format!("{folder}/go.sum"), go_sum(locked));
}

fn project(steps: &[&str], wanted: &[&GoModule], locked: &[&GoModule]) -> Project {
    let project = Project::with_spec(&with_cgo_off(&spec("golang-go", "[{go: go.sum}]", steps)));
    program(&project, "app", wanted, locked);
    project
}

/// Compiled code goes nowhere, and none of it is C.
fn with_cgo_off(spec: &str) -> String {
    spec.replace("    steps:\n", "    env: {CGO_ENABLED: \"0\", GOCACHE: /tmp/go}\n    steps:\n")
}

const BUILD: &str = "go build -trimpath -o out/app .; out/app 2>out/said; cp go.mod go.sum out";

#[track_caller]
fn build(environment: &TestEnvironment, project: &Project, arguments: &[&str]) -> String {
    environment.run(project, &[&["build"], arguments].concat()).success().stdout.trim_end().to_owned()
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    fs_err::read(folder.join("out").join(name)).expect("a file of the output")
}

#[test]
fn go_build_in_a_step_gives_what_it_gives_with_a_network() {
    let Some(world) = world() else { return };
    let all = modules();
    let all: Vec<&GoModule> = all.iter().collect();
    let proxy = GoProxy::serve(&all);
    let environment = world.environment(&proxied(&proxy));
    let project = project(&[BUILD], &all, &all);
    let digest = build(&environment, &project, &[]);
    let asked = proxy.asked();
    assert_eq!(asked.len(), 6, "{asked:?}");
    assert!(asked.contains(&"/example.com/!acme/greet/v2/@v/v2.1.0.zip".to_owned()), "{asked:?}");
    let root = unpacked(&project);
    let said = String::from_utf8(read(root.path(), "said")).expect("UTF-8");
    assert_eq!(
        said,
        "app, example.com/Acme/greet/v2 v2.1.0, example.com/once v1.0.0, example.com/once v1.0.0, example.com/pseudo v0.0.0-20191109021931-daa7c04131f5\n"
    );
    for name in ["go.mod", "go.sum"] {
        assert_eq!(read(root.path(), name), project.read(&format!("app/{name}")).into_bytes(), "{name}");
    }
    // Each further build compiles Go's own library again, which takes half a minute of a processor.
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped("the same build once more, and with a network", &why);
    }
    // What is there is not asked for again, also when the step runs again; and what comes out is the same.
    assert_eq!(build(&environment, &project, &["--no-cache"]), digest);
    assert_eq!(proxy.asked(), Vec::<String>::new());
    // The same by the same Go with a network.
    let Some(client) = debian_go() else { return };
    let (online, home) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    for name in ["go.mod", "go.sum", "main.go"] {
        fs_err::copy(project.path("app").join(name), online.path().join(name)).expect("copying");
    }
    let mut theirs = go(&client, online.path(), home.path(), &proxy.url());
    process::output(theirs.args(["build", "-trimpath", "-o", "app", "."])).expect("it is built with a network");
    assert!(!proxy.asked().is_empty(), "the control: with a network the proxy is asked");
    assert!(fs_err::read(online.path().join("app")).expect("a program") == read(root.path(), "app"), "they differ");
}

#[test]
fn several_go_sums_of_a_stage_are_served_together() {
    let Some(world) = world() else { return };
    let word = |version: &str| GoModule::new("example.com/word", version);
    let (old, new, next) = (word("v1.0.0"), word("v1.2.0"), word("v1.3.0-rc.1"));
    let proxy = GoProxy::serve(&[&old, &new, &next]);
    let environment = world.environment(&proxied(&proxy));
    let steps = [
        "mkdir out; for one in one two; do (cd $one; go build -o /tmp/$one .; /tmp/$one 2>../out/$one); done",
        "cd one; go list -m -versions example.com/word >../out/list; go list -m example.com/word@latest >>../out/list",
    ];
    let dependencies = "[{go: one/go.sum}, {go: two/go.sum}, {go: three/go.sum}]";
    let project = Project::with_spec(&with_cgo_off(&spec("golang-go", dependencies, &steps)));
    for (folder, module) in [("app/one", &old), ("app/two", &new), ("app/three", &next)] {
        program(&project, folder, &[module], &[module]);
    }
    build(&environment, &project, &[]);
    let root = unpacked(&project);
    let said = |name: &str| String::from_utf8(read(root.path(), name)).expect("UTF-8");
    assert_eq!(
        (said("one"), said("two")),
        ("app, example.com/word v1.0.0\n".into(), "app, example.com/word v1.2.0\n".into())
    );
    assert_eq!(said("list"), "example.com/word v1.0.0 v1.2.0 v1.3.0-rc.1\nexample.com/word v1.2.0\n");
    // Two sums of one version cannot both be given.
    let other = word("v1.0.0").file("evil.go", "package word\n");
    project.write("app/two/go.sum", go_sum(&[&other]));
    let evil = GoProxy::serve(&[&other]);
    let both = format!("[registry.go]\ngo-env = false\nproxy = \"{}|{}\"\n", proxy.url(), evil.url());
    let ran = world.environment(&both).run(&project, &["build"]);
    assert_ne!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("other bytes") || ran.stderr.contains("name different things"), "{}", ran.stderr);
}

#[test]
fn what_is_not_in_go_sum_is_explained() {
    let Some(world) = world() else { return };
    let word = |version: &str| GoModule::new("example.com/word", version);
    let (old, new, other) = (word("v1.0.0"), word("v1.1.0"), GoModule::new("example.com/other", "v1.0.0"));
    let proxy = GoProxy::serve(&[&old, &new, &other]);
    let environment = world.environment(&proxied(&proxy));
    let asks = |step: &str, wanted: &GoModule| {
        let project = project(&[step], &[wanted], &[&old]);
        let ran = environment.run(&project, &["build"]);
        assert_ne!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    let tidy = "Run `go mod tidy`, commit go.mod and go.sum, build again.";
    let told = asks("go build -o out .", &new);
    let said = "go has no sum of what has example.com/word; go.sum has example.com/word v1.0.0.";
    assert!(told.contains(&format!("{said} {tidy}")), "{told}");
    let told = asks("go get example.com/other@v1.0.0", &old);
    assert!(
        told.contains(&format!("go asked for example.com/other v1.0.0; go.sum has no version of it. {tidy}")),
        "{told}"
    );
    let told = asks("go run example.com/tool@latest", &old);
    assert!(told.contains("go asked for example.com/tool; go.sum has no version of it."), "{told}");
}

#[test]
fn twenty_updates_by_the_client_itself_are_built_locked() {
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped("twenty updates by go", &why);
    }
    let (Some(world), Some(client)) = (world(), debian_go()) else { return };
    let modules: Vec<GoModule> = updates_modules();
    let proxy = GoProxy::serve(&modules.iter().collect::<Vec<_>>());
    let environment = world.environment(&proxied(&proxy));
    // Without `-trimpath` the distribution's own packages are not compiled anew each time.
    let project = project(&[&BUILD.replace("-trimpath ", "")], &[], &[]);
    let app = project.path("app");
    let home = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| {
        process::output(go(&client, &app, home.path(), &proxy.url()).args(arguments)).expect("go does it")
    };
    let uses = |packages: &[&str]| {
        let imports: String =
            packages.iter().enumerate().map(|(at, path)| format!("import p{at} \"{path}\"\n")).collect();
        let calls: String = (0..packages.len()).map(|at| format!(", p{at}.Word()")).collect();
        project.write("app/main.go", format!("package main\n\n{imports}\nfunc main() {{ println(\"app\"{calls}) }}\n"));
    };
    project.write("app/local/go.mod", "module example.com/b\n\ngo 1.19\n");
    project.write("app/local/word.go", "package b\n\nfunc Word() string { return \"local\" }\n");
    environment.run(&project, &["lock"]).success();
    let lock = project.read("bulla.lock");
    let (a, b, c, d) = ("example.com/a", "example.com/b", "example.com/c", "example.com/d");
    let updates: [(&[&str], &[&str], &str); 20] = [
        (&[a], &["get", "example.com/a@v1.0.0"], "a v1.0.0"),
        (&[a], &["get", "example.com/a@v1.0.1"], "a v1.0.1"),
        (&[a], &["get", "example.com/a@v1.1.0"], "a v1.1.0, example.com/c v1.0.0"),
        (&[a, b], &["get", "example.com/b@v1.0.0"], "b v1.0.0"),
        (&[a, b], &["get", "-u=patch", "example.com/b"], "b v1.0.2"),
        (&[a, b, c], &["get", "example.com/c@v1.2.0"], "c v1.2.0"),
        (&[a, b, c], &["get", "example.com/c@v1.1.0"], "c v1.1.0"),
        (&[b, c], &["mod", "tidy"], "b v1.0.2"),
        (&[b, c, d], &["get", "example.com/d@v0.0.0-20200101000000-abcdefabcdef"], "d v0.0.0-2020"),
        (&[b, c, d], &["get", "example.com/d@v0.1.0"], "d v0.1.0"),
        (&[b, c, d], &["get", "-u", "./..."], "c v1.2.0"),
        (&[b, c, "example.com/d/v2"], &["get", "example.com/d/v2@latest"], "d/v2 v2.0.0"),
        (&[b, c, "example.com/d/v2", d], &["get", "example.com/d@v0.1.0"], "d v0.1.0"),
        (&[b, c, "example.com/Upper"], &["get", "example.com/Upper@v1.0.0"], "Upper v1.0.0"),
        (&[b, "example.com/old"], &["get", "example.com/old@v3.0.0+incompatible"], "old v3.0.0+incompatible"),
        (&[b], &["mod", "edit", "-replace=example.com/b=./local"], "local"),
        (&[b], &["mod", "edit", "-replace=example.com/b=example.com/fork@v1.0.0"], "fork v1.0.0"),
        (&[b], &["mod", "edit", "-dropreplace=example.com/b"], "b v1.0.2"),
        (&[b], &["get", "example.com/b@v1.1.0-rc.1"], "b v1.1.0-rc.1"),
        (&[], &["mod", "tidy"], "app\n"),
    ];
    for (packages, command, word) in updates {
        uses(packages);
        run(command);
        run(&["mod", "tidy"]);
        if !app.join("go.sum").exists() {
            // Without any dependency there is none.
            project.write("app/go.sum", "");
        }
        let before = [project.read("app/go.mod"), project.read("app/go.sum")];
        build(&environment, &project, &["--locked"]);
        assert_eq!([project.read("app/go.mod"), project.read("app/go.sum")], before, "{command:?}");
        assert_eq!(project.read("bulla.lock"), lock, "{command:?}");
        let said = String::from_utf8(read(unpacked(&project).path(), "said")).expect("UTF-8");
        assert!(said.contains(word), "{command:?}: {said}");
    }
}

fn updates_modules() -> Vec<GoModule> {
    let plain = |path: &str, versions: &[&str]| {
        versions.iter().map(|version| GoModule::new(&format!("example.com/{path}"), version)).collect::<Vec<_>>()
    };
    let mut all = plain("a", &["v1.0.0", "v1.0.1"]);
    all.push(GoModule::new("example.com/a", "v1.1.0").requires("example.com/c", "v1.0.0"));
    all.extend(plain("b", &["v1.0.0", "v1.0.1", "v1.0.2", "v1.1.0-rc.1"]));
    all.extend(plain("c", &["v1.0.0", "v1.1.0", "v1.2.0"]));
    all.extend(plain("d", &["v0.0.0-20200101000000-abcdefabcdef", "v0.1.0"]));
    all.extend(plain("d/v2", &["v2.0.0"]));
    all.extend(plain("Upper", &["v1.0.0"]));
    all.extend(plain("old", &["v3.0.0+incompatible"]));
    // A fork goes by the name of what it stands for.
    let fork = GoModule::new("example.com/fork", "v1.0.0");
    all.push(fork);
    all
}
