//! Crates that `Cargo.lock` names: fetched, and found by the distribution's own `cargo` in a step that has no network.

use std::{path::Path, process::Command, sync::OnceLock};

use bulla_testkit::{
    Crate, CrateRegistry, Project, TestEnvironment,
    crates::{cargo_lock, cargo_package, cargo_program},
    language, process, skipped,
};

use super::modules::{Real, spec, unpacked};

pub(super) fn world() -> Option<&'static Real> {
    static WORLD: OnceLock<Option<Real>> = OnceLock::new();
    WORLD.get_or_init(|| Real::new("cargo in a step", &[cargo_package(), "gcc", "libc6-dev"])).as_ref()
}

pub(super) fn registry_of(registry: &CrateRegistry) -> String {
    format!("[registry.cargo]\ncargo-config = false\nregistry = \"{}\"\n", registry.index())
}

const BUILD: &str = "cargo build --locked; mkdir out; cp target/debug/app out/app; out/app >out/said; cp Cargo.toml Cargo.lock out; rm -r target";

pub(super) fn spec_of(dependencies: &str, steps: &[&str]) -> String {
    spec(&format!("{}, gcc, libc6-dev", cargo_package()), dependencies, steps)
}

/// Writes a program that needs crates into a folder of a project.
fn program(project: &Project, folder: &str, wanted: &[&Crate], all: &[&Crate]) {
    for (name, text) in cargo_program(wanted) {
        project.write(&format!("{folder}/{name}"), text);
    }
    project.write(&format!("{folder}/Cargo.lock"), cargo_lock(wanted, all));
}

fn project(steps: &[&str], wanted: &[&Crate], all: &[&Crate]) -> Project {
    let project = Project::with_spec(&spec_of("[{cargo: Cargo.lock}]", steps));
    program(&project, "app", wanted, all);
    project
}

#[track_caller]
fn build(environment: &TestEnvironment, project: &Project, arguments: &[&str]) -> String {
    environment.run(project, &[&["build"], arguments].concat()).success().stdout.trim_end().to_owned()
}

fn read(folder: &Path, name: &str) -> String {
    String::from_utf8_lossy(&fs_err::read(folder.join("out").join(name)).expect("a file of the output")).into_owned()
}

#[test]
fn cargo_build_in_a_step_finds_what_is_locked_and_leaves_nothing_behind() {
    let Some(world) = world() else { return };
    let (greet, word) = (Crate::new("Greet_it", "2.1.0").depends("once", "1"), Crate::new("once", "1.0.0"));
    let newer = Crate::new("once", "1.1.0");
    let registry = CrateRegistry::serve(&[&greet, &word, &newer]);
    let environment = world.environment(&registry_of(&registry));
    let steps = [BUILD, "cargo --version; test ! -e /run/bulla/cache/cargo/registry"];
    let project = project(&steps, &[&greet], &[&greet, &word]);
    let digest = build(&environment, &project, &[]);
    assert_eq!(registry.asked(), ["/config.json", "/dl/Greet_it/2.1.0/download", "/dl/once/1.0.0/download"]);
    let root = unpacked(&project);
    assert_eq!(read(root.path(), "said"), "app, Greet_it 2.1.0, once 1.0.0\n");
    for name in ["Cargo.toml", "Cargo.lock"] {
        assert_eq!(read(root.path(), name), project.read(&format!("app/{name}")), "{name}");
    }
    // What is there is not asked for again, and what comes out is the same.
    assert_eq!(build(&environment, &project, &["--no-cache"]), digest);
    assert_eq!(registry.asked(), Vec::<String>::new());
    // A step sees cargo's settings while it runs, and the mount point of them is in no delta.
    let seen = self::project(&["cat /.cargo/config.toml >out"], &[&greet], &[&greet, &word]);
    build(&environment, &seen, &[]);
    assert!(fs_err::read_to_string(unpacked(&seen).path().join("out")).expect("a file").contains("bulla"));
    let spec = seen.read("bulla.yaml").replace("{out: /src/app/out}", "{out: /.cargo}");
    seen.write("bulla.yaml", spec);
    let ran = environment.run(&seen, &["build"]);
    assert!(ran.code != Some(0) && ran.stderr.contains("/.cargo"), "{}", ran.stderr);
}

