//! What a hostile registry, lock file or project tries when crates are fetched; each with a control.

use bulla_testkit::{
    Crate, CrateRegistry, Fault, Project, Ran, TestEnvironment,
    crates::{cargo_lock, cargo_lock_from},
};
use serde_json::json;

use super::{
    modules::{configure, with_word},
    online,
    world::{self, World},
};

/// A project whose stage names a lock file. Nothing is run.
fn project(lock: &str) -> Project {
    let spec = "bulla: 1
name: shop
sources:
  app: {path: .}
stages:
  build:
    from: {debian: trixie, suites: [trixie], packages: [make]}
    dependencies: [{cargo: Cargo.lock}]
    steps:
      - cargo build
image:
  from: {debian: trixie, suites: [trixie], packages: [libshop]}
  user: 65532
";
    Project::with_spec(spec).file("Cargo.lock", lock)
}

fn locked(one: &Crate) -> Project {
    project(&cargo_lock(&[one], &[one]))
}

fn fetch(environment: &TestEnvironment, project: &Project) -> Ran {
    environment.run(project, &["fetch"])
}

fn registry_of(registry: &CrateRegistry) -> String {
    format!("[registry.cargo]\ncargo-config = false\nregistry = \"{}\"\n", registry.index())
}

/// Writes a file of cargo's settings of the user.
fn settings(environment: &TestEnvironment, name: &str, text: &str) {
    let folder = environment.folder().join("home/.cargo");
    fs_err::create_dir_all(&folder).expect("a folder");
    fs_err::write(folder.join(name), text).expect("the settings");
}

#[test]
fn a_registry_that_gives_other_bytes_is_refused() {
    let (_repo, _mirror, environment) = online();
    let (good, other) = (Crate::new("word", "1.0.0"), Crate::new("word", "1.0.0").file("build.rs", "fn main() {}"));
    let registry = CrateRegistry::serve(&[&good]);
    configure(&environment, &registry_of(&registry));
    registry.mirror.fault(&good.place(), Fault::Bytes(other.archive()));
    let ran = fetch(&environment, &locked(&good)).failure(5);
    assert!(ran.stderr.contains("fetching word 1.0.0, which Cargo.lock:"), "{}", ran.stderr);
    assert!(ran.stderr.contains("gives other bytes than the lock file says"), "{}", ran.stderr);
    // The control: it is the bytes that were refused.
    registry.mirror.heal();
    fetch(&environment, &locked(&good)).success();
}