#[test]
fn workspaces_patches_scripts_and_tools_find_their_crates_in_a_folder_that_nothing_can_write() {
    let Some(world) = world() else { return };
    let word = Crate::new("word", "1.0.0");
    let scripted = Crate::new("scripted", "1.0.0").manifest("build = \"build.rs\"\n").file(
        "build.rs",
        "fn main() { println!(\"cargo::rustc-env=MADE={}\", std::env::var(\"CARGO_MANIFEST_DIR\").unwrap()); }\n",
    );
    let scripted = scripted.file("src/lib.rs", "pub fn word() -> String { env!(\"MADE\").to_owned() }\n");
    let part = Crate::new("part", "1.0.0");
    // One that depends on nothing cannot be installed out of folders by cargo 1.96.
    let tool = Crate::new("tool", "1.0.0")
        .depends("part", "1")
        .file("src/main.rs", "fn main() { print!(\"{}\", tool::word()) }\n");
    let registry = CrateRegistry::serve(&[&word, &scripted, &part, &tool]);
    let environment = world.environment(&registry_of(&registry));
    let crates = "/run/bulla/crates/crates-io";
    let steps = [
        "mkdir out; cargo run --quiet --locked -p app >out/said; rm -r target".to_owned(),
        format!("ls -a {crates} >out/listed; ! touch {crates}/tool-1.0.0/x; ! rm -r {crates}/tool-1.0.0"),
        "cargo install --quiet --root /tmp/it tool; /tmp/it/bin/tool >out/tool".to_owned(),
    ];
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let all = [&word, &scripted, &part, &tool];
    let project = project(&steps, &[&word, &scripted], &all[..2]);
    // A crate of the project's own stands in the place of a published one, in a workspace.
    let manifest = project.read("app/Cargo.toml");
    project.write(
        "app/Cargo.toml",
        format!("{manifest}\n[workspace]\nmembers = [\"more\"]\n[patch.crates-io]\nword = {{ path = \"patched\" }}\n"),
    );
    let own = |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\n");
    project.write("app/patched/Cargo.toml", own("word"));
    project.write("app/patched/src/lib.rs", "pub fn word() -> String { \"patched\".to_owned() }\n");
    project.write("app/more/Cargo.toml", format!("{}[dependencies]\ntool = \"1\"\n", own("more")));
    project.write("app/more/src/lib.rs", "");
    let lock = cargo_lock(&[&word, &scripted], &all);
    let (source, sum) = ("source = \"registry+https://github.com/rust-lang/crates.io-index\"\n", word.checksum());
    let published = format!("name = \"word\"\nversion = \"1.0.0\"\n{source}checksum = \"{sum}\"\n");
    assert!(lock.contains(&published), "{lock}");
    let lock = lock.replace(&published, "name = \"word\"\nversion = \"1.0.0\"\n");
    let more = "[[package]]\nname = \"more\"\nversion = \"1.0.0\"\ndependencies = [\n \"tool\",\n]\n\n[[package]]\nname = \"scripted\"";
    project.write("app/Cargo.lock", lock.replace("[[package]]\nname = \"scripted\"", more));
    build(&environment, &project, &[]);
    let root = unpacked(&project);
    assert_eq!(read(root.path(), "said"), format!("app, patched, {crates}/scripted-1.0.0\n"));
    assert_eq!(read(root.path(), "tool"), "tool 1.0.0, part 1.0.0");
    assert_eq!(read(root.path(), "listed"), ".\n..\npart-1.0.0\nscripted-1.0.0\ntool-1.0.0\n");
}

#[test]
fn several_cargo_locks_of_a_stage_are_served_together() {
    let Some(world) = world() else { return };
    let (old, new) = (Crate::new("word", "1.0.0"), Crate::new("word", "1.1.0"));
    let registry = CrateRegistry::serve(&[&old, &new]);
    let environment = world.environment(&registry_of(&registry));
    let steps = ["mkdir out; for one in one two; do (cd $one; cargo run --quiet --locked >../out/$one); done"];
    let both = Project::with_spec(&spec_of("[{cargo: one/Cargo.lock}, {cargo: two/Cargo.lock}]", &steps));
    program(&both, "app/one", &[&old], &[&old]);
    program(&both, "app/two", &[&new], &[&new]);
    build(&environment, &both, &[]);
    let root = unpacked(&both);
    let said = ["one", "two"].map(|name| read(root.path(), name));
    assert_eq!(said, ["app, word 1.0.0\n", "app, word 1.1.0\n"]);
}

#[test]
fn what_is_not_in_cargo_lock_is_explained() {
    let Some(world) = world() else { return };
    let (old, new, other) = (Crate::new("word", "1.0.0"), Crate::new("word", "1.1.0"), Crate::new("other", "1.0.0"));
    let registry = CrateRegistry::serve(&[&old, &new, &other]);
    let environment = world.environment(&registry_of(&registry));
    let asks = |step: &str, wanted: &Crate| {
        let project = project(&[step], &[wanted], &[wanted]);
        project.write("app/Cargo.lock", cargo_lock(&[&old], &[&old]));
        let ran = environment.run(&project, &["build"]);
        assert_ne!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    let told = asks("cargo build", &other);
    assert!(
        told.contains("cargo asked for other; Cargo.lock has no version of it. Run `cargo update --workspace`, commit Cargo.lock, build again."),
        "{told}"
    );
    let told = asks("cargo build", &new);
    assert!(
        told.contains("cargo asked for word ^1.1.0; Cargo.lock has 1.0.0. Run `cargo update -p word`, commit Cargo.lock, build again."),
        "{told}"
    );
    let told = asks("cargo install nothing-of-this-name", &old);
    assert!(told.contains("cargo asked for nothing-of-this-name; Cargo.lock has no version of it."), "{told}");
}

#[test]
fn twenty_updates_by_the_client_itself_are_built_locked() {
    if let Err(why) = bulla_testkit::clients() {
        return bulla_testkit::skipped("twenty updates by cargo", &why);
    }
    let Some(world) = world() else { return };
    if let Err(why) = process::output(Command::new("cargo").arg("--version")) {
        return skipped("twenty updates by cargo", &why);
    }
    let plain =
        |name: &str, versions: &[&str]| versions.iter().map(|version| Crate::new(name, version)).collect::<Vec<_>>();
    let mut all = plain("a", &["1.0.0", "1.0.1"]);
    all.push(Crate::new("a", "1.1.0").depends("c", "1"));
    all.extend(plain("b", &["0.1.0", "0.1.1", "0.2.0", "0.3.0-rc.1"]));
    all.extend(plain("c", &["1.0.0", "1.1.0", "1.2.0", "2.0.0"]));
    all.extend(plain("with-dash", &["1.0.0"]));
    let registry = CrateRegistry::serve(&all.iter().collect::<Vec<_>>());
    let environment = world.environment(&registry_of(&registry));
    let project = project(&[BUILD], &[], &[]);
    let app = project.path("app");
    let home = tempfile::tempdir().expect("a folder");
    fs_err::write(home.path().join("config.toml"), registry.settings()).expect("settings");
    environment.run(&project, &["lock"]).success();
    let lock = project.read("bulla.lock");
    let updates: [(&[&str], &[&str], &str); 20] = [
        (&["a"], &["add", "a@=1.0.0"], "app, a 1.0.0\n"),
        (&["a"], &["add", "a@1.0.0"], "app, a 1.0.0\n"),
        (&["a"], &["update", "a", "--precise", "1.0.1"], "app, a 1.0.1\n"),
        (&["a"], &["update", "a"], "app, a 1.1.0, c 1.2.0\n"),
        (&["a"], &["update", "c", "--precise", "1.0.0"], "app, a 1.1.0, c 1.0.0\n"),
        (&["a"], &["update", "c", "--precise", "1.1.0"], "app, a 1.1.0, c 1.1.0\n"),
        (&["a"], &["update"], "app, a 1.1.0, c 1.2.0\n"),
        (&["a", "b"], &["add", "b@0.1.0"], "app, a 1.1.0, c 1.2.0, b 0.1.1\n"),
        (&["a", "b"], &["update", "b", "--precise", "0.1.0"], "app, a 1.1.0, c 1.2.0, b 0.1.0\n"),
        (&["a", "b"], &["add", "b@0.2"], "app, a 1.1.0, c 1.2.0, b 0.2.0\n"),
        (&["a", "b"], &["add", "b@=0.3.0-rc.1"], "app, a 1.1.0, c 1.2.0, b 0.3.0-rc.1\n"),
        (&["b"], &["remove", "a"], "app, b 0.3.0-rc.1\n"),
        (&["b", "c"], &["add", "c@2"], "app, b 0.3.0-rc.1, c 2.0.0\n"),
        (&["a", "b", "c"], &["add", "a@1"], "app, a 1.1.0, c 1.2.0, b 0.3.0-rc.1, c 2.0.0\n"),
        (&["a", "b", "c"], &["update", "a", "--precise", "1.0.1"], "app, a 1.0.1, b 0.3.0-rc.1, c 2.0.0\n"),
        (&["a", "c"], &["remove", "b"], "app, a 1.0.1, c 2.0.0\n"),
        (&["a", "c", "with-dash"], &["add", "with-dash"], "app, a 1.0.1, c 2.0.0, with-dash 1.0.0\n"),
        (&["a", "with-dash"], &["remove", "c"], "app, a 1.0.1, with-dash 1.0.0\n"),
        (&["with-dash"], &["remove", "a"], "app, with-dash 1.0.0\n"),
        (&[], &["remove", "with-dash"], "app\n"),
    ];
    for (crates, command, said) in updates {
        let calls: String =
            crates.iter().map(|name| format!(" + \", \" + &{}::word()", name.replace('-', "_"))).collect();
        project.write("app/src/main.rs", format!("fn main() {{ println!(\"{{}}\", \"app\".to_owned(){calls}); }}\n"));
        process::output(language::cargo(&app, home.path()).args(command)).expect("cargo does it");
        if ["add", "remove"].contains(&command[0]) {
            // These leave the lock file to the next command.
            process::output(language::cargo(&app, home.path()).args(["metadata", "--format-version", "1"]))
                .expect("it is locked");
        }
        let before = [project.read("app/Cargo.toml"), project.read("app/Cargo.lock")];
        build(&environment, &project, &["--locked"]);
        assert_eq!([project.read("app/Cargo.toml"), project.read("app/Cargo.lock")], before, "{command:?}");
        assert_eq!(project.read("bulla.lock"), lock, "{command:?}");
        assert_eq!(read(unpacked(&project).path(), "said"), said, "{command:?}");
    }
}