#[test]
fn a_token_goes_to_its_own_registry_and_only_where_one_is_wanted() {
    let module = Crate::new("word", "1.0.0");
    let attempt = |config: &dyn Fn(&CrateRegistry, &CrateRegistry) -> String| {
        let (_repo, _mirror, environment) = online();
        let (registry, elsewhere) = (CrateRegistry::serve(&[&module]), CrateRegistry::serve(&[&module]));
        registry.says(&config(&registry, &elsewhere));
        let index = registry.index();
        settings(
            &environment,
            "config.toml",
            &format!("[registries.corp]\nindex = \"{index}\"\n[source.crates-io]\nreplace-with = \"corp\"\n"),
        );
        settings(&environment, "credentials.toml", "[registries.corp]\ntoken = \"hidden-word\"\n");
        let ran = fetch(&environment, &locked(&module)).success();
        assert!(!ran.stderr.contains("hidden-word"));
        assert_eq!(with_word(&environment.store(), "hidden-word"), Vec::<std::path::PathBuf>::new());
        [registry, elsewhere].map(|registry| {
            let requests = registry.mirror.requests().into_iter();
            let asked = requests.map(|request| {
                let login = request.header("authorization").map(str::to_owned);
                assert!(login.as_deref().is_none_or(|login| login == "hidden-word"));
                format!("{}{}", request.path, if login.is_some() { " with a login" } else { "" })
            });
            asked.collect::<Vec<_>>()
        })
    };
    let dl = |registry: &CrateRegistry| format!("{}/dl", registry.mirror.url());
    // The control: who the token is for, and wants one, gets it.
    let [own, other] = attempt(&|own, _| json!({ "dl": dl(own), "auth-required": true }).to_string());
    assert_eq!(own, ["/config.json", "/dl/word/1.0.0/download with a login"]);
    assert!(other.is_empty());
    let [own, _] = attempt(&|own, _| json!({ "dl": dl(own) }).to_string());
    assert_eq!(own, ["/config.json", "/dl/word/1.0.0/download"]);
    // Crates may lie on another host of the registry's choice; the token does not go there.
    let [own, other] = attempt(&|_, other| json!({ "dl": dl(other), "auth-required": true }).to_string());
    assert_eq!((own, other), (vec!["/config.json".to_owned()], vec!["/dl/word/1.0.0/download".to_owned()]));
    // Nor along a redirect.
    let [own, other] = attempt(&|own, other| {
        own.mirror.fault(&module.place(), Fault::Redirect(format!("{}{}", other.mirror.url(), module.place())));
        json!({ "dl": dl(own), "auth-required": true }).to_string()
    });
    assert_eq!(own, ["/config.json", "/dl/word/1.0.0/download with a login"]);
    assert_eq!(other, ["/dl/word/1.0.0/download"]);
    // A registry that says nothing to strangers.
    let [own, _] = attempt(&|own, _| {
        own.mirror.fault("/config.json", Fault::Status { status: 401, times: 1, retry_after: None });
        json!({ "dl": dl(own), "auth-required": true }).to_string()
    });
    assert_eq!(own, ["/config.json", "/config.json with a login", "/dl/word/1.0.0/download with a login"]);
}

#[test]
fn a_registry_that_a_lock_file_names_is_a_strangers() {
    let (_repo, _mirror, environment) = online();
    let module = Crate::new("word", "1.0.0");
    let (inside, own) = (CrateRegistry::serve(&[&module]), CrateRegistry::serve(&[]));
    let index = format!("[registries.own]\nindex = \"{}\"\n", own.index());
    settings(&environment, "config.toml", &index);
    settings(&environment, "credentials.toml", "[registries.own]\ntoken = \"hidden-word\"\n");
    let project = project(&cargo_lock_from(&[&module], &[&module], &inside.index()));
    // The project's own settings name it, and are not believed.
    let project = project.file(".cargo/config.toml", format!("[registries.in]\nindex = \"{}\"\n", inside.index()));
    let ran = fetch(&environment, &project);
    assert_ne!(ran.code, Some(0));
    assert!(inside.mirror.requests().is_empty(), "it was asked: {}", ran.stderr);
    // The control: the user's own settings do name it; and where they let it be reached, it is asked as nobody.
    settings(&environment, "config.toml", &format!("{index}[registries.in]\nindex = \"{}\"\n", inside.index()));
    fetch(&environment, &project).success();
    assert!(!inside.mirror.requests().is_empty());
    // One that is reached, and says that its crates are where the user has a registry with a token.
    let (_repo, _mirror, environment) = online();
    settings(&environment, "config.toml", &index);
    settings(&environment, "credentials.toml", "[registries.own]\ntoken = \"hidden-word\"\n");
    configure(&environment, &format!("[network]\nlocal-hosts = [\"{}\"]\n", inside.mirror.address()));
    inside.says(&json!({ "dl": format!("{}/dl", own.mirror.url()), "auth-required": true }).to_string());
    let ran = fetch(&environment, &project);
    assert_ne!(ran.code, Some(0));
    assert!(own.mirror.requests().is_empty(), "it was asked: {}", ran.stderr);
    inside.says(&json!({ "dl": format!("{}/dl", inside.mirror.url()), "auth-required": true }).to_string());
    inside.mirror.forget_requests();
    fetch(&environment, &project).success();
    assert!(inside.mirror.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn without_any_registry_what_to_write_is_told() {
    let (_repo, _mirror, environment) = online();
    let ran = fetch(&environment, &locked(&Crate::new("word", "1.0.0")));
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("nothing says where the registry of cargo is"), "{}", ran.stderr);
    assert!(ran.stderr.contains("[registry.cargo]") && ran.stderr.contains("replace-with"), "{}", ran.stderr);
}

#[test]
fn documents_and_bodies_without_end_end() {
    let module = Crate::new("word", "1.0.0");
    for path in ["/config.json", &module.place()] {
        let (_repo, _mirror, environment) = online();
        let registry = CrateRegistry::serve(&[&module]);
        configure(&environment, &registry_of(&registry));
        registry.mirror.fault(path, Fault::Endless);
        let ran = fetch(&environment, &locked(&module));
        assert_ne!(ran.code, Some(0), "{path}: {}", ran.stderr);
    }
    for config in ["", "[]", "{\"dl\":\"file:///etc\"}"] {
        let (_repo, _mirror, environment) = online();
        let registry = CrateRegistry::serve(&[&module]);
        configure(&environment, &registry_of(&registry));
        registry.says(config);
        let ran = fetch(&environment, &locked(&module)).failure(5);
        assert!(ran.stderr.contains("config.json: "), "{config}: {}", ran.stderr);
    }
}

#[test]
fn a_lock_file_that_is_wrong_is_named_with_its_line() {
    let (_repo, _mirror, environment) = online();
    let wrong = |lock: &str| fetch(&environment, &project(lock)).failure(3).stderr;
    assert!(wrong("version = 4\n<<<<<<< HEAD\n").contains("Cargo.lock:2: `<<<<<<< HEAD` is left of a merge"));
    assert!(wrong("version = 9\n").contains("Cargo.lock:1: it has version 9"));
    let git =
        "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"git+https://git.example/a#0123\"\n";
    assert!(
        wrong(git).contains("Cargo.lock:4: a 1.0.0: the git repository `https://git.example/a` is named with `0123`")
    );
}

/// A world without cargo, whose steps only leave a file.
fn stage(lock: &str, scripts: &str) -> Project {
    let keys = format!("    dependencies: [{{cargo: Cargo.lock{scripts}}}]\n");
    let project = Project::with_spec(&world::spec(&keys, &["echo RAN >out"], "/src/app/out"));
    project.file("app/Cargo.lock", lock)
}

#[test]
fn an_archive_of_another_crate_is_refused_before_the_step_runs() {
    let Some(world) = World::new("an archive of another crate") else { return };
    let good = Crate::new("word", "1.0.0");
    let evil = Crate::new("evil", "1.0.0");
    // A registry, and a lock file, that have the evil one under the good one's name.
    let lock = cargo_lock(&[&good], &[&good]).replace(&good.checksum(), &evil.checksum());
    let registry = CrateRegistry::serve(&[&good]);
    registry.mirror.fault(&good.place(), Fault::Bytes(evil.archive()));
    configure(&world.environment, &registry_of(&registry));
    let ran = world.build(&stage(&lock, ""), &[]).failure(5);
    assert!(ran.stderr.contains("word 1.0.0") && ran.stderr.contains("it is another crate"), "{}", ran.stderr);
    registry.mirror.heal();
    world.build(&stage(&cargo_lock(&[&good], &[&good]), ""), &[]).success();
}

/// The library of a crate in the folder of a step.
const LIBRARY: &str = "/run/bulla/crates/crates-io/word-1.0.0/src/lib.rs";

#[test]
fn crates_that_were_edited_in_the_store_or_are_gone_are_unpacked_again() {
    let Some(world) = World::new("a crate that was edited in the store") else { return };
    let good = Crate::new("word", "1.0.0");
    let registry = CrateRegistry::serve(&[&good]);
    configure(&world.environment, &registry_of(&registry));
    let project = stage(&cargo_lock(&[&good], &[&good]), "");
    let spec = project
        .read("bulla.yaml")
        .replace("echo RAN >out", &format!("cat {LIBRARY} >out; test -x {LIBRARY} || echo plain >>out"));
    project.write("bulla.yaml", spec);
    let digest = world.digest(&project);
    let step = "--no-cache=build";
    let again = |what: &str| {
        let ran = world.build(&project, &[step]).success();
        assert_eq!(ran.stdout.trim_end(), digest, "{what}: {}", ran.stderr);
        ran.stderr
    };
    // The control: what is in the store is what the step reads.
    let kept = || {
        let all = world::files(&world.environment.store().join("trees"));
        all.into_iter().find(|file| file.ends_with("word-1.0.0/src/lib.rs")).expect("the crate is unpacked")
    };
    again("nothing changed");
    let text = fs_err::read_to_string(kept()).expect("a library");
    assert!(text.contains("word 1.0.0"), "{text}");
    fs_err::set_permissions(kept(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("its mode");
    fs_err::write(kept(), text.replace("1.0.0", "6.6.6")).expect("an edit");
    assert!(again("an edited file").contains("changed in the store"));
    let tree = kept().ancestors().nth(4).expect("the tree").to_owned();
    fs_err::remove_dir_all(tree).expect("it is removed");
    again("a tree that is gone");
    world.assert_sound(&project);
}

#[test]
fn cargo_locks_with_different_bytes_for_one_version_are_both_named() {
    let Some(world) = World::new("two lock files of cargo that contradict one another") else { return };
    let (good, evil) = (Crate::new("word", "1.0.0"), Crate::new("word", "1.0.0").file("build.rs", "fn main() {}"));
    let registry = CrateRegistry::serve(&[&good]);
    configure(&world.environment, &registry_of(&registry));
    let both = |other: &Crate| {
        let keys = "    dependencies: [{cargo: one/Cargo.lock}, {cargo: two/Cargo.lock}]\n";
        let project = Project::with_spec(&world::spec(keys, &[&format!("cat {LIBRARY} >out")], "/src/app/out"));
        let project = project.file("app/one/Cargo.lock", cargo_lock(&[&good], &[&good]));
        project.file("app/two/Cargo.lock", cargo_lock(&[other], &[other]))
    };
    world.build(&both(&good), &[]).success();
    // Both can be had: what is refused is that they contradict one another.
    registry.mirror.fault(&good.place(), Fault::Bytes(evil.archive()));
    let ran = world.build(&both(&evil), &[]).failure(3);
    let told = "/src/app/two/Cargo.lock: it and /src/app/one/Cargo.lock have different bytes for word 1.0.0";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
}

#[test]
fn code_that_runs_while_others_are_compiled_is_denied_by_name() {
    let Some(world) = World::new("scripts of crates") else { return };
    let crates = [
        Crate::new("plain", "1.0.0"),
        Crate::new("scripted", "1.0.0").file("build.rs", "fn main() {}"),
        Crate::new("named", "1.0.0").manifest("build = \"other.rs\"\n").file("other.rs", "fn main() {}"),
        Crate::new("macros", "1.0.0").manifest("[lib]\nproc-macro = true\n"),
        Crate::new("not-run", "1.0.0").manifest("build = false\n").file("build.rs", "fn main() {}"),
    ];
    let all: Vec<&Crate> = crates.iter().collect();
    let registry = CrateRegistry::serve(&all);
    configure(&world.environment, &registry_of(&registry));
    let lock = cargo_lock(&all, &all);
    let ran = world.build(&stage(&lock, ", scripts: deny"), &[]).failure(3);
    for word in [
        "macros 1.0.0 (procedural macro), named 1.0.0 (build script), scripted 1.0.0 (build script)",
        "scripts: {allow: [macros, named, scripted]}",
    ] {
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
    let ran = world.build(&stage(&lock, ", scripts: {allow: [macros, named]}"), &[]).failure(3);
    assert!(ran.stderr.contains("others are compiled: scripted 1.0.0 (build script)"), "{}", ran.stderr);
    // The controls: those that are allowed, and all where nothing is said.
    world.build(&stage(&lock, ", scripts: {allow: [macros, named, scripted]}"), &[]).success();
    world.build(&stage(&lock, ""), &[]).success();
}
